//! The page of a scenario: how it stands, how its metrics went, and its sessions.

use serde::Serialize;

use crate::harness::report::{format, text};

use super::frame::{Frame, render};
use super::list::{Page, Row, cleaned, named, row, rows};
use super::session::{SessionLine, minute, revision};
use super::trends::{LineageView, Trends};

/// What the page of a scenario shows, or that of a lineage which is not its newest.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScenarioView<'a> {
    /// Where the page is, from the site's root.
    pub path: &'a str,
    /// The scenario's id; may be empty.
    pub scenario: &'a str,
    /// Its description; may be empty.
    pub description: &'a str,
    /// The badge, from the site's root.
    pub badge: &'a str,
    /// What counts as how it stands; `None` on the page of another lineage.
    pub latest: Option<&'a SessionLine>,
    /// The conditions under which the lineage was measured, by name.
    pub conditions: &'a [(&'static str, String)],
    /// The lineage whose trends are shown; `None` where all runs are heads.
    pub lineage: Option<LineageView<'a>>,
    /// The newest sessions, newest first; none on the page of another lineage.
    pub sessions: &'a [&'a SessionLine],
    /// How many there are.
    pub all_sessions: u64,
    /// The lists of all of them, newest first.
    pub lists: &'a [Page],
    /// The other lineages, newest first.
    pub others: &'a [LineageLink],
}

/// A lineage with a page of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct LineageLink {
    /// Its page, from the site's root.
    pub path: String,
    /// The fingerprint's id.
    pub fingerprint: String,
    /// How many runs it has.
    pub runs: u64,
    /// When the last of them started.
    pub at: jiff::Timestamp,
    /// What it measured.
    pub revision: Option<String>,
    /// In what its conditions differ from those of the lineage after it; empty where that is not known.
    pub differences: String,
}

#[derive(Debug, Serialize)]
struct Shown {
    frame: Frame,
    scenario: String,
    description: String,
    badge: String,
    latest: Option<Row>,
    facts: Vec<Fact>,
    trends: Option<Trends>,
    rows: Vec<Row>,
    all_sessions: String,
    lists: Vec<Page>,
    others: Vec<Other>,
    /// Whether it is the page of another lineage than the newest.
    is_other: bool,
    /// The page of the scenario itself.
    up: &'static str,
}

#[derive(Debug, Serialize)]
struct Fact {
    label: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
struct Other {
    path: String,
    fingerprint: String,
    runs: String,
    at: String,
    revision: String,
    differences: String,
}

/// The page.
pub fn scenario(view: &ScenarioView<'_>) -> String {
    let name = named(view.scenario);
    let title = match view.latest {
        Some(line) => format!("{}: {name}", line.standing.mark().word),
        None => name.clone(),
    };
    render(
        "site/scenario.html",
        &Shown {
            frame: Frame::new(view.path, &title),
            scenario: name,
            description: text::shown(view.description, 600),
            badge: view.badge.to_owned(),
            latest: view.latest.map(row),
            facts: view
                .conditions
                .iter()
                .map(|(label, value)| Fact {
                    label,
                    value: text::shown(value, 80),
                })
                .collect(),
            trends: view.lineage.as_ref().map(Trends::new),
            rows: rows(view.sessions),
            all_sessions: format::counted(view.all_sessions, "session"),
            lists: view.lists.iter().map(cleaned).collect(),
            others: view.others.iter().map(other).collect(),
            is_other: view.latest.is_none(),
            up: "../index.html",
        },
    )
}

fn other(link: &LineageLink) -> Other {
    Other {
        path: link.path.clone(),
        fingerprint: text::shown(&link.fingerprint, 16),
        runs: format::count(link.runs),
        at: minute(link.at),
        revision: revision(link.revision.as_deref()),
        differences: match link.differences.as_str() {
            "" => "–".to_owned(),
            clauses => text::shown(clauses, 300),
        },
    }
}
