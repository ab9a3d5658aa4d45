//! Verdicts for the tests of the words.

use super::headline;
use crate::harness::compare::{Comparison, Design};
use crate::harness::gate::{
    MetricOutcome, MetricVerdict, Outcome, Reason, VERDICT_FORMAT, Verdict,
};
use crate::harness::model::{Direction, Unit};

pub(super) fn verdict(outcome: Outcome, reasons: Vec<Reason>) -> Verdict {
    Verdict {
        schema: VERDICT_FORMAT.into(),
        scenario: "s".into(),
        head_revision: None,
        base_revision: None,
        verdict: outcome,
        advisory: false,
        exit_code: 0,
        reasons,
        warnings: Vec::new(),
        metrics: Vec::new(),
        limits: Vec::new(),
        comparison: None,
        anchors: Vec::new(),
    }
}

pub(super) fn check(outcome: Outcome, reasons: Vec<Reason>, expected: &str) {
    let said = headline(&verdict(outcome, reasons));
    assert_eq!(said.replace('\u{202f}', " "), expected);
}

pub(super) fn broken(metric: &str) -> Reason {
    Reason::LimitBroken {
        metric: metric.into(),
    }
}

/// The verdict on the metric `m`, of five values in each arm, with these bounds around its effect.
pub(super) fn compared(
    scenario: &str,
    design: Design,
    [lower, effect, upper]: [f64; 3],
) -> Verdict {
    let mut compared = verdict(Outcome::Pass, Vec::new());
    compared.scenario = scenario.into();
    compared.comparison = Some(Comparison {
        design,
        alpha: 0.05,
        base_label: "the base".into(),
        head_label: "the head".into(),
        base_runs: Vec::new(),
        head_runs: Vec::new(),
        fingerprint_differences: Vec::new(),
        metrics: Vec::new(),
        only_in_base: Vec::new(),
        only_in_head: Vec::new(),
    });
    compared.metrics.push(MetricVerdict {
        name: "m".into(),
        verdict: MetricOutcome::Inconclusive,
        gating: true,
        advisory: false,
        unit: Unit::Nanoseconds,
        better: Direction::Lower,
        is_difference: false,
        base: Some(1.0),
        head: Some(1.0),
        margin: Some(0.05),
        effect: Some(effect),
        lower: Some(lower),
        upper: Some(upper),
        p: None,
        mde: None,
        pairs_needed: Some(12),
        n_base: 5,
        n_head: 5,
        note: None,
        waiver: None,
    });
    compared
}
