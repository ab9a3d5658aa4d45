//! Comparison and policy → verdict: precedence, exit codes, limits, warnings, the saved form.

use plimsoll::harness::compare::{Between, Design, Noise, Settings, compare};
use plimsoll::harness::gate::{
    MetricOutcome, Outcome, Policy, Reason, Verdict, Warning, exit, unmeasured,
};
use plimsoll::harness::model::{
    Aborted, ArrivalModel, CapacitySearch, CapacityTrial, Direction, Fingerprint, InvalidReason,
    LoadMeasurement, Metric, Run, TrialOutcome, Unit,
};
use plimsoll::harness::scenario::{self, GatePlan, IMPLIED_ERROR_RATE_MAX, Plan};

use crate::runs::*;

/// Five pairs of a machine that drifts by 20 % while they are measured, with `slowdown` in the head.
fn drifting(slowdown: f64) -> (Vec<Run>, Vec<Run>) {
    let base = [100.0, 105.0, 110.0, 115.0, 120.0];
    let noise = [1.001, 0.998, 1.002, 1.0, 0.999];
    let head: Vec<f64> = base
        .iter()
        .zip(noise)
        .map(|(b, n)| b * n * slowdown)
        .collect();
    (paired("load.a.p95", &base), paired("load.a.p95", &head))
}

fn gate(policy: &Policy, (base, head): &(Vec<Run>, Vec<Run>)) -> Verdict {
    let comparison = compared(base, head, Design::of(base, head));
    judged(policy, base, head, Some(&comparison))
}

fn limit(metric: &str, min: Option<f64>, max: Option<f64>) -> GatePlan {
    GatePlan {
        max,
        min,
        ..GatePlan::on(metric)
    }
}

fn five_percent() -> Policy {
    policy(vec![margin("load.a.p95", 0.05)])
}

#[test]
fn a_planted_slowdown_fails_and_the_same_build_passes() {
    let check = |slowdown, outcome, metric, code| {
        let verdict = gate(&five_percent(), &drifting(slowdown));
        assert_eq!(verdict.verdict, outcome, "slowdown {slowdown}: {verdict:?}");
        assert_eq!(verdict.metrics[0].verdict, metric, "slowdown {slowdown}");
        assert_eq!(verdict.exit_code, code, "slowdown {slowdown}");
    };
    check(1.0, Outcome::Pass, MetricOutcome::Unchanged, exit::PASS);
    check(1.03, Outcome::Pass, MetricOutcome::Unchanged, exit::PASS);
    check(
        1.06,
        Outcome::Fail,
        MetricOutcome::Regressed,
        exit::REGRESSION,
    );
    check(
        1.3,
        Outcome::Fail,
        MetricOutcome::Regressed,
        exit::REGRESSION,
    );
    check(0.8, Outcome::Pass, MetricOutcome::Improved, exit::PASS);
}

#[test]
fn the_worst_regression_is_told_first() {
    let (mut base, mut head) = drifting(1.2);
    // As much worse as the first, against a smaller margin; and worse still, against a larger one.
    for (name, slowdown) in [("load.b.p95", 1.2), ("load.c.p95", 1.3)] {
        let (like_base, like_head) = drifting(slowdown);
        let runs = base.iter_mut().chain(&mut head);
        for (run, like) in runs.zip(like_base.iter().chain(&like_head)) {
            let value = like.metrics[0].value().expect("a value");
            run.metrics.push(lower(name, value));
        }
    }
    let policy = policy(vec![
        margin("load.a.p95", 0.1),
        margin("load.b.p95", 0.05),
        margin("load.c.p95", 0.25),
        limit("load.c.p95", None, Some(1.0)),
    ]);
    let reasons = gate(&policy, &(base, head)).reasons;
    let regressed = |metric: &str| Reason::Regressed {
        metric: metric.to_owned(),
    };
    let broken = Reason::LimitBroken {
        metric: "load.c.p95".to_owned(),
    };
    let worst_first = ["load.b.p95", "load.a.p95", "load.c.p95"].map(regressed);
    assert_eq!(reasons, [vec![broken], worst_first.to_vec()].concat());
}

#[test]
fn what_gates_is_what_the_scenario_names() {
    let (mut base, mut head) = drifting(1.3);
    for run in base.iter_mut().chain(&mut head) {
        run.metrics.push(lower("load.b.p95", 1.0));
    }
    let verdict = gate(&policy(vec![margin("load.b.*", 0.05)]), &(base, head));
    assert_eq!((verdict.verdict, verdict.exit_code), (Outcome::Pass, 0));
    let shown = verdict
        .metrics
        .iter()
        .find(|metric| metric.name == "load.a.p95")
        .expect("load.a.p95");
    assert_eq!(
        (shown.verdict, shown.gating),
        (MetricOutcome::Regressed, false)
    );
    assert_eq!(shown.margin, None);
}

#[test]
fn invalid_beats_everything() {
    let (base, mut head) = drifting(1.3);
    head[2].invalid.push(InvalidReason::Dropped {
        load: "a".into(),
        dropped: 9,
        offered: 100,
        allowed: 0.001,
    });
    let mut policy = five_percent();
    policy.gates.push(limit("load.a.p95", None, Some(1.0)));
    let verdict = gate(&policy, &(base.clone(), head));
    assert_eq!(
        (verdict.verdict, verdict.exit_code),
        (Outcome::Invalid, exit::INVALID)
    );
    assert!(
        matches!(&verdict.reasons[..], [Reason::InvalidRun { run, .. }] if run == "head run 3"),
        "{:?}",
        verdict.reasons
    );
    assert_eq!(verdict.metrics[0].verdict, MetricOutcome::NotMeasurable);
    assert_eq!(verdict.limits[0].holds, None);

    let (mut base, head) = drifting(1.0);
    base[0].partial = true;
    let verdict = gate(&policy, &(base, head));
    assert_eq!(verdict.exit_code, exit::INVALID);
    assert_eq!(
        verdict.reasons,
        [Reason::PartialRun {
            run: "base run 1".into()
        }]
    );
}

/// That a limit on `load.a.p95` of at most one ended a run.
fn ended() -> Aborted {
    Aborted {
        metric: "load.a.p95".into(),
        unit: Unit::Nanoseconds,
        value: 7.0,
        limit: 1.0,
        at_ns: 9_000_000_000,
    }
}

/// It is red although the run is none that could be judged to its end, and nothing else is judged of it.
#[test]
fn a_limit_that_ended_a_run_is_broken() {
    let (base, mut head) = drifting(1.3);
    head[2].partial = true;
    head[2].aborted = Some(ended());
    let mut policy = five_percent();
    policy.gates.push(limit("load.a.p95", None, Some(1.0)));
    policy.gates.push(limit("load.a.p95", None, Some(2.0)));
    let verdict = gate(&policy, &(base.clone(), head.clone()));
    assert_eq!(
        (verdict.verdict, verdict.exit_code),
        (Outcome::Fail, exit::REGRESSION)
    );
    let reason = Reason::Aborted {
        run: "head run 3".into(),
        aborted: ended(),
    };
    assert_eq!(verdict.reasons, [reason]);
    assert_eq!(verdict.metrics[0].verdict, MetricOutcome::NotMeasurable);
    let limits: Vec<_> = verdict.limits.iter().map(|it| (it.max, it.holds)).collect();
    assert_eq!(limits, [(Some(1.0), Some(false)), (Some(2.0), None)]);
    assert_eq!(verdict.limits[0].value, Some(7.0));

    // An invalid run beside it says that the measurement can't be trusted.
    head[0]
        .invalid
        .push(InvalidReason::NothingMeasured { load: "a".into() });
    let verdict = gate(&policy, &(base.clone(), head));
    assert_eq!(verdict.exit_code, exit::INVALID);

    // What ended a base says nothing against the head, but leaves nothing to compare it with.
    let (mut base, head) = drifting(1.0);
    base[1].partial = true;
    base[1].aborted = Some(ended());
    let verdict = gate(&policy, &(base, head));
    assert_eq!(verdict.exit_code, exit::INVALID);
    let partial = Reason::PartialRun {
        run: "base run 2".into(),
    };
    assert_eq!(verdict.reasons, [partial]);
}

#[test]
fn other_conditions_are_no_pass_and_no_regression() {
    for slowdown in [1.0, 1.3] {
        let (base, mut head) = drifting(slowdown);
        for run in &mut head {
            run.fingerprint = Fingerprint {
                cpu_model: "another".into(),
                ..fingerprint()
            };
        }
        let verdict = gate(&five_percent(), &(base, head));
        assert_eq!((verdict.verdict, verdict.exit_code), (Outcome::Invalid, 13));
        let [Reason::NotComparable { differences }] = &verdict.reasons[..] else {
            panic!("{:?}", verdict.reasons);
        };
        assert_eq!(
            (differences[0].field.as_str(), differences.len()),
            ("cpu_model", 1)
        );
    }
}

#[test]
fn inconclusive_is_said_and_fails_only_under_strict() {
    let runs = (
        paired("m", &[100.0, 100.0, 100.0]),
        paired("m", &[90.0, 130.0, 105.0]),
    );
    let mut policy = policy(vec![margin("m", 0.05)]);
    let verdict = gate(&policy, &runs);
    assert_eq!(
        (verdict.verdict, verdict.exit_code),
        (Outcome::Inconclusive, 0)
    );
    let [
        Warning::Underpowered {
            mde,
            margin,
            pairs_needed,
            ..
        },
    ] = verdict.warnings[..]
    else {
        panic!("{:?}", verdict.warnings);
    };
    assert!(mde > margin && pairs_needed.is_some_and(|pairs| pairs > 3));
    policy.strict = true;
    assert_eq!(gate(&policy, &runs).exit_code, exit::INCONCLUSIVE);
}

#[test]
fn without_a_base_only_the_limits_decide() {
    let (_, head) = drifting(1.0);
    let mut policy = five_percent();
    let verdict = judged(&policy, &[], &head, None);
    assert_eq!((verdict.verdict, verdict.exit_code), (Outcome::Pass, 0));
    assert_eq!(verdict.reasons, [Reason::NoBaseline]);

    policy.require_baseline = true;
    let verdict = judged(&policy, &[], &head, None);
    assert_eq!(
        (verdict.verdict, verdict.exit_code),
        (Outcome::NoBaseline, exit::NO_BASELINE)
    );

    policy.gates.push(limit("load.a.p95", None, Some(100.0)));
    let verdict = judged(&policy, &[], &head, None);
    assert_eq!(
        (verdict.verdict, verdict.exit_code),
        (Outcome::Fail, exit::REGRESSION)
    );

    // A limit that can't be judged may pass; the missing baseline may not.
    policy.gates[1] = limit("probe.gone", None, Some(1.0));
    assert_eq!(
        judged(&policy, &[], &head, None).exit_code,
        exit::NO_BASELINE
    );

    // Who compares nothing misses no baseline.
    policy.gates = vec![limit("load.a.p95", None, Some(1e9))];
    assert_eq!(judged(&policy, &[], &head, None).reasons, []);
}

#[test]
fn limits_are_judged_on_the_median_of_the_runs() {
    let head = paired("m", &[1.0, 2.0, 3.0, 4.0, 100.0]);
    let check = |min, max, holds| {
        let verdict = judged(&policy(vec![limit("m", min, max)]), &[], &head, None);
        let found = &verdict.limits[0];
        assert_eq!(found.holds, Some(holds), "{min:?} {max:?}");
        assert_eq!(
            (found.value, found.low, found.high, found.n),
            (Some(3.0), Some(1.0), Some(100.0), 5)
        );
        assert_eq!(verdict.exit_code, if holds { 0 } else { exit::REGRESSION });
    };
    check(None, Some(3.0), true);
    check(None, Some(2.9), false);
    check(Some(3.0), None, true);
    check(Some(3.1), None, false);
    check(Some(1.0), Some(2.0), false);
}

#[test]
fn a_pattern_is_a_limit_on_each_that_it_matches() {
    let head = vec![run(
        "s",
        None,
        vec![lower("load.a.p95", 1.0), lower("load.b.p95", 9.0)],
    )];
    let verdict = judged(
        &policy(vec![limit("load.*.p95", None, Some(5.0))]),
        &[],
        &head,
        None,
    );
    let holds: Vec<_> = verdict
        .limits
        .iter()
        .map(|l| (l.metric.as_str(), l.holds))
        .collect();
    assert_eq!(
        holds,
        [("load.a.p95", Some(true)), ("load.b.p95", Some(false))]
    );
    assert_eq!(
        verdict.reasons,
        [Reason::LimitBroken {
            metric: "load.b.p95".into()
        }]
    );
}

#[test]
fn a_limit_on_nothing_is_no_pass() {
    for (head, expected) in [
        (
            vec![run("s", None, vec![unmeasurable("m")])],
            "only 12 requests lie beyond p99",
        ),
        (vec![run("s", None, vec![])], "no run has this metric"),
        (vec![], "no run has this metric"),
    ] {
        let verdict = judged(&policy(vec![limit("m", None, Some(5.0))]), &[], &head, None);
        assert_eq!(
            (verdict.verdict, verdict.limits[0].holds),
            (Outcome::Inconclusive, None)
        );
        let [Reason::NotMeasurable { reason, .. }] = &verdict.reasons[..] else {
            panic!("{:?}", verdict.reasons);
        };
        assert_eq!(reason, expected);
    }
}

/// No errors in N requests mean at most 3/N: a smaller cap has not been shown to hold.
#[test]
fn a_cap_on_errors_needs_enough_requests() {
    let cap = policy(vec![limit("load.a.error_rate", None, Some(0.001))]);
    let check = |errors, requests: u64, warned| {
        let half = || {
            run(
                "s",
                None,
                vec![error_rate("load.a.error_rate", errors, requests / 2)],
            )
        };
        let verdict = judged(&cap, &[], &[half(), half()], None);
        assert_eq!(verdict.verdict, Outcome::Pass);
        assert_eq!(
            !verdict.warnings.is_empty(),
            warned,
            "{:?}",
            verdict.warnings
        );
    };
    check(0, 2_998, true);
    check(0, 3_000, false);
    check(1, 2_998, false); // there is an error to judge by
}

/// A load of one request and that request are the same requests.
#[test]
fn what_is_not_proven_is_said_once() {
    let check = |requests: u64, metrics: [&str; 2], expected: &[&str]| {
        let caps = metrics.map(|metric| limit(metric, None, Some(0.001)));
        let rates = [
            error_rate(metrics[0], 0, 1000),
            error_rate(metrics[1], 0, requests),
        ];
        let verdict = judged(
            &policy(caps.to_vec()),
            &[],
            &[run("s", None, rates.into())],
            None,
        );
        let said = verdict.warnings.iter().map(|warning| match warning {
            Warning::Unproven { metric, needed, .. } => (metric.as_str(), *needed),
            other => panic!("{other:?}"),
        });
        let expected = expected.iter().map(|metric| (*metric, 3000));
        assert!(said.eq(expected), "{:?}", verdict.warnings);
    };
    let (load, request, other) = (
        "load.a.error_rate",
        "load.a.get.error_rate",
        "load.b.error_rate",
    );
    check(1000, [load, request], &[load]);
    check(1000, [request, load], &[request]);
    check(999, [load, request], &[load, request]);
    check(1000, [load, other], &[load, other]);
}

/// Whatever ended it before the head was run: there is a verdict, and it is none.
#[test]
fn what_was_never_run_is_invalid() {
    let check = |base: &[Run], expected: &str| {
        let verdict = unmeasured(&five_percent(), base);
        assert_eq!(
            (verdict.verdict, verdict.exit_code),
            (Outcome::Invalid, exit::INVALID)
        );
        let [reason] = &verdict.reasons[..] else {
            panic!("{:?}", verdict.reasons);
        };
        assert!(format!("{reason:?}").contains(expected), "{reason:?}");
    };
    check(&[], "PartialRun { run: \"head run 1\" }");
    let mut base = drifting(1.0).0;
    base.truncate(1);
    check(&base, "PartialRun { run: \"head run 1\" }");
    base[0].invalid = vec![InvalidReason::NothingMeasured { load: "a".into() }];
    check(
        &base,
        "InvalidRun { run: \"base run 1\", reason: NothingMeasured",
    );
}

/// The rate of an open load follows what is offered; that it can't any more shows in the share.
#[test]
fn throughput_of_an_open_load_is_its_achieved_share() {
    let head = |achieved: f64| -> Vec<Run> {
        let rate = Metric::single("load.a.rate", Unit::PerSecond, Direction::Higher, 500.0, 1);
        let share = Metric::single(
            "load.a.achieved",
            Unit::Ratio,
            Direction::Higher,
            achieved,
            1,
        );
        vec![run("s", None, vec![rate, share])]
    };
    let mut policy = policy(vec![margin("load.a.rate", 0.05)]);
    assert_eq!(judged(&policy, &[], &head(0.98), None).limits, []);
    policy.open_loads = vec!["a".into()];
    assert_eq!(
        judged(&policy, &[], &head(0.99), None).verdict,
        Outcome::Pass
    );
    let verdict = judged(&policy, &[], &head(0.98), None);
    assert_eq!(verdict.verdict, Outcome::Fail);
    assert_eq!(
        verdict.reasons[0],
        Reason::LimitBroken {
            metric: "load.a.achieved".into()
        }
    );
    policy
        .gates
        .push(limit("load.a.achieved", Some(0.95), None));
    assert_eq!(
        judged(&policy, &[], &head(0.98), None).verdict,
        Outcome::Pass
    );
}

fn plan(gates: &str) -> Plan {
    let text = format!(
        r#"
        schema = 1
        url = "http://127.0.0.1:8000"
        [[flow.home.step]]
        get = "/"
        [load.a]
        open = {{ rate = "100/s" }}
        [load.b]
        closed = {{ users = 1 }}
        {gates}
        "#
    );
    let scenario = scenario::parse(&text, std::path::Path::new("inline.toml"));
    scenario.expect("a scenario").plans.remove(0)
}

/// A run of the loads `a` and `b`, of whose requests `failed` of a thousand fail.
fn with_errors(pair: u32, failed: u64) -> Run {
    let in_order = 1000 - failed;
    let p95 = |name: &str| match in_order {
        0 => Metric {
            observations: 0,
            ..unmeasurable(name)
        },
        count => Metric {
            observations: count,
            ..lower(name, 100.0)
        },
    };
    let metrics = vec![
        p95("load.a.p95"),
        p95("load.a.request.GET /.p95"),
        error_rate("load.a.error_rate", failed, 1000),
        error_rate("load.a.request.GET /.error_rate", failed, 1000),
        lower("load.b.p95", 1.0),
        error_rate("load.b.error_rate", 0, 1000),
    ];
    run("s", Some(pair), metrics)
}

/// A run that looked for a capacity, tried one rate and found this.
fn searched(pair: u32, found: (Option<f64>, Option<f64>), outcome: TrialOutcome) -> Run {
    let (holds, breaks) = found;
    let name = "load.a.capacity";
    let metric = match holds {
        Some(rate) => Metric::single(name, Unit::PerSecond, Direction::Higher, rate, 7),
        None => Metric {
            unit: Unit::PerSecond,
            better: Direction::Higher,
            observations: 0,
            ..unmeasurable(name)
        },
    };
    let mut run = run("s", Some(pair), vec![metric]);
    run.measurement.loads.push(LoadMeasurement {
        capacity: Some(CapacitySearch {
            holds,
            breaks,
            trials: vec![CapacityTrial {
                rate: 100.0,
                achieved: 1.0,
                error_rate: 0.0,
                quantiles: vec![],
                outcome,
                reason: String::new(),
            }],
        }),
        ..LoadMeasurement::new("a", "f", ArrivalModel::Open)
    });
    run
}

/// A service that keeps its limits at no rate has no capacity that could be compared, and would pass.
#[test]
fn a_search_in_which_no_rate_held_is_no_pass() {
    let text = "schema = 1\nname = \"test\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                [load.a]\ncapacity = { from = \"100/s\", to = \"900/s\" }\n\
                [[gate]]\nmetric = \"load.a.p50\"\nmax = \"1s\"\n\
                [[gate]]\nmetric = \"load.a.capacity\"\nregress = \"5%\"\n";
    let scenario = scenario::parse(text, std::path::Path::new("test.toml"));
    let scenario = scenario.expect("it has no problems");
    let policy = Policy::of(&scenario.plans[0]);
    let runs = |found, outcome| -> Vec<Run> {
        (1..=5).map(|pair| searched(pair, found, outcome)).collect()
    };
    let base = runs((Some(400.0), Some(420.0)), TrialOutcome::Held);
    let broke = runs((None, Some(100.0)), TrialOutcome::Broke);
    let no_rate = Reason::NoRateHeld {
        metric: "load.a.capacity".into(),
    };
    let verdict = judged(&policy, &[], &broke, None);
    assert_eq!(verdict.exit_code, exit::REGRESSION);
    assert_eq!(verdict.reasons[0], no_rate);
    let limits: Vec<_> = verdict.limits.iter().map(|limit| limit.holds).collect();
    assert_eq!(limits, [Some(false)], "the lowest rate, which is implied");
    let verdict = gate(&policy, &(base.clone(), broke));
    assert_eq!(verdict.reasons, [no_rate], "once, whatever is broken by it");

    // That the generator gave in says nothing of the service.
    let not_offered = runs((None, None), TrialOutcome::NotOffered);
    let verdict = judged(&policy, &[], &not_offered, None);
    assert_eq!(verdict.verdict, Outcome::Inconclusive);
    let verdict = gate(&policy, &(base.clone(), base));
    assert_eq!(
        (verdict.verdict, &verdict.reasons[..]),
        (Outcome::Pass, &[][..])
    );
}

/// A connection that is kept needs no other: that there was none is no failure, whatever else failed.
#[test]
fn no_new_connection_is_no_failure() {
    let head: Vec<Run> = (1..=5)
        .map(|pair| {
            let mut run = with_errors(pair, 1);
            run.metrics.push(Metric {
                observations: 0,
                ..unmeasurable("load.a.connect.p95")
            });
            run
        })
        .collect();
    let text = "[[gate]]\nmetric = \"load.a.connect.p95\"\nmax = \"1s\"";
    let verdict = judged(&Policy::of(&plan(text)), &[], &head, None);
    assert_eq!(
        verdict.verdict,
        Outcome::Inconclusive,
        "{:?}",
        verdict.reasons
    );
}

/// A service that answered 500 to everything passed: it had no latency that a limit could be held
/// against.
#[test]
fn nothing_but_errors_is_no_pass() {
    let head: Vec<Run> = (1..=5).map(|pair| with_errors(pair, 1000)).collect();
    let text = "[[gate]]\nmetric = \"load.a.p95\"\nmax = \"500ms\"";
    let verdict = judged(&Policy::of(&plan(text)), &[], &head, None);
    assert_eq!(
        (verdict.verdict, verdict.exit_code),
        (Outcome::Fail, exit::REGRESSION)
    );
    let hopeless = Reason::NothingInOrder {
        metric: "load.a.p95".into(),
    };
    let broken = Reason::LimitBroken {
        metric: "load.a.error_rate".into(),
    };
    assert_eq!(verdict.reasons, [hopeless.clone(), broken]);
    let limits: Vec<_> = verdict
        .limits
        .iter()
        .map(|limit| {
            (
                limit.metric.as_str(),
                limit.max,
                limit.is_implied,
                limit.holds,
            )
        })
        .collect();
    let cap = Some(IMPLIED_ERROR_RATE_MAX);
    assert_eq!(
        limits,
        [
            ("load.a.p95", Some(500e6), false, Some(false)),
            ("load.a.error_rate", cap, true, Some(false)),
            ("load.b.error_rate", cap, true, Some(true)),
        ]
    );

    // Nor does it where errors are allowed, nor where only a margin asks for the latency.
    let allowed = "\n[[gate]]\nmetric = \"load.*.error_rate\"\nmax = \"100%\"";
    let verdict = judged(
        &Policy::of(&plan(&format!("{text}{allowed}"))),
        &[],
        &head,
        None,
    );
    assert_eq!(verdict.reasons, std::slice::from_ref(&hopeless));
    let base: Vec<Run> = (1..=5).map(|pair| with_errors(pair, 0)).collect();
    let margin = policy(vec![margin("load.a.p95", 0.05)]);
    let verdict = gate(&margin, &(base, head.clone()));
    assert_eq!(verdict.reasons, std::slice::from_ref(&hopeless));
    let verdict = gate(&margin, &(head.clone(), head));
    assert_eq!(
        (verdict.exit_code, &verdict.reasons[..]),
        (10, &[hopeless][..])
    );
}

#[test]
fn a_stated_cap_takes_the_place_of_the_implied_one() {
    let check = |metric: &str, limit: &str, expected: &[&str]| {
        let gate = format!("[[gate]]\nmetric = \"{metric}\"\n{limit}");
        let policy = Policy::of(&plan(&gate));
        let implied: Vec<&str> = policy
            .implied
            .iter()
            .map(|gate| gate.metric.as_str())
            .collect();
        assert_eq!(implied, expected, "{gate}");
    };
    // The users of a closed load have time to lose.
    let all = ["load.a.error_rate", "load.b.error_rate", "load.b.lost"];
    check("load.a.p95", "max = \"1s\"", &all);
    check("load.a.error_rate", "max = \"5%\"", &all[1..]);
    check("load.*.error_rate", "max = \"5%\"", &all[2..]);
    check("load.b.lost", "max = \"5%\"", &all[..2]);
    check("load.a.error_rate", "regress = \"5%\"", &all);
    check("load.a.request.GET /.error_rate", "max = \"5%\"", &all);
}

/// A server that hangs fails few requests of a closed load, and takes all of its users' time.
#[test]
fn users_who_lose_their_time_are_no_pass() {
    let head = |lost: f64| -> Vec<Run> {
        let run = |pair| {
            let mut run = with_errors(pair, 1);
            let (unit, better) = (Unit::Ratio, Direction::Lower);
            run.metrics
                .push(Metric::single("load.b.lost", unit, better, lost, 1000));
            run
        };
        (1..=3).map(run).collect()
    };
    let check = |gates: &str, lost: f64, expected: Outcome| {
        let verdict = judged(&Policy::of(&plan(gates)), &[], &head(lost), None);
        assert_eq!(
            verdict.verdict, expected,
            "{gates} {lost}: {:?}",
            verdict.reasons
        );
    };
    check("", 0.009, Outcome::Pass);
    check("", 0.011, Outcome::Fail);
    // As much of the time may be lost as requests may fail.
    let five = "[[gate]]\nmetric = \"load.*.error_rate\"\nmax = \"5%\"";
    check(five, 0.049, Outcome::Pass);
    check(five, 0.051, Outcome::Fail);
    let own = "\n[[gate]]\nmetric = \"load.b.lost\"\nmax = \"50%\"";
    check(&format!("{five}{own}"), 0.4, Outcome::Pass);
}

/// Two runs of five in which everything failed left the median at zero.
#[test]
fn errors_of_all_runs_count_together() {
    let rate = |failed, requests| {
        let metric = error_rate("load.a.error_rate", failed, requests);
        run("s", None, vec![metric])
    };
    let cap = policy(vec![limit("load.a.error_rate", None, Some(0.01))]);
    let check = |head: &[Run], value: f64, holds: bool| {
        let verdict = judged(&cap, &[], head, None);
        let found = &verdict.limits[0];
        assert_eq!((found.value, found.holds), (Some(value), Some(holds)));
    };
    let good = || rate(0, 1000);
    check(
        &[good(), rate(1000, 1000), good(), rate(1000, 1000), good()],
        0.4,
        false,
    );
    check(
        &[good(), good(), good(), good(), rate(50, 1000)],
        0.01,
        true,
    );
    // Requests count, not runs.
    check(&[rate(0, 9_900), rate(100, 100)], 0.01, true);
    // One number of another tool is no count.
    check(&[rate(0, 1), rate(0, 1), rate(1, 1)], 0.0, true);
}

#[test]
fn a_margin_on_nothing_is_said() {
    let check = |gates: Vec<GatePlan>, expected: &[(&str, &str)]| {
        let verdict = gate(&policy(gates), &drifting(1.0));
        let found: Vec<_> = verdict
            .reasons
            .iter()
            .map(|reason| match reason {
                Reason::NotMeasurable { metric, remedy, .. } => (metric.as_str(), remedy.as_str()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, expected);
        let outcome = match expected {
            [] => Outcome::Pass,
            _ => Outcome::Inconclusive,
        };
        assert_eq!(verdict.verdict, outcome);
    };
    check(
        vec![margin("load.a.p59", 0.05)],
        &[("load.a.p59", "did you mean `load.a.p95`?")],
    );
    let other = "name a metric that both arms have, or remove the gate";
    check(vec![margin("bench.*", 0.05)], &[("bench.*", other)]);
    check(vec![margin("load.*.p95", 0.05)], &[]);
    // With a limit, the limit says so.
    let both = GatePlan {
        regress: Some(0.05),
        ..limit("bench.x", None, Some(1.0))
    };
    let remedy = "check its name with `plimsoll list`, and that the subject exposes it";
    check(vec![both], &[("bench.x", remedy)]);
}

#[test]
fn a_limit_on_what_no_run_has_is_shown_in_the_metrics_unit() {
    let gate = "[[gate]]\nmetric = \"load.a.p95\"\nmax = \"500ms\"";
    let verdict = judged(&Policy::of(&plan(gate)), &[], &[], None);
    let limit = &verdict.limits[0];
    assert_eq!((&limit.unit, limit.max), (&Unit::Nanoseconds, Some(500e6)));
}

/// "Make about 2 pairs" was said where no number of runs would have done.
#[test]
fn more_runs_are_not_asked_for_where_sessions_differ_too_much() {
    let check = |offsets: [f64; 4], expected: bool| {
        let names = ["a", "b", "c", "d"];
        let base: Vec<Run> = names
            .iter()
            .zip(offsets)
            .flat_map(|(name, offset)| sessions(&[name], 100.0 * f64::exp(offset)))
            .collect();
        let verdict = gate(&five_percent(), &(base, sessions(&["now"], 100.0)));
        let [Warning::Underpowered { pairs_needed, .. }] = verdict.warnings[..] else {
            panic!("{:?}", verdict.warnings);
        };
        assert_eq!(pairs_needed.is_some(), expected, "{verdict:?}");
        assert_eq!(verdict.metrics[0].pairs_needed, pairs_needed);
    };
    check([0.0, 0.05, -0.05, 0.1], false);
    // The little that sessions differ leaves room for runs to help; four sessions are few to know it by.
    check([0.0, 0.02, -0.02, 0.01], true);
}

fn sessions(names: &[&str], centre: f64) -> Vec<Run> {
    let noise = [0.998, 0.999, 1.0, 1.001, 1.002];
    let runs = names.iter().flat_map(|name| {
        noise.map(|noise| run(name, None, vec![lower("load.a.p95", centre * noise)]))
    });
    runs.collect()
}

#[test]
fn a_stored_base_without_spread_between_sessions_can_not_fail() {
    let slow = sessions(&["now"], 130.0);
    let verdict = gate(&five_percent(), &(sessions(&["then"], 100.0), slow.clone()));
    assert_eq!((verdict.verdict, verdict.exit_code), (Outcome::Pass, 0));
    let shown = &verdict.metrics[0];
    assert_eq!((shown.gating, shown.advisory), (false, true));
    assert_eq!(shown.verdict, MetricOutcome::Regressed);
    assert_eq!(
        verdict.warnings,
        [Warning::Advisory {
            metric: "load.a.p95".into()
        }]
    );

    let verdict = gate(&five_percent(), &(sessions(&["a", "b", "c"], 100.0), slow));
    assert_eq!((verdict.verdict, verdict.exit_code), (Outcome::Fail, 10));
}

#[test]
fn a_metric_that_is_gone_is_not_passed_over() {
    let arm = |names: &[&str]| -> Vec<Run> {
        let metrics = |_| names.iter().map(|name| lower(name, 1.0)).collect();
        (1..=3)
            .map(|pair| run("s", Some(pair), metrics(pair)))
            .collect()
    };
    let policy = policy(vec![margin("bench.*", 0.05)]);
    let verdict = gate(&policy, &(arm(&["bench.a", "other"]), arm(&["bench.b"])));
    assert_eq!(verdict.verdict, Outcome::Inconclusive);
    let named: Vec<String> = verdict
        .reasons
        .iter()
        .map(|reason| match reason {
            Reason::OneArmOnly { metric, arm } => format!("{metric} {arm:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(named, ["bench.a Base", "bench.b Head"]);
    let text = "only the base has other: not compared".to_owned();
    assert_eq!(verdict.warnings, [Warning::Note { text }]);
}

#[test]
fn what_went_wrong_beside_the_measurement_is_told_and_changes_nothing() {
    let (base, mut head) = drifting(1.0);
    let before = gate(&five_percent(), &(base.clone(), head.clone()));
    for at in [1, 3] {
        head[at].warnings.push("the teardown failed".into());
    }
    let check = |head: &[Run], outcome: Outcome| {
        let verdict = gate(&five_percent(), &(base.clone(), head.to_vec()));
        assert_eq!(verdict.verdict, outcome);
        let text = "head run 2 and 1 more: the teardown failed".to_owned();
        assert_eq!(verdict.warnings, [Warning::Note { text }]);
        verdict
    };
    let after = check(&head, before.verdict);
    assert_eq!(after.exit_code, before.exit_code);
    assert_eq!(after.metrics, before.metrics);
    // Nor does it get lost where nothing is judged.
    head[0].partial = true;
    check(&head, Outcome::Invalid);
}

#[test]
fn runs_without_partner_are_mentioned() {
    let (base, mut head) = drifting(1.0);
    head.truncate(4);
    let verdict = gate(&five_percent(), &(base, head));
    let [Warning::Note { text }] = &verdict.warnings[..] else {
        panic!("{:?}", verdict.warnings)
    };
    assert!(
        text.starts_with("1 of 5 runs of the base have no partner"),
        "{text}"
    );
}

/// Twenty metrics of which one is barely significant: alone it would be red, among twenty it is not.
#[test]
fn many_metrics_share_one_false_discovery_rate() {
    let barely = [0.02, 0.07, 0.09, 0.11, 0.01];
    let arm = |slow: bool, others: usize| -> Vec<Run> {
        (1..)
            .zip(barely)
            .map(|(pair, d)| {
                let metrics = (0..=others).map(|i| {
                    // The others scatter around no change at all.
                    let step = if pair % 2 == 0 { 0.001 } else { -0.001 };
                    let shift = if i == 0 { d } else { step };
                    lower(
                        &format!("m{i:02}"),
                        if slow { 100.0 * f64::exp(shift) } else { 100.0 },
                    )
                });
                run("s", Some(pair), metrics.collect())
            })
            .collect()
    };
    let policy = policy(vec![margin("m*", 0.05)]);
    let alone = gate(&policy, &(arm(false, 0), arm(true, 0)));
    assert_eq!(alone.metrics[0].verdict, MetricOutcome::Regressed);
    let among = gate(&policy, &(arm(false, 19), arm(true, 19)));
    assert_eq!(among.metrics[0].verdict, MetricOutcome::Inconclusive);
    assert_eq!(among.metrics[0].p, alone.metrics[0].p);
    // Its bounds and its p say worse: why it is not red is said.
    let p = among.metrics[0].p.expect("a p-value");
    let note = among.metrics[0].note.as_deref().unwrap_or_default();
    let adjusted = format!("adjusted p = {:.3}, more than 0.050", 20.0 * p);
    assert!(note.contains(&adjusted), "{note}");
    assert_eq!(
        (&alone.metrics[0].note, &among.metrics[1].note),
        (&None, &None)
    );
}

/// What can't fail the gate doesn't make it harder for what can.
#[test]
fn advisory_metrics_take_no_share_of_the_false_discovery_rate() {
    let arm = |centre: f64, sessions: &[&str]| -> Vec<Run> {
        let noise = [0.99, 1.0, 1.01];
        let runs = sessions.iter().flat_map(|session| {
            noise.map(|noise| {
                let others = (0..20).map(|i| lower(&format!("other{i}"), noise));
                let metrics = others.chain([lower("m", centre * noise)]).collect();
                run(session, None, metrics)
            })
        });
        runs.collect()
    };
    let (base, head) = (arm(100.0, &["then"]), arm(106.0, &["now"]));
    let mut settings = Settings::new(Design::Stored);
    let between = Some(Between {
        tau: 0.018,
        sessions: 30,
    });
    settings.noise.insert(
        "m".into(),
        Noise {
            prior: None,
            between,
        },
    );
    let comparison = compare(&base, &head, &settings);
    let policy = policy(vec![margin("*", 0.05)]);
    let verdict = judged(&policy, &base, &head, Some(&comparison));
    let metric = verdict
        .metrics
        .iter()
        .find(|metric| metric.name == "m")
        .expect("m");
    assert!(metric.p.is_some_and(|p| p > 0.05 / 21.0), "{metric:?}");
    assert_eq!(metric.verdict, MetricOutcome::Regressed);
    assert_eq!(verdict.reasons, [Reason::Regressed { metric: "m".into() }]);
}

#[test]
fn a_saved_verdict_reads_back_and_has_the_promised_fields() -> Result<(), serde_json::Error> {
    let verdict = gate(&five_percent(), &drifting(1.3));
    let text = serde_json::to_string(&verdict)?;
    assert_eq!(serde_json::from_str::<Verdict>(&text)?, verdict);

    let json: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!(json["schema"], "plimsoll.verdict/1");
    assert_eq!(json["exit_code"], 10);
    let metric = &json["metrics"][0];
    assert_eq!(metric["name"], "load.a.p95");
    assert_eq!(metric["verdict"], "regressed");
    assert_eq!(metric["gating"], true);
    assert_eq!(
        (&metric["n_base"], &metric["n_head"]),
        (&5.into(), &5.into())
    );
    let effect = metric["effect"].as_f64().unwrap_or_default();
    assert!((effect - 0.3).abs() < 0.002, "{effect}");
    for name in ["lower", "upper", "p", "mde"] {
        assert!(metric[name].is_f64(), "{name}: {metric}");
    }
    assert!(metric["pairs_needed"].is_u64());

    let schema = serde_json::to_value(schemars::schema_for!(Verdict))?;
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    assert!(validator.is_valid(&json));
    Ok(())
}

/// The slow run of five has made too few requests: what the other four say is no answer, in either
/// arm, against a margin and against a limit that they keep.
#[test]
fn a_run_that_could_not_measure_a_metric_is_not_left_out() {
    let unmeasured = |runs: &mut [Run]| runs[4].metrics = vec![unmeasurable("load.a.p95")];
    let kept = policy(vec![
        margin("load.a.p95", 0.05),
        limit("load.a.p95", None, Some(1000.0)),
    ]);
    for arm in [0, 1] {
        let mut arms = drifting(1.0);
        unmeasured(if arm == 0 { &mut arms.0 } else { &mut arms.1 });
        let verdict = gate(&kept, &arms);
        assert_eq!(verdict.verdict, Outcome::Inconclusive, "{verdict:?}");
        let metric = &verdict.metrics[0];
        assert_eq!(metric.verdict, MetricOutcome::NotMeasurable);
        assert!(
            metric
                .note
                .as_deref()
                .is_some_and(|note| note.contains("in 1 of 10 runs"))
        );
        assert_eq!(
            verdict.limits[0].holds,
            [Some(true), None][arm],
            "arm {arm}"
        );
    }
    // Nor is one that doesn't name it at all, as after an export.
    let mut arms = drifting(1.0);
    arms.1[4].metrics.clear();
    let verdict = gate(&kept, &arms);
    assert_eq!(verdict.metrics[0].verdict, MetricOutcome::NotMeasurable);
    assert_eq!(verdict.limits[0].holds, None);
    let said = |reason: &Reason| matches!(reason, Reason::NotMeasurable { reason, .. } if reason == "1 of 5 runs don't have this metric");
    assert!(verdict.reasons.iter().any(said), "{:?}", verdict.reasons);
    // What the others break is broken all the same.
    let broken = policy(vec![limit("load.a.p95", None, Some(50.0))]);
    let mut arms = drifting(1.0);
    unmeasured(&mut arms.1);
    assert_eq!(gate(&broken, &arms).verdict, Outcome::Fail);
}

/// A metric that no run of the base could measure is not new: nobody knows whether it got worse.
#[test]
fn a_metric_that_the_base_could_not_measure_is_no_pass() {
    let mut arms = drifting(1.0);
    for run in &mut arms.0 {
        run.metrics = vec![unmeasurable("load.a.p95")];
    }
    let verdict = gate(&five_percent(), &arms);
    assert_eq!(verdict.verdict, Outcome::Inconclusive);
    let [Reason::NotMeasurable { reason, .. }] = &verdict.reasons[..] else {
        panic!("{:?}", verdict.reasons);
    };
    assert!(reason.contains("in 5 of 10 runs"), "{reason}");
}

/// A pattern finds quantiles that the scenario makes too few requests for. Nobody named them.
#[test]
fn what_a_pattern_finds_out_of_reach_is_not_judged() {
    let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                [load.a]\nopen = { rate = \"100/s\", max_in_flight = 9 }\n[phases]\nmeasure = \"30s\"\n\
                [[gate]]\nmetric = \"load.a.service.*\"\nmax = \"500ms\"\nregress = \"5%\"\n";
    let scenario = scenario::parse(text, std::path::Path::new("s.toml")).expect("a scenario");
    let policy = Policy::of(&scenario.plans[0]);
    let runs = |count: u32| -> Vec<Run> {
        (1..=count)
            .map(|pair| {
                let metrics = vec![
                    error_rate("load.a.error_rate", 0, 3000),
                    lower("load.a.service.p50", 100.0 + f64::from(pair) / 100.0),
                    unmeasurable("load.a.service.p99"),
                ];
                run("s", Some(pair), metrics)
            })
            .collect()
    };
    let verdict = gate(&policy, &(runs(5), runs(5)));
    assert_eq!(verdict.verdict, Outcome::Pass, "{:?}", verdict.reasons);
    assert!(verdict.metrics.iter().any(|metric| metric.gating));
}
