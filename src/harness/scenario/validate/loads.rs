//! Loads: what arrives when, and the flow that it drives.

use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::files::Files;
use super::mix::{self, Mix};
use super::phases::Phases;
use super::shapes::{self, CLOSED, OPEN, spacing, stages};
use super::{capacity, traces};
use crate::harness::scenario::keys::WAYS;
use crate::harness::scenario::plan::{Arrivals, FlowPlan, LoadPlan, Spacing, default_in_flight};
use crate::harness::scenario::problem::{Code, Problems, known_here};
use crate::harness::scenario::raw::{self, Text, Value};

const DEFAULT_ALLOWED_DROPPED: f64 = 0.001;

/// A load and what the plan doesn't keep of it.
pub(super) struct Load<'a> {
    pub(super) name: Text<'a>,
    /// Where it says how it arrives, or else its name.
    pub(super) place: Range<usize>,
    pub(super) plan: LoadPlan,
    /// Whether its flow is there; without, nothing can be said about its requests.
    pub(super) has_flow: bool,
    /// Whether its users follow from its rate, because nothing says how many there are.
    pub(super) has_default_in_flight: bool,
    /// Whether it is a search of which nothing says how long each rate is measured.
    pub(super) has_default_hold: bool,
}

/// The loads in the order of the file, and the weights of those that share one arrival process.
pub(super) fn read<'a>(
    table: &'a DeTable<'_>,
    flows: &BTreeMap<String, FlowPlan>,
    phases: &Phases,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> (Vec<Load<'a>>, BTreeMap<String, u32>) {
    let Mix {
        weights,
        mut arrivals,
    } = mix::read(table, phases, problems);
    let says_users = |table: &DeTable<'_>| {
        raw::table(table, "open").is_some_and(|(open, _)| open.contains_key("max_in_flight"))
    };
    let mix_says_users = raw::table(table, "mix").is_some_and(|(mix, _)| says_users(mix));
    let loads = raw::named_tables(table, "load").into_iter();
    let loads: Vec<Load<'_>> = loads
        .map(|(name, table)| {
            let (arrivals, says_users) = match arrivals.remove(name.text) {
                Some(shared) => (shared, mix_says_users),
                None => {
                    let own = own_arrivals(table, phases, files, problems);
                    (own, says_users(table))
                }
            };
            let mut load = load(name, table, arrivals, flows, problems);
            load.has_default_in_flight =
                matches!(load.plan.arrivals, Arrivals::Open { .. }) && !says_users;
            load.has_default_hold = raw::table(table, "capacity")
                .is_some_and(|(capacity, _)| !capacity.contains_key("hold"));
            load
        })
        .collect();
    capacity::check_alone(&loads, problems);
    capacity::check_measure(table, &loads, problems);
    (loads, weights)
}

fn load<'a>(
    name: Text<'a>,
    table: &DeTable<'_>,
    arrivals: Arrivals,
    flows: &BTreeMap<String, FlowPlan>,
    problems: &mut Problems<'_>,
) -> Load<'a> {
    let flow = flow(&name, table, flows, problems);
    let plan = LoadPlan {
        flow: flow.clone().unwrap_or_default(),
        arrivals,
        seed: raw::integer_at(table, "seed")
            .and_then(|seed| u64::try_from(seed).ok())
            .unwrap_or_else(|| default_seed(name.text)),
        allowed_dropped: allowed_dropped(table, problems),
        name: name.text.to_owned(),
    };
    let said = WAYS.into_iter().find_map(|key| table.get_key_value(key));
    Load {
        place: said.map_or_else(|| name.span.clone(), |(key, _)| key.span()),
        name,
        plan,
        has_flow: flow.is_some(),
        has_default_in_flight: false,
        has_default_hold: false,
    }
}

/// How a load arrives that has no share of a mix.
fn own_arrivals(
    table: &DeTable<'_>,
    phases: &Phases,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> Arrivals {
    let inside = |key| raw::table(table, key).map(|(table, _)| table);
    if let Some(closed) = inside("closed") {
        return Arrivals::Closed {
            stages: stages(closed, &CLOSED, phases, problems),
            share: None,
        };
    }
    if let Some(capacity) = inside("capacity") {
        return capacity::read(capacity, problems);
    }
    let unknown = || Arrivals::Open {
        stages: shapes::constant(f64::NAN, phases),
        spacing: Spacing::Even,
        max_in_flight: 1,
    };
    let Some(open) = inside("open") else {
        return unknown();
    };
    if open.contains_key("trace") {
        return traces::read(open, phases, files, problems).unwrap_or_else(unknown);
    }
    let stages = stages(open, &OPEN, phases, problems);
    let max_in_flight = raw::integer_at(open, "max_in_flight")
        .and_then(|users| u32::try_from(users).ok())
        .unwrap_or_else(|| default_in_flight(&stages));
    Arrivals::Open {
        stages,
        spacing: spacing(open),
        max_in_flight,
    }
}

/// The flow that a load names, or the only one there is.
fn flow(
    load: &Text<'_>,
    table: &DeTable<'_>,
    flows: &BTreeMap<String, FlowPlan>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    if let Some(flow) = raw::text(table, "flow") {
        if flows.contains_key(flow.text) {
            return Some(flow.text.to_owned());
        }
        let known = flows.keys().map(String::as_str);
        let report = problems.report(
            Code::UnknownFlow,
            flow.span,
            format!("there is no flow `{}`", flow.text),
            "no such flow",
            "add it: `[[flow.NAME.step]]` with `get = \"/…\"`",
        );
        report.suggest(flow.text, known);
        return None;
    }
    if table.contains_key("flow") {
        return None;
    }
    let mut names = flows.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => return Some(only.clone()),
        (None, _) => {
            problems.report(
                Code::MissingKey,
                load.span.clone(),
                format!("load `{}` has no flow to drive", load.text),
                "which flow?",
                "add one: `[[flow.NAME.step]]` with `get = \"/…\"`",
            );
        }
        (Some(_), Some(_)) => {
            problems.report(
                Code::MissingKey,
                load.span.clone(),
                format!("load `{}` needs `flow`, as there are several", load.text),
                "which flow?",
                known_here(flows.keys().map(String::as_str)),
            );
        }
    }
    None
}

/// Two loads of a file draw different values, and a load keeps its own when another is added.
fn default_seed(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(bytes) >> 1
}

fn allowed_dropped(table: &DeTable<'_>, problems: &mut Problems<'_>) -> f64 {
    let Some(share) = raw::share(table, "allowed_dropped") else {
        return DEFAULT_ALLOWED_DROPPED;
    };
    if share > 1.0
        && let Some(place) = table.get("allowed_dropped").map(Value::span)
    {
        problems.report(
            Code::OutOfRange,
            place,
            "`allowed_dropped` must be at most 100 %",
            "more than all of them",
            "write a share such as `\"0.1%\"`",
        );
    }
    share
}
