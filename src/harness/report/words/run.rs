//! Runs that did not go to their end.

use crate::harness::model::{Aborted, Run};
use crate::harness::report::format;

use super::invalid::invalid;
use super::spoken::{Spoken, moment, name};

/// Why a run must not be judged like one that went to its end; nothing of a valid one.
pub fn unfit(run: &Run) -> Vec<Spoken> {
    let mut why: Vec<Spoken> = run.invalid.iter().map(invalid).collect();
    match &run.aborted {
        Some(aborted) => why.push(ended_by("the run", aborted)),
        None if run.partial => why.push(Spoken::new(
            "stopped before its time",
            "Run it again to its end",
        )),
        None => {}
    }
    why
}

/// That some of the runs whose numbers are shown did not go to their end, in a sentence; `None` where all
/// did.
pub fn cut_short(shown: &[&Run]) -> Option<String> {
    let count = |is: fn(&Run) -> bool| shown.iter().filter(|run| is(run)).count();
    let by_limit = count(|run| run.aborted.is_some());
    let stopped = count(|run| run.partial && run.aborted.is_none());
    let of = shown.len();
    let what = match (by_limit, stopped) {
        (0, 0) => return None,
        (1, 0) if of == 1 => "A limit ended the run".to_owned(),
        (_, 0) => format!("A limit ended {by_limit} of {of} runs"),
        (0, _) if of == 1 => "The run was stopped before its time".to_owned(),
        (0, _) => format!("{stopped} of {of} runs were stopped before their time"),
        _ => format!(
            "{} of {of} runs ended before their time, {by_limit} of them by a limit",
            by_limit + stopped
        ),
    };
    Some(format!(
        "{what}: the numbers are of what was measured until then."
    ))
}

/// That a limit ended a run.
pub(super) fn ended_by(run: &str, aborted: &Aborted) -> Spoken {
    let Aborted {
        metric,
        unit,
        value,
        limit,
        at_ns,
    } = aborted;
    let most = if value > limit { "most" } else { "least" };
    Spoken::new(
        format!(
            "{} was {} {}, and {run} was ended there: it must be at {most} {}",
            name(metric),
            format::value_against(unit, *value, &[*limit]),
            moment(i64::try_from(*at_ns).unwrap_or(i64::MAX)),
            format::limit(unit, *limit),
        ),
        "See how it came to that in the curves of the run; nothing else was judged, because the rest of it is missing",
    )
    .named()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::check;
    use super::*;
    use crate::harness::gate::{Outcome, Reason};
    use crate::harness::model::{RunId, Unit};

    #[test]
    fn what_was_not_measured_to_its_end_is_said() {
        let check = |runs: &[(bool, bool)], expected: Option<&str>| {
            let runs: Vec<Run> = runs
                .iter()
                .map(|&(partial, by_limit)| Run {
                    partial,
                    aborted: by_limit.then(|| Aborted {
                        metric: "load.a.error_rate".into(),
                        unit: Unit::Ratio,
                        value: 0.5,
                        limit: 0.1,
                        at_ns: 1,
                    }),
                    ..Run::imported(RunId::now(), "s".into(), Vec::new())
                })
                .collect();
            let said = cut_short(&Vec::from_iter(&runs));
            let until = ": the numbers are of what was measured until then.";
            assert_eq!(said, expected.map(|what| format!("{what}{until}")));
        };
        let (whole, ended, stopped) = ((false, false), (true, true), (true, false));
        check(&[whole, whole], None);
        check(&[], None);
        check(&[ended], Some("A limit ended the run"));
        check(&[whole, ended], Some("A limit ended 1 of 2 runs"));
        check(&[stopped], Some("The run was stopped before its time"));
        check(
            &[stopped, stopped],
            Some("2 of 2 runs were stopped before their time"),
        );
        check(
            &[ended, stopped, whole],
            Some("2 of 3 runs ended before their time, 1 of them by a limit"),
        );
    }

    #[test]
    fn a_limit_that_ended_a_run_is_told_with_what_broke_it_and_when() {
        let aborted = |value, limit| Reason::Aborted {
            run: "head run 1".into(),
            aborted: Aborted {
                metric: "load.a.error_rate".into(),
                unit: Unit::Ratio,
                value,
                limit,
                at_ns: 12_000_000_000,
            },
        };
        check(
            Outcome::Fail,
            vec![aborted(0.08, 0.05)],
            "load.a.error_rate was 8 % 12 s into the run, and head run 1 was ended there: it must be at most 5 %",
        );
        check(
            Outcome::Fail,
            vec![aborted(0.9, 0.95)],
            "load.a.error_rate was 90 % 12 s into the run, and head run 1 was ended there: it must be at least 95 %",
        );
    }
}
