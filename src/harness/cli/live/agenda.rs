//! What a call is going to do, and how much time is left of it.

use std::time::{Duration, Instant};

use crate::harness::scenario::Plan;

/// Processes are started and users gathered before a load, and processes stopped after it. How long that takes
/// is known once a run has ended; until then it is taken for this.
const BESIDE_THE_LOAD: Duration = Duration::from_secs(2);

/// The runs of a call that have not ended.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    stretches: Vec<Stretch>,
    /// The run under way: of which stretch, and since when.
    under_way: Option<(usize, Instant)>,
}

/// The runs of one scenario.
#[derive(Debug)]
struct Stretch {
    scenario: String,
    /// Runs that have not begun.
    runs: u32,
    /// How long a run takes by its plan.
    planned: Duration,
    /// Whether the plan says everything: it doesn't know how long a bench or a search takes.
    is_planned: bool,
    /// How many have ended, and how long they took.
    ended: u32,
    took: Duration,
    /// When no more of them is begun.
    until: Option<Instant>,
    /// Whether more may follow than these.
    may_go_on: bool,
}

/// The time that is left of everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Left {
    pub(super) time: Duration,
    /// Whether there is something in it of which nobody knows how long it takes.
    pub(super) is_least: bool,
}

impl Agenda {
    /// So many runs of a plan will be made, beside those that are known.
    pub(super) fn expect(&mut self, plan: &Plan, runs: u32) {
        let scenario = plan.id();
        if let Some(known) = self.of(&scenario) {
            known.runs = known.runs.saturating_add(runs);
            return;
        }
        let of_load = match plan.loads.is_empty() {
            true => Duration::ZERO,
            false => Duration::from_nanos(plan.phases.total_ns()),
        };
        self.stretches.push(Stretch {
            scenario,
            runs,
            planned: of_load + BESIDE_THE_LOAD,
            is_planned: plan.benches.is_empty() && !plan.searches(),
            ended: 0,
            took: Duration::ZERO,
            until: None,
            may_go_on: false,
        });
    }

    /// No run of the scenario is begun after that.
    pub(super) fn until(&mut self, scenario: &str, until: Instant) {
        if let Some(stretch) = self.of(scenario) {
            stretch.until = Some(until);
        }
    }

    /// Whether more runs of the scenario may follow than are expected.
    pub(super) fn may_go_on(&mut self, scenario: &str, may_go_on: bool) {
        if let Some(stretch) = self.of(scenario) {
            stretch.may_go_on = may_go_on;
        }
    }

    /// A run begins.
    pub(super) fn begin(&mut self, scenario: &str, now: Instant) {
        let mut all = self.stretches.iter_mut().enumerate();
        let begun = all.find(|(_, stretch)| stretch.scenario == scenario);
        self.under_way = begun.map(|(at, stretch)| {
            stretch.runs = stretch.runs.saturating_sub(1);
            (at, now)
        });
    }

    /// The run under way has ended.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some((at, began)) = self.under_way.take() {
            let stretch = &mut self.stretches[at];
            stretch.ended += 1;
            stretch.took += now.saturating_duration_since(began);
        }
    }

    /// Nothing more comes of the scenario, whatever was expected.
    pub(super) fn close(&mut self, scenario: &str) {
        self.under_way = None;
        if let Some(stretch) = self.of(scenario) {
            stretch.runs = 0;
        }
    }

    /// What is left, where that is more than the run under way, whose load goes on for `load_left`.
    pub(super) fn left(&self, now: Instant, load_left: Duration) -> Option<Left> {
        if self.stretches.iter().all(|stretch| stretch.runs == 0) {
            return None;
        }
        let mut left = Left {
            time: Duration::ZERO,
            is_least: false,
        };
        for (at, stretch) in self.stretches.iter().enumerate() {
            let (each, is_known) = stretch.each();
            let mut time = each.saturating_mul(stretch.runs);
            let mut is_open = stretch.runs > 0;
            if let Some((_, began)) = self.under_way.filter(|(under_way, _)| *under_way == at) {
                let rest = each.saturating_sub(now.saturating_duration_since(began));
                time = time.saturating_add(rest.max(load_left));
                is_open = true;
            }
            if let Some(until) = stretch.until {
                time = time.min(until.saturating_duration_since(now).max(load_left));
            }
            left.time = left.time.saturating_add(time);
            left.is_least |= is_open && (!is_known || stretch.may_go_on);
        }
        Some(left)
    }

    fn of(&mut self, scenario: &str) -> Option<&mut Stretch> {
        let mut all = self.stretches.iter_mut();
        all.find(|stretch| stretch.scenario == scenario)
    }
}

impl Stretch {
    /// How long a run takes, and whether that is known.
    fn each(&self) -> (Duration, bool) {
        match self.ended {
            0 => (self.planned, self.is_planned),
            ended => (self.took / ended, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::cli::scripted::plan;

    const S: Duration = Duration::from_secs(1);

    /// A plan whose load takes so many seconds.
    fn of(name: &str, seconds: u64) -> Plan {
        let mut plan = plan();
        plan.name = name.to_owned();
        plan.phases.warmup_ns = 0;
        plan.phases.measure_ns = seconds * 1_000_000_000;
        plan.phases.cooldown_ns = 0;
        plan
    }

    /// What is left, in s, and whether that is all.
    fn left(agenda: &Agenda, now: Instant, load_left: u64) -> Option<(u64, bool)> {
        let left = agenda.left(now, S * load_left as u32)?;
        Some((left.time.as_secs(), !left.is_least))
    }

    #[test]
    fn what_is_planned_counts_until_a_run_has_ended() {
        let zero = Instant::now();
        let at = |seconds: u32| zero + S * seconds;
        let mut agenda = Agenda::default();
        agenda.expect(&of("a", 10), 3);
        agenda.expect(&of("b", 20), 1);
        assert_eq!(left(&agenda, zero, 0), Some((3 * 12 + 22, true)));
        agenda.begin("a", at(0));
        assert_eq!(left(&agenda, at(4), 8), Some((8 + 24 + 22, true)));
        // It takes longer than was thought.
        assert_eq!(left(&agenda, at(14), 5), Some((5 + 24 + 22, true)));
        agenda.end(at(20));
        assert_eq!(left(&agenda, at(20), 0), Some((2 * 20 + 22, true)));
        agenda.begin("a", at(20));
        agenda.end(at(30));
        agenda.begin("a", at(30));
        assert_eq!(left(&agenda, at(35), 0), Some((10 + 22, true)));
        agenda.end(at(45));
        agenda.begin("b", at(45));
        // Of the last run its own bar tells.
        assert_eq!(left(&agenda, at(46), 19), None);
    }

    #[test]
    fn what_nobody_knows_makes_it_the_least() {
        let zero = Instant::now();
        let mut agenda = Agenda::default();
        let mut searched = of("a", 10);
        searched.benches = vec![crate::harness::scenario::BenchPlan {
            targets: Vec::new(),
            package: None,
            features: Vec::new(),
            filter: None,
            invocations: 5,
            timeout_ns: 1,
        }];
        agenda.expect(&searched, 2);
        assert_eq!(left(&agenda, zero, 0), Some((24, false)));
        agenda.begin("a", zero);
        assert_eq!(left(&agenda, zero, 0), Some((24, false)));
        agenda.end(zero + S * 60);
        assert_eq!(left(&agenda, zero, 0), Some((60, true)));
    }

    #[test]
    fn a_budget_ends_a_scenario() {
        let zero = Instant::now();
        let mut agenda = Agenda::default();
        agenda.expect(&of("a", 10), 100);
        agenda.expect(&of("b", 10), 1);
        agenda.until("a", zero + S * 60);
        assert_eq!(left(&agenda, zero, 0), Some((60 + 12, true)));
        agenda.begin("a", zero);
        assert_eq!(left(&agenda, zero + S * 55, 9), Some((9 + 12, true)));
        agenda.end(zero + S * 64);
        agenda.close("a");
        assert_eq!(left(&agenda, zero + S * 64, 0), Some((12, true)));
        // A call of one scenario that is measured further.
        agenda.expect(&of("b", 10), 2);
        assert_eq!(left(&agenda, zero + S * 64, 0), Some((36, true)));
    }

    #[test]
    fn pairs_that_may_follow_make_it_the_least() {
        let zero = Instant::now();
        let mut agenda = Agenda::default();
        agenda.expect(&of("a", 10), 2);
        agenda.expect(&of("b", 10), 1);
        agenda.may_go_on("a", true);
        assert_eq!(left(&agenda, zero, 0), Some((36, false)));
        // The last of them are under way.
        agenda.may_go_on("a", false);
        assert_eq!(left(&agenda, zero, 0), Some((36, true)));
        agenda.may_go_on("a", true);
        agenda.close("a");
        assert_eq!(left(&agenda, zero, 0), Some((12, true)));
    }
}
