//! One number of a run, with its unit and the direction in which it gets better.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path;

/// One metric of one run, named by its path, such as `load.reads.p95` or `bench.cache/get_hot`.
///
/// The unit of replication is the run, so a metric usually holds a single value. A bench metric
/// holds one value per process invocation, because an invocation is a replicate of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// The path, unique in its run.
    pub name: String,
    /// The unit of every value of this metric.
    pub unit: Unit,
    /// Which way is better; never inferred from the name or the unit.
    pub better: Direction,
    /// What was measured, or why it could not be.
    pub reading: Reading,
    /// How many observations (requests, samples) the values rest on.
    pub observations: u64,
}

impl Metric {
    /// A metric with one value, `observations` observations behind it.
    pub fn single(
        name: impl Into<String>,
        unit: Unit,
        better: Direction,
        value: f64,
        observations: u64,
    ) -> Self {
        Self {
            name: name.into(),
            unit,
            better,
            reading: Reading::Measured {
                values: vec![value],
            },
            observations,
        }
    }

    /// The value that stands for the run: the median of its replicates, or `None` where the metric
    /// was not measurable.
    pub fn value(&self) -> Option<f64> {
        median(self.values())
    }

    /// The replicates: one for a load, process or probe metric, one per invocation for a bench;
    /// empty where the metric was not measurable.
    pub fn values(&self) -> &[f64] {
        match &self.reading {
            Reading::Measured { values } => values,
            Reading::NotMeasurable { .. } => &[],
        }
    }

    /// Failed requests among all, where this is an error rate that says how many requests it rests
    /// on; `None` for any other metric, and where it was not measurable.
    pub fn failures(&self) -> Option<Failures> {
        path::error_rate_of(&self.name)?;
        let value = self.value()?;
        let counted = self.unit == Unit::Ratio
            && self.better == Direction::Lower
            && self.observations > 1
            && (0.0..=1.0).contains(&value);
        counted.then(|| Failures {
            failed: (value * self.observations as f64).round() as u64,
            requests: self.observations,
        })
    }
}

/// One metric in the pairs of a session: values in the order of the pairs, as many of either arm.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedValues {
    /// The unit of the values.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// Of the runs that were called base.
    pub base: Vec<f64>,
    /// Of their partners.
    pub head: Vec<f64>,
}

/// Failed requests among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were made.
    pub requests: u64,
}

/// The median: the middle value, or the mean of the middle two. The values need no order; `None` for
/// no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = (
        sorted.get(sorted.len().checked_sub(1)? / 2)?,
        sorted.get(sorted.len() / 2)?,
    );
    Some((lower + upper) / 2.0)
}

/// What a run knows of a metric. "Not enough data" is a result, not an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Reading {
    /// Measured: at least one finite value, in the unit of the metric.
    Measured {
        /// One value per replicate, in the order in which they were taken.
        values: Vec<f64>,
    },
    /// Not measurable in this run.
    NotMeasurable {
        /// Why, as a clause: `only 12 requests lie beyond p99; 100 are needed`.
        reason: String,
        /// What would make it measurable: `run for at least 84s`.
        remedy: String,
    },
}

/// Which way a metric gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Lower is better: latencies, memory, errors.
    Lower,
    /// Higher is better: throughput, hit ratios.
    Higher,
}

/// The unit of a metric's values. Values are kept in this unit and formatted only at the edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Bytes.
    Bytes,
    /// Events (requests, iterations) per second.
    PerSecond,
    /// Bytes per second.
    BytesPerSecond,
    /// A fraction; 1 is the whole.
    Ratio,
    /// A number of things.
    Count,
    /// Processor cores kept busy; 1.5 is one and a half.
    Cores,
    /// A unit that another tool gave; shown as it stands.
    Other(String),
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanoseconds => "ns",
            Self::Bytes => "B",
            Self::PerSecond => "/s",
            Self::BytesPerSecond => "B/s",
            Self::Ratio => "ratio",
            Self::Count => "count",
            Self::Cores => "cores",
            Self::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let check = |values: &[f64], expected| assert_eq!(median(values), expected, "{values:?}");
        check(&[], None);
        check(&[7.0], Some(7.0));
        check(&[3.0, 1.0, 2.0], Some(2.0));
        check(&[4.0, 1.0, 2.0, 3.0], Some(2.5));
    }

    #[test]
    fn only_an_error_rate_has_failures() {
        let metric = |name: &str, value, requests| {
            Metric::single(name, Unit::Ratio, Direction::Lower, value, requests)
        };
        let check = |metric: Metric, expected: Option<(u64, u64)>| {
            let found = metric.failures().map(|f| (f.failed, f.requests));
            assert_eq!(found, expected, "{metric:?}");
        };
        check(metric("load.a.error_rate", 0.03, 200), Some((6, 200)));
        check(metric("load.a.achieved", 0.03, 200), None);
        // One observation is one number of another tool, not one request.
        check(metric("load.a.error_rate", 0.03, 1), None);
        check(metric("load.a.error_rate", 3.0, 200), None);
    }
}
