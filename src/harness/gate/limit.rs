//! Absolute limits: judged on the median of the head's runs, shown with their spread.

use std::collections::BTreeSet;

use super::policy::Policy;
use super::verdict::LimitVerdict;
use crate::harness::model::{Metric, Reading, Run, Unit};
use crate::harness::scenario::{GatePlan, catalogue};

/// In an open model, the share of the offered iterations that must be completed.
const ACHIEVED_MIN: f64 = 0.99;

/// A limit, and why it could not be judged where it could not.
pub(super) struct Judged {
    pub(super) limit: LimitVerdict,
    pub(super) unknown: Option<Unknown>,
    /// Requests (samples) of all runs together.
    pub(super) observations: u64,
}

pub(super) struct Unknown {
    pub(super) reason: String,
    pub(super) remedy: String,
}

/// Every limit of the policy, in its order. A pattern stands for each metric of the head that it
/// matches; one that matches none could not be measured.
pub(super) fn limits(policy: &Policy, head: &[Run]) -> Vec<Judged> {
    let names: BTreeSet<&str> = head
        .iter()
        .flat_map(|run| &run.metrics)
        .map(|metric| metric.name.as_str())
        .collect();
    let stated = policy
        .gates
        .iter()
        .filter(|gate| gate.max.is_some() || gate.min.is_some());
    let mut judged = Vec::new();
    for gate in stated.cloned().chain(throughput(policy)) {
        let mut matching = names
            .iter()
            .filter(|name| catalogue::matches(&gate.metric, name))
            .peekable();
        if matching.peek().is_none() {
            judged.push(judge(&gate, &gate.metric, head));
        }
        judged.extend(matching.map(|name| judge(&gate, name, head)));
    }
    judged
}

/// The limit that a margin on the rate of an open load implies: the rate follows the offered one
/// whatever the subject does, until it can't.
fn throughput(policy: &Policy) -> impl Iterator<Item = GatePlan> {
    policy
        .open_loads
        .iter()
        .filter(|load| policy.margin(&format!("load.{load}.rate")).is_some())
        .map(|load| format!("load.{load}.achieved"))
        .filter(|achieved| {
            let stated =
                |gate: &GatePlan| gate.min.is_some() && catalogue::matches(&gate.metric, achieved);
            !policy.gates.iter().any(stated)
        })
        .map(|metric| GatePlan {
            metric,
            max: None,
            min: Some(ACHIEVED_MIN),
            regress: None,
            unit: Some(Unit::Ratio),
        })
}

fn judge(gate: &GatePlan, name: &str, head: &[Run]) -> Judged {
    let metrics: Vec<&Metric> = head.iter().filter_map(|run| run.metric(name)).collect();
    let all = pooled(&metrics);
    let values = || all.iter().flat_map(|metric| metric.values()).copied();
    let median = all
        .as_ref()
        .and_then(Metric::value)
        .filter(|median| median.is_finite());
    let limit = LimitVerdict {
        metric: name.to_owned(),
        unit: metrics
            .first()
            .map(|metric| metric.unit.clone())
            .or_else(|| gate.unit.clone())
            .unwrap_or(Unit::Count),
        max: gate.max,
        min: gate.min,
        median,
        low: values().min_by(f64::total_cmp),
        high: values().max_by(f64::total_cmp),
        n: u32::try_from(values().count()).unwrap_or(u32::MAX),
        holds: median.map(|median| {
            gate.max.is_none_or(|max| median <= max) && gate.min.is_none_or(|min| median >= min)
        }),
    };
    let unknown = median.is_none().then(|| why(&metrics));
    let observations = all.map_or(0, |metric| metric.observations);
    Judged {
        limit,
        unknown,
        observations,
    }
}

/// The values of all runs as one metric.
fn pooled(metrics: &[&Metric]) -> Option<Metric> {
    let values = metrics
        .iter()
        .flat_map(|metric| metric.values())
        .copied()
        .collect();
    metrics.first().map(|first| Metric {
        reading: Reading::Measured { values },
        observations: metrics
            .iter()
            .fold(0, |sum, metric| sum.saturating_add(metric.observations)),
        ..(*first).clone()
    })
}

fn why(metrics: &[&Metric]) -> Unknown {
    let reading = metrics.iter().find_map(|metric| match &metric.reading {
        Reading::NotMeasurable { reason, remedy } => Some(Unknown {
            reason: reason.clone(),
            remedy: remedy.clone(),
        }),
        Reading::Measured { .. } => None,
    });
    reading.unwrap_or_else(|| Unknown {
        reason: "no run has this metric".into(),
        remedy: "check its name with `plimsoll list`, and that the subject exposes it".into(),
    })
}
