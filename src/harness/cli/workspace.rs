//! Where a call works: the scenarios it means and the history it keeps.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::harness::model::Run;
use crate::harness::scenario::{self, Code, Plan, Problem, Rejection, nearest};
use crate::harness::store::{History, StoreError};

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
    let found = found_in(Path::new(SCENARIOS), output)?.ok_or_else(|| {
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
///
/// # Errors
/// A folder that can't be read as a whole: a gate of the rest would be green for a scenario less.
pub(super) fn found_in(folder: &Path, output: &Output) -> Result<Option<Vec<PathBuf>>, Failure> {
    let paths: io::Result<Vec<PathBuf>> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    };
    let mut found = paths.map_err(|error| {
        Failure::tool(format!("reading the folder {}", folder.display()), &error)
    })?;
    found.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    found.sort();
    found.retain(|path| {
        let scenario = scenario::looks_like_one(path);
        if !scenario {
            output.warn(&format!(
                "skipping {}: it has no `schema = 1`, so it is no scenario",
                path.display()
            ));
        }
        scenario
    });
    Ok(Some(found))
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
        return distinct(default.collect(), output);
    };
    let scenarios = every(chosen.files.iter().map(|file| scenario::load(file)), output)?;
    let mut plans = Vec::new();
    for (file, scenario) in chosen.files.iter().zip(&scenarios) {
        match scenario.plan_of(variant) {
            Some(plan) => plans.push(plan.clone()),
            None if chosen.named => {
                return Err(Failure::usage(
                    format!("{} has no variant {variant}", file.display()),
                    of_variants(variant, &scenario.variants),
                ));
            }
            None => output.warn(&format!(
                "skipping {}: it has no variant {variant}",
                file.display()
            )),
        }
    }
    distinct(plans, output)
}

/// The plans, if no two files give scenarios of one name.
fn distinct(plans: Vec<Plan>, output: &Output) -> Result<Vec<Plan>, Failure> {
    every(namesakes(&plans).into_iter().map(Err::<(), _>), output)?;
    Ok(plans)
}

/// Files whose scenario has the name of one in a file before it. Baselines, waivers, the history and
/// pages go by the name, so that of two scenarios of one name each would be taken for the other.
pub(super) fn namesakes(plans: &[Plan]) -> Vec<Rejection> {
    let mut known: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut found: Vec<Rejection> = Vec::new();
    for plan in plans {
        let first = *known.entry(&plan.name).or_insert(&plan.file);
        let is_said = found.iter().any(|other| other.file == plan.file);
        if !is_said && !is_same(first, &plan.file) {
            found.push(Rejection {
                file: plan.file.clone(),
                text: String::new(),
                problems: vec![Problem {
                    code: Code::DuplicateName,
                    message: format!(
                        "`{}` is the name of the scenario in {} already",
                        plan.name,
                        first.display()
                    ),
                    span: 0..0,
                    line: 1,
                    column: 1,
                    label: "the same name".to_owned(),
                    help: "give one of them another `name`".to_owned(),
                    related: None,
                }],
            });
        }
    }
    found
}

fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| path.canonicalize().ok();
    one == other || place(one).is_some_and(|one| Some(one) == place(other))
}

/// What to do where a scenario doesn't list a variant.
fn of_variants(variant: &str, listed: &[String]) -> String {
    let known = || listed.iter().map(String::as_str);
    match nearest(variant, known()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if listed.is_empty() => "it lists no variants: run it without --variant".to_owned(),
        None => format!("it lists {}", known().collect::<Vec<_>>().join(", ")),
    }
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
                problems.push_str(&diagnostics::render(&rejection, output.style_err()));
            }
        }
    }
    if problems.is_empty() {
        Ok(good)
    } else {
        Err(Failure::Scenario(problems))
    }
}

/// Keeps a run in the history.
pub(super) async fn keep(history: &History, run: &Run) -> Result<(), Failure> {
    let saved = history.save(run).await;
    saved
        .map(drop)
        .map_err(|error| Failure::tool("saving the run", &error))
}

/// The history can't be read.
pub(super) fn reading(error: StoreError) -> Failure {
    Failure::tool("reading the history", &error)
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_not_be_read_is_not_missing() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("scenarios");
        assert_eq!(found_in(&place, &Output::SILENT).unwrap(), None);
        std::fs::write(&place, "").unwrap();
        let failure = found_in(&place, &Output::SILENT).unwrap_err();
        assert!(matches!(failure, Failure::Tool(text) if text.contains("scenarios")));
    }

    #[test]
    fn two_files_of_one_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, name: &str| {
            let text = format!(
                "schema = 1\nname = \"{name}\"\nvariants = [\"one\", \"two\"]\nurl = \"http://127.0.0.1:1\"\n\
                 [[flow.f.step]]\nget = \"/\"\n[load.a]\nclosed = {{ users = 1 }}\n"
            );
            let path = folder.path().join(file);
            std::fs::write(&path, text).unwrap();
            path
        };
        let check = |files: &[&PathBuf], expected: Option<&str>| {
            for variant in [None, Some("two")] {
                let chosen = Chosen {
                    files: files.iter().copied().cloned().collect(),
                    named: true,
                };
                match (plans(&chosen, variant, &Output::SILENT), expected) {
                    (Ok(plans), None) => assert_eq!(plans.len(), files.len()),
                    (Err(Failure::Scenario(text)), Some(expected)) => {
                        let text = text.replace(['\n', ' ', '│'], "");
                        assert!(text.contains(expected), "{text}");
                    }
                    (other, _) => panic!("{other:?}"),
                }
            }
        };
        let (shop, copy) = (write("shop.toml", "shop"), write("copy.toml", "shop"));
        let other = write("other.toml", "other");
        let again = folder.path().join("./shop.toml");
        check(&[&shop, &other], None);
        check(&[&shop, &again], None);
        check(&[&shop, &other, &copy], Some("copy.toml:1problem"));
    }
}
