//! One arrival process divided among several loads by their weights.

use super::plan::Stage;

/// The stages of a rate, for each weight: at each moment the rates are as the weights, and their sum
/// is the rate.
pub(super) fn of_rate(stages: &[Stage], weights: &[u32]) -> Vec<Vec<Stage>> {
    let sum = sum(weights);
    let of_weight = |weight: u32| {
        let share = |value: f64| value * f64::from(weight) / sum;
        stages.iter().map(|stage| stage.map(share)).collect()
    };
    weights.iter().map(|weight| of_weight(*weight)).collect()
}

/// To which of the weights each user belongs, from the first on: of however many users, each weight has
/// what it would have of users that could be divided, rounded up or down. A number that is divided anew
/// whenever it changes can't do that: of one user more, another weight may get one less.
///
/// R. Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980): of those who are owed
/// at least 1/(2k − 2) of a user, the one who would be owed 1 − 1/(2k − 2) first.
pub(super) fn owners(weights: &[u32]) -> impl Iterator<Item = usize> {
    let weights: Vec<i128> = weights.iter().copied().map(i128::from).collect();
    let sum: i128 = weights.iter().sum();
    // All in parts of 1/(sum · scale).
    let scale = 2 * (weights.len() as i128 - 1).max(1);
    let most = sum * (scale - 1);
    let mut have = vec![0; weights.len()];
    (1..).map_while(move |users: i128| {
        let owed = |at: usize| (weights[at] * users - have[at] * sum) * scale;
        let next = (0..weights.len())
            .filter(|at| owed(*at) >= sum)
            .min_by(|a, b| {
                let (of_a, of_b) = (most - owed(*a), most - owed(*b));
                (of_a * weights[*b]).cmp(&(of_b * weights[*a]))
            })?;
        have[next] += 1;
        Some(next)
    })
}

/// So many users in parts that are as the weights, as nearly as they can be where each has one at
/// least. Fewer than there are weights give each one all the same.
pub(super) fn at_least_one(users: u32, weights: &[u32]) -> Vec<u32> {
    let mut parts = vec![1; weights.len()];
    let mut larger: Vec<usize> = (0..weights.len()).collect();
    loop {
        let own: Vec<u32> = larger.iter().map(|at| weights[*at]).collect();
        let left = users.saturating_sub((weights.len() - larger.len()) as u32);
        let shared = whole(f64::from(left), &own);
        let before = larger.len();
        let mut shared_again = shared.iter();
        larger.retain(|_| shared_again.next().is_some_and(|part| *part >= 1.0));
        if larger.len() == before || larger.is_empty() {
            for (at, part) in larger.into_iter().zip(shared) {
                parts[at] = part as u32;
            }
            return parts;
        }
    }
}

/// A whole number in whole parts that are as the weights, as nearly as they can be: the method of the
/// largest remainder (Hamilton's); of equal remainders the first. The sum of the parts is the number.
/// What is no whole number, because something is wrong with it, is divided as it is.
fn whole(total: f64, weights: &[u32]) -> Vec<f64> {
    let sum = sum(weights);
    let exact = weights
        .iter()
        .map(|weight| total * f64::from(*weight) / sum);
    if !total.is_finite() || total.fract() != 0.0 {
        return exact.collect();
    }
    let mut parts: Vec<f64> = exact.clone().map(f64::floor).collect();
    let remainders: Vec<f64> = exact.map(f64::fract).collect();
    let mut largest_first: Vec<usize> = (0..weights.len()).collect();
    largest_first.sort_by(|a, b| remainders[*b].total_cmp(&remainders[*a]));
    // Fewer than there are parts, each of which lost less than one.
    let missing = total - parts.iter().sum::<f64>();
    for at in largest_first.into_iter().take(missing as usize) {
        parts[at] += 1.0;
    }
    parts
}

fn sum(weights: &[u32]) -> f64 {
    weights.iter().copied().map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::scenario::plan::{UserShare, Wave};

    #[test]
    fn parts_of_users_are_whole_and_make_the_whole() {
        let check = |total: f64, weights: &[u32], expected: &[f64]| {
            assert_eq!(whole(total, weights), expected, "{total} by {weights:?}");
        };
        check(60.0, &[5, 1], &[50.0, 10.0]);
        check(7.0, &[5, 1], &[6.0, 1.0]);
        check(10.0, &[1, 1, 1], &[4.0, 3.0, 3.0]);
        check(2.0, &[5, 1], &[2.0, 0.0]);
        check(0.0, &[5, 1], &[0.0, 0.0]);
        check(3.0, &[7], &[3.0]);
        // The largest remainders, .7 and .7, are those of the first two.
        check(10.0, &[57, 17, 26], &[6.0, 2.0, 2.0]);
    }

    #[test]
    fn rates_are_as_the_weights_at_every_moment() {
        let wave = Wave {
            amplitude: 30.0,
            period_ns: 7,
        };
        let stages = [
            Stage::line(1, 0.0, 60.0),
            Stage {
                wave: Some(wave),
                ..Stage::constant(2, 60.0)
            },
        ];
        let shared = of_rate(&stages, &[5, 1]);
        let [many, few] = [&shared[0], &shared[1]];
        assert_eq!((many[0].from, many[0].to), (0.0, 50.0));
        assert_eq!((few[0].from, few[0].to), (0.0, 10.0));
        assert_eq!((many[1].from, few[1].from), (50.0, 10.0));
        let amplitude = |stage: &Stage| stage.wave.map(|wave| (wave.amplitude, wave.period_ns));
        assert_eq!(amplitude(&many[1]), Some((25.0, 7)));
        assert_eq!(amplitude(&few[1]), Some((5.0, 7)));
    }

    #[test]
    fn each_user_belongs_to_one_weight_and_each_weight_has_its_share_of_any_number() {
        let check = |weights: &[u32]| {
            let sum: u32 = weights.iter().sum();
            let mut have = vec![0_u32; weights.len()];
            for (owner, users) in owners(weights).zip(1..=500_u32) {
                have[owner] += 1;
                for (have, weight) in have.iter().zip(weights) {
                    let exact = f64::from(users) * f64::from(*weight) / f64::from(sum);
                    let off = (f64::from(*have) - exact).abs();
                    assert!(off < 1.0, "{have} of {users}, not {exact}: {weights:?}");
                }
            }
        };
        check(&[1]);
        check(&[5, 1]);
        check(&[1; 10]);
        check(&[57, 17, 26]);
        check(&[1_000_000, 1, 1, 3, 70]);
        assert_eq!(
            Vec::from_iter(owners(&[5, 1]).take(8)),
            [0, 0, 0, 1, 0, 0, 0, 0]
        );
        assert_eq!(owners(&[]).next(), None);
    }

    #[test]
    fn a_share_is_the_users_that_are_its_own() {
        let own = |nth, all| {
            let weights = vec![1; 10];
            UserShare { weights, nth }.own(all)
        };
        assert_eq!(own(0, 25), [1, 11, 21]);
        assert_eq!(own(9, 25), [10, 20]);
        assert!(own(9, 9).is_empty());
    }

    #[test]
    fn everybody_gets_a_user_and_all_together_no_more_than_there_are() {
        let check = |users: u32, weights: &[u32], expected: &[u32]| {
            assert_eq!(
                at_least_one(users, weights),
                expected,
                "{users} by {weights:?}"
            );
        };
        check(10, &[1000, 1, 1, 1], &[7, 1, 1, 1]);
        check(120, &[5, 1], &[100, 20]);
        check(3, &[1000, 1, 1], &[1, 1, 1]);
        // Two is what is left for the second when the third has got its one.
        check(6, &[50, 30, 1], &[3, 2, 1]);
        check(1, &[5, 1], &[1, 1]);
    }
}
