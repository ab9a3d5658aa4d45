//! What a comparison needs to know besides the runs.

use std::collections::BTreeMap;

use super::comparison::Design;
use crate::harness::stats::{ALPHA, Between, Prior};

/// How two arms are to be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How the arms were measured.
    pub design: Design,
    /// What the base is, for the reader.
    pub base_label: String,
    /// What the head is, for the reader.
    pub head_label: String,
    /// The one-sided level of every bound, inside of (0, 0.5); [`ALPHA`] divided by the number of
    /// planned looks.
    pub alpha: f64,
    /// What earlier A/A measurements under this fingerprint say, by metric.
    pub noise: BTreeMap<String, Noise>,
}

impl Settings {
    /// One look at level [`ALPHA`], without any history.
    pub fn new(design: Design) -> Self {
        Self {
            design,
            base_label: "base".into(),
            head_label: "head".into(),
            alpha: ALPHA,
            noise: BTreeMap::new(),
        }
    }
}

/// The noise of one metric under one fingerprint, as calibration found it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Noise {
    /// The spread of paired differences (of logarithms), for the paired design.
    pub prior: Option<Prior>,
    /// The spread between sessions (of logarithms), for the stored design. Without it, and where the
    /// base, or else the head, holds more sessions than are behind it, it is estimated from those.
    pub between: Option<Between>,
}
