//! The runs of one lineage against those before them: where a metric comes from and where it changed.
//!
//! A trend is for reading. Nothing in it can fail a gate: the p-values of changes are no error rates
//! (see [`stats::change_points`](crate::harness::stats::change_points)).

use crate::harness::model::{Direction, median};
use crate::harness::stats::{Divisive, MAX_CHANGE_VALUES, change_points};

/// Changes are looked for in so many runs or more.
pub const RUNS_FOR_CHANGES: usize = 20;
/// The newest runs are held against those so many before them.
pub const LOOK_BACK: usize = 20;
/// One run says little, so the middle of so many is taken on both sides.
const RECENT: usize = 5;

/// One metric over the runs of a lineage.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// How many runs it rests on.
    pub runs: usize,
    /// The value of the oldest of them.
    pub first: f64,
    /// The middle of them all.
    pub median: f64,
    /// The value of the newest.
    pub last: f64,
    /// Effects are differences in the metric's unit, because a value of zero or less has no ratio; else
    /// they are fractions: .05 is 5 % worse.
    pub is_difference: bool,
    /// How much worse the median of the newest five runs is than that of the five 20 runs before them;
    /// negative is better, `None` for fewer than 25 runs.
    pub effect_since_20_runs: Option<f64>,
    /// Changes, as far as there are runs enough to look for some.
    pub search: ChangeSearch,
}

/// What the search for changes gave.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeSearch {
    /// Too few runs to look for a change.
    TooFewRuns {
        /// So many are needed.
        needed: usize,
    },
    /// It was looked for.
    Done {
        /// In so many runs, the newest.
        runs: usize,
        /// What was found, oldest first.
        changes: Vec<Change>,
    },
}

/// A change of a metric. It is reported and never judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The index of the first run after it, the oldest run of the trend being 0.
    pub at: usize,
    /// The median of the runs between the change before it and this one.
    pub before: f64,
    /// The median of the runs between this change and the next.
    pub after: f64,
    /// How much worse `after` is than `before`; negative is better.
    pub effect: f64,
    /// The p-value of the permutation test: no error rate.
    pub p: f64,
}

impl Trend {
    /// The changes that were found, oldest first.
    pub fn changes(&self) -> &[Change] {
        match &self.search {
            ChangeSearch::Done { changes, .. } => changes,
            ChangeSearch::TooFewRuns { .. } => &[],
        }
    }
}

/// The trend of one metric: one value a run, oldest first. `None` for no runs, and where a value is not
/// finite.
pub fn trend(values: &[f64], better: Direction) -> Option<Trend> {
    let (first, last) = (*values.first()?, *values.last()?);
    if !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let scale = Scale {
        is_difference: values.iter().any(|value| *value <= 0.0),
        better,
    };
    Some(Trend {
        runs: values.len(),
        first,
        median: median(values)?,
        last,
        is_difference: scale.is_difference,
        effect_since_20_runs: since_then(values, scale),
        search: search(values, scale),
    })
}

/// How values of one series are held against each other.
#[derive(Clone, Copy)]
struct Scale {
    is_difference: bool,
    better: Direction,
}

impl Scale {
    /// How much worse `after` is than `before`.
    fn effect(self, before: f64, after: f64) -> f64 {
        let (good, bad) = match self.better {
            Direction::Lower => (before, after),
            Direction::Higher => (after, before),
        };
        match self.is_difference {
            true => bad - good,
            false => bad / good - 1.0,
        }
    }

    /// The values as changes are looked for in: their logarithms where they have some.
    fn series(self, values: &[f64]) -> Vec<f64> {
        let scaled = values.iter();
        match self.is_difference {
            true => scaled.copied().collect(),
            false => scaled.map(|value| value.ln()).collect(),
        }
    }
}

fn since_then(values: &[f64], scale: Scale) -> Option<f64> {
    let newest = values.len().checked_sub(RECENT)?;
    let then = newest.checked_sub(LOOK_BACK)?;
    let before = median(&values[then..then + RECENT])?;
    Some(scale.effect(before, median(&values[newest..])?))
}

fn search(values: &[f64], scale: Scale) -> ChangeSearch {
    let enough = values.len() >= RUNS_FOR_CHANGES;
    let found = enough.then(|| change_points(&scale.series(values), &Divisive::default()));
    let Some(found) = found.flatten() else {
        return ChangeSearch::TooFewRuns {
            needed: RUNS_FOR_CHANGES,
        };
    };
    let looked_at = values.len().min(MAX_CHANGE_VALUES);
    let mut bounds = vec![values.len() - looked_at];
    bounds.extend(found.iter().map(|point| point.at));
    bounds.push(values.len());
    let middles: Vec<f64> = bounds
        .windows(2)
        .filter_map(|of| median(&values[of[0]..of[1]]))
        .collect();
    let changes = found.iter().zip(middles.windows(2)).map(|(point, around)| {
        let (before, after) = (around[0], around[1]);
        Change {
            at: point.at,
            before,
            after,
            effect: scale.effect(before, after),
            p: point.p,
        }
    });
    ChangeSearch::Done {
        runs: looked_at,
        changes: changes.collect(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// A level with a little of a rhythm that no median sees.
    fn level(of: f64, runs: usize) -> Vec<f64> {
        let wave = [0.0, 0.002, -0.002, 0.001, -0.001];
        wave.iter()
            .cycle()
            .take(runs)
            .map(|part| of * (1.0 + part))
            .collect()
    }

    #[test]
    fn a_change_has_its_place_and_size() {
        // Expected: (place, before, after, effect), the effect being the worsening.
        let check = |values: Vec<f64>, better, expected: &[(usize, f64, f64, f64)]| {
            let found = trend(&values, better).unwrap();
            assert_eq!(found.changes().len(), expected.len(), "{found:?}");
            for (change, (at, before, after, effect)) in found.changes().iter().zip(expected) {
                assert_eq!(
                    (change.at, change.before, change.after),
                    (*at, *before, *after)
                );
                assert!((change.effect - effect).abs() < 1e-9, "{change:?}");
                assert!(change.p <= 0.01);
            }
        };
        let step = [level(100.0, 20), level(110.0, 20)].concat();
        check(
            step.clone(),
            Direction::Lower,
            &[(20, 100.0, 110.0, 110.0 / 100.0 - 1.0)],
        );
        check(
            step,
            Direction::Higher,
            &[(20, 100.0, 110.0, 100.0 / 110.0 - 1.0)],
        );
        let there_and_back = [level(100.0, 20), level(50.0, 15), level(100.0, 15)].concat();
        check(
            there_and_back,
            Direction::Lower,
            &[(20, 100.0, 50.0, -0.5), (35, 50.0, 100.0, 1.0)],
        );
        // Error rates: a value of zero has no ratio.
        let rates = [vec![0.0; 20], level(0.04, 10)].concat();
        check(rates, Direction::Lower, &[(20, 0.0, 0.04, 0.04)]);
        let hits = [level(0.9, 20), vec![0.0; 10]].concat();
        check(hits, Direction::Higher, &[(20, 0.9, 0.0, 0.9)]);
        check(level(100.0, 60), Direction::Lower, &[]);
        check(vec![0.0; 60], Direction::Lower, &[]);
    }

    #[test]
    fn a_large_change_in_few_runs_is_not_looked_for() {
        let values = [level(1.0, 10), level(2.0, 9)].concat();
        let few = trend(&values, Direction::Lower).unwrap();
        assert_eq!(few.search, ChangeSearch::TooFewRuns { needed: 20 });
        let values = [level(1.0, 10), level(2.0, 10)].concat();
        assert_eq!(trend(&values, Direction::Lower).unwrap().changes().len(), 1);
    }

    #[test]
    fn the_newest_are_held_against_20_runs_before() {
        let check = |values: &[f64], better, expected: Option<f64>| {
            let found = trend(values, better).unwrap().effect_since_20_runs;
            assert_eq!(found.map(|it| (it * 1e9).round() / 1e9), expected);
        };
        let values = [vec![100.0; 5], vec![7.0; 15], vec![120.0; 4]].concat();
        check(&values, Direction::Lower, None);
        let values = [&values[..], &[990.0]].concat();
        check(&values, Direction::Lower, Some(0.2));
        check(&values, Direction::Higher, Some(-0.166_666_667));
        // Six runs earlier there was another level, which is of no account.
        let values = [&[3.0; 6], &values[..]].concat();
        check(&values, Direction::Lower, Some(0.2));
    }

    #[test]
    fn ends_and_middle() {
        let found = trend(&[3.0, 9.0, 4.0], Direction::Lower).unwrap();
        let shown = (found.runs, found.first, found.median, found.last);
        assert_eq!(shown, (3, 3.0, 4.0, 4.0));
        assert!(!found.is_difference);
        assert_eq!(trend(&[], Direction::Lower), None);
        assert_eq!(trend(&[1.0, f64::INFINITY], Direction::Lower), None);
        assert!(trend(&[1.0, -2.0], Direction::Lower).unwrap().is_difference);
    }

    /// Only the newest runs are searched, and what was before a change is what was looked at.
    #[test]
    fn a_long_history_is_searched_at_its_end() {
        let values = [level(9.0, 300), level(1.0, 200), level(2.0, 200)].concat();
        let found = trend(&values, Direction::Lower).unwrap();
        assert!(matches!(found.search, ChangeSearch::Done { runs: 400, .. }));
        let places: Vec<usize> = found.changes().iter().map(|change| change.at).collect();
        assert_eq!(places, [500]);
        assert_eq!(found.changes()[0].before, 1.0);
    }
}
