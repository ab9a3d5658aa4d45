//! `plimsoll check` and `plimsoll schema`: what is wrong with scenario files, and what is right.

use crate::harness::gate::exit;
use crate::harness::model::Run;
use crate::harness::report::json;
use crate::harness::scenario;

use super::args::{CheckArgs, SchemaArgs, SchemaOf};
use super::diagnostics;
use super::failure::Failure;
use super::output::Output;
use super::workspace;

/// Shows every problem of every file, in every variant.
pub fn run(output: &Output, args: &CheckArgs) -> Result<u8, Failure> {
    let chosen = workspace::choose(&args.files, output)?;
    let mut reports = Vec::new();
    for file in &chosen.files {
        match scenario::check(file) {
            Ok(plans) => output.say(&format!(
                "{}: in order{}",
                file.display(),
                match plans.len() {
                    0 | 1 => String::new(),
                    n => format!(", in each of its {n} variants"),
                }
            )),
            Err(report) => reports.push(report),
        }
    }
    if output.is_json() {
        let problems: Vec<_> = reports.iter().flat_map(diagnostics::to_json).collect();
        output.answer_json(&problems)?;
    } else {
        for report in &reports {
            output.answer(&diagnostics::render(report, output.colour, output.width))?;
        }
    }
    Ok(if reports.is_empty() { exit::PASS } else { exit::USAGE })
}

/// Prints a JSON Schema.
pub fn schema(output: &Output, args: &SchemaArgs) -> Result<u8, Failure> {
    let text = match args.of {
        SchemaOf::Scenario => json::render(&scenario::schema()),
        SchemaOf::Verdict => json::render(&json::verdict_schema()),
        SchemaOf::Run => json::render(&schemars::schema_for!(Run)),
    };
    output.answer(&text)?;
    Ok(exit::PASS)
}
