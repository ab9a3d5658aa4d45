//! What the noise means for each margin of a scenario.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::compare::{ArmSize, Calibrated};
use crate::harness::gate::Policy;
use crate::harness::model::{Metric, median};
use crate::harness::report::calibration::{CalibratedMetric, GateSize, MetricSize};
use crate::harness::scenario::catalogue;
use crate::harness::store::Baseline;

use super::sittings::Sitting;

/// Every metric with a margin, by name.
pub(super) fn margins(
    policy: &Policy,
    sittings: &[Sitting],
    found: &BTreeMap<String, Calibrated>,
    baseline: &Baseline,
    gate: GateSize,
) -> Vec<CalibratedMetric> {
    let mut all: BTreeMap<&str, Vec<&Metric>> = BTreeMap::new();
    for metric in sittings
        .iter()
        .flat_map(Sitting::runs)
        .flat_map(|run| &run.metrics)
    {
        all.entry(&metric.name).or_default().push(metric);
    }
    let of_metric = |(name, metrics): (&str, Vec<&Metric>)| {
        let margin = policy.margin(name)?;
        let values: Vec<f64> = metrics.iter().filter_map(|metric| metric.value()).collect();
        let kind = (metrics.first()?.unit.clone(), median(&values));
        let a_run = metrics.iter().map(|metric| metric.values().len()).max()?;
        // The invocations of a bench were spread over the pairs: there are at least so many.
        let invocations = a_run.saturating_sub(1) * gate.pairs + 1;
        let size = MetricSize {
            base: values_of(baseline, name),
            head: ArmSize {
                runs: gate.head_runs * invocations,
                sessions: 1,
            },
            invocations,
        };
        let known = found.get(name);
        let size = (gate.pairs, size);
        Some(CalibratedMetric::new(
            name.to_owned(),
            kind,
            margin,
            known,
            size,
        ))
    };
    all.into_iter().filter_map(of_metric).collect()
}

/// How many values a baseline has of a metric, in how many sessions.
fn values_of(baseline: &Baseline, metric: &str) -> ArmSize {
    let metrics = baseline
        .sessions
        .iter()
        .filter_map(|session| session.metrics.get(metric));
    let counts: Vec<usize> = metrics
        .map(|metric| metric.values.iter().map(Vec::len).sum())
        .filter(|count| *count > 0)
        .collect();
    ArmSize {
        runs: counts.iter().sum(),
        sessions: counts.len(),
    }
}

/// Margins on what no run has, a sentence each.
pub(super) fn on_nothing(policy: &Policy, sittings: &[Sitting]) -> Vec<String> {
    let names: BTreeSet<&str> = sittings
        .iter()
        .flat_map(Sitting::runs)
        .flat_map(|run| &run.metrics)
        .map(|metric| metric.name.as_str())
        .collect();
    policy
        .gates
        .iter()
        .filter(|gate| gate.regress.is_some())
        .filter(|gate| {
            !names
                .iter()
                .any(|name| catalogue::matches(&gate.metric, name))
        })
        .map(|gate| format!("no run has a metric `{}`, which has a margin", gate.metric))
        .collect()
}
