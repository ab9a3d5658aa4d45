//! Runs against runs → comparison.

mod comparison;

pub use self::comparison::*;
