//! The verdict on one metric in a table: effect, bounds, margin, waiver.

use crate::harness::compare::{Comparison, Design};
use crate::harness::gate::{AppliedWaiver, MetricOutcome, MetricVerdict, Standing, Verdict};
use crate::harness::model::Direction;
use crate::harness::report::format;
use crate::harness::report::text::{self, MAX_SHOWN_CHARS};

/// What the bounds of the effects are: a one-sided level α at either end makes an interval of
/// 1 − 2α, 90 % at the usual α of .05.
pub fn interval_name(verdict: &Verdict) -> String {
    let alpha = verdict
        .comparison
        .as_ref()
        .map_or(0.05, |comparison| comparison.alpha);
    format!("{} interval", format::margin(1.0 - 2.0 * alpha))
}

/// The effect of a metric: a change in percent, or a difference in percentage points for an error
/// rate, whose effects are differences because zero has no ratio.
pub fn effect_of(metric: &MetricVerdict, fraction: f64) -> String {
    match metric.is_difference {
        true => format::points(fraction),
        false => format::effect(fraction),
    }
}

/// Whether an effect says how much more the base has, because higher is better: half the rate is 100 % worse.
pub fn is_of_the_base(metric: &MetricVerdict) -> bool {
    metric.better == Direction::Higher && !metric.is_difference
}

/// The bounds of a metric's effect, as [`effect_of`]; a dash where there are none.
pub fn interval_of(metric: &MetricVerdict) -> String {
    match (metric.lower, metric.upper) {
        (Some(lower), Some(upper)) if metric.is_difference => format::points_interval(lower, upper),
        (Some(lower), Some(upper)) => format::interval(lower, upper),
        _ => "–".to_owned(),
    }
}

/// A margin or a minimal detectable effect of a metric, as [`effect_of`] without a sign.
pub fn margin_of(metric: &MetricVerdict, fraction: f64) -> String {
    share(metric.is_difference, fraction)
}

/// The order in which metrics are read: those that can decide first, what needs a look before what
/// doesn't, and then by name.
pub fn reading_order(metric: &MetricVerdict) -> (bool, bool, u8, &str) {
    let concern = match metric.verdict {
        MetricOutcome::Regressed => 0,
        MetricOutcome::Inconclusive => 1,
        MetricOutcome::NotMeasurable => 2,
        MetricOutcome::Waived => 3,
        MetricOutcome::Improved => 4,
        MetricOutcome::Unchanged => 5,
    };
    (!metric.gating, !metric.advisory, concern, &metric.name)
}

/// A metric's verdict in one word.
pub fn metric_outcome(outcome: MetricOutcome) -> &'static str {
    match outcome {
        MetricOutcome::Regressed => "regressed",
        MetricOutcome::Improved => "improved",
        MetricOutcome::Unchanged => "unchanged",
        MetricOutcome::Inconclusive => "inconclusive",
        MetricOutcome::NotMeasurable => "not measurable",
        MetricOutcome::Waived => "waived",
    }
}

/// Whether a metric is shown at once: all that the scenario names, and what moved without being named.
pub fn is_worth_showing(metric: &MetricVerdict) -> bool {
    metric.gating
        || metric.advisory
        || matches!(
            metric.verdict,
            MetricOutcome::Regressed | MetricOutcome::Improved
        )
}

/// A metric's verdict for a table: in brackets where it can't fail the gate.
pub fn verdict_of(metric: &MetricVerdict) -> String {
    let word = metric_outcome(metric.verdict);
    match (metric.gating, metric.advisory) {
        (true, _) => word.to_owned(),
        (false, true) => format!("({word}, advisory)"),
        (false, false) => format!("({word})"),
    }
}

/// The waiver on a metric that has regressed, as a clause.
pub fn waiver(metric: &MetricVerdict, waiver: &AppliedWaiver) -> String {
    let allowed = margin_of(metric, waiver.allow);
    let reason = text::shown(&waiver.reason, MAX_SHOWN_CHARS);
    let expires = waiver.expires;
    match waiver.standing {
        Standing::Holds => {
            format!("a waiver allows up to {allowed} until {expires}: {reason}")
        }
        Standing::Exceeded => {
            format!("its waiver allows only {allowed} (until {expires}: {reason})")
        }
        Standing::Expired => {
            format!("its waiver of {allowed} expired on {expires} (it was: {reason})")
        }
    }
}

/// How the arms were measured, in a sentence; `is_known` says whether their machines are.
pub fn design(comparison: &Comparison, is_known: bool) -> String {
    let is_same = is_known && comparison.fingerprint_differences.is_empty();
    let how = match (comparison.design, is_same) {
        (Design::Paired, true) => {
            "Base and head ran alternately on one machine, and differences are taken within each pair"
        }
        (Design::Paired, false) => {
            "Base and head were measured in pairs, and differences are taken within each pair"
        }
        (Design::Stored, true) => "The base was measured earlier on the same kind of machine",
        (Design::Stored, false) => "Base and head were not measured in pairs",
    };
    let has_spread = comparison.design == Design::Stored
        && comparison.metrics.iter().any(|metric| {
            !metric.is_difference && metric.effect().is_some_and(|effect| effect.tau.is_some())
        });
    let allowed = match has_spread {
        true => ", and differences between sessions are allowed for",
        false => "",
    };
    format!("{how}{allowed}.")
}

pub(super) fn margin(metric: &MetricVerdict) -> String {
    metric
        .margin
        .map_or_else(|| "none".to_owned(), |margin| margin_of(metric, margin))
}

pub(super) fn share(is_difference: bool, fraction: f64) -> String {
    match is_difference {
        true => format::unsigned_points(fraction),
        false => format::margin(fraction),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::compared;
    use super::*;
    use crate::harness::compare::{Effect, Estimate, MetricComparison};
    use crate::harness::model::Unit;

    #[test]
    fn nothing_is_claimed_of_unknown_machines() {
        let check = |design, is_known, tau, expected: &str| {
            let mut verdict = compared("", design, [0.0; 3]);
            let mut comparison = verdict.comparison.take().expect("a comparison");
            comparison.metrics.push(MetricComparison {
                name: "m".into(),
                unit: Unit::Nanoseconds,
                better: Direction::Lower,
                base: Vec::new(),
                head: Vec::new(),
                is_difference: false,
                estimate: Estimate::Known(Effect {
                    theta: 0.0,
                    lower: 0.0,
                    upper: 0.0,
                    p: 1.0,
                    p_improved: 1.0,
                    se: 0.0,
                    sd: 0.0,
                    se_sessions: 0.0,
                    df: None,
                    mde: 0.0,
                    tau,
                    method: String::new(),
                }),
            });
            assert_eq!(super::design(&comparison, is_known), expected);
        };
        use Design::{Paired, Stored};
        let stored = "The base was measured earlier on the same kind of machine";
        let spread = ", and differences between sessions are allowed for.";
        check(Stored, true, Some(0.01), &format!("{stored}{spread}"));
        check(Stored, true, None, &format!("{stored}."));
        check(
            Stored,
            false,
            None,
            "Base and head were not measured in pairs.",
        );
        let within = "and differences are taken within each pair.";
        let alternately = "Base and head ran alternately on one machine";
        check(Paired, true, None, &format!("{alternately}, {within}"));
        let pairs = "Base and head were measured in pairs";
        check(Paired, false, None, &format!("{pairs}, {within}"));
    }
}
