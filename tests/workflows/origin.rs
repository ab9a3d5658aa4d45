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
delay=0.010 limit=
. ./behaviour
exec env DELAY_S="$delay" $limit python3 "$@"
"#;

/// Answers after 10 ms.
pub(crate) const STEADY: &str = "delay=0.010\n";
/// Answers after 30 ms.
pub(crate) const SLOW: &str = "delay=0.030 # the index is gone\n";
/// Fast and slow in turn, and never the same in both arms of a pair.
pub(crate) const FICKLE: &str = r#"echo >> starts.log
turn=$(wc -l < starts.log)
case $PWD in */head) turn=$((turn + 1)) ;; esac
[ $((turn % 2)) = 0 ] || delay=0.030
"#;
/// Ends in the middle of a run.
pub(crate) const DYING: &str = "limit='timeout 0.6'\n";

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
runs = 2
[[process]]
name = "web"
start = "sh start.sh {server}.py {{port}}"
ready = {{ tcp = true }}
target = true
[[flow.get.step]]
get = "/"
[load.reads]
flow = "get"
closed = {{ users = 16 }}
{BUSY}
[phases]
warmup = "100ms"
measure = "700ms"
[[gate]]
metric = "load.reads.p50"
regress = "60%"
"#
        );
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        write("scenarios/quickstart.toml", &scenario)?;
        write("start.sh", START)?;
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
