//! The hub: from whoever publishes to whoever is connected.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::bus::{Bus, Event, LiveError, Replay};
use super::memory::MemoryBus;
use super::publisher::Publisher;
use super::redis::RedisBus;
use super::stats::{Counters, LiveStats, Part};
use super::subscription::Subscription;
use super::tenant::{Heard, Tenant};
use super::update::{Body, Change, Draft, Position};
use crate::datalayer::config::LiveSettings;

/// How often a hub that ends looks whether everything is published.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// A tenant that nobody is of, whose log is asked for where it only matters whether it answers.
const NOBODY: &str = "";

/// Live updates of one process. Dropping it ends them.
pub struct Hub {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 3],
}

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The tenant has as many as it may.
    #[error("the tenant has as many connections as it may: close one first")]
    Full,
    /// The hub closes.
    #[error("the service is about to stop: connect again")]
    Closing,
}

/// What a hub shares with its tasks and subscriptions.
pub(super) struct Shared {
    pub(super) settings: Arc<LiveSettings>,
    pub(super) bus: Box<dyn Bus>,
    pub(super) counters: Arc<Counters>,
    tenants: Mutex<HashMap<String, Arc<Tenant>>>,
    /// Tenants whose subscribers elsewhere missed something and have not been told.
    owed: Mutex<BTreeSet<String>>,
    /// Rung for the publisher when it owes more.
    pub(super) owing: Notify,
    last_calls: mpsc::Sender<oneshot::Sender<()>>,
    queue: mpsc::Sender<Draft>,
    queued: AtomicU64,
    pub(super) carried: AtomicU64,
    /// How many connections there are; they are counted until they have ended.
    pub(super) connections: watch::Sender<usize>,
    closing: watch::Sender<bool>,
    next_id: AtomicU64,
}

impl Hub {
    /// A hub whose updates stay in this process.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn in_process(settings: &LiveSettings) -> Self {
        let settings = Arc::new(settings.clone());
        let (events, heard) = mpsc::channel(settings.publish_queue_updates);
        let bus = Box::new(MemoryBus::new(settings.history_updates, events));
        Self::new(bus, heard, settings, Arc::default())
    }

    /// A hub that shares its updates with all that use the same Redis and key prefix. It may start before
    /// Redis does.
    ///
    /// # Errors
    /// [`LiveError::Address`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn redis(url: &str, settings: &LiveSettings) -> Result<Self, LiveError> {
        let settings = Arc::new(settings.clone());
        let counters = Arc::default();
        let (events, heard) = mpsc::channel(settings.publish_queue_updates);
        let bus = Box::new(RedisBus::new(url, &settings, events, &counters)?);
        Ok(Self::new(bus, heard, settings, counters))
    }

    fn new(
        bus: Box<dyn Bus>,
        heard: mpsc::Receiver<Event>,
        settings: Arc<LiveSettings>,
        counters: Arc<Counters>,
    ) -> Self {
        let (queue, queued) = mpsc::channel(settings.publish_queue_updates);
        let (last_calls, called) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            settings,
            bus,
            counters,
            tenants: Mutex::default(),
            owed: Mutex::default(),
            owing: Notify::new(),
            last_calls,
            queue,
            queued: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            connections: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            next_id: AtomicU64::new(0),
        });
        let publisher = Publisher::new(Arc::clone(&shared), queued, called);
        let tasks = [
            tokio::spawn(publisher.run()),
            tokio::spawn(listen(Arc::clone(&shared), heard)),
            tokio::spawn(check(Arc::clone(&shared))),
        ];
        Self { shared, tasks }
    }

    /// Tells everybody in a room of a tenant, in all processes. Never waits.
    pub fn publish(&self, tenant: &str, room: &str, data: &serde_json::Value) {
        Counters::add(&self.shared.counters.published, 1);
        let change = Change {
            room: room.to_owned(),
            data: data.to_string(),
        };
        let draft = Draft {
            tenant: tenant.to_owned(),
            body: Body::new(Some(change)),
        };
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = self.shared.queue.try_send(draft) {
            self.shared.deliver_past_the_log(vec![refused.into_inner()]);
            self.shared.carried.fetch_add(1, Ordering::Relaxed);
            self.shared.owing.notify_one();
        }
    }

    /// A connection of a tenant, in no room as yet.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn connect(&self, tenant: &str) -> Result<Subscription, Refused> {
        let shared = &self.shared;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut tenants = shared.lock_tenants();
        // Under the lock under which all are closed.
        if *shared.closing.borrow() {
            return Err(Refused::Closing);
        }
        let new = || Arc::new(Tenant::new(tenant, &shared.settings, &shared.counters));
        let tenant = tenants.entry(tenant.to_owned()).or_insert_with(new);
        let connected = tenant.lock().connect(id, &shared.settings);
        let Some((queue, ending)) = connected else {
            Counters::add(&shared.counters.refused, 1);
            return Err(Refused::Full);
        };
        shared.connections.send_modify(|count| *count += 1);
        let (shared, tenant) = (Arc::clone(shared), Arc::clone(tenant));
        Ok(Subscription::new(shared, tenant, id, queue, ending))
    }

    /// Lets nobody in any more and ends every subscription.
    pub fn close(&self) {
        let tenants = self.shared.lock_tenants();
        self.shared.closing.send_replace(true);
        for tenant in tenants.values() {
            tenant.lock().close();
        }
    }

    /// Waits until there is no connection any more, and everything that was published has been told. Whoever
    /// elsewhere missed something is told of that now, if Redis is there: nobody else knows of it.
    pub async fn drained(&self) {
        let mut connections = self.shared.connections.subscribe();
        // The sender is in `shared`.
        let _ = connections.wait_for(|count| *count == 0).await;
        let queued = self.shared.queued.load(Ordering::Relaxed);
        while self.shared.carried.load(Ordering::Relaxed) < queued {
            sleep(DRAIN_POLL).await;
        }
        let (call, tried) = oneshot::channel();
        // Both fail only without the publisher, who ends with the hub.
        let _ = self.shared.last_calls.send(call).await;
        let _ = tried.await;
    }

    /// The figures at this moment.
    pub fn stats(&self) -> LiveStats {
        let tenants = self.shared.all_tenants();
        let rooms = tenants.iter().map(|tenant| tenant.lock().rooms()).sum();
        let connections = *self.shared.connections.borrow();
        self.shared.counters.stats(connections, rooms)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.lock_tenants().get(name).map(Arc::clone)
    }

    /// Ends a connection, and with the last one the tenant.
    pub(super) fn disconnect(&self, tenant: &Arc<Tenant>, id: u64) {
        let mut tenants = self.lock_tenants();
        let last = tenant.lock().disconnect(id);
        let current = tenants.get(&tenant.name);
        if last && current.is_some_and(|current| Arc::ptr_eq(current, tenant)) {
            tenants.remove(&tenant.name);
        }
        drop(tenants);
        self.connections.send_modify(|count| *count -= 1);
    }

    fn all_tenants(&self) -> Vec<Arc<Tenant>> {
        self.lock_tenants().values().map(Arc::clone).collect()
    }

    fn lock_tenants(&self) -> MutexGuard<'_, HashMap<String, Arc<Tenant>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_owed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the log for what a tenant has not heard of; whether it answered.
    async fn catch_up(&self, tenant: &Arc<Tenant>) -> bool {
        let seen = tenant.lock().seen();
        let replay = self.since(&tenant.name, seen.as_ref()).await;
        let answered = replay.is_some();
        if let Some(replay) = replay {
            tenant.catch_up(seen.as_ref(), replay);
        }
        answered
    }

    /// What a log says that came after a place, if it answers.
    pub(super) async fn since(&self, tenant: &str, after: Option<&Position>) -> Option<Replay> {
        match self.bus.since(tenant, after).await {
            Ok(replay) => {
                self.counters.answered(Part::Log);
                Some(replay)
            }
            Err(error) => {
                tracing::debug!(%error, "the log of live updates was not read");
                self.counters.failed(Part::Log);
                None
            }
        }
    }
}

/// Gives what the bus says to the tenants that are here.
async fn listen(shared: Arc<Shared>, mut heard: mpsc::Receiver<Event>) {
    while let Some(event) = heard.recv().await {
        let Some(tenant) = shared.tenant(&event.tenant) else {
            continue;
        };
        if tenant.hear(event) == Heard::Early {
            // Where the log does not answer, the next check asks it again.
            shared.catch_up(&tenant).await;
        }
    }
}

/// Looks from time to time, and after each interruption, for what did not come by itself.
async fn check(shared: Arc<Shared>) {
    let mut period = interval(Duration::from_millis(shared.settings.check_ms));
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = period.tick() => {}
            () = shared.bus.interrupted() => {}
        }
        let tenants = shared.all_tenants();
        if tenants.is_empty() && shared.counters.is_away(Part::Log) {
            // Whoever found it away has gone, and nobody else would find it back.
            shared.since(NOBODY, None).await;
        }
        for tenant in tenants {
            // Nobody waits for each of many tenants in turn.
            if !shared.catch_up(&tenant).await {
                break;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::sync::atomic::AtomicBool;

    use async_trait::async_trait;
    use serde_json::{Value, json};
    use tokio::time::timeout;

    use super::*;

    /// A log whose first answer to somebody who resumes is late.
    struct Late {
        log: MemoryBus,
        gate: Arc<Gate>,
    }

    #[derive(Default)]
    struct Gate {
        is_late: AtomicBool,
        asked: Notify,
        answer: Notify,
        look: Notify,
    }

    #[async_trait]
    impl Bus for Late {
        async fn publish(&self, drafts: &[Draft]) -> Result<(), LiveError> {
            self.log.publish(drafts).await
        }

        async fn since(&self, tenant: &str, after: Option<&Position>) -> Result<Replay, LiveError> {
            let found = self.log.since(tenant, after).await;
            if after.is_some() && !self.gate.is_late.swap(true, Ordering::Relaxed) {
                self.gate.asked.notify_one();
                self.gate.answer.notified().await;
            }
            found
        }

        async fn interrupted(&self) {
            self.gate.look.notified().await;
        }
    }

    #[tokio::test]
    async fn a_look_that_overtakes_who_resumes_loses_nothing() {
        let (said, mut published) = mpsc::channel(8);
        let (events, heard) = mpsc::channel(8);
        let gate = Arc::new(Gate::default());
        let bus = Late {
            log: MemoryBus::new(8, said),
            gate: Arc::clone(&gate),
        };
        let hub = Hub::new(Box::new(bus), heard, Arc::default(), Arc::default());
        let after = hub.shared.since("t", None).await.unwrap().head;
        let mut subscription = hub.connect("t").unwrap();
        let meanwhile = async {
            gate.asked.notified().await;
            hub.publish("t", "a", &json!("between"));
            let between = published.recv().await.unwrap();
            gate.look.notify_one();
            while !hub.shared.tenant("t").unwrap().lock().is_placed() {
                tokio::task::yield_now().await;
            }
            gate.answer.notify_one();
            between
        };
        let rooms = || BTreeSet::from(["a".to_owned()]);
        let (resumed, between) = tokio::join!(subscription.resume(rooms(), &after), meanwhile);
        resumed.unwrap();
        events.send(between).await.unwrap();
        let next = timeout(Duration::from_secs(60), subscription.next()).await;
        let message: Value = serde_json::from_slice(&next.unwrap().unwrap().text).unwrap();
        assert_eq!(message["updates"][0]["data"], json!("between"), "{message}");
        assert_ne!(message["gap"], json!(true), "{message}");
        let again = timeout(Duration::from_millis(100), subscription.next()).await;
        assert!(again.is_err(), "it was told already");
    }
}
