//! A repository with the workflows' scripts, a small service and a scenario, as the runner checks it out.

use std::error::Error;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::files;
use crate::support::git::{commit, git};
use crate::support::project::{BUSY, Project};

/// Starts the server as the commit's own `behaviour` has it.
const START: &str = r#"set -eu
. ./behaviour
exec env DELAY_S="$delay" python3 "$@"
"#;

/// Runs another program until a server in it has answered 300 times.
const DYING_PROGRAM: &str = r#"
import os, runpy, sys
from http.server import BaseHTTPRequestHandler

answered = 0
send_response = BaseHTTPRequestHandler.send_response

def counted(self, *args):
    global answered
    answered += 1
    if answered > 300:
        os._exit(3)
    send_response(self, *args)

BaseHTTPRequestHandler.send_response = counted
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"#;

/// Answers after 20 ms.
pub(crate) const STEADY: &str = "delay=0.020\n";
/// Answers after 50 ms.
pub(crate) const SLOW: &str = "delay=0.050 # the index is gone\n";
/// Answers after 20 ms in one run and after 50 ms in the next.
pub(crate) const FICKLE: &str = r#"delay=0.020
echo >> starts.log
[ $(($(wc -l < starts.log) % 2)) = 0 ] || delay=0.050
"#;
/// Ends in the middle of a run.
pub(crate) const DYING: &str = "delay=0.020\nset -- dying.py \"$@\"\n";

/// The repository, with the branch `main`.
pub(crate) struct Origin {
    folder: TempDir,
    /// The newest commit of `main`.
    pub(crate) main: String,
}

impl Origin {
    /// One whose service behaves so.
    pub(crate) fn new(behaviour: &str) -> Result<Self, Box<dyn Error>> {
        let project = Project::new()?;
        let server = project.marker();
        project.write_server(&server)?;
        let folder = tempfile::tempdir()?;
        files::copy(project.path(), folder.path())?;
        files::copy(
            &files::repository(".github"),
            &folder.path().join(".github"),
        )?;
        fs::create_dir(folder.path().join("scenarios"))?;
        let scenario = format!(
            r#"schema = 1
name = "quickstart"
[[process]]
name = "web"
start = "sh start.sh {server}.py {{port}}"
ready = {{ tcp = true }}
target = true
[[flow.get.step]]
get = "/"
[load.reads]
flow = "get"
closed = {{ users = 20 }}
{BUSY}
[sampling]
runs = 2
[phases]
warmup = "100ms"
measure = "1s"
[[gate]]
metric = "load.reads.p50"
regress = "100%"
"#
        );
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        write("scenarios/quickstart.toml", &scenario)?;
        write("start.sh", START)?;
        write("dying.py", DYING_PROGRAM)?;
        write("behaviour", behaviour)?;
        write(
            ".gitignore",
            "*.log\n/.plimsoll\n/reports/*\n__pycache__/\n",
        )?;
        fs::create_dir(folder.path().join("baselines"))?;
        write("baselines/README.md", "Baselines.\n")?;
        git(folder.path(), &["init", "--quiet", "--initial-branch=main"])?;
        let main = commit(folder.path(), "begin")?;
        Ok(Self { folder, main })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A commit of a branch that left `main`, in which files have another content.
    pub(crate) fn change(
        &self,
        branch: &str,
        files: &[(&str, &str)],
    ) -> Result<String, Box<dyn Error>> {
        git(self.path(), &["checkout", "--quiet", "-B", branch, "main"])?;
        for (name, text) in files {
            fs::write(self.path().join(name), text)?;
        }
        let sha = commit(self.path(), "change")?;
        git(self.path(), &["checkout", "--quiet", "main"])?;
        Ok(sha)
    }
}
