//! What a verdict warns of.

use crate::harness::gate::{Verdict, Warning};
use crate::harness::model::Unit;
use crate::harness::report::{format, text};
use crate::harness::scenario::waivers::WAIVERS_FILE;

use super::base::{Base, saving};
use super::metric::share;
use super::spoken::{Spoken, name};

/// A warning and what to do about it.
pub fn warning(warning: &Warning, verdict: &Verdict) -> Spoken {
    match warning {
        Warning::Underpowered {
            metric,
            mde,
            margin,
            pairs_needed,
        } => underpowered(metric, (*mde, *margin), *pairs_needed, verdict),
        Warning::Unproven {
            metric,
            requests,
            ruled_out,
            limit,
            needed,
        } => Spoken::new(
            format!(
                "{} holds its limit of {} only because few requests were made: no error in {} says no more than at most {}",
                name(metric),
                format::limit(&Unit::Ratio, *limit),
                format::count(*requests),
                format::value(&Unit::Ratio, *ruled_out)
            ),
            format!(
                "It takes {} requests: let the runs take longer, or make more of them",
                format::count(*needed)
            ),
        )
        .named(),
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

#[cfg(test)]
mod tests {
    use super::super::fixture::compared;
    use super::super::reason;
    use super::*;
    use crate::harness::compare::Design;
    use crate::harness::gate::Reason;

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
    fn what_was_not_proven_says_what_would() {
        let few = Warning::Unproven {
            metric: "load.a.error_rate".into(),
            requests: 1_200,
            ruled_out: 0.0025,
            limit: 0.001,
            needed: 3_000,
        };
        let said = warning(&few, &compared("s", Design::Stored, [0.0; 3]));
        assert_eq!(
            said.what.replace('\u{202f}', " "),
            "load.a.error_rate holds its limit of 0.1 % only because few requests were made: no error in 1,200 says no \
             more than at most 0.25 %"
        );
        assert!(said.next.contains("3,000 requests"), "{}", said.next);
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
}
