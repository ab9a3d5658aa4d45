//! When the arrivals of an open load are due.
//!
//! Of a rate, arrival k (from 0) is due where the integral of the rate reaches a certain point. Evenly
//! spaced, that is k. As a Poisson process of that rate it is the k-th point of one of rate one: the
//! integral stretches the one into the other (Çinlar, *Introduction to Stochastic Processes*, 1975,
//! section 4.7; Lewis and Shedler, *Simulation of nonhomogeneous Poisson processes by thinning*, 1979,
//! section 1). Recorded arrivals are due when they were, divided by their speed.
//!
//! Shard i of N owns the arrivals i modulo N. Each shard finds out when its own are due by itself: the
//! points are drawn by all of them, in the same order from the same seed.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::job::{Shard, WorkerJob};
use super::shape::Shape;
use super::trace::{TraceError, own_times};
use crate::harness::scenario::{Arrivals, Spacing};

/// The stream of the load's seed that arrivals are drawn from. Iterations draw from the one of their
/// number, which never gets so far.
const ARRIVALS_STREAM: u64 = u64::MAX;

/// When a shard's arrivals are due.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    course: Course,
    shard: Shard,
}

#[derive(Debug, Clone)]
enum Course {
    Even(Shape),
    Poisson {
        rate: Shape,
        seed: u64,
    },
    /// The shard's own arrivals, in ns.
    Recorded(Arc<[u64]>),
}

impl Schedule {
    /// That of a job until `end_ns`; `None` for a closed load, whose arrivals follow from its answers.
    ///
    /// # Errors
    /// A trace can't be read any more as it was when the scenario was checked.
    pub(super) fn of(job: &WorkerJob, end_ns: u64) -> Result<Option<Self>, TraceError> {
        let course = match &job.load.arrivals {
            Arrivals::Open {
                stages, spacing, ..
            } => {
                let rate = Shape::new(stages, end_ns);
                match spacing {
                    Spacing::Even => Course::Even(rate),
                    Spacing::Poisson => Course::Poisson {
                        rate,
                        seed: job.load.seed,
                    },
                }
            }
            Arrivals::Trace { file, speed, .. } => {
                Course::Recorded(own_times(file, *speed, end_ns, job.shard)?.into())
            }
            // A search is a load of its own for each rate that it tries.
            Arrivals::Closed { .. } | Arrivals::Capacity { .. } => return Ok(None),
        };
        Ok(Some(Self {
            course,
            shard: job.shard,
        }))
    }

    /// When they are due, in ns from the start of the load, in order. Needs no memory, however many
    /// there are.
    pub(super) fn due_times(&self) -> Box<dyn Iterator<Item = u64> + Send + '_> {
        let shard = self.shard;
        match &self.course {
            Course::Even(rate) => {
                Box::new((0..).map_while(move |nth| rate.due_ns(shard.global(nth) as f64)))
            }
            Course::Poisson { rate, seed } => Box::new(Poisson::new(rate, *seed, shard)),
            Course::Recorded(times) => Box::new(times.iter().copied()),
        }
    }

    /// The mean rate at which they are due between two instants in ns, per second.
    pub(super) fn mean_rate(&self, start_ns: u64, end_ns: u64) -> f64 {
        match &self.course {
            Course::Even(rate) | Course::Poisson { rate, .. } => {
                rate.mean(start_ns, end_ns) / f64::from(self.shard.of)
            }
            Course::Recorded(times) => {
                let before = |at_ns: u64| times.partition_point(|due_ns| *due_ns < at_ns);
                let count = before(end_ns).saturating_sub(before(start_ns));
                count as f64 * 1e9 / end_ns.saturating_sub(start_ns).max(1) as f64
            }
        }
    }
}

/// The arrivals of a Poisson process.
struct Poisson<'a> {
    rate: &'a Shape,
    shard: Shard,
    random: ChaCha8Rng,
    /// How many points were drawn.
    drawn: u64,
    /// The last of them.
    point: f64,
    /// When the last arrival was due. Points that are very close may be put in the wrong order by the
    /// last digits of their times.
    due_ns: u64,
}

impl<'a> Poisson<'a> {
    fn new(rate: &'a Shape, seed: u64, shard: Shard) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(ARRIVALS_STREAM);
        Self {
            rate,
            shard,
            random,
            drawn: 0,
            point: 0.0,
            due_ns: 0,
        }
    }

    /// Draws the next point; its number.
    fn draw(&mut self) -> u64 {
        // The gaps of a process of rate one: exponential with mean one, by inversion.
        self.point -= (-self.random.random::<f64>()).ln_1p();
        self.drawn += 1;
        self.drawn - 1
    }
}

impl Iterator for Poisson<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.draw() % u64::from(self.shard.of) != u64::from(self.shard.index) {}
        self.due_ns = self.rate.due_ns(self.point)?.max(self.due_ns);
        Some(self.due_ns)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;
    use crate::harness::scenario::{Stage, Wave};

    const S: u64 = 1_000_000_000;

    fn job(arrivals: Arrivals, seed: u64, shard: Shard) -> WorkerJob {
        let mut job = fixture::job("http://127.0.0.1:1");
        job.load.arrivals = arrivals;
        job.load.seed = seed;
        job.shard = shard;
        job
    }

    fn open(stages: Vec<Stage>, spacing: Spacing) -> Arrivals {
        Arrivals::Open {
            stages,
            spacing,
            max_in_flight: 1,
        }
    }

    fn due(arrivals: &Arrivals, seed: u64, shard: Shard, end_ns: u64) -> Vec<u64> {
        let job = job(arrivals.clone(), seed, shard);
        let schedule = Schedule::of(&job, end_ns).unwrap().unwrap();
        schedule.due_times().collect()
    }

    /// What the shards offer together, in order.
    fn shared(arrivals: &Arrivals, seed: u64, of: u32, end_ns: u64) -> Vec<u64> {
        let mut all: Vec<u64> = (0..of)
            .flat_map(|index| due(arrivals, seed, Shard { index, of }, end_ns))
            .collect();
        all.sort_unstable();
        all
    }

    /// The gaps between the arrivals of a constant rate, as shares of their mean.
    fn gaps(rate: f64, count: usize, seed: u64) -> Vec<f64> {
        let end_ns = (count as f64 / rate * 1e9) as u64;
        let arrivals = open(vec![Stage::constant(end_ns, rate)], Spacing::Poisson);
        let mut before_ns = 0;
        due(&arrivals, seed, Shard::WHOLE, end_ns)
            .into_iter()
            .map(|due_ns| (due_ns - std::mem::replace(&mut before_ns, due_ns)) as f64 / 1e9 * rate)
            .collect()
    }

    /// The largest distance between how the values are distributed and an exponential with mean one,
    /// times the root of their number: beyond 1.95 in one of a thousand samples (Kolmogorov's limit).
    fn distance_from_exponential(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let distance = values.iter().enumerate().map(|(below, value)| {
            let expected = -(-value).exp_m1();
            let (low, high) = (below as f64 / n, (below + 1) as f64 / n);
            (expected - low).abs().max((high - expected).abs())
        });
        distance.fold(0.0, f64::max) * n.sqrt()
    }

    #[test]
    fn gaps_of_a_poisson_process_are_exponential_and_independent() {
        let count = 100_000;
        for (seed, rate) in [(1, 20_000.0), (2, 50.0), (3, 0.1)] {
            let gaps = gaps(rate, count, seed);
            let n = gaps.len() as f64;
            // Five standard errors: of a count of 100,000, of a mean of deviation 1, of a variance whose
            // own is 8 (the fourth moment of an exponential is 9), of a correlation.
            assert!(
                (n - count as f64).abs() < 5.0 * (count as f64).sqrt(),
                "{n}"
            );
            let mean = gaps.iter().sum::<f64>() / n;
            assert!((mean - 1.0).abs() < 5.0 / n.sqrt(), "{mean}");
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / n;
            assert!(
                (variance - 1.0).abs() < 5.0 * (8.0 / n).sqrt(),
                "{variance}"
            );
            let next = gaps.iter().zip(&gaps[1..]);
            let together = next.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / n;
            assert!(together.abs() < 5.0 / n.sqrt(), "{together}");
            let distance = distance_from_exponential(gaps);
            assert!(distance < 1.95, "{distance}");
        }
        // The test tells even gaps, and those of another mean, from exponential ones.
        assert!(distance_from_exponential(vec![1.0; 1000]) > 1.95);
        let longer = gaps(50.0, count, 4).into_iter().map(|gap| 1.02 * gap);
        assert!(distance_from_exponential(longer.collect()) > 1.95);
    }

    /// In each stretch of a course, as many as its integral says, give or take.
    #[test]
    fn a_poisson_process_follows_its_rate() {
        let wave = Stage {
            wave: Some(Wave {
                amplitude: 900.0,
                period_ns: 10 * S,
            }),
            ..Stage::constant(20 * S, 1000.0)
        };
        let stages = vec![Stage::line(10 * S, 0.0, 2000.0), wave];
        let rate = Shape::new(&stages, 30 * S);
        let due = due(&open(stages, Spacing::Poisson), 5, Shard::WHOLE, 30 * S);
        assert!(due.is_sorted());
        for second in 0..30 {
            let (from_ns, to_ns) = (second * S, (second + 1) * S);
            let expected = rate.mean(from_ns, to_ns);
            let is_inside = |due_ns: &&u64| (from_ns..to_ns).contains(*due_ns);
            let found = due.iter().filter(is_inside).count() as f64;
            assert!(
                (found - expected).abs() < 5.0 * expected.sqrt() + 1.0,
                "{second}: {found}"
            );
        }
    }

    #[test]
    fn another_seed_gives_other_arrivals() {
        let arrivals = open(vec![Stage::constant(S, 100.0)], Spacing::Poisson);
        let of_seed = |seed| due(&arrivals, seed, Shard::WHOLE, S);
        assert_eq!(of_seed(1), of_seed(1));
        assert_ne!(of_seed(1), of_seed(2));
    }

    proptest! {
        #[test]
        fn shards_together_offer_what_the_whole_would(
            of in 2..7u32,
            seed in any::<u64>(),
            poisson in any::<bool>(),
            rates in proptest::collection::vec((0..2 * S, 0.0..500.0f64, 0.0..500.0f64), 1..4),
        ) {
            let stages: Vec<Stage> = rates
                .iter()
                .map(|(duration_ns, from, to)| Stage::line(*duration_ns, *from, *to))
                .collect();
            let spacing = if poisson { Spacing::Poisson } else { Spacing::Even };
            let arrivals = open(stages.clone(), spacing);
            let whole = due(&arrivals, seed, Shard::WHOLE, 4 * S);
            prop_assert!(whole.is_sorted());
            prop_assert_eq!(&shared(&arrivals, seed, of, 4 * S), &whole);
            let rates = (0..of).map(|index| {
                let job = job(arrivals.clone(), seed, Shard { index, of });
                Schedule::of(&job, 4 * S).unwrap().unwrap().mean_rate(S, 3 * S)
            });
            let expected = Shape::new(&stages, 4 * S).mean(S, 3 * S);
            prop_assert!((rates.sum::<f64>() - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn recorded_arrivals_are_due_when_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"seconds\n0\n0.5\n0.5\n1.25\n3\n9.5\n";
        let file = fixture::file(folder.path(), "arrivals.csv", text);
        let arrivals = |speed: f64| Arrivals::Trace {
            file: file.clone(),
            speed,
            arrivals: 6,
            max_in_flight: 1,
        };
        let ms = |ms: &[u64]| ms.iter().map(|ms| ms * S / 1000).collect::<Vec<_>>();
        let whole = |speed| due(&arrivals(speed), 1, Shard::WHOLE, 5 * S);
        // What would be due after the end is not.
        assert_eq!(whole(1.0), ms(&[0, 500, 500, 1250, 3000]));
        assert_eq!(whole(2.0), ms(&[0, 250, 250, 625, 1500, 4750]));
        for of in 2..8 {
            assert_eq!(shared(&arrivals(2.0), 1, of, 5 * S), whole(2.0), "{of}");
        }
        let shard = Shard { index: 1, of: 2 };
        assert_eq!(due(&arrivals(1.0), 1, shard, 5 * S), ms(&[500, 1250]));
        let job = job(arrivals(1.0), 1, Shard::WHOLE);
        let schedule = Schedule::of(&job, 5 * S).unwrap().unwrap();
        let rates = [
            (0, S),
            (S, 2 * S),
            (0, 2 * S),
            (2 * S, 3 * S),
            (3 * S, 4 * S),
        ];
        let rates = rates.map(|(start_ns, end_ns)| schedule.mean_rate(start_ns, end_ns));
        assert_eq!(rates, [3.0, 1.0, 2.0, 0.0, 1.0]);
    }
}
