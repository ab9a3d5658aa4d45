//! Whether new sessions may take the place of a baseline.
//!
//! A baseline that is renewed without a look is how a slow service becomes the measure of itself.
//! So whatever got worse by its margin, or is gone, needs somebody's word; what got better doesn't,
//! but is said. Waivers have no say here: they excuse for a time, and a baseline stays.

use super::verdict::{MetricOutcome, MetricVerdict, Reason, Verdict};
use crate::harness::model::Arm;
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
    /// How it changed; `None` where the new sessions don't have it.
    pub verdict: Option<&'v MetricVerdict>,
}

impl<'v> Renewal<'v> {
    /// From the verdict on the new sessions (the head) against the old baseline, and patterns of
    /// metrics whose drift is accepted.
    ///
    /// A metric whose comparison is advisory, because nothing is known of what lies between sessions,
    /// counts like one that gates: accepting it is a word, losing it unseen is for good.
    pub fn of(verdict: &'v Verdict, accept: &[String]) -> Self {
        let worse = verdict
            .metrics
            .iter()
            .filter(|metric| metric.margin.is_some() && metric.verdict == MetricOutcome::Regressed);
        let worse = worse.map(|metric| Drifted {
            metric: &metric.name,
            verdict: Some(metric),
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
                        Reason::LimitBroken { .. } | Reason::NothingInOrder { .. }
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
