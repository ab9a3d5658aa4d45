//! What the workers of one load say each second, as what the load says.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::harness::engine::LoadTick;

/// The newest tick of each worker, by load.
#[derive(Debug, Default)]
pub(super) struct Ticks(Mutex<BTreeMap<String, BTreeMap<u32, LoadTick>>>);

impl Ticks {
    /// Takes note of the tick of a worker, by its number, and gives that of its load: the newest
    /// ticks of all of its workers together. A worker that has not told its second yet is in it with
    /// the one before, so that rates don't jump.
    pub(super) fn add(&self, worker: u32, tick: LoadTick) -> LoadTick {
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = loads.entry(tick.load.clone()).or_default();
        let mut together = tick.clone();
        workers.insert(worker, tick);
        for (_, other) in workers.iter().filter(|(other, _)| **other != worker) {
            together.add(other);
        }
        together
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::model::LatencyHistogram;

    fn tick(load: &str, latency_ms: u64) -> LoadTick {
        let mut response = LatencyHistogram::new();
        response.record(latency_ms * 1_000_000);
        response.pack();
        LoadTick {
            load: load.to_owned(),
            rate: 100.0,
            iteration_rate: 50.0,
            target_rate: Some(60.0),
            response,
            failed_rate: 1.0,
            failed: 1,
            dropped: 2,
            in_flight: 3,
            lateness_ns_p99: Some(1),
            cpu_cores: 0.5,
            cpu_share: 0.5,
        }
    }

    #[test]
    fn workers_of_one_load_are_one_load() {
        let ticks = Ticks::default();
        assert_eq!(ticks.add(0, tick("a", 10)), tick("a", 10));
        assert_eq!(ticks.add(0, tick("b", 10)), tick("b", 10));
        let both = ticks.add(1, tick("a", 30));
        assert_eq!((both.rate, both.iteration_rate), (200.0, 100.0));
        assert_eq!(both.target_rate, Some(120.0));
        assert_eq!((both.failed, both.dropped, both.in_flight), (2, 4, 6));
        // The quantiles are those of both, not a mean of two.
        assert_eq!(both.response.count(), 2);
        assert!(both.response.max_ns() > Some(29_000_000));
        // The next second takes the place of the last, in turn.
        let next = ticks.add(0, tick("a", 20));
        assert_eq!((next.rate, next.response.count()), (200.0, 2));
        assert!(next.response.quantile_ns(0.0) > Some(19_000_000));
    }
}
