//! The limits that hold while a load runs: those that end the run, and those that a rate has to keep
//! to count as one that the target can take.

use super::catalogue::{self, LoadMetric, MetricKey, MetricSpec};
use super::measurable::is_out_of_reach;
use super::plan::{GatePlan, LoadPlan, Plan};

/// The share of a load's requests that may fail where its scenario doesn't say: 1 %. A service that
/// answers every request with an error has no latency to judge, and would pass.
pub const IMPLIED_ERROR_RATE_MAX: f64 = 0.01;
/// No limit ends a run before so much of its measure phase is over, in ns: its first seconds say little
/// of the rest.
pub(crate) const ABORTS_AFTER_NS: u64 = 5_000_000_000;
/// In an open model, the share of the offered iterations that must be completed where the scenario
/// doesn't say.
pub const IMPLIED_ACHIEVED_MIN: f64 = 0.99;

/// The limits on a load that end the run as soon as the measure phase so far breaks one: gates with
/// the path of one metric each.
pub fn abort_limits(plan: &Plan, load: &LoadPlan) -> Vec<GatePlan> {
    limits_on(plan, load, |gate, _| gate.abort)
}

/// The limits that a load has to keep at a rate at which it looks for its capacity: gates with the path
/// of one metric each; those of the scenario, and a cap on failed requests and a floor under completed
/// iterations where it has none. None of a load that looks for nothing.
pub fn search_limits(plan: &Plan, load: &LoadPlan) -> Vec<GatePlan> {
    if !load.arrivals.is_search() {
        return Vec::new();
    }
    let stated = limits_on(plan, load, |_, spec| {
        catalogue::is_of_a_search(plan, &spec.key)
    });
    let achieved = catalogue::load_metric(&load.name, LoadMetric::Achieved);
    let is_stated = states(&plan.gates, &achieved.path(), |gate| gate.min);
    let floor = (!is_stated).then(|| GatePlan {
        min: Some(IMPLIED_ACHIEVED_MIN),
        ..on(&achieved)
    });
    let implied = error_cap(plan, load).into_iter().chain(floor);
    stated.into_iter().chain(implied).collect()
}

/// The limits on everything else that has to be kept at each rate at which a load looks for its capacity: gates
/// with the path of one metric each, on other loads, processes and probes; those of the scenario, and
/// those that its other loads have where it states none. A limit that ends the run ends it here too. None
/// beside a load that looks for nothing.
pub fn limits_beside_a_search(plan: &Plan, search: &LoadPlan) -> Vec<GatePlan> {
    if !search.arrivals.is_search() {
        return Vec::new();
    }
    let others = plan.loads.iter().filter(|load| load.name != search.name);
    let stated = limits_of(plan, |gate, spec| {
        let is_bench = matches!(spec.key, MetricKey::Bench(_));
        !gate.abort && !is_bench && spec.key.load() != Some(&*search.name)
    });
    let implied = others.flat_map(|load| implied_limits(plan, load));
    stated.into_iter().chain(implied).collect()
}

/// The limits that hold on a load of a run though its scenario doesn't state them.
pub fn implied_limits(plan: &Plan, load: &LoadPlan) -> Vec<GatePlan> {
    let limits = [error_cap(plan, load), lost_cap(plan, load)];
    limits.into_iter().flatten().collect()
}

/// The cap on a load's errors, unless the scenario states one.
fn error_cap(plan: &Plan, load: &LoadPlan) -> Option<GatePlan> {
    let errors = catalogue::load_metric(&load.name, LoadMetric::ErrorRate);
    let is_stated = states(&plan.gates, &errors.path(), |gate| gate.max);
    (!is_stated).then(|| GatePlan {
        max: Some(IMPLIED_ERROR_RATE_MAX),
        ..on(&errors)
    })
}

/// The cap on the time of a closed load's users that goes into requests that fail or are never
/// answered, unless the scenario states one: the share of its requests that may fail. A user who waits
/// asks for nothing else, so that a target that hangs fails few requests and takes much time.
fn lost_cap(plan: &Plan, load: &LoadPlan) -> Option<GatePlan> {
    let spec = |what| catalogue::load_metric(&load.name, what);
    let (lost, errors) = (spec(LoadMetric::Lost), spec(LoadMetric::ErrorRate).path());
    if load.arrivals.is_open() || states(&plan.gates, &lost.path(), |gate| gate.max) {
        return None;
    }
    let mut allowed = plan.gates.iter().filter_map(|gate| {
        let max = gate.max?;
        catalogue::matches(&gate.metric, &errors).then_some(max)
    });
    Some(GatePlan {
        max: Some(allowed.next().unwrap_or(IMPLIED_ERROR_RATE_MAX)),
        ..on(&lost)
    })
}

/// Whether a gate is on the metric, by its path or by a pattern, and has that limit.
pub fn states(gates: &[GatePlan], metric: &str, limit: fn(&GatePlan) -> Option<f64>) -> bool {
    gates
        .iter()
        .any(|gate| limit(gate).is_some() && catalogue::matches(&gate.metric, metric))
}

/// Whether all that a gate finds are metrics that a load has at each rate at which it looks for its
/// capacity: its limits are then the search's, and no run as a whole is held against them.
pub fn is_limit_of_a_search(plan: &Plan, gate: &GatePlan) -> bool {
    let found = catalogue::select(plan, &gate.metric).unwrap_or_default();
    let mut keys = found.iter().map(|spec| &spec.key);
    !found.is_empty() && keys.all(|key| catalogue::is_of_a_search(plan, key))
}

/// The limits among the gates that are meant, one for each metric of the load that they find and
/// that can be measured.
fn limits_on(
    plan: &Plan,
    load: &LoadPlan,
    is_meant: impl Fn(&GatePlan, &MetricSpec) -> bool,
) -> Vec<GatePlan> {
    limits_of(plan, |gate, spec| {
        spec.key.load() == Some(&*load.name) && is_meant(gate, spec)
    })
}

/// The same of whatever is measured.
fn limits_of(plan: &Plan, is_meant: impl Fn(&GatePlan, &MetricSpec) -> bool) -> Vec<GatePlan> {
    let mut limits = Vec::new();
    for gate in &plan.gates {
        if gate.max.is_none() && gate.min.is_none() {
            continue;
        }
        let found = catalogue::select(plan, &gate.metric).unwrap_or_default();
        let found = found
            .iter()
            .filter(|spec| is_meant(gate, spec) && !is_out_of_reach(plan, spec, &gate.metric));
        limits.extend(found.map(|spec| GatePlan {
            max: gate.max,
            min: gate.min,
            abort: gate.abort,
            ..on(spec)
        }));
    }
    limits
}

fn on(spec: &MetricSpec) -> GatePlan {
    GatePlan {
        unit: Some(spec.unit.clone()),
        ..GatePlan::on(spec.path())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::harness::scenario::parse;

    fn plan(gates: &str) -> Plan {
        let text = format!(
            "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
             [load.a]\ncapacity = {{ from = \"100/s\", to = \"9000/s\" }}\n\
             [load.b]\nopen = {{ rate = \"100/s\" }}\n{gates}"
        );
        let scenario = parse(&text, Path::new("s.toml"));
        scenario
            .unwrap_or_else(|problems| panic!("{problems:#?}"))
            .plans
            .remove(0)
    }

    /// The limits as texts: metric, largest, smallest.
    fn shown(limits: Vec<GatePlan>) -> Vec<(String, Option<f64>, Option<f64>)> {
        let limits = limits.into_iter();
        limits.map(|one| (one.metric, one.max, one.min)).collect()
    }

    #[test]
    fn a_search_has_the_limits_on_its_load_and_those_that_nobody_states() {
        let check = |gates: &str, expected: &[(&str, Option<f64>, Option<f64>)]| {
            let plan = plan(gates);
            let found = shown(search_limits(&plan, &plan.loads[0]));
            let expected: Vec<_> = expected
                .iter()
                .map(|(metric, max, min)| ((*metric).to_owned(), *max, *min))
                .collect();
            assert_eq!(found, expected, "{gates}");
            assert!(search_limits(&plan, &plan.loads[1]).is_empty());
        };
        let gate =
            |metric: &str, limit: &str| format!("[[gate]]\nmetric = \"{metric}\"\n{limit}\n");
        let errors = ("load.a.error_rate", Some(0.01), None);
        let achieved = ("load.a.achieved", None, Some(0.99));
        let p50 = ("load.a.p50", Some(2e8), None);
        check(
            &gate("load.a.p50", "max = \"200ms\""),
            &[p50, errors, achieved],
        );
        // Of a pattern that finds others as well, its own part.
        let each = |metric| (metric, Some(2e8), None);
        check(
            &gate("load.*.p50", "max = \"200ms\""),
            &[
                p50,
                each("load.a.service.p50"),
                each("load.a.iteration.p50"),
                each("load.a.first_byte.p50"),
                each("load.a.connect.p50"),
                each("load.a.request.GET /.p50"),
                each("load.a.request.GET /.service.p50"),
                errors,
                achieved,
            ],
        );
        let stated =
            gate("load.*.error_rate", "max = \"5%\"") + &gate("load.a.achieved", "min = \"90%\"");
        check(
            &stated,
            &[
                ("load.a.error_rate", Some(0.05), None),
                ("load.a.request.GET /.error_rate", Some(0.05), None),
                ("load.a.achieved", None, Some(0.9)),
            ],
        );
        // What is said of the capacity is no limit of its search.
        let capacity = gate("load.a.capacity", "min = \"500/s\"");
        check(
            &(gate("load.a.p50", "max = \"200ms\"") + &capacity),
            &[p50, errors, achieved],
        );
    }

    #[test]
    fn what_goes_on_beside_a_search_has_to_keep_its_limits_too() {
        let gate =
            |metric: &str, limit: &str| format!("[[gate]]\nmetric = \"{metric}\"\n{limit}\n");
        let beside = |gates: &str| {
            let plan = plan(&(gate("load.a.p50", "max = \"200ms\"") + gates));
            assert!(limits_beside_a_search(&plan, &plan.loads[1]).is_empty());
            shown(limits_beside_a_search(&plan, &plan.loads[0]))
        };
        let errors = |max| ("load.b.error_rate".to_owned(), Some(max), None);
        assert_eq!(beside(""), [errors(0.01)]);
        let dropped = ("load.b.dropped".to_owned(), Some(3.0), None);
        assert_eq!(
            beside(&gate("load.*.dropped", "max = 3")),
            [dropped, errors(0.01)]
        );
        assert_eq!(
            beside(&gate("load.b.error_rate", "max = \"5%\"")),
            [errors(0.05)]
        );
        // One that ends the run is no limit of the search.
        let ending = gate("load.b.error_rate", "max = \"5%\"\nabort = true");
        assert_eq!(beside(&ending), []);
    }

    #[test]
    fn only_what_a_run_as_a_whole_has_is_judged_of_it() {
        let plan = plan("[[gate]]\nmetric = \"load.a.p50\"\nmax = \"1s\"\n");
        let check = |metric: &str, expected: bool| {
            assert_eq!(
                is_limit_of_a_search(&plan, &GatePlan::on(metric)),
                expected,
                "{metric}"
            );
        };
        check("load.a.p50", true);
        check("load.a.*", false);
        check("load.a.p*", true);
        check("load.*.p50", false);
        check("load.a.capacity", false);
        check("load.b.p50", false);
    }

    #[test]
    fn a_run_is_ended_by_the_limits_that_say_so() {
        let plan = plan(
            "[[gate]]\nmetric = \"load.a.p50\"\nmax = \"1s\"\n\
             [[gate]]\nmetric = \"load.b.error_rate\"\nmax = \"5%\"\nabort = true\n\
             [[gate]]\nmetric = \"load.b.p95\"\nmax = \"1s\"\n",
        );
        let found = shown(abort_limits(&plan, &plan.loads[1]));
        assert_eq!(found, [("load.b.error_rate".to_owned(), Some(0.05), None)]);
        assert!(abort_limits(&plan, &plan.loads[0]).is_empty());
    }
}
