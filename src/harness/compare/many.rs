//! Several metrics judged at once.
//!
//! The level of the comparison is also q, the false discovery rate of Benjamini and Hochberg. Where three
//! looks are planned both are a third: whichever look the gate stops at, the share of false findings
//! among its findings is at most the sum of the three shares, and so is expected to be at most .05 (as
//! Bonferroni's inequality has it for one metric). q is no error rate of its own, so nothing else has to
//! be divided.

use super::comparison::Effect;
use crate::harness::stats::benjamini_hochberg;

/// The p-values of one effect, adjusted for the others that are judged with it. One is a finding
/// where it is at most the level of the comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjusted {
    /// Of "the head is not worse".
    pub worse: f64,
    /// Of "the head is not better".
    pub better: f64,
}

/// Adjusts the one-sided p-values of `effects` by Benjamini and Hochberg, each side for itself, in
/// the order given.
pub fn adjust(effects: &[&Effect]) -> Vec<Adjusted> {
    let worse: Vec<f64> = effects.iter().map(|effect| effect.p).collect();
    let better: Vec<f64> = effects.iter().map(|effect| effect.p_improved).collect();
    benjamini_hochberg(&worse)
        .into_iter()
        .zip(benjamini_hochberg(&better))
        .map(|(worse, better)| Adjusted { worse, better })
        .collect()
}
