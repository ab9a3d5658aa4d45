//! What a microbench measured: one point per process invocation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fewer invocations than this in an arm say nothing about noise.
pub const INVOCATIONS_NEEDED: u32 = 5;

/// One benchmark, identified by criterion's full id, such as `cache/get_hot`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchMeasurement {
    /// criterion's `full_id`.
    pub id: String,
    /// The bench target (executable) that holds it.
    pub target: String,
    /// One per process invocation, in order.
    pub invocations: Vec<BenchInvocation>,
}

/// What one process invocation measured of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchInvocation {
    /// The time of one iteration in ns: the slope through the origin for linear sampling, the
    /// median of the per-iteration times for flat sampling.
    pub point_ns: f64,
    /// How criterion sampled.
    pub sampling: Sampling,
    /// Per sample, how many iterations it timed.
    pub iterations: Vec<f64>,
    /// Per sample, how long they took together, in ns.
    pub times_ns: Vec<f64>,
}

/// How criterion chose the iterations of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The number of iterations grows from sample to sample.
    Linear,
    /// Every sample has the same number of iterations.
    Flat,
}
