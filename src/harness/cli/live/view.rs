//! The view: a few lines that change on a terminal, a line now and then elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::harness::cli::output::Output;
use crate::harness::engine::{Progress, Tick};
use crate::harness::report::terminal::Line;
use crate::harness::report::{format, text, words};
use crate::harness::scenario::Plan;

use super::agenda::Agenda;
use super::standing::Standing;
use super::words::{Heading, generator_line, load_left, load_line, name_width, plain, whole};

/// Without a terminal, a line this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Seconds that a sparkline shows.
const SPARK_SECONDS: usize = 20;
/// How often the sign of life moves.
const SPIN: Duration = Duration::from_millis(120);
/// The sign of life and the gap after it.
const SPINNER_WIDTH: usize = 2;

/// What a person sees of one call. Shared with the engine, which reports from several tasks.
pub(in crate::harness::cli) struct Live {
    output: Output,
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    agenda: Agenda,
    /// What stands in front of everything that belongs to a run.
    heading: Heading,
    /// Where pairs under a budget stand.
    standing: Standing,
    /// The rates of the last seconds of each load, for its sparkline.
    rates: Vec<Vec<f64>>,
    last_line: Option<Instant>,
    /// The line of what is going on, and those below it.
    main: Option<ProgressBar>,
    below: Vec<ProgressBar>,
}

impl Live {
    /// A view that shows nothing yet.
    pub(in crate::harness::cli) fn new(output: Output) -> Self {
        Self {
            output,
            bars: MultiProgress::new(),
            state: Mutex::default(),
        }
    }

    /// Says that so many runs of a plan are going to be made, beside those that are known.
    pub(in crate::harness::cli) fn expect(&self, plan: &Plan, runs: u32) {
        self.state().agenda.expect(plan, runs);
    }

    /// Says what the next steps belong to: a scenario, and perhaps a part of it.
    pub(in crate::harness::cli) fn about(&self, scenario: &str, part: &str) {
        self.state().heading = Heading {
            scenario: scenario.to_owned(),
            part: part.to_owned(),
        };
    }

    /// Says that a run of the scenario begins, and which of several it is: `run 2/5`.
    pub(in crate::harness::cli) fn begin(&self, scenario: &str, part: &str) {
        self.about(scenario, part);
        let mut state = self.state();
        state.agenda.begin(scenario, Instant::now());
        state.rates.clear();
        self.step(&mut state, "");
    }

    /// Says that the run has ended.
    pub(in crate::harness::cli) fn end(&self) {
        self.state().agenda.end(Instant::now());
    }

    /// Says what of the scenario is open, and until when it may be measured.
    pub(in crate::harness::cli) fn stand(&self, standing: Standing) {
        self.state().standing = standing;
    }

    /// Says that no run of the scenario is begun after that.
    pub(in crate::harness::cli) fn until(&self, scenario: &str, until: Instant) {
        let mut state = self.state();
        state.agenda.until(scenario, until);
        state.standing.until = Some(until);
    }

    /// Says that nothing more is measured of the scenario, and takes everything off the terminal.
    pub(in crate::harness::cli) fn finish(&self, scenario: &str) {
        let mut state = self.state();
        state.agenda.close(scenario);
        state.standing = Standing::default();
        state.heading = Heading::default();
        drop(state);
        self.clear();
    }

    /// Takes everything off the terminal, so that something else can be written there.
    pub(in crate::harness::cli) fn clear(&self) {
        let mut state = self.state();
        let below = std::mem::take(&mut state.below);
        for bar in below.iter().rev().chain(&state.main.take()) {
            bar.finish_and_clear();
            self.bars.remove(bar);
        }
    }

    /// A step forward of the engine.
    pub(in crate::harness::cli) fn observe(&self, progress: Progress) {
        let mut state = self.state();
        let state = &mut *state;
        match progress {
            Progress::Building { what, command } => {
                self.step(state, &format!("building {what}: {command}"));
            }
            Progress::Starting { process } => self.step(state, &format!("starting {process}")),
            Progress::Ready { process, after_ns } => self.step(
                state,
                &format!("{process} is ready after {}", format::duration_ns(after_ns)),
            ),
            Progress::Phase { phase, length_ns } => {
                if !self.output.live {
                    let length = whole(Duration::from_nanos(length_ns));
                    self.step(state, &format!("{} for {length}", words::phase(phase)));
                }
            }
            Progress::Tick(tick) => self.tick(state, &tick),
            Progress::Bench {
                target,
                invocation,
                of,
            } => self.step(
                state,
                &format!("bench {target}, invocation {invocation}/{of}"),
            ),
            Progress::Fault { what } => {
                self.line(&format!("{}: fault: {what}", state.heading.plain()));
            }
            Progress::Stopping => self.step(state, "stopping processes"),
            Progress::Note(text) => self.line(&text),
            Progress::Warning(text) => self.warn(&text),
        }
    }

    /// A line that stays.
    pub(in crate::harness::cli) fn line(&self, text: &str) {
        if !self.output.quiet {
            self.warn(text);
        }
    }

    /// One that must be known.
    fn warn(&self, text: &str) {
        let text = text::one_line(text);
        if self.output.live {
            // A terminal that went away is nobody's loss.
            let _ = self.bars.println(self.output.readable(&text));
        } else {
            self.output.warn(&text);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what is going on now, where no load is.
    fn step(&self, state: &mut State, what: &str) {
        if self.output.quiet {
            return;
        }
        if !self.output.live {
            let heading = state.heading.plain();
            let text = match (heading.is_empty(), what.is_empty()) {
                (true, _) => what.to_owned(),
                // That the only run begins is no news.
                (false, true) if state.heading.part.is_empty() => return,
                (false, true) => heading,
                (false, false) => format!("{heading}: {what}"),
            };
            self.output.say(&text::one_line(&text));
            return;
        }
        let now = Instant::now();
        let left = state.agenda.left(now, Duration::ZERO);
        let main = state.heading.step(what, left);
        let below = state.standing.line(now);
        self.show(state, &main, below.as_slice());
    }

    fn tick(&self, state: &mut State, tick: &Tick) {
        if self.output.quiet {
            return;
        }
        let now = Instant::now();
        let left = state.agenda.left(now, load_left(tick));
        if !self.output.live {
            let is_due = |last: Instant| now.duration_since(last) >= PLAIN_INTERVAL;
            if state.last_line.is_none_or(is_due) {
                state.last_line = Some(now);
                let standing = state.standing.short(now);
                let text = plain(&state.heading, tick, left, standing);
                self.output.say(&text);
            }
            return;
        }
        state.rates.resize_with(tick.loads.len(), Vec::new);
        let columns = name_width(&tick.loads);
        let mut below = Vec::new();
        for (load, rates) in tick.loads.iter().zip(&mut state.rates) {
            rates.push(load.rate);
            let surplus = rates.len().saturating_sub(SPARK_SECONDS);
            rates.drain(..surplus);
            below.push(load_line(load, rates, columns));
        }
        below.push(generator_line(&tick.generator));
        below.extend(state.standing.line(now));
        let main = state.heading.load(tick, left);
        self.show(state, &main, &below);
    }

    /// Puts lines on the terminal, in the place of those that are there.
    fn show(&self, state: &mut State, main: &Line, below: &[Line]) {
        let style = self.output.style_live();
        let mut beside_spinner = style;
        beside_spinner.width = style.width.saturating_sub(SPINNER_WIDTH);
        let bar = state.main.get_or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new_spinner());
            bar.set_style(main_style(style.ascii));
            bar.enable_steady_tick(SPIN);
            bar
        });
        bar.set_message(main.render(beside_spinner));
        while state.below.len() > below.len() {
            if let Some(bar) = state.below.pop() {
                bar.finish_and_clear();
                self.bars.remove(&bar);
            }
        }
        while state.below.len() < below.len() {
            let bar = self.bars.add(ProgressBar::no_length());
            bar.set_style(line_style());
            state.below.push(bar);
        }
        for (bar, line) in state.below.iter().zip(below) {
            bar.set_message(line.render(style));
        }
    }
}

fn main_style(ascii: bool) -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}");
    let style = style.expect("BUG: a constant template");
    match ascii {
        true => style.tick_chars("|/-\\ "),
        false => style,
    }
}

fn line_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").expect("BUG: a constant template")
}
