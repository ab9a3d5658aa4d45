//! Runs in shards, from outside: each shard a process of its own, as on machines of their own, and their
//! files together as one run.

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plimsoll::harness::engine::{Engine as _, LoadTick, Progress, SubjectEngine};
use plimsoll::harness::scenario::parse;
use serde_json::{Value, json};
use tokio::sync::watch;

use support::http_servers::{Server, ok};
use support::project::{BUSY, Project, wait_until_gone};
use support::schemas::{assert_valid, validator};
use support::{Tested, files, wait};

/// Shards that are started now are ready by then, on a busy machine too.
const AHEAD: SignedDuration = SignedDuration::from_secs(6);
/// So long may a shard take beyond its load.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sixty arrivals a second, each to a place of its own.
fn scenario(url: &str, seconds: u32) -> String {
    format!(
        r#"schema = 1
name = "shop"
url = "{url}"
[[flow.f.step]]
get = "/items/{{$counter}}"
name = "item"
[load.a]
open = {{ rate = "60/s", max_in_flight = 30 }}
{BUSY}
[phases]
warmup = "0s"
measure = "{seconds}s"
cooldown = "0s"
drain = "2s"
[[gate]]
metric = "load.a.mean"
max = "5s"
"#
    )
}

/// A process that is killed where the test ends before it.
struct Shard(Child);

impl Shard {
    /// One of three, by way of `command`, which ends with plimsoll itself.
    fn start(mut command: Command, index: u32, start_at: Timestamp, target: &str) -> Self {
        command
            .args(["worker", "shop.toml", "--target", target])
            .args(["--shard", &format!("{index}/3")])
            .args(["--start-at", &start_at.to_string()])
            .args(["--out", &file(index)])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self(command.spawn().expect("the shard starts"))
    }

    fn signal(&self, signal: Signal) -> Tested {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?);
        Ok(kill(pid, signal)?)
    }

    fn wait(&mut self) -> Result<ExitStatus, Box<dyn Error>> {
        wait::until("the shard ends", PATIENCE, || {
            self.0.try_wait().ok().flatten()
        })
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The file that a shard leaves, in its project's folder.
fn file(index: u32) -> String {
    format!("shard-{index}.json")
}

/// Plimsoll in that project.
fn plimsoll(project: &Project) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command
        .current_dir(project.path())
        .env_remove("PLIMSOLL_STORE");
    command
}

fn start_three(project: &Project, target: &str) -> Vec<Shard> {
    let start_at = Timestamp::now() + AHEAD;
    let shard = |index| Shard::start(plimsoll(project), index, start_at, target);
    (0..3).map(shard).collect()
}

/// Merges files of the project, demands an exit code and gives the verdict.
fn merge(project: &Project, files: &[&str], expected: i32) -> Result<Value, Box<dyn Error>> {
    let args = [&["merge", "--scenario", "shop.toml"], files].concat();
    project.json(&args, expected)
}

/// What a verdict says of shards: `1/3 missing`.
fn faults(verdict: &Value) -> Vec<String> {
    let reasons = verdict["reasons"].as_array().map_or(&[][..], Vec::as_slice);
    let shards = reasons
        .iter()
        .map(|reason| &reason["reason"])
        .filter(|reason| reason["kind"] == "shard");
    let text = |shard: &Value| {
        let kind = shard["fault"]["kind"].as_str().unwrap_or("?");
        format!("{}/{} {kind}", shard["index"], shard["of"])
    };
    shards.map(text).collect()
}

/// What does not depend on how fast anything was.
fn determined(run: &Value) -> Value {
    let load = &run["measurement"]["loads"][0];
    let windows = load["windows"].as_array().map_or(&[][..], Vec::as_slice);
    let windows: Vec<Value> = windows
        .iter()
        // A request that ended a moment after the load opens one more, in which nothing began.
        .filter(|window| window["counts"]["offered"] != 0)
        .map(|window| {
            let rate = window["target_rate"].as_f64().map(f64::round);
            json!([
                window["start_ns"],
                window["length_ns"],
                window["phase"],
                window["counts"],
                rate
            ])
        })
        .collect();
    let requests = load["requests"].as_array().map_or(&[][..], Vec::as_slice);
    let requests: Vec<Value> = requests
        .iter()
        .map(|it| {
            json!([
                it["name"],
                it["statuses"],
                it["errors"],
                it["bytes_received"]
            ])
        })
        .collect();
    json!([
        load["name"],
        load["flow"],
        load["model"],
        load["counts"],
        windows,
        requests
    ])
}

/// The one run that is in a folder of the project.
fn run_in(project: &Project, folder: &str) -> Result<Value, Box<dyn Error>> {
    let found = project.files(folder, "json")?;
    let [only] = found.as_slice() else {
        return Err(format!("{found:?}").into());
    };
    Ok(serde_json::from_str(&fs::read_to_string(only)?)?)
}

#[test]
fn shards_are_one_run_and_no_part_of_them_is() -> Tested {
    let server = Server::answering(|_| ok("ok"));
    let project = Project::new()?;
    project.write("shop.toml", &scenario("http://127.0.0.1:1", 3))?;
    for mut shard in start_three(&project, &server.url()) {
        assert_eq!(shard.wait()?.code(), Some(0));
    }
    // Every arrival is some shard's, and none is two's.
    let numbers = server.seen().into_iter().map(|request| {
        let number = request.path().strip_prefix("/items/")?;
        number.parse::<u64>().ok()
    });
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..180).map(Some).collect::<Vec<_>>());

    let all = [file(0), file(1), file(2)];
    let all = all.each_ref().map(String::as_str);
    let schema = validator("shard");
    let read = |name: &str| -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&fs::read_to_string(
            project.path().join(name),
        )?)?)
    };
    for name in all {
        assert_valid(&schema, &read(name)?);
    }
    let verdict = merge(&project, &[&all[..], &["--out", "merged"]].concat(), 0)?;
    assert_eq!(verdict["verdict"], "pass", "{verdict}");
    assert_eq!(verdict["limits"][0]["holds"], true, "{verdict}");
    let merged = run_in(&project, "merged")?;
    assert_valid(&validator("run"), &merged);
    let shards = merged["measurement"]["loads"][0]["shards"].clone();
    let parts = [0, 1, 2].map(|index| json!({"index": index, "of": 3}));
    assert_eq!(shards, json!(parts));
    // It is kept as any other run, with a page.
    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions[0]["valid_runs"], 1, "{sessions}");
    assert_eq!(project.files("reports", "html")?.len(), 1);

    // But for the generators and the latencies, it is what one worker measures.
    project.write("alone.toml", &scenario(&server.url(), 3))?;
    project.output(&["run", "alone.toml", "--out", "alone"], 0)?;
    assert_eq!(determined(&merged), determined(&run_in(&project, "alone")?));

    let check = |files: &[&str], expected: &[&str]| -> Tested {
        let verdict = merge(&project, files, 13)?;
        assert_eq!(verdict["verdict"], "invalid", "{verdict}");
        assert_eq!(faults(&verdict), expected, "{verdict}");
        Ok(())
    };
    check(&[all[0], all[2]], &["1/3 missing"])?;
    check(&[all[1]], &["0/3 missing", "2/3 missing"])?;
    fs::copy(
        project.path().join(all[2]),
        project.path().join("again.json"),
    )?;
    check(&[all[0], all[1], all[2], "again.json"], &["2/3 twice"])?;
    // What is no shard's file is said, and the shard is missing.
    let text = fs::read_to_string(project.path().join(all[1]))?;
    for (name, broken) in [
        ("cut.json", text[..text.len() / 2].to_owned()),
        (
            "newer.json",
            text.replace("plimsoll.shard/1", "plimsoll.shard/2"),
        ),
        ("empty.json", String::new()),
    ] {
        project.write(name, &broken)?;
        check(&[all[0], name, all[2]], &["1/3 missing"])?;
        let args = ["merge", "--scenario", "shop.toml", all[0], name, all[2]];
        let (_, _, said) = project.output(&args, 13)?;
        assert!(
            said.contains("passing over") && said.contains(name),
            "{said}"
        );
    }
    project.output(&["merge", "--scenario", "shop.toml", "empty.json"], 2)?;
    // Shards of other runs.
    let changed = |name: &str, change: &dyn Fn(&mut Value)| -> Tested {
        let mut shard = read(all[1])?;
        change(&mut shard);
        project.write(name, &shard.to_string())
    };
    let start = read(all[1])?["start_at_ns"].as_u64().ok_or("no start")?;
    let worker = |shard: &mut Value, key: &str, value: Value| {
        shard["workers"][0]["measurement"]["counts"][key] = value;
    };
    changed("hash.json", &|it| {
        it["fingerprint"]["scenario_hash"] = "0".into()
    })?;
    changed("start.json", &|it| {
        it["start_at_ns"] = (start + 5_000_000_000).into()
    })?;
    changed("target.json", &|it| it["target"] = "http://10.0.0.1".into())?;
    changed("counts.json", &|it| worker(it, "completed", 61.into()))?;
    changed("large.json", &|it| worker(it, "offered", u64::MAX.into()))?;
    for (name, expected) in [
        ("hash.json", "1/3 foreign"),
        ("start.json", "1/3 foreign"),
        ("target.json", "1/3 foreign"),
        ("counts.json", "1/3 unsound"),
        ("large.json", "1/3 unsound"),
    ] {
        check(&[all[0], name, all[2]], &[expected])?;
    }
    changed("number.json", &|it| it["shard"]["of"] = 4.into())?;
    check(
        &[all[0], "number.json", all[2]],
        &["1/3 missing", "1/4 foreign"],
    )?;
    // The scenario has changed since.
    project.write("shop.toml", &scenario("http://127.0.0.1:1", 4))?;
    let args = [&["merge", "--scenario", "shop.toml"], &all[..]].concat();
    let (_, _, said) = project.output(&args, 2)?;
    assert!(
        said.contains("none of these shards is of the scenario shop"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_shard_that_is_lost_or_stopped_in_the_middle_is_named() -> Tested {
    let server = Server::answering(|_| ok("ok"));
    let project = Project::new()?;
    project.write("shop.toml", &scenario("http://127.0.0.1:1", 5))?;
    let mut shards = start_three(&project, &server.url());
    wait::until("the load goes on", PATIENCE, || {
        (server.seen().len() > 60).then_some(())
    })?;
    shards[1].signal(Signal::SIGKILL)?;
    shards[2].signal(Signal::SIGTERM)?;
    assert_eq!(shards[0].wait()?.code(), Some(0));
    assert_eq!(shards[1].wait()?.code(), None);
    assert_eq!(shards[2].wait()?.code(), Some(13));
    // Nothing of the lost one goes on.
    wait_until_gone(&project.path().display().to_string())?;
    assert!(!project.path().join(file(1)).exists());
    let all = [file(0), file(1), file(2)];
    let all = all.each_ref().map(String::as_str);
    let verdict = merge(&project, &all, 13)?;
    assert_eq!(
        faults(&verdict),
        ["1/3 missing", "2/3 partial"],
        "{verdict}"
    );
    let args = [&["merge", "--scenario", "shop.toml"], &all[..]].concat();
    let (_, said, _) = project.output(&args, 13)?;
    assert!(said.contains("shard 1/3 is missing"), "{said}");
    assert!(said.contains("shard 2/3 was stopped after"), "{said}");
    Ok(())
}

#[test]
fn what_no_shard_can_do_is_refused_before_it_begins() -> Tested {
    let project = Project::new()?;
    project.write("shop.toml", &scenario("http://127.0.0.1:1", 1))?;
    let soon = (Timestamp::now() + AHEAD).to_string();
    let check = |shard: &str, start: &str, expected: &str| -> Tested {
        let args = [
            "worker",
            "shop.toml",
            "--shard",
            shard,
            "--start-at",
            start,
            "--out",
            "x.json",
        ];
        let (_, _, said) = project.output(&args, 2)?;
        assert!(said.contains(expected), "{said}");
        assert!(!project.path().join("x.json").exists());
        Ok(())
    };
    check("3/3", &soon, "0/3, 1/3 and 2/3 are all of three")?;
    check("0/31", &soon, "30 users for 31 shards")?;
    check("0/3", "2026-01-01T00:00:00Z", "has passed")?;
    check("0/3", "2126-01-01T00:00:00Z", "more than a day away")?;
    check("0/3", "soon", "a time with its zone")?;
    // A whole run is no time to find that out in.
    let missing = [
        "worker",
        "shop.toml",
        "--shard",
        "0/3",
        "--start-at",
        &soon,
        "--out",
        "missing/x.json",
    ];
    let (_, _, said) = project.output(&missing, 2)?;
    assert!(said.contains("missing/x.json"), "{said}");
    Ok(())
}

/// Three workers on one machine, a core each, are one load to whoever looks on.
#[tokio::test(flavor = "multi_thread")]
async fn several_workers_of_one_machine_are_one_load() -> Tested {
    let server = Server::answering(|_| ok("ok"));
    let text = scenario(&server.url(), 3);
    let plans = parse(&text, Path::new("shop.toml")).map_err(|problems| format!("{problems:?}"))?;
    let mut plan = plans.plans[0].clone();
    plan.generator.workers = Some(3);
    let ticks: Mutex<Vec<LoadTick>> = Mutex::new(Vec::new());
    let observe = |progress| {
        if let Progress::Tick(tick) = progress {
            ticks.lock().expect("no panic").extend(tick.loads);
        }
    };
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_plimsoll"));
    let mut engine = SubjectEngine::new(exe, BTreeMap::new());
    let (_stop, never) = watch::channel(false);
    let executed = engine.run(&plan, never, &observe).await?;
    assert_eq!(executed.invalid, []);
    let [load] = executed.measurement.loads.as_slice() else {
        return Err(format!("{:?}", executed.measurement.loads).into());
    };
    let parts: Vec<_> = load
        .shards
        .iter()
        .map(|part| (part.index, part.of))
        .collect();
    assert_eq!(parts, [(0, 3), (1, 3), (2, 3)]);
    assert_eq!(load.generator.cores, 3.0);
    assert_eq!((load.counts.offered, load.counts.completed), (180, 180));
    let ticks = ticks.into_inner()?;
    let of_all = ticks.iter().filter(|tick| {
        tick.target_rate
            .is_some_and(|rate| (rate - 60.0).abs() < 1e-6)
    });
    assert!(of_all.count() >= 2, "{ticks:?}");
    let answered: u64 = ticks.iter().map(|tick| tick.response.count()).sum();
    assert!((100..=180).contains(&answered), "{answered}");
    Ok(())
}

/// Hosts on this machine: network namespaces on a bridge that nothing else is on. They go with the value.
struct Hosts {
    tag: String,
}

impl Hosts {
    /// So many, with the addresses 10.77.0.1, 10.77.0.2, …; the reason where the machine has none.
    fn new(count: u32) -> Result<Result<Self, String>, Box<dyn Error>> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let hosts = Self {
            tag: format!("pl{}", &unique[..6]),
        };
        let switch = hosts.name("switch");
        if let Err(why) = ip(&["netns", "add", &switch]).and_then(|()| hosts.is_allowed(&switch)) {
            return Ok(Err(why));
        }
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
        for number in 1..=count {
            let (host, port) = (hosts.host(number), format!("port{number}"));
            ip(&["netns", "add", &host])?;
            let cable = ["link", "add", &port, "netns", &switch, "type", "veth"];
            ip(&[&cable[..], &["peer", "name", "eth0", "netns", &host]].concat())?;
            ip(&[
                "-n", &switch, "link", "set", &port, "master", "bridge", "up",
            ])?;
            let address = format!("10.77.0.{number}/24");
            ip(&["-n", &host, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
        }
        Ok(Ok(hosts))
    }

    fn is_allowed(&self, namespace: &str) -> Result<(), String> {
        ip(&["netns", "exec", namespace, "true"])
    }

    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.tag)
    }

    fn host(&self, number: u32) -> String {
        self.name(&format!("host{number}"))
    }

    /// What runs a program on a host.
    fn on(&self, number: u32, program: &str, project: &Project) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.host(number), program])
            .current_dir(project.path())
            .env_remove("PLIMSOLL_STORE");
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let namespaces = Command::new("ip").args(["netns", "list"]).output();
        let namespaces =
            namespaces.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for line in namespaces.unwrap_or_default().lines() {
            let name = line.split(' ').next().unwrap_or_default();
            if name.starts_with(&format!("{}-", self.tag)) {
                let _ = ip(&["netns", "delete", name]);
            }
        }
    }
}

/// Calls iproute2; what it said where it refused.
fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("ip {}: {}", args.join(" "), said.trim()))
        }
    }
}

/// Says that a test can't be made here, past what the test runner captures.
fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

const PYTHON_SERVER: &str = r#"
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass

ThreadingHTTPServer.daemon_threads = True
server = ThreadingHTTPServer(("10.77.0.1", 8080), Handler)
open("listens", "w").close()
server.serve_forever()
"#;

/// Four hosts: a server and three that load it. When one of the three is lost, there is no run.
#[test]
fn a_host_that_is_lost_makes_the_run_invalid() -> Tested {
    let hosts = match Hosts::new(4)? {
        Ok(hosts) => hosts,
        Err(why) => {
            let test = "a_host_that_is_lost_makes_the_run_invalid";
            skip(
                test,
                &format!("no network namespaces here (root and iproute2 have them): {why}"),
            );
            return Ok(());
        }
    };
    let project = Project::new()?;
    project.write("shop.toml", &scenario("http://127.0.0.1:1", 4))?;
    project.write("server.py", PYTHON_SERVER)?;
    let mut server = hosts.on(1, "python3", &project);
    let _server = Shard(server.arg("server.py").stdin(Stdio::null()).spawn()?);
    let listens = project.path().join("listens");
    wait::until("the server listens", PATIENCE, || {
        listens.exists().then_some(())
    })?;
    let start = || -> Vec<Shard> {
        let start_at = Timestamp::now() + AHEAD;
        let shard = |index| {
            let command = hosts.on(index + 2, env!("CARGO_BIN_EXE_plimsoll"), &project);
            Shard::start(command, index, start_at, "http://10.77.0.1:8080")
        };
        (0..3).map(shard).collect()
    };
    let all = [file(0), file(1), file(2)];
    let all = all.each_ref().map(String::as_str);

    for mut shard in start() {
        assert_eq!(shard.wait()?.code(), Some(0));
    }
    let verdict = merge(&project, &all, 0)?;
    assert_eq!(verdict["verdict"], "pass", "{verdict}");

    for name in all {
        fs::remove_file(project.path().join(name))?;
    }
    let begun = Timestamp::now();
    let shards = start();
    // In the middle of its load, a host goes: first its network, then all of it.
    let middle = AHEAD + SignedDuration::from_secs(2);
    wait::until("the middle of the load", PATIENCE, || {
        (begun.duration_until(Timestamp::now()) > middle).then_some(())
    })?;
    ip(&["-n", &hosts.host(3), "link", "set", "eth0", "down"])?;
    shards[1].signal(Signal::SIGKILL)?;
    for (index, mut shard) in shards.into_iter().enumerate() {
        let expected = if index == 1 { None } else { Some(0) };
        assert_eq!(shard.wait()?.code(), expected, "shard {index}");
    }
    let verdict = merge(&project, &all, 13)?;
    assert_eq!(faults(&verdict), ["1/3 missing"], "{verdict}");
    let args = [&["merge", "--scenario", "shop.toml"], &all[..]].concat();
    let (_, said, _) = project.output(&args, 13)?;
    assert!(said.contains("shard 1/3 is missing"), "{said}");
    Ok(())
}

/// The lines of docs/SHARDS.md for ssh, as they stand there, on three servers of this machine.
#[test]
fn the_lines_for_ssh_make_a_run() -> Tested {
    const TEST: &str = "the_lines_for_ssh_make_a_run";
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"].map(PathBuf::from);
    let sshd = std::env::var_os("PLIMSOLL_TEST_SSHD")
        .map(PathBuf::from)
        .into_iter()
        .chain(sshd);
    let Some(sshd) = sshd.into_iter().find(|path| path.is_file()) else {
        skip(TEST, "no sshd here; PLIMSOLL_TEST_SSHD names another");
        return Ok(());
    };
    let server = Server::answering(|_| ok("ok"));
    let project = Project::new()?;
    project.write("shop/shop.toml", &scenario("http://127.0.0.1:1", 3))?;
    project.write("shop.toml", &scenario("http://127.0.0.1:1", 3))?;
    let key = |name: &str| -> Tested {
        let keygen = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f", name])
            .current_dir(project.path())
            .status()?;
        assert!(keygen.success());
        Ok(())
    };
    key("host")?;
    key("user")?;
    let at = |name: &str| project.path().join(name).display().to_string();
    let bin = Path::new(env!("CARGO_BIN_EXE_plimsoll"))
        .parent()
        .ok_or("no folder")?;
    let mut client = String::new();
    let mut servers = Vec::new();
    for host in ["a", "b", "c"] {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let config = format!("sshd-{host}");
        project.write(
            &config,
            &format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
                 Subsystem sftp internal-sftp\nSetEnv PATH={}:/usr/bin:/bin\n",
                at("host"),
                at("user.pub"),
                bin.display(),
            ),
        )?;
        let started = Command::new(&sshd)
            .args(["-D", "-e", "-f", &at(&config)])
            .stdin(Stdio::null())
            .stderr(fs::File::create(
                project.path().join(format!("log-{host}")),
            )?)
            .spawn()?;
        servers.push(Shard(started));
        client.push_str(&format!("Host {host}\nHostName 127.0.0.1\nPort {port}\n"));
    }
    client.push_str(&format!(
        "Host *\nIdentityFile {}\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n",
        at("user")
    ));
    project.write("config", &client)?;
    for name in ["ssh", "scp"] {
        let wrapper = format!("bin/{name}");
        project.write(
            &wrapper,
            &format!(
                "#!/bin/sh\nexec /usr/bin/{name} -F {} \"$@\"\n",
                at("config")
            ),
        )?;
        fs::set_permissions(
            project.path().join(&wrapper),
            fs::Permissions::from_mode(0o755),
        )?;
    }
    for host in ["a", "b", "c"] {
        let answers = || {
            let there = Command::new(project.path().join("bin/ssh"))
                .args([host, "true"])
                .output();
            there.ok().filter(|there| there.status.success()).map(drop)
        };
        let within = Duration::from_secs(20);
        wait::until(&format!("host {host} answers"), within, answers).map_err(|error| {
            let log = fs::read_to_string(project.path().join(format!("log-{host}")));
            format!("{error}\n{}", log.unwrap_or_default())
        })?;
    }
    let docs = fs::read_to_string(files::repository("docs/SHARDS.md"))?;
    let lines = docs
        .split("```sh\n")
        .filter_map(|block| block.split("```").next())
        .find(|block| block.contains("ssh \"$host\""))
        .ok_or("docs/SHARDS.md has no lines for ssh")?;
    // What is set for the reader's machines is set for these; all that is done with it stays.
    let (set, done) = lines.split_once("\n\n").ok_or("no settings in front")?;
    assert!(set.lines().all(|line| line.contains('=')), "{set}");
    let set = format!(
        "hosts='a b c'\nfolder='{}'\nscenario=shop.toml\ntarget={}\nahead='8 seconds'\n",
        at("shop"),
        server.url()
    );
    let path = format!("{}:{}:/usr/bin:/bin", at("bin"), bin.display());
    let called = Command::new("bash")
        .args(["-euc", &format!("{set}{done}")])
        .current_dir(project.path())
        .env("PATH", path)
        .env_remove("PLIMSOLL_STORE")
        .output()?;
    let said = String::from_utf8_lossy(&called.stderr);
    let answer = String::from_utf8_lossy(&called.stdout);
    assert!(called.status.success(), "{said}\n{answer}");
    assert!(answer.contains("[PASS] shop"), "{answer}");
    assert_eq!(server.seen().len(), 180);
    drop(servers);
    Ok(())
}
