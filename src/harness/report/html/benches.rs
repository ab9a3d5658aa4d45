//! Benchmarks: both arms' invocations and distributions.

use serde::Serialize;

use crate::harness::model::{BenchMeasurement, Run, Unit, median};
use crate::harness::report::format::{self, value};
use crate::harness::report::input::ReportInput;
use crate::harness::report::plots::{BenchArm, Role, bench};
use crate::harness::report::text;
use crate::harness::scenario::catalogue;

use super::table::{Cell, Figure, Table, key, name, num, num_of};

/// Benchmarks with a plot, the most changed first; the table has all of them.
const MAX_PLOTS: usize = 24;
/// Samples of an arm that go into a plot; every so many-th of more.
const MAX_SAMPLES: usize = 20_000;

/// The section on benches.
#[derive(Debug, Serialize)]
pub(super) struct Benches {
    table: Option<Table>,
    figures: Vec<Figure>,
    /// Said where some have no plot.
    note: String,
}

/// One benchmark in both arms.
struct Compared {
    id: String,
    head: BenchArm,
    base: Option<BenchArm>,
}

impl Benches {
    pub(super) fn new(input: &ReportInput<'_>) -> Self {
        let mut all = collect(input);
        let table = (!all.is_empty()).then(|| table(&all));
        all.sort_by(|a, b| change(b).total_cmp(&change(a)));
        let has_base = all.iter().any(|compared| compared.base.is_some());
        let left_out = all.len().saturating_sub(MAX_PLOTS);
        Self {
            table,
            figures: all.iter().take(MAX_PLOTS).filter_map(figure).collect(),
            note: match left_out {
                0 => String::new(),
                n if has_base => format!(
                    "Plots of the {MAX_PLOTS} that changed most; {n} more are in the table."
                ),
                n => format!("Plots of the first {MAX_PLOTS}; {n} more are in the table."),
            },
        }
    }

    pub(super) fn any(&self) -> bool {
        self.table.is_some()
    }
}

fn collect(input: &ReportInput<'_>) -> Vec<Compared> {
    let head = input.shown_head();
    let base = input.shown_base();
    let mut ids: Vec<&str> = Vec::new();
    for measured in head.iter().flat_map(|run| &run.measurement.benches) {
        if !ids.contains(&measured.id.as_str()) {
            ids.push(&measured.id);
        }
    }
    ids.into_iter()
        .map(|id| Compared {
            id: id.to_owned(),
            head: arm(&head, id).unwrap_or_default(),
            // A baseline file keeps no samples, but the comparison has its points.
            base: arm(&base, id).or_else(|| compared_base(input, id)),
        })
        .collect()
}

fn arm(runs: &[&Run], id: &str) -> Option<BenchArm> {
    let of_id: Vec<&BenchMeasurement> = runs
        .iter()
        .flat_map(|run| &run.measurement.benches)
        .filter(|measured| measured.id == id)
        .collect();
    if of_id.is_empty() {
        return None;
    }
    let invocations = || of_id.iter().flat_map(|measured| &measured.invocations);
    let samples: Vec<f64> = invocations()
        .flat_map(|invocation| invocation.times_ns.iter().zip(&invocation.iterations))
        .filter(|(_, iterations)| **iterations > 0.0)
        .map(|(time, iterations)| time / iterations)
        .collect();
    let stride = samples.len().div_ceil(MAX_SAMPLES).max(1);
    Some(BenchArm {
        points_ns: invocations()
            .map(|invocation| invocation.point_ns)
            .filter(|point| point.is_finite())
            .collect(),
        samples_ns: samples.into_iter().step_by(stride).collect(),
    })
}

fn compared_base(input: &ReportInput<'_>, id: &str) -> Option<BenchArm> {
    let path = catalogue::bench_metric(id).path();
    let comparison = input.verdict.comparison.as_ref()?;
    let metric = comparison
        .metrics
        .iter()
        .find(|metric| metric.name == path)?;
    Some(BenchArm {
        points_ns: metric
            .base
            .iter()
            .copied()
            .filter(|point| point.is_finite())
            .collect(),
        samples_ns: Vec::new(),
    })
}

fn table(all: &[Compared]) -> Table {
    let both = all.iter().any(|compared| compared.base.is_some());
    let heads: &[&str] = match both {
        true => &[
            "Bench",
            "Base median",
            "Head median",
            "Change",
            "Head spread",
            "Invocations",
        ],
        false => &["Bench", "Median", "Spread", "Invocations"],
    };
    let mut table = Table::new("Time of one iteration, by process invocation", heads);
    table.rows = all.iter().map(|compared| row(compared, both)).collect();
    if both {
        table.note = "The change is that of the medians; whether it is more than chance stands under “Changes” and “Gates”.".to_owned();
    }
    table
}

fn row(compared: &Compared, both: bool) -> Vec<Cell> {
    let ns = |v: Option<f64>| match v {
        Some(v) => num_of(v, value(&Unit::Nanoseconds, v)),
        None => num("–"),
    };
    let head = sorted(&compared.head.points_ns);
    let spread = format::or_dash(head.first().zip(head.last()), |(low, high)| {
        format::range(&Unit::Nanoseconds, *low, *high)
    });
    let base = compared.base.as_ref();
    let mut cells = vec![name(&compared.id)];
    if both {
        cells.push(ns(base.and_then(|arm| median(&arm.points_ns))));
    }
    cells.push(ns(median(&compared.head.points_ns)));
    if both {
        cells.push(match ratio(compared) {
            Some(ratio) => num_of(ratio, format::effect(ratio - 1.0)),
            None => num("–"),
        });
    }
    cells.push(num(spread));
    let count = match base {
        Some(base) if both => format!("{} / {}", base.points_ns.len(), head.len()),
        _ => head.len().to_string(),
    };
    cells.push(num(count));
    cells
}

fn figure(compared: &Compared) -> Option<Figure> {
    let svg = bench(&compared.head, compared.base.as_ref())?;
    let shown = |points: &[f64]| format::or_dash(median(points), |v| value(&Unit::Nanoseconds, v));
    let head = format!("median {}", shown(&compared.head.points_ns));
    let mut keys = vec![key(Role::Head, "head")];
    let alt = match &compared.base {
        Some(base) => {
            keys.insert(0, key(Role::Base, "base"));
            format!("Head {head}, base median {}.", shown(&base.points_ns))
        }
        None => format!("{head}."),
    };
    Some(Figure {
        title: text::shown(&compared.id, 80),
        note: String::new(),
        alt,
        svg,
        keys,
    })
}

/// How far the medians are apart, either way; 0 where there is nothing to compare with.
fn change(compared: &Compared) -> f64 {
    ratio(compared).map_or(0.0, |ratio| ratio.ln().abs())
}

fn ratio(compared: &Compared) -> Option<f64> {
    let base = median(&compared.base.as_ref()?.points_ns)?;
    let head = median(&compared.head.points_ns)?;
    (base > 0.0 && head > 0.0).then(|| head / base)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}
