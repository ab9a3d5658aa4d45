//! When a batch is tried again, and after which pause.
//!
//! backon makes the pauses and drives the attempts. The cap and the jitter are ours, so that they
//! hold for every strategy alike: backon adds its jitter on top of its cap.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ConstantBuilder, ExponentialBuilder, FibonacciBuilder, Retryable};
use sqlx::sqlite::SqliteError;

use super::super::BatchError;
use super::super::error::has_ended_session;
use super::{Cancel, RunError};
use crate::datalayer::config::{RetrySettings, RetryStrategy};
use crate::datalayer::pool::PoolError;

/// What an error says of the chances of another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The database is away, or has no room: it may come back. A smaller batch would not help.
    Away,
    /// Somebody else was in the way: another attempt may go through, and a smaller batch sooner.
    Contention,
    /// The database refuses a row: the same batch fails again, and without that row it does not.
    Row,
    /// Neither another attempt nor a smaller batch helps.
    Fatal,
}

impl Trouble {
    /// What `error` says.
    pub fn of(error: &BatchError) -> Self {
        match error {
            BatchError::Pool(PoolError::Exhausted { .. } | PoolError::Unreachable { .. })
            | BatchError::Silent { .. } => Self::Away,
            BatchError::Pool(PoolError::Refused { source })
            | BatchError::Database { source, .. } => of_database(source),
            BatchError::RowShape { .. } => Self::Row,
            BatchError::Pool(_)
            | BatchError::Cut { .. }
            | BatchError::Stopped { .. }
            | BatchError::MemoryCeiling { .. }
            | BatchError::Undone { .. } => Self::Fatal,
        }
    }

    fn is_transient(self) -> bool {
        matches!(self, Self::Away | Self::Contention)
    }
}

fn of_database(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::PoolTimedOut => Trouble::Away,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match error.try_downcast_ref::<SqliteError>() {
                Some(_) => of_sqlite(&code),
                None => of_postgres(&code),
            }
        }
        _ => Trouble::Fatal,
    }
}

/// By SQLSTATE (PostgreSQL manual, appendix A).
fn of_postgres(code: &str) -> Trouble {
    match code {
        // A statement that was cancelled and a lock that was not to be had; class 40 has the
        // serialization failure (40001) and the deadlock (40P01).
        "57014" | "55P03" => Trouble::Contention,
        // What a trigger raises is about a row.
        "P0001" => Trouble::Row,
        _ if has_ended_session(code) => Trouble::Away,
        _ => match code.get(..2) {
            Some("40") => Trouble::Contention,
            // Connection exception, insufficient resources, operator intervention.
            Some("08" | "53" | "57") => Trouble::Away,
            // Cardinality, data exception, constraint violation, check option.
            Some("21" | "22" | "23" | "44") => Trouble::Row,
            _ => Trouble::Fatal,
        },
    }
}

/// By the primary result code, which is the low byte (<https://sqlite.org/rescode.html>).
fn of_sqlite(code: &str) -> Trouble {
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY, LOCKED.
        Ok(5 | 6) => Trouble::Contention,
        // FULL.
        Ok(13) => Trouble::Away,
        // TOOBIG, CONSTRAINT, MISMATCH.
        Ok(18..=20) => Trouble::Row,
        _ => Trouble::Fatal,
    }
}

/// The pauses between the attempts, one fewer than there are attempts. `random` draws from 0 to 1.
pub fn delays(
    settings: &RetrySettings,
    mut random: impl FnMut() -> f64 + Send + Sync + Unpin,
) -> impl Iterator<Item = Duration> + Send + Sync + Unpin {
    let first = Duration::from_millis(settings.min_delay_ms);
    let cap = Duration::from_millis(settings.max_delay_ms);
    let growing: Box<dyn Iterator<Item = Duration> + Send + Sync + Unpin> = match settings.strategy
    {
        RetryStrategy::Exponential => Box::new(
            ExponentialBuilder::new()
                .with_min_delay(first)
                .with_max_delay(cap)
                .with_factor(settings.factor as f32)
                .without_max_times()
                .build(),
        ),
        // The one that backon does not have.
        RetryStrategy::Linear => Box::new((1..=u32::MAX).map(move |n| first.saturating_mul(n))),
        RetryStrategy::Fixed => Box::new(
            ConstantBuilder::new()
                .with_delay(first)
                .without_max_times()
                .build(),
        ),
        RetryStrategy::Fibonacci => Box::new(
            FibonacciBuilder::new()
                .with_min_delay(first)
                .with_max_delay(cap)
                .without_max_times()
                .build(),
        ),
    };
    let jitter = settings.jitter_ratio;
    growing
        .take(settings.attempts.saturating_sub(1) as usize)
        .map(move |delay| delay.min(cap).mul_f64(1.0 - jitter * random()))
}

/// What came of some attempts.
pub(super) struct Attempted<T> {
    pub(super) outcome: Result<T, RunError>,
    pub(super) attempts: u32,
}

/// Tries as often as the settings say, as long as another attempt may help and nobody cancels.
pub(super) async fn persist<T, F>(
    settings: &RetrySettings,
    cancel: &Cancel,
    attempt: impl FnMut() -> F,
) -> Attempted<T>
where
    F: Future<Output = Result<T, RunError>>,
{
    persist_with(settings, cancel, tokio::time::sleep, attempt).await
}

/// As [`persist`], by a clock of the caller's.
async fn persist_with<T, F, S>(
    settings: &RetrySettings,
    cancel: &Cancel,
    sleep: impl Fn(Duration) -> S + 'static,
    mut attempt: impl FnMut() -> F,
) -> Attempted<T>
where
    F: Future<Output = Result<T, RunError>>,
    S: Future<Output = ()>,
{
    let attempts = AtomicU32::new(0);
    let sleeper = cancel.clone();
    let outcome = (|| {
        attempts.fetch_add(1, Ordering::Relaxed);
        attempt()
    })
    .retry(delays(settings, rand::random::<f64>))
    .sleep(move |pause| {
        let cancel = sleeper.clone();
        let slept = sleep(pause);
        async move {
            tokio::select! {
                () = slept => {}
                () = cancel.cancelled() => {}
            }
        }
    })
    .when(|error| !cancel.is_cancelled() && is_transient(error))
    .notify(|error, pause| {
        let pause_ms = pause.as_millis() as u64;
        tracing::warn!(%error, pause_ms, "a batch failed and is tried again");
    })
    .await;
    Attempted {
        outcome,
        attempts: attempts.into_inner(),
    }
}

/// Whether another attempt may help.
pub(super) fn is_transient(error: &RunError) -> bool {
    matches!(error, RunError::Batch(error) if Trouble::of(error).is_transient())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::{Arc, Mutex};

    use super::*;

    fn settings(strategy: RetryStrategy) -> RetrySettings {
        RetrySettings {
            strategy,
            attempts: 8,
            min_delay_ms: 100,
            max_delay_ms: 1000,
            factor: 2.0,
            jitter_ratio: 0.0,
        }
    }

    fn silent() -> RunError {
        RunError::Batch(BatchError::Silent {
            action: "test",
            table: "t",
            waited_ms: 1,
        })
    }

    fn rounded_ms(delay: Duration) -> u64 {
        (delay.as_secs_f64() * 1000.0).round() as u64
    }

    /// Lets all attempts fail, on a clock that only notes what it was asked for.
    async fn check(strategy: RetryStrategy, expected_ms: [u64; 7]) {
        let pauses = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&pauses);
        let sleep = move |pause| {
            noted
                .lock()
                .expect("nobody panicked")
                .push(rounded_ms(pause));
            ready(())
        };
        let attempt = || async { Err(silent()) };
        let attempted =
            persist_with::<(), _, _>(&settings(strategy), &Cancel::new(), sleep, attempt).await;
        assert!(attempted.outcome.is_err());
        assert_eq!(attempted.attempts, 8);
        let pauses = pauses.lock().expect("nobody panicked");
        assert_eq!(*pauses, expected_ms, "{strategy:?}");
    }

    #[tokio::test]
    async fn each_strategy_pauses_in_its_own_way_up_to_the_cap() {
        use RetryStrategy::{Exponential, Fibonacci, Fixed, Linear};
        check(Exponential, [100, 200, 400, 800, 1000, 1000, 1000]).await;
        check(Linear, [100, 200, 300, 400, 500, 600, 700]).await;
        check(Fixed, [100; 7]).await;
        check(Fibonacci, [100, 100, 200, 300, 500, 800, 1000]).await;
    }

    #[test]
    fn jitter_shortens_by_its_share_at_most_and_never_passes_the_cap() {
        let all = |random: f64| -> Vec<u64> {
            let settings = RetrySettings {
                jitter_ratio: 0.4,
                ..settings(RetryStrategy::Exponential)
            };
            delays(&settings, move || random).map(rounded_ms).collect()
        };
        assert_eq!(all(0.0), [100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(all(1.0), [60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(all(0.5), [80, 160, 320, 640, 800, 800, 800]);
        // Drawn anew for each pause.
        let fixed = RetrySettings {
            jitter_ratio: 1.0,
            attempts: 50,
            ..settings(RetryStrategy::Fixed)
        };
        let drawn: std::collections::BTreeSet<Duration> =
            delays(&fixed, rand::random::<f64>).collect();
        assert!(drawn.len() > 40, "{drawn:?}");
    }

    #[tokio::test]
    async fn who_cancels_does_not_wait_for_the_pause() {
        let settings = settings(RetryStrategy::Fixed);
        let cancel = Cancel::new();
        // A pause that has no end of its own.
        let sleep = |_| pending();
        let attempt = || {
            cancel.cancel();
            async { Err(silent()) }
        };
        let attempted = persist_with::<(), _, _>(&settings, &cancel, sleep, attempt);
        assert!(attempted.await.outcome.is_err());
        // Told only when the pause has begun.
        let cancel = Cancel::new();
        let told = cancel.clone();
        let sleep = move |_| {
            told.cancel();
            pending()
        };
        let attempt = || async { Err(silent()) };
        let attempted = persist_with::<(), _, _>(&settings, &cancel, sleep, attempt);
        assert_eq!(attempted.await.attempts, 2);
    }

    #[tokio::test]
    async fn what_fails_for_good_is_tried_once_and_what_goes_through_is_not_tried_again() {
        let settings = RetrySettings {
            min_delay_ms: 1,
            ..settings(RetryStrategy::Fixed)
        };
        let nobody = Cancel::new();
        let attempted = persist::<(), _>(&settings, &nobody, || async {
            Err(RunError::Batch(BatchError::RowShape { table: "t", row: 0 }))
        });
        assert_eq!(attempted.await.attempts, 1);
        let mut left = 3;
        let attempted = persist(&settings, &nobody, || {
            left -= 1;
            let through = left == 0;
            async move { if through { Ok(7) } else { Err(silent()) } }
        });
        let attempted = attempted.await;
        assert_eq!((attempted.outcome.ok(), attempted.attempts), (Some(7), 3));
    }

    #[test]
    fn codes_say_what_helps() {
        for (code, expected) in [
            ("40001", Trouble::Contention),
            ("40P01", Trouble::Contention),
            ("55P03", Trouble::Contention),
            ("57014", Trouble::Contention),
            ("57P01", Trouble::Away),
            ("25P03", Trouble::Away),
            ("25P02", Trouble::Fatal),
            ("08006", Trouble::Away),
            ("53300", Trouble::Away),
            ("23505", Trouble::Row),
            ("23502", Trouble::Row),
            ("22003", Trouble::Row),
            ("42P01", Trouble::Fatal),
            ("28P01", Trouble::Fatal),
            ("", Trouble::Fatal),
        ] {
            assert_eq!(of_postgres(code), expected, "{code}");
        }
        // BUSY, BUSY_SNAPSHOT, LOCKED, CONSTRAINT_PRIMARYKEY, FULL, CORRUPT.
        for (code, expected) in [
            ("5", Trouble::Contention),
            ("517", Trouble::Contention),
            ("6", Trouble::Contention),
            ("1555", Trouble::Row),
            ("13", Trouble::Away),
            ("11", Trouble::Fatal),
        ] {
            assert_eq!(of_sqlite(code), expected, "{code}");
        }
    }
}
