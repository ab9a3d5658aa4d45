//! A baseline's renewal as Markdown, old against new: for the terminal and for the pull request.

use jiff::Timestamp;

use crate::harness::gate::{Drifted, MetricOutcome, MetricVerdict, Reason, Renewal, Verdict};
use crate::harness::model::{Arm, Run, median};

use super::markdown::{code, plain, table};
use super::{format, text, words};

/// What is said of one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct RenewalInput<'a> {
    /// The new sessions (head) against the old baseline (base).
    pub verdict: &'a Verdict,
    /// What may become of them.
    pub renewal: &'a Renewal<'a>,
    /// The valid runs of the new sessions.
    pub head: &'a [Run],
    /// The old baseline, where it was compared with.
    pub old: Option<Provenance>,
    /// The new one.
    pub new: Provenance,
    /// A sentence on why nothing was compared; empty where something was.
    pub remark: &'a str,
    /// Why drifts were accepted.
    pub reason: &'a str,
    /// The baseline's file.
    pub file: &'a str,
    /// The command that accepts what was refused, where that is possible.
    pub command: Option<&'a str>,
}

/// Where a baseline comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// How many sessions.
    pub sessions: usize,
    /// How many runs in all of them.
    pub runs: usize,
    /// What was measured.
    pub revisions: Vec<String>,
    /// When the last run started.
    pub last_started_at: Option<Timestamp>,
}

/// The text on one scenario.
pub fn markdown(input: &RenewalInput<'_>) -> String {
    let mut parts = vec![title(input)];
    let origins = [("Old", &input.old), ("New", &Some(input.new.clone()))];
    let origins = origins
        .into_iter()
        .filter_map(|(which, from)| from.as_ref().map(|from| origin(which, from)));
    parts.push(origins.collect::<Vec<_>>().join("\n"));
    if !input.remark.is_empty() {
        parts.push(plain(input.remark));
    }
    let remarks = remarks(input);
    if !remarks.is_empty() {
        parts.push(remarks.join("\n"));
    }
    if let Some(command) = input.command {
        parts.push(format!(
            "If that is meant to be, accept it; the same sessions are taken:\n\n```sh\n{}\n```",
            text::one_line(command)
        ));
    }
    parts.extend(tables(input));
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    parts.join("\n\n") + "\n"
}

/// The text on a scenario whose new sessions are no measurement.
pub fn void(scenario: &str, why: &str) -> String {
    format!(
        "### Baseline of {}: invalid\n\nNothing is changed: {}.\n",
        code(scenario),
        plain(why)
    )
}

fn title(input: &RenewalInput<'_>) -> String {
    let scenario = code(&input.verdict.scenario);
    let file = code(input.file);
    match (input.renewal.is_granted(), &input.old) {
        (false, _) => format!(
            "### Baseline of {scenario}: refused\n\nNothing is changed in {file}; the new runs are in the store."
        ),
        (true, Some(_)) => {
            format!("### Baseline of {scenario}: refreshed\n\nWritten to {file}.")
        }
        (true, None) => format!("### Baseline of {scenario}: made\n\nWritten to {file}."),
    }
}

fn origin(which: &str, from: &Provenance) -> String {
    let revisions: Vec<String> = from.revisions.iter().map(|one| code(one)).collect();
    let of = match revisions.is_empty() {
        true => String::new(),
        false => format!(" of {}", revisions.join(", ")),
    };
    let measured = from.last_started_at.map_or_else(String::new, |at| {
        format!(", measured until {}", at.strftime("%Y-%m-%d %H:%M UTC"))
    });
    format!(
        "- {which}: {}, {}{of}{measured}",
        format::counted(from.sessions as u64, "session"),
        format::counted(from.runs as u64, "run"),
    )
}

/// What stands in the way, what was accepted, and what is good to know.
fn remarks(input: &RenewalInput<'_>) -> Vec<String> {
    let verdict = input.verdict;
    let said = |reason: &Reason| plain(&words::reason(reason, verdict).what);
    let worse = |drifted: &Drifted<'_>| {
        let metric = drifted.metric.to_owned();
        let lost = verdict.reasons.iter().find(
            |reason| matches!(reason, Reason::NotMeasurable { metric, .. } if metric == drifted.metric),
        );
        match (drifted.verdict.map(|it| it.verdict), lost) {
            (Some(MetricOutcome::NotMeasurable), Some(lost)) => said(lost),
            (Some(_), _) => said(&Reason::Regressed { metric }),
            (None, _) => said(&Reason::OneArmOnly {
                metric,
                arm: Arm::Base,
            }),
        }
    };
    let renewal = input.renewal;
    let mut remarks = Vec::new();
    for reason in &renewal.broken {
        remarks.push(format!(
            "- **Refused**: {}. A subject that breaks its limits is no measure: mend it, or change the limit",
            said(reason)
        ));
    }
    for drifted in &renewal.refused {
        remarks.push(format!("- **Refused**: {}", worse(drifted)));
    }
    for drifted in &renewal.accepted {
        remarks.push(format!(
            "- Accepted: {}. Reason: {}",
            worse(drifted),
            plain(input.reason)
        ));
    }
    let drifted = || renewal.refused.iter().chain(&renewal.accepted);
    for reason in &verdict.reasons {
        if let Reason::Inconclusive { metric } | Reason::NotMeasurable { metric, .. } = reason
            && !drifted().any(|one| one.metric == metric)
        {
            remarks.push(format!("- Undecided: {}", said(reason)));
        }
    }
    for metric in named(verdict) {
        if metric.verdict == MetricOutcome::Improved {
            let metric = metric.name.clone();
            remarks.push(format!("- Better: {}", said(&Reason::Improved { metric })));
        }
    }
    for pattern in &renewal.unneeded {
        remarks.push(format!(
            "- `--accept` {} accepts nothing: no such metric got worse by its margin or is gone",
            code(pattern)
        ));
    }
    remarks
}

fn tables(input: &RenewalInput<'_>) -> Vec<String> {
    let verdict = input.verdict;
    if verdict.comparison.is_none() {
        return vec![medians(input.head)];
    }
    let rows = |metrics: &[&MetricVerdict]| -> Vec<Vec<String>> {
        metrics.iter().map(|metric| row(metric, input)).collect()
    };
    let interval = words::interval_name(verdict);
    let heads = |base| {
        [
            "metric",
            base,
            "new median",
            "change (+ is worse)",
            &interval,
            "margin",
            "verdict",
        ]
    };
    let named: Vec<&MetricVerdict> = named(verdict).collect();
    let others: Vec<&MetricVerdict> = verdict
        .metrics
        .iter()
        .filter(|metric| metric.margin.is_none())
        .collect();
    let mut tables = Vec::new();
    if !named.is_empty() {
        tables.push(table(&heads("old median"), &rows(&named)));
    }
    if !others.is_empty() {
        tables.push(format!(
            "<details><summary>{} without a margin</summary>\n\n{}\n</details>",
            format::counted(others.len() as u64, "other metric"),
            table(&heads("old median"), &rows(&others))
        ));
    }
    for anchor in &verdict.anchors {
        let metrics: Vec<&MetricVerdict> = anchor.metrics.iter().collect();
        tables.push(format!(
            "Against the anchor {}, which decides nothing:\n\n{}",
            code(&anchor.name),
            table(&heads("anchor"), &rows(&metrics))
        ));
    }
    tables
}

/// Metrics with a margin, in the order in which they are read.
fn named(verdict: &Verdict) -> impl Iterator<Item = &MetricVerdict> {
    let mut named: Vec<&MetricVerdict> = verdict
        .metrics
        .iter()
        .filter(|metric| metric.margin.is_some())
        .collect();
    named.sort_by_key(|metric| words::reading_order(metric));
    named.into_iter()
}

fn row(metric: &MetricVerdict, input: &RenewalInput<'_>) -> Vec<String> {
    let dash = || "–".to_owned();
    let value = |value: Option<f64>| value.map_or_else(dash, |v| format::value(&metric.unit, v));
    let is_among = |drifted: &[Drifted<'_>]| {
        let same = |one: &Drifted<'_>| one.verdict.is_some_and(|it| std::ptr::eq(it, metric));
        drifted.iter().any(same)
    };
    let word = words::metric_outcome(metric.verdict);
    let word = if is_among(&input.renewal.refused) {
        format!("**{word}**")
    } else if is_among(&input.renewal.accepted) {
        format!("{word}, accepted")
    } else {
        word.to_owned()
    };
    vec![
        code(&metric.name),
        value(metric.base),
        value(metric.head),
        metric
            .effect
            .map_or_else(dash, |effect| words::effect_of(metric, effect)),
        words::interval_of(metric),
        metric
            .margin
            .map_or_else(dash, |margin| words::margin_of(metric, margin)),
        word,
    ]
}

/// What there is where there was nothing before.
fn medians(head: &[Run]) -> String {
    let metrics = head.first().map_or(&[][..], |run| &run.metrics);
    let rows: Vec<Vec<String>> = metrics
        .iter()
        .map(|metric| {
            let values: Vec<f64> = head
                .iter()
                .filter_map(|run| run.metric(&metric.name)?.value())
                .collect();
            let median = median(&values);
            vec![
                code(&metric.name),
                median.map_or_else(|| "–".to_owned(), |v| format::value(&metric.unit, v)),
            ]
        })
        .collect();
    table(&["metric", "new median"], &rows)
}
