//! The load engine from outside: real worker processes against real sockets with known answers.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plimsoll::harness::engine::load::{
    LoadFile, LoadResult, Secrets, Shard, WorkerEvent, WorkerJob,
};
use plimsoll::harness::engine::{Engine as _, Executed, LoadTick, SubjectEngine};
use plimsoll::harness::model::{
    Counts, ErrorKind, InvalidReason, LatencyHistogram, LoadMeasurement, Outcome, Phase,
};
use plimsoll::harness::scenario::{
    Arrivals, BodyPlan, ExtractSource, FeedFormat, FeedOrder, FeedPlan, FlowPlan, GeneratorLimits,
    HttpPlan, LoadPlan, Part, PhasePlan, Plan, RequestPlan, Spacing, Stage, StepPlan, Template,
    ThinkPlan, parse,
};
use tokio::sync::{RwLock, watch};

use support::files::planned;
use support::http_servers::{Behaviour, Reply, Server, ok, precise_sleep};
use support::loads::{check_arithmetic, drive};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
/// A worker needs a moment to start; a debug build on a busy machine a long one.
const AHEAD_NS: u64 = 1500 * MS;
/// What these tests hold is the truth of what is measured, not the speed of a debug build on a busy
/// machine.
const LIMITS: GeneratorLimits = GeneratorLimits {
    workers: None,
    late_ns: 2 * S,
    cpu: 1.5,
};
/// Tests that measure time have the machine to themselves; the others share it.
static MACHINE: RwLock<()> = RwLock::const_new(());

fn worker() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_plimsoll"))
}

fn get(path: &str) -> RequestPlan {
    RequestPlan {
        timeout_ns: 5 * S,
        ..RequestPlan::get(path)
    }
}

/// The first request of a job's flow.
fn first(job: &mut WorkerJob) -> &mut RequestPlan {
    match &mut job.flow.steps[0] {
        StepPlan::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn closed(users: u32) -> Arrivals {
    Arrivals::Closed {
        stages: vec![Stage::constant(S, f64::from(users))],
        share: None,
    }
}

fn open(rate: f64, max_in_flight: u32) -> Arrivals {
    Arrivals::Open {
        stages: vec![Stage::constant(S, rate)],
        spacing: Spacing::Even,
        max_in_flight,
    }
}

/// A second of warm-up, then `measure_ns`.
fn job(folder: &Path, name: &str, target: &str, arrivals: Arrivals, measure_ns: u64) -> WorkerJob {
    WorkerJob {
        load: LoadPlan {
            name: name.into(),
            flow: "flow".into(),
            arrivals,
            seed: 1,
            allowed_dropped: 0.001,
        },
        flow: FlowPlan::new(vec![get("/").into()]),
        feeds: BTreeMap::new(),
        target: target.into(),
        http: HttpPlan::default(),
        setup: BTreeMap::new(),
        turns: BTreeMap::new(),
        first_iteration: 0,
        aborts: Vec::new(),
        phases: PhasePlan {
            warmup_ns: S,
            measure_ns,
            cooldown_ns: S / 2,
            drain_ns: 2 * S,
        },
        secrets: Secrets::default(),
        start_at_ns: unix_now_ns() + AHEAD_NS,
        late_ns: LIMITS.late_ns,
        shard: Shard::WHOLE,
        result: folder.join(format!("{name}.json")),
    }
}

fn unix_now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_nanos() as u64
}

async fn run(jobs: &[WorkerJob]) -> Vec<LoadResult> {
    drive(worker(), jobs, &LIMITS, &|_| ()).await
}

/// The only load's measurement, which adds up.
fn only(results: Vec<LoadResult>) -> (LoadMeasurement, Vec<InvalidReason>) {
    let [result] = <[_; 1]>::try_from(results).expect("one load");
    let measurement = result.measurement;
    let measurement = measurement.unwrap_or_else(|| panic!("no file: {:?}", result.invalid));
    check_arithmetic(&measurement);
    (measurement, result.invalid)
}

fn in_order(load: &LoadMeasurement) -> (&LatencyHistogram, &LatencyHistogram) {
    let series = &load.requests[0];
    (
        &series.response[&Outcome::Ok],
        &series.service[&Outcome::Ok],
    )
}

fn quantile_ms(histogram: &LatencyHistogram, quantile: f64) -> f64 {
    histogram.quantile_ns(quantile).expect("not empty") as f64 / 1e6
}

/// What a client without anything in it sees: the truth that a load generator has to tell.
fn plain_client(address: std::net::SocketAddr, for_ns: u64) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::new();
    let mut connection = TcpStream::connect(address).expect("the server listens");
    connection.set_nodelay(true).expect("a TCP socket");
    let until = Instant::now() + Duration::from_nanos(for_ns);
    let mut answer = [0; 4096];
    while Instant::now() < until {
        let sent = Instant::now();
        connection
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("the server reads");
        let length = connection.read(&mut answer).expect("the server answers");
        assert!(answer[..length].ends_with(b"ok"));
        histogram.record(sent.elapsed().as_nanos() as u64);
    }
    histogram
}

#[tokio::test(flavor = "multi_thread")]
async fn service_times_are_those_of_the_server() {
    let _machine = MACHINE.write().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (sleep_ms, measure_ns) in [(137, 4 * S), (3, 3 * S)] {
        let server = Server::answering(move |_| {
            precise_sleep(Duration::from_millis(sleep_ms));
            ok("ok")
        });
        let job = job(folder.path(), "sleep", &server.url(), closed(1), measure_ns);
        let address = server.address();
        let plain = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_nanos(AHEAD_NS + S));
            plain_client(address, measure_ns)
        });
        let (load, invalid) = only(run(&[job]).await);
        let plain = plain.await.expect("the plain client doesn't panic");
        assert_eq!(invalid, []);
        let (response, service) = in_order(&load);
        let seen_ms = quantile_ms(service, 0.5);
        let true_ms = quantile_ms(&plain, 0.5);
        assert!(seen_ms >= sleep_ms as f64, "{seen_ms}");
        // Without optimisation a client takes noticeable time of its own.
        let own_ms = if cfg!(debug_assertions) { 0.6 } else { 0.0 };
        let tolerance_ms = 0.01 * true_ms + own_ms;
        assert!(
            (seen_ms - true_ms).abs() < tolerance_ms,
            "{seen_ms} ms instead of {true_ms} ms"
        );
        assert_eq!(response.quantile_ns(0.5), service.quantile_ns(0.5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_seen_by_all_who_were_to_be_served_in_it() {
    let _machine = MACHINE.write().await;
    // What a busy machine adds it only ever adds: the answers that come at once when a stall is over take their
    // time, most of all in a debug build. So the largest error upwards may be that of the best of some
    // tries; an error of the arithmetic is in each of them. What is too short is an error at once.
    let mut errors = Vec::new();
    for _ in 0..3 {
        let most = errors_in_a_stall().await.into_iter().fold(0.0, f64::max);
        if most < 0.05 {
            return;
        }
        errors.push(most);
    }
    panic!("too long by these parts of what they are: {errors:?}");
}

/// By which part of themselves the percentiles of a stall are seen too long.
async fn errors_in_a_stall() -> [f64; 3] {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = Instant::now();
    // Stands still for 2 s every 20 s. A tenth of evenly spread arrivals waits, the first of them 2 s
    // and the last nothing; so the 99th percentile of all is the 90th of these: 1.8 s. The 95th is their
    // half, and nine of ten see nothing of it.
    let server = Server::answering(move |_| {
        let into = Duration::from_nanos(start.elapsed().as_nanos() as u64 % (20 * S));
        if let Some(left) = Duration::from_secs(2).checked_sub(into) {
            std::thread::sleep(left);
        }
        ok("ok")
    });
    let (rate, users) = (100_u32, 300);
    let arrivals = open(f64::from(rate), users);
    let mut job = job(folder.path(), "stall", &server.url(), arrivals, 20 * S);
    job.phases.drain_ns = 5 * S;
    let (load, invalid) = only(run(&[job]).await);
    let (response, _) = in_order(&load);
    assert_eq!(invalid, []);
    assert_eq!(load.counts.offered, u64::from(rate) * 20);
    assert_eq!(load.counts.completed, load.counts.offered);
    let p85_ms = quantile_ms(response, 0.85);
    assert!(p85_ms < 50.0, "{p85_ms} ms");
    [(0.95, 1000.0), (0.99, 1800.0), (0.999, 1980.0)].map(|(quantile, true_ms)| {
        let seen_ms = quantile_ms(response, quantile);
        assert!(seen_ms > 0.95 * true_ms, "{quantile}: {seen_ms} ms");
        seen_ms / true_ms - 1.0
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_users_drop_arrivals_and_make_the_run_invalid() {
    let _machine = MACHINE.write().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| {
        precise_sleep(Duration::from_millis(100));
        ok("ok")
    });
    // Two users can serve 20 of the 100 arrivals a second.
    let job = job(folder.path(), "few", &server.url(), open(100.0, 2), 2 * S);
    let (load, invalid) = only(run(&[job]).await);
    assert_eq!(load.counts.offered, 200);
    assert!(
        (36..=42).contains(&load.counts.started),
        "{:?}",
        load.counts
    );
    assert_eq!(load.counts.dropped, 200 - load.counts.started);
    let dropped = InvalidReason::Dropped {
        load: "few".into(),
        dropped: load.counts.dropped,
        offered: 200,
        allowed: 0.001,
    };
    assert_eq!(invalid, [dropped]);
}

/// Those that the bytes of an answer make are tested in `tests/hostile.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_its_kind_and_stops_no_run() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let refused = Server::answering(|_| ok("")).url();
    let status = || Reply::Answer {
        status: 503,
        headers: String::new(),
        body: "<b>down</b>".into(),
    };
    let servers = [
        (
            "status",
            Server::answering(move |_| status()),
            ErrorKind::Status,
        ),
        (
            "check",
            Server::answering(|_| ok("something else")),
            ErrorKind::Check,
        ),
        (
            "tls",
            Server::start(Behaviour::Greet("220 mail.example SMTP ready\r\n")),
            ErrorKind::Tls,
        ),
        ("refused", Server::answering(|_| ok("")), ErrorKind::Connect),
    ];
    let jobs: Vec<WorkerJob> = servers
        .iter()
        .map(|(name, server, _)| {
            let target = match *name {
                "tls" => server.url().replace("http:", "https:"),
                "refused" => refused.clone(),
                _ => server.url(),
            };
            let mut job = job(folder.path(), name, &target, open(20.0, 20), S);
            job.start_at_ns += 2 * S;
            let step = first(&mut job);
            step.timeout_ns = 300 * MS;
            if *name == "check" {
                step.check.body_contains = Some("expected".into());
            }
            job
        })
        .collect();
    let results = run(&jobs).await;
    for ((name, _, kind), result) in servers.iter().zip(results) {
        let (load, _) = only(vec![result]);
        assert_eq!(load.name, *name);
        let errors = &load.requests[0].errors;
        let found: Vec<_> = errors
            .iter()
            .map(|(kind, tally)| (*kind, tally.count))
            .collect();
        assert_eq!(found, [(*kind, 20)], "{name}: {errors:?}");
        assert_eq!(load.counts.failed, 20, "{name}");
        assert_eq!(load.counts.timed_out, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_of_an_empty_body_reaches_the_server_once() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| ok("ok"));
    let mut job = job(folder.path(), "empty", &server.url(), closed(1), S);
    first(&mut job).method = "POST".into();
    only(run(&[job]).await);
    let seen = server.seen();
    assert!(!seen.is_empty());
    for request in seen {
        let lengths = request.headers.iter();
        let lengths = lengths.filter(|header| header.starts_with("content-length"));
        assert_eq!(lengths.collect::<Vec<_>>(), ["content-length: 0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_dead_target_rest_between_their_failures() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let refused = Server::answering(|_| ok("")).url();
    let mut job = job(folder.path(), "refused", &refused, closed(2), S);
    first(&mut job).body = Some(BodyPlan::Text(Template::literal("nobody reads this")));
    let (load, _) = only(run(&[job]).await);
    assert_eq!(load.counts.completed, 0);
    assert_eq!(load.requests[0].bytes_sent, 0);
    // At most one each 10 ms and user, and at least one in five of them on a busy machine.
    let failed = load.counts.failed;
    assert!((40..=202).contains(&failed), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_feeds_extracts_checks_and_keeps_its_secrets() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = "id,name\n1,Ann & Co\n2,\"B\"\"ob\"\n";
    let file = planned(folder.path(), "clients.csv", rows).expect("a file");
    let server = Server::answering(|request| {
        if request.line.starts_with("POST /login") {
            return ok(r#"{"token": "t/1", "left": 3}"#);
        }
        if request.line.starts_with("GET /broken") {
            // An answer that echoes what it was sent.
            let header = request
                .headers
                .iter()
                .find(|h| h.starts_with("authorization"));
            return ok(header.map_or("", String::as_str));
        }
        ok("fine")
    });
    let mut job = job(folder.path(), "journey", &server.url(), closed(1), S);
    let feed = |column: &str| Part::Feed {
        feed: "clients".into(),
        column: column.into(),
    };
    let text = |text: &str| Part::Text(text.into());
    let mut login = get("/login");
    login.method = "POST".into();
    login.body = Some(BodyPlan::Json(Template {
        parts: vec![text("{\"name\": \""), feed("name"), text("\"}")],
    }));
    login.check.json = vec![("$.left".into(), 3.into())];
    login
        .extract
        .insert("token".into(), ExtractSource::Json("$.token".into()).into());
    let mut read = get("/read");
    read.address.path.parts = vec![
        text("/read/"),
        feed("id"),
        text("?t="),
        Part::Extracted("token".into()),
    ];
    read.think = Some(ThinkPlan::Uniform {
        min_ns: 5 * MS,
        max_ns: 15 * MS,
    });
    let mut broken = get("/broken");
    broken.address.headers = vec![(
        "Authorization".into(),
        Template {
            parts: vec![text("Bearer "), Part::Env("TOKEN".into())],
        },
    )];
    broken.check.headers = vec![("etag".into(), None)];
    broken.check.status = vec![(200, 200)];
    job.flow.steps = vec![login.into(), read.into(), broken.into()];
    let columns = vec!["id".into(), "name".into()];
    let order = FeedOrder::Sequential;
    job.feeds.insert(
        "clients".into(),
        FeedPlan {
            file,
            format: FeedFormat::Csv,
            columns,
            order,
        },
    );
    job.secrets.0.insert("TOKEN".into(), "hunter2".into());
    let result = job.result.clone();

    let (load, _) = only(run(&[job]).await);
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /login HTTP/1.1");
    assert_eq!(seen[0].body, r#"{"name": "Ann & Co"}"#);
    assert!(
        seen[0]
            .headers
            .contains(&"content-type: application/json".into())
    );
    assert_eq!(seen[1].line, "GET /read/1?t=t%2F1 HTTP/1.1");
    assert!(
        seen[2]
            .headers
            .contains(&"authorization: bearer hunter2".into())
    );
    assert_eq!(seen[3].body, r#"{"name": "B\"ob"}"#);
    assert_eq!(seen[4].line, "GET /read/2?t=t%2F1 HTTP/1.1");
    assert_eq!(seen[6].body, r#"{"name": "Ann & Co"}"#);

    let names: Vec<_> = load
        .requests
        .iter()
        .map(|series| series.name.as_str())
        .collect();
    assert_eq!(names, ["GET /login", "GET /read", "GET /broken"]);
    assert!(load.requests[0].bytes_sent > 0);
    assert_eq!(load.requests[1].bytes_sent, 0);
    // The last step always fails, so every iteration does, after a think time of 10 ms.
    assert_eq!(load.counts.completed, 0);
    assert!(
        (30..=100).contains(&load.counts.failed),
        "{:?}",
        load.counts
    );
    let file = std::fs::read_to_string(result).expect("the worker's file");
    assert!(!file.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_together_offer_what_the_whole_would() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| ok("ok"));
    let stages = vec![Stage::line(S, 0.0, 200.0), Stage::line(S, 200.0, 100.0)];
    let arrivals = Arrivals::Open {
        stages,
        spacing: Spacing::Even,
        max_in_flight: 30,
    };
    let jobs: Vec<WorkerJob> = (0..3)
        .map(|index| {
            let mut job = job(folder.path(), "sharded", &server.url(), arrivals.clone(), S);
            job.shard = Shard { index, of: 3 };
            job.result = folder.path().join(format!("{index}.json"));
            job
        })
        .collect();
    let ticks: Mutex<Vec<LoadTick>> = Mutex::new(Vec::new());
    let on_tick = |tick| ticks.lock().expect("no panic").push(tick);
    let (load, invalid) = only(drive(worker(), &jobs, &LIMITS, &on_tick).await);
    assert_eq!(invalid, []);
    // The measure phase is the second stage: (200 + 100) / 2 · 1 s.
    assert_eq!(load.counts.offered, 150);
    assert_eq!(load.generator.cores, 3.0);
    let warmup = &load.windows[0];
    assert_eq!((warmup.phase, warmup.counts.offered), (Phase::Warmup, 100));
    assert!((warmup.target_rate.expect("an open model") - 100.0).abs() < 1e-6);
    assert!(ticks.lock().expect("no panic").len() >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_a_user_waits_for_nobody() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| ok("ok"));
    let mut job = job(folder.path(), "nobody", &server.url(), closed(1), S);
    job.shard = Shard { index: 1, of: 2 };
    job.phases.drain_ns = 300 * S;
    let began = Instant::now();
    let (load, _) = only(run(&[job]).await);
    assert_eq!(load.counts, Counts::default());
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go_with_the_stages() {
    let _machine = MACHINE.write().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| {
        precise_sleep(Duration::from_millis(50));
        ok("ok")
    });
    // Nobody at first, then four, then one.
    let arrivals = Arrivals::Closed {
        stages: [0.0, 4.0, 1.0]
            .map(|users| Stage::constant(S, users))
            .into(),
        share: None,
    };
    let job = job(folder.path(), "stages", &server.url(), arrivals, 2 * S);
    let (load, _) = only(run(&[job]).await);
    let started: Vec<_> = load
        .windows
        .iter()
        .map(|window| window.counts.started)
        .collect();
    assert_eq!(started[0], 0, "{started:?}");
    assert!((72..=84).contains(&started[1]), "{started:?}");
    assert!((17..=21).contains(&started[2]), "{started:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_the_drain_is_cancelled() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| {
        std::thread::sleep(Duration::from_secs(10));
        ok("late")
    });
    let mut job = job(folder.path(), "cut", &server.url(), open(5.0, 50), 2 * S);
    first(&mut job).timeout_ns = 60 * S;
    job.phases.drain_ns = 300 * MS;
    let (load, invalid) = only(run(&[job]).await);
    assert_eq!(load.counts.offered, 10);
    assert_eq!(load.counts.cancelled, 10);
    assert_eq!(load.requests[0].errors[&ErrorKind::Cancelled].count, 10);
    assert_eq!(invalid, []);
}

/// The plan of a scenario with a load of four users on a server that is there already.
fn four_users(url: &str, measure: &str) -> Plan {
    let text = format!(
        r#"schema = 1
name = "four"
url = "{url}"
[[flow.f.step]]
get = "/"
[load.four]
closed = {{ users = 4 }}
[phases]
warmup = "0s"
measure = "{measure}"
drain = "200ms"
[generator]
late = "2s"
cpu = "100%"
"#
    );
    let scenario = parse(&text, Path::new("four.toml")).unwrap_or_else(|_| panic!("{text}"));
    scenario.plans[0].clone()
}

async fn run_on(engine: &mut SubjectEngine, plan: &Plan) -> Executed {
    let (_stop, never) = watch::channel(false);
    let executed = engine.run(plan, never, &|_| ()).await;
    executed.expect("it can be run")
}

/// It is no invalid run either: nothing but the server is to blame.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_from_the_start_fails_every_request() {
    let _machine = MACHINE.read().await;
    let server = Server::answering(|_| {
        std::thread::sleep(Duration::from_secs(10));
        ok("late")
    });
    let mut engine = SubjectEngine::new(worker().into(), BTreeMap::new());
    let executed = run_on(&mut engine, &four_users(&server.url(), "300ms")).await;
    assert_eq!(executed.invalid, []);
    let mut errors = executed.metrics.iter();
    let errors = errors.find(|metric| metric.name == "load.four.error_rate");
    let errors = errors.expect("every load has one");
    assert_eq!((errors.value(), errors.observations), (Some(1.0), 4));
}

/// A closed load whose server hangs stops asking, so that those who wait to the end are all that is
/// seen of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_end_of_the_drain_cut_off_is_an_error() {
    let _machine = MACHINE.read().await;
    let begun = Mutex::new(None);
    let server = Server::answering(move |_| {
        let begun = *begun
            .lock()
            .expect("nobody panics")
            .get_or_insert_with(Instant::now);
        let hangs = begun.elapsed() > Duration::from_millis(500);
        std::thread::sleep(Duration::from_millis(if hangs { 10_000 } else { 20 }));
        ok("ok")
    });
    let plan = four_users(&server.url(), "2s");
    let mut engine = SubjectEngine::new(worker().into(), BTreeMap::new());
    let executed = run_on(&mut engine, &plan).await;
    assert_eq!(executed.invalid, []);
    let load = &executed.measurement.loads[0];
    check_arithmetic(load);
    let answered = in_order(load).0.count();
    assert_eq!(load.requests[0].errors[&ErrorKind::Cancelled].count, 4);
    let errors = executed.metrics.iter();
    let errors = errors.filter(|metric| metric.name.ends_with(".error_rate"));
    let shares: Vec<_> = errors
        .map(|metric| (metric.value(), metric.observations))
        .collect();
    let share = 4.0 / (answered + 4) as f64;
    assert_eq!(shares, [(Some(share), answered + 4); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_before_a_later_run_is_a_result() {
    let _machine = MACHINE.read().await;
    let server = Server::answering(|_| ok("ok"));
    let address = server.address();
    let plan = four_users(&server.url(), "300ms");
    let mut engine = SubjectEngine::new(worker().into(), BTreeMap::new());
    assert_eq!(run_on(&mut engine, &plan).await.invalid, []);
    drop(server);
    while TcpStream::connect(address).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let executed = run_on(&mut engine, &plan).await;
    let [InvalidReason::TargetUnreachable { url, cause }] = executed.invalid.as_slice() else {
        panic!("{:?}", executed.invalid);
    };
    assert_eq!(*url, format!("http://{address}"));
    assert!(cause.contains("refused"), "{cause}");
    assert!(!executed.partial);
    assert!(
        executed
            .metrics
            .iter()
            .all(|metric| metric.value().is_none())
    );
}

/// More users than the generator may open files: where the hard limit allows them all, nobody notices;
/// where it doesn't, that is no fault of the target's.
#[tokio::test(flavor = "multi_thread")]
async fn the_generator_s_own_limit_on_files_is_not_blamed_on_the_target() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| {
        std::thread::sleep(Duration::from_millis(50));
        ok("ok")
    });
    let limited = async |limits: &str| {
        let script = folder.path().join("limited");
        let text = format!("#!/bin/sh\n{limits}\nexec {} \"$@\"\n", worker().display());
        std::fs::write(&script, text).expect("a file");
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).expect("a file");
        let job = job(folder.path(), "many", &server.url(), closed(100), S);
        only(drive(&script, &[job], &LIMITS, &|_| ()).await)
    };
    let (load, invalid) = limited("ulimit -Sn 60").await;
    assert_eq!(invalid, []);
    assert_eq!(load.requests[0].errors, BTreeMap::new());

    let (load, invalid) = limited("ulimit -Sn 60; ulimit -Hn 60").await;
    let [
        InvalidReason::GeneratorExhausted {
            failures, message, ..
        },
    ] = invalid.as_slice()
    else {
        panic!("{invalid:?}");
    };
    assert!(message.contains("open files"), "{message}");
    let errors = &load.requests[0].errors;
    assert_eq!(errors.keys().collect::<Vec<_>>(), [&ErrorKind::Exhausted]);
    assert_eq!(*failures, errors[&ErrorKind::Exhausted].count);
}

/// All users are there a moment before.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_the_load_begins() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first_ns = Arc::new(AtomicU64::new(u64::MAX));
    let seen_ns = Arc::clone(&first_ns);
    let server = Server::answering(move |_| {
        seen_ns.fetch_min(unix_now_ns(), Ordering::Relaxed);
        ok("ok")
    });
    let closed = job(folder.path(), "closed", &server.url(), closed(3), S);
    let start_ns = closed.start_at_ns;
    only(run(&[closed]).await);
    let first_ns = first_ns.load(Ordering::Relaxed);
    assert!(
        (start_ns..u64::MAX).contains(&first_ns),
        "{first_ns} before {start_ns}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fails_is_named_and_stops_the_others() {
    let _machine = MACHINE.read().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| ok("ok"));
    let good = job(folder.path(), "good", &server.url(), closed(1), 60 * S);
    let mut bad = job(folder.path(), "bad", &server.url(), closed(1), 60 * S);
    first(&mut bad).address.path = Template {
        parts: vec![Part::Text("/".into()), Part::Env("NOT_SET".into())],
    };
    let started = Instant::now();
    let results = run(&[good, bad]).await;
    assert!(started.elapsed() < Duration::from_secs(20));
    // The good one was stopped before it began, and has nothing to say that would hide the cause.
    assert!(results[0].partial);
    assert_eq!(results[0].invalid, []);
    let [InvalidReason::GeneratorFailed { load, message }] = results[1].invalid.as_slice() else {
        panic!("{:?}", results[1].invalid);
    };
    assert_eq!(load, "bad");
    assert!(message.contains("`NOT_SET` is not set"), "{message}");
}

/// A worker started by hand. Killed when dropped.
struct Worker {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Worker {
    fn start(job: &WorkerJob) -> Self {
        let mut worker = Self::without_a_job();
        worker.take(job);
        worker
    }

    /// One that says that it listens, and waits for its job.
    fn without_a_job() -> Self {
        let child = Command::new(worker())
            .arg("load-worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("the worker starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (said, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let worker = Self { child, lines };
        assert_eq!(worker.event(), WorkerEvent::Listening);
        worker
    }

    fn take(&mut self, job: &WorkerJob) {
        let line = serde_json::to_string(job).expect("a job is JSON");
        let input = self.child.stdin.as_mut().expect("a pipe");
        writeln!(input, "{line}").expect("the worker reads");
    }

    fn signal(&self, signal: &str) {
        let killed = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status();
        assert!(killed.expect("kill exists").success());
    }

    /// What it says next: nothing but events is on its standard output.
    fn event(&self) -> WorkerEvent {
        let line = self.lines.recv_timeout(Duration::from_secs(5));
        let line = line.expect("it goes on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits until the load has gone on for a while.
    fn ticks(&self, count: usize) {
        for _ in 0..count {
            let event = self.event();
            assert!(matches!(event, WorkerEvent::Tick(_)), "{event:?}");
        }
    }

    fn wait(&mut self, at_most: Duration) -> std::process::ExitStatus {
        let until = Instant::now() + at_most;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < until, "the worker is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_worker_dies_with_whoever_started_it() {
    let _machine = MACHINE.blocking_read();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| ok("ok"));
    let job = job(
        folder.path(),
        "orphan",
        &server.url(),
        open(100.0, 10),
        60 * S,
    );
    let mut worker = Worker::start(&job);
    worker.ticks(1);
    drop(worker.child.stdin.take());
    assert!(!worker.wait(Duration::from_secs(2)).success());
    assert!(!job.result.exists());
}

#[test]
fn a_worker_that_is_told_to_end_keeps_what_it_measured() {
    let _machine = MACHINE.blocking_read();
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::answering(|_| ok("ok"));
        let job = job(
            folder.path(),
            "ended",
            &server.url(),
            open(100.0, 10),
            60 * S,
        );
        let mut worker = Worker::start(&job);
        worker.ticks(2);
        worker.signal(signal);
        assert!(worker.wait(Duration::from_secs(5)).success());
        let file = LoadFile::read(&job.result).expect("the file is whole");
        assert!(file.partial);
        check_arithmetic(&file.measurement);
        let seconds = file.ended_ns as f64 / 1e9;
        assert!((2.0..5.0).contains(&seconds), "{seconds}");
        let measured = file.measurement.counts.completed as f64;
        assert!(
            (measured / 100.0 - (seconds - 1.0)).abs() < 0.1,
            "{measured}"
        );
    }
}

#[test]
fn a_worker_that_is_told_to_end_before_it_begins_does_so_in_order() {
    let _machine = MACHINE.blocking_read();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::answering(|_| ok("ok"));
    let mut job = job(folder.path(), "early", &server.url(), closed(2), 60 * S);
    job.phases.drain_ns = 60 * S;
    let mut worker = Worker::without_a_job();
    worker.signal("TERM");
    worker.take(&job);
    // Nobody is in the middle of anything, so nothing drains.
    assert!(worker.wait(Duration::from_secs(10)).success());
    let file = LoadFile::read(&job.result).expect("the file is whole");
    assert!(file.partial);
    assert_eq!(file.measurement.counts, Counts::default());
}

#[test]
fn a_job_that_is_none_is_refused_without_repeating_it() {
    let _machine = MACHINE.blocking_read();
    let mut child = Command::new(worker())
        .arg("load-worker")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the worker starts");
    let mut input = child.stdin.take().expect("a pipe");
    writeln!(input, r#"{{"secrets": "hunter2"}}"#).expect("the worker reads");
    drop(input);
    let output = child.wait_with_output().expect("a child of ours");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("no job") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_none_is_refused_by_name() {
    let _machine = MACHINE.blocking_read();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let check = |text: &str, expected: &str| {
        let path: PathBuf = folder.path().join("load.json");
        std::fs::write(&path, text).expect("a file");
        let error = LoadFile::read(&path).expect_err("it is none").to_string();
        assert!(
            error.contains(expected) && error.contains("load.json"),
            "{error}"
        );
    };
    check("", "not a load file");
    check(r#"{"schema": "plimsoll.load/9"}"#, "`plimsoll.load/9`");
    check(r#"{"schema": "plimsoll.load/1"}"#, "not a load file");
}
