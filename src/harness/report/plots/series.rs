//! Long series made short enough to draw.

/// Points that a curve gets at most: more than its pixels can show helps no one.
pub(super) const MAX_POINTS: usize = 240;

/// How many neighbours are put together so that at most [`MAX_POINTS`] remain.
pub(super) fn stride(len: usize) -> usize {
    len.div_ceil(MAX_POINTS).max(1)
}

/// Neighbours put together: the time of the first, and what `join` makes of the values.
pub(super) fn thinned(points: &[(f64, f64)], join: fn(&[f64]) -> f64) -> Vec<(f64, f64)> {
    points
        .chunks(stride(points.len()))
        .filter_map(|chunk| {
            let values: Vec<f64> = chunk
                .iter()
                .map(|(_, v)| *v)
                .filter(|v| v.is_finite())
                .collect();
            (!values.is_empty()).then(|| (chunk[0].0, join(&values)))
        })
        .collect()
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The largest.
pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The points cut into lines wherever two neighbours are further apart than `gap`.
pub(super) fn lines(points: &[(f64, f64)], gap: f64) -> Vec<Vec<(f64, f64)>> {
    points
        .chunk_by(|a, b| b.0 - a.0 <= gap)
        .map(<[_]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_keeps_its_peak() {
        let points: Vec<_> = (0..3600)
            .map(|i| (f64::from(i), f64::from(i == 1234)))
            .collect();
        let thin = thinned(&points, largest);
        assert!(thin.len() <= MAX_POINTS);
        assert_eq!(thin.iter().filter(|(_, v)| *v == 1.0).count(), 1);
    }

    #[test]
    fn a_short_series_stays() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)];
        assert_eq!(thinned(&points, mean), [(0.0, 1.0), (2.0, 3.0)]);
    }

    #[test]
    fn a_gap_breaks_the_line() {
        let points = [(0.0, 1.0), (1.0, 1.0), (5.0, 1.0)];
        assert_eq!(lines(&points, 1.5).len(), 2);
        assert!(lines(&[], 1.5).is_empty());
    }
}
