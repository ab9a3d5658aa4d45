//! What the values of a template mean at the place where it stands.

use std::collections::BTreeMap;
use std::ops::Range;

use super::feeds::Feed;
use crate::harness::scenario::plan::{Part, Template};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::Text;
use crate::harness::scenario::template::{self, Piece};

const FLOW_SPECIALS: [&str; 5] = [
    "$env.NAME",
    "$uuid",
    "$counter",
    "$random(LOW,HIGH)",
    "$now",
];
const BRACE_HELP: &str = "close the value with `}`; write `{{` for a brace that opens none";

/// Where a template stands, which decides what it may name.
pub(super) enum Scope<'a> {
    /// A step of a flow.
    Step {
        feeds: &'a BTreeMap<String, Feed>,
        /// By name, the first step that extracts it.
        extracted: &'a BTreeMap<&'a str, usize>,
        /// The number of this step.
        step: usize,
    },
    /// A command or the environment of a process.
    Process {
        name: &'a str,
        /// Other processes that were named, and where.
        mentions: &'a mut Vec<(String, Range<usize>)>,
    },
    /// A command that runs before there are ports.
    Build,
}

/// Reads a template that is the whole of a value of the file.
pub(super) fn template(
    text: &Text<'_>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Template {
    parts(text.text, &text.span, scope, problems)
}

/// Reads a template that is `text` or a piece of what stands at `span`.
pub(super) fn parts(
    text: &str,
    span: &Range<usize>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Template {
    let mut parts = Vec::new();
    for piece in template::split(text) {
        match piece {
            Piece::Text(literal) => parts.push(Part::Text(literal)),
            Piece::Value(value, range) => {
                let place = locate(problems.source(), span, &text[range]);
                parts.extend(resolve(value, place, scope, problems));
            }
            Piece::Unclosed(range) => {
                let place = locate(problems.source(), span, &text[range]);
                problems.report(
                    Code::Template,
                    place,
                    "a value in braces is never closed",
                    "opened here",
                    BRACE_HELP,
                );
            }
        }
    }
    Template { parts }
}

/// The place of `needle` in the value at `span`, or the whole value where escapes hide it.
pub(super) fn locate(source: &str, span: &Range<usize>, needle: &str) -> Range<usize> {
    let found = source
        .get(span.clone())
        .and_then(|value| value.find(needle));
    match found {
        Some(at) if !needle.is_empty() => span.start + at..span.start + at + needle.len(),
        _ => span.clone(),
    }
}

fn resolve(
    value: &str,
    place: Range<usize>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    if let Some(special) = value.strip_prefix('$') {
        return resolve_special(special, place, scope, problems);
    }
    match scope {
        Scope::Step {
            feeds,
            extracted,
            step,
        } => match value.split_once('.') {
            Some((feed, column)) => resolve_column(feed, column, place, feeds, problems),
            None => {
                match extracted.get(value) {
                    Some(first) if first < step => return Some(Part::Extracted(value.to_owned())),
                    Some(first) => {
                        let when = if first == step {
                            "only this"
                        } else {
                            "only a later"
                        };
                        problems.report(
                            Code::UsedBeforeExtracted,
                            place,
                            format!("`{value}` is used before it is extracted"),
                            format!("{when} step extracts it"),
                            "move the step that extracts it before this one",
                        );
                    }
                    None => {
                        let column = feeds.get(value).and_then(|feed| feed.plan.columns.first());
                        let help = column.map_or_else(
                            || "extract it in an earlier step".to_owned(),
                            |column| format!("name a column of the feed: `{{{value}.{column}}}`"),
                        );
                        let report = problems.report(
                            Code::UnknownValue,
                            place,
                            format!("there is no value `{value}`"),
                            "nothing extracts this",
                            help,
                        );
                        if column.is_none() {
                            report.suggest(value, extracted.keys().copied());
                        }
                    }
                }
                None
            }
        },
        Scope::Process { name, mentions } => match (value, value.split_once('.')) {
            ("port", _) => Some(Part::OwnPort),
            ("dir", _) => Some(Part::OwnDir),
            (_, Some((other, "port"))) if other == *name => Some(Part::OwnPort),
            (_, Some((other, "port"))) => {
                mentions.push((other.to_owned(), place));
                Some(Part::PortOf(other.to_owned()))
            }
            (_, Some((other, "url"))) => {
                if other != *name {
                    mentions.push((other.to_owned(), place));
                }
                Some(Part::UrlOf(other.to_owned()))
            }
            _ => {
                problems
                    .report(
                        Code::UnknownValue,
                        place,
                        format!("there is no value `{value}` here"),
                        "not a value of a process", "a process knows `{port}`, `{dir}`, `{NAME.port}`, `{NAME.url}` and `{$env.NAME}`; write `{{` for a brace that opens none");
                None
            }
        },
        Scope::Build => {
            problems.report(
                Code::UnknownValue,
                place,
                format!("there is no value `{value}` in a build"),
                "not known when building",
                "a build runs once before there are ports and folders; it knows `{$env.NAME}`",
            );
            None
        }
    }
}

fn resolve_column(
    feed: &str,
    column: &str,
    place: Range<usize>,
    feeds: &BTreeMap<String, Feed>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    let Some(known) = feeds.get(feed) else {
        problems
            .report(
                Code::UnknownFeed,
                place,
                format!("there is no feed `{feed}`"),
                "no such feed",
                "add it: `[feed.NAME]` with `file = \"rows.csv\"`",
            )
            .suggest(feed, feeds.keys().map(String::as_str));
        return None;
    };
    let columns = &known.plan.columns;
    if known.is_readable && !columns.iter().any(|known| known == column) {
        problems
            .report(
                Code::UnknownColumn,
                place,
                format!("feed `{feed}` has no column `{column}`"),
                "no such column",
                "name a column of its header",
            )
            .suggest(column, columns.iter().map(String::as_str));
    }
    Some(Part::Feed {
        feed: feed.to_owned(),
        column: column.to_owned(),
    })
}

fn resolve_special(
    special: &str,
    place: Range<usize>,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    if let Some(name) = special.strip_prefix("env.") {
        let is_variable = !name.starts_with(|char: char| char.is_ascii_digit())
            && !name.is_empty()
            && name
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || char == '_');
        if !is_variable {
            problems.report(
                Code::Template,
                place,
                format!("`{name}` can't be the name of an environment variable"),
                "expected `{$env.NAME}`",
                "a variable has letters, digits and `_`, and doesn't begin with a digit",
            );
            return None;
        }
        return Some(Part::Env(name.to_owned()));
    }
    if !matches!(scope, Scope::Step { .. }) {
        problems.report(
            Code::UnknownValue,
            place,
            format!("there is no value `${special}` here"),
            "only flows know this",
            "of these values, processes know `{$env.NAME}`",
        );
        return None;
    }
    if let Some(bounds) = special.strip_prefix("random") {
        let bounds = bounds
            .trim()
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|inner| inner.split_once(','))
            .and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
        let Some((low, high)) = bounds.filter(|(low, high): &(i64, i64)| low <= high) else {
            problems.report(
                Code::Template,
                place,
                "`$random` needs two whole numbers, the smaller one first",
                "can't be read",
                "write `{$random(1,100)}`",
            );
            return None;
        };
        return Some(Part::Random { low, high });
    }
    match special {
        "uuid" => Some(Part::Uuid),
        "counter" => Some(Part::Counter),
        "now" => Some(Part::Now),
        _ => {
            problems
                .report(
                    Code::UnknownValue,
                    place,
                    format!("there is no value `${special}`"),
                    "not known",
                    "write `{{` for a brace that opens no value",
                )
                .suggest(&format!("${special}"), FLOW_SPECIALS);
            None
        }
    }
}
