//! The JSON Schemas of scenario files and waivers, for editors: written from the same tables that the
//! parser checks files against.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Presence, Rule, Shape, TableSpec};

const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$";
const NUMBER: &str = r"[0-9]+(\.[0-9]*)?|\.[0-9]+";
const DURATION: &str = "^(({NUMBER}) *(ns|us|µs|μs|ms|s|m|min|h|d) *)+$";
const RATE: &str = "^({NUMBER}) */ *(s|m|min|h)$";
const SHARE: &str = r"^(({NUMBER}) *%|0+(\.[0-9]*)?|\.[0-9]+)$";
const SIZE: &str = "^({NUMBER}) *(B|kB|KB|MB|GB|KiB|MiB|GiB|TiB)$";
const STATUS: &str = "^([1-5]xx|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$";

/// The JSON Schema (draft 2020-12) of a scenario file. It knows exactly the keys that the parser
/// knows; what only the whole file can tell (names, units of limits, templates) it leaves to
/// `plimsoll check`.
pub fn schema() -> Value {
    document("Plimsoll scenario", &keys::SCENARIO)
}

/// The JSON Schema of the file of waivers, as [`schema`].
pub fn waivers_schema() -> Value {
    document("Plimsoll waivers", &keys::WAIVERS)
}

fn document(title: &str, spec: &'static TableSpec) -> Value {
    let mut definitions = Map::new();
    let mut root = table(spec, &mut definitions);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
    });
    for (key, value) in head.as_object().into_iter().flatten() {
        root[key] = value.clone();
    }
    root["$defs"] = Value::Object(definitions);
    root
}

fn table(spec: &'static TableSpec, definitions: &mut Map<String, Value>) -> Value {
    let properties: Map<String, Value> = spec
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key, definitions)))
        .collect();
    let required: Vec<&str> = spec
        .keys
        .iter()
        .filter(|key| matches!(key.presence, Presence::Required))
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "description": spec.description,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let rules: Vec<Value> = spec.rules.iter().map(rule).collect();
    if !rules.is_empty() {
        schema["allOf"] = json!(rules);
    }
    schema
}

fn property(key: &'static Key, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = shape(&key.shape, definitions);
    let description = match key.presence {
        Presence::Default(default) if !default.is_empty() => {
            format!("{} Default: {default}.", key.description)
        }
        _ => key.description.to_owned(),
    };
    schema["description"] = description.into();
    schema
}

fn shape(of: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    match of {
        Shape::Text => json!({ "type": "string" }),
        Shape::Name => json!({ "type": "string", "pattern": NAME }),
        Shape::Duration => json!({ "type": "string", "pattern": pattern(DURATION) }),
        Shape::Date => json!({ "type": "string", "format": "date" }),
        Shape::Rate => json!({ "type": "string", "pattern": pattern(RATE) }),
        Shape::Share => json!({
            "anyOf": [
                { "type": "number", "minimum": 0, "exclusiveMaximum": 1 },
                { "type": "string", "pattern": pattern(SHARE) },
            ]
        }),
        Shape::Size => json!({ "type": "string", "pattern": pattern(SIZE) }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Limit => json!({
            "anyOf": [{ "type": "number", "minimum": 0 }, { "type": "string", "minLength": 1 }]
        }),
        Shape::StatusText => json!({ "type": "string", "pattern": STATUS }),
        Shape::Integer(low, high) if *high == i64::MAX => {
            json!({ "type": "integer", "minimum": low })
        }
        Shape::Integer(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Choice(words) => json!({ "type": "string", "enum": words }),
        Shape::List(item, least, most) => json!({
            "type": "array",
            "items": shape(item, definitions),
            "minItems": least,
            "maxItems": most,
        }),
        Shape::Table(spec) => {
            if !definitions.contains_key(spec.name) {
                // It is there before it is written: a step may hold steps.
                definitions.insert(spec.name.to_owned(), Value::Null);
                let schema = table(spec, definitions);
                definitions.insert(spec.name.to_owned(), schema);
            }
            json!({ "$ref": format!("#/$defs/{}", spec.name) })
        }
        Shape::Map(item) => json!({
            "type": "object",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": shape(item, definitions),
        }),
        Shape::TextMap(item) => json!({
            "type": "object",
            "additionalProperties": shape(item, definitions),
        }),
        Shape::Json => json!({ "type": ["string", "array", "object"] }),
        Shape::Any => json!({}),
        Shape::Either(shapes) => {
            let shapes: Vec<Value> = shapes.iter().map(|of| shape(of, definitions)).collect();
            json!({ "anyOf": shapes })
        }
    }
}

fn rule(rule: &Rule) -> Value {
    let each = |keys: &[&str]| -> Vec<Value> {
        keys.iter()
            .map(|key| json!({ "required": [key] }))
            .collect()
    };
    match rule {
        Rule::ExactlyOne(keys) => json!({ "oneOf": each(keys) }),
        Rule::AtLeastOne(keys) => json!({ "anyOf": each(keys) }),
        Rule::AtMostOne(keys) => {
            let none = json!({ "not": { "anyOf": each(keys) } });
            let mut options = each(keys);
            options.push(none);
            json!({ "oneOf": options })
        }
        Rule::Together(one, other) => {
            json!({ "dependentRequired": { *one: [other], *other: [one] } })
        }
        Rule::Beside(keys, others) => {
            let needs: Map<String, Value> = keys
                .iter()
                .map(|key| ((*key).to_owned(), json!({ "anyOf": each(others) })))
                .collect();
            json!({ "dependentSchemas": needs })
        }
    }
}

fn pattern(template: &str) -> String {
    template.replace("{NUMBER}", NUMBER)
}
