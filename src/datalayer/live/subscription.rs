//! One connection's part in the hub.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::hub::Shared;
use super::message::Delivery;
use super::stats::Counters;
use super::tenant::{Ending, NotFirst, Tenant};
use super::update::Position;

/// A connection to the hub; dropping it makes room for another one.
pub struct Subscription {
    shared: Arc<Shared>,
    tenant: Arc<Tenant>,
    id: u64,
    queue: mpsc::Receiver<Delivery>,
    ending: watch::Receiver<Option<Ending>>,
}

impl Subscription {
    pub(super) fn new(
        shared: Arc<Shared>,
        tenant: Arc<Tenant>,
        id: u64,
        queue: mpsc::Receiver<Delivery>,
        ending: watch::Receiver<Option<Ending>>,
    ) -> Self {
        Self {
            shared,
            tenant,
            id,
            queue,
            ending,
        }
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Joins rooms. The next message but those under way says `joined`, and the place after which everything
    /// in these rooms comes.
    pub async fn join(&self, rooms: BTreeSet<String>) {
        let is_placed = self.tenant.lock().is_placed();
        if !is_placed && let Some(replay) = self.shared.since(&self.tenant.name, None).await {
            self.tenant.lock().place(replay.head);
        }
        self.tenant
            .lock()
            .join(self.id, rooms, &self.shared.counters);
    }

    /// Joins rooms and catches up with what came in them after a place. Where that is not known any more, the
    /// message that says `joined` also says `gap`.
    ///
    /// # Errors
    /// [`NotFirst`] where this subscription is in a room already.
    pub async fn resume(&self, rooms: BTreeSet<String>, after: &Position) -> Result<(), NotFirst> {
        // From here on nothing passes it by, so that it has what comes while the log is asked.
        self.tenant.lock().hold(self.id, &rooms)?;
        let since = || self.shared.since(&self.tenant.name, Some(after));
        let mut replay = since().await;
        // Whoever came, or looked, meanwhile may have had a later answer sooner. What lies between the two is not
        // heard here any more, so the log is asked for that too.
        if let Some(found) = &replay
            && !self.tenant.lock().hears_all_after(&found.head)
        {
            replay = since().await;
        }
        let counters = &self.shared.counters;
        self.tenant.lock().release(self.id, replay, counters);
        Ok(())
    }

    /// Leaves a room. What is under way still comes.
    pub fn leave(&self, room: &str) {
        self.tenant.lock().leave(self.id, room);
    }

    /// The next message; `None` at the end, see [`Subscription::ending`].
    pub async fn next(&mut self) -> Option<Delivery> {
        self.queue.recv().await
    }

    /// Waits until the hub ends the subscription.
    pub fn ending(&self) -> impl Future<Output = Ending> + Send + use<> {
        let mut ending = self.ending.clone();
        async move {
            let ended = ending.wait_for(Option::is_some).await;
            match ended.map(|ending| *ending).ok().flatten() {
                Some(ending) => ending,
                // Only with the subscription itself.
                None => std::future::pending().await,
            }
        }
    }

    /// Counts a message as handed over to its receiver.
    pub fn handed_over(&self, delivery: &Delivery) {
        let counters = &self.shared.counters;
        Counters::add(&counters.delivered, delivery.updates);
        if let Some(age) = delivery.age() {
            counters.latency.record(age);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.disconnect(&self.tenant, self.id);
        self.queue.close();
        while let Ok(delivery) = self.queue.try_recv() {
            Counters::add(&self.shared.counters.dropped, delivery.updates);
        }
    }
}
