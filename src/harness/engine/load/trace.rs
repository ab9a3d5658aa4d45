//! Recorded arrivals, read before the load starts.

use std::path::PathBuf;

use super::files::{FileError, read_checked};
use super::job::Shard;
use crate::harness::scenario::{FilePlan, NoTrace, each_time};

/// Why recorded arrivals could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file is not there as it was.
    #[error("trace {0}")]
    File(#[from] FileError),
    /// It is none, although it is the file that the scenario was checked with.
    #[error("trace {path}: {error}; check the scenario again")]
    NoTrace {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: NoTrace,
    },
}

/// When the shard's own arrivals before `end_ns` are due, in ns: the times of the file, divided by
/// `speed`.
pub(super) fn own_times(
    file: &FilePlan,
    speed: f64,
    end_ns: u64,
    shard: Shard,
) -> Result<Vec<u64>, TraceError> {
    let bytes = read_checked(file)?;
    let (mut own, mut number) = (Vec::new(), 0);
    each_time(bytes.as_slice(), |recorded_s| {
        let due_ns = (recorded_s / speed * 1e9) as u64;
        if due_ns < end_ns && number % u64::from(shard.of) == u64::from(shard.index) {
            own.push(due_ns);
        }
        number += 1;
    })
    .map_err(|error| TraceError::NoTrace {
        path: file.path.clone(),
        error,
    })?;
    Ok(own)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn the_file_that_was_checked_is_read_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let times = |text: &str| {
            let file = fixture::file(folder.path(), "arrivals.csv", text.as_bytes());
            own_times(&file, 1.0, 10 * S, Shard::WHOLE)
        };
        // Whatever is beyond the end is nobody's arrival.
        assert_eq!(
            times("at\n0\n0.25\n9\n10\n11\n").unwrap(),
            [0, S / 4, 9 * S]
        );
        let error = times("1\n0.5\n").unwrap_err().to_string();
        assert!(
            error.contains("arrivals.csv: row 2: 0.5s comes before"),
            "{error}"
        );

        let file = fixture::file(folder.path(), "arrivals.csv", b"1\n");
        std::fs::write(&file.path, "2\n").unwrap();
        let error = own_times(&file, 1.0, S, Shard::WHOLE).unwrap_err();
        assert!(error.to_string().contains("changed"), "{error}");
    }
}
