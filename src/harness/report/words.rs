//! The sentences of a verdict: what it says, why, and what to do next. Every output uses these, so
//! that the terminal and the page never tell different stories.

use crate::harness::compare::{Comparison, Design};
use crate::harness::gate::{
    AppliedWaiver, LimitVerdict, MetricOutcome, MetricVerdict, Outcome, Reason, Standing, Verdict,
    Warning,
};
use crate::harness::model::{
    Aborted, Arm, Direction, ErrorKind, FingerprintDifference, InvalidReason, Phase, Run,
    ShardFault, Unit,
};
use crate::harness::scenario::DEFAULT_RUNS;
use crate::harness::scenario::waivers::WAIVERS_FILE;

use super::format;
use super::text::{self, MAX_SHOWN_CHARS};

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

/// Whether an effect says how much more the base has, because higher is better: half the rate is 100 % worse.
pub fn is_of_the_base(metric: &MetricVerdict) -> bool {
    metric.better == Direction::Higher && !metric.is_difference
}

/// The bounds of a metric's effect, as [`effect_of`]; a dash where there are none.
pub fn interval_of(metric: &MetricVerdict) -> String {
    match (metric.lower, metric.upper) {
        (Some(lower), Some(upper)) if metric.is_difference => format::points_interval(lower, upper),
        (Some(lower), Some(upper)) => format::interval(lower, upper),
        _ => "–".to_owned(),
    }
}

/// A margin or a minimal detectable effect of a metric, as [`effect_of`] without a sign.
pub fn margin_of(metric: &MetricVerdict, fraction: f64) -> String {
    share(metric.is_difference, fraction)
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
    /// Whether `what` begins with a metric's name, which stays as it is written.
    pub is_named: bool,
}

impl Spoken {
    fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: next.into(),
            detail: String::new(),
            is_named: false,
        }
    }

    /// The same, of which the first word is a metric's name.
    fn named(self) -> Self {
        Self {
            is_named: true,
            ..self
        }
    }

    /// `what` as the beginning of a sentence.
    pub fn sentence(&self) -> String {
        match self.is_named {
            true => self.what.clone(),
            false => capitalised(&self.what),
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

/// What the verdict is on: its scenario, which numbers of other tools don't have.
pub fn title(verdict: &Verdict) -> String {
    match verdict.scenario.as_str() {
        "" => "comparison".to_owned(),
        scenario => text::shown(scenario, 120),
    }
}

/// The verdict in capitals, for a badge.
pub fn badge(verdict: &Verdict) -> &'static str {
    match verdict.verdict {
        _ if verdict.advisory => "ADVISORY",
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

/// Whether a metric is shown at once: all that the scenario names, and what moved without being named.
pub fn is_worth_showing(metric: &MetricVerdict) -> bool {
    metric.gating
        || metric.advisory
        || matches!(
            metric.verdict,
            MetricOutcome::Regressed | MetricOutcome::Improved
        )
}

/// A metric's verdict for a table: in brackets where it can't fail the gate.
pub fn verdict_of(metric: &MetricVerdict) -> String {
    let word = metric_outcome(metric.verdict);
    match (metric.gating, metric.advisory) {
        (true, _) => word.to_owned(),
        (false, true) => format!("({word}, advisory)"),
        (false, false) => format!("({word})"),
    }
}

/// What became of a limit.
pub fn limit_outcome(limit: &LimitVerdict) -> &'static str {
    match limit.holds {
        Some(true) => "holds",
        Some(false) => "broken",
        None => "not judged",
    }
}

/// The verdict in a sentence that needs no statistics to be understood.
pub fn headline(verdict: &Verdict) -> String {
    let said = in_a_sentence(verdict);
    match verdict.advisory {
        true => format!("{said} (for information only)"),
        false => said,
    }
}

fn in_a_sentence(verdict: &Verdict) -> String {
    let all = reasons(verdict);
    let weightiest = all.first().map(|(_, said)| said);
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
        (Outcome::Inconclusive, Some(said)) => format!("No answer yet: {}{more}", said.what),
        (Outcome::Fail, Some(said)) => format!("{}{more}", said.sentence()),
        (Outcome::Invalid, Some(said)) => format!("Nothing is judged: {}{more}", said.what),
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
        Reason::Aborted { run, aborted } => ended_by(&text::shown(run, 40), aborted),
        Reason::NotComparable { differences } => conditions(differences, verdict),
        Reason::LimitBroken { metric } => broken_limit(metric, verdict),
        Reason::NothingInOrder { metric } => Spoken::new(
            format!(
                "{} has no value because no request behind it was in order",
                name(metric)
            ),
            "Look at the errors of the load: the target answered, if at all, not as the scenario demands",
        )
        .named(),
        Reason::NoRateHeld { metric } => Spoken::new(
            format!(
                "{} has no value because not even the lowest rate that was tried kept the limits",
                name(metric)
            ),
            "See in the report which limit it broke; look for the cause, or begin at a lower rate: `from`",
        )
        .named(),
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
        )
        .named(),
        Reason::OneArmOnly { metric, arm } => Spoken::new(
            format!("only the {} has {}", arm.name(), name(metric)),
            match Base::of(verdict) {
                Base::Stored => {
                    "If it was renamed or removed on purpose, change the gate and save a new baseline"
                }
                Base::Paired | Base::Elsewhere => {
                    "If it was renamed or removed on purpose, change the gate"
                }
            },
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
        } => underpowered(metric, (*mde, *margin), *pairs_needed, verdict),
        Warning::Advisory { metric } => Spoken::new(
            format!(
                "{} is compared for information only: how much it varies between sessions is not known yet",
                name(metric)
            ),
            match Base::of(verdict) {
                Base::Elsewhere => "Measure base and head in turn and compare them with `--paired`, or give three sessions or more of the base".to_owned(),
                Base::Stored | Base::Paired => saving("Measure the base in more sessions"),
            },
        )
        .named(),
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
        )
        .named(),
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
                format::value(&Unit::Ratio, *allowed),
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
            "Give it more workers, a core each (`workers` in `[generator]`), or share the load among machines (docs/SHARDS.md); or lower the rate or the users",
        ),
        InvalidReason::GeneratorsCrowded { cpu_cores, cores } => Spoken::new(
            format!(
                "the generators of all loads together kept {} of {} of their machine busy",
                format::value(&Unit::Count, (cpu_cores * 100.0).round() / 100.0),
                format::value(&Unit::Cores, *cores),
            ),
            "Use a machine with more cores, or share the loads among machines (docs/SHARDS.md); or lower the rates or the users",
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
        InvalidReason::FeedExhausted {
            load,
            feed,
            iterations,
        } => Spoken::new(
            format!(
                "feed {} had no row left for {} of load {}",
                name(feed),
                format::counted(*iterations, "iteration"),
                name(load),
            ),
            "With `order = \"unique\"` each row is drawn once in a run, warm-up included: give the feed more rows, let the run be shorter, or take another order",
        ),
        InvalidReason::SetupFailed { step, message } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                match step.as_str() {
                    "" => "the setup failed".to_owned(),
                    step => format!("the setup failed at {}", name(step)),
                },
                "No load was driven. What happened is below: correct the setup of the scenario, or see why the target refuses it",
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
        InvalidReason::CapacityBeyondGenerator {
            load,
            holds,
            rate,
            cause,
        } => {
            let per_second = |rate: f64| format::value(&Unit::PerSecond, rate);
            let known = match holds {
                Some(holds) => format!("bears at least {}", per_second(*holds)),
                None => "may bear any rate".to_owned(),
            };
            Spoken::new(
                format!(
                    "load {} could not be offered at {} ({}), so that all that is known of the target is that it {known}",
                    name(load),
                    per_second(*rate),
                    text::shown(cause, MAX_SHOWN_CHARS),
                ),
                "Give the generator more: `workers` under `[generator]`, a larger `max_in_flight`, or another machine; or end the search at a lower rate with `to`",
            )
        }
        InvalidReason::Shard { index, of, fault } => shard(&format!("{index}/{of}"), fault),
    }
}

/// What is wrong with a shard, by its name.
fn shard(name: &str, fault: &ShardFault) -> Spoken {
    match fault {
        ShardFault::Missing => Spoken::new(
            format!("shard {name} is missing"),
            "Its machine may have been lost, or its file not been fetched; a part of a run is none, so run all shards again",
        ),
        ShardFault::Twice => Spoken::new(
            format!("shard {name} is there twice"),
            "Name one file of each shard: files of an earlier run may lie beside those of this one",
        ),
        ShardFault::Partial { ended_ns } => Spoken::new(
            format!(
                "shard {name} was stopped after {}",
                format::duration_ns(*ended_ns)
            ),
            "Run all shards again, and let each run to its end",
        ),
        ShardFault::Foreign { difference } => Spoken::new(
            format!(
                "shard {name} is of another run: {}",
                text::shown(difference, MAX_SHOWN_CHARS)
            ),
            "Start every shard from the same checkout with the same --shard i/N, --start-at and --target",
        ),
        ShardFault::Unsound { problem } => Spoken::new(
            format!(
                "shard {name} can't be right: {}",
                text::shown(problem, MAX_SHOWN_CHARS)
            ),
            "Fetch its file again from the machine that wrote it, or run all shards again",
        ),
    }
}

/// Why a run must not be judged like one that went to its end; nothing of a valid one.
pub fn unfit(run: &Run) -> Vec<Spoken> {
    let mut why: Vec<Spoken> = run.invalid.iter().map(invalid).collect();
    match &run.aborted {
        Some(aborted) => why.push(ended_by("the run", aborted)),
        None if run.partial => why.push(Spoken::new(
            "stopped before its time",
            "Run it again to its end",
        )),
        None => {}
    }
    why
}

/// That a limit ended a run.
fn ended_by(run: &str, aborted: &Aborted) -> Spoken {
    let Aborted {
        metric,
        unit,
        value,
        limit,
        at_ns,
    } = aborted;
    let most = if value > limit { "most" } else { "least" };
    Spoken::new(
        format!(
            "{} was {} {}, and {run} was ended there: it must be at {most} {}",
            name(metric),
            format::value_against(unit, *value, &[*limit]),
            moment(i64::try_from(*at_ns).unwrap_or(i64::MAX)),
            format::limit(unit, *limit),
        ),
        "See how it came to that in the curves of the run; nothing else was judged, because the rest of it is missing",
    )
    .named()
}

/// How the arms were measured, in a sentence; `is_known` says whether their machines are.
pub fn design(comparison: &Comparison, is_known: bool) -> String {
    let is_same = is_known && comparison.fingerprint_differences.is_empty();
    let how = match (comparison.design, is_same) {
        (Design::Paired, true) => {
            "Base and head ran alternately on one machine, and differences are taken within each pair"
        }
        (Design::Paired, false) => {
            "Base and head were measured in pairs, and differences are taken within each pair"
        }
        (Design::Stored, true) => "The base was measured earlier on the same kind of machine",
        (Design::Stored, false) => "Base and head were not measured in pairs",
    };
    let has_spread = comparison.design == Design::Stored
        && comparison.metrics.iter().any(|metric| {
            !metric.is_difference && metric.effect().is_some_and(|effect| effect.tau.is_some())
        });
    let allowed = match has_spread {
        true => ", and differences between sessions are allowed for",
        false => "",
    };
    format!("{how}{allowed}.")
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
        ErrorKind::Condition => "condition never met",
        ErrorKind::Cancelled => "cancelled at the end",
    }
}

/// What a limit demands: `at most 500 ms`, or `at most 1 %, implied` where no gate states it.
pub fn demand(limit: &LimitVerdict) -> String {
    let max = limit
        .max
        .map(|max| format!("at most {}", format::limit(&limit.unit, max)));
    let min = limit
        .min
        .map(|min| format!("at least {}", format::limit(&limit.unit, min)));
    let implied = limit.is_implied.then(|| "implied".to_owned());
    [max, min, implied]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// The measured value of a limit, told apart from the limit itself.
pub fn against_limit(limit: &LimitVerdict) -> String {
    let bounds: Vec<f64> = limit.max.into_iter().chain(limit.min).collect();
    format::or_dash(limit.value, |value| {
        format::value_against(&limit.unit, value, &bounds)
    })
}

/// The first letter as a capital, where the first word is one: a name with dots, digits or underscores
/// stays as it is written.
pub fn capitalised(sentence: &str) -> String {
    let word = sentence.split(' ').next().unwrap_or_default();
    let mut chars = sentence.chars();
    match chars.next() {
        Some(first)
            if word
                .chars()
                .all(|c| c.is_alphabetic() || "',:;".contains(c)) =>
        {
            first.to_uppercase().chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}

/// Where the base comes from, on which depends what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// A baseline, or runs that can become one.
    Stored,
    /// Runs in pairs with the head, to which no baseline means anything.
    Paired,
    /// Another tool, which Plimsoll can't run again.
    Elsewhere,
}

impl Base {
    fn of(verdict: &Verdict) -> Self {
        let comparison = verdict.comparison.as_ref();
        match comparison.map(|comparison| comparison.design) {
            _ if verdict.scenario.is_empty() => Self::Elsewhere,
            Some(Design::Paired) => Self::Paired,
            Some(Design::Stored) | None => Self::Stored,
        }
    }

    /// How to measure so often, as the beginning of a sentence.
    fn measure(self, times: u32) -> String {
        let counted = |noun| format::counted(u64::from(times), noun);
        match self {
            Self::Stored => format!("Make about {} (`--runs {times}`)", counted("run")),
            Self::Paired => format!(
                "Make about {} (`plimsoll gate --against REV --pairs {times}`)",
                counted("pair")
            ),
            Self::Elsewhere => format!("Measure about {} in each arm", counted("run")),
        }
    }

    /// What to do where sessions differ by more than the margin allows, so that no number of runs helps.
    fn measure_in_more_sessions(self) -> String {
        let how = match self {
            Self::Stored | Self::Paired => "save the baseline from more sessions",
            Self::Elsewhere => "give more sessions of the base",
        };
        format!(
            "More runs don't help, because sessions differ by more than the margin allows: {how}, or widen the margin"
        )
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
        Reason::Aborted { .. }
        | Reason::LimitBroken { .. }
        | Reason::NothingInOrder { .. }
        | Reason::NoRateHeld { .. }
        | Reason::Regressed { .. } => outcome == Outcome::Fail,
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
    .named()
}

fn regressed(metric: &str, verdict: &Verdict) -> Spoken {
    let next = match Base::of(verdict) {
        Base::Stored => "Find the change that did it; if it is intended, save a new baseline with `plimsoll baseline save`".to_owned(),
        Base::Paired => format!(
            "Find the change that did it; if it is intended, waive it in `{WAIVERS_FILE}`: `plimsoll gate --against` reads that of the base"
        ),
        Base::Elsewhere => "Find the change that did it".to_owned(),
    };
    let Some((judged, effect)) = known(metric, verdict) else {
        return Spoken::new(format!("{} got worse", name(metric)), next).named();
    };
    let what = got_worse(judged, effect, verdict);
    let said = match &judged.waiver {
        None => Spoken::new(what, next),
        Some(applied) => Spoken::new(
            format!("{what}; {}", waiver(judged, applied)),
            format!(
                "Find the change that did it; what is still accepted needs a new waiver in `{WAIVERS_FILE}`"
            ),
        ),
    };
    said.named()
}

fn waived(metric: &str, verdict: &Verdict) -> Spoken {
    let mut next = format!("Mend it before the waiver in `{WAIVERS_FILE}` expires");
    if Base::of(verdict) == Base::Stored {
        next.push_str(", or save a new baseline with `plimsoll baseline save`");
    }
    let known = known(metric, verdict)
        .and_then(|(judged, effect)| Some((judged, effect, judged.waiver.as_ref()?)));
    let Some((judged, effect, applied)) = known else {
        return Spoken::new(format!("{} got worse, which is waived", name(metric)), next).named();
    };
    Spoken::new(
        format!(
            "{}; {}",
            got_worse(judged, effect, verdict),
            waiver(judged, applied)
        ),
        next,
    )
    .named()
}

/// How much worse a metric is, as a clause.
fn got_worse(judged: &MetricVerdict, effect: f64, verdict: &Verdict) -> String {
    let change = unsigned(judged, effect);
    let how = match is_of_the_base(judged) {
        true => format!("got worse: the base's is {change} higher"),
        false => format!("is {change} {} than the base", worse(judged)),
    };
    format!(
        "{} {how} ({} {}; margin {})",
        name(&judged.name),
        interval_name(verdict),
        interval_of(judged),
        margin(judged),
    )
}

fn inconclusive(metric: &str, verdict: &Verdict) -> Spoken {
    let shown = name(metric);
    let whether = format!("whether {shown} got worse can't be told");
    let Some((judged, _)) = known(metric, verdict) else {
        return Spoken::new(whether, "Make more runs");
    };
    let next = match judged.pairs_needed {
        None => Base::of(verdict).measure_in_more_sessions(),
        // As many should be enough, but for a change that is near the margin.
        Some(needed) if needed <= judged.n_head => {
            "Measure more often or for longer, which narrows the interval, or set the margin elsewhere".to_owned()
        }
        Some(needed) => format!("{}, or let each run take longer", Base::of(verdict).measure(needed)),
    };
    if let Some(note) = &judged.note {
        let note = text::shown(note, MAX_SHOWN_CHARS);
        return Spoken::new(format!("{whether}: {note}"), next);
    }
    let sure = match (judged.lower, judged.upper) {
        (Some(lower), _) if lower > 0.0 => Some("worse"),
        (_, Some(upper)) if upper < 0.0 => Some("better"),
        _ => None,
    };
    let how = format!(
        "the change lies within {}, and the margin is {}",
        interval_of(judged),
        margin(judged)
    );
    match sure {
        Some(sure) => {
            let what =
                format!("{shown} got {sure}, but whether by its margin can't be told: {how}");
            Spoken::new(what, next).named()
        }
        None => Spoken::new(format!("{whether}: {how}"), next),
    }
}

fn underpowered(
    metric: &str,
    (mde, margin): (f64, f64),
    pairs_needed: Option<u32>,
    verdict: &Verdict,
) -> Spoken {
    let judged = verdict.metrics.iter().find(|judged| judged.name == metric);
    let is_difference = judged.is_some_and(|judged| judged.is_difference);
    let told = |fraction| share(is_difference, fraction);
    let noticed = match told(mde) == told(margin) {
        true => format::value_against(&Unit::Ratio, mde, &[margin])
            .replace('%', if is_difference { "pp" } else { "%" }),
        false => told(mde),
    };
    let made = judged.map_or(0, |judged| judged.n_head);
    let next = match pairs_needed {
        Some(needed) => {
            // The number is one for many pairs. Where there are as many already, what so few can detect
            // says how many would do: it shrinks with their square root.
            let needed = match needed <= made {
                true => (f64::from(made) * (mde.ln_1p() / margin.ln_1p()).powi(2)).ceil() as u32,
                false => needed,
            };
            let measure = Base::of(verdict).measure(needed);
            format!("{measure}, let each run take longer, or widen the margin")
        }
        None => Base::of(verdict).measure_in_more_sessions(),
    };
    Spoken::new(
        format!(
            "{} can't hold its margin of {}: only a change of {noticed} or more would be noticed reliably",
            name(metric),
            told(margin),
        ),
        next,
    )
    .named()
}

fn improved(metric: &str, verdict: &Verdict) -> Spoken {
    let what = match known(metric, verdict) {
        Some((judged, effect)) => {
            let change = unsigned(judged, effect);
            let how = match is_of_the_base(judged) {
                true => format!("got better: the base's is {change} lower"),
                false => format!("got better by {change}"),
            };
            format!(
                "{} {how} ({} {})",
                name(metric),
                interval_name(verdict),
                interval_of(judged),
            )
        }
        None => format!("{} got better", name(metric)),
    };
    let next = match Base::of(verdict) {
        Base::Stored => {
            "Save a new baseline with `plimsoll baseline save`, or the gain can be lost again unnoticed"
        }
        Base::Paired | Base::Elsewhere => "",
    };
    Spoken::new(what, next).named()
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

fn share(is_difference: bool, fraction: f64) -> String {
    match is_difference {
        true => format::unsigned_points(fraction),
        false => format::margin(fraction),
    }
}

fn margin(metric: &MetricVerdict) -> String {
    metric
        .margin
        .map_or_else(|| "none".to_owned(), |margin| margin_of(metric, margin))
}

fn conditions(differences: &[FingerprintDifference], verdict: &Verdict) -> Spoken {
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
        match Base::of(verdict) {
            Base::Elsewhere => "Measure both arms under the same conditions".to_owned(),
            Base::Stored | Base::Paired => saving("Measure the base under these conditions"),
        },
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
    use crate::harness::compare::{Effect, Estimate, MetricComparison};
    use crate::harness::gate::VERDICT_FORMAT;

    fn verdict(outcome: Outcome, reasons: Vec<Reason>) -> Verdict {
        Verdict {
            schema: VERDICT_FORMAT.into(),
            scenario: "s".into(),
            verdict: outcome,
            advisory: false,
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
    fn a_limit_that_ended_a_run_is_told_with_what_broke_it_and_when() {
        let aborted = |value, limit| Reason::Aborted {
            run: "head run 1".into(),
            aborted: Aborted {
                metric: "load.a.error_rate".into(),
                unit: Unit::Ratio,
                value,
                limit,
                at_ns: 12_000_000_000,
            },
        };
        check(
            Outcome::Fail,
            vec![aborted(0.08, 0.05)],
            "load.a.error_rate was 8 % 12 s into the run, and head run 1 was ended there: it must be at most 5 %",
        );
        check(
            Outcome::Fail,
            vec![aborted(0.9, 0.95)],
            "load.a.error_rate was 90 % 12 s into the run, and head run 1 was ended there: it must be at least 95 %",
        );
    }

    #[test]
    fn what_can_fail_nothing_is_not_told_as_failed() {
        let mut judged = verdict(Outcome::Fail, vec![broken("a.p95")]);
        assert_eq!(badge(&judged), "FAIL");
        judged.advisory = true;
        assert_eq!(badge(&judged), "ADVISORY");
        assert_eq!(
            headline(&judged),
            "a.p95 breaks its limit (for information only)"
        );
    }

    /// The verdict on the metric `m`, of five values in each arm, with these bounds around its effect.
    fn compared(scenario: &str, design: Design, [lower, effect, upper]: [f64; 3]) -> Verdict {
        let mut compared = verdict(Outcome::Pass, Vec::new());
        compared.scenario = scenario.into();
        compared.comparison = Some(Comparison {
            design,
            alpha: 0.05,
            base_label: "the base".into(),
            head_label: "the head".into(),
            base_runs: Vec::new(),
            head_runs: Vec::new(),
            fingerprint_differences: Vec::new(),
            metrics: Vec::new(),
            only_in_base: Vec::new(),
            only_in_head: Vec::new(),
        });
        compared.metrics.push(MetricVerdict {
            name: "m".into(),
            verdict: MetricOutcome::Inconclusive,
            gating: true,
            advisory: false,
            unit: Unit::Nanoseconds,
            better: Direction::Lower,
            is_difference: false,
            base: Some(1.0),
            head: Some(1.0),
            margin: Some(0.05),
            effect: Some(effect),
            lower: Some(lower),
            upper: Some(upper),
            p: None,
            mde: None,
            pairs_needed: Some(12),
            n_base: 5,
            n_head: 5,
            note: None,
            waiver: None,
        });
        compared
    }

    #[test]
    fn a_remedy_helps_what_was_compared() {
        let metric = || "m".to_owned();
        let check = |scenario, design, expected: [&str; 4]| {
            let compared = compared(scenario, design, [-0.01, 0.03, 0.07]);
            let low = Warning::Underpowered {
                metric: metric(),
                mde: 0.08,
                margin: 0.05,
                pairs_needed: Some(12),
            };
            let said = [
                reason(&Reason::Inconclusive { metric: metric() }, &compared).next,
                warning(&low, &compared).next,
                reason(&Reason::Regressed { metric: metric() }, &compared).next,
                reason(&Reason::Improved { metric: metric() }, &compared).next,
            ];
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.contains(expected), "{said}: no {expected}");
            }
            let is_stored = (scenario, design) == ("s", Design::Stored);
            let names_baseline = said.iter().any(|said| said.contains("baseline save"));
            assert_eq!(names_baseline, is_stored, "{said:?}");
        };
        check(
            "s",
            Design::Stored,
            [
                "12 runs (`--runs 12`)",
                "12 runs (`--runs 12`)",
                "save",
                "save",
            ],
        );
        check(
            "s",
            Design::Paired,
            ["--pairs 12", "--pairs 12", "waive it", ""],
        );
        check(
            "",
            Design::Stored,
            ["12 runs in each arm", "12 runs in each arm", "Find", ""],
        );
    }

    #[test]
    fn no_fewer_pairs_are_asked_for_than_there_were() {
        let mut near = compared("s", Design::Paired, [0.02, 0.045, 0.07]);
        near.metrics[0].pairs_needed = Some(4);
        let inconclusive = Reason::Inconclusive { metric: "m".into() };
        let said = reason(&inconclusive, &near);
        assert!(said.next.contains("narrows the interval"), "{}", said.next);
        let low = Warning::Underpowered {
            metric: "m".into(),
            mde: 0.0507,
            margin: 0.05,
            pairs_needed: Some(4),
        };
        let said = warning(&low, &near);
        assert!(said.next.contains("--pairs 6"), "{}", said.next);
    }

    #[test]
    fn what_is_inconclusive_says_what_is_sure() {
        let check = |bounds, expected: &str| {
            let verdict = compared("s", Design::Paired, bounds);
            let said = reason(&Reason::Inconclusive { metric: "m".into() }, &verdict).what;
            assert!(said.starts_with(expected), "{said}");
        };
        check(
            [-0.01, 0.03, 0.07],
            "whether m got worse can't be told: the change",
        );
        check([0.01, 0.03, 0.07], "m got worse, but whether by its margin");
        check(
            [-0.07, -0.03, -0.01],
            "m got better, but whether by its margin",
        );
        let mut noted = compared("s", Design::Paired, [0.01, 0.08, 0.15]);
        noted.metrics[0].note = Some("one of seven is so by chance".into());
        let said = reason(&Reason::Inconclusive { metric: "m".into() }, &noted).what;
        assert_eq!(
            said,
            "whether m got worse can't be told: one of seven is so by chance"
        );
    }

    #[test]
    fn what_can_be_detected_is_told_apart_from_the_margin() {
        let check = |is_difference, mde, expected: &str| {
            let mut verdict = compared("s", Design::Stored, [0.0; 3]);
            verdict.metrics[0].is_difference = is_difference;
            let low = Warning::Underpowered {
                metric: "m".into(),
                mde,
                margin: 0.05,
                pairs_needed: None,
            };
            let said = warning(&low, &verdict).what.replace('\u{202f}', " ");
            assert!(said.contains(expected), "{said}");
        };
        check(
            false,
            0.072,
            "margin of 5 %: only a change of 7.2 % or more",
        );
        check(
            false,
            0.0503,
            "margin of 5 %: only a change of 5.03 % or more",
        );
        check(
            true,
            0.072,
            "margin of 5 pp: only a change of 7.2 pp or more",
        );
        check(
            true,
            0.050_03,
            "margin of 5 pp: only a change of 5.003 pp or more",
        );
    }

    #[test]
    fn nothing_is_claimed_of_unknown_machines() {
        let check = |design, is_known, tau, expected: &str| {
            let mut verdict = compared("", design, [0.0; 3]);
            let mut comparison = verdict.comparison.take().expect("a comparison");
            comparison.metrics.push(MetricComparison {
                name: "m".into(),
                unit: Unit::Nanoseconds,
                better: Direction::Lower,
                base: Vec::new(),
                head: Vec::new(),
                is_difference: false,
                estimate: Estimate::Known(Effect {
                    theta: 0.0,
                    lower: 0.0,
                    upper: 0.0,
                    p: 1.0,
                    p_improved: 1.0,
                    se: 0.0,
                    sd: 0.0,
                    se_sessions: 0.0,
                    df: None,
                    mde: 0.0,
                    tau,
                    method: String::new(),
                }),
            });
            assert_eq!(super::design(&comparison, is_known), expected);
        };
        use Design::{Paired, Stored};
        let stored = "The base was measured earlier on the same kind of machine";
        let spread = ", and differences between sessions are allowed for.";
        check(Stored, true, Some(0.01), &format!("{stored}{spread}"));
        check(Stored, true, None, &format!("{stored}."));
        check(
            Stored,
            false,
            None,
            "Base and head were not measured in pairs.",
        );
        let within = "and differences are taken within each pair.";
        let alternately = "Base and head ran alternately on one machine";
        check(Paired, true, None, &format!("{alternately}, {within}"));
        let pairs = "Base and head were measured in pairs";
        check(Paired, false, None, &format!("{pairs}, {within}"));
    }

    /// Half the rate is a hundred percent worse, which is no percentage of what the base had.
    #[test]
    fn an_effect_says_of_which_arm_it_is_a_part() {
        let check = |better, effect: f64, given: Reason, expected: &str| {
            let mut verdict = compared("s", Design::Paired, [effect - 0.01, effect, effect + 0.01]);
            verdict.metrics[0].better = better;
            let said = reason(&given, &verdict).what.replace('\u{202f}', " ");
            assert!(said.starts_with(expected), "{said}");
        };
        let regressed = || Reason::Regressed { metric: "m".into() };
        let improved = || Reason::Improved { metric: "m".into() };
        let (lower, higher) = (Direction::Lower, Direction::Higher);
        check(lower, 1.0, regressed(), "m is 100 % slower than the base (");
        check(
            higher,
            1.0,
            regressed(),
            "m got worse: the base's is 100 % higher (",
        );
        check(lower, -0.5, improved(), "m got better by 50.0 % (");
        check(
            higher,
            -0.5,
            improved(),
            "m got better: the base's is 50.0 % lower (",
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
    fn a_shard_is_named_as_it_was_started() {
        let check = |fault: ShardFault, expected: &str| {
            let spoken = invalid(&InvalidReason::Shard {
                index: 1,
                of: 3,
                fault,
            });
            assert_eq!(spoken.what.replace('\u{202f}', " "), expected);
            assert!(!spoken.next.is_empty());
        };
        check(ShardFault::Missing, "shard 1/3 is missing");
        check(ShardFault::Twice, "shard 1/3 is there twice");
        let ended_ns = 1_500_000_000;
        check(
            ShardFault::Partial { ended_ns },
            "shard 1/3 was stopped after 1.5 s",
        );
        let hostile = "it began\u{1b}[2J later".to_owned();
        check(
            ShardFault::Foreign {
                difference: hostile,
            },
            "shard 1/3 is of another run: it began later",
        );
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
    fn an_allowance_is_not_rounded_away() {
        let spoken = invalid(&InvalidReason::Dropped {
            load: "reads".into(),
            dropped: 15,
            offered: 18_000,
            allowed: 0.0004,
        });
        let what = spoken.what.replace('\u{202f}', " ");
        assert!(what.ends_with("(0.0833 %; 0.04 % allowed)"), "{what}");
    }

    #[test]
    fn a_metric_is_called_what_it_is_called() {
        let mut judged = compared("", Design::Paired, [0.05, 0.06, 0.07]);
        let metric = || "m".to_owned();
        judged.verdict = Outcome::Fail;
        judged.reasons = vec![Reason::Regressed { metric: metric() }];
        assert!(
            headline(&judged).starts_with("m is 6.0"),
            "{}",
            headline(&judged)
        );
        let check = |given: Reason, expected: &str| {
            let said = reason(&given, &judged).sentence();
            assert!(said.starts_with(expected), "{said}");
        };
        check(broken("m"), "m breaks");
        check(Reason::Improved { metric: metric() }, "m got better");
        check(
            Reason::Inconclusive { metric: metric() },
            "m got worse, but",
        );
        check(
            Reason::NothingInOrder { metric: metric() },
            "m has no value",
        );
        check(
            Reason::NoRateHeld { metric: metric() },
            "m has no value because not even the lowest rate",
        );
        let arm = Arm::Base;
        check(
            Reason::OneArmOnly {
                metric: metric(),
                arm,
            },
            "Only the base has m",
        );
    }

    #[test]
    fn a_sentence_begins_with_a_capital_and_a_path_does_not() {
        assert_eq!(capitalised("only the head has it"), "Only the head has it");
        assert_eq!(
            capitalised("load.reads.p95 is slow"),
            "load.reads.p95 is slow"
        );
        for imported in ["latency_ms is slow", "p95 is slow", "http/reads is slow"] {
            assert_eq!(capitalised(imported), imported);
        }
        assert_eq!(capitalised("don't, it is slow"), "Don't, it is slow");
        assert_eq!(capitalised(""), "");
    }
}
