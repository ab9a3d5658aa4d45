//! Comparison and policy → verdict with reasons.
//!
//! The rule, with L and U the bounds of an effect θ at one-sided level α = .05 and δ = ln(1 + margin):
//! a metric has `regressed` if L > 0 and θ ≥ δ and Benjamini–Hochberg over all gating metrics agrees,
//! `improved` in the mirror image, is `unchanged` if both bounds lie within δ, and is `inconclusive`
//! otherwise. A true change of exactly δ is therefore flagged about half of the time.
//!
//! What has regressed is `waived` where a waiver that has not expired allows as much ([`Waivers`]).
//! Anchors are held against as well and decide nothing ([`AnchorVerdict`]).
//!
//! Invalid beats everything. The main function is [`judge`]; the exit codes are in [`exit`]. [`false_alarms`]
//! turns it on runs of one build.

mod verdict;
mod policy;
mod metric;
mod limit;
mod waiver;
mod judge;
mod anchor;
mod renewal;
mod alarms;
pub mod exit;

pub use self::alarms::{AaPairs, FalseAlarms, Relabelled, false_alarms};
pub use self::anchor::AnchorVerdict;
pub use self::judge::{Evidence, judge, unmeasured};
pub use self::policy::{DEFAULT_MARGIN, Policy};
pub use self::renewal::{Drifted, Renewal};
pub use self::verdict::*;
pub use self::waiver::{AppliedWaiver, Standing, Waivers};
