//! Where a call works: the scenarios it means and the history it keeps.

use std::path::{Path, PathBuf};

use crate::harness::scenario::{self, Code, Plan, Rejection};
use crate::harness::store::History;

use super::args::Global;
use super::diagnostics;
use super::failure::Failure;
use super::output::Output;

/// The folder that is looked at where no scenario is named.
pub(super) const SCENARIOS: &str = "scenarios";
/// The history of a project.
const HISTORY: &str = ".plimsoll/history.db";

/// The scenario files that a call means.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The files, sorted where they were found and not named.
    pub(super) files: Vec<PathBuf>,
    /// Whether the person named them.
    pub(super) named: bool,
}

/// The files that were named, or else everything in scenarios/ that is a scenario. What is passed
/// over is said, with the reason.
pub(super) fn choose(named: &[PathBuf], output: &Output) -> Result<Chosen, Failure> {
    if !named.is_empty() {
        return Ok(Chosen {
            files: named.to_vec(),
            named: true,
        });
    }
    let remedy = format!(
        "name a scenario file, or put one into {SCENARIOS}/; the README shows the shortest one"
    );
    let found = found_in(Path::new(SCENARIOS), output).ok_or_else(|| {
        Failure::usage(
            format!("there is no folder {SCENARIOS}/ here"),
            remedy.clone(),
        )
    })?;
    if found.is_empty() {
        return Err(Failure::usage(
            format!("there is no scenario in {SCENARIOS}/"),
            remedy,
        ));
    }
    Ok(Chosen {
        files: found,
        named: false,
    })
}

/// The scenario files of a folder, sorted; what is passed over is said. `None` where there is no such
/// folder.
pub(super) fn found_in(folder: &Path, output: &Output) -> Option<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    found.sort();
    found.retain(|path| {
        let scenario = scenario::looks_like_one(path);
        if !scenario {
            output.say(&format!(
                "skipping {}: it has no `schema = 1`, so it is no scenario",
                path.display()
            ));
        }
        scenario
    });
    Some(found)
}

/// The plans of every file in all of its variants, the default one first in each, or the problems of
/// all files at once.
pub(super) fn all_variants(files: &[PathBuf], output: &Output) -> Result<Vec<Vec<Plan>>, Failure> {
    every(files.iter().map(|file| scenario::check(file)), output)
}

/// The plans of what was chosen, in the variant that is wanted, or the problems of all files at once.
/// A scenario that was found and not named is passed over where it has no such variant; variants that
/// are not taken are said.
pub(super) fn plans(
    chosen: &Chosen,
    variant: Option<&str>,
    output: &Output,
) -> Result<Vec<Plan>, Failure> {
    let Some(variant) = variant else {
        let plans = all_variants(&chosen.files, output)?;
        let default = plans.into_iter().filter_map(|plans| {
            let mut plans = plans.into_iter();
            let default = plans.next();
            for other in plans.filter(|_| !chosen.named) {
                output.say(&format!(
                    "skipping {}: a variant runs only where it is named: --variant {}",
                    other.id(),
                    other.variant.as_deref().unwrap_or_default()
                ));
            }
            default
        });
        return Ok(default.collect());
    };
    let plans = chosen
        .files
        .iter()
        .map(|file| match scenario::load(file, Some(variant)) {
            Err(rejection) if !chosen.named && lacks_variant(&rejection) => {
                output.say(&format!(
                    "skipping {}: it has no variant {variant}",
                    file.display()
                ));
                Ok(None)
            }
            other => other.map(Some),
        });
    Ok(every(plans, output)?.into_iter().flatten().collect())
}

fn lacks_variant(rejection: &Rejection) -> bool {
    rejection
        .problems
        .iter()
        .all(|problem| problem.code == Code::UnknownVariant)
}

/// All of them, or what is wrong with all that are wrong.
fn every<T>(
    results: impl Iterator<Item = Result<T, Rejection>>,
    output: &Output,
) -> Result<Vec<T>, Failure> {
    let (mut good, mut problems) = (Vec::new(), String::new());
    for result in results {
        match result {
            Ok(one) => good.push(one),
            Err(rejection) => {
                problems.push_str(&diagnostics::render(
                    &rejection,
                    output.colour_err,
                    output.width,
                ));
            }
        }
    }
    if problems.is_empty() {
        Ok(good)
    } else {
        Err(Failure::Scenario(problems))
    }
}

/// Opens the history, which is made where it doesn't exist yet.
pub(super) async fn history(global: &Global) -> Result<History, Failure> {
    History::open(place(global))
        .await
        .map_err(|error| Failure::tool("opening the history", &error))
}

/// Opens the history where there is one; looking at what is there makes nothing.
pub(super) async fn existing_history(global: &Global) -> Result<Option<History>, Failure> {
    match History::exists(place(global)) {
        true => history(global).await.map(Some),
        false => Ok(None),
    }
}

/// A variable that is set to nothing counts as not set.
fn place(global: &Global) -> &str {
    global
        .store
        .as_deref()
        .filter(|place| !place.is_empty())
        .unwrap_or(HISTORY)
}
