//! The page of a scenario: how it stands, how its metrics went, and its sessions.

use serde::Serialize;

use crate::harness::report::{format, text};

use super::frame::{Frame, Page, named, render};
use super::list::{Row, row, rows};
use super::session::{SessionLine, minute, revision};
use super::trends::{LineageView, Trends};

/// What the page of a scenario shows, or that of a lineage which is not its newest.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScenarioView<'a> {
    /// Where the page is, from the site's root.
    pub path: &'a str,
    /// The pages above it, the first one first.
    pub way: &'a [Page],
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
        &Frame::new(view.path, &title, view.way),
        &Shown {
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
            lists: view.lists.iter().map(Page::shown).collect(),
            others: view.others.iter().map(other).collect(),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::super::fixture::{HOSTILE, hostile, is_harmless, session};
    use super::super::trends::{Annotation, ChangeLine};
    use super::*;
    use crate::harness::model::{Direction, RunId, Unit};
    use crate::harness::report::history::{Detail, Lineage, MetricTrend, RunLine};

    /// Thirty runs, 20 % slower from the twentieth on, with so many metrics of that name.
    fn lineage(name: &str, metrics: usize) -> Lineage {
        let runs: Vec<RunLine> = (0..30)
            .map(|number| RunLine {
                id: RunId(uuid::Uuid::from_u128(number)),
                started_at: Timestamp::from_second(1_790_000_000 + number as i64 * 86_400)
                    .unwrap_or_default(),
                session: "s".into(),
                arm: None,
                duration_ns: 1,
                revision: Some(format!("{number:07}")),
                valid: true,
            })
            .collect();
        let level = |at: usize| (if at < 20 { 50e6 } else { 60e6 }) + 1e5 * (at % 3) as f64;
        let values: Vec<(&RunLine, f64)> = (0..)
            .map(level)
            .zip(&runs)
            .map(|(value, run)| (run, value))
            .collect();
        let trend = |at: usize| {
            let name = format!("{name}{at:04}");
            MetricTrend::new(name, Unit::Nanoseconds, Direction::Lower, &values)
        };
        let metrics = (0..metrics).filter_map(trend).collect();
        Lineage {
            scenario: name.into(),
            machine: "m".into(),
            fingerprint: "f".into(),
            runs: 30,
            valid_runs: 30,
            first_started_at: runs[0].started_at,
            last_started_at: runs[29].started_at,
            revision: None,
            detail: Some(Detail {
                runs: runs.iter().rev().cloned().collect(),
                metrics,
            }),
        }
    }

    fn view<'a>(
        lineage: &'a Lineage,
        gated: &'a [String],
        pages: &'a BTreeMap<RunId, String>,
        annotations: &'a [Annotation],
    ) -> LineageView<'a> {
        LineageView {
            lineage,
            gated,
            pages,
            annotations,
        }
    }

    #[test]
    fn names_are_text() {
        let lineage = lineage(HOSTILE, 30);
        let latest = hostile();
        let notes = [Annotation {
            at: lineage.last_started_at,
            metric: Some(format!("{HOSTILE}0001")),
            text: HOSTILE.to_owned(),
        }];
        let page = scenario(&ScenarioView {
            path: "scenarios/s/index.html",
            scenario: HOSTILE,
            description: HOSTILE,
            latest: Some(&latest),
            conditions: &[("Machine", HOSTILE.to_owned())],
            lineage: Some(view(&lineage, &[], &BTreeMap::new(), &notes)),
            sessions: &[&latest],
            all_sessions: 1,
            lists: &[Page {
                label: HOSTILE.to_owned(),
                path: "scenarios/s/archive/2026-09.html".to_owned(),
            }],
            others: &[LineageLink {
                path: "scenarios/s/trends/f.html".to_owned(),
                fingerprint: HOSTILE.to_owned(),
                runs: 1,
                at: Timestamp::UNIX_EPOCH,
                revision: Some(HOSTILE.to_owned()),
                differences: HOSTILE.to_owned(),
            }],
            ..ScenarioView::default()
        });
        is_harmless(&page);
        // 24 are drawn and the others listed.
        assert_eq!(page.matches("<figure").count(), 24);
        assert_eq!(page.matches("class=\"sparkline\"").count(), 6);
    }

    #[test]
    fn gated_metrics_come_first_and_their_changes_are_told() {
        let lineage = lineage("m", 40);
        let gated = ["m0039".to_owned(), "m003*".to_owned()];
        let pages = BTreeMap::from([(RunId(uuid::Uuid::from_u128(29)), "sessions/x".to_owned())]);
        let view = view(&lineage, &gated, &pages, &[]);
        let own = Page {
            label: "m".to_owned(),
            path: "scenarios/m/index.html".to_owned(),
        };
        let page = scenario(&ScenarioView {
            path: "scenarios/m/trends/f.html",
            way: &[own],
            scenario: "m",
            lineage: Some(view),
            ..ScenarioView::default()
        });
        let titles: Vec<&str> = page
            .split("<figcaption><strong>")
            .skip(1)
            .filter_map(|rest| rest.split('<').next())
            .collect();
        assert_eq!(titles[..3], ["m0039", "m0030", "m0031"]);
        assert!(page.contains("href=\"../../../sessions/x\""), "{page}");
        // Its page is not the scenario's own.
        let up = "href=\"../../../scenarios/m/index.html\"";
        assert!(page.contains(up) && page.contains("under other conditions"));

        let changes = ChangeLine::of(&view, "page");
        assert_eq!(changes.len(), 10);
        let first = &changes[0];
        assert_eq!((first.metric.as_str(), first.is_worse), ("m0039", true));
        assert_eq!(first.revision.as_deref(), Some("0000020"));
        assert_eq!(
            ChangeLine::of(&LineageView { gated: &[], ..view }, "page"),
            []
        );
    }

    #[test]
    fn a_scenario_without_trends_says_why() {
        let latest = session("m", 1);
        let page = scenario(&ScenarioView {
            path: "scenarios/m/index.html",
            scenario: "m",
            latest: Some(&latest),
            sessions: &[&latest],
            all_sessions: 1,
            ..ScenarioView::default()
        });
        assert!(page.contains("all runs are heads of comparisons"), "{page}");
        assert!(page.contains("class=\"mark pass\"") && page.contains("The limit holds."));
    }
}
