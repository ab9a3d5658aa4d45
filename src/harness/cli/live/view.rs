//! The view: a few lines that change on a terminal, a line now and then elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::cli::output::Output;
use crate::harness::engine::{Progress, Tick};
use crate::harness::report::terminal::{Line, TerminalStyle, Tone};
use crate::harness::report::{format, text, words};
use crate::harness::scenario::Plan;

use super::agenda::Agenda;
use super::screen::{WIPE, drawing};
use super::standing::Standing;
use super::words::{
    Heading, generator_line, load_left, load_line, name_width, plain, processes_line, whole,
};

/// Without a terminal, a line this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Seconds that a sparkline shows.
const SPARK_SECONDS: usize = 20;
/// How often the view is drawn anew: the sign of life moves, and the terminal may have another size.
const REDRAWN_EVERY: Duration = Duration::from_millis(120);
/// The sign of life, with a character a drawing.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// The same where only ASCII can be shown.
const ASCII_SPINNER: [char; 4] = ['|', '/', '-', '\\'];
/// The sign of life and the gap after it.
const SPINNER_WIDTH: usize = 2;
/// How long something takes before it is said for how long it has taken.
const LONG: Duration = Duration::from_secs(2);

/// What a person sees of one call. Shared with the engine, which reports from several tasks; all clones are one.
#[derive(Clone)]
pub(in crate::harness::cli) struct Live(Arc<Shared>);

struct Shared {
    output: Output,
    /// From which the sign of life is reckoned.
    began: Instant,
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
    /// When the benches of the run began.
    benches_began: Option<Instant>,
    last_line: Option<Instant>,
    /// What stands on the terminal.
    view: Option<View>,
}

struct View {
    /// What is going on.
    main: Line,
    /// Since when, where nothing else shows that it goes on.
    since: Option<Instant>,
    below: Vec<Line>,
}

impl Live {
    /// A view that shows nothing yet.
    pub(in crate::harness::cli) fn new(output: Output) -> Self {
        let shared = Arc::new(Shared {
            output,
            began: Instant::now(),
            state: Mutex::default(),
        });
        if output.live {
            let shared = Arc::downgrade(&shared);
            thread::spawn(move || animate(&shared));
        }
        Self(shared)
    }

    /// Says that so many runs of a plan are going to be made, beside those that are known.
    pub(in crate::harness::cli) fn expect(&self, plan: &Plan, runs: u32) {
        self.0.state().agenda.expect(plan, runs);
    }

    /// Says whether more runs of the scenario may follow than are known.
    pub(in crate::harness::cli) fn may_go_on(&self, scenario: &str, may_go_on: bool) {
        self.0.state().agenda.may_go_on(scenario, may_go_on);
    }

    /// Says what the next steps belong to: a scenario, and perhaps a part of it.
    pub(in crate::harness::cli) fn about(&self, scenario: &str, part: &str) {
        self.0.state().heading = Heading {
            scenario: scenario.to_owned(),
            part: part.to_owned(),
            benches_follow: false,
        };
    }

    /// Says that a run of a plan begins, and which of several it is: `run 2/5`.
    pub(in crate::harness::cli) fn begin(&self, plan: &Plan, part: &str) {
        let mut state = self.0.state();
        let scenario = plan.id();
        state.agenda.begin(&scenario, Instant::now());
        state.heading = Heading {
            scenario,
            part: part.to_owned(),
            benches_follow: !plan.benches.is_empty(),
        };
        state.rates.clear();
        state.benches_began = None;
        self.0.step(&mut state, "");
    }

    /// Says that the run has ended.
    pub(in crate::harness::cli) fn end(&self) {
        self.0.state().agenda.end(Instant::now());
    }

    /// Says what of the scenario is open, and until when it may be measured.
    pub(in crate::harness::cli) fn stand(&self, standing: Standing) {
        self.0.state().standing = standing;
    }

    /// Says that no run of the scenario is begun after that.
    pub(in crate::harness::cli) fn until(&self, scenario: &str, until: Instant) {
        let mut state = self.0.state();
        state.agenda.until(scenario, until);
        state.standing.until = Some(until);
    }

    /// Says that nothing more is measured of the scenario, and takes everything off the terminal.
    pub(in crate::harness::cli) fn finish(&self, scenario: &str) {
        let mut state = self.0.state();
        state.agenda.close(scenario);
        state.standing = Standing::default();
        state.heading = Heading::default();
        self.0.clear(&mut state);
    }

    /// Takes everything off the terminal, so that something else can be written there.
    pub(in crate::harness::cli) fn clear(&self) {
        self.0.clear(&mut self.0.state());
    }

    /// A step forward of the engine.
    pub(in crate::harness::cli) fn observe(&self, progress: Progress) {
        self.0.observe(&mut self.0.state(), progress);
    }

    /// A line that stays.
    pub(in crate::harness::cli) fn line(&self, text: &str) {
        self.0.line(&self.0.state(), text);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, state: &mut State, progress: Progress) {
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
                done,
                all,
            } => {
                let began = *state.benches_began.get_or_insert_with(Instant::now);
                // Once each was invoked it is known how long the others take.
                match self.output.live && invocation > 1 {
                    true => {
                        let what = format!("bench {target} {invocation}/{of}");
                        self.bench(state, &what, began.elapsed(), done, all);
                    }
                    false => {
                        let what = format!("bench {target}, invocation {invocation}/{of}");
                        self.step(state, &what);
                    }
                }
            }
            Progress::Fault { what } => {
                self.line(state, &format!("{}: fault: {what}", state.heading.plain()));
            }
            Progress::Stopping => self.step(state, "stopping processes"),
            Progress::Note(text) => self.line(state, &text),
            Progress::Warning(text) => self.warn(state, &text),
        }
    }

    fn line(&self, state: &State, text: &str) {
        if !self.output.quiet {
            self.warn(state, text);
        }
    }

    /// A line that must be known.
    fn warn(&self, state: &State, text: &str) {
        if state.view.is_some() {
            self.output.draw(WIPE);
        }
        self.output.warn(&text::one_line(text));
        self.draw(state);
    }

    /// Shows what is going on now, where nobody knows how long it takes.
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
        self.show(state, main, Some(now), Vec::new());
    }

    /// Shows how far the benches are: so many of all invocations took so long.
    fn bench(&self, state: &mut State, what: &str, took: Duration, done: u32, all: u32) {
        let each = took / done.max(1);
        let left = each.saturating_mul(all.saturating_sub(done));
        let share = f64::from(done) / f64::from(all.max(1));
        let in_all = state.agenda.left(Instant::now(), left);
        let main = state.heading.on_the_way(what, share, left, in_all);
        self.show(state, main, None, Vec::new());
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
        below.extend(processes_line(&tick.processes));
        let main = state.heading.load(tick, left);
        self.show(state, main, None, below);
    }

    /// Puts lines on the terminal, in the place of those that are there; where pairs stand comes last.
    fn show(&self, state: &mut State, main: Line, since: Option<Instant>, mut below: Vec<Line>) {
        below.extend(state.standing.line(Instant::now()));
        state.view = Some(View { main, since, below });
        self.draw(state);
    }

    fn clear(&self, state: &mut State) {
        if state.view.take().is_some() {
            self.output.draw(WIPE);
        }
    }

    /// Draws what is to stand on the terminal, as it is now.
    fn draw(&self, state: &State) {
        let Some(view) = &state.view else {
            return;
        };
        let (style, rows) = self.output.style_live();
        let spinner: &[char] = match style.ascii {
            true => &ASCII_SPINNER,
            false => &SPINNER,
        };
        let drawn = self.began.elapsed().as_millis() / REDRAWN_EVERY.as_millis();
        let sign = spinner[drawn as usize % spinner.len()];
        let beside_it = TerminalStyle {
            width: style.width.saturating_sub(SPINNER_WIDTH),
            ..style
        };
        let mut lines = vec![format!("{sign} {}", view.main().render(beside_it))];
        lines.extend(view.below.iter().map(|line| line.render(style)));
        self.output.draw(&drawing(&lines, rows));
    }
}

impl View {
    /// What is going on, and for how long it has where that is long.
    fn main(&self) -> Line {
        let main = self.main.clone();
        match self.since.map(|since| since.elapsed()) {
            Some(elapsed) if elapsed >= LONG => {
                let elapsed = whole(Duration::from_secs(elapsed.as_secs()));
                main.toned(3, Tone::Dim, elapsed)
            }
            _ => main,
        }
    }
}

/// Draws the view again and again, as long as there is one.
fn animate(shared: &Weak<Shared>) {
    loop {
        thread::sleep(REDRAWN_EVERY);
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.draw(&shared.state());
    }
}
