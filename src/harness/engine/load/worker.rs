//! A worker: one process that executes one load, or a shard of it.
//!
//! It is a process of its own because goose keeps a global kill switch, takes Ctrl-C and may exit
//! the process, and because so the generator's CPU can be told from everything else. Its users share
//! one thread: that is the cheapest way to drive connections, and a saturated generator is then
//! simply one whose core is full. The dispatcher is a task among them; the clerk has a thread of its own
//! and little to do.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::abort::Aborts;
use super::alarm::Alarm;
use super::clerk::Clerk;
use super::clock::LoadClock;
use super::dispatcher::dispatch;
use super::flow::{Flow, FlowError, redactor};
use super::job::{LOAD_FORMAT, LoadFile, WorkerEvent, WorkerJob};
use super::journey::Journey;
use super::recorder::{Began, Recorder};
use super::schedule::Schedule;
use super::shape::Shape;
use super::trace::TraceError;
use super::transport::{Transport, TransportError};
use super::users::{self, Arrivals, Crew, Room};
use crate::harness::engine::DocumentError;
use crate::harness::model::{
    Aborted, ArrivalModel, GeneratorHealth, GroupSeries, LoadMeasurement, RequestSeries,
};
use crate::harness::scenario::{Arrivals as ArrivalPlan, Stage, highest};

/// A longer job is refused before it is parsed. The 9 MiB of text that a scenario may have, with its
/// templates in files, are at most ten times as long as JSON.
const MAX_JOB_BYTES: u64 = 128 << 20;
/// The users of a worker share one thread.
const CORES: f64 = 1.0;

/// Why a worker ended without a file.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The first line of the standard input was no job.
    #[error(
        "the first line of the standard input is no job: {0}; workers are started by `plimsoll run`"
    )]
    Job(String),
    /// The flow could not be compiled.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// Recorded arrivals could not be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The way to the target could not be prepared.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A thread or the runtime could not be started.
    #[error("the worker could not start: {0}")]
    Start(#[from] std::io::Error),
    /// goose ended with an error.
    #[error("goose: {0}")]
    Goose(#[from] goose::GooseError),
    /// goose stopped the users.
    #[error("goose stopped its users before the load was over")]
    Left,
    /// One of its threads is gone.
    #[error("BUG: the {0} panicked")]
    Panicked(&'static str),
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] DocumentError),
    /// Whoever started this worker is gone, so nobody wants what it measures.
    #[error("the standard input was closed, so whoever started this worker is gone")]
    Abandoned,
}

/// Reads a job from the standard input, executes it, leaves its file and says so on the standard
/// output. Ends early at SIGTERM and Ctrl-C, and where a limit asks for it, keeping what was measured;
/// and at once when the standard input is closed.
pub fn worker_main() -> Result<(), WorkerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Before anything that takes its time: without a listener SIGTERM kills, and what was only told
    // to end would look as if it had failed.
    let terminate = {
        let _inside = runtime.enter();
        signal(SignalKind::terminate())?
    };
    say(&WorkerEvent::Listening);
    raise_open_files();
    let mut input = BufReader::new(std::io::stdin());
    let job = read_job(&mut input)?;
    let (abandoned_tx, abandoned) = oneshot::channel();
    thread::Builder::new()
        .name("parent-watch".to_owned())
        .spawn(move || {
            let _ = std::io::copy(&mut input, &mut std::io::sink());
            let _ = abandoned_tx.send(());
        })?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = execute(job, terminate) => done,
            _ = abandoned => Err(WorkerError::Abandoned),
        }
    });
    // A name that is still being resolved, on a thread of its own, keeps nobody waiting.
    runtime.shutdown_background();
    done
}

/// Raises the soft limit on open files to the hard one: each user has a connection, and the usual
/// soft limit is for programs that call `select`. Where that fails, or isn't enough, a user who finds
/// no file left makes the run invalid.
fn raise_open_files() {
    let _ = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
}

fn read_job(input: &mut BufReader<std::io::Stdin>) -> Result<WorkerJob, WorkerError> {
    let mut line = String::new();
    input
        .take(MAX_JOB_BYTES)
        .read_line(&mut line)
        .map_err(|error| WorkerError::Job(error.to_string()))?;
    // serde_json's own message can quote a value, which may be a secret.
    let job: WorkerJob = serde_json::from_str(&line).map_err(|error| {
        let what = format!("{:?} error at column {}", error.classify(), error.column());
        WorkerError::Job(what)
    })?;
    if job.flow.steps.is_empty() || job.shard.index >= job.shard.of {
        let what = "a flow needs a step, and a shard must be one of its number";
        return Err(WorkerError::Job(what.to_owned()));
    }
    if matches!(job.load.arrivals, ArrivalPlan::Capacity { .. }) {
        let what = "a search for a capacity is a job of its own for each rate";
        return Err(WorkerError::Job(what.to_owned()));
    }
    Ok(job)
}

async fn execute(job: WorkerJob, mut terminate: Signal) -> Result<(), WorkerError> {
    let clock = LoadClock::starting_at(job.start_at_ns);
    let flow = Flow::new(&job)?;
    let total_ns = job.phases.total_ns();
    let measure = job.phases.warmup_ns..job.phases.measure_end_ns();
    let redactor = redactor(&job.http, &job.secrets);
    let recorder = Recorder::new(&flow.requests, &flow.groups, measure, job.late_ns, redactor);
    let recorder = Arc::new(recorder);
    let (stop_tx, stop) = watch::channel(false);
    let (cut_tx, cut) = watch::channel(false);
    let Intake {
        model,
        users,
        users_over_time,
        arrivals,
    } = Intake::new(&job, total_ns);
    let schedule = Schedule::of(&job, total_ns)?;

    let load = LoadMeasurement {
        requests: flow.requests.iter().map(RequestSeries::new).collect(),
        groups: flow.groups.iter().map(GroupSeries::new).collect(),
        shards: vec![job.shard.into()],
        generator: GeneratorHealth {
            cores: CORES,
            ..GeneratorHealth::default()
        },
        ..LoadMeasurement::new(&job.load.name, &job.load.flow, model)
    };
    let clerk = Clerk {
        recorder: Arc::clone(&recorder),
        clock,
        phases: job.phases,
        schedule: schedule.clone(),
        users: users_over_time,
        room: match &arrivals {
            Arrivals::Closed(room) => Some(room.clone()),
            Arrivals::Open(_) => None,
        },
        shard: job.shard,
        aborts: Aborts::of(&job),
        load,
    };
    let (finish, finished) = mpsc::channel::<()>();
    let (broke, broken) = oneshot::channel();
    let clerk = thread::Builder::new()
        .name("clerk".to_owned())
        .spawn(move || {
            let report = |tick| say(&WorkerEvent::Tick(tick));
            let abort = |aborted: Aborted| {
                // In this order: whoever hears of it tells all workers to end, this one too, and that
                // would be another reason.
                let _ = broke.send(aborted.clone());
                say(&WorkerEvent::Abort(aborted));
            };
            clerk.work(&finished, report, abort)
        })?;

    let counter = match &arrivals {
        Arrivals::Open(counter) => Some(Arc::clone(counter)),
        Arrivals::Closed(_) => None,
    };
    let dispatcher = match (&counter, schedule) {
        (Some(counter), Some(schedule)) => {
            let counter = Arc::clone(counter);
            let (recorder, stop) = (Arc::clone(&recorder), stop.clone());
            let alarm = Alarm::new()?;
            Some(tokio::spawn(async move {
                dispatch(
                    schedule.due_times(),
                    alarm,
                    clock,
                    &counter,
                    &recorder,
                    stop,
                )
                .await
            }))
        }
        _ => None,
    };
    let transport = Transport::new(&flow.origin, &job.http, flow.proxy.as_deref())?;
    let crew = Arc::new(Crew {
        journey: Journey {
            flow,
            recorder: Arc::clone(&recorder),
            clock,
            end_ns: total_ns,
            stop,
            cut,
        },
        transport,
        arrivals,
        shard: job.shard,
        seed: job.load.seed,
        first: job.first_iteration,
        begun: AtomicU64::new(0),
    });

    // A shard of a load with fewer users than shards has nothing to do but to keep its books.
    let crew = async {
        match users {
            0 => std::future::pending().await,
            users => users::run(crew, users).await,
        }
    };
    tokio::pin!(crew);
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            () = users::interrupted() => {}
        }
    };
    let time = tokio::time::sleep(clock.until(total_ns));
    let (partial, aborted) = tokio::select! {
        ended = end_of_load(time, stopped, broken) => ended,
        gone = &mut crew => {
            gone?;
            return Err(WorkerError::Left);
        }
    };
    let ended_ns = clock.now_ns().min(total_ns);
    if partial {
        let _ = cut_tx.send(true);
    }
    let _ = stop_tx.send(true);
    users::end();
    // Whoever has not left at the end of the drain is cut off when the runtime is dropped. Where there is
    // nobody, nobody is waited for.
    let drain = match users {
        0 => Duration::ZERO,
        _ => Duration::from_nanos(job.phases.drain_ns),
    };
    let drained = tokio::time::timeout(drain, &mut crew);
    tokio::pin!(drained);
    let drained = tokio::select! {
        drained = &mut drained => drained,
        // A stop that comes only now: what is still under way ends at its next step.
        _ = terminate.recv() => {
            let _ = cut_tx.send(true);
            drained.await
        }
    };
    if let Ok(gone) = drained {
        gone?;
    }
    // Users who have left waited for it; where some have not, it is about to end.
    if let Some(dispatcher) = dispatcher {
        let gone = dispatcher.await;
        gone.map_err(|_| WorkerError::Panicked("dispatcher"))??;
    }
    // Whoever was handed a ticket and had no time to take it has none left now.
    for ticket in counter.iter().flat_map(|counter| counter.take_back()) {
        recorder.began(&Began {
            intended_ns: ticket.due_ns,
            due_ns: Some(ticket.due_ns),
            taken_ns: clock.now_ns(),
        });
    }
    drop(finish);
    let measurement = clerk.join().map_err(|_| WorkerError::Panicked("clerk"))?;
    let file = LoadFile {
        schema: LOAD_FORMAT.to_owned(),
        shard: job.shard,
        partial,
        aborted,
        ended_ns,
        measurement,
    };
    file.write(&job.result)?;
    say(&WorkerEvent::Finished);
    Ok(())
}

/// Waits until the load is over: whether it ended before its time, and the limit that ended it where one
/// did. A worker that breaks a limit is told to stop for it as all others are, and by the time it looks
/// both may have come.
async fn end_of_load(
    time: impl Future<Output = ()>,
    stopped: impl Future<Output = ()>,
    broken: oneshot::Receiver<Aborted>,
) -> (bool, Option<Aborted>) {
    tokio::select! {
        biased;
        // An error means that the clerk has died; its thread says so when it is joined.
        Ok(limit) = broken => (true, Some(limit)),
        () = stopped => (true, None),
        () = time => (false, None),
    }
}

/// How a job's arrivals come about in this worker.
struct Intake {
    model: ArrivalModel,
    users: usize,
    /// Those of the whole load, in a closed model.
    users_over_time: Option<Shape>,
    arrivals: Arrivals,
}

impl Intake {
    fn new(job: &WorkerJob, total_ns: u64) -> Self {
        let share = |total: u64| usize::try_from(job.shard.share(total)).unwrap_or(usize::MAX);
        match &job.load.arrivals {
            ArrivalPlan::Closed {
                stages,
                share: of_mix,
            } => {
                let all = highest(stages) as u64;
                let own = of_mix.as_ref().map(|of_mix| of_mix.own(all));
                let most = own.as_ref().map_or(all, |own| own.len() as u64);
                let part = most as f64 / all.max(1) as f64;
                let part = |stage: &Stage| stage.map(|users| users * part);
                let over_time: Vec<Stage> = stages.iter().map(part).collect();
                Self {
                    model: ArrivalModel::Closed,
                    users: share(most),
                    users_over_time: Some(Shape::new(&over_time, total_ns)),
                    arrivals: Arrivals::Closed(Room {
                        course: Shape::new(stages, total_ns),
                        own,
                    }),
                }
            }
            ArrivalPlan::Open { max_in_flight, .. } | ArrivalPlan::Trace { max_in_flight, .. } => {
                Self::open(share(u64::from(*max_in_flight)))
            }
            // Refused with the job.
            ArrivalPlan::Capacity { .. } => Self::open(0),
        }
    }

    fn open(users: usize) -> Self {
        Self {
            model: ArrivalModel::Open,
            users,
            users_over_time: None,
            arrivals: Arrivals::Open(Arc::default()),
        }
    }
}

/// One line on the standard output. Where nobody reads it any more, the standard input is closed
/// too, and that ends the worker.
fn say(event: &WorkerEvent) {
    if let Ok(mut line) = serde_json::to_string(event) {
        line.push('\n');
        let mut output = std::io::stdout().lock();
        let _ = output
            .write_all(line.as_bytes())
            .and_then(|()| output.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::harness::model::Unit;

    #[tokio::test]
    async fn a_limit_that_ended_the_load_is_kept_though_all_are_stopped_for_it() {
        let limit = Aborted {
            metric: "load.reads.error_rate".to_owned(),
            unit: Unit::Ratio,
            value: 0.5,
            limit: 0.05,
            at_ns: 6_000_000_000,
        };
        // Without an order the one or the other is taken by chance.
        for _ in 0..50 {
            let (broke, broken) = oneshot::channel();
            assert_eq!(broke.send(limit.clone()), Ok(()));
            let ended = end_of_load(pending(), ready(()), broken).await;
            assert_eq!(ended, (true, Some(limit.clone())));
        }
        let (broke, broken) = oneshot::channel();
        assert_eq!(
            end_of_load(pending(), ready(()), broken).await,
            (true, None)
        );
        drop(broke);
        // A clerk that died ends nothing by that.
        let (_, broken) = oneshot::channel();
        assert_eq!(
            end_of_load(ready(()), pending(), broken).await,
            (false, None)
        );
    }
}
