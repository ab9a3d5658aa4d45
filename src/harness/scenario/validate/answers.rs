//! What must hold of an answer or of a message, and what later steps take from it.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::bodies::json;
use super::policies::{positive, statuses};
use super::syntax::{
    check_cookie_name, check_css, check_header_name, check_jsonpath, regex_groups,
};
use crate::harness::scenario::plan::{
    CheckPlan, ExpectPlan, ExtractPlan, ExtractSource, MAX_SEEN_BYTES, Pick,
};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;

/// What a step gets to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// An answer with its body.
    Answer,
    /// The answer to a HEAD request.
    HeadOfAnswer,
    /// A message of a stream.
    Message,
}

impl Seen {
    /// Why a key that looks at `where_it_is` finds nothing.
    fn lacks(self, key: &str) -> Option<&'static str> {
        let is_of_head = matches!(key, "status" | "headers" | "time" | "header" | "cookie");
        match self {
            Self::HeadOfAnswer if !is_of_head => Some("the answer to a HEAD request has no body"),
            Self::Message if is_of_head => Some("a message has no headers"),
            _ => None,
        }
    }
}

/// Reads the checks of a request.
pub(super) fn check(step: &DeTable<'_>, seen: Seen, problems: &mut Problems<'_>) -> CheckPlan {
    let mut check = CheckPlan::default();
    let Some((table, _)) = raw::table(step, "check") else {
        return check;
    };
    report_unseen(table, seen, problems);
    if let Some(value) = table.get("status") {
        check.status = statuses(value);
    }
    check.body_contains = raw::text(table, "body_contains").map(|text| text.text.to_owned());
    check.body_matches = regex(table, "body_matches", problems);
    check.json = expected_json(table, problems);
    check.headers = expected_headers(table, problems);
    if let Some((size, span)) = raw::table(table, "size") {
        check.min_bytes = raw::size_bytes(size, "min");
        check.max_bytes = raw::size_bytes(size, "max");
        if let (Some(min), Some(max)) = (check.min_bytes, check.max_bytes)
            && min > max
        {
            problems.report(
                Code::OutOfRange,
                span,
                "`min` is larger than `max`",
                "the bounds are swapped",
                "write the smaller size as `min`",
            );
        }
    }
    check.max_time_ns = positive(table, "time", problems);
    check
}

/// Reports a size that the body may not have: one that large is not looked at, and this step does.
pub(super) fn check_seen_size(
    step: &DeTable<'_>,
    check: &CheckPlan,
    extract: &BTreeMap<String, ExtractPlan>,
    problems: &mut Problems<'_>,
) {
    let is_of_body = |plan: &ExtractPlan| {
        !matches!(
            plan.from,
            ExtractSource::Header(_) | ExtractSource::Cookie(_)
        )
    };
    let is_seen = check.body_contains.is_some()
        || check.body_matches.is_some()
        || !check.json.is_empty()
        || extract.values().any(is_of_body);
    let size = raw::table(step, "check").and_then(|(table, _)| raw::table(table, "size"));
    let Some((size, _)) = size.filter(|_| is_seen) else {
        return;
    };
    for key in ["min", "max"] {
        let bytes = raw::size_bytes(size, key).unwrap_or(0);
        if let Some(value) = size.get(key).filter(|_| bytes > MAX_SEEN_BYTES) {
            problems.report(
                Code::OutOfRange,
                value.span(),
                "a body of more than 16MiB is not looked at, and this step looks at what it holds",
                "at most `16MiB`",
                "write a smaller size, or check nothing of that body but its size",
            );
        }
    }
}

/// Reads what is asked of a message into `expect`.
pub(super) fn expect(table: &DeTable<'_>, expect: &mut ExpectPlan, problems: &mut Problems<'_>) {
    expect.event = raw::text(table, "event").map(|text| text.text.to_owned());
    expect.contains = raw::text(table, "contains").map(|text| text.text.to_owned());
    expect.matches = regex(table, "matches", problems);
    expect.json = expected_json(table, problems);
    if let Some(count) = raw::integer_at(table, "count").and_then(|count| u32::try_from(count).ok())
    {
        expect.count = count;
    }
}

/// Reads the extractions of a step.
pub(super) fn extract(
    step: &DeTable<'_>,
    seen: Seen,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, ExtractPlan> {
    let mut extract = BTreeMap::new();
    for (name, table) in raw::named_tables(step, "extract") {
        report_unseen(table, seen, problems);
        let Some(from) = source(table, problems) else {
            continue;
        };
        let plan = ExtractPlan {
            from,
            pick: match raw::text(table, "pick").map(|pick| pick.text) {
                Some("last") => Pick::Last,
                Some("random") => Pick::Random,
                _ => Pick::First,
            },
            default: raw::text(table, "default").map(|text| text.text.to_owned()),
        };
        extract.insert(name.text.to_owned(), plan);
    }
    extract
}

fn source(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<ExtractSource> {
    if let Some(path) = raw::text(table, "json") {
        check_jsonpath(&path, problems);
        return Some(ExtractSource::Json(path.text.to_owned()));
    }
    if let Some(header) = raw::text(table, "header") {
        check_header_name(&header, problems);
        return Some(ExtractSource::Header(header.text.to_owned()));
    }
    if let Some(regex) = raw::text(table, "regex") {
        if regex_groups(&regex, problems) == Some(0) {
            problems.report(
                Code::BadRegex,
                regex.span.clone(),
                "the regular expression has no group to extract",
                "no group",
                "put parentheses around what is wanted: `'id=(\\d+)'`",
            );
        }
        return Some(ExtractSource::Regex(regex.text.to_owned()));
    }
    if let Some(cookie) = raw::text(table, "cookie") {
        check_cookie_name(&cookie, problems);
        return Some(ExtractSource::Cookie(cookie.text.to_owned()));
    }
    let selector = raw::text(table, "html")?;
    check_css(&selector, problems);
    Some(ExtractSource::Html {
        selector: selector.text.to_owned(),
        attribute: raw::text(table, "attribute").map(|name| name.text.to_owned()),
    })
}

/// Reports keys that look at what isn't there.
fn report_unseen(table: &DeTable<'_>, seen: Seen, problems: &mut Problems<'_>) {
    for (key, _) in raw::entries(table) {
        let is_source = !matches!(key.get_ref().as_ref(), "attribute" | "pick" | "default");
        if let Some(reason) = seen.lacks(key.get_ref()).filter(|_| is_source) {
            problems.report(
                Code::ConflictingKeys,
                key.span(),
                reason,
                "nothing to look at",
                "remove it, or look at what there is",
            );
        }
    }
}

fn regex(table: &DeTable<'_>, key: &str, problems: &mut Problems<'_>) -> Option<String> {
    let pattern = raw::text(table, key)?;
    regex_groups(&pattern, problems);
    Some(pattern.text.to_owned())
}

fn expected_json(
    table: &DeTable<'_>,
    problems: &mut Problems<'_>,
) -> Vec<(String, serde_json::Value)> {
    let entries = raw::table(table, "json")
        .into_iter()
        .flat_map(|(table, _)| raw::entries(table));
    let mut expected = Vec::new();
    for (path, value) in entries {
        let path = raw::key_text(path);
        check_jsonpath(&path, problems);
        if let Some(value) = json(value.get_ref(), value.span(), problems) {
            expected.push((path.text.to_owned(), value));
        }
    }
    expected
}

fn expected_headers(
    table: &DeTable<'_>,
    problems: &mut Problems<'_>,
) -> Vec<(String, Option<String>)> {
    let entries = raw::table(table, "headers")
        .into_iter()
        .flat_map(|(table, _)| raw::entries(table));
    let mut expected = Vec::new();
    for (name, value) in entries {
        let name = raw::key_text(name);
        check_header_name(&name, problems);
        if value.get_ref().as_bool() == Some(false) {
            problems.report(
                Code::OutOfRange,
                value.span(),
                "a check can't demand that a header is missing",
                "expected `true` or a text",
                "`true`: the header must be there; a text: it must have this value",
            );
        }
        let value = value.get_ref().as_str().map(str::to_owned);
        expected.push((name.text.to_owned(), value));
    }
    expected
}
