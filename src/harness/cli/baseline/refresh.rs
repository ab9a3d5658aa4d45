//! `plimsoll baseline refresh`: new sessions in the place of the old baseline, unless that drifts.

use std::path::Path;

use serde_json::json;

use crate::harness::cli::args::{BASELINES, Global, RefreshArgs};
use crate::harness::cli::execute::{STOPPED, runnable, stop_on_signal};
use crate::harness::cli::failure::Failure;
use crate::harness::cli::live::Live;
use crate::harness::cli::output::Output;
use crate::harness::cli::overrides;
use crate::harness::cli::sources::{Places, Source, from_baseline, in_words, nearest};
use crate::harness::cli::start::explain;
use crate::harness::cli::verdicts::{Case, Judged};
use crate::harness::cli::workspace;
use crate::harness::compare::{Design, Settings};
use crate::harness::engine::machine;
use crate::harness::gate::{MetricOutcome, Policy, Renewal, exit};
use crate::harness::model::Run;
use crate::harness::report::renewal::{self, Provenance, RenewalInput};
use crate::harness::scenario::Plan;
use crate::harness::store::{AcceptedDrift, Baseline, files};

use super::save::few_sessions;
use super::sessions::{Bench, NewSessions};

/// Measures what is selected, compares, and writes the baselines that may be written. The exit code is
/// that of the weightiest: a drift that nobody accepted is a regression.
pub(super) async fn refresh(
    global: &Global,
    output: &Output,
    args: &RefreshArgs,
) -> Result<u8, Failure> {
    let plans = runnable(
        &args.scenarios,
        args.variant.as_deref(),
        &args.overrides,
        output,
    )?;
    if plans.len() > 1 && !args.measured.is_empty() {
        return Err(Failure::usage(
            "a session is of one scenario, and several are meant",
            "name the scenario file beside --session",
        ));
    }
    let history = workspace::history(global).await?;
    let live = Live::new(*output);
    let stop = stop_on_signal(&live)?;
    if args.measured.is_empty() {
        for plan in &plans {
            let runs = args.runs.unwrap_or(plan.runs);
            live.expect(plan, runs.saturating_mul(args.sessions));
        }
    }
    let bench = Bench {
        output,
        live: &live,
        args,
        history: &history,
        stop: &stop,
    };
    let mut codes = Vec::new();
    let mut answers = Vec::new();
    for plan in &plans {
        let refreshed = bench.refresh(global, plan).await;
        live.finish(&plan.id());
        match refreshed {
            Ok(answer) => {
                if !output.is_json() {
                    Failure::unless_gone(output.document(&answer.markdown))?;
                }
                codes.push(answer.code);
                answers.push(answer);
            }
            // The other scenarios are not to blame.
            Err(failure) => codes.push(explain(&failure, output)),
        }
        if *stop.borrow() {
            output.warn(STOPPED);
            codes.push(exit::INVALID);
            break;
        }
    }
    history.close().await;
    if let Some(file) = &args.output {
        let texts: Vec<_> = answers.iter().map(|one| one.markdown.as_str()).collect();
        files::write_text(file, &texts.join("\n"))
            .map_err(|error| Failure::tool("writing the text", &error))?;
    }
    if output.is_json() {
        let all: Vec<_> = answers.into_iter().map(|one| one.json).collect();
        Failure::unless_gone(output.answer_json(&all))?;
    }
    Ok(exit::worst(codes))
}

/// What is said of one scenario.
struct Answer {
    code: u8,
    markdown: String,
    json: serde_json::Value,
}

impl Bench<'_> {
    async fn refresh(&self, global: &Global, plan: &Plan) -> Result<Answer, Failure> {
        let folder = &self.args.baselines;
        let fingerprint = machine::of_plan(plan);
        // Before anything is measured: a file that can't be read must not cost the sessions.
        let old = Baseline::find(folder, &fingerprint, &plan.id())
            .map_err(|error| Failure::tool("reading the baseline", &error))?;
        let runs = match self.sessions(plan, &fingerprint).await? {
            NewSessions::Measured(runs) => runs,
            NewSessions::Invalid(why) => return Ok(void(plan, &why)),
        };
        let mut new = Baseline::from_runs(&runs)
            .map_err(|error| Failure::tool("making the baseline", &error))?;
        let file = Baseline::path(folder, &new.fingerprint, &new.scenario);
        let (base, remark) = comparable(old, &new, folder);
        let head = Source {
            label: "the new sessions".to_owned(),
            runs,
            baseline: None,
        };
        let judged = self.judge(plan, &head, base.as_ref())?;
        let renewal = Renewal::of(&judged.verdict, &head.runs, &self.args.accept);
        let reason = self.args.reason.clone().unwrap_or_default();
        new.accepted = renewal
            .accepted
            .iter()
            .map(|one| AcceptedDrift {
                metric: one.metric.to_owned(),
                effect: one.verdict.and_then(|verdict| verdict.effect),
                reason: reason.clone(),
            })
            .collect();
        if renewal.is_granted() {
            new.save(folder)
                .map_err(|error| Failure::tool("saving the baseline", &error))?;
            let remedy = "refresh it with --sessions 3, or more";
            if let Some(remark) = few_sessions(new.sessions.len(), remedy) {
                self.output.warn(&format!("{}: {remark}", plan.id()));
            }
        }
        let command = self.command(global, plan, &head.runs, &renewal);
        let old = base.as_ref().and_then(|base| base.baseline.as_ref());
        let markdown = renewal::markdown(&RenewalInput {
            verdict: &judged.verdict,
            renewal: &renewal,
            head: &head.runs,
            old: old.map(provenance),
            new: provenance(&new),
            remark: &remark,
            reason: &reason,
            file: &file.display().to_string(),
            command: command.as_deref(),
        });
        Ok(Answer {
            code: match renewal.is_granted() {
                true => exit::PASS,
                false => exit::REGRESSION,
            },
            json: to_json(&judged, &renewal, &new, &file, command.as_deref()),
            markdown,
        })
    }

    /// The new sessions against the old ones by the scenario's margins. Waivers don't count: what
    /// they excuse for a time would be for good.
    fn judge<'a>(
        &self,
        plan: &'a Plan,
        head: &'a Source,
        base: Option<&'a Source>,
    ) -> Result<Judged<'a>, Failure> {
        let places = Places {
            history: None,
            baselines: &self.args.baselines,
        };
        let (anchors, passed_over) = places.anchors_for(&head.runs[0])?;
        let changes = overrides::note(&self.args.overrides).into_iter();
        let case = Case {
            policy: Policy::of(plan),
            plan: Some(plan),
            head,
            base,
            settings: Settings::new(Design::Stored),
            notes: changes.chain(passed_over).collect(),
            commands: Vec::new(),
        };
        Ok(case.judge().beside(&anchors))
    }

    /// The command that takes the same sessions with what was refused accepted; none where nothing
    /// was, or where a limit is broken, which can't be accepted.
    fn command(
        &self,
        global: &Global,
        plan: &Plan,
        runs: &[Run],
        renewal: &Renewal<'_>,
    ) -> Option<String> {
        if renewal.refused.is_empty() || !renewal.broken.is_empty() {
            return None;
        }
        let mut words = vec!["plimsoll".to_owned(), "baseline".into(), "refresh".into()];
        words.push(plan.file.to_string_lossy().into_owned());
        let mut option = |name: &str, value: &str| {
            words.push(name.to_owned());
            words.push(value.to_owned());
        };
        if let Some(variant) = &plan.variant {
            option("--variant", variant);
        }
        for (name, value) in self.args.overrides.options() {
            option(name, value);
        }
        if self.args.baselines != Path::new(BASELINES) {
            option("--baselines", &self.args.baselines.to_string_lossy());
        }
        // A URL may hold a password; who gave one knows to give it again.
        if let Some(store) = global.store.as_deref().filter(|text| !text.contains("://")) {
            option("--store", store);
        }
        let mut sessions: Vec<&str> = runs.iter().map(|run| run.session.as_str()).collect();
        sessions.dedup();
        for session in sessions {
            option("--session", session);
        }
        for pattern in &self.args.accept {
            option("--accept", pattern);
        }
        for refused in &renewal.refused {
            option("--accept", refused.metric);
        }
        let reason = self.args.reason.as_deref().unwrap_or("why it is accepted");
        option("--reason", reason);
        Some(shell_words::join(words))
    }
}

/// The old baseline, if the new one can be compared with it, and else a sentence on why not.
fn comparable(old: Option<Baseline>, new: &Baseline, folder: &Path) -> (Option<Source>, String) {
    let Some(old) = old else {
        let first =
            "There was no baseline of this scenario for this machine as it is: this is the first.";
        let remark = match nearest(folder, &new.scenario, &new.fingerprint) {
            None => first.to_owned(),
            Some((path, differences)) => format!(
                "{first} Nothing was compared with {}, which was measured under other conditions ({}): remove it where they are gone.",
                path.display(),
                in_words(&differences)
            ),
        };
        return (None, remark);
    };
    let differences = old.fingerprint.differences(&new.fingerprint);
    if differences.is_empty() {
        let file = Baseline::path(folder, &new.fingerprint, &new.scenario);
        return (Some(from_baseline(old, &file)), String::new());
    }
    let remark = format!(
        "The old baseline can't be compared with and is replaced: {}.",
        in_words(&differences)
    );
    (None, remark)
}

fn provenance(baseline: &Baseline) -> Provenance {
    let runs = || baseline.sessions.iter().flat_map(|session| &session.runs);
    let mut revisions: Vec<String> = baseline
        .sessions
        .iter()
        .filter_map(|session| session.revision.clone())
        .collect();
    revisions.dedup();
    Provenance {
        sessions: baseline.sessions.len(),
        runs: runs().count(),
        revisions,
        last_started_at: runs().map(|run| run.started_at).max(),
    }
}

fn void(plan: &Plan, why: &str) -> Answer {
    Answer {
        code: exit::INVALID,
        markdown: renewal::void(&plan.id(), why),
        json: json!({ "scenario": plan.id(), "outcome": "invalid", "reason": why }),
    }
}

fn to_json(
    judged: &Judged<'_>,
    renewal: &Renewal<'_>,
    new: &Baseline,
    file: &Path,
    command: Option<&str>,
) -> serde_json::Value {
    let verdict = &judged.verdict;
    let metrics = verdict.metrics.iter().map(|metric| {
        json!({
            "name": metric.name,
            "unit": metric.unit,
            "better": metric.better,
            "old": metric.base,
            "new": metric.head,
            "change": metric.effect,
            "lower": metric.lower,
            "upper": metric.upper,
            "margin": metric.margin,
            "verdict": metric.verdict,
        })
    });
    let names = |outcome| -> Vec<&str> {
        let of_outcome = verdict
            .metrics
            .iter()
            .filter(|metric| metric.margin.is_some() && metric.verdict == outcome);
        of_outcome.map(|metric| metric.name.as_str()).collect()
    };
    json!({
        "scenario": new.scenario,
        "outcome": if renewal.is_granted() { "written" } else { "refused" },
        "file": file,
        "compared": verdict.comparison.is_some(),
        "sessions": new.sessions.iter().map(|one| &one.session).collect::<Vec<_>>(),
        "metrics": metrics.collect::<Vec<_>>(),
        "refused": renewal.refused.iter().map(|one| one.metric).collect::<Vec<_>>(),
        "broken": renewal.broken,
        "accepted": new.accepted,
        "improved": names(MetricOutcome::Improved),
        "warnings": verdict.warnings,
        "anchors": verdict.anchors,
        "command": command,
    })
}
