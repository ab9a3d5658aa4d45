//! What the test executables share. Each one takes what it needs with `mod support;`.
#![allow(
    dead_code,
    reason = "every test executable compiles this folder and uses its own part of it"
)]

pub(crate) mod browser;
pub(crate) mod files;
pub(crate) mod git;
pub(crate) mod h2_server;
pub(crate) mod hostile;
pub(crate) mod http_servers;
pub(crate) mod loads;
pub(crate) mod project;
#[cfg(feature = "reference")]
pub(crate) mod provider;
#[cfg(feature = "reference")]
pub(crate) mod refservice;
pub(crate) mod runs;
pub(crate) mod schemas;
pub(crate) mod servers;
#[cfg(feature = "reference")]
pub(crate) mod streaming;
pub(crate) mod wait;
pub(crate) mod way;

/// What a test gives.
pub(crate) type Tested = Result<(), Box<dyn std::error::Error>>;
