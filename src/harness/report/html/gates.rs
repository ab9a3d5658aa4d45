//! The gates: what the scenario demands of each metric, as a limit, as a margin or as both, in one row.

use crate::harness::compare::{Comparison, Estimate};
use crate::harness::gate::{LimitVerdict, MetricOutcome, MetricVerdict, Verdict};
use crate::harness::report::format::{self, value};
use crate::harness::report::text;
use crate::harness::report::words;

use super::table::{Cell, RowIds, Table, judged, name, num, num_of, prose};

/// Rows of the table, what needs a look first; a page isn't a database.
const MAX_GATES: usize = 200;

/// What is demanded of a metric. One of the two is there.
#[derive(Debug, Clone, Copy)]
struct Gate<'v> {
    limit: Option<&'v LimitVerdict>,
    margin: Option<&'v MetricVerdict>,
}

/// One row a gate; `None` without any.
pub(super) fn gates(verdict: &Verdict) -> Option<Table> {
    let mut gates = collected(verdict);
    if gates.is_empty() {
        return None;
    }
    // Stable: beyond that, the order of the scenario.
    gates.sort_by_key(Gate::concern);
    let interval = words::interval_name(verdict);
    let mut table = Table::new(
        "What is demanded, and what became of it",
        &[
            "Metric", "Verdict", "Limit", "Base", "Head", "Spread", "Effect", &interval, "Margin",
            "MDE", "Values", "Waiver",
        ],
    );
    let mut ids = RowIds::new("gate");
    let rows = gates.iter().take(MAX_GATES);
    table.rows = rows
        .map(|gate| {
            let mut row = gate.row(verdict.comparison.as_ref());
            row[0].id = ids.of(gate.name());
            row
        })
        .collect();
    table.is_stacked = true;
    table.without_empty_columns();
    table.note = note(gates.len().saturating_sub(MAX_GATES), &table);
    table.put_below("Head", "Spread");
    table.put_below("Effect", &interval);
    table.put_below("Margin", "MDE");
    Some(table)
}

/// Limits in the order of the scenario, each with the margin on its metric, and then the other margins.
fn collected(verdict: &Verdict) -> Vec<Gate<'_>> {
    let mut margins: Vec<Option<&MetricVerdict>> = verdict
        .metrics
        .iter()
        .filter(|metric| metric.gating || metric.advisory)
        .map(Some)
        .collect();
    let mut gates: Vec<Gate<'_>> = verdict
        .limits
        .iter()
        .map(|limit| {
            // A metric may have two limits; its margin stands beside the first.
            let mut of_metric = margins
                .iter_mut()
                .filter(|margin| margin.is_some_and(|margin| margin.name == limit.metric));
            Gate {
                limit: Some(limit),
                margin: of_metric.next().and_then(Option::take),
            }
        })
        .collect();
    gates.extend(margins.into_iter().flatten().map(|margin| Gate {
        limit: None,
        margin: Some(margin),
    }));
    gates
}

impl<'v> Gate<'v> {
    fn name(&self) -> &'v str {
        let of_margin = self.margin.map(|margin| margin.name.as_str());
        let of_limit = self.limit.map(|limit| limit.metric.as_str());
        of_limit.or(of_margin).unwrap_or_default()
    }

    /// What has failed first, then what nobody knows, then what is good.
    fn concern(&self) -> u8 {
        let of_limit = self.limit.map_or(9, |limit| match limit.holds {
            Some(false) => 0,
            None => 3,
            Some(true) => 6,
        });
        let of_margin = self.margin.map_or(9, |margin| match margin.verdict {
            MetricOutcome::Regressed => 1,
            MetricOutcome::Inconclusive => 2,
            MetricOutcome::NotMeasurable => 3,
            MetricOutcome::Waived => 4,
            MetricOutcome::Improved => 5,
            MetricOutcome::Unchanged => 6,
        });
        of_limit.min(of_margin)
    }

    fn row(&self, comparison: Option<&Comparison>) -> Vec<Cell> {
        let limit = self.limit;
        let margin = self.margin;
        let told = |v: Option<f64>| {
            let unit = margin.map(|margin| &margin.unit);
            match (v, unit) {
                (Some(v), Some(unit)) => num_of(v, value(unit, v)),
                _ => num("–"),
            }
        };
        let head = match limit {
            // Told apart from the limit, however near it is.
            Some(limit) => match limit.value {
                Some(v) => num_of(v, words::against_limit(limit)),
                None => num("–"),
            },
            None => told(margin.and_then(|margin| margin.head)),
        };
        let ends = limit.and_then(|limit| limit.low.zip(limit.high).filter(|_| limit.n > 1));
        let spread = format::or_dash(limit.zip(ends), |(limit, (low, high))| {
            format::range(&limit.unit, low, high)
        });
        let share = |share: fn(&MetricVerdict) -> Option<f64>| {
            let known = margin.and_then(|margin| Some((margin, share(margin)?)));
            num(format::or_dash(known, |(margin, v)| {
                words::margin_of(margin, v)
            }))
        };
        let values = match (limit, margin) {
            (_, Some(margin)) => format!("{} / {}", margin.n_base, margin.n_head),
            (Some(limit), None) => limit.n.to_string(),
            (None, None) => String::new(),
        };
        let waiver = margin.and_then(|margin| Some(words::waiver(margin, margin.waiver.as_ref()?)));
        vec![
            name(self.name()),
            // Seen without scrolling, however many columns there are.
            self.verdict(comparison),
            prose(&limit.map_or_else(|| "–".to_owned(), words::demand)),
            told(margin.and_then(|margin| margin.base)),
            head,
            num(spread),
            effect(margin),
            num(margin.map_or_else(|| "–".to_owned(), words::interval_of)),
            share(|margin| margin.margin),
            share(|margin| margin.mde),
            num(values),
            prose(&waiver.unwrap_or_else(|| "–".to_owned())),
        ]
    }

    /// The verdicts on both, the weightier first.
    fn verdict(&self, comparison: Option<&Comparison>) -> Cell {
        let of_limit = self
            .limit
            .map(|limit| (words::limit_outcome(limit), limit_class(limit)));
        let of_margin = self
            .margin
            .map(|margin| (words::verdict_of(margin), outcome_class(margin)));
        let mut cell = match (of_limit, of_margin) {
            (Some((limit, of_limit)), Some((margin, of_margin))) => {
                let is_of_limit = rank(of_limit) <= rank(of_margin);
                let class = if is_of_limit { of_limit } else { of_margin };
                judged(format!("limit {limit}, {margin}"), class)
            }
            (Some((limit, class)), None) => judged(limit, class),
            (None, Some((margin, class))) => judged(margin, class),
            (None, None) => judged("", "plain"),
        };
        let why = self.margin.and_then(|margin| why(margin, comparison));
        cell.title = text::shown(&why.unwrap_or_default(), 300);
        cell
    }
}

/// The effect of a metric, to be sorted by its size.
pub(super) fn effect(metric: Option<&MetricVerdict>) -> Cell {
    match metric.and_then(|metric| Some((metric, metric.effect?))) {
        Some((metric, effect)) => num_of(effect, words::effect_of(metric, effect)),
        None => num("–"),
    }
}

/// How the verdict on a metric was reached, or why there is none.
pub(super) fn why(metric: &MetricVerdict, comparison: Option<&Comparison>) -> Option<String> {
    let how = || {
        let mut compared = comparison?.metrics.iter();
        let compared = compared.find(|compared| compared.name == metric.name)?;
        Some(match &compared.estimate {
            Estimate::Known(effect) => effect.method.clone(),
            Estimate::Unknown { reason, remedy } => format!("{reason}; {remedy}"),
        })
    };
    metric.note.clone().or_else(how)
}

/// The class of the verdict on a metric.
pub(super) fn outcome_class(metric: &MetricVerdict) -> &'static str {
    match metric.verdict {
        MetricOutcome::Regressed if metric.gating => "bad",
        MetricOutcome::Improved => "good",
        MetricOutcome::Unchanged if metric.gating => "good",
        MetricOutcome::Regressed | MetricOutcome::Waived | MetricOutcome::Inconclusive => "unsure",
        MetricOutcome::Unchanged | MetricOutcome::NotMeasurable => "plain",
    }
}

fn limit_class(limit: &LimitVerdict) -> &'static str {
    match limit.holds {
        Some(true) => "good",
        Some(false) => "bad",
        None => "unsure",
    }
}

fn rank(class: &str) -> usize {
    let order = ["bad", "unsure", "plain", "good"];
    order.iter().position(|known| *known == class).unwrap_or(0)
}

/// How to read the columns that are there.
fn note(left_out: usize, table: &Table) -> String {
    let has = |head: &str| table.heads.iter().any(|known| known == head);
    let mut notes = Vec::new();
    if has("Limit") {
        notes.push("A limit is held against the median of the values, or against the share of all requests that failed.".to_owned());
    }
    if has("MDE") {
        notes.push("MDE: the smallest true change that this comparison would notice four times out of five.".to_owned());
    }
    if has("Base") {
        notes.push("Base and head are medians of the values: one a run, of a bench one an invocation. In brackets: what can’t fail the gate.".to_owned());
    }
    if left_out > 0 {
        notes.push(format!(
            "{} more are in the JSON report.",
            format::count(left_out as u64)
        ));
    }
    notes.join(" ")
}
