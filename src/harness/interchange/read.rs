//! Files and folders → what they held, each by its adapter.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{InterchangeError, Place};
use super::file::{read_text, reading};
use super::format::{Format, Kind, kind};
use super::imported::Imported;
use super::{criterion, go_bench, goose, hyperfine, k6, lines, oha, pytest_benchmark, table};
use crate::harness::model::Direction;

/// Files of a folder that may be results.
const EXTENSIONS: [&str; 5] = ["json", "jsonl", "ndjson", "csv", "txt"];

/// What the user says of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The format, instead of what the content says.
    pub from: Option<Format>,
    /// Which way is better where a file doesn't say it and its unit doesn't either.
    pub better: Option<Direction>,
}

/// What `path` holds: a file of any format, a folder of such files, or a folder with criterion's
/// results at any depth. `None` where it is something of ours that is not interchange: saved runs or a
/// baseline.
pub fn read(path: &Path, options: &Options) -> Result<Option<Vec<Imported>>, InterchangeError> {
    if !path.is_dir() {
        return Ok(read_file(path, options)?.map(|one| vec![one]));
    }
    let files = match options.from {
        Some(Format::Criterion) => Vec::new(),
        _ => files_of(path)?,
    };
    if files.is_empty() {
        return Ok(Some(vec![criterion::read(path)?]));
    }
    let mut all = Vec::new();
    for file in files {
        match read_file(&file, options)? {
            Some(imported) => all.push(imported),
            None if all.is_empty() => return Ok(None),
            None => {
                return Err(Place::file(&file).wrong(
                    "it is a saved run of Plimsoll among results of other tools",
                    "keep them in folders of their own, or turn it into lines: plimsoll export",
                ));
            }
        }
    }
    Ok(Some(all))
}

fn read_file(path: &Path, options: &Options) -> Result<Option<Imported>, InterchangeError> {
    let format = match options.from {
        Some(format) => format,
        None => match kind(path)? {
            Kind::Ours => return Ok(None),
            Kind::Foreign(format) => format,
        },
    };
    let text = || read_text(path);
    let imported = match format {
        Format::Runs => lines::read(path, options)?,
        Format::Csv => table::read(path, &text()?, options)?,
        Format::Criterion => criterion::read(path)?,
        Format::Hyperfine => hyperfine::read(path, &text()?)?,
        Format::K6 => k6::read(path, &text()?)?,
        Format::Oha => oha::read(path, &text()?)?,
        Format::GoBench => go_bench::read(path, &text()?)?,
        Format::PytestBenchmark => pytest_benchmark::read(path, &text()?)?,
        Format::Goose => goose::read(path, &text()?)?,
    };
    if imported.runs.iter().all(|run| run.metrics.is_empty()) {
        return Err(Place::file(path).wrong(
            format!("it holds no metric that could be read as {format}"),
            "name its format with --from, or write it again with the tool that made it",
        ));
    }
    Ok(Some(imported))
}

/// The files of a folder by name. Names that begin with a dot are files being written.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, InterchangeError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(reading(folder))? {
        let entry = entry.map_err(reading(folder))?;
        let path = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_result = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
        if is_result && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
