//! The engine: brings the processes of a plan up, drives its loads, watches, takes the processes
//! down, runs its benches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use super::bench::{self, BenchError, Built, Measured};
use super::flag::became_true;
use super::load::{self, LoadError, LoadResult, Secrets, Shard, WorkerJob};
use super::probe::{self, Look, Scraper};
use super::process::{self, Exit, ProcessError, Processes, Sampler, Surroundings};
use super::secrets::secret_names;
use super::thinned::Thinned;
use super::{Engine, Executed, LoadTick, Progress, Redactor, Tick, http, metrics};
use crate::harness::model::{
    InvalidReason, Measurement, Phase, PhaseSpan, ProbeSeries, ProcessSample, ProcessSeries,
    TimelineEvent,
};
use crate::harness::scenario::{
    FaultAction, FaultPlan, PhasePlan, Plan, ProbeSource, Selector, Target,
};

/// The load begins so long after its workers were started: by then all users are there.
const LEAD: Duration = Duration::from_secs(1);
/// A tick is told so long after its second, so that all workers have told theirs.
const TICK_DELAY: Duration = Duration::from_millis(150);
/// How long a server that is already there may take to answer.
const REACHABLE_WITHIN: Duration = Duration::from_secs(5);
/// How long the news of a process that has ended may be on their way.
const EXIT_NEWS: Duration = Duration::from_secs(1);

type Observe<'run> = &'run (dyn Fn(Progress) + Send + Sync);

/// Executes plans on real processes.
#[derive(Debug)]
pub struct SubjectEngine {
    exe: PathBuf,
    environment: BTreeMap<String, String>,
    bench_target_dir: Option<PathBuf>,
    benches: Vec<Built>,
    /// Whether a run was made: from then on, a target that is gone is a result and no mistake.
    has_run: bool,
}

/// Why a plan could not be executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A process could not be brought up.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The load could not be driven.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A bench could not be built.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The target is not there.
    #[error(
        "nothing answers at the target {url}: {cause}; start the server, or correct `target` in the scenario"
    )]
    Unreachable {
        /// The target.
        url: String,
        /// What came instead of an answer.
        cause: String,
    },
    /// The plan mentions variables that the environment doesn't have.
    #[error(
        "{} uses variables of the environment that are not set: {names}; set them before plimsoll is started",
        scenario.display()
    )]
    MissingVariables {
        /// The file that mentions them as `{$env.NAME}`.
        scenario: PathBuf,
        /// All of them.
        names: String,
    },
    /// Our own client could not be made.
    #[error("no HTTP client: {0}; are the certificates of the system in order?")]
    Client(reqwest::Error),
    /// There is no place for the files of the workers.
    #[error("no temporary folder for the files of the load workers: {0}; is the disk full?")]
    Place(std::io::Error),
}

impl SubjectEngine {
    /// An engine whose supervisors and workers are started from `exe`, the plimsoll executable. Of
    /// `environment`, what a plan mentions as `{$env.NAME}` is filled in, and is a secret. Apart from
    /// that, processes and benches inherit the environment of this process as a shell would hand it
    /// on, but for `PLIMSOLL_STORE`.
    pub fn new(exe: PathBuf, environment: BTreeMap<String, String>) -> Self {
        Self {
            exe,
            environment,
            bench_target_dir: None,
            benches: Vec::new(),
            has_run: false,
        }
    }

    /// Builds benches in a target directory of their own.
    pub fn with_bench_target_dir(self, target_dir: PathBuf) -> Self {
        Self {
            bench_target_dir: Some(target_dir),
            ..self
        }
    }

    /// The values of what the plan mentions.
    fn secrets(&self, plan: &Plan) -> Result<BTreeMap<String, String>, ExecuteError> {
        let names = secret_names(plan);
        let missing: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !self.environment.contains_key(*name))
            .collect();
        if !missing.is_empty() {
            return Err(ExecuteError::MissingVariables {
                scenario: plan.file.clone(),
                names: missing.join(", "),
            });
        }
        let value = |name: String| Some((name.clone(), self.environment.get(&name)?.clone()));
        Ok(names.into_iter().filter_map(value).collect())
    }

    fn surroundings(&self, plan: &Plan) -> Result<Surroundings, ExecuteError> {
        Ok(Surroundings::new(
            self.exe.clone(),
            plan.root.clone(),
            self.secrets(plan)?,
            http::client().map_err(ExecuteError::Client)?,
        ))
    }

    async fn run_loads(
        &self,
        plan: &Plan,
        mut stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        let Some((processes, exits)) = self.up(plan, &mut stop, observe).await? else {
            return Ok(nothing_measured());
        };
        let executed = self.load(plan, &processes, exits, stop, observe).await;
        down(&processes, observe).await;
        executed
    }

    /// Runs the benches of a plan without loads, whose processes are there for them.
    async fn run_benches(
        &self,
        plan: &Plan,
        mut stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        let mut executed = Executed {
            partial: false,
            ..nothing_measured()
        };
        if plan.processes.is_empty() {
            self.measure_benches(&mut executed, plan, stop, observe)
                .await?;
            return Ok(executed);
        }
        let Some((processes, mut exits)) = self.up(plan, &mut stop, observe).await? else {
            return Ok(nothing_measured());
        };
        let zero = Instant::now();
        let (over, ended) = watch::channel(false);
        let mut first = None;
        let measured = {
            let measuring = self.measure_benches(&mut executed, plan, ended, observe);
            tokio::pin!(measuring);
            tokio::select! {
                measured = &mut measuring => measured,
                exit = end_of_one(&mut exits, &mut stop) => {
                    first = exit;
                    over.send_replace(true);
                    measuring.await
                }
            }
        };
        if first.is_none() && processes.has_unexpected_end() {
            first = timeout(EXIT_NEWS, exits.recv()).await.ok().flatten();
        }
        down(&processes, observe).await;
        measured?;
        if let Some(exit) = first {
            // What a process did comes first: what the benches then met follows from it.
            executed.invalid.insert(0, ended_by_itself(exit, zero));
        }
        Ok(executed)
    }

    async fn measure_benches(
        &self,
        executed: &mut Executed,
        plan: &Plan,
        stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<(), ExecuteError> {
        let measured = bench::measure(&self.exe, &self.benches, stop, observe).await;
        keep_benches(executed, measured, &Redactor::new(&self.secrets(plan)?));
        Ok(())
    }

    /// Brings the processes up; `None` where `stop` became true before they were. Those that were up
    /// go with the future.
    async fn up(
        &self,
        plan: &Plan,
        stop: &mut watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Option<(Processes, mpsc::UnboundedReceiver<Exit>)>, ExecuteError> {
        tokio::select! {
            up = Processes::up(self.surroundings(plan)?, plan, observe) => Ok(Some(up?)),
            () = became_true(stop) => Ok(None),
        }
    }

    /// Drives the loads on processes that are up, and watches meanwhile.
    async fn load(
        &self,
        plan: &Plan,
        processes: &Processes,
        mut exits: mpsc::UnboundedReceiver<Exit>,
        mut stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        let client = http::client().map_err(ExecuteError::Client)?;
        let target = match &plan.target {
            Some(Target::Process(name)) => processes.url(name).unwrap_or_default(),
            Some(Target::Url(url)) => {
                reach(url).await?;
                url.clone()
            }
            None => String::new(),
        };
        let files = tempfile::tempdir().map_err(ExecuteError::Place)?;
        let zero = Instant::now() + LEAD;
        let start_at = (SystemTime::now() + LEAD).duration_since(SystemTime::UNIX_EPOCH);
        let start_at_ns = start_at.map_or(0, nanoseconds);
        let secrets = self.secrets(plan)?;
        let jobs: Vec<WorkerJob> = plan
            .loads
            .iter()
            .enumerate()
            .filter_map(|(index, load)| {
                Some(WorkerJob {
                    load: load.clone(),
                    flow: plan.flows.get(&load.flow)?.clone(),
                    feeds: plan.feeds.clone(),
                    target: target.clone(),
                    phases: plan.phases,
                    secrets: Secrets(secrets.clone()),
                    start_at_ns,
                    late_ns: plan.generator.late_ns,
                    shard: Shard::WHOLE,
                    result: files.path().join(format!("{index}.json")),
                })
            })
            .collect();

        let (over, _) = watch::channel(false);
        let watcher = Watcher {
            plan,
            processes,
            zero,
            observe,
            over: &over,
            seen: Mutex::default(),
            scrapers: scrapers(plan, processes, &client),
        };
        let on_tick = |tick| watcher.keep_tick(tick);
        let driving = async {
            let results = load::drive(
                &self.exe,
                &jobs,
                &plan.generator,
                over.subscribe(),
                &on_tick,
            );
            let results = results.await;
            over.send_replace(true);
            results
        };
        let background = async {
            tokio::join!(
                watcher.sample(),
                watcher.tell_ticks(),
                watcher.tell_phases(),
                watcher.carry_out_faults(),
                join_all(
                    watcher
                        .scrapers
                        .iter()
                        .map(|scraping| watcher.scrape_each_second(scraping))
                ),
                watcher.take_exits(&mut exits),
                async {
                    became_true(&mut stop).await;
                    over.send_replace(true);
                    std::future::pending::<()>().await;
                },
            )
        };
        let boundaries = join_all(
            watcher
                .scrapers
                .iter()
                .map(|scraping| watcher.scrape_boundaries(scraping)),
        );
        let results = tokio::select! {
            (results, _) = async { tokio::join!(driving, boundaries) } => results?,
            _ = background => Vec::new(),
        };
        // A process may have ended in the very last moment.
        while processes.has_unexpected_end() && watcher.seen().exits.is_empty() {
            match timeout(EXIT_NEWS, exits.recv()).await {
                Ok(Some(exit)) => watcher.keep_exit(exit),
                _ => break,
            }
        }
        let stopped = *stop.borrow();
        Ok(watcher.finish(results, stopped))
    }
}

impl Engine for SubjectEngine {
    type Error = ExecuteError;

    async fn build(&mut self, plan: &Plan, observe: Observe<'_>) -> Result<(), ExecuteError> {
        process::build(&self.surroundings(plan)?, plan, observe).await?;
        let redactor = Redactor::new(&self.secrets(plan)?);
        self.benches.clear();
        for bench in &plan.benches {
            let target_dir = self.bench_target_dir.as_deref();
            let built = bench::build(&self.exe, bench, &plan.root, target_dir, &redactor, observe);
            self.benches.push(built.await?);
        }
        Ok(())
    }

    async fn run(
        &mut self,
        plan: &Plan,
        stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        let began = Instant::now();
        let mut executed = match plan.loads.is_empty() {
            true => self.run_benches(plan, stop, observe).await?,
            false => {
                let mut executed = match self.run_loads(plan, stop.clone(), observe).await {
                    Err(ExecuteError::Unreachable { url, cause }) if self.has_run => Executed {
                        invalid: vec![InvalidReason::TargetUnreachable { url, cause }],
                        partial: false,
                        ..nothing_measured()
                    },
                    executed => executed?,
                };
                // What was cut short is not gone on with.
                if executed.invalid.is_empty() && !executed.partial {
                    self.measure_benches(&mut executed, plan, stop, observe)
                        .await?;
                }
                executed
            }
        };
        self.has_run = true;
        executed.metrics = metrics::metrics(plan, &executed.measurement);
        executed.duration_ns = nanoseconds(began.elapsed());
        Ok(executed)
    }
}

/// What goes on beside the load. All times are kept as offsets from `zero`, the start of the load.
struct Watcher<'run> {
    plan: &'run Plan,
    processes: &'run Processes,
    zero: Instant,
    observe: Observe<'run>,
    /// Becomes true when the load is to end, and when it has ended.
    over: &'run watch::Sender<bool>,
    seen: Mutex<Seen>,
    scrapers: Vec<Scraping>,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    ticks: BTreeMap<String, LoadTick>,
    samples: BTreeMap<String, Thinned<ProcessSample>>,
    events: Vec<TimelineEvent>,
    exits: Vec<InvalidReason>,
}

/// What is read of the metrics of one process.
struct Scraping {
    process: String,
    scraper: Scraper,
    /// The probes that need it, each with the places of its selectors among those of the scraper.
    probes: Vec<(String, [Option<usize>; 2])>,
    /// All of them, some 100 bytes a second: the value over the measure phase is to be exact. What is
    /// kept of them in the end is thinned.
    looks: Mutex<Vec<ProcessLook>>,
}

/// The values of all selectors of a scraper at one moment.
struct ProcessLook {
    at_ns: i64,
    generation: u32,
    values: Vec<Option<f64>>,
}

impl Watcher<'_> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offset_ns(&self, at: Instant) -> i64 {
        offset_ns(at, self.zero)
    }

    /// The next whole second from the start of the load.
    fn next_second(&self) -> Duration {
        let passed = Instant::now().checked_duration_since(self.zero);
        passed.map_or(Duration::ZERO, |passed| {
            Duration::from_secs(passed.as_secs() + 1)
        })
    }

    async fn until(&self, offset: Duration) {
        sleep_until((self.zero + offset).into()).await;
    }

    fn keep_tick(&self, tick: LoadTick) {
        self.seen().ticks.insert(tick.load.clone(), tick);
    }

    fn keep_event(&self, at: Instant, what: String) {
        let at_ns = self.offset_ns(at);
        self.seen().events.push(TimelineEvent { at_ns, what });
    }

    /// A process that ended makes the run invalid and ends it.
    fn keep_exit(&self, exit: Exit) {
        let what = format!("{} ended with {}", exit.process, exit.ending);
        self.keep_event(exit.at, what);
        self.seen().exits.push(ended_by_itself(exit, self.zero));
        self.over.send_replace(true);
    }

    async fn take_exits(&self, exits: &mut mpsc::UnboundedReceiver<Exit>) {
        while let Some(exit) = exits.recv().await {
            self.keep_exit(exit);
        }
    }

    async fn sample(&self) {
        let mut sampler = Sampler::default();
        loop {
            let second = self.next_second();
            let roots = self.processes.roots();
            // Reading `/proc` takes milliseconds, in which nothing else could go on here.
            let looking = tokio::task::spawn_blocking(move || {
                let samples = sampler.look(&roots);
                (sampler, roots, samples)
            });
            let Ok((back, roots, samples)) = looking.await else {
                return;
            };
            sampler = back;
            for (root, (at, sample)) in roots.into_iter().zip(samples) {
                let at_ns = self.offset_ns(at);
                let mut seen = self.seen();
                let samples = seen.samples.entry(root.process);
                let samples = samples.or_insert_with(|| Thinned::new(process::together));
                samples.push(ProcessSample { at_ns, ..sample });
            }
            self.until(second).await;
        }
    }

    async fn tell_ticks(&self) {
        loop {
            let second = self.next_second().max(Duration::from_secs(1));
            self.until(second + TICK_DELAY).await;
            (self.observe)(Progress::Tick(self.tick(nanoseconds(second))));
        }
    }

    /// What is known of the second that ends at `at_ns`.
    fn tick(&self, at_ns: u64) -> Tick {
        let seen = self.seen();
        let loads = self.plan.loads.iter();
        let processes = self.plan.processes.iter();
        Tick {
            at_ns,
            of_ns: self.plan.phases.total_ns(),
            phase: load::phase_at(&self.plan.phases, at_ns.saturating_sub(1)),
            loads: loads
                .filter_map(|load| seen.ticks.get(&load.name).cloned())
                .collect(),
            processes: processes
                .filter_map(|process| {
                    let newest = seen.samples.get(&process.name)?.newest()?;
                    Some((process.name.clone(), *newest))
                })
                .collect(),
        }
    }

    async fn tell_phases(&self) {
        for span in spans(&self.plan.phases, u64::MAX) {
            self.until(Duration::from_nanos(span.start_ns)).await;
            (self.observe)(Progress::Phase {
                phase: span.phase,
                length_ns: span.end_ns - span.start_ns,
            });
        }
        std::future::pending().await
    }

    async fn carry_out_faults(&self) {
        join_all(self.plan.faults.iter().map(|fault| self.carry_out(fault))).await;
        std::future::pending().await
    }

    async fn carry_out(&self, fault: &FaultPlan) {
        self.until(Duration::from_nanos(fault.at_ns)).await;
        let what = format!("{} {}", verb(fault.action), fault.process);
        self.keep_event(Instant::now(), what.clone());
        (self.observe)(Progress::Fault { what });
        if let Err(error) = self.processes.carry_out(&fault.process, fault.action).await {
            let at = Instant::now();
            self.seen().exits.push(InvalidReason::ProcessExited {
                process: fault.process.clone(),
                status: "no start after its fault".to_owned(),
                at_ns: self.offset_ns(at),
                output: error.to_string(),
            });
            self.over.send_replace(true);
        }
    }

    /// Looks at the start and at the end of the measure phase, or of what came to be of it.
    async fn scrape_boundaries(&self, scraping: &Scraping) {
        let phases = &self.plan.phases;
        let mut over = self.over.subscribe();
        for boundary_ns in [phases.warmup_ns, phases.warmup_ns + phases.measure_ns] {
            tokio::select! {
                () = self.until(Duration::from_nanos(boundary_ns)) => {}
                () = became_true(&mut over) => {}
            }
            self.look(scraping).await;
        }
    }

    async fn scrape_each_second(&self, scraping: &Scraping) {
        let phases = &self.plan.phases;
        let boundaries_ns = [phases.warmup_ns, phases.warmup_ns + phases.measure_ns];
        let mut told = false;
        loop {
            let second = self.next_second();
            self.until(second).await;
            if boundaries_ns.contains(&nanoseconds(second)) {
                continue;
            }
            if let Some(problem) = self.look(scraping).await
                && !std::mem::replace(&mut told, true)
            {
                let url = scraping.scraper.url();
                let message = format!("no metrics of `{}` at {url}: {problem}", scraping.process);
                (self.observe)(Progress::Note(message));
            }
        }
    }

    /// Keeps what the process exposes now; returns why nothing could be kept.
    async fn look(&self, scraping: &Scraping) -> Option<String> {
        let generation = self.processes.generation(&scraping.process);
        let asked = Instant::now();
        let values = match scraping.scraper.look().await {
            Ok(values) => values,
            Err(error) => return Some(error.to_string()),
        };
        // Somewhere between the question and the answer.
        let at_ns = self.offset_ns(asked + asked.elapsed() / 2);
        let mut looks = scraping
            .looks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        looks.push(ProcessLook {
            at_ns,
            generation,
            values,
        });
        None
    }

    fn finish(self, results: Vec<LoadResult>, stopped: bool) -> Executed {
        let ended_ns = results.iter().map(|result| result.ended_ns).min();
        let phases = spans(&self.plan.phases, ended_ns.unwrap_or(u64::MAX));
        let probes = self.probes(&phases);
        let Self { plan, seen, .. } = self;
        let mut seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        seen.events.sort_by_key(|event| event.at_ns);
        let mut executed = Executed {
            partial: stopped,
            // What a process did comes first: what the loads then met follows from it.
            invalid: seen.exits,
            ..nothing_measured()
        };
        let mut loads = Vec::new();
        for result in results {
            executed.partial |= result.partial;
            executed.invalid.extend(result.invalid);
            loads.extend(result.measurement);
        }
        executed.measurement = Measurement {
            phases,
            loads,
            processes: plan
                .processes
                .iter()
                .map(|process| ProcessSeries {
                    name: process.name.clone(),
                    samples: seen
                        .samples
                        .remove(&process.name)
                        .map_or_else(Vec::new, Thinned::finish),
                })
                .collect(),
            probes,
            benches: Vec::new(),
            events: seen.events,
        };
        executed
    }

    fn probes(&self, phases: &[PhaseSpan]) -> Vec<ProbeSeries> {
        let measure = phases.iter().find(|span| span.phase == Phase::Measure);
        let mut all = Vec::new();
        for scraping in &self.scrapers {
            let mut looks = scraping
                .looks
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            looks.sort_by_key(|look| look.at_ns);
            for (name, places) in &scraping.probes {
                let value = |look: &ProcessLook, place: Option<usize>| look.values[place?];
                let looks: Vec<Look> = looks
                    .iter()
                    .map(|look| Look {
                        at_ns: look.at_ns,
                        generation: look.generation,
                        values: places.map(|place| value(look, place)),
                    })
                    .collect();
                let Some(plan) = self.plan.probes.get(name) else {
                    continue;
                };
                let (start_ns, end_ns) =
                    measure.map_or((0, 0), |span| (signed(span.start_ns), signed(span.end_ns)));
                let mut series = probe::series(name, plan, &looks, start_ns, end_ns);
                series.value = series.value.filter(|_| measure.is_some());
                all.push(series);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// One scraper for each process that a probe reads.
fn scrapers(plan: &Plan, processes: &Processes, client: &reqwest::Client) -> Vec<Scraping> {
    let mut scrapers = Vec::new();
    for process in &plan.processes {
        let (Some(path), Some(url)) = (&process.metrics, processes.url(&process.name)) else {
            continue;
        };
        let mut selectors: Vec<Selector> = Vec::new();
        let mut probes = Vec::new();
        for (name, probe) in plan
            .probes
            .iter()
            .filter(|(_, probe)| probe.process == process.name)
        {
            let (first, second) = match &probe.source {
                ProbeSource::Ratio(part, whole) => (part, Some(whole)),
                ProbeSource::Rate(only)
                | ProbeSource::Increase(only)
                | ProbeSource::Mean(only)
                | ProbeSource::Max(only) => (only, None),
            };
            let mut place = |selector: &Selector| {
                selectors.push(selector.clone());
                selectors.len() - 1
            };
            probes.push((name.clone(), [Some(place(first)), second.map(place)]));
        }
        if !probes.is_empty() {
            scrapers.push(Scraping {
                process: process.name.clone(),
                scraper: Scraper::new(client.clone(), format!("{url}{path}"), selectors),
                probes,
                looks: Mutex::default(),
            });
        }
    }
    scrapers
}

/// Whether anything accepts connections there. No request is sent: that would be one that the scenario
/// did not ask for.
async fn reach(url: &str) -> Result<(), ExecuteError> {
    let unreachable = |cause: String| ExecuteError::Unreachable {
        url: url.to_owned(),
        cause,
    };
    let parsed = reqwest::Url::parse(url).map_err(|error| unreachable(error.to_string()))?;
    // An IPv6 host is written in brackets, which name resolution doesn't know.
    let host = parsed
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']']);
    let port = parsed.port_or_known_default().unwrap_or_default();
    match timeout(
        REACHABLE_WITHIN,
        tokio::net::TcpStream::connect((host, port)),
    )
    .await
    {
        Ok(connected) => connected
            .map(drop)
            .map_err(|error| unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!(
            "no connection within {} s",
            REACHABLE_WITHIN.as_secs()
        ))),
    }
}

/// Waits for a process that ends by itself; `None` where `stop` becomes true before.
async fn end_of_one(
    exits: &mut mpsc::UnboundedReceiver<Exit>,
    stop: &mut watch::Receiver<bool>,
) -> Option<Exit> {
    tokio::select! {
        Some(exit) = exits.recv() => Some(exit),
        () = became_true(stop) => None,
    }
}

fn ended_by_itself(exit: Exit, zero: Instant) -> InvalidReason {
    InvalidReason::ProcessExited {
        process: exit.process,
        status: exit.ending.to_string(),
        at_ns: offset_ns(exit.at, zero),
        output: exit.output,
    }
}

async fn down(processes: &Processes, observe: Observe<'_>) {
    observe(Progress::Stopping);
    let left = processes.down().await;
    if !left.is_empty() {
        let message = format!("could not end the processes {left:?}; end them by hand");
        observe(Progress::Note(message));
    }
}

/// Adds what the benches gave. That one fails says nothing against what the load measured before, so
/// the run is kept, as an invalid one.
fn keep_benches(
    executed: &mut Executed,
    measured: Result<Measured, BenchError>,
    redactor: &Redactor,
) {
    match measured {
        Ok(measured) => {
            executed.measurement.benches = measured.benches;
            executed.partial |= measured.partial;
        }
        Err(error) => executed.invalid.push(InvalidReason::BenchFailed {
            message: redactor.redact(&error.to_string()).into_owned(),
        }),
    }
}

fn nothing_measured() -> Executed {
    Executed {
        measurement: Measurement::default(),
        metrics: Vec::new(),
        invalid: Vec::new(),
        partial: true,
        duration_ns: 0,
    }
}

/// The phases of a load that ended at `ended_ns`; those that it did not reach are left out.
fn spans(phases: &PhasePlan, ended_ns: u64) -> Vec<PhaseSpan> {
    let mut start_ns: u64 = 0;
    let lengths = [
        (Phase::Warmup, phases.warmup_ns),
        (Phase::Measure, phases.measure_ns),
        (Phase::Cooldown, phases.cooldown_ns),
    ];
    let spans = lengths.map(|(phase, length_ns)| {
        let end_ns = start_ns.saturating_add(length_ns);
        let span = PhaseSpan {
            phase,
            start_ns,
            end_ns: end_ns.min(ended_ns),
        };
        start_ns = end_ns;
        span
    });
    spans
        .into_iter()
        .filter(|span| span.start_ns < span.end_ns)
        .collect()
}

fn verb(action: FaultAction) -> &'static str {
    match action {
        FaultAction::Start => "start",
        FaultAction::Stop => "stop",
        FaultAction::Kill => "kill",
        FaultAction::Pause => "pause",
        FaultAction::Resume => "resume",
    }
}

fn offset_ns(at: Instant, zero: Instant) -> i64 {
    let after = at.checked_duration_since(zero).map(signed_nanoseconds);
    after.unwrap_or_else(|| -signed_nanoseconds(zero - at))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn signed_nanoseconds(duration: Duration) -> i64 {
    signed(nanoseconds(duration))
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}
