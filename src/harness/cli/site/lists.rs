//! Lists of all sessions, a month each, in parts that stay as they are while others come: a list that counts
//! its pages from the newest would change all of them with each session.

use std::collections::BTreeMap;

use crate::harness::report::site::{ListView, Page, SessionLine, list};

use super::places;

/// Sessions on a page.
const PER_PAGE: usize = 200;

/// A page of a list.
#[derive(Debug)]
pub(super) struct ListPage<'a> {
    /// It, as links to it say.
    pub(super) page: Page,
    title: String,
    /// Newest first.
    sessions: Vec<&'a SessionLine>,
}

/// The lists of sessions that are given newest first, of all scenarios or of one; the newest first.
pub(super) fn lists<'a>(scenario: Option<&str>, sessions: &[&'a SessionLine]) -> Vec<ListPage<'a>> {
    let mut months: BTreeMap<String, Vec<&SessionLine>> = BTreeMap::new();
    for line in sessions.iter().rev() {
        let month = line.at.strftime("%Y-%m").to_string();
        months.entry(month).or_default().push(line);
    }
    let mut pages = Vec::new();
    for (month, oldest_first) in &months {
        for (part, sessions) in (1..).zip(oldest_first.chunks(PER_PAGE)) {
            let label = match part {
                1 => month.clone(),
                part => format!("{month} ({part})"),
            };
            let of = scenario.map_or_else(String::new, |scenario| format!("{scenario}: "));
            pages.push(ListPage {
                title: format!("{of}sessions of {label}"),
                page: Page {
                    label,
                    path: places::list(scenario, month, part),
                },
                sessions: sessions.iter().rev().copied().collect(),
            });
        }
    }
    pages.reverse();
    pages
}

/// The pages of the lists as text, below the pages of `way`, in the order in which they are written: each leads to
/// one that was written before it, or that was there.
pub(super) fn rendered(pages: &[ListPage<'_>], way: &[Page]) -> Vec<(String, String)> {
    let rendered = pages.iter().enumerate().map(|(nth, one)| {
        let newer = nth.checked_sub(1).and_then(|newer| pages.get(newer));
        let text = list(&ListView {
            path: &one.page.path,
            title: &one.title,
            sessions: &one.sessions,
            way,
            older: pages.get(nth + 1).map(|older| &older.page),
            newer: newer.map(|newer| &newer.page),
        });
        (one.page.path.clone(), text)
    });
    rendered.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::harness::report::site::Standing;

    fn line(number: i64) -> SessionLine {
        SessionLine {
            page: format!("sessions/00/s~{number}.html"),
            scenario: "s".into(),
            session: number.to_string(),
            // Every hour from 2026-09-21 on.
            at: Timestamp::from_second(1_790_000_000 + number * 3600).unwrap(),
            runs: 1,
            revision: None,
            is_proposal: false,
            standing: Standing::NotJudged,
            headline: String::new(),
            figure: None,
        }
    }

    #[test]
    fn a_new_session_changes_the_newest_list_only() {
        let all: Vec<SessionLine> = (0..701).map(line).collect();
        let of = |count: usize| {
            let newest_first: Vec<&SessionLine> = all[..count].iter().rev().collect();
            rendered(&lists(None, &newest_first), &[])
        };
        let (before, after) = (of(700), of(701));
        let paths: Vec<&str> = after.iter().map(|(path, _)| path.as_str()).collect();
        // September has 226 hours from then on, October the other 475.
        let expected = ["2026-10-3", "2026-10-2", "2026-10", "2026-09-2", "2026-09"];
        assert_eq!(paths, expected.map(|name| format!("archive/{name}.html")));
        assert_eq!(before[1..], after[1..]);
        assert_ne!(before[0], after[0]);
        let rows: usize = after
            .iter()
            .map(|(_, text)| text.matches("sessions/00/s~").count())
            .sum();
        assert_eq!(rows, 701);
    }
}
