//! The verdict as a whole: its badge, its sentence, its reasons in their order.

use crate::harness::gate::{MetricOutcome, Outcome, Reason, Verdict};
use crate::harness::model::Arm;
use crate::harness::report::{format, text};

use super::alike::{alike, reason_of_all};
use super::change::{regressed_plainly, undecided};
use super::limit::{against_limit, demand};
use super::plainly::{has_words, plainly};
use super::reason::broken_limit;
use super::spoken::{Spoken, capitalised};

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
    let mut deciding = alike(verdict)
        .into_iter()
        .filter(|alike| weight(alike[0], verdict.verdict) == Weight::Decides);
    let Some(weightiest) = deciding.next() else {
        return without_a_reason(verdict);
    };
    let said = in_short(&weightiest, verdict);
    let weightiest = weightiest[0];
    let others: Vec<&Reason> = deciding.map(|alike| alike[0]).collect();
    let more = match others.len() {
        0 => String::new(),
        n => format!(", and {}", others_like(weightiest, &others, n as u64)),
    };
    match verdict.verdict {
        Outcome::Inconclusive => format!("No answer yet: {said}{more}"),
        Outcome::Invalid => format!("Nothing is judged: {said}{more}"),
        Outcome::Fail => format!("{}{more}", begun(weightiest, &said)),
        Outcome::Pass | Outcome::NoBaseline => without_a_reason(verdict),
    }
}

/// A reason as a clause for who doesn't know the paths of metrics.
fn in_short(alike: &[&Reason], verdict: &Verdict) -> String {
    match alike[0] {
        Reason::Regressed { metric } => regressed_plainly(metric, verdict),
        Reason::Inconclusive { metric } => undecided(metric, &plainly(metric), verdict).what,
        Reason::LimitBroken { metric } => broken_limit(metric, &plainly(metric), verdict),
        _ => reason_of_all(alike, verdict).what,
    }
}

/// A clause as the beginning of a sentence; the name of a metric stays as it is written.
fn begun(given: &Reason, said: &str) -> String {
    let is_named = match given {
        Reason::Regressed { metric } | Reason::LimitBroken { metric } => !has_words(metric),
        Reason::NothingInOrder { .. } | Reason::NoRateHeld { .. } => true,
        _ => false,
    };
    match is_named {
        true => said.to_owned(),
        false => capitalised(said),
    }
}

/// The reasons beside the first: what they are, where all are of its kind.
fn others_like(first: &Reason, others: &[&Reason], count: u64) -> String {
    let are = |kind: fn(&Reason) -> bool| kind(first) && others.iter().all(|other| kind(other));
    if are(|given| matches!(given, Reason::Regressed { .. })) {
        format!("{} got worse", format::counted(count, "other metric"))
    } else if are(|given| matches!(given, Reason::LimitBroken { .. })) {
        let verb = if count == 1 { "is" } else { "are" };
        format!("{} {verb} broken", format::counted(count, "other limit"))
    } else {
        format::counted(count, "other reason")
    }
}

fn without_a_reason(verdict: &Verdict) -> String {
    let said = match verdict.verdict {
        Outcome::Pass => return passed(verdict),
        Outcome::NoBaseline => {
            "There is no comparable baseline, so nothing can be said about a regression"
        }
        Outcome::Inconclusive => "No answer yet",
        Outcome::Fail => "A gate failed",
        Outcome::Invalid => "Nothing is judged: the measurement is invalid",
    };
    said.to_owned()
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
            plainly(&one.metric),
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

/// A reason of a verdict in words.
pub struct Because<'v> {
    /// It, or the worst of several that say the same of other runs.
    pub reason: &'v Reason,
    /// What it has to do with the verdict.
    pub weight: Weight,
    /// It and what to do about it.
    pub said: Spoken,
}

/// The reasons in their order, what is alike said once, each put into words when it is asked for: a verdict may have
/// thousands.
pub fn reasons(verdict: &Verdict) -> impl ExactSizeIterator<Item = Because<'_>> {
    alike(verdict).into_iter().map(|alike| Because {
        reason: alike[0],
        weight: weight(alike[0], verdict.verdict),
        said: reason_of_all(&alike, verdict),
    })
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
    use super::super::fixture::{broken, check, compared, verdict};
    use super::*;
    use crate::harness::compare::Design;
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
            "a.p95 breaks its limit, and 1 other limit is broken",
        );
        check(
            Outcome::Fail,
            vec![
                Reason::Regressed {
                    metric: "load.reads.p95".into(),
                },
                broken("b.p95"),
            ],
            "The p95 latency of reads got worse, and 1 other reason",
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
    fn a_regression_says_what_got_worse_by_how_much_and_how_sure_that_is() {
        let mut judged = compared("s", Design::Paired, [0.1, 0.15, 0.2]);
        let check = |judged: &Verdict, expected: &str| {
            assert_eq!(headline(judged).replace('\u{202f}', " "), expected);
        };
        let regressed = |metric: &str| Reason::Regressed {
            metric: metric.into(),
        };
        judged.verdict = Outcome::Fail;
        judged.metrics[0].name = "load.reads.p95".into();
        judged.reasons = vec![regressed("load.reads.p95")];
        let said = "The p95 latency of reads is 15.0 % higher than the base's (95 % sure of at least 10.0 %)";
        check(&judged, said);
        judged.reasons.extend([regressed("a"), regressed("b")]);
        check(&judged, &format!("{said}, and 2 other metrics got worse"));
        judged.reasons.truncate(1);
        judged.metrics[0].lower = Some(-0.01);
        let unsure = "The p95 latency of reads is 15.0 % higher than the base's";
        check(&judged, unsure);
        judged.verdict = Outcome::Inconclusive;
        judged.reasons = vec![Reason::Inconclusive {
            metric: "load.reads.p95".into(),
        }];
        let said = headline(&judged);
        let whether = "No answer yet: whether the p95 latency of reads got worse can't be told: ";
        assert!(said.starts_with(whether), "{said}");
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
