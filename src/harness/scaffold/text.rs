//! Texts of others as parts of a scenario: templates, names, comments.

use toml_writer::{ToTomlKey as _, ToTomlValue as _, TomlStringBuilder};

use crate::harness::model::{escaped, steers};

/// How much of a foreign text stands in a message or a comment, in characters.
const SHOWN_CHARS: usize = 100;
/// Names become parts of file names; the scenario format allows a few more characters.
pub(super) const NAME_CHARS: usize = 40;
const VARIABLE_CHARS: usize = 60;

/// A text of a scenario in which braces open values: what others wrote is escaped in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Template(String);

impl Template {
    /// A text that stands for itself.
    pub(super) fn literal(text: &str) -> Self {
        let mut template = Self::default();
        template.push_literal(text);
        template
    }

    /// A piece of JSON around texts, which opens no value where a quote or a bracket follows.
    pub(super) fn structure(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A value of the environment, which is kept secret.
    pub(super) fn secret(variable: &str) -> Self {
        Self(format!("{{$env.{variable}}}"))
    }

    /// Adds a text that stands for itself.
    pub(super) fn push_literal(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            self.0.push(char);
            // What follows the end is not known here.
            let opens = chars
                .peek()
                .is_none_or(|next| next.is_ascii_alphabetic() || matches!(next, '_' | '$' | '{'));
            if char == '{' && opens {
                self.0.push('{');
            }
        }
    }

    /// Adds a value: the column of a feed.
    pub(super) fn push_column(&mut self, feed: &str, column: &str) {
        self.0.push_str(&format!("{{{feed}.{column}}}"));
    }

    /// Adds another template.
    pub(super) fn push(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    /// As it is written in a scenario.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A TOML string on one line that shows what it holds: nothing in it turns the direction of text.
pub(super) fn quoted(text: &str) -> String {
    let builder = TomlStringBuilder::new(text);
    if !text.contains(steers) {
        let plain = builder.as_basic_pretty().or_else(|| builder.as_literal());
        return plain.unwrap_or_else(|| builder.as_basic()).to_toml_value();
    }
    let mut shown = String::new();
    for char in builder.as_basic().to_toml_value().chars() {
        match steers(char) {
            true => shown.push_str(&format!("\\U{:08X}", u32::from(char))),
            false => shown.push(char),
        }
    }
    shown
}

/// A TOML key.
pub(super) fn key(text: &str) -> String {
    match text.contains(steers) {
        true => quoted(text),
        false => text.to_toml_key(),
    }
}

/// A foreign text on one line, cut short, that steers no terminal: for messages and comments.
pub(super) fn shown(text: &str) -> String {
    let mut shown = escaped(text.chars().take(SHOWN_CHARS));
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// A name of the scenario format made from any text; `None` where nothing of the text is left.
pub(super) fn name(text: &str) -> Option<String> {
    let name = joined(text, '-', NAME_CHARS).to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

/// The name of a variable of the environment, such as `SHOP_API_KEY`: with the scenario's name in
/// front, so that nobody's `USER` or `PATH` is sent anywhere.
pub(super) fn variable(scenario: &str, text: &str) -> String {
    let both = format!("{scenario}_{text}");
    let mut variable = joined(&both, '_', VARIABLE_CHARS).to_ascii_uppercase();
    if !variable.starts_with(|char: char| char.is_ascii_alphabetic()) {
        variable.insert_str(0, "API_");
    }
    variable
}

/// The letters and digits of a text, with `gap` in the place of everything between them.
pub(super) fn joined(text: &str, gap: char, max_chars: usize) -> String {
    let mut joined = String::new();
    for char in text.chars() {
        if joined.len() >= max_chars {
            break;
        }
        match char.is_ascii_alphanumeric() {
            true => joined.push(char),
            false if !joined.is_empty() && !joined.ends_with(gap) => joined.push(gap),
            false => {}
        }
    }
    joined.trim_end_matches(gap).to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn braces_of_others_open_nothing() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Template::literal(text).as_str(), expected);
        };
        check("plain", "plain");
        check("{id}", "{{id}");
        check("{$env.HOME}", "{{$env.HOME}");
        check(r#"{"a": {"b": 1}}"#, r#"{"a": {"b": 1}}"#);
        check("{{x", "{{{{x");
        check("ends {", "ends {{");
    }

    #[test]
    fn a_name_is_one_whatever_it_was_made_from() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        };
        check("Shop API", Some("shop-api"));
        check("@acme/shop", Some("acme-shop"));
        check("--shop--", Some("shop"));
        check("ж", None);
        check("", None);
        assert_eq!(name(&"a".repeat(500)).unwrap().len(), NAME_CHARS);
        assert_eq!(variable("my-shop", "X-Api-Key"), "MY_SHOP_X_API_KEY");
        assert_eq!(variable("7", "a"), "API_7_A");
    }

    proptest! {
        /// What was quoted is read back as it was, on one line, and shows what it holds.
        #[test]
        fn a_quoted_text_is_read_back(text in any::<String>()) {
            let line = format!("{} = {}", key(&text), quoted(&text));
            prop_assert!(!line.contains(steers), "{line:?}");
            let table: toml::Table = toml::from_str(&line).unwrap();
            let (found, value) = table.iter().next().unwrap();
            prop_assert_eq!(found, &text);
            prop_assert_eq!(value.as_str(), Some(text.as_str()));
        }

        #[test]
        fn a_shown_text_steers_nothing(text in any::<String>()) {
            prop_assert!(!shown(&text).contains(steers));
        }
    }
}
