//! The settings as a TOML file that explains itself.

use std::fmt::Write as _;

use schemars::schema_for;
use serde_json::{Map, Value};

use super::settings::Settings;

/// Columns of a comment, the sign included.
const WIDTH: usize = 100;

const HEAD: &str = "Every setting of refservice. A file given with --config may leave out any of \
                    them; what it leaves out is as in the file that the project ships. An environment variable goes \
                    over the file: REFSERVICE__CACHE__TTL__LIST_S=60 sets list_s in [cache.ttl].";

impl Settings {
    /// These settings as TOML, each after a comment that says what it is.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        comment(&mut text, HEAD);
        let schema = schema_for!(Settings).to_value();
        // Settings are numbers, texts and tables of them, which JSON can hold.
        let values = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(values) = &values {
            let definitions = &schema["$defs"];
            table(&mut text, "", &schema["properties"], values, definitions);
        }
        text
    }
}

/// The keys of a table, then the tables in it.
fn table(
    text: &mut String,
    path: &str,
    properties: &Value,
    values: &Map<String, Value>,
    definitions: &Value,
) {
    for (key, value) in values.iter().filter(|(_, value)| !value.is_object()) {
        let description = properties[key]["description"].as_str();
        comment(text, description.unwrap_or_default());
        // A number, a text, true and false, and lists of them, are written in TOML as in JSON; what is
        // not set is not in a file.
        let _ = match value {
            Value::Null => writeln!(text, "# {key} ="),
            value => writeln!(text, "{key} = {value}"),
        };
    }
    for (key, value) in values {
        let Value::Object(values) = value else {
            continue;
        };
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        let property = &properties[key];
        text.push('\n');
        comment(text, property["description"].as_str().unwrap_or_default());
        let _ = writeln!(text, "[{path}]");
        let name = property["$ref"].as_str().unwrap_or_default();
        let definition = &definitions[name.trim_start_matches("#/$defs/")];
        table(text, &path, &definition["properties"], values, definitions);
    }
}

fn comment(text: &mut String, words: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    for line in textwrap::wrap(&words.join(" "), WIDTH - 2) {
        let _ = writeln!(text, "# {line}");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_every_key_is_explained() {
        let text = Settings::default().to_toml();
        assert_eq!(Settings::load(&text, []), Ok(Settings::default()), "{text}");
        let mut before = "";
        for line in text.lines() {
            let is_key = !line.starts_with('#') && line.contains(" = ");
            assert!(
                !is_key || before.starts_with("# "),
                "nothing explains {line}"
            );
            before = line;
        }
        assert!(text.contains("\n# Longest wait for a connection.\nacquire_timeout_ms = 30000\n"));
        assert!(text.contains("\n[cache.ttl]\n"));
    }

    #[test]
    fn what_is_in_force_is_written() {
        let mut settings = Settings::default();
        settings.cache.l2_key_prefix = "a\"\\\u{1f}é".to_owned();
        settings.batch.pause_above_ratio = 0.1;
        settings.cache.ttl.list_s = 7;
        let text = settings.to_toml();
        assert_eq!(Settings::load(&text, []).unwrap(), settings);
    }

    #[test]
    fn the_shipped_file_holds_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/refservice.toml");
        let shipped = std::fs::read_to_string(path).unwrap();
        assert_eq!(Settings::load(&shipped, []), Ok(Settings::default()));
        assert!(
            shipped == Settings::default().to_toml(),
            "write it anew: refservice --print-config > refservice.toml"
        );
    }
}
