//! What lies in the folder and around it, read within limits.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::harness::scaffold::{Entry, Place, Tree};
use crate::harness::scenario;

/// What lies in the folder, as far as it says something, level by level. What can't be read is as if it were not
/// there: what is missing is asked for.
pub(super) fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::default();
    let mut bytes_left = Tree::MAX_BYTES;
    let mut waiting = VecDeque::from([String::new()]);
    let mut folders_left = Tree::MAX_FILES;
    while let Some(below) = waiting.pop_front() {
        let Ok(entries) = fs::read_dir(folder.join(&below)) else {
            continue;
        };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if tree.len() == Tree::MAX_FILES {
                return tree;
            }
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            let path = match below.as_str() {
                "" => name,
                below => format!("{below}/{name}"),
            };
            // A link may lead anywhere.
            if kind.is_dir() && Tree::of_folder(&path) == Entry::Read {
                if folders_left > 0 {
                    folders_left -= 1;
                    waiting.push_back(path);
                }
            } else if kind.is_file() {
                let what = Tree::of_file(&path);
                let text = match what {
                    Entry::Read => read(&entry.path(), bytes_left.min(Tree::MAX_FILE_BYTES)).ok(),
                    Entry::Name | Entry::PassOver => None,
                };
                bytes_left -= text.as_ref().map_or(0, String::len);
                if what != Entry::PassOver {
                    tree.insert(path, text);
                }
            }
        }
    }
    tree
}

/// The text of a file of at most `max_bytes`; one of more is [`io::ErrorKind::FileTooLarge`].
pub(super) fn read(path: &Path, max_bytes: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The top of the git repository that the folder is in, if it is in one.
pub(super) fn top_of_repository(folder: &Path) -> Option<PathBuf> {
    let mut above = folder.ancestors();
    let top = above.find(|folder| folder.join(".git").exists());
    top.map(Path::to_owned)
}

/// Where the files will be: `top` is that of the repository.
pub(super) fn place(folder: &Path, top: Option<&Path>) -> Place {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let below = top.and_then(|top| folder.strip_prefix(top).ok());
    let name = folder.file_name();
    Place {
        folder: name.map(|name| text(Path::new(name))).unwrap_or_default(),
        below: below.map(text).unwrap_or_default(),
        // Which does not depend on the scenario's name.
        is_root: scenario::root_of(&folder.join("scenarios/any.toml")) == folder,
        is_in_git: top.is_some(),
        is_on_gitlab: top.unwrap_or(folder).join(".gitlab-ci.yml").exists(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// A folder with much in it hides nothing that lies beside it.
    #[test]
    fn levels_are_read_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for number in 0..Tree::MAX_FILES {
            write(&format!("a/deep/{number}.txt"), "");
        }
        write("shop/Cargo.toml", "[package]");
        let tree = tree(folder.path());
        assert_eq!(tree.len(), Tree::MAX_FILES);
        assert_eq!(tree.text("shop/Cargo.toml"), Some("[package]"));
    }

    #[test]
    fn what_is_too_large_is_told_from_what_is_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let check = |bytes: &[u8], expected: Result<&str, io::ErrorKind>| {
            fs::write(&path, bytes).unwrap();
            let found = read(&path, 4).map_err(|error| error.kind());
            assert_eq!(found.as_deref().map_err(|kind| *kind), expected);
        };
        check(b"four", Ok("four"));
        // Cut in the middle of a character.
        check(
            "abc\u{e9}\u{e9}".as_bytes(),
            Err(io::ErrorKind::FileTooLarge),
        );
        check(b"\xff", Err(io::ErrorKind::InvalidData));
    }
}
