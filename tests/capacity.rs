//! The search for a capacity against a server whose capacity is known.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use plimsoll::harness::engine::Executed;
use plimsoll::harness::model::{CapacitySearch, InvalidReason, TrialOutcome};
use plimsoll::harness::scenario::{Arrivals, GatePlan, Plan, Spacing, parse};
use tokio::sync::watch;

use support::http_servers::{Server, ok, precise_sleep};
use support::loads::execute;

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
/// The server has so many slots, each of which serves a request in so long: 400/s, and not one more.
const SLOTS: usize = 4;
const SERVICE: Duration = Duration::from_millis(10);

/// Slots, for which requests wait.
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

fn server() -> Server {
    let slots = Slots {
        free: Mutex::new(SLOTS),
        freed: Condvar::new(),
    };
    Server::answering(move |_| {
        let free = slots.free.lock().expect("nobody panics");
        let mut free = slots
            .freed
            .wait_while(free, |free| *free == 0)
            .expect("nobody panics");
        *free -= 1;
        drop(free);
        precise_sleep(SERVICE);
        *slots.free.lock().expect("nobody panics") += 1;
        slots.freed.notify_one();
        ok("ok")
    })
}

/// A search between two rates whose median may be twice the service time. The limits on the generator
/// are those of a debug build on a busy machine.
fn plan(url: &str, (from, to): (f64, f64), max_in_flight: Option<u32>) -> Plan {
    let text = format!(
        r#"schema = 1
name = "capacity"
url = "{url}"
[[flow.f.step]]
get = "/"
[load.find]
open = {{ rate = "1/s" }}
[phases]
warmup = "500ms"
drain = "300ms"
[generator]
late = "2s"
cpu = "100%"
"#
    );
    let scenario = parse(&text, Path::new("capacity.toml"));
    let mut plans = scenario
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
        .plans;
    let mut plan = plans.remove(0);
    plan.loads[0].arrivals = Arrivals::Capacity {
        from,
        to,
        within: 0.15,
        hold_ns: 2 * S,
        spacing: Spacing::Even,
        max_in_flight,
    };
    plan.gates = vec![GatePlan {
        max: Some((20 * MS) as f64),
        ..GatePlan::on("load.find.p50")
    }];
    plan
}

async fn run(plan: &Plan) -> (Executed, Vec<String>) {
    let worker = Path::new(env!("CARGO_BIN_EXE_plimsoll"));
    let (_stop, never) = watch::channel(false);
    execute(worker, plan, never).await
}

/// Three rates, and the last of them once more, each with as many workers as there are: no iteration of the
/// run has the number of another, nor its row.
#[tokio::test(flavor = "multi_thread")]
async fn no_row_comes_twice_in_a_search() {
    let server = Server::answering(|_| ok("ok"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rows = String::from("id\n");
    (0..5000).for_each(|row| rows.push_str(&format!("r{row}\n")));
    std::fs::write(folder.path().join("rows.csv"), rows).expect("a file");
    let text = format!(
        r#"schema = 1
name = "rows"
url = "{}"
[feed.rows]
file = "rows.csv"
order = "unique"
[[flow.f.step]]
get = "/{{rows.id}}/{{$counter}}"
[load.find]
capacity = {{ from = "20/s", to = "80/s", hold = "2s" }}
[phases]
warmup = "500ms"
cooldown = "0s"
drain = "300ms"
[generator]
workers = 2
late = "2s"
cpu = "100%"
[[gate]]
metric = "load.find.max"
max = "10s"
"#,
        server.url()
    );
    let scenario = parse(&text, &folder.path().join("rows.toml"));
    let scenario = scenario.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let (executed, notes) = run(&scenario.plans[0]).await;
    assert_eq!(executed.invalid, [], "{notes:#?}");
    assert_eq!(found(&executed).holds, Some(80.0), "{notes:#?}");
    let seen = server.seen();
    let mut paths: Vec<&str> = seen.iter().map(|request| request.path()).collect();
    let all = paths.len();
    // 2.5 s at 20, 40, 80 and 80 a second.
    assert!((540..=560).contains(&all), "{all}");
    let part = |path: &str, nth: usize| path.split('/').nth(nth).map(str::to_owned);
    paths.sort_unstable();
    for nth in [1, 2] {
        let parts: BTreeSet<_> = paths.iter().map(|path| part(path, nth)).collect();
        assert_eq!(parts.len(), all, "{paths:?}");
    }
}

fn found(executed: &Executed) -> &CapacitySearch {
    let search = executed.measurement.loads[0].capacity.as_ref();
    search.expect("a search leaves what it found")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_capacity_of_a_server_with_slots_is_found() {
    let server = server();
    let (executed, notes) = run(&plan(&server.url(), (150.0, 4000.0), None)).await;
    assert_eq!(executed.invalid, [], "{notes:#?}");
    assert!(!executed.partial);
    let search = found(&executed);
    let (Some(holds), Some(breaks)) = (search.holds, search.breaks) else {
        panic!("{notes:#?}");
    };
    // It can't serve more than it has slots for. A busy machine takes some of what it could.
    let capacity = SLOTS as f64 / SERVICE.as_secs_f64();
    assert!(holds <= 1.02 * capacity, "{holds}: {notes:#?}");
    assert!(
        breaks >= 0.6 * capacity && breaks <= 1.2 * capacity,
        "{breaks}: {notes:#?}"
    );
    assert_eq!(notes.len(), search.trials.len());
    for trial in &search.trials {
        if trial.rate > 1.1 * capacity {
            assert_eq!(trial.outcome, TrialOutcome::Broke, "{trial:?}");
            assert!(trial.reason.contains("load.find.p50"), "{trial:?}");
        }
    }
    // What is kept of the load is the rate that held.
    let load = &executed.measurement.loads[0];
    assert!(
        (load.counts.offered as f64 - 2.0 * holds).abs() <= 2.0,
        "{:?}",
        load.counts
    );
    assert!(load.counts.adds_up(), "{:?}", load.counts);
    let metrics = executed.metrics.iter();
    let of_load: Vec<_> = metrics
        .filter(|metric| metric.name.starts_with("load.find."))
        .collect();
    let [found, share] = of_load.as_slice() else {
        panic!("{of_load:?}");
    };
    assert_eq!(
        (found.name.as_str(), found.value()),
        ("load.find.capacity", Some(holds))
    );
    // However many are offered, it serves no more than it has slots for; what it ends in the drain of a trial
    // of two seconds counts, too.
    assert_eq!(share.name, "load.find.capacity_share");
    let most = share.value().map(|share| holds / share);
    assert!(
        most.is_some_and(|most| (holds..=1.2 * capacity).contains(&most)),
        "{most:?}: {notes:#?}"
    );
}

/// Three users can't have more than 300 requests a second answered in 10 ms each: that is no capacity of
/// the server's. At first each has 27 ms for one, so that a busy machine does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_the_generator_limits_is_none_of_the_servers() {
    let server = server();
    let (executed, notes) = run(&plan(&server.url(), (110.0, 800.0), Some(3))).await;
    let [
        InvalidReason::CapacityBeyondGenerator {
            holds, rate, cause, ..
        },
    ] = executed.invalid.as_slice()
    else {
        panic!("{:?} {notes:#?}", executed.invalid);
    };
    assert!(holds.is_some_and(|holds| holds < 310.0), "{notes:#?}");
    assert!(*rate > 110.0 && *rate < 450.0, "{rate} {notes:#?}");
    assert!(cause.contains("max_in_flight"), "{cause}");
    assert_eq!(found(&executed).breaks, None);
}
