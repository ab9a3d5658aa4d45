//! Whether a load makes requests enough for a quantile.

use super::catalogue::{
    self, LatencyStat, LoadMetric, MetricKey, MetricSpec, Quantile, RequestMetric,
};
use super::plan::{Arrivals, GatePlan, PhasePlan, Plan, Stage};
use crate::harness::model::quantile::is_too_few;

/// How few requests there will be for a quantile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shortfall {
    /// The quantile.
    pub(crate) quantile: Quantile,
    /// The requests that are offered in the measure phase.
    pub(crate) expected: f64,
    /// Those of them that lie beyond the quantile.
    pub(crate) beyond: f64,
}

/// Whether a gate's `metric` spells the number that `path` ends with: `load.*.p99` and `*p99` do,
/// `load.reads.*` finds quantiles that nobody asked for.
pub(crate) fn is_asked_for_by_name(path: &str, metric: &str) -> bool {
    path.rsplit('.').next() == metric.rsplit(['.', '*']).next()
}

/// The metrics that `gate` finds by a pattern, without spelling them, and that the plan has too few
/// requests for: nobody can expect them to be judged.
pub fn out_of_reach(plan: &Plan, gate: &GatePlan) -> Vec<String> {
    let found = catalogue::select(plan, &gate.metric).unwrap_or_default();
    found
        .iter()
        .filter(|spec| shortfall(plan, spec).is_some())
        .map(MetricSpec::path)
        .filter(|path| !is_asked_for_by_name(path, &gate.metric))
        .collect()
}

/// By how much the plan's requests are too few for a metric; `None` where they are enough, and where
/// it can't be known, because a closed load makes as many as it can.
pub(crate) fn shortfall(plan: &Plan, spec: &MetricSpec) -> Option<Shortfall> {
    let (load, request, stat) = latency(&spec.key)?;
    let LatencyStat::Quantile(quantile) = stat else {
        return None;
    };
    let load = plan.loads.iter().find(|known| known.name == load)?;
    let (Arrivals::Open { stages, .. }, flow) = (&load.arrivals, plan.flows.get(&load.flow)?)
    else {
        return None;
    };
    let per_iteration = match request {
        Of::Iterations => 1,
        Of::AllRequests => flow.request_names().count(),
        Of::Requests(name) => flow.request_names().filter(|known| *known == name).count(),
    };
    let expected = offered_in_measure(stages, &plan.phases) * per_iteration as f64;
    let beyond = expected * (1.0 - quantile.fraction());
    // Not a number stands for a rate that is itself wrong.
    is_too_few(beyond).then_some(Shortfall {
        quantile,
        expected,
        beyond,
    })
}

enum Of<'a> {
    AllRequests,
    Iterations,
    Requests(&'a str),
}

/// The load, the requests and the number that a latency metric is made of.
fn latency(key: &MetricKey) -> Option<(&str, Of<'_>, LatencyStat)> {
    match key {
        MetricKey::Load { load, what } => match *what {
            LoadMetric::Response(stat) | LoadMetric::Service(stat) => {
                Some((load, Of::AllRequests, stat))
            }
            LoadMetric::Iteration(stat) => Some((load, Of::Iterations, stat)),
            _ => None,
        },
        MetricKey::Request {
            load,
            request,
            what: RequestMetric::Response(stat) | RequestMetric::Service(stat),
        } => Some((load, Of::Requests(request), *stat)),
        _ => None,
    }
}

/// How many iterations an open load offers in the measure phase; NaN where its stages are wrong.
fn offered_in_measure(stages: &[Stage], phases: &PhasePlan) -> f64 {
    let start_ns = phases.warmup_ns as f64;
    let end_ns = start_ns + phases.measure_ns as f64;
    let mut offered = 0.0;
    let mut at_ns = 0.0;
    for (index, stage) in stages.iter().enumerate() {
        let ends_ns = at_ns + stage.duration_ns as f64;
        let (low, high) = (start_ns.max(at_ns), end_ns.min(ends_ns));
        if high > low {
            let slope = (stage.to - stage.from) / stage.duration_ns as f64;
            let middle = stage.from + slope * ((low + high) / 2.0 - at_ns);
            offered += middle * (high - low) / 1e9;
        }
        at_ns = ends_ns;
        // The last stage lasts until the end.
        if index + 1 == stages.len() && end_ns > at_ns {
            offered += stage.to * (end_ns - start_ns.max(at_ns)) / 1e9;
        }
    }
    offered
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn offered_is_the_integral_over_the_measure_phase() {
        let phases = PhasePlan {
            warmup_ns: 10 * SECOND_NS,
            measure_ns: 20 * SECOND_NS,
            cooldown_ns: 5 * SECOND_NS,
            drain_ns: 0,
        };
        let stage = |seconds: u64, from: f64, to: f64| Stage::line(seconds * SECOND_NS, from, to);
        let check = |stages: &[Stage], expected: f64| {
            let offered = offered_in_measure(stages, &phases);
            assert!(
                (offered - expected).abs() < 1e-6,
                "{offered} for {stages:?}"
            );
        };
        check(&[stage(35, 100.0, 100.0)], 2000.0);
        // The ramp is at 10/s after the warm-up and at 20/s from second 20 on.
        check(&[stage(20, 0.0, 20.0)], 10.0 * 15.0 + 10.0 * 20.0);
        check(&[stage(5, 1.0, 1.0), stage(10, 4.0, 4.0)], 80.0);
        check(&[stage(5, 1.0, 1.0)], 20.0);
        check(&[], 0.0);
    }

    #[test]
    fn only_what_a_pattern_finds_by_the_way_is_out_of_reach() {
        let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                    [load.a]\nopen = { rate = \"100/s\", max_in_flight = 9 }\n[phases]\nmeasure = \"30s\"\n";
        let scenario = super::super::parse(text, std::path::Path::new("s.toml")).unwrap();
        let out = |metric: &str| {
            let gate = GatePlan {
                regress: Some(0.05),
                ..GatePlan::on(metric)
            };
            out_of_reach(&scenario.plans[0], &gate)
        };
        // 3000 requests: 150 lie beyond p95, 30 beyond p99 and 3 beyond p999.
        assert_eq!(
            out("load.a.service.*"),
            ["load.a.service.p99", "load.a.service.p999"]
        );
        assert!(out("load.*.p99").is_empty());
        assert!(out("*p99").is_empty());
        assert!(out("load.a.p99").is_empty());
    }
}
