//! What is done once around the loads of a run: the setup before them, the teardown after them.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::execute::{ExecuteError, Observe, nothing_measured, reach};
use super::load::{self, FailedStep, Performed, WorkerEnd};
use super::process::{self, Exit, Processes, Surroundings};
use super::watch::{EXIT_NEWS, ended_by_itself};
use super::{Executed, Progress};
use crate::harness::model::InvalidReason;
use crate::harness::scenario::{Plan, Target};

/// Where loads are sent, and what they know.
#[derive(Debug, Clone)]
pub(super) struct Aim {
    pub(super) target: String,
    /// What the setup extracted.
    pub(super) setup: BTreeMap<String, String>,
    /// Whether the setup was begun, or the loads where there is none: what was made since then is torn
    /// down.
    begun: bool,
    /// The number of each load's next iteration, by load: a run that searches for a capacity has several
    /// trials, and none begins at 0 again.
    pub(super) next: BTreeMap<String, u64>,
}

impl Aim {
    /// Passes over the numbers that the iterations of these workers had.
    pub(super) fn pass(&mut self, ends: &[WorkerEnd]) {
        let mut next = self.next.clone();
        for end in ends {
            let Ok(file) = &end.outcome else { continue };
            let windows = file.measurement.windows.iter();
            let begun: u64 = windows.map(|window| window.counts.started).sum();
            // The numbers of one of several workers are as far apart as they are many.
            let begun = begun.saturating_mul(u64::from(end.shard.of));
            let first = self.next.get(&end.load).copied().unwrap_or(0);
            let of_load = next.entry(end.load.clone()).or_default();
            *of_load = first.saturating_add(begun).max(*of_load);
        }
        self.next = next;
    }
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
        next: BTreeMap::new(),
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
    observe(Progress::Warning(warning.clone()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::engine::load::{LOAD_FORMAT, LoadFile, Shard};
    use crate::harness::model::{ArrivalModel, Counts, LoadMeasurement, LoadWindow, Phase};

    #[test]
    fn no_iteration_of_a_trial_has_the_number_of_one_before() {
        let end = |load: &str, shard: Shard, begun: u64| {
            let mut measurement = LoadMeasurement::new(load, "f", ArrivalModel::Open);
            // Those of the warm-up have numbers too.
            measurement.windows = [Phase::Warmup, Phase::Measure]
                .map(|phase| LoadWindow {
                    start_ns: 0,
                    length_ns: 1,
                    phase,
                    counts: Counts {
                        started: begun / 2,
                        ..Counts::default()
                    },
                    in_flight: 0,
                    target_rate: None,
                })
                .to_vec();
            let file = LoadFile {
                schema: LOAD_FORMAT.to_owned(),
                shard,
                partial: false,
                aborted: None,
                ended_ns: 1,
                measurement,
            };
            WorkerEnd {
                load: load.to_owned(),
                shard,
                outcome: Ok(file),
            }
        };
        let part = |index| Shard { index, of: 2 };
        let mut aim = Aim {
            target: String::new(),
            setup: BTreeMap::new(),
            begun: true,
            next: BTreeMap::new(),
        };
        // The numbers 0, 2, …, 18 and 1, 3, 5, 7; then 0 … 5 of the other load.
        aim.pass(&[
            end("a", part(0), 10),
            end("a", part(1), 4),
            end("b", Shard::WHOLE, 6),
        ]);
        let next = |aim: &Aim| ["a", "b"].map(|load| aim.next.get(load).copied());
        assert_eq!(next(&aim), [Some(20), Some(6)]);
        aim.pass(&[
            end("a", part(0), 2),
            end("a", part(1), 8),
            end("b", Shard::WHOLE, 2),
        ]);
        assert_eq!(next(&aim), [Some(36), Some(8)]);
    }
}
