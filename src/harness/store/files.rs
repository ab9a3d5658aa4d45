//! Run files: a `.json` file holds one run, a `.jsonl` file one run a line, a folder both.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::format::{self, DecodeError};
use crate::harness::model::{Run, RunId, hexadecimal};

/// The longest file name that is used as it stands; common file systems take 255 bytes.
const MAX_NAME_BYTES: usize = 100;
/// A larger file is refused. An hour of two flows at a second's resolution is about 10 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// A folder whose files are larger together is refused.
const MAX_FOLDER_BYTES: u64 = 1 << 30;

/// Why run files could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file or folder can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file can't be written.
    #[error("{} can't be written: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither a file nor a folder, or a file of another kind.
    #[error("{} is not a `.json` or `.jsonl` file or a folder of such files", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
    },
    /// Larger than anything of ours.
    #[error("{} is larger than {limit_bytes} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// Not a run.
    #[error("{}{}: {source}", path.display(), line_suffix(*line))]
    Decode {
        /// Which file.
        path: PathBuf,
        /// The line of a `.jsonl` file, counted from 1.
        line: Option<usize>,
        /// Why.
        source: DecodeError,
    },
    /// The run can't be written.
    #[error("run {id} can't be written: {source}")]
    Encode {
        /// Which run.
        id: RunId,
        /// Why.
        source: DecodeError,
    },
    /// Two runs have one id.
    #[error("run {id} is both in {} and in {}; remove one of them", first.display(), second.display())]
    Twice {
        /// Which run.
        id: RunId,
        /// Where it was first.
        first: PathBuf,
        /// Where it was again.
        second: PathBuf,
    },
    /// Nothing in it.
    #[error("{} holds no run; `plimsoll run` writes some", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
}

/// The runs of a `.json` file, a `.jsonl` file, or a folder of both (its own files, not those of
/// folders within), in the order in which they started. At least one.
pub fn read_runs(path: &Path) -> Result<Vec<Run>, FileError> {
    let metadata = fs::metadata(path).map_err(reading(path))?;
    let files = if metadata.is_dir() {
        run_files(path)?
    } else {
        vec![path.to_owned()]
    };
    let mut places: BTreeMap<RunId, PathBuf> = BTreeMap::new();
    let mut runs = Vec::new();
    let mut left_bytes = MAX_FOLDER_BYTES;
    for file in files {
        let text = read_text(&file, MAX_FILE_BYTES)?;
        left_bytes =
            left_bytes
                .checked_sub(text.len() as u64)
                .ok_or_else(|| FileError::TooLarge {
                    path: path.to_owned(),
                    limit_bytes: MAX_FOLDER_BYTES,
                })?;
        for run in parse(&file, &text)? {
            if let Some(first) = places.insert(run.id, file.clone()) {
                return Err(FileError::Twice {
                    id: run.id,
                    first,
                    second: file,
                });
            }
            runs.push(run);
        }
    }
    if runs.is_empty() {
        return Err(FileError::Empty {
            path: path.to_owned(),
        });
    }
    runs.sort_by_key(|run| (run.started_at, run.id));
    Ok(runs)
}

/// Writes one run to a `.json` file: all of it or nothing, also when the process is killed.
pub fn write_run(path: &Path, run: &Run) -> Result<(), FileError> {
    let mut text =
        format::encode_run(run).map_err(|source| FileError::Encode { id: run.id, source })?;
    text.push('\n');
    write_text(path, &text)
}

/// The text of a regular file of at most `limit_bytes`. A pipe or a device never blocks us.
pub(super) fn read_text(path: &Path, limit_bytes: u64) -> Result<String, FileError> {
    if !fs::metadata(path).map_err(reading(path))?.is_file() {
        return Err(FileError::Kind {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(reading(path))?;
    let mut text = String::new();
    // The size is that of what is read: a file may grow after it was looked at.
    file.take(limit_bytes + 1)
        .read_to_string(&mut text)
        .map_err(reading(path))?;
    if text.len() as u64 > limit_bytes {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            limit_bytes,
        });
    }
    Ok(text)
}

/// Puts `text` at `path` in one step, making its folder where it is missing.
pub fn write_text(path: &Path, text: &str) -> Result<(), FileError> {
    let writing = |source| FileError::Write {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(writing)?;
    let mut file = tempfile::Builder::new()
        .prefix(".plimsoll-")
        // A temporary file is private by default; what replaces a file of a repository is not.
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(writing)?;
    file.write_all(text.as_bytes()).map_err(writing)?;
    file.as_file().sync_all().map_err(writing)?;
    file.persist(path).map_err(|error| writing(error.error))?;
    Ok(())
}

/// A file or folder name for any text, such as a scenario's id. Whatever is not a letter, a digit or
/// one of `-_.@`, a dot in front and an excessive length are replaced, and a hash keeps apart what
/// would then fall together. It never leads out of its folder.
pub fn component(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let mut name: String = text
        .chars()
        .map(|c| if harmless(c) { c } else { '_' })
        .collect();
    name.truncate(MAX_NAME_BYTES);
    if name.is_empty() || name.starts_with('.') {
        name.insert(0, '_');
    }
    if name != text {
        name.push('-');
        name.push_str(&hexadecimal(&Sha256::digest(text.as_bytes())[..4]));
    }
    name
}

#[derive(Clone, Copy)]
enum Kind {
    One,
    Lines,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::One),
            "jsonl" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// The run files of a folder by name. Names that begin with a dot are files being written.
fn run_files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(reading(folder))? {
        let entry = entry.map_err(reading(folder))?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let path = entry.path();
        if !hidden && Kind::of(&path).is_some() && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Run>, FileError> {
    let decode = |text: &str, line| {
        format::decode_run(text).map_err(|source| FileError::Decode {
            path: path.to_owned(),
            line,
            source,
        })
    };
    match Kind::of(path) {
        Some(Kind::One) => Ok(vec![decode(text, None)?]),
        Some(Kind::Lines) => (1..)
            .zip(text.lines())
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(number, line)| decode(line, Some(number)))
            .collect(),
        None => Err(FileError::Kind {
            path: path.to_owned(),
        }),
    }
}

fn reading(path: &Path) -> impl Fn(io::Error) -> FileError {
    move |source| FileError::Read {
        path: path.to_owned(),
        source,
    }
}

fn line_suffix(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}"))
        .unwrap_or_default()
}
