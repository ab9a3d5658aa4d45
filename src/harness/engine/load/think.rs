//! How long users wait.

use rand::Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use super::files::{FileError, read_durations_ns};
use crate::harness::scenario::ThinkPlan;

/// How often a time that is out of bounds is drawn again before the nearer bound is taken. A plan's
/// bounds hold half of the times that are drawn or more, so that this is never seen.
const MAX_DRAWS: u32 = 200;

/// Pauses of one kind.
#[derive(Debug)]
pub(super) enum Think {
    Constant(u64),
    Uniform {
        min_ns: u64,
        max_ns: u64,
    },
    Normal {
        mean_ns: f64,
        sd_ns: f64,
        max_ns: f64,
    },
    Exponential {
        mean_ns: f64,
        max_ns: f64,
    },
    /// Any of these; never none.
    Recorded(Vec<u64>),
}

impl Think {
    /// Reads what was recorded.
    pub(super) fn new(plan: &ThinkPlan) -> Result<Self, FileError> {
        Ok(match plan {
            ThinkPlan::Constant(ns) => Self::Constant(*ns),
            ThinkPlan::Uniform { min_ns, max_ns } => Self::Uniform {
                min_ns: *min_ns.min(max_ns),
                max_ns: *min_ns.max(max_ns),
            },
            ThinkPlan::Normal {
                mean_ns,
                sd_ns,
                max_ns,
            } => Self::Normal {
                mean_ns: *mean_ns as f64,
                sd_ns: *sd_ns as f64,
                max_ns: *max_ns as f64,
            },
            ThinkPlan::Exponential { mean_ns, max_ns } => Self::Exponential {
                mean_ns: *mean_ns as f64,
                max_ns: *max_ns as f64,
            },
            ThinkPlan::Recorded { file, .. } => Self::Recorded(read_durations_ns(file)?),
        })
    }

    /// Whether every pause is drawn.
    pub(super) fn is_random(&self) -> bool {
        !matches!(self, Self::Constant(_))
    }

    /// The next pause in ns.
    pub(super) fn draw_ns(&self, random: &mut impl Rng) -> u64 {
        match self {
            Self::Constant(ns) => *ns,
            Self::Uniform { min_ns, max_ns } => random.random_range(*min_ns..=*max_ns),
            Self::Normal {
                mean_ns,
                sd_ns,
                max_ns,
            } => within(*max_ns, || {
                let standard: f64 = StandardNormal.sample(random);
                mean_ns + sd_ns * standard
            }),
            Self::Exponential { mean_ns, max_ns } => within(*max_ns, || {
                let standard: f64 = Exp1.sample(random);
                mean_ns * standard
            }),
            Self::Recorded(all_ns) => all_ns[random.random_range(0..all_ns.len())],
        }
    }
}

/// A time between zero and the maximum, drawn until it is.
fn within(max_ns: f64, mut draw: impl FnMut() -> f64) -> u64 {
    let mut drawn_ns = draw();
    for _ in 0..MAX_DRAWS {
        if (0.0..=max_ns).contains(&drawn_ns) {
            break;
        }
        drawn_ns = draw();
    }
    drawn_ns.clamp(0.0, max_ns) as u64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::super::fixture;
    use super::*;

    const DRAWS: usize = 40_000;

    fn draws(plan: &ThinkPlan) -> Vec<u64> {
        let think = Think::new(plan).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(5);
        (0..DRAWS).map(|_| think.draw_ns(&mut random)).collect()
    }

    /// `mean` and `sd` are those of the distribution as it is, cut at its bounds.
    fn check(plan: &ThinkPlan, mean: f64, sd: f64) {
        let all = draws(plan);
        let found = all.iter().map(|ns| *ns as f64).sum::<f64>() / DRAWS as f64;
        let spread = all
            .iter()
            .map(|ns| (*ns as f64 - found).powi(2))
            .sum::<f64>();
        let spread = (spread / DRAWS as f64).sqrt();
        // Five standard errors of the mean.
        let tolerance = 5.0 * sd / (DRAWS as f64).sqrt() + 1.0;
        assert!(
            (found - mean).abs() < tolerance,
            "{plan:?}: {found}, not {mean}"
        );
        assert!(
            (spread - sd).abs() < 0.03 * sd + 1.0,
            "{plan:?}: {spread}, not {sd}"
        );
        assert!(all.iter().all(|ns| *ns <= plan.max_ns()), "{plan:?}");
    }

    #[test]
    fn pauses_have_the_mean_and_the_spread_of_their_kind() {
        check(&ThinkPlan::Constant(7_000), 7_000.0, 0.0);
        // (max − min) / √12.
        let uniform = ThinkPlan::Uniform {
            min_ns: 100_000,
            max_ns: 700_000,
        };
        check(&uniform, 400_000.0, 600_000.0 / 12_f64.sqrt());
        // Both bounds are so far away that they cut nothing.
        let normal = ThinkPlan::Normal {
            mean_ns: 600_000,
            sd_ns: 100_000,
            max_ns: 1_200_000,
        };
        check(&normal, 600_000.0, 100_000.0);
        // At its mean it is cut in half: the mean of half a normal is σ·√(2/π) away from it, its
        // variance σ²·(1 − 2/π).
        let half = ThinkPlan::Normal {
            mean_ns: 600_000,
            sd_ns: 100_000,
            max_ns: 600_000,
        };
        let two_over_pi = 2.0 / std::f64::consts::PI;
        let mean = 600_000.0 - 100_000.0 * two_over_pi.sqrt();
        check(&half, mean, 100_000.0 * (1.0 - two_over_pi).sqrt());
        let exponential = |max_ns| ThinkPlan::Exponential {
            mean_ns: 100_000,
            max_ns,
        };
        check(&exponential(2_000_000), 100_000.0, 100_000.0);
        // Cut at its mean: 1 − 1/(e − 1) of it, with a variance of 1 − e/(e − 1)².
        let e = std::f64::consts::E;
        let mean = 100_000.0 * (1.0 - 1.0 / (e - 1.0));
        let sd = 100_000.0 * (1.0 - e / (e - 1.0).powi(2)).sqrt();
        check(&exponential(100_000), mean, sd);
    }

    #[test]
    fn recorded_pauses_are_drawn_alike() {
        let folder = tempfile::tempdir().unwrap();
        let file = fixture::file(folder.path(), "think.csv", b"1us\n2us\n2us\n5us\n");
        let all = draws(&ThinkPlan::Recorded {
            file,
            max_ns: 5_000,
        });
        let share =
            |ns: u64| all.iter().filter(|drawn| **drawn == ns).count() as f64 / DRAWS as f64;
        for (ns, expected) in [(1_000, 0.25), (2_000, 0.5), (5_000, 0.25)] {
            assert!((share(ns) - expected).abs() < 0.015, "{ns}: {}", share(ns));
        }
    }

    #[test]
    fn bounds_that_nothing_falls_into_end_the_drawing() {
        let far = ThinkPlan::Normal {
            mean_ns: 1_000_000,
            sd_ns: 1,
            max_ns: 1_000,
        };
        let mut random = ChaCha8Rng::seed_from_u64(5);
        assert_eq!(Think::new(&far).unwrap().draw_ns(&mut random), 1_000);
    }
}
