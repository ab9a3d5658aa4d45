//! The JSON Schema, the parser, the documentation and the scenarios know the same format.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use plimsoll::harness::scenario::{self, Code};
use serde_json::{Map, Value, json};

/// One step from a value to one inside it.
#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// A value of a scenario and the schema that describes it.
struct Place<'a> {
    path: Vec<Step>,
    /// The key's definition and name, such as `step/get`.
    key: Option<String>,
    schema: &'a Value,
    /// The definition in which the place's own keys stand.
    definition: String,
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&scenario::schema()).unwrap()
}

/// The scenarios that the parser accepts: text and JSON.
fn accepted() -> Vec<(PathBuf, String, Value)> {
    let mut files = Vec::new();
    for folder in ["scenarios", "tests/scenarios/good"] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                files.push(path);
            }
        }
    }
    assert!(files.len() >= 8);
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let value = to_json(toml::from_str(&text).unwrap());
            (path, text, value)
        })
        .collect()
}

fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(array) => array.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => table
            .into_iter()
            .map(|(key, value)| (key, to_json(value)))
            .collect(),
    }
}

/// Writes JSON as TOML, everything below the top inline.
fn to_toml(document: &Value) -> String {
    fn inline(value: &Value) -> String {
        match value {
            Value::Array(array) => {
                let items: Vec<String> = array.iter().map(inline).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(object) => {
                let entries: Vec<String> = object
                    .iter()
                    .map(|(key, value)| {
                        format!("{} = {}", Value::from(key.as_str()), inline(value))
                    })
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
            scalar => scalar.to_string(),
        }
    }
    let object = document.as_object().unwrap();
    object
        .iter()
        .map(|(key, value)| format!("{key} = {}\n", inline(value)))
        .collect()
}

/// Every place in a document that the schema says something about.
fn places<'a>(root: &'a Value, document: &Value) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    visit(
        root,
        root,
        document,
        Vec::new(),
        None,
        "scenario",
        &mut places,
    );
    places
}

fn visit<'a>(
    root: &'a Value,
    schema: &'a Value,
    value: &Value,
    path: Vec<Step>,
    key: Option<String>,
    definition: &str,
    places: &mut Vec<Place<'a>>,
) {
    let (schema, definition) = match schema["$ref"].as_str() {
        Some(reference) => {
            let name = reference.strip_prefix("#/$defs/").unwrap();
            (&root["$defs"][name], name)
        }
        None => (schema, definition),
    };
    places.push(Place {
        path: path.clone(),
        key,
        schema,
        definition: definition.to_owned(),
    });
    let then = |step: Step| {
        let mut path = path.clone();
        path.push(step);
        path
    };
    for option in schema["anyOf"].as_array().into_iter().flatten() {
        // Of several forms, the one of the value's type.
        let target = option["$ref"].as_str().map_or(option, |reference| {
            &root["$defs"][reference.strip_prefix("#/$defs/").unwrap()]
        });
        let is_it = match target["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            _ => false,
        };
        if is_it {
            visit(root, option, value, path.clone(), None, definition, places);
        }
    }
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let known = &schema["properties"][name];
                let (schema, key) = if known.is_object() {
                    (known, Some(format!("{definition}/{name}")))
                } else {
                    (&schema["additionalProperties"], None)
                };
                if schema.is_object() {
                    let path = then(Step::Key(name.clone()));
                    visit(root, schema, value, path, key, definition, places);
                }
            }
        }
        Value::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                if schema["items"].is_object() {
                    let path = then(Step::Index(index));
                    visit(
                        root,
                        &schema["items"],
                        value,
                        path,
                        None,
                        definition,
                        places,
                    );
                }
            }
        }
        _ => {}
    }
}

fn at<'v>(document: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(document, |value, step| match step {
        Step::Key(key) => &mut value[key],
        Step::Index(index) => &mut value[index],
    })
}

fn object_at<'v>(document: &'v mut Value, path: &[Step]) -> &'v mut Map<String, Value> {
    at(document, path).as_object_mut().unwrap()
}

/// The codes of the problems that the parser has with a document, as if it stood in `file`.
fn codes(document: &Value, file: &Path) -> Vec<Code> {
    let problems = scenario::parse(&to_toml(document), file).err();
    let problems = problems.into_iter().flatten();
    problems.map(|problem| problem.code).collect()
}

/// What a schema can see.
const STRUCTURAL: [Code; 6] = [
    Code::UnknownKey,
    Code::MissingKey,
    Code::ConflictingKeys,
    Code::WrongType,
    Code::WrongUnit,
    Code::BadStatus,
];

#[test]
fn what_the_parser_accepts_the_schema_accepts() {
    let validator = validator();
    for (path, text, value) in accepted() {
        scenario::check(&path).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        // The mutations below go through this writer.
        assert_eq!(codes(&value, &path), [], "{text}");
    }
}

#[test]
fn an_unknown_key_is_refused_by_both_wherever_it_stands() {
    let (schema, validator) = (scenario::schema(), validator());
    let mut definitions = BTreeSet::new();
    for (file, _, document) in accepted() {
        for place in places(&schema, &document) {
            if place.schema["additionalProperties"] != json!(false)
                || definitions.contains(&place.definition)
            {
                continue;
            }
            let mut changed = document.clone();
            object_at(&mut changed, &place.path).insert("zzz".to_owned(), json!(1));
            let codes = codes(&changed, &file);
            assert!(!validator.is_valid(&changed), "{}", place.definition);
            assert!(
                codes.contains(&Code::UnknownKey),
                "{}: {codes:?}",
                place.definition
            );
            definitions.insert(place.definition);
        }
    }
    let mut all: BTreeSet<String> = schema["$defs"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    all.insert("scenario".to_owned());
    assert_eq!(definitions, all, "every table of the schema was tried");
}

#[test]
fn every_key_of_the_schema_is_one_of_the_parser_and_is_shown_in_a_scenario() {
    let schema = scenario::schema();
    let mut shown = BTreeSet::new();
    for (_, _, document) in accepted() {
        shown.extend(
            places(&schema, &document)
                .into_iter()
                .filter_map(|place| place.key),
        );
    }
    assert_eq!(shown, all_keys(&schema));
}

#[test]
fn a_missing_key_is_missed_by_both() {
    let (schema, validator) = (scenario::schema(), validator());
    let mut tried = BTreeSet::new();
    for (file, _, document) in accepted() {
        for place in places(&schema, &document) {
            for key in place.schema["required"].as_array().into_iter().flatten() {
                let key = key.as_str().unwrap();
                if !tried.insert(format!("{}/{key}", place.definition)) {
                    continue;
                }
                let mut changed = document.clone();
                object_at(&mut changed, &place.path).remove(key);
                assert!(!validator.is_valid(&changed), "{}/{key}", place.definition);
                assert!(codes(&changed, &file).contains(&Code::MissingKey), "{key}");
            }
        }
    }
    assert!(tried.len() > 5, "{tried:?}");
}

#[test]
fn where_one_of_them_sees_a_wrong_form_the_other_does() {
    let (schema, validator) = (scenario::schema(), validator());
    let values = [
        json!(true),
        json!(-3),
        json!(0.5),
        json!("5 parsecs"),
        json!("zzz"),
        json!([]),
        json!({}),
    ];
    let (mut refused, mut tried) = (0, BTreeSet::new());
    for (file, _, document) in accepted() {
        for place in places(&schema, &document) {
            let name = place
                .key
                .clone()
                .unwrap_or_else(|| place.definition.clone());
            // Once for each key and each form of its value: `status` has several.
            let form = at(&mut document.clone(), &place.path).is_array();
            if place.path.is_empty() || !tried.insert((name.clone(), form)) {
                continue;
            }
            for value in &values {
                let mut changed = document.clone();
                *at(&mut changed, &place.path) = value.clone();
                let codes = codes(&changed, &file);
                if validator.is_valid(&changed) {
                    // What needs to be missed is said of names and metrics too: a load without its
                    // flow, a probe without `better`. No schema sees that.
                    let seen = codes
                        .iter()
                        .find(|code| STRUCTURAL.contains(code) && **code != Code::MissingKey);
                    assert_eq!(seen, None, "{name} = {value}: only the parser refuses it");
                } else {
                    refused += 1;
                    assert!(
                        !codes.is_empty(),
                        "{name} = {value}: only the schema refuses it"
                    );
                }
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

/// What the parser takes as waivers, the schema takes, and the example of the documentation is one.
#[test]
fn the_schema_of_waivers_takes_what_the_parser_takes() {
    let validator = jsonschema::draft202012::new(&scenario::waivers_schema()).unwrap();
    let document = std::fs::read_to_string("docs/BASELINES.md").unwrap();
    let example = document
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let check = |text: &str, expected: bool| {
        let parsed = scenario::waivers::parse(text);
        assert_eq!(parsed.is_ok(), expected, "{text}: {parsed:?}");
        let valid = validator.is_valid(&to_json(toml::from_str(text).unwrap()));
        assert_eq!(valid, expected, "{text}");
    };
    check(example, true);
    check("", true);
    check(&example.replace("allow", "allows"), false);
    check(&example.replace("2026-12-31", "1"), false);
    check(&example.replace("\"8%\"", "true"), false);
    check(&format!("schema = 0\n{example}"), false);
}

/// The definitions of the schema, and the headings under which the documentation has their keys.
const SECTIONS: [(&str, &str); 33] = [
    ("scenario", "The file"),
    ("process", "`[[process]]`"),
    ("ready", "`ready`"),
    ("http", "`[http]`"),
    ("feed", "`[feed.NAME]`"),
    ("flow", "`[flow.NAME]`"),
    ("step", "`[[flow.NAME.step]]`"),
    ("basic", "`basic`"),
    ("retry", "`retry`"),
    ("part", "`multipart.NAME`"),
    ("check", "`check`"),
    ("size", "`check.size`"),
    ("extract", "`extract.NAME`"),
    ("think", "`think`"),
    ("expect", "`expect`"),
    ("times", "`repeat`"),
    ("condition", "`if` and `until`"),
    ("branch", "`choice`"),
    ("load", "`[load.NAME]`"),
    ("open", "`open`"),
    ("open_stage", "`open`"),
    ("closed", "`closed`"),
    ("closed_stage", "`closed`"),
    ("capacity", "`capacity`"),
    ("mix", "`[mix]`"),
    ("mix_open", "`[mix]`"),
    ("phases", "`[phases]`"),
    ("probe", "`[probe]`"),
    ("fault", "`[[fault]]`"),
    ("gate", "`[[gate]]`"),
    ("bench", "`[[bench]]`"),
    ("sampling", "`[sampling]`"),
    ("generator", "`[generator]`"),
];

/// What stands under each heading, up to the next.
fn sections(document: &str) -> BTreeMap<&str, &str> {
    let heading = |line: &str| {
        ["## ", "### ", "#### "]
            .iter()
            .any(|mark| line.starts_with(mark))
    };
    let mut begins: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in document.split_inclusive('\n') {
        if heading(line) {
            begins.push(at);
        }
        at += line.len();
    }
    let ends = begins.iter().skip(1).copied().chain([document.len()]);
    let sections = begins.iter().zip(ends).map(|(begin, end)| {
        let (heading, section) = document[*begin..end].split_once('\n').unwrap();
        (heading.trim_start_matches('#').trim(), section)
    });
    sections.collect()
}

/// The rows of a table's keys: name, description, and whether it is needed or what it is without.
fn rows(table: &Value) -> Vec<String> {
    let needed: Vec<&str> = table["required"]
        .as_array()
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let row = |(name, key): (&String, &Value)| {
        let description = key["description"].as_str().unwrap();
        let (description, default) = match description.split_once(" Default: ") {
            Some((description, default)) => (description, default.strip_suffix('.').unwrap()),
            None if needed.contains(&name.as_str()) => (description, "needed"),
            None => (description, ""),
        };
        format!("\n| `{name}` | {description} | {default} |\n")
    };
    let properties = table["properties"].as_object().unwrap();
    properties.iter().map(row).collect()
}

#[test]
fn the_documentation_names_every_key_and_every_code() {
    let document = std::fs::read_to_string("docs/SCENARIO.md").unwrap();
    for &code in Code::ALL {
        let row = format!("| `{code}` | {} |", code.meaning());
        assert!(document.contains(&row), "missing: {row}");
    }
    let schema = scenario::schema();
    let sections = sections(&document);
    for (definition, heading) in SECTIONS {
        let table = match definition {
            "scenario" => &schema,
            definition => &schema["$defs"][definition],
        };
        let section = sections[heading];
        for row in rows(table) {
            assert!(section.contains(&row), "not under {heading}: {row}");
        }
    }
    let described: BTreeSet<&str> = SECTIONS.map(|(definition, _)| definition).into();
    for key in all_keys(&schema) {
        let (definition, _) = key.split_once('/').unwrap();
        assert!(
            described.contains(definition),
            "{definition} has no section"
        );
    }
    let document = std::fs::read_to_string("docs/BASELINES.md").unwrap();
    let schema = scenario::waivers_schema();
    let keys = schema["$defs"]["waiver"]["properties"].as_object().unwrap();
    for (name, key) in keys {
        let row = format!("| `{name}` | {} |", key["description"].as_str().unwrap());
        assert!(document.contains(&row), "waiver/{name} is missing: {row}");
    }
}

/// Every key that the schema describes, as `definition/key`.
fn all_keys(schema: &Value) -> BTreeSet<String> {
    let definitions = schema["$defs"].as_object().unwrap();
    let tables = definitions
        .iter()
        .map(|(name, table)| (name.as_str(), table))
        .chain([("scenario", schema)]);
    let mut keys = BTreeSet::new();
    for (name, table) in tables {
        for key in table["properties"].as_object().unwrap().keys() {
            keys.insert(format!("{name}/{key}"));
        }
    }
    keys
}
