//! k6's end-of-test summary as JSON: a file is a run. Times are in milliseconds.
//!
//! Three shapes are read: what `handleSummary(data)` gets (metrics with `type`, `contains` and
//! `values`), what `--summary-export` writes without it (the values alone), and the machine-readable
//! summary of k6 1.5 and later (a list in `results`). k6 says of a metric that it holds times, but of
//! nothing which way is better: that is known of times and of k6's built-in metrics, no others.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::{InterchangeError, Place, Wrong};
use super::file;
use super::format::Format;
use super::imported::{Imported, ImportedRun};
use super::metric::{measured, quantile};
use crate::harness::model::{Direction, Unit, path::ERROR_RATE};

const NS_PER_MS: f64 = 1e6;
const NO_DIRECTION: &str = "k6 doesn't say which way is better";

/// Any of the three shapes.
#[derive(Deserialize)]
struct Summary {
    metrics: Option<BTreeMap<String, Map<String, Value>>>,
    results: Option<Results>,
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Results {
    metrics: Vec<Listed>,
    checks: Option<Checks>,
}

#[derive(Deserialize)]
struct Checks {
    #[serde(default)]
    metrics: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    contains: String,
    values: Map<String, Value>,
}

#[derive(Deserialize)]
struct Config {
    /// How long the test ran, in seconds.
    duration: f64,
}

/// One metric of k6 in any shape.
struct Found {
    name: String,
    /// `time`, where the file says so.
    contains: Option<String>,
    values: BTreeMap<String, f64>,
}

/// k6's four types, told by their values: two of the three shapes name them, all three show them.
enum Type {
    Trend,
    Rate,
    Counter,
    Gauge,
}

/// Metrics by k6's names with what is taken of them: `http_req_duration.mean`, `.p50`, `.p95` …,
/// `http_reqs.rate`, `iterations.rate`, `dropped_iterations.count`, `http_req_failed.error_rate`,
/// `checks.rate`. Parts such as `http_req_duration{scenario:a}` keep theirs.
pub(super) fn read(path: &Path, text: &str) -> Result<Imported, InterchangeError> {
    let summary: Summary = file::json(path, text)?;
    let place = Place::file(path);
    let duration_s = summary.config.map(|config| config.duration);
    let found = found(summary.metrics, summary.results);
    if found.is_empty() {
        return Err(place.wrong(
            "it has neither `metrics` nor `results`",
            "write it with k6's --summary-export or with handleSummary",
        ));
    }
    let counts: BTreeMap<&str, u64> = found
        .iter()
        .filter_map(|metric| Some((metric.name.as_str(), count(*metric.values.get("count")?))))
        .collect();
    Imported::single(Format::K6, &place, |run, imported| {
        for metric in &found {
            match metric.kind() {
                Type::Trend => trend(metric, &counts, run, imported)?,
                Type::Rate => rate(metric, run, imported)?,
                Type::Counter => counter(metric, duration_s, run, imported)?,
                Type::Gauge => {
                    imported.leave(&metric.name, "a gauge holds only its last value");
                }
            }
        }
        Ok(())
    })
}

fn found(
    metrics: Option<BTreeMap<String, Map<String, Value>>>,
    results: Option<Results>,
) -> Vec<Found> {
    let numbers = |values: &Map<String, Value>| -> BTreeMap<String, f64> {
        let numbers = values.iter();
        numbers
            .filter_map(|(key, value)| Some((key.clone(), value.as_f64()?)))
            .collect()
    };
    let by_name = metrics.into_iter().flatten().map(|(name, said)| Found {
        name,
        contains: said
            .get("contains")
            .and_then(Value::as_str)
            .map(str::to_owned),
        values: match said.get("values").and_then(Value::as_object) {
            Some(values) => numbers(values),
            None => numbers(&said),
        },
    });
    let listed = results.into_iter().flat_map(|results| {
        let checks = results.checks.into_iter().flat_map(|checks| checks.metrics);
        results.metrics.into_iter().chain(checks)
    });
    let listed = listed.map(|metric| Found {
        name: metric.name,
        contains: Some(metric.contains),
        values: numbers(&metric.values),
    });
    by_name.chain(listed).collect()
}

impl Found {
    fn kind(&self) -> Type {
        let has = |key: &str| self.values.contains_key(key);
        if has("avg") || has("med") || self.values.keys().any(|key| key.starts_with("p(")) {
            Type::Trend
        } else if has("passes") || has("matches") {
            Type::Rate
        } else if has("count") {
            Type::Counter
        } else {
            Type::Gauge
        }
    }

    /// The name without the tags of a part.
    fn base(&self) -> &str {
        let name = self.name.split('{').next();
        name.unwrap_or_default()
    }

    fn is_part(&self) -> bool {
        self.base() != self.name
    }
}

fn trend(
    metric: &Found,
    counts: &BTreeMap<&str, u64>,
    run: &mut ImportedRun,
    imported: &mut Imported,
) -> Result<(), Wrong> {
    let base = metric.base();
    // Mostly zero where connections are kept, and part of the rest where not.
    const PARTS: [&str; 5] = [
        "http_req_blocked",
        "http_req_connecting",
        "http_req_tls_handshaking",
        "http_req_sending",
        "http_req_receiving",
    ];
    // Those without `contains` that k6 itself makes, all of them times.
    const BUILT_IN: [&str; 5] = [
        "http_req_duration",
        "http_req_waiting",
        "iteration_duration",
        "group_duration",
        "grpc_req_duration",
    ];
    if PARTS.contains(&base) {
        imported.leave(base, "it is a part of each request's time");
        return Ok(());
    }
    match metric.contains.as_deref() {
        Some("time") => {}
        None if BUILT_IN.contains(&base) => {}
        _ => {
            imported.leave(&metric.name, NO_DIRECTION);
            return Ok(());
        }
    }
    let own = metric.values.get("count").map(|own| count(*own));
    let requests = own.or_else(|| match base {
        _ if metric.is_part() => None,
        "iteration_duration" => counts.get("iterations").copied(),
        name if name.starts_with("http_req_") => counts.get("http_reqs").copied(),
        _ => None,
    });
    for (stat, ms) in &metric.values {
        let percent = match stat.as_str() {
            "med" => Some(50.0),
            stat => stat
                .strip_prefix("p(")
                .and_then(|rest| rest.strip_suffix(')')?.parse().ok()),
        };
        match (stat.as_str(), percent) {
            ("avg", _) => run.add(measured(
                &format!("{}.mean", metric.name),
                Unit::Nanoseconds,
                Direction::Lower,
                vec![ms * NS_PER_MS],
                requests.unwrap_or(1),
            )?)?,
            // `med` and `p(50)` are the same.
            ("p(50)", _) if metric.values.contains_key("med") => {}
            (_, Some(percent)) if (0.0..100.0).contains(&percent) => {
                run.add(quantile(&metric.name, percent, ms * NS_PER_MS, requests)?)?;
            }
            ("count", _) => {}
            _ => imported.leave(
                format!("{stat} of times"),
                "an extreme of one run says little about the next",
            ),
        }
    }
    Ok(())
}

fn rate(metric: &Found, run: &mut ImportedRun, imported: &mut Imported) -> Result<(), Wrong> {
    let value = |key: &str| metric.values.get(key).copied();
    let matches = value("passes").or(value("matches")).unwrap_or_default();
    let total = value("total").unwrap_or(matches + value("fails").unwrap_or_default());
    let (stat, better) = match metric.base() {
        // Here k6 counts a failed request as a pass of the metric.
        "http_req_failed" => (ERROR_RATE, Direction::Lower),
        "checks" | "checks_succeeded" => ("rate", Direction::Higher),
        _ => {
            imported.leave(&metric.name, NO_DIRECTION);
            return Ok(());
        }
    };
    if total <= 0.0 {
        imported.leave(&metric.name, "nothing was counted");
        return Ok(());
    }
    run.add(measured(
        &format!("{}.{stat}", metric.name),
        Unit::Ratio,
        better,
        vec![matches / total],
        count(total),
    )?)
}

fn counter(
    metric: &Found,
    duration_s: Option<f64>,
    run: &mut ImportedRun,
    imported: &mut Imported,
) -> Result<(), Wrong> {
    let total = metric.values.get("count").copied().unwrap_or_default();
    let per_second = metric.values.get("rate").copied();
    let per_second = per_second.or_else(|| Some(total / duration_s.filter(|s| *s > 0.0)?));
    let (stat, unit, better, value) = match (metric.base(), per_second) {
        ("http_reqs" | "iterations", Some(rate)) => {
            ("rate", Unit::PerSecond, Direction::Higher, rate)
        }
        ("dropped_iterations", _) => ("count", Unit::Count, Direction::Lower, total),
        _ => {
            imported.leave(&metric.name, NO_DIRECTION);
            return Ok(());
        }
    };
    run.add(measured(
        &format!("{}.{stat}", metric.name),
        unit,
        better,
        vec![value],
        count(total),
    )?)
}

/// A count that k6 writes as a floating-point number.
fn count(value: f64) -> u64 {
    // Saturating; a negative one is none.
    value as u64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn metrics(text: &str) -> BTreeMap<String, Option<f64>> {
        let imported = read(Path::new("k6.json"), text).unwrap();
        let metrics = imported.runs[0].metrics.values();
        metrics
            .map(|metric| (metric.name.clone(), metric.value()))
            .collect()
    }

    #[test]
    fn a_failed_request_is_a_pass_of_its_metric() {
        let read = metrics(
            r#"{"metrics":{"http_req_failed":{"passes":3,"fails":97,"value":0.03},
                "http_req_failed{name:a}":{"passes":0,"fails":0,"value":0},
                "checks":{"passes":98,"fails":2,"value":0.98}}}"#,
        );
        assert_eq!(read["http_req_failed.error_rate"], Some(0.03));
        assert_eq!(read["checks.rate"], Some(0.98));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn a_quantile_counts_its_own_requests() {
        let trend = r#"{"avg":2,"med":1,"p(50)":1,"p(95)":4,"p(99.9)":9,"max":50}"#;
        let text = |more: &str| {
            format!(
                r#"{{"metrics":{{"http_reqs":{{"count":2000,"rate":100}},
                    "http_req_duration":{trend},"http_req_duration{{name:a}}":{trend}{more}}}}}"#
            )
        };
        let read = metrics(&text(""));
        assert_eq!(read["http_req_duration.p95"], Some(4e6));
        assert_eq!(read["http_req_duration.p50"], Some(1e6));
        assert_eq!(read["http_req_duration.p99.9"], None);
        // Nobody knows how many requests a part had, unless it says so.
        assert_eq!(read["http_req_duration{name:a}.p99.9"], Some(9e6));
        let counted = r#","http_req_duration{name:b}":{"count":99,"avg":1,"p(95)":2}"#;
        let read = metrics(&text(counted));
        assert_eq!(read["http_req_duration{name:b}.p95"], None);
        assert_eq!(read["http_reqs.rate"], Some(100.0));
    }

    #[test]
    fn what_is_no_summary_is_an_error() {
        for text in ["{}", r#"{"metrics":[]}"#, r#"{"metrics":{"a":1}}"#, "[]"] {
            assert!(read(Path::new("k6.json"), text).is_err(), "{text}");
        }
    }
}
