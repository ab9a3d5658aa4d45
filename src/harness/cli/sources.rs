//! What a person names when they mean runs: files, folders, sessions, run ids, `latest`, `baseline`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::interchange::{self, Imported, InterchangeError, Options};
use crate::harness::model::{Arm, Fingerprint, FingerprintDifference, Run, RunId};
use crate::harness::report::{text, words};
use crate::harness::store::{
    Anchor, Baseline, BaselineError, DecodeError, FileError, FormatError, History, Query,
    StoreError, files,
};

use super::failure::Failure;

/// Runs with a name for the reader.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What it is, for the reader.
    pub(super) label: String,
    /// The runs, oldest first; at least one.
    pub(super) runs: Vec<Run>,
    /// The baseline file that they come from, if so.
    pub(super) baseline: Option<Baseline>,
}

/// An anchor's runs.
#[derive(Debug, Clone)]
pub(super) struct Anchored {
    /// The name under which it was pinned.
    pub(super) name: String,
    /// What was pinned.
    pub(super) source: Source,
}

/// Where to look.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// The history, where it exists already.
    pub(super) history: Option<&'a History>,
    /// The folder of baselines.
    pub(super) baselines: &'a Path,
}

/// One side of a comparison.
#[derive(Debug, Clone)]
pub(super) struct Side {
    /// Its runs.
    pub(super) source: Source,
    /// What other tools wrote of it; empty where all of it is ours.
    pub(super) imported: Vec<Imported>,
}

impl Places<'_> {
    /// The runs that `names` mean together: saved ones, or files of other tools. `arm` is that of
    /// runs from elsewhere that don't say theirs.
    pub(super) async fn side(
        &self,
        names: &[String],
        arm: Option<Arm>,
        options: &Options,
    ) -> Result<Side, Failure> {
        let (mut saved, mut imported) = (Vec::new(), Vec::new());
        for name in names {
            let path = Path::new(name);
            let foreign = match path.exists() {
                true => interchange::read(path, options).map_err(|error| unreadable(&error))?,
                false => None,
            };
            match foreign {
                Some(files) => imported.extend(files),
                None => saved.push(self.find(name).await?),
            }
        }
        if imported.is_empty() && saved.len() == 1 {
            let source = saved.remove(0);
            return Ok(Side { source, imported });
        }
        let mut runs: Vec<Run> = saved.into_iter().flat_map(|source| source.runs).collect();
        if let Some(run) = twice(&runs) {
            return Err(Failure::usage(
                format!("run {run} is named twice, and would count twice"),
                "name every run of an arm once: a folder, a session and a file may hold the same",
            ));
        }
        runs.extend(interchange::to_runs(&imported, arm).map_err(|error| unreadable(&error))?);
        let label = match names {
            [only] => only.clone(),
            [first, more @ ..] => format!("{first} and {} more", more.len()),
            [] => String::new(),
        };
        if runs.is_empty() {
            return Err(nothing(&label));
        }
        let source = Source {
            label,
            runs,
            baseline: None,
        };
        Ok(Side { source, imported })
    }

    /// The runs that `name` means, other than `baseline`, which only means something beside a head.
    pub(super) async fn find(&self, name: &str) -> Result<Source, Failure> {
        let path = Path::new(name);
        if path.exists() {
            return read(path);
        }
        let Some(history) = self.history else {
            return Err(Failure::usage(
                format!("`{name}` is no file or folder, and there is no history here"),
                "name run files, or run a scenario first: plimsoll run",
            ));
        };
        let ids = if name == "latest" {
            latest(history).await?
        } else {
            named(history, name).await?
        };
        let runs = history
            .load(&ids)
            .await
            .map_err(|error| Failure::tool("reading the history", &error))?;
        let label = match runs.first() {
            Some(run) if runs.len() == 1 => format!("run {}", run.id),
            Some(run) => format!("session {}", run.session),
            None => return Err(nothing(name)),
        };
        Ok(Source {
            label,
            runs,
            baseline: None,
        })
    }

    /// The baseline under which `head` may be compared; `None` where there is none for the machine
    /// and the scenario.
    pub(super) fn baseline_for(&self, head: &Run) -> Result<Option<Source>, Failure> {
        let found = Baseline::find(self.baselines, &head.fingerprint, &head.scenario)
            .map_err(|error| Failure::tool("reading the baseline", &error))?;
        let path = Baseline::path(self.baselines, &head.fingerprint, &head.scenario);
        Ok(found.map(|baseline| from_baseline(baseline, &path)))
    }

    /// The anchors that `head` can be compared with, oldest first, and a sentence on each of this
    /// machine and scenario that it can't.
    pub(super) fn anchors_for(&self, head: &Run) -> Result<(Vec<Anchored>, Vec<String>), Failure> {
        let found = Anchor::find(self.baselines, &head.fingerprint, &head.scenario)
            .map_err(|error| Failure::tool("reading the anchors", &error))?;
        let (mut comparable, mut notes) = (Vec::new(), Vec::new());
        for anchor in found {
            let differences = anchor.baseline.fingerprint.differences(&head.fingerprint);
            if differences.is_empty() {
                comparable.push(Anchored {
                    source: from_baseline(anchor.baseline, &anchor.path),
                    name: anchor.name,
                });
            } else {
                notes.push(format!(
                    "the anchor {} can't be compared with: {}",
                    anchor.name,
                    in_words(&differences)
                ));
            }
        }
        Ok((comparable, notes))
    }
}

/// What differs between a base's conditions and those of now, as clauses.
pub(super) fn in_words(differences: &[FingerprintDifference]) -> String {
    let clause = |difference: &FingerprintDifference| match difference.field.as_str() {
        "scenario_hash" => "what the scenario measures has changed since".to_owned(),
        field => {
            let (called, base) = words::condition(field, &difference.base);
            let (_, head) = words::condition(field, &difference.head);
            format!("{called} was {base}, is {head}")
        }
    };
    let clauses: Vec<String> = differences.iter().map(clause).collect();
    clauses.join("; ")
}

/// Of the baselines of a scenario that were measured under other conditions the file of the one that is
/// nearest to these, and in what it differs.
pub(super) fn nearest(
    folder: &Path,
    scenario: &str,
    to: &Fingerprint,
) -> Option<(PathBuf, Vec<FingerprintDifference>)> {
    let other = |path: PathBuf| {
        let found = Baseline::load(&path).ok()?;
        let differences = found.fingerprint.differences(to);
        (found.scenario == scenario && !differences.is_empty()).then_some((path, differences))
    };
    let paths = Baseline::list(folder).unwrap_or_default();
    let others = paths.into_iter().filter_map(other);
    others.min_by_key(|(_, differences)| differences.len())
}

/// A run file, a folder of run files, or a baseline file.
fn read(path: &Path) -> Result<Source, Failure> {
    if path.is_file() {
        match Baseline::load(path) {
            Ok(baseline) => return Ok(from_baseline(baseline, path)),
            // Runs, then, which may be more than a baseline is; or something that `read_runs` has the
            // better words for.
            Err(
                BaselineError::File(FileError::TooLarge { .. })
                | BaselineError::Decode {
                    source: DecodeError::Format(FormatError::Foreign { .. }) | DecodeError::Json(_),
                    ..
                },
            ) => {}
            Err(error) => return Err(Failure::tool("reading", &error)),
        }
    }
    Ok(Source {
        label: path.display().to_string(),
        runs: files::read_runs(path).map_err(|error| Failure::tool("reading runs", &error))?,
        baseline: None,
    })
}

/// A run that is among these more than once.
fn twice(runs: &[Run]) -> Option<RunId> {
    let mut known = BTreeSet::new();
    let mut ids = runs.iter().map(|run| run.id);
    ids.find(|id| !known.insert(*id))
}

/// Takes out what was measured again: of runs of one arm with the same number in the same session the
/// newest stays. Gives how many went.
pub(super) fn drop_replaced(runs: &mut Vec<Run>) -> u64 {
    let place = |run: &Run| {
        let is_head = run.arm.map(|arm| arm == Arm::Head);
        run.pair.map(|pair| (run.session.clone(), is_head, pair))
    };
    let mut newest = BTreeMap::new();
    for run in &*runs {
        // Ids are in the order of time.
        let id = newest.entry(place(run)).or_insert(run.id);
        *id = run.id.max(*id);
    }
    let all = runs.len();
    runs.retain(|run| run.pair.is_none() || newest.get(&place(run)) == Some(&run.id));
    (all - runs.len()) as u64
}

/// What is wrong with a file of another tool is for whoever named it.
fn unreadable(error: &InterchangeError) -> Failure {
    match error {
        InterchangeError::Read { .. } => Failure::tool("reading runs", error),
        _ => Failure::usage(
            text::one_line(&error.what()),
            text::one_line(error.remedy()),
        ),
    }
}

/// A baseline as a source of runs.
pub(super) fn from_baseline(baseline: Baseline, path: &Path) -> Source {
    Source {
        label: format!("baseline {}", path.display()),
        runs: baseline.to_runs(),
        baseline: Some(baseline),
    }
}

async fn latest(history: &History) -> Result<Vec<RunId>, Failure> {
    let runs = history
        .find(&Query {
            limit: Some(1),
            ..Query::default()
        })
        .await
        .map_err(|error| Failure::tool("reading the history", &error))?;
    let newest = runs.first().ok_or_else(|| nothing("latest"))?;
    in_session(history, &newest.session, Some(&newest.scenario)).await
}

/// A session by its id, or a run by its id or the beginning of it.
async fn named(history: &History, name: &str) -> Result<Vec<RunId>, Failure> {
    let ids = in_session(history, name, None).await?;
    if !ids.is_empty() {
        return Ok(ids);
    }
    match history.resolve(name).await {
        Ok(id) => Ok(vec![id]),
        Err(error) => Err(unresolved(name, &error)),
    }
}

/// A name that means nothing is a mistake of the call; a history that can't be asked is none.
fn unresolved(name: &str, error: &StoreError) -> Failure {
    match error {
        StoreError::BadPrefix { .. }
        | StoreError::NotFound { .. }
        | StoreError::Ambiguous { .. } => Failure::usage(
            format!("`{name}` is no file, no session and no run: {error}"),
            "see what there is: plimsoll list --sessions; the runs of one: plimsoll list --runs SESSION",
        ),
        error => Failure::tool("reading the history", error),
    }
}

async fn in_session(
    history: &History,
    session: &str,
    scenario: Option<&str>,
) -> Result<Vec<RunId>, Failure> {
    let query = Query {
        session: Some(session.to_owned()),
        scenario: scenario.map(str::to_owned),
        ..Query::default()
    };
    let mut runs = history
        .find(&query)
        .await
        .map_err(|error| Failure::tool("reading the history", &error))?;
    runs.sort_by_key(|run| (run.started_at, run.id));
    if let Some(other) = runs.iter().find(|run| run.scenario != runs[0].scenario) {
        return Err(Failure::usage(
            format!(
                "session {session} has runs of {} and of {}",
                runs[0].scenario, other.scenario
            ),
            format!(
                "name a run of the scenario that you mean: plimsoll list --runs {}",
                shell_words::quote(session)
            ),
        ));
    }
    Ok(runs.into_iter().map(|run| run.id).collect())
}

fn nothing(name: &str) -> Failure {
    Failure::usage(
        format!("`{name}` holds no runs"),
        "see what there is: plimsoll list --sessions; or make some: plimsoll run",
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// More than a baseline may be, and less than runs may be.
    #[test]
    fn a_large_file_of_runs_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runs.jsonl");
        let run = Run::imported(RunId::now(), "s".into(), Vec::new());
        let line = serde_json::to_string(&run).unwrap();
        std::fs::write(&file, format!("{line}\n{}", " ".repeat(64 << 20))).unwrap();
        assert_eq!(read(&file).unwrap().runs, [run]);
    }

    #[test]
    fn only_a_name_that_means_nothing_is_a_mistake_of_the_call() {
        let prefix = "ab".to_owned();
        let unknown = unresolved("ab", &StoreError::BadPrefix { prefix });
        assert!(matches!(unknown, Failure::Usage(..)), "{unknown:?}");
        let lost = StoreError::Database {
            location: "h.db".to_owned(),
            doing: "looking for a run",
            source: sqlx::Error::PoolClosed,
        };
        let lost = unresolved("ab", &lost);
        assert!(matches!(lost, Failure::Tool(_)), "{lost:?}");
    }
}
