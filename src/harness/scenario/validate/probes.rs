//! Probes: numbers derived from the Prometheus text of a process.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

use super::processes::{self, Process};
use crate::harness::model::{Direction, Unit};
use crate::harness::scenario::keys::SOURCES;
use crate::harness::scenario::label::quoted;
use crate::harness::scenario::plan::{Plan, ProbePlan, ProbeSource, Selector, Target};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text};

/// Reads the probes of a variant. One on a process that only other variants have is left out.
pub(super) fn read(
    table: &DeTable<'_>,
    plan: &Plan,
    all: &[Process<'_>],
    problems: &mut Problems<'_>,
) -> BTreeMap<String, ProbePlan> {
    raw::named_tables(table, "probe")
        .into_iter()
        .filter_map(|(name, table)| {
            let probe = probe(&name, table, plan, all, problems)?;
            Some((name.text.to_owned(), probe))
        })
        .collect()
}

fn probe(
    name: &Text<'_>,
    table: &DeTable<'_>,
    plan: &Plan,
    all: &[Process<'_>],
    problems: &mut Problems<'_>,
) -> Option<ProbePlan> {
    let key = SOURCES.into_iter().find(|key| table.contains_key(*key));
    let better = match raw::text(table, "better") {
        Some(better) if better.text == "lower" => Direction::Lower,
        Some(_) => Direction::Higher,
        None => {
            if let Some(key @ ("increase" | "mean" | "max")) = key
                && !table.contains_key("better")
            {
                problems.report(
                    Code::MissingKey,
                    name.span.clone(),
                    format!("a probe with `{key}` needs `better`"),
                    "which way is better?",
                    "write `better = \"lower\"` or `better = \"higher\"`",
                );
            }
            Direction::Higher
        }
    };
    let unit = raw::text(table, "unit").map(|unit| unit_of(unit.text));
    let (unit, scale) = unit.unwrap_or_else(|| {
        let unit = match key {
            Some("ratio") => Unit::Ratio,
            Some("rate") => Unit::PerSecond,
            _ => Unit::Count,
        };
        (unit, 1.0)
    });
    let source = source(key, table, problems);
    let process = process(name, table, plan, all, problems)?;
    Some(ProbePlan {
        process,
        unit,
        scale,
        source: source?,
        better,
    })
}

/// The process whose metrics are read: the named one, or else the target.
fn process(
    name: &Text<'_>,
    table: &DeTable<'_>,
    plan: &Plan,
    all: &[Process<'_>],
    problems: &mut Problems<'_>,
) -> Option<String> {
    let named = raw::text(table, "process");
    let (process, span) = match (&named, &plan.target) {
        (Some(named), _) => (named.text, named.span.clone()),
        (None, Some(Target::Process(target))) => (target.as_str(), name.span.clone()),
        (None, target) => {
            if matches!(target, Some(Target::Url(_))) && !table.contains_key("process") {
                problems.report(
                    Code::NoMetrics,
                    name.span.clone(),
                    format!("probe `{}` has no process to read", name.text),
                    "whose metrics?",
                    "a probe reads a process of the scenario: name it with `process = \"…\"`",
                );
            }
            return None;
        }
    };
    match plan.processes.iter().find(|known| known.name == process) {
        Some(found) if found.metrics.is_none() => {
            problems.report(
                Code::NoMetrics,
                span,
                format!("process `{process}` has no `metrics` for this probe to read"),
                "reads a process without metrics",
                format!("add `metrics = \"/metrics\"` to process `{process}`"),
            );
        }
        Some(_) => {}
        None if all.iter().any(|other| other.name.text == process) => return None,
        None => {
            let names: BTreeSet<&str> = plan
                .processes
                .iter()
                .map(|known| known.name.as_str())
                .collect();
            processes::unknown(process, &span, &names, all, None, problems);
        }
    }
    Some(process.to_owned())
}

fn source(
    key: Option<&str>,
    table: &DeTable<'_>,
    problems: &mut Problems<'_>,
) -> Option<ProbeSource> {
    if key == Some("ratio") {
        let pair: Vec<Selector> = raw::texts(table, "ratio")
            .iter()
            .map(|text| checked_selector(text, problems))
            .collect();
        let [part, whole] = <[Selector; 2]>::try_from(pair).ok()?;
        return Some(ProbeSource::Ratio(part, whole));
    }
    let selector = checked_selector(&raw::text(table, key?)?, problems);
    match key {
        Some("rate") => Some(ProbeSource::Rate(selector)),
        Some("increase") => Some(ProbeSource::Increase(selector)),
        Some("mean") => Some(ProbeSource::Mean(selector)),
        Some("max") => Some(ProbeSource::Max(selector)),
        _ => None,
    }
}

fn checked_selector(text: &Text<'_>, problems: &mut Problems<'_>) -> Selector {
    selector(text.text).unwrap_or_else(|| {
        problems.report(
            Code::BadSelector,
            text.span.clone(),
            format!("`{}` selects no metric", text.text),
            "can't be read",
            "write `name` or `name{label=\"value\"}`",
        );
        Selector {
            metric: text.text.to_owned(),
            labels: BTreeMap::new(),
        }
    })
}

/// Reads `name` or `name{label="value",other="x"}`; values as [`quoted`] reads them.
fn selector(text: &str) -> Option<Selector> {
    let text = text.trim();
    let end = text
        .find(|char: char| !(char.is_ascii_alphanumeric() || "_:".contains(char)))
        .unwrap_or(text.len());
    let (metric, rest) = text.split_at(end);
    if metric.is_empty() || metric.starts_with(|char: char| char.is_ascii_digit()) {
        return None;
    }
    let mut labels = BTreeMap::new();
    if !rest.is_empty() {
        let mut rest = rest
            .trim_start()
            .strip_prefix('{')?
            .strip_suffix('}')?
            .trim();
        while !rest.is_empty() {
            let (label, after) = rest.split_once('=')?;
            let label = label.trim();
            let is_label = !label.is_empty()
                && !label.starts_with(|char: char| char.is_ascii_digit())
                && label
                    .chars()
                    .all(|char| char.is_ascii_alphanumeric() || char == '_');
            if !is_label {
                return None;
            }
            let (value, after) = quoted(after.trim_start())?;
            if labels
                .insert(label.to_owned(), value.into_owned())
                .is_some()
            {
                return None;
            }
            rest = match after.trim_start() {
                "" => "",
                after => after.strip_prefix(',')?.trim_start(),
            };
        }
    }
    Some(Selector {
        metric: metric.to_owned(),
        labels,
    })
}

/// A unit, and how many of it make one of what is written.
fn unit_of(text: &str) -> (Unit, f64) {
    let unit = match text {
        // Prometheus has seconds, we have nanoseconds.
        "s" => return (Unit::Nanoseconds, 1e9),
        "ns" => Unit::Nanoseconds,
        "B" | "bytes" => Unit::Bytes,
        "/s" => Unit::PerSecond,
        "B/s" => Unit::BytesPerSecond,
        "ratio" => Unit::Ratio,
        "count" => Unit::Count,
        "cores" => Unit::Cores,
        other => Unit::Other(other.to_owned()),
    };
    (unit, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_name_with_labels() {
        let check = |text: &str, expected: Option<(&str, &[(&str, &str)])>| {
            let expected = expected.map(|(metric, labels)| Selector {
                metric: metric.to_owned(),
                labels: labels
                    .iter()
                    .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
                    .collect(),
            });
            assert_eq!(selector(text), expected, "{text}");
        };
        check("hits_total", Some(("hits_total", &[])));
        check("a:b{}", Some(("a:b", &[])));
        check(r#"h{tier="l1"}"#, Some(("h", &[("tier", "l1")])));
        check(
            r#"h { tier = "l1" , x="a,b}\"c" }"#,
            Some(("h", &[("tier", "l1"), ("x", "a,b}\"c")])),
        );
        check(r#"h{x="\d"}"#, Some(("h", &[("x", "\\d")])));
        check(r#"h{x="é"}"#, Some(("h", &[("x", "é")])));
        for wrong in [
            "",
            "9h",
            "a b",
            "h{",
            "h{x}",
            "h{x=1}",
            r#"h{x="1"y="2"}"#,
            r#"h{x="1",x="2"}"#,
            r#"h{x="1}"#,
            "rate(h[5m])",
        ] {
            check(wrong, None);
        }
    }
}
