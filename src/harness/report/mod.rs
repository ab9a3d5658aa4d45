//! Verdict → what people and machines read: functions of values, no I/O.
//!
//! [`terminal::render`], [`json::Report`] and [`html::render`] all take one [`ReportInput`], which
//! can be put together from saved runs at any time. What CI systems read ([`ci`]) is of all scenarios of a
//! call together. The words are in one place ([`words`]) and so
//! are the numbers ([`format`](mod@format)), so that no two outputs of one verdict disagree.
//!
//! Every name and message that is shown came from a scenario, a subject or a file and is hostile:
//! [`text`] takes the control characters out, the template engine and the plots escape the rest.

pub mod format;
pub mod text;
pub mod words;
pub mod markdown;
mod input;
mod load;
pub mod history;
pub mod calibration;
pub mod terminal;
pub mod json;
pub mod renewal;
pub mod ci;
mod plots;
mod layout;
pub mod html;
pub mod site;

pub use self::input::{BaseLatency, ReportInput};
