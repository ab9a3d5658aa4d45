//! What the live view says of a run, in a line of the terminal and in a line of a log.

use std::time::Duration;

use crate::harness::engine::{GeneratorState, GeneratorTick, LoadTick, Tick};
use crate::harness::model::{ProcessSample, Unit};
use crate::harness::report::terminal::{Line, Tone};
use crate::harness::report::{format, text, words};

use super::agenda::Left;

/// Names of loads are cut to this.
const NAME_CHARS: usize = 24;
/// A rate below this share of what is asked for stands out.
const SLOW: f64 = 0.9;
/// But not where so many standard deviations of arrivals at random reach as far: in a single second that is chance.
const CHANCE: f64 = 3.0;
/// The columns of the bar of progress.
const BAR: usize = 26;
/// The fewest columns of a name.
const LEAST_NAME: usize = 8;
/// The fewest columns of what is being done.
const LEAST_DOING: usize = 16;
/// The fewest values of a curve.
const LEAST_CURVE: usize = 6;

/// What is going on: the run of which scenario, and which of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Heading {
    /// The scenario's id, or what else has a name.
    pub(super) scenario: String,
    /// `run 2/5`, `pair 3/5, head`; empty where there is one run.
    pub(super) part: String,
    /// Whether the load is not all of the run.
    pub(super) benches_follow: bool,
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

    /// While something goes on of which nobody knows how long it takes. What is left of the call is `in_all`.
    pub(super) fn step(&self, what: &str, in_all: Option<Left>) -> Line {
        let line = match (self.scenario.is_empty(), what.is_empty()) {
            (true, _) => Line::new("").name(0, what, LEAST_NAME),
            (false, true) => self.line(),
            (false, false) => self.line().name(2, what, LEAST_NAME),
        };
        match in_all {
            Some(in_all) => line.toned(3, Tone::Dim, format!("{} left in all", told(in_all))),
            None => line,
        }
    }

    /// While something goes on of which that share is done.
    pub(super) fn on_the_way(
        &self,
        what: &str,
        share: f64,
        left: Duration,
        in_all: Option<Left>,
    ) -> Line {
        let line = self
            .line()
            .name(3, what, LEAST_DOING)
            .bar(4, share, BAR)
            .text(1, format!("{} left", whole(left)));
        match in_all {
            Some(in_all) => line.toned(2, Tone::Dim, format!("{} in all", told(in_all))),
            None => line,
        }
    }

    /// While a load goes on.
    pub(super) fn load(&self, tick: &Tick, in_all: Option<Left>) -> Line {
        let share = tick.at_ns as f64 / tick.of_ns.max(1) as f64;
        let phase = words::phase(tick.phase);
        let line = self.on_the_way(phase, share, load_left(tick), in_all);
        match self.benches_follow {
            true => line.toned(5, Tone::Dim, "then benches"),
            false => line,
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

/// `at least 1 min 40 s`.
fn told(left: Left) -> String {
    let least = if left.is_least { "at least " } else { "" };
    format!("{least}{}", whole(left.time))
}

/// A load in a line, with the rates of the last seconds. Its name takes at least `name_width` columns, so that
/// the numbers of several loads stand below each other.
pub(super) fn load_line(load: &LoadTick, rates: &[f64], name_width: usize) -> Line {
    let name = format!("{:name_width$}", text::shown(&load.load, NAME_CHARS));
    let mut line = Line::new("  ").name(0, name, LEAST_NAME);
    for (rank, tone, fact) in facts(load) {
        line = line.toned(rank, tone, fact);
    }
    line.toned(7, Tone::Dim, format!("{} in flight", load.in_flight))
        .curve(6, rates, LEAST_CURVE)
}

/// What there is to say of a second of a load, each with its rank in a line and what it means.
fn facts(load: &LoadTick) -> Vec<(u8, Tone, String)> {
    let slow = if is_slow(load) {
        Tone::Caution
    } else {
        Tone::Plain
    };
    let mut facts = vec![(1, slow, rate(load))];
    for (rank, name, quantile) in [(5, "p50", 0.5), (2, "p95", 0.95), (3, "p99", 0.99)] {
        let ns = load.response.quantile_ns(quantile);
        let latency = format::or_dash(ns, format::duration_ns);
        facts.push((rank, Tone::Plain, format!("{name} {latency}")));
    }
    if load.failed_rate > 0.0 {
        facts.push((1, Tone::Bad, errors(load)));
    }
    for (rank, count, what) in [(4, load.failed, "failed"), (2, load.dropped, "dropped")] {
        if count > 0 {
            facts.push((rank, Tone::Bad, format!("{} {what}", format::count(count))));
        }
    }
    facts
}

/// Whether a load has fallen behind what is asked of it.
fn is_slow(load: &LoadTick) -> bool {
    load.target_rate.is_some_and(|target| {
        let missing = target - load.iteration_rate;
        load.iteration_rate < SLOW * target && missing > CHANCE * target.sqrt()
    })
}

/// The columns that the names of all loads take.
pub(super) fn name_width(loads: &[LoadTick]) -> usize {
    let widths = loads.iter().map(|load| load.load.chars().count());
    widths.max().unwrap_or(0).min(NAME_CHARS)
}

/// What is asked for are iterations, of which each can have several requests.
fn rate(load: &LoadTick) -> String {
    match load.target_rate {
        Some(target) => {
            let achieved = per_second(load.iteration_rate);
            format!(
                "{} of {}",
                achieved.trim_end_matches("/s"),
                per_second(target)
            )
        }
        None => per_second(load.rate),
    }
}

/// A rate without the digits that change each second: `1,204/s`, `0.5/s`.
fn per_second(rate: f64) -> String {
    match rate {
        rate if rate >= 10.0 => format!("{}/s", format::count(rate.round() as u64)),
        rate => format::tick(&Unit::PerSecond, (rate * 100.0).round() / 100.0),
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
fn generator_word(generator: &GeneratorTick) -> String {
    match generator.state {
        GeneratorState::Ok => "generator ok".to_owned(),
        GeneratorState::Late { lateness_ns_p99 } => {
            format!("generator late {}", format::duration_ns(lateness_ns_p99))
        }
        GeneratorState::AtItsCores => "generator at its cores".to_owned(),
    }
}

/// What the processes use of the machine, in a line; `None` without any.
pub(super) fn processes_line(processes: &[(String, ProcessSample)]) -> Option<Line> {
    let mut line = Line::new("  ");
    for (rank, (name, sample)) in (0..=u8::MAX).zip(processes) {
        let cores = format::tick(&Unit::Cores, (sample.cpu_cores * 100.0).round() / 100.0);
        let memory = format::value(&Unit::Bytes, sample.rss_bytes as f64);
        line = line.toned(rank, Tone::Dim, format!("{name} {cores}, {memory}"));
    }
    (!processes.is_empty()).then_some(line)
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
    let in_all = left.map_or_else(String::new, |left| format!(", {} left in all", told(left)));
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
    let facts: Vec<String> = facts(load).into_iter().map(|(.., fact)| fact).collect();
    format!(
        "{}: {}",
        text::shown(&load.load, NAME_CHARS),
        facts.join(", ")
    )
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

    fn process(name: &str, cpu_cores: f64, rss_mib: u64) -> (String, ProcessSample) {
        let sample = ProcessSample {
            at_ns: 12 * S as i64,
            cpu_cores,
            rss_bytes: rss_mib << 20,
            threads: 4,
            fds: 20,
        };
        (name.to_owned(), sample)
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
            processes: vec![process("service", 1.254, 129), process("redis", 0.031, 12)],
        }
    }

    fn heading(part: &str) -> Heading {
        Heading {
            scenario: "mixed-workload@servers".to_owned(),
            part: part.to_owned(),
            benches_follow: false,
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
        lines.extend(processes_line(&tick.processes));
        let late = GeneratorTick {
            state: GeneratorState::Late {
                lateness_ns_p99: 12 * MS,
            },
            cpu_share: 0.5,
        };
        lines.push(generator_line(&late));
        lines.push(heading("pair 3/5, head").step("starting service", left(600, true)));
        let then_benches = Heading {
            benches_follow: true,
            ..heading("")
        };
        lines.push(then_benches.load(&tick, None));
        let bench = "bench cache 3/5";
        lines.push(heading("run 2/5").on_the_way(
            bench,
            0.4,
            Duration::from_secs(42),
            left(142, false),
        ));
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
        let check = |iteration_rate: f64, target: f64, expected: &str| {
            let load = LoadTick {
                iteration_rate,
                target_rate: Some(target),
                ..load("a")
            };
            assert_eq!(rate(&load), expected);
        };
        check(0.998, 0.5, "1 of 0.5/s");
        check(0.0, 1.0 / 60.0, "0 of 0.02/s");
        check(12_340.6, 12_345.0, "12,341 of 12,345/s");
    }

    #[test]
    fn what_chance_does_in_a_second_does_not_stand_out() {
        let check = |iteration_rate: f64, target: f64, expected: bool| {
            let load = LoadTick {
                iteration_rate,
                target_rate: Some(target),
                ..load("a")
            };
            assert_eq!(is_slow(&load), expected, "{iteration_rate} of {target}");
        };
        check(0.0, 0.5, false);
        check(8.0, 20.0, false);
        check(5.0, 20.0, true);
        check(71.0, 100.0, false);
        check(69.0, 100.0, true);
        check(9_500.0, 10_000.0, false);
        check(8_900.0, 10_000.0, true);
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
