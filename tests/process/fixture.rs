//! Processes for the scenarios of the tests, and plans that start them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plimsoll::harness::engine::load::Secrets;
use plimsoll::harness::engine::process::{Exit, ProcessError, Processes, Surroundings};
use plimsoll::harness::scenario::{
    CommandPlan, GeneratorLimits, HttpPlan, Part, PhasePlan, Plan, ProcessPlan, Ready, Template,
};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

/// The longest that anything here may take before the test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Tells this executable, started as a process of a scenario, what to be.
pub(crate) const ROLE: &str = "PLIMSOLL_TEST_ROLE";
/// The test that plays the roles.
pub(crate) const THIS: &str = "fixture::a_process_of_a_scenario";

/// No test of its own: what this executable does where a scenario of a test starts it.
#[test]
fn a_process_of_a_scenario() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    match role.as_str() {
        "server" => serve(port_from_environment()),
        "late server" => {
            let folder = PathBuf::from(std::env::var("FOLDER").unwrap());
            if !folder.join("taken").exists() {
                let port = port_from_environment().to_string();
                std::fs::write(folder.join("wanted.new"), port).unwrap();
                std::fs::rename(folder.join("wanted.new"), folder.join("wanted")).unwrap();
                wait_until("the port is taken", || folder.join("taken").exists());
            }
            serve(port_from_environment());
        }
        "metered server" => serve_metered(port_from_environment()),
        "plimsoll" => {
            let plan = std::fs::read(std::env::var("PLAN").unwrap()).unwrap();
            let plan: Plan = serde_json::from_slice(&plan).unwrap();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let _up = runtime.block_on(up(&plan)).unwrap();
            std::fs::write(plan.root.join("up"), "").unwrap();
            std::thread::sleep(PATIENCE * 2);
        }
        other => panic!("no role {other}"),
    }
}

pub(crate) fn port_from_environment() -> u16 {
    std::env::var("PORT").unwrap().parse().unwrap()
}

/// Answers 503 to the first three requests and 200 to all later ones.
pub(crate) fn serve(port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    std::io::stderr()
        .write_all(format!("listening on {port}\n").as_bytes())
        .unwrap();
    let mut requests = 0;
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        // A mere connection is no request.
        if let Ok(1..) = stream.read(&mut [0; 4096]) {
            requests += 1;
            let status = if requests <= 3 {
                "503 Starting"
            } else {
                "200 OK"
            };
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
        }
    }
}

/// Answers 200 to every request, one thread a connection, and counts those for `/hello`: three
/// hits in four. Tells so at `/metrics`, and ends by itself after `DIE_AFTER_MS`.
fn serve_metered(port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    if let Ok(after_ms) = std::env::var("DIE_AFTER_MS") {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(after_ms.parse().unwrap()));
            std::io::stderr().write_all(b"out of luck\n").unwrap();
            std::process::exit(7);
        });
    }
    let requests = Arc::new(AtomicU64::new(0));
    for stream in listener.incoming() {
        let requests = Arc::clone(&requests);
        std::thread::spawn(move || answer_metered(stream.unwrap(), &requests));
    }
}

fn answer_metered(stream: TcpStream, requests: &AtomicU64) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut stream = stream;
    while let Some(Ok(first)) = lines.next() {
        // A request without a body ends with an empty line.
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let body = match first.starts_with("GET /metrics ") {
            true => {
                let count = requests.load(Ordering::Relaxed);
                let hits = count * 3 / 4;
                format!(
                    "# TYPE requests counter\nrequests_total {count}\n\
                     hits_total{{route=\"/hello/{{id}}\"}} {hits}\nhits_total{{route=\"/\"}} 5\n\
                     size 7\n# EOF\n"
                )
            }
            false => {
                requests.fetch_add(1, Ordering::Relaxed);
                "hello".to_owned()
            }
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// This executable in a role.
pub(crate) fn in_role(name: &str, role: &str, ready: Ready) -> ProcessPlan {
    let exe = std::env::current_exe().unwrap();
    let words = [exe.to_str().unwrap(), THIS, "--exact", "--nocapture"];
    let mut plan = shell(name, "", ready);
    plan.start.words = words.into_iter().map(Template::literal).collect();
    plan.env.insert(ROLE.to_owned(), Template::literal(role));
    plan
}

/// A shell script. `$DIR` and `$PORT` are its folder and its port.
pub(crate) fn shell(name: &str, script: &str, ready: Ready) -> ProcessPlan {
    ProcessPlan {
        name: name.to_owned(),
        build: None,
        prepare: None,
        start: script_command(script),
        ready,
        ready_timeout_ns: 10_000_000_000,
        metrics: None,
        env: BTreeMap::from([
            ("DIR".to_owned(), value(Part::OwnDir)),
            ("PORT".to_owned(), value(Part::OwnPort)),
        ]),
        cwd: None,
        stop_timeout_ns: 2_000_000_000,
        needs: Vec::new(),
    }
}

pub(crate) fn script_command(script: &str) -> CommandPlan {
    CommandPlan {
        words: ["sh", "-c", script]
            .into_iter()
            .map(Template::literal)
            .collect(),
    }
}

pub(crate) fn value(part: Part) -> Template {
    Template { parts: vec![part] }
}

pub(crate) fn plan(root: &Path, processes: Vec<ProcessPlan>) -> Plan {
    Plan {
        name: "test".into(),
        variant: None,
        description: String::new(),
        file: root.join("test.toml"),
        root: root.to_owned(),
        processes,
        target: None,
        http: HttpPlan::default(),
        setup: None,
        teardown: None,
        feeds: BTreeMap::new(),
        flows: BTreeMap::new(),
        loads: Vec::new(),
        mix: BTreeMap::new(),
        default_in_flight: Default::default(),
        phases: PhasePlan {
            warmup_ns: 0,
            measure_ns: 0,
            cooldown_ns: 0,
            drain_ns: 0,
        },
        probes: BTreeMap::new(),
        faults: Vec::new(),
        gates: Vec::new(),
        benches: Vec::new(),
        runs: 1,
        generator: GeneratorLimits::default(),
        hash: String::new(),
    }
}

pub(crate) fn surroundings(root: &Path) -> Surroundings {
    Surroundings::new(
        PathBuf::from(env!("CARGO_BIN_EXE_plimsoll")),
        root.to_owned(),
        Secrets(BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())])),
        reqwest::Client::new(),
    )
}

pub(crate) async fn up(plan: &Plan) -> Result<(Processes, UnboundedReceiver<Exit>), ProcessError> {
    Processes::up(surroundings(&plan.root), plan, &|_| ()).await
}

/// One process that runs this script and is ready at once.
pub(crate) async fn up_with(
    folder: &TempDir,
    script: &str,
) -> (Processes, UnboundedReceiver<Exit>) {
    let process = shell("s", script, Ready::Started);
    up(&plan(folder.path(), vec![process])).await.unwrap()
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The process number that a script wrote to a file.
pub(crate) fn pid(folder: &TempDir, file: &str) -> u32 {
    read(&folder.path().join(file)).trim().parse().unwrap()
}

/// `R`, `S`, `T`, …; `None` for a process that is gone. A zombie is gone as well.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    (state != 'Z').then_some(state)
}

pub(crate) fn is_gone(pid: u32) -> bool {
    state(pid).is_none()
}

pub(crate) fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
