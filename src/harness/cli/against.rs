//! `plimsoll gate --against`: both revisions built, run in alternation here and now, and judged by
//! what the base demands.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::harness::compare::{Design, Noise, Settings};
use crate::harness::engine::checkout::{Checkout, CheckoutError, Checkouts};
use crate::harness::engine::{Engine, SubjectEngine, bench, machine};
use crate::harness::gate::{MetricOutcome, Outcome, Policy, Verdict, Waivers, exit};
use crate::harness::model::{Arm, Run, is_committed};
use crate::harness::report::text;
use crate::harness::scenario::{self, Overrides, Part, Plan, Target, Template};
use crate::harness::store::History;

use super::answers::Answers;
use super::args::{GateArgs, Global, Selection};
use super::execute::{
    Asked, Label, STOPPED, Session, environment, missing_program, new_session, nothing_left,
    own_program, save, stop_on_signal,
};
use super::failure::Failure;
use super::live::{Live, Open, Standing};
use super::looks::Looks;
use super::output::Output;
use super::pairs::{Batch, Pairs, Side, Sides, spread_invocations, usual_pairs};
use super::reproduce::CommandLine;
use super::session::Labels;
use super::start::explain;
use super::verdicts::{Case, page_path};
use super::workspace::{self, Chosen, SCENARIOS};
use super::{noise, overrides, waivers};

/// The history's folder where no other is named.
const OWN_FOLDER: &str = ".plimsoll";
/// Where cargo keeps what it builds of every project; a gate gives each checkout a folder of its own.
const TARGET_DIRS: [&str; 2] = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];

/// The gate of one call.
struct Against<'a> {
    global: &'a Global,
    output: &'a Output,
    answers: &'a Answers<'a>,
    args: &'a GateArgs,
    /// The revision as it was named.
    named: &'a str,
    base: Checkout,
    head: Checkout,
    /// The folder of the call below the top of the project.
    below: PathBuf,
    budget: Option<Duration>,
    /// What is changed of the scenarios, in both arms.
    changes: Overrides,
    history: History,
    /// The plimsoll that supervisors and workers are started from.
    executable: PathBuf,
}

/// What the base holds besides a scenario's plan.
struct Given {
    /// The exceptions to its margins.
    waivers: Waivers,
    /// What calibration said of its noise on this machine.
    noise: BTreeMap<String, Noise>,
}

/// What there is to measure.
struct Work {
    /// Plans of the base's scenarios.
    gated: Vec<Plan>,
    /// Plans of scenarios that only the head has.
    new: Vec<Plan>,
}

/// Measures and judges every scenario; the exit code is that of the weightiest verdict.
pub(super) async fn run(
    global: &Global,
    output: &Output,
    args: &GateArgs,
    revision: &str,
) -> Result<u8, Failure> {
    let answers = Answers::new(output, &args.selection.writing)?;
    let budget = args.against.budget.as_deref().map(budget).transpose()?;
    let changes = overrides::parse(&args.selection.overrides)?;
    let here = std::env::current_dir()
        .and_then(|folder| folder.canonicalize())
        .map_err(|error| Failure::tool("finding the working folder", &error))?;
    let checkouts = Checkouts::open(&here, &cache(args)?)
        .await
        .map_err(trouble)?;
    let base = checkouts.base(revision).await.map_err(trouble)?;
    let below = here
        .strip_prefix(checkouts.project())
        .unwrap_or(Path::new(""))
        .to_owned();
    let written = written(global, &args.selection, &here, checkouts.project());
    let head = checkouts.head(&written).await.map_err(trouble)?;
    output.say(&format!(
        "base {} ({}), head {}",
        base.revision,
        text::one_line(revision),
        head.revision
    ));
    let behind = checkouts.behind(&base).await.map_err(trouble)?;
    if behind > 0 {
        output.warn(&format!(
            "the head lacks {behind} of the commits of {revision}, so their effects are judged as well, the other way \
             round; merge them, or name the commit where the head left: \
             --against $(git merge-base HEAD {revision})",
            revision = shell_words::quote(&text::one_line(revision)),
        ));
    }
    let this = Against {
        global,
        output,
        answers: &answers,
        args,
        named: revision,
        base,
        head,
        below,
        budget,
        changes,
        history: workspace::history(global).await?,
        executable: own_program()?,
    };
    let work = this.work(&here, checkouts.project())?;
    let live = Live::new(*output);
    let stop = stop_on_signal(&live)?;
    for plan in &work.gated {
        live.expect(plan, this.first(plan).saturating_mul(2));
        live.may_go_on(&plan.id(), budget.is_some());
    }
    for plan in &work.new {
        live.expect(plan, args.selection.runs.unwrap_or(1));
    }
    let mut codes = Vec::new();
    for plan in &work.gated {
        codes.push(match this.gate(plan, &stop, &live).await {
            Ok(code) => code,
            // The other scenarios are not to blame.
            Err(failure) => {
                live.finish(&plan.id());
                answers.keep_failed(&plan.id(), &failure.to_string());
                explain(&failure, output)
            }
        });
        if *stop.borrow() {
            break;
        }
    }
    for plan in &work.new {
        if *stop.borrow() {
            break;
        }
        // Whatever becomes of it decides nothing.
        if let Err(failure) = this.show(plan, &stop, &live).await {
            explain(&failure, output);
        }
    }
    if work.gated.is_empty() {
        output.warn(&format!(
            "nothing is judged: {revision} has none of these scenarios"
        ));
        if args.strictness.require_baseline {
            codes.push(exit::NO_BASELINE);
        }
    }
    if *stop.borrow() {
        output.warn(STOPPED);
        codes.push(exit::INVALID);
        answers.keep_stopped(&work.gated);
    }
    this.history.close().await;
    if let Err(failure) = answers.finish() {
        codes.push(explain(&failure, output));
    }
    Ok(exit::worst(codes))
}

impl Against<'_> {
    /// Which scenarios there are, in which arm. What is not measured in both is said.
    fn work(&self, here: &Path, project: &Path) -> Result<Work, Failure> {
        let named = &self.args.selection.scenarios;
        let files = match named.is_empty() {
            true => self.found()?,
            false => named
                .iter()
                .map(|file| below(project, here, file))
                .collect::<Result<_, _>>()?,
        };
        let (mut of_base, mut of_head) = (Vec::new(), Vec::new());
        for file in files {
            let (base, head) = (self.base.root.join(&file), self.head.root.join(&file));
            let shown = self.shown(&file);
            match (base.is_file(), head.is_file()) {
                (true, false) => {
                    self.output.warn(&format!(
                        "{shown} is not in the head; it is measured all the same, as the base has it"
                    ));
                    of_base.push(base);
                }
                (true, true) => {
                    if std::fs::read(&base).ok() != std::fs::read(&head).ok() {
                        self.output.warn(&format!(
                            "{shown} differs in the head; both are measured and judged as the base has it, \
                             until the change is merged"
                        ));
                    }
                    of_base.push(base);
                }
                (false, true) => {
                    self.output
                        .warn(&format!("{shown} is new in the head: shown, not judged"));
                    of_head.push(head);
                }
                (false, false) => {
                    return Err(Failure::usage(
                        format!("neither {} nor the head has {shown}", self.named),
                        "name a scenario file of the project",
                    ));
                }
            }
        }
        let plans = |files: Vec<PathBuf>, root: &Path| -> Result<Vec<Plan>, Failure> {
            let chosen = Chosen {
                named: !named.is_empty(),
                files,
            };
            let variant = self.args.selection.variant.as_deref();
            let mut plans = workspace::plans(&chosen, variant, self.output)?;
            for plan in &mut plans {
                let file = plan.file.strip_prefix(root).unwrap_or(&plan.file);
                plan.file = self.shown_path(file);
            }
            Ok(plans)
        };
        let mut work = Work {
            gated: plans(of_base, &self.base.root)?,
            new: plans(of_head, &self.head.root)?,
        };
        let roots = [&*self.base.root, &*self.head.root];
        for plans in [&mut work.gated, &mut work.new] {
            let mut fit = Vec::new();
            for mut plan in std::mem::take(plans) {
                let (reason, failure) = if let Some(reason) = unfit(&plan, project, roots) {
                    let remedy = "gate it against its baseline instead: plimsoll gate SCENARIO";
                    (reason.clone(), Failure::usage(reason, remedy))
                } else if let Some(reason) = missing_program(&plan) {
                    (reason.clone(), Failure::Tool(reason))
                } else if let Err(misfit) = overrides::apply(&self.changes, &mut plan, self.output)
                {
                    misfit
                } else {
                    fit.push(plan);
                    continue;
                };
                if !named.is_empty() {
                    return Err(failure);
                }
                self.output.warn(&format!("skipping {reason}"));
            }
            *plans = fit;
        }
        match work.gated.is_empty() && work.new.is_empty() {
            true => Err(nothing_left()),
            false => Ok(work),
        }
    }

    /// Every scenario of either arm in the usual folder, below the top of the project.
    fn found(&self) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.below.join(SCENARIOS);
        let mut files = Vec::new();
        let mut is_there = false;
        for (root, output) in [
            (&self.base.root, self.output),
            // What is no scenario was said of the base already.
            (&self.head.root, &self.output.silenced()),
        ] {
            let found = workspace::found_in(&root.join(&folder), output)?;
            is_there |= found.is_some();
            let found = found.into_iter().flatten();
            files.extend(found.filter_map(|file| Some(file.strip_prefix(root).ok()?.to_owned())));
        }
        files.sort();
        files.dedup();
        match is_there {
            true => Ok(files),
            false => Err(Failure::usage(
                format!(
                    "neither {} nor the head has a folder {SCENARIOS}/ here",
                    self.named
                ),
                "name a scenario file; the README shows the shortest one",
            )),
        }
    }

    /// What the baseline that the base has for this machine knows of a scenario's noise. One that can't be read
    /// is no reason not to gate: pairs speak for themselves.
    fn noise(&self, plan: &Plan) -> BTreeMap<String, Noise> {
        let baselines = self.base.root.join(&self.below);
        let baselines = baselines.join(&self.args.selection.baselines);
        noise::stored(&baselines, &machine::of_plan(plan), &plan.id()).unwrap_or_else(|failure| {
            explain(&failure, self.output);
            BTreeMap::new()
        })
    }

    /// One scenario that the base has: built twice, measured in pairs, judged as often as planned.
    async fn gate(
        &self,
        plan: &Plan,
        stop: &watch::Receiver<bool>,
        live: &Live,
    ) -> Result<u8, Failure> {
        let first = self.first(plan);
        let seed = self.args.against.seed.unwrap_or_else(rand::random);
        // The plan is the base's, and so are its waivers. A mistake in them must not cost the pairs.
        let given = Given {
            waivers: waivers::on(plan, self.output)?,
            noise: self.noise(plan),
        };
        let answer = self
            .pairs_and_looks(plan, &given, first, seed, stop, live)
            .await;
        live.finish(&plan.id());
        let (pairs, looks) = answer?;
        let case = self.case(plan, &given, &pairs, &looks, seed);
        let Some(run) = pairs.head.runs.first() else {
            // Without a run of the head there is nothing to show a page of.
            return case.unmeasured().publish(self.answers, None);
        };
        let judged = case.judge();
        let page = page_path(&self.args.selection.reports, run);
        judged.publish(self.answers, Some(&page))
    }

    /// Pairs before the first look.
    fn first(&self, plan: &Plan) -> u32 {
        self.args.against.pairs.unwrap_or(usual_pairs(plan))
    }

    async fn pairs_and_looks(
        &self,
        plan: &Plan,
        given: &Given,
        first: u32,
        seed: u64,
        stop: &watch::Receiver<bool>,
        live: &Live,
    ) -> Result<(Pairs, Looks), Failure> {
        let mut pairs = Pairs::new(self.label(Arm::Base), self.label(Arm::Head));
        let mut looks = Looks::new(first, self.budget);
        let mut sides = self.sides(plan, first);
        for (side, arm) in [(&mut sides.base, Arm::Base), (&mut sides.head, Arm::Head)] {
            self.keep_benches(side, arm).await;
        }
        if !self.build(&mut sides, stop, live).await? {
            return Ok((pairs, looks));
        }
        let mut batch = Some(first);
        let mut open = Vec::new();
        while let Some(size) = batch {
            let began = Instant::now();
            live.stand(Standing {
                open: std::mem::take(&mut open),
                until: looks.left().and_then(|left| began.checked_add(left)),
            });
            live.may_go_on(&plan.id(), looks.may_go_on());
            let orders = Batch {
                pairs: size,
                seed: seed.wrapping_add(u64::from(looks.taken)),
            };
            let keep = async |run: &Run| save(&self.history, &self.args.selection, run).await;
            pairs.measure(&mut sides, orders, stop, live, keep).await?;
            looks.take(began.elapsed(), size);
            if pairs.is_over || pairs.head.runs.is_empty() {
                break;
            }
            let judged = self.case(plan, given, &pairs, &looks, seed).judge();
            open = still_open(&judged.verdict);
            batch = match open.is_empty() {
                true => None,
                false => looks.next(),
            };
            for told in looks.tell(&open, batch) {
                live.line(&format!("{}: {told}", plan.id()));
            }
            live.expect(plan, batch.unwrap_or(0).saturating_mul(2));
        }
        Ok((pairs, looks))
    }

    /// Both sides of a plan of the base: what is measured is the same, what is built is each one's own.
    fn sides(&self, plan: &Plan, pairs: u32) -> Sides<SubjectEngine> {
        let session = new_session();
        let mut plan = plan.clone();
        spread_invocations(&mut plan, pairs);
        let below = plan
            .root
            .strip_prefix(&self.base.root)
            .unwrap_or(Path::new(""))
            .to_owned();
        let side = |arm, checkout: &Checkout| {
            let plan = Plan {
                root: checkout.root.join(&below),
                ..plan.clone()
            };
            Side {
                engine: SubjectEngine::new(self.executable.clone(), environment())
                    .with_target_dir(checkout.target_dir()),
                labels: Labels {
                    session: session.clone(),
                    arm: Some(arm),
                    pair: None,
                    revision: Some(checkout.revision.clone()),
                    fingerprint: machine::of_plan(&plan),
                },
                plan,
            }
        };
        Sides {
            base: side(Arm::Base, &self.base),
            head: side(Arm::Head, &self.head),
        }
    }

    /// Takes from a plan the bench targets that its checkout doesn't have, and says so: what the other
    /// arm measures of them is in one arm only, which the verdict names.
    async fn keep_benches(&self, side: &mut Side<SubjectEngine>, arm: Arm) {
        let plan = &mut side.plan;
        for mut bench in std::mem::take(&mut plan.benches) {
            let package = bench.package.as_deref();
            let there = bench::targets(&self.executable, &plan.root, package).await;
            // What is wrong with the project, its build says better; no name stands for all.
            if let (Ok(there), false) = (there, bench.targets.is_empty()) {
                let is_there = |target: &String| there.contains(target);
                let (kept, gone): (Vec<_>, Vec<_>) = bench.targets.into_iter().partition(is_there);
                for target in gone {
                    self.output.warn(&format!(
                        "the {} has no bench target {}",
                        arm.name(),
                        text::one_line(&target)
                    ));
                }
                if kept.is_empty() {
                    continue;
                }
                bench.targets = kept;
            }
            plan.benches.push(bench);
        }
    }

    /// Builds both, the base first; false where the stop came before the end.
    async fn build(
        &self,
        sides: &mut Sides<SubjectEngine>,
        stop: &watch::Receiver<bool>,
        live: &Live,
    ) -> Result<bool, Failure> {
        for (side, arm) in [(&mut sides.base, Arm::Base), (&mut sides.head, Arm::Head)] {
            let name = arm.name();
            live.about(&side.plan.id(), name);
            let mut stopped = stop.clone();
            let observe = |progress| live.observe(progress);
            tokio::select! {
                built = side.engine.build(&side.plan, &observe) => {
                    built.map_err(|error| {
                        let failure = Failure::tool(format!("building {} of the {name}", side.plan.id()), &error);
                        match arm {
                            Arm::Base => failure.of_the_base(),
                            Arm::Head => failure,
                        }
                    })?;
                }
                // What is being built goes with the future.
                Ok(_) = stopped.wait_for(|stop| *stop) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn case<'a>(
        &self,
        plan: &'a Plan,
        given: &Given,
        pairs: &'a Pairs,
        looks: &Looks,
        seed: u64,
    ) -> Case<'a> {
        let strictness = self.args.strictness;
        Case {
            policy: Policy {
                waivers: given.waivers.clone(),
                strict: strictness.strict,
                beyond_margin: strictness.beyond_margin,
                require_baseline: strictness.require_baseline,
                ..Policy::of(plan)
            },
            plan: Some(plan),
            head: &pairs.head,
            base: Some(&pairs.base),
            settings: Settings {
                alpha: looks.alpha(),
                noise: given.noise.clone(),
                ..Settings::new(Design::Paired)
            },
            notes: overrides::note(&self.args.selection.overrides)
                .into_iter()
                .chain(looks.note())
                .chain(pairs.note())
                .collect(),
            commands: self.commands(plan, looks.first, seed),
        }
    }

    fn commands(&self, plan: &Plan, first: u32, seed: u64) -> Vec<String> {
        let gate = CommandLine::new("gate")
            .option("--against", [&self.base.revision])
            .words([plan.file.display()])
            .option("--variant", &plan.variant)
            .option("--pairs", [first])
            .option("--budget", &self.args.against.budget)
            .option("--seed", [seed])
            .overrides(&self.args.selection.overrides)
            .strictness(self.args.strictness)
            .baselines(&self.args.selection.baselines);
        // What was not committed can't be had again by its name.
        let checkout = is_committed(&self.head.revision)
            .then(|| format!("git checkout {}", self.head.revision));
        checkout.into_iter().chain([gate.line()]).collect()
    }

    /// A scenario that only the head has: run once and shown.
    async fn show(
        &self,
        plan: &Plan,
        stop: &watch::Receiver<bool>,
        live: &Live,
    ) -> Result<u8, Failure> {
        // Trends and baselines leave it out, as they do other heads.
        let label = Label {
            arm: Some(Arm::Head),
            ..Label::default()
        };
        let session = Session {
            global: self.global,
            answers: self.answers,
            selection: &self.args.selection,
            asked: Asked::Limits,
            label: &label,
            history: &self.history,
            checkout: Some(&self.head),
            session: new_session(),
        };
        session.run(plan, Waivers::default(), stop, live).await
    }

    fn label(&self, arm: Arm) -> String {
        match arm {
            Arm::Base => format!("base {} ({})", self.base.revision, self.named),
            Arm::Head => format!("head {}", self.head.revision),
        }
    }

    /// A file of the project as a person here would name it.
    fn shown_path(&self, file: &Path) -> PathBuf {
        match file.strip_prefix(&self.below) {
            Ok(file) => file.to_owned(),
            Err(_) => {
                let up = self.below.components().map(|_| Component::ParentDir);
                up.collect::<PathBuf>().join(file)
            }
        }
    }

    fn shown(&self, file: &Path) -> String {
        text::one_line(&self.shown_path(file).to_string_lossy())
    }
}

/// Why a plan can't tell two revisions of `project`, checked out at `roots`, apart.
fn unfit(plan: &Plan, project: &Path, roots: [&Path; 2]) -> Option<String> {
    let id = plan.id();
    if matches!(plan.target, Some(Target::Url(_))) && plan.benches.is_empty() {
        return Some(format!(
            "{id}: its target is a server that is already there, the same for both revisions"
        ));
    }
    plan.processes.iter().find_map(|process| {
        let commands = process.build.iter().chain(&process.prepare);
        let words = commands.chain([&process.start]).flat_map(|it| &it.words);
        let mut literal = words.clone().filter_map(Template::as_literal);
        let program = process.start.words.first().and_then(Template::as_literal);
        let is_fixed = |word: &str| match Path::new(word).strip_prefix(project) {
            // What git ignores, such as a virtual environment, is in no revision; what is built is.
            Ok(file) => {
                roots.iter().any(|root| root.join(file).exists())
                    || (process.build.is_some() && program == Some(word))
            }
            Err(_) => false,
        };
        if literal.any(is_fixed) {
            return Some(format!(
                "{id}: process `{}` names what is in the project by an absolute path, the same for both revisions",
                process.name
            ));
        }
        let mut parts = words.chain(process.env.values()).flat_map(|it| &it.parts);
        let shared = parts.find_map(|part| match part {
            Part::Env(name) if TARGET_DIRS.contains(&&**name) => Some(name),
            _ => None,
        });
        shared.map(|name| {
            format!(
                "{id}: process `{}` uses {{$env.{name}}}, the same for both revisions",
                process.name
            )
        })
    })
}

/// Gating metrics of which neither worse nor unchanged can be said yet.
fn still_open(verdict: &Verdict) -> Vec<Open> {
    // What fails already is not saved by more pairs, and what is no measurement becomes none.
    if verdict.verdict != Outcome::Inconclusive {
        return Vec::new();
    }
    let metrics = verdict.metrics.iter();
    metrics
        .filter(|metric| metric.gating && metric.verdict == MetricOutcome::Inconclusive)
        .map(Open::of)
        .collect()
}

/// A revision that isn't there is a mistake of the call.
fn trouble(error: CheckoutError) -> Failure {
    match error {
        CheckoutError::UnknownRevision { .. } => Failure::usage(
            text::block(&error.to_string()),
            "name a branch, a tag or a commit; a shallow clone has to fetch it first: git fetch --depth 1 origin REVISION",
        ),
        CheckoutError::NoRepository { .. } => Failure::usage(
            text::block(&error.to_string()),
            "call it in the project; without git, run both builds and compare them: plimsoll run --arm base …, plimsoll compare",
        ),
        error => Failure::tool("checking out", &error),
    }
}

/// A time that was asked for.
pub(super) fn budget(text: &str) -> Result<Duration, Failure> {
    let parsed = scenario::duration_ns(text).map(Duration::from_nanos);
    parsed.map_err(|problem| {
        Failure::usage(
            format!("--budget {}: {problem}", text::one_line(text)),
            "write a time: --budget 15m",
        )
    })
}

/// The folder of all checkouts: the one that was named, or the usual one for what can be made again.
fn cache(args: &GateArgs) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.against.worktrees {
        return Ok(folder.clone());
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    cache
        .filter(|cache| cache.is_absolute())
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))
        .map(|cache| cache.join("plimsoll").join("worktrees"))
        .ok_or_else(|| {
            Failure::usage(
                "there is no cache folder: neither XDG_CACHE_HOME nor HOME is set",
                "name a folder for the checkouts: --worktrees DIR",
            )
        })
}

/// Where `file`, named from the folder `here`, lies below the top of the project. It need not be
/// there: the base may have it.
fn below(project: &Path, here: &Path, file: &Path) -> Result<PathBuf, Failure> {
    real(&here.join(file))
        .strip_prefix(project)
        .map(Path::to_owned)
        .map_err(|_| {
            Failure::usage(
                format!(
                    "{} is not in this project, so no revision has it",
                    file.display()
                ),
                "name a scenario file of the project",
            )
        })
}

/// What plimsoll itself writes below the top of the project, which is no part of what is measured. A
/// folder that holds the call's own is none: leaving it out would leave out the change.
fn written(global: &Global, selection: &Selection, here: &Path, project: &Path) -> Vec<PathBuf> {
    let mut written = vec![PathBuf::from(OWN_FOLDER), selection.reports.clone()];
    written.extend(selection.out.clone());
    written.extend(selection.writing.write.iter().map(|one| one.file.clone()));
    if let Some(file) = global.store_file() {
        // SQLite keeps two more beside it.
        written.extend(["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{file}{end}"))));
    }
    let paths = written.iter().map(|path| real(&here.join(path)));
    paths
        .filter(|path| !here.starts_with(path))
        .filter_map(|path| Some(path.strip_prefix(project).ok()?.to_owned()))
        .collect()
}

/// The path that is meant; as it is written where nothing is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| plain(path))
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::harness::cli::args::{Cli, Command};

    #[test]
    fn what_plimsoll_writes_is_no_part_of_the_head() {
        let check = |options: &str, expected: &[&str]| {
            let line = format!("plimsoll gate --against main {options}");
            let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
            let Command::Gate(args) = &cli.command else {
                unreachable!("a gate was parsed")
            };
            let (here, project) = (Path::new("/shop/api"), Path::new("/shop"));
            let found = written(&cli.global, &args.selection, here, project);
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(found, expected, "{options}");
        };
        let usual = ["api/.plimsoll", "api/reports"];
        check("", &usual);
        check(
            "--reports /shop/pages --out ../runs",
            &["api/.plimsoll", "pages", "runs"],
        );
        check(
            "--write junit=junit.xml --write json=../out/verdicts.jsonl",
            &[&usual[..], &["api/junit.xml", "out/verdicts.jsonl"]].concat(),
        );
        // Left out with these, no change would be seen.
        check("--reports . --out /shop", &["api/.plimsoll"]);
        let runs = ["api/runs.db", "api/runs.db-wal", "api/runs.db-shm"];
        check("--store sqlite:runs.db", &[&usual[..], &runs].concat());
        check("--store /elsewhere/runs.db", &usual);
        check("--store postgres://someone:secret@host/runs", &usual);
    }

    #[test]
    fn what_is_the_same_in_both_arms_is_not_gated() {
        let project = tempfile::tempdir().unwrap();
        let checkout = tempfile::tempdir().unwrap();
        std::fs::write(checkout.path().join("server.py"), "").unwrap();
        let check = |lines: &str, expected: Option<&str>| {
            let lines = lines.replace("PROJECT", &project.path().display().to_string());
            let text = format!(
                "schema = 1\nname = \"s\"\n[[process]]\nname = \"web\"\n{lines}\ntarget = true\n\
                 [[flow.f.step]]\nget = \"/\"\n[load.a]\nclosed = {{ users = 1 }}\n"
            );
            let scenario = scenario::parse(&text, &checkout.path().join("s.toml")).unwrap();
            let roots = [checkout.path(), checkout.path()];
            let reason = unfit(&scenario.plans[0], project.path(), roots);
            match expected {
                None => assert_eq!(reason, None, "{lines}"),
                Some(expected) => {
                    let reason = reason.unwrap();
                    assert!(reason.contains(expected), "{reason}");
                }
            }
        };
        let fixed = Some("absolute path");
        check("start = \"python3 server.py {port}\"", None);
        check("start = \"python3 PROJECT/server.py {port}\"", fixed);
        check("start = \"PROJECT/.venv/python server.py {port}\"", None);
        check(
            "build = \"make\"\nstart = \"PROJECT/bin/server {port}\"",
            fixed,
        );
        check(
            "prepare = \"sh PROJECT/server.py\"\nstart = \"python3 server.py {port}\"",
            fixed,
        );
        check(
            "start = \"{$env.CARGO_TARGET_DIR}/release/server {port}\"",
            Some("{$env.CARGO_TARGET_DIR}"),
        );
        check(
            "start = \"server {port}\"\nenv = { AT = \"{$env.CARGO_BUILD_TARGET_DIR}/x\" }",
            Some("{$env.CARGO_BUILD_TARGET_DIR}"),
        );
    }
}
