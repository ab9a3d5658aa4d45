//! The bodies of requests.

use std::ops::Range;
use std::path::Path;

use toml::de::DeValue;

use super::files::{Files, is_json};
use super::outline::Step;
use super::steps::Context;
use super::syntax::is_media_type;
use super::values::{self, Scope};
use crate::harness::scenario::keys::BODIES;
use crate::harness::scenario::plan::{BodyPlan, Part, PartContent, PartPlan, Template};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, MAX_JSON_DEPTH, NotJson, Text, Value};

/// What the bytes of a file are taken for where nothing says more.
const BYTES: &str = "application/octet-stream";

/// Reads the body of a request, where it has one.
pub(super) fn read(
    step: &Step<'_>,
    method: &str,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<BodyPlan> {
    let (key, value) = BODIES
        .into_iter()
        .find_map(|key| step.table.get_key_value(key))?;
    if method == "HEAD" {
        problems.report(
            Code::ConflictingKeys,
            key.span(),
            "a HEAD request has no body",
            "remove this",
            "remove the body, or send it with another method",
        );
    }
    let mut scope = cx.scope(step.number);
    let text = raw::as_text(value);
    match (key.get_ref().as_ref(), text) {
        ("json", Some(text)) => {
            let before = problems.count();
            let template = values::template(&text, &mut scope, problems);
            if problems.count() == before {
                let help =
                    "a TOML table is easier to get right: `json = { name = \"{clients.name}\" }`";
                check_json_text(&template, text.span, help, problems);
            }
            Some(BodyPlan::Json(template))
        }
        ("json", None) => {
            let mut template = Template { parts: Vec::new() };
            write_json(value, &mut template, MAX_JSON_DEPTH, &mut scope, problems);
            Some(BodyPlan::Json(template))
        }
        ("text", Some(text)) => Some(BodyPlan::Text(values::template(
            &text, &mut scope, problems,
        ))),
        ("form", None) => {
            let fields = raw::text_entries(step.table, "form")
                .into_iter()
                .map(|(name, value)| {
                    let template = values::template(&value, &mut scope, problems);
                    (name.text.to_owned(), template)
                })
                .collect();
            Some(BodyPlan::Form(fields))
        }
        ("file", Some(file)) => {
            let file = cx.files.plan(&file, "the body's file", problems)?;
            Some(BodyPlan::File(file))
        }
        ("template", Some(file)) => {
            let text = cx.files.text(&file, "the template", problems)?;
            Some(from_file(&text, &file, cx.files, &mut scope, problems))
        }
        ("multipart", None) => Some(multipart(step, value, cx, problems)),
        _ => None,
    }
}

/// The body whose template is the text of the file that `named` names.
fn from_file(
    text: &str,
    named: &Text<'_>,
    files: &mut Files,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> BodyPlan {
    let before = problems.count();
    let template = values::of_file(text, named, scope, problems);
    files.count_values(&template, named, problems);
    if !is_json(named.text) {
        return BodyPlan::Text(template);
    }
    if problems.count() == before {
        let help = "this was read with `0` in the place of each value, and `x` in that of `{$uuid}` and `{$now}`";
        check_json_text(&template, named.span.clone(), help, problems);
    }
    BodyPlan::Json(template)
}

fn multipart(
    step: &Step<'_>,
    value: &Value<'_>,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> BodyPlan {
    let parts = value.get_ref().as_table().map(raw::entries);
    let parts = parts.unwrap_or_default();
    if parts.is_empty() {
        problems.report(
            Code::BadBody,
            value.span(),
            "a multipart body has at least one part",
            "no parts",
            "write `multipart = { NAME = \"…\" }`",
        );
    }
    let parts = parts
        .into_iter()
        .filter_map(|(name, value)| part(step, &raw::key_text(name), value, cx, problems));
    BodyPlan::Multipart(parts.collect())
}

fn part(
    step: &Step<'_>,
    name: &Text<'_>,
    value: &Value<'_>,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<PartPlan> {
    check_part_text("the name of a part", name, problems);
    let mut scope = cx.scope(step.number);
    let mut plan = PartPlan {
        name: name.text.to_owned(),
        filename: None,
        content_type: None,
        content: PartContent::Text(Template::literal("")),
    };
    let Some(table) = value.get_ref().as_table() else {
        let text = raw::as_text(value)?;
        plan.content = PartContent::Text(values::template(&text, &mut scope, problems));
        return Some(plan);
    };
    if let Some(text) = raw::text(table, "text") {
        plan.content = PartContent::Text(values::template(&text, &mut scope, problems));
    } else if let Some(file) = raw::text(table, "file") {
        plan.filename = Path::new(file.text)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        plan.content_type = Some(BYTES.to_owned());
        plan.content = PartContent::File(cx.files.plan(&file, "the part's file", problems)?);
    }
    if let Some(filename) = raw::text(table, "filename") {
        check_part_text("the name of a part's file", &filename, problems);
        plan.filename = Some(filename.text.to_owned());
    }
    if let Some(kind) = raw::text(table, "type") {
        if !is_media_type(kind.text) {
            problems.report(
                Code::BadBody,
                kind.span.clone(),
                format!("`{}` is no media type", kind.text),
                "not a media type",
                "write type and subtype: `image/jpeg`, `text/csv; charset=utf-8`",
            );
        }
        plan.content_type = Some(kind.text.to_owned());
    }
    Some(plan)
}

/// Reports a text that can't stand in the head of a part.
fn check_part_text(what: &str, text: &Text<'_>, problems: &mut Problems<'_>) {
    if text.text.is_empty() || text.text.contains(char::is_control) {
        problems.report(
            Code::BadBody,
            text.span.clone(),
            format!("this can't be {what}"),
            "empty, or with a line break in it",
            "write a name on one line",
        );
    }
}

/// Whether the template is JSON with a number in the place of each value, which stands inside and
/// outside of quotes alike; what is never JSON by itself stands inside only.
fn check_json_text(
    template: &Template,
    span: Range<usize>,
    help: &str,
    problems: &mut Problems<'_>,
) {
    let filled = values::filled(template);
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&filled) {
        problems.report(
            Code::BadBody,
            span,
            "the body is not JSON",
            error.to_string(),
            help,
        );
    }
}

/// Writes a TOML value as JSON text in the order of the file, with its texts as templates, and with
/// so many more levels at most.
fn write_json(
    value: &Value<'_>,
    template: &mut Template,
    levels: usize,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) {
    match value.get_ref() {
        DeValue::Array(_) | DeValue::Table(_) if levels == 0 => {
            report_not_json(NotJson::TooDeep, value.span(), problems);
        }
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
                write_json(value, template, levels - 1, scope, problems);
            }
            push_text(template, "]");
        }
        DeValue::Table(table) => {
            push_text(template, "{");
            for (index, (key, value)) in raw::entries(table).into_iter().enumerate() {
                let key = serde_json::Value::from(key.get_ref().as_ref());
                push_text(template, if index > 0 { "," } else { "" });
                push_text(template, &format!("{key}:"));
                write_json(value, template, levels - 1, scope, problems);
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

/// A value as JSON, or a problem.
pub(super) fn json(
    value: &DeValue<'_>,
    span: Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<serde_json::Value> {
    raw::json(value)
        .inspect_err(|reason| report_not_json(*reason, span, problems))
        .ok()
}

fn report_not_json(reason: NotJson, span: Range<usize>, problems: &mut Problems<'_>) {
    match reason {
        NotJson::Number => problems.report(
            Code::BadBody,
            span,
            "JSON has no such number",
            "not a JSON number",
            "write a finite number, a whole one in 64 bits, or a text",
        ),
        NotJson::TooDeep => problems.report(
            Code::BadBody,
            span,
            format!("JSON of more than {MAX_JSON_DEPTH} levels"),
            "too deep",
            "write less of it, or send it as a `file`",
        ),
    };
}

fn push_text(template: &mut Template, text: &str) {
    match template.parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => template.parts.push(Part::Text(text.to_owned())),
    }
}
