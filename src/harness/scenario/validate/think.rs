//! How long a user waits.

use std::ops::Range;

use toml::de::DeTable;

use super::files::Files;
use crate::harness::scenario::plan::ThinkPlan;
use crate::harness::scenario::problem::{Code, Problems};
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
    let (file, longest) = files.longest(&named, "the recorded times", problems)?;
    match longest {
        Ok(max_ns) => Some(ThinkPlan::Recorded { file, max_ns }),
        Err(wrong) => {
            problems.report(
                Code::BadFile,
                named.span,
                format!("`{}` holds no durations", named.text),
                wrong.to_string(),
                "write one duration a line, with its unit: `850ms`",
            );
            None
        }
    }
}
