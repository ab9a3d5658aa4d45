//! The right to load a key, and its return.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::guarded::{Account, Guarded};
use super::missed::Change;

/// The right to load a key. Dropped before it was used to publish, it is given back in the
/// background, so that a load which failed or was cancelled does not keep others waiting.
#[derive(Debug)]
pub(super) struct Lease {
    key: Arc<str>,
    token: String,
    // There until it is used up.
    guarded: Option<Arc<Guarded>>,
}

impl Lease {
    /// A right that is about to be claimed.
    pub(super) fn new(key: Arc<str>, guarded: Arc<Guarded>) -> Self {
        Self {
            key,
            token: uuid::Uuid::new_v4().to_string(),
            guarded: Some(guarded),
        }
    }

    /// What the tier knows it by.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The tier has not given it; there is nothing to give back.
    pub(super) fn disarm(mut self) {
        self.guarded = None;
    }

    /// Stores what was loaded; `false` when the key was changed meanwhile, so that the value must
    /// not be kept anywhere.
    pub(super) async fn publish(mut self, value: &Bytes, ttl: Duration) -> bool {
        let Some(guarded) = self.guarded.clone() else {
            return true;
        };
        let Some(tier) = guarded.tier.as_deref() else {
            return true;
        };
        if value.len() > guarded.max_value_bytes {
            // The drop gives the lease back.
            return true;
        }
        let published = guarded
            .call(
                Account::Request,
                tier.publish(&self.key, &self.token, value, ttl),
            )
            .await;
        if published.is_ok() {
            self.guarded = None;
        }
        published.unwrap_or(true)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(guarded) = self.guarded.take() else {
            return;
        };
        // Without a runtime the lease runs out by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (key, token) = (Arc::clone(&self.key), std::mem::take(&mut self.token));
        runtime.spawn(async move {
            let Some(tier) = guarded.tier.as_deref() else {
                return;
            };
            let ends_at = Instant::now() + guarded.lease;
            let release = guarded.call(Account::Request, tier.release(&key, &token));
            if release.await.is_err() {
                let lease = Change::Lease {
                    key,
                    token,
                    ends_at,
                };
                guarded.missed.note(lease);
            }
        });
    }
}
