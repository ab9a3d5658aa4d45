//! One metric in both arms → its estimate.

use std::collections::BTreeMap;

use super::comparison::{Design, Effect, Estimate, MetricComparison};
use super::settings::{Noise, Settings};
use crate::harness::model::{
    Direction, INVOCATIONS_NEEDED, Metric, Reading, Run, Unit, by_session, path,
};
use crate::harness::stats::{self, Between, Prior, SESSIONS_NEEDED, SIGNED_RANK_FROM, Trials};

/// The metrics of one run by name: of foreign files there are thousands, each looked up several times.
type ByName<'a> = BTreeMap<&'a str, &'a Metric>;

/// The runs of both arms, and those of them that are pairs.
pub(super) struct Compared<'a> {
    /// By session.
    base: Vec<Vec<ByName<'a>>>,
    /// By session.
    head: Vec<Vec<ByName<'a>>>,
    pairs: Vec<(ByName<'a>, ByName<'a>)>,
}

impl<'a> Compared<'a> {
    pub(super) fn new(base: &'a [Run], head: &'a [Run], pairs: &[(&'a Run, &'a Run)]) -> Self {
        let arm = |runs: &'a [Run]| {
            let sessions = by_session(runs).into_iter();
            sessions
                .map(|runs| runs.into_iter().map(by_name).collect())
                .collect()
        };
        Self {
            base: arm(base),
            head: arm(head),
            pairs: pairs
                .iter()
                .map(|(base, head)| (by_name(base), by_name(head)))
                .collect(),
        }
    }
}

fn by_name(run: &Run) -> ByName<'_> {
    let metrics = run.metrics.iter();
    metrics
        .map(|metric| (metric.name.as_str(), metric))
        .collect()
}

/// Compares the metric `name`, which at least one run of each arm has.
pub(super) fn compare_metric(
    name: &str,
    arms: &Compared<'_>,
    settings: &Settings,
) -> MetricComparison {
    let first = arms.head.iter().flatten().find_map(|run| run.get(name));
    let (unit, better) = first.map_or((Unit::Count, Direction::Lower), |metric| {
        (metric.unit.clone(), metric.better)
    });
    let (base, head) = match settings.design {
        Design::Paired => paired_values(name, &arms.pairs),
        Design::Stored => (
            session_values(name, &arms.base).concat(),
            session_values(name, &arms.head).concat(),
        ),
    };
    let trials = error_trials(name, arms, settings.design);
    let is_difference = trials.is_some();
    let trouble = trouble(name, arms, settings.design, (&base, &head));
    let estimate = match (trouble, trials) {
        (Some(unknown), _) => unknown,
        (None, Some(trials)) => difference(trials, settings),
        (None, None) => ratio(name, better, arms, (&base, &head), settings),
    };
    MetricComparison {
        name: name.to_owned(),
        unit,
        better,
        base,
        head,
        is_difference,
        estimate,
    }
}

/// Why the values can't be compared at all, if so.
fn trouble(
    name: &str,
    arms: &Compared<'_>,
    design: Design,
    (base, head): (&[f64], &[f64]),
) -> Option<Estimate> {
    let readings = || {
        let runs = arms.base.iter().chain(&arms.head).flatten();
        runs.filter_map(|run| run.get(name))
    };
    let mut kinds = readings().map(|metric| (&metric.unit, metric.better));
    if let Some(first) = kinds.next()
        && let Some(other) = kinds.find(|kind| *kind != first)
    {
        let text = |(unit, better): (&Unit, Direction)| match better {
            Direction::Lower => format!("{unit} (lower is better)"),
            Direction::Higher => format!("{unit} (higher is better)"),
        };
        return Some(unknown(
            format!(
                "some runs have it in {}, others in {}",
                text(first),
                text(other)
            ),
            "measure both arms with the same version of the scenario",
        ));
    }
    let unmeasured: Vec<(&String, &String)> = readings()
        .filter_map(|metric| match &metric.reading {
            Reading::NotMeasurable { reason, remedy } => Some((reason, remedy)),
            Reading::Measured { .. } => None,
        })
        .collect();
    // Runs in which a metric can't be measured are not like the others: a slow one has made fewer
    // requests. Without them the rest would look better than it is.
    if let Some((reason, remedy)) = unmeasured.first() {
        let (some, all) = (unmeasured.len(), readings().count());
        return Some(match some == all {
            true => unknown(*reason, *remedy),
            false => unknown(format!("in {some} of {all} runs: {reason}"), *remedy),
        });
    }
    // Nor are runs that say nothing of it: an export leaves out what was not measurable.
    let [in_base, in_head] = match design {
        Design::Paired => [
            lacking(name, arms.pairs.iter().map(|(base, _)| base)),
            lacking(name, arms.pairs.iter().map(|(_, head)| head)),
        ],
        Design::Stored => [
            lacking(name, arms.base.iter().flatten()),
            lacking(name, arms.head.iter().flatten()),
        ],
    };
    for (arm, (lacking, all)) in [("base", in_base), ("head", in_head)] {
        if lacking > 0 {
            return Some(unknown(
                format!("{lacking} of {all} runs of the {arm} don't have it"),
                "measure it in every run",
            ));
        }
    }
    if base.is_empty() || head.is_empty() {
        return Some(unknown(
            "no run of one arm has a partner in the other",
            "number the pairs alike in both arms, or compare them as stored",
        ));
    }
    if base.iter().chain(head).any(|value| !value.is_finite()) {
        return Some(unknown(
            "a value is not a finite number",
            "mend whatever wrote it",
        ));
    }
    let fewest = base.len().min(head.len());
    if path::is_bench(name) && fewest < INVOCATIONS_NEEDED as usize {
        return Some(unknown(
            format!("only {fewest} invocations in an arm; {INVOCATIONS_NEEDED} are needed"),
            format!(
                "measure at least {INVOCATIONS_NEEDED} an arm; in a scenario: `invocations = {INVOCATIONS_NEEDED}`"
            ),
        ));
    }
    None
}

/// How many runs don't have the metric, and of how many.
fn lacking<'r, 'a: 'r>(name: &str, runs: impl Iterator<Item = &'r ByName<'a>>) -> (usize, usize) {
    runs.fold((0, 0), |(lacking, all), run| {
        (lacking + usize::from(!run.contains_key(name)), all + 1)
    })
}

/// The estimate of a difference of error rates.
fn difference((base, head): (Vec<Trials>, Vec<Trials>), settings: &Settings) -> Estimate {
    // Requests of one run are no replicates, and only several runs show whether errors come in bursts.
    if base.len().min(head.len()) < 2 {
        return one_run();
    }
    match stats::newcombe(&base, &head, settings.alpha) {
        Some(estimate) => known_difference(estimate, settings),
        None => unknown("an arm made no request", "run for longer"),
    }
}

/// The estimate of a ratio.
fn ratio(
    name: &str,
    better: Direction,
    arms: &Compared<'_>,
    (base, head): (&[f64], &[f64]),
    settings: &Settings,
) -> Estimate {
    // Nothing to take a logarithm of, and nothing that changed.
    let all_zero = base.iter().chain(head).all(|value| *value == 0.0);
    if !all_zero && base.iter().chain(head).any(|value| *value <= 0.0) {
        let remedy = match path::error_rate_of(name) {
            // Shares of so many requests are compared by their difference.
            Some(_) => {
                "say in `observations` of how many requests it is in each run, or judge it by a limit (`max`)"
            }
            None => "judge it by a limit (`max` or `min`) instead of a margin",
        };
        return unknown("a value of zero or less has no ratio", remedy);
    }
    let y = |value: f64| match all_zero {
        true => 0.0,
        false => worse(better, value),
    };
    let noise = settings.noise.get(name).copied().unwrap_or_default();
    match settings.design {
        Design::Paired => {
            let differences: Vec<f64> = base
                .iter()
                .zip(head)
                .map(|(base, head)| y(*head) - y(*base))
                .collect();
            paired(&differences, noise, settings.alpha)
        }
        Design::Stored => {
            let logs = |arm: &[Vec<ByName<'_>>]| -> Vec<Vec<f64>> {
                let sessions = session_values(name, arm).into_iter();
                sessions
                    .map(|values| values.into_iter().map(y).collect())
                    .collect()
            };
            stored(&logs(&arms.base), &logs(&arms.head), noise, settings.alpha)
        }
    }
}

/// y = ln(metric), signed so that positive is worse.
pub(super) fn worse(better: Direction, value: f64) -> f64 {
    match better {
        Direction::Lower => value.ln(),
        Direction::Higher => -value.ln(),
    }
}

fn paired(differences: &[f64], noise: Noise, alpha: f64) -> Estimate {
    let n = differences.len();
    let ranked = n >= SIGNED_RANK_FROM;
    let method = match noise.prior {
        _ if ranked => format!("Hodges–Lehmann with signed-rank bounds, {n} pairs"),
        Some(Prior { d0, .. }) => format!("paired t, moderated (d0 = {d0}), {n} pairs"),
        None => format!("paired t, {n} pairs"),
    };
    match stats::paired(differences, noise.prior, alpha) {
        Some(estimate) => known(
            estimate,
            alpha,
            None,
            (!ranked).then_some(estimate.df),
            method,
        ),
        None => unknown(
            "one pair has no spread",
            "measure at least two pairs, better five",
        ),
    }
}

fn stored(base: &[Vec<f64>], head: &[Vec<f64>], noise: Noise, alpha: f64) -> Estimate {
    let own = stats::between_sessions(base).or_else(|| stats::between_sessions(head));
    // A file may say more than its sessions can know.
    let calibrated = noise.between.filter(|it| it.sessions >= SESSIONS_NEEDED);
    // What rests on more sessions is known better; of equals the last, the calibration, is taken.
    let between = [own, calibrated]
        .into_iter()
        .flatten()
        .max_by_key(|between| between.sessions);
    let method = match between {
        Some(Between { sessions, .. }) => {
            format!("stored arms, spread between sessions from {sessions} sessions")
        }
        None => "stored arms, spread between sessions unknown".into(),
    };
    match stats::stored(base, head, between, alpha) {
        Some(estimate) => known(
            estimate,
            alpha,
            between.map(|b| b.tau),
            Some(estimate.df),
            method,
        ),
        None => one_run(),
    }
}

fn known(
    estimate: stats::Estimate,
    alpha: f64,
    tau: Option<f64>,
    df: Option<f64>,
    method: String,
) -> Estimate {
    let stats::Estimate {
        effect,
        se,
        sd,
        se_sessions,
        lower,
        upper,
        p_worse,
        p_better,
        ..
    } = estimate;
    if ![effect, se, sd, lower, upper, p_worse, p_better]
        .iter()
        .all(|x| x.is_finite())
    {
        return unknown("too few runs for bounds at this level", "measure more runs");
    }
    Estimate::Known(Effect {
        theta: effect,
        lower,
        upper,
        p: p_worse,
        p_improved: p_better,
        se,
        sd,
        se_sessions,
        df: df.filter(|df| df.is_finite()),
        mde: Effect::as_fraction(estimate.mde(alpha)),
        tau,
        method,
    })
}

/// A difference of proportions, kept as ln(1 + difference): see [`Effect`].
fn known_difference(mut estimate: stats::Estimate, settings: &Settings) -> Estimate {
    // Only an arm that failed throughout against one without any error would be ln 0.
    let scale = |difference: f64| difference.max(-1.0 + f64::EPSILON).ln_1p();
    estimate.effect = scale(estimate.effect);
    estimate.lower = scale(estimate.lower);
    estimate.upper = scale(estimate.upper);
    let mde = estimate.mde(settings.alpha);
    // Errors are counted, not drawn from a distribution between sessions: τ does not apply, and the
    // dispersion over the runs has widened the bounds already.
    let method = "difference of error rates, Newcombe".into();
    match known(estimate, settings.alpha, Some(0.0), None, method) {
        Estimate::Known(effect) => Estimate::Known(Effect { mde, ..effect }),
        unknown => unknown,
    }
}

/// Errors and requests per run, where `name` is an error rate and every run says how many requests
/// it rests on.
fn error_trials(
    name: &str,
    arms: &Compared<'_>,
    design: Design,
) -> Option<(Vec<Trials>, Vec<Trials>)> {
    path::error_rate_of(name)?;
    let trials = |run: &ByName<'_>| {
        let failures = run.get(name)?.failures()?;
        Some(Trials {
            errors: failures.failed,
            requests: failures.requests,
        })
    };
    match design {
        Design::Paired => arms
            .pairs
            .iter()
            .map(|(base, head)| Some((trials(base)?, trials(head)?)))
            .collect::<Option<Vec<_>>>()
            .map(|pairs| pairs.into_iter().unzip()),
        Design::Stored => {
            let all = |arm: &[Vec<ByName<'_>>]| {
                let runs = arm.iter().flatten();
                runs.map(trials).collect::<Option<Vec<_>>>()
            };
            Some((all(&arms.base)?, all(&arms.head)?))
        }
    }
}

/// Values of pairs in which both runs have the metric. The replicates of a benchmark are paired in
/// the order of their invocations.
fn paired_values(name: &str, pairs: &[(ByName<'_>, ByName<'_>)]) -> (Vec<f64>, Vec<f64>) {
    pairs
        .iter()
        .filter_map(|(base, head)| Some((base.get(name)?, head.get(name)?)))
        .flat_map(|(base, head)| base.values().iter().zip(head.values()))
        .unzip()
}

/// Values per session; a session without any is left out.
fn session_values(name: &str, sessions: &[Vec<ByName<'_>>]) -> Vec<Vec<f64>> {
    sessions
        .iter()
        .map(|runs| {
            let metrics = runs.iter().filter_map(|run| run.get(name));
            metrics
                .flat_map(|metric| metric.values())
                .copied()
                .collect::<Vec<f64>>()
        })
        .filter(|values| !values.is_empty())
        .collect()
}

fn one_run() -> Estimate {
    unknown(
        "an arm with one run has no spread",
        "measure at least two runs an arm",
    )
}

fn unknown(reason: impl Into<String>, remedy: impl Into<String>) -> Estimate {
    Estimate::Unknown {
        reason: reason.into(),
        remedy: remedy.into(),
    }
}
