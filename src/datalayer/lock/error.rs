//! What can go wrong with a lock.

use std::sync::Arc;
use std::time::Duration;

/// Why a lock was not had, or not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Somebody else held it for as long as the caller was to wait.
    #[error("lock {name:?} was held by another for {waited:?}: try again later, or wait longer")]
    Taken {
        /// The lock.
        name: Arc<str>,
        /// How long the caller waited.
        waited: Duration,
    },
    /// Too few of the servers that keep the locks answer in time.
    #[error(
        "too few lock servers answer: {reachable} of {servers} where more than half must; see whether \
         Redis is up"
    )]
    Away {
        /// How many answer.
        reachable: usize,
        /// How many there are.
        servers: usize,
    },
    /// The lock is not the caller's any more: its lifetime is over, or the servers have forgotten it.
    /// Another may hold it already.
    #[error("lock {name:?} was lost: its holder was paused, or its servers went away; begin again")]
    Lost {
        /// The lock.
        name: Arc<str>,
    },
    /// The servers took as long to answer as the lock would have lived.
    #[error("a lock that lives for {ttl:?} is over before it is held: give it a longer lifetime")]
    TooShort {
        /// The lifetime that was asked for.
        ttl: Duration,
    },
    /// A lifetime beyond what the servers can count.
    #[error("a lock cannot live for {ttl:?}: give it a shorter lifetime")]
    TooLong {
        /// The lifetime that was asked for.
        ttl: Duration,
    },
    /// An address is not well formed, or there twice. It is not repeated: it may hold a password.
    #[error(
        "the address of a lock server was not understood, or is that of another: use redis://HOST:PORT/"
    )]
    Address,
    /// The runtime ended meanwhile.
    #[error("lock {name:?} was given up: the program ends")]
    Ended {
        /// The lock.
        name: Arc<str>,
    },
}
