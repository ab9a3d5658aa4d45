//! JSON of others as the JSON text of a scenario, in which braces open values.

use serde_json::Value;

use super::secret::{is_secret, is_secret_name, looks_secret};
use super::text::{Template, variable};

/// Deeper than this nobody writes; servers refuse not much more.
const MAX_DEPTH: usize = 32;

/// What was made of a JSON value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct JsonText {
    /// The text.
    pub(super) template: Template,
    /// The variables of the environment that stand in the place of secrets.
    pub(super) secrets: Vec<String>,
}

/// `value` as JSON text with the secrets in it replaced; `None` where it is too deep, or a name in it is a
/// secret itself.
pub(super) fn text(value: &Value, scenario: &str) -> Option<JsonText> {
    let mut writer = Writer {
        scenario,
        written: JsonText::default(),
    };
    writer.write(value, &Place::default(), MAX_DEPTH)?;
    Some(writer.written)
}

/// Where a value stands.
#[derive(Debug, Clone, Default)]
struct Place {
    /// Its name; in an object that is a secret, behind that of the object.
    name: String,
    /// Whether an object or a list around it has the name of a secret, so that all in it is one.
    is_within: bool,
}

impl Place {
    fn below(&self, key: &str) -> Self {
        match self.is_within || is_secret_name(&self.name) {
            true => Self {
                name: format!("{}_{key}", self.name),
                is_within: true,
            },
            false => Self {
                name: key.to_owned(),
                is_within: false,
            },
        }
    }
}

struct Writer<'a> {
    scenario: &'a str,
    written: JsonText,
}

impl Writer<'_> {
    fn write(&mut self, value: &Value, place: &Place, levels: usize) -> Option<()> {
        match value {
            Value::Object(object) => {
                self.structure("{");
                for (index, (key, value)) in object.iter().enumerate() {
                    self.structure(if index > 0 { "," } else { "" });
                    // A table of tokens: nothing could stand in the place of its keys.
                    if looks_secret(key) {
                        return None;
                    }
                    self.literal(&Value::from(key.as_str()));
                    self.structure(":");
                    self.write(value, &place.below(key), levels.checked_sub(1)?)?;
                }
                self.structure("}");
            }
            Value::Array(array) => {
                self.structure("[");
                for (index, value) in array.iter().enumerate() {
                    self.structure(if index > 0 { "," } else { "" });
                    self.write(value, place, levels.checked_sub(1)?)?;
                }
                self.structure("]");
            }
            Value::String(text) if place.is_within || is_secret(&place.name, text) => {
                self.secret(place);
            }
            Value::Number(number)
                if place.is_within || is_secret(&place.name, &number.to_string()) =>
            {
                self.secret(place);
            }
            plain => self.literal(plain),
        }
        Some(())
    }

    fn structure(&mut self, text: &str) {
        self.written.template.push(&Template::structure(text));
    }

    fn literal(&mut self, value: &Value) {
        self.written.template.push_literal(&value.to_string());
    }

    fn secret(&mut self, place: &Place) {
        let name = match place.name.as_str() {
            "" => "secret",
            name => name,
        };
        let variable = variable(self.scenario, name);
        self.structure("\"");
        self.written.template.push(&Template::secret(&variable));
        self.structure("\"");
        self.written.secrets.push(variable);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_replaced_and_braces_are_kept() {
        let value = json!({
            "email": "ada@example.org",
            "password": "hunter2",
            "nested": { "apiKey": "k", "pin": 1234, "list": [1, null, true, "{x}"] },
            "{key}": {},
        });
        let written = text(&value, "shop").unwrap();
        assert_eq!(
            written.template.as_str(),
            r#"{"email":"ada@example.org","nested":{"apiKey":"{$env.SHOP_APIKEY}","list":[1,null,true,"{{x}"],"pin":"{$env.SHOP_PIN}"},"password":"{$env.SHOP_PASSWORD}","{{key}":{}}"#
        );
        assert_eq!(
            written.secrets,
            ["SHOP_APIKEY", "SHOP_PIN", "SHOP_PASSWORD"]
        );
        assert!(text(&json!([json!({"a": [[[]]]})]), "s").is_some());
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert_eq!(text(&deep, "s"), None);
    }

    #[test]
    fn all_of_a_secret_is_one() {
        let value = json!({"credentials": {"user": "ada", "of": [{"n": 7}], "kept": true}});
        assert_eq!(
            text(&value, "s").unwrap().template.as_str(),
            r#"{"credentials":{"kept":true,"of":[{"n":"{$env.S_CREDENTIALS_OF_N}"}],"user":"{$env.S_CREDENTIALS_USER}"}}"#
        );
    }
}
