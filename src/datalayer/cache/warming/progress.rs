//! How far a warm-up is, how fast it goes and when it will be through.

use std::time::Duration;

use serde::Serialize;

/// Whether a warm-up goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does, and finds out which keys there are.
    Planning,
    /// It does.
    Running,
    /// Every key was tried.
    Ended,
    /// It was told to end before that.
    Cancelled,
    /// It gave up: too many keys in a row failed, or which there are could not be found out.
    Failed,
}

impl State {
    /// Whether it goes on.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Planning | Self::Running)
    }
}

/// A warm-up as it stands after its last key.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Progress {
    /// Whether it goes on.
    pub state: State,
    /// Keys that are there now, those that were there before included, and those that have no value any
    /// more.
    pub done: u64,
    /// Keys whose every attempt failed.
    pub failed: u64,
    /// All keys; 0 until they are known.
    pub total: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Keys a second, failed ones included.
    pub rate_per_s: f64,
    /// Time to the end at this rate, in milliseconds; none before the first key, and where the end will not
    /// be reached.
    pub eta_ms: Option<u64>,
}

impl Progress {
    /// That of a warm-up whose keys are not known.
    pub(super) fn planning() -> Self {
        Self {
            state: State::Planning,
            done: 0,
            failed: 0,
            total: 0,
            retries: 0,
            rate_per_s: 0.0,
            eta_ms: None,
        }
    }

    /// That of a warm-up that begins with its keys.
    pub(super) fn of(total: usize) -> Self {
        let state = match total {
            0 => State::Ended,
            _ => State::Running,
        };
        Self {
            state,
            total: total as u64,
            eta_ms: (total == 0).then_some(0),
            ..Self::planning()
        }
    }

    /// Ends it before its last key; after that it has ended already.
    pub(super) fn end(&mut self, state: State) {
        if self.state.is_under_way() {
            self.state = state;
            self.eta_ms = None;
        }
    }

    /// Sets state, rate and remaining time, given the time since the beginning.
    pub(super) fn measure(&mut self, elapsed: Duration) {
        let tried = self.done + self.failed;
        let left = self.total.saturating_sub(tried);
        if left == 0 {
            self.state = State::Ended;
        }
        // The first keys may come before the clock has moved.
        let seconds = elapsed.as_secs_f64().max(1e-9);
        self.rate_per_s = tried as f64 / seconds;
        self.eta_ms = (tried > 0).then(|| (left as f64 / self.rate_per_s * 1000.0) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_to_the_end_follow_from_what_was_done() {
        let check = |done, failed, seconds, expected| {
            let mut progress = Progress {
                done,
                failed,
                ..Progress::of(100)
            };
            progress.measure(Duration::from_secs(seconds));
            assert_eq!(
                (progress.rate_per_s, progress.eta_ms, progress.state),
                expected
            );
        };
        check(0, 0, 4, (0.0, None, State::Running));
        check(20, 0, 4, (5.0, Some(16_000), State::Running));
        check(15, 5, 4, (5.0, Some(16_000), State::Running));
        check(90, 10, 10, (10.0, Some(0), State::Ended));
    }

    #[test]
    fn nothing_to_do_is_done() {
        let nothing = Progress::of(0);
        assert_eq!((nothing.state, nothing.eta_ms), (State::Ended, Some(0)));
        assert_eq!(Progress::of(1).state, State::Running);
    }

    #[test]
    fn what_has_ended_does_not_end_otherwise() {
        let check = |mut progress: Progress, expected| {
            progress.end(State::Cancelled);
            progress.end(State::Failed);
            assert_eq!((progress.state, progress.eta_ms), expected);
        };
        check(Progress::planning(), (State::Cancelled, None));
        let halfway = Progress {
            eta_ms: Some(7),
            ..Progress::of(2)
        };
        check(halfway, (State::Cancelled, None));
        check(Progress::of(0), (State::Ended, Some(0)));
    }
}
