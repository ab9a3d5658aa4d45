//! `plimsoll baseline`: show, save and compare baselines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::gate::exit;
use crate::harness::model::{Arm, Run};
use crate::harness::report::{format, text};
use crate::harness::store::{Baseline, BaselineChange, History, Query, SessionSummary};

use super::args::{BaselineCommand, Global};
use super::failure::Failure;
use super::output::Output;
use super::workspace;

/// From so many sessions on, their spread is known well enough for margins to fail the gate.
const SESSIONS_FOR_SPREAD: usize = 3;

/// Shows, saves or compares.
pub(super) async fn run(
    global: &Global,
    output: &Output,
    command: &BaselineCommand,
) -> Result<u8, Failure> {
    match command {
        BaselineCommand::Show {
            scenario,
            baselines,
        } => show(output, scenario.as_deref(), baselines),
        BaselineCommand::Save {
            scenarios,
            sessions,
            baselines,
        } => save(global, output, scenarios, *sessions as usize, baselines).await,
        BaselineCommand::Diff {
            old,
            new,
            baselines,
        } => diff(global, output, old, new.as_deref(), baselines).await,
    }
}

fn show(output: &Output, scenario: Option<&str>, folder: &Path) -> Result<u8, Failure> {
    let found = match scenario {
        Some(name) => named(name, folder)?,
        None => all(folder)?,
    };
    if output.is_json() {
        let baselines: Vec<_> = found.iter().map(|(_, baseline)| baseline).collect();
        output.answer_json(&baselines)?;
        return Ok(exit::PASS);
    }
    if found.is_empty() {
        output
            .say("no baselines yet; make one: plimsoll run --runs 5, then plimsoll baseline save");
    }
    for (path, baseline) in &found {
        output.answer(&describe(path, baseline, scenario.is_some()))?;
    }
    Ok(exit::PASS)
}

fn describe(path: &Path, baseline: &Baseline, whole: bool) -> String {
    let runs: usize = baseline
        .sessions
        .iter()
        .map(|session| session.runs.len())
        .sum();
    let mut lines = vec![
        format!("{}  {}", text::one_line(&baseline.scenario), path.display()),
        format!(
            "  {}, {} CPUs, kernel {}, {}",
            text::one_line(&baseline.fingerprint.cpu_model),
            baseline.fingerprint.logical_cpus,
            text::one_line(&baseline.fingerprint.kernel),
            text::one_line(&baseline.fingerprint.toolchain)
        ),
        format!(
            "  {}, {}",
            format::counted(baseline.sessions.len() as u64, "session"),
            format::counted(runs as u64, "run")
        ),
    ];
    for session in baseline.sessions.iter().filter(|_| whole) {
        lines.push(format!(
            "    {}  {}  {}",
            text::one_line(&session.session),
            text::one_line(session.revision.as_deref().unwrap_or("no revision")),
            format::counted(session.runs.len() as u64, "run")
        ));
    }
    if whole {
        let metrics: BTreeMap<_, _> = baseline
            .sessions
            .iter()
            .flat_map(|session| &session.metrics)
            .map(|(name, metric)| (name, &metric.unit))
            .collect();
        let width = metrics
            .keys()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or_default();
        for (name, unit) in metrics {
            let median = baseline.median(name);
            let shown = median.map_or_else(|| "–".to_owned(), |value| format::value(unit, value));
            lines.push(format!("  {:<width$}  {shown}", text::one_line(name)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

async fn save(
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
        if baseline.sessions.len() < SESSIONS_FOR_SPREAD {
            output.say(&format!(
                "  its margins are advisory: how much sessions differ is known from {SESSIONS_FOR_SPREAD} sessions on; run the \
                 scenario {} more and save again",
                match SESSIONS_FOR_SPREAD - baseline.sessions.len() {
                    1 => "once".to_owned(),
                    n => format!("{n} times"),
                }
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

/// The valid runs of the newest sessions of `scenario`, all under the fingerprint and of the revision
/// of the newest: a baseline is what one state of the code does. Heads of a comparison to come are no
/// baseline.
async fn newest_sessions(
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
struct Newest {
    /// Oldest first, at least one.
    runs: Vec<Run>,
    /// What they all measured.
    revision: Option<String>,
    /// Valid runs of other revisions under the same fingerprint.
    left_out: usize,
}

async fn diff(
    global: &Global,
    output: &Output,
    old: &str,
    new: Option<&str>,
    folder: &Path,
) -> Result<u8, Failure> {
    let (_, old) = only(named(old, folder)?, old)?;
    let new = match new {
        Some(name) => only(named(name, folder)?, name)?.1,
        None => {
            let history = existing(global).await?;
            let known = history
                .sessions()
                .await
                .map_err(|error| Failure::tool("reading the history", &error))?;
            let newest = newest_sessions(&history, &known, &old.scenario, 1).await?;
            Baseline::from_runs(&newest.runs)
                .map_err(|error| Failure::tool("reading the newest session", &error))?
        }
    };
    let changes = old.diff(&new);
    if output.is_json() {
        let rows: Vec<_> = changes.rows.iter().map(row_to_json).collect();
        let value = json!({ "fingerprint_differences": changes.fingerprint, "metrics": rows });
        output.answer_json(&value)?;
        return Ok(exit::PASS);
    }
    for difference in &changes.fingerprint {
        output.say(&format!(
            "not comparable: {} was {}, is {}",
            difference.field,
            text::one_line(&difference.base),
            text::one_line(&difference.head)
        ));
    }
    let width = changes
        .rows
        .iter()
        .map(|row| row.metric.chars().count())
        .max()
        .unwrap_or_default();
    let mut table = format!(
        "{:<width$} {:>12} {:>12} {:>9}\n",
        "metric", "old", "new", "change"
    );
    for row in &changes.rows {
        let shown = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format::value(&row.unit, value))
        };
        table.push_str(&format!(
            "{:<width$} {:>12} {:>12} {:>9}\n",
            text::one_line(&row.metric),
            shown(row.old),
            shown(row.new),
            row.change.map_or_else(|| "–".to_owned(), format::effect)
        ));
    }
    output.answer(&table)?;
    Ok(exit::PASS)
}

fn row_to_json(row: &BaselineChange) -> serde_json::Value {
    json!({
        "name": row.metric,
        "unit": row.unit,
        "better": row.better,
        "old": row.old,
        "new": row.new,
        "change": row.change,
    })
}

/// A baseline file, or the baselines of a scenario on every machine that has one.
fn named(name: &str, folder: &Path) -> Result<Vec<(PathBuf, Baseline)>, Failure> {
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

fn only(mut found: Vec<(PathBuf, Baseline)>, name: &str) -> Result<(PathBuf, Baseline), Failure> {
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(Failure::usage(
            format!("several machines have a baseline of `{name}`"),
            "name the file: plimsoll baseline show",
        )),
    }
}

fn all(folder: &Path) -> Result<Vec<(PathBuf, Baseline)>, Failure> {
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

async fn existing(global: &Global) -> Result<History, Failure> {
    workspace::existing_history(global)
        .await?
        .ok_or_else(|| no_runs("this project"))
}

fn no_runs(of: &str) -> Failure {
    Failure::usage(
        format!("the history has no valid runs of {of}"),
        "make some: plimsoll run --runs 5; see what there is: plimsoll list --sessions",
    )
}
