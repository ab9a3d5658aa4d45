//! The pool's figures at one moment.

use serde::Serialize;

use super::activity::Held;
use super::health::PoolHealth;
use crate::datalayer::latency::LatencySummary;

/// The pool's figures at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolStats {
    /// Connections kept open at least.
    pub min: u32,
    /// Most connections at once.
    pub max: u32,
    /// Most connections at present: between the two, as callers' waiting makes it.
    pub size: u32,
    /// Connections open now.
    pub open: u32,
    /// Connections in somebody's hands, being opened for somebody, or on their way back.
    pub active: u32,
    /// Connections open and free.
    pub idle: u32,
    /// Callers that wait because all connections are in use.
    pub waiting: u32,
    /// `active / max`, from 0 to 1: `max` is what the pool may grow to.
    pub utilisation: f64,
    /// Checkouts that succeeded.
    pub checkouts: u64,
    /// Checkouts that ended as [`PoolError::Exhausted`](super::PoolError::Exhausted).
    pub timeouts: u64,
    /// Connections dropped because their peer did not answer when they came back.
    pub lost_peers: u64,
    /// Whether the database answers.
    pub health: PoolHealth,
    /// Connections out that nobody has used for `pool.leak_after_ms`, and those that have run one statement
    /// for `pool.long_statement_ms`; longest first.
    pub suspects: Vec<Held>,
    /// Statements that took longer than `pool.slow_statement_ms`.
    pub slow_statements: u64,
    /// How long successful checkouts took.
    pub wait: LatencySummary,
    /// How long statements took, those that failed among them; of one whose rows are read little by little,
    /// each piece.
    pub statement: LatencySummary,
}
