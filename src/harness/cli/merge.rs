//! `plimsoll merge`: the shards of a run as one run, judged as `plimsoll run` judges.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::harness::engine::shards::{Gathered, ShardFile, gather};
use crate::harness::gate::Waivers;
use crate::harness::model::{Run, RunId};
use crate::harness::report::text;
use crate::harness::scenario::Plan;

use super::answers::Answers;
use super::args::{Global, MergeArgs, OverrideArgs, Selection};
use super::compare::plan_named;
use super::execute::{Asked, Label, Session, new_session, save};
use super::failure::Failure;
use super::output::Output;
use super::reproduce::CommandLine;
use super::run::arm;
use super::session::assemble;
use super::sources::Source;
use super::worker::not_judged;
use super::workspace;

/// Puts the shards together, keeps the run, judges and answers.
pub(super) async fn run(global: &Global, output: &Output, args: &MergeArgs) -> Result<u8, Failure> {
    let selection = selection(args);
    let answers = Answers::new(output, &selection.writing)?;
    let files = read(&args.files, output)?;
    let plan = plan(args, &files, output)?;
    let gathered = gather(&plan, files)
        .map_err(|error| Failure::usage(error.to_string(), "see docs/SHARDS.md"))?;
    if let Some(text) = not_judged(&plan, &gathered.plan) {
        output.warn(&text);
    }
    let label = Label {
        arm: args.arm.map(arm),
        pair: args.pair,
        session: args.session.clone(),
    };
    let history = workspace::history(global).await?;
    let case = Session {
        global,
        answers: &answers,
        selection: &selection,
        asked: Asked::Limits,
        label: &label,
        history: &history,
        checkout: None,
        session: label.session.clone().unwrap_or_else(new_session),
    };
    let plan = gathered.plan.clone();
    let run = as_run(&plan, gathered, &case).await?;
    save(&history, &selection, &run).await?;
    let commands = commands(global, args, &run);
    let head = Source {
        label: format!("session {}", run.session),
        runs: vec![run],
        baseline: None,
    };
    let code = case.judged(&plan, Waivers::default(), &head, commands);
    history.close().await;
    answers.finish_after(code)
}

/// The shards that can be read. What can't be is said: its shard is then missing, which makes the run
/// invalid and is no reason to lose what the others measured.
fn read(paths: &[PathBuf], output: &Output) -> Result<Vec<ShardFile>, Failure> {
    let mut files = Vec::new();
    let mut unreadable = Vec::new();
    for path in paths {
        match ShardFile::read(path) {
            Ok(file) => files.push(file),
            Err(error) => unreadable.push(text::block(&error.to_string())),
        }
    }
    if files.is_empty() {
        return Err(Failure::usage(
            unreadable.join("\n"),
            "name the files that `plimsoll worker --out` left, one a shard",
        ));
    }
    for text in unreadable {
        output.warn(&format!("passing over {text}"));
    }
    Ok(files)
}

/// The scenario that most of the shards performed, as it is here.
fn plan(args: &MergeArgs, files: &[ShardFile], output: &Output) -> Result<Plan, Failure> {
    for name in by_number(files.iter().map(|file| file.scenario.as_str())) {
        if let Some(plan) = plan_named(args.scenario.as_deref(), name, None, output)? {
            return Ok(plan);
        }
    }
    let name = files.first().map_or("", |file| file.scenario.as_str());
    Err(Failure::usage(
        format!(
            "there is no scenario {} in scenarios/, whose limits would judge",
            text::shown(name, text::MAX_SHOWN_CHARS)
        ),
        "name the file that the shards performed: --scenario FILE",
    ))
}

/// Names by how often they are there, the commonest first.
fn by_number<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *numbers.entry(name).or_default() += 1;
    }
    let mut names = Vec::from_iter(numbers);
    names.sort_by_key(|(_, number)| Reverse(*number));
    names.into_iter().map(|(name, _)| name).collect()
}

async fn as_run(plan: &Plan, gathered: Gathered, case: &Session<'_>) -> Result<Run, Failure> {
    let labels = case.labels(plan, gathered.fingerprint).await;
    let started_at = Timestamp::from_nanosecond(i128::from(gathered.start_at_ns))
        .map_err(|error| Failure::tool("reading when the shards began", &error))?;
    let (id, pair) = (RunId::now(), labels.pair);
    Ok(assemble(
        plan,
        &labels,
        pair,
        id,
        started_at,
        gathered.executed,
    ))
}

fn selection(args: &MergeArgs) -> Selection {
    Selection {
        scenarios: args.scenario.iter().cloned().collect(),
        variant: None,
        runs: None,
        revision: args.revision.clone(),
        out: args.out.clone(),
        reports: args.reports.clone(),
        baselines: args.baselines.clone(),
        overrides: OverrideArgs::default(),
        writing: args.writing.clone(),
    }
}

/// The command lines that make this again.
fn commands(global: &Global, args: &MergeArgs, run: &Run) -> Vec<String> {
    let merge = CommandLine::new("merge")
        .words(args.files.iter().map(|file| file.display()))
        .option("--scenario", args.scenario.iter().map(|it| it.display()))
        .baselines(&args.baselines);
    let report = CommandLine::new("report")
        .words([&run.session])
        .baselines(&args.baselines)
        .store(global);
    vec![merge.line(), report.line()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_file_does_not_say_what_the_others_are() {
        let check = |names: &[&'static str], expected: &[&str]| {
            assert_eq!(by_number(names.iter().copied()), expected);
        };
        check(&["shop", "api", "shop", "shop"], &["shop", "api"]);
        check(
            &["shop@servers", "shop", "shop@servers"],
            &["shop@servers", "shop"],
        );
        check(&[], &[]);
    }
}
