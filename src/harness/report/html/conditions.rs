//! Under which conditions it was measured: every run, whether it is valid, and where it ran.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::harness::model::{Direction, Metric, Reading, Run, median};
use crate::harness::report::format::{self, value};
use crate::harness::report::input::ReportInput;
use crate::harness::report::text;
use crate::harness::report::words;

use super::table::{Cell, RowIds, Table, count, judged, name, num, num_of, prose};

/// Rows of the table of all metrics.
const MAX_METRICS: usize = 1000;
/// Rows of an arm in the table of all runs: imported files may hold any number.
const MAX_RUNS: usize = 200;

/// The section on validity.
#[derive(Debug, Serialize)]
pub(super) struct Validity {
    /// `good` where every run may be judged, `bad` where one may not, empty where that is not known.
    tone: &'static str,
    /// That in a sentence.
    sentence: String,
    runs: Table,
}

/// Every run and whether it may be judged.
pub(super) fn validity(input: &ReportInput<'_>) -> Validity {
    let mut table = Table::new(
        "The runs",
        &[
            "Run", "Pair", "Revision", "Started", "Took", "Valid", "Why not",
        ],
    );
    let arms = [("base", input.base), ("head", input.head)];
    for (arm, runs) in arms {
        for (number, run) in (1..).zip(runs).take(MAX_RUNS) {
            table.rows.push(run_row(&format!("{arm} {number}"), run));
        }
    }
    let left_out = arms.map(|(_, runs)| runs.len().saturating_sub(MAX_RUNS));
    let left_out = left_out.iter().sum::<usize>() as u64;
    if left_out > 0 {
        table.note = format!("{} more are in the JSON report.", format::count(left_out));
    }
    let all = || input.base.iter().chain(input.head);
    let invalid = all().filter(|run| !run.is_valid()).count() as u64;
    let ended = input
        .head
        .iter()
        .filter(|run| run.aborted.is_some() && run.invalid.is_empty())
        .count() as u64;
    let total = all().count() as u64;
    let differ = input
        .verdict
        .comparison
        .as_ref()
        .is_some_and(|comparison| !comparison.fingerprint_differences.is_empty());
    let has_loads = all().any(|run| !run.measurement.loads.is_empty());
    let has_benches = all().any(|run| !run.measurement.benches.is_empty());
    let kept_up = match has_loads {
        true => {
            "the generator kept up, nothing beyond the allowance was dropped, and no process ended by itself"
        }
        false => "no bench failed, and no process ended by itself",
    };
    let is_ours = has_loads || has_benches;
    let sentence = match (total, invalid) {
        (0, _) => "No runs were handed in; the numbers come from elsewhere.".to_owned(),
        (_, 0) if !is_ours => {
            "These numbers come from elsewhere; whether anything disturbed them is not known here."
                .to_owned()
        }
        (1, 0) => format!("The run is valid: {kept_up}."),
        (n, 0) => format!("All {n} runs are valid: {kept_up}."),
        (1, bad) if bad == ended => "A limit ended the run; nothing else is judged.".to_owned(),
        (n, bad) if bad == ended => {
            format!("A limit ended {bad} of {n} runs; nothing else is judged.")
        }
        (1, _) => "The run must not be judged, and so nothing is.".to_owned(),
        (n, bad) => format!("{bad} of {n} runs must not be judged, and so nothing is."),
    };
    let sentence = match differ {
        true => format!(
            "{sentence} But the two arms were measured under different conditions; see “Environment”."
        ),
        false => sentence,
    };
    Validity {
        tone: match (invalid == 0 && !differ, is_ours) {
            (false, _) => "bad",
            (true, true) => "good",
            (true, false) => "",
        },
        sentence,
        runs: table,
    }
}

fn run_row(label: &str, run: &Run) -> Vec<Cell> {
    let why: Vec<String> = words::unfit(run)
        .iter()
        .map(words::Spoken::sentence)
        .collect();
    let (word, class) = if run.is_valid() {
        ("yes", "good")
    } else {
        ("no", "bad")
    };
    let mut row_name = name(label);
    row_name.title = format!("run {}", run.id);
    vec![
        row_name,
        num(format::or_dash(run.pair, |pair| pair.to_string())),
        prose(run.revision.as_deref().unwrap_or("–")),
        num(format::or_dash(run.start(), |start| {
            start.strftime("%Y-%m-%d %H:%M:%S").to_string()
        })),
        num(match run.duration_ns {
            0 => "–".to_owned(),
            ns => format::duration_ns(ns),
        }),
        judged(word, class),
        Cell {
            text: why.join(". "),
            class: "text",
            ..Cell::default()
        },
    ]
}

/// Machine, toolchain and scenario of both arms. Where runs of one arm differ, each value once.
pub(super) fn environment(input: &ReportInput<'_>) -> Table {
    let base = fields(input.base);
    let head = fields(input.head);
    let stored: BTreeMap<&str, &str> = input
        .verdict
        .comparison
        .iter()
        .flat_map(|comparison| &comparison.fingerprint_differences)
        .map(|difference| (difference.field.as_str(), difference.base.as_str()))
        .collect();
    let both = !base.is_empty() || !stored.is_empty();
    let heads: &[&str] = if both {
        &["Condition", "Base", "Head", ""]
    } else {
        &["Condition", "Value"]
    };
    let mut table = Table::new("Under which conditions it was measured", heads);
    for (field, value) in &head {
        let (label, shown) = words::condition(field, value);
        let mut row = vec![name(&label)];
        if both {
            // Where the base is a baseline file, only what differs is handed in; the rest is the same.
            let of_base = base
                .iter()
                .find(|(other, _)| other == field)
                .map(|(_, value)| value.as_str())
                .or_else(|| stored.get(field.as_str()).copied())
                .unwrap_or(value);
            row.push(prose(&words::condition(field, of_base).1));
            row.push(prose(&shown));
            row.push(match of_base == value {
                true => judged("same", "plain"),
                false => judged("different", "bad"),
            });
        } else {
            row.push(prose(&shown));
        }
        table.rows.push(row);
    }
    let versions: std::collections::BTreeSet<&str> = input
        .head
        .iter()
        .chain(input.base)
        .map(|run| run.plimsoll_version.as_str())
        .collect();
    if !versions.is_empty() {
        let versions: Vec<String> = versions.into_iter().map(|v| text::shown(v, 40)).collect();
        table.note = format!("Measured by Plimsoll {}.", versions.join(" and "));
    }
    table
}

fn fields(runs: &[Run]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    for run in runs.iter().filter(|run| !run.fingerprint.is_unknown()) {
        for (field, value) in run.fingerprint.fields() {
            match fields.iter_mut().find(|(known, _)| known == field) {
                Some((_, values)) if !values.contains(&value) => values.push(value),
                Some(_) => {}
                None => fields.push((field.to_owned(), vec![value])),
            }
        }
    }
    fields
        .into_iter()
        .map(|(field, values)| (field, values.join(" / ")))
        .collect()
}

/// Every metric of every run of the head: the numbers themselves.
pub(super) fn raw_metrics(input: &ReportInput<'_>) -> Table {
    let mut table = Table::new(
        "Every metric of the head, one value a run (a bench: one an invocation)",
        &["Metric", "Median", "Values", "Better", "Rests on"],
    );
    let mut by_name: BTreeMap<&str, Vec<&Metric>> = BTreeMap::new();
    for metric in input.shown_head().into_iter().flat_map(|run| &run.metrics) {
        by_name.entry(&metric.name).or_default().push(metric);
    }
    let mut ids = RowIds::new("metric");
    let more = by_name.len().saturating_sub(MAX_METRICS);
    if more > 0 {
        table.note = format!("{more} more are in the JSON report.");
    }
    table.rows = by_name
        .into_iter()
        .take(MAX_METRICS)
        .map(|(path, metrics)| {
            let mut row = metric_row(path, &metrics);
            if let Some(first) = row.first_mut() {
                first.id = ids.of(path);
            }
            row
        })
        .collect();
    table
}

fn metric_row(path: &str, metrics: &[&Metric]) -> Vec<Cell> {
    let Some(first) = metrics.first() else {
        return Vec::new();
    };
    let shown = |v: f64| value(&first.unit, v);
    let values: Vec<f64> = metrics
        .iter()
        .flat_map(|metric| metric.values())
        .copied()
        .collect();
    let listed: Vec<String> = values.iter().take(12).map(|v| shown(*v)).collect();
    let more = values.len().saturating_sub(listed.len());
    let mut list = listed.join("  ");
    if more > 0 {
        list.push_str(&format!(" … and {more} more"));
    }
    if let Reading::NotMeasurable { reason, remedy } = &first.reading
        && values.is_empty()
    {
        list = text::shown(&format!("not measurable: {reason}; {remedy}"), 300);
    }
    // Imported files choose these numbers.
    let observations = metrics
        .iter()
        .fold(0_u64, |sum, metric| sum.saturating_add(metric.observations));
    vec![
        name(path),
        match median(&values) {
            Some(median) => num_of(median, shown(median)),
            None => num("–"),
        },
        Cell {
            text: list,
            class: "text",
            ..Cell::default()
        },
        prose(match first.better {
            Direction::Lower => "lower",
            Direction::Higher => "higher",
        }),
        count(observations),
    ]
}
