//! Whether a load makes requests enough for a quantile.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt;

use super::catalogue::{
    self, LatencyStat, LoadMetric, MetricKey, MetricSpec, Quantile, RequestMetric,
};
use super::plan::{
    Arrivals, ConditionPlan, GatePlan, LoadPlan, PhasePlan, Plan, Reuse, Spacing, Stage, StepPlan,
};
use crate::harness::model::quantile::{NEEDED_BEYOND, is_too_few};

/// How few requests there will be for a quantile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shortfall {
    /// The quantile.
    pub(crate) quantile: Quantile,
    /// The requests (iterations, groups) that are offered in the measure phase, or at the lowest rate
    /// of a search.
    pub(crate) expected: f64,
    /// Those of them that lie beyond the quantile.
    pub(crate) beyond: f64,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "about {} of {} lie beyond it; {NEEDED_BEYOND} are needed",
            self.beyond.round(),
            self.expected.round(),
        )
    }
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
        .filter(|spec| is_out_of_reach(plan, spec, &gate.metric))
        .map(MetricSpec::path)
        .collect()
}

/// What gates of the plan ask for by name and can't get, a sentence each: nothing, but where a call
/// changed rates or times after the plan was checked.
pub fn not_measurable(plan: &Plan) -> Vec<String> {
    let asked: BTreeMap<String, MetricSpec> = plan
        .gates
        .iter()
        .flat_map(|gate| {
            let found = catalogue::select(plan, &gate.metric).unwrap_or_default();
            let found = found.into_iter().map(|spec| (spec.path(), spec));
            found.filter(|(path, _)| is_asked_for_by_name(path, &gate.metric))
        })
        .collect();
    let too_few = asked.iter().filter_map(|(path, spec)| {
        let shortfall = shortfall(plan, spec)?;
        Some(format!("{path} can't be judged: {shortfall}"))
    });
    too_few.collect()
}

/// Whether a gate on `metric` finds this by a pattern, without spelling it, and the plan has too few
/// requests for it.
pub(super) fn is_out_of_reach(plan: &Plan, spec: &MetricSpec, metric: &str) -> bool {
    shortfall(plan, spec).is_some() && !is_asked_for_by_name(&spec.path(), metric)
}

/// By how much the plan's requests are too few for a metric; `None` where they are enough, and where
/// it can't be known: a closed load makes as many as it can, and what a condition decides nobody
/// knows beforehand.
pub(crate) fn shortfall(plan: &Plan, spec: &MetricSpec) -> Option<Shortfall> {
    let (load, of, stat) = latency(&spec.key)?;
    let LatencyStat::Quantile(quantile) = stat else {
        return None;
    };
    let load = plan.load(load)?;
    let flow = plan.flows.get(&load.flow)?;
    let per_iteration = match of {
        Of::Iterations => 1.0,
        Of::Connections => connections(&flow.steps, plan.http.reuse)?,
        of => expected(&flow.steps, &|step| of.counts(step))?,
    };
    let expected = offered(load, &plan.phases)? * per_iteration;
    let beyond = expected * (1.0 - quantile.fraction());
    // Not a number stands for a rate that is itself wrong.
    is_too_few(beyond).then_some(Shortfall {
        quantile,
        expected,
        beyond,
    })
}

/// What a latency is that of.
#[derive(Clone, Copy)]
enum Of<'a> {
    Iterations,
    AllRequests,
    Requests(&'a str),
    Groups(&'a str),
    /// Requests to which a server answers with a head.
    Answers,
    Connections,
}

impl Of<'_> {
    /// Whether a step makes one.
    fn counts(self, step: &StepPlan) -> bool {
        let request = match step {
            StepPlan::Request(request) => Some(&request.name),
            StepPlan::Open(open) => Some(&open.name),
            StepPlan::Expect(expect) => Some(&expect.name),
            _ => None,
        };
        match self {
            Self::AllRequests => request.is_some(),
            Self::Requests(name) => request.is_some_and(|request| request == name),
            Self::Groups(group) => {
                matches!(step, StepPlan::Group { name, .. } if name == group)
            }
            Self::Answers => matches!(step, StepPlan::Request(_) | StepPlan::Open(_)),
            Self::Iterations | Self::Connections => false,
        }
    }
}

/// The load, the requests and the number that a latency metric is made of.
fn latency(key: &MetricKey) -> Option<(&str, Of<'_>, LatencyStat)> {
    match key {
        MetricKey::Load { load, what } => match *what {
            LoadMetric::Response(stat) | LoadMetric::Service(stat) => {
                Some((load, Of::AllRequests, stat))
            }
            LoadMetric::Iteration(stat) => Some((load, Of::Iterations, stat)),
            LoadMetric::FirstByte(stat) => Some((load, Of::Answers, stat)),
            LoadMetric::Dns(stat) | LoadMetric::Connect(stat) | LoadMetric::Tls(stat) => {
                Some((load, Of::Connections, stat))
            }
            LoadMetric::Capacity
            | LoadMetric::CapacityShare
            | LoadMetric::Rate
            | LoadMetric::Achieved
            | LoadMetric::ErrorRate
            | LoadMetric::Lost
            | LoadMetric::Dropped
            | LoadMetric::BytesRate => None,
        },
        MetricKey::Request {
            load,
            request,
            what: RequestMetric::Response(stat) | RequestMetric::Service(stat),
        } => Some((load, Of::Requests(request), *stat)),
        MetricKey::Group { load, group, stat } => Some((load, Of::Groups(group), *stat)),
        _ => None,
    }
}

/// How many connections an iteration is expected to make: one for each stream, and for requests one each,
/// one if there is any, or none, where that of their user is kept. `None` where nobody knows, which is so
/// too where only such a connection is left.
fn connections(steps: &[StepPlan], reuse: Reuse) -> Option<f64> {
    let streams = expected(steps, &|step| matches!(step, StepPlan::Open(_)))?;
    let own = match reuse {
        Reuse::Request => expected(steps, &|step| matches!(step, StepPlan::Request(_)))?,
        Reuse::Iteration => 1.0 - without_request(steps)?,
        Reuse::User if streams == 0.0 => return None,
        Reuse::User => 0.0,
    };
    Some(streams + own)
}

/// The share of iterations that send no request with these steps; `None` where that depends on what the
/// target answers.
fn without_request(steps: &[StepPlan]) -> Option<f64> {
    let each = steps.iter().map(|step| match step {
        StepPlan::Request(_) => Some(0.0),
        StepPlan::Group { steps, .. } => without_request(steps),
        // It has a first pass in any case, and others where that has sent nothing.
        StepPlan::Repeat {
            times,
            until,
            steps,
        } => match (without_request(steps)?, until) {
            (sure, _) if sure == 0.0 || sure == 1.0 => Some(sure),
            (_, Some(_)) => None,
            (once, None) => {
                let passes = times.min..=times.max;
                let count = f64::from(times.max - times.min) + 1.0;
                let none = passes.map(|passes| once.powf(f64::from(passes)));
                Some(none.sum::<f64>() / count)
            }
        },
        StepPlan::If {
            condition,
            then,
            otherwise,
        } => {
            let (then, otherwise) = (without_request(then)?, without_request(otherwise)?);
            match condition {
                ConditionPlan::Chance(share) => Some(share * then + (1.0 - share) * otherwise),
                ConditionPlan::Value { .. } => (then == otherwise).then_some(then),
            }
        }
        StepPlan::Choose(branches) => {
            let weights: f64 = branches.iter().map(|branch| branch.weight).sum();
            let weighted = branches
                .iter()
                .map(|branch| Some(branch.weight * without_request(&branch.steps)?));
            Some(weighted.sum::<Option<f64>>()? / weights)
        }
        StepPlan::Open(_)
        | StepPlan::Send(_)
        | StepPlan::Expect(_)
        | StepPlan::Close
        | StepPlan::Think(_) => Some(1.0),
    });
    // One that surely sends decides, whatever nobody knows of the others.
    let each: Vec<Option<f64>> = each.collect();
    match each.contains(&Some(0.0)) {
        true => Some(0.0),
        false => each.into_iter().product(),
    }
}

/// How many of the steps that count an iteration is expected to perform, those inside of others
/// included; `None` where that depends on what the target answers.
fn expected(steps: &[StepPlan], counts: &dyn Fn(&StepPlan) -> bool) -> Option<f64> {
    let all = steps.iter().map(|step| {
        let own = f64::from(u8::from(counts(step)));
        let inside = match step {
            StepPlan::Group { steps, .. } => expected(steps, counts)?,
            StepPlan::Repeat {
                times,
                until,
                steps,
            } => {
                let each = expected(steps, counts)?;
                match until {
                    None => each * (f64::from(times.min) + f64::from(times.max)) / 2.0,
                    Some(_) if each == 0.0 => 0.0,
                    Some(_) => return None,
                }
            }
            StepPlan::If {
                condition,
                then,
                otherwise,
            } => {
                let (then, otherwise) = (expected(then, counts)?, expected(otherwise, counts)?);
                match condition {
                    ConditionPlan::Chance(share) => share * then + (1.0 - share) * otherwise,
                    ConditionPlan::Value { .. } if then == otherwise => then,
                    ConditionPlan::Value { .. } => return None,
                }
            }
            StepPlan::Choose(branches) => {
                let weights: f64 = branches.iter().map(|branch| branch.weight).sum();
                let weighted = branches
                    .iter()
                    .map(|branch| Some(branch.weight * expected(&branch.steps, counts)?));
                weighted.sum::<Option<f64>>()? / weights
            }
            StepPlan::Request(_)
            | StepPlan::Open(_)
            | StepPlan::Send(_)
            | StepPlan::Expect(_)
            | StepPlan::Close
            | StepPlan::Think(_) => 0.0,
        };
        Some(own + inside)
    });
    all.sum()
}

/// How many iterations a load surely offers in the measure phase, or at the lowest rate of a search; NaN
/// where its stages are wrong. `None` for a closed load. Of a trace it is what it has altogether: no
/// more can be in the phase.
fn offered(load: &LoadPlan, phases: &PhasePlan) -> Option<f64> {
    match &load.arrivals {
        Arrivals::Open {
            stages, spacing, ..
        } => {
            let mean = offered_in_measure(stages, phases);
            Some(match spacing {
                Spacing::Even => mean,
                // Three standard deviations less, of a Poisson distribution: one of 700 seeds has fewer.
                Spacing::Poisson => (mean - 3.0 * mean.sqrt()).max(0.0),
            })
        }
        Arrivals::Trace { arrivals, .. } => Some(*arrivals as f64),
        Arrivals::Capacity { from, hold_ns, .. } => Some(from * *hold_ns as f64 / 1e9),
        Arrivals::Closed { .. } => None,
    }
}

/// How many iterations stages offer in the measure phase; NaN where they are wrong.
fn offered_in_measure(stages: &[Stage], phases: &PhasePlan) -> f64 {
    let start_ns = phases.warmup_ns as f64;
    let end_ns = start_ns + phases.measure_ns as f64;
    let mut offered = 0.0;
    let mut at_ns = 0.0;
    for (index, stage) in stages.iter().enumerate() {
        let written_ns = at_ns + stage.duration_ns as f64;
        // The last stage lasts until the end.
        let is_last = index + 1 == stages.len();
        let ends_ns = if is_last {
            written_ns.max(end_ns)
        } else {
            written_ns
        };
        let (low, high) = (start_ns.max(at_ns), end_ns.min(ends_ns));
        if high > low {
            offered += area(stage, low - at_ns, high - at_ns);
        }
        at_ns = ends_ns;
    }
    offered
}

/// The integral of a stage between two times from its start in ns, beyond its end too: then it goes on
/// with its wave, or else with its last value.
fn area(stage: &Stage, low_ns: f64, high_ns: f64) -> f64 {
    let length_ns = stage.duration_ns as f64;
    let (low_inside, high_inside) = (low_ns.min(length_ns), high_ns.min(length_ns));
    let mut area = 0.0;
    if high_inside > low_inside {
        let slope = (stage.to - stage.from) / length_ns;
        let middle = stage.from + slope * (low_inside + high_inside) / 2.0;
        area += middle * (high_inside - low_inside);
    }
    area += stage.to * (high_ns - low_ns.max(length_ns)).max(0.0);
    if let Some(wave) = stage.wave {
        let angle_per_ns = TAU / wave.period_ns as f64;
        let swing = (angle_per_ns * low_ns).cos() - (angle_per_ns * high_ns).cos();
        area += wave.amplitude * swing / angle_per_ns;
    }
    area / 1e9
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::scenario::{
        BranchPlan, OpenPlan, RequestPlan, StreamKind, Template, TestPlan, ThinkPlan, TimesPlan,
        Wave,
    };

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
        check(&[stage(20, 0.0, 10.0)], 7.5 * 10.0 + 100.0);
        check(&[], 0.0);
    }

    #[test]
    fn a_wave_is_added_to_its_stage_and_goes_on_to_the_end() {
        let phases = PhasePlan {
            warmup_ns: 10 * SECOND_NS,
            measure_ns: 20 * SECOND_NS,
            cooldown_ns: 0,
            drain_ns: 0,
        };
        let wave = |seconds: u64, mean: f64, amplitude: f64, period_s: u64| Stage {
            wave: Some(Wave {
                amplitude,
                period_ns: period_s * SECOND_NS,
            }),
            ..Stage::constant(seconds * SECOND_NS, mean)
        };
        let check = |stages: &[Stage], expected: f64| {
            let offered = offered_in_measure(stages, &phases);
            assert!(
                (offered - expected).abs() < 1e-6,
                "{offered} for {stages:?}"
            );
        };
        // Whole waves have the mean, half a wave has 2·amplitude·period/2π more or less.
        check(&[wave(30, 100.0, 50.0, 10)], 2000.0);
        check(&[wave(30, 100.0, 50.0, 40)], 2000.0);
        let half = 50.0 * 40.0 / std::f64::consts::PI;
        let constant = Stage::constant(10 * SECOND_NS, 7.0);
        check(&[constant, wave(20, 100.0, 50.0, 40)], 2000.0 + half);
        // Prolonged from second 15 on.
        check(&[constant, wave(5, 100.0, 50.0, 40)], 2000.0 + half);
        check(&[wave(10, 1.0, 1.0, 1), constant], 140.0);
    }

    #[test]
    fn the_requests_of_an_iteration_are_expected_where_nobody_has_to_ask_the_target() {
        let request = || StepPlan::from(RequestPlan::get("/"));
        let other = || {
            let request = RequestPlan {
                name: "other".into(),
                ..RequestPlan::get("/o")
            };
            StepPlan::from(request)
        };
        let check = |steps: &[StepPlan], all: Option<f64>, named: Option<f64>| {
            let count = |of: Of<'_>| expected(steps, &|step| of.counts(step));
            assert_eq!(count(Of::AllRequests), all, "{steps:?}");
            assert_eq!(count(Of::Requests("other")), named, "{steps:?}");
        };
        let unknown = || ConditionPlan::Value {
            value: Template::literal("a"),
            test: TestPlan::Above(1.0),
        };
        let choice = |condition, then, otherwise| StepPlan::If {
            condition,
            then,
            otherwise,
        };
        let repeat = |min, max, until, steps| StepPlan::Repeat {
            times: TimesPlan { min, max },
            until,
            steps,
        };
        check(&[request(), other(), request()], Some(3.0), Some(1.0));
        let group = StepPlan::Group {
            name: "g".into(),
            steps: vec![other(), StepPlan::Think(ThinkPlan::Constant(1))],
        };
        check(&[request(), group], Some(2.0), Some(1.0));
        check(&[repeat(2, 5, None, vec![other()])], Some(3.5), Some(3.5));
        let until = repeat(2, 5, Some(unknown()), vec![request()]);
        check(&[other(), until], None, Some(1.0));
        let chance = choice(ConditionPlan::Chance(0.25), vec![other()], vec![request()]);
        check(&[chance], Some(1.0), Some(0.25));
        let asked = choice(unknown(), vec![other()], vec![request()]);
        check(&[asked], Some(1.0), None);
        let branch = |weight, steps| BranchPlan { weight, steps };
        let choose = StepPlan::Choose(vec![
            branch(3.0, vec![other()]),
            branch(1.0, vec![]),
            branch(4.0, vec![request(), other()]),
        ]);
        check(&[choose], Some(11.0 / 8.0), Some(7.0 / 8.0));
    }

    #[test]
    fn connections_are_those_of_streams_and_of_iterations_that_send_a_request() {
        let request = || StepPlan::from(RequestPlan::get("/"));
        let stream = || {
            StepPlan::Open(Box::new(OpenPlan {
                name: "websocket /".into(),
                kind: StreamKind::WebSocket,
                address: RequestPlan::get("/").address,
                timeout_ns: 1,
            }))
        };
        let chance = |share, steps| StepPlan::If {
            condition: ConditionPlan::Chance(share),
            then: steps,
            otherwise: vec![],
        };
        let repeat = |max, steps| StepPlan::Repeat {
            times: TimesPlan { min: 1, max },
            until: None,
            steps,
        };
        let asked = |steps| StepPlan::If {
            condition: ConditionPlan::Value {
                value: Template::literal("a"),
                test: TestPlan::Above(1.0),
            },
            then: steps,
            otherwise: vec![],
        };
        let check = |steps: Vec<StepPlan>, expected: [Option<f64>; 3]| {
            let reuses = [Reuse::User, Reuse::Iteration, Reuse::Request];
            assert_eq!(
                reuses.map(|reuse| connections(&steps, reuse)),
                expected,
                "{steps:?}"
            );
        };
        check(vec![request(), request()], [None, Some(1.0), Some(2.0)]);
        check(
            vec![request(), stream(), stream()],
            [Some(2.0), Some(3.0), Some(3.0)],
        );
        check(vec![stream()], [Some(1.0); 3]);
        check(
            vec![chance(0.25, vec![request(), request()])],
            [None, Some(0.25), Some(0.5)],
        );
        // Once, or twice: one in two and three in four send.
        check(
            vec![repeat(2, vec![chance(0.5, vec![request()])])],
            [None, Some(1.0 - (0.5 + 0.25) / 2.0), Some(0.75)],
        );
        check(vec![asked(vec![request()])], [None, None, None]);
        check(
            vec![asked(vec![request()]), request()],
            [None, Some(1.0), None],
        );
    }

    #[test]
    fn what_is_too_little_depends_on_how_it_comes_about() {
        let check = |load: &str, http: &str, metric: &str, expected: Option<f64>| {
            let text = format!(
                "schema = 1\nname = \"s\"\nurl = \"http://localhost:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                 [[flow.f.step]]\nget = \"/b\"\n[load.a]\n{load}\n[phases]\nwarmup = \"0s\"\n\
                 [[gate]]\nmetric = \"load.a.mean\"\nmax = \"1s\"\n"
            );
            let path = std::path::Path::new("s.toml");
            let scenario = super::super::parse(&text, path).unwrap();
            let mut plan = scenario.plans[0].clone();
            plan.http.reuse = match http {
                "request" => Reuse::Request,
                "iteration" => Reuse::Iteration,
                _ => Reuse::User,
            };
            let spec = &catalogue::select(&plan, metric).unwrap()[0];
            let found = shortfall(&plan, spec).map(|shortfall| shortfall.expected);
            assert_eq!(found, expected, "{load} {http} {metric}");
        };
        let open = "open = { rate = \"10/s\" }";
        check(open, "", "load.a.p95", Some(600.0));
        check(open, "", "load.a.first_byte.p95", Some(600.0));
        check(open, "", "load.a.iteration.p95", Some(300.0));
        check(open, "", "load.a.connect.p95", None);
        check(open, "iteration", "load.a.connect.p95", Some(300.0));
        check(open, "request", "load.a.dns.p95", Some(600.0));
        check(open, "", "load.a.p50", None);
        check("closed = { users = 1 }", "", "load.a.p999", None);
        // 3600, of which some seeds have fewer: two requests each.
        let random = "open = { rate = \"120/s\", arrivals = \"poisson\" }";
        let surely = 3600.0 - 3.0 * 60.0;
        check(random, "", "load.a.iteration.p95", None);
        check(random, "", "load.a.iteration.p99", Some(surely));
        check(random, "", "load.a.p99", Some(2.0 * surely));
        let capacity = "capacity = { from = \"10/s\", to = \"90/s\", hold = \"20s\" }";
        check(capacity, "", "load.a.p95", Some(400.0));
        check(capacity, "", "load.a.p50", None);
        // Beside a search, too, each rate is measured for its hold.
        let beside = format!("{capacity}\n[load.b]\nopen = {{ rate = \"10/s\" }}");
        check(&beside, "", "load.b.p95", Some(400.0));
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

    #[test]
    fn what_was_asked_for_and_is_gone_with_shorter_times_is_told() {
        let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                    [load.a]\nopen = { rate = \"100/s\", max_in_flight = 9 }\n[phases]\nmeasure = \"30s\"\n\
                    [[gate]]\nmetric = \"*p95\"\nmax = \"1s\"\n[[gate]]\nmetric = \"load.a.service.*\"\nregress = \"5%\"\n";
        let scenario = super::super::parse(text, std::path::Path::new("s.toml")).unwrap();
        let mut plan = scenario.plans[0].clone();
        assert!(not_measurable(&plan).is_empty());
        plan.phases.measure_ns = 19_000_000_000;
        let told = not_measurable(&plan);
        let of = "95 of 1900 lie beyond it; 100 are needed";
        let expected = format!("load.a.p95 can't be judged: about {of}");
        assert!(told.contains(&expected), "{told:?}");
        assert!(told.iter().all(|told| told.contains(".p95 ")), "{told:?}");
    }
}
