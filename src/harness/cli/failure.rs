//! Expected failures, each with its exit code. A panic is a bug and says so.

use std::fmt;

/// Why a command ended without an answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Wrong usage: exit code 2. The second text says what to do.
    Usage(String, String),
    /// A scenario with problems, already rendered: exit code 2.
    Scenario(String),
    /// The tool failed: exit code 1.
    Tool(String),
    /// What was to be told of is not what was measured: exit code 13. The second text says what to do.
    Invalid(String, String),
    /// There is nothing to compare with, because the base can't be built or run: exit code 12.
    NoBase(String),
    /// Whoever read our output went away: success.
    BrokenPipe,
}

impl Failure {
    /// A failure of the tool, from an error and its causes.
    pub(super) fn tool(doing: impl fmt::Display, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{doing}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors already print their cause.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::Tool(text)
    }

    /// The same where it is the base that failed: without it there is nothing to compare with.
    pub(super) fn of_the_base(self) -> Self {
        match self {
            Self::Tool(text) => Self::NoBase(text),
            Self::Usage(what, remedy) => Self::NoBase(format!("{what}; {remedy}")),
            other => other,
        }
    }

    /// What became of an answer, where a reader who went away doesn't change what the exit code has
    /// to say.
    pub(super) fn unless_gone(said: Result<(), Self>) -> Result<(), Self> {
        match said {
            Err(Self::BrokenPipe) => Ok(()),
            said => said,
        }
    }

    /// Both, where one call failed at two things.
    pub(super) fn and(self, other: Self) -> Self {
        Self::Tool(format!("{self}\n{other}"))
    }

    /// Wrong usage with a remedy.
    pub(super) fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage(what.into(), remedy.into())
    }
}

/// What failed, in a sentence without its remedy.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usage(what, _) | Self::Invalid(what, _) => what,
            Self::Scenario(what) | Self::Tool(what) | Self::NoBase(what) => what,
            Self::BrokenPipe => "the reader of the answer went away",
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::tool("writing the answer", &error),
        }
    }
}
