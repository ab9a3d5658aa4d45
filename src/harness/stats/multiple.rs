//! Many metrics judged at once.

/// Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical
/// Society B 57 (1995). Each p-value's adjusted value, in the order given: a metric is a finding at
/// rate q exactly where its adjusted value is at most q. The gate's q is the level of the comparison,
/// [`ALPHA`](super::ALPHA) or its share of it at a planned look. Values outside of 0..=1 are the caller's
/// mistake and come back as NaN, counted in none of the others.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len())
        .filter(|&i| (0.0..=1.0).contains(&p[i]))
        .collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let m = order.len() as f64;
    let mut adjusted = vec![f64::NAN; p.len()];
    let mut smallest = 1.0f64;
    for (rank, &i) in order.iter().enumerate().rev() {
        smallest = smallest.min(p[i] * m / (rank + 1) as f64);
        adjusted[i] = smallest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::super::ALPHA;
    use super::*;

    #[test]
    fn no_or_one_value_stays_itself() {
        assert_eq!(benjamini_hochberg(&[]), Vec::<f64>::new());
        assert_eq!(benjamini_hochberg(&[0.03]), vec![0.03]);
    }

    #[test]
    fn nonsense_counts_nowhere() {
        let adjusted = benjamini_hochberg(&[0.03, f64::NAN, 2.0]);
        assert_eq!(adjusted[0], 0.03);
        assert!(adjusted[1].is_nan() && adjusted[2].is_nan());
    }

    /// The step-up rule as the paper states it: the largest i with p(i) ≤ q·i/m rejects all below.
    fn rejected_by_the_paper(p: &[f64], q: f64) -> Vec<bool> {
        let mut sorted = p.to_vec();
        sorted.sort_by(f64::total_cmp);
        let m = p.len() as f64;
        let last = (1..=p.len())
            .rev()
            .find(|&i| sorted[i - 1] <= q * i as f64 / m);
        p.iter()
            .map(|x| last.is_some_and(|i| *x <= sorted[i - 1]))
            .collect()
    }

    proptest::proptest! {
        #[test]
        fn adjusted_values_are_the_step_up_rule(p in proptest::collection::vec(0.0..0.2f64, 1..20)) {
            let adjusted: Vec<bool> = benjamini_hochberg(&p).iter().map(|a| *a <= ALPHA).collect();
            proptest::prop_assert_eq!(adjusted, rejected_by_the_paper(&p, ALPHA));
        }
    }
}
