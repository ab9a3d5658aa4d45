//! TOML text → validated plan, or every problem with its span.

mod plan;
pub mod catalogue;
mod nearest;

pub use self::plan::*;
