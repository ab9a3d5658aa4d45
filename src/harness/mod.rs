//! The harness, in the order of the pipe. Who may look at whom is held by `tests/arrows.rs`.

pub mod model;
pub mod scenario;
pub mod scaffold;
pub mod interchange;
pub mod engine;
pub mod store;
pub mod stats;
pub mod compare;
pub mod gate;
pub mod report;
pub mod cli;
