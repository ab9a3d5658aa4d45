//! What was seen of the subject from outside: its processes and its own metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One process of the scenario with all of its descendants, looked at each second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessSeries {
    /// The name in the scenario.
    pub name: String,
    /// Oldest first. In a long run, one stands for several looks: it has the time of the last, their
    /// mean load, and the most of everything else.
    pub samples: Vec<ProcessSample>,
    /// What every look in the measure phase gave; `None` where there was none.
    #[serde(default)]
    pub usage: Option<ProcessUsage>,
}

/// What a process tree took at the looks in the measure phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessUsage {
    /// How many looks there were; at least one.
    pub looks: u64,
    /// The mean of its resident memory, in bytes.
    pub rss_mean_bytes: f64,
    /// The most resident memory, in bytes.
    pub rss_max_bytes: u64,
    /// The most threads.
    pub threads_max: u64,
    /// The most open file descriptors.
    pub fds_max: u64,
}

impl ProcessUsage {
    /// With one more look.
    pub fn and(before: Option<Self>, look: &ProcessSample) -> Self {
        let before = before.unwrap_or(Self {
            looks: 0,
            rss_mean_bytes: 0.0,
            rss_max_bytes: 0,
            threads_max: 0,
            fds_max: 0,
        });
        let looks = before.looks + 1;
        let further = (look.rss_bytes as f64 - before.rss_mean_bytes) / looks as f64;
        Self {
            looks,
            rss_mean_bytes: before.rss_mean_bytes + further,
            rss_max_bytes: before.rss_max_bytes.max(look.rss_bytes),
            threads_max: before.threads_max.max(look.threads),
            fds_max: before.fds_max.max(look.fds),
        }
    }
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
    /// `None` where the subject did not expose what the probe needs over the whole of it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_that_of_every_look() {
        let look = |rss_bytes, threads, fds| ProcessSample {
            at_ns: 0,
            cpu_cores: 0.0,
            rss_bytes,
            threads,
            fds,
        };
        let looks = [look(100, 2, 9), look(500, 1, 8), look(300, 3, 7)];
        let usage = looks
            .iter()
            .fold(None, |usage, look| Some(ProcessUsage::and(usage, look)));
        let expected = ProcessUsage {
            looks: 3,
            rss_mean_bytes: 300.0,
            rss_max_bytes: 500,
            threads_max: 3,
            fds_max: 9,
        };
        assert_eq!(usage, Some(expected));
    }
}
