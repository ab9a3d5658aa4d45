//! The cache's counters, and their figures at one moment.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Usage;
use crate::datalayer::latency::{Latencies, LatencySummary};
use serde::Serialize;

/// The cache's figures at one moment. Every read is counted once in the first tier; what misses
/// there is either counted once in the second tier or as [`coalesced`](Self::coalesced), and is a
/// load where the second tier does not have it either.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CacheStats {
    /// The first tier.
    pub l1: TierStats,
    /// The second tier; all 0 where there is none.
    pub l2: TierStats,
    /// Loads that gave a value.
    pub loads: u64,
    /// Loads that failed.
    pub load_failures: u64,
    /// How long loads took, failed ones included.
    pub load_latency: LatencySummary,
    /// Reads that waited for the load of another one in this process.
    pub coalesced: u64,
    /// Entries that left the first tier because it was full.
    pub evictions: u64,
    /// Entries that left the first tier because their time was over.
    pub expirations: u64,
    /// How often the second tier went away.
    pub l2_outages: u64,
    /// Calls that the second tier did not answer, refused, or answered with nonsense.
    pub l2_errors: u64,
    /// Calls that were spared because the second tier was away.
    pub l2_skipped: u64,
    /// Whether the second tier answered last time; `false` where there is none.
    pub l2_available: bool,
    /// How full the second tier is, a Redis as of its last beat; `None` where there is none or it does
    /// not say.
    pub l2_usage: Option<Usage>,
    /// Changes by others that the first tier heard of.
    pub heard: u64,
    /// How often the first tier was emptied because it may have missed changes by others; with a
    /// Redis also once at the start.
    pub gaps: u64,
    /// Entries in the first tier.
    pub entries: u64,
    /// What they take in memory, as an estimate: keys, values and a fixed cost an entry.
    pub estimated_bytes: u64,
    /// The keys in the first tier with the most hits, most first.
    pub hottest: Vec<KeyHits>,
    /// The keys in the first tier with the fewest hits, fewest first.
    pub coldest: Vec<KeyHits>,
}

/// The figures of one tier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TierStats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not, those of a tier that was away included.
    pub misses: u64,
    /// How long an answer took: one hit in sixteen of the first tier, any answer of the second.
    pub latency: LatencySummary,
}

/// How often a key was hit in the first tier since it came there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyHits {
    /// The key.
    pub key: String,
    /// Its hits.
    pub hits: u64,
}

impl CacheStats {
    /// All reads.
    pub fn requests(&self) -> u64 {
        self.l1.hits + self.l1.misses
    }

    /// Reads that one of the tiers answered.
    pub fn hits(&self) -> u64 {
        self.l1.hits + self.l2.hits
    }

    /// `hits / requests`, from 0 to 1; `None` before the first read.
    pub fn hit_ratio(&self) -> Option<f64> {
        (self.requests() > 0).then(|| self.hits() as f64 / self.requests() as f64)
    }
}

/// What the cache counts while it works.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) l1: TierCounters,
    pub(super) l2: TierCounters,
    pub(super) loads: Counter,
    pub(super) load_failures: Counter,
    pub(super) load_latency: Latencies,
    pub(super) coalesced: Counter,
    pub(super) evictions: Counter,
    pub(super) expirations: Counter,
    pub(super) l2_errors: Counter,
    pub(super) l2_skipped: Counter,
    pub(super) heard: Counter,
    pub(super) gaps: Counter,
}

/// What is counted in either tier.
#[derive(Debug, Default)]
pub(super) struct TierCounters {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) latency: Latencies,
}

impl TierCounters {
    pub(super) fn stats(&self) -> TierStats {
        TierStats {
            hits: self.hits.get(),
            misses: self.misses.get(),
            latency: self.latency.summary(),
        }
    }
}

/// A count that nothing else is ordered by.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
