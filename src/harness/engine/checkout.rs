//! Two revisions of a project side by side: git worktrees that stay from one gate to the next, so
//! that only what changed is built again.
//!
//! They lie outside of the project, or where git ignores them. Inside, a build could find what belongs to the project's own
//! tree: cargo's configuration and npm's modules are looked for in every folder above. Both places
//! have names of one length, because the length of a path is known to move a program's time
//! (Mytkowicz et al., "Producing wrong data without doing anything obviously wrong!", ASPLOS 2009).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::time::timeout;

use super::secrets::STORE_VARIABLE;
use crate::harness::model::{Arm, hexadecimal, is_committed};

/// What git says is kept to so many bytes of its end.
const WORDS_BYTES: usize = 4 << 10;
/// What plimsoll itself keeps in a project, in whatever folder it was called, is no part of what is
/// measured.
const OWN_FOLDERS: &str = ":(top,exclude,glob)**/.plimsoll/**";
/// For reading a tree to name it: one that holds gigabytes of new files has no name of its own.
const NAMING_LIMIT: Duration = Duration::from_secs(10);
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
    /// The revision for the record, as [`revision`] names it.
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
    /// Checkouts in the project would become a part of it.
    #[error(
        "{} is in the project, and git doesn't ignore it; add it to .gitignore, or name another place: --worktrees FOLDER",
        place.display()
    )]
    Inside {
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
        if place.starts_with(&project) && !ignores(&project, &place).await {
            return Err(CheckoutError::Inside { place });
        }
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
    /// `but` are folders whose contents don't count, absolute or relative to the project's top.
    pub async fn head(&self, but: &[PathBuf]) -> Result<Checkout, CheckoutError> {
        let project = &self.project;
        let head = git(project, ["rev-parse", "--verify", "HEAD"]).await?;
        let index = self.place.join("index");
        // Left by a gate that was killed in the middle; nobody else is at work here.
        let _ = fs::remove_file(self.place.join("index.lock"));
        let tree = tree_as_it_is(project, but, &index, None).await?;
        let revision = name(project, &head, &tree).await?;
        if is_committed(&revision) {
            return self.check_out(Arm::Head, head, revision).await;
        }
        let message = "the tree as it is gated, with what is not committed";
        let commit = git(project, ["commit-tree", &tree, "-p", &head, "-m", message]).await?;
        self.check_out(Arm::Head, commit, revision).await
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
            // Forced, it takes the place of one that is registered and gone; others that are out of
            // reach right now, such as on a disk that is not mounted, are left alone.
            let add = [
                OsStr::new("worktree"),
                OsStr::new("add"),
                OsStr::new("--force"),
                OsStr::new("--quiet"),
                OsStr::new("--detach"),
                root.as_os_str(),
                OsStr::new(&commit),
            ];
            git_with(&self.project, &[], &add).await?;
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

/// The revision of the project's tree that `folder` is in, for the record: twelve digits of its
/// commit. Where the tree holds something else, committed or not, `+dirty.` follows and eight digits
/// of git's hash of what it holds, so that equal names are equal states. New files count where git
/// doesn't ignore them; what lies in `but` doesn't, folders as in [`Checkouts::head`]. Where the tree
/// can't be read as a whole, or not in ten seconds, there is only `+dirty`. `None` where there is no commit: a tree without
/// git is no error. Nothing is written below the project.
pub async fn revision(folder: &Path, but: &[PathBuf]) -> Option<String> {
    let project = git(folder, ["rev-parse", "--show-toplevel"]).await.ok()?;
    let project = Path::new(&project);
    let head = git(project, ["rev-parse", "--verify", "HEAD"]).await.ok()?;
    let named = async {
        let scratch = at(&std::env::temp_dir(), tempfile::tempdir())?;
        let (index, objects) = (scratch.path().join("index"), scratch.path().join("objects"));
        let tree = tree_as_it_is(project, but, &index, Some(&objects)).await?;
        name(project, &head, &tree).await
    };
    let named = timeout(NAMING_LIMIT, named).await;
    Some(match named {
        Ok(Ok(name)) => name,
        _ => format!("{}+dirty", short(&head)),
    })
}

/// The name of the state `tree` of a project whose HEAD is `head`.
async fn name(project: &Path, head: &str, tree: &str) -> Result<String, CheckoutError> {
    let committed = git(project, ["rev-parse", "--verify", "HEAD^{tree}"]).await?;
    Ok(match tree == committed {
        true => short(head).to_owned(),
        false => format!("{}+dirty.{}", short(head), tree.get(..8).unwrap_or(tree)),
    })
}

/// git's hash of what the project's tree holds now, but for folders as in [`Checkouts::head`]. The
/// file `index` is written, and git keeps the objects that it makes in `objects` where that is given,
/// a folder that is not there yet.
async fn tree_as_it_is(
    project: &Path,
    but: &[PathBuf],
    index: &Path,
    objects: Option<&Path>,
) -> Result<String, CheckoutError> {
    let own = git(project, ["rev-parse", "--git-path", "index"]).await?;
    // With the project's own index to begin with, only what changed has to be read.
    match copy_with_time(&project.join(own), index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let _ = fs::remove_file(index);
        }
        copied => at(index, copied)?,
    }
    let mut variables = vec![("GIT_INDEX_FILE", index)];
    if let Some(objects) = objects {
        let of_project = git(project, ["rev-parse", "--git-path", "objects"]).await?;
        let of_project = project.join(of_project).into_os_string();
        at(objects, fs::create_dir_all(objects.join("info")))?;
        let alternates = objects.join("info/alternates");
        at(
            &alternates,
            fs::write(&alternates, of_project.as_encoded_bytes()),
        )?;
        variables.push(("GIT_OBJECT_DIRECTORY", objects));
    }
    let mut add: Vec<OsString> = ["add", "--all", "--", ":/", OWN_FOLDERS]
        .map(OsString::from)
        .into();
    for folder in but {
        let whole = project.join(folder);
        // What git ignores is not added anyway, and excluding it as well is an error to git.
        if let Ok(folder) = whole.strip_prefix(project)
            && !folder.as_os_str().is_empty()
            && !ignores(project, folder).await
        {
            let mut pathspec = OsString::from(":(top,exclude,literal)");
            pathspec.push(folder);
            add.push(pathspec);
        }
    }
    git_with(project, &variables, &add).await?;
    git_with(project, &variables, &["write-tree"]).await
}

/// Copies an index. git reads a file again that is as long as before and was changed in the second
/// in which the index was written, or later: a copy that is younger would hide the change from it.
fn copy_with_time(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    let written = fs::metadata(from)?.modified()?;
    File::options().write(true).open(to)?.set_modified(written)
}

/// Whether git ignores what lies at `path`, which need not be there.
async fn ignores(project: &Path, path: &Path) -> bool {
    let ask = ["check-ignore", "--quiet", "--"].map(OsStr::new);
    let ask = [&ask[..], &[path.as_os_str()]].concat();
    git_with(project, &[], &ask).await.is_ok()
}

async fn git<const N: usize>(folder: &Path, args: [&str; N]) -> Result<String, CheckoutError> {
    git_with(folder, &[], &args).await
}

/// Calls git and gives what it prints, without the final line break.
async fn git_with(
    folder: &Path,
    variables: &[(&str, &Path)],
    args: &[impl AsRef<OsStr>],
) -> Result<String, CheckoutError> {
    let mut command = Command::new("git");
    for variable in GIT_VARIABLES {
        command.env_remove(variable);
    }
    // No hook of the project runs for a checkout of ours, git asks nobody anything, and a commit is
    // made where nobody said who they are.
    command
        .args(["-c", "core.hooksPath=/dev/null", "-c", "user.name=plimsoll"])
        .args(["-c", "user.email=plimsoll@localhost", "-C"])
        .arg(folder)
        .args(args)
        .envs(variables.iter().copied())
        .env("GIT_TERMINAL_PROMPT", "0")
        // Filters and helpers of the project run under git.
        .env_remove(STORE_VARIABLE)
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::thread;
    use std::time::{SystemTime, UNIX_EPOCH};

    use tempfile::TempDir;

    use super::*;

    /// A project with one commit, `code` in it, and a folder beside it for checkouts.
    async fn project() -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().canonicalize().unwrap().join("project");
        fs::create_dir(&project).unwrap();
        git(&project, ["init", "--quiet"]).await.unwrap();
        fs::write(project.join("code"), "one").unwrap();
        fs::write(project.join(".gitignore"), "/built\n/place\n").unwrap();
        git(&project, ["add", "--all"]).await.unwrap();
        git(&project, ["commit", "--quiet", "-m", "begin"])
            .await
            .unwrap();
        let cache = folder.path().join("cache");
        (folder, project, cache)
    }

    #[tokio::test]
    async fn a_state_has_one_name_and_another_state_another() {
        let (_folder, project, cache) = project().await;
        let but = [project.join("reports"), PathBuf::from("baselines")];
        let head = git(&project, ["rev-parse", "HEAD"]).await.unwrap();
        let mut names = Vec::new();
        let states = [
            ("built", "ignored", true),
            ("reports/page.html", "left out", true),
            ("sub/.plimsoll/history.db", "our own", true),
            ("new", "one", false),
            ("new", "two", false),
            ("code", "two", false),
        ];
        for (file, text, committed) in states {
            let path = project.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let index = fs::read(project.join(".git/index")).unwrap();
            let objects = git(&project, ["count-objects"]).await.unwrap();
            let name = revision(path.parent().unwrap(), &but).await.unwrap();
            assert_eq!(git(&project, ["count-objects"]).await.unwrap(), objects);
            assert_eq!(fs::read(project.join(".git/index")).unwrap(), index);
            assert_eq!(is_committed(&name), committed, "{file}: {name}");
            assert!(name.starts_with(short(&head)), "{name}");
            // A gate's head is named alike, and holds it.
            let checkouts = Checkouts::open(&project, &cache).await.unwrap();
            let checkout = checkouts.head(&but).await.unwrap();
            assert_eq!(checkout.revision, name, "{file}");
            let there = fs::read_to_string(checkout.root.join(file)).ok();
            assert_eq!(there.as_deref(), (!committed).then_some(text), "{file}");
            names.push(name);
        }
        assert_eq!(names[0], short(&head));
        names.dedup();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(revision(Path::new("/"), &[]).await, None);
    }

    #[tokio::test]
    async fn a_change_in_the_second_of_the_commit_is_seen() {
        let next_second = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            thread::sleep(Duration::from_secs(1) - Duration::from_nanos(now.subsec_nanos().into()));
        };
        next_second();
        let (_folder, project, _) = project().await;
        fs::write(project.join("code"), "two").unwrap();
        next_second();
        let name = revision(&project, &[]).await.unwrap();
        assert!(!is_committed(&name), "{name}");
    }

    #[tokio::test]
    async fn worktrees_of_others_stay_and_what_a_killed_gate_left_is_in_nobody_s_way() {
        let (folder, project, cache) = project().await;
        // Another worktree, on a disk that is not there right now.
        let other = folder.path().join("other");
        let add = ["worktree", "add", "--quiet", "--detach"].map(OsStr::new);
        let add = [&add[..], &[other.as_os_str()]].concat();
        git_with(&project, &[], &add).await.unwrap();
        fs::rename(&other, folder.path().join("unplugged")).unwrap();
        let checkouts = Checkouts::open(&project, &cache).await.unwrap();
        let root = checkouts.base("HEAD").await.unwrap().root;
        fs::write(checkouts.place.join("index.lock"), "").unwrap();
        checkouts.head(&[]).await.unwrap();
        // Registered, and gone.
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(checkouts.base("HEAD").await.unwrap().root, root);
        fs::rename(folder.path().join("unplugged"), &other).unwrap();
        git(&other, ["status"]).await.unwrap();
    }

    #[tokio::test]
    async fn a_place_in_the_project_has_to_be_ignored() {
        let (_folder, project, _) = project().await;
        let error = Checkouts::open(&project, &project.join("trees")).await;
        let error = error.unwrap_err();
        assert!(matches!(error, CheckoutError::Inside { .. }), "{error}");
        let checkouts = Checkouts::open(&project, &project.join("place")).await;
        let head = checkouts.unwrap().head(&[]).await.unwrap();
        assert!(is_committed(&head.revision), "{}", head.revision);
    }
}
