//! Locks within one process: the embedded stand-in for Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use uuid::Uuid;

use super::backend::{Grant, LockBackend};
use super::error::LockError;

/// Fewer locks than this are not looked through for old ones.
const SWEEP_FROM: usize = 64;

/// Locks of this process alone.
#[derive(Debug)]
pub struct ProcessLocks {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    held: HashMap<Arc<str>, Grant>,
    /// At this size the table is cleared of what nobody released in time.
    sweep_at: usize,
}

impl ProcessLocks {
    /// None is held.
    pub fn new() -> Self {
        let table = Table {
            held: HashMap::new(),
            sweep_at: SWEEP_FROM,
        };
        Self {
            table: Mutex::new(table),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ProcessLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// Doubling the size that starts the next sweep keeps its cost below that of the inserts.
    fn sweep(&mut self, now: Instant) {
        if self.held.len() >= self.sweep_at {
            self.held.retain(|_, grant| grant.until > now);
            self.sweep_at = SWEEP_FROM.max(2 * self.held.len());
        }
    }

    fn holds(&self, name: &Arc<str>, token: &[u8], now: Instant) -> bool {
        self.held
            .get(name)
            .is_some_and(|grant| grant.until > now && grant.token == token)
    }
}

#[async_trait]
impl LockBackend for ProcessLocks {
    async fn try_lock(&self, name: &Arc<str>, ttl: Duration) -> Result<Option<Grant>, LockError> {
        let now = Instant::now();
        let until = end(now, ttl)?;
        let mut table = self.lock();
        if table.held.get(name).is_some_and(|grant| grant.until > now) {
            return Ok(None);
        }
        table.sweep(now);
        let token = Uuid::new_v4().as_bytes().to_vec();
        let grant = Grant { token, until };
        table.held.insert(Arc::clone(name), grant.clone());
        Ok(Some(grant))
    }

    async fn extend(
        &self,
        name: &Arc<str>,
        token: &[u8],
        ttl: Duration,
    ) -> Result<Instant, LockError> {
        let now = Instant::now();
        let until = end(now, ttl)?;
        let mut table = self.lock();
        if !table.holds(name, token, now) {
            return Err(LockError::Lost { name: name.clone() });
        }
        if let Some(grant) = table.held.get_mut(name) {
            grant.until = until;
        }
        Ok(until)
    }

    async fn release(
        &self,
        name: &Arc<str>,
        token: &[u8],
        _ttl: Duration,
    ) -> Result<(), LockError> {
        let mut table = self.lock();
        if !table.holds(name, token, Instant::now()) {
            return Err(LockError::Lost { name: name.clone() });
        }
        table.held.remove(name);
        Ok(())
    }
}

fn end(now: Instant, ttl: Duration) -> Result<Instant, LockError> {
    if ttl.is_zero() {
        return Err(LockError::TooShort { ttl });
    }
    now.checked_add(ttl).ok_or(LockError::TooLong { ttl })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn locks_that_nobody_released_take_no_room_for_good() {
        let locks = ProcessLocks::new();
        let short = Duration::from_millis(1);
        for number in 0..SWEEP_FROM {
            let name = Arc::from(number.to_string());
            assert!(locks.try_lock(&name, short).await.unwrap().is_some());
        }
        tokio::time::sleep(5 * short).await;
        assert_eq!(locks.lock().held.len(), SWEEP_FROM);
        let name = Arc::from("next");
        assert!(locks.try_lock(&name, short).await.unwrap().is_some());
        assert_eq!(locks.lock().held.len(), 1);
    }

    #[tokio::test]
    async fn lifetimes_that_nothing_can_keep_are_refused() {
        let (locks, name) = (ProcessLocks::new(), Arc::from("a"));
        let check = async |ttl, expected| {
            assert_eq!(locks.try_lock(&name, ttl).await, Err(expected));
        };
        let (none, all) = (Duration::ZERO, Duration::MAX);
        check(none, LockError::TooShort { ttl: none }).await;
        check(all, LockError::TooLong { ttl: all }).await;
    }

    #[tokio::test]
    async fn nothing_tells_a_token() {
        let (locks, name) = (ProcessLocks::new(), Arc::from("a"));
        let grant = locks.try_lock(&name, Duration::from_secs(1)).await;
        let token = format!("{:?}", grant.as_ref().unwrap().as_ref().unwrap().token);
        let text = format!("{locks:?} {grant:?}");
        assert!(text.contains("until") && !text.contains(&token), "{text}");
    }
}
