//! The identity of what a plan measures.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::limits::search_limits;
use super::plan::Plan;
use crate::harness::model::hexadecimal;

/// What doesn't change a measurement: names, words, judgement, places, and how often it is made. What
/// a mix says is in its loads.
const NOT_MEASURED: [&str; 9] = [
    "name",
    "variant",
    "description",
    "file",
    "root",
    "mix",
    "gates",
    "runs",
    "hash",
];

/// SHA-256 of the plan as JSON with sorted keys, without what doesn't change a measurement and with
/// the contents of files (their hashes, those of feeds by feed) in the place of their paths. The
/// limits of a search for a capacity are part of what it measures.
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
        let limits = limits_of_searches(plan);
        if !limits.is_empty() {
            fields.insert("limits_of_searches".to_owned(), limits.into());
        }
    }
    forget_places(&mut value);
    value.sort_all_objects();
    hexadecimal(&Sha256::digest(value.to_string()))
}

/// The hash of a plan that was changed after it was read: of the hash that it had, which knows what
/// is in its feeds, and of what it measures now.
pub(crate) fn renewed(plan: &Plan) -> String {
    let now = measured_part(plan, &BTreeMap::new());
    hexadecimal(&Sha256::digest(format!("{} {now}", plan.hash)))
}

/// In an order of their own: that of the gates in the file changes nothing.
fn limits_of_searches(plan: &Plan) -> Vec<Value> {
    let limits = plan.loads.iter().flat_map(|load| search_limits(plan, load));
    let mut limits: Vec<_> = limits
        .map(|limit| (limit.metric, limit.max, limit.min))
        .collect();
    limits.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    limits.into_iter().map(|limit| json!(limit)).collect()
}

/// Takes the paths of files (`FilePlan`), which have their contents beside them.
fn forget_places(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.len() == 2 && fields.contains_key("path") && fields.contains_key("sha256") {
                fields.remove("path");
            }
            fields.values_mut().for_each(forget_places);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_places),
        _ => {}
    }
}
