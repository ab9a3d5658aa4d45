//! The engine on real processes: supervision, and whole runs.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;
mod supervision;
mod engine;
