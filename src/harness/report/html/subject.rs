//! The subject from outside, and the generator that loads it: curves over time.

use serde::Serialize;

use crate::harness::model::{GeneratorSample, Phase, ProcessSample, Run, Unit};
use crate::harness::report::format::{self, value};
use crate::harness::report::load::LoadSummary;
use crate::harness::report::plots::{Curve, Role, Timeline, curves};
use crate::harness::report::text;
use crate::harness::scenario::Plan;
use crate::harness::scenario::catalogue::MetricKey;

use super::table::{Cell, Figure, Table, judged, name, num};

/// Processes and probes with curves; a page isn't a monitor.
const MAX_CURVES: usize = 24;

/// The height of a curve in pixels: there are many.
const LOW_PX: u32 = 165;

/// Curves that belong together.
#[derive(Debug, Serialize)]
pub(super) struct Curves {
    title: String,
    figures: Vec<Figure>,
}

/// A quantity of a sample, with how it is shown.
struct Quantity<S> {
    title: &'static str,
    unit: Unit,
    keep_peaks: bool,
    of: fn(&S) -> f64,
}

/// One per process.
pub(super) fn processes(run: &Run) -> Vec<Curves> {
    let quantities: [Quantity<ProcessSample>; 4] = [
        Quantity {
            title: "Cores kept busy",
            unit: Unit::Cores,
            keep_peaks: false,
            of: |s| s.cpu_cores,
        },
        Quantity {
            title: "Resident memory",
            unit: Unit::Bytes,
            keep_peaks: true,
            of: |s| s.rss_bytes as f64,
        },
        Quantity {
            title: "Threads",
            unit: Unit::Count,
            keep_peaks: true,
            of: |s| s.threads as f64,
        },
        Quantity {
            title: "Open file descriptors",
            unit: Unit::Count,
            keep_peaks: true,
            of: |s| s.fds as f64,
        },
    ];
    let timeline = Timeline::of(run);
    run.measurement
        .processes
        .iter()
        .filter(|process| !process.samples.is_empty())
        .take(MAX_CURVES)
        .map(|process| Curves {
            title: text::shown(&process.name, 60),
            figures: figures(&timeline, &quantities, &process.samples, |s| s.at_ns as f64),
        })
        .collect()
}

/// One for all probes. The unit of a probe is in the plan; without one its metric has it.
pub(super) fn probes(run: &Run, plan: Option<&Plan>) -> Vec<Curves> {
    let timeline = Timeline::of(run);
    let figures: Vec<Figure> = run
        .measurement
        .probes
        .iter()
        .filter(|probe| !probe.points.is_empty())
        .take(MAX_CURVES)
        .map(|probe| {
            let unit = plan
                .and_then(|plan| plan.probes.get(&probe.name))
                .map(|planned| &planned.unit)
                .or_else(|| {
                    let path = MetricKey::Probe(probe.name.clone()).to_string();
                    run.metric(&path).map(|metric| &metric.unit)
                })
                .unwrap_or(&Unit::Count);
            let points = probe
                .points
                .iter()
                .map(|point| (point.at_ns as f64 / 1e9, point.value));
            let mut figure = figure(
                &timeline,
                &text::shown(&probe.name, 60),
                unit,
                points.collect(),
                false,
            );
            figure.note = probe.value.map_or_else(
                || "No value over the measure phase.".to_owned(),
                |v| format!("Over the measure phase: {}.", value(unit, v)),
            );
            figure
        })
        .collect();
    match figures.is_empty() {
        true => Vec::new(),
        false => vec![Curves {
            title: String::new(),
            figures,
        }],
    }
}

/// The generator's own use of the machine, per load.
pub(super) fn generator(run: &Run) -> Vec<Curves> {
    let quantities: [Quantity<GeneratorSample>; 2] = [
        Quantity {
            title: "Cores kept busy",
            unit: Unit::Cores,
            keep_peaks: false,
            of: |s| s.cpu_cores,
        },
        Quantity {
            title: "Resident memory",
            unit: Unit::Bytes,
            keep_peaks: true,
            of: |s| s.rss_bytes as f64,
        },
    ];
    let timeline = Timeline::of(run);
    run.measurement
        .loads
        .iter()
        .filter(|load| !load.generator.samples.is_empty())
        .take(MAX_CURVES)
        .map(|load| Curves {
            title: text::shown(&load.name, 60),
            figures: figures(&timeline, &quantities, &load.generator.samples, |s| {
                s.at_ns as f64
            }),
        })
        .collect()
}

/// Whether the generator kept up in the runs, per load; `None` without loads.
pub(super) fn generator_table(loads: &[LoadSummary], runs: &[&Run]) -> Option<Table> {
    if loads.is_empty() {
        return None;
    }
    let mut table = Table::new(
        "Whether the generator kept up, in the measure phase",
        &[
            "Load",
            "Workers",
            "Lateness p50",
            "Lateness p99",
            "Largest lateness",
            "Started late",
            "Cores, at most",
            "Cores it may use",
        ],
    );
    table.note = "Lateness: how long after its due time an iteration was handed to a user. A generator that is late or has no processor left makes the run invalid.".to_owned();
    table.rows = loads
        .iter()
        .map(|load| {
            let shown = |ns: Option<u64>| num(format::or_dash(ns, format::duration_ns));
            let late = |quantile| shown(load.lateness.quantile_ns(quantile));
            let [busy, available] = cores(&load.name, runs)
                .map(|cores| num(format::or_dash(cores, |c| value(&Unit::Cores, c))));
            vec![
                name(&load.name),
                workers(load),
                late(0.5),
                late(0.99),
                shown(load.lateness.max_ns()),
                num(format::share(load.counts.late, load.counts.started)),
                busy,
                available,
            ]
        })
        .collect();
    Some(table)
}

/// How many workers shared a load in each run; with the part of it that was put together, where some were
/// missing.
fn workers(load: &LoadSummary) -> Cell {
    let (fewest, most) = load.workers;
    let number = match (fewest, most) {
        (_, 0) => "–".to_owned(),
        (fewest, most) if fewest == most => format::count(most as u64),
        (fewest, most) => format!("{fewest} … {most}"),
    };
    match load.part < 1.0 - 1e-9 {
        true => judged(
            format!("{number}, {} of the load", value(&Unit::Ratio, load.part)),
            "num bad",
        ),
        false => num(number),
    }
}

/// The most cores that a load's generator kept busy in the measure phase, and those that it may use.
fn cores(load: &str, runs: &[&Run]) -> [Option<f64>; 2] {
    let healths = || {
        runs.iter().flat_map(move |run| {
            let loads = run.measurement.loads.iter();
            let of_name = loads.filter(move |measured| measured.name == load);
            of_name.map(move |measured| (run, &measured.generator))
        })
    };
    let busy = healths().flat_map(|(run, health)| {
        let samples = health.samples.iter();
        let measured = samples.filter(move |sample| is_measured(run, sample.at_ns));
        measured.map(|sample| sample.cpu_cores)
    });
    let available = healths().map(|(_, health)| health.cores);
    [busy.reduce(f64::max), available.reduce(f64::min)]
}

/// Whether a sample is of the measure phase: it tells of the time before it.
fn is_measured(run: &Run, at_ns: u64) -> bool {
    let mut phases = run.measurement.phases.iter();
    phases.any(|span| span.phase == Phase::Measure && span.start_ns < at_ns && at_ns <= span.end_ns)
}

/// One per quantity of the samples; `at_ns` is when one was taken.
fn figures<S>(
    timeline: &Timeline<'_>,
    quantities: &[Quantity<S>],
    samples: &[S],
    at_ns: fn(&S) -> f64,
) -> Vec<Figure> {
    quantities
        .iter()
        .map(|quantity| {
            let points = samples
                .iter()
                .map(|sample| (at_ns(sample) / 1e9, (quantity.of)(sample)));
            figure(
                timeline,
                quantity.title,
                &quantity.unit,
                points.collect(),
                quantity.keep_peaks,
            )
        })
        .collect()
}

fn figure(
    timeline: &Timeline<'_>,
    title: &str,
    unit: &Unit,
    points: Vec<(f64, f64)>,
    keep_peaks: bool,
) -> Figure {
    let points: Vec<(f64, f64)> = points
        .into_iter()
        .filter(|(at_s, v)| *at_s >= 0.0 && v.is_finite())
        .collect();
    let largest = points.iter().map(|(_, v)| *v).reduce(f64::max);
    let smallest = points.iter().map(|(_, v)| *v).reduce(f64::min);
    Figure {
        title: title.to_owned(),
        note: String::new(),
        alt: match (smallest, largest) {
            (Some(low), Some(high)) => {
                format!(
                    "{title} over the run: between {} and {}.",
                    value(unit, low),
                    value(unit, high)
                )
            }
            _ => format!("{title}: nothing was seen."),
        },
        svg: curves(
            timeline,
            LOW_PX,
            unit,
            &[Curve {
                points,
                role: Role::Head,
                keep_peaks,
            }],
        ),
        keys: Vec::new(),
    }
}
