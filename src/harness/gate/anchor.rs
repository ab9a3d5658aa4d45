//! Anchors: baselines that were pinned, such as that of a release, and are never refreshed.
//!
//! Ten changes of 4 % pass a margin of 5 % one by one; against an anchor they show. The rule and the
//! margins are those of the gate. An anchor decides nothing: it is meant to be older than changes that
//! were accepted, and a gate on it would turn each of them red again until somebody moves it. Who wants
//! a floor that holds for ever writes a limit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metric::metrics;
use super::policy::Policy;
use super::verdict::{MetricOutcome, MetricVerdict, Outcome, Verdict, Warning};
use crate::harness::compare::Comparison;

/// The head against one anchor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnchorVerdict {
    /// The anchor, such as `v1.0`.
    pub name: String,
    /// The metrics that have a margin, by name; none of them gates. `base` is the anchor's value.
    pub metrics: Vec<MetricVerdict>,
}

impl Verdict {
    /// Shows beside the verdict how the head compares with an anchor, and warns of what has crept:
    /// what is worse than the anchor by its margin although the verdict found no regression.
    /// Nothing is shown of an invalid measurement.
    pub fn show_beside(&mut self, policy: &Policy, anchor: &str, comparison: &Comparison) {
        if self.verdict == Outcome::Invalid || !comparison.fingerprint_differences.is_empty() {
            return;
        }
        let judged = metrics(policy, comparison);
        let crept = judged.iter().filter(|metric| {
            metric.gating
                && metric.verdict == MetricOutcome::Regressed
                && !self.says_worse(&metric.name)
        });
        self.warnings.extend(
            crept
                .map(|metric| Warning::Crept {
                    metric: metric.name.clone(),
                    anchor: anchor.to_owned(),
                })
                .collect::<Vec<_>>(),
        );
        let shown: Vec<MetricVerdict> = judged
            .into_iter()
            .filter(|metric| metric.margin.is_some())
            .map(|metric| MetricVerdict {
                gating: false,
                advisory: true,
                ..metric
            })
            .collect();
        if !shown.is_empty() {
            self.anchors.push(AnchorVerdict {
                name: anchor.to_owned(),
                metrics: shown,
            });
        }
    }

    /// Whether a metric is worse than the base already.
    fn says_worse(&self, name: &str) -> bool {
        self.metrics.iter().any(|metric| {
            metric.name == name
                && metric.gating
                && matches!(
                    metric.verdict,
                    MetricOutcome::Regressed | MetricOutcome::Waived
                )
        })
    }
}
