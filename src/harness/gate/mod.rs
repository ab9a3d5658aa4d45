//! Comparison and policy → verdict with reasons.

mod verdict;

pub use self::verdict::*;
