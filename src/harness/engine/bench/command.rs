//! Running a program to its end, with what it says bounded and nothing of it left behind.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::harness::engine::process::spawn_under_supervisor;

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

/// Runs `command` through `exe supervise`: where the future is dropped, and where plimsoll dies, the
/// program ends with all of its descendants, and so does what a finished program left behind.
pub(super) async fn run(
    exe: &Path,
    command: &Command,
    stdout_limit: usize,
) -> io::Result<Finished> {
    let (mut child, lifeline) = spawn_under_supervisor(exe, command).await?;
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
    let (status, (stdout, cut), stderr_tail) =
        tokio::try_join!(child.wait(), read_stdout, read_stderr)?;
    drop(lifeline);
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
    let mut cut = false;
    let mut chunk = vec![0; 8 << 10];
    loop {
        let read = source.read(&mut chunk).await?;
        if read == 0 {
            let mut tail = &*tail.make_contiguous();
            // Half a line may begin with half a secret, which nobody would recognise.
            if cut && let Some(end) = tail.iter().position(|byte| *byte == b'\n') {
                tail = &tail[end + 1..];
            }
            return Ok(last_lines(tail));
        }
        tail.extend(&chunk[..read]);
        let beyond = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..beyond);
        cut |= beyond > 0;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tail_begins_with_a_whole_line() {
        let check = async |output: String, expected: &str| {
            assert_eq!(read_tail(output.as_bytes()).await.unwrap(), expected);
        };
        check("one\ntwo\n".into(), "one\ntwo").await;
        let long = "hunter2".repeat(TAIL_BYTES);
        check(format!("{long}\ntwo\n"), "two").await;
        // Two lines, of which the tail holds a part of the first.
        let most = "x".repeat(TAIL_BYTES - 100);
        check(format!("{}\n{most}\n", "hunter2".repeat(100)), &most).await;
    }
}
