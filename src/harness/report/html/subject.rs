//! The subject from outside, and the generator that loads it: curves over time.

use serde::Serialize;

use crate::harness::model::{GeneratorSample, ProcessSample, Run, Unit};
use crate::harness::report::format::{self, value};
use crate::harness::report::load::LoadSummary;
use crate::harness::report::plots::{Curve, Role, Timeline, curves};
use crate::harness::report::text;
use crate::harness::scenario::Plan;

use super::table::{Figure, Table, name, num};

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
                    run.metric(&format!("probe.{}", probe.name))
                        .map(|metric| &metric.unit)
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

/// Whether the generator kept up, per load; `None` without loads.
pub(super) fn generator_table(loads: &[LoadSummary], shown: Option<&Run>) -> Option<Table> {
    if loads.is_empty() {
        return None;
    }
    let mut table = Table::new(
        "Whether the generator kept up, in the measure phase",
        &[
            "Load",
            "Lateness p50",
            "Lateness p99",
            "Largest lateness",
            "Started late",
            "Cores kept busy",
            "Cores it may use",
        ],
    );
    table.note = "Lateness: how long after its due time an iteration was handed to a user. A generator that is late or has no processor left makes the run invalid.".to_owned();
    table.rows = loads
        .iter()
        .map(|load| {
            let late = |quantile| {
                num(load
                    .lateness
                    .quantile_ns(quantile)
                    .map_or_else(|| "–".to_owned(), format::duration_ns))
            };
            let health = shown
                .and_then(|run| {
                    run.measurement
                        .loads
                        .iter()
                        .find(|measured| measured.name == load.name)
                })
                .map(|measured| &measured.generator);
            let busiest = health.and_then(|health| {
                health
                    .samples
                    .iter()
                    .map(|sample| sample.cpu_cores)
                    .reduce(f64::max)
            });
            let cores = |cores: Option<f64>| {
                num(cores.map_or_else(|| "–".to_owned(), |c| value(&Unit::Cores, c)))
            };
            vec![
                name(&load.name),
                late(0.5),
                late(0.99),
                num(load
                    .lateness
                    .max_ns()
                    .map_or_else(|| "–".to_owned(), format::duration_ns)),
                num(format::share(load.counts.late, load.counts.started)),
                cores(busiest),
                cores(health.map(|health| health.cores)),
            ]
        })
        .collect();
    Some(table)
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
