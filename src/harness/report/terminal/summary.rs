//! What the summary says, from top to bottom.

use crate::harness::gate::{LimitVerdict, MetricOutcome, MetricVerdict, Outcome, Verdict};
use crate::harness::model::{Unit, median};
use crate::harness::report::format::{self, value};
use crate::harness::report::input::ReportInput;
use crate::harness::report::text;
use crate::harness::report::words::{self, Spoken};

use super::loads::loads;
use super::sheet::{Cell, GAP, Sheet, TerminalStyle, Tone, plain, toned};

/// More reasons, or warnings, than this are counted; the page has all of them.
const MAX_REASONS: usize = 12;
/// More benches than this are counted; the page has all of them.
const MAX_BENCHES: usize = 20;
/// A process's last lines that are repeated here.
const MAX_DETAIL_LINES: usize = 8;
/// Metrics that moved and that no gate names, which a slower service has by the dozen.
const MAX_MOVED: usize = 6;

/// The summary as text that ends with a line break, with ANSI colours if the style asks for them.
pub fn render(input: &ReportInput<'_>, style: TerminalStyle) -> String {
    let mut sheet = Sheet::new(style);
    verdict(input, &mut sheet);
    reasons(input, &mut sheet);
    limits(input, &mut sheet);
    margins(input, &mut sheet);
    anchors(input, &mut sheet);
    loads(input, &mut sheet);
    benches(input, &mut sheet);
    warnings(input, &mut sheet);
    place(input, &mut sheet);
    sheet.finish()
}

fn verdict(input: &ReportInput<'_>, sheet: &mut Sheet) {
    let verdict = input.verdict;
    sheet.badge(
        words::badge(verdict),
        verdict_tone(verdict),
        &words::title(verdict),
    );
    let sentence = format!("{}.", words::headline(verdict));
    sheet.paragraph("", "", &sentence, Tone::Strong);
}

fn reasons(input: &ReportInput<'_>, sheet: &mut Sheet) {
    if input.verdict.reasons.is_empty() {
        return;
    }
    sheet.heading("Why, and what to do");
    let reasons = words::reasons(input.verdict).map(|because| because.said);
    list("  · ", reasons, Tone::Plain, sheet);
}

/// Some sentences, each with its mark and what is to be done.
fn list(mark: &str, all: impl ExactSizeIterator<Item = Spoken>, tone: Tone, sheet: &mut Sheet) {
    let more = all.len().saturating_sub(MAX_REASONS);
    let mut listed: Vec<Spoken> = all.take(MAX_REASONS).collect();
    words::remedy_once(&mut listed);
    for said in &listed {
        sheet.paragraph(mark, "    ", &said.sentence(), tone);
        let lines: Vec<&str> = said.detail.lines().collect();
        let last = &lines[lines.len().saturating_sub(MAX_DETAIL_LINES)..];
        sheet.block("      | ", &last.join("\n"));
        if !said.next.is_empty() {
            sheet.paragraph("    → ", "      ", &said.next, Tone::Dim);
        }
    }
    if more > 0 {
        sheet.paragraph(mark, "    ", &format!("… and {more} more"), Tone::Dim);
    }
}

fn limits(input: &ReportInput<'_>, sheet: &mut Sheet) {
    let limits = &input.verdict.limits;
    if limits.is_empty() {
        return;
    }
    sheet.heading("Limits");
    let rows: Vec<Vec<Cell>> = limits.iter().map(limit_row).collect();
    sheet.table(&["metric", "measured", "must be", "spread", ""], &rows);
}

fn limit_row(limit: &LimitVerdict) -> Vec<Cell> {
    let tone = match limit.holds {
        Some(true) => Tone::Good,
        Some(false) => Tone::Bad,
        None => Tone::Caution,
    };
    vec![
        plain(text::shown(&limit.metric, 80)),
        toned(
            words::against_limit(limit),
            if limit.holds == Some(false) {
                tone
            } else {
                Tone::Plain
            },
        ),
        plain(words::demand(limit)),
        plain(spread(limit)),
        toned(words::limit_outcome(limit), tone),
    ]
}

fn spread(limit: &LimitVerdict) -> String {
    match (limit.low, limit.high, limit.n) {
        (Some(low), Some(high), n) if n > 1 => format::range(&limit.unit, low, high),
        _ => format::counted(u64::from(limit.n), "value"),
    }
}

fn margins(input: &ReportInput<'_>, sheet: &mut Sheet) {
    let all = &input.verdict.metrics;
    if all.is_empty() {
        return;
    }
    let mut told: Vec<&MetricVerdict> = all
        .iter()
        .filter(|metric| words::is_worth_showing(metric))
        .collect();
    told.sort_by_key(|metric| words::reading_order(metric));
    let named = told.partition_point(|metric| metric.gating || metric.advisory);
    told.truncate(named + MAX_MOVED);
    match &input.verdict.comparison {
        Some(comparison) => sheet.heading(&format!(
            "Against {} (+ is worse)",
            text::shown(&comparison.base_label, 60)
        )),
        None => sheet.heading("Against the base (+ is worse)"),
    }
    if !told.is_empty() {
        let rows: Vec<Vec<Cell>> = told
            .iter()
            .map(|metric| metric_row(metric, words::verdict_of(metric)))
            .collect();
        let interval = words::interval_name(input.verdict);
        let heads = [
            "metric", "base", "head", "effect", &interval, "margin", "MDE", "",
        ];
        sheet.table(&heads, &rows);
    }
    let silent = (all.len() - told.len()) as u64;
    if silent > 0 {
        let text = format!(
            "{} without a margin, in the report",
            format::counted(silent, "other metric")
        );
        sheet.paragraph(GAP, GAP, &text, Tone::Dim);
    }
}

fn anchors(input: &ReportInput<'_>, sheet: &mut Sheet) {
    for anchor in &input.verdict.anchors {
        sheet.heading(&format!(
            "Against anchor {} (+ is worse; decides nothing)",
            text::shown(&anchor.name, 40)
        ));
        let (still, mut moved): (Vec<&MetricVerdict>, Vec<_>) =
            anchor.metrics.iter().partition(|metric| {
                matches!(
                    metric.verdict,
                    MetricOutcome::Unchanged | MetricOutcome::NotMeasurable
                )
            });
        moved.sort_by_key(|metric| words::reading_order(metric));
        let rows: Vec<Vec<Cell>> = moved
            .into_iter()
            .map(|metric| metric_row(metric, words::metric_outcome(metric.verdict)))
            .collect();
        let interval = words::interval_name(input.verdict);
        let heads = [
            "metric", "anchor", "head", "effect", &interval, "margin", "MDE", "",
        ];
        if !rows.is_empty() {
            sheet.table(&heads, &rows);
        }
        if !still.is_empty() {
            let text = format!(
                "{} unchanged or not measurable, in the report",
                format::counted(still.len() as u64, "metric")
            );
            sheet.paragraph(GAP, GAP, &text, Tone::Dim);
        }
    }
}

fn metric_row(metric: &MetricVerdict, word: impl Into<String>) -> Vec<Cell> {
    let shown = |v: Option<f64>| plain(format::or_dash(v, |v| value(&metric.unit, v)));
    let share = |v: Option<f64>| plain(format::or_dash(v, |v| words::margin_of(metric, v)));
    let effect = format::or_dash(metric.effect, |effect| words::effect_of(metric, effect));
    let tone = metric_tone(metric);
    vec![
        plain(text::shown(&metric.name, 80)),
        shown(metric.base),
        shown(metric.head),
        toned(effect, tone),
        plain(words::interval_of(metric)),
        share(metric.margin),
        share(metric.mde),
        toned(word, tone),
    ]
}

fn benches(input: &ReportInput<'_>, sheet: &mut Sheet) {
    let runs = input.shown_head();
    let Some(first) = runs.first() else {
        return;
    };
    let benches = &first.measurement.benches;
    if benches.is_empty() {
        return;
    }
    sheet.heading("Benches");
    let rows: Vec<Vec<Cell>> = benches
        .iter()
        .take(MAX_BENCHES)
        .map(|bench| {
            let mut points: Vec<f64> = runs
                .iter()
                .flat_map(|run| &run.measurement.benches)
                .filter(|other| other.id == bench.id)
                .flat_map(|other| {
                    other
                        .invocations
                        .iter()
                        .map(|invocation| invocation.point_ns)
                })
                .filter(|point| point.is_finite())
                .collect();
            points.sort_by(f64::total_cmp);
            let ns = |point| format::or_dash(point, |v| value(&Unit::Nanoseconds, v));
            vec![
                plain(text::shown(&bench.id, 80)),
                plain(ns(median(&points))),
                plain(ns(points.first().copied())),
                plain(ns(points.last().copied())),
                plain(format::count(points.len() as u64)),
            ]
        })
        .collect();
    sheet.table(
        &["bench", "median", "fastest", "slowest", "invocations"],
        &rows,
    );
    let more = benches.len().saturating_sub(MAX_BENCHES);
    if more > 0 {
        sheet.paragraph(GAP, GAP, &format!("{more} more in the report"), Tone::Dim);
    }
}

fn warnings(input: &ReportInput<'_>, sheet: &mut Sheet) {
    if input.verdict.warnings.is_empty() {
        return;
    }
    sheet.heading("Warnings");
    let warnings = input.verdict.warnings.iter();
    let warnings = warnings.map(|warning| words::warning(warning, input.verdict));
    list("  ! ", warnings, Tone::Caution, sheet);
}

fn place(input: &ReportInput<'_>, sheet: &mut Sheet) {
    if let Some(page) = input.page {
        sheet.gap();
        sheet.line(&format!("Report: {page}"));
    }
}

fn verdict_tone(verdict: &Verdict) -> Tone {
    match verdict.verdict {
        _ if verdict.advisory => Tone::Caution,
        Outcome::Pass => Tone::Good,
        Outcome::NoBaseline | Outcome::Inconclusive => Tone::Caution,
        Outcome::Fail => Tone::Bad,
        Outcome::Invalid => Tone::Void,
    }
}

fn metric_tone(metric: &MetricVerdict) -> Tone {
    match metric.verdict {
        MetricOutcome::Regressed if metric.gating => Tone::Bad,
        MetricOutcome::Regressed
        | MetricOutcome::Waived
        | MetricOutcome::Inconclusive
        | MetricOutcome::NotMeasurable => Tone::Caution,
        MetricOutcome::Improved => Tone::Good,
        MetricOutcome::Unchanged => Tone::Plain,
    }
}
