//! A verdict: what the gate says, and why. Serialised, it is `plimsoll.verdict/1`.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::anchor::AnchorVerdict;
use super::waiver::AppliedWaiver;
use crate::harness::compare::Comparison;
use crate::harness::model::{Aborted, Direction, InvalidReason, Unit};

/// The format of a serialised verdict.
pub const VERDICT_FORMAT: &str = "plimsoll.verdict/1";

/// What the gate says of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// [`VERDICT_FORMAT`].
    pub schema: String,
    /// The scenario's id; empty for numbers that come from no scenario.
    pub scenario: String,
    /// What was judged: the revision that every run of the head names. `None` where they name none, or several.
    #[serde(default)]
    pub head_revision: Option<String>,
    /// What it was held against: the revision that every run of the base names, likewise.
    #[serde(default)]
    pub base_revision: Option<String>,
    /// In one word.
    pub verdict: Outcome,
    /// Whether it is for information only and can't fail anything: the base doesn't have the scenario.
    #[serde(default)]
    pub advisory: bool,
    /// The exit code that follows from it and from the options of the call.
    pub exit_code: u8,
    /// The reasons, the weightiest first; empty only for a pass without remarks.
    pub reasons: Vec<Reason>,
    /// What the reader should know although it doesn't decide.
    pub warnings: Vec<Warning>,
    /// Metrics that were compared: gating ones first, then by name.
    pub metrics: Vec<MetricVerdict>,
    /// Absolute limits, in the order of the scenario.
    pub limits: Vec<LimitVerdict>,
    /// What the metrics were judged from; `None` where there was no base.
    pub comparison: Option<Comparison>,
    /// The anchors that the head was held against as well. They decide nothing.
    #[serde(default)]
    pub anchors: Vec<AnchorVerdict>,
}

/// The verdict in one word. The order is that of precedence: the worst decides.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing that is judged got worse, every limit holds.
    Pass,
    /// No comparable base although one was required.
    NoBaseline,
    /// A gating metric is inconclusive.
    Inconclusive,
    /// A limit is broken or a gating metric regressed.
    Fail,
    /// The runs are no measurement.
    Invalid,
}

/// Why the verdict is what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// A run is invalid.
    InvalidRun {
        /// Which run, counted from 1 in its arm, for the reader.
        run: String,
        /// Why.
        reason: InvalidReason,
    },
    /// A run was stopped before its time.
    PartialRun {
        /// Which run, for the reader.
        run: String,
    },
    /// A limit ended a run of the head as soon as it was broken.
    Aborted {
        /// Which run, for the reader.
        run: String,
        /// The limit, and what broke it.
        aborted: Aborted,
    },
    /// The arms were measured under different conditions.
    NotComparable {
        /// What differs: field, base, head.
        differences: Vec<crate::harness::model::FingerprintDifference>,
    },
    /// An absolute limit is broken; details in `limits`.
    LimitBroken {
        /// The metric.
        metric: String,
    },
    /// No request behind a limit's or a gating metric was in order although some failed: worse than
    /// any value that it could have had.
    NothingInOrder {
        /// The metric.
        metric: String,
    },
    /// Not even the lowest rate of a search for a capacity kept its limits: worse than any capacity
    /// that it could have found.
    NoRateHeld {
        /// The metric.
        metric: String,
    },
    /// A gating metric regressed; details in `metrics`.
    Regressed {
        /// The metric.
        metric: String,
    },
    /// A gating metric is inconclusive; details in `metrics`.
    Inconclusive {
        /// The metric.
        metric: String,
    },
    /// A gating metric or a limit's metric could not be measured.
    NotMeasurable {
        /// The metric.
        metric: String,
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A gating metric exists in one arm only.
    OneArmOnly {
        /// The metric.
        metric: String,
        /// The arm that has it.
        arm: crate::harness::model::Arm,
    },
    /// A gating metric regressed by no more than a waiver allows; details in `metrics`.
    Waived {
        /// The metric.
        metric: String,
    },
    /// There is no base to compare with.
    NoBaseline,
    /// A gating metric improved beyond its margin: said, because it makes the baseline stale.
    Improved {
        /// The metric.
        metric: String,
    },
}

/// What the reader should know although it doesn't decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// A margin that this comparison can't hold: what it can detect is larger.
    Underpowered {
        /// The metric.
        metric: String,
        /// The minimal detectable effect as a fraction.
        mde: f64,
        /// The margin as a fraction.
        margin: f64,
        /// Pairs (or runs an arm) that the margin would need; `None` where no number of them would
        /// do, because sessions differ by more than the margin allows.
        pairs_needed: Option<u32>,
    },
    /// A cap on errors that holds only because too few requests were made to break it.
    Unproven {
        /// The metric.
        metric: String,
        /// The requests of all runs, none of which failed.
        requests: u64,
        /// The error rate that so many rule out, as a fraction.
        ruled_out: f64,
        /// The cap, as a fraction.
        limit: f64,
        /// The requests that would rule it out.
        needed: u64,
    },
    /// Stored comparison without an estimate of the between-session spread: can't fail the gate.
    Advisory {
        /// The metric.
        metric: String,
    },
    /// A waiver has expired, and nothing that it is on has regressed.
    WaiverExpired {
        /// The metric, as the waiver names it.
        metric: String,
        /// The last day on which it held.
        #[schemars(with = "String", extend("format" = "date"))]
        expires: Date,
    },
    /// A waiver is on no metric that has a margin.
    WaiverUnmatched {
        /// The metric, as the waiver names it.
        metric: String,
    },
    /// A metric got worse than an anchor by at least its margin, although not in one step.
    Crept {
        /// The metric.
        metric: String,
        /// The anchor.
        anchor: String,
    },
    /// Anything else worth a line.
    Note {
        /// A sentence.
        text: String,
    },
}

/// The verdict on one compared metric. Effects are fractions: .05 is 5 % worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricVerdict {
    /// The metric's path.
    pub name: String,
    /// In one word.
    pub verdict: MetricOutcome,
    /// Whether it can decide the gate: the scenario names it, and the comparison is not advisory.
    pub gating: bool,
    /// Whether it is shown without being able to fail the gate, although the scenario names it.
    pub advisory: bool,
    /// The unit of `base` and `head`.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// Whether effect, bounds, margin and minimal detectable effect are differences (of error rates)
    /// rather than ratios: .01 is then one percentage point.
    pub is_difference: bool,
    /// The median of the base's values.
    pub base: Option<f64>,
    /// The median of the head's values.
    pub head: Option<f64>,
    /// The margin as a fraction, where the scenario gives one.
    pub margin: Option<f64>,
    /// The estimated effect as a fraction.
    pub effect: Option<f64>,
    /// Its lower bound.
    pub lower: Option<f64>,
    /// Its upper bound.
    pub upper: Option<f64>,
    /// One-sided p-value of "not worse".
    pub p: Option<f64>,
    /// The minimal detectable effect as a fraction.
    pub mde: Option<f64>,
    /// Pairs (or runs an arm) that the margin would need; `None` where no number of them would do,
    /// because sessions differ by more than the margin allows.
    pub pairs_needed: Option<u32>,
    /// Replicates of the base.
    pub n_base: u32,
    /// Replicates of the head.
    pub n_head: u32,
    /// Why there is no verdict, or why it is inconclusive although the bounds look like more.
    pub note: Option<String>,
    /// The waiver on it, where it regressed: whether or not it helped.
    #[serde(default)]
    pub waiver: Option<AppliedWaiver>,
}

/// The verdict on one metric in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricOutcome {
    /// Worse, by at least the margin, and not by chance.
    Regressed,
    /// Better, by at least the margin, and not by chance.
    Improved,
    /// Within the margin on both sides.
    Unchanged,
    /// None of these can be said.
    Inconclusive,
    /// The metric could not be measured, or has no ratio.
    NotMeasurable,
    /// A regression that a waiver allows.
    Waived,
}

/// The verdict on one absolute limit on the head's runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitVerdict {
    /// The metric's path.
    pub metric: String,
    /// The unit of all values.
    pub unit: Unit,
    /// The largest allowed value.
    pub max: Option<f64>,
    /// The smallest allowed value.
    pub min: Option<f64>,
    /// Whether the scenario doesn't state it, but something else that it holds asks for it: a load,
    /// that its requests don't fail; a margin on an open load's rate, that the rate is achieved.
    pub is_implied: bool,
    /// What is held against it: the median of the runs, for an error rate the share of the requests
    /// of all runs together. `None` where it was not measurable.
    pub value: Option<f64>,
    /// The smallest of the values.
    pub low: Option<f64>,
    /// The largest of the values.
    pub high: Option<f64>,
    /// How many values: one a run, of a benchmark one an invocation.
    pub n: u32,
    /// Whether it holds; `None` where it could not be measured, for another reason than that every
    /// request failed.
    pub holds: Option<bool>,
}
