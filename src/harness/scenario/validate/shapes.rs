//! The course of a rate or of a number of users over time: constant, or stages.

use std::ops::Range;

use toml::de::DeTable;

use super::phases::Phases;
use crate::harness::scenario::keys::{MAX_RATE_PER_S, MAX_USERS};
use crate::harness::scenario::plan::{Spacing, Stage, Wave, length_ns};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Value};

/// Stairs count as a stage each. A file has no more stages than this either.
const MAX_STAGES: usize = 10_000;
/// A shorter wave is no shape of a load but noise in it.
const MIN_PERIOD_NS: u64 = 10_000_000;

/// How the stages of a model are written.
pub(super) struct Model {
    /// The key of a constant value.
    constant: &'static str,
    read: fn(&DeTable<'_>, &str) -> Option<f64>,
    largest: f64,
    /// Whether a value is a number of something that can't be divided.
    is_whole: bool,
}

/// A rate.
pub(super) const OPEN: Model = Model {
    constant: "rate",
    read: raw::rate_per_s,
    largest: MAX_RATE_PER_S,
    is_whole: false,
};

/// Users.
pub(super) const CLOSED: Model = Model {
    constant: "users",
    read: |table, key| raw::integer_at(table, key).map(|users| users as f64),
    largest: MAX_USERS as f64,
    is_whole: true,
};

/// The stages of the table of a model; one for the whole load where its value is constant. What is
/// wrong is NaN.
pub(super) fn stages(
    table: &DeTable<'_>,
    model: &Model,
    phases: &Phases,
    problems: &mut Problems<'_>,
) -> Vec<Stage> {
    let Some(written) = table.get("stages") else {
        let number = model.value(table, model.constant, false, problems);
        return constant(number, phases);
    };
    let mut stages = Vec::new();
    for (table, span) in raw::tables(table, "stages") {
        let more = stage(table, model, problems);
        if stages.len() + more.len() > MAX_STAGES {
            problems.report(
                Code::OutOfRange,
                span,
                format!("there are more than {MAX_STAGES} stages, each of the stairs being one"),
                "too many from here on",
                "write fewer `steps`; so many are a ramp, with `from` and `to` alone",
            );
            break;
        }
        stages.extend(more);
    }
    check_stages(&stages, written.span(), phases, problems);
    stages
}

/// One stage for the whole load.
pub(super) fn constant(value: f64, phases: &Phases) -> Vec<Stage> {
    vec![Stage::constant(phases.plan.total_ns(), value)]
}

/// How arrivals are spaced.
pub(super) fn spacing(table: &DeTable<'_>) -> Spacing {
    match raw::text(table, "arrivals") {
        Some(text) if text.text == "poisson" => Spacing::Poisson,
        _ => Spacing::Even,
    }
}

impl Model {
    /// The value at `key`; NaN where there is none. One that is out of range is said.
    fn value(
        &self,
        table: &DeTable<'_>,
        key: &str,
        may_be_zero: bool,
        problems: &mut Problems<'_>,
    ) -> f64 {
        let number = (self.read)(table, key).unwrap_or(f64::NAN);
        // The bounds of whole numbers are in the description of their keys.
        if !self.is_whole
            && (number > self.largest || (number == 0.0 && !may_be_zero))
            && let Some(place) = table.get(key).map(Value::span)
        {
            report_rate(key, place, problems);
        }
        number
    }
}

/// Says that the rate at `key` is out of range.
pub(super) fn report_rate(key: &str, place: Range<usize>, problems: &mut Problems<'_>) {
    problems.report(
        Code::OutOfRange,
        place,
        format!("`{key}` must be above 0 and at most {MAX_RATE_PER_S}/s"),
        "out of range",
        "write a rate that one machine can offer, such as `\"500/s\"`",
    );
}

/// A stage as it is written; several where it is stairs.
fn stage(table: &DeTable<'_>, model: &Model, problems: &mut Problems<'_>) -> Vec<Stage> {
    let duration_ns = raw::duration_ns(table, "for").unwrap_or(0);
    let mut value = |key| model.value(table, key, true, problems);
    if table.contains_key("mean") {
        let mean = value("mean");
        let amplitude = value("amplitude");
        return vec![wave(
            table,
            model,
            Stage::constant(duration_ns, mean),
            amplitude,
            problems,
        )];
    }
    if table.contains_key("from") {
        let (from, to) = (value("from"), value("to"));
        let steps = raw::integer_at(table, "steps").and_then(|steps| u64::try_from(steps).ok());
        return match steps {
            // Fewer are a mistake of their own.
            Some(steps @ 2..) => stairs(duration_ns, (from, to), steps, model),
            _ => vec![Stage::line(duration_ns, from, to)],
        };
    }
    vec![Stage::constant(duration_ns, value(model.constant))]
}

/// A sine around the value of `stage`.
fn wave(
    table: &DeTable<'_>,
    model: &Model,
    stage: Stage,
    amplitude: f64,
    problems: &mut Problems<'_>,
) -> Stage {
    let mean = stage.from;
    let place = |key: &str| table.get(key).map(Value::span);
    if let Some(place) = place("amplitude")
        && (amplitude > mean || mean + amplitude > model.largest)
    {
        let (label, help) = if amplitude > mean {
            (
                "more than the mean",
                "write an amplitude that is at most the mean: nothing arrives less often than never",
            )
        } else {
            (
                "too much together with the mean",
                "write a smaller amplitude or a smaller mean",
            )
        };
        problems.report(
            Code::OutOfRange,
            place,
            "`amplitude` is too large",
            label,
            help,
        );
    }
    let period_ns = raw::duration_ns(table, "period");
    if let (Some(place), Some(0..MIN_PERIOD_NS)) = (place("period"), period_ns) {
        problems.report(
            Code::OutOfRange,
            place,
            "`period` must be at least 10ms",
            "too short for a wave",
            "write how long a swing takes: `\"10s\"`, `\"1h\"`",
        );
    }
    Stage {
        wave: Some(Wave {
            amplitude,
            period_ns: period_ns.unwrap_or(0).max(MIN_PERIOD_NS),
        }),
        ..stage
    }
}

/// `steps` constant stages of equal length, the first at one value and the last at the other, each as
/// far from the one before; of users to the nearest whole number.
fn stairs(duration_ns: u64, (from, to): (f64, f64), steps: u64, model: &Model) -> Vec<Stage> {
    // Bounds rather than lengths are rounded, so that nothing is lost.
    let bound_ns =
        |step: u64| (u128::from(duration_ns) * u128::from(step) / u128::from(steps)) as u64;
    let rise = (to - from) / (steps - 1) as f64;
    let stairs = (0..steps).map(|step| {
        let value = match step + 1 == steps {
            true => to,
            false => from + rise * step as f64,
        };
        let value = if model.is_whole { value.round() } else { value };
        Stage::constant(bound_ns(step + 1) - bound_ns(step), value)
    });
    stairs.collect()
}

fn check_stages(
    stages: &[Stage],
    span: Range<usize>,
    phases: &Phases,
    problems: &mut Problems<'_>,
) {
    // Thousands of stages of thirty days would overflow.
    let together_ns = length_ns(stages);
    let total_ns = phases.plan.total_ns();
    if phases.is_right && together_ns > total_ns {
        problems
            .report(
                Code::OutOfRange,
                span.clone(),
                "the stages are longer than the phases",
                format!("{}s together", together_ns as f64 / 1e9), format!(
                "warm-up, measure and cool-down take {}s together; lengthen `measure` or shorten a stage",
                total_ns as f64 / 1e9
            ));
    }
    if !stages.is_empty() && stages.iter().all(|stage| stage.highest() == 0.0) {
        problems.report(
            Code::OutOfRange,
            span,
            "no stage lets anything arrive",
            "zero throughout",
            "give a stage a rate or users above zero",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stairs_begin_and_end_where_they_are_told_to_and_lose_no_time() {
        let check = |(from, to): (f64, f64), steps: u64, model: &Model, expected: &[f64]| {
            let stairs = stairs(1_000_000_001, (from, to), steps, model);
            let values: Vec<f64> = stairs.iter().map(|stage| stage.from).collect();
            assert_eq!(values, expected);
            assert!(stairs.iter().all(Stage::is_constant));
            assert_eq!(length_ns(&stairs), 1_000_000_001);
            let lengths = || stairs.iter().map(|stage| stage.duration_ns);
            assert!(lengths().max() <= lengths().min().map(|least| least + 1));
        };
        check(
            (100.0, 500.0),
            5,
            &OPEN,
            &[100.0, 200.0, 300.0, 400.0, 500.0],
        );
        check((500.0, 0.0), 2, &OPEN, &[500.0, 0.0]);
        check((0.0, 1.0), 4, &OPEN, &[0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]);
        check((1.0, 10.0), 3, &CLOSED, &[1.0, 6.0, 10.0]);
    }
}
