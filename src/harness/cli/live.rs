//! What a person sees while it works: a live view on a terminal, a line now and then elsewhere.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::harness::engine::{LoadTick, Progress, Tick};
use crate::harness::report::{format, text, words};

use super::output::Output;

/// Without a terminal, a line this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The view of one session. Shared with the engine, which reports from several tasks.
pub(super) struct Live {
    output: Output,
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The line of what is going on; the load's progress while one runs.
    main: Option<ProgressBar>,
    /// One line a load.
    loads: Vec<ProgressBar>,
    /// The rates of the last seconds of each load, for its sparkline.
    rates: Vec<Vec<f64>>,
    last_line: Option<Instant>,
    /// `run 2/5`, in front of everything that belongs to a run.
    run: String,
}

/// Seconds that a sparkline shows.
const SPARK_SECONDS: usize = 20;

impl Live {
    /// A view that shows nothing yet.
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            bars: MultiProgress::new(),
            state: Mutex::default(),
        }
    }

    /// Says that a run begins; `name` stands in front of everything that belongs to it.
    pub(super) fn begin(&self, name: String) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        state.run.clone_from(&name);
        state.rates.clear();
        self.step(&mut state, name);
    }

    /// Takes everything off the terminal.
    pub(super) fn finish(&self) {
        if let Ok(mut state) = self.state.lock() {
            for bar in state.loads.drain(..) {
                bar.finish_and_clear();
            }
            if let Some(bar) = state.main.take() {
                bar.finish_and_clear();
            }
        }
    }

    /// A step forward of the engine.
    pub(super) fn observe(&self, progress: Progress) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let run = state.run.clone();
        match progress {
            Progress::Building { what, command } => {
                self.step(&mut state, format!("building {what}: {command}"));
            }
            Progress::Starting { process } => {
                self.step(&mut state, format!("{run}: starting {process}"))
            }
            Progress::Ready { process, after_ns } => self.step(
                &mut state,
                format!(
                    "{run}: {process} is ready after {}",
                    format::duration_ns(after_ns)
                ),
            ),
            Progress::Phase { phase, length_ns } => {
                if !self.output.live {
                    self.output.say(&format!(
                        "{run}: {} for {}",
                        words::phase(phase),
                        format::duration_ns(length_ns)
                    ));
                }
            }
            Progress::Tick(tick) => self.tick(&mut state, &tick),
            Progress::Bench {
                target,
                invocation,
                of,
            } => {
                self.step(
                    &mut state,
                    format!("{run}: bench {target}, invocation {invocation}/{of}"),
                );
            }
            Progress::Fault { what } => self.line(&format!("{run}: fault: {what}")),
            Progress::Stopping => {
                for bar in state.loads.drain(..) {
                    bar.finish_and_clear();
                }
                self.step(&mut state, format!("{run}: stopping processes"));
            }
            Progress::Note(text) => self.line(&text),
            Progress::Warning(text) => self.warn(&text),
        }
    }

    /// Shows what is going on now.
    fn step(&self, state: &mut State, text: String) {
        if self.output.quiet {
            return;
        }
        let text = text::one_line(&text);
        if !self.output.live {
            self.output.say(&text);
            return;
        }
        let bar = self.main_bar(state);
        bar.set_style(spinner_style());
        bar.set_message(text);
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        if !self.output.quiet {
            self.warn(text);
        }
    }

    /// One that must be known.
    fn warn(&self, text: &str) {
        let text = text::one_line(text);
        if self.output.live {
            // A terminal that went away is nobody's loss.
            let _ = self.bars.println(text);
        } else {
            self.output.warn(&text);
        }
    }

    fn tick(&self, state: &mut State, tick: &Tick) {
        if self.output.quiet {
            return;
        }
        if !self.output.live {
            if state
                .last_line
                .is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL)
            {
                state.last_line = Some(Instant::now());
                let left = tick.of_ns.saturating_sub(tick.at_ns);
                let loads: Vec<_> = tick.loads.iter().map(load_text).collect();
                self.output.say(&format!(
                    "{}: {} {}/{}, {} left | {}",
                    state.run,
                    words::phase(tick.phase),
                    format::duration_ns(tick.at_ns),
                    format::duration_ns(tick.of_ns),
                    format::duration_ns(left),
                    loads.join(" | ")
                ));
            }
            return;
        }
        let bar = self.main_bar(state);
        bar.set_style(bar_style());
        bar.set_length(tick.of_ns / 1_000_000);
        bar.set_position(tick.at_ns / 1_000_000);
        let left = tick.of_ns.saturating_sub(tick.at_ns) / 1_000_000_000;
        bar.set_message(format!("{left} s left"));
        bar.set_prefix(format!("{} {}", state.run, words::phase(tick.phase)));
        for (at, load) in tick.loads.iter().enumerate() {
            if state.loads.len() <= at {
                let line = self.bars.add(ProgressBar::no_length());
                line.set_style(line_style());
                state.loads.push(line);
                state.rates.push(Vec::new());
            }
            let Some(rates) = state.rates.get_mut(at) else {
                continue;
            };
            rates.push(load.rate);
            let surplus = rates.len().saturating_sub(SPARK_SECONDS);
            rates.drain(..surplus);
            state.loads[at].set_message(format!("{} {}", load_text(load), sparkline(rates)));
        }
    }

    fn main_bar(&self, state: &mut State) -> ProgressBar {
        state
            .main
            .get_or_insert_with(|| {
                let bar = self.bars.add(ProgressBar::new_spinner());
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            })
            .clone()
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").expect("BUG: a constant template")
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} [{bar:24}] {wide_msg}")
        .expect("BUG: a constant template")
        .progress_chars("=> ")
}

fn line_style() -> ProgressStyle {
    ProgressStyle::with_template("  {wide_msg}").expect("BUG: a constant template")
}

fn load_text(load: &LoadTick) -> String {
    let latency =
        |quantile| format::or_dash(load.response.quantile_ns(quantile), format::duration_ns);
    // What is asked for are iterations, of which each can have several requests.
    let rate = match load.target_rate {
        Some(target) => format!("{:.0} of {target:.0}", load.iteration_rate),
        None => format!("{:.0}", load.rate),
    };
    let mut text = format!(
        "{}: {rate}/s, p50 {}, p95 {}, p99 {}, {} in flight",
        load.load,
        latency(0.5),
        latency(0.95),
        latency(0.99),
        load.in_flight,
    );
    for (count, what) in [(load.failed, "failed"), (load.dropped, "dropped")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text::one_line(&text)
}

/// Eight heights a value, scaled to the largest.
fn sparkline(values: &[f64]) -> String {
    let largest = values.iter().copied().fold(0.0, f64::max);
    match largest > 0.0 {
        true => format::sparkline(values, 0.0, largest),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::model::LatencyHistogram;

    #[test]
    fn a_load_is_held_against_what_is_asked_of_it() {
        let check = |target_rate: Option<f64>, expected: &str| {
            // Journeys of three requests.
            let text = load_text(&LoadTick {
                load: "a".to_owned(),
                rate: 300.0,
                iteration_rate: 100.0,
                target_rate,
                response: LatencyHistogram::new(),
                failed: 0,
                dropped: 2,
                in_flight: 1,
            });
            let rest = "p50 –, p95 –, p99 –, 1 in flight, 2 dropped";
            assert_eq!(text, format!("a: {expected}/s, {rest}"));
        };
        check(Some(100.0), "100 of 100");
        check(None, "300");
    }

    #[test]
    fn a_sparkline_scales_to_its_largest() {
        assert_eq!(sparkline(&[0.0, 50.0, 100.0]), "▁▅█");
        assert_eq!(sparkline(&[0.0, 0.0]), "");
        assert_eq!(sparkline(&[]), "");
    }
}
