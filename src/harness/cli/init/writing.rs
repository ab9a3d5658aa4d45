//! What is written: all that is missing, or nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::harness::cli::failure::Failure;
use crate::harness::scaffold::{Draft, File};

use super::answer::State;

/// Where files are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The folder of the project.
    pub(super) folder: &'a Path,
    /// The top of its repository; the folder itself where there is none. No link in either path.
    pub(super) top: &'a Path,
}

impl Target<'_> {
    /// Where that file is.
    fn path(&self, file: &File) -> PathBuf {
        match file.is_at_top {
            true => self.top.join(&file.path),
            false => self.folder.join(&file.path),
        }
    }

    /// The same as it is seen from the folder.
    pub(super) fn shown_path(&self, file: &File) -> String {
        let below = self.folder.strip_prefix(self.top).unwrap_or(Path::new(""));
        let up = match file.is_at_top {
            true => "../".repeat(below.components().count()),
            false => String::new(),
        };
        format!("{up}{}", file.path)
    }

    /// Writes each file that is not there, or none of them where one can't be written. What is there is kept, which is
    /// refused of a file of which something `is_wished`.
    pub(super) fn write(
        &self,
        draft: &Draft,
        is_wished: impl Fn(&File) -> bool,
    ) -> Result<Vec<State>, Failure> {
        let together = &draft.files[..draft.together];
        let there = together.iter().find(|file| is_there(&self.path(file)));
        // A feed alone belongs to something else.
        let strange = there.filter(|file| file.path != draft.scenario);
        let mut files = draft.files.iter();
        let in_the_way = files.find(|file| is_wished(file) && is_there(&self.path(file)));
        if let Some(file) = strange.or(in_the_way) {
            let shown = self.shown_path(file);
            return Err(Failure::usage(
                format!("{shown} is there already, and no file is changed"),
                match file.is_at_top {
                    true => "remove it, and it is written anew",
                    false => "choose another name for the scenario: --name NAME",
                },
            ));
        }
        for file in &draft.files {
            self.leads_nowhere_else(file)?;
        }
        let mut written = Written::default();
        let mut states = Vec::new();
        for (index, file) in draft.files.iter().enumerate() {
            let path = self.path(file);
            states.push(match is_there(&path) {
                true => State::Kept,
                // It belongs to a scenario that was not written.
                false if index < draft.together && there.is_some() => State::NotWritten,
                false => written.write(&path, &file.text)?,
            });
        }
        written.keep();
        Ok(states)
    }

    /// A folder on the way to a file may be a link to anywhere, or no folder.
    fn leads_nowhere_else(&self, file: &File) -> Result<(), Failure> {
        let path = self.path(file);
        let mut folders = path.ancestors().skip(1);
        let folder = folders.find(|folder| is_there(folder)).unwrap_or(self.top);
        let real = folder.canonicalize();
        if real.is_ok_and(|real| real.is_dir() && real.starts_with(self.top)) {
            return Ok(());
        }
        let shown = folder.strip_prefix(self.folder).unwrap_or(folder);
        Err(Failure::usage(
            format!(
                "{} is no folder of this project, and nothing was written",
                shown.display()
            ),
            "make it one, or call `plimsoll init` where the files shall be",
        ))
    }
}

/// Whether something is there; a link that leads nowhere is there too.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// What a call has written so far. Unless it is kept, it goes again: half of it is of no use, and would be in the way
/// of the next call.
#[derive(Debug, Default)]
struct Written {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Written {
    fn write(&mut self, path: &Path, text: &str) -> Result<State, Failure> {
        let written = self.try_write(path, text);
        written.map(|()| State::Written).map_err(|error| {
            Failure::tool(
                format!("writing {}, so that nothing was written", path.display()),
                &error,
            )
        })
    }

    fn try_write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        let folders = path.ancestors().skip(1);
        let missing: Vec<&Path> = folders.take_while(|folder| !is_there(folder)).collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder)?;
            self.folders.push(folder.to_owned());
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        self.files.push(path.to_owned());
        file.write_all(text.as_bytes())
    }

    fn keep(mut self) {
        self.files.clear();
        self.folders.clear();
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // What can't be removed stays: the error that led here says more.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn draft() -> Draft {
        let file = |path: &str, is_at_top: bool| File {
            path: path.to_owned(),
            text: format!("text of {path}"),
            is_at_top,
        };
        Draft {
            scenario: "scenarios/shop.toml".to_owned(),
            files: vec![
                file("scenarios/shop.toml", false),
                file("scenarios/shop-values.csv", false),
                file("baselines/README.md", false),
                file(".github/workflows/plimsoll.yml", true),
            ],
            together: 2,
            ..Draft::default()
        }
    }

    /// A repository with a project in it, made by `prepare`, and what became of writing there.
    fn check(prepare: impl Fn(&Path), expected: Result<[State; 4], &str>) {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().canonicalize().unwrap().join("top");
        let folder = top.join("shop");
        fs::create_dir_all(&folder).unwrap();
        prepare(&folder);
        let before = all(place.path());
        let target = Target {
            folder: &folder,
            top: &top,
        };
        match (target.write(&draft(), |_| false), expected) {
            (Ok(states), Ok(expected)) => assert_eq!(states, expected),
            (Err(failure), Err(expected)) => {
                assert!(failure.to_string().contains(expected), "{failure}");
                // Whatever was begun is gone.
                assert_eq!(all(place.path()), before);
            }
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    /// Everything below a folder, files with their lengths.
    fn all(folder: &Path) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            match about.is_dir() {
                true => {
                    found.extend(all(&path));
                    found.push((path, 0));
                }
                false => found.push((path, about.len())),
            }
        }
        found.sort();
        found
    }

    #[test]
    fn all_is_written_or_nothing() {
        use State::{Kept, NotWritten, Written};
        let write = |path: PathBuf| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "mine").unwrap();
        };
        check(|_| {}, Ok([Written; 4]));
        check(
            |folder| write(folder.join("baselines/README.md")),
            Ok([Written, Written, Kept, Written]),
        );
        // What would be the feed belongs to another scenario than the one that is there.
        check(
            |folder| write(folder.join("scenarios/shop.toml")),
            Ok([Kept, NotWritten, Written, Written]),
        );
        check(
            |folder| {
                write(folder.join("scenarios/shop.toml"));
                write(folder.join("scenarios/shop-values.csv"));
            },
            Ok([Kept, Kept, Written, Written]),
        );
        check(
            |folder| write(folder.join("scenarios/shop-values.csv")),
            Err("scenarios/shop-values.csv is there already"),
        );
        // A file where a folder is needed.
        check(
            |folder| write(folder.join("scenarios")),
            Err("scenarios is no folder of this project"),
        );
        check(
            |folder| write(folder.join("../.github")),
            Err(".github is no folder of this project"),
        );
    }

    #[test]
    fn no_link_leads_out_of_the_repository() {
        use State::Written;
        use std::os::unix::fs::symlink;
        let out = "baselines is no folder of this project";
        check(
            |folder| {
                fs::create_dir(folder.join("../../elsewhere")).unwrap();
                symlink("../../elsewhere", folder.join("baselines")).unwrap();
            },
            Err(out),
        );
        check(
            |folder| symlink("nowhere", folder.join("baselines")).unwrap(),
            Err(out),
        );
        check(
            |folder| {
                fs::create_dir(folder.join("../kept")).unwrap();
                symlink("../kept", folder.join("baselines")).unwrap();
            },
            Ok([Written; 4]),
        );
    }

    #[test]
    fn what_was_begun_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = |path: &str| folder.path().join(path);
        let mut written = Written::default();
        written.try_write(&path("a/b/c"), "text").unwrap();
        assert!(written.try_write(&path("a/b/c"), "text").is_err());
        drop(written);
        assert!(!path("a").exists());
        let mut written = Written::default();
        written.try_write(&path("a/b/c"), "text").unwrap();
        written.keep();
        assert_eq!(fs::read_to_string(path("a/b/c")).unwrap(), "text");
    }
}
