//! Comparison and policy → verdict with reasons.
