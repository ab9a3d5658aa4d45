//! Proportions: errors among requests, red gates among gates.

use statrs::distribution::{Beta, ContinuousCDF, Normal};

use super::bisect::smallest_where;
use super::estimate::Estimate;

/// Errors among the requests of one run. More errors than requests count as all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trials {
    /// Requests that failed.
    pub errors: u64,
    /// Requests that were made.
    pub requests: u64,
}

/// The difference of the error proportions, head minus base, with one-sided bounds: Newcombe,
/// "Interval estimation for the difference between independent proportions", Statistics in Medicine
/// 17 (1998), method 10, from the Wilson bounds of each arm. Errors come in bursts, so the variance
/// is scaled by [`dispersion`]. One element a run. `None` where an arm made no request.
///
/// The p-values are those of the bound: the level at which it would just reach zero. SE is what the
/// bounds imply, (U − L)/(2z).
pub fn newcombe(base: &[Trials], head: &[Trials], alpha: f64) -> Option<Estimate> {
    let scale = dispersion(base, head);
    let runs = base.len().min(head.len()) as f64;
    let (base, head) = (Arm::of(base, scale)?, Arm::of(head, scale)?);
    let effect = head.p - base.p;
    let bounds = |z: f64| {
        let ((base_low, base_high), (head_low, head_high)) = (base.wilson(z), head.wilson(z));
        (
            effect - (head.p - head_low).hypot(base_high - base.p),
            effect + (head_high - head.p).hypot(base.p - base_low),
        )
    };
    let z = Normal::standard().inverse_cdf(1.0 - alpha);
    let (lower, upper) = bounds(z);
    let p_worse = if effect >= 0.0 {
        level_where(|z| bounds(z).0 > 0.0)
    } else {
        1.0 - level_where(|z| bounds(z).1 < 0.0)
    };
    let se = (upper - lower) / (2.0 * z);
    Some(Estimate {
        effect,
        se,
        sd: se * runs.sqrt(),
        se_sessions: 0.0,
        df: f64::INFINITY,
        lower,
        upper,
        p_worse,
        p_better: 1.0 - p_worse,
    })
}

/// max(1, χ²/df): by how much the errors of single runs scatter more than independent requests
/// would, over the runs of both arms, each against its own arm's proportion. An arm without errors,
/// or with nothing else, has no scatter to tell of and adds no degrees of freedom.
pub fn dispersion(base: &[Trials], head: &[Trials]) -> f64 {
    let (mut chi2, mut df) = (0.0, 0.0);
    for arm in [base, head] {
        let Some(Arm { p, .. }) = Arm::of(arm, 1.0) else {
            continue;
        };
        let runs = arm.iter().filter(|t| t.requests > 0);
        if p <= 0.0 || p >= 1.0 {
            continue;
        }
        df -= 1.0;
        for t in runs {
            let (errors, n) = t.counts();
            chi2 += (errors - n * p).powi(2) / (n * p * (1.0 - p));
            df += 1.0;
        }
    }
    if df > 0.0 { (chi2 / df).max(1.0) } else { 1.0 }
}

/// −ln(.05), about.
const RULE_OF_THREE: f64 = 3.0;

/// What zero errors among `n` requests still allow: at most 3/n at level 95 % (Hanley and
/// Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983).
pub fn rule_of_three(n: u64) -> f64 {
    (RULE_OF_THREE / n as f64).min(1.0)
}

/// The fewest requests without an error that rule out an error rate, by [`rule_of_three`].
pub fn requests_to_rule_out(rate: f64) -> u64 {
    // A cast of a float saturates.
    (RULE_OF_THREE / rate).ceil() as u64
}

/// Lower bound of Clopper and Pearson ("The use of confidence or fiducial limits", Biometrika 26,
/// 1934) for `k` of `n`, one-sided at level `alpha`. Zero for no trials. No verdict needs it: it is the other
/// side of what the tests of the verdicts claim.
pub fn clopper_pearson_lower(k: u64, n: u64, alpha: f64) -> f64 {
    if k == 0 || n == 0 {
        return 0.0;
    }
    1.0 - clopper_pearson_upper(n - k.min(n), n, alpha)
}

/// Upper bound of Clopper and Pearson for `k` of `n`, one-sided at level `alpha`. One for no trials.
/// NaN for an `alpha` outside of (0, 1).
pub fn clopper_pearson_upper(k: u64, n: u64, alpha: f64) -> f64 {
    if !(alpha > 0.0 && alpha < 1.0) {
        return f64::NAN;
    }
    if k >= n {
        return 1.0;
    }
    match Beta::new((k + 1) as f64, (n - k) as f64) {
        Ok(beta) => smallest_where(0.0, 1.0, |x| beta.sf(x) <= alpha),
        Err(_) => f64::NAN,
    }
}

impl Trials {
    fn counts(self) -> (f64, f64) {
        (self.errors.min(self.requests) as f64, self.requests as f64)
    }
}

struct Arm {
    p: f64,
    /// Effective number of requests: dividing it scales the variance.
    n: f64,
}

impl Arm {
    fn of(runs: &[Trials], dispersion: f64) -> Option<Self> {
        let (errors, n) = runs
            .iter()
            .map(|t| t.counts())
            .fold((0.0, 0.0), |(errors, n), (e, m)| (errors + e, n + m));
        (n > 0.0).then(|| Self {
            p: errors / n,
            n: n / dispersion,
        })
    }

    /// Wilson's score bounds at `z` standard errors.
    fn wilson(&self, z: f64) -> (f64, f64) {
        let Self { p, n } = *self;
        let z2 = z * z;
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
        // At the ends the bound is the end itself, which rounding would miss.
        let low = if p <= 0.0 { 0.0 } else { centre - half };
        let high = if p >= 1.0 { 1.0 } else { centre + half };
        (low, high)
    }
}

/// The one-sided level at which a bound stops clearing zero: `clears` is true for small z and false
/// for large. Beyond 40 standard errors the level is zero in floating point.
fn level_where(clears: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let z = (low + high) / 2.0;
        if clears(z) { low = z } else { high = z }
    }
    Normal::standard().sf(low)
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "a test that finds no estimate must fail"
)]
mod tests {
    use super::*;

    fn trials(errors: u64, requests: u64) -> Trials {
        Trials { errors, requests }
    }

    #[test]
    fn no_requests_say_nothing() {
        assert_eq!(newcombe(&[], &[trials(0, 10)], 0.05), None);
        assert_eq!(newcombe(&[trials(0, 0)], &[trials(0, 10)], 0.05), None);
    }

    /// 0 of 59 shows at most 5 %, 0 of 299 at most 1 %: the upper bound is 1 − α^(1/n).
    #[test]
    fn proof_by_silence() {
        for n in [1, 10, 59, 299] {
            let expected = 1.0 - 0.05f64.powf(1.0 / n as f64);
            assert!(
                (clopper_pearson_upper(0, n, 0.05) - expected).abs() < 1e-12,
                "n {n}"
            );
        }
        assert!(clopper_pearson_upper(0, 59, 0.05) <= 0.05);
        assert!(clopper_pearson_upper(0, 58, 0.05) > 0.05);
        assert!(clopper_pearson_upper(0, 299, 0.05) <= 0.01);
        assert_eq!(
            (
                clopper_pearson_lower(0, 0, 0.05),
                clopper_pearson_upper(0, 0, 0.05)
            ),
            (0.0, 1.0)
        );
    }

    #[test]
    fn nothing_went_wrong() {
        assert_eq!(rule_of_three(1000), 0.003);
        assert_eq!(rule_of_three(2), 1.0);
        assert_eq!(rule_of_three(0), 1.0);
        for (rate, needed) in [(0.003, 1000), (0.01, 300), (0.007, 429)] {
            assert_eq!(requests_to_rule_out(rate), needed);
            assert!(rule_of_three(needed) <= rate && rule_of_three(needed - 1) > rate);
        }
    }

    #[test]
    fn one_burst_is_no_regression() {
        let base = [trials(0, 1000), trials(1, 1000), trials(0, 1000)];
        let steady = newcombe(&base, &[trials(6, 1000); 3], 0.05).unwrap();
        let burst = newcombe(
            &base,
            &[trials(18, 1000), trials(0, 1000), trials(0, 1000)],
            0.05,
        )
        .unwrap();
        assert_eq!(steady.effect, burst.effect);
        assert!(steady.lower > 0.0 && steady.p_worse < 0.001);
        assert!(burst.lower < 0.0 && burst.p_worse > 0.05);
    }

    #[test]
    fn more_errors_than_requests_are_all() {
        let e = newcombe(&[trials(0, 10)], &[trials(20, 10)], 0.05).unwrap();
        assert_eq!(e.effect, 1.0);
    }

    proptest::proptest! {
        #[test]
        fn the_p_value_is_where_the_bound_reaches_zero(
            kb in 0u64..50, kh in 0u64..50, nb in 50u64..5000, nh in 50u64..5000, alpha in 0.005..0.3f64,
        ) {
            let (base, head) = ([trials(kb, nb)], [trials(kh, nh)]);
            let e = newcombe(&base, &head, alpha).unwrap();
            proptest::prop_assert!(e.lower <= e.effect && e.effect <= e.upper);
            proptest::prop_assert!(e.lower >= -1.0 && e.upper <= 1.0);
            if (e.p_worse - alpha).abs() > 1e-9 {
                proptest::prop_assert_eq!(e.lower > 0.0, e.p_worse < alpha);
            }
            let back = newcombe(&head, &base, alpha).unwrap();
            proptest::prop_assert!((back.p_worse - e.p_better).abs() < 1e-9);
            proptest::prop_assert!((back.upper + e.lower).abs() < 1e-12);
        }
    }
}
