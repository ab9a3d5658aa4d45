//! Gates: whether the metric exists, can be measured, and has the unit of its limits.

use std::ops::Range;

use toml::de::DeTable;

use super::loads::Load;
use super::processes::Process;
use super::unique;
use crate::harness::model::Unit;
use crate::harness::model::quantile::enough;
use crate::harness::scenario::catalogue::{self, LoadMetric, MetricKey, MetricSpec};
use crate::harness::scenario::limits::ABORTS_AFTER_NS;
use crate::harness::scenario::measurable::{Shortfall, is_asked_for_by_name, shortfall};
use crate::harness::scenario::plan::{Arrivals, GatePlan, Plan};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::quantity::{self, written_duration};
use crate::harness::scenario::raw::{self, Text, Value};

/// Reads the gates of a variant. One on a process or a probe that only other variants have is left
/// out.
pub(super) fn read(
    table: &DeTable<'_>,
    plan: &Plan,
    all: &[Process<'_>],
    loads: &[Load<'_>],
    problems: &mut Problems<'_>,
) -> Vec<GatePlan> {
    unique("gates", &metrics(table), problems);
    let named = naming(table, plan);
    let in_other_variants = Absent::new(table, &named, all, loads);
    raw::tables(table, "gate")
        .into_iter()
        .filter_map(|(table, _)| {
            let metric = raw::text(table, "metric")?;
            if in_other_variants.explains(metric.text) {
                return None;
            }
            Some(gate(&metric, table, &named, problems))
        })
        .collect()
}

/// The plan with gates that only name their metrics. A pattern such as `load.*.p9999` finds the
/// quantiles that gates name, so all are known before any is looked at.
pub(super) fn naming(table: &DeTable<'_>, plan: &Plan) -> Plan {
    let metrics = metrics(table).into_iter();
    Plan {
        gates: metrics.map(|metric| GatePlan::on(metric.text)).collect(),
        ..plan.clone()
    }
}

fn metrics<'a>(table: &'a DeTable<'_>) -> Vec<Text<'a>> {
    let gates = raw::tables(table, "gate").into_iter();
    gates
        .filter_map(|(gate, _)| raw::text(gate, "metric"))
        .collect()
}

/// What a metric may name although this plan lacks it, because another variant has it or because
/// something else that is wrong with it has been said.
struct Absent {
    prefixes: Vec<String>,
}

impl Absent {
    fn new(table: &DeTable<'_>, plan: &Plan, all: &[Process<'_>], loads: &[Load<'_>]) -> Self {
        let processes = all
            .iter()
            .map(|process| process.name.text)
            .filter(|name| !plan.processes.iter().any(|known| known.name == *name))
            .map(catalogue::process_prefix);
        let nameless = all.iter().any(Process::is_nameless);
        let any_process = nameless.then(|| catalogue::PROCESSES.to_owned());
        let probes = raw::named_tables(table, "probe")
            .into_iter()
            .filter(|(name, _)| !plan.probes.contains_key(name.text))
            .map(|(name, _)| MetricKey::Probe(name.text.to_owned()).to_string());
        let loads = loads.iter().filter(|load| !load.has_flow).flat_map(|load| {
            let name = &load.plan.name;
            [
                catalogue::requests_prefix(name),
                catalogue::groups_prefix(name),
            ]
        });
        Self {
            prefixes: processes
                .chain(any_process)
                .chain(probes)
                .chain(loads)
                .collect(),
        }
    }

    fn explains(&self, metric: &str) -> bool {
        self.prefixes.iter().any(|prefix| {
            metric
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| prefix.ends_with('.') || rest.is_empty())
        })
    }
}

fn gate(
    metric: &Text<'_>,
    table: &DeTable<'_>,
    plan: &Plan,
    problems: &mut Problems<'_>,
) -> GatePlan {
    let mut gate = GatePlan {
        regress: regress(table, problems),
        ..GatePlan::on(metric.text)
    };
    let found = match catalogue::select(plan, metric.text) {
        Ok(found) => found,
        Err(unknown) => {
            let help = unknown.nearest.map_or_else(
                || "metrics are `load.…`, `process.…`, `probe.…` and `bench.…`; `plimsoll list` names those of a scenario".to_owned(),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            problems.report(
                Code::UnknownMetric,
                metric.span.clone(),
                format!("this scenario produces no metric `{}`", metric.text),
                "no such metric",
                help,
            );
            return gate;
        }
    };
    check_measurable(&found, metric, plan, problems);
    check_margin(&found, table, plan, problems);
    let max = limit("max", table, &found, problems);
    let min = limit("min", table, &found, problems);
    if let (Some((max, span)), Some((min, _))) = (&max, &min)
        && max < min
    {
        problems.report(
            Code::OutOfRange,
            span.clone(),
            "`max` is below `min`",
            "no value is within",
            "swap the two, or remove one",
        );
    }
    gate.max = max.map(|(limit, _)| limit);
    gate.min = min.map(|(limit, _)| limit);
    if gate.max.or(gate.min).is_some() {
        gate.unit = found.first().map(|spec| spec.unit.clone());
    }
    gate.abort = abort(table, &found, plan, problems);
    gate
}

/// Says where a margin is on what only each rate of a search has, which no run has as a whole.
fn check_margin(
    found: &[MetricSpec],
    table: &DeTable<'_>,
    plan: &Plan,
    problems: &mut Problems<'_>,
) {
    let Some(place) = table.get("regress").map(Value::span) else {
        return;
    };
    let of_search = |spec: &MetricSpec| catalogue::is_of_a_search(plan, &spec.key);
    if let Some(load) = found.first().and_then(|spec| spec.key.load())
        && found.iter().all(of_search)
    {
        let capacity = catalogue::load_metric(load, LoadMetric::Capacity).path();
        problems.report(
            Code::UnknownMetric,
            place,
            "a run that looks for a capacity has this at each rate, and not as a whole",
            "nothing to compare",
            format!(
                "write the margin for `{capacity}`; `max` and `min` here are limits of the search"
            ),
        );
    }
}

/// Whether the gate ends the run, and complaints where it can't.
fn abort(
    table: &DeTable<'_>,
    found: &[MetricSpec],
    plan: &Plan,
    problems: &mut Problems<'_>,
) -> bool {
    if raw::bool_at(table, "abort") != Some(true) {
        return false;
    }
    let Some(value) = table.get("abort") else {
        return false;
    };
    let is_known_meanwhile = |spec: &MetricSpec| {
        let load = spec.key.load().and_then(|name| plan.load(name));
        load.is_some_and(|load| !load.arrivals.is_search())
    };
    if !found.iter().all(is_known_meanwhile) {
        problems.report(
            Code::OutOfRange,
            value.span(),
            "only a limit on a load can end the run, and none of a search for a capacity",
            "not known while the run lasts",
            "remove `abort`, or gate a metric of a load such as `load.NAME.error_rate`",
        );
    } else if plan.phases.measure_ns <= ABORTS_AFTER_NS {
        problems.report(
            Code::NoEffect,
            value.span(),
            "no run is that long that a limit could end it",
            format!(
                "no limit is looked at in the first {}s of the measure phase",
                ABORTS_AFTER_NS / 1_000_000_000
            ),
            "measure for longer, or remove `abort`: the limit is held against the run in any case",
        );
    }
    true
}

fn regress(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<f64> {
    let share = raw::share(table, "regress")?;
    if let (Err(expected), Some(value)) = (quantity::margin(share), table.get("regress")) {
        problems.report(
            Code::OutOfRange,
            value.span(),
            "`regress` is no margin",
            "not a margin",
            expected,
        );
    }
    Some(share)
}

fn limit(
    key: &str,
    table: &DeTable<'_>,
    found: &[MetricSpec],
    problems: &mut Problems<'_>,
) -> Option<(f64, Range<usize>)> {
    let value = table.get(key)?;
    let text = raw::number_text(value.get_ref())?;
    let unit = &found.first()?.unit;
    let read = if found.iter().all(|spec| &spec.unit == unit) {
        quantity::limit(&text, unit)
    } else {
        Err("the metrics that the pattern finds have different units; gate them apart".to_owned())
    };
    match read {
        Ok(limit) => Some((limit, value.span())),
        Err(help) => {
            problems.report(
                Code::LimitUnit,
                value.span(),
                format!("`{}` is no limit for this metric", text),
                format!("the metric is in {}", unit_name(unit)),
                help,
            );
            None
        }
    }
}

fn unit_name(unit: &Unit) -> String {
    match unit {
        Unit::Nanoseconds => "units of time".to_owned(),
        Unit::Bytes => "bytes".to_owned(),
        Unit::PerSecond => "events per second".to_owned(),
        Unit::BytesPerSecond => "bytes per second".to_owned(),
        Unit::Ratio => "shares".to_owned(),
        Unit::Count => "plain numbers".to_owned(),
        Unit::Cores => "cores".to_owned(),
        Unit::Other(own) => format!("`{own}`"),
    }
}

/// Says where an open load can't offer as many requests as a quantile needs, however well the
/// service does. A closed load's requests can't be told beforehand.
fn check_measurable(
    found: &[MetricSpec],
    metric: &Text<'_>,
    plan: &Plan,
    problems: &mut Problems<'_>,
) {
    let too_few = found
        .iter()
        .filter_map(|spec| Some((spec, shortfall(plan, spec)?)));
    let (asked, by_the_way): (Vec<_>, Vec<_>) =
        too_few.partition(|(spec, _)| is_asked_for_by_name(&spec.path(), metric.text));
    // `load.reads.*` finds quantiles that nobody asked for by name. Where it finds nothing else, it
    // would judge nothing.
    let finds_nothing_else = by_the_way.len() == found.len();
    let first = by_the_way.iter().take(usize::from(finds_nothing_else));
    for (spec, shortfall) in asked.iter().chain(first) {
        let load = spec.key.load().and_then(|name| plan.load(name));
        let arrivals = load.map(|load| &load.arrivals);
        report_too_few(shortfall, arrivals, metric, plan, problems);
    }
}

fn report_too_few(
    shortfall: &Shortfall,
    arrivals: Option<&Arrivals>,
    metric: &Text<'_>,
    plan: &Plan,
    problems: &mut Problems<'_>,
) {
    let needed = |ns: u64| written_duration(enough(ns as f64 / 1e9, shortfall.beyond));
    let help = match arrivals {
        _ if shortfall.beyond <= 0.0 => {
            "let requests arrive in the measure phase, or gate another metric".to_owned()
        }
        Some(Arrivals::Capacity { hold_ns, .. }) => format!(
            "`hold` each rate for at least {}, begin at a higher one, or gate a lower quantile",
            needed(*hold_ns)
        ),
        Some(Arrivals::Trace { .. }) => "record more arrivals, or gate a lower quantile".to_owned(),
        _ => {
            let how = if plan.searches() {
                "`hold` each rate"
            } else {
                "measure"
            };
            format!(
                "{how} for at least {} at this rate, or gate a lower quantile",
                needed(plan.phases.measure_ns)
            )
        }
    };
    problems.report(
        Code::NotMeasurable,
        metric.span.clone(),
        format!("too few requests for {}", shortfall.quantile.in_words()),
        shortfall.to_string(),
        help,
    );
}
