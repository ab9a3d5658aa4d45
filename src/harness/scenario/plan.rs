//! A plan: a validated scenario with every default filled in. What the engine reads needs no
//! further checks: names resolve, templates parse, durations are positive.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Rows that flows draw values from, by name.
    pub feeds: BTreeMap<String, FeedPlan>,
    /// What a virtual user does, by name.
    pub flows: BTreeMap<String, FlowPlan>,
    /// Loads in the order of the file; they run at the same time.
    pub loads: Vec<LoadPlan>,
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
    /// number of runs; a feed by its contents), in hexadecimal. Two plans with the same hash measure
    /// the same.
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
    /// The CSV file, with a header line; read and checked at validation, read again by the worker.
    pub file: PathBuf,
    /// Its columns.
    pub columns: Vec<String>,
    /// How rows are drawn.
    pub order: FeedOrder,
}

/// How rows of a feed are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedOrder {
    /// One after the other, from the top again at the end.
    Sequential,
    /// Any row, each time anew (seeded).
    Random,
}

/// The steps that one virtual user performs; one pass is an iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowPlan {
    /// In order; at least one.
    pub steps: Vec<StepPlan>,
}

/// A request with its checks and extractions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepPlan {
    /// The request name in metrics: `name`, or else method and path template as they were written.
    pub name: String,
    /// The HTTP method, in capitals.
    pub method: String,
    /// Path and query below the target; it begins with `/`.
    pub path: Template,
    /// Headers, in order.
    pub headers: Vec<(String, Template)>,
    /// The body.
    pub body: Option<BodyPlan>,
    /// How long it may take to the last byte, in ns.
    pub timeout_ns: u64,
    /// What must hold of the answer.
    pub check: CheckPlan,
    /// Values for later steps, by name.
    pub extract: BTreeMap<String, ExtractPlan>,
    /// How long the user waits after it, in ns.
    pub think: Option<ThinkPlan>,
}

impl StepPlan {
    /// Everything in it that is filled with values: the path, the headers, the body.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let of_body: Vec<&Template> = match &self.body {
            None => Vec::new(),
            Some(BodyPlan::Json(template) | BodyPlan::Text(template)) => vec![template],
            Some(BodyPlan::Form(fields)) => fields.iter().map(|(_, template)| template).collect(),
        };
        let of_headers = self.headers.iter().map(|(_, template)| template);
        [&self.path].into_iter().chain(of_headers).chain(of_body)
    }
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyPlan {
    /// JSON text, sent as `application/json`; values are escaped as JSON strings' insides.
    Json(Template),
    /// Any text, sent as `text/plain` unless a header says otherwise.
    Text(Template),
    /// A form, sent as `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
}

/// What must hold of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPlan {
    /// Statuses that are in order, as inclusive ranges; by default 200–399.
    pub status: Vec<(u16, u16)>,
    /// A text that the body must contain.
    pub body_contains: Option<String>,
    /// JSONPath expressions and the value each must have.
    pub json: Vec<(String, serde_json::Value)>,
    /// Headers and the value each must have; `None`: it must be there.
    pub headers: Vec<(String, Option<String>)>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtractPlan {
    /// The first match of a JSONPath in the body.
    Json(String),
    /// A header.
    Header(String),
    /// The first group of a regular expression in the body.
    Regex(String),
}

/// How long a user waits after a step, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThinkPlan {
    /// At least.
    pub min_ns: u64,
    /// At most; uniform in between.
    pub max_ns: u64,
}

/// One load: a flow and how it arrives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Its name, unique in the plan.
    pub name: String,
    /// The flow it drives.
    pub flow: String,
    /// How iterations arrive.
    pub arrivals: Arrivals,
    /// The seed of everything random in it.
    pub seed: u64,
    /// The share of offered arrivals that may be dropped (open model).
    pub allowed_dropped: f64,
}

/// How iterations arrive. A load without stages has one that spans all phases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At a rate, whatever the responses do.
    Open {
        /// The rate over time, in iterations per second.
        stages: Vec<Stage>,
        /// Users at most; an arrival that finds none idle is dropped.
        max_in_flight: u32,
    },
    /// By a number of users that wait for their answers.
    Closed {
        /// The number of users over time.
        stages: Vec<Stage>,
    },
}

/// A stretch of a load in which its rate or its number of users goes evenly from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// How long, in ns. The last stage is prolonged to the end of the cool-down.
    pub duration_ns: u64,
    /// At its start.
    pub from: f64,
    /// At its end; the same as `from` for a constant stretch.
    pub to: f64,
}

/// How long each phase takes, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhasePlan {
    /// Before measuring.
    pub warmup_ns: u64,
    /// What counts; positive where the plan has a load.
    pub measure_ns: u64,
    /// After measuring, under the same load.
    pub cooldown_ns: u64,
    /// How long requests in flight at the end may take before they are cancelled, which is a failure.
    pub drain_ns: u64,
}

impl PhasePlan {
    /// The length of the load: the three phases without the drain, in ns.
    pub fn total_ns(&self) -> u64 {
        self.measure_end_ns().saturating_add(self.cooldown_ns)
    }

    /// When the measure phase ends, in ns from the start of the load.
    pub fn measure_end_ns(&self) -> u64 {
        self.warmup_ns.saturating_add(self.measure_ns)
    }
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
    /// Which way is better.
    pub better: Direction,
}

/// How a probe's number comes about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeSource {
    /// The increase of one counter divided by the increase of another.
    Ratio(Selector, Selector),
    /// The increase of a counter per second.
    Rate(Selector),
    /// The increase of a counter over the measure phase.
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
    /// The 99th percentile of ticket lateness may be this much, in ns.
    pub late_ns: u64,
    /// The generator may use this share of its cores on average in the measure phase.
    pub cpu: f64,
}
