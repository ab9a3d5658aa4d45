//! Waivers: what they excuse, for how long, and what they can't.

use jiff::civil::{Date, date};
use plimsoll::harness::compare::Design;
use plimsoll::harness::gate::{
    MetricOutcome, Outcome, Policy, Reason, Standing, Verdict, Waivers, Warning,
};
use plimsoll::harness::model::Run;
use plimsoll::harness::report::words;
use plimsoll::harness::scenario::{GatePlan, Waiver};

use crate::runs::*;

const METRIC: &str = "load.a.p95";

fn waiver(metric: &str, allow: f64, expires: Date) -> Waiver {
    Waiver {
        scenario: "test".into(),
        metric: metric.into(),
        allow,
        reason: "the old index is still there".into(),
        expires,
    }
}

fn waived(waivers: &[Waiver], today: Date) -> Policy {
    Policy {
        waivers: Waivers::new(waivers, "test", today),
        ..policy(vec![margin(METRIC, 0.05)])
    }
}

/// Five quiet pairs with `slowdown` in the head.
fn pairs(slowdown: f64) -> (Vec<Run>, Vec<Run>) {
    let head = [1.001, 0.999, 1.0, 1.002, 0.998].map(|noise| 100.0 * noise * slowdown);
    (paired(METRIC, &[100.0; 5]), paired(METRIC, &head))
}

fn verdict(policy: &Policy, slowdown: f64) -> Verdict {
    let (base, head) = pairs(slowdown);
    let comparison = compared(&base, &head, Design::Paired);
    judged(policy, &base, &head, Some(&comparison))
}

#[test]
fn a_waiver_excuses_so_much_and_for_so_long() {
    let until = date(2026, 11, 30);
    let check = |slowdown, allow, today, metric, standing, code| {
        let verdict = verdict(&waived(&[waiver(METRIC, allow, until)], today), slowdown);
        let judged = &verdict.metrics[0];
        let at = format!("{slowdown} with {allow} on {today}: {verdict:?}");
        assert_eq!(judged.verdict, metric, "{at}");
        let found = judged.waiver.as_ref().map(|waiver| waiver.standing);
        assert_eq!(found, standing, "{at}");
        assert_eq!(verdict.exit_code, code, "{at}");
    };
    use MetricOutcome::{Regressed, Unchanged, Waived};
    use Standing::{Exceeded, Expired, Holds};
    let before = date(2026, 11, 1);
    check(1.08, 0.10, before, Waived, Some(Holds), 0);
    check(1.08, 0.10, until, Waived, Some(Holds), 0); // the last day counts
    check(1.08, 0.10, date(2026, 12, 1), Regressed, Some(Expired), 10);
    check(1.08, 0.05, before, Regressed, Some(Exceeded), 10); // 5 % does not hide 8 %
    check(1.08, 0.05, date(2026, 12, 1), Regressed, Some(Expired), 10);
    check(1.02, 0.10, before, Unchanged, None, 0); // nothing to excuse
}

/// The estimate is held against the waiver, not its upper bound, which lies above it, nor its
/// lower one, which would let more pass the noisier it is.
#[test]
fn the_estimate_decides() {
    let noise = [1.03, 0.97, 1.02, 0.98, 1.0];
    let base = paired(METRIC, &[100.0; 5]);
    let head = paired(METRIC, &noise.map(|noise| 109.0 * noise));
    let comparison = compared(&base, &head, Design::Paired);
    let effect = only_metric(&comparison).effect().expect("an effect");
    let (lower, theta, upper) = (effect.lower, effect.theta, effect.upper);
    let check = |allow: f64, expected| {
        let policy = waived(&[waiver(METRIC, allow, date(2027, 1, 1))], date(2026, 1, 1));
        let verdict = judged(&policy, &base, &head, Some(&comparison));
        assert_eq!(verdict.metrics[0].verdict, expected, "{allow}");
    };
    check(f64::midpoint(theta, upper).exp_m1(), MetricOutcome::Waived);
    check(
        f64::midpoint(lower, theta).exp_m1(),
        MetricOutcome::Regressed,
    );
}

#[test]
fn the_verdict_names_the_waiver_and_its_reason() {
    let check = |allow, today, kind: fn(String) -> Reason, said: &[&str]| {
        let policy = waived(&[waiver(METRIC, allow, date(2026, 11, 30))], today);
        let verdict = verdict(&policy, 1.08);
        assert_eq!(verdict.reasons, [kind(METRIC.into())]);
        let spoken = words::reason(&verdict.reasons[0], &verdict);
        let text = format!("{}. {}", spoken.what, spoken.next);
        for part in said {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    };
    let before = date(2026, 11, 1);
    check(
        0.10,
        before,
        |metric| Reason::Waived { metric },
        &["allows up to 10", "until 2026-11-30", "old index"],
    );
    check(
        0.05,
        before,
        |metric| Reason::Regressed { metric },
        &["allows only 5", "old index"],
    );
    check(
        0.10,
        date(2026, 12, 1),
        |metric| Reason::Regressed { metric },
        &["expired on 2026-11-30", "baselines/waivers.toml"],
    );
}

#[test]
fn a_pass_with_a_waiver_does_not_say_that_nothing_got_worse() {
    let policy = waived(&[waiver(METRIC, 0.1, date(2027, 1, 1))], date(2026, 1, 1));
    let headline = words::headline(&verdict(&policy, 1.08));
    assert!(
        headline.contains("got worse, which is waived"),
        "{headline}"
    );
}

#[test]
fn the_exact_name_wins() {
    let (today, later) = (date(2026, 1, 2), date(2027, 1, 1));
    let check = |waivers: &[Waiver], expected| {
        let verdict = verdict(&waived(waivers, today), 1.08);
        assert_eq!(verdict.metrics[0].verdict, expected, "{waivers:?}");
    };
    let wide = waiver("load.*", 0.5, later);
    check(std::slice::from_ref(&wide), MetricOutcome::Waived);
    let narrow = waiver(METRIC, 0.06, later);
    check(&[wide.clone(), narrow], MetricOutcome::Regressed);
    let expired = waiver(METRIC, 0.5, date(2026, 1, 1));
    check(&[wide, expired], MetricOutcome::Regressed);
    let elsewhere = Waiver {
        scenario: "test@servers".into(),
        ..waiver(METRIC, 0.5, later)
    };
    check(&[elsewhere], MetricOutcome::Regressed);
}

#[test]
fn what_no_waiver_is_needed_for_is_said() {
    let today = date(2026, 12, 1);
    let (over, later) = (date(2026, 11, 30), date(2027, 1, 1));
    let check = |waiver: Waiver, slowdown, expected: &[Warning]| {
        let verdict = verdict(&waived(std::slice::from_ref(&waiver), today), slowdown);
        assert_eq!(verdict.warnings, expected, "{waiver:?}");
    };
    let expired = Warning::WaiverExpired {
        metric: METRIC.into(),
        expires: over,
    };
    check(
        waiver(METRIC, 0.1, over),
        1.0,
        std::slice::from_ref(&expired),
    );
    check(waiver(METRIC, 0.1, over), 1.08, &[]); // it is needed, and fails
    check(waiver(METRIC, 0.1, later), 1.0, &[]);
    let unmatched = Warning::WaiverUnmatched {
        metric: "load.b.p95".into(),
    };
    check(waiver("load.b.p95", 0.1, later), 1.0, &[unmatched]);
}

/// A limit is what nobody may be asked to bear: no waiver reaches it.
#[test]
fn a_limit_is_not_waived() {
    let mut policy = waived(&[waiver("*", 1.0, date(2027, 1, 1))], date(2026, 1, 1));
    policy.gates.push(GatePlan {
        max: Some(101.0),
        regress: None,
        ..margin(METRIC, 0.05)
    });
    let verdict = verdict(&policy, 1.08);
    assert_eq!((verdict.verdict, verdict.exit_code), (Outcome::Fail, 10));
    assert_eq!(verdict.metrics[0].verdict, MetricOutcome::Waived);
    assert_eq!(
        verdict.reasons[0],
        Reason::LimitBroken {
            metric: METRIC.into()
        }
    );
}

#[test]
fn an_invalid_measurement_waives_nothing() {
    let (base, mut head) = pairs(1.08);
    head[0].partial = true;
    let policy = waived(&[waiver(METRIC, 0.1, date(2027, 1, 1))], date(2026, 1, 1));
    let comparison = compared(&base, &head, Design::Paired);
    let verdict = judged(&policy, &base, &head, Some(&comparison));
    assert_eq!(verdict.verdict, Outcome::Invalid);
    assert_eq!(verdict.metrics[0].waiver, None);
}
