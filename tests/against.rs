//! `plimsoll gate --against` from outside: real revisions of a project in git, real servers.

mod support;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use support::project::{BUSY, Project, wait_until_gone};
use support::{Tested, git};

/// Starts a server that answers after the time that its build wrote down: the first or the second in
/// turn, from one start to the next, and never the same in the two arms of a pair.
const START: &str = r#"set -eu
read -r delay other < delay.built
echo "target=${CARGO_TARGET_DIR-none}" >> starts.log
turn=$(wc -l < starts.log)
case $PWD in */head) turn=$((turn + 1)) ;; esac
[ $((turn % 2)) = 0 ] || delay=$other
exec env DELAY_S="$delay" python3 "$@"
"#;

/// A build as slow projects have it: what it makes is ignored by git, and it keeps a diary.
const BUILD: &str = r#"set -eu
cp delay.source delay.built
echo "target=${CARGO_TARGET_DIR-none}" >> builds.log
"#;

/// A project in git with one scenario, `scenarios/web.toml`.
struct Repository {
    project: Project,
    server: String,
    worktrees: PathBuf,
    _place: tempfile::TempDir,
}

impl Repository {
    /// With a server that answers after 10 ms, committed.
    fn new() -> Result<Self, Box<dyn Error>> {
        let place = tempfile::tempdir()?;
        let worktrees = place.path().join("worktrees");
        let project = Project::new()?;
        let project = project.with_env("PLIMSOLL_WORKTREES", &worktrees.display().to_string());
        let server = project.marker();
        project.write_server(&server)?;
        project.write("start.sh", START)?;
        project.write("build.sh", BUILD)?;
        project.write("delay.source", "0.010 0.010\n")?;
        project.write(".gitignore", "delay.built\n*.log\n/.plimsoll\n/reports/*\n")?;
        let this = Self {
            project,
            server,
            worktrees,
            _place: place,
        };
        this.write_scenario("web", "regress = \"50%\"")?;
        this.git(&["init", "--quiet", "--initial-branch=main"])?;
        this.commit("begin")?;
        Ok(this)
    }

    fn write_scenario(&self, name: &str, gate: &str) -> Tested {
        let server = &self.server;
        self.project.write(
            &format!("scenarios/{name}.toml"),
            &format!(
                r#"schema = 1
name = "{name}"
[[process]]
name = "web"
build = "sh build.sh"
start = "sh start.sh {server}.py {{port}}"
ready = {{ tcp = true }}
target = true
[[flow.get.step]]
get = "/"
[load.reads]
flow = "get"
closed = {{ users = 8 }}
{BUSY}
[phases]
warmup = "200ms"
measure = "1500ms"
[[gate]]
metric = "load.reads.p50"
{gate}
"#
            ),
        )
    }

    fn git(&self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        git::git(self.project.path(), args)
    }

    fn commit(&self, message: &str) -> Result<String, Box<dyn Error>> {
        git::commit(self.project.path(), message)
    }

    /// Gates with two pairs and gives the verdicts and what was said.
    fn gate(&self, args: &[&str], code: i32) -> Result<(Vec<Value>, String), Box<dyn Error>> {
        let args = [&["gate", "--format", "json", "--pairs", "2"], args].concat();
        let (_, stdout, stderr) = self.project.output(&args, code)?;
        let verdicts = stdout
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>();
        Ok((
            verdicts.map_err(|error| format!("{error} in {stdout}"))?,
            stderr,
        ))
    }

    /// What builds or starts wrote down in one arm's checkout.
    fn diary(&self, arm: &str, file: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let mut places = fs::read_dir(&self.worktrees)?;
        let place = places.next().ok_or("no checkouts")??.path();
        let diary = fs::read_to_string(place.join(arm).join(file))?;
        Ok(diary.lines().map(str::to_owned).collect())
    }
}

/// What judges comes from the base: a change that is slow and brings its own margin gains nothing,
/// and a scenario that it brings can't fail.
#[test]
fn an_uncommitted_slowdown_is_red_whatever_margin_it_brings() -> Tested {
    let repository = Repository::new()?;
    repository.project.write("delay.source", "0.040 0.040\n")?;
    repository.write_scenario("web", "regress = \"900%\"")?;
    repository.write_scenario("new", "max = \"1ms\"")?;
    let before = repository.git(&["status", "--porcelain"])?;

    let (verdicts, said) = repository.gate(&["--against", "HEAD"], 10)?;
    let [web, new] = verdicts.as_slice() else {
        return Err(format!("{verdicts:?}").into());
    };
    assert_eq!(web["verdict"], "fail", "{web}");
    assert_eq!(web["reasons"][0]["kind"], "regressed");
    assert_eq!(web["metrics"][0]["name"], "load.reads.p50");
    assert_eq!(web["metrics"][0]["margin"], 0.5);
    let effect = web["metrics"][0]["effect"].as_f64().ok_or("no effect")?;
    assert!(effect > 1.0, "40 ms against 10 ms is {effect}");
    assert_eq!(web["comparison"]["design"], "paired");
    assert!(
        said.contains("scenarios/web.toml differs in the head"),
        "{said}"
    );
    assert!(
        said.contains("scenarios/new.toml is new in the head"),
        "{said}"
    );
    assert_eq!(new["scenario"], "new");
    assert_eq!(new["exit_code"], 0, "{new}");
    assert_eq!(new["advisory"], true, "{new}");
    let runs = repository.project.json(&["list", "--runs", "latest"], 0)?;
    assert_eq!(runs[0]["arm"], "head", "{runs}");

    // Each arm ran what was built from its own revision, and the tree is as it was.
    let labels = [
        &web["comparison"]["base_label"],
        &web["comparison"]["head_label"],
    ];
    assert!(
        labels[1]
            .as_str()
            .is_some_and(|label| label.contains("+dirty.")),
        "{labels:?}"
    );
    assert_eq!(repository.git(&["diff", "--cached", "--name-only"])?, "");
    let after = repository.git(&["status", "--porcelain"])?;
    let own = |line: &&str| !line.contains(".plimsoll") && !line.contains("reports");
    assert!(
        after.lines().filter(own).eq(before.lines()),
        "{before}{after}"
    );
    Ok(())
}

/// Waivers come from the base too: a change that brings its own gains nothing, until it is merged.
#[test]
fn a_change_can_not_excuse_itself() -> Tested {
    let repository = Repository::new()?;
    repository.project.write(
        "baselines/waivers.toml",
        "[[waiver]]\nscenario = \"web\"\nmetric = \"load.reads.p50\"\nallow = \"100%\"\n\
         reason = \"it is meant to be\"\nexpires = 2999-12-31\n",
    )?;
    repository.project.write("delay.source", "0.018 0.018\n")?;
    let (verdicts, _) = repository.gate(&["--against", "HEAD"], 10)?;
    assert_eq!(verdicts[0]["reasons"][0]["kind"], "regressed");
    assert_eq!(verdicts[0]["metrics"][0]["waiver"], Value::Null);

    repository.git(&["add", "baselines"])?;
    repository.git(&["commit", "--quiet", "-m", "waive"])?;
    let (verdicts, _) = repository.gate(&["--against", "HEAD"], 0)?;
    assert_eq!(verdicts[0]["metrics"][0]["verdict"], "waived");
    Ok(())
}

/// The same in both arms passes, also where git called us from a hook, cargo has a target directory
/// for everybody, and the head has lost the scenario. What was built once stays.
#[test]
fn the_same_in_both_arms_is_never_red_and_built_where_it_was() -> Tested {
    let repository = Repository::new()?;
    let base = repository.git(&["rev-parse", "HEAD"])?.trim().to_owned();
    fs::remove_file(repository.project.path().join("scenarios/web.toml"))?;
    repository.commit("lose the scenario")?;
    let repository = Repository {
        project: repository
            .project
            .with_env("GIT_DIR", ".git")
            .with_env("GIT_INDEX_FILE", "/nowhere/index")
            .with_env("CARGO_TARGET_DIR", "/nowhere/target"),
        ..repository
    };
    for calls in 1..=2 {
        let (verdicts, said) = repository.gate(&["--against", &base], 0)?;
        assert_ne!(verdicts[0]["verdict"], "fail", "{verdicts:?}");
        assert_eq!(
            verdicts[0]["comparison"]["base_runs"]
                .as_array()
                .map(Vec::len),
            Some(2)
        );
        assert!(
            said.contains("scenarios/web.toml is not in the head"),
            "{said}"
        );
        for arm in ["base", "head"] {
            let builds = repository.diary(arm, "builds.log")?;
            assert_eq!(builds, vec!["target=none"; calls], "{arm}");
            // What is started may be `cargo run`.
            let starts = repository.diary(arm, "starts.log")?;
            assert!(starts.len() >= 2 * calls, "{arm}: {starts:?}");
            assert!(
                starts.iter().all(|line| line == "target=none"),
                "{arm}: {starts:?}"
            );
        }
    }
    // Both arms of both calls are in the history, each as it was labelled.
    let sessions = repository.project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions.as_array().map(Vec::len), Some(2), "{sessions}");
    let shown = repository.project.json(&["report", "latest"], 0)?;
    let comparison = &shown["verdict"]["comparison"];
    assert_eq!(comparison["design"], "paired", "{shown}");
    assert_eq!(comparison["base_runs"].as_array().map(Vec::len), Some(2));
    // However they are named, the pairs that were saved give one answer.
    let compared = repository.project.json(&["compare", "latest"], 0)?;
    assert_eq!(compared["comparison"]["metrics"], comparison["metrics"]);
    Ok(())
}

/// What was calibrated here is in the base, with the base's baseline, and the gate knows it.
#[test]
fn what_was_calibrated_is_known_to_the_gate() -> Tested {
    let repository = Repository::new()?;
    let args = ["calibrate", "scenarios/web.toml", "--pairs", "5"];
    let document = repository.project.json(&args, 0)?;
    let s0 = document["metrics"][0]["s0"].as_f64().ok_or("no s0")?;
    repository.commit("calibrate")?;
    let (verdicts, _) = repository.gate(&["--against", "main", "scenarios/web.toml"], 0)?;
    let compared = verdicts[0]["comparison"]["metrics"].as_array();
    let estimate = compared
        .into_iter()
        .flatten()
        .find(|metric| metric["name"] == "load.reads.p50")
        .map(|metric| &metric["estimate"])
        .ok_or("not compared")?;
    let method = estimate["method"].to_string();
    assert!(method.contains("moderated (d0 = 4), 2 pairs"), "{method}");
    // s̃² of two pairs with four degrees of freedom beside them is at least 4/5 of s₀².
    let sd = estimate["sd"].as_f64().ok_or("no sd")?;
    assert!(sd > 0.89 * s0, "{sd} {s0}");
    Ok(())
}

#[test]
fn a_build_that_fails_is_the_base_s_or_the_head_s() -> Tested {
    let repository = Repository::new()?;
    let good = repository.git(&["rev-parse", "HEAD"])?.trim().to_owned();
    repository
        .project
        .write("build.sh", "echo the compiler is unhappy >&2\nexit 3\n")?;
    let (_, said) = repository.gate(&["--against", &good], 1)?;
    assert!(
        said.contains("of the head") && said.contains("the compiler is unhappy"),
        "{said}"
    );

    let broken = repository.commit("break the build")?;
    repository.project.write("build.sh", BUILD)?;
    let (_, said) = repository.gate(&["--against", &broken], 12)?;
    assert!(
        said.contains("of the base") && said.contains("the compiler is unhappy"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_revision_that_is_none_is_a_mistake_of_the_call() -> Tested {
    let repository = Repository::new()?;
    for revision in ["nowhere", "--upload-pack=touch pwned", "HEAD~99", ""] {
        let (_, said) = repository.gate(&[&format!("--against={revision}")], 2)?;
        assert!(said.contains("is no revision here"), "{revision}: {said}");
    }
    let outside = Project::new()?;
    let (_, _, said) = outside.output(&["gate", "--against", "HEAD"], 2)?;
    assert!(said.contains("is not in a git repository"), "{said}");
    Ok(())
}

/// git calls filters and helpers of the project. Where plimsoll's own store is, maybe with a password,
/// is nothing for them.
#[test]
fn git_is_not_told_where_the_store_is() -> Tested {
    let repository = Repository::new()?;
    let seen = repository.worktrees.with_file_name("seen");
    for filter in ["clean", "smudge"] {
        let spy = format!("env >> {}; cat", seen.display());
        repository.git(&["config", &format!("filter.spy.{filter}"), &spy])?;
    }
    repository
        .project
        .write(".gitattributes", "*.spied filter=spy\n")?;
    repository.project.write("new.spied", "text")?;
    let store = repository.worktrees.with_file_name("hunter2.db");
    let store = store.display().to_string();
    let repository = Repository {
        project: repository.project.with_env("PLIMSOLL_STORE", &store),
        ..repository
    };
    // Both are checked out before it is seen that neither has it.
    repository.gate(&["--against", "HEAD", "scenarios/none.toml"], 2)?;
    let seen = fs::read_to_string(seen)?;
    assert!(seen.contains("PATH="), "{seen}");
    assert!(!seen.contains("hunter2"), "{seen}");
    Ok(())
}

/// Two gates at once would check out under each other's feet; an interrupt leaves nothing behind.
#[test]
fn one_gate_at_a_time_and_nothing_left_after_an_interrupt() -> Tested {
    let repository = Repository::new()?;
    let args = ["gate", "--against", "HEAD", "--pairs", "50"];
    let mut running = repository.project.spawn(&args)?;
    repository.project.wait_until_said("measure")?;
    let (_, said) = repository.gate(&["--against", "HEAD"], 1)?;
    assert!(
        said.contains("another gate of this project is at work"),
        "{said}"
    );
    running.interrupt()?;
    let (code, _) = running.finish(Duration::from_secs(30))?;
    assert_eq!(code, Some(13));
    wait_until_gone(&repository.server)
}

/// Also what ends before its first pair has an answer, in the form that was asked for.
#[test]
fn a_gate_that_is_stopped_while_it_builds_has_a_verdict() -> Tested {
    let repository = Repository::new()?;
    repository.project.write("build.sh", "sleep 600\n")?;
    repository.commit("take ten minutes to build")?;
    let args = ["gate", "--against", "HEAD", "--format", "json"];
    let mut running = repository.project.spawn(&args)?;
    repository.project.wait_until_said("building web")?;
    running.interrupt()?;
    let (code, stdout) = running.finish(Duration::from_secs(30))?;
    assert_eq!(code, Some(13), "{stdout}");
    let verdict: Value =
        serde_json::from_str(&stdout).map_err(|error| format!("{error}: {stdout}"))?;
    assert_eq!(verdict["verdict"], "invalid", "{verdict}");
    assert_eq!(verdict["exit_code"], 13);
    assert_eq!(verdict["reasons"][0]["kind"], "partial_run");
    wait_until_gone(&repository.worktrees.display().to_string())
}

/// A server that is fast or slow in turn, and differently in each arm: nothing can be said after two
/// pairs, so more follow, each look at a third of the level.
#[test]
fn what_is_inconclusive_gets_more_pairs_within_the_budget() -> Tested {
    let repository = Repository::new()?;
    repository.project.write("delay.source", "0.005 0.030\n")?;
    repository.commit("be unreliable")?;
    let budget = ["--against", "HEAD", "--budget", "40s"];
    let (verdicts, said) = repository.gate(&budget, 0)?;
    // How it goes on; and what is known so far, how sure it is, and what is asked.
    for line in [
        r"(?m)^web: look 1 of 3 after 2 pairs: 1 metric open; .* of the budget left$",
        r"(?m)^web: open: load\.reads\.p50 \S+\u{202f}% \(\S+ … \S+\u{202f}%, margin [^)]+\)$",
    ] {
        assert!(Regex::new(line)?.is_match(&said), "{line}: {said}");
    }
    assert!(said.contains("web pair 2/2, "), "{said}");
    assert!(said.contains(", at least "), "{said}");
    assert!(said.contains("| 1 open, budget "), "{said}");
    let verdict = &verdicts[0];
    let pairs = verdict["metrics"][0]["n_head"].as_u64().ok_or("no pairs")?;
    assert!(pairs > 2, "{verdict}");
    let alpha = verdict["comparison"]["alpha"].as_f64().ok_or("no level")?;
    assert!((alpha - 0.05 / 3.0).abs() < 1e-12, "{alpha}");
    let warnings = verdict["warnings"].to_string();
    assert!(warnings.contains("of 3, after"), "{warnings}");
    Ok(())
}

/// What can't be gated is refused before anything is built; the remedy is one that helps.
#[test]
fn a_scenario_that_can_not_tell_revisions_apart_is_refused() -> Tested {
    let repository = Repository::new()?;
    let file = "scenarios/web.toml";
    let text = fs::read_to_string(repository.project.path().join(file))?;
    let here = format!("{}/", repository.project.path().canonicalize()?.display());
    let gate = ["--against", "HEAD", file];

    let server = &repository.server;
    let fixed = text.replace(server.as_str(), &format!("{here}{server}"));
    assert_ne!(fixed, text);
    repository.project.write(file, &fixed)?;
    repository.commit("name the server by its absolute path")?;
    let (_, said) = repository.gate(&gate, 2)?;
    assert!(said.contains("the same for both revisions"), "{said}");

    let missing = text.replace("start = \"", "start = \"no-such-program ");
    repository.project.write(file, &missing)?;
    repository.commit("need a program that nobody has")?;
    let (_, said) = repository.gate(&gate, 1)?;
    assert!(
        said.contains("install it") && !said.contains("help:"),
        "{said}"
    );
    Ok(())
}
