//! Waivers: what has regressed by no more than a reviewer allowed, until a day, is `waived`.
//!
//! Held against `allow` is the estimate: waived is θ ≤ ln(1 + allow), as regressed is θ ≥ δ. Not the
//! upper bound U: it lies above what was accepted by the noise of the day, so a waiver would have to allow
//! for that as well, and would then hide as much more on a quiet day. Not the lower bound L: the
//! noisier the measurement, the more would pass. A true change of exactly `allow` is waived about
//! half of the time; whoever accepts 8 % writes a little more.
//!
//! Only regressions against a margin are waived. A limit (`max`, `min`) says what nobody may be asked to bear;
//! who bears it all the same changes the limit, in sight of its reviewers.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::verdict::{MetricOutcome, MetricVerdict, Warning};
use crate::harness::compare::Comparison;
use crate::harness::scenario::{Waiver, catalogue};

/// The waivers of one scenario on the day of the verdict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waivers {
    waivers: Vec<Waiver>,
    today: Date,
}

/// A waiver on a metric that has regressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedWaiver {
    /// The metric as the waiver names it, perhaps with a `*`.
    pub metric: String,
    /// The largest change that it allows, as a fraction.
    pub allow: f64,
    /// Why it was granted.
    pub reason: String,
    /// The last day on which it holds, in UTC.
    #[schemars(with = "String", extend("format" = "date"))]
    pub expires: Date,
    /// What it does for the metric.
    pub standing: Standing,
}

/// What a waiver does for a metric that has regressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It allows the change: the metric is waived.
    Holds,
    /// The change is larger than it allows: the metric has regressed.
    Exceeded,
    /// It has expired: the metric has regressed.
    Expired,
}

impl Waivers {
    /// Those of `all` that are on `scenario` (an id), as they stand on `today` (UTC).
    pub fn new(all: &[Waiver], scenario: &str, today: Date) -> Self {
        let of_scenario = all.iter().filter(|waiver| waiver.scenario == scenario);
        Self {
            waivers: of_scenario.cloned().collect(),
            today,
        }
    }

    /// The verdict on a metric in the light of the waivers.
    pub(super) fn apply(&self, verdict: MetricVerdict) -> MetricVerdict {
        if !verdict.gating || verdict.verdict != MetricOutcome::Regressed {
            return verdict;
        }
        let (Some(waiver), Some(effect)) = (self.on(&verdict.name), verdict.effect) else {
            return verdict;
        };
        let standing = if self.has_expired(waiver) {
            Standing::Expired
        } else if effect > waiver.allow {
            Standing::Exceeded
        } else {
            Standing::Holds
        };
        MetricVerdict {
            verdict: match standing {
                Standing::Holds => MetricOutcome::Waived,
                Standing::Exceeded | Standing::Expired => MetricOutcome::Regressed,
            },
            waiver: Some(AppliedWaiver {
                metric: waiver.metric.clone(),
                allow: waiver.allow,
                reason: waiver.reason.clone(),
                expires: waiver.expires,
                standing,
            }),
            ..verdict
        }
    }

    /// Waivers that should be mended or removed: expired ones that nothing needs, and those that are
    /// on nothing.
    pub(super) fn warnings(
        &self,
        policy: &Policy,
        comparison: &Comparison,
        metrics: &[MetricVerdict],
    ) -> Vec<Warning> {
        let one_arm_only = || {
            let names = comparison
                .only_in_base
                .iter()
                .chain(&comparison.only_in_head);
            names.filter(|name| policy.margin(name).is_some())
        };
        self.waivers
            .iter()
            .filter_map(|waiver| {
                let is_on = |name: &str| catalogue::matches(&waiver.metric, name);
                let mut on = metrics
                    .iter()
                    .filter(|metric| metric.margin.is_some() && is_on(&metric.name));
                // What is inconclusive today may need it tomorrow.
                let is_unneeded = on.clone().all(|metric| {
                    matches!(
                        metric.verdict,
                        MetricOutcome::Unchanged | MetricOutcome::Improved
                    )
                });
                let metric = waiver.metric.clone();
                if self.has_expired(waiver) && is_unneeded {
                    return Some(Warning::WaiverExpired {
                        metric,
                        expires: waiver.expires,
                    });
                }
                let is_unmatched = on.next().is_none() && !one_arm_only().any(|name| is_on(name));
                is_unmatched.then_some(Warning::WaiverUnmatched { metric })
            })
            .collect()
    }

    /// The waiver on a metric: the one that names it without a pattern, else the first whose pattern
    /// matches, as with margins.
    fn on(&self, metric: &str) -> Option<&Waiver> {
        let exact = self.waivers.iter().find(|waiver| waiver.metric == metric);
        exact.or_else(|| {
            self.waivers
                .iter()
                .find(|waiver| catalogue::matches(&waiver.metric, metric))
        })
    }

    fn has_expired(&self, waiver: &Waiver) -> bool {
        self.today > waiver.expires
    }
}
