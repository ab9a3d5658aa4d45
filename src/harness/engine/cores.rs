//! Cores kept busy over a stretch of time, from looks that each tell of the time before them.

use std::ops::Range;

use super::thinned::mean;

/// What the first look tells of, in ns: looks are taken once a second.
const FIRST_NS: i64 = 1_000_000_000;

/// The cores that were kept busy on average within `measure`, and on how many looks that rests. Each
/// look (when it was taken, in ns, and the cores since the one before) belongs to where the middle of
/// its time lies: looks are taken on the second, a little late, so that the one at the start of a
/// phase tells of the second before it. `None` where no look tells of the stretch.
pub(super) fn mean_cores(
    looks: impl Iterator<Item = (i64, f64)>,
    measure: Range<u64>,
) -> Option<(f64, u64)> {
    let mut before_ns = None;
    let inside: Vec<f64> = looks
        .filter(|(at_ns, _)| {
            let from_ns = before_ns.replace(*at_ns);
            let length_ns = from_ns.map_or(FIRST_NS, |from_ns| at_ns.saturating_sub(from_ns));
            u64::try_from(at_ns.saturating_sub(length_ns / 2))
                .is_ok_and(|middle_ns| measure.contains(&middle_ns))
        })
        .map(|(_, cores)| cores)
        .collect();
    let looks = inside.len() as u64;
    (looks > 0).then(|| (mean(inside.into_iter()), looks))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn check(at_s: &[f64], measure_s: Range<u64>, expected: Option<(f64, u64)>) {
        // A look shows its number, so that a mean tells which ones are in it.
        let looks = at_s
            .iter()
            .enumerate()
            .map(|(index, at_s)| ((at_s * S as f64) as i64, index as f64));
        let measure = measure_s.start * S as u64..measure_s.end * S as u64;
        assert_eq!(mean_cores(looks, measure), expected, "{at_s:?}");
    }

    #[test]
    fn a_look_tells_of_the_second_before_it() {
        let seconds = [0.01, 1.01, 2.01, 3.01, 4.01, 5.01];
        check(&seconds, 2..4, Some((3.5, 2)));
        check(&seconds, 0..1, Some((1.0, 1)));
        check(&seconds, 5..9, None);
        check(&[], 0..9, None);
        // Before the start of the load.
        check(&[-1.0, -0.2, 0.0], 0..9, None);
        // The first look has none before it.
        check(&[2.01, 3.01], 1..3, Some((0.5, 2)));
    }

    #[test]
    fn a_coarser_look_tells_of_all_the_time_since_the_one_before() {
        check(&[4.01, 8.01, 12.01, 16.01], 5..12, Some((1.5, 2)));
    }
}
