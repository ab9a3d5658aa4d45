//! A/A runs → the noise of each metric, and what a gate can find in it.

use std::collections::BTreeMap;

use super::comparison::{Design, Effect};
use super::metric::worse;
use super::run::compare;
use super::settings::{Noise, Settings};
use crate::harness::model::{Direction, PairedValues, Run};
use crate::harness::stats::{
    ALPHA, Between, PRIOR_DF, Prior, between_sessions, planned_paired, planned_stored,
    within_variance,
};

pub use crate::harness::stats::ArmSize;

/// More pairs than this are not recommended to anybody.
const MOST_PAIRS: usize = 1000;
/// s² is taken of so many differences in a row, or up to twice as many: [`PRIOR_DF`] and the mean. Groups of
/// one size weigh alike, and one bad hour is in one of them.
const GROUP: usize = PRIOR_DF as usize + 1;
/// Margins are stated to a tenth of a percent.
const MARGIN_STEPS: f64 = 1000.0;

/// Every metric of a session of A/A pairs that has a ratio, and so a noise that is the same fraction whatever
/// its level. Error rates have none: their bounds follow from how many requests were counted.
pub fn aa_values(base: &[Run], head: &[Run]) -> BTreeMap<String, PairedValues> {
    let comparison = compare(base, head, &Settings::new(Design::Paired));
    let has_ratio = |values: &[f64]| {
        !values.is_empty() && values.iter().all(|value| value.is_finite() && *value > 0.0)
    };
    comparison
        .metrics
        .into_iter()
        .filter(|metric| !metric.is_difference && has_ratio(&metric.base))
        .filter(|metric| has_ratio(&metric.head))
        .map(|metric| {
            let values = PairedValues {
                unit: metric.unit,
                better: metric.better,
                base: metric.base,
                head: metric.head,
            };
            (metric.name, values)
        })
        .collect()
}

/// The values of one metric in one session.
#[derive(Debug, Clone, Copy)]
pub struct AaSession<'a> {
    /// Of the runs that were called base, in the order of the pairs.
    pub base: &'a [f64],
    /// As many, of their partners.
    pub head: &'a [f64],
    /// Whether it measured what the newest session did. What lies between sessions of two revisions is not
    /// noise alone.
    pub is_of_newest_revision: bool,
}

/// What A/A sessions say of the noise of one metric.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Calibrated {
    /// s₀, the standard deviation of a paired difference of logarithms. `None` where no session has five
    /// pairs, and where no two differences of one differ.
    pub s0: Option<f64>,
    /// The differences behind it: pairs of sessions that have five, for a bench invocations.
    pub pairs: usize,
    /// τ and the sessions behind it, which are of one revision; at least three.
    pub between: Option<Between>,
    /// The variance of a logarithm within a session, over all sessions.
    pub within: Option<f64>,
}

/// The noise of one metric. Values are positive.
///
/// s₀ is pooled over groups of differences of one session as [`Prior::from_history`] pools: a gate gives s₀ the
/// weight of [`PRIOR_DF`] degrees of freedom, so that it has to rest on as many. For τ the arms don't matter, and every run counts for itself.
pub fn calibrate(better: Direction, sessions: &[AaSession<'_>]) -> Calibrated {
    let logs = |values: &[f64]| -> Vec<f64> {
        let logs = values.iter().map(|value| worse(better, *value));
        logs.collect()
    };
    let differences: Vec<Vec<f64>> = sessions
        .iter()
        .map(|session| {
            let pairs = logs(session.base).into_iter().zip(logs(session.head));
            pairs.map(|(base, head)| head - base).collect()
        })
        .collect();
    let groups: Vec<&[f64]> = differences.iter().flat_map(|of| grouped(of)).collect();
    let runs_of = |session: &AaSession<'_>| [logs(session.base), logs(session.head)].concat();
    let runs: Vec<Vec<f64>> = sessions.iter().map(runs_of).collect();
    let of_one_revision: Vec<Vec<f64>> = sessions
        .iter()
        .filter(|session| session.is_of_newest_revision)
        .map(runs_of)
        .collect();
    Calibrated {
        s0: Prior::from_history(groups.iter().copied()).map(|prior| prior.s0),
        pairs: groups.iter().map(|group| group.len()).sum(),
        between: between_sessions(&of_one_revision),
        within: within_variance(&runs),
    }
}

/// Differences in a row; those that are left over go with the last group. None of too few.
fn grouped(differences: &[f64]) -> impl Iterator<Item = &[f64]> {
    let count = differences.len() / GROUP;
    (0..count).map(move |at| match at + 1 == count {
        true => &differences[at * GROUP..],
        false => &differences[at * GROUP..(at + 1) * GROUP],
    })
}

impl Calibrated {
    /// As a comparison takes it.
    pub fn noise(&self) -> Noise {
        Noise {
            prior: self.s0.map(|s0| Prior { s0, d0: PRIOR_DF }),
            between: self.between,
        }
    }

    /// The minimal detectable effect of so many differences, as a fraction.
    pub fn mde_paired(&self, differences: usize) -> Option<f64> {
        planned_paired(self.s0?, differences, ALPHA).map(Effect::as_fraction)
    }

    /// The minimal detectable effect of a head against a stored base, as a fraction.
    pub fn mde_stored(&self, base: ArmSize, head: ArmSize) -> Option<f64> {
        planned_stored(self.within?, self.between?, base, head, ALPHA).map(Effect::as_fraction)
    }

    /// The smallest margin, in steps of .1 %, that so many differences hold: whose minimal detectable effect
    /// is within it.
    pub fn margin_held(&self, differences: usize) -> Option<f64> {
        let mde = self.mde_paired(differences)?;
        Some((mde * MARGIN_STEPS).ceil() / MARGIN_STEPS)
    }

    /// The fewest pairs that hold a margin, each pair giving so many differences; `None` where that would be
    /// unreasonably many.
    ///
    /// With many pairs it comes near (2.49·s₀/δ)², which forgets how badly the spread of few is known.
    pub fn pairs_needed(&self, margin: f64, differences: impl Fn(usize) -> usize) -> Option<usize> {
        let holds = |pairs| {
            self.mde_paired(differences(pairs))
                .is_some_and(|mde| mde <= margin)
        };
        (2..=MOST_PAIRS).find(|pairs| holds(*pairs))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use statrs::distribution::{ContinuousCDF as _, Normal};

    use super::*;

    /// Runs of sessions with a spread of their own: ln value = centre + τ·z a session + σ·z a run.
    fn simulated(
        seed: u64,
        sessions: usize,
        pairs: usize,
        (tau, sigma): (f64, f64),
    ) -> Vec<[Vec<f64>; 2]> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut normal =
            move |sd: f64| sd * Normal::standard().inverse_cdf(random.random_range(1e-12..1.0));
        (0..sessions)
            .map(|_| {
                let centre = 17.0 + normal(tau);
                let mut arm = || (0..pairs).map(|_| (centre + normal(sigma)).exp()).collect();
                [arm(), arm()]
            })
            .collect()
    }

    fn calibrated(better: Direction, sessions: &[[Vec<f64>; 2]]) -> Calibrated {
        let sessions: Vec<AaSession<'_>> = sessions
            .iter()
            .map(|[base, head]| AaSession {
                base,
                head,
                is_of_newest_revision: true,
            })
            .collect();
        calibrate(better, &sessions)
    }

    /// ψ′, the variance of ln of a χ² over two: Abramowitz and Stegun 6.4.10, with what the sum leaves out.
    fn trigamma(x: f64) -> f64 {
        const TERMS: u32 = 10_000;
        let sum: f64 = (0..TERMS).map(|k| (x + f64::from(k)).powi(-2)).sum();
        sum + 1.0 / (x + f64::from(TERMS) - 0.5)
    }

    /// Four standard errors of each estimate, from the theory of normal samples.
    #[test]
    fn the_noise_that_was_put_in_comes_out() {
        for (seed, sessions, pairs, tau, sigma) in [
            (1u64, 1, 40, 0.0, 0.02),
            (2, 12, 10, 0.05, 0.02),
            (3, 30, 5, 0.01, 0.03),
            (4, 20, 7, 0.0, 0.1),
        ] {
            let found = calibrated(
                Direction::Lower,
                &simulated(seed, sessions, pairs, (tau, sigma)),
            );
            let case = format!("{sessions} × {pairs}, tau {tau}, sigma {sigma}: {found:?}");
            let k = sessions as f64;

            // ln s₀² is a mean of logarithms of χ², with four degrees of freedom each or six for seven pairs.
            let s0 = sigma * 2f64.sqrt();
            let (df, groups) = match pairs {
                7 => (6.0, k),
                _ => (4.0, k * (pairs / 5) as f64),
            };
            let of_ln = (trigamma(df / 2.0) / groups).sqrt();
            let off = 2.0 * (found.s0.unwrap() / s0).ln();
            assert!(off.abs() < 4.0 * of_ln, "s0, {case}");
            assert_eq!(found.pairs, sessions * pairs);

            // s² within is σ²·χ²/ν.
            let df = k * (2 * pairs - 1) as f64;
            let off = found.within.unwrap() / sigma.powi(2) - 1.0;
            assert!(off.abs() < 4.0 * (2.0 / df).sqrt(), "within, {case}");

            // τ² = (MSB − MSW)/n₀, the two being independent multiples of χ².
            let Some(between) = found.between else {
                assert_eq!(sessions, 1);
                continue;
            };
            let n0 = (2 * pairs) as f64;
            let msb = sigma.powi(2) + n0 * tau.powi(2);
            let of_tau2 = (2.0 * (msb.powi(2) / (k - 1.0) + sigma.powi(4) / df)).sqrt() / n0;
            let off = between.tau.powi(2) - tau.powi(2);
            assert!(off.abs() < 4.0 * of_tau2, "tau, {case}");
            assert_eq!(between.sessions, sessions);
        }
    }

    /// Two sessions that differ by a thousandfold, of which each has its own mean difference: only what
    /// differs within a session is noise of a pair.
    #[test]
    fn pairs_are_pooled_within_their_sessions() {
        let e = |powers: [f64; 5]| powers.map(f64::exp).to_vec();
        let sessions = [
            [e([0.0; 5]), e([0.1, 0.2, 0.3, 0.4, 0.5])],
            [e([7.0; 5]), e([6.9, 6.8, 6.7, 6.6, 6.5])],
        ];
        let found = calibrated(Direction::Lower, &sessions);
        // Both have s² = .025 on four degrees of freedom: ln s₀² = ln .025 − ψ(2) + ln 2, ψ(2) = 1 − γ (Euler's).
        let euler = 0.577_215_664_901_532_9;
        let expected = (0.025 * 2.0 * f64::exp(euler - 1.0)).sqrt();
        assert!((found.s0.unwrap() - expected).abs() < 1e-9, "{found:?}");
        // Within a session: of five times 0 and of .1 … .5 the squares about .15 are 5·.0225 + .2125 = .325.
        let within = 2.0 * 0.325 / 18.0;
        assert!((found.within.unwrap() - within).abs() < 1e-9, "{found:?}");
        assert_eq!(found.between, None, "two sessions are too few");
        let mirrored = calibrated(Direction::Higher, &sessions);
        assert!((mirrored.s0.unwrap() - expected).abs() < 1e-9);
    }

    #[test]
    fn too_few_pairs_give_no_s0() {
        let check = |sessions: usize, pairs: usize, expected: bool| {
            let found = calibrated(
                Direction::Lower,
                &simulated(9, sessions, pairs, (0.0, 0.02)),
            );
            assert_eq!(found.s0.is_some(), expected, "{sessions} × {pairs}");
            assert_eq!(found.noise().prior.is_some(), expected);
        };
        check(1, 4, false);
        check(1, 5, true);
        check(9, 4, false);
        check(2, 5, true);
        assert_eq!(calibrate(Direction::Lower, &[]), Calibrated::default());
    }

    #[test]
    fn groups_are_of_five_to_nine() {
        let all: Vec<f64> = (0..19).map(f64::from).collect();
        let check = |count: usize, expected: &[usize]| {
            let groups: Vec<&[f64]> = grouped(&all[..count]).collect();
            let sizes: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            assert_eq!(sizes, expected);
            if count >= GROUP {
                assert_eq!(groups.concat(), all[..count]);
            }
        };
        check(4, &[]);
        check(5, &[5]);
        check(9, &[9]);
        check(10, &[5, 5]);
        check(19, &[5, 5, 9]);
    }

    #[test]
    fn what_a_change_of_revision_did_is_not_between_sessions() {
        let mut sessions = simulated(5, 6, 5, (0.0, 0.01));
        for [base, head] in &mut sessions[..3] {
            for value in base.iter_mut().chain(head) {
                *value *= 2.0;
            }
        }
        let marked = |newest: fn(usize) -> bool| {
            let sessions: Vec<AaSession<'_>> = sessions
                .iter()
                .enumerate()
                .map(|(at, [base, head])| AaSession {
                    base,
                    head,
                    is_of_newest_revision: newest(at),
                })
                .collect();
            calibrate(Direction::Lower, &sessions)
        };
        let found = marked(|at| at >= 3);
        assert_eq!(found.between.unwrap().sessions, 3);
        assert!(found.between.unwrap().tau < 0.02, "{found:?}");
        assert!(marked(|_| true).between.unwrap().tau > 0.3);
        assert_eq!(found.s0, marked(|_| true).s0, "pairs don't care");
        assert_eq!(marked(|at| at >= 4).between, None);
    }

    #[test]
    fn a_margin_that_is_held_needs_no_more_pairs() {
        let found = Calibrated {
            s0: Some(0.03),
            ..Calibrated::default()
        };
        for pairs in [5, 10, 20] {
            let margin = found.margin_held(pairs).unwrap();
            assert!(found.mde_paired(pairs).unwrap() <= margin);
            assert!(found.mde_paired(pairs).unwrap() > margin - 0.001);
            assert!(found.pairs_needed(margin, |pairs| pairs).unwrap() <= pairs);
        }
        assert_eq!(
            Calibrated::default().pairs_needed(0.05, |pairs| pairs),
            None
        );
        let hopeless = found.pairs_needed(1e-6, |pairs| pairs);
        assert_eq!(hopeless, None, "more than anybody would run");
    }

    #[test]
    fn the_pairs_are_the_fewest_that_do() {
        let found = |s0| Calibrated {
            s0: Some(s0),
            ..Calibrated::default()
        };
        let margin = 0.05f64.exp_m1();
        // (2.49·.05/.05)² = 6.2 is 7 by the normal distribution. t(.95) + t(.8) with 10 degrees of freedom
        // is 2.6919, over √7 1.0175; with 11 it is 2.6717, over √8 .9446.
        assert_eq!(found(0.05).pairs_needed(margin, |pairs| pairs), Some(8));
        assert_eq!(found(0.05).pairs_needed(margin, |pairs| 2 * pairs), Some(4));
        assert_eq!(found(0.0).pairs_needed(margin, |pairs| pairs), Some(2));
    }
}
