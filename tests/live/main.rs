//! Live updates (LV1): the hub by itself, embedded and on Redis; then the service over real WebSockets, alone
//! and as several processes on one Redis, also while those break.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod fixture;
mod hub;
mod outages;
mod service;
mod sockets;
mod processes;

use std::time::Duration;

/// Longest wait for anything that should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);
