//! Which metrics a plan produces: the one place that knows the spelling of their paths, their units
//! and their directions. Validation checks gates against it, the engine derives a run's metrics
//! from it, and `plimsoll list` prints it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::nearest::nearest;
use super::plan::{FlowPlan, LoadPlan, Plan};
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

/// What is measured of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LoadMetric {
    /// `p95`, …: response times of the requests that were in order.
    Response(LatencyStat),
    /// `service.p95`, …: service times of the requests that were in order.
    Service(LatencyStat),
    /// `iteration.p95`, …: whole iterations, from their intended start.
    Iteration(LatencyStat),
    /// `capacity`: the highest rate at which the limits on the load hold (a search only).
    Capacity,
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
    /// Reads what follows `load.NAME.`, apart from `request.…`.
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "capacity" => Self::Capacity,
            "rate" => Self::Rate,
            "achieved" => Self::Achieved,
            "lost" => Self::Lost,
            ERROR_RATE => Self::ErrorRate,
            "dropped" => Self::Dropped,
            "bytes_rate" => Self::BytesRate,
            _ => match text.split_once('.') {
                Some(("service", stat)) => Self::Service(LatencyStat::parse(stat)?),
                Some(("iteration", stat)) => Self::Iteration(LatencyStat::parse(stat)?),
                Some(_) => return None,
                None => Self::Response(LatencyStat::parse(text)?),
            },
        })
    }

    fn unit_and_direction(self) -> (Unit, Direction) {
        match self {
            Self::Response(_) | Self::Service(_) | Self::Iteration(_) => {
                (Unit::Nanoseconds, Direction::Lower)
            }
            Self::Capacity | Self::Rate => (Unit::PerSecond, Direction::Higher),
            Self::Achieved => (Unit::Ratio, Direction::Higher),
            Self::ErrorRate | Self::Lost => (Unit::Ratio, Direction::Lower),
            Self::Dropped => (Unit::Count, Direction::Lower),
            Self::BytesRate => (Unit::BytesPerSecond, Direction::Higher),
        }
    }

    /// Whether only the open model has it: a closed one offers nothing that it could drop.
    fn is_open_only(self) -> bool {
        matches!(self, Self::Achieved | Self::Dropped)
    }
}

impl fmt::Display for LoadMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(stat) => stat.fmt(f),
            Self::Service(stat) => write!(f, "service.{stat}"),
            Self::Iteration(stat) => write!(f, "iteration.{stat}"),
            Self::Capacity => f.write_str("capacity"),
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
            Self::Process { process, what } => write!(f, "{}{what}", process_prefix(process)),
            Self::Probe(probe) => write!(f, "probe.{probe}"),
            Self::Bench(id) => write!(f, "{BENCH}.{id}"),
        }
    }
}

/// How the paths of all request names of a load begin.
pub(crate) fn requests_prefix(load: &str) -> String {
    format!("load.{load}.request.")
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

/// Every metric that the plan produces, apart from those of benches, whose ids are known only after
/// the build: in the order of the plan, each path once. Besides the default quantiles there are
/// those that a gate names.
pub fn all(plan: &Plan) -> Vec<MetricSpec> {
    let quantiles = quantiles(plan);
    let stats: Vec<LatencyStat> = quantiles
        .iter()
        .map(|&quantile| LatencyStat::Quantile(quantile))
        .chain([LatencyStat::Mean, LatencyStat::Max])
        .collect();
    let mut specs = Vec::new();
    for load in &plan.loads {
        if load.arrivals.is_search() {
            specs.push(load_metric(&load.name, LoadMetric::Capacity));
            continue;
        }
        let of_load = stats
            .iter()
            .map(|&stat| LoadMetric::Response(stat))
            .chain(stats.iter().map(|&stat| LoadMetric::Service(stat)))
            .chain(stats.iter().map(|&stat| LoadMetric::Iteration(stat)))
            .chain([
                LoadMetric::Capacity,
                LoadMetric::Rate,
                LoadMetric::Achieved,
                LoadMetric::ErrorRate,
                LoadMetric::Lost,
                LoadMetric::Dropped,
                LoadMetric::BytesRate,
            ])
            .filter(|&what| has(load, what));
        specs.extend(of_load.map(|what| load_metric(&load.name, what)));
        for request in request_names(plan, load) {
            let of_request = stats
                .iter()
                .map(|&stat| RequestMetric::Response(stat))
                .chain(stats.iter().map(|&stat| RequestMetric::Service(stat)))
                .chain([RequestMetric::Rate, RequestMetric::ErrorRate]);
            specs.extend(of_request.map(|what| request_metric(&load.name, request, what)));
        }
    }
    for process in &plan.processes {
        let of_process = ProcessMetric::ALL.map(|what| process_metric(&process.name, what));
        specs.extend(of_process);
    }
    specs.extend(plan.probes.keys().filter_map(|name| probe(plan, name)));
    specs
}

/// The metrics of the plan that a gate's `metric` names: the one of that path, or all that match
/// where it holds a `*`; at least one. For benches, the pattern itself stands for what it will find.
pub fn select(plan: &Plan, pattern: &str) -> Result<Vec<MetricSpec>, UnknownMetric> {
    if let Some(exact) = parse(plan, pattern) {
        return Ok(vec![exact]);
    }
    let known = all(plan);
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

/// The request names of a load's flow, each once, in the order of its steps. Steps of one name are
/// counted together.
fn request_names<'a>(plan: &'a Plan, load: &LoadPlan) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    plan.flows
        .get(&load.flow)
        .into_iter()
        .flat_map(FlowPlan::request_names)
        .filter(|name| seen.insert(*name))
        .collect()
}

fn parse(plan: &Plan, path: &str) -> Option<MetricSpec> {
    let (kind, rest) = path.split_once('.')?;
    match kind {
        "load" => {
            let (name, rest) = rest.split_once('.')?;
            let load = plan.loads.iter().find(|load| load.name == name)?;
            match rest.strip_prefix("request.") {
                // A request name is any text, dots included: only the plan tells where it ends.
                Some(rest) => request_names(plan, load).into_iter().find_map(|request| {
                    let what = rest.strip_prefix(request)?.strip_prefix('.')?;
                    RequestMetric::parse(what).map(|what| request_metric(name, request, what))
                }),
                None => LoadMetric::parse(rest)
                    .filter(|&what| has(load, what))
                    .map(|what| load_metric(name, what)),
            }
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

fn probe(plan: &Plan, name: &str) -> Option<MetricSpec> {
    plan.probes.get(name).map(|probe| MetricSpec {
        key: MetricKey::Probe(name.to_owned()),
        unit: probe.unit.clone(),
        better: probe.better,
    })
}

fn has(load: &LoadPlan, what: LoadMetric) -> bool {
    match what {
        LoadMetric::Capacity => load.arrivals.is_search(),
        // Users of an open model have nothing else to do.
        LoadMetric::Lost => !load.arrivals.is_open(),
        _ => load.arrivals.is_open() || !what.is_open_only(),
    }
}

/// The default quantiles and those that a gate names, the smallest first.
fn quantiles(plan: &Plan) -> Vec<Quantile> {
    let named = plan.gates.iter().filter_map(|gate| {
        let last = gate.metric.rsplit('.').next()?;
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
                    step("list"),
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
                load("users", Arrivals::Closed { stages }),
            ],
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

    #[test]
    fn every_listed_metric_is_found_by_its_path() {
        let plan = plan();
        let specs = all(&plan);
        for spec in &specs {
            assert_eq!(select(&plan, &spec.path()), Ok(vec![spec.clone()]));
        }
        let paths: BTreeSet<String> = specs.iter().map(MetricSpec::path).collect();
        assert_eq!(paths.len(), specs.len(), "a path is listed twice");
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
            }
        };
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
        let selected = select(&plan, "load.*.p9999").unwrap();
        assert!(
            selected
                .iter()
                .any(|spec| spec.path() == "load.users.p9999")
        );
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
