//! What comparing two arms gives: per metric an effect with its bounds, and what can't be compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::harness::model::{Direction, FingerprintDifference, Run, RunId, Unit};
use crate::harness::stats::pairs_needed;

/// How the arms were measured, which decides the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// Alternating on one machine in one session: differences within pairs.
    Paired,
    /// The base was measured before, under the same fingerprint.
    Stored,
}

/// Two arms compared, metric by metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// How the arms were measured.
    pub design: Design,
    /// The one-sided level of every bound: .05, or a third of it for each of three planned looks.
    pub alpha: f64,
    /// What the base is, for the reader: `baseline of 2026-11-01 at 1a2b3c4` or a path.
    pub base_label: String,
    /// What the head is, for the reader.
    pub head_label: String,
    /// The runs of the base that were compared; paired: in the order of the pairs. A run that has no
    /// partner is not among them.
    pub base_runs: Vec<RunId>,
    /// The runs of the head that were compared; paired: in the order of the pairs.
    pub head_runs: Vec<RunId>,
    /// What differs in the conditions; not empty makes the verdict invalid.
    pub fingerprint_differences: Vec<FingerprintDifference>,
    /// Every metric that both arms have, sorted by name.
    pub metrics: Vec<MetricComparison>,
    /// Metrics that only the base has.
    pub only_in_base: Vec<String>,
    /// Metrics that only the head has.
    pub only_in_head: Vec<String>,
}

/// One metric in both arms. Effects are fractions, positive where the head is worse: .05 is 5 % worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricComparison {
    /// The metric's path.
    pub name: String,
    /// The unit of the values.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// The base's values, one per replicate; paired: in the order of the pairs.
    pub base: Vec<f64>,
    /// The head's values, one per replicate; paired: in the order of the pairs.
    pub head: Vec<f64>,
    /// Whether the effect is a difference of proportions, as of error rates, rather than a ratio: its
    /// fractions are then percentage points.
    pub is_difference: bool,
    /// The estimate, or why there is none.
    pub estimate: Estimate,
}

/// What the statistics say of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Estimate {
    /// An effect with its bounds.
    Known(Effect),
    /// Too little data, or values that have no ratio.
    Unknown {
        /// Why, as a clause.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

/// An effect as log ratio, signed so that positive is worse, with its one-sided bounds at the
/// comparison's `alpha`.
///
/// For error rates, which are often zero and have no ratio, the effect is the difference of the
/// proportions, head minus base, kept as ln(1 + difference): the fraction that it stands for is the
/// difference itself, and .01 is one more failed request in a hundred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Effect {
    /// θ, the estimate of ln(head / base), positive where worse.
    pub theta: f64,
    /// L, the lower bound of θ.
    pub lower: f64,
    /// U, the upper bound of θ.
    pub upper: f64,
    /// One-sided p-value of "the head is not worse".
    pub p: f64,
    /// One-sided p-value of "the head is not better".
    pub p_improved: f64,
    /// The standard error of θ.
    pub se: f64,
    /// The standard deviation of one difference, from which the pairs needed follow.
    pub sd: f64,
    /// The part of `se` that more runs in the same sessions don't shrink; zero for pairs.
    pub se_sessions: f64,
    /// Degrees of freedom; `None` for rank statistics.
    pub df: Option<f64>,
    /// The minimal detectable effect as a fraction (at power .8).
    pub mde: f64,
    /// Stored design: the between-session standard deviation, `None` where it is not known, which
    /// makes the comparison advisory.
    pub tau: Option<f64>,
    /// How it was reached, for the reader: `paired t, moderated (d0 = 4)`.
    pub method: String,
}

impl Design {
    /// Paired where every run of both arms says to which pair it belongs, else stored.
    pub fn of(base: &[Run], head: &[Run]) -> Self {
        let paired = |runs: &[Run]| !runs.is_empty() && runs.iter().all(|run| run.pair.is_some());
        if paired(base) && paired(head) {
            Self::Paired
        } else {
            Self::Stored
        }
    }
}

impl MetricComparison {
    /// The effect, where there is one.
    pub fn effect(&self) -> Option<&Effect> {
        match &self.estimate {
            Estimate::Known(effect) => Some(effect),
            Estimate::Unknown { .. } => None,
        }
    }
}

impl Effect {
    /// Pairs (or runs an arm) that the margin `delta` (a log ratio, positive) would need. `None` where
    /// no number of them would do, because sessions differ by more than the margin allows.
    pub fn pairs_needed(&self, delta: f64) -> Option<u32> {
        pairs_needed(self.sd, self.se_sessions, delta)
            .map(|pairs| u32::try_from(pairs).unwrap_or(u32::MAX))
    }

    /// A log ratio as a fraction: e^x − 1.
    pub fn as_fraction(log_ratio: f64) -> f64 {
        log_ratio.exp_m1()
    }
}
