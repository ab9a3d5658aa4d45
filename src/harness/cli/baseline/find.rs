//! The baselines and the history that a call means.

use std::path::{Path, PathBuf};

use crate::harness::cli::args::Global;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::workspace;
use crate::harness::store::{Baseline, History};

/// A baseline file, or the baselines of a scenario on every machine that has one.
pub(super) fn named(name: &str, folder: &Path) -> Result<Vec<(PathBuf, Baseline)>, Failure> {
    let path = Path::new(name);
    if path.is_file() {
        return Ok(vec![(path.to_owned(), load(path)?)]);
    }
    let mut found = all(folder)?;
    found.retain(|(_, baseline)| baseline.scenario == name);
    if found.is_empty() {
        return Err(Failure::usage(
            format!("there is no baseline of `{name}` in {}", folder.display()),
            format!(
                "see what there is: plimsoll baseline show; or save one: plimsoll baseline save {name}"
            ),
        ));
    }
    Ok(found)
}

/// The one that a name means.
pub(super) fn only(
    mut found: Vec<(PathBuf, Baseline)>,
    name: &str,
) -> Result<(PathBuf, Baseline), Failure> {
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(Failure::usage(
            format!("several machines have a baseline of `{name}`"),
            "name the file: plimsoll baseline show",
        )),
    }
}

/// Every baseline of every machine.
pub(super) fn all(folder: &Path) -> Result<Vec<(PathBuf, Baseline)>, Failure> {
    let paths =
        Baseline::list(folder).map_err(|error| Failure::tool("listing baselines", &error))?;
    paths
        .into_iter()
        .map(|path| Ok((path.clone(), load(&path)?)))
        .collect()
}

fn load(path: &Path) -> Result<Baseline, Failure> {
    Baseline::load(path).map_err(|error| Failure::tool("reading the baseline", &error))
}

/// The history, which must be there.
pub(super) async fn existing(global: &Global) -> Result<History, Failure> {
    workspace::existing_history(global)
        .await?
        .ok_or_else(|| no_runs("this project"))
}

/// There is nothing to make a baseline from.
pub(super) fn no_runs(of: &str) -> Failure {
    Failure::usage(
        format!("the history has no valid runs of {of}"),
        "make some: plimsoll run --runs 5; see what there is: plimsoll list --sessions",
    )
}
