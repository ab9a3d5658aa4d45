//! Anchors: creep shows, and decides nothing.

use plimsoll::harness::compare::Design;
use plimsoll::harness::gate::{MetricOutcome, Outcome, Verdict, Warning};
use plimsoll::harness::model::Run;

use crate::runs::*;

const METRIC: &str = "load.a.p95";

/// Three quiet sessions around `centre`.
fn sessions(names: [&str; 3], centre: f64) -> Vec<Run> {
    let noise = [0.998, 0.999, 1.0, 1.001, 1.002];
    let runs = names
        .iter()
        .flat_map(|name| noise.map(|noise| run(name, None, vec![lower(METRIC, centre * noise)])));
    runs.collect()
}

fn against(base: f64, anchor: &[Run]) -> Verdict {
    let policy = policy(vec![margin(METRIC, 0.05)]);
    let base = sessions(["a", "b", "c"], base);
    let head = sessions(["x", "y", "z"], 148.0);
    let comparison = compared(&base, &head, Design::Stored);
    let mut verdict = judged(&policy, &base, &head, Some(&comparison));
    let comparison = compared(anchor, &head, Design::Stored);
    verdict.show_beside(&policy, "v1.0", &comparison);
    verdict
}

/// Ten times 4 %: no step reaches the margin of 5 %, all together are 48 %.
#[test]
fn ten_small_steps_show() {
    let verdict = against(142.3, &sessions(["r", "s", "t"], 100.0));
    assert_eq!((verdict.verdict, verdict.exit_code), (Outcome::Pass, 0));
    assert_eq!(verdict.metrics[0].verdict, MetricOutcome::Unchanged);
    let [anchor] = &verdict.anchors[..] else {
        panic!("{:?}", verdict.anchors);
    };
    let shown = &anchor.metrics[0];
    assert_eq!(anchor.name, "v1.0");
    assert_eq!(shown.verdict, MetricOutcome::Regressed);
    assert!((shown.effect.expect("an effect") - 0.48).abs() < 0.01);
    assert_eq!((shown.gating, shown.advisory), (false, true));
    let crept = Warning::Crept {
        metric: METRIC.into(),
        anchor: "v1.0".into(),
    };
    assert_eq!(verdict.warnings, [crept]);
}

#[test]
fn one_step_is_no_creep_and_no_step_is_none() {
    let check = |base, anchor, expected: &[Warning]| {
        let verdict = against(base, &sessions(["r", "s", "t"], anchor));
        assert_eq!(verdict.warnings, expected, "{base} {anchor}");
        assert_eq!(verdict.anchors.len(), 1);
    };
    check(100.0, 100.0, &[]); // the verdict says it already
    check(148.0, 148.0, &[]);
    check(148.0, 200.0, &[]);
}

/// With one session, nothing is known of what lies between sessions: shown, without a warning.
#[test]
fn creep_is_only_told_where_the_spread_is_known() {
    let policy = policy(vec![margin(METRIC, 0.05)]);
    let one = |centre: f64, name| -> Vec<Run> {
        let all = sessions([name, "-", "-"], centre).into_iter();
        all.filter(|run| run.session == name).collect()
    };
    let head = one(148.0, "now");
    let mut verdict = judged(&policy, &[], &head, None);
    let before = verdict.warnings.clone();
    let comparison = compared(&one(100.0, "then"), &head, Design::Stored);
    verdict.show_beside(&policy, "v1.0", &comparison);
    assert_eq!(
        verdict.anchors[0].metrics[0].verdict,
        MetricOutcome::Regressed
    );
    assert_eq!(verdict.warnings, before);
}

#[test]
fn an_invalid_measurement_is_held_against_nothing() {
    let policy = policy(vec![margin(METRIC, 0.05)]);
    let anchor = sessions(["r", "s", "t"], 100.0);
    let mut head = sessions(["x", "y", "z"], 148.0);
    head[0].partial = true;
    let mut verdict = judged(&policy, &[], &head, None);
    assert_eq!(verdict.verdict, Outcome::Invalid);
    let comparison = compared(&anchor, &head, Design::Stored);
    verdict.show_beside(&policy, "v1.0", &comparison);
    assert_eq!(verdict.anchors, []);
}
