//! What keeps locks.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::LockError;

/// A lock that was given.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// What only this holder knows: it extends and releases with it.
    pub token: Vec<u8>,
    /// The lock is the holder's until then, by the holder's own clock and on the safe side.
    pub until: Instant,
}

impl Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the token: who has it can free the lock.
        f.debug_struct("Grant")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Keeps locks for [`Locks`](super::Locks), which adds waiting, release and figures.
///
/// Every call ends within a time limit of the backend's own, whatever has become of its servers.
#[async_trait]
pub trait LockBackend: Debug + Send + Sync {
    /// One attempt at a lock that is to live for `ttl`; `None` where somebody else holds it.
    ///
    /// # Errors
    /// [`LockError::Away`], [`LockError::TooShort`], [`LockError::TooLong`].
    async fn try_lock(&self, name: &Arc<str>, ttl: Duration) -> Result<Option<Grant>, LockError>;

    /// Lets the lock live for `ttl` from now, if `token` still holds it, and says until when. After an
    /// error the lock is not held.
    ///
    /// # Errors
    /// [`LockError::Lost`], and those of [`try_lock`](Self::try_lock).
    async fn extend(
        &self,
        name: &Arc<str>,
        token: &[u8],
        ttl: Duration,
    ) -> Result<Instant, LockError>;

    /// Frees the lock in one step with the check that `token` still holds it. What another holds stays.
    ///
    /// # Errors
    /// [`LockError::Lost`] where `token` did not hold it, [`LockError::Away`] where that could not be
    /// learned: the lock then ends with its lifetime.
    async fn release(&self, name: &Arc<str>, token: &[u8], ttl: Duration) -> Result<(), LockError>;
}
