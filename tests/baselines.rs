//! Baselines from outside: refreshed, pinned, and with waivers beside them; the binary, a real server.

mod support;

use std::error::Error;
use std::fs;

use jiff::SignedDuration;
use plimsoll::harness::model::{Arm, Run, RunId};
use plimsoll::harness::store::{Baseline, History, Query};
use serde_json::Value;

use support::Tested;
use support::project::{BUSY, Project};

const SCENARIO: &str = "shop.toml";
const METRIC: &str = "load.browse.mean";

/// A project with a server whose answers take DELAY_S, and a margin on how long they take.
fn project(margin: &str) -> Result<Project, Box<dyn Error>> {
    let project = Project::new()?;
    let marker = project.marker();
    project.write_server(&marker)?;
    project.write(
        SCENARIO,
        &format!(
            r#"schema = 1
name = "shop"
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
measure = "2s"
[[gate]]
metric = "{METRIC}"
regress = "{margin}"
"#
        ),
    )?;
    Ok(project)
}

const REFRESH: [&str; 5] = ["baseline", "refresh", SCENARIO, "--runs", "2"];

fn baseline_file(project: &Project) -> Result<std::path::PathBuf, Box<dyn Error>> {
    let files = project.files("baselines", "json")?;
    let mut files = files
        .into_iter()
        .filter(|file| !file.components().any(|part| part.as_os_str() == "anchors"));
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        other => Err(format!("not one baseline: {other:?}").into()),
    }
}

/// The first baseline is made; one that drifts is refused and changes nothing; the command that is
/// named accepts it without measuring again; the anchor remembers.
#[test]
fn a_drift_is_refused_until_it_is_accepted() -> Tested {
    let project = project("50%")?;
    let quick = project.with_env("DELAY_S", "0.01");
    let slow = project.with_env("DELAY_S", "0.03");

    let (_, text, _) = quick.output(&REFRESH, 0)?;
    assert!(text.contains("this is the first"), "{text}");
    let file = baseline_file(&project)?;
    let first = fs::read_to_string(&file)?;
    let baseline: Value = serde_json::from_str(&first)?;
    assert_eq!(baseline["sessions"].as_array().map(Vec::len), Some(3));
    project.output(&["baseline", "pin", "shop", "--as", "v1.0"], 0)?;
    let (_, _, stderr) = project.output(&["baseline", "pin", "--as", "v1.0"], 2)?;
    assert!(stderr.contains("pinned already"), "{stderr}");

    let refused = slow.json(&[&REFRESH[..], &["--output", "pr.md"]].concat(), 10)?;
    assert_eq!(refused[0]["outcome"], "refused", "{refused}");
    assert_eq!(refused[0]["refused"][0], METRIC, "{refused}");
    assert_eq!(
        fs::read_to_string(&file)?,
        first,
        "the old file was touched"
    );
    let text = fs::read_to_string(project.path().join("pr.md"))?;
    let row = text
        .lines()
        .find(|line| line.starts_with(&format!("| `{METRIC}` |")));
    assert!(
        row.is_some_and(|row| row.contains("**regressed**")),
        "{text}"
    );
    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions.as_array().map(Vec::len), Some(6), "{sessions}");

    let command = refused[0]["command"].as_str().ok_or("no command")?;
    let words = shell_words::split(command)?;
    assert!(text.contains(command), "{command} is not in {text}");
    let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let accepted = project.json(&words, 0)?;
    assert_eq!(accepted[0]["outcome"], "written", "{accepted}");
    let baseline: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    assert_eq!(baseline["accepted"][0]["metric"], METRIC);
    assert!(baseline["accepted"][0]["reason"].is_string(), "{baseline}");
    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions.as_array().map(Vec::len), Some(6), "measured again");

    // As slow as the baseline, and far from the anchor: told, and no failure.
    let verdict = slow.json(&["gate", SCENARIO, "--runs", "3"], 0)?;
    assert_ne!(verdict["metrics"][0]["verdict"], "regressed", "{verdict}");
    assert_eq!(verdict["anchors"][0]["name"], "v1.0");
    assert_eq!(
        verdict["anchors"][0]["metrics"][0]["verdict"], "regressed",
        "{verdict}"
    );
    let (_, shown, _) = project.output(&["report", "latest"], 0)?;
    assert!(shown.contains("Against anchor v1.0"), "{shown}");
    let pages = project.files("reports", "html")?;
    let page = fs::read_to_string(pages.last().ok_or("no page")?)?;
    assert!(page.contains("Changes against anchors"), "not on the page");
    let (_, shown, _) = project.output(&["baseline", "show"], 0)?;
    assert!(shown.contains("anchors v1.0"), "{shown}");
    Ok(())
}

fn waiver(allow: &str, expires: &str) -> String {
    format!(
        "[[waiver]]\nscenario = \"shop\"\nmetric = \"load.*\"\nallow = \"{allow}\"\n\
         reason = \"until the new cache is there\"\nexpires = {expires}\n"
    )
}

/// A waiver excuses as much as it says and as long; then the gate is red again.
#[test]
fn a_waiver_excuses_so_much_and_for_so_long() -> Tested {
    let project = project("15%")?;
    project.with_env("DELAY_S", "0.02").output(&REFRESH, 0)?;
    let write = |text: &str| project.write("baselines/waivers.toml", text);

    // A mistake costs no measurement: nothing is run.
    write(&waiver("many", "2999-12-31"))?;
    let (_, _, stderr) = project.output(&["gate", SCENARIO], 2)?;
    assert!(stderr.contains("waivers.toml"), "{stderr}");
    let problems = project.json(&["check", SCENARIO], 2)?;
    assert_eq!(problems[0]["code"], "scenario::wrong-unit", "{problems}");
    assert_eq!(problems[0]["line"], 4, "{problems}");
    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions.as_array().map(Vec::len), Some(3), "{sessions}");

    // About half as slow again.
    write(&waiver("95%", "2999-12-31"))?;
    let slow = project.with_env("DELAY_S", "0.03");
    let verdict = slow.json(&["gate", SCENARIO, "--runs", "3"], 0)?;
    assert_eq!(verdict["metrics"][0]["verdict"], "waived", "{verdict}");
    assert_eq!(verdict["reasons"][0]["kind"], "waived", "{verdict}");
    assert_eq!(verdict["metrics"][0]["waiver"]["expires"], "2999-12-31");
    let (_, shown, _) = project.output(&["report", "latest"], 0)?;
    assert!(shown.contains("until the new cache is there"), "{shown}");

    // The same runs in the light of other waivers.
    let again = |expected, standing: Option<&str>| -> Tested {
        let verdict = project.json(&["compare", "baseline", "latest"], expected)?;
        let found = verdict["metrics"][0]["waiver"]["standing"].as_str();
        assert_eq!(found, standing, "{verdict}");
        Ok(())
    };
    again(0, Some("holds"))?;
    write(&waiver("20%", "2999-12-31"))?;
    again(10, Some("exceeded"))?;
    write(&waiver("95%", "2020-01-01"))?;
    again(10, Some("expired"))?;
    let (_, _, stderr) = project.output(&["check", SCENARIO], 0)?;
    assert!(stderr.contains("expired on 2020-01-01"), "{stderr}");
    fs::remove_file(project.path().join("baselines/waivers.toml"))?;
    again(10, None)
}

/// Baselines, waivers and the history go by the name: two scenarios of one name would be one.
#[test]
fn two_files_of_one_name_are_a_mistake() -> Tested {
    let project = project("50%")?;
    let text = fs::read_to_string(project.path().join(SCENARIO))?;
    project.write("copy.toml", &text)?;
    let problems = project.json(&["check", SCENARIO, "copy.toml"], 2)?;
    assert_eq!(problems.as_array().map(Vec::len), Some(1), "{problems}");
    assert_eq!(problems[0]["code"], "scenario::duplicate-name");
    assert_eq!(problems[0]["file"], "copy.toml");
    let (_, _, stderr) = project.output(&["run", SCENARIO, "copy.toml"], 2)?;
    assert!(stderr.contains("another `name`"), "{stderr}");
    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions, Value::Array(Vec::new()));
    Ok(())
}

/// Copies of the only run in the history, changed and saved beside it; gives the run.
fn copied(project: &Project, copies: impl FnOnce(&Run) -> Vec<Run>) -> Result<Run, Box<dyn Error>> {
    let place = project.path().join(".plimsoll/history.db");
    tokio::runtime::Runtime::new()?.block_on(async {
        let history = History::open(&place.display().to_string()).await?;
        let found = history.find(&Query::default()).await?;
        let run = history.get(found.last().ok_or("no run")?.id).await?;
        for copy in copies(&run) {
            history.save(&copy).await?;
        }
        history.close().await;
        Ok(run)
    })
}

fn copy(of: &Run, session: &str, later_min: i64) -> Run {
    Run {
        id: RunId::now(),
        session: session.to_owned(),
        started_at: of.started_at + SignedDuration::from_mins(later_min),
        ..of.clone()
    }
}

/// A history that is shared with other machines, and that holds what can't be a baseline.
#[test]
fn a_baseline_is_of_this_machine_and_of_one_state_of_the_code() -> Tested {
    let project = project("50%")?;
    project.output(&["run", SCENARIO], 0)?;
    let mut elsewhere = None;
    let here = copied(&project, |run| {
        let mut other = copy(run, "elsewhere", 3);
        other.fingerprint.kernel = "another".to_owned();
        elsewhere = Some(other.clone());
        let mut head = copy(run, "head", 4);
        head.arm = Some(Arm::Head);
        head.fingerprint.scenario_hash = "another".to_owned();
        let mut aborted = copy(run, "aborted", 5);
        aborted.scenario = "a-try".to_owned();
        aborted.partial = true;
        vec![copy(run, "unnamed", -60), other, head, aborted]
    })?;
    let elsewhere = elsewhere.ok_or("nothing was copied")?;
    let sessions = || -> Result<Vec<Value>, Box<dyn Error>> {
        let file = baseline_file(&project)?;
        let machine = here.fingerprint.machine_id();
        assert!(file.ends_with(format!("{machine}/shop.json")), "{file:?}");
        let baseline: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        let sessions = baseline["sessions"].as_array().into_iter().flatten();
        Ok(sessions.map(|one| one["session"].clone()).collect())
    };

    let (_, _, said) = project.output(&["baseline", "save"], 0)?;
    assert!(said.contains("skipping a-try"), "{said}");
    assert_eq!(sessions()?, [here.session.as_str()]);
    assert!(said.contains("1 other run left out"), "{said}");
    assert!(said.contains("--revision TEXT"), "{said}");
    project.output(&["baseline", "save", "a-try"], 2)?;

    copied(&project, |_| {
        let named = [("one", 10), ("two", 20)].map(|(session, later_min)| Run {
            revision: Some("1a2b3c4".to_owned()),
            ..copy(&here, session, later_min)
        });
        named.to_vec()
    })?;
    project.output(&["baseline", "save", "shop"], 0)?;
    assert_eq!(sessions()?, ["one", "two"]);

    // Of saved sessions a refresh takes each once, and one state of the code.
    let refresh = |sessions: [&str; 2], expected| {
        let [one, other] = sessions;
        let named = ["--session", one, "--session", other];
        project.output(&[&REFRESH[..3], &named].concat(), expected)
    };
    let (_, _, stderr) = refresh(["one", "one"], 2)?;
    assert!(stderr.contains("named twice"), "{stderr}");
    let (_, _, stderr) = refresh(["one", "unnamed"], 2)?;
    assert!(stderr.contains("different states of the code"), "{stderr}");
    refresh(["one", "two"], 0)?;

    // After an update of the kernel: what there was says so, and is compared with no more.
    fs::remove_file(baseline_file(&project)?)?;
    let folder = project.path().join("baselines");
    let old = Baseline::from_runs(&[elsewhere])?.save(&folder)?;
    let (_, _, stderr) = project.output(&["compare", "baseline", "one"], 2)?;
    assert!(stderr.contains("kernel was another, is "), "{stderr}");
    let (_, text, _) = refresh(["one", "two"], 0)?;
    assert!(text.contains("this is the first"), "{text}");
    assert!(text.contains("kernel was another, is "), "{text}");
    fs::remove_file(old)?;
    assert_eq!(sessions()?, ["one", "two"]);
    Ok(())
}
