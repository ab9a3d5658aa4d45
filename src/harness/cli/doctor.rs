//! `plimsoll doctor`: what makes measurements on this machine noisy.

use serde_json::json;

use crate::harness::engine::machine::{self, Severity};
use crate::harness::gate::exit;

use super::failure::Failure;
use super::output::Output;

/// Looks and says. Noise is no failure: the exit code is always that of a pass.
pub(super) async fn run(output: &Output) -> Result<u8, Failure> {
    let findings = machine::doctor().await;
    if output.is_json() {
        let all: Vec<_> = findings
            .iter()
            .map(|finding| {
                let severity = name(finding.severity);
                json!({ "severity": severity, "what": finding.what, "remedy": finding.remedy })
            })
            .collect();
        output.answer_json(&all)?;
        return Ok(exit::PASS);
    }
    if findings.is_empty() {
        output.answer("nothing found that makes this machine noisy")?;
    }
    for finding in &findings {
        let severity = name(finding.severity);
        output.answer(&format!(
            "{severity}: {}\n  help: {}",
            finding.what, finding.remedy
        ))?;
    }
    Ok(exit::PASS)
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
    }
}
