//! Between the calibration that a baseline file keeps and the noise that a comparison takes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::compare::{AaSession, Between, Calibrated, Noise, calibrate};
use crate::harness::model::Fingerprint;
use crate::harness::store::{Baseline, Calibration, CalibrationMetric};

use super::failure::Failure;

/// What the calibration of a baseline says of the noise of runs with this fingerprint, by metric: nothing under
/// another one.
pub(super) fn of(baseline: &Baseline, head: &Fingerprint) -> BTreeMap<String, Noise> {
    let calibration = baseline.calibration.as_ref();
    calibration
        .filter(|_| baseline.fingerprint == *head)
        .into_iter()
        .flat_map(|calibration| &calibration.metrics)
        .map(|(name, metric)| (name.clone(), noise(metric)))
        .collect()
}

/// The same of the baseline in that folder, where there is one.
pub(super) fn stored(
    baselines: &Path,
    head: &Fingerprint,
    scenario: &str,
) -> Result<BTreeMap<String, Noise>, Failure> {
    let found = Baseline::find(baselines, head, scenario)
        .map_err(|error| Failure::tool("reading the baseline", &error))?;
    Ok(found.map_or_else(BTreeMap::new, |baseline| of(&baseline, head)))
}

/// Finds s₀ and τ of every metric anew from the values of all sessions, and keeps them beside these.
pub(super) fn find(calibration: &mut Calibration) -> BTreeMap<String, Calibrated> {
    let newest = calibration.sessions.last().map(|it| it.revision.clone());
    let is_of_newest_revision: Vec<bool> = calibration
        .sessions
        .iter()
        .map(|session| Some(&session.revision) == newest.as_ref())
        .collect();
    let one = |metric: &mut CalibrationMetric| {
        let arms = metric.base.iter().zip(&metric.head);
        let sessions: Vec<AaSession<'_>> = arms
            .zip(&is_of_newest_revision)
            .map(|((base, head), is_of_newest_revision)| AaSession {
                base,
                head,
                is_of_newest_revision: *is_of_newest_revision,
            })
            .collect();
        let found = calibrate(metric.better, &sessions);
        metric.state(
            found.s0,
            narrowed(found.pairs),
            found.between.map(|between| between.tau),
            narrowed(found.between.map_or(0, |between| between.sessions)),
        );
        found
    };
    let metrics = calibration.metrics.iter_mut();
    metrics
        .map(|(name, metric)| (name.clone(), one(metric)))
        .collect()
}

fn noise(metric: &CalibrationMetric) -> Noise {
    Calibrated {
        s0: metric.s0,
        between: metric.tau.map(|tau| Between {
            tau,
            sessions: metric.sessions as usize,
        }),
        ..Calibrated::default()
    }
    .noise()
}

fn narrowed(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
