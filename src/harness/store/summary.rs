//! What is asked of the history, and the light answers that need no payload.

use jiff::Timestamp;

use crate::harness::model::{Arm, RunId};

/// Which runs; every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The scenario's id: `name` or `name@variant`.
    pub scenario: Option<String>,
    /// The fingerprint's [`id`](crate::harness::model::Fingerprint::id).
    pub fingerprint: Option<String>,
    /// The sitting.
    pub session: Option<String>,
    /// Leaves out the heads of comparisons: proposals, of which most were never merged as they stand.
    pub without_heads: bool,
    /// Only runs that may be judged.
    pub only_valid: bool,
    /// Only runs that started then or later.
    pub since: Option<Timestamp>,
    /// The newest so many; `None` for all of them.
    pub limit: Option<u32>,
}

/// A run without what it measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its identity.
    pub id: RunId,
    /// The scenario's id.
    pub scenario: String,
    /// The sitting in which it was made.
    pub session: String,
    /// The side of a comparison for which it was made, if any.
    pub arm: Option<Arm>,
    /// The pair to which it belongs, if any, counted from 1.
    pub pair: Option<u32>,
    /// When it started.
    pub started_at: Timestamp,
    /// How long it took, in ns.
    pub duration_ns: u64,
    /// What was measured.
    pub revision: Option<String>,
    /// The machine part of its fingerprint.
    pub machine_id: String,
    /// The fingerprint's id.
    pub fingerprint_id: String,
    /// Whether it may be judged.
    pub valid: bool,
}

/// The runs of one scenario under one fingerprint in one sitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSummary {
    /// The sitting.
    pub session: String,
    /// The scenario's id.
    pub scenario: String,
    /// The fingerprint's id.
    pub fingerprint_id: String,
    /// When its first run started.
    pub first_started_at: Timestamp,
    /// When its last run started.
    pub last_started_at: Timestamp,
    /// How many runs it has.
    pub runs: u64,
    /// How many of them may be judged.
    pub valid_runs: u64,
}
