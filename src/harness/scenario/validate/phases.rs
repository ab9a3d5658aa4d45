//! How long each phase takes.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::policies::positive;
use super::{SECOND_NS, extent};
use crate::harness::scenario::plan::{FlowPlan, PhasePlan};
use crate::harness::scenario::problem::Problems;
use crate::harness::scenario::raw;

/// Nobody wants to wait for a longer drain without having asked for it.
const MAX_DEFAULT_DRAIN_NS: u64 = 60 * SECOND_NS;

/// The phases, and whether they are what the file says rather than a stand-in.
pub(super) struct Phases {
    pub(super) plan: PhasePlan,
    pub(super) is_right: bool,
}

pub(super) fn read(
    table: &DeTable<'_>,
    flows: &BTreeMap<String, FlowPlan>,
    problems: &mut Problems<'_>,
) -> Phases {
    let table = raw::table(table, "phases").map(|(table, _)| table);
    let mut is_right = true;
    let mut duration = |key: &str, default_ns: u64| {
        let Some(table) = table.filter(|table| table.contains_key(key)) else {
            return default_ns;
        };
        let read = if key == "measure" {
            positive(table, key, problems)
        } else {
            raw::duration_ns(table, key)
        };
        is_right &= read.is_some_and(|ns| ns > 0 || key != "measure");
        read.unwrap_or(default_ns)
    };
    // Every iteration that is begun before the end can then come to its own, or run into a timeout,
    // unless that could take very long. The load is over when the last one is, so a server that
    // answers makes nobody wait.
    let longest_ns = flows.values().map(extent::longest_ns).max().unwrap_or(0);
    let longest_ns = longest_ns.min(MAX_DEFAULT_DRAIN_NS);
    let plan = PhasePlan {
        warmup_ns: duration("warmup", 5 * SECOND_NS),
        measure_ns: duration("measure", 30 * SECOND_NS),
        cooldown_ns: duration("cooldown", 0),
        drain_ns: duration("drain", longest_ns),
    };
    Phases { plan, is_right }
}
