//! Plimsoll: load tests and benchmark regressions with verdicts whose error rates are known.
//!
//! Everything is one pipe of plain values, each of which can be saved, read back and continued from:
//!
//! ```text
//! scenario → plan → run → measurement → comparison → verdict → report
//! ```
//!
//! The modules of [`harness`] are that pipe, in reading order. `datalayer` and `service` (cargo
//! feature `reference`) are the reference subject; the harness never looks at them: it meets them
//! as it meets any subject, over HTTP, as a child process and through criterion's files.

pub mod harness;

#[cfg(feature = "reference")]
pub mod datalayer;
#[cfg(feature = "reference")]
pub mod service;
