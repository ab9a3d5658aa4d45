//! The exit codes of `plimsoll`. They are part of its interface and never change their meaning.
//!
//! `make` and some wrappers turn every failure into 2; read the verdict's JSON there.

use super::policy::Policy;
use super::verdict::Outcome;

/// Pass: every limit holds, nothing that is judged got worse.
pub const PASS: u8 = 0;
/// The tool failed.
pub const FAILURE: u8 = 1;
/// Wrong usage, or a wrong scenario.
pub const USAGE: u8 = 2;
/// A gating metric regressed or a limit is broken.
pub const REGRESSION: u8 = 10;
/// Inconclusive, under `--strict`.
pub const INCONCLUSIVE: u8 = 11;
/// No comparable baseline, under `--require-baseline`.
pub const NO_BASELINE: u8 = 12;
/// The measurement is invalid.
pub const INVALID: u8 = 13;

/// The exit code of one outcome under the options of the call.
pub fn code(outcome: Outcome, policy: &Policy) -> u8 {
    match outcome {
        Outcome::Invalid => INVALID,
        Outcome::Fail => REGRESSION,
        Outcome::Inconclusive if policy.strict => INCONCLUSIVE,
        Outcome::NoBaseline if policy.require_baseline => NO_BASELINE,
        Outcome::Inconclusive | Outcome::NoBaseline | Outcome::Pass => PASS,
    }
}

/// The exit code of several verdicts in one call: that of the weightiest that is no success. An
/// inconclusive scenario that may pass does not hide another's missing baseline.
pub fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    const BY_WEIGHT: [u8; 6] = [
        FAILURE,
        USAGE,
        INVALID,
        REGRESSION,
        INCONCLUSIVE,
        NO_BASELINE,
    ];
    let codes: Vec<u8> = codes.into_iter().collect();
    let known = BY_WEIGHT.into_iter().find(|code| codes.contains(code));
    known.or_else(|| codes.into_iter().max()).unwrap_or(PASS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_code() {
        let check = |outcome, strict, require_baseline, expected| {
            let policy = Policy {
                strict,
                require_baseline,
                ..Policy::default()
            };
            assert_eq!(
                code(outcome, &policy),
                expected,
                "{outcome:?} {strict} {require_baseline}"
            );
        };
        for strict in [false, true] {
            for require in [false, true] {
                check(Outcome::Pass, strict, require, 0);
                check(Outcome::Fail, strict, require, 10);
                check(Outcome::Invalid, strict, require, 13);
            }
        }
        check(Outcome::Inconclusive, false, true, 0);
        check(Outcome::Inconclusive, true, false, 11);
        check(Outcome::NoBaseline, true, false, 0);
        check(Outcome::NoBaseline, false, true, 12);
    }

    #[test]
    fn the_weightiest_decides() {
        for (codes, expected) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[0, 12, 11], 11),
            (&[10, 13, 11], 13),
            (&[10, 11], 10),
            (&[13, 1], 1),
        ] {
            assert_eq!(worst(codes.iter().copied()), expected, "{codes:?}");
        }
    }
}
