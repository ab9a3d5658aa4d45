//! What must hold of an answer, and what later steps take from it.

use std::borrow::Cow;

use regex::Regex;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::harness::model::ErrorKind;
use crate::harness::scenario::{CheckPlan, ExtractPlan, ExtractSource};

/// Why a check or an extraction could not be compiled. A plan that was validated has none of these.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Not a JSONPath.
    #[error("`{path}` is not a JSONPath: {error}")]
    JsonPath {
        /// What was written.
        path: String,
        /// What is wrong with it.
        error: serde_json_path::ParseError,
    },
    /// Not a regular expression.
    #[error("`{pattern}` is not a regular expression: {error}")]
    Regex {
        /// What was written.
        pattern: String,
        /// What is wrong with it.
        error: regex::Error,
    },
    /// Not the name of a header.
    #[error("`{0}` is not the name of a header")]
    Header(String),
}

/// The compiled checks and extractions of a step.
#[derive(Debug)]
pub(super) struct Checks {
    status: Vec<(u16, u16)>,
    body_contains: Option<String>,
    json: Vec<(JsonPath, Value)>,
    headers: Vec<(HeaderName, Option<String>)>,
    extract: Vec<(usize, Extract)>,
}

#[derive(Debug)]
enum Extract {
    Json(JsonPath),
    Header(HeaderName),
    Regex(Regex),
}

/// What failed, and a sentence about it with hostile text in it.
pub(super) type Complaint = (ErrorKind, String);

impl Checks {
    /// Compiles the checks, and the extractions by the index of the value that each sets.
    pub(super) fn new<'a>(
        plan: &CheckPlan,
        extract: impl Iterator<Item = (usize, &'a ExtractPlan)>,
    ) -> Result<Self, CheckError> {
        let json = plan
            .json
            .iter()
            .map(|(path, expected)| Ok((json_path(path)?, expected.clone())));
        let headers = plan
            .headers
            .iter()
            .map(|(name, expected)| Ok((header_name(name)?, expected.clone())));
        let extract = extract.map(|(index, plan)| {
            let extract = match &plan.from {
                ExtractSource::Json(path) => Extract::Json(json_path(path)?),
                ExtractSource::Header(name) => Extract::Header(header_name(name)?),
                ExtractSource::Regex(pattern) => {
                    Extract::Regex(Regex::new(pattern).map_err(|error| CheckError::Regex {
                        pattern: pattern.clone(),
                        error,
                    })?)
                }
                ExtractSource::Cookie(_) | ExtractSource::Html { .. } => {
                    unimplemented!("no scenario can say this yet")
                }
            };
            Ok((index, extract))
        });
        Ok(Self {
            status: plan.status.clone(),
            body_contains: plan.body_contains.clone(),
            json: json.collect::<Result<_, _>>()?,
            headers: headers.collect::<Result<_, _>>()?,
            extract: extract.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the body is looked at, so that it must be kept.
    pub(super) fn needs_body(&self) -> bool {
        let extracts_from_body = |(_, extract): &(usize, Extract)| {
            matches!(extract, Extract::Json(_) | Extract::Regex(_))
        };
        self.body_contains.is_some()
            || !self.json.is_empty()
            || self.extract.iter().any(extracts_from_body)
    }

    /// Checks an answer, then takes values from it into `extracted`.
    pub(super) fn apply(
        &self,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
        extracted: &mut [Option<String>],
    ) -> Result<(), Complaint> {
        let in_order = |&(low, high): &(u16, u16)| (low..=high).contains(&status);
        if !self.status.iter().any(in_order) {
            return Err((ErrorKind::Status, format!("status {status}")));
        }
        for (name, expected) in &self.headers {
            // A header may come several times.
            let found = || headers.get_all(name).iter().map(HeaderValue::as_bytes);
            match expected {
                _ if found().next().is_none() => {
                    return Err((ErrorKind::Check, format!("the header {name} is missing")));
                }
                Some(expected) if !found().any(|value| value == expected.as_bytes()) => {
                    let found: Vec<_> = found().map(String::from_utf8_lossy).collect();
                    let found = found.join("`, `");
                    let message = format!("the header {name} is `{found}`, not `{expected}`");
                    return Err((ErrorKind::Check, message));
                }
                _ => {}
            }
        }
        let body = Body::new(body);
        if let Some(wanted) = &self.body_contains
            && !body.text().contains(wanted.as_str())
        {
            let message = format!("the body does not contain `{wanted}`");
            return Err((ErrorKind::Check, message));
        }
        let json = self.parse(&body)?;
        for (path, expected) in &self.json {
            match path.query(&json).first() {
                Some(found) if same(found, expected) => {}
                Some(found) => {
                    let message = format!("{path} is {found}, not {expected}");
                    return Err((ErrorKind::Check, message));
                }
                None => return Err((ErrorKind::Check, format!("{path} finds nothing"))),
            }
        }
        for (index, extract) in &self.extract {
            let value = match extract {
                Extract::Json(path) => path
                    .query(&json)
                    .first()
                    .map(json_text)
                    .ok_or_else(|| format!("{path} finds nothing")),
                Extract::Header(name) => headers
                    .get(name)
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                    .ok_or_else(|| format!("the header {name} is missing")),
                Extract::Regex(regex) => regex
                    .captures(&body.text())
                    .and_then(|captures| captures.get(1).or_else(|| captures.get(0)))
                    .map(|found| found.as_str().to_owned())
                    .ok_or_else(|| format!("/{regex}/ matches nothing")),
            };
            extracted[*index] = Some(value.map_err(|message| (ErrorKind::Extract, message))?);
        }
        Ok(())
    }

    /// The body as JSON where a check or an extraction asks for it.
    fn parse(&self, body: &Body<'_>) -> Result<Value, Complaint> {
        let extracts = |(_, extract): &(usize, Extract)| matches!(extract, Extract::Json(_));
        let kind = if !self.json.is_empty() {
            ErrorKind::Check
        } else if self.extract.iter().any(extracts) {
            ErrorKind::Extract
        } else {
            return Ok(Value::Null);
        };
        serde_json::from_slice(body.bytes)
            .map_err(|error| (kind, format!("the body is not JSON: {error}")))
    }
}

struct Body<'a> {
    bytes: &'a [u8],
}

impl<'a> Body<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes)
    }
}

fn json_path(path: &str) -> Result<JsonPath, CheckError> {
    JsonPath::parse(path).map_err(|error| CheckError::JsonPath {
        path: path.to_owned(),
        error,
    })
}

fn header_name(name: &str) -> Result<HeaderName, CheckError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| CheckError::Header(name.to_owned()))
}

/// Whether two JSON values mean the same: for JSON, unlike for serde_json, 1 and 1.0 do. Two whole
/// numbers are compared as such, because a float would make neighbours of 2^53 equal.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let is_in_b = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| same(a, b));
            a.len() == b.len() && a.iter().all(is_in_b)
        }
        _ => a == b,
    }
}

/// A string as it is, anything else as JSON.
fn json_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use serde_json::json;

    const BODY: &[u8] = br#"{"id": 7, "name": "a", "items": [{"v": 1.5}], "none": null}"#;

    fn plan() -> CheckPlan {
        CheckPlan {
            status: vec![(200, 299)],
            ..CheckPlan::default()
        }
    }

    fn apply(plan: &CheckPlan, extract: &[ExtractPlan]) -> Result<Vec<Option<String>>, Complaint> {
        let checks = Checks::new(plan, extract.iter().enumerate()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-id", "h7".parse().unwrap());
        headers.append("vary", "Accept-Encoding".parse().unwrap());
        headers.append("vary", "Origin".parse().unwrap());
        let mut extracted = vec![None; extract.len()];
        checks.apply(201, &headers, BODY, &mut extracted)?;
        Ok(extracted)
    }

    #[test]
    fn a_check_holds_or_says_why_not() {
        let check = |change: &dyn Fn(&mut CheckPlan), expected: Result<(), (ErrorKind, &str)>| {
            let mut plan = plan();
            change(&mut plan);
            let found = apply(&plan, &[]).map(|_| ());
            match (&found, &expected) {
                (Ok(()), Ok(())) => {}
                (Err((kind, message)), Err((expected, part)))
                    if kind == expected && message.contains(part) => {}
                _ => panic!("{found:?}, not {expected:?}"),
            }
        };
        let json = |path: &str, value: Value| {
            let path = path.to_owned();
            move |plan: &mut CheckPlan| plan.json = vec![(path.clone(), value.clone())]
        };
        let header = |name: &str, value: Option<&str>| {
            let pair = (name.to_owned(), value.map(str::to_owned));
            move |plan: &mut CheckPlan| plan.headers = vec![pair.clone()]
        };
        let failed = |part| Err((ErrorKind::Check, part));
        check(&|_| (), Ok(()));
        check(
            &|plan| plan.status = vec![(200, 200)],
            Err((ErrorKind::Status, "201")),
        );
        check(&|plan| plan.body_contains = Some("items".into()), Ok(()));
        check(&|plan| plan.body_contains = Some("x".into()), failed("`x`"));
        check(&json("$.id", json!(7)), Ok(()));
        check(&json("$.id", json!(7.0)), Ok(()));
        check(&json("$.id", json!("7")), failed("is 7, not \"7\""));
        check(&json("$.items[0].v", json!(1.5)), Ok(()));
        check(&json("$.nothing", json!(1)), failed("finds nothing"));
        check(&header("X-Id", None), Ok(()));
        check(&header("x-id", Some("h7")), Ok(()));
        check(&header("x-id", Some("h8")), failed("`h7`"));
        check(&header("etag", None), failed("missing"));
        check(&header("vary", Some("Origin")), Ok(()));
        let both = failed("is `Accept-Encoding`, `Origin`, not `Cookie`");
        check(&header("vary", Some("Cookie")), both);
    }

    #[test]
    fn numbers_are_compared_by_what_they_mean() {
        let check = |a: Value, b: Value, expected: bool| {
            assert_eq!(same(&a, &b), expected, "{a} {b}");
            assert_eq!(same(&b, &a), expected, "{b} {a}");
        };
        let large = 9_007_199_254_740_992_u64;
        check(json!(large + 1), json!(large), false);
        check(json!(large), json!(large as f64), true);
        check(json!(-1), json!(-1.0), true);
        check(json!([1, {"a": 2.0}]), json!([1.0, {"a": 2}]), true);
        check(json!([1]), json!([1, 1]), false);
        check(json!({"a": 1}), json!({"b": 1}), false);
        check(json!({"a": 1}), json!({"a": 1, "b": 1}), false);
        check(json!([1]), json!(1), false);
    }

    #[test]
    fn a_value_is_extracted_or_the_step_fails() {
        let check = |extract: ExtractSource, expected: Result<&str, &str>| {
            let found = apply(&plan(), &[extract.into()]);
            match (&found, expected) {
                (Ok(values), Ok(value)) => assert_eq!(values[0].as_deref(), Some(value)),
                (Err((ErrorKind::Extract, message)), Err(part)) if message.contains(part) => {}
                _ => panic!("{found:?}, not {expected:?}"),
            }
        };
        check(ExtractSource::Json("$.id".into()), Ok("7"));
        check(ExtractSource::Json("$.name".into()), Ok("a"));
        check(ExtractSource::Json("$.items[0]".into()), Ok(r#"{"v":1.5}"#));
        check(ExtractSource::Json("$.x".into()), Err("finds nothing"));
        check(ExtractSource::Header("X-ID".into()), Ok("h7"));
        check(ExtractSource::Header("etag".into()), Err("missing"));
        check(ExtractSource::Regex(r#""id": (\d+)"#.into()), Ok("7"));
        check(ExtractSource::Regex("items".into()), Ok("items"));
        check(ExtractSource::Regex("x{9}".into()), Err("matches nothing"));
    }

    #[test]
    fn a_body_that_is_not_json_fails_only_whoever_needs_json() {
        let checks = |plan: &CheckPlan, extract: &[ExtractPlan]| {
            let checks = Checks::new(plan, extract.iter().enumerate()).unwrap();
            checks.apply(200, &HeaderMap::new(), b"<html>", &mut [None])
        };
        assert_eq!(checks(&plan(), &[]), Ok(()));
        let (kind, _) = checks(&plan(), &[ExtractSource::Json("$.id".into()).into()]).unwrap_err();
        assert_eq!(kind, ErrorKind::Extract);
    }
}
