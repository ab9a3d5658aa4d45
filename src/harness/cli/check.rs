//! `plimsoll check` and `plimsoll schema`: what is wrong with scenario files, and what is right.

use crate::harness::gate::exit;
use crate::harness::model::Run;
use crate::harness::report::json;
use crate::harness::scenario::{self, ScenarioError};

use super::args::{CheckArgs, SchemaArgs, SchemaOf};
use super::diagnostics;
use super::failure::Failure;
use super::output::Output;
use super::workspace;

/// Shows every problem of every file, in every variant.
pub fn run(output: &Output, args: &CheckArgs) -> Result<u8, Failure> {
    let chosen = workspace::choose(&args.files, output)?;
    let mut all = Vec::new();
    let mut in_order = true;
    for file in &chosen.files {
        match scenario::load(file) {
            Ok(scenario) => output.say(&format!(
                "{}: in order{}",
                file.display(),
                match scenario.plans().len() {
                    1 => String::new(),
                    n => format!(", in each of its {n} variants"),
                }
            )),
            Err(ScenarioError::Invalid { path, text, problems }) => {
                in_order = false;
                if output.is_json() {
                    all.extend(diagnostics::to_json(&path, &problems).as_array().cloned().unwrap_or_default());
                } else {
                    output.answer(&diagnostics::render(&path, &text, &problems, output.colour, output.width))?;
                }
            }
            Err(error) => return Err(Failure::usage(error.to_string(), "name a scenario file: a TOML file with `schema = 1`")),
        }
    }
    if output.is_json() {
        output.answer_json(&all)?;
    }
    Ok(if in_order { exit::PASS } else { exit::USAGE })
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
