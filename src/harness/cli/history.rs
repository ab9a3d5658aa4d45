//! `plimsoll history`: what there is, and how metrics went over the runs of one fingerprint.

use std::collections::BTreeMap;

use crate::harness::gate::exit;
use crate::harness::model::RunId;
use crate::harness::report::history::{Detail, HistoryReport, Lineage, MetricTrend, RunLine};
use crate::harness::report::terminal::render_history;
use crate::harness::scenario::catalogue;
use crate::harness::store::{History, LineageSummary, MetricSeries, Query, RunSummary};

use super::args::{Global, HistoryArgs, HistoryCommand};
use super::failure::Failure;
use super::output::Output;
use super::prune;
use super::workspace::{self, reading};

/// Shows the history, or removes some of it.
pub(super) async fn run(
    global: &Global,
    output: &Output,
    args: &HistoryArgs,
) -> Result<u8, Failure> {
    if let Some(HistoryCommand::Prune(args)) = &args.command {
        return prune::run(global, output, args).await;
    }
    let Some(history) = workspace::existing_history(global).await? else {
        return match &args.scenario {
            Some(scenario) => Err(unknown(scenario)),
            None => show(output, &HistoryReport::new(Vec::new())),
        };
    };
    let lineages = chosen(&history, args).await?;
    let detailed = args.scenario.is_some() || !args.metric.is_empty() || args.fingerprint.is_some();
    let mut shown: Vec<Lineage> = Vec::with_capacity(lineages.len());
    for summary in lineages {
        // Fingerprints can't be compared with each other, and the newest is what is measured now.
        let newest = !shown.iter().any(|one| one.scenario == summary.scenario);
        let detail = match detailed && (newest || args.fingerprint.is_some()) {
            true => Some(detail(&history, &summary, args).await?),
            false => None,
        };
        shown.push(lineage(summary, detail));
    }
    show(output, &HistoryReport::new(shown))
}

fn show(output: &Output, report: &HistoryReport) -> Result<u8, Failure> {
    if output.is_json() {
        output.answer_json(report)?;
        return Ok(exit::PASS);
    }
    if report.lineages.is_empty() {
        output.say("no runs; make some: plimsoll run");
        return Ok(exit::PASS);
    }
    output.answer(&render_history(report, output.style()))?;
    if report.lineages.iter().all(|one| one.detail.is_none()) {
        output.say("trends and changes of one: plimsoll history SCENARIO");
    }
    Ok(exit::PASS)
}

/// What is asked for, newest first.
async fn chosen(history: &History, args: &HistoryArgs) -> Result<Vec<LineageSummary>, Failure> {
    let query = Query {
        since: args.since,
        without_heads: true,
        ..Query::default()
    };
    let mut found = history.lineages(&query).await.map_err(reading)?;
    if let Some(scenario) = &args.scenario {
        found.retain(|one| catalogue::matches(scenario, &one.scenario));
        if found.is_empty() {
            return Err(unknown(scenario));
        }
    }
    if let Some(fingerprint) = &args.fingerprint {
        found.retain(|one| one.fingerprint_id.starts_with(fingerprint.as_str()));
        if found.is_empty() {
            return Err(Failure::usage(
                format!("no run of it has a fingerprint that begins with `{fingerprint}`"),
                "see what there is: plimsoll history",
            ));
        }
    }
    Ok(found)
}

/// The newest runs of a lineage and the metrics that are wanted, from columns and never from whole runs.
async fn detail(
    history: &History,
    of: &LineageSummary,
    args: &HistoryArgs,
) -> Result<Detail, Failure> {
    let query = Query {
        scenario: Some(of.scenario.clone()),
        fingerprint: Some(of.fingerprint_id.clone()),
        since: args.since,
        without_heads: true,
        limit: Some(args.limit),
        ..Query::default()
    };
    let runs: Vec<RunLine> = history
        .find(&query)
        .await
        .map_err(reading)?
        .into_iter()
        .map(run_line)
        .collect();
    let wanted = |name: &str| {
        args.metric.is_empty()
            || args
                .metric
                .iter()
                .any(|glob| catalogue::matches(glob, name))
    };
    let series = history.series(&query, wanted).await.map_err(reading)?;
    Ok(detail_of(runs, series))
}

/// The trends of metrics over runs, which are given newest first.
pub(super) fn detail_of(runs: Vec<RunLine>, series: Vec<MetricSeries>) -> Detail {
    // A run that was saved between the two questions is in none of the answers.
    let valid: BTreeMap<RunId, &RunLine> = runs
        .iter()
        .filter(|run| run.valid)
        .map(|run| (run.id, run))
        .collect();
    let metrics = series
        .into_iter()
        .filter_map(|series| {
            let values: Vec<(&RunLine, f64)> = series
                .points
                .iter()
                .filter_map(|point| Some((*valid.get(&point.run)?, point.value)))
                .collect();
            MetricTrend::new(series.name, series.unit, series.better, &values)
        })
        .collect();
    Detail { metrics, runs }
}

fn lineage(summary: LineageSummary, detail: Option<Detail>) -> Lineage {
    Lineage {
        scenario: summary.scenario,
        machine: summary.machine_id,
        fingerprint: summary.fingerprint_id,
        runs: summary.runs,
        valid_runs: summary.valid_runs,
        first_started_at: summary.first_started_at,
        last_started_at: summary.last_started_at,
        revision: summary.revision,
        detail,
    }
}

/// A run of the store as a line of a history.
pub(super) fn run_line(run: RunSummary) -> RunLine {
    RunLine {
        id: run.id,
        started_at: run.started_at,
        session: run.session,
        arm: run.arm,
        duration_ns: run.duration_ns,
        revision: run.revision,
        valid: run.valid,
    }
}

fn unknown(scenario: &str) -> Failure {
    Failure::usage(
        format!("the history has no runs of `{scenario}` in the time that is asked for"),
        "see what there is: plimsoll history",
    )
}
