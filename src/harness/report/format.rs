//! Values for people: one place that knows how many digits a number gets and which unit suits it.
//!
//! Three significant digits throughout, because histograms hold three and a reader compares no
//! more; counts are whole. A narrow no-break space before the unit keeps both on one line.

use crate::harness::model::Unit;

use super::text;

/// Digits that a measured value gets.
const DIGITS: i32 = 3;
/// Where two values that differ would look the same, at most this many.
const MAX_DIGITS: i32 = 7;
/// Between a number and its unit.
const SPACE: char = '\u{202f}';
/// Beyond this a duration is told in minutes.
const MINUTES_FROM_NS: f64 = 120e9;
/// How many of a unit of bytes are one of the next, and the units.
type Prefixes = (f64, [&'static str; 5]);
const BINARY: Prefixes = (1024.0, ["B", "KiB", "MiB", "GiB", "TiB"]);
const DECIMAL: Prefixes = (1000.0, ["B", "kB", "MB", "GB", "TB"]);
/// The characters of a sparkline, lowest first.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// What stands for them where only ASCII can be shown.
const ASCII_HEIGHTS: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
/// The minus sign of a signed number.
const MINUS: char = '\u{2212}';

/// A value in its unit: `1.23 ms`, `412 MiB`, `98.7 %`, `1,204/s`.
pub fn value(unit: &Unit, value: f64) -> String {
    with_digits(unit, value, DIGITS)
}

/// A rate: `1,204/s`.
pub fn rate(per_second: f64) -> String {
    value(&Unit::PerSecond, per_second)
}

/// The smallest and the largest of some values: `53.6 … 58.9 ms`; the unit once where both have it.
pub fn range(unit: &Unit, low: f64, high: f64) -> String {
    let (first, last) = (value(unit, low), value(unit, high));
    // `2 min 05 s` has two units and shares neither.
    let single = |text: &str| text.matches(SPACE).count() == 1;
    let unit_of = |text: &str| {
        let at = text.find(SPACE).filter(|_| single(text))?;
        Some(text[at..].to_owned())
    };
    match unit_of(&last) {
        Some(shared) if unit_of(&first).as_ref() == Some(&shared) => {
            format!("{} … {last}", first.trim_end_matches(shared.as_str()))
        }
        _ => format!("{first} … {last}"),
    }
}

/// A limit: whole, as a person has typed it, because a rounded one may lie on the other side of what
/// is held against it. `180MB` is 180 MB and `64MiB` 64 MiB: of both the one that is shorter.
pub fn limit(unit: &Unit, v: f64) -> String {
    let told = without_zeros(&with_digits(unit, v, MAX_DIGITS));
    let per = match unit {
        Unit::Bytes => "",
        Unit::BytesPerSecond => "/s",
        _ => return told,
    };
    let decimal = without_zeros(&bytes(v, MAX_DIGITS, &DECIMAL, per));
    match decimal.chars().count() < told.chars().count() {
        true => decimal,
        false => told,
    }
}

/// A value beside the limits that it is held against: as [`value`], with more digits where it would
/// otherwise look like one of them, so that it always lies on the side of it on which it is.
pub fn value_against(unit: &Unit, measured: f64, limits: &[f64]) -> String {
    let is_apart = |digits: &i32| {
        let text = with_digits(unit, measured, *digits);
        let mut limits = limits.iter();
        limits.all(|limit| text != with_digits(unit, *limit, *digits))
    };
    match (DIGITS..=MAX_DIGITS).find(is_apart) {
        Some(digits) => with_digits(unit, measured, digits),
        None => limit(unit, measured),
    }
}

/// A duration in ns: `850 ns`, `1.23 ms`, `2 min 05 s`.
pub fn duration_ns(ns: u64) -> String {
    value(&Unit::Nanoseconds, ns as f64)
}

/// A time on an axis, in ns from the start of the load: `0`, `30 s`, `1 min 30 s`.
pub fn clock_ns(ns: i64) -> String {
    let sign = if ns < 0 {
        MINUS.to_string()
    } else {
        String::new()
    };
    let seconds = ns.unsigned_abs() as f64 / 1e9;
    let text = match seconds {
        0.0 => return "0".to_owned(),
        s if s < 120.0 => format!("{}{SPACE}s", trimmed(s, DIGITS)),
        s => minutes(s),
    };
    format!("{sign}{text}")
}

/// A whole number in groups of three: `18,000`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A noun with its number: `1 run`, `5 runs`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// What is shown of a value, or a dash where there is none.
pub fn or_dash<T>(value: Option<T>, shown: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), shown)
}

/// `part` of `whole` as a percentage, or a dash where there is no whole.
pub fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "–".to_owned(),
        _ => value(&Unit::Ratio, part as f64 / whole as f64),
    }
}

/// A signed effect: `+4.2 %`, `−1.3 %`, `0 %`. Two digits, because its interval is wider than that.
pub fn effect(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if !percent.is_finite() {
        return "–".to_owned();
    }
    // Tenths are as fine as an effect can be told apart.
    let text = match percent.abs() {
        p if p >= 99.95 => grouped_number(p.round(), 0),
        p => format!("{p:.1}"),
    };
    match text.as_str() {
        "0.0" => format!("0{SPACE}%"),
        _ if percent < 0.0 => format!("{MINUS}{text}{SPACE}%"),
        _ => format!("+{text}{SPACE}%"),
    }
}

/// The bounds of an effect: `+1.1 … +7.4 %`.
pub fn interval(lower: f64, upper: f64) -> String {
    format!(
        "{} … {}",
        effect(lower).trim_end_matches(['%', SPACE]),
        effect(upper)
    )
}

/// A signed difference of two shares in percentage points: `+0.35 pp`, `0 pp`.
pub fn points(fraction: f64) -> String {
    let text = unsigned_points(fraction.abs());
    match text.as_str() {
        "–" => text,
        zero if zero.starts_with("0\u{202f}") => text,
        _ if fraction < 0.0 => format!("{MINUS}{text}"),
        _ => format!("+{text}"),
    }
}

/// The bounds of a difference in percentage points: `+0.1 … +0.35 pp`.
pub fn points_interval(lower: f64, upper: f64) -> String {
    format!(
        "{} … {}",
        points(lower).trim_end_matches(['p', SPACE]),
        points(upper)
    )
}

/// A difference of two shares without its sign: `0.35 pp`.
pub fn unsigned_points(fraction: f64) -> String {
    if !fraction.is_finite() {
        return "–".to_owned();
    }
    // Hundredths: error rates are small, and their intervals with them.
    let text = format!("{:.2}", fraction * 100.0);
    format!(
        "{}{SPACE}pp",
        text.trim_end_matches('0').trim_end_matches('.')
    )
}

/// A share that is not signed, such as a margin or a minimal detectable effect: `5 %`, `2.4 %`.
pub fn margin(fraction: f64) -> String {
    if !fraction.is_finite() {
        return "–".to_owned();
    }
    let percent = fraction * 100.0;
    let text = if percent >= 99.95 {
        grouped_number(percent.round(), 0)
    } else {
        let tenths = format!("{percent:.1}");
        tenths
            .strip_suffix(".0")
            .map(str::to_owned)
            .unwrap_or(tenths)
    };
    format!("{text}{SPACE}%")
}

/// A tick of an axis: as [`value`], without needless zeros.
pub fn tick(unit: &Unit, v: f64) -> String {
    without_zeros(&value(unit, v))
}

/// A character a value, of eight heights from `low` to `high`; halfway where both are the same. What is
/// not finite is the lowest.
pub fn sparkline(values: &[f64], low: f64, high: f64) -> String {
    let height = |value: &f64| match high > low {
        true => ((value - low) / (high - low) * 7.0).round().clamp(0.0, 7.0) as usize,
        false => 3,
    };
    values.iter().map(|value| HEIGHTS[height(value)]).collect()
}

/// The text with ASCII in place of what an old terminal can't show: our own signs by what is written
/// for them there, the characters of names that we don't choose by question marks.
pub fn ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => plain.push(c),
            SPACE | '\u{a0}' => plain.push(' '),
            MINUS | '–' | '—' | '·' => plain.push('-'),
            'µ' | 'μ' => plain.push('u'),
            '₀' => plain.push('0'),
            'τ' => plain.push_str("tau"),
            '…' => plain.push_str(".."),
            '→' => plain.push_str("->"),
            '×' => plain.push('x'),
            '“' | '”' => plain.push('"'),
            '’' => plain.push('\''),
            c => plain.push(match HEIGHTS.iter().position(|height| *height == c) {
                Some(height) => ASCII_HEIGHTS[height],
                None => '?',
            }),
        }
    }
    plain
}

/// A number with its unit, without zeros at the end of its decimals.
fn without_zeros(text: &str) -> String {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',' && c != MINUS);
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number}{rest}")
}

fn with_digits(unit: &Unit, value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    // Rounding first: 999.9 µs is 1.00 ms and not 1000 µs.
    let v = rounded(value, digits);
    let size = v.abs();
    let scaled = |by: f64, name: &str| format!("{}{SPACE}{name}", number(v / by, digits));
    match unit {
        // Minutes and seconds have no further digits.
        Unit::Nanoseconds if size >= MINUTES_FROM_NS && digits == DIGITS => {
            signed(v, minutes(value.abs() / 1e9))
        }
        Unit::Nanoseconds if size >= 1e9 => scaled(1e9, "s"),
        Unit::Nanoseconds if size >= 1e6 => scaled(1e6, "ms"),
        Unit::Nanoseconds if size >= 1e3 => scaled(1e3, "µs"),
        Unit::Nanoseconds => scaled(1.0, "ns"),
        Unit::Bytes => bytes(value, digits, &BINARY, ""),
        Unit::BytesPerSecond => bytes(value, digits, &BINARY, "/s"),
        Unit::PerSecond => format!("{}/s", number(v, digits)),
        Unit::Ratio => percentage(value, digits),
        Unit::Count if value.fract() == 0.0 => signed(value, grouped_number(value.abs(), 0)),
        Unit::Count => number(v, digits),
        Unit::Cores => scaled(1.0, if size == 1.0 { "core" } else { "cores" }),
        Unit::Other(name) if name.is_empty() => number(v, digits),
        Unit::Other(name) => format!("{}{SPACE}{}", number(v, digits), text::shown(name, 24)),
    }
}

fn bytes(value: f64, digits: i32, (step, units): &Prefixes, per: &str) -> String {
    let mut scaled = value;
    let mut unit = 0;
    // 1023.6 KiB would be shown as 1024 KiB, so the rounded value decides.
    while rounded(scaled, digits).abs() >= 1000.0 && unit + 1 < units.len() {
        scaled /= step;
        unit += 1;
    }
    let text = match unit {
        0 => trimmed(scaled, digits),
        _ => number(rounded(scaled, digits), digits),
    };
    format!("{text}{SPACE}{}{per}", units[unit])
}

/// Close to the whole it is the missing part that matters: 99.95 % must not be told as 100 %.
fn percentage(fraction: f64, digits: i32) -> String {
    let percent = fraction * 100.0;
    let missing = 100.0 - percent;
    let text = if missing > 0.0 && missing < 1.0 {
        let decimals = decimals_for(missing, digits - 1).clamp(1, 6);
        let text = format!("{percent:.decimals$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        trimmed(percent, digits)
    };
    format!("{text}{SPACE}%")
}

fn minutes(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    let (h, m, s) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (h, s) {
        (0, 0) => format!("{m}{SPACE}min"),
        (0, _) => format!("{m}{SPACE}min {s:02}{SPACE}s"),
        (h, _) if m == 0 => format!("{}{SPACE}h", count(h)),
        (h, _) => format!("{}{SPACE}h {m:02}{SPACE}min", count(h)),
    }
}

/// A number with `digits` significant digits, grouped; zero is `0`.
fn number(v: f64, digits: i32) -> String {
    let decimals = decimals_for(v, digits);
    signed(v, grouped_number(v.abs(), decimals))
}

/// As [`number`], without zeros at the end of its decimals.
fn trimmed(v: f64, digits: i32) -> String {
    let text = number(rounded(v, digits), digits);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn grouped_number(v: f64, decimals: usize) -> String {
    let text = format!("{v:.decimals$}");
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    // A number beyond u64 is shown as it stands: it has no reader.
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    match fraction {
        Some(fraction) => format!("{whole}.{fraction}"),
        None => whole,
    }
}

fn signed(v: f64, text: String) -> String {
    if v < 0.0 {
        format!("{MINUS}{text}")
    } else {
        text
    }
}

fn rounded(v: f64, digits: i32) -> f64 {
    if v == 0.0 || !v.is_finite() {
        return v;
    }
    // By way of text: the nearest decimal, not a product with rounding errors of its own.
    format!("{v:.*e}", (digits - 1).max(0) as usize)
        .parse()
        .unwrap_or(v)
}

fn decimals_for(v: f64, digits: i32) -> usize {
    if v == 0.0 {
        return 0;
    }
    let magnitude = v.abs().log10().floor() as i32;
    (digits - 1 - magnitude).clamp(0, 12) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` with plain spaces and hyphens, as a test is easier to read that way.
    fn check(actual: String, expected: &str) {
        assert_eq!(actual.replace(SPACE, " ").replace(MINUS, "-"), expected);
    }

    #[test]
    fn durations() {
        let ns = |v| value(&Unit::Nanoseconds, v);
        check(ns(0.0), "0 ns");
        check(ns(1.0), "1.00 ns");
        check(ns(850.0), "850 ns");
        check(ns(1_234.0), "1.23 µs");
        check(ns(999_600.0), "1.00 ms");
        check(ns(12_345_678.0), "12.3 ms");
        check(ns(450e6), "450 ms");
        check(ns(1.5e9), "1.50 s");
        check(ns(125e9), "2 min 05 s");
        check(ns(3600e9), "1 h");
        check(ns(5_400e9), "1 h 30 min");
        check(ns(-2e6), "-2.00 ms");
        check(ns(f64::NAN), "–");
    }

    #[test]
    fn sizes_rates_and_ratios() {
        check(value(&Unit::Bytes, 0.0), "0 B");
        check(value(&Unit::Bytes, 512.0), "512 B");
        check(value(&Unit::Bytes, 1_048_576.0), "1.00 MiB");
        check(value(&Unit::Bytes, 1023.0 * 1024.0), "0.999 MiB");
        check(value(&Unit::BytesPerSecond, 2048.0), "2.00 KiB/s");
        check(value(&Unit::PerSecond, 499.96), "500/s");
        check(value(&Unit::PerSecond, 12_345.6), "12,300/s");
        check(value(&Unit::Ratio, 0.75), "75 %");
        check(value(&Unit::Ratio, 0.876), "87.6 %");
        check(value(&Unit::Ratio, 0.9995), "99.95 %");
        check(value(&Unit::Ratio, 0.999_999), "99.9999 %");
        check(value(&Unit::Ratio, 1.0), "100 %");
        check(value(&Unit::Ratio, 0.0), "0 %");
        check(value(&Unit::Ratio, 0.000_123), "0.0123 %");
        check(value(&Unit::Count, 18_000.0), "18,000");
        check(value(&Unit::Count, 2.5), "2.50");
        check(value(&Unit::Cores, 1.254), "1.25 cores");
        check(
            value(&Unit::Other("widgets\x1b[2J".into()), 3.0),
            "3.00 widgets",
        );
    }

    #[test]
    fn a_value_just_beyond_its_limit_looks_so() {
        let told = |unit: &Unit, measured, max, expected: (&str, &str)| {
            check(value_against(unit, measured, &[max]), expected.0);
            check(limit(unit, max), expected.1);
        };
        let ns = Unit::Nanoseconds;
        told(&ns, 200_040_000.0, 200e6, ("200.04 ms", "200 ms"));
        told(&ns, 250e6, 200e6, ("250 ms", "200 ms"));
        told(&ns, 200e6, 200e6, ("200 ms", "200 ms"));
        told(&ns, 1.238e9, 1.236e9, ("1.238 s", "1.236 s"));
        told(&ns, 150.3e9, 150e9, ("150.3 s", "150 s"));
        told(
            &Unit::PerSecond,
            12_320.0,
            12_345.0,
            ("12,320/s", "12,345/s"),
        );
        // What holds must not look broken beside a limit that is told whole.
        told(
            &Unit::PerSecond,
            12_345.0,
            12_345.0,
            ("12,345/s", "12,345/s"),
        );
        told(
            &Unit::PerSecond,
            12_350.5,
            12_351.0,
            ("12,350/s", "12,351/s"),
        );
        told(&Unit::Ratio, 0.0, 0.01, ("0 %", "1 %"));
        let mib = 1024.0 * 1024.0;
        told(&Unit::Bytes, 120.0 * mib, 180e6, ("120 MiB", "180 MB"));
        told(&Unit::Bytes, 180e6, 180e6, ("180 MB", "180 MB"));
        told(&Unit::Bytes, 1e6, 1e9, ("977 KiB", "1 GB"));
        told(&Unit::Bytes, 1e6, 64.0 * mib, ("977 KiB", "64 MiB"));
        told(&Unit::Bytes, 7.0, 200.0, ("7 B", "200 B"));
        told(
            &Unit::BytesPerSecond,
            mib,
            1.5e6,
            ("1.00 MiB/s", "1.5 MB/s"),
        );
    }

    #[test]
    fn ranges_share_their_unit() {
        check(range(&Unit::Nanoseconds, 53.6e6, 58.9e6), "53.6 … 58.9 ms");
        check(range(&Unit::Nanoseconds, 900e3, 1.2e6), "900 µs … 1.20 ms");
        check(range(&Unit::Ratio, 0.8, 0.9), "80 … 90 %");
        check(range(&Unit::PerSecond, 10.0, 11.0), "10.0/s … 11.0/s");
        check(
            range(&Unit::Nanoseconds, 61e9, 125e9),
            "61.0 s … 2 min 05 s",
        );
    }

    #[test]
    fn effects() {
        check(effect(0.042), "+4.2 %");
        check(effect(-0.013), "-1.3 %");
        check(effect(0.000_1), "0 %");
        check(effect(-0.000_1), "0 %");
        check(effect(0.123_4), "+12.3 %");
        check(effect(12.0), "+1,200 %");
        check(effect(f64::INFINITY), "–");
        check(interval(0.011, 0.074), "+1.1 … +7.4 %");
        check(points(0.003_5), "+0.35 pp");
        check(points(-0.000_25), "-0.03 pp");
        check(points(-0.000_01), "0 pp");
        check(points(0.02), "+2 pp");
        check(points(1.0), "+100 pp");
        check(points(f64::NAN), "–");
        check(points_interval(-0.001, 0.003_5), "-0.1 … +0.35 pp");
        check(margin(0.05), "5 %");
        check(margin(0.024_4), "2.4 %");
    }

    #[test]
    fn axes_and_counts() {
        check(tick(&Unit::Nanoseconds, 5e6), "5 ms");
        check(tick(&Unit::Nanoseconds, 2.5e6), "2.5 ms");
        check(tick(&Unit::Bytes, 100.0 * 1024.0 * 1024.0), "100 MiB");
        check(tick(&Unit::PerSecond, 500.0), "500/s");
        check(clock_ns(0), "0");
        check(clock_ns(30_000_000_000), "30 s");
        check(clock_ns(-1_500_000_000), "-1.5 s");
        check(clock_ns(300_000_000_000), "5 min");
        check(count(1_234_567), "1,234,567");
        check(count(999), "999");
        check(share(1, 3), "33.3 %");
        check(share(0, 0), "–");
        check(counted(1, "run"), "1 run");
        check(counted(5, "run"), "5 runs");
    }

    #[test]
    fn sparklines() {
        check(sparkline(&[10.0, 15.0, 20.0], 10.0, 20.0), "▁▅█");
        check(sparkline(&[0.0, 50.0, 100.0, 900.0], 0.0, 100.0), "▁▅██");
        check(sparkline(&[7.0, 7.0], 7.0, 7.0), "▄▄");
        check(sparkline(&[f64::NAN, 1.0], 0.0, 1.0), "▁█");
        check(sparkline(&[], 0.0, 1.0), "");
        assert_eq!(ascii(&sparkline(&[0.0, 0.5, 1.0], 0.0, 1.0)), "_=#");
    }

    #[test]
    fn ascii_only() {
        assert_eq!(ascii(&effect(-0.013)), "-1.3 %");
        assert_eq!(ascii(&value(&Unit::Nanoseconds, 1_234.0)), "1.23 us");
        assert_eq!(ascii("s₀, τ → 5 × “a”…"), "s0, tau -> 5 x \"a\"..");
        assert_eq!(ascii("café 🚀\u{301}"), "caf? ??");
    }
}
