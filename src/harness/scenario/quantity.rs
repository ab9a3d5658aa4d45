//! Texts with units: `500ms`, `30/min`, `512MiB`, `0.1%`. A number without its unit is refused
//! wherever it could be read in two ways.

use crate::harness::model::Unit;

/// No duration of a scenario is longer: 30 days. Sums of a few stay far from overflow.
const MAX_DURATION_NS: f64 = 30.0 * 86_400e9;

/// A margin of more than 1000 % is a mistake.
const MAX_MARGIN: f64 = 10.0;

const DURATIONS_NS: [(&str, f64); 10] = [
    ("ns", 1.0),
    ("us", 1e3),
    // The micro sign and the Greek letter look the same.
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("min", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
];
const SIZES_BYTES: [(&str, f64); 9] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

const A_DURATION: &str =
    "a duration is a number and one of ns, us, ms, s, m, h, d: `500ms`, `1m30s`";
const A_RATE: &str = "a rate is a number per s, min or h: `500/s`, `30/min`";
const A_SIZE: &str = "a size is a number and one of B, kB, MB, GB, KiB, MiB, GiB, TiB: `512MiB`";
const A_SHARE: &str = "a share is a percentage or a fraction: `0.1%`, `0.001`";
const A_WHOLE: &str = "write `5%` or `0.05`; the whole and more need their `%`: `100%`";

/// Why a text is no such quantity: what would be.
pub(crate) type Expected = &'static str;

/// Reads `500ms`, `1.5s`, `1m30s` into whole ns.
///
/// # Errors
/// What a duration is.
pub fn duration_ns(text: &str) -> Result<u64, &'static str> {
    time_ns(text).map(|ns| ns.round() as u64)
}

/// So many seconds as a scenario writes them: `90s`, `16m40s`, `2h47m`. Rounded up, from an hour on to whole
/// minutes, because it is said of what is needed at least.
pub(crate) fn written_duration(seconds: f64) -> String {
    let whole = seconds.ceil() as u64;
    if whole < 120 {
        return format!("{whole}s");
    }
    let units = match whole < 3600 {
        true => [(whole / 60, "m"), (whole % 60, "s")],
        false => {
            let minutes = whole.div_ceil(60);
            [(minutes / 60, "h"), (minutes % 60, "m")]
        }
    };
    let units = units.into_iter().filter(|(count, _)| *count > 0);
    units
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

/// The same with fractions of a nanosecond, in which fast benchmarks differ.
fn time_ns(text: &str) -> Result<f64, Expected> {
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(A_DURATION);
    }
    while !rest.is_empty() {
        let (number, tail) = number(rest).ok_or(A_DURATION)?;
        let tail = tail.trim_start();
        let unit_end = tail
            .find(|char: char| !char.is_alphabetic())
            .unwrap_or(tail.len());
        total += number * factor(&DURATIONS_NS, &tail[..unit_end]).ok_or(A_DURATION)?;
        rest = tail[unit_end..].trim_start();
    }
    if total > MAX_DURATION_NS {
        return Err("no duration is longer than 30 days");
    }
    Ok(total)
}

/// Reads `500/s`, `30/min`, `10/h` into events per second.
///
/// # Errors
/// What a rate is.
pub fn rate_per_s(text: &str) -> Result<f64, &'static str> {
    let (number, unit) = number(text.trim()).ok_or(A_RATE)?;
    match unit.trim().strip_prefix('/').map(str::trim) {
        Some("s") => Ok(number),
        Some("m" | "min") => Ok(number / 60.0),
        Some("h") => Ok(number / 3600.0),
        _ => Err(A_RATE),
    }
}

/// Reads `512KiB` into whole bytes.
pub(crate) fn size_bytes(text: &str) -> Result<u64, Expected> {
    let (number, unit) = number(text.trim()).ok_or(A_SIZE)?;
    let factor = factor(&SIZES_BYTES, unit.trim()).ok_or(A_SIZE)?;
    Ok((number * factor).round() as u64)
}

/// Reads `0.1%` or `0.001` into a fraction. What is not below 1 needs its `%`: `5` for `5%` would be
/// five hundred times as much.
pub(crate) fn share(text: &str) -> Result<f64, Expected> {
    match number(text.trim()).ok_or(A_SHARE)? {
        (number, unit) if unit.trim() == "%" => Ok(number / 100.0),
        (number, "") if number < 1.0 => Ok(number),
        (_, "") => Err(A_WHOLE),
        _ => Err(A_SHARE),
    }
}

/// Reads a margin: `5%` or `0.05`, above 0 and at most 1000 %, into a fraction.
///
/// # Errors
/// What a margin is.
pub fn parse_percent(text: &str) -> Result<f64, &'static str> {
    share(text).and_then(margin)
}

/// A fraction as a margin.
pub(crate) fn margin(fraction: f64) -> Result<f64, Expected> {
    if fraction > 0.0 && fraction <= MAX_MARGIN {
        Ok(fraction)
    } else {
        Err("a margin is above 0 % and at most 1000 %")
    }
}

/// Reads a limit on a metric of `unit`, into that unit.
pub(crate) fn limit(text: &str, unit: &Unit) -> Result<f64, String> {
    let text = text.trim();
    let (number, suffix) =
        number(text).ok_or_else(|| "a limit is a number and a unit: `500ms`".to_owned())?;
    let suffix = suffix.trim();
    match unit {
        Unit::Nanoseconds => time_ns(text).map_err(str::to_owned),
        Unit::Bytes => factor(&SIZES_BYTES, suffix)
            .map(|bytes| number * bytes)
            .ok_or_else(|| A_SIZE.to_owned()),
        Unit::PerSecond => rate_per_s(text).map_err(str::to_owned),
        Unit::BytesPerSecond => suffix
            .strip_suffix("/s")
            .and_then(|size| factor(&SIZES_BYTES, size.trim()))
            .map(|bytes| number * bytes)
            .ok_or_else(|| "a byte rate is a size per second: `10MB/s`".to_owned()),
        Unit::Ratio => share(text).map_err(str::to_owned),
        Unit::Count if suffix.is_empty() => Ok(number),
        Unit::Count => Err("a count is a plain number: `10`".to_owned()),
        Unit::Cores if matches!(suffix, "" | "core" | "cores") => Ok(number),
        Unit::Cores => Err("cores are a plain number: `1.5`".to_owned()),
        Unit::Other(own) if suffix.is_empty() || suffix == own => Ok(number),
        Unit::Other(own) => Err(format!("this metric is in `{own}`: `10{own}`, or `10`")),
    }
}

/// The leading decimal number and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|char: char| !(char.is_ascii_digit() || char == '.'))
        .unwrap_or(text.len());
    let number = text[..end]
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())?;
    Some((number, &text[end..]))
}

fn factor(units: &[(&str, f64)], unit: &str) -> Option<f64> {
    units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|&(_, factor)| factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        let check = |seconds: f64, expected: &str| {
            let written = written_duration(seconds);
            assert_eq!(written, expected);
            let read = duration_ns(&written).expect("what is written can be read") as f64 / 1e9;
            assert!(read >= seconds && read < seconds + 60.0, "{written}");
        };
        check(2.0, "2s");
        check(84.1, "85s");
        check(120.0, "2m");
        check(1000.0, "16m40s");
        check(3600.0, "1h");
        check(10_000.0, "2h47m");
        check(86_400.0, "24h");
    }

    #[test]
    fn a_duration_has_a_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration_ns(text).ok(), expected, "{text}");
        };
        check("500ms", Some(500_000_000));
        check("1.5s", Some(1_500_000_000));
        check("1m30s", Some(90_000_000_000));
        check("2 min", Some(120_000_000_000));
        check("7µs", Some(7_000));
        check("7μs", Some(7_000));
        check("0s", Some(0));
        check("30d", Some(2_592_000_000_000_000));
        for wrong in [
            "",
            " ",
            "500",
            "5 parsecs",
            "ms",
            "-1s",
            "1..5s",
            "1e3s",
            "31d",
            "5s!",
            "nan s",
            "5S",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_rate_is_per_something() {
        let check = |text: &str, expected: Option<f64>| {
            assert_eq!(rate_per_s(text).ok(), expected, "{text}");
        };
        check("500/s", Some(500.0));
        check("30/min", Some(0.5));
        check("7200 / h", Some(2.0));
        for wrong in ["500", "500/ms", "/s", "500s", "-5/s", "5/s/s"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_size_has_a_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(size_bytes(text).ok(), expected, "{text}");
        };
        check("512KiB", Some(524_288));
        check("1.5 kB", Some(1500));
        check("0B", Some(0));
        for wrong in ["", "512", "KiB", "512Kib", "-1B", "1B/s"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_share_of_the_whole_or_more_needs_its_unit() {
        let check = |text: &str, share_of: Option<f64>, margin: Option<f64>| {
            assert_eq!(share(text).ok(), share_of, "{text}");
            assert_eq!(parse_percent(text).ok(), margin, "{text}");
        };
        check("5%", Some(0.05), Some(0.05));
        check("0.05", Some(0.05), Some(0.05));
        check(" 900 % ", Some(9.0), Some(9.0));
        check("100%", Some(1.0), Some(1.0));
        check("0", Some(0.0), None);
        check("1001%", Some(10.01), None);
        for wrong in ["1", "5", "75", "1.0", "few", "-5%", "%"] {
            check(wrong, None, None);
        }
    }

    #[test]
    fn a_limit_fits_its_metric() {
        let check = |text: &str, unit: Unit, expected: Option<f64>| {
            let found = limit(text, &unit).ok();
            assert_eq!(found, expected, "{text} for {unit:?}");
        };
        check("500ms", Unit::Nanoseconds, Some(5e8));
        check("3.4ns", Unit::Nanoseconds, Some(3.4));
        check("0.4ns", Unit::Nanoseconds, Some(0.4));
        check("500", Unit::Nanoseconds, None);
        check("512MiB", Unit::Bytes, Some(536_870_912.0));
        check("180MB", Unit::Bytes, Some(180e6));
        check("512", Unit::Bytes, None);
        check("512Mb", Unit::Bytes, None);
        check("500ms", Unit::Bytes, None);
        check("208/s", Unit::PerSecond, Some(208.0));
        check("208", Unit::PerSecond, None);
        check("10MB/s", Unit::BytesPerSecond, Some(10e6));
        check("75%", Unit::Ratio, Some(0.75));
        check("0.75", Unit::Ratio, Some(0.75));
        check("75", Unit::Ratio, None);
        check("150%", Unit::Ratio, Some(1.5));
        check("10", Unit::Count, Some(10.0));
        check("10ms", Unit::Count, None);
        check("1.5 cores", Unit::Cores, Some(1.5));
        check("3 widgets", Unit::Other("widgets".into()), Some(3.0));
        check("3 gadgets", Unit::Other("widgets".into()), None);
    }
}
