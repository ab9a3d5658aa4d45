//! The tables of a load: its requests, its groups, its connections, its errors.

use crate::harness::model::{GroupSeries, LatencyHistogram, Unit};
use crate::harness::report::format::{self, value};
use crate::harness::report::load::{LoadSummary, RequestSummary};
use crate::harness::report::words;

use super::table::{Cell, Table, count, name, num, num_of, prose};

/// Names in a table of requests or of groups, the busiest first; a page isn't a database.
const MAX_NAMES: usize = 200;
/// Rows of the table of errors, the most frequent first.
const MAX_ERRORS: usize = 100;

/// Something that is counted of a request name.
type Count = fn(&RequestSummary) -> u64;

/// One row per request name. Further attempts and redirects have columns where there were any, and so has the base.
pub(super) fn requests(load: &LoadSummary, base: Option<&LoadSummary>) -> Table {
    let mut extra: Vec<(&str, Count)> = vec![
        ("Retries", |request| request.retries),
        ("Redirects", |request| request.redirects),
    ];
    extra.retain(|(_, times)| load.requests.iter().any(|request| times(request) > 0));
    let mut heads = vec!["Request", "In order", "Failed"];
    heads.extend(extra.iter().map(|(head, _)| *head));
    heads.extend(["Rate", "p50", "p95"]);
    heads.extend(base.map(|_| "Base p95"));
    heads.extend(["p99", "p99.9", "Slowest", "Service p95", "Sent", "Received"]);
    let mut table = Table::new(
        "Requests: response time of those in order, in the measure phase",
        &heads,
    );
    let (requests, note) = busiest(&load.requests, |request| {
        request.response.count().saturating_add(request.failed)
    });
    table.note = note;
    if !extra.is_empty() {
        let what = "All attempts and redirects of a request are one request, whose times are those of all of them together.";
        table.note = format!("{what} {}", table.note).trim_end().to_owned();
    }
    table.rows = requests
        .into_iter()
        .map(|request| {
            let extra: Vec<u64> = extra.iter().map(|(_, times)| times(request)).collect();
            let base = base.map(|base| {
                let mut requests = base.requests.iter();
                requests.find(|of_base| of_base.name == request.name)
            });
            request_row(load, request, base, &extra)
        })
        .collect();
    table
}

/// `base` is the same name there, where there is a base, and where that has it.
fn request_row(
    load: &LoadSummary,
    request: &RequestSummary,
    base: Option<Option<&RequestSummary>>,
    extra: &[u64],
) -> Vec<Cell> {
    let mut row = vec![
        name(&request.name),
        count(request.response.count()),
        failures(request.failed),
    ];
    row.extend(extra.iter().map(|times| count(*times)));
    let rate = load.per_second(request.response.count());
    row.push(num_of(rate, value(&Unit::PerSecond, rate)));
    // One reading each: they are packed.
    let [p50, p95, beyond @ ..] = latencies(&request.response, [0.5, 0.95, 0.99, 0.999, 1.0]);
    row.extend([p50, p95]);
    row.extend(base.map(|base| {
        let p95 = base.and_then(|base| latencies(&base.response, [0.95]).into_iter().next());
        p95.unwrap_or_else(|| num("–"))
    }));
    row.extend(beyond);
    row.extend(latencies(&request.service, [0.95]));
    row.extend([request.bytes_sent, request.bytes_received].map(bytes));
    row
}

/// One row per group of steps; `None` where there are none.
pub(super) fn groups(load: &LoadSummary) -> Option<Table> {
    if load.groups.is_empty() {
        return None;
    }
    let mut table = Table::new(
        "Groups: how long those took in which every step was in order, pauses included",
        &[
            "Group",
            "Performed",
            "Failed",
            "p50",
            "p95",
            "p99",
            "Slowest",
        ],
    );
    let (groups, note) = busiest(&load.groups, GroupSeries::performed);
    table.note = note;
    table.rows = groups
        .into_iter()
        .map(|group| {
            let mut row = vec![
                name(&group.name),
                count(group.performed()),
                failures(group.failed),
            ];
            row.extend(latencies(&group.duration, [0.5, 0.95, 0.99, 1.0]));
            row
        })
        .collect();
    Some(table)
}

/// How connections came about, of which only what occurred; `None` where nothing did.
pub(super) fn connections(load: &LoadSummary) -> Option<Table> {
    let of = &load.connections;
    let rows: Vec<Vec<Cell>> = [
        ("Name resolution", &of.dns),
        ("Connecting", &of.connect),
        ("TLS handshake", &of.tls),
        ("First byte", &of.first_byte),
    ]
    .into_iter()
    .filter(|(_, took)| !took.is_empty())
    .map(|(what, took)| {
        let mut row = vec![name(what), count(took.count())];
        row.extend(latencies(took, [0.5, 0.95, 0.99, 1.0]));
        row
    })
    .collect();
    if rows.is_empty() {
        return None;
    }
    let mut table = Table::new(
        "Connections, in the measure phase",
        &["What", "Times", "p50", "p95", "p99", "Slowest"],
    );
    table.note = "Each is counted where it was needed: a connection that is used again needs none. First byte: from the send of a request to the beginning of its answer, without what a new connection took.".to_owned();
    table.rows = rows;
    Some(table)
}

/// The failures by kind, the most frequent first; `None` without any.
pub(super) fn errors(load: &LoadSummary) -> Option<Table> {
    let mut rows: Vec<(u64, Vec<Cell>)> = load
        .requests
        .iter()
        .flat_map(|request| {
            let total = request.failed.saturating_add(request.response.count());
            request.errors.iter().map(move |(kind, tally)| {
                let row = vec![
                    prose(words::error_kind(*kind)),
                    name(&request.name),
                    count(tally.count),
                    num_of(
                        tally.count as f64 / total.max(1) as f64,
                        format::share(tally.count, total),
                    ),
                    prose(&tally.example),
                ];
                (tally.count, row)
            })
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    rows.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
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

/// All of them in their order, or the busiest of many and a sentence that says so.
fn busiest<T>(all: &[T], times: impl Fn(&T) -> u64) -> (Vec<&T>, String) {
    let mut shown: Vec<&T> = all.iter().collect();
    if shown.len() <= MAX_NAMES {
        return (shown, String::new());
    }
    shown.sort_by_key(|one| std::cmp::Reverse(times(one)));
    shown.truncate(MAX_NAMES);
    let note = format!(
        "The {MAX_NAMES} busiest of {} names; the JSON report has all of them.",
        format::count(all.len() as u64)
    );
    (shown, note)
}

fn bytes(n: u64) -> Cell {
    num_of(n as f64, value(&Unit::Bytes, n as f64))
}

fn failures(failed: u64) -> Cell {
    let mut cell = count(failed);
    if failed > 0 {
        cell.class = "num bad";
    }
    cell
}

/// Below one request beyond it a quantile other than the last is just the slowest one over again.
fn latencies<const N: usize>(histogram: &LatencyHistogram, ascending: [f64; N]) -> [Cell; N] {
    let found = histogram.quantiles_ns(ascending);
    std::array::from_fn(|at| {
        let told = ascending[at] == 1.0 || histogram.beyond(ascending[at]) >= 1.0;
        match found.get(at) {
            Some(ns) if told => num_of(*ns as f64, format::duration_ns(*ns)),
            _ => num("–"),
        }
    })
}
