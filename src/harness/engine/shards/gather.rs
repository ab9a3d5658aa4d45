//! The shards of a run as one run, or what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{check, is_a_shard};
use super::file::ShardFile;
use super::perform::loads_alone;
use crate::harness::engine::execute::{add_loads, nothing_measured};
use crate::harness::engine::load::{self, MergeError, Shard, collect};
use crate::harness::engine::watch::spans;
use crate::harness::engine::{Executed, metrics};
use crate::harness::model::{Fingerprint, InvalidReason, MEASUREMENT_VERSION, ShardFault};
use crate::harness::scenario::Plan;

/// The starts of shards may lie so far apart, in ns: one was told `+30s` a little later than the other.
/// Beyond a window, the second of one is not the second of the other.
const START_TOLERANCE_NS: u64 = 1_000_000_000;

/// What shards measured together.
#[derive(Debug, Clone, PartialEq)]
pub struct Gathered {
    /// As if one engine had executed the plan. Shards that are missing, or that are not what they
    /// have to be, make it invalid; what the others measured is in it.
    pub executed: Executed,
    /// When the loads began, in ns since the Unix epoch; the earliest of all.
    pub start_at_ns: u64,
    /// The machines together.
    pub fingerprint: Fingerprint,
    /// The plan as they performed it: its loads, and the gates on them.
    pub plan: Plan,
}

/// Why there is no run to speak of.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// No file was given.
    #[error("there is no shard to put together")]
    Nothing,
    /// What the shards measured is something else.
    #[error(
        "none of these shards is of the scenario {scenario} as it is here: it measures something else by now, or was run with other options"
    )]
    OfNone {
        /// The scenario.
        scenario: String,
    },
    /// None of them can be used.
    #[error("none of these shards can be used; of shard {shard}: {problem}")]
    NoneUsable {
        /// The first.
        shard: Shard,
        /// What is wrong with it.
        problem: String,
    },
    /// What two workers left is not of one load.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

/// Puts shards together. Each is held against the plan, and against what most of those of the plan agree
/// on: how many they are, when they began and where their requests went.
///
/// # Errors
/// None of them is of the plan.
pub fn gather(plan: &Plan, files: Vec<ShardFile>) -> Result<Gathered, GatherError> {
    if files.is_empty() {
        return Err(GatherError::Nothing);
    }
    let agreed = Agreed::of(plan, &files).ok_or_else(|| GatherError::OfNone {
        scenario: plan.id(),
    })?;
    let mut faults: Vec<(Shard, ShardFault)> = Vec::new();
    let mut shards: BTreeMap<u32, ShardFile> = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for file in files {
        match agreed.fault(plan, &file) {
            Some(fault) => faults.push((file.shard, fault)),
            None if shards.contains_key(&file.shard.index) => {
                twice.insert(file.shard);
            }
            None => {
                shards.insert(file.shard.index, file);
            }
        }
    }
    if shards.is_empty()
        && let Some((shard, problem)) = faults.iter().find_map(|(shard, fault)| match fault {
            ShardFault::Unsound { problem }
            | ShardFault::Foreign {
                difference: problem,
            } => Some((*shard, problem.clone())),
            _ => None,
        })
    {
        return Err(GatherError::NoneUsable { shard, problem });
    }
    faults.extend(twice.into_iter().map(|shard| (shard, ShardFault::Twice)));
    for index in (0..agreed.of).filter(|index| !shards.contains_key(index)) {
        let shard = Shard {
            index,
            of: agreed.of,
        };
        // One that is there and is not what it has to be was named already.
        if faults.iter().all(|(known, _)| *known != shard) {
            faults.push((shard, ShardFault::Missing));
        }
    }
    // A limit ends a run by itself: that is no fault of the shard's, nor of those that were stopped after it.
    let workers = shards.values().flat_map(|file| &file.workers);
    let aborted = workers.filter_map(|worker| Some(worker.aborted.as_ref()?.at_ns));
    let aborted_ns = aborted.min().unwrap_or(u64::MAX);
    for file in shards.values().filter(|file| file.partial) {
        let ended = file.workers.iter().map(|worker| worker.ended_ns).min();
        let ended_ns = ended.unwrap_or(0);
        if ended_ns < aborted_ns {
            faults.push((file.shard, ShardFault::Partial { ended_ns }));
        }
    }
    faults.sort_by_key(|(shard, _)| *shard);
    let invalid = faults
        .into_iter()
        .map(|(Shard { index, of }, fault)| InvalidReason::Shard { index, of, fault });
    let invalid = invalid.collect();
    together(loads_alone(plan, &agreed.target), shards, invalid)
}

/// What the shards that are in order measured, invalid for these reasons and for those of its loads.
fn together(
    plan: Plan,
    shards: BTreeMap<u32, ShardFile>,
    mut invalid: Vec<InvalidReason>,
) -> Result<Gathered, GatherError> {
    let machines = shards.values().map(|file| &file.fingerprint);
    let fingerprint = Fingerprint::together(machines).ok_or(GatherError::Nothing)?;
    let starts = shards.values().map(|file| file.start_at_ns);
    let start_at_ns = starts.min().ok_or(GatherError::Nothing)?;
    let duration_ns = shards.values().map(|file| file.duration_ns).max();
    let partial = shards.values().any(|file| file.partial);
    let all = shards.values().flat_map(|file| &file.workers);
    let ends: Vec<u64> = all.map(|worker| worker.ended_ns).collect();
    let (first_ns, last_ns) = (ends.iter().min().copied(), ends.iter().max().copied());
    let mut warnings = Vec::new();
    let mut crowded = Vec::new();
    let mut workers = Vec::new();
    for (index, mut file) in shards {
        invalid.append(&mut file.invalid);
        let said = file.warnings.drain(..);
        warnings.extend(said.map(|warning| format!("shard {index}: {warning}")));
        let generators = file.workers.iter().map(|it| &it.measurement.generator);
        let cores = file.fingerprint.logical_cpus;
        crowded.extend(load::crowded(
            &plan.phases,
            &plan.generator,
            cores,
            generators,
        ));
        workers.extend(file.ends());
    }
    let mut executed = Executed {
        invalid,
        partial,
        warnings,
        duration_ns: duration_ns.unwrap_or_default(),
        ..nothing_measured()
    };
    let results = collect(&plan.loads, &plan.phases, &plan.generator, workers)?;
    add_loads(&mut executed, results, crowded);
    // Where one was ended and others went on, what they counted together was in no one stretch of time, and
    // no rate of it is one.
    let is_of_one_time = last_ns.unwrap_or(0) - first_ns.unwrap_or(0) <= START_TOLERANCE_NS;
    let ended_ns = match is_of_one_time {
        true => first_ns,
        false => last_ns,
    };
    executed.measurement.phases = spans(&plan.phases, ended_ns.unwrap_or(u64::MAX));
    if is_of_one_time {
        executed.metrics = metrics(&plan, &executed.measurement);
    }
    Ok(Gathered {
        executed,
        start_at_ns,
        fingerprint,
        plan,
    })
}

/// What the shards of a run have in common.
#[derive(Debug, Clone)]
struct Agreed {
    of: u32,
    target: String,
    start_at_ns: u64,
}

impl Agreed {
    /// What most of the shards of the plan agree on; of several such groups, that of the first file.
    fn of(plan: &Plan, files: &[ShardFile]) -> Option<Self> {
        let of_plan = |file: &&ShardFile| {
            file.fingerprint.scenario_hash == plan.hash && is_a_shard(file.shard).is_ok()
        };
        let groups = files.iter().filter(of_plan).map(|file| Self {
            of: file.shard.of,
            target: file.target.clone(),
            start_at_ns: file.start_at_ns,
        });
        let groups: Vec<Self> = groups.collect();
        let votes = |one: &Self| {
            let same = groups
                .iter()
                .filter(|other| one.difference(other).is_none());
            same.count()
        };
        // Of several that are largest, the last one is given.
        groups
            .iter()
            .rev()
            .max_by_key(|group| votes(group))
            .cloned()
    }

    /// In what another is of another run, in a clause.
    fn difference(&self, other: &Self) -> Option<String> {
        if other.of != self.of {
            return Some(format!("it is one of {}, not of {}", other.of, self.of));
        }
        if other.target != self.target {
            return Some(format!(
                "it was sent to {}, not to {}",
                other.target, self.target
            ));
        }
        let apart_ns = other.start_at_ns.abs_diff(self.start_at_ns);
        let which = match other.start_at_ns > self.start_at_ns {
            true => "later",
            false => "earlier",
        };
        (apart_ns > START_TOLERANCE_NS).then(|| format!("it began {} {which}", seconds(apart_ns)))
    }

    /// What is wrong with a file, if anything.
    fn fault(&self, plan: &Plan, file: &ShardFile) -> Option<ShardFault> {
        let foreign = |difference| Some(ShardFault::Foreign { difference });
        let unsound = |problem| Some(ShardFault::Unsound { problem });
        if let Err(problem) = is_a_shard(file.shard) {
            return unsound(problem);
        }
        if file.fingerprint.scenario_hash != plan.hash {
            return foreign(format!("it measured something else than {}", plan.id()));
        }
        if file.fingerprint.measurement_version != MEASUREMENT_VERSION {
            let version = &file.plimsoll_version;
            return foreign(format!("plimsoll {version} measured it in another way"));
        }
        let its = Self {
            of: file.shard.of,
            target: file.target.clone(),
            start_at_ns: file.start_at_ns,
        };
        if let Some(difference) = self.difference(&its) {
            return foreign(difference);
        }
        let set_ns = file.clock_set_ns.unsigned_abs();
        if set_ns > START_TOLERANCE_NS {
            return unsound(format!(
                "its clock was set by {} while it went on, so nobody knows when it began",
                seconds(set_ns)
            ));
        }
        check(file, plan).err().and_then(unsound)
    }
}

fn seconds(ns: u64) -> String {
    format!("{:.1} s", ns as f64 / 1e9)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::harness::engine::load::{LOAD_FORMAT, LoadFile};
    use crate::harness::engine::shards::{FailedWorker, SHARD_FORMAT};
    use crate::harness::model::{
        Aborted, ArrivalModel, Counts, GeneratorHealth, GeneratorSample, LatencyHistogram,
        LoadMeasurement, LoadWindow, Outcome, Phase, RequestSeries, Unit,
    };
    use crate::harness::scenario::parse;

    const S: u64 = 1_000_000_000;

    fn plan() -> Plan {
        let text = "schema = 1\nname = \"shop\"\nurl = \"http://10.0.0.1:1\"\n\
                    [[flow.f.step]]\nget = \"/\"\n\
                    [load.a]\nopen = { rate = \"300/s\", max_in_flight = 30 }\n\
                    [phases]\nwarmup = \"0s\"\nmeasure = \"2s\"\n";
        parse(text, Path::new("s.toml")).unwrap().plans.remove(0)
    }

    /// What a worker leaves that performed its part of two seconds at 300/s.
    fn worker(shard: Shard) -> LoadFile {
        let (of, index) = (u64::from(shard.of), u64::from(shard.index));
        let own = |until: u64| (until + of - 1 - index) / of;
        let counts = |arrivals: u64| Counts {
            offered: arrivals,
            started: arrivals,
            completed: arrivals,
            ..Counts::default()
        };
        let mut load = LoadMeasurement::new("a", "f", ArrivalModel::Open);
        load.counts = counts(own(600));
        load.windows = [(0, own(300)), (S, own(600) - own(300))]
            .map(|(start_ns, arrivals)| LoadWindow {
                start_ns,
                length_ns: S,
                phase: Phase::Measure,
                counts: counts(arrivals),
                in_flight: 0,
                target_rate: Some(300.0 / of as f64),
            })
            .to_vec();
        let mut latencies = LatencyHistogram::new();
        for arrival in 0..own(600) {
            latencies.record((arrival * of + index) * 10_000 + 1_000_000);
        }
        load.iteration = latencies.clone();
        let mut series = RequestSeries::new("GET /");
        series.response = [(Outcome::Ok, latencies.clone())].into();
        series.service = [(Outcome::Ok, latencies)].into();
        load.requests = vec![series];
        load.shards = vec![shard.into()];
        load.generator = GeneratorHealth {
            samples: vec![GeneratorSample {
                at_ns: S + 1,
                cpu_cores: 0.1,
                rss_bytes: 1,
            }],
            cores: 1.0,
            ..GeneratorHealth::default()
        };
        LoadFile {
            schema: LOAD_FORMAT.to_owned(),
            shard,
            partial: false,
            aborted: None,
            ended_ns: 2 * S,
            measurement: load,
        }
    }

    /// A shard with so many workers.
    fn shard(plan: &Plan, index: u32, of: u32, workers: u32) -> ShardFile {
        let shard = Shard { index, of };
        ShardFile {
            schema: SHARD_FORMAT.to_owned(),
            plimsoll_version: "0.1.0".to_owned(),
            shard,
            scenario: plan.id(),
            fingerprint: Fingerprint {
                cpu_model: "any".into(),
                logical_cpus: 2,
                measurement_version: MEASUREMENT_VERSION,
                scenario_hash: plan.hash.clone(),
                ..Fingerprint::unknown()
            },
            target: "http://10.0.0.1:1".to_owned(),
            start_at_ns: 1000 * S,
            clock_set_ns: 0,
            duration_ns: 2 * S + u64::from(index),
            partial: false,
            invalid: Vec::new(),
            warnings: Vec::new(),
            workers: (0..workers)
                .map(|nth| worker(shard.part(nth, workers)))
                .collect(),
            failed: Vec::new(),
        }
    }

    fn three(plan: &Plan) -> Vec<ShardFile> {
        (0..3).map(|index| shard(plan, index, 3, 1)).collect()
    }

    /// What is said of three shards after `change`.
    fn faults(change: impl FnOnce(&mut Vec<ShardFile>)) -> Vec<String> {
        let plan = plan();
        let mut files = three(&plan);
        change(&mut files);
        let gathered = gather(&plan, files).unwrap();
        let invalid = gathered.executed.invalid.iter();
        invalid
            .map(|reason| match reason {
                InvalidReason::Shard { index, of, fault } => format!("{index}/{of} {fault:?}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn check_fault(change: impl FnOnce(&mut Vec<ShardFile>), expected: &str) {
        let found = faults(change);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{found:?}");
    }

    #[test]
    fn what_a_shard_says_is_said_of_the_run() {
        let plan = plan();
        let mut files = three(&plan);
        files[1].warnings.push("the teardown failed".into());
        let gathered = gather(&plan, files).unwrap();
        assert_eq!(gathered.executed.warnings, ["shard 1: the teardown failed"]);
        assert_eq!(gathered.executed.invalid, []);
    }

    #[test]
    fn shards_together_are_one_run() {
        let plan = plan();
        let alone = gather(&plan, vec![shard(&plan, 0, 1, 1)]).unwrap();
        assert_eq!(alone.executed.invalid, []);
        assert_eq!(alone.executed.measurement.loads[0].counts.completed, 600);
        // Machines need not have as many workers as each other, and come in any order.
        let workers = |workers: [u32; 3]| {
            let files = [2, 0, 1].map(|index| shard(&plan, index, 3, workers[index as usize]));
            gather(&plan, files.to_vec()).unwrap()
        };
        for mut gathered in [workers([1, 1, 1]), workers([2, 1, 3])] {
            assert_eq!(gathered.executed.invalid, []);
            assert!(!gathered.executed.partial);
            assert_eq!(gathered.start_at_ns, 1000 * S);
            assert_eq!(gathered.executed.duration_ns, 2 * S + 2);
            assert_eq!(gathered.executed.metrics, alone.executed.metrics);
            assert_eq!(gathered.fingerprint.logical_cpus, 6);
            let load = &mut gathered.executed.measurement.loads[0];
            let whole = &alone.executed.measurement.loads[0];
            let parts = load
                .shards
                .iter()
                .map(|it| 1.0 / f64::from(it.of))
                .sum::<f64>();
            assert!((parts - 1.0).abs() < 1e-12, "{:?}", load.shards);
            for window in &mut load.windows {
                let rate = window.target_rate.unwrap();
                assert!((rate - 300.0).abs() < 1e-9, "{rate}");
                window.target_rate = Some(300.0);
            }
            // But for its parts and for the generators, it is what one worker measured.
            load.shards.clone_from(&whole.shards);
            load.generator = whole.generator.clone();
            assert_eq!(*load, *whole);
        }
    }

    #[test]
    fn a_part_of_the_shards_is_no_run() {
        check_fault(|files| drop(files.remove(1)), "1/3 Missing");
        assert_eq!(
            faults(|files| files.truncate(1)),
            ["1/3 Missing", "2/3 Missing"]
        );
        check_fault(|files| files.push(files[2].clone()), "2/3 Twice");
        check_fault(
            |files| {
                files[0].partial = true;
                files[0].workers[0].ended_ns = S;
            },
            "0/3 Partial { ended_ns: 1000000000 }",
        );
        let failed = faults(|files| {
            let worker = files[1].workers.remove(0);
            files[1].failed.push(FailedWorker {
                load: "a".into(),
                shard: worker.shard,
                message: "no memory".into(),
            });
        });
        assert_eq!(failed.len(), 1);
        assert!(failed[0].contains("worker 1/3: no memory"), "{failed:?}");
    }

    /// A limit that one of them broke is the run's: it has failed, and no shard is to blame.
    #[test]
    fn a_limit_that_ended_a_shard_ended_the_run() {
        let plan = plan();
        let mut files = three(&plan);
        let aborted = Aborted {
            metric: "load.a.error_rate".into(),
            unit: Unit::Ratio,
            value: 0.5,
            limit: 0.05,
            at_ns: S,
        };
        files[1].partial = true;
        let worker = &mut files[1].workers[0];
        worker.partial = true;
        worker.aborted = Some(aborted.clone());
        let mut at_once = files.clone();
        let Gathered { executed, .. } = gather(&plan, files.clone()).unwrap();
        assert_eq!(executed.invalid, []);
        assert_eq!(
            (executed.partial, &executed.aborted),
            (true, &Some(aborted))
        );
        // It ended with the others, a moment before its time.
        assert_eq!(rate(&executed), Some(300.0));

        // One that was stopped because of that is no fault; one that was stopped before it is.
        let mut stopped = |ended_ns: u64| {
            files[2].partial = true;
            files[2].workers[0].partial = true;
            files[2].workers[0].ended_ns = ended_ns;
            gather(&plan, files.clone()).unwrap().executed.invalid
        };
        assert_eq!(stopped(S + S / 2), []);
        let before = InvalidReason::Shard {
            index: 2,
            of: 3,
            fault: ShardFault::Partial { ended_ns: S / 2 },
        };
        assert_eq!(stopped(S / 2), [before]);

        // Its rates are of no time where the others went on: all of what they did in the time of the first.
        let worker = &mut at_once[1].workers[0];
        worker.ended_ns = S / 2;
        worker.aborted.as_mut().unwrap().at_ns = S / 2;
        let Gathered { executed, .. } = gather(&plan, at_once).unwrap();
        assert_eq!(executed.invalid, []);
        assert_eq!(executed.metrics, []);
        assert_eq!(executed.measurement.loads[0].counts.completed, 600);
        let measure = executed.measurement.phases.last().unwrap();
        assert_eq!((measure.phase, measure.end_ns), (Phase::Measure, 2 * S));
    }

    fn rate(executed: &Executed) -> Option<f64> {
        let mut metrics = executed.metrics.iter();
        metrics.find(|metric| metric.name == "load.a.rate")?.value()
    }

    #[test]
    fn a_machine_that_is_full_of_its_workers_is_noticed() {
        let crowded = |busy: f64| {
            faults(|files| {
                let worker = &mut files[1].workers[0].measurement;
                worker.generator.cores = 4.0;
                worker.generator.samples[0].cpu_cores = busy;
            })
        };
        assert_eq!(crowded(1.7), [""; 0]);
        let found = crowded(1.9);
        assert!(
            matches!(found.as_slice(), [one] if one.starts_with("GeneratorsCrowded")),
            "{found:?}"
        );
    }

    #[test]
    fn a_shard_of_another_run_is_named() {
        let check = |change: fn(&mut ShardFile), expected: &str| {
            for index in 0..3 {
                let found = faults(|files| change(&mut files[index]));
                let [found] = found.as_slice() else {
                    panic!("{found:?}");
                };
                assert!(found.starts_with(&format!("{index}/")), "{found}");
                assert!(found.contains(expected), "{found}");
            }
        };
        check(
            |file| file.fingerprint.scenario_hash = "other".into(),
            "something else than shop",
        );
        check(
            |file| file.fingerprint.measurement_version = 99,
            "in another way",
        );
        check(
            |file| file.target = "http://10.0.0.2:1".into(),
            "sent to http://10.0.0.2:1",
        );
        check(|file| file.start_at_ns += 12 * S, "it began 12.0 s later");
        check(|file| file.start_at_ns -= 2 * S, "it began 2.0 s earlier");
        check(
            |file| file.clock_set_ns = -3_600 * S as i64,
            "set by 3600.0 s",
        );
        // A second is what machines that were told `+30s` may differ by.
        assert_eq!(faults(|files| files[1].start_at_ns += S), [""; 0]);
    }

    #[test]
    fn one_of_another_number_is_foreign_and_leaves_a_gap() {
        let plan = plan();
        let found = faults(|files| files[1] = shard(&plan, 1, 4, 1));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("1/3 Missing"), "{found:?}");
        assert!(found[1].starts_with("1/4 Foreign"), "{found:?}");
    }

    #[test]
    fn what_can_not_be_is_not_put_together() {
        let check = |change: fn(&mut ShardFile), expected: &str| {
            check_fault(|files| change(&mut files[1]), expected);
        };
        check(|file| file.workers.clear(), "not all of its own");
        check(
            |file| file.workers.push(file.workers[0].clone()),
            "not all of its own",
        );
        check(|file| file.workers[0].shard.index = 0, "not all of its own");
        check(
            |file| file.workers[0].measurement.name = "b".into(),
            "not all of its own",
        );
        check(
            |file| file.workers[0].measurement.flow = "g".into(),
            "another load",
        );
        check(
            |file| file.workers[0].measurement.counts.completed += 1,
            "don't add up",
        );
        check(
            |file| {
                let counts = &mut file.workers[0].measurement.counts;
                (counts.offered, counts.dropped) = (u64::MAX, u64::MAX - counts.started);
            },
            "count so far",
        );
        check(
            |file| file.workers[0].measurement.windows[1].length_ns = 0,
            "follow each other",
        );
        check(
            |file| {
                let windows = &mut file.workers[0].measurement.windows;
                windows.iter_mut().for_each(|window| window.length_ns = 0);
            },
            "odd length",
        );
        check(
            |file| file.workers[0].measurement.windows[1].start_ns = 7,
            "follow each other",
        );
        check(
            |file| file.workers[0].measurement.iteration = LatencyHistogram::new(),
            "completed",
        );
        check(
            |file| file.workers[0].measurement.requests[0].service.clear(),
            "other response times",
        );
        check(
            |file| file.workers[0].measurement.generator.cores = -1.0,
            "no cores",
        );
        check(
            |file| file.workers[0].measurement.generator.samples[0].at_ns = u64::MAX,
            "follow each other",
        );
        check(|file| file.workers[0].ended_ns = u64::MAX, "after its end");
    }

    #[test]
    fn shards_of_something_else_are_no_run_of_this() {
        let plan = plan();
        assert!(matches!(
            gather(&plan, Vec::new()),
            Err(GatherError::Nothing)
        ));
        let mut files = three(&plan);
        for file in &mut files {
            file.fingerprint.scenario_hash = "other".into();
        }
        let error = gather(&plan, files).unwrap_err().to_string();
        assert!(error.contains("shop"), "{error}");
        let mut zero = shard(&plan, 0, 1, 1);
        zero.shard.of = 0;
        assert!(gather(&plan, vec![zero]).is_err());
        let mut broken = shard(&plan, 0, 1, 1);
        broken.workers.clear();
        let error = gather(&plan, vec![broken]).unwrap_err().to_string();
        assert!(
            error.contains("0/1") && error.contains("not all of its own"),
            "{error}"
        );
    }
}
