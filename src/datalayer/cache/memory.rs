//! The embedded second tier: larger than the first, in the same process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;
use tokio::sync::Mutex;

use super::register::Register;
use super::second::{Claim, SecondTier, Stored, TierError};
use crate::datalayer::config::CacheSettings;

/// A second tier in memory, for a service that runs by itself. Several caches may share one.
#[derive(Debug)]
pub struct MemoryTier {
    values: Cache<String, Value>,
    // Held over every change, which makes each call one step as seen from the others.
    leases: Mutex<HashMap<String, Lease>>,
}

#[derive(Debug, Clone)]
struct Value {
    bytes: Bytes,
    ttl: Duration,
    stored_at: Instant,
}

#[derive(Debug)]
struct Lease {
    token: String,
    ends_at: Instant,
}

/// Every write starts a lifetime of its own.
struct PerValue;

impl MemoryTier {
    /// An empty tier.
    pub fn new(settings: &CacheSettings) -> Self {
        let values = Cache::builder()
            .max_capacity(settings.l2_memory_bytes)
            .weigher(|key: &String, value: &Value| {
                u32::try_from(key.len() + value.bytes.len()).unwrap_or(u32::MAX)
            })
            .expire_after(PerValue);
        Self {
            values: values.build(),
            leases: Mutex::default(),
        }
    }

    async fn look_up(&self, key: &str) -> Option<Stored> {
        let value = self.values.get(key).await?;
        let ttl = value.ttl.saturating_sub(value.stored_at.elapsed());
        Some(Stored {
            value: value.bytes,
            ttl,
        })
    }

    async fn store(&self, key: &str, value: &Bytes, ttl: Duration) {
        let value = Value {
            bytes: value.clone(),
            ttl,
            stored_at: Instant::now(),
        };
        self.values.insert(key.to_owned(), value).await;
    }
}

#[async_trait]
impl SecondTier for MemoryTier {
    async fn get(&self, key: &str) -> Result<Option<Stored>, TierError> {
        Ok(self.look_up(key).await)
    }

    async fn claim(&self, key: &str, token: &str, lease: Duration) -> Result<Claim, TierError> {
        let mut leases = self.leases.lock().await;
        if let Some(stored) = self.look_up(key).await {
            return Ok(Claim::Found(stored));
        }
        let now = Instant::now();
        if leases.get(key).is_some_and(|lease| now < lease.ends_at) {
            return Ok(Claim::Busy);
        }
        let lease = Lease {
            token: token.to_owned(),
            ends_at: now + lease,
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
        leases.remove(key);
        self.store(key, value, ttl).await;
        Ok(true)
    }

    async fn release(&self, key: &str, token: &str) -> Result<(), TierError> {
        let mut leases = self.leases.lock().await;
        if leases.get(key).is_some_and(|lease| lease.token == token) {
            leases.remove(key);
        }
        Ok(())
    }

    async fn put(&self, key: &str, value: &Bytes, ttl: Duration) -> Result<(), TierError> {
        let mut leases = self.leases.lock().await;
        leases.remove(key);
        self.store(key, value, ttl).await;
        Ok(())
    }

    async fn invalidate(&self, key: &str) -> Result<(), TierError> {
        let mut leases = self.leases.lock().await;
        leases.remove(key);
        self.values.invalidate(key).await;
        Ok(())
    }

    async fn clear(&self) -> Result<(), TierError> {
        let mut leases = self.leases.lock().await;
        leases.clear();
        self.values.invalidate_all();
        Ok(())
    }

    fn register(&self) -> Option<&dyn Register> {
        None
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
