//! The second tier as the cache sees it: never slow, never an error.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::circuit::Circuit;
use super::missed::{Change, Missed, ToTell};
use super::second::{Claim, SecondTier, Stored, TierError};
use super::stats::Counters;
use crate::datalayer::config::CacheSettings;

/// Clearing walks over all keys; it may take so many times the limit of one answer.
const CLEAR_LIMIT_FACTOR: u32 = 100;

/// A tier may refuse every call; the log hears of it once in so long, the counter each time.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// A second tier behind a time limit and a circuit. `None` from any of its calls means that the tier
/// has no say: it is away, refused, or there is none.
#[derive(Debug)]
pub(super) struct Guarded {
    tier: Option<Arc<dyn SecondTier>>,
    circuit: Circuit,
    missed: Missed,
    counters: Arc<Counters>,
    warned_at: Mutex<Option<Instant>>,
    limit: Duration,
    max_value_bytes: usize,
    lease: Duration,
    lease_wait: Duration,
    poll_min: Duration,
    poll_max: Duration,
}

/// The right to load a key. Dropped before it was used to publish, it is given back in the
/// background, so that a load which failed or was cancelled does not keep others waiting.
#[derive(Debug)]
pub(super) struct Lease {
    key: Arc<str>,
    token: String,
    // There until it is used up.
    guarded: Option<Arc<Guarded>>,
}

/// What is known before a load.
#[derive(Debug)]
pub(super) enum Before {
    /// The second tier has the value.
    Found(Stored),
    /// It has not, and the caller has the right to load.
    Leased(Lease),
    /// The second tier has no say, or another process took too long.
    Alone,
}

impl Guarded {
    pub(super) fn new(
        tier: Option<Arc<dyn SecondTier>>,
        settings: &CacheSettings,
        counters: Arc<Counters>,
    ) -> Self {
        let ms = Duration::from_millis;
        Self {
            tier,
            circuit: Circuit::new(ms(settings.l2_retry_min_ms), ms(settings.l2_retry_max_ms)),
            missed: Missed::default(),
            counters,
            warned_at: Mutex::default(),
            limit: ms(settings.l2_timeout_ms),
            max_value_bytes: settings.l2_max_value_bytes,
            lease: ms(settings.lease_ms),
            lease_wait: ms(settings.lease_wait_ms),
            poll_min: ms(settings.lease_poll_min_ms),
            poll_max: ms(settings.lease_poll_max_ms.max(settings.lease_poll_min_ms)),
        }
    }

    pub(super) fn outages(&self) -> u64 {
        self.circuit.outages()
    }

    pub(super) fn is_available(&self) -> bool {
        self.tier.is_some() && self.circuit.is_closed()
    }

    /// The value, if the tier has it.
    pub(super) async fn get(&self, key: &str) -> Option<Stored> {
        let tier = self.tier.as_deref()?;
        let stored = match self.caught_up(tier).await {
            true => self.call(tier.get(key)).await.flatten(),
            false => None,
        };
        self.count(stored.is_some());
        stored
    }

    /// The value, or the right to load it, for which other processes are waited for.
    pub(super) async fn before_load(self: &Arc<Self>, key: &Arc<str>) -> Before {
        let Some(tier) = self.tier.as_deref() else {
            return Before::Alone;
        };
        // Made before it is asked for: a caller that is cancelled in the middle gives it back.
        let mut lease = Lease {
            key: Arc::clone(key),
            token: uuid::Uuid::new_v4().to_string(),
            guarded: Some(Arc::clone(self)),
        };
        let give_up = Instant::now() + self.lease_wait;
        let mut pause = self.poll_min;
        let found = loop {
            if !self.caught_up(tier).await {
                break None;
            }
            match self.call(tier.claim(key, &lease.token, self.lease)).await {
                Some(Claim::Leased) => {
                    self.count(false);
                    return Before::Leased(lease);
                }
                Some(Claim::Found(stored)) => break Some(stored),
                Some(Claim::Busy) if Instant::now() + pause < give_up => sleep(pause).await,
                Some(Claim::Busy) | None => break None,
            }
            pause = (pause * 2).min(self.poll_max);
        };
        lease.guarded = None;
        self.count(found.is_some());
        found.map_or(Before::Alone, Before::Found)
    }

    /// Stores a value and voids the key's lease.
    pub(super) async fn put(&self, key: &str, value: &Bytes, ttl: Duration) {
        let Some(tier) = self.tier.as_deref() else {
            return;
        };
        if value.len() > self.max_value_bytes {
            return self.invalidate(key).await;
        }
        if self.call(tier.put(key, value, ttl)).await.is_none() {
            self.missed.note(Change::Key(key.to_owned())).await;
        }
    }

    /// Removes a value and voids the key's lease.
    pub(super) async fn invalidate(&self, key: &str) {
        let Some(tier) = self.tier.as_deref() else {
            return;
        };
        if self.call(tier.invalidate(key)).await.is_none() {
            self.missed.note(Change::Key(key.to_owned())).await;
        }
    }

    /// Removes everything.
    pub(super) async fn clear(&self) {
        let Some(tier) = self.tier.as_deref() else {
            return;
        };
        if self.clear_tier(tier).await.is_none() {
            self.missed.note(Change::All).await;
        }
    }

    /// Whether the tier knows of every change; where it does not, it is told first.
    async fn caught_up(&self, tier: &dyn SecondTier) -> bool {
        let mut telling = match self.missed.to_tell() {
            ToTell::Nothing => return true,
            ToTell::Busy => return false,
            ToTell::Changes(telling) => telling,
        };
        while let Some(change) = telling.next() {
            let confirmed = match &change {
                Change::Key(key) => self.call(tier.invalidate(key)).await,
                Change::All => self.clear_tier(tier).await,
            };
            if confirmed.is_none() {
                return false;
            }
            telling.confirmed(&change);
        }
        true
    }

    fn count(&self, hit: bool) {
        let l2 = &self.counters.l2;
        if hit {
            l2.hits.add_one()
        } else {
            l2.misses.add_one()
        }
    }

    async fn clear_tier(&self, tier: &dyn SecondTier) -> Option<()> {
        self.call_within(self.limit * CLEAR_LIMIT_FACTOR, tier.clear())
            .await
    }

    async fn call<T>(&self, answer: impl Future<Output = Result<T, TierError>>) -> Option<T> {
        self.call_within(self.limit, answer).await
    }

    /// One call of the tier, if the circuit allows it, within a limit.
    async fn call_within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, TierError>>,
    ) -> Option<T> {
        let Some(attempt) = self.circuit.attempt(Instant::now()) else {
            self.counters.l2_skipped.add_one();
            return None;
        };
        let started = Instant::now();
        let away = || TierError::Away {
            reason: format!("no answer within {limit:?}"),
        };
        let result = timeout(limit, answer).await.unwrap_or_else(|_| Err(away()));
        let error = match result {
            Ok(value) => {
                self.counters.l2.latency.record(started.elapsed());
                self.answered();
                return Some(value);
            }
            Err(error) => error,
        };
        self.counters.l2_errors.add_one();
        if !matches!(error, TierError::Away { .. }) {
            self.answered();
            if self.may_warn(Instant::now()) {
                let errors = self.counters.l2_errors.get();
                tracing::warn!(%error, errors, "the cache goes on without it this time");
            }
        } else if self.circuit.failed(attempt, Instant::now()) {
            tracing::warn!(%error, "the cache goes on without it until it is back");
        }
        None
    }

    fn may_warn(&self, now: Instant) -> bool {
        let mut warned_at = self
            .warned_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let may = warned_at.is_none_or(|at| now >= at + WARNING_PAUSE);
        if may {
            *warned_at = Some(now);
        }
        may
    }

    fn answered(&self) {
        if self.circuit.succeeded() {
            tracing::info!("the second cache tier is back");
        }
    }
}

impl Lease {
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
            .call(tier.publish(&self.key, &self.token, value, ttl))
            .await;
        if published.is_some() {
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
            if let Some(tier) = guarded.tier.as_deref() {
                guarded.call(tier.release(&key, &token)).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refusals_are_told_once_in_a_while() {
        let guarded = Guarded::new(None, &CacheSettings::default(), Arc::default());
        let now = Instant::now();
        let check = |after_s, expected: bool| {
            let at = now + Duration::from_secs(after_s);
            assert_eq!(guarded.may_warn(at), expected, "after {after_s} s");
        };
        check(0, true);
        check(9, false);
        check(10, true);
        check(19, false);
    }
}
