//! Files that a scenario names: below the project's root, of a bounded size, read here for their
//! contents and their hashes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Place, stays_below};
use crate::harness::model::hexadecimal;
use crate::harness::scenario::durations::{NoDurations, each_duration};
use crate::harness::scenario::plan::{FilePlan, MAX_FEED_BYTES, Part, Template};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::Text;

/// A larger file is refused, as a larger feed is.
const MAX_BYTES: u64 = MAX_FEED_BYTES;
/// All files of a scenario together are read, hashed and parsed each time that somebody looks at it.
const MAX_READ_BYTES: u64 = 8 * MAX_BYTES;
/// The texts of templates become part of the plan, of which each variant has a copy, and of the job that
/// each worker is given: as JSON, in which some of them are several times as long.
const MAX_TEXT_BYTES: u64 = 8 << 20;
/// The values in these texts, each of which is a part of its own there.
const MAX_TEXT_VALUES: usize = 100_000;

/// Reads the files of one scenario.
pub(super) struct Files {
    folder: PathBuf,
    root: PathBuf,
    /// The hashes of what was read, so that a body that many steps send is read once.
    hashes: BTreeMap<PathBuf, String>,
    /// The longest of the durations in what was read for them, likewise.
    longest: BTreeMap<PathBuf, Result<u64, NoDurations>>,
    /// How many bytes may still be read.
    bytes_left: u64,
    /// How many bytes of templates there may still be, and how many values in them.
    text_left: u64,
    values_left: usize,
}

impl Files {
    pub(super) fn new(place: &Place) -> Self {
        Self {
            folder: place.folder.clone(),
            root: place.root.clone(),
            hashes: BTreeMap::new(),
            longest: BTreeMap::new(),
            bytes_left: MAX_READ_BYTES,
            text_left: MAX_TEXT_BYTES,
            values_left: MAX_TEXT_VALUES,
        }
    }

    /// The file that `named` names, and its contents; or a problem, in which `what` stands for it.
    pub(super) fn read(
        &mut self,
        named: &Text<'_>,
        what: &str,
        problems: &mut Problems<'_>,
    ) -> Option<(FilePlan, Vec<u8>)> {
        let path = self.find(named, what, problems)?;
        if self.bytes_left == 0 {
            problems.report(
                Code::OutOfRange,
                named.span.clone(),
                "the files of the scenario are too large",
                "more than 512 MiB together",
                "use smaller files; one that is named several times counts as often as it is read",
            );
            return None;
        }
        let bytes = or_reported(contents(&path), named, what, problems)?;
        self.bytes_left = self.bytes_left.saturating_sub(bytes.len() as u64);
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        self.hashes.insert(path.clone(), sha256.clone());
        Some((FilePlan { path, sha256 }, bytes))
    }

    /// The file that `named` names, and the longest of the durations in it, in ns, or what is wrong with
    /// them; or a problem, as with [`read`](Self::read).
    pub(super) fn longest(
        &mut self,
        named: &Text<'_>,
        what: &str,
        problems: &mut Problems<'_>,
    ) -> Option<(FilePlan, Result<u64, NoDurations>)> {
        let path = self.find(named, what, problems)?;
        let known = (self.hashes.get(&path), self.longest.get(&path));
        if let (Some(sha256), Some(longest)) = known {
            let sha256 = sha256.clone();
            return Some((FilePlan { path, sha256 }, longest.clone()));
        }
        let (file, bytes) = self.read(named, what, problems)?;
        let mut longest_ns = 0;
        let read = each_duration(&bytes, |ns| longest_ns = longest_ns.max(ns));
        let longest = read.map(|()| longest_ns);
        self.longest.insert(path, longest.clone());
        Some((file, longest))
    }

    /// The file that `named` names, whatever it holds; or a problem, as with [`read`](Self::read).
    pub(super) fn plan(
        &mut self,
        named: &Text<'_>,
        what: &str,
        problems: &mut Problems<'_>,
    ) -> Option<FilePlan> {
        let path = self.find(named, what, problems)?;
        match self.hashes.get(&path).cloned() {
            Some(sha256) => Some(FilePlan { path, sha256 }),
            None => self.read(named, what, problems).map(|(plan, _)| plan),
        }
    }

    /// The text of the file that `named` names; or a problem, as with [`read`](Self::read).
    pub(super) fn text(
        &mut self,
        named: &Text<'_>,
        what: &str,
        problems: &mut Problems<'_>,
    ) -> Option<String> {
        let (_, bytes) = self.read(named, what, problems)?;
        let Some(left) = self.text_left.checked_sub(bytes.len() as u64) else {
            problems.report(
                Code::OutOfRange,
                named.span.clone(),
                "the templates of the scenario are too large",
                "larger than 8 MiB together",
                "send what holds no values as a `file`",
            );
            return None;
        };
        self.text_left = left;
        let text = String::from_utf8(bytes);
        if let Err(error) = &text {
            problems.report(
                Code::BadFile,
                named.span.clone(),
                format!("{what} `{}` is not UTF-8 text", named.text),
                format!("byte {} is not", error.utf8_error().valid_up_to()),
                "save it as UTF-8; bytes that are no text are sent with `file`",
            );
        }
        text.ok()
    }

    /// Reports the values of one template too many in the texts of files.
    pub(super) fn count_values(
        &mut self,
        template: &Template,
        named: &Text<'_>,
        problems: &mut Problems<'_>,
    ) {
        let parts = template.parts.iter();
        let values = parts.filter(|part| !matches!(part, Part::Text(_))).count();
        match self.values_left.checked_sub(values) {
            Some(left) => self.values_left = left,
            None => {
                problems.report(
                    Code::OutOfRange,
                    named.span.clone(),
                    "the templates of the scenario hold too many values",
                    format!("more than {MAX_TEXT_VALUES} together"),
                    "send what holds no values as a `file`",
                );
            }
        }
    }

    /// The project's folder as it is seen from the scenario.
    fn project(&self) -> String {
        let below = self.folder.strip_prefix(&self.root);
        match below.map_or(0, |below| below.components().count()) {
            0 => "the scenario's own folder".to_owned(),
            levels => format!("`{}` seen from the scenario", vec![".."; levels].join("/")),
        }
    }

    /// Where the file really is, or a problem.
    fn find(&self, named: &Text<'_>, what: &str, problems: &mut Problems<'_>) -> Option<PathBuf> {
        let path = self.folder.join(named.text);
        if !path.strip_prefix(&self.root).is_ok_and(stays_below) {
            problems.report(
                Code::PathOutside,
                named.span.clone(),
                format!("{what} lies outside the project"),
                "leads out of the project",
                format!("name a path below the project, which is {}", self.project()),
            );
            return None;
        }
        // Links are followed before looking where the file lies, so that none leads out.
        let found = path.canonicalize().and_then(|path| {
            if path.starts_with(&self.root) && path.is_file() {
                Ok(path)
            } else {
                Err(io::Error::other("not a file of the project"))
            }
        });
        or_reported(found, named, what, problems)
    }
}

/// Whether the name of a file says that it holds JSON.
pub(super) fn is_json(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// The bytes of a file. The size is bounded while reading: a device has none.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("larger than 64 MiB"));
    }
    Ok(bytes)
}

fn or_reported<T>(
    read: io::Result<T>,
    named: &Text<'_>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<T> {
    if let Err(error) = &read {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "not allowed to read it".to_owned(),
            _ => error.to_string(),
        };
        problems.report(
            Code::MissingFile,
            named.span.clone(),
            format!("can't read {what} `{}`", named.text),
            reason,
            "the path is relative to the scenario's folder",
        );
    }
    read.ok()
}
