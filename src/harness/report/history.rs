//! What the history knows of scenarios, `plimsoll.history/1`: runs, trends and changes.

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use crate::harness::compare::{Change, ChangeSearch, trend};
use crate::harness::model::{Arm, Direction, RunId, Unit};

use super::format;

/// The format of a serialised history.
pub const HISTORY_FORMAT: &str = "plimsoll.history/1";

/// Some or all of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryReport {
    /// [`HISTORY_FORMAT`].
    pub schema: String,
    /// Newest first.
    pub lineages: Vec<Lineage>,
}

/// The runs of one scenario under one fingerprint: those that may be compared with each other. The heads of
/// comparisons are no part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lineage {
    /// The scenario's id: `name` or `name@variant`.
    pub scenario: String,
    /// The machine part of the fingerprint, which is also the folder of its baselines.
    pub machine: String,
    /// The fingerprint's id.
    pub fingerprint: String,
    /// How many runs it has, in the time that was asked for.
    pub runs: u64,
    /// How many of them may be judged.
    pub valid_runs: u64,
    /// When the first of them started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub first_started_at: Timestamp,
    /// When the last of them started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_started_at: Timestamp,
    /// What the last run measured.
    pub revision: Option<String>,
    /// Its runs and trends, where they were asked for.
    pub detail: Option<Detail>,
}

/// The newest runs of a lineage and what they measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// Newest first, at most as many as were asked for.
    pub runs: Vec<RunLine>,
    /// Over those of the runs that may be judged; sorted by name.
    pub metrics: Vec<MetricTrend>,
}

/// A run without what it measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunLine {
    /// Its identity.
    pub id: RunId,
    /// When it started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// The sitting in which it was made.
    pub session: String,
    /// The side of a comparison for which it was made, if any.
    pub arm: Option<Arm>,
    /// How long it took, in ns.
    pub duration_ns: u64,
    /// What was measured.
    pub revision: Option<String>,
    /// Whether it may be judged.
    pub valid: bool,
}

/// One metric over the runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricTrend {
    /// The path.
    pub name: String,
    /// The unit of every value.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// Oldest first, at least one.
    pub points: Vec<Point>,
    /// The oldest value.
    pub first: f64,
    /// The middle of all values.
    pub median: f64,
    /// The newest value.
    pub last: f64,
    /// Effects are differences in the metric's unit, because a value of zero or less has no ratio; else
    /// they are fractions: .05 is 5 % worse.
    pub is_difference: bool,
    /// How much worse the median of the newest five runs is than that of the five 20 runs before them;
    /// negative is better, `null` for fewer than 25 runs.
    pub effect_since_20_runs: Option<f64>,
    /// In how many runs, the newest, changes were looked for; `null` where there are too few.
    pub searched_runs: Option<u64>,
    /// What was found, oldest first. Changes are reported and never judged.
    pub changes: Vec<DatedChange>,
}

/// What one run says of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// The run.
    pub run: RunId,
    /// The median of its replicates.
    pub value: f64,
}

/// A change with the run at which it is first seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatedChange {
    /// The first run after it.
    pub run: RunId,
    /// When that run started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// What that run measured.
    pub revision: Option<String>,
    /// What the last run before it measured.
    pub revision_before: Option<String>,
    /// The median of the runs between the change before it and this one.
    pub before: f64,
    /// The median of the runs between this change and the next.
    pub after: f64,
    /// How much worse `after` is than `before`; negative is better.
    pub effect: f64,
    /// The p-value of a permutation test, which is no error rate.
    pub p: f64,
}

impl HistoryReport {
    /// A document of these lineages.
    pub fn new(lineages: Vec<Lineage>) -> Self {
        Self {
            schema: HISTORY_FORMAT.to_owned(),
            lineages,
        }
    }
}

impl MetricTrend {
    /// The trend of a metric over `runs`, oldest first, with its value in each. `None` for no runs.
    pub fn new(
        name: String,
        unit: Unit,
        better: Direction,
        runs: &[(&RunLine, f64)],
    ) -> Option<Self> {
        let values: Vec<f64> = runs.iter().map(|(_, value)| *value).collect();
        let found = trend(&values, better)?;
        let changes = found.changes().iter();
        Some(Self {
            name,
            unit,
            better,
            points: runs
                .iter()
                .map(|(run, value)| Point {
                    run: run.id,
                    value: *value,
                })
                .collect(),
            first: found.first,
            median: found.median,
            last: found.last,
            is_difference: found.is_difference,
            effect_since_20_runs: found.effect_since_20_runs,
            searched_runs: match found.search {
                ChangeSearch::Done { runs, .. } => Some(runs as u64),
                ChangeSearch::TooFewRuns { .. } => None,
            },
            changes: changes.filter_map(|change| dated(change, runs)).collect(),
        })
    }
}

impl MetricTrend {
    /// An effect of this metric as it is shown: signed, + is worse; a dash where there is none.
    pub(crate) fn shown_effect(&self, effect: Option<f64>) -> String {
        format::or_dash(effect, |effect| match (self.is_difference, &self.unit) {
            (false, _) => format::effect(effect),
            (true, Unit::Ratio) => format::points(effect),
            (true, unit) if effect > 0.0 => format!("+{}", format::value(unit, effect)),
            (true, unit) => format::value(unit, effect),
        })
    }
}

/// The JSON Schema of a [`HistoryReport`], as committed in `docs/schema/history.schema.json`.
pub fn history_schema() -> Schema {
    schema_for!(HistoryReport)
}

fn dated(change: &Change, runs: &[(&RunLine, f64)]) -> Option<DatedChange> {
    let (run, _) = runs.get(change.at)?;
    let (before, _) = runs.get(change.at.checked_sub(1)?)?;
    Some(DatedChange {
        run: run.id,
        started_at: run.started_at,
        revision: run.revision.clone(),
        revision_before: before.revision.clone(),
        before: change.before,
        after: change.after,
        effect: change.effect,
        p: change.p,
    })
}
