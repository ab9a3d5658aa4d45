//! Keeps secrets out of everything that is shown or kept.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::utf8_percent_encode;
use regex::{Captures, Regex};

use super::http::UNRESERVED;

/// A line of a secret that spans several is only looked for by itself from this length on; `-----`
/// or an empty line is no secret.
const MIN_LINE_BYTES: usize = 8;
/// Fewer digits of base64 than this stand in many a text by chance.
const MIN_DIGITS: usize = 4;

/// Replaces the values of `{$env.NAME}` by `{$env.NAME}` again, as they stand and in the disguises
/// that a URL, a JSON text, a line of output or base64 gives them.
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
        let secrets = secrets.iter();
        Self::of(secrets.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The same of values that may have a variable in common.
    pub(super) fn of<'a>(secrets: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        let mut names = BTreeMap::new();
        for (name, value) in secrets.clone() {
            for needle in disguises(value) {
                names.entry(needle).or_insert_with(|| name.to_owned());
            }
        }
        let mut needles: Vec<String> = names.keys().cloned().collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        let mut alternatives: Vec<String> =
            needles.iter().map(|needle| regex::escape(needle)).collect();
        for (name, value) in secrets {
            for digits in in_base64(value) {
                // The digits on both sides hold a few bits of it.
                let digit = "[A-Za-z0-9+/_-]{0,2}";
                let pattern = format!("{digit}{}{digit}={{0,2}}", regex::escape(&digits));
                alternatives.push(pattern);
                names.entry(digits).or_insert_with(|| name.to_owned());
            }
        }
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
                format!("{{$env.{}}}", self.name_of(&found[0]))
            }),
        }
    }

    /// Whose value it is; of digits of base64, whose they contain.
    fn name_of(&self, found: &str) -> &str {
        let contained = || {
            let mut names = self.names.iter();
            names
                .find(|(needle, _)| found.contains(needle.as_str()))
                .map(|(_, name)| name)
        };
        let name = self.names.get(found).or_else(contained);
        name.map_or("?", String::as_str)
    }
}

/// What base64 makes of a value in the middle of something else, as in the header of basic
/// authentication: for each of the three places that it can have in a group, the digits that depend on
/// nothing but the value.
fn in_base64(value: &str) -> Vec<String> {
    let digits = (0..3).filter_map(|before| {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        let digits = encoded.get((before * 8).div_ceil(6)..bytes.len() * 8 / 6)?;
        (digits.len() >= MIN_DIGITS).then(|| digits.to_owned())
    });
    digits
        .flat_map(|digits| [digits.replace('+', "-").replace('/', "_"), digits])
        .collect()
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
    fn credentials_in_base64_are_replaced_wherever_the_secret_begins() {
        for user in ["", "a", "ab", "abc"] {
            let pair = format!("{user}:hunter2!?>");
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            let secrets = BTreeMap::from([("PW".to_owned(), "hunter2!?>".to_owned())]);
            let text = format!("sent `Basic {encoded}` twice");
            let redacted = Redactor::new(&secrets).redact(&text).into_owned();
            assert!(redacted.starts_with("sent `Basic "), "{redacted}");
            assert!(redacted.ends_with("{$env.PW}` twice"), "{redacted}");
            // What is left in front is of the user's name.
            let left = redacted.len() - "sent `Basic {$env.PW}` twice".len();
            assert!(left <= (user.len() + 1) * 8 / 6, "{redacted}");
        }
        // Too short to be told from a word.
        check(&[("A", "ab")], "YWIx", "YWIx");
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
