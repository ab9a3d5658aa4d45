//! Another duration, rate or number of users for one call: the binary, a real server.

mod support;

use std::error::Error;
use std::fs;

use serde_json::Value;

use support::Tested;
use support::project::{BUSY, Project, PythonServer};

/// A project whose only scenario has a load of each model. As it is written it would take a minute.
fn project(url: &str) -> Result<Project, Box<dyn Error>> {
    let project = Project::new()?;
    project.write(
        "shop.toml",
        &format!(
            r#"schema = 1
name = "shop"
url = "{url}"
[[flow.browse.step]]
get = "/"
[load.reads]
open = {{ rate = "100/s", max_in_flight = 50 }}
allowed_dropped = "5%"
[load.people]
closed = {{ users = 3 }}
{BUSY}
[phases]
warmup = "0s"
measure = "60s"
[[gate]]
metric = "load.reads.mean"
max = "5s"
regress = "900%"
"#
        ),
    )?;
    Ok(project)
}

/// The run that a call wrote into its folder `runs`, which is emptied.
fn run_of(project: &Project) -> Result<Value, Box<dyn Error>> {
    let files = project.files("runs", "json")?;
    let [file] = files.as_slice() else {
        return Err(format!("not one run: {files:?}").into());
    };
    let run = serde_json::from_str(&fs::read_to_string(file)?)?;
    fs::remove_file(file)?;
    Ok(run)
}

#[test]
fn a_call_can_measure_another_duration_rate_and_number_of_users() -> Tested {
    let server = PythonServer::start("ok")?;
    let project = project(&server.url)?;
    let mut hashes = Vec::new();
    for rate in ["reads=20/s", "20/s", "30/s"] {
        let call = [
            "run",
            "shop.toml",
            "--out",
            "runs",
            "--duration",
            "1s",
            "--rate",
            rate,
            "--users",
            "people=1",
        ];
        let verdict = project.json(&call, 0)?;
        let told =
            format!("measured with --duration 1s --rate {rate} --users people=1 in the place");
        let warnings = verdict["warnings"].to_string();
        assert!(warnings.contains(&told), "{warnings}");
        let run = run_of(&project)?;
        hashes.push(run["fingerprint"]["scenario_hash"].clone());
        let loads = &run["measurement"]["loads"];
        let offered = if rate == "30/s" { 30 } else { 20 };
        assert_eq!(
            loads[0]["counts"]["offered"], offered,
            "{}",
            loads[0]["counts"]
        );
        let windows = loads[1]["windows"].as_array().ok_or("no windows")?;
        assert!(!windows.is_empty());
        for window in windows {
            let in_flight = window["in_flight"].as_u64().ok_or("nothing in flight")?;
            assert!(in_flight <= 1, "{window}");
        }
        let mut phases = run["measurement"]["phases"]
            .as_array()
            .into_iter()
            .flatten();
        let measure = phases.find(|span| span["phase"] == "measure");
        let measure = measure.ok_or("no measure phase")?;
        assert_eq!(measure["end_ns"], 1_000_000_000, "{measure}");
    }
    assert_eq!(hashes[0], hashes[1], "said in two ways");
    assert_ne!(hashes[0], hashes[2]);
    // The page says how to do it again.
    let pages = project.files("reports", "html")?;
    assert_eq!(pages.len(), 3);
    for page in pages {
        let page = fs::read_to_string(page)?;
        assert!(page.contains("--duration 1s --rate"), "no command");
    }
    Ok(())
}

#[test]
fn what_fits_no_load_is_wrong_usage_and_measures_nothing() -> Tested {
    // Nobody listens there: whoever measures fails otherwise.
    let project = project("http://127.0.0.1:9")?;
    let refused = |options: &[&str], expected: &str| -> Tested {
        for command in [
            &["run"][..],
            &["gate"],
            &["calibrate"],
            &["baseline", "refresh"],
        ] {
            let call = [command, &["shop.toml"], options].concat();
            let (_, _, told) = project.output(&call, 2)?;
            assert!(told.contains(expected), "{call:?}: {told}");
        }
        Ok(())
    };
    refused(&["--rate", "read=1/s"], "did you mean `reads`?")?;
    refused(
        &["--rate", "people=1/s"],
        "load `people` has users and no rate",
    )?;
    refused(&["--users", "0"], "a number of users is 1 to 100000")?;
    refused(&["--rate", "fast"], "--rate fast: a rate is")?;
    refused(&["--duration", "0s"], "longer than nothing")?;
    assert!(!project.path().join("reports").exists());

    // Of scenarios that nobody named, those that don't fit are passed over.
    fs::create_dir(project.path().join("scenarios"))?;
    fs::rename(
        project.path().join("shop.toml"),
        project.path().join("scenarios/shop.toml"),
    )?;
    // That is no progress, so that --quiet keeps it.
    for quiet in [&[][..], &["--quiet"]] {
        let call = [&["run", "--rate", "other=1/s"], quiet].concat();
        let (_, _, told) = project.output(&call, 2)?;
        assert!(
            told.contains("skipping shop: it has no load `other`"),
            "{told}"
        );
        assert!(told.contains("nothing is left to run"), "{told}");
    }
    Ok(())
}

#[test]
fn a_baseline_counts_for_calls_with_the_same_options() -> Tested {
    let server = PythonServer::start("ok")?;
    let project = project(&server.url)?;
    let options = ["--duration", "1s", "--rate", "50/s", "--runs", "2"];
    let refresh = [
        &["baseline", "refresh", "shop.toml", "--sessions", "1"][..],
        &options,
    ];
    let (_, text, _) = project.output(&refresh.concat(), 0)?;
    assert!(
        text.contains("measured with --duration 1s --rate 50/s"),
        "{text}"
    );
    let gate = [&["gate", "shop.toml"][..], &options].concat();
    let verdict = project.json(&gate, 0)?;
    assert_eq!(
        verdict["metrics"][0]["name"], "load.reads.mean",
        "{verdict}"
    );
    let other: Vec<&str> = gate
        .iter()
        .map(|word| if *word == "50/s" { "40/s" } else { *word })
        .collect();
    let verdict = project.json(&other, 0)?;
    assert_eq!(verdict["metrics"], Value::Array(Vec::new()), "{verdict}");
    assert_eq!(verdict["reasons"][0]["kind"], "no_baseline", "{verdict}");
    Ok(())
}
