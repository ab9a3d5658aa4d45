//! Running a program to its end, with what it says bounded and nothing of it left behind.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// How much of the end of an output is kept, in bytes and lines.
const TAIL_BYTES: usize = 16 << 10;
const TAIL_LINES: usize = 30;

/// What a program did.
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    /// Its standard output, up to the limit that was given.
    pub(super) stdout: Vec<u8>,
    /// Whether it wrote more than that.
    pub(super) cut: bool,
    /// The last lines of its standard error.
    pub(super) stderr_tail: String,
}

/// Runs `command` in a process group of its own. Where the future is dropped, the whole group is
/// killed; what a finished program left behind in its group is killed as well.
pub(super) async fn run(mut command: Command, stdout_limit: usize) -> io::Result<Finished> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = Group::of(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read_stdout = async {
        match stdout {
            Some(stdout) => read_head(stdout, stdout_limit).await,
            None => Ok((Vec::new(), false)),
        }
    };
    let read_stderr = async {
        match stderr {
            Some(stderr) => read_tail(stderr).await,
            None => Ok(String::new()),
        }
    };
    let wait = async {
        // Ends with the program: a descendant that holds the pipes open would keep the readers
        // waiting for ever.
        let _group = group;
        child.wait().await
    };
    let (status, (stdout, cut), stderr_tail) = tokio::try_join!(wait, read_stdout, read_stderr)?;
    Ok(Finished {
        status,
        stdout,
        cut,
        stderr_tail,
    })
}

/// The last lines of `output`.
pub(super) fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(&output[output.len().saturating_sub(TAIL_BYTES)..]);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

async fn read_head(
    mut source: impl AsyncRead + Unpin,
    limit: usize,
) -> io::Result<(Vec<u8>, bool)> {
    let mut head = Vec::new();
    let mut cut = false;
    let mut chunk = vec![0; 8 << 10];
    loop {
        let read = source.read(&mut chunk).await?;
        if read == 0 {
            return Ok((head, cut));
        }
        // What is beyond the limit is read and forgotten, so that the program is not blocked.
        let kept = read.min(limit - head.len());
        head.extend_from_slice(&chunk[..kept]);
        cut |= kept < read;
    }
}

async fn read_tail(mut source: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut tail: VecDeque<u8> = VecDeque::new();
    let mut chunk = vec![0; 8 << 10];
    loop {
        let read = source.read(&mut chunk).await?;
        if read == 0 {
            return Ok(last_lines(tail.make_contiguous()));
        }
        tail.extend(&chunk[..read]);
        tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
    }
}

/// A process group that is killed when this goes.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        let pid = leader.and_then(|id| i32::try_from(id).ok());
        Self(pid.map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It is usually gone already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
