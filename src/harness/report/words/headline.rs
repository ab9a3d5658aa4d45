//! The verdict as a whole: its badge, its sentence, its reasons in their order.

use crate::harness::gate::{MetricOutcome, Outcome, Reason, Verdict};
use crate::harness::model::Arm;
use crate::harness::report::{format, text};

use super::limit::{against_limit, demand};
use super::reason::reason;
use super::spoken::{Spoken, capitalised, name};

/// What a reason has to do with the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The verdict follows from it.
    Decides,
    /// It would count if nothing weightier were there.
    Counts,
    /// It is good news.
    Good,
}

/// What the verdict is on: its scenario, which numbers of other tools don't have.
pub fn title(verdict: &Verdict) -> String {
    match verdict.scenario.as_str() {
        "" => "comparison".to_owned(),
        scenario => text::shown(scenario, 120),
    }
}

/// The verdict in capitals, for a badge.
pub fn badge(verdict: &Verdict) -> &'static str {
    match verdict.advisory {
        true => "ADVISORY",
        false => outcome(verdict.verdict),
    }
}

/// An outcome in capitals.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "PASS",
        Outcome::NoBaseline => "NO BASELINE",
        Outcome::Inconclusive => "INCONCLUSIVE",
        Outcome::Fail => "FAIL",
        Outcome::Invalid => "INVALID",
    }
}

/// The verdict in a sentence that needs no statistics to be understood.
pub fn headline(verdict: &Verdict) -> String {
    let said = in_a_sentence(verdict);
    match verdict.advisory {
        true => format!("{said} (for information only)"),
        false => said,
    }
}

fn in_a_sentence(verdict: &Verdict) -> String {
    // Of thousands of reasons only one is put into words here.
    let weightiest = reasons(verdict).next().map(|(_, said)| said);
    let decides = |given: &&Reason| weight(given, verdict.verdict) == Weight::Decides;
    let more = match verdict.reasons.iter().filter(decides).count() {
        0 | 1 => String::new(),
        n => format!(", and {}", format::counted(n as u64 - 1, "other reason")),
    };
    match (verdict.verdict, weightiest) {
        (Outcome::Pass, _) => passed(verdict),
        (Outcome::NoBaseline, _) => {
            "There is no comparable baseline, so nothing can be said about a regression".to_owned()
        }
        (Outcome::Inconclusive, Some(said)) => format!("No answer yet: {}{more}", said.what),
        (Outcome::Fail, Some(said)) => format!("{}{more}", said.sentence()),
        (Outcome::Invalid, Some(said)) => format!("Nothing is judged: {}{more}", said.what),
        (Outcome::Inconclusive, None) => "No answer yet".to_owned(),
        (Outcome::Fail, None) => "A gate failed".to_owned(),
        (Outcome::Invalid, None) => "Nothing is judged: the measurement is invalid".to_owned(),
    }
}

fn passed(verdict: &Verdict) -> String {
    let gated = verdict.metrics.iter().filter(|metric| metric.gating);
    let (mut metrics, mut improved, mut waived) = (0, 0, 0);
    for metric in gated {
        metrics += 1;
        improved += u64::from(metric.verdict == MetricOutcome::Improved);
        waived += u64::from(metric.verdict == MetricOutcome::Waived);
    }
    let margins = match (metrics, improved) {
        (0, _) => None,
        (n, _) if waived > 0 => Some(format!(
            "{} of {} got worse, which is waived",
            format::count(waived),
            format::counted(n, "compared metric")
        )),
        (1, 0) => Some("the one compared metric did not get worse".to_owned()),
        (n, 0) => Some(format!(
            "none of {} compared metrics got worse",
            format::count(n)
        )),
        (n, i) => Some(format!(
            "none of {} got worse ({} better)",
            format::counted(n, "compared metric"),
            format::count(i)
        )),
    };
    let held = match verdict.limits.as_slice() {
        [] => None,
        [one] if margins.is_none() => Some(format!(
            "the limit holds: {} is {}, and must be {}",
            name(&one.metric),
            against_limit(one),
            demand(one)
        )),
        [_] => Some("the one limit holds".to_owned()),
        all => Some(format!(
            "all {} limits hold",
            format::count(all.len() as u64)
        )),
    };
    match (margins, held) {
        (None, None) if verdict.scenario.is_empty() => {
            "Compared; nothing was judged, because no metric has a margin that could fail"
                .to_owned()
        }
        (None, None) => {
            "Measured; nothing was judged, because the scenario has no gates that apply".to_owned()
        }
        (margins, held) => {
            let parts: Vec<String> = [held, margins].into_iter().flatten().collect();
            capitalised(&parts.join(", and "))
        }
    }
}

/// The reasons in their order, each put into words when it is asked for: a verdict may have thousands.
pub fn reasons(verdict: &Verdict) -> impl Iterator<Item = (Weight, Spoken)> {
    let said = |given| (weight(given, verdict.verdict), reason(given, verdict));
    verdict.reasons.iter().map(said)
}

fn weight(reason: &Reason, outcome: Outcome) -> Weight {
    let decides = match reason {
        Reason::InvalidRun { .. } | Reason::PartialRun { .. } | Reason::NotComparable { .. } => {
            outcome == Outcome::Invalid
        }
        Reason::Aborted { .. }
        | Reason::LimitBroken { .. }
        | Reason::NothingInOrder { .. }
        | Reason::NoRateHeld { .. }
        | Reason::Regressed { .. } => outcome == Outcome::Fail,
        Reason::NotMeasurable { .. } | Reason::Inconclusive { .. } => {
            outcome == Outcome::Inconclusive
        }
        Reason::OneArmOnly { arm, .. } => *arm == Arm::Base && outcome == Outcome::Inconclusive,
        Reason::NoBaseline => outcome == Outcome::NoBaseline,
        Reason::Waived { .. } => false,
        Reason::Improved { .. } => return Weight::Good,
    };
    if decides {
        Weight::Decides
    } else {
        Weight::Counts
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{broken, check, verdict};
    use super::*;
    use crate::harness::model::InvalidReason;

    #[test]
    fn the_headline_says_what_is_weightiest() {
        check(
            Outcome::Pass,
            vec![],
            "Measured; nothing was judged, because the scenario has no gates that apply",
        );
        check(
            Outcome::Fail,
            vec![broken("a.p95")],
            "a.p95 breaks its limit",
        );
        check(
            Outcome::Fail,
            vec![broken("a.p95"), broken("b.p95"), Reason::NoBaseline],
            "a.p95 breaks its limit, and 1 other reason",
        );
        check(
            Outcome::Inconclusive,
            vec![Reason::Inconclusive {
                metric: "a.p95".into(),
            }],
            "No answer yet: whether a.p95 got worse can't be told",
        );
        check(
            Outcome::Invalid,
            vec![Reason::InvalidRun {
                run: "head run 2".into(),
                reason: InvalidReason::NothingMeasured {
                    load: "reads".into(),
                },
            }],
            "Nothing is judged: head run 2 is invalid: load reads ended without one iteration in the measure phase",
        );
    }

    #[test]
    fn what_can_fail_nothing_is_not_told_as_failed() {
        let mut judged = verdict(Outcome::Fail, vec![broken("a.p95")]);
        assert_eq!(badge(&judged), "FAIL");
        judged.advisory = true;
        assert_eq!(badge(&judged), "ADVISORY");
        assert_eq!(
            headline(&judged),
            "a.p95 breaks its limit (for information only)"
        );
    }
}
