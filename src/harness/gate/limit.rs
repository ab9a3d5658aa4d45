//! Absolute limits: judged on the median of the head's runs, shown with their spread.
//!
//! An error rate is judged on all requests together instead: two runs of five in which everything
//! fails leave the median at zero.

use std::collections::BTreeSet;

use super::policy::Policy;
use super::verdict::{LimitVerdict, Reason};
use crate::harness::model::{Metric, Reading, Run, TrialOutcome, Unit, median, path};
use crate::harness::scenario::GatePlan;
use crate::harness::scenario::catalogue::{self, LoadMetric};

/// A limit, and why it could not be judged where it could not.
pub(super) struct Judged {
    pub(super) limit: LimitVerdict,
    pub(super) unknown: Option<Unknown>,
    /// Why it is broken although there is no value, if so.
    pub(super) hopeless: Option<Reason>,
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
        .filter(|gate| gate.max.is_some() || gate.min.is_some())
        .map(|gate| (gate.clone(), false));
    let implied = policy.implied.iter().cloned().chain(policy.throughput());
    let mut judged = Vec::new();
    for (gate, is_implied) in stated.chain(implied.map(|gate| (gate, true))) {
        let mut matching = names
            .iter()
            .filter(|name| policy.finds(&gate, name))
            .peekable();
        // Runs of other tools don't know what their users lost, nor do those of an older plimsoll.
        let may_lack = is_implied && is_lost(&gate.metric);
        if matching.peek().is_none() && !may_lack {
            judged.push(judge(&gate, is_implied, &gate.metric, head));
        }
        judged.extend(matching.map(|name| judge(&gate, is_implied, name, head)));
    }
    judged
}

fn is_lost(metric: &str) -> bool {
    catalogue::of_load(metric).is_some_and(|(_, what)| what == LoadMetric::Lost)
}

/// Why a metric without a value is not merely unknown but as bad as it can be: no request behind it was
/// in order in any run although some failed, or no rate of a search held.
pub(super) fn hopeless(name: &str, runs: &[Run]) -> Option<Reason> {
    let mut metrics = runs.iter().filter_map(|run| run.metric(name)).peekable();
    metrics.peek()?;
    if !metrics.all(|metric| metric.observations == 0) {
        return None;
    }
    let metric = name.to_owned();
    match catalogue::of_load(name) {
        Some((load, what)) if what.is_of_whole_search() => runs
            .iter()
            .any(|run| broke_at_once(load, run))
            .then_some(Reason::NoRateHeld { metric }),
        // Where connections are kept, nobody needs another.
        Some((_, what)) if what.is_of_connections() => None,
        _ => runs
            .iter()
            .any(|run| has_failures_behind(name, run))
            .then_some(Reason::NothingInOrder { metric }),
    }
}

/// Whether a load broke its limits at the lowest rate at which it looked for its capacity.
fn broke_at_once(load: &str, run: &Run) -> bool {
    let mut loads = run.measurement.loads.iter();
    let search = loads
        .find(|measured| measured.name == load)
        .and_then(|measured| measured.capacity.as_ref());
    search.is_some_and(|search| {
        let mut trials = search.trials.iter();
        search.holds.is_none() && trials.any(|trial| trial.outcome == TrialOutcome::Broke)
    })
}

fn has_failures_behind(name: &str, run: &Run) -> bool {
    let rates = run.metrics.iter().filter_map(|metric| {
        let stem = path::error_rate_of(&metric.name)?;
        name.starts_with(stem).then_some((stem.len(), metric))
    });
    // The longest is the nearest: that of the request rather than that of its load.
    rates
        .max_by_key(|(length, _)| *length)
        .and_then(|(_, metric)| metric.value())
        .is_some_and(|rate| rate > 0.0)
}

fn judge(gate: &GatePlan, is_implied: bool, name: &str, head: &[Run]) -> Judged {
    let metrics: Vec<&Metric> = head.iter().filter_map(|run| run.metric(name)).collect();
    let values: Vec<f64> = metrics
        .iter()
        .flat_map(|metric| metric.values())
        .copied()
        .collect();
    let value = failed_share(&metrics)
        .or_else(|| median(&values))
        .filter(|value| value.is_finite());
    let hopeless = hopeless(name, head).filter(|_| value.is_none());
    let lacking = head.len() - metrics.len();
    let limit = LimitVerdict {
        metric: name.to_owned(),
        unit: metrics
            .first()
            .map(|metric| metric.unit.clone())
            .or_else(|| gate.unit.clone())
            .unwrap_or(Unit::Count),
        max: gate.max,
        min: gate.min,
        is_implied,
        value,
        low: values.iter().copied().min_by(f64::total_cmp),
        high: values.iter().copied().max_by(f64::total_cmp),
        n: u32::try_from(values.len()).unwrap_or(u32::MAX),
        holds: match value {
            Some(value) if !is_within(value, gate) => Some(false),
            // Runs that could not measure it are not like the others: a slow one has made fewer
            // requests. An export leaves it out of them.
            Some(_) => (lacking == 0 && unmeasured(&metrics).next().is_none()).then_some(true),
            None => hopeless.as_ref().map(|_| false),
        },
    };
    Judged {
        unknown: (limit.holds.is_none() || value.is_none()).then(|| why(&metrics, lacking)),
        limit,
        hopeless,
        observations: metrics
            .iter()
            .fold(0, |sum, metric| sum.saturating_add(metric.observations)),
    }
}

/// The failed share of all requests, where the metric is an error rate that says how many requests
/// it rests on in each run that has it.
fn failed_share(metrics: &[&Metric]) -> Option<f64> {
    let measured = metrics.iter().filter(|metric| metric.value().is_some());
    let failures = measured
        .map(|metric| metric.failures())
        .collect::<Option<Vec<_>>>()?;
    let requests: f64 = failures.iter().map(|run| run.requests as f64).sum();
    let failed: f64 = failures.iter().map(|run| run.failed as f64).sum();
    (requests > 0.0).then(|| failed / requests)
}

fn is_within(value: f64, gate: &GatePlan) -> bool {
    gate.max.is_none_or(|max| value <= max) && gate.min.is_none_or(|min| value >= min)
}

/// Why each run that could not measure it could not.
fn unmeasured(metrics: &[&Metric]) -> impl Iterator<Item = Unknown> {
    metrics.iter().filter_map(|metric| match &metric.reading {
        Reading::NotMeasurable { reason, remedy } => Some(Unknown {
            reason: reason.clone(),
            remedy: remedy.clone(),
        }),
        Reading::Measured { .. } => None,
    })
}

fn why(metrics: &[&Metric], lacking: usize) -> Unknown {
    if let Some(unknown) = unmeasured(metrics).next() {
        return unknown;
    }
    let (reason, remedy) = match (metrics.len(), lacking) {
        (0, _) => (
            "no run has this metric".to_owned(),
            "check its name with `plimsoll list`, and that the subject exposes it",
        ),
        (_, 0) => (
            "its value is not a finite number".to_owned(),
            "mend whatever wrote it",
        ),
        (having, _) => (
            format!(
                "{lacking} of {} runs don't have this metric",
                having + lacking
            ),
            "measure it in every run",
        ),
    };
    Unknown {
        reason,
        remedy: remedy.into(),
    }
}
