//! The commands: the only place that prints, reads the environment and exits.
//!
//! [`main`] parses the command line, calls one file a command, and turns what comes back into an
//! exit code. An expected failure is a `Failure` with its exit code; a panic is a bug.

mod args;
mod failure;
mod output;
pub mod diagnostics;
mod workspace;
mod sources;
mod waivers;
mod live;
mod session;
#[cfg(test)]
mod scripted;
mod pairs;
mod looks;
mod noise;
mod answers;
mod verdicts;
mod reproduce;
mod overrides;
mod execute;
mod against;
mod run;
mod gate;
mod worker;
mod merge;
mod k8s;
mod calibrate;
mod compare;
mod artifact;
mod comment;
mod report;
mod site;
mod export;
mod baseline;
mod history;
mod prune;
mod init;
mod check;
mod list;
mod doctor;
mod start;

pub use self::start::main;
