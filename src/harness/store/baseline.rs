//! Baselines: what a scenario gave before, in files that live in the repository and are reviewed.
//!
//! A baseline holds the metric values of every run, because the run is the unit of replication and
//! the statistics need them all, grouped by session, because the spread between sessions is larger
//! than that within one. Histograms are merged and stand last: they are for display only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::files::{self, FileError};
use super::format::{self, DecodeError};
use super::review;
use crate::harness::model::{
    Arm, ArrivalModel, Direction, Fingerprint, FingerprintDifference, LatencyHistogram,
    Measurement, Metric, Outcome, RUN_FORMAT, Reading, Run, RunId, Unit, by_session, median,
};

/// The format of a baseline file.
pub const BASELINE_FORMAT: &str = "plimsoll.baseline/1";
/// A larger file is refused. A histogram is at most some ten kilobytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Values are kept to so many significant digits: far below any noise, and short to read.
const SIGNIFICANT_DIGITS: usize = 6;

/// What a scenario gave before, on one kind of machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// [`BASELINE_FORMAT`].
    pub schema: String,
    /// The scenario's id: `name` or `name@variant`.
    pub scenario: String,
    /// What must be equal before another run may be compared with it.
    pub fingerprint: Fingerprint,
    /// Oldest first, at least one.
    pub sessions: Vec<BaselineSession>,
    /// What is worse than in the baseline that it replaced, and why that was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<AcceptedDrift>,
    /// What A/A runs under this fingerprint said of its noise, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The latencies of all its runs together, for display.
    pub loads: Vec<BaselineLoad>,
}

/// A metric that got worse, or was lost, from one baseline to the next, with somebody's word for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedDrift {
    /// Its path.
    pub metric: String,
    /// How much worse it got, as a fraction: .07 for 7 %; `None` where it is gone, or not measurable in
    /// every run.
    pub effect: Option<f64>,
    /// Why that was accepted.
    pub reason: String,
}

/// The runs of one sitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineSession {
    /// The sitting.
    pub session: String,
    /// What was measured.
    pub revision: Option<String>,
    /// The version of Plimsoll that measured it.
    pub plimsoll_version: String,
    /// Oldest first, at least one.
    pub runs: Vec<BaselineRun>,
    /// What they measured, by the metric's path.
    pub metrics: BTreeMap<String, BaselineMetric>,
}

/// Where a run came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineRun {
    /// Its identity.
    pub id: RunId,
    /// When it started.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// How long it took, in ns.
    pub duration_ns: u64,
}

/// One metric over the runs of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineMetric {
    /// The unit of the values.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// One entry per run of the session: its replicates, to six digits; empty where the metric was
    /// not measurable in that run.
    pub values: Vec<Vec<f64>>,
    /// One entry per run of the session: how many observations its values rest on.
    pub observations: Vec<u64>,
}

/// The latencies of one load, for display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineLoad {
    /// The name in the scenario.
    pub name: String,
    /// Open or closed.
    pub model: ArrivalModel,
    /// One entry per request name, in the order of the flow.
    pub requests: Vec<BaselineRequest>,
}

/// The latencies of one request name, for display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineRequest {
    /// The name in the scenario.
    pub name: String,
    /// How many there were.
    pub count: u64,
    /// Response times of the requests in order, in the measure phases of all runs, in ns.
    pub response: LatencyHistogram,
}

/// What a new baseline changes.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineDiff {
    /// What differs in the conditions; not empty means that the values can't be compared.
    pub fingerprint: Vec<FingerprintDifference>,
    /// One per metric of either, by name.
    pub rows: Vec<BaselineChange>,
}

/// One metric in the old and the new baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineChange {
    /// Its path.
    pub metric: String,
    /// The unit of the values.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// The median over the old runs; `None` where no old run has a value.
    pub old: Option<f64>,
    /// The median over the new runs; `None` where no new run has a value.
    pub new: Option<f64>,
    /// `new / old − 1`; `None` where one is missing, the old one is zero or the units differ.
    pub change: Option<f64>,
}

/// Why there is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no baseline.
    #[error("{} is no baseline: {source}", path.display())]
    Decode {
        /// Which.
        path: PathBuf,
        /// Why.
        source: DecodeError,
    },
    /// The file contradicts itself.
    #[error("{} contradicts itself: {what}; save the baseline anew", path.display())]
    Inconsistent {
        /// Which.
        path: PathBuf,
        /// In what.
        what: String,
    },
    /// The baseline can't be written.
    #[error("the baseline of `{scenario}` can't be written: {source}")]
    Encode {
        /// Of which scenario.
        scenario: String,
        /// Why.
        source: DecodeError,
    },
    /// No run that may be judged.
    #[error("none of the {runs} runs is valid, so there is nothing to make a baseline from")]
    NothingValid {
        /// How many runs were given.
        runs: usize,
    },
    /// One run twice: it would count as two.
    #[error("run {id} was given twice; name each session and each run once")]
    Twice {
        /// Which.
        id: RunId,
    },
    /// Two scenarios.
    #[error(
        "run {first} is of `{first_scenario}` and run {second} of `{second_scenario}`; a baseline holds one scenario"
    )]
    Scenarios {
        /// A run.
        first: RunId,
        /// Its scenario.
        first_scenario: String,
        /// Another run.
        second: RunId,
        /// Its scenario.
        second_scenario: String,
    },
    /// Two fingerprints.
    #[error(
        "runs {first} and {second} were not made under the same conditions: {}; make a baseline of each",
        list(differences)
    )]
    Fingerprints {
        /// A run.
        first: RunId,
        /// Another run.
        second: RunId,
        /// In what they differ.
        differences: Vec<FingerprintDifference>,
    },
    /// Two revisions in one session.
    #[error(
        "session `{session}` measured both {first} and {second}; choose the runs of one of them"
    )]
    Revisions {
        /// The sitting.
        session: String,
        /// What one run measured.
        first: String,
        /// What another run measured.
        second: String,
    },
    /// One metric with two units or directions.
    #[error("`{metric}` has not the same unit and direction in all runs of session `{session}`")]
    Units {
        /// The metric's path.
        metric: String,
        /// The sitting.
        session: String,
    },
}

impl Baseline {
    /// A baseline of the valid runs among `runs`, each there once, which must be of one scenario and one
    /// fingerprint, and within each session of one revision.
    pub fn from_runs(runs: &[Run]) -> Result<Self, BaselineError> {
        let mut valid: Vec<&Run> = runs.iter().filter(|run| run.is_valid()).collect();
        valid.sort_by_key(|run| (run.started_at, run.id));
        let first = *valid
            .first()
            .ok_or(BaselineError::NothingValid { runs: runs.len() })?;
        let mut known = BTreeSet::new();
        for run in &valid {
            if !known.insert(run.id) {
                return Err(BaselineError::Twice { id: run.id });
            }
            if run.scenario != first.scenario {
                return Err(BaselineError::Scenarios {
                    first: first.id,
                    first_scenario: first.scenario.clone(),
                    second: run.id,
                    second_scenario: run.scenario.clone(),
                });
            }
            let differences = first.fingerprint.differences(&run.fingerprint);
            if !differences.is_empty() {
                return Err(BaselineError::Fingerprints {
                    first: first.id,
                    second: run.id,
                    differences,
                });
            }
        }
        Ok(Self {
            schema: BASELINE_FORMAT.to_owned(),
            scenario: first.scenario.clone(),
            fingerprint: first.fingerprint.clone(),
            sessions: by_session(valid.iter().copied())
                .iter()
                .map(|runs| BaselineSession::from_runs(runs))
                .collect::<Result<_, _>>()?,
            accepted: Vec::new(),
            calibration: None,
            loads: merged_loads(&valid),
        })
    }

    /// Its runs, oldest session first, with their metrics and an empty measurement: what a
    /// comparison takes as the base.
    pub fn to_runs(&self) -> Vec<Run> {
        let of_session = |session: &BaselineSession| {
            let light_run = |(index, run): (usize, &BaselineRun)| Run {
                schema: RUN_FORMAT.to_owned(),
                id: run.id,
                scenario: self.scenario.clone(),
                scenario_file: None,
                session: session.session.clone(),
                arm: Some(Arm::Base),
                pair: None,
                started_at: run.started_at,
                duration_ns: run.duration_ns,
                revision: session.revision.clone(),
                plimsoll_version: session.plimsoll_version.clone(),
                fingerprint: self.fingerprint.clone(),
                invalid: Vec::new(),
                partial: false,
                aborted: None,
                warnings: Vec::new(),
                metrics: session
                    .metrics
                    .iter()
                    .map(|(name, metric)| metric.of_run(name, index))
                    .collect(),
                measurement: Measurement::default(),
            };
            session
                .runs
                .iter()
                .enumerate()
                .map(light_run)
                .collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(of_session).collect()
    }

    /// The median over all runs of the metric of that name, in its unit; `None` where no run has a
    /// value.
    pub fn median(&self, metric: &str) -> Option<f64> {
        let sessions = self.sessions.iter();
        let runs = sessions
            .filter_map(|session| session.metrics.get(metric))
            .flat_map(|metric| &metric.values);
        let values: Vec<f64> = runs.filter_map(|values| median(values)).collect();
        median(&values)
    }

    /// Metrics that some of its runs have a value of and others don't, by name: nothing can be compared
    /// with them.
    pub fn partly_measured(&self) -> Vec<&str> {
        let having = |name: &str| -> usize {
            let sessions = self.sessions.iter();
            let metrics = sessions.filter_map(|session| session.metrics.get(name));
            let values = metrics.flat_map(|metric| &metric.values);
            values.filter(|values| !values.is_empty()).count()
        };
        let runs: usize = self.sessions.iter().map(|one| one.runs.len()).sum();
        let names = self.kinds().into_keys();
        names
            .filter(|name| (1..runs).contains(&having(name)))
            .collect()
    }

    /// What `new` changes against `self`, the old one.
    pub fn diff(&self, new: &Self) -> BaselineDiff {
        let (old_kinds, new_kinds) = (self.kinds(), new.kinds());
        let names: BTreeSet<&str> = old_kinds.keys().chain(new_kinds.keys()).copied().collect();
        let row = |metric: &str| {
            let (old_kind, new_kind) = (old_kinds.get(metric), new_kinds.get(metric));
            let (unit, better) = new_kind.or(old_kind)?;
            let (old, new) = (self.median(metric), new.median(metric));
            let change = match (old, new) {
                (Some(old), Some(new)) if old != 0.0 && old_kind == new_kind => {
                    Some(new / old - 1.0)
                }
                _ => None,
            };
            Some(BaselineChange {
                metric: metric.to_owned(),
                unit: (*unit).clone(),
                better: **better,
                old,
                new,
                change,
            })
        };
        BaselineDiff {
            fingerprint: self.fingerprint.differences(&new.fingerprint),
            rows: names.into_iter().filter_map(row).collect(),
        }
    }

    /// Where the baseline of `scenario` lies in the folder `root` (usually `baselines`): a folder
    /// per machine, a file per scenario. A scenario's name never leads out of that folder.
    pub fn path(root: &Path, fingerprint: &Fingerprint, scenario: &str) -> PathBuf {
        root.join(fingerprint.machine_id())
            .join(format!("{}.json", files::component(scenario)))
    }

    /// The baseline of `scenario` for this machine, or `None` where there is none. The rest of its
    /// fingerprint may differ: the comparison names how.
    pub fn find(
        root: &Path,
        fingerprint: &Fingerprint,
        scenario: &str,
    ) -> Result<Option<Self>, BaselineError> {
        let path = Self::path(root, fingerprint, scenario);
        if !is_there(&path)? {
            return Ok(None);
        }
        let baseline = Self::load(&path)?;
        if !baseline.is_of(fingerprint, scenario) {
            return Err(BaselineError::misplaced(path));
        }
        Ok(Some(baseline))
    }

    /// Whether it may lie where the baseline of `scenario` on that machine does.
    pub(super) fn is_of(&self, fingerprint: &Fingerprint, scenario: &str) -> bool {
        self.scenario == scenario && self.fingerprint.machine_id() == fingerprint.machine_id()
    }

    /// Reads a baseline file.
    pub fn load(path: &Path) -> Result<Self, BaselineError> {
        let text = files::read_text(path, MAX_FILE_BYTES)?;
        let decoded = format::check(&text, BASELINE_FORMAT)
            .and_then(|()| Ok(serde_json::from_str::<Self>(&text)?));
        let baseline = decoded.map_err(|source| BaselineError::Decode {
            path: path.to_owned(),
            source,
        })?;
        match baseline.contradiction() {
            Some(what) => Err(BaselineError::Inconsistent {
                path: path.to_owned(),
                what,
            }),
            None => Ok(baseline),
        }
    }

    /// Writes it to its [`path`](Self::path) in `root`, in one step, and returns the path. Without a
    /// calibration of its own it keeps that of the file which it replaces, as long as that is of the same
    /// fingerprint: new values make the noise no other.
    ///
    /// # Errors
    /// Also where that file can't be read, as with the marks of a merge in it: nights of calibration may be lost.
    pub fn save(&self, root: &Path) -> Result<PathBuf, BaselineError> {
        let path = Self::path(root, &self.fingerprint, &self.scenario);
        let mut text = self.to_text()?;
        if self.calibration.is_none() && is_there(&path)? {
            let old = Self::load(&path)?;
            if old.fingerprint == self.fingerprint && old.calibration.is_some() {
                text = Self {
                    calibration: old.calibration,
                    ..self.clone()
                }
                .to_text()?;
            }
        }
        files::write_text(&path, &text)?;
        Ok(path)
    }

    /// The text of its file: the same baseline always gives the same text.
    pub fn to_text(&self) -> Result<String, BaselineError> {
        review::to_text(self).map_err(|error| BaselineError::Encode {
            scenario: self.scenario.clone(),
            source: error.into(),
        })
    }

    /// Every baseline file in the folder `root`, by path; none where there is no such folder.
    pub fn list(root: &Path) -> Result<Vec<PathBuf>, BaselineError> {
        let mut found = Vec::new();
        for machine in folder(root)? {
            if machine.is_dir() {
                found.extend(folder(&machine)?.into_iter().filter(|path| {
                    path.is_file() && path.extension().is_some_and(|ending| ending == "json")
                }));
            }
        }
        found.sort();
        Ok(found)
    }

    fn kinds(&self) -> BTreeMap<&str, (&Unit, &Direction)> {
        let metrics = self.sessions.iter().flat_map(|session| &session.metrics);
        metrics
            .map(|(name, metric)| (name.as_str(), (&metric.unit, &metric.better)))
            .collect()
    }

    fn contradiction(&self) -> Option<String> {
        if self.sessions.is_empty() {
            return Some("it has no session".to_owned());
        }
        let of_session = |session: &BaselineSession| {
            let runs = session.runs.len();
            let name = &session.session;
            if runs == 0 {
                return Some(format!("session `{name}` has no run"));
            }
            let uneven = |metric: &BaselineMetric| {
                metric.values.len() != runs || metric.observations.len() != runs
            };
            let mut metrics = session.metrics.iter();
            let (metric, _) = metrics.find(|(_, metric)| uneven(metric))?;
            Some(format!(
                "`{metric}` of session `{name}` has not one entry for each of its {runs} runs"
            ))
        };
        let calibration = self.calibration.as_ref();
        self.sessions
            .iter()
            .find_map(of_session)
            .or_else(|| calibration?.contradiction())
    }
}

impl BaselineError {
    /// The file at `path` is in order, but not there.
    pub(super) fn misplaced(path: PathBuf) -> Self {
        Self::Inconsistent {
            path,
            what: "it is of another scenario or machine than its place says".to_owned(),
        }
    }
}

impl BaselineSession {
    /// `runs`: not empty, of one session, oldest first.
    fn from_runs(runs: &[&Run]) -> Result<Self, BaselineError> {
        let first = runs[0];
        if let Some(other) = runs.iter().find(|run| run.revision != first.revision) {
            let name = |run: &Run| match &run.revision {
                Some(revision) => format!("`{revision}`"),
                None => "an unknown revision".to_owned(),
            };
            return Err(BaselineError::Revisions {
                session: first.session.clone(),
                first: name(first),
                second: name(other),
            });
        }
        let mut metrics: BTreeMap<String, BaselineMetric> = BTreeMap::new();
        for (index, run) in runs.iter().enumerate() {
            for metric in &run.metrics {
                let entry = metrics
                    .entry(metric.name.clone())
                    .or_insert_with(|| BaselineMetric {
                        unit: metric.unit.clone(),
                        better: metric.better,
                        values: vec![Vec::new(); runs.len()],
                        observations: vec![0; runs.len()],
                    });
                if (&entry.unit, entry.better) != (&metric.unit, metric.better) {
                    return Err(BaselineError::Units {
                        metric: metric.name.clone(),
                        session: run.session.clone(),
                    });
                }
                entry.values[index] = metric.values().iter().copied().map(shorten).collect();
                entry.observations[index] = metric.observations;
            }
        }
        Ok(Self {
            session: first.session.clone(),
            revision: first.revision.clone(),
            plimsoll_version: first.plimsoll_version.clone(),
            runs: runs
                .iter()
                .map(|run| BaselineRun {
                    id: run.id,
                    started_at: run.started_at,
                    duration_ns: run.duration_ns,
                })
                .collect(),
            metrics,
        })
    }
}

impl BaselineMetric {
    fn of_run(&self, name: &str, index: usize) -> Metric {
        let values = self.values[index].clone();
        Metric {
            name: name.to_owned(),
            unit: self.unit.clone(),
            better: self.better,
            reading: if values.is_empty() {
                Reading::NotMeasurable {
                    reason: "it was not measurable when the baseline was made".to_owned(),
                    remedy: "save the baseline anew from longer runs".to_owned(),
                }
            } else {
                Reading::Measured { values }
            },
            observations: self.observations[index],
        }
    }
}

/// All requests in order of all runs together, by load and request name in the order of the first
/// run that has them.
fn merged_loads(runs: &[&Run]) -> Vec<BaselineLoad> {
    let mut merged: Vec<BaselineLoad> = Vec::new();
    for load in runs.iter().flat_map(|run| &run.measurement.loads) {
        let at = merged.iter().position(|one| one.name == load.name);
        let at = at.unwrap_or_else(|| {
            merged.push(BaselineLoad {
                name: load.name.clone(),
                model: load.model,
                requests: Vec::new(),
            });
            merged.len() - 1
        });
        let requests = &mut merged[at].requests;
        for series in &load.requests {
            let at = requests.iter().position(|one| one.name == series.name);
            let at = at.unwrap_or_else(|| {
                requests.push(BaselineRequest {
                    name: series.name.clone(),
                    count: 0,
                    response: LatencyHistogram::new(),
                });
                requests.len() - 1
            });
            if let Some(response) = series.response.get(&Outcome::Ok) {
                requests[at].response.merge(response);
                requests[at].count = requests[at].response.count();
            }
        }
    }
    merged
}

/// `value` to [`SIGNIFICANT_DIGITS`].
pub(super) fn shorten(value: f64) -> f64 {
    let digits = SIGNIFICANT_DIGITS - 1;
    format!("{value:.digits$e}").parse().unwrap_or(value)
}

/// Whether there is something at `path`, be it a link to nothing: what can't be read is not missing.
pub(super) fn is_there(path: &Path) -> Result<bool, BaselineError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(BaselineError::File(FileError::Read {
            path: path.to_owned(),
            source,
        })),
    }
}

/// What a folder holds; nothing where there is no such folder.
pub(super) fn folder(path: &Path) -> Result<Vec<PathBuf>, BaselineError> {
    let reading = |source| {
        BaselineError::File(FileError::Read {
            path: path.to_owned(),
            source,
        })
    };
    match fs::read_dir(path) {
        Ok(entries) => entries
            .map(|entry| Ok(entry.map_err(reading)?.path()))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(reading(error)),
    }
}

fn list(differences: &[FingerprintDifference]) -> String {
    let texts: Vec<String> = differences
        .iter()
        .map(|one| format!("{} is `{}` and `{}`", one.field, one.base, one.head))
        .collect();
    texts.join(", ")
}
