//! A load: its arithmetic, its curves, its requests, its errors.

use serde::Serialize;

use crate::harness::model::{
    ArrivalModel, CapacitySearch, LatencyHistogram, LoadMeasurement, Run, Unit,
};
use crate::harness::report::format::{self, value};
use crate::harness::report::input::ReportInput;
use crate::harness::report::load::{LoadSummary, RequestSummary};
use crate::harness::report::plots::{
    Curve, HEIGHT_PX, Role, SpectrumLine, Timeline, curves, latency_over_time, rate_over_time,
    spectrum,
};
use crate::harness::report::text;
use crate::harness::report::words;
use crate::harness::scenario::{Arrivals, Spacing, Stage, is_constant};

use super::table::{Cell, Figure, Table, key, name, num, prose};

/// Request names in the table, the busiest first; a page isn't a database.
const MAX_REQUESTS: usize = 200;
/// Rows of the table of errors, the most frequent first.
const MAX_ERRORS: usize = 100;

/// One load.
#[derive(Debug, Serialize)]
pub(super) struct LoadSection {
    /// For links: names are hostile, numbers are not.
    id: String,
    title: String,
    /// What it did, in a sentence.
    about: String,
    /// The sums that must come out, in order.
    arithmetic: Vec<Sum>,
    figures: Vec<Figure>,
    requests: Table,
    errors: Option<Table>,
}

/// A number of the arithmetic: `= 18,000 offered`.
#[derive(Debug, Serialize)]
struct Sum {
    /// What stands before it: nothing, `=` or `+`.
    sign: &'static str,
    count: String,
    label: &'static str,
    /// Whether it is a failure and there is one.
    alarming: bool,
}

impl LoadSection {
    pub(super) fn new(
        at: usize,
        load: &LoadSummary,
        shown: Option<&Run>,
        base: &[LoadSummary],
        input: &ReportInput<'_>,
    ) -> Self {
        Self {
            id: format!("load-{}", at + 1),
            title: text::shown(&load.name, 60),
            about: about(load, input),
            arithmetic: arithmetic(load),
            figures: figures(load, shown, base, input),
            requests: requests(load),
            errors: errors(load),
        }
    }
}

fn about(load: &LoadSummary, input: &ReportInput<'_>) -> String {
    let planned = input
        .plan
        .and_then(|plan| plan.loads.iter().find(|planned| planned.name == load.name));
    let users = |users: &u32| format::counted(u64::from(*users), "user");
    let arrivals = match planned.map(|planned| &planned.arrivals) {
        Some(Arrivals::Open {
            stages,
            spacing,
            max_in_flight,
        }) => format!(
            "{}, whatever the answers do, by at most {}",
            at_a_rate(stages, *spacing),
            users(max_in_flight)
        ),
        Some(Arrivals::Trace {
            speed,
            arrivals,
            max_in_flight,
            ..
        }) => {
            let speed = match *speed == 1.0 {
                true => String::new(),
                false => format!(", {speed} times as fast"),
            };
            format!(
                "{} at recorded times{speed}, whatever the answers do, by at most {}",
                format::counted(*arrivals, "arrival"),
                users(max_in_flight)
            )
        }
        Some(Arrivals::Capacity {
            from,
            to,
            hold_ns,
            spacing,
            ..
        }) => format!(
            "Arrivals at several rates in turn between {} and {}, each for {}, to find the highest at which the limits \
             hold, whatever the answers do{}",
            value(&Unit::PerSecond, *from),
            value(&Unit::PerSecond, *to),
            format::duration_ns(*hold_ns),
            spaced(*spacing)
        ),
        Some(closed @ Arrivals::Closed { stages, .. }) => {
            let up_to = match is_constant(stages) {
                true => "",
                false => "Up to ",
            };
            match closed.most_users().unwrap_or(0) {
                1 => "1 user that waits for its answers".to_owned(),
                users => format!(
                    "{up_to}{} that wait for their answers",
                    format::counted(users, "user")
                ),
            }
        }
        None => match load.model {
            ArrivalModel::Open => "Arrivals at a rate, whatever the answers do".to_owned(),
            ArrivalModel::Closed => "Users that wait for their answers".to_owned(),
        },
    };
    let clock = match load.model {
        ArrivalModel::Open => " Response times count from the moment at which a request was due.",
        ArrivalModel::Closed => "",
    };
    let found = found(&load.name, &input.shown_head());
    format!(
        "{arrivals}; flow {}. {found}Measured for {} in {}.{clock}",
        text::shown(&load.flow, 60),
        format::duration_ns(load.measured_ns),
        format::counted(load.runs as u64, "run"),
    )
}

/// What the search of a load found, as sentences; empty for a load that is none.
fn found(load: &str, runs: &[&Run]) -> String {
    let searches: Vec<&CapacitySearch> = runs
        .iter()
        .flat_map(|run| &run.measurement.loads)
        .filter(|measured| measured.name == load)
        .filter_map(|measured| measured.capacity.as_ref())
        .collect();
    let rate = |rate: f64| value(&Unit::PerSecond, rate);
    if let [search] = searches[..] {
        return match (search.holds, search.breaks) {
            (Some(holds), Some(breaks)) => {
                format!(
                    "The limits held at {}, and no more at {}. ",
                    rate(holds),
                    rate(breaks)
                )
            }
            (Some(holds), None) => {
                format!(
                    "The limits held at {}, the highest that could be tried. ",
                    rate(holds)
                )
            }
            (None, Some(breaks)) => format!("The limits held not even at {}. ", rate(breaks)),
            (None, None) => String::new(),
        };
    }
    let holds = || searches.iter().filter_map(|search| search.holds);
    match (holds().reduce(f64::min), holds().reduce(f64::max)) {
        (Some(least), Some(most)) => format!(
            "The highest rates at which the limits held were {} to {}. ",
            rate(least),
            rate(most)
        ),
        _ => String::new(),
    }
}

/// How arrivals of a rate come, as the beginning of a sentence.
fn at_a_rate(stages: &[Stage], spacing: Spacing) -> String {
    let highest = stages.iter().map(Stage::highest).fold(0.0, f64::max);
    let highest = value(&Unit::PerSecond, highest);
    match is_constant(stages) {
        true => format!("Arrivals at {highest}{}", spaced(spacing)),
        false => format!("Arrivals at a rate of up to {highest}{}", spaced(spacing)),
    }
}

fn spaced(spacing: Spacing) -> &'static str {
    match spacing {
        Spacing::Even => "",
        Spacing::Poisson => " at random (Poisson)",
    }
}

fn arithmetic(load: &LoadSummary) -> Vec<Sum> {
    let counts = &load.counts;
    let sum = |sign, count: u64, label, bad| Sum {
        sign,
        count: format::count(count),
        label,
        alarming: bad && count > 0,
    };
    let mut sums = vec![
        sum("", counts.offered, "offered", false),
        sum("=", counts.completed, "completed", false),
    ];
    sums.push(sum("+", counts.failed, "failed", true));
    sums.push(sum("+", counts.cancelled, "cut off at the end", false));
    if load.model == ArrivalModel::Open {
        sums.push(sum("+", counts.dropped, "dropped", true));
    }
    sums
}

fn figures(
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
        if let Some(svg) = latency_over_time(&timeline, measured) {
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
            value(&Unit::PerSecond, load.per_second(load.counts.completed)),
            value(&Unit::PerSecond, load.per_second(load.counts.offered)),
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

fn requests(load: &LoadSummary) -> Table {
    let mut table = Table::new(
        "Requests: response time of those in order, in the measure phase",
        &[
            "Request",
            "In order",
            "Failed",
            "Rate",
            "p50",
            "p95",
            "p99",
            "p99.9",
            "Slowest",
            "Service p95",
            "Sent",
            "Received",
        ],
    );
    let mut requests: Vec<&RequestSummary> = load.requests.iter().collect();
    if requests.len() > MAX_REQUESTS {
        requests.sort_by_key(|request| {
            std::cmp::Reverse(request.response.count().saturating_add(request.failed))
        });
        table.note = format!(
            "The {MAX_REQUESTS} busiest of {} names; the JSON report has all of them.",
            format::count(requests.len() as u64)
        );
        requests.truncate(MAX_REQUESTS);
    }
    table.rows = requests
        .into_iter()
        .map(|request| request_row(load, request))
        .collect();
    table
}

fn request_row(load: &LoadSummary, request: &RequestSummary) -> Vec<Cell> {
    let mut failed = num(format::count(request.failed));
    if request.failed > 0 {
        failed.class = "num bad";
    }
    let mut row = vec![
        name(&request.name),
        num(format::count(request.response.count())),
        failed,
        num(value(
            &Unit::PerSecond,
            load.per_second(request.response.count()),
        )),
    ];
    // One reading each: they are packed.
    row.extend(latencies(&request.response, [0.5, 0.95, 0.99, 0.999, 1.0]));
    row.extend(latencies(&request.service, [0.95]));
    row.push(num(value(&Unit::Bytes, request.bytes_sent as f64)));
    row.push(num(value(&Unit::Bytes, request.bytes_received as f64)));
    row
}

fn errors(load: &LoadSummary) -> Option<Table> {
    let mut rows: Vec<(u64, Vec<Cell>)> = load
        .requests
        .iter()
        .flat_map(|request| {
            let total = request.failed.saturating_add(request.response.count());
            request.errors.iter().map(move |(kind, tally)| {
                let row = vec![
                    prose(words::error_kind(*kind)),
                    name(&request.name),
                    num(format::count(tally.count)),
                    num(format::share(tally.count, total)),
                    prose(&tally.example),
                ];
                (tally.count, row)
            })
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    rows.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let mut table = Table::new(
        "Errors by kind",
        &["Kind", "Request", "Count", "Share", "The first one"],
    );
    let more = rows.len().saturating_sub(MAX_ERRORS);
    if more > 0 {
        table.note = format!("{more} rarer ones are in the JSON report.");
    }
    table.rows = rows
        .into_iter()
        .take(MAX_ERRORS)
        .map(|(_, row)| row)
        .collect();
    Some(table)
}

/// Below one request beyond it a quantile other than the last is just the slowest one over again.
fn latencies<const N: usize>(histogram: &LatencyHistogram, ascending: [f64; N]) -> [Cell; N] {
    let found = histogram.quantiles_ns(ascending);
    std::array::from_fn(|at| {
        let told = ascending[at] == 1.0 || histogram.beyond(ascending[at]) >= 1.0;
        match found.get(at) {
            Some(ns) if told => num(format::duration_ns(*ns)),
            _ => num("–"),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::model::RunId;

    #[test]
    fn what_a_search_found_is_told() {
        let check = |found_in: &[(Option<f64>, Option<f64>)], expected: &str| {
            let runs: Vec<Run> = found_in
                .iter()
                .map(|(holds, breaks)| {
                    let mut load = LoadMeasurement::new("api", "f", ArrivalModel::Open);
                    load.capacity = Some(CapacitySearch {
                        holds: *holds,
                        breaks: *breaks,
                        trials: Vec::new(),
                    });
                    let mut run = Run::imported(RunId::now(), "s".into(), Vec::new());
                    run.measurement.loads.push(load);
                    run
                })
                .collect();
            let runs: Vec<&Run> = runs.iter().collect();
            assert_eq!(found("api", &runs), expected);
            assert_eq!(found("other", &runs), "");
        };
        let both = (Some(400.0), Some(420.0));
        check(&[both], "The limits held at 400/s, and no more at 420/s. ");
        check(
            &[(Some(900.0), None)],
            "The limits held at 900/s, the highest that could be tried. ",
        );
        check(
            &[(None, Some(100.0))],
            "The limits held not even at 100/s. ",
        );
        check(&[(None, None)], "");
        check(
            &[both, (Some(440.0), Some(460.0)), (None, Some(100.0))],
            "The highest rates at which the limits held were 400/s to 440/s. ",
        );
        check(&[], "");
    }
}
