//! Runs as they were read, and what becomes of them: runs of ours, and notes on what was not used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::error::{InterchangeError, Place, Wrong, quoted};
use super::format::Format;
use crate::harness::model::{Arm, Fingerprint, Metric, Run, RunId};

/// Names listed in one note.
const MAX_LISTED: usize = 6;
/// The session of runs that say none: one an arm.
const SESSION: &str = "imported";

/// What one file or folder held.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// What it was read as.
    pub format: Format,
    /// The file or folder.
    pub path: PathBuf,
    /// Its runs, in its order.
    pub runs: Vec<ImportedRun>,
    /// What of it could not be used.
    pub unused: Vec<Unused>,
}

/// A run as another tool wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedRun {
    /// Where it stands.
    pub place: Place,
    /// Its name, unique in its arm.
    pub name: String,
    /// The arm, where the file says it.
    pub arm: Option<Arm>,
    /// The pair, where the file says it.
    pub pair: Option<u32>,
    /// The session, where the file says it.
    pub session: Option<String>,
    /// The conditions, where the file says them.
    pub fingerprint: Option<Fingerprint>,
    /// Its metrics by name.
    pub metrics: BTreeMap<String, Metric>,
}

/// Something that a file holds and that no metric was made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unused {
    /// What, as the file calls it.
    pub what: String,
    /// Why, as a clause.
    pub why: String,
}

impl ImportedRun {
    /// A run without metrics and labels.
    pub(super) fn new(place: Place, name: impl Into<String>) -> Self {
        Self {
            place,
            name: name.into(),
            arm: None,
            pair: None,
            session: None,
            fingerprint: None,
            metrics: BTreeMap::new(),
        }
    }

    /// Adds a metric, which must be new to the run.
    pub(super) fn add(&mut self, metric: Metric) -> Result<(), Wrong> {
        let name = metric.name.clone();
        match self.metrics.insert(name, metric) {
            None => Ok(()),
            Some(first) => Err(Wrong::new(
                format!("metric {} comes twice in one run", quoted(&first.name)),
                "a run has one value of a metric: write each repetition as a run of its own",
            )),
        }
    }
}

impl Imported {
    pub(super) fn new(format: Format, path: PathBuf) -> Self {
        Self {
            format,
            path,
            runs: Vec::new(),
            unused: Vec::new(),
        }
    }

    pub(super) fn leave(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.unused.push(Unused {
            what: what.into(),
            why: why.into(),
        });
    }

    /// The only run of a file that holds one.
    pub(super) fn single(
        format: Format,
        place: &Place,
        fill: impl FnOnce(&mut ImportedRun, &mut Self) -> Result<(), Wrong>,
    ) -> Result<Self, InterchangeError> {
        let mut imported = Self::new(format, place.path.clone());
        let mut run = ImportedRun::new(place.clone(), place.path.display().to_string());
        fill(&mut run, &mut imported).map_err(|wrong| wrong.at(place))?;
        imported.runs.push(run);
        Ok(imported)
    }
}

/// The runs of one side of a comparison. `side` is the arm of every run that doesn't say its own;
/// without it, each has to. A run and a pair stand once in their arm.
pub fn to_runs(imported: &[Imported], side: Option<Arm>) -> Result<Vec<Run>, InterchangeError> {
    let mut names: BTreeMap<(bool, &str), &Place> = BTreeMap::new();
    let mut pairs: BTreeMap<(bool, &str, u32), &Place> = BTreeMap::new();
    let mut runs = Vec::new();
    for found in imported.iter().flat_map(|file| &file.runs) {
        let arm = found.arm.or(side).ok_or_else(|| {
            found.place.wrong(
                format!("run {} doesn't say its arm", quoted(&found.name)),
                "add an arm (\"base\" or \"head\") to every run, or name the files of the two arms with --base and --head",
            )
        })?;
        let is_head = arm == Arm::Head;
        let session = found.session.as_deref().unwrap_or(SESSION);
        let twice = |what: String, first: &Place, remedy| InterchangeError::Twice {
            what,
            first: first.clone(),
            again: found.place.clone(),
            remedy,
        };
        if let Some(first) = names.insert((is_head, &found.name), &found.place) {
            return Err(twice(
                format!("run {} of the {}", quoted(&found.name), arm.name()),
                first,
                "give every run of an arm a name of its own",
            ));
        }
        if let Some(pair) = found.pair
            && let Some(first) = pairs.insert((is_head, session, pair), &found.place)
        {
            return Err(twice(
                format!("pair {pair} of the {}", arm.name()),
                first,
                "a pair has one run of each arm: number the pairs of a session one by one",
            ));
        }
        let metrics = found.metrics.values().cloned().collect();
        let mut run = Run::imported(id(arm, &found.name), session.to_owned(), metrics);
        run.arm = Some(arm);
        run.pair = found.pair;
        if let Some(fingerprint) = &found.fingerprint {
            run.fingerprint = fingerprint.clone();
        }
        runs.push(run);
    }
    Ok(runs)
}

/// What was not used of all files, for the reader: a note a format and reason.
pub fn notes(imported: &[Imported]) -> Vec<String> {
    let mut by_reason: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for file in imported {
        for unused in &file.unused {
            by_reason
                .entry((file.format.name(), &unused.why))
                .or_default()
                .insert(&unused.what);
        }
    }
    by_reason
        .into_iter()
        .map(|((format, why), what)| {
            let listed: Vec<&str> = what.iter().copied().take(MAX_LISTED).collect();
            let more = match what.len().saturating_sub(MAX_LISTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!(
                "not used of what {format} wrote: {}{more} ({why})",
                listed.join(", ")
            )
        })
        .collect()
}

/// The same run has the same identity whenever it is read, so that the same files give the same
/// answer.
fn id(arm: Arm, name: &str) -> RunId {
    let mut hasher = Sha256::new();
    hasher.update(arm.name().as_bytes());
    hasher.update([0]);
    hasher.update(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    RunId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;

    use super::*;

    /// Arm, name, pair and session of a run.
    type Labels<'a> = (Option<Arm>, &'a str, Option<u32>, Option<&'a str>);

    fn file(runs: &[Labels<'_>]) -> Imported {
        let path = Path::new("runs.jsonl");
        let mut imported = Imported::new(Format::Runs, path.to_owned());
        for (line, (arm, name, pair, session)) in (1..).zip(runs) {
            imported.runs.push(ImportedRun {
                arm: *arm,
                pair: *pair,
                session: session.map(str::to_owned),
                ..ImportedRun::new(Place::line(path, line), *name)
            });
        }
        imported
    }

    #[test]
    fn a_run_and_a_pair_stand_once_in_their_arm() {
        let (base, head) = (Some(Arm::Base), Some(Arm::Head));
        let check = |runs: &[_], side, expected: Option<&str>| {
            let found = to_runs(&[file(runs)], side).err();
            let found = found.map(|error| error.to_string()).unwrap_or_default();
            assert!(
                found.contains(expected.unwrap_or_default())
                    && found.is_empty() == expected.is_none(),
                "{runs:?}: {found}"
            );
        };
        check(
            &[(base, "1", Some(1), None), (head, "1", Some(1), None)],
            None,
            None,
        );
        check(&[(None, "1", None, None)], base, None);
        check(
            &[(None, "1", None, None)],
            None,
            Some("line 1: run \"1\" doesn't say its arm"),
        );
        check(
            &[(base, "1", None, None), (None, "1", None, None)],
            base,
            Some("line 2: run \"1\" of the base is also in runs.jsonl, line 1"),
        );
        check(
            &[(base, "1", Some(7), None), (base, "2", Some(7), None)],
            None,
            Some("pair 7 of the base is also"),
        );
        check(
            &[
                (base, "1", Some(7), Some("a")),
                (base, "2", Some(7), Some("b")),
            ],
            None,
            None,
        );
    }

    #[test]
    fn a_run_keeps_its_identity() {
        let read = || to_runs(&[file(&[(None, "1", None, None)])], Some(Arm::Base)).unwrap();
        assert_eq!(read(), read());
        assert_ne!(id(Arm::Base, "1"), id(Arm::Head, "1"));
    }

    #[test]
    fn what_is_not_used_is_said_once_a_reason() {
        let mut one = file(&[]);
        one.leave("vus", "it is what was asked for");
        one.leave("vus_max", "it is what was asked for");
        one.leave("data_sent", "no direction");
        let said = notes(&[one.clone(), one]);
        assert_eq!(
            said,
            [
                "not used of what plimsoll wrote: vus, vus_max (it is what was asked for)",
                "not used of what plimsoll wrote: data_sent (no direction)",
            ]
        );
    }
}
