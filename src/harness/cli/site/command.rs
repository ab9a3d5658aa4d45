//! `plimsoll report --site DIR`: what is asked for, and what is said in the end.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::harness::cli::args::{Global, ReportArgs};
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::cli::workspace::{self, reading};
use crate::harness::gate::exit;
use crate::harness::report::format;
use crate::harness::store::{History, Query};

use super::folder::Folder;
use super::judge::{Baselines, Judge};
use super::pages::{Maker, Published, found};
use super::places;
use super::sittings::{Retention, Sitting, kept};

/// The format of what is printed for programs.
const PUBLISHED_FORMAT: &str = "plimsoll.published/1";

/// Brings the site in `root` up to date with the history.
pub(in crate::harness::cli) async fn run(
    global: &Global,
    output: &Output,
    args: &ReportArgs,
    root: &Path,
) -> Result<u8, Failure> {
    // A history of nothing, in the wrong folder or the wrong database, would take the whole site away.
    let nothing = |what: String| {
        Failure::usage(
            format!("{what}, so there is nothing to make a site of"),
            "run a scenario first: plimsoll run; or name the history: --store",
        )
    };
    let Some(history) = workspace::existing_history(global).await? else {
        return Err(nothing("there is no history here".to_owned()));
    };
    let one = Query {
        limit: Some(1),
        ..Query::default()
    };
    if history.find(&one).await.map_err(reading)?.is_empty() {
        let place = history.location();
        return Err(nothing(format!("the history {place} holds no runs")));
    }
    let retention = retention(args)?;
    // Whoever waits for another call sees what the history holds after it.
    let folder = Folder::open(root, output)?;
    let runs = history.find(&Query::default()).await.map_err(reading)?;
    let (sittings, left_out) = kept(&runs, retention);
    let maker = Maker {
        global,
        output,
        args,
        history: &history,
        judges: judges(&history, &sittings, output).await?,
        baselines: Baselines::new(&args.baselines)?,
        folder,
    };
    let published = maker.publish(&runs, &sittings).await?;
    tell(output, root, &published, left_out)
}

fn retention(args: &ReportArgs) -> Result<Retention, Failure> {
    let since = args.keep_days.map(|days| {
        let kept = SignedDuration::from_hours(24 * i64::from(days));
        Timestamp::now()
            .checked_sub(kept)
            .map_err(|error| Failure::tool("reckoning the first day to keep", &error))
    });
    Ok(Retention {
        sessions: args.keep_sessions as usize,
        since: since.transpose()?,
    })
}

/// Each scenario of these sessions, which are given newest first, as it is now.
async fn judges(
    history: &History,
    sittings: &[Sitting],
    output: &Output,
) -> Result<BTreeMap<String, Judge>, Failure> {
    let mut judges: BTreeMap<String, Judge> = BTreeMap::new();
    for sitting in sittings {
        let Some(newest) = sitting.runs.last() else {
            continue;
        };
        if judges.contains_key(&sitting.scenario) {
            continue;
        }
        // Where it is damaged, the session before it may know the scenario's file.
        if let Some(run) = found(history.get(newest.id).await)? {
            judges.insert(sitting.scenario.clone(), Judge::of(&run, output)?);
        }
    }
    Ok(judges)
}

fn tell(output: &Output, root: &Path, published: &Published, left_out: u64) -> Result<u8, Failure> {
    let first = root.join(places::INDEX);
    let done = published.done;
    if output.is_json() {
        output.answer_json(&json!({
            "schema": PUBLISHED_FORMAT,
            "page": first.display().to_string(),
            "sessions": published.sessions,
            "sessions_left_out": left_out,
            "scenarios": published.scenarios,
            "files": done,
        }))?;
        return Ok(exit::PASS);
    }
    let mut lines = format!(
        "{}: {} of {}",
        first.display(),
        format::counted(published.sessions, "session"),
        format::counted(published.scenarios, "scenario")
    );
    if left_out > 0 {
        lines.push_str(&format!(
            "; {} older ones have no page (--keep-sessions, --keep-days)",
            format::count(left_out)
        ));
    }
    lines.push_str(&format!(
        "\n{} made, {} renewed, {} as they were, {} removed\n",
        format::counted(done.made, "file"),
        format::count(done.renewed),
        format::count(done.kept),
        format::count(done.removed)
    ));
    output.answer(&lines)?;
    Ok(exit::PASS)
}
