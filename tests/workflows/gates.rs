//! `gate`, and the action that it uses: what each kind of verdict leaves behind.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::api::REPOSITORY;
use crate::origin::{DYING, FICKLE, Origin, SLOW, STEADY};
use crate::runner::{Ended, Runner, TOKEN};
use crate::support::Tested;

const ACTION: &str = ".github/actions/plimsoll";

/// A runner at the event of a pull request from `head` to `base`.
pub(crate) fn at_a_pull_request(
    origin: &Origin,
    base: &str,
    head: &str,
) -> Result<Runner, Box<dyn Error>> {
    Runner::new(
        origin.path(),
        json!({
            "repository": REPOSITORY, "ref": "refs/pull/7/merge", "ref_name": "7/merge", "sha": head,
            "run_id": 99, "run_attempt": 1, "token": TOKEN,
            "event": { "pull_request": { "head": { "sha": head }, "base": { "sha": base } } },
        }),
    )
}

/// The verdicts of an artifact.
pub(crate) fn verdicts(artifact: &Path) -> Result<Vec<Value>, Box<dyn Error>> {
    let text = fs::read_to_string(artifact.join("verdicts.jsonl"))?;
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{error} in {text}").into())
}

/// Gates a change of the service's behaviour, and demands an exit code and a verdict.
fn check(
    behaviour: &str,
    with: Value,
    code: &str,
    verdict: &str,
) -> Result<(Ended, Runner), Box<dyn Error>> {
    let origin = Origin::new(STEADY)?;
    let head = origin.change("topic", &[("behaviour", behaviour)])?;
    let runner = at_a_pull_request(&origin, &origin.main, &head)?;
    let ended = runner.action(ACTION, &with)?;
    let log = &ended.log;
    assert_eq!(ended.outputs["exit-code"], code, "{log}");
    assert_eq!(ended.is_success, code == "0", "{log}");
    let artifact = runner.artifact("plimsoll");
    let verdicts = verdicts(&artifact)?;
    assert_eq!(verdicts[0]["verdict"], verdict, "{log}");
    assert_eq!(verdicts[0]["scenario"], "quickstart");
    for name in ["junit.xml", "plimsoll.sarif", "reports/quickstart"] {
        assert!(artifact.join(name).exists(), "no {name}: {log}");
    }
    // The page of the job says the same.
    assert!(runner.summary().contains("quickstart"), "{log}");
    Ok((ended, runner))
}

#[test]
fn a_change_that_costs_nothing_passes() -> Tested {
    check(
        "delay=0.020 # said in another way\n",
        json!({}),
        "0",
        "pass",
    )?;
    Ok(())
}

/// What is inconclusive passes, unless that is asked otherwise.
#[test]
fn what_is_inconclusive_is_red_where_that_is_asked() -> Tested {
    check(
        FICKLE,
        json!({ "strict": "true", "scenarios": "scenarios/quickstart.toml" }),
        "11",
        "inconclusive",
    )?;
    Ok(())
}

#[test]
fn an_invalid_measurement_is_red() -> Tested {
    check(DYING, json!({}), "13", "invalid")?;
    Ok(())
}

/// What others brought to the base meanwhile is not held against the change.
#[test]
fn a_change_is_gated_against_the_commit_where_it_left_its_base() -> Tested {
    let origin = Origin::new(SLOW)?;
    let head = origin.change("topic", &[("notes", "nothing slower")])?;
    let faster = origin.change("main-later", &[("behaviour", STEADY)])?;
    let runner = at_a_pull_request(&origin, &faster, &head)?;
    let ended = runner.job("gate", "gate")?;
    assert!(ended.is_success, "{}", ended.log);
    let verdicts = verdicts(&runner.artifact("plimsoll"))?;
    let label = verdicts[0]["comparison"]["base_label"].to_string();
    assert!(label.contains(&origin.main[..12]), "{label}");
    Ok(())
}

/// Whatever is wrong with a call is said before anything is built, and nothing is uploaded that could be
/// taken for a result.
#[test]
fn a_mistake_in_the_call_is_said() -> Tested {
    let origin = Origin::new(STEADY)?;
    let check = |base: &str, with: Value, expected: &str| -> Tested {
        let runner = at_a_pull_request(&origin, base, &origin.main)?;
        let ended = runner.action(ACTION, &with)?;
        assert!(!ended.is_success, "{}", ended.log);
        assert!(ended.log.contains(expected), "{}", ended.log);
        let file = runner.artifact("plimsoll").join("verdicts.jsonl");
        assert_eq!(fs::read_to_string(file).unwrap_or_default(), "");
        Ok(())
    };
    let main = &origin.main;
    let unknown = "0123456789012345678901234567890123456789";
    check(unknown, json!({}), "fetch-depth: 0")?;
    check(main, json!({ "strict": "yes" }), "true or false")?;
    check(
        main,
        json!({ "against": "baseline", "budget": "5m" }),
        "a budget is for pairs",
    )?;
    check(
        main,
        json!({ "scenarios": "scenarios/quickstart.toml scenarios/none.toml" }),
        "scenarios/none.toml",
    )?;
    // A name can't become an option.
    check(main, json!({ "scenarios": "--strict" }), "--strict")
}
