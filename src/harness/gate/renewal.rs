//! Whether new sessions may take the place of a baseline.
//!
//! A baseline that is renewed without a look is how a slow service becomes the measure of itself.
//! So whatever got worse by its margin, or is gone, needs somebody's word; what got better doesn't,
//! but is said. Waivers have no say here: they excuse for a time, and a baseline stays.
//!
//! Here the estimate alone decides, whether or not the bounds leave open that nothing changed: accepting
//! noise is a word, and a regression that becomes the measure is for good.

use super::verdict::{MetricOutcome, MetricVerdict, Reason, Verdict};
use crate::harness::model::{Arm, Run};
use crate::harness::scenario::catalogue;

/// What stands between new sessions and their becoming the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Renewal<'v> {
    /// Drifted, and accepted.
    pub accepted: Vec<Drifted<'v>>,
    /// Drifted, and not accepted.
    pub refused: Vec<Drifted<'v>>,
    /// Limits that the new sessions break, and what has no value because everything failed. Nobody
    /// can accept these: a broken subject is no measure.
    pub broken: Vec<&'v Reason>,
    /// Patterns that accept nothing.
    pub unneeded: Vec<String>,
}

/// A metric with a margin that got worse by as much, or is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drifted<'v> {
    /// Its path.
    pub metric: &'v str,
    /// How it changed; `None` where a new run doesn't have it or could not measure it.
    pub verdict: Option<&'v MetricVerdict>,
}

impl<'v> Renewal<'v> {
    /// From the verdict on the new sessions (the runs `head`) against the old baseline, and patterns of
    /// metrics whose drift is accepted.
    ///
    /// A metric whose comparison is advisory, because nothing is known of what lies between sessions,
    /// counts like one that gates. One that a new run doesn't know is lost: no later gate could judge it.
    pub fn of(verdict: &'v Verdict, head: &[Run], accept: &[String]) -> Self {
        let is_lost = |name: &str| {
            head.iter().any(|run| {
                let metric = run.metric(name);
                metric.is_none_or(|metric| metric.values().is_empty())
            })
        };
        // Said below: nobody can accept it.
        let is_hopeless = |name: &str| {
            verdict.reasons.iter().any(|reason| match reason {
                Reason::NothingInOrder { metric } | Reason::NoRateHeld { metric } => metric == name,
                _ => false,
            })
        };
        let worse = verdict.metrics.iter().filter(|metric| {
            let Some(margin) = metric.margin else {
                return false;
            };
            match metric.verdict {
                MetricOutcome::Regressed => true,
                MetricOutcome::Inconclusive => metric.effect.is_some_and(|effect| effect >= margin),
                MetricOutcome::NotMeasurable => {
                    metric.base.is_some() && is_lost(&metric.name) && !is_hopeless(&metric.name)
                }
                _ => false,
            }
        });
        let worse = worse.map(|metric| Drifted {
            metric: &metric.name,
            verdict: (metric.verdict != MetricOutcome::NotMeasurable).then_some(metric),
        });
        let gone = verdict.reasons.iter().filter_map(|reason| match reason {
            Reason::OneArmOnly {
                metric,
                arm: Arm::Base,
            } => Some(Drifted {
                metric,
                verdict: None,
            }),
            _ => None,
        });
        let drifted: Vec<Drifted<'_>> = worse.chain(gone).collect();
        let unneeded = accept.iter().filter(|pattern| {
            !drifted
                .iter()
                .any(|one| catalogue::matches(pattern, one.metric))
        });
        let unneeded = unneeded.cloned().collect();
        let (accepted, refused) = drifted.into_iter().partition(|one| {
            accept
                .iter()
                .any(|pattern| catalogue::matches(pattern, one.metric))
        });
        Self {
            accepted,
            refused,
            broken: verdict
                .reasons
                .iter()
                .filter(|reason| {
                    matches!(
                        reason,
                        Reason::Aborted { .. }
                            | Reason::LimitBroken { .. }
                            | Reason::NothingInOrder { .. }
                            | Reason::NoRateHeld { .. }
                    )
                })
                .collect(),
            unneeded,
        }
    }

    /// Whether the new sessions may become the baseline.
    pub fn is_granted(&self) -> bool {
        self.refused.is_empty() && self.broken.is_empty()
    }
}
