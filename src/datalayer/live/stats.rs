//! What is counted of live updates.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

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
    /// Whether the log of updates and the channel can be reached, which in this process they always can.
    pub available: bool,
    /// Times that Redis went away.
    pub outages: u64,
    /// From publishing to handing over, of the oldest update of each message, the wait for others to go
    /// with it included. What a connection gets as it comes back is not counted: how long it was away says
    /// nothing about here.
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
    /// The parts of Redis that do not answer, one bit each.
    away: AtomicU8,
    pub(super) latency: Latencies,
}

/// A part of Redis that may fail by itself, such as where only the other one is permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Log = 1,
    Channel = 2,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// A part of Redis did not answer; several who find out, and both parts together, are one outage.
    pub(super) fn failed(&self, part: Part) {
        if self.away.fetch_or(part as u8, Ordering::Relaxed) == 0 {
            Self::add(&self.outages, 1);
            tracing::warn!(?part, "Redis is away for live updates");
        }
    }

    pub(super) fn answered(&self, part: Part) {
        if self.away.fetch_and(!(part as u8), Ordering::Relaxed) == part as u8 {
            tracing::info!("Redis is back for live updates");
        }
    }

    pub(super) fn is_away(&self, part: Part) -> bool {
        self.away.load(Ordering::Relaxed) & part as u8 != 0
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
            available: self.away.load(Ordering::Relaxed) == 0,
            outages: read(&self.outages),
            latency: self.latency.summary(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_both_parts_are_back() {
        let counters = Counters::default();
        let check = |expected| {
            let stats = counters.stats(0, 0);
            assert_eq!((stats.available, stats.outages), expected);
        };
        check((true, 0));
        counters.failed(Part::Channel);
        // The log goes on answering, and the channel goes on failing.
        for _ in 0..3 {
            counters.answered(Part::Log);
            counters.failed(Part::Channel);
            check((false, 1));
        }
        counters.failed(Part::Log);
        counters.answered(Part::Channel);
        check((false, 1));
        assert!(counters.is_away(Part::Log) && !counters.is_away(Part::Channel));
        counters.answered(Part::Log);
        check((true, 1));
        counters.failed(Part::Log);
        check((false, 2));
    }
}
