//! The engine's side of the workers: starts them, listens, and reads their files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;

use super::clock::LoadClock;
use super::collect::WorkerEnd;
use super::flow::redactor;
use super::job::{LoadFile, WORKER_COMMAND, WorkerEvent, WorkerJob};
use super::ticks::Ticks;
use crate::harness::engine::LoadTick;
use crate::harness::engine::flag::became_true;
use crate::harness::engine::secrets::STORE_VARIABLE;

/// How long a worker may take beyond its drain to write its file before it is killed.
const GRACE: Duration = Duration::from_secs(20);
/// So much of what a failed worker said last is kept.
const LAST_LINES: usize = 20;
/// What became of a failed worker is told in this many bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Why workers could not be driven. That one of them fails is no error but a result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The program could not be started.
    #[error("could not start the load worker {program}: {error}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Executes all jobs at the same time, each in a process of its own (`program load-worker`), and
/// returns what became of each, in their order. When `stop` becomes true, when a worker fails, or when a
/// limit ends one, all end early and keep what they measured. Dropping the future kills them.
///
/// What is told of a load each second is that of all its workers together. A job's start should be a
/// second or so ahead, so that all users are there; what a late worker missed counts as late or
/// dropped.
///
/// # Errors
/// A worker could not be started.
pub async fn perform(
    program: &Path,
    jobs: &[WorkerJob],
    mut stop: watch::Receiver<bool>,
    on_tick: &(dyn Fn(LoadTick) + Send + Sync),
) -> Result<Vec<WorkerEnd>, LoadError> {
    let (all_stop, _) = watch::channel(false);
    let ticks = Ticks::default();
    let (all_stop, ticks) = (&all_stop, &ticks);
    let workers = jobs.iter().map(|job| {
        let on_tick = move |tick| on_tick(ticks.add(job.shard.index, tick));
        async move {
            let outcome = attend(program, job, all_stop, &on_tick).await;
            if !matches!(outcome, Ok(Ok(_))) {
                // One part without the others is not what the scenario describes.
                all_stop.send_replace(true);
            }
            outcome
        }
    });
    let workers = futures_util::future::join_all(workers);
    tokio::pin!(workers);
    let outcomes = tokio::select! {
        outcomes = &mut workers => outcomes,
        () = became_true(&mut stop) => {
            all_stop.send_replace(true);
            workers.await
        }
    };
    let end = |(job, outcome): (&WorkerJob, Result<_, LoadError>)| {
        outcome.map(|outcome: Result<LoadFile, String>| WorkerEnd {
            load: job.load.name.clone(),
            shard: job.shard,
            outcome: outcome.map_err(|message| last_words(job, &message)),
        })
    };
    jobs.iter().zip(outcomes).map(end).collect()
}

/// What a failed worker said, without its secrets.
fn last_words(job: &WorkerJob, message: &str) -> String {
    // Redacted before it is cut, lest half a secret be left.
    let redactor = redactor(&job.http, &job.secrets);
    let mut message = redactor.redact(message).into_owned();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    message
}

/// Starts one worker and stays with it to its end. The inner error is what a failed one said.
async fn attend(
    program: &Path,
    job: &WorkerJob,
    all_stop: &watch::Sender<bool>,
    on_tick: &(dyn Fn(LoadTick) + Send + Sync),
) -> Result<Result<LoadFile, String>, LoadError> {
    let mut child = Command::new(program)
        .arg(WORKER_COMMAND)
        .env_remove(STORE_VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A Ctrl-C in the terminal is for the harness, which then stops its workers in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| LoadError::Spawn {
            program: program.to_owned(),
            error,
        })?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Ok(Err("BUG: a pipe to the worker is missing".to_owned()));
    };
    let mut last_lines = VecDeque::with_capacity(LAST_LINES);
    let (listens, listening) = watch::channel(false);
    let conversation = async {
        let mut line = serde_json::to_vec(job).map_err(|error| error.to_string())?;
        line.push(b'\n');
        // A worker that doesn't take its job says why on its standard error.
        let _ = stdin.write_all(&line).await;
        let _ = stdin.flush().await;
        // A limit that one breaks ends all of them.
        let on_abort = || {
            all_stop.send_replace(true);
        };
        let heard = listen(stdout, &listens, on_tick, on_abort);
        let (finished, ()) = tokio::join!(heard, remember(stderr, &mut last_lines));
        Ok::<_, String>(finished)
    };
    let ended = tokio::select! {
        ended = conversation => ended,
        overdue = terminate_when(&child, job, all_stop.subscribe(), listening) => Err(overdue),
    };
    // The pipe stays open until here, because the worker dies with it.
    drop(stdin);
    let last_lines = Vec::from(last_lines).join("\n");
    let finished = match ended {
        Ok(finished) => finished,
        Err(message) => {
            let _ = child.kill().await;
            return Ok(Err(format!("{message}\n{last_lines}")));
        }
    };
    let status = child.wait().await;
    let is_success = status.as_ref().is_ok_and(ExitStatus::success);
    if !finished || !is_success {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        return Ok(Err(format!("{status}: {last_lines}")));
    }
    Ok(LoadFile::read(&job.result).map_err(|error| error.to_string()))
}

/// Hands on what the worker says; whether it said that it finished.
async fn listen(
    output: impl AsyncRead + Unpin,
    listens: &watch::Sender<bool>,
    on_tick: &(dyn Fn(LoadTick) + Send + Sync),
    on_abort: impl Fn(),
) -> bool {
    let mut lines = BufReader::new(output).lines();
    let mut finished = false;
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(WorkerEvent::Listening) => {
                listens.send_replace(true);
            }
            Ok(WorkerEvent::Tick(tick)) => on_tick(tick),
            Ok(WorkerEvent::Abort(_)) => on_abort(),
            Ok(WorkerEvent::Finished) => finished = true,
            Err(error) => tracing::debug!(%error, "a worker said something else than an event"),
        }
    }
    finished
}

/// Keeps the last lines of a worker's standard error until that is closed.
async fn remember(output: ChildStderr, last: &mut VecDeque<String>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
}

/// Asks the worker to end when `stop` becomes true and it listens: before, it would be killed and look as if it had
/// failed. Returns only when it is overdue, with a message.
async fn terminate_when(
    child: &Child,
    job: &WorkerJob,
    mut stop: watch::Receiver<bool>,
    mut listening: watch::Receiver<bool>,
) -> String {
    let clock = LoadClock::starting_at(job.start_at_ns);
    let drain = Duration::from_nanos(job.phases.drain_ns);
    let whole = clock.until(job.phases.total_ns()) + drain + GRACE;
    let asked = async {
        became_true(&mut listening).await;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            // It may have ended by itself just now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        std::future::pending::<()>().await;
    };
    let stopped = async {
        became_true(&mut stop).await;
        let _ = tokio::time::timeout(drain + GRACE, asked).await;
    };
    tokio::select! {
        () = tokio::time::sleep(whole) => {}
        () = stopped => {}
    }
    format!(
        "it was still there {:?} after its end, was killed, and what it measured is lost",
        drain + GRACE
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::harness::scenario::{Part, Template};

    #[test]
    fn the_password_in_the_address_of_a_proxy_is_no_last_word() {
        let mut job = fixture::job("http://127.0.0.1:1");
        let address = "http://u:hunter22@h:3128".to_owned();
        job.secrets.0.insert("PROXY".into(), address);
        job.http.proxy = Some(Template {
            parts: vec![Part::Env("PROXY".into())],
        });
        assert_eq!(last_words(&job, "with hunter22"), "with {$env.PROXY}");
    }

    #[test]
    fn what_a_failed_worker_said_is_redacted_before_it_is_cut() {
        let mut job = fixture::job("http://127.0.0.1:1");
        job.secrets.0.insert("TOKEN".into(), "hunter2".into());
        let said = format!("{}hunter2", "x".repeat(MAX_MESSAGE_BYTES - 4));
        let message = last_words(&job, &said);
        assert!(
            message.ends_with("x{$en"),
            "{:?}",
            message.get(MAX_MESSAGE_BYTES - 9..)
        );
        assert_eq!(message.len(), MAX_MESSAGE_BYTES);
    }
}
