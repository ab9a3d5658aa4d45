//! What the command does: measure, store, say.

use tokio::sync::watch;

use crate::harness::cli::against::budget;
use crate::harness::cli::args::{CalibrateArgs, Global};
use crate::harness::cli::execute::{STOPPED, environment, own_program, runnable, stop_on_signal};
use crate::harness::cli::failure::Failure;
use crate::harness::cli::live::Live;
use crate::harness::cli::noise::{self, narrowed};
use crate::harness::cli::output::Output;
use crate::harness::cli::overrides;
use crate::harness::cli::pairs::{Pairs, Side, Sides, spread_invocations, usual_pairs};
use crate::harness::cli::session::{Labels, git_revision, names_a_state, state_of_call};
use crate::harness::cli::sources::{in_words, nearest};
use crate::harness::cli::start::explain;
use crate::harness::cli::workspace;
use crate::harness::engine::{Engine, SubjectEngine, machine};
use crate::harness::gate::{AaPairs, Policy, exit, false_alarms};
use crate::harness::model::{Arm, Fingerprint, Run};
use crate::harness::report::calibration::{
    CALIBRATION_FORMAT, CalibratedSession, CalibrationReport, GateSize, sessions_note,
};
use crate::harness::report::terminal::render_calibration;
use crate::harness::report::{format, text};
use crate::harness::scenario::Plan;
use crate::harness::store::{Baseline, Calibration, History, Query};

use super::margins::{margins, on_nothing};
use super::sittings::{Asked, Sitting, sessions, valid_pairs};

/// Said where nothing tells this state of the code from another.
const UNNAMED: &str = "nothing names the state of the code, so that no other call's sessions count with these for τ; commit \
                       first, or name it: --revision TEXT";

/// Calibrates every scenario. Nothing is ever red; the exit code says whether it could be done.
pub(in crate::harness::cli) async fn run(
    global: &Global,
    output: &Output,
    args: &CalibrateArgs,
) -> Result<u8, Failure> {
    let asked = Asked {
        pairs: args.pairs,
        sessions: args.sessions,
        budget: args.budget.as_deref().map(budget).transpose()?,
    };
    let plans = runnable(
        &args.scenarios,
        args.variant.as_deref(),
        &args.overrides,
        output,
    )?;
    let history = workspace::history(global).await?;
    let live = Live::new(*output);
    let stop = stop_on_signal(&live)?;
    for plan in &plans {
        let pairs = asked.pairs.saturating_mul(asked.sessions);
        live.expect(plan, pairs.saturating_mul(2));
    }
    let this = Calibrating {
        output,
        live: &live,
        args,
        asked,
        history: &history,
    };
    let mut codes = Vec::new();
    for plan in &plans {
        codes.push(match this.scenario(plan, &stop).await {
            Ok(code) => code,
            // The other scenarios are not to blame.
            Err(failure) => {
                live.finish(&plan.id());
                explain(&failure, output)
            }
        });
        if *stop.borrow() {
            output.warn(STOPPED);
            codes.push(exit::INVALID);
            break;
        }
    }
    history.close().await;
    Ok(exit::worst(codes))
}

/// One call.
struct Calibrating<'a> {
    output: &'a Output,
    live: &'a Live,
    args: &'a CalibrateArgs,
    asked: Asked,
    history: &'a History,
}

impl Calibrating<'_> {
    async fn scenario(&self, plan: &Plan, stop: &watch::Receiver<bool>) -> Result<u8, Failure> {
        let fingerprint = machine::of_plan(plan);
        // A file that can't be read should be known before an hour of measuring.
        self.baseline(plan, &fingerprint)?;
        let measured = self.measured(plan, &fingerprint, stop).await;
        self.live.finish(&plan.id());
        let mut notes = Vec::from_iter(overrides::note(&self.args.overrides));
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
            self.output.warn(&format!("{}: no valid pair", plan.id()));
            for note in &notes {
                self.output.warn(&format!("  {}", text::one_line(note)));
            }
            return Ok(exit::INVALID);
        }
        let report = self
            .stored(plan, &fingerprint, &sittings, dropped, notes)
            .await?;
        self.answer(&report)?;
        Ok(exit::PASS)
    }

    fn baseline(
        &self,
        plan: &Plan,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Baseline>, Failure> {
        Baseline::find(&self.args.baselines, fingerprint, &plan.id())
            .map_err(|error| Failure::tool("reading the baseline", &error))
    }

    /// The pairs of each session: one build for both arms and all of them.
    async fn measured(
        &self,
        plan: &Plan,
        fingerprint: &Fingerprint,
        stop: &watch::Receiver<bool>,
    ) -> Result<Vec<Pairs>, Failure> {
        let live = self.live;
        let revision = match &self.args.revision {
            Some(revision) => Some(revision.clone()),
            None => git_revision(&plan.root, &[&self.args.baselines]).await,
        };
        if !names_a_state(revision.as_deref()) {
            self.output.warn(&format!("{}: {UNNAMED}", plan.id()));
        }
        let labels = Labels {
            session: String::new(),
            arm: None,
            pair: None,
            revision: Some(state_of_call(revision)),
            fingerprint: fingerprint.clone(),
        };
        // A pair is to be what it is in a gate.
        let mut plan = plan.clone();
        let pairs = usual_pairs(&plan);
        spread_invocations(&mut plan, pairs);
        let mut engine = SubjectEngine::new(own_program()?, environment());
        let mut stopped = stop.clone();
        live.about(&plan.id(), "");
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
        let keep = async |run: &Run| workspace::keep(self.history, run).await;
        sessions(&mut sides, self.asked, stop, live, keep).await
    }

    /// Adds the sessions to the baseline, and says what all of them together are worth.
    async fn stored(
        &self,
        plan: &Plan,
        fingerprint: &Fingerprint,
        sittings: &[Sitting],
        dropped_pairs: u32,
        mut notes: Vec<String>,
    ) -> Result<CalibrationReport, Failure> {
        let (mut baseline, note) = self.renewed(plan, fingerprint, sittings)?;
        notes.extend(note);
        let mut calibration = baseline.calibration.take().unwrap_or_default();
        let earlier = self.earlier(plan, fingerprint, &calibration).await?;
        for sitting in sittings {
            sitting.add_to(&mut calibration);
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
        fingerprint: &Fingerprint,
        calibration: &Calibration,
    ) -> Result<Vec<AaPairs>, Failure> {
        let mut found = Vec::new();
        for session in &calibration.sessions {
            let query = Query {
                scenario: Some(plan.id()),
                session: Some(session.session.clone()),
                fingerprint: Some(fingerprint.id()),
                ..Query::default()
            };
            // Also what is invalid: a valid run of a pair that was measured again has no partner.
            let runs = self
                .history
                .find(&query)
                .await
                .map_err(workspace::reading)?;
            let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
            let runs = self.history.load(&ids).await.map_err(workspace::reading)?;
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
        let style = self.output.style();
        self.output.answer(&render_calibration(report, style))
    }

    /// The baseline to which the sessions belong. Where there is none of this fingerprint, their runs make one, because
    /// a noise without the values that it is of could not be reviewed.
    fn renewed(
        &self,
        plan: &Plan,
        fingerprint: &Fingerprint,
        sittings: &[Sitting],
    ) -> Result<(Baseline, Option<String>), Failure> {
        let note = match self.baseline(plan, fingerprint)? {
            Some(baseline) => {
                let differences = baseline.fingerprint.differences(fingerprint);
                if differences.is_empty() {
                    return Ok((baseline, None));
                }
                let fields: Vec<&str> = differences.iter().map(|it| it.field.as_str()).collect();
                format!(
                    "the baseline that was here counts no more, because {} changed: these runs make a new one, and the \
                     calibration begins anew",
                    fields.join(", ")
                )
            }
            None => format!(
                "there was no baseline of it for this machine as it is: these runs make the first{}",
                nearest(&self.args.baselines, &plan.id(), fingerprint).map_or_else(
                    String::new,
                    |(path, differences)| format!(
                        "; {} was measured under other conditions ({}): remove it where they are gone",
                        path.display(),
                        in_words(&differences)
                    )
                )
            ),
        };
        let runs: Vec<Run> = sittings.iter().flat_map(Sitting::runs).cloned().collect();
        let baseline = Baseline::from_runs(&runs).map_err(|error| {
            Failure::tool(format!("making the baseline of {}", plan.id()), &error)
        })?;
        Ok((baseline, Some(note)))
    }
}
