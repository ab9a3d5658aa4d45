//! An effect with its one-sided bounds: what every comparison of two arms comes down to.

use super::student::{t_cdf, t_quantile};

/// The one-sided level of a bound where no planned further looks divide it.
pub const ALPHA: f64 = 0.05;
/// How often a comparison is looked at where more runs can follow a look: each look has the level
/// [`ALPHA`] / `LOOKS`, so that all of them together err no more often than one at [`ALPHA`]
/// (Bonferroni's inequality).
pub const LOOKS: u32 = 3;

/// The power at which the minimal detectable effect is stated.
pub const POWER: f64 = 0.8;

/// z(.95) + z(.8), rounded as VERDICTS.md prints it: the number of standard errors between no
/// effect and an effect that is found with power .8 at level .05.
const PAIRS_Z: f64 = 2.49;

/// An estimated effect. Unit: that of the values it came from (for metrics a difference of natural
/// logarithms, for errors a difference of proportions); positive is worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// θ, the effect.
    pub effect: f64,
    /// Its standard error.
    pub se: f64,
    /// The standard deviation of one difference between the arms (one pair of runs).
    pub sd: f64,
    /// The part of `se` that more runs don't shrink: what lies between the sessions of stored arms;
    /// zero elsewhere.
    pub se_sessions: f64,
    /// Degrees of freedom of `se`; infinite where the normal distribution is used.
    pub df: f64,
    /// Lower one-sided bound at the level that was asked for; may be minus infinity.
    pub lower: f64,
    /// Upper one-sided bound at that level; may be infinity.
    pub upper: f64,
    /// One-sided p-value against "not worse" (θ ≤ 0).
    pub p_worse: f64,
    /// One-sided p-value against "not better" (θ ≥ 0).
    pub p_better: f64,
}

impl Estimate {
    /// θ ± t(1−α, ν)·SE. Without any spread (`se` = 0) the bounds are the effect itself and the
    /// p-values are 0 or 1, or one half for no effect at all.
    pub(super) fn from_t(effect: f64, se: f64, sd: f64, df: f64, alpha: f64) -> Self {
        let half_width = if se > 0.0 {
            t_quantile(1.0 - alpha, df) * se
        } else {
            0.0
        };
        let (p_worse, p_better) = if se > 0.0 {
            (t_cdf(-effect / se, df), t_cdf(effect / se, df))
        } else if effect == 0.0 {
            (0.5, 0.5)
        } else if effect > 0.0 {
            (0.0, 1.0)
        } else {
            (1.0, 0.0)
        };
        Self {
            effect,
            se,
            sd,
            se_sessions: 0.0,
            df,
            lower: effect - half_width,
            upper: effect + half_width,
            p_worse,
            p_better,
        }
    }

    /// Minimal detectable effect on the scale of the values: (t(1−α, ν) + t(.8, ν))·SE, the true
    /// effect that a comparison like this one finds with power .8 at the one-sided level `alpha`.
    /// For logarithms, `exp(mde) − 1` is the fraction.
    pub fn mde(&self, alpha: f64) -> f64 {
        detectable(self.se, self.df, alpha)
    }
}

/// As [`Estimate::mde`], from a standard error and its degrees of freedom alone.
pub(super) fn detectable(se: f64, df: f64, alpha: f64) -> f64 {
    if se == 0.0 {
        return 0.0;
    }
    (t_quantile(1.0 - alpha, df) + t_quantile(POWER, df)) * se
}

/// Pairs that are needed to find the effect `delta` with power .8 at the one-sided level .05, from
/// the standard deviation `sd` of the paired differences: (2.49·s/δ)², rounded up, at least 2
/// because one pair has no spread. Where more pairs leave `se_sessions` of the standard error as it
/// is, they have to make up for it: 2.49²·s²/(δ² − 2.49²·se²).
///
/// `None` where no number of pairs would do because 2.49·`se_sessions` reaches `delta` by itself,
/// where `delta` is not positive, or where `sd` is not finite.
pub fn pairs_needed(sd: f64, se_sessions: f64, delta: f64) -> Option<u64> {
    if !(delta > 0.0 && sd >= 0.0 && sd.is_finite()) {
        return None;
    }
    let left = 1.0 - (PAIRS_Z * se_sessions / delta).powi(2);
    // The cast saturates: more pairs than fit into the type are simply the largest number.
    (left > 0.0).then(|| (((PAIRS_Z * sd / delta).powi(2) / left).ceil() as u64).max(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spread_decides_by_sign() {
        for (effect, p_worse, p_better) in [(0.1, 0.0, 1.0), (0.0, 0.5, 0.5), (-0.1, 1.0, 0.0)] {
            let e = Estimate::from_t(effect, 0.0, 0.0, 4.0, ALPHA);
            assert_eq!((e.lower, e.upper), (effect, effect));
            assert_eq!(
                (e.p_worse, e.p_better, e.mde(ALPHA)),
                (p_worse, p_better, 0.0)
            );
        }
    }

    /// Student's t with 4 degrees of freedom: t(.95) = 2.131847 and t(.8) = 0.940965 (tables).
    #[test]
    fn mde_is_both_quantiles_times_the_standard_error() {
        let e = Estimate::from_t(0.0, 0.01, 0.02, 4.0, 0.05);
        assert!((e.mde(0.05) - (0.021_318_47 + 0.009_409_65)).abs() < 1e-8);
    }

    #[test]
    fn pairs() {
        fn check(sd: f64, delta: f64, expected: Option<u64>) {
            assert_eq!(
                pairs_needed(sd, 0.0, delta),
                expected,
                "sd {sd}, delta {delta}"
            );
        }
        check(0.05, 0.05, Some(7)); // 2.49² = 6.2
        check(0.10, 0.05, Some(25)); // 4 · 6.2 = 24.8
        check(0.001, 0.05, Some(2));
        check(0.0, 0.05, Some(2));
        check(0.05, 0.0, None);
        check(f64::NAN, 0.05, None);
        check(f64::INFINITY, 0.05, None);
        check(1e300, 1e-300, Some(u64::MAX));
    }

    /// What lies between sessions takes its share of the margin, or all of it.
    #[test]
    fn pairs_do_not_make_up_for_sessions() {
        // 2.49·.01 = .0249 of .05 is taken: 2.49²·.05²/(.05² − .0249²) = 8.2.
        assert_eq!(pairs_needed(0.05, 0.01, 0.05), Some(9));
        assert_eq!(pairs_needed(0.05, 0.05 / 2.48, 0.05), None);
        assert_eq!(pairs_needed(0.0, 0.1, 0.05), None);
    }
}
