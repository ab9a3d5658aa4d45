//! A load: what it did, its arithmetic, and what there is to see of it.

use serde::Serialize;

use crate::harness::model::{ArrivalModel, Run};
use crate::harness::report::format::{self, rate};
use crate::harness::report::input::ReportInput;
use crate::harness::report::load::LoadSummary;
use crate::harness::report::text;
use crate::harness::report::words;
use crate::harness::scenario::{Arrivals, Spacing, Stage, highest, is_constant};

use super::capacity::Search;
use super::curves::figures;
use super::requests::{connections, errors, groups, requests};
use super::table::{Figure, Table};

/// One load.
#[derive(Debug, Serialize)]
pub(super) struct LoadSection {
    /// For links: names are hostile, numbers are not.
    id: String,
    title: String,
    /// What it did, in a sentence.
    about: String,
    /// What was found, where it searched for its capacity.
    search: Option<Search>,
    /// The sums that must come out, in order.
    arithmetic: Vec<Sum>,
    figures: Vec<Figure>,
    requests: Table,
    groups: Option<Table>,
    connections: Option<Table>,
    errors: Option<Table>,
}

/// A number of the arithmetic: `= 18,000 offered`.
#[derive(Debug, Serialize)]
struct Sum {
    /// What stands before it: nothing, `=` or `+`.
    sign: &'static str,
    count: String,
    label: &'static str,
    /// Whether it is a failure and there is one.
    alarming: bool,
}

impl LoadSection {
    pub(super) fn new(
        at: usize,
        load: &LoadSummary,
        shown: Option<&Run>,
        base: &[LoadSummary],
        input: &ReportInput<'_>,
    ) -> Self {
        Self {
            id: format!("load-{}", at + 1),
            title: text::shown(&load.name, 60),
            about: about(load, input),
            search: shown.and_then(|run| Search::new(load, run, base, input)),
            arithmetic: arithmetic(load),
            figures: figures(load, shown, base, input),
            requests: requests(load, base.iter().find(|base| base.name == load.name)),
            groups: groups(load),
            connections: connections(load),
            errors: errors(load),
        }
    }
}

fn about(load: &LoadSummary, input: &ReportInput<'_>) -> String {
    let planned = input.plan.and_then(|plan| plan.load(&load.name));
    let users = |users: &u32| format::counted(u64::from(*users), "user");
    let arrivals = match planned.map(|planned| &planned.arrivals) {
        Some(Arrivals::Open {
            stages,
            spacing,
            max_in_flight,
        }) => format!(
            "{}, whatever the answers do, by at most {}",
            at_a_rate(stages, *spacing),
            users(max_in_flight)
        ),
        Some(Arrivals::Trace {
            speed,
            arrivals,
            max_in_flight,
            ..
        }) => {
            let speed = match *speed == 1.0 {
                true => String::new(),
                false => format!(", {speed} times as fast"),
            };
            format!(
                "{} at recorded times{speed}, whatever the answers do, by at most {}",
                format::counted(*arrivals, "arrival"),
                users(max_in_flight)
            )
        }
        Some(Arrivals::Capacity {
            from,
            to,
            hold_ns,
            spacing,
            ..
        }) => format!(
            "Arrivals at several rates in turn between {} and {}, each for {}, to find the highest at which the limits \
             hold, whatever the answers do{}",
            rate(*from),
            rate(*to),
            format::duration_ns(*hold_ns),
            spaced(*spacing)
        ),
        Some(closed @ Arrivals::Closed { stages, .. }) => {
            let up_to = match is_constant(stages) {
                true => "",
                false => "Up to ",
            };
            match closed.most_users().unwrap_or(0) {
                1 => "1 user that waits for its answers".to_owned(),
                users => format!(
                    "{up_to}{} that wait for their answers",
                    format::counted(users, "user")
                ),
            }
        }
        None => match load.model {
            ArrivalModel::Open => "Arrivals at a rate, whatever the answers do".to_owned(),
            ArrivalModel::Closed => "Users that wait for their answers".to_owned(),
        },
    };
    let clock = match load.model {
        ArrivalModel::Open => " Response times count from the moment at which a request was due.",
        ArrivalModel::Closed => "",
    };
    let found =
        words::capacity(&load.searches).map_or_else(String::new, |found| format!("{found} "));
    format!(
        "{arrivals}; flow {}. {found}Measured for {} in {}.{clock}",
        text::shown(&load.flow, 60),
        format::duration_ns(load.measured_ns),
        format::counted(load.runs as u64, "run"),
    )
}

/// How arrivals of a rate come, as the beginning of a sentence.
fn at_a_rate(stages: &[Stage], spacing: Spacing) -> String {
    let highest = rate(highest(stages));
    match is_constant(stages) {
        true => format!("Arrivals at {highest}{}", spaced(spacing)),
        false => format!("Arrivals at a rate of up to {highest}{}", spaced(spacing)),
    }
}

fn spaced(spacing: Spacing) -> &'static str {
    match spacing {
        Spacing::Even => "",
        Spacing::Poisson => " at random (Poisson)",
    }
}

fn arithmetic(load: &LoadSummary) -> Vec<Sum> {
    let counts = &load.counts;
    let sum = |sign, count: u64, label, bad| Sum {
        sign,
        count: format::count(count),
        label,
        alarming: bad && count > 0,
    };
    let mut sums = vec![
        sum("", counts.offered, "offered", false),
        sum("=", counts.completed, "completed", false),
        sum("+", counts.failed, "failed", true),
        sum("+", counts.cancelled, "cut off at the end", false),
    ];
    if load.model == ArrivalModel::Open {
        sums.push(sum("+", counts.dropped, "dropped", true));
    }
    sums
}
