//! Why a verdict is what it is, reason by reason, and what to do next.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem::{Discriminant, discriminant};

use crate::harness::gate::{Reason, Verdict};
use crate::harness::model::{FingerprintDifference, InvalidReason};
use crate::harness::report::format;
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

/// The reasons in their order, each with those that say the same of other runs, or of other loads: word for word and
/// right behind it, or but for the figures where it is the machine's doing, which no two runs have alike.
pub(super) fn alike(verdict: &Verdict) -> Vec<Vec<&Reason>> {
    let mut all: Vec<Vec<&Reason>> = Vec::new();
    let mut of_kind = HashMap::new();
    for given in &verdict.reasons {
        let same = match kind_for_all(given) {
            Some(kind) => match of_kind.entry(kind) {
                Entry::Occupied(first) => all.get_mut(*first.get()),
                Entry::Vacant(none) => {
                    none.insert(all.len());
                    None
                }
            },
            None => all.last_mut().filter(|last| is_same(last[0], given)),
        };
        match same {
            Some(same) => same.push(given),
            None => all.push(vec![given]),
        }
    }
    all
}

/// What a reason has in common with all that are told with it, whatever stands between them.
fn kind_for_all(
    reason: &Reason,
) -> Option<(Discriminant<Reason>, Option<Discriminant<InvalidReason>>)> {
    let of_run = discriminant(reason);
    match reason {
        Reason::PartialRun { .. } => Some((of_run, None)),
        Reason::InvalidRun { reason, .. } if is_of_the_machine(reason) => {
            Some((of_run, Some(discriminant(reason))))
        }
        _ => None,
    }
}

fn is_same(one: &Reason, other: &Reason) -> bool {
    match (one, other) {
        (Reason::InvalidRun { reason: one, .. }, Reason::InvalidRun { reason: other, .. }) => {
            one == other
        }
        _ => false,
    }
}

/// What a machine that has too little left, or a target too slow for the load, does to every run.
fn is_of_the_machine(reason: &InvalidReason) -> bool {
    matches!(
        reason,
        InvalidReason::Dropped { .. }
            | InvalidReason::GeneratorLate { .. }
            | InvalidReason::GeneratorSaturated { .. }
            | InvalidReason::GeneratorsCrowded { .. }
            | InvalidReason::GeneratorExhausted { .. }
    )
}

/// The first of several that are [alike], and of how many more runs, or loads, it is true.
pub(super) fn reason_of_all(alike: &[&Reason], verdict: &Verdict) -> Spoken {
    let said = reason(alike[0], verdict);
    let others = alike
        .windows(2)
        .filter(|two| run_of(two[0]) != run_of(two[1]))
        .count() as u64;
    let more = match (alike.len() as u64 - 1, others) {
        (0, _) => return said,
        (loads, 0) => format::counted(loads, "other load"),
        (_, runs) => format::counted(runs, "other run"),
    };
    Spoken {
        what: format!("{}; the same goes for {more}", said.what),
        ..said
    }
}

fn run_of(reason: &Reason) -> Option<&str> {
    match reason {
        Reason::InvalidRun { run, .. } | Reason::PartialRun { run } => Some(run),
        _ => None,
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
    use super::super::fixture::{broken, compared, verdict};
    use super::super::{headline, reasons, warning};
    use super::*;
    use crate::harness::compare::Design;
    use crate::harness::gate::{Outcome, Warning};
    use crate::harness::model::{Arm, ShardFault};

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
    fn what_is_true_of_many_runs_is_said_once() {
        let late = |run: &str, load: &str, lateness_ns_p99| Reason::InvalidRun {
            run: run.to_owned(),
            reason: InvalidReason::GeneratorLate {
                load: load.to_owned(),
                lateness_ns_p99,
                tolerance_ns: 1_000_000,
            },
        };
        let broke = |run: &str, step: &str, message: &str| Reason::InvalidRun {
            run: run.to_owned(),
            reason: InvalidReason::SetupFailed {
                step: step.to_owned(),
                message: message.to_owned(),
            },
        };
        let check = |given: Vec<Reason>, expected: &[&str]| {
            let judged = verdict(Outcome::Invalid, given);
            let said =
                reasons(&judged).map(|because| because.said.sentence().replace('\u{202f}', " "));
            assert_eq!(said.collect::<Vec<_>>(), expected);
            assert_eq!(reasons(&judged).len(), expected.len());
            let first = headline(&judged).replace('\u{202f}', " ");
            let rest = first.strip_prefix("Nothing is judged: ").expect("it is");
            assert!(capitalised(rest).starts_with(expected[0]), "{first}");
            assert_eq!(first.contains("other reason"), expected.len() > 1);
        };
        let missing = |index| Reason::InvalidRun {
            run: "head run 1".to_owned(),
            reason: InvalidReason::Shard {
                index,
                of: 3,
                fault: ShardFault::Missing,
            },
        };
        check(
            vec![missing(1), missing(2)],
            &[
                "Head run 1 is invalid: shard 1/3 is missing",
                "Head run 1 is invalid: shard 2/3 is missing",
            ],
        );
        const LATE: &str = "Base run 1 is invalid: load a started 1 % of its iterations more than 3.00 ms late (1.00 ms tolerated)";
        check(vec![late("base run 1", "a", 3_000_000)], &[LATE]);
        check(
            vec![
                late("base run 1", "a", 3_000_000),
                late("base run 1", "b", 5_000_000),
            ],
            &[&format!("{LATE}; the same goes for 1 other load")],
        );
        check(
            vec![
                late("base run 1", "a", 3_000_000),
                late("base run 1", "b", 5_000_000),
                late("head run 2", "b", 5_000_000),
            ],
            &[&format!("{LATE}; the same goes for 1 other run")],
        );
        let mut many = vec![
            late("base run 1", "a", 3_000_000),
            broke("head run 1", "login", "401"),
            broke("head run 2", "login", "401"),
            broke("head run 3", "login", "500"),
        ];
        many.extend((1..=11).map(|at| late(&format!("head run {at}"), "a", 2_000_000)));
        many.push(Reason::PartialRun {
            run: "head run 3".to_owned(),
        });
        check(
            many,
            &[
                &format!("{LATE}; the same goes for 11 other runs"),
                "Head run 1 is invalid: the setup failed at login; the same goes for 1 other run",
                "Head run 3 is invalid: the setup failed at login",
                "Head run 3 was stopped before its time",
            ],
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
