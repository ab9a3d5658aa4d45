//! What is judged, and how strictly: the part of a scenario that must come from the base revision.

use super::waiver::Waivers;
use std::collections::BTreeSet;

use crate::harness::model::Unit;
use crate::harness::scenario::catalogue::{self, LoadMetric};
use crate::harness::scenario::{
    Arrivals, GatePlan, IMPLIED_ACHIEVED_MIN, IMPLIED_ERROR_RATE_MAX, LoadPlan, Plan,
    is_limit_of_a_search, out_of_reach,
};

/// The margin against which metrics are shown that no gate gives one: 5 %.
pub const DEFAULT_MARGIN: f64 = 0.05;

/// The gates of a scenario and the options of the call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// The scenario's id; empty for numbers that come from no scenario.
    pub scenario: String,
    /// What is judged, in the order of the scenario. What only limits a search for a capacity was
    /// judged at each of its rates, and is not among these: no run keeps it as a whole, because a search
    /// goes on until a rate breaks it.
    pub gates: Vec<GatePlan>,
    /// Limits that the scenario doesn't state and that hold all the same, after those of `gates`.
    pub implied: Vec<GatePlan>,
    /// Metrics that a pattern among the gates finds although the scenario makes too few requests for
    /// them: shown, not judged.
    pub out_of_reach: BTreeSet<String>,
    /// Loads with an open model that offer what is fixed, by name: their throughput is judged as the
    /// achieved share of it.
    pub open_loads: Vec<String>,
    /// The exceptions to its margins, as of today.
    pub waivers: Waivers,
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
        let open = plan.loads.iter().filter(|load| {
            matches!(
                load.arrivals,
                Arrivals::Open { .. } | Arrivals::Trace { .. }
            )
        });
        let gates = plan.gates.iter();
        Self {
            scenario: plan.id(),
            gates: gates
                .filter(|gate| !is_limit_of_a_search(plan, gate))
                .cloned()
                .collect(),
            implied: plan
                .loads
                .iter()
                .flat_map(|load| match load.arrivals {
                    Arrivals::Capacity { from, .. } => [capacity_floor(plan, load, from), None],
                    _ => [error_cap(plan, load), lost_cap(plan, load)],
                })
                .flatten()
                .collect(),
            out_of_reach: plan
                .gates
                .iter()
                .flat_map(|gate| out_of_reach(plan, gate))
                .collect(),
            open_loads: open.map(|load| load.name.clone()).collect(),
            ..Self::default()
        }
    }

    /// The margin of a metric as a fraction: of the gate that names it without a pattern, else of
    /// the first whose pattern matches. `None` where no gate gives it one.
    pub fn margin(&self, metric: &str) -> Option<f64> {
        let with_margin = || self.gates.iter().filter(|gate| gate.regress.is_some());
        with_margin()
            .find(|gate| gate.metric == metric)
            .or_else(|| with_margin().find(|gate| self.finds(gate, metric)))
            .and_then(|gate| gate.regress)
    }

    /// Whether a gate is on the metric.
    pub(super) fn finds(&self, gate: &GatePlan, metric: &str) -> bool {
        gate.metric == metric
            || (catalogue::matches(&gate.metric, metric) && !self.out_of_reach.contains(metric))
    }

    /// The limits that margins on the rates of open loads imply: such a rate follows the offered one
    /// whatever the subject does, until it can't.
    pub(super) fn throughput(&self) -> impl Iterator<Item = GatePlan> {
        let path = |load: &str, what| catalogue::load_metric(load, what).path();
        self.open_loads
            .iter()
            .filter(move |load| self.margin(&path(load, LoadMetric::Rate)).is_some())
            .map(move |load| path(load, LoadMetric::Achieved))
            .filter(|achieved| !states(&self.gates, achieved, |gate| gate.min))
            .map(|metric| GatePlan {
                min: Some(IMPLIED_ACHIEVED_MIN),
                unit: Some(Unit::Ratio),
                ..GatePlan::on(metric)
            })
    }

    /// Whether anything is to be compared with a base.
    pub(super) fn has_margins(&self) -> bool {
        self.gates.iter().any(|gate| gate.regress.is_some())
    }
}

/// The cap on a load's errors, unless the scenario states one.
fn error_cap(plan: &Plan, load: &LoadPlan) -> Option<GatePlan> {
    let spec = catalogue::load_metric(&load.name, LoadMetric::ErrorRate);
    let metric = spec.path();
    (!states(&plan.gates, &metric, |gate| gate.max)).then_some(GatePlan {
        max: Some(IMPLIED_ERROR_RATE_MAX),
        unit: Some(spec.unit),
        ..GatePlan::on(metric)
    })
}

/// The lowest rate of a search as the least capacity, unless the scenario states one: where not even
/// that rate holds, there is no capacity to compare, and the target would pass.
fn capacity_floor(plan: &Plan, load: &LoadPlan, from: f64) -> Option<GatePlan> {
    let spec = catalogue::load_metric(&load.name, LoadMetric::Capacity);
    let metric = spec.path();
    (!states(&plan.gates, &metric, |gate| gate.min)).then_some(GatePlan {
        min: Some(from),
        unit: Some(spec.unit),
        ..GatePlan::on(metric)
    })
}

/// The cap on the time of a closed load's users that goes into requests that fail or are never
/// answered, unless the scenario states one: the share of its requests that may fail. A user who waits
/// asks for nothing else, so that a target that hangs fails few requests and takes much time.
fn lost_cap(plan: &Plan, load: &LoadPlan) -> Option<GatePlan> {
    let spec = |what| catalogue::load_metric(&load.name, what);
    let (lost, errors) = (spec(LoadMetric::Lost), spec(LoadMetric::ErrorRate).path());
    let metric = lost.path();
    if load.arrivals.is_open() || states(&plan.gates, &metric, |gate| gate.max) {
        return None;
    }
    let mut allowed = plan.gates.iter().filter_map(|gate| {
        let max = gate.max?;
        catalogue::matches(&gate.metric, &errors).then_some(max)
    });
    Some(GatePlan {
        max: Some(allowed.next().unwrap_or(IMPLIED_ERROR_RATE_MAX)),
        unit: Some(lost.unit),
        ..GatePlan::on(metric)
    })
}

fn states(gates: &[GatePlan], metric: &str, limit: fn(&GatePlan) -> Option<f64>) -> bool {
    gates
        .iter()
        .any(|gate| limit(gate).is_some() && catalogue::matches(&gate.metric, metric))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::harness::scenario::parse;

    /// What one run of a search holds over all of its rates is not judged; what it found is.
    #[test]
    fn a_search_is_judged_by_its_capacity_alone() {
        let policy = |gates: &str| {
            let text = format!(
                "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                 [load.a]\ncapacity = {{ from = \"100/s\", to = \"900/s\" }}\n\
                 [load.b]\nopen = {{ rate = \"100/s\" }}\n\
                 [[gate]]\nmetric = \"load.a.p50\"\nmax = \"1s\"\n{gates}"
            );
            let scenario = parse(&text, Path::new("s.toml"));
            let scenario = scenario.unwrap_or_else(|problems| panic!("{problems:#?}"));
            Policy::of(&scenario.plans[0])
        };
        let limits = |gates: &[GatePlan]| -> Vec<(String, Option<f64>, Option<f64>)> {
            let gates = gates.iter();
            gates
                .map(|gate| (gate.metric.clone(), gate.max, gate.min))
                .collect()
        };
        let errors = || ("load.b.error_rate".to_owned(), Some(0.01), None);
        let plain = policy("");
        assert_eq!(limits(&plain.gates), []);
        assert_eq!(
            limits(&plain.implied),
            [("load.a.capacity".to_owned(), None, Some(100.0)), errors()]
        );
        assert_eq!(plain.open_loads, ["b"]);
        let stated = policy(
            "[[gate]]\nmetric = \"load.*.p90\"\nmax = \"1s\"\n\
             [[gate]]\nmetric = \"load.a.capacity\"\nmin = \"500/s\"\nregress = \"5%\"\n",
        );
        assert_eq!(
            limits(&stated.gates),
            [
                ("load.*.p90".to_owned(), Some(1e9), None),
                ("load.a.capacity".to_owned(), None, Some(500.0))
            ]
        );
        assert_eq!(limits(&stated.implied), [errors()]);
        assert_eq!(stated.margin("load.a.capacity"), Some(0.05));
    }

    #[test]
    fn the_exact_name_wins() {
        let gate = |metric: &str, regress| GatePlan {
            regress,
            ..GatePlan::on(metric)
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
