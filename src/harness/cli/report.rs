//! `plimsoll report`: the page and the summary of saved runs, once more.

use std::path::Path;

use crate::harness::compare::{Design, Settings};
use crate::harness::gate::{Policy, exit};
use crate::harness::model::{Arm, Run};
use crate::harness::scenario::Plan;

use super::answers::Answers;
use super::args::{Global, ReportArgs};
use super::compare::{
    BASELINE, NOT_JUDGED, design, keep_arm, no_baseline, part_arms, plan_of, policy_of, replaced,
};
use super::failure::Failure;
use super::output::Output;
use super::reproduce::CommandLine;
use super::sources::{Anchored, Places, Source};
use super::verdicts::{Case, Judged, comparable, page_path};
use super::{site, workspace};

/// Said of a verdict, because another may have been reached from the same runs.
const ANEW: &str = "judged anew, by the scenario and the waivers that are here now; what was said when it was measured is on a page of its own";
/// Said of pairs, of which their gate knew more.
const ONE_LOOK: &str = "the pairs are judged as one look at the whole level, without what was calibrated; their gate may have judged otherwise";

/// The verdict is shown; the exit code says only whether it could be.
pub(super) async fn run(
    global: &Global,
    output: &Output,
    args: &ReportArgs,
) -> Result<u8, Failure> {
    if let Some(folder) = &args.site {
        return site::run(global, output, args, folder).await;
    }
    let answers = Answers::new(output, &args.writing)?;
    let history = workspace::existing_history(global).await?;
    let places = Places {
        history: history.as_ref(),
        baselines: &args.baselines,
    };
    let head = places.find(&args.runs).await?;
    let saved = Saved::new(&places, head, args.base.as_deref(), args.paired).await?;
    let first = &saved.head.runs[0];
    let plan = plan_of(args.scenario.as_deref(), first, output)?;
    let policy = policy_of(plan.as_ref(), first, output)?;
    // The page of the call that measured is not this one's to replace.
    let again = || page_path(Path::new("reports"), first).with_extension("again.html");
    let page = args.html.clone().unwrap_or_else(again);
    let note = if plan.is_some() { ANEW } else { NOT_JUDGED };
    let command = command(global, args);
    let judged = saved.judge(plan.as_ref(), policy, note, command);
    let said = judged.publish_report(&answers, &page);
    answers.finish_after(said.map(|()| exit::PASS))
}

/// Saved runs with what they are shown beside.
pub(super) struct Saved {
    head: Source,
    base: Option<Source>,
    design: Design,
    anchors: Vec<Anchored>,
    notes: Vec<String>,
}

impl Saved {
    /// `head` beside the runs that `base` names, or beside what is there where it names none.
    pub(super) async fn new(
        places: &Places<'_>,
        mut head: Source,
        base: Option<&str>,
        paired: bool,
    ) -> Result<Self, Failure> {
        let (base, design, notes) = beside(base, paired, places, &mut head).await?;
        let anchors = match base.as_ref().is_none_or(|base| base.baseline.is_some()) {
            true => places.anchors_for(&head.runs[0])?.0,
            false => Vec::new(),
        };
        Ok(Self {
            head,
            base,
            design,
            anchors,
            notes,
        })
    }

    /// Judges them; `note` says by what.
    pub(super) fn judge<'a>(
        &'a self,
        plan: Option<&'a Plan>,
        mut policy: Policy,
        note: &str,
        command: String,
    ) -> Judged<'a> {
        if self.base.is_none() {
            for gate in &mut policy.gates {
                gate.regress = None;
            }
        }
        let notes = self.notes.iter().cloned().chain([note.to_owned()]);
        Case {
            policy,
            plan,
            head: &self.head,
            base: self.base.as_ref(),
            settings: Settings::new(self.design),
            notes: notes.collect(),
            commands: vec![command],
        }
        .judge()
        .beside(&self.anchors)
    }
}

/// The command line that makes this again.
fn command(global: &Global, args: &ReportArgs) -> String {
    CommandLine::new("report")
        .words([&args.runs])
        .option("--base", &args.base)
        .switch("--paired", args.paired)
        .option("--scenario", args.scenario.iter().map(|it| it.display()))
        .baselines(&args.baselines)
        .store(global)
        .line()
}

/// What `head` is shown beside, and how they are compared. A session of `gate --against` holds both
/// arms; any other is shown beside the baseline of its machine, where there is one that it is no part
/// of.
async fn beside(
    named: Option<&str>,
    paired: bool,
    places: &Places<'_>,
    head: &mut Source,
) -> Result<(Option<Source>, Design, Vec<String>), Failure> {
    let has = |arm| head.runs.iter().any(|run| run.arm == Some(arm));
    let (mut base, notes) = match named {
        None if has(Arm::Base) && has(Arm::Head) => {
            let mut base = head.clone();
            let replaced = part_arms(&mut base, head)?;
            let design = Design::of(&base.runs, &head.runs);
            let one_look = (design == Design::Paired).then(|| ONE_LOOK.to_owned());
            let notes = replaced.into_iter().chain(one_look).collect();
            return Ok((Some(base), design, notes));
        }
        named @ (None | Some(BASELINE)) => {
            let replaced = match named {
                Some(_) => replaced(keep_arm(head, Arm::Head)),
                None => None,
            };
            let first = &head.runs[0];
            let stored = places.baseline_for(first)?;
            let (base, notes) = comparable(stored, first, places.baselines);
            let base = base.and_then(|base| without(base, &head.runs));
            match named {
                Some(_) if base.is_none() => return Err(no_baseline(first, &notes)),
                Some(_) => (base, notes.into_iter().chain(replaced).collect()),
                None => (base, Vec::new()),
            }
        }
        Some(name) => {
            let mut base = places.find(name).await?;
            let replaced = part_arms(&mut base, head)?;
            (Some(base), replaced.into_iter().collect())
        }
    };
    let design = match &mut base {
        Some(base) => design(paired, base, head)?,
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::model::{Direction, Metric, RunId, Unit};
    use crate::harness::store::Baseline;

    fn run(session: &str, arm: Option<Arm>) -> Run {
        let (unit, better) = (Unit::Nanoseconds, Direction::Lower);
        let metric = Metric::single("load.a.p95", unit, better, 1e6, 1000);
        let mut run = Run::imported(RunId::now(), session.to_owned(), vec![metric]);
        run.scenario = "shop".to_owned();
        run.arm = arm;
        run
    }

    /// The half of a gate's session that is the base would hide half of what the head did.
    #[tokio::test]
    async fn beside_the_baseline_only_the_head_of_a_gate_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let before = Baseline::from_runs(&[run("before", None)]).unwrap();
        before.save(folder.path()).unwrap();
        let places = Places {
            history: None,
            baselines: folder.path(),
        };
        let mut head = Source {
            label: "session gate".to_owned(),
            runs: vec![run("gate", Some(Arm::Base)), run("gate", Some(Arm::Head))],
            baseline: None,
        };
        let judged = head.runs[1].clone();
        let beside = beside(Some(BASELINE), false, &places, &mut head).await;
        let (base, design, _) = beside.unwrap();
        assert!(base.unwrap().baseline.is_some());
        assert_eq!(design, Design::Stored);
        assert_eq!(head.runs, [judged]);
    }
}
