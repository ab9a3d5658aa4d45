//! What every report is made from.

use jiff::Timestamp;

use crate::harness::gate::Verdict;
use crate::harness::model::{LatencyHistogram, Run};
use crate::harness::scenario::Plan;

/// A verdict with the runs behind it. Whoever has saved runs can make one again at any time; clock
/// and version are handed in, so that the same input gives the same report.
#[derive(Debug, Clone, Copy)]
pub struct ReportInput<'a> {
    /// What the gate says.
    pub verdict: &'a Verdict,
    /// The plan of the head's runs: for its description and what it asked for. `None` where only
    /// the runs are left, or where there never was one.
    pub plan: Option<&'a Plan>,
    /// The runs that were judged, in the order in which they were made.
    pub head: &'a [Run],
    /// The runs that they were compared with; empty where there is no base, or where the base is a
    /// baseline file, which keeps no runs.
    pub base: &'a [Run],
    /// What a baseline file keeps for display, where `base` is empty.
    pub base_latency: &'a [BaseLatency],
    /// Command lines that make this again, in order.
    pub commands: &'a [String],
    /// Where the page was written, for the terminal's last line.
    pub page: Option<&'a str>,
    /// When the report is made.
    pub generated_at: Timestamp,
    /// The version of Plimsoll that makes it.
    pub version: &'a str,
}

impl<'a> ReportInput<'a> {
    /// The scenario's description; empty where there is none.
    pub fn description(&self) -> &'a str {
        self.plan.map_or("", |plan| plan.description.as_str())
    }

    /// The head's valid runs and those that a limit ended, or all of them where there is none: an invalid
    /// run is shown too, since its reader wants to know why.
    pub fn shown_head(&self) -> Vec<&'a Run> {
        valid_or_all(self.head)
    }

    /// As [`shown_head`](Self::shown_head), for the base.
    pub fn shown_base(&self) -> Vec<&'a Run> {
        valid_or_all(self.base)
    }
}

/// The latencies of a load over all runs of a baseline, for display only.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseLatency {
    /// The load.
    pub load: String,
    /// Response times of the requests in order, in ns.
    pub response: LatencyHistogram,
}

fn valid_or_all(runs: &[Run]) -> Vec<&Run> {
    let is_shown = |run: &&Run| run.is_valid() || run.aborted.is_some();
    let valid: Vec<&Run> = runs.iter().filter(is_shown).collect();
    match valid.is_empty() {
        true => runs.iter().collect(),
        false => valid,
    }
}
