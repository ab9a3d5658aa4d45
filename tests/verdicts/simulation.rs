//! Simulated builds: runs whose true effect is known, because it was put there.

use plimsoll::harness::compare::{Comparison, Design, Settings, compare};
use plimsoll::harness::model::{Metric, Reading, Run};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::runs::{lower, run};

/// Normal numbers, the same ones for the same seed.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number around zero with standard deviation `sd`.
    pub(crate) fn normal(&mut self, sd: f64) -> f64 {
        sd * Normal::standard().inverse_cdf(self.0.random_range(1e-12..1.0))
    }
}

/// The runs of both arms. They are made once and given new values for every simulation, which costs
/// less than making them.
pub(crate) struct Arms {
    pub(crate) base: Vec<Run>,
    pub(crate) head: Vec<Run>,
}

impl Arms {
    /// So many pairs, in one session, of runs with so many metrics.
    pub(crate) fn paired(pairs: u32, metrics: usize) -> Self {
        let arm = || -> Vec<Run> {
            (1..=pairs)
                .map(|pair| run("s", Some(pair), unset(metrics)))
                .collect()
        };
        Self {
            base: arm(),
            head: arm(),
        }
    }

    /// Sessions of so many runs with one metric each: those of the base, those of the head.
    pub(crate) fn stored(base: (usize, usize), head: (usize, usize)) -> Self {
        let arm = |(sessions, runs): (usize, usize)| -> Vec<Run> {
            (0..sessions * runs)
                .map(|place| run(&format!("s{}", place / runs), None, unset(1)))
                .collect()
        };
        Self {
            base: arm(base),
            head: arm(head),
        }
    }

    /// Gives the metric at `place` new values: what lies between sessions meets both runs of a pair
    /// alike, `spread` is the standard deviation of a pair's difference, and the head is worse by `change`
    /// (all of logarithms).
    pub(crate) fn draw_pairs(
        &mut self,
        chance: &mut Chance,
        place: usize,
        between: f64,
        spread: f64,
        change: f64,
    ) {
        let within = spread / 2f64.sqrt();
        let session = chance.normal(between);
        for (base, head) in self.base.iter_mut().zip(&mut self.head) {
            set(base, place, session + chance.normal(within));
            set(head, place, session + chance.normal(within) + change);
        }
    }

    /// Gives the metric at `place` values whose logarithms differ so in each pair.
    pub(crate) fn set_differences(&mut self, place: usize, differences: &[f64]) {
        let runs = self.base.iter_mut().zip(&mut self.head);
        for ((base, head), difference) in runs.zip(differences) {
            set(base, place, 0.0);
            set(head, place, *difference);
        }
    }

    /// Gives the only metric new values: sessions scatter by `between`, the runs of one by `within`.
    pub(crate) fn draw_sessions(&mut self, chance: &mut Chance, between: f64, within: f64) {
        for arm in [&mut self.base, &mut self.head] {
            let mut last: Option<(String, f64)> = None;
            for run in arm {
                let session = match last.take() {
                    Some((name, session)) if name == run.session => session,
                    _ => chance.normal(between),
                };
                set(run, 0, session + chance.normal(within));
                last = Some((run.session.clone(), session));
            }
        }
    }

    /// Compares the first so many runs of both arms.
    pub(crate) fn compared(&self, runs: usize, settings: &Settings) -> Comparison {
        let first = |arm: &[Run]| arm.len().min(runs);
        compare(
            &self.base[..first(&self.base)],
            &self.head[..first(&self.head)],
            settings,
        )
    }
}

/// The name of the metric at `place`.
pub(crate) fn name(place: usize) -> String {
    format!("m{place:02}")
}

/// A comparison in that design at the level `alpha`.
pub(crate) fn at(design: Design, alpha: f64) -> Settings {
    Settings {
        alpha,
        ..Settings::new(design)
    }
}

fn unset(metrics: usize) -> Vec<Metric> {
    (0..metrics).map(|place| lower(&name(place), 1.0)).collect()
}

fn set(run: &mut Run, place: usize, log: f64) {
    run.metrics[place].reading = Reading::Measured {
        values: vec![100.0 * log.exp()],
    };
}

/// The margin of simulated gates.
pub(crate) const MARGIN: f64 = 0.05;

/// docs/STATISTICS.md must show exactly this.
pub(crate) fn documented(part: &str) {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/STATISTICS.md"));
    assert!(
        text.contains(part),
        "docs/STATISTICS.md has to say:\n{part}"
    );
}
