//! What is done once around the loads of a run: the setup before them, the teardown after them.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::execute::{ExecuteError, Observe, nothing_measured, reach};
use super::flag::became_true;
use super::load::{self, FailedStep, Performed};
use super::process::{self, Exit, Processes, Surroundings};
use super::watch::{EXIT_NEWS, ended_by_itself};
use super::{Executed, Progress};
use crate::harness::model::InvalidReason;
use crate::harness::scenario::{Plan, Target};

/// Where loads are sent, and what they know.
#[derive(Debug)]
pub(super) struct Aim {
    pub(super) target: String,
    /// What the setup extracted.
    pub(super) setup: BTreeMap<String, String>,
}

/// Finds the target of a plan whose processes are up, and performs the setup. Where no load is to be
/// driven after that, because of a stop or because the setup failed, it says what was executed instead.
pub(super) async fn set_up(
    plan: &Plan,
    around: &Surroundings,
    processes: &Processes,
    exits: &mut mpsc::UnboundedReceiver<Exit>,
    mut stop: watch::Receiver<bool>,
) -> Result<(Aim, Option<Executed>), ExecuteError> {
    let target = match &plan.target {
        Some(Target::Process(name)) => processes.url(name).unwrap_or_default(),
        Some(Target::Url(url)) => {
            reach(url).await?;
            url.clone()
        }
        None => String::new(),
    };
    let nothing = BTreeMap::new();
    let performed = match &plan.setup {
        None => Some(Performed::default()),
        Some(flow) => tokio::select! {
            biased;
            () = became_true(&mut stop) => None,
            performed = load::once(plan, flow, &target, &nothing, around.secrets()) => Some(performed),
        },
    };
    let Some(Performed { extracted, failed }) = performed else {
        let setup = nothing;
        return Ok((Aim { target, setup }, Some(nothing_measured())));
    };
    let instead = match failed {
        None => None,
        Some(failed) => Some(not_set_up(failed, processes, exits).await),
    };
    let setup = extracted;
    Ok((Aim { target, setup }, instead))
}

/// Performs the plan's teardown, where it has one. What goes wrong in it changes nothing of what was
/// measured, so it is said and no more.
pub(super) async fn tear_down(plan: &Plan, aim: &Aim, around: &Surroundings, observe: Observe<'_>) {
    let Some(flow) = &plan.teardown else { return };
    let performed = load::once(plan, flow, &aim.target, &aim.setup, around.secrets()).await;
    if let Some(FailedStep { step, message }) = performed.failed {
        let place = match step.as_str() {
            "" => String::new(),
            step => format!(" at `{step}`"),
        };
        let message = process::clean(&message, around.redactor());
        observe(Progress::Note(format!(
            "the teardown failed{place}: {message}"
        )));
    }
}

/// No load was driven because the setup failed. What a process did comes first: what the setup then
/// met follows from it.
async fn not_set_up(
    failed: FailedStep,
    processes: &Processes,
    exits: &mut mpsc::UnboundedReceiver<Exit>,
) -> Executed {
    let mut invalid = Vec::new();
    if processes.has_unexpected_end()
        && let Ok(Some(exit)) = timeout(EXIT_NEWS, exits.recv()).await
    {
        invalid.push(ended_by_itself(exit, Instant::now()));
    }
    let FailedStep { step, message } = failed;
    invalid.push(InvalidReason::SetupFailed { step, message });
    Executed {
        invalid,
        partial: false,
        ..nothing_measured()
    }
}
