//! What is true of several runs of an arm, told once.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use crate::harness::gate::{Reason, Verdict};
use crate::harness::model::InvalidReason;
use crate::harness::report::{format, text};

use super::invalid::invalid;
use super::reason::reason;
use super::spoken::Spoken;

/// What reasons have in common that are told as one, whatever stands between them: they differ in the run and in
/// their figures, and no more.
#[derive(PartialEq, Eq, Hash)]
enum Kind<'v> {
    Partial {
        arm: &'v str,
    },
    /// What a machine with too little left, or a target too slow for the load, does to every run, and to no two alike.
    Strained {
        arm: &'v str,
        how: Discriminant<InvalidReason>,
        load: &'v str,
        message: &'v str,
    },
}

/// The reasons in their order, each with those that say the same of other runs of its arm; the worst of them first.
pub(super) fn alike(verdict: &Verdict) -> Vec<Vec<&Reason>> {
    let mut all: Vec<Vec<&Reason>> = Vec::new();
    let mut of_kind: HashMap<Kind<'_>, usize> = HashMap::new();
    for given in &verdict.reasons {
        let like_it = match kind(given) {
            Some(kind) => {
                let at = *of_kind.entry(kind).or_insert(all.len());
                // Twice in one run: of two machines of it.
                let is_of_another_run = |group: &&mut Vec<&Reason>| {
                    group.last().is_some_and(|last| run(last) != run(given))
                };
                all.get_mut(at).filter(is_of_another_run)
            }
            None => all
                .last_mut()
                .filter(|group| arm(group[0]) == arm(given) && is_same(group[0], given)),
        };
        match like_it {
            Some(group) => group.push(given),
            None => all.push(vec![given]),
        }
    }
    for group in &mut all {
        // The first of those that are equally bad.
        let worst = (0..group.len())
            .rev()
            .max_by(|a, b| strain(group[*a]).total_cmp(&strain(group[*b])));
        group.swap(0, worst.unwrap_or(0));
    }
    all
}

/// What several [`alike`] reasons say.
pub(super) fn reason_of_all(alike: &[&Reason], verdict: &Verdict) -> Spoken {
    let worst = alike[0];
    let (Some(arm), true) = (arm(worst), alike.len() > 1) else {
        return reason(worst, verdict);
    };
    let runs = format!(
        "{} {} runs",
        format::count(alike.len() as u64),
        text::shown(arm, 20)
    );
    match worst {
        Reason::InvalidRun { run, reason } => {
            let said = invalid(reason);
            let most = match alike.iter().all(|other| is_same(worst, other)) {
                true => String::new(),
                false => format!(", {} the most", text::shown(run, 40)),
            };
            Spoken {
                what: format!("{runs} are invalid{most}: {}", said.what),
                ..said
            }
        }
        _ => Spoken::new(
            format!("{runs} were stopped before their time"),
            "Run them again to their end",
        ),
    }
}

fn kind(reason: &Reason) -> Option<Kind<'_>> {
    let arm = arm(reason)?;
    let Reason::InvalidRun { reason, .. } = reason else {
        return Some(Kind::Partial { arm });
    };
    let (load, message) = match reason {
        InvalidReason::Dropped { load, .. }
        | InvalidReason::GeneratorLate { load, .. }
        | InvalidReason::GeneratorSaturated { load, .. } => (load.as_str(), ""),
        InvalidReason::GeneratorsCrowded { .. } => ("", ""),
        InvalidReason::GeneratorExhausted { load, message, .. } => {
            (load.as_str(), message.as_str())
        }
        _ => return None,
    };
    Some(Kind::Strained {
        arm,
        how: discriminant(reason),
        load,
        message,
    })
}

/// How bad it is; only for what is of one [`Kind`].
fn strain(reason: &Reason) -> f64 {
    let Reason::InvalidRun { reason, .. } = reason else {
        return 0.0;
    };
    match reason {
        InvalidReason::Dropped {
            dropped, offered, ..
        } => *dropped as f64 / (*offered).max(1) as f64,
        InvalidReason::GeneratorLate {
            lateness_ns_p99, ..
        } => *lateness_ns_p99 as f64,
        InvalidReason::GeneratorSaturated { cpu_cores, .. }
        | InvalidReason::GeneratorsCrowded { cpu_cores, .. } => *cpu_cores,
        InvalidReason::GeneratorExhausted { failures, .. } => *failures as f64,
        _ => 0.0,
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

fn run(reason: &Reason) -> Option<&str> {
    match reason {
        Reason::InvalidRun { run, .. } | Reason::PartialRun { run } => Some(run),
        _ => None,
    }
}

/// `head` of `head run 3`.
fn arm(reason: &Reason) -> Option<&str> {
    run(reason)?.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::verdict;
    use super::super::{capitalised, headline, reasons};
    use super::*;
    use crate::harness::gate::Outcome;
    use crate::harness::model::ShardFault;

    fn of(run: &str, reason: InvalidReason) -> Reason {
        let run = run.to_owned();
        Reason::InvalidRun { run, reason }
    }

    fn late(run: &str, load: &str, ms: u64) -> Reason {
        let reason = InvalidReason::GeneratorLate {
            load: load.to_owned(),
            lateness_ns_p99: ms * 1_000_000,
            tolerance_ns: 1_000_000,
        };
        of(run, reason)
    }

    fn broke(run: &str, step: &str, message: &str) -> Reason {
        let reason = InvalidReason::SetupFailed {
            step: step.to_owned(),
            message: message.to_owned(),
        };
        of(run, reason)
    }

    fn check(given: Vec<Reason>, expected: &[&str]) {
        let judged = verdict(Outcome::Invalid, given);
        let said = reasons(&judged).map(|because| because.said.sentence());
        let said: Vec<String> = said.map(|said| said.replace('\u{202f}', " ")).collect();
        assert_eq!(said, expected);
        assert_eq!(reasons(&judged).len(), expected.len());
        let first = headline(&judged).replace('\u{202f}', " ");
        let rest = first.strip_prefix("Nothing is judged: ").expect("it is");
        assert!(capitalised(rest).starts_with(expected[0]), "{first}");
        assert_eq!(first.contains("other reason"), expected.len() > 1);
    }

    #[test]
    fn what_is_true_of_many_runs_is_told_of_the_worst() {
        let late_in = |run: &str, load: &str, ms: u64| {
            format!(
                "{run}: load {load} started 1 % of its iterations more than {ms}.00 ms late (1.00 ms tolerated)"
            )
        };
        let one = late("base run 1", "a", 3);
        check(
            vec![one.clone()],
            &[&late_in("Base run 1 is invalid", "a", 3)],
        );
        // Neither another load nor the other arm is the same.
        check(
            vec![
                one.clone(),
                late("base run 1", "b", 5),
                late("head run 2", "a", 9),
            ],
            &[
                &late_in("Base run 1 is invalid", "a", 3),
                &late_in("Base run 1 is invalid", "b", 5),
                &late_in("Head run 2 is invalid", "a", 9),
            ],
        );
        let mut many = vec![
            one,
            broke("base run 1", "login", "401"),
            broke("base run 2", "login", "401"),
            broke("base run 3", "login", "500"),
            broke("head run 3", "login", "500"),
        ];
        many.extend((2..=11).map(|at| late(&format!("base run {at}"), "a", at % 7)));
        many.extend(["head run 3", "head run 4"].map(|run| Reason::PartialRun { run: run.into() }));
        check(
            many,
            &[
                &late_in("11 base runs are invalid, base run 6 the most", "a", 6),
                "2 base runs are invalid: the setup failed at login",
                "Base run 3 is invalid: the setup failed at login",
                "Head run 3 is invalid: the setup failed at login",
                "2 head runs were stopped before their time",
            ],
        );
    }

    #[test]
    fn what_two_machines_did_to_a_run_is_told_of_both() {
        let missing = |index| {
            let fault = ShardFault::Missing;
            of(
                "head run 1",
                InvalidReason::Shard {
                    index,
                    of: 3,
                    fault,
                },
            )
        };
        check(
            vec![missing(1), missing(2)],
            &[
                "Head run 1 is invalid: shard 1/3 is missing",
                "Head run 1 is invalid: shard 2/3 is missing",
            ],
        );
        let crowded = |cpu_cores| {
            let cores = 4.0;
            of(
                "head run 1",
                InvalidReason::GeneratorsCrowded { cpu_cores, cores },
            )
        };
        check(
            vec![crowded(3.5), crowded(3.75)],
            &[
                "Head run 1 is invalid: the generators of all loads together kept 3.50 of 4.00 cores of their machine busy",
                "Head run 1 is invalid: the generators of all loads together kept 3.75 of 4.00 cores of their machine busy",
            ],
        );
    }
}
