//! What is counted of locks.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::datalayer::latency::{Latencies, LatencySummary};

/// The figures of locks at one moment; all but `active` since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LockStats {
    /// Locks in somebody's hands here, lost ones included until their holders let go.
    pub active: u64,
    /// Locks that were given.
    pub acquired: u64,
    /// Callers that got none.
    pub failed: u64,
    /// Attempts that found the lock taken; one caller may make many.
    pub contention: u64,
    /// Extensions that succeeded.
    pub extended: u64,
    /// Locks that turned out not to be their holders' any more.
    pub lost: u64,
    /// How long callers that got a lock waited for it.
    pub wait: LatencySummary,
    /// How long locks were held, lost ones until their holders let go.
    pub hold: LatencySummary,
}

/// What [`Locks`](super::Locks) and its leases count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) active: AtomicU64,
    pub(super) acquired: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) contention: AtomicU64,
    pub(super) extended: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) wait: Latencies,
    pub(super) hold: Latencies,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> LockStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LockStats {
            active: read(&self.active),
            acquired: read(&self.acquired),
            failed: read(&self.failed),
            contention: read(&self.contention),
            extended: read(&self.extended),
            lost: read(&self.lost),
            wait: self.wait.summary(),
            hold: self.hold.summary(),
        }
    }
}
