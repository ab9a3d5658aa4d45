//! Files of ours between processes and machines: JSON with a format, written as a whole and read with
//! care.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// What a file of ours is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// What it says of itself, such as `plimsoll.load/1`.
    pub(super) format: &'static str,
    /// What it is called.
    pub(super) name: &'static str,
    /// What to do about one that is none.
    pub(super) remedy: &'static str,
    /// A larger one is refused.
    pub(super) max_bytes: u64,
}

/// Why a file of ours could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The file system said no.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// It is larger than any file of ours.
    #[error("{path} is larger than {max_bytes} bytes, so it is no {name}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it should be.
        name: &'static str,
        /// The most that one of these has.
        max_bytes: u64,
    },
    /// It is not JSON of the right form.
    #[error("{path} is not a {name}: {error}; {remedy}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        name: &'static str,
        /// What is wrong with it.
        error: serde_json::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// It has another format.
    #[error("{path} has the format `{found}`; this version of plimsoll reads `{known}`")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        known: &'static str,
    },
}

#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// Writes a document so that whoever finds the file finds all of it.
pub(super) fn write(path: &Path, document: &impl Serialize) -> Result<(), DocumentError> {
    let failed = |error| DocumentError::Io {
        path: path.to_owned(),
        error,
    };
    let mut file = beside(path)?;
    let mut writer = BufWriter::new(file.as_file_mut());
    serde_json::to_writer(&mut writer, document).map_err(|error| failed(error.into()))?;
    writer.flush().map_err(failed)?;
    drop(writer);
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A document in one line without a blank, for a way on which space is short: gzip, in base64. [`read`] takes it
/// as well.
pub(super) fn packed(document: &impl Serialize) -> std::io::Result<String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut encoder, document)?;
    Ok(STANDARD.encode(encoder.finish()?))
}

/// What [`packed`] packed, but for what is beyond so many bytes; `None` for anything else.
fn unpacked(text: &[u8], max_bytes: u64) -> Option<Vec<u8>> {
    let packed = STANDARD.decode(text.trim_ascii()).ok()?;
    let mut unpacked = Vec::new();
    GzDecoder::new(packed.as_slice())
        .take(max_bytes.saturating_add(1))
        .read_to_end(&mut unpacked)
        .ok()?;
    Some(unpacked)
}

/// Whether [`write`] could write there now.
pub(super) fn can_be_written(path: &Path) -> Result<(), DocumentError> {
    if path.is_dir() {
        let error = std::io::ErrorKind::IsADirectory.into();
        let path = path.to_owned();
        return Err(DocumentError::Io { path, error });
    }
    beside(path).map(drop)
}

/// A new file in the folder of that one.
fn beside(path: &Path) -> Result<NamedTempFile, DocumentError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(|error| DocumentError::Io {
        path: path.to_owned(),
        error,
    })
}

/// Reads what [`write`] or [`packed`] wrote. A pipe or a device never blocks us.
pub(super) fn read<T: DeserializeOwned>(path: &Path, kind: &Kind) -> Result<T, DocumentError> {
    let failed = |error| DocumentError::Io {
        path: path.to_owned(),
        error,
    };
    let malformed = |error| DocumentError::Malformed {
        path: path.to_owned(),
        name: kind.name,
        error,
        remedy: kind.remedy,
    };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("not a file")));
    }
    let file = File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    // The size is that of what is read: a file may grow after it was looked at.
    BufReader::new(file)
        .take(kind.max_bytes + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    let text = unpacked(&text, kind.max_bytes).unwrap_or(text);
    if text.len() as u64 > kind.max_bytes {
        return Err(DocumentError::TooLarge {
            path: path.to_owned(),
            name: kind.name,
            max_bytes: kind.max_bytes,
        });
    }
    // The format is looked at first, so that a newer file is named as such.
    let Head { schema } = serde_json::from_slice(&text).map_err(malformed)?;
    if schema != kind.format {
        return Err(DocumentError::Format {
            path: path.to_owned(),
            found: schema.chars().take(60).collect(),
            known: kind.format,
        });
    }
    serde_json::from_slice(&text).map_err(malformed)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        format: "plimsoll.test/1",
        name: "test file",
        remedy: "write it again",
        max_bytes: 200,
    };

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Document {
        schema: String,
        value: u32,
    }

    fn check(path: &Path, expected: &str) {
        let error = read::<Document>(path, &KIND).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document.json");
        let document = Document {
            schema: KIND.format.to_owned(),
            value: 7,
        };
        write(&path, &document).unwrap();
        assert_eq!(read::<Document>(&path, &KIND).unwrap(), document);
        // Nothing else was left beside it.
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_packed_document_is_the_same_document() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document");
        let document = Document {
            schema: KIND.format.to_owned(),
            value: 7,
        };
        let line = packed(&document).unwrap();
        // As a log has it.
        std::fs::write(&path, format!("{line}\n")).unwrap();
        assert_eq!(read::<Document>(&path, &KIND).unwrap(), document);
        std::fs::write(&path, &line[..line.len() / 2]).unwrap();
        check(&path, "not a test file");
        // A little that becomes a lot.
        let bomb = packed(&"x".repeat(1 << 20)).unwrap();
        let kind = Kind {
            max_bytes: 10_000,
            ..KIND
        };
        assert!(bomb.len() < 10_000, "{}", bomb.len());
        std::fs::write(&path, bomb).unwrap();
        let error = read::<Document>(&path, &kind).unwrap_err();
        assert!(matches!(error, DocumentError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn where_no_document_can_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        can_be_written(&folder.path().join("document.json")).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        assert!(can_be_written(&folder.path().join("missing/document.json")).is_err());
        assert!(can_be_written(folder.path()).is_err());
    }

    #[test]
    fn what_is_no_document_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document.json");
        check(&path, "No such file");
        check(folder.path(), "not a file");
        for (text, expected) in [
            ("", "not a test file: EOF"),
            ("{\"schema\": \"plimsoll.test/2\"}", "`plimsoll.test/2`"),
            ("{\"schema\": \"plimsoll.test/1\"}", "write it again"),
            (&" ".repeat(201), "larger than 200 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            check(&path, expected);
        }
    }
}
