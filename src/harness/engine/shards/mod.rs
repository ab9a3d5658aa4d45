//! A run in shards: each performed on a machine of its own, and put together afterwards.
//!
//! ```text
//! perform (machine 0 of N) ──file──▶
//! perform (machine 1 of N) ──file──▶ gather ──▶ one run
//! …
//! ```
//!
//! Nobody coordinates them. Shard i of N owns the arrivals (or users) i modulo N of every load, which it
//! can tell from the plan alone, and all begin at a time that they were given. What they must agree on is
//! in their files, and [`gather`] holds it against each other: no run is made of a part of its shards.

mod file;
mod perform;
mod check;
mod gather;

pub use self::file::{FailedWorker, MAX_SHARDS, SHARD_FORMAT, ShardFile, schema};
pub use self::gather::{GatherError, Gathered, gather};
pub use self::perform::{Assignment, loads_alone};
