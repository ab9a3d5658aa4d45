//! One arrival process divided among several loads by their weights.

use super::plan::{Stage, Wave};

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

/// The stages of a number of users, for each weight: whole users at the beginning and the end of each
/// stage, and a wave for each in proportion to the users that it is around.
pub(super) fn of_users(stages: &[Stage], weights: &[u32]) -> Vec<Vec<Stage>> {
    let mut shared = vec![Vec::with_capacity(stages.len()); weights.len()];
    for stage in stages {
        let from = whole(stage.from, weights);
        let to = whole(stage.to, weights);
        for (at, own) in shared.iter_mut().enumerate() {
            let wave = stage.wave.filter(|_| stage.from > 0.0);
            own.push(Stage {
                from: from[at],
                to: to[at],
                wave: wave.map(|wave| Wave {
                    amplitude: wave.amplitude * from[at] / stage.from,
                    ..wave
                }),
                ..*stage
            });
        }
    }
    shared
}

/// A whole number in whole parts that are as the weights, as nearly as they can be: the method of the
/// largest remainder (Hamilton's); of equal remainders the first. The sum of the parts is the number.
/// What is no whole number, because something is wrong with it, is divided as it is.
pub(super) fn whole(total: f64, weights: &[u32]) -> Vec<f64> {
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
        // The largest remainder, .6, is that of the last.
        check(10.0, &[57, 17, 26], &[6.0, 1.0, 3.0]);
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
    fn a_wave_of_users_never_goes_below_nobody() {
        let wave = Wave {
            amplitude: 7.0,
            period_ns: 1,
        };
        let stage = Stage {
            wave: Some(wave),
            ..Stage::constant(1, 7.0)
        };
        let shared = of_users(&[stage], &[1, 1, 1]);
        let own: Vec<(f64, f64)> = shared
            .iter()
            .filter_map(|stages| Some((stages[0].from, stages[0].wave?.amplitude)))
            .collect();
        assert_eq!(own, [(3.0, 3.0), (2.0, 2.0), (2.0, 2.0)]);
    }
}
