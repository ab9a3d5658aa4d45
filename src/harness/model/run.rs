//! A run: one execution of one scenario on one build, the unit of replication.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    BenchMeasurement, Fingerprint, LoadMeasurement, Metric, Phase, ProbeSeries, ProcessSeries, Unit,
};

/// The format in which a run is saved.
pub const RUN_FORMAT: &str = "plimsoll.run/1";
/// Raised whenever the way of measuring changes so that old and new values can't be compared.
pub const MEASUREMENT_VERSION: u32 = 1;

/// The identity of a run: a UUID version 7, so that ids sort by time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A new id for a run that starts now.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Which side of a comparison a run was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What is compared against.
    Base,
    /// What is judged.
    Head,
}

impl Arm {
    /// Its word wherever it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Head => "head",
        }
    }
}

/// One execution of one scenario on one build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// [`RUN_FORMAT`].
    pub schema: String,
    /// Its identity.
    pub id: RunId,
    /// The scenario's name; a variant other than the first is part of it: `mixed@servers`.
    pub scenario: String,
    /// The scenario's file as it was named, from which a later report takes the gates; `None` where
    /// the run comes from elsewhere.
    #[serde(default)]
    pub scenario_file: Option<String>,
    /// The sitting in which it was made.
    pub session: String,
    /// The side of a comparison for which it was made, if any.
    pub arm: Option<Arm>,
    /// The pair to which it belongs, if any, counted from 1.
    pub pair: Option<u32>,
    /// When it started.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// How long it took from the start of the first process to the end of the last, in ns.
    pub duration_ns: u64,
    /// What was measured: a git revision, `+dirty.` and digits of what it held where the tree had
    /// changes, or what the user said.
    pub revision: Option<String>,
    /// The version of Plimsoll that made it.
    pub plimsoll_version: String,
    /// Machine, toolchain and measured part of the scenario.
    pub fingerprint: Fingerprint,
    /// Why the run must not be judged; empty for a valid run.
    pub invalid: Vec<InvalidReason>,
    /// Whether it was stopped before its time; what was measured until then is kept.
    pub partial: bool,
    /// The limit that stopped it before its time, where one did: such a run has failed.
    #[serde(default)]
    pub aborted: Option<Aborted>,
    /// What went wrong beside what was measured, in sentences; hostile text without secrets. Nothing is
    /// judged by it.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Every metric of the run, sorted by name.
    pub metrics: Vec<Metric>,
    /// What the metrics were computed from, for display and for going on from it.
    pub measurement: Measurement,
}

impl Run {
    /// A run that another tool measured: metrics, and nothing behind them. Its scenario is empty, its
    /// fingerprint and its start are unknown.
    pub fn imported(id: RunId, session: String, metrics: Vec<Metric>) -> Self {
        Self {
            schema: RUN_FORMAT.to_owned(),
            id,
            scenario: String::new(),
            scenario_file: None,
            session,
            arm: None,
            pair: None,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ns: 0,
            revision: None,
            plimsoll_version: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: Fingerprint::unknown(),
            invalid: Vec::new(),
            partial: false,
            aborted: None,
            warnings: Vec::new(),
            metrics,
            measurement: Measurement::default(),
        }
    }

    /// When it started, where that is known.
    pub fn start(&self) -> Option<Timestamp> {
        (self.started_at != Timestamp::UNIX_EPOCH).then_some(self.started_at)
    }

    /// The metric of that name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// Its session and its revision, for [`same_state`].
    pub fn state(&self) -> (&str, Option<&str>) {
        (&self.session, self.revision.as_deref())
    }

    /// Whether the run may be judged.
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty() && !self.partial
    }
}

/// What follows the commit of a tree that has changes.
const DIRTY: &str = "+dirty";

/// Whether a revision names a commit alone, which another tree can be set to.
pub fn is_committed(revision: &str) -> bool {
    !revision.contains(DIRTY)
}

/// Whether two runs, each by its session and its revision, measured one state of the code: those of
/// one session, and those of one revision that names a state. A bare `+dirty` names none: it is a
/// tree that could not be read, or that an older plimsoll saw.
pub fn same_state(a: (&str, Option<&str>), b: (&str, Option<&str>)) -> bool {
    a.0 == b.0 || a.1 == b.1 && a.1.is_some_and(|revision| !revision.ends_with(DIRTY))
}

/// The runs of each session, sessions in the order of their first run.
pub(crate) fn by_session<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Vec<Vec<&'a Run>> {
    let mut sessions: Vec<Vec<&Run>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for run in runs {
        let place = *places.entry(&run.session).or_insert_with(|| {
            sessions.push(Vec::new());
            sessions.len() - 1
        });
        sessions[place].push(run);
    }
    sessions
}

/// Why a run is no measurement. Invalid beats everything: such a run is never a pass and never a
/// regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InvalidReason {
    /// More arrivals were dropped than the scenario allows.
    Dropped {
        /// The load.
        load: String,
        /// Dropped arrivals in the measure phase.
        dropped: u64,
        /// Offered arrivals in the measure phase.
        offered: u64,
        /// The allowed share.
        allowed: f64,
    },
    /// The generator could not keep up: its tickets were late.
    GeneratorLate {
        /// The load.
        load: String,
        /// The 99th percentile of the lateness, in ns.
        lateness_ns_p99: u64,
        /// The tolerated lateness, in ns.
        tolerance_ns: u64,
    },
    /// The generator had no processor left.
    GeneratorSaturated {
        /// The load.
        load: String,
        /// Cores that it kept busy in the measure phase.
        cpu_cores: f64,
        /// Cores that it may use.
        cores: f64,
    },
    /// The generators of all loads together had no processor left on their machine, though none of them kept
    /// one busy alone.
    GeneratorsCrowded {
        /// Cores that they kept busy in the measure phase.
        cpu_cores: f64,
        /// Cores that the machine has.
        cores: f64,
    },
    /// The generator had no file or port left for a connection.
    GeneratorExhausted {
        /// The load.
        load: String,
        /// Requests in the measure phase that it could not send.
        failures: u64,
        /// What the system said to the first of them.
        message: String,
    },
    /// A feed whose rows are drawn once had fewer than the load needed.
    FeedExhausted {
        /// The load.
        load: String,
        /// The feed.
        feed: String,
        /// Iterations of the measure phase that found no row left, and failed.
        iterations: u64,
    },
    /// Most of the iterations that failed did so after the measure phase, where no request is measured, so
    /// that no limit could see it.
    FailedUnmeasured {
        /// The load.
        load: String,
        /// Iterations of the measure phase that failed so.
        iterations: u64,
        /// Iterations of the measure phase.
        started: u64,
    },
    /// The setup failed, so no load was driven.
    SetupFailed {
        /// The step; empty where none was begun.
        step: String,
        /// What happened.
        message: String,
    },
    /// The generator ended before its time.
    GeneratorFailed {
        /// The load.
        load: String,
        /// What it said last.
        message: String,
    },
    /// A bench failed after it was built: it panicked, took too long, or left no result.
    BenchFailed {
        /// What it said.
        message: String,
    },
    /// A process of the scenario ended although no fault of the scenario stopped it.
    ProcessExited {
        /// The process.
        process: String,
        /// How it ended: `exit status 1` or `signal 9`.
        status: String,
        /// When, in ns from the start of the load, or of the benches where there is no load; negative
        /// before it.
        at_ns: i64,
        /// The last lines of its output.
        output: String,
    },
    /// A fault of the scenario could not start a process again.
    NotRestarted {
        /// The process.
        process: String,
        /// When, in ns from the start of the load.
        at_ns: i64,
        /// Why.
        message: String,
    },
    /// The target, a server that the scenario doesn't start, was gone at the start of a later run of
    /// the session.
    TargetUnreachable {
        /// The target's URL.
        url: String,
        /// What came instead of an answer.
        cause: String,
    },
    /// The loads ended without one iteration in the measure phase.
    NothingMeasured {
        /// The load.
        load: String,
    },
    /// A search for a capacity came to a rate that the generator could not offer before it came to
    /// one that the target could not bear: what it found says nothing of the target but that it bears
    /// so much at least.
    CapacityBeyondGenerator {
        /// The load.
        load: String,
        /// The highest rate at which the limits held, in iterations per second; `None` where they did
        /// at none.
        holds: Option<f64>,
        /// The lowest rate that could not be offered.
        rate: f64,
        /// Why it could not, in a clause.
        cause: String,
    },
    /// A shard of the run is missing, or is not what it has to be.
    Shard {
        /// Which, counted from 0.
        index: u32,
        /// How many there are in all.
        of: u32,
        /// What is wrong with it.
        fault: ShardFault,
    },
}

/// What is wrong with a shard of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ShardFault {
    /// No file of it was given, or none that could be read.
    Missing,
    /// More than one file is of it.
    Twice,
    /// It was stopped before its time.
    Partial {
        /// When, in ns from the start of the load.
        ended_ns: u64,
    },
    /// It is of another run.
    Foreign {
        /// In what it differs from the others.
        difference: String,
    },
    /// What it says can't be.
    Unsound {
        /// What can't be.
        problem: String,
    },
}

/// A limit that ended a run as soon as the measure phase so far broke it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Aborted {
    /// The metric.
    pub metric: String,
    /// The unit of the value and of the limit.
    pub unit: Unit,
    /// Its value at that moment. Where a load has several workers, one of them found it in its part;
    /// what grows with the load is then told as if all parts were like this one.
    pub value: f64,
    /// What it was to be at most, or at least.
    pub limit: f64,
    /// When, in ns from the start of the load.
    pub at_ns: u64,
}

/// What the engine measured in one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// The phases as they were, in ns from the start of the load.
    pub phases: Vec<PhaseSpan>,
    /// One per load of the scenario.
    pub loads: Vec<LoadMeasurement>,
    /// One per process of the scenario.
    pub processes: Vec<ProcessSeries>,
    /// One per probe of the scenario.
    pub probes: Vec<ProbeSeries>,
    /// One per benchmark.
    pub benches: Vec<BenchMeasurement>,
    /// Faults and other happenings, oldest first.
    pub events: Vec<TimelineEvent>,
}

/// A phase as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseSpan {
    /// Which.
    pub phase: Phase,
    /// Its start in ns from the start of the load.
    pub start_ns: u64,
    /// Its end in ns from the start of the load.
    pub end_ns: u64,
}

/// Something that happened during a run and belongs on its time axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEvent {
    /// When, in ns from the start of the load; negative before it.
    pub at_ns: i64,
    /// What, such as `stop redis`.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_state_where_it_names_one() {
        let check = |a: (&str, Option<&str>), b: (&str, Option<&str>), expected: bool| {
            assert_eq!(same_state(a, b), expected, "{a:?} {b:?}");
            assert_eq!(same_state(b, a), expected, "{b:?} {a:?}");
        };
        let commit = "0123456789ab";
        let (dirty, other) = ("0123456789ab+dirty.00aa11bb", "0123456789ab+dirty.22cc33dd");
        let bare = "0123456789ab+dirty";
        check(("s", Some(commit)), ("t", Some(commit)), true);
        check(("s", Some("v1.2")), ("t", Some("v1.2")), true);
        check(("s", Some(dirty)), ("t", Some(dirty)), true);
        check(("s", Some(dirty)), ("t", Some(other)), false);
        check(("s", Some(dirty)), ("t", Some(commit)), false);
        check(("s", Some(bare)), ("t", Some(bare)), false);
        check(("s", None), ("t", None), false);
        check(("s", None), ("t", Some(commit)), false);
        // Whatever their names: runs of one session belong together.
        check(("s", None), ("s", None), true);
        check(("s", Some(bare)), ("s", Some(bare)), true);
        for (revision, expected) in [(commit, true), (dirty, false), (bare, false)] {
            assert_eq!(is_committed(revision), expected, "{revision}");
        }
    }
}
