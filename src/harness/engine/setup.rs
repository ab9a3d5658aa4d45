//! What is done once around the loads of a run: the setup before them, the teardown after them.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::execute::{ExecuteError, Observe, nothing_measured, reach};
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
    /// Whether the setup was begun, or the loads where there is none: what was made since then is torn
    /// down.
    begun: bool,
}

/// Finds the target of a plan whose processes are up, and performs the setup. Where no load is to be
/// driven after that, because of a stop or because the setup failed, it says what was executed instead.
pub(super) async fn set_up(
    plan: &Plan,
    around: &Surroundings,
    processes: &Processes,
    exits: &mut mpsc::UnboundedReceiver<Exit>,
    stop: watch::Receiver<bool>,
) -> Result<(Aim, Option<Executed>), ExecuteError> {
    let target = match &plan.target {
        Some(Target::Process(name)) => processes.url(name).unwrap_or_default(),
        Some(Target::Url(url)) => {
            // An address of a proxy that can't be filled in is the workers' to complain of.
            if let Ok(proxy) = load::proxy(&plan.http, around.secrets()) {
                reach(url, proxy.as_deref()).await?;
            }
            url.clone()
        }
        None => String::new(),
    };
    let mut aim = Aim {
        target,
        setup: BTreeMap::new(),
        begun: !*stop.borrow(),
    };
    if !aim.begun {
        return Ok((aim, Some(nothing_measured())));
    }
    let Some(flow) = &plan.setup else {
        return Ok((aim, None));
    };
    let Performed {
        extracted,
        failed,
        stopped,
    } = load::once(plan, flow, &aim.target, &aim.setup, around.secrets(), stop).await;
    // Also of a setup that did not come to its end: the teardown may remove what there is of it.
    aim.setup = extracted;
    let instead = match failed {
        Some(failed) => Some(not_set_up(failed, processes, exits).await),
        None => stopped.then(nothing_measured),
    };
    Ok((aim, instead))
}

/// Performs the plan's teardown, where it has one and anything was begun. What goes wrong in it changes
/// nothing of what was measured: it is said at once, and a warning of the run.
pub(super) async fn tear_down(
    plan: &Plan,
    aim: &Aim,
    around: &Surroundings,
    observe: Observe<'_>,
) -> Option<String> {
    let flow = plan.teardown.as_ref().filter(|_| aim.begun)?;
    // A stop doesn't end this.
    let (_going_on, stop) = watch::channel(false);
    let performed = load::once(plan, flow, &aim.target, &aim.setup, around.secrets(), stop).await;
    let FailedStep { step, message } = performed.failed?;
    let place = match step.as_str() {
        "" => String::new(),
        step => format!(" at `{step}`"),
    };
    let message = process::clean(&message, around.redactor());
    let warning = format!("the teardown failed{place}: {message}");
    observe(Progress::Note(warning.clone()));
    Some(warning)
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
