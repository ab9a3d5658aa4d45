//! What the load engine measured: counts that add up, two latencies per request, per second.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LatencyHistogram;

/// The part of a run to which an instant belongs. Only `Measure` counts towards metrics.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before measuring: caches fill, connections open.
    Warmup,
    /// The part that counts.
    Measure,
    /// After measuring, under the same load, so that the end of the measure phase is undisturbed.
    Cooldown,
}

/// How arrivals come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalModel {
    /// Arrivals at a rate, whatever the responses do; latencies count from the intended start.
    Open,
    /// A number of users that wait for their answers.
    Closed,
}

/// How a request ended. Latencies are kept apart by outcome, because a fast error is no fast answer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered, and every check held.
    Ok,
    /// Answered or not, but not as the scenario demands.
    Failed,
}

/// Why a request failed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No connection: refused, unreachable, name not resolved.
    Connect,
    /// No connection, because the generator had no file or port left for it: that says nothing
    /// against the target, and makes the run invalid.
    Exhausted,
    /// The connection was closed or reset before the answer was whole.
    Closed,
    /// The step's timeout passed.
    Timeout,
    /// What came back is not HTTP, or the body could not be read or is too large.
    Protocol,
    /// TLS failed.
    Tls,
    /// The status is not what the check allows.
    Status,
    /// Another check of the step failed, or a redirect led away from the target or on and on.
    Check,
    /// A value could not be extracted, so that later steps could not be performed.
    Extract,
    /// The request could not be built from its template, or a step had nothing to work with: a feed
    /// without a row left, a stream that was not opened. No request was sent; where that shows before it
    /// is handed to the connection, there is no latency either.
    Template,
    /// A condition that a loop waited for never came. It counts among the failures of the loop's last
    /// request in the order of the file, without a latency.
    Condition,
    /// The drain ended while the request was in flight.
    Cancelled,
}

/// The failures of one kind, with an example to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorTally {
    /// How many.
    pub count: u64,
    /// The first one's message, cut short; hostile text, secrets already redacted.
    pub example: String,
}

/// The arithmetic of a load. At the end of a load,
/// `offered = started + dropped` and `started = completed + failed + cancelled`, where
/// `timed_out` and `late` are parts of `failed` and of `started`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Iterations that were due (open model), or that a user began (closed model).
    pub offered: u64,
    /// Iterations that a user took up.
    pub started: u64,
    /// Arrivals for which no user was idle.
    pub dropped: u64,
    /// Iterations whose every step was in order.
    pub completed: u64,
    /// Iterations in which a step failed.
    pub failed: u64,
    /// Those of the failed whose step ran into its timeout.
    pub timed_out: u64,
    /// Iterations that were in flight when the run ended.
    pub cancelled: u64,
    /// Iterations that were handed out later than the scenario tolerates after their due time.
    pub late: u64,
}

impl Counts {
    /// Adds `other` to this. Counts of a foreign file may be any numbers, so they stop at the largest.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.offered, other.offered);
        add(&mut self.started, other.started);
        add(&mut self.dropped, other.dropped);
        add(&mut self.completed, other.completed);
        add(&mut self.failed, other.failed);
        add(&mut self.timed_out, other.timed_out);
        add(&mut self.cancelled, other.cancelled);
        add(&mut self.late, other.late);
    }

    /// Whether the arithmetic holds; a run in which it doesn't is a bug of ours.
    pub fn adds_up(&self) -> bool {
        // In more bits, because counts of a foreign file may be any numbers.
        let sum = |parts: &[u64]| parts.iter().copied().map(u128::from).sum::<u128>();
        u128::from(self.offered) == sum(&[self.started, self.dropped])
            && u128::from(self.started) == sum(&[self.completed, self.failed, self.cancelled])
    }
}

/// What one load (`[load.NAME]`) did in one run. Two of the same load merge (`merge`), so that
/// workers and shards can be put together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadMeasurement {
    /// The name in the scenario.
    pub name: String,
    /// The flow it drives.
    pub flow: String,
    /// Open or closed.
    pub model: ArrivalModel,
    /// Counts of iterations in the measure phase.
    pub counts: Counts,
    /// Iterations of the load over time, in windows of equal length, oldest first.
    pub windows: Vec<LoadWindow>,
    /// Whole iterations in the measure phase that completed, from the intended start, in ns.
    pub iteration: LatencyHistogram,
    /// One entry per request name, in the order of the flow.
    pub requests: Vec<RequestSeries>,
    /// One entry per group of steps, in the order of the flow.
    #[serde(default)]
    pub groups: Vec<GroupSeries>,
    /// How the users spent the measure phase; all zero in an open model, whose users are nobody's.
    #[serde(default)]
    pub users: UserTime,
    /// How connections came about, and how long answers took to begin.
    #[serde(default)]
    pub connections: ConnectionSeries,
    /// What a search for the capacity found; `None` of a load that is none.
    pub capacity: Option<CapacitySearch>,
    /// The shards that it was put together from, in order; one of a load that was not shared, none of
    /// one that was kept before there were any.
    #[serde(default)]
    pub shards: Vec<ShardPart>,
    /// How the generator itself fared.
    pub generator: GeneratorHealth,
}

impl LoadMeasurement {
    /// A load of which nothing was measured yet.
    pub fn new(name: impl Into<String>, flow: impl Into<String>, model: ArrivalModel) -> Self {
        Self {
            name: name.into(),
            flow: flow.into(),
            model,
            counts: Counts::default(),
            windows: Vec::new(),
            iteration: LatencyHistogram::new(),
            requests: Vec::new(),
            groups: Vec::new(),
            users: UserTime::default(),
            connections: ConnectionSeries::default(),
            capacity: None,
            shards: Vec::new(),
            generator: GeneratorHealth::default(),
        }
    }
}

/// One stretch of time of one load. Windows start as seconds; a long run doubles their length
/// instead of adding to their number, so that memory is bounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadWindow {
    /// Its start, in ns from the start of the load.
    pub start_ns: u64,
    /// Its length in ns.
    pub length_ns: u64,
    /// The phase in which it starts.
    pub phase: Phase,
    /// What happened to the iterations whose intended start is in it.
    pub counts: Counts,
    /// Users in flight at its end.
    pub in_flight: u64,
    /// The rate at which iterations were to arrive, per second; `None` in a closed model.
    pub target_rate: Option<f64>,
}

/// One request name of one load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestSeries {
    /// The name, from the scenario; shown, so escaped wherever it is shown.
    pub name: String,
    /// Response times (from the intended start) in the measure phase, per outcome, in ns.
    pub response: BTreeMap<Outcome, LatencyHistogram>,
    /// Service times (from the actual send) in the measure phase, per outcome, in ns.
    pub service: BTreeMap<Outcome, LatencyHistogram>,
    /// Failures in the measure phase by kind.
    pub errors: BTreeMap<ErrorKind, ErrorTally>,
    /// Answers in the measure phase by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Bytes of request bodies sent in the measure phase, of the requests that were answered.
    pub bytes_sent: u64,
    /// Bytes of response bodies received in the measure phase, as they came over the wire.
    pub bytes_received: u64,
    /// Attempts of the measure phase that were tried again.
    #[serde(default)]
    pub retries: u64,
    /// Redirects of the measure phase that were followed.
    #[serde(default)]
    pub redirects: u64,
    /// Over time, in the same windows as the load; windows in which nothing ended are left out.
    pub windows: Vec<RequestWindow>,
}

impl RequestSeries {
    /// The requests of that name, before there are any.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// One group of steps of one load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupSeries {
    /// The name, from the scenario; shown, so escaped wherever it is shown.
    pub name: String,
    /// How long the groups took in which every step was in order, pauses included, in ns; those that
    /// began in the measure phase.
    pub duration: LatencyHistogram,
    /// Groups of the measure phase in which a step failed.
    pub failed: u64,
    /// Groups of the measure phase that the end of the drain, or a stop, cut off.
    #[serde(default)]
    pub cancelled: u64,
}

impl GroupSeries {
    /// The groups of that name, before there are any.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds the groups of the same name.
    pub fn add(&mut self, other: &Self) {
        self.duration.merge(&other.duration);
        self.failed = self.failed.saturating_add(other.failed);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
    }

    /// Those that came to their end, in order or not.
    pub fn performed(&self) -> u64 {
        self.duration.count().saturating_add(self.failed)
    }
}

/// How the users of a closed load spent the measure phase, all of them together. A user who waits for an
/// answer asks for nothing else, so that few of the requests can stand for much of the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserTime {
    /// How long they were there, in ns.
    pub total_ns: u64,
    /// How much of it they spent in requests that failed or were never answered, in ns.
    pub lost_ns: u64,
}

/// How the connections of one load came about, and when answers began, in the measure phase. Each
/// stretch of time is counted once, where it was needed: a connection that is used again needs none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionSeries {
    /// Name resolution, in ns; empty where neither the target nor a proxy has a name.
    pub dns: LatencyHistogram,
    /// From the first packet to an open connection, that with a proxy included, in ns.
    pub connect: LatencyHistogram,
    /// The TLS handshake, in ns.
    pub tls: LatencyHistogram,
    /// From the actual send of a request to the first byte of its answer, in ns; without the time
    /// that a new connection took.
    pub first_byte: LatencyHistogram,
}

impl ConnectionSeries {
    /// Adds `other` to this.
    pub fn add(&mut self, other: &Self) {
        self.dns.merge(&other.dns);
        self.connect.merge(&other.connect);
        self.tls.merge(&other.tls);
        self.first_byte.merge(&other.first_byte);
    }
}

/// What the search for the highest rate at which the limits hold found. Rates are in iterations per
/// second. The capacity lies between `holds` and `breaks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapacitySearch {
    /// The highest rate at which every limit held; `None` where they didn't at the lowest.
    pub holds: Option<f64>,
    /// The lowest rate above it at which one didn't; `None` where all held at the highest.
    pub breaks: Option<f64>,
    /// What was tried, in the order in which it was.
    pub trials: Vec<CapacityTrial>,
}

impl CapacitySearch {
    /// The most iterations per second that were completed in order at any rate that was tried, whether the
    /// limits held or not; those that failed are taken for as many as the requests that failed. What was
    /// completed in the drain counts, so it is too large by as much as was in flight, never too small. At least
    /// the rate that held, of which a little may not have been completed.
    pub fn most_completed(&self) -> f64 {
        let completed =
            |trial: &CapacityTrial| trial.rate * trial.achieved * (1.0 - trial.error_rate);
        let held = self.holds.unwrap_or(0.0);
        self.trials.iter().map(completed).fold(held, f64::max)
    }
}

/// One rate that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapacityTrial {
    /// The rate that was offered, in iterations per second.
    pub rate: f64,
    /// The completed share of what was offered.
    pub achieved: f64,
    /// The share of requests that failed.
    pub error_rate: f64,
    /// Response times of the requests in order, in ns, by quantile; those of too few requests are
    /// left out.
    pub quantiles: Vec<(f64, u64)>,
    /// What became of it.
    pub outcome: TrialOutcome,
    /// Why, in a sentence; empty where the limits held.
    pub reason: String,
}

/// What became of a rate that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrialOutcome {
    /// Every limit held.
    Held,
    /// A limit was broken.
    Broke,
    /// The generator could not offer the rate, so it says nothing of the target.
    NotOffered,
}

/// A part of a load that one worker performed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShardPart {
    /// From 0.
    pub index: u32,
    /// How many there are in all.
    pub of: u32,
}

/// One request name in one window: the requests that ended in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestWindow {
    /// Its start, in ns from the start of the load.
    pub start_ns: u64,
    /// Response times of the requests in order, in ns.
    pub response: LatencyHistogram,
    /// Service times of the requests in order, in ns.
    pub service: LatencyHistogram,
    /// How many failed.
    pub failed: u64,
    /// Bytes of response bodies received.
    pub bytes_received: u64,
}

/// The generator's own condition: a load generator that lies makes every verdict worthless.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GeneratorHealth {
    /// How late the tickets of the open model were handed out after their due time in the measure
    /// phase, in ns. Empty in a closed model.
    pub ticket_lateness: LatencyHistogram,
    /// The worker's own use of the machine over time.
    pub samples: Vec<GeneratorSample>,
    /// Processors that this worker may use; with fewer cores busy than this it is not saturated.
    pub cores: f64,
    /// Iterations of the measure phase that found no row left in a feed whose rows are drawn once, by
    /// feed: the scenario gave out, which says nothing against the target.
    #[serde(default)]
    pub exhausted_feeds: BTreeMap<String, u64>,
}

/// One look at the worker process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GeneratorSample {
    /// When, in ns from the start of the load.
    pub at_ns: u64,
    /// Cores that it kept busy since the last look.
    pub cpu_cores: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_lose_one_do_not_add_up() {
        let whole = Counts {
            offered: 10,
            started: 8,
            dropped: 2,
            completed: 5,
            failed: 2,
            cancelled: 1,
            ..Counts::default()
        };
        assert!(whole.adds_up());
        assert!(
            !Counts {
                dropped: 1,
                ..whole
            }
            .adds_up()
        );
        assert!(
            !Counts {
                completed: 4,
                ..whole
            }
            .adds_up()
        );
        let hostile = Counts {
            started: u64::MAX,
            offered: 1,
            ..whole
        };
        assert!(!hostile.adds_up());
    }
}
