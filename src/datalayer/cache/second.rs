//! What a second tier has to do.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use super::Scope;
use super::hearing::Subscription;
use super::register::Register;

/// A value in a second tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The value.
    pub value: Bytes,
    /// How long it still lives there.
    pub ttl: Duration,
    /// The tags that it was stored under.
    pub tags: Vec<Arc<str>>,
}

/// The answer to [`SecondTier::claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The value is there.
    Found(Stored),
    /// It is not, and the caller now holds the lease to load it.
    Leased,
    /// It is not, and somebody else holds the lease.
    Busy,
}

/// How full a second tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Values; of a Redis all keys of its database, whosever they are.
    pub entries: u64,
    /// What it takes: of the embedded tier keys and values, of a Redis the memory of the whole server.
    pub bytes: u64,
    /// Values that left it because it was full; of a Redis those of all its users.
    pub evictions: u64,
}

/// Why a second tier gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// It cannot be reached or does not answer in time.
    #[error("the second cache tier is away: {reason}")]
    Away {
        /// What the connection says.
        reason: String,
    },
    /// It answered, and the answer was a refusal or made no sense.
    #[error("the second cache tier refused: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// The address of the tier is not well formed. It is not repeated: it may hold a password.
    #[error("the address of the second cache tier was not understood: use redis://HOST:PORT/")]
    Address,
}

/// A tier behind the first one, shared between processes or at least between caches.
///
/// It keeps values, and for each key at most one lease: the right to load it. Whatever changes a
/// key (`put`, `invalidate`) also voids its lease, so that a value which was being loaded at that
/// moment can no longer be published; so does the invalidation of a tag that the lease was claimed
/// for. Who has subscribed hears of every such change that another one made, after it was made.
#[async_trait]
pub trait SecondTier: Debug + Send + Sync {
    /// The value of a key, if it is there.
    async fn get(&self, key: &str) -> Result<Option<Stored>, TierError>;

    /// In one step: the value of a key, or else the lease on it, held under `token` for at most
    /// `lease`. What is then published belongs to `tags`.
    async fn claim(
        &self,
        key: &str,
        token: &str,
        lease: Duration,
        tags: &[Arc<str>],
    ) -> Result<Claim, TierError> {
        self.claim_beyond(key, token, lease, tags, Duration::ZERO)
            .await
    }

    /// As [`claim`](Self::claim), where a value that lives for less than `at_least` is taken for none.
    /// It stays for others until a new one is published.
    async fn claim_beyond(
        &self,
        key: &str,
        token: &str,
        lease: Duration,
        tags: &[Arc<str>],
        at_least: Duration,
    ) -> Result<Claim, TierError>;

    /// In one step: stores a value and ends the lease, if `token` still holds it. `false` if not:
    /// the lease ran out, or the key or one of its tags has been changed since.
    async fn publish(
        &self,
        key: &str,
        token: &str,
        value: &Bytes,
        ttl: Duration,
    ) -> Result<bool, TierError>;

    /// Ends the lease if `token` still holds it.
    async fn release(&self, key: &str, token: &str) -> Result<(), TierError>;

    /// Stores a value under `tags` and voids the key's lease, in the name of `by`.
    async fn put(
        &self,
        by: &str,
        key: &str,
        value: &Bytes,
        ttl: Duration,
        tags: &[Arc<str>],
    ) -> Result<(), TierError>;

    /// Removes what the scopes are about and voids the leases, in the name of `by`.
    async fn invalidate(&self, by: &str, scopes: &[Scope]) -> Result<(), TierError>;

    /// How full it is.
    async fn usage(&self) -> Result<Usage, TierError>;

    /// What all others than `name` change from now on; or, where that takes a connection, from the
    /// first [`Heard::Gap`](super::Heard::Gap) on.
    fn subscribe(&self, name: &str) -> Box<dyn Subscription>;

    /// Who uses the tier, where it outlives its users; `None` where it ends with them.
    fn register(&self) -> Option<&dyn Register>;
}
