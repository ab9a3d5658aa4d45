//! Processes of a scenario on real processes: up in order, disturbed, watched, and above all gone
//! in the end.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use plimsoll::harness::engine::Progress;
use plimsoll::harness::engine::process::{
    Ending, ProcessError, Processes, Sampler, build, spawn_under_supervisor,
};
use plimsoll::harness::scenario::{FaultAction, Part, Ready, Template};

use super::fixture::*;

// --- Up and down ----------------------------------------------------------------------------------

#[tokio::test]
async fn processes_come_up_in_order_and_go_down_in_reverse() {
    let folder = folder();
    let scripted = |name: &str| {
        let script = format!(
            "echo up {name} >> order; trap 'echo down {name} >> order; exit 0' TERM; \
             sleep 0.1; echo {name} is ready; while :; do sleep 0.02; done"
        );
        shell(name, &script, Ready::Log(format!("^{name} is ready$")))
    };
    let plan = plan(
        folder.path(),
        ["db", "cache", "service"].map(scripted).into(),
    );
    let seen = Mutex::new(Vec::new());
    let observe = |progress| {
        seen.lock().unwrap().push(match progress {
            Progress::Starting { process } => format!("starting {process}"),
            Progress::Ready { process, after_ns } => {
                assert!(
                    after_ns >= 100_000_000,
                    "{process} was ready before it said so"
                );
                format!("ready {process}")
            }
            other => panic!("{other:?}"),
        });
    };
    let up = Processes::up(surroundings(folder.path()), &plan, &observe);
    let (processes, mut exits) = up.await.unwrap();
    assert!(processes.down().await.is_empty());
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "starting db",
            "ready db",
            "starting cache",
            "ready cache",
            "starting service",
            "ready service"
        ]
    );
    assert_eq!(
        read(&folder.path().join("order")),
        "up db\nup cache\nup service\ndown service\ndown cache\ndown db\n"
    );
    assert!(
        exits.try_recv().is_err(),
        "an end that was asked for is no exit"
    );
}

#[tokio::test]
async fn a_process_is_ready_when_its_port_or_its_path_answers() {
    let folder = folder();
    let processes = vec![
        in_role("tcp", "server", Ready::Tcp),
        in_role("http", "server", Ready::Http("/ready".into())),
        in_role("log", "server", Ready::Log(r"listening on \d+".into())),
    ];
    let (processes, _exits) = up(&plan(folder.path(), processes)).await.unwrap();
    // The one that is ready by HTTP has been asked until it answered with something else than 503.
    for (name, expected) in [("tcp", 503), ("http", 200), ("log", 503)] {
        let answer = reqwest::get(processes.url(name).unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected, "{name}");
    }
    processes.down().await;
}

#[tokio::test]
async fn templates_are_filled_and_the_folder_is_removed() {
    let folder = folder();
    let first = shell("first", "sleep 60", Ready::Started);
    let script = "echo $PORT $FIRST_PORT $FIRST_URL $DIR $(cat $DIR/prepared) $SECRET > values.new; \
         mv values.new values; sleep 60";
    let mut second = shell("second", script, Ready::Started);
    second.prepare = Some(script_command("echo ready-made > $DIR/prepared"));
    second.env.extend([
        ("FIRST_PORT".to_owned(), value(Part::PortOf("first".into()))),
        ("FIRST_URL".to_owned(), value(Part::UrlOf("first".into()))),
        ("SECRET".to_owned(), value(Part::Env("TOKEN".into()))),
    ]);
    let (processes, _exits) = up(&plan(folder.path(), vec![first, second])).await.unwrap();
    let values = folder.path().join("values");
    wait_for("the values are written", || values.exists()).await;
    let values = read(&values);
    let values: Vec<&str> = values.split_whitespace().collect();
    let [port, first_port, first_url, dir, prepared, secret] = values.try_into().unwrap();
    assert_eq!(
        processes.url("second").unwrap(),
        format!("http://127.0.0.1:{port}")
    );
    assert_eq!(processes.url("first").unwrap(), first_url);
    assert!(first_url.ends_with(&format!(":{first_port}")) && first_port != port);
    assert_eq!((prepared, secret), ("ready-made", "hunter2"));
    processes.down().await;
    drop(processes);
    assert!(!Path::new(dir).parent().unwrap().exists());
}

#[tokio::test]
async fn a_process_that_ends_while_it_is_waited_for_is_reported_at_once() {
    let folder = folder();
    let before = shell(
        "before",
        "echo $$ > before; echo up; sleep 60",
        Ready::Log("up".into()),
    );
    let script = "echo token is hunter2; echo no such table >&2; exit 3";
    let service = shell("service", script, Ready::Tcp);
    let began = Instant::now();
    let error = up(&plan(folder.path(), vec![before, service]))
        .await
        .unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5));
    let ProcessError::Exited {
        process,
        status,
        output,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (process.as_str(), status.as_str()),
        ("service", "exit status 3")
    );
    assert_eq!(output, "token is {$env.TOKEN}\nno such table");
    assert!(is_gone(pid(&folder, "before")));
}

#[tokio::test]
async fn an_earlier_process_that_ends_while_a_later_one_is_waited_for_is_reported() {
    let folder = folder();
    let earlier = shell("db", "sleep 0.2; echo out of disk; exit 1", Ready::Started);
    let later = shell("service", "sleep 60", Ready::Tcp);
    let error = up(&plan(folder.path(), vec![earlier, later]))
        .await
        .unwrap_err();
    let ProcessError::Exited {
        process, output, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((process.as_str(), output.as_str()), ("db", "out of disk"));
}

#[tokio::test]
async fn a_preparation_that_does_not_end_is_ended() {
    let folder = folder();
    let mut process = shell("s", "sleep 60", Ready::Started);
    let script = "echo $$ > waiting; echo waiting for a lock; exec sleep 60";
    process.prepare = Some(script_command(script));
    let around = surroundings(folder.path()).with_prepared_within(Duration::from_secs(1));
    let plan = plan(folder.path(), vec![process]);
    let began = Instant::now();
    let error = Processes::up(around, &plan, &|_| ()).await.unwrap_err();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let ProcessError::TooLong {
        process, output, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (process.as_str(), output.as_str()),
        ("s", "waiting for a lock")
    );
    assert!(is_gone(pid(&folder, "waiting")));
}

#[tokio::test]
async fn a_process_that_is_never_ready_says_what_was_waited_for() {
    let folder = folder();
    for (ready, expected) in [
        (Ready::Tcp, "refused"),
        (Ready::Http("/ready".into()), "refused"),
        (
            Ready::Log("^ready$".into()),
            "no line of its output matches `^ready$`",
        ),
    ] {
        let mut process = shell("service", "echo still starting; sleep 60", ready);
        process.ready_timeout_ns = 300_000_000;
        let error = up(&plan(folder.path(), vec![process])).await.unwrap_err();
        let ProcessError::NotReady {
            waited_for, output, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(waited_for.contains(expected), "{waited_for}");
        assert_eq!(output, "still starting");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let folder = folder();
    let mut process = shell("service", "", Ready::Started);
    process.start.words = vec![Template::literal("target/release/no-such-program")];
    let error = up(&plan(folder.path(), vec![process]))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`target/release/no-such-program` for process `service`"),
        "{error}"
    );
    assert!(error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn a_port_that_somebody_took_meanwhile_is_replaced() {
    let folder = folder();
    let mut process = in_role("service", "late server", Ready::Log("listening on".into()));
    let path = Template::literal(folder.path().to_str().unwrap());
    process.env.insert("FOLDER".to_owned(), path);
    let (wanted, taken) = (folder.path().join("wanted"), folder.path().join("taken"));
    let intruder = std::thread::spawn(move || {
        wait_until("a port is wanted", || wanted.exists());
        let port: u16 = read(&wanted).parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        std::fs::write(taken, "").unwrap();
        (listener, port)
    });
    let (processes, _exits) = up(&plan(folder.path(), vec![process])).await.unwrap();
    let (_listener, port) = intruder.join().unwrap();
    let url = processes.url("service").unwrap();
    assert_ne!(url, format!("http://127.0.0.1:{port}"));
    assert!(reqwest::get(url).await.is_ok());
    processes.down().await;
}

#[tokio::test]
async fn a_build_runs_once_and_shows_its_last_lines_when_it_fails() {
    let folder = folder();
    let with_build = |name: &str, script: &str| {
        let mut process = shell(name, "sleep 60", Ready::Started);
        process.build = Some(script_command(script));
        process
    };
    let around = surroundings(folder.path());
    let count = "echo x >> built";
    let twice = plan(
        folder.path(),
        vec![with_build("a", count), with_build("b", count)],
    );
    build(&around, &twice, &|_| ()).await.unwrap();
    assert_eq!(read(&folder.path().join("built")), "x\n");

    let script = "for i in $(seq 100); do echo line $i; done; echo 'error: hunter2'; exit 101";
    let broken = plan(folder.path(), vec![with_build("a", script)]);
    let error = build(&around, &broken, &|_| ()).await.unwrap_err();
    let ProcessError::CommandFailed { status, output, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(status, "exit status 101");
    assert!(
        output.ends_with("line 100\nerror: {$env.TOKEN}"),
        "{output}"
    );
    assert!(!output.contains("line 1\n"));
}

// --- Nothing is left running ----------------------------------------------------------------------

/// Leaves its session by a double fork, ignores SIGTERM, and writes its number.
const DAEMON: &str = "(setsid sh -c 'trap \"\" TERM HUP INT; echo $$ > daemon.new; \
     mv daemon.new daemon; while :; do sleep 0.1; done' &)";

#[tokio::test]
async fn a_daemon_that_ignores_sigterm_is_ended_too() {
    let folder = folder();
    let script = format!("{DAEMON}; echo $$ > main; sleep 60");
    let (processes, _exits) = up_with(&folder, &script).await;
    wait_for("the daemon runs", || folder.path().join("daemon").exists()).await;
    let both = [pid(&folder, "main"), pid(&folder, "daemon")];
    assert!(!both.into_iter().any(is_gone));
    assert!(processes.down().await.is_empty());
    assert!(both.into_iter().all(is_gone));
}

#[tokio::test]
async fn what_a_build_left_running_is_ended() {
    let folder = folder();
    let script = format!("{DAEMON}; while [ ! -e daemon ]; do sleep 0.02; done");
    let mut process = shell("s", "sleep 60", Ready::Started);
    process.build = Some(script_command(&script));
    let plan = plan(folder.path(), vec![process]);
    build(&surroundings(folder.path()), &plan, &|_| ())
        .await
        .unwrap();
    assert!(is_gone(pid(&folder, "daemon")));
}

#[tokio::test]
async fn a_transparent_supervisor_looks_like_its_command_and_leaves_nothing() {
    let folder = folder();
    let exe = Path::new(env!("CARGO_BIN_EXE_plimsoll"));
    let command = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).current_dir(folder.path());
        command.env("GREETING", "hello").env_remove("HOME");
        command
    };
    for (script, status, stdout, stderr) in [
        (
            "echo $GREETING$HOME; echo oh >&2; exit 5",
            5,
            "hello\n",
            "oh\n",
        ),
        ("kill -9 $$", 128 + 9, "", ""),
    ] {
        let (child, _kept) = spawn_under_supervisor(exe, &command(script)).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), stderr);
    }
    let nothing = std::process::Command::new("/no/such/program");
    let (child, _kept) = spawn_under_supervisor(exe, &nothing).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("No such file")
    );

    let script = format!("{DAEMON}; sleep 60");
    let (mut child, kept) = spawn_under_supervisor(exe, &command(&script))
        .await
        .unwrap();
    wait_for("the daemon runs", || folder.path().join("daemon").exists()).await;
    drop(kept);
    child.wait().await.unwrap();
    assert!(is_gone(pid(&folder, "daemon")));
}

#[tokio::test]
async fn dropping_the_processes_ends_them() {
    let folder = folder();
    let up = up_with(&folder, &format!("{DAEMON}; sleep 60")).await;
    wait_for("the daemon runs", || folder.path().join("daemon").exists()).await;
    drop(up);
    let daemon = pid(&folder, "daemon");
    wait_for("the daemon is gone", || is_gone(daemon)).await;
}

#[test]
fn nothing_is_left_after_sigkill_of_plimsoll() {
    let folder = folder();
    let script = format!(
        "echo $DIR > dir; echo $$ > main; {DAEMON}; trap '' TERM; while :; do sleep 0.1; done"
    );
    // A long grace must not keep it alive when nobody waits for it any more.
    let mut process = shell("s", &script, Ready::Started);
    process.stop_timeout_ns = 60_000_000_000;
    let plan = plan(folder.path(), vec![process]);
    let plan_file = folder.path().join("plan");
    std::fs::write(&plan_file, serde_json::to_vec(&plan).unwrap()).unwrap();
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args([THIS, "--exact", "--nocapture"])
        .env(ROLE, "plimsoll")
        .env("PLAN", plan_file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let exists = |name: &str| folder.path().join(name).exists();
    wait_until("all is up", || exists("up") && exists("daemon"));
    let both = [pid(&folder, "main"), pid(&folder, "daemon")];
    let dir = PathBuf::from(read(&folder.path().join("dir")).trim());
    assert!(!both.into_iter().any(is_gone) && dir.exists());

    parent.kill().unwrap();
    parent.wait().unwrap();
    let began = Instant::now();
    wait_until("both are gone", || both.into_iter().all(is_gone));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    wait_until("the folder is gone", || !dir.parent().unwrap().exists());
}

#[test]
fn a_process_inherits_the_environment_without_the_url_of_the_store() {
    let folder = folder();
    let script = "env > environment.new; mv environment.new environment; sleep 60";
    let plan = plan(folder.path(), vec![shell("s", script, Ready::Started)]);
    let plan_file = folder.path().join("plan");
    std::fs::write(&plan_file, serde_json::to_vec(&plan).unwrap()).unwrap();
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args([THIS, "--exact", "--nocapture"])
        .env(ROLE, "plimsoll")
        .env("PLAN", plan_file)
        .env(
            "PLIMSOLL_STORE",
            "postgres://plimsoll:hunter2@127.0.0.1/runs",
        )
        .env("GREETING", "hello")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it is up", || folder.path().join("environment").exists());
    parent.kill().unwrap();
    parent.wait().unwrap();
    let environment = read(&folder.path().join("environment"));
    assert!(environment.contains("GREETING=hello"), "{environment}");
    assert!(!environment.contains("hunter2"), "{environment}");
}

#[tokio::test]
async fn an_end_that_nobody_asked_for_is_told_with_status_and_last_lines() {
    let folder = folder();
    let script = "echo working with hunter2; while [ ! -e die ]; do sleep 0.02; done; kill -9 $$";
    let (processes, mut exits) = up_with(&folder, script).await;
    let before = Instant::now();
    std::fs::write(folder.path().join("die"), "").unwrap();
    let exit = tokio::time::timeout(PATIENCE, exits.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (exit.process.as_str(), exit.ending),
        ("s", Ending::Signal(9))
    );
    assert_eq!(exit.output, "working with {$env.TOKEN}");
    assert!(exit.at >= before && exit.at <= Instant::now());
    processes.down().await;
}

// --- Faults ---------------------------------------------------------------------------------------

#[tokio::test]
async fn a_stopped_process_starts_again_in_its_place() {
    let folder = folder();
    let mut process = in_role("s", "server", Ready::Tcp);
    process.prepare = Some(script_command("echo x >> prepared"));
    let (processes, mut exits) = up(&plan(folder.path(), vec![process])).await.unwrap();
    let url = processes.url("s").unwrap();
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    for end in [FaultAction::Stop, FaultAction::Kill] {
        let before = processes.roots().remove(0);
        processes.carry_out("s", end).await.unwrap();
        wait_for("it is down", || !answers(port)).await;
        wait_for("it is seen to be down", || {
            processes.roots()[0].supervisor.is_none()
        })
        .await;
        processes.carry_out("s", FaultAction::Start).await.unwrap();
        wait_for("it is up again", || answers(port)).await;
        let after = processes.roots().remove(0);
        assert_eq!(after.generation, before.generation + 1);
        assert_ne!(after.supervisor, before.supervisor);
    }
    let prepared = read(&folder.path().join("prepared"));
    assert_eq!(prepared, "x\n", "prepared for the run, not for each start");
    assert!(exits.try_recv().is_err(), "a fault is no exit");
    processes.down().await;
    assert!(!answers(port));
}

#[tokio::test]
async fn a_paused_process_stands_still_with_all_of_its_tree_and_can_still_be_ended() {
    let folder = folder();
    // No loop of commands: a shell whose child is stopped between vfork and exec waits in state D.
    let script = format!("echo $$ > main; {DAEMON}; exec sleep 60");
    let (processes, _exits) = up_with(&folder, &script).await;
    wait_for("all is up", || folder.path().join("daemon").exists()).await;
    let both = [pid(&folder, "main"), pid(&folder, "daemon")];
    let stand_still = || both.iter().all(|pid| state(*pid) == Some('T'));
    processes.carry_out("s", FaultAction::Pause).await.unwrap();
    wait_for("both stand still", stand_still).await;
    processes.carry_out("s", FaultAction::Resume).await.unwrap();
    wait_for("both go on", || {
        both.iter().all(|pid| state(*pid) != Some('T'))
    })
    .await;
    processes.carry_out("s", FaultAction::Pause).await.unwrap();
    wait_for("both stand still", stand_still).await;
    processes.down().await;
    assert!(both.into_iter().all(is_gone));
}

// --- Samples --------------------------------------------------------------------------------------

/// Runs a script that burns processor time, and compares what the samples add up to with what the
/// shell says of itself and of its children. Other processes of the machine slow both alike.
async fn check_processor_time(script: &str) {
    let folder = folder();
    let script = format!("{script}; times > times.new; mv times.new times; sleep 60");
    let (processes, _exits) = up_with(&folder, &script).await;
    let mut sampler = Sampler::default();
    let mut seen_s = 0.0;
    let mut last = processes.roots()[0].started_at;
    let mut done = false;
    while !done {
        done = folder.path().join("times").exists();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (at, sample) = sampler.look(&processes.roots()).remove(0);
        seen_s += sample.cpu_cores * at.duration_since(last).as_secs_f64();
        last = at;
    }
    processes.down().await;
    let times = read(&folder.path().join("times"));
    let seconds = times.split_whitespace().map(|time| -> f64 {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    });
    let truth_s: f64 = seconds.sum();
    assert!(truth_s > 0.2, "too little to tell: {truth_s} s");
    let error = (seen_s / truth_s - 1.0).abs();
    assert!(
        error < 0.15,
        "samples say {seen_s} s, the shell {truth_s} s"
    );
}

#[tokio::test]
async fn processor_time_is_that_of_the_whole_tree_and_of_children_that_came_and_went() {
    check_processor_time("i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done").await;
    // Each child lives for some milliseconds only, so hardly any is there at two looks.
    let child = "sh -c 'i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done'";
    check_processor_time(&format!(
        "n=0; while [ $n -lt 100 ]; do {child}; n=$((n+1)); done"
    ))
    .await;
}

#[tokio::test]
async fn memory_is_that_of_the_whole_tree() {
    let folder = folder();
    let hundred_mib = "(head -c 104857600 /dev/zero; sleep 60) | tail -c 104857600 > /dev/null";
    let (processes, _exits) = up_with(&folder, hundred_mib).await;
    let mut sampler = Sampler::default();
    let mut look = || sampler.look(&processes.roots()).remove(0).1;
    let mut before = 0;
    wait_for("all is there", || {
        let now = look().rss_bytes;
        now > 100 << 20 && std::mem::replace(&mut before, now) == now
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let sample = look();
    processes.down().await;
    let mib = sample.rss_bytes as f64 / f64::from(1 << 20);
    assert!((100.0..130.0).contains(&mib), "{mib} MiB");
    assert!(sample.cpu_cores < 0.3, "{sample:?}");
    assert!(sample.threads >= 3 && sample.fds >= 9, "{sample:?}");
}

#[tokio::test]
async fn a_stopped_process_takes_nothing() {
    let folder = folder();
    let (processes, _exits) = up_with(&folder, "sleep 60").await;
    processes.down().await;
    let (_, sample) = Sampler::default().look(&processes.roots()).remove(0);
    assert_eq!((sample.rss_bytes, sample.threads, sample.fds), (0, 0, 0));
}
