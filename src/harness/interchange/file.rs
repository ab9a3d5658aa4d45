//! Files of other tools, read with limits.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{InterchangeError, Place};

/// A larger document is refused: a summary is some kilobytes, a pytest-benchmark file with every
/// round a few megabytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// A larger file of lines is refused. It is read line by line, so only what is made of it takes room.
const MAX_LINES_BYTES: u64 = 1 << 30;
/// A longer line is refused: a run with ten thousand metrics has about a megabyte.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// Where a file says what it is, if it does.
const BEGINNING_BYTES: u64 = 512;

/// A file's text, without a byte order mark.
pub(super) fn read_text(path: &Path) -> Result<String, InterchangeError> {
    read_text_at_most(path, MAX_FILE_BYTES)
}

/// The same with another limit.
pub(super) fn read_text_at_most(path: &Path, limit_bytes: u64) -> Result<String, InterchangeError> {
    let mut bytes = Vec::new();
    // The size is that of what is read: a file may grow after it was looked at.
    let read = open(path)?
        .take(limit_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(reading(path))?;
    if read as u64 > limit_bytes {
        return Err(too_large(path, limit_bytes));
    }
    let text = String::from_utf8(bytes).map_err(|_| not_text(&Place::file(path)))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    })
}

/// The first bytes of a file; what is not text in them is replaced.
pub(super) fn beginning(path: &Path) -> Result<String, InterchangeError> {
    let mut bytes = Vec::new();
    open(path)?
        .take(BEGINNING_BYTES)
        .read_to_end(&mut bytes)
        .map_err(reading(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The JSON document `text` of `path`.
pub(super) fn json<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, InterchangeError> {
    serde_json::from_str(text).map_err(|error| {
        Place::file(path).wrong(
            format!("it can't be read: {error}"),
            "write the file again with the tool that made it, or name another format with --from",
        )
    })
}

/// The lines of a file with their numbers, one in memory at a time. After an error it ends.
pub(super) fn lines(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(u64, String), InterchangeError>>, InterchangeError> {
    let mut reader = BufReader::new(open(path)?.take(MAX_LINES_BYTES + 1));
    let path = path.to_owned();
    let mut number = 0;
    let mut left_bytes = MAX_LINES_BYTES;
    let mut has_failed = false;
    Ok(std::iter::from_fn(move || {
        if has_failed {
            return None;
        }
        number += 1;
        let line = next_line(&mut reader, &Place::line(&path, number), &mut left_bytes);
        has_failed = line.is_err();
        line.map(|line| line.map(|line| (number, line))).transpose()
    }))
}

fn next_line(
    reader: &mut impl BufRead,
    place: &Place,
    left_bytes: &mut u64,
) -> Result<Option<String>, InterchangeError> {
    let mut bytes = Vec::new();
    let read = reader
        .by_ref()
        .take(MAX_LINE_BYTES + 1)
        .read_until(b'\n', &mut bytes)
        .map_err(reading(&place.path))? as u64;
    if read > MAX_LINE_BYTES {
        return Err(place.wrong(
            format!("the line is longer than {MAX_LINE_BYTES} bytes"),
            "write one run a line",
        ));
    }
    *left_bytes = left_bytes
        .checked_sub(read)
        .ok_or_else(|| too_large(&place.path, MAX_LINES_BYTES))?;
    if read == 0 {
        return Ok(None);
    }
    let line = String::from_utf8(bytes).map_err(|_| not_text(place))?;
    Ok(Some(match line.strip_prefix('\u{feff}') {
        Some(line) if place.line == Some(1) => line.to_owned(),
        _ => line,
    }))
}

/// A regular file: a pipe or a device never blocks us.
fn open(path: &Path) -> Result<File, InterchangeError> {
    if !fs::metadata(path).map_err(reading(path))?.is_file() {
        return Err(reading(path)(io::Error::other("it is not a regular file")));
    }
    File::open(path).map_err(reading(path))
}

pub(super) fn reading(path: &Path) -> impl Fn(io::Error) -> InterchangeError {
    move |source| InterchangeError::Read {
        path: path.to_owned(),
        source,
    }
}

fn too_large(path: &Path, limit_bytes: u64) -> InterchangeError {
    Place::file(path).wrong(
        format!("it is larger than {limit_bytes} bytes"),
        "split it, or leave out what is not a metric of a run",
    )
}

fn not_text(place: &Place) -> InterchangeError {
    place.wrong(
        "it is not text in UTF-8",
        "name a file that a tool wrote as JSON, CSV or text",
    )
}
