//! A baseline's renewal: what needs somebody's word, and what nobody can accept.

use plimsoll::harness::compare::Design;
use plimsoll::harness::gate::{MetricOutcome, Policy, Reason, Renewal, Verdict};
use plimsoll::harness::model::{Metric, Run};
use plimsoll::harness::report::renewal::{self, Provenance, RenewalInput};
use plimsoll::harness::scenario::GatePlan;

use crate::runs::*;

/// Sessions of one machine, in each of which every metric has its value.
fn sessions(names: &[&str], metrics: &[(&str, f64)]) -> Vec<Run> {
    let noise = [0.998, 0.999, 1.0, 1.001, 1.002];
    let of_run = |noise: f64| -> Vec<Metric> {
        let metrics = metrics.iter();
        metrics
            .map(|(name, value)| lower(name, value * noise))
            .collect()
    };
    let of_session = |name: &&str| noise.map(|noise| run(name, None, of_run(noise)));
    names.iter().flat_map(of_session).collect()
}

fn margins() -> Policy {
    policy(vec![margin("load.*", 0.05)])
}

fn verdict(policy: &Policy, old: &[Run], new: &[Run]) -> Verdict {
    let comparison = compared(old, new, Design::Stored);
    judged(policy, old, new, Some(&comparison))
}

const OLD: [&str; 3] = ["a", "b", "c"];
const NEW: [&str; 3] = ["x", "y", "z"];

#[test]
fn a_drift_needs_a_word() {
    let old = sessions(&OLD, &[("load.a.p95", 100.0), ("other", 100.0)]);
    let check = |new: f64, accept: &[&str], granted: bool, unneeded: &[&str]| {
        let new = sessions(&NEW, &[("load.a.p95", new), ("other", 300.0)]);
        let verdict = verdict(&margins(), &old, &new);
        let accept: Vec<String> = accept.iter().map(|&one| one.into()).collect();
        let renewal = Renewal::of(&verdict, &new, &accept);
        assert_eq!(renewal.is_granted(), granted, "{renewal:?}");
        assert_eq!(renewal.unneeded, unneeded, "{renewal:?}");
    };
    check(103.0, &[], true, &[]);
    check(108.0, &[], false, &[]);
    check(108.0, &["load.a.p95"], true, &[]);
    check(108.0, &["load.*"], true, &[]);
    check(108.0, &["load.b.p95"], false, &["load.b.p95"]);
    check(80.0, &[], true, &[]); // better is accepted, and said
    check(100.0, &["load.a.p95"], true, &["load.a.p95"]);
}

/// With one session on each side nothing can fail a gate; a baseline is for good, so a word is asked for.
#[test]
fn an_advisory_drift_needs_a_word_too() {
    let old = sessions(&["a"], &[("load.a.p95", 100.0)]);
    let new = sessions(&["x"], &[("load.a.p95", 130.0)]);
    let verdict = verdict(&margins(), &old, &new);
    assert_eq!(verdict.exit_code, 0);
    assert!(!Renewal::of(&verdict, &new, &[]).is_granted());
}

#[test]
fn a_metric_that_is_gone_needs_a_word() {
    let old = sessions(&OLD, &[("load.a.p95", 100.0), ("load.b.p95", 100.0)]);
    let new = sessions(&NEW, &[("load.a.p95", 100.0)]);
    let verdict = verdict(&margins(), &old, &new);
    let renewal = Renewal::of(&verdict, &new, &[]);
    let refused: Vec<_> = renewal.refused.iter().map(|one| one.metric).collect();
    assert_eq!(refused, ["load.b.p95"]);
    assert!(Renewal::of(&verdict, &new, &["load.b.*".into()]).is_granted());
}

/// One slow run of fifteen with too few requests made the whole metric undecided, and the other fourteen
/// the new measure.
#[test]
fn a_metric_that_a_new_run_could_not_measure_needs_a_word() {
    let old = sessions(&OLD, &[("load.a.p99", 100.0)]);
    let lost: [fn(&mut Run); 2] = [
        |run| run.metrics = vec![unmeasurable("load.a.p99")],
        |run| run.metrics.clear(),
    ];
    for lose in lost {
        let mut new = sessions(&NEW, &[("load.a.p99", 300.0)]);
        lose(&mut new[7]);
        let verdict = verdict(&margins(), &old, &new);
        let renewal = Renewal::of(&verdict, &new, &[]);
        let refused: Vec<_> = renewal.refused.iter().map(|one| one.metric).collect();
        assert_eq!(refused, ["load.a.p99"]);
        let text = text(&verdict, &new, &[], None);
        assert!(
            text.contains("**Refused**: load.a.p99 is not measurable"),
            "{text}"
        );
        assert!(!text.contains("Undecided"), "{text}");
        assert!(Renewal::of(&verdict, &new, &["load.a.p99".into()]).is_granted());
    }
    // What the old runs could not measure, the new ones may.
    let mut spoilt = sessions(&OLD, &[("load.a.p99", 100.0)]);
    spoilt[7].metrics = vec![unmeasurable("load.a.p99")];
    let verdict = verdict(&margins(), &spoilt, &old);
    assert!(Renewal::of(&verdict, &old, &[]).is_granted());
}

/// Three sessions know little of what lies between sessions: nothing is sure, and 12 % would be for good.
#[test]
fn a_drift_beyond_the_margin_needs_a_word_even_where_it_may_be_noise() {
    let far_apart = |names: &[&str], centre: f64| -> Vec<Run> {
        let offsets = [0.0, 0.05, -0.05];
        let of_session = |(name, offset): (&&str, f64)| {
            sessions(&[*name], &[("load.a.p95", centre * f64::exp(offset))])
        };
        names.iter().zip(offsets).flat_map(of_session).collect()
    };
    let old = far_apart(&OLD, 100.0);
    let check = |new: f64, granted: bool| {
        let new = far_apart(&NEW, new);
        let verdict = verdict(&margins(), &old, &new);
        assert_eq!(verdict.metrics[0].verdict, MetricOutcome::Inconclusive);
        let renewal = Renewal::of(&verdict, &new, &[]);
        assert_eq!(renewal.is_granted(), granted, "{verdict:?}");
        if !granted {
            let text = text(&verdict, &new, &[], None);
            assert!(
                text.contains("**Refused**: load.a.p95 is 12.0 % slower"),
                "{text}"
            );
            assert!(!text.contains("Undecided"), "{text}");
        }
    };
    check(103.0, true);
    check(112.0, false);
}

#[test]
fn a_broken_limit_can_not_be_accepted() {
    let mut policy = margins();
    policy.gates.push(GatePlan {
        max: Some(105.0),
        regress: None,
        ..margin("load.a.p95", 0.05)
    });
    let old = sessions(&OLD, &[("load.a.p95", 100.0)]);
    let new = sessions(&NEW, &[("load.a.p95", 108.0)]);
    let verdict = verdict(&policy, &old, &new);
    let renewal = Renewal::of(&verdict, &new, &["*".into()]);
    assert!(!renewal.is_granted());
    assert!(matches!(renewal.broken[..], [Reason::LimitBroken { .. }]));
}

fn text(verdict: &Verdict, head: &[Run], accept: &[&str], command: Option<&str>) -> String {
    let accept: Vec<String> = accept.iter().map(|&one| one.into()).collect();
    let provenance = |revision: &str| Provenance {
        sessions: 3,
        runs: 15,
        revisions: vec![revision.into()],
        last_started_at: Some(jiff::Timestamp::UNIX_EPOCH),
    };
    let text = renewal::markdown(&RenewalInput {
        verdict,
        renewal: &Renewal::of(verdict, head, &accept),
        head,
        old: verdict.comparison.is_some().then(|| provenance("1a2b3c4")),
        new: provenance("9d8e7f6"),
        remark: "",
        reason: "the index is *gone*",
        file: "baselines/0123456789abcdef/test.json",
        command,
    });
    text.replace('\u{202f}', " ")
}

#[test]
fn old_against_new_as_markdown() {
    let old = [
        ("load.a.p95", 100e6),
        ("load.b|c.p95", 50e6),
        ("other", 7e6),
    ];
    let new = [
        ("load.a.p95", 108e6),
        ("load.b|c.p95", 40e6),
        ("other", 7e6),
    ];
    let (old, new) = (sessions(&OLD, &old), sessions(&NEW, &new));
    let mut verdict = verdict(&margins(), &old, &new);
    let anchor = sessions(&OLD, &[("load.a.p95", 90e6)]);
    verdict.show_beside(&margins(), "v1.0", &compared(&anchor, &new, Design::Stored));
    let command = "plimsoll baseline refresh s.toml --session x --accept load.a.p95";
    insta::assert_snapshot!("renewal_refused", text(&verdict, &new, &[], Some(command)));
    insta::assert_snapshot!(
        "renewal_accepted",
        text(&verdict, &new, &["load.a.*"], None)
    );
    let first = judged(&margins(), &[], &new, None);
    insta::assert_snapshot!("renewal_first", text(&first, &new, &[], None));
}
