//! One session: a plan built once and run so many times, every run saved as it ends.

use std::path::Path;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::harness::engine::{Engine, Executed};
use crate::harness::model::{
    Arm, Fingerprint, InvalidReason, RUN_FORMAT, Run, RunId,
};
use crate::harness::scenario::Plan;

use super::failure::Failure;
use super::live::Live;

/// What every run of a session says of itself.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The session's id.
    pub session: String,
    /// The arm of a comparison, if the runs are made for one.
    pub arm: Option<Arm>,
    /// The pair of the first run; later runs count on.
    pub pair: Option<u32>,
    /// What is measured.
    pub revision: Option<String>,
    /// Under which conditions.
    pub fingerprint: Fingerprint,
}

/// Builds `plan` and runs it `runs` times. Each run is handed to `save` before the next begins, so
/// that nothing that was measured is lost. Ends early, with what there is, when `stop` becomes
/// true, and after a run whose target died: the next one would only die again.
pub async fn measure<E: Engine>(
    engine: &mut E,
    plan: &Plan,
    runs: u32,
    labels: &Labels,
    stop: &watch::Receiver<bool>,
    live: &Live,
    mut save: impl AsyncFnMut(&Run) -> Result<(), Failure>,
) -> Result<Vec<Run>, Failure> {
    let observe = |progress| live.observe(progress);
    let doing = |what: &str| format!("{what} {}", plan.id());
    engine
        .build(plan, &observe)
        .await
        .map_err(|error| Failure::tool(doing("building"), &error))?;
    let mut done = Vec::new();
    for number in 1..=runs {
        if *stop.borrow() {
            break;
        }
        live.begin_run(&plan.id(), number, runs);
        let id = RunId::now();
        let started_at = Timestamp::now();
        let executed = engine
            .run(plan, stop.clone(), &observe)
            .await
            .map_err(|error| Failure::tool(doing("running"), &error))?;
        let pair = labels.pair.map(|first| first + number - 1);
        let run = assemble(plan, labels, pair, id, started_at, executed);
        save(&run).await?;
        let hopeless = run.invalid.iter().any(|reason| {
            matches!(
                reason,
                InvalidReason::ProcessExited { .. } | InvalidReason::GeneratorFailed { .. }
            )
        });
        done.push(run);
        if hopeless {
            break;
        }
    }
    Ok(done)
}

fn assemble(
    plan: &Plan,
    labels: &Labels,
    pair: Option<u32>,
    id: RunId,
    started_at: Timestamp,
    executed: Executed,
) -> Run {
    Run {
        schema: RUN_FORMAT.to_owned(),
        id,
        scenario: plan.id(),
        session: labels.session.clone(),
        arm: labels.arm,
        pair,
        started_at,
        duration_ns: executed.duration_ns,
        revision: labels.revision.clone(),
        plimsoll_version: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint: labels.fingerprint.clone(),
        invalid: executed.invalid,
        partial: executed.partial,
        metrics: executed.metrics,
        measurement: executed.measurement,
    }
}

/// The git revision of the tree at `root`, `+dirty` where it has changes; `None` where git doesn't
/// know. A tree without git is no error: the revision is for the record.
pub async fn git_revision(root: &Path) -> Option<String> {
    let git = async |args: &[&str]| {
        let output = tokio::process::Command::new("git")
            .arg("-C")
            .arg(root)
            .args(args)
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .output()
            .await
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let revision = git(&["rev-parse", "--short=12", "HEAD"]).await?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"]).await?;
    Some(if changes.is_empty() { revision } else { format!("{revision}+dirty") })
}
