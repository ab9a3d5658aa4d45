//! Recorded pauses: a file with one duration a line, such as `850ms`. Read at validation, and by each
//! worker.

use super::quantity;

/// Why a text is no list of durations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDurations {
    /// It is no text.
    #[error("byte {byte} is not UTF-8")]
    NotText {
        /// How many bytes of it are.
        byte: usize,
    },
    /// A line is none.
    #[error("line {line} is none: {expected}")]
    Line {
        /// From 1.
        line: usize,
        /// What a duration is.
        expected: &'static str,
    },
    /// There is no line.
    #[error("it is empty")]
    Empty,
}

/// Gives every duration to `take`, in ns.
///
/// # Errors
/// Where there is none, or a line that is none: an empty one is no pause of nothing.
pub(crate) fn each_duration(bytes: &[u8], mut take: impl FnMut(u64)) -> Result<(), NoDurations> {
    let text = std::str::from_utf8(bytes).map_err(|error| NoDurations::NotText {
        byte: error.valid_up_to(),
    })?;
    let mut lines = (1..).zip(text.lines()).peekable();
    if lines.peek().is_none() {
        return Err(NoDurations::Empty);
    }
    for (line, duration) in lines {
        let ns = quantity::duration_ns(duration);
        take(ns.map_err(|expected| NoDurations::Line { line, expected })?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_time_stands_on_a_line_of_its_own() {
        let check = |text: &[u8], expected: Result<&[u64], &str>| {
            let mut found = Vec::new();
            let read = each_duration(text, |ns| found.push(ns));
            match (read.map_err(|error| error.to_string()), expected) {
                (Ok(()), Ok(expected)) => assert_eq!(found, expected),
                (Err(reason), Err(part)) if reason.contains(part) => {}
                other => panic!("{other:?}"),
            }
        };
        check(
            b"850ms\n 1.2s \r\n3 us",
            Ok(&[850_000_000, 1_200_000_000, 3000]),
        );
        check(b"0s\n", Ok(&[0]));
        check(b"", Err("empty"));
        check(b"\n", Err("line 1"));
        check(b"1s\n\n2s\n", Err("line 2"));
        check(b"1s\n850\n", Err("line 2"));
        check(b"1s\n\xff", Err("byte 3"));
    }
}
