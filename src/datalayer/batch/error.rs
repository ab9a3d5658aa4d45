//! What can go wrong in a batch operation.

use crate::datalayer::pool::PoolError;

/// An operation on many rows failed; which rows are in the database is said by the operation.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// No connection could be had.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The database refused or went away.
    #[error("could not {action} table {table}")]
    Database {
        /// What was being done, as a verb.
        action: &'static str,
        /// The table.
        table: &'static str,
        /// What the driver says; may name internals, so it belongs in the log.
        source: sqlx::Error,
    },
    /// The database did not answer within `pool.statement_timeout_ms`.
    #[error(
        "could not {action} table {table}: the database gave no answer for {waited_ms} ms; mend it, or \
         raise pool.statement_timeout_ms"
    )]
    Silent {
        /// What was being done, as a verb.
        action: &'static str,
        /// The table.
        table: &'static str,
        /// How long the statement was given.
        waited_ms: u64,
    },
    /// A transaction was not committed, since a statement of it had failed.
    #[error(
        "could not {action} table {table}: a statement of the transaction failed before, so that all of \
         it was undone"
    )]
    Undone {
        /// What was being done, as a verb.
        action: &'static str,
        /// The table.
        table: &'static str,
    },
    /// A row does not have the columns or the kinds of values that the insert names.
    #[error("row {row} of the batch does not fit the columns of table {table}")]
    RowShape {
        /// The table.
        table: &'static str,
        /// Its place in the batch, from 0.
        row: usize,
    },
    /// A stream ended before its rows did.
    #[error(
        "the stream of table {table} was cut off: its consumer took nothing for longer than \
         batch.consumer_limit_ms, or its reader broke off, of which the log says why"
    )]
    Cut {
        /// The table.
        table: &'static str,
    },
    /// A load was told to stop before its rows were all in.
    #[error("the load into table {table} was stopped")]
    Stopped {
        /// The table.
        table: &'static str,
    },
    /// Memory stayed above the pause line for as long as the operation may wait.
    #[error(
        "the process uses {resident_bytes} bytes and stayed above {pause_bytes} for {waited_ms} ms; \
         raise batch.memory_ceiling_bytes or run fewer operations at once"
    )]
    MemoryCeiling {
        /// What the process uses.
        resident_bytes: u64,
        /// Above this nothing new is begun.
        pause_bytes: u64,
        /// How long the operation waited.
        waited_ms: u64,
    },
}

impl BatchError {
    /// Whether what was asked for may have been done all the same, or may still be: the database was told,
    /// and its answer did not come.
    pub fn is_in_doubt(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Database { source, .. } => is_lost(source),
            _ => false,
        }
    }
}

/// Whether the connection failed rather than the statement.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // Class 57 is "operator intervention", 08 "connection exception" (PostgreSQL manual,
        // appendix A).
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("57P") || code.starts_with("08") || has_ended_session(&code)
        }),
        _ => false,
    }
}

/// Whether PostgreSQL says with this SQLSTATE that it ended the session, because the transaction rested
/// (25P03) or took (25P04) too long.
pub(super) fn has_ended_session(code: &str) -> bool {
    matches!(code, "25P03" | "25P04")
}
