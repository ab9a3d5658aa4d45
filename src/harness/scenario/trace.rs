//! Recorded arrivals: a CSV file with one column, the times in seconds from the start of the load,
//! ascending. A first row that is no number is a header. Read at validation, and by each worker.

use std::io::Read;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::plan::PhasePlan;

/// So much of what should be a number is shown.
const MAX_SHOWN_CHARS: usize = 40;

/// Why a text is no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTrace {
    /// A row is no time, or not in its place.
    #[error("row {row}: {reason}")]
    Row {
        /// From 1, a header included.
        row: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// No row is left, or there was none.
    #[error("it holds no arrivals")]
    Empty,
}

/// Gives every time of a trace to `take`, in seconds as recorded; nothing of it is kept in memory.
pub(crate) fn each_time(source: impl Read, mut take: impl FnMut(f64)) -> Result<(), NoTrace> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .trim(Trim::All)
        .from_reader(source);
    let mut record = StringRecord::new();
    let mut previous_s = 0.0;
    for row in 1.. {
        let wrong = |reason: String| NoTrace::Row { row, reason };
        let is_there = reader.read_record(&mut record);
        if !is_there.map_err(|error| wrong(reason(&error)))? {
            break;
        }
        if record.len() != 1 {
            return Err(wrong(format!("it has {} columns", record.len())));
        }
        let text = &record[0];
        let time = text.parse::<f64>();
        if row == 1 && time.is_err() {
            continue;
        }
        let is_time = |time_s: &f64| time_s.is_finite() && *time_s >= 0.0;
        let Some(time_s) = time.ok().filter(is_time) else {
            let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
            return Err(wrong(format!("`{shown}` is no time")));
        };
        if time_s < previous_s {
            return Err(wrong(format!(
                "{time_s}s comes before the {previous_s}s above it"
            )));
        }
        previous_s = time_s;
        take(time_s);
    }
    Ok(())
}

/// What a trace holds, at a speed and seen with the phases of a load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trace {
    /// How many arrivals.
    pub(crate) arrivals: u64,
    /// Those of them at or after the end of the cool-down.
    after_end: u64,
    in_measure: u64,
    first_s: f64,
    last_s: f64,
    /// The arrivals of the second, counted from the start of the load, that has most.
    pub(crate) busiest: u64,
}

impl Trace {
    /// Reads a trace to its end; nothing of it is kept in memory.
    pub(crate) fn read(source: impl Read, speed: f64, phases: &PhasePlan) -> Result<Self, NoTrace> {
        let end_s = phases.total_ns() as f64 / 1e9;
        let measure_s = phases.warmup_ns as f64 / 1e9..phases.measure_end_ns() as f64 / 1e9;
        let mut trace = Self {
            arrivals: 0,
            after_end: 0,
            in_measure: 0,
            first_s: 0.0,
            last_s: 0.0,
            busiest: 0,
        };
        let (mut second, mut in_second) = (0.0, 0);
        each_time(source, |recorded_s| {
            let at_s = recorded_s / speed;
            if trace.arrivals == 0 {
                trace.first_s = at_s;
            }
            trace.arrivals += 1;
            trace.after_end += u64::from(at_s >= end_s);
            trace.in_measure += u64::from(measure_s.contains(&at_s));
            trace.last_s = at_s;
            if at_s.floor() > second {
                (second, in_second) = (at_s.floor(), 0);
            }
            in_second += 1;
            trace.busiest = trace.busiest.max(in_second);
        })?;
        match trace.arrivals {
            0 => Err(NoTrace::Empty),
            _ => Ok(trace),
        }
    }

    /// Why phases don't suit it, and what to do.
    pub(crate) fn misfit(&self, phases: &PhasePlan) -> Option<(String, &'static str)> {
        let Self {
            first_s, last_s, ..
        } = self;
        if self.after_end > 0 {
            let label = format!(
                "{} of its {} arrivals come after the end: the last at {last_s}s, and the phases take {}s together",
                self.after_end,
                self.arrivals,
                phases.total_ns() as f64 / 1e9
            );
            return Some((
                label,
                "lengthen `measure` or `cooldown`, raise `speed`, or cut the file",
            ));
        }
        (self.in_measure == 0).then(|| {
            let label = format!(
                "none of its arrivals is in the measure phase: the first comes at {first_s}s, the last at {last_s}s"
            );
            (
                label,
                "change `warmup`, `measure` or `speed` so that arrivals are measured",
            )
        })
    }
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { len, .. } => format!("it has {len} columns"),
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => "it is not CSV".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const PHASES: PhasePlan = PhasePlan {
        warmup_ns: S,
        measure_ns: 2 * S,
        cooldown_ns: S,
        drain_ns: 0,
    };

    #[test]
    fn times_are_given_as_they_are_recorded() {
        let check = |text: &str, expected: &[f64]| {
            let mut found = Vec::new();
            each_time(text.as_bytes(), |time_s| found.push(time_s)).unwrap();
            assert_eq!(found, expected, "{text:?}");
        };
        check("seconds\n 0 \n0.5\n\n1.5\n", &[0.0, 0.5, 1.5]);
        check("\"1\"\r\n2.5", &[1.0, 2.5]);
        check("4\n4\n5e0\n", &[4.0, 4.0, 5.0]);
        check("seconds\n", &[]);
        check("", &[]);
    }

    #[test]
    fn what_is_no_trace_is_told_by_its_row() {
        let check = |text: &str, expected: &str| {
            let wrong = each_time(text.as_bytes(), |_| ()).unwrap_err();
            assert_eq!(wrong.to_string(), expected, "{text:?}");
        };
        check("1\n0.5\n", "row 2: 0.5s comes before the 1s above it");
        check("t\n1\nsoon\n", "row 3: `soon` is no time");
        check("t\nu\n", "row 2: `u` is no time");
        check("-1\n", "row 1: `-1` is no time");
        check("nan\n", "row 1: `nan` is no time");
        check("1\ninf\n", "row 2: `inf` is no time");
        check("1,2\n", "row 1: it has 2 columns");
        check("1\n2,3\n", "row 2: it has 2 columns");
        let bytes: &[u8] = b"1\n\xFF\n";
        let wrong = each_time(bytes, |_| ()).unwrap_err();
        assert_eq!(wrong.to_string(), "row 2: it is not UTF-8");
    }

    #[test]
    fn a_trace_is_counted_as_it_is_played() {
        let check = |text: &str, speed: f64, counts: [u64; 4]| {
            let trace = Trace::read(text.as_bytes(), speed, &PHASES).unwrap();
            let found = [
                trace.arrivals,
                trace.in_measure,
                trace.after_end,
                trace.busiest,
            ];
            assert_eq!(found, counts, "{text} at {speed}");
        };
        check("0\n0.5\n1\n2.9\n3\n3.9\n", 1.0, [6, 2, 0, 2]);
        check("4\n4\n5e0\n", 2.0, [3, 3, 0, 3]);
        check("1\n1\n", 0.25, [2, 0, 2, 2]);
    }

    #[test]
    fn a_trace_without_arrivals_is_none() {
        for text in ["", "seconds\n"] {
            let found = Trace::read(text.as_bytes(), 1.0, &PHASES);
            assert_eq!(found, Err(NoTrace::Empty), "{text:?}");
        }
    }

    #[test]
    fn a_trace_that_does_not_fit_says_by_how_much() {
        let check = |text: &str, expected: Option<&str>| {
            let trace = Trace::read(text.as_bytes(), 1.0, &PHASES).unwrap();
            let label = trace.misfit(&PHASES).map(|(label, _)| label);
            match expected {
                None => assert_eq!(label, None, "{text}"),
                Some(part) => assert!(label.unwrap().contains(part), "{text}"),
            }
        };
        check("1\n", None);
        check("0\n2.9\n3.9\n", None);
        check(
            "1\n4\n7\n",
            Some("2 of its 3 arrivals come after the end: the last at 7s"),
        );
        check(
            "0\n3\n",
            Some("none of its arrivals is in the measure phase"),
        );
    }
}
