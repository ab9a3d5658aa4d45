//! Commands that run to their end: builds and preparations.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::output::Output;
use super::protocol::{Ending, Job};
use super::supervised::Supervised;

/// What a command left running has this long to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// Why a command did not do what it should.
#[derive(Debug)]
pub(super) enum OneshotError {
    /// It could not be started.
    NotStarted(String),
    /// It ended with another status than 0.
    Failed {
        /// How.
        ending: Ending,
        /// Its last lines.
        output: String,
    },
    /// It did not end in time.
    TooLong {
        /// The time that it had.
        limit: Duration,
        /// Its last lines.
        output: String,
    },
}

/// Runs `job` to its end through `exe supervise`, and ends whatever it left running; all of it where
/// it takes longer than `limit`.
pub(super) async fn run(
    exe: &Path,
    job: &Job,
    output: Arc<Output>,
    limit: Duration,
) -> Result<(), OneshotError> {
    let supervised = Supervised::start(exe, job, Arc::clone(&output))
        .await
        .map_err(OneshotError::NotStarted)?;
    let ended = timeout(limit, supervised.sight().ending()).await;
    supervised.end(GRACE).await;
    let output = || output.last_lines();
    match ended {
        Ok((Ending::Status(0), _)) => Ok(()),
        Ok((ending, _)) => Err(OneshotError::Failed {
            ending,
            output: output(),
        }),
        Err(_) => Err(OneshotError::TooLong {
            limit,
            output: output(),
        }),
    }
}
