//! `plimsoll baseline save`: sessions from the store as the baseline of their scenario.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::harness::cli::args::Global;
use crate::harness::cli::compare::plan_of;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::cli::session::names_a_state;
use crate::harness::cli::workspace::reading;
use crate::harness::engine::machine;
use crate::harness::gate::exit;
use crate::harness::model::{Run, same_state};
use crate::harness::report::{format, text};
use crate::harness::stats::SESSIONS_NEEDED;
use crate::harness::store::{Baseline, History, Query, RunSummary};

use super::find::{existing, no_runs};

/// A line of names is cut there.
const MAX_NAMED_CHARS: usize = 300;

/// Saves the newest sessions of what is named, or of every scenario of the history.
pub(super) async fn save(
    global: &Global,
    output: &Output,
    scenarios: &[String],
    sessions: usize,
    folder: &Path,
) -> Result<u8, Failure> {
    let history = existing(global).await?;
    let wanted = match scenarios {
        [] => in_history(&history).await?,
        named => named.to_vec(),
    };
    let mut saved = Vec::new();
    for scenario in &wanted {
        let shown = text::one_line(scenario);
        let machine = machine_here(&history, scenario, output).await?;
        let newest = newest_sessions(&history, scenario, machine.as_deref(), sessions).await?;
        let Some(newest) = newest else {
            if !scenarios.is_empty() {
                return Err(no_runs(scenario));
            }
            output.warn(&format!(
                "skipping {shown}: it has no valid run, or only heads of comparisons"
            ));
            continue;
        };
        let runs = &newest.runs;
        let baseline = Baseline::from_runs(runs)
            .map_err(|error| Failure::tool(format!("making the baseline of {scenario}"), &error))?;
        let path = baseline
            .save(folder)
            .map_err(|error| Failure::tool("saving the baseline", &error))?;
        output.say(&format!(
            "{shown}: {} with {} saved to {}; review and commit it",
            format::counted(baseline.sessions.len() as u64, "session"),
            format::counted(runs.len() as u64, "run"),
            path.display()
        ));
        if let Some(machine) = &newest.elsewhere {
            output.warn(&format!(
                "  measured under the conditions of {machine}, which are not those of this machine now: no gate here takes it"
            ));
        }
        if newest.left_out > 0 {
            let left_out = format::counted(newest.left_out as u64, "other run");
            let revision = newest.revision.as_deref();
            output.warn(&match names_a_state(revision) {
                true => format!(
                    "  all of revision {}; {left_out} left out",
                    text::one_line(revision.unwrap_or_default())
                ),
                false => format!(
                    "  its revision is unknown, so only its own session is taken and {left_out} left out; commit first, or \
                     name it: --revision TEXT"
                ),
            });
        }
        let remedy = "run the scenario again, best on another day, and save again";
        if let Some(remark) = few_sessions(baseline.sessions.len(), remedy) {
            output.warn(&format!("  {remark}"));
        }
        let partly = baseline.partly_measured();
        if !partly.is_empty() {
            output.warn(&format!(
                "  not every run could measure {}, so nothing can be compared with it; longer runs could",
                text::shown(&partly.join(", "), MAX_NAMED_CHARS)
            ));
        }
        saved.push(json!({
            "scenario": scenario,
            "file": path,
            "sessions": baseline.sessions.len(),
            "runs": runs.len(),
        }));
    }
    if saved.is_empty() {
        return Err(no_runs("this project"));
    }
    if output.is_json() {
        output.answer_json(&saved)?;
    }
    Ok(exit::PASS)
}

/// What a baseline of so few sessions means, where it is too few.
pub(super) fn few_sessions(sessions: usize, remedy: &str) -> Option<String> {
    (sessions < SESSIONS_NEEDED).then(|| {
        format!(
            "its margins are advisory: how much sessions differ is known from {SESSIONS_NEEDED} sessions on; {remedy}"
        )
    })
}

/// The valid runs of the newest sessions of `scenario`, all under the fingerprint and of the state of the code of the
/// newest: a baseline is what one state of the code does. Heads of a comparison to come are no baseline. The newest on
/// `machine`, the machine part of a fingerprint, goes before newer ones of others: a history may be shared. `None` where
/// there is no such run.
pub(super) async fn newest_sessions(
    history: &History,
    scenario: &str,
    machine: Option<&str>,
    sessions: usize,
) -> Result<Option<Newest>, Failure> {
    let mut found = history.find(&of(scenario)).await.map_err(reading)?;
    let is_here = |run: &&RunSummary| machine.is_none_or(|machine| run.machine_id == machine);
    let Some(newest) = found.iter().find(is_here).or(found.first()).cloned() else {
        return Ok(None);
    };
    found.retain(|run| run.fingerprint_id == newest.fingerprint_id);
    let (same, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|run| {
        // One session may have been given runs of several revisions.
        run.revision == newest.revision && same_state(state(run), state(&newest))
    });
    let mut chosen: Vec<&str> = Vec::new();
    for run in &same {
        if chosen.len() < sessions && !chosen.contains(&run.session.as_str()) {
            chosen.push(&run.session);
        }
    }
    let taken = same
        .iter()
        .filter(|run| chosen.contains(&run.session.as_str()));
    let mut ids: Vec<_> = taken.map(|run| run.id).collect();
    // Ids sort by time.
    ids.sort();
    Ok(Some(Newest {
        runs: history.load(&ids).await.map_err(reading)?,
        elsewhere: (!is_here(&&newest)).then_some(newest.machine_id),
        revision: newest.revision,
        left_out: other.len(),
    }))
}

/// Runs for a baseline.
pub(super) struct Newest {
    /// Oldest first, at least one.
    pub(super) runs: Vec<Run>,
    /// What they all measured.
    revision: Option<String>,
    /// Other valid runs under the same fingerprint.
    left_out: usize,
    /// The machine part of their fingerprint, where it is not the one that was asked for.
    elsewhere: Option<String>,
}

/// Every scenario of the history, by name.
async fn in_history(history: &History) -> Result<Vec<String>, Failure> {
    let sessions = history.sessions().await.map_err(reading)?;
    let names: BTreeSet<String> = sessions.into_iter().map(|one| one.scenario).collect();
    Ok(names.into_iter().collect())
}

/// The machine part of the fingerprint of a run of `scenario` here and now, where its file is found.
async fn machine_here(
    history: &History,
    scenario: &str,
    output: &Output,
) -> Result<Option<String>, Failure> {
    let newest = Query {
        limit: Some(1),
        ..of(scenario)
    };
    let Some(newest) = history.find(&newest).await.map_err(reading)?.pop() else {
        return Ok(None);
    };
    let newest = history.get(newest.id).await.map_err(reading)?;
    // What its file says otherwise is of no matter here, and neither are mistakes in it.
    let plan = plan_of(None, &newest, &output.silenced()).ok().flatten();
    Ok(plan.map(|plan| machine::of_plan(&plan).machine_id()))
}

fn of(scenario: &str) -> Query {
    Query {
        scenario: Some(scenario.to_owned()),
        only_valid: true,
        without_heads: true,
        ..Query::default()
    }
}

fn state(run: &RunSummary) -> (&str, Option<&str>) {
    (&run.session, run.revision.as_deref())
}
