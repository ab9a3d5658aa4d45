//! One session: a plan built once and run so many times, every run saved as it ends.

use std::path::Path;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::harness::engine::{Engine, Executed, checkout};
use crate::harness::model::{Arm, Fingerprint, InvalidReason, RUN_FORMAT, Run, RunId, same_state};
use crate::harness::scenario::Plan;

use super::execute::new_session;
use super::failure::Failure;
use super::live::Live;

/// What every run of a session says of itself.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    /// The session's id.
    pub(super) session: String,
    /// The arm of a comparison, if the runs are made for one.
    pub(super) arm: Option<Arm>,
    /// The pair of the first run; later runs count on.
    pub(super) pair: Option<u32>,
    /// What is measured.
    pub(super) revision: Option<String>,
    /// Under which conditions.
    pub(super) fingerprint: Fingerprint,
}

/// Builds `plan` and runs it `runs` times. Each run is handed to `save` before the next begins, so
/// that nothing that was measured is lost. Ends early, with what there is, when `stop` becomes
/// true, and after a run whose target died, whose generator failed or whose bench did: the next one
/// would only do so again. So it does after one that a limit ended, because the verdict is reached.
pub(super) async fn measure<E: Engine>(
    engine: &mut E,
    plan: &Plan,
    runs: u32,
    labels: &Labels,
    stop: &watch::Receiver<bool>,
    live: &Live,
    mut save: impl AsyncFnMut(&Run) -> Result<(), Failure>,
) -> Result<Vec<Run>, Failure> {
    let id = plan.id();
    live.about(&id, "");
    let observe = |progress| live.observe(progress);
    let mut stopped = stop.clone();
    tokio::select! {
        built = engine.build(plan, &observe) => {
            built.map_err(|error| Failure::tool(format!("building {id}"), &error))?;
        }
        // What is being built goes with the future.
        Ok(_) = stopped.wait_for(|stop| *stop) => return Ok(Vec::new()),
    }
    let mut done = Vec::new();
    for number in 1..=runs {
        if *stop.borrow() {
            break;
        }
        let part = match runs {
            1 => String::new(),
            _ => format!("run {number}/{runs}"),
        };
        live.begin(plan, &part);
        let pair = labels.pair.map(|first| first.saturating_add(number - 1));
        let run = execute_once(engine, plan, labels, pair, stop, live).await?;
        save(&run).await?;
        let hopeless = is_hopeless(&run);
        done.push(run);
        if hopeless {
            break;
        }
    }
    Ok(done)
}

/// Runs `plan`, which is built, once.
pub(super) async fn execute_once<E: Engine>(
    engine: &mut E,
    plan: &Plan,
    labels: &Labels,
    pair: Option<u32>,
    stop: &watch::Receiver<bool>,
    live: &Live,
) -> Result<Run, Failure> {
    let id = RunId::now();
    let started_at = Timestamp::now();
    let executed = engine
        .run(plan, stop.clone(), &|progress| live.observe(progress))
        .await
        .map_err(|error| Failure::tool(format!("running {}", plan.id()), &error))?;
    live.end();
    Ok(assemble(plan, labels, pair, id, started_at, executed))
}

/// Whether the next run would only end like this one: the target died, or the generator, the setup or
/// a bench failed; or whether it would change nothing, because a limit ended this one.
pub(super) fn is_hopeless(run: &Run) -> bool {
    let failed = run.invalid.iter().any(|reason| {
        matches!(
            reason,
            InvalidReason::ProcessExited { .. }
                | InvalidReason::NotRestarted { .. }
                | InvalidReason::TargetUnreachable { .. }
                | InvalidReason::GeneratorExhausted { .. }
                | InvalidReason::GeneratorFailed { .. }
                | InvalidReason::FeedExhausted { .. }
                | InvalidReason::SetupFailed { .. }
                | InvalidReason::BenchFailed { .. }
        )
    });
    failed || run.aborted.is_some()
}

/// What the sessions of one call measure: its revision, or where that names no state of the code, a name of the call's
/// own. Whatever git knows, they measured one state, and nothing says so of any other session.
pub(super) fn state_of_call(revision: Option<String>) -> String {
    match revision {
        Some(revision) if names_a_state(Some(&revision)) => revision,
        unnamed => {
            let unnamed = unnamed.unwrap_or_else(|| "unknown".to_owned());
            format!("{unnamed}.{}", new_session())
        }
    }
}

/// Whether sessions of this revision measured one state of the code.
pub(super) fn names_a_state(revision: Option<&str>) -> bool {
    same_state(("one session", revision), ("another", revision))
}

/// A run of what was executed.
pub(super) fn assemble(
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
        scenario_file: Some(plan.file.to_string_lossy().into_owned()),
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
        aborted: executed.aborted,
        warnings: executed.warnings,
        metrics: executed.metrics,
        measurement: executed.measurement,
    }
}

/// The git revision of the tree at `root`, for the record. What plimsoll writes into the folders
/// `written` is no part of it.
pub(super) async fn git_revision(root: &Path, written: &[&Path]) -> Option<String> {
    let written = written.iter().map(std::path::absolute);
    checkout::revision(root, &Vec::from_iter(written.flatten())).await
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::harness::cli::scripted::{Scripted, died, executed, labels, plan, unseen};
    use crate::harness::model::{Aborted, Direction, Metric, Unit};

    fn took(value: f64) -> Executed {
        let (unit, better) = (Unit::Nanoseconds, Direction::Lower);
        let metric = Metric::single("load.a.p95", unit, better, value, 10_000);
        executed(vec![metric], Vec::new())
    }

    /// Plays `script` for `runs` runs: the calls in their order, saves among them, and what came out.
    async fn play(
        script: Vec<Executed>,
        runs: u32,
        stopped: bool,
    ) -> (Vec<String>, Result<Vec<Run>, Failure>) {
        let plan = plan();
        let labels = Labels {
            pair: Some(4),
            ..labels(Arm::Head, &plan.hash)
        };
        let mut script = script.into_iter();
        let mut engine = Scripted::new(move || script.next());
        let log = Arc::clone(&engine.log);
        let (_sender, stop) = watch::channel(stopped);
        let live = unseen();
        let saves = Arc::clone(&log);
        let result = measure(
            &mut engine,
            &plan,
            runs,
            &labels,
            &stop,
            &live,
            async |run: &Run| {
                saves
                    .lock()
                    .unwrap()
                    .push(format!("save {}", run.pair.unwrap()));
                Ok(())
            },
        )
        .await;
        let log = log.lock().unwrap().clone();
        (log, result)
    }

    #[tokio::test]
    async fn each_run_is_saved_before_the_next_begins() {
        let script = vec![took(1.0), took(2.0)];
        let (log, runs) = play(script, 2, false).await;
        assert_eq!(log, ["build", "run", "save 4", "run", "save 5"]);
        let runs = runs.unwrap();
        assert_eq!(runs[1].metric("load.a.p95").unwrap().value(), Some(2.0));
        assert_eq!(
            (runs[1].session.as_str(), runs[1].arm),
            ("today", Some(Arm::Head))
        );
        assert!(runs[0].id < runs[1].id);
    }

    #[tokio::test]
    async fn an_engine_that_fails_loses_no_earlier_run() {
        let (log, runs) = play(vec![took(1.0)], 2, false).await;
        assert_eq!(log, ["build", "run", "save 4", "run"]);
        assert!(matches!(runs, Err(Failure::Tool(text)) if text.contains("the script is over")));
    }

    #[tokio::test]
    async fn a_target_that_died_ends_the_session_and_its_run_is_kept() {
        let script = vec![executed(Vec::new(), vec![died()]), took(2.0)];
        let (log, runs) = play(script, 2, false).await;
        assert_eq!(log, ["build", "run", "save 4"]);
        assert!(!runs.unwrap()[0].is_valid());
    }

    #[tokio::test]
    async fn a_limit_that_ended_a_run_ends_the_session() {
        let aborted = Aborted {
            metric: "load.a.p95".into(),
            unit: Unit::Nanoseconds,
            value: 2.0,
            limit: 1.0,
            at_ns: 7,
        };
        let ended = Executed {
            partial: true,
            aborted: Some(aborted.clone()),
            ..took(2.0)
        };
        let (log, runs) = play(vec![ended, took(2.0)], 2, false).await;
        assert_eq!(log, ["build", "run", "save 4"]);
        let runs = runs.unwrap();
        assert_eq!(runs[0].aborted, Some(aborted));
        assert!(!runs[0].is_valid());
    }

    #[test]
    fn sessions_of_one_call_are_of_one_state() {
        let check = |revision: Option<&str>, is_named: bool| {
            assert_eq!(names_a_state(revision), is_named, "{revision:?}");
            let state = state_of_call(revision.map(str::to_owned));
            assert!(names_a_state(Some(&state)), "{state}");
            assert_eq!(Some(state.as_str()) == revision, is_named, "{state}");
        };
        check(None, false);
        check(Some("1a2b3c4d5e6f"), true);
        check(Some("1a2b3c4d5e6f+dirty"), false);
        check(Some("1a2b3c4d5e6f+dirty.0a1b2c3d"), true);
        check(Some("what I said"), true);
    }

    #[tokio::test]
    async fn nothing_is_run_after_a_stop() {
        let (log, runs) = play(vec![took(1.0)], 2, true).await;
        assert!(!log.contains(&"run".to_owned()), "{log:?}");
        assert!(runs.unwrap().is_empty());
    }
}
