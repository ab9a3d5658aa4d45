//! A bounded pool of database connections over sqlx, for PostgreSQL and SQLite.
//!
//! [`Pool`] keeps to three promises that sqlx's own pool leaves open: whoever finds it exhausted
//! hears so, typed, within the acquire timeout; how many wait is known; and a peer that dies
//! takes no permit with it, however silently it died.
//!
//! It is as large as callers' waiting makes it, between its minimum and its maximum; it tests what rests,
//! and knows who holds a connection without using it.

mod activity;
mod bounded;
mod checkout;
mod database;
mod error;
mod health;
mod stats;

pub(crate) use activity::Activity;
pub use activity::{Held, Statement};
pub use bounded::Pool;
pub use checkout::{Checkout, Connection};
pub use database::{DatabaseKind, sqlite_file};
pub use error::PoolError;
pub use health::PoolHealth;
pub use stats::PoolStats;
