//! What a person names when they mean runs: files, folders, sessions, run ids, `latest`, `baseline`.

use std::path::{Path, PathBuf};

use crate::harness::interchange::{self, Imported, InterchangeError, Options};
use crate::harness::model::{Arm, Fingerprint, FingerprintDifference, Run, RunId};
use crate::harness::report::text;
use crate::harness::store::{
    Anchor, Baseline, BaselineError, DecodeError, FormatError, History, Query, files,
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
        field => format!("{field} was {}, is {}", difference.base, difference.head),
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
            // Runs, then; or something that `read_runs` has the better words for.
            Err(BaselineError::Decode {
                source: DecodeError::Format(FormatError::Foreign { .. }) | DecodeError::Json(_),
                ..
            }) => {}
            Err(error) => return Err(Failure::tool("reading", &error)),
        }
    }
    let mut runs = files::read_runs(path).map_err(|error| Failure::tool("reading runs", &error))?;
    if runs.is_empty() {
        return Err(nothing(&path.display().to_string()));
    }
    runs.sort_by_key(|run| (run.started_at, run.id));
    Ok(Source {
        label: path.display().to_string(),
        runs,
        baseline: None,
    })
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
    let id = history.resolve(name).await.map_err(|error| {
        Failure::usage(
            format!("`{name}` is no file, no session and no run: {error}"),
            "see what there is: plimsoll list --sessions; the runs of one: plimsoll list --runs SESSION",
        )
    })?;
    Ok(vec![id])
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
