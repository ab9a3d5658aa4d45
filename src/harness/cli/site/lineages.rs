//! The runs of a scenario that its trends are of, parted by the conditions under which they were measured.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::harness::cli::failure::Failure;
use crate::harness::cli::history::{detail_of, run_line};
use crate::harness::cli::sources::in_words;
use crate::harness::cli::workspace::reading;
use crate::harness::model::{Arm, Fingerprint, RunId};
use crate::harness::report::history::Lineage;
use crate::harness::report::site::LineageLink;
use crate::harness::scenario::catalogue;
use crate::harness::store::{History, Query, RunSummary};

/// Runs of which trends are drawn, the newest.
const MAX_RUNS: usize = 200;
/// Lineages of a scenario that have a page, the newest.
const MAX_LINEAGES: usize = 10;
/// Metrics that are looked at besides those that gates are on, of which there are as many at most.
const MAX_METRICS: usize = 400;

/// The runs of a scenario under one fingerprint, without the heads of comparisons.
#[derive(Debug, Clone)]
pub(super) struct Runs<'a> {
    /// The fingerprint's id.
    pub(super) fingerprint: &'a str,
    /// Newest first, at least one.
    pub(super) runs: Vec<&'a RunSummary>,
}

/// The lineages of a scenario whose runs are given newest first: the newest first, and only those with a run
/// that has a page.
pub(super) fn lineages<'a>(
    runs: impl IntoIterator<Item = &'a RunSummary>,
    pages: &BTreeMap<RunId, String>,
) -> Vec<Runs<'a>> {
    let mut found: Vec<Runs<'a>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for run in runs {
        if run.arm == Some(Arm::Head) {
            continue;
        }
        let place = *places.entry(&run.fingerprint_id).or_insert_with(|| {
            found.push(Runs {
                fingerprint: &run.fingerprint_id,
                runs: Vec::new(),
            });
            found.len() - 1
        });
        found[place].runs.push(run);
    }
    // Any of them: one damaged run, which has no page, must not take the trends of the others along.
    found.retain(|one| one.runs.iter().any(|run| pages.contains_key(&run.id)));
    found.truncate(MAX_LINEAGES);
    found
}

impl Runs<'_> {
    /// Its newest run.
    pub(super) fn newest(&self) -> &RunSummary {
        self.runs[0]
    }

    /// The runs that are shown.
    pub(super) fn shown(&self) -> &[&RunSummary] {
        &self.runs[..self.runs.len().min(MAX_RUNS)]
    }

    /// Its values, from columns and never from whole runs.
    pub(super) async fn read(
        &self,
        history: &History,
        gated: &[String],
    ) -> Result<Lineage, Failure> {
        let newest = self.newest();
        let query = Query {
            scenario: Some(newest.scenario.clone()),
            fingerprint: Some(newest.fingerprint_id.clone()),
            without_heads: true,
            limit: Some(MAX_RUNS as u32),
            ..Query::default()
        };
        let taken = RefCell::new(BTreeSet::new());
        let wanted = |name: &str| {
            let mut taken = taken.borrow_mut();
            let room = match gated.iter().any(|glob| catalogue::matches(glob, name)) {
                true => 2 * MAX_METRICS,
                false => MAX_METRICS,
            };
            taken.contains(name) || taken.len() < room && taken.insert(name.to_owned())
        };
        let series = history.series(&query, wanted).await.map_err(reading)?;
        let runs = self.shown().iter().map(|run| run_line((*run).clone()));
        let started = || self.runs.iter().map(|run| run.started_at);
        Ok(Lineage {
            scenario: newest.scenario.clone(),
            machine: newest.machine_id.clone(),
            fingerprint: newest.fingerprint_id.clone(),
            runs: self.runs.len() as u64,
            valid_runs: self.runs.iter().filter(|run| run.valid).count() as u64,
            first_started_at: started().min().unwrap_or(Timestamp::UNIX_EPOCH),
            last_started_at: started().max().unwrap_or(Timestamp::UNIX_EPOCH),
            revision: newest.revision.clone(),
            detail: Some(detail_of(runs.collect(), series)),
        })
    }
}

/// Links to all lineages but the newest, of which the first path is; `fingerprints` are those of all, as far as
/// they can be read.
pub(super) fn links(
    all: &[Runs<'_>],
    paths: &[String],
    fingerprints: &[Option<Fingerprint>],
) -> Vec<LineageLink> {
    let differences = |nth: usize| {
        let before = fingerprints.get(nth)?.as_ref()?;
        let after = fingerprints.get(nth.checked_sub(1)?)?.as_ref()?;
        Some(in_words(&before.differences(after)))
    };
    let link = |(nth, (one, path)): (usize, (&Runs<'_>, &String))| LineageLink {
        path: path.clone(),
        fingerprint: one.fingerprint.to_owned(),
        runs: one.runs.len() as u64,
        at: one.newest().started_at,
        revision: one.newest().revision.clone(),
        differences: differences(nth).unwrap_or_default(),
    };
    all.iter()
        .zip(paths)
        .enumerate()
        .skip(1)
        .map(link)
        .collect()
}

/// Conditions in words, for the head of a page.
pub(super) fn conditions(fingerprint: Option<&Fingerprint>) -> Vec<(&'static str, String)> {
    let Some(known) = fingerprint.filter(|fingerprint| !fingerprint.is_unknown()) else {
        return vec![("Machine", "unknown".to_owned())];
    };
    vec![
        (
            "Machine",
            format!("{}, {} CPUs", known.cpu_model, known.logical_cpus),
        ),
        ("System", format!("{}, {}", known.os, known.kernel)),
        ("Toolchain", known.toolchain.clone()),
    ]
}
