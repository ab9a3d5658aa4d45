//! What an engine says while it works, for a person who watches. Nothing is computed from it.

use serde::{Deserialize, Serialize};

use crate::harness::model::{LatencyHistogram, Phase, ProcessSample};

/// A step forward.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A build began; `what` is the process or the bench target.
    Building {
        /// For which process or bench.
        what: String,
        /// The command line.
        command: String,
    },
    /// A process is being started.
    Starting {
        /// Which.
        process: String,
    },
    /// A process is ready.
    Ready {
        /// Which.
        process: String,
        /// How long it took, in ns.
        after_ns: u64,
    },
    /// A phase of the load began.
    Phase {
        /// Which.
        phase: Phase,
        /// How long it will take, in ns.
        length_ns: u64,
    },
    /// A second of the load passed.
    Tick(Tick),
    /// A bench executable was invoked.
    Bench {
        /// The bench target.
        target: String,
        /// Which invocation, counted from 1.
        invocation: u32,
        /// Of how many.
        of: u32,
    },
    /// A fault of the scenario was carried out.
    Fault {
        /// What, such as `stop redis`.
        what: String,
    },
    /// Processes are being stopped.
    Stopping,
    /// A line worth showing.
    Note(String),
    /// A line that must be shown to whoever reads the verdict.
    Warning(String),
}

/// The last second of the load.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Time since the start of the load, in ns.
    pub at_ns: u64,
    /// The length of the whole load, in ns.
    pub of_ns: u64,
    /// The phase.
    pub phase: Phase,
    /// One per load.
    pub loads: Vec<LoadTick>,
    /// The newest sample of each process, by name.
    pub processes: Vec<(String, ProcessSample)>,
}

/// The last second of one load, or of what a worker has of it: it sends one a second as a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadTick {
    /// The load.
    pub load: String,
    /// Requests that ended in the last second, in order or not, per second.
    pub rate: f64,
    /// Iterations that ended in the last second, in order or not, per second.
    pub iteration_rate: f64,
    /// The rate of iterations that the plan asks for now; `None` in a closed model.
    pub target_rate: Option<f64>,
    /// Response times of the requests in order that ended in the last second, in ns. All of them and
    /// not their quantiles, because those of several workers could not be put together.
    pub response: LatencyHistogram,
    /// Failed requests since the start of the load.
    pub failed: u64,
    /// Dropped arrivals since the start of the load.
    pub dropped: u64,
    /// Iterations in flight now.
    pub in_flight: u64,
}

impl LoadTick {
    /// Adds what another worker says of the same load.
    pub(super) fn add(&mut self, other: &Self) {
        self.rate += other.rate;
        self.iteration_rate += other.iteration_rate;
        self.target_rate = sum(self.target_rate, other.target_rate);
        self.response.merge(&other.response);
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.in_flight += other.in_flight;
    }
}

/// Both rates together, or the one that is there.
pub(super) fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}
