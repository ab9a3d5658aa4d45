//! The formats, and telling them apart by what is in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{InterchangeError, Place};
use super::lines::RUNS_FORMAT;
use super::{file, go_bench, table};

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `plimsoll.runs/1`, one run a line.
    Runs,
    /// A folder that criterion wrote, or a folder of such folders.
    Criterion,
    /// `hyperfine --export-json`.
    Hyperfine,
    /// k6's end-of-test summary as JSON.
    K6,
    /// `oha --output-format json`.
    Oha,
    /// What `go test -bench` prints.
    GoBench,
    /// `pytest --benchmark-json`.
    PytestBenchmark,
    /// goose's `--report-file report.json`.
    Goose,
    /// A table.
    Csv,
}

/// What a file or folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something of ours other than `plimsoll.runs`: saved runs, a baseline.
    Ours,
    /// What [`read`](super::read) takes.
    Foreign(Format),
}

impl Format {
    /// Every format, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Runs,
        Self::Csv,
        Self::Criterion,
        Self::Hyperfine,
        Self::K6,
        Self::Oha,
        Self::GoBench,
        Self::PytestBenchmark,
        Self::Goose,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "plimsoll",
            Self::Criterion => "criterion",
            Self::Hyperfine => "hyperfine",
            Self::K6 => "k6",
            Self::Oha => "oha",
            Self::GoBench => "go-bench",
            Self::PytestBenchmark => "pytest-benchmark",
            Self::Goose => "goose",
            Self::Csv => "csv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| format!("no format is called `{name}`"))
    }
}

/// What the file `path` is, by its content. Its name says nothing: `.json` is half of all formats.
pub(super) fn kind(path: &Path) -> Result<Kind, InterchangeError> {
    // What is ours says so in its first words, however large it is.
    if let Some(schema) = first_schema(&file::beginning(path)?) {
        return Ok(of_schema(schema));
    }
    // Lines may be many; the first one says of itself what they are.
    if let Some(Ok((_, first))) = file::lines(path)?.find(|line| {
        line.as_ref()
            .map_or(true, |(_, line)| !line.trim().is_empty())
    }) && let Ok(Said { schema }) = serde_json::from_str(&first)
    {
        return Ok(of_schema(&schema));
    }
    let text = file::read_text(path)?;
    let start = text.trim_start();
    if start.starts_with('{') {
        return of_document(path, &text);
    }
    if text.lines().any(go_bench::is_result) {
        return Ok(Kind::Foreign(Format::GoBench));
    }
    let header = start.lines().next().unwrap_or_default();
    if table::is_header(header) {
        return Ok(Kind::Foreign(Format::Csv));
    }
    Err(unknown(path))
}

/// The schema of a document that begins with it.
fn first_schema(beginning: &str) -> Option<&str> {
    let mut rest = beginning.trim_start_matches('\u{feff}');
    for token in ["{", "\"schema\"", ":", "\""] {
        rest = rest.trim_start().strip_prefix(token)?;
    }
    rest.split_once('"').map(|(schema, _)| schema)
}

/// The part of a document that says what it is.
#[derive(Deserialize)]
struct Said {
    schema: String,
}

fn of_schema(schema: &str) -> Kind {
    let family = |name: &str| name.rsplit_once('/').map(|(family, _)| family.to_owned());
    match family(schema) == family(RUNS_FORMAT) {
        true => Kind::Foreign(Format::Runs),
        false => Kind::Ours,
    }
}

fn of_document(path: &Path, text: &str) -> Result<Kind, InterchangeError> {
    let keys: BTreeMap<String, IgnoredAny> = match file::json(path, text) {
        Ok(keys) => keys,
        // Several documents in one file are lines; which of them is wrong is for their reader.
        Err(_) if is_lines(text) => return Ok(Kind::Foreign(Format::Runs)),
        Err(error) => return Err(error),
    };
    if let Ok(Said { schema }) = serde_json::from_str(text) {
        return Ok(of_schema(&schema));
    }
    let has = |wanted: &[&str]| wanted.iter().all(|key| keys.contains_key(*key));
    let format = if has(&["raw_metrics", "raw_request_metrics"]) {
        Format::Goose
    } else if has(&["summary", "latencyPercentiles"]) {
        Format::Oha
    } else if has(&["benchmarks", "machine_info"]) {
        Format::PytestBenchmark
    } else if has(&["metrics"]) && !has(&["arm"]) || has(&["results", "config", "metadata"]) {
        Format::K6
    } else if has(&["results"]) {
        Format::Hyperfine
    } else if has(&["arm"]) {
        Format::Runs
    } else {
        return Err(unknown(path));
    };
    Ok(Kind::Foreign(format))
}

fn is_lines(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    lines.next().is_some() && serde_json::from_str::<IgnoredAny>(first).is_ok()
}

fn unknown(path: &Path) -> InterchangeError {
    let known: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
    Place::file(path).wrong(
        "nothing in it says which tool wrote it",
        format!("name its format with --from: {}", known.join(", ")),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_name_that_finds_it() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("json".parse::<Format>().is_err());
    }

    #[test]
    fn the_content_says_what_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let check = |text: &str, expected: Option<Kind>| {
            std::fs::write(&path, text).unwrap();
            assert_eq!(kind(&path).ok(), expected, "{text:?}");
        };
        let foreign = |format| Some(Kind::Foreign(format));
        check("{\"schema\":\"plimsoll.runs/1\"}\n", foreign(Format::Runs));
        check("\n {\"schema\":\"plimsoll.runs/9\"}", foreign(Format::Runs));
        check(
            "{\"arm\":\"base\"}\n{\"arm\":\"head\"}\n",
            foreign(Format::Runs),
        );
        check("{\"arm\":\"base\",\"metrics\":[]}", foreign(Format::Runs));
        check("{\"schema\":\"plimsoll.run/1\"}", Some(Kind::Ours));
        check("{\n\"schema\":\n\"plimsoll.baseline/1\"}", Some(Kind::Ours));
        check("{\"results\":[]}", foreign(Format::Hyperfine));
        check("{\"metrics\":{}}", foreign(Format::K6));
        check("\u{feff}arm,p95\nbase,1\n", foreign(Format::Csv));
        check(
            "PASS\nBenchmarkA-8 \t 10\t 5 ns/op\n",
            foreign(Format::GoBench),
        );
        check("", None);
        check("{}", None);
        check("[]", None);
        check("{\"results\":", None);
        check("hello, world\n", None);
        check(&"[".repeat(100_000), None);
        check(&"{\"a\":".repeat(100_000), None);
    }
}
