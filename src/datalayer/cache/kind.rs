//! What is cached, and where an answer came from.

use serde::Serialize;

/// The kind of data that a value is; it decides how long the value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A page of a listing.
    List,
    /// One object.
    Detail,
    /// A user and their rights.
    User,
    /// Aggregates over many rows.
    Analytics,
    /// A dashboard.
    Dashboard,
    /// Reference data that hardly ever change.
    Reference,
    /// Everything else.
    Other,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::List,
        Self::Detail,
        Self::User,
        Self::Analytics,
        Self::Dashboard,
        Self::Reference,
        Self::Other,
    ];
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The memory of this process.
    L1,
    /// The second tier.
    L2,
    /// The loader.
    Loader,
}
