//! The two tiers and the loader behind one face.

use std::cmp::Reverse;
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use moka::Expiry;
use moka::future::Cache;
use moka::notification::RemovalCause;

use super::guarded::{Before, Guarded};
use super::hearing::Hear;
use super::in_flight::{InFlight, Load, Turn};
use super::second::Stored;
use super::stats::Counters;
use super::tags::{Marks, Moment, TagIndex};
use super::{CacheError, CacheStats, KeyHits, Kind, Pattern, Scope, SecondTier, Tag, Tier};
use crate::datalayer::config::{CacheSettings, TtlSettings};

/// Of so many hits in the first tier one is timed, the very first too: to look at the clock twice and to note the
/// time takes as long as the hit.
const HITS_PER_TIMED: u64 = 16;
/// What an entry costs beyond its key and its value: the table slot, the policy's nodes, the timer
/// and the counts. Measured as growth of resident memory over 100,000 and 400,000 entries on
/// moka 0.12 (594 and 601), and rounded.
const ENTRY_OVERHEAD_BYTES: u64 = 600;

/// A cache of two tiers in front of a loader. Clones share it.
#[derive(Clone)]
pub struct TieredCache {
    shared: Arc<Shared>,
}

struct Shared {
    l1: Cache<Arc<str>, Arc<Entry>>,
    l2: Arc<Guarded>,
    in_flight: Arc<InFlight<Brought>>,
    tags: TagIndex,
    /// How often something was forgotten.
    forgotten: AtomicU64,
    counters: Arc<Counters>,
    ttl: TtlSettings,
    ranked_keys: usize,
    /// Whether anything is kept.
    enabled: bool,
}

/// A value in the first tier.
#[derive(Debug)]
struct Entry {
    value: Bytes,
    ttl: Duration,
    origin: Tier,
    hits: AtomicU64,
    /// When the read began that brought it.
    begun: Instant,
    /// Set when its key was changed since then.
    voided: Arc<AtomicBool>,
    /// Say whether one of its tags was.
    marks: Marks,
}

/// What a reader wants of a value.
#[derive(Debug, Clone, Copy)]
struct Want {
    /// How long it is to live if it is loaded.
    ttl: Duration,
    /// One that lives for less is loaded anew.
    at_least: Duration,
}

/// What a load has to know of its tags.
struct Tagging {
    /// When the read began.
    moment: Moment,
    names: Vec<Arc<str>>,
    marks: Marks,
}

/// What a load gives to all who wait for it.
type Brought = Result<Arc<Entry>, CacheError>;

/// Every write starts a lifetime of its own.
struct PerEntry;

impl TieredCache {
    /// An empty first tier in front of `second`, or of the loader alone. Inside a Tokio runtime the
    /// second tier is spoken to at once, else with the first call.
    pub fn new(settings: &CacheSettings, second: Option<Arc<dyn SecondTier>>) -> Self {
        let second = second.filter(|_| settings.enabled);
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
        let shared = Arc::new_cyclic(|shared: &Weak<Shared>| {
            let first = Weak::clone(shared);
            let guarded = Guarded::new(second, settings, Arc::clone(&counters), first);
            Shared {
                l1,
                l2: Arc::new(guarded),
                in_flight: Arc::new(InFlight::new(Duration::from_millis(settings.lease_ms))),
                tags: TagIndex::default(),
                forgotten: AtomicU64::default(),
                counters,
                ttl: settings.ttl.clone(),
                ranked_keys: settings.ranked_keys,
                enabled: settings.enabled,
            }
        });
        if tokio::runtime::Handle::try_current().is_ok() {
            shared.l2.attended();
        }
        Self { shared }
    }

    /// The value of a key from either tier, and which one had it. What the second tier has comes to
    /// the first for the rest of its lifetime.
    pub async fn get(&self, key: &str) -> Option<(Bytes, Tier)> {
        let shared = &self.shared;
        if let Some(value) = shared.first(key, Duration::ZERO).await {
            return Some((value, Tier::L1));
        }
        let key = Arc::<str>::from(key);
        let load = shared.in_flight.begin(Arc::clone(&key));
        let tagging = Tagging::begin(&shared.tags, Vec::new());
        let entry = Entry::begin(load.voided());
        let stored = shared.l2.get(&key).await?;
        let entry = Arc::new(shared.promoted(entry, &tagging, stored));
        let value = entry.value.clone();
        shared.keep(load, entry).await;
        Some((value, Tier::L2))
    }

    /// The value of a key from the first tier, the second, or `loader`, and which one gave it. All who
    /// ask for a missing key at once share one load, here and in other processes; those who waited
    /// are told where the value that they waited for came from. A load goes on when its callers go
    /// away.
    ///
    /// # Errors
    /// [`CacheError::Load`] when the loader fails, [`CacheError::BrokenOff`] when it panics; nothing
    /// is kept then, and the next one tries again.
    pub async fn get_or_load<F, L, E>(
        &self,
        kind: Kind,
        key: &str,
        loader: F,
    ) -> Result<(Bytes, Tier), CacheError>
    where
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.get_or_load_tagged(kind, key, &[], loader).await
    }

    /// As [`get_or_load`](Self::get_or_load), for a value that belongs to `tags`: it goes when one of
    /// them is invalidated, and is not kept when that happens while it is being loaded.
    ///
    /// # Errors
    /// As there.
    pub async fn get_or_load_tagged<F, L, E>(
        &self,
        kind: Kind,
        key: &str,
        tags: &[Tag<'_>],
        loader: F,
    ) -> Result<(Bytes, Tier), CacheError>
    where
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let want = Want {
            ttl: self.ttl_of(kind),
            at_least: Duration::ZERO,
        };
        self.bring(want, key, tags, loader).await
    }

    /// As [`get_or_load_tagged`](Self::get_or_load_tagged), ahead of its use: a value that lives for
    /// less than `at_least` is loaded anew, to live for `ttl`. It stays for others meanwhile, and where
    /// the loader fails. `at_least` must not be above any lifetime that other readers would give it.
    pub(super) async fn renew<F, L, E>(
        &self,
        ttl: Duration,
        at_least: Duration,
        key: &str,
        tags: &[Tag<'_>],
        loader: F,
    ) -> Result<(Bytes, Tier), CacheError>
    where
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let want = Want { ttl, at_least };
        self.bring(want, key, tags, loader).await
    }

    /// How long a value of this kind lives.
    pub(super) fn ttl_of(&self, kind: Kind) -> Duration {
        self.shared.ttl.of(kind)
    }

    async fn bring<F, L, E>(
        &self,
        want: Want,
        key: &str,
        tags: &[Tag<'_>],
        loader: F,
    ) -> Result<(Bytes, Tier), CacheError>
    where
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let shared = &self.shared;
        if let Some(value) = shared.first(key, want.at_least).await {
            return Ok((value, Tier::L1));
        }
        let asked = Instant::now();
        let key = Arc::<str>::from(key);
        if !shared.enabled {
            let loaded = shared.load(&key, loader).await;
            return loaded.map(|value| (value, Tier::Loader));
        }
        let names = Tag::names(tags);
        let broken_off = |_| CacheError::BrokenOff {
            key: Arc::clone(&key),
        };
        loop {
            let tagging = Tagging::begin(&shared.tags, names.clone());
            let outcome = match shared.in_flight.join(&key, &tagging.marks) {
                Turn::Load(load, teller, outcome) => {
                    let shared = Arc::clone(shared);
                    // A task of its own, so that a caller that goes away takes nothing with it.
                    tokio::spawn(async move {
                        let brought = shared.bring(want, loader, load, tagging).await;
                        // Nobody may be left to be told.
                        let _ = teller.send(brought);
                    });
                    let entry = outcome.await.map_err(broken_off)??;
                    return Ok((entry.value.clone(), entry.origin));
                }
                Turn::Wait(outcome) => outcome,
            };
            // Somebody else's load. If its key was changed meanwhile, that may have been before this
            // reader asked, who must not be given what was there before the change.
            match outcome.await.map_err(broken_off)? {
                Ok(entry) if entry.is_void() && entry.begun < asked => {}
                // It may have been no load but a promotion.
                Ok(entry) if entry.left() < want.at_least => {}
                result => {
                    shared.counters.coalesced.add_one();
                    return result.map(|entry| (entry.value.clone(), entry.origin));
                }
            }
        }
    }

    /// Stores a value in both tiers. A load of the key that is under way will not replace it.
    pub async fn put(&self, kind: Kind, key: &str, value: Bytes) {
        self.put_tagged(kind, key, &[], value).await;
    }

    /// As [`put`](Self::put), for a value that belongs to `tags`.
    pub async fn put_tagged(&self, kind: Kind, key: &str, tags: &[Tag<'_>], value: Bytes) {
        let shared = &self.shared;
        if !shared.enabled {
            return;
        }
        let ttl = shared.ttl.of(kind);
        let names = Tag::names(tags);
        let forgotten = shared.forgotten.load(Ordering::SeqCst);
        let entry = Entry::begin(Arc::default()).marked(shared.tags.mark(&names));
        shared.l2.put(key, &value, ttl, &names).await;
        shared.in_flight.void(key);
        let entry = entry.with(value, ttl, Tier::L1);
        shared.l1.insert(key.into(), Arc::new(entry)).await;
        // Somebody may have changed the key between the two tiers. It is not asked which it was.
        if shared.forgotten.load(Ordering::SeqCst) != forgotten {
            shared.l1.invalidate(key).await;
        }
    }

    /// Removes a key from both tiers. A load of the key that is under way will not bring it back.
    pub async fn invalidate(&self, key: &str) {
        self.invalidate_scopes(&[Scope::Key(key.to_owned())]).await;
    }

    /// Removes all values of a tag, however many they are, at the cost of one.
    pub async fn invalidate_tag(&self, name: &str) {
        self.invalidate_scopes(&[Scope::Tag(name.to_owned())]).await;
    }

    /// Removes all keys that a glob matches, such as `client:*`. Looks at every key of both tiers.
    pub async fn invalidate_pattern(&self, glob: &str) {
        self.invalidate_scopes(&[Scope::Pattern(Pattern::new(glob))])
            .await;
    }

    /// Removes a key and all values that were stored as its children ([`Tag::ChildOf`]).
    pub async fn invalidate_family(&self, key: &str) {
        self.invalidate_scopes(&[Scope::Family(key.to_owned())])
            .await;
    }

    /// Removes everything from both tiers.
    pub async fn clear(&self) {
        self.invalidate_scopes(&[Scope::All]).await;
    }

    /// Removes what the scopes are about from both tiers, and from the first tier of every process
    /// that uses the same second one. Loads of it that are under way will not bring it back.
    pub async fn invalidate_scopes(&self, scopes: &[Scope]) {
        let shared = &self.shared;
        // The second tier first: what another task promotes from it meanwhile is then removed too.
        shared.l2.invalidate(scopes).await;
        for scope in scopes {
            shared.forget(scope).await;
        }
    }

    /// Whether there is a second tier that is used: one that outlives its users has a say only once it
    /// was asked who they are.
    pub fn uses_second_tier(&self) -> bool {
        self.shared.l2.is_available()
    }

    /// Tells the second tier what it has not heard yet and takes leave of it, so that what it holds
    /// is still good for the next process. To be called once nothing is read or written any more;
    /// without it, or when the tier is away, whoever uses the tier next clears it.
    pub async fn close(&self) {
        self.shared.l2.close().await;
    }

    /// The figures of this moment. Walks over the first tier.
    pub async fn stats(&self) -> CacheStats {
        let shared = &self.shared;
        // moka counts evictions when it gets round to them, and expiries about a second later.
        shared.l1.run_pending_tasks().await;
        let mut keys = Vec::new();
        let mut estimated_bytes = 0;
        for (key, entry) in &shared.l1 {
            estimated_bytes += (key.len() + entry.value.len()) as u64 + ENTRY_OVERHEAD_BYTES;
            // A void one takes room until its place is needed, and nobody gets it any more.
            if !entry.is_void() {
                keys.push((entry.hits.load(Ordering::Relaxed), key));
            }
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
            l2_usage: shared.l2.usage().await,
            heard: counters.heard.get(),
            gaps: counters.gaps.get(),
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
    async fn first(&self, key: &str, at_least: Duration) -> Option<Bytes> {
        let counters = &self.counters.l1;
        let is_timed = counters.hits.get().is_multiple_of(HITS_PER_TIMED);
        let started = is_timed.then(Instant::now);
        let entry = self.l1.get(key).await;
        let Some(entry) = entry.filter(|entry| entry.serves(at_least)) else {
            counters.misses.add_one();
            return None;
        };
        entry.hits.fetch_add(1, Ordering::Relaxed);
        counters.hits.add_one();
        if let Some(started) = started {
            counters.latency.record(started.elapsed());
        }
        Some(entry.value.clone())
    }

    /// Brings a key into the first tier, from the second or with `loader`. One task a key is here at
    /// a time.
    async fn bring<F, L, E>(
        &self,
        want: Want,
        loader: F,
        load: Load<Brought>,
        tagging: Tagging,
    ) -> Brought
    where
        F: FnOnce() -> L + Send,
        L: Future<Output = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let key = Arc::clone(load.key());
        // Another load may have ended between the look at the first tier and this one's turn.
        let there = self.l1.get(&key).await.filter(|entry| !entry.is_void());
        if let Some(entry) = there.clone().filter(|entry| entry.serves(want.at_least)) {
            self.counters.coalesced.add_one();
            return Ok(entry);
        }
        let fetched = AssertUnwindSafe(self.fetch(want, loader, &load, tagging));
        let fetched = fetched.catch_unwind().await.unwrap_or_else(|_| {
            self.counters.load_failures.add_one();
            let key = Arc::clone(&key);
            Err(CacheError::BrokenOff { key })
        });
        // What is renewed is as hot as it was.
        let hits = there.map_or(0, |entry| entry.hits.load(Ordering::Relaxed));
        let fetched = fetched.map(|entry| {
            let hits = hits.into();
            Arc::new(Entry { hits, ..entry })
        });
        if let Ok(entry) = &fetched {
            self.keep(load, Arc::clone(entry)).await;
        }
        fetched
    }

    /// The second tier's value or a loaded one.
    async fn fetch<F, L, E>(
        &self,
        want: Want,
        loader: F,
        load: &Load<Brought>,
        tagging: Tagging,
    ) -> Result<Entry, CacheError>
    where
        F: FnOnce() -> L + Send,
        L: Future<Output = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let key = load.key();
        let entry = Entry::begin(load.voided());
        let before = self.l2.before_load(key, &tagging.names, want.at_least);
        let lease = match before.await {
            Before::Found(stored) => return Ok(self.promoted(entry, &tagging, stored)),
            Before::Leased(lease) => Some(lease),
            Before::Alone => None,
        };
        let value = self.load(key, loader).await?;
        let ttl = want.ttl;
        if let Some(lease) = lease
            && !lease.publish(&value, ttl).await
        {
            load.void();
        }
        let entry = entry.marked(tagging.marks);
        Ok(entry.with(value, ttl, Tier::Loader))
    }

    /// The loader's value, counted.
    async fn load<F, L, E>(&self, key: &Arc<str>, loader: F) -> Result<Bytes, CacheError>
    where
        F: FnOnce() -> L + Send,
        L: Future<Output = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
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
        Ok(value)
    }

    /// What the second tier had. It knows the tags under which it was stored, which need not be those
    /// that this reader would give it.
    fn promoted(&self, entry: Entry, tagging: &Tagging, stored: Stored) -> Entry {
        let mut marks = tagging.marks.clone();
        if stored.tags != tagging.names {
            marks = marks.and(self.tags.mark_since(tagging.moment, &stored.tags));
        }
        entry.marked(marks).with(stored.value, stored.ttl, Tier::L2)
    }

    /// Stores what a read has brought and ends the read. A void value is not stored: it would take
    /// the place of the one that was loaded after the change.
    async fn keep(&self, load: Load<Brought>, entry: Arc<Entry>) {
        let key = Arc::clone(load.key());
        if !entry.is_void() {
            self.l1.insert(Arc::clone(&key), entry).await;
        }
        self.settle(load, &key).await;
    }

    /// Ends a load whose value the first tier has stored, and removes the value if the key was
    /// changed while it was under way.
    async fn settle(&self, load: Load<Brought>, key: &str) {
        if load.end() {
            self.remove_void(key).await;
        }
    }

    /// Removes a value that must not be kept; a newer one stays, or at worst is loaded again.
    async fn remove_void(&self, key: &str) {
        if self.l1.get(key).await.is_some_and(|entry| entry.is_void()) {
            self.l1.invalidate(key).await;
        }
    }
}

#[async_trait]
impl Hear for Shared {
    async fn forget(&self, scope: &Scope) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        if let Some(tag) = scope.tag() {
            self.tags.void(&tag);
        }
        if let Some(key) = scope.key() {
            self.in_flight.void(key);
            self.l1.invalidate(key).await;
        }
        match scope {
            Scope::All => {
                self.in_flight.void_all();
                self.l1.invalidate_all();
            }
            Scope::Pattern(pattern) => {
                self.in_flight.void_where(|key| pattern.matches(key));
                for (key, _) in &self.l1 {
                    if pattern.matches(&key) {
                        self.l1.invalidate(&**key).await;
                    }
                }
            }
            Scope::Key(_) | Scope::Tag(_) | Scope::Family(_) => {}
        }
    }
}

impl Tagging {
    fn begin(tags: &TagIndex, names: Vec<Arc<str>>) -> Self {
        Self {
            moment: tags.now(),
            marks: tags.mark(&names),
            names,
        }
    }
}

impl Entry {
    /// An entry that is being read from now on; `voided` is to be set when its key is changed.
    fn begin(voided: Arc<AtomicBool>) -> Self {
        Self {
            value: Bytes::new(),
            ttl: Duration::ZERO,
            origin: Tier::Loader,
            hits: AtomicU64::default(),
            begun: Instant::now(),
            voided,
            marks: Marks::default(),
        }
    }

    fn marked(self, marks: Marks) -> Self {
        Self { marks, ..self }
    }

    fn with(self, value: Bytes, ttl: Duration, origin: Tier) -> Self {
        Self {
            value,
            ttl,
            origin,
            ..self
        }
    }

    /// Whether it may be given to a reader who wants it to live for so long.
    fn serves(&self, at_least: Duration) -> bool {
        !self.is_void() && (at_least.is_zero() || self.left() >= at_least)
    }

    /// How long it lives from now on at least: its time began when it was stored.
    fn left(&self) -> Duration {
        self.ttl.saturating_sub(self.begun.elapsed())
    }

    fn is_void(&self) -> bool {
        self.voided.load(Ordering::Relaxed) || self.marks.are_void()
    }
}

impl Expiry<Arc<str>, Arc<Entry>> for PerEntry {
    fn expire_after_create(
        &self,
        _: &Arc<str>,
        entry: &Arc<Entry>,
        _: Instant,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        entry: &Arc<Entry>,
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use tokio::sync::oneshot;
    use tokio::task::{JoinSet, yield_now};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::datalayer::cache::MemoryTier;

    const MS: Duration = Duration::from_millis(1);

    fn settings() -> CacheSettings {
        CacheSettings::default()
    }

    fn memory() -> Option<Arc<dyn SecondTier>> {
        Some(Arc::new(MemoryTier::new(&settings())))
    }

    async fn load(cache: &TieredCache, key: &str, value: &'static str) -> (Bytes, Tier) {
        let loader = async || Ok::<_, Infallible>(Bytes::from_static(value.as_bytes()));
        cache.get_or_load(Kind::Detail, key, loader).await.unwrap()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no such row")]
    struct NoSuchRow;

    /// Loads `k` with what `answer` gives after a while.
    async fn load_slowly(
        cache: TieredCache,
        answer: fn() -> Result<&'static str, NoSuchRow>,
    ) -> Result<(Bytes, Tier), CacheError> {
        let loader = async move || {
            sleep(20 * MS).await;
            answer().map(|value| Bytes::from_static(value.as_bytes()))
        };
        cache.get_or_load(Kind::Detail, "k", loader).await
    }

    fn from(tier: Tier, value: &'static str) -> (Bytes, Tier) {
        (Bytes::from_static(value.as_bytes()), tier)
    }

    #[tokio::test]
    async fn without_the_cache_each_read_loads_and_nothing_is_kept() {
        let second = memory();
        let settings = CacheSettings {
            enabled: false,
            ..settings()
        };
        let cache = TieredCache::new(&settings, second.clone());
        cache.put(Kind::Detail, "k", Bytes::from("put")).await;
        assert_eq!(load(&cache, "k", "v").await, from(Tier::Loader, "v"));
        assert_eq!(load(&cache, "k", "w").await, from(Tier::Loader, "w"));
        assert_eq!(cache.get("k").await, None);
        let stats = cache.stats().await;
        assert_eq!((stats.loads, stats.hits(), stats.entries), (2, 0, 0));
        assert_eq!(stats.requests(), 3);
        // Nor in the second tier, which others may use.
        let other = TieredCache::new(&self::settings(), second);
        assert_eq!(other.get("k").await, None);
    }

    #[tokio::test]
    async fn a_value_moves_from_the_loader_through_the_second_tier_to_the_first() {
        let second = memory();
        let one = TieredCache::new(&settings(), second.clone());
        assert_eq!(load(&one, "k", "v").await, from(Tier::Loader, "v"));
        assert_eq!(load(&one, "k", "not asked").await, from(Tier::L1, "v"));
        let other = TieredCache::new(&settings(), second.clone());
        assert_eq!(load(&other, "k", "not asked").await, from(Tier::L2, "v"));
        assert_eq!(other.get("k").await, Some(from(Tier::L1, "v")));
        let third = TieredCache::new(&settings(), second);
        assert_eq!(third.get("k").await, Some(from(Tier::L2, "v")));
        assert_eq!(third.get("k").await, Some(from(Tier::L1, "v")));
        assert_eq!(third.get("nothing").await, None);

        let stats = one.stats().await;
        assert_eq!((stats.l1.hits, stats.l1.misses), (1, 1));
        assert_eq!((stats.l2.hits, stats.l2.misses, stats.loads), (0, 1, 1));
        assert_eq!(stats.hit_ratio(), Some(0.5));
        assert_eq!((stats.l1.latency.count, stats.load_latency.count), (1, 1));
        let stats = other.stats().await;
        assert_eq!((stats.l1.hits, stats.l2.hits, stats.loads), (1, 1, 0));
        assert_eq!(stats.hit_ratio(), Some(1.0));
    }

    #[tokio::test]
    async fn a_promoted_value_lives_for_the_rest_of_its_time_only() {
        let hour = 3600 * 1000 * MS;
        let second = memory();
        second
            .as_ref()
            .unwrap()
            .put("", "k", &Bytes::from_static(b"v"), hour, &[])
            .await
            .unwrap();
        let cache = TieredCache::new(&settings(), second);
        sleep(20 * MS).await;
        assert_eq!(cache.get("k").await, Some(from(Tier::L2, "v")));
        let entry = cache.shared.l1.get("k").await.unwrap();
        assert!(
            entry.ttl <= hour - 20 * MS && entry.ttl > hour / 2,
            "{:?}",
            entry.ttl
        );
    }

    #[tokio::test]
    async fn the_kind_decides_how_long_a_value_lives() {
        let mut settings = settings();
        settings.ttl.other_s = 0;
        let cache = TieredCache::new(&settings, None);
        cache
            .put(Kind::Other, "other", Bytes::from_static(b"v"))
            .await;
        cache
            .put(Kind::Detail, "detail", Bytes::from_static(b"v"))
            .await;
        assert_eq!(cache.get("other").await, None);
        assert_eq!(cache.get("detail").await, Some(from(Tier::L1, "v")));
        cache
            .put(Kind::Other, "detail", Bytes::from_static(b"v"))
            .await;
        assert_eq!(
            cache.get("detail").await,
            None,
            "a new value has a lifetime of its own"
        );
    }

    #[tokio::test]
    async fn sixty_four_tasks_that_miss_together_load_once() {
        for second in [None, memory()] {
            let cache = TieredCache::new(&settings(), second);
            let mut tasks = JoinSet::new();
            for _ in 0..64 {
                tasks.spawn(load_slowly(cache.clone(), || Ok("v")));
            }
            for answer in tasks.join_all().await {
                assert_eq!(answer.unwrap(), from(Tier::Loader, "v"));
            }
            let stats = cache.stats().await;
            assert_eq!((stats.loads, stats.l1.misses, stats.coalesced), (1, 64, 63));
        }
    }

    #[tokio::test]
    async fn two_caches_on_one_second_tier_load_once() {
        let second = memory();
        let mut tasks = JoinSet::new();
        let caches =
            [&second, &second].map(|second| TieredCache::new(&settings(), (*second).clone()));
        for cache in caches.iter().cycle().take(64) {
            tasks.spawn(load_slowly(cache.clone(), || Ok("v")));
        }
        tasks.join_all().await;
        let mut loads = 0;
        for cache in &caches {
            loads += cache.stats().await.loads;
        }
        assert_eq!(loads, 1);
    }

    #[tokio::test]
    async fn a_failed_load_is_everybodys_error_and_the_next_one_tries_again() {
        let cache = TieredCache::new(&settings(), memory());
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            tasks.spawn(load_slowly(cache.clone(), || Err(NoSuchRow)));
        }
        for answer in tasks.join_all().await {
            let Err(CacheError::Load { key, source }) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(&*key, "k");
            assert!(source.downcast_ref::<NoSuchRow>().is_some(), "{source:?}");
        }
        let stats = cache.stats().await;
        assert_eq!((stats.loads, stats.load_failures), (0, 1));
        assert_eq!(load(&cache, "k", "v").await, from(Tier::Loader, "v"));
    }

    /// A load of `k` that has begun and gives `old` when the sender says so.
    async fn begun(
        cache: &TieredCache,
    ) -> (oneshot::Sender<()>, tokio::task::JoinHandle<(Bytes, Tier)>) {
        let (go, wait) = oneshot::channel();
        let (began, beginning) = oneshot::channel();
        let cache = cache.clone();
        let task = tokio::spawn(async move {
            let loader = async move || {
                began.send(()).unwrap();
                wait.await.unwrap();
                Ok::<_, Infallible>(Bytes::from_static(b"old"))
            };
            cache.get_or_load(Kind::Detail, "k", loader).await.unwrap()
        });
        beginning.await.unwrap();
        (go, task)
    }

    #[tokio::test]
    async fn what_was_being_loaded_while_its_key_changed_is_not_kept() {
        for second in [None, memory()] {
            let cache = TieredCache::new(&settings(), second);
            let (go, task) = begun(&cache).await;
            cache.invalidate("k").await;
            go.send(()).unwrap();
            assert_eq!(task.await.unwrap(), from(Tier::Loader, "old"));
            assert_eq!(cache.get("k").await, None, "invalidated");

            let (go, task) = begun(&cache).await;
            cache
                .put(Kind::Detail, "k", Bytes::from_static(b"new"))
                .await;
            go.send(()).unwrap();
            task.await.unwrap();
            assert_eq!(load(&cache, "k", "new").await.0, "new", "replaced");

            cache.clear().await;
            let (go, task) = begun(&cache).await;
            cache.clear().await;
            go.send(()).unwrap();
            task.await.unwrap();
            assert_eq!(cache.get("k").await, None, "cleared");
        }
    }

    #[tokio::test]
    async fn who_asks_after_a_change_is_not_given_what_was_there_before() {
        for second in [None, memory()] {
            let cache = TieredCache::new(&settings(), second);
            let (go, task) = begun(&cache).await;
            cache.invalidate("k").await;
            let mut waiting = JoinSet::new();
            for _ in 0..16 {
                let cache = cache.clone();
                waiting.spawn(async move { load(&cache, "k", "new").await.0 });
            }
            // All of them find the load under way and wait for it.
            while cache.stats().await.l1.misses < 17 {
                sleep(MS).await;
            }
            go.send(()).unwrap();
            assert_eq!(waiting.join_all().await, ["new"; 16]);
            assert_eq!(task.await.unwrap(), from(Tier::Loader, "old"));
            let stats = cache.stats().await;
            assert_eq!((stats.l1.misses, stats.loads, stats.coalesced), (17, 2, 15));
            assert_eq!(cache.get("k").await, Some(from(Tier::L1, "new")));
        }
    }

    #[tokio::test]
    async fn a_voided_value_is_not_there_even_before_it_is_removed() {
        let cache = TieredCache::new(&settings(), None);
        let load = cache.shared.in_flight.begin("k".into());
        let entry = Entry::begin(load.voided());
        cache.shared.in_flight.void("k");
        let entry = entry.with(Bytes::from_static(b"old"), 60_000 * MS, Tier::Loader);
        cache.shared.l1.insert("k".into(), Arc::new(entry)).await;
        assert_eq!(
            super::tests::load(&cache, "k", "new").await,
            from(Tier::Loader, "new")
        );
        cache.shared.settle(load, "k").await;
        assert_eq!(cache.get("k").await, Some(from(Tier::L1, "new")));
    }

    #[tokio::test]
    async fn a_change_in_one_cache_voids_the_load_of_another() {
        let second = memory();
        let one = TieredCache::new(&settings(), second.clone());
        let other = TieredCache::new(&settings(), second);
        let (go, task) = begun(&one).await;
        other.invalidate("k").await;
        go.send(()).unwrap();
        task.await.unwrap();
        assert_eq!(one.get("k").await, None);
        assert_eq!(other.get("k").await, None);
    }

    #[tokio::test]
    async fn a_load_outlives_its_callers() {
        for second in [None, memory()] {
            let cache = TieredCache::new(&settings(), second);
            let (go, caller) = begun(&cache).await;
            caller.abort();
            let waiter = |cache: TieredCache| async move { load(&cache, "k", "new").await };
            // More callers than moka forgives to go away from loads of its own.
            for callers in 1..=300 {
                let gone = tokio::spawn(waiter(cache.clone()));
                let missed = async {
                    while cache.shared.counters.l1.misses.get() <= callers {
                        yield_now().await;
                    }
                };
                let missed = timeout(5000 * MS, missed).await;
                missed.expect("the load has ended with its caller");
                gone.abort();
            }
            let patient = tokio::spawn(waiter(cache.clone()));
            yield_now().await;
            go.send(()).unwrap();
            assert_eq!(patient.await.unwrap(), from(Tier::Loader, "old"));
            assert_eq!(cache.get("k").await, Some(from(Tier::L1, "old")));
            let stats = cache.stats().await;
            assert_eq!((stats.loads, stats.coalesced), (1, 1));
            assert!(cache.shared.in_flight.is_empty());
        }
    }

    #[tokio::test]
    async fn a_loader_that_panics_is_everybodys_error_and_the_next_one_tries_again() {
        for second in [None, memory()] {
            let cache = TieredCache::new(&settings(), second);
            let mut tasks = JoinSet::new();
            for _ in 0..8 {
                tasks.spawn(load_slowly(cache.clone(), || {
                    panic!("in a loader, for a test")
                }));
            }
            for answer in tasks.join_all().await {
                let broken_off =
                    matches!(&answer, Err(CacheError::BrokenOff { key }) if &**key == "k");
                assert!(broken_off, "{answer:?}");
            }
            let stats = cache.stats().await;
            assert_eq!((stats.loads, stats.load_failures), (0, 1));
            assert!(cache.shared.in_flight.is_empty());
            let next = timeout(5000 * MS, load(&cache, "k", "v")).await;
            assert_eq!(next.expect("it waits"), from(Tier::Loader, "v"));
        }
    }

    /// A load of `k` that has begun and does not end.
    async fn hanging(cache: &TieredCache) -> tokio::task::JoinHandle<()> {
        let (began, beginning) = oneshot::channel();
        let cache = cache.clone();
        let task = tokio::spawn(async move {
            let loader = async move || {
                began.send(()).unwrap();
                pending::<Result<Bytes, Infallible>>().await
            };
            cache.get_or_load(Kind::Detail, "k", loader).await.unwrap();
        });
        beginning.await.unwrap();
        task
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_the_load_of_somebody_else() {
        let short = |lease_ms, lease_wait_ms| CacheSettings {
            lease_ms,
            lease_wait_ms,
            ..settings()
        };
        type Second = Option<Arc<dyn SecondTier>>;
        let check = async |settings: CacheSettings, second: Second, elsewhere: bool| {
            let one = TieredCache::new(&settings, second.clone());
            let other = match elsewhere {
                true => TieredCache::new(&settings, second),
                false => one.clone(),
            };
            hanging(&one).await.abort();
            sleep(settings.lease_ms.min(60) as u32 * MS).await;
            let loaded = timeout(5000 * MS, load(&other, "k", "v")).await;
            assert_eq!(loaded.expect("it waits"), from(Tier::Loader, "v"));
        };
        check(short(50, 30_000), None, false).await;
        check(short(50, 30_000), memory(), false).await;
        check(short(50, 30_000), memory(), true).await;
        check(short(30_000, 50), memory(), true).await;
    }

    #[tokio::test]
    async fn a_value_too_large_for_the_second_tier_stays_in_the_first() {
        let second = memory();
        let settings = CacheSettings {
            l2_max_value_bytes: 3,
            ..settings()
        };
        let cache = TieredCache::new(&settings, second.clone());
        load(&cache, "k", "large").await;
        cache
            .put(Kind::Detail, "p", Bytes::from_static(b"large"))
            .await;
        for key in ["k", "p"] {
            assert_eq!(cache.get(key).await.unwrap().1, Tier::L1);
            assert_eq!(second.as_ref().unwrap().get(key).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_full_first_tier_evicts_and_the_second_still_serves() {
        let settings = CacheSettings {
            l1_entries: 10,
            ..settings()
        };
        let cache = TieredCache::new(&settings, memory());
        for key in 0..100 {
            load(&cache, &key.to_string(), "v").await;
        }
        let stats = cache.stats().await;
        assert_eq!((stats.entries, stats.evictions), (10, 90));
        assert_eq!(
            stats.estimated_bytes,
            10 * (2 + 1 + ENTRY_OVERHEAD_BYTES) - short_keys(&cache)
        );
        for key in 0..100 {
            assert_ne!(
                load(&cache, &key.to_string(), "not asked").await.1,
                Tier::Loader
            );
        }
    }

    /// How many keys of one digit there are.
    fn short_keys(cache: &TieredCache) -> u64 {
        cache
            .shared
            .l1
            .iter()
            .filter(|(key, _)| key.len() == 1)
            .count() as u64
    }

    #[tokio::test]
    async fn the_statistics_name_the_hottest_and_the_coldest_keys() {
        let settings = CacheSettings {
            ranked_keys: 2,
            ..settings()
        };
        let cache = TieredCache::new(&settings, None);
        for (key, hits) in [("a", 3), ("b", 0), ("c", 7), ("d", 0), ("e", 1)] {
            for _ in 0..=hits {
                load(&cache, key, "v").await;
            }
        }
        let stats = cache.stats().await;
        let named = |keys: &[KeyHits]| {
            keys.iter()
                .map(|key| format!("{}{}", key.key, key.hits))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(named(&stats.hottest), "c7 a3");
        assert_eq!(named(&stats.coldest), "b0 d0");
        cache.clear().await;
        let stats = cache.stats().await;
        assert_eq!((stats.entries, stats.estimated_bytes), (0, 0));
        assert!(stats.hottest.is_empty() && stats.coldest.is_empty());
    }
}
