//! The supervisor: a process of ours between plimsoll and each process of a scenario, which lives
//! for nothing but to end that process and all of its descendants.
//!
//! It is a *child subreaper*: a descendant whose parent ends becomes the supervisor's child, also
//! where it has left its process group and its session to become a daemon. So nothing escapes by
//! forking, and `waitpid` says exactly when nothing is left: when there is no child. It reads a pipe
//! that plimsoll holds; however plimsoll ends, by SIGKILL too, the kernel closes the pipe, and the
//! supervisor takes everything down.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, setsid};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::protocol::{Ending, Job, Order, Report};
use super::tree::Snapshot;

/// The longest grace where plimsoll is gone: nobody watches any more, and a person who killed
/// plimsoll waits for the port to be free.
const ORPHANED_GRACE: Duration = Duration::from_secs(2);
/// For how long SIGKILL is repeated. What is left then is stuck in the kernel or belongs to another
/// user, and is reported.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the tree is looked at while it is being ended. Descendants that are no children of
/// ours end without a signal to us.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The exit status of a transparent supervisor whose process could not be started, as of a shell.
pub(in crate::harness::engine) const NOT_STARTED: u8 = 127;

/// The hidden command `plimsoll supervise`: takes the job from the first line of standard input,
/// orders from the following ones, and reports on standard output. The process writes both of its
/// streams to the supervisor's standard error, unless the job says otherwise.
pub fn supervise_main() -> ExitCode {
    // A session of its own: neither Ctrl-C in the terminal, nor the end of the terminal, nor a
    // signal to plimsoll's group may end the supervisor before its work is done. It fails only
    // where we lead a group already, and then that group is our own.
    let _ = setsid();
    if let Err(error) = prctl::set_child_subreaper(true) {
        let message = format!("can't become a subreaper: {error}");
        report(&Report::Failed { message });
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = format!("can't start the runtime: {error}");
            report(&Report::Failed { message });
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(supervise());
    // A thread may still be reading standard input.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        let message = error.to_string();
        report(&Report::Failed { message });
        ExitCode::FAILURE
    })
}

async fn supervise() -> std::io::Result<ExitCode> {
    let mut children = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let Some(first) = lines.next_line().await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let job: Job = serde_json::from_str(&first)?;
    let tell = |message: &Report| {
        if !job.transparent {
            report(message);
        }
    };
    let mut tree = match start(&job) {
        Ok(main) => Tree {
            main,
            main_ending: None,
            end: None,
        },
        Err(error) => {
            let message = error.to_string();
            if job.transparent {
                let _ = writeln!(std::io::stderr(), "{}: {message}", job.program);
            }
            tell(&Report::Failed { message });
            return Ok(ExitCode::from(NOT_STARTED));
        }
    };
    tell(&Report::Started);

    let orphaned_grace = ORPHANED_GRACE.min(Duration::from_nanos(job.grace_ns));
    let mut orphaned = false;
    loop {
        tokio::select! {
            line = lines.next_line(), if !orphaned => {
                let line = line.ok().flatten();
                // Half a line is what somebody who was killed in the middle of it leaves.
                match line.and_then(|line| serde_json::from_str(&line).ok()) {
                    Some(order) => tree.obey(order),
                    None => {
                        orphaned = true;
                        tree.end_within(orphaned_grace);
                    }
                }
            }
            _ = terminate.recv() => tree.end_within(orphaned_grace),
            _ = interrupt.recv() => tree.end_within(orphaned_grace),
            _ = hangup.recv() => tree.end_within(orphaned_grace),
            _ = children.recv() => {}
            () = sleep(LOOK_EVERY), if tree.end.is_some() => {}
        }
        let had_ended = tree.main_ending.is_some();
        let any_child = tree.reap();
        if let (Some(ending), false) = (tree.main_ending, had_ended) {
            tell(&Report::Exited(ending));
            if job.transparent {
                tree.end_within(orphaned_grace);
            }
        }
        if let Some(left) = tree.press_on(any_child) {
            if orphaned && let Some(scratch) = &job.scratch {
                let _ = std::fs::remove_dir_all(scratch);
            }
            tell(&Report::Over { left });
            return Ok(match tree.main_ending {
                Some(ending) if job.transparent => exit_code(ending),
                _ => ExitCode::SUCCESS,
            });
        }
    }
}

/// The exit status that a shell would give.
fn exit_code(ending: Ending) -> ExitCode {
    let status = match ending {
        Ending::Status(status) => status,
        Ending::Signal(signal) => 128 + signal,
        Ending::Lost => 1,
    };
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

/// Starts the process in a group of its own.
fn start(job: &Job) -> std::io::Result<Pid> {
    let stderr = || {
        std::io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map(Stdio::from)
    };
    let stdout = match job.transparent {
        true => Stdio::inherit(),
        false => stderr()?,
    };
    // A path with a slash means one thing: from the working folder. What the operating system makes
    // of a relative one depends on how the child is created.
    let program = match job.program.contains('/') {
        true => job.cwd.join(&job.program).into_os_string(),
        false => job.program.clone().into(),
    };
    let mut command = Command::new(program);
    for name in &job.unset {
        command.env_remove(name);
    }
    let child = command
        .args(&job.args)
        .envs(&job.env)
        .current_dir(&job.cwd)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr()?)
        .process_group(0)
        .spawn()?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// The process and its descendants.
struct Tree {
    main: Pid,
    /// Until the process was waited for, its number can't belong to anybody else.
    main_ending: Option<Ending>,
    end: Option<End>,
}

/// How far the end of the tree has got.
struct End {
    /// When SIGKILL is due.
    deadline: Instant,
    /// Whether what the process left behind was asked to end.
    rest_asked: bool,
}

impl Tree {
    fn obey(&mut self, order: Order) {
        match order {
            Order::Stop { grace_ns } => self.end_within(Duration::from_nanos(grace_ns)),
            Order::Kill => self.end_within(Duration::ZERO),
            Order::Pause => self.signal_all(&[Signal::SIGSTOP]),
            Order::Resume => self.signal_all(&[Signal::SIGCONT]),
        }
    }

    /// Begins the end, or brings it forward.
    ///
    /// SIGTERM goes to the group of the process first, as from a terminal: a database takes its own
    /// workers down in order, and would take it for a crash if they went by themselves. Only what
    /// it left behind is asked one by one.
    fn end_within(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        match &mut self.end {
            Some(end) => end.deadline = end.deadline.min(deadline),
            None => {
                if self.main_ending.is_none() && !grace.is_zero() {
                    // A failure means that the group is empty by now.
                    let _ = killpg(self.main, Signal::SIGTERM);
                    // A paused process does not hear SIGTERM.
                    self.signal_all(&[Signal::SIGCONT]);
                }
                self.end = Some(End {
                    deadline,
                    rest_asked: false,
                });
            }
        }
    }

    /// Takes the status of every child that ended; returns whether there is any child left.
    fn reap(&mut self) -> bool {
        loop {
            let (pid, ending) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, Ending::Status(status)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Ending::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) => return true,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => return false,
            };
            if pid == self.main && self.main_ending.is_none() {
                self.main_ending = Some(ending);
            }
        }
    }

    /// Does what is due of the end; returns who is left once it is over.
    fn press_on(&mut self, any_child: bool) -> Option<Vec<i32>> {
        let end = self.end.as_mut()?;
        if !any_child {
            return Some(Vec::new());
        }
        let now = Instant::now();
        if now >= end.deadline + PATIENCE {
            let snapshot = Snapshot::take();
            return Some(
                snapshot
                    .descendants(getpid().as_raw())
                    .iter()
                    .map(|stat| stat.pid)
                    .collect(),
            );
        }
        if now >= end.deadline {
            // Again and again, until no fork is faster.
            self.signal_all(&[Signal::SIGKILL]);
        } else if self.main_ending.is_some() && !end.rest_asked {
            end.rest_asked = true;
            self.signal_all(&[Signal::SIGTERM, Signal::SIGCONT]);
        }
        None
    }

    /// Sends the signals to every descendant of ours, parents first.
    fn signal_all(&self, signals: &[Signal]) {
        for stat in Snapshot::take().descendants(getpid().as_raw()) {
            for signal in signals {
                // A failure means that it ended meanwhile, or that it is not ours to signal; the
                // latter shows in the last report.
                let _ = kill(Pid::from_raw(stat.pid), *signal);
            }
        }
    }
}

/// Where nobody listens any more, there is nobody to tell that either.
fn report(report: &Report) {
    let Ok(mut line) = serde_json::to_vec(report) else {
        return;
    };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush());
}
