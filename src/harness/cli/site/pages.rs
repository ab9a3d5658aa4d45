//! The pages of a site, in the order in which they are written: whoever leads to a page comes after it, and
//! the first page last. A site in the middle of this leads nowhere from its first page.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::harness::cli::args::{Global, ReportArgs};
use crate::harness::cli::compare::NOT_JUDGED;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::cli::report::Saved;
use crate::harness::cli::reproduce::CommandLine;
use crate::harness::cli::sources::{Places, Source};
use crate::harness::cli::workspace::reading;
use crate::harness::model::{Fingerprint, Run, RunId};
use crate::harness::report::site::{
    ChangeLine, IndexView, LineageView, Page, ScenarioLine, ScenarioView, SessionLine, Way, badge,
    feed, index, scenario as scenario_page, session_page,
};
use crate::harness::report::{format, text};
use crate::harness::store::{History, RunSummary, StoreError};

use super::folder::{Done, Folder, Memo};
use super::judge::{Baselines, Judge, digest};
use super::lineages::{Runs, conditions, lineages, links};
use super::lists::{ListPage, lists, rendered};
use super::places;
use super::sittings::Sitting;

/// Said of the verdict on the page of each session.
const ANEW: &str = "judged for this page by the scenario and the baselines as they were when it was made, and by the waivers that held on its day";
/// Sessions on the first page.
const NEWEST: usize = 100;
/// Sessions on the page of a scenario.
const NEWEST_OF_SCENARIO: usize = 50;
/// Changes on the first page.
const NEWEST_CHANGES: usize = 10;
/// How often it is said how far it has come, in pages.
const SAID_EVERY: usize = 250;
/// The first page, as links to it say.
const ALL_RUNS: &str = "All runs";

/// What a site is made from.
pub(super) struct Maker<'a> {
    pub(super) global: &'a Global,
    pub(super) output: &'a Output,
    pub(super) args: &'a ReportArgs,
    pub(super) history: &'a History,
    /// By the scenario's id.
    pub(super) judges: BTreeMap<String, Judge>,
    pub(super) baselines: Baselines,
    pub(super) folder: Folder,
}

/// What came of it.
pub(super) struct Published {
    /// In files.
    pub(super) done: Done,
    /// Sessions with a page.
    pub(super) sessions: u64,
    /// Their scenarios.
    pub(super) scenarios: u64,
}

/// A scenario with the places of its pages.
struct Scenario<'a> {
    name: &'a str,
    page: Page,
    badge: String,
    /// Newest first, at least one.
    sessions: Vec<&'a SessionLine>,
    lists: Vec<ListPage<'a>>,
    /// Newest first; none where all runs are heads.
    lineages: Vec<Runs<'a>>,
}

impl Maker<'_> {
    /// Makes what is new of these sessions (newest first; `runs`, newest first, are all that there are), and
    /// removes what the site doesn't have any more.
    pub(super) async fn publish(
        mut self,
        runs: &[RunSummary],
        sittings: &[Sitting],
    ) -> Result<Published, Failure> {
        let paths = sittings.iter().map(|sitting| sitting.page.as_str());
        self.folder.claim(paths)?;
        let mut lines = Vec::with_capacity(sittings.len());
        let mut pages = BTreeMap::new();
        let mut rendered_pages = 0;
        for sitting in sittings {
            let Some((line, is_new)) = self.session(sitting).await? else {
                continue;
            };
            lines.push(line);
            pages.extend(
                sitting
                    .ids()
                    .into_iter()
                    .map(|id| (id, sitting.page.clone())),
            );
            rendered_pages += usize::from(is_new);
            if is_new && rendered_pages.is_multiple_of(SAID_EVERY) {
                let so_far = format::counted(rendered_pages as u64, "session");
                self.output.say(&format!("{so_far} rendered"));
            }
        }
        let sessions: Vec<&SessionLine> = lines.iter().collect();
        let archive = lists(None, &sessions);
        let scenarios = scenarios(runs, &sessions, &pages);
        let others = [places::NO_JEKYLL, places::INDEX, places::FEED];
        let archived = archive.iter().map(|list| list.page.path.as_str());
        let of_scenarios: Vec<String> = scenarios.iter().flat_map(Scenario::paths).collect();
        let of_scenarios_named = of_scenarios.iter().map(String::as_str);
        self.folder
            .claim(others.into_iter().chain(archived).chain(of_scenarios_named))?;

        self.put(places::NO_JEKYLL, "")?;
        let mut changes = Vec::new();
        for scenario in &scenarios {
            changes.extend(self.scenario(scenario, &pages).await?);
        }
        let above = Page {
            label: ALL_RUNS.to_owned(),
            path: places::INDEX.to_owned(),
        };
        for (path, text) in rendered(&archive, &above) {
            self.put(&path, &text)?;
        }
        changes.sort_by_key(|change| Reverse(change.at));
        changes.truncate(NEWEST_CHANGES);
        let changes: Vec<&ChangeLine> = changes.iter().collect();
        let newest = &sessions[..sessions.len().min(NEWEST)];
        self.put(places::FEED, &feed(self.folder.id(), newest, &changes))?;
        let shown: Vec<ScenarioLine<'_>> = scenarios.iter().map(Scenario::line).collect();
        let lists: Vec<Page> = archive.iter().map(|list| list.page.clone()).collect();
        let first = index(&IndexView {
            path: places::INDEX,
            scenarios: &shown,
            changes: &changes,
            sessions: newest,
            all_sessions: sessions.len() as u64,
            lists: &lists,
        });
        self.put(places::INDEX, &first)?;
        Ok(Published {
            sessions: sessions.len() as u64,
            scenarios: scenarios.len() as u64,
            done: self.folder.finish()?,
        })
    }

    /// Puts a page that follows from nothing that is slow to look at, unless it stands as it is.
    fn put(&mut self, path: &str, text: &str) -> Result<(), Failure> {
        let from = digest(text);
        match self.folder.current(path, &from) {
            Some(_) => Ok(()),
            None => self.folder.write(path, text, from, Memo::None),
        }
    }

    /// The page of a session: what the other pages say of it, and whether it was rendered. `None` where a run
    /// of it is damaged: one session takes no site along.
    async fn session(&mut self, sitting: &Sitting) -> Result<Option<(SessionLine, bool)>, Failure> {
        let machine = sitting.runs.first().map_or("", |run| &run.machine_id);
        let baselines = self.baselines.digest(&sitting.scenario, machine)?;
        let judge = self.judges.get(&sitting.scenario);
        let from = digest(&format!(
            "{:?}",
            (
                judge.map(|judge| judge.digest(sitting)),
                baselines,
                sitting.ids()
            )
        ));
        if let Some(Memo::Session(line)) = self.folder.current(&sitting.page, &from) {
            return Ok(Some((line, false)));
        }
        let runs = match self.history.load(&sitting.ids()).await {
            Ok(runs) => runs,
            Err(error @ (StoreError::Corrupt { .. } | StoreError::CorruptColumn { .. })) => {
                self.output.warn(&text::one_line(&format!(
                    "session {} of {} has no page: {error}",
                    sitting.session, sitting.scenario
                )));
                return Ok(None);
            }
            Err(error) => return Err(reading(error)),
        };
        let (page, line) = self.rendered(sitting, runs).await?;
        let memo = Memo::Session(line.clone());
        self.folder.write(&sitting.page, &page, from, memo)?;
        Ok(Some((line, true)))
    }

    async fn rendered(
        &self,
        sitting: &Sitting,
        runs: Vec<Run>,
    ) -> Result<(String, SessionLine), Failure> {
        let places = Places {
            history: Some(self.history),
            baselines: &self.args.baselines,
        };
        let head = Source {
            label: format!("session {}", sitting.session),
            runs,
            baseline: None,
        };
        let saved = Saved::new(&places, head, None, false).await?;
        let judge = self.judges.get(&sitting.scenario);
        let plan = judge.and_then(|judge| judge.plan.as_ref());
        let policy = judge.map(|judge| judge.policy(sitting)).unwrap_or_default();
        let command = CommandLine::new("report")
            .words([&sitting.session])
            .baselines(&self.args.baselines)
            .store(self.global)
            .line();
        let note = if plan.is_some() { ANEW } else { NOT_JUDGED };
        let judged = saved.judge(plan, policy, note, command);
        let input = judged.shown();
        let line = SessionLine::new(&input, &sitting.session, &sitting.page);
        let over_time = format!("{} over time", sitting.scenario);
        let own = places::scenario(&sitting.scenario);
        let way = [
            Way {
                label: ALL_RUNS,
                path: places::INDEX,
            },
            Way {
                label: &over_time,
                path: &own,
            },
        ];
        Ok((session_page(&input, &sitting.page, &way), line))
    }

    /// The pages of a scenario and its badge; gives the changes of what its gates are on.
    async fn scenario(
        &mut self,
        scenario: &Scenario<'_>,
        pages: &BTreeMap<RunId, String>,
    ) -> Result<Vec<ChangeLine>, Failure> {
        self.put(&scenario.badge, &badge(scenario.name, scenario.latest()))?;
        for (path, text) in rendered(&scenario.lists, &scenario.page) {
            self.put(&path, &text)?;
        }
        let judge = self.judges.get(scenario.name);
        let gated = judge.map(Judge::gated).unwrap_or_default();
        let description = judge.map_or_else(String::new, |judge| judge.description().to_owned());
        let lists: Vec<Page> = scenario
            .lists
            .iter()
            .map(|list| list.page.clone())
            .collect();
        let sessions = &scenario.sessions[..scenario.sessions.len().min(NEWEST_OF_SCENARIO)];
        // The newest lineage is on the scenario's own page, which leads to the others.
        let own = ScenarioView {
            path: &scenario.page.path,
            scenario: scenario.name,
            description: &description,
            badge: &scenario.badge,
            latest: Some(scenario.latest()),
            sessions,
            all_sessions: scenario.sessions.len() as u64,
            lists: &lists,
            ..ScenarioView::default()
        };
        let paths = scenario.lineage_paths();
        let mut fingerprints: Option<Vec<Option<Fingerprint>>> = None;
        let mut changes = Vec::new();
        for nth in (0..paths.len().max(1)).rev() {
            let view = match paths.get(nth) {
                Some(path) if nth > 0 => ScenarioView {
                    path: path.as_str(),
                    scenario: scenario.name,
                    ..ScenarioView::default()
                },
                _ => own,
            };
            let runs = scenario.lineages.get(nth);
            let annotations = match runs {
                Some(runs) => self
                    .baselines
                    .annotations(scenario.name, runs.fingerprint)?,
                None => Vec::new(),
            };
            // Runs never change, so that their ids stand for them, their values and their conditions.
            let shown = runs.iter().flat_map(|runs| runs.shown());
            let shown: Vec<_> = shown.map(|run| (run.id, pages.get(&run.id))).collect();
            // What the others differ in is told on the scenario's own page.
            let others = scenario.lineages.iter().filter(|_| nth == 0);
            let others: Vec<_> = others
                .map(|one| (one.newest().id, one.runs.len()))
                .collect();
            let count = runs.map(|runs| runs.runs.len());
            let from = digest(&format!(
                "{:?}",
                (&view, &gated, &annotations, shown, count, others)
            ));
            if let Some(Memo::Changes(known)) = self.folder.current(view.path, &from) {
                changes = known;
                continue;
            }
            if fingerprints.is_none() {
                fingerprints = Some(self.fingerprints(&scenario.lineages).await?);
            }
            let fingerprints = fingerprints.as_deref().unwrap_or_default();
            let lineage = match runs {
                Some(runs) => Some(runs.read(self.history, &gated).await?),
                None => None,
            };
            let lineage = lineage.as_ref().map(|lineage| LineageView {
                lineage,
                gated: &gated,
                pages,
                annotations: &annotations,
            });
            let others = match nth {
                0 => links(&scenario.lineages, &paths, fingerprints),
                _ => Vec::new(),
            };
            changes = lineage.map_or_else(Vec::new, |it| ChangeLine::of(&it, view.path));
            let known = fingerprints.get(nth).and_then(Option::as_ref);
            let text = scenario_page(&ScenarioView {
                conditions: &conditions(known),
                lineage,
                others: &others,
                ..view
            });
            let memo = Memo::Changes(changes.clone());
            self.folder.write(view.path, &text, from, memo)?;
        }
        Ok(changes)
    }

    /// The conditions of each lineage, where its newest run can be read.
    async fn fingerprints(
        &self,
        lineages: &[Runs<'_>],
    ) -> Result<Vec<Option<Fingerprint>>, Failure> {
        let mut fingerprints = Vec::with_capacity(lineages.len());
        for lineage in lineages {
            fingerprints.push(match self.history.get(lineage.newest().id).await {
                Ok(run) => Some(run.fingerprint),
                Err(StoreError::Corrupt { .. }) => None,
                Err(error) => return Err(reading(error)),
            });
        }
        Ok(fingerprints)
    }
}

/// The scenarios of these sessions by name. `runs` are all that there are; both are given newest first.
fn scenarios<'a>(
    runs: &'a [RunSummary],
    sessions: &[&'a SessionLine],
    pages: &BTreeMap<RunId, String>,
) -> Vec<Scenario<'a>> {
    let mut of: BTreeMap<&str, Vec<&SessionLine>> = BTreeMap::new();
    for line in sessions {
        of.entry(&line.scenario).or_default().push(line);
    }
    let mut runs_of: BTreeMap<&str, Vec<&RunSummary>> = BTreeMap::new();
    for run in runs {
        runs_of.entry(&run.scenario).or_default().push(run);
    }
    of.into_iter()
        .map(|(name, sessions)| Scenario {
            name,
            page: Page {
                label: name.to_owned(),
                path: places::scenario(name),
            },
            badge: places::badge(name),
            lists: lists(Some(name), &sessions),
            sessions,
            lineages: lineages(runs_of.remove(name).unwrap_or_default(), pages),
        })
        .collect()
}

impl<'a> Scenario<'a> {
    /// What counts as how it stands: the newest session that is no proposal, if there is one.
    fn latest(&self) -> &'a SessionLine {
        let mut sessions = self.sessions.iter();
        let own = sessions.find(|line| !line.is_proposal);
        own.copied().unwrap_or(self.sessions[0])
    }

    fn line(&self) -> ScenarioLine<'_> {
        ScenarioLine {
            scenario: self.name,
            page: &self.page.path,
            badge: &self.badge,
            sessions: self.sessions.len() as u64,
            latest: self.latest(),
        }
    }

    /// The pages of its lineages. That of the newest is its own.
    fn lineage_paths(&self) -> Vec<String> {
        let path = |(nth, one): (usize, &Runs<'_>)| match nth {
            0 => self.page.path.clone(),
            _ => places::lineage(self.name, one.fingerprint),
        };
        self.lineages.iter().enumerate().map(path).collect()
    }

    /// All its files.
    fn paths(&self) -> Vec<String> {
        let own = [self.page.path.clone(), self.badge.clone()];
        let lists = self.lists.iter().map(|list| list.page.path.clone());
        let lineages = self.lineage_paths();
        own.into_iter().chain(lists).chain(lineages).collect()
    }
}
