//! What `go test -bench . -count N` prints, in the Go benchmark data format
//! (<https://go.dev/design/14313-benchmark-format>): every repetition of a benchmark is a run. All
//! other lines are ignored, as that format says, but for `pkg:` and `Unit`.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{InterchangeError, Place, Wrong, quoted};
use super::format::Format;
use super::imported::{Imported, ImportedRun};
use super::metric::{Said, metric};
use crate::harness::model::{Direction, Metric, path::BENCH};

/// What begins the name of every benchmark.
const PREFIX: &str = "Benchmark";

/// Whether a line is the result of a benchmark.
pub(super) fn is_result(line: &str) -> bool {
    parse(line).is_some_and(|result| result.values.is_some())
}

/// The n-th result of every benchmark is in the n-th run of the file. The metrics are
/// `bench.<package>.<name>` for the time and, for what else was measured, the same with the unit
/// behind it: `bench.<package>.<name> B/op`.
pub(super) fn read(path: &Path, text: &str) -> Result<Imported, InterchangeError> {
    let mut imported = Imported::new(Format::GoBench, path.to_owned());
    let units = directions(text);
    let mut package = String::new();
    let mut repetitions: BTreeMap<String, usize> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let place = Place::line(path, number);
        if let Some(named) = line.strip_prefix("pkg:") {
            package = named.trim().to_owned();
            continue;
        }
        let Some(result) = parse(line) else {
            continue;
        };
        let Some(values) = &result.values else {
            imported.leave(
                format!("line {number}"),
                "its values are no numbers with a unit each",
            );
            continue;
        };
        let name = match package.as_str() {
            "" => result.name.to_owned(),
            package => format!("{package}.{}", result.name),
        };
        let repetition = repetitions.entry(name.clone()).or_insert(0);
        if imported.runs.len() == *repetition {
            let run = format!("{}#{}", path.display(), *repetition + 1);
            imported.runs.push(ImportedRun::new(place.clone(), run));
        }
        let run = &mut imported.runs[*repetition];
        *repetition += 1;
        let mut without_direction = Vec::new();
        for (value, unit) in values {
            match one(&name, *value, unit, &units) {
                Some(found) => found
                    .and_then(|mut metric| {
                        metric.observations = result.iterations;
                        run.add(metric)
                    })
                    .map_err(|wrong| wrong.at(&place))?,
                None => without_direction.push(*unit),
            }
        }
        for unit in without_direction {
            imported.leave(
                format!("values in {}", quoted(unit)),
                "which way is better is not said; add a line `Unit <unit> better=higher`",
            );
        }
    }
    Ok(imported)
}

/// One value as a metric; `None` where its direction is not known.
fn one(
    name: &str,
    value: f64,
    unit: &str,
    units: &BTreeMap<&str, Direction>,
) -> Option<Result<Metric, Wrong>> {
    // What the testing package itself reports, and what that means.
    let (shown, by_format) = match unit {
        "ns/op" => ("ns", Some(Direction::Lower)),
        "B/op" => ("B", Some(Direction::Lower)),
        "allocs/op" => ("count", Some(Direction::Lower)),
        "MB/s" => ("MB/s", Some(Direction::Higher)),
        other => (other, None),
    };
    let better = units.get(unit).copied().or(by_format)?;
    let name = match unit {
        "ns/op" => format!("{BENCH}.{name}"),
        unit => format!("{BENCH}.{name} {unit}"),
    };
    let said = Said {
        unit: Some(shown),
        better: Some(better),
    };
    Some(metric(&name, &[value], said, 1))
}

/// A result: the benchmark's name without its prefix, the iterations, and values with their units.
struct Parsed<'a> {
    name: &'a str,
    iterations: u64,
    /// `None` where they can't be read.
    values: Option<Vec<(f64, &'a str)>>,
}

fn parse<'a>(line: &'a str) -> Option<Parsed<'a>> {
    let mut fields = line.split_whitespace();
    let name = fields.next()?.strip_prefix(PREFIX)?;
    // `Benchmarking…` is a word, not a name.
    if name.is_empty() || name.starts_with(char::is_lowercase) {
        return None;
    }
    let iterations = fields.next()?.parse().ok()?;
    let rest: Vec<&str> = fields.collect();
    if rest.is_empty() {
        return None;
    }
    let one = |both: &[&'a str]| match both {
        [value, unit] => {
            let value = value.parse().ok().filter(|value: &f64| value.is_finite());
            Some((value?, *unit))
        }
        _ => None,
    };
    let values = rest.chunks(2).map(one).collect();
    Some(Parsed {
        name,
        iterations,
        values,
    })
}

/// What the lines `Unit <unit> better=higher` say.
fn directions(text: &str) -> BTreeMap<&str, Direction> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        if fields.next() != Some("Unit") {
            continue;
        }
        let Some(unit) = fields.next() else {
            continue;
        };
        for pair in fields {
            match pair {
                "better=higher" => found.insert(unit, Direction::Higher),
                "better=lower" => found.insert(unit, Direction::Lower),
                _ => None,
            };
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_told_from_other_lines() {
        let check = |line: &str, expected| assert_eq!(is_result(line), expected, "{line:?}");
        check(
            "BenchmarkEncode/size=10-8   \t 200\t 7.5 ns/op\t 3 B/op",
            true,
        );
        check("Benchmark-8 200 7.5 ns/op", true);
        check("Benchmark_a 200 7.5 ns/op", true);
        check("BenchmarkEncode-8", false);
        check("BenchmarkEncode-8 200", false);
        check("BenchmarkEncode-8 fast 7.5 ns/op", false);
        check("BenchmarkEncode-8 200 NaN ns/op", false);
        check("Benchmarking 200 7.5 ns/op", false);
        check("PASS", false);
        check("", false);
    }

    #[test]
    fn a_repetition_is_a_run() {
        let text = "goos: linux\npkg: example.org/text\nUnit hits/op better=higher\n\
                    BenchmarkA-8 100 5 ns/op 2 B/op 1 allocs/op 7 hits/op 9 misses/op\n\
                    BenchmarkA-8 100 6 ns/op 2 B/op 1 allocs/op 8 hits/op 9 misses/op\n\
                    pkg: example.org/other\nBenchmarkA-8 100 1.5 ns/op 250 MB/s\nPASS\n\
                    BenchmarkB-8 100 1.5 ns/op 250\n";
        let imported = read(Path::new("bench.txt"), text).unwrap();
        assert_eq!(imported.runs.len(), 2);
        let value = |run: usize, name: &str| imported.runs[run].metrics[name].value().unwrap();
        assert_eq!(value(0, "bench.example.org/text.A-8"), 5.0);
        assert_eq!(value(1, "bench.example.org/text.A-8"), 6.0);
        assert_eq!(value(1, "bench.example.org/text.A-8 hits/op"), 8.0);
        assert_eq!(value(0, "bench.example.org/other.A-8"), 1.5);
        assert_eq!(value(0, "bench.example.org/other.A-8 MB/s"), 250e6);
        assert_eq!(imported.unused.len(), 3);
        assert_eq!(imported.unused[2].what, "line 9");
        assert_eq!(imported.unused[0].what, "values in \"misses/op\"");
        let hits = &imported.runs[0].metrics["bench.example.org/text.A-8 hits/op"];
        assert_eq!((hits.better, hits.observations), (Direction::Higher, 100));
    }
}
