//! What must hold of an answer.

use http::header::{HeaderName, HeaderValue};
use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::content::Content;
use super::extract::Extract;
use super::template::Values;
use super::transport::{Headers, Keep};
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{CheckPlan, ExtractPlan};

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
    /// Not a CSS selector.
    #[error("`{selector}` is not a CSS selector: {error}")]
    Selector {
        /// What was written.
        selector: String,
        /// What is wrong with it.
        error: String,
    },
}

/// The compiled checks and extractions of a request.
#[derive(Debug)]
pub(super) struct Checks {
    status: Vec<(u16, u16)>,
    headers: Vec<(HeaderName, Option<String>)>,
    max_time_ns: Option<u64>,
    min_bytes: Option<u64>,
    max_bytes: Option<u64>,
    body_contains: Option<String>,
    body_matches: Option<Regex>,
    json: JsonChecks,
    extract: Vec<Extract>,
}

/// JSONPath expressions and the value that each must have.
#[derive(Debug)]
pub(super) struct JsonChecks(Vec<(JsonPath, Value)>);

/// What failed, and a sentence about it with hostile text in it.
pub(super) type Complaint = (ErrorKind, String);

/// What is judged of an answer apart from its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a Headers,
    /// Of the body, decompressed, whether it was kept or not.
    pub(super) body_bytes: u64,
    pub(super) service_ns: u64,
}

impl Checks {
    /// Compiles the checks, and the extractions by the index of the value that each sets.
    pub(super) fn new<'a>(
        plan: &CheckPlan,
        extract: impl Iterator<Item = (usize, &'a ExtractPlan)>,
    ) -> Result<Self, CheckError> {
        let headers = plan
            .headers
            .iter()
            .map(|(name, expected)| Ok((header_name(name)?, expected.clone())));
        let extract = extract.map(|(index, plan)| Extract::new(index, plan));
        Ok(Self {
            status: plan.status.clone(),
            headers: headers.collect::<Result<_, _>>()?,
            max_time_ns: plan.max_time_ns,
            min_bytes: plan.min_bytes,
            max_bytes: plan.max_bytes,
            body_contains: plan.body_contains.clone(),
            body_matches: plan.body_matches.as_deref().map(regex).transpose()?,
            json: JsonChecks::new(&plan.json)?,
            extract: extract.collect::<Result<_, _>>()?,
        })
    }

    /// What of the body must be kept to look at it.
    pub(super) fn keep(&self) -> Keep {
        let is_seen = self.body_contains.is_some()
            || self.body_matches.is_some()
            || !self.json.is_empty()
            || self.extract.iter().any(Extract::needs_body);
        match is_seen {
            true => Keep::All,
            // The size is that of what came out of a compression.
            false if self.min_bytes.is_some() || self.max_bytes.is_some() => Keep::Length,
            false => Keep::Nothing,
        }
    }

    /// Whether a value is extracted by chance.
    pub(super) fn is_random(&self) -> bool {
        self.extract.iter().any(Extract::is_random)
    }

    /// Checks an answer, then takes values from it.
    pub(super) fn apply(
        &self,
        head: &Head<'_>,
        body: &[u8],
        values: &mut Values,
    ) -> Result<(), Complaint> {
        let status = head.status;
        let in_order = |&(low, high): &(u16, u16)| (low..=high).contains(&status);
        if !self.status.iter().any(in_order) {
            let expected = in_words(&self.status);
            return Err((
                ErrorKind::Status,
                format!("status {status}, not {expected}"),
            ));
        }
        let content = Content::new(body);
        self.find_fault(head, &content)
            .map_err(|message| (ErrorKind::Check, message))?;
        for extract in &self.extract {
            extract
                .apply(head.headers, &content, values)
                .map_err(|message| (ErrorKind::Extract, message))?;
        }
        Ok(())
    }

    fn find_fault(&self, head: &Head<'_>, content: &Content<'_>) -> Result<(), String> {
        for (name, expected) in &self.headers {
            // A header may come several times.
            let found = || head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
            match expected {
                _ if found().next().is_none() => {
                    return Err(format!("the header {name} is missing"));
                }
                Some(expected) if !found().any(|value| value == expected.as_bytes()) => {
                    let found: Vec<_> = found().map(String::from_utf8_lossy).collect();
                    let found = found.join("`, `");
                    return Err(format!("the header {name} is `{found}`, not `{expected}`"));
                }
                _ => {}
            }
        }
        if let Some(max_ns) = self.max_time_ns.filter(|max_ns| head.service_ns > *max_ns) {
            let ms = |ns: u64| ns as f64 / 1e6;
            let (took, most) = (ms(head.service_ns), ms(max_ns));
            return Err(format!("the answer took {took:.1} ms, more than {most} ms"));
        }
        let length = head.body_bytes;
        if let Some(least) = self.min_bytes.filter(|least| length < *least) {
            return Err(format!("the body has {length} bytes, fewer than {least}"));
        }
        if let Some(most) = self.max_bytes.filter(|most| length > *most) {
            return Err(format!("the body has {length} bytes, more than {most}"));
        }
        if let Some(wanted) = &self.body_contains
            && !content.text().contains(wanted.as_str())
        {
            return Err(format!("the body does not contain `{wanted}`"));
        }
        if let Some(regex) = &self.body_matches
            && !regex.is_match(content.text())
        {
            return Err(format!("the body does not match /{regex}/"));
        }
        self.json.find_fault(content)
    }
}

impl JsonChecks {
    pub(super) fn new(plan: &[(String, Value)]) -> Result<Self, CheckError> {
        let checks = plan
            .iter()
            .map(|(path, expected)| Ok((json_path(path)?, expected.clone())));
        Ok(Self(checks.collect::<Result<_, _>>()?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error says which value is another.
    pub(super) fn find_fault(&self, content: &Content<'_>) -> Result<(), String> {
        if self.is_empty() {
            return Ok(());
        }
        let json = content.json()?;
        for (path, expected) in &self.0 {
            match path.query(json).first() {
                Some(found) if same(found, expected) => {}
                Some(found) => return Err(format!("{path} is {found}, not {expected}")),
                None => return Err(format!("{path} finds nothing")),
            }
        }
        Ok(())
    }
}

/// Compiles a JSONPath.
pub(super) fn json_path(path: &str) -> Result<JsonPath, CheckError> {
    JsonPath::parse(path).map_err(|error| CheckError::JsonPath {
        path: path.to_owned(),
        error,
    })
}

/// Reads the name of a header.
pub(super) fn header_name(name: &str) -> Result<HeaderName, CheckError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| CheckError::Header(name.to_owned()))
}

/// Compiles a regular expression.
pub(super) fn regex(pattern: &str) -> Result<Regex, CheckError> {
    Regex::new(pattern).map_err(|error| CheckError::Regex {
        pattern: pattern.to_owned(),
        error,
    })
}

/// Ranges of statuses as a scenario writes them.
fn in_words(statuses: &[(u16, u16)]) -> String {
    let ranges = statuses.iter().map(|(low, high)| match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    });
    ranges.collect::<Vec<_>>().join(" or ")
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::harness::scenario::ExtractSource;

    const BODY: &[u8] = br#"{"id": 7, "name": "a", "items": [{"v": 1.5}], "none": null}"#;

    fn plan() -> CheckPlan {
        CheckPlan {
            status: vec![(200, 299)],
            ..CheckPlan::default()
        }
    }

    fn apply(plan: &CheckPlan, extract: &[ExtractPlan], body: &[u8]) -> Result<(), Complaint> {
        let checks = Checks::new(plan, extract.iter().enumerate()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-id", "h7".parse().unwrap());
        headers.append("vary", "Accept-Encoding".parse().unwrap());
        headers.append("vary", "Origin".parse().unwrap());
        let head = Head {
            status: 201,
            headers: &headers.into(),
            body_bytes: body.len() as u64,
            service_ns: 2_000_000,
        };
        let mut values = Values::new(1);
        values.renew(0, &[], extract.len()).unwrap();
        checks.apply(&head, body, &mut values)
    }

    #[test]
    fn a_check_holds_or_says_why_not() {
        let check = |change: &dyn Fn(&mut CheckPlan), expected: Result<(), (ErrorKind, &str)>| {
            let mut plan = plan();
            change(&mut plan);
            let found = apply(&plan, &[], BODY);
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
            Err((ErrorKind::Status, "status 201, not 200")),
        );
        check(
            &|plan| plan.status = vec![(204, 204), (300, 399)],
            Err((ErrorKind::Status, "status 201, not 204 or 300-399")),
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
        check(
            &|plan| plan.body_matches = Some(r#""id": \d,"#.into()),
            Ok(()),
        );
        check(
            &|plan| plan.body_matches = Some(r"id\d".into()),
            failed("does not match"),
        );
        let length = BODY.len() as u64;
        check(&|plan| plan.min_bytes = Some(length), Ok(()));
        check(&|plan| plan.max_bytes = Some(length), Ok(()));
        check(&|plan| plan.min_bytes = Some(length + 1), failed("fewer"));
        check(&|plan| plan.max_bytes = Some(length - 1), failed("more"));
        check(&|plan| plan.max_time_ns = Some(2_000_000), Ok(()));
        check(
            &|plan| plan.max_time_ns = Some(1_500_000),
            failed("took 2.0 ms, more than 1.5 ms"),
        );
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
    fn a_body_that_is_not_json_fails_only_whoever_needs_json() {
        let html = |plan: &CheckPlan, extract: &[ExtractPlan]| {
            let found = apply(plan, extract, b"<html>");
            found.map_err(|(kind, _)| kind)
        };
        assert_eq!(html(&plan(), &[]), Ok(()));
        let extract = [ExtractSource::Json("$.id".into()).into()];
        assert_eq!(html(&plan(), &extract), Err(ErrorKind::Extract));
        let both = CheckPlan {
            json: vec![("$.id".into(), json!(7))],
            ..plan()
        };
        assert_eq!(html(&both, &extract), Err(ErrorKind::Check));
    }

    #[test]
    fn a_body_is_kept_where_something_looks_at_it() {
        let check = |change: &dyn Fn(&mut CheckPlan), source: Option<ExtractSource>, expected| {
            let mut plan = plan();
            change(&mut plan);
            let extract: Vec<ExtractPlan> = source.into_iter().map(Into::into).collect();
            let checks = Checks::new(&plan, extract.iter().enumerate()).unwrap();
            assert_eq!(checks.keep(), expected, "{plan:?} {extract:?}");
        };
        let header = || Some(ExtractSource::Header("etag".into()));
        check(&|_| (), None, Keep::Nothing);
        check(
            &|plan| plan.headers = vec![("etag".into(), None)],
            header(),
            Keep::Nothing,
        );
        let cookie = Some(ExtractSource::Cookie("sid".into()));
        check(&|_| (), cookie, Keep::Nothing);
        check(&|plan| plan.max_bytes = Some(9), None, Keep::Length);
        check(&|plan| plan.min_bytes = Some(9), header(), Keep::Length);
        let json = Some(ExtractSource::Json("$.id".into()));
        check(&|plan| plan.max_bytes = Some(9), json, Keep::All);
        check(
            &|plan| plan.body_matches = Some("x".into()),
            None,
            Keep::All,
        );
        check(&|_| (), Some(ExtractSource::Regex("x".into())), Keep::All);
    }
}
