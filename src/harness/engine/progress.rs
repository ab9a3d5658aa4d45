//! What an engine says while it works, for a person who watches. Nothing is computed from it.

use serde::{Deserialize, Serialize};

use crate::harness::model::{LatencyHistogram, Phase, ProcessSample};
use crate::harness::scenario::GeneratorLimits;

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
        /// How many invocations of all targets have ended.
        done: u32,
        /// Of how many.
        all: u32,
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
    /// How the generator of all of them fared.
    pub generator: GeneratorTick,
    /// The newest sample of each process, by name.
    pub processes: Vec<(String, ProcessSample)>,
}

/// How the generator fared in the last second. What makes a run invalid is the whole measure phase; this
/// is what it would be if that went on so.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorTick {
    /// In a word.
    pub state: GeneratorState,
    /// The share of its cores that the busiest worker used, from 0 to 1.
    pub cpu_share: f64,
}

/// The last second of the generator in a word.
#[derive(Debug, Clone, PartialEq)]
pub enum GeneratorState {
    /// It keeps up.
    Ok,
    /// Tickets are handed out later than the scenario tolerates.
    Late {
        /// The 99th percentile of their lateness in ns, of the worst load.
        lateness_ns_p99: u64,
    },
    /// A worker has filled its core, or all of them together have filled the machine's.
    AtItsCores,
}

impl GeneratorTick {
    /// That of some loads, by the limits of their plan, on a machine with so many cores.
    pub(super) fn of(loads: &[LoadTick], limits: &GeneratorLimits, cores: u32) -> Self {
        let cpu_share = loads.iter().map(|load| load.cpu_share).fold(0.0, f64::max);
        let together: f64 = loads.iter().map(|load| load.cpu_cores).sum();
        let is_full = cpu_share > limits.cpu || together > limits.cpu * f64::from(cores.max(1));
        let latest = loads.iter().filter_map(|load| load.lateness_ns_p99).max();
        let state = match latest.filter(|ns| *ns > limits.late_ns) {
            // Why it is late is the better thing to know.
            _ if is_full => GeneratorState::AtItsCores,
            Some(lateness_ns_p99) => GeneratorState::Late { lateness_ns_p99 },
            None => GeneratorState::Ok,
        };
        Self { state, cpu_share }
    }
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
    /// Requests that failed in the last second, per second.
    pub failed_rate: f64,
    /// Failed requests since the start of the load.
    pub failed: u64,
    /// Dropped arrivals since the start of the load.
    pub dropped: u64,
    /// Iterations in flight now.
    pub in_flight: u64,
    /// The 99th percentile of the lateness of the tickets of the last second, in ns; `None` in a closed
    /// model. Of several workers that of the latest, since one that is late makes the run invalid.
    pub lateness_ns_p99: Option<u64>,
    /// The processor cores that the generator kept busy in the last second.
    pub cpu_cores: f64,
    /// What share of the cores that it has that is, from 0 to 1; of several workers the busiest.
    pub cpu_share: f64,
}

impl LoadTick {
    /// Adds what another worker says of the same load.
    pub(super) fn add(&mut self, other: &Self) {
        self.rate += other.rate;
        self.iteration_rate += other.iteration_rate;
        self.target_rate = sum(self.target_rate, other.target_rate);
        self.response.merge(&other.response);
        self.failed_rate += other.failed_rate;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.in_flight += other.in_flight;
        self.lateness_ns_p99 = self.lateness_ns_p99.max(other.lateness_ns_p99);
        self.cpu_cores += other.cpu_cores;
        self.cpu_share = self.cpu_share.max(other.cpu_share);
    }
}

/// Both rates together, or the one that is there.
pub(super) fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn load(lateness_ns_p99: Option<u64>, cpu_cores: f64, workers: f64) -> LoadTick {
        LoadTick {
            load: "a".to_owned(),
            rate: 0.0,
            iteration_rate: 0.0,
            target_rate: None,
            response: LatencyHistogram::new(),
            failed_rate: 0.0,
            failed: 0,
            dropped: 0,
            in_flight: 0,
            lateness_ns_p99,
            cpu_cores,
            cpu_share: cpu_cores / workers,
        }
    }

    #[test]
    fn a_generator_is_told_by_the_limits_that_make_a_run_invalid() {
        let limits = GeneratorLimits {
            late_ns: 5 * MS,
            cpu: 0.9,
            ..GeneratorLimits::default()
        };
        let check = |loads: &[LoadTick], cores: u32, expected: GeneratorState| {
            let found = GeneratorTick::of(loads, &limits, cores);
            assert_eq!(found.state, expected, "{loads:?}");
        };
        let late = |ms: u64| GeneratorState::Late {
            lateness_ns_p99: ms * MS,
        };
        check(&[], 4, GeneratorState::Ok);
        check(&[load(None, 0.9, 1.0)], 4, GeneratorState::Ok);
        check(&[load(Some(5 * MS), 0.1, 1.0)], 4, GeneratorState::Ok);
        let two = [load(Some(6 * MS), 0.1, 1.0), load(Some(12 * MS), 0.1, 1.0)];
        check(&two, 4, late(12));
        check(&[load(None, 0.91, 1.0)], 4, GeneratorState::AtItsCores);
        check(
            &[load(Some(9 * MS), 1.0, 1.0)],
            4,
            GeneratorState::AtItsCores,
        );
        // Each has room on a core of its own, which they don't have.
        let crowd = [load(None, 0.8, 1.0), load(None, 0.8, 1.0)];
        check(&crowd, 2, GeneratorState::Ok);
        check(&crowd, 1, GeneratorState::AtItsCores);
    }

    #[test]
    fn the_worst_worker_tells_how_a_load_fares() {
        let mut both = load(Some(2 * MS), 0.5, 1.0);
        both.failed_rate = 1.0;
        both.add(&both.clone());
        both.add(&load(Some(7 * MS), 0.9, 1.0));
        both.add(&load(None, 0.1, 1.0));
        assert_eq!(both.lateness_ns_p99, Some(7 * MS));
        assert_eq!((both.cpu_share, both.failed_rate), (0.9, 2.0));
        assert!((both.cpu_cores - 2.0).abs() < 1e-9, "{both:?}");
    }
}
