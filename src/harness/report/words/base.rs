//! Where the base of a comparison comes from, on which depends what helps.

use crate::harness::compare::Design;
use crate::harness::gate::Verdict;
use crate::harness::report::format;
use crate::harness::scenario::DEFAULT_RUNS;

/// Where the base comes from, on which depends what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// A baseline, or runs that can become one.
    Stored,
    /// Runs in pairs with the head, to which no baseline means anything.
    Paired,
    /// Another tool, which Plimsoll can't run again.
    Elsewhere,
}

impl Base {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let comparison = verdict.comparison.as_ref();
        match comparison.map(|comparison| comparison.design) {
            _ if verdict.scenario.is_empty() => Self::Elsewhere,
            Some(Design::Paired) => Self::Paired,
            Some(Design::Stored) | None => Self::Stored,
        }
    }

    /// How to measure so often, as the beginning of a sentence.
    pub(super) fn measure(self, times: u32) -> String {
        let counted = |noun| format::counted(u64::from(times), noun);
        match self {
            Self::Stored => format!("Make about {} (`--runs {times}`)", counted("run")),
            Self::Paired => format!(
                "Make about {} (`plimsoll gate --against REV --pairs {times}`)",
                counted("pair")
            ),
            Self::Elsewhere => format!("Measure about {} in each arm", counted("run")),
        }
    }

    /// What to do where sessions differ by more than the margin allows, so that no number of runs helps.
    pub(super) fn measure_in_more_sessions(self) -> String {
        let how = match self {
            Self::Stored | Self::Paired => "save the baseline from more sessions",
            Self::Elsewhere => "give more sessions of the base",
        };
        format!(
            "More runs don't help, because sessions differ by more than the margin allows: {how}, or widen the margin"
        )
    }
}

/// How a base is made, as a sentence that begins with `what`.
pub(super) fn saving(what: &str) -> String {
    format!(
        "{what} with `plimsoll run --runs {DEFAULT_RUNS}`, and save it with `plimsoll baseline save`"
    )
}
