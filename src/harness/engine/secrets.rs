//! Which variables of the environment a plan mentions, and which one is nobody else's.

use std::collections::BTreeSet;

use crate::harness::scenario::{FlowPlan, Part, Plan, ProcessPlan, Template};

/// Where plimsoll's own store is, maybe with a password: no program that is started here inherits it.
pub(super) const STORE_VARIABLE: &str = "PLIMSOLL_STORE";

/// The variables that a plan mentions as `{$env.NAME}`. Their values are secrets; whoever reads the
/// environment hands them to the engine before anything starts.
pub fn secret_names(plan: &Plan) -> BTreeSet<String> {
    let of_processes = plan.processes.iter().flat_map(of_process);
    let flows = plan.flows.values().chain(&plan.setup).chain(&plan.teardown);
    let of_flows = flows.flat_map(FlowPlan::templates).chain(&plan.http.proxy);
    of_processes
        .chain(of_flows)
        .flat_map(|template| &template.parts)
        .filter_map(|part| match part {
            Part::Env(name) => Some(name.clone()),
            _ => None,
        })
        .collect()
}

fn of_process(process: &ProcessPlan) -> impl Iterator<Item = &Template> {
    [&process.build, &process.prepare]
        .into_iter()
        .flatten()
        .chain([&process.start])
        .flat_map(|command| &command.words)
        .chain(process.env.values())
}
