//! What a CI system reads of the verdicts of one call: functions of values, no I/O.
//!
//! All take what was [`Told`] of each scenario: [`annotations`] for the log of a step on GitHub, [`summary`]
//! for the page of its job, [`comment`] for a pull request, [`junit`] and [`sarif`] for whoever reads
//! those. The words are those of the terminal. Each reader has limits; what doesn't fit is left out
//! from the least worrying end, in whole rows, and counted.

mod told;
mod finding;
mod annotations;
mod room;
mod comment;
mod junit;
mod sarif;

pub use self::annotations::{annotations, defused, enclosed};
pub use self::comment::{COMMENT_CHARS, SUMMARY_BYTES, comment, is_comment_name, marker, summary};
pub use self::junit::junit;
pub use self::sarif::sarif;
pub use self::told::{Answer, Place, Told};
