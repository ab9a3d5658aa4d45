//! Whether a tier that failed is asked again yet.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Closed while the tier answers. A failure opens it for a pause; after the pause one of those who may
/// probe tries, whose success closes it and whose failure doubles the pause, up to a limit.
#[derive(Debug)]
pub(super) struct Circuit {
    pause_min: Duration,
    pause_max: Duration,
    state: Mutex<State>,
}

/// The permission to ask the tier once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The circuit was closed.
    Ordinary,
    /// The circuit is open and this is the one that looks whether the tier is back.
    Probe,
}

#[derive(Debug)]
struct State {
    outages: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    pause: Duration,
    try_at: Instant,
}

impl Circuit {
    pub(super) fn new(pause_min: Duration, pause_max: Duration) -> Self {
        Self {
            pause_min,
            pause_max,
            state: Mutex::new(State {
                outages: 0,
                open: None,
            }),
        }
    }

    /// The first pause after a failure.
    pub(super) fn pause_min(&self) -> Duration {
        self.pause_min
    }

    /// The longest pause.
    pub(super) fn pause_max(&self) -> Duration {
        self.pause_max
    }

    /// The permission to ask the tier, if this is no time to leave it alone, or one to see whether it
    /// is back for a caller who may.
    pub(super) fn attempt(&self, now: Instant, may_probe: bool) -> Option<Attempt> {
        match &mut self.lock().open {
            None => Some(Attempt::Ordinary),
            Some(open) if may_probe && now >= open.try_at => {
                // Should this probe be cancelled and never report, there is another one later.
                open.try_at = now + open.pause;
                Some(Attempt::Probe)
            }
            Some(_) => None,
        }
    }

    /// How long it is until the next probe, while the circuit is open.
    pub(super) fn probe_in(&self, now: Instant) -> Option<Duration> {
        let open = &self.lock().open;
        open.as_ref()
            .map(|open| open.try_at.saturating_duration_since(now))
    }

    /// The tier answered; `true` when that ended an outage.
    pub(super) fn succeeded(&self) -> bool {
        self.lock().open.take().is_some()
    }

    /// The tier did not answer; `true` when that began an outage.
    pub(super) fn failed(&self, attempt: Attempt, now: Instant) -> bool {
        let mut state = self.lock();
        let pause = match (&state.open, attempt) {
            (None, _) => self.pause_min,
            (Some(open), Attempt::Probe) => (open.pause * 2).min(self.pause_max),
            // Asked before the outage was known, together with the one that made it known.
            (Some(_), Attempt::Ordinary) => return false,
        };
        let begins = state.open.is_none();
        state.outages += u64::from(begins);
        state.open = Some(Open {
            pause,
            try_at: now + pause,
        });
        begins
    }

    /// How many outages began so far.
    pub(super) fn outages(&self) -> u64 {
        self.lock().outages
    }

    /// Whether the tier answered last time.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().open.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_double_up_to_the_limit_and_one_caller_probes() {
        let circuit = Circuit::new(100 * MS, 300 * MS);
        let mut now = Instant::now();
        assert_eq!(circuit.attempt(now, true), Some(Attempt::Ordinary));
        assert!(circuit.failed(Attempt::Ordinary, now), "an outage begins");
        assert!(!circuit.failed(Attempt::Ordinary, now), "the same outage");
        for pause_ms in [100, 200, 300, 300] {
            assert_eq!(
                circuit.attempt(now + (pause_ms - 1) * MS, true),
                None,
                "before {pause_ms} ms"
            );
            now += pause_ms * MS;
            assert_eq!(
                circuit.attempt(now, true),
                Some(Attempt::Probe),
                "after {pause_ms} ms"
            );
            assert_eq!(circuit.attempt(now, true), None, "a second probe");
            assert!(!circuit.failed(Attempt::Probe, now));
        }
        assert_eq!(circuit.outages(), 1);
        assert!(!circuit.is_closed());
    }

    #[test]
    fn a_success_closes_it_and_the_next_outage_starts_anew() {
        let circuit = Circuit::new(100 * MS, 300 * MS);
        let now = Instant::now();
        assert!(!circuit.succeeded(), "there was no outage to end");
        circuit.failed(Attempt::Ordinary, now);
        let now = now + 100 * MS;
        assert_eq!(circuit.attempt(now, true), Some(Attempt::Probe));
        assert!(circuit.succeeded(), "the outage ends");
        assert!(circuit.is_closed());
        assert!(
            circuit.failed(Attempt::Ordinary, now),
            "another outage begins"
        );
        assert_eq!(circuit.outages(), 2);
        assert_eq!(
            circuit.attempt(now + 100 * MS, true),
            Some(Attempt::Probe),
            "the first pause again"
        );
    }

    #[test]
    fn who_may_not_probe_is_spared_for_as_long_as_it_is_open() {
        let circuit = Circuit::new(100 * MS, 300 * MS);
        let now = Instant::now();
        assert_eq!(circuit.attempt(now, false), Some(Attempt::Ordinary));
        assert_eq!(circuit.probe_in(now), None);
        circuit.failed(Attempt::Ordinary, now);
        assert_eq!(circuit.probe_in(now + 40 * MS), Some(60 * MS));
        let later = now + 5000 * MS;
        assert_eq!(circuit.attempt(later, false), None);
        assert_eq!(circuit.probe_in(later), Some(Duration::ZERO));
        assert_eq!(circuit.attempt(later, true), Some(Attempt::Probe));
        assert_eq!(circuit.probe_in(later), Some(100 * MS));
        circuit.succeeded();
        assert_eq!(circuit.attempt(later, false), Some(Attempt::Ordinary));
    }

    #[test]
    fn a_probe_that_never_reports_does_not_keep_it_open_for_good() {
        let circuit = Circuit::new(100 * MS, 300 * MS);
        let now = Instant::now();
        circuit.failed(Attempt::Ordinary, now);
        assert_eq!(circuit.attempt(now + 100 * MS, true), Some(Attempt::Probe));
        assert_eq!(circuit.attempt(now + 199 * MS, true), None);
        assert_eq!(circuit.attempt(now + 200 * MS, true), Some(Attempt::Probe));
    }
}
