//! Phases and loads: what arrives when.

use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::SECOND_NS;
use super::extent::longest_ns;
use super::policies::positive;
use crate::harness::scenario::plan::{Arrivals, FlowPlan, LoadPlan, PhasePlan, Spacing, Stage};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text, Value};

/// No generator of one machine offers more.
const MAX_RATE_PER_S: f64 = 10_000_000.0;
const DEFAULT_ALLOWED_DROPPED: f64 = 0.001;
/// Bounds of the default `max_in_flight`; in between it is the arrivals of one second.
const DEFAULT_IN_FLIGHT: (f64, f64) = (10.0, 10_000.0);

/// The phases, and whether they are what the file says rather than a stand-in.
pub(super) struct Phases {
    pub(super) plan: PhasePlan,
    is_right: bool,
}

/// A load and what the plan doesn't keep of it.
pub(super) struct Load<'a> {
    pub(super) name: Text<'a>,
    pub(super) plan: LoadPlan,
    /// Whether its flow is there; without, nothing can be said about its requests.
    pub(super) has_flow: bool,
}

pub(super) fn phases(
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
    // Every iteration that is begun before the end can then come to its own, or run into a timeout.
    // The load is over when the last one is, so a server that answers makes nobody wait.
    let longest_ns = flows.values().map(longest_ns).max().unwrap_or(0);
    let plan = PhasePlan {
        warmup_ns: duration("warmup", 5 * SECOND_NS),
        measure_ns: duration("measure", 30 * SECOND_NS),
        cooldown_ns: duration("cooldown", 0),
        drain_ns: duration("drain", longest_ns),
    };
    Phases { plan, is_right }
}

pub(super) fn read<'a>(
    table: &'a DeTable<'_>,
    flows: &BTreeMap<String, FlowPlan>,
    phases: &Phases,
    problems: &mut Problems<'_>,
) -> Vec<Load<'a>> {
    raw::named_tables(table, "load")
        .into_iter()
        .map(|(name, table)| load(name, table, flows, phases, problems))
        .collect()
}

fn load<'a>(
    name: Text<'a>,
    table: &DeTable<'_>,
    flows: &BTreeMap<String, FlowPlan>,
    phases: &Phases,
    problems: &mut Problems<'_>,
) -> Load<'a> {
    let flow = flow(&name, table, flows, problems);
    let arrivals = if let Some((table, _)) = raw::table(table, "closed") {
        Arrivals::Closed {
            stages: stages(table, &CLOSED, phases, problems),
        }
    } else {
        let open = raw::table(table, "open").map(|(table, _)| table);
        let stages = open.map_or_else(
            || constant(f64::NAN, phases),
            |table| stages(table, &OPEN, phases, problems),
        );
        let max_in_flight = open
            .and_then(|table| raw::integer_at(table, "max_in_flight"))
            .and_then(|users| u32::try_from(users).ok())
            .unwrap_or_else(|| default_in_flight(&stages));
        Arrivals::Open {
            stages,
            spacing: Spacing::Even,
            max_in_flight,
        }
    };
    let plan = LoadPlan {
        flow: flow.clone().unwrap_or_default(),
        arrivals,
        seed: raw::integer_at(table, "seed")
            .and_then(|seed| u64::try_from(seed).ok())
            .unwrap_or_else(|| default_seed(name.text)),
        allowed_dropped: allowed_dropped(table, problems),
        name: name.text.to_owned(),
    };
    Load {
        name,
        plan,
        has_flow: flow.is_some(),
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
            let known: Vec<&str> = flows.keys().map(String::as_str).collect();
            problems.report(
                Code::MissingKey,
                load.span.clone(),
                format!("load `{}` needs `flow`, as there are several", load.text),
                "which flow?",
                format!("known here: {}", known.join(", ")),
            );
        }
    }
    None
}

/// How the stages of a model are written.
struct Model {
    /// The key of a constant value.
    constant: &'static str,
    read: fn(&DeTable<'_>, &str) -> Option<f64>,
    /// `None` where the keys have their bounds already.
    largest: Option<f64>,
}

const OPEN: Model = Model {
    constant: "rate",
    read: raw::rate_per_s,
    largest: Some(MAX_RATE_PER_S),
};
const CLOSED: Model = Model {
    constant: "users",
    read: |table, key| raw::integer_at(table, key).map(|users| users as f64),
    largest: None,
};

fn stages(
    table: &DeTable<'_>,
    model: &Model,
    phases: &Phases,
    problems: &mut Problems<'_>,
) -> Vec<Stage> {
    let mut value = |table: &DeTable<'_>, key: &str, may_be_zero: bool| {
        let number = (model.read)(table, key)?;
        if let (Some(place), Some(largest)) = (table.get(key).map(Value::span), model.largest)
            && (number > largest || (number == 0.0 && !may_be_zero))
        {
            problems.report(
                Code::OutOfRange,
                place,
                format!("`{key}` must be above 0 and at most {largest}/s"),
                "out of range",
                "write a rate that one machine can offer, such as `\"500/s\"`",
            );
        }
        Some(number)
    };
    let Some(written) = table.get("stages") else {
        let number = value(table, model.constant, false).unwrap_or(f64::NAN);
        return constant(number, phases);
    };
    let stages: Vec<Stage> = raw::tables(table, "stages")
        .into_iter()
        .map(|(table, _)| {
            let number = value(table, model.constant, true);
            let from = number.or_else(|| value(table, "from", true));
            let to = number.or_else(|| value(table, "to", true));
            let duration_ns = raw::duration_ns(table, "for").unwrap_or(0);
            Stage::line(
                duration_ns,
                from.unwrap_or(f64::NAN),
                to.unwrap_or(f64::NAN),
            )
        })
        .collect();
    check_stages(&stages, written.span(), phases, problems);
    stages
}

fn check_stages(
    stages: &[Stage],
    span: Range<usize>,
    phases: &Phases,
    problems: &mut Problems<'_>,
) {
    // Thousands of stages of thirty days would overflow.
    let together_ns = stages
        .iter()
        .fold(0_u64, |sum, stage| sum.saturating_add(stage.duration_ns));
    let total_ns = phases.plan.total_ns();
    if phases.is_right && together_ns > total_ns {
        problems
            .report(
                Code::OutOfRange,
                span.clone(),
                "the stages are longer than the phases",
                format!("{}s together", together_ns as f64 / 1e9), format!(
                "warm-up, measure and cool-down take {}s together; lengthen `measure` or shorten a stage",
                total_ns as f64 / 1e9
            ));
    }
    if !stages.is_empty()
        && stages
            .iter()
            .all(|stage| stage.from == 0.0 && stage.to == 0.0)
    {
        problems.report(
            Code::OutOfRange,
            span,
            "no stage lets anything arrive",
            "zero throughout",
            "give a stage a rate or users above zero",
        );
    }
}

fn constant(value: f64, phases: &Phases) -> Vec<Stage> {
    vec![Stage::constant(phases.plan.total_ns(), value)]
}

fn default_in_flight(stages: &[Stage]) -> u32 {
    let highest = stages.iter().map(Stage::highest).fold(0.0, f64::max);
    let (low, high) = DEFAULT_IN_FLIGHT;
    highest.ceil().clamp(low, high) as u32
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
        && let Some(value) = table.get("allowed_dropped")
    {
        problems.report(
            Code::OutOfRange,
            value.span(),
            "`allowed_dropped` must be at most 100 %",
            "more than all of them",
            "write a share such as `\"0.1%\"`",
        );
    }
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_derived_from_the_highest_rate() {
        let check = |rate: f64, expected: u32| {
            let stage = Stage::line(1, 0.0, rate);
            assert_eq!(default_in_flight(&[stage]), expected, "{rate}");
        };
        check(0.5, 10);
        check(500.0, 500);
        check(1e6, 10_000);
    }
}
