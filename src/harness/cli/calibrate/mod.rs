//! `plimsoll calibrate`: runs of one build against each other, for the noise that gates have to reckon with.

mod sittings;
mod margins;
mod command;

pub(super) use self::command::run;
