//! `plimsoll calibrate`: runs of one build against each other, for the noise that gates have to reckon with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::harness::compare::{AaValues, ArmSize, Calibrated, aa_values};
use crate::harness::engine::{Engine, SubjectEngine, machine};
use crate::harness::gate::{AaPairs, Policy, exit, false_alarms};
use crate::harness::model::{Arm, Metric, Run, median};
use crate::harness::report::calibration::{
    CALIBRATION_FORMAT, CalibratedMetric, CalibratedSession, CalibrationReport, GateSize,
    MetricSize, sessions_note,
};
use crate::harness::report::terminal::{TerminalStyle, render_calibration};
use crate::harness::report::{format, text, words};
use crate::harness::scenario::{Plan, catalogue};
use crate::harness::store::{
    Baseline, Calibration, CalibrationSession, History, MetricPairs, PairedValues, Query,
};

use super::against::budget;
use super::args::{CalibrateArgs, Global};
use super::execute::{STOPPED, environment, new_session, runnable, stop_on_signal};
use super::failure::Failure;
use super::live::Live;
use super::output::Output;
use super::pairs::{Batch, Pairs, Side, Sides, spread_invocations, usual_pairs};
use super::session::{Labels, git_revision};
use super::start::explain;
use super::{noise, workspace};

/// With a budget, pairs are measured so many at a time: one AB and one BA.
const PAIRS_AT_A_TIME: u32 = 2;

/// Calibrates every scenario. Nothing is ever red; the exit code says whether it could be done.
pub(super) async fn run(
    global: &Global,
    output: &Output,
    args: &CalibrateArgs,
) -> Result<u8, Failure> {
    let asked = Asked {
        pairs: args.pairs,
        sessions: args.sessions,
        budget: args.budget.as_deref().map(budget).transpose()?,
    };
    let plans = runnable(&args.scenarios, args.variant.as_deref(), output)?;
    let history = workspace::history(global).await?;
    let stop = stop_on_signal()?;
    let this = Calibrating {
        output,
        args,
        asked,
        history: &history,
    };
    let mut codes = Vec::new();
    for plan in &plans {
        codes.push(match this.scenario(plan, &stop).await {
            Ok(code) => code,
            // The other scenarios are not to blame.
            Err(failure) => explain(&failure, output),
        });
        if *stop.borrow() {
            output.say(STOPPED);
            codes.push(exit::INVALID);
            break;
        }
    }
    history.close().await;
    Ok(exit::worst(codes))
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Asked {
    pairs: u32,
    sessions: u32,
    budget: Option<Duration>,
}

/// One call.
struct Calibrating<'a> {
    output: &'a Output,
    args: &'a CalibrateArgs,
    asked: Asked,
    history: &'a History,
}

/// The valid pairs of a session.
struct Sitting {
    session: CalibrationSession,
    pairs: AaPairs,
}

impl Calibrating<'_> {
    async fn scenario(&self, plan: &Plan, stop: &watch::Receiver<bool>) -> Result<u8, Failure> {
        // A file that can't be read should be known before an hour of measuring.
        self.baseline(plan)?;
        let live = Live::new(*self.output);
        let measured = self.measured(plan, stop, &live).await;
        live.finish();
        let mut notes = Vec::new();
        let (mut sittings, mut dropped) = (Vec::new(), 0);
        for pairs in measured? {
            notes.extend(pairs.note());
            let (valid, lost) = valid_pairs(pairs.base.runs.into_iter().chain(pairs.head.runs));
            dropped += narrowed(lost.len());
            notes.extend(lost);
            sittings.extend(Sitting::of(valid));
        }
        notes.dedup();
        let measured: u32 = sittings.iter().map(|sitting| sitting.session.pairs).sum();
        let asked = self.asked.pairs.saturating_mul(self.asked.sessions);
        if self.asked.budget.is_some() && measured + dropped < asked {
            notes.push(format!(
                "the budget had time for {} of {asked}",
                format::counted((measured + dropped).into(), "pair")
            ));
        }
        if sittings.is_empty() {
            self.output.say(&format!("{}: no valid pair", plan.id()));
            for note in &notes {
                self.output.say(&format!("  {}", text::one_line(note)));
            }
            return Ok(exit::INVALID);
        }
        let report = self.stored(plan, &sittings, dropped, notes).await?;
        self.answer(&report)?;
        Ok(exit::PASS)
    }

    fn baseline(&self, plan: &Plan) -> Result<Option<Baseline>, Failure> {
        Baseline::find(&self.args.baselines, &machine::of_plan(plan), &plan.id())
            .map_err(|error| Failure::tool("reading the baseline", &error))
    }

    /// The pairs of each session: one build for both arms and all of them.
    async fn measured(
        &self,
        plan: &Plan,
        stop: &watch::Receiver<bool>,
        live: &Live,
    ) -> Result<Vec<Pairs>, Failure> {
        let revision = match &self.args.revision {
            Some(revision) => Some(revision.clone()),
            None => git_revision(&plan.root).await,
        };
        let labels = Labels {
            session: String::new(),
            arm: None,
            pair: None,
            revision,
            fingerprint: machine::of_plan(plan),
        };
        // A pair is to be what it is in a gate.
        let mut plan = plan.clone();
        let pairs = usual_pairs(&plan);
        spread_invocations(&mut plan, pairs);
        let executable = std::env::current_exe()
            .map_err(|error| Failure::tool("finding this program's own file", &error))?;
        let mut engine = SubjectEngine::new(executable, environment());
        let mut stopped = stop.clone();
        let observe = |progress| live.observe(progress);
        tokio::select! {
            built = engine.build(&plan, &observe) => {
                built.map_err(|error| Failure::tool(format!("building {}", plan.id()), &error))?;
            }
            // What is being built goes with the future.
            Ok(_) = stopped.wait_for(|stop| *stop) => return Ok(Vec::new()),
        }
        let side = |engine, arm| Side {
            engine,
            plan: plan.clone(),
            labels: Labels {
                arm: Some(arm),
                ..labels.clone()
            },
        };
        let mut sides = Sides {
            base: side(engine.clone(), Arm::Base),
            head: side(engine, Arm::Head),
        };
        let keep = async |run: &Run| {
            let saved = self.history.save(run).await;
            saved
                .map(drop)
                .map_err(|error| Failure::tool("saving the run", &error))
        };
        sessions(&mut sides, self.asked, stop, live, keep).await
    }

    /// Adds the sessions to the baseline, and says what all of them together are worth.
    async fn stored(
        &self,
        plan: &Plan,
        sittings: &[Sitting],
        dropped_pairs: u32,
        mut notes: Vec<String>,
    ) -> Result<CalibrationReport, Failure> {
        let (mut baseline, note) = renewed(self.baseline(plan)?, plan, sittings)?;
        notes.extend(note);
        let mut calibration = baseline.calibration.take().unwrap_or_default();
        let earlier = self.earlier(plan, &calibration).await?;
        for Sitting { session, pairs } in sittings {
            let values = aa_values(&pairs.base, &pairs.head).into_iter();
            calibration.add(session.clone(), values.map(to_store).collect());
        }
        let found = noise::find(&mut calibration);
        let known = calibration.sessions.len() - sittings.len();
        let sessions: Vec<CalibratedSession> = calibration
            .sessions
            .iter()
            .enumerate()
            .map(|(at, session)| CalibratedSession {
                session: session.session.clone(),
                revision: session.revision.clone(),
                started_at: session.started_at,
                pairs: session.pairs,
                is_new: at >= known,
            })
            .collect();
        baseline.calibration = Some(calibration);
        let file = baseline
            .save(&self.args.baselines)
            .map_err(|error| Failure::tool("saving the baseline", &error))?;

        let policy = Policy::of(plan);
        let gate = GateSize {
            pairs: usual_pairs(plan) as usize,
            base_runs: baseline.sessions.iter().map(|one| one.runs.len()).sum(),
            base_sessions: baseline.sessions.len(),
            head_runs: plan.runs as usize,
        };
        notes.extend(sessions_note(&sessions));
        let metrics = margins(&policy, sittings, &found, &baseline, gate);
        notes.extend(on_nothing(&policy, sittings));
        let new = sittings.iter().map(|sitting| sitting.pairs.clone());
        let all: Vec<AaPairs> = earlier.into_iter().chain(new).collect();
        let named = |name: &String| policy.margin(name).is_some();
        Ok(CalibrationReport {
            schema: CALIBRATION_FORMAT.to_owned(),
            scenario: plan.id(),
            machine: baseline.fingerprint.machine_id(),
            fingerprint: baseline.fingerprint.id(),
            file: file.display().to_string(),
            sessions,
            dropped_pairs,
            gate,
            metrics,
            other_metrics: found.keys().filter(|name| !named(name)).count() as u64,
            false_alarms: false_alarms(&policy, &all, gate.pairs).into(),
            notes,
        })
    }

    /// The pairs of the sessions that were calibrated before, as far as the history still has them.
    async fn earlier(
        &self,
        plan: &Plan,
        calibration: &Calibration,
    ) -> Result<Vec<AaPairs>, Failure> {
        let reading = |error| Failure::tool("reading the history", &error);
        let mut found = Vec::new();
        for session in &calibration.sessions {
            let query = Query {
                scenario: Some(plan.id()),
                session: Some(session.session.clone()),
                fingerprint: Some(machine::of_plan(plan).id()),
                only_valid: true,
                ..Query::default()
            };
            let runs = self.history.find(&query).await.map_err(reading)?;
            let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
            let runs = self.history.load(&ids).await.map_err(reading)?;
            found.push(valid_pairs(runs).0);
        }
        Ok(found)
    }

    fn answer(&self, report: &CalibrationReport) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.output.answer_json(report);
        }
        if self.output.quiet {
            let scenario = text::one_line(&report.scenario);
            return self
                .output
                .answer(&format!("[CALIBRATED] {scenario}: {}", report.headline()));
        }
        let style = TerminalStyle {
            colour: self.output.colour,
            width: self.output.width,
            ascii: false,
        };
        self.output.answer(&render_calibration(report, style))
    }
}

impl Sitting {
    /// The session of some pairs, if there are any.
    fn of(pairs: AaPairs) -> Option<Self> {
        let runs = || pairs.base.iter().chain(&pairs.head);
        let first = runs().min_by_key(|run| (run.started_at, run.id))?;
        Some(Self {
            session: CalibrationSession {
                session: first.session.clone(),
                revision: first.revision.clone(),
                plimsoll_version: first.plimsoll_version.clone(),
                started_at: first.started_at,
                pairs: narrowed(pairs.base.len()),
            },
            pairs,
        })
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.pairs.base.iter().chain(&self.pairs.head)
    }
}

/// Measures session after session, each with an id of its own, until all is done, the budget is spent, or going on
/// is of no use. Each run is handed to `save` before the next begins.
async fn sessions<E: Engine>(
    sides: &mut Sides<E>,
    asked: Asked,
    stop: &watch::Receiver<bool>,
    live: &Live,
    mut save: impl AsyncFnMut(&Run) -> Result<(), Failure>,
) -> Result<Vec<Pairs>, Failure> {
    let began = Instant::now();
    let mut measured = 0;
    let mut done = Vec::new();
    for _ in 0..asked.sessions {
        let session = new_session();
        sides.base.labels.session.clone_from(&session);
        sides.head.labels.session = session;
        let mut pairs = Pairs::new("base".to_owned(), "head".to_owned());
        let mut left = asked.pairs;
        while left > 0 && !pairs.is_over {
            let size = match asked.budget {
                None => left,
                Some(budget) => {
                    let each = began.elapsed() / measured.max(1);
                    if measured > 0 && began.elapsed() + each * PAIRS_AT_A_TIME > budget {
                        break;
                    }
                    left.min(PAIRS_AT_A_TIME)
                }
            };
            let batch = Batch {
                pairs: size,
                seed: rand::random(),
            };
            let measuring = pairs.measure(sides, batch, stop, live, &mut save).await;
            // Here neither arm is a base that could be missing.
            measuring.map_err(|failure| match failure {
                Failure::NoBase(text) => Failure::Tool(text),
                other => other,
            })?;
            left -= size;
            measured += size;
        }
        let is_over = pairs.is_over || left > 0;
        done.push(pairs);
        if is_over {
            break;
        }
    }
    Ok(done)
}

/// The pairs of which both runs are valid, in their order, and why others were dropped: a sentence each.
fn valid_pairs(runs: impl IntoIterator<Item = Run>) -> (AaPairs, Vec<String>) {
    let mut by_number: BTreeMap<u32, [Option<Run>; 2]> = BTreeMap::new();
    for run in runs {
        if let (Some(number), Some(arm)) = (run.pair, run.arm) {
            by_number.entry(number).or_default()[(arm == Arm::Head) as usize] = Some(run);
        }
    }
    let (mut valid, mut dropped) = (AaPairs::default(), Vec::new());
    for (number, pair) in by_number {
        match pair {
            [Some(base), Some(head)] if base.is_valid() && head.is_valid() => {
                valid.base.push(base);
                valid.head.push(head);
            }
            pair => {
                let reasons: BTreeSet<String> = pair
                    .iter()
                    .flatten()
                    .flat_map(|run| &run.invalid)
                    .map(|reason| words::invalid(reason).what)
                    .collect();
                let why = match reasons.is_empty() {
                    true => "stopped before its end".to_owned(),
                    false => reasons.into_iter().collect::<Vec<_>>().join("; "),
                };
                dropped.push(format!("pair {number} was dropped: {why}"));
            }
        }
    }
    (valid, dropped)
}

/// The baseline to which the sessions belong. Where there is none of this fingerprint, their runs make one, because
/// a noise without the values that it is of could not be reviewed.
fn renewed(
    found: Option<Baseline>,
    plan: &Plan,
    sittings: &[Sitting],
) -> Result<(Baseline, Option<String>), Failure> {
    let fingerprint = machine::of_plan(plan);
    let differences = match found {
        Some(baseline) => {
            let differences = baseline.fingerprint.differences(&fingerprint);
            if differences.is_empty() {
                return Ok((baseline, None));
            }
            differences
        }
        None => Vec::new(),
    };
    let runs: Vec<Run> = sittings.iter().flat_map(Sitting::runs).cloned().collect();
    let baseline = Baseline::from_runs(&runs)
        .map_err(|error| Failure::tool(format!("making the baseline of {}", plan.id()), &error))?;
    let note = match differences.is_empty() {
        true => "there was no baseline of it here: these runs make the first".to_owned(),
        false => {
            let fields: Vec<&str> = differences
                .iter()
                .map(|difference| difference.field.as_str())
                .collect();
            format!(
                "the baseline that was here counts no more, because {} changed: these runs make a new one, and the calibration \
                 begins anew",
                fields.join(", ")
            )
        }
    };
    Ok((baseline, Some(note)))
}

/// Every metric with a margin, by name.
fn margins(
    policy: &Policy,
    sittings: &[Sitting],
    found: &BTreeMap<String, Calibrated>,
    baseline: &Baseline,
    gate: GateSize,
) -> Vec<CalibratedMetric> {
    let mut all: BTreeMap<&str, Vec<&Metric>> = BTreeMap::new();
    for metric in sittings
        .iter()
        .flat_map(Sitting::runs)
        .flat_map(|run| &run.metrics)
    {
        all.entry(&metric.name).or_default().push(metric);
    }
    let of_metric = |(name, metrics): (&str, Vec<&Metric>)| {
        let margin = policy.margin(name)?;
        let values: Vec<f64> = metrics.iter().filter_map(|metric| metric.value()).collect();
        let kind = (metrics.first()?.unit.clone(), median(&values));
        let a_run = metrics.iter().map(|metric| metric.values().len()).max()?;
        // The invocations of a bench were spread over the pairs: there are at least so many.
        let invocations = a_run.saturating_sub(1) * gate.pairs + 1;
        let size = MetricSize {
            base: values_of(baseline, name),
            head: ArmSize {
                runs: gate.head_runs * invocations,
                sessions: 1,
            },
            invocations,
        };
        let known = found.get(name);
        let size = (gate.pairs, size);
        Some(CalibratedMetric::new(
            name.to_owned(),
            kind,
            margin,
            known,
            size,
        ))
    };
    all.into_iter().filter_map(of_metric).collect()
}

/// How many values a baseline has of a metric, in how many sessions.
fn values_of(baseline: &Baseline, metric: &str) -> ArmSize {
    let metrics = baseline
        .sessions
        .iter()
        .filter_map(|session| session.metrics.get(metric));
    let counts: Vec<usize> = metrics
        .map(|metric| metric.values.iter().map(Vec::len).sum())
        .filter(|count| *count > 0)
        .collect();
    ArmSize {
        runs: counts.iter().sum(),
        sessions: counts.len(),
    }
}

/// Margins on what no run has, a sentence each.
fn on_nothing(policy: &Policy, sittings: &[Sitting]) -> Vec<String> {
    let names: BTreeSet<&str> = sittings
        .iter()
        .flat_map(Sitting::runs)
        .flat_map(|run| &run.metrics)
        .map(|metric| metric.name.as_str())
        .collect();
    policy
        .gates
        .iter()
        .filter(|gate| gate.regress.is_some())
        .filter(|gate| {
            !names
                .iter()
                .any(|name| catalogue::matches(&gate.metric, name))
        })
        .map(|gate| format!("no run has a metric `{}`, which has a margin", gate.metric))
        .collect()
}

fn to_store((name, values): (String, AaValues)) -> (String, MetricPairs) {
    let pairs = MetricPairs {
        unit: values.unit,
        better: values.better,
        values: PairedValues {
            base: values.base,
            head: values.head,
        },
    };
    (name, pairs)
}

fn narrowed(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::f64::consts::PI;
    use std::sync::{Arc, Mutex};

    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use statrs::distribution::{ContinuousCDF as _, Normal};

    use super::*;
    use crate::harness::cli::args::Format;
    use crate::harness::engine::{Executed, Progress};
    use crate::harness::model::{Direction, Fingerprint, InvalidReason, Measurement, Unit};
    use crate::harness::scenario;

    const P95: &str = "load.a.p95";
    const SIGMA: f64 = 0.02;

    /// A machine whose runs scatter, with a centre that moves between sessions.
    struct Machine {
        random: ChaCha8Rng,
        runs: usize,
        runs_a_session: usize,
        centres: Vec<f64>,
        /// Runs, counted from 1, that drop too much.
        invalid: Vec<usize>,
        /// The run, counted from 1, in which the target dies.
        dies_at: usize,
    }

    #[derive(Clone)]
    struct Simulated(Arc<Mutex<Machine>>);

    #[derive(Debug, thiserror::Error)]
    #[error("no")]
    struct Never;

    impl Engine for Simulated {
        type Error = Never;

        async fn build(
            &mut self,
            _: &Plan,
            _: &(dyn Fn(Progress) + Send + Sync),
        ) -> Result<(), Never> {
            Ok(())
        }

        async fn run(
            &mut self,
            _: &Plan,
            _: watch::Receiver<bool>,
            _: &(dyn Fn(Progress) + Send + Sync),
        ) -> Result<Executed, Never> {
            let mut machine = self.0.lock().unwrap();
            if machine.runs.is_multiple_of(machine.runs_a_session) {
                let centre = 17.0 + 0.2 * machine.random.random_range(-1.0..1.0);
                machine.centres.push(centre);
            }
            machine.runs += 1;
            let off =
                SIGMA * Normal::standard().inverse_cdf(machine.random.random_range(1e-12..1.0));
            let value = (machine.centres.last().unwrap() + off).exp();
            let (unit, better) = (Unit::Nanoseconds, Direction::Lower);
            let mut invalid = Vec::new();
            if machine.invalid.contains(&machine.runs) {
                invalid.push(InvalidReason::NothingMeasured { load: "a".into() });
            }
            if machine.dies_at == machine.runs {
                invalid.push(InvalidReason::ProcessExited {
                    process: "web".into(),
                    status: "signal 9".into(),
                    at_ns: 5,
                    output: String::new(),
                });
            }
            Ok(Executed {
                measurement: Measurement::default(),
                metrics: vec![Metric::single(P95, unit, better, value, 10_000)],
                invalid,
                partial: false,
                duration_ns: 1,
            })
        }
    }

    fn plan() -> Plan {
        let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n\
                    [[flow.f.step]]\nget = \"/\"\n[load.a]\nclosed = { users = 1 }\n\
                    [[gate]]\nmetric = \"load.a.p95\"\nregress = \"5%\"\n";
        let scenario = scenario::parse(text, std::path::Path::new("s.toml")).unwrap();
        scenario.plans[0].clone()
    }

    fn fingerprint(scenario_hash: String) -> Fingerprint {
        Fingerprint {
            cpu_model: String::new(),
            logical_cpus: 1,
            memory_class_gib: 1,
            virtualisation: String::new(),
            os: String::new(),
            kernel: String::new(),
            toolchain: String::new(),
            profile: String::new(),
            measurement_version: 1,
            scenario_hash,
        }
    }

    /// What is measured on such a machine, how many runs were saved, and where the sessions' centres were.
    async fn measured(
        asked: Asked,
        invalid: &[usize],
        dies_at: usize,
    ) -> (Vec<Pairs>, usize, Vec<f64>) {
        let plan = plan();
        let engine = Simulated(Arc::new(Mutex::new(Machine {
            random: ChaCha8Rng::seed_from_u64(7),
            runs: 0,
            runs_a_session: 2 * asked.pairs as usize,
            centres: Vec::new(),
            invalid: invalid.to_vec(),
            dies_at,
        })));
        let side = |arm| Side {
            engine: engine.clone(),
            plan: plan.clone(),
            labels: Labels {
                session: String::new(),
                arm: Some(arm),
                pair: None,
                revision: Some("1a2b3c4".into()),
                fingerprint: fingerprint(plan.hash.clone()),
            },
        };
        let mut sides = Sides {
            base: side(Arm::Base),
            head: side(Arm::Head),
        };
        let output = Output {
            format: Format::Json,
            quiet: true,
            colour: false,
            colour_err: false,
            live: false,
            width: 80,
        };
        let (_sender, stop) = watch::channel(false);
        let live = Live::new(output);
        let mut saved = 0;
        let done = sessions(&mut sides, asked, &stop, &live, async |_: &Run| {
            saved += 1;
            Ok(())
        })
        .await;
        let centres = engine.0.lock().unwrap().centres.clone();
        (done.unwrap(), saved, centres)
    }

    fn sittings(done: Vec<Pairs>) -> (Vec<Sitting>, Vec<String>) {
        let (mut sittings, mut all) = (Vec::new(), Vec::new());
        for pairs in done {
            let (valid, dropped) = valid_pairs(pairs.base.runs.into_iter().chain(pairs.head.runs));
            sittings.extend(Sitting::of(valid));
            all.extend(dropped);
        }
        (sittings, all)
    }

    fn added(sittings: &[Sitting], calibration: &mut Calibration) {
        for Sitting { session, pairs } in sittings {
            let values = aa_values(&pairs.base, &pairs.head).into_iter();
            calibration.add(session.clone(), values.map(to_store).collect());
        }
    }

    const ASKED: Asked = Asked {
        pairs: 30,
        sessions: 4,
        budget: None,
    };

    /// From runs to what gates take, and through the file: what was put in comes out.
    #[tokio::test]
    async fn the_noise_of_the_machine_ends_in_the_gates() {
        let (done, saved, centres) = measured(ASKED, &[], 0).await;
        assert_eq!((saved, centres.len()), (240, 4));
        let (sittings, dropped) = sittings(done);
        assert_eq!(dropped, Vec::<String>::new());
        let ids: BTreeSet<&str> = sittings
            .iter()
            .map(|it| it.session.session.as_str())
            .collect();
        assert_eq!((ids.len(), sittings.len()), (4, 4), "a session each");
        assert!(sittings.iter().all(|it| it.session.pairs == 30));

        let mut calibration = Calibration::default();
        added(&sittings, &mut calibration);
        noise::find(&mut calibration);
        // ln s₀² is the mean over 24 groups of five, each with the variance ψ′(2) = π²/6 − 1; four standard errors.
        let metric = &calibration.metrics[P95];
        let s0 = metric.s0.unwrap();
        let expected = SIGMA * 2f64.sqrt();
        let of_ln = ((PI.powi(2) / 6.0 - 1.0) / 24.0).sqrt() / 2.0;
        assert!((s0 / expected).ln().abs() < 4.0 * of_ln, "{s0}");
        assert_eq!((metric.pairs, metric.sessions), (120, 4));
        // The mean of a session's sixty runs is off its centre by σ/√60.
        let tau = metric.tau.unwrap();
        let middle = centres.iter().sum::<f64>() / 4.0;
        let squares: f64 = centres.iter().map(|it| (it - middle).powi(2)).sum();
        let of_tau = SIGMA / 60f64.sqrt();
        assert!((tau - (squares / 3.0).sqrt()).abs() < 4.0 * of_tau, "{tau}");

        let folder = tempfile::tempdir().unwrap();
        let runs: Vec<Run> = sittings.iter().flat_map(Sitting::runs).cloned().collect();
        let mut baseline = Baseline::from_runs(&runs).unwrap();
        baseline.calibration = Some(calibration.clone());
        baseline.save(folder.path()).unwrap();
        let here = runs[0].fingerprint.clone();
        let taken = noise::stored(folder.path(), &here, "s").unwrap();
        let prior = taken[P95].prior.unwrap();
        assert_eq!((prior.s0, prior.d0), (s0, 4.0));
        let between = taken[P95].between.unwrap();
        assert_eq!((between.tau, between.sessions), (tau, 4));

        let elsewhere = fingerprint("another scenario".into());
        assert!(noise::of(&baseline, &elsewhere).is_empty());
        assert!(
            noise::stored(folder.path(), &elsewhere, "s")
                .unwrap()
                .is_empty()
        );

        // Sessions that come later count with these.
        added(&sittings[..1], &mut calibration);
        noise::find(&mut calibration);
        let metric = &calibration.metrics[P95];
        assert_eq!((metric.pairs, metric.sessions), (150, 5));
    }

    #[tokio::test]
    async fn an_invalid_run_takes_its_pair_with_it() {
        let asked = Asked {
            pairs: 5,
            sessions: 1,
            budget: None,
        };
        let (done, saved, _) = measured(asked, &[3, 4, 9], 0).await;
        assert_eq!(saved, 10, "what is dropped is saved as well");
        let (sittings, dropped) = sittings(done);
        assert_eq!(sittings[0].session.pairs, 3);
        let numbers = |runs: &[Run]| runs.iter().map(|run| run.pair.unwrap()).collect::<Vec<_>>();
        assert_eq!(numbers(&sittings[0].pairs.base), [1, 3, 4]);
        assert_eq!(numbers(&sittings[0].pairs.head), [1, 3, 4]);
        assert!(
            dropped[0].starts_with("pair 2 was dropped: "),
            "{dropped:?}"
        );
        assert_eq!(dropped.len(), 2);
    }

    #[tokio::test]
    async fn a_target_that_died_ends_it_with_what_there_is() {
        let (done, saved, _) = measured(ASKED, &[], 66).await;
        assert_eq!((done.len(), saved), (2, 66));
        let (sittings, dropped) = sittings(done);
        let pairs: Vec<u32> = sittings.iter().map(|it| it.session.pairs).collect();
        assert_eq!((pairs, dropped.len()), (vec![30, 2], 1));
    }

    #[tokio::test]
    async fn a_budget_that_is_spent_leaves_two_pairs() {
        let asked = Asked {
            budget: Some(Duration::ZERO),
            ..ASKED
        };
        let (done, saved, _) = measured(asked, &[], 0).await;
        assert_eq!((done.len(), saved), (1, 4));
        let asked = Asked {
            pairs: 3,
            sessions: 2,
            budget: Some(Duration::from_secs(3600)),
        };
        let (_, saved, _) = measured(asked, &[], 0).await;
        assert_eq!(saved, 12);
    }
}
