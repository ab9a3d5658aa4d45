//! Axes: where they begin and end, and where they carry a label.

use std::ops::RangeInclusive;

use crate::harness::model::Unit;
use crate::harness::report::format;

/// An axis in the coordinates of its plot, from `from` to `to` (`from` < `to`, both finite).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// Where it begins.
    pub(super) from: f64,
    /// Where it ends.
    pub(super) to: f64,
    /// Positions with their labels.
    pub(super) ticks: Vec<(f64, String)>,
    /// What a position between them stands for, where it has a value that can be read off.
    pub(super) scale: Option<Scale>,
}

/// From a position on an axis to a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scale {
    /// Seconds from the start of the load.
    Clock,
    /// The value itself.
    Linear(Unit),
    /// log10 of the value.
    Log10(Unit),
    /// log10 of 1/(1 − q).
    Quantile,
}

impl Scale {
    /// The value at a position, as it is told everywhere else.
    pub(super) fn told(&self, at: f64) -> String {
        match self {
            // A tenth of a second is as much as a window tells.
            Self::Clock => format::clock_ns(((at * 10.0).round() * 1e8) as i64),
            Self::Linear(unit) => format::value(unit, at),
            Self::Log10(unit) => format::value(unit, 10_f64.powf(at)),
            Self::Quantile => quantile(at),
        }
    }
}

/// `p99.9` from log10 of 1/(1 − q), with the digits in which its neighbours differ.
fn quantile(at: f64) -> String {
    let decimals = (at.ceil() - 1.0).clamp(0.0, 8.0) as usize;
    let percent = 100.0 * (1.0 - 10_f64.powf(-at));
    let told = format!("p{percent:.decimals$}");
    match told.contains('.') {
        true => told.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => told,
    }
}

/// Rates that an axis can hold. No search has others, but a file may.
pub(super) const RATES: RangeInclusive<f64> = 1e-6..=1e12;
/// Labels that a time axis can hold.
const TIME_TICKS: f64 = 7.0;
/// Labels that a value axis can hold.
const VALUE_TICKS: f64 = 5.0;
/// Head room above the largest value, and below the smallest negative one.
pub(super) const HEAD_ROOM: f64 = 1.06;

/// A time axis in seconds.
pub(super) fn time(from_s: f64, to_s: f64) -> Axis {
    const STEPS_S: [f64; 16] = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
        7200.0,
    ];
    let to_s = if to_s > from_s { to_s } else { from_s + 1.0 };
    let span = to_s - from_s;
    let step = STEPS_S
        .into_iter()
        .find(|step| span / step <= TIME_TICKS)
        .unwrap_or_else(|| nice_step(span, TIME_TICKS));
    let label = |s: f64| format::clock_ns((s * 1e9).round() as i64);
    Axis {
        from: from_s,
        to: to_s,
        ticks: labelled(multiples(from_s, to_s, step), label),
        scale: Some(Scale::Clock),
    }
}

/// A linear axis from 0 to somewhat above `max`.
pub(super) fn from_zero(unit: &Unit, max: f64) -> Axis {
    let max = if max.is_finite() && max > 0.0 {
        max
    } else {
        1.0
    };
    // A ratio that fills its axis ends at the whole, not at 106 %.
    let to = match unit {
        Unit::Ratio if max <= 1.0 && max > 0.9 => 1.02,
        _ => max * HEAD_ROOM,
    };
    linear(unit, 0.0, to)
}

/// A linear axis that holds `from` to `to`.
pub(super) fn linear(unit: &Unit, from: f64, to: f64) -> Axis {
    let to = if to > from { to } else { from + 1.0 };
    // Steps in bytes are round in the unit that is shown.
    let scale = match unit {
        Unit::Bytes | Unit::BytesPerSecond => 1024_f64.powf((to.max(1.0).log2() / 10.0).floor()),
        _ => 1.0,
    };
    let mut step = nice_step((to - from) / scale, VALUE_TICKS) * scale;
    // Half a thread is no label.
    if *unit == Unit::Count {
        step = step.max(1.0);
    }
    let label = |v: f64| match unit {
        // Words have no room there; the title or the note of the figure says them.
        Unit::Cores | Unit::Other(_) => format::tick(&Unit::Count, v),
        unit => format::tick(unit, v),
    };
    Axis {
        from,
        to,
        ticks: labelled(multiples(from, to, step), label),
        scale: Some(Scale::Linear(unit.clone())),
    }
}

/// A logarithmic axis for values of `low` to `high` (both above 0): positions are log10 of the value.
pub(super) fn log(unit: &Unit, low: f64, high: f64) -> Axis {
    logarithmic(unit, low, high, |decades| match decades {
        d if d < 1.0 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
        d if d < 2.2 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    })
}

/// As [`log`], for rates per second along the bottom, where labels stand side by side.
pub(super) fn log_rate(low: f64, high: f64) -> Axis {
    logarithmic(&Unit::PerSecond, low, high, |decades| match decades {
        d if d < 0.8 => &[],
        d if d < 1.6 => &[1.0, 2.0, 5.0],
        d if d < 2.7 => &[1.0, 3.0],
        _ => &[1.0],
    })
}

/// `mantissas` says which digits have labels on an axis of so many decades; where that makes none or one, the
/// labels are those of a linear axis.
fn logarithmic(unit: &Unit, low: f64, high: f64, mantissas: fn(f64) -> &'static [f64]) -> Axis {
    let low = if low.is_finite() && low > 0.0 {
        low
    } else {
        1.0
    };
    let high = if high.is_finite() && high > low {
        high
    } else {
        low * 10.0
    };
    let (from, to) = ((low / 1.12).log10(), (high * 1.12).log10());
    let mantissas = mantissas(to - from);
    let decades = from.floor() as i32..=to.ceil() as i32;
    let positions = decades
        .flat_map(|decade| mantissas.iter().map(move |m| m * 10_f64.powi(decade)))
        .map(f64::log10)
        .filter(|at| (from..=to).contains(at));
    let label = |at: f64| format::tick(unit, 10_f64.powf(at));
    let mut ticks = labelled(positions.collect(), label);
    if ticks.len() < 2 {
        let between = linear(unit, 10_f64.powf(from), 10_f64.powf(to)).ticks;
        ticks = between
            .into_iter()
            .map(|(v, label)| (v.log10(), label))
            .collect();
    }
    Axis {
        from,
        to,
        ticks,
        scale: Some(Scale::Log10(unit.clone())),
    }
}

fn labelled(positions: Vec<f64>, label: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    positions.into_iter().map(|at| (at, label(at))).collect()
}

fn multiples(from: f64, to: f64, step: f64) -> Vec<f64> {
    let first = (from / step).ceil() as i64;
    let last = (to / step).floor() as i64;
    // The cap keeps a senseless range from becoming a page of labels.
    (first..=last.min(first + 40))
        .map(|i| i as f64 * step)
        .collect()
}

/// A step of 1, 2 or 5 times a power of ten that gives at most `ticks` labels.
fn nice_step(span: f64, ticks: f64) -> f64 {
    let raw = span / ticks;
    let decade = 10_f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * decade)
        .find(|step| *step >= raw * (1.0 - 1e-9))
        .unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(axis: &Axis, expected: &[&str]) {
        let labels: Vec<String> = axis
            .ticks
            .iter()
            .map(|(_, label)| label.replace('\u{202f}', " "))
            .collect();
        assert_eq!(labels, expected);
        assert!(axis.from < axis.to);
        for (at, _) in &axis.ticks {
            assert!((axis.from..=axis.to).contains(at), "{at} in {axis:?}");
        }
    }

    #[test]
    fn labels_are_round() {
        check(
            &time(0.0, 35.0),
            &["0", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s", "35 s"],
        );
        check(
            &time(0.0, 3600.0),
            &["0", "10 min", "20 min", "30 min", "40 min", "50 min", "1 h"],
        );
        check(
            &from_zero(&Unit::PerSecond, 512.0),
            &["0/s", "200/s", "400/s"],
        );
        check(
            &from_zero(&Unit::Bytes, 300.0 * 1048576.0),
            &["0 B", "100 MiB", "200 MiB", "300 MiB"],
        );
        check(&from_zero(&Unit::Count, 2.0), &["0", "1", "2"]);
        check(&from_zero(&Unit::Cores, 0.014), &["0", "0.005", "0.01"]);
        let words = Unit::Other("megawatt hours".into());
        check(&from_zero(&words, 2.0), &["0", "0.5", "1", "1.5", "2"]);
        check(&from_zero(&Unit::Ratio, 0.97), &["0 %", "50 %", "100 %"]);
        check(
            &from_zero(&Unit::Ratio, 0.0004),
            &["0 %", "0.01 %", "0.02 %", "0.03 %", "0.04 %"],
        );
        check(
            &log(&Unit::Nanoseconds, 1e6, 1e9),
            &["1 ms", "10 ms", "100 ms", "1 s"],
        );
        check(
            &log(&Unit::Nanoseconds, 1e6, 5e6),
            &["1 ms", "1.5 ms", "2 ms", "3 ms", "4 ms", "5 ms"],
        );
        check(
            &log(&Unit::Nanoseconds, 2.3e6, 2.4e6),
            &["2.2 ms", "2.4 ms", "2.6 ms"],
        );
        check(
            &log_rate(100.0, 300.0),
            &["100/s", "150/s", "200/s", "250/s", "300/s"],
        );
        check(
            &log_rate(100.0, 2000.0),
            &["100/s", "200/s", "500/s", "1,000/s", "2,000/s"],
        );
        check(
            &log_rate(20.0, 1500.0),
            &["30/s", "100/s", "300/s", "1,000/s"],
        );
        check(
            &log_rate(10.0, 20_000.0),
            &["10/s", "100/s", "1,000/s", "10,000/s"],
        );
    }

    #[test]
    fn a_position_is_told_as_its_value() {
        let check = |scale: Scale, at: f64, expected: &str| {
            let told = scale.told(at).replace('\u{202f}', " ");
            assert_eq!(told, expected);
        };
        check(Scale::Clock, 12.34, "12.3 s");
        check(Scale::Linear(Unit::PerSecond), 499.96, "500/s");
        check(Scale::Log10(Unit::Nanoseconds), 6.0, "1.00 ms");
        check(Scale::Quantile, 2_f64.log10(), "p50");
        check(Scale::Quantile, 1.0, "p90");
        check(Scale::Quantile, 20_f64.log10(), "p95");
        check(Scale::Quantile, 800_f64.log10(), "p99.88");
        check(Scale::Quantile, 2.0, "p99");
        check(Scale::Quantile, 3.0, "p99.9");
    }

    #[test]
    fn senseless_ranges_give_an_axis() {
        for axis in [
            time(5.0, 5.0),
            from_zero(&Unit::Count, f64::NAN),
            from_zero(&Unit::Count, 0.0),
            log(&Unit::Nanoseconds, 0.0, 0.0),
            log(&Unit::Nanoseconds, f64::NAN, f64::INFINITY),
            log_rate(f64::NAN, f64::INFINITY),
        ] {
            assert!(axis.from < axis.to, "{axis:?}");
            assert!(axis.ticks.len() < 50, "{axis:?}");
        }
    }
}
