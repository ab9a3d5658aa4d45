//! Asking cargo.

use std::path::Path;
use std::process::Command;

use super::BenchError;
use super::command;
use crate::harness::engine::Redactor;
use crate::harness::engine::process::{NOT_STARTED, clean};

/// What cargo says of a workspace of thousands of crates is a few megabytes.
const MAX_MESSAGES_BYTES: usize = 64 << 20;

/// Runs `cargo`, shown to people as `shown`, to its success and gives its standard output. It runs
/// under a supervisor started from `exe`, the plimsoll executable. Where it fails, its last lines are
/// part of the error, without what `redactor` knows.
pub(super) async fn run(
    exe: &Path,
    cargo: &Command,
    shown: &str,
    redactor: &Redactor,
) -> Result<Vec<u8>, BenchError> {
    let finished = command::run(exe, cargo, MAX_MESSAGES_BYTES).await;
    let finished = finished.map_err(|source| BenchError::Supervisor {
        exe: exe.to_owned(),
        source,
    })?;
    if finished.status.code() == Some(NOT_STARTED.into()) {
        return Err(BenchError::NoCargo {
            message: clean(&finished.stderr_tail, redactor),
        });
    }
    if !finished.status.success() {
        return Err(BenchError::Build {
            command: shown.to_owned(),
            status: finished.status,
            output: clean(&finished.stderr_tail, redactor),
        });
    }
    if finished.cut {
        return Err(BenchError::Messages {
            command: shown.to_owned(),
            what: format!("they are larger than {MAX_MESSAGES_BYTES} bytes"),
        });
    }
    Ok(finished.stdout)
}
