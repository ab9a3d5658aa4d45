//! How often the gate would be red on runs of one build, where every red is a false alarm.

use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::judge::{Evidence, judge};
use super::policy::Policy;
use super::verdict::{Outcome, Reason, Verdict};
use crate::harness::compare::{AaSession, Design, Noise, Settings, aa_values, calibrate, compare};
use crate::harness::model::{Measurement, PairedValues, Run};
use crate::harness::stats::{ALPHA, clopper_pearson_upper};

/// Relabelings of a block that are judged; of a block that has more, a sample.
const RELABELINGS: usize = 256;
/// What decides which, so that the same runs always give the same answer.
const SEED: u64 = 0x706c_696d;

/// The valid pairs of one sitting, both runs of each of the same build.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AaPairs {
    /// The runs that were called base, in the order of the pairs.
    pub base: Vec<Run>,
    /// Their partners, in the same order.
    pub head: Vec<Run>,
}

/// What the gate said of A/A pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FalseAlarms {
    /// Pairs of one gate.
    pub pairs: usize,
    /// Gates: blocks of so many pairs of a sitting, which share no run.
    pub blocks: usize,
    /// Those in which a metric was found to have regressed.
    pub red: usize,
    /// Those in which the margins were neither broken nor shown to hold.
    pub inconclusive: usize,
    /// Those that fail without a regression: a limit is broken, which is no false alarm.
    pub limits_broken: usize,
    /// The one-sided 95 % bound of Clopper and Pearson on the rate of red gates; one for no block.
    pub upper: f64,
    /// Gates over the same pairs with other labels: it doesn't matter which run of a pair is called base.
    pub relabelled: Relabelled,
}

/// Gates over blocks in each pair of which chance decided which run is called base. They share their runs,
/// so their share of red says what the blocks are like and has no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relabelled {
    /// How many.
    pub judged: usize,
    /// Those in which a metric was found to have regressed.
    pub red: usize,
    /// Whether these are all that there are, rather than a sample.
    pub is_exact: bool,
}

/// Gates each block of `pairs` pairs by the policy, as a pull request would be. What is known of the noise is
/// what all the other pairs say, never the block itself. What is left of a sitting makes no block.
pub fn false_alarms(policy: &Policy, sittings: &[AaPairs], pairs: usize) -> FalseAlarms {
    let light: Vec<AaPairs> = sittings.iter().map(lightened).collect();
    let mut alarms = FalseAlarms {
        pairs,
        relabelled: Relabelled {
            is_exact: true,
            ..Relabelled::default()
        },
        ..FalseAlarms::default()
    };
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    for (at, sitting) in light.iter().enumerate() {
        let blocks = sitting.base.len().checked_div(pairs).unwrap_or_default();
        for first in (0..blocks).map(|block| block * pairs) {
            let settings = Settings {
                noise: noise_beside(&light, at, first..first + pairs),
                ..Settings::new(Design::Paired)
            };
            let base = &sitting.base[first..first + pairs];
            let head = &sitting.head[first..first + pairs];
            let verdict = gate(policy, base, head, &settings);
            alarms.blocks += 1;
            match verdict.verdict {
                _ if is_red(&verdict) => alarms.red += 1,
                Outcome::Fail => alarms.limits_broken += 1,
                Outcome::Inconclusive => alarms.inconclusive += 1,
                Outcome::Pass | Outcome::NoBaseline | Outcome::Invalid => {}
            }
            // Only what can be red is judged so often.
            let (base, head) = (gated(policy, base), gated(policy, head));
            let (labels, is_exact) = labelings(pairs, &mut random);
            alarms.relabelled.is_exact &= is_exact;
            for swaps in labels {
                let (base, head) = swapped(&base, &head, &swaps);
                alarms.relabelled.judged += 1;
                let verdict = gate(policy, &base, &head, &settings);
                alarms.relabelled.red += usize::from(is_red(&verdict));
            }
        }
    }
    alarms.upper = clopper_pearson_upper(alarms.red as u64, alarms.blocks as u64, ALPHA);
    alarms
}

fn gate(policy: &Policy, base: &[Run], head: &[Run], settings: &Settings) -> Verdict {
    let comparison = compare(base, head, settings);
    let evidence = Evidence {
        base,
        head,
        comparison: Some(&comparison),
    };
    judge(policy, &evidence)
}

fn is_red(verdict: &Verdict) -> bool {
    let mut reasons = verdict.reasons.iter();
    verdict.verdict == Outcome::Fail
        && reasons.any(|reason| matches!(reason, Reason::Regressed { .. }))
}

/// What all pairs but those of the block say of the noise.
fn noise_beside(
    sittings: &[AaPairs],
    of: usize,
    block: std::ops::Range<usize>,
) -> BTreeMap<String, Noise> {
    let without = |runs: &[Run]| [&runs[..block.start], &runs[block.end..]].concat();
    let mut values: BTreeMap<String, Vec<PairedValues>> = BTreeMap::new();
    for (at, sitting) in sittings.iter().enumerate() {
        let found = match at == of {
            true => aa_values(&without(&sitting.base), &without(&sitting.head)),
            false => aa_values(&sitting.base, &sitting.head),
        };
        for (name, found) in found {
            values.entry(name).or_default().push(found);
        }
    }
    values
        .into_iter()
        .filter_map(|(name, values)| {
            let better = values.first()?.better;
            let sessions: Vec<AaSession<'_>> = values
                .iter()
                .map(|values| AaSession {
                    base: &values.base,
                    head: &values.head,
                    is_of_newest_revision: true,
                })
                .collect();
            Some((name, calibrate(better, &sessions).noise()))
        })
        .collect()
}

/// Which pairs of a block change their labels, for every way to do so, or a sample of them; and whether these
/// are all.
fn labelings(pairs: usize, random: &mut ChaCha8Rng) -> (Vec<Vec<bool>>, bool) {
    let all = u32::try_from(pairs)
        .ok()
        .and_then(|pairs| 1usize.checked_shl(pairs))
        .filter(|all| *all <= RELABELINGS);
    let labels = match all {
        Some(all) => (0..all)
            .map(|labels| (0..pairs).map(|pair| labels >> pair & 1 == 1).collect())
            .collect(),
        None => (0..RELABELINGS)
            .map(|_| (0..pairs).map(|_| random.random()).collect())
            .collect(),
    };
    (labels, all.is_some())
}

/// The same runs with nothing but the metrics that have a margin.
fn gated(policy: &Policy, runs: &[Run]) -> Vec<Run> {
    let mut runs = runs.to_vec();
    for run in &mut runs {
        run.metrics
            .retain(|metric| policy.margin(&metric.name).is_some());
    }
    runs
}

fn swapped(base: &[Run], head: &[Run], swaps: &[bool]) -> (Vec<Run>, Vec<Run>) {
    base.iter()
        .zip(head)
        .zip(swaps)
        .map(|((base, head), swap)| match swap {
            true => (head.clone(), base.clone()),
            false => (base.clone(), head.clone()),
        })
        .unzip()
}

/// The same runs without the measurement, which no verdict looks at and which is long to copy.
fn lightened(sitting: &AaPairs) -> AaPairs {
    let light = |run: &Run| Run {
        schema: run.schema.clone(),
        id: run.id,
        scenario: run.scenario.clone(),
        session: run.session.clone(),
        revision: run.revision.clone(),
        scenario_file: run.scenario_file.clone(),
        plimsoll_version: run.plimsoll_version.clone(),
        fingerprint: run.fingerprint.clone(),
        invalid: run.invalid.clone(),
        aborted: run.aborted.clone(),
        warnings: Vec::new(),
        metrics: run.metrics.clone(),
        measurement: Measurement::default(),
        ..*run
    };
    AaPairs {
        base: sitting.base.iter().map(light).collect(),
        head: sitting.head.iter().map(light).collect(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use statrs::distribution::{ContinuousCDF as _, Normal};

    use super::*;
    use crate::harness::model::{Direction, Metric, RunId, Unit};
    use crate::harness::scenario::GatePlan;

    const P95: &str = "load.a.p95";

    fn policy() -> Policy {
        Policy {
            gates: vec![GatePlan {
                regress: Some(0.05),
                ..GatePlan::on(P95)
            }],
            ..Policy::default()
        }
    }

    fn run(pair: usize, value: f64) -> Run {
        let metric = Metric::single(P95, Unit::Nanoseconds, Direction::Lower, value, 10_000);
        Run {
            pair: Some(u32::try_from(pair).unwrap()),
            ..Run::imported(RunId::now(), "s".into(), vec![metric])
        }
    }

    /// So many pairs whose logarithms scatter by `sigma`, with heads that are slower by `effect`.
    fn pairs(seed: u64, count: usize, sigma: f64, effect: f64) -> AaPairs {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut value = |centre: f64| {
            let z = Normal::standard().inverse_cdf(random.random_range(1e-12..1.0));
            (17.0 + centre + sigma * z).exp()
        };
        AaPairs {
            base: (1..=count).map(|pair| run(pair, value(0.0))).collect(),
            head: (1..=count).map(|pair| run(pair, value(effect))).collect(),
        }
    }

    #[test]
    fn runs_of_one_build_are_seldom_red() {
        let alarms = false_alarms(&policy(), &[pairs(1, 300, 0.04, 0.0)], 5);
        assert_eq!((alarms.blocks, alarms.pairs), (60, 5));
        // A gate is red in at most 5 % of its blocks; 9 of 60 or more has a probability of .003 then.
        assert!(alarms.red < 9, "{alarms:?}");
        assert_eq!(alarms.limits_broken, 0);
        assert_eq!(
            (alarms.relabelled.judged, alarms.relabelled.is_exact),
            (60 * 32, true)
        );
        // Twice the bound's level, because the relabelings of one block are alike.
        assert!(alarms.relabelled.red < 60 * 32 / 10, "{alarms:?}");
        let expected = clopper_pearson_upper(alarms.red as u64, 60, 0.05);
        assert_eq!(alarms.upper, expected);
    }

    /// The count can be other than zero: arms that are no A/A.
    #[test]
    fn arms_that_differ_are_red_unless_they_are_relabelled() {
        let alarms = false_alarms(&policy(), &[pairs(2, 20, 0.01, 0.2)], 5);
        assert_eq!((alarms.blocks, alarms.red, alarms.upper), (4, 4, 1.0));
        // Of the 32 relabelings of a block the one without a swap is red. With one the mean is .12, with two
        // it is .04, within the margin: at most 1 + 5.
        let red = alarms.relabelled.red;
        assert!((4..=4 * 6).contains(&red), "{alarms:?}");
    }

    #[test]
    fn blocks_lie_within_a_sitting_and_leave_the_rest() {
        let check = |sittings: &[usize], blocks: usize| {
            let sittings: Vec<AaPairs> = sittings
                .iter()
                .map(|count| pairs(3, *count, 0.02, 0.0))
                .collect();
            let alarms = false_alarms(&policy(), &sittings, 5);
            assert_eq!(alarms.blocks, blocks);
            if blocks == 0 {
                assert_eq!((alarms.upper, alarms.relabelled.judged), (1.0, 0));
            }
        };
        check(&[], 0);
        check(&[4, 4], 0);
        check(&[13], 2);
        check(&[7, 9, 10], 4);
    }

    #[test]
    fn a_broken_limit_is_no_false_alarm() {
        let mut policy = policy();
        policy.gates[0].max = Some(1.0);
        let alarms = false_alarms(&policy, &[pairs(4, 10, 0.02, 0.0)], 5);
        assert_eq!((alarms.red, alarms.limits_broken), (0, 2));
        assert_eq!(alarms.relabelled.red, 0);
    }

    #[test]
    fn a_block_is_no_history_of_itself() {
        let mut sitting = pairs(5, 15, 0.01, 0.0);
        let wild = pairs(6, 5, 0.5, 0.0);
        sitting.base.splice(5..10, wild.base);
        sitting.head.splice(5..10, wild.head);
        let s0 = |block| {
            let noise = noise_beside(std::slice::from_ref(&sitting), 0, block);
            noise[P95].prior.unwrap().s0
        };
        // √2·.01, where the wild five are left out.
        assert!((0.007..0.028).contains(&s0(5..10)), "{}", s0(5..10));
        assert!(s0(0..5) > 0.1, "{}", s0(0..5));
    }

    #[test]
    fn many_pairs_are_sampled() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let (few, all) = labelings(3, &mut random);
        assert_eq!((few.len(), all), (8, true));
        let distinct: std::collections::BTreeSet<_> = few.into_iter().collect();
        assert_eq!(distinct.len(), 8);
        for pairs in [9, 70] {
            let (many, all) = labelings(pairs, &mut random);
            assert_eq!((many.len(), all), (RELABELINGS, false));
        }
    }
}
