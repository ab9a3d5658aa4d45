//! Means, variances and order statistics of small samples.

/// Arithmetic mean; `None` for no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample variance with n − 1 in the denominator, computed about the mean so that large values lose
/// no digits; `None` for fewer than two values.
pub fn variance(values: &[f64]) -> Option<f64> {
    (values.len() >= 2).then(|| sum_of_squares(values) / (values.len() - 1) as f64)
}

/// The `q` quantile by linear interpolation between order statistics: h = (n − 1)·q, definition 7
/// of Hyndman and Fan, "Sample quantiles in statistical packages", The American Statistician 50
/// (1996). The values need no order. `None` for no values or `q` outside of 0..=1.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    if values.is_empty() || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let h = (sorted.len() - 1) as f64 * q;
    let below = sorted[h.floor() as usize];
    let above = sorted[h.ceil() as usize];
    Some(below + (above - below) * h.fract())
}

/// Σ(x − mean)²; zero for fewer than two values.
pub(super) fn sum_of_squares(values: &[f64]) -> f64 {
    mean(values).map_or(0.0, |m| values.iter().map(|x| (x - m).powi(2)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_values() {
        assert_eq!(mean(&[]), None);
        assert_eq!(variance(&[1.0]), None);
        assert_eq!(quantile(&[1.0], 1.1), None);
        assert_eq!(quantile(&[1.0], f64::NAN), None);
    }

    #[test]
    fn variance_keeps_digits_of_large_values() {
        assert_eq!(variance(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0]), Some(1.0));
    }

    #[test]
    fn medians() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0], 0.5), Some(2.5));
    }

    proptest::proptest! {
        #[test]
        fn quantiles_rise_and_stay_inside(
            values in proptest::collection::vec(-1e6..1e6f64, 1..30), a in 0.0..=1.0f64, b in 0.0..=1.0f64,
        ) {
            let low = quantile(&values, a.min(b)).unwrap_or(f64::NAN);
            let high = quantile(&values, a.max(b)).unwrap_or(f64::NAN);
            proptest::prop_assert!(low <= high);
            proptest::prop_assert!(values.iter().any(|&v| v <= low) && values.iter().any(|&v| v >= high));
        }
    }
}
