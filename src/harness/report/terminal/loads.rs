//! The loads of a run: a row each.

use crate::harness::gate::Verdict;
use crate::harness::model::{ArrivalModel, GroupSeries, path};
use crate::harness::report::format;
use crate::harness::report::input::ReportInput;
use crate::harness::report::load::{LoadSummary, RequestSummary, summarise};
use crate::harness::report::text;
use crate::harness::report::words;
use crate::harness::scenario::catalogue::{self, LoadMetric};

use super::sheet::{Cell, GAP, Sheet, Tone, plain, toned};

/// More groups than this are counted; the page has all of them.
const MAX_GROUPS: usize = 20;

/// More kinds of failures of a load than this are counted; the page has all of them.
const MAX_FAILURES: usize = 3;

/// A row per load, and below it what only some have: a capacity, groups, further attempts.
pub(super) fn loads(input: &ReportInput<'_>, sheet: &mut Sheet) {
    let runs = input.shown_head();
    let loads = summarise(&runs);
    if loads.is_empty() {
        return;
    }
    sheet.heading(&match runs.len() {
        1 => "Load".to_owned(),
        runs => format!("Load, {} together", format::counted(runs as u64, "run")),
    });
    if let Some(said) = words::cut_short(&runs) {
        sheet.paragraph("  ! ", "    ", &said, Tone::Caution);
    }
    let latency = |ns: Option<u64>| format::or_dash(ns, format::duration_ns);
    let rows: Vec<Vec<Cell>> = loads
        .iter()
        .map(|load| {
            let rate = |count| format::rate(load.per_second(count));
            let (failed, requests) = load.failed_of();
            vec![
                plain(text::shown(&load.name, 40)),
                plain(match load.model {
                    ArrivalModel::Open => rate(load.counts.offered),
                    ArrivalModel::Closed => "–".to_owned(),
                }),
                plain(rate(load.counts.completed)),
                plain(latency(load.response.quantile_ns(0.5))),
                plain(latency(load.response.quantile_ns(0.95))),
                plain(latency(load.response.quantile_ns(0.99))),
                toned(format::share(failed, requests), bad_if(failed > 0)),
                toned(
                    format::share(load.counts.dropped, load.counts.offered),
                    bad_if(load.counts.dropped > 0),
                ),
            ]
        })
        .collect();
    let heads = [
        "load", "offered", "achieved", "p50", "p95", "p99", "errors", "dropped",
    ];
    sheet.table(&heads, &rows);
    for load in &loads {
        remarks(load, sheet);
    }
    for load in &loads {
        if fails_too_often(load, input.verdict) {
            failures(load, sheet);
        }
    }
    groups(&loads, sheet);
}

/// What a search found, and what the requests cost beyond themselves.
fn remarks(load: &LoadSummary, sheet: &mut Sheet) {
    let mut say = |text: &str| {
        let text = format!("{}: {text}", text::shown(&load.name, 40));
        sheet.paragraph(GAP, "    ", &text, Tone::Plain);
    };
    if let Some(found) = words::capacity(&load.searches) {
        let rest = words::rest_of_search(&load.searches).unwrap_or_default();
        say(&format!("{found} {rest}"));
    }
    if let Some(extra) = extra(load) {
        say(&extra);
    }
}

/// Attempts beyond the first and redirects, in a sentence; `None` where there were none.
fn extra(load: &LoadSummary) -> Option<String> {
    let sum = |of: fn(&RequestSummary) -> u64| {
        let counts = load.requests.iter().map(of);
        counts.fold(0, u64::saturating_add)
    };
    let parts = [
        (sum(|request| request.retries), "further attempt"),
        (sum(|request| request.redirects), "redirect"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format::counted(count, what))
        .collect();
    (!parts.is_empty()).then(|| format!("With {}.", parts.join(" and ")))
}

/// Whether a load breaks a limit on its failures, also where the run is not judged.
fn fails_too_often(load: &LoadSummary, verdict: &Verdict) -> bool {
    let prefix = catalogue::load_prefix(&load.name);
    let is_on_failures = |metric: &str| {
        path::error_rate_of(metric).is_some()
            || matches!(catalogue::of_load(metric), Some((_, LoadMetric::Lost)))
    };
    verdict.limits.iter().any(|limit| {
        limit.metric.starts_with(&prefix)
            && is_on_failures(&limit.metric)
            && matches!((limit.value, limit.max), (Some(value), Some(max)) if value > max)
    })
}

/// Why requests of a load failed.
fn failures(load: &LoadSummary, sheet: &mut Sheet) {
    let all = load.failures();
    if all.is_empty() {
        return;
    }
    sheet.heading(&format!(
        "Why requests of {} failed",
        text::shown(&load.name, 40)
    ));
    for failures in all.iter().take(MAX_FAILURES) {
        let line = format!(
            "{} × {} at {}",
            format::count(failures.count),
            words::error_kind(failures.kind),
            text::shown(failures.request, 60)
        );
        sheet.paragraph("  · ", "    ", &line, Tone::Plain);
        sheet.block("      | ", &text::one_line(&failures.most.example));
    }
    let more = all.len().saturating_sub(MAX_FAILURES);
    if more > 0 {
        let text = format!(
            "{} more in the report",
            format::counted(more as u64, "kind")
        );
        sheet.paragraph(GAP, GAP, &text, Tone::Dim);
    }
}

fn groups(loads: &[LoadSummary], sheet: &mut Sheet) {
    let all: Vec<(&LoadSummary, &GroupSeries)> = loads
        .iter()
        .flat_map(|load| load.groups.iter().map(move |group| (load, group)))
        .collect();
    if all.is_empty() {
        return;
    }
    sheet.heading("Groups");
    let rows: Vec<Vec<Cell>> = all
        .iter()
        .take(MAX_GROUPS)
        .map(|(load, group)| {
            let mut row = vec![
                plain(text::shown(&group.name, 60)),
                plain(text::shown(&load.name, 40)),
                plain(format::count(group.performed())),
                toned(format::count(group.failed), bad_if(group.failed > 0)),
            ];
            let mut found = group.duration.quantiles_ns([0.5, 0.95, 0.99]).into_iter();
            row.extend([(); 3].map(|()| plain(format::or_dash(found.next(), format::duration_ns))));
            row
        })
        .collect();
    let heads = ["group", "load", "performed", "failed", "p50", "p95", "p99"];
    sheet.table(&heads, &rows);
    let more = all.len().saturating_sub(MAX_GROUPS);
    if more > 0 {
        sheet.paragraph(GAP, GAP, &format!("{more} more in the report"), Tone::Dim);
    }
}

fn bad_if(bad: bool) -> Tone {
    if bad { Tone::Caution } else { Tone::Plain }
}
