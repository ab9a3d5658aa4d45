//! The folder of a site: what in it is ours, and how it changes.
//!
//! A manifest names every file that Plimsoll wrote, and is written before the first of them: what it doesn't
//! name is somebody else's, and is neither overwritten nor removed. Whoever stops a call half-way leaves
//! files of which the manifest says what they were before, so that the next call looks into them. A lock keeps
//! two calls apart. All files are written beside their place first, so that who reads them sees the old or the
//! new one, never a part.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::model::hexadecimal;
use crate::harness::report::site::{ChangeLine, SessionLine};

use super::places;

/// The format of the manifest.
const FORMAT: &str = "plimsoll.site/1";
/// The manifest.
const MANIFEST: &str = "plimsoll-site.json";
/// Held while a call writes. It stays: a lock file that is removed keeps nobody apart.
const LOCK: &str = ".plimsoll-site.lock";
/// What becomes a file of the site; one at a time, since only who holds the lock writes.
const TEMPORARY: &str = ".plimsoll-site.tmp";
/// A larger manifest is none of ours: a session takes half a kilobyte of it.
const MAX_MANIFEST_BYTES: u64 = 1 << 30;
/// After so many files the manifest is written, so that a call that is stopped has not worked in vain.
const CHECKPOINT: usize = 250;

/// A site's folder while a call works on it. Dropped before [`finish`](Self::finish), it is a site in the
/// middle of a change: consistent, as far as its first page leads.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    manifest: Manifest,
    /// What the site has from now on.
    wanted: BTreeSet<String>,
    done: Done,
    /// Whether the call before this one was stopped: files may be others than its manifest says.
    is_doubtful: bool,
    since_checkpoint: usize,
    /// Locked as long as it is open.
    _lock: File,
}

/// What a call did, in files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Done {
    /// That were not there.
    pub(super) made: u64,
    /// That are others now.
    pub(super) renewed: u64,
    /// That stand as they were.
    pub(super) kept: u64,
    /// That are gone.
    pub(super) removed: u64,
}

/// What is kept of a page for the other pages, which are made also where it stands as it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Memo {
    /// Nothing.
    #[default]
    None,
    /// Of the page of a session.
    Session(SessionLine),
    /// Of the page of a scenario.
    Changes(Vec<ChangeLine>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    schema: String,
    /// Tells the entries of this site's feed from those of others.
    id: Uuid,
    /// Whether the call that wrote it came to its end.
    #[serde(default)]
    is_done: bool,
    /// By the path from the root.
    files: BTreeMap<String, Entry>,
}

/// A file of ours.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Entry {
    /// What it was made from, as a digest; empty where it is about to be made.
    from: String,
    bytes: u64,
    /// What is in it, as a digest.
    #[serde(default)]
    content: String,
    /// A [`Memo`], as the version that wrote it knows it.
    #[serde(default)]
    memo: Value,
}

impl Folder {
    /// Takes a folder that is new, empty or a site already, and waits for others who write there.
    pub(super) fn open(root: &Path, output: &Output) -> Result<Self, Failure> {
        // Before anything is made there.
        if root.exists() {
            check_free(root)?;
        }
        fs::create_dir_all(root).map_err(writing(root))?;
        let lock = lock(&root.join(LOCK), output)?;
        let found = Manifest::read(&root.join(MANIFEST))?;
        let is_new = found.is_none();
        let folder = Self {
            root: root.to_owned(),
            is_doubtful: found.as_ref().is_some_and(|before| !before.is_done),
            manifest: found.unwrap_or_else(Manifest::new),
            wanted: BTreeSet::new(),
            done: Done::default(),
            since_checkpoint: 0,
            _lock: lock,
        };
        if is_new {
            check_free(root)?;
            folder.save()?;
        }
        Ok(folder)
    }

    /// What tells it from other sites.
    pub(super) fn id(&self) -> Uuid {
        self.manifest.id
    }

    /// Says what will be written, before anything is.
    ///
    /// # Errors
    /// Where something lies at one of these places that is not ours.
    pub(super) fn claim<'p>(
        &mut self,
        paths: impl IntoIterator<Item = &'p str>,
    ) -> Result<(), Failure> {
        let mut claimed = false;
        for path in paths {
            self.check_folders_of(path)?;
            if self.manifest.files.contains_key(path) {
                continue;
            }
            let place = self.root.join(path);
            if fs::symlink_metadata(&place).is_ok() {
                return Err(taken(&place));
            }
            self.manifest
                .files
                .insert(path.to_owned(), Entry::default());
            claimed = true;
        }
        if claimed {
            self.manifest.is_done = false;
            self.save()?;
        }
        Ok(())
    }

    /// What is kept of the file at `path` if it is there and was made from just this; it stays then.
    pub(super) fn current(&mut self, path: &str, from: &str) -> Option<Memo> {
        let entry = self.manifest.files.get(path)?;
        let place = self.root.join(path);
        let there = fs::symlink_metadata(&place).ok()?;
        if entry.from != from || !there.is_file() || there.len() != entry.bytes {
            return None;
        }
        // All of them would be gigabytes in a large site, which only doubt is worth.
        if self.is_doubtful && content(&fs::read(&place).ok()?) != entry.content {
            return None;
        }
        let memo = Memo::deserialize(&entry.memo).ok()?;
        if self.wanted.insert(path.to_owned()) {
            self.done.kept += 1;
        }
        Some(memo)
    }

    /// Writes a file that was claimed: all of it or nothing.
    pub(super) fn write(
        &mut self,
        path: &str,
        text: &str,
        from: String,
        memo: Memo,
    ) -> Result<(), Failure> {
        let memo = serde_json::to_value(memo)
            .map_err(|error| Failure::tool("writing the site's manifest", &error))?;
        // From here on a file may be another than its entry says.
        if self.manifest.is_done {
            self.manifest.is_done = false;
            self.save()?;
        }
        let place = self.root.join(path);
        let was_there = fs::symlink_metadata(&place).is_ok();
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(writing(folder))?;
        }
        self.put(&place, text.as_bytes(), false)?;
        match was_there {
            true => self.done.renewed += 1,
            false => self.done.made += 1,
        }
        let entry = Entry {
            from,
            bytes: text.len() as u64,
            content: content(text.as_bytes()),
            memo,
        };
        self.manifest.files.insert(path.to_owned(), entry);
        self.wanted.insert(path.to_owned());
        self.since_checkpoint += 1;
        match self.since_checkpoint >= CHECKPOINT {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }

    /// Removes what the site doesn't have any more, and says what was done in all.
    pub(super) fn finish(mut self) -> Result<Done, Failure> {
        let gone: Vec<String> = self
            .manifest
            .files
            .keys()
            .filter(|path| !self.wanted.contains(*path))
            .cloned()
            .collect();
        for path in &gone {
            self.remove(path)?;
            self.manifest.files.remove(path);
        }
        if !self.manifest.is_done || !gone.is_empty() {
            self.manifest.is_done = true;
            self.checkpoint()?;
        }
        Ok(self.done)
    }

    fn remove(&mut self, path: &str) -> Result<(), Failure> {
        let place = self.root.join(path);
        self.check_folders_of(path)?;
        match fs::remove_file(&place) {
            Ok(()) => self.done.removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(writing(&place)(error)),
        }
        // One that holds anything else is somebody's and stays.
        for folder in folders_of(path) {
            if fs::remove_dir(self.root.join(folder)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// That the folders in which a file lies are folders: a link would lead out of the site.
    fn check_folders_of(&self, path: &str) -> Result<(), Failure> {
        for folder in folders_of(path) {
            let place = self.root.join(folder);
            if fs::symlink_metadata(&place).is_ok_and(|there| !there.is_dir()) {
                return Err(taken(&place));
            }
        }
        Ok(())
    }

    /// What was written is on the disk before the manifest says so.
    fn checkpoint(&mut self) -> Result<(), Failure> {
        let folder = File::open(&self.root).map_err(writing(&self.root))?;
        nix::unistd::syncfs(&folder).map_err(|errno| writing(&self.root)(errno.into()))?;
        self.since_checkpoint = 0;
        self.save()
    }

    fn save(&self) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(&self.manifest)
            .map_err(|error| Failure::tool("writing the site's manifest", &error))?;
        text.push(b'\n');
        self.put(&self.root.join(MANIFEST), &text, true)
    }

    fn put(&self, place: &Path, bytes: &[u8], sync: bool) -> Result<(), Failure> {
        let temporary = self.root.join(TEMPORARY);
        let write = || {
            // What a killed call left there, or a link that somebody put there, is not written into.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = File::create_new(&temporary)?;
            file.write_all(bytes)?;
            if sync {
                file.sync_all()?;
            }
            fs::rename(&temporary, place)
        };
        write().map_err(writing(place))
    }
}

impl Manifest {
    fn new() -> Self {
        Self {
            schema: FORMAT.to_owned(),
            id: Uuid::new_v4(),
            is_done: false,
            files: BTreeMap::new(),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(reading(path)(error)),
        };
        let mut text = String::new();
        file.take(MAX_MANIFEST_BYTES)
            .read_to_string(&mut text)
            .map_err(reading(path))?;
        let refused = |why: String| {
            Failure::usage(
                format!("{} can't be read: {why}", path.display()),
                "use the plimsoll that wrote it, or name a new folder for the site",
            )
        };
        // The version first: of another one nothing else is known.
        #[derive(Deserialize)]
        struct Versioned {
            schema: String,
        }
        let versioned: Versioned =
            serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        if versioned.schema != FORMAT {
            return Err(refused(format!(
                "it has the format {}, and this plimsoll writes {FORMAT}",
                versioned.schema
            )));
        }
        let manifest: Self =
            serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        match manifest
            .files
            .keys()
            .find(|path| !places::is_of_a_site(path))
        {
            Some(other) => Err(refused(format!("no site has a file `{other}`"))),
            None => Ok(Some(manifest)),
        }
    }
}

/// The folders in which a file lies, the nearest first, without the site's own.
fn folders_of(path: &str) -> impl Iterator<Item = &Path> {
    let above = Path::new(path).ancestors().skip(1);
    above.filter(|folder| *folder != Path::new(""))
}

/// Holds the lock until the file is closed.
fn lock(path: &Path, output: &Output) -> Result<File, Failure> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(writing(path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::Error(error)) => return Err(writing(path)(error)),
        Err(TryLockError::WouldBlock) => {}
    }
    output.say("another call writes this site; waiting for it");
    file.lock().map_err(writing(path))?;
    Ok(file)
}

/// A folder that holds something and is no site is somebody's, but for what a call that was stopped at once
/// left behind, and for a repository of git, in which pages are published.
fn check_free(root: &Path) -> Result<(), Failure> {
    let entries = fs::read_dir(root).map_err(reading(root))?;
    // One look, since another call may be making a site of it.
    let names = entries.map(|entry| Ok(entry?.file_name()));
    let names: BTreeSet<OsString> = names.collect::<io::Result<_>>().map_err(reading(root))?;
    if names.contains(OsStr::new(MANIFEST)) {
        return Ok(());
    }
    let is_ours = |name: &&OsString| [LOCK, TEMPORARY, ".git"].iter().any(|ours| *name == ours);
    match names.iter().find(|name| !is_ours(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(
            format!(
                "{} holds {} and is no site that plimsoll made",
                root.display(),
                name.display()
            ),
            "name a new or empty folder: plimsoll report --site DIR",
        )),
    }
}

/// What is in a file, as a digest.
fn content(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes)[..16])
}

fn taken(place: &Path) -> Failure {
    Failure::usage(
        format!(
            "{} is not of this site, and a page of it belongs there",
            place.display()
        ),
        "move it away, or name another folder: plimsoll report --site DIR",
    )
}

fn reading(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::tool(format!("reading {}", path.display()), &error)
}

fn writing(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::tool(format!("writing the site: {}", path.display()), &error)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn open(root: &Path) -> Folder {
        Folder::open(root, &Output::SILENT).unwrap()
    }

    /// Claims and writes files whose contents are what they are made from.
    fn put(folder: &mut Folder, files: &[(&str, &str)]) {
        folder.claim(files.iter().map(|(path, _)| *path)).unwrap();
        for (path, text) in files {
            if folder.current(path, text).is_none() {
                let from = (*text).to_owned();
                folder.write(path, text, from, Memo::None).unwrap();
            }
        }
    }

    fn done(made: u64, renewed: u64, kept: u64, removed: u64) -> Done {
        Done {
            made,
            renewed,
            kept,
            removed,
        }
    }

    #[test]
    fn a_folder_becomes_what_was_put_there() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = ("sessions/0a/a.html", "badges/b.svg");
        let check = |files: &[(&str, &str)], expected: Done| {
            let mut folder = open(root.path());
            put(&mut folder, files);
            assert_eq!(folder.finish().unwrap(), expected, "{files:?}");
            for (path, text) in files {
                assert_eq!(fs::read_to_string(root.path().join(path)).unwrap(), *text);
            }
        };
        check(&[(a, "one"), (b, "two")], done(2, 0, 0, 0));
        check(&[(a, "one"), (b, "two")], done(0, 0, 2, 0));
        check(&[(a, "one"), (b, "new")], done(0, 1, 1, 0));
        // Of the right length and made from the same, and yet not there.
        fs::remove_file(root.path().join(a)).unwrap();
        check(&[(a, "one"), (b, "new")], done(1, 0, 1, 0));
        check(&[(a, "one")], done(0, 0, 1, 1));
        assert!(!root.path().join("badges").exists());
        check(&[], done(0, 0, 0, 1));
        assert!(!root.path().join("sessions").exists());
    }

    /// Whatever a call had come to, the next one knows its files for ours and makes them anew.
    #[test]
    fn what_a_call_left_behind_is_no_stranger() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = ("badges/a.svg", "badges/b.svg");
        let mut first = open(root.path());
        first.claim([a, b]).unwrap();
        first.write(a, "half", "half".into(), Memo::None).unwrap();
        drop(first);
        fs::write(root.path().join(TEMPORARY), "a quarter").unwrap();

        let mut second = open(root.path());
        assert_eq!(
            second.current(a, "half"),
            None,
            "nobody has said that it is whole"
        );
        put(&mut second, &[(a, "whole")]);
        assert_eq!(second.finish().unwrap(), done(0, 1, 0, 0));
        assert!(!root.path().join(TEMPORARY).exists());
    }

    /// A page that was renewed just before its call was killed is not the one that the manifest knows, be it as
    /// long.
    #[test]
    fn what_a_call_was_killed_over_is_not_taken_for_what_it_was() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = ("badges/a.svg", "badges/b.svg");
        let mut first = open(root.path());
        put(&mut first, &[(a, "55 ms"), (b, "same")]);
        first.finish().unwrap();
        let mut killed = open(root.path());
        killed.claim([a, b]).unwrap();
        killed
            .write(a, "56 ms", "56 ms".into(), Memo::None)
            .unwrap();
        drop(killed);

        let mut third = open(root.path());
        put(&mut third, &[(a, "55 ms"), (b, "same")]);
        assert_eq!(third.finish().unwrap(), done(0, 1, 1, 0));
        assert_eq!(fs::read_to_string(root.path().join(a)).unwrap(), "55 ms");
        // In doubt, it was looked into; then nobody doubts any more.
        assert!(!open(root.path()).is_doubtful);
    }

    /// A version that keeps something else of a page has made another page.
    #[test]
    fn what_another_version_kept_of_a_page_is_no_reason_to_refuse_the_site() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = ("badges/a.svg", "badges/b.svg");
        let mut first = open(root.path());
        put(&mut first, &[(a, "one"), (b, "two")]);
        first.finish().unwrap();
        let place = root.path().join(MANIFEST);
        let mut manifest: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
        manifest["files"][a]["memo"] = serde_json::json!({ "session": { "verdict": "fine" } });
        fs::write(&place, manifest.to_string()).unwrap();

        let mut second = open(root.path());
        put(&mut second, &[(a, "one"), (b, "two")]);
        assert_eq!(second.finish().unwrap(), done(0, 1, 1, 0));
    }

    /// Another call may make the site between the first look and the lock.
    #[test]
    fn a_folder_that_has_become_a_site_is_free() {
        let root = tempfile::tempdir().unwrap();
        let mut first = open(root.path());
        put(&mut first, &[("index.html", "one")]);
        assert!(check_free(root.path()).is_ok());
        fs::remove_file(root.path().join(MANIFEST)).unwrap();
        assert!(check_free(root.path()).is_err());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let mut folder = open(root.path());
        std::os::unix::fs::symlink(&victim, root.path().join(TEMPORARY)).unwrap();
        put(&mut folder, &[("badges/a.svg", "ours")]);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("sessions")).unwrap();
        let refused = folder.claim(["sessions/victim"]).unwrap_err();
        assert!(matches!(refused, Failure::Usage(what, _) if what.contains("sessions")));
    }

    #[test]
    fn a_folder_is_held_by_one() {
        let root = tempfile::tempdir().unwrap();
        let held = open(root.path());
        let other = File::open(root.path().join(LOCK)).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().unwrap();
    }
}
