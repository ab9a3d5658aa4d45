//! What a value of a template means at the place where it stands.

use std::ops::Range;

use super::values::{AtStep, Role, Scope, Sources};
use crate::harness::scenario::plan::{FeedOrder, Part};
use crate::harness::scenario::problem::{Code, Problems};

const FLOW_SPECIALS: [&str; 5] = [
    "$env.NAME",
    "$uuid",
    "$counter",
    "$random(LOW,HIGH)",
    "$now",
];

/// The part that `value`, the text between two braces at `place`, stands for; or a problem.
pub(super) fn resolve(
    value: &str,
    place: Range<usize>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    if let Some(special) = value.strip_prefix('$') {
        return resolve_special(special, place, scope, problems);
    }
    match scope {
        Scope::Step(at) => match value.split_once('.') {
            Some(("setup", name)) => resolve_setup(name, place, at.sources, problems),
            Some((feed, column)) => resolve_column(feed, column, place, at.sources, problems),
            None => resolve_extracted(value, place, at, problems),
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
        Scope::Http => {
            problems.report(
                Code::UnknownValue,
                place,
                format!("there is no value `{value}` here"),
                "not known before a flow begins",
                "a proxy is the same for all requests; it knows `{$env.NAME}`",
            );
            None
        }
    }
}

fn resolve_extracted(
    value: &str,
    place: Range<usize>,
    at: &AtStep<'_>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    match at.extracted.get(value) {
        Some(first) if *first < at.number => return Some(Part::Extracted(value.to_owned())),
        Some(first) => {
            let when = if *first == at.number {
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
            let feed = at.sources.feeds.get(value);
            let column = feed.and_then(|feed| feed.plan.columns.first());
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
                report.suggest(value, at.extracted.keys().copied());
            }
        }
    }
    None
}

fn resolve_setup(
    name: &str,
    place: Range<usize>,
    sources: &Sources<'_>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    if sources.role == Role::Setup {
        problems.report(
            Code::UnknownValue,
            place,
            "the setup knows its own values by their names alone",
            "not known in the setup",
            format!("write `{{{name}}}` in a step behind the one that extracts it"),
        );
        return None;
    }
    if !sources.setup.contains(name) {
        problems
            .report(
                Code::UnknownValue,
                place,
                format!("the setup extracts no `{name}`"),
                "nothing extracts this",
                "extract it in a `[[setup.step]]`",
            )
            .suggest(name, sources.setup.iter().map(String::as_str));
        return None;
    }
    Some(Part::Setup(name.to_owned()))
}

fn resolve_column(
    feed: &str,
    column: &str,
    place: Range<usize>,
    sources: &Sources<'_>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    let feeds = sources.feeds;
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
    if known.plan.order == FeedOrder::Unique && sources.role != Role::Load {
        problems.report(
            Code::UniqueFeed,
            place.clone(),
            format!("the rows of feed `{feed}` are for the loads, once each"),
            "drawn outside of the loads",
            "draw from another feed here, which may have the same file",
        );
    }
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
    if !matches!(scope, Scope::Step(_)) {
        problems.report(
            Code::UnknownValue,
            place,
            format!("there is no value `${special}` here"),
            "only flows know this",
            "of these values, processes and a proxy know `{$env.NAME}`",
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
