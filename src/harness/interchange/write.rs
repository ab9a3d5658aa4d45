//! Saved runs → `plimsoll.runs/1`.

use std::fmt;

use super::lines::{Line, LineMetric, RUNS_FORMAT};
use crate::harness::model::{Metric, Reading, Run};

/// A run that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotExported {
    /// Its id.
    pub run: String,
    /// Why, as a clause.
    pub why: &'static str,
}

impl fmt::Display for NotExported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} is not exported: {}", self.run, self.why)
    }
}

/// The runs as text, one a line, and those that were left out: the format has no invalid runs, so that
/// none can come back as a valid one. Metrics that were not measurable are not written.
pub fn write_runs(runs: &[Run]) -> (String, Vec<NotExported>) {
    let mut text = String::new();
    let mut left_out = Vec::new();
    for run in runs {
        let metrics: Vec<LineMetric> = run.metrics.iter().filter_map(metric).collect();
        let why = if !run.is_valid() {
            Some("it is invalid or was stopped before its time")
        } else if metrics.is_empty() {
            Some("none of its metrics was measurable")
        } else {
            None
        };
        if let Some(why) = why {
            let run = run.id.to_string();
            left_out.push(NotExported { run, why });
            continue;
        }
        let line = Line {
            schema: RUNS_FORMAT.to_owned(),
            arm: run.arm,
            run: run.id.to_string(),
            pair: run.pair,
            session: Some(run.session.clone()),
            metrics,
            fingerprint: Some(run.fingerprint.clone()),
        };
        let line = serde_json::to_string(&line)
            .expect("BUG: a line has text keys and no failing serialiser");
        text.push_str(&line);
        text.push('\n');
    }
    (text, left_out)
}

fn metric(metric: &Metric) -> Option<LineMetric> {
    let Reading::Measured { values } = &metric.reading else {
        return None;
    };
    let (value, values) = match values[..] {
        [value] => (Some(value), None),
        _ => (None, Some(values.clone())),
    };
    Some(LineMetric {
        name: metric.name.clone(),
        value,
        values,
        unit: Some(metric.unit.to_string()),
        better: Some(metric.better),
        observations: Some(metric.observations),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::imported::to_runs;
    use super::super::lines;
    use super::super::read::Options;
    use super::*;
    use crate::harness::model::{Arm, Direction, InvalidReason, RunId, Unit};

    fn run() -> Run {
        let mut bench = Metric::single("bench.a", Unit::Nanoseconds, Direction::Lower, 1.5, 100);
        bench.reading = Reading::Measured {
            values: vec![1.5, 1.6, 1.4],
        };
        let mut run = Run::imported(
            RunId::now(),
            "s1".into(),
            vec![
                bench,
                Metric::single("load.a.error_rate", Unit::Ratio, Direction::Lower, 0.1, 50),
                Metric::single(
                    "load.a.rate",
                    Unit::PerSecond,
                    Direction::Higher,
                    0.1 + 0.2,
                    50,
                ),
                Metric::single(
                    "probe.x",
                    Unit::Other("frames".into()),
                    Direction::Lower,
                    7.0,
                    1,
                ),
            ],
        );
        run.arm = Some(Arm::Head);
        run.pair = Some(3);
        run.fingerprint.kernel = "6.1".into();
        run
    }

    #[test]
    fn what_is_written_is_read_back() {
        let run = run();
        let (text, left_out) = write_runs(std::slice::from_ref(&run));
        assert_eq!(left_out, []);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        std::fs::write(&path, text).unwrap();
        let imported = lines::read(&path, &Options::default()).unwrap();
        let back = to_runs(&[imported], None).unwrap();
        assert_eq!(
            back,
            [Run {
                id: back[0].id,
                ..run
            }]
        );
    }

    #[test]
    fn an_invalid_run_never_leaves() {
        let mut invalid = run();
        invalid
            .invalid
            .push(InvalidReason::NothingMeasured { load: "a".into() });
        let partial = Run {
            partial: true,
            ..run()
        };
        let (text, left_out) = write_runs(&[invalid, partial]);
        assert_eq!((text.as_str(), left_out.len()), ("", 2));
    }
}
