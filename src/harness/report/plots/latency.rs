//! Latency over time: percentiles, and how many requests took how long.

use std::collections::BTreeMap;

use crate::harness::model::{LatencyHistogram, LoadMeasurement, Unit};
use crate::harness::report::format;

use super::axis;
use super::role::Role;
use super::scene::Mark;
use super::series::{lines, stride};
use super::timeline::{HEIGHT_PX, Timeline, seconds, usual_step};

/// The percentiles that are drawn.
pub(super) const QUANTILES: [(f64, Role); 3] =
    [(0.5, Role::P50), (0.95, Role::P95), (0.99, Role::P99)];
/// Requests that must lie beyond a quantile in a window before a point is drawn for it. One run's
/// windows are small: this is for the eye and not for a verdict. Less than one, so that the
/// windows of a load whose rate is on the edge don't come and go with one request.
const MIN_BEYOND: f64 = 0.5;

/// The columns of a density at most: a cell has to be seen.
const MAX_COLUMNS: usize = 80;
/// Its rows.
const ROWS: usize = 24;
/// Depths that can be told apart.
const DEPTHS: f64 = 8.0;

/// The response times of a load's requests in order, by window.
#[derive(Debug)]
pub(crate) struct LatencyWindows(Vec<(f64, LatencyHistogram)>);

impl LatencyWindows {
    /// Those of a load, neighbours put together where there are more than can be drawn.
    pub(crate) fn of(load: &LoadMeasurement) -> Self {
        Self(merged_windows(load))
    }
}

/// Percentiles of the response times over time, on a logarithmic axis; `None` where nothing was answered.
pub(crate) fn latency_over_time(
    timeline: &Timeline<'_>,
    LatencyWindows(merged): &LatencyWindows,
) -> Option<String> {
    let mut curves: Vec<(Role, Vec<(f64, f64)>)> = QUANTILES
        .iter()
        .map(|(_, role)| (*role, Vec::new()))
        .collect();
    let mut largest = Vec::new();
    let due_s = timeline.due_ns().map(|due_ns| seconds(due_ns as i64));
    for (at_s, histogram) in merged {
        largest.extend(histogram.max_ns().map(|ns| (*at_s, ns.max(1) as f64)));
        // The few that come late are the slowest ones; a percentile of them would look like a rise.
        if due_s.is_some_and(|due_s| *at_s > due_s) {
            continue;
        }
        for ((quantile, _), (_, points)) in QUANTILES.iter().zip(&mut curves) {
            if histogram.beyond(*quantile) >= MIN_BEYOND
                && let Some(ns) = histogram.quantile_ns(*quantile)
            {
                points.push((*at_s, ns.max(1) as f64));
            }
        }
    }
    let all = || {
        curves
            .iter()
            .flat_map(|(_, points)| points)
            .chain(&largest)
            .map(|(_, ns)| *ns)
    };
    let (low, high) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
    let log = |points: &[(f64, f64)]| {
        points
            .iter()
            .map(|(x, ns)| (*x, ns.log10()))
            .collect::<Vec<_>>()
    };
    let largest = log(&largest);
    let mut marks: Vec<Mark> = largest
        .iter()
        .map(|&at| Mark::Dot {
            at,
            radius: 1.5,
            role: Role::Max,
        })
        .collect();
    // Not seen: it tells the values of the points to who points at them.
    marks.push(Mark::Line {
        points: largest.clone(),
        role: Role::Max,
    });
    // By the windows and not by the points of one curve: a curve is not drawn across windows that
    // had too few requests for it.
    let gap = usual_step(&largest) * 1.5;
    for (role, points) in curves {
        let drawn = lines(&log(&points), gap);
        let drawn = drawn.into_iter();
        marks.extend(drawn.flat_map(|points| Mark::curve(points, role)));
    }
    Some(
        timeline
            .scene(HEIGHT_PX, axis::log(&Unit::Nanoseconds, low, high), marks)
            .svg(),
    )
}

/// How many requests took how long, over time: the deeper, the more, on a logarithmic scale; `None` where nothing
/// was answered. Two groups of requests that a percentile lies between are seen here only.
pub(crate) fn latency_density(
    timeline: &Timeline<'_>,
    LatencyWindows(merged): &LatencyWindows,
) -> Option<String> {
    let step = usual_step(merged);
    let columns: Vec<(f64, f64, LatencyHistogram)> = merged
        .chunks(merged.len().div_ceil(MAX_COLUMNS).max(1))
        .filter_map(|chunk| {
            let ((first, _), (last, _)) = (chunk.first()?, chunk.last()?);
            let mut all = LatencyHistogram::new();
            for (_, histogram) in chunk {
                all.merge(histogram);
            }
            Some((first - step / 2.0, last + step / 2.0, all))
        })
        .collect();
    let ends = |quantile| {
        let all = columns.iter();
        all.filter_map(move |(.., histogram)| histogram.quantile_ns(quantile))
    };
    let (low, high) = (ends(0.0).min()?.max(1), ends(1.0).max()?.max(1));
    let y = axis::log(&Unit::Nanoseconds, low as f64, high as f64);
    let row = (y.to - y.from) / ROWS as f64;
    let bottoms: Vec<f64> = (0..=ROWS).map(|at| y.from + row * at as f64).collect();
    let edges: Vec<u64> = bottoms.iter().map(|at| 10_f64.powf(*at) as u64).collect();
    let counts: Vec<Vec<u64>> = columns
        .iter()
        .map(|(.., histogram)| {
            let up_to = histogram.counts_up_to(&edges);
            up_to.windows(2).map(|pair| pair[1] - pair[0]).collect()
        })
        .collect();
    let most = counts.iter().flatten().copied().max()?;
    let depth = |count: u64| match count {
        0 => 0,
        count => ((count as f64).ln_1p() / (most as f64).ln_1p() * DEPTHS).ceil() as u32,
    };
    let mut marks = Vec::new();
    for at in 0..ROWS {
        let of_row: Vec<(f64, f64, u32)> = columns
            .iter()
            .zip(&counts)
            .map(|((from, to, _), counts)| (*from, *to, depth(counts[at])))
            .collect();
        // Neighbours of one depth are one rectangle.
        let alike = of_row.chunk_by(|a, b| a.2 == b.2 && b.0 - a.1 < step / 2.0);
        marks.extend(
            alike
                .filter(|cells| cells[0].2 > 0)
                .map(|cells| Mark::Cell {
                    corners: [
                        (cells[0].0.max(0.0), bottoms[at]),
                        (cells[cells.len() - 1].1, bottoms[at + 1]),
                    ],
                    depth: f64::from(cells[0].2) / DEPTHS,
                    role: Role::Density,
                }),
        );
    }
    marks.extend(columns.iter().filter_map(|(from, to, histogram)| {
        let (low, high) = (histogram.quantile_ns(0.0)?, histogram.max_ns()?);
        Some(Mark::Note {
            corners: [(from.max(0.0), y.from), (*to, y.to)],
            text: format!(
                "{} to {}: {} in order, {}",
                format::clock_ns((from.max(0.0) * 1e9) as i64),
                format::clock_ns((to * 1e9) as i64),
                format::count(histogram.count()),
                format::range(&Unit::Nanoseconds, low as f64, high as f64),
            ),
        })
    }));
    Some(timeline.scene(HEIGHT_PX, y, marks).svg())
}

/// All request names together, by window (the middle of it in s), neighbours merged where there
/// are more than can be drawn. Histograms add up exactly, so the percentiles stay right.
fn merged_windows(load: &LoadMeasurement) -> Vec<(f64, LatencyHistogram)> {
    let stride = stride(load.windows.len());
    // From a window's start to the bin that it is drawn in.
    let mut bins: Vec<f64> = Vec::new();
    let mut bin_of: BTreeMap<u64, usize> = BTreeMap::new();
    for windows in load.windows.chunks(stride) {
        let length_s: f64 = windows
            .iter()
            .map(|window| window.length_ns as f64 / 1e9)
            .sum();
        for window in windows {
            bin_of.insert(window.start_ns, bins.len());
        }
        bins.push(seconds(windows[0].start_ns as i64) + length_s / 2.0);
    }
    let mut merged: BTreeMap<usize, LatencyHistogram> = BTreeMap::new();
    for window in load.requests.iter().flat_map(|request| &request.windows) {
        // A window of the requests that the load doesn't have would be a bug of the engine; it is
        // drawn in the nearest one before it rather than lost.
        if let Some((_, bin)) = bin_of.range(..=window.start_ns).next_back() {
            merged.entry(*bin).or_default().merge(&window.response);
        }
    }
    merged
        .into_iter()
        .filter(|(_, histogram)| !histogram.is_empty())
        .map(|(bin, histogram)| (bins[bin], histogram))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::model::{Phase, PhaseSpan, Run, RunId};

    const MS: u64 = 1_000_000;

    /// What ended after the last phase is a few slow ones: points, and no rise of a percentile.
    #[test]
    fn no_curve_leads_through_what_came_late() {
        let mut run = Run::imported(RunId::now(), "s".into(), Vec::new());
        run.measurement.phases = vec![PhaseSpan {
            phase: Phase::Measure,
            start_ns: 0,
            end_ns: 2000 * MS,
        }];
        let mut histogram = LatencyHistogram::new();
        histogram.record(MS);
        histogram.record(2 * MS);
        let at = |at_s| (at_s, histogram.clone());
        let windows = LatencyWindows(vec![at(0.5), at(1.5), at(2.5)]);
        let svg = latency_over_time(&Timeline::of(&run), &windows).unwrap();
        let curves = svg.split("<polyline").skip(1);
        let of_p50 = curves.filter(|curve| curve.contains("s-p50"));
        let told = of_p50.filter_map(|curve| curve.split("data-told=\"").nth(1)?.split('"').next());
        let points: Vec<usize> = told.map(|told| told.split(';').count()).collect();
        assert_eq!(points, [2], "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
    }

    #[test]
    fn a_column_of_the_density_tells_what_it_stands_for() {
        let run = Run::imported(RunId::now(), "s".into(), Vec::new());
        let mut of_a_second = LatencyHistogram::new();
        for ns in [MS, 2 * MS, 64 * MS] {
            of_a_second.record(ns);
        }
        let windows = LatencyWindows(vec![(0.5, of_a_second.clone()), (1.5, of_a_second)]);
        let svg = latency_density(&Timeline::of(&run), &windows).unwrap();
        let told = svg.replace('\u{202f}', " ");
        assert!(
            told.contains("<title>0 to 1 s: 3 in order, 1.00 … 64.0 ms</title>"),
            "{svg}"
        );
        assert_eq!(told.matches("<title>").count(), 2, "{svg}");
    }
}
