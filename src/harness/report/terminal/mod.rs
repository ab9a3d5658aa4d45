//! The summary at the end of a command: verdict first, then reasons, then tables; and the [`Line`]s of
//! what is shown before it.
//!
//! Eighty columns are enough; with fewer, tables become lists. Nothing that came from outside
//! reaches the terminal with a control character in it.

mod summary;
mod loads;
mod history;
mod calibration;
mod sheet;
mod line;

pub use self::calibration::render_calibration;
pub use self::history::render_history;
pub use self::line::Line;
pub use self::sheet::{TerminalStyle, Tone};
pub use self::summary::render;
