//! Arms → comparison: what is compared with what, and what is said where nothing can be.

use plimsoll::harness::compare::{Between, Design, Effect, Estimate, Noise, Settings, compare};
use plimsoll::harness::model::{Direction, Fingerprint, Metric, Run, Unit};

use crate::runs::*;

fn effect(base: &[Run], head: &[Run], design: Design) -> Effect {
    let comparison = compared(base, head, design);
    only_metric(&comparison)
        .effect()
        .cloned()
        .expect("an effect")
}

fn reason(base: &[Run], head: &[Run], design: Design) -> String {
    match &only_metric(&compared(base, head, design)).estimate {
        Estimate::Unknown { reason, remedy } => format!("{reason}: {remedy}"),
        known => panic!("an estimate where there can be none: {known:?}"),
    }
}

#[test]
fn positive_is_worse_whatever_the_direction() {
    let base = paired("m", &[100.0, 101.0, 99.0]);
    let slower = paired("m", &[110.0, 111.1, 108.9]);
    let theta = effect(&base, &slower, Design::Paired).theta;
    assert!((theta - 1.1f64.ln()).abs() < 1e-12, "{theta}");

    let higher = |runs: &[Run]| -> Vec<Run> {
        let mut runs = runs.to_vec();
        for metric in runs.iter_mut().flat_map(|run| &mut run.metrics) {
            metric.better = Direction::Higher;
        }
        runs
    };
    let theta = effect(&higher(&base), &higher(&slower), Design::Paired).theta;
    assert!((theta + 1.1f64.ln()).abs() < 1e-12, "{theta}");
}

/// Files come in any order: the number of the pair decides, not the place.
#[test]
fn pairs_find_each_other() {
    let base = paired("m", &[100.0, 200.0, 400.0]);
    let mut head = paired("m", &[101.0, 203.0, 404.0]);
    let in_order = effect(&base, &head, Design::Paired);
    head.reverse();
    assert_eq!(effect(&base, &head, Design::Paired), in_order);
    let comparison = compared(&base, &head, Design::Paired);
    assert_eq!(only_metric(&comparison).head, [101.0, 203.0, 404.0]);
    assert_eq!(comparison.head_runs, [head[2].id, head[1].id, head[0].id]);
}

/// A label that somebody gave each arm does not part what the numbers join.
#[test]
fn the_session_of_a_pair_is_only_a_label() {
    let base = paired("m", &[1.0, 2.0]);
    let mut head = paired("m", &[1.1, 2.2]);
    for run in &mut head {
        run.session = "another".into();
    }
    let comparison = compared(&base, &head, Design::Paired);
    assert_eq!(only_metric(&comparison).head, [1.1, 2.2]);
}

#[test]
fn the_same_numbers_of_two_sessions_are_other_pairs() {
    let arm = |values: [f64; 4]| -> Vec<Run> {
        let keys = [("a", 1), ("a", 2), ("b", 1), ("b", 2)];
        let metric = |value| vec![lower("m", value)];
        keys.iter()
            .zip(values)
            .map(|((s, p), v)| run(s, Some(*p), metric(v)))
            .collect()
    };
    let (base, head) = (arm([1.0, 2.0, 3.0, 4.0]), arm([1.1, 2.2, 3.3, 4.4]));
    let comparison = compared(&base, &head, Design::Paired);
    assert_eq!(only_metric(&comparison).base, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(only_metric(&comparison).head, [1.1, 2.2, 3.3, 4.4]);
}

#[test]
fn a_run_without_partner_is_left_out_and_not_listed() {
    let base = paired("m", &[1.0, 2.0, 3.0]);
    let head = paired("m", &[1.0, 2.0]);
    let comparison = compared(&base, &head, Design::Paired);
    assert_eq!(comparison.base_runs, [base[0].id, base[1].id]);
    assert_eq!(only_metric(&comparison).base, [1.0, 2.0]);
    let unnumbered = vec![run("s", None, vec![lower("m", 1.0)])];
    let found = reason(&base, &unnumbered, Design::Paired);
    assert!(found.contains("no run of one arm has a partner"), "{found}");
}

#[test]
fn the_design_follows_from_the_runs() {
    let numbered = paired("m", &[1.0]);
    let unnumbered = vec![run("s", None, vec![])];
    assert_eq!(Design::of(&numbered, &numbered), Design::Paired);
    assert_eq!(Design::of(&unnumbered, &numbered), Design::Stored);
    assert_eq!(Design::of(&[], &[]), Design::Stored);
}

#[test]
fn no_ratio_is_a_result() {
    let check = |base: &[f64], head: &[f64], expected: &str| {
        let found = reason(&paired("m", base), &paired("m", head), Design::Paired);
        assert!(found.contains(expected), "{base:?} {head:?}: {found}");
    };
    check(&[0.0, 1.0, 1.0], &[1.0, 1.0, 1.0], "zero or less");
    check(&[1.0, 1.0, 1.0], &[-1.0, 1.0, 1.0], "zero or less");
    check(
        &[1.0, f64::NAN, 1.0],
        &[1.0, 1.0, 1.0],
        "not a finite number",
    );
    check(&[1.0], &[2.0], "one pair has no spread");
}

/// Nothing dropped before, nothing dropped now: that is unchanged, not unknown.
#[test]
fn zero_throughout_is_no_change() {
    let zeros = paired("m", &[0.0; 5]);
    let effect = effect(&zeros, &zeros, Design::Paired);
    assert_eq!(
        (effect.theta, effect.lower, effect.upper, effect.mde),
        (0.0, 0.0, 0.0, 0.0)
    );
}

#[test]
fn a_metric_of_one_arm_is_named() {
    let arm = |metrics: fn() -> Vec<Metric>| -> Vec<Run> {
        (1..=2)
            .map(|pair| run("s", Some(pair), metrics()))
            .collect()
    };
    let base = arm(|| {
        vec![
            lower("both", 1.0),
            lower("gone", 1.0),
            unmeasurable("faster"),
        ]
    });
    let head = arm(|| vec![lower("both", 1.0), lower("new", 1.0), lower("faster", 1.0)]);
    let comparison = compared(&base, &head, Design::Paired);
    let compared: Vec<&str> = comparison
        .metrics
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    // What one arm could not measure is no new metric: it is there, without an estimate.
    assert_eq!(compared, ["both", "faster"]);
    assert!(comparison.metrics[1].effect().is_none());
    assert_eq!(comparison.only_in_base, ["gone"]);
    assert_eq!(comparison.only_in_head, ["new"]);
}

#[test]
fn measurable_in_neither_says_why() {
    let arm = vec![run("s", Some(1), vec![unmeasurable("p99")])];
    let found = reason(&arm, &arm, Design::Paired);
    assert_eq!(
        found,
        "only 12 requests lie beyond p99: run for at least 84s"
    );
}

/// An export leaves out what could not be measured: the runs that still have it are the quick ones.
#[test]
fn a_metric_that_some_runs_lack_is_not_compared_over_the_others() {
    let whole = paired("p99", &[100.0, 101.0, 99.0, 100.0, 101.0]);
    let mut thinned = paired("p99", &[90.0, 91.0, 300.0, 300.0, 300.0]);
    for slow in &mut thinned[2..] {
        slow.metrics = vec![lower("p50", 1.0)];
    }
    let check = |base: &[Run], head: &[Run], design, expected: &str| {
        let comparison = compared(base, head, design);
        let found = comparison.metrics.iter().find(|one| one.name == "p99");
        match found.map(|one| &one.estimate) {
            Some(Estimate::Unknown { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
    };
    for design in [Design::Paired, Design::Stored] {
        check(
            &whole,
            &thinned,
            design,
            "3 of 5 runs of the head don't have it",
        );
        check(
            &thinned,
            &whole,
            design,
            "3 of 5 runs of the base don't have it",
        );
    }
    // Only what is compared counts: the runs of the head that lack it have no partner.
    assert!(effect(&whole[..2], &thinned[..2], Design::Paired).theta < 0.0);
    let comparison = compared(&whole[..2], &thinned, Design::Paired);
    assert!(comparison.metrics[0].effect().is_some());
}

#[test]
fn other_units_are_not_compared() {
    let base = paired("m", &[1.0, 1.0]);
    let ms = Metric {
        unit: Unit::Other("ms".into()),
        ..lower("m", 1.0)
    };
    let head: Vec<Run> = (1..=2)
        .map(|pair| run("s", Some(pair), vec![ms.clone()]))
        .collect();
    assert!(reason(&base, &head, Design::Paired).contains("ns (lower is better), others in ms"));
}

/// An invocation of a benchmark is a replicate of its own.
#[test]
fn invocations_are_replicates() {
    let arm = |values: &[f64]| vec![run("s", Some(1), vec![bench("bench.a", values)])];
    let base = arm(&[10.0, 10.1, 9.9, 10.0, 10.2]);
    let head = arm(&[12.0, 12.1, 11.9, 12.0, 12.2]);
    for design in [Design::Paired, Design::Stored] {
        let comparison = compared(&base, &head, design);
        let metric = only_metric(&comparison);
        assert_eq!((metric.base.len(), metric.head.len()), (5, 5));
        assert!(metric.effect().is_some_and(|effect| effect.lower > 0.15));
    }
    let few = arm(&[12.0, 12.1, 11.9, 12.0]);
    assert!(reason(&base, &few, Design::Paired).starts_with("only 4 invocations"));
}

/// Error rates are differences, not ratios: zero is a value like any other.
#[test]
fn error_rates_are_differences() {
    let arm = |errors: [u64; 3]| -> Vec<Run> {
        (1..)
            .zip(errors)
            .map(|(pair, k)| {
                run(
                    "s",
                    Some(pair),
                    vec![error_rate("load.a.error_rate", k, 10_000)],
                )
            })
            .collect()
    };
    for design in [Design::Paired, Design::Stored] {
        let none = effect(&arm([0; 3]), &arm([0; 3]), design);
        assert_eq!((none.theta, none.p), (0.0, 0.5));
        assert!(none.upper > 0.0 && none.upper < 1e-3);

        let worse = effect(&arm([0; 3]), &arm([100, 101, 99]), design);
        assert!((Effect::as_fraction(worse.theta) - 0.01).abs() < 1e-12);
        assert!(worse.lower > 0.008 && worse.p < 1e-6 && worse.p_improved > 0.99);
        assert!(worse.mde > 0.0 && worse.mde < 0.01, "{}", worse.mde);

        let all = effect(&arm([10_000; 3]), &arm([0; 3]), design);
        assert!(all.upper < 0.0 && all.lower.is_finite());
    }
}

/// One burst in the only run of an arm says nothing of the build; latencies of such files say as much.
#[test]
fn one_run_an_arm_has_no_difference_of_errors() {
    let arm = |errors: &[u64]| -> Vec<Run> {
        let rate = |errors: &u64| vec![error_rate("load.a.error_rate", *errors, 10_000)];
        (1..)
            .zip(errors)
            .map(|(pair, errors)| run("s", Some(pair), rate(errors)))
            .collect()
    };
    for design in [Design::Paired, Design::Stored] {
        let found = reason(&arm(&[0]), &arm(&[600]), design);
        assert!(
            found.starts_with("an arm with one run has no spread"),
            "{found}"
        );
        // A second run shows the burst for what it is.
        let burst = effect(&arm(&[0, 0]), &arm(&[600, 0]), design);
        assert!(burst.lower < 0.0, "{burst:?}");
        assert!(effect(&arm(&[0, 0]), &arm(&[600, 601]), design).lower > 0.0);
    }
    let found = reason(&arm(&[0, 0]), &arm(&[600]), Design::Stored);
    assert!(found.starts_with("an arm with one run"), "{found}");
}

#[test]
fn an_error_rate_without_requests_says_what_it_lacks() {
    let uncounted = |rates: [f64; 2]| -> Vec<Run> {
        let metric = |rate| Metric::single("a.error_rate", Unit::Ratio, Direction::Lower, rate, 1);
        (1..)
            .zip(rates)
            .map(|(pair, rate)| run("s", Some(pair), vec![metric(rate)]))
            .collect()
    };
    let found = reason(&uncounted([0.0; 2]), &uncounted([0.1; 2]), Design::Paired);
    assert!(found.contains("`observations`"), "{found}");
}

/// Several sessions of five runs, the same spread within each.
fn sessions(offsets: &[f64]) -> Vec<Run> {
    offsets
        .iter()
        .enumerate()
        .flat_map(|(number, offset)| {
            [-0.002, -0.001, 0.0, 0.001, 0.002].map(|noise: f64| {
                let value = 100.0 * (offset + noise).exp();
                run(&format!("s{number}"), None, vec![lower("m", value)])
            })
        })
        .collect()
}

#[test]
fn stored_knows_what_lies_between_sessions_from_three_on() {
    let head = sessions(&[0.03]);
    let two = effect(&sessions(&[0.0, 0.05]), &head, Design::Stored);
    assert_eq!(two.tau, None);
    let three = effect(&sessions(&[0.0, 0.05, -0.05]), &head, Design::Stored);
    assert!(
        three.tau.is_some_and(|tau| (tau - 0.05).abs() < 1e-3),
        "{:?}",
        three.tau
    );
    assert!(three.lower < 0.0 && two.lower > -0.05);
}

#[test]
fn calibration_speaks_for_a_single_session() {
    let (base, head) = (sessions(&[0.0]), sessions(&[0.03]));
    let mut settings = Settings::new(Design::Stored);
    let between = Some(Between {
        tau: 0.005,
        sessions: 10,
    });
    settings.noise.insert(
        "m".into(),
        Noise {
            prior: None,
            between,
        },
    );
    let comparison = compare(&base, &head, &settings);
    let effect = only_metric(&comparison).effect().expect("an effect");
    assert_eq!(effect.tau, Some(0.005));
    assert!(effect.lower > 0.0 && effect.se > 0.005 * 2f64.sqrt());
}

/// The effect where a calibration knows what lies between sessions.
fn calibrated(base: &[Run], head: &[Run], between: Between) -> Effect {
    let mut settings = Settings::new(Design::Stored);
    let noise = Noise {
        prior: None,
        between: Some(between),
    };
    settings.noise.insert("m".into(), noise);
    let comparison = compare(base, head, &settings);
    only_metric(&comparison)
        .effect()
        .cloned()
        .expect("an effect")
}

/// A calibration that was edited may have a τ of one session. It made the comparison gate, with bounds that
/// had nothing of it.
#[test]
fn a_spread_of_too_few_sessions_is_none() {
    let (base, head) = (sessions(&[0.0]), sessions(&[0.03]));
    let check = |sessions: usize, expected: Option<f64>| {
        let effect = calibrated(
            &base,
            &head,
            Between {
                tau: 0.03,
                sessions,
            },
        );
        assert_eq!(effect.tau, expected, "{sessions} sessions");
        assert_eq!(effect.se_sessions > 0.0, expected.is_some());
    };
    check(1, None);
    check(2, None);
    check(3, Some(0.03));
}

/// Sessions made in a row by a calibration don't outvote a baseline of as many days and more.
#[test]
fn what_rests_on_more_sessions_speaks_for_them() {
    let base = sessions(&[0.0, 0.05, -0.05, 0.03]);
    let head = sessions(&[0.03]);
    let own = effect(&base, &head, Design::Stored).tau;
    let check = |sessions: usize, expected: Option<f64>| {
        let between = Between {
            tau: 0.001,
            sessions,
        };
        let effect = calibrated(&base, &head, between);
        assert_eq!(effect.tau, expected, "{sessions} sessions");
    };
    assert!(own.is_some_and(|tau| tau > 0.03), "{own:?}");
    check(3, own);
    check(4, Some(0.001));
    check(9, Some(0.001));
}

#[test]
fn every_difference_of_the_conditions_is_named_once() {
    let base = paired("m", &[1.0, 1.0]);
    let mut head = paired("m", &[1.0, 1.0]);
    for run in &mut head {
        run.fingerprint = Fingerprint {
            kernel: "6.2".into(),
            logical_cpus: 4,
            ..fingerprint()
        };
    }
    let comparison = compared(&base, &head, Design::Paired);
    let fields: Vec<&str> = comparison
        .fingerprint_differences
        .iter()
        .map(|d| d.field.as_str())
        .collect();
    assert_eq!(fields, ["logical_cpus", "kernel"]);
}
