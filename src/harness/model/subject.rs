//! What was seen of the subject from outside: its processes and its own metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One process of the scenario with all of its descendants, looked at each second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessSeries {
    /// The name in the scenario.
    pub name: String,
    /// Oldest first.
    pub samples: Vec<ProcessSample>,
}

/// One look at a process tree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessSample {
    /// When, in ns from the start of the load; negative before it.
    pub at_ns: i64,
    /// Cores that the tree kept busy since the last look.
    pub cpu_cores: f64,
    /// Resident memory of the tree in bytes; pages shared between its processes count in each.
    pub rss_bytes: u64,
    /// Threads of the tree.
    pub threads: u64,
    /// Open file descriptors of the tree.
    pub fds: u64,
}

/// A number that the scenario derives from the metrics that the subject exposes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeSeries {
    /// The name in the scenario.
    pub name: String,
    /// Oldest first.
    pub points: Vec<ProbePoint>,
    /// The value over the measure phase as a whole: for a ratio or a rate of counters, from their
    /// increase over the phase; for a gauge, its mean, or its maximum where the scenario says so.
    /// `None` where the subject never exposed what the probe needs.
    pub value: Option<f64>,
}

/// One value of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbePoint {
    /// When, in ns from the start of the load; negative before it.
    pub at_ns: i64,
    /// The value.
    pub value: f64,
}
