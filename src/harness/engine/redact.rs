//! Keeps secrets out of everything that is shown or kept.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::{Captures, Regex};

/// A line of a secret that spans several is only looked for by itself from this length on; `-----`
/// or an empty line is no secret.
const MIN_LINE_BYTES: usize = 8;
/// RFC 3986 calls these unreserved: a value keeps them, and nothing else, in a URL and in a form.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Replaces the values of `{$env.NAME}` by `{$env.NAME}` again, as they stand and in the disguises
/// that a URL, a JSON text or a line of output gives them.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    /// Every needle with the name that replaces it.
    names: BTreeMap<String, String>,
    /// Matches any needle, the longest first; `None` where there is no secret.
    pattern: Option<Regex>,
}

impl Redactor {
    /// A redactor of these values by the names of their variables.
    pub fn new(secrets: &BTreeMap<String, String>) -> Self {
        let mut names = BTreeMap::new();
        for (name, value) in secrets {
            for needle in disguises(value) {
                names.entry(needle).or_insert_with(|| name.clone());
            }
        }
        let mut needles: Vec<&String> = names.keys().collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        let alternatives: Vec<String> =
            needles.iter().map(|needle| regex::escape(needle)).collect();
        // Escaped literals are always a valid pattern, and its size is not limited. To go on without
        // it would show the secrets.
        let pattern = (!alternatives.is_empty()).then(|| {
            regex::RegexBuilder::new(&alternatives.join("|"))
                .size_limit(usize::MAX)
                .build()
                .expect("BUG: escaped literals are a pattern")
        });
        Self { names, pattern }
    }

    /// The text without the secrets.
    pub fn redact<'text>(&self, text: &'text str) -> Cow<'text, str> {
        match &self.pattern {
            None => Cow::Borrowed(text),
            Some(pattern) => pattern.replace_all(text, |found: &Captures<'_>| {
                let name = self.names.get(&found[0]).map_or("?", String::as_str);
                format!("{{$env.{name}}}")
            }),
        }
    }
}

/// The forms in which a value may turn up.
fn disguises(value: &str) -> Vec<String> {
    if value.is_empty() {
        return Vec::new();
    }
    let percent = utf8_percent_encode(value, UNRESERVED).to_string();
    let mut forms = vec![
        value.to_owned(),
        percent.replace("%20", "+"),
        percent,
        serde_json::Value::from(value)
            .to_string()
            .trim_matches('"')
            .to_owned(),
        value.escape_debug().to_string(),
    ];
    forms.extend(
        value
            .lines()
            .filter(|line| line.len() >= MIN_LINE_BYTES)
            .map(str::to_owned),
    );
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(secrets: &[(&str, &str)], text: &str, expected: &str) {
        let secrets = secrets
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(Redactor::new(&secrets).redact(text), expected);
    }

    #[test]
    fn secrets_are_replaced_in_every_disguise() {
        check(&[], "as it stands", "as it stands");
        check(&[("A", "")], "empty", "empty");
        check(&[("A", "s3cret")], "t=s3cret&s3cret", "t={$env.A}&{$env.A}");
        check(&[("A", "a b/ü")], "?t=a%20b%2F%C3%BC", "?t={$env.A}");
        check(&[("A", "a b")], "?t=a+b", "?t={$env.A}");
        check(&[("A", "x\"y")], r#"{"k":"x\"y"}"#, r#"{"k":"{$env.A}"}"#);
        check(&[("A", "a.b(")], "aXb( a.b(", "aXb( {$env.A}");
        check(
            &[("KEY", "-----\nMIIBVgIBADANBg\n-----")],
            "saw MIIBVgIBADANBg",
            "saw {$env.KEY}",
        );
    }

    #[test]
    fn the_longer_secret_wins_and_names_are_not_searched_again() {
        check(
            &[("A", "pass"), ("B", "password"), ("C", "env")],
            "password pass env",
            "{$env.B} {$env.A} {$env.C}",
        );
    }
}
