//! The schemas that the repository holds.

use std::fs;

use jsonschema::Validator;
use serde_json::Value;

use super::files;

/// What tells whether a document is as `docs/schema/NAME.schema.json` says.
pub(crate) fn validator(name: &str) -> Validator {
    let path = files::repository(&format!("docs/schema/{name}.schema.json"));
    let text = fs::read_to_string(path).expect("a schema of that name");
    let schema = serde_json::from_str(&text).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

/// Demands that a document is what its schema says.
pub(crate) fn assert_valid(validator: &Validator, document: &Value) {
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
