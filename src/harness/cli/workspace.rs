//! Where a call works: the scenarios it means and the history it keeps.

use std::path::{Path, PathBuf};

use regex::Regex;

use crate::harness::scenario::{self, Plan, Scenario, ScenarioError};
use crate::harness::store::History;

use super::args::Global;
use super::diagnostics;
use super::failure::Failure;
use super::output::Output;

/// The folder that is looked at where no scenario is named.
pub const SCENARIOS: &str = "scenarios";
/// The history of a project.
const HISTORY: &str = ".plimsoll/history.db";

/// The scenario files that a call means.
#[derive(Debug)]
pub struct Chosen {
    /// The files, sorted where they were found and not named.
    pub files: Vec<PathBuf>,
    /// Whether the person named them.
    pub named: bool,
}

/// The files that were named, or else everything in scenarios/ that is a scenario. What is passed
/// over is said, with the reason.
pub fn choose(named: &[PathBuf], output: &Output) -> Result<Chosen, Failure> {
    if !named.is_empty() {
        return Ok(Chosen { files: named.to_vec(), named: true });
    }
    let remedy = format!(
        "name a scenario file, or put one into {SCENARIOS}/; the README shows the shortest one"
    );
    let entries = std::fs::read_dir(SCENARIOS)
        .map_err(|_| Failure::usage(format!("there is no folder {SCENARIOS}/ here"), remedy.clone()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    found.sort();
    let mark = Regex::new(r"(?m)^\s*schema\s*=").expect("BUG: a constant pattern");
    found.retain(|path| {
        // A file that can't be read is no reason to pass over it: the reading says why.
        let scenario = std::fs::read_to_string(path).map_or(true, |text| mark.is_match(&text));
        if !scenario {
            output.say(&format!("skipping {}: it has no `schema = 1`, so it is no scenario", path.display()));
        }
        scenario
    });
    if found.is_empty() {
        return Err(Failure::usage(format!("there is no scenario in {SCENARIOS}/"), remedy));
    }
    Ok(Chosen { files: found, named: false })
}

/// The scenarios of all files, or the problems of all files at once.
pub fn scenarios(files: &[PathBuf], output: &Output) -> Result<Vec<Scenario>, Failure> {
    let mut scenarios = Vec::new();
    let mut problems = String::new();
    for file in files {
        match scenario::load(file) {
            Ok(scenario) => scenarios.push(scenario),
            Err(ScenarioError::Invalid { path, text, problems: found }) => problems.push_str(
                &diagnostics::render(&path, &text, &found, output.colour_err, output.width),
            ),
            Err(error) => problems.push_str(&format!("error: {error}\n")),
        }
    }
    if problems.is_empty() { Ok(scenarios) } else { Err(Failure::Scenario(problems)) }
}

/// The plans of what was chosen, in the variant that is wanted. A scenario that was found and not
/// named is passed over where it has no such variant; other variants than the one that is taken are
/// said.
pub fn plans(chosen: &Chosen, variant: Option<&str>, output: &Output) -> Result<Vec<Plan>, Failure> {
    let mut plans = Vec::new();
    for scenario in scenarios(&chosen.files, output)? {
        match scenario.plan(variant) {
            Ok(plan) => {
                if variant.is_none() && scenario.variants.len() > 1 && !chosen.named {
                    output.say(&format!(
                        "skipping the variant{} {} of {}: name one with --variant",
                        if scenario.variants.len() > 2 { "s" } else { "" },
                        scenario.variants[1..].join(", "),
                        scenario.name(),
                    ));
                }
                plans.push(plan.clone());
            }
            Err(error) if chosen.named => {
                return Err(Failure::usage(error.to_string(), "see what there is: plimsoll list"));
            }
            Err(error) => output.say(&format!("skipping {}: {error}", scenario.name())),
        }
    }
    Ok(plans)
}

/// Opens the history, which is made where it doesn't exist yet.
pub async fn history(global: &Global) -> Result<History, Failure> {
    let place = global.store.clone().unwrap_or_else(|| HISTORY.to_owned());
    History::open(&place).await.map_err(|error| Failure::tool("opening the history", &error))
}

/// Opens the history where there is one; looking at what is there makes nothing.
pub async fn existing_history(global: &Global) -> Result<Option<History>, Failure> {
    if global.store.is_none() && !Path::new(HISTORY).exists() {
        return Ok(None);
    }
    history(global).await.map(Some)
}
