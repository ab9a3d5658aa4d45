//! The gate's power curve, on simulated pairs whose sessions scatter, against what `power.json` says of
//! the rule: worked out by SciPy and NumPy, without this gate. The curve stands in docs/STATISTICS.md.

use std::fmt::Write as _;

use plimsoll::harness::compare::{Design, Noise, Prior, Settings};
use plimsoll::harness::gate::{MetricOutcome, Policy};
use plimsoll::harness::stats::{clopper_pearson_lower, clopper_pearson_upper};
use serde::Deserialize;

use crate::runs::{judged, margin, policy};
use crate::simulation::*;

const GATES: usize = 800;
/// How unlikely a share has to be on either side before a test fails.
const LEVEL: f64 = 1e-4;
/// The spread between sessions, in margins: whatever it is, pairs don't see it.
const BETWEEN: f64 = 3.0;
/// The spreads and the effects of the curve, in margins.
const SPREADS: [f64; 3] = [0.5, 1.0, 2.0];
const EFFECTS: [f64; 5] = [0.0, 0.5, 1.0, 1.5, 2.0];

/// What one setting gives, by `power.py`. Spread and effect are in margins.
#[derive(Deserialize)]
struct Row {
    pairs: u32,
    #[serde(default)]
    prior_df: f64,
    spread: f64,
    effect: f64,
    /// How many gates it is a share of; none where it is exact.
    gates: Option<f64>,
    red: f64,
    unchanged: f64,
    /// The probability of L > 0 alone.
    clear: Option<f64>,
}

#[derive(Deserialize)]
struct Law {
    exact: Vec<Row>,
    simulated: Vec<Row>,
}

fn rows() -> Vec<Row> {
    let Law { exact, simulated } = law();
    exact.into_iter().chain(simulated).collect()
}

/// How many of [`GATES`] gates call the metric what.
#[derive(Default)]
struct Tally {
    regressed: usize,
    unchanged: usize,
    inconclusive: usize,
    improved: usize,
}

fn gates(row: &Row) -> Tally {
    let delta = MARGIN.ln_1p();
    let mut chance = Chance::new(1);
    let mut arms = Arms::paired(row.pairs, 1);
    let policy: Policy = policy(vec![margin(&name(0), MARGIN)]);
    let mut settings = Settings::new(Design::Paired);
    let prior = (row.prior_df > 0.0).then_some(Prior {
        s0: row.spread * delta,
        d0: row.prior_df,
    });
    let between = None;
    settings.noise.insert(name(0), Noise { prior, between });
    let mut tally = Tally::default();
    for _ in 0..GATES {
        let (spread, change) = (row.spread * delta, row.effect * delta);
        arms.draw_pairs(&mut chance, 0, BETWEEN * delta, spread, change);
        let comparison = arms.compared(usize::MAX, &settings);
        let verdict = judged(&policy, &arms.base, &arms.head, Some(&comparison));
        *match verdict.metrics[0].verdict {
            MetricOutcome::Regressed => &mut tally.regressed,
            MetricOutcome::Unchanged => &mut tally.unchanged,
            MetricOutcome::Inconclusive => &mut tally.inconclusive,
            MetricOutcome::Improved => &mut tally.improved,
            other => panic!("{other:?}"),
        } += 1;
    }
    tally
}

/// Whether so many of [`GATES`] can be what a probability gives that is known to within `slack`.
fn agrees(count: usize, probability: f64, slack: f64) -> bool {
    let (k, n) = (count as u64, GATES as u64);
    clopper_pearson_lower(k, n, LEVEL) <= probability + slack
        && probability - slack <= clopper_pearson_upper(k, n, LEVEL)
}

/// Effects in all noises, five pairs with and without a history and ten by their ranks: red and
/// unchanged as often as theory says.
#[test]
fn the_gate_is_as_often_red_as_theory_says() {
    let rows = rows();
    assert_eq!(rows.len(), 3 * SPREADS.len() * EFFECTS.len());
    let mut curve = String::from(
        "| pairs | spread | no change | δ/2 | δ | 1.5 δ | 2 δ |\n|---|---|---|---|---|---|---|\n",
    );
    let mut picture = String::new();
    for block in rows.chunks(EFFECTS.len()) {
        let Row {
            pairs,
            prior_df,
            spread,
            ..
        } = block[0];
        let known = if prior_df > 0.0 { ", history" } else { "" };
        write!(curve, "| {pairs}{known} | {spread} δ |").expect("a string takes all");
        for row in block {
            let tally = gates(row);
            // Three standard errors of what is a share itself.
            let slack = |p: f64| row.gates.map_or(0.0, |n| 3.0 * (p * (1.0 - p) / n).sqrt());
            for (what, count, p) in [
                ("red", tally.regressed, row.red),
                ("unchanged", tally.unchanged, row.unchanged),
            ] {
                assert!(
                    agrees(count, p, slack(p)),
                    "{pairs} pairs{known}, spread {spread}, effect {}: {what} in {count} of {GATES}, not {p}",
                    row.effect
                );
            }
            assert!(row.clear.is_none_or(|clear| row.red <= clear + 1e-8));
            let percent = |share: f64| format!("{:.0}", 100.0 * share);
            let share = tally.regressed as f64 / GATES as f64;
            write!(curve, " {} % ({}) |", percent(share), percent(row.red))
                .expect("a string takes all");
            if (pairs, prior_df, spread) == (5, 0.0, 1.0) {
                picture.push_str(&bar(row.effect, &tally));
            }
        }
        curve.push('\n');
    }
    documented(&curve);
    documented(&picture);
}

/// What a true change leads to, as a bar of fifty characters.
fn bar(effect: f64, tally: &Tally) -> String {
    let parts = [
        (tally.improved, '+'),
        (tally.unchanged, '='),
        (tally.inconclusive, '.'),
        (tally.regressed, '#'),
    ];
    let (mut done, mut bar) = (0, String::new());
    for (count, sign) in parts {
        done += count;
        let end = (50 * done + GATES / 2) / GATES;
        bar.extend(std::iter::repeat_n(sign, end - bar.len()));
    }
    let red = 100.0 * tally.regressed as f64 / GATES as f64;
    format!("    {effect:<3} δ  {bar}  red {red:>3.0} %\n")
}

/// The words of the documentation, on what theory says: where a measurement is good enough for its
/// margin, a change of exactly the margin is red half of the time, and twice the margin nearly always.
#[test]
fn exactly_the_margin_is_a_coin_and_twice_the_margin_is_red() {
    for row in rows() {
        if row.spread <= 1.0 {
            match row.effect {
                0.0 => assert!(row.red < 0.013),
                1.0 => assert!((0.43..=0.5).contains(&row.red), "{}", row.red),
                2.0 => assert!(row.red > 0.96),
                _ => {}
            }
        }
    }
}

/// The test of the curve can fail: if the rule didn't ask for δ, half of δ would be red as often as the
/// bound alone is above zero.
#[test]
fn a_gate_without_the_margin_would_be_found_out() {
    let rows = rows();
    let row = rows
        .iter()
        .find(|row| (row.pairs, row.spread, row.effect) == (5, 0.5, 0.5));
    let row = row.expect("the row");
    let without = row.clear.expect("the noncentral t") * GATES as f64;
    assert!(!agrees(without as usize, row.red, 0.0));
}

fn law() -> Law {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/vectors/power.json"
    ));
    serde_json::from_str(text).expect("power.json")
}
