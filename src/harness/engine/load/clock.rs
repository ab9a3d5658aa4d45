//! Load time: nanoseconds since the agreed start of the load, from the monotonic clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::engine::nanoseconds::nanoseconds;

/// Tells the load time. All workers and shards of a run share one start, given as wall time; from
/// then on only the monotonic clock is asked, so that a stepped wall clock changes no latency.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadClock {
    start: Instant,
}

impl LoadClock {
    /// A clock whose zero is `start_at_ns` after the Unix epoch; zero is now where that has passed
    /// longer ago than the monotonic clock can tell.
    pub(super) fn starting_at(start_at_ns: u64) -> Self {
        let now = Instant::now();
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let start_at = Duration::from_nanos(start_at_ns);
        let start = match start_at.checked_sub(wall) {
            Some(ahead) => now + ahead,
            None => now.checked_sub(wall - start_at).unwrap_or(now),
        };
        Self { start }
    }

    /// A clock whose zero is then.
    pub(super) fn starting(start: Instant) -> Self {
        Self { start }
    }

    /// The load time in ns; zero before the start.
    pub(super) fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// The instant at which the load time is `at_ns`.
    pub(super) fn instant(&self, at_ns: u64) -> Instant {
        self.start + Duration::from_nanos(at_ns)
    }

    /// How long it takes until the load time is `at_ns`; zero where it has passed.
    pub(super) fn until(&self, at_ns: u64) -> Duration {
        self.instant(at_ns)
            .saturating_duration_since(Instant::now())
    }
}
