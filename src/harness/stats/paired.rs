//! Two arms measured in pairs: the test on the differences within each pair.
//!
//! A pair is one run of each arm, back to back on one machine; what the machine does to both
//! cancels. With few pairs the spread is badly known, so it is moderated by the spread that the same
//! metric showed when both arms were the same build: Smyth, "Linear models and empirical Bayes
//! methods for assessing differential expression in microarray experiments", Statistical
//! Applications in Genetics and Molecular Biology 3 (2004), article 3. With ten pairs or more the
//! signed-rank bounds need no normal distribution.

use statrs::function::gamma::digamma;

use super::estimate::Estimate;
use super::order::{mean, sum_of_squares, variance};
use super::signed_rank::hodges_lehmann;

/// Number of pairs from which the signed-rank bounds take over from t.
pub const SIGNED_RANK_FROM: usize = 10;

/// d₀, the weight of a prior in degrees of freedom.
pub const PRIOR_DF: f64 = 4.0;

/// What the A/A history of a metric says about the spread of its paired differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// s₀, a standard deviation on the scale of the differences.
    pub s0: f64,
    /// d₀, its weight in degrees of freedom; [`PRIOR_DF`] unless stated otherwise.
    pub d0: f64,
}

impl Prior {
    /// s₀ from groups of A/A differences of one metric, with weight [`PRIOR_DF`]. It is the mean of ln s²
    /// with its bias taken out,
    ///
    /// ln s₀² = mean(ln s_g² − ψ(d_g/2) + ln(d_g/2)), d_g = n_g − 1,
    ///
    /// because the mean of s² itself follows the one bad night of a shared machine. Smyth adds
    /// ψ(d₀/2) − ln(d₀/2), which makes up for σ itself varying as d₀ says. It is left out here: where all
    /// groups have one σ this is that σ, elsewhere s₀² is larger than his (by 31 % for d₀ = 4), which errs to
    /// the careful side. `None` where no group has two values that differ.
    pub fn from_history<'a>(groups: impl IntoIterator<Item = &'a [f64]>) -> Option<Self> {
        let logs: Vec<f64> = groups
            .into_iter()
            .filter_map(|group| {
                let half_df = (group.len().checked_sub(1)?) as f64 / 2.0;
                let s2 = variance(group).filter(|&s2| s2 > 0.0 && s2.is_finite())?;
                Some(s2.ln() - digamma(half_df) + half_df.ln())
            })
            .collect();
        Some(Self {
            s0: (mean(&logs)? / 2.0).exp(),
            d0: PRIOR_DF,
        })
    }
}

/// The effect from paired `differences` (head minus base, one a pair): [`moderated_t`] below
/// [`SIGNED_RANK_FROM`] pairs, [`hodges_lehmann`] from there on. Same unit in and out. `None` for
/// fewer than two pairs (one, where there is a prior).
pub fn paired(differences: &[f64], prior: Option<Prior>, alpha: f64) -> Option<Estimate> {
    if differences.len() < SIGNED_RANK_FROM {
        moderated_t(differences, prior, alpha)
    } else {
        hodges_lehmann(differences, alpha)
    }
}

/// θ = mean d; s̃² = (d₀·s₀² + (n−1)·s²)/(d₀ + n − 1); ν = d₀ + n − 1; SE = s̃/√n;
/// bounds θ ± t(1−α, ν)·SE. Without a prior d₀ = 0, the ordinary paired t test.
pub fn moderated_t(differences: &[f64], prior: Option<Prior>, alpha: f64) -> Option<Estimate> {
    let n = differences.len() as f64;
    let (s0, d0) = prior
        .filter(|p| p.s0.is_finite() && p.d0.is_finite() && p.d0 > 0.0)
        .map_or((0.0, 0.0), |p| (p.s0, p.d0));
    let effect = mean(differences)?;
    let df = d0 + n - 1.0;
    if df <= 0.0 {
        return None;
    }
    let moderated = (d0 * s0.powi(2) + sum_of_squares(differences)) / df;
    let sd = moderated.sqrt();
    Some(Estimate::from_t(effect, sd / n.sqrt(), sd, df, alpha))
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "a test that finds no estimate must fail"
)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_says_nothing_unless_there_is_a_history() {
        assert_eq!(paired(&[], None, 0.05), None);
        assert_eq!(paired(&[0.1], None, 0.05), None);
        let prior = Prior { s0: 0.02, d0: 4.0 };
        let e = paired(&[0.1], Some(prior), 0.05).unwrap();
        assert_eq!((e.df, e.se), (4.0, 0.02));
    }

    #[test]
    fn a_useless_prior_is_no_prior() {
        let d = [0.01, 0.03, 0.02];
        for prior in [
            Prior { s0: 0.02, d0: 0.0 },
            Prior {
                s0: f64::NAN,
                d0: 4.0,
            },
        ] {
            assert_eq!(paired(&d, Some(prior), 0.05), paired(&d, None, 0.05));
        }
    }

    #[test]
    fn ten_pairs_are_ranked() {
        let d: Vec<f64> = (0..10).map(|i| 0.01 * f64::from(i)).collect();
        assert_eq!(paired(&d, None, 0.05), hodges_lehmann(&d, 0.05));
        assert_eq!(
            paired(&d[..9], None, 0.05),
            moderated_t(&d[..9], None, 0.05)
        );
    }

    #[test]
    fn history_without_spread_is_no_prior() {
        assert_eq!(Prior::from_history([]), None);
        assert_eq!(Prior::from_history([&[0.1][..], &[], &[0.2, 0.2]]), None);
    }

    proptest::proptest! {
        /// Swapping the arms mirrors the answer; shifting every pair shifts it.
        #[test]
        fn mirrored_and_shifted(
            d in proptest::collection::vec(-0.5..0.5f64, 2..25), shift in -0.5..0.5f64,
            s0 in proptest::option::of(0.001..0.2f64),
        ) {
            let prior = s0.map(|s0| Prior { s0, d0: PRIOR_DF });
            let e = paired(&d, prior, 0.05).unwrap();
            let mirror = paired(&d.iter().map(|x| -x).collect::<Vec<_>>(), prior, 0.05).unwrap();
            let moved = paired(&d.iter().map(|x| x + shift).collect::<Vec<_>>(), prior, 0.05).unwrap();
            for (a, b) in [
                (mirror.effect, -e.effect), (mirror.lower, -e.upper), (mirror.upper, -e.lower),
                (mirror.p_worse, e.p_better),
                (moved.effect, e.effect + shift), (moved.lower, e.lower + shift), (moved.upper, e.upper + shift),
            ] {
                proptest::prop_assert!((a - b).abs() < 1e-9, "{a} {b}");
            }
            proptest::prop_assert!(e.lower <= e.effect && e.effect <= e.upper);
            proptest::prop_assert_eq!(e.lower > 0.0, e.p_worse < 0.05);
        }
    }
}
