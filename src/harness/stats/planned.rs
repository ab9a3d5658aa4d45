//! What a comparison will be able to find, before any of its runs is made.

use super::estimate::detectable;
use super::paired::{PRIOR_DF, SIGNED_RANK_FROM};
use super::sessions::Between;
use super::stored::{ArmSpread, spread_of_effect};

/// Runs of one arm and the sessions that they are spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArmSize {
    /// All runs together.
    pub runs: usize,
    /// Sessions, at most as many.
    pub sessions: usize,
}

/// The minimal detectable effect of `pairs` pairs whose differences have the standard deviation `s0`,
/// at the one-sided level `alpha` with power .8: (t(1−α, ν) + t(.8, ν))·s₀/√n.
///
/// Below [`SIGNED_RANK_FROM`] pairs ν = d₀ + n − 1, because whoever knows s₀ moderates by it with
/// [`PRIOR_DF`]. From there on s₀ is not used and ν = n − 1; ranks need some 5 % more pairs than t does on
/// normal differences (their efficiency is 3/π: Lehmann, "Nonparametrics", 1975, section 4.3), so that
/// SE = s₀/√(n·3/π).
///
/// `None` for fewer than two pairs, and where `s0` is no standard deviation.
pub fn planned_paired(s0: f64, pairs: usize, alpha: f64) -> Option<f64> {
    if pairs < 2 || !(s0 >= 0.0 && s0.is_finite()) {
        return None;
    }
    let n = pairs as f64;
    Some(if pairs < SIGNED_RANK_FROM {
        detectable(s0 / n.sqrt(), PRIOR_DF + n - 1.0, alpha)
    } else {
        detectable(s0 / (n * 3.0 / std::f64::consts::PI).sqrt(), n - 1.0, alpha)
    })
}

/// The minimal detectable effect of two stored arms, as [`stored`](fn@super::stored) would state it, where
/// both have the variance `s2` within sessions and `between` between them.
///
/// `None` for an arm of fewer than two runs, and where `s2` is no variance.
pub fn planned_stored(
    s2: f64,
    between: Between,
    base: ArmSize,
    head: ArmSize,
    alpha: f64,
) -> Option<f64> {
    let arm = |size: ArmSize| {
        // Runs of sessions of their own differ by both.
        let total = s2 + between.tau.powi(2);
        ArmSpread::of(size.runs, size.sessions, Some(s2), Some(total))
    };
    if !(s2 >= 0.0 && s2.is_finite()) {
        return None;
    }
    let spread = spread_of_effect(arm(base)?, arm(head)?, Some(between));
    Some(detectable(spread.se, spread.df, alpha))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::stats::{ALPHA, Prior, hodges_lehmann, moderated_t, stored};

    fn same(found: Option<f64>, expected: f64) {
        assert!(
            (found.unwrap() - expected).abs() < 1e-12,
            "{found:?} {expected}"
        );
    }

    /// Differences that have exactly the planned spread give exactly the planned effect.
    #[test]
    fn a_paired_plan_is_what_the_test_says_then() {
        // −1, 0, 1 has the variance 1.
        let s0 = 0.02;
        let differences = [-s0, 0.0, s0];
        let estimate = moderated_t(&differences, Some(Prior { s0, d0: PRIOR_DF }), ALPHA).unwrap();
        same(planned_paired(s0, 3, ALPHA), estimate.mde(ALPHA));
        // Student's t with 8 degrees of freedom: t(.95) = 1.859548, t(.8) = 0.888890 (tables).
        let of_five = planned_paired(0.05, 5, ALPHA).unwrap();
        let expected = (1.859_548 + 0.888_890) * 0.05 / 5.0f64.sqrt();
        assert!((of_five - expected).abs() < 1e-6, "{of_five}");
    }

    #[test]
    fn a_stored_plan_is_what_the_test_says_then() {
        let s = 0.01;
        let session = |centre: f64| vec![centre - s, centre, centre + s];
        let base = [session(0.0), session(0.03), session(-0.02)];
        let between = Between {
            tau: 0.03,
            sessions: 4,
        };
        let size = |runs, sessions| ArmSize { runs, sessions };
        let estimate = stored(&base, &[session(0.0)], Some(between), ALPHA).unwrap();
        let planned = planned_stored(s * s, between, size(9, 3), size(3, 1), ALPHA);
        same(planned, estimate.mde(ALPHA));
        // The sessions alone are 2.353363 (t(.95) with 3 degrees of freedom) + 0.978472 standard errors.
        let alone = planned_stored(0.0, between, size(9, 3), size(3, 1), ALPHA).unwrap();
        let expected = (2.353_363 + 0.978_472) * 0.03 * (1.0f64 / 3.0 + 1.0).sqrt();
        assert!((alone - expected).abs() < 1e-6, "{alone}");
        // A run a session: their variance is s² + τ² already.
        let mixed = planned_stored(s * s, between, size(3, 3), size(3, 3), ALPHA).unwrap();
        let runs = ((s * s + 0.03f64.powi(2)) * 2.0 / 3.0).sqrt();
        let df = 4.0;
        assert!((mixed - detectable(runs, df, ALPHA)).abs() < 1e-12);
    }

    /// What ranks find is planned to a tenth: the mean of what 500 comparisons say of themselves.
    #[test]
    fn a_ranked_plan_is_near_what_ranks_say_then() {
        use rand::{Rng as _, SeedableRng as _};
        use statrs::distribution::{ContinuousCDF as _, Normal};
        for pairs in [10, 20, 40] {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(pairs as u64);
            let mut found = 0.0;
            for _ in 0..500 {
                let differences: Vec<f64> = (0..pairs)
                    .map(|_| 0.02 * Normal::standard().inverse_cdf(random.random_range(1e-12..1.0)))
                    .collect();
                let estimate = hodges_lehmann(&differences, ALPHA).unwrap();
                found += estimate.mde(ALPHA) / 500.0;
            }
            let planned = planned_paired(0.02, pairs, ALPHA).unwrap();
            assert!(
                (found / planned - 1.0).abs() < 0.1,
                "{pairs}: {found} {planned}"
            );
        }
    }

    #[test]
    fn too_little_has_no_plan() {
        assert_eq!(planned_paired(0.02, 1, ALPHA), None);
        assert_eq!(planned_paired(f64::NAN, 5, ALPHA), None);
        let between = Between {
            tau: 0.0,
            sessions: 3,
        };
        let (one, five) = (
            ArmSize {
                runs: 1,
                sessions: 1,
            },
            ArmSize {
                runs: 5,
                sessions: 1,
            },
        );
        assert_eq!(planned_stored(1e-4, between, five, one, ALPHA), None);
        assert_eq!(planned_stored(-1.0, between, five, five, ALPHA), None);
    }

    proptest::proptest! {
        /// More noise hides more, more pairs of one kind hide less.
        #[test]
        fn monotonous(s0 in 0.001..0.3f64, pairs in 2usize..40) {
            let mde = |s0, pairs| planned_paired(s0, pairs, ALPHA).unwrap();
            proptest::prop_assert!(mde(s0 * 1.1, pairs) > mde(s0, pairs));
            if pairs + 1 != SIGNED_RANK_FROM {
                proptest::prop_assert!(mde(s0, pairs + 1) < mde(s0, pairs));
            }
        }
    }
}
