//! Files of the project that a scenario names, as they were when it was checked.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::harness::model::hexadecimal;
use crate::harness::scenario::{FilePlan, MAX_FEED_BYTES, NoDurations, each_duration};

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system said no.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// Every worker would hold it in memory.
    #[error("{path} is larger than {MAX_FEED_BYTES} bytes; use a smaller file")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is another than the one that the plan's hash tells of.
    #[error("{path} changed after the scenario was checked; run again")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It holds no recorded pauses.
    #[error("{path}: {error}; write one duration a line, such as `850ms`")]
    Durations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: NoDurations,
    },
}

/// The whole file, of at most [`MAX_FEED_BYTES`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FEED_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| FileError::Io {
            path: path.to_owned(),
            error,
        })?;
    if bytes.len() as u64 > MAX_FEED_BYTES {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

/// The file as it was when the scenario was checked: what is measured is what the plan's hash says.
pub(super) fn read_checked(plan: &FilePlan) -> Result<Vec<u8>, FileError> {
    let bytes = read(&plan.path)?;
    if hexadecimal(&Sha256::digest(&bytes)) != plan.sha256 {
        return Err(FileError::Changed {
            path: plan.path.clone(),
        });
    }
    Ok(bytes)
}

/// Recorded pauses in ns, one a line; never none.
pub(super) fn read_durations_ns(plan: &FilePlan) -> Result<Vec<u64>, FileError> {
    let bytes = read_checked(plan)?;
    let mut durations_ns = Vec::new();
    each_duration(&bytes, |ns| durations_ns.push(ns)).map_err(|error| FileError::Durations {
        path: plan.path.clone(),
        error,
    })?;
    Ok(durations_ns)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_file_is_the_one_that_was_checked_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let plan = fixture::file(folder.path(), "a.bin", b"\x00\xff");
        assert_eq!(read_checked(&plan).unwrap(), b"\x00\xff");
        std::fs::write(&plan.path, b"\x00\xfe").unwrap();
        let error = read_checked(&plan).unwrap_err();
        assert!(matches!(error, FileError::Changed { .. }), "{error}");
        std::fs::remove_file(&plan.path).unwrap();
        let error = read_checked(&plan).unwrap_err();
        assert!(matches!(error, FileError::Io { .. }), "{error}");
    }

    #[test]
    fn a_file_that_grew_beyond_the_limit_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grown");
        let file = File::create(&path).unwrap();
        file.set_len(MAX_FEED_BYTES + 1).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, FileError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn recorded_pauses_are_one_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str, expected: Result<&[u64], &str>| {
            let plan = fixture::file(folder.path(), "think.csv", text.as_bytes());
            let found = read_durations_ns(&plan).map_err(|error| error.to_string());
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text:?}"),
                (Err(found), Err(expected)) if found.contains(expected) => {}
                _ => panic!("{found:?}, not {expected:?}"),
            }
        };
        check("850ms\r\n 1.5s \n0s", Ok(&[850_000_000, 1_500_000_000, 0]));
        check("1s\n2s\nsoon", Err("think.csv: line 3"));
        check("", Err("empty"));
    }
}
