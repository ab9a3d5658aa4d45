//! The processes of a scenario: built, started, watched, disturbed and ended.
//!
//! Nothing is left running, however plimsoll ends: between plimsoll and each process stands a
//! supervisor ([`supervise_main`]), which ends the process and all of its descendants when it is
//! told to or when plimsoll is gone.

mod protocol;
mod supervise;
mod tree;
mod supervised;
mod output;
mod ports;
mod fill;
mod oneshot;
mod transparent;
mod ready;
mod error;
mod processes;
mod sample;

pub use self::error::ProcessError;
pub(super) use self::output::clean;
pub use self::processes::{Exit, Processes, Root, Surroundings, build};
pub use self::protocol::Ending;
pub use self::sample::Sampler;
pub(super) use self::sample::together;
pub(super) use self::supervise::NOT_STARTED;
pub use self::supervise::supervise_main;
pub use self::transparent::spawn_under_supervisor;
