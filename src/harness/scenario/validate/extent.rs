//! How long an iteration may take, and how many steps it may perform.

use crate::harness::scenario::plan::{FlowPlan, StepPlan};

/// A server that is told that its stream is closed is not waited for any longer.
const CLOSE_NS: u64 = super::SECOND_NS;

/// The longest that an iteration may take, in ns: loops at their most, of several ways the longest.
/// Nothing of it is left when the last step has ended, so a pause behind that doesn't count.
pub(super) fn longest_ns(flow: &FlowPlan) -> u64 {
    longest_of(&flow.steps, true, longest_send_ns(flow))
}

/// The longest that a message may take to be sent: as long as its stream may take to be opened.
fn longest_send_ns(flow: &FlowPlan) -> u64 {
    let opened = flow.all_steps().into_iter().filter_map(|step| match step {
        StepPlan::Open(open) => Some(open.timeout_ns),
        _ => None,
    });
    opened.max().unwrap_or(0)
}

/// The most steps that these may perform, each as often as it is. A block of none is one all the same, as
/// often as its user comes by: otherwise loops around nothing would be free.
pub(super) fn performed(steps: &[StepPlan]) -> u64 {
    let of_step = |step: &StepPlan| match step {
        StepPlan::Repeat { times, steps, .. } => {
            performed(steps).max(1).saturating_mul(times.max.into())
        }
        StepPlan::Group { steps, .. } => performed(steps).max(1),
        StepPlan::If {
            then, otherwise, ..
        } => performed(then).max(performed(otherwise)).max(1),
        StepPlan::Choose(branches) => {
            let of_branches = branches.iter().map(|branch| performed(&branch.steps));
            of_branches.max().unwrap_or(0).max(1)
        }
        StepPlan::Request(_)
        | StepPlan::Open(_)
        | StepPlan::Send(_)
        | StepPlan::Expect(_)
        | StepPlan::Close
        | StepPlan::Think(_) => 1,
    };
    steps.iter().map(of_step).fold(0, u64::saturating_add)
}

/// The longest that these may take; `ends` where nothing of the iteration follows them, `send_ns` for each
/// message that is sent.
fn longest_of(steps: &[StepPlan], ends: bool, send_ns: u64) -> u64 {
    let last = steps.len().saturating_sub(1);
    let of_steps = steps
        .iter()
        .enumerate()
        .map(|(index, step)| longest_of_step(step, ends && index == last, send_ns));
    of_steps.fold(0, u64::saturating_add)
}

fn longest_of_step(step: &StepPlan, ends: bool, send_ns: u64) -> u64 {
    match step {
        StepPlan::Request(request) => {
            let pause = request.think.as_ref().filter(|_| !ends);
            let pause_ns = pause.map_or(0, |think| think.max_ns());
            request.timeout_ns.saturating_add(pause_ns)
        }
        StepPlan::Open(open) => open.timeout_ns,
        StepPlan::Expect(expect) => expect.timeout_ns,
        StepPlan::Send(_) => send_ns,
        StepPlan::Close => CLOSE_NS,
        StepPlan::Think(_) if ends => 0,
        StepPlan::Think(think) => think.max_ns(),
        // Its time is measured with the pause at its end.
        StepPlan::Group { steps, .. } => longest_of(steps, false, send_ns),
        StepPlan::Repeat { times, steps, .. } => longest_of(steps, false, send_ns)
            .saturating_mul(times.max.saturating_sub(1).into())
            .saturating_add(longest_of(steps, ends, send_ns)),
        StepPlan::If {
            then, otherwise, ..
        } => longest_of(then, ends, send_ns).max(longest_of(otherwise, ends, send_ns)),
        StepPlan::Choose(branches) => {
            let of_branches = branches
                .iter()
                .map(|branch| longest_of(&branch.steps, ends, send_ns));
            of_branches.max().unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SECOND_NS;
    use super::*;
    use crate::harness::scenario::plan::{
        BranchPlan, ConditionPlan, OpenPlan, RequestPlan, StreamKind, Template, ThinkPlan,
        TimesPlan,
    };

    fn request(timeout_s: u64, think_s: u64) -> StepPlan {
        let request = RequestPlan {
            timeout_ns: timeout_s * SECOND_NS,
            think: (think_s > 0).then_some(ThinkPlan::Constant(think_s * SECOND_NS)),
            ..RequestPlan::get("/")
        };
        request.into()
    }

    fn repeat(min: u32, max: u32, steps: Vec<StepPlan>) -> StepPlan {
        StepPlan::Repeat {
            times: TimesPlan { min, max },
            until: None,
            steps,
        }
    }

    fn branch(weight: f64, steps: Vec<StepPlan>) -> BranchPlan {
        BranchPlan { weight, steps }
    }

    #[test]
    fn the_longest_way_through_a_flow_counts_without_its_last_pause() {
        let check = |steps: Vec<StepPlan>, expected_s: u64, steps_performed: u64| {
            assert_eq!(performed(&steps), steps_performed, "{steps:?}");
            let flow = FlowPlan::new(steps);
            assert_eq!(longest_ns(&flow), expected_s * SECOND_NS, "{flow:?}");
        };
        let pause = || StepPlan::Think(ThinkPlan::Constant(5 * SECOND_NS));
        check(vec![request(3, 1), request(4, 2)], 3 + 1 + 4, 2);
        check(vec![request(3, 0), pause(), request(4, 0)], 3 + 5 + 4, 3);
        check(vec![request(3, 0), pause()], 3, 2);
        // Twice with the pause, a third time without.
        check(vec![repeat(1, 3, vec![request(3, 1)])], 4 + 4 + 3, 3);
        check(
            vec![repeat(1, 3, vec![request(3, 1)]), request(1, 0)],
            13,
            4,
        );
        let way = |then, otherwise| StepPlan::If {
            condition: ConditionPlan::Chance(0.5),
            then,
            otherwise,
        };
        check(vec![way(vec![request(3, 9)], vec![request(2, 0); 2])], 4, 2);
        check(vec![way(vec![request(3, 9)], vec![]), request(1, 0)], 13, 2);
        let branches = vec![
            branch(9.0, vec![request(1, 0)]),
            branch(1.0, vec![request(7, 0)]),
        ];
        check(vec![StepPlan::Choose(branches)], 7, 1);
        let group = StepPlan::Group {
            name: "g".into(),
            steps: vec![request(1, 1), request(1, 1)],
        };
        check(vec![group], 1 + 1 + 1 + 1, 2);
        let open = |timeout_s: u64| {
            let mut plan = OpenPlan {
                name: "live".into(),
                kind: StreamKind::WebSocket,
                address: RequestPlan::get("/live").address,
                timeout_ns: 0,
            };
            plan.timeout_ns = timeout_s * SECOND_NS;
            StepPlan::Open(Box::new(plan))
        };
        let send = || StepPlan::Send(Template::literal("x"));
        check(
            vec![open(7), repeat(1, 2, vec![send()]), StepPlan::Close],
            22,
            4,
        );
    }

    #[test]
    fn a_loop_around_nothing_is_not_free() {
        let mut steps = vec![StepPlan::Choose(vec![branch(1.0, vec![])])];
        for _ in 0..3 {
            steps = vec![repeat(1, 100, steps)];
        }
        assert_eq!(performed(&steps), 1_000_000);
        let group = |steps| StepPlan::Group {
            name: "g".into(),
            steps,
        };
        assert_eq!(performed(&[repeat(1, 9, vec![group(vec![])])]), 9);
    }

    #[test]
    fn loops_within_loops_do_not_overflow() {
        let mut steps = vec![request(3600, 0)];
        for _ in 0..8 {
            steps = vec![repeat(1, 10_000, steps)];
        }
        assert_eq!(performed(&steps), u64::MAX);
        assert_eq!(longest_ns(&FlowPlan::new(steps)), u64::MAX);
    }
}
