//! What A/A runs said of the noise of a scenario, as a part of its baseline file.
//!
//! An A/A run is one of a pair whose two runs are of the same build: whatever they differ by is noise. The
//! values are kept as they were measured, so that a later calibration can add to them; what follows from
//! them stands beside them, because that is what a gate uses and a person reviews.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::shorten;
use crate::harness::model::{Direction, PairedValues, Unit};

/// The A/A runs of a scenario under one fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// In the order in which they were added, at least one.
    pub sessions: Vec<CalibrationSession>,
    /// What they say, by the metric's path. Metrics without a ratio are not among them.
    pub metrics: BTreeMap<String, CalibrationMetric>,
}

/// A sitting of A/A runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationSession {
    /// The sitting.
    pub session: String,
    /// What was measured.
    pub revision: Option<String>,
    /// The version of Plimsoll that measured it.
    pub plimsoll_version: String,
    /// When its first run started.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// Its pairs, those only of which both runs are valid.
    pub pairs: u32,
}

/// The noise of one metric, and the values that it was found in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationMetric {
    /// The unit of the values.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// s₀, the standard deviation of a paired difference of logarithms; `None` where there are too few
    /// pairs, or no two of them differ.
    pub s0: Option<f64>,
    /// The differences behind `s0`: pairs of sessions that have five, for a bench invocations.
    pub pairs: u32,
    /// τ, the standard deviation between sessions, of logarithms; `None` where there are too few sessions.
    pub tau: Option<f64>,
    /// The sessions behind `tau`.
    pub sessions: u32,
    /// One entry per session: the values of the runs that were called base, in the order of the pairs, to
    /// six digits; empty where the metric was not measured in that session.
    pub base: Vec<Vec<f64>>,
    /// The same of the runs that were called head.
    pub head: Vec<Vec<f64>>,
}

impl Calibration {
    /// Adds a session with what was measured in it, by the metric's path: positive values. What follows from
    /// them has to be found anew. A metric that has another unit or direction than before begins anew.
    pub fn add(&mut self, session: CalibrationSession, measured: BTreeMap<String, PairedValues>) {
        let before = self.sessions.len();
        self.sessions.push(session);
        for (name, pairs) in measured {
            let metric = self
                .metrics
                .entry(name)
                .and_modify(|known| {
                    if (&known.unit, known.better) != (&pairs.unit, pairs.better) {
                        *known = CalibrationMetric::new(pairs.unit.clone(), pairs.better, before);
                    }
                })
                .or_insert_with(|| {
                    CalibrationMetric::new(pairs.unit.clone(), pairs.better, before)
                });
            let shortened = |values: Vec<f64>| values.into_iter().map(shorten).collect();
            metric.base.push(shortened(pairs.base));
            metric.head.push(shortened(pairs.head));
        }
        for metric in self.metrics.values_mut() {
            metric.base.resize(self.sessions.len(), Vec::new());
            metric.head.resize(self.sessions.len(), Vec::new());
        }
    }

    /// In what it contradicts itself, if so.
    pub(super) fn contradiction(&self) -> Option<String> {
        let sessions = self.sessions.len();
        if sessions == 0 {
            return Some("its calibration has no session".to_owned());
        }
        self.metrics.iter().find_map(|(name, metric)| {
            let trouble = metric.contradiction(sessions)?;
            Some(format!("`{name}` of its calibration {trouble}"))
        })
    }
}

impl CalibrationMetric {
    /// Keeps what follows from its values, to six digits: s₀ with the differences behind it, τ with the sessions.
    pub fn state(&mut self, s0: Option<f64>, pairs: u32, tau: Option<f64>, sessions: u32) {
        self.s0 = s0.map(shorten);
        self.pairs = pairs;
        self.tau = tau.map(shorten);
        self.sessions = sessions;
    }

    /// Nothing known, over so many sessions that don't have it.
    fn new(unit: Unit, better: Direction, sessions: usize) -> Self {
        Self {
            unit,
            better,
            s0: None,
            pairs: 0,
            tau: None,
            sessions: 0,
            base: vec![Vec::new(); sessions],
            head: vec![Vec::new(); sessions],
        }
    }

    fn contradiction(&self, sessions: usize) -> Option<&'static str> {
        let arms = || self.base.iter().chain(&self.head);
        let even = self.base.len() == sessions
            && self.head.len() == sessions
            && self
                .base
                .iter()
                .zip(&self.head)
                .all(|(base, head)| base.len() == head.len());
        if !even {
            return Some("has not as many values of one arm as of the other in each session");
        }
        if !arms()
            .flatten()
            .all(|value| value.is_finite() && *value > 0.0)
        {
            return Some("has a value that is not positive");
        }
        let spreads = self.s0.iter().chain(&self.tau);
        let in_order = spreads
            .into_iter()
            .all(|spread| spread.is_finite() && *spread >= 0.0);
        (!in_order).then_some("has a spread that is none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> CalibrationSession {
        CalibrationSession {
            session: name.to_owned(),
            revision: None,
            plimsoll_version: "0".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            pairs: 2,
        }
    }

    fn measured(
        name: &str,
        unit: Unit,
        base: &[f64],
        head: &[f64],
    ) -> BTreeMap<String, PairedValues> {
        let pairs = PairedValues {
            unit,
            better: Direction::Lower,
            base: base.to_vec(),
            head: head.to_vec(),
        };
        [(name.to_owned(), pairs)].into()
    }

    #[test]
    fn every_metric_has_an_entry_for_every_session() {
        let mut calibration = Calibration::default();
        calibration.add(
            session("a"),
            measured("x", Unit::Count, &[1.0, 2.0], &[3.0, 4.000_000_4]),
        );
        calibration.add(
            session("b"),
            measured("y", Unit::Count, &[5.0, 6.0], &[7.0, 8.0]),
        );
        calibration.add(session("c"), measured("x", Unit::Count, &[9.0], &[9.5]));
        let (x, y) = (&calibration.metrics["x"], &calibration.metrics["y"]);
        assert_eq!(x.base, [vec![1.0, 2.0], vec![], vec![9.0]]);
        assert_eq!(
            x.head,
            [vec![3.0, 4.0], vec![], vec![9.5]],
            "six digits are kept"
        );
        assert_eq!(y.base, [vec![], vec![5.0, 6.0], vec![]]);
        assert_eq!(calibration.contradiction(), None);
    }

    #[test]
    fn another_unit_begins_anew() {
        let mut calibration = Calibration::default();
        calibration.add(session("a"), measured("x", Unit::Count, &[1.0], &[3.0]));
        calibration.add(session("b"), measured("x", Unit::Bytes, &[5.0], &[7.0]));
        let x = &calibration.metrics["x"];
        assert_eq!((&x.unit, &x.base), (&Unit::Bytes, &vec![vec![], vec![5.0]]));
    }

    #[test]
    fn what_contradicts_itself_is_said() {
        let check = |spoil: fn(&mut Calibration), expected: &str| {
            let mut calibration = Calibration::default();
            calibration.add(
                session("a"),
                measured("x", Unit::Count, &[1.0, 2.0], &[3.0, 4.0]),
            );
            spoil(&mut calibration);
            let found = calibration.contradiction().unwrap_or_default();
            assert!(found.contains(expected), "{found}");
        };
        fn x(calibration: &mut Calibration) -> &mut CalibrationMetric {
            calibration
                .metrics
                .get_mut("x")
                .expect("the metric that was added")
        }
        check(|it| it.sessions.clear(), "no session");
        check(|it| x(it).head[0].truncate(1), "as many");
        check(|it| x(it).base.push(vec![]), "as many");
        check(|it| x(it).base[0][1] = 0.0, "not positive");
        check(|it| x(it).head[0][1] = f64::INFINITY, "not positive");
        check(|it| x(it).s0 = Some(-0.1), "spread");
        check(|it| x(it).tau = Some(f64::NAN), "spread");
    }
}
