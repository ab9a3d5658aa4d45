//! The identity of what a plan measures.

use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::limits::{limits_beside_a_search, search_limits};
use super::plan::{
    Arrivals, BodyPlan, FilePlan, PartContent, Plan, RequestPlan, StepPlan, ThinkPlan,
};
use crate::harness::model::hexadecimal;

/// What doesn't change a measurement: names, words, judgement, places, and how often it is made. What
/// a mix says, and what follows from a rate, is in the loads.
const NOT_MEASURED: [&str; 10] = [
    "name",
    "variant",
    "description",
    "file",
    "root",
    "mix",
    "default_in_flight",
    "gates",
    "runs",
    "hash",
];

/// SHA-256 of the plan as JSON with sorted keys, without what doesn't change a measurement: files count
/// by the hashes of their contents, not by their places. The limits of a search for a capacity are part
/// of what it measures.
pub(crate) fn measured_part(plan: &Plan) -> String {
    let mut placeless = plan.clone();
    forget_places(&mut placeless);
    let mut value = serde_json::to_value(&placeless).expect("BUG: a plan is plain data");
    if let Value::Object(fields) = &mut value {
        for field in NOT_MEASURED {
            fields.remove(field);
        }
        let limits = limits_of_searches(plan);
        if !limits.is_empty() {
            fields.insert("limits_of_searches".to_owned(), limits.into());
        }
    }
    value.sort_all_objects();
    hexadecimal(&Sha256::digest(value.to_string()))
}

/// The hash of a plan that was changed after it was read: of the hash that it had, and of what it
/// measures now. So it is never that of another scenario, which nobody changed.
pub(crate) fn renewed(plan: &Plan) -> String {
    let now = measured_part(plan);
    hexadecimal(&Sha256::digest(format!("{} {now}", plan.hash)))
}

/// In an order of their own: that of the gates in the file changes nothing.
fn limits_of_searches(plan: &Plan) -> Vec<Value> {
    let limits = plan.loads.iter().flat_map(|load| {
        let own = search_limits(plan, load);
        own.into_iter().chain(limits_beside_a_search(plan, load))
    });
    let mut limits: Vec<_> = limits
        .map(|limit| (limit.metric, limit.max, limit.min))
        .collect();
    limits.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    limits.into_iter().map(|limit| json!(limit)).collect()
}

/// Empties the paths of all files. What a text of the scenario says in the place of
/// a path is left alone, so this goes by the types of the plan.
fn forget_places(plan: &mut Plan) {
    let tls = &mut plan.http.tls;
    tls.ca.iter_mut().for_each(forget_place);
    if let Some(client) = &mut tls.client {
        forget_place(&mut client.certificate);
        // A renewed key measures the same.
        client.key = PathBuf::new();
    }
    for feed in plan.feeds.values_mut() {
        forget_place(&mut feed.file);
    }
    for load in &mut plan.loads {
        match &mut load.arrivals {
            Arrivals::Trace { file, .. } => forget_place(file),
            Arrivals::Open { .. } | Arrivals::Closed { .. } | Arrivals::Capacity { .. } => {}
        }
    }
    let flows = plan.flows.values_mut();
    for flow in flows.chain(&mut plan.setup).chain(&mut plan.teardown) {
        forget_places_of(&mut flow.steps);
    }
}

fn forget_places_of(steps: &mut [StepPlan]) {
    for step in steps {
        match step {
            StepPlan::Request(request) => {
                forget_places_of_body(request);
                request.think.iter_mut().for_each(forget_place_of_times);
            }
            StepPlan::Think(think) => forget_place_of_times(think),
            StepPlan::Group { steps, .. } | StepPlan::Repeat { steps, .. } => {
                forget_places_of(steps);
            }
            StepPlan::If {
                then, otherwise, ..
            } => {
                forget_places_of(then);
                forget_places_of(otherwise);
            }
            StepPlan::Choose(branches) => {
                for branch in branches {
                    forget_places_of(&mut branch.steps);
                }
            }
            StepPlan::Open(_) | StepPlan::Send(_) | StepPlan::Expect(_) | StepPlan::Close => {}
        }
    }
}

fn forget_places_of_body(request: &mut RequestPlan) {
    match &mut request.body {
        Some(BodyPlan::File(file)) => forget_place(file),
        Some(BodyPlan::Multipart(parts)) => {
            for part in parts {
                match &mut part.content {
                    PartContent::File(file) => forget_place(file),
                    PartContent::Text(_) => {}
                }
            }
        }
        None | Some(BodyPlan::Json(_) | BodyPlan::Text(_) | BodyPlan::Form(_)) => {}
    }
}

fn forget_place_of_times(think: &mut ThinkPlan) {
    match think {
        ThinkPlan::Recorded { file, .. } => forget_place(file),
        ThinkPlan::Constant(_)
        | ThinkPlan::Uniform { .. }
        | ThinkPlan::Normal { .. }
        | ThinkPlan::Exponential { .. } => {}
    }
}

fn forget_place(file: &mut FilePlan) {
    file.path = PathBuf::new();
}
