//! `baselines` and `publish`: what nobody asked for at that moment, and somebody has to find later.

use std::error::Error;
use std::fs;

use serde_json::{Value, json};

use crate::api::{Api, REPOSITORY};
use crate::origin::{Origin, SLOW, STEADY};
use crate::runner::{Runner, TOKEN};
use crate::support::Tested;
use crate::support::git::{commit, git};

fn on_main(origin: &Origin, sha: &str) -> Result<Runner, Box<dyn Error>> {
    Runner::new(
        origin.path(),
        json!({
            "repository": REPOSITORY, "ref": "refs/heads/main", "ref_name": "main", "sha": sha, "run_id": 101,
            "run_attempt": 1, "token": TOKEN, "event": {},
        }),
    )
}

/// New baselines come as a pull request; a drift is red and changes nothing, until somebody accepts it.
#[test]
fn baselines_are_proposed_and_a_drift_is_not_before_it_is_accepted() -> Tested {
    let origin = Origin::new(STEADY)?;
    let api = Api::new();
    let refresh = |sha: &str, inputs: Value| -> Result<(Runner, bool, String), Box<dyn Error>> {
        let runner = on_main(&origin, sha)?
            .with("inputs", inputs)
            .with_variable("GITHUB_API_URL", &api.url())
            .with_variable("GITHUB_SERVER_URL", "https://github.invalid");
        let refreshed = runner.job("baselines", "refresh")?;
        let needs = json!({ "refresh": { "outputs": refreshed.outputs } });
        if runner.begins("baselines", "propose", needs)? {
            let proposed = runner.job("baselines", "propose")?;
            assert!(proposed.is_success, "{}", proposed.log);
        }
        Ok((runner, refreshed.is_success, refreshed.log))
    };
    let (runner, success, log) = refresh(&origin.main, Value::Null)?;
    assert!(success, "{log}");
    let [pull] = api.pulls().try_into().map_err(|all| format!("{all:?}"))?;
    assert_eq!(pull["head"]["ref"], "plimsoll/baselines");
    assert_eq!(pull["base"]["ref"], "main");
    let body = pull["body"].as_str().ok_or("no body")?;
    assert!(
        body.contains("quickstart") && body.contains("this is the first"),
        "{body}"
    );
    assert_eq!(runner.summary(), body);
    let proposed = "main..plimsoll/baselines";
    let changed = git(origin.path(), &["diff", "--name-only", proposed])?;
    let files: Vec<&str> = changed.lines().collect();
    assert!(
        matches!(files.as_slice(), [file] if file.starts_with("baselines/") && file.ends_with("/quickstart.json")),
        "{files:?}"
    );
    assert_eq!(
        git(origin.path(), &["rev-list", "--count", proposed])?,
        "1\n"
    );

    git(
        origin.path(),
        &["merge", "--quiet", "--ff-only", "plimsoll/baselines"],
    )?;

    // The service got slower, and nobody said why.
    let branch = git(origin.path(), &["rev-parse", "plimsoll/baselines"])?;
    fs::write(origin.path().join("behaviour"), SLOW)?;
    let slow = commit(origin.path(), "slow")?;
    let before = api.pulls();
    let (runner, success, log) = refresh(&slow, Value::Null)?;
    assert!(!success, "{log}");
    assert!(
        runner.summary().contains("--accept load.reads.p50"),
        "{log}"
    );
    assert_eq!(api.pulls(), before);
    assert_eq!(
        git(origin.path(), &["rev-parse", "plimsoll/baselines"])?,
        branch
    );

    // Now somebody does, by hand.
    let by_hand = json!({
        "accept": "load.reads.p50 other.*",
        "reason": "the index \"x\" is gone; $(touch owned) and nobody needs it",
    });
    let (runner, success, log) = refresh(&slow, by_hand)?;
    assert!(success, "{log}");
    assert!(!runner.workspace().join("owned").exists());
    assert_eq!(api.pulls().len(), 1, "renewed, not opened twice");
    let body = api.pulls()[0]["body"].to_string();
    assert!(
        body.contains("load.reads.p50") && body.contains("nobody needs it"),
        "{body}"
    );
    assert_eq!(
        git(origin.path(), &["rev-list", "--count", proposed])?,
        "1\n"
    );
    Ok(())
}

/// What is measured runs the code of every dependency; nothing of what it leaves gets into the branch but baselines.
#[test]
fn only_baselines_get_into_the_branch() -> Tested {
    let origin = Origin::new(STEADY)?;
    let api = Api::new();
    let runner = on_main(&origin, &origin.main)?
        .with_variable("GITHUB_API_URL", &api.url())
        .with_variable("GITHUB_SERVER_URL", "https://github.invalid");
    let files = [
        ("baselines/x.json", "{}\n"),
        ("behaviour", SLOW),
        (".github/scripts/comment.py", "owned\n"),
    ];
    origin.change("left", &files)?;
    let patch = git(origin.path(), &["diff", "--binary", "main..left"])?;
    let left = runner.artifact("baselines");
    fs::create_dir_all(&left)?;
    fs::write(left.join("baselines.patch"), patch)?;
    fs::write(left.join("text.md"), "x\n".repeat(40_000))?;
    let proposed = runner.job("baselines", "propose")?;
    assert!(proposed.is_success, "{}", proposed.log);
    let changed = git(
        origin.path(),
        &["diff", "--name-only", "main..plimsoll/baselines"],
    )?;
    assert_eq!(changed, "baselines/x.json\n");
    let pulls = api.pulls();
    let body = pulls[0]["body"].as_str().ok_or("no body")?;
    assert!(
        body.len() < 65_536 && body.contains("Cut here"),
        "{}",
        body.len()
    );
    Ok(())
}

/// A site with a page of the run, also where a limit is broken.
#[test]
fn what_was_measured_is_published() -> Tested {
    let origin = Origin::new(STEADY)?;
    let scenario = origin.path().join("scenarios/quickstart.toml");
    let text = fs::read_to_string(&scenario)?;
    fs::write(
        &scenario,
        text.replace("regress =", "max = \"1ms\"\nregress ="),
    )?;
    let sha = commit(origin.path(), "promise too much")?;
    let runner = on_main(&origin, &sha)?;
    let ended = runner.job("publish", "site")?;
    assert!(ended.is_success, "{}", ended.log);
    let site = runner.artifact("github-pages");
    let index = fs::read_to_string(site.join("index.html"))?;
    assert!(index.contains("quickstart"), "{index}");
    Ok(())
}
