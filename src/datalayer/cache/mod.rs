//! A cache of two tiers in front of a loader: memory, then Redis or its embedded stand-in.
//!
//! [`TieredCache`] is the main type. Its invariants: a second tier that is slow, away or wrong never
//! fails a request; one key is loaded once at a time, in this process and across processes; a value that
//! was loaded before its key, or a tag of it, was invalidated is not kept after it. What another process
//! changes, the second tier learns at once and the first tier of this one as soon as the news arrives;
//! while none can arrive, the first tier goes on with what it has, and is emptied once they can again.

mod tiered;
pub mod warming;
mod kind;
mod scope;
mod pattern;
mod query_key;
mod error;
mod in_flight;
mod tags;
mod second;
mod guarded;
mod hearing;
mod lease;
mod attendant;
mod circuit;
mod missed;
mod register;
mod memory;
mod redis;
mod envelope;
mod scripts;
mod subscription;
mod stats;

pub use error::CacheError;
pub use hearing::{Heard, Subscription};
pub use kind::{Kind, Tier};
pub use memory::MemoryTier;
pub use pattern::Pattern;
pub use query_key::Owner;
pub use redis::RedisTier;
pub use register::{Register, Signature};
pub use scope::{Scope, Tag};
pub use second::{Claim, SecondTier, Stored, TierError, Usage};
pub use stats::{CacheStats, KeyHits, TierStats};
pub use tiered::TieredCache;
