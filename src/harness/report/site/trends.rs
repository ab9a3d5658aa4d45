//! The metrics of one lineage over its runs: plots, the same as tables, and where they changed.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::harness::compare::RUNS_FOR_CHANGES;
use crate::harness::model::{RunId, Unit};
use crate::harness::report::format::{self, value};
use crate::harness::report::history::{DatedChange, Lineage, MetricTrend, RunLine};
use crate::harness::report::plots::{Level, Line, Role, Trend, TrendPoint, trend};
use crate::harness::report::text;
use crate::harness::scenario::catalogue;

use super::frame::named;
use super::session::{minute, revision};

/// So many metrics are drawn: with a table each, more would be a page of megabytes.
const MAX_PLOTS: usize = 24;
/// So many of the others are listed.
const MAX_LISTED: usize = 400;
/// Changes that a page lists, the newest: more would push the plots out of sight.
const MAX_CHANGES: usize = 15;
/// Characters of a note beside a line of a plot.
const NOTE_CHARS: usize = 24;

/// A lineage with what belongs to its trends.
#[derive(Debug, Clone, Copy)]
pub struct LineageView<'a> {
    /// With its detail; without it there is nothing to show.
    pub lineage: &'a Lineage,
    /// Names of metrics, perhaps with a `*`, that the scenario's gates are on, in their order: those come
    /// first.
    pub gated: &'a [String],
    /// The pages of the sessions that have one, from the site's root, by their runs.
    pub pages: &'a BTreeMap<RunId, String>,
    /// What else happened, oldest first.
    pub annotations: &'a [Annotation],
}

/// Something that happened and is no change of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// When.
    pub at: Timestamp,
    /// The metric that it concerns; `None` for all of them.
    pub metric: Option<String>,
    /// What; hostile.
    pub text: String,
}

/// A change of a metric that a gate is on. It is reported and never judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeLine {
    /// The scenario's id.
    pub scenario: String,
    /// The metric's path.
    pub metric: String,
    /// The first run after it.
    pub run: RunId,
    /// When that run started.
    pub at: Timestamp,
    /// What that run measured.
    pub revision: Option<String>,
    /// The level before it.
    pub before: String,
    /// The level after it.
    pub after: String,
    /// How much worse that is, signed.
    pub effect: String,
    /// Whether it is worse.
    pub is_worse: bool,
    /// The page with its plot, from the site's root.
    pub page: String,
}

impl ChangeLine {
    /// Those of a lineage whose trends are at `page`, newest first.
    pub fn of(view: &LineageView<'_>, page: &str) -> Vec<Self> {
        let is_gated = |metric: &MetricTrend| view.rank(metric) < view.gated.len();
        changes(view)
            .into_iter()
            .filter(|(metric, _)| is_gated(metric))
            .map(|(metric, change)| Self {
                scenario: view.lineage.scenario.clone(),
                metric: metric.name.clone(),
                run: change.run,
                at: change.started_at,
                revision: change.revision.clone(),
                before: value(&metric.unit, change.before),
                after: value(&metric.unit, change.after),
                effect: metric.shown_effect(Some(change.effect)),
                is_worse: change.effect > 0.0,
                page: page.to_owned(),
            })
            .collect()
    }
}

/// What a template lays out of a lineage.
#[derive(Debug, Serialize)]
pub(super) struct Trends {
    /// How many runs it rests on, in a sentence.
    about: String,
    changes: Vec<ChangeRow>,
    /// Why there are no changes, or that there are more.
    changes_note: String,
    /// What else happened, newest first.
    notes: Vec<NoteRow>,
    plots: Vec<Plot>,
    others: Vec<OtherRow>,
    /// That there are more.
    others_note: String,
}

/// A change as a row of a table.
#[derive(Debug, Serialize)]
pub(super) struct ChangeRow {
    pub(super) scenario: String,
    pub(super) metric: String,
    pub(super) since: String,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) effect: String,
    /// `bad`, `good` or `plain`.
    pub(super) class: &'static str,
    /// `worse`, `better` or `–`.
    pub(super) word: &'static str,
    pub(super) revision: String,
    /// What the last run before it measured.
    pub(super) revision_before: String,
    /// Where it is shown, from the site's root; may be empty.
    pub(super) page: String,
}

/// An annotation.
#[derive(Debug, Serialize)]
struct NoteRow {
    at: String,
    metric: String,
    text: String,
}

/// A metric with its plot and the same as a table.
#[derive(Debug, Serialize)]
struct Plot {
    /// For links: names are hostile, numbers are not.
    id: String,
    name: String,
    /// What it says, in a sentence.
    about: String,
    svg: String,
    rows: Vec<PointRow>,
}

/// What one run says.
#[derive(Debug, Serialize)]
struct PointRow {
    at: String,
    value: String,
    revision: String,
    /// The page of its session, from the site's root; empty where it has none.
    page: String,
}

/// A metric that is not drawn.
#[derive(Debug, Serialize)]
struct OtherRow {
    name: String,
    sparkline: String,
    first: String,
    median: String,
    last: String,
    effect: String,
}

impl LineageView<'_> {
    /// The place of the first gate on the metric; their number where there is none.
    fn rank(&self, metric: &MetricTrend) -> usize {
        let mut gated = self.gated.iter();
        gated
            .position(|glob| catalogue::matches(glob, &metric.name))
            .unwrap_or(self.gated.len())
    }
}

impl Trends {
    /// Those of a lineage.
    pub(super) fn new(view: &LineageView<'_>) -> Self {
        let detail = view.lineage.detail.as_ref();
        let runs: BTreeMap<RunId, &RunLine> = detail
            .iter()
            .flat_map(|detail| &detail.runs)
            .map(|run| (run.id, run))
            .collect();
        let metrics = detail.iter().flat_map(|detail| &detail.metrics);
        let mut metrics: Vec<&MetricTrend> = metrics.collect();
        // What matters to the scenario comes first, then what moved.
        metrics.sort_by_key(|metric| (view.rank(metric), metric.changes.is_empty(), &metric.name));
        let (drawn, others) = metrics.split_at(metrics.len().min(MAX_PLOTS));
        let found = changes(view);
        let is_searched = drawn.iter().any(|metric| metric.searched_runs.is_some());
        Self {
            about: about(view.lineage, runs.len()),
            changes_note: match found.len() {
                0 if !is_searched => format!(
                    "Changes are looked for in {RUNS_FOR_CHANGES} valid runs or more under the same conditions."
                ),
                0 => "None was found.".to_owned(),
                n if n > MAX_CHANGES => format!(
                    "The newest {MAX_CHANGES} of {} changes.",
                    format::count(n as u64)
                ),
                _ => String::new(),
            },
            changes: found
                .iter()
                .take(MAX_CHANGES)
                .map(|(metric, change)| ChangeRow::new(metric, change))
                .collect(),
            notes: view.annotations.iter().rev().map(NoteRow::new).collect(),
            plots: drawn
                .iter()
                .enumerate()
                .filter_map(|(at, metric)| Plot::new(at, metric, &runs, view))
                .collect(),
            others: others
                .iter()
                .take(MAX_LISTED)
                .map(|metric| OtherRow::new(metric))
                .collect(),
            others_note: match others.len().saturating_sub(MAX_LISTED) {
                0 => String::new(),
                more => format!(
                    "… and {} more: plimsoll history shows them all.",
                    format::count(more as u64)
                ),
            },
        }
    }
}

/// The changes of all metrics, the newest first: that is what somebody did last.
fn changes<'a>(view: &LineageView<'a>) -> Vec<(&'a MetricTrend, &'a DatedChange)> {
    let detail = view.lineage.detail.as_ref();
    let metrics = detail.into_iter().flat_map(|detail| &detail.metrics);
    let mut found: Vec<_> = metrics
        .flat_map(|metric| metric.changes.iter().map(move |change| (metric, change)))
        .collect();
    found.sort_by_key(|(metric, change)| {
        (Reverse(change.started_at), view.rank(metric), &metric.name)
    });
    found
}

fn about(lineage: &Lineage, shown: usize) -> String {
    let invalid = lineage.runs.saturating_sub(lineage.valid_runs);
    let mut about = format::counted(lineage.runs, "run");
    if invalid > 0 {
        about.push_str(&format!(", {} of them invalid", format::count(invalid)));
    }
    if (shown as u64) < lineage.runs {
        about.push_str(&format!(
            "; shown are the newest {}",
            format::count(shown as u64)
        ));
    }
    about.push_str(
        ", all under the same conditions. Heads of comparisons are proposals and not among them.",
    );
    about
}

impl ChangeRow {
    fn new(metric: &MetricTrend, change: &DatedChange) -> Self {
        let (class, word) = tone(change.effect);
        Self {
            scenario: String::new(),
            metric: text::shown(&metric.name, text::MAX_SHOWN_CHARS),
            since: minute(change.started_at),
            before: value(&metric.unit, change.before),
            after: value(&metric.unit, change.after),
            effect: metric.shown_effect(Some(change.effect)),
            class,
            word,
            revision: revision(change.revision.as_deref()),
            revision_before: revision(change.revision_before.as_deref()),
            page: String::new(),
        }
    }

    /// One that is shown elsewhere.
    pub(super) fn of(line: &ChangeLine) -> Self {
        let (class, word) = tone(if line.is_worse { 1.0 } else { -1.0 });
        Self {
            scenario: named(&line.scenario),
            metric: text::shown(&line.metric, text::MAX_SHOWN_CHARS),
            since: minute(line.at),
            before: line.before.clone(),
            after: line.after.clone(),
            effect: line.effect.clone(),
            class,
            word,
            revision: revision(line.revision.as_deref()),
            revision_before: String::new(),
            page: line.page.clone(),
        }
    }
}

impl NoteRow {
    fn new(note: &Annotation) -> Self {
        Self {
            at: minute(note.at),
            metric: match &note.metric {
                Some(metric) => text::shown(metric, text::MAX_SHOWN_CHARS),
                None => "all".to_owned(),
            },
            text: text::shown(&note.text, 300),
        }
    }
}

fn tone(effect: f64) -> (&'static str, &'static str) {
    match effect {
        worse if worse > 0.0 => ("bad", "worse"),
        better if better < 0.0 => ("good", "better"),
        _ => ("plain", "–"),
    }
}

impl Plot {
    fn new(
        at: usize,
        metric: &MetricTrend,
        runs: &BTreeMap<RunId, &RunLine>,
        view: &LineageView<'_>,
    ) -> Option<Self> {
        // Without its run a value has no time, and so no place.
        let points: Vec<(&RunLine, f64)> = metric
            .points
            .iter()
            .filter_map(|point| Some((*runs.get(&point.run)?, point.value)))
            .collect();
        let place = |run: RunId| points.iter().position(|(point, _)| point.id == run);
        let changes: Vec<(usize, &DatedChange)> = metric
            .changes
            .iter()
            .filter_map(|change| Some((place(change.run)?, change)))
            .collect();
        let svg = trend(&Trend {
            unit: &metric.unit,
            points: points
                .iter()
                .map(|(run, value)| TrendPoint {
                    at: run.started_at,
                    value: *value,
                    title: title(&metric.unit, run, *value),
                })
                .collect(),
            levels: levels(metric, &changes, points.len()),
            lines: lines(metric, &changes, &points, view.annotations),
        })?;
        let row = |(run, shown): &(&RunLine, f64)| PointRow {
            at: minute(run.started_at),
            value: value(&metric.unit, *shown),
            revision: revision(run.revision.as_deref()),
            page: view.pages.get(&run.id).cloned().unwrap_or_default(),
        };
        Some(Self {
            id: format!("trend-{}", at + 1),
            name: text::shown(&metric.name, text::MAX_SHOWN_CHARS),
            about: said(metric),
            svg,
            rows: points.iter().rev().map(row).collect(),
        })
    }
}

/// What a pointer that rests on a point is told.
fn title(unit: &Unit, run: &RunLine, shown: f64) -> String {
    let mut title = format!("{} UTC · {}", minute(run.started_at), value(unit, shown));
    if let Some(revision) = &run.revision {
        title.push_str(" · ");
        title.push_str(&text::shown(revision, 20));
    }
    title
}

fn said(metric: &MetricTrend) -> String {
    let shown = |v: f64| value(&metric.unit, v);
    let mut said = format!(
        "{}: {} at last, {} in the middle",
        format::counted(metric.points.len() as u64, "run"),
        shown(metric.last),
        shown(metric.median)
    );
    if let Some(effect) = metric.effect_since_20_runs {
        said.push_str(&format!(
            "; {} in 20 runs",
            metric.shown_effect(Some(effect))
        ));
    }
    match metric.changes.len() as u64 {
        0 => said.push('.'),
        n => said.push_str(&format!("; {}.", format::counted(n, "change"))),
    }
    said
}

/// The middle of what lies between changes; of all runs where there are none.
fn levels(metric: &MetricTrend, changes: &[(usize, &DatedChange)], points: usize) -> Vec<Level> {
    let searched = metric.searched_runs.unwrap_or_default() as usize;
    let Some((first_at, first)) = changes.first() else {
        return vec![Level {
            runs: 0..points,
            value: metric.median,
        }];
    };
    let mut levels = vec![Level {
        runs: points.saturating_sub(searched)..*first_at,
        value: first.before,
    }];
    for (nth, (at, change)) in changes.iter().enumerate() {
        let end = changes.get(nth + 1).map_or(points, |(next, _)| *next);
        levels.push(Level {
            runs: *at..end,
            value: change.after,
        });
    }
    levels
}

/// Changes and annotations, oldest first.
fn lines(
    metric: &MetricTrend,
    changes: &[(usize, &DatedChange)],
    points: &[(&RunLine, f64)],
    annotations: &[Annotation],
) -> Vec<Line> {
    let changes = changes.iter().map(|(at, change)| {
        let (_, word) = tone(change.effect);
        Line {
            before: *at,
            name: format!("{word} {}", metric.shown_effect(Some(change.effect))),
            role: match change.effect {
                worse if worse > 0.0 => Role::Worse,
                better if better < 0.0 => Role::Better,
                _ => Role::Same,
            },
        }
    });
    let concerns = |note: &&Annotation| note.metric.as_ref().is_none_or(|of| *of == metric.name);
    let annotations = annotations
        .iter()
        .filter(concerns)
        .filter_map(|annotation| {
            let before = points.partition_point(|(run, _)| run.started_at <= annotation.at);
            // What was before all of them is not of this plot.
            (before > 0).then(|| Line {
                before,
                name: text::shown(&annotation.text, NOTE_CHARS),
                role: Role::Event,
            })
        });
    let mut lines: Vec<Line> = changes.chain(annotations).collect();
    lines.sort_by_key(|line| line.before);
    lines
}

impl OtherRow {
    fn new(metric: &MetricTrend) -> Self {
        let shown = |v: f64| value(&metric.unit, v);
        let values: Vec<f64> = metric.points.iter().map(|point| point.value).collect();
        // As wide as a sparkline can be read.
        let newest = &values[values.len().saturating_sub(40)..];
        let low = newest.iter().copied().fold(f64::INFINITY, f64::min);
        let high = newest.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self {
            name: text::shown(&metric.name, text::MAX_SHOWN_CHARS),
            sparkline: format::sparkline(newest, low, high),
            first: shown(metric.first),
            median: shown(metric.median),
            last: shown(metric.last),
            effect: metric.shown_effect(metric.effect_since_20_runs),
        }
    }
}
