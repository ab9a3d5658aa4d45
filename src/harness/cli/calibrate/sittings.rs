//! Sittings: sessions of pairs, measured and freed of what is invalid.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::harness::cli::execute::new_session;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::live::Live;
use crate::harness::cli::noise::narrowed;
use crate::harness::cli::pairs::{Batch, Pairs, Sides};
use crate::harness::compare::aa_values;
use crate::harness::engine::Engine;
use crate::harness::gate::AaPairs;
use crate::harness::model::{Arm, Run};
use crate::harness::report::words;
use crate::harness::store::{Calibration, CalibrationSession};

/// With a budget, pairs are measured so many at a time: one AB and one BA.
const PAIRS_AT_A_TIME: u32 = 2;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Pairs of each session.
    pub(super) pairs: u32,
    /// Sessions, one after the other.
    pub(super) sessions: u32,
    /// The time for all of them.
    pub(super) budget: Option<Duration>,
}

/// The valid pairs of a session.
pub(super) struct Sitting {
    /// As the baseline keeps it.
    pub(super) session: CalibrationSession,
    /// What was measured.
    pub(super) pairs: AaPairs,
}

impl Sitting {
    /// The session of some pairs, if there are any.
    pub(super) fn of(pairs: AaPairs) -> Option<Self> {
        let runs = || pairs.base.iter().chain(&pairs.head);
        let first = runs().min_by_key(|run| (run.started_at, run.id))?;
        Some(Self {
            session: CalibrationSession {
                session: first.session.clone(),
                revision: first.revision.clone(),
                plimsoll_version: first.plimsoll_version.clone(),
                started_at: first.started_at,
                pairs: narrowed(pairs.base.len()),
            },
            pairs,
        })
    }

    /// Its runs, whichever arm they were called.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.pairs.base.iter().chain(&self.pairs.head)
    }

    /// Adds it to what is known already; the noise has to be found anew.
    pub(super) fn add_to(&self, calibration: &mut Calibration) {
        let values = aa_values(&self.pairs.base, &self.pairs.head);
        calibration.add(self.session.clone(), values);
    }
}

/// Measures session after session, each with an id of its own, until all is done, the budget is spent, or going on
/// is of no use. Each run is handed to `save` before the next begins.
pub(super) async fn sessions<E: Engine>(
    sides: &mut Sides<E>,
    asked: Asked,
    stop: &watch::Receiver<bool>,
    live: &Live,
    mut save: impl AsyncFnMut(&Run) -> Result<(), Failure>,
) -> Result<Vec<Pairs>, Failure> {
    let began = Instant::now();
    if let Some(until) = asked.budget.and_then(|budget| began.checked_add(budget)) {
        live.until(&sides.head.plan.id(), until);
    }
    let mut measured = 0;
    let mut done = Vec::new();
    for _ in 0..asked.sessions {
        let session = new_session();
        sides.base.labels.session.clone_from(&session);
        sides.head.labels.session = session;
        let mut pairs = Pairs::new("base".to_owned(), "head".to_owned());
        let mut left = asked.pairs;
        while left > 0 && !pairs.is_over {
            let size = match asked.budget {
                None => left,
                Some(budget) => {
                    let each = began.elapsed() / measured.max(1);
                    if measured > 0 && began.elapsed() + each * PAIRS_AT_A_TIME > budget {
                        break;
                    }
                    left.min(PAIRS_AT_A_TIME)
                }
            };
            let batch = Batch {
                pairs: size,
                seed: rand::random(),
            };
            let measuring = pairs.measure(sides, batch, stop, live, &mut save).await;
            // Here neither arm is a base that could be missing.
            measuring.map_err(|failure| match failure {
                Failure::NoBase(text) => Failure::Tool(text),
                other => other,
            })?;
            left -= size;
            measured += size;
        }
        let is_over = pairs.is_over || left > 0;
        done.push(pairs);
        if is_over {
            break;
        }
    }
    Ok(done)
}

/// The pairs of which both runs are valid, in their order, and why others were dropped: a sentence each. Of a pair that
/// was measured again the newest runs count, in whatever order they come.
pub(super) fn valid_pairs(runs: impl IntoIterator<Item = Run>) -> (AaPairs, Vec<String>) {
    let mut by_number: BTreeMap<u32, [Option<Run>; 2]> = BTreeMap::new();
    for run in runs {
        if let (Some(number), Some(arm)) = (run.pair, run.arm) {
            let place = &mut by_number.entry(number).or_default()[(arm == Arm::Head) as usize];
            if place.as_ref().is_none_or(|known| known.id < run.id) {
                *place = Some(run);
            }
        }
    }
    let (mut valid, mut dropped) = (AaPairs::default(), Vec::new());
    for (number, pair) in by_number {
        match pair {
            [Some(base), Some(head)] if base.is_valid() && head.is_valid() => {
                valid.base.push(base);
                valid.head.push(head);
            }
            pair => {
                let reasons: BTreeSet<String> = pair
                    .iter()
                    .flatten()
                    .flat_map(words::unfit)
                    .map(|why| why.what)
                    .collect();
                let why = match reasons.is_empty() {
                    true => "stopped before its end".to_owned(),
                    false => reasons.into_iter().collect::<Vec<_>>().join("; "),
                };
                dropped.push(format!("pair {number} was dropped: {why}"));
            }
        }
    }
    (valid, dropped)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::f64::consts::PI;
    use std::sync::{Arc, Mutex};

    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use statrs::distribution::{ContinuousCDF as _, Normal};

    use super::*;
    use crate::harness::cli::noise;
    use crate::harness::cli::scripted::{self, Scripted, executed, unseen};
    use crate::harness::engine::Executed;
    use crate::harness::model::{Direction, InvalidReason, Metric, Unit};
    use crate::harness::store::Baseline;

    const P95: &str = "load.a.p95";
    const SIGMA: f64 = 0.02;

    /// A machine whose runs scatter, with a centre that moves between sessions.
    struct Machine {
        random: ChaCha8Rng,
        runs: usize,
        runs_a_session: usize,
        centres: Vec<f64>,
        /// Runs, counted from 1, that drop too much.
        invalid: Vec<usize>,
        /// The run, counted from 1, in which the target dies.
        dies_at: usize,
    }

    impl Machine {
        fn run(&mut self) -> Executed {
            if self.runs.is_multiple_of(self.runs_a_session) {
                let centre = 17.0 + 0.2 * self.random.random_range(-1.0..1.0);
                self.centres.push(centre);
            }
            self.runs += 1;
            let off = SIGMA * Normal::standard().inverse_cdf(self.random.random_range(1e-12..1.0));
            let value = (self.centres.last().unwrap() + off).exp();
            let (unit, better) = (Unit::Nanoseconds, Direction::Lower);
            let mut invalid = Vec::new();
            if self.invalid.contains(&self.runs) {
                invalid.push(InvalidReason::NothingMeasured { load: "a".into() });
            }
            if self.dies_at == self.runs {
                invalid.push(scripted::died());
            }
            let metric = Metric::single(P95, unit, better, value, 10_000);
            executed(vec![metric], invalid)
        }
    }

    /// What is measured on such a machine, how many runs were saved, and where the sessions' centres were.
    async fn measured(
        asked: Asked,
        invalid: &[usize],
        dies_at: usize,
    ) -> (Vec<Pairs>, usize, Vec<f64>) {
        let machine = Arc::new(Mutex::new(Machine {
            random: ChaCha8Rng::seed_from_u64(7),
            runs: 0,
            runs_a_session: 2 * asked.pairs as usize,
            centres: Vec::new(),
            invalid: invalid.to_vec(),
            dies_at,
        }));
        let simulated = Arc::clone(&machine);
        let engine = Scripted::new(move || Some(simulated.lock().unwrap().run()));
        let mut sides = scripted::sides(&engine);
        let (_sender, stop) = watch::channel(false);
        let live = unseen();
        let mut saved = 0;
        let done = sessions(&mut sides, asked, &stop, &live, async |_: &Run| {
            saved += 1;
            Ok(())
        })
        .await;
        let centres = machine.lock().unwrap().centres.clone();
        (done.unwrap(), saved, centres)
    }

    fn sittings(done: Vec<Pairs>) -> (Vec<Sitting>, Vec<String>) {
        let (mut sittings, mut all) = (Vec::new(), Vec::new());
        for pairs in done {
            let (valid, dropped) = valid_pairs(pairs.base.runs.into_iter().chain(pairs.head.runs));
            sittings.extend(Sitting::of(valid));
            all.extend(dropped);
        }
        (sittings, all)
    }

    fn added(sittings: &[Sitting], calibration: &mut Calibration) {
        for sitting in sittings {
            sitting.add_to(calibration);
        }
    }

    const ASKED: Asked = Asked {
        pairs: 30,
        sessions: 4,
        budget: None,
    };

    /// From runs to what gates take, and through the file: what was put in comes out.
    #[tokio::test]
    async fn the_noise_of_the_machine_ends_in_the_gates() {
        let (done, saved, centres) = measured(ASKED, &[], 0).await;
        assert_eq!((saved, centres.len()), (240, 4));
        let (sittings, dropped) = sittings(done);
        assert_eq!(dropped, Vec::<String>::new());
        let ids: BTreeSet<&str> = sittings
            .iter()
            .map(|it| it.session.session.as_str())
            .collect();
        assert_eq!((ids.len(), sittings.len()), (4, 4), "a session each");
        assert!(sittings.iter().all(|it| it.session.pairs == 30));

        let mut calibration = Calibration::default();
        added(&sittings, &mut calibration);
        noise::find(&mut calibration);
        // ln s₀² is the mean over 24 groups of five, each with the variance ψ′(2) = π²/6 − 1; four standard errors.
        let metric = &calibration.metrics[P95];
        let s0 = metric.s0.unwrap();
        let expected = SIGMA * 2f64.sqrt();
        let of_ln = ((PI.powi(2) / 6.0 - 1.0) / 24.0).sqrt() / 2.0;
        assert!((s0 / expected).ln().abs() < 4.0 * of_ln, "{s0}");
        assert_eq!((metric.pairs, metric.sessions), (120, 4));
        // The mean of a session's sixty runs is off its centre by σ/√60.
        let tau = metric.tau.unwrap();
        let middle = centres.iter().sum::<f64>() / 4.0;
        let squares: f64 = centres.iter().map(|it| (it - middle).powi(2)).sum();
        let of_tau = SIGMA / 60f64.sqrt();
        assert!((tau - (squares / 3.0).sqrt()).abs() < 4.0 * of_tau, "{tau}");

        let folder = tempfile::tempdir().unwrap();
        let runs: Vec<Run> = sittings.iter().flat_map(Sitting::runs).cloned().collect();
        let mut baseline = Baseline::from_runs(&runs).unwrap();
        baseline.calibration = Some(calibration.clone());
        baseline.save(folder.path()).unwrap();
        let here = runs[0].fingerprint.clone();
        let taken = noise::stored(folder.path(), &here, "s").unwrap();
        let prior = taken[P95].prior.unwrap();
        assert_eq!((prior.s0, prior.d0), (s0, 4.0));
        let between = taken[P95].between.unwrap();
        assert_eq!((between.tau, between.sessions), (tau, 4));

        let elsewhere = scripted::fingerprint("another scenario");
        assert!(noise::of(&baseline, &elsewhere).is_empty());
        assert!(
            noise::stored(folder.path(), &elsewhere, "s")
                .unwrap()
                .is_empty()
        );

        // Sessions that come later count with these.
        added(&sittings[..1], &mut calibration);
        noise::find(&mut calibration);
        let metric = &calibration.metrics[P95];
        assert_eq!((metric.pairs, metric.sessions), (150, 5));
    }

    #[tokio::test]
    async fn an_invalid_run_takes_its_pair_with_it() {
        let asked = Asked {
            pairs: 5,
            sessions: 1,
            budget: None,
        };
        let (done, saved, _) = measured(asked, &[3, 4, 9], 0).await;
        assert_eq!(saved, 10, "what is dropped is saved as well");
        let (sittings, dropped) = sittings(done);
        assert_eq!(sittings[0].session.pairs, 3);
        let numbers = |runs: &[Run]| runs.iter().map(|run| run.pair.unwrap()).collect::<Vec<_>>();
        assert_eq!(numbers(&sittings[0].pairs.base), [1, 3, 4]);
        assert_eq!(numbers(&sittings[0].pairs.head), [1, 3, 4]);
        assert!(
            dropped[0].starts_with("pair 2 was dropped: "),
            "{dropped:?}"
        );
        assert_eq!(dropped.len(), 2);
    }

    /// The history gives runs newest first, and keeps those that were measured again.
    #[tokio::test]
    async fn a_pair_that_was_measured_again_counts_as_the_second_time() {
        let asked = Asked {
            pairs: 2,
            sessions: 1,
            budget: None,
        };
        let (mut done, ..) = measured(asked, &[], 0).await;
        let pairs = done.remove(0);
        let runs = pairs.base.runs.into_iter().chain(pairs.head.runs);
        let (again, mut runs): (Vec<Run>, Vec<Run>) = runs.partition(|run| run.pair == Some(2));
        let again = again.into_iter().map(|run| Run {
            pair: Some(1),
            ..run
        });
        let again: Vec<Run> = again.collect();
        runs.extend(again.iter().cloned());
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        let (valid, dropped) = valid_pairs(runs);
        assert_eq!(dropped, Vec::<String>::new());
        assert_eq!([valid.base, valid.head].concat(), again);
    }

    #[tokio::test]
    async fn a_target_that_died_ends_it_with_what_there_is() {
        let (done, saved, _) = measured(ASKED, &[], 66).await;
        assert_eq!((done.len(), saved), (2, 66));
        let (sittings, dropped) = sittings(done);
        let pairs: Vec<u32> = sittings.iter().map(|it| it.session.pairs).collect();
        assert_eq!((pairs, dropped.len()), (vec![30, 2], 1));
    }

    #[tokio::test]
    async fn a_budget_that_is_spent_leaves_two_pairs() {
        let asked = Asked {
            budget: Some(Duration::ZERO),
            ..ASKED
        };
        let (done, saved, _) = measured(asked, &[], 0).await;
        assert_eq!((done.len(), saved), (1, 4));
        let asked = Asked {
            pairs: 3,
            sessions: 2,
            budget: Some(Duration::from_secs(3600)),
        };
        let (_, saved, _) = measured(asked, &[], 0).await;
        assert_eq!(saved, 12);
    }
}
