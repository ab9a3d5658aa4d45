//! Sessions in a list, which every page shows them in; and pages of nothing else, for those that are older
//! than the first page shows.

use serde::Serialize;

use crate::harness::report::{format, text};

use super::frame::{Frame, render};
use super::session::{SessionLine, revision};
use super::standing::Mark;

/// A page of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// What a link to it says; hostile.
    pub label: String,
    /// Where it is, from the site's root.
    pub path: String,
}

/// Some of the sessions, of all scenarios or of one.
#[derive(Debug, Clone, Copy)]
pub struct ListView<'a> {
    /// Where the page is, from the site's root.
    pub path: &'a str,
    /// What it lists.
    pub title: &'a str,
    /// Newest first.
    pub sessions: &'a [&'a SessionLine],
    /// The page that it belongs to.
    pub above: &'a Page,
    /// The list of the sessions before these.
    pub older: Option<&'a Page>,
    /// The list of the sessions after these.
    pub newer: Option<&'a Page>,
}

/// A session as a row of a table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    page: String,
    at: String,
    session: String,
    scenario: String,
    mark: Mark,
    headline: String,
    revision: String,
    runs: String,
    figure: String,
    figure_name: String,
    is_proposal: bool,
}

#[derive(Debug, Serialize)]
struct List {
    frame: Frame,
    title: String,
    about: String,
    rows: Vec<Row>,
    above: Page,
    older: Option<Page>,
    newer: Option<Page>,
}

/// The page of a list.
pub fn list(view: &ListView<'_>) -> String {
    let count = view.sessions.len() as u64;
    render(
        "site/list.html",
        &List {
            frame: Frame::new(view.path, view.title),
            title: text::shown(view.title, 120),
            about: format!("{}, newest first.", format::counted(count, "session")),
            rows: rows(view.sessions),
            above: cleaned(view.above),
            older: view.older.map(cleaned),
            newer: view.newer.map(cleaned),
        },
    )
}

/// Sessions as rows.
pub(super) fn rows(sessions: &[&SessionLine]) -> Vec<Row> {
    sessions.iter().map(|line| row(line)).collect()
}

/// A link whose words may be shown.
pub(super) fn cleaned(page: &Page) -> Page {
    Page {
        label: named(&page.label),
        path: page.path.clone(),
    }
}

/// A scenario's name. Numbers of other tools have none.
pub(super) fn named(scenario: &str) -> String {
    match text::shown(scenario, 60) {
        empty if empty.trim().is_empty() => "(no scenario)".to_owned(),
        name => name,
    }
}

/// A session as a row.
pub(super) fn row(line: &SessionLine) -> Row {
    let figure = line.figure.as_ref();
    Row {
        page: line.page.clone(),
        at: line.minute(),
        session: text::shown(&line.session, 40),
        scenario: named(&line.scenario),
        mark: line.standing.mark(),
        headline: text::shown(&line.headline, 200),
        revision: revision(line.revision.as_deref()),
        runs: format::count(line.runs),
        figure: format::or_dash(figure, |figure| text::shown(&figure.value, 40)),
        figure_name: figure.map_or_else(String::new, |figure| text::shown(&figure.metric, 60)),
        is_proposal: line.is_proposal,
    }
}
