//! The HTTP service over the data layer: one module a resource, under `/api/v1`, beside `/metrics`,
//! `/internal/cache`, `/internal/pool`, `/live` and `/ready`.
//!
//! [`Server`] is the main type. Everything that a client sends is checked where it comes in; what
//! goes wrong inside is told to the log, and to the client only that it did.

mod settings;
mod settings_file;
mod server;
mod lock;
mod app;
mod router;
mod error;
mod params;
mod body;
mod caller;
mod admin;
mod limits;
mod security;
mod text;
mod write;
mod doubt;
mod conditional;
mod clients;
mod analytics;
mod tenants;
mod warming;
mod payments;
mod records;
mod batches;
mod notify;
mod live;
mod webhook;
mod jobs;
mod health;
mod metrics;

pub use admin::AdminToken;
pub use error::chain;
pub use payments::{ProviderSecret, SecretError};
pub use server::{Options, Server, ServerError};
pub use settings::{PaymentSettings, ServiceSettings, Settings};
pub use webhook::WebhookError;
