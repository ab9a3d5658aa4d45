//! Planned looks: after 5, 10 and 20 pairs, as `gate --against` takes them where the budget allows,
//! each at a third of the level. All of them together are wrong no more often than one look at the level.

use plimsoll::harness::compare::{ALPHA, Design};
use plimsoll::harness::gate::{MetricOutcome, Outcome};
use plimsoll::harness::stats::{LOOKS, clopper_pearson_lower, clopper_pearson_upper};
use serde::Deserialize;

use crate::runs::{judged, margin, policy};
use crate::simulation::*;

/// The pairs at each look.
const PAIRS: [u32; LOOKS as usize] = [5, 10, 20];
/// How unlikely a share has to be before a test fails.
const LEVEL: f64 = 1e-3;

/// Gates of `metrics` gating metrics with one margin, of which the first is truly worse by `effect`.
struct Scene {
    gates: usize,
    metrics: usize,
    /// Spread and effect, in margins.
    spread: f64,
    effect: f64,
    /// The level of each look.
    alpha: f64,
}

#[derive(Default)]
struct Tally {
    /// Gates that failed.
    red: usize,
    /// Gates that failed and named the metric that is worse.
    found: usize,
    /// Gates in which the lower bound of any metric was above zero at the first look, adjusted for
    /// nothing.
    clear: usize,
    /// Pairs measured, over all gates.
    pairs: usize,
}

impl Scene {
    fn play(&self, seed: u64) -> Tally {
        let delta = MARGIN.ln_1p();
        let mut chance = Chance::new(seed);
        let mut arms = Arms::paired(PAIRS[PAIRS.len() - 1], self.metrics);
        let gates = (0..self.metrics).map(|place| margin(&name(place), MARGIN));
        let policy = policy(gates.collect());
        let settings = at(Design::Paired, self.alpha);
        let mut tally = Tally::default();
        for _ in 0..self.gates {
            for place in 0..self.metrics {
                let change = if place == 0 { self.effect * delta } else { 0.0 };
                arms.draw_pairs(&mut chance, place, delta, self.spread * delta, change);
            }
            for (look, pairs) in PAIRS.iter().map(|pairs| *pairs as usize).enumerate() {
                let comparison = arms.compared(pairs, &settings);
                if look == 0 {
                    let effects = comparison.metrics.iter().filter_map(|m| m.effect());
                    tally.clear += usize::from(effects.into_iter().any(|e| e.lower > 0.0));
                }
                let (base, head) = (&arms.base[..pairs], &arms.head[..pairs]);
                let verdict = judged(&policy, base, head, Some(&comparison));
                // As the gate goes on: only what is inconclusive is worth more pairs.
                if verdict.verdict == Outcome::Inconclusive && look + 1 < PAIRS.len() {
                    continue;
                }
                let red = |metric: &str| {
                    let mut metrics = verdict.metrics.iter();
                    metrics.any(|m| m.name == metric && m.verdict == MetricOutcome::Regressed)
                };
                tally.red += usize::from(verdict.verdict == Outcome::Fail);
                tally.found += usize::from(red(&name(0)));
                tally.pairs += pairs;
                break;
            }
        }
        tally
    }
}

fn planned() -> f64 {
    ALPHA / f64::from(LOOKS)
}

/// Whether so many false alarms show that there are more than the level allows.
fn exceeds(red: usize, gates: usize) -> bool {
    clopper_pearson_lower(red as u64, gates as u64, LEVEL) > ALPHA
}

fn percent(count: usize, gates: usize) -> f64 {
    100.0 * count as f64 / gates as f64
}

/// The worst case is a margin that drowns in the noise: then every bound above zero is beyond it as
/// well, nothing is ever unchanged, and all looks are taken.
fn same_build(gates: usize, metrics: usize, alpha: f64) -> Scene {
    let (spread, effect) = (20.0, 0.0);
    Scene {
        gates,
        metrics,
        spread,
        effect,
        alpha,
    }
}

#[test]
fn all_looks_together_hold_the_level() {
    let mut table = String::from(
        "| gating metrics | false alarms, one look | false alarms, three looks |\n|---|---|---|\n",
    );
    for (metrics, at_once, gates, seed) in [(1, 2_000, 2_000, 1), (10, 1_500, 400, 2)] {
        let three = same_build(gates, metrics, planned()).play(seed);
        assert!(
            !exceeds(three.red, gates),
            "{metrics} metrics: {} of {gates}",
            three.red
        );
        let one = first_look(at_once, metrics, seed);
        assert!(
            !exceeds(one, at_once),
            "{metrics} metrics: {one} of {at_once}"
        );
        let cell = |red: usize, gates: usize| {
            let most = 100.0 * clopper_pearson_upper(red as u64, gates as u64, ALPHA);
            format!(
                "{:.1} % (at most {most:.1} %; {red} of {gates})",
                percent(red, gates)
            )
        };
        table += &format!(
            "| {metrics} | {} | {} |\n",
            cell(one, at_once),
            cell(three.red, gates)
        );
    }
    documented(&table);
}

/// Red at one look after five pairs at the whole level.
fn first_look(gates: usize, metrics: usize, seed: u64) -> usize {
    let mut chance = Chance::new(seed);
    let mut arms = Arms::paired(PAIRS[0], metrics);
    let delta = MARGIN.ln_1p();
    let policy = policy((0..metrics).map(|p| margin(&name(p), MARGIN)).collect());
    let red = (0..gates).filter(|_| {
        for place in 0..metrics {
            arms.draw_pairs(&mut chance, place, delta, 20.0 * delta, 0.0);
        }
        let comparison = arms.compared(usize::MAX, &at(Design::Paired, ALPHA));
        judged(&policy, &arms.base, &arms.head, Some(&comparison)).verdict == Outcome::Fail
    });
    red.count()
}

/// The test above can fail: three looks at the whole level each, or ten metrics that are not adjusted
/// for one another, give too many false alarms.
#[test]
fn undivided_levels_would_be_found_out() {
    let gates = 1_000;
    let undivided = same_build(gates, 1, ALPHA).play(3);
    assert!(exceeds(undivided.red, gates), "{}", undivided.red);
    let gates = 300;
    let unadjusted = same_build(gates, 10, planned()).play(4);
    assert!(exceeds(unadjusted.clear, gates), "{}", unadjusted.clear);
    assert!(!exceeds(unadjusted.red, gates), "{}", unadjusted.red);
}

/// Seven metrics, of which one has a p-value of .004, .026 adjusted: found at one look, whose level is
/// .05, and not at one of three, whose level is a third of it for the discoveries as well. Alone it is
/// found at either.
#[test]
fn a_look_has_a_third_of_the_discovery_rate() {
    let check = |metrics: usize, alpha: f64, expected: MetricOutcome| {
        let differences = [-2.0, -1.0, 0.0, 1.0, 2.0].map(|step| 0.017 * step);
        let mut arms = Arms::paired(PAIRS[0], metrics);
        for place in 0..metrics {
            let change = if place == 0 { 0.06 } else { 0.0 };
            arms.set_differences(place, &differences.map(|d| d + change));
        }
        let policy = policy((0..metrics).map(|p| margin(&name(p), MARGIN)).collect());
        let comparison = arms.compared(usize::MAX, &at(Design::Paired, alpha));
        let effect = comparison.metrics[0].effect().expect("an effect");
        assert!(effect.lower > 0.0 && (0.0035..0.0045).contains(&effect.p));
        let verdict = judged(&policy, &arms.base, &arms.head, Some(&comparison));
        let first = verdict.metrics.iter().find(|m| m.name == name(0));
        assert_eq!(
            first.map(|m| m.verdict),
            Some(expected),
            "{metrics} metrics at {alpha}"
        );
    };
    check(7, ALPHA, MetricOutcome::Regressed);
    check(7, planned(), MetricOutcome::Inconclusive);
    check(1, planned(), MetricOutcome::Regressed);
}

/// Ten pairs have no p-value below 2⁻¹⁰, so that one metric alone can only be red among so many: the
/// documentation says how many.
#[test]
fn one_slow_metric_is_found_among_so_many_at_ten_pairs() {
    let check = |metrics: usize, alpha: f64, expected: bool| {
        let mut arms = Arms::paired(10, metrics);
        for place in 0..metrics {
            let differences = (0..10).map(|pair| match place {
                0 => 0.5 + 0.001 * f64::from(pair),
                _ => f64::from(pair) - 4.6,
            });
            arms.set_differences(place, &differences.collect::<Vec<f64>>());
        }
        let policy = policy((0..metrics).map(|p| margin(&name(p), MARGIN)).collect());
        let comparison = arms.compared(usize::MAX, &at(Design::Paired, alpha));
        let verdict = judged(&policy, &arms.base, &arms.head, Some(&comparison));
        assert_eq!(
            verdict.verdict == Outcome::Fail,
            expected,
            "{metrics} metrics at {alpha}"
        );
    };
    for (alpha, most) in [(ALPHA, 51), (planned(), 17)] {
        check(most, alpha, true);
        check(most + 1, alpha, false);
    }
}

/// What `power.py` says of one metric.
#[derive(Deserialize)]
struct Row {
    looks: [u32; LOOKS as usize],
    spread: f64,
    effect: f64,
    gates: f64,
    red: f64,
    pairs: f64,
}

#[derive(Deserialize)]
struct Law {
    looks: Vec<Row>,
}

/// One metric, red as often as the independent simulation says, after as many pairs.
#[test]
fn looks_are_as_often_red_as_an_independent_simulation_says() {
    let gates = 250;
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/vectors/power.json"
    ));
    let law: Law = serde_json::from_str(text).expect("power.json");
    assert_eq!(law.looks.len(), 15);
    for row in law.looks {
        assert_eq!(row.looks, PAIRS);
        let (spread, effect, alpha) = (row.spread, row.effect, planned());
        let scene = Scene {
            gates,
            metrics: 1,
            spread,
            effect,
            alpha,
        };
        let tally = scene.play(5);
        let (k, n) = (tally.red as u64, gates as u64);
        let slack = 3.0 * (row.red * (1.0 - row.red) / row.gates).sqrt();
        assert!(
            clopper_pearson_lower(k, n, LEVEL) <= row.red + slack
                && row.red - slack <= clopper_pearson_upper(k, n, LEVEL),
            "spread {spread}, effect {effect}: {k} of {n}, not {}",
            row.red
        );
        // A number of pairs from 5 to 20 has a standard deviation of 7.5 at most.
        let pairs = tally.pairs as f64 / gates as f64;
        assert!(
            (pairs - row.pairs).abs() < 3.3 * 7.5 / (gates as f64).sqrt(),
            "spread {spread}, effect {effect}: {pairs} pairs, not {}",
            row.pairs
        );
    }
}

/// What looking costs and gains, alone and among ten: the level of a look is smaller, and the pairs
/// come where they are needed.
#[test]
fn more_looks_find_more() {
    let gates = 250;
    let mut table = String::from(
        "| gating metrics, one of them worse by | named red | pairs on average |\n|---|---|---|\n",
    );
    for metrics in [1, 10] {
        let mut last = 0;
        for effect in [1.0, 1.5, 2.0] {
            let (spread, alpha) = (1.0, planned());
            let scene = Scene {
                gates,
                metrics,
                spread,
                effect,
                alpha,
            };
            let tally = scene.play(6);
            assert!(tally.found >= last, "{metrics} metrics, effect {effect}");
            last = tally.found;
            table += &format!(
                "| {metrics}, {effect} δ | {:.0} % | {:.1} |\n",
                percent(tally.found, gates),
                tally.pairs as f64 / gates as f64
            );
        }
        assert!(
            last as f64 >= 0.95 * gates as f64,
            "{metrics} metrics: {last}"
        );
    }
    documented(&table);
}
