//! `plimsoll check` and `plimsoll schema`: what is wrong with scenario files and waivers, and what is
//! right.

use std::collections::BTreeSet;

use crate::harness::engine::shards;
use crate::harness::gate::exit;
use crate::harness::report::{calibration, history, json};
use crate::harness::scenario::{self, Rejection};

use super::args::{CheckArgs, SchemaArgs, SchemaOf};
use super::diagnostics;
use super::failure::Failure;
use super::output::Output;
use super::{waivers, workspace};

/// Shows every problem of every file, in every variant, and of the waivers of their projects.
pub(super) fn run(output: &Output, args: &CheckArgs) -> Result<u8, Failure> {
    let chosen = workspace::choose(&args.files, output)?;
    let mut plans = Vec::new();
    let mut rejections = Vec::new();
    let mut variants = Vec::new();
    for file in &chosen.files {
        match scenario::check(file) {
            Ok(found) => {
                variants.push((file, found.len()));
                plans.extend(found);
            }
            Err(rejection) => rejections.push(rejection),
        }
    }
    rejections.extend(workspace::namesakes(&plans));
    for (file, variants) in variants {
        if rejections.iter().all(|rejection| rejection.file != *file) {
            output.say(&format!(
                "{}: in order{}",
                file.display(),
                match variants {
                    1 => String::new(),
                    n => format!(", in each of its {n} variants"),
                }
            ));
        }
    }
    let is_all = !chosen.named && rejections.is_empty();
    let roots: BTreeSet<_> = chosen
        .files
        .iter()
        .map(|file| scenario::root_of(file))
        .collect();
    for (file, loaded) in waivers::of_projects(roots) {
        match loaded {
            Ok(found) => {
                output.say(&format!("{}: in order", file.display()));
                for remark in waivers::remarks(&file, &found, &plans, is_all) {
                    output.warn(&remark);
                }
            }
            Err(rejection) => rejections.push(rejection),
        }
    }
    Failure::unless_gone(show(output, &rejections))?;
    Ok(match rejections.is_empty() {
        true => exit::PASS,
        false => exit::USAGE,
    })
}

fn show(output: &Output, rejections: &[Rejection]) -> Result<(), Failure> {
    if output.is_json() {
        let all: Vec<_> = rejections.iter().flat_map(diagnostics::to_json).collect();
        return output.answer_json(&all);
    }
    for rejection in rejections {
        output.answer(&diagnostics::render(rejection, output.style()))?;
    }
    Ok(())
}

/// Prints a JSON Schema.
pub(super) fn schema(output: &Output, args: &SchemaArgs) -> Result<u8, Failure> {
    let text = match args.of {
        SchemaOf::Scenario => json::render(&scenario::schema()),
        SchemaOf::Waivers => json::render(&scenario::waivers_schema()),
        SchemaOf::Verdict => json::render(&json::verdict_schema()),
        SchemaOf::Report => json::render(&json::report_schema()),
        SchemaOf::Calibration => json::render(&calibration::calibration_schema()),
        SchemaOf::History => json::render(&history::history_schema()),
        SchemaOf::Run => json::render(&json::run_schema()),
        SchemaOf::Shard => json::render(&shards::schema()),
    };
    output.document(&text)?;
    Ok(exit::PASS)
}
