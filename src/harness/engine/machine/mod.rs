//! The machine on which is measured: its fingerprint, and what makes it noisy.

mod fingerprint;
mod doctor;

pub use self::doctor::{Finding, Severity, doctor};
pub use self::fingerprint::of_plan;
