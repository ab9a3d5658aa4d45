//! What the workers of one load left, as what the load measured: those of one machine, or of the
//! shards of several.

use std::collections::BTreeMap;

use super::job::{LoadFile, Shard};
use super::merge::{MergeError, merge};
use super::validity::validity;
use crate::harness::model::{Aborted, GeneratorHealth, InvalidReason, LoadMeasurement};
use crate::harness::scenario::{GeneratorLimits, LoadPlan, PhasePlan};

/// What became of one worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerEnd {
    /// Its load.
    pub load: String,
    /// Its part of it.
    pub shard: Shard,
    /// The file that it left, or what it said last, redacted.
    pub outcome: Result<LoadFile, String>,
}

/// What became of one load; [`collect`] gives these in the order of the loads.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadResult {
    /// What was measured, of all its workers; `None` where none left a file.
    pub measurement: Option<LoadMeasurement>,
    /// Whether a worker was stopped before its time.
    pub partial: bool,
    /// The limit that stopped one, where a limit on this load did.
    pub aborted: Option<Aborted>,
    /// Why the load must not be judged; empty for a valid one, and for one that was stopped in order.
    pub invalid: Vec<InvalidReason>,
}

/// Puts together what became of the workers of a run's loads, in the order of the plan, and asks of each
/// load whether it may be judged as far as the generator is concerned.
///
/// # Errors
/// What the workers of one load left is not of one load.
pub fn collect(
    loads: &[LoadPlan],
    phases: &PhasePlan,
    limits: &GeneratorLimits,
    ends: impl IntoIterator<Item = WorkerEnd>,
) -> Result<Vec<LoadResult>, MergeError> {
    let mut by_load: BTreeMap<String, Vec<WorkerEnd>> = BTreeMap::new();
    for end in ends {
        by_load.entry(end.load.clone()).or_default().push(end);
    }
    let together = loads.iter().map(|load| {
        let ends = by_load.remove(&load.name).unwrap_or_default();
        put_together(load, ends)
    });
    let mut results = together.collect::<Result<Vec<_>, _>>()?;
    let is_aborted = results.iter().any(|(result, _)| result.aborted.is_some());
    for (load, (result, generators)) in loads.iter().zip(&mut results) {
        // A load that was stopped is not judged. But what a limit did to the run must have been no
        // generator's fault, whosever load it was on.
        if (!result.partial || is_aborted)
            && let Some(measurement) = &result.measurement
        {
            let mut reasons = validity(load, phases, limits, measurement, generators);
            if result.partial && result.aborted.is_none() {
                // By then another was still about to.
                reasons.retain(|reason| !matches!(reason, InvalidReason::NothingMeasured { .. }));
            }
            result.invalid.extend(reasons);
        }
    }
    Ok(results.into_iter().map(|(result, _)| result).collect())
}

/// What the workers of a load measured together, and how each of them fared.
fn put_together(
    load: &LoadPlan,
    ends: Vec<WorkerEnd>,
) -> Result<(LoadResult, Vec<GeneratorHealth>), MergeError> {
    let mut result = LoadResult {
        measurement: None,
        partial: false,
        aborted: None,
        invalid: Vec::new(),
    };
    let mut generators = Vec::new();
    for end in ends {
        let file = match end.outcome {
            Ok(file) => file,
            Err(message) => {
                result.partial = true;
                result.invalid.push(InvalidReason::GeneratorFailed {
                    load: load.name.clone(),
                    message: match end.shard {
                        Shard::WHOLE => message,
                        shard => format!("worker {shard}: {message}"),
                    },
                });
                continue;
            }
        };
        result.partial |= file.partial;
        result.aborted = result.aborted.take().or(file.aborted);
        generators.push(file.measurement.generator.clone());
        match &mut result.measurement {
            None => result.measurement = Some(file.measurement),
            Some(measurement) => merge(measurement, file.measurement)?,
        }
    }
    Ok((result, generators))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::super::job::LOAD_FORMAT;
    use super::*;
    use crate::harness::model::{ArrivalModel, Counts, Unit};

    /// What three workers of an open load left, each with the given counts of arrivals that were
    /// started and dropped, and the lateness of its tickets; `None` for a worker that failed.
    fn collected(workers: [Option<(u64, u64, u64)>; 3]) -> LoadResult {
        let job = fixture::job("http://127.0.0.1:1");
        let ends = workers.into_iter().zip(0..).map(|(worker, index)| {
            let shard = Shard { index, of: 3 };
            let file = |(started, dropped, late_ns): (u64, u64, u64)| {
                let mut measurement = fixture::measurement();
                measurement.model = ArrivalModel::Open;
                measurement.shards = vec![shard.into()];
                measurement.generator.cores = 1.0;
                measurement.counts = Counts {
                    offered: started + dropped,
                    started,
                    dropped,
                    completed: started,
                    ..Counts::default()
                };
                for _ in 0..started {
                    measurement.generator.ticket_lateness.record(late_ns);
                }
                LoadFile {
                    schema: LOAD_FORMAT.to_owned(),
                    shard,
                    partial: false,
                    aborted: None,
                    ended_ns: job.phases.total_ns(),
                    measurement,
                }
            };
            WorkerEnd {
                load: job.load.name.clone(),
                shard,
                outcome: worker.map(file).ok_or_else(|| "no memory".to_owned()),
            }
        });
        let limits = GeneratorLimits {
            late_ns: 1_000_000,
            ..GeneratorLimits::default()
        };
        let loads = [job.load.clone()];
        let results = collect(&loads, &job.phases, &limits, ends).unwrap();
        results.into_iter().next().unwrap()
    }

    fn check(workers: [Option<(u64, u64, u64)>; 3], expected: &[&str]) {
        let found = collected(workers).invalid;
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            let found = format!("{found:?}");
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn a_share_that_may_be_dropped_is_that_of_the_whole_load() {
        // 2 of 3000, where 1 in 1000 is allowed.
        check(
            [Some((998, 2, 0)), Some((1000, 0, 0)), Some((1000, 0, 0))],
            &[],
        );
        check(
            [Some((997, 3, 0)), Some((1000, 0, 0)), Some((999, 1, 0))],
            &["Dropped { load: \"reads\", dropped: 4, offered: 3000"],
        );
    }

    #[test]
    fn a_worker_with_nothing_to_do_is_none_the_worse_for_it() {
        check([Some((0, 0, 0)), Some((1000, 0, 0)), Some((0, 0, 0))], &[]);
        check([Some((0, 0, 0)); 3], &["NothingMeasured"]);
    }

    #[test]
    fn one_late_worker_among_punctual_ones_is_late_all_the_same() {
        check(
            [
                Some((10, 0, 9_000_000)),
                Some((10_000, 0, 0)),
                Some((10, 0, 0)),
            ],
            &["GeneratorLate"],
        );
    }

    #[test]
    fn a_worker_that_failed_is_named_and_nothing_else_is_said() {
        let workers = [Some((0, 0, 0)), None, Some((10, 90, 0))];
        check(
            workers,
            &["GeneratorFailed { load: \"reads\", message: \"worker 1/3: no memory\""],
        );
        let result = collected(workers);
        assert!(result.partial);
        let shards = result.measurement.unwrap().shards;
        let shards: Vec<u32> = shards.iter().map(|part| part.index).collect();
        assert_eq!(shards, [0, 2]);
    }

    /// What is said of two loads of which a limit on the first ended the run, after `change` to what the
    /// worker of the second left.
    fn aborted(change: impl FnOnce(&mut LoadFile)) -> Vec<InvalidReason> {
        let job = fixture::job("http://127.0.0.1:1");
        let loads = ["reads", "writes"].map(|name| LoadPlan {
            name: name.to_owned(),
            ..job.load.clone()
        });
        let file = |load: &LoadPlan| {
            let mut measurement = fixture::measurement();
            measurement.name.clone_from(&load.name);
            measurement.generator.cores = 1.0;
            measurement.counts = Counts {
                offered: 100,
                started: 100,
                completed: 100,
                ..Counts::default()
            };
            LoadFile {
                schema: LOAD_FORMAT.to_owned(),
                shard: Shard::WHOLE,
                partial: true,
                aborted: None,
                ended_ns: job.phases.total_ns(),
                measurement,
            }
        };
        let [mut first, mut second] = [&loads[0], &loads[1]].map(file);
        let limit = Aborted {
            metric: "load.reads.error_rate".to_owned(),
            unit: Unit::Ratio,
            value: 0.5,
            limit: 0.05,
            at_ns: 6_000_000_000,
        };
        first.aborted = Some(limit.clone());
        change(&mut second);
        let ends = [first, second].map(|file| WorkerEnd {
            load: file.measurement.name.clone(),
            shard: Shard::WHOLE,
            outcome: Ok(file),
        });
        let limits = GeneratorLimits::default();
        let results = collect(&loads, &job.phases, &limits, ends).unwrap();
        assert!(results.iter().all(|result| result.partial));
        assert_eq!(results[0].aborted, Some(limit));
        results.into_iter().flat_map(|it| it.invalid).collect()
    }

    #[test]
    fn a_limit_that_ends_the_run_asks_all_generators() {
        assert_eq!(aborted(|_| ()), []);
        let late = aborted(|file| {
            for _ in 0..100 {
                let lateness = &mut file.measurement.generator.ticket_lateness;
                lateness.record(1_000_000_000);
            }
        });
        assert!(
            matches!(late.as_slice(), [InvalidReason::GeneratorLate { load, .. }] if load == "writes"),
            "{late:?}"
        );
        // That it had nothing to do by then is no fault.
        assert_eq!(
            aborted(|file| file.measurement.counts = Counts::default()),
            []
        );
        // A load that is partial because somebody stopped it is not asked.
        let stopped = collected([None, Some((10, 90, 0)), None]);
        assert_eq!(stopped.invalid.len(), 2, "{stopped:?}");
    }
}
