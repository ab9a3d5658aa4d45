//! Whether what a load measured may be judged, as far as the generator is concerned.

use crate::harness::engine::cores::mean_cores;
use crate::harness::model::{
    ArrivalModel, ErrorKind, GeneratorHealth, InvalidReason, LoadMeasurement,
};
use crate::harness::scenario::{GeneratorLimits, IMPLIED_ERROR_RATE_MAX, LoadPlan, PhasePlan};

/// Why a load's measurement is none; empty for a valid one. What was dropped and what was measured at
/// all is asked of the whole load: a worker without a user has nothing to measure. How a generator
/// fared is asked of each of its workers: one saturated worker among idle ones is saturated all the
/// same.
pub(super) fn validity(
    plan: &LoadPlan,
    phases: &PhasePlan,
    limits: &GeneratorLimits,
    load: &LoadMeasurement,
    workers: &[GeneratorHealth],
) -> Vec<InvalidReason> {
    let mut reasons = Vec::new();
    let name = || plan.name.clone();
    let counts = &load.counts;
    // What the end of the drain cut off was measured: a server that hangs from the start has failed.
    if counts.completed + counts.failed + counts.cancelled == 0 {
        reasons.push(InvalidReason::NothingMeasured { load: name() });
    }
    if load.model == ArrivalModel::Open
        && counts.dropped as f64 > plan.allowed_dropped * counts.offered as f64
    {
        reasons.push(InvalidReason::Dropped {
            load: name(),
            dropped: counts.dropped,
            offered: counts.offered,
            allowed: plan.allowed_dropped,
        });
    }
    let iterations = counts.failed.saturating_sub(failed_requests(load));
    if iterations > counts.failed / 2
        && iterations as f64 > IMPLIED_ERROR_RATE_MAX * counts.started as f64
    {
        reasons.push(InvalidReason::FailedUnmeasured {
            load: name(),
            iterations,
            started: counts.started,
        });
    }
    let lateness = workers
        .iter()
        .filter_map(|worker| worker.ticket_lateness.quantile_ns(0.99))
        .max();
    if let Some(lateness_ns_p99) = lateness.filter(|lateness_ns| *lateness_ns > limits.late_ns) {
        reasons.push(InvalidReason::GeneratorLate {
            load: name(),
            lateness_ns_p99,
            tolerance_ns: limits.late_ns,
        });
    }
    let busiest = workers
        .iter()
        .filter_map(|worker| Some((busy_cores(phases, worker)?, worker.cores)))
        .max_by(|(a, of_a), (b, of_b)| (a / of_a).total_cmp(&(b / of_b)));
    if let Some((cpu_cores, cores)) = busiest.filter(|(mean, cores)| *mean > limits.cpu * cores) {
        reasons.push(InvalidReason::GeneratorSaturated {
            load: name(),
            cpu_cores,
            cores,
        });
    }
    let mut exhausted = load
        .requests
        .iter()
        .filter_map(|series| series.errors.get(&ErrorKind::Exhausted));
    let failures = exhausted.clone().map(|tally| tally.count).sum();
    if let Some(tally) = exhausted.next() {
        reasons.push(InvalidReason::GeneratorExhausted {
            load: name(),
            failures,
            message: tally.example.clone(),
        });
    }
    let feeds = &load.generator.exhausted_feeds;
    reasons.extend(
        feeds
            .iter()
            .map(|(feed, iterations)| InvalidReason::FeedExhausted {
                load: name(),
                feed: feed.clone(),
                iterations: *iterations,
            }),
    );
    reasons
}

/// Failures of the measure phase that ended an iteration each. A request belongs to the phase in which it
/// was due; so where iterations take as long as the phases, those of the measure phase may fail beyond it,
/// and those of the warm-up in it.
fn failed_requests(load: &LoadMeasurement) -> u64 {
    let errors = load.requests.iter().flat_map(|series| &series.errors);
    errors
        .filter(|(kind, _)| **kind != ErrorKind::Cancelled)
        .fold(0, |sum, (_, tally)| sum.saturating_add(tally.count))
}

/// Whether the workers of one machine together kept its cores busy, though no one of them its own: not all of
/// them had one then, and how late that made a closed load nobody can tell.
pub fn crowded<'a>(
    phases: &PhasePlan,
    limits: &GeneratorLimits,
    cores: u32,
    workers: impl IntoIterator<Item = &'a GeneratorHealth>,
) -> Option<InvalidReason> {
    let mut cpu_cores = 0.0;
    for worker in workers {
        let busy = busy_cores(phases, worker).unwrap_or(0.0);
        if busy > limits.cpu * worker.cores {
            return None;
        }
        cpu_cores += busy;
    }
    let cores = f64::from(cores.max(1));
    (cpu_cores > limits.cpu * cores)
        .then_some(InvalidReason::GeneratorsCrowded { cpu_cores, cores })
}

/// The cores that a worker kept busy on average in the measure phase; `None` where it was not looked
/// at in it.
fn busy_cores(phases: &PhasePlan, worker: &GeneratorHealth) -> Option<f64> {
    let measure = phases.warmup_ns..phases.measure_end_ns();
    let looks = worker.samples.iter().map(|sample| {
        let at_ns = i64::try_from(sample.at_ns).unwrap_or(i64::MAX);
        (at_ns, sample.cpu_cores)
    });
    mean_cores(looks, measure).map(|(cores, _)| cores)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::harness::model::{Counts, ErrorTally, GeneratorSample};

    const S: u64 = 1_000_000_000;

    const PHASES: PhasePlan = PhasePlan {
        warmup_ns: 2 * S,
        measure_ns: 4 * S,
        cooldown_ns: S,
        drain_ns: 0,
    };

    fn reasons(change: impl FnOnce(&mut LoadMeasurement)) -> Vec<InvalidReason> {
        let limits = GeneratorLimits {
            late_ns: 1_000_000,
            ..GeneratorLimits::default()
        };
        let mut load = fixture::measurement();
        load.model = ArrivalModel::Open;
        load.generator.cores = 1.0;
        load.counts = Counts {
            offered: 1000,
            started: 1000,
            completed: 1000,
            ..Counts::default()
        };
        change(&mut load);
        let plan = fixture::job("http://127.0.0.1:1").load;
        let workers = [load.generator.clone()];
        validity(&plan, &PHASES, &limits, &load, &workers)
    }

    fn samples(cores: [f64; 7]) -> Vec<GeneratorSample> {
        let sample = |(index, cpu_cores)| GeneratorSample {
            at_ns: (index as u64 + 1) * S + 4_000_000,
            cpu_cores,
            rss_bytes: 0,
        };
        cores.into_iter().enumerate().map(sample).collect()
    }

    #[test]
    fn a_healthy_load_is_valid() {
        // Busy before and after the measure phase is no matter.
        let found =
            reasons(|load| load.generator.samples = samples([1., 1., 0.5, 0.5, 0.5, 0.5, 1.]));
        assert_eq!(found, []);
    }

    #[test]
    fn each_way_to_be_invalid_is_named() {
        let check = |change: &dyn Fn(&mut LoadMeasurement), expected: &str| {
            let found = reasons(change);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(format!("{:?}", found[0]).starts_with(expected), "{found:?}");
        };
        check(&|load| load.counts.dropped = 2, "Dropped");
        check(
            &|load| {
                for _ in 0..100 {
                    load.generator.ticket_lateness.record(1_100_000);
                }
            },
            "GeneratorLate",
        );
        check(
            &|load| load.generator.samples = samples([0., 0., 1., 0.9, 0.9, 0.9, 0.]),
            "GeneratorSaturated",
        );
        check(&|load| load.counts = Counts::default(), "NothingMeasured");
        check(
            &|load| {
                let tally = ErrorTally {
                    count: 3,
                    example: "Too many open files".into(),
                };
                load.requests[0].errors = [(ErrorKind::Exhausted, tally)].into();
            },
            "GeneratorExhausted { load: \"reads\", failures: 3, message: \"Too many open files\" }",
        );
        check(
            &|load| load.generator.exhausted_feeds = [("clients".to_owned(), 4)].into(),
            "FeedExhausted { load: \"reads\", feed: \"clients\", iterations: 4 }",
        );
    }

    #[test]
    fn iterations_that_fail_where_nothing_is_measured_are_noticed() {
        let check = |failed: u64, requests: u64, expected: Option<u64>| {
            let found = reasons(|load| {
                load.counts.completed = 1000 - failed;
                load.counts.failed = failed;
                let tally = |count| ErrorTally {
                    count,
                    example: String::new(),
                };
                let errors = [
                    (ErrorKind::Check, tally(requests)),
                    (ErrorKind::Cancelled, tally(1000)),
                ];
                load.requests[0].errors = errors.into();
            });
            let expected = expected.map(|iterations| InvalidReason::FailedUnmeasured {
                load: "reads".into(),
                iterations,
                started: 1000,
            });
            assert_eq!(found, Vec::from_iter(expected), "{failed}, {requests}");
        };
        check(1000, 0, Some(1000));
        check(1000, 499, Some(501));
        check(1000, 500, None);
        check(11, 0, Some(11));
        check(10, 0, None);
        // More requests than iterations: the warm-up's failed as well.
        check(100, 120, None);
    }

    #[test]
    fn a_server_that_answers_nothing_was_measured() {
        let found = reasons(|load| {
            load.counts.completed = 0;
            load.counts.cancelled = 1000;
        });
        assert_eq!(found, []);
    }

    #[test]
    fn one_saturated_worker_among_idle_ones_is_saturated() {
        let plan = fixture::job("http://127.0.0.1:1").load;
        let worker = |busy: f64| GeneratorHealth {
            samples: samples([busy; 7]),
            cores: 1.0,
            ..GeneratorHealth::default()
        };
        let mut load = fixture::measurement();
        load.counts.completed = 1;
        let check = |workers: &[GeneratorHealth], expected: &str| {
            let limits = GeneratorLimits::default();
            let found = validity(&plan, &PHASES, &limits, &load, workers);
            assert!(format!("{found:?}").starts_with(expected), "{found:?}");
        };
        check(&[worker(0.1), worker(0.8), worker(0.1)], "[]");
        check(
            &[worker(0.1), worker(0.95), worker(0.92)],
            "[GeneratorSaturated { load: \"reads\", cpu_cores: 0.95, cores: 1.0 }]",
        );
    }

    #[test]
    fn workers_that_fill_a_machine_together_are_noticed() {
        let worker = |busy: f64| GeneratorHealth {
            samples: samples([busy; 7]),
            cores: 1.0,
            ..GeneratorHealth::default()
        };
        let check = |workers: &[f64], cores: u32, expected: Option<f64>| {
            let workers: Vec<_> = workers.iter().map(|busy| worker(*busy)).collect();
            let found = crowded(&PHASES, &GeneratorLimits::default(), cores, &workers);
            let expected = expected.map(|cpu_cores| InvalidReason::GeneratorsCrowded {
                cpu_cores,
                cores: f64::from(cores),
            });
            assert_eq!(found, expected, "{workers:?}");
        };
        check(&[0.5; 8], 4, Some(4.0));
        check(&[0.5; 8], 8, None);
        check(&[0.5; 2], 2, None);
        // Of one that has filled its own, that is said.
        check(&[0.95], 1, None);
        check(&[], 2, None);
    }

    #[test]
    fn the_allowance_itself_is_allowed() {
        assert_eq!(reasons(|load| load.counts.dropped = 1), []);
    }

    #[test]
    fn a_measure_phase_without_end_is_no_overflow() {
        let mut load = fixture::measurement();
        load.generator.samples = samples([0., 0., 1., 1., 1., 1., 1.]);
        let phases = PhasePlan {
            measure_ns: u64::MAX,
            ..PHASES
        };
        assert_eq!(busy_cores(&phases, &load.generator), Some(1.0));
    }
}
