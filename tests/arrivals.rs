//! When load arrives, and when it stops arriving: whole runs against servers with known answers.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plimsoll::harness::engine::Executed;
use plimsoll::harness::gate::{Evidence, Outcome, Policy, Reason, Verdict, exit, judge};
use plimsoll::harness::model::{LoadMeasurement, Phase, Run, RunId};
use plimsoll::harness::scenario::{Arrivals, GatePlan, Plan, Spacing, Stage, Wave, parse};
use tokio::sync::watch;

use support::files;
use support::http_servers::{Reply, Server, ok};
use support::loads::execute;

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// A plan with these loads on a server. What these tests hold is not the speed of a debug build on a
/// busy machine.
fn plan(url: &str, loads: &str, measure: &str) -> Plan {
    let text = format!(
        r#"schema = 1
name = "arrivals"
url = "{url}"
[[flow.f.step]]
get = "/"
{loads}
[phases]
warmup = "1s"
measure = "{measure}"
drain = "500ms"
[generator]
late = "2s"
cpu = "100%"
"#
    );
    let scenario = parse(&text, Path::new("arrivals.toml"));
    let mut plans = scenario
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
        .plans;
    plans.remove(0)
}

async fn run(plan: &Plan) -> Executed {
    let (_stop, never) = watch::channel(false);
    run_until(plan, never).await
}

async fn run_until(plan: &Plan, stop: watch::Receiver<bool>) -> Executed {
    let worker = Path::new(env!("CARGO_BIN_EXE_plimsoll"));
    execute(worker, plan, stop).await.0
}

/// What is offered in each second of the load, of a server that answers at once.
async fn offered(arrivals: impl FnOnce(u32) -> Arrivals) -> Vec<u64> {
    let server = Server::answering(|_| ok("ok"));
    let mut plan = plan(&server.url(), "[load.a]\nopen = { rate = \"1/s\" }", "4s");
    plan.loads[0].arrivals = arrivals(200);
    let executed = run(&plan).await;
    assert_eq!(executed.invalid, []);
    let load = &executed.measurement.loads[0];
    assert!(load.counts.adds_up(), "{:?}", load.counts);
    let measured: u64 = of_phase(load, Phase::Measure).iter().sum();
    assert_eq!(load.counts.offered, measured);
    assert_eq!(load.counts.completed, load.counts.offered);
    for window in &load.windows {
        let target = window.target_rate.expect("an open model");
        assert!(
            (target - window.counts.offered as f64).abs() < 60.0,
            "{window:?}"
        );
    }
    let windows = load.windows.iter().map(|window| window.counts.offered);
    let mut seconds: Vec<u64> = windows.collect();
    // A busy machine answers the last ones in a sixth second, in which none is offered.
    let later = seconds.split_off(5);
    assert!(later.iter().all(|offered| *offered == 0), "{later:?}");
    seconds
}

fn of_phase(load: &LoadMeasurement, phase: Phase) -> Vec<u64> {
    let windows = load.windows.iter().filter(|window| window.phase == phase);
    windows.map(|window| window.counts.offered).collect()
}

fn open(stage: Stage, spacing: Spacing, max_in_flight: u32) -> Arrivals {
    Arrivals::Open {
        stages: vec![stage],
        spacing,
        max_in_flight,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_swells_and_ebbs() {
    let wave = Wave {
        amplitude: 100.0,
        period_ns: 2 * S,
    };
    let stage = Stage {
        wave: Some(wave),
        ..Stage::constant(S, 100.0)
    };
    let seconds = offered(|users| open(stage, Spacing::Even, users)).await;
    // Half a turn is 100 · (1 ± 2/π); the wave of the last stage goes on to the end.
    assert_eq!(seconds, [164, 36, 164, 36, 164]);
}

#[tokio::test(flavor = "multi_thread")]
async fn arrivals_at_random_are_those_of_their_seed() {
    let poisson = || offered(|users| open(Stage::constant(S, 100.0), Spacing::Poisson, users));
    let (first, second) = (poisson().await, poisson().await);
    assert_eq!(first, second);
    // A hundred in each second on average: no second is likely to have just that.
    assert!(first.iter().any(|offered| *offered != 100), "{first:?}");
    assert!(
        first.iter().all(|offered| (50..150).contains(offered)),
        "{first:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_arrivals_come_as_they_were() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Ten seconds of it: in second n there are 10 · n.
    let times = (0..10).flat_map(|second| {
        (0..10 * second).map(move |nth| f64::from(second) + f64::from(nth) / f64::from(10 * second))
    });
    let mut text = String::from("seconds\n");
    times.for_each(|at_s| text.push_str(&format!("{at_s}\n")));
    let file = files::planned(folder.path(), "arrivals.csv", &text).expect("a file");
    let seconds = offered(|max_in_flight| Arrivals::Trace {
        file,
        speed: 2.0,
        arrivals: 450,
        max_in_flight,
    })
    .await;
    assert_eq!(seconds, [10, 50, 90, 130, 170]);
}

/// A run as it is kept.
fn kept(executed: Executed) -> Run {
    Run {
        invalid: executed.invalid,
        partial: executed.partial,
        aborted: executed.aborted,
        measurement: executed.measurement,
        ..Run::imported(RunId::now(), "s".into(), executed.metrics)
    }
}

fn judged(plan: &Plan, run: &Run) -> Verdict {
    let evidence = Evidence {
        base: &[],
        head: std::slice::from_ref(run),
        comparison: None,
    };
    judge(&Policy::of(plan), &evidence)
}

/// What was measured until then is kept, whoever doesn't answer is waited for as long as the drain says
/// and no longer, and nothing of it is judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_keeps_what_it_measured() {
    let asked = AtomicU64::new(0);
    let server = Server::answering(move |_| {
        // One request of a hundred hangs.
        if asked.fetch_add(1, Ordering::Relaxed) % 100 == 99 {
            std::thread::sleep(Duration::from_secs(60));
        }
        ok("ok")
    });
    let plan = plan(
        &server.url(),
        "[load.a]\nopen = { rate = \"100/s\" }",
        "10min",
    );
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(async move { (run_until(&plan, stopped).await, plan) });
    // A second until it begins, one of warm-up, and two that are measured.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let asked_at = Instant::now();
    stop.send_replace(true);
    let (executed, plan) = running.await.expect("nobody panics");
    let took = asked_at.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let run = kept(executed);
    assert!(run.partial && run.aborted.is_none());
    assert_eq!(run.invalid, []);
    let counts = run.measurement.loads[0].counts;
    assert!(counts.adds_up(), "{counts:?}");
    assert!(
        counts.completed >= 50 && counts.cancelled >= 1,
        "{counts:?}"
    );
    let partial = Reason::PartialRun {
        run: "head run 1".into(),
    };
    let verdict = judged(&plan, &run);
    assert_eq!(
        (verdict.exit_code, verdict.reasons),
        (exit::INVALID, vec![partial])
    );
}

/// The server answers for three seconds and refuses after that. Nobody waits for the rest of the ten
/// minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_ends_the_run_as_soon_as_it_is_broken() {
    let answered = AtomicU64::new(0);
    let server = Server::answering(move |_| {
        let status = match answered.fetch_add(1, Ordering::Relaxed) {
            0..600 => 200,
            _ => 503,
        };
        Reply::Answer {
            status,
            headers: String::new(),
            body: String::new(),
        }
    });
    let loads = "[load.a]\nopen = { rate = \"100/s\" }\n[load.b]\nopen = { rate = \"100/s\" }";
    let mut plan = plan(&server.url(), loads, "10min");
    // The one that finds it ends the others, of both loads.
    plan.generator.workers = Some(2);
    plan.gates = vec![
        GatePlan {
            max: Some(0.2),
            abort: true,
            ..GatePlan::on("load.*.error_rate")
        },
        GatePlan {
            max: Some(1e9),
            ..GatePlan::on("load.a.p50")
        },
    ];
    let began = Instant::now();
    let run = kept(run(&plan).await);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(run.partial);
    assert_eq!(run.invalid, []);
    let aborted = run.aborted.clone().expect("the limit that ended it");
    assert!(aborted.metric.ends_with(".error_rate"), "{aborted:?}");
    assert!(
        aborted.value > aborted.limit && aborted.limit == 0.2,
        "{aborted:?}"
    );
    // Not before the fifth second of the measure phase.
    assert!(aborted.at_ns >= 6 * S, "{aborted:?}");
    for load in &run.measurement.loads {
        // What was measured is kept, of both.
        assert!(load.counts.adds_up(), "{:?}", load.counts);
        assert!(load.counts.offered >= 500, "{:?}", load.counts);
    }
    let measure = run
        .measurement
        .phases
        .iter()
        .find(|span| span.phase == Phase::Measure);
    let ended_ns = measure.expect("it was reached").end_ns;
    assert!(
        (aborted.at_ns..aborted.at_ns + 2 * S).contains(&ended_ns),
        "{ended_ns}"
    );

    let verdict = judged(&plan, &run);
    assert_eq!(
        (verdict.verdict, verdict.exit_code),
        (Outcome::Fail, exit::REGRESSION)
    );
    let reason = Reason::Aborted {
        run: "head run 1".into(),
        aborted,
    };
    assert_eq!(verdict.reasons, [reason]);
}

/// Three users of two workers: the one of the second asks for a third of what all ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_fewer_users_is_not_too_slow() {
    let server = Server::answering(|_| {
        std::thread::sleep(Duration::from_millis(100));
        ok("ok")
    });
    let mut plan = plan(&server.url(), "[load.a]\nclosed = { users = 3 }", "7s");
    plan.generator.workers = Some(2);
    // Of about thirty. A half of them for each worker would be more than the one of the second has.
    plan.gates = vec![GatePlan {
        min: Some(22.0),
        abort: true,
        ..GatePlan::on("load.a.rate")
    }];
    let run = kept(run(&plan).await);
    assert_eq!((run.aborted, run.partial), (None, false));
    let load = &run.measurement.loads[0];
    assert_eq!(load.shards.len(), 2);
    assert_eq!(load.users.total_ns, 3 * 7 * S);
}

/// Four users of a fast server that hangs for most of the run: few requests in a thousand fail, and
/// three quarters of the time is lost.
#[tokio::test(flavor = "multi_thread")]
async fn users_who_wait_in_vain_are_no_pass() {
    let began = Instant::now();
    let server = Server::answering(move |_| {
        if began.elapsed() > Duration::from_millis(4500) {
            std::thread::sleep(Duration::from_secs(20));
        }
        ok("ok")
    });
    let mut plan = plan(&server.url(), "[load.a]\nclosed = { users = 4 }", "8s");
    // As many failures as there are users, of as many requests as there may be.
    plan.phases.drain_ns = 300 * MS;
    let run = kept(run(&plan).await);
    assert_eq!(run.invalid, []);
    let value = |name: &str| run.metric(name).and_then(|metric| metric.value());
    let errors = value("load.a.error_rate").expect("requests failed");
    assert!(
        errors < 0.01,
        "{errors}: too few requests were made for this test"
    );
    let lost = value("load.a.lost").expect("users were there");
    assert!((0.4..=0.9).contains(&lost), "{lost}");
    let users = run.measurement.loads[0].users;
    assert_eq!(users.total_ns, 4 * 8 * S);
    let verdict = judged(&plan, &run);
    let broken = Reason::LimitBroken {
        metric: "load.a.lost".into(),
    };
    assert_eq!(
        (verdict.exit_code, verdict.reasons),
        (exit::REGRESSION, vec![broken])
    );
}
