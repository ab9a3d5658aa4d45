//! A plan: a validated scenario with every default filled in. What the engine reads needs no
//! further checks: names resolve, templates parse, durations are positive.

mod flow;
mod http;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::flow::*;
pub use self::http::*;
pub use self::load::*;
use crate::harness::model::{Direction, Unit};

/// A validated scenario in one of its variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub name: String,
    /// The variant that was chosen; `None` where the scenario has none or for its first.
    pub variant: Option<String>,
    /// One sentence for the report.
    pub description: String,
    /// The scenario's file, for messages and reproduction commands.
    pub file: PathBuf,
    /// The folder in which builds and processes start: that of the nearest `.git`, `plimsoll.toml`
    /// or `Cargo.toml` above the file, else the file's own.
    pub root: PathBuf,
    /// Processes in the order in which they start: each after those that it needs.
    pub processes: Vec<ProcessPlan>,
    /// What the loads are sent to; `None` for a scenario with benches only.
    pub target: Option<Target>,
    /// How requests reach the target.
    pub http: HttpPlan,
    /// Performed once before the loads of a run. What it extracts, flows and the teardown know as
    /// `{setup.NAME}`.
    pub setup: Option<FlowPlan>,
    /// Performed once after the loads of a run, however they ended.
    pub teardown: Option<FlowPlan>,
    /// Rows that flows draw values from, by name.
    pub feeds: BTreeMap<String, FeedPlan>,
    /// What a virtual user does, by name.
    pub flows: BTreeMap<String, FlowPlan>,
    /// Loads in the order of the file; they run at the same time.
    pub loads: Vec<LoadPlan>,
    /// The weights of the loads that share one arrival process, by load. What arrives at each is its
    /// share already; who changes the rate or the users of the process shares them anew.
    pub mix: BTreeMap<String, u32>,
    /// The open loads whose `max_in_flight` the scenario doesn't say: it follows from their rate.
    pub default_in_flight: BTreeSet<String>,
    /// How long each phase takes.
    pub phases: PhasePlan,
    /// Numbers derived from a process's own metrics, by name.
    pub probes: BTreeMap<String, ProbePlan>,
    /// What is done to processes during the run, in order of time.
    pub faults: Vec<FaultPlan>,
    /// What is judged.
    pub gates: Vec<GatePlan>,
    /// Microbenchmarks, in the order of the file.
    pub benches: Vec<BenchPlan>,
    /// How many runs a session has by default.
    pub runs: u32,
    /// What still counts as a healthy generator.
    pub generator: GeneratorLimits,
    /// The SHA-256 of the measured part (everything but name, variant, description, place, gates and
    /// number of runs; files by their contents, and with the limits of a search for a capacity), in
    /// hexadecimal. Two plans with the same hash measure the same.
    pub hash: String,
}

impl Plan {
    /// The name under which runs and baselines are kept: `name` or `name@variant`.
    pub fn id(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{}@{variant}", self.name),
            None => self.name.clone(),
        }
    }

    /// The load of that name.
    pub fn load(&self, name: &str) -> Option<&LoadPlan> {
        self.loads.iter().find(|load| load.name == name)
    }

    /// Whether a load looks for its capacity.
    pub fn searches(&self) -> bool {
        self.loads.iter().any(|load| load.arrivals.is_search())
    }

    /// The loads that draw from a feed, in their order: the order in which they take turns.
    pub fn drawing(&self, feed: &str) -> Vec<&LoadPlan> {
        let draws = |load: &&LoadPlan| {
            let flow = self.flows.get(&load.flow);
            flow.is_some_and(|flow| flow.feed_names().contains(feed))
        };
        self.loads.iter().filter(draws).collect()
    }
}

/// How many runs a session has where the scenario doesn't say.
pub const DEFAULT_RUNS: u32 = 5;

/// What the loads are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A process of the scenario, by name: `http://127.0.0.1:PORT`.
    Process(String),
    /// A server that is already there: scheme, host and port, perhaps a path, without a final slash.
    Url(String),
}

/// A process that is started for each run and stopped after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// Its name, unique among the processes of the plan.
    pub name: String,
    /// Run once in a session before anything starts.
    pub build: Option<CommandPlan>,
    /// Run once a run, before its first start, such as `initdb`.
    pub prepare: Option<CommandPlan>,
    /// What starts it.
    pub start: CommandPlan,
    /// When it counts as ready.
    pub ready: Ready,
    /// How long it may take to become ready, in ns.
    pub ready_timeout_ns: u64,
    /// The path of its Prometheus text, scraped each second where a probe reads it.
    pub metrics: Option<String>,
    /// Variables added to its environment; values are templates.
    pub env: BTreeMap<String, Template>,
    /// Its working folder, relative to the plan's root.
    pub cwd: Option<PathBuf>,
    /// How long it has to end after SIGTERM before SIGKILL, in ns.
    pub stop_timeout_ns: u64,
    /// Names of the processes that must be ready before it starts: `after`, and every process that
    /// one of its templates mentions.
    pub needs: Vec<String>,
}

/// A command line without a shell: a program and its arguments, each a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPlan {
    /// The program first; never empty.
    pub words: Vec<Template>,
}

/// When a process counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// A GET of this path on its port answers with a 2xx status.
    Http(String),
    /// Its port accepts a connection.
    Tcp,
    /// A line of its output matches this regular expression.
    Log(String),
    /// As soon as it runs.
    Started,
}

/// A text with values to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its pieces in order.
    pub parts: Vec<Part>,
}

impl Template {
    /// A template without values.
    pub fn literal(text: impl Into<String>) -> Self {
        Self {
            parts: vec![Part::Text(text.into())],
        }
    }

    /// The text, where it holds no values.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// As it stands.
    Text(String),
    /// `{NAME.COLUMN}`: a column of a feed's row; one row is drawn per feed and iteration.
    Feed {
        /// The feed.
        feed: String,
        /// The column.
        column: String,
    },
    /// `{NAME}`: a value that an earlier step of the iteration extracted.
    Extracted(String),
    /// `{setup.NAME}`: a value that the setup extracted.
    Setup(String),
    /// `{$env.NAME}`: a variable of the environment, looked up once before the start. Its value is
    /// a secret: it is redacted wherever something is shown or kept.
    Env(String),
    /// `{$uuid}`: a random UUID, another one in each run whatever the seed.
    Uuid,
    /// `{$counter}`: the number of the iteration within the load, from 0 in each run.
    Counter,
    /// `{$random(LOW,HIGH)}`: a whole number, both bounds included.
    Random {
        /// The smallest.
        low: i64,
        /// The largest.
        high: i64,
    },
    /// `{$now}`: the time as RFC 3339.
    Now,
    /// `{port}`: the process's own port (process templates only, as all below).
    OwnPort,
    /// `{dir}`: a folder of the process's own, empty before each run, removed after it.
    OwnDir,
    /// `{NAME.port}`: the port of another process.
    PortOf(String),
    /// `{NAME.url}`: `http://127.0.0.1:PORT` of another process.
    UrlOf(String),
}

/// A larger feed is refused: every worker holds it in memory. More than this is data for a database.
pub const MAX_FEED_BYTES: u64 = 64 << 20;

/// Rows that flows draw values from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPlan {
    /// The file; read and checked at validation, read again by the worker.
    pub file: FilePlan,
    /// What it is.
    pub format: FeedFormat,
    /// Its columns.
    pub columns: Vec<String>,
    /// How rows are drawn.
    pub order: FeedOrder,
}

/// What the file of a feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedFormat {
    /// CSV with a header line.
    Csv,
    /// A JSON array of objects with the same keys, whose values are texts, numbers or booleans.
    Json,
}

/// How rows of a feed are drawn. All shards of a load together draw as one worker would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedOrder {
    /// One after the other, from the top again at the end.
    Sequential,
    /// Any row, each time anew (seeded).
    Random,
    /// Each row once, in an order that is drawn anew (seeded) whenever all had their turn.
    Shuffled,
    /// Each row once in a run, in order. An iteration that finds none left makes the run invalid. Where several loads
    /// draw from the feed, they take turns: the n-th of k loads has the rows n, n + k, ….
    Unique,
}

/// A file of the project whose contents belong to the scenario, and to what is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlan {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// The SHA-256 of its contents at validation, in hexadecimal.
    pub sha256: String,
}

/// A number derived from the Prometheus text of a process. A metric name is matched exactly; the
/// samples of all its label sets that hold the given labels are added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// The process whose metrics are read.
    pub process: String,
    /// How the number comes about.
    pub source: ProbeSource,
    /// Its unit.
    pub unit: Unit,
    /// How many of that unit make one of what the process shows: it may show seconds.
    pub scale: f64,
    /// Which way is better.
    pub better: Direction,
}

/// How a probe's number comes about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeSource {
    /// The increase of one counter divided by the increase of another.
    Ratio(Selector, Selector),
    /// The increase of a counter or a gauge per second.
    Rate(Selector),
    /// The increase of a counter or a gauge over the measure phase.
    Increase(Selector),
    /// A gauge's mean over the measure phase.
    Mean(Selector),
    /// A gauge's largest value in the measure phase.
    Max(Selector),
}

/// Samples of a Prometheus exposition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// Labels that a sample must have.
    pub labels: BTreeMap<String, String>,
}

/// Something done to a process during the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// When, in ns from the start of the load.
    pub at_ns: u64,
    /// To which process.
    pub process: String,
    /// What.
    pub action: FaultAction,
}

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultAction {
    /// Start it again after a stop or a kill, on the same port and folder.
    Start,
    /// SIGTERM, then SIGKILL after its stop timeout.
    Stop,
    /// SIGKILL.
    Kill,
    /// SIGSTOP to the whole group.
    Pause,
    /// SIGCONT to the whole group.
    Resume,
}

/// What is judged of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatePlan {
    /// The metric's path. A `*` stands for any text: one gate for all benches, `bench.*`.
    pub metric: String,
    /// The largest allowed value, in the metric's unit.
    pub max: Option<f64>,
    /// The smallest allowed value, in the metric's unit.
    pub min: Option<f64>,
    /// The margin against the base as a fraction: .05 for 5 %.
    pub regress: Option<f64>,
    /// The metric's unit, in which the limits are; for showing them where no run has the metric.
    pub unit: Option<Unit>,
    /// Whether the run ends as soon as the measure phase so far breaks a limit; for metrics of loads.
    pub abort: bool,
}

impl GatePlan {
    /// A gate that asks nothing of that metric yet.
    pub fn on(metric: impl Into<String>) -> Self {
        Self {
            metric: metric.into(),
            max: None,
            min: None,
            regress: None,
            unit: None,
            abort: false,
        }
    }

    /// The limit that a value breaks.
    pub fn broken_by(&self, value: f64) -> Option<f64> {
        let above = self.max.filter(|max| value > *max);
        above.or(self.min.filter(|min| value < *min))
    }
}

/// Microbenchmarks of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchPlan {
    /// Bench targets of the package; all of it where empty.
    pub targets: Vec<String>,
    /// The package, where the workspace has several.
    pub package: Option<String>,
    /// Features to build with, besides the default ones.
    pub features: Vec<String>,
    /// A filter handed to criterion: a regular expression on the full id.
    pub filter: Option<String>,
    /// Process invocations per executable in one run; at least five by VERDICTS.
    pub invocations: u32,
    /// The longest that one invocation may take, in ns.
    pub timeout_ns: u64,
}

/// What still counts as a healthy generator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GeneratorLimits {
    /// Workers of each load, a core each; `None`: as many as the load needs and the machine has.
    pub workers: Option<u32>,
    /// The 99th percentile of ticket lateness may be this much, in ns.
    pub late_ns: u64,
    /// The generator may use this share of its cores on average in the measure phase.
    pub cpu: f64,
}

impl Default for GeneratorLimits {
    fn default() -> Self {
        Self {
            workers: None,
            late_ns: 5_000_000,
            cpu: 0.9,
        }
    }
}
