//! Order statistics of all pairs, without making all pairs.
//!
//! Saved runs come from anyone's files, so n² values would be anyone's memory. Each set of pairs
//! here only knows how many of its values are at most x, in linear time; the k-th smallest is then
//! found by bisection over the floating-point numbers themselves, exactly, in at most 64 steps.

use super::bisect::smallest_where;

/// A multiset of finite numbers that can be counted but need not be held.
pub(super) trait Pairs {
    /// How many values there are.
    fn len(&self) -> u64;
    /// How many of them are at most `x`.
    fn count_at_most(&self, x: f64) -> u64;
}

/// The Walsh averages (dᵢ + dⱼ)/2, i ≤ j.
pub(super) struct Walsh(Vec<f64>);

impl Walsh {
    pub(super) fn new(d: &[f64]) -> Self {
        Self(sorted(d.to_vec()))
    }
}

impl Pairs for Walsh {
    fn len(&self) -> u64 {
        let n = self.0.len() as u64;
        n * (n + 1) / 2
    }

    fn count_at_most(&self, x: f64) -> u64 {
        let mut end = self.0.len();
        let mut count = 0;
        for (i, d) in self.0.iter().enumerate() {
            while end > i && (d + self.0[end - 1]) / 2.0 > x {
                end -= 1;
            }
            count += (end.max(i) - i) as u64;
        }
        count
    }
}

/// The differences hⱼ − bᵢ of every head value to every base value.
pub(super) struct Differences {
    base: Vec<f64>,
    head: Vec<f64>,
}

impl Differences {
    pub(super) fn new(base: Vec<f64>, head: Vec<f64>) -> Self {
        Self {
            base: sorted(base),
            head: sorted(head),
        }
    }
}

impl Pairs for Differences {
    fn len(&self) -> u64 {
        self.base.len() as u64 * self.head.len() as u64
    }

    fn count_at_most(&self, x: f64) -> u64 {
        let mut end = 0;
        let mut count = 0;
        for b in &self.base {
            while end < self.head.len() && self.head[end] - b <= x {
                end += 1;
            }
            count += end as u64;
        }
        count
    }
}

/// The median: the middle value, or the mean of the middle two. `pairs` is not empty.
pub(super) fn middle(pairs: &impl Pairs) -> f64 {
    let n = pairs.len();
    let lower = kth_smallest(pairs, n.div_ceil(2));
    let upper = if n.is_multiple_of(2) {
        kth_smallest(pairs, n / 2 + 1)
    } else {
        lower
    };
    lower + (upper - lower) / 2.0
}

/// The `k`-th smallest value, k from 1 to the number of values: the smallest x that at least k
/// values do not exceed.
pub(super) fn kth_smallest(pairs: &impl Pairs, k: u64) -> f64 {
    smallest_where(f64::MIN, f64::MAX, |x| pairs.count_at_most(x) >= k)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::*;

    fn check(pairs: &impl Pairs, mut all: Vec<f64>) {
        all.sort_by(f64::total_cmp);
        assert_eq!(pairs.len(), all.len() as u64);
        for (k, expected) in (1..).zip(&all) {
            assert_eq!(kth_smallest(pairs, k), *expected, "k {k} of {all:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn as_if_all_pairs_were_made(
            // Few distinct values, so that ties are common, among wild ones.
            base in proptest::collection::vec(proptest::prop_oneof![(-3i8..3).prop_map(f64::from), -1e3..1e3f64], 1..12),
            head in proptest::collection::vec(proptest::prop_oneof![(-3i8..3).prop_map(f64::from), -1e3..1e3f64], 1..12),
        ) {
            let walsh = (0..head.len()).flat_map(|i| (i..head.len()).map(move |j| (i, j)));
            check(&Walsh::new(&head), walsh.map(|(i, j)| (head[i] + head[j]) / 2.0).collect());
            let differences = base.iter().flat_map(|b| head.iter().map(move |h| h - b));
            check(&Differences::new(base.clone(), head.clone()), differences.collect());
        }
    }

    #[test]
    fn many_values_need_no_room() {
        let values: Vec<f64> = (0..100_000).map(f64::from).collect();
        assert_eq!(middle(&Walsh::new(&values)), 49_999.5);
        assert_eq!(middle(&Differences::new(values.clone(), values)), 0.0);
    }
}
