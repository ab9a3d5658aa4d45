//! `plimsoll baseline pin`: baselines that stay as they are, under a name.

use std::path::Path;

use serde_json::json;

use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::gate::exit;
use crate::harness::report::text;
use crate::harness::store::{Anchor, AnchorError};

use super::find::{all, named};

/// Pins what is named, on every machine that has a baseline of it, or every baseline: all or nothing.
pub(super) fn pin(
    output: &Output,
    scenarios: &[String],
    name: &str,
    folder: &Path,
) -> Result<u8, Failure> {
    let mut found = Vec::new();
    for scenario in scenarios {
        found.extend(named(scenario, folder)?);
    }
    if scenarios.is_empty() {
        found = all(folder)?;
    }
    if found.is_empty() {
        return Err(Failure::usage(
            format!("there is no baseline in {}", folder.display()),
            "make one: plimsoll baseline refresh",
        ));
    }
    for (_, baseline) in &found {
        let path = Anchor::place(folder, baseline, name).map_err(refused)?;
        if path.exists() {
            return Err(refused(AnchorError::Pinned { path }));
        }
    }
    let mut pinned = Vec::new();
    for (_, baseline) in found {
        let anchor = Anchor::pin(folder, baseline, name).map_err(refused)?;
        output.say(&format!(
            "{}: pinned as {} to {}; review and commit it",
            text::one_line(&anchor.baseline.scenario),
            anchor.name,
            anchor.path.display()
        ));
        pinned.push(json!({
            "scenario": anchor.baseline.scenario,
            "anchor": anchor.name,
            "file": anchor.path,
        }));
    }
    if output.is_json() {
        output.answer_json(&pinned)?;
    }
    Ok(exit::PASS)
}

fn refused(error: AnchorError) -> Failure {
    match error {
        AnchorError::Baseline(_) => Failure::tool("pinning", &error),
        AnchorError::Name { .. } | AnchorError::Pinned { .. } => Failure::usage(
            error.to_string(),
            "see what there is: plimsoll baseline show",
        ),
    }
}
