//! Jobs (JO1) and exports into files (BA8): the queue alone on both databases, then the service over HTTP,
//! embedded and on PostgreSQL and Redis, then the program killed and paused in the middle of a job.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::future::pending;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plimsoll::datalayer::batch::{ProcessMemory, fetch_rows};
use plimsoll::datalayer::config::{BatchSettings, JobSettings, PoolSettings};
use plimsoll::datalayer::dataset::{DatasetId, ensure};
use plimsoll::datalayer::jobs::{
    Beat, Failure, Handler, Job, JobError, JobFilter, JobState, Jobs, NewJob, Outcome, Owner,
    Progress, Queue, Workers,
};
use plimsoll::datalayer::pool::Pool;
use plimsoll::service::{AdminToken, Options, Server, ServerError, Settings};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use sqlx::Connection as _;
use support::http_servers::{self, Reply, Request};
use support::servers::{Postgres, Redis, command_as};
use support::wait;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

/// Longest wait for anything that should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);
const DATASET: DatasetId = DatasetId {
    seed: 42,
    records: 1000,
};
const TOKEN: &str = "the-token-of-whoever-runs-it";

async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    wait::until_async(what, PATIENCE, holds).await.unwrap();
}

fn embedded() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite:{}/a.db?mode=rwc", folder.path().display());
    (folder, url)
}

// ---- The queue alone ----

/// Two ways to one queue, as two processes have them.
struct Pair {
    pools: [Pool; 2],
}

impl Pair {
    async fn open(url: &str) -> Self {
        let open = async || Pool::connect(url, PoolSettings::default()).await.unwrap();
        let pools = [open().await, open().await];
        let batch = BatchSettings::default();
        ensure(&pools[0], DATASET, &batch, Arc::new(ProcessMemory))
            .await
            .unwrap();
        Self { pools }
    }

    fn jobs(&self, settings: &JobSettings) -> [Jobs; 2] {
        let [a, b] = &self.pools;
        [a, b].map(|pool| Jobs::new(pool.clone(), settings.clone()))
    }

    /// The same, with no job in the queue.
    async fn fresh(&self, settings: &JobSettings) -> [Jobs; 2] {
        let statement = ("delete from", "jobs");
        let deleted = fetch_rows(&self.pools[0], statement, "DELETE FROM jobs", &[], &[]);
        deleted.await.unwrap();
        self.jobs(settings)
    }

    async fn close(self) {
        for pool in self.pools {
            pool.close().await;
        }
    }
}

/// Figures that a test can wait for.
fn swift() -> JobSettings {
    JobSettings {
        backoff_min_ms: 1,
        backoff_max_ms: 2,
        lease_ms: 150,
        beat_ms: 50,
        poll_ms: 20,
        stop_grace_ms: 0,
        ..JobSettings::default()
    }
}

/// The same, with leases that do not run out.
fn steady() -> JobSettings {
    JobSettings {
        lease_ms: 60_000,
        ..swift()
    }
}

fn new_job(queue: Queue, kind: &str) -> NewJob {
    NewJob {
        queue,
        kind: kind.to_owned(),
        priority: 5,
        payload: json!({ "text": "Ünïcode \u{0}" }),
        owner: Owner {
            tenant: 1,
            name: "1/ada".to_owned(),
        },
    }
}

async fn put(jobs: &Jobs, queue: Queue, kind: &str) -> Job {
    jobs.enqueue(new_job(queue, kind)).await.unwrap()
}

async fn now(jobs: &Jobs, job: &Job) -> Job {
    jobs.find(job.id).await.unwrap().unwrap()
}

async fn take(jobs: &Jobs, queue: Queue) -> Job {
    jobs.claim(queue).await.unwrap().unwrap()
}

/// As [`take`], of a job whose pause may not be over yet.
async fn take_when_due(jobs: &Jobs, queue: Queue) -> Job {
    let mut claimed = None;
    let due = async || {
        claimed = jobs.claim(queue).await.unwrap();
        claimed.is_some()
    };
    until("it is due", due).await;
    claimed.unwrap()
}

/// What went wrong with a job, attempt by attempt.
async fn errors(jobs: &Jobs, job: &Job) -> Vec<(i64, String)> {
    let errors = jobs.errors(std::slice::from_ref(job)).await.unwrap();
    let pairs = errors
        .into_iter()
        .map(|error| (error.attempt, error.message));
    pairs.collect()
}

async fn the_queue_keeps_its_promises(pair: &Pair) {
    what_goes_in_comes_out(pair).await;
    priorities_are_obeyed(pair).await;
    no_job_is_claimed_twice(pair).await;
    a_lost_lease_is_a_lost_job(pair).await;
    three_failures_are_the_end(pair).await;
    pauses_double(pair).await;
    crashes_count_as_attempts(pair).await;
    what_is_called_off_is_never_done(pair).await;
    what_is_given_back_loses_no_attempt(pair).await;
    the_history_is_listed_and_forgotten(pair).await;
    statistics_say_how_queues_do(pair).await;
    a_full_queue_says_so(pair).await;
    maintenance_is_asked_for_once(pair).await;
    workers_do_what_there_is(pair).await;
    workers_stop_what_is_called_off_or_takes_too_long(pair).await;
    workers_give_back_what_they_cannot_end(pair).await;
    what_comes_too_late_is_discarded(pair).await;
    two_processes_share_the_work(pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_keeps_its_promises_embedded() {
    let (_folder, url) = embedded();
    let pair = Pair::open(&url).await;
    the_queue_keeps_its_promises(&pair).await;
    workers_leave_connections_to_others(&pair, &url).await;
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_keeps_its_promises_on_postgres() {
    let mut postgres = Postgres::start().unwrap();
    let pair = Pair::open(&postgres.url()).await;
    the_queue_keeps_its_promises(&pair).await;
    workers_leave_connections_to_others(&pair, &postgres.url()).await;
    a_restart_of_the_database_ends_no_job(&pair, &mut postgres).await;
    pair.close().await;
}

async fn what_goes_in_comes_out(pair: &Pair) {
    let [jobs, other] = pair.fresh(&steady()).await;
    let asked = new_job(Queue::Reports, "a kind");
    let job = jobs.enqueue(asked.clone()).await.unwrap();
    assert_eq!(
        (job.queue, &job.kind, job.priority, &job.payload, &job.owner),
        (
            asked.queue,
            &asked.kind,
            asked.priority,
            &asked.payload,
            &asked.owner
        )
    );
    assert_eq!(
        (job.state, job.attempt, job.attempts_max),
        (JobState::Waiting, 0, 3)
    );
    let age = jiff::Timestamp::now().duration_since(job.created_at);
    assert!(age.unsigned_abs() < PATIENCE, "{age:?}");
    assert_eq!(
        (job.due_at, job.started_at, job.ended_at),
        (job.created_at, None, None)
    );
    assert_eq!(now(&other, &job).await, job);

    assert_eq!(jobs.claim(Queue::Exports).await.unwrap(), None);
    let claimed = take(&other, Queue::Reports).await;
    assert_eq!(
        (claimed.id, claimed.state, claimed.attempt),
        (job.id, JobState::Running, 1)
    );
    assert_eq!(jobs.claim(Queue::Reports).await.unwrap(), None);
    let progress = Progress::default();
    progress.set(3, 7);
    assert_eq!(other.beat(&claimed, &progress).await.unwrap(), Beat::Held);
    let seen = now(&jobs, &job).await;
    assert_eq!((seen.progress_done, seen.progress_total), (3, 7));
    progress.set(7, 7);
    let result = json!({ "rows": 7 });
    let ended = other.finish(&claimed, &result, &progress).await.unwrap();
    assert_eq!(ended, Outcome::Taken(JobState::Done));
    // The answer might have got lost.
    let again = other.finish(&claimed, &result, &progress).await.unwrap();
    assert_eq!(again, Outcome::Taken(JobState::Done));
    let done = now(&jobs, &job).await;
    assert_eq!((done.state, &done.result), (JobState::Done, &Some(result)));
    assert_eq!((done.progress_done, done.attempt), (7, 1));
    assert!(done.started_at >= Some(done.created_at) && done.ended_at >= done.started_at);
}

async fn priorities_are_obeyed(pair: &Pair) {
    let [jobs, other] = pair.fresh(&steady()).await;
    for (kind, priority) in [("a", 1), ("b", 9), ("c", 5), ("d", 9), ("e", 1)] {
        let new = NewJob {
            priority,
            ..new_job(Queue::Exports, kind)
        };
        jobs.enqueue(new).await.unwrap();
    }
    let mut order = String::new();
    while let Some(job) = other.claim(Queue::Exports).await.unwrap() {
        order.push_str(&job.kind);
    }
    assert_eq!(order, "bdcae");
}

async fn no_job_is_claimed_twice(pair: &Pair) {
    let pair_of_jobs = pair.fresh(&steady()).await;
    for _ in 0..40 {
        put(&pair_of_jobs[0], Queue::Exports, "x").await;
    }
    let claims = (0..8).map(|index| {
        let jobs = pair_of_jobs[index % 2].clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            while let Some(job) = jobs.claim(Queue::Exports).await.unwrap() {
                claimed.push(job.id);
            }
            claimed
        })
    });
    let claimed = join_all(claims).await;
    let claimed: Vec<Uuid> = claimed.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 40);
}

async fn a_lost_lease_is_a_lost_job(pair: &Pair) {
    let [paused, other] = pair.fresh(&swift()).await;
    let job = put(&paused, Queue::Exports, "x").await;
    let lost = take(&paused, Queue::Exports).await;
    // Nobody takes it while the lease holds, however often it is extended.
    let progress = Progress::default();
    for _ in 0..4 {
        sleep(Duration::from_millis(50)).await;
        assert_eq!(paused.beat(&lost, &progress).await.unwrap(), Beat::Held);
        assert_eq!(other.recover().await.unwrap(), 0);
    }
    let recovered = async || other.recover().await.unwrap() == 1;
    until("the lease is over", recovered).await;
    assert_eq!(now(&other, &job).await.state, JobState::Waiting);
    assert_eq!(paused.beat(&lost, &progress).await.unwrap(), Beat::Lost);
    let due = async || now(&other, &job).await.due_at <= jiff::Timestamp::now();
    until("its pause is over", due).await;
    let held = take_when_due(&other, Queue::Exports).await;
    assert_eq!((held.id, held.attempt), (job.id, 2));

    // Whatever the paused one says now, the job is the other's.
    let ended = paused
        .finish(&lost, &json!("old"), &progress)
        .await
        .unwrap();
    assert_eq!(ended, Outcome::Lost);
    let failed = paused.fail(&lost, &Failure::lasting("old")).await.unwrap();
    assert_eq!(failed, Outcome::Lost);
    assert_eq!(paused.release(&lost).await.unwrap(), Outcome::Lost);
    assert_eq!(paused.end_cancelled(&lost).await.unwrap(), Outcome::Lost);
    let ended = other.finish(&held, &json!("new"), &progress).await.unwrap();
    assert_eq!(ended, Outcome::Taken(JobState::Done));
    let ended = paused
        .finish(&lost, &json!("old"), &progress)
        .await
        .unwrap();
    assert_eq!(ended, Outcome::Lost);
    assert_eq!(now(&other, &job).await.result, Some(json!("new")));
    let errors = errors(&other, &job).await;
    assert_eq!((errors.len(), errors[0].0), (1, 1), "{errors:?}");
}

async fn three_failures_are_the_end(pair: &Pair) {
    let settings = JobSettings {
        backoff_min_ms: 40,
        backoff_max_ms: 10_000,
        error_max_bytes: 8,
        ..steady()
    };
    let [jobs, _] = pair.fresh(&settings).await;
    let job = put(&jobs, Queue::Reports, "x").await;
    for attempt in 1..=3 {
        let claimed = take_when_due(&jobs, Queue::Reports).await;
        assert_eq!((claimed.id, claimed.attempt), (job.id, attempt));
        let failure = Failure::passing(format!("try {attempt} and more"));
        let before = now(&jobs, &job).await.started_at.unwrap();
        let ended = jobs.fail(&claimed, &failure).await.unwrap();
        let after = now(&jobs, &job).await;
        if attempt < 3 {
            assert_eq!(ended, Outcome::Taken(JobState::Waiting));
            let pause = after.due_at.duration_since(before).as_millis();
            assert!(pause >= 40, "{pause} {attempt}");
            assert_eq!(jobs.claim(Queue::Reports).await.unwrap(), None);
        } else {
            assert_eq!(ended, Outcome::Taken(JobState::Failed));
            assert!(after.ended_at.is_some());
        }
    }
    let expected = [1, 2, 3].map(|attempt| (attempt, format!("try {attempt} an")));
    assert_eq!(errors(&jobs, &job).await, expected);

    // Some failures come again with every attempt, and some have to be waited for.
    let job = put(&jobs, Queue::Reports, "x").await;
    let claimed = take(&jobs, Queue::Reports).await;
    let ended = jobs
        .fail(&claimed, &Failure::lasting("never"))
        .await
        .unwrap();
    assert_eq!(ended, Outcome::Taken(JobState::Failed));
    assert_eq!(errors(&jobs, &job).await, [(1, "never".to_owned())]);
    let job = put(&jobs, Queue::Reports, "x").await;
    let claimed = take(&jobs, Queue::Reports).await;
    let failure = Failure {
        not_before: Duration::from_secs(30),
        ..Failure::passing("later")
    };
    jobs.fail(&claimed, &failure).await.unwrap();
    let waiting = now(&jobs, &job).await;
    let pause = waiting.due_at.duration_since(waiting.started_at.unwrap());
    assert!(pause.as_secs() >= 30, "{pause:?}");
}

/// Chance makes each up to twice as long, so that only a late one can tell that they double: the fifth, of
/// pauses that grew by a step each time, would be 400 ms at most.
async fn pauses_double(pair: &Pair) {
    const FIRST_MS: i128 = 40;
    let settings = JobSettings {
        attempts: 6,
        backoff_min_ms: FIRST_MS as u64,
        backoff_max_ms: 10_000,
        ..steady()
    };
    let [jobs, _] = pair.fresh(&settings).await;
    let job = put(&jobs, Queue::Reports, "x").await;
    for doublings in 0..5 {
        let claimed = take_when_due(&jobs, Queue::Reports).await;
        let began = claimed.started_at.unwrap();
        jobs.fail(&claimed, &Failure::passing("again"))
            .await
            .unwrap();
        let pause = now(&jobs, &job).await.due_at.duration_since(began);
        let least = FIRST_MS << doublings;
        assert!(pause.as_millis() >= least, "{pause:?} after {doublings}");
    }
}

/// A job that kills whoever runs it is not run for ever.
async fn crashes_count_as_attempts(pair: &Pair) {
    let [jobs, other] = pair.fresh(&swift()).await;
    let job = put(&jobs, Queue::Exports, "x").await;
    let mut claims = 0;
    let ended = async || {
        claims += usize::from(jobs.claim(Queue::Exports).await.unwrap().is_some());
        other.recover().await.unwrap();
        now(&jobs, &job).await.state == JobState::Failed
    };
    until("it has failed", ended).await;
    assert_eq!(claims, 3);
    let attempts: Vec<i64> = errors(&jobs, &job).await.iter().map(|e| e.0).collect();
    assert_eq!(attempts, [1, 2, 3]);
    // It was not due later than it began: no wait is below 0.
    let failed = now(&jobs, &job).await;
    assert!(Some(failed.due_at) <= failed.started_at, "{failed:?}");
    let all = jobs.statistics().await.unwrap();
    let exports = all.iter().find(|of| of.queue == Queue::Exports).unwrap();
    assert!(
        exports.wait.count == 1 && exports.wait.p50_ms >= 0,
        "{exports:?}"
    );
}

async fn what_is_called_off_is_never_done(pair: &Pair) {
    let [jobs, other] = pair.fresh(&swift()).await;
    let waiting = put(&jobs, Queue::Exports, "x").await;
    let cancelled = other.cancel(waiting.id).await.unwrap().unwrap();
    assert_eq!(cancelled.state, JobState::Cancelled);
    assert!(cancelled.ended_at.is_some());
    assert_eq!(jobs.claim(Queue::Exports).await.unwrap(), None);
    assert_eq!(other.cancel(waiting.id).await.unwrap(), None);

    let progress = Progress::default();
    let running = put(&jobs, Queue::Exports, "x").await;
    let claimed = take(&jobs, Queue::Exports).await;
    let told = other.cancel(running.id).await.unwrap().unwrap();
    assert_eq!(
        (told.state, told.cancel_requested),
        (JobState::Running, true)
    );
    let beat = jobs.beat(&claimed, &progress).await.unwrap();
    assert_eq!(beat, Beat::CancelRequested);
    // It came to its end before it heard.
    let ended = jobs.finish(&claimed, &json!(1), &progress).await.unwrap();
    assert_eq!(ended, Outcome::Taken(JobState::Cancelled));
    let cancelled = now(&jobs, &running).await;
    assert_eq!(
        (cancelled.state, cancelled.result),
        (JobState::Cancelled, None)
    );

    // Nor does a failure bring it back, or the death of whoever ran it.
    for dies in [false, true] {
        let job = put(&jobs, Queue::Exports, "x").await;
        let claimed = take(&jobs, Queue::Exports).await;
        other.cancel(job.id).await.unwrap();
        if dies {
            until("it is found", async || other.recover().await.unwrap() == 1).await;
        } else {
            jobs.fail(&claimed, &Failure::passing("x")).await.unwrap();
        }
        let ended = now(&jobs, &job).await;
        assert_eq!(ended.state, JobState::Cancelled, "{dies}");
        assert!(ended.ended_at.is_some());
    }
}

async fn what_is_given_back_loses_no_attempt(pair: &Pair) {
    let [jobs, other] = pair.fresh(&steady()).await;
    let job = put(&jobs, Queue::Exports, "x").await;
    let claimed = take(&jobs, Queue::Exports).await;
    let released = jobs.release(&claimed).await.unwrap();
    assert_eq!(released, Outcome::Taken(JobState::Waiting));
    let again = take(&other, Queue::Exports).await;
    assert_eq!(
        (again.id, again.attempt, again.attempts_max),
        (job.id, 2, 4)
    );
    assert!(errors(&jobs, &job).await.is_empty());
}

async fn the_history_is_listed_and_forgotten(pair: &Pair) {
    let settings = JobSettings {
        rows_at_once: 2,
        ..steady()
    };
    let [jobs, _] = pair.fresh(&settings).await;
    let progress = Progress::default();
    let mut all = Vec::new();
    for index in 0..5 {
        all.push(put(&jobs, Queue::Exports, "x").await.id);
        let claimed = take(&jobs, Queue::Exports).await;
        match index {
            0 => drop(jobs.fail(&claimed, &Failure::lasting("no")).await.unwrap()),
            _ => drop(jobs.finish(&claimed, &json!(1), &progress).await.unwrap()),
        }
    }
    let foreign = NewJob {
        owner: Owner {
            tenant: 2,
            name: "1/ada".to_owned(),
        },
        ..new_job(Queue::Reports, "y")
    };
    let foreign = jobs.enqueue(foreign).await.unwrap();
    let list = async |filter: JobFilter, limit| -> Vec<Uuid> {
        let listed = jobs.list(&filter, limit).await.unwrap();
        listed.into_iter().map(|job| job.id).collect()
    };
    let newest: Vec<Uuid> = all.iter().rev().copied().collect();
    let of = |queue| JobFilter {
        queue: Some(queue),
        ..JobFilter::default()
    };
    assert_eq!(list(of(Queue::Exports), 100).await, newest);
    assert_eq!(list(JobFilter::default(), 2).await, [foreign.id, newest[0]]);
    let rest = JobFilter {
        before: Some(newest[1]),
        ..of(Queue::Exports)
    };
    assert_eq!(list(rest, 2).await, newest[2..4]);
    let failed = JobFilter {
        state: Some(JobState::Failed),
        ..JobFilter::default()
    };
    assert_eq!(list(failed, 100).await, [all[0]]);
    let mine = JobFilter {
        owner: Some(foreign.owner.clone()),
        ..JobFilter::default()
    };
    assert_eq!(list(mine, 100).await, [foreign.id]);

    // Nothing is old enough; then all that has ended is.
    assert_eq!(jobs.purge(Duration::from_secs(60)).await.unwrap(), 0);
    sleep(Duration::from_millis(20)).await;
    let mut purged = Vec::new();
    loop {
        match jobs.purge(Duration::from_millis(1)).await.unwrap() {
            0 => break,
            number => purged.push(number),
        }
    }
    assert_eq!(purged, [3, 2]);
    assert_eq!(list(JobFilter::default(), 100).await, [foreign.id]);
    let statement = ("count in", "job_errors");
    let left = fetch_rows(
        &pair.pools[0],
        statement,
        "SELECT 1 FROM job_errors",
        &[],
        &[],
    );
    assert!(left.await.unwrap().is_empty());
}

async fn statistics_say_how_queues_do(pair: &Pair) {
    let settings = JobSettings {
        statistics_jobs: 4,
        ..steady()
    };
    let [jobs, other] = pair.fresh(&settings).await;
    let progress = Progress::default();
    let make = async |wait_ms: u64, run_ms: u64| {
        put(&jobs, Queue::Exports, "x").await;
        sleep(Duration::from_millis(wait_ms)).await;
        let claimed = take(&jobs, Queue::Exports).await;
        sleep(Duration::from_millis(run_ms)).await;
        claimed
    };
    // Beyond the last four: its wait is in no percentile.
    let old = make(2000, 0).await;
    jobs.finish(&old, &json!(1), &progress).await.unwrap();
    for _ in 0..3 {
        let claimed = make(0, 0).await;
        jobs.finish(&claimed, &json!(1), &progress).await.unwrap();
    }
    let slow = make(300, 400).await;
    jobs.fail(&slow, &Failure::lasting("no")).await.unwrap();
    make(0, 0).await;
    for _ in 0..2 {
        put(&jobs, Queue::Exports, "x").await;
    }
    let cancelled = put(&jobs, Queue::Exports, "x").await;
    jobs.cancel(cancelled.id).await.unwrap();

    let all = other.statistics().await.unwrap();
    assert_eq!(all.len(), 4);
    let exports = all.iter().find(|of| of.queue == Queue::Exports).unwrap();
    assert_eq!((exports.waiting, exports.running, exports.done), (2, 1, 4));
    assert_eq!((exports.failed, exports.cancelled), (1, 1));
    let (wait, run) = (exports.wait, exports.run);
    assert_eq!((wait.count, run.count), (4, 4));
    assert!(
        wait.p50_ms < 300 && (300..2000).contains(&wait.p95_ms),
        "{wait:?}"
    );
    assert!(run.p50_ms < 400 && run.p99_ms >= 400, "{run:?}");
    let reports = all.iter().find(|of| of.queue == Queue::Reports).unwrap();
    assert_eq!(
        (reports.waiting, reports.done, reports.wait.count),
        (0, 0, 0)
    );
}

async fn a_full_queue_says_so(pair: &Pair) {
    let settings = JobSettings {
        open_max: 3,
        open_per_caller_max: 2,
        ..steady()
    };
    let [jobs, _] = pair.fresh(&settings).await;
    let of = |tenant| NewJob {
        owner: Owner {
            tenant,
            name: "x".to_owned(),
        },
        ..new_job(Queue::Exports, "x")
    };
    let is_full = |asked: Result<Job, JobError>| matches!(asked, Err(JobError::Full { .. }));
    let has_enough =
        |asked: Result<Job, JobError>| matches!(asked, Err(JobError::CallerFull { .. }));
    jobs.enqueue(of(1)).await.unwrap();
    let running = take(&jobs, Queue::Exports).await;
    jobs.enqueue(of(1)).await.unwrap();
    assert!(has_enough(jobs.enqueue(of(1)).await));
    jobs.enqueue(of(2)).await.unwrap();
    assert!(is_full(jobs.enqueue(of(2)).await));
    put(&jobs, Queue::Reports, "x").await;
    jobs.end_cancelled(&running).await.unwrap();
    jobs.enqueue(of(1)).await.unwrap();
}

async fn maintenance_is_asked_for_once(pair: &Pair) {
    let [jobs, other] = pair.fresh(&steady()).await;
    let hour = Duration::from_secs(3600);
    let ask = async |jobs: &Jobs, period| {
        let asked = jobs.enqueue_every(period, new_job(Queue::Maintenance, "m"));
        asked.await.unwrap().is_some()
    };
    assert!(ask(&jobs, hour).await);
    assert!(!ask(&other, Duration::ZERO).await);
    let claimed = take(&jobs, Queue::Maintenance).await;
    assert!(!ask(&other, Duration::ZERO).await);
    jobs.end_cancelled(&claimed).await.unwrap();
    assert!(!ask(&other, hour).await);
    sleep(Duration::from_millis(5)).await;
    assert!(ask(&other, Duration::from_millis(1)).await);
}

/// A handler that does what the kind of a job says.
#[derive(Default)]
struct Scripted {
    /// How often each job ran.
    runs: Mutex<BTreeMap<Uuid, usize>>,
    now: AtomicUsize,
    most: AtomicUsize,
    discarded: AtomicUsize,
}

/// Counts a run, also one that is dropped.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Handler for Scripted {
    async fn run(&self, job: &Job, progress: &Progress) -> Result<Json, Failure> {
        *self.runs.lock().unwrap().entry(job.id).or_default() += 1;
        let running = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.now);
        self.most.fetch_max(running, Ordering::SeqCst);
        progress.set(1, 2);
        match job.kind.as_str() {
            "works" => sleep(Duration::from_millis(10)).await,
            "takes" => sleep(Duration::from_secs(2)).await,
            "panics" => panic!("as planned"),
            "fails" => return Err(Failure::passing("as planned")),
            "hangs" => pending().await,
            kind => panic!("no such kind: {kind}"),
        }
        progress.set(2, 2);
        Ok(json!({ "attempt": job.attempt }))
    }

    async fn discard(&self, _job: &Job) {
        self.discarded.fetch_add(1, Ordering::SeqCst);
    }
}

async fn reaches(jobs: &Jobs, job: &Job, state: JobState) -> Job {
    let reached = async || now(jobs, job).await.state == state;
    until(&format!("it is {}", state.name()), reached).await;
    now(jobs, job).await
}

async fn workers_do_what_there_is(pair: &Pair) {
    let mut settings = steady();
    settings.workers.reports = 3;
    settings.workers.notifications = 0;
    let [jobs, other] = pair.fresh(&settings).await;
    let handler = Arc::new(Scripted::default());
    let before = put(&other, Queue::Reports, "works").await;
    let idle = put(&other, Queue::Notifications, "works").await;
    let workers = Workers::start(jobs.clone(), handler.clone());
    let mut all = vec![before];
    for _ in 0..12 {
        all.push(put(&jobs, Queue::Reports, "works").await);
    }
    for job in &all {
        let done = reaches(&other, job, JobState::Done).await;
        assert_eq!(done.result, Some(json!({ "attempt": 1 })));
        assert_eq!((done.progress_done, done.progress_total), (2, 2));
    }
    assert!(handler.most.load(Ordering::SeqCst) <= 3);
    for (kind, expected) in [
        ("fails", "as planned"),
        ("panics", "BUG: the handler panicked"),
    ] {
        let job = put(&jobs, Queue::Reports, kind).await;
        reaches(&other, &job, JobState::Failed).await;
        let messages = [1, 2, 3].map(|attempt| (attempt, expected.to_owned()));
        assert_eq!(errors(&jobs, &job).await, messages);
    }
    // This process has no workers for it.
    assert_eq!(now(&jobs, &idle).await.state, JobState::Waiting);
    workers.stop().await;
    assert_eq!(handler.now.load(Ordering::SeqCst), 0);
}

/// What a run has made that came to its end, but too late to count, is thrown away.
async fn what_comes_too_late_is_discarded(pair: &Pair) {
    let settings = JobSettings {
        // It hears of nothing before it is through.
        beat_ms: 10_000,
        ..steady()
    };
    let [jobs, other] = pair.fresh(&settings).await;
    let handler = Arc::new(Scripted::default());
    let workers = Workers::start(jobs, handler.clone());
    let called_off = put(&other, Queue::Exports, "takes").await;
    let stolen = put(&other, Queue::Exports, "takes").await;
    for job in [&called_off, &stolen] {
        reaches(&other, job, JobState::Running).await;
    }
    other.cancel(called_off.id).await.unwrap();
    take_away(&pair.pools[1], stolen.id).await;
    let cancelled = reaches(&other, &called_off, JobState::Cancelled).await;
    assert_eq!(cancelled.result, None);
    let discarded = async || handler.discarded.load(Ordering::SeqCst) == 2;
    until("both are discarded", discarded).await;
    workers.stop().await;
    let still = now(&other, &stolen).await;
    assert_eq!((still.state, still.attempt), (JobState::Running, 2));
}

/// As if the lease had been over, and another process had the job.
async fn take_away(pool: &Pool, job: Uuid) {
    let sql = "UPDATE jobs SET attempt = attempt + 1 WHERE id = $1 AND state = 'running'";
    let id = [job.to_string().into()];
    fetch_rows(pool, ("update", "jobs"), sql, &id, &[])
        .await
        .unwrap();
}

/// While all connections are out, nobody is kept waiting by a look for jobs, and no look is counted as one
/// that waited in vain.
async fn workers_leave_connections_to_others(pair: &Pair, url: &str) {
    pair.fresh(&steady()).await;
    let settings = PoolSettings {
        min_connections: 1,
        max_connections: 1,
        acquire_timeout_ms: 40,
        ..PoolSettings::default()
    };
    let pool = Pool::connect(url, settings).await.unwrap();
    let [_, other] = pair.jobs(&steady());
    let handler = Arc::new(Scripted::default());
    let held = pool.acquire().await.unwrap();
    let workers = Workers::start(Jobs::new(pool.clone(), steady()), handler);
    let job = put(&other, Queue::Reports, "works").await;
    sleep(Duration::from_millis(400)).await;
    assert_eq!((pool.stats().timeouts, pool.stats().waiting), (0, 0));
    assert_eq!(now(&other, &job).await.state, JobState::Waiting);
    drop(held);
    reaches(&other, &job, JobState::Done).await;
    workers.stop().await;
    pool.close().await;
}

async fn workers_stop_what_is_called_off_or_takes_too_long(pair: &Pair) {
    let settings = JobSettings {
        // Nobody waits for a beat: who calls a job off in this process is heard at once.
        beat_ms: 10_000,
        ..steady()
    };
    let [jobs, _] = pair.fresh(&settings).await;
    let handler = Arc::new(Scripted::default());
    let workers = Workers::start(jobs.clone(), handler.clone());
    let job = put(&jobs, Queue::Exports, "hangs").await;
    reaches(&jobs, &job, JobState::Running).await;
    let running = async || handler.now.load(Ordering::SeqCst) == 1;
    until("the handler has it", running).await;
    // Whoever runs it may not listen yet.
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    jobs.cancel(job.id).await.unwrap();
    reaches(&jobs, &job, JobState::Cancelled).await;
    assert!(began.elapsed() < Duration::from_millis(9000));
    assert_eq!(handler.now.load(Ordering::SeqCst), 0);
    workers.stop().await;

    let settings = JobSettings {
        run_timeout_ms: 100,
        attempts: 1,
        ..steady()
    };
    let [jobs, other] = pair.jobs(&settings);
    let workers = Workers::start(jobs.clone(), handler.clone());
    let job = put(&jobs, Queue::Exports, "hangs").await;
    reaches(&jobs, &job, JobState::Failed).await;
    let message = "it took longer than jobs.run_timeout_ms".to_owned();
    assert_eq!(errors(&jobs, &job).await, [(1, message)]);
    assert_eq!(handler.now.load(Ordering::SeqCst), 0);
    workers.stop().await;

    // Called off through another process, which can only leave word: found with the next beat.
    let [jobs, _] = pair.jobs(&steady());
    let workers = Workers::start(jobs.clone(), handler.clone());
    let job = put(&jobs, Queue::Exports, "hangs").await;
    reaches(&jobs, &job, JobState::Running).await;
    other.cancel(job.id).await.unwrap();
    reaches(&jobs, &job, JobState::Cancelled).await;
    workers.stop().await;
    // Each may have been through with all but saying so.
    assert_eq!(handler.discarded.load(Ordering::SeqCst), 3);
}

async fn workers_give_back_what_they_cannot_end(pair: &Pair) {
    let settings = JobSettings {
        stop_grace_ms: 5000,
        ..steady()
    };
    let [jobs, other] = pair.fresh(&settings).await;
    let handler = Arc::new(Scripted::default());
    let workers = Workers::start(jobs.clone(), handler.clone());
    let ends = put(&jobs, Queue::Reports, "takes").await;
    let hangs = put(&jobs, Queue::Exports, "hangs").await;
    for job in [&ends, &hangs] {
        reaches(&other, job, JobState::Running).await;
    }
    workers.stop().await;
    assert_eq!(now(&other, &ends).await.state, JobState::Done);
    let back = now(&other, &hangs).await;
    assert_eq!(
        (back.state, back.attempt, back.attempts_max),
        (JobState::Waiting, 1, 4)
    );
    assert_eq!(handler.now.load(Ordering::SeqCst), 0);
}

async fn two_processes_share_the_work(pair: &Pair) {
    let [a, b] = pair.fresh(&steady()).await;
    let handlers = [Arc::new(Scripted::default()), Arc::new(Scripted::default())];
    let workers = [(&a, &handlers[0]), (&b, &handlers[1])];
    let workers = workers.map(|(jobs, handler)| Workers::start(jobs.clone(), handler.clone()));
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(put(&a, Queue::Reports, "works").await);
    }
    for job in &all {
        reaches(&b, job, JobState::Done).await;
    }
    for workers in workers {
        workers.stop().await;
    }
    let mut runs: BTreeMap<Uuid, usize> = BTreeMap::new();
    for handler in &handlers {
        let of = handler.runs.lock().unwrap();
        assert!(!of.is_empty(), "one did all the work");
        for (job, times) in of.iter() {
            *runs.entry(*job).or_default() += times;
        }
    }
    assert_eq!(runs.len(), 40);
    assert!(runs.values().all(|times| *times == 1), "{runs:?}");
}

/// A job under way goes on while its database is away, and its end is told when it is back.
async fn a_restart_of_the_database_ends_no_job(pair: &Pair, postgres: &mut Postgres) {
    let [jobs, _] = pair.fresh(&steady()).await;
    let handler = Arc::new(Scripted::default());
    let workers = Workers::start(jobs.clone(), handler.clone());
    let job = put(&jobs, Queue::Exports, "takes").await;
    reaches(&jobs, &job, JobState::Running).await;
    postgres.stop().unwrap();
    let ended = async || handler.now.load(Ordering::SeqCst) == 0;
    until("the handler is through", ended).await;
    postgres.start_again().unwrap();
    let done = async || {
        let found = jobs.find(job.id).await;
        found.is_ok_and(|job| job.unwrap().state == JobState::Done)
    };
    until("the end is told", done).await;
    assert_eq!(now(&jobs, &job).await.attempt, 1);
    assert_eq!(handler.discarded.load(Ordering::SeqCst), 0);
    // And the workers go on.
    let next = put(&jobs, Queue::Exports, "works").await;
    reaches(&jobs, &next, JobState::Done).await;
    workers.stop().await;
}

// ---- The service ----

/// A service in this process.
struct Service {
    base: String,
    http: reqwest::Client,
    folder: PathBuf,
    // Dropped after the service.
    _temporary: TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), ServerError>>,
}

/// Figures that a test can wait for. An export of all records takes a second.
fn settings() -> Settings {
    let mut settings = Settings {
        jobs: JobSettings {
            lease_ms: 60_000,
            batch_pause_ms: 10,
            ..swift()
        },
        ..Settings::default()
    };
    settings.jobs.workers.exports = 1;
    settings.batch.min_rows = 10;
    settings.batch.start_rows = 10;
    settings.batch.max_rows = 10;
    settings.limit.user_per_min = 0;
    settings.limit.endpoint_per_min = 0;
    settings.limit.tenant_per_min = 0;
    settings
}

impl Service {
    async fn start(
        database: &str,
        redis: Option<String>,
        webhook: &str,
        mut settings: Settings,
    ) -> Self {
        let temporary = TempDir::new().unwrap();
        let folder = temporary.path().join("made/when/needed");
        settings.jobs.folder = folder.display().to_string();
        let options = Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: database.to_owned(),
            redis,
            lock_redis: Vec::new(),
            dataset: DATASET,
            settings,
            inject_delay: Duration::ZERO,
            admin_token: AdminToken::new(TOKEN),
            provider_secret: None,
            webhook: Some(webhook.to_owned()),
        };
        let server = Server::bind(options).await.unwrap();
        let base = format!("http://{}", server.address());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(async {
            // Dropped, it is to stop too.
            let _ = stopped.await;
        }));
        let service = Self {
            base,
            http: client(),
            folder,
            _temporary: temporary,
            stop: Some(stop),
            served,
        };
        until("the service is ready", async || {
            let ready = service.http.get(format!("{}/ready", service.base)).send();
            ready.await.unwrap().status() == StatusCode::OK
        })
        .await;
        service
    }

    fn as_user(&self, tenant: &str, user: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1/{path}", self.base));
        request
            .header("x-tenant-id", tenant)
            .header("x-user-id", user)
    }

    /// As a user whose gateway names no tenant.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1/{path}", self.base);
        self.http.request(method, url).header("x-user-id", "ada")
    }

    fn as_admin(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1/{path}", self.base));
        request.bearer_auth(TOKEN)
    }

    async fn get(&self, path: &str) -> Json {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        body(response).await
    }

    /// Asks for a job that is taken in; gives its id.
    async fn asked(&self, path: &str, job: Json) -> String {
        let request = self.request(Method::POST, path).body(job.to_string());
        accepted(request).await
    }

    async fn job(&self, id: &str) -> Json {
        self.get(&format!("jobs/{id}")).await
    }

    async fn reaches(&self, id: &str, state: &str) -> Json {
        let reached = async || self.job(id).await["state"] == state;
        until(&format!("the job is {state}"), reached).await;
        self.job(id).await
    }

    fn files(&self) -> Vec<String> {
        files_in(&self.folder)
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.served.await.unwrap().unwrap();
    }
}

fn client() -> reqwest::Client {
    let http = reqwest::Client::builder().no_proxy().no_gzip();
    http.timeout(PATIENCE).build().unwrap()
}

fn files_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

async fn accepted(request: RequestBuilder) -> String {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let job = body(response).await;
    let id = job["id"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/jobs/{id}"));
    assert_eq!(job["state"], "waiting");
    id
}

async fn body(response: Response) -> Json {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// Sends a request that is to be refused, and how.
async fn refused(request: RequestBuilder, status: u16, code: &str) {
    let response = request.send().await.unwrap();
    let found = response.status().as_u16();
    let error = body(response).await;
    assert_eq!(
        (found, &error["error"]["code"]),
        (status, &json!(code)),
        "{error}"
    );
}

/// A webhook that answers what the message of a notification asks for, such as `500`.
fn webhook() -> http_servers::Server {
    http_servers::Server::answering(|request: &Request| {
        let told: Json = serde_json::from_str(&request.body).unwrap_or_default();
        let status = told["message"].as_str().and_then(|text| text.parse().ok());
        Reply::Answer {
            status: status.unwrap_or(204),
            headers: String::new(),
            body: String::new(),
        }
    })
}

fn told(webhook: &http_servers::Server, id: &str) -> Vec<Json> {
    let seen = webhook.seen().into_iter();
    let told = seen.map(|request| serde_json::from_str(&request.body).unwrap());
    told.filter(|told: &Json| told["job_id"] == id).collect()
}

async fn the_service_keeps_its_promises(service: &Service, webhook: &http_servers::Server) {
    exports_are_whole_files(service).await;
    reports_are_what_the_dashboard_shows(service).await;
    notifications_reach_the_webhook(service, webhook).await;
    jobs_can_be_called_off(service).await;
    jobs_are_their_callers(service).await;
    what_is_no_job_is_refused(service).await;
    the_history_has_pages(service).await;
    statistics_count_what_was_done(service).await;
    metrics_count_jobs(service).await;
    a_tenant_gets_its_own_rows_alone(service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_keeps_its_promises_embedded() {
    let (_folder, url) = embedded();
    let webhook = webhook();
    let service = Service::start(&url, None, &webhook.url(), settings()).await;
    the_service_keeps_its_promises(&service, &webhook).await;
    service.stop().await;
    a_result_that_does_not_count_leaves_no_file(&url).await;
    what_is_old_goes_by_itself(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_keeps_its_promises_on_postgres_and_redis() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let webhook = webhook();
    let (url, redis) = (postgres.url(), Some(redis.url()));
    let service = Service::start(&url, redis, &webhook.url(), settings()).await;
    the_service_keeps_its_promises(&service, &webhook).await;
    service.stop().await;
    a_result_that_does_not_count_leaves_no_file(&url).await;
    what_is_old_goes_by_itself(&url).await;
}

async fn exports_are_whole_files(service: &Service) {
    for (format, filter, query, content_type) in [
        ("csv", json!({}), "", "text/csv; charset=utf-8"),
        ("ndjson", json!({}), "", "application/x-ndjson"),
        (
            "ndjson",
            json!({ "tenant": 2 }),
            "&tenant=2",
            "application/x-ndjson",
        ),
        // No such record: a head and nothing else.
        (
            "csv",
            json!({ "code": "Z99.9" }),
            "&code=Z99.9",
            "text/csv; charset=utf-8",
        ),
    ] {
        let path = format!("records/export?format={format}{query}");
        let streamed = service.request(Method::GET, &path).send().await.unwrap();
        let streamed = streamed.bytes().await.unwrap();
        let before = service.files();
        let asked = json!({ "format": format, "filter": filter });
        let id = service.asked("exports", asked).await;
        if query.is_empty() {
            let some = async || {
                let done = service.job(&id).await["progress"]["done"].as_i64().unwrap();
                (1..1000).contains(&done)
            };
            until("it says how far it is", some).await;
            // What is not whole has another name.
            let part = format!(".{id}-1.part");
            assert!(service.files().contains(&part), "{:?}", service.files());
            let file = service.request(Method::GET, &format!("exports/{id}/file"));
            refused(file, 409, "not_done").await;
        }
        let done = service.reaches(&id, "done").await;
        let head = usize::from(format == "csv");
        let rows = streamed.split(|byte| *byte == b'\n').count() - 1 - head;
        assert_eq!(
            done["result"],
            json!({ "rows": rows, "bytes": streamed.len() })
        );
        assert_eq!(done["progress"], json!({ "done": rows, "total": rows }));
        assert_eq!(
            (&done["attempts"], &done["errors"]),
            (&json!(1), &json!([]))
        );
        assert_eq!(
            done["payload"],
            json!({ "format": format, "filter": filter })
        );
        let time = |key: &str| {
            done[key]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .unwrap()
        };
        let expires = done["file"]["expires_at"].as_str().unwrap();
        let kept = expires
            .parse::<jiff::Timestamp>()
            .unwrap()
            .duration_since(time("ended_at"));
        assert_eq!(kept.as_secs(), 7 * 86_400);
        assert!(time("created_at") <= time("started_at") && time("started_at") <= time("ended_at"));

        let name = format!("{id}-1.{format}");
        let new: Vec<String> = service.files();
        let new: Vec<_> = new.iter().filter(|name| !before.contains(name)).collect();
        assert_eq!(new, [&name]);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&service.folder.join(&name)), 0o600);
        assert_eq!(mode(&service.folder), 0o700);
        for path in ["exports", "jobs"] {
            let path = format!("{path}/{id}/file");
            let file = service.request(Method::GET, &path).send().await.unwrap();
            assert_eq!(file.status(), StatusCode::OK);
            assert_eq!(file.headers()["content-type"], content_type);
            let disposition = format!("attachment; filename=\"records.{format}\"");
            assert_eq!(file.headers()["content-disposition"], disposition.as_str());
            assert_eq!(file.bytes().await.unwrap(), streamed, "{path}");
        }
    }
}

async fn reports_are_what_the_dashboard_shows(service: &Service) {
    for (payload, query) in [(json!({}), ""), (json!({ "tenant": 2 }), "?tenant=2")] {
        let asked = json!({ "queue": "reports", "kind": "dashboard", "payload": payload });
        let id = service.asked("jobs", asked).await;
        service.reaches(&id, "done").await;
        let report = service.get(&format!("jobs/{id}/file")).await;
        let shown = service.get(&format!("analytics/dashboard{query}")).await;
        assert_eq!(report, shown);
        assert!(report["records"].as_i64().unwrap() > 0);
    }
}

async fn notifications_reach_the_webhook(service: &Service, webhook: &http_servers::Server) {
    let ask = async |client: i64, message: &str| {
        let payload = json!({ "client_id": client, "message": message });
        let asked = json!({ "queue": "notifications", "kind": "client", "payload": payload });
        let request = service.as_user("1", "ada", Method::POST, "jobs");
        accepted(request.body(asked.to_string())).await
    };
    let reaches = async |id: &str, state: &str| {
        let path = format!("jobs/{id}");
        let mut job = Json::Null;
        until(&format!("the job is {state}"), async || {
            let request = service.as_user("1", "ada", Method::GET, &path);
            job = body(request.send().await.unwrap()).await;
            job["state"] == state
        })
        .await;
        job
    };
    // A tenant's own clients alone are there for it.
    let client = async |tenant: u32| {
        let page = service
            .get(&format!("clients?tenant_id={tenant}&limit=1"))
            .await;
        page["items"][0]["id"].as_i64().unwrap()
    };
    let (own, foreign) = (client(1).await, client(2).await);
    let id = ask(own, "The results are there").await;
    let done = reaches(&id, "done").await;
    assert_eq!(
        (&done["result"], &done["file"]),
        (&json!({ "status": 204 }), &Json::Null)
    );
    let expected = json!({ "client_id": own, "tenant_id": 1,
        "message": "The results are there", "job_id": id });
    assert_eq!(told(webhook, &id), [expected]);
    let file = service.as_user("1", "ada", Method::GET, &format!("jobs/{id}/file"));
    refused(file, 404, "not_found").await;

    // One that fails is tried three times, one that refuses once, and one of nobody not at all.
    for (client, message, tries, attempts) in [
        (own, "500", 3, 3),
        (own, "404", 1, 1),
        (foreign, "x", 0, 1),
        (99_999, "x", 0, 1),
    ] {
        let id = ask(client, message).await;
        let failed = reaches(&id, "failed").await;
        let errors = failed["errors"].as_array().unwrap();
        assert_eq!(told(webhook, &id).len(), tries, "{message}");
        assert_eq!(
            (&failed["attempts"], errors.len()),
            (&json!(attempts), attempts)
        );
        assert_eq!(
            (&failed["result"], &failed["file"]),
            (&Json::Null, &Json::Null)
        );
        let said = errors.iter().all(|error| {
            let text = error["message"].as_str().unwrap();
            text.contains(if tries > 0 { message } else { "no such client" })
        });
        assert!(said, "{errors:?}");
        assert_eq!(errors[0]["attempt"], 1);
    }
}

async fn jobs_can_be_called_off(service: &Service) {
    let before = service.files();
    let running = service.asked("exports", json!({ "format": "csv" })).await;
    service.reaches(&running, "running").await;
    // There is one worker for exports.
    let waiting = service
        .asked("exports", json!({ "format": "csv", "priority": 9 }))
        .await;
    let cancel = |id: &str| service.request(Method::DELETE, &format!("jobs/{id}"));
    let cancelled = cancel(&waiting).send().await.unwrap();
    assert_eq!(cancelled.status(), StatusCode::OK);
    let cancelled = body(cancelled).await;
    assert_eq!(
        (&cancelled["state"], &cancelled["attempts"]),
        (&json!("cancelled"), &json!(0))
    );
    let told = cancel(&running).send().await.unwrap();
    assert_eq!(told.status(), StatusCode::ACCEPTED);
    let told = body(told).await;
    assert_eq!(
        (&told["state"], &told["cancel_requested"]),
        (&json!("running"), &json!(true))
    );
    let ended = service.reaches(&running, "cancelled").await;
    assert_eq!(
        (&ended["file"], &ended["result"]),
        (&Json::Null, &Json::Null)
    );
    for id in [&running, &waiting] {
        refused(cancel(id), 409, "job_ended").await;
        let file = service.request(Method::GET, &format!("exports/{id}/file"));
        refused(file, 409, "not_done").await;
    }
    assert_eq!(service.files(), before);
}

async fn jobs_are_their_callers(service: &Service) {
    let asked = json!({ "queue": "reports", "kind": "dashboard" });
    let id = service.asked("jobs", asked.clone()).await;
    service.reaches(&id, "done").await;
    let paths = [
        (Method::GET, format!("jobs/{id}")),
        (Method::GET, format!("jobs/{id}/file")),
        (Method::GET, format!("exports/{id}/file")),
        (Method::DELETE, format!("jobs/{id}")),
    ];
    // Another user, the same name in another tenant, and nobody by name.
    for (method, path) in &paths {
        for (tenant, user) in [("1", "eve"), ("1", "ada")] {
            let request = service.as_user(tenant, user, method.clone(), path);
            refused(request, 404, "not_found").await;
        }
        let url = format!("{}/api/v1/{path}", service.base);
        refused(service.http.request(method.clone(), url), 404, "not_found").await;
    }
    // A tenant's nameless callers are told apart by their tenant, not by the gateway's address alone.
    let request = |tenant: &str, method, path: &str| {
        let url = format!("{}/api/v1/{path}", service.base);
        service
            .http
            .request(method, url)
            .header("x-tenant-id", tenant)
    };
    let theirs = accepted(request("1", Method::POST, "jobs").body(asked.to_string())).await;
    let path = format!("jobs/{theirs}");
    refused(request("2", Method::GET, &path), 404, "not_found").await;
    let found = request("1", Method::GET, &path).send().await.unwrap();
    assert_eq!(found.status(), StatusCode::OK);

    let listed = async |request: RequestBuilder| -> BTreeSet<String> {
        let page = body(request.send().await.unwrap()).await;
        let ids = page["items"].as_array().unwrap().iter();
        ids.map(|job| job["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = "jobs?limit=100";
    let mine = listed(service.request(Method::GET, all)).await;
    assert!(mine.contains(&id) && !mine.contains(&theirs));
    assert!(
        listed(service.as_user("1", "eve", Method::GET, all))
            .await
            .is_empty()
    );
    let everything = listed(service.as_admin(Method::GET, all)).await;
    assert!(everything.is_superset(&mine) && everything.contains(&theirs));
    let seen = service.as_admin(Method::GET, &format!("jobs/{id}/file"));
    assert_eq!(seen.send().await.unwrap().status(), StatusCode::OK);

    let purge = json!({ "queue": "maintenance", "kind": "purge" }).to_string();
    let request = service.request(Method::POST, "jobs").body(purge.clone());
    refused(request, 403, "admin_only").await;
    let purge = accepted(service.as_admin(Method::POST, "jobs").body(purge)).await;
    let done = async || {
        let job = service
            .as_admin(Method::GET, &format!("jobs/{purge}"))
            .send();
        body(job.await.unwrap()).await["state"] == "done"
    };
    until("maintenance is done", done).await;
}

async fn what_is_no_job_is_refused(service: &Service) {
    let export =
        |payload: Json| json!({ "queue": "exports", "kind": "records", "payload": payload });
    let notification =
        |payload: Json| json!({ "queue": "notifications", "kind": "client", "payload": payload });
    let before = service.get("jobs?limit=100").await;
    for (path, asked) in [
        ("jobs", json!({})),
        ("jobs", json!({ "queue": "exports" })),
        ("jobs", json!({ "queue": "other", "kind": "records" })),
        (
            "jobs",
            json!({ "queue": "reports", "kind": "records", "payload": { "format": "csv" } }),
        ),
        ("jobs", json!({ "queue": "exports", "kind": "" })),
        (
            "jobs",
            json!({ "queue": "reports", "kind": "dashboard", "owner": "eve" }),
        ),
        (
            "jobs",
            json!({ "queue": "reports", "kind": "dashboard", "priority": 10 }),
        ),
        (
            "jobs",
            json!({ "queue": "reports", "kind": "dashboard", "priority": -1 }),
        ),
        (
            "jobs",
            json!({ "queue": "reports", "kind": "dashboard", "payload": { "tenant": 0 } }),
        ),
        (
            "jobs",
            json!({ "queue": "reports", "kind": "dashboard", "payload": { "file": "/x" } }),
        ),
        (
            "jobs",
            json!({ "queue": "reports", "kind": "dashboard", "payload": null }),
        ),
        ("jobs", export(json!({}))),
        ("jobs", export(json!({ "format": "xml" }))),
        (
            "jobs",
            export(json!({ "format": "csv", "filter": { "code": "C50'--" } })),
        ),
        (
            "jobs",
            notification(json!({ "client_id": 7, "message": "" })),
        ),
        (
            "jobs",
            notification(json!({ "client_id": 7, "message": "a\nb" })),
        ),
        (
            "jobs",
            notification(json!({ "client_id": "7", "message": "a" })),
        ),
        ("exports", json!({})),
        (
            "exports",
            json!({ "format": "csv", "filter": { "tenant": 1_000_000 } }),
        ),
        ("exports", json!({ "format": "csv", "folder": "/tmp" })),
    ] {
        let request = service.request(Method::POST, path).body(asked.to_string());
        refused(request, 422, "invalid_body").await;
    }
    let large = format!("{{\"queue\": \"{}\"}}", "x".repeat(65 * 1024));
    let request = service.request(Method::POST, "jobs").body(large);
    refused(request, 413, "body_too_large").await;
    for path in ["jobs/1", "jobs/..%2f..%2fetc", "exports/x/file", "jobs/%FF"] {
        refused(service.request(Method::GET, path), 400, "invalid_id").await;
    }
    for query in ["state=over", "queue=x", "limit=0", "limit=101", "cursor=1"] {
        let request = service.request(Method::GET, &format!("jobs?{query}"));
        refused(request, 400, "invalid_value").await;
    }
    let request = service.request(Method::GET, "jobs?owner=eve");
    refused(request, 400, "unknown_parameter").await;
    let nobody = format!("jobs/{}", Uuid::now_v7());
    for method in [Method::GET, Method::DELETE] {
        refused(service.request(method, &nobody), 404, "not_found").await;
    }
    assert_eq!(service.get("jobs?limit=100").await, before);
}

async fn the_history_has_pages(service: &Service) {
    let ids = |page: &Json| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let whole = service.get("jobs?limit=100").await;
    assert_eq!(whole["next"], Json::Null);
    let mut paged = Vec::new();
    let mut path = "jobs?limit=2".to_owned();
    loop {
        let page = service.get(&path).await;
        assert!(ids(&page).len() <= 2);
        paged.extend(ids(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("jobs?limit=2&cursor={next}");
    }
    assert!(paged.len() > 4);
    assert_eq!(paged, ids(&whole));
    let failed = "jobs?queue=notifications&state=failed";
    let failed = service.as_user("1", "ada", Method::GET, failed).send();
    let failed = body(failed.await.unwrap()).await;
    let failed = failed["items"].as_array().unwrap();
    assert_eq!(failed.len(), 4);
    for job in failed {
        assert_eq!(
            (&job["queue"], &job["state"]),
            (&json!("notifications"), &json!("failed"))
        );
        let attempts = job["attempts"].as_u64().unwrap() as usize;
        assert_eq!(job["errors"].as_array().unwrap().len(), attempts);
    }
}

async fn statistics_count_what_was_done(service: &Service) {
    let statistics = service.get("jobs/statistics").await;
    let queues = statistics["queues"].as_array().unwrap();
    let of = |name: &str| queues.iter().find(|queue| queue["queue"] == name).unwrap();
    let exports = of("exports");
    assert_eq!(
        (&exports["done"], &exports["cancelled"]),
        (&json!(4), &json!(2))
    );
    // Two whole exports took a hundred batches each, with a pause of 10 ms after each.
    assert!(
        exports["run"]["p95_ms"].as_i64().unwrap() >= 1000,
        "{exports}"
    );
    assert_eq!(exports["wait"]["count"], 4);
    let notifications = of("notifications");
    assert_eq!(
        (&notifications["done"], &notifications["failed"]),
        (&json!(1), &json!(4))
    );
    assert!(of("maintenance")["done"].as_i64().unwrap() >= 1);
}

async fn metrics_count_jobs(service: &Service) {
    let text = service.http.get(format!("{}/metrics", service.base)).send();
    let text = text.await.unwrap().text().await.unwrap();
    for expected in [
        "jobs{queue=\"notifications\",state=\"failed\"} 4",
        "jobs{queue=\"exports\",state=\"waiting\"} 0",
        "jobs{queue=\"exports\",state=\"running\"} 0",
        "jobs{queue=\"reports\",state=\"failed\"} 0",
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected}\n{text}"
        );
    }
}

/// Whatever a tenant asks for, its files hold its own rows.
async fn a_tenant_gets_its_own_rows_alone(service: &Service) {
    let request = |method, path: &str| service.as_user("2", "eve", method, path);
    let post = |path: &str, job: &Json| request(Method::POST, path).body(job.to_string());
    let file = async |id: &str| {
        let path = format!("jobs/{id}");
        until("the job is done", async || {
            let job = request(Method::GET, &path).send().await.unwrap();
            body(job).await["state"] == "done"
        })
        .await;
        let file = request(Method::GET, &format!("{path}/file")).send();
        file.await.unwrap().text().await.unwrap()
    };
    let theirs = service.request(Method::GET, "records/export?format=ndjson&tenant=2");
    let theirs = theirs.send().await.unwrap().text().await.unwrap();
    let is_theirs = |line: &str| line.parse::<Json>().unwrap()["tenant_id"] == 2;
    assert!(!theirs.is_empty() && theirs.lines().all(is_theirs));
    for filter in [json!({}), json!({ "tenant": 2 })] {
        let asked = json!({ "format": "ndjson", "filter": filter });
        let id = accepted(post("exports", &asked)).await;
        let job = body(
            request(Method::GET, &format!("jobs/{id}"))
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(job["payload"]["filter"], json!({ "tenant": 2 }));
        assert_eq!(file(&id).await, theirs, "{filter}");
    }
    let report = json!({ "queue": "reports", "kind": "dashboard" });
    let id = accepted(post("jobs", &report)).await;
    let report: Json = serde_json::from_str(&file(&id).await).unwrap();
    assert_eq!(
        (&report["tenant"], &report["records"]),
        (&json!(2), &json!(theirs.lines().count()))
    );
    for (path, asked) in [
        (
            "exports",
            json!({ "format": "csv", "filter": { "tenant": 1 } }),
        ),
        (
            "jobs",
            json!({ "queue": "exports", "kind": "records",
                "payload": { "format": "csv", "filter": { "tenant": 1 } } }),
        ),
        (
            "jobs",
            json!({ "queue": "reports", "kind": "dashboard", "payload": { "tenant": 1 } }),
        ),
    ] {
        refused(post(path, &asked), 422, "invalid_body").await;
    }
    // The admin is held to no tenant, whatever its gateway says.
    let admin = service.as_admin(Method::POST, "exports");
    let asked = json!({ "format": "ndjson", "filter": { "tenant": 1 } });
    let admin = admin.header("x-tenant-id", "2").body(asked.to_string());
    let path = format!("jobs/{}", accepted(admin).await);
    // Left undone it would be done by the next service over this database.
    until("the job is done", async || {
        let job = service.as_admin(Method::GET, &path).send();
        body(job.await.unwrap()).await["state"] == "done"
    })
    .await;
}

/// Files take no more room than they may, all together and of each caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_have_their_limits() {
    // A database of its own: what callers had done before counts.
    let (_folder, database) = embedded();
    let mut settings = settings();
    settings.jobs.batch_pause_ms = 0;
    settings.jobs.files_max_bytes = 5000;
    settings.jobs.files_per_caller_max = 2;
    let service = Service::start(&database, None, "http://127.0.0.1:1/", settings).await;
    // A thousand records do not fit, and what was written of them does not stay.
    let id = service.asked("exports", json!({ "format": "csv" })).await;
    let failed = service.reaches(&id, "failed").await;
    let message = failed["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("jobs.files_max_bytes"), "{message}");
    assert!(service.files().is_empty(), "{:?}", service.files());
    let small = json!({ "format": "csv", "filter": { "code": "Z99.9" } });
    for _ in 0..2 {
        let id = service.asked("exports", small.clone()).await;
        service.reaches(&id, "done").await;
    }
    for path in ["exports", "jobs"] {
        let asked = match path {
            "jobs" => json!({ "queue": "reports", "kind": "dashboard" }),
            _ => small.clone(),
        };
        let request = service.request(Method::POST, path).body(asked.to_string());
        refused(request, 429, "too_many_files").await;
    }
    // Others still may.
    let other = service.as_user("1", "eve", Method::POST, "exports");
    accepted(other.body(small.to_string())).await;
    service.stop().await;
}

async fn a_result_that_does_not_count_leaves_no_file(database: &str) {
    let mut settings = settings();
    settings.jobs.beat_ms = 10_000;
    let service = Service::start(database, None, "http://127.0.0.1:1/", settings).await;
    let pool = Pool::connect(database, PoolSettings::default())
        .await
        .unwrap();
    let id = service.asked("exports", json!({ "format": "csv" })).await;
    let begun = async || service.files() == [format!(".{id}-1.part")];
    until("the file is begun", begun).await;
    take_away(&pool, id.parse().unwrap()).await;
    until("nothing is left", async || service.files().is_empty()).await;
    let job = service.job(&id).await;
    assert_eq!(
        (&job["attempts"], &job["state"]),
        (&json!(2), &json!("running"))
    );
    assert_eq!(job["file"], Json::Null);
    pool.close().await;
    service.stop().await;
}

/// Files and history that are older than they may be go without anybody's asking.
async fn what_is_old_goes_by_itself(database: &str) {
    let mut settings = settings();
    settings.jobs.files_kept_s = 2;
    settings.jobs.history_kept_s = 4;
    settings.jobs.maintenance_every_s = 1;
    settings.jobs.batch_pause_ms = 0;
    let service = Service::start(database, None, "http://127.0.0.1:1/", settings).await;
    let id = service.asked("exports", json!({ "format": "csv" })).await;
    let done = service.reaches(&id, "done").await;
    assert!(done["file"]["expires_at"].is_string());
    let name = format!("{id}-1.csv");
    let path = format!("exports/{id}/file");
    let gone = async || {
        let file = service.request(Method::GET, &path).send().await.unwrap();
        file.status() == StatusCode::GONE
    };
    until("the file is not served any more", gone).await;
    refused(service.request(Method::GET, &path), 410, "file_gone").await;
    until("it is removed", async || !service.files().contains(&name)).await;
    let forgotten = async || {
        let job = service.request(Method::GET, &format!("jobs/{id}")).send();
        job.await.unwrap().status() == StatusCode::NOT_FOUND
    };
    until("the job is forgotten", forgotten).await;
    service.stop().await;
}

// ---- The program ----

/// A running `refservice`; dropping it kills it.
struct Program {
    child: Child,
    base: String,
    http: reqwest::Client,
    log: PathBuf,
}

impl Program {
    /// Starts it over a database, with its files in `folder`. An export of all records takes three seconds.
    async fn start(database: &[&str], folder: &Path, log: &str) -> Self {
        let log = folder.join(log);
        let mut command = command_as(None, Path::new(env!("CARGO_BIN_EXE_refservice")));
        for (name, _) in std::env::vars_os() {
            if name == "RUST_LOG" || name.to_string_lossy().starts_with("REFSERVICE") {
                command.env_remove(name);
            }
        }
        let files = folder.join("files");
        command
            .args(["--records", "1000", "--rate-limit", "0"])
            .args(database)
            .env("REFSERVICE__JOBS__FOLDER", files)
            .envs([
                ("REFSERVICE__JOBS__LEASE_MS", "1500"),
                ("REFSERVICE__JOBS__BEAT_MS", "100"),
                ("REFSERVICE__JOBS__POLL_MS", "50"),
                ("REFSERVICE__JOBS__BACKOFF_MIN_MS", "10"),
                ("REFSERVICE__JOBS__BATCH_PAUSE_MS", "30"),
                ("REFSERVICE__BATCH__MIN_ROWS", "10"),
                ("REFSERVICE__BATCH__START_ROWS", "10"),
                ("REFSERVICE__BATCH__MAX_ROWS", "10"),
            ])
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let base = line.trim().strip_prefix("listening on ");
        let program = Self {
            child,
            base: base.unwrap_or_default().to_owned(),
            http: client(),
            log,
        };
        assert!(base.is_some(), "it does not listen: {}", program.log());
        until("the program is ready", async || {
            let ready = program.http.get(format!("{}/ready", program.base)).send();
            ready.await.unwrap().status() == StatusCode::OK
        })
        .await;
        program
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1/{path}", self.base));
        request.header("x-user-id", "ada")
    }

    async fn get(&self, path: &str) -> Json {
        body(self.request(Method::GET, path).send().await.unwrap()).await
    }

    async fn bytes(&self, path: &str) -> Vec<u8> {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.bytes().await.unwrap().to_vec()
    }

    /// Asks for an export, and returns when it is in the middle.
    async fn in_the_middle_of_an_export(&self) -> String {
        let asked = json!({ "format": "csv" }).to_string();
        let id = accepted(self.request(Method::POST, "exports").body(asked)).await;
        let path = format!("jobs/{id}");
        until("it is in the middle", async || {
            let job = self.get(&path).await;
            assert_ne!(job["state"], "done", "too fast for this test");
            job["progress"]["done"].as_i64().unwrap() >= 100
        })
        .await;
        id
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already needs no killing; SIGKILL ends a stopped one too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a job says whose process died.
const GONE: &str = "whoever ran it went away before it ended";

/// The job has run twice, the first time into an error, and there is one file, whole, of the second attempt.
async fn ended_once(program: &Program, id: &str, files: &Path, error: &str) {
    let path = format!("jobs/{id}");
    until("the job is done", async || {
        program.get(&path).await["state"] == "done"
    })
    .await;
    let job = program.get(&path).await;
    assert_eq!(
        (&job["attempts"], &job["result"]["rows"]),
        (&json!(2), &json!(1000))
    );
    let errors = job["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), &errors[0]["attempt"]),
        (1, &json!(1)),
        "{errors:?}"
    );
    assert_eq!(errors[0]["message"], error);
    assert_eq!(files_in(files), [format!("{id}-2.csv")]);
    let streamed = program.bytes("records/export?format=csv").await;
    assert_eq!(program.bytes(&format!("exports/{id}/file")).await, streamed);
    assert_eq!(
        std::fs::read(files.join(format!("{id}-2.csv"))).unwrap(),
        streamed
    );
}

async fn a_job_survives_the_death_of_its_process(database: &[&str], folder: &Path) {
    let files = folder.join("files");
    let mut program = Program::start(database, folder, "first.log").await;
    let id = program.in_the_middle_of_an_export().await;
    program.signal(Signal::SIGKILL);
    program.child.wait().unwrap();
    assert_eq!(files_in(&files), [format!(".{id}-1.part")]);
    let program = Program::start(database, folder, "second.log").await;
    ended_once(&program, &id, &files, GONE).await;
}

#[tokio::test]
async fn a_job_survives_the_death_of_its_process_embedded() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let database = ["--data", data.to_str().unwrap()];
    a_job_survives_the_death_of_its_process(&database, folder.path()).await;
}

#[tokio::test]
async fn a_job_survives_the_death_of_its_process_on_postgres() {
    let (folder, postgres) = (TempDir::new().unwrap(), Postgres::start().unwrap());
    let url = postgres.url();
    a_job_survives_the_death_of_its_process(&["--database", &url], folder.path()).await;
}

#[tokio::test]
async fn an_export_whose_connection_is_killed_is_made_again() {
    let (folder, postgres) = (TempDir::new().unwrap(), Postgres::start().unwrap());
    let (url, files) = (postgres.url(), folder.path().join("files"));
    let program = Program::start(&["--database", &url], folder.path(), "program.log").await;
    let mut killer = sqlx::PgConnection::connect(&url).await.unwrap();
    let id = program.in_the_middle_of_an_export().await;
    let reader = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'FETCH%'";
    let killed = sqlx::raw_sql(reader).fetch_all(&mut killer).await.unwrap();
    assert_eq!(killed.len(), 1, "the export reads");
    ended_once(&program, &id, &files, "the database is away").await;
}

#[tokio::test]
async fn a_process_paused_beyond_its_lease_publishes_nothing() {
    let (folder, postgres) = (TempDir::new().unwrap(), Postgres::start().unwrap());
    let (url, files) = (postgres.url(), folder.path().join("files"));
    let database = ["--database", url.as_str()];
    let paused = Program::start(&database, folder.path(), "paused.log").await;
    let id = paused.in_the_middle_of_an_export().await;
    paused.signal(Signal::SIGSTOP);
    let other = Program::start(&database, folder.path(), "other.log").await;
    ended_once(&other, &id, &files, GONE).await;

    paused.signal(Signal::SIGCONT);
    let noticed = async || {
        let log = paused.log();
        log.lines()
            .any(|line| line.contains(&id) && line.contains("a job was lost"))
    };
    until("the paused one notices", noticed).await;
    // Nothing has changed, and it works on.
    ended_once(&paused, &id, &files, GONE).await;
    let next = paused.in_the_middle_of_an_export().await;
    let path = format!("jobs/{next}");
    until("it does another", async || {
        paused.get(&path).await["state"] == "done"
    })
    .await;
    assert_eq!(paused.get(&path).await["attempts"], 1);
}

/// Told to stop, a program gives back what it can't end: the next one needs no lease to run out.
#[tokio::test]
async fn a_program_that_is_told_to_stop_gives_its_jobs_back() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let database = ["--data", data.to_str().unwrap()];
    let files = folder.path().join("files");
    let mut program = Program::start(&database, folder.path(), "first.log").await;
    let id = program.in_the_middle_of_an_export().await;
    program.signal(Signal::SIGTERM);
    assert!(program.child.wait().unwrap().success());
    assert!(files_in(&files).is_empty());
    let program = Program::start(&database, folder.path(), "second.log").await;
    let path = format!("jobs/{id}");
    until("the job is done", async || {
        program.get(&path).await["state"] == "done"
    })
    .await;
    let job = program.get(&path).await;
    assert_eq!(
        (&job["attempts"], &job["attempts_max"]),
        (&json!(2), &json!(4))
    );
    assert_eq!(job["errors"], json!([]));
    assert_eq!(files_in(&files), [format!("{id}-2.csv")]);
}
