//! All processes of a run: up in order, faults, down in reverse order.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::error::ProcessError;
use super::fill::{Values, command_as_written};
use super::oneshot::{self, OneshotError};
use super::output::Output;
use super::ports::{self, ReservedPort};
use super::protocol::{Ending, Job, Order};
use super::ready;
use super::supervised::{Sight, Supervised};
use crate::harness::engine::Progress;
use crate::harness::engine::apart;
use crate::harness::engine::load::Secrets;
use crate::harness::engine::nanoseconds::nanoseconds;
use crate::harness::engine::redact::Redactor;
use crate::harness::scenario::{CommandPlan, FaultAction, Plan, ProcessPlan, Ready};

/// How often a process gets another port where somebody else took its own between our letting it
/// go and its binding it.
const PORT_ATTEMPTS: u32 = 3;

/// How long a preparation may take.
const PREPARED_WITHIN: Duration = Duration::from_secs(30 * 60);

/// What all processes have in common.
#[derive(Debug, Clone)]
pub struct Surroundings {
    exe: PathBuf,
    root: PathBuf,
    secrets: Secrets,
    redactor: Arc<Redactor>,
    client: reqwest::Client,
    target_dir: Option<PathBuf>,
    prepared_within: Duration,
}

impl Surroundings {
    /// `exe` is the plimsoll executable, which supervises; `root` the folder in which builds and
    /// processes start; `secrets` are the values of `{$env.NAME}` by name; `client` asks whether a
    /// process is ready.
    pub fn new(exe: PathBuf, root: PathBuf, secrets: Secrets, client: reqwest::Client) -> Self {
        let redactor = Arc::new(Redactor::new(&secrets.0));
        Self {
            exe,
            root,
            secrets,
            redactor,
            client,
            target_dir: None,
            prepared_within: PREPARED_WITHIN,
        }
    }

    /// The same for one of several checkouts of a project: cargo keeps what it builds there, in
    /// `target_dir`, whatever the environment says.
    pub fn with_target_dir(self, target_dir: Option<PathBuf>) -> Self {
        Self { target_dir, ..self }
    }

    /// The same with another limit for each preparation.
    pub fn with_prepared_within(self, prepared_within: Duration) -> Self {
        Self {
            prepared_within,
            ..self
        }
    }

    /// The values of `{$env.NAME}`.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Takes them out of what is shown.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Our own client.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }
}

/// The processes of one run. When this value goes, they go: each supervisor sees its input end.
#[derive(Debug)]
pub struct Processes {
    around: Surroundings,
    ports: BTreeMap<String, u16>,
    slots: Vec<Slot>,
    exits: mpsc::UnboundedSender<Exit>,
}

/// A process that ended although nobody asked it to.
#[derive(Debug)]
pub struct Exit {
    /// Its name.
    pub process: String,
    /// How.
    pub ending: Ending,
    /// When.
    pub at: Instant,
    /// Its last lines.
    pub output: String,
}

/// The tree of a process as it is now.
#[derive(Debug, Clone)]
pub struct Root {
    /// The name of the process.
    pub process: String,
    /// Its supervisor, whose descendants are the tree; `None` while the process is stopped.
    pub supervisor: Option<i32>,
    /// When it was started last.
    pub started_at: Instant,
    /// How often it was started; counters of its own begin anew each time.
    pub generation: u32,
}

/// The place of a process in the run: what stays when a fault stops it and starts it again.
#[derive(Debug)]
struct Slot {
    plan: ProcessPlan,
    port: u16,
    output: Arc<Output>,
    life: Mutex<Life>,
    /// Holds `{dir}`; gone with the slot.
    scratch: TempDir,
}

/// One start of a process after the other.
#[derive(Debug)]
struct Life {
    supervised: Arc<Supervised>,
    /// Whether a fault or the end of the run asked it to end.
    expected: Arc<AtomicBool>,
    started_at: Instant,
    generation: u32,
}

impl Processes {
    /// Brings all processes of the plan up, each when those before it are ready. Exits that nobody
    /// asked for arrive on the receiver from then on.
    ///
    /// # Errors
    /// The first that could not be brought up; those before it are down again by then.
    pub async fn up(
        around: Surroundings,
        plan: &Plan,
        observe: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(Self, mpsc::UnboundedReceiver<Exit>), ProcessError> {
        let (exits, mut unexpected) = mpsc::unbounded_channel();
        let mut this = Self {
            around,
            ports: BTreeMap::new(),
            slots: Vec::new(),
            exits,
        };
        match this.bring_up(plan, &mut unexpected, observe).await {
            Ok(()) => Ok((this, unexpected)),
            Err(error) => {
                this.down().await;
                Err(error)
            }
        }
    }

    /// `http://127.0.0.1:PORT` of a process.
    pub fn url(&self, process: &str) -> Option<String> {
        let port = self.ports.get(process)?;
        Some(format!("http://127.0.0.1:{port}"))
    }

    /// The trees as they are now, in the order of the plan.
    pub fn roots(&self) -> Vec<Root> {
        let root = |slot: &Slot| {
            let life = slot.life();
            let stopped =
                life.expected.load(Ordering::Acquire) && life.supervised.sight().has_ended();
            Root {
                process: slot.plan.name.clone(),
                supervisor: (!stopped).then_some(life.supervised.supervisor),
                started_at: life.started_at,
                generation: life.generation,
            }
        };
        self.slots.iter().map(root).collect()
    }

    /// How often the process was started; 0 for one that is not there.
    pub fn generation(&self, process: &str) -> u32 {
        let slot = self.slots.iter().find(|slot| slot.plan.name == process);
        slot.map_or(0, |slot| slot.life().generation)
    }

    /// Whether a process has ended although nobody asked it to. Its exit may still be on its way to
    /// the receiver.
    pub fn has_unexpected_end(&self) -> bool {
        self.slots.iter().any(|slot| {
            let life = slot.life();
            !life.expected.load(Ordering::Acquire) && life.supervised.sight().has_ended()
        })
    }

    /// Carries a fault out. All but a start take effect at once; a start waits until the last of
    /// the stopped tree is gone. It does not wait until the process is ready, because what the load
    /// meets until then belongs to the fault, and `prepare` is not run again, so the process finds in
    /// `{dir}` what it left there.
    ///
    /// # Errors
    /// Where the process could not be started again.
    pub async fn carry_out(&self, process: &str, action: FaultAction) -> Result<(), ProcessError> {
        let Some(slot) = self.slots.iter().find(|slot| slot.plan.name == process) else {
            return Ok(());
        };
        let grace_ns = slot.plan.stop_timeout_ns;
        match action {
            FaultAction::Stop => slot.end(Order::Stop { grace_ns }),
            FaultAction::Kill => slot.end(Order::Kill),
            FaultAction::Pause => slot.life().supervised.order(Order::Pause),
            FaultAction::Resume => slot.life().supervised.order(Order::Resume),
            FaultAction::Start => {
                let (sight, running) = {
                    let life = slot.life();
                    (
                        life.supervised.sight(),
                        !life.expected.load(Ordering::Acquire),
                    )
                };
                if running {
                    return Ok(());
                }
                sight.over().await;
                let supervised = self
                    .launch(&slot.plan, slot.port, &slot.scratch, &slot.output)
                    .await?;
                let mut life = slot.life();
                *life = Life::new(supervised, life.generation + 1);
                self.report_exits_of(slot, &life);
            }
        }
        Ok(())
    }

    /// Takes all processes down, the last one first; returns what even SIGKILL did not end.
    pub async fn down(&self) -> Vec<i32> {
        for slot in &self.slots {
            // All of them, before any ends: a process may well end because another did.
            slot.life().expected.store(true, Ordering::Release);
        }
        let mut left = Vec::new();
        for slot in self.slots.iter().rev() {
            let supervised = Arc::clone(&slot.life().supervised);
            left.extend(
                supervised
                    .end(Duration::from_nanos(slot.plan.stop_timeout_ns))
                    .await,
            );
        }
        left
    }

    async fn bring_up(
        &mut self,
        plan: &Plan,
        unexpected: &mut mpsc::UnboundedReceiver<Exit>,
        observe: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), ProcessError> {
        // All ports at first, so that no two processes get the same.
        let mut reserved = Vec::new();
        for process in &plan.processes {
            let port = ReservedPort::take().map_err(|source| place(process, source))?;
            self.ports.insert(process.name.clone(), port.port());
            reserved.push(port);
        }
        for (process, mut port) in plan.processes.iter().zip(reserved) {
            observe(Progress::Starting {
                process: process.name.clone(),
            });
            let began = Instant::now();
            let mut attempt = 1;
            loop {
                let number = port.port();
                port.let_go();
                let started = tokio::select! {
                    started = self.start(process, number) => started,
                    Some(exit) = unexpected.recv() => return Err(exit.into()),
                };
                match started {
                    Ok(()) => break,
                    Err(error) if attempt == PORT_ATTEMPTS || !ports::is_taken(number) => {
                        return Err(error);
                    }
                    Err(_) => {
                        attempt += 1;
                        port = ReservedPort::take().map_err(|source| place(process, source))?;
                        self.ports.insert(process.name.clone(), port.port());
                    }
                }
            }
            observe(Progress::Ready {
                process: process.name.clone(),
                after_ns: nanoseconds(began.elapsed()),
            });
        }
        Ok(())
    }

    /// Prepares and starts one process and waits until it is ready.
    async fn start(&mut self, plan: &ProcessPlan, port: u16) -> Result<(), ProcessError> {
        let scratch = scratch().map_err(|source| place(plan, source))?;
        let pattern = match &plan.ready {
            Ready::Log(pattern) => Some(Regex::new(pattern).map_err(|source| {
                let process = plan.name.clone();
                ProcessError::Pattern { process, source }
            })?),
            _ => None,
        };
        let output = Arc::new(Output::new(Arc::clone(&self.around.redactor), pattern));
        if let Some(prepare) = &plan.prepare {
            let job = self.job(plan, prepare, port, &scratch)?;
            let limit = self.around.prepared_within;
            let done = oneshot::run(&self.around.exe, &job, Arc::clone(&output), limit).await;
            done.map_err(|error| command_error(error, plan, prepare, &job.cwd))?;
        }
        let supervised = self.launch(plan, port, &scratch, &output).await?;
        let limit = Duration::from_nanos(plan.ready_timeout_ns);
        let sight = supervised.sight();
        let up = tokio::select! {
            biased;
            (ending, _) = sight.ending() => Err(ProcessError::Exited {
                process: plan.name.clone(),
                status: ending.to_string(),
                output: output.last_lines(),
            }),
            ready = ready::wait(&plan.ready, port, &output, &self.around.client, limit) => {
                ready.map_err(|waited_for| ProcessError::NotReady {
                    process: plan.name.clone(),
                    after_ns: plan.ready_timeout_ns,
                    waited_for,
                    output: output.last_lines(),
                })
            }
        };
        if let Err(error) = up {
            supervised
                .end(Duration::from_nanos(plan.stop_timeout_ns))
                .await;
            return Err(error);
        }
        let slot = Slot {
            plan: plan.clone(),
            port,
            output,
            life: Mutex::new(Life::new(supervised, 1)),
            scratch,
        };
        self.report_exits_of(&slot, &slot.life());
        self.slots.push(slot);
        Ok(())
    }

    async fn launch(
        &self,
        plan: &ProcessPlan,
        port: u16,
        scratch: &TempDir,
        output: &Arc<Output>,
    ) -> Result<Supervised, ProcessError> {
        let job = self.job(plan, &plan.start, port, scratch)?;
        output.not_ready();
        Supervised::start(&self.around.exe, &job, Arc::clone(output))
            .await
            .map_err(|message| {
                command_error(
                    OneshotError::NotStarted(message),
                    plan,
                    &plan.start,
                    &job.cwd,
                )
            })
    }

    fn job(
        &self,
        plan: &ProcessPlan,
        command: &CommandPlan,
        port: u16,
        scratch: &TempDir,
    ) -> Result<Job, ProcessError> {
        let dir = own_dir(scratch);
        let values = Values {
            own: Some((port, &dir)),
            ports: &self.ports,
            secrets: &self.around.secrets.0,
        };
        let cwd = match &plan.cwd {
            Some(cwd) => self.around.root.join(cwd),
            None => self.around.root.clone(),
        };
        let mut job = job(&self.around, plan, command, &values, cwd)?;
        for (name, value) in &plan.env {
            let value = values.fill(value).map_err(|value| unknown(plan, value))?;
            job.env.insert(name.clone(), value);
        }
        job.grace_ns = plan.stop_timeout_ns;
        job.scratch = Some(scratch.path().to_owned());
        Ok(job)
    }

    /// Reports the end of this life of a process, where nobody asked for it.
    fn report_exits_of(&self, slot: &Slot, life: &Life) {
        let exits = self.exits.clone();
        let process = slot.plan.name.clone();
        let output = Arc::clone(&slot.output);
        let expected = Arc::clone(&life.expected);
        // Not the supervised process itself: that would keep it alive.
        let sight: Sight = life.supervised.sight();
        tokio::spawn(async move {
            let (ending, at) = sight.ending().await;
            if !expected.load(Ordering::Acquire) {
                let output = output.last_lines();
                // Nobody listens any more where the run is over.
                let _ = exits.send(Exit {
                    process,
                    ending,
                    at,
                    output,
                });
            }
        });
    }
}

impl Slot {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, order: Order) {
        let life = self.life();
        life.expected.store(true, Ordering::Release);
        life.supervised.order(order);
    }
}

impl Life {
    fn new(supervised: Supervised, generation: u32) -> Self {
        Self {
            supervised: Arc::new(supervised),
            expected: Arc::default(),
            started_at: Instant::now(),
            generation,
        }
    }
}

impl From<Exit> for ProcessError {
    fn from(exit: Exit) -> Self {
        Self::Exited {
            process: exit.process,
            status: exit.ending.to_string(),
            output: exit.output,
        }
    }
}

/// Runs the build commands of the plan's processes, each once.
///
/// # Errors
/// The first that fails.
pub async fn build(
    around: &Surroundings,
    plan: &Plan,
    observe: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), ProcessError> {
    let mut done: Vec<&CommandPlan> = Vec::new();
    for process in &plan.processes {
        let Some(command) = &process.build else {
            continue;
        };
        if done.contains(&command) {
            continue;
        }
        observe(Progress::Building {
            what: process.name.clone(),
            command: command_as_written(command),
        });
        let values = Values {
            own: None,
            ports: &BTreeMap::new(),
            secrets: &around.secrets.0,
        };
        let job = job(around, process, command, &values, around.root.clone())?;
        let output = Arc::new(Output::new(Arc::clone(&around.redactor), None));
        oneshot::run(&around.exe, &job, output, Duration::MAX)
            .await
            .map_err(|error| command_error(error, process, command, &job.cwd))?;
        done.push(command);
    }
    Ok(())
}

fn job(
    around: &Surroundings,
    plan: &ProcessPlan,
    command: &CommandPlan,
    values: &Values<'_>,
    cwd: PathBuf,
) -> Result<Job, ProcessError> {
    let words = values
        .command(command)
        .map_err(|value| unknown(plan, value))?;
    let mut words = words.into_iter();
    // Not for a build alone: `start` may well be `cargo run`.
    let apart = around.target_dir.as_deref().map(apart::variables);
    let (env, unset) = apart.unwrap_or_default();
    Ok(Job {
        program: words.next().unwrap_or_default(),
        args: words.collect(),
        env,
        unset,
        cwd,
        grace_ns: 0,
        scratch: None,
        transparent: false,
    })
}

/// A folder of the process's own. Others may pass through the outer one, but not look into it: the
/// command may hand `{dir}` over to the user under whom a database has to run.
fn scratch() -> std::io::Result<TempDir> {
    let scratch = tempfile::Builder::new()
        .prefix("plimsoll-")
        .permissions(std::fs::Permissions::from_mode(0o711))
        .tempdir()?;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(own_dir(&scratch))?;
    Ok(scratch)
}

fn own_dir(scratch: &TempDir) -> PathBuf {
    scratch.path().join("dir")
}

fn place(plan: &ProcessPlan, source: std::io::Error) -> ProcessError {
    let process = plan.name.clone();
    ProcessError::Place { process, source }
}

fn unknown(plan: &ProcessPlan, value: String) -> ProcessError {
    let process = plan.name.clone();
    ProcessError::Unknown { process, value }
}

fn command_error(
    error: OneshotError,
    plan: &ProcessPlan,
    command: &CommandPlan,
    folder: &Path,
) -> ProcessError {
    let process = plan.name.clone();
    let command = command_as_written(command);
    match error {
        OneshotError::NotStarted(message) => ProcessError::NotStarted {
            process,
            command,
            folder: folder.to_owned(),
            message,
        },
        OneshotError::Failed { ending, output } => ProcessError::CommandFailed {
            process,
            command,
            status: ending.to_string(),
            output,
        },
        OneshotError::TooLong { limit, output } => ProcessError::TooLong {
            process,
            command,
            limit,
            output,
        },
    }
}
