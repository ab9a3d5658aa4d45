//! JSON of others as the JSON text of a scenario, in which braces open values.

use serde_json::Value;

use super::secret::{is_secret, looks_secret};
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
    let mut written = JsonText::default();
    write(value, "", scenario, MAX_DEPTH, &mut written)?;
    Some(written)
}

fn write(
    value: &Value,
    name: &str,
    scenario: &str,
    levels: usize,
    to: &mut JsonText,
) -> Option<()> {
    match value {
        Value::Object(object) => {
            to.template.push(&Template::structure("{"));
            for (index, (key, value)) in object.iter().enumerate() {
                to.template
                    .push(&Template::structure(if index > 0 { "," } else { "" }));
                // A table of tokens: nothing could stand in the place of its keys.
                if looks_secret(key) {
                    return None;
                }
                to.template
                    .push_literal(&Value::from(key.as_str()).to_string());
                to.template.push(&Template::structure(":"));
                write(value, key, scenario, levels.checked_sub(1)?, to)?;
            }
            to.template.push(&Template::structure("}"));
        }
        Value::Array(array) => {
            to.template.push(&Template::structure("["));
            for (index, value) in array.iter().enumerate() {
                to.template
                    .push(&Template::structure(if index > 0 { "," } else { "" }));
                write(value, name, scenario, levels.checked_sub(1)?, to)?;
            }
            to.template.push(&Template::structure("]"));
        }
        Value::String(text) if is_secret(name, text) => push_secret(name, scenario, to),
        Value::Number(number) if is_secret(name, &number.to_string()) => {
            push_secret(name, scenario, to);
        }
        plain => to.template.push_literal(&plain.to_string()),
    }
    Some(())
}

fn push_secret(name: &str, scenario: &str, to: &mut JsonText) {
    let name = if name.is_empty() { "secret" } else { name };
    let variable = variable(scenario, name);
    to.template.push_literal("\"");
    to.template.push(&Template::secret(&variable));
    to.template.push_literal("\"");
    to.secrets.push(variable);
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
}
