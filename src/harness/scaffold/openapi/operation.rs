//! One operation as a request.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::Value;

use super::dialect::Dialect;
use super::security;
use super::server::{self, Server};
use super::value::{self, Said};
use crate::harness::scaffold::address::{QUERY, SEGMENT};
use crate::harness::scaffold::document::{Document, NoReference};
use crate::harness::scaffold::json;
use crate::harness::scaffold::secret::is_secret;
use crate::harness::scaffold::sketch::{Auth, Body, Column, FEED, Method, Step, request_name};
use crate::harness::scaffold::text::{Template, joined, variable};
use crate::harness::scenario::UNWRITTEN;

/// A longer path is no path.
const MAX_PATH_BYTES: usize = 2000;
/// An operation has not more.
const MAX_PARAMETERS: usize = 100;
/// A longer value of a parameter is no example.
const MAX_VALUE_BYTES: usize = 500;
/// A list in a query has not more items.
const MAX_ITEMS: usize = 20;
/// A body is shown in the scenario.
const MAX_BODY_BYTES: usize = 8 << 10;
/// Names that say nothing without what stands before them in the path.
const VAGUE: [&str; 7] = ["id", "uuid", "name", "slug", "key", "code", "number"];
/// What the client writes itself, or what is said elsewhere: OpenAPI ignores the first three.
const OWN_HEADERS: [&str; 8] = [
    "accept",
    "content-type",
    "authorization",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "cookie",
];

/// Why an operation can't be a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoStep {
    #[error(transparent)]
    Reference(#[from] NoReference),
    #[error("its path is longer than {MAX_PATH_BYTES} bytes")]
    Path,
    #[error("it has a server of its own")]
    Server,
    #[error("its body is no JSON and no form")]
    Body,
    #[error("its body is longer than {} KiB", MAX_BODY_BYTES >> 10)]
    LongBody,
}

/// What is known over all operations of a document.
pub(super) struct Operations<'a> {
    document: &'a Document,
    dialect: Dialect,
    scenario: &'a str,
    pub(super) server: Server,
    pub(super) columns: Vec<Column>,
    pub(super) secrets: BTreeSet<String>,
    /// Whether some operation asks for a way of saying who it is that can't be written.
    has_unknown_security: bool,
    /// Whether some operation asks for a cookie.
    has_cookies: bool,
}

impl<'a> Operations<'a> {
    pub(super) fn new(document: &'a Document, dialect: Dialect, scenario: &'a str) -> Self {
        Self {
            document,
            dialect,
            scenario,
            server: server::of(document, dialect),
            columns: Vec::new(),
            secrets: BTreeSet::new(),
            has_unknown_security: false,
            has_cookies: false,
        }
    }

    /// What has to be said of all of them.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.has_unknown_security {
            notes.push(
                "some operations say who asks in a way that is not known here; add their headers"
                    .to_owned(),
            );
        }
        if self.has_cookies {
            notes.push(
                "left out: cookies that operations ask for; where a login sets them, make it a step in front"
                    .to_owned(),
            );
        }
        notes
    }

    /// The operation at `path` as a request.
    pub(super) fn step(
        &mut self,
        method: Method,
        path: &str,
        item: &'a Value,
        operation: &'a Value,
    ) -> Result<Step, NoStep> {
        let parameters = parameters(self.document, item, operation)?;
        let own = server::of_one(&[operation, item]);
        let server = own.unwrap_or_else(|| self.server.clone());
        if server.origin.is_some() && server.origin != self.server.origin {
            return Err(NoStep::Server);
        }
        // Nothing is kept of an operation that turns out to be none.
        let columns = self.columns.len();
        let step = self.made(method, &server.base, path, &parameters, operation);
        if step.is_err() {
            self.columns.truncate(columns);
        }
        step
    }

    fn made(
        &mut self,
        method: Method,
        base: &str,
        path: &str,
        parameters: &Parameters<'_>,
        operation: &Value,
    ) -> Result<Step, NoStep> {
        let needed = security::of(self.document, self.dialect, operation, self.scenario);
        let mut secrets = needed.secrets;
        let body = self.body(method, parameters, operation, &mut secrets)?;
        let mut address = Template::literal(base);
        address.push(&self.path(path, parameters));
        let mut query = Vec::new();
        let mut headers = Vec::new();
        for (place, parameter) in parameters.required() {
            let name = name(parameter);
            match place {
                // What says who asks is written below.
                "query" if needed.query.iter().all(|(other, _)| other != name) => {
                    query.extend(self.query(name, parameter, &mut secrets));
                }
                "header" if is_header(name) => {
                    let value = self.header(name, parameter, &mut secrets);
                    headers.push((name.to_ascii_lowercase(), value));
                }
                "cookie" => self.has_cookies = true,
                _ => {}
            }
        }
        query.extend(needed.query);
        // In front: of two of one name, that of the credentials counts.
        headers.splice(0..0, needed.headers);
        let body = body.map(|(body, media)| {
            let is_implied = media.eq_ignore_ascii_case("application/json");
            if matches!(body, Body::Json(_)) && !is_implied && is_sent(&media) {
                headers.push(("content-type".to_owned(), Template::literal(&media)));
            }
            body
        });
        for (index, (name, value)) in query.iter().enumerate() {
            // Some documents have a query in their paths.
            let is_first = index == 0 && !path.contains('?');
            let mark = if is_first { '?' } else { '&' };
            address.push_literal(&format!("{mark}{}=", utf8_percent_encode(name, QUERY)));
            address.push(value);
        }
        if address.as_str().len() > MAX_PATH_BYTES {
            return Err(NoStep::Path);
        }
        self.secrets.extend(secrets);
        self.has_unknown_security |= needed.is_unknown;
        let plain = format!("{base}{path}");
        Ok(Step {
            method,
            name: request_name(method, &plain, &address),
            path: address,
            headers: unlike(headers, needed.auth.as_ref()),
            auth: needed.auth,
            body,
            status: statuses(operation),
            think_ms: 0,
        })
    }

    fn path(&mut self, path: &str, parameters: &Parameters<'_>) -> Template {
        let mut filled = Template::default();
        let mut before = "";
        let mut rest = path;
        while let Some((front, behind)) = rest.split_once('{') {
            let Some((name, after)) = behind.split_once('}') else {
                break;
            };
            filled.push_literal(&utf8_percent_encode(front, UNWRITTEN).to_string());
            before = front
                .rsplit('/')
                .find(|part| !part.is_empty())
                .unwrap_or(before);
            let parameter = parameters.0.get(&("path", name)).copied();
            let said = value::of_parameter(self.document, parameter.unwrap_or(&Value::Null));
            let text = plain(said.value());
            // What stands in a path says which, whatever it is called: several of it can be asked for.
            let is_shown = !is_secret(name, &text);
            let written = in_address(&text, SEGMENT).filter(|_| said.is_said() && is_shown);
            match written {
                Some(written) => filled.push_literal(&written),
                None => {
                    let placeholder = if is_shown { text.as_str() } else { "" };
                    filled.push_column(FEED, &self.column(name, before, placeholder));
                }
            }
            rest = after;
        }
        filled.push_literal(&utf8_percent_encode(rest, UNWRITTEN).to_string());
        filled
    }

    /// A parameter of the query: as many names and values as its list has items, where it is written so.
    fn query(
        &mut self,
        name: &str,
        parameter: &Value,
        secrets: &mut BTreeSet<String>,
    ) -> Vec<(String, Template)> {
        let said = value::of_parameter(self.document, parameter);
        let values = match said.value() {
            Value::Array(items) if !items.is_empty() && is_spread(self.dialect, parameter) => items,
            whole => std::slice::from_ref(whole),
        };
        let values = values.iter().take(MAX_ITEMS).map(|value| {
            let written = |text: &str| in_address(text, QUERY);
            let value = self.value(name, value, said.is_said(), secrets, written);
            (name.to_owned(), value)
        });
        values.collect()
    }

    fn header(
        &mut self,
        name: &str,
        parameter: &Value,
        secrets: &mut BTreeSet<String>,
    ) -> Template {
        let said = value::of_parameter(self.document, parameter);
        let written = |text: &str| is_sent(text).then(|| text.to_owned());
        self.value(name, said.value(), said.is_said(), secrets, written)
    }

    /// What stands in the scenario for a value of the parameter `name`: what the document says, as `written` writes
    /// it for its place; a variable of the environment where that is a secret; else a column of the feed, whose
    /// values are encoded when they are drawn.
    fn value(
        &mut self,
        name: &str,
        value: &Value,
        is_said: bool,
        secrets: &mut BTreeSet<String>,
        written: impl Fn(&str) -> Option<String>,
    ) -> Template {
        let text = plain(value);
        if is_secret(name, &text) {
            return self.secret(name, secrets);
        }
        if let Some(written) = written(&text).filter(|_| is_said) {
            return Template::literal(&written);
        }
        let mut template = Template::default();
        template.push_column(FEED, &self.column(name, "", &text));
        template
    }

    /// The variable of the environment that stands in the place of a secret.
    fn secret(&self, name: &str, secrets: &mut BTreeSet<String>) -> Template {
        let variable = variable(self.scenario, name);
        let template = Template::secret(&variable);
        secrets.insert(variable);
        template
    }

    /// The column of the feed for this parameter, which is made where it is not there.
    fn column(&mut self, name: &str, before: &str, placeholder: &str) -> String {
        let is_vague = VAGUE.contains(&name.to_ascii_lowercase().as_str());
        let whole = match is_vague {
            true => format!("{before}_{name}"),
            false => name.to_owned(),
        };
        let whole = joined(&whole, '_', 40);
        let column = match whole.starts_with(|char: char| char.is_ascii_alphabetic()) {
            true => whole,
            false => format!("value_{whole}").trim_end_matches('_').to_owned(),
        };
        if self.columns.iter().all(|known| known.name != column) {
            let is_short = !placeholder.is_empty() && placeholder.len() <= 40;
            self.columns.push(Column {
                name: column.clone(),
                placeholder: match is_short
                    && placeholder.bytes().all(|byte| byte.is_ascii_graphic())
                {
                    true => placeholder.to_owned(),
                    false => "1".to_owned(),
                },
            });
        }
        column
    }

    /// The body and its media type.
    fn body(
        &self,
        method: Method,
        parameters: &Parameters<'_>,
        operation: &Value,
        secrets: &mut BTreeSet<String>,
    ) -> Result<Option<(Body, String)>, NoStep> {
        if method.is_safe() {
            return Ok(None);
        }
        let (media, said) = match self.dialect {
            Dialect::Three => {
                let Some(body) = self.document.get(operation, "requestBody")? else {
                    return Ok(None);
                };
                let content = body.get("content").and_then(Value::as_object);
                let Some(content) = content.filter(|content| !content.is_empty()) else {
                    return Ok(None);
                };
                let media = content.iter().find(|(media, _)| is_json(media));
                let media = media.or_else(|| content.iter().find(|(media, _)| is_form(media)));
                let (media, holder) = media.ok_or(NoStep::Body)?;
                (media.as_str(), value::of_parameter(self.document, holder))
            }
            Dialect::Two => match self.swagger_body(parameters) {
                Some(body) => body,
                None => return Ok(None),
            },
        };
        let body = match is_form(media) {
            true => self.form(said.value(), secrets)?,
            false => {
                let written = json::text(said.value(), self.scenario).ok_or(NoStep::Body)?;
                if written.template.as_str().len() > MAX_BODY_BYTES {
                    return Err(NoStep::LongBody);
                }
                secrets.extend(written.secrets);
                Body::Json(written.template)
            }
        };
        Ok(Some((body, media.to_owned())))
    }

    /// The parameter `body`, or those of a form.
    fn swagger_body(&self, parameters: &Parameters<'_>) -> Option<(&'static str, Said)> {
        let of_place = |wanted: &'static str| {
            let all = parameters.0.iter();
            all.filter(move |((place, _), _)| *place == wanted)
        };
        if let Some((_, parameter)) = of_place("body").next() {
            return Some((
                "application/json",
                value::of_parameter(self.document, parameter),
            ));
        }
        let fields: serde_json::Map<String, Value> = of_place("formData")
            .filter(|(_, parameter)| is_required(parameter))
            .map(|((_, name), parameter)| {
                let said = value::of_parameter(self.document, parameter);
                ((*name).to_owned(), said.value().clone())
            })
            .collect();
        (!fields.is_empty()).then_some((
            "application/x-www-form-urlencoded",
            Said::Kind(Value::Object(fields)),
        ))
    }

    fn form(&self, value: &Value, secrets: &mut BTreeSet<String>) -> Result<Body, NoStep> {
        let fields = value.as_object().ok_or(NoStep::Body)?;
        let mut bytes = 0;
        let form = fields.iter().map(|(name, value)| {
            let text = plain(value);
            bytes += name.len() + text.len();
            let template = match is_secret(name, &text) {
                true => self.secret(name, secrets),
                false => Template::literal(&text),
            };
            (name.clone(), template)
        });
        let form = form.collect();
        match bytes > MAX_BODY_BYTES {
            true => Err(NoStep::LongBody),
            false => Ok(Body::Form(form)),
        }
    }
}

/// Parameters by place and name.
#[derive(Default)]
struct Parameters<'a>(BTreeMap<(&'a str, &'a str), &'a Value>);

impl<'a> Parameters<'a> {
    /// Those that a request can't be without, with their places.
    fn required(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let all = self
            .0
            .iter()
            .map(|((place, _), parameter)| (*place, *parameter));
        all.filter(|(_, parameter)| is_required(parameter))
    }
}

/// The parameters of an operation: its own before those of its path.
fn parameters<'a>(
    document: &'a Document,
    item: &'a Value,
    operation: &'a Value,
) -> Result<Parameters<'a>, NoReference> {
    let mut parameters = Parameters::default();
    for holder in [operation, item] {
        let list = holder.get("parameters").and_then(Value::as_array);
        for parameter in list.into_iter().flatten().take(MAX_PARAMETERS) {
            let parameter = document.resolve(parameter)?;
            let place = parameter
                .get("in")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let key = (place, name(parameter));
            parameters.0.entry(key).or_insert(parameter);
        }
    }
    Ok(parameters)
}

fn is_required(parameter: &Value) -> bool {
    parameter.get("required").and_then(Value::as_bool) == Some(true)
}

fn name(parameter: &Value) -> &str {
    parameter
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn is_header(name: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && !OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether a list in the query is written as one value for each item, by default or by what the parameter says.
fn is_spread(dialect: Dialect, parameter: &Value) -> bool {
    let text = |key: &str| parameter.get(key).and_then(Value::as_str);
    match dialect {
        Dialect::Two => text("collectionFormat") == Some("multi"),
        Dialect::Three => match parameter.get("explode") {
            Some(explode) => explode == &Value::Bool(true),
            None => matches!(text("style"), None | Some("form")),
        },
    }
}

/// A value as it stands in an address, `None` where it is none that can.
fn in_address(text: &str, encode: &'static AsciiSet) -> Option<String> {
    let is_one = !text.is_empty() && text.len() <= MAX_VALUE_BYTES;
    is_one.then(|| utf8_percent_encode(text, encode).to_string())
}

/// Whether a text can be sent as the value of a header.
fn is_sent(text: &str) -> bool {
    text.len() <= MAX_VALUE_BYTES
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn is_json(media: &str) -> bool {
    let media = media
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media == "application/json" || media.ends_with("+json")
}

fn is_form(media: &str) -> bool {
    media
        .to_ascii_lowercase()
        .starts_with("application/x-www-form-urlencoded")
}

/// A value as text: lists with commas, as paths, headers and forms have them.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .take(MAX_ITEMS)
            .map(plain)
            .collect::<Vec<_>>()
            .join(","),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The headers without those that the credentials write.
fn unlike(mut headers: Vec<(String, Template)>, auth: Option<&Auth>) -> Vec<(String, Template)> {
    if let Some(Auth::Header { name, .. }) = auth {
        headers.retain(|(other, _)| other != name);
    }
    // Their names have no case: two that differ in it are one.
    let mut seen = BTreeSet::new();
    headers.retain(|(name, _)| seen.insert(name.clone()));
    headers
}

/// What a check of the status has to be: the successes that the operation names.
fn statuses(operation: &Value) -> Vec<String> {
    let responses = operation.get("responses").and_then(Value::as_object);
    let mut statuses: Vec<String> = responses
        .into_iter()
        .flat_map(|responses| responses.keys())
        .filter_map(|key| match key.to_ascii_lowercase().as_str() {
            "2xx" => Some("\"2xx\"".to_owned()),
            key => {
                let status: u16 = key.parse().ok()?;
                (200..300).contains(&status).then(|| status.to_string())
            }
        })
        .collect();
    statuses.sort();
    statuses.dedup();
    statuses.truncate(10);
    statuses
}
