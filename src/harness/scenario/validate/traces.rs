//! Recorded arrivals: what of them fits the load.

use std::io::Read;

use toml::de::DeTable;

use super::files::Files;
use super::phases::Phases;
use super::shapes::in_flight_of;
use crate::harness::scenario::plan::{Arrivals, PhasePlan};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;
use crate::harness::scenario::trace::{NoTrace, each_time};

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

/// What a trace holds, at a speed and seen with the phases of a load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trace {
    /// How many arrivals.
    pub(crate) arrivals: u64,
    /// Those of them at or after the end of the cool-down.
    after_end: u64,
    in_measure: u64,
    first_s: f64,
    last_s: f64,
    /// The arrivals of the second, counted from the start of the load, that has most.
    busiest: u64,
}

impl Trace {
    /// Reads a trace to its end; nothing of it is kept in memory.
    pub(crate) fn read(source: impl Read, speed: f64, phases: &PhasePlan) -> Result<Self, NoTrace> {
        let end_s = phases.total_ns() as f64 / 1e9;
        let measure_s = phases.warmup_ns as f64 / 1e9..phases.measure_end_ns() as f64 / 1e9;
        let mut trace = Self {
            arrivals: 0,
            after_end: 0,
            in_measure: 0,
            first_s: 0.0,
            last_s: 0.0,
            busiest: 0,
        };
        let (mut second, mut in_second) = (0.0, 0);
        each_time(source, |recorded_s| {
            let at_s = recorded_s / speed;
            if trace.arrivals == 0 {
                trace.first_s = at_s;
            }
            trace.arrivals += 1;
            trace.after_end += u64::from(at_s >= end_s);
            trace.in_measure += u64::from(measure_s.contains(&at_s));
            trace.last_s = at_s;
            if at_s.floor() > second {
                (second, in_second) = (at_s.floor(), 0);
            }
            in_second += 1;
            trace.busiest = trace.busiest.max(in_second);
        })?;
        match trace.arrivals {
            0 => Err(NoTrace::Empty),
            _ => Ok(trace),
        }
    }

    /// Why phases don't suit it, and what to do.
    pub(crate) fn misfit(&self, phases: &PhasePlan) -> Option<(String, &'static str)> {
        let Self {
            first_s, last_s, ..
        } = self;
        if self.after_end > 0 {
            let label = format!(
                "{} of its {} arrivals come after the end: the last at {last_s}s, and the phases take {}s together",
                self.after_end,
                self.arrivals,
                phases.total_ns() as f64 / 1e9
            );
            return Some((
                label,
                "lengthen `measure` or `cooldown`, raise `speed`, or cut the file",
            ));
        }
        (self.in_measure == 0).then(|| {
            let label = format!(
                "none of its arrivals is in the measure phase: the first comes at {first_s}s, the last at {last_s}s"
            );
            (
                label,
                "change `warmup`, `measure` or `speed` so that arrivals are measured",
            )
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const PHASES: PhasePlan = PhasePlan {
        warmup_ns: S,
        measure_ns: 2 * S,
        cooldown_ns: S,
        drain_ns: 0,
    };

    #[test]
    fn a_trace_is_counted_as_it_is_played() {
        let check = |text: &str, speed: f64, counts: [u64; 4]| {
            let trace = Trace::read(text.as_bytes(), speed, &PHASES).unwrap();
            let found = [
                trace.arrivals,
                trace.in_measure,
                trace.after_end,
                trace.busiest,
            ];
            assert_eq!(found, counts, "{text} at {speed}");
        };
        check("0\n0.5\n1\n2.9\n3\n3.9\n", 1.0, [6, 2, 0, 2]);
        check("4\n4\n5e0\n", 2.0, [3, 3, 0, 3]);
        check("1\n1\n", 0.25, [2, 0, 2, 2]);
    }

    #[test]
    fn a_trace_without_arrivals_is_none() {
        for text in ["", "seconds\n"] {
            let found = Trace::read(text.as_bytes(), 1.0, &PHASES);
            assert_eq!(found, Err(NoTrace::Empty), "{text:?}");
        }
    }

    #[test]
    fn a_trace_that_does_not_fit_says_by_how_much() {
        let check = |text: &str, expected: Option<&str>| {
            let trace = Trace::read(text.as_bytes(), 1.0, &PHASES).unwrap();
            let label = trace.misfit(&PHASES).map(|(label, _)| label);
            match expected {
                None => assert_eq!(label, None, "{text}"),
                Some(part) => assert!(label.unwrap().contains(part), "{text}"),
            }
        };
        check("1\n", None);
        check("0\n2.9\n3.9\n", None);
        check(
            "1\n4\n7\n",
            Some("2 of its 3 arrivals come after the end: the last at 7s"),
        );
        check(
            "0\n3\n",
            Some("none of its arrivals is in the measure phase"),
        );
    }
}
