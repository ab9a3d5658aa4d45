//! Wilcoxon's signed-rank test and the estimate and bounds that belong to it.
//!
//! Hodges and Lehmann, "Estimates of location based on rank tests", Annals of Mathematical
//! Statistics 34 (1963); the bounds are order statistics of the Walsh averages (dᵢ + dⱼ)/2, i ≤ j:
//! Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", 3rd ed. (2014), section 3.
//!
//! Ties and zeros are taken against the finding: the statistic counts the Walsh averages that are
//! strictly positive (strictly negative for the other side), which is Wilcoxon's T with every tie
//! broken the unfavourable way, so its level still holds. The same count makes the test and the
//! bound agree: p ≤ α exactly where the lower bound is positive.

use statrs::distribution::{ContinuousCDF, Normal};

use super::estimate::Estimate;
use super::select::{Pairs, Walsh, kth_smallest, middle};
use super::student::t_quantile;

/// Up to this number of values the null distribution is exact, beyond it normal with continuity
/// correction (there they differ by less than .001).
const EXACT_UP_TO: usize = 100;

/// Median of the Walsh averages of `differences`, with signed-rank bounds at the one-sided level
/// `alpha`. A bound that so few values cannot give at that level is infinite.
///
/// SE is what the width of the bounds implies, (U − L)/(2·t(1−α, n−1)), so that the minimal
/// detectable effect follows the ranks and not the one wild value. `None` for fewer than two values.
pub fn hodges_lehmann(differences: &[f64], alpha: f64) -> Option<Estimate> {
    let n = differences.len();
    if n < 2 || differences.iter().any(|d| !d.is_finite()) {
        return None;
    }
    let walsh = Walsh::new(differences);
    let all = walsh.len();
    let null = Null::new(n);

    let effect = middle(&walsh);
    let (lower, upper) = match null.critical(alpha) {
        Some(c) => (kth_smallest(&walsh, c + 1), kth_smallest(&walsh, all - c)),
        None => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let not_positive = walsh.count_at_most(0.0);
    let negative = walsh.count_at_most(0.0f64.next_down());
    let df = (n - 1) as f64;
    let se = (upper - lower) / (2.0 * t_quantile(1.0 - alpha, df));
    Some(Estimate {
        effect,
        se,
        sd: se * (n as f64).sqrt(),
        se_sessions: 0.0,
        df,
        lower,
        upper,
        // P(T ≥ t) = P(T ≤ M − t), the null distribution being symmetric.
        p_worse: null.cdf(not_positive),
        p_better: null.cdf(all - negative),
    })
}

/// The distribution of T, the sum of the ranks with a positive sign, when each sign is a fair coin.
struct Null {
    n: usize,
    /// P(T ≤ c) for c = 0.. where it is exact.
    exact: Option<Vec<f64>>,
}

impl Null {
    fn new(n: usize) -> Self {
        let exact = (n <= EXACT_UP_TO).then(|| {
            let mut p = vec![0.0; n * (n + 1) / 2 + 1];
            p[0] = 1.0;
            let mut top = 0;
            for rank in 1..=n {
                top += rank;
                for t in (0..=top).rev() {
                    p[t] = 0.5 * (p[t] + if t >= rank { p[t - rank] } else { 0.0 });
                }
            }
            let mut sum = 0.0f64;
            p.iter()
                .map(|q| {
                    sum += q;
                    sum.min(1.0)
                })
                .collect()
        });
        Self { n, exact }
    }

    /// P(T ≤ c).
    fn cdf(&self, c: u64) -> f64 {
        match &self.exact {
            Some(p) => p[(c as usize).min(p.len() - 1)],
            None => {
                let n = self.n as f64;
                let mean = n * (n + 1.0) / 4.0;
                let sd = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
                Normal::standard().cdf((c as f64 + 0.5 - mean) / sd)
            }
        }
    }

    /// The largest c with P(T ≤ c) ≤ α, if there is one.
    fn critical(&self, alpha: f64) -> Option<u64> {
        let (mut fits, mut exceeds) = (None, (self.n * (self.n + 1) / 2) as u64);
        let mut low = 0;
        while low < exceeds {
            let c = low + (exceeds - low) / 2;
            if self.cdf(c) <= alpha {
                fits = Some(c);
                low = c + 1;
            } else {
                exceeds = c;
            }
        }
        fits
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "a test that finds no estimate must fail"
)]
mod tests {
    use super::*;

    /// Hollander, Wolfe and Chicken, table A.4 (upper tail; here by symmetry the lower):
    /// P(T ≤ 10) = .042 and P(T ≤ 8) = .024 for n = 10; P(T ≤ 30) = .047 for n = 15.
    #[test]
    fn published_table() {
        for (n, c, p) in [
            (10, 10, 0.042),
            (10, 8, 0.024),
            (15, 30, 0.047),
            (5, 0, 0.031),
        ] {
            assert!((Null::new(n).cdf(c) - p).abs() < 5e-4, "n {n}, c {c}");
        }
        assert_eq!(Null::new(10).critical(0.05), Some(10));
        assert_eq!(Null::new(4).critical(0.05), None);
    }

    #[test]
    fn exact_and_normal_meet() {
        let exact = Null::new(EXACT_UP_TO);
        let normal = Null {
            n: EXACT_UP_TO,
            exact: None,
        };
        for c in 0..=5050 {
            assert!((exact.cdf(c) - normal.cdf(c)).abs() < 1e-3, "c {c}");
        }
    }

    #[test]
    fn too_few_for_the_level_has_no_bound() {
        let e = hodges_lehmann(&[0.1, 0.2, 0.3, 0.4], 0.05).unwrap();
        assert_eq!(
            (e.effect, e.lower, e.upper),
            (0.25, f64::NEG_INFINITY, f64::INFINITY)
        );
        assert_eq!(e.p_worse, 0.0625);
        assert_eq!(hodges_lehmann(&[0.1], 0.05), None);
        assert_eq!(hodges_lehmann(&[0.1, f64::NAN], 0.05), None);
    }

    /// With ties and zeros, over every assignment of signs (so under the null hypothesis exactly),
    /// the level holds and a positive lower bound means p ≤ α.
    #[test]
    fn ties_keep_the_level() {
        let sizes = [0.0, 0.1, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.5, 0.5];
        for alpha in [0.05, 0.05 / 3.0] {
            let (mut found, all) = (0, 1 << sizes.len());
            for signs in 0..all {
                let d: Vec<f64> = (0..sizes.len())
                    .map(|i| {
                        if signs >> i & 1 == 1 {
                            sizes[i]
                        } else {
                            -sizes[i]
                        }
                    })
                    .collect();
                let e = hodges_lehmann(&d, alpha).unwrap();
                found += i32::from(e.p_worse <= alpha);
                assert_eq!(e.lower > 0.0, e.p_worse <= alpha, "{d:?}");
                assert_eq!(e.upper < 0.0, e.p_better <= alpha, "{d:?}");
            }
            let rate = f64::from(found) / f64::from(all);
            assert!(rate <= alpha && rate > alpha / 4.0, "alpha {alpha}: {rate}");
        }
    }
}
