//! The two tiers and the loader behind one face.

use std::cmp::Reverse;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;
use moka::notification::RemovalCause;

use super::guarded::{Before, Guarded};
use super::in_flight::{InFlight, Load};
use super::stats::Counters;
use super::{CacheError, CacheStats, KeyHits, Kind, SecondTier, Tier};
use crate::datalayer::config::{CacheSettings, TtlSettings};

/// What an entry costs beyond its key and its value: the table slot, the policy's nodes, the timer
/// and the counts. Measured on moka 0.12 with a million small entries, and rounded.
const ENTRY_OVERHEAD_BYTES: u64 = 300;

/// A cache of two tiers in front of a loader. Clones share it.
#[derive(Clone)]
pub struct TieredCache {
    shared: Arc<Shared>,
}

struct Shared {
    l1: Cache<Arc<str>, Entry>,
    l2: Arc<Guarded>,
    in_flight: InFlight,
    counters: Arc<Counters>,
    ttl: TtlSettings,
    ranked_keys: usize,
}

/// A value in the first tier.
#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    ttl: Duration,
    origin: Tier,
    hits: Arc<AtomicU64>,
}

/// Every write starts a lifetime of its own.
struct PerEntry;

impl TieredCache {
    /// An empty first tier in front of `second`, or of the loader alone.
    pub fn new(settings: &CacheSettings, second: Option<Arc<dyn SecondTier>>) -> Self {
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        let l1 = Cache::builder()
            .max_capacity(settings.l1_entries)
            .expire_after(PerEntry)
            .eviction_listener(move |_, _, cause| match cause {
                RemovalCause::Size => counted.evictions.add_one(),
                RemovalCause::Expired => counted.expirations.add_one(),
                RemovalCause::Explicit | RemovalCause::Replaced => {}
            })
            .build();
        Self {
            shared: Arc::new(Shared {
                l1,
                l2: Arc::new(Guarded::new(second, settings, Arc::clone(&counters))),
                in_flight: InFlight::default(),
                counters,
                ttl: settings.ttl.clone(),
                ranked_keys: settings.ranked_keys,
            }),
        }
    }

    /// The value of a key from either tier, and which one had it. What the second tier has comes to
    /// the first for the rest of its lifetime.
    pub async fn get(&self, key: &str) -> Option<(Bytes, Tier)> {
        let shared = &self.shared;
        if let Some(value) = shared.first(key).await {
            return Some((value, Tier::L1));
        }
        let key = Arc::<str>::from(key);
        let load = shared.in_flight.begin(Arc::clone(&key));
        let stored = shared.l2.get(&key).await?;
        let entry = Entry::new(stored.value, stored.ttl, Tier::L2);
        let value = entry.value.clone();
        shared.l1.insert(Arc::clone(&key), entry).await;
        shared.settle(load, &key).await;
        Some((value, Tier::L2))
    }

    /// The value of a key from the first tier, the second, or `loader`, and which one gave it. All who
    /// ask for a missing key at once share one load, here and in other processes; those who waited
    /// are told where the value that they waited for came from.
    ///
    /// # Errors
    /// [`CacheError::Load`] when the loader fails; nothing is kept then, and the next one tries again.
    pub async fn get_or_load<F, L, E>(
        &self,
        kind: Kind,
        key: &str,
        loader: F,
    ) -> Result<(Bytes, Tier), CacheError>
    where
        F: FnOnce() -> L + Send,
        L: Future<Output = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let shared = &self.shared;
        if let Some(value) = shared.first(key).await {
            return Ok((value, Tier::L1));
        }
        let key = Arc::<str>::from(key);
        let mut load = None;
        let result = shared
            .l1
            .try_get_with(Arc::clone(&key), async {
                let load = load.insert(shared.in_flight.begin(Arc::clone(&key)));
                shared.fetch(kind, &key, loader, load).await
            })
            .await;
        match load {
            Some(load) => shared.settle(load, &key).await,
            None => shared.counters.coalesced.add_one(),
        }
        let entry = result.map_err(Arc::unwrap_or_clone)?;
        Ok((entry.value, entry.origin))
    }

    /// Stores a value in both tiers. A load of the key that is under way will not replace it.
    pub async fn put(&self, kind: Kind, key: &str, value: Bytes) {
        let shared = &self.shared;
        let ttl = shared.ttl.of(kind);
        shared.l2.put(key, &value, ttl).await;
        shared.in_flight.void(key);
        shared
            .l1
            .insert(key.into(), Entry::new(value, ttl, Tier::L1))
            .await;
    }

    /// Removes a key from both tiers. A load of the key that is under way will not bring it back.
    pub async fn invalidate(&self, key: &str) {
        let shared = &self.shared;
        // The second tier first: what another task promotes from it meanwhile is then removed too.
        shared.l2.invalidate(key).await;
        shared.in_flight.void(key);
        shared.l1.invalidate(key).await;
    }

    /// Removes everything from both tiers.
    pub async fn clear(&self) {
        let shared = &self.shared;
        shared.l2.clear().await;
        shared.in_flight.void_all();
        shared.l1.invalidate_all();
    }

    /// The figures of this moment. Walks over the first tier.
    pub async fn stats(&self) -> CacheStats {
        let shared = &self.shared;
        // Evictions and expiries are counted when moka gets round to them.
        shared.l1.run_pending_tasks().await;
        let mut keys = Vec::new();
        let mut estimated_bytes = 0;
        for (key, entry) in &shared.l1 {
            estimated_bytes += (key.len() + entry.value.len()) as u64 + ENTRY_OVERHEAD_BYTES;
            keys.push((entry.hits.load(Ordering::Relaxed), key));
        }
        let counters = &shared.counters;
        CacheStats {
            l1: counters.l1.stats(),
            l2: counters.l2.stats(),
            loads: counters.loads.get(),
            load_failures: counters.load_failures.get(),
            load_latency: counters.load_latency.summary(),
            coalesced: counters.coalesced.get(),
            evictions: counters.evictions.get(),
            expirations: counters.expirations.get(),
            l2_outages: shared.l2.outages(),
            l2_errors: counters.l2_errors.get(),
            l2_skipped: counters.l2_skipped.get(),
            l2_available: shared.l2.is_available(),
            entries: keys.len() as u64,
            estimated_bytes,
            hottest: ranked(&mut keys, shared.ranked_keys, |(hits, key)| {
                (Reverse(*hits), Arc::clone(key))
            }),
            coldest: ranked(&mut keys, shared.ranked_keys, |(hits, key)| {
                (*hits, Arc::clone(key))
            }),
        }
    }
}

impl Shared {
    /// The first tier's answer, counted.
    async fn first(&self, key: &str) -> Option<Bytes> {
        let started = Instant::now();
        let Some(entry) = self.l1.get(key).await else {
            self.counters.l1.misses.add_one();
            return None;
        };
        entry.hits.fetch_add(1, Ordering::Relaxed);
        self.counters.l1.hits.add_one();
        self.counters.l1.latency.record(started.elapsed());
        Some(entry.value)
    }

    /// The second tier's value or a loaded one. One task a key is here at a time.
    async fn fetch<F, L, E>(
        &self,
        kind: Kind,
        key: &Arc<str>,
        loader: F,
        load: &Load<'_>,
    ) -> Result<Entry, CacheError>
    where
        F: FnOnce() -> L + Send,
        L: Future<Output = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let lease = match self.l2.before_load(key).await {
            Before::Found(stored) => return Ok(Entry::new(stored.value, stored.ttl, Tier::L2)),
            Before::Leased(lease) => Some(lease),
            Before::Alone => None,
        };
        let started = Instant::now();
        let loaded = loader().await;
        self.counters.load_latency.record(started.elapsed());
        let value = loaded.map_err(|error| {
            self.counters.load_failures.add_one();
            CacheError::Load {
                key: Arc::clone(key),
                source: error.into().into(),
            }
        })?;
        self.counters.loads.add_one();
        let ttl = self.ttl.of(kind);
        if let Some(lease) = lease
            && !lease.publish(&value, ttl).await
        {
            load.void();
        }
        Ok(Entry::new(value, ttl, Tier::Loader))
    }

    /// Ends a load whose value the first tier has stored, and removes the value if the key was
    /// changed while it was under way.
    async fn settle(&self, load: Load<'_>, key: &str) {
        if load.end() {
            self.l1.invalidate(key).await;
        }
    }
}

impl Entry {
    fn new(value: Bytes, ttl: Duration, origin: Tier) -> Self {
        Self {
            value,
            ttl,
            origin,
            hits: Arc::default(),
        }
    }
}

impl Expiry<Arc<str>, Entry> for PerEntry {
    fn expire_after_create(&self, _: &Arc<str>, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl fmt::Debug for TieredCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredCache")
            .field("l2", &self.shared.l2)
            .finish_non_exhaustive()
    }
}

type Hits = (u64, Arc<Arc<str>>);

/// The first `count` keys in the order of `rank`.
fn ranked<R: Ord>(keys: &mut [Hits], count: usize, rank: impl Fn(&Hits) -> R) -> Vec<KeyHits> {
    let count = count.min(keys.len());
    if count == 0 {
        return Vec::new();
    }
    // Only the named ones are sorted: a first tier may hold a million keys.
    keys.select_nth_unstable_by_key(count - 1, &rank);
    let named = &mut keys[..count];
    named.sort_by_key(&rank);
    named
        .iter()
        .map(|(hits, key)| KeyHits {
            key: key.to_string(),
            hits: *hits,
        })
        .collect()
}
