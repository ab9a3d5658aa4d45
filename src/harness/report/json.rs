//! The report as JSON, `plimsoll.report/1`, and the schemas of what machines read.

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use crate::harness::gate::Verdict;
use crate::harness::model::{
    Aborted, Arm, ArrivalModel, CapacitySearch, Counts, ErrorKind, Fingerprint, InvalidReason,
    LatencyHistogram, Metric, Run, RunId,
};

use super::input::ReportInput;
use super::load::{LoadSummary, RequestSummary, summarise};
use super::words;

/// The format of a serialised report.
pub const REPORT_FORMAT: &str = "plimsoll.report/1";

/// A verdict with what stands behind it in numbers, without the curves: those are in the saved runs.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// [`REPORT_FORMAT`].
    pub schema: String,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub generated_at: Timestamp,
    /// The version of Plimsoll that made it.
    pub plimsoll_version: String,
    /// The scenario's description; empty where there is none.
    pub description: String,
    /// The verdict in a sentence.
    pub headline: String,
    /// What the gate says.
    pub verdict: Verdict,
    /// The runs that were judged.
    pub head: Vec<RunSummary>,
    /// The runs that they were compared with.
    pub base: Vec<RunSummary>,
    /// The head's loads, the valid runs together.
    pub loads: Vec<LoadNumbers>,
    /// Command lines that make this again, in order.
    pub reproduce: Vec<String>,
}

/// A run without its measurement.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RunSummary {
    /// Its identity in the store.
    pub id: RunId,
    /// The side of a comparison for which it was made, if any.
    pub arm: Option<Arm>,
    /// The pair to which it belongs, if any, counted from 1.
    pub pair: Option<u32>,
    /// When it started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// How long it took, in ns.
    pub duration_ns: u64,
    /// What was measured.
    pub revision: Option<String>,
    /// Machine, toolchain and measured part of the scenario.
    pub fingerprint: Fingerprint,
    /// Why it must not be judged; empty for a valid run.
    pub invalid: Vec<InvalidReason>,
    /// Whether it was stopped before its time.
    pub partial: bool,
    /// The limit that stopped it before its time, where one did.
    pub aborted: Option<Aborted>,
    /// Every metric, sorted by name.
    pub metrics: Vec<Metric>,
}

/// One load over the valid runs.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LoadNumbers {
    /// The name in the scenario.
    pub name: String,
    /// The flow it drives.
    pub flow: String,
    /// Open or closed.
    pub model: ArrivalModel,
    /// In how many runs.
    pub runs: u32,
    /// The length of the measure phases together, in ns.
    pub measured_ns: u64,
    /// Iterations in the measure phases.
    pub counts: Counts,
    /// Iterations that were to arrive, per second.
    pub offered_per_second: f64,
    /// Iterations that completed, per second.
    pub achieved_per_second: f64,
    /// Response time (from the intended start) of requests in order.
    pub response: Latency,
    /// Service time (from the actual send) of requests in order.
    pub service: Latency,
    /// One per request name, in the order of the flow.
    pub requests: Vec<RequestNumbers>,
    /// One per group of steps, in the order of the flow.
    pub groups: Vec<GroupNumbers>,
    /// How connections came about, and when answers began.
    pub connections: ConnectionNumbers,
    /// What the searches for its capacity found, one a run; empty of a load that is none.
    pub searches: Vec<SearchNumbers>,
    /// Workers that shared it, in the run with the most of them.
    pub workers: u32,
}

/// One group of steps of a load.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct GroupNumbers {
    /// The name, as it is in the scenario: not escaped.
    pub name: String,
    /// How often a step of it failed.
    pub failed: u64,
    /// How long those took in which every step was in order, pauses included.
    pub duration: Latency,
}

/// How the connections of a load came about, each stretch of time where it was needed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ConnectionNumbers {
    /// Name resolution.
    pub dns: Latency,
    /// From the first packet to an open connection.
    pub connect: Latency,
    /// The TLS handshake.
    pub tls: Latency,
    /// From the send of a request to the first byte of its answer.
    pub first_byte: Latency,
}

/// What the search of one run found.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SearchNumbers {
    /// The run.
    pub run: RunId,
    /// Whether the run ended before the search did.
    pub is_cut_short: bool,
    /// What it found.
    pub found: CapacitySearch,
}

/// One request name of a load.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RequestNumbers {
    /// The name, as it is in the scenario: not escaped.
    pub name: String,
    /// How many were in order.
    pub ok: u64,
    /// How many failed.
    pub failed: u64,
    /// Failures by kind.
    pub errors: Vec<ErrorNumbers>,
    /// Bytes of request bodies sent, of the requests that were answered.
    pub bytes_sent: u64,
    /// Bytes of response bodies.
    pub bytes_received: u64,
    /// Attempts that were tried again.
    pub retries: u64,
    /// Redirects that were followed.
    pub redirects: u64,
    /// Response time (from the intended start) of those in order.
    pub response: Latency,
    /// Service time (from the actual send) of those in order.
    pub service: Latency,
}

/// The failures of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ErrorNumbers {
    /// Which.
    pub kind: ErrorKind,
    /// How many.
    pub count: u64,
    /// The first one's message: hostile text, not escaped.
    pub example: String,
}

/// A latency distribution in a few numbers, in ns; `null` where nothing was counted.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean_ns: Option<f64>,
    /// The median.
    pub p50_ns: Option<u64>,
    /// The 90th percentile.
    pub p90_ns: Option<u64>,
    /// The 95th percentile.
    pub p95_ns: Option<u64>,
    /// The 99th percentile.
    pub p99_ns: Option<u64>,
    /// The 99.9th percentile.
    pub p999_ns: Option<u64>,
    /// The largest.
    pub max_ns: Option<u64>,
}

impl Report {
    /// The report of an input.
    pub fn new(input: &ReportInput<'_>) -> Self {
        Self {
            schema: REPORT_FORMAT.to_owned(),
            generated_at: input.generated_at,
            plimsoll_version: input.version.to_owned(),
            description: input.description().to_owned(),
            headline: words::headline(input.verdict),
            verdict: input.verdict.clone(),
            head: input.head.iter().map(run).collect(),
            base: input.base.iter().map(run).collect(),
            loads: summarise(&input.shown_head()).iter().map(load).collect(),
            reproduce: input.commands.to_vec(),
        }
    }
}

/// `value` as indented JSON that ends with a line break.
pub fn render<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value)
        .expect("BUG: our documents have text keys and no failing serialiser");
    text.push('\n');
    text
}

/// The JSON Schema of a [`Report`], as committed in `docs/schema/report.schema.json`.
pub fn report_schema() -> Schema {
    schema_for!(Report)
}

/// The JSON Schema of a saved [`Run`], as committed in `docs/schema/run.schema.json`.
pub fn run_schema() -> Schema {
    schema_for!(Run)
}

/// The JSON Schema of a [`Verdict`], as committed in `docs/schema/verdict.schema.json`.
pub fn verdict_schema() -> Schema {
    schema_for!(Verdict)
}

fn run(run: &Run) -> RunSummary {
    RunSummary {
        id: run.id,
        arm: run.arm,
        pair: run.pair,
        started_at: run.started_at,
        duration_ns: run.duration_ns,
        revision: run.revision.clone(),
        fingerprint: run.fingerprint.clone(),
        invalid: run.invalid.clone(),
        partial: run.partial,
        aborted: run.aborted.clone(),
        metrics: run.metrics.clone(),
    }
}

fn load(load: &LoadSummary) -> LoadNumbers {
    LoadNumbers {
        name: load.name.clone(),
        flow: load.flow.clone(),
        model: load.model,
        runs: u32::try_from(load.runs).unwrap_or(u32::MAX),
        measured_ns: load.measured_ns,
        counts: load.counts,
        offered_per_second: load.per_second(load.counts.offered),
        achieved_per_second: load.per_second(load.counts.completed),
        response: latency(&load.response),
        service: latency(&load.service),
        requests: load.requests.iter().map(request).collect(),
        groups: load
            .groups
            .iter()
            .map(|group| GroupNumbers {
                name: group.name.clone(),
                failed: group.failed,
                duration: latency(&group.duration),
            })
            .collect(),
        connections: ConnectionNumbers {
            dns: latency(&load.connections.dns),
            connect: latency(&load.connections.connect),
            tls: latency(&load.connections.tls),
            first_byte: latency(&load.connections.first_byte),
        },
        searches: load
            .searches
            .iter()
            .map(|search| SearchNumbers {
                run: search.run,
                is_cut_short: search.is_cut_short,
                found: search.found.clone(),
            })
            .collect(),
        workers: u32::try_from(load.workers.1).unwrap_or(u32::MAX),
    }
}

fn request(request: &RequestSummary) -> RequestNumbers {
    RequestNumbers {
        name: request.name.clone(),
        ok: request.response.count(),
        failed: request.failed,
        errors: request
            .errors
            .iter()
            .map(|(kind, tally)| ErrorNumbers {
                kind: *kind,
                count: tally.count,
                example: tally.example.clone(),
            })
            .collect(),
        bytes_sent: request.bytes_sent,
        bytes_received: request.bytes_received,
        retries: request.retries,
        redirects: request.redirects,
        response: latency(&request.response),
        service: latency(&request.service),
    }
}

fn latency(histogram: &LatencyHistogram) -> Latency {
    let mut quantiles = histogram
        .quantiles_ns([0.5, 0.9, 0.95, 0.99, 0.999])
        .into_iter();
    Latency {
        count: histogram.count(),
        mean_ns: histogram.mean_ns(),
        p50_ns: quantiles.next(),
        p90_ns: quantiles.next(),
        p95_ns: quantiles.next(),
        p99_ns: quantiles.next(),
        p999_ns: quantiles.next(),
        max_ns: histogram.max_ns(),
    }
}
