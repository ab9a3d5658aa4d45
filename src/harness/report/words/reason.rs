//! Why a verdict is what it is, reason by reason, and what to do next.

use crate::harness::gate::{Reason, Verdict};
use crate::harness::model::FingerprintDifference;
use crate::harness::report::text::{self, MAX_SHOWN_CHARS};

use super::base::{Base, saving};
use super::change::{improved, inconclusive, regressed, waived};
use super::condition::difference;
use super::invalid::invalid;
use super::limit::{against_limit, demand};
use super::run::ended_by;
use super::spoken::{Spoken, capitalised, name};

/// A reason and what to do about it.
pub fn reason(reason: &Reason, verdict: &Verdict) -> Spoken {
    match reason {
        Reason::InvalidRun { run, reason } => {
            let said = invalid(reason);
            Spoken {
                what: format!("{} is invalid: {}", text::shown(run, 40), said.what),
                ..said
            }
        }
        Reason::PartialRun { run } => Spoken::new(
            format!("{} was stopped before its time", text::shown(run, 40)),
            "Run it again to its end",
        ),
        Reason::Aborted { run, aborted } => ended_by(&text::shown(run, 40), aborted),
        Reason::NotComparable { differences } => conditions(differences, verdict),
        Reason::LimitBroken { metric } => Spoken::new(
            broken_limit(metric, &name(metric), verdict),
            "See when it happened in the curves of the run, or change the limit if it asks too much",
        )
        .named(),
        Reason::NothingInOrder { metric } => Spoken::new(
            format!(
                "{} has no value because no request behind it was in order",
                name(metric)
            ),
            "Look at the errors of the load: the target answered, if at all, not as the scenario demands",
        )
        .named(),
        Reason::NoRateHeld { metric } => Spoken::new(
            format!(
                "{} has no value because not even the lowest rate that was tried kept the limits",
                name(metric)
            ),
            "See in the report which limit it broke; look for the cause, or begin at a lower rate: `from`",
        )
        .named(),
        Reason::Regressed { metric } => regressed(metric, verdict),
        Reason::Inconclusive { metric } => inconclusive(metric, verdict),
        Reason::NotMeasurable {
            metric,
            reason,
            remedy,
        } => Spoken::new(
            format!(
                "{} is not measurable: {}",
                name(metric),
                text::shown(reason, MAX_SHOWN_CHARS)
            ),
            capitalised(&text::shown(remedy, MAX_SHOWN_CHARS)),
        )
        .named(),
        Reason::OneArmOnly { metric, arm } => Spoken::new(
            format!("only the {} has {}", arm.name(), name(metric)),
            match Base::of(verdict) {
                Base::Stored => {
                    "If it was renamed or removed on purpose, change the gate and save a new baseline"
                }
                Base::Paired | Base::Elsewhere => {
                    "If it was renamed or removed on purpose, change the gate"
                }
            },
        ),
        Reason::Waived { metric } => waived(metric, verdict),
        Reason::NoBaseline => Spoken::new(
            "there is no base to compare with",
            saving("Measure the base here"),
        ),
        Reason::Improved { metric } => improved(metric, verdict),
    }
}

/// What a metric is and what its limit demands; the clause calls it `shown`.
pub(super) fn broken_limit(metric: &str, shown: &str, verdict: &Verdict) -> String {
    let limit = verdict
        .limits
        .iter()
        .find(|limit| limit.metric == metric && limit.holds == Some(false));
    match limit {
        Some(limit) => format!(
            "{shown} is {}; it must be {}",
            against_limit(limit),
            demand(limit)
        ),
        None => format!("{shown} breaks its limit"),
    }
}

fn conditions(differences: &[FingerprintDifference], verdict: &Verdict) -> Spoken {
    let fields: Vec<String> = differences.iter().map(difference).collect();
    Spoken::new(
        format!(
            "the two arms were measured under different conditions: {}",
            fields.join(", ")
        ),
        match Base::of(verdict) {
            Base::Elsewhere => "Measure both arms under the same conditions".to_owned(),
            Base::Stored | Base::Paired => saving("Measure the base under these conditions"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{broken, compared};
    use super::super::{headline, warning};
    use super::*;
    use crate::harness::compare::Design;
    use crate::harness::gate::{Outcome, Warning};
    use crate::harness::model::Arm;

    #[test]
    fn a_remedy_helps_what_was_compared() {
        let metric = || "m".to_owned();
        let check = |scenario, design, expected: [&str; 4]| {
            let compared = compared(scenario, design, [-0.01, 0.03, 0.07]);
            let low = Warning::Underpowered {
                metric: metric(),
                mde: 0.08,
                margin: 0.05,
                pairs_needed: Some(12),
            };
            let said = [
                reason(&Reason::Inconclusive { metric: metric() }, &compared).next,
                warning(&low, &compared).next,
                reason(&Reason::Regressed { metric: metric() }, &compared).next,
                reason(&Reason::Improved { metric: metric() }, &compared).next,
            ];
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.contains(expected), "{said}: no {expected}");
            }
            let is_stored = (scenario, design) == ("s", Design::Stored);
            let names_baseline = said.iter().any(|said| said.contains("baseline save"));
            assert_eq!(names_baseline, is_stored, "{said:?}");
        };
        check(
            "s",
            Design::Stored,
            [
                "12 runs (`--runs 12`)",
                "12 runs (`--runs 12`)",
                "save",
                "save",
            ],
        );
        check(
            "s",
            Design::Paired,
            ["--pairs 12", "--pairs 12", "waive it", ""],
        );
        check(
            "",
            Design::Stored,
            ["12 runs in each arm", "12 runs in each arm", "Find", ""],
        );
    }

    #[test]
    fn a_metric_is_called_what_it_is_called() {
        let mut judged = compared("", Design::Paired, [0.05, 0.06, 0.07]);
        let metric = || "m".to_owned();
        judged.verdict = Outcome::Fail;
        judged.reasons = vec![Reason::Regressed { metric: metric() }];
        assert!(
            headline(&judged).starts_with("m is 6.0"),
            "{}",
            headline(&judged)
        );
        let check = |given: Reason, expected: &str| {
            let said = reason(&given, &judged).sentence();
            assert!(said.starts_with(expected), "{said}");
        };
        check(broken("m"), "m breaks");
        check(Reason::Improved { metric: metric() }, "m got better");
        check(
            Reason::Inconclusive { metric: metric() },
            "m got worse, but",
        );
        check(
            Reason::NothingInOrder { metric: metric() },
            "m has no value",
        );
        check(
            Reason::NoRateHeld { metric: metric() },
            "m has no value because not even the lowest rate",
        );
        let arm = Arm::Base;
        check(
            Reason::OneArmOnly {
                metric: metric(),
                arm,
            },
            "Only the base has m",
        );
    }
}
