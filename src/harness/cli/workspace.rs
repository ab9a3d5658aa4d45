//! Where a call works: the scenarios it means and the history it keeps.

use std::path::{Path, PathBuf};

use crate::harness::scenario::{self, Plan};
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
    found.retain(|path| {
        let scenario = scenario::looks_like_one(path);
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

/// The plans of all files, or the problems of all files at once.
pub fn plans(files: &[PathBuf], variant: Option<&str>, output: &Output) -> Result<Vec<Plan>, Failure> {
    let mut plans = Vec::new();
    let mut problems = String::new();
    for file in files {
        match scenario::load(file, variant) {
            Ok(plan) => plans.push(plan),
            Err(report) => {
                problems.push_str(&diagnostics::render(&report, output.colour_err, output.width));
            }
        }
    }
    if problems.is_empty() { Ok(plans) } else { Err(Failure::Scenario(problems)) }
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
