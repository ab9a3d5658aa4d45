//! What a request says, worked out before the start as far as it is the same each time.
//!
//! A request without values costs an iteration nothing but references to its path, its headers and
//! its body. There is no URL in it: the path begins below the target whatever the values are, and
//! the transport knows no other place.

use bytes::Bytes;
use http::Method;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use http::uri::PathAndQuery;
use percent_encoding::utf8_percent_encode;
use url::{Position, Url};

use super::body::{Body, BodyError};
use super::feed::Feed;
use super::template::{Compiled, Names, Place, TemplateError, Values, form};
use crate::harness::engine::http::basic;
use crate::harness::scenario::{AddressPlan, AuthPlan, BodyPlan, Part, Template, UNWRITTEN};

/// A compiled request.
#[derive(Debug)]
pub(super) struct Prepared {
    method: Method,
    path: Path,
    /// Those that are always the same.
    headers: HeaderMap,
    filled_headers: Vec<(HeaderName, Compiled)>,
    auth: Option<Auth>,
    body: Option<Body>,
}

#[derive(Debug)]
enum Path {
    Fixed(PathAndQuery),
    Filled(Compiled),
}

/// Credentials with values.
#[derive(Debug)]
enum Auth {
    Basic { user: Compiled, password: Compiled },
    Bearer(Compiled),
}

/// A request that can be sent, as often as need be.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

/// Why a request could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A text of it could not be resolved.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Its body could not be read or resolved.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Not an HTTP method.
    #[error("`{0}` is not an HTTP method; check the scenario again")]
    Method(String),
    /// The path does not begin with `/`, or can't be one.
    #[error("`{0}` is not a path; check the scenario again")]
    Path(String),
    /// Not the name of a header.
    #[error("`{0}` is not the name of a header; check the scenario again")]
    HeaderName(String),
    /// A header whose value can't be one.
    #[error("the value of the header {0} holds a control character; check the scenario again")]
    HeaderValue(HeaderName),
}

impl Prepared {
    /// Compiles a request to the server at `origin`, below its path.
    pub(super) fn new(
        method: &str,
        address: &AddressPlan,
        body: Option<&BodyPlan>,
        origin: &Url,
        names: &Names<'_>,
    ) -> Result<Self, RequestError> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| RequestError::Method(method.to_owned()))?;
        let path = Path::new(address, origin, names)?;
        let mut headers = HeaderMap::new();
        let mut filled_headers = Vec::new();
        for (name, template) in &address.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| RequestError::HeaderName(name.clone()))?;
            let value = Compiled::new(template, Place::Plain, names)?;
            match value.literal() {
                Some(text) => {
                    let value = header_value(text.to_owned())
                        .ok_or_else(|| RequestError::HeaderValue(name.clone()))?;
                    headers.append(name, value);
                }
                None => filled_headers.push((name, value)),
            }
        }
        let auth = match &address.auth {
            None => None,
            Some(plan) => Auth::new(plan, names)?.kept_in(&mut headers)?,
        };
        let body = match body {
            None => None,
            Some(plan) => {
                let (body, content_type) = Body::new(plan, names)?;
                if content_type.is_needed {
                    headers.remove(CONTENT_TYPE);
                    filled_headers.retain(|(name, _)| name != CONTENT_TYPE);
                }
                let is_given = headers.contains_key(CONTENT_TYPE)
                    || filled_headers.iter().any(|(name, _)| name == CONTENT_TYPE);
                if let Some(value) = content_type.value.filter(|_| !is_given) {
                    headers.insert(CONTENT_TYPE, value);
                }
                Some(body)
            }
        };
        Ok(Self {
            method,
            path,
            headers,
            filled_headers,
            auth,
            body,
        })
    }

    /// Whether it is another in each iteration.
    pub(super) fn is_filled(&self) -> bool {
        matches!(self.path, Path::Filled(_))
            || !self.filled_headers.is_empty()
            || self.auth.is_some()
            || self.body.as_ref().is_some_and(Body::is_filled)
    }

    /// The request of one iteration. The error says why it can't be built; it may hold hostile text.
    pub(super) fn ready(&self, values: &mut Values, feeds: &[Feed]) -> Result<Ready, String> {
        let path = match &self.path {
            Path::Fixed(path) => path.clone(),
            Path::Filled(template) => {
                let text = template.filled(values, feeds)?;
                PathAndQuery::from_maybe_shared(Bytes::from(text))
                    .map_err(|error| format!("the path can't be one: {error}"))?
            }
        };
        let mut headers = self.headers.clone();
        for (name, template) in &self.filled_headers {
            let value = header_value(template.filled(values, feeds)?).ok_or_else(|| {
                format!("the value for the header {name} holds a control character")
            })?;
            headers.append(name, value);
        }
        if let Some(auth) = &self.auth {
            let value = auth.filled(values, feeds)?;
            headers.insert(AUTHORIZATION, value);
        }
        let body = match &self.body {
            None => None,
            Some(body) => {
                let (bytes, content_type) = body.filled(values, feeds)?;
                if let Some(content_type) = content_type {
                    headers.insert(CONTENT_TYPE, content_type);
                }
                Some(bytes)
            }
        };
        // The client says nothing of a body that is empty. Where the method means one, some servers
        // answer 411 to that (RFC 9110, section 8.6).
        if body.as_ref().is_none_or(Bytes::is_empty)
            && matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(Ready {
            method: self.method.clone(),
            path,
            headers,
            body,
        })
    }
}

impl Path {
    /// The path below the target's own, with the query.
    fn new(address: &AddressPlan, origin: &Url, names: &Names<'_>) -> Result<Self, RequestError> {
        let written = || RequestError::Path(shown(&address.path));
        // Without the slash a value could become a part of what is before it.
        if !matches!(address.path.parts.first(), Some(Part::Text(text)) if text.starts_with('/')) {
            return Err(written());
        }
        let base = origin[Position::BeforePath..Position::AfterPath].trim_end_matches('/');
        let mut parts = vec![Part::Text(base.to_owned())];
        parts.extend(address.path.parts.iter().map(|part| match part {
            Part::Text(text) => Part::Text(utf8_percent_encode(text, UNWRITTEN).to_string()),
            other => other.clone(),
        }));
        if !address.query.is_empty() {
            let has_query = |part: &Part| matches!(part, Part::Text(text) if text.contains('?'));
            let separator = if parts.iter().any(has_query) {
                "&"
            } else {
                "?"
            };
            parts.push(Part::Text(separator.to_owned()));
            parts.extend(form(&address.query).parts);
        }
        let path = Compiled::new(&Template { parts }, Place::Url, names)?;
        Ok(match path.literal() {
            Some(text) => Self::Fixed(text.parse().map_err(|_| written())?),
            None => Self::Filled(path),
        })
    }
}

impl Auth {
    fn new(plan: &AuthPlan, names: &Names<'_>) -> Result<Self, TemplateError> {
        let compile = |template| Compiled::new(template, Place::Plain, names);
        Ok(match plan {
            AuthPlan::Basic { user, password } => Self::Basic {
                user: compile(user)?,
                password: compile(password)?,
            },
            AuthPlan::Bearer(token) => Self::Bearer(compile(token)?),
        })
    }

    /// Puts credentials without values among the headers that are always the same.
    fn kept_in(self, headers: &mut HeaderMap) -> Result<Option<Self>, RequestError> {
        let value = match &self {
            Self::Basic { user, password } => match (user.literal(), password.literal()) {
                (Some(user), Some(password)) => Some(basic(user.as_bytes(), password.as_bytes())),
                _ => return Ok(Some(self)),
            },
            Self::Bearer(token) => match token.literal() {
                Some(token) => bearer(token),
                None => return Ok(Some(self)),
            },
        };
        let value = value.ok_or(RequestError::HeaderValue(AUTHORIZATION))?;
        headers.insert(AUTHORIZATION, value);
        Ok(None)
    }

    fn filled(&self, values: &mut Values, feeds: &[Feed]) -> Result<HeaderValue, String> {
        let value = match self {
            Self::Basic { user, password } => {
                let user = user.filled(values, feeds)?;
                let password = password.filled(values, feeds)?;
                Some(basic(user.as_bytes(), password.as_bytes()))
            }
            Self::Bearer(token) => bearer(&token.filled(values, feeds)?),
        };
        value.ok_or_else(|| "the credentials hold a control character".to_owned())
    }
}

/// RFC 6750; kept out of whatever shows or indexes headers.
fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = header_value(format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Some(value)
}

/// `None` where the text holds a control character.
fn header_value(text: String) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// A template for a message: what it says outside of values.
fn shown(template: &Template) -> String {
    let parts = template.parts.iter().map(|part| match part {
        Part::Text(text) => text.as_str(),
        _ => "{…}",
    });
    parts.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixture;
    use super::super::job::Secrets;
    use super::*;
    use crate::harness::scenario::{PartContent, PartPlan, RequestPlan};

    fn prepared(plan: &RequestPlan, target: &str) -> Result<Prepared, RequestError> {
        let names = Names {
            feeds: &[],
            extracted: &["v".into()],
            setup: &BTreeMap::new(),
            secrets: &Secrets(BTreeMap::from([("PW".into(), "p:ä".into())])),
        };
        let origin = Url::parse(target).unwrap();
        let body = plan.body.as_ref();
        Prepared::new(&plan.method, &plan.address, body, &origin, &names)
    }

    /// The request with `{v}` extracted.
    fn ready(change: impl FnOnce(&mut RequestPlan), value: &str) -> Result<Ready, String> {
        let mut plan = fixture::request();
        change(&mut plan);
        let prepared = prepared(&plan, "http://127.0.0.1:8080/base/");
        let prepared = prepared.map_err(|error| error.to_string())?;
        let mut values = Values::new(1);
        values.renew(0, &[], 1).unwrap();
        values.extracted[0] = Some(value.into());
        prepared.ready(&mut values, &[])
    }

    fn value() -> Part {
        Part::Extracted("v".into())
    }

    fn filled(before: &str, after: &str) -> Template {
        let text = |text: &str| Part::Text(text.into());
        Template {
            parts: vec![text(before), value(), text(after)],
        }
    }

    #[test]
    fn a_path_is_below_the_target() {
        let check = |path: &str, expected: &str| {
            let found = ready(|plan| plan.address.path = Template::literal(path), "");
            assert_eq!(found.unwrap().path.as_str(), expected);
        };
        check("/", "/base/");
        check("/a?b=c", "/base/a?b=c");
        check("//elsewhere/a", "/base//elsewhere/a");
        check("/a b/é?q=<%20>", "/base/a%20b/%C3%A9?q=%3C%20%3E");
        check("/x/../y", "/base/x/../y");
        for path in ["", "@elsewhere/a", "x"] {
            let found = ready(|plan| plan.address.path = Template::literal(path), "");
            assert!(found.unwrap_err().contains("is not a path"));
        }
        let value_first = ready(|plan| plan.address.path.parts = vec![value()], "/a");
        assert!(value_first.unwrap_err().contains("`{…}` is not a path"));
    }

    #[test]
    fn a_target_without_a_path_adds_nothing() {
        for target in ["http://127.0.0.1:8080", "https://a.example/"] {
            let prepared = prepared(&fixture::request(), target).unwrap();
            let ready = prepared.ready(&mut Values::new(1), &[]).unwrap();
            assert_eq!(ready.path.as_str(), "/");
        }
    }

    #[test]
    fn a_value_cannot_leave_its_place() {
        let found = ready(
            |plan| plan.address.path = filled("/x/", "/y"),
            "a/..:@b?c#d é",
        );
        assert_eq!(
            found.unwrap().path.as_str(),
            "/base/x/a%2F..%3A%40b%3Fc%23d%20%C3%A9/y"
        );
        let found = ready(
            |plan| plan.address.headers = vec![("x-v".into(), filled("<", ">"))],
            "a\r\nx-w: 1",
        );
        assert!(
            found
                .unwrap_err()
                .contains("header x-v holds a control character")
        );
        let found = ready(
            |plan| plan.address.auth = Some(AuthPlan::Bearer(filled("", ""))),
            "a\nb",
        );
        assert!(found.unwrap_err().contains("credentials"));
    }

    #[test]
    fn a_query_is_added_to_that_of_the_path() {
        let check = |path: &str, expected: &str| {
            let found = ready(
                |plan| {
                    plan.address.path = Template::literal(path);
                    plan.address.query = vec![
                        ("q&".into(), filled("x ", "")),
                        ("n".into(), Template::literal("1+1")),
                    ];
                },
                "ä=",
            );
            assert_eq!(found.unwrap().path.as_str(), expected);
        };
        check("/a", "/base/a?q%26=x%20%C3%A4%3D&n=1%2B1");
        check("/a?b=c", "/base/a?b=c&q%26=x%20%C3%A4%3D&n=1%2B1");
    }

    #[test]
    fn credentials_are_encoded_and_secret() {
        let check = |auth: AuthPlan, is_filled: bool, expected: &str| {
            let mut plan = fixture::request();
            plan.address.auth = Some(auth.clone());
            plan.address.headers = vec![("Authorization".into(), Template::literal("own"))];
            let prepared = prepared(&plan, "http://127.0.0.1").unwrap();
            assert_eq!(prepared.is_filled(), is_filled);
            let found = ready(|own| *own = plan, "tok").unwrap().headers;
            let found: Vec<_> = found.get_all(AUTHORIZATION).iter().collect();
            assert_eq!(found, [expected], "{auth:?}");
            assert!(found[0].is_sensitive());
        };
        let env = || Template {
            parts: vec![Part::Env("PW".into())],
        };
        let user = Template::literal("Aladdin");
        let of_rfc = AuthPlan::Basic {
            user: user.clone(),
            password: Template::literal("open sesame"),
        };
        check(of_rfc, false, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let of_env = AuthPlan::Basic {
            user: user.clone(),
            password: env(),
        };
        check(of_env, false, "Basic QWxhZGRpbjpwOsOk");
        let password = filled("", "");
        check(
            AuthPlan::Basic { user, password },
            true,
            "Basic QWxhZGRpbjp0b2s=",
        );
        check(
            AuthPlan::Bearer(Template::literal("a.b")),
            false,
            "Bearer a.b",
        );
        check(AuthPlan::Bearer(filled("x-", "")), true, "Bearer x-tok");
    }

    #[test]
    fn a_body_has_its_content_type_unless_a_header_says_otherwise() {
        let check = |body: BodyPlan, header: Option<Template>, text: &str, expected: &str| {
            let found = ready(
                |plan| {
                    plan.body = Some(body);
                    let header = header.map(|value| ("Content-Type".into(), value));
                    plan.address.headers = header.into_iter().collect();
                },
                "1",
            )
            .unwrap();
            assert_eq!(found.body.as_deref(), Some(text.as_bytes()));
            let types: Vec<_> = found.headers.get_all(CONTENT_TYPE).iter().collect();
            assert_eq!(types, [expected]);
        };
        let json = || BodyPlan::Json(Template::literal("{}"));
        check(json(), None, "{}", "application/json");
        check(json(), Some(Template::literal("text/x")), "{}", "text/x");
        check(json(), Some(filled("text/", "")), "{}", "text/1");
    }

    #[test]
    fn the_boundary_of_parts_is_said_whatever_the_headers_say() {
        for content in [Template::literal("fixed"), filled("", "")] {
            for header in [Template::literal("multipart/form-data"), filled("x/", "")] {
                let part = PartPlan {
                    name: "a".into(),
                    filename: None,
                    content_type: None,
                    content: PartContent::Text(content.clone()),
                };
                let found = ready(
                    |plan| {
                        plan.body = Some(BodyPlan::Multipart(vec![part]));
                        plan.address.headers = vec![("content-type".into(), header)];
                    },
                    "1",
                )
                .unwrap();
                let types: Vec<_> = found.headers.get_all(CONTENT_TYPE).iter().collect();
                let [only] = types.as_slice() else {
                    panic!("{types:?}");
                };
                let only = only.to_str().unwrap();
                let boundary = only.strip_prefix("multipart/form-data; boundary=").unwrap();
                let body = found.body.unwrap();
                assert!(body.starts_with(format!("--{boundary}\r\n").as_bytes()));
            }
        }
    }

    #[test]
    fn an_empty_body_is_said_to_be_so_where_the_method_means_one() {
        let check = |method: &str, body: Option<&str>, expected: Option<&str>| {
            let found = ready(
                |plan| {
                    plan.method = method.into();
                    plan.body = body.map(|text| BodyPlan::Text(Template::literal(text)));
                },
                "",
            );
            let headers = found.unwrap().headers;
            let length = headers.get(CONTENT_LENGTH);
            let length = length.map(|length| length.to_str().unwrap());
            assert_eq!(length, expected, "{method} {body:?}");
        };
        check("POST", None, Some("0"));
        check("PUT", None, Some("0"));
        check("PATCH", Some(""), Some("0"));
        // Of any other the client says the length itself.
        check("POST", Some("x"), None);
        check("GET", None, None);
        check("DELETE", None, None);
        // One that turns out empty.
        for (value, expected) in [("", Some("0")), ("x", None)] {
            let filled = |plan: &mut RequestPlan| {
                plan.method = "POST".into();
                plan.body = Some(BodyPlan::Text(filled("", "")));
            };
            let headers = ready(filled, value).unwrap().headers;
            let length = headers.get(CONTENT_LENGTH);
            let length = length.map(|length| length.to_str().unwrap());
            assert_eq!(length, expected, "{value:?}");
        }
    }
}
