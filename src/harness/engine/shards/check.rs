//! Whether what a shard's file says can be: it may come from anywhere.
//!
//! What is put together afterwards relies on it: windows are windows, so that those of two workers can be
//! added up, and numbers are numbers of something.

use std::collections::BTreeSet;

use super::file::{MAX_SHARDS, ShardFile};
use crate::harness::engine::load::{LoadFile, MAX_WINDOWS, Shard, WINDOW_NS, length_ns};
use crate::harness::engine::thinned::MAX_SAMPLES;
use crate::harness::model::{
    ArrivalModel, GeneratorHealth, LatencyHistogram, LoadMeasurement, Outcome, RequestSeries,
};
use crate::harness::scenario::{LoadPlan, Plan};

/// A load is shared among at most so many workers of one machine.
const MAX_WORKERS: u32 = 1024;
/// Looks and windows may lie so long after the drain: a worker that is late with its books.
const SLACK_NS: u64 = 3_600_000_000_000;

/// More of anything than this was never counted.
const MAX_COUNT: u64 = 1 << 53;

/// What can't be, in a clause.
pub(super) type Unsound = String;

/// Holds a file against the plan that it says it was made from. One that was stopped before its time, or
/// that says why it is none, may be without any worker.
pub(super) fn check(file: &ShardFile, plan: &Plan) -> Result<(), Unsound> {
    is_a_shard(file.shard)?;
    for load in &plan.loads {
        let parts = file
            .workers
            .iter()
            .filter(|worker| worker.measurement.name == load.name);
        let parts = parts.map(|worker| worker.shard);
        let failed = file.failed.iter().filter(|worker| worker.load == load.name);
        let parts: Vec<Shard> = parts.chain(failed.map(|worker| worker.shard)).collect();
        let says_why = file.partial || !file.invalid.is_empty();
        if !(parts.is_empty() && says_why) {
            is_whole(file.shard, &parts)
                .map_err(|problem| format!("load {}: {problem}", load.name))?;
        }
    }
    let of_plan = |name: &str| {
        let load = plan.load(name);
        load.ok_or_else(|| format!("it measured a load {name} that the scenario has not"))
    };
    for worker in &file.failed {
        of_plan(&worker.load)?;
    }
    for worker in &file.workers {
        let name = &worker.measurement.name;
        let load = of_plan(name)?;
        of_worker(worker, load, plan).map_err(|problem| format!("load {name}: {problem}"))?;
    }
    Ok(())
}

/// Whether it is one of its number.
pub(super) fn is_a_shard(shard: Shard) -> Result<(), Unsound> {
    match (1..=MAX_SHARDS).contains(&shard.of) && shard.index < shard.of {
        true => Ok(()),
        false => Err(format!("there is no shard {shard}")),
    }
}

/// Whether the parts of workers are all of a machine's part, and none of it twice.
fn is_whole(whole: Shard, parts: &[Shard]) -> Result<(), Unsound> {
    let workers = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    if workers > MAX_WORKERS {
        return Err(format!("it had {workers} workers"));
    }
    let expected: BTreeSet<Shard> = (0..workers).map(|nth| whole.part(nth, workers)).collect();
    let found: BTreeSet<Shard> = parts.iter().copied().collect();
    match workers > 0 && found == expected {
        true => Ok(()),
        false => Err("its workers' parts are not all of its own".to_owned()),
    }
}

fn of_worker(worker: &LoadFile, plan: &LoadPlan, of: &Plan) -> Result<(), Unsound> {
    let load = &worker.measurement;
    let total_ns = of.phases.total_ns();
    let latest_ns = total_ns
        .saturating_add(of.phases.drain_ns)
        .saturating_add(SLACK_NS);
    let model = match plan.arrivals.is_open() {
        true => ArrivalModel::Open,
        false => ArrivalModel::Closed,
    };
    demand(
        load.flow == plan.flow && load.model == model,
        "it is another load",
    )?;
    demand(
        load.shards == [worker.shard.into()],
        "its parts are not its worker's",
    )?;
    demand(
        load.capacity.is_none(),
        "a capacity can't be searched for in shards",
    )?;
    demand(worker.ended_ns <= total_ns, "it ended after its end")?;
    demand(load.counts.adds_up(), "its counts don't add up")?;
    demand(
        load.counts.offered <= MAX_COUNT
            && load
                .groups
                .iter()
                .all(|it| it.failed.max(it.cancelled) <= MAX_COUNT),
        "nobody can count so far",
    )?;
    demand(
        load.iteration.count() == load.counts.completed,
        "its iterations are not those that completed",
    )?;
    windows(load, latest_ns)?;
    for series in &load.requests {
        requests(series, load).map_err(|problem| format!("{}: {problem}", series.name))?;
    }
    health(&load.generator, latest_ns)
}

/// Windows are seconds, or two, four, eight of them, one after the other from the start on.
fn windows(load: &LoadMeasurement, latest_ns: u64) -> Result<(), Unsound> {
    demand(load.windows.len() <= MAX_WINDOWS, "it has too many windows")?;
    let Some(first) = load.windows.first() else {
        return Ok(());
    };
    let length_ns = first.length_ns;
    let is_length = length_ns % WINDOW_NS == 0
        && (length_ns / WINDOW_NS).is_power_of_two()
        && length_ns <= latest_ns.saturating_add(WINDOW_NS).saturating_mul(2);
    demand(is_length, "its windows have an odd length")?;
    for (number, window) in (0..).zip(&load.windows) {
        let is_next =
            window.length_ns == length_ns && Some(window.start_ns) == length_ns.checked_mul(number);
        demand(is_next, "its windows don't follow each other")?;
        demand(
            window.counts.adds_up(),
            "the counts of a window don't add up",
        )?;
    }
    Ok(())
}

fn requests(series: &RequestSeries, load: &LoadMeasurement) -> Result<(), Unsound> {
    for outcome in [Outcome::Ok, Outcome::Failed] {
        let count =
            |histogram: Option<&LatencyHistogram>| histogram.map_or(0, LatencyHistogram::count);
        let response = count(series.response.get(&outcome));
        demand(
            response == count(series.service.get(&outcome)),
            "it has other response times than service times",
        )?;
        demand(response <= MAX_COUNT, "nobody can count so far")?;
    }
    let errors = series.errors.values().map(|tally| &tally.count);
    let bytes = [&series.bytes_sent, &series.bytes_received];
    let again = [&series.retries, &series.redirects];
    let mut counts = errors
        .chain(series.statuses.values())
        .chain(bytes)
        .chain(again);
    demand(
        counts.all(|count| *count <= MAX_COUNT),
        "nobody can count so far",
    )?;
    let length_ns = length_ns(load);
    let mut before_ns = None;
    for window in &series.windows {
        let is_next = window.start_ns % length_ns == 0 && before_ns < Some(window.start_ns);
        demand(is_next, "its windows don't follow each other")?;
        before_ns = Some(window.start_ns);
    }
    demand(
        series.windows.len() <= MAX_WINDOWS,
        "it has too many windows",
    )
}

fn health(generator: &GeneratorHealth, latest_ns: u64) -> Result<(), Unsound> {
    let is_number = |value: f64| value.is_finite() && value >= 0.0;
    demand(
        is_number(generator.cores) && generator.cores > 0.0,
        "its generator had no cores",
    )?;
    demand(
        generator.samples.len() <= MAX_SAMPLES,
        "its generator was looked at too often",
    )?;
    let mut before_ns = None;
    for sample in &generator.samples {
        let is_next = before_ns < Some(sample.at_ns) && sample.at_ns <= latest_ns;
        demand(
            is_next && is_number(sample.cpu_cores),
            "the looks at its generator don't follow each other",
        )?;
        before_ns = Some(sample.at_ns);
    }
    Ok(())
}

fn demand(holds: bool, otherwise: &str) -> Result<(), Unsound> {
    match holds {
        true => Ok(()),
        false => Err(otherwise.to_owned()),
    }
}
