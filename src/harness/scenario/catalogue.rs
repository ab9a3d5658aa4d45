//! Which metrics a plan produces: the one place that knows the spelling of their paths, their units
//! and their directions. Validation checks gates against it, the engine derives a run's metrics
//! from it, and `plimsoll list` prints it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::nearest::nearest;
use super::plan::{FlowPlan, LoadPlan, Plan, Target};
use crate::harness::model::path::{BENCH, ERROR_RATE};
use crate::harness::model::{Direction, Unit};

/// The quantiles of which a metric is made whether or not a gate names them.
const DEFAULT_QUANTILES: [&str; 6] = ["50", "75", "90", "95", "99", "999"];
/// `p999999` is the finest quantile: at 100 requests beyond it, it needs 100 million of them.
const MAX_QUANTILE_DIGITS: usize = 6;

/// A metric that a plan can produce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricSpec {
    /// What it is a metric of; its text is the metric's path.
    pub key: MetricKey,
    /// The unit of its values.
    pub unit: Unit,
    /// Which way it is better.
    pub better: Direction,
}

impl MetricSpec {
    /// The path under which runs, gates and reports name it.
    pub fn path(&self) -> String {
        self.key.to_string()
    }
}

/// What a metric is a metric of. `Display` writes the path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MetricKey {
    /// `load.LOAD.…`: all requests of a load together, or its iterations.
    Load {
        /// The load.
        load: String,
        /// What of it.
        what: LoadMetric,
    },
    /// `load.LOAD.request.NAME.…`: the requests of one name in a load.
    Request {
        /// The load.
        load: String,
        /// The request name; any text.
        request: String,
        /// What of it.
        what: RequestMetric,
    },
    /// `load.LOAD.group.NAME.…`: how long the groups of steps of one name in a load took.
    Group {
        /// The load.
        load: String,
        /// The name of the group; any text.
        group: String,
        /// Which number of those that were in order.
        stat: LatencyStat,
    },
    /// `process.PROCESS.…`: a process tree.
    Process {
        /// The process.
        process: String,
        /// What of it.
        what: ProcessMetric,
    },
    /// `probe.NAME`.
    Probe(String),
    /// `bench.FULL_ID`: the time of one iteration.
    Bench(String),
}

impl MetricKey {
    /// The load that it is of; `None` for what is of no load.
    pub fn load(&self) -> Option<&str> {
        match self {
            Self::Load { load, .. } | Self::Request { load, .. } | Self::Group { load, .. } => {
                Some(load)
            }
            Self::Process { .. } | Self::Probe(_) | Self::Bench(_) => None,
        }
    }
}

/// What is measured of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LoadMetric {
    /// `p95`, …: response times of the requests that were in order.
    Response(LatencyStat),
    /// `service.p95`, …: service times of the requests that were in order.
    Service(LatencyStat),
    /// `iteration.p95`, …: whole iterations, from their intended start.
    Iteration(LatencyStat),
    /// `first_byte.p95`, …: from the actual send of a request to the first byte of its answer.
    FirstByte(LatencyStat),
    /// `dns.p95`, …: name resolution, where a new connection needed it (targets with a name, or any through a
    /// proxy).
    Dns(LatencyStat),
    /// `connect.p95`, …: how long new connections took, without what is before and after it.
    Connect(LatencyStat),
    /// `tls.p95`, …: the TLS handshake of new connections (`https` only).
    Tls(LatencyStat),
    /// `capacity`: the highest rate at which the limits on the load hold (a search only).
    Capacity,
    /// `capacity_share`: the capacity as a share of the most that was completed at any rate (a search only).
    CapacityShare,
    /// `rate`: requests in order per second.
    Rate,
    /// `achieved`: the completed share of the offered iterations (open model only).
    Achieved,
    /// `error_rate`: the share of requests that were not in order.
    ErrorRate,
    /// `lost`: the share of the users' time that went into requests that failed or were never answered
    /// (closed model only).
    Lost,
    /// `dropped`: arrivals that found no idle user (open model only).
    Dropped,
    /// `bytes_rate`: received bytes per second.
    BytesRate,
}

/// What is measured of the requests of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RequestMetric {
    /// `p95`, …: response times of the requests that were in order.
    Response(LatencyStat),
    /// `service.p95`, …: service times of the requests that were in order.
    Service(LatencyStat),
    /// `rate`: requests in order per second.
    Rate,
    /// `error_rate`: the share of requests that were not in order.
    ErrorRate,
}

/// What is measured of a process tree over the measure phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProcessMetric {
    /// `cpu_mean`: cores kept busy, on average.
    CpuMean,
    /// `rss_max`: the largest resident memory in bytes.
    RssMax,
    /// `rss_mean`: the mean resident memory in bytes.
    RssMean,
    /// `threads_max`: the largest number of threads.
    ThreadsMax,
    /// `fds_max`: the largest number of open file descriptors.
    FdsMax,
}

/// One number that stands for many latencies, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LatencyStat {
    /// `p95`.
    Quantile(Quantile),
    /// `mean`.
    Mean,
    /// `max`.
    Max,
}

/// A quantile by its decimal digits: `p95` is .95, `p999` is .999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Quantile {
    numerator: u32,
    digits: u32,
}

impl Quantile {
    /// Reads the digits after the `p`. There are two to six; `50`, `05` and `999` are quantiles,
    /// `5`, `00`, `100` (that is `max`) and `990` (that is `99`) are not, so that every quantile
    /// has one spelling.
    fn parse(digits: &str) -> Option<Self> {
        let good = (2..=MAX_QUANTILE_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits.len() == 2 || !digits.ends_with('0'));
        let numerator = digits.parse().ok().filter(|&number| number > 0)?;
        good.then_some(Self {
            numerator,
            digits: digits.len() as u32,
        })
    }

    /// As it is said: `p95`, `p99.9`. Its path says `p999`, where a dot would end the word.
    pub fn in_words(self) -> String {
        let path = self.to_string();
        match path.split_at_checked(3) {
            Some((whole, fraction)) if !fraction.is_empty() => format!("{whole}.{fraction}"),
            _ => path,
        }
    }

    /// The quantile as a fraction in (0, 1).
    pub fn fraction(self) -> f64 {
        f64::from(self.numerator) / 10_f64.powi(self.digits as i32)
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p{:0width$}",
            self.numerator,
            width = self.digits as usize
        )
    }
}

impl LatencyStat {
    /// Reads `p95`, `mean` or `max`.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "mean" => Some(Self::Mean),
            "max" => Some(Self::Max),
            _ => Quantile::parse(text.strip_prefix('p')?).map(Self::Quantile),
        }
    }
}

impl fmt::Display for LatencyStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantile(quantile) => quantile.fmt(f),
            Self::Mean => f.write_str("mean"),
            Self::Max => f.write_str("max"),
        }
    }
}

impl LoadMetric {
    /// Those that a search has as a whole.
    const OF_A_SEARCH: [Self; 2] = [Self::Capacity, Self::CapacityShare];

    /// Whether it is one that a search has as a whole, and not at each of its rates.
    pub fn is_of_whole_search(self) -> bool {
        Self::OF_A_SEARCH.contains(&self)
    }

    /// Reads what follows `load.NAME.`, apart from `request.…` and `group.…`.
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "capacity" => Self::Capacity,
            "capacity_share" => Self::CapacityShare,
            "rate" => Self::Rate,
            "achieved" => Self::Achieved,
            "lost" => Self::Lost,
            ERROR_RATE => Self::ErrorRate,
            "dropped" => Self::Dropped,
            "bytes_rate" => Self::BytesRate,
            _ => match text.split_once('.') {
                Some(("service", stat)) => Self::Service(LatencyStat::parse(stat)?),
                Some(("iteration", stat)) => Self::Iteration(LatencyStat::parse(stat)?),
                Some(("first_byte", stat)) => Self::FirstByte(LatencyStat::parse(stat)?),
                Some(("dns", stat)) => Self::Dns(LatencyStat::parse(stat)?),
                Some(("connect", stat)) => Self::Connect(LatencyStat::parse(stat)?),
                Some(("tls", stat)) => Self::Tls(LatencyStat::parse(stat)?),
                Some(_) => return None,
                None => Self::Response(LatencyStat::parse(text)?),
            },
        })
    }

    fn unit_and_direction(self) -> (Unit, Direction) {
        match self {
            Self::Response(_)
            | Self::Service(_)
            | Self::Iteration(_)
            | Self::FirstByte(_)
            | Self::Dns(_)
            | Self::Connect(_)
            | Self::Tls(_) => (Unit::Nanoseconds, Direction::Lower),
            Self::Capacity | Self::Rate => (Unit::PerSecond, Direction::Higher),
            Self::CapacityShare | Self::Achieved => (Unit::Ratio, Direction::Higher),
            Self::ErrorRate | Self::Lost => (Unit::Ratio, Direction::Lower),
            Self::Dropped => (Unit::Count, Direction::Lower),
            Self::BytesRate => (Unit::BytesPerSecond, Direction::Higher),
        }
    }

    /// Whether a load of that plan has it, in a run or, if the load is a search, at each of its rates.
    fn is_of(self, plan: &Plan, load: &LoadPlan) -> bool {
        match self {
            Self::Capacity | Self::CapacityShare => load.arrivals.is_search(),
            // These follow the rate that is offered, whatever the target does.
            Self::Rate | Self::BytesRate => !load.arrivals.is_search(),
            // A closed model offers nothing that it could drop.
            Self::Dropped => load.arrivals.is_open() && !load.arrivals.is_search(),
            Self::Achieved => load.arrivals.is_open(),
            // The users of an open model have nothing else to do.
            Self::Lost => !load.arrivals.is_open(),
            Self::Dns(_) => resolves_names(plan),
            Self::Tls(_) => is_encrypted(plan),
            Self::Response(_)
            | Self::Service(_)
            | Self::Iteration(_)
            | Self::FirstByte(_)
            | Self::Connect(_)
            | Self::ErrorRate => true,
        }
    }

    /// Whether it is one that connections have, which may be kept from one request to the next.
    pub fn is_of_connections(self) -> bool {
        matches!(self, Self::Dns(_) | Self::Connect(_) | Self::Tls(_))
    }
}

impl fmt::Display for LoadMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(stat) => stat.fmt(f),
            Self::Service(stat) => write!(f, "service.{stat}"),
            Self::Iteration(stat) => write!(f, "iteration.{stat}"),
            Self::FirstByte(stat) => write!(f, "first_byte.{stat}"),
            Self::Dns(stat) => write!(f, "dns.{stat}"),
            Self::Connect(stat) => write!(f, "connect.{stat}"),
            Self::Tls(stat) => write!(f, "tls.{stat}"),
            Self::Capacity => f.write_str("capacity"),
            Self::CapacityShare => f.write_str("capacity_share"),
            Self::Rate => f.write_str("rate"),
            Self::Achieved => f.write_str("achieved"),
            Self::ErrorRate => f.write_str(ERROR_RATE),
            Self::Lost => f.write_str("lost"),
            Self::Dropped => f.write_str("dropped"),
            Self::BytesRate => f.write_str("bytes_rate"),
        }
    }
}

impl RequestMetric {
    /// Reads what follows `load.NAME.request.NAME.`.
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "rate" => Self::Rate,
            ERROR_RATE => Self::ErrorRate,
            _ => match text.strip_prefix("service.") {
                Some(stat) => Self::Service(LatencyStat::parse(stat)?),
                None => Self::Response(LatencyStat::parse(text)?),
            },
        })
    }

    /// Whether a load has it, in a run or, if the load is a search, at each of its rates.
    fn is_of(self, load: &LoadPlan) -> bool {
        self != Self::Rate || !load.arrivals.is_search()
    }

    fn unit_and_direction(self) -> (Unit, Direction) {
        match self {
            Self::Response(_) | Self::Service(_) => (Unit::Nanoseconds, Direction::Lower),
            Self::Rate => (Unit::PerSecond, Direction::Higher),
            Self::ErrorRate => (Unit::Ratio, Direction::Lower),
        }
    }
}

impl fmt::Display for RequestMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(stat) => stat.fmt(f),
            Self::Service(stat) => write!(f, "service.{stat}"),
            Self::Rate => f.write_str("rate"),
            Self::ErrorRate => f.write_str(ERROR_RATE),
        }
    }
}

impl ProcessMetric {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 5] = [
        Self::CpuMean,
        Self::RssMax,
        Self::RssMean,
        Self::ThreadsMax,
        Self::FdsMax,
    ];

    /// Reads what follows `process.NAME.`.
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::CpuMean => "cpu_mean",
            Self::RssMax => "rss_max",
            Self::RssMean => "rss_mean",
            Self::ThreadsMax => "threads_max",
            Self::FdsMax => "fds_max",
        }
    }

    fn unit(self) -> Unit {
        match self {
            Self::CpuMean => Unit::Cores,
            Self::RssMax | Self::RssMean => Unit::Bytes,
            Self::ThreadsMax | Self::FdsMax => Unit::Count,
        }
    }
}

impl fmt::Display for ProcessMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for MetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { load, what } => write!(f, "load.{load}.{what}"),
            Self::Request {
                load,
                request,
                what,
            } => write!(f, "{}{request}.{what}", requests_prefix(load)),
            Self::Group { load, group, stat } => {
                write!(f, "{}{group}.{stat}", groups_prefix(load))
            }
            Self::Process { process, what } => write!(f, "{}{what}", process_prefix(process)),
            Self::Probe(probe) => write!(f, "probe.{probe}"),
            Self::Bench(id) => write!(f, "{BENCH}.{id}"),
        }
    }
}

/// How the paths of all metrics of a load begin.
pub(crate) fn load_prefix(load: &str) -> String {
    format!("load.{load}.")
}

/// How the paths of all request names of a load begin.
pub(crate) fn requests_prefix(load: &str) -> String {
    format!("load.{load}.request.")
}

/// How the paths of all groups of a load begin.
pub(crate) fn groups_prefix(load: &str) -> String {
    format!("load.{load}.group.")
}

/// How the paths of all metrics of processes begin.
pub(crate) const PROCESSES: &str = "process.";

/// How the paths of all metrics of a process begin.
pub(crate) fn process_prefix(process: &str) -> String {
    format!("{PROCESSES}{process}.")
}

/// The metric `what` of a load.
pub fn load_metric(load: &str, what: LoadMetric) -> MetricSpec {
    let (unit, better) = what.unit_and_direction();
    MetricSpec {
        key: MetricKey::Load {
            load: load.to_owned(),
            what,
        },
        unit,
        better,
    }
}

/// The metric `what` of the requests named `request` in a load.
fn request_metric(load: &str, request: &str, what: RequestMetric) -> MetricSpec {
    let (unit, better) = what.unit_and_direction();
    MetricSpec {
        key: MetricKey::Request {
            load: load.to_owned(),
            request: request.to_owned(),
            what,
        },
        unit,
        better,
    }
}

/// The metric `stat` of the groups named `group` in a load.
fn group_metric(load: &str, group: &str, stat: LatencyStat) -> MetricSpec {
    MetricSpec {
        key: MetricKey::Group {
            load: load.to_owned(),
            group: group.to_owned(),
            stat,
        },
        unit: Unit::Nanoseconds,
        better: Direction::Lower,
    }
}

/// The metric `what` of a process.
fn process_metric(process: &str, what: ProcessMetric) -> MetricSpec {
    MetricSpec {
        key: MetricKey::Process {
            process: process.to_owned(),
            what,
        },
        unit: what.unit(),
        better: Direction::Lower,
    }
}

/// The metric of a benchmark, by criterion's full id.
pub fn bench_metric(full_id: &str) -> MetricSpec {
    MetricSpec {
        key: MetricKey::Bench(full_id.to_owned()),
        unit: Unit::Nanoseconds,
        better: Direction::Lower,
    }
}

/// A path that names no metric of the plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this scenario produces no metric `{path}`{}", suggestion(.nearest.as_deref()))]
pub struct UnknownMetric {
    /// The path.
    pub path: String,
    /// The path that was probably meant.
    pub nearest: Option<String>,
}

/// The load and what of it a path names, where it is a metric of all requests of a load, or of its
/// iterations; without a plan, so that it need not exist. A load's name holds no dots.
pub fn of_load(path: &str) -> Option<(&str, LoadMetric)> {
    let (load, rest) = path.strip_prefix("load.")?.split_once('.')?;
    Some((load, LoadMetric::parse(rest)?))
}

/// What a path is a metric of, without a plan, so that it need not exist. `None` where nothing has such
/// a path, and where only a plan can tell: `load.a.request.b.service.p95` is the service time of `b` or
/// the response time of `b.service`.
pub fn of_path(path: &str) -> Option<MetricKey> {
    let (kind, rest) = path.split_once('.')?;
    match kind {
        "load" => {
            let (load, rest) = rest.split_once('.')?;
            of_path_of_load(load.to_owned(), rest)
        }
        "process" => {
            let (process, what) = rest.split_once('.')?;
            let process = process.to_owned();
            ProcessMetric::parse(what).map(|what| MetricKey::Process { process, what })
        }
        "probe" => Some(MetricKey::Probe(rest.to_owned())),
        BENCH => Some(MetricKey::Bench(rest.to_owned())),
        _ => None,
    }
}

fn of_path_of_load(load: String, rest: &str) -> Option<MetricKey> {
    if let Some(rest) = rest.strip_prefix("request.") {
        let (request, what) = rest.rsplit_once('.')?;
        let is_either = request == "service" || request.ends_with(".service");
        let what = RequestMetric::parse(what).filter(|_| !is_either)?;
        let request = request.to_owned();
        return Some(MetricKey::Request {
            load,
            request,
            what,
        });
    }
    if let Some(rest) = rest.strip_prefix("group.") {
        let (group, stat) = rest.rsplit_once('.')?;
        let (group, stat) = (group.to_owned(), LatencyStat::parse(stat)?);
        return Some(MetricKey::Group { load, group, stat });
    }
    LoadMetric::parse(rest).map(|what| MetricKey::Load { load, what })
}

/// Every metric that a run of the plan has, apart from those of benches, whose ids are known only
/// after the build: in the order of the plan, each path once. Besides the default quantiles there are
/// those that a gate names. A load that looks for its capacity has what it found and nothing else: over
/// all of its rates together a latency or a share of errors says nothing.
pub fn all(plan: &Plan) -> Vec<MetricSpec> {
    let stats = stats(plan);
    let of_loads = plan.loads.iter().flat_map(|load| {
        if load.arrivals.is_search() {
            let found = LoadMetric::OF_A_SEARCH;
            return found.map(|what| load_metric(&load.name, what)).into();
        }
        of_one_load(plan, load, &stats)
    });
    let of_processes = plan
        .processes
        .iter()
        .flat_map(|process| ProcessMetric::ALL.map(|what| process_metric(&process.name, what)));
    let of_probes = plan.probes.keys().filter_map(|name| probe(plan, name));
    of_loads.chain(of_processes).chain(of_probes).collect()
}

/// Every metric that a gate can name, apart from those of benches: those of a run, and those that a
/// load has at each rate at which it looks for its capacity.
pub fn nameable(plan: &Plan) -> Vec<MetricSpec> {
    let stats = stats(plan);
    let searches = plan.loads.iter().filter(|load| load.arrivals.is_search());
    let at_each_rate = searches.flat_map(|load| of_one_load(plan, load, &stats));
    all(plan).into_iter().chain(at_each_rate).collect()
}

/// Whether a metric is one that a load has at each rate at which it looks for its capacity, and no
/// run as a whole.
pub fn is_of_a_search(plan: &Plan, key: &MetricKey) -> bool {
    let is_of_whole = matches!(key, MetricKey::Load { what, .. } if what.is_of_whole_search());
    let load = key.load().and_then(|name| plan.load(name));
    !is_of_whole && load.is_some_and(|load| load.arrivals.is_search())
}

/// What a load has in a run or at each of its rates, what a search has as a whole apart.
fn of_one_load(plan: &Plan, load: &LoadPlan, stats: &[LatencyStat]) -> Vec<MetricSpec> {
    let each = |what: fn(LatencyStat) -> LoadMetric| stats.iter().map(move |&stat| what(stat));
    let of_load = each(LoadMetric::Response)
        .chain(each(LoadMetric::Service))
        .chain(each(LoadMetric::Iteration))
        .chain(each(LoadMetric::FirstByte))
        .chain(each(LoadMetric::Dns))
        .chain(each(LoadMetric::Connect))
        .chain(each(LoadMetric::Tls))
        .chain([
            LoadMetric::Rate,
            LoadMetric::Achieved,
            LoadMetric::ErrorRate,
            LoadMetric::Lost,
            LoadMetric::Dropped,
            LoadMetric::BytesRate,
        ])
        .filter(|what| what.is_of(plan, load))
        .map(|what| load_metric(&load.name, what));
    let mut specs: Vec<MetricSpec> = of_load.collect();
    for request in names(plan, load, FlowPlan::request_names) {
        let of_request = stats
            .iter()
            .map(|&stat| RequestMetric::Response(stat))
            .chain(stats.iter().map(|&stat| RequestMetric::Service(stat)))
            .chain([RequestMetric::Rate, RequestMetric::ErrorRate])
            .filter(|what| what.is_of(load));
        specs.extend(of_request.map(|what| request_metric(&load.name, request, what)));
    }
    for group in names(plan, load, FlowPlan::group_names) {
        let of_group = stats.iter();
        specs.extend(of_group.map(|&stat| group_metric(&load.name, group, stat)));
    }
    specs
}

/// The metrics of the plan that a gate's `metric` names: the one of that path, or all that match
/// where it holds a `*`; at least one. For benches, the pattern itself stands for what it will find.
pub fn select(plan: &Plan, pattern: &str) -> Result<Vec<MetricSpec>, UnknownMetric> {
    if let Some(exact) = parse(plan, pattern) {
        return Ok(vec![exact]);
    }
    let known = nameable(plan);
    if let Some((beginning, _)) = pattern.split_once('*') {
        let is_found = |spec: &&MetricSpec| matches(pattern, &spec.path());
        let found: Vec<MetricSpec> = known.iter().filter(is_found).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        // `*hot*` finds benches too, which have their ids from the build.
        if !plan.benches.is_empty() && BENCH.starts_with(beginning) {
            return Ok(vec![bench_metric(pattern)]);
        }
    }
    let paths: Vec<String> = known.iter().map(MetricSpec::path).collect();
    Err(UnknownMetric {
        path: pattern.to_owned(),
        nearest: nearest(pattern, paths.iter().map(String::as_str)).map(str::to_owned),
    })
}

/// Whether `path` matches `pattern`, in which each `*` stands for any text, the empty one too.
pub fn matches(pattern: &str, path: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    // Taking each piece at its first place leaves the most for those behind it.
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The names of requests or groups of a load's flow, each once, in the order of its steps. Steps of
/// one name are counted together.
fn names<'a, I: Iterator<Item = &'a str>>(
    plan: &'a Plan,
    load: &LoadPlan,
    of: fn(&'a FlowPlan) -> I,
) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let flow = plan.flows.get(&load.flow);
    flow.into_iter()
        .flat_map(of)
        .filter(|name| seen.insert(*name))
        .collect()
}

fn parse(plan: &Plan, path: &str) -> Option<MetricSpec> {
    let (kind, rest) = path.split_once('.')?;
    match kind {
        "load" => {
            let (name, rest) = rest.split_once('.')?;
            let load = plan.load(name)?;
            parse_of_load(plan, load, rest)
        }
        "process" => {
            let (name, rest) = rest.split_once('.')?;
            let process = plan.processes.iter().find(|process| process.name == name)?;
            ProcessMetric::parse(rest).map(|what| process_metric(&process.name, what))
        }
        "probe" => probe(plan, rest),
        BENCH => (!plan.benches.is_empty() && !rest.is_empty()).then(|| bench_metric(rest)),
        _ => None,
    }
}

/// Reads what follows `load.NAME.`. The names of requests and groups are any text, dots included: only
/// the plan tells where they end.
fn parse_of_load(plan: &Plan, load: &LoadPlan, rest: &str) -> Option<MetricSpec> {
    let name = &load.name;
    if let Some(rest) = rest.strip_prefix("request.") {
        let requests = names(plan, load, FlowPlan::request_names);
        return requests.into_iter().find_map(|request| {
            let what = rest.strip_prefix(request)?.strip_prefix('.')?;
            let what = RequestMetric::parse(what).filter(|what| what.is_of(load))?;
            Some(request_metric(name, request, what))
        });
    }
    if let Some(rest) = rest.strip_prefix("group.") {
        let groups = names(plan, load, FlowPlan::group_names);
        return groups.into_iter().find_map(|group| {
            let stat = rest.strip_prefix(group)?.strip_prefix('.')?;
            Some(group_metric(name, group, LatencyStat::parse(stat)?))
        });
    }
    LoadMetric::parse(rest)
        .filter(|what| what.is_of(plan, load))
        .map(|what| load_metric(name, what))
}

fn probe(plan: &Plan, name: &str) -> Option<MetricSpec> {
    plan.probes.get(name).map(|probe| MetricSpec {
        key: MetricKey::Probe(name.to_owned()),
        unit: probe.unit.clone(),
        better: probe.better,
    })
}

/// Whether a connection may need a name to be resolved.
fn resolves_names(plan: &Plan) -> bool {
    let has_name = |url: &Url| matches!(url.host(), Some(Host::Domain(_)));
    target_is(plan, has_name) || plan.http.proxy.is_some()
}

fn is_encrypted(plan: &Plan) -> bool {
    target_is(plan, |url| url.scheme() == "https")
}

/// What holds of the address of the target; of one that is wrong or missing, which is said elsewhere,
/// anything does.
fn target_is(plan: &Plan, holds: impl Fn(&Url) -> bool) -> bool {
    match &plan.target {
        // It is met at `http://127.0.0.1`.
        Some(Target::Process(_)) => false,
        Some(Target::Url(url)) => Url::parse(url).map_or(true, |url| holds(&url)),
        None => true,
    }
}

/// The numbers that are made of latencies.
fn stats(plan: &Plan) -> Vec<LatencyStat> {
    let quantiles = quantiles(plan).into_iter().map(LatencyStat::Quantile);
    quantiles
        .chain([LatencyStat::Mean, LatencyStat::Max])
        .collect()
}

/// The default quantiles and those that a gate names, the smallest first.
fn quantiles(plan: &Plan) -> Vec<Quantile> {
    let named = plan.gates.iter().filter_map(|gate| {
        let last = gate.metric.rsplit(['.', '*']).next()?;
        Quantile::parse(last.strip_prefix('p')?)
    });
    let mut quantiles: Vec<Quantile> = DEFAULT_QUANTILES
        .into_iter()
        .filter_map(Quantile::parse)
        .chain(named)
        .collect();
    quantiles.sort_by(|a, b| a.fraction().total_cmp(&b.fraction()));
    quantiles.dedup();
    quantiles
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean `{nearest}`?")
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::harness::scenario::*;

    fn step(name: &str) -> StepPlan {
        let request = RequestPlan {
            name: name.into(),
            ..RequestPlan::get("/")
        };
        request.into()
    }

    fn group(name: &str, steps: Vec<StepPlan>) -> StepPlan {
        StepPlan::Group {
            name: name.into(),
            steps,
        }
    }

    fn plan() -> Plan {
        let load = |name: &str, arrivals| LoadPlan {
            name: name.into(),
            flow: "read".into(),
            arrivals,
            seed: 1,
            allowed_dropped: 0.001,
        };
        let stages = vec![];
        Plan {
            name: "t".into(),
            variant: None,
            description: String::new(),
            file: PathBuf::new(),
            root: PathBuf::new(),
            processes: vec![],
            target: Some(Target::Url("http://127.0.0.1:1".into())),
            http: HttpPlan::default(),
            setup: None,
            teardown: None,
            feeds: BTreeMap::new(),
            flows: BTreeMap::from([(
                "read".into(),
                FlowPlan::new(vec![
                    step("GET /c/{clients.id}"),
                    step("list"),
                    group("check out.p95", vec![step("list")]),
                    group("check out", vec![step("pay")]),
                ]),
            )]),
            loads: vec![
                load(
                    "reads",
                    Arrivals::Open {
                        stages: stages.clone(),
                        spacing: Spacing::Even,
                        max_in_flight: 1,
                    },
                ),
                load(
                    "users",
                    Arrivals::Closed {
                        stages,
                        share: None,
                    },
                ),
            ],
            mix: BTreeMap::new(),
            default_in_flight: Default::default(),
            phases: PhasePlan {
                warmup_ns: 0,
                measure_ns: 1,
                cooldown_ns: 0,
                drain_ns: 0,
            },
            probes: BTreeMap::from([(
                "hits".into(),
                ProbePlan {
                    process: "service".into(),
                    source: ProbeSource::Rate(Selector {
                        metric: "hits_total".into(),
                        labels: BTreeMap::new(),
                    }),
                    unit: Unit::PerSecond,
                    scale: 1.0,
                    better: Direction::Higher,
                },
            )]),
            faults: vec![],
            gates: vec![],
            benches: vec![],
            runs: 5,
            generator: GeneratorLimits::default(),
            hash: String::new(),
        }
    }

    /// The same with the second load looking for its capacity.
    fn searching() -> Plan {
        let mut plan = plan();
        plan.loads[1].arrivals = Arrivals::Capacity {
            from: 1.0,
            to: 2.0,
            within: 0.05,
            hold_ns: 1,
            spacing: Spacing::Even,
            max_in_flight: None,
        };
        plan
    }

    #[test]
    fn a_path_tells_without_a_plan_what_it_is_of() {
        for spec in nameable(&plan()) {
            let path = spec.path();
            let is_either = path.contains(".request.") && path.contains(".service.");
            let expected = (!is_either).then_some(spec.key);
            assert_eq!(of_path(&path), expected, "{path}");
        }
        for other in ["load.reads", "load.reads.p9", "latency_ms", "http.p95", ""] {
            assert_eq!(of_path(other), None, "{other}");
        }
    }

    #[test]
    fn every_listed_metric_is_found_by_its_path() {
        let mut encrypted = plan();
        encrypted.target = Some(Target::Url("https://localhost".into()));
        for plan in [plan(), encrypted, searching()] {
            let specs = nameable(&plan);
            for spec in &specs {
                assert_eq!(select(&plan, &spec.path()), Ok(vec![spec.clone()]));
            }
            let paths: BTreeSet<String> = specs.iter().map(MetricSpec::path).collect();
            assert_eq!(paths.len(), specs.len(), "a path is listed twice");
        }
    }

    #[test]
    fn a_search_has_its_capacity_and_at_each_rate_what_can_limit_it() {
        let plan = searching();
        let of_run: Vec<String> = all(&plan)
            .iter()
            .filter(|spec| spec.key.load() == Some("users"))
            .map(MetricSpec::path)
            .collect();
        assert_eq!(of_run, ["load.users.capacity", "load.users.capacity_share"]);
        let check = |path: &str, expected: Option<bool>| {
            let found = select(&plan, path).ok();
            let found = found.map(|specs| is_of_a_search(&plan, &specs[0].key));
            assert_eq!(found, expected, "{path}");
        };
        check("load.users.capacity", Some(false));
        check("load.users.capacity_share", Some(false));
        check("load.users.p95", Some(true));
        check("load.users.group.check out.p95", Some(true));
        check("load.users.request.pay.error_rate", Some(true));
        check("load.users.achieved", Some(true));
        check("load.users.rate", None);
        check("load.users.bytes_rate", None);
        check("load.users.dropped", None);
        check("load.users.request.pay.rate", None);
        check("load.reads.p95", Some(false));
        check("load.reads.capacity", None);
        check("load.reads.capacity_share", None);
        check("probe.hits", Some(false));
        // A pattern finds those of both kinds.
        let all = select(&plan, "load.*.p95").unwrap();
        assert!(all.iter().any(|spec| spec.path() == "load.reads.p95"));
        assert!(all.iter().any(|spec| spec.path() == "load.users.p95"));
    }

    #[test]
    fn connections_have_what_their_target_needs() {
        let check_through = |proxy: Option<&str>, target: Target, dns: bool, tls: bool| {
            let mut plan = plan();
            plan.target = Some(target.clone());
            plan.http.proxy = proxy.map(Template::literal);
            let is_known = |path: &str| select(&plan, path).is_ok();
            let found = (
                is_known("load.reads.dns.p95"),
                is_known("load.reads.tls.max"),
            );
            assert_eq!(found, (dns, tls), "{target:?} through {proxy:?}");
            assert!(is_known("load.reads.connect.mean"));
            assert!(is_known("load.reads.first_byte.p99"));
        };
        let check = |target, dns, tls| check_through(None, target, dns, tls);
        check(Target::Process("service".into()), false, false);
        check(Target::Url("http://127.0.0.1:1".into()), false, false);
        check(Target::Url("http://[::1]:1".into()), false, false);
        check(Target::Url("http://localhost:1".into()), true, false);
        check(Target::Url("https://10.0.0.1".into()), false, true);
        let proxy = Some("http://proxy:1");
        check_through(proxy, Target::Process("service".into()), true, false);
    }

    #[test]
    fn a_path_says_of_which_load_it_is_without_a_plan() {
        let check = |path: &str, expected: Option<(&str, LoadMetric)>| {
            assert_eq!(of_load(path), expected, "{path}");
        };
        check("load.a.capacity", Some(("a", LoadMetric::Capacity)));
        let mean = LatencyStat::Mean;
        check(
            "load.a.connect.mean",
            Some(("a", LoadMetric::Connect(mean))),
        );
        check("load.a.request.capacity", None);
        check("load.a.group.connect.mean", None);
        check("process.a.capacity", None);
        check("load.capacity", None);
    }

    #[test]
    fn a_path_is_known_or_has_a_nearest_one() {
        let mut plan = plan();
        let check = |plan: &Plan, path: &str, expected: Result<Unit, Option<&str>>| {
            let found = select(plan, path).map(|specs| specs[0].unit.clone());
            let expected = expected.map_err(|nearest| UnknownMetric {
                path: path.into(),
                nearest: nearest.map(str::to_owned),
            });
            assert_eq!(found, expected, "{path}");
        };
        let ns = || Ok(Unit::Nanoseconds);
        check(&plan, "load.reads.p95", ns());
        check(&plan, "load.reads.p9999", ns());
        check(&plan, "load.reads.service.p99", ns());
        check(&plan, "load.reads.iteration.mean", ns());
        check(&plan, "load.reads.request.GET /c/{clients.id}.p95", ns());
        check(&plan, "load.reads.request.list.service.max", ns());
        check(&plan, "load.reads.request.list.error_rate", Ok(Unit::Ratio));
        check(&plan, "load.reads.group.check out.p95", ns());
        check(&plan, "load.reads.group.check out.p95.max", ns());
        check(&plan, "load.users.first_byte.p9999", ns());
        check(&plan, "load.reads.dropped", Ok(Unit::Count));
        check(&plan, "load.users.dropped", Err(Some("load.reads.dropped")));
        check(&plan, "load.read.p95", Err(Some("load.reads.p95")));
        check(&plan, "load.reads.p100", Err(Some("load.reads.p50")));
        check(&plan, "probe.hits", Ok(Unit::PerSecond));
        check(&plan, "bench.cache/get_hot", Err(None));
        plan.benches.push(BenchPlan {
            targets: vec![],
            package: None,
            features: vec![],
            filter: None,
            invocations: 5,
            timeout_ns: 1,
        });
        check(&plan, "bench.cache/get_hot", ns());
        plan.loads.clear();
        plan.probes.clear();
        // Nothing but benches: their ids are known only after the build.
        check(&plan, "*", ns());
        check(&plan, "*cache*", ns());
        check(&plan, "ben*/get_hot", ns());
        check(&plan, "load.*", Err(None));
    }

    #[test]
    fn a_quantile_has_one_spelling() {
        let check = |digits: &str, expected: Option<f64>| {
            let found = Quantile::parse(digits);
            assert_eq!(found.map(Quantile::fraction), expected, "{digits}");
            if let Some(quantile) = found {
                assert_eq!(quantile.to_string(), format!("p{digits}"));
                assert_eq!(quantile.in_words().replace('.', ""), format!("p{digits}"));
            }
        };
        let in_words = |digits| Quantile::parse(digits).map(Quantile::in_words);
        assert_eq!(in_words("95").as_deref(), Some("p95"));
        assert_eq!(in_words("999").as_deref(), Some("p99.9"));
        assert_eq!(in_words("9995").as_deref(), Some("p99.95"));
        check("50", Some(0.5));
        check("05", Some(0.05));
        check("95", Some(0.95));
        check("999", Some(0.999));
        check("999999", Some(0.999999));
        for wrong in ["", "5", "00", "100", "990", "9999999", "9x", "-9", "+95"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_gate_makes_its_own_quantile() {
        let mut plan = plan();
        plan.gates.push(GatePlan {
            max: Some(1.0),
            ..GatePlan::on("load.*.p9999")
        });
        plan.gates.push(GatePlan {
            max: Some(1.0),
            ..GatePlan::on("*p99999")
        });
        let check = |pattern: &str, path: &str| {
            let selected = select(&plan, pattern).unwrap();
            assert!(selected.iter().any(|spec| spec.path() == path), "{pattern}");
        };
        check("load.*.p9999", "load.users.p9999");
        check("*p99999", "load.users.p99999");
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
        };
        check("bench.*", "bench.cache/get", true);
        check("bench.*", "bench.", true);
        check("*.p95", "load.reads.p95", true);
        check("load.*.p95", "load.p95", false);
        check("a*b*c", "a1b2b3c", true);
        check("a*b*c", "acb", false);
        check("ab*ba", "aba", false);
        check("plain", "plain", true);
        check("plain", "plainer", false);
    }
}
