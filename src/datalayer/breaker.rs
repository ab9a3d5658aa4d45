//! A circuit breaker for calls to other services, over the `recloser` crate.
//!
//! [`Breaker`] lets calls through while they succeed. When too many of the last ones failed it
//! opens, and refuses at once what would only wait. After a pause it is half open: calls go through
//! one at a time, as trials, until enough succeeded or one failed. The crate counts the failures and
//! keeps the time; what it does not tell, the state, is followed here.

use std::fmt;
use std::future::{pending, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use recloser::{AsyncRecloser, Error, Recloser};

use super::config::BreakerSettings;

/// Whether calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// They do.
    Closed,
    /// One at a time, as a trial.
    HalfOpen,
    /// None does.
    Open,
}

/// What a breaker saw since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerStats {
    /// Whether calls go through now.
    pub state: BreakerState,
    /// Calls that succeeded.
    pub successes: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Calls that were refused.
    pub rejected: u64,
    /// How often it opened.
    pub openings: u64,
}

/// Why a call through a breaker gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum BreakerError<E> {
    /// The call was not made.
    #[error("the circuit is open; ask again in {} ms", retry_after.as_millis())]
    Open {
        /// How long to wait before the next call; none at all while a trial is under way.
        retry_after: Duration,
    },
    /// The call failed.
    #[error(transparent)]
    Failed(E),
}

/// The breaker of one other service.
pub struct Breaker {
    recloser: AsyncRecloser,
    open_for: Duration,
    half_open_calls: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    /// Counts the phases: what a call says that began in another one is of no account.
    epoch: u64,
    successes: u64,
    failures: u64,
    rejected: u64,
    openings: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    HalfOpen { succeeded: u32, under_way: bool },
    Open { since: Instant },
}

/// The permission for one call. One that is dropped, because nobody waits for it any more, says
/// nothing about the other service.
struct Permit<'a> {
    breaker: &'a Breaker,
    epoch: u64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: &BreakerSettings) -> Self {
        let open_for = Duration::from_millis(settings.open_ms);
        let recloser = Recloser::custom()
            .closed_len(settings.window_calls as usize)
            .error_rate(settings.failure_ratio)
            // It looks at the share of failures with the call after so many.
            .half_open_len(settings.half_open_calls as usize - 1)
            .open_wait(open_for)
            .build();
        Self {
            recloser: recloser.into(),
            open_for,
            half_open_calls: settings.half_open_calls,
            inner: Mutex::new(Inner {
                phase: Phase::Closed,
                epoch: 0,
                successes: 0,
                failures: 0,
                rejected: 0,
                openings: 0,
            }),
        }
    }

    /// Makes the call if the state allows it. An error is a failure of the other service where
    /// `is_failure` says so: one that answers, if only with a refusal, works.
    ///
    /// # Errors
    /// [`BreakerError::Open`] where the call was not made, else the call's own.
    pub async fn call<T, E>(
        &self,
        is_failure: impl FnOnce(&E) -> bool,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BreakerError<E>> {
        let permit = self
            .permit()
            .map_err(|retry_after| BreakerError::Open { retry_after })?;
        let outcome = call.await;
        permit.report(!outcome.as_ref().is_err_and(is_failure));
        outcome.map_err(BreakerError::Failed)
    }

    /// The state and the counts.
    pub fn stats(&self) -> BreakerStats {
        let mut inner = self.lock();
        self.settle(&mut inner);
        BreakerStats {
            state: match inner.phase {
                Phase::Closed => BreakerState::Closed,
                Phase::HalfOpen { .. } => BreakerState::HalfOpen,
                Phase::Open { .. } => BreakerState::Open,
            },
            successes: inner.successes,
            failures: inner.failures,
            rejected: inner.rejected,
            openings: inner.openings,
        }
    }

    fn permit(&self) -> Result<Permit<'_>, Duration> {
        let mut inner = self.lock();
        self.settle(&mut inner);
        let epoch = inner.epoch;
        let refused = match &mut inner.phase {
            Phase::Closed => None,
            Phase::HalfOpen { under_way, .. } => {
                std::mem::replace(under_way, true).then_some(Duration::ZERO)
            }
            Phase::Open { since } => Some(self.open_for.saturating_sub(since.elapsed())),
        };
        if let Some(retry_after) = refused {
            inner.rejected += 1;
            return Err(retry_after);
        }
        Ok(Permit {
            breaker: self,
            epoch,
        })
    }

    /// Half opens it when the time has come.
    fn settle(&self, inner: &mut Inner) {
        if matches!(inner.phase, Phase::Open { .. }) && !self.is_open() {
            inner.enter(Phase::HalfOpen {
                succeeded: 0,
                under_way: false,
            });
        }
    }

    fn record(&self, inner: &mut Inner, success: bool) {
        self.tell(success);
        match &mut inner.phase {
            Phase::HalfOpen { succeeded, .. } if success => {
                *succeeded += 1;
                if *succeeded >= self.half_open_calls {
                    inner.enter(Phase::Closed);
                }
            }
            Phase::HalfOpen { .. } => {
                // The crate opens by the share of failures among the trials; here one is enough.
                for _ in 0..self.half_open_calls {
                    self.tell(false);
                }
                inner.open();
            }
            Phase::Closed if self.is_open() => inner.open(),
            Phase::Closed | Phase::Open { .. } => {}
        }
    }

    fn tell(&self, success: bool) {
        let outcome = if success { Ok(()) } else { Err(()) };
        let told = self.recloser.call(ready(outcome)).now_or_never();
        debug_assert!(told.is_some(), "BUG: a call that is ready was not made");
    }

    /// Asks by a call that is never made: it is refused where the crate's breaker is open, and else
    /// leaves no trace.
    fn is_open(&self) -> bool {
        let call = pending::<Result<(), ()>>();
        matches!(
            self.recloser.call(call).now_or_never(),
            Some(Err(Error::Rejected))
        )
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn open(&mut self) {
        self.openings += 1;
        self.enter(Phase::Open {
            since: Instant::now(),
        });
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }
}

impl Permit<'_> {
    fn report(self, success: bool) {
        let mut inner = self.breaker.lock();
        match success {
            true => inner.successes += 1,
            false => inner.failures += 1,
        }
        if inner.epoch == self.epoch {
            self.breaker.record(&mut inner, success);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut inner = self.breaker.lock();
        if inner.epoch == self.epoch
            && let Phase::HalfOpen { under_way, .. } = &mut inner.phase
        {
            *under_way = false;
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Breaker")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;

    /// Long enough for a busy machine to do in it what is done to a breaker that is open.
    const SOON_MS: u64 = 1500;

    async fn half_open() {
        tokio::time::sleep(Duration::from_millis(SOON_MS + 100)).await;
    }

    /// Five calls are looked at, of which three must fail; two trials close it.
    fn breaker(open_ms: u64) -> Breaker {
        Breaker::new(&BreakerSettings {
            window_calls: 5,
            failure_ratio: 0.6,
            open_ms,
            half_open_calls: 2,
        })
    }

    async fn give(breaker: &Breaker, outcome: Result<(), ()>) -> Result<(), BreakerError<()>> {
        breaker.call(|()| true, ready(outcome)).await
    }

    async fn is_refused(breaker: &Breaker) -> Option<Duration> {
        match give(breaker, Ok(())).await {
            Err(BreakerError::Open { retry_after }) => Some(retry_after),
            _ => None,
        }
    }

    async fn open(breaker: &Breaker) {
        for _ in 0..6 {
            assert_eq!(breaker.stats().state, BreakerState::Closed);
            assert!(give(breaker, Err(())).await.is_err());
        }
        assert_eq!(breaker.stats().state, BreakerState::Open);
    }

    #[tokio::test]
    async fn a_share_of_failures_opens_it_and_less_does_not() {
        let breaker = breaker(60_000);
        for round in 0..20 {
            // Two of five.
            let outcome = if round % 5 < 2 { Err(()) } else { Ok(()) };
            assert_eq!(give(&breaker, outcome).await.is_ok(), outcome.is_ok());
            assert_eq!(breaker.stats().state, BreakerState::Closed);
        }
        for _ in 0..3 {
            assert_eq!(breaker.stats().state, BreakerState::Closed);
            give(&breaker, Err(())).await.unwrap_err();
        }
        let stats = breaker.stats();
        assert_eq!(stats.state, BreakerState::Open);
        assert_eq!((stats.successes, stats.failures), (12, 11));
        let retry_after = is_refused(&breaker).await.unwrap();
        assert!(retry_after > Duration::from_secs(50), "{retry_after:?}");
        let stats = breaker.stats();
        assert_eq!((stats.rejected, stats.openings), (1, 1));
        assert_eq!(stats.successes, 12, "no call was made");
    }

    #[tokio::test]
    async fn what_is_no_failure_leaves_it_closed() {
        let breaker = breaker(60_000);
        for _ in 0..20 {
            let refused = breaker.call(|()| false, ready(Err::<(), ()>(())));
            assert!(matches!(refused.await, Err(BreakerError::Failed(()))));
        }
        let stats = breaker.stats();
        assert_eq!((stats.state, stats.failures), (BreakerState::Closed, 0));
    }

    #[tokio::test]
    async fn it_recovers_by_trials_one_at_a_time() {
        let breaker = Arc::new(breaker(SOON_MS));
        open(&breaker).await;
        half_open().await;
        assert_eq!(breaker.stats().state, BreakerState::HalfOpen);

        let (end, ended) = oneshot::channel::<()>();
        let trial = Arc::clone(&breaker);
        let trial = tokio::spawn(async move { trial.call(|_| true, ended).await.is_ok() });
        tokio::task::yield_now().await;
        assert_eq!(is_refused(&breaker).await, Some(Duration::ZERO));
        end.send(()).unwrap();
        assert!(trial.await.unwrap());
        assert_eq!(breaker.stats().state, BreakerState::HalfOpen);
        give(&breaker, Ok(())).await.unwrap();
        assert_eq!(breaker.stats().state, BreakerState::Closed);
        // From the start: the failures of before are forgotten.
        open(&breaker).await;
        assert_eq!(breaker.stats().openings, 2);
    }

    #[tokio::test]
    async fn a_failed_trial_opens_it_again() {
        let breaker = breaker(SOON_MS);
        open(&breaker).await;
        for successes in [0, 1] {
            half_open().await;
            for _ in 0..successes {
                give(&breaker, Ok(())).await.unwrap();
            }
            assert!(matches!(
                give(&breaker, Err(())).await,
                Err(BreakerError::Failed(()))
            ));
            assert_eq!(breaker.stats().state, BreakerState::Open);
            assert!(is_refused(&breaker).await.is_some());
        }
        assert_eq!(breaker.stats().openings, 3);
    }

    #[tokio::test]
    async fn a_trial_that_nobody_waits_for_gives_way_to_another() {
        let breaker = breaker(SOON_MS);
        open(&breaker).await;
        half_open().await;
        let given_up = breaker.call(|()| true, pending::<Result<(), ()>>());
        let given_up = tokio::time::timeout(Duration::from_millis(10), given_up);
        assert!(given_up.await.is_err());
        assert_eq!(breaker.stats().state, BreakerState::HalfOpen);
        give(&breaker, Ok(())).await.unwrap();
    }

    #[tokio::test]
    async fn a_call_of_another_time_decides_nothing() {
        let breaker = Arc::new(breaker(SOON_MS));
        let (end, ended) = oneshot::channel::<()>();
        let late = Arc::clone(&breaker);
        let late = tokio::spawn(async move { late.call(|_| true, ended).await.is_ok() });
        tokio::task::yield_now().await;
        open(&breaker).await;
        half_open().await;
        assert_eq!(breaker.stats().state, BreakerState::HalfOpen);
        // It fails, but it began before the trials.
        drop(end);
        assert!(!late.await.unwrap());
        assert_eq!(breaker.stats().state, BreakerState::HalfOpen);
        assert_eq!(breaker.stats().failures, 7);
    }
}
