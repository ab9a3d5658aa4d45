//! What plimsoll and its supervisors say to each other: lines of JSON over two pipes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a supervisor is to start: the first line on its standard input. Over a pipe, so that
/// secrets never stand in the supervisor's own arguments; and not to be printed, for their sake.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// A path, or a name that is looked up in `PATH`.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Variables on top of the inherited ones.
    pub(crate) env: BTreeMap<String, String>,
    /// Variables that are not inherited.
    pub(crate) unset: Vec<String>,
    /// The working folder.
    pub(crate) cwd: PathBuf,
    /// The time after SIGTERM before SIGKILL, in ns, where nobody is left to give an order.
    pub(crate) grace_ns: u64,
    /// A folder that the supervisor removes where nobody is left to do it.
    pub(crate) scratch: Option<PathBuf>,
    /// Whether the supervisor is to look like the process itself: its standard output is that of
    /// the process, it reports nothing, and it ends when the process does, as it did.
    pub(crate) transparent: bool,
}

/// A later line on the supervisor's standard input. The end of the input is an order too: whoever
/// gave the orders is gone, so end everything soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// SIGTERM, and SIGKILL for what is left after the grace.
    Stop {
        /// The time in between, in ns.
        grace_ns: u64,
    },
    /// SIGKILL.
    Kill,
    /// SIGSTOP to all of the tree.
    Pause,
    /// SIGCONT to all of the tree.
    Resume,
}

/// A line on the supervisor's standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The process runs.
    Started,
    /// The process could not be started.
    Failed {
        /// Why.
        message: String,
    },
    /// The process ended; descendants of it may still be there.
    Exited(Ending),
    /// The last report.
    Over {
        /// Descendants that even SIGKILL did not end within the patience of the supervisor.
        left: Vec<i32>,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By itself, with this exit status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody knows: its supervisor was killed.
    Lost,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Lost => f.write_str("an unknown status: its supervisor was killed"),
        }
    }
}
