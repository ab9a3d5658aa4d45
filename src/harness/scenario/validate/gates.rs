//! Gates: whether the metric exists, can be measured, and has the unit of its limits.

use std::ops::Range;

use toml::de::DeTable;

use super::loads::Load;
use super::processes::Process;
use super::unique;
use crate::harness::model::Unit;
use crate::harness::model::quantile::{NEEDED_BEYOND, enough};
use crate::harness::scenario::catalogue::{self, MetricKey, MetricSpec};
use crate::harness::scenario::measurable::{Shortfall, is_asked_for_by_name, shortfall};
use crate::harness::scenario::plan::{GatePlan, Plan};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::quantity;
use crate::harness::scenario::raw::{self, Text};

/// Reads the gates of a variant. One on a process or a probe that only other variants have is left
/// out.
pub(super) fn read(
    table: &DeTable<'_>,
    plan: &Plan,
    all: &[Process<'_>],
    loads: &[Load<'_>],
    problems: &mut Problems<'_>,
) -> Vec<GatePlan> {
    let tables = raw::tables(table, "gate");
    let metrics: Vec<Text<'_>> = tables
        .iter()
        .filter_map(|(table, _)| raw::text(table, "metric"))
        .collect();
    unique("gates", &metrics, problems);

    // A pattern such as `load.*.p9999` finds the quantiles that gates name, so all are known first.
    let mut named = plan.clone();
    named.gates = metrics
        .iter()
        .map(|metric| GatePlan::on(metric.text))
        .collect();
    let in_other_variants = Absent::new(table, &named, all, loads);
    tables
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
        let loads = loads
            .iter()
            .filter(|load| !load.has_flow)
            .map(|load| catalogue::requests_prefix(&load.plan.name));
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
    gate
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
        .filter_map(|spec| Some((spec.path(), shortfall(plan, spec)?)));
    let (asked, by_the_way): (Vec<_>, Vec<_>) =
        too_few.partition(|(path, _)| is_asked_for_by_name(path, metric.text));
    // `load.reads.*` finds quantiles that nobody asked for by name. Where it finds nothing else, it
    // would judge nothing.
    let finds_nothing_else = by_the_way.len() == found.len();
    let first = by_the_way.iter().take(usize::from(finds_nothing_else));
    for (_, shortfall) in asked.iter().chain(first) {
        report_too_few(shortfall, metric, plan, problems);
    }
}

fn report_too_few(
    shortfall: &Shortfall,
    metric: &Text<'_>,
    plan: &Plan,
    problems: &mut Problems<'_>,
) {
    let help = match shortfall.beyond > 0.0 {
        true => {
            let seconds = enough(plan.phases.measure_ns as f64 / 1e9, shortfall.beyond);
            format!("measure for at least {seconds}s at this rate, or gate a lower quantile")
        }
        false => "let requests arrive in the measure phase, or gate another metric".to_owned(),
    };
    problems.report(
        Code::NotMeasurable,
        metric.span.clone(),
        format!("too few requests for {}", shortfall.quantile),
        format!(
            "about {} of {} lie beyond it; {NEEDED_BEYOND} are needed",
            shortfall.beyond.round(),
            shortfall.expected.round(),
        ),
        help,
    );
}
