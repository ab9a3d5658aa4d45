//! The limits that hold while a load runs: those that end the run, and those that a rate has to keep
//! to count as one that the target can take. A stand-in until the scenario room has its own.

use super::catalogue::{self, LoadMetric};
use super::plan::{GatePlan, LoadPlan, Plan};

/// The share of a load's requests that may fail where its scenario doesn't say: 1 %.
pub const IMPLIED_ERROR_RATE_MAX: f64 = 0.01;
/// In an open model, the share of the offered iterations that must be completed where the scenario
/// doesn't say.
pub const IMPLIED_ACHIEVED_MIN: f64 = 0.99;

/// The limits on a load that end the run as soon as the measure phase so far breaks one: gates with
/// the path of one metric each.
pub fn abort_limits(plan: &Plan, load: &LoadPlan) -> Vec<GatePlan> {
    let beginning = format!("load.{}.", load.name);
    let mut limits = Vec::new();
    for gate in plan.gates.iter().filter(|gate| gate.abort) {
        let found = catalogue::select(plan, &gate.metric).unwrap_or_default();
        let paths = found.iter().map(catalogue::MetricSpec::path);
        limits.extend(
            paths
                .filter(|path| path.starts_with(&beginning))
                .map(|metric| GatePlan {
                    metric,
                    ..gate.clone()
                }),
        );
    }
    limits
}

/// The limits that a load has to keep at a rate at which it looks for its capacity: gates with the path
/// of one metric each.
pub fn search_limits(plan: &Plan, load: &LoadPlan) -> Vec<GatePlan> {
    let beginning = format!("load.{}.", load.name);
    let stated = plan.gates.iter().filter(|gate| {
        gate.metric.starts_with(&beginning) && !gate.metric.ends_with(".capacity")
    });
    let mut limits: Vec<GatePlan> = stated.cloned().collect();
    for (what, max, min) in [
        (LoadMetric::ErrorRate, Some(IMPLIED_ERROR_RATE_MAX), None),
        (LoadMetric::Achieved, None, Some(IMPLIED_ACHIEVED_MIN)),
    ] {
        let metric = catalogue::load_metric(&load.name, what).path();
        if !limits.iter().any(|limit| limit.metric == metric) {
            limits.push(GatePlan {
                max,
                min,
                ..GatePlan::on(metric)
            });
        }
    }
    limits
}
