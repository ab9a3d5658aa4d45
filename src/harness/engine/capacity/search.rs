//! Which rate is tried next, from what became of those before: nothing but numbers.
//!
//! A rate is doubled until one is too much; then the gap between the highest that is borne and the
//! lowest that is not is halved (by its geometric mean, as it is a ratio that is to be small) until it is
//! narrow enough.
//!
//! One trial says little near the capacity, where chance decides. So a rate is too much only where
//! that was found twice more often than not, and the one that is borne in the end is confirmed once.
//! Where trials of one rate disagree, the capacity is about there: such a rate is inside of the
//! interval and never one of its ends. A target that is noisy therefore has a wider interval. Simulated
//! with capacities that vary from trial to trial by a tenth of what the interval may be wide, and with
//! three trials of a hundred that fail for no reason, 96 % of the intervals hold the true one; with a
//! fifth and no such failures 95 %.

use crate::harness::model::TrialOutcome;

/// Trials at most, beyond those that double the rate. An interval of 5 % takes four halvings and one of
/// 1 % seven; each may need a second trial and a third, and so may the two ends.
const MOST_BEYOND_DOUBLING: u32 = 28;

/// A search, and how far it has come. Rates are in iterations per second.
#[derive(Debug, Clone)]
pub(super) struct Search {
    from: f64,
    to: f64,
    /// The largest width of the interval, as a share of its lower end.
    within: f64,
    /// By rate, the lowest first.
    tried: Vec<Tried>,
}

/// What became of one rate.
#[derive(Debug, Clone, Copy)]
struct Tried {
    rate: f64,
    held: u32,
    broke: u32,
    not_offered: u32,
}

/// What one rate counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Borne.
    Held,
    /// Too much for the target.
    Broke,
    /// Too much for the generator.
    NotOffered,
    /// Sometimes borne and sometimes not.
    Mixed,
    /// To be tried again.
    Open,
}

/// What is known of the capacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    /// The highest rate that is borne; `None` where none was.
    pub(super) holds: Option<f64>,
    /// The lowest rate above it that is not; `None` where the highest of all is borne, and where the
    /// generator could offer no more.
    pub(super) breaks: Option<f64>,
    /// The lowest rate that the generator could not offer, where that ended the search.
    pub(super) not_offered: Option<f64>,
}

impl Tried {
    fn at(rate: f64) -> Self {
        Self {
            rate,
            held: 0,
            broke: 0,
            not_offered: 0,
        }
    }

    fn standing(&self) -> Standing {
        if self.held > self.broke {
            Standing::Held
        } else if self.broke >= self.held + 2 {
            Standing::Broke
        } else if self.not_offered >= 2 {
            Standing::NotOffered
        } else if self.held > 0 {
            Standing::Mixed
        } else {
            Standing::Open
        }
    }

    /// Whether one more trial can't make it another.
    fn is_confirmed(&self) -> bool {
        self.held >= self.broke + 2
    }
}

impl Search {
    /// A search between two rates, of which the first is the lower.
    pub(super) fn new(from: f64, to: f64, within: f64) -> Self {
        Self {
            from,
            to,
            within,
            tried: Vec::new(),
        }
    }

    /// Takes note of a trial.
    pub(super) fn take(&mut self, rate: f64, outcome: TrialOutcome) {
        let place = self.tried.partition_point(|tried| tried.rate < rate);
        if self.tried.get(place).is_none_or(|tried| tried.rate != rate) {
            self.tried.insert(place, Tried::at(rate));
        }
        let tried = &mut self.tried[place];
        match outcome {
            TrialOutcome::Held => tried.held += 1,
            TrialOutcome::Broke => tried.broke += 1,
            TrialOutcome::NotOffered => tried.not_offered += 1,
        }
    }

    /// The rate that is to be tried next; `None` where the search is over.
    pub(super) fn next(&self) -> Option<f64> {
        if self.trials() >= self.most_trials() {
            return None;
        }
        let Bounds { low, between, high } = self.bounds();
        if let Some(open) = between.iter().find(|one| one.standing() == Standing::Open) {
            return Some(open.rate);
        }
        // What is left between the two is where trials disagree.
        let mixed = between.first().zip(between.last());
        // One that is only sometimes borne is no capacity, and without a lower one that is there would be none: it
        // is tried until it is the one or the other.
        let lowest = match low {
            None => between.first().map(|tried| tried.rate),
            Some(_) => None,
        };
        let Some(high) = high else {
            let top = between.last().or(low).map(|tried| tried.rate);
            return match top {
                None => Some(self.from),
                Some(top) if top < self.to => Some((2.0 * top).min(self.to)),
                Some(_) => lowest.or_else(|| confirming(low)),
            };
        };
        // Below the lowest there is nothing to try.
        let Some(low) = low else {
            return lowest;
        };
        let gaps = match mixed {
            None => vec![(low.rate, high.rate)],
            Some((first, last)) => vec![(low.rate, first.rate), (last.rate, high.rate)],
        };
        let widest = gaps
            .into_iter()
            .max_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)))
            .filter(|(below, above)| above / below - 1.0 > self.within);
        match widest {
            Some((below, above)) => Some((below * above).sqrt()),
            None => confirming(Some(low)),
        }
    }

    /// What is known now.
    pub(super) fn interval(&self) -> Interval {
        let Bounds { low, high, .. } = self.bounds();
        let of_target = |tried: &&Tried| tried.standing() == Standing::Broke;
        Interval {
            holds: low.map(|tried| tried.rate),
            breaks: high.filter(of_target).map(|tried| tried.rate),
            not_offered: high.filter(|high| !of_target(high)).map(|tried| tried.rate),
        }
    }

    fn bounds(&self) -> Bounds<'_> {
        let low = self
            .tried
            .iter()
            .rposition(|tried| tried.standing() == Standing::Held);
        let above = low.map_or(0, |low| low + 1);
        let high = self.tried[above..]
            .iter()
            .position(|tried| matches!(tried.standing(), Standing::Broke | Standing::NotOffered));
        let end = high.map_or(self.tried.len(), |high| above + high);
        Bounds {
            low: low.map(|low| &self.tried[low]),
            between: &self.tried[above..end],
            high: high.map(|high| &self.tried[above + high]),
        }
    }

    fn trials(&self) -> u32 {
        let trials = self.tried.iter();
        trials
            .map(|tried| tried.held + tried.broke + tried.not_offered)
            .sum()
    }

    fn most_trials(&self) -> u32 {
        (self.to / self.from).log2().ceil() as u32 + MOST_BEYOND_DOUBLING
    }
}

/// The rate that is borne, as long as it is to be tried again.
fn confirming(low: Option<&Tried>) -> Option<f64> {
    low.filter(|low| !low.is_confirmed()).map(|low| low.rate)
}

/// The rates that matter now.
struct Bounds<'a> {
    /// The highest that is borne.
    low: Option<&'a Tried>,
    /// Those between, of which nobody can say that.
    between: &'a [Tried],
    /// The lowest above it that is not.
    high: Option<&'a Tried>,
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::TrialOutcome::{Broke, Held, NotOffered};
    use super::*;

    /// The interval that a search ends with, and its trials.
    fn search(
        (from, to, within): (f64, f64, f64),
        mut trial: impl FnMut(f64) -> TrialOutcome,
    ) -> (Interval, Vec<(f64, TrialOutcome)>) {
        let mut search = Search::new(from, to, within);
        let mut trials = Vec::new();
        while let Some(rate) = search.next() {
            assert!((from..=to).contains(&rate), "{rate}");
            let outcome = trial(rate);
            search.take(rate, outcome);
            trials.push((rate, outcome));
        }
        (search.interval(), trials)
    }

    fn bears(capacity: f64) -> impl Fn(f64) -> TrialOutcome {
        move |rate| if rate <= capacity { Held } else { Broke }
    }

    const WHOLE: (f64, f64, f64) = (100.0, 50_000.0, 0.05);

    #[test]
    fn a_steady_target_is_found_within_what_was_asked_for() {
        for capacity in [100.0, 101.0, 199.0, 1234.5, 12_799.0, 49_000.0] {
            for within in [0.2, 0.05, 0.01] {
                let (found, trials) = search((100.0, 50_000.0, within), bears(capacity));
                let (holds, breaks) = (found.holds.unwrap_or(0.0), found.breaks.unwrap_or(0.0));
                assert!(
                    holds <= capacity && capacity < breaks,
                    "{capacity}: {found:?}"
                );
                assert!(breaks / holds - 1.0 <= within, "{capacity}: {found:?}");
                assert!(trials.len() < 25, "{}", trials.len());
                let at = |rate| trials.iter().filter(|trial| trial.0 == rate).count();
                assert_eq!((at(holds), at(breaks)), (2, 2));
            }
        }
    }

    #[test]
    fn the_ends_of_what_is_tried_are_ends_of_what_is_known() {
        let (found, trials) = search(WHOLE, bears(1e9));
        let all_held = Interval {
            holds: Some(50_000.0),
            breaks: None,
            not_offered: None,
        };
        assert_eq!(found, all_held);
        // 100, 200, …, 25 600, 50 000, and that once more.
        assert_eq!(trials.len(), 11);
        let (found, trials) = search(WHOLE, bears(99.0));
        let none_held = Interval {
            holds: None,
            breaks: Some(100.0),
            not_offered: None,
        };
        assert_eq!((found, trials.len()), (none_held, 2));
        // A range that is narrower than the interval needs no more than its ends.
        let (found, _) = search((1000.0, 1010.0, 0.05), bears(1005.0));
        assert_eq!((found.holds, found.breaks), (Some(1000.0), Some(1010.0)));
        let (found, _) = search((1000.0, 1000.0, 0.05), bears(1005.0));
        assert_eq!((found.holds, found.breaks), (Some(1000.0), None));
    }

    #[test]
    fn a_generator_that_gives_in_first_is_no_end_of_the_target() {
        let weak = |offers: f64, bears: f64| {
            move |rate| match rate {
                rate if rate > offers => NotOffered,
                rate if rate > bears => Broke,
                _ => Held,
            }
        };
        let (found, _) = search(WHOLE, weak(7000.0, 9000.0));
        let (holds, not_offered) = (found.holds.unwrap_or(0.0), found.not_offered.unwrap_or(0.0));
        assert!(holds <= 7000.0 && 7000.0 < not_offered, "{found:?}");
        assert!(not_offered / holds - 1.0 <= 0.05, "{found:?}");
        assert_eq!(found.breaks, None);
        // One that gives in beyond the target's capacity is none the worse for it.
        let (found, _) = search(WHOLE, weak(7000.0, 6000.0));
        assert!(
            found.holds.is_some_and(|holds| holds <= 6000.0),
            "{found:?}"
        );
        assert!(
            found.breaks.is_some_and(|breaks| breaks > 6000.0),
            "{found:?}"
        );
        assert_eq!(found.not_offered, None);
        let (found, trials) = search(WHOLE, weak(50.0, 6000.0));
        assert_eq!((found.holds, found.not_offered), (None, Some(100.0)));
        assert_eq!(trials.len(), 2);
    }

    /// A hiccup is no capacity: neither of the target nor of the generator.
    #[test]
    fn what_fails_once_is_tried_again() {
        for hiccup in [Broke, NotOffered] {
            for number in 0..12 {
                let mut trials = 0;
                let (found, _) = search(WHOLE, |rate| {
                    trials += 1;
                    if trials == number + 1 {
                        hiccup
                    } else {
                        bears(3000.0)(rate)
                    }
                });
                let is_inside = found.holds.is_some_and(|holds| holds <= 3000.0)
                    && found.breaks.is_some_and(|breaks| breaks > 3000.0);
                assert!(is_inside, "{hiccup:?} {number}: {found:?}");
            }
        }
    }

    /// The first trial is the likeliest to be disturbed, and below its rate there is none to go by.
    #[test]
    fn a_hiccup_at_the_lowest_rate_is_not_the_end() {
        for capacity in [150.0, 1000.0] {
            for number in 0..12 {
                let mut trials = 0;
                let (found, _) = search(WHOLE, |rate| {
                    trials += 1;
                    match trials == number + 1 {
                        true => Broke,
                        false => bears(capacity)(rate),
                    }
                });
                let is_inside = found.holds.is_some_and(|holds| holds <= capacity)
                    && found.breaks.is_some_and(|breaks| breaks > capacity);
                assert!(is_inside, "{capacity} {number}: {found:?}");
            }
        }
        // Nor where it is the only one.
        let mut trials = 0;
        let (found, _) = search((100.0, 100.0, 0.05), |_| {
            trials += 1;
            if trials == 1 { Broke } else { Held }
        });
        assert_eq!((found.holds, found.breaks), (Some(100.0), None));
        // One that keeps failing is too much.
        let (found, _) = search(WHOLE, bears(99.0));
        assert_eq!((found.holds, found.breaks), (None, Some(100.0)));
    }

    #[test]
    fn a_search_ends_whatever_comes() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..1000 {
            let within = random.random_range(0.001..0.5);
            let (found, trials) = search((0.5, 1e7, within), |_| {
                [Held, Broke, NotOffered][random.random_range(0..3)]
            });
            assert!(trials.len() <= 25 + MOST_BEYOND_DOUBLING as usize);
            let ends = found.holds.zip(found.breaks.or(found.not_offered));
            assert!(ends.is_none_or(|(low, high)| low < high), "{found:?}");
        }
    }

    /// A number from a normal distribution with mean 0 and deviation 1 (Box and Muller).
    fn normal(random: &mut ChaCha8Rng) -> f64 {
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
    }

    /// The share of searches whose interval holds the true capacity, and the mean number of trials, of a
    /// target whose capacity varies from trial to trial by a share of it, and that fails now and then.
    fn coverage(noise: f64, failing: f64) -> (f64, f64) {
        let (mut inside, mut trials) = (0, 0);
        let searches = 4000;
        for seed in 0..searches {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let capacity = 150.0 * (40_000.0_f64 / 150.0).powf(random.random());
            let (found, tried) = search(WHOLE, |rate| {
                let now = capacity * (noise * normal(&mut random)).exp();
                match random.random::<f64>() < failing {
                    true => Broke,
                    false => bears(now)(rate),
                }
            });
            trials += tried.len();
            inside += u64::from(
                found.holds.is_some_and(|holds| holds <= capacity)
                    && found.breaks.is_none_or(|breaks| capacity <= breaks),
            );
        }
        let share = |count: f64| count / searches as f64;
        (share(inside as f64), share(trials as f64))
    }

    #[test]
    fn the_interval_holds_the_true_capacity_of_a_noisy_target() {
        let check = |noise: f64, failing: f64, at_least: f64| {
            let (share, trials) = coverage(noise, failing);
            assert!(share >= at_least, "{noise} {failing}: {share}");
            assert!(trials < 16.0, "{trials}");
        };
        check(0.0, 0.03, 0.98);
        check(0.0025, 0.0, 0.98);
        check(0.005, 0.03, 0.95);
        // A fifth of the interval: half a percent for the chance in the simulation itself.
        check(0.01, 0.0, 0.945);
    }
}
