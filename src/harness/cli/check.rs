//! `plimsoll check` and `plimsoll schema`: what is wrong with scenario files, and what is right.

use crate::harness::gate::exit;
use crate::harness::report::{calibration, history, json};
use crate::harness::scenario;

use super::args::{CheckArgs, SchemaArgs, SchemaOf};
use super::diagnostics;
use super::failure::Failure;
use super::output::Output;
use super::workspace;

/// Shows every problem of every file, in every variant.
pub(super) fn run(output: &Output, args: &CheckArgs) -> Result<u8, Failure> {
    let chosen = workspace::choose(&args.files, output)?;
    let mut all = Vec::new();
    let mut in_order = true;
    for file in &chosen.files {
        match scenario::check(file) {
            Ok(plans) => output.say(&format!(
                "{}: in order{}",
                file.display(),
                match plans.len() {
                    1 => String::new(),
                    n => format!(", in each of its {n} variants"),
                }
            )),
            Err(rejection) => {
                in_order = false;
                if output.is_json() {
                    all.extend(diagnostics::to_json(&rejection));
                } else {
                    output.answer(&diagnostics::render(
                        &rejection,
                        output.colour,
                        output.width,
                    ))?;
                }
            }
        }
    }
    if output.is_json() {
        output.answer_json(&all)?;
    }
    Ok(if in_order { exit::PASS } else { exit::USAGE })
}

/// Prints a JSON Schema.
pub(super) fn schema(output: &Output, args: &SchemaArgs) -> Result<u8, Failure> {
    let text = match args.of {
        SchemaOf::Scenario => json::render(&scenario::schema()),
        SchemaOf::Verdict => json::render(&json::verdict_schema()),
        SchemaOf::Report => json::render(&json::report_schema()),
        SchemaOf::Calibration => json::render(&calibration::calibration_schema()),
        SchemaOf::History => json::render(&history::history_schema()),
        SchemaOf::Run => json::render(&json::run_schema()),
    };
    output.answer(&text)?;
    Ok(exit::PASS)
}
