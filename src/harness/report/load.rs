//! A load over several runs of one arm: counts added up, histograms merged. For display only; the
//! verdict rests on one number a run.

use std::collections::BTreeMap;

use crate::harness::model::{
    ArrivalModel, Counts, ErrorKind, ErrorTally, LatencyHistogram, LoadMeasurement, Outcome, Phase,
    Run,
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
    }
}

fn add(summary: &mut LoadSummary, load: &LoadMeasurement, measured_ns: u64) {
    summary.counts.add(&load.counts);
    summary.measured_ns = summary.measured_ns.saturating_add(measured_ns);
    summary.runs += 1;
    summary.lateness.merge(&load.generator.ticket_lateness);
    // By name in a map: a scenario may have thousands of request names.
    let mut known: BTreeMap<String, usize> = summary
        .requests
        .iter()
        .enumerate()
        .map(|(at, request)| (request.name.clone(), at))
        .collect();
    for series in &load.requests {
        let at = *known.entry(series.name.clone()).or_insert_with(|| {
            summary.requests.push(RequestSummary {
                name: series.name.clone(),
                response: LatencyHistogram::new(),
                service: LatencyHistogram::new(),
                failed: 0,
                errors: BTreeMap::new(),
                bytes_sent: 0,
                bytes_received: 0,
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
