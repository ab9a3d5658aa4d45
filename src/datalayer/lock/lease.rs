//! A lock in somebody's hands.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::backend::Grant;
use super::error::LockError;
use super::locks::Shared;
use super::stats::Counters;

/// A lock in somebody's hands. Dropping it frees it too, in the background and without a word of how
/// that went: so it is free soon after a panic or a cancellation.
pub struct Lease {
    shared: Arc<Shared>,
    name: Arc<str>,
    grant: Grant,
    ttl: Duration,
    since: Instant,
    state: State,
    /// Whether its loss is in the figures.
    is_counted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    /// Not the holder's any more, as far as is known; freed all the same, in case it is.
    Lost,
    /// Given back.
    Released,
}

impl Lease {
    pub(super) fn new(shared: Arc<Shared>, name: Arc<str>, grant: Grant, ttl: Duration) -> Self {
        Counters::count(&shared.counters.active);
        Self {
            shared,
            name,
            grant,
            ttl,
            since: Instant::now(),
            state: State::Held,
            is_counted: false,
        }
    }

    /// What is locked.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it still lives; zero once it is lost.
    pub fn remaining(&self) -> Duration {
        match self.state {
            State::Held => self.grant.until.duration_since(Instant::now()),
            State::Lost | State::Released => Duration::ZERO,
        }
    }

    /// Whether it is still held as far as this process can tell, without asking anybody.
    ///
    /// # Errors
    /// [`LockError::Lost`].
    pub fn check(&self) -> Result<(), LockError> {
        if self.remaining().is_zero() {
            return Err(self.lost());
        }
        Ok(())
    }

    /// Lets it live for `ttl` from now.
    ///
    /// # Errors
    /// [`LockError::Lost`], and what the servers say. After any error, and after a call that was not waited
    /// for, the lock counts as lost: a server that did not answer may have freed it.
    pub async fn extend(&mut self, ttl: Duration) -> Result<(), LockError> {
        if let Err(lost) = self.check() {
            self.lose();
            return Err(lost);
        }
        self.state = State::Lost;
        let shared = Arc::clone(&self.shared);
        let extended = shared.backend.extend(&self.name, &self.grant.token, ttl);
        match extended.await {
            Ok(until) => {
                self.grant.until = until;
                self.ttl = ttl;
                self.state = State::Held;
                Counters::count(&shared.counters.extended);
                Ok(())
            }
            Err(error) => {
                self.lose();
                Err(error)
            }
        }
    }

    /// Frees it.
    ///
    /// # Errors
    /// [`LockError::Lost`] if it was not held to the end, so that somebody else may have held it meanwhile;
    /// [`LockError::Away`] if that could not be learned.
    pub async fn release(mut self) -> Result<(), LockError> {
        let known = self.check();
        if known.is_err() {
            self.lose();
        }
        let was_held = self.state == State::Held;
        let shared = Arc::clone(&self.shared);
        let backend = &shared.backend;
        let released = backend.release(&self.name, &self.grant.token, self.ttl);
        let released = released.await;
        self.state = State::Released;
        if was_held && matches!(released, Err(LockError::Lost { .. })) {
            Counters::count(&shared.counters.lost);
        }
        known.and(released)
    }

    fn lost(&self) -> LockError {
        let name = Arc::clone(&self.name);
        LockError::Lost { name }
    }

    /// Counts the loss once.
    fn lose(&mut self) {
        self.state = State::Lost;
        if !std::mem::replace(&mut self.is_counted, true) {
            Counters::count(&self.shared.counters.lost);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let counters = &self.shared.counters;
        counters.active.fetch_sub(1, Ordering::Relaxed);
        counters.hold.record(self.since.elapsed());
        let was_held = match self.state {
            State::Released => return,
            State::Held => true,
            // Also where an extension was not waited for.
            State::Lost => {
                self.lose();
                false
            }
        };
        let (shared, name) = (Arc::clone(&self.shared), Arc::clone(&self.name));
        let (token, ttl) = (std::mem::take(&mut self.grant.token), self.ttl);
        // On the locks' own runtime: the drop may happen on a thread that has none.
        self.shared.runtime.spawn(async move {
            let released = shared.backend.release(&name, &token, ttl).await;
            if was_held && matches!(released, Err(LockError::Lost { .. })) {
                Counters::count(&shared.counters.lost);
            }
            if let Err(error) = released {
                tracing::debug!(%error, "a lock that was dropped was not freed");
            }
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the token: who has it can free the lock.
        f.debug_struct("Lease")
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
