//! What a verdict says, thing by thing, with how bad each is.

use crate::harness::gate::{Outcome, Reason, Verdict, Warning};
use crate::harness::report::text;
use crate::harness::report::words::{self, Spoken, Weight};

/// A process's last lines that are repeated beside what is said of it.
const MAX_DETAIL_LINES: usize = 8;

/// How bad something is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gravity {
    /// The call fails by it, or nothing could be judged.
    Error,
    /// Somebody should look.
    Warning,
    /// Good to know.
    Notice,
}

/// Something that a verdict says, of one metric or of the measurement as a whole.
pub(super) struct Finding<'v> {
    pub(super) reason: &'v Reason,
    pub(super) gravity: Gravity,
    pub(super) said: Spoken,
}

/// The reasons of a verdict, in their order, the weightiest first; what is true of many runs is one.
pub(super) fn findings(verdict: &Verdict) -> impl Iterator<Item = Finding<'_>> {
    words::reasons(verdict).map(|because| Finding {
        reason: because.reason,
        gravity: gravity(because.reason, because.weight, verdict),
        said: because.said,
    })
}

/// What a verdict warns of.
pub(super) fn warnings(verdict: &Verdict) -> impl Iterator<Item = (Gravity, Spoken)> {
    let warnings = verdict.warnings.iter();
    warnings.map(|warning| {
        let gravity = match warning {
            _ if verdict.advisory => Gravity::Notice,
            Warning::Underpowered { .. }
            | Warning::Unproven { .. }
            | Warning::WaiverExpired { .. }
            | Warning::WaiverUnmatched { .. }
            | Warning::Crept { .. } => Gravity::Warning,
            Warning::Advisory { .. } | Warning::Note { .. } => Gravity::Notice,
        };
        (gravity, words::warning(warning, verdict))
    })
}

fn gravity(reason: &Reason, weight: Weight, verdict: &Verdict) -> Gravity {
    let fails = verdict.exit_code != 0;
    match (reason, weight) {
        _ if verdict.advisory => Gravity::Notice,
        (Reason::Waived { .. } | Reason::Improved { .. }, _) => Gravity::Notice,
        (_, Weight::Decides) => match verdict.verdict {
            Outcome::Fail | Outcome::Invalid => Gravity::Error,
            _ if fails => Gravity::Error,
            _ => Gravity::Warning,
        },
        // New in the head: nothing to compare it with yet.
        (Reason::OneArmOnly { .. }, _) if verdict.verdict == Outcome::Pass => Gravity::Notice,
        _ => Gravity::Warning,
    }
}

/// The name of a kind of reason. It never changes: readers keep what they know of an alert by it.
pub(super) fn kind(reason: &Reason) -> &'static str {
    match reason {
        Reason::InvalidRun { .. } => "invalid_run",
        Reason::PartialRun { .. } => "partial_run",
        Reason::Aborted { .. } => "aborted",
        Reason::NotComparable { .. } => "not_comparable",
        Reason::LimitBroken { .. } => "limit_broken",
        Reason::NothingInOrder { .. } => "nothing_in_order",
        Reason::NoRateHeld { .. } => "no_rate_held",
        Reason::Regressed { .. } => "regressed",
        Reason::Inconclusive { .. } => "inconclusive",
        Reason::NotMeasurable { .. } => "not_measurable",
        Reason::OneArmOnly { .. } => "one_arm_only",
        Reason::Waived { .. } => "waived",
        Reason::NoBaseline => "no_baseline",
        Reason::Improved { .. } => "improved",
    }
}

/// The metric that a reason is about, where it is about one.
pub(super) fn metric(reason: &Reason) -> Option<&str> {
    match reason {
        Reason::Aborted { aborted, .. } => Some(&aborted.metric),
        Reason::LimitBroken { metric }
        | Reason::NothingInOrder { metric }
        | Reason::NoRateHeld { metric }
        | Reason::Regressed { metric }
        | Reason::Inconclusive { metric }
        | Reason::NotMeasurable { metric, .. }
        | Reason::OneArmOnly { metric, .. }
        | Reason::Waived { metric }
        | Reason::Improved { metric } => Some(metric),
        Reason::InvalidRun { .. }
        | Reason::PartialRun { .. }
        | Reason::NotComparable { .. }
        | Reason::NoBaseline => None,
    }
}

/// Whether a reason says that there is no measurement.
pub(super) fn is_void(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::InvalidRun { .. } | Reason::PartialRun { .. } | Reason::NotComparable { .. }
    )
}

/// What is said and what to do about it, as sentences.
pub(super) fn sentences(said: &Spoken) -> String {
    match said.next.is_empty() {
        true => format!("{}.", said.sentence()),
        false => format!("{}. {}.", said.sentence(), said.next),
    }
}

/// The last lines of a process that stand behind what is said, without those that show nothing.
pub(super) fn last_lines(said: &Spoken) -> Vec<&str> {
    let is_blank = |line: &&str| text::one_line(line).trim().is_empty();
    let lines: Vec<&str> = said.detail.lines().filter(|line| !is_blank(line)).collect();
    lines[lines.len().saturating_sub(MAX_DETAIL_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What JSON calls it is what the other outputs call it.
    #[test]
    fn a_kind_is_called_as_in_the_verdict() {
        let metric = || "m".to_owned();
        for reason in [
            Reason::PartialRun { run: metric() },
            Reason::LimitBroken { metric: metric() },
            Reason::NothingInOrder { metric: metric() },
            Reason::NoRateHeld { metric: metric() },
            Reason::Regressed { metric: metric() },
            Reason::Inconclusive { metric: metric() },
            Reason::Waived { metric: metric() },
            Reason::NoBaseline,
            Reason::Improved { metric: metric() },
        ] {
            let json = serde_json::to_value(&reason).expect("plain data");
            assert_eq!(json["kind"], kind(&reason));
        }
    }
}
