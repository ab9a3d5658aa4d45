//! Bisection over the floating-point numbers themselves: exact, and at most 64 steps wherever the
//! answer lies.

/// The smallest x in `low..=high` for which `holds` is true, where it is false below and true above
/// some point; `high` where it never is.
pub(super) fn smallest_where(low: f64, high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (ordinal(low), ordinal(high));
    while low < high {
        let mid = low + (high.wrapping_sub(low) as u64 / 2) as i64;
        if holds(from_ordinal(mid)) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    from_ordinal(high)
}

/// The place of a number in the order of all floating-point numbers: as in [`f64::total_cmp`].
fn ordinal(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

fn from_ordinal(place: i64) -> f64 {
    // Minus zero becomes zero, so that an answer never prints as -0.
    f64::from_bits((place ^ ((place >> 63) as u64 >> 1) as i64) as u64) + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn finds_the_exact_point(point in -1e300..1e300f64) {
            proptest::prop_assert_eq!(smallest_where(f64::MIN, f64::MAX, |x| x >= point), point);
            proptest::prop_assert_eq!(smallest_where(f64::MIN, f64::MAX, |x| x > point), point.next_up());
        }
    }

    #[test]
    fn ends() {
        assert_eq!(smallest_where(-1.0, 1.0, |_| true), -1.0);
        assert_eq!(smallest_where(-1.0, 1.0, |_| false), 1.0);
        assert_eq!(smallest_where(-1.0, 1.0, |x| x >= 0.0), 0.0);
    }
}
