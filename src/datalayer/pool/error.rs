//! What can go wrong with a pool. No variant carries the address: it may hold a password.

use std::time::Duration;

/// Why a pool could not be opened or gave no connection.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The address names neither of the two databases.
    #[error(
        "the database address starts with {scheme:?}: use postgres://… or sqlite:FILE?mode=rwc"
    )]
    Scheme {
        /// What stands before the first colon.
        scheme: String,
    },
    /// The address is not well formed.
    #[error("the database address was not understood: {source}")]
    Address {
        /// What sqlx says about it.
        source: sqlx::Error,
    },
    /// Every connection stayed in use for the whole acquire timeout.
    #[error(
        "all {max} connections stayed in use for {waited:?}: raise pool.max_connections, or hold \
         connections for a shorter time"
    )]
    Exhausted {
        /// How long the caller waited.
        waited: Duration,
        /// The pool's limit.
        max: u32,
    },
    /// A connection was free to be made, but the database gave none within the acquire timeout.
    #[error("the database gave no connection within {waited:?}: is it up, and does it answer?")]
    Unreachable {
        /// How long the caller waited.
        waited: Duration,
    },
    /// The database refused.
    #[error("the database refused a connection: {source}")]
    Refused {
        /// What it says.
        source: sqlx::Error,
    },
    /// The pool was closed.
    #[error("the pool is closed")]
    Closed,
}
