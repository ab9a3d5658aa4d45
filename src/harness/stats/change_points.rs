//! Where a series of runs changes: E-divisive with a permutation test.
//!
//! Matteson and James, "A Nonparametric Approach for Multiple Change Point Analysis of Multivariate
//! Data", Journal of the American Statistical Association 109 (2014). Neither the number of changes nor
//! a distribution is assumed; with the exponent 1 used here it suffices that means exist.
//!
//! **The p-values are no error rates.** The test permutes values, so it asks whether their order could be
//! chance. Runs of one sitting, one machine and one week resemble each other, so on real machines it often
//! could not, although nobody changed anything: at .05 a change was found in 75 % of series of 100 runs
//! of the same build. Changes are for reporting and never for gating.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Only so many values, the last ones, are looked at: a search takes time with their square.
pub const MAX_CHANGE_VALUES: usize = 400;

/// How changes are looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divisive {
    /// A change is reported where its p-value is at most this.
    pub level: f64,
    /// The fewest values on either side of a change; less than two is taken as two, because one value
    /// has no spread.
    pub min_segment: usize,
    /// R, the permutations of a test. The smallest possible p-value is 1/(R + 1).
    pub permutations: usize,
    /// The seed of the permutations.
    pub seed: u64,
}

impl Default for Divisive {
    /// Five runs on either side, so that one odd sitting is not yet a change, and p ≤ .01 of 199
    /// permutations.
    fn default() -> Self {
        Self {
            level: 0.01,
            min_segment: 5,
            permutations: 199,
            seed: 2014,
        }
    }
}

/// A place from which on a series is another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// The index of the first value after the change.
    pub at: usize,
    /// The p-value of its permutation test, given the changes that were found before it.
    pub p: f64,
}

/// The changes of a series whose values are in the order of time, sorted by place.
///
/// The search is hierarchical: of all segments between the changes found so far, the split with the
/// greatest Q̂ is tested against Q̂ of the same segments with their values permuted within each, and the
/// search ends with the first that is not significant. `None` for fewer values than two segments need,
/// and for values that are not finite.
pub fn change_points(values: &[f64], how: &Divisive) -> Option<Vec<ChangePoint>> {
    let min = how.min_segment.max(2);
    let passed_over = values.len().saturating_sub(MAX_CHANGE_VALUES);
    let values = &values[passed_over..];
    if values.len() < 2 * min || !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(how.seed);
    let mut scan = Scan::default();
    let mut segments = vec![Segment::new(values, 0, &mut scan, min)];
    let mut found = Vec::new();
    while let Some((index, split)) = greatest(&segments) {
        let Some(p) = p_value(&segments, split.q, how, min, &mut scan, &mut rng) else {
            break;
        };
        let Segment { start, values, .. } = segments[index];
        let (left, right) = values.split_at(split.left);
        let parts = [
            Segment::new(left, start, &mut scan, min),
            Segment::new(right, start + split.left, &mut scan, min),
        ];
        segments.splice(index..=index, parts);
        found.push(ChangePoint {
            at: passed_over + start + split.left,
            p,
        });
    }
    found.sort_by_key(|point| point.at);
    Some(found)
}

/// The values between two changes.
#[derive(Clone, Copy)]
struct Segment<'a> {
    values: &'a [f64],
    start: usize,
    best: Option<Split>,
}

impl<'a> Segment<'a> {
    fn new(values: &'a [f64], start: usize, scan: &mut Scan, min: usize) -> Self {
        Self {
            values,
            start,
            best: scan.best_split(values, min),
        }
    }
}

/// A segment divided in two: the first `left` values against those up to `end`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Split {
    /// τ.
    left: usize,
    /// κ: where the part on the right ends. It is searched as well, or a change back would hide a
    /// change; the values behind it stay in the segment on the right.
    end: usize,
    /// Q̂.
    q: f64,
}

fn greatest(segments: &[Segment<'_>]) -> Option<(usize, Split)> {
    segments
        .iter()
        .enumerate()
        .filter_map(|(index, segment)| Some((index, segment.best?)))
        .max_by(|(_, a), (_, b)| a.q.total_cmp(&b.q))
}

/// p = (1 + #{Q̂ of a permutation ≥ Q̂})/(R + 1), which is never zero (Phipson and Smyth, "Permutation
/// P-values should never be zero", 2010). `None` as soon as p can't be at most the level any more: most
/// series have no change, and most of their permutations need not be made.
fn p_value(
    segments: &[Segment<'_>],
    q: f64,
    how: &Divisive,
    min: usize,
    scan: &mut Scan,
    rng: &mut ChaCha8Rng,
) -> Option<f64> {
    // A permutation that gives the same sums in another order must not count as smaller.
    let reached = q * (1.0 - 1e-9);
    let p = |beyond: usize| (1 + beyond) as f64 / (how.permutations + 1) as f64;
    let mut beyond = 0;
    let mut permuted = Vec::new();
    for _ in 0..how.permutations {
        let chance = segments.iter().any(|segment| {
            permuted.clear();
            permuted.extend_from_slice(segment.values);
            permuted.shuffle(rng);
            scan.best_split(&permuted, min)
                .is_some_and(|split| split.q >= reached)
        });
        beyond += usize::from(chance);
        if p(beyond) > how.level {
            return None;
        }
    }
    Some(p(beyond)).filter(|p| *p <= how.level)
}

/// The search for the best split of a segment, with its memory: it is done many times.
#[derive(Default)]
struct Scan {
    /// Σ |xᵢ − xⱼ| over the pairs of the first k values, at k.
    within: Vec<f64>,
    /// Σ |xᵢ − xⱼ| over the values i left of τ, at j.
    column: Vec<f64>,
    /// 1/k and 1/C(k, 2), at k: a division costs as much as all the rest of a step.
    inverse: Vec<f64>,
    inverse_pairs: Vec<f64>,
}

impl Scan {
    /// (τ, κ) with the greatest
    ///
    /// Q̂ = n·m/(n + m) · (2/(n·m)·Σᵢⱼ|xᵢ − yⱼ| − C(n,2)⁻¹·Σᵢₖ|xᵢ − xₖ| − C(m,2)⁻¹·Σⱼₖ|yⱼ − yₖ|),
    ///
    /// x the n = τ values on the left, y the m = κ − τ on the right (equations 5 and 7 of the paper).
    /// The first of equals. Time O(n²), memory O(n). `None` for too few values, and where no split has
    /// a Q̂ above zero, as for values that are all the same.
    fn best_split(&mut self, values: &[f64], min: usize) -> Option<Split> {
        let n = values.len();
        for k in self.inverse.len()..=n {
            let k = k as f64;
            self.inverse.push(1.0 / k);
            self.inverse_pairs.push(2.0 / (k * (k - 1.0)));
        }
        self.within.clear();
        self.within.push(0.0);
        let mut sum = 0.0;
        for (k, value) in values.iter().enumerate() {
            sum += values[..k].iter().map(|x| (x - value).abs()).sum::<f64>();
            self.within.push(sum);
        }
        self.column.clear();
        self.column.resize(n, 0.0);
        let mut best: Option<Split> = None;
        for tau in 1..=n.saturating_sub(min) {
            let last = values[tau - 1];
            for (column, value) in self.column[tau..].iter_mut().zip(&values[tau..]) {
                *column += (last - value).abs();
            }
            if tau < min {
                continue;
            }
            let mean_left = self.within[tau] * self.inverse_pairs[tau];
            let mut cross = 0.0;
            for end in tau + 1..=n {
                cross += self.column[end - 1];
                let m = end - tau;
                if m < min {
                    continue;
                }
                let right = self.within[end] - self.within[tau] - cross;
                let means = mean_left + right * self.inverse_pairs[m];
                let q = self.inverse[end] * (2.0 * cross - (tau * m) as f64 * means);
                if q > best.map_or(0.0, |best| best.q) {
                    best = Some(Split { left: tau, end, q });
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use serde::Deserialize;
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;

    /// `tests/data/README.md` says how they were made.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Vectors {
        splits: Vec<Hierarchy>,
        exact_p: Vec<ExactP>,
        mongodb: Vec<MongoDb>,
    }

    #[derive(Deserialize)]
    struct Hierarchy {
        values: Vec<f64>,
        min_segment: usize,
        splits: Vec<Step>,
    }

    #[derive(Deserialize)]
    struct Step {
        at: usize,
        end: usize,
        q: f64,
    }

    #[derive(Deserialize)]
    struct ExactP {
        values: Vec<f64>,
        min_segment: usize,
        at: usize,
        p: f64,
    }

    #[derive(Deserialize)]
    struct MongoDb {
        values: Vec<f64>,
        change_points: Vec<usize>,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../../tests/data/change-points.json"))
            .expect("the recorded vectors")
    }

    fn noise(seed: u64, n: usize) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = || Normal::standard().inverse_cdf(rng.random_range(1e-12..1.0));
        (0..n).map(|_| normal()).collect()
    }

    /// Each step of the hierarchy, without its test, is that of sums written out by the paper's formulas.
    #[test]
    fn every_split_is_that_of_the_formulas() {
        let all = vectors().splits;
        assert!(all.len() >= 6);
        for Hierarchy {
            values,
            min_segment,
            splits,
        } in all
        {
            let mut scan = Scan::default();
            let mut segments = vec![Segment::new(&values, 0, &mut scan, min_segment)];
            for step in splits {
                let (index, split) = greatest(&segments).expect("a split");
                let Segment { start, values, .. } = segments[index];
                let found = (start + split.left, start + split.end);
                assert_eq!(found, (step.at, step.end), "Q {} and {}", split.q, step.q);
                let off = (split.q - step.q).abs();
                assert!(
                    off <= 1e-9 * step.q.max(1.0),
                    "Q {} for {}",
                    split.q,
                    step.q
                );
                let (left, right) = values.split_at(split.left);
                let parts = [
                    Segment::new(left, start, &mut scan, min_segment),
                    Segment::new(right, start + split.left, &mut scan, min_segment),
                ];
                segments.splice(index..=index, parts);
            }
        }
    }

    /// Ten thousand random permutations come within four standard errors of all that there are.
    #[test]
    fn a_p_value_is_that_of_all_permutations() {
        const PERMUTATIONS: usize = 9_999;
        let all = vectors().exact_p;
        assert!(all.len() >= 3);
        for exact in all {
            let mut scan = Scan::default();
            let segment = Segment::new(&exact.values, 0, &mut scan, exact.min_segment);
            let split = segment.best.expect("a split");
            assert_eq!(split.left, exact.at);
            let how = Divisive {
                level: 1.0,
                permutations: PERMUTATIONS,
                ..Divisive::default()
            };
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            let segments = [segment];
            let p = p_value(
                &segments,
                split.q,
                &how,
                exact.min_segment,
                &mut scan,
                &mut rng,
            )
            .expect("a p-value");
            let error = (exact.p * (1.0 - exact.p) / PERMUTATIONS as f64).sqrt();
            assert!(
                (p - exact.p).abs() < 4.0 * error + 1.0 / PERMUTATIONS as f64,
                "{p} for {}",
                exact.p
            );
        }
    }

    /// Clear changes are where MongoDB's implementation, which is another estimate of the same, has them.
    #[test]
    fn clear_changes_are_where_mongodb_finds_them() {
        let all = vectors().mongodb;
        assert!(all.len() >= 4);
        for series in all {
            let found = change_points(&series.values, &Divisive::default()).expect("an answer");
            let at: Vec<usize> = found.iter().map(|point| point.at).collect();
            assert_eq!(at, series.change_points);
        }
    }

    #[test]
    fn too_little_to_say_anything() {
        let check = |values: &[f64], expected: Option<usize>| {
            let found = change_points(values, &Divisive::default());
            assert_eq!(found.map(|found| found.len()), expected, "{values:?}");
        };
        check(&[], None);
        check(&[1.0; 9], None);
        check(&[1.0; 10], Some(0));
        check(&[[1.0; 10], [f64::NAN; 10]].concat(), None);
        check(&[[f64::MAX; 10], [f64::MIN; 10]].concat(), Some(0));
        // One odd run is no change, five are.
        check(
            &[vec![1.0; 20], vec![50.0], vec![1.0; 20]].concat(),
            Some(0),
        );
        check(&[vec![1.0; 30], vec![2.0; 5]].concat(), Some(1));
    }

    /// On exchangeable noise, and only there, the level is that of the first test: of 300 series 3 are to
    /// be expected, and more than 10 have a chance of .0003.
    #[test]
    fn plain_noise_has_few_changes() {
        let changed = |seed: &u64| {
            change_points(&noise(*seed, 60), &Divisive::default()).is_some_and(|it| !it.is_empty())
        };
        let red = (0..300).filter(changed).count();
        assert!(red <= 10, "{red} of 300");
    }

    /// Why its p-values are no error rates: noise that remembers the value before it, which is what a shared
    /// machine makes, has changes far more often than the level says.
    #[test]
    fn noise_with_a_memory_has_many() {
        let changed = |seed: &u64| {
            let mut level = 0.0;
            let values: Vec<f64> = noise(*seed, 100)
                .into_iter()
                .map(|fresh| {
                    level = 0.6 * level + fresh;
                    level
                })
                .collect();
            change_points(&values, &Divisive::default()).is_some_and(|it| !it.is_empty())
        };
        let red = (0..40).filter(changed).count();
        assert!(red >= 12, "{red} of 40");
    }

    #[test]
    fn a_change_back_does_not_hide_a_change() {
        let mut values = noise(4, 120);
        // Without the search for κ, 8 of the 70 runs from the first change on are too few to show.
        for value in &mut values[50..58] {
            *value += 4.0;
        }
        let found = change_points(&values, &Divisive::default()).expect("an answer");
        let at: Vec<usize> = found.iter().map(|point| point.at).collect();
        assert_eq!(at, [50, 58]);
    }

    #[test]
    fn only_the_last_values_are_looked_at() {
        let mut values = vec![100.0; 300];
        values.extend(noise(5, 200));
        values.extend(noise(6, 200).iter().map(|value| value + 4.0));
        let found = change_points(&values, &Divisive::default()).expect("an answer");
        assert_eq!(
            found.iter().map(|point| point.at).collect::<Vec<_>>(),
            [500]
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_answer() {
        let values = noise(7, 80);
        let with_seed = |seed| {
            let how = Divisive {
                level: 1.0,
                seed,
                ..Divisive::default()
            };
            change_points(&values, &how)
        };
        assert!(with_seed(1).is_some_and(|found| !found.is_empty()));
        assert_eq!(with_seed(1), with_seed(1));
        assert_ne!(with_seed(1), with_seed(2));
    }
}
