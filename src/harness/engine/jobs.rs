//! The jobs of the workers that drive a plan's loads.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::available_parallelism;

use super::demand::workers;
use super::load::{Secrets, Shard, WorkerJob, abort_rules};
use crate::harness::scenario::{FeedOrder, Plan};

/// What all jobs of a run have in common.
#[derive(Debug)]
pub(super) struct Common<'run> {
    /// Which part of every load this machine performs.
    pub(super) shard: Shard,
    /// Where requests go.
    pub(super) target: &'run str,
    /// What the setup extracted.
    pub(super) setup: &'run BTreeMap<String, String>,
    /// The number of each load's next iteration; one that is not there has had none.
    pub(super) next: &'run BTreeMap<String, u64>,
    /// Values of the variables that the plan names.
    pub(super) secrets: &'run Secrets,
    /// The start of the loads in ns since the Unix epoch.
    pub(super) start_at_ns: u64,
    /// Where the workers leave their files.
    pub(super) folder: &'run Path,
}

/// The jobs of the plan's loads, in its order: one a worker, each with a part of its load.
pub(super) fn jobs(plan: &Plan, common: &Common<'_>) -> Vec<WorkerJob> {
    let mut jobs = Vec::new();
    for (load, workers) in plan.loads.iter().zip(workers(plan, common.shard, cores())) {
        let Some(flow) = plan.flows.get(&load.flow) else {
            continue;
        };
        for worker in 0..workers {
            jobs.push(WorkerJob {
                load: load.clone(),
                flow: flow.clone(),
                feeds: plan.feeds.clone(),
                target: common.target.to_owned(),
                http: plan.http.clone(),
                setup: common.setup.clone(),
                turns: turns(plan, &load.name),
                first_iteration: common.next.get(&load.name).copied().unwrap_or(0),
                aborts: abort_rules(plan, load),
                phases: plan.phases,
                secrets: common.secrets.clone(),
                start_at_ns: common.start_at_ns,
                late_ns: plan.generator.late_ns,
                shard: common.shard.part(worker, workers),
                result: common.folder.join(format!("{}.json", jobs.len())),
            });
        }
    }
    jobs
}

/// How many cores this process may use.
pub(super) fn cores() -> u32 {
    let cores = available_parallelism().map_or(1, usize::from);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// Which of the loads that draw from a feed this one is, and how many they are, by feed, for those whose
/// rows are unique.
fn turns(plan: &Plan, load: &str) -> BTreeMap<String, (u32, u32)> {
    let unique = plan
        .feeds
        .iter()
        .filter(|(_, feed)| feed.order == FeedOrder::Unique);
    let turn = |feed: &String| {
        let drawing = plan.drawing(feed);
        let place = drawing.iter().position(|known| known.name == load)?;
        let (place, all) = (
            u32::try_from(place).ok()?,
            u32::try_from(drawing.len()).ok()?,
        );
        Some((feed.clone(), (place, all)))
    };
    unique.filter_map(|(feed, _)| turn(feed)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::scenario::parse;

    fn plan(folder: &Path) -> Plan {
        std::fs::write(folder.join("rows.csv"), "id\n1\n2\n").unwrap();
        let text = "schema = 1\nname = \"s\"\nurl = \"http://10.0.0.1:1\"\n\
                    [feed.rows]\nfile = \"rows.csv\"\n\
                    [[flow.all.step]]\nget = \"/\"\n\
                    [[flow.one.step]]\nget = \"/{rows.id}\"\n\
                    [load.a]\nflow = \"one\"\nclosed = { users = 9 }\n\
                    [load.b]\nflow = \"all\"\nclosed = { users = 9 }\n\
                    [load.c]\nflow = \"one\"\nclosed = { users = 9 }\n";
        let mut plan = parse(text, &folder.join("s.toml")).unwrap().plans.remove(0);
        plan.generator.workers = Some(2);
        plan
    }

    fn made(plan: &Plan, shard: Shard) -> Vec<WorkerJob> {
        let (setup, secrets) = (BTreeMap::new(), Secrets::default());
        let next = BTreeMap::from([("b".to_owned(), 70)]);
        let common = Common {
            shard,
            target: "http://10.0.0.1:1",
            setup: &setup,
            next: &next,
            secrets: &secrets,
            start_at_ns: 7,
            folder: Path::new("files"),
        };
        jobs(plan, &common)
    }

    #[test]
    fn the_workers_of_a_load_have_all_of_this_machines_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        let jobs = made(&plan, Shard { index: 1, of: 3 });
        let found: Vec<_> = jobs
            .iter()
            .map(|job| (job.load.name.as_str(), job.shard.index, job.shard.of))
            .collect();
        let of = |load| [(load, 1, 6), (load, 4, 6)];
        assert_eq!(found, [of("a"), of("b"), of("c")].concat());
        let mut results: Vec<_> = jobs.iter().map(|job| &job.result).collect();
        results.dedup();
        assert_eq!(results.len(), 6, "each has a file of its own");
        assert!(jobs.iter().all(|job| job.start_at_ns == 7));
        let first: Vec<u64> = jobs.iter().map(|job| job.first_iteration).collect();
        assert_eq!(first, [0, 0, 70, 70, 0, 0]);
    }

    #[test]
    fn loads_take_turns_at_rows_that_are_unique() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(folder.path());
        let found = |plan: &Plan| -> Vec<_> {
            let jobs = made(plan, Shard::WHOLE);
            let turns = jobs.iter().map(|job| job.turns.get("rows").copied());
            turns.collect()
        };
        assert_eq!(found(&plan), [None; 6]);
        if let Some(feed) = plan.feeds.get_mut("rows") {
            feed.order = FeedOrder::Unique;
        }
        let (first, second) = (Some((0, 2)), Some((1, 2)));
        assert_eq!(found(&plan), [first, first, None, None, second, second]);
    }
}
