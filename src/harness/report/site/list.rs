//! Sessions in a list, which every page shows them in; and pages of nothing else, for those that are older
//! than the first page shows.

use serde::Serialize;

use crate::harness::report::{format, text};

use super::frame::{Frame, Page, named, render};
use super::session::{SessionLine, revision};
use super::standing::Mark;

/// Some of the sessions, of all scenarios or of one.
#[derive(Debug, Clone, Copy)]
pub struct ListView<'a> {
    /// Where the page is, from the site's root.
    pub path: &'a str,
    /// What it lists.
    pub title: &'a str,
    /// Newest first.
    pub sessions: &'a [&'a SessionLine],
    /// The pages above it, the first one first.
    pub way: &'a [Page],
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
    about: String,
    rows: Vec<Row>,
    older: Option<Page>,
    newer: Option<Page>,
}

/// The page of a list.
pub fn list(view: &ListView<'_>) -> String {
    let count = view.sessions.len() as u64;
    render(
        "site/list.html",
        &Frame::new(view.path, view.title, view.way),
        &List {
            about: format!("{}, newest first.", format::counted(count, "session")),
            rows: rows(view.sessions),
            older: view.older.map(Page::shown),
            newer: view.newer.map(Page::shown),
        },
    )
}

/// Sessions as rows.
pub(super) fn rows(sessions: &[&SessionLine]) -> Vec<Row> {
    sessions.iter().map(|line| row(line)).collect()
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
