//! The layer under test: cache, pool, batch and the data they stand on.
