//! Every key of a scenario file, once: its name, what it takes, what it means. The parser checks
//! files against these tables and the JSON Schema is written from them, so neither can know a key
//! that the other doesn't.

mod flow;
mod request;
mod load;

use self::Presence::{Default, Optional, Required};
use self::Rule::{AtLeastOne, Beside, ExactlyOne};
use self::Shape::{
    Bool, Choice, Date, Duration, Integer, Limit, List, Map, Name, Share, Table, Text, TextMap,
};
use self::flow::FLOW;
pub(crate) use self::flow::{BODIES, METHODS, OTHER_KINDS};
use self::load::{LOAD, MIX};
pub(crate) use self::load::{MAX_RATE_PER_S, MAX_USERS, WAYS};
use self::request::HTTP;
use crate::harness::model::INVOCATIONS_NEEDED;

/// A table of the file: what may stand in it. A step may hold steps, so its description leads back
/// to itself: whoever walks through all tables remembers where it was.
pub(crate) struct TableSpec {
    /// Its name in messages and in the schema's `$defs`.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) description: &'static str,
    /// Its keys, in the order of the documentation.
    pub(crate) keys: &'static [Key],
    /// Which keys go together, and which don't.
    pub(crate) rules: &'static [Rule],
}

/// A key of a table.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) presence: Presence,
    pub(crate) description: &'static str,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Presence {
    /// It must.
    Required,
    /// It may, and its absence means that there is none of it.
    Optional,
    /// It may; this is taken otherwise.
    Default(&'static str),
}

/// What a key takes.
pub(crate) enum Shape {
    /// Any text; templates, references to names and patterns are checked with what they refer to.
    Text,
    /// A new name: letters, digits, `_` and `-`.
    Name,
    /// `500ms`.
    Duration,
    /// `500/s`.
    Rate,
    /// `0.1%` or `0.001`.
    Share,
    /// `512KiB`.
    Size,
    /// `3` or `0.5`, of either sign.
    Number,
    /// `500ms`, `75%`, `512MiB`, `10`: the metric decides.
    Limit,
    /// `2026-12-31`, without quotes.
    Date,
    /// `2xx` or `200-299`.
    StatusText,
    /// A whole number, bounds included.
    Integer(i64, i64),
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An array of it, at least this many and at most that many.
    List(&'static Shape, usize, usize),
    /// A table of this kind.
    Table(&'static TableSpec),
    /// A table whose keys are new names.
    Map(&'static Shape),
    /// A table whose keys are any text.
    TextMap(&'static Shape),
    /// A table or an array, of anything, or a text.
    Json,
    /// Anything.
    Any,
    /// Whichever of these has the value's type.
    Either(&'static [Shape]),
}

/// Which keys of a table go together.
#[derive(Debug)]
pub(crate) enum Rule {
    /// Exactly one of them.
    ExactlyOne(&'static [&'static str]),
    /// None or one of them.
    AtMostOne(&'static [&'static str]),
    /// One of them or more.
    AtLeastOne(&'static [&'static str]),
    /// All of them or none.
    Together(&'static str, &'static str),
    /// Each of the first only where one of the second is.
    Beside(&'static [&'static str], &'static [&'static str]),
}

/// What can be done to a process, as keys of a fault.
pub(crate) const ACTIONS: [&str; 5] = ["start", "stop", "kill", "pause", "resume"];
/// How a probe's number can come about, as keys of a probe.
pub(crate) const SOURCES: [&str; 5] = ["ratio", "rate", "increase", "mean", "max"];
/// More entries than this in one array are a generated file or a mistake.
const MANY: usize = 10_000;
const MAX_WORKERS: i64 = 256;

const fn key(
    name: &'static str,
    shape: Shape,
    presence: Presence,
    description: &'static str,
) -> Key {
    Key {
        name,
        shape,
        presence,
        description,
    }
}

/// The whole file.
pub(crate) static SCENARIO: TableSpec = TableSpec {
    name: "scenario",
    description: "A Plimsoll scenario: what is started, what is done to it, what is judged.",
    keys: &[
        key(
            "schema",
            Integer(1, i64::MAX),
            Required,
            "The version of this format: 1.",
        ),
        key(
            "name",
            Name,
            Default("the file's name"),
            "The name under which runs and baselines are kept.",
        ),
        key(
            "description",
            Text,
            Default(""),
            "One sentence for the report.",
        ),
        key(
            "url",
            Text,
            Optional,
            "A server that is already there, as the target of the loads: `http://127.0.0.1:8000`.",
        ),
        key(
            "variants",
            List(&Name, 1, 16),
            Optional,
            "Ways to run the scenario, such as `[\"embedded\", \"servers\"]`; the first is the default.",
        ),
        key(
            "process",
            List(&Table(&PROCESS), 0, MANY),
            Optional,
            "What is started before the loads and stopped after them.",
        ),
        key(
            "http",
            Table(&HTTP),
            Optional,
            "How requests reach the target.",
        ),
        key(
            "feed",
            Map(&Table(&FEED)),
            Optional,
            "Rows of values for the flows, by name.",
        ),
        key(
            "setup",
            Table(&FLOW),
            Optional,
            "A flow that is performed once before the loads of a run.",
        ),
        key(
            "flow",
            Map(&Table(&FLOW)),
            Optional,
            "What a virtual user does, by name.",
        ),
        key(
            "teardown",
            Table(&FLOW),
            Optional,
            "A flow that is performed once after the loads of a run, however they ended.",
        ),
        key(
            "load",
            Map(&Table(&LOAD)),
            Optional,
            "How users arrive, by name; all loads run at the same time.",
        ),
        key(
            "mix",
            Table(&MIX),
            Optional,
            "One arrival process, shared by the loads that have a `weight`.",
        ),
        key(
            "phases",
            Table(&PHASES),
            Optional,
            "How long each phase takes.",
        ),
        key(
            "probe",
            Map(&Table(&PROBE)),
            Optional,
            "Numbers derived from a process's Prometheus metrics, by name.",
        ),
        key(
            "fault",
            List(&Table(&FAULT), 0, MANY),
            Optional,
            "What is done to processes during the run.",
        ),
        key(
            "gate",
            List(&Table(&GATE), 0, MANY),
            Optional,
            "What is judged.",
        ),
        key(
            "bench",
            List(&Table(&BENCH), 0, MANY),
            Optional,
            "criterion benchmarks.",
        ),
        key(
            "sampling",
            Table(&SAMPLING),
            Optional,
            "How often the scenario is run.",
        ),
        key(
            "generator",
            Table(&GENERATOR),
            Optional,
            "What still counts as a healthy load generator.",
        ),
    ],
    rules: &[],
};

static PROCESS: TableSpec = TableSpec {
    name: "process",
    description: "A process that is started for each run, on a free port, and stopped after it with all its children.",
    keys: &[
        key("name", Name, Required, "Its name; once in each variant."),
        key(
            "variant",
            Text,
            Optional,
            "The variant in which it is started; all of them without.",
        ),
        key(
            "build",
            Text,
            Optional,
            "A command that is run once before everything else. Templates: `{$env.NAME}`.",
        ),
        key(
            "prepare",
            Text,
            Optional,
            "A command that is run in each run before its first start, such as `initdb`, for 30 minutes at most; a fault's `start` doesn't run it again.",
        ),
        key(
            "start",
            Text,
            Required,
            "The command that starts it, without a shell. Templates: `{port}`, `{dir}`, `{NAME.port}`, `{NAME.url}`, `{$env.NAME}`.",
        ),
        key(
            "ready",
            Table(&READY),
            Default("tcp with a port, at once without"),
            "When it counts as ready.",
        ),
        key(
            "ready_timeout",
            Duration,
            Default("60s"),
            "How long it may take to become ready.",
        ),
        key(
            "metrics",
            Text,
            Optional,
            "The path of its Prometheus text, scraped each second where a probe reads it.",
        ),
        key(
            "target",
            Bool,
            Default("true for the only process"),
            "Whether the loads are sent to it.",
        ),
        key(
            "env",
            TextMap(&Text),
            Optional,
            "Variables added to its environment; values are templates.",
        ),
        key(
            "cwd",
            Text,
            Default("the project's root"),
            "Its working folder, below the project's root.",
        ),
        key(
            "after",
            List(&Text, 0, MANY),
            Optional,
            "Processes that must be ready before it starts, besides those that its templates name.",
        ),
        key(
            "stop_timeout",
            Duration,
            Default("10s"),
            "How long it has to end after SIGTERM before it is killed.",
        ),
    ],
    rules: &[],
};

static READY: TableSpec = TableSpec {
    name: "ready",
    description: "When a process counts as ready.",
    keys: &[
        key(
            "http",
            Text,
            Optional,
            "A GET of this path on its port answers with a 2xx status.",
        ),
        key("tcp", Bool, Optional, "Its port accepts a connection."),
        key(
            "log",
            Text,
            Optional,
            "A line of its output matches this regular expression.",
        ),
    ],
    rules: &[ExactlyOne(&["http", "tcp", "log"])],
};

static FEED: TableSpec = TableSpec {
    name: "feed",
    description: "Rows of values; one row is drawn for each iteration.",
    keys: &[
        key(
            "file",
            Text,
            Required,
            "A CSV file with a header line, or a `.json` file with an array of objects, relative to the scenario's folder.",
        ),
        key(
            "order",
            Choice(&["sequential", "random", "shuffled", "unique"]),
            Default("sequential"),
            "How rows are drawn.",
        ),
    ],
    rules: &[],
};

static PHASES: TableSpec = TableSpec {
    name: "phases",
    description: "How long each phase takes; only the measure phase counts.",
    keys: &[
        key(
            "warmup",
            Duration,
            Default("5s"),
            "Before measuring, under the same load.",
        ),
        key("measure", Duration, Default("30s"), "What counts."),
        key(
            "cooldown",
            Duration,
            Default("0s"),
            "After measuring, under the same load.",
        ),
        key(
            "drain",
            Duration,
            Default(
                "the longest that an iteration may take: a flow's timeouts and the pauses between its steps; 60s where that is longer",
            ),
            "How long requests in flight at the end may take; one that takes longer is a failed one.",
        ),
    ],
    rules: &[],
};

static PROBE: TableSpec = TableSpec {
    name: "probe",
    description: "A number over the measure phase, derived from Prometheus metrics: `name` or `name{label=\"value\"}`. A metric is a gauge where its `# TYPE` line says so; each other one is a counter, and begins at 0 again where it falls.",
    keys: &[
        key(
            "ratio",
            List(&Text, 2, 2),
            Optional,
            "The increase of one counter divided by that of another.",
        ),
        key(
            "rate",
            Text,
            Optional,
            "The increase of a counter or a gauge per second.",
        ),
        key(
            "increase",
            Text,
            Optional,
            "The increase of a counter, or of a gauge, which may be negative.",
        ),
        key("mean", Text, Optional, "A gauge's mean."),
        key("max", Text, Optional, "A gauge's largest value."),
        key(
            "process",
            Text,
            Default("the target"),
            "The process whose metrics are read.",
        ),
        key(
            "better",
            Choice(&["lower", "higher"]),
            Default("higher for ratio and rate; needed for the others"),
            "Which way it is better.",
        ),
        key(
            "unit",
            Text,
            Default("ratio, /s for rate, count for the others"),
            "Its unit: s or ns (both shown and limited as durations), B, /s, B/s, ratio, count, cores or any other word.",
        ),
    ],
    rules: &[ExactlyOne(&SOURCES)],
};

static FAULT: TableSpec = TableSpec {
    name: "fault",
    description: "Something done to a process during the run.",
    keys: &[
        key(
            "at",
            Duration,
            Required,
            "When, from the start of the load, warm-up included.",
        ),
        key(
            "start",
            Text,
            Optional,
            "Starts this process again after a stop or a kill, without its `prepare`.",
        ),
        key(
            "stop",
            Text,
            Optional,
            "Stops this process: SIGTERM, and SIGKILL after its stop timeout.",
        ),
        key("kill", Text, Optional, "Kills this process: SIGKILL."),
        key("pause", Text, Optional, "Pauses this process: SIGSTOP."),
        key("resume", Text, Optional, "Resumes this process: SIGCONT."),
    ],
    rules: &[ExactlyOne(&ACTIONS)],
};

static GATE: TableSpec = TableSpec {
    name: "gate",
    description: "What is judged of one metric.",
    keys: &[
        key(
            "metric",
            Text,
            Required,
            "The metric's path, such as `load.reads.p95`; a `*` stands for any text.",
        ),
        key(
            "max",
            Limit,
            Optional,
            "The largest allowed value, with its unit: `500ms`, `512MiB`, `1%`.",
        ),
        key(
            "min",
            Limit,
            Optional,
            "The smallest allowed value, with its unit: `75%`, `208/s`.",
        ),
        key(
            "regress",
            Share,
            Optional,
            "The margin against the baseline: `5%`; for an error rate in percentage points.",
        ),
        key(
            "abort",
            Bool,
            Default("false"),
            "Whether the run ends as soon as the measure phase so far breaks `max` or `min`; for metrics of loads.",
        ),
    ],
    rules: &[
        AtLeastOne(&["max", "min", "regress"]),
        Beside(&["abort"], &["max", "min"]),
    ],
};

static BENCH: TableSpec = TableSpec {
    name: "bench",
    description: "criterion benchmarks of one package, built once and invoked several times.",
    keys: &[
        key(
            "targets",
            List(&Name, 1, MANY),
            Default("all of the package"),
            "Bench targets.",
        ),
        key(
            "package",
            Name,
            Optional,
            "The package, where the workspace has several.",
        ),
        key(
            "features",
            List(&Text, 0, MANY),
            Optional,
            "Features to build with, besides the default ones.",
        ),
        key(
            "filter",
            Text,
            Optional,
            "A regular expression on criterion's full id.",
        ),
        key(
            "invocations",
            Integer(INVOCATIONS_NEEDED as i64, 1000),
            Default("5"),
            "Process invocations per run; fewer than five say nothing about noise.",
        ),
        key(
            "timeout",
            Duration,
            Default("5min"),
            "The longest that one invocation may take.",
        ),
    ],
    rules: &[],
};

static SAMPLING: TableSpec = TableSpec {
    name: "sampling",
    description: "How often the scenario is run.",
    keys: &[key(
        "runs",
        Integer(1, 1000),
        Default("5"),
        "Runs of a session of `plimsoll gate`; `plimsoll run` makes one.",
    )],
    rules: &[],
};

static GENERATOR: TableSpec = TableSpec {
    name: "generator",
    description: "The load generator, and what still counts as a healthy one; beyond it the run is invalid.",
    keys: &[
        key(
            "workers",
            Integer(1, MAX_WORKERS),
            Default("as many as the load needs and the machine has"),
            "Processes for each load, a core each.",
        ),
        key(
            "late",
            Duration,
            Default("5ms"),
            "The 99th percentile of how late arrivals may start.",
        ),
        key(
            "cpu",
            Share,
            Default("90%"),
            "The share of its cores that the generator may use on average.",
        ),
    ],
    rules: &[],
};

impl TableSpec {
    /// The key of that name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// All key names, in the order of the documentation.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys.iter().map(|key| key.name)
    }
}

/// The whole file of waivers.
pub(crate) static WAIVERS: TableSpec = TableSpec {
    name: "waivers",
    description: "Reviewed exceptions to the margins of scenarios.",
    keys: &[
        key(
            "schema",
            Integer(1, i64::MAX),
            Default("1"),
            "The version of this format: 1.",
        ),
        key(
            "waiver",
            List(&Table(&WAIVER), 0, MANY),
            Optional,
            "The exceptions.",
        ),
    ],
    rules: &[],
};

static WAIVER: TableSpec = TableSpec {
    name: "waiver",
    description: "A regression that is allowed for a time.",
    keys: &[
        key(
            "scenario",
            Text,
            Required,
            "The scenario's id: its name, or `NAME@VARIANT` for a variant that is not its first.",
        ),
        key(
            "metric",
            Text,
            Required,
            "The metric's path, such as `load.reads.p95`; a `*` stands for any text.",
        ),
        key(
            "allow",
            Share,
            Required,
            "The largest change that it allows: `8%`; for an error rate in percentage points.",
        ),
        key(
            "reason",
            Text,
            Required,
            "Why the change is accepted, for whoever meets it later.",
        ),
        key(
            "expires",
            Date,
            Required,
            "The last day on which it holds, in UTC: `2026-12-31`.",
        ),
    ],
    rules: &[],
};
