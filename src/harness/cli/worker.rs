//! `plimsoll worker`: one shard of a scenario's loads, for `plimsoll merge`.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::harness::engine::SubjectEngine;
use crate::harness::engine::shards::{Assignment, ShardFile, loads_alone};
use crate::harness::gate::exit;
use crate::harness::report::{format, text};
use crate::harness::scenario::{Arrivals, Plan, Target};

use super::args::WorkerArgs;
use super::execute::{environment, own_program, stop_on_signal};
use super::failure::Failure;
use super::live::Live;
use super::output::Output;
use super::workspace::{self, Chosen};

/// A shard is up by so long before the start, with all of its users.
const READY_BEFORE: SignedDuration = SignedDuration::from_secs(2);
/// Who waits longer has mistaken the day.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);
/// Where the file goes to stdout.
pub(super) const STDOUT: &str = "-";

/// Performs the shard and leaves its file.
pub(super) async fn run(output: &Output, args: &WorkerArgs) -> Result<u8, Failure> {
    let plan = only_plan(&args.scenario, args.variant.as_deref(), output)?;
    can_be_shared(&plan, args.shard.of)?;
    let assignment = Assignment {
        shard: args.shard,
        target: target(&plan, args.target.as_deref())?,
        start_at_ns: agreed(args.start_at)?,
    };
    for text in left_out(&plan, &assignment.target) {
        output.warn(&text);
    }
    if args.out != Path::new(STDOUT) {
        ShardFile::can_be_written(&args.out).map_err(|error| {
            Failure::usage(
                format!("the shard's file could not be written: {error}"),
                "name a file in a folder that is there: --out shard-0.json",
            )
        })?;
    }
    let engine = SubjectEngine::new(own_program()?, environment());
    let live = Live::new(*output);
    let stop = stop_on_signal(&live)?;
    output.say(&format!(
        "shard {} of {}: the loads begin at {}, in {}",
        args.shard,
        plan.id(),
        args.start_at,
        format::duration_ns(ahead_ns(args.start_at)),
    ));
    let alone = loads_alone(&plan, &assignment.target);
    live.begin(&alone, &format!("shard {}", args.shard));
    let performed = engine
        .run_shard(&plan, &assignment, stop, &|progress| live.observe(progress))
        .await;
    live.finish(&plan.id());
    let file = performed.map_err(|error| Failure::tool("performing the shard", &error))?;
    leave(&file, &args.out, output)?;
    Ok(answer(&file, output))
}

/// The plan of the one scenario that a call names.
pub(super) fn only_plan(
    scenario: &Path,
    variant: Option<&str>,
    output: &Output,
) -> Result<Plan, Failure> {
    let chosen = Chosen {
        files: vec![scenario.to_owned()],
        named: true,
    };
    let plan = workspace::plans(&chosen, variant, output)?.pop();
    plan.ok_or_else(|| Failure::usage("no scenario was named", "name one scenario file"))
}

/// Whether its loads can be shared among so many machines.
pub(super) fn can_be_shared(plan: &Plan, shards: u32) -> Result<(), Failure> {
    if plan.loads.is_empty() {
        return Err(Failure::usage(
            format!("{} has no load that could be shared", plan.id()),
            "benches are run on one machine: plimsoll run",
        ));
    }
    for load in &plan.loads {
        let most = match &load.arrivals {
            Arrivals::Open { max_in_flight, .. } | Arrivals::Trace { max_in_flight, .. } => {
                *max_in_flight
            }
            Arrivals::Closed { .. } => continue,
            Arrivals::Capacity { .. } => {
                return Err(Failure::usage(
                    format!("load {} searches for a capacity, rate by rate", load.name),
                    "shards don't talk to each other, so they can't search together; run it on one machine: plimsoll run",
                ));
            }
        };
        if most < shards {
            return Err(Failure::usage(
                format!(
                    "load {} has {most} users for {shards} shards: one without a user would drop all of its arrivals",
                    load.name
                ),
                "use fewer shards, or raise `max_in_flight`",
            ));
        }
    }
    Ok(())
}

/// The server that shards send to: the one that was named, or the scenario's.
pub(super) fn target(plan: &Plan, named: Option<&str>) -> Result<String, Failure> {
    let Some(named) = named else {
        return match &plan.target {
            Some(Target::Url(url)) => Ok(url.clone()),
            _ => Err(Failure::usage(
                format!("{} starts its own target, which shards don't", plan.id()),
                "start the server where all shards reach it, and name it: --target http://shop:8080",
            )),
        };
    };
    let refused = |why: &str| {
        Failure::usage(
            format!(
                "--target {} can't be the target: {why}",
                text::one_line(named)
            ),
            "write scheme, host and port: http://shop:8080; secrets go into the scenario's headers as {$env.NAME}",
        )
    };
    let url = Url::parse(named).map_err(|error| refused(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("only http and https are spoken"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it holds a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("it holds a query or a fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// What of the scenario shards on that target don't do, in sentences.
pub(super) fn left_out(plan: &Plan, target: &str) -> Vec<String> {
    let left = [
        (
            plan.processes.is_empty(),
            "processes are not started: the target is there already",
        ),
        (
            plan.faults.is_empty(),
            "faults are not carried out: they are of processes",
        ),
        (
            plan.benches.is_empty(),
            "benches are not run: they are of one machine",
        ),
    ];
    let left = left.into_iter().filter(|(is_empty, _)| !is_empty);
    left.map(|(_, what)| format!("{}: its {what}", plan.id()))
        .chain(not_judged(plan, &loads_alone(plan, target)))
        .collect()
}

/// The gates of a plan that shards can't be held against, in a sentence.
pub(super) fn not_judged(plan: &Plan, alone: &Plan) -> Option<String> {
    let gates = plan.gates.iter().filter(|gate| !alone.gates.contains(gate));
    let metrics: Vec<&str> = gates.map(|gate| gate.metric.as_str()).collect();
    let metrics = metrics.join(", ");
    (!metrics.is_empty()).then(|| {
        let text = format!(
            "{}: its gates on {metrics} are not judged: shards measure only the loads",
            plan.id()
        );
        text::one_line(&text)
    })
}

/// The start in ns since the Unix epoch, if it can be kept.
fn agreed(start_at: Timestamp) -> Result<u64, Failure> {
    let ahead = Timestamp::now().duration_until(start_at);
    let remedy = "all shards are given the same start, a minute or so ahead: --start-at 2026-11-21T20:00:00Z";
    if ahead < READY_BEFORE {
        return Err(Failure::usage(
            format!(
                "--start-at {start_at} has passed, or is only a moment away: no shard would be ready"
            ),
            remedy,
        ));
    }
    if ahead > LONGEST_WAIT {
        return Err(Failure::usage(
            format!("--start-at {start_at} is more than a day away"),
            remedy,
        ));
    }
    u64::try_from(start_at.as_nanosecond())
        .map_err(|_| Failure::usage(format!("--start-at {start_at} is no time of ours"), remedy))
}

fn ahead_ns(at: Timestamp) -> u64 {
    u64::try_from(Timestamp::now().duration_until(at).as_nanos()).unwrap_or(0)
}

fn leave(file: &ShardFile, out: &Path, output: &Output) -> Result<(), Failure> {
    match out == Path::new(STDOUT) {
        true => {
            let packed = file.packed();
            output.document(&packed.map_err(|error| Failure::tool("packing the shard", &error))?)
        }
        false => file
            .write(out)
            .map_err(|error| Failure::tool("writing the shard", &error)),
    }
}

/// Says what became of it, and gives the exit code.
fn answer(file: &ShardFile, output: &Output) -> u8 {
    let iterations = file
        .workers
        .iter()
        .map(|it| it.measurement.counts.completed);
    let iterations = iterations.fold(0, u64::saturating_add);
    for worker in &file.failed {
        let load = &worker.load;
        let message = text::block(&worker.message);
        output.warn(&format!(
            "the generator of load {load} ended before its time: {message}"
        ));
    }
    let is_fit = file.failed.is_empty() && file.invalid.is_empty();
    let (what, code) = if is_fit && file.workers.iter().any(|worker| worker.aborted.is_some()) {
        let what = "was ended by a limit: the run that it is put into has failed";
        (what, exit::REGRESSION)
    } else if is_fit && !file.partial {
        ("is whole", exit::PASS)
    } else {
        let what = "is NOT whole: the run that it is put into will be invalid";
        (what, exit::INVALID)
    };
    let text = format!(
        "shard {} {what}; {} completed",
        file.shard,
        format::counted(iterations, "iteration")
    );
    match code {
        exit::PASS => output.say(&text),
        _ => output.warn(&text),
    }
    code
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::scenario::{self, Spacing};

    fn plan(load: &str) -> Plan {
        let text = format!(
            "schema = 1\nname = \"s\"\nurl = \"http://10.0.0.1:1/\"\n[[flow.f.step]]\nget = \"/\"\n[load.a]\n{load}\n"
        );
        scenario::parse(&text, Path::new("s.toml"))
            .unwrap()
            .plans
            .remove(0)
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, expected: &str) {
        match result.unwrap_err() {
            Failure::Usage(what, _) => assert!(what.contains(expected), "{what}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_shard_without_a_user_is_refused() {
        let open = plan("open = { rate = \"9/s\", max_in_flight = 4 }");
        can_be_shared(&open, 4).unwrap();
        refused(can_be_shared(&open, 5), "4 users for 5 shards");
        // A closed load has as many as it has: some shards have none, and drop nothing.
        can_be_shared(&plan("closed = { users = 1 }"), 5).unwrap();
        let mut capacity = open;
        capacity.loads[0].arrivals = Arrivals::Capacity {
            from: 1.0,
            to: 9.0,
            within: 0.05,
            hold_ns: 1,
            spacing: Spacing::Even,
            max_in_flight: None,
        };
        refused(can_be_shared(&capacity, 2), "searches for a capacity");
        capacity.loads.clear();
        refused(can_be_shared(&capacity, 2), "no load");
    }

    #[test]
    fn the_target_is_the_one_that_is_named() {
        let mut plan = plan("closed = { users = 1 }");
        assert_eq!(target(&plan, None).unwrap(), "http://10.0.0.1:1");
        let named = |url| target(&plan, Some(url));
        assert_eq!(
            named("http://shop:8080/api/").unwrap(),
            "http://shop:8080/api"
        );
        refused(named("shop:8080"), "only http and https");
        refused(named("ftp://shop"), "only http and https");
        refused(named("http://ada:pw@shop"), "a user or a password");
        refused(named("http://shop?a"), "a query");
        refused(named("http://"), "empty host");
        plan.target = Some(Target::Process("web".into()));
        refused(target(&plan, None), "starts its own target");
    }

    #[test]
    fn a_start_that_can_not_be_kept_is_refused() {
        let now = Timestamp::now();
        let at = |seconds| now + SignedDuration::from_secs(seconds);
        refused(agreed(at(-5)), "has passed");
        refused(agreed(at(1)), "has passed");
        refused(agreed(at(90_000)), "more than a day");
        assert_eq!(
            agreed(at(60)).unwrap(),
            u64::try_from(at(60).as_nanosecond()).unwrap()
        );
    }
}
