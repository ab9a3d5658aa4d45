//! Microbenchmarks: criterion executables, built once, invoked again and again, their samples read.
//!
//! One invocation of an executable is one replicate, because samples within one process are not
//! independent of each other. Each has a fresh `CRITERION_HOME`, so criterion compares with nothing;
//! its exit code says nothing about regressions and isn't asked. [`build`] and [`measure`] are the
//! two entries; the adapter to criterion's files is `interchange`'s.

mod error;
mod command;
mod cargo;
mod targets;
mod build;
mod invoke;

pub use self::build::{Built, Executable, build};
pub use self::error::BenchError;
pub use self::invoke::{Measured, measure};
pub use self::targets::targets;
