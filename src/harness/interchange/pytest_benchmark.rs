//! `pytest --benchmark-json`: a file is a run. Its rounds are repetitions inside one process, which
//! are no replicates; their median stands for the run.

use std::path::Path;

use serde::Deserialize;

use super::error::{InterchangeError, Place, quoted};
use super::file;
use super::format::Format;
use super::imported::Imported;
use super::metric::measured;
use crate::harness::model::{Direction, Unit, path::BENCH};

const NS_PER_S: f64 = 1e9;

#[derive(Deserialize)]
struct Export {
    benchmarks: Vec<Benchmark>,
}

#[derive(Deserialize)]
struct Benchmark {
    /// The file and the test with its parameters, unique in a run.
    fullname: String,
    /// Missing where the benchmark failed.
    stats: Option<Stats>,
}

/// Seconds.
#[derive(Deserialize)]
struct Stats {
    median: f64,
    rounds: u64,
}

/// A metric `bench.<fullname>` for every benchmark.
pub(super) fn read(path: &Path, text: &str) -> Result<Imported, InterchangeError> {
    let export: Export = file::json(path, text)?;
    Imported::single(
        Format::PytestBenchmark,
        &Place::file(path),
        |run, imported| {
            for benchmark in &export.benchmarks {
                let Some(stats) = &benchmark.stats else {
                    imported.leave(quoted(&benchmark.fullname), "it has no statistics");
                    continue;
                };
                run.add(measured(
                    &format!("{BENCH}.{}", benchmark.fullname),
                    Unit::Nanoseconds,
                    Direction::Lower,
                    vec![stats.median * NS_PER_S],
                    stats.rounds,
                )?)?;
            }
            imported.leave(
                "single rounds, means, extremes",
                "rounds share one process; their median stands for the run",
            );
            Ok(())
        },
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_is_the_value_of_the_run() {
        let text = r#"{"benchmarks":[
            {"fullname":"t.py::a","stats":{"median":2e-6,"rounds":9,"data":[1,2,3]}},
            {"fullname":"t.py::b","stats":null}]}"#;
        let imported = read(Path::new("p.json"), text).unwrap();
        let metrics = &imported.runs[0].metrics;
        let metric = &metrics["bench.t.py::a"];
        assert_eq!((metric.values(), metric.observations), (&[2e3][..], 9));
        assert_eq!(metrics.len(), 1);
        assert_eq!(imported.unused[0].what, "\"t.py::b\"");
    }
}
