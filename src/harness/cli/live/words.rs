//! What the live view says of a run, in a line of the terminal and in a line of a log.

use std::time::Duration;

use crate::harness::engine::{GeneratorState, GeneratorTick, LoadTick, Tick};
use crate::harness::report::terminal::{Line, Tone};
use crate::harness::report::{format, text, words};

use super::agenda::Left;

/// Names of loads are cut to this.
const NAME_CHARS: usize = 24;
/// A rate below this share of what is asked for stands out. In a single second less is chance.
const SLOW: f64 = 0.9;
/// The columns of the bar of progress.
const BAR: usize = 26;
/// The fewest columns of a name.
const LEAST_NAME: usize = 8;
/// The fewest values of a curve.
const LEAST_CURVE: usize = 6;

/// What is going on: the run of which scenario, and which of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Heading {
    /// The scenario's id, or what else has a name.
    pub(super) scenario: String,
    /// `run 2/5`, `pair 3/5, head`; empty where there is one run.
    pub(super) part: String,
}

impl Heading {
    /// In a sentence.
    pub(super) fn plain(&self) -> String {
        let whole = format!("{} {}", self.scenario, self.part);
        text::one_line(whole.trim())
    }

    fn line(&self) -> Line {
        let line = Line::new("").name(0, &self.scenario, LEAST_NAME);
        match self.part.is_empty() {
            true => line,
            false => line.text(1, &self.part),
        }
    }

    /// While something else goes on than a load.
    pub(super) fn step(&self, what: &str, left: Option<Left>) -> Line {
        let line = match (self.scenario.is_empty(), what.is_empty()) {
            (true, _) => Line::new("").name(0, what, LEAST_NAME),
            (false, true) => self.line(),
            (false, false) => self.line().name(2, what, LEAST_NAME),
        };
        match left {
            Some(left) => line.toned(3, Tone::Dim, in_all(left)),
            None => line,
        }
    }

    /// While a load goes on.
    pub(super) fn load(&self, tick: &Tick, left: Option<Left>) -> Line {
        let line = self
            .line()
            .text(3, words::phase(tick.phase))
            .bar(4, tick.at_ns as f64 / tick.of_ns.max(1) as f64, BAR)
            .text(1, format!("{} left", whole(load_left(tick))));
        match left {
            Some(left) => line.toned(2, Tone::Dim, in_all(left).replace(" left in ", " in ")),
            None => line,
        }
    }
}

/// How long the load goes on.
pub(super) fn load_left(tick: &Tick) -> Duration {
    Duration::from_nanos(tick.of_ns.saturating_sub(tick.at_ns))
}

/// A duration in whole seconds, rounded up: what is left is never told too short.
pub(in crate::harness::cli) fn whole(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let ns = seconds.saturating_mul(1_000_000_000);
    match seconds {
        0 => "0 s".to_owned(),
        _ => format::clock_ns(i64::try_from(ns).unwrap_or(i64::MAX)),
    }
}

/// `1 min 40 s left in all`.
pub(super) fn in_all(left: Left) -> String {
    let least = if left.is_least { "at least " } else { "" };
    format!("{least}{} left in all", whole(left.time))
}

/// A load in a line, with the rates of the last seconds. Its name takes at least `name_width` columns, so that
/// the numbers of several loads stand below each other.
pub(super) fn load_line(load: &LoadTick, rates: &[f64], name_width: usize) -> Line {
    let name = format!("{:name_width$}", text::shown(&load.load, NAME_CHARS));
    let slow = match load.target_rate {
        Some(target) if load.iteration_rate < SLOW * target => Tone::Caution,
        _ => Tone::Plain,
    };
    let latency = |quantile| {
        let ns = load.response.quantile_ns(quantile);
        format::or_dash(ns, format::duration_ns)
    };
    let mut line = Line::new("  ")
        .name(0, name, LEAST_NAME)
        .toned(1, slow, rate(load))
        .text(5, format!("p50 {}", latency(0.5)))
        .text(2, format!("p95 {}", latency(0.95)))
        .text(3, format!("p99 {}", latency(0.99)));
    if load.failed_rate > 0.0 {
        line = line.toned(1, Tone::Bad, errors(load));
    }
    if load.failed > 0 {
        line = line.toned(
            4,
            Tone::Bad,
            format!("{} failed", format::count(load.failed)),
        );
    }
    if load.dropped > 0 {
        let dropped = format!("{} dropped", format::count(load.dropped));
        line = line.toned(2, Tone::Bad, dropped);
    }
    line.toned(7, Tone::Dim, format!("{} in flight", load.in_flight))
        .curve(6, rates, LEAST_CURVE)
}

/// The columns that the names of all loads take.
pub(super) fn name_width(loads: &[LoadTick]) -> usize {
    let widths = loads.iter().map(|load| load.load.chars().count());
    widths.max().unwrap_or(0).min(NAME_CHARS)
}

/// What is asked for are iterations, of which each can have several requests.
fn rate(load: &LoadTick) -> String {
    match load.target_rate {
        Some(target) => format!("{:.0} of {target:.0}/s", load.iteration_rate),
        None => format!("{:.0}/s", load.rate),
    }
}

/// The failed share of the requests that ended in the last second. What fails need not be a request.
fn errors(load: &LoadTick) -> String {
    let share = load.failed_rate / load.rate.max(load.failed_rate);
    format!("errors {}", format::margin(share))
}

/// How the generator fares, in a line.
pub(super) fn generator_line(generator: &GeneratorTick) -> Line {
    let tone = match generator.state {
        GeneratorState::Ok => Tone::Dim,
        GeneratorState::Late { .. } | GeneratorState::AtItsCores => Tone::Bad,
    };
    let line = Line::new("  ").toned(0, tone, generator_word(generator));
    let used = format!("{} of a core", format::margin(generator.cpu_share));
    match generator.state {
        GeneratorState::Ok => line.toned(1, Tone::Dim, used),
        _ => line
            .text(1, used)
            .text(2, "if it stays so, the run is invalid"),
    }
}

/// How the generator fares, in a word.
pub(super) fn generator_word(generator: &GeneratorTick) -> String {
    match generator.state {
        GeneratorState::Ok => "generator ok".to_owned(),
        GeneratorState::Late { lateness_ns_p99 } => {
            format!("generator late {}", format::duration_ns(lateness_ns_p99))
        }
        GeneratorState::AtItsCores => "generator at its cores".to_owned(),
    }
}

/// A second of the load as a line of a log.
pub(super) fn plain(
    heading: &Heading,
    tick: &Tick,
    left: Option<Left>,
    standing: Option<String>,
) -> String {
    let at = whole(Duration::from_nanos(tick.at_ns));
    let of = whole(Duration::from_nanos(tick.of_ns));
    let in_all = left.map_or_else(String::new, |left| format!(", {}", in_all(left)));
    let loads = tick.loads.iter().map(plain_load);
    let parts: Vec<String> = loads
        .chain([generator_word(&tick.generator)])
        .chain(standing)
        .collect();
    let text = format!(
        "{}: {} {at} of {of}{in_all} | {}",
        heading.plain(),
        words::phase(tick.phase),
        parts.join(" | ")
    );
    text::one_line(&text)
}

fn plain_load(load: &LoadTick) -> String {
    let latency = |quantile| {
        let ns = load.response.quantile_ns(quantile);
        format::or_dash(ns, format::duration_ns)
    };
    let mut text = format!(
        "{}: {}, p50 {}, p95 {}, p99 {}",
        text::shown(&load.load, NAME_CHARS),
        rate(load),
        latency(0.5),
        latency(0.95),
        latency(0.99),
    );
    if load.failed_rate > 0.0 {
        text.push_str(&format!(", {}", errors(load)));
    }
    for (count, what) in [(load.failed, "failed"), (load.dropped, "dropped")] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", format::count(count)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::model::{LatencyHistogram, Phase};
    use crate::harness::report::terminal::TerminalStyle;

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;

    /// Journeys of three requests, most of which take 2 ms and some 40.
    fn load(name: &str) -> LoadTick {
        let mut response = LatencyHistogram::new();
        (0..97).for_each(|_| response.record(2 * MS));
        (0..3).for_each(|_| response.record(40 * MS));
        LoadTick {
            load: name.to_owned(),
            rate: 300.0,
            iteration_rate: 98.0,
            target_rate: Some(100.0),
            response,
            failed_rate: 0.0,
            failed: 0,
            dropped: 0,
            in_flight: 12,
            lateness_ns_p99: Some(MS),
            cpu_cores: 0.12,
            cpu_share: 0.12,
        }
    }

    fn failing() -> LoadTick {
        LoadTick {
            iteration_rate: 50.0,
            failed_rate: 6.0,
            failed: 1234,
            dropped: 7,
            ..load("writes")
        }
    }

    fn tick() -> Tick {
        Tick {
            at_ns: 12 * S,
            of_ns: 30 * S,
            phase: Phase::Measure,
            generator: GeneratorTick {
                state: GeneratorState::Ok,
                cpu_share: 0.12,
            },
            loads: vec![load("reads"), failing()],
            processes: Vec::new(),
        }
    }

    fn heading(part: &str) -> Heading {
        Heading {
            scenario: "mixed-workload@servers".to_owned(),
            part: part.to_owned(),
        }
    }

    fn left(seconds: u64, is_least: bool) -> Option<Left> {
        Some(Left {
            time: Duration::from_secs(seconds),
            is_least,
        })
    }

    /// The view of the second, with so many columns.
    fn view(width: usize, ascii: bool) -> String {
        let style = TerminalStyle {
            colour: false,
            width,
            ascii,
        };
        let tick = tick();
        let rates: Vec<f64> = (1..=20).map(f64::from).collect();
        let columns = name_width(&tick.loads);
        let mut lines = vec![heading("run 2/5").load(&tick, left(100, false))];
        lines.extend(
            tick.loads
                .iter()
                .map(|load| load_line(load, &rates, columns)),
        );
        lines.push(generator_line(&tick.generator));
        let late = GeneratorTick {
            state: GeneratorState::Late {
                lateness_ns_p99: 12 * MS,
            },
            cpu_share: 0.5,
        };
        lines.push(generator_line(&late));
        lines.push(heading("pair 3/5, head").step("starting service", left(600, true)));
        let lines: Vec<String> = lines.iter().map(|line| line.render(style)).collect();
        for line in &lines {
            assert!(textwrap::core::display_width(line) <= width, "{line:?}");
        }
        lines.join("\n")
    }

    #[test]
    fn the_view_fits_its_terminal() {
        for width in 20..140 {
            view(width, false);
            assert!(view(width, true).is_ascii());
        }
        insta::assert_snapshot!("view_120", view(120, false));
        insta::assert_snapshot!("view_80", view(80, false));
        insta::assert_snapshot!("view_40", view(40, false));
        insta::assert_snapshot!("view_ascii", view(100, true));
    }

    #[test]
    fn a_line_of_a_log_has_the_same_facts() {
        let check = |heading: &Heading, left, standing: Option<&str>, expected: &str| {
            let line = plain(heading, &tick(), left, standing.map(str::to_owned));
            assert_eq!(line.replace('\u{202f}', " "), expected);
        };
        let loads = "reads: 98 of 100/s, p50 2.00 ms, p95 2.00 ms, p99 40.0 ms | writes: 50 of 100/s, p50 2.00 ms, \
                     p95 2.00 ms, p99 40.0 ms, errors 2 %, 1,234 failed, 7 dropped | generator ok";
        check(
            &heading(""),
            None,
            None,
            &format!("mixed-workload@servers: measure 12 s of 30 s | {loads}"),
        );
        check(
            &heading("pair 3/5, head"),
            left(300, true),
            Some("2 open, budget 9 min left"),
            &format!(
                "mixed-workload@servers pair 3/5, head: measure 12 s of 30 s, at least 5 min left in all | {loads} \
                 | 2 open, budget 9 min left"
            ),
        );
    }

    #[test]
    fn a_load_is_held_against_what_is_asked_of_it() {
        assert_eq!(rate(&load("a")), "98 of 100/s");
        let closed = LoadTick {
            target_rate: None,
            ..load("a")
        };
        assert_eq!(rate(&closed), "300/s");
    }

    #[test]
    fn a_failure_need_not_be_a_request() {
        let check = |rate: f64, failed_rate: f64, expected: &str| {
            let load = LoadTick {
                rate,
                failed_rate,
                ..load("a")
            };
            assert_eq!(errors(&load).replace('\u{202f}', " "), expected);
        };
        check(300.0, 6.0, "errors 2 %");
        check(0.0, 6.0, "errors 100 %");
        check(5.0, 6.0, "errors 100 %");
    }

    #[test]
    fn what_is_left_is_never_told_too_short() {
        let check = |ms: u64, expected: &str| {
            let told = whole(Duration::from_millis(ms));
            assert_eq!(told.replace('\u{202f}', " "), expected);
        };
        check(0, "0 s");
        check(1, "1 s");
        check(59_001, "60 s");
        check(299_500, "5 min");
        check(549_200, "9 min 10 s");
    }
}
