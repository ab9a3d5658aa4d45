//! Values for parameters and bodies: what examples, defaults and schemas say.

use serde_json::{Map, Value};

use crate::harness::scaffold::document::Document;

/// Deeper values are cut.
const MAX_DEPTH: usize = 8;
/// A body of more values is no example any more.
const MAX_VALUES: usize = 300;
/// The same of what a document says itself: bytes of texts and names, and one for each value.
const MAX_SAID_BYTES: usize = 16 << 10;

/// What the document says of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// An example, a default or the first of an enumeration.
    Value(Value),
    /// Nothing but its kind: this is one of them.
    Kind(Value),
}

impl Said {
    /// The value, said or made up.
    pub(super) fn value(&self) -> &Value {
        match self {
            Self::Value(value) | Self::Kind(value) => value,
        }
    }

    /// Whether the document says it.
    pub(super) fn is_said(&self) -> bool {
        matches!(self, Self::Value(_))
    }
}

/// The value of a parameter or a media type: its own example before that of its schema. In Swagger 2.0 a
/// parameter is its own schema.
pub(super) fn of_parameter(document: &Document, parameter: &Value) -> Said {
    if let Some(value) = example(document, parameter) {
        return Said::Value(value);
    }
    // `content` may stand in the place of `schema`.
    let content = parameter
        .get("content")
        .and_then(Value::as_object)
        .and_then(|content| content.values().next());
    if let Some(value) = content.and_then(|content| example(document, content)) {
        return Said::Value(value);
    }
    let schema = content
        .unwrap_or(parameter)
        .get("schema")
        .unwrap_or(parameter);
    of_schema(document, schema)
}

/// The value of a schema.
pub(super) fn of_schema(document: &Document, schema: &Value) -> Said {
    let mut maker = Maker {
        document,
        left: MAX_VALUES,
        within: Vec::new(),
    };
    maker.made(schema)
}

/// What `example` or the first of `examples` says.
fn example(document: &Document, holder: &Value) -> Option<Value> {
    if let Some(example) = holder.get("example").or_else(|| holder.get("x-example")) {
        return kept(example);
    }
    match holder.get("examples")? {
        // Of a schema of 3.1.
        Value::Array(examples) => kept(examples.first()?),
        Value::Object(examples) => {
            let first = document.resolve(examples.values().next()?).ok()?;
            kept(first.get("value")?)
        }
        _ => None,
    }
}

/// The value, if it is as short as those are that somebody reads: one of megabytes would be copied for each
/// parameter that refers to it.
fn kept(value: &Value) -> Option<Value> {
    let mut left = MAX_SAID_BYTES;
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        let bytes = match value {
            Value::String(text) => text.len(),
            Value::Array(items) if items.len() < left => {
                waiting.extend(items);
                0
            }
            Value::Object(fields) if fields.len() < left => {
                waiting.extend(fields.values());
                fields.keys().map(String::len).sum()
            }
            Value::Array(_) | Value::Object(_) => return None,
            _ => 0,
        };
        left = left.checked_sub(bytes + 1)?;
    }
    Some(value.clone())
}

/// Makes values of schemas, as many and as deep as somebody reads.
struct Maker<'a> {
    document: &'a Document,
    left: usize,
    /// The schemas around the one that is made: one of them again would have no end.
    within: Vec<&'a Value>,
}

impl<'a> Maker<'a> {
    fn made(&mut self, schema: &'a Value) -> Said {
        let nothing = Said::Kind(Value::Null);
        let Ok(schema) = self.document.resolve(schema) else {
            return nothing;
        };
        let is_within = self.within.iter().any(|outer| std::ptr::eq(*outer, schema));
        if is_within || self.within.len() == MAX_DEPTH || self.left == 0 {
            return nothing;
        }
        self.left -= 1;
        self.within.push(schema);
        let said = self.of(schema);
        self.within.pop();
        said
    }

    fn of(&mut self, schema: &'a Value) -> Said {
        let first = |key: &str| schema.get(key).and_then(Value::as_array)?.first();
        let said = example(self.document, schema)
            .or_else(|| kept(schema.get("default")?))
            .or_else(|| kept(schema.get("const")?))
            .or_else(|| kept(first("enum")?));
        if let Some(value) = said {
            return Said::Value(value);
        }
        if let Some(schema) = first("oneOf").or_else(|| first("anyOf")) {
            return self.made(schema);
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.all_of(parts, schema);
        }
        Said::Kind(match type_of(schema) {
            "integer" => number(schema)
                .map_or(1, |number| number.ceil() as i64)
                .into(),
            "number" => number(schema).unwrap_or(1.0).into(),
            "boolean" => true.into(),
            "array" => match schema.get("items").map(|items| self.made(items)) {
                Some(Said::Value(item)) => return Said::Value(Value::Array(vec![item])),
                Some(Said::Kind(Value::Null)) | None => Value::Array(Vec::new()),
                Some(Said::Kind(item)) => Value::Array(vec![item]),
            },
            "object" => Value::Object(self.object(schema)),
            "string" => text_of(schema).into(),
            _ => "1".into(),
        })
    }

    /// All parts as one object, and what stands beside them.
    fn all_of(&mut self, parts: &'a [Value], schema: &'a Value) -> Said {
        let mut whole = self.object(schema);
        for part in parts.iter().take(20) {
            match self.made(part) {
                Said::Kind(Value::Object(part)) | Said::Value(Value::Object(part)) => {
                    whole.extend(part);
                }
                // Of what is no object, the only part says it.
                other if parts.len() == 1 => return other,
                _ => {}
            }
        }
        Said::Kind(Value::Object(whole))
    }

    /// An object with what it must have, but for what only an answer has.
    fn object(&mut self, schema: &'a Value) -> Map<String, Value> {
        let required = schema.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten().filter_map(Value::as_str);
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut object = Map::new();
        for name in required.take(MAX_VALUES) {
            let Some(property) = properties.and_then(|properties| properties.get(name)) else {
                continue;
            };
            let is_of_answers = |property: &Value| property.get("readOnly") == Some(&true.into());
            if !self.document.resolve(property).is_ok_and(is_of_answers) {
                let said = self.made(property);
                object.insert(name.to_owned(), said.value().clone());
            }
        }
        object
    }
}

/// A text of the format that a schema names.
fn text_of(schema: &Value) -> &'static str {
    match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-31",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        Some("email") => "ada@example.org",
        Some("uri" | "url") => "https://example.org/",
        Some("ipv4") => "192.0.2.1",
        _ => "1",
    }
}

/// Its type, where it has several the first that is not `null`, and where it says none what follows from
/// what it has.
fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            kinds.find(|kind| *kind != "null").unwrap_or_default()
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "",
    }
}

/// The smallest number that is allowed.
fn number(schema: &Value) -> Option<f64> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let exclusive = schema.get("exclusiveMinimum");
    let above = bound("exclusiveMinimum").or_else(|| {
        // A flag in 3.0 and before.
        (exclusive == Some(&Value::Bool(true)))
            .then(|| bound("minimum"))
            .flatten()
    });
    let number = match above {
        Some(above) => above + 1.0,
        None => bound("minimum")?,
    };
    (number.abs() < 1e15).then_some(number)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &str, expected: Said) {
        let text = format!(
            r##"{{"schema": {schema}, "components": {{"schemas": {{
                "Tree": {{"type": "object", "required": ["name", "children", "parent"], "properties": {{
                    "name": {{"type": "string"}}, "children": {{"type": "array", "items": {{"$ref": "#/components/schemas/Tree"}}}},
                    "parent": {{"$ref": "#/components/schemas/Tree"}}, "note": {{"type": "string"}}}}}},
                "Named": {{"type": "object", "required": ["name"], "properties": {{"name": {{"type": "string", "example": "Rex"}}}}}}
            }}}}}}"##
        );
        let document = Document::read(&text, 100_000).unwrap();
        let found = of_schema(&document, &document.root()["schema"]);
        assert_eq!(found, expected, "{schema}");
    }

    #[test]
    fn a_schema_says_a_value_or_a_kind() {
        check(
            r#"{"type": "integer", "example": 7}"#,
            Said::Value(json!(7)),
        );
        check(
            r#"{"type": "integer", "examples": [8, 9]}"#,
            Said::Value(json!(8)),
        );
        check(
            r#"{"type": "string", "default": "a"}"#,
            Said::Value(json!("a")),
        );
        check(r#"{"enum": ["sold", "free"]}"#, Said::Value(json!("sold")));
        check(r#"{"const": "x"}"#, Said::Value(json!("x")));
        check(
            r#"{"type": "integer", "minimum": 10}"#,
            Said::Kind(json!(10)),
        );
        check(
            r#"{"type": "integer", "exclusiveMinimum": 10}"#,
            Said::Kind(json!(11)),
        );
        check(
            r#"{"type": "integer", "minimum": 1, "exclusiveMinimum": true}"#,
            Said::Kind(json!(2)),
        );
        check(
            r#"{"type": "integer", "minimum": 1e300}"#,
            Said::Kind(json!(1)),
        );
        check(r#"{"type": ["null", "boolean"]}"#, Said::Kind(json!(true)));
        check(
            r#"{"type": "string", "format": "date"}"#,
            Said::Kind(json!("2026-01-31")),
        );
        check(
            r#"{"type": "array", "items": {"type": "string", "enum": ["a"]}}"#,
            Said::Value(json!(["a"])),
        );
        check(
            r#"{"oneOf": [{"type": "integer"}, {"type": "string"}]}"#,
            Said::Kind(json!(1)),
        );
        check("{}", Said::Kind(json!("1")));
        check("true", Said::Kind(json!("1")));
        check(
            r##"{"$ref": "http://evil.example/schema"}"##,
            Said::Kind(Value::Null),
        );
    }

    #[test]
    fn what_nobody_would_read_is_not_taken() {
        let long = "x".repeat(MAX_SAID_BYTES);
        let check = |schema: Value, expected: Said| check(&schema.to_string(), expected);
        let text = |text: &str| json!({"type": "string", "example": text});
        check(text(&long), Said::Kind(json!("1")));
        check(text(&long[..100]), Said::Value(json!(long[..100])));
        let list = vec![0; MAX_SAID_BYTES];
        check(
            json!({"type": "integer", "enum": [list]}),
            Said::Kind(json!(1)),
        );
    }

    /// Names are looked up among the properties, not compared with each of them.
    #[test]
    fn an_object_that_must_have_a_hundred_thousand_names_is_made_soon() {
        let names: Vec<String> = (0..100_000).map(|number| format!("n{number}")).collect();
        let properties: Map<String, Value> = names
            .iter()
            .map(|name| (format!("x{name}"), json!({})))
            .collect();
        let schema = json!({"type": "object", "required": names, "properties": properties});
        let document = Document::read(&schema.to_string(), 10 << 20).unwrap();
        let begun = std::time::Instant::now();
        assert_eq!(of_schema(&document, document.root()), Said::Kind(json!({})));
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    #[test]
    fn what_only_answers_have_is_not_sent() {
        check(
            r#"{"required": ["id", "name"], "properties": {"id": {"type": "integer", "readOnly": true}, "name": {"type": "string"}}}"#,
            Said::Kind(json!({"name": "1"})),
        );
    }

    #[test]
    fn objects_have_what_they_must_and_no_end_is_endless() {
        check(
            r##"{"allOf": [{"$ref": "#/components/schemas/Named"}, {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}]}"##,
            Said::Kind(json!({"name": "Rex", "age": 1})),
        );
        let document = Document::read(
            r##"{"a": {"required": ["a", "b", "c"], "properties": {"a": {"$ref": "#/a"}, "b": {"$ref": "#/a"}, "c": {"$ref": "#/a"}}}}"##,
            10_000,
        )
        .unwrap();
        let found = of_schema(&document, &document.root()["a"]);
        assert_eq!(found, Said::Kind(json!({"a": null, "b": null, "c": null})));
        // A list of itself is an empty one.
        check(
            r##"{"$ref": "#/components/schemas/Tree"}"##,
            Said::Kind(json!({"name": "1", "children": [], "parent": null})),
        );
        check(
            r##"{"type": "array", "items": {"$ref": "#/components/schemas/None"}}"##,
            Said::Kind(json!([])),
        );
    }
}
