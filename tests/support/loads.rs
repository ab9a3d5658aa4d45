//! Loads from outside, and what holds of every one of them, whatever its server did.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use plimsoll::harness::engine::load::{LoadResult, WorkerJob, collect, perform};
use plimsoll::harness::engine::{Engine as _, Executed, LoadTick, Progress, SubjectEngine};
use plimsoll::harness::model::{
    Counts, ErrorKind, LatencyHistogram, LoadMeasurement, Outcome, Phase,
};
use plimsoll::harness::scenario::{GeneratorLimits, LoadPlan, Plan};
use tokio::sync::watch;

/// Executes jobs as the engine does, `program` being the worker, and puts together what those of one load
/// measured; the results are in the order of the jobs.
pub(crate) async fn drive(
    program: &Path,
    jobs: &[WorkerJob],
    limits: &GeneratorLimits,
    on_tick: &(dyn Fn(LoadTick) + Send + Sync),
) -> Vec<LoadResult> {
    let (_stop, never) = watch::channel(false);
    let ends = perform(program, jobs, never, on_tick).await;
    let mut loads: Vec<LoadPlan> = Vec::new();
    for job in jobs {
        if loads.iter().all(|load| load.name != job.load.name) {
            loads.push(job.load.clone());
        }
    }
    let phases = jobs.first().expect("a job").phases;
    let ends = ends.expect("the workers start");
    collect(&loads, &phases, limits, ends).expect("they are of these loads")
}

/// Executes a plan with the engine, `program` being the worker, until it ends or is stopped; with what is
/// noted meanwhile.
pub(crate) async fn execute(
    program: &Path,
    plan: &Plan,
    stop: watch::Receiver<bool>,
) -> (Executed, Vec<String>) {
    let mut engine = SubjectEngine::new(program.into(), BTreeMap::new());
    let notes = Mutex::new(Vec::new());
    let observe = |progress| {
        if let Progress::Note(note) | Progress::Warning(note) = progress {
            notes.lock().expect("nobody panics").push(note);
        }
    };
    let executed = engine.run(plan, stop, &observe).await;
    (
        executed.expect("it can be run"),
        notes.into_inner().expect("nobody panicked"),
    )
}

/// Demands that everything adds up: iterations over all and over time, requests by outcome and by kind
/// of failure.
pub(crate) fn check_arithmetic(load: &LoadMeasurement) {
    assert!(load.counts.adds_up(), "{:?}", load.counts);
    let mut windows = Counts::default();
    for window in &load.windows {
        assert!(window.counts.adds_up(), "{window:?}");
        if window.phase == Phase::Measure {
            windows.add(&window.counts);
        }
    }
    assert_eq!(
        windows, load.counts,
        "the windows don't add up to the measure phase"
    );
    assert_eq!(load.iteration.count(), load.counts.completed);
    for series in &load.requests {
        let ended = |of: &BTreeMap<Outcome, LatencyHistogram>| -> u64 {
            of.values().map(LatencyHistogram::count).sum()
        };
        assert_eq!(ended(&series.response), ended(&series.service));
        let failed = series.response.get(&Outcome::Failed);
        let tallied: u64 = series
            .errors
            .iter()
            .filter(|(kind, _)| {
                // These have no latency.
                !matches!(
                    kind,
                    ErrorKind::Cancelled | ErrorKind::Template | ErrorKind::Condition
                )
            })
            .map(|(_, tally)| tally.count)
            .sum();
        assert_eq!(failed.map_or(0, LatencyHistogram::count), tallied);
    }
}
