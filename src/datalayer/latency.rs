//! How long things took: HDR histograms that many tasks write to and one reader sums up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer durations count as this long: one minute.
const HIGHEST_NS: u64 = 60_000_000_000;
/// Two digits, that is one per cent, keep a histogram at some thirty kilobytes.
const DIGITS: u8 = 2;
/// Threads write to one of so many histograms, in turn, so that they seldom wait for each other.
const SHARDS: usize = 4;

/// A histogram of durations that is shared between tasks.
#[derive(Debug)]
pub struct Latencies {
    shards: [Mutex<Histogram<u64>>; SHARDS],
}

/// What a [`Latencies`] held at one moment. Percentiles are right to one per cent; all of them are
/// 0 while the count is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LatencySummary {
    /// How many durations were recorded.
    pub count: u64,
    /// Their mean.
    pub mean_ns: f64,
    /// Half of them were at most so long.
    pub p50_ns: u64,
    /// 95 in 100 of them were at most so long.
    pub p95_ns: u64,
    /// 99 in 100 of them were at most so long.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Latencies {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(empty())),
        }
    }

    /// Counts one duration.
    pub fn record(&self, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let shard = &self.shards[SHARD.with(|shard| *shard)];
        shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(took_ns);
    }

    /// Everything recorded so far, in nanoseconds.
    pub fn histogram(&self) -> Histogram<u64> {
        let mut sum = empty();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            sum.add(&*shard)
                .expect("BUG: histograms of one shape add up");
        }
        sum
    }

    /// The figures of everything recorded so far.
    pub fn summary(&self) -> LatencySummary {
        let sum = self.histogram();
        LatencySummary {
            count: sum.len(),
            mean_ns: sum.mean(),
            p50_ns: sum.value_at_quantile(0.5),
            p95_ns: sum.value_at_quantile(0.95),
            p99_ns: sum.value_at_quantile(0.99),
            max_ns: sum.max(),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).expect("BUG: the bounds are constants")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Latencies::new().summary(), LatencySummary::default());
    }

    #[test]
    fn percentiles_are_right_to_one_per_cent_over_all_threads() {
        let latencies = Latencies::new();
        std::thread::scope(|scope| {
            for part in 0..8_u64 {
                let latencies = &latencies;
                scope.spawn(move || {
                    for ms in (1..=1000).filter(|ms| ms % 8 == part) {
                        latencies.record(Duration::from_millis(ms));
                    }
                });
            }
        });
        let summary = latencies.summary();
        assert_eq!(summary.count, 1000);
        let check = |got_ns: u64, expected_ms: u64| {
            let expected_ns = expected_ms * 1_000_000;
            assert!(
                got_ns.abs_diff(expected_ns) <= expected_ns / 100,
                "{got_ns} {expected_ms}"
            );
        };
        check(summary.p50_ns, 500);
        check(summary.p95_ns, 950);
        check(summary.p99_ns, 990);
        check(summary.max_ns, 1000);
    }

    #[test]
    fn a_duration_beyond_the_range_counts_as_the_longest() {
        let latencies = Latencies::new();
        latencies.record(Duration::MAX);
        let summary = latencies.summary();
        assert_eq!(summary.count, 1);
        assert!(
            summary.max_ns.abs_diff(HIGHEST_NS) <= HIGHEST_NS / 100,
            "{summary:?}"
        );
    }
}
