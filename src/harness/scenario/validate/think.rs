//! How long a user waits.

use std::ops::Range;

use toml::de::DeTable;

use super::files::Files;
use crate::harness::scenario::plan::ThinkPlan;
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::quantity;
use crate::harness::scenario::raw;

/// A normal distribution is cut so far above its mean where the scenario doesn't say.
const DEVIATIONS_BEYOND: u64 = 4;
/// The same of an exponential one, in means.
const MEANS_AT_MOST: u64 = 10;

/// Reads the waiting time of a step, where it has one.
pub(super) fn read(
    step: &DeTable<'_>,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> Option<ThinkPlan> {
    if let Some(ns) = raw::duration_ns(step, "think") {
        return Some(ThinkPlan::Constant(ns));
    }
    let (table, span) = raw::table(step, "think")?;
    let max_ns = raw::duration_ns(table, "max");
    if let Some(min_ns) = raw::duration_ns(table, "min") {
        let max_ns = max_ns?;
        if min_ns > max_ns {
            problems.report(
                Code::OutOfRange,
                span,
                "`min` is longer than `max`",
                "the bounds are swapped",
                "write the shorter time as `min`",
            );
        }
        return Some(ThinkPlan::Uniform { min_ns, max_ns });
    }
    if let Some(mean_ns) = raw::duration_ns(table, "mean") {
        let sd_ns = raw::duration_ns(table, "deviation")?;
        // Otherwise hardly anything that is drawn could be taken.
        if sd_ns > mean_ns {
            problems.report(
                Code::OutOfRange,
                span.clone(),
                "`deviation` is longer than `mean`",
                "mostly below zero",
                "such times are better described by `exponential`",
            );
        }
        let max_ns = max_ns.unwrap_or(mean_ns.saturating_add(DEVIATIONS_BEYOND * sd_ns));
        check_max("mean", mean_ns, max_ns, span, problems);
        return Some(ThinkPlan::Normal {
            mean_ns,
            sd_ns,
            max_ns,
        });
    }
    if let Some(mean_ns) = raw::duration_ns(table, "exponential") {
        let max_ns = max_ns.unwrap_or(mean_ns.saturating_mul(MEANS_AT_MOST));
        check_max("exponential", mean_ns, max_ns, span, problems);
        return Some(ThinkPlan::Exponential { mean_ns, max_ns });
    }
    recorded(table, files, problems)
}

/// Reports a maximum below the mean: most of what is drawn would have to be drawn again.
fn check_max(
    key: &str,
    mean_ns: u64,
    max_ns: u64,
    span: Range<usize>,
    problems: &mut Problems<'_>,
) {
    if max_ns < mean_ns {
        problems.report(
            Code::OutOfRange,
            span,
            format!("`max` is shorter than the mean in `{key}`"),
            "mostly beyond the maximum",
            "write a longer `max`, or a shorter mean",
        );
    }
}

fn recorded(
    table: &DeTable<'_>,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> Option<ThinkPlan> {
    let named = raw::text(table, "recorded")?;
    let (file, bytes) = files.read(&named, "the recorded times", problems)?;
    let longest = longest(&bytes);
    if let Err(reason) = &longest {
        problems.report(
            Code::BadFile,
            named.span,
            format!("`{}` holds no durations", named.text),
            reason.clone(),
            "write one duration a line, with its unit: `850ms`",
        );
    }
    Some(ThinkPlan::Recorded {
        file,
        max_ns: longest.ok()?,
    })
}

/// The longest of the durations in a file, one a line, or what is wrong with it.
fn longest(bytes: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to()))?;
    let mut longest = None;
    for (index, line) in text.lines().enumerate() {
        let ns = quantity::duration_ns(line)
            .map_err(|expected| format!("line {} is none: {expected}", index + 1))?;
        longest = longest.max(Some(ns));
    }
    longest.ok_or_else(|| "it is empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_time_stands_on_a_line_of_its_own() {
        let check = |text: &[u8], expected: Result<u64, &str>| {
            let found = longest(text);
            let found = found
                .as_ref()
                .map_or_else(|reason| Err(&**reason), |ns| Ok(*ns));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(reason), Err(part)) if reason.contains(part) => {}
                other => panic!("{other:?}"),
            }
        };
        check(b"850ms\n1.2s\r\n3 us", Ok(1_200_000_000));
        check(b"0s\n", Ok(0));
        check(b"", Err("empty"));
        check(b"1s\n\n2s\n", Err("line 2"));
        check(b"1s\n850\n", Err("line 2"));
        check(b"1s\n\xff", Err("byte 3"));
    }
}
