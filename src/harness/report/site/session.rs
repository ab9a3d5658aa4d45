//! A session: its page, and the line that the other pages have of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::harness::model::{Arm, Metric, Run, Unit, median};
use crate::harness::report::input::ReportInput;
use crate::harness::report::{format, html, text, words};
use crate::harness::scenario::catalogue::{self, LatencyStat, LoadMetric};

use super::frame::{Page, links};
use super::standing::Standing;

/// The quantile that stands for a load where no gate says what matters.
const USUAL_QUANTILE: f64 = 0.95;

/// What the other pages say of a session. Texts are as they came; whoever shows them cleans them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionLine {
    /// Its page, from the site's root.
    pub page: String,
    /// The scenario's id; empty for numbers that come from no scenario.
    pub scenario: String,
    /// The sitting.
    pub session: String,
    /// When its last run started.
    pub at: Timestamp,
    /// How many runs it has.
    pub runs: u64,
    /// What its last run measured; of the head where it has one.
    pub revision: Option<String>,
    /// Whether it has runs of a head: a proposal, which no history holds.
    pub is_proposal: bool,
    /// The verdict in one word.
    pub standing: Standing,
    /// The verdict in a sentence.
    pub headline: String,
    /// The number that matters most.
    pub figure: Option<Figure>,
}

/// A metric and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The metric's path.
    pub metric: String,
    /// The median over the runs, with its unit.
    pub value: String,
}

impl SessionLine {
    /// That of a session which is reported on at `page`.
    pub fn new(input: &ReportInput<'_>, session: &str, page: &str) -> Self {
        let all = || input.head.iter().chain(input.base);
        let last = input.head.last();
        Self {
            page: page.to_owned(),
            scenario: last.map_or_else(String::new, |run| run.scenario.clone()),
            session: session.to_owned(),
            at: all()
                .map(|run| run.started_at)
                .max()
                .unwrap_or(Timestamp::UNIX_EPOCH),
            runs: all().filter(|run| run.session == session).count() as u64,
            revision: last.and_then(|run| run.revision.clone()),
            is_proposal: all().any(|run| run.arm == Some(Arm::Head)),
            standing: Standing::of(input.verdict),
            headline: words::headline(input.verdict),
            figure: figure(input),
        }
    }

    /// When it was made, to the minute, where that is known.
    pub(super) fn minute(&self) -> String {
        minute(self.at)
    }
}

/// The page of a report, which lies at `path` from the site's root; `way` are the pages above it.
pub fn session_page(input: &ReportInput<'_>, path: &str, way: &[Page]) -> String {
    html::render_within(input, &links(path, way))
}

/// A time to the minute, in UTC; a dash where none is known.
pub(super) fn minute(at: Timestamp) -> String {
    match at == Timestamp::UNIX_EPOCH {
        true => "–".to_owned(),
        false => at.strftime("%Y-%m-%d %H:%M").to_string(),
    }
}

/// What is said of a revision.
pub(super) fn revision(revision: Option<&str>) -> String {
    format::or_dash(revision, |revision| text::shown(revision, 20))
}

/// Of the metrics that gates are on, in their order, the first time; else the first of them; else the 95th
/// percentile of a load.
fn figure(input: &ReportInput<'_>) -> Option<Figure> {
    let runs = input.shown_head();
    let first = runs.first()?;
    let gates = input.plan.map_or(&[][..], |plan| &plan.gates);
    let gated: Vec<&Metric> = gates
        .iter()
        .flat_map(|gate| {
            let metrics = first.metrics.iter();
            metrics.filter(|metric| catalogue::matches(&gate.metric, &metric.name))
        })
        .filter(|metric| metric.value().is_some())
        .collect();
    let is_time = |metric: &&&Metric| metric.unit == Unit::Nanoseconds;
    let metric = gated
        .iter()
        .find(is_time)
        .or(gated.first())
        .copied()
        .or_else(|| first.metrics.iter().find(|metric| is_usual(metric)))?;
    let values: Vec<f64> = runs
        .iter()
        .filter_map(|run: &&Run| run.metric(&metric.name)?.value())
        .collect();
    Some(Figure {
        metric: metric.name.clone(),
        value: format::value(&metric.unit, median(&values)?),
    })
}

fn is_usual(metric: &Metric) -> bool {
    let is_quantile = matches!(
        catalogue::of_load(&metric.name),
        Some((_, LoadMetric::Response(LatencyStat::Quantile(quantile))))
            if quantile.fraction() == USUAL_QUANTILE
    );
    is_quantile && metric.value().is_some()
}
