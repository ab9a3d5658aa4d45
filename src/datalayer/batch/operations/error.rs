//! Why a run ended before its work was done.

use uuid::Uuid;

use super::super::BatchError;
use super::work::{Operation, SourceError};

/// A run did not come to its end. What is committed stays, and but for [`Self::Work`] the run can be
/// resumed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The database failed, and went on failing for as many attempts as there may be.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The work makes no statement.
    #[error("the work cannot be done: {reason}")]
    Work {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The source of the rows failed.
    #[error("the source gave no rows behind the first {from}: mend it and resume the run")]
    Source {
        /// How many rows had been taken.
        from: u64,
        /// What the source says.
        source: SourceError,
    },
    /// There is no such run.
    #[error("there is no batch run {run}")]
    Unknown {
        /// The run.
        run: Uuid,
    },
    /// Nothing is left to do.
    #[error("the batch run {run} has come to its end already")]
    Ended {
        /// The run.
        run: Uuid,
    },
    /// The run did something else before.
    #[error(
        "the batch run {run} is another work ({operation} on table {table}): resume it with that"
    )]
    OtherWork {
        /// The run.
        run: Uuid,
        /// What it does, by its name in the ledger.
        operation: String,
        /// Its table.
        table: String,
    },
    /// The run was resumed elsewhere.
    #[error("the batch run {run} was resumed by somebody else, who goes on with it")]
    TakenOver {
        /// The run.
        run: Uuid,
    },
    /// So many rows fail that the operation is wrong and not they.
    #[error(
        "{} laid {dead_letters} rows aside, which is all that batch.dead_letters_max allows; see what \
         the run's dead letters say, then resume",
        operation.name()
    )]
    DeadLetters {
        /// What the run does.
        operation: Operation,
        /// Rows laid aside.
        dead_letters: u64,
    },
}
