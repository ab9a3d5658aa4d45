//! Locks by name: waiting for one, holding it while work goes on, figures.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use hdrhistogram::Histogram;
use tokio::runtime;
use tokio::time::{Instant, sleep};

use super::backend::LockBackend;
use super::stats::Counters;
use super::{Lease, LockError, LockStats, ProcessLocks, Redlock};
use crate::datalayer::config::LockSettings;

/// Locks by name. Clones share them and their figures.
#[derive(Debug, Clone)]
pub struct Locks {
    shared: Arc<Shared>,
}

/// What locks and their leases share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) backend: Arc<dyn LockBackend>,
    pub(super) counters: Counters,
    pub(super) runtime: runtime::Handle,
    settings: LockSettings,
}

impl Locks {
    /// Locks of this process alone.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn in_process(settings: &LockSettings) -> Self {
        Self::over(Arc::new(ProcessLocks::new()), settings)
    }

    /// Locks shared by all that use the same Redis servers and `lock.key_prefix`. With several servers,
    /// which must know nothing of each other, a lock is held by whoever has it on more than half of them.
    ///
    /// # Errors
    /// [`LockError::Address`]. A server that is away is no error: it is used once it is there.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn redis(urls: &[impl AsRef<str>], settings: &LockSettings) -> Result<Self, LockError> {
        Ok(Self::over(
            Arc::new(Redlock::new(urls, settings)?),
            settings,
        ))
    }

    /// Locks of any other kind.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn over(backend: Arc<dyn LockBackend>, settings: &LockSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                backend,
                counters: Counters::default(),
                runtime: runtime::Handle::current(),
                settings: settings.clone(),
            }),
        }
    }

    /// A lock that lives for `ttl` unless it is extended, waited for up to `lock.wait_ms` where somebody
    /// else holds it. There is no queue: who asks at the right moment gets it.
    ///
    /// A caller that goes away before it has the lock leaves nothing locked.
    ///
    /// # Errors
    /// [`LockError::Taken`] after the wait; [`LockError::Away`], [`LockError::TooShort`] and
    /// [`LockError::TooLong`] at once.
    pub async fn acquire(&self, name: &str, ttl: Duration) -> Result<Lease, LockError> {
        let wait = Duration::from_millis(self.shared.settings.wait_ms);
        self.acquire_within(name, ttl, wait).await
    }

    /// As [`acquire`](Self::acquire), with a wait of the caller's own; one attempt where that is zero.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire).
    pub async fn acquire_within(
        &self,
        name: &str,
        ttl: Duration,
        wait: Duration,
    ) -> Result<Lease, LockError> {
        let shared = &self.shared;
        let name: Arc<str> = name.into();
        let since = Instant::now();
        let pauses = shared.pauses(wait);
        let attempt = || Shared::attempt(shared, &name, ttl, since);
        // The pauses alone are counted by `pauses`; an attempt takes its time too.
        let goes_on =
            |error: &LockError| matches!(error, LockError::Taken { .. }) && since.elapsed() < wait;
        let acquired = attempt.retry(pauses).sleep(sleep).when(goes_on).await;
        match &acquired {
            Ok(_) => shared.counters.wait.record(since.elapsed()),
            Err(_) => Counters::count(&shared.counters.failed),
        }
        acquired
    }

    /// Does `work` while holding the lock, which lives for `lock.ttl_ms` and is extended whenever the
    /// share `lock.extend_at_ratio` of that is over. It is freed when the work ends, with an error or a panic
    /// too, and when the caller goes away.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire), before the work has begun. [`LockError::Lost`], or what the
    /// servers say, when the lock cannot be kept: the work is then dropped where it is, and what it did so
    /// far is its own to mend. A loss that is noticed only when the work has ended is counted and
    /// logged, and the work's result is given.
    pub async fn with_lock<T>(
        &self,
        name: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, LockError> {
        let settings = &self.shared.settings;
        let ttl = Duration::from_millis(settings.ttl_ms);
        let every = ttl.mul_f64(settings.extend_at_ratio);
        let mut lease = self.acquire(name, ttl).await?;
        let mut work = pin!(work);
        loop {
            tokio::select! {
                // What is done is done, even if the lock is due.
                biased;
                value = &mut work => {
                    if let Err(error) = lease.release().await {
                        tracing::warn!(%error, "a lock was not held to the end of its work");
                    }
                    return Ok(value);
                }
                () = sleep(every) => {
                    // The work stands still meanwhile, so that it does nothing without its lock.
                    lease.extend(ttl).await?;
                }
            }
        }
    }

    /// The figures of this moment.
    pub fn stats(&self) -> LockStats {
        self.shared.counters.stats()
    }

    /// How long locks were held, in nanoseconds.
    pub fn hold_histogram(&self) -> Histogram<u64> {
        self.shared.counters.hold.histogram()
    }
}

impl Shared {
    /// The pauses between attempts, `wait` together at most.
    fn pauses(&self, wait: Duration) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(self.settings.retry_min_ms))
            .with_max_delay(Duration::from_millis(self.settings.retry_max_ms))
            .with_jitter()
            .without_max_times()
            .with_total_delay(Some(wait))
    }

    /// One attempt, brought to its end even if the caller goes away: what it may have locked is then
    /// freed by the drop of the lease that nobody takes.
    async fn attempt(
        shared: &Arc<Self>,
        name: &Arc<str>,
        ttl: Duration,
        since: Instant,
    ) -> Result<Lease, LockError> {
        let (task, locked) = (Arc::clone(shared), Arc::clone(name));
        let attempt = shared.runtime.spawn(async move {
            let grant = task.backend.try_lock(&locked, ttl).await?;
            let Some(grant) = grant else {
                Counters::count(&task.counters.contention);
                let waited = since.elapsed();
                return Err(LockError::Taken {
                    name: locked,
                    waited,
                });
            };
            Counters::count(&task.counters.acquired);
            Ok(Lease::new(task, locked, grant, ttl))
        });
        let name = Arc::clone(name);
        attempt
            .await
            .unwrap_or_else(|gone| match gone.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(LockError::Ended { name }),
            })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::future::pending;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use backon::BackoffBuilder as _;

    use super::super::Grant;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Never gives a lock, and remembers when it was asked.
    #[derive(Debug, Default)]
    struct Taken(Mutex<Vec<Instant>>);

    #[async_trait]
    impl LockBackend for Taken {
        async fn try_lock(&self, _: &Arc<str>, _: Duration) -> Result<Option<Grant>, LockError> {
            self.0.lock().unwrap().push(Instant::now());
            Ok(None)
        }

        async fn extend(
            &self,
            name: &Arc<str>,
            _: &[u8],
            _: Duration,
        ) -> Result<Instant, LockError> {
            Err(LockError::Lost { name: name.clone() })
        }

        async fn release(&self, _: &Arc<str>, _: &[u8], _: Duration) -> Result<(), LockError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn pauses_double_with_chance_and_end_with_the_wait() {
        let locks = Locks::in_process(&LockSettings::default());
        let wait = 10_000 * MS;
        let pauses: Vec<Duration> = locks.shared.pauses(wait).build().collect();
        let mut base = 5 * MS;
        for pause in &pauses {
            assert!((base..=2 * base).contains(pause), "{pause:?} {base:?}");
            base = (2 * base).min(250 * MS);
        }
        let all: Duration = pauses.iter().sum();
        assert!(all <= wait && all > wait - 2 * 250 * MS, "{all:?}");
        let others: Vec<Duration> = locks.shared.pauses(wait).build().collect();
        assert_ne!(pauses, others, "two that wait would meet again and again");
    }

    #[tokio::test]
    async fn attempts_go_on_for_as_long_as_the_wait() {
        let backend = Arc::new(Taken::default());
        let locks = Locks::over(
            Arc::clone(&backend) as Arc<dyn LockBackend>,
            &LockSettings::default(),
        );
        let check = async |wait| {
            let taken = locks.acquire_within("a", MS, wait).await;
            assert!(matches!(taken, Err(LockError::Taken { .. })));
            let attempts: Vec<Instant> = std::mem::take(&mut *backend.0.lock().unwrap());
            attempts.len()
        };
        assert_eq!(check(Duration::ZERO).await, 1);
        // At least 5, 10, 20, 40 and 80 ms apart.
        assert!((2..=6).contains(&check(200 * MS).await));
        let stats = locks.stats();
        assert_eq!((stats.failed, stats.acquired, stats.active), (2, 0, 0));
        assert!(stats.contention >= 3, "{stats:?}");
    }

    #[tokio::test]
    async fn work_that_stood_still_for_too_long_is_dropped() {
        let settings = LockSettings {
            ttl_ms: 60,
            ..LockSettings::default()
        };
        let locks = Locks::in_process(&settings);
        let work = async {
            // The process is stopped: time goes by, and nothing of it runs.
            std::thread::sleep(120 * MS);
            pending::<()>().await;
        };
        let lost = locks.with_lock("a", work).await;
        assert!(matches!(lost, Err(LockError::Lost { .. })), "{lost:?}");
        let stats = locks.stats();
        assert_eq!((stats.lost, stats.extended, stats.active), (1, 0, 0));
    }
}
