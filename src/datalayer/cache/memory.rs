//! The embedded second tier: larger than the first, in the same process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;
use moka::notification::RemovalCause;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast};

use super::Scope;
use super::hearing::{Heard, Subscription};
use super::register::Register;
use super::second::{Claim, SecondTier, Stored, TierError, Usage};
use super::stats::Counter;
use super::tags::{Marks, TagIndex};
use crate::datalayer::config::CacheSettings;

/// A second tier in memory, for a service that runs by itself. Several caches may share one.
#[derive(Debug)]
pub struct MemoryTier {
    values: Cache<String, Value>,
    // Held over every change, which makes each call one step as seen from the others.
    leases: Mutex<HashMap<String, Lease>>,
    tags: TagIndex,
    changes: broadcast::Sender<Change>,
    evictions: Arc<Counter>,
}

/// Who has changed what.
#[derive(Debug, Clone)]
struct Change {
    by: Arc<str>,
    scopes: Vec<Scope>,
}

/// What others than `name` change.
#[derive(Debug)]
struct MemorySubscription {
    changes: broadcast::Receiver<Change>,
    name: String,
}

#[derive(Debug, Clone)]
struct Value {
    bytes: Bytes,
    ttl: Duration,
    stored_at: Instant,
    tagged: Tagged,
}

/// The tags of a value, by their names and by their flags.
#[derive(Debug, Clone, Default)]
struct Tagged {
    names: Arc<[Arc<str>]>,
    marks: Marks,
}

#[derive(Debug)]
struct Lease {
    token: String,
    ends_at: Instant,
    tagged: Tagged,
}

/// Every write starts a lifetime of its own.
struct PerValue;

impl MemoryTier {
    /// An empty tier.
    pub fn new(settings: &CacheSettings) -> Self {
        let evictions = Arc::<Counter>::default();
        let counted = Arc::clone(&evictions);
        let values = Cache::builder()
            .max_capacity(settings.l2_memory_bytes)
            .weigher(|key: &String, value: &Value| {
                u32::try_from(key.len() + value.bytes.len()).unwrap_or(u32::MAX)
            })
            .expire_after(PerValue)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counted.add_one();
                }
            });
        Self {
            values: values.build(),
            leases: Mutex::default(),
            tags: TagIndex::default(),
            changes: broadcast::Sender::new(settings.l1_news_max),
            evictions,
        }
    }

    async fn look_up(&self, key: &str) -> Option<Stored> {
        let value = self.values.get(key).await?;
        if value.tagged.marks.are_void() {
            return None;
        }
        let ttl = value.ttl.saturating_sub(value.stored_at.elapsed());
        Some(Stored {
            value: value.bytes,
            ttl,
            tags: value.tagged.names.to_vec(),
        })
    }

    fn tag(&self, names: &[Arc<str>]) -> Tagged {
        Tagged {
            names: names.into(),
            marks: self.tags.mark(names),
        }
    }

    async fn store(&self, key: &str, value: &Bytes, ttl: Duration, tagged: Tagged) {
        let value = Value {
            bytes: value.clone(),
            ttl,
            stored_at: Instant::now(),
            tagged,
        };
        self.values.insert(key.to_owned(), value).await;
    }

    /// Removes what one scope is about; the lease of every key of it is void.
    async fn remove(&self, leases: &mut HashMap<String, Lease>, scope: &Scope) {
        if let Some(key) = scope.key() {
            leases.remove(key);
            self.values.invalidate(key).await;
        }
        if let Some(tag) = scope.tag() {
            self.tags.void(&tag);
            leases.retain(|_, lease| !lease.tagged.marks.are_void());
        }
        match scope {
            Scope::All => {
                leases.clear();
                self.values.invalidate_all();
            }
            Scope::Pattern(pattern) => {
                leases.retain(|key, _| !pattern.matches(key));
                for (key, _) in &self.values {
                    if pattern.matches(&key) {
                        self.values.invalidate(&*key).await;
                    }
                }
            }
            Scope::Key(_) | Scope::Tag(_) | Scope::Family(_) => {}
        }
    }

    /// Nobody may be there to hear it.
    fn tell(&self, by: &str, scopes: Vec<Scope>) {
        let by = by.into();
        let _ = self.changes.send(Change { by, scopes });
    }
}

#[async_trait]
impl SecondTier for MemoryTier {
    async fn get(&self, key: &str) -> Result<Option<Stored>, TierError> {
        Ok(self.look_up(key).await)
    }

    async fn claim_beyond(
        &self,
        key: &str,
        token: &str,
        lease: Duration,
        tags: &[Arc<str>],
        at_least: Duration,
    ) -> Result<Claim, TierError> {
        let mut leases = self.leases.lock().await;
        let stored = self.look_up(key).await;
        if let Some(stored) = stored.filter(|stored| stored.ttl >= at_least) {
            return Ok(Claim::Found(stored));
        }
        let now = Instant::now();
        if leases.get(key).is_some_and(|lease| now < lease.ends_at) {
            return Ok(Claim::Busy);
        }
        let lease = Lease {
            token: token.to_owned(),
            ends_at: now + lease,
            tagged: self.tag(tags),
        };
        leases.insert(key.to_owned(), lease);
        Ok(Claim::Leased)
    }

    async fn publish(
        &self,
        key: &str,
        token: &str,
        value: &Bytes,
        ttl: Duration,
    ) -> Result<bool, TierError> {
        let mut leases = self.leases.lock().await;
        let now = Instant::now();
        if !leases
            .get(key)
            .is_some_and(|lease| lease.token == token && now < lease.ends_at)
        {
            return Ok(false);
        }
        let tagged = leases.remove(key).map(|lease| lease.tagged);
        let tagged = tagged.unwrap_or_default();
        self.store(key, value, ttl, tagged).await;
        Ok(true)
    }

    async fn release(&self, key: &str, token: &str) -> Result<(), TierError> {
        let mut leases = self.leases.lock().await;
        if leases.get(key).is_some_and(|lease| lease.token == token) {
            leases.remove(key);
        }
        Ok(())
    }

    async fn put(
        &self,
        by: &str,
        key: &str,
        value: &Bytes,
        ttl: Duration,
        tags: &[Arc<str>],
    ) -> Result<(), TierError> {
        let mut leases = self.leases.lock().await;
        leases.remove(key);
        self.store(key, value, ttl, self.tag(tags)).await;
        self.tell(by, vec![Scope::Key(key.to_owned())]);
        Ok(())
    }

    async fn invalidate(&self, by: &str, scopes: &[Scope]) -> Result<(), TierError> {
        let mut leases = self.leases.lock().await;
        for scope in scopes {
            self.remove(&mut leases, scope).await;
        }
        self.tell(by, scopes.to_vec());
        Ok(())
    }

    async fn usage(&self) -> Result<Usage, TierError> {
        // moka counts when it gets round to it.
        self.values.run_pending_tasks().await;
        Ok(Usage {
            entries: self.values.entry_count(),
            bytes: self.values.weighted_size(),
            evictions: self.evictions.get(),
        })
    }

    fn subscribe(&self, name: &str) -> Box<dyn Subscription> {
        Box::new(MemorySubscription {
            changes: self.changes.subscribe(),
            name: name.to_owned(),
        })
    }

    fn register(&self) -> Option<&dyn Register> {
        None
    }
}

#[async_trait]
impl Subscription for MemorySubscription {
    async fn next(&mut self) -> Result<Heard, TierError> {
        loop {
            match self.changes.recv().await {
                Ok(change) if *change.by == *self.name => {}
                Ok(change) => return Ok(Heard::Change(change.scopes)),
                Err(RecvError::Lagged(_)) => return Ok(Heard::Gap),
                Err(RecvError::Closed) => {
                    let reason = "its users have gone".to_owned();
                    return Err(TierError::Away { reason });
                }
            }
        }
    }
}

impl Expiry<String, Value> for PerValue {
    fn expire_after_create(&self, _: &String, value: &Value, _: Instant) -> Option<Duration> {
        Some(value.ttl)
    }

    fn expire_after_update(
        &self,
        _: &String,
        value: &Value,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.ttl)
    }
}
