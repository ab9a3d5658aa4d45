//! How far a run is, how fast it goes and when it will be through.

use std::time::Duration;

use serde::Serialize;

use super::ledger::{RunState, Standing};

/// A run as it stands after its last batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Whether it goes on.
    pub state: RunState,
    /// Rows taken, from the first start of the run on: those changed and those laid aside.
    pub done: u64,
    /// Rows there were to take when the run was first started; none where nobody knows.
    pub total: Option<u64>,
    /// Rows changed.
    pub rows: u64,
    /// Rows laid aside as dead letters.
    pub dead_letters: u64,
    /// Batches committed.
    pub batches: u64,
    /// Attempts that failed and were made again, since this start.
    pub retries: u64,
    /// The last committed cursor: an id, or a place in the source; none before the first batch.
    pub cursor: Option<i64>,
    /// Rows a second since this start.
    pub rate_per_s: f64,
    /// Time to the end at this rate; none where the total or the rate is not known.
    pub eta_ms: Option<u64>,
}

impl Progress {
    /// What a run came to, without its rate.
    pub fn of(state: RunState, standing: &Standing) -> Self {
        Self {
            state,
            done: standing.taken,
            total: standing.total,
            rows: standing.changed,
            dead_letters: standing.dead_letters,
            batches: standing.batches,
            retries: 0,
            cursor: (standing.batches > 0).then_some(standing.cursor),
            rate_per_s: 0.0,
            eta_ms: None,
        }
    }

    /// Sets rate and remaining time, given the rows taken and the time passed since this start.
    pub(super) fn measure(&mut self, taken: u64, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        self.rate_per_s = if seconds > 0.0 {
            taken as f64 / seconds
        } else {
            0.0
        };
        self.eta_ms = match self.total {
            Some(total) if self.rate_per_s > 0.0 => {
                let left = total.saturating_sub(self.done) as f64;
                Some((left / self.rate_per_s * 1000.0) as u64)
            }
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        done: u64,
        total: Option<u64>,
        taken: u64,
        seconds: u64,
        expected: (f64, Option<u64>),
    ) {
        let standing = Standing {
            cursor: 0,
            batches: 1,
            taken: done,
            changed: done,
            dead_letters: 0,
            total,
        };
        let mut progress = Progress::of(RunState::Running, &standing);
        progress.measure(taken, Duration::from_secs(seconds));
        assert_eq!((progress.rate_per_s, progress.eta_ms), expected);
    }

    #[test]
    fn rate_and_time_to_the_end_follow_from_what_was_done() {
        check(200, Some(1000), 200, 4, (50.0, Some(16_000)));
        // What was done before a resumption says nothing of the rate.
        check(900, Some(1000), 100, 4, (25.0, Some(4000)));
        check(1000, Some(1000), 1000, 10, (100.0, Some(0)));
        // Rows came in meanwhile.
        check(1100, Some(1000), 1100, 10, (110.0, Some(0)));
        check(200, None, 200, 4, (50.0, None));
        check(0, Some(1000), 0, 4, (0.0, None));
        check(0, Some(1000), 0, 0, (0.0, None));
    }
}
