//! Loads that look for their capacity: what they need of a scenario.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use toml::de::DeTable;

use super::feeds::Feed;
use super::loads::Load;
use super::policies::positive;
use super::shapes::{report_rate, spacing};
use super::{SECOND_NS, gates};
use crate::harness::model::quantile::enough;
use crate::harness::scenario::catalogue;
use crate::harness::scenario::keys::MAX_RATE_PER_S;
use crate::harness::scenario::measurable::{is_asked_for_by_name, shortfall};
use crate::harness::scenario::plan::{Arrivals, FeedOrder, Plan, Stage, highest, is_constant};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Value};

const DEFAULT_WITHIN: f64 = 0.05;
/// Closer than this no two runs of one build agree; wider than this it is hardly a number.
const WITHIN: RangeInclusive<f64> = 0.001..=0.5;
const DEFAULT_HOLD_NS: u64 = 10 * SECOND_NS;
/// What needs longer should be asked for.
const LONGEST_DEFAULT_HOLD_NS: u64 = 60 * SECOND_NS;

/// The search that a table describes; what is wrong is NaN.
pub(super) fn read(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Arrivals {
    let mut rate = |key: &str| {
        let rate = raw::rate_per_s(table, key).unwrap_or(f64::NAN);
        if let Some(place) = table.get(key).map(Value::span)
            && (rate == 0.0 || rate > MAX_RATE_PER_S)
        {
            report_rate(key, place, problems);
        }
        rate
    };
    let (from, to) = (rate("from"), rate("to"));
    if let Some(place) = table.get("to").map(Value::span)
        && to <= from
    {
        problems.report(
            Code::OutOfRange,
            place,
            "`to` must be above `from`",
            "there is nothing between them",
            "write the lowest rate that is worth trying as `from` and the highest as `to`",
        );
    }
    let within = raw::share(table, "within");
    if let (Some(place), Some(within)) = (table.get("within").map(Value::span), within)
        && !WITHIN.contains(&within)
    {
        problems.report(
            Code::OutOfRange,
            place,
            "`within` must be 0.1 % to 50 %",
            "out of range",
            "write how wide the interval may be that the capacity lies in: `\"5%\"`",
        );
    }
    Arrivals::Capacity {
        from,
        to,
        within: within.unwrap_or(DEFAULT_WITHIN),
        hold_ns: positive(table, "hold", problems).unwrap_or(DEFAULT_HOLD_NS),
        spacing: spacing(table),
        max_in_flight: raw::integer_at(table, "max_in_flight")
            .and_then(|users| u32::try_from(users).ok()),
    }
}

/// Lengthens the hold of a search, where the file doesn't say it, so that the quantiles that gates ask
/// for have requests enough at the lowest rate, and those on the loads beside it too. It is the measure
/// phase of all of them.
pub(super) fn set_hold(table: &DeTable<'_>, plan: &mut Plan, loads: &[Load<'_>]) {
    measure_as_held(plan);
    let is_default = |name: &str| {
        let mut loads = loads.iter();
        loads.any(|load| load.plan.name == name && load.has_default_hold)
    };
    let named = gates::naming(table, plan);
    for load in &mut plan.loads {
        let Arrivals::Capacity { hold_ns, .. } = &mut load.arrivals else {
            continue;
        };
        if !is_default(&load.name) {
            continue;
        }
        let asked = named.gates.iter().flat_map(|gate| {
            let found = catalogue::select(&named, &gate.metric).unwrap_or_default();
            let found = found.into_iter();
            found.filter(|spec| is_asked_for_by_name(&spec.path(), &gate.metric))
        });
        let needed_ns = asked
            .filter_map(|spec| shortfall(&named, &spec))
            .map(|shortfall| enough(*hold_ns as f64 / 1e9, shortfall.beyond) * 1e9)
            .filter(|needed_ns| *needed_ns <= LONGEST_DEFAULT_HOLD_NS as f64);
        *hold_ns = needed_ns.fold(*hold_ns as f64, f64::max) as u64;
    }
    measure_as_held(plan);
}

/// While a load looks for its capacity, each of its rates is measured for the hold.
fn measure_as_held(plan: &mut Plan) {
    let holds = plan.loads.iter().filter_map(|load| match load.arrivals {
        Arrivals::Capacity { hold_ns, .. } => Some(hold_ns),
        _ => None,
    });
    if let Some(hold_ns) = holds.max() {
        plan.phases.measure_ns = hold_ns;
    }
}

/// Says where a measure phase has a length that none will have.
pub(super) fn check_measure(table: &DeTable<'_>, loads: &[Load<'_>], problems: &mut Problems<'_>) {
    let searches = loads.iter().any(|load| load.plan.arrivals.is_search());
    if let Some((phases, _)) = raw::table(table, "phases").filter(|_| searches)
        && let Some((key, _)) = phases.get_key_value("measure")
    {
        problems.report(
            Code::NoEffect,
            key.span(),
            "`measure` is not looked at where a load looks for its capacity",
            "each rate is measured for its `hold`",
            "remove it; how long each rate is measured is `hold` of the load's `capacity`",
        );
    }
}

/// Says where a search is disturbed by another, or by a load that changes meanwhile.
pub(super) fn check_alone(loads: &[Load<'_>], problems: &mut Problems<'_>) {
    let mut searches = loads.iter().filter(|load| load.plan.arrivals.is_search());
    let Some(first) = searches.next() else {
        return;
    };
    for other in searches {
        problems
            .report(
                Code::ConflictingKeys,
                other.place.clone(),
                "two loads look for their capacity",
                "only one can",
                "let the other arrive at a constant rate, or give it a scenario of its own",
            )
            .related(first.place.clone(), "the other one");
    }
    for load in loads.iter().filter(|load| changes(&load.plan.arrivals)) {
        problems
            .report(
                Code::ConflictingKeys,
                load.place.clone(),
                format!(
                    "load `{}` changes while another looks for its capacity",
                    load.name.text
                ),
                "not constant",
                "each rate that is tried must meet the same: write one `rate` or number of `users`",
            )
            .related(first.place.clone(), "looks for its capacity");
    }
}

/// Whether what arrives is not the same all the time. Of what is itself wrong nothing is said.
fn changes(arrivals: &Arrivals) -> bool {
    match arrivals {
        Arrivals::Open { stages, .. } | Arrivals::Closed { stages, .. } => {
            let is_wrong = |stage: &Stage| stage.from.is_nan() || stage.to.is_nan();
            !is_constant(stages) && !stages.iter().any(is_wrong)
        }
        Arrivals::Trace { .. } => true,
        Arrivals::Capacity { .. } => false,
    }
}

/// Says where a feed whose rows are drawn once has too few of them for a search whose target bears every
/// rate: no row comes twice in a run, and all rates are of one. How many a closed load draws nobody knows.
pub(super) fn check_rows(
    plan: &Plan,
    feeds: &BTreeMap<String, Feed>,
    loads: &[Load<'_>],
    problems: &mut Problems<'_>,
) {
    let searches = loads
        .iter()
        .filter_map(|load| match plan.load(&load.plan.name)?.arrivals {
            Arrivals::Capacity {
                from, to, hold_ns, ..
            } => Some((load, from, to, hold_ns)),
            _ => None,
        });
    for (load, from, to, hold_ns) in searches {
        let length_ns = plan.phases.total_ns() - plan.phases.measure_ns;
        let length_s = length_ns.saturating_add(hold_ns) as f64 / 1e9;
        let unique = feeds
            .iter()
            .filter(|(_, feed)| feed.plan.order == FeedOrder::Unique && feed.is_readable);
        for (name, feed) in unique {
            let drawing = plan.drawing(name);
            // They take turns, so that each passes over the rows of the others.
            let iterations = drawing.iter().map(|drawing| match &drawing.arrivals {
                Arrivals::Capacity { .. } => rates(from, to).sum::<f64>(),
                Arrivals::Open { stages, .. } => highest(stages) * rates(from, to).count() as f64,
                Arrivals::Trace { .. } | Arrivals::Closed { .. } => 0.0,
            });
            let most = iterations.fold(0.0, f64::max) * length_s;
            let needed = (most * drawing.len() as f64).ceil();
            if needed > feed.rows as f64 {
                problems.report(
                    Code::UniqueFeed,
                    load.place.clone(),
                    format!(
                        "feed `{name}` has {} rows, and a search up to {to}/s draws about {needed} of them, each once",
                        feed.rows
                    ),
                    "too few rows",
                    "give the feed more rows or another `order`, or look for the capacity below a lower `to`",
                );
            }
        }
    }
}

/// The rates of a search whose target bears each of them: doubled up to the last, which is confirmed.
fn rates(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let doubled = std::iter::successors(Some(from), |rate| Some(2.0 * rate));
    // What is itself wrong is no rate: not a number, which no rate is below.
    let doubled = doubled.take_while(move |rate| 0.0 < *rate && *rate < to);
    doubled.chain([to, to])
}

/// Says where no gate of the file limits a load that looks for its capacity. A gate that is wrong is
/// one all the same.
pub(super) fn check_limited(
    table: &DeTable<'_>,
    plan: &Plan,
    loads: &[Load<'_>],
    problems: &mut Problems<'_>,
) {
    for load in loads.iter().filter(|load| load.plan.arrivals.is_search()) {
        let name = load.name.text;
        let is_of_whole = |metric: &str| {
            catalogue::of_load(metric).is_some_and(|(_, what)| what.is_of_whole_search())
        };
        let is_on_it = |metric: &str| {
            let found = catalogue::select(plan, metric).unwrap_or_default();
            let mut searched = found.iter().filter(|spec| spec.key.load() == Some(name));
            searched.any(|spec| catalogue::is_of_a_search(plan, &spec.key))
                || (metric.starts_with(&catalogue::load_prefix(name)) && !is_of_whole(metric))
        };
        let is_limited = raw::tables(table, "gate").into_iter().any(|(gate, _)| {
            let limits = gate.contains_key("max") || gate.contains_key("min");
            limits && raw::text(gate, "metric").is_none_or(|metric| is_on_it(metric.text))
        });
        if !is_limited {
            problems.report(
                Code::MissingKey,
                load.place.clone(),
                format!(
                    "load `{name}` looks for its capacity, and no gate says when a rate is too high"
                ),
                "limited by what?",
                format!(
                    "add `[[gate]]` with `metric = \"{}p95\"` and the `max` that it has to keep",
                    catalogue::load_prefix(name)
                ),
            );
        }
    }
}
