//! A load over several runs of one arm: counts added up, histograms merged. For display only; the
//! verdict rests on one number a run.

use std::collections::BTreeMap;

use crate::harness::model::{
    ArrivalModel, CapacitySearch, ConnectionSeries, Counts, ErrorKind, ErrorTally, GroupSeries,
    InvalidReason, LatencyHistogram, LoadMeasurement, Outcome, Phase, RequestSeries, Run, RunId,
};

/// One load over the runs of an arm.
#[derive(Debug, Clone)]
pub(crate) struct LoadSummary {
    /// The name in the scenario.
    pub(crate) name: String,
    /// The flow it drives.
    pub(crate) flow: String,
    /// Open or closed.
    pub(crate) model: ArrivalModel,
    /// Added up over the runs.
    pub(crate) counts: Counts,
    /// The length of the measure phases together, in ns.
    pub(crate) measured_ns: u64,
    /// In how many runs it ran.
    pub(crate) runs: usize,
    /// Response times of all requests in order, in ns.
    pub(crate) response: LatencyHistogram,
    /// Service times of all requests in order, in ns.
    pub(crate) service: LatencyHistogram,
    /// Lateness of the generator's tickets, in ns; empty in a closed model.
    pub(crate) lateness: LatencyHistogram,
    /// In the order of the flow.
    pub(crate) requests: Vec<RequestSummary>,
    /// In the order of the flow; names are hostile.
    pub(crate) groups: Vec<GroupSeries>,
    /// How connections came about, and when answers began.
    pub(crate) connections: ConnectionSeries,
    /// What the runs found that searched for its capacity, in their order.
    pub(crate) searches: Vec<Search>,
    /// Workers in the run with the fewest and in that with the most of them.
    pub(crate) workers: (usize, usize),
    /// The smallest part of it that was put together from the workers of a run: 1 where none is missing.
    pub(crate) part: f64,
}

/// A search for the capacity of a load, in one run.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    /// The run.
    pub(crate) run: RunId,
    /// What it found.
    pub(crate) found: CapacitySearch,
    /// Whether the run ended before the search did.
    pub(crate) is_cut_short: bool,
}

/// One request name over the runs of an arm.
#[derive(Debug, Clone)]
pub(crate) struct RequestSummary {
    /// The name; hostile.
    pub(crate) name: String,
    /// Response times of the requests in order, in ns.
    pub(crate) response: LatencyHistogram,
    /// Service times of the requests in order, in ns.
    pub(crate) service: LatencyHistogram,
    /// How many failed; those that the end of the drain cut off are among them.
    pub(crate) failed: u64,
    /// By kind, with an example.
    pub(crate) errors: BTreeMap<ErrorKind, ErrorTally>,
    /// Bytes of the request bodies that were answered.
    pub(crate) bytes_sent: u64,
    /// Bytes of response bodies.
    pub(crate) bytes_received: u64,
    /// Attempts that were tried again.
    pub(crate) retries: u64,
    /// Redirects that were followed.
    pub(crate) redirects: u64,
}

impl LoadSummary {
    /// `count` events over the measure phases, per second; 0 where nothing was measured.
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        match self.measured_ns {
            0 => 0.0,
            ns => count as f64 * 1e9 / ns as f64,
        }
    }

    /// Requests that failed, of how many.
    pub(crate) fn failed_of(&self) -> (u64, u64) {
        let failed = sum(self.requests.iter().map(|request| request.failed));
        (failed, failed.saturating_add(self.response.count()))
    }

    /// Its failures by kind, the most frequent first.
    pub(crate) fn failures(&self) -> Vec<FailuresOfKind<'_>> {
        let mut by_kind: BTreeMap<ErrorKind, FailuresOfKind<'_>> = BTreeMap::new();
        for request in &self.requests {
            for (kind, tally) in &request.errors {
                let known = by_kind.entry(*kind).or_insert(FailuresOfKind {
                    kind: *kind,
                    count: 0,
                    request: &request.name,
                    most: tally,
                });
                known.count = known.count.saturating_add(tally.count);
                if tally.count > known.most.count {
                    known.request = &request.name;
                    known.most = tally;
                }
            }
        }
        let mut failures: Vec<FailuresOfKind<'_>> = by_kind.into_values().collect();
        failures.retain(|failures| failures.count > 0);
        failures.sort_by_key(|failures| std::cmp::Reverse(failures.count));
        failures
    }
}

/// The failures of one kind in a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailuresOfKind<'a> {
    /// What went wrong.
    pub(crate) kind: ErrorKind,
    /// How many, of all request names.
    pub(crate) count: u64,
    /// The request name that has most of them; hostile.
    pub(crate) request: &'a str,
    /// Those of that name.
    pub(crate) most: &'a ErrorTally,
}

/// Every load of the runs, in the order in which the first run that has it has them.
pub(crate) fn summarise(runs: &[&Run]) -> Vec<LoadSummary> {
    let mut summaries: Vec<LoadSummary> = Vec::new();
    for run in runs {
        let measured_ns = measured_ns(run);
        for load in &run.measurement.loads {
            let known = summaries
                .iter()
                .position(|summary| summary.name == load.name);
            let at = known.unwrap_or_else(|| {
                summaries.push(empty(load));
                summaries.len() - 1
            });
            add(&mut summaries[at], load, measured_ns);
            summaries[at].searches.extend(search(run, load));
        }
    }
    summaries
}

/// The 95th percentile of the response time of a run's first load, in ns.
pub(crate) fn first_p95_ns(run: &Run) -> Option<u64> {
    let mut response = LatencyHistogram::new();
    for series in &run.measurement.loads.first()?.requests {
        if let Some(in_order) = series.response.get(&Outcome::Ok) {
            response.merge(in_order);
        }
    }
    response.quantile_ns(0.95)
}

fn measured_ns(run: &Run) -> u64 {
    let phases = run.measurement.phases.iter();
    let measured = phases.filter(|span| span.phase == Phase::Measure);
    sum(measured.map(|span| span.end_ns.saturating_sub(span.start_ns)))
}

/// A run may come from a file of anyone's, whose numbers need not fit together.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn empty(load: &LoadMeasurement) -> LoadSummary {
    LoadSummary {
        name: load.name.clone(),
        flow: load.flow.clone(),
        model: load.model,
        counts: Counts::default(),
        measured_ns: 0,
        runs: 0,
        response: LatencyHistogram::new(),
        service: LatencyHistogram::new(),
        lateness: LatencyHistogram::new(),
        requests: Vec::new(),
        groups: Vec::new(),
        connections: ConnectionSeries::default(),
        searches: Vec::new(),
        workers: (usize::MAX, 0),
        part: 1.0,
    }
}

fn add(summary: &mut LoadSummary, load: &LoadMeasurement, measured_ns: u64) {
    summary.counts.add(&load.counts);
    summary.measured_ns = summary.measured_ns.saturating_add(measured_ns);
    summary.runs += 1;
    summary.lateness.merge(&load.generator.ticket_lateness);
    add_workers(summary, load);
    summary.connections.add(&load.connections);
    add_groups(&mut summary.groups, &load.groups);
    add_requests(summary, &load.requests);
}

fn add_workers(summary: &mut LoadSummary, load: &LoadMeasurement) {
    let (fewest, most) = summary.workers;
    let workers = load.shards.len();
    summary.workers = (fewest.min(workers), most.max(workers));
    let parts = load.shards.iter().map(|part| 1.0 / f64::from(part.of));
    // Nobody says of a load of no workers that a part of it is missing.
    if workers > 0 {
        summary.part = summary.part.min(parts.sum());
    }
}

fn add_groups(groups: &mut Vec<GroupSeries>, more: &[GroupSeries]) {
    let mut known = places(groups.iter().map(|group| &group.name));
    for series in more {
        let at = *known.entry(series.name.clone()).or_insert_with(|| {
            groups.push(GroupSeries {
                name: series.name.clone(),
                ..GroupSeries::default()
            });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.add(series);
        group.duration.pack();
    }
}

/// What the run found of the load. What makes a run invalid cuts its search short, but for that with which a
/// search comes to its own end: the generator gave in before the target.
fn search(run: &Run, load: &LoadMeasurement) -> Option<Search> {
    let is_end =
        |reason: &InvalidReason| matches!(reason, InvalidReason::CapacityBeyondGenerator { .. });
    Some(Search {
        run: run.id,
        found: load.capacity.clone()?,
        is_cut_short: run.partial || !run.invalid.iter().all(is_end),
    })
}

fn add_requests(summary: &mut LoadSummary, more: &[RequestSeries]) {
    let mut known = places(summary.requests.iter().map(|request| &request.name));
    for series in more {
        let at = *known.entry(series.name.clone()).or_insert_with(|| {
            summary.requests.push(RequestSummary {
                name: series.name.clone(),
                response: LatencyHistogram::new(),
                service: LatencyHistogram::new(),
                failed: 0,
                errors: BTreeMap::new(),
                bytes_sent: 0,
                bytes_received: 0,
                retries: 0,
                redirects: 0,
            });
            summary.requests.len() - 1
        });
        let request = &mut summary.requests[at];
        if let Some(response) = series.response.get(&Outcome::Ok) {
            request.response.merge(response);
            summary.response.merge(response);
        }
        if let Some(service) = series.service.get(&Outcome::Ok) {
            request.service.merge(service);
            summary.service.merge(service);
        }
        // Open, those of five thousand names would take 2 GB.
        request.response.pack();
        request.service.pack();
        request.bytes_sent = request.bytes_sent.saturating_add(series.bytes_sent);
        request.bytes_received = request.bytes_received.saturating_add(series.bytes_received);
        request.retries = request.retries.saturating_add(series.retries);
        request.redirects = request.redirects.saturating_add(series.redirects);
        for (kind, tally) in &series.errors {
            request.failed = request.failed.saturating_add(tally.count);
            let known = request.errors.entry(*kind).or_default();
            known.count = known.count.saturating_add(tally.count);
            if known.example.is_empty() {
                known.example.clone_from(&tally.example);
            }
        }
    }
}

/// Where each name stands, in a map: a scenario may have thousands of them.
fn places<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<String, usize> {
    names.cloned().zip(0..).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::model::ShardPart;

    /// A run with one load.
    fn run(load: LoadMeasurement) -> Run {
        let mut run = Run::imported(RunId::now(), "s".into(), Vec::new());
        run.measurement.loads.push(load);
        run
    }

    fn empty_load() -> LoadMeasurement {
        LoadMeasurement::new("api", "f", ArrivalModel::Open)
    }

    fn together(runs: &[Run]) -> LoadSummary {
        let runs: Vec<&Run> = runs.iter().collect();
        summarise(&runs).remove(0)
    }

    #[test]
    fn what_the_runs_counted_adds_up() {
        let with = |retries, redirects, took_ms: u64, failed| {
            let mut load = empty_load();
            let mut request = RequestSeries::new("GET /");
            (request.retries, request.redirects) = (retries, redirects);
            load.requests.push(request);
            let mut group = GroupSeries {
                name: "checkout".into(),
                failed,
                ..GroupSeries::default()
            };
            group.duration.record(took_ms * 1_000_000);
            load.groups.push(group);
            load.connections.tls.record(took_ms * 1_000_000);
            run(load)
        };
        let sum = together(&[with(2, 1, 10, 3), with(u64::MAX, 4, 20, 5)]);
        let request = &sum.requests[0];
        assert_eq!((request.retries, request.redirects), (u64::MAX, 5));
        let [group] = sum.groups.as_slice() else {
            panic!("{:?}", sum.groups);
        };
        assert_eq!((group.duration.count(), group.failed), (2, 8));
        assert_eq!(sum.connections.tls.count(), 2);
        assert!(sum.connections.dns.is_empty());
    }

    #[test]
    fn a_missing_worker_is_a_missing_part() {
        let check = |shards: &[&[(u32, u32)]], workers, part: f64| {
            let runs: Vec<Run> = shards
                .iter()
                .map(|shards| {
                    let mut load = empty_load();
                    let parts = shards.iter();
                    load.shards = parts.map(|&(index, of)| ShardPart { index, of }).collect();
                    run(load)
                })
                .collect();
            let sum = together(&runs);
            assert_eq!(sum.workers, workers);
            assert!((sum.part - part).abs() < 1e-9, "{}", sum.part);
        };
        check(&[&[(0, 1)]], (1, 1), 1.0);
        // Of two machines, the first has two workers.
        check(&[&[(0, 4), (1, 2), (2, 4)]], (3, 3), 1.0);
        check(&[&[(0, 2), (1, 2)], &[(0, 3), (2, 3)]], (2, 2), 2.0 / 3.0);
        check(&[&[(0, 1)], &[(0, 2), (1, 2)]], (1, 2), 1.0);
        check(&[&[]], (0, 0), 1.0);
    }

    #[test]
    fn a_search_is_cut_short_by_what_is_no_end_of_it() {
        let searched = |invalid: Vec<InvalidReason>, partial| {
            let mut load = empty_load();
            load.capacity = Some(CapacitySearch {
                holds: Some(100.0),
                breaks: None,
                trials: Vec::new(),
            });
            let run = Run {
                invalid,
                partial,
                ..run(load)
            };
            together(&[run]).searches.pop().unwrap().is_cut_short
        };
        let beyond = InvalidReason::CapacityBeyondGenerator {
            load: "api".into(),
            holds: Some(100.0),
            rate: 200.0,
            cause: "late".into(),
        };
        let died = InvalidReason::ProcessExited {
            process: "web".into(),
            status: "signal 9".into(),
            at_ns: 1,
            output: String::new(),
        };
        assert!(!searched(Vec::new(), false));
        assert!(!searched(vec![beyond.clone()], false));
        assert!(searched(Vec::new(), true));
        assert!(searched(vec![beyond, died], false));
    }
}
