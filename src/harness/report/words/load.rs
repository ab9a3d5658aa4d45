//! The words of a load: its phases, its errors.

use crate::harness::model::{ErrorKind, Phase};

/// A phase by its name.
pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Warmup => "warm-up",
        Phase::Measure => "measure",
        Phase::Cooldown => "cool-down",
    }
}

/// Why requests failed, for a table.
pub fn error_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Connect => "no connection",
        ErrorKind::Exhausted => "the generator's own limit",
        ErrorKind::Closed => "connection closed early",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Protocol => "not proper HTTP",
        ErrorKind::Tls => "TLS failed",
        ErrorKind::Status => "unexpected status",
        ErrorKind::Check => "check failed",
        ErrorKind::Extract => "value not found",
        ErrorKind::Template => "request not built",
        ErrorKind::Condition => "condition never met",
        ErrorKind::Cancelled => "cancelled at the end",
    }
}
