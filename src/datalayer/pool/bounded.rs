//! The pool: permits in front of sqlx's pool, and the upkeep between minimum and need.

use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use hdrhistogram::Histogram;
use tokio::runtime;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

use super::activity::Activities;
use super::database::{Database, Handle};
use super::health::Health;
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
    acquire_timeout: Duration,
}

/// What a pool, its checkouts and its upkeep share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) peer_timeout: Duration,
    pub(super) lost_peers: AtomicU64,
    pub(super) runtime: runtime::Handle,
    pub(super) activities: Activities,
    health: Health,
    settings: PoolSettings,
    // One permit a connection, taken before sqlx is asked: sqlx neither counts its waiters nor
    // tells a full pool from a database that does not answer.
    permits: Arc<Semaphore>,
    /// How many permits there are.
    size: AtomicU32,
    waiting: AtomicU32,
    /// Connections under way for which nobody waits any more.
    unawaited: AtomicU32,
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
        // One at least, so that an address which leads nowhere is an error here.
        let min = settings.min_connections.max(1);
        let shared = Arc::new(Shared {
            database: Database::open(url, &settings)?,
            peer_timeout: Duration::from_millis(settings.peer_timeout_ms),
            lost_peers: AtomicU64::new(0),
            runtime: runtime::Handle::current(),
            activities: Activities::new(Duration::from_millis(settings.slow_statement_ms)),
            health: Health::new(),
            permits: Arc::new(Semaphore::new(min as usize)),
            size: AtomicU32::new(min),
            waiting: AtomicU32::new(0),
            unawaited: AtomicU32::new(0),
            checkouts: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            wait: Latencies::new(),
            peak_active: AtomicU32::new(0),
            settings,
        });
        let patience = Duration::from_millis(shared.settings.acquire_timeout_ms);
        shared.fill(min, patience).await?;
        tokio::spawn(upkeep(Arc::downgrade(&shared)));
        tokio::spawn(check_health(Arc::downgrade(&shared)));
        tokio::spawn(tell_suspects(Arc::downgrade(&shared)));
        Ok(Self {
            shared,
            acquire_timeout: patience,
        })
    }

    /// The same pool for callers who can wait for a connection only so long, instead of
    /// `pool.acquire_timeout_ms`: else their own time would be over first, and nobody would hear of the pool.
    pub fn with_acquire_timeout(&self, acquire_timeout: Duration) -> Self {
        let shared = Arc::clone(&self.shared);
        Self {
            shared,
            acquire_timeout,
        }
    }

    /// A connection, waited for in turn where all are in use.
    ///
    /// # Errors
    /// [`PoolError::Exhausted`] when none came free within the acquire timeout, and what the
    /// database says when a new one cannot be made.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Checkout, PoolError>> + Send + '_ {
        self.acquire_for(Location::caller())
    }

    /// The same for somebody else, whose place is reported where the connection leaks.
    pub(crate) async fn acquire_for(
        &self,
        place: &'static Location<'static>,
    ) -> Result<Checkout, PoolError> {
        let shared = &self.shared;
        let started = Instant::now();
        let deadline = started + self.acquire_timeout;
        let permit = shared.permit(started, deadline).await?;
        let (handle, permit) = shared.handle(permit, started, deadline).await?;
        shared.wait.record(started.elapsed());
        shared.checkouts.fetch_add(1, Ordering::Relaxed);
        Ok(Checkout::new(handle, permit, Arc::clone(shared), place))
    }

    /// Longest time for one statement on a connection of this pool.
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.shared.settings.statement_timeout_ms)
    }

    /// Which database this pool is connected to.
    pub fn kind(&self) -> DatabaseKind {
        self.shared.database.kind()
    }

    /// Whether a connection could be had at once, or with opening one: for work that can wait until nobody
    /// else has to.
    pub fn has_room(&self) -> bool {
        let shared = &self.shared;
        let size = shared.size.load(Ordering::Relaxed);
        shared.permits.available_permits() > 0 || size < shared.settings.max_connections
    }

    /// The figures of this moment.
    pub fn stats(&self) -> PoolStats {
        let shared = &self.shared;
        let max = shared.settings.max_connections;
        let active = shared.active();
        PoolStats {
            min: shared.settings.min_connections,
            max,
            size: shared.size.load(Ordering::Relaxed),
            open: shared.database.open_connections(),
            active,
            idle: shared.database.idle_connections(),
            waiting: shared.waiting.load(Ordering::Relaxed),
            utilisation: f64::from(active) / f64::from(max),
            checkouts: shared.checkouts.load(Ordering::Relaxed),
            timeouts: shared.timeouts.load(Ordering::Relaxed),
            lost_peers: shared.lost_peers.load(Ordering::Relaxed),
            health: shared.health.now(),
            suspects: shared.activities.suspects(shared.leak(), shared.long()),
            slow_statements: shared.activities.statements().slow(),
            wait: shared.wait.summary(),
            statement: shared.activities.statements().took().summary(),
        }
    }

    /// How long successful checkouts took, in nanoseconds.
    pub fn wait_histogram(&self) -> Histogram<u64> {
        self.shared.wait.histogram()
    }

    /// How long statements took, those that failed among them, in nanoseconds.
    pub fn statement_histogram(&self) -> Histogram<u64> {
        self.shared.activities.statements().took().histogram()
    }

    /// Refuses further checkouts, waits for those that are out, and closes every connection.
    pub async fn close(&self) {
        self.shared.permits.close();
        self.shared.database.close().await;
    }
}

impl Shared {
    async fn permit(
        &self,
        started: Instant,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, PoolError> {
        let permits = Arc::clone(&self.permits);
        let permit = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Counted::enter(&self.waiting);
                timeout_at(deadline.into(), self.wait_in_turn(permits))
                    .await
                    .map_err(|_| self.none_came_free(started.elapsed()))?
                    .map_err(|_| PoolError::Closed)?
            }
        };
        self.peak_active.fetch_max(self.active(), Ordering::Relaxed);
        Ok(permit)
    }

    fn none_came_free(&self, waited: Duration) -> PoolError {
        // More connections would be free if the database gave those that were asked for.
        if self.unawaited.load(Ordering::Relaxed) > 0 {
            return PoolError::Unreachable { waited };
        }
        self.timeouts.fetch_add(1, Ordering::Relaxed);
        let max = self.settings.max_connections;
        PoolError::Exhausted { waited, max }
    }

    /// Waits for a permit. Who waits long makes one more, for whoever has waited longest.
    async fn wait_in_turn(
        &self,
        permits: Arc<Semaphore>,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let mut permit = pin!(Arc::clone(&permits).acquire_owned());
        let patience = Duration::from_millis(self.settings.grow_after_wait_ms);
        if let Ok(permit) = timeout(patience, &mut permit).await {
            return permit;
        }
        let grow = |size| (size < self.settings.max_connections).then_some(size + 1);
        let (set, fetched) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.size.fetch_update(set, fetched, grow).is_ok() {
            permits.add_permits(1);
        }
        permit.await
    }

    /// A connection for a caller that has a permit; only an unwilling database can delay it.
    async fn handle(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        started: Instant,
        deadline: Instant,
    ) -> Result<(Handle, OwnedSemaphorePermit), PoolError> {
        let mut connecting = Connecting::begin(Arc::clone(self), permit);
        match timeout_at(deadline.into(), connecting.outcome()).await {
            Ok((Ok(handle), permit)) => Ok((handle, permit)),
            Ok((Err(sqlx::Error::PoolClosed), _)) => Err(PoolError::Closed),
            Ok((Err(source), _)) => Err(PoolError::Refused { source }),
            Err(_) => Err(PoolError::Unreachable {
                waited: started.elapsed(),
            }),
        }
    }

    fn active(&self) -> u32 {
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        self.size.load(Ordering::Relaxed).saturating_sub(free)
    }

    /// Opens connections until there are `target`, as far as free permits and `patience` allow.
    async fn fill(self: &Arc<Self>, target: u32, patience: Duration) -> Result<(), PoolError> {
        let started = Instant::now();
        // sqlx opens a connection only when none is free, so the free ones are held meanwhile.
        let mut held = Vec::new();
        let mut outcome = Ok(());
        while self.database.open_connections() < target {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                break;
            };
            match self.handle(permit, started, started + patience).await {
                Ok(made) => held.push(made),
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

    /// Becomes as small as `target`, as far as what is beyond it is free.
    async fn shrink(&self, target: u32) {
        while self.size.load(Ordering::Relaxed) > target {
            let Ok(permit) = self.permits.try_acquire() else {
                return;
            };
            if self.database.open_connections() > target
                && let Some(handle) = self.database.try_acquire()
            {
                handle.close(self.peer_timeout).await;
            }
            permit.forget();
            self.size.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Tests each connection that rests, and drops those that don't answer; opens one where none does.
    /// `None` where all are in use: nobody looked.
    async fn check(self: &Arc<Self>) -> Option<Result<(), String>> {
        let mut answered = false;
        // sqlx hands out first what has rested longest, and takes back at the end.
        for _ in 0..self.database.idle_connections() {
            let Ok(_permit) = self.permits.try_acquire() else {
                // All others are in use: whoever uses them finds out.
                return answered.then_some(Ok(()));
            };
            let Some(mut handle) = self.database.try_acquire() else {
                break;
            };
            match timeout(self.peer_timeout, handle.ping()).await {
                Ok(Ok(())) => answered |= handle.give_back(self.peer_timeout).await,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a connection at rest was lost");
                    handle.close(self.peer_timeout).await;
                }
                Err(_) => {
                    handle.discard();
                    // The others may be as silent, and to wait for each of them would take many times as
                    // long; the next look finds them.
                    break;
                }
            }
        }
        if answered {
            return Some(Ok(()));
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let now = Instant::now();
        let made = self.handle(permit, now, now + self.peer_timeout).await;
        let (handle, _permit) = match made {
            Ok(made) => made,
            Err(error) => return Some(Err(error.to_string())),
        };
        // One that rested for a moment only was not tested when it was handed out.
        let answered = handle.give_back(self.peer_timeout).await;
        let silent = || "it gives no answer within pool.peer_timeout_ms".to_owned();
        Some(answered.then_some(()).ok_or_else(silent))
    }

    fn leak(&self) -> Duration {
        Duration::from_millis(self.settings.leak_after_ms)
    }

    fn long(&self) -> Duration {
        Duration::from_millis(self.settings.long_statement_ms)
    }
}

/// Every idle period: closes what nobody needed during the whole of it, down to the minimum, and
/// opens what is missing to the minimum. Ends when the pool does.
async fn upkeep(pool: Weak<Shared>) {
    let period = |settings: &PoolSettings| Duration::from_millis(settings.idle_timeout_ms);
    every(pool, period, async |shared| {
        let needed = shared.peak_active.swap(shared.active(), Ordering::Relaxed);
        // Closing the last connection of a database in memory would lose it.
        let min = shared.settings.min_connections.max(1);
        shared.shrink(min.max(needed)).await;
        // Meanwhile the free connections are withheld from callers, who can do with what there is.
        let filled = shared.fill(shared.settings.min_connections, UPKEEP_PATIENCE);
        if let Err(error) = filled.await {
            tracing::warn!(%error, "the pool's minimum of connections could not be opened");
        }
    })
    .await;
}

/// Looks now and then whether the database answers. What was lost meanwhile is opened by whoever needs it.
async fn check_health(pool: Weak<Shared>) {
    let period = |settings: &PoolSettings| Duration::from_millis(settings.health_check_ms);
    every(pool, period, async |shared| {
        if let Some(outcome) = shared.check().await {
            shared.health.found(outcome);
        }
    })
    .await;
}

/// Tells the log who holds a connection without using it, and which statements take long.
async fn tell_suspects(pool: Weak<Shared>) {
    // So that nothing is told much later than it could be.
    let period = |settings: &PoolSettings| {
        let first_ms = settings.leak_after_ms.min(settings.long_statement_ms);
        Duration::from_millis((first_ms / 2).max(1))
    };
    every(pool, period, async |shared| {
        for held in shared.activities.untold(shared.leak(), shared.long()) {
            let (place, statement) = (&held.place, held.statement.as_deref().unwrap_or("none"));
            match held.running_ms {
                Some(running_ms) => {
                    tracing::warn!(%place, statement, running_ms, "a statement takes long");
                }
                None => {
                    let (held_ms, rested_ms) = (held.held_ms, held.rested_ms);
                    tracing::warn!(%place, statement, held_ms, rested_ms, "a connection is held and not used");
                }
            }
        }
    })
    .await;
}

/// Does something each period, until the pool is closed or gone.
async fn every(
    pool: Weak<Shared>,
    period: impl FnOnce(&PoolSettings) -> Duration,
    mut work: impl AsyncFnMut(&Arc<Shared>),
) {
    let Some(period) = pool.upgrade().map(|shared| period(&shared.settings)) else {
        return;
    };
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(shared) = pool.upgrade() else { return };
        if shared.permits.is_closed() {
            return;
        }
        work(&shared).await;
    }
}

/// A connection under way to a caller. One that nobody waits for any more is waited for on its own, for as
/// long as any peer is, and stays in the pool. To give it up with its caller would be cheaper, but callers who
/// begin one after another while a server stands still would leave it so many beginnings that it has no
/// time for the last ones when it goes on.
struct Connecting {
    shared: Arc<Shared>,
    /// Until it has an outcome.
    begun: Option<(
        BoxFuture<'static, Result<Handle, sqlx::Error>>,
        OwnedSemaphorePermit,
    )>,
}

impl Connecting {
    fn begin(shared: Arc<Shared>, permit: OwnedSemaphorePermit) -> Self {
        let database = shared.database.clone();
        let connecting = Box::pin(async move { database.acquire().await });
        Self {
            shared,
            begun: Some((connecting, permit)),
        }
    }

    /// What became of it, and the permit. It may be dropped, and is then gone on with.
    async fn outcome(&mut self) -> (Result<Handle, sqlx::Error>, OwnedSemaphorePermit) {
        let begun = "BUG: a connection has one outcome";
        let (connecting, _) = self.begun.as_mut().expect(begun);
        let outcome = connecting.await;
        let (_, permit) = self.begun.take().expect(begun);
        (outcome, permit)
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        let Some((connecting, permit)) = self.begun.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            let _unawaited = Counted::enter(&shared.unawaited);
            if let Ok(Ok(handle)) = timeout(shared.peer_timeout, connecting).await {
                handle.give_back(shared.peer_timeout).await;
            }
            // Only now, as with a checkout.
            drop(permit);
        });
    }
}

/// One of those that are counted there, until it is dropped.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn enter(counter: &'a AtomicU32) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
