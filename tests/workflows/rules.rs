//! What holds of every workflow and action here, whatever it does.

use std::error::Error;
use std::fs;

use regex::Regex;
use serde_json::{Value, json};

use crate::runner::{object, workflow_file, yaml};
use crate::support::{Tested, files};

/// Every workflow by its name.
fn workflows() -> Result<Vec<(String, Value)>, Box<dyn Error>> {
    let found = files::below(&files::repository(".github/workflows"), "yml")?;
    let named = found.iter().map(|path| {
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.ok_or("no name")?.to_owned();
        Ok((name.clone(), workflow_file(&name)?))
    });
    named.collect()
}

/// Every step of every workflow and action, with the place where it is.
fn steps() -> Result<Vec<(String, Value)>, Box<dyn Error>> {
    let mut all = Vec::new();
    let mut add = |place: &str, steps: &Value| {
        let steps = steps.as_array().into_iter().flatten();
        all.extend(steps.map(|step| (place.to_owned(), step.clone())));
    };
    for (name, workflow) in workflows()? {
        for (job, value) in object(&workflow["jobs"]) {
            add(&format!("{name}/{job}"), &value["steps"]);
        }
    }
    for (name, action) in actions()? {
        add(&name, &action["runs"]["steps"]);
    }
    assert!(all.len() > 40, "{}", all.len());
    Ok(all)
}

/// Every action by its name.
fn actions() -> Result<Vec<(String, Value)>, Box<dyn Error>> {
    let mut all = Vec::new();
    for folder in fs::read_dir(files::repository(".github/actions"))? {
        let name = folder?.file_name().into_string();
        let name = name.map_err(|name| format!("{}", name.display()))?;
        let action = yaml(&format!(".github/actions/{name}/action.yml"))?;
        all.push((name, action));
    }
    assert!(all.len() >= 3, "{all:?}");
    Ok(all)
}

/// A tag can be moved to other code by whoever owns it; a commit can't.
#[test]
fn what_others_wrote_is_named_by_its_commit() -> Tested {
    let pinned = Regex::new(r"uses: [\w-]+/[\w/.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")?;
    let mut versions = std::collections::BTreeMap::new();
    for file in files::below(&files::repository(".github"), "yml")? {
        for line in fs::read_to_string(&file)?.lines() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            if action.starts_with("$/") {
                continue;
            }
            assert!(pinned.is_match(line), "{}: {line}", file.display());
            let (name, version) = action.split_once('@').ok_or("no version")?;
            let one = versions
                .entry(name.to_owned())
                .or_insert(version.to_owned());
            assert_eq!(one, version, "two versions of {name}");
        }
    }
    assert!(versions.len() >= 6, "{versions:?}");
    Ok(())
}

#[test]
fn a_job_may_do_little_and_not_for_ever() -> Tested {
    let writes = json!({
        "comment/post": ["pull-requests"],
        "publish/deploy": ["id-token", "pages"],
        "baselines/propose": ["contents", "pull-requests"],
    });
    for (name, workflow) in workflows()? {
        // Without the key, a job has whatever the repository gives to all.
        let all = workflow["permissions"].as_object();
        let all = all.ok_or(format!("{name} has no permissions"))?;
        assert!(all.values().all(|value| value == "read"), "{name}: {all:?}");
        for (job, value) in object(&workflow["jobs"]) {
            let place = format!("{name}/{job}");
            assert!(value["timeout-minutes"].is_u64(), "{place} has no timeout");
            let written = object(&value["permissions"]).filter(|(_, value)| *value == "write");
            let mut written: Vec<_> = written.map(|(name, _)| name.as_str()).collect();
            written.sort_unstable();
            let expected = writes[&place].as_array().into_iter().flatten();
            assert!(written.iter().eq(expected), "{place} writes {written:?}");
        }
    }
    Ok(())
}

/// A value in a script is a part of the program; in a variable it is a value.
#[test]
fn no_script_has_a_value_of_others_in_its_text() -> Tested {
    for (place, step) in steps()? {
        let script = step["run"].as_str().unwrap_or_default();
        assert!(!script.contains("${{"), "{place}: {script}");
    }
    Ok(())
}

#[test]
fn no_checkout_leaves_a_token_behind() -> Tested {
    let mut seen = 0;
    for (place, step) in steps()? {
        let action = step["uses"].as_str().unwrap_or_default();
        if action.starts_with("actions/checkout@") {
            seen += 1;
            assert_eq!(step["with"]["persist-credentials"], false, "{place}");
        }
    }
    assert!(seen > 8, "{seen}");
    Ok(())
}

/// What runs a change has no secret and can't write; what may write runs none.
#[test]
fn a_change_never_runs_where_something_may_be_written() -> Tested {
    for (name, workflow) in workflows()? {
        let text = workflow.to_string();
        assert!(!text.contains("pull_request_target"), "{name}");
        assert!(!text.contains("secrets."), "{name} has a secret");
        let on = &workflow["on"];
        if on.get("pull_request").is_some() {
            for (job, value) in object(&workflow["jobs"]) {
                let tokens = value.to_string().contains("github.token");
                assert!(!tokens, "{name}/{job} passes the token on");
                assert_eq!(value["permissions"], Value::Null, "{name}/{job}");
            }
        }
        if on.get("workflow_run").is_some() {
            for (place, step) in steps()?
                .iter()
                .filter(|(at, _)| at.starts_with(&format!("{name}/")))
            {
                let own = step["uses"].as_str().is_some_and(|it| it.starts_with("$/"));
                assert!(own, "{place}: {step}");
            }
        }
    }
    Ok(())
}

/// Only the step that asks the API has the token.
#[test]
fn the_token_is_where_it_is_needed() -> Tested {
    for (place, step) in steps()? {
        if step.to_string().contains("github.token") {
            let script = step["run"].as_str().unwrap_or_default();
            assert!(
                script.contains(".github/scripts/") || script.contains("/../../scripts/"),
                "{place}: {step}"
            );
            assert!(!script.contains('\n'), "{place}: {step}");
        }
    }
    Ok(())
}

/// What an expression names without being there is empty, and nobody is told: an `if:` is then never true.
#[test]
fn what_an_expression_names_is_there() -> Tested {
    let needs = Regex::new(r"\bneeds\.([\w-]+)\.outputs\.([\w-]+)")?;
    let mut seen = 0;
    for (name, workflow) in workflows()? {
        let inputs = &workflow["on"]["workflow_dispatch"]["inputs"];
        for (job, value) in object(&workflow["jobs"]) {
            let place = format!("{name}/{job}");
            seen += references(&place, value, &value["steps"], inputs)?;
            for text in texts(value) {
                for found in needs.captures_iter(&text) {
                    let of = &workflow["jobs"][&found[1]]["outputs"];
                    assert!(of.get(&found[2]).is_some(), "{place}: {text}");
                    assert_eq!(value["needs"], found[1], "{place}: {text}");
                }
            }
        }
    }
    for (name, action) in actions()? {
        seen += references(&name, &action, &action["runs"]["steps"], &action["inputs"])?;
    }
    assert!(seen > 30, "{seen}");
    Ok(())
}

/// Counts the references in a job or an action to its steps and inputs, each of which must be there.
fn references(
    place: &str,
    of: &Value,
    steps: &Value,
    inputs: &Value,
) -> Result<usize, Box<dyn Error>> {
    let reference = Regex::new(r"\b(steps|inputs)\.([\w-]+)(?:\.outputs\.([\w-]+))?")?;
    let mut seen = 0;
    for text in texts(of) {
        for found in reference.captures_iter(&text) {
            seen += 1;
            let known = match &found[1] {
                "inputs" => inputs.get(&found[2]).is_some(),
                _ => {
                    let mut steps = steps.as_array().into_iter().flatten();
                    let step = steps.find(|step| step["id"] == found[2]);
                    step.is_some_and(|step| gives(step, found.get(3).map_or("", |it| it.as_str())))
                }
            };
            assert!(known, "{place}: {} in {text}", &found[0]);
        }
    }
    Ok(seen)
}

/// Whether a step has that output: said by its action, or written by its script. Of actions of others the ones that
/// are used are known.
fn gives(step: &Value, output: &str) -> bool {
    let of_others = ["cache-hit", "page_url"];
    if let Some(path) = step["uses"].as_str().and_then(|it| it.strip_prefix("$/")) {
        let action = yaml(&format!("{path}/action.yml"));
        return action.is_ok_and(|action| action["outputs"].get(output).is_some());
    }
    if step["uses"].is_string() {
        return of_others.contains(&output);
    }
    // A script of ours, named in quotes or plainly.
    let script = step["run"].as_str().unwrap_or_default();
    let program = script
        .split(['"', ' '])
        .find(|word| word.ends_with(".sh") || word.ends_with(".py"));
    let file = program.map(|word| word.replace("$GITHUB_ACTION_PATH/../..", ".github"));
    let file = file.map(|word| word.replace("$GITHUB_ACTION_PATH", ".github/actions/plimsoll"));
    let text = file.and_then(|file| fs::read_to_string(files::repository(&file)).ok());
    text.is_some_and(|text| {
        text.contains(&format!("{output}=")) || text.contains(&format!("output(\"{output}\""))
    })
}

/// Every text in a document that has an expression in it, or is one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        Value::Object(all) => {
            let conditions = all.get("if").and_then(Value::as_str).map(str::to_owned);
            let others = all.iter().filter(|(name, _)| *name != "if");
            let others = others.flat_map(|(_, value)| texts(value));
            conditions.into_iter().chain(others).collect()
        }
        Value::String(text) if text.contains("${{") => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// The YAML that a file of the documentation shows.
fn shown(file: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let text = fs::read_to_string(files::repository(file))?;
    let blocks = text.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks
        .map(|block| {
            serde_saphyr::from_str(block)
                .map_err(|error| format!("{file}: {error}\n{block}").into())
        })
        .collect()
}

/// The README and the documentation show actions with the inputs that they have.
#[test]
fn what_the_documentation_shows_is_there() -> Tested {
    for file in ["README.md", "docs/CI.md"] {
        let mut used = 0;
        for document in shown(file)? {
            let mut found = Vec::new();
            collect(&document, &mut found);
            for (name, step) in found {
                used += 1;
                let action = yaml(&format!("{name}/action.yml"))?;
                for (input, _) in object(&step["with"]) {
                    assert!(
                        action["inputs"].get(input).is_some(),
                        "{file} shows {input}"
                    );
                }
            }
        }
        assert!(used > 0, "{file} shows no use of an action");
    }
    Ok(())
}

/// The actions of ours that the steps of a document use, with the steps.
fn collect<'a>(value: &'a Value, found: &mut Vec<(&'a str, &'a Value)>) {
    let uses = value["uses"].as_str().unwrap_or_default();
    if let Some(action) = uses.strip_prefix("OWNER/plimsoll/") {
        found.push((action.split('@').next().unwrap_or_default(), value));
    }
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect(one, found)),
        Value::Object(all) => all.values().for_each(|one| collect(one, found)),
        _ => {}
    }
}

/// Whoever copies a workflow from the documentation gives its jobs no more rights than they have here, and begins them as
/// they begin here.
#[test]
fn the_documentation_shows_the_workflows_of_here() -> Tested {
    let shown = shown("docs/CI.md")?;
    for name in ["gate", "comment"] {
        let is_it = |it: &&Value| it["name"] == name;
        let shown = shown.iter().find(is_it).ok_or(format!("no {name}"))?;
        let ours = workflow_file(name)?;
        assert_eq!(shown["permissions"], ours["permissions"], "{name}");
        for (job, value) in object(&ours["jobs"]) {
            for key in ["permissions", "if", "needs", "outputs"] {
                let shown = &shown["jobs"][job][key];
                assert_eq!(shown, &value[key], "{name}/{job}/{key}");
            }
        }
    }
    Ok(())
}
