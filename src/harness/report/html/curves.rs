//! The plots of a load.

use crate::harness::model::{LatencyHistogram, LoadMeasurement, Run, Unit};
use crate::harness::report::format::{self, rate};
use crate::harness::report::input::ReportInput;
use crate::harness::report::load::LoadSummary;
use crate::harness::report::plots::{
    Curve, HEIGHT_PX, LatencyWindows, Role, SpectrumLine, Timeline, curves, latency_density,
    latency_over_time, rate_over_time, spectrum,
};

use super::table::{Figure, Shape, key, shaped};

/// What happened over time, and the distribution of all of it.
pub(super) fn figures(
    load: &LoadSummary,
    shown: Option<&Run>,
    base: &[LoadSummary],
    input: &ReportInput<'_>,
) -> Vec<Figure> {
    let of_shown = shown.and_then(|run| {
        let measured = run
            .measurement
            .loads
            .iter()
            .find(|measured| measured.name == load.name)?;
        Some((Timeline::of(run), measured))
    });
    let mut figures = Vec::new();
    if let Some((timeline, measured)) = of_shown {
        let windows = LatencyWindows::of(measured);
        if let Some(svg) = latency_over_time(&timeline, &windows) {
            figures.push(Figure {
                title: "Response time over time".to_owned(),
                note: "Logarithmic. Shaded: warm-up and cool-down, which don't count.".to_owned(),
                alt: format!(
                    "Percentiles of the response time over the run. Measured: {}.",
                    percentiles(&load.response)
                ),
                svg,
                keys: vec![
                    key(Role::P50, "p50"),
                    key(Role::P95, "p95"),
                    key(Role::P99, "p99"),
                    key(Role::Max, "slowest"),
                ],
            });
        }
        if let Some(svg) = latency_density(&timeline, &windows) {
            figures.push(Figure {
                title: "How many took how long".to_owned(),
                note: "The deeper, the more requests, on a logarithmic scale.".to_owned(),
                alt: format!(
                    "Density of the response times over the run. Measured: {}.",
                    percentiles(&load.response)
                ),
                svg,
                keys: vec![shaped(Shape::Band, Role::Density, "requests")],
            });
        }
        if !measured.windows.is_empty() {
            figures.push(rate_figure(&timeline, load, measured));
            figures.extend(in_flight_figure(&timeline, measured));
        }
    }
    figures.extend(spectrum_figure(load, base, input));
    figures
}

fn rate_figure(timeline: &Timeline<'_>, load: &LoadSummary, measured: &LoadMeasurement) -> Figure {
    let mut keys = vec![key(Role::Head, "completed")];
    if measured
        .windows
        .iter()
        .any(|window| window.target_rate.is_some())
    {
        keys.insert(0, key(Role::Target, "asked for"));
    }
    if measured
        .windows
        .iter()
        .any(|window| window.counts.failed > 0)
    {
        keys.push(key(Role::Failed, "failed"));
    }
    if measured
        .windows
        .iter()
        .any(|window| window.counts.dropped > 0)
    {
        keys.push(key(Role::Dropped, "dropped"));
    }
    Figure {
        title: "Iterations per second".to_owned(),
        note: "By the second in which an iteration was due.".to_owned(),
        alt: format!(
            "Iterations per second over the run. On average {} completed of {} offered.",
            rate(load.per_second(load.counts.completed)),
            rate(load.per_second(load.counts.offered)),
        ),
        svg: rate_over_time(timeline, measured),
        keys,
    }
}

fn in_flight_figure(timeline: &Timeline<'_>, measured: &LoadMeasurement) -> Option<Figure> {
    let points: Vec<(f64, f64)> = measured
        .windows
        .iter()
        .map(|window| {
            (
                window.start_ns.saturating_add(window.length_ns) as f64 / 1e9,
                window.in_flight as f64,
            )
        })
        .collect();
    let most = measured
        .windows
        .iter()
        .map(|window| window.in_flight)
        .max()?;
    let curve = Curve {
        points,
        role: Role::Head,
        keep_peaks: true,
    };
    Some(Figure {
        title: "Users in flight".to_owned(),
        note:
            "At the end of each window. When the target gets slower than arrivals come, this grows."
                .to_owned(),
        alt: format!(
            "Users in flight over the run, at most {}.",
            format::count(most)
        ),
        svg: curves(timeline, HEIGHT_PX, &Unit::Count, &[curve]),
        keys: Vec::new(),
    })
}

fn spectrum_figure(
    load: &LoadSummary,
    base: &[LoadSummary],
    input: &ReportInput<'_>,
) -> Option<Figure> {
    let base = base
        .iter()
        .find(|base| base.name == load.name)
        .map(|base| (&base.response, Some(&base.service)))
        .or_else(|| {
            let stored = input
                .base_latency
                .iter()
                .find(|stored| stored.load == load.name)?;
            Some((&stored.response, None))
        })
        .filter(|(response, _)| !response.is_empty());
    let line = |histogram, role| SpectrumLine { histogram, role };
    let mut lines = Vec::new();
    let mut keys = Vec::new();
    let arm = if base.is_some() { "head " } else { "" };
    if let Some((response, service)) = base {
        lines.extend(service.map(|service| line(service, Role::BaseService)));
        lines.push(line(response, Role::Base));
        keys.push(key(Role::Base, "base response"));
        keys.extend(service.map(|_| key(Role::BaseService, "base service")));
    }
    lines.extend([
        line(&load.service, Role::HeadService),
        line(&load.response, Role::Head),
    ]);
    keys.extend([
        key(Role::Head, format!("{arm}response")),
        key(Role::HeadService, format!("{arm}service")),
    ]);
    Some(Figure {
        title: "Percentile spectrum".to_owned(),
        note: "Response time counts from when a request was due, service time from when it was sent; the gap is waiting.".to_owned(),
        alt: format!("Response time by percentile. Head: {}.", percentiles(&load.response)),
        svg: spectrum(&lines)?,
        keys,
    })
}

fn percentiles(histogram: &LatencyHistogram) -> String {
    [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")]
        .into_iter()
        .filter_map(|(quantile, label)| {
            Some(format!(
                "{label} {}",
                format::duration_ns(histogram.quantile_ns(quantile)?)
            ))
        })
        .collect::<Vec<_>>()
        .join(", ")
}
