//! Means and variances of small samples.

/// Arithmetic mean; `None` for no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample variance with n − 1 in the denominator, computed about the mean so that large values lose
/// no digits; `None` for fewer than two values.
pub fn variance(values: &[f64]) -> Option<f64> {
    (values.len() >= 2).then(|| sum_of_squares(values) / (values.len() - 1) as f64)
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
    }

    #[test]
    fn variance_keeps_digits_of_large_values() {
        assert_eq!(variance(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0]), Some(1.0));
    }
}
