//! A foreign number → a metric: units and directions, in one place for all formats.

use super::error::{Wrong, quoted};
use crate::harness::model::quantile::{enough, is_too_few, too_few};
use crate::harness::model::{Direction, Metric, Reading, Unit};

/// A longer name is none.
const MAX_NAME_BYTES: usize = 4096;
/// A longer unit is none.
const MAX_UNIT_BYTES: usize = 64;

/// What a file says of a number besides the number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    /// The unit as it stands there.
    pub(super) unit: Option<&'a str>,
    /// The direction, where the file or the user gives one.
    pub(super) better: Option<Direction>,
}

/// A metric of which the file says what it says. Lower is better for times and sizes that come
/// without a direction; anything else has to say it.
pub(super) fn metric(
    name: &str,
    values: &[f64],
    said: Said<'_>,
    observations: u64,
) -> Result<Metric, Wrong> {
    let unit_text = said.unit.map_or("", str::trim);
    if unit_text.len() > MAX_UNIT_BYTES {
        return Err(Wrong::new(
            format!("the unit {} is too long", quoted(unit_text)),
            "name the unit as in \"ms\"",
        ));
    }
    let scale = scale(unit_text);
    let Some(better) = said.better.or(scale.better) else {
        let unit = match unit_text {
            "" => "has no unit".to_owned(),
            text => format!("is in {}", quoted(text)),
        };
        return Err(Wrong::new(
            format!(
                "metric {} {unit}, which doesn't say which way is better",
                quoted(name)
            ),
            "say \"lower\" or \"higher\" in `better`, or for all such metrics with --better",
        ));
    };
    let values: Vec<f64> = values.iter().map(|value| value * scale.factor).collect();
    measured(name, scale.unit, better, values, observations)
}

/// A metric whose unit and direction its format fixes, in that unit.
pub(super) fn measured(
    name: &str,
    unit: Unit,
    better: Direction,
    values: Vec<f64>,
    observations: u64,
) -> Result<Metric, Wrong> {
    if name.trim().is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(Wrong::new(
            format!("the metric's name {} is empty or too long", quoted(name)),
            "give the metric a name such as \"request.p95\"",
        ));
    }
    if values.is_empty() || !values.iter().all(|value| value.is_finite()) {
        return Err(Wrong::new(
            format!("metric {} is not a finite number", quoted(name)),
            "leave out what was not measured",
        ));
    }
    Ok(Metric {
        name: name.to_owned(),
        unit,
        better,
        reading: Reading::Measured { values },
        observations,
    })
}

/// A latency quantile of `requests` requests (`None` where the file doesn't say how many), in ns. The
/// rule for our own runs holds for others' too: with too few requests beyond it, it is not measurable.
pub(super) fn quantile(
    stem: &str,
    percent: f64,
    value_ns: f64,
    requests: Option<u64>,
) -> Result<Metric, Wrong> {
    let name = format!("{stem}.p{percent}");
    let observations = requests.unwrap_or(1);
    let metric = measured(
        &name,
        Unit::Nanoseconds,
        Direction::Lower,
        vec![value_ns],
        observations,
    )?;
    let share = (100.0 - percent) / 100.0;
    let beyond = requests.map(|requests| requests as f64 * share);
    let Some(beyond) = beyond.filter(|beyond| is_too_few(*beyond)) else {
        return Ok(metric);
    };
    Ok(Metric {
        reading: Reading::NotMeasurable {
            reason: too_few(beyond, "requests", format_args!("p{percent}")),
            remedy: format!("make at least {} requests a run", enough(1.0, share)),
        },
        ..metric
    })
}

/// How a foreign unit becomes one of ours.
struct Scale {
    unit: Unit,
    factor: f64,
    better: Option<Direction>,
}

/// Times and sizes are lower-is-better by themselves; rates, shares and counts are not. `MB` is a
/// million bytes, `MiB` is 2^20. A unit that is not known here is kept as it stands.
fn scale(text: &str) -> Scale {
    const KIB: f64 = 1024.0;
    let lower = |unit, factor| Scale {
        unit,
        factor,
        better: Some(Direction::Lower),
    };
    let open = |unit, factor| Scale {
        unit,
        factor,
        better: None,
    };
    let bytes = |name: &str| {
        Some(match name {
            "B" | "byte" | "bytes" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => KIB,
            "MiB" => KIB * KIB,
            "GiB" => KIB * KIB * KIB,
            _ => return None,
        })
    };
    if let Some(factor) = bytes(text) {
        return lower(Unit::Bytes, factor);
    }
    if let Some(factor) = text.strip_suffix("/s").and_then(bytes) {
        return open(Unit::BytesPerSecond, factor);
    }
    match text {
        "ns" | "nanoseconds" => lower(Unit::Nanoseconds, 1.0),
        // The micro sign and the Greek letter look the same.
        "us" | "µs" | "μs" | "microseconds" => lower(Unit::Nanoseconds, 1e3),
        "ms" | "milliseconds" => lower(Unit::Nanoseconds, 1e6),
        "s" | "sec" | "seconds" => lower(Unit::Nanoseconds, 1e9),
        "min" | "minutes" => lower(Unit::Nanoseconds, 60e9),
        "/s" | "1/s" | "rps" | "req/s" | "requests/s" | "ops/s" => open(Unit::PerSecond, 1.0),
        "ratio" => open(Unit::Ratio, 1.0),
        "%" | "percent" => open(Unit::Ratio, 0.01),
        "count" => open(Unit::Count, 1.0),
        "cores" => open(Unit::Cores, 1.0),
        other => open(Unit::Other(other.to_owned()), 1.0),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn units_become_ours() {
        let check = |value, unit: &str, expected: (f64, Unit)| {
            let said = Said {
                unit: Some(unit),
                better: Some(Direction::Lower),
            };
            let metric = metric("m", &[value], said, 1).unwrap();
            assert_eq!(
                (metric.value().unwrap(), metric.unit),
                expected,
                "{value} {unit}"
            );
        };
        check(2.0, "ms", (2e6, Unit::Nanoseconds));
        check(2.0, " s ", (2e9, Unit::Nanoseconds));
        check(3.0, "μs", (3e3, Unit::Nanoseconds));
        check(1.0, "MiB", (1_048_576.0, Unit::Bytes));
        check(1.0, "MB", (1e6, Unit::Bytes));
        check(2.0, "kB/s", (2e3, Unit::BytesPerSecond));
        check(50.0, "%", (0.5, Unit::Ratio));
        check(7.0, "req/s", (7.0, Unit::PerSecond));
        check(7.0, "frames", (7.0, Unit::Other("frames".into())));
        check(7.0, "", (7.0, Unit::Other(String::new())));
    }

    #[test]
    fn a_direction_is_never_guessed() {
        let check = |unit: Option<&str>, better, expected: Option<Direction>| {
            let metric = metric("latency", &[1.0], Said { unit, better }, 1);
            assert_eq!(
                metric.ok().map(|metric| metric.better),
                expected,
                "{unit:?}"
            );
        };
        check(Some("ms"), None, Some(Direction::Lower));
        check(Some("B"), None, Some(Direction::Lower));
        check(Some("ms"), Some(Direction::Higher), Some(Direction::Higher));
        for silent in [Some("/s"), Some("ratio"), Some("count"), Some("x"), None] {
            check(silent, None, None);
            check(silent, Some(Direction::Higher), Some(Direction::Higher));
        }
    }

    #[test]
    fn what_is_no_number_is_no_metric() {
        for value in [f64::NAN, f64::INFINITY, f64::MAX] {
            let said = Said {
                unit: Some("s"),
                better: None,
            };
            assert!(metric("m", &[value], said, 1).is_err(), "{value}");
        }
    }

    #[test]
    fn a_quantile_needs_a_hundred_requests_beyond_it() {
        let check = |percent, requests, measurable: bool| {
            let metric = quantile("r", percent, 1.0, requests).unwrap();
            assert_eq!(
                metric.value().is_some(),
                measurable,
                "p{percent} of {requests:?}"
            );
        };
        check(95.0, Some(2000), true);
        check(95.0, Some(1999), false);
        check(99.9, Some(100_000), true);
        check(90.0, Some(1000), true);
        check(99.99, None, true);
        let thin = quantile("r", 99.9, 1.0, Some(2000)).unwrap();
        assert_eq!(thin.name, "r.p99.9");
        assert_eq!(
            thin.reading,
            Reading::NotMeasurable {
                reason: "only 2 requests lie beyond p99.9; 100 are needed".into(),
                remedy: "make at least 100000 requests a run".into(),
            }
        );
    }
}
