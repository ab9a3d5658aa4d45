//! Between the calibration that a baseline file keeps and the noise that a comparison takes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::compare::{AaSession, Between, Calibrated, Noise, calibrate};
use crate::harness::model::{Fingerprint, same_state};
use crate::harness::store::{Baseline, Calibration, CalibrationMetric, CalibrationSession};

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
    let newest = calibration.sessions.last();
    let sessions = calibration.sessions.iter();
    let is_of_newest_revision: Vec<bool> = sessions
        .map(|session| newest.is_some_and(|newest| same_state(state(session), state(newest))))
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

fn state(session: &CalibrationSession) -> (&str, Option<&str>) {
    (&session.session, session.revision.as_deref())
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

/// More than fits is as much as fits.
pub(super) fn narrowed(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::harness::model::{Direction, Unit};

    #[test]
    fn the_spread_is_of_sessions_of_one_state_of_the_code() {
        let check = |revisions: &[Option<&str>], expected: u32| {
            let session = |(number, revision): (usize, &Option<&str>)| CalibrationSession {
                session: format!("session {number}"),
                revision: revision.map(str::to_owned),
                plimsoll_version: String::new(),
                started_at: Timestamp::UNIX_EPOCH,
                pairs: 2,
            };
            let values = |first: f64| {
                let of_session = |at: usize| vec![first + at as f64, first + 2.0 * at as f64];
                (0..revisions.len()).map(of_session).collect()
            };
            let metric = CalibrationMetric {
                unit: Unit::Nanoseconds,
                better: Direction::Lower,
                s0: None,
                pairs: 0,
                tau: None,
                sessions: 0,
                base: values(10.0),
                head: values(11.0),
            };
            let mut calibration = Calibration {
                sessions: revisions.iter().enumerate().map(session).collect(),
                metrics: [("m".to_owned(), metric)].into(),
            };
            find(&mut calibration);
            let metric = calibration.metrics.get("m").unwrap();
            assert_eq!(metric.sessions, expected, "{revisions:?}");
        };
        let (a, b) = (Some("1a2b3c4"), Some("5d6e7f8"));
        check(&[a, a, a], 3);
        check(&[a, b, a, a], 3);
        check(&[None; 4], 0);
        check(&[Some("1a2b3c4+dirty"); 4], 0);
        check(&[Some("1a2b3c4+dirty.0a1b2c3d"); 4], 4);
    }
}
