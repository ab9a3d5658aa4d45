//! When the pairs are looked at, planned before the first of them is run.

use std::time::Duration;

use crate::harness::report::format;
use crate::harness::stats::{ALPHA, LOOKS};

use super::live::{Open, in_full, whole};

/// The looks of one gate. Without a budget there is one, at the whole level. With a budget there are
/// at most three, each at a third of the level, so that together they are wrong no more often: the
/// second after twice, the third after four times as many pairs as the first, or after as many as
/// the budget has time for.
#[derive(Debug, Clone)]
pub(super) struct Looks {
    /// Pairs before the first.
    pub(super) first: u32,
    /// How many were taken.
    pub(super) taken: u32,
    budget: Option<Duration>,
    pairs: u32,
    spent: Duration,
}

impl Looks {
    /// Before the first.
    pub(super) fn new(first: u32, budget: Option<Duration>) -> Self {
        Self {
            first,
            taken: 0,
            budget,
            pairs: 0,
            spent: Duration::ZERO,
        }
    }

    /// The one-sided level of each look.
    pub(super) fn alpha(&self) -> f64 {
        match self.budget {
            Some(_) => ALPHA / f64::from(LOOKS),
            None => ALPHA,
        }
    }

    /// Counts a look after `pairs` more, which took so long.
    pub(super) fn take(&mut self, took: Duration, pairs: u32) {
        self.taken += 1;
        self.pairs = self.pairs.saturating_add(pairs);
        self.spent = self.spent.saturating_add(took);
    }

    /// The pairs before the next look: as many as there are already, or as the budget has time for,
    /// which depends on how long pairs take and on nothing that they show. `None` where no look is left.
    pub(super) fn next(&self) -> Option<u32> {
        if self.taken >= LOOKS {
            return None;
        }
        let left = self.left()?.as_secs_f64();
        let each = self.spent.as_secs_f64() / f64::from(self.pairs.max(1));
        // A cast of a float saturates.
        let fitting = (left / each) as u32;
        Some(self.pairs.min(fitting)).filter(|pairs| *pairs > 0)
    }

    /// Whether a look may follow the next one.
    pub(super) fn may_go_on(&self) -> bool {
        self.budget.is_some() && self.taken + 1 < LOOKS
    }

    /// What is left of the budget; `None` where there is none.
    pub(super) fn left(&self) -> Option<Duration> {
        Some(self.budget?.saturating_sub(self.spent))
    }

    /// What a person who watches hears after a look, in lines: how it goes on, and what is `open`. None where
    /// nothing is open.
    pub(super) fn tell(&self, open: &[Open], next: Option<u32>) -> Vec<String> {
        if open.is_empty() {
            return Vec::new();
        }
        let of = self.budget.map_or(1, |_| LOOKS);
        let left = whole(self.left().unwrap_or_default());
        let then = match (next, self.budget) {
            (Some(next), _) => {
                let follow = if next == 1 { "follows" } else { "follow" };
                format!(
                    "{} more {follow}, with {left} of the budget left",
                    pairs(next)
                )
            }
            (None, None) => "no further look was planned: --budget 15m allows some".to_owned(),
            (None, Some(_)) if self.taken >= LOOKS => "this was the last look".to_owned(),
            (None, Some(_)) => "the budget has no time for more".to_owned(),
        };
        let look = format!(
            "look {} of {of} after {}: {} open; {then}",
            self.taken,
            pairs(self.pairs),
            format::counted(open.len() as u64, "metric"),
        );
        let open = in_full(open).into_iter();
        std::iter::once(look)
            .chain(open.map(|open| format!("open: {open}")))
            .collect()
    }

    /// What the reader of the verdict should know of it.
    pub(super) fn note(&self) -> Option<String> {
        self.budget.map(|_| {
            format!(
                "look {} of {LOOKS}, after {}; each is judged at a level of {:.4}",
                self.taken,
                pairs(self.pairs),
                self.alpha()
            )
        })
    }
}

fn pairs(number: u32) -> String {
    format::counted(number.into(), "pair")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::cli::live::open;

    fn plain(text: String) -> String {
        text.replace('\u{202f}', " ")
    }

    const MINUTE: Duration = Duration::from_secs(60);

    /// The batches of a gate whose pairs take a minute each and whose metrics stay open.
    fn batches(first: u32, budget_minutes: Option<u32>) -> Vec<u32> {
        let mut looks = Looks::new(first, budget_minutes.map(|minutes| MINUTE * minutes));
        let mut batches = Vec::new();
        let mut next = Some(first);
        while let Some(batch) = next {
            batches.push(batch);
            looks.take(MINUTE * batch, batch);
            next = looks.next();
        }
        batches
    }

    #[test]
    fn the_budget_bounds_the_looks() {
        let check = |first, budget, expected: &[u32]| assert_eq!(batches(first, budget), expected);
        check(5, None, &[5]);
        check(5, Some(60), &[5, 5, 10]);
        check(5, Some(20), &[5, 5, 10]);
        check(5, Some(17), &[5, 5, 7]);
        check(5, Some(8), &[5, 3]);
        check(5, Some(5), &[5]);
        check(5, Some(2), &[5]);
    }

    #[test]
    fn another_look_may_follow_until_the_last() {
        let may_go_on = |budget| {
            let mut looks = Looks::new(5, budget);
            std::array::from_fn(|_| {
                let may_go_on = looks.may_go_on();
                looks.take(MINUTE, 5);
                may_go_on
            })
        };
        assert_eq!(may_go_on(None), [false; 3]);
        assert_eq!(may_go_on(Some(MINUTE * 60)), [true, true, false]);
    }

    #[test]
    fn the_level_is_shared_only_where_looks_are() {
        assert_eq!(Looks::new(5, None).alpha(), ALPHA);
        assert_eq!(Looks::new(5, Some(MINUTE)).alpha() * 3.0, ALPHA);
    }

    #[test]
    fn what_is_open_is_said_with_what_it_needs() {
        let mut looks = Looks::new(5, Some(MINUTE * 60));
        looks.take(MINUTE * 5, 5);
        let open = [open("load.a.p95", 0.061, Some(12))];
        let told = |looks: &Looks| {
            let lines = looks.tell(&open, looks.next()).into_iter();
            lines.map(plain).collect::<Vec<String>>()
        };
        assert_eq!(
            told(&looks),
            [
                "look 1 of 3 after 5 pairs: 1 metric open; 5 pairs more follow, with 55 min of the budget left",
                "open: load.a.p95 +6.1 % (+1.1 … +11.1 %, margin 5 %, which needs about 12 pairs)",
            ]
        );
        assert!(looks.tell(&[], None).is_empty());
        looks.take(MINUTE * 57, 5);
        assert_eq!(looks.left(), Some(Duration::ZERO));
        assert!(told(&looks)[0].ends_with("the budget has no time for more"));
    }
}
