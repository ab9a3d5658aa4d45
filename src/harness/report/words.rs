//! The sentences of a verdict: what it says, why, and what to do next. Every output uses these, so
//! that the terminal and the page never tell different stories.

use crate::harness::compare::Design;
use crate::harness::gate::{
    AppliedWaiver, LimitVerdict, MetricOutcome, MetricVerdict, Outcome, Reason, Standing, Verdict,
    Warning,
};
use crate::harness::model::{
    Arm, Direction, ErrorKind, FingerprintDifference, InvalidReason, Phase, Unit,
};
use crate::harness::scenario::DEFAULT_RUNS;
use crate::harness::scenario::waivers::WAIVERS_FILE;

use super::format;
use super::text::{self, MAX_SHOWN_CHARS};

/// What to do where sessions differ by more than the margin allows, and no number of runs would do.
const MORE_SESSIONS: &str = "More runs don't help, because sessions differ by more than the margin allows: save the baseline from more sessions, or widen the margin";

/// What the bounds of the effects are: a one-sided level α at either end makes an interval of
/// 1 − 2α, 90 % at the usual α of .05.
pub fn interval_name(verdict: &Verdict) -> String {
    let alpha = verdict
        .comparison
        .as_ref()
        .map_or(0.05, |comparison| comparison.alpha);
    format!("{} interval", format::margin(1.0 - 2.0 * alpha))
}

/// The effect of a metric: a change in percent, or a difference in percentage points for an error
/// rate, whose effects are differences because zero has no ratio.
pub fn effect_of(metric: &MetricVerdict, fraction: f64) -> String {
    match metric.is_difference {
        true => format::points(fraction),
        false => format::effect(fraction),
    }
}

/// The bounds of a metric's effect, as [`effect_of`]; a dash where there are none.
pub fn interval_of(metric: &MetricVerdict) -> String {
    match (metric.lower, metric.upper) {
        (Some(lower), Some(upper)) if metric.is_difference => {
            format!(
                "{} … {}",
                format::points(lower).trim_end_matches("\u{202f}pp"),
                format::points(upper)
            )
        }
        (Some(lower), Some(upper)) => format::interval(lower, upper),
        _ => "–".to_owned(),
    }
}

/// A margin or a minimal detectable effect of a metric, as [`effect_of`] without a sign.
pub fn margin_of(metric: &MetricVerdict, fraction: f64) -> String {
    match metric.is_difference {
        true => format::unsigned_points(fraction),
        false => format::margin(fraction),
    }
}

/// The order in which metrics are read: those that can decide first, what needs a look before what
/// doesn't, and then by name.
pub fn reading_order(metric: &MetricVerdict) -> (bool, bool, u8, &str) {
    let concern = match metric.verdict {
        MetricOutcome::Regressed => 0,
        MetricOutcome::Inconclusive => 1,
        MetricOutcome::NotMeasurable => 2,
        MetricOutcome::Waived => 3,
        MetricOutcome::Improved => 4,
        MetricOutcome::Unchanged => 5,
    };
    (!metric.gating, !metric.advisory, concern, &metric.name)
}

/// Something said to the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// A sentence without its full stop.
    pub what: String,
    /// What to do next, as a sentence without its full stop.
    pub next: String,
    /// Lines to look at, such as the last output of a process; often empty.
    pub detail: String,
}

impl Spoken {
    fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: next.into(),
            detail: String::new(),
        }
    }
}

/// What a reason has to do with the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The verdict follows from it.
    Decides,
    /// It would count if nothing weightier were there.
    Counts,
    /// It is good news.
    Good,
}

/// The verdict in capitals, for a badge.
pub fn badge(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "PASS",
        Outcome::NoBaseline => "NO BASELINE",
        Outcome::Inconclusive => "INCONCLUSIVE",
        Outcome::Fail => "FAIL",
        Outcome::Invalid => "INVALID",
    }
}

/// A metric's verdict in one word.
pub fn metric_outcome(outcome: MetricOutcome) -> &'static str {
    match outcome {
        MetricOutcome::Regressed => "regressed",
        MetricOutcome::Improved => "improved",
        MetricOutcome::Unchanged => "unchanged",
        MetricOutcome::Inconclusive => "inconclusive",
        MetricOutcome::NotMeasurable => "not measurable",
        MetricOutcome::Waived => "waived",
    }
}

/// The verdict in a sentence that needs no statistics to be understood.
pub fn headline(verdict: &Verdict) -> String {
    let all = reasons(verdict);
    let weightiest = all.first().map(|(_, said)| said.what.clone());
    let more = match all
        .iter()
        .filter(|(weight, _)| *weight == Weight::Decides)
        .count()
    {
        0 | 1 => String::new(),
        n => format!(", and {}", format::counted(n as u64 - 1, "other reason")),
    };
    match (verdict.verdict, weightiest) {
        (Outcome::Pass, _) => passed(verdict),
        (Outcome::NoBaseline, _) => {
            "There is no comparable baseline, so nothing can be said about a regression".to_owned()
        }
        (Outcome::Inconclusive, Some(what)) => format!("No answer yet: {what}{more}"),
        (Outcome::Fail, Some(what)) => format!("{}{more}", capitalised(&what)),
        (Outcome::Invalid, Some(what)) => format!("Nothing is judged: {what}{more}"),
        (Outcome::Inconclusive, None) => "No answer yet".to_owned(),
        (Outcome::Fail, None) => "A gate failed".to_owned(),
        (Outcome::Invalid, None) => "Nothing is judged: the measurement is invalid".to_owned(),
    }
}

/// The reasons in their order, each once: a metric with a limit and a margin that can't be measured
/// is one reason for its reader.
pub fn reasons(verdict: &Verdict) -> Vec<(Weight, Spoken)> {
    let mut said: Vec<(Weight, Spoken)> = Vec::new();
    for given in &verdict.reasons {
        let spoken = reason(given, verdict);
        if !said.iter().any(|(_, known)| *known == spoken) {
            said.push((weight(given, verdict.verdict), spoken));
        }
    }
    said
}

/// A reason and what to do about it.
pub fn reason(reason: &Reason, verdict: &Verdict) -> Spoken {
    match reason {
        Reason::InvalidRun { run, reason } => {
            let said = invalid(reason);
            Spoken {
                what: format!("{} is invalid: {}", text::shown(run, 40), said.what),
                ..said
            }
        }
        Reason::PartialRun { run } => Spoken::new(
            format!("{} was stopped before its time", text::shown(run, 40)),
            "Run it again to its end",
        ),
        Reason::NotComparable { differences } => conditions(differences),
        Reason::LimitBroken { metric } => broken_limit(metric, verdict),
        Reason::NothingInOrder { metric } => Spoken::new(
            format!(
                "{} has no value because no request behind it was in order",
                name(metric)
            ),
            "Look at the errors of the load: the target answered, if at all, not as the scenario demands",
        ),
        Reason::Regressed { metric } => regressed(metric, verdict),
        Reason::Inconclusive { metric } => inconclusive(metric, verdict),
        Reason::NotMeasurable {
            metric,
            reason,
            remedy,
        } => Spoken::new(
            format!(
                "{} is not measurable: {}",
                name(metric),
                text::shown(reason, MAX_SHOWN_CHARS)
            ),
            capitalised(&text::shown(remedy, MAX_SHOWN_CHARS)),
        ),
        Reason::OneArmOnly { metric, arm } => Spoken::new(
            format!("only the {} has {}", arm.name(), name(metric)),
            "If it was renamed or removed on purpose, change the gate and save a new baseline",
        ),
        Reason::Waived { metric } => waived(metric, verdict),
        Reason::NoBaseline => Spoken::new(
            "there is no base to compare with",
            saving("Measure the base here"),
        ),
        Reason::Improved { metric } => improved(metric, verdict),
    }
}

/// A warning and what to do about it.
pub fn warning(warning: &Warning, verdict: &Verdict) -> Spoken {
    match warning {
        Warning::Underpowered {
            metric,
            mde,
            margin,
            pairs_needed,
        } => Spoken::new(
            format!(
                "{} can't hold its margin of {}: only a change of {} or more would be noticed reliably",
                name(metric),
                format::margin(*margin),
                format::margin(*mde),
            ),
            match pairs_needed {
                Some(pairs) => format!(
                    "Make about {} (`--runs {pairs}`), let each run take longer, or widen the margin",
                    format::counted(u64::from(*pairs), "pair"),
                ),
                None => MORE_SESSIONS.to_owned(),
            },
        ),
        Warning::Advisory { metric } => Spoken::new(
            format!(
                "{} is compared for information only: how much it varies between sessions is not known yet",
                name(metric)
            ),
            match verdict.scenario.is_empty() {
                true => "Measure base and head in turn and compare them with `--paired`, or give three sessions or more of the base".to_owned(),
                false => saving("Measure the base in more sessions"),
            },
        ),
        Warning::WaiverExpired { metric, expires } => Spoken::new(
            format!(
                "the waiver on {} expired on {expires}, and nothing needs it any more",
                name(metric)
            ),
            format!("Remove it from `{WAIVERS_FILE}`"),
        ),
        Warning::WaiverUnmatched { metric } => Spoken::new(
            format!(
                "the waiver on {} is on no metric that has a margin",
                name(metric)
            ),
            format!("Correct its metric in `{WAIVERS_FILE}`, or remove it; limits can't be waived"),
        ),
        Warning::Crept { metric, anchor } => Spoken::new(
            format!(
                "{} has crept: it is worse than at anchor {} by its margin or more, although not in one step",
                name(metric),
                name(anchor)
            ),
            "Look at what was accepted since then; if it is meant to stay, pin a new anchor with `plimsoll baseline pin`",
        ),
        Warning::Note { text } => Spoken::new(text::shown(text, 600), ""),
    }
}

/// The waiver on a metric that has regressed, as a clause.
pub fn waiver(metric: &MetricVerdict, waiver: &AppliedWaiver) -> String {
    let allowed = margin_of(metric, waiver.allow);
    let reason = text::shown(&waiver.reason, MAX_SHOWN_CHARS);
    let expires = waiver.expires;
    match waiver.standing {
        Standing::Holds => {
            format!("a waiver allows up to {allowed} until {expires}: {reason}")
        }
        Standing::Exceeded => {
            format!("its waiver allows only {allowed} (until {expires}: {reason})")
        }
        Standing::Expired => {
            format!("its waiver of {allowed} expired on {expires} (it was: {reason})")
        }
    }
}

/// Why a run is no measurement.
pub fn invalid(reason: &InvalidReason) -> Spoken {
    match reason {
        InvalidReason::Dropped {
            load,
            dropped,
            offered,
            allowed,
        } => Spoken::new(
            format!(
                "load {} dropped {} of {} arrivals ({}; {} allowed)",
                name(load),
                format::count(*dropped),
                format::count(*offered),
                format::share(*dropped, *offered),
                format::margin(*allowed),
            ),
            "Every user was still waiting for an answer. Lower the rate, raise `max_in_flight`, or find out why the target is slow",
        ),
        InvalidReason::GeneratorLate {
            load,
            lateness_ns_p99,
            tolerance_ns,
        } => Spoken::new(
            format!(
                "load {} started 1 % of its iterations more than {} late ({} tolerated)",
                name(load),
                format::duration_ns(*lateness_ns_p99),
                format::duration_ns(*tolerance_ns),
            ),
            "Something else uses this machine's processors: stop it (`plimsoll doctor` looks for it), or lower the rate",
        ),
        InvalidReason::GeneratorSaturated {
            load,
            cpu_cores,
            cores,
        } => Spoken::new(
            format!(
                "the generator of load {} kept {} of {} busy",
                name(load),
                format::value(&Unit::Count, (cpu_cores * 100.0).round() / 100.0),
                format::value(&Unit::Cores, *cores),
            ),
            "Lower the rate or the users, or split the load in two: each load has a core of its own",
        ),
        InvalidReason::GeneratorExhausted {
            load,
            failures,
            message,
        } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                format!(
                    "the generator of load {} had no file or port left for {}",
                    name(load),
                    format::counted(*failures, "request"),
                ),
                "Raise the hard limit on open files (`ulimit -Hn` shows it), or let fewer users wait at once: lower `max_in_flight` or `users`. Ports run out where the target closes each connection: let it keep them open",
            )
        },
        InvalidReason::GeneratorFailed { load, message } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                format!("the generator of load {} ended before its time", name(load)),
                "What it said is below: correct that, or report it with the scenario where it is a bug",
            )
        },
        InvalidReason::BenchFailed { message } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                "a bench failed",
                "What it said is below; run it by itself with `cargo bench`, and correct it",
            )
        },
        InvalidReason::ProcessExited {
            process,
            status,
            at_ns,
            output,
        } => Spoken {
            detail: text::block(output),
            ..Spoken::new(
                format!(
                    "process {} ended by itself {} ({})",
                    name(process),
                    moment(*at_ns),
                    text::shown(status, 60),
                ),
                "Its last lines say why; no fault of the scenario stopped it",
            )
        },
        InvalidReason::NotRestarted {
            process,
            at_ns,
            message,
        } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                format!(
                    "a fault could not start process {} again {}",
                    name(process),
                    moment(*at_ns),
                ),
                "What kept it from starting is below; its first start in this run went well",
            )
        },
        InvalidReason::TargetUnreachable { url, cause } => Spoken::new(
            format!(
                "nothing answers at the target {} any more: {}",
                text::shown(url, MAX_SHOWN_CHARS),
                text::shown(cause, MAX_SHOWN_CHARS),
            ),
            "It was there for an earlier run of this session: its own log says why it ended. Start it, and run again",
        ),
        InvalidReason::NothingMeasured { load } => Spoken::new(
            format!(
                "load {} ended without one iteration in the measure phase",
                name(load)
            ),
            "Look at its errors, and check that the measure phase is longer than one iteration",
        ),
    }
}

/// The unit and direction of a metric as a column head would say it: `lower is better`.
pub fn direction(better: Direction) -> &'static str {
    match better {
        Direction::Lower => "lower is better",
        Direction::Higher => "higher is better",
    }
}

/// How the arms were measured, in a sentence.
pub fn design(design: Design) -> &'static str {
    match design {
        Design::Paired => {
            "Base and head ran alternately on one machine, and differences are taken within each pair."
        }
        Design::Stored => {
            "The base was measured earlier on the same kind of machine, so differences between sessions are allowed for."
        }
    }
}

/// A phase by its name.
pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Warmup => "warm-up",
        Phase::Measure => "measure",
        Phase::Cooldown => "cool-down",
    }
}

/// Why requests failed, for a table.
pub fn error_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Connect => "no connection",
        ErrorKind::Exhausted => "the generator's own limit",
        ErrorKind::Closed => "connection closed early",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Protocol => "not proper HTTP",
        ErrorKind::Tls => "TLS failed",
        ErrorKind::Status => "unexpected status",
        ErrorKind::Check => "check failed",
        ErrorKind::Extract => "value not found",
        ErrorKind::Template => "request not built",
        ErrorKind::Cancelled => "cancelled at the end",
    }
}

/// What a limit demands: `at most 500 ms`, or `at most 1 %, implied` where no gate states it.
pub fn demand(limit: &LimitVerdict) -> String {
    let max = limit
        .max
        .map(|max| format!("at most {}", format::value(&limit.unit, max)));
    let min = limit
        .min
        .map(|min| format!("at least {}", format::value(&limit.unit, min)));
    let implied = limit.is_implied.then(|| "implied".to_owned());
    [max, min, implied]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// The measured value of a limit, told apart from the limit that it breaks.
pub fn against_limit(limit: &LimitVerdict) -> String {
    let Some(value) = limit.value else {
        return "–".to_owned();
    };
    let bound = limit
        .max
        .filter(|max| value > *max)
        .or(limit.min.filter(|min| value < *min));
    match bound {
        Some(bound) => format::value_against(&limit.unit, value, bound),
        None => format::value(&limit.unit, value),
    }
}

/// The first letter as a capital.
pub fn capitalised(sentence: &str) -> String {
    let mut chars = sentence.chars();
    match chars.next() {
        // A metric's path stays as it is written; a path has a dot in its first word.
        Some(first)
            if !sentence
                .split(' ')
                .next()
                .is_some_and(|word| word.contains('.')) =>
        {
            first.to_uppercase().chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}

fn passed(verdict: &Verdict) -> String {
    let gated = verdict.metrics.iter().filter(|metric| metric.gating);
    let (mut metrics, mut improved, mut waived) = (0, 0, 0);
    for metric in gated {
        metrics += 1;
        improved += u64::from(metric.verdict == MetricOutcome::Improved);
        waived += u64::from(metric.verdict == MetricOutcome::Waived);
    }
    let margins = match (metrics, improved) {
        (0, _) => None,
        (n, _) if waived > 0 => Some(format!(
            "{} of {} got worse, which is waived",
            format::count(waived),
            format::counted(n, "compared metric")
        )),
        (1, 0) => Some("the one compared metric did not get worse".to_owned()),
        (n, 0) => Some(format!(
            "none of {} compared metrics got worse",
            format::count(n)
        )),
        (n, i) => Some(format!(
            "none of {} got worse ({} better)",
            format::counted(n, "compared metric"),
            format::count(i)
        )),
    };
    let held = match verdict.limits.as_slice() {
        [] => None,
        [one] if margins.is_none() => Some(format!(
            "the limit holds: {} is {}, and must be {}",
            name(&one.metric),
            against_limit(one),
            demand(one)
        )),
        [_] => Some("the one limit holds".to_owned()),
        all => Some(format!(
            "all {} limits hold",
            format::count(all.len() as u64)
        )),
    };
    match (margins, held) {
        (None, None) if verdict.scenario.is_empty() => {
            "Compared; nothing was judged, because no metric has a margin that could fail"
                .to_owned()
        }
        (None, None) => {
            "Measured; nothing was judged, because the scenario has no gates that apply".to_owned()
        }
        (margins, held) => {
            let parts: Vec<String> = [held, margins].into_iter().flatten().collect();
            capitalised(&parts.join(", and "))
        }
    }
}

fn weight(reason: &Reason, outcome: Outcome) -> Weight {
    let decides = match reason {
        Reason::InvalidRun { .. } | Reason::PartialRun { .. } | Reason::NotComparable { .. } => {
            outcome == Outcome::Invalid
        }
        Reason::LimitBroken { .. } | Reason::NothingInOrder { .. } | Reason::Regressed { .. } => {
            outcome == Outcome::Fail
        }
        Reason::NotMeasurable { .. } | Reason::Inconclusive { .. } => {
            outcome == Outcome::Inconclusive
        }
        Reason::OneArmOnly { arm, .. } => *arm == Arm::Base && outcome == Outcome::Inconclusive,
        Reason::NoBaseline => outcome == Outcome::NoBaseline,
        Reason::Waived { .. } => false,
        Reason::Improved { .. } => return Weight::Good,
    };
    if decides {
        Weight::Decides
    } else {
        Weight::Counts
    }
}

fn broken_limit(metric: &str, verdict: &Verdict) -> Spoken {
    let limit = verdict
        .limits
        .iter()
        .find(|limit| limit.metric == metric && limit.holds == Some(false));
    let what = match limit {
        Some(limit) => format!(
            "{} is {}; it must be {}",
            name(metric),
            against_limit(limit),
            demand(limit)
        ),
        None => format!("{} breaks its limit", name(metric)),
    };
    Spoken::new(
        what,
        "See when it happened in the curves of the run, or change the limit if it asks too much",
    )
}

fn regressed(metric: &str, verdict: &Verdict) -> Spoken {
    let next = "Find the change that did it; if it is intended, save a new baseline with `plimsoll baseline save`";
    let Some((judged, effect)) = known(metric, verdict) else {
        return Spoken::new(format!("{} got worse", name(metric)), next);
    };
    let what = got_worse(judged, effect, verdict);
    match &judged.waiver {
        None => Spoken::new(what, next),
        Some(applied) => Spoken::new(
            format!("{what}; {}", waiver(judged, applied)),
            format!(
                "Find the change that did it; what is still accepted needs a new waiver in `{WAIVERS_FILE}`"
            ),
        ),
    }
}

fn waived(metric: &str, verdict: &Verdict) -> Spoken {
    let next = format!(
        "Mend it before the waiver in `{WAIVERS_FILE}` expires, or save a new baseline with `plimsoll baseline save`"
    );
    let known = known(metric, verdict)
        .and_then(|(judged, effect)| Some((judged, effect, judged.waiver.as_ref()?)));
    let Some((judged, effect, applied)) = known else {
        return Spoken::new(format!("{} got worse, which is waived", name(metric)), next);
    };
    Spoken::new(
        format!(
            "{}; {}",
            got_worse(judged, effect, verdict),
            waiver(judged, applied)
        ),
        next,
    )
}

/// How much worse a metric is, as a clause.
fn got_worse(judged: &MetricVerdict, effect: f64, verdict: &Verdict) -> String {
    format!(
        "{} is {} {} than the base ({} {}; margin {})",
        name(&judged.name),
        unsigned(judged, effect),
        worse(judged),
        interval_name(verdict),
        interval_of(judged),
        margin(judged),
    )
}

fn inconclusive(metric: &str, verdict: &Verdict) -> Spoken {
    let Some((judged, _)) = known(metric, verdict) else {
        return Spoken::new(
            format!("whether {} got worse can't be told", name(metric)),
            "Make more runs with `--runs`",
        );
    };
    let needed = judged.pairs_needed.map_or_else(
        || MORE_SESSIONS.to_owned(),
        |pairs| {
            format!(
                "Make about {} (`--runs {pairs}`), or let each run take longer",
                format::counted(u64::from(pairs), "pair")
            )
        },
    );
    Spoken::new(
        format!(
            "whether {} got worse can't be told: the change lies within {}, and the margin is {}",
            name(metric),
            interval_of(judged),
            margin(judged),
        ),
        needed,
    )
}

fn improved(metric: &str, verdict: &Verdict) -> Spoken {
    let what = match known(metric, verdict) {
        Some((judged, effect)) => format!(
            "{} got better by {} ({} {})",
            name(metric),
            unsigned(judged, effect),
            interval_name(verdict),
            interval_of(judged),
        ),
        None => format!("{} got better", name(metric)),
    };
    Spoken::new(
        what,
        "Save a new baseline with `plimsoll baseline save`, or the gain can be lost again unnoticed",
    )
}

/// The metric's verdict and its effect, where it has one with bounds.
fn known<'v>(metric: &str, verdict: &'v Verdict) -> Option<(&'v MetricVerdict, f64)> {
    let judged = verdict
        .metrics
        .iter()
        .find(|judged| judged.name == metric)?;
    judged.lower.and(judged.upper)?;
    Some((judged, judged.effect?))
}

fn unsigned(metric: &MetricVerdict, effect: f64) -> String {
    effect_of(metric, effect)
        .trim_start_matches(['+', '\u{2212}'])
        .to_owned()
}

fn worse(metric: &MetricVerdict) -> &'static str {
    match (&metric.unit, metric.better) {
        _ if metric.is_difference => "higher",
        (Unit::Nanoseconds, Direction::Lower) => "slower",
        (Unit::Bytes, Direction::Lower) => "larger",
        _ => "worse",
    }
}

fn margin(metric: &MetricVerdict) -> String {
    metric
        .margin
        .map_or_else(|| "none".to_owned(), |margin| margin_of(metric, margin))
}

fn conditions(differences: &[FingerprintDifference]) -> Spoken {
    let fields: Vec<String> = differences
        .iter()
        .map(|d| {
            format!(
                "{} ({} → {})",
                name(&d.field),
                text::shown(&d.base, 40),
                text::shown(&d.head, 40)
            )
        })
        .collect();
    Spoken::new(
        format!(
            "the two arms were measured under different conditions: {}",
            fields.join(", ")
        ),
        saving("Measure the base under these conditions"),
    )
}

/// How a base is made, as a sentence that begins with `what`.
fn saving(what: &str) -> String {
    format!(
        "{what} with `plimsoll run --runs {DEFAULT_RUNS}`, and save it with `plimsoll baseline save`"
    )
}

fn moment(at_ns: i64) -> String {
    match at_ns {
        at if at < 0 => "before the load began".to_owned(),
        at => format!("{} into the run", format::clock_ns(at)),
    }
}

fn name(hostile: &str) -> String {
    text::shown(hostile, MAX_SHOWN_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::gate::VERDICT_FORMAT;

    fn verdict(outcome: Outcome, reasons: Vec<Reason>) -> Verdict {
        Verdict {
            schema: VERDICT_FORMAT.into(),
            scenario: "s".into(),
            verdict: outcome,
            exit_code: 0,
            reasons,
            warnings: Vec::new(),
            metrics: Vec::new(),
            limits: Vec::new(),
            comparison: None,
            anchors: Vec::new(),
        }
    }

    fn check(outcome: Outcome, reasons: Vec<Reason>, expected: &str) {
        let said = headline(&verdict(outcome, reasons));
        assert_eq!(said.replace('\u{202f}', " "), expected);
    }

    fn broken(metric: &str) -> Reason {
        Reason::LimitBroken {
            metric: metric.into(),
        }
    }

    #[test]
    fn the_headline_says_what_is_weightiest() {
        check(
            Outcome::Pass,
            vec![],
            "Measured; nothing was judged, because the scenario has no gates that apply",
        );
        check(
            Outcome::Fail,
            vec![broken("a.p95")],
            "a.p95 breaks its limit",
        );
        check(
            Outcome::Fail,
            vec![
                broken("a.p95"),
                broken("b.p95"),
                broken("b.p95"),
                Reason::NoBaseline,
            ],
            "a.p95 breaks its limit, and 1 other reason",
        );
        check(
            Outcome::Inconclusive,
            vec![Reason::Inconclusive {
                metric: "a.p95".into(),
            }],
            "No answer yet: whether a.p95 got worse can't be told",
        );
        check(
            Outcome::Invalid,
            vec![Reason::InvalidRun {
                run: "head run 2".into(),
                reason: InvalidReason::NothingMeasured {
                    load: "reads".into(),
                },
            }],
            "Nothing is judged: head run 2 is invalid: load reads ended without one iteration in the measure phase",
        );
    }

    #[test]
    fn a_failed_bench_says_what_to_do_and_what_it_said() {
        let spoken = invalid(&InvalidReason::BenchFailed {
            message: "bench `cache` failed\n<b>panicked</b>".into(),
        });
        assert_eq!(spoken.what, "a bench failed");
        assert!(spoken.next.contains("`cargo bench`"), "{}", spoken.next);
        assert!(spoken.detail.contains("panicked"), "{}", spoken.detail);
    }

    #[test]
    fn a_limit_tells_both_sides() {
        let mut judged = verdict(Outcome::Fail, vec![broken("a.p95")]);
        judged.limits.push(LimitVerdict {
            metric: "a.p95".into(),
            unit: Unit::Nanoseconds,
            max: Some(200e6),
            min: None,
            is_implied: false,
            value: Some(200_040_000.0),
            low: None,
            high: None,
            n: 1,
            holds: Some(false),
        });
        assert_eq!(
            headline(&judged).replace('\u{202f}', " "),
            "a.p95 is 200.04 ms; it must be at most 200 ms"
        );
    }

    #[test]
    fn a_sentence_begins_with_a_capital_and_a_path_does_not() {
        assert_eq!(capitalised("only the head has it"), "Only the head has it");
        assert_eq!(
            capitalised("load.reads.p95 is slow"),
            "load.reads.p95 is slow"
        );
        assert_eq!(capitalised(""), "");
    }
}
