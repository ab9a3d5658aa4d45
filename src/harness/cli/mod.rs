//! The commands: the only place that prints, reads the environment and exits.

pub mod diagnostics;
