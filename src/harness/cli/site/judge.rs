//! What the sessions of a site are judged by, and whether it is still what a page was made by.
//!
//! A session is judged by the scenario and the baselines as they are now, and by the waivers that held on its
//! day: a waiver that has expired since makes no old session red.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::harness::cli::compare::plan_named;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::cli::waivers;
use crate::harness::gate::{Policy, Waivers};
use crate::harness::model::{Run, hexadecimal};
use crate::harness::report::site::Annotation;
use crate::harness::scenario::{Plan, Waiver};
use crate::harness::store::{Anchor, Baseline, files};

use super::sittings::Sitting;

/// Raised whenever pages change without a new version of Plimsoll.
const PAGES: u32 = 2;

/// A scenario as it is now, with the waivers of its project.
#[derive(Debug)]
pub(super) struct Judge {
    /// `None` where there is no scenario of that name any more.
    pub(super) plan: Option<Plan>,
    waivers: Vec<Waiver>,
}

impl Judge {
    /// The scenario of which `newest` is the newest run.
    pub(super) fn of(newest: &Run, output: &Output) -> Result<Self, Failure> {
        let file = newest.scenario_file.as_deref();
        let plan = plan_named(None, &newest.scenario, file, output)?;
        let waivers = match &plan {
            Some(plan) => waivers::all(plan, output)?,
            None => Vec::new(),
        };
        Ok(Self { plan, waivers })
    }

    /// What judges a session.
    pub(super) fn policy(&self, sitting: &Sitting) -> Policy {
        let Some(plan) = &self.plan else {
            return Policy {
                scenario: sitting.scenario.clone(),
                ..Policy::default()
            };
        };
        Policy {
            waivers: self.waivers(plan, sitting),
            ..Policy::of(plan)
        }
    }

    /// The metrics that its gates are on, as the scenario names them.
    pub(super) fn gated(&self) -> Vec<String> {
        let gates = self.plan.iter().flat_map(|plan| &plan.gates);
        gates.map(|gate| gate.metric.clone()).collect()
    }

    /// The scenario's description.
    pub(super) fn description(&self) -> &str {
        self.plan.as_ref().map_or("", |plan| &plan.description)
    }

    /// What of it counts for a session, as a digest. Where the scenario lies does not.
    pub(super) fn digest(&self, sitting: &Sitting) -> String {
        let plan = self.plan.as_ref().map(|plan| {
            let waivers = self.waivers(plan, sitting);
            (&plan.hash, &plan.description, &plan.gates, waivers)
        });
        digest(&format!("{plan:?}"))
    }

    fn waivers(&self, plan: &Plan, sitting: &Sitting) -> Waivers {
        Waivers::new(&self.waivers, &plan.id(), waivers::day(sitting.at()))
    }
}

/// The baselines and anchors of a project.
#[derive(Debug)]
pub(super) struct Baselines {
    root: PathBuf,
    files: Vec<PathBuf>,
    anchors: Vec<PathBuf>,
    digests: BTreeMap<(String, String), String>,
}

impl Baselines {
    /// Those of a folder, which need not be there.
    pub(super) fn new(root: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::tool("reading the baselines", &error);
        let mut files = Baseline::list(root).map_err(failed)?;
        let anchors = Anchor::list(root).map_err(failed)?;
        files.extend(anchors.iter().cloned());
        Ok(Self {
            root: root.to_owned(),
            files,
            anchors,
            digests: BTreeMap::new(),
        })
    }

    /// What they say of a scenario on a machine, as a digest.
    pub(super) fn digest(&mut self, scenario: &str, machine: &str) -> Result<String, Failure> {
        let of = (scenario.to_owned(), machine.to_owned());
        if let Some(known) = self.digests.get(&of) {
            return Ok(known.clone());
        }
        let mut hasher = Sha256::new();
        for path in &self.files {
            if self.is_of(path, scenario, Some(machine)) {
                let bytes = fs::read(path).map_err(|error| {
                    Failure::tool(format!("reading {}", path.display()), &error)
                })?;
                hasher.update(
                    path.strip_prefix(&self.root)
                        .unwrap_or(path)
                        .as_os_str()
                        .as_encoded_bytes(),
                );
                hasher.update((bytes.len() as u64).to_le_bytes());
                hasher.update(&bytes);
            }
        }
        let digest = hexadecimal(&hasher.finalize()[..16]);
        self.digests.insert(of, digest.clone());
        Ok(digest)
    }

    /// What they have to say of a scenario's trends, by the fingerprint's id and oldest first: when they were
    /// measured, and what somebody accepted of what got worse.
    pub(super) fn annotations(
        &self,
        scenario: &str,
    ) -> Result<BTreeMap<String, Vec<Annotation>>, Failure> {
        let mut all: BTreeMap<String, Vec<Annotation>> = BTreeMap::new();
        for path in self
            .files
            .iter()
            .filter(|path| self.is_of(path, scenario, None))
        {
            let found = Baseline::load(path)
                .map_err(|error| Failure::tool("reading the baselines", &error))?;
            let runs = found.sessions.iter().flat_map(|session| &session.runs);
            let Some(at) = runs.map(|run| run.started_at).max() else {
                continue;
            };
            if found.scenario != scenario {
                continue;
            }
            let annotations = all.entry(found.fingerprint.id()).or_default();
            let anchor = path.parent().and_then(Path::file_name);
            annotations.push(Annotation {
                at,
                metric: None,
                text: match anchor.filter(|_| self.anchors.contains(path)) {
                    Some(name) => name.to_string_lossy().into_owned(),
                    None => "baseline".to_owned(),
                },
            });
            annotations.extend(found.accepted.into_iter().map(|drift| Annotation {
                at,
                metric: Some(drift.metric),
                text: format!("accepted: {}", drift.reason),
            }));
        }
        for annotations in all.values_mut() {
            annotations.sort_by(|a, b| (a.at, &a.text).cmp(&(b.at, &b.text)));
        }
        Ok(all)
    }

    fn is_of(&self, path: &Path, scenario: &str, machine: Option<&str>) -> bool {
        let file = format!("{}.json", files::component(scenario));
        let first = path
            .strip_prefix(&self.root)
            .ok()
            .and_then(|below| below.iter().next());
        path.file_name().is_some_and(|name| name == file.as_str())
            && machine.is_none_or(|machine| first.is_some_and(|first| first == machine))
    }
}

/// A digest of what a page was made from.
pub(super) fn digest(of: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("{PAGES} {} ", env!("CARGO_PKG_VERSION")));
    hasher.update(of);
    hexadecimal(&hasher.finalize()[..16])
}
