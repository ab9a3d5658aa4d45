//! What became of one rate: whether the limits held, and whether it was offered at all.

use std::ops::Range;

use crate::harness::engine::metrics;
use crate::harness::model::{
    CapacityTrial, InvalidReason, LoadMeasurement, Metric, Reading, TrialOutcome, Unit,
};
use crate::harness::scenario::catalogue::{self, LatencyStat, LoadMetric, MetricKey, MetricSpec};
use crate::harness::scenario::{GatePlan, Plan};

/// Arrivals at random are fewer than their mean by more than this many standard deviations once in thirty
/// thousand times.
const DEVIATIONS: f64 = 4.0;
/// Of those that a quantile needs, at least a half have to be in order, whatever share of them may fail.
const MOST_WEIGHT: f64 = 2.0;

/// One trial, to be judged.
pub(super) struct Trial<'a> {
    /// The plan of the trial, in which the search is an open load at its rate.
    pub(super) plan: &'a Plan,
    /// The rate, in iterations per second.
    pub(super) rate: f64,
    /// Users at most.
    pub(super) users: u32,
    /// The share of arrivals that may be dropped.
    pub(super) allowed_dropped: f64,
    /// How long an iteration took on average at the lowest rate that the target bore, in ns; `None`
    /// before it bore one.
    pub(super) unhurried_ns: Option<f64>,
    /// What was measured of the load.
    pub(super) load: &'a LoadMeasurement,
    /// The measure phase as it was, in ns from the start of the load.
    pub(super) phase_ns: Range<u64>,
    /// What would make a run invalid.
    pub(super) invalid: &'a [InvalidReason],
    /// Of everything that was measured, where something beside the load has limits.
    pub(super) metrics: &'a [Metric],
}

/// What a limit says of a trial.
enum Finding {
    Holds,
    Broken(String),
    /// Fewer completed than were to.
    NotAchieved(String),
    /// Too little was measured to say anything.
    Unknown(String),
}

/// Whether a reason for which a run is invalid says how a trial ended, so that the search goes on.
pub(super) fn is_of_trial(reason: &InvalidReason) -> bool {
    generator(reason).is_some() || dropped(reason).is_some()
}

impl Trial<'_> {
    /// The trial as it is kept, held against the limits on its load and on what goes on beside it.
    pub(super) fn judge(&self, limits: &[GatePlan], beside: &[GatePlan]) -> CapacityTrial {
        let (outcome, reason) = self.outcome(limits, beside);
        let share = |what| {
            let spec = catalogue::load_metric(&self.load.name, what);
            self.metric(spec).value().unwrap_or(0.0)
        };
        CapacityTrial {
            rate: self.rate,
            achieved: share(LoadMetric::Achieved),
            error_rate: share(LoadMetric::ErrorRate),
            quantiles: self.quantiles(),
            outcome,
            reason,
        }
    }

    fn outcome(&self, limits: &[GatePlan], beside: &[GatePlan]) -> (TrialOutcome, String) {
        // A generator that could not offer the rate says nothing of the target, whatever was measured.
        if let Some(cause) = self.invalid.iter().find_map(generator) {
            return (TrialOutcome::NotOffered, cause);
        }
        let mut not_achieved = None;
        let mut unknown = None;
        for limit in limits {
            match self.finding(limit) {
                Finding::Holds => {}
                Finding::Broken(reason) => return (TrialOutcome::Broke, reason),
                Finding::NotAchieved(reason) => not_achieved = Some(reason),
                Finding::Unknown(reason) => unknown = Some(reason),
            }
        }
        // What could not be measured there is no limit of this rate.
        let broken = beside.iter().find_map(|limit| {
            let metric = self.metrics.iter().find(|it| it.name == limit.metric)?;
            let value = metric.value()?;
            Some(what_broke(
                limit,
                &metric.unit,
                value,
                limit.broken_by(value)?,
            ))
        });
        if let Some(reason) = broken {
            return (TrialOutcome::Broke, reason);
        }
        if let Some(reason) = not_achieved {
            return self.not_achieved(reason);
        }
        if let Some(reason) = unknown {
            return (TrialOutcome::NotOffered, reason);
        }
        // Enough may have been completed although more was dropped than is allowed.
        match self.invalid.iter().find_map(dropped) {
            Some((load, reason)) if load == self.load.name => self.not_achieved(reason),
            Some((_, reason)) => (TrialOutcome::Broke, reason),
            None => (TrialOutcome::Held, String::new()),
        }
    }

    /// Arrivals that were dropped say that all users were waiting. Whether the target is slow or they are
    /// few is told by how much would be dropped of a target that is not hurried.
    fn not_achieved(&self, reason: String) -> (TrialOutcome, String) {
        let are_few = self.load.counts.dropped > 0
            && match self.unhurried_ns {
                Some(unhurried_ns) => {
                    let busy = self.rate * unhurried_ns / 1e9;
                    blocked(busy, self.users) > self.allowed_dropped
                }
                // All that is known of the target is that it answered as it should.
                None => true,
            };
        match are_few {
            true => (
                TrialOutcome::NotOffered,
                format!(
                    "{reason}; all {} users were waiting, so this rate needs a larger `max_in_flight`",
                    self.users
                ),
            ),
            false => (TrialOutcome::Broke, reason),
        }
    }

    fn finding(&self, limit: &GatePlan) -> Finding {
        let found = catalogue::select(self.plan, &limit.metric).unwrap_or_default();
        let Some(spec) = found.into_iter().next() else {
            return Finding::Unknown(format!("one rate has no {}", limit.metric));
        };
        let key = spec.key.clone();
        let metric = self.metric(spec);
        let Some(value) = metric.value() else {
            return match metric.reading {
                // Connections that are kept are made in the warm-up; of those that are not made nobody
                // waits for one.
                _ if is_of_connections(&key) => Finding::Holds,
                Reading::NotMeasurable { reason, .. } if metric.observations > 0 => {
                    Finding::Unknown(format!("{}: {reason}", limit.metric))
                }
                // That is worse than anything that it could have been.
                _ => Finding::Broken(format!("{}: nothing was in order", limit.metric)),
            };
        };
        let Some(broken) = limit.broken_by(value) else {
            return Finding::Holds;
        };
        let reason = what_broke(limit, &metric.unit, value, broken);
        match key {
            MetricKey::Load {
                what: LoadMetric::Achieved,
                ..
            } => Finding::NotAchieved(reason),
            _ => Finding::Broken(reason),
        }
    }

    fn quantiles(&self) -> Vec<(f64, u64)> {
        let of_load = catalogue::all(self.plan)
            .into_iter()
            .filter_map(|spec| match &spec.key {
                MetricKey::Load {
                    load,
                    what: LoadMetric::Response(LatencyStat::Quantile(quantile)),
                } if *load == self.load.name => Some((quantile.fraction(), spec)),
                _ => None,
            });
        of_load
            .filter_map(|(fraction, spec)| Some((fraction, self.metric(spec).value()? as u64)))
            .collect()
    }

    /// By the formulas that a run's metrics are made with.
    fn metric(&self, spec: MetricSpec) -> Metric {
        metrics::of_trial(spec, self.load, self.phase_ns.clone(), self.weight())
    }

    /// How many of the iterations that were offered each completed one stands for. The rate is held for as long
    /// as quantiles need where all of them are in order. Those that are not have limits of their own, and of
    /// arrivals at random a few less than their mean may come: neither makes a rate one that was not offered.
    fn weight(&self) -> f64 {
        let counts = &self.load.counts;
        let offered = counts.offered as f64;
        let length_ns = self.phase_ns.end.saturating_sub(self.phase_ns.start);
        let planned = self.rate * length_ns as f64 / 1e9;
        let was_offered = offered + DEVIATIONS * planned.sqrt() >= planned;
        let meant = if was_offered {
            offered.max(planned)
        } else {
            offered
        };
        (meant / counts.completed.max(1) as f64).clamp(1.0, MOST_WEIGHT)
    }
}

fn is_of_connections(key: &MetricKey) -> bool {
    matches!(key, MetricKey::Load { what, .. } if what.is_of_connections())
}

/// The share of arrivals at random that find none of so many users idle, where they keep `busy` of them
/// busy on average: Erlang's loss formula (1917), by its recurrence. Of evenly spaced ones fewer do.
fn blocked(busy: f64, users: u32) -> f64 {
    (1..=users).fold(1.0, |blocked, user| {
        busy * blocked / (f64::from(user) + busy * blocked)
    })
}

/// Why the generator could not offer a rate, where that is what a reason says.
fn generator(reason: &InvalidReason) -> Option<String> {
    Some(match reason {
        InvalidReason::GeneratorLate {
            load,
            lateness_ns_p99,
            ..
        } => format!(
            "load {load} started 1 % of its iterations more than {} late",
            shown(&Unit::Nanoseconds, *lateness_ns_p99 as f64)
        ),
        InvalidReason::GeneratorSaturated {
            load,
            cpu_cores,
            cores,
        } => format!("the generator of load {load} kept {cpu_cores:.2} of {cores} cores busy"),
        InvalidReason::GeneratorsCrowded { cpu_cores, cores } => {
            format!("the generators of all loads kept {cpu_cores:.2} of {cores} cores busy")
        }
        InvalidReason::GeneratorExhausted { load, failures, .. } => {
            format!("the generator of load {load} had no file or port left for {failures} requests")
        }
        InvalidReason::NothingMeasured { load } => {
            format!("load {load} ended without one iteration in the measure phase")
        }
        _ => return None,
    })
}

/// The load that dropped more than it may, where that is what a reason says.
fn dropped(reason: &InvalidReason) -> Option<(&str, String)> {
    match reason {
        InvalidReason::Dropped {
            load,
            dropped,
            offered,
            ..
        } => Some((
            load,
            format!("load {load} dropped {dropped} of {offered} arrivals"),
        )),
        _ => None,
    }
}

fn what_broke(limit: &GatePlan, unit: &Unit, value: f64, broken: f64) -> String {
    let than = if value > broken { "more" } else { "less" };
    format!(
        "{} was {}, {than} than {}",
        limit.metric,
        shown(unit, value),
        shown(unit, broken)
    )
}

/// A value for whoever reads why.
fn shown(unit: &Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds => format!("{:.1} ms", value / 1e6),
        Unit::Ratio => format!("{:.2} %", 100.0 * value),
        _ => format!("{value:.1}"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::harness::model::{
        ArrivalModel, Counts, ErrorKind, ErrorTally, Outcome, RequestSeries,
    };
    use crate::harness::scenario::parse;

    const S: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    fn plan() -> Plan {
        let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                    [load.find]\nopen = { rate = \"100/s\", max_in_flight = 100 }\n";
        parse(text, Path::new("s.toml")).unwrap().plans.remove(0)
    }

    fn limit(metric: &str, max: Option<f64>, min: Option<f64>) -> GatePlan {
        GatePlan {
            max,
            min,
            ..GatePlan::on(metric)
        }
    }

    fn limits() -> [GatePlan; 3] {
        [
            limit("load.find.p95", Some(50e6), None),
            limit("load.find.error_rate", Some(0.01), None),
            limit("load.find.achieved", None, Some(0.99)),
        ]
    }

    /// Ten seconds with so many requests in order, failed and dropped; each of the first took so long.
    fn measured(ok: u64, took_ns: u64, failed: u64, dropped: u64) -> LoadMeasurement {
        let mut series = RequestSeries::new("GET /");
        for _ in 0..ok {
            series
                .response
                .entry(Outcome::Ok)
                .or_default()
                .record(took_ns);
        }
        let tally = ErrorTally {
            count: failed,
            example: String::new(),
        };
        series.errors.insert(ErrorKind::Status, tally);
        let mut load = LoadMeasurement::new("find", "f", ArrivalModel::Open);
        load.requests = vec![series];
        load.counts = Counts {
            offered: ok + failed + dropped,
            started: ok + failed,
            dropped,
            completed: ok,
            failed,
            ..Counts::default()
        };
        load
    }

    fn judged(
        load: &LoadMeasurement,
        unhurried_ns: Option<f64>,
        invalid: &[InvalidReason],
        limits: &[GatePlan],
    ) -> CapacityTrial {
        let trial = Trial {
            plan: &plan(),
            rate: 1000.0,
            users: 100,
            allowed_dropped: 0.001,
            unhurried_ns,
            load,
            phase_ns: 2 * S..12 * S,
            invalid,
            metrics: &[],
        };
        trial.judge(limits, &[])
    }

    fn check(
        load: &LoadMeasurement,
        unhurried_ns: Option<f64>,
        invalid: &[InvalidReason],
        expected: TrialOutcome,
        reason: &str,
    ) {
        let trial = judged(load, unhurried_ns, invalid, &limits());
        assert_eq!(trial.outcome, expected, "{}", trial.reason);
        assert!(trial.reason.contains(reason), "{}", trial.reason);
        assert_eq!(trial.reason.is_empty(), expected == TrialOutcome::Held);
    }

    fn dropped_of(load: &str, dropped: u64) -> InvalidReason {
        InvalidReason::Dropped {
            load: load.into(),
            dropped,
            offered: 10_000,
            allowed: 0.001,
        }
    }

    /// `load.*.p90` finds them too.
    #[test]
    fn connections_that_are_kept_break_no_limit() {
        let fast = measured(2000, 10 * MS, 0, 0);
        let [p95, ..] = limits();
        let of_connections = limit("load.find.connect.p95", Some(1.0), None);
        let trial = judged(&fast, None, &[], &[p95, of_connections]);
        assert_eq!(trial.outcome, TrialOutcome::Held, "{}", trial.reason);
    }

    #[test]
    fn a_rate_holds_where_every_limit_does() {
        use TrialOutcome::{Broke, Held, NotOffered};
        let fast = Some(5e6);
        check(&measured(10_000, 5 * MS, 0, 0), fast, &[], Held, "");
        check(
            &measured(10_000, 51 * MS, 0, 0),
            fast,
            &[],
            Broke,
            "load.find.p95 was 51.",
        );
        check(
            &measured(9_800, 5 * MS, 200, 0),
            fast,
            &[],
            Broke,
            "error_rate was 2.00 %, more than 1.00 %",
        );
        check(
            &measured(0, 0, 1000, 0),
            fast,
            &[],
            Broke,
            "nothing was in order",
        );
        // Too few for the quantile.
        check(
            &measured(1_000, 5 * MS, 0, 0),
            fast,
            &[],
            NotOffered,
            "only 50 requests lie beyond p95",
        );
    }

    #[test]
    fn what_goes_on_beside_it_has_to_keep_its_limits() {
        let mut spec = catalogue::load_metric("writes", LoadMetric::ErrorRate);
        spec.unit = Unit::Ratio;
        let metric = |reading| Metric {
            name: spec.path(),
            unit: Unit::Ratio,
            better: spec.better,
            reading,
            observations: 100,
        };
        let limit = limit("load.writes.error_rate", Some(0.01), None);
        let load = measured(10_000, 5 * MS, 0, 0);
        let check = |metric: Metric, expected: TrialOutcome, reason: &str| {
            let trial = Trial {
                plan: &plan(),
                rate: 1000.0,
                users: 100,
                allowed_dropped: 0.001,
                unhurried_ns: None,
                load: &load,
                phase_ns: 2 * S..12 * S,
                invalid: &[],
                metrics: &[metric],
            };
            let trial = trial.judge(&limits(), std::slice::from_ref(&limit));
            assert_eq!((trial.outcome, trial.reason.as_str()), (expected, reason));
        };
        let value = |value| Reading::Measured {
            values: vec![value],
        };
        check(metric(value(0.01)), TrialOutcome::Held, "");
        let broke = "load.writes.error_rate was 2.00 %, more than 1.00 %";
        check(metric(value(0.02)), TrialOutcome::Broke, broke);
        let unknown = Reading::NotMeasurable {
            reason: "none".into(),
            remedy: String::new(),
        };
        check(metric(unknown), TrialOutcome::Held, "");
    }

    /// Ten seconds of 200 a second have just as many as p95 needs.
    #[test]
    fn a_rate_that_was_offered_is_judged_though_some_failed() {
        let check = |load: &LoadMeasurement, expected: TrialOutcome, reason: &str| {
            let trial = Trial {
                plan: &plan(),
                rate: 200.0,
                users: 100,
                allowed_dropped: 0.001,
                unhurried_ns: None,
                load,
                phase_ns: 2 * S..12 * S,
                invalid: &[],
                metrics: &[],
            };
            let trial = trial.judge(&limits(), &[]);
            assert_eq!(trial.outcome, expected, "{}", trial.reason);
            assert!(trial.reason.contains(reason), "{}", trial.reason);
        };
        use TrialOutcome::{Broke, Held, NotOffered};
        check(&measured(2_000, 5 * MS, 0, 0), Held, "");
        check(&measured(1_990, 5 * MS, 10, 0), Held, "");
        check(&measured(1_990, 51 * MS, 10, 0), Broke, "p95 was 51.");
        // At random, less than the mean came.
        check(&measured(1_900, 5 * MS, 0, 0), Held, "");
        check(
            &measured(1_800, 5 * MS, 0, 0),
            NotOffered,
            "only 90 requests lie beyond p95",
        );
    }

    #[test]
    fn a_generator_that_was_not_fit_says_nothing_of_the_target() {
        let late = InvalidReason::GeneratorLate {
            load: "find".into(),
            lateness_ns_p99: 7 * MS,
            tolerance_ns: 5 * MS,
        };
        let slow = measured(10_000, 900 * MS, 0, 0);
        check(
            &slow,
            None,
            &[late],
            TrialOutcome::NotOffered,
            "more than 7.0 ms late",
        );
    }

    /// The users are a hundred: at 1000/s they are all busy where an iteration takes 100 ms.
    #[test]
    fn arrivals_that_were_dropped_are_the_targets_fault_where_it_slowed_down() {
        use TrialOutcome::{Broke, NotOffered};
        let load = measured(9_000, 20 * MS, 0, 1_000);
        let reasons = [dropped_of("find", 1_000)];
        check(
            &load,
            Some(20e6),
            &reasons,
            Broke,
            "achieved was 90.00 %, less than 99.00 %",
        );
        check(
            &load,
            Some(95e6),
            &reasons,
            NotOffered,
            "needs a larger `max_in_flight`",
        );
        check(
            &load,
            None,
            &reasons,
            NotOffered,
            "needs a larger `max_in_flight`",
        );
        // More than may be, although enough were completed.
        let load = measured(9_950, 20 * MS, 0, 50);
        let reasons = [dropped_of("find", 50)];
        check(&load, Some(20e6), &reasons, Broke, "dropped 50 of 10000");
        check(&load, Some(95e6), &reasons, NotOffered, "all 100 users");
        // Where it broke another limit, that is why.
        let load = measured(9_000, 80 * MS, 0, 1_000);
        check(
            &load,
            Some(95e6),
            &[dropped_of("find", 1_000)],
            Broke,
            "p95 was 8",
        );
        // What goes on beside it has to go on.
        let load = measured(10_000, 5 * MS, 0, 0);
        check(
            &load,
            Some(5e6),
            &[dropped_of("writes", 5)],
            Broke,
            "load writes dropped 5",
        );
    }

    #[test]
    fn users_are_lost_as_erlang_has_it() {
        let check = |busy: f64, users: u32, expected: f64| {
            let found = blocked(busy, users);
            assert!(
                (found / expected - 1.0).abs() < 1e-3,
                "{busy} {users}: {found}"
            );
        };
        // By the sum that the formula is: (a^n / n!) / (1 + a + a²/2! + … + a^n / n!).
        check(2.0, 1, 2.0 / 3.0);
        check(1.5, 2, 1.125 / 3.625);
        check(3.0, 4, 3.375 / 16.375);
        // From Erlang's tables: 84.1 erlangs lose one of a hundred with a hundred lines.
        check(84.06, 100, 0.01);
        assert_eq!(blocked(0.0, 3), 0.0);
    }

    #[test]
    fn a_trial_is_kept_with_what_the_curve_needs() {
        let trial = judged(&measured(3_000, 8 * MS, 60, 0), None, &[], &limits());
        assert!((trial.error_rate - 60.0 / 3060.0).abs() < 1e-12);
        assert!((trial.achieved - 3000.0 / 3060.0).abs() < 1e-12);
        // Of 3000 requests 30 lie beyond p99, which are too few for it.
        let fractions: Vec<f64> = trial
            .quantiles
            .iter()
            .map(|(fraction, _)| *fraction)
            .collect();
        assert_eq!(fractions, [0.5, 0.75, 0.9, 0.95]);
        for (_, ns) in trial.quantiles {
            assert!(ns.abs_diff(8 * MS) < MS / 100, "{ns}");
        }
    }
}
