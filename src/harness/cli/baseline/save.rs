//! `plimsoll baseline save`: sessions from the store as the baseline of their scenario.

use std::path::Path;

use serde_json::json;

use crate::harness::cli::args::Global;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::gate::exit;
use crate::harness::model::{Arm, Run};
use crate::harness::report::{format, text};
use crate::harness::stats::SESSIONS_NEEDED;
use crate::harness::store::{Baseline, History, Query, SessionSummary};

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
    let known = history
        .sessions()
        .await
        .map_err(|error| Failure::tool("reading the history", &error))?;
    let mut wanted: Vec<&str> = scenarios.iter().map(String::as_str).collect();
    if wanted.is_empty() {
        wanted = known
            .iter()
            .map(|session| session.scenario.as_str())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
    }
    if wanted.is_empty() {
        return Err(no_runs("this project"));
    }
    let mut saved = Vec::new();
    for scenario in wanted {
        let newest = newest_sessions(&history, &known, scenario, sessions).await?;
        let runs = &newest.runs;
        let baseline = Baseline::from_runs(runs)
            .map_err(|error| Failure::tool(format!("making the baseline of {scenario}"), &error))?;
        let path = baseline
            .save(folder)
            .map_err(|error| Failure::tool("saving the baseline", &error))?;
        output.say(&format!(
            "{scenario}: {} with {} saved to {}; review and commit it",
            format::counted(baseline.sessions.len() as u64, "session"),
            format::counted(runs.len() as u64, "run"),
            path.display()
        ));
        if newest.left_out > 0 {
            output.say(&format!(
                "  all of revision {}; {} of other revisions left out",
                text::one_line(newest.revision.as_deref().unwrap_or("unknown")),
                format::counted(newest.left_out as u64, "run")
            ));
        }
        if let Some(remark) = few_sessions(baseline.sessions.len()) {
            output.say(&format!("  {remark}"));
        }
        let partly = baseline.partly_measured();
        if !partly.is_empty() {
            output.say(&format!(
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
    if output.is_json() {
        output.answer_json(&saved)?;
    }
    Ok(exit::PASS)
}

/// What a baseline of so few sessions means, where it is too few.
pub(super) fn few_sessions(sessions: usize) -> Option<String> {
    let missing = SESSIONS_NEEDED
        .checked_sub(sessions)
        .filter(|missing| *missing > 0)?;
    Some(format!(
        "its margins are advisory: how much sessions differ is known from {SESSIONS_NEEDED} sessions on; run the \
         scenario {} more and save again",
        match missing {
            1 => "once".to_owned(),
            n => format!("{n} times"),
        }
    ))
}

/// The valid runs of the newest sessions of `scenario`, all under the fingerprint and of the revision
/// of the newest: a baseline is what one state of the code does. Heads of a comparison to come are no
/// baseline.
pub(super) async fn newest_sessions(
    history: &History,
    known: &[SessionSummary],
    scenario: &str,
    sessions: usize,
) -> Result<Newest, Failure> {
    let of_scenario = known
        .iter()
        .filter(|session| session.scenario == scenario && session.valid_runs > 0);
    let Some(newest) = of_scenario.max_by_key(|session| session.last_started_at) else {
        return Err(no_runs(scenario));
    };
    let query = Query {
        scenario: Some(scenario.to_owned()),
        fingerprint: Some(newest.fingerprint_id.clone()),
        only_valid: true,
        ..Query::default()
    };
    let mut found = history
        .find(&query)
        .await
        .map_err(|error| Failure::tool("reading the history", &error))?;
    found.retain(|run| run.arm != Some(Arm::Head));
    found.sort_by_key(|run| std::cmp::Reverse((run.started_at, run.id)));
    let Some(revision) = found.first().map(|run| run.revision.clone()) else {
        return Err(no_runs(scenario));
    };
    let (same, other): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|run| run.revision == revision);
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
    let runs = history
        .load(&ids)
        .await
        .map_err(|error| Failure::tool("reading the history", &error))?;
    Ok(Newest {
        runs,
        revision,
        left_out: other.len(),
    })
}

/// Runs for a baseline.
pub(super) struct Newest {
    /// Oldest first, at least one.
    pub(super) runs: Vec<Run>,
    /// What they all measured.
    revision: Option<String>,
    /// Valid runs of other revisions under the same fingerprint.
    left_out: usize,
}
