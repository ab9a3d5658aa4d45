//! What other tools wrote, as runs: the format `plimsoll.runs/1`, and an adapter a foreign format.
//!
//! [`read`] takes the files of one side of a comparison and gives [`Imported`] runs with what could
//! not be used of them; [`write_runs`] writes saved runs as `plimsoll.runs/1`. A foreign format stops
//! at its adapter, and what a format doesn't say is an error with a remedy or is named as unused,
//! never guessed: a direction is never inferred from a metric's name. Files are hostile: sizes are
//! capped, and every error names its file and line. docs/INTERCHANGE.md is for users.

mod error;
mod format;
mod metric;
mod imported;
mod file;
mod read;
mod lines;
mod write;
mod table;
mod criterion;
mod hyperfine;
mod k6;
mod oha;
mod go_bench;
mod pytest_benchmark;
mod goose;

pub use self::criterion::{BenchResult, read_results};
pub use self::error::{InterchangeError, Place};
pub use self::format::Format;
pub use self::imported::{Imported, ImportedRun, Unused, notes, to_runs};
pub use self::read::{Options, read};
pub use self::write::{NotExported, write_runs};
