//! Lengths of time as integers.

use std::time::Duration;

/// A length in ns; the largest number for one that is longer.
pub(super) fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}
