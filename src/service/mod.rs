//! The HTTP service over the data layer: one module a resource, under `/api/v1`, beside `/metrics`,
//! `/internal/cache`, `/live` and `/ready`.
//!
//! [`Server`] is the main type. Everything that a client sends is checked where it comes in; what
//! goes wrong inside is told to the log, and to the client only that it did.

mod settings;
mod server;
mod lock;
mod app;
mod router;
mod error;
mod params;
mod text;
mod write;
mod conditional;
mod clients;
mod analytics;
mod records;
mod health;
mod metrics;

pub use error::chain;
pub use server::{Options, Server, ServerError};
pub use settings::{ServiceSettings, Settings};
