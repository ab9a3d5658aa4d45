//! `plimsoll baseline diff`: what changed from one baseline to another.

use std::path::Path;

use serde_json::json;

use crate::harness::cli::args::Global;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::gate::exit;
use crate::harness::report::{format, text};
use crate::harness::store::{Baseline, BaselineChange};

use super::find::{existing, named, no_runs, only};
use super::save::newest_sessions;

/// Shows two baseline files, or a baseline and the newest session, metric by metric.
pub(super) async fn diff(
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
            let machine = old.fingerprint.machine_id();
            let newest = newest_sessions(&history, &old.scenario, Some(&machine), 1)
                .await?
                .ok_or_else(|| no_runs(&old.scenario))?;
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
        output.warn(&format!(
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
