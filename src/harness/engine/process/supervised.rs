//! The near end of a supervisor: what plimsoll holds of a process that it started.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::output::Output;
use super::protocol::{Ending, Job, Order, Report};
use crate::harness::engine::nanoseconds::nanoseconds;
use crate::harness::engine::secrets::STORE_VARIABLE;

/// After the end of a process, its last lines are waited for so long: where a descendant keeps the
/// pipe open, it has no end.
const LAST_LINES: Duration = Duration::from_millis(300);
/// How much longer than the grace the end of a tree may take: the patience of the supervisor.
const END_MARGIN: Duration = Duration::from_secs(12);

/// A process with all of its descendants, under a supervisor. When this value goes, they go: the
/// supervisor sees its input end.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// The supervisor's process number: the root of the tree, not part of it.
    pub(crate) supervisor: i32,
    orders: mpsc::UnboundedSender<Order>,
    sight: Sight,
}

/// What can be seen of a supervised process without keeping it alive.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    state: watch::Receiver<State>,
    output_end: watch::Receiver<bool>,
}

/// What the supervisor reported so far.
#[derive(Debug, Clone, Default)]
struct State {
    started: bool,
    failure: Option<String>,
    ending: Option<Ending>,
    over: bool,
    left: Vec<i32>,
}

/// A supervisor to be started from `exe`, the plimsoll executable; its streams are pipes.
pub(super) fn supervisor_from(exe: &Path) -> Command {
    let mut supervisor = Command::new(exe);
    supervisor
        .arg("supervise")
        .env_remove(STORE_VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    supervisor
}

impl Supervised {
    /// Starts `job` through `exe supervise`. Output is copied in the background.
    ///
    /// # Errors
    /// Why it did not start, as text: no supervisor, or no such program.
    pub(crate) async fn start(exe: &Path, job: &Job, output: Arc<Output>) -> Result<Self, String> {
        let mut child = supervisor_from(exe)
            .spawn()
            .map_err(|error| format!("no supervisor from `{}`: {error}", exe.display()))?;
        let supervisor = child.id().unwrap_or_default().cast_signed();
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("BUG: a piped child without pipes".to_owned());
        };
        let (orders, given) = mpsc::unbounded_channel();
        let (said, state) = watch::channel(State::default());
        let (ended, output_end) = watch::channel(false);
        tokio::spawn(give(line_of(job), given, stdin));
        tokio::spawn(listen(stdout, said, child));
        tokio::spawn(async move {
            output.copy(stderr).await;
            ended.send_replace(true);
        });

        let this = Self {
            supervisor,
            orders,
            sight: Sight { state, output_end },
        };
        let told = |state: &State| state.started || state.failure.is_some() || state.over;
        let state = this.sight.wait_for(told).await;
        match state.failure {
            Some(failure) => Err(failure),
            None if state.started => Ok(this),
            None => Err("its supervisor ended without a word".to_owned()),
        }
    }

    /// Gives an order; its effect shows in what follows.
    pub(crate) fn order(&self, order: Order) {
        // Where the supervisor is gone, so is all that it could give the order to.
        let _ = self.orders.send(order);
    }

    /// Orders the end of the tree and waits for it. What could not be ended is returned.
    pub(crate) async fn end(&self, grace: Duration) -> Vec<i32> {
        let grace_ns = nanoseconds(grace);
        self.order(Order::Stop { grace_ns });
        let patience = grace.saturating_add(END_MARGIN);
        let left = timeout(patience, self.sight.over()).await;
        // One that doesn't answer has not ended what is below it.
        left.unwrap_or_else(|_| vec![self.supervisor])
    }

    /// What can be seen of it.
    pub(crate) fn sight(&self) -> Sight {
        self.sight.clone()
    }
}

impl Sight {
    /// Waits until the process has ended and its last lines have arrived; says how and when it ended.
    pub(crate) async fn ending(&self) -> (Ending, Instant) {
        let state = self
            .wait_for(|state| state.ending.is_some() || state.over)
            .await;
        let at = Instant::now();
        let mut output_end = self.output_end.clone();
        let _ = timeout(LAST_LINES, output_end.wait_for(|end| *end)).await;
        (state.ending.unwrap_or(Ending::Lost), at)
    }

    /// Whether the process has ended by now.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.state.borrow();
        state.ending.is_some() || state.over
    }

    /// Waits until nothing of the tree is left; what could not be ended is returned.
    pub(crate) async fn over(&self) -> Vec<i32> {
        self.wait_for(|state| state.over).await.left
    }

    async fn wait_for(&self, condition: impl FnMut(&State) -> bool) -> State {
        let mut state = self.state.clone();
        match state.wait_for(condition).await {
            Ok(state) => state.clone(),
            // The listener never goes before it has said that it's over.
            Err(_) => self.state.borrow().clone(),
        }
    }
}

/// Writes the job and then each order. When the last sender goes, so does the pipe.
async fn give(job: Vec<u8>, mut orders: mpsc::UnboundedReceiver<Order>, mut stdin: ChildStdin) {
    let mut line = job;
    loop {
        if stdin.write_all(&line).await.is_err() {
            return;
        }
        match orders.recv().await {
            Some(order) => line = line_of(&order),
            None => return,
        }
    }
}

/// Takes down what the supervisor reports, to its end.
async fn listen(stdout: ChildStdout, said: watch::Sender<State>, mut supervisor: Child) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(report) = serde_json::from_str::<Report>(&line) else {
            said.send_modify(|state| state.failure = Some(format!("not a supervisor: `{line}`")));
            break;
        };
        said.send_modify(|state| match report {
            Report::Started => state.started = true,
            Report::Failed { message } => state.failure = Some(message),
            Report::Exited(ending) => state.ending = Some(ending),
            Report::Over { left } => state.left = left,
        });
    }
    let _ = supervisor.wait().await;
    said.send_modify(|state| state.over = true);
}

fn line_of(message: &impl serde::Serialize) -> Vec<u8> {
    // Text, numbers and maps with text keys always have a JSON form.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}
