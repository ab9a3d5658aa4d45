//! A bounded pool of database connections over sqlx, for PostgreSQL and SQLite.
//!
//! [`Pool`] keeps to three promises that sqlx's own pool leaves open: whoever finds it exhausted
//! hears so, typed, within the acquire timeout; how many wait is known; and a peer that dies
//! takes no permit with it, however silently it died.

mod bounded;
mod checkout;
mod database;
mod error;
mod stats;

pub use bounded::Pool;
pub use checkout::{Checkout, Connection};
pub use database::{DatabaseKind, sqlite_file};
pub use error::PoolError;
pub use stats::PoolStats;
