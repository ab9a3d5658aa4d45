//! `plimsoll baseline`: show, save, compare, refresh and pin baselines. One file a command.

mod command;
mod find;
mod show;
mod save;
mod diff;
mod refresh;
mod sessions;
mod pin;

pub(super) use self::command::run;
