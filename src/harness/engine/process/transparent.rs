//! Any command under a supervisor that looks like the command itself.

use std::path::Path;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};

use super::protocol::Job;
use super::supervised::supervisor_from;

/// How long what is left of the command has to end after SIGTERM, in ns.
const GRACE_NS: u64 = 2_000_000_000;

/// Starts `command` through `exe supervise`. Both output streams are pipes; the status of the child
/// is that of the command, as a shell gives it. The command and all of its descendants end when the
/// second value goes, which must therefore be kept; `Child::wait` would close the child's own.
///
/// # Errors
/// Where there is no supervisor. A command that can't be started ends with status 127 and says why
/// on its standard error.
pub async fn spawn_under_supervisor(
    exe: &Path,
    command: &std::process::Command,
) -> std::io::Result<(Child, ChildStdin)> {
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let cwd = match command.get_current_dir() {
        Some(cwd) => cwd.to_owned(),
        None => std::env::current_dir()?,
    };
    let job = Job {
        program: text(command.get_program()),
        args: command.get_args().map(text).collect(),
        env: std::collections::BTreeMap::new(),
        unset: Vec::new(),
        cwd,
        grace_ns: GRACE_NS,
        scratch: None,
        transparent: true,
    };
    let mut supervisor = supervisor_from(exe);
    // The supervisor's environment is what the command inherits.
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => supervisor.env(name, value),
            None => supervisor.env_remove(name),
        };
    }
    let mut child = supervisor.spawn()?;
    let mut stdin = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    let mut line = serde_json::to_vec(&job)?;
    line.push(b'\n');
    stdin.write_all(&line).await?;
    Ok((child, stdin))
}
