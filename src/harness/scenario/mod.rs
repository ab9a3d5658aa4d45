//! TOML text → validated plan, or every problem with its span.

mod plan;

pub use self::plan::*;
