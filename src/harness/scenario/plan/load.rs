//! How iterations arrive, and for how long.

use serde::{Deserialize, Serialize};

use super::FilePlan;
use crate::harness::scenario::shares;

/// Bounds of the default `max_in_flight`; in between it is the arrivals of one second.
const DEFAULT_IN_FLIGHT: (f64, f64) = (10.0, 10_000.0);

/// One load: a flow and how it arrives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Its name, unique in the plan.
    pub name: String,
    /// The flow it drives.
    pub flow: String,
    /// How iterations arrive.
    pub arrivals: Arrivals,
    /// The seed of everything random in it.
    pub seed: u64,
    /// The share of offered arrivals that may be dropped (open model).
    pub allowed_dropped: f64,
}

/// How iterations arrive. A load without stages has one that spans all phases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At a rate, whatever the responses do.
    Open {
        /// The rate over time, in iterations per second.
        stages: Vec<Stage>,
        /// How the arrivals of a rate are spaced.
        spacing: Spacing,
        /// Users at most; an arrival that finds none idle is dropped.
        max_in_flight: u32,
    },
    /// At recorded times, whatever the responses do.
    Trace {
        /// One time a row, in seconds from the start of the load, none before the one above it.
        file: FilePlan,
        /// Times are divided by this; positive.
        speed: f64,
        /// How many there are in it.
        arrivals: u64,
        /// Users at most; an arrival that finds none idle is dropped.
        max_in_flight: u32,
    },
    /// By a number of users that wait for their answers.
    Closed {
        /// The number of users over time; of all loads together that share them.
        stages: Vec<Stage>,
        /// Which of them are this load's; `None`: all.
        share: Option<UserShare>,
    },
    /// At several rates in turn, to find the highest at which the scenario's limits hold.
    Capacity {
        /// The lowest rate that is tried, in iterations per second.
        from: f64,
        /// The highest.
        to: f64,
        /// The search ends where the interval is at most this share of its lower end.
        within: f64,
        /// How long each rate is measured, in ns; the warm-up precedes each.
        hold_ns: u64,
        /// How the arrivals of a rate are spaced.
        spacing: Spacing,
        /// Users at most; `None`: the arrivals of one second of the rate that is tried.
        max_in_flight: Option<u32>,
    },
}

impl Arrivals {
    /// Whether arrivals come whatever the responses do.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Closed { .. })
    }

    /// The most users that are at work at a time, in a closed model.
    pub fn most_users(&self) -> Option<u64> {
        let Self::Closed { stages, share } = self else {
            return None;
        };
        // A number of users that is between two whole ones has room for the lower.
        let all = highest(stages) as u64;
        Some(match share {
            None => all,
            Some(share) => share.own(all).len() as u64,
        })
    }

    /// Whether it is a search, of which one run has no latencies but at each of its rates.
    pub fn is_search(&self) -> bool {
        matches!(self, Self::Capacity { .. })
    }
}

/// A load's part of users that several loads share. Each user belongs to one of the loads, however many
/// users there are at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserShare {
    /// The weights of the loads that share them.
    pub weights: Vec<u32>,
    /// Which of these loads it is, from 0.
    pub nth: usize,
}

impl UserShare {
    /// The users that are this load's of so many, by their numbers from 1, ascending.
    pub fn own(&self, all: u64) -> Vec<u64> {
        let owners = shares::owners(&self.weights).take(all as usize);
        (1..)
            .zip(owners)
            .filter_map(|(user, owner)| (owner == self.nth).then_some(user))
            .collect()
    }
}

/// How the arrivals of a rate are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Each as far from the one before as the rate says.
    Even,
    /// At random (seeded), independent of one another: as many users who know nothing of each other
    /// arrive.
    Poisson,
}

/// A stretch of a load. Its rate or its number of users goes evenly from one value to another, with
/// a wave on top where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// How long, in ns. The last stage is prolonged to the end of the cool-down, by its wave where
    /// it has one, else by its last value.
    pub duration_ns: u64,
    /// At its start, without the wave.
    pub from: f64,
    /// At its end, without the wave; the same as `from` for a constant stretch.
    pub to: f64,
    /// What is added; only to a constant stretch.
    pub wave: Option<Wave>,
}

impl Stage {
    /// The same throughout.
    pub fn constant(duration_ns: u64, value: f64) -> Self {
        Self::line(duration_ns, value, value)
    }

    /// Evenly from one value to another.
    pub fn line(duration_ns: u64, from: f64, to: f64) -> Self {
        Self {
            duration_ns,
            from,
            to,
            wave: None,
        }
    }

    /// The largest value that it can reach.
    pub fn highest(&self) -> f64 {
        self.from.max(self.to) + self.wave.map_or(0.0, |wave| wave.amplitude)
    }

    /// Whether its value never changes.
    pub fn is_constant(&self) -> bool {
        self.from == self.to && self.wave.is_none()
    }

    /// The same with each of its values as `change` gives it.
    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self {
            duration_ns: self.duration_ns,
            from: change(self.from),
            to: change(self.to),
            wave: self.wave.map(|wave| Wave {
                amplitude: change(wave.amplitude),
                period_ns: wave.period_ns,
            }),
        }
    }
}

/// Whether stages are one that never changes.
pub fn is_constant(stages: &[Stage]) -> bool {
    matches!(stages, [only] if only.is_constant())
}

/// The largest value that stages can reach.
pub fn highest(stages: &[Stage]) -> f64 {
    stages.iter().map(Stage::highest).fold(0.0, f64::max)
}

/// How long stages are together, in ns.
pub(crate) fn length_ns(stages: &[Stage]) -> u64 {
    let lengths = stages.iter().map(|stage| stage.duration_ns);
    lengths.fold(0, u64::saturating_add)
}

/// Users enough for the arrivals of one second of the highest rate.
pub(crate) fn default_in_flight(stages: &[Stage]) -> u32 {
    in_flight_of(highest(stages))
}

/// Users enough for so many arrivals.
pub(crate) fn in_flight_of(arrivals: f64) -> u32 {
    let (low, high) = DEFAULT_IN_FLIGHT;
    arrivals.ceil().clamp(low, high) as u32
}

/// A sine that begins at zero and rises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wave {
    /// How far it goes to each side; at most the constant value it is added to.
    pub amplitude: f64,
    /// How long one wave is, in ns; positive.
    pub period_ns: u64,
}

/// How long each phase takes, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhasePlan {
    /// Before measuring.
    pub warmup_ns: u64,
    /// What counts; positive where the plan has a load. Of a search for a capacity, at each rate.
    pub measure_ns: u64,
    /// After measuring, under the same load.
    pub cooldown_ns: u64,
    /// How long requests in flight at the end may take before they are cancelled, which is a failure.
    pub drain_ns: u64,
}

impl PhasePlan {
    /// The length of the load: the three phases without the drain, in ns.
    pub fn total_ns(&self) -> u64 {
        self.measure_end_ns().saturating_add(self.cooldown_ns)
    }

    /// When the measure phase ends, in ns from the start of the load.
    pub fn measure_end_ns(&self) -> u64 {
        self.warmup_ns.saturating_add(self.measure_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_derived_from_the_highest_rate() {
        let check = |stage: Stage, expected: u32| {
            assert_eq!(default_in_flight(&[stage]), expected, "{stage:?}");
        };
        check(Stage::line(1, 0.0, 0.5), 10);
        check(Stage::line(1, 500.0, 0.0), 500);
        check(Stage::constant(1, 1e6), 10_000);
        let wave = Wave {
            amplitude: 20.5,
            period_ns: 1,
        };
        let wave = Stage {
            wave: Some(wave),
            ..Stage::constant(1, 100.0)
        };
        check(wave, 121);
    }
}
