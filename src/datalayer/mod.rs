//! The layer under test: cache, pool, batch and the data they stand on.
//!
//! Everything here takes its figures from [`config::Settings`]; a lifetime, a size or a threshold
//! is a default there and a literal nowhere.

mod link;
pub mod cache;
pub mod config;
pub mod latency;
pub mod breaker;
pub mod limit;
pub mod pool;
pub mod lock;
pub mod live;
pub mod batch;
pub mod dataset;
pub mod jobs;
