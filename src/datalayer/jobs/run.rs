//! One attempt at one job, from its claim to its ending.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout_at};

use super::JobError;
use super::claim::Beat;
use super::ending::Outcome;
use super::job::{Job, JobState};
use super::queue::Jobs;

/// What jobs do. A job whose process dies, or that fails, is run again.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Does the work of one attempt and gives its result. May be dropped at any await: when the job is
    /// called off, lost to another process, takes too long, or when the service ends.
    async fn run(&self, job: &Job, progress: &Progress) -> Result<Json, Failure>;

    /// Undoes what a [`Handler::run`] has made whose result does not count: of one that ended well all of
    /// it, of one that was dropped whatever there is.
    async fn discard(&self, job: &Job);
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the history says, to whoever asked for the job.
    pub message: String,
    /// Whether another attempt may do better.
    pub retry: bool,
    /// The next attempt comes no earlier than after this.
    pub not_before: Duration,
}

/// How far an attempt is. Written to the database with the next beat.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicI64,
    total: AtomicI64,
}

/// Why an attempt is over.
enum End {
    Worked(Result<Json, Failure>),
    TooLong,
    CalledOff,
    Lost,
    Stopped,
}

/// The task of a handler, which ends with the value; nothing once it was waited for.
struct Work(Option<JoinHandle<Result<Json, Failure>>>);

impl Failure {
    /// A failure that another attempt may mend.
    pub fn passing(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retry: true,
            not_before: Duration::ZERO,
        }
    }

    /// A failure that comes again with every attempt.
    pub fn lasting(message: impl Into<String>) -> Self {
        Self {
            retry: false,
            ..Self::passing(message)
        }
    }
}

impl Progress {
    /// Says that `done` of `total` is done, in whatever the handler counts.
    pub fn set(&self, done: i64, total: i64) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// What was said last.
    pub fn get(&self) -> (i64, i64) {
        let done = self.done.load(Ordering::Relaxed);
        (done, self.total.load(Ordering::Relaxed))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Work {
    async fn ended(&mut self) -> Result<Json, Failure> {
        let Some(task) = &mut self.0 else {
            return pending().await;
        };
        let ended = task.await;
        self.0 = None;
        ended.unwrap_or_else(|gone| {
            let what = if gone.is_panic() {
                "panicked"
            } else {
                "was broken off"
            };
            Err(Failure::passing(format!("BUG: the handler {what}")))
        })
    }

    /// Ends the task, and gives what it has done if it was done.
    async fn stop(mut self) -> Option<Result<Json, Failure>> {
        let task = self.0.take()?;
        task.abort();
        task.await.ok()
    }
}

/// Runs a claimed job. `claimed` is when the claim was asked for, so that the lease is never thought longer
/// than it is; `stop` says from when on runs are to be broken off.
pub(super) async fn run(
    jobs: Jobs,
    handler: Arc<dyn Handler>,
    job: Job,
    claimed: Instant,
    stop: watch::Receiver<Option<Instant>>,
) {
    let job = Arc::new(job);
    let progress = Arc::new(Progress::default());
    let mut work = Work(Some({
        let (handler, job) = (Arc::clone(&handler), Arc::clone(&job));
        let progress = Arc::clone(&progress);
        tokio::spawn(async move { handler.run(&job, &progress).await })
    }));
    let mut lease = claimed + jobs.lease();
    let limit = claimed + Duration::from_millis(jobs.settings().run_timeout_ms);
    let end = watch_over(&jobs, &job, &progress, &mut work, &mut lease, limit, stop).await;
    let end = match (end, work.stop().await) {
        // It was done before it could be stopped.
        (End::Stopped | End::TooLong, Some(worked)) => End::Worked(worked),
        (End::TooLong, None) => {
            handler.discard(&job).await;
            End::Worked(Err(Failure::passing(
                "it took longer than jobs.run_timeout_ms",
            )))
        }
        // What was cut off may have been through with all but saying so.
        (end @ (End::CalledOff | End::Lost | End::Stopped), _) => {
            handler.discard(&job).await;
            end
        }
        (end, _) => end,
    };
    let (id, attempt) = (job.id, job.attempt);
    let (outcome, has_result) = match end {
        End::Worked(Ok(result)) => {
            let finish = || jobs.finish(&job, &result, &progress);
            (settle(&jobs, lease, finish).await, true)
        }
        End::Worked(Err(failure)) => {
            tracing::warn!(%id, attempt, error = failure.message, "an attempt at a job failed");
            let fail = || jobs.fail(&job, &failure);
            (settle(&jobs, lease, fail).await, false)
        }
        End::CalledOff => (
            settle(&jobs, lease, || jobs.end_cancelled(&job)).await,
            false,
        ),
        End::Stopped => (settle(&jobs, lease, || jobs.release(&job)).await, false),
        End::Lost | End::TooLong => (Some(Outcome::Lost), false),
    };
    match outcome {
        Some(Outcome::Taken(JobState::Done)) => tracing::debug!(%id, attempt, "a job is done"),
        Some(Outcome::Taken(state)) => {
            tracing::info!(%id, attempt, state = state.name(), "an attempt at a job ended");
            if has_result {
                handler.discard(&job).await;
            }
        }
        Some(Outcome::Lost) => {
            tracing::warn!(%id, attempt, "a job was lost: its lease was over, and its result does not count");
            if has_result {
                handler.discard(&job).await;
            }
        }
        // It may have been taken without our hearing of it, so what was made has to stay.
        None => tracing::error!(
            %id,
            attempt,
            "the database could not be told within the lease how a job ended: it may run again"
        ),
    }
}

/// Waits for the end of the work, and keeps the lease meanwhile.
async fn watch_over(
    jobs: &Jobs,
    job: &Job,
    progress: &Progress,
    work: &mut Work,
    lease: &mut Instant,
    limit: Instant,
    mut stop: watch::Receiver<Option<Instant>>,
) -> End {
    let pause = jobs.beat_pause();
    let mut beat = interval_at(Instant::now() + pause, pause);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            worked = work.ended() => return End::Worked(worked),
            () = sleep_until(*lease) => return End::Lost,
            () = sleep_until(limit) => return End::TooLong,
            () = stopped(&mut stop) => return End::Stopped,
            _ = beat.tick() => {}
            () = jobs.called_off() => {}
        }
        let asked = Instant::now();
        match timeout_at(*lease, jobs.beat(job, progress)).await {
            Ok(Ok(Beat::Held)) => *lease = asked + jobs.lease(),
            Ok(Ok(Beat::CancelRequested)) => return End::CalledOff,
            Ok(Ok(Beat::Lost)) | Err(_) => return End::Lost,
            Ok(Err(error)) => tracing::debug!(%error, "a lease could not be extended"),
        }
    }
}

/// Ready when runs are to be broken off.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) {
    let when = stop.wait_for(Option::is_some).await.map(|when| *when);
    // Nobody is left to stop it where the sender has gone: so has everything else.
    if let Ok(Some(when)) = when {
        sleep_until(when).await;
    }
}

/// Tells the database how a run ended, again and again while the lease holds.
async fn settle<F>(jobs: &Jobs, lease: Instant, tell: impl Fn() -> F) -> Option<Outcome>
where
    F: Future<Output = Result<Outcome, JobError>>,
{
    loop {
        match timeout_at(lease, tell()).await {
            Ok(Ok(outcome)) => return Some(outcome),
            Ok(Err(error)) => tracing::debug!(%error, "an ending could not be told"),
            Err(_) => return None,
        }
        let pause = jobs.beat_pause();
        if Instant::now() + pause >= lease {
            return None;
        }
        sleep(pause).await;
    }
}
