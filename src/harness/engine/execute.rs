//! The engine: brings the processes of a plan up, drives its loads, watches, takes the processes
//! down, runs its benches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::bench::{self, BenchError, Built, Measured};
use super::capacity::Capacity;
use super::flag::became_true;
use super::jobs::{self, cores, jobs};
use super::load::{self, LoadError, LoadResult, MergeError, Secrets, Shard, WorkerEnd};
use super::nanoseconds::nanoseconds;
use super::process::{self, Exit, ProcessError, Processes, Surroundings};
use super::secrets::secret_names;
use super::setup::{self, Aim};
use super::watch::{Watcher, spans};
use super::{Engine, Executed, Progress, http, metrics};
use crate::harness::model::{InvalidReason, Measurement, Phase, PhaseSpan};
use crate::harness::scenario::Plan;

/// The load begins so long after its workers were started: by then all users are there.
const LEAD: Duration = Duration::from_secs(1);
/// How long a server that is already there may take to answer.
const REACHABLE_WITHIN: Duration = Duration::from_secs(5);

/// Told what goes on.
pub(super) type Observe<'run> = &'run (dyn Fn(Progress) + Send + Sync);

/// Processes that are up, and the news of their ends.
pub(super) type Up<'run> = (&'run Processes, &'run mut mpsc::UnboundedReceiver<Exit>);

/// Executes plans on real processes. A clone shares what was built.
#[derive(Debug, Clone)]
pub struct SubjectEngine {
    exe: PathBuf,
    environment: Secrets,
    target_dir: Option<PathBuf>,
    benches: Vec<Built>,
    /// Whether a run was made: from then on, a target that is gone is a result and no mistake.
    has_run: bool,
    part: LoadPart,
}

/// What an engine drives of the loads, and from when on.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadPart {
    pub(super) shard: Shard,
    /// In ns since the Unix epoch; `None`: as soon as everything is ready.
    pub(super) start_at_ns: Option<u64>,
}

impl LoadPart {
    const ALL: Self = Self {
        shard: Shard::WHOLE,
        start_at_ns: None,
    };

    /// When the load begins, on the monotonic clock and in ns since the Unix epoch.
    fn start(self) -> Result<(Instant, u64), ExecuteError> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let unix = wall.duration_since(SystemTime::UNIX_EPOCH);
        let unix_ns = unix.map_or(0, nanoseconds);
        let Some(start_at_ns) = self.start_at_ns else {
            return Ok((now + LEAD, unix_ns.saturating_add(nanoseconds(LEAD))));
        };
        let ahead = Duration::from_nanos(start_at_ns.saturating_sub(unix_ns));
        match ahead >= LEAD {
            true => Ok((now + ahead, start_at_ns)),
            false => Err(ExecuteError::TooLate),
        }
    }
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
    /// What the workers of one load left could not be put together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The start of a shard came before it was ready.
    #[error(
        "the start that all shards agreed on came before this one was ready; begin them earlier, or agree on a later start"
    )]
    TooLate,
    /// A bench could not be built.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The target is not there.
    #[error(
        "nothing answers at the target {url}: {cause}; start the server, or correct `url` in the scenario"
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
            environment: Secrets(environment),
            target_dir: None,
            benches: Vec::new(),
            has_run: false,
            part: LoadPart::ALL,
        }
    }

    /// The same for a part of the loads, which start at the agreed time.
    pub(super) fn with_part(self, part: LoadPart) -> Self {
        Self { part, ..self }
    }

    /// The same for one of several checkouts of a project: cargo keeps what it builds of this one in
    /// `target_dir`, whatever the environment says.
    pub fn with_target_dir(self, target_dir: PathBuf) -> Self {
        Self {
            target_dir: Some(target_dir),
            ..self
        }
    }

    /// The values of what the plan mentions.
    fn secrets(&self, plan: &Plan) -> Result<Secrets, ExecuteError> {
        let environment = &self.environment.0;
        let names = secret_names(plan);
        let missing: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !environment.contains_key(*name))
            .collect();
        if !missing.is_empty() {
            return Err(ExecuteError::MissingVariables {
                scenario: plan.file.clone(),
                names: missing.join(", "),
            });
        }
        let value = |name: String| Some((name.clone(), environment.get(&name)?.clone()));
        Ok(Secrets(names.into_iter().filter_map(value).collect()))
    }

    pub(super) fn surroundings(&self, plan: &Plan) -> Result<Surroundings, ExecuteError> {
        Ok(Surroundings::new(
            self.exe.clone(),
            plan.root.clone(),
            self.secrets(plan)?,
            http::client().map_err(ExecuteError::Client)?,
        )
        .with_target_dir(self.target_dir.clone()))
    }

    async fn run_loads(
        &self,
        plan: &Plan,
        around: &Surroundings,
        mut stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        let Some((processes, mut exits)) = up(plan, around, &mut stop, observe).await? else {
            return Ok(nothing_measured());
        };
        let up = (&processes, &mut exits);
        let executed = self.set_up_and_load(plan, around, up, stop, observe).await;
        down(&processes, observe).await;
        executed
    }

    /// Drives the loads on processes that are up, between the setup and the teardown.
    async fn set_up_and_load(
        &self,
        plan: &Plan,
        around: &Surroundings,
        (processes, exits): Up<'_>,
        stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        let (aim, instead) = setup::set_up(plan, around, processes, exits, stop.clone()).await?;
        let executed = match (instead, Capacity::of(plan)) {
            (Some(executed), _) => Ok(executed),
            (None, None) => {
                self.load(plan, around, &aim, (processes, exits), stop, observe)
                    .await
            }
            (None, Some(search)) => {
                self.search(search, around, &aim, (processes, exits), stop, observe)
                    .await
            }
        };
        let warning = setup::tear_down(plan, &aim, around, observe).await;
        executed.map(|mut executed| {
            executed.warnings.extend(warning);
            executed
        })
    }

    /// Drives the loads at one rate after the other, on processes that are up.
    async fn search(
        &self,
        mut search: Capacity<'_>,
        around: &Surroundings,
        aim: &Aim,
        (processes, exits): Up<'_>,
        stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        let mut aim = aim.clone();
        while let Some((rate, plan)) = search.next() {
            let stop = stop.clone();
            let (executed, ends) = self
                .perform(&plan, around, &aim, (processes, &mut *exits), stop, observe)
                .await?;
            aim.pass(&ends);
            let executed = together(&plan, executed, ends)?;
            observe(Progress::Note(search.take(rate, &plan, executed)));
        }
        Ok(search.finish().unwrap_or_else(nothing_measured))
    }

    /// Runs the benches of a plan without loads, whose processes are there for them.
    async fn run_benches(
        &self,
        plan: &Plan,
        around: &Surroundings,
        mut stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        if plan.processes.is_empty() {
            let mut executed = Executed {
                partial: false,
                ..nothing_measured()
            };
            self.measure_benches(&mut executed, around, stop, observe)
                .await;
            return Ok(executed);
        }
        let Some((processes, exits)) = up(plan, around, &mut stop, observe).await? else {
            return Ok(nothing_measured());
        };
        let executed = self
            .bench(plan, around, &processes, exits, stop, observe)
            .await;
        down(&processes, observe).await;
        Ok(executed)
    }

    /// Runs the benches beside processes that are up, and watches meanwhile: all of that is measured.
    async fn bench(
        &self,
        plan: &Plan,
        around: &Surroundings,
        processes: &Processes,
        mut exits: mpsc::UnboundedReceiver<Exit>,
        mut stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Executed {
        let client = around.client();
        let zero = Instant::now();
        let watcher = Watcher::new(plan, processes, client, zero, 0..u64::MAX, observe);
        let measuring = bench::measure(&self.exe, &self.benches, watcher.over(), observe);
        let nothing_else = std::future::pending();
        let measured = watcher
            .during(measuring, nothing_else, &mut exits, &mut stop)
            .await;
        let mut executed = watcher.finish(vec![PhaseSpan {
            phase: Phase::Measure,
            start_ns: 0,
            end_ns: nanoseconds(zero.elapsed()),
        }]);
        keep_benches(&mut executed, around, measured);
        executed
    }

    async fn measure_benches(
        &self,
        executed: &mut Executed,
        around: &Surroundings,
        stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) {
        let measured = bench::measure(&self.exe, &self.benches, stop, observe).await;
        keep_benches(executed, around, measured);
    }

    /// Drives the loads, and puts together what their workers measured.
    async fn load(
        &self,
        plan: &Plan,
        around: &Surroundings,
        aim: &Aim,
        (processes, exits): Up<'_>,
        stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<Executed, ExecuteError> {
        let (executed, ends) = self
            .perform(plan, around, aim, (processes, exits), stop, observe)
            .await?;
        Ok(together(plan, executed, ends)?)
    }

    /// Drives this engine's part of the loads, and watches meanwhile: what was seen beside the loads, and what became of each worker.
    pub(super) async fn perform(
        &self,
        plan: &Plan,
        around: &Surroundings,
        aim: &Aim,
        (processes, exits): Up<'_>,
        mut stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<(Executed, Vec<WorkerEnd>), ExecuteError> {
        let files = tempfile::tempdir().map_err(ExecuteError::Place)?;
        let (zero, start_at_ns) = self.part.start()?;
        let jobs = jobs(
            plan,
            &jobs::Common {
                shard: self.part.shard,
                target: &aim.target,
                setup: &aim.setup,
                next: &aim.next,
                secrets: around.secrets(),
                start_at_ns,
                folder: files.path(),
            },
        );
        let measure_ns = plan.phases.warmup_ns..plan.phases.measure_end_ns();
        let client = around.client();
        let watcher = Watcher::new(plan, processes, client, zero, measure_ns, observe);
        let on_tick = |tick| watcher.keep_tick(tick);
        let driving = load::perform(&self.exe, &jobs, watcher.over(), &on_tick);
        let ends = watcher
            .during(driving, watcher.follow_load(), exits, &mut stop)
            .await?;
        let left = ends.iter().filter_map(|end| end.outcome.as_ref().ok());
        let ended_ns = left.map(|file| file.ended_ns).min();
        // What a process did comes first: what the loads then met follows from it.
        let mut executed = watcher.finish(spans(&plan.phases, ended_ns.unwrap_or(u64::MAX)));
        executed.partial = *stop.borrow();
        Ok((executed, ends))
    }
}

impl Engine for SubjectEngine {
    type Error = ExecuteError;

    async fn build(&mut self, plan: &Plan, observe: Observe<'_>) -> Result<(), ExecuteError> {
        let around = self.surroundings(plan)?;
        process::build(&around, plan, observe).await?;
        let redactor = around.redactor();
        self.benches.clear();
        for bench in &plan.benches {
            let target_dir = self.target_dir.as_deref();
            let built = bench::build(&self.exe, bench, &plan.root, target_dir, redactor, observe);
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
        let around = self.surroundings(plan)?;
        let mut executed = match plan.loads.is_empty() {
            true => self.run_benches(plan, &around, stop, observe).await?,
            false => {
                let loaded = self.run_loads(plan, &around, stop.clone(), observe).await;
                let mut executed = match loaded {
                    Err(ExecuteError::Unreachable { url, cause }) if self.has_run => Executed {
                        invalid: vec![InvalidReason::TargetUnreachable { url, cause }],
                        partial: false,
                        ..nothing_measured()
                    },
                    executed => executed?,
                };
                // What was cut short is not gone on with.
                if executed.invalid.is_empty() && !executed.partial {
                    self.measure_benches(&mut executed, &around, stop, observe)
                        .await;
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

/// What was seen beside the loads, with what their workers measured on this machine.
fn together(
    plan: &Plan,
    mut executed: Executed,
    ends: Vec<WorkerEnd>,
) -> Result<Executed, MergeError> {
    let generators = ends.iter().filter_map(|end| end.outcome.as_ref().ok());
    let generators = generators.map(|file| &file.measurement.generator);
    let crowded = load::crowded(&plan.phases, &plan.generator, cores(), generators);
    let results = load::collect(&plan.loads, &plan.phases, &plan.generator, ends)?;
    add_loads(&mut executed, results, crowded);
    Ok(executed)
}

/// Adds what became of the loads, and on which machines their generators were crowded.
pub(super) fn add_loads(
    executed: &mut Executed,
    results: Vec<LoadResult>,
    crowded: impl IntoIterator<Item = InvalidReason>,
) {
    for result in results {
        executed.partial |= result.partial;
        executed.aborted = executed.aborted.take().or(result.aborted);
        executed.invalid.extend(result.invalid);
        executed.measurement.loads.extend(result.measurement);
    }
    // What was stopped is not judged; what a limit did to it is.
    if !executed.partial || executed.aborted.is_some() {
        executed.invalid.extend(crowded);
    }
}

/// Whether anything accepts connections there, or at the proxy in front of it: what is behind that may
/// be known to nobody else. No request is sent: that would be one that the scenario did not ask for.
pub(super) async fn reach(url: &str, proxy: Option<&str>) -> Result<(), ExecuteError> {
    // The address of a proxy can hold a password.
    let who = if proxy.is_some() { "the proxy: " } else { "" };
    let unreachable = |cause: String| ExecuteError::Unreachable {
        url: url.to_owned(),
        cause: format!("{who}{cause}"),
    };
    let parsed = reqwest::Url::parse(proxy.unwrap_or(url));
    let parsed = parsed.map_err(|error| unreachable(error.to_string()))?;
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

/// Brings the processes up; `None` where `stop` became true before they were. Those that were up go
/// with the future.
pub(super) async fn up(
    plan: &Plan,
    around: &Surroundings,
    stop: &mut watch::Receiver<bool>,
    observe: Observe<'_>,
) -> Result<Option<(Processes, mpsc::UnboundedReceiver<Exit>)>, ExecuteError> {
    tokio::select! {
        up = Processes::up(around.clone(), plan, observe) => Ok(Some(up?)),
        () = became_true(stop) => Ok(None),
    }
}

/// Adds what the benches gave. That one fails says nothing against what was measured before, so the
/// run is kept, as an invalid one. What a process did stays first: what the benches then met follows
/// from it.
fn keep_benches(executed: &mut Executed, around: &Surroundings, measured: Measured) {
    executed.measurement.benches = measured.benches;
    executed.partial |= measured.partial;
    if let Some(error) = measured.failed {
        executed.invalid.push(InvalidReason::BenchFailed {
            message: process::clean(&error.to_string(), around.redactor()),
        });
    }
}

pub(super) async fn down(processes: &Processes, observe: Observe<'_>) {
    observe(Progress::Stopping);
    let left = processes.down().await;
    if !left.is_empty() {
        let message = format!("could not end the processes {left:?}; end them by hand");
        observe(Progress::Warning(message));
    }
}

pub(super) fn nothing_measured() -> Executed {
    Executed {
        measurement: Measurement::default(),
        metrics: Vec::new(),
        invalid: Vec::new(),
        partial: true,
        aborted: None,
        warnings: Vec::new(),
        duration_ns: 0,
    }
}
