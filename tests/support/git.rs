//! git as a test calls it: with nobody's settings, and with an author of its own.

use std::error::Error;
use std::path::Path;
use std::process::Command;

/// Calls git in a folder, and gives what it printed.
pub(crate) fn git(folder: &Path, args: &[&str]) -> Result<String, Box<dyn Error>> {
    let mut command = Command::new("git");
    // Called from a hook, git would work in the repository that the hook is of.
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_COMMON_DIR",
    ] {
        command.env_remove(name);
    }
    let output = command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost", "-C"])
        .arg(folder)
        .args(args)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Commits everything, and gives the commit's hash.
pub(crate) fn commit(folder: &Path, message: &str) -> Result<String, Box<dyn Error>> {
    git(folder, &["add", "--all"])?;
    git(folder, &["commit", "--quiet", "-m", message])?;
    Ok(git(folder, &["rev-parse", "HEAD"])?.trim().to_owned())
}
