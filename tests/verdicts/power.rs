//! The gate's power curve, on simulated pairs of runs with a spread between sessions: the same build
//! is hardly ever red, a change of exactly the margin about half of the time, twice the margin nearly
//! always.

use plimsoll::harness::compare::Design;
use plimsoll::harness::gate::exit;
use plimsoll::harness::model::Run;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::runs::*;

const GATES: usize = 600;
const MARGIN: f64 = 0.05;
/// Standard deviation between runs of one session, and between sessions.
const WITHIN: f64 = 0.01;
const BETWEEN: f64 = 0.1;

/// The share of red gates where the head is truly worse by `change`.
fn red(seed: u64, change: f64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = |sd: f64| sd * Normal::standard().inverse_cdf(rng.random_range(1e-12..1.0));
    let policy = policy(vec![margin("m", MARGIN)]);
    let red = (0..GATES).filter(|_| {
        let session = normal(BETWEEN);
        let mut arm = |change: f64| -> Vec<Run> {
            let values: Vec<f64> = (0..5)
                .map(|_| 100.0 * (1.0 + change) * (session + normal(WITHIN)).exp())
                .collect();
            paired("m", &values)
        };
        let (base, head) = (arm(0.0), arm(change));
        let comparison = compared(&base, &head, Design::Paired);
        judged(&policy, &base, &head, Some(&comparison)).exit_code == exit::REGRESSION
    });
    red.count() as f64 / GATES as f64
}

#[test]
fn the_same_build_is_hardly_ever_red() {
    // With this spread a difference of 5 % is five standard errors away.
    assert_eq!(red(1, 0.0), 0.0);
}

#[test]
fn exactly_the_margin_is_red_about_half_of_the_time() {
    // Three standard errors of a fair coin thrown 600 times are .061.
    let share = red(2, MARGIN);
    assert!((share - 0.5).abs() < 0.061, "{share}");
}

#[test]
fn twice_the_margin_is_nearly_always_red() {
    let share = red(3, 2.0 * MARGIN);
    assert!(share > 0.99, "{share}");
}
