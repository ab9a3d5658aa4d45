//! A run that searches: the plan of each trial, and what is left of all of them.

use super::search::{Interval, Search};
use super::trial::{Trial, is_of_trial};
use crate::harness::engine::{Executed, metrics};
use crate::harness::model::{
    CapacitySearch, CapacityTrial, InvalidReason, LoadMeasurement, Phase, TrialOutcome,
};
use crate::harness::scenario::{
    Arrivals, GatePlan, LoadPlan, Plan, Spacing, Stage, in_flight_of, limits_beside_a_search,
    search_limits,
};

/// A run whose plan has a load that searches for its capacity.
pub(in crate::harness::engine) struct Capacity<'plan> {
    plan: &'plan Plan,
    load: &'plan LoadPlan,
    hold_ns: u64,
    spacing: Spacing,
    max_in_flight: Option<u32>,
    limits: Vec<GatePlan>,
    /// What has to be kept beside the load.
    beside: Vec<GatePlan>,
    search: Search,
    trials: Vec<CapacityTrial>,
    /// What was measured at each rate that held, by the number of the trial.
    held: Vec<(usize, Executed)>,
    /// What was measured last.
    last: Option<Executed>,
    /// Whether the run can't go on.
    is_over: bool,
}

impl<'plan> Capacity<'plan> {
    /// That of a plan; `None` where no load searches.
    pub(in crate::harness::engine) fn of(plan: &'plan Plan) -> Option<Self> {
        plan.loads.iter().find_map(|load| match load.arrivals {
            Arrivals::Capacity {
                from,
                to,
                within,
                hold_ns,
                spacing,
                max_in_flight,
            } => Some(Self {
                plan,
                load,
                hold_ns,
                spacing,
                max_in_flight,
                limits: search_limits(plan, load),
                beside: limits_beside_a_search(plan, load),
                search: Search::new(from, to, within),
                trials: Vec::new(),
                held: Vec::new(),
                last: None,
                is_over: false,
            }),
            _ => None,
        })
    }

    /// The rate that is to be tried next and the plan of that trial, in which the search is an open
    /// load; `None` where nothing is to be tried any more.
    pub(in crate::harness::engine) fn next(&self) -> Option<(f64, Plan)> {
        let rate = self.search.next().filter(|_| !self.is_over)?;
        let mut plan = self.plan.clone();
        plan.phases.measure_ns = self.hold_ns;
        let total_ns = plan.phases.total_ns();
        for load in plan
            .loads
            .iter_mut()
            .filter(|load| load.name == self.load.name)
        {
            load.arrivals = Arrivals::Open {
                stages: vec![Stage::constant(total_ns, rate)],
                spacing: self.spacing,
                max_in_flight: self.users(rate),
            };
        }
        Some((rate, plan))
    }

    /// Takes what was measured at a rate, with the plan of its trial. Says what became of it, for
    /// whoever watches.
    pub(in crate::harness::engine) fn take(
        &mut self,
        rate: f64,
        plan: &Plan,
        executed: Executed,
    ) -> String {
        let number = self.trials.len() + 1;
        let Some(load) = self
            .measured(&executed)
            .filter(|_| !executed.partial && executed.invalid.iter().all(is_of_trial))
        else {
            self.is_over = true;
            self.last = Some(executed);
            return format!(
                "load {}: the search ended in trial {number}",
                self.load.name
            );
        };
        let metrics = match self.beside.is_empty() {
            true => Vec::new(),
            false => metrics(plan, &executed.measurement),
        };
        let mut phases = executed.measurement.phases.iter();
        let measured = phases.find(|span| span.phase == Phase::Measure);
        let trial = Trial {
            plan,
            rate,
            users: self.users(rate),
            allowed_dropped: self.load.allowed_dropped,
            unhurried_ns: self.unhurried_ns(),
            load,
            phase_ns: measured.map_or(0..0, |span| span.start_ns..span.end_ns),
            invalid: &executed.invalid,
            metrics: &metrics,
        };
        let trial = trial.judge(&self.limits, &self.beside);
        let what = match trial.outcome {
            TrialOutcome::Held => "every limit holds".to_owned(),
            TrialOutcome::Broke => trial.reason.clone(),
            TrialOutcome::NotOffered => format!("not offered: {}", trial.reason),
        };
        let said = format!(
            "load {} at {rate:.1}/s (trial {number}): {what}",
            self.load.name
        );
        self.search.take(rate, trial.outcome);
        if trial.outcome == TrialOutcome::Held {
            self.held.push((self.trials.len(), executed));
        } else {
            self.last = Some(executed);
        }
        self.trials.push(trial);
        said
    }

    /// The run: what was measured at the highest rate that held, with what the search found.
    pub(in crate::harness::engine) fn finish(self) -> Option<Executed> {
        let found = self.search.interval();
        let name = self.load.name.clone();
        let beyond = self.beyond_generator(&found);
        let at_holds = self
            .held
            .into_iter()
            .rev()
            .find(|(trial, _)| found.holds == Some(self.trials[*trial].rate));
        let mut executed = match (at_holds, self.last) {
            // A run that was ended is what it was when it ended.
            (_, Some(last)) if self.is_over => last,
            // What would make a single run invalid is what the trial was judged by.
            (Some((_, executed)), _) | (None, Some(executed)) => Executed {
                invalid: beyond.into_iter().collect(),
                ..executed
            },
            (None, None) => return None,
        };
        let mut loads = executed.measurement.loads.iter_mut();
        if let Some(load) = loads.find(|load| load.name == name) {
            load.capacity = Some(CapacitySearch {
                holds: found.holds,
                breaks: found.breaks,
                trials: self.trials,
            });
        }
        Some(executed)
    }

    fn beyond_generator(&self, found: &Interval) -> Option<InvalidReason> {
        let rate = found.not_offered?;
        let mut trials = self.trials.iter().rev();
        let last =
            trials.find(|trial| trial.rate == rate && trial.outcome == TrialOutcome::NotOffered);
        Some(InvalidReason::CapacityBeyondGenerator {
            load: self.load.name.clone(),
            holds: found.holds,
            rate,
            cause: last.map_or_else(String::new, |trial| trial.reason.clone()),
        })
    }

    fn users(&self, rate: f64) -> u32 {
        self.max_in_flight.unwrap_or_else(|| in_flight_of(rate))
    }

    /// How long an iteration took on average at the lowest rate that held.
    fn unhurried_ns(&self) -> Option<f64> {
        let rate = |(trial, _): &&(usize, Executed)| self.trials[*trial].rate;
        let lowest = self.held.iter().min_by(|a, b| rate(a).total_cmp(&rate(b)));
        self.measured(&lowest?.1)?.iteration.mean_ns()
    }

    fn measured<'a>(&self, executed: &'a Executed) -> Option<&'a LoadMeasurement> {
        let mut loads = executed.measurement.loads.iter();
        loads.find(|load| load.name == self.load.name)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::harness::model::{
        ArrivalModel, Counts, Measurement, Outcome, PhaseSpan, RequestSeries,
    };
    use crate::harness::scenario::{PhasePlan, parse};

    const S: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    /// A search from 100/s to 3200/s beside another load.
    fn plan() -> Plan {
        let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                    [load.writes]\nopen = { rate = \"5/s\" }\n[load.find]\nclosed = { users = 1 }\n\
                    [[gate]]\nmetric = \"load.find.p50\"\nmax = \"50ms\"\n";
        let mut plan = parse(text, Path::new("s.toml")).unwrap().plans.remove(0);
        plan.loads[1].arrivals = Arrivals::Capacity {
            from: 100.0,
            to: 3200.0,
            within: 0.1,
            hold_ns: 10 * S,
            spacing: Spacing::Poisson,
            max_in_flight: None,
        };
        plan.phases = PhasePlan {
            warmup_ns: 2 * S,
            measure_ns: 30 * S,
            cooldown_ns: S,
            drain_ns: S,
        };
        plan
    }

    /// What a trial gives whose requests take so long.
    fn executed(rate: f64, took_ns: u64, invalid: Vec<InvalidReason>) -> Executed {
        let count = (rate * 10.0) as u64;
        let mut series = RequestSeries::new("GET /");
        let mut load = LoadMeasurement::new("find", "f", ArrivalModel::Open);
        for _ in 0..count {
            load.iteration.record(took_ns);
            series
                .response
                .entry(Outcome::Ok)
                .or_default()
                .record(took_ns);
        }
        load.requests = vec![series];
        load.counts = Counts {
            offered: count,
            started: count,
            completed: count,
            ..Counts::default()
        };
        let measure = PhaseSpan {
            phase: Phase::Measure,
            start_ns: 2 * S,
            end_ns: 12 * S,
        };
        Executed {
            measurement: Measurement {
                phases: vec![measure],
                loads: vec![
                    LoadMeasurement::new("writes", "f", ArrivalModel::Open),
                    load,
                ],
                ..Measurement::default()
            },
            metrics: Vec::new(),
            invalid,
            partial: false,
            aborted: None,
            warnings: Vec::new(),
            duration_ns: 0,
        }
    }

    fn late() -> InvalidReason {
        InvalidReason::GeneratorLate {
            load: "find".into(),
            lateness_ns_p99: 9 * MS,
            tolerance_ns: 5 * MS,
        }
    }

    /// The run of a search whose trials give that.
    fn run(trial: impl Fn(f64, usize) -> Executed) -> Executed {
        let plan = plan();
        let mut capacity = Capacity::of(&plan).unwrap();
        let mut number = 0;
        while let Some((rate, plan)) = capacity.next() {
            let said = capacity.take(rate, &plan, trial(rate, number));
            assert!(said.starts_with("load find"), "{said}");
            number += 1;
        }
        capacity.finish().unwrap()
    }

    fn found(executed: &Executed) -> &CapacitySearch {
        let load = &executed.measurement.loads[1];
        load.capacity.as_ref().unwrap()
    }

    #[test]
    fn a_trial_is_the_plan_with_an_open_load_in_the_place_of_the_search() {
        let plan = plan();
        let (rate, trial) = Capacity::of(&plan).unwrap().next().unwrap();
        assert_eq!(rate, 100.0);
        let expected = Arrivals::Open {
            stages: vec![Stage::constant(13 * S, 100.0)],
            spacing: Spacing::Poisson,
            max_in_flight: 100,
        };
        assert_eq!(trial.loads[1].arrivals, expected);
        assert_eq!(trial.loads[0], plan.loads[0]);
        assert_eq!(trial.phases.measure_ns, 10 * S);
        assert_eq!(trial.phases.warmup_ns, 2 * S);
        let mut without = plan.clone();
        without.loads.pop();
        assert!(Capacity::of(&without).is_none());
    }

    #[test]
    fn the_run_is_that_of_the_highest_rate_that_held() {
        let executed = run(|rate, _| {
            let took_ns = if rate <= 1000.0 { 5 * MS } else { 80 * MS };
            executed(rate, took_ns, Vec::new())
        });
        assert_eq!(executed.invalid, []);
        let search = found(&executed);
        let (holds, breaks) = (search.holds.unwrap(), search.breaks.unwrap());
        assert!(
            holds <= 1000.0 && 1000.0 < breaks && breaks / holds <= 1.1,
            "{search:?}"
        );
        let counts = executed.measurement.loads[1].counts;
        assert_eq!(counts.offered, (holds * 10.0) as u64);
        assert!(executed.measurement.loads[0].capacity.is_none());
        for trial in &search.trials {
            let held = trial.outcome == TrialOutcome::Held;
            assert_eq!(held, trial.rate <= 1000.0, "{trial:?}");
            assert!(
                held || trial.reason.contains("load.find.p50 was 80.0 ms"),
                "{trial:?}"
            );
        }
    }

    #[test]
    fn a_generator_that_gives_in_first_makes_the_run_invalid_and_says_what_is_known() {
        let executed = run(|rate, _| match rate <= 1000.0 {
            true => executed(rate, 5 * MS, Vec::new()),
            false => executed(rate, 5 * MS, vec![late()]),
        });
        let search = found(&executed);
        assert_eq!(search.breaks, None);
        let [
            InvalidReason::CapacityBeyondGenerator {
                load,
                holds,
                rate,
                cause,
            },
        ] = executed.invalid.as_slice()
        else {
            panic!("{:?}", executed.invalid);
        };
        assert_eq!((load.as_str(), *holds), ("find", search.holds));
        assert!(*rate > 1000.0 && *rate / holds.unwrap() <= 1.1, "{rate}");
        assert!(cause.contains("9.0 ms late"), "{cause}");
    }

    #[test]
    fn a_target_that_bears_nothing_is_a_result() {
        let executed = run(|rate, _| executed(rate, 80 * MS, Vec::new()));
        assert_eq!(executed.invalid, []);
        let search = found(&executed);
        assert_eq!((search.holds, search.breaks), (None, Some(100.0)));
        assert_eq!(search.trials.len(), 2);
    }

    #[test]
    fn what_ends_a_run_ends_the_search_and_keeps_what_it_found() {
        let died = || InvalidReason::ProcessExited {
            process: "web".into(),
            status: "signal 9".into(),
            at_ns: 1,
            output: String::new(),
        };
        let ended = run(|rate, number| match number {
            3 => executed(rate, 5 * MS, vec![died()]),
            _ => executed(rate, 5 * MS, Vec::new()),
        });
        assert_eq!(ended.invalid, [died()]);
        assert_eq!(found(&ended).trials.len(), 3);
        let stopped = run(|rate, number| Executed {
            partial: number == 2,
            ..executed(rate, 5 * MS, Vec::new())
        });
        assert!(stopped.partial);
        assert_eq!(found(&stopped).holds, Some(200.0));
    }
}
