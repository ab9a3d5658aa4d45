//! When a quantile of one run says something, whoever measured it.

use std::fmt::Display;

/// A quantile with fewer observations than this beyond it is not measurable (VERDICTS.md, "Quantiles").
pub const NEEDED_BEYOND: f64 = 100.0;
/// What floating point may take from a hundred: 1 − .9 is a little less than .1.
const ROUNDING: f64 = 1e-6;
/// What it may add to what is needed, as a share of it: 1 − .99999 has eleven good digits.
const RELATIVE_ROUNDING: f64 = 1e-9;

/// Whether so many expected observations beyond a quantile are too few for it; not a number, which
/// stands for what nobody knows, is not.
pub fn is_too_few(beyond: f64) -> bool {
    beyond + ROUNDING < NEEDED_BEYOND
}

/// Why a quantile is not measurable, with the name of what was observed: `requests`.
pub fn too_few(beyond: f64, what: &str, quantile: impl Display) -> String {
    let beyond = (beyond + ROUNDING).floor();
    let (what, lie) = match beyond == 1.0 {
        true => (what.strip_suffix('s').unwrap_or(what), "lies"),
        false => (what, "lie"),
    };
    format!("only {beyond} {what} {lie} beyond {quantile}; {NEEDED_BEYOND} are needed")
}

/// How much of what gave `beyond` observations beyond a quantile would give enough of them, in whole
/// units of `amount`: seconds, requests.
pub fn enough(amount: f64, beyond: f64) -> f64 {
    let needed = amount * NEEDED_BEYOND / beyond;
    (needed * (1.0 - RELATIVE_ROUNDING)).ceil()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_are_enough_whatever_floating_point_takes() {
        let check = |observations: f64, fraction: f64, beyond: &str, needed: f64| {
            let found = observations * (1.0 - fraction);
            assert_eq!(is_too_few(found), needed > observations, "{fraction}");
            let said = format!("only {beyond} of them lie beyond p; 100 are needed");
            assert_eq!(too_few(found, "of them", "p"), said);
            assert_eq!(enough(observations, found), needed, "{fraction}");
        };
        check(1000.0, 0.9, "100", 1000.0);
        check(999.0, 0.9, "99", 1000.0);
        check(3000.0, 0.999, "3", 100_000.0);
        check(10_000_000.0, 0.99999, "100", 10_000_000.0);
        assert!(!is_too_few(f64::NAN));
        let one = too_few(1.7, "requests", "p99.9");
        assert_eq!(one, "only 1 request lies beyond p99.9; 100 are needed");
    }
}
