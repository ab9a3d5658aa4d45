//! `plimsoll baseline show`: the baselines that there are, with their anchors.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::gate::exit;
use crate::harness::report::{format, text};
use crate::harness::store::{Anchor, Baseline};

use super::find::{all, named};

/// Shows all of them, or those of a scenario in full.
pub(super) fn show(output: &Output, scenario: Option<&str>, folder: &Path) -> Result<u8, Failure> {
    let found = match scenario {
        Some(name) => named(name, folder)?,
        None => all(folder)?,
    };
    if output.is_json() {
        let mut shown = Vec::new();
        for (_, baseline) in &found {
            let mut value = serde_json::to_value(baseline)
                .map_err(|error| Failure::tool("writing the baseline as JSON", &error))?;
            let anchors = anchors_of(baseline, folder)?;
            value["anchors"] = anchors
                .iter()
                .map(|anchor| json!({ "name": anchor.name, "file": anchor.path }))
                .collect();
            shown.push(value);
        }
        output.answer_json(&shown)?;
        return Ok(exit::PASS);
    }
    if found.is_empty() {
        output
            .say("no baselines yet; make one: plimsoll run --runs 5, then plimsoll baseline save");
    }
    for (path, baseline) in &found {
        let anchors = anchors_of(baseline, folder)?;
        output.answer(&describe(path, baseline, &anchors, scenario.is_some()))?;
    }
    Ok(exit::PASS)
}

fn anchors_of(baseline: &Baseline, folder: &Path) -> Result<Vec<Anchor>, Failure> {
    Anchor::find(folder, &baseline.fingerprint, &baseline.scenario)
        .map_err(|error| Failure::tool("reading the anchors", &error))
}

fn describe(path: &Path, baseline: &Baseline, anchors: &[Anchor], whole: bool) -> String {
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
    if let Some(calibration) = &baseline.calibration {
        let pairs = calibration.sessions.iter().map(|one| u64::from(one.pairs));
        lines.push(format!(
            "  calibrated with {} in {}",
            format::counted(pairs.sum(), "pair"),
            format::counted(calibration.sessions.len() as u64, "session")
        ));
    }
    if !anchors.is_empty() {
        let names: Vec<_> = anchors
            .iter()
            .map(|anchor| text::one_line(&anchor.name))
            .collect();
        lines.push(format!("  anchors {}", names.join(", ")));
    }
    for accepted in &baseline.accepted {
        lines.push(format!(
            "  accepted: {} {}: {}",
            text::one_line(&accepted.metric),
            accepted
                .effect
                .map_or_else(|| "is gone".to_owned(), format::effect),
            text::one_line(&accepted.reason)
        ));
    }
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
