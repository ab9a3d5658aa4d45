//! Filling a cache ahead of its use.
//!
//! A [`Plan`] names the keys and how each is loaded; [`WarmUp`] brings them, the most urgent first and so
//! many at once. Everything goes through the cache like a reader's load: one load a key, wherever it is
//! asked for, and nothing is kept whose key or tag was invalidated meanwhile. What is there already and
//! lives for long enough is left as it is. It has an end: the last key, so many failures in a row, or
//! whoever cancels it.

mod strategy;
mod plan;
mod progress;
mod run;

pub use plan::{Item, Loaded, Plan, Priority};
pub use progress::{Progress, State};
pub use run::WarmUp;
pub use strategy::Strategy;
