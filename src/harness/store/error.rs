//! Why the history could not be used.

use sqlx::migrate::MigrateError;

use super::format::DecodeError;
use crate::harness::model::RunId;

/// Why the history could not be used. No variant holds a password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a place for a history.
    #[error("`{given}` is no place for a history; give the path of a file or a postgres:// URL")]
    Address {
        /// What was given, without what may be secret.
        given: String,
    },
    /// The folder of the file could not be made.
    #[error("the folder of the history {} can't be used: {source}", path.display())]
    Folder {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("the history can't be opened: {location}: {source}")]
    Open {
        /// Which.
        location: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The tables were made by a newer Plimsoll.
    #[error(
        "the history was made by a newer Plimsoll (its tables have version {version}): {location}; use the newer one, or another history"
    )]
    NewerDatabase {
        /// Which.
        location: String,
        /// The version of its tables.
        version: i64,
    },
    /// The tables could not be made or brought up to date.
    #[error("the tables of the history can't be brought up to date: {location}: {source}")]
    Migrate {
        /// Which.
        location: String,
        /// Why.
        source: MigrateError,
    },
    /// The database refused or failed.
    #[error("the history failed {doing}: {location}: {source}")]
    Database {
        /// Which.
        location: String,
        /// At what, such as `saving a run`.
        doing: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// The run can't be written.
    #[error("run {id} can't be saved: {source}")]
    Encode {
        /// Which.
        id: RunId,
        /// Why.
        source: DecodeError,
    },
    /// Another run has its id.
    #[error("run {id} is in the history already, with other content: {location}")]
    Taken {
        /// Which.
        id: RunId,
        /// Where.
        location: String,
    },
    /// No run has this id or prefix.
    #[error(
        "no run `{id}` in the history {location}; `plimsoll list --sessions` names the sessions, `plimsoll list --runs SESSION` the runs of one"
    )]
    NotFound {
        /// What was asked for.
        id: String,
        /// Where.
        location: String,
    },
    /// Not the beginning of an id.
    #[error("`{prefix}` is not the beginning of a run's id: hexadecimal digits and hyphens")]
    BadPrefix {
        /// What was asked for.
        prefix: String,
    },
    /// Several runs begin so.
    #[error("several runs begin with `{prefix}`: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The first few of them.
        candidates: Vec<String>,
    },
    /// A run that was found can't be read.
    #[error("run {id} in the history {location} is damaged or of another version: {source}")]
    Corrupt {
        /// Which.
        id: String,
        /// Where.
        location: String,
        /// Why.
        source: DecodeError,
    },
    /// A column of a run holds what no Plimsoll wrote.
    #[error("run {id} in the history {location} is damaged: `{value}` is no {column}")]
    CorruptColumn {
        /// Which.
        id: String,
        /// Where.
        location: String,
        /// Of what the column is.
        column: &'static str,
        /// What it holds.
        value: String,
    },
}
