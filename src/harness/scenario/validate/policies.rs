//! How long a step may take, and what is tried again.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::outline::Step;
use crate::harness::scenario::plan::RetryPlan;
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Value};
use crate::harness::scenario::structure::status_range;

/// The duration at `key`, which may not be zero.
pub(super) fn positive(table: &DeTable<'_>, key: &str, problems: &mut Problems<'_>) -> Option<u64> {
    let ns = raw::duration_ns(table, key)?;
    if ns == 0
        && let Some(value) = table.get(key)
    {
        problems.report(
            Code::OutOfRange,
            value.span(),
            format!("`{key}` must be longer than nothing"),
            "no time at all",
            "write a time above zero, such as `\"30s\"`",
        );
    }
    Some(ns)
}

/// How many redirects are followed, where the table says so.
pub(super) fn redirects(table: &DeTable<'_>) -> Option<u32> {
    raw::integer_at(table, "redirects").and_then(|number| u32::try_from(number).ok())
}

/// What is tried again, and where the pause before that is written.
#[derive(Clone)]
pub(super) struct Retry {
    pub(super) plan: RetryPlan,
    wait: Option<Range<usize>>,
}

/// What is tried again, where the table says so.
pub(super) fn retry(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<Retry> {
    let (retry, span) = raw::table(table, "retry")?;
    let plan = RetryPlan {
        times: raw::integer_at(retry, "times")
            .and_then(|times| u32::try_from(times).ok())
            .unwrap_or(1),
        status: retry.get("status").map(statuses).unwrap_or_default(),
        on_connection_failure: raw::bool_at(retry, "connection").unwrap_or(true),
        wait_ns: raw::duration_ns(retry, "wait").unwrap_or(0),
    };
    if !plan.on_connection_failure && !retry.contains_key("status") {
        problems.report(
            Code::OutOfRange,
            span,
            "nothing is tried again",
            "neither a status nor a failed connection",
            "add `status`, or remove `connection = false`",
        );
    }
    Some(Retry {
        plan,
        wait: retry.get("wait").map(Value::span),
    })
}

impl Retry {
    /// Reports a pause that leaves the request at `step` no time for a further attempt.
    pub(super) fn check(&self, timeout_ns: u64, step: &Step<'_>, problems: &mut Problems<'_>) {
        let Some(wait) = self
            .wait
            .as_ref()
            .filter(|_| self.plan.wait_ns >= timeout_ns)
        else {
            return;
        };
        let report = problems.report(
            Code::OutOfRange,
            wait.clone(),
            "the wait is as long as the timeout, which holds for all attempts together",
            "nothing is ever tried again",
            format!(
                "wait for less than {} s, or write a longer `timeout`",
                timeout_ns as f64 / 1e9
            ),
        );
        if !step.table.contains_key("retry") {
            report.related(step.span.clone(), "of this step");
        }
    }
}

/// `200`, `"2xx"` or a list of them, as inclusive ranges.
pub(super) fn statuses(value: &Value<'_>) -> Vec<(u16, u16)> {
    let one = |value: &Value<'_>| match value.get_ref() {
        DeValue::String(text) => status_range(text),
        number => raw::integer(number)
            .and_then(|number| u16::try_from(number).ok())
            .map(|number| (number, number)),
    };
    match value.get_ref() {
        DeValue::Array(array) => array.iter().filter_map(one).collect(),
        _ => one(value).into_iter().collect(),
    }
}
