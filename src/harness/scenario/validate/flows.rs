//! Flows: steps with their templates, checks and extractions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use http::{HeaderName, HeaderValue};
use serde_json_path::JsonPath;
use toml::de::{DeTable, DeValue};

use super::feeds::Feed;
use super::values::{self, Scope};
use super::{check_path, regex_groups};
use crate::harness::scenario::keys::METHODS;
use crate::harness::scenario::plan::{
    AddressPlan, BodyPlan, CheckPlan, DEFAULT_TIMEOUT_NS, ExtractPlan, ExtractSource, FlowPlan,
    Part, RequestPlan, StepPlan, Template, ThinkPlan,
};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text, Value};
use crate::harness::scenario::structure::status_range;

/// Request names stand in metric paths and reports.
const MAX_REQUEST_NAME: usize = 200;
/// A worker keeps histograms for each name of its flow, about 1.5 MB of them in a busy second.
const MAX_REQUEST_NAMES: usize = 200;
/// A JSONPath is a line of text; its parser goes back over nested parentheses again and again.
const MAX_JSONPATH: usize = 500;
const MAX_JSONPATH_DEPTH: usize = 8;
/// The client writes these by itself; a second one would break the framing of the request.
const FRAMING_HEADERS: [&str; 4] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
];

pub(super) fn read(
    table: &DeTable<'_>,
    feeds: &BTreeMap<String, Feed>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, FlowPlan> {
    raw::named_tables(table, "flow")
        .into_iter()
        .map(|(name, table)| (name.text.to_owned(), flow(table, feeds, problems)))
        .collect()
}

fn flow(
    table: &DeTable<'_>,
    feeds: &BTreeMap<String, Feed>,
    problems: &mut Problems<'_>,
) -> FlowPlan {
    let tables = raw::tables(table, "step");
    let mut extracted: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, (table, _)) in tables.iter().enumerate() {
        for (name, _) in raw::named_tables(table, "extract") {
            extracted.entry(name.text).or_insert(number);
        }
    }
    let steps: Vec<RequestPlan> = tables
        .iter()
        .enumerate()
        .map(|(number, (table, span))| {
            let mut scope = Scope::Step {
                feeds,
                extracted: &extracted,
                step: number,
            };
            let step = step(table, &mut scope, problems);
            check_request_name(&step.name, table, span, problems);
            step
        })
        .collect();
    for ((table, span), step) in tables.iter().zip(&steps) {
        // `load.L.request.NAME.service.p95` would name two metrics.
        if let Some(prefix) = step.name.strip_suffix(".service")
            && steps.iter().any(|other| other.name == prefix)
        {
            let span = table.get("name").map_or(span.clone(), Value::span);
            problems.report(
                Code::DuplicateName,
                span,
                format!("`{}` and `{prefix}` make ambiguous metric names", step.name),
                "ambiguous beside the other",
                "give one of the two steps another `name`",
            );
        }
    }
    check_number_of_names(&steps, &tables, problems);
    FlowPlan::new(steps.into_iter().map(StepPlan::from).collect())
}

fn check_number_of_names(
    steps: &[RequestPlan],
    tables: &[(&DeTable<'_>, Range<usize>)],
    problems: &mut Problems<'_>,
) {
    let mut names = BTreeSet::new();
    let beyond = steps.iter().zip(tables).find(|(step, _)| {
        names.insert(&step.name);
        names.len() > MAX_REQUEST_NAMES
    });
    if let Some((_, (_, span))) = beyond {
        problems.report(
            Code::OutOfRange,
            span.clone(),
            format!("the flow has more than {MAX_REQUEST_NAMES} request names"),
            "one too many",
            "give steps that belong together one `name`: they are counted together",
        );
    }
}

fn step(table: &DeTable<'_>, scope: &mut Scope<'_>, problems: &mut Problems<'_>) -> RequestPlan {
    let method = METHODS
        .into_iter()
        .find(|method| table.contains_key(*method));
    let path = method.and_then(|method| raw::text(table, method));
    let method = method.unwrap_or("get").to_uppercase();
    let written = path.as_ref().map_or("", |path| path.text);
    let name = raw::text(table, "name").map_or_else(
        || format!("{method} {written}"),
        |name| name.text.to_owned(),
    );
    RequestPlan {
        name,
        address: AddressPlan {
            path: path.map_or_else(
                || Template::literal("/"),
                |path| path_template(&path, scope, problems),
            ),
            query: Vec::new(),
            headers: headers(table, scope, problems),
            auth: None,
        },
        body: body(table, &method, scope, problems),
        method,
        redirects: 0,
        retry: None,
        timeout_ns: positive(table, "timeout", problems).unwrap_or(DEFAULT_TIMEOUT_NS),
        check: raw::table(table, "check")
            .map_or_else(CheckPlan::default, |(table, _)| check(table, problems)),
        extract: extract(table, problems),
        think: think(table, problems),
    }
}

fn check_request_name(
    name: &str,
    table: &DeTable<'_>,
    span: &Range<usize>,
    problems: &mut Problems<'_>,
) {
    if name.trim().is_empty() || name.len() > MAX_REQUEST_NAME || name.contains(char::is_control) {
        let span = table.get("name").map_or(span.clone(), Value::span);
        problems.report(
            Code::BadName,
            span,
            "this can't be a request's name in metrics",
            "empty, too long or with control characters",
            format!("give the step a `name` of at most {MAX_REQUEST_NAME} bytes"),
        );
    }
}

fn path_template(path: &Text<'_>, scope: &mut Scope<'_>, problems: &mut Problems<'_>) -> Template {
    let template = values::template(path, scope, problems);
    // A value at the beginning could send the request to another host.
    let mut literal = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => literal.push_str(text),
            _ => literal.push('0'),
        }
    }
    check_path(&literal, path.span.clone(), problems);
    template
}

fn headers(
    table: &DeTable<'_>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Vec<(String, Template)> {
    let mut headers: Vec<(String, Template)> = Vec::new();
    for (name, value) in text_entries(table, "headers") {
        check_header_name(&name, problems);
        if FRAMING_HEADERS.contains(&name.text.to_ascii_lowercase().as_str()) {
            problems.report(
                Code::BadHeader,
                name.span.clone(),
                format!("`{}` is written by the client itself", name.text),
                "can't be set",
                "remove it; the body's length and the connection are taken care of",
            );
        }
        if headers
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name.text))
        {
            problems.report(
                Code::DuplicateName,
                name.span.clone(),
                format!("the header `{}` is there twice", name.text),
                "a second time",
                "remove one of them; the names of headers have no case",
            );
        }
        let template = values::template(&value, scope, problems);
        let literals = template.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            _ => None,
        });
        for literal in literals {
            if HeaderValue::from_str(literal).is_err() {
                problems.report(
                    Code::BadHeader,
                    value.span.clone(),
                    format!("the value of `{}` can't be sent", name.text),
                    "holds a line break or something else than ASCII",
                    "write it on one line and in ASCII",
                );
            }
        }
        headers.push((name.text.to_owned(), template));
    }
    headers
}

fn body(
    table: &DeTable<'_>,
    method: &str,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<BodyPlan> {
    let (key, value) = ["json", "text", "form"]
        .into_iter()
        .find_map(|key| table.get_key_value(key))?;
    if method == "HEAD" {
        problems.report(
            Code::ConflictingKeys,
            key.span(),
            "a HEAD request has no body",
            "remove this",
            "remove the body, or send it with another method",
        );
    }
    match (key.get_ref().as_ref(), value.get_ref()) {
        ("json", DeValue::String(text)) => {
            let template = values::parts(text, &value.span(), scope, problems);
            check_json_text(&template, value.span(), problems);
            Some(BodyPlan::Json(template))
        }
        ("json", _) => {
            let mut template = Template { parts: Vec::new() };
            write_json(value, &mut template, scope, problems);
            Some(BodyPlan::Json(template))
        }
        ("text", _) => {
            let text = raw::as_text(value)?;
            Some(BodyPlan::Text(values::template(&text, scope, problems)))
        }
        _ => {
            let fields = text_entries(table, "form")
                .into_iter()
                .map(|(name, value)| {
                    let template = values::template(&value, scope, problems);
                    (name.text.to_owned(), template)
                })
                .collect();
            Some(BodyPlan::Form(fields))
        }
    }
}

/// Whether the template is JSON with a number in the place of each value, which stands inside and
/// outside of quotes alike.
fn check_json_text(template: &Template, span: Range<usize>, problems: &mut Problems<'_>) {
    let filled: String = template
        .parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.as_str(),
            _ => "0",
        })
        .collect();
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&filled) {
        problems.report(
            Code::BadBody,
            span,
            "the body is not JSON",
            error.to_string(),
            "a TOML table is easier to get right: `json = { name = \"{clients.name}\" }`",
        );
    }
}

/// Writes a TOML value as JSON text in the order of the file, with its texts as templates.
fn write_json(
    value: &Value<'_>,
    template: &mut Template,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) {
    match value.get_ref() {
        DeValue::String(text) => {
            push_text(template, "\"");
            for part in values::parts(text, &value.span(), scope, problems).parts {
                match part {
                    Part::Text(text) => {
                        let quoted = serde_json::Value::from(text).to_string();
                        push_text(template, &quoted[1..quoted.len() - 1]);
                    }
                    part => template.parts.push(part),
                }
            }
            push_text(template, "\"");
        }
        DeValue::Array(array) => {
            push_text(template, "[");
            for (index, value) in array.iter().enumerate() {
                push_text(template, if index > 0 { "," } else { "" });
                write_json(value, template, scope, problems);
            }
            push_text(template, "]");
        }
        DeValue::Table(table) => {
            push_text(template, "{");
            for (index, (key, value)) in raw::entries(table).into_iter().enumerate() {
                let key = serde_json::Value::from(key.get_ref().as_ref());
                push_text(template, if index > 0 { "," } else { "" });
                push_text(template, &format!("{key}:"));
                write_json(value, template, scope, problems);
            }
            push_text(template, "}");
        }
        scalar => {
            if let Some(json) = json(scalar, value.span(), problems) {
                push_text(template, &json.to_string());
            }
        }
    }
}

/// A value as JSON, or a problem where JSON lacks one of its numbers.
fn json(
    value: &DeValue<'_>,
    span: Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<serde_json::Value> {
    let json = raw::json(value);
    if json.is_none() {
        problems.report(
            Code::BadBody,
            span,
            "JSON has no such number",
            "not a JSON number",
            "write a finite number, a whole one in 64 bits, or a text",
        );
    }
    json
}

fn push_text(template: &mut Template, text: &str) {
    match template.parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => template.parts.push(Part::Text(text.to_owned())),
    }
}

fn check(table: &DeTable<'_>, problems: &mut Problems<'_>) -> CheckPlan {
    let mut check = CheckPlan::default();
    if let Some(value) = table.get("status") {
        let one = |value: &Value<'_>| match value.get_ref() {
            DeValue::String(text) => status_range(text),
            number => raw::integer(number)
                .and_then(|number| u16::try_from(number).ok())
                .map(|number| (number, number)),
        };
        check.status = match value.get_ref() {
            DeValue::Array(array) => array.iter().filter_map(one).collect(),
            _ => one(value).into_iter().collect(),
        };
    }
    check.body_contains = raw::text(table, "body_contains").map(|text| text.text.to_owned());
    if let Some((table, _)) = raw::table(table, "json") {
        for (path, value) in raw::entries(table) {
            let path = Text {
                text: path.get_ref(),
                span: path.span(),
            };
            check_jsonpath(&path, problems);
            if let Some(expected) = json(value.get_ref(), value.span(), problems) {
                check.json.push((path.text.to_owned(), expected));
            }
        }
    }
    if let Some((table, _)) = raw::table(table, "headers") {
        for (name, value) in raw::entries(table) {
            let name = Text {
                text: name.get_ref(),
                span: name.span(),
            };
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
            let expected = value.get_ref().as_str().map(str::to_owned);
            check.headers.push((name.text.to_owned(), expected));
        }
    }
    check
}

fn extract(table: &DeTable<'_>, problems: &mut Problems<'_>) -> BTreeMap<String, ExtractPlan> {
    let mut extract = BTreeMap::new();
    for (name, table) in raw::named_tables(table, "extract") {
        let from = if let Some(path) = raw::text(table, "json") {
            check_jsonpath(&path, problems);
            ExtractSource::Json(path.text.to_owned())
        } else if let Some(header) = raw::text(table, "header") {
            check_header_name(&header, problems);
            ExtractSource::Header(header.text.to_owned())
        } else if let Some(regex) = raw::text(table, "regex") {
            if regex_groups(&regex, problems) == Some(0) {
                problems.report(
                    Code::BadRegex,
                    regex.span.clone(),
                    "the regular expression has no group to extract",
                    "no group",
                    "put parentheses around what is wanted: `'id=(\\d+)'`",
                );
            }
            ExtractSource::Regex(regex.text.to_owned())
        } else {
            continue;
        };
        extract.insert(name.text.to_owned(), from.into());
    }
    extract
}

fn think(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<ThinkPlan> {
    if let Some(ns) = raw::duration_ns(table, "think") {
        return Some(ThinkPlan::Constant(ns));
    }
    let (table, span) = raw::table(table, "think")?;
    let min_ns = raw::duration_ns(table, "min")?;
    let max_ns = raw::duration_ns(table, "max")?;
    if min_ns > max_ns {
        problems.report(
            Code::OutOfRange,
            span,
            "`min` is longer than `max`",
            "the bounds are swapped",
            "write the shorter time as `min`",
        );
    }
    Some(ThinkPlan::Uniform { min_ns, max_ns })
}

/// The duration at `key`, which may not be zero.
pub(super) fn positive(table: &DeTable<'_>, key: &str, problems: &mut Problems<'_>) -> Option<u64> {
    let ns = raw::duration_ns(table, key)?;
    if ns == 0
        && let Some(value) = table.get(key)
    {
        problems.report(
            Code::OutOfRange,
            value.span(),
            format!("`{key}` must be longer than nothing"),
            "no time at all",
            "write a time above zero, such as `\"30s\"`",
        );
    }
    Some(ns)
}

fn check_header_name(name: &Text<'_>, problems: &mut Problems<'_>) {
    if HeaderName::from_bytes(name.text.as_bytes()).is_err() {
        problems.report(
            Code::BadHeader,
            name.span.clone(),
            format!("`{}` can't be a header's name", name.text),
            "not a header's name",
            "a header's name has letters, digits and `-`: `x-request-id`",
        );
    }
}

fn check_jsonpath(path: &Text<'_>, problems: &mut Problems<'_>) {
    let mut depth = 0_usize;
    let mut deepest = 0_usize;
    for byte in path.text.bytes() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let reason = if path.text.len() > MAX_JSONPATH || deepest > MAX_JSONPATH_DEPTH {
        Some("too long or too deeply nested".to_owned())
    } else {
        JsonPath::parse(path.text)
            .err()
            .map(|error| error.to_string())
    };
    if let Some(reason) = reason {
        problems.report(
            Code::BadJsonpath,
            path.span.clone(),
            "not a JSONPath",
            reason,
            "write it from the root: `$.items[0].id`",
        );
    }
}

fn text_entries<'a>(table: &'a DeTable<'_>, key: &str) -> Vec<(Text<'a>, Text<'a>)> {
    raw::table(table, key)
        .into_iter()
        .flat_map(|(table, _)| raw::entries(table))
        .filter_map(|(name, value)| {
            let name = Text {
                text: name.get_ref(),
                span: name.span(),
            };
            Some((name, raw::as_text(value)?))
        })
        .collect()
}
