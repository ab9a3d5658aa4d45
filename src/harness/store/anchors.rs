//! Anchors: baselines that were pinned under a name, such as that of a release, beside those that are
//! renewed.
//!
//! An anchor is a copy of a baseline file in `<machine id>/anchors/<name>/<scenario>.json`, of the
//! same format and reviewed like it. It is never written twice: what shows creep must not move with it.

use std::path::{Path, PathBuf};

use super::baseline::{self, Baseline, BaselineError};
use super::files;
use crate::harness::model::Fingerprint;

/// The folder of a machine's anchors among its baselines.
const ANCHORS: &str = "anchors";

/// A baseline that was pinned.
#[derive(Debug, Clone, PartialEq)]
pub struct Anchor {
    /// The name under which it was pinned.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What was pinned.
    pub baseline: Baseline,
}

/// Why there is no anchor.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The name would not be that of its folder.
    #[error(
        "`{name}` can't be an anchor's name; take letters, digits, `-`, `_`, `.` and `@`, with no dot in front"
    )]
    Name {
        /// The name that was given.
        name: String,
    },
    /// Pinned before.
    #[error(
        "{} is pinned already, and an anchor doesn't move; take another name, or remove the file first", path.display()
    )]
    Pinned {
        /// Its file.
        path: PathBuf,
    },
    /// The baseline behind it.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
}

impl Anchor {
    /// Where an anchor of `baseline` lies in the folder `root` of baselines.
    ///
    /// # Errors
    /// Where `name` can't be the name of a folder as it stands.
    pub fn place(root: &Path, baseline: &Baseline, name: &str) -> Result<PathBuf, AnchorError> {
        if files::component(name) != name {
            return Err(AnchorError::Name {
                name: name.to_owned(),
            });
        }
        Ok(folder(root, &baseline.fingerprint)
            .join(name)
            .join(file(&baseline.scenario)))
    }

    /// Pins `baseline` under `name` in the folder `root` of baselines.
    ///
    /// # Errors
    /// As [`place`](Self::place), and where there is one of that name.
    pub fn pin(root: &Path, baseline: Baseline, name: &str) -> Result<Self, AnchorError> {
        let path = Self::place(root, &baseline, name)?;
        if baseline::is_there(&path)? {
            return Err(AnchorError::Pinned { path });
        }
        files::write_text(&path, &baseline.to_text()?).map_err(BaselineError::from)?;
        Ok(Self {
            name: name.to_owned(),
            path,
            baseline,
        })
    }

    /// Every anchor of `scenario` on the machine of `fingerprint`, oldest measurement first. The rest
    /// of their fingerprints may differ, as with [`Baseline::find`].
    pub fn find(
        root: &Path,
        fingerprint: &Fingerprint,
        scenario: &str,
    ) -> Result<Vec<Self>, BaselineError> {
        let mut found = Vec::new();
        for named in baseline::folder(&folder(root, fingerprint))? {
            let path = named.join(file(scenario));
            let name = named.file_name().and_then(|name| name.to_str());
            let (Some(name), true) = (name, path.is_file()) else {
                continue;
            };
            let baseline = Baseline::load(&path)?;
            if !baseline.is_of(fingerprint, scenario) {
                return Err(BaselineError::misplaced(path));
            }
            found.push(Self {
                name: name.to_owned(),
                path: path.clone(),
                baseline,
            });
        }
        found.sort_by_key(|anchor| (anchor.measured_at(), anchor.name.clone()));
        Ok(found)
    }

    /// Every anchor's file in the folder `root` of baselines, by path.
    pub fn list(root: &Path) -> Result<Vec<PathBuf>, BaselineError> {
        let mut found = Vec::new();
        for machine in baseline::folder(root)? {
            if machine.is_dir() {
                // What is in `anchors/` is to it as baselines are to their folder.
                found.extend(Baseline::list(&machine.join(ANCHORS))?);
            }
        }
        found.sort();
        Ok(found)
    }

    fn measured_at(&self) -> Option<jiff::Timestamp> {
        let runs = self.baseline.sessions.iter().flat_map(|one| &one.runs);
        runs.map(|run| run.started_at).max()
    }
}

fn folder(root: &Path, fingerprint: &Fingerprint) -> PathBuf {
    root.join(fingerprint.machine_id()).join(ANCHORS)
}

fn file(scenario: &str) -> String {
    format!("{}.json", files::component(scenario))
}
