//! Whether the database answers, by asking it now and then.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

/// What the last look at the database found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolHealth {
    /// Whether it answered.
    pub healthy: bool,
    /// For how long that has been so, in ms.
    pub since_ms: u64,
    /// How many looks found no answer, since the start.
    pub failures: u64,
    /// What went wrong, where it didn't answer.
    pub error: Option<String>,
}

/// The same as it is kept.
#[derive(Debug)]
pub(super) struct Health(Mutex<Found>);

#[derive(Debug)]
struct Found {
    error: Option<String>,
    since: Instant,
    failures: u64,
}

impl Health {
    /// A pool begins with a connection that was opened.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Found {
            error: None,
            since: Instant::now(),
            failures: 0,
        }))
    }

    /// Takes note of a look, and tells the log of a change.
    pub(super) fn found(&self, outcome: Result<(), String>) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let error = outcome.err();
        found.failures += u64::from(error.is_some());
        if error.is_some() != found.error.is_some() {
            found.since = Instant::now();
            match &error {
                Some(error) => tracing::warn!(%error, "the database doesn't answer"),
                None => tracing::info!("the database answers again"),
            }
        }
        found.error = error;
    }

    pub(super) fn now(&self) -> PoolHealth {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        PoolHealth {
            healthy: found.error.is_none(),
            since_ms: u64::try_from(found.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            failures: found.failures,
            error: found.error.clone(),
        }
    }
}
