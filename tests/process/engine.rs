//! Whole runs on a real process with a real load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use plimsoll::harness::engine::{Engine as _, ExecuteError, Executed, Progress, SubjectEngine};
use plimsoll::harness::model::{
    Direction, InvalidReason, Phase, PhaseSpan, ProbeSeries, ProcessSample, Unit,
};
use plimsoll::harness::scenario::{
    Arrivals, BenchPlan, CommandPlan, FaultAction, FaultPlan, FlowPlan, GeneratorLimits, LoadPlan,
    Part, PhasePlan, Plan, ProbePlan, ProbeSource, Ready, RequestPlan, Selector, Spacing, Stage,
    StepPlan, Target, Template,
};
use tokio::sync::watch;

use super::fixture::*;

const SECOND_NS: u64 = 1_000_000_000;

/// Two users on one server that tells its metrics: 1 s of warm-up, 2 s of measuring, 1 s more.
fn loaded(root: &Path) -> Plan {
    let mut server = in_role("service", "metered server", Ready::Tcp);
    server.metrics = Some("/metrics".into());
    let request = RequestPlan {
        name: "hello".into(),
        timeout_ns: 500_000_000,
        ..RequestPlan::get("/hello")
    };
    let load = LoadPlan {
        name: "reads".into(),
        flow: "read".into(),
        arrivals: Arrivals::Open {
            stages: vec![Stage::constant(4 * SECOND_NS, 50.0)],
            spacing: Spacing::Even,
            max_in_flight: 20,
        },
        seed: 1,
        allowed_dropped: 1.0,
    };
    let probe = |source| ProbePlan {
        process: "service".into(),
        source,
        unit: Unit::Ratio,
        scale: 1.0,
        better: Direction::Higher,
    };
    let selector = |metric: &str| Selector {
        metric: metric.into(),
        labels: BTreeMap::new(),
    };
    let hits = Selector {
        metric: "hits_total".into(),
        labels: BTreeMap::from([("route".into(), "/hello/{id}".into())]),
    };
    Plan {
        target: Some(Target::Process("service".into())),
        flows: BTreeMap::from([("read".into(), FlowPlan::new(vec![request.into()]))]),
        loads: vec![load],
        phases: PhasePlan {
            warmup_ns: SECOND_NS,
            measure_ns: 2 * SECOND_NS,
            cooldown_ns: SECOND_NS,
            drain_ns: SECOND_NS,
        },
        probes: BTreeMap::from([
            (
                "hit_ratio".into(),
                probe(ProbeSource::Ratio(hits, selector("requests_total"))),
            ),
            (
                "requests".into(),
                probe(ProbeSource::Increase(selector("requests_total"))),
            ),
            ("size".into(), probe(ProbeSource::Max(selector("size")))),
            (
                "nothing".into(),
                probe(ProbeSource::Rate(selector("nothing_total"))),
            ),
        ]),
        // A busy machine makes the generator late; that is not what these tests are about.
        generator: GeneratorLimits {
            late_ns: 10 * SECOND_NS,
            cpu: 100.0,
            ..GeneratorLimits::default()
        },
        ..plan(root, vec![server])
    }
}

fn engine() -> SubjectEngine {
    SubjectEngine::new(
        PathBuf::from(env!("CARGO_BIN_EXE_plimsoll")),
        BTreeMap::new(),
    )
}

/// Builds and runs a plan with benches of the crate in tests/data: targets and filters.
async fn run_benches(
    plan: &mut Plan,
    benches: &[(&str, &str)],
    observe: &(dyn Fn(Progress) + Send + Sync),
) -> Executed {
    let bench = |(target, filter): &(&str, &str)| BenchPlan {
        targets: vec![(*target).into()],
        package: None,
        features: Vec::new(),
        filter: Some((*filter).into()),
        invocations: 1,
        timeout_ns: 60 * SECOND_NS,
    };
    plan.benches = benches.iter().map(bench).collect();
    plan.root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bench-crate");
    // Kept from one run of the tests to the next, so that criterion is compiled once.
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-crate");
    let mut engine = engine().with_target_dir(target_dir);
    engine.build(plan, &|_| ()).await.unwrap();
    let (_stop, never) = watch::channel(false);
    engine.run(plan, never, observe).await.unwrap()
}

async fn run(plan: &Plan) -> Result<Executed, ExecuteError> {
    let (_stop, never) = watch::channel(false);
    engine().run(plan, never, &|_| ()).await
}

fn value(executed: &Executed, metric: &str) -> Option<f64> {
    let mut metrics = executed.metrics.iter();
    metrics.find(|one| one.name == metric)?.value()
}

fn probe<'run>(executed: &'run Executed, name: &str) -> &'run ProbeSeries {
    let probes = &executed.measurement.probes;
    probes.iter().find(|probe| probe.name == name).unwrap()
}

fn events(executed: &Executed) -> Vec<(&str, i64)> {
    let events = executed.measurement.events.iter();
    events
        .map(|event| (event.what.as_str(), event.at_ns))
        .collect()
}

/// Not early, and as late as a busy machine can make it.
fn is_near(at_ns: i64, expected_ns: u64) -> bool {
    (expected_ns as i64..(expected_ns + 2 * SECOND_NS) as i64).contains(&at_ns)
}

#[tokio::test]
async fn a_run_measures_load_processes_and_probes_on_one_time_axis() {
    let folder = folder();
    let plan = loaded(folder.path());
    let told = Mutex::new(Vec::new());
    let (_stop, never) = watch::channel(false);
    let observe = |progress| told.lock().unwrap().push(progress);
    let executed = engine().run(&plan, never, &observe).await.unwrap();

    assert_eq!(executed.invalid, []);
    assert!(!executed.partial);
    assert!((5 * SECOND_NS..12 * SECOND_NS).contains(&executed.duration_ns));
    let measurement = &executed.measurement;
    let span = |phase, start: u64, end: u64| PhaseSpan {
        phase,
        start_ns: start * SECOND_NS,
        end_ns: end * SECOND_NS,
    };
    let spans = [
        span(Phase::Warmup, 0, 1),
        span(Phase::Measure, 1, 3),
        span(Phase::Cooldown, 3, 4),
    ];
    assert_eq!(measurement.phases, spans);
    let counts = &measurement.loads[0].counts;
    assert!(counts.adds_up() && counts.offered == 100, "{counts:?}");

    // The server counts three hits in four requests of the load, from its first request on.
    let ratio = probe(&executed, "hit_ratio").value.unwrap();
    assert!((ratio - 0.75).abs() < 0.02, "{ratio}");
    // The measure phase alone, though it answered 200 in all.
    let requests = probe(&executed, "requests").value.unwrap();
    assert!((90.0..110.0).contains(&requests), "{requests}");
    assert_eq!(probe(&executed, "size").value, Some(7.0));
    assert_eq!(probe(&executed, "nothing").value, None);
    assert!(probe(&executed, "requests").points.len() >= 3);

    let samples = &measurement.processes[0].samples;
    assert!(samples.len() >= 4 && samples[0].at_ns < 0, "{samples:?}");
    assert!(
        samples
            .iter()
            .all(|sample| sample.rss_bytes > 0 && sample.threads > 0)
    );

    let told = told.into_inner().unwrap();
    let phases = told
        .iter()
        .filter(|told| matches!(told, Progress::Phase { .. }));
    assert_eq!(phases.count(), 3);
    let last = told.iter().rev().find_map(|told| match told {
        Progress::Tick(tick) => Some(tick),
        _ => None,
    });
    let last = last.unwrap();
    assert_eq!((last.loads.len(), last.processes.len()), (1, 1));
    assert_eq!(last.of_ns, 4 * SECOND_NS);
    assert_eq!(told.last(), Some(&Progress::Stopping));
}

#[tokio::test]
async fn a_target_that_dies_ends_the_run_and_is_the_first_reason() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    plan.phases.measure_ns = 60 * SECOND_NS;
    plan.processes[0]
        .env
        .insert("DIE_AFTER_MS".into(), Template::literal("3500"));
    let began = Instant::now();
    let executed = run(&plan).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    let InvalidReason::ProcessExited {
        process,
        status,
        at_ns,
        output,
    } = &executed.invalid[0]
    else {
        panic!("{:?}", executed.invalid);
    };
    assert_eq!(
        (process.as_str(), status.as_str()),
        ("service", "exit status 7")
    );
    assert!(output.contains("out of luck"), "{output}");
    assert!((0..8 * SECOND_NS as i64).contains(at_ns));
    assert_eq!(
        events(&executed),
        [("service ended with exit status 7", *at_ns)]
    );
    // What was measured until then is there.
    let measure = executed.measurement.phases[1];
    assert!(measure.end_ns < 10 * SECOND_NS, "{measure:?}");
    assert!(executed.measurement.loads[0].counts.completed > 0);
}

#[tokio::test]
async fn faults_come_at_their_time_and_leave_the_run_valid() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    plan.phases.measure_ns = 4 * SECOND_NS;
    plan.faults = vec![
        fault(15, "service", FaultAction::Kill),
        fault(32, "service", FaultAction::Start),
        fault(42, "service", FaultAction::Pause),
        fault(46, "service", FaultAction::Resume),
    ];
    let executed = run(&plan).await.unwrap();
    assert_eq!(executed.invalid, []);
    assert!(!executed.partial);
    let events = events(&executed);
    let expected = [
        "kill service",
        "start service",
        "pause service",
        "resume service",
    ];
    assert_eq!(
        events.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
        expected
    );
    for ((what, at_ns), fault) in events.iter().zip(&plan.faults) {
        assert!(is_near(*at_ns, fault.at_ns), "{what} at {at_ns}");
    }
    let samples = &executed.measurement.processes[0].samples;
    let down = |sample: &ProcessSample| sample.rss_bytes == 0;
    let [first, between @ .., last] = samples.as_slice() else {
        panic!("{samples:?}");
    };
    assert!(between.iter().any(down), "{samples:?}");
    assert!(!down(first) && !down(last), "{samples:?}");
    assert!(executed.measurement.loads[0].counts.failed > 0);
    // Some 50 before the fault and some 90 after it; the counters began anew in between.
    let requests = probe(&executed, "requests").value.unwrap();
    assert!((60.0..160.0).contains(&requests), "{requests}");
}

fn fault(tenths: u64, process: &str, action: FaultAction) -> FaultPlan {
    FaultPlan {
        at_ns: tenths * SECOND_NS / 10,
        process: process.into(),
        action,
    }
}

#[tokio::test]
async fn a_fault_waits_for_the_one_before_it_and_hits_what_that_left() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    let slow = "trap 'trap \"\" TERM; sleep 1; exit 0' TERM; while :; do sleep 0.02; done";
    plan.processes.push(shell("slow", slow, Ready::Started));
    plan.faults = vec![
        fault(10, "slow", FaultAction::Stop),
        fault(12, "slow", FaultAction::Start),
        fault(14, "slow", FaultAction::Kill),
    ];
    let executed = run(&plan).await.unwrap();
    assert_eq!(executed.invalid, []);
    let events = events(&executed);
    let [
        ("stop slow", _),
        ("start slow", started_ns),
        ("kill slow", killed_ns),
    ] = events[..]
    else {
        panic!("{events:?}");
    };
    assert!(is_near(started_ns, 2 * SECOND_NS), "{events:?}");
    assert!(killed_ns >= started_ns, "{events:?}");
    // Down at the end, as the scenario says.
    let samples = &executed.measurement.processes[1].samples;
    let last = samples.last().map(|sample| sample.rss_bytes);
    assert_eq!(last, Some(0), "{samples:?}");
}

#[tokio::test]
async fn a_fault_that_can_not_start_a_process_says_so() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    let program = folder.path().join("once");
    std::fs::write(&program, "#!/bin/sh\nrm \"$0\"\nexec sleep 60\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).unwrap();
    let mut once = shell("once", "", Ready::Started);
    once.start.words = vec![Template::literal(program.to_str().unwrap())];
    plan.processes.push(once);
    plan.faults = vec![
        fault(10, "once", FaultAction::Kill),
        fault(12, "once", FaultAction::Start),
    ];
    let executed = run(&plan).await.unwrap();
    let [
        InvalidReason::NotRestarted {
            process,
            at_ns,
            message,
        },
        ..,
    ] = executed.invalid.as_slice()
    else {
        panic!("{:?}", executed.invalid);
    };
    assert_eq!(process, "once");
    assert!(is_near(*at_ns, 12 * SECOND_NS / 10), "{at_ns}");
    assert!(message.contains("No such file"), "{message}");
}

#[tokio::test]
async fn a_stopped_run_is_partial_and_over_soon() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    plan.phases.measure_ns = 60 * SECOND_NS;
    let (stop, stopped) = watch::channel(false);
    let observe = |progress| {
        if let Progress::Tick(tick) = progress
            && tick.at_ns >= 3 * SECOND_NS
        {
            stop.send_replace(true);
        }
    };
    let began = Instant::now();
    let executed = engine().run(&plan, stopped, &observe).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert!(executed.partial);
    assert_eq!(executed.invalid, []);
    assert!(executed.measurement.loads[0].counts.completed > 50);
    assert!(probe(&executed, "hit_ratio").value.is_some());
}

#[tokio::test]
async fn a_run_that_is_stopped_before_it_is_up_leaves_nothing() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    plan.processes = vec![shell(
        "service",
        "echo $$ > pid.new; mv pid.new pid; sleep 60",
        Ready::Tcp,
    )];
    let (stop, stopped) = watch::channel(false);
    let mut engine = engine();
    let stopping = async {
        wait_for("it starts", || folder.path().join("pid").exists()).await;
        stop.send_replace(true);
    };
    let (executed, ()) = tokio::join!(engine.run(&plan, stopped, &|_| ()), stopping);
    let executed = executed.unwrap();
    assert!(executed.partial && executed.measurement.loads.is_empty());
    let service = pid(&folder, "pid");
    wait_for("it is gone", || is_gone(service)).await;
}

#[tokio::test]
async fn a_target_that_is_not_there_is_said_before_any_load() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    plan.processes.clear();
    plan.probes.clear();
    // Bound and let go: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    plan.target = Some(Target::Url(url.clone()));
    let error = run(&plan).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Unreachable { .. }));
    let message = error.to_string();
    assert!(
        message.contains(&url) && message.contains("refused"),
        "{message}"
    );
}

#[tokio::test]
async fn a_bench_that_fails_leaves_what_was_measured_before() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    let benches = [("tiny", "^sum/lin"), ("faulty", "panics")];
    let executed = run_benches(&mut plan, &benches, &|_| ()).await;
    let [InvalidReason::BenchFailed { message }] = executed.invalid.as_slice() else {
        panic!("{:?}", executed.invalid);
    };
    assert!(message.contains("this benchmark panics"), "{message}");
    assert_eq!(executed.measurement.loads[0].counts.offered, 100);
    assert!(
        executed
            .metrics
            .iter()
            .any(|metric| metric.name == "load.reads.p95")
    );
    assert!(value(&executed, "bench.sum/linear") > Some(0.0));
}

#[tokio::test]
async fn a_plan_without_loads_has_its_processes_and_probes_measured() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    plan.loads.clear();
    let executed = run_benches(&mut plan, &[("tiny", "^sum/lin")], &|_| ()).await;
    assert_eq!(executed.invalid, []);
    assert!(!executed.partial);
    assert!(value(&executed, "bench.sum/linear") > Some(0.0));
    assert!(value(&executed, "process.service.rss_max") > Some(1e5));
    assert_eq!(value(&executed, "probe.size"), Some(7.0));
    // Nobody asked: the server was looked at when the benches began and when they had ended.
    assert_eq!(value(&executed, "probe.requests"), Some(0.0));
    let [measured] = executed.measurement.phases.as_slice() else {
        panic!("{:?}", executed.measurement.phases);
    };
    assert_eq!((measured.phase, measured.start_ns), (Phase::Measure, 0));
    assert!((1..=executed.duration_ns).contains(&measured.end_ns));
}

#[tokio::test]
async fn the_processes_of_a_plan_without_loads_are_there_for_its_benches() {
    let folder = folder();
    let write_pid = |then: &str| {
        let pid = folder.path().join("pid").display().to_string();
        let script = format!("echo $$ > {pid}.new; mv {pid}.new {pid}; echo there; {then}");
        plan(
            folder.path(),
            vec![shell("beside", &script, Ready::Log("there".into()))],
        )
    };
    let alive = Mutex::new(Vec::new());
    let observe = |progress| {
        if let Progress::Bench { .. } = progress {
            alive.lock().unwrap().push(!is_gone(pid(&folder, "pid")));
        }
    };
    let mut plan = write_pid("sleep 60");
    let executed = run_benches(&mut plan, &[("tiny", "^sum/lin")], &observe).await;
    assert_eq!(executed.invalid, []);
    assert!(!executed.partial);
    assert_eq!(executed.measurement.benches.len(), 1);
    assert_eq!(*alive.lock().unwrap(), [true]);
    wait_for("it is gone", || is_gone(pid(&folder, "pid"))).await;

    // Without it, the bench measures something else.
    let mut plan = write_pid("sleep 1; exit 3");
    let executed = run_benches(&mut plan, &[("faulty", "sleeps")], &|_| ()).await;
    let [
        InvalidReason::ProcessExited {
            process,
            status,
            at_ns,
            ..
        },
    ] = executed.invalid.as_slice()
    else {
        panic!("{:?}", executed.invalid);
    };
    assert_eq!(
        (process.as_str(), status.as_str()),
        ("beside", "exit status 3")
    );
    assert!((0..10 * SECOND_NS as i64).contains(at_ns), "{at_ns}");
    assert!(executed.partial);
}

#[tokio::test]
async fn variables_that_are_not_set_are_named_before_anything_is_built() {
    let folder = folder();
    let mut plan = loaded(folder.path());
    let variable = |name: &str| Template {
        parts: vec![Part::Env(name.into())],
    };
    plan.processes[0].build = Some(CommandPlan {
        words: vec![Template::literal("touch"), Template::literal("built")],
    });
    plan.processes[0]
        .env
        .insert("TOKEN".into(), variable("NO_SUCH_TOKEN"));
    let StepPlan::Request(request) = &mut plan.flows.get_mut("read").unwrap().steps[0] else {
        panic!("not a request");
    };
    let headers = &mut request.address.headers;
    headers.push(("x-key".into(), variable("NO_SUCH_KEY")));
    let message = engine()
        .build(&plan, &|_| ())
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("test.toml"), "{message}");
    assert!(message.contains("NO_SUCH_KEY, NO_SUCH_TOKEN"), "{message}");
    assert!(!folder.path().join("built").exists());
}
