//! What one call says of one scenario, kept until all of them are judged.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::harness::gate::{Outcome, Verdict};
use crate::harness::report::text;
use crate::harness::report::words::{self, Spoken};
use crate::harness::scenario::catalogue;

/// What one call says of one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The scenario's id; empty for numbers that come from no scenario.
    pub scenario: String,
    /// What is said.
    pub answer: Answer,
    /// Where the scenario is written, where that is known.
    pub place: Option<Place>,
    /// When it was measured, or else judged.
    pub at: Timestamp,
    /// How long the runs behind it took together, in ns.
    pub measured_ns: u64,
    /// Where the page was written, as a path of this machine.
    pub page: Option<String>,
}

/// What is said of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// What the gate says.
    Verdict(Box<Verdict>),
    /// There is no verdict, because something failed: what, in a line, and perhaps more lines below it. Left
    /// out, the scenario would be missed by nobody.
    Failed(String),
}

/// A scenario file, and the gates in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, below the top of the repository.
    pub file: String,
    /// Each gate's metric, as the file names it, and its line, counted from 1.
    pub gates: Vec<(String, usize)>,
}

impl Place {
    /// The line of the gate on a metric: of the one that names it without a pattern, else of the first
    /// whose pattern matches.
    pub(super) fn line_of(&self, metric: &str) -> Option<usize> {
        let exact = self.gates.iter().find(|(gate, _)| gate == metric);
        let matches = |(gate, _): &&(String, usize)| catalogue::matches(gate, metric);
        exact
            .or_else(|| self.gates.iter().find(matches))
            .map(|(_, line)| *line)
    }
}

impl Told {
    /// That there is no verdict on a scenario, and why.
    pub fn failed(scenario: &str, why: &str, at: Timestamp) -> Self {
        Self {
            scenario: scenario.to_owned(),
            answer: Answer::Failed(why.to_owned()),
            place: None,
            at,
            measured_ns: 0,
            page: None,
        }
    }

    /// What the gate says, where it says anything.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        match &self.answer {
            Answer::Verdict(verdict) => Some(verdict),
            Answer::Failed(_) => None,
        }
    }

    /// The scenario, or what stands for one.
    pub(super) fn title(&self) -> String {
        match &self.answer {
            Answer::Verdict(verdict) => words::title(verdict),
            Answer::Failed(_) => text::shown(&self.scenario, 120),
        }
    }

    /// What became of it, in capitals.
    pub(super) fn badge(&self) -> &'static str {
        match &self.answer {
            Answer::Verdict(verdict) => words::badge(verdict),
            Answer::Failed(_) => "NOT JUDGED",
        }
    }

    /// What became of it, in a sentence without its full stop.
    pub(super) fn headline(&self) -> String {
        match &self.answer {
            Answer::Verdict(verdict) => words::headline(verdict),
            Answer::Failed(why) => failure(why).what,
        }
    }

    /// Why there is no verdict, if so.
    pub(super) fn failure(&self) -> Option<Spoken> {
        match &self.answer {
            Answer::Verdict(_) => None,
            Answer::Failed(why) => Some(failure(why)),
        }
    }
}

fn failure(why: &str) -> Spoken {
    let (what, detail) = why.split_once('\n').unwrap_or((why, ""));
    Spoken {
        what: text::shown(what.trim_end_matches(':'), MAX_FAILURE_CHARS),
        next: String::new(),
        detail: detail.to_owned(),
        // It may begin with the name of a file.
        is_named: true,
    }
}

/// A longer sentence is cut in the middle.
const MAX_FAILURE_CHARS: usize = 600;

/// The worst first; those that are alike stay in the order of the call.
pub(super) fn worst_first(told: &[Told]) -> Vec<&Told> {
    let mut sorted: Vec<&Told> = told.iter().collect();
    sorted.sort_by_key(|told| {
        Reverse(match told.verdict() {
            None => (true, true, Outcome::Invalid),
            Some(verdict) => (false, !verdict.advisory, verdict.verdict),
        })
    });
    sorted
}
