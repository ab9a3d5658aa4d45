//! One shard of a run, on this machine.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use super::file::{FailedWorker, SHARD_FORMAT, ShardFile};
use crate::harness::engine::execute::{
    ExecuteError, LoadPart, Observe, SubjectEngine, Up, down, nothing_measured, up,
};
use crate::harness::engine::load::{Shard, WorkerEnd};
use crate::harness::engine::nanoseconds::nanoseconds;
use crate::harness::engine::process::Surroundings;
use crate::harness::engine::{Executed, machine, setup};
use crate::harness::scenario::{GatePlan, Plan, Target, catalogue};

/// What one machine is to do of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Its part.
    pub shard: Shard,
    /// The server that the loads are sent to: scheme, host and port, perhaps a path, without a final
    /// slash.
    pub target: String,
    /// When the loads begin, in ns since the Unix epoch.
    pub start_at_ns: u64,
}

impl SubjectEngine {
    /// Performs a shard of the plan's loads on a server that is there already. No process is started,
    /// so none is watched, disturbed or asked for its metrics, and no bench is run. When `stop` becomes
    /// true, it ends early with what was measured.
    ///
    /// # Errors
    /// Variables of the scenario are not set, the target can't be reached, the start came before the shard
    /// was ready, or its workers could not be started.
    pub async fn run_shard(
        &self,
        plan: &Plan,
        assignment: &Assignment,
        mut stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<ShardFile, ExecuteError> {
        let clock = (Instant::now(), SystemTime::now());
        let plan = &loads_alone(plan, &assignment.target);
        let engine = self.clone().with_part(LoadPart {
            shard: assignment.shard,
            start_at_ns: Some(assignment.start_at_ns),
        });
        let around = engine.surroundings(plan)?;
        let (executed, ends) = match up(plan, &around, &mut stop, observe).await? {
            None => (nothing_measured(), Vec::new()),
            Some((processes, mut exits)) => {
                let up = (&processes, &mut exits);
                let performed = engine
                    .set_up_and_perform(plan, &around, up, stop, observe)
                    .await;
                down(&processes, observe).await;
                performed?
            }
        };
        let mut file = ShardFile {
            schema: SHARD_FORMAT.to_owned(),
            plimsoll_version: env!("CARGO_PKG_VERSION").to_owned(),
            shard: assignment.shard,
            scenario: plan.id(),
            fingerprint: machine::of_plan(plan),
            target: assignment.target.clone(),
            start_at_ns: assignment.start_at_ns,
            clock_set_ns: set_since(clock),
            duration_ns: since_start_ns(clock, assignment.start_at_ns),
            partial: executed.partial,
            invalid: executed.invalid,
            warnings: executed.warnings,
            workers: Vec::new(),
            failed: Vec::new(),
        };
        for end in ends {
            match end.outcome {
                Ok(worker) => {
                    file.partial |= worker.partial;
                    file.workers.push(worker);
                }
                Err(message) => file.failed.push(FailedWorker {
                    load: end.load,
                    shard: end.shard,
                    message,
                }),
            }
        }
        Ok(file)
    }

    async fn set_up_and_perform(
        &self,
        plan: &Plan,
        around: &Surroundings,
        (processes, exits): Up<'_>,
        stop: watch::Receiver<bool>,
        observe: Observe<'_>,
    ) -> Result<(Executed, Vec<WorkerEnd>), ExecuteError> {
        let (aim, instead) = setup::set_up(plan, around, processes, exits, stop.clone()).await?;
        let performed = match instead {
            Some(executed) => Ok((executed, Vec::new())),
            None => {
                self.perform(plan, around, &aim, (processes, exits), stop, observe)
                    .await
            }
        };
        let warning = setup::tear_down(plan, &aim, around, observe).await;
        performed.map(|(mut executed, ends)| {
            executed.warnings.extend(warning);
            (executed, ends)
        })
    }
}

/// What shards do of a plan: its loads, on a server that is there already, with the gates on them. Its hash stays:
/// it is that of the scenario, by which shards know each other.
pub fn loads_alone(plan: &Plan, target: &str) -> Plan {
    let mut alone = Plan {
        target: Some(Target::Url(target.to_owned())),
        processes: Vec::new(),
        probes: BTreeMap::new(),
        faults: Vec::new(),
        benches: Vec::new(),
        ..plan.clone()
    };
    let is_measured = |gate: &GatePlan| catalogue::select(&alone, &gate.metric).is_ok();
    alone.gates = plan
        .gates
        .iter()
        .filter(|it| is_measured(it))
        .cloned()
        .collect();
    alone
}

/// How long ago the start was, in ns, by the clocks as they were read before it.
fn since_start_ns((instant, wall): (Instant, SystemTime), start_at_ns: u64) -> u64 {
    let unix = wall.duration_since(SystemTime::UNIX_EPOCH);
    let ahead_ns = start_at_ns.saturating_sub(unix.map_or(0, nanoseconds));
    nanoseconds(instant.elapsed()).saturating_sub(ahead_ns)
}

/// How far the machine's clock was set since both clocks were read, in ns.
fn set_since((instant, wall): (Instant, SystemTime)) -> i64 {
    let expected = wall + instant.elapsed();
    let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(expected) {
        Ok(forward) => signed(nanoseconds(forward)),
        Err(backward) => -signed(nanoseconds(backward.duration())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::scenario::parse;

    #[test]
    fn what_shards_do_not_measure_is_not_judged() {
        let text = "schema = 1\nname = \"s\"\n[[process]]\nname = \"web\"\nstart = \"web {port}\"\n\
                    [[flow.f.step]]\nget = \"/\"\n[load.a]\nclosed = { users = 1 }\n\
                    [[gate]]\nmetric = \"load.a.p50\"\nmax = \"1s\"\n\
                    [[gate]]\nmetric = \"process.web.rss_max\"\nmax = \"1GiB\"\n\
                    [[gate]]\nmetric = \"*.rss_max\"\nmax = \"1GiB\"\n";
        let scenario = parse(text, std::path::Path::new("s.toml"));
        let plan = scenario.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let plan = &plan.plans[0];
        assert_eq!(plan.gates.len(), 3);
        let alone = loads_alone(plan, "http://shop:8080");
        assert_eq!(alone.gates, plan.gates[..1]);
        assert_eq!(alone.hash, plan.hash);
    }

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let (now, wall, hour) = (Instant::now(), SystemTime::now(), Duration::from_secs(3600));
        let check = |wall: SystemTime, expected_s: i64| {
            let set_ns = set_since((now, wall));
            let off_ns = set_ns.abs_diff(expected_s * 1_000_000_000);
            assert!(off_ns < 100_000_000, "{set_ns}");
        };
        check(wall, 0);
        check(wall - hour, 3600);
        check(wall + hour, -3600);
    }
}
