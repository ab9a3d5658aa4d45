//! Locks by name (LO1): one holder at a time, in this process or, by Redlock, in all that share their
//! Redis servers.
//!
//! [`Locks`] is the main type, a [`Lease`] what it gives. A lock is held for a lifetime and no longer, so
//! that a holder which dies keeps nobody out for good.
//!
//! What a lock is not: a proof. A holder that is paused beyond its lifetime (stopped, swapped out, cut off)
//! goes on for a moment in the belief that it holds the lock, while the next one does; Redlock gives no
//! token by which a database could tell the two apart. [`Lease::check`] and a failed extension tell the holder
//! as soon as it runs again, which may be too late for a write under way. So whatever must not happen twice
//! is kept by the database (a unique key, a version), and a lock spares work that would be in vain.

mod locks;
mod lease;
mod error;
mod backend;
mod process;
mod redlock;
mod server;
mod stats;

pub use backend::{Grant, LockBackend};
pub use error::LockError;
pub use lease::Lease;
pub use locks::Locks;
pub use process::ProcessLocks;
pub use redlock::Redlock;
pub use stats::LockStats;
