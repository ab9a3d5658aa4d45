//! What is judged, and how strictly: the part of a scenario that must come from the base revision.

use crate::harness::scenario::{Arrivals, GatePlan, Plan, catalogue};

/// The margin against which metrics are shown that no gate gives one: 5 %.
pub const DEFAULT_MARGIN: f64 = 0.05;

/// The gates of a scenario and the options of the call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// The scenario's id; empty for numbers that come from no scenario.
    pub scenario: String,
    /// What is judged, in the order of the scenario.
    pub gates: Vec<GatePlan>,
    /// Loads with an open model, by name: what they offer is fixed, so their throughput is judged as
    /// the achieved share of it.
    pub open_loads: Vec<String>,
    /// A metric has regressed only if even its lower bound lies beyond the margin (L > δ).
    pub beyond_margin: bool,
    /// Inconclusive fails (`--strict`).
    pub strict: bool,
    /// A missing baseline fails (`--require-baseline`).
    pub require_baseline: bool,
}

impl Policy {
    /// The policy that a scenario states, without any option.
    pub fn of(plan: &Plan) -> Self {
        let open = plan
            .loads
            .iter()
            .filter(|load| matches!(load.arrivals, Arrivals::Open { .. }));
        Self {
            scenario: plan.id(),
            gates: plan.gates.clone(),
            open_loads: open.map(|load| load.name.clone()).collect(),
            ..Self::default()
        }
    }

    /// The margin of a metric as a fraction: of the gate that names it without a pattern, else of
    /// the first whose pattern matches. `None` where no gate gives it one.
    pub(super) fn margin(&self, metric: &str) -> Option<f64> {
        let with_margin = || self.gates.iter().filter(|gate| gate.regress.is_some());
        with_margin()
            .find(|gate| gate.metric == metric)
            .or_else(|| with_margin().find(|gate| catalogue::matches(&gate.metric, metric)))
            .and_then(|gate| gate.regress)
    }

    /// Whether anything is to be compared with a base.
    pub(super) fn has_margins(&self) -> bool {
        self.gates.iter().any(|gate| gate.regress.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_wins() {
        let gate = |metric: &str, regress| GatePlan {
            metric: metric.into(),
            max: None,
            min: None,
            regress,
            unit: None,
        };
        let policy = Policy {
            gates: vec![
                gate("bench.*", Some(0.05)),
                gate("bench.cache/*", Some(0.02)),
                gate("bench.cache/get", Some(0.10)),
                gate("load.a.p95", None),
            ],
            ..Policy::default()
        };
        let check =
            |metric: &str, expected| assert_eq!(policy.margin(metric), expected, "{metric}");
        check("bench.cache/get", Some(0.10));
        check("bench.cache/put", Some(0.05));
        check("load.a.p95", None);
        check("load.b.p95", None);
    }
}
