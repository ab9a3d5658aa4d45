//! Faults: what is done to processes during the run, and whether it can be done in that order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::DeTable;

use super::processes::{self, Process};
use crate::harness::scenario::keys::ACTIONS;
use crate::harness::scenario::plan::{FaultAction, FaultPlan, Plan};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;

/// Reads the faults of a variant, in order of time. One on a process that only other variants have
/// is left out.
pub(super) fn read(
    table: &DeTable<'_>,
    plan: &Plan,
    all: &[Process<'_>],
    problems: &mut Problems<'_>,
) -> Vec<FaultPlan> {
    let names: BTreeSet<&str> = plan
        .processes
        .iter()
        .map(|process| process.name.as_str())
        .collect();
    let mut faults: Vec<(FaultPlan, Range<usize>)> = Vec::new();
    let searches = plan.searches();
    let only_benches = !plan.benches.is_empty() && !super::declares(table, "load");
    for (table, span) in raw::tables(table, "fault") {
        if only_benches {
            problems.report(
                Code::MissingKey,
                span,
                "a fault happens while a load arrives, and the scenario has none",
                "during which load?",
                "add `[load.NAME]` with a flow, or remove the fault",
            );
            continue;
        }
        if searches {
            problems.report(
                Code::ConflictingKeys,
                span,
                "a fault would disturb each rate at which a load looks for its capacity, or only some of them",
                "beside a search",
                "remove the fault, or let the loads arrive at constant rates in a scenario of its own",
            );
            continue;
        }
        let found = ACTIONS
            .into_iter()
            .find_map(|key| Some((key, raw::text(table, key)?)));
        let Some((key, process)) = found else {
            continue;
        };
        if !names.contains(process.text) {
            if !all.iter().any(|other| other.name.text == process.text) {
                processes::unknown(process.text, &process.span, &names, all, None, problems);
            }
            continue;
        }
        let Some(at_ns) = raw::duration_ns(table, "at") else {
            continue;
        };
        let total_ns = plan.phases.total_ns();
        if let Some(value) = table.get("at")
            && at_ns >= total_ns
        {
            problems.report(
                Code::OutOfRange,
                value.span(),
                "the fault would come after the end of the load",
                format!("the phases take {}s together", total_ns as f64 / 1e9),
                "`at` counts from the start of the load; move it forward or lengthen `measure`",
            );
        }
        let action = match key {
            "start" => FaultAction::Start,
            "stop" => FaultAction::Stop,
            "kill" => FaultAction::Kill,
            "pause" => FaultAction::Pause,
            _ => FaultAction::Resume,
        };
        let fault = FaultPlan {
            at_ns,
            process: process.text.to_owned(),
            action,
        };
        faults.push((fault, process.span));
    }
    faults.sort_by_key(|(fault, _)| fault.at_ns);
    check_order(&faults, problems);
    faults.into_iter().map(|(fault, _)| fault).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Down,
}

fn check_order(faults: &[(FaultPlan, Range<usize>)], problems: &mut Problems<'_>) {
    let mut states: BTreeMap<&str, State> = BTreeMap::new();
    for (fault, span) in faults {
        let state = states.entry(&fault.process).or_insert(State::Running);
        let (next, wrong) = match (fault.action, *state) {
            (FaultAction::Start, State::Down) => (State::Running, None),
            (FaultAction::Start, _) => (State::Running, Some("it is already running")),
            (FaultAction::Stop | FaultAction::Kill, State::Down) => {
                (State::Down, Some("it is already down"))
            }
            (FaultAction::Stop | FaultAction::Kill, _) => (State::Down, None),
            (FaultAction::Pause, State::Running) => (State::Paused, None),
            (FaultAction::Pause, _) => (*state, Some("it isn't running")),
            (FaultAction::Resume, State::Paused) => (State::Running, None),
            (FaultAction::Resume, _) => (*state, Some("it isn't paused")),
        };
        if let Some(wrong) = wrong {
            problems.report(
                Code::FaultOrder,
                span.clone(),
                format!("this can't be done to `{}` then: {wrong}", fault.process),
                wrong,
                "faults happen in the order of their times, whatever their order in the file",
            );
        }
        *state = next;
    }
}
