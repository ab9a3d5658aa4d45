//! Limits that end a run as soon as the measure phase so far breaks one.

use std::ops::Range;

use super::job::{AbortRule, WorkerJob};
use super::recorder::under_way;
use crate::harness::engine::metrics;
use crate::harness::model::{Aborted, LoadMeasurement, Outcome, Unit};
use crate::harness::scenario::{
    ABORTS_AFTER_NS, GatePlan, LoadPlan, Plan, abort_limits, catalogue,
};

/// A latency or a share of fewer requests says little of all.
const LEAST_OBSERVATIONS: u64 = 100;

/// The limits of the plan that end a run by what that load measures.
pub(in crate::harness::engine) fn abort_rules(plan: &Plan, load: &LoadPlan) -> Vec<AbortRule> {
    let rule = |gate: GatePlan| {
        let found = catalogue::select(plan, &gate.metric).ok()?;
        let metric = found.into_iter().next()?;
        Some(AbortRule { metric, gate })
    };
    let limits = abort_limits(plan, load).into_iter();
    limits.filter_map(rule).collect()
}

/// What may end a run.
#[derive(Debug)]
pub(super) struct Aborts {
    rules: Vec<AbortRule>,
    measure: Range<u64>,
}

impl Aborts {
    /// Those of a job.
    pub(super) fn of(job: &WorkerJob) -> Self {
        Self {
            rules: job.aborts.clone(),
            measure: job.phases.warmup_ns..job.phases.measure_end_ns(),
        }
    }

    /// Whether it is time to look, in load time.
    pub(super) fn are_due(&self, now_ns: u64) -> bool {
        let from_ns = self.measure.start.saturating_add(ABORTS_AFTER_NS);
        !self.rules.is_empty() && (from_ns..self.measure.end).contains(&now_ns)
    }

    /// The first limit that the totals up to now break. Iterations and requests (by name)
    /// that are under way may still end well, so a limit is broken only where it is without them,
    /// and with all of them in order and answered at once. `part` is what the worker had of the load, from
    /// 0 to 1; nothing is held against one that had none of it.
    pub(super) fn broken(
        &self,
        load: &LoadMeasurement,
        requests_under_way: &[u64],
        part: f64,
        now_ns: u64,
    ) -> Option<Aborted> {
        if part <= 0.0 {
            return None;
        }
        let iterations = under_way(&load.counts);
        let mut ended = load.clone();
        ended.counts.offered -= iterations;
        ended.counts.started -= iterations;
        let mut at_best = None;
        self.rules.iter().find_map(|rule| {
            let (value, limit) = self.broken_by(rule, &ended, part, now_ns)?;
            let at_best = at_best.get_or_insert_with(|| in_order(load, requests_under_way));
            self.broken_by(rule, at_best, part, now_ns)?;
            Some(Aborted {
                metric: rule.metric.path(),
                unit: rule.metric.unit.clone(),
                value,
                limit,
                at_ns: now_ns,
            })
        })
    }

    /// The value and the limit that it breaks.
    fn broken_by(
        &self,
        rule: &AbortRule,
        load: &LoadMeasurement,
        part: f64,
        now_ns: u64,
    ) -> Option<(f64, f64)> {
        let phase_ns = self.measure.start..now_ns;
        let metric = metrics::of_load(rule.metric.clone(), load, phase_ns);
        let value = metric.value()?;
        let is_of_each = matches!(metric.unit, Unit::Nanoseconds | Unit::Ratio);
        if is_of_each && metric.observations < LEAST_OBSERVATIONS {
            return None;
        }
        // The limits are the whole load's: what grows with it is held against them as if its other
        // workers did as well with theirs.
        let value = match is_of_each {
            true => value,
            false => value / part,
        };
        rule.gate.broken_by(value).map(|limit| (value, limit))
    }
}

/// The measurement with everything under way completed, as fast as nothing is.
fn in_order(load: &LoadMeasurement, requests_under_way: &[u64]) -> LoadMeasurement {
    let mut load = load.clone();
    let iterations = under_way(&load.counts);
    load.counts.completed += iterations;
    for _ in 0..iterations {
        load.iteration.record(0);
    }
    for (series, under_way) in load.requests.iter_mut().zip(requests_under_way) {
        for _ in 0..*under_way {
            series.response.entry(Outcome::Ok).or_default().record(0);
            series.service.entry(Outcome::Ok).or_default().record(0);
        }
    }
    load
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::harness::model::{Counts, ErrorKind, ErrorTally};
    use crate::harness::scenario::PhasePlan;
    use crate::harness::scenario::catalogue::LoadMetric;

    const S: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    fn aborts(what: LoadMetric, max: Option<f64>, min: Option<f64>) -> Aborts {
        let mut job = fixture::job("http://127.0.0.1:1");
        job.phases = PhasePlan {
            warmup_ns: 2 * S,
            measure_ns: 20 * S,
            cooldown_ns: 0,
            drain_ns: 0,
        };
        let metric = catalogue::load_metric("reads", what);
        let gate = GatePlan {
            max,
            min,
            ..GatePlan::on(metric.path())
        };
        job.aborts = vec![AbortRule { metric, gate }];
        Aborts::of(&job)
    }

    /// So many requests in order, each of which took so long, and so many that failed.
    fn measured(ok: u64, took_ns: u64, failed: u64) -> LoadMeasurement {
        let mut load = fixture::measurement();
        load.counts = Counts {
            offered: ok + failed,
            started: ok + failed,
            completed: ok,
            failed,
            ..Counts::default()
        };
        let series = &mut load.requests[0];
        for _ in 0..ok {
            load.iteration.record(took_ns);
            for histograms in [&mut series.response, &mut series.service] {
                histograms.entry(Outcome::Ok).or_default().record(took_ns);
            }
        }
        let tally = ErrorTally {
            count: failed,
            example: String::new(),
        };
        series.errors.insert(ErrorKind::Status, tally);
        load
    }

    /// The value and the limit of what is broken after ten seconds of the measure phase.
    fn found(aborts: &Aborts, load: &LoadMeasurement, under_way: u64) -> Option<(f64, f64)> {
        found_by(aborts, load, under_way, 1.0)
    }

    /// The same for a worker that had a part of the load.
    fn found_by(
        aborts: &Aborts,
        load: &LoadMeasurement,
        under_way: u64,
        part: f64,
    ) -> Option<(f64, f64)> {
        let mut load = load.clone();
        load.counts.offered += under_way;
        load.counts.started += under_way;
        let found = aborts.broken(&load, &[under_way], part, 12 * S)?;
        assert_eq!(found.at_ns, 12 * S);
        Some((found.value, found.limit))
    }

    #[test]
    fn nothing_is_ended_before_the_fifth_second_of_the_measure_phase() {
        let rate = aborts(LoadMetric::Rate, None, Some(1.0));
        let due = [0, 2, 6, 7, 8, 21, 22, 23].map(|second| rate.are_due(second * S));
        assert_eq!(due, [false, false, false, true, true, true, false, false]);
        let none = Aborts {
            rules: Vec::new(),
            ..rate
        };
        assert!(!none.are_due(10 * S));
    }

    #[test]
    fn a_broken_limit_is_found_with_what_broke_it() {
        let errors = aborts(LoadMetric::ErrorRate, Some(0.05), None);
        assert_eq!(found(&errors, &measured(950, MS, 50), 0), None);
        assert_eq!(
            found(&errors, &measured(900, MS, 100), 0),
            Some((0.1, 0.05))
        );
        let rate = aborts(LoadMetric::Rate, None, Some(100.0));
        assert_eq!(found(&rate, &measured(1000, MS, 0), 0), None);
        assert_eq!(found(&rate, &measured(900, MS, 0), 0), Some((90.0, 100.0)));
        // Nothing at all is a rate, and too low.
        assert_eq!(found(&rate, &measured(0, MS, 0), 0), Some((0.0, 100.0)));
    }

    #[test]
    fn what_is_under_way_gets_the_benefit_of_the_doubt() {
        let rate = aborts(LoadMetric::Rate, None, Some(100.0));
        assert_eq!(found(&rate, &measured(900, MS, 0), 99), Some((90.0, 100.0)));
        assert_eq!(found(&rate, &measured(900, MS, 0), 100), None);
        let errors = aborts(LoadMetric::ErrorRate, Some(0.05), None);
        assert_eq!(
            found(&errors, &measured(900, MS, 100), 999),
            Some((0.1, 0.05))
        );
        assert_eq!(found(&errors, &measured(900, MS, 100), 1000), None);
        let p50 = aborts(stat("p50"), Some(5e6), None);
        assert!(found(&p50, &measured(900, 6 * MS, 0), 890).is_some());
        assert_eq!(found(&p50, &measured(900, 6 * MS, 0), 910), None);
        // Nor does it count as if it had failed.
        let achieved = aborts(LoadMetric::Achieved, None, Some(0.99));
        assert_eq!(found(&achieved, &measured(1000, MS, 0), 500), None);
        assert_eq!(
            found(&achieved, &measured(980, MS, 20), 500),
            Some((0.98, 0.99))
        );
    }

    fn stat(text: &str) -> LoadMetric {
        let path = format!("load.reads.{text}");
        catalogue::of_load(&path).unwrap().1
    }

    #[test]
    fn a_share_of_few_requests_ends_nothing() {
        let errors = aborts(LoadMetric::ErrorRate, Some(0.05), None);
        assert_eq!(found(&errors, &measured(0, MS, 99), 0), None);
        assert_eq!(found(&errors, &measured(0, MS, 100), 0), Some((1.0, 0.05)));
    }

    #[test]
    fn a_worker_holds_its_part_against_its_part_of_the_limit() {
        let rate = aborts(LoadMetric::Rate, None, Some(100.0));
        let by = |part, ok| found_by(&rate, &measured(ok, MS, 0), 0, part);
        assert_eq!(by(0.25, 250), None);
        assert_eq!(by(0.25, 200), Some((80.0, 100.0)));
        // Parts need not be alike: one of three users, and two of them.
        assert_eq!(by(1.0 / 3.0, 334), None);
        assert_eq!(by(2.0 / 3.0, 667), None);
        assert!(by(2.0 / 3.0, 334).is_some());
        // Who has no user at all is not too slow.
        assert_eq!(by(0.0, 0), None);
        let errors = aborts(LoadMetric::ErrorRate, Some(0.05), None);
        assert_eq!(
            found_by(&errors, &measured(900, MS, 100), 0, 0.25),
            Some((0.1, 0.05))
        );
    }
}
