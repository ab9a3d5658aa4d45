//! Baselines from outside: refreshed, pinned, and with waivers beside them; the binary, a real server.

mod support;

use std::error::Error;
use std::fs;

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
