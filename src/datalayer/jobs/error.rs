//! What can go wrong with jobs.

use crate::datalayer::batch::BatchError;

/// A job could not be taken in, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The database refused or went away.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// There is no room for one more.
    #[error(
        "queue {queue} is full: {open_max} jobs wait or run already; wait for some to end, or raise \
         jobs.open_max"
    )]
    Full {
        /// The queue.
        queue: &'static str,
        /// Most jobs that may wait or run in it.
        open_max: u64,
    },
    /// There is none for this caller.
    #[error(
        "{per_caller_max} jobs of one caller wait or run in queue {queue} already; wait for some to end, or \
         raise jobs.open_per_caller_max"
    )]
    CallerFull {
        /// The queue.
        queue: &'static str,
        /// Most jobs of one caller that may wait or run in it.
        per_caller_max: u64,
    },
    /// A row holds what this version does not write.
    #[error(
        "table {table} has a row that this version cannot read: another version wrote it, or somebody changed it"
    )]
    Row {
        /// The table.
        table: &'static str,
    },
}
