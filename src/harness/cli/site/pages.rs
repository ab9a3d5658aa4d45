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
    Annotation, ChangeLine, IndexView, LineageView, Page, ScenarioLine, ScenarioView, SessionLine,
    badge, feed, index, scenario as scenario_page, session_page,
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

/// What the pages of a scenario's lineages have in common.
struct About<'a> {
    /// The metrics that its gates are on.
    gated: Vec<String>,
    /// By the fingerprint's id.
    annotations: BTreeMap<String, Vec<Annotation>>,
    /// The pages of the sessions by their runs.
    pages: &'a BTreeMap<RunId, String>,
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
        for (path, text) in rendered(&archive, &[first_page()]) {
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
    /// of it is damaged or was just removed.
    async fn session(&mut self, sitting: &Sitting) -> Result<Option<(SessionLine, bool)>, Failure> {
        let machine = sitting.runs.first().map_or("", |run| &run.machine_id);
        let baselines = self.baselines.digest(&sitting.scenario, machine)?;
        let judge = self.judges.get(&sitting.scenario);
        let from = digest(&format!(
            "{:?}",
            (
                judge.map(|judge| judge.digest(sitting)),
                baselines,
                sitting.name(),
                sitting.ids()
            )
        ));
        if let Some(Memo::Session(line)) = self.folder.current(&sitting.page, &from) {
            return Ok(Some((line, false)));
        }
        let loaded = self.history.load(&sitting.ids()).await;
        if let Err(error @ StoreError::Corrupt { .. }) = &loaded {
            self.output.warn(&text::one_line(&format!(
                "session {} of {} has no page: {error}",
                sitting.session, sitting.scenario
            )));
        }
        let Some(runs) = found(loaded)? else {
            return Ok(None);
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
        let command = match sitting.name() {
            Some(name) => CommandLine::new("report")
                .words([name])
                .baselines(&self.args.baselines),
            // Its runs, to be named one by one.
            None => CommandLine::new("list").option("--runs", [&sitting.session]),
        };
        let command = command.store(self.global).line();
        let note = if plan.is_some() { ANEW } else { NOT_JUDGED };
        let judged = saved.judge(plan, policy, note, command);
        let input = judged.shown();
        let line = SessionLine::new(&input, &sitting.session, &sitting.page);
        let way = [first_page(), page_of(&sitting.scenario)];
        Ok((session_page(&input, &sitting.page, &way), line))
    }

    /// The pages of a scenario and its badge; gives the changes of what its gates are on.
    async fn scenario(
        &mut self,
        scenario: &Scenario<'_>,
        pages: &BTreeMap<RunId, String>,
    ) -> Result<Vec<ChangeLine>, Failure> {
        self.put(&scenario.badge, &badge(scenario.name, scenario.latest()))?;
        let way = [first_page(), scenario.page.clone()];
        for (path, text) in rendered(&scenario.lists, &way) {
            self.put(&path, &text)?;
        }
        let judge = self.judges.get(scenario.name);
        let about = About {
            gated: judge.map(Judge::gated).unwrap_or_default(),
            annotations: self.baselines.annotations(scenario.name)?,
            pages,
        };
        let description = judge.map_or_else(String::new, |judge| judge.description().to_owned());
        let paths = scenario.lineage_paths();
        for (nth, path) in paths.iter().enumerate().skip(1) {
            let older = ScenarioView {
                path,
                way: &way,
                scenario: scenario.name,
                ..ScenarioView::default()
            };
            let lineages = &scenario.lineages[nth..=nth];
            self.trends(older, lineages, &[], &about).await?;
        }
        // It leads to the others.
        let lists: Vec<Page> = scenario
            .lists
            .iter()
            .map(|list| list.page.clone())
            .collect();
        let own = ScenarioView {
            path: &scenario.page.path,
            way: &way[..1],
            scenario: scenario.name,
            description: &description,
            badge: &scenario.badge,
            latest: Some(scenario.latest()),
            sessions: &scenario.sessions[..scenario.sessions.len().min(NEWEST_OF_SCENARIO)],
            all_sessions: scenario.sessions.len() as u64,
            lists: &lists,
            ..ScenarioView::default()
        };
        self.trends(own, &scenario.lineages, &paths, &about).await
    }

    /// A page with the trends of the first of these lineages, if there is one, and links to the others, whose pages
    /// are at `paths`; gives the changes of what gates are on.
    async fn trends(
        &mut self,
        view: ScenarioView<'_>,
        lineages: &[Runs<'_>],
        paths: &[String],
        about: &About<'_>,
    ) -> Result<Vec<ChangeLine>, Failure> {
        let own = lineages.first();
        let annotations = own.and_then(|own| about.annotations.get(own.fingerprint));
        let annotations = annotations.map_or(&[][..], Vec::as_slice);
        // Runs never change, so that their ids stand for them, their values and their conditions.
        let shown = own.iter().flat_map(|own| own.shown());
        let shown: Vec<_> = shown
            .map(|run| (run.id, about.pages.get(&run.id)))
            .collect();
        let newest: Vec<_> = lineages
            .iter()
            .map(|one| (one.newest().id, one.runs.len()))
            .collect();
        let from = digest(&format!(
            "{:?}",
            (&view, &about.gated, annotations, shown, newest)
        ));
        if let Some(Memo::Changes(changes)) = self.folder.current(view.path, &from) {
            return Ok(changes);
        }
        let lineage = match own {
            Some(own) => Some(own.read(self.history, &about.gated).await?),
            None => None,
        };
        let lineage = lineage.as_ref().map(|lineage| LineageView {
            lineage,
            gated: &about.gated,
            pages: about.pages,
            annotations,
        });
        let fingerprints = self.fingerprints(lineages, about.pages).await?;
        let known = fingerprints.first().and_then(Option::as_ref);
        let text = scenario_page(&ScenarioView {
            conditions: &conditions(known),
            lineage,
            others: &links(lineages, paths, &fingerprints),
            ..view
        });
        let changes = lineage.map_or_else(Vec::new, |it| ChangeLine::of(&it, view.path));
        let memo = Memo::Changes(changes.clone());
        self.folder.write(view.path, &text, from, memo)?;
        Ok(changes)
    }

    /// The conditions of each lineage, as its newest run that has a page says them.
    async fn fingerprints(
        &self,
        lineages: &[Runs<'_>],
        pages: &BTreeMap<RunId, String>,
    ) -> Result<Vec<Option<Fingerprint>>, Failure> {
        let mut fingerprints = Vec::with_capacity(lineages.len());
        for lineage in lineages {
            let mut runs = lineage.runs.iter();
            let readable = runs.find(|run| pages.contains_key(&run.id));
            let run = match readable {
                Some(run) => found(self.history.get(run.id).await)?,
                None => None,
            };
            fingerprints.push(run.map(|run| run.fingerprint));
        }
        Ok(fingerprints)
    }
}

/// What the history says of runs that it has just named. `None` where one of them is damaged, which takes no site
/// along, or was removed meanwhile.
pub(super) fn found<T>(asked: Result<T, StoreError>) -> Result<Option<T>, Failure> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::Corrupt { .. } | StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(reading(error)),
    }
}

fn first_page() -> Page {
    Page {
        label: ALL_RUNS.to_owned(),
        path: places::INDEX.to_owned(),
    }
}

fn page_of(scenario: &str) -> Page {
    Page {
        label: scenario.to_owned(),
        path: places::scenario(scenario),
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
            page: page_of(name),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody may prune the history while pages are made of it.
    #[test]
    fn a_run_that_was_removed_meanwhile_is_no_failure() {
        let (id, location) = ("7".to_owned(), "h.db".to_owned());
        let gone = found::<()>(Err(StoreError::NotFound { id, location }));
        assert!(matches!(gone, Ok(None)));
        let lost = found::<()>(Err(StoreError::Database {
            location: "h.db".to_owned(),
            doing: "reading runs",
            source: sqlx::Error::PoolClosed,
        }));
        assert!(lost.is_err());
    }
}
