//! `plimsoll report`: the page and the summary of saved runs, once more.

use std::path::{Path, PathBuf};

use crate::harness::compare::{Design, Settings};
use crate::harness::model::{Arm, Run};

use super::args::{Global, ReportArgs};
use super::compare::{BASELINE, NOT_JUDGED, design, no_baseline, part_arms, plan_of, policy_of};
use super::failure::Failure;
use super::output::Output;
use super::sources::{Places, Source};
use super::verdicts::{Case, comparable, page_path};
use super::workspace;

/// The verdict is shown; the exit code says only whether it could be.
pub(super) async fn run(
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
    let (base, design, notes) = base(args, &places, &mut head).await?;
    let anchors = match base.as_ref().is_none_or(|base| base.baseline.is_some()) {
        true => places.anchors_for(&head.runs[0])?.0,
        false => Vec::new(),
    };
    let first = head.runs[0].clone();
    let plan = plan_of(args.scenario.as_deref(), &first, output)?;
    let mut policy = policy_of(plan.as_ref(), &first, output)?;
    if base.is_none() {
        for gate in &mut policy.gates {
            gate.regress = None;
        }
    }
    let not_judged = plan.is_none().then(|| NOT_JUDGED.to_owned());
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
        notes: notes.into_iter().chain(not_judged).collect(),
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

/// What `head` is shown beside, and how they are compared. A session of `gate --against` holds both
/// arms; any other is shown beside the baseline of its machine, where there is one that it is no part
/// of.
async fn base(
    args: &ReportArgs,
    places: &Places<'_>,
    head: &mut Source,
) -> Result<(Option<Source>, Design, Vec<String>), Failure> {
    let has = |arm| head.runs.iter().any(|run| run.arm == Some(arm));
    let (mut base, notes) = match args.base.as_deref() {
        None if has(Arm::Base) && has(Arm::Head) => {
            let mut base = head.clone();
            part_arms(&mut base, head)?;
            let design = Design::of(&base.runs, &head.runs);
            return Ok((Some(base), design, Vec::new()));
        }
        named @ (None | Some(BASELINE)) => {
            let first = &head.runs[0];
            let stored = places.baseline_for(first)?;
            let (base, notes) = comparable(stored, first, &args.baselines);
            let base = base.and_then(|base| without(base, &head.runs));
            match named {
                Some(_) if base.is_none() => return Err(no_baseline(first, &notes)),
                Some(_) => (base, notes),
                None => (base, Vec::new()),
            }
        }
        Some(name) => {
            let mut base = places.find(name).await?;
            part_arms(&mut base, head)?;
            (Some(base), Vec::new())
        }
    };
    let design = match &mut base {
        Some(base) => design(args.paired, base, head)?,
        None => Design::Stored,
    };
    Ok((base, design, notes))
}

/// `base` without `runs`, which would be compared with themselves; `None` where nothing is left.
fn without(mut base: Source, runs: &[Run]) -> Option<Source> {
    base.runs
        .retain(|run| !runs.iter().any(|other| other.id == run.id));
    (!base.runs.is_empty()).then_some(base)
}
