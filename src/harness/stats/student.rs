//! Student's t distribution, with the normal distribution as its limit.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::beta_reg;

use super::bisect::smallest_where;

/// Degrees of freedom from which t is brought to the normal distribution by
/// z = t·(1 − 1/(4ν))/√(1 + t²/(2ν)), Abramowitz and Stegun, "Handbook of Mathematical Functions"
/// (1964), 26.7.8. Its error is of order 1/ν²; the beta function loses more digits than that there.
const NORMAL_FROM: f64 = 1e5;

/// P(T ≤ t) for `df` degrees of freedom (positive, fractional allowed, infinite is normal). NaN for
/// a NaN and for degrees of freedom that are not positive.
pub fn t_cdf(t: f64, df: f64) -> f64 {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if df >= NORMAL_FROM {
        let z = t * (1.0 - 0.25 / df) / (t / (2.0 * df).sqrt()).hypot(1.0);
        return Normal::standard().cdf(z);
    }
    let t2 = t * t;
    if t2 < df {
        // Near the centre from the probability between −t and t, which keeps the digits of small t²/df
        // that statrs' own distribution loses.
        let between = beta_reg(0.5, df / 2.0, t2 / (df + t2));
        0.5 + 0.5 * between.copysign(t)
    } else {
        let tail = 0.5 * beta_reg(df / 2.0, 0.5, df / (df + t2));
        if t > 0.0 { 1.0 - tail } else { tail }
    }
}

/// The `p` quantile of t, the inverse of [`t_cdf`]. NaN for `p` outside of (0, 1).
pub fn t_quantile(p: f64, df: f64) -> f64 {
    if !(p > 0.0 && p < 1.0 && df > 0.0) {
        return f64::NAN;
    }
    // The lower tail keeps the digits of a small p. (The quantile of statrs has eight digits only.)
    match p {
        0.5 => 0.0,
        p if p < 0.5 => smallest_where(f64::MIN, 0.0, |t| t_cdf(t, df) >= p),
        p => -smallest_where(f64::MIN, 0.0, |t| t_cdf(t, df) >= 1.0 - p),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_the_domain_is_nan() {
        for (p, df) in [
            (0.0, 4.0),
            (1.0, 4.0),
            (f64::NAN, 4.0),
            (0.5, 0.0),
            (0.5, f64::NAN),
        ] {
            assert!(t_quantile(p, df).is_nan(), "p {p}, df {df}");
        }
        assert!(t_cdf(f64::NAN, 4.0).is_nan());
        assert!(t_cdf(1.0, -1.0).is_nan());
    }

    #[test]
    fn many_degrees_of_freedom_are_normal() {
        let z = 1.644_853_626_951_472_7;
        for df in [1e12, f64::INFINITY] {
            assert!(
                (t_quantile(0.95, df) - z).abs() < 1e-10,
                "df {df}: {}",
                t_quantile(0.95, df)
            );
            assert!(
                (t_cdf(z, df) - 0.95).abs() < 1e-10,
                "df {df}: {}",
                t_cdf(z, df)
            );
        }
    }

    #[test]
    fn both_formulas_meet() {
        for t in [-8.0, -1.5, -0.01, 0.3, 4.0] {
            let step = t_cdf(t, NORMAL_FROM) - t_cdf(t, NORMAL_FROM.next_down());
            assert!(step.abs() < 2e-10, "t {t}: {step}");
        }
    }

    proptest::proptest! {
        #[test]
        fn quantile_inverts_cdf(p in 1e-4..0.9999f64, df in 0.5..1e6f64) {
            let back = t_cdf(t_quantile(p, df), df);
            proptest::prop_assert!((back - p).abs() < 1e-9, "p {p}, df {df}, back {back}");
        }
    }
}
