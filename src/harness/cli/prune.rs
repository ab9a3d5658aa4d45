//! `plimsoll history prune`: retention.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::harness::gate::exit;
use crate::harness::model::{RunId, Unit};
use crate::harness::report::{format, text};
use crate::harness::store::{Anchor, Baseline, Expired, Retention};

use super::args::{BASELINES, Global, PruneArgs};
use super::failure::Failure;
use super::output::Output;
use super::workspace;

/// The format of what is printed for programs.
const PRUNE_FORMAT: &str = "plimsoll.prune/1";

/// Removes what the retention doesn't keep and no baseline refers to.
pub(super) async fn run(global: &Global, output: &Output, args: &PruneArgs) -> Result<u8, Failure> {
    let retention = retention(args, Timestamp::now())?;
    let protected = in_baselines(args.baselines.as_deref())?;
    let Some(history) = workspace::existing_history(global).await? else {
        return tell(output, &[], args.dry_run, None);
    };
    let failed = |error| Failure::tool("pruning the history", &error);
    let expired = history
        .expired(retention, &protected)
        .await
        .map_err(failed)?;
    let runs: Vec<RunId> = expired
        .iter()
        .flat_map(|one| one.runs.iter().copied())
        .collect();
    if args.dry_run || runs.is_empty() {
        return tell(output, &expired, args.dry_run, None);
    }
    history.remove(&runs).await.map_err(failed)?;
    // What is gone must be said also where its space can't be had now.
    let space = history.compact().await;
    let freed_bytes = space
        .as_ref()
        .map(|space| space.before_bytes.saturating_sub(space.after_bytes));
    let code = tell(output, &expired, false, freed_bytes.ok())?;
    match space {
        Ok(_) => Ok(code),
        Err(error) => Err(failed(error)),
    }
}

fn retention(args: &PruneArgs, now: Timestamp) -> Result<Retention, Failure> {
    if let Some(runs) = args.keep_runs {
        return Ok(Retention::Newest(runs));
    }
    let days = args.keep_days.unwrap_or(u32::MAX);
    let since = now
        .checked_sub(SignedDuration::from_hours(24 * i64::from(days)))
        .map_err(|error| Failure::tool("reckoning the first day to keep", &error))?;
    Ok(Retention::Since(since))
}

/// The runs to which baseline files refer. One that can't be read may refer to any run, so it is an error; so
/// is a folder that was named and isn't there.
fn in_baselines(folder: Option<&Path>) -> Result<BTreeSet<RunId>, Failure> {
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        return Err(Failure::usage(
            format!("{} is no folder", folder.display()),
            "name the folder of the baselines, whose runs are kept",
        ));
    }
    let folder = folder.map_or_else(|| PathBuf::from(BASELINES), Path::to_owned);
    let failed = |error| Failure::tool("reading the baselines, whose runs are kept", &error);
    let mut runs = BTreeSet::new();
    let baselines = Baseline::list(&folder).map_err(failed)?;
    let anchors = Anchor::list(&folder).map_err(failed)?;
    for path in baselines.into_iter().chain(anchors) {
        let baseline = Baseline::load(&path).map_err(failed)?;
        let of_sessions = baseline.sessions.iter().flat_map(|session| &session.runs);
        runs.extend(of_sessions.map(|run| run.id));
    }
    Ok(runs)
}

fn tell(
    output: &Output,
    expired: &[Expired],
    dry_run: bool,
    freed_bytes: Option<u64>,
) -> Result<u8, Failure> {
    if output.is_json() {
        let scenarios: Vec<_> = expired.iter().map(to_json).collect();
        output.answer_json(&json!({
            "schema": PRUNE_FORMAT,
            "dry_run": dry_run,
            "scenarios": scenarios,
            "freed_bytes": freed_bytes,
        }))?;
        return Ok(exit::PASS);
    }
    let mut lines = String::new();
    for one in expired {
        lines.push_str(&describe(one, dry_run));
        lines.push('\n');
    }
    if expired.is_empty() {
        lines.push_str("nothing is that old\n");
    }
    if let Some(bytes) = freed_bytes {
        let bytes = format::value(&Unit::Bytes, bytes as f64);
        lines.push_str(&format!("the history takes {bytes} less\n"));
    }
    output.answer(&lines)?;
    Ok(exit::PASS)
}

fn describe(one: &Expired, dry_run: bool) -> String {
    let mut line = format!("{}: ", text::one_line(&one.scenario));
    match one.started_at {
        Some((oldest, newest)) => line.push_str(&format!(
            "{} {} of {} … {}",
            if dry_run { "would remove" } else { "removed" },
            format::counted(one.runs.len() as u64, "run"),
            oldest.strftime("%Y-%m-%d"),
            newest.strftime("%Y-%m-%d"),
        )),
        None => line.push_str("nothing to remove"),
    }
    line.push_str(&format!(", {} kept", format::count(one.kept)));
    if one.protected > 0 {
        line.push_str(&format!(
            ", {} of them for a baseline",
            format::count(one.protected)
        ));
    }
    line
}

fn to_json(one: &Expired) -> serde_json::Value {
    json!({
        "scenario": one.scenario,
        "removed": one.runs,
        "oldest": one.started_at.map(|(oldest, _)| oldest),
        "newest": one.started_at.map(|(_, newest)| newest),
        "kept": one.kept,
        "kept_for_baselines": one.protected,
    })
}
