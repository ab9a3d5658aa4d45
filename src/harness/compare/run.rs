//! Two arms → their comparison.

use std::collections::BTreeSet;

use super::arms::{fingerprint_differences, pair_up};
use super::comparison::{Comparison, Design};
use super::metric::{Compared, compare_metric};
use super::settings::Settings;
use crate::harness::model::Run;

/// Compares every metric that both arms have. A metric that only one arm has is named in
/// `only_in_base` or `only_in_head`; one that some run could not measure or doesn't have is compared with
/// an unknown estimate that says why. Nothing is left out silently.
///
/// Runs are taken as they are: whether they may be judged (`invalid`, `partial`, the fingerprint
/// differences found here) is for the gate to say.
pub fn compare(base: &[Run], head: &[Run], settings: &Settings) -> Comparison {
    let pairs = pair_up(base, head);
    let (base_runs, head_runs) = match settings.design {
        Design::Paired => pairs.iter().map(|(base, head)| (base.id, head.id)).unzip(),
        Design::Stored => (
            base.iter().map(|run| run.id).collect(),
            head.iter().map(|run| run.id).collect(),
        ),
    };
    let mut comparison = Comparison {
        design: settings.design,
        alpha: settings.alpha,
        base_label: settings.base_label.clone(),
        head_label: settings.head_label.clone(),
        base_runs,
        head_runs,
        fingerprint_differences: fingerprint_differences(base, head),
        metrics: Vec::new(),
        only_in_base: Vec::new(),
        only_in_head: Vec::new(),
    };
    let arms = Compared::new(base, head, &pairs);
    let (in_base, in_head) = (names(base), names(head));
    for name in in_base.union(&in_head) {
        match (in_base.contains(name), in_head.contains(name)) {
            (true, false) => comparison.only_in_base.push((*name).to_owned()),
            (false, true) => comparison.only_in_head.push((*name).to_owned()),
            _ => {
                let compared = compare_metric(name, &arms, settings);
                comparison.metrics.push(compared);
            }
        }
    }
    comparison
}

/// The metrics that any run has, measurable or not.
fn names(runs: &[Run]) -> BTreeSet<&str> {
    runs.iter()
        .flat_map(|run| &run.metrics)
        .map(|metric| metric.name.as_str())
        .collect()
}
