//! Everything that is known → the verdict.

use std::collections::BTreeMap;

use super::exit;
use super::limit::{Judged, hopeless, limits};
use super::metric::metrics;
use super::policy::Policy;
use super::verdict::{
    LimitVerdict, MetricOutcome, MetricVerdict, Outcome, Reason, VERDICT_FORMAT, Verdict, Warning,
};
use crate::harness::compare::{Comparison, Estimate, requests_to_rule_out, rule_of_three};
use crate::harness::model::{Arm, Run, path};
use crate::harness::scenario::nearest;

/// A run says no more than this beside what was measured; a file of anyone's may.
const MAX_WARNINGS_OF_A_RUN: usize = 5;

/// What a verdict is reached from.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The runs of the base; empty where there is none.
    pub base: &'a [Run],
    /// The runs that are judged.
    pub head: &'a [Run],
    /// The comparison of the two; `None` where there is no comparable base.
    pub comparison: Option<&'a Comparison>,
}

/// The verdict on one scenario. Pure: the same evidence and policy always give the same verdict.
pub fn judge(policy: &Policy, evidence: &Evidence<'_>) -> Verdict {
    let limits = limits(policy, evidence.head);
    let metrics = evidence
        .comparison
        .map_or_else(Vec::new, |comparison| metrics(policy, comparison));
    let metrics: Vec<MetricVerdict> = metrics
        .into_iter()
        .map(|metric| policy.waivers.apply(metric))
        .collect();

    let invalid = invalid(evidence);
    if !invalid.is_empty() {
        return verdict(
            policy,
            evidence,
            invalid
                .into_iter()
                .map(|reason| (Outcome::Invalid, reason))
                .collect(),
            Vec::new(),
            withheld(metrics, "not judged: the measurement is invalid"),
            limits
                .into_iter()
                .map(|judged| LimitVerdict {
                    holds: None,
                    ..judged.limit
                })
                .collect(),
        );
    }
    // Nor is what was measured up to the limit that ended it: the rest of the run is missing.
    let aborted = aborted(evidence.head);
    if !aborted.is_empty() {
        return verdict(
            policy,
            evidence,
            aborted
                .iter()
                .map(|reason| (Outcome::Fail, reason.clone()))
                .collect(),
            Vec::new(),
            withheld(metrics, "not judged: a limit ended the run"),
            limits
                .into_iter()
                .map(|judged| cut_short(judged.limit, &aborted))
                .collect(),
        );
    }

    let mut findings: Vec<(Outcome, Reason)> = Vec::new();
    findings.extend(limits.iter().filter_map(of_limit));
    findings.extend(
        metrics
            .iter()
            .filter_map(|metric| of_metric(metric, evidence)),
    );
    if let Some(comparison) = evidence.comparison {
        findings.extend(one_arm_only(policy, comparison, evidence.head));
        findings.extend(margins_on_nothing(policy, comparison));
    } else if policy.has_margins() {
        let outcome = if policy.require_baseline {
            Outcome::NoBaseline
        } else {
            Outcome::Pass
        };
        findings.push((outcome, Reason::NoBaseline));
    }
    let mut warnings = warnings(policy, evidence, &metrics);
    warnings.extend(unproven(&limits));
    let limits = limits.into_iter().map(|judged| judged.limit).collect();
    verdict(policy, evidence, findings, warnings, metrics, limits)
}

/// The verdict where no run of the head was made: it was stopped before, or the base's run ended so that
/// there was nothing left to compare with.
pub fn unmeasured(policy: &Policy, base: &[Run]) -> Verdict {
    let evidence = Evidence {
        base,
        head: &[],
        comparison: None,
    };
    let mut reasons = invalid(&evidence);
    if reasons.is_empty() {
        let run = "head run 1".to_owned();
        reasons.push(Reason::PartialRun { run });
    }
    let findings = reasons.into_iter().map(|reason| (Outcome::Invalid, reason));
    let findings = findings.collect();
    verdict(
        policy,
        &evidence,
        findings,
        Vec::new(),
        Vec::new(),
        Vec::new(),
    )
}

/// Puts the findings in order, the weightiest first and of the regressions the worst, and lets them decide.
fn verdict(
    policy: &Policy,
    evidence: &Evidence<'_>,
    mut findings: Vec<(Outcome, Reason)>,
    mut warnings: Vec<Warning>,
    metrics: Vec<MetricVerdict>,
    limits: Vec<LimitVerdict>,
) -> Verdict {
    warnings.extend(of_runs(evidence));
    let excesses = excesses(&metrics);
    let excess = |reason: &Reason| match reason {
        Reason::Regressed { metric } => excesses.get(&**metric).copied().unwrap_or(0.0),
        // In the order of the scenario, and before what is held against the base.
        _ => f64::INFINITY,
    };
    findings.sort_by(|(of_one, one), (of_other, other)| {
        let outcomes = of_other.cmp(of_one);
        outcomes.then_with(|| excess(other).total_cmp(&excess(one)))
    });
    // Limits and margins on one metric may have the same to say.
    let mut said = Vec::with_capacity(findings.len());
    findings.retain(|finding| {
        let is_new = !said.contains(finding);
        said.extend(is_new.then(|| finding.clone()));
        is_new
    });
    let outcomes = || findings.iter().map(|(outcome, _)| *outcome);
    Verdict {
        schema: VERDICT_FORMAT.to_owned(),
        scenario: policy.scenario.clone(),
        head_revision: revision(evidence.head),
        base_revision: revision(evidence.base),
        verdict: outcomes().max().unwrap_or(Outcome::Pass),
        advisory: false,
        exit_code: exit::worst(outcomes().map(|outcome| exit::code(outcome, policy))),
        reasons: findings.into_iter().map(|(_, reason)| reason).collect(),
        warnings,
        metrics,
        limits,
        comparison: evidence.comparison.cloned(),
        anchors: Vec::new(),
    }
}

/// The revision of some runs, where all of them name the same.
fn revision(runs: &[Run]) -> Option<String> {
    let first = runs.first()?.revision.as_deref()?;
    let is_same = |run: &Run| run.revision.as_deref() == Some(first);
    runs.iter().all(is_same).then(|| first.to_owned())
}

/// By how many times its margin each metric got worse, by name.
fn excesses(metrics: &[MetricVerdict]) -> BTreeMap<&str, f64> {
    let excess = |metric: &MetricVerdict| Some(metric.effect? / metric.margin?);
    let metrics = metrics.iter();
    metrics
        .map(|metric| (metric.name.as_str(), excess(metric).unwrap_or(0.0)))
        .collect()
}

/// Why nothing may be judged, if so.
fn invalid(evidence: &Evidence<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (arm, runs) in [("base", evidence.base), ("head", evidence.head)] {
        for (number, run) in (1..).zip(runs) {
            let label = format!("{arm} run {number}");
            reasons.extend(run.invalid.iter().map(|reason| Reason::InvalidRun {
                run: label.clone(),
                reason: reason.clone(),
            }));
            // A head that a limit ended is a failed one. A base has nothing to compare with then.
            if run.partial && (arm == "base" || run.aborted.is_none()) {
                reasons.push(Reason::PartialRun { run: label });
            }
        }
    }
    if let Some(comparison) = evidence.comparison
        && !comparison.fingerprint_differences.is_empty()
    {
        let differences = comparison.fingerprint_differences.clone();
        reasons.push(Reason::NotComparable { differences });
    }
    reasons
}

/// The runs of the head that a limit ended.
fn aborted(head: &[Run]) -> Vec<Reason> {
    let ended = (1..).zip(head).filter_map(|(number, run)| {
        Some(Reason::Aborted {
            run: format!("head run {number}"),
            aborted: run.aborted.clone()?,
        })
    });
    ended.collect()
}

/// A limit on runs of which one was cut short: broken where it did that, and not judged else.
fn cut_short(limit: LimitVerdict, aborted: &[Reason]) -> LimitVerdict {
    let broken = aborted.iter().find_map(|reason| match reason {
        Reason::Aborted { aborted, .. }
            if aborted.metric == limit.metric
                && [limit.max, limit.min].contains(&Some(aborted.limit)) =>
        {
            Some(aborted.value)
        }
        _ => None,
    });
    LimitVerdict {
        holds: broken.map(|_| false),
        value: broken.or(limit.value),
        ..limit
    }
}

/// Metrics that are not judged: their numbers stay to be looked at, their verdicts do not.
fn withheld(metrics: Vec<MetricVerdict>, why: &str) -> Vec<MetricVerdict> {
    let metrics = metrics.into_iter().map(|metric| MetricVerdict {
        verdict: MetricOutcome::NotMeasurable,
        note: Some(why.to_owned()),
        waiver: None,
        ..metric
    });
    metrics.collect()
}

/// What went wrong in the runs beside what was measured, each once.
fn of_runs(evidence: &Evidence<'_>) -> Vec<Warning> {
    let mut said: Vec<(&str, String, u64)> = Vec::new();
    for (arm, runs) in [("base", evidence.base), ("head", evidence.head)] {
        for (number, run) in (1..).zip(runs) {
            for warning in run.warnings.iter().take(MAX_WARNINGS_OF_A_RUN) {
                match said.iter_mut().find(|(known, ..)| known == warning) {
                    Some((.., runs)) => *runs += 1,
                    None => said.push((warning.as_str(), format!("{arm} run {number}"), 1)),
                }
            }
        }
    }
    let notes = said.into_iter().map(|(warning, run, runs)| {
        let others = match runs {
            1 => String::new(),
            runs => format!(" and {} more", runs - 1),
        };
        Warning::Note {
            text: format!("{run}{others}: {warning}"),
        }
    });
    notes.collect()
}

/// Caps on errors that hold because too few requests were made to break them. Of the same requests, such as
/// those of a load and of the only request in it, it is said once.
fn unproven(limits: &[Judged]) -> Vec<Warning> {
    let mut said: Vec<(&str, u64, f64)> = Vec::new();
    let mut warnings = Vec::new();
    for judged in limits {
        let LimitVerdict {
            metric, max, high, ..
        } = &judged.limit;
        let requests = judged.observations;
        let ruled_out = rule_of_three(requests);
        let (Some(stem), Some(limit)) = (path::error_rate_of(metric), *max) else {
            continue;
        };
        if *high != Some(0.0) || limit <= 0.0 || ruled_out <= limit {
            continue;
        }
        let is_said = said
            .iter()
            .any(|(other, requests_of_other, limit_of_other)| {
                let is_part = stem.starts_with(other) || other.starts_with(stem);
                is_part && *requests_of_other == requests && *limit_of_other == limit
            });
        if !is_said {
            said.push((stem, requests, limit));
            warnings.push(Warning::Unproven {
                metric: metric.clone(),
                requests,
                ruled_out,
                limit,
                needed: requests_to_rule_out(limit),
            });
        }
    }
    warnings
}

fn of_limit(judged: &Judged) -> Option<(Outcome, Reason)> {
    if let Some(reason) = &judged.hopeless {
        return Some((Outcome::Fail, reason.clone()));
    }
    let metric = judged.limit.metric.clone();
    match (&judged.unknown, judged.limit.holds) {
        (Some(unknown), _) => Some((
            Outcome::Inconclusive,
            Reason::NotMeasurable {
                metric,
                reason: unknown.reason.clone(),
                remedy: unknown.remedy.clone(),
            },
        )),
        (None, Some(false)) => Some((Outcome::Fail, Reason::LimitBroken { metric })),
        (None, _) => None,
    }
}

fn of_metric(verdict: &MetricVerdict, evidence: &Evidence<'_>) -> Option<(Outcome, Reason)> {
    if !verdict.gating {
        return None;
    }
    let metric = verdict.name.clone();
    Some(match verdict.verdict {
        MetricOutcome::Regressed => (Outcome::Fail, Reason::Regressed { metric }),
        MetricOutcome::Inconclusive => (Outcome::Inconclusive, Reason::Inconclusive { metric }),
        MetricOutcome::Improved => (Outcome::Pass, Reason::Improved { metric }),
        MetricOutcome::Waived => (Outcome::Pass, Reason::Waived { metric }),
        MetricOutcome::NotMeasurable => match hopeless(&metric, evidence.head) {
            Some(reason) => (Outcome::Fail, reason),
            None => {
                let (reason, remedy) = why(evidence, &metric);
                (
                    Outcome::Inconclusive,
                    Reason::NotMeasurable {
                        metric,
                        reason,
                        remedy,
                    },
                )
            }
        },
        MetricOutcome::Unchanged => return None,
    })
}

fn why(evidence: &Evidence<'_>, name: &str) -> (String, String) {
    evidence
        .comparison
        .and_then(|comparison| comparison.metrics.iter().find(|metric| metric.name == name))
        .and_then(|metric| match &metric.estimate {
            Estimate::Unknown { reason, remedy } => Some((reason.clone(), remedy.clone())),
            Estimate::Known(_) => None,
        })
        .unwrap_or_default()
}

/// Gating metrics that only one arm has. A metric that is gone can't be judged any more, unless it is
/// gone because every request failed; a new one has nothing that it could be worse than.
fn one_arm_only(policy: &Policy, comparison: &Comparison, head: &[Run]) -> Vec<(Outcome, Reason)> {
    [
        (Arm::Base, Outcome::Inconclusive, &comparison.only_in_base),
        (Arm::Head, Outcome::Pass, &comparison.only_in_head),
    ]
    .into_iter()
    .flat_map(|(arm, outcome, names)| {
        let gating = names.iter().filter(|name| policy.margin(name).is_some());
        gating.map(move |metric| {
            let hopeless = match arm {
                Arm::Base => hopeless(metric, head),
                Arm::Head => None,
            };
            let metric = metric.clone();
            match hopeless {
                Some(reason) => (Outcome::Fail, reason),
                None => (outcome, Reason::OneArmOnly { metric, arm }),
            }
        })
    })
    .collect()
}

/// Margins on what neither arm has, such as a misspelt benchmark: said, or they would hold for ever.
/// A gate with a limit as well says so by its limit.
fn margins_on_nothing(policy: &Policy, comparison: &Comparison) -> Vec<(Outcome, Reason)> {
    let names = || {
        let compared = comparison.metrics.iter().map(|metric| &metric.name);
        compared
            .chain(&comparison.only_in_base)
            .chain(&comparison.only_in_head)
            .map(String::as_str)
    };
    policy
        .gates
        .iter()
        .filter(|gate| gate.regress.is_some() && gate.max.is_none() && gate.min.is_none())
        .filter(|gate| !names().any(|name| policy.finds(gate, name)))
        .map(|gate| {
            let remedy = match nearest(&gate.metric, names()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "name a metric that both arms have, or remove the gate".to_owned(),
            };
            let reason = Reason::NotMeasurable {
                metric: gate.metric.clone(),
                reason: "neither arm has a metric of this name".to_owned(),
                remedy,
            };
            (Outcome::Inconclusive, reason)
        })
        .collect()
}

fn warnings(policy: &Policy, evidence: &Evidence<'_>, metrics: &[MetricVerdict]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for metric in metrics {
        if metric.advisory {
            warnings.push(Warning::Advisory {
                metric: metric.name.clone(),
            });
        }
        if let (true, Some(mde), Some(margin)) = (metric.gating, metric.mde, metric.margin)
            && mde > margin
        {
            warnings.push(Warning::Underpowered {
                metric: metric.name.clone(),
                mde,
                margin,
                pairs_needed: metric.pairs_needed,
            });
        }
    }
    let Some(comparison) = evidence.comparison else {
        return warnings;
    };
    warnings.extend(policy.waivers.warnings(policy, comparison, metrics));
    for (arm, runs, compared) in [
        ("base", evidence.base, &comparison.base_runs),
        ("head", evidence.head, &comparison.head_runs),
    ] {
        let left_out = runs
            .iter()
            .filter(|run| !compared.contains(&run.id))
            .count();
        if left_out > 0 {
            let text = format!(
                "{left_out} of {} runs of the {arm} have no partner in the other arm and were not compared",
                runs.len()
            );
            warnings.push(Warning::Note { text });
        }
    }
    for (arm, names) in [
        ("base", &comparison.only_in_base),
        ("head", &comparison.only_in_head),
    ] {
        // Gating ones are reasons already.
        let names: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| policy.margin(name).is_none())
            .collect();
        if !names.is_empty() {
            let text = format!("only the {arm} has {}: not compared", names.join(", "));
            warnings.push(Warning::Note { text });
        }
    }
    warnings
}
