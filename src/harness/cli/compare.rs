//! `plimsoll compare` and `plimsoll report`: verdicts over runs that were saved before.

use std::path::{Path, PathBuf};

use crate::harness::compare::{Design, Settings};
use crate::harness::gate::{Policy, Waivers};
use crate::harness::model::{Arm, Run};
use crate::harness::scenario::{self, GatePlan, Plan};

use super::args::{CompareArgs, Global, ReportArgs};
use super::failure::Failure;
use super::output::Output;
use super::sources::{Places, Source};
use super::verdicts::{Case, comparable, page_path};
use super::{waivers, workspace};

/// Said where there is nothing to judge by.
const NOT_JUDGED: &str = "no gate judges these runs: name their scenario with --scenario";

/// `compare`: two arms, judged.
pub(super) async fn run(
    global: &Global,
    output: &Output,
    args: &CompareArgs,
) -> Result<u8, Failure> {
    let history = workspace::existing_history(global).await?;
    let places = Places {
        history: history.as_ref(),
        baselines: &args.baselines,
    };
    let mut head = places.find(&args.head).await?;
    let mut base = match args.base.as_str() {
        "baseline" => places
            .baseline_for(&head.runs[0])?
            .ok_or_else(|| no_baseline(&head.runs[0]))?,
        name => places.find(name).await?,
    };
    part_arms(&mut base, &mut head)?;
    let design = design(args.paired, &mut base, &mut head)?;
    let plan = plan_of(args.scenario.as_deref(), &head.runs[0], output)?;
    let mut policy = policy_of(plan.as_ref(), &head.runs[0], output)?;
    let mut anchors = Vec::new();
    if args.base == "baseline" {
        anchors = places.anchors_for(&head.runs[0])?.0;
    }
    if !args.gate.is_empty() {
        policy.gates = gates(&args.gate, args.regress.as_deref())?;
        // Waivers are exceptions to the scenario's margins, not to those of this call.
        policy.waivers = Waivers::default();
    }
    policy.strict = args.strictness.strict;
    policy.beyond_margin = args.strictness.beyond_margin;
    policy.require_baseline = args.strictness.require_baseline;
    let notes = match policy.gates.is_empty() {
        true => vec![NOT_JUDGED.to_owned()],
        false => Vec::new(),
    };
    let paired = if args.paired { " --paired" } else { "" };
    let judged = Case {
        policy,
        plan: plan.as_ref(),
        head: &head,
        base: Some(&base),
        settings: Settings::new(design),
        notes,
        commands: vec![format!(
            "plimsoll compare {} {}{paired}",
            shell_words::quote(&args.base),
            shell_words::quote(&args.head)
        )],
    }
    .judge()
    .beside(&anchors);
    if let Some(page) = &args.html {
        judged.write_page(page)?;
    }
    judged.answer(output, args.html.as_deref())?;
    Ok(judged.verdict.exit_code)
}

/// `report`: the page and the summary of saved runs, once more. The verdict is shown; the exit code
/// says only whether it could be.
pub(super) async fn report(
    global: &Global,
    output: &Output,
    args: &ReportArgs,
) -> Result<u8, Failure> {
    let history = workspace::existing_history(global).await?;
    let places = Places {
        history: history.as_ref(),
        baselines: &args.baselines,
    };
    let mut head = places.find(&args.runs).await?;
    let first = head.runs[0].clone();
    let (mut base, mut notes) = match args.base.as_deref() {
        None | Some("baseline") => {
            comparable(places.baseline_for(&first)?, &first, &args.baselines)
        }
        Some(name) => (Some(places.find(name).await?), Vec::new()),
    };
    if args.base.as_deref() == Some("baseline") && base.is_none() {
        return Err(no_baseline(&first));
    }
    let design = match &mut base {
        Some(base) => design(args.paired, base, &mut head)?,
        None => Design::Stored,
    };
    let plan = plan_of(args.scenario.as_deref(), &first, output)?;
    let mut policy = policy_of(plan.as_ref(), &first, output)?;
    let mut anchors = Vec::new();
    if matches!(args.base.as_deref(), None | Some("baseline")) {
        anchors = places.anchors_for(&first)?.0;
    }
    if base.is_none() {
        for gate in &mut policy.gates {
            gate.regress = None;
        }
    }
    if args.base.is_none() {
        notes.clear();
    }
    if plan.is_none() {
        notes.push(NOT_JUDGED.to_owned());
    }
    let page: PathBuf = args
        .html
        .clone()
        .unwrap_or_else(|| page_path(Path::new("reports"), &first));
    let judged = Case {
        policy,
        plan: plan.as_ref(),
        head: &head,
        base: base.as_ref(),
        settings: Settings::new(design),
        notes,
        commands: vec![format!(
            "plimsoll report {}",
            shell_words::quote(&args.runs)
        )],
    }
    .judge()
    .beside(&anchors);
    judged.write_page(&page)?;
    judged.answer_report(output, Some(&page))?;
    Ok(0)
}

/// What a scenario demands of its runs, with the waivers of its project; or nothing.
fn policy_of(plan: Option<&Plan>, run: &Run, output: &Output) -> Result<Policy, Failure> {
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
/// head's side those of the head: both sides may name the same session.
fn part_arms(base: &mut Source, head: &mut Source) -> Result<(), Failure> {
    for (source, arm) in [(&mut *base, Arm::Base), (&mut *head, Arm::Head)] {
        if source.runs.iter().any(|run| run.arm == Some(arm)) {
            source.runs.retain(|run| run.arm == Some(arm));
        }
    }
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
        None => Ok(()),
    }
}

/// The design that was asked for. Paired runs without pair numbers are paired in their order, which
/// needs as many on each side.
fn design(paired: bool, base: &mut Source, head: &mut Source) -> Result<Design, Failure> {
    if !paired {
        return Ok(Design::Stored);
    }
    let numbered = |source: &Source| source.runs.iter().all(|run| run.pair.is_some());
    if numbered(base) && numbered(head) {
        return Ok(Design::Paired);
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
            "give them numbers when they are made: plimsoll run --arm base --pair 1",
        ));
    }
    for source in [base, head] {
        for (number, run) in (1..).zip(&mut source.runs) {
            run.pair = Some(number);
        }
    }
    Ok(Design::Paired)
}

/// The scenario whose gates judge: the one that is named, or the one in scenarios/ that has the
/// runs' id. Runs of which no scenario is left are shown without being judged.
fn plan_of(named: Option<&Path>, run: &Run, output: &Output) -> Result<Option<Plan>, Failure> {
    let variant = run.scenario.split_once('@').map(|(_, variant)| variant);
    if let Some(file) = named {
        let chosen = workspace::Chosen {
            files: vec![file.to_owned()],
            named: true,
        };
        return Ok(workspace::plans(&chosen, variant, output)?.pop());
    }
    // The file that made the run comes first, as long as it is still there and still that scenario.
    // With mistakes in it, nobody knows what it would judge.
    let made_it = run
        .scenario_file
        .as_ref()
        .map(PathBuf::from)
        .filter(|file| file.exists());
    if let Some(file) = made_it {
        let plans = workspace::all_variants(&[file], output)?
            .into_iter()
            .flatten();
        if let Some(plan) = plans.into_iter().find(|plan| plan.id() == run.scenario) {
            return Ok(Some(plan));
        }
    }
    let quiet = Output {
        quiet: true,
        ..*output
    };
    let found = workspace::choose(&[], &quiet).map_or_else(|_| Vec::new(), |chosen| chosen.files);
    // Another file with mistakes is none of this call's business.
    let mut plans = found
        .into_iter()
        .filter_map(|file| scenario::check(&file).ok())
        .flatten();
    Ok(plans.find(|plan| plan.id() == run.scenario))
}

fn gates(globs: &[String], regress: Option<&str>) -> Result<Vec<GatePlan>, Failure> {
    let text = regress.unwrap_or_default();
    let margin = scenario::parse_percent(text).map_err(|problem| {
        Failure::usage(
            format!("--regress {text}: {problem}"),
            "write a percentage: --regress 5%",
        )
    })?;
    let gate = |glob: &String| GatePlan {
        metric: glob.clone(),
        max: None,
        min: None,
        regress: Some(margin),
        unit: None,
    };
    Ok(globs.iter().map(gate).collect())
}

fn no_baseline(run: &Run) -> Failure {
    Failure::usage(
        format!(
            "there is no comparable baseline of {} for this machine ({})",
            run.scenario,
            run.fingerprint.machine_id()
        ),
        format!("save one: plimsoll baseline save {}", run.scenario),
    )
}
