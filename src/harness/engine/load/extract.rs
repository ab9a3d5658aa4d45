//! What later steps take from an answer or a message.

use cookie_store::RawCookie;
use http::header::{HeaderMap, HeaderName, SET_COOKIE};
use rand::seq::IteratorRandom as _;
use rand_chacha::ChaCha8Rng;
use regex::Regex;
use scraper::{ElementRef, Selector};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::check::{CheckError, header_name, json_path, regex};
use super::content::Content;
use super::template::Values;
use crate::harness::scenario::{ExtractPlan, ExtractSource, Pick};

/// A compiled extraction.
#[derive(Debug)]
pub(super) struct Extract {
    /// The index of the value that it sets.
    value: usize,
    from: Source,
    pick: Pick,
    default: Option<String>,
}

#[derive(Debug)]
enum Source {
    Json(JsonPath),
    Header(HeaderName),
    Regex(Regex),
    Cookie(String),
    Html {
        selector: Selector,
        written: String,
        attribute: Option<String>,
    },
}

impl Extract {
    /// Compiles the extraction of the value with that index.
    pub(super) fn new(value: usize, plan: &ExtractPlan) -> Result<Self, CheckError> {
        let from = match &plan.from {
            ExtractSource::Json(path) => Source::Json(json_path(path)?),
            ExtractSource::Header(name) => Source::Header(header_name(name)?),
            ExtractSource::Regex(pattern) => Source::Regex(regex(pattern)?),
            ExtractSource::Cookie(name) => Source::Cookie(name.clone()),
            ExtractSource::Html {
                selector,
                attribute,
            } => Source::Html {
                selector: Selector::parse(selector).map_err(|error| CheckError::Selector {
                    selector: selector.clone(),
                    error: error.to_string(),
                })?,
                written: selector.clone(),
                attribute: attribute.clone(),
            },
        };
        Ok(Self {
            value,
            from,
            pick: plan.pick,
            default: plan.default.clone(),
        })
    }

    /// Whether it looks at the body.
    pub(super) fn needs_body(&self) -> bool {
        !matches!(self.from, Source::Header(_) | Source::Cookie(_))
    }

    /// Whether what it finds depends on chance.
    pub(super) fn is_random(&self) -> bool {
        self.pick == Pick::Random
    }

    /// Takes the value, or else its default. The error says what was not found; it may hold hostile
    /// text.
    pub(super) fn apply(
        &self,
        headers: &HeaderMap,
        content: &Content<'_>,
        values: &mut Values,
    ) -> Result<(), String> {
        let found = self.find(headers, content, &mut values.random);
        let value = match (found, &self.default) {
            (Ok(value), _) => value,
            (Err(_), Some(default)) => default.clone(),
            (Err(message), None) => return Err(message),
        };
        values.extracted[self.value] = Some(value);
        Ok(())
    }

    fn find(
        &self,
        headers: &HeaderMap,
        content: &Content<'_>,
        random: &mut ChaCha8Rng,
    ) -> Result<String, String> {
        let pick = self.pick;
        match &self.from {
            Source::Json(path) => {
                let json = content.json()?;
                let found = path.query(json);
                let picked = picked(pick, found.iter().copied(), random);
                picked
                    .map(json_text)
                    .ok_or_else(|| format!("{path} finds nothing"))
            }
            Source::Header(name) => picked(pick, headers.get_all(name).iter(), random)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .ok_or_else(|| format!("the header {name} is missing")),
            Source::Regex(regex) => {
                let found = regex.captures_iter(content.text()).filter_map(|captures| {
                    let group = captures.get(1).or_else(|| captures.get(0))?;
                    Some(group.as_str())
                });
                picked(pick, found, random)
                    .map(str::to_owned)
                    .ok_or_else(|| format!("/{regex}/ matches nothing"))
            }
            Source::Cookie(name) => {
                let set = headers.get_all(SET_COOKIE).iter();
                let cookies = set.filter_map(|header| RawCookie::parse(header.to_str().ok()?).ok());
                let named = cookies.filter(|cookie| cookie.name() == name);
                picked(pick, named, random)
                    .map(|cookie| cookie.value().to_owned())
                    .ok_or_else(|| format!("the answer sets no cookie `{name}`"))
            }
            Source::Html {
                selector,
                written,
                attribute,
            } => {
                let elements = content.html()?.select(selector);
                let found = elements.filter_map(|element| match attribute {
                    Some(attribute) => element.attr(attribute).map(str::to_owned),
                    None => Some(text_of(element)),
                });
                picked(pick, found, random).ok_or_else(|| match attribute {
                    Some(attribute) => {
                        format!("no element `{written}` has the attribute `{attribute}`")
                    }
                    None => format!("there is no element `{written}`"),
                })
            }
        }
    }
}

fn picked<T>(pick: Pick, mut all: impl Iterator<Item = T>, random: &mut ChaCha8Rng) -> Option<T> {
    match pick {
        Pick::First => all.next(),
        Pick::Last => all.last(),
        Pick::Random => all.choose(random),
    }
}

/// A string as it is, anything else as JSON.
fn json_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The text inside, without the white space around it.
fn text_of(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().trim().to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const JSON: &str = r#"{"id": 7, "name": "a", "items": [{"v": 1.5}, {"v": 2}, {"v": 3}]}"#;
    const HTML: &str = r#"<!doctype html><form><input name=csrf value="t&amp;1"><p> one
        <b>two</b> </p><input name=csrf value=t2><input name=csrf></form>"#;

    fn values() -> Values {
        let mut values = Values::new(3);
        values.renew(0, &[], 1).unwrap();
        values
    }

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-id", "h7".parse().unwrap());
        for cookie in [
            "sid=abc; Path=/; HttpOnly",
            "lang=en",
            "sid=\"d e\"; Max-Age=5",
            "no cookie",
        ] {
            headers.append(SET_COOKIE, cookie.parse().unwrap());
        }
        headers
    }

    fn apply(plan: &ExtractPlan, body: &str) -> Result<String, String> {
        let extract = Extract::new(0, plan).map_err(|error| error.to_string())?;
        let mut values = values();
        extract.apply(&headers(), &Content::new(body.as_bytes()), &mut values)?;
        Ok(values.extracted[0].clone().unwrap())
    }

    fn source(name: &str, what: &str) -> ExtractSource {
        let what = what.to_owned();
        match name {
            "json" => ExtractSource::Json(what),
            "header" => ExtractSource::Header(what),
            "regex" => ExtractSource::Regex(what),
            "cookie" => ExtractSource::Cookie(what),
            "html" => ExtractSource::Html {
                selector: what,
                attribute: None,
            },
            "value" => ExtractSource::Html {
                selector: what,
                attribute: Some("value".into()),
            },
            other => panic!("{other}"),
        }
    }

    fn check(name: &str, what: &str, body: &str, expected: Result<&str, &str>) {
        let found = apply(&source(name, what).into(), body);
        match (&found, expected) {
            (Ok(found), Ok(value)) if found == value => {}
            (Err(found), Err(part)) if found.contains(part) => {}
            _ => panic!("{name} {what}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_value_is_extracted_or_the_step_fails() {
        check("json", "$.id", JSON, Ok("7"));
        check("json", "$.name", JSON, Ok("a"));
        check("json", "$.items[0]", JSON, Ok(r#"{"v":1.5}"#));
        check("json", "$.x", JSON, Err("finds nothing"));
        check("json", "$.id", "<html>", Err("the body is not JSON"));
        check("json", "$[", JSON, Err("not a JSONPath"));
        check("header", "X-ID", JSON, Ok("h7"));
        check("header", "etag", JSON, Err("missing"));
        check("regex", r#""id": (\d+)"#, JSON, Ok("7"));
        check("regex", "items", JSON, Ok("items"));
        check("regex", "x{9}", JSON, Err("matches nothing"));
        check("cookie", "sid", JSON, Ok("abc"));
        check("cookie", "SID", JSON, Err("sets no cookie `SID`"));
        check("value", "input[name=csrf]", HTML, Ok("t&1"));
        check("html", "form > p", HTML, Ok("one\n        two"));
        check("html", "form > i", HTML, Err("no element `form > i`"));
        check("value", "p", HTML, Err("`p` has the attribute `value`"));
        check("value", "input[", HTML, Err("not a CSS selector"));
    }

    #[test]
    fn one_of_several_is_picked() {
        let check = |name: &str, what: &str, body: &str, last: &str, all: &[&str]| {
            let from = source(name, what);
            let plan = |pick| ExtractPlan {
                from: from.clone(),
                pick,
                default: None,
            };
            assert_eq!(apply(&plan(Pick::Last), body).unwrap(), last);
            let any = Extract::new(0, &plan(Pick::Random)).unwrap();
            let (headers, content) = (headers(), Content::new(body.as_bytes()));
            let mut values = values();
            let mut seen = BTreeSet::new();
            for _ in 0..100 {
                any.apply(&headers, &content, &mut values).unwrap();
                seen.insert(values.extracted[0].clone().unwrap());
            }
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), all, "{name} {what}");
        };
        check("json", "$.items[*].v", JSON, "3", &["1.5", "2", "3"]);
        check("regex", r#""v": (\d)"#, JSON, "3", &["1", "2", "3"]);
        check("value", "input", HTML, "t2", &["t&1", "t2"]);
        check("cookie", "sid", JSON, "\"d e\"", &["\"d e\"", "abc"]);
    }

    #[test]
    fn a_default_stands_in_for_what_is_not_there() {
        for (name, what) in [
            ("json", "$.x"),
            ("header", "etag"),
            ("regex", "x{9}"),
            ("cookie", "x"),
            ("html", "i"),
        ] {
            let plan = ExtractPlan {
                from: source(name, what),
                pick: Pick::First,
                default: Some("none".into()),
            };
            assert_eq!(apply(&plan, "<html>").as_deref(), Ok("none"), "{name}");
        }
    }
}
