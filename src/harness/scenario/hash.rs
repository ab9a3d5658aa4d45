//! The identity of what a plan measures.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::plan::Plan;
use crate::harness::model::hexadecimal;

/// What doesn't change a measurement: names, words, judgement, places, and how often it is made.
const NOT_MEASURED: [&str; 8] = [
    "name",
    "variant",
    "description",
    "file",
    "root",
    "gates",
    "runs",
    "hash",
];

/// SHA-256 of the plan as JSON with sorted keys, without what doesn't change a measurement and with
/// the contents of feed files (their hashes, by feed) in the place of their paths.
pub(crate) fn measured_part(plan: &Plan, contents: &BTreeMap<&str, &str>) -> String {
    let mut value = serde_json::to_value(plan).expect("BUG: a plan is plain data");
    if let Value::Object(fields) = &mut value {
        for field in NOT_MEASURED {
            fields.remove(field);
        }
        if let Some(Value::Object(feeds)) = fields.get_mut("feeds") {
            for (name, feed) in feeds {
                feed["file"] = contents.get(name.as_str()).copied().into();
            }
        }
    }
    value.sort_all_objects();
    hexadecimal(&Sha256::digest(value.to_string()))
}
