//! What is counted of live updates.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;

use crate::datalayer::latency::{Latencies, LatencySummary};

/// The figures of live updates in this process at one moment; all but the first two since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveStats {
    /// Connections.
    pub connections: usize,
    /// Rooms that somebody is in, of all tenants.
    pub rooms: usize,
    /// Updates that were published here.
    pub published: u64,
    /// Updates that were handed to connections, each as often as it was.
    pub delivered: u64,
    /// Updates that did not reach a connection because it took too long, or went away.
    pub dropped: u64,
    /// Connections that were refused because their tenant had as many as it may.
    pub refused: u64,
    /// Connections that were closed because they read too slowly.
    pub slow: u64,
    /// Times that subscribers of a tenant were told of a gap.
    pub gaps: u64,
    /// Whether the log of updates can be reached, which in this process it always can.
    pub available: bool,
    /// Times that Redis went away.
    pub outages: u64,
    /// From publishing to handing over, of the oldest update of each message, the wait for others to go
    /// with it included.
    pub latency: LatencySummary,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) published: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) slow: AtomicU64,
    pub(super) gaps: AtomicU64,
    pub(super) outages: AtomicU64,
    away: AtomicBool,
    pub(super) latency: Latencies,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Redis did not answer; several who find out at once count one outage.
    pub(super) fn failed(&self) {
        if !self.away.swap(true, Ordering::Relaxed) {
            Self::add(&self.outages, 1);
            tracing::warn!("Redis is away: live updates stay within this process");
        }
    }

    pub(super) fn answered(&self) {
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis is back for live updates");
        }
    }

    pub(super) fn stats(&self, connections: usize, rooms: usize) -> LiveStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LiveStats {
            connections,
            rooms,
            published: read(&self.published),
            delivered: read(&self.delivered),
            dropped: read(&self.dropped),
            refused: read(&self.refused),
            slow: read(&self.slow),
            gaps: read(&self.gaps),
            available: !self.away.load(Ordering::Relaxed),
            outages: read(&self.outages),
            latency: self.latency.summary(),
        }
    }
}
