//! `plimsoll compare`: a verdict over runs that were saved before, or that other tools made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::compare::{Design, Settings};
use crate::harness::gate::{Policy, Waivers};
use crate::harness::interchange::{self, Options};
use crate::harness::model::{Arm, Direction, Reading, Run};
use crate::harness::report::format;
use crate::harness::scenario::{self, GatePlan, Plan};

use super::answers::Answers;
use super::args::{BetterArg, CompareArgs, Global};
use super::failure::Failure;
use super::output::Output;
use super::reproduce::CommandLine;
use super::sources::{Places, Side, Source, drop_replaced};
use super::verdicts::{Case, comparable};
use super::{waivers, workspace};

/// What stands for the stored baseline where a base is named.
pub(super) const BASELINE: &str = "baseline";
/// Said where there is nothing to judge by.
pub(super) const NOT_JUDGED: &str =
    "no gate judges these runs: name their scenario with --scenario";
/// The same, where there never was a scenario.
const NO_MARGIN: &str = "no gate judges these runs: give a margin, as in --regress 5%";
/// Said of numbers that other tools measured.
const CONDITIONS_UNKNOWN: &str = "these numbers come from elsewhere: whether both arms were measured on the same machine and alike is not known here";
/// Said where a file is compared with itself.
const SAME_FILE: &str = "base and head are the same file: a run compared with itself shows nothing";

/// `compare`: two arms, judged.
pub(super) async fn run(
    global: &Global,
    output: &Output,
    args: &CompareArgs,
) -> Result<u8, Failure> {
    let answers = Answers::new(output, &args.writing)?;
    let history = workspace::existing_history(global).await?;
    let places = Places {
        history: history.as_ref(),
        baselines: &args.baselines,
    };
    let (mut base, mut head) = sides(args, &places).await?;
    let mut notes = notes(args, &base, &head);
    notes.extend(part_arms(&mut base.source, &mut head.source)?);
    let is_imported = !(base.imported.is_empty() && head.imported.is_empty());
    let (base, mut head) = (&mut base.source, head.source);
    // What is in one place was put together by whoever numbered it.
    let is_together = is_imported || args.runs.len() == 1;
    let design = match is_together && !args.paired {
        true => Design::of(&base.runs, &head.runs),
        false => design(args.paired, base, &mut head)?,
    };
    let first = &head.runs[0];
    let plan = plan_of(args.scenario.as_deref(), first, output)?;
    let mut policy = policy_of(plan.as_ref(), first, output)?;
    let anchors = match bases(args) {
        [name] if name == BASELINE => places.anchors_for(first)?.0,
        _ => Vec::new(),
    };
    if let Some(regress) = &args.regress {
        let names = match args.gate.is_empty() {
            true => measured(&base.runs, &head.runs),
            false => args.gate.clone(),
        };
        policy.gates = gates(names, regress)?;
        // Waivers are exceptions to the scenario's margins, not to those of this call.
        policy.waivers = Waivers::default();
    }
    policy.strict = args.strictness.strict;
    policy.beyond_margin = args.strictness.beyond_margin;
    policy.require_baseline = args.strictness.require_baseline;
    if policy.gates.is_empty() {
        notes.push(if is_imported { NO_MARGIN } else { NOT_JUDGED }.to_owned());
    }
    let judged = Case {
        policy,
        plan: plan.as_ref(),
        head: &head,
        base: Some(base),
        settings: Settings::new(design),
        notes,
        commands: vec![command(global, args)],
    }
    .judge()
    .beside(&anchors);
    let code = judged.publish(&answers, args.html.as_deref());
    answers.finish_after(code)
}

/// What the arguments mean by base and head.
async fn sides(args: &CompareArgs, places: &Places<'_>) -> Result<(Side, Side), Failure> {
    let options = Options {
        from: args.from,
        better: args.better.map(|better| match better {
            BetterArg::Lower => Direction::Lower,
            BetterArg::Higher => Direction::Higher,
        }),
    };
    if let [both] = &args.runs[..] {
        let side = places
            .side(std::slice::from_ref(both), None, &options)
            .await?;
        for (arm, word) in [(Arm::Base, "base"), (Arm::Head, "head")] {
            if !side.source.runs.iter().any(|run| run.arm == Some(arm)) {
                return Err(Failure::usage(
                    format!("{both} has no run of the {word}"),
                    "label the runs with their arm, or name two: plimsoll compare BASE HEAD",
                ));
            }
        }
        return Ok((side.clone(), side));
    }
    let head = match &args.runs[..] {
        [_, head] => std::slice::from_ref(head),
        _ => &args.head[..],
    };
    let head = places.side(head, Some(Arm::Head), &options).await?;
    let first = &head.source.runs[0];
    let base = match bases(args) {
        [name] if name == BASELINE => Side {
            source: match comparable(places.baseline_for(first)?, first, &args.baselines) {
                (Some(source), _) => source,
                (None, reasons) => {
                    let failure = no_baseline(first, &reasons);
                    return Err(match args.strictness.require_baseline {
                        true => failure.of_the_base(),
                        false => failure,
                    });
                }
            },
            imported: Vec::new(),
        },
        names => places.side(names, Some(Arm::Base), &options).await?,
    };
    Ok((base, head))
}

/// What was named as the base, unless one name stands for both arms.
fn bases(args: &CompareArgs) -> &[String] {
    match &args.runs[..] {
        [base, _] => std::slice::from_ref(base),
        _ => &args.base[..],
    }
}

/// What the reader should know of runs that other tools measured.
fn notes(args: &CompareArgs, base: &Side, head: &Side) -> Vec<String> {
    let is_single = args.runs.len() == 1;
    let mut imported = base.imported.clone();
    if !is_single {
        imported.extend(head.imported.iter().cloned());
    }
    let mut notes = interchange::notes(&imported);
    let mut runs = imported.iter().flat_map(|file| &file.runs).peekable();
    if runs.peek().is_some() && runs.clone().all(|run| run.fingerprint.is_none()) {
        notes.push(CONDITIONS_UNKNOWN.to_owned());
    }
    let all = runs.clone().count();
    let without_pair = runs.filter(|run| run.pair.is_none()).count();
    if (1..all).contains(&without_pair) && !args.paired {
        notes.push(format!(
            "{without_pair} of {all} runs say no pair, so that the arms are compared as measured at different times"
        ));
    }
    let is_in_both = |name: &String| args.head.contains(name) || args.runs.last() == Some(name);
    let bases = args.base.iter().chain(args.runs.first());
    let is_labelled = imported
        .iter()
        .flat_map(|file| &file.runs)
        .any(|run| run.arm.is_some());
    if !is_single && !is_labelled && !imported.is_empty() && bases.clone().any(is_in_both) {
        notes.push(SAME_FILE.to_owned());
    }
    notes
}

/// The metrics that any run measured, by name.
fn measured(base: &[Run], head: &[Run]) -> Vec<String> {
    let metrics = base.iter().chain(head).flat_map(|run| &run.metrics);
    let measured = metrics.filter(|metric| matches!(metric.reading, Reading::Measured { .. }));
    let names: BTreeSet<&String> = measured.map(|metric| &metric.name).collect();
    names.into_iter().cloned().collect()
}

/// The command line that makes this again.
fn command(global: &Global, args: &CompareArgs) -> String {
    let better = args.better.map(|better| match better {
        BetterArg::Lower => "lower",
        BetterArg::Higher => "higher",
    });
    CommandLine::new("compare")
        .words(&args.runs)
        .option("--base", &args.base)
        .option("--head", &args.head)
        .option("--from", args.from)
        .option("--better", better)
        .switch("--paired", args.paired)
        .option("--scenario", args.scenario.iter().map(|it| it.display()))
        .option("--regress", &args.regress)
        .option("--gate", &args.gate)
        .strictness(args.strictness)
        .baselines(&args.baselines)
        .store(global)
        .line()
}

/// What a scenario demands of its runs, with the waivers of its project; or nothing.
pub(super) fn policy_of(
    plan: Option<&Plan>,
    run: &Run,
    output: &Output,
) -> Result<Policy, Failure> {
    let Some(plan) = plan else {
        return Ok(Policy {
            scenario: run.scenario.clone(),
            ..Policy::default()
        });
    };
    Ok(Policy {
        waivers: waivers::on(plan, output)?,
        ..Policy::of(plan)
    })
}

/// Where runs were labelled when they were made, the base's side keeps those of the base and the
/// head's side those of the head: both sides may name the same session. Of a pair that was measured
/// again, what was measured last is kept, as the gate did, and a sentence says so.
pub(super) fn part_arms(base: &mut Source, head: &mut Source) -> Result<Option<String>, Failure> {
    let left_out = keep_arm(base, Arm::Base) + keep_arm(head, Arm::Head);
    match base
        .runs
        .iter()
        .find(|run| head.runs.iter().any(|other| other.id == run.id))
    {
        Some(run) => Err(Failure::usage(
            format!(
                "run {} is in both arms: a run compared with itself shows nothing",
                run.id
            ),
            "name two sessions, or label the runs when they are made: plimsoll run --arm base --pair 1",
        )),
        None => Ok(replaced(left_out)),
    }
}

/// Where any run says that it is of `arm`, only those that do stay; and of those the newest of each
/// pair. Gives how many of the arm went.
pub(super) fn keep_arm(source: &mut Source, arm: Arm) -> u64 {
    if source.runs.iter().any(|run| run.arm == Some(arm)) {
        source.runs.retain(|run| run.arm == Some(arm));
    }
    drop_replaced(&mut source.runs)
}

/// Says that so many runs are not judged, because their pairs were measured again.
pub(super) fn replaced(runs: u64) -> Option<String> {
    (runs > 0).then(|| {
        format!(
            "{} of pairs that were measured again are not judged",
            format::counted(runs, "run")
        )
    })
}

/// Whether a path leads to what is below the working folder.
fn is_below(path: &Path) -> bool {
    let real = std::fs::canonicalize;
    matches!((real(path), real(Path::new("."))), (Ok(path), Ok(here)) if path.starts_with(&here))
}

/// The design that was asked for. Numbers of pairs count by themselves only within a session: those of
/// two may be of different days. Paired runs without pair numbers are paired in their order, which needs
/// as many on each side.
pub(super) fn design(
    paired: bool,
    base: &mut Source,
    head: &mut Source,
) -> Result<Design, Failure> {
    if !paired {
        return Ok(match sessions(base) == sessions(head) {
            true => Design::of(&base.runs, &head.runs),
            false => Design::Stored,
        });
    }
    let numbered = |source: &Source| source.runs.iter().all(|run| run.pair.is_some());
    if numbered(base) && numbered(head) {
        return Ok(Design::Paired);
    }
    let some = |source: &Source| source.runs.iter().any(|run| run.pair.is_some());
    if some(base) || some(head) {
        return Err(Failure::usage(
            "some of these runs have a pair number and others don't",
            "number all of them, or none to pair them in their order",
        ));
    }
    if base.runs.len() != head.runs.len() {
        return Err(Failure::usage(
            format!(
                "{} has {} runs and {} has {}: runs without pair numbers can only be paired one to one",
                base.label,
                base.runs.len(),
                head.label,
                head.runs.len()
            ),
            "give them numbers: `pair` in the file, or when they are made: plimsoll run --arm base --pair 1",
        ));
    }
    for source in [base, head] {
        for (number, run) in (1..).zip(&mut source.runs) {
            run.pair = Some(number);
        }
    }
    Ok(Design::Paired)
}

fn sessions(source: &Source) -> BTreeSet<&str> {
    source.runs.iter().map(|run| &*run.session).collect()
}

/// The scenario whose gates judge: the one that is named, or the one in scenarios/ that has the
/// runs' id. Runs of which no scenario is left are shown without being judged.
pub(super) fn plan_of(
    named: Option<&Path>,
    run: &Run,
    output: &Output,
) -> Result<Option<Plan>, Failure> {
    plan_named(named, &run.scenario, run.scenario_file.as_deref(), output)
}

/// The same by the scenario's id, and the file that it was in where that is known.
pub(super) fn plan_named(
    named: Option<&Path>,
    id: &str,
    file: Option<&str>,
    output: &Output,
) -> Result<Option<Plan>, Failure> {
    let variant = id.split_once('@').map(|(_, variant)| variant);
    if let Some(file) = named {
        let chosen = workspace::Chosen {
            files: vec![file.to_owned()],
            named: true,
        };
        return Ok(workspace::plans(&chosen, variant, output)?.pop());
    }
    // The file that made the run comes first, as long as it is still there and still that scenario.
    // With mistakes in it, nobody knows what it would judge.
    let made_it = file
        .map(PathBuf::from)
        // A run may come from elsewhere: what it names is no reason to open whatever lies there.
        .filter(|file| is_below(file) && file.is_file());
    if let Some(file) = made_it {
        let plans = workspace::all_variants(&[file], output)?
            .into_iter()
            .flatten();
        if let Some(plan) = plans.into_iter().find(|plan| plan.id() == id) {
            return Ok(Some(plan));
        }
    }
    if id.is_empty() {
        return Ok(None);
    }
    let found = workspace::choose(&[], &output.silenced())
        .map_or_else(|_| Vec::new(), |chosen| chosen.files);
    // Another file with mistakes is none of this call's business.
    let mut plans = found
        .into_iter()
        .filter_map(|file| scenario::check(&file).ok())
        .flatten();
    Ok(plans.find(|plan| plan.id() == id))
}

fn gates(names: Vec<String>, text: &str) -> Result<Vec<GatePlan>, Failure> {
    let margin = scenario::parse_percent(text).map_err(|problem| {
        Failure::usage(
            format!("--regress {text}: {problem}"),
            "write a percentage: --regress 5%",
        )
    })?;
    let gate = |metric| GatePlan {
        regress: Some(margin),
        ..GatePlan::on(metric)
    };
    Ok(names.into_iter().map(gate).collect())
}

/// That there is no baseline for `first` here, with the reasons why one that is there is none.
pub(super) fn no_baseline(first: &Run, reasons: &[String]) -> Failure {
    let mut what = format!(
        "there is no comparable baseline of {} for this machine ({})",
        first.scenario,
        first.fingerprint.machine_id()
    );
    for reason in reasons {
        what.push_str(": ");
        what.push_str(reason);
    }
    Failure::usage(
        what,
        format!("save one: plimsoll baseline save {}", first.scenario),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::harness::cli::args::{Cli, Command};
    use crate::harness::model::RunId;

    /// A pair of each of these numbers in a session, base first.
    fn session(name: &str, pairs: &[u32]) -> Source {
        let run = |pair, arm| {
            let mut run = Run::imported(RunId::now(), name.to_owned(), Vec::new());
            (run.arm, run.pair) = (Some(arm), Some(pair));
            run
        };
        let runs = pairs
            .iter()
            .flat_map(|pair| [run(*pair, Arm::Base), run(*pair, Arm::Head)]);
        Source {
            label: name.to_owned(),
            runs: runs.collect(),
            baseline: None,
        }
    }

    /// What a gate measured again is in its session, and is judged by nobody else either.
    #[test]
    fn of_a_pair_that_was_measured_again_the_newest_counts() {
        let all = session("s", &[1, 2, 2, 3]);
        let (mut base, mut head) = (all.clone(), all.clone());
        let note = part_arms(&mut base, &mut head).unwrap();
        assert_eq!(
            note.as_deref(),
            Some("2 runs of pairs that were measured again are not judged")
        );
        for (source, at) in [(&base, 4), (&head, 5)] {
            let pairs: Vec<_> = source.runs.iter().map(|run| run.pair.unwrap()).collect();
            assert_eq!(pairs, [1, 2, 3]);
            assert_eq!(source.runs[1], all.runs[at]);
        }
        // The same numbers in two sessions are no repetition.
        let mut both = session("s", &[1]).runs;
        both.extend(session("t", &[1]).runs);
        assert_eq!(drop_replaced(&mut both), 0);
    }

    #[test]
    fn a_session_is_paired_by_its_numbers_and_two_are_not() {
        let check = |base: &str, head: &str, expected| {
            let (mut base, mut head) = (session(base, &[1, 2]), session(head, &[1, 2]));
            assert_eq!(design(false, &mut base, &mut head).unwrap(), expected);
        };
        check("s", "s", Design::Paired);
        check("s", "t", Design::Stored);
    }

    #[test]
    fn the_command_holds_every_option_that_decides() {
        for options in [
            "a b --scenario old.toml --strict --beyond-margin --require-baseline",
            "a b --paired --baselines elsewhere --store runs.db",
            "--base a --base b --head c --from csv --better lower --regress 5% --gate '*.p95'",
        ] {
            let line = format!("plimsoll compare {options}");
            let cli = Cli::try_parse_from(shell_words::split(&line).unwrap()).unwrap();
            let Command::Compare(args) = &cli.command else {
                unreachable!("a comparison was parsed")
            };
            let found = shell_words::split(&command(&cli.global, args)).unwrap();
            assert_eq!(found, shell_words::split(&line).unwrap());
        }
        let line = "plimsoll compare a b --store postgres://someone:secret@host/runs";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Compare(args) = &cli.command else {
            unreachable!("a comparison was parsed")
        };
        assert_eq!(command(&cli.global, args), "plimsoll compare a b");
    }
}
