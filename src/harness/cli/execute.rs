//! What `run` and `gate` have in common: choose scenarios, measure each in a session, judge, report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::harness::compare::{Design, Settings};
use crate::harness::engine::checkout::Checkout;
use crate::harness::engine::{SubjectEngine, machine};
use crate::harness::gate::{Policy, Waivers, exit};
use crate::harness::model::{Arm, Fingerprint, Run, is_committed};
use crate::harness::scenario::Plan;
use crate::harness::store::{History, files};

use super::answers::Answers;
use super::args::{Global, OverrideArgs, Selection, Strictness};
use super::failure::Failure;
use super::live::Live;
use super::output::Output;
use super::reproduce::CommandLine;
use super::session::{Labels, git_revision, measure};
use super::sources::{Places, Source};
use super::start::explain;
use super::verdicts::{Case, comparable, page_path};
use super::{overrides, waivers, workspace};

/// Said when a stop is asked for.
const STOPPING: &str = "stopping: what was measured is kept; once more, and it ends at once";
/// Said after a stop, which no call survives as a success: not all that was asked for was done.
pub(super) const STOPPED: &str = "stopped before the end: what was measured is in the history";

/// What is asked of the runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// Whether the limits hold.
    Limits,
    /// That, and whether anything got worse than the baseline.
    Baseline(Strictness),
}

impl Asked {
    /// How many runs of a plan that takes.
    fn runs(self, selection: &Selection, plan: &Plan) -> u32 {
        selection.runs.unwrap_or(match self {
            Self::Limits => 1,
            Self::Baseline(_) => plan.runs,
        })
    }
}

/// How the runs are labelled.
#[derive(Debug, Clone, Default)]
pub(super) struct Label {
    /// The arm of a comparison to come.
    pub(super) arm: Option<Arm>,
    /// The pair of the first run.
    pub(super) pair: Option<u32>,
    /// The session to add to.
    pub(super) session: Option<String>,
}

/// Runs what is selected and answers; the exit code is that of the weightiest verdict.
pub(super) async fn execute(
    global: &Global,
    output: &Output,
    selection: &Selection,
    asked: Asked,
    label: &Label,
) -> Result<u8, Failure> {
    let answers = Answers::new(output, &selection.writing)?;
    let plans = runnable(
        &selection.scenarios,
        selection.variant.as_deref(),
        &selection.overrides,
        output,
    )?;
    // Before anything is measured: a mistake in the waivers must not cost the runs.
    let waived = match asked {
        Asked::Limits => vec![Waivers::default(); plans.len()],
        Asked::Baseline(_) => plans
            .iter()
            .map(|plan| waivers::on(plan, output))
            .collect::<Result<_, _>>()?,
    };
    let history = workspace::history(global).await?;
    let live = Live::new(*output);
    let stop = stop_on_signal(&live)?;
    for plan in &plans {
        live.expect(plan, asked.runs(selection, plan));
    }
    let mut codes = Vec::new();
    for (plan, waivers) in plans.iter().zip(waived) {
        let case = Session {
            global,
            answers: &answers,
            selection,
            asked,
            label,
            history: &history,
            checkout: None,
            session: label.session.clone().unwrap_or_else(new_session),
        };
        match case.run(plan, waivers, &stop, &live).await {
            Ok(code) => codes.push(code),
            // The other scenarios are not to blame.
            Err(failure) => {
                answers.keep_failed(&plan.id(), &failure.to_string());
                codes.push(explain(&failure, output));
            }
        }
        if *stop.borrow() {
            output.warn(STOPPED);
            codes.push(exit::INVALID);
            answers.keep_stopped(&plans);
            break;
        }
    }
    history.close().await;
    if let Err(failure) = answers.finish() {
        codes.push(explain(&failure, output));
    }
    Ok(exit::worst(codes))
}

/// The plans that a call means, changed as it says, and that this machine can run. What is passed over is
/// said; where it was named, it is an error.
pub(super) fn runnable(
    scenarios: &[PathBuf],
    variant: Option<&str>,
    changes: &OverrideArgs,
    output: &Output,
) -> Result<Vec<Plan>, Failure> {
    let changes = overrides::parse(changes)?;
    let chosen = workspace::choose(scenarios, output)?;
    let mut plans = Vec::new();
    for mut plan in workspace::plans(&chosen, variant, output)? {
        let fits = match missing_program(&plan) {
            Some(text) => Err((text.clone(), Failure::Tool(text))),
            None => overrides::apply(&changes, &mut plan, output),
        };
        match fits {
            Ok(()) => plans.push(plan),
            Err((_, failure)) if chosen.named => return Err(failure),
            Err((text, _)) => output.warn(&format!("skipping {text}")),
        }
    }
    // An empty gate would be green for the wrong reason.
    if plans.is_empty() {
        return Err(nothing_left());
    }
    Ok(plans)
}

/// That everything was passed over.
pub(super) fn nothing_left() -> Failure {
    Failure::usage(
        "nothing is left to run",
        "see what there is: plimsoll list; or name a scenario file",
    )
}

/// A session with the engine that runs real things on this machine, building where the checkout does
/// if the plan is of one.
pub(super) async fn measure_here(
    live: &Live,
    plan: &Plan,
    runs: u32,
    labels: &Labels,
    checkout: Option<&Checkout>,
    stop: &watch::Receiver<bool>,
    save: impl AsyncFnMut(&Run) -> Result<(), Failure>,
) -> Result<Vec<Run>, Failure> {
    let mut engine = SubjectEngine::new(own_program()?, environment());
    if let Some(checkout) = checkout {
        engine = engine.with_target_dir(checkout.target_dir());
    }
    let runs = measure(&mut engine, plan, runs, labels, stop, live, save).await;
    live.clear();
    runs
}

/// One plan in one session.
pub(super) struct Session<'a> {
    /// Options of every command.
    pub(super) global: &'a Global,
    /// Where the answers go.
    pub(super) answers: &'a Answers<'a>,
    /// How it was asked for.
    pub(super) selection: &'a Selection,
    /// What is asked of the runs.
    pub(super) asked: Asked,
    /// How the runs are labelled.
    pub(super) label: &'a Label,
    /// Where the runs are kept.
    pub(super) history: &'a History,
    /// The checkout that the plan was read from, where it is not the tree itself: its verdict is
    /// then shown and can't fail, because what judges it is part of the change.
    pub(super) checkout: Option<&'a Checkout>,
    /// The session's id.
    pub(super) session: String,
}

impl Session<'_> {
    /// Measures, judges and answers; gives the exit code.
    pub(super) async fn run(
        &self,
        plan: &Plan,
        waivers: Waivers,
        stop: &watch::Receiver<bool>,
        live: &Live,
    ) -> Result<u8, Failure> {
        let head = self.measured(plan, stop, live).await;
        live.finish(&plan.id());
        let head = head?;
        let commands = head.runs.first().map(|first| self.commands(plan, first));
        self.judged(plan, waivers, &head, commands.unwrap_or_default())
    }

    /// Judges runs that are kept already and answers; gives the exit code. The commands are those that
    /// make it again.
    pub(super) fn judged(
        &self,
        plan: &Plan,
        waivers: Waivers,
        head: &Source,
        commands: Vec<String>,
    ) -> Result<u8, Failure> {
        let output = self.answers.output;
        let Some(first) = head.runs.first() else {
            let case = Case {
                policy: Policy::of(plan),
                plan: Some(plan),
                head,
                base: None,
                settings: Settings::new(Design::Stored),
                notes: Vec::new(),
                commands,
            };
            return case.unmeasured().publish(self.answers, None);
        };
        let page = page_path(&self.selection.reports, first);
        let places = Places {
            history: Some(self.history),
            baselines: &self.selection.baselines,
        };
        let (base, notes) = match (places.baseline_for(first), self.asked) {
            (Ok(stored), _) => comparable(stored, first, &self.selection.baselines),
            // The limits need no baseline: one that can't be read is no reason to lose the verdict.
            (Err(failure), Asked::Limits) => {
                explain(&failure, output);
                (None, Vec::new())
            }
            (Err(failure), Asked::Baseline(_)) => return Err(failure),
        };
        let mut policy = Policy::of(plan);
        policy.waivers = waivers;
        let mut anchors = Vec::new();
        let changes = overrides::note(&self.selection.overrides).into_iter();
        let notes = match self.asked {
            Asked::Limits => {
                for gate in &mut policy.gates {
                    gate.regress = None;
                }
                changes.collect()
            }
            Asked::Baseline(strictness) => {
                policy.strict = strictness.strict;
                policy.beyond_margin = strictness.beyond_margin;
                policy.require_baseline = strictness.require_baseline;
                let (comparable, passed_over) = places.anchors_for(first)?;
                anchors = comparable;
                changes.chain(notes).chain(passed_over).collect()
            }
        };
        let mut judged = Case {
            policy,
            plan: Some(plan),
            head,
            base: base.as_ref(),
            settings: Settings::new(Design::Stored),
            notes,
            commands,
        }
        .judge()
        .beside(&anchors);
        if self.checkout.is_some() {
            judged.show_only("new in the head: shown, and judged once the base has it too");
        }
        judged.publish(self.answers, Some(&page))
    }

    /// What a run of this session says of itself.
    pub(super) async fn labels(&self, plan: &Plan, fingerprint: Fingerprint) -> Labels {
        let revision = match (&self.selection.revision, self.checkout) {
            (Some(revision), _) => Some(revision.clone()),
            (None, Some(checkout)) => Some(checkout.revision.clone()),
            (None, None) => {
                let Selection {
                    reports,
                    baselines,
                    out,
                    writing,
                    ..
                } = self.selection;
                let written = writing.write.iter().map(|written| &written.file);
                let written = written.chain(out).chain([reports, baselines]);
                let written = written.map(PathBuf::as_path);
                git_revision(&plan.root, &Vec::from_iter(written)).await
            }
        };
        Labels {
            session: self.session.clone(),
            arm: self.label.arm,
            pair: self.label.pair,
            revision,
            fingerprint,
        }
    }

    async fn measured(
        &self,
        plan: &Plan,
        stop: &watch::Receiver<bool>,
        live: &Live,
    ) -> Result<Source, Failure> {
        let labels = self.labels(plan, machine::of_plan(plan)).await;
        let runs = self.asked.runs(self.selection, plan);
        let keep = async |run: &Run| save(self.history, self.selection, run).await;
        let runs = measure_here(live, plan, runs, &labels, self.checkout, stop, keep).await?;
        Ok(Source {
            label: format!("session {}", self.session),
            runs,
            baseline: None,
        })
    }

    fn commands(&self, plan: &Plan, run: &Run) -> Vec<String> {
        let mut commands = Vec::new();
        // What the user said of the revision need not be one that git knows.
        let from_git = run
            .revision
            .as_deref()
            .filter(|_| self.selection.revision.is_none());
        if let Some(revision) = from_git.filter(|text| is_committed(text)) {
            commands.push(format!("git checkout {}", shell_words::quote(revision)));
        }
        let command = match self.asked {
            Asked::Limits => CommandLine::new("run"),
            Asked::Baseline(strictness) => CommandLine::new("gate").strictness(strictness),
        };
        let command = command
            .words([plan.file.display()])
            .option("--variant", &plan.variant)
            .option("--runs", self.selection.runs)
            .overrides(&self.selection.overrides)
            .baselines(&self.selection.baselines);
        let report = CommandLine::new("report")
            .words([&run.session])
            .baselines(&self.selection.baselines)
            .store(self.global);
        commands.extend([command.line(), report.line()]);
        commands
    }
}

/// Keeps a run in the history, and as a file where that was asked for.
pub(super) async fn save(
    history: &History,
    selection: &Selection,
    run: &Run,
) -> Result<(), Failure> {
    workspace::keep(history, run).await?;
    if let Some(folder) = &selection.out {
        files::write_run(&folder.join(format!("{}.json", run.id)), run)
            .map_err(|error| Failure::tool("writing the run", &error))?;
    }
    Ok(())
}

/// A session's id: readable, sorted by time, unlike any other.
pub(super) fn new_session() -> String {
    let now = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{now}-{}", &random[..4])
}

/// Ctrl-C and SIGTERM end the run early and keep what was measured, which is said at once; a second Ctrl-C ends us
/// at once, and the supervisors take everything down.
pub(super) fn stop_on_signal(live: &Live) -> Result<watch::Receiver<bool>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Failure::tool("listening to signals", &error));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let (sender, receiver) = watch::channel(false);
    let live = live.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send_replace(true) {
                live.clear();
                std::process::exit(130);
            }
            live.line(STOPPING);
        }
    });
    Ok(receiver)
}

/// The program that supervisors and workers are started from: this one.
pub(super) fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::tool("finding this program's own file", &error))
}

/// The environment, from which the engine takes what the plan mentions. A variable that is not UTF-8
/// can't be mentioned.
pub(super) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A program that the plan starts and that is not on this machine, as a sentence with a remedy. Where
/// anything is built, a program that is named by a path may be what is built.
pub(super) fn missing_program(plan: &Plan) -> Option<String> {
    let builds = plan.processes.iter().any(|process| process.build.is_some());
    for process in &plan.processes {
        let own = process
            .cwd
            .as_ref()
            .map_or_else(|| plan.root.clone(), |cwd| plan.root.join(cwd));
        // Builds start in the project's folder, whatever the process's own.
        let commands = process.build.iter().map(|command| (command, &plan.root));
        let others = process.prepare.iter().chain([&process.start]);
        let missing = commands
            .chain(others.map(|command| (command, &own)))
            // A program whose name is filled in can't be looked for before that.
            .filter_map(|(command, folder)| Some((command.words.first()?.as_literal()?, folder)))
            .filter(|(program, _)| !(builds && program.contains('/')))
            .find(|(program, folder)| !is_there(program, folder));
        if let Some((program, _)) = missing {
            return Some(format!(
                "{}: the program `{program}` of process `{}` is not on this machine; install it or put it on PATH",
                plan.file.display(),
                process.name
            ));
        }
    }
    None
}

fn is_there(program: &str, folder: &Path) -> bool {
    if program.contains('/') {
        return folder.join(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::scenario;

    /// What is missing of a process with these lines.
    fn check(lines: &str, expected: Option<&str>) {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "schema = 1\nname = \"s\"\n[[process]]\nname = \"web\"\n{lines}\ntarget = true\n\
             [[flow.f.step]]\nget = \"/\"\n[load.a]\nclosed = {{ users = 1 }}\n"
        );
        let scenario = scenario::parse(&text, &folder.path().join("s.toml")).unwrap();
        let missing = missing_program(&scenario.plans[0]);
        match expected {
            None => assert_eq!(missing, None, "{lines}"),
            Some(program) => {
                let missing = missing.unwrap();
                assert!(missing.contains(&format!("`{program}`")), "{missing}");
            }
        }
    }

    #[test]
    fn only_what_nobody_makes_is_missing() {
        check("start = \"sh x {port}\"", None);
        check(
            "start = \"no-such-program {port}\"",
            Some("no-such-program"),
        );
        check("start = \"bin/none {port}\"", Some("bin/none"));
        check(
            "build = \"sh make\"\nprepare = \"bin/none migrate\"\nstart = \"bin/none {port}\"",
            None,
        );
        check(
            "build = \"no-such-make all\"\nstart = \"bin/none {port}\"",
            Some("no-such-make"),
        );
        check(
            "build = \"sh make\"\nstart = \"no-such-program {port}\"",
            Some("no-such-program"),
        );
    }
}
