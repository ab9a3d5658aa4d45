//! `plimsoll init`: looks at the folder, asks what can't be found, and writes what
//! [`scaffold::draft`](crate::harness::scaffold::draft()) decides.

mod folder;
mod questions;
mod writing;
mod answer;
mod command;

pub(super) use self::command::run;
