//! `hyperfine --export-json`: every timed execution of a command is a process of its own, and so a
//! run of its own.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::error::{InterchangeError, Place, Wrong, quoted};
use super::file;
use super::format::Format;
use super::imported::{Imported, ImportedRun};
use super::metric::measured;
use crate::harness::model::{Direction, Unit};

const NS_PER_S: f64 = 1e9;

#[derive(Deserialize)]
struct Export {
    results: Vec<CommandResult>,
}

#[derive(Deserialize)]
struct CommandResult {
    command: String,
    /// Wall-clock seconds, one an execution; some versions leave it out on request.
    #[serde(default)]
    times: Vec<f64>,
    /// `null` where a signal ended it.
    #[serde(default)]
    exit_codes: Vec<Option<i32>>,
}

/// The n-th execution of every command is the n-th run of the file; its metrics are
/// `command.<command>`.
pub(super) fn read(path: &Path, text: &str) -> Result<Imported, InterchangeError> {
    let export: Export = file::json(path, text)?;
    let place = Place::file(path);
    let mut imported = Imported::new(Format::Hyperfine, path.to_owned());
    let mut commands = BTreeSet::new();
    let longest = export.results.iter().map(|result| result.times.len()).max();
    for number in 1..=longest.unwrap_or(0) {
        let name = format!("{}#{number}", path.display());
        imported.runs.push(ImportedRun::new(place.clone(), name));
    }
    for result in &export.results {
        let command = &result.command;
        if !commands.insert(command) {
            return Err(place.wrong(
                format!("command {} comes twice", quoted(command)),
                "tell the two apart with hyperfine's --command-name",
            ));
        }
        if result.times.is_empty() {
            imported.leave(
                quoted(command),
                "the times of its executions are not in the file",
            );
        }
        for (at, seconds) in result.times.iter().enumerate() {
            let code = result.exit_codes.get(at);
            if code.is_some_and(|code| *code != Some(0)) {
                imported.leave(
                    format!("execution {} of {}", at + 1, quoted(command)),
                    "it did not end with exit code 0",
                );
                continue;
            }
            add(&mut imported.runs[at], command, *seconds).map_err(|wrong| wrong.at(&place))?;
        }
    }
    imported.leave(
        "user and system times",
        "hyperfine keeps only their means over all executions",
    );
    imported.runs.retain(|run| !run.metrics.is_empty());
    Ok(imported)
}

fn add(run: &mut ImportedRun, command: &str, seconds: f64) -> Result<(), Wrong> {
    run.add(measured(
        &format!("command.{command}"),
        Unit::Nanoseconds,
        Direction::Lower,
        vec![seconds * NS_PER_S],
        1,
    )?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn only_good_executions_are_runs() {
        let text = r#"{"results":[
            {"command":"a","times":[1,2,3,4],"exit_codes":[0,1,null,0]},
            {"command":"b","times":[5]}, {"command":"c"}]}"#;
        let imported = read(Path::new("h.json"), text).unwrap();
        let runs: Vec<Vec<f64>> = imported
            .runs
            .iter()
            .map(|run| run.metrics.values().filter_map(|m| m.value()).collect())
            .collect();
        assert_eq!(runs, [vec![1e9, 5e9], vec![4e9]]);
        let unused: Vec<&str> = imported.unused.iter().map(|u| u.what.as_str()).collect();
        let second = "execution 2 of \"a\"";
        let third = "execution 3 of \"a\"";
        assert_eq!(unused, [second, third, "\"c\"", "user and system times"]);
    }

    #[test]
    fn two_commands_of_one_name_are_an_error() {
        let text = r#"{"results":[{"command":"a","times":[1]},{"command":"a","times":[2]}]}"#;
        let error = read(Path::new("h.json"), text).unwrap_err().to_string();
        assert!(error.contains("\"a\" comes twice") && error.contains("--command-name"));
    }
}
