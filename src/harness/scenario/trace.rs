//! Recorded arrivals: a CSV file with one column, the times in seconds from the start of the load,
//! ascending. A first row that is no number is a header. Read at validation, and by each worker.

use std::io::Read;

use csv::{ReaderBuilder, StringRecord, Trim};

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
}
