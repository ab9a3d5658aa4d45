//! One arrival process that is shared by the loads with a weight.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeTable;

use super::phases::Phases;
use super::shapes::{CLOSED, OPEN, spacing, stages};
use crate::harness::scenario::plan::{Arrivals, UserShare, default_in_flight};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text, Value};
use crate::harness::scenario::shares;

/// A load with a weight.
struct Weighted<'a> {
    load: Text<'a>,
    weight: u32,
    /// The place of its weight.
    place: Range<usize>,
}

/// What the mix says.
#[derive(Default)]
pub(super) struct Mix {
    /// The weights of the loads that share it.
    pub(super) weights: BTreeMap<String, u32>,
    /// What arrives at each of them.
    pub(super) arrivals: BTreeMap<String, Arrivals>,
}

pub(super) fn read(table: &DeTable<'_>, phases: &Phases, problems: &mut Problems<'_>) -> Mix {
    let weighted = weighted(table);
    let Some((mix, span)) = raw::table(table, "mix") else {
        if let (Some(first), false) = (weighted.first(), table.contains_key("mix")) {
            problems.report(
                Code::MissingKey,
                first.place.clone(),
                "a `weight` is a share of `[mix]`, and there is none",
                "a share of what?",
                "add `[mix]` with `open = { rate = \"…/s\" }`, or give the load arrivals of its own",
            );
        }
        return Mix::default();
    };
    if weighted.is_empty() {
        let mut loads = raw::named_tables(table, "load").into_iter();
        if !loads.any(|(_, load)| load.contains_key("weight")) {
            problems.report(
                Code::MissingKey,
                span,
                "no load has a share of the mix",
                "shared by whom?",
                "give loads a `weight` in the place of `open` or `closed`",
            );
        }
        return Mix::default();
    }
    let weights: Vec<u32> = weighted.iter().map(|load| load.weight).collect();
    let arrivals: Vec<Arrivals> = if let Some((closed, _)) = raw::table(mix, "closed") {
        let stages = stages(closed, &CLOSED, phases, problems);
        let shared = |nth| Arrivals::Closed {
            stages: stages.clone(),
            share: Some(UserShare {
                weights: weights.clone(),
                nth,
            }),
        };
        let shared: Vec<Arrivals> = (0..weights.len()).map(shared).collect();
        check_users(&weighted, &shared, problems);
        shared
    } else if let Some((open, _)) = raw::table(mix, "open") {
        of_rate(open, &weights, phases, problems)
    } else {
        Vec::new()
    };
    let names = || weighted.iter().map(|load| load.load.text.to_owned());
    Mix {
        weights: names().zip(weights).collect(),
        arrivals: names().zip(arrivals).collect(),
    }
}

fn weighted<'a>(table: &'a DeTable<'_>) -> Vec<Weighted<'a>> {
    let loads = raw::named_tables(table, "load").into_iter();
    let weighted = loads.filter_map(|(load, table)| {
        let weight = raw::integer_at(table, "weight")?;
        let weight = u32::try_from(weight).ok().filter(|weight| *weight > 0)?;
        let place = table.get("weight").map(Value::span)?;
        Some(Weighted {
            load,
            weight,
            place,
        })
    });
    weighted.collect()
}

fn of_rate(
    open: &DeTable<'_>,
    weights: &[u32],
    phases: &Phases,
    problems: &mut Problems<'_>,
) -> Vec<Arrivals> {
    let stages = stages(open, &OPEN, phases, problems);
    let users = in_flight(open, weights, problems);
    let spacing = spacing(open);
    let shared = shares::of_rate(&stages, weights).into_iter().enumerate();
    shared
        .map(|(at, stages)| Arrivals::Open {
            max_in_flight: users
                .as_ref()
                .map_or_else(|| default_in_flight(&stages), |users| users[at]),
            stages,
            spacing,
        })
        .collect()
}

/// The users of each load, where the mix says how many there are of all of them; at least one each.
fn in_flight(open: &DeTable<'_>, weights: &[u32], problems: &mut Problems<'_>) -> Option<Vec<u32>> {
    let all = raw::integer_at(open, "max_in_flight").and_then(|users| u32::try_from(users).ok())?;
    if let Some(place) = open.get("max_in_flight").map(Value::span)
        && (all as usize) < weights.len()
    {
        problems.report(
            Code::OutOfRange,
            place,
            format!("`max_in_flight` must be at least {}", weights.len()),
            "fewer users than loads",
            "each load that shares the mix needs a user",
        );
    }
    Some(shares::at_least_one(all, weights))
}

/// Says who has no user even when there are most.
fn check_users(weighted: &[Weighted<'_>], shared: &[Arrivals], problems: &mut Problems<'_>) {
    let users: Vec<u64> = shared.iter().filter_map(Arrivals::most_users).collect();
    // Where there is nobody at all, that is said of the stages.
    if users.iter().all(|users| *users == 0) {
        return;
    }
    for (load, _) in weighted
        .iter()
        .zip(&users)
        .filter(|(_, users)| **users == 0)
    {
        problems.report(
            Code::OutOfRange,
            load.place.clone(),
            format!("load `{}` gets none of the mix's users", load.load.text),
            "less than one user",
            "let the mix have more users, or give the load a larger `weight`",
        );
    }
}
