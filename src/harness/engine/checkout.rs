//! Two revisions of a project side by side: git worktrees that stay from one gate to the next, so
//! that only what changed is built again.
//!
//! They lie outside of the project. Inside, a build could find what belongs to the project's own
//! tree: cargo's configuration and npm's modules are looked for in every folder above. Both places
//! have names of one length, because the length of a path is known to move a program's time
//! (Mytkowicz et al., "Producing wrong data without doing anything obviously wrong!", ASPLOS 2009).

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::harness::model::{Arm, hexadecimal};

/// What git says is kept to so many bytes of its end.
const WORDS_BYTES: usize = 4 << 10;
/// What plimsoll itself keeps in a project is no part of what is measured.
const OWN_FOLDER: &str = ".plimsoll";
/// Set by git where it calls hooks; they would lead every call to the wrong tree.
const GIT_VARIABLES: [&str; 5] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
];

/// The place of a project's checkouts. While this value is there, nobody else uses the place.
#[derive(Debug)]
pub struct Checkouts {
    project: PathBuf,
    place: PathBuf,
    _lock: File,
}

/// One revision, checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The folder that stands for the project's top folder.
    pub root: PathBuf,
    /// The revision for the record: twelve digits, with `+dirty` where changes were added to it.
    pub revision: String,
    /// The full hash of what is checked out.
    pub commit: String,
}

/// Why a revision is not there to be measured.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// git is not on this machine.
    #[error("git can't be started: {0}; install it, two revisions are checked out with it")]
    NoGit(io::Error),
    /// The folder is in no git repository.
    #[error("{} is not in a git repository: {words}", folder.display())]
    NoRepository {
        /// The folder.
        folder: PathBuf,
        /// What git said.
        words: String,
    },
    /// The repository has no such revision.
    #[error("`{revision}` is no revision here: {words}")]
    UnknownRevision {
        /// What was named.
        revision: String,
        /// What git said.
        words: String,
    },
    /// git failed otherwise.
    #[error("`{command}` failed: {words}")]
    Git {
        /// What was called.
        command: String,
        /// What it said.
        words: String,
    },
    /// Another gate has the place.
    #[error(
        "another gate of this project is at work in {}; wait for it, or give this one a place of its own: --worktrees FOLDER",
        place.display()
    )]
    Busy {
        /// The place.
        place: PathBuf,
    },
    /// The place can't be used.
    #[error("{}: {source}; name another place: --worktrees FOLDER", path.display())]
    Place {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Checkout {
    /// Where cargo keeps what it builds of this one.
    pub fn target_dir(&self) -> PathBuf {
        self.root.join("target")
    }
}

impl Checkouts {
    /// The checkouts of the project that `folder` belongs to, in a folder of its own below `cache`.
    pub async fn open(folder: &Path, cache: &Path) -> Result<Self, CheckoutError> {
        let top = git(folder, ["rev-parse", "--show-toplevel"]).await;
        let project = match top {
            Ok(top) => PathBuf::from(top),
            Err(CheckoutError::Git { words, .. }) => {
                return Err(CheckoutError::NoRepository {
                    folder: folder.to_owned(),
                    words,
                });
            }
            Err(error) => return Err(error),
        };
        let place = at(cache, fs::create_dir_all(cache))
            .and_then(|()| at(cache, cache.canonicalize()))?
            .join(folder_name(&project));
        at(&place, fs::create_dir_all(&place))?;
        let path = place.join("lock");
        let lock = at(&path, File::create(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CheckoutError::Busy { place }),
            Err(TryLockError::Error(source)) => return Err(CheckoutError::Place { path, source }),
        }
        Ok(Self {
            project,
            place,
            _lock: lock,
        })
    }

    /// The top folder of the project.
    pub fn project(&self) -> &Path {
        &self.project
    }

    /// Checks `revision` out as the base.
    pub async fn base(&self, revision: &str) -> Result<Checkout, CheckoutError> {
        let wanted = format!("{revision}^{{commit}}");
        let verify = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &wanted,
        ];
        let commit = git(&self.project, verify).await;
        let commit = commit.map_err(|error| match error {
            CheckoutError::Git { words, .. } => CheckoutError::UnknownRevision {
                revision: revision.to_owned(),
                words: match words.is_empty() {
                    true => "git doesn't know it".to_owned(),
                    false => words,
                },
            },
            other => other,
        })?;
        let label = short(&commit).to_owned();
        self.check_out(Arm::Base, commit, label).await
    }

    /// Checks out as the head what the project's tree holds now: with every change, committed or
    /// not, and every new file that git doesn't ignore. Neither the tree nor its index is touched.
    /// `but` are folders of the project, relative to its top, whose contents don't count.
    pub async fn head(&self, but: &[PathBuf]) -> Result<Checkout, CheckoutError> {
        let project = &self.project;
        let head = git(project, ["rev-parse", "--verify", "HEAD"]).await?;
        let index = self.place.join("index");
        let own = PathBuf::from(git(project, ["rev-parse", "--git-path", "index"]).await?);
        // With the project's own index to begin with, only what changed has to be read.
        match fs::copy(project.join(own), &index) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _ = fs::remove_file(&index);
            }
            copied => at(&index, copied.map(|_| ()))?,
        }
        let mut add = vec!["add".into(), "--all".into(), "--".into(), ":/".into()];
        for folder in but
            .iter()
            .map(PathBuf::as_path)
            .chain([OWN_FOLDER.as_ref()])
        {
            // What git ignores is not added anyway, and excluding it as well is an error to git.
            let ignored = [
                OsStr::new("check-ignore"),
                OsStr::new("--quiet"),
                OsStr::new("--"),
            ];
            let ignored = [&ignored[..], &[folder.as_os_str()]].concat();
            if git_with(project, None, &ignored).await.is_err() {
                let mut pathspec = std::ffi::OsString::from(":(top,exclude,literal)");
                pathspec.push(folder);
                add.push(pathspec);
            }
        }
        git_with(project, Some(&index), &add).await?;
        let tree = git_with(project, Some(&index), &["write-tree"]).await?;
        let committed = git(project, ["rev-parse", "--verify", "HEAD^{tree}"]).await?;
        if tree == committed {
            let label = short(&head).to_owned();
            return self.check_out(Arm::Head, head, label).await;
        }
        let message = "the tree as it is gated, with what is not committed";
        let commit = git(project, ["commit-tree", &tree, "-p", &head, "-m", message]).await?;
        let label = format!("{}+dirty", short(&head));
        self.check_out(Arm::Head, commit, label).await
    }

    /// How many commits of `base` the project's own HEAD doesn't have.
    pub async fn behind(&self, base: &Checkout) -> Result<u64, CheckoutError> {
        let range = format!("HEAD..{}", base.commit);
        let count = git(&self.project, ["rev-list", "--count", &range]).await?;
        Ok(count.parse().unwrap_or(0))
    }

    async fn check_out(
        &self,
        arm: Arm,
        commit: String,
        revision: String,
    ) -> Result<Checkout, CheckoutError> {
        let root = self.place.join(arm.name());
        if self.is_ours(&root).await {
            // Left by a gate that was killed in the middle; nobody else is at work here.
            let stale = git(&root, ["rev-parse", "--git-path", "index.lock"]).await?;
            let _ = fs::remove_file(root.join(stale));
            git(
                &root,
                ["checkout", "--force", "--detach", "--quiet", &commit],
            )
            .await?;
            // What git ignores stays: it is what makes the next build short.
            git(&root, ["clean", "-ffdq"]).await?;
        } else {
            match fs::remove_dir_all(&root) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => at(&root, other)?,
            }
            git(&self.project, ["worktree", "prune"]).await?;
            let add = [
                OsStr::new("worktree"),
                OsStr::new("add"),
                OsStr::new("--force"),
                OsStr::new("--quiet"),
                OsStr::new("--detach"),
                root.as_os_str(),
                OsStr::new(&commit),
            ];
            git_with(&self.project, None, &add).await?;
        }
        if root.join(".gitmodules").exists() {
            let update = ["submodule", "update", "--init", "--recursive", "--force"];
            git(&root, update).await?;
        }
        Ok(Checkout {
            root,
            revision,
            commit,
        })
    }

    /// Whether a worktree of this project stands at `root`.
    async fn is_ours(&self, root: &Path) -> bool {
        let common = async |folder: &Path| {
            let path = git(folder, ["rev-parse", "--git-common-dir"]).await.ok()?;
            folder.join(path).canonicalize().ok()
        };
        root.join(".git").is_file()
            && matches!(
                (common(root).await, common(&self.project).await),
                (Some(there), Some(here)) if there == here
            )
    }
}

async fn git<const N: usize>(folder: &Path, args: [&str; N]) -> Result<String, CheckoutError> {
    git_with(folder, None, &args).await
}

/// Calls git and gives what it prints, without the final line break.
async fn git_with(
    folder: &Path,
    index: Option<&Path>,
    args: &[impl AsRef<OsStr>],
) -> Result<String, CheckoutError> {
    let mut command = Command::new("git");
    for variable in GIT_VARIABLES {
        command.env_remove(variable);
    }
    if let Some(index) = index {
        command.env("GIT_INDEX_FILE", index);
    }
    // No hook of the project runs for a checkout of ours, git asks nobody anything, and a commit is
    // made where nobody said who they are.
    command
        .args(["-c", "core.hooksPath=/dev/null", "-c", "user.name=plimsoll"])
        .args(["-c", "user.email=plimsoll@localhost", "-C"])
        .arg(folder)
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.map_err(CheckoutError::NoGit)?;
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        return Ok(text.trim_end_matches('\n').to_owned());
    }
    let words = &output.stderr[output.stderr.len().saturating_sub(WORDS_BYTES)..];
    let shown = args.iter().map(|arg| arg.as_ref().to_string_lossy());
    Err(CheckoutError::Git {
        command: format!("git {}", shell_words::join(shown)),
        words: String::from_utf8_lossy(words).trim().to_owned(),
    })
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, CheckoutError> {
    result.map_err(|source| CheckoutError::Place {
        path: path.to_owned(),
        source,
    })
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// The project's own name, for a person who looks, and eight digits of its path, because two
/// projects may have one name.
fn folder_name(project: &Path) -> String {
    let digest = Sha256::digest(project.as_os_str().as_encoded_bytes());
    let digits = hexadecimal(&digest[..4]);
    let name = project.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}-{digits}")
}
