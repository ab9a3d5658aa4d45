//! What a search for a capacity found.

use crate::harness::model::{CapacitySearch, CapacityTrial, TrialOutcome, Unit};
use crate::harness::report::format::{self, rate};
use crate::harness::report::load::Search;

/// What became of a rate that was tried.
pub(crate) fn trial_outcome(outcome: TrialOutcome) -> &'static str {
    match outcome {
        TrialOutcome::Held => "held",
        TrialOutcome::Broke => "broke",
        TrialOutcome::NotOffered => "not offered",
    }
}

/// What the searches of one load found, one a run, in a sentence; `None` of a load that did not
/// search.
pub(crate) fn capacity(searches: &[Search]) -> Option<String> {
    match searches {
        [] => None,
        [search] if search.is_cut_short => Some(until_then(&search.found)),
        [search] => Some(in_the_end(&search.found) + &saturated(&search.found)),
        several => Some(together(several)),
    }
}

/// Of which trials everything else is that is known of such a load, in a sentence; `None` of a load that
/// did not search.
pub(crate) fn rest_of_search(searches: &[Search]) -> Option<String> {
    let is_last = |search: &Search| search.is_cut_short || search.found.holds.is_none();
    let of = match searches {
        [] => return None,
        [search] if search.is_cut_short => "the trial in which the search ended".to_owned(),
        [search] => match search.found.holds {
            Some(holds) => format!("the trial at {}, the highest rate that held", rate(holds)),
            None => "the last trial, because no rate held".to_owned(),
        },
        several if several.iter().all(is_last) => "the last trial of each run".to_owned(),
        several if several.iter().any(is_last) => {
            "one trial of each run: that at the highest rate that held, or the last".to_owned()
        }
        _ => "one trial of each run: that at the highest rate that held".to_owned(),
    };
    Some(format!("All other numbers of this load are of {of}."))
}

/// What a search found that came to its end.
fn in_the_end(found: &CapacitySearch) -> String {
    let not_offered = lowest(found, |trial| {
        trial.outcome == TrialOutcome::NotOffered && found.holds.is_none_or(|it| trial.rate > it)
    });
    match (found.holds, found.breaks, not_offered) {
        (Some(holds), Some(breaks), _) => format!(
            "The limits held at {}, and no more at {}.",
            rate(holds),
            rate(breaks)
        ),
        (Some(holds), None, Some(beyond)) => format!(
            "The limits held at {}; the generator could not offer {}, so nothing is known beyond.",
            rate(holds),
            rate(beyond)
        ),
        (Some(holds), None, None) => match lowest(found, |trial| trial.rate > holds) {
            Some(above) => format!(
                "The limits held at {}; from {} on trials disagree.",
                rate(holds),
                rate(above)
            ),
            None => format!(
                "The limits held at {}, the highest rate that was to be tried.",
                rate(holds)
            ),
        },
        (None, Some(breaks), _) => format!("The limits held not even at {}.", rate(breaks)),
        (None, None, Some(lowest)) => format!(
            "The generator could not even offer {}, so nothing is known of the target.",
            rate(lowest)
        ),
        (None, None, None) => "The search found nothing.".to_owned(),
    }
}

/// What was completed at rates that broke the limits, where that was more: the ceiling that the capacity
/// is a share of.
fn saturated(found: &CapacitySearch) -> String {
    let most = found.most_completed();
    match found.holds {
        Some(holds) if holds < most => format!(
            " The most that was completed at any rate was {}; the capacity is {} of that.",
            rate(most),
            format::value(&Unit::Ratio, holds / most)
        ),
        _ => String::new(),
    }
}

/// What a search found until the run ended.
fn until_then(found: &CapacitySearch) -> String {
    let known = match (found.holds, found.breaks) {
        (Some(holds), Some(breaks)) => {
            format!("held at {}, and not at {}", rate(holds), rate(breaks))
        }
        (Some(holds), None) => format!("held at {}", rate(holds)),
        (None, Some(breaks)) => format!("did not hold at {}", rate(breaks)),
        (None, None) => return "The search ended before anything was found.".to_owned(),
    };
    format!("The search ended before its time; until then the limits {known}.")
}

/// What the searches of several runs found.
fn together(searches: &[Search]) -> String {
    let holds = || searches.iter().filter_map(|search| search.found.holds);
    let (Some(least), Some(most)) = (holds().reduce(f64::min), holds().reduce(f64::max)) else {
        return format!(
            "In none of {} runs the limits held at any rate.",
            searches.len()
        );
    };
    let none = searches.len() - holds().count();
    let but = match none {
        0 => String::new(),
        _ => format!(
            "; in {} they held at none",
            format::counted(none as u64, "run")
        ),
    };
    match least == most {
        true => format!(
            "The highest rate at which the limits held was {}{but}.",
            rate(least)
        ),
        false => format!(
            "The highest rates at which the limits held were {} to {}{but}.",
            rate(least),
            rate(most)
        ),
    }
}

fn lowest(found: &CapacitySearch, is: impl Fn(&CapacityTrial) -> bool) -> Option<f64> {
    let trials = found.trials.iter().filter(|trial| is(trial));
    trials.map(|trial| trial.rate).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::TrialOutcome::{Broke, Held, NotOffered};
    use super::*;
    use crate::harness::model::RunId;

    fn search(holds: Option<f64>, breaks: Option<f64>, trials: &[(f64, TrialOutcome)]) -> Search {
        // What is beyond the capacity is completed as far as that.
        let trial = |&(rate, outcome): &(f64, TrialOutcome)| CapacityTrial {
            rate,
            achieved: holds.map_or(1.0, |holds| (holds / rate).min(1.0)),
            error_rate: 0.0,
            quantiles: Vec::new(),
            outcome,
            reason: String::new(),
        };
        Search {
            run: RunId::now(),
            found: CapacitySearch {
                holds,
                breaks,
                trials: trials.iter().map(trial).collect(),
            },
            is_cut_short: false,
        }
    }

    fn cut(search: Search) -> Search {
        Search {
            is_cut_short: true,
            ..search
        }
    }

    fn check(searches: &[Search], expected: &str, rest: &str) {
        assert_eq!(capacity(searches).as_deref(), Some(expected));
        let rest = format!("All other numbers of this load are of {rest}.");
        assert_eq!(rest_of_search(searches), Some(rest));
    }

    #[test]
    fn what_a_search_found_is_told() {
        assert_eq!(capacity(&[]), None);
        assert_eq!(rest_of_search(&[]), None);
        let trials = [(100.0, Held), (200.0, NotOffered), (400.0, NotOffered)];
        check(
            &[search(Some(400.0), Some(420.0), &trials)],
            "The limits held at 400/s, and no more at 420/s.",
            "the trial at 400/s, the highest rate that held",
        );
        check(
            &[search(Some(900.0), None, &[(450.0, Held), (900.0, Held)])],
            "The limits held at 900/s, the highest rate that was to be tried.",
            "the trial at 900/s, the highest rate that held",
        );
        check(
            &[search(Some(100.0), None, &trials)],
            "The limits held at 100/s; the generator could not offer 200/s, so nothing is known beyond.",
            "the trial at 100/s, the highest rate that held",
        );
        check(
            &[search(Some(100.0), None, &[(100.0, Held), (150.0, Broke)])],
            "The limits held at 100/s; from 150/s on trials disagree.",
            "the trial at 100/s, the highest rate that held",
        );
        check(
            &[search(None, Some(100.0), &[(100.0, Broke)])],
            "The limits held not even at 100/s.",
            "the last trial, because no rate held",
        );
        check(
            &[search(None, None, &[(100.0, NotOffered)])],
            "The generator could not even offer 100/s, so nothing is known of the target.",
            "the last trial, because no rate held",
        );
        check(
            &[search(None, None, &[])],
            "The search found nothing.",
            "the last trial, because no rate held",
        );
    }

    #[test]
    fn what_is_completed_beyond_the_limits_is_told() {
        let mut found = search(
            Some(300.0),
            Some(315.0),
            &[(300.0, Held), (315.0, Broke), (800.0, Broke)],
        );
        found.found.trials[2].achieved = 0.5;
        check(
            &[found],
            "The limits held at 300/s, and no more at 315/s. The most that was completed at any rate was 400/s; the capacity is 75\u{202f}% of that.",
            "the trial at 300/s, the highest rate that held",
        );
    }

    #[test]
    fn what_is_known_of_a_search_that_was_cut_short_is_told() {
        let ended = "the trial in which the search ended";
        check(
            &[cut(search(Some(200.0), None, &[(200.0, Held)]))],
            "The search ended before its time; until then the limits held at 200/s.",
            ended,
        );
        check(
            &[cut(search(Some(200.0), Some(400.0), &[]))],
            "The search ended before its time; until then the limits held at 200/s, and not at 400/s.",
            ended,
        );
        check(
            &[cut(search(None, Some(100.0), &[]))],
            "The search ended before its time; until then the limits did not hold at 100/s.",
            ended,
        );
        check(
            &[cut(search(None, None, &[]))],
            "The search ended before anything was found.",
            ended,
        );
    }

    #[test]
    fn several_runs_are_told_together() {
        let held = |rate| search(Some(rate), Some(rate * 1.05), &[]);
        let none = || search(None, Some(100.0), &[]);
        let each = "one trial of each run: that at the highest rate that held";
        check(
            &[held(400.0), held(440.0), none()],
            "The highest rates at which the limits held were 400/s to 440/s; in 1 run they held at none.",
            &format!("{each}, or the last"),
        );
        check(
            &[held(400.0), held(400.0)],
            "The highest rate at which the limits held was 400/s.",
            each,
        );
        check(
            &[none(), none()],
            "In none of 2 runs the limits held at any rate.",
            "the last trial of each run",
        );
        check(
            &[held(400.0), cut(held(200.0))],
            "The highest rates at which the limits held were 200/s to 400/s.",
            &format!("{each}, or the last"),
        );
    }
}
