//! How many workers a load needs, and how many this machine can give it.
//!
//! A worker is one thread that drives all of its users, so one that has too much to do is one whose
//! core is full; but more workers than needed split the users, and an arrival that finds none of its own
//! worker's idle is dropped though another's may be. So a load has as many as its requests need, and
//! the loads of a plan together no more than the generator's part of the machine.

use url::{Host, Url};

use super::load::Shard;
use crate::harness::scenario::{
    Arrivals, ConditionPlan, LoadPlan, Plan, StepPlan, Target, ThinkPlan, highest,
};

/// A worker is given so many requests a second. A core carries a multiple of plain ones; the rest is for
/// answers that are large or secured, and for what else goes on on the machine.
const REQUESTS_PER_WORKER: f64 = 10_000.0;
/// How long a user of a closed load is taken to wait for an answer, in s: nobody knows before.
const ANSWER_S: f64 = 0.05;

/// The number of workers of each load of `plan`, in its order, on a machine with so many cores that
/// performs `shard` of them. What `[generator] workers` says is taken as it is, but no worker is without
/// a user where it can be helped.
pub(super) fn workers(plan: &Plan, shard: Shard, cores: u32) -> Vec<u32> {
    let demands: Vec<Demand> = plan
        .loads
        .iter()
        .map(|load| Demand::of(plan, load, shard))
        .collect();
    if let Some(asked) = plan.generator.workers {
        let given = demands.iter().map(|demand| demand.at_most(asked));
        return given.collect();
    }
    let mut given = vec![1; demands.len()];
    let cores = generators_part(plan.target.as_ref(), cores);
    while given.iter().sum::<u32>() < cores {
        // The one whose workers have the most to do, of those that need another.
        let busiest = (0..demands.len())
            .filter(|index| given[*index] < demands[*index].wanted())
            .max_by(|a, b| {
                let each = |index: usize| demands[index].requests_per_s / f64::from(given[index]);
                each(*a).total_cmp(&each(*b))
            });
        match busiest {
            Some(index) => given[index] += 1,
            None => break,
        }
    }
    given
}

/// What a load asks of its workers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Demand {
    requests_per_s: f64,
    users: u64,
}

impl Demand {
    fn of(plan: &Plan, load: &LoadPlan, shard: Shard) -> Self {
        let flow = plan.flows.get(&load.flow);
        let iteration = flow.map_or(Iteration::default(), |flow| Iteration::of(&flow.steps));
        let (iterations_per_s, users) = match &load.arrivals {
            Arrivals::Open {
                stages,
                max_in_flight,
                ..
            } => (highest(stages), u64::from(*max_in_flight)),
            // Its mean: where it peaks, only its file tells.
            Arrivals::Trace {
                arrivals,
                max_in_flight,
                ..
            } => {
                let seconds = plan.phases.total_ns() as f64 / 1e9;
                (*arrivals as f64 / seconds, u64::from(*max_in_flight))
            }
            Arrivals::Capacity {
                to, max_in_flight, ..
            } => (*to, max_in_flight.map_or(u64::MAX, u64::from)),
            Arrivals::Closed { .. } => {
                let users = load.arrivals.most_users().unwrap_or(0);
                let seconds = iteration.requests * ANSWER_S + iteration.pause_s;
                (users as f64 / seconds, users)
            }
        };
        Self {
            requests_per_s: iterations_per_s * iteration.requests / f64::from(shard.of),
            users: shard.share(users),
        }
    }

    /// As many workers as its requests need.
    fn wanted(self) -> u32 {
        self.at_most((self.requests_per_s / REQUESTS_PER_WORKER).ceil() as u32)
    }

    /// So many workers, but as few as there are users, and one in any case.
    fn at_most(self, workers: u32) -> u32 {
        let users = u32::try_from(self.users).unwrap_or(u32::MAX);
        workers.min(users).max(1)
    }
}

/// What is in one iteration, on average.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Iteration {
    requests: f64,
    pause_s: f64,
}

impl Iteration {
    fn of(steps: &[StepPlan]) -> Self {
        let of_steps = steps.iter().map(Self::of_step);
        of_steps.fold(Self::default(), Self::and)
    }

    fn of_step(step: &StepPlan) -> Self {
        match step {
            StepPlan::Request(request) => Self {
                requests: 1.0,
                pause_s: request.think.as_ref().map_or(0.0, mean_s),
            },
            StepPlan::Open(_) | StepPlan::Send(_) | StepPlan::Expect(_) => Self {
                requests: 1.0,
                pause_s: 0.0,
            },
            StepPlan::Close => Self::default(),
            StepPlan::Think(think) => Self {
                requests: 0.0,
                pause_s: mean_s(think),
            },
            StepPlan::Group { steps, .. } => Self::of(steps),
            StepPlan::Repeat { times, steps, .. } => {
                Self::of(steps).times((f64::from(times.min) + f64::from(times.max)) / 2.0)
            }
            StepPlan::If {
                condition,
                then,
                otherwise,
            } => {
                // Of a condition on values nobody knows before how often it holds.
                let chance = match condition {
                    ConditionPlan::Chance(chance) => *chance,
                    ConditionPlan::Value { .. } => 0.5,
                };
                let otherwise = Self::of(otherwise).times(1.0 - chance);
                Self::of(then).times(chance).and(otherwise)
            }
            StepPlan::Choose(branches) => {
                let all: f64 = branches.iter().map(|branch| branch.weight).sum();
                let shares = branches
                    .iter()
                    .map(|branch| Self::of(&branch.steps).times(branch.weight / all));
                shares.fold(Self::default(), Self::and)
            }
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            pause_s: self.pause_s + other.pause_s,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            requests: self.requests * factor,
            pause_s: self.pause_s * factor,
        }
    }
}

/// How long a pause is on average, in s; of recorded ones half the longest, as only their file tells.
fn mean_s(think: &ThinkPlan) -> f64 {
    let ns = match think {
        ThinkPlan::Constant(ns) => *ns as f64,
        ThinkPlan::Uniform { min_ns, max_ns } => (*min_ns as f64 + *max_ns as f64) / 2.0,
        ThinkPlan::Normal { mean_ns, .. } | ThinkPlan::Exponential { mean_ns, .. } => {
            *mean_ns as f64
        }
        ThinkPlan::Recorded { max_ns, .. } => *max_ns as f64 / 2.0,
    };
    ns / 1e9
}

/// The cores of a machine that the generator may fill: half of them where the target is on it too, because
/// what answers a request has at least as much to do as what sends it.
fn generators_part(target: Option<&Target>, cores: u32) -> u32 {
    let is_here = match target {
        None | Some(Target::Process(_)) => true,
        Some(Target::Url(url)) => is_loopback(url),
    };
    match is_here {
        true => cores / 2,
        false => cores,
    }
}

/// Whether whoever asks at that URL asks the machine that it is on itself.
pub fn is_loopback(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::harness::scenario::{
        BranchPlan, FlowPlan, PhasePlan, RequestPlan, Spacing, Stage, TimesPlan, parse,
    };

    const ELSEWHERE: &str = "http://10.0.0.1:8000";

    /// The workers of a plan with these loads on `url`.
    fn plan(url: &str, loads: &[Arrivals]) -> Plan {
        let mut text =
            format!("schema = 1\nname = \"s\"\nurl = \"{url}\"\n[[flow.f.step]]\nget = \"/\"\n");
        for (number, _) in loads.iter().enumerate() {
            text.push_str(&format!(
                "[load.l{number}]\nflow = \"f\"\nclosed = {{ users = 1 }}\n"
            ));
        }
        let mut plan = parse(&text, Path::new("s.toml")).unwrap().plans.remove(0);
        for (load, arrivals) in plan.loads.iter_mut().zip(loads) {
            load.arrivals = arrivals.clone();
        }
        plan
    }

    fn open(rate: f64, max_in_flight: u32) -> Arrivals {
        Arrivals::Open {
            stages: vec![Stage::line(1_000_000_000, 0.0, rate)],
            spacing: Spacing::Even,
            max_in_flight,
        }
    }

    fn closed(users: f64) -> Arrivals {
        Arrivals::Closed {
            stages: vec![Stage::constant(1_000_000_000, users)],
            share: None,
        }
    }

    fn check(plan: &Plan, cores: u32, expected: &[u32]) {
        assert_eq!(workers(plan, Shard::WHOLE, cores), expected);
    }

    #[test]
    fn a_load_has_as_many_as_its_requests_need() {
        let of = |rate| plan(ELSEWHERE, &[open(rate, 1000)]);
        check(&of(100.0), 64, &[1]);
        check(&of(10_000.0), 64, &[1]);
        check(&of(10_001.0), 64, &[2]);
        check(&of(95_000.0), 64, &[10]);
        // 500 users who wait 50 ms each ask 10,000 times a second.
        check(&plan(ELSEWHERE, &[closed(500.0)]), 64, &[1]);
        check(&plan(ELSEWHERE, &[closed(1500.0)]), 64, &[3]);
        let mut traced = plan(
            ELSEWHERE,
            &[Arrivals::Capacity {
                from: 10.0,
                to: 45_000.0,
                within: 0.05,
                hold_ns: 1,
                spacing: Spacing::Even,
                max_in_flight: None,
            }],
        );
        check(&traced, 64, &[5]);
        traced.phases = PhasePlan {
            warmup_ns: 0,
            measure_ns: 10_000_000_000,
            cooldown_ns: 0,
            drain_ns: 0,
        };
        traced.loads[0].arrivals = Arrivals::Trace {
            file: crate::harness::scenario::FilePlan {
                path: "trace.csv".into(),
                sha256: String::new(),
            },
            speed: 1.0,
            arrivals: 200_001,
            max_in_flight: 1000,
        };
        check(&traced, 64, &[3]);
    }

    #[test]
    fn a_journey_counts_with_its_steps_and_pauses() {
        let get = || StepPlan::from(RequestPlan::get("/"));
        let mut plan = plan(ELSEWHERE, &[open(1000.0, 1000)]);
        let mut check_steps = |steps: Vec<StepPlan>, requests: f64, pause_s: f64| {
            let found = Iteration::of(&steps);
            assert!((found.requests - requests).abs() < 1e-9, "{found:?}");
            assert!((found.pause_s - pause_s).abs() < 1e-9, "{found:?}");
            plan.flows.insert("f".into(), FlowPlan::new(steps));
            let expected = (requests / 10.0).ceil() as u32;
            check(&plan, 64, &[expected]);
        };
        let twelve: Vec<StepPlan> = (0..12).map(|_| get()).collect();
        check_steps(twelve, 12.0, 0.0);
        let repeat = StepPlan::Repeat {
            times: TimesPlan { min: 10, max: 30 },
            until: None,
            steps: vec![get(), StepPlan::Think(ThinkPlan::Constant(500_000_000))],
        };
        check_steps(vec![repeat], 20.0, 10.0);
        let either = StepPlan::If {
            condition: ConditionPlan::Chance(0.25),
            then: vec![get(), get()],
            otherwise: vec![StepPlan::Close, get()],
        };
        check_steps(vec![either], 1.25, 0.0);
        let branch = |weight, steps| BranchPlan { weight, steps };
        let choose = StepPlan::Choose(vec![branch(3.0, vec![get()]), branch(1.0, Vec::new())]);
        check_steps(vec![get(), choose], 1.75, 0.0);
    }

    #[test]
    fn users_who_think_ask_less() {
        let mut plan = plan(ELSEWHERE, &[closed(10_000.0)]);
        check(&plan, 64, &[20]);
        let mut request = RequestPlan::get("/");
        request.think = Some(ThinkPlan::Constant(950_000_000));
        plan.flows
            .insert("f".into(), FlowPlan::new(vec![request.into()]));
        check(&plan, 64, &[1]);
    }

    #[test]
    fn loads_share_what_the_machine_has() {
        let of = |url| {
            plan(
                url,
                &[open(110_000.0, 1000), open(20_000.0, 1000), open(1.0, 1000)],
            )
        };
        check(&of(ELSEWHERE), 64, &[11, 2, 1]);
        check(&of(ELSEWHERE), 8, &[6, 1, 1]);
        check(&of(ELSEWHERE), 2, &[1, 1, 1]);
        // Half of it is the target's where that is here.
        for here in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            check(&of(here), 8, &[2, 1, 1]);
        }
        let mut process = of(ELSEWHERE);
        process.target = Some(Target::Process("web".into()));
        check(&process, 8, &[2, 1, 1]);
        check(&process, 1, &[1, 1, 1]);
    }

    #[test]
    fn what_is_asked_for_is_given_as_long_as_there_are_users() {
        let mut plan = plan(
            ELSEWHERE,
            &[open(1.0, 1000), open(100_000.0, 3), closed(2.0)],
        );
        check(&plan, 64, &[1, 3, 1]);
        plan.generator.workers = Some(4);
        check(&plan, 1, &[4, 3, 2]);
    }

    #[test]
    fn a_shard_needs_as_many_as_its_part() {
        let plan = plan(ELSEWHERE, &[open(60_000.0, 8)]);
        let of = |index, of| workers(&plan, Shard { index, of }, 64);
        assert_eq!(of(0, 1), [6]);
        assert_eq!(of(0, 3), [2]);
        // Eight users are three, three and two.
        assert_eq!((of(0, 6), of(7, 8)), (vec![1], vec![1]));
        let mut many = plan.clone();
        many.generator.workers = Some(5);
        let given: Vec<u32> = (0..3)
            .map(|index| workers(&many, Shard { index, of: 3 }, 64)[0])
            .collect();
        assert_eq!(given, [3, 3, 2]);
    }
}
