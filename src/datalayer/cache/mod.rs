//! A cache of two tiers in front of a loader: memory, then Redis or its embedded stand-in.
//!
//! [`TieredCache`] is the main type. Its invariants: a second tier that is slow, away or wrong never
//! fails a request; one key is loaded once at a time, in this process and across processes; a value that
//! was loaded before its key was invalidated in this process is not kept after it. What another process
//! changes, the second tier learns at once and the first tier of this one by its lifetime alone.

mod tiered;
mod kind;
mod error;
mod in_flight;
mod second;
mod guarded;
mod lease;
mod attendant;
mod circuit;
mod missed;
mod register;
mod memory;
mod redis;
mod link;
mod stats;

pub use error::CacheError;
pub use kind::{Kind, Tier};
pub(super) use link::Link;
pub use memory::MemoryTier;
pub use redis::RedisTier;
pub use register::{Register, Signature};
pub use second::{Claim, SecondTier, Stored, TierError};
pub use stats::{CacheStats, KeyHits, TierStats};
pub use tiered::TieredCache;
