//! Why the processes of a scenario could not be brought up.

/// Why the processes of a scenario could not be brought up. Output is the last lines of the
/// process, without secrets and escape sequences.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A command could not be started.
    #[error("can't run `{command}` for process `{process}` in `{}`: {message}; check the command and what it needs in PATH", folder.display())]
    NotStarted {
        /// The process.
        process: String,
        /// The command as it was written.
        command: String,
        /// The folder in which it was to start.
        folder: std::path::PathBuf,
        /// What the operating system said.
        message: String,
    },
    /// A build or a preparation failed.
    #[error("`{command}` for process `{process}` failed with {status}; its last lines:\n{output}")]
    CommandFailed {
        /// The process.
        process: String,
        /// The command as it was written.
        command: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        output: String,
    },
    /// A preparation did not end.
    #[error("`{command}` for process `{process}` did not end within {} s; `prepare` runs to its end before `start`, so what is to stay belongs there; its last lines:\n{output}", limit.as_secs())]
    TooLong {
        /// The process.
        process: String,
        /// The command as it was written.
        command: String,
        /// The time that it had.
        limit: std::time::Duration,
        /// Its last lines.
        output: String,
    },
    /// A process ended before the load began.
    #[error(
        "process `{process}` ended with {status} before the load began; `start` must keep it in the foreground; its last lines:\n{output}"
    )]
    Exited {
        /// The process.
        process: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        output: String,
    },
    /// A process did not become ready.
    #[error("process `{process}` was not ready after {} s: {waited_for}; check `ready`, or raise `ready_timeout`; its last lines:\n{output}", *after_ns / 1_000_000_000)]
    NotReady {
        /// The process.
        process: String,
        /// How long it had, in ns.
        after_ns: u64,
        /// What was waited for, and what came instead.
        waited_for: String,
        /// Its last lines.
        output: String,
    },
    /// The ready pattern is no regular expression.
    #[error("the ready pattern of process `{process}`: {source}")]
    Pattern {
        /// The process.
        process: String,
        /// What is wrong with it.
        source: regex::Error,
    },
    /// A template mentions what is not there.
    #[error(
        "process `{process}` mentions {value}, which has no value here; set the variable, or name a process of this scenario"
    )]
    Unknown {
        /// The process.
        process: String,
        /// What it mentions, as it was written.
        value: String,
    },
    /// No port or no folder.
    #[error("no free port or temporary folder for process `{process}`: {source}; is `{}` full or read-only?", std::env::temp_dir().display())]
    Place {
        /// The process.
        process: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}
