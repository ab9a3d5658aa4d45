//! A connection in somebody's hands.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::{PgConnection, SqliteConnection};
use tokio::sync::OwnedSemaphorePermit;

use super::activity::Activity;
use super::bounded::Shared;
use super::database::Handle;

/// A connection in somebody's hands; dropping it gives it back. A transaction of sqlx that is still
/// open is rolled back, and a broken connection is not used again. Who begins a transaction on the
/// connection by hand has to wait for the answer; [`in_transaction`](crate::datalayer::batch::in_transaction)
/// may be dropped at any time.
#[derive(Debug)]
pub struct Checkout {
    // Both are there until the drop takes them.
    held: Option<(Handle, OwnedSemaphorePermit)>,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    number: u64,
}

/// The connection of a [`Checkout`], as sqlx takes it.
#[derive(Debug)]
pub enum Connection<'a> {
    /// A PostgreSQL connection.
    Postgres(&'a mut PgConnection),
    /// An SQLite connection.
    Sqlite(&'a mut SqliteConnection),
}

impl Checkout {
    pub(super) fn new(
        handle: Handle,
        permit: OwnedSemaphorePermit,
        shared: Arc<Shared>,
        place: &'static Location<'static>,
    ) -> Self {
        let (number, activity) = shared.activities.begin(place);
        Self {
            held: Some((handle, permit)),
            shared,
            activity,
            number,
        }
    }

    /// What is known of its use; statements are to be counted there.
    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// The connection, to run statements on.
    pub fn connection(&mut self) -> Connection<'_> {
        self.activity.touch();
        match self
            .held
            .as_mut()
            .expect("BUG: only the drop takes the connection")
        {
            (Handle::Postgres(connection), _) => Connection::Postgres(connection),
            (Handle::Sqlite(connection), _) => Connection::Sqlite(connection),
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Some((handle, permit)) = self.held.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        shared.activities.end(self.number);
        if self.activity.is_spoilt() {
            handle.discard();
            tracing::debug!("a connection was closed whose transaction may have begun unnoticed");
            return;
        }
        // Taken out of sqlx's hands first: a runtime that is gone drops what it is given unpolled.
        let returned = handle.give_back(shared.peer_timeout);
        // On the pool's own runtime: the drop may happen on a thread that has none.
        self.shared.runtime.spawn(async move {
            if !returned.await {
                shared.lost_peers.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("a database peer did not answer; connection dropped");
            }
            // Only now: whoever gets this permit finds a free permit in sqlx's pool as well.
            drop(permit);
        });
    }
}
