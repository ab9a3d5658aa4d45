//! The command line as it is typed. Nothing is decided here.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use crate::harness::engine::load::{Shard, WORKER_COMMAND};
use crate::harness::engine::shards::MAX_SHARDS;
use crate::harness::report::ci;
use crate::harness::{interchange, scenario};

/// The folder of baselines, unless another is named.
pub(super) const BASELINES: &str = "baselines";

/// Load tests and benchmark regressions with verdicts whose error rates are known.
///
/// A scenario file starts processes, drives load or microbenchmarks, and names what is judged;
/// the exit code gates a pull request: 0 pass, 1 the tool failed, 2 wrong usage or scenario,
/// 10 regression or broken limit, 13 invalid measurement; of `gate` and `compare` also
/// 11 inconclusive (with --strict) and 12 no comparable baseline (with --require-baseline).
/// `run` has neither option: what it can't decide is exit code 0, and its verdict says so.
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Example:\n  plimsoll run scenarios/quickstart.toml\n\nFrom your own service to a gate: README.md; every key of a scenario: docs/SCENARIO.md"
)]
pub(super) struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub(super) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// Output for people or for programs (stdout holds nothing else).
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, help_heading = "Output")]
    pub(super) format: Format,
    /// When to colour; `auto` asks the terminal and NO_COLOR.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, help_heading = "Output")]
    pub(super) color: Color,
    /// Nothing but ASCII for people, as old terminals want it; by itself where the locale is not UTF-8.
    #[arg(long, global = true, help_heading = "Output")]
    pub(super) ascii: bool,
    /// Only the verdict, and what must be known beside it; no progress.
    #[arg(
        long,
        short,
        global = true,
        help_heading = "Output",
        conflicts_with = "verbose"
    )]
    pub(super) quiet: bool,
    /// More of what happens inside (-vv: everything).
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub(super) verbose: u8,
    /// Where runs are kept: a SQLite file, or postgres://… [default: .plimsoll/history.db]
    #[arg(
        long,
        global = true,
        env = "PLIMSOLL_STORE",
        hide_env_values = true,
        value_name = "FILE|URL",
        help_heading = "Output"
    )]
    pub(super) store: Option<String>,
}

impl Global {
    /// The file of the history, where one was named. A URL is none, and may hold a password.
    pub(super) fn store_file(&self) -> Option<&str> {
        let place = self.store.as_deref().filter(|place| !place.is_empty())?;
        let file = match place.strip_prefix("sqlite:") {
            Some(file) => file.strip_prefix("//").unwrap_or(file),
            None => place,
        };
        let schemes = ["postgres:", "postgresql:"];
        let is_url = file.contains("://") || schemes.iter().any(|it| file.starts_with(it));
        (!is_url).then_some(file)
    }
}

/// The form of the answer. All but the first two are of verdicts: docs/OUTPUTS.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text.
    Human,
    /// JSON; `plimsoll schema` describes verdicts, reports, runs, histories and calibrations.
    Json,
    /// Text that a step on GitHub can't mistake for commands, annotations, and the summary of the job.
    Github,
    /// JUnit XML: a suite a scenario.
    Junit,
    /// Markdown: the comment of a pull request.
    Markdown,
    /// SARIF 2.1.0.
    Sarif,
}

impl Format {
    /// Its word on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
            Self::Github => "github",
            Self::Junit => "junit",
            Self::Markdown => "markdown",
            Self::Sarif => "sarif",
        }
    }

    /// Whether only verdicts have this form.
    pub(super) fn is_of_verdicts(self) -> bool {
        !matches!(self, Self::Human | Self::Json)
    }
}

/// What is written beside the answer, and how it is published.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct WriteArgs {
    /// Also write the verdicts of this call into a file: json (one a line), junit, markdown (the comment of a pull
    /// request), sarif, github (the summary of a job). As often as you like.
    #[arg(long, value_name = "FORMAT=FILE", value_parser = written, help_heading = "Output")]
    pub(super) write: Vec<Written>,
    /// What the comment is called: its first line, by which it is found again, is `<!-- plimsoll:NAME -->`.
    #[arg(long, value_name = "NAME", default_value = COMMENT_NAME, value_parser = comment_name, help_heading = "Output")]
    pub(super) comment_name: String,
    /// Where the report will be read, for a link in the comment and in the summary.
    #[arg(long, value_name = "URL", value_parser = web_address, help_heading = "Output")]
    pub(super) report_url: Option<String>,
}

/// A file to write, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// What; never [`Format::Human`].
    pub(super) format: Format,
    /// Where.
    pub(super) file: PathBuf,
}

/// The name of a comment, unless another is given.
const COMMENT_NAME: &str = "gate";

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// Where the stream is a terminal and NO_COLOR is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands, in the order in which a person meets them.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a first scenario, a workflow for pull requests and a folder for baselines into this project.
    ///
    /// Looks at the folder for how the service is built, started and told its port (Cargo.toml, package.json, go.mod, pom.xml,
    /// build.gradle, pyproject.toml, requirements.txt, Procfile, Dockerfile), and for what it answers (an OpenAPI document, a HAR file,
    /// its sources). What can't be found is asked on a terminal, and named as an option elsewhere. No file that
    /// is there is changed.
    #[command(
        after_help = "Examples:\n  plimsoll init\n  plimsoll init --yes --dry-run                  what would be written\n  plimsoll init --start 'node server.js --port {port}' --path /products\n  plimsoll init --from-openapi openapi.yaml --url http://127.0.0.1:8080\n  plimsoll init --from-har session.har --name checkout --writes"
    )]
    Init(InitArgs),
    /// Run scenarios and judge their limits.
    #[command(
        after_help = "Examples:\n  plimsoll run                                   everything in scenarios/\n  plimsoll run scenarios/mixed-workload.toml --runs 5\n  plimsoll run scenarios/mixed-workload.toml --variant servers\n  plimsoll run scenarios/mixed-workload.toml --duration 10s --rate reads=200/s"
    )]
    Run(RunArgs),
    /// Run scenarios and judge them against another revision, or against the stored baseline.
    #[command(
        after_help = "Examples:\n  plimsoll gate --against origin/main            both revisions, run in alternation here\n  plimsoll gate --against v1.2 scenarios/quickstart.toml --budget 15m\n  plimsoll gate scenarios/quickstart.toml        against baselines/\n  plimsoll gate --strict --require-baseline      everything in scenarios/"
    )]
    Gate(GateArgs),
    /// Measure how noisy a scenario is here: runs of one build against each other.
    ///
    /// Runs pairs of the same build, in random balanced order as `gate --against` does, and states what a gate
    /// can find in their noise: per metric with a margin the spread of pairs (s₀) and of sessions (τ), the minimal
    /// detectable effect, the pairs that its margin needs and the margins that this machine holds; and how often
    /// the gate would have been red although nothing changed. Nothing is ever red here.
    ///
    /// s₀ and τ are stored in the baseline of the scenario on this machine (its own runs make the first, where there
    /// is none), and every gate with the same fingerprint uses them from then on. Calibrating again adds to
    /// them. s₀ needs five pairs in a session; τ needs three sessions of one revision, best on different days.
    #[command(
        after_help = "Examples:\n  plimsoll calibrate scenarios/quickstart.toml\n  plimsoll calibrate --pairs 20 --budget 1h      everything in scenarios/"
    )]
    Calibrate(CalibrateArgs),
    /// Compare runs that were saved before, or results of other tools.
    #[command(
        after_help = "Examples:\n  plimsoll compare base/ head/\n  plimsoll compare SESSION1 SESSION2 --paired\n  plimsoll compare baseline latest --scenario scenarios/quickstart.toml\n  plimsoll compare runs.jsonl --regress 5%          both arms in one file\n  plimsoll compare --base old-*.json --head new-*.json --regress 5% --gate '*.p95'\n\nWhat can be read: docs/INTERCHANGE.md"
    )]
    Compare(CompareArgs),
    /// Write saved runs as plimsoll.runs/1, one run a line.
    #[command(
        after_help = "Examples:\n  plimsoll export > runs.jsonl                   the newest session\n  plimsoll export SESSION1 SESSION2 > runs.jsonl"
    )]
    Export(ExportArgs),
    /// Judge saved runs anew, by the scenario as it is now, and render their report.
    ///
    /// The page of the call that measured them stays as it is.
    ///
    /// With --site: a folder of static pages over the whole history, of which a later call renders only what is new
    /// or changed. docs/SITE.md has more.
    #[command(
        after_help = "Examples:\n  plimsoll report                                the newest session\n  plimsoll report latest --html page.html\n  plimsoll report --site public                  pages, trends, badges and a feed of all that was kept"
    )]
    Report(ReportArgs),
    /// Show, save, compare, refresh and pin baselines.
    #[command(
        subcommand,
        after_help = "Example:\n  plimsoll run scenarios/quickstart.toml --runs 5 && plimsoll baseline save"
    )]
    Baseline(BaselineCommand),
    /// Show runs, trends and changes over time, or remove old runs.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  plimsoll history                               what there is\n  plimsoll history mixed-workload --metric 'load.*.p95'\n  plimsoll history prune --keep-days 180 --dry-run"
    )]
    History(HistoryArgs),
    /// Show every problem of scenario files, and of the waivers beside the baselines, at once.
    #[command(after_help = "Example:\n  plimsoll check scenarios/*.toml")]
    Check(CheckArgs),
    /// Print a JSON Schema.
    #[command(
        after_help = "Example:\n  plimsoll schema > scenario.schema.json       for your editor"
    )]
    Schema(SchemaArgs),
    /// List scenarios with what they do, or the sessions and runs in the store.
    #[command(
        after_help = "Examples:\n  plimsoll list\n  plimsoll list --sessions\n  plimsoll list --runs latest"
    )]
    List(ListArgs),
    /// Say what makes measurements on this machine noisy.
    #[command(after_help = "Example:\n  plimsoll doctor")]
    Doctor,
    /// Print the completion script of a shell.
    #[command(
        after_help = "Example:\n  plimsoll completions bash > /etc/bash_completion.d/plimsoll"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Perform one shard of a scenario's loads on a server that is there already.
    ///
    /// Shard i of N has every Nth arrival (or user) of each load. Every shard is started with the same --start-at, on a
    /// machine of its own; `plimsoll merge` puts their files together, and no part of them is ever judged. No
    /// process of the scenario is started here. docs/SHARDS.md has the lines for ssh.
    #[command(
        after_help = "Examples:\n  plimsoll worker shop.toml --shard 0/3 --start-at 2026-11-21T20:00:00Z --target http://shop:8080 --out shard-0.json\n  plimsoll worker shop.toml --shard 1/3 --start-at +30s --out shard-1.json\n\nExit code 13: it was stopped, or a generator failed; its file says so, and what was measured is in it."
    )]
    Worker(WorkerArgs),
    /// Put the files of all shards together into one run, and judge its limits.
    ///
    /// A shard that is missing, that is there twice, that was stopped or that is of another run makes the run invalid.
    #[command(
        after_help = "Example:\n  plimsoll merge shard-0.json shard-1.json shard-2.json --scenario shop.toml"
    )]
    Merge(MergeArgs),
    /// Make the comment of a pull request from verdicts that a stranger's artifact holds.
    ///
    /// The files are those of `--write json=FILE`. Nothing in them is believed: they are read with bounds on their size and
    /// checked, and everything in them is escaped. What they judge must be the revision --head, or nothing is made: exit code 13.
    /// Files that are something else are exit code 2. Nothing is posted; docs/OUTPUTS.md has the lines that do.
    #[command(
        after_help = "Example:\n  plimsoll comment verdicts.jsonl --head \"$HEAD_SHA\" --output comment.md"
    )]
    Comment(CommentArgs),
    /// Print the Kubernetes manifest that performs a scenario's loads in shards.
    ///
    /// A ConfigMap with the scenario and the files that it names, and an Indexed Job of one pod a shard, as JSON that
    /// kubectl takes. How the shards' files are collected is said on stderr, and in docs/SHARDS.md.
    #[command(
        after_help = "Example:\n  plimsoll k8s shop.toml --shards 3 --image registry.example/plimsoll:1 --target http://shop:8080 > job.json"
    )]
    K8s(K8sArgs),
    /// One load generator; speaks JSON on stdin and stdout.
    #[command(hide = true, name = WORKER_COMMAND)]
    LoadWorker,
    /// The parent of one process of a scenario; speaks JSON on stdin and stdout.
    #[command(hide = true)]
    Supervise,
}

/// Options of `init`.
#[derive(Debug, Clone, Args)]
pub(super) struct InitArgs {
    /// The name of the scenario [default: the project's].
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// A server that is there already, in place of a service that is started.
    #[arg(long, value_name = "URL", conflicts_with_all = ["start", "port"])]
    pub(super) url: Option<String>,
    /// The command that starts the service; {port} stands for the port.
    #[arg(long, value_name = "COMMAND")]
    pub(super) start: Option<String>,
    /// The variable that tells the service its port, or the port that stands in --start.
    #[arg(long, value_name = "NAME|PORT")]
    pub(super) port: Option<String>,
    /// The path that is asked for, where no document says what there is.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["from_openapi", "from_har"])]
    pub(super) path: Option<String>,
    /// Iterations of each load [default: such that all of them make 100 requests a second, 20 of a server elsewhere].
    #[arg(long, value_name = "RATE")]
    pub(super) rate: Option<String>,
    /// Make flows from an OpenAPI document (3.0, 3.1, Swagger 2.0; JSON or YAML).
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "from_har",
        help_heading = "Documents"
    )]
    pub(super) from_openapi: Option<PathBuf>,
    /// Make flows from what a browser recorded (HAR 1.2).
    #[arg(long, value_name = "FILE", help_heading = "Documents")]
    pub(super) from_har: Option<PathBuf>,
    /// Also take operations and requests that write; without, only those that read.
    #[arg(long, help_heading = "Documents")]
    pub(super) writes: bool,
    /// Also take scripts, styles and pictures of a recording.
    #[arg(long, help_heading = "Documents")]
    pub(super) assets: bool,
    /// Where the workflow for GitHub gets Plimsoll's action from; without, its line has to be filled in.
    #[arg(long, value_name = "OWNER/REPOSITORY@COMMIT")]
    pub(super) action: Option<String>,
    /// Ask nothing.
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Print what would be written and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Under which options that change scenarios are shown.
const CHANGES: &str = "Changes to the scenarios";

/// What is measured in the place of what the scenarios say. Plans that are changed so are comparable with
/// nothing but plans that were changed alike.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct OverrideArgs {
    /// How long the measure phase takes: 10s.
    #[arg(long, value_name = "TIME", help_heading = CHANGES)]
    pub(super) duration: Option<String>,
    /// The rate of the mix, or of the only load that has one, or of this load: 200/s, reads=200/s. A
    /// rate that changes over time keeps its course, with this as its highest.
    #[arg(long, value_name = "[LOAD=]RATE", help_heading = CHANGES)]
    pub(super) rate: Vec<String>,
    /// The number of users, likewise: 20, shoppers=20.
    #[arg(long, value_name = "[LOAD=]N", help_heading = CHANGES)]
    pub(super) users: Vec<String>,
}

impl OverrideArgs {
    /// The options as they were typed, with their names.
    pub(super) fn options(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let options = [
            ("--duration", self.duration.as_slice()),
            ("--rate", self.rate.as_slice()),
            ("--users", self.users.as_slice()),
        ];
        options
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, &**value)))
    }
}

/// Which scenarios, and how.
#[derive(Debug, Clone, Args)]
pub(super) struct Selection {
    /// Scenario files; without any, everything in scenarios/.
    #[arg(value_name = "SCENARIO")]
    pub(super) scenarios: Vec<PathBuf>,
    /// The variant to run [default: the scenario's first].
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Option<String>,
    /// Runs of each scenario.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) runs: Option<u32>,
    /// What is measured, for the record [default: the git revision].
    #[arg(long, value_name = "TEXT")]
    pub(super) revision: Option<String>,
    /// Also write every run into this folder, as one JSON file each.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// The folder of HTML reports.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub(super) reports: PathBuf,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub(super) baselines: PathBuf,
    /// What is changed of them.
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
    /// What is written beside the answer.
    #[command(flatten)]
    pub(super) writing: WriteArgs,
}

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// Which scenarios.
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Label the runs as one arm of a comparison to come.
    #[arg(long, value_enum)]
    pub(super) arm: Option<ArmArg>,
    /// Label the run with its pair, counted from 1; needs --arm.
    #[arg(long, value_name = "N", requires = "arm", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) pair: Option<u32>,
    /// Add the runs to this session instead of a new one.
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
}

/// Options of `worker`.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkerArgs {
    /// The scenario file.
    #[arg(value_name = "SCENARIO")]
    pub(super) scenario: PathBuf,
    /// The variant [default: the scenario's first].
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Option<String>,
    /// Which part, counted from 0, of how many: 0/3 is the first of three.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub(super) shard: Shard,
    /// When the loads begin: the same time for all shards, or so long from now (their clocks have to agree, and
    /// with +30s also the moments at which they are started).
    #[arg(long, value_name = "TIME", value_parser = start)]
    pub(super) start_at: Timestamp,
    /// The server that the loads are sent to [default: the scenario's `url`].
    #[arg(long, value_name = "URL")]
    pub(super) target: Option<String>,
    /// Where to leave the shard's file; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

/// Options of `merge`.
#[derive(Debug, Clone, Args)]
pub(super) struct MergeArgs {
    /// The shards' files, one each.
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// The scenario that they performed [default: the one of that name in scenarios/].
    #[arg(long, value_name = "FILE")]
    pub(super) scenario: Option<PathBuf>,
    /// What was measured, for the record [default: the git revision].
    #[arg(long, value_name = "TEXT")]
    pub(super) revision: Option<String>,
    /// Label the run as one arm of a comparison to come.
    #[arg(long, value_enum)]
    pub(super) arm: Option<ArmArg>,
    /// Label the run with its pair, counted from 1; needs --arm.
    #[arg(long, value_name = "N", requires = "arm", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) pair: Option<u32>,
    /// Add the run to this session instead of a new one.
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// Also write the run into this folder, as a JSON file.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// The folder of HTML reports.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub(super) reports: PathBuf,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub(super) baselines: PathBuf,
    /// What is written beside the answer.
    #[command(flatten)]
    pub(super) writing: WriteArgs,
}

/// Options of `comment`.
#[derive(Debug, Clone, Args)]
pub(super) struct CommentArgs {
    /// What `--write json=FILE` wrote.
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// The commit that must have been judged: all digits of it, from whoever started this and not from the artifact.
    #[arg(long, value_name = "SHA", value_parser = commit)]
    pub(super) head: String,
    /// How the gate ended that left the files: `success`, or something else, as whoever ran it says and not the artifact. A
    /// gate that failed although no verdict did is told as such.
    #[arg(long, value_name = "CONCLUSION")]
    pub(super) conclusion: Option<String>,
    /// Write the comment into this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// What the comment is called: its first line, by which it is found again, is `<!-- plimsoll:NAME -->`.
    #[arg(long, value_name = "NAME", default_value = COMMENT_NAME, value_parser = comment_name)]
    pub(super) comment_name: String,
    /// Where the report will be read, for a link in the comment.
    #[arg(long, value_name = "URL", value_parser = web_address)]
    pub(super) report_url: Option<String>,
}

/// Options of `k8s`.
#[derive(Debug, Clone, Args)]
pub(super) struct K8sArgs {
    /// The scenario file.
    #[arg(value_name = "SCENARIO")]
    pub(super) scenario: PathBuf,
    /// The variant [default: the scenario's first].
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Option<String>,
    /// How many shards: a pod each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SHARDS)))]
    pub(super) shards: u32,
    /// The image of the pods: `plimsoll` is on its PATH.
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: String,
    /// The server that the loads are sent to, as the pods see it [default: the scenario's `url`].
    #[arg(long, value_name = "URL")]
    pub(super) target: Option<String>,
    /// When the loads begin; by then every pod has to be up.
    #[arg(long, value_name = "TIME", default_value = "+5m", value_parser = start)]
    pub(super) start_at: Timestamp,
    /// The namespace [default: kubectl's].
    #[arg(long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// The name of the Job and of its ConfigMap [default: plimsoll- and the scenario's].
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// The Secret that holds the variables of the environment which the scenario mentions, and the key of
    /// its client certificate.
    #[arg(long, value_name = "NAME", default_value = "plimsoll")]
    pub(super) secret: String,
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ArmArg {
    /// What is compared against.
    Base,
    /// What is judged.
    Head,
}

/// How strictly a verdict becomes an exit code.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Strictness {
    /// Inconclusive is exit code 11.
    #[arg(long)]
    pub(super) strict: bool,
    /// Call a metric regressed only where its whole interval lies beyond the margin.
    #[arg(long)]
    pub(super) beyond_margin: bool,
    /// No comparable baseline is exit code 12.
    #[arg(long)]
    pub(super) require_baseline: bool,
}

/// Options of `gate`.
#[derive(Debug, Clone, Args)]
pub(super) struct GateArgs {
    /// Which scenarios.
    #[command(flatten)]
    pub(super) selection: Selection,
    /// How strictly.
    #[command(flatten)]
    pub(super) strictness: Strictness,
    /// Against another revision.
    #[command(flatten)]
    pub(super) against: AgainstArgs,
}

/// Options of `gate --against`.
#[derive(Debug, Clone, Args)]
pub(super) struct AgainstArgs {
    /// Build this revision and the tree as it is now, and run both in alternation on this machine.
    #[arg(
        long,
        value_name = "REV",
        conflicts_with_all = ["runs", "revision"],
        help_heading = "Against a revision"
    )]
    pub(super) against: Option<String>,
    /// Pairs of runs, one of each revision [default: the scenario's runs].
    #[arg(long, value_name = "N", requires = "against", value_parser = clap::value_parser!(u32).range(2..=1000), help_heading = "Against a revision")]
    pub(super) pairs: Option<u32>,
    /// While something is inconclusive, add pairs, twice at most, as far as this time for a scenario's pairs
    /// goes: 15m. Each of the three looks is then judged at a third of the level.
    #[arg(
        long,
        value_name = "TIME",
        requires = "against",
        help_heading = "Against a revision"
    )]
    pub(super) budget: Option<String>,
    /// What decides in which order the runs of a pair are made [default: another one each time].
    #[arg(
        long,
        value_name = "N",
        requires = "against",
        help_heading = "Against a revision"
    )]
    pub(super) seed: Option<u64>,
    /// Where both revisions are checked out and built, kept from one call to the next [default: the user's cache folder].
    #[arg(
        long,
        value_name = "DIR",
        env = "PLIMSOLL_WORKTREES",
        help_heading = "Against a revision"
    )]
    pub(super) worktrees: Option<PathBuf>,
}

/// Options of `calibrate`.
#[derive(Debug, Clone, Args)]
pub(super) struct CalibrateArgs {
    /// Scenario files; without any, everything in scenarios/.
    #[arg(value_name = "SCENARIO")]
    pub(super) scenarios: Vec<PathBuf>,
    /// The variant to run [default: the scenario's first].
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Option<String>,
    /// Pairs of runs in each session.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub(super) pairs: u32,
    /// Sessions, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) sessions: u32,
    /// The time that a scenario's pairs may take: 15m. What doesn't fit is left out; two pairs are always run.
    #[arg(long, value_name = "TIME")]
    pub(super) budget: Option<String>,
    /// What is measured, for the record [default: the git revision].
    #[arg(long, value_name = "TEXT")]
    pub(super) revision: Option<String>,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub(super) baselines: PathBuf,
    /// What is changed of them.
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
}

/// Options of `compare`.
#[derive(Debug, Clone, Args)]
pub(super) struct CompareArgs {
    /// Base and head: each a run file, a folder, a session, a run id, `latest`, results of another
    /// tool, or for the base `baseline`. One alone has both arms in it.
    #[arg(value_name = "RUNS", num_args = 1..=2, required_unless_present = "base", conflicts_with_all = ["base", "head"])]
    pub(super) runs: Vec<String>,
    /// Files of the base, as many as there are.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "head")]
    pub(super) base: Vec<String>,
    /// Files of the head, as many as there are.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "base")]
    pub(super) head: Vec<String>,
    /// The format of results of other tools [default: what their content says].
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    pub(super) from: Option<interchange::Format>,
    /// Which way is better where a file doesn't say it.
    #[arg(long, value_enum)]
    pub(super) better: Option<BetterArg>,
    /// The runs are pairs, made in alternation on one machine; without pair numbers in their order.
    #[arg(long)]
    pub(super) paired: bool,
    /// The scenario whose gates judge [default: the one of that name in scenarios/].
    #[arg(long, value_name = "FILE")]
    pub(super) scenario: Option<PathBuf>,
    /// Judge every metric by this margin, such as 5%, instead of the scenario's gates.
    #[arg(long, value_name = "PERCENT")]
    pub(super) regress: Option<String>,
    /// With --regress, judge only metrics that match this; `*` is any text.
    #[arg(long, value_name = "GLOB", requires = "regress")]
    pub(super) gate: Vec<String>,
    /// How strictly.
    #[command(flatten)]
    pub(super) strictness: Strictness,
    /// Write the HTML report here.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub(super) baselines: PathBuf,
    /// What is written beside the answer.
    #[command(flatten)]
    pub(super) writing: WriteArgs,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BetterArg {
    /// Lower is better.
    Lower,
    /// Higher is better.
    Higher,
}

/// The formats of other tools by their names.
fn formats() -> impl TypedValueParser<Value = interchange::Format> {
    let names = interchange::Format::ALL.map(interchange::Format::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// Options of `export`.
#[derive(Debug, Clone, Args)]
pub(super) struct ExportArgs {
    /// Run files, folders, sessions, run ids, or `latest`.
    #[arg(value_name = "RUNS", default_value = "latest")]
    pub(super) runs: Vec<String>,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub(super) baselines: PathBuf,
}

/// Options of `report`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReportArgs {
    /// A run file, a folder, a session, a run id, or `latest`.
    #[arg(value_name = "RUNS", default_value = "latest")]
    pub(super) runs: String,
    /// What to compare with: as above, or `baseline`.
    #[arg(long, value_name = "RUNS")]
    pub(super) base: Option<String>,
    /// The runs are pairs.
    #[arg(long, requires = "base")]
    pub(super) paired: bool,
    /// The scenario whose gates judge [default: the one of that name in scenarios/].
    #[arg(long, value_name = "FILE")]
    pub(super) scenario: Option<PathBuf>,
    /// Write the HTML page here [default: reports/SCENARIO/SESSION.again.html].
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write a site of static pages over the whole history into this folder, new or made so before.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["runs", "base", "paired", "scenario", "html", "write", "report_url"],
        help_heading = "A site"
    )]
    pub(super) site: Option<PathBuf>,
    /// The newest sessions of each scenario that have a page; pages of older ones are removed.
    #[arg(long, value_name = "N", requires = "site", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "A site")]
    pub(super) keep_sessions: u32,
    /// Of them only those of the last so many days.
    #[arg(long, value_name = "N", requires = "site", value_parser = clap::value_parser!(u32).range(1..=36_500), help_heading = "A site")]
    pub(super) keep_days: Option<u32>,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub(super) baselines: PathBuf,
    /// What is written beside the answer.
    #[command(flatten)]
    pub(super) writing: WriteArgs,
}

/// What to do with baselines.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum BaselineCommand {
    /// Show the baselines of every machine, or those of one scenario in full.
    #[command(after_help = "Example:\n  plimsoll baseline show quickstart")]
    Show {
        /// A scenario's name or a baseline file; without any, a list.
        scenario: Option<String>,
        /// The folder of baselines.
        #[arg(long, value_name = "DIR", default_value = BASELINES)]
        baselines: PathBuf,
    },
    /// Save sessions from the store as the baseline of their scenario on this machine.
    #[command(
        after_help = "Examples:\n  plimsoll baseline save                         every scenario of the history\n  plimsoll baseline save quickstart --sessions 3"
    )]
    Save {
        /// Scenario names; without any, every scenario of the history.
        scenarios: Vec<String>,
        /// How many of the newest sessions, all of the state of the code that is the newest; three or more let margins fail the gate, because
        /// they show how much sessions differ.
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        sessions: u32,
        /// The folder of baselines.
        #[arg(long, value_name = "DIR", default_value = BASELINES)]
        baselines: PathBuf,
    },
    /// Show what changed between two baseline files, or between the baseline and the newest session.
    #[command(
        after_help = "Examples:\n  plimsoll baseline diff quickstart              baseline against the newest session\n  plimsoll baseline diff old.json new.json"
    )]
    Diff {
        /// A scenario's name or a baseline file.
        old: String,
        /// A baseline file [default: the newest session in the store].
        new: Option<String>,
        /// The folder of baselines.
        #[arg(long, value_name = "DIR", default_value = BASELINES)]
        baselines: PathBuf,
    },
    /// Measure scenarios anew and make that their baseline, unless a metric with a margin drifted.
    #[command(
        after_help = "Examples:\n  plimsoll baseline refresh --output pull-request.md       everything in scenarios/\n  plimsoll baseline refresh scenarios/quickstart.toml --sessions 5\n  plimsoll baseline refresh scenarios/quickstart.toml --accept 'load.reads.*' --reason \"the index is gone\"\n\nOld against new is printed as Markdown. A drift that nobody accepted is exit code 10, and the old\nbaseline stays; the measured sessions stay in the store, and the answer names the command that takes them."
    )]
    Refresh(Box<RefreshArgs>),
    /// Pin baselines under a name, such as a release's; gates show how the head compares with them.
    #[command(
        after_help = "Examples:\n  plimsoll baseline pin --as v1.0                every baseline\n  plimsoll baseline pin quickstart --as v1.0"
    )]
    Pin {
        /// Scenario names or baseline files; without any, every baseline.
        scenarios: Vec<String>,
        /// The anchor's name.
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        /// The folder of baselines.
        #[arg(long, value_name = "DIR", default_value = BASELINES)]
        baselines: PathBuf,
    },
}

/// Options of `baseline refresh`.
#[derive(Debug, Clone, Args)]
pub(super) struct RefreshArgs {
    /// Scenario files; without any, everything in scenarios/.
    #[arg(value_name = "SCENARIO")]
    pub(super) scenarios: Vec<PathBuf>,
    /// The variant to run [default: the scenario's first].
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Option<String>,
    /// How many new sessions; three or more let margins fail the gate, because they show how much
    /// sessions differ.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) sessions: u32,
    /// Runs of each session [default: what the scenario says].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) runs: Option<u32>,
    /// Take this session from the store instead of measuring; once for each session.
    #[arg(long = "session", value_name = "ID", conflicts_with_all = ["sessions", "runs", "revision"])]
    pub(super) measured: Vec<String>,
    /// Accept that this metric got worse, or is gone; `*` is any text.
    #[arg(long, value_name = "METRIC", requires = "reason")]
    pub(super) accept: Vec<String>,
    /// Why it is accepted; kept in the baseline file.
    #[arg(long, value_name = "TEXT", requires = "accept", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) reason: Option<String>,
    /// Also write the Markdown into this file, for the pull request.
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// What is measured, for the record [default: the git revision].
    #[arg(long, value_name = "TEXT")]
    pub(super) revision: Option<String>,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub(super) baselines: PathBuf,
    /// What is changed of them.
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
}

/// Options of `history`.
#[derive(Debug, Clone, Args)]
pub(super) struct HistoryArgs {
    /// Something else than showing it.
    #[command(subcommand)]
    pub(super) command: Option<HistoryCommand>,
    /// A scenario's name, `*` being any text; without any, a list of all.
    pub(super) scenario: Option<String>,
    /// Only metrics that match this; `*` is any text.
    #[arg(long, value_name = "GLOB")]
    pub(super) metric: Vec<String>,
    /// Look at so many of the newest runs.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
    /// Only runs that started on this day (UTC) or later: 2026-11-01, or a time with its zone.
    #[arg(long, value_name = "DATE", value_parser = day_or_time)]
    pub(super) since: Option<Timestamp>,
    /// The runs of this fingerprint, or of what begins so [default: the newest].
    #[arg(long, value_name = "ID")]
    pub(super) fingerprint: Option<String>,
}

/// What else to do with the history.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum HistoryCommand {
    /// Remove old runs of every scenario, and give back their space.
    #[command(
        after_help = "Runs to which a baseline file refers are never removed.\n\nExamples:\n  plimsoll history prune --keep-days 180 --dry-run\n  plimsoll history prune --keep-runs 1000"
    )]
    Prune(PruneArgs),
}

/// Options of `history prune`.
#[derive(Debug, Clone, Args)]
pub(super) struct PruneArgs {
    /// Keep runs that started in the last so many days.
    #[arg(long, value_name = "N", required_unless_present = "keep_runs", conflicts_with = "keep_runs", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(super) keep_days: Option<u32>,
    /// Keep so many of the newest runs of each scenario.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) keep_runs: Option<u32>,
    /// Say what would be removed and remove nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The folder of baselines [default: baselines].
    #[arg(long, value_name = "DIR")]
    pub(super) baselines: Option<PathBuf>,
}

/// A file to write: `junit=results.xml`.
fn written(text: &str) -> Result<Written, String> {
    let parts = text.split_once('=').filter(|(_, file)| !file.is_empty());
    let parts =
        parts.and_then(|(format, file)| Some((Format::from_str(format, false).ok()?, file)));
    match parts {
        Some((Format::Human, _)) | None => Err(
            "FORMAT=FILE, where FORMAT is json, junit, markdown, sarif or github: junit=results.xml".to_owned(),
        ),
        Some((_, "-")) => Err("what goes to stdout is what --format says".to_owned()),
        Some((format, file)) => Ok(Written {
            format,
            file: PathBuf::from(file),
        }),
    }
}

/// The name of a comment.
fn comment_name(text: &str) -> Result<String, String> {
    match ci::is_comment_name(text) {
        true => Ok(text.to_owned()),
        false => {
            Err("at most 64 letters, digits and `.`, `_`, `-`, no two hyphens in a row".to_owned())
        }
    }
}

/// A URL that a browser opens.
fn web_address(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(String::from)
        .ok_or_else(|| "a URL of http or https".to_owned())
}

/// A commit, in full.
fn commit(text: &str) -> Result<String, String> {
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    // SHA-1, or SHA-256.
    match matches!(text.len(), 40 | 64) && text.chars().all(is_digit) {
        true => Ok(text.to_owned()),
        false => Err("all 40 (or 64) hexadecimal digits of a commit".to_owned()),
    }
}

/// A part of a run: `0/3`.
fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(index, of)| {
        let (index, of) = (index.trim().parse().ok()?, of.trim().parse().ok()?);
        Some(Shard { index, of })
    });
    parts
        .filter(|shard| shard.index < shard.of && shard.of <= MAX_SHARDS)
        .ok_or_else(|| {
            format!("a shard is its number, counted from 0, of at most {MAX_SHARDS}: 0/3, 1/3 and 2/3 are all of three")
        })
}

/// A point in time, or so long from now: `+30s`.
fn start(text: &str) -> Result<Timestamp, String> {
    let expected = "a time with its zone such as 2026-11-21T20:00:00Z, or so long from now: +30s";
    match text.strip_prefix('+') {
        None => text.parse().map_err(|_| expected.to_owned()),
        Some(ahead) => {
            let ahead_ns = scenario::duration_ns(ahead).map_err(|_| expected.to_owned())?;
            Timestamp::now()
                .checked_add(Duration::from_nanos(ahead_ns))
                .map_err(|error| error.to_string())
        }
    }
}

/// The beginning of a day in UTC, or a point in time.
fn day_or_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let day: civil::Date = text
        .parse()
        .map_err(|_| "a day such as 2026-11-01, or a time such as 2026-11-01T06:00Z")?;
    let start = day
        .to_zoned(TimeZone::UTC)
        .map_err(|error| error.to_string())?;
    Ok(start.timestamp())
}

/// Options of `check`.
#[derive(Debug, Clone, Args)]
pub(super) struct CheckArgs {
    /// Scenario files; without any, everything in scenarios/.
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// Options of `schema`.
#[derive(Debug, Clone, Args)]
pub(super) struct SchemaArgs {
    /// Of what.
    #[arg(value_enum, default_value_t = SchemaOf::Scenario)]
    pub(super) of: SchemaOf,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// Scenario files.
    Scenario,
    /// The file of waivers, baselines/waivers.toml.
    Waivers,
    /// The verdict that `--format json` prints.
    Verdict,
    /// The document that `plimsoll report --format json` prints.
    Report,
    /// A saved run.
    Run,
    /// What a shard leaves: `plimsoll worker --out`.
    Shard,
    /// The document that `plimsoll history --format json` prints.
    History,
    /// The document that `plimsoll calibrate --format json` prints.
    Calibration,
}

/// Options of `list`.
#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    /// Scenario files; without any, everything in scenarios/.
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The sessions in the store instead.
    #[arg(long, conflicts_with = "files")]
    pub(super) sessions: bool,
    /// The runs of a session in the store instead, oldest first; `latest` is the newest session.
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["files", "sessions", "metrics"])]
    pub(super) runs: Option<String>,
    /// With each scenario, every metric that a gate can name.
    #[arg(long)]
    pub(super) metrics: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_has_an_example() {
        let mut commands = vec![Cli::command()];
        let mut named = 0;
        while let Some(command) = commands.pop() {
            let help = command.get_after_help().map(ToString::to_string);
            let name = command.get_name();
            assert!(help.is_some_and(|help| help.contains("Example")), "{name}");
            named += 1;
            let commands_of = command.get_subcommands();
            commands.extend(commands_of.filter(|one| !one.is_hide_set()).cloned());
        }
        assert!(named > 15, "{named}");
    }

    #[test]
    fn a_shard_is_one_of_its_number() {
        let check = |text: &str, expected: Option<(u32, u32)>| {
            let found = shard(text).ok().map(|shard| (shard.index, shard.of));
            assert_eq!(found, expected, "{text}");
        };
        check("0/1", Some((0, 1)));
        check("2/3", Some((2, 3)));
        check("999/1000", Some((999, 1000)));
        for text in [
            "", "1", "3/3", "0/0", "-1/3", "1/1001", "a/b", "1/2/3", "$JOB/3",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn what_is_written_has_a_format_and_a_file() {
        let check = |text: &str, expected: Option<(Format, &str)>| {
            let found = written(text).ok();
            let expected = expected.map(|(format, file)| Written {
                format,
                file: PathBuf::from(file),
            });
            assert_eq!(found, expected, "{text}");
        };
        check("json=a", Some((Format::Json, "a")));
        check("junit=out/a=b.xml", Some((Format::Junit, "out/a=b.xml")));
        for text in [
            "", "json", "json=", "=a", "human=a", "xml=a", "JSON=a", "sarif=-",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_commit_has_all_of_its_digits() {
        let check =
            |text: &str, expected: bool| assert_eq!(commit(text).is_ok(), expected, "{text}");
        check(&"a1".repeat(20), true);
        check(&"a1".repeat(32), true);
        for text in [
            "",
            "main",
            "9be01d7",
            &"A1".repeat(20),
            &"g1".repeat(20),
            &"a1".repeat(21),
        ] {
            check(text, false);
        }
    }

    #[test]
    fn a_link_leads_to_the_web_and_no_further_than_its_brackets() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(web_address(text).ok().as_deref(), expected, "{text}");
        };
        check("https://a.b/c?d=1#e", Some("https://a.b/c?d=1#e"));
        check("http://a.b/c> <d", Some("http://a.b/c%3E%20%3Cd"));
        for text in ["", "page.html", "javascript:alert(1)", "file:///etc/passwd"] {
            check(text, None);
        }
    }

    #[test]
    fn a_start_is_a_time_or_a_while_from_now() {
        let given = start("2026-11-21T20:00:00+01:00").map(|at| at.as_second());
        assert_eq!(given, Ok(1_795_287_600));
        let ahead = start("+1m30s").map(|at| at.as_second() - Timestamp::now().as_second());
        assert!(matches!(ahead, Ok(89..=90)), "{ahead:?}");
        for text in [
            "",
            "now",
            "30s",
            "+",
            "+30",
            "2026-11-21",
            "2026-11-21T20:00:00",
        ] {
            assert!(start(text).is_err(), "{text}");
        }
    }
}
