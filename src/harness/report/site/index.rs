//! The first page: how each scenario stands, what changed last, the newest sessions.

use serde::Serialize;

use crate::harness::report::format;

use super::frame::{Frame, Page, named, render};
use super::list::{Row, row, rows};
use super::session::SessionLine;
use super::trends::{ChangeLine, ChangeRow};

/// Scenarios that stand beside the list as links; all of them stand in the table.
const MAX_LINKS: usize = 40;

/// What the first page shows.
#[derive(Debug, Clone, Copy)]
pub struct IndexView<'a> {
    /// Where it is, from the site's root.
    pub path: &'a str,
    /// In any order.
    pub scenarios: &'a [ScenarioLine<'a>],
    /// The newest changes of metrics that gates are on, newest first.
    pub changes: &'a [&'a ChangeLine],
    /// The newest sessions, newest first.
    pub sessions: &'a [&'a SessionLine],
    /// How many there are.
    pub all_sessions: u64,
    /// The lists of all of them, newest first.
    pub lists: &'a [Page],
}

/// A scenario as the first page shows it.
#[derive(Debug, Clone, Copy)]
pub struct ScenarioLine<'a> {
    /// Its id; may be empty.
    pub scenario: &'a str,
    /// Its page, from the site's root.
    pub page: &'a str,
    /// Its badge, from the site's root.
    pub badge: &'a str,
    /// How many sessions it has.
    pub sessions: u64,
    /// What counts as how it stands.
    pub latest: &'a SessionLine,
}

#[derive(Debug, Serialize)]
struct Index {
    about: String,
    /// The first of them, for the links.
    links: Vec<Page>,
    scenarios: Vec<Scenario>,
    changes: Vec<ChangeRow>,
    rows: Vec<Row>,
    all_sessions: String,
    lists: Vec<Page>,
}

#[derive(Debug, Serialize)]
struct Scenario {
    name: String,
    page: String,
    badge: String,
    sessions: String,
    latest: Row,
}

/// The page.
pub fn index(view: &IndexView<'_>) -> String {
    let link = |line: &ScenarioLine<'_>| Page {
        label: named(line.scenario),
        path: line.page.to_owned(),
    };
    let mut scenarios = view.scenarios.to_vec();
    scenarios.sort_by_key(|line| (line.latest.standing.rank(), line.scenario));
    let counted = |n: u64, noun| format::counted(n, noun);
    render(
        "site/index.html",
        &Frame::new(view.path, "Runs", &[]),
        &Index {
            about: match view.all_sessions {
                0 => "The history holds no runs.".to_owned(),
                n => format!(
                    "{} of {}.",
                    counted(n, "session"),
                    counted(view.scenarios.len() as u64, "scenario")
                ),
            },
            links: view.scenarios.iter().take(MAX_LINKS).map(link).collect(),
            scenarios: scenarios.iter().map(scenario).collect(),
            changes: view
                .changes
                .iter()
                .map(|line| ChangeRow::of(line))
                .collect(),
            rows: rows(view.sessions),
            all_sessions: counted(view.all_sessions, "session"),
            lists: view.lists.iter().map(Page::shown).collect(),
        },
    )
}

fn scenario(line: &ScenarioLine<'_>) -> Scenario {
    Scenario {
        name: named(line.scenario),
        page: line.page.to_owned(),
        badge: line.badge.to_owned(),
        sessions: format::count(line.sessions),
        latest: row(line.latest),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{HOSTILE, hostile, is_harmless, session};
    use super::super::standing::Standing;
    use super::*;
    use crate::harness::gate::Outcome;

    fn line(latest: &SessionLine) -> ScenarioLine<'_> {
        ScenarioLine {
            scenario: &latest.scenario,
            page: "scenarios/s/index.html",
            badge: "badges/s.svg",
            sessions: 1,
            latest,
        }
    }

    #[test]
    fn names_are_text() {
        let latest = hostile();
        let months = [Page {
            label: HOSTILE.to_owned(),
            path: "archive/2026-09.html".to_owned(),
        }];
        is_harmless(&index(&IndexView {
            path: "index.html",
            scenarios: &[line(&latest)],
            changes: &[],
            sessions: &[&latest],
            all_sessions: 1,
            lists: &months,
        }));
    }

    #[test]
    fn what_failed_is_seen_first() {
        let mut lines = ["a", "b", "c"].map(|name| session(name, 1));
        lines[1].standing = Standing::Judged(Outcome::Invalid);
        lines[2].standing = Standing::Judged(Outcome::Fail);
        let shown = lines.each_ref().map(line);
        let page = index(&IndexView {
            path: "index.html",
            scenarios: &shown,
            changes: &[],
            sessions: &[],
            all_sessions: 3,
            lists: &[],
        });
        let words = [
            "class=\"mark fail\"",
            "class=\"mark invalid\"",
            "class=\"mark pass\"",
        ];
        let places = words.map(|word| page.find(word));
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{places:?}"
        );
        assert!(page.contains("3 sessions of 3 scenarios."), "{page}");
    }

    #[test]
    fn nothing_is_a_page_too() {
        let page = index(&IndexView {
            path: "index.html",
            scenarios: &[],
            changes: &[],
            sessions: &[],
            all_sessions: 0,
            lists: &[],
        });
        assert!(page.contains("The history holds no runs"), "{page}");
    }
}
