//! Whether a stream is open where a step uses it, on one way through the flow at least.

use toml::de::DeTable;

use super::outline::{Kind, Step};
use crate::harness::scenario::plan::StreamKind;
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;

/// What may be open at a place of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    nothing: bool,
    websocket: bool,
    events: bool,
}

impl Open {
    const NOTHING: Self = Self {
        nothing: true,
        websocket: false,
        events: false,
    };

    fn only(kind: StreamKind) -> Self {
        Self {
            nothing: false,
            websocket: kind == StreamKind::WebSocket,
            events: kind == StreamKind::Events,
        }
    }

    /// What may be open behind several ways.
    fn or(self, other: Self) -> Self {
        Self {
            nothing: self.nothing || other.nothing,
            websocket: self.websocket || other.websocket,
            events: self.events || other.events,
        }
    }
}

/// Reports steps of a flow that can't find the stream that they need, or find one too many.
pub(super) fn check(steps: &[Step<'_>], problems: &mut Problems<'_>) {
    walk(steps, Open::NOTHING, problems);
}

/// What may be open behind the steps.
fn walk(steps: &[Step<'_>], before: Open, problems: &mut Problems<'_>) -> Open {
    steps
        .iter()
        .fold(before, |open, step| pass(step, open, problems))
}

fn pass(step: &Step<'_>, open: Open, problems: &mut Problems<'_>) -> Open {
    match step.kind {
        Some(Kind::Open(kind)) => {
            if !open.nothing {
                report(
                    step,
                    "a stream is open already",
                    "the second one at a time",
                    "write `close = true` before it",
                    problems,
                );
            }
            Open::only(kind)
        }
        Some(Kind::Send) => {
            if !open.websocket {
                report(
                    step,
                    "there is no WebSocket to send this over",
                    "none is open here",
                    "write a step with `websocket = \"/…\"` before it",
                    problems,
                );
            }
            open
        }
        Some(Kind::Expect) => {
            let event = raw::table(step.table, "expect")
                .is_some_and(|(table, _)| table.contains_key("event"));
            if event && !open.events {
                report(
                    step,
                    "there is no stream of events to wait for this on",
                    "none is open here",
                    "write a step with `events = \"/…\"` before it, or remove `event`",
                    problems,
                );
            } else if !(open.websocket || open.events) {
                report(
                    step,
                    "there is no stream to wait for this on",
                    "none is open here",
                    "write a step with `websocket` or `events` before it",
                    problems,
                );
            }
            open
        }
        Some(Kind::Close) => {
            if open == Open::NOTHING {
                report(
                    step,
                    "there is no stream to close",
                    "none is open here",
                    "remove it",
                    problems,
                );
            }
            Open::NOTHING
        }
        Some(Kind::If) => {
            let then = walk(step.inside(0), open, problems);
            then.or(walk(step.inside(1), open, problems))
        }
        Some(Kind::Choice) => {
            let behind = step
                .inner
                .iter()
                .map(|branch| walk(branch, open, problems))
                .reduce(Open::or);
            behind.unwrap_or(open)
        }
        Some(Kind::Repeat) => {
            // The second pass begins with what the first one leaves open.
            let once = walk(step.inside(0), open, problems);
            if repeats(step.table) {
                once.or(walk(step.inside(0), once, problems))
            } else {
                once
            }
        }
        _ => walk(step.inside(0), open, problems),
    }
}

fn repeats(table: &DeTable<'_>) -> bool {
    let most = match raw::table(table, "repeat") {
        Some((table, _)) => raw::integer_at(table, "max"),
        None => raw::integer_at(table, "repeat"),
    };
    most.is_some_and(|most| most > 1)
}

fn report(step: &Step<'_>, message: &str, label: &str, help: &str, problems: &mut Problems<'_>) {
    problems.report(Code::StreamOrder, step.span.clone(), message, label, help);
}
