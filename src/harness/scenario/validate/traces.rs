//! Recorded arrivals: what of them fits the load.

use toml::de::DeTable;

use super::files::Files;
use super::phases::Phases;
use crate::harness::scenario::plan::{Arrivals, in_flight_of};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;
use crate::harness::scenario::trace::Trace;

/// A trace that is played slower or faster than this is another one.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// The arrivals of the trace that `table` names; `None` where something is wrong with it, which is
/// said.
pub(super) fn read(
    table: &DeTable<'_>,
    phases: &Phases,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> Option<Arrivals> {
    let named = raw::text(table, "trace")?;
    let speed = speed(table, problems);
    let (file, bytes) = files.read(&named, "the trace", problems)?;
    let trace = match Trace::read(&*bytes, speed?, &phases.plan) {
        Ok(trace) => trace,
        Err(wrong) => {
            problems.report(
                Code::BadFile,
                named.span,
                format!("the trace `{}` can't be played", named.text),
                wrong.to_string(),
                "a trace is one column of seconds from the start of the load, each at least the one above it",
            );
            return None;
        }
    };
    if phases.is_right
        && let Some((label, help)) = trace.misfit(&phases.plan)
    {
        problems.report(
            Code::OutOfRange,
            named.span,
            format!("the trace `{}` doesn't fit the phases", named.text),
            label,
            help,
        );
    }
    let max_in_flight = raw::integer_at(table, "max_in_flight")
        .and_then(|users| u32::try_from(users).ok())
        .unwrap_or_else(|| in_flight_of(trace.busiest as f64));
    Some(Arrivals::Trace {
        file,
        speed: speed?,
        arrivals: trace.arrivals,
        max_in_flight,
    })
}

fn speed(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<f64> {
    let Some(value) = table.get("speed") else {
        return Some(1.0);
    };
    let speed = raw::number_at(table, "speed")?;
    if !SPEEDS.contains(&speed) {
        problems.report(
            Code::OutOfRange,
            value.span(),
            format!("`speed` must be {} to {}", SPEEDS.start(), SPEEDS.end()),
            "out of range",
            "write how many times faster than recorded: `2.0`, or `0.5` for half as fast",
        );
        return None;
    }
    Some(speed)
}
