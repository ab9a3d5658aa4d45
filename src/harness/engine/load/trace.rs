//! Recorded arrivals, read before the load starts.

use std::path::PathBuf;

use super::files::{FileError, read_checked};
use super::job::Shard;
use crate::harness::scenario::FilePlan;

/// Why recorded arrivals could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file is not there as it was.
    #[error("trace {0}")]
    File(#[from] FileError),
    /// A row is not what the scenario was checked for.
    #[error("trace {path}: row {row} {what}; check the scenario again")]
    Row {
        /// The file.
        path: PathBuf,
        /// From 1, the header among them.
        row: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// When the shard's own arrivals before `end_ns` are due, in ns: the first column of the file in
/// seconds, divided by `speed`. A first row without a number is a header.
pub(super) fn own_times(
    file: &FilePlan,
    speed: f64,
    end_ns: u64,
    shard: Shard,
) -> Result<Vec<u64>, TraceError> {
    let bytes = read_checked(file)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes.as_slice());
    let wrong = |row, what| TraceError::Row {
        path: file.path.clone(),
        row,
        what,
    };
    let mut own = Vec::new();
    // The record is the same for all rows: there may be millions.
    let (mut record, mut row, mut number, mut before_s) = (csv::ByteRecord::new(), 0, 0, 0.0);
    loop {
        row += 1;
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(own),
            Err(_) => return Err(wrong(row, "is not CSV")),
        }
        let field = record.get(0).and_then(|field| std::str::from_utf8(field).ok());
        let at_s = match field.and_then(|field| field.parse::<f64>().ok()) {
            Some(at_s) => at_s,
            None if row == 1 => continue,
            None => return Err(wrong(row, "is no number of seconds")),
        };
        if !(at_s >= before_s && at_s.is_finite()) {
            return Err(wrong(row, "is before the one above it, or no time"));
        }
        before_s = at_s;
        let due_ns = (at_s / speed * 1e9) as u64;
        if due_ns >= end_ns {
            return Ok(own);
        }
        if number % u64::from(shard.of) == u64::from(shard.index) {
            own.push(due_ns);
        }
        number += 1;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn what_was_checked_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str, expected: Result<&[u64], &str>| {
            let file = fixture::file(folder.path(), "arrivals.csv", text.as_bytes());
            let found = own_times(&file, 1.0, 10 * S, Shard::WHOLE);
            match (found.map_err(|error| error.to_string()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text:?}"),
                (Err(found), Err(expected)) if found.contains(expected) => {}
                (found, _) => panic!("{found:?}, not {expected:?}"),
            }
        };
        check("0\n0.25\n1e0\n", Ok(&[0, S / 4, S]));
        check("at,path\r\n0.5,/a\r\n2,\"/b\n\"\r\n", Ok(&[S / 2, 2 * S]));
        check("0.5", Ok(&[S / 2]));
        check("at\n", Ok(&[]));
        check("0\n\n1\n", Ok(&[0, S]));
        // Whatever is beyond the end is nobody's arrival.
        check("9\n10\n11\n", Ok(&[9 * S]));
        check("1\n0.5\n", Err("arrivals.csv: row 2 is before"));
        check("-1\n", Err("row 1 is before"));
        check("1\nNaN\n", Err("row 2 is before"));
        check("1\n\nsoon\n", Err("row 2 is no number"));
        check("1\n,2\n", Err("row 2 is no number"));
    }

    #[test]
    fn another_file_than_the_one_that_was_checked_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = fixture::file(folder.path(), "arrivals.csv", b"1\n");
        std::fs::write(&file.path, "2\n").unwrap();
        let error = own_times(&file, 1.0, S, Shard::WHOLE).unwrap_err();
        assert!(error.to_string().contains("changed"), "{error}");
    }
}
