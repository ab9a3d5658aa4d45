//! Feeds: files of rows, read once here to know their columns and contents.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::files::{Files, is_json};
use crate::harness::scenario::plan::{FeedFormat, FeedOrder, FeedPlan, FilePlan};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text};
use crate::harness::scenario::rows::{each_row, repeated};

/// A feed with what the plan doesn't keep of it.
pub(super) struct Feed {
    pub(super) plan: FeedPlan,
    /// Whether its columns are known.
    pub(super) is_readable: bool,
    /// How many rows it has.
    pub(super) rows: u64,
}

pub(super) fn read(
    table: &DeTable<'_>,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Feed> {
    raw::named_tables(table, "feed")
        .into_iter()
        .map(|(name, table)| {
            if name.text == "setup" {
                problems.report(
                    Code::BadName,
                    name.span,
                    "a feed can't be named `setup`",
                    "means something else",
                    "`{setup.NAME}` is what the setup extracted; give the feed another name",
                );
            }
            (name.text.to_owned(), feed(table, files, problems))
        })
        .collect()
}

fn feed(table: &DeTable<'_>, files: &mut Files, problems: &mut Problems<'_>) -> Feed {
    let mut feed = Feed {
        plan: FeedPlan {
            file: FilePlan::default(),
            format: FeedFormat::Csv,
            columns: Vec::new(),
            order: match raw::text(table, "order").map(|order| order.text) {
                Some("random") => FeedOrder::Random,
                Some("shuffled") => FeedOrder::Shuffled,
                Some("unique") => FeedOrder::Unique,
                _ => FeedOrder::Sequential,
            },
        },
        is_readable: false,
        rows: 0,
    };
    if let Some(named) = raw::text(table, "file")
        && let Some((file, bytes)) = files.read(&named, "the feed's file", problems)
    {
        feed.plan.file = file;
        let read = if is_json(named.text) {
            feed.plan.format = FeedFormat::Json;
            read_json(&bytes, &named, problems)
        } else {
            read_csv(&bytes, &named, problems)
        };
        feed.is_readable = read.is_some();
        (feed.plan.columns, feed.rows) = read.unwrap_or_default();
    }
    feed
}

/// The columns of a CSV file with a header and at least one row, and the number of rows, or a problem.
fn read_csv(
    bytes: &[u8],
    file: &Text<'_>,
    problems: &mut Problems<'_>,
) -> Option<(Vec<String>, u64)> {
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
    if let Some(twice) = repeated(&columns) {
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
    Some((columns, rows))
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

/// The columns of a JSON array of objects, at least one, and their number, or a problem.
fn read_json(
    bytes: &[u8],
    file: &Text<'_>,
    problems: &mut Problems<'_>,
) -> Option<(Vec<String>, u64)> {
    let mut rows = 0;
    let columns = each_row(bytes, |_| rows += 1);
    if let Err(error) = &columns {
        problems.report(
            Code::BadFeed,
            file.span.clone(),
            "the feed can't be read",
            error.to_string(),
            "a feed is a JSON array of objects with the same keys, whose values are texts, numbers or booleans",
        );
    }
    columns.ok().map(|columns| (columns, rows))
}
