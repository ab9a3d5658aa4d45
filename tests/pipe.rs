//! The whole pipe from outside: the binary, real servers, real signals.

mod support;

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::project::{BUSY, Project, PythonServer, processes_mentioning, wait_until_gone};
use support::servers::Postgres;
use support::{Tested, wait};

/// A scenario of ten lines against a server that is not ours, written in another language.
#[test]
fn ten_lines_against_a_server_in_another_language() -> Tested {
    let server = PythonServer::start("ok")?;
    let project = Project::new()?;
    project.write(
        "shop.toml",
        &format!(
            r#"schema = 1
name = "shop"
url = "{}"
[[flow.browse.step]]
get = "/products"
[load.browse]
open = {{ rate = "100/s", max_in_flight = 50 }}
allowed_dropped = "5%"
{BUSY}
[phases]
warmup = "500ms"
measure = "3s"
[[gate]]
metric = "load.browse.p50"
max = "5s"
"#,
            server.url
        ),
    )?;
    let verdict = project.json(&["run", "shop.toml"], 0)?;
    assert_eq!(verdict["verdict"], "pass");
    assert_eq!(verdict["limits"][0]["holds"], true);

    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions[0]["scenario"], "shop");
    assert_eq!(sessions[0]["valid_runs"], 1);
    let pages = project.files("reports", "html")?;
    assert_eq!(pages.len(), 1, "{pages:?}");
    let page = fs::read_to_string(&pages[0])?;
    assert!(
        page.contains("shop") && page.contains("<svg"),
        "no plots in {:?}",
        pages[0]
    );

    // Every stage can be done again from what was saved, and is called another time.
    let again = project.json(&["report", "latest"], 0)?;
    let warnings = again["verdict"]["warnings"].to_string();
    assert!(warnings.contains("judged anew"), "{warnings}");
    assert_eq!(project.files("reports", "html")?.len(), 2);
    assert_eq!(fs::read_to_string(&pages[0])?, page);
    Ok(())
}

#[test]
fn a_broken_limit_is_exit_10_and_named() -> Tested {
    let (project, _server) = served("slow", "max = \"1us\"")?;
    let verdict = project.json(&["run", "slow.toml"], 10)?;
    assert_eq!(verdict["verdict"], "fail");
    assert_eq!(verdict["reasons"][0]["kind"], "limit_broken");
    assert_eq!(verdict["reasons"][0]["metric"], "load.browse.p50");
    let (_, human, _) = project.output(&["run", "slow.toml"], 10)?;
    assert!(human.contains("load.browse.p50"), "{human}");
    let (_, verdict, progress) = project.output(&["run", "slow.toml", "--quiet"], 10)?;
    assert_eq!((verdict.lines().count(), progress.as_str()), (1, ""));
    assert!(verdict.contains("slow: "), "{verdict}");
    Ok(())
}

#[test]
fn runs_are_kept_in_postgres_where_the_call_says_so() -> Tested {
    let postgres = Postgres::start()?;
    let (project, _server) = served("shop", "max = \"5s\"")?;
    project.json(&["run", "shop.toml", "--store", &postgres.url()], 0)?;
    let there = project.with_env("PLIMSOLL_STORE", &postgres.url());
    let sessions = there.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions[0]["valid_runs"], 1, "{sessions}");
    there.json(&["report", "latest"], 0)?;
    assert!(!project.path().join(".plimsoll/history.db").exists());
    Ok(())
}

/// The target is killed in the middle of a run: invalid, the reason named, earlier runs kept.
#[test]
fn a_target_that_is_killed_makes_the_run_invalid() -> Tested {
    let project = Project::new()?;
    let marker = project.marker();
    project.write_server(&marker)?;
    let scenario = |measure: &str| with_server("fragile", &marker, measure);
    project.write("fragile.toml", &scenario("2s"))?;
    project.json(&["run", "fragile.toml"], 0)?;

    project.write("fragile.toml", &scenario("30s"))?;
    let mut running = project.spawn(&["run", "fragile.toml", "--format", "json"])?;
    // Long enough to be in the middle of the load, whatever the machine.
    project.wait_until_said("measure")?;
    for pid in subjects(&format!("{marker}.py"), "python") {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
    }
    let began = Instant::now();
    let (code, stdout) = running.finish(Duration::from_secs(20))?;
    assert_eq!(code, Some(13), "{stdout}");
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "it went on without a target"
    );
    let verdict: Value = serde_json::from_str(&stdout)?;
    assert_eq!(verdict["verdict"], "invalid");
    assert_eq!(verdict["reasons"][0]["reason"]["kind"], "process_exited");
    assert_eq!(verdict["reasons"][0]["reason"]["process"], "web");
    let sessions = project.json(&["list", "--sessions"], 0)?;
    let valid: u64 = sessions
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| s["valid_runs"].as_u64())
        .sum();
    assert_eq!(valid, 1, "the earlier run is gone: {sessions}");
    assert_eq!(processes_mentioning(&marker), Vec::<i32>::new());
    Ok(())
}

/// `kill -9` of plimsoll during a run: nothing is left behind, the store opens, the runs are there.
#[test]
fn kill_9_of_plimsoll_leaves_nothing_behind() -> Tested {
    let project = Project::new()?;
    let marker = project.marker();
    project.write_server(&marker)?;
    project.write("long.toml", &with_server("long", &marker, "2s"))?;
    let mut running = project.spawn(&["run", "long.toml", "--runs", "50"])?;
    wait::until("a run is kept", Duration::from_secs(30), || {
        let runs = project.json(&["list", "--sessions"], 0).ok()?;
        (runs[0]["runs"].as_u64()? >= 1).then_some(())
    })?;
    wait::until("the next has begun", Duration::from_secs(10), || {
        (!processes_mentioning(&marker).is_empty()).then_some(())
    })?;
    running.kill()?;
    wait_until_gone(&marker)?;
    wait_until_gone(&project.path().display().to_string())?;
    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert!(sessions[0]["runs"].as_u64() >= Some(1), "{sessions}");
    Ok(())
}

/// Ctrl-C keeps what was measured, marks it partial and leaves nothing behind.
#[test]
fn ctrl_c_keeps_what_was_measured() -> Tested {
    let project = Project::new()?;
    let marker = project.marker();
    project.write_server(&marker)?;
    project.write("long.toml", &with_server("long", &marker, "60s"))?;
    let mut running = project.spawn(&["run", "long.toml", "--format", "json"])?;
    project.wait_until_said("measure")?;
    std::thread::sleep(Duration::from_secs(2));
    running.interrupt()?;
    let (code, stdout) = running.finish(Duration::from_secs(15))?;
    assert_eq!(code, Some(13), "{stdout}");
    let verdict: Value = serde_json::from_str(&stdout)?;
    assert_eq!(verdict["reasons"][0]["kind"], "partial_run");
    assert_eq!(processes_mentioning(&marker), Vec::<i32>::new());
    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions[0]["runs"], 1);
    assert_eq!(sessions[0]["valid_runs"], 0);
    Ok(())
}

/// A second Ctrl-C waits for nobody, and leaves nothing behind all the same.
#[test]
fn a_second_ctrl_c_ends_it_at_once() -> Tested {
    let project = Project::new()?;
    let marker = project.marker();
    project.write_server(&marker)?;
    let stubborn = with_server("stubborn", &marker, "60s")
        .replace("python3", "env --ignore-signal=TERM python3")
        .replace("target = true", "target = true\nstop_timeout = \"60s\"");
    project.write("stubborn.toml", &stubborn)?;
    let mut running = project.spawn(&["run", "stubborn.toml"])?;
    project.wait_until_said("measure")?;
    running.interrupt()?;
    project.wait_until_said("stopping: what was measured is kept")?;
    project.wait_until_said("stopping processes")?;
    running.interrupt()?;
    let (code, _) = running.finish(Duration::from_secs(10))?;
    assert_eq!(code, Some(130));
    wait_until_gone(&marker)
}

/// Baseline saved, the service slowed by an injected delay: exit 10 and the metric named;
/// unchanged: exit 0 on repeated tries.
#[cfg(feature = "reference")]
#[test]
fn a_slower_service_fails_the_gate_and_the_same_one_passes() -> Tested {
    let project = Project::new()?;
    project.write(
        "service.toml",
        &format!(
            r#"schema = 1
name = "service"
[[process]]
name = "service"
start = "{} --listen 127.0.0.1:{{port}} --records 1000"
env = {{ REFSERVICE_DATABASE = "", REFSERVICE_REDIS = "", REFSERVICE_RATE_LIMIT = "1000000" }}
ready = {{ http = "/ready" }}
metrics = "/metrics"
target = true
[[flow.read.step]]
get = "/api/v1/clients?limit=5"
[load.reads]
open = {{ rate = "300/s", max_in_flight = 200 }}
allowed_dropped = "5%"
{BUSY}
[phases]
warmup = "500ms"
measure = "2s"
[[gate]]
metric = "load.reads.p50"
regress = "50%"
"#,
            env!("CARGO_BIN_EXE_refservice")
        ),
    )?;
    // A cached answer takes a fraction of a millisecond, of which other tests add half at any time.
    let steady = project.with_env("REFSERVICE_INJECT_DELAY", "20ms");
    let run = ["run", "service.toml", "--runs", "3"];
    for _ in 0..3 {
        // Sessions of a state that nobody named would not count together.
        steady.json(&[&run[..], &["--revision", "1a2b3c4"]].concat(), 0)?;
    }
    project.output(&["baseline", "save", "service"], 0)?;
    assert_eq!(project.files("baselines", "json")?.len(), 1);
    for _ in 0..3 {
        let verdict = steady.json(&["gate", "service.toml", "--runs", "3"], 0)?;
        // Beside other tests it may be too noisy for a pass; the same service is never a failure.
        assert_ne!(verdict["verdict"], "fail", "{verdict}");
        assert_eq!(verdict["metrics"][0]["gating"], true, "{verdict}");
    }
    // Far above what other tests, which share the machine, do to the median.
    let slowed = project.with_env("REFSERVICE_INJECT_DELAY", "200ms");
    let verdict = slowed.json(&["gate", "service.toml", "--runs", "3"], 10)?;
    assert_eq!(verdict["reasons"][0]["kind"], "regressed", "{verdict}");
    assert_eq!(verdict["reasons"][0]["metric"], "load.reads.p50");
    Ok(())
}

/// A shipped scenario on PostgreSQL and Redis, smaller and with the service of these tests: it starts
/// them by itself, uses them, and leaves nothing of them behind.
#[cfg(feature = "reference")]
#[test]
fn a_shipped_scenario_brings_its_own_servers() -> Tested {
    use std::os::unix::fs::PermissionsExt as _;

    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let text = fs::read_to_string(shipped.join("read-heavy.toml"))?;
    let (text, _gates) = text.split_once("[[gate]]").ok_or("no gates")?;
    let mut text = format!(
        "{text}redis = {{ max = \"cache_l2_available\", better = \"higher\" }}\n\
         [[gate]]\nmetric = \"probe.redis\"\nmin = 1\n{BUSY}"
    );
    let search =
        r#"capacity = { from = "2000/s", to = "20000/s", within = "10%", max_in_flight = 1000 }"#;
    let low_rate = "open = { rate = \"100/s\", max_in_flight = 100 }\nallowed_dropped = \"5%\"";
    for (from, to) in [
        ("build = \"cargo build --release --bin refservice\"\n", ""),
        (
            "target/release/refservice",
            env!("CARGO_BIN_EXE_refservice"),
        ),
        ("--records 100000", "--records 10000"),
        ("clients.csv", "clients-1000.csv"),
        (search, low_rate),
        ("warmup = \"5s\"", "warmup = \"1s\"\nmeasure = \"2s\""),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let project = Project::new()?;
    // PostgreSQL, which is another user's process as root, works in a folder below this one.
    fs::set_permissions(project.path(), fs::Permissions::from_mode(0o711))?;
    let here = project.path().display().to_string();
    let project = project.with_env("TMPDIR", &here);
    project.write("plimsoll.toml", "")?;
    project.write("scenarios/read-heavy.toml", &text)?;
    fs::create_dir(project.path().join("scenarios/support"))?;
    for file in ["clients-1000.csv", "support/postgres.sh"] {
        fs::copy(
            shipped.join(file),
            project.path().join("scenarios").join(file),
        )?;
    }
    let scenario = "scenarios/read-heavy.toml";
    let args = ["run", scenario, "--variant", "servers", "--format", "json"];
    let mut running = project.spawn(&args)?;
    project.wait_until_said("measure")?;
    for program in ["postgres", "redis-server", "refservice"] {
        assert!(!subjects(&here, program).is_empty(), "no {program}");
    }
    let (code, stdout) = running.finish(Duration::from_secs(60))?;
    assert_eq!(code, Some(0), "{stdout}");
    let verdict: Value = serde_json::from_str(&stdout)?;
    assert_eq!(verdict["verdict"], "pass", "{verdict}");
    assert_eq!(processes_mentioning(&here), Vec::<i32>::new());
    Ok(())
}

#[test]
fn without_a_baseline_the_gate_says_how_to_save_one() -> Tested {
    let (project, _server) = served("shop", "regress = \"5%\"")?;
    let (_, human, _) = project.output(&["gate", "shop.toml", "--runs", "1"], 0)?;
    assert!(human.contains("plimsoll baseline save"), "{human}");
    project.output(
        &["gate", "shop.toml", "--runs", "1", "--require-baseline"],
        12,
    )?;
    Ok(())
}

/// Request names and URLs full of HTML are text in the report, and a server can't colour our output.
#[test]
fn hostile_names_and_answers_are_text() -> Tested {
    let server = PythonServer::start("<script>alert('body')</script>\u{1b}[31m")?;
    let project = Project::new()?;
    let name = "<img src=x onerror=alert(1)>'\\\"&amp;";
    project.write(
        "hostile.toml",
        &format!(
            r#"schema = 1
name = "hostile"
url = "{}"
[[flow.browse.step]]
name = "{name}"
get = "/%3Cscript%3E?q=<script>alert(2)</script>"
check = {{ body_contains = "never <b>there</b>" }}
[load.browse]
closed = {{ users = 2 }}
{BUSY}
[phases]
warmup = "0s"
measure = "1s"
"#,
            server.url
        ),
    )?;
    // No answer passes its check, which breaks the cap on errors that every load has.
    let (_, human, _) = project.output(&["run", "hostile.toml", "--color", "never"], 10)?;
    assert!(!human.contains('\u{1b}'), "an escape reached the terminal");
    let page = fs::read_to_string(&project.files("reports", "html")?[0])?;
    for forbidden in [
        "<img src=x",
        "<script>alert",
        "<b>there",
        "onerror=alert(1)>",
    ] {
        assert!(
            !page.contains(forbidden),
            "{forbidden} stands in the page as HTML"
        );
    }
    assert!(page.contains("&lt;img src=x"), "the name is not shown");
    let (_, _, said) = project.output(&["report", "\u{1b}[31mnowhere"], 2)?;
    assert!(
        said.contains("nowhere") && !said.contains('\u{1b}'),
        "{said:?}"
    );
    Ok(())
}

/// `plimsoll run` without arguments runs what is in scenarios/ and says what it skips and why.
#[test]
fn without_arguments_what_is_in_scenarios_is_run() -> Tested {
    let (project, _server) = served("scenarios/one", "max = \"5s\"")?;
    project.write("scenarios/notes.toml", "title = \"not a scenario\"\n")?;
    project.write(
        "scenarios/absent.toml",
        r#"schema = 1
name = "absent"
[[process]]
name = "web"
start = "a-program-that-nobody-has --port {port}"
target = true
[[flow.browse.step]]
get = "/"
[load.browse]
closed = { users = 1 }
"#,
    )?;
    let (_, _, stderr) = project.output(&["run"], 0)?;
    assert!(
        stderr.contains("notes.toml") && stderr.contains("absent"),
        "{stderr}"
    );
    assert!(stderr.contains("a-program-that-nobody-has"), "{stderr}");
    // Named, the same is an error with a remedy and not a skip.
    let (_, _, stderr) = project.output(&["run", "scenarios/absent.toml"], 1)?;
    assert!(stderr.contains("a-program-that-nobody-has"), "{stderr}");
    Ok(())
}

/// An empty gate would be green for the wrong reason.
#[test]
fn nothing_to_run_is_no_pass() -> Tested {
    let (project, _server) = served("scenarios/one", "max = \"5s\"")?;
    let (_, _, stderr) = project.output(&["gate", "--variant", "nobodys"], 2)?;
    assert!(
        stderr.contains("nobodys") && stderr.contains("nothing is left to run"),
        "{stderr}"
    );
    Ok(())
}

#[test]
fn a_list_tells_how_loads_arrive() -> Tested {
    let project = Project::new()?;
    project.write("t.csv", "seconds\n6\n7\n")?;
    let head = "schema = 1\nurl = \"http://127.0.0.1:9\"\n[[flow.browse.step]]\nget = \"/\"\n";
    project.write(
        "mixed.toml",
        &format!(
            "{head}[mix]\nopen = {{ rate = \"10/s\", arrivals = \"poisson\" }}\n[load.a]\nweight = 2\n\
             [load.b]\nweight = 1\n[load.recorded]\nopen = {{ trace = \"t.csv\" }}\n"
        ),
    )?;
    project.write(
        "line.toml",
        &format!(
            "{head}[load.api]\ncapacity = {{ from = \"100/s\", to = \"9000/s\" }}\n\
             [[gate]]\nmetric = \"load.api.p95\"\nmax = \"1s\"\n"
        ),
    )?;
    let listed = |args: &[&str]| -> Result<String, Box<dyn Error>> {
        let (_, text, _) = project.output(args, 0)?;
        Ok(text.replace('\u{202f}', " "))
    };
    let mixed = listed(&["list", "mixed.toml"])?;
    for expected in [
        "load a: flow browse, open, up to 6.67/s at random, at most 10 in flight (weight 2 of the mix)",
        "load recorded: flow browse, open, 2 recorded arrivals, at most 10 in flight",
        "takes 35.0 s a run",
    ] {
        assert!(mixed.contains(expected), "{mixed}");
    }
    let line = listed(&["list", "line.toml", "--metrics"])?;
    for expected in [
        "looks for its capacity from 100/s to 9000/s, each rate for 20.0 s",
        "load.api.capacity (/s)",
        "load.api.p95 (ns)",
    ] {
        assert!(line.contains(expected), "{line}");
    }
    assert!(
        !line.contains("a run") && !line.contains("load.api.rate"),
        "{line}"
    );
    Ok(())
}

#[test]
fn a_shell_completes_what_is_typed() -> Tested {
    let project = Project::new()?;
    let (_, script, _) = project.output(&["completions", "bash"], 0)?;
    let typed = "COMP_WORDS=(plimsoll base) COMP_CWORD=1; _plimsoll plimsoll base plimsoll";
    let shell = std::process::Command::new("bash")
        .args(["-c", &format!("{script}\n{typed}; echo ${{COMPREPLY[@]}}")])
        .output()?;
    let said = String::from_utf8_lossy(&shell.stderr);
    assert_eq!(String::from_utf8(shell.stdout)?, "baseline\n", "{said}");
    Ok(())
}

/// Passing over what has no such variant may not pass over what is wrong.
#[test]
fn a_scenario_with_a_mistake_is_not_one_without_the_variant() -> Tested {
    let project = Project::new()?;
    project.write("scenarios/none.toml", "schema = 1\n[[bench]]\n")?;
    let listed = "schema = 1\nvariants = [\"embedded\", \"servers\"]\n[[bench]]\n";
    let process = "[[process]]\nname = \"redis\"\nvariant = \"servrs\"\nstart = \"redis\"\n";
    project.write("scenarios/typo.toml", &format!("{listed}{process}"))?;
    let (_, _, stderr) = project.output(&["run", "--variant", "servers"], 2)?;
    assert!(stderr.contains("there is no variant `servrs`"), "{stderr}");
    project.write("scenarios/typo.toml", listed)?;
    for (file, remedy) in [
        ("scenarios/none.toml", "without --variant"),
        ("scenarios/typo.toml", "did you mean servers?"),
    ] {
        let (_, _, stderr) = project.output(&["run", file, "--variant", "server"], 2)?;
        assert!(
            stderr.contains("no variant server") && stderr.contains(remedy),
            "{stderr}"
        );
    }
    Ok(())
}

/// Both arms in one session are told apart by their labels, and a run is never compared with itself.
#[test]
fn arms_of_one_session_are_told_apart() -> Tested {
    let (project, _server) = served("one", "regress = \"500%\"")?;
    for (arm, pair) in [("base", "1"), ("head", "1"), ("head", "2"), ("base", "2")] {
        project.output(
            &[
                "run",
                "one.toml",
                "--session",
                "s",
                "--arm",
                arm,
                "--pair",
                pair,
            ],
            0,
        )?;
    }
    for both in [&["compare", "s"][..], &["compare", "s", "s"]] {
        let verdict = project.json(both, 0)?;
        let compared = &verdict["comparison"];
        assert_eq!(compared["design"], "paired", "{both:?}: {verdict}");
        assert_eq!(
            compared["base_runs"].as_array().map(Vec::len),
            Some(2),
            "{verdict}"
        );
        assert_ne!(compared["base_runs"], compared["head_runs"]);
    }
    project.output(&["run", "one.toml", "--session", "t"], 0)?;
    let (_, _, stderr) = project.output(&["compare", "t", "t"], 2)?;
    assert!(stderr.contains("is in both arms"), "{stderr}");
    Ok(())
}

#[test]
fn fifteen_mistakes_are_shown_in_one_go() -> Tested {
    let project = Project::new()?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/fifteen.toml");
    let problems = project.json(&["check", file], 2)?;
    assert_eq!(problems.as_array().map(Vec::len), Some(15), "{problems:#}");
    let (_, _, stderr) = project.output(&["run", file], 2)?;
    for problem in problems.as_array().into_iter().flatten() {
        let code = problem["code"].as_str().ok_or("a problem without a code")?;
        assert!(stderr.contains(code), "{code} is not shown:\n{stderr}");
    }
    Ok(())
}

/// It changes nothing of what the exit code has to say.
#[test]
fn a_reader_that_goes_away_is_no_failure() -> Tested {
    let project = Project::new()?;
    project.write("bad.toml", "schema = 1\nname = \"bad\"\nurll = \"\"\n")?;
    for (args, expected) in [
        ("schema", 0),
        ("check bad.toml", 2),
        ("check bad.toml --format json", 2),
    ] {
        // A pipe whose reading end is closed before anything is written.
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(args.split(' '))
            .current_dir(project.path())
            .stdout(writer)
            .status()?;
        assert_eq!(status.code(), Some(expected), "{args}");
    }
    Ok(())
}

/// A scenario that starts the Python server of the project and keeps two users busy with it.
fn with_server(name: &str, marker: &str, measure: &str) -> String {
    format!(
        r#"schema = 1
name = "{name}"
[[process]]
name = "web"
start = "python3 {marker}.py {{port}}"
ready = {{ http = "/" }}
target = true
[[flow.browse.step]]
get = "/"
[load.browse]
closed = {{ users = 2 }}
{BUSY}
[phases]
warmup = "200ms"
measure = "{measure}"
"#
    )
}

/// A server in another language, and a project whose scenario `path`.toml keeps two users busy with it
/// and gates their median.
fn served(path: &str, gate: &str) -> Result<(Project, PythonServer), Box<dyn Error>> {
    let server = PythonServer::start("ok")?;
    let project = Project::new()?;
    let name = path.rsplit('/').next().unwrap_or(path);
    let scenario = format!(
        r#"schema = 1
name = "{name}"
url = "{}"
[[flow.browse.step]]
get = "/"
[load.browse]
closed = {{ users = 2 }}
{BUSY}
[phases]
warmup = "0s"
measure = "2s"
[[gate]]
metric = "load.browse.p50"
{gate}
"#,
        server.url
    );
    project.write(&format!("{path}.toml"), &scenario)?;
    Ok((project, server))
}

/// The subject itself, not the supervisor that has its command line among its arguments.
fn subjects(marker: &str, program: &str) -> Vec<nix::unistd::Pid> {
    processes_mentioning(marker)
        .into_iter()
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.starts_with(program))
        })
        .map(nix::unistd::Pid::from_raw)
        .collect()
}
