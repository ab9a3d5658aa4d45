//! What can go wrong with benches.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::harness::interchange::InterchangeError;

/// Why benches could not be built, run or read.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// cargo could not be started.
    #[error("cargo can't be started ({message}); is it installed?")]
    NoCargo {
        /// What was said.
        message: String,
    },
    /// Our own supervisor could not be started.
    #[error("no supervisor from `{}`: {source}", exe.display())]
    Supervisor {
        /// The plimsoll executable.
        exe: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The build failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Build {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its output.
        output: String,
    },
    /// cargo said more than it ever does, or something that is not its JSON.
    #[error("`{command}` gave no messages of cargo's: {what}")]
    Messages {
        /// The command line.
        command: String,
        /// What is wrong with them.
        what: String,
    },
    /// Nothing to run.
    #[error(
        "`{command}` built no bench executable; a bench target needs `harness = false` in Cargo.toml and criterion's `criterion_main!`"
    )]
    NoExecutable {
        /// The command line.
        command: String,
    },
    /// The benches are not criterion's.
    #[error("`{command}` built benches that do not use criterion, whose files are read here")]
    NotCriterion {
        /// The command line.
        command: String,
    },
    /// A criterion whose files are not known.
    #[error("the benches use criterion {found}; the files of 0.5 to 0.8 are known here")]
    CriterionVersion {
        /// The version that was built.
        found: String,
    },
    /// The folder for an invocation's results could not be made.
    #[error("no temporary folder can be made for the results of `{target}`: {source}")]
    Home {
        /// The bench target.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// An executable failed.
    #[error(
        "bench `{target}` failed in invocation {invocation} ({status}); if it is not a criterion bench, name those that are in `targets`:\n{output}"
    )]
    Failed {
        /// The bench target.
        target: String,
        /// Which invocation, counted from 1.
        invocation: u32,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its output.
        output: String,
    },
    /// An executable took too long.
    #[error(
        "bench `{target}` was stopped in invocation {invocation} after {} s; raise `timeout`, or shorten its measurement time",
        limit_ns / 1_000_000_000
    )]
    TimedOut {
        /// The bench target.
        target: String,
        /// Which invocation, counted from 1.
        invocation: u32,
        /// How long it had, in ns.
        limit_ns: u64,
    },
    /// An executable measured nothing.
    #[error(
        "bench `{target}` measured nothing; does it call `criterion_main!`, and is no group of it empty?"
    )]
    NoResult {
        /// The bench target.
        target: String,
    },
    /// No benchmark of any executable matches the filter.
    #[error("no benchmark matches the filter `{filter}`")]
    NothingMatches {
        /// The filter.
        filter: String,
    },
    /// A benchmark was not measured in each invocation.
    #[error(
        "`{id}` of bench `{target}` is missing in invocation {invocation}; every invocation must measure the same"
    )]
    NotInEach {
        /// criterion's full id.
        id: String,
        /// The bench target.
        target: String,
        /// An invocation without it, counted from 1.
        invocation: u32,
    },
    /// Two benchmarks have one id.
    #[error("two benchmarks are called `{id}`, in `{first}` and in `{second}`; rename one of them")]
    Twice {
        /// criterion's full id.
        id: String,
        /// The bench target where it was first.
        first: String,
        /// The bench target where it was again.
        second: String,
    },
    /// Two `[[bench]]` of the scenario measure the same.
    #[error(
        "two `[[bench]]` measure `{id}` of bench `{target}`; narrow the `targets` or the `filter` of one of them"
    )]
    Overlap {
        /// criterion's full id.
        id: String,
        /// The bench target.
        target: String,
    },
    /// A result is missing, can't be read, or is not what criterion writes.
    #[error(transparent)]
    Result(#[from] InterchangeError),
}
