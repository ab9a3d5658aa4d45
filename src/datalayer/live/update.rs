//! One update, and where it stands among the others of its tenant.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A place in a tenant's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Which log: a new one begins whenever the one before was lost.
    pub epoch: String,
    /// The number of the last update before this place; 0 is the beginning.
    pub seq: u64,
}

/// What a log holds under one number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) id: Uuid,
    /// When it was published, since 1970; another process compares it with its own clock.
    pub(super) at_ns: u64,
    /// Nothing in the mark of a gap: updates were lost here.
    pub(super) change: Option<Change>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) room: String,
    /// A JSON text.
    pub(super) data: String,
}

/// A body on its way into a tenant's log.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) tenant: String,
    pub(super) body: Body,
}

/// A body with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) body: Body,
}

/// A change on its way to subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    /// None for what was delivered past the log.
    pub(super) seq: Option<u64>,
    pub(super) at_ns: u64,
    pub(super) change: Change,
}

impl Body {
    pub(super) fn new(change: Option<Change>) -> Self {
        Self {
            id: Uuid::now_v7(),
            at_ns: now_ns(),
            change,
        }
    }
}

impl Update {
    /// Whether it comes after the number `floor`.
    pub(super) fn is_above(&self, floor: u64) -> bool {
        self.seq.is_none_or(|seq| seq > floor)
    }
}

/// The time since 1970.
pub(super) fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// How long ago that was; nothing where the clock of whoever said it is ahead.
pub(super) fn since(at_ns: u64) -> Duration {
    Duration::from_nanos(now_ns().saturating_sub(at_ns))
}
