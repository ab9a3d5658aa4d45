//! Where a request goes and what its head says: path, query, headers, who sends it.

use std::collections::BTreeSet;
use std::ops::Range;

use http::HeaderValue;
use toml::de::DeTable;

use super::outline::{Kind, Step};
use super::steps::Context;
use super::syntax::{check_header_name, check_path};
use super::values::{self, Scope};
use crate::harness::scenario::plan::{AddressPlan, AuthPlan, Part, StreamKind, Template};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text};

/// What is the same for all requests of a flow is in the plan once a request. No server takes more.
const MAX_HEADERS: usize = 100;
const MAX_BYTES: usize = 64 << 10;
/// The client writes these by itself; a second one would break the framing of the request.
const FRAMING_HEADERS: [&str; 4] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
];
/// The same of the request that opens a WebSocket.
const HANDSHAKE_HEADERS: [&str; 4] = [
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
];
const AUTHORIZATION: &str = "authorization";
const CONTENT_TYPE: &str = "content-type";

/// A header as it was written.
pub(super) struct Header {
    name: String,
    value: Template,
    span: Range<usize>,
}

/// Who sends a request, and where that is written.
pub(super) struct Auth {
    plan: AuthPlan,
    span: Range<usize>,
}

/// What the head of a request says, of a step or of all steps of a flow.
pub(super) struct Head {
    headers: Vec<Header>,
    auth: Option<Auth>,
}

/// Reads what a flow or a step says of the head of its requests.
pub(super) fn head(
    table: &DeTable<'_>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Head {
    let head = Head {
        headers: headers(table, scope, problems),
        auth: auth(table, scope, problems),
    };
    if let Some(auth) = &head.auth
        && let Some(header) = head.header(AUTHORIZATION)
    {
        problems
            .report(
                Code::ConflictingKeys,
                header.span.clone(),
                "two things say who sends the request",
                "only one of them",
                "remove this header; `basic` and `bearer` write it",
            )
            .related(auth.span.clone(), "the other one");
    }
    head
}

impl Head {
    fn header(&self, name: &str) -> Option<&Header> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
    }
}

/// Reads the address of a request or of a stream, whose path is `path`.
pub(super) fn read(
    step: &Step<'_>,
    path: Option<&Text<'_>>,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> AddressPlan {
    let mut scope = cx.scope(step.number);
    let path = path.map_or_else(
        || Template::literal("/"),
        |path| path_template(path, &mut scope, problems),
    );
    let query = raw::text_entries(step.table, "query")
        .into_iter()
        .map(|(name, value)| {
            let value = values::template(&value, &mut scope, problems);
            (name.text.to_owned(), value)
        })
        .collect();
    let own = head(step.table, &mut scope, problems);
    let says_who = own.auth.is_some()
        || own.header(AUTHORIZATION).is_some()
        || raw::bool_at(step.table, "auth") == Some(false);
    if raw::bool_at(step.table, "auth") == Some(true)
        && let Some(value) = step.table.get("auth")
    {
        problems.report(
            Code::OutOfRange,
            value.span(),
            "`auth` can only be `false`: nothing says who sends the request",
            "neither a user nor a token",
            "write `basic = { user = \"…\", password = \"…\" }` or `bearer = \"…\"`",
        );
    }
    let is_multipart = step.table.contains_key("multipart");
    let defaults = cx.defaults;
    let common = defaults.head.headers.iter().filter(|header| {
        let name = header.name.as_str();
        let is_left_out = (says_who && name.eq_ignore_ascii_case(AUTHORIZATION))
            || (is_multipart && name.eq_ignore_ascii_case(CONTENT_TYPE));
        !is_left_out && own.header(name).is_none()
    });
    let common: Vec<&Header> = common.collect();
    check_own_headers(
        step,
        own.headers.iter().chain(common.iter().copied()),
        problems,
    );
    let common_auth = defaults.head.auth.as_ref().filter(|_| !says_who);
    for header in &common {
        cx.check_common(&[&header.value], &header.span, step, problems);
    }
    if let Some(auth) = common_auth {
        cx.check_common(&auth.plan.templates(), &auth.span, step, problems);
    }
    let pair = |header: &Header| (header.name.clone(), header.value.clone());
    AddressPlan {
        path,
        query,
        headers: own.headers.iter().chain(common).map(pair).collect(),
        auth: own
            .auth
            .as_ref()
            .or(common_auth)
            .map(|auth| auth.plan.clone()),
    }
}

/// Reports headers, of the step and of its flow, that this kind of step writes by itself.
fn check_own_headers<'a>(
    step: &Step<'_>,
    headers: impl Iterator<Item = &'a Header>,
    problems: &mut Problems<'_>,
) {
    let mut report = |header: &Header, reason: &str, help: &str| {
        problems.report(
            Code::BadHeader,
            header.span.clone(),
            format!("`{}` is written by the client itself", header.name),
            reason,
            help,
        );
    };
    let is_multipart = step.table.contains_key("multipart");
    let is_web_socket = step.kind == Some(Kind::Open(StreamKind::WebSocket));
    for header in headers {
        let is_one_of = |names: &[&str]| {
            let mut names = names.iter();
            names.any(|name| header.name.eq_ignore_ascii_case(name))
        };
        if is_multipart && is_one_of(&[CONTENT_TYPE]) {
            report(
                header,
                "can't be set beside `multipart`",
                "remove it; it says what separates the parts",
            );
        }
        if is_web_socket && is_one_of(&HANDSHAKE_HEADERS) {
            report(
                header,
                "can't be set for a WebSocket",
                "remove it; `sec-websocket-protocol` is the one that can be set",
            );
        }
    }
}

fn headers(table: &DeTable<'_>, scope: &mut Scope<'_>, problems: &mut Problems<'_>) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for (name, value) in raw::text_entries(table, "headers") {
        bytes += name.text.len() + value.text.len();
        if headers.len() == MAX_HEADERS || bytes > MAX_BYTES {
            problems.report(
                Code::OutOfRange,
                name.span.clone(),
                format!("more than {MAX_HEADERS} headers, or more than 64 KiB of them"),
                "one too many",
                "no server takes so many; send it in the body",
            );
            break;
        }
        check_header_name(&name, problems);
        let lower = name.text.to_ascii_lowercase();
        if FRAMING_HEADERS.contains(&lower.as_str()) {
            problems.report(
                Code::BadHeader,
                name.span.clone(),
                format!("`{}` is written by the client itself", name.text),
                "can't be set",
                "remove it; the body's length and the connection are taken care of",
            );
        }
        if !seen.insert(lower) {
            problems.report(
                Code::DuplicateName,
                name.span.clone(),
                format!("the header `{}` is there twice", name.text),
                "a second time",
                "remove one of them; the names of headers have no case",
            );
        }
        let template = values::template(&value, scope, problems);
        if !can_be_sent(&template) {
            problems.report(
                Code::BadHeader,
                value.span,
                format!("the value of `{}` can't be sent", name.text),
                "holds a line break or something else than ASCII",
                "write it on one line and in ASCII",
            );
        }
        headers.push(Header {
            name: name.text.to_owned(),
            value: template,
            span: name.span,
        });
    }
    headers
}

fn auth(table: &DeTable<'_>, scope: &mut Scope<'_>, problems: &mut Problems<'_>) -> Option<Auth> {
    if let Some(token) = raw::text(table, "bearer") {
        let template = credential(&token, scope, problems);
        let has_gap = literals(&template).any(|text| text.contains(char::is_whitespace));
        if token.text.is_empty() || has_gap {
            problems.report(
                Code::BadHeader,
                token.span.clone(),
                "this can't be a bearer token",
                "empty, or with a space in it",
                "write the token alone, without `Bearer` before it",
            );
        }
        return Some(Auth {
            plan: AuthPlan::Bearer(template),
            span: token.span,
        });
    }
    let (basic, span) = raw::table(table, "basic")?;
    let user = raw::text(basic, "user")?;
    let password = raw::text(basic, "password")?;
    let plan = AuthPlan::Basic {
        user: credential(&user, scope, problems),
        password: credential(&password, scope, problems),
    };
    if let AuthPlan::Basic { user: template, .. } = &plan
        && literals(template).any(|text| text.contains(':'))
    {
        problems.report(
            Code::BadHeader,
            user.span,
            "a user of basic authentication has no colon",
            "a colon ends the user",
            "write the user and the password apart",
        );
    }
    Some(Auth { plan, span })
}

/// A user, a password or a token; whatever holds for the value of a header holds for it.
fn credential(text: &Text<'_>, scope: &mut Scope<'_>, problems: &mut Problems<'_>) -> Template {
    let template = values::template(text, scope, problems);
    let has_control = literals(&template).any(|text| text.contains(char::is_control));
    if has_control || text.text.len() > MAX_BYTES {
        problems.report(
            Code::BadHeader,
            text.span.clone(),
            "this can't be sent as a user, a password or a token",
            "too long, or with a line break in it",
            "write it on one line, or as `{$env.NAME}`",
        );
    }
    template
}

fn path_template(path: &Text<'_>, scope: &mut Scope<'_>, problems: &mut Problems<'_>) -> Template {
    let template = values::template(path, scope, problems);
    // A value at the beginning could send the request to another host.
    check_path(&values::filled(&template), path.span.clone(), problems);
    template
}

fn can_be_sent(template: &Template) -> bool {
    literals(template).all(|literal| HeaderValue::from_str(literal).is_ok())
}

fn literals(template: &Template) -> impl Iterator<Item = &str> {
    template.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    })
}
