//! How a metric changed: worse, better, or nobody knows.

use crate::harness::gate::{MetricVerdict, Verdict};
use crate::harness::model::path::is_bench;
use crate::harness::model::{Direction, Unit};
use crate::harness::report::format;
use crate::harness::report::text::{self, MAX_SHOWN_CHARS};
use crate::harness::scenario::waivers::WAIVERS_FILE;

use super::base::Base;
use super::metric::{effect_of, interval_name, interval_of, is_of_the_base, margin, waiver};
use super::plainly::plainly;
use super::spoken::{Spoken, name};

pub(super) fn regressed(metric: &str, verdict: &Verdict) -> Spoken {
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

pub(super) fn waived(metric: &str, verdict: &Verdict) -> Spoken {
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

/// How much worse a metric is and how sure that is, for a reader who knows neither its path nor what
/// an interval is.
pub(super) fn regressed_plainly(metric: &str, verdict: &Verdict) -> String {
    let subject = plainly(metric);
    let Some((judged, effect)) = known(metric, verdict) else {
        return format!("{subject} got worse");
    };
    let higher = match is_bench(metric) {
        true => "slower",
        false => "higher",
    };
    let alpha = verdict.comparison.as_ref().map(|made| made.alpha);
    let lower = judged.lower.filter(|&lower| lower > 0.0);
    let sure = lower.zip(alpha).map(|(lower, alpha)| {
        let level = format::margin(1.0 - alpha);
        format!(" ({level} sure of at least {})", unsigned(judged, lower))
    });
    let how = compared_with_base(judged, effect, &format!("{higher} than the base's"));
    format!("{subject} {how}{}", sure.unwrap_or_default())
}

/// How much worse a metric is, as a clause.
fn got_worse(judged: &MetricVerdict, effect: f64, verdict: &Verdict) -> String {
    let how = compared_with_base(judged, effect, &format!("{} than the base", worse(judged)));
    format!(
        "{} {how} ({} {}; margin {})",
        name(&judged.name),
        interval_name(verdict),
        interval_of(judged),
        margin(judged),
    )
}

/// `is 8.0 % slower than the base`; `than_base` says all but how much.
fn compared_with_base(judged: &MetricVerdict, effect: f64, than_base: &str) -> String {
    let change = unsigned(judged, effect);
    match is_of_the_base(judged) {
        true => format!("got worse: the base's is {change} higher"),
        false => format!("is {change} {than_base}"),
    }
}

pub(super) fn inconclusive(metric: &str, verdict: &Verdict) -> Spoken {
    undecided(metric, &name(metric), verdict)
}

/// Why nobody knows whether a metric got worse, which the sentence calls `shown`.
pub(super) fn undecided(metric: &str, shown: &str, verdict: &Verdict) -> Spoken {
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

pub(super) fn improved(metric: &str, verdict: &Verdict) -> Spoken {
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

#[cfg(test)]
mod tests {
    use super::super::fixture::compared;
    use super::super::reason;
    use super::*;
    use crate::harness::compare::Design;
    use crate::harness::gate::Reason;

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
}
