//! What a metric's path says by itself, where there is no plan to look it up in.
//!
//! The catalogue of the scenario spells whole paths; these are the two words of them that decide how
//! numbers are compared and judged, whoever measured them.

/// The first word of a benchmark's path.
pub const BENCH: &str = "bench";
/// The last word of the path of a share of failed requests.
pub const ERROR_RATE: &str = "error_rate";

/// Whether a path is that of a benchmark, whose replicates are the invocations of a process.
pub fn is_bench(path: &str) -> bool {
    path.split_once('.').is_some_and(|(kind, _)| kind == BENCH)
}

/// What the path of an error rate says it is the error rate of, with its final dot: `load.reads.`
/// for `load.reads.error_rate`. Every path that begins so is about the same requests. `None` for any
/// other path.
pub fn error_rate_of(path: &str) -> Option<&str> {
    path.strip_suffix(ERROR_RATE)
        .filter(|stem| stem.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_is() {
        let check = |path: &str, bench: bool, stem: Option<&str>| {
            assert_eq!(
                (is_bench(path), error_rate_of(path)),
                (bench, stem),
                "{path}"
            );
        };
        check("bench.cache/get", true, None);
        check("bench", false, None);
        check("benches.a", false, None);
        check("load.a.error_rate", false, Some("load.a."));
        check(
            "load.a.request.b.error_rate",
            false,
            Some("load.a.request.b."),
        );
        check("error_rate", false, None);
        check("probe.no_error_rate", false, None);
    }
}
