//! Rate limits for users, tenants and endpoints, by the GCRA of the `governor` crate.
//!
//! [`Limits`] is the main type. A limit of n a minute lets n requests through at once and then one
//! more every nth of a minute. What is counted is in this process alone: of several processes
//! behind one address each has limits of its own. However many keys a hostile client makes up, no
//! more than `limit.keys_max` states of each kind are in memory.

mod bounded;
mod limiter;
mod limits;

pub use limiter::{Decision, Limiter};
pub use limits::{Dimension, LimitStats, Limits, Verdict};
