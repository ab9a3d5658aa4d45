//! Feeds: CSV files below the project's root, read once here to know their columns and contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::{Place, stays_below};
use crate::harness::model::hexadecimal;
use crate::harness::scenario::plan::{FeedFormat, FeedOrder, FeedPlan, MAX_FEED_BYTES};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text};

/// A feed with what the plan doesn't keep of it.
pub(super) struct Feed {
    pub(super) plan: FeedPlan,
    /// SHA-256 of the file, so that other rows are another measured part.
    pub(super) content_hash: String,
    /// Whether its columns are known.
    pub(super) is_readable: bool,
}

pub(super) fn read(
    table: &DeTable<'_>,
    place: &Place,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Feed> {
    raw::named_tables(table, "feed")
        .into_iter()
        .map(|(name, table)| {
            let order = match raw::text(table, "order") {
                Some(order) if order.text == "random" => FeedOrder::Random,
                _ => FeedOrder::Sequential,
            };
            let mut feed = Feed {
                plan: FeedPlan {
                    file: PathBuf::new(),
                    format: FeedFormat::Csv,
                    columns: Vec::new(),
                    order,
                },
                content_hash: String::new(),
                is_readable: false,
            };
            if let Some(file) = raw::text(table, "file")
                && let Some((path, bytes)) = bytes(&file, place, problems)
            {
                feed.content_hash = hexadecimal(&Sha256::digest(&bytes));
                feed.plan.file = path;
                if let Some(columns) = columns(&bytes, &file, problems) {
                    feed.plan.columns = columns;
                    feed.is_readable = true;
                }
            }
            (name.text.to_owned(), feed)
        })
        .collect()
}

/// The file and its contents, or a problem.
fn bytes(
    file: &Text<'_>,
    place: &Place,
    problems: &mut Problems<'_>,
) -> Option<(PathBuf, Vec<u8>)> {
    let path = place.folder.join(file.text);
    if !is_below(&path, place) {
        problems.report(
            Code::PathOutside,
            file.span.clone(),
            "the feed's file lies outside the project",
            "leads out of the project",
            "put it beside the scenario and name it by a relative path",
        );
        return None;
    }
    let read = || {
        // Links are followed before looking where the file lies, and the size is bounded while
        // reading: neither a link nor a device may get past the checks.
        let path = path.canonicalize()?;
        if !path.starts_with(&place.root) || !path.is_file() {
            return Err(std::io::Error::other("not a file of the project"));
        }
        let mut bytes = Vec::new();
        File::open(&path)?
            .take(MAX_FEED_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FEED_BYTES {
            return Err(std::io::Error::other("larger than 64 MiB"));
        }
        Ok((path, bytes))
    };
    match read() {
        Ok(found) => Some(found),
        Err(error) => {
            problems.report(
                Code::MissingFile,
                file.span.clone(),
                format!("can't read the feed's file `{}`", file.text),
                reason(&error),
                "the path is relative to the scenario's folder",
            );
            None
        }
    }
}

/// The columns of a CSV file with a header and at least one row, or a problem.
fn columns(bytes: &[u8], file: &Text<'_>, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    let mut report = |message: String, label: String| {
        problems.report(
            Code::BadFeed,
            file.span.clone(),
            message,
            label,
            "a feed is CSV: a header line, then at least one row with as many fields",
        );
        None
    };
    let mut reader = csv::Reader::from_reader(bytes);
    let columns: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(str::to_owned).collect(),
        Err(error) => return report("the feed's header can't be read".into(), csv_reason(&error)),
    };
    let mut seen = BTreeSet::new();
    if let Some(twice) = columns.iter().find(|column| !seen.insert(*column)) {
        return report(
            format!("the feed has two columns named `{twice}`"),
            "ambiguous columns".into(),
        );
    }
    let mut rows = 0_u64;
    for row in reader.records() {
        match row {
            Ok(_) => rows += 1,
            Err(error) => {
                return report("a row of the feed can't be read".into(), csv_reason(&error));
            }
        }
    }
    if rows == 0 {
        return report("the feed has no rows".into(), "no rows in this file".into());
    }
    Some(columns)
}

/// Whether a path lies below the project's root before any link is followed.
fn is_below(path: &Path, place: &Place) -> bool {
    path.strip_prefix(&place.root).is_ok_and(stays_below)
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "not allowed to read it".to_owned(),
        _ => error.to_string(),
    }
}

fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} has {len} fields, the header {expected_len}")
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} is not UTF-8")
        }
        _ => "not CSV".to_owned(),
    }
}
