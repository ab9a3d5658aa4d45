//! The pool: permits in front of sqlx's pool, and the upkeep between minimum and need.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::database::{Database, Handle};
use super::{Checkout, DatabaseKind, PoolError, PoolStats};
use crate::datalayer::config::PoolSettings;
use crate::datalayer::latency::Latencies;

/// How long the upkeep tries to open what is missing before it leaves that to the next period.
const UPKEEP_PATIENCE: Duration = Duration::from_secs(1);

/// A bounded pool of connections to PostgreSQL or SQLite. Clones share it; it closes by itself
/// when the last clone and the last [`Checkout`] are gone.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// What a pool, its checkouts and its upkeep share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) peer_timeout: Duration,
    pub(super) lost_peers: AtomicU64,
    pub(super) runtime: runtime::Handle,
    settings: PoolSettings,
    // One permit a connection, taken before sqlx is asked: sqlx neither counts its waiters nor
    // tells a full pool from a database that does not answer.
    permits: Arc<Semaphore>,
    waiting: AtomicU32,
    checkouts: AtomicU64,
    timeouts: AtomicU64,
    wait: Latencies,
    // Most permits out at once since the upkeep last looked.
    peak_active: AtomicU32,
}

impl Pool {
    /// Opens a pool and its minimum of connections. `url` is `postgres://…`, `sqlite:FILE?mode=rwc`
    /// or `sqlite::memory:`, which all connections of this pool then share.
    ///
    /// # Errors
    /// An address that is not understood, and a database that refuses or does not answer.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn connect(url: &str, settings: PoolSettings) -> Result<Self, PoolError> {
        let max = settings.max_connections;
        let shared = Arc::new(Shared {
            database: Database::open(url, &settings)?,
            peer_timeout: Duration::from_millis(settings.peer_timeout_ms),
            lost_peers: AtomicU64::new(0),
            runtime: runtime::Handle::current(),
            permits: Arc::new(Semaphore::new(max as usize)),
            waiting: AtomicU32::new(0),
            checkouts: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            wait: Latencies::new(),
            peak_active: AtomicU32::new(0),
            settings,
        });
        // One at least, so that an address which leads nowhere is an error here.
        let min = shared.settings.min_connections.max(1);
        let patience = Duration::from_millis(shared.settings.acquire_timeout_ms);
        shared.fill(min, patience).await?;
        tokio::spawn(upkeep(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// A connection, waited for in turn where all are in use.
    ///
    /// # Errors
    /// [`PoolError::Exhausted`] when none came free within the acquire timeout, and what the
    /// database says when a new one cannot be made.
    pub async fn acquire(&self) -> Result<Checkout, PoolError> {
        let shared = &self.shared;
        let started = Instant::now();
        let permit = shared.permit(started).await?;
        let deadline = started + Duration::from_millis(shared.settings.acquire_timeout_ms);
        let handle = shared.handle(started, deadline).await?;
        shared.wait.record(started.elapsed());
        shared.checkouts.fetch_add(1, Ordering::Relaxed);
        Ok(Checkout::new(handle, permit, Arc::clone(shared)))
    }

    /// Longest time for one statement on a connection of this pool.
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.shared.settings.statement_timeout_ms)
    }

    /// Which database this pool is connected to.
    pub fn kind(&self) -> DatabaseKind {
        self.shared.database.kind()
    }

    /// The figures of this moment.
    pub fn stats(&self) -> PoolStats {
        let shared = &self.shared;
        let max = shared.settings.max_connections;
        let active = shared.active();
        PoolStats {
            min: shared.settings.min_connections,
            max,
            open: shared.database.open_connections(),
            active,
            idle: shared.database.idle_connections(),
            waiting: shared.waiting.load(Ordering::Relaxed),
            utilisation: f64::from(active) / f64::from(max),
            checkouts: shared.checkouts.load(Ordering::Relaxed),
            timeouts: shared.timeouts.load(Ordering::Relaxed),
            lost_peers: shared.lost_peers.load(Ordering::Relaxed),
            wait: shared.wait.summary(),
        }
    }

    /// How long successful checkouts took, in nanoseconds.
    pub fn wait_histogram(&self) -> Histogram<u64> {
        self.shared.wait.histogram()
    }

    /// Refuses further checkouts, waits for those that are out, and closes every connection.
    pub async fn close(&self) {
        self.shared.permits.close();
        self.shared.database.close().await;
    }
}

impl Shared {
    async fn permit(&self, started: Instant) -> Result<OwnedSemaphorePermit, PoolError> {
        let permits = Arc::clone(&self.permits);
        let permit = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::enter(&self.waiting);
                let deadline = started + Duration::from_millis(self.settings.acquire_timeout_ms);
                timeout_at(deadline.into(), permits.acquire_owned())
                    .await
                    .map_err(|_| {
                        self.timeouts.fetch_add(1, Ordering::Relaxed);
                        let max = self.settings.max_connections;
                        PoolError::Exhausted {
                            waited: started.elapsed(),
                            max,
                        }
                    })?
                    .map_err(|_| PoolError::Closed)?
            }
        };
        self.peak_active.fetch_max(self.active(), Ordering::Relaxed);
        Ok(permit)
    }

    /// A connection for a caller that has a permit; only an unwilling database can delay it.
    async fn handle(&self, started: Instant, deadline: Instant) -> Result<Handle, PoolError> {
        let unreachable = || PoolError::Unreachable {
            waited: started.elapsed(),
        };
        match timeout_at(deadline.into(), self.database.acquire()).await {
            Ok(Ok(handle)) => Ok(handle),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(unreachable()),
            Ok(Err(sqlx::Error::PoolClosed)) => Err(PoolError::Closed),
            Ok(Err(source)) => Err(PoolError::Refused { source }),
        }
    }

    fn active(&self) -> u32 {
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        self.settings.max_connections.saturating_sub(free)
    }

    /// Opens connections until there are `target`, as far as free permits and `patience` allow.
    async fn fill(&self, target: u32, patience: Duration) -> Result<(), PoolError> {
        let started = Instant::now();
        // sqlx opens a connection only when none is free, so the free ones are held meanwhile.
        let mut held = Vec::new();
        let mut outcome = Ok(());
        while self.database.open_connections() < target {
            let Ok(permit) = self.permits.try_acquire() else {
                break;
            };
            match self.handle(started, started + patience).await {
                Ok(handle) => held.push((handle, permit)),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        for (handle, permit) in held {
            handle.give_back(self.peer_timeout).await;
            drop(permit);
        }
        outcome
    }

    /// Closes what is open beyond `target`, as far as it is free.
    async fn shrink(&self, target: u32) {
        while self.database.open_connections() > target {
            let Ok(_permit) = self.permits.try_acquire() else {
                return;
            };
            let Some(handle) = self.database.try_acquire() else {
                return;
            };
            handle.close(self.peer_timeout).await;
        }
    }
}

/// Every idle period: closes what nobody needed during the whole of it, down to the minimum, and
/// opens what is missing to the minimum. Ends when the pool does.
async fn upkeep(pool: Weak<Shared>) {
    let Some(period) = pool.upgrade().map(|shared| shared.settings.idle_timeout_ms) else {
        return;
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(period));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(shared) = pool.upgrade() else { return };
        if shared.permits.is_closed() {
            return;
        }
        let needed = shared.peak_active.swap(shared.active(), Ordering::Relaxed);
        // Closing the last connection of a database in memory would lose it.
        let min = shared.settings.min_connections.max(1);
        shared.shrink(min.max(needed)).await;
        // Meanwhile the free connections are withheld from callers, who can do with what there is.
        let filled = shared.fill(shared.settings.min_connections, UPKEEP_PATIENCE);
        if let Err(error) = filled.await {
            tracing::warn!(%error, "the pool's minimum of connections could not be opened");
        }
    }
}

/// One caller in the queue, also when its future is dropped there.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
