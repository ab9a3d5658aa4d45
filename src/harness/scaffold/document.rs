//! JSON and YAML of others: read within limits, and references in it followed within it.

use serde_json::Value;

use super::error::ScaffoldError;
use super::text::shown;

/// A reference that leads to a reference, and so on, is one of a circle soon.
const MAX_STEPS: usize = 16;
/// Deeper documents are refused, as serde_json refuses them.
const MAX_DEPTH: usize = 64;

/// A document.
#[derive(Debug)]
pub(super) struct Document(Value);

/// Why a reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoReference {
    /// It leads out of the document.
    #[error("`{0}` leads out of the document, and only what is in it is read")]
    Remote(String),
    /// There is nothing.
    #[error("`{0}` leads to nothing")]
    Missing(String),
    /// It leads to itself.
    #[error("`{0}` leads in a circle")]
    Circle(String),
}

impl Document {
    /// Reads JSON, or else YAML, of at most `limit_bytes`.
    ///
    /// # Errors
    /// Where it is too large or neither of both, or where its aliases would make it grow.
    pub(super) fn read(text: &str, limit_bytes: usize) -> Result<Self, ScaffoldError> {
        if text.len() > limit_bytes {
            return Err(ScaffoldError::TooLarge { limit_bytes });
        }
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with(['{', '[']) {
            let json: Result<Value, _> = serde_json::from_str(text);
            if let Ok(value) = json {
                return Ok(Self(value));
            }
        }
        yaml(text, limit_bytes).map(Self)
    }

    /// The whole of it.
    pub(super) fn root(&self) -> &Value {
        &self.0
    }

    /// `value`, or what it refers to.
    pub(super) fn resolve<'a>(&'a self, mut value: &'a Value) -> Result<&'a Value, NoReference> {
        let mut first = None;
        for _ in 0..MAX_STEPS {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
                return Ok(value);
            };
            let first = first.get_or_insert(reference);
            let Some(pointer) = reference.strip_prefix('#') else {
                return Err(NoReference::Remote(shown(reference)));
            };
            let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
            value = self
                .0
                .pointer(&pointer)
                .ok_or_else(|| NoReference::Missing(shown(first)))?;
        }
        Err(NoReference::Circle(shown(first.unwrap_or_default())))
    }

    /// The value at `key`, or what it refers to; `None` where it is not there.
    pub(super) fn get<'a>(
        &'a self,
        value: &'a Value,
        key: &str,
    ) -> Result<Option<&'a Value>, NoReference> {
        value.get(key).map(|inner| self.resolve(inner)).transpose()
    }
}

fn yaml(text: &str, limit_bytes: usize) -> Result<Value, ScaffoldError> {
    // What aliases bring again counts as if it stood there again, so that a small document can't become
    // a large one.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: 1,
            max_nodes: 2_000_000,
            max_events: 4_000_000,
            max_total_scalar_bytes: limit_bytes,
            max_merge_keys: 1_000,
        },
        with_snippet: false,
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ScaffoldError::Syntax(shown(&error.to_string())))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn json_and_yaml_are_read() {
        let check = |text: &str, expected: Value| {
            let document = Document::read(text, LIMIT).unwrap();
            assert_eq!(*document.root(), expected, "{text}");
        };
        check("{\"a\": [1, 2.5, null]}", json!({"a": [1, 2.5, null]}));
        check("\u{feff}{\"a\": 1}", json!({"a": 1}));
        check(
            "a:\n  - 1\n  - two\n  - on\n  - 1.0.0\n",
            json!({"a": [1, "two", "on", "1.0.0"]}),
        );
        check("200:\n  x: y\n", json!({"200": {"x": "y"}}));
        check("{a: 1}", json!({"a": 1}));
        check(
            "a: &x {b: 1}\nc: *x\n",
            json!({"a": {"b": 1}, "c": {"b": 1}}),
        );
    }

    #[test]
    fn documents_that_would_take_the_machine_are_refused() {
        let refused = |text: &str| {
            let error = Document::read(text, LIMIT).unwrap_err();
            assert!(
                !error.to_string().contains('\u{1b}') && error.to_string().len() < 300,
                "{error}"
            );
            error
        };
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..12 {
            let again = vec![format!("*a{}", level - 1); 9].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{again}]\n"));
        }
        refused(&laughs);
        // One long text, brought again and again.
        let long = format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(500_000),
            vec!["*a"; 100].join(", ")
        );
        refused(&long);
        refused(&"[".repeat(100_000));
        refused(&format!("{}1", "{\"a\":".repeat(10_000)));
        refused("a: *nowhere");
        refused("a: &a [*a]");
        refused("a: 1\na: 2\n");
        refused("a: 1\n---\nb: 2\n");
        let large = " ".repeat(LIMIT + 1);
        assert_eq!(
            refused(&large),
            ScaffoldError::TooLarge { limit_bytes: LIMIT }
        );
    }

    #[test]
    fn references_stay_in_the_document() {
        let document = Document::read(
            r##"{"a": {"$ref": "#/b/c~1d/0"}, "b": {"c/d": [{"x": 1}]}, "round": {"$ref": "#/round"},
                "one": {"$ref": "#/two"}, "two": {"$ref": "#/one"}, "gone": {"$ref": "#/nothing"},
                "file": {"$ref": "other.yaml#/a"}, "net": {"$ref": "http://evil.example/x"},
                "encoded": {"$ref": "#/b/c~1d%2F0"}, "odd": {"$ref": 7}}"##,
            LIMIT,
        )
        .unwrap();
        let check = |key: &str, expected: Result<Value, &str>| {
            let found = document.get(document.root(), key);
            match (found, expected) {
                (Ok(Some(found)), Ok(expected)) => assert_eq!(*found, expected, "{key}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (found, expected) => panic!("{key}: {found:?}, not {expected:?}"),
            }
        };
        check("a", Ok(json!({"x": 1})));
        check("encoded", Ok(json!({"x": 1})));
        check("odd", Ok(json!({"$ref": 7})));
        check("round", Err("circle"));
        check("one", Err("circle"));
        check("gone", Err("leads to nothing"));
        check("file", Err("leads out of the document"));
        check("net", Err("leads out of the document"));
        assert!(document.get(document.root(), "absent").unwrap().is_none());
    }
}
