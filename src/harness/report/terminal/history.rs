//! The history on a terminal: what there is, or the trends of some of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::harness::compare::RUNS_FOR_CHANGES;
use crate::harness::model::{RunId, median};
use crate::harness::report::format::{self, value};
use crate::harness::report::history::{Detail, HistoryReport, Lineage, MetricTrend, RunLine};
use crate::harness::report::text;

use super::sheet::{Cell, GAP, Sheet, TerminalStyle, Tone, plain, toned};

/// More runs than this are counted; the JSON has all of them.
const MAX_RUNS: usize = 10;
/// So many metrics or fewer get a column in the list of runs; with more, the run's id does.
const MAX_METRIC_COLUMNS: usize = 2;
/// Names of metrics above such a column are cut to this.
const COLUMN_NAME_CHARS: usize = 16;
/// What tells fingerprints apart: they are hashes.
const FINGERPRINT_CHARS: usize = 8;
/// What tells runs apart: their ids begin with the millisecond.
const RUN_ID_CHARS: usize = 13;
/// Columns of a sparkline; more runs than this share one.
const SPARKLINE_WIDTH: usize = 20;
/// The same where the terminal has fewer than [`NARROW`] columns.
const NARROW_SPARKLINE_WIDTH: usize = 10;
const NARROW: usize = 60;

/// The history as text that ends with a line break, with ANSI colours if the style asks for them.
pub fn render_history(history: &HistoryReport, style: TerminalStyle) -> String {
    let mut sheet = Sheet::new(style);
    let sparkline_width = match style.width < NARROW {
        true => NARROW_SPARKLINE_WIDTH,
        false => SPARKLINE_WIDTH,
    };
    let overview: Vec<&Lineage> = history
        .lineages
        .iter()
        .filter(|lineage| lineage.detail.is_none())
        .collect();
    for lineage in &history.lineages {
        if let Some(detail) = &lineage.detail {
            heading(lineage, detail, &mut sheet);
            changes(detail, &mut sheet);
            trends(detail, sparkline_width, &mut sheet);
            runs(lineage, detail, &mut sheet);
        }
    }
    if !overview.is_empty() {
        if overview.len() < history.lineages.len() {
            sheet.heading("Under other fingerprints, not comparable with the above");
        }
        let rows: Vec<Vec<Cell>> = overview.iter().map(|one| overview_row(one)).collect();
        let heads = [
            "scenario",
            "fingerprint",
            "machine",
            "runs",
            "valid",
            "newest (UTC)",
            "revision",
        ];
        sheet.table(&heads, &rows);
    }
    sheet.finish()
}

fn overview_row(lineage: &Lineage) -> Vec<Cell> {
    vec![
        plain(text::shown(&lineage.scenario, 60)),
        plain(shortened(&lineage.fingerprint, FINGERPRINT_CHARS)),
        plain(shortened(&lineage.machine, FINGERPRINT_CHARS)),
        plain(format::count(lineage.runs)),
        plain(format::count(lineage.valid_runs)),
        plain(minute(lineage.last_started_at)),
        plain(revision(lineage.revision.as_deref())),
    ]
}

fn heading(lineage: &Lineage, detail: &Detail, sheet: &mut Sheet) {
    sheet.heading(&text::shown(&lineage.scenario, 80));
    let place = format!(
        "machine {} · fingerprint {}",
        text::shown(&lineage.machine, 16),
        text::shown(&lineage.fingerprint, 16)
    );
    sheet.paragraph(GAP, GAP, &place, Tone::Dim);
    let invalid = lineage.runs.saturating_sub(lineage.valid_runs);
    let mut all = format::counted(lineage.runs, "run");
    if invalid > 0 {
        all.push_str(&format!(", {} of them invalid", format::count(invalid)));
    }
    all.push_str(&format!(
        ", {} … {}",
        day(lineage.first_started_at),
        day(lineage.last_started_at)
    ));
    let looked_at = detail.runs.len() as u64;
    if looked_at < lineage.runs {
        all.push_str(&format!("; the newest {}", format::count(looked_at)));
    }
    sheet.paragraph(GAP, GAP, &all, Tone::Plain);
}

fn changes(detail: &Detail, sheet: &mut Sheet) {
    if detail.metrics.is_empty() {
        return;
    }
    sheet.heading("Changes (+ is worse; reported, never judged)");
    let searched = detail
        .metrics
        .iter()
        .filter_map(|metric| metric.searched_runs)
        .max();
    let Some(searched) = searched else {
        let text = format!(
            "Changes are looked for in {RUNS_FOR_CHANGES} valid runs or more of one fingerprint."
        );
        sheet.paragraph(GAP, GAP, &text, Tone::Dim);
        return;
    };
    let mut found: Vec<_> = detail
        .metrics
        .iter()
        .flat_map(|metric| metric.changes.iter().map(move |change| (metric, change)))
        .collect();
    // The newest first: that is what somebody did last.
    found.sort_by_key(|(metric, change)| (std::cmp::Reverse(change.started_at), &metric.name));
    if found.is_empty() {
        let text = format!("None in {}.", format::counted(searched, "run"));
        sheet.paragraph(GAP, GAP, &text, Tone::Plain);
        return;
    }
    let rows: Vec<Vec<Cell>> = found
        .into_iter()
        .map(|(metric, change)| {
            vec![
                plain(text::shown(&metric.name, 80)),
                plain(minute(change.started_at)),
                plain(revision(change.revision.as_deref())),
                plain(value(&metric.unit, change.before)),
                plain(value(&metric.unit, change.after)),
                effect(metric, Some(change.effect)),
            ]
        })
        .collect();
    let heads = [
        "metric",
        "since (UTC)",
        "revision",
        "before",
        "after",
        "change",
    ];
    sheet.table(&heads, &rows);
}

fn trends(detail: &Detail, sparkline_width: usize, sheet: &mut Sheet) {
    sheet.heading("Trends, oldest to newest; change in 20 runs (+ is worse)");
    if detail.metrics.is_empty() {
        sheet.paragraph(GAP, GAP, "No valid run has such a metric.", Tone::Caution);
        return;
    }
    let rows: Vec<Vec<Cell>> = detail
        .metrics
        .iter()
        .map(|metric| {
            let shown = |v: f64| plain(value(&metric.unit, v));
            vec![
                plain(text::shown(&metric.name, 80)),
                plain(sparkline(metric, sparkline_width)),
                shown(metric.first),
                shown(metric.median),
                shown(metric.last),
                effect(metric, metric.effect_since_20_runs),
            ]
        })
        .collect();
    let heads = ["metric", "", "first", "median", "last", "in 20 runs"];
    sheet.table(&heads, &rows);
}

fn runs(lineage: &Lineage, detail: &Detail, sheet: &mut Sheet) {
    sheet.heading("Runs, newest first");
    let columns = match detail.metrics.as_slice() {
        few if few.len() <= MAX_METRIC_COLUMNS => few,
        _ => &[],
    };
    let values: Vec<BTreeMap<RunId, f64>> = columns
        .iter()
        .map(|metric| {
            let points = metric.points.iter();
            points.map(|point| (point.run, point.value)).collect()
        })
        .collect();
    let rows: Vec<Vec<Cell>> = detail
        .runs
        .iter()
        .take(MAX_RUNS)
        .map(|run| {
            let mut row = vec![plain(minute(run.started_at))];
            if columns.is_empty() {
                row.push(plain(shortened(&run.id.to_string(), RUN_ID_CHARS)));
            }
            row.extend(columns.iter().zip(&values).map(|(metric, values)| {
                let shown = values.get(&run.id).map(|v| value(&metric.unit, *v));
                plain(shown.unwrap_or_else(|| "–".to_owned()))
            }));
            row.push(plain(revision(run.revision.as_deref())));
            row.push(validity(run));
            row
        })
        .collect();
    let names: Vec<String> = columns
        .iter()
        .map(|metric| text::shown(&metric.name, COLUMN_NAME_CHARS))
        .collect();
    let mut heads = vec!["started (UTC)"];
    if columns.is_empty() {
        heads.push("run");
    }
    heads.extend(names.iter().map(String::as_str));
    heads.extend(["revision", ""]);
    sheet.table(&heads, &rows);
    let more = lineage.runs.saturating_sub(rows.len() as u64);
    if more > 0 {
        sheet.paragraph(
            GAP,
            GAP,
            &format!("… and {} older", format::count(more)),
            Tone::Dim,
        );
    }
}

fn validity(run: &RunLine) -> Cell {
    match run.valid {
        true => toned("valid", Tone::Plain),
        false => toned("invalid", Tone::Void),
    }
}

/// The values of a metric from the smallest to the largest; where there are more runs than columns,
/// a column is the median of those that share it.
fn sparkline(metric: &MetricTrend, width: usize) -> String {
    let n = metric.points.len();
    let columns = n.min(width);
    let heights: Vec<f64> = (0..columns)
        .filter_map(|column| {
            let shared = &metric.points[column * n / columns..(column + 1) * n / columns];
            median(&shared.iter().map(|point| point.value).collect::<Vec<_>>())
        })
        .collect();
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let high = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format::sparkline(&heights, low, high)
}

fn effect(metric: &MetricTrend, effect: Option<f64>) -> Cell {
    let tone = match effect {
        Some(worse) if worse > 0.0 => Tone::Caution,
        Some(better) if better < 0.0 => Tone::Good,
        _ => Tone::Plain,
    };
    toned(metric.shown_effect(effect), tone)
}

fn revision(revision: Option<&str>) -> String {
    format::or_dash(revision, |revision| text::shown(revision, 20))
}

/// The beginning of an id, by which commands know it as well.
fn shortened(id: &str, chars: usize) -> String {
    text::one_line(id).chars().take(chars).collect()
}

fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}
