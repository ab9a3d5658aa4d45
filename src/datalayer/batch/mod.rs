//! Many rows at a time, in memory that does not grow with their number: [`Loader`] takes them in,
//! [`stream_batches`] gives them out, [`Listing`] gives them out page by page, and [`operations`]
//! change them.
//!
//! A [`Table`] and its [`Row`]s are plain values here, the same for PostgreSQL and SQLite, so that
//! what is above this module is written once.

mod table;
mod error;
mod memory;
mod size;
mod pace;
mod rows;
mod transaction;
mod insert;
mod load;
mod stream;
mod cursor;
mod page;
pub mod operations;

pub use error::BatchError;
pub(crate) use error::is_lost;
pub use insert::insert;
pub use load::{Brake, Loaded, Loader, Tally};
pub use memory::{MemorySource, ProcessMemory};
pub use page::{Listing, Page, PageError, PageQuery};
pub use rows::fetch_rows;
pub use size::{AdaptiveSize, Next};
pub use stream::{Select, stream_batches};
pub use table::{Column, Kind, Row, Table, Value, name_list};
pub use transaction::{Transaction, in_transaction};
