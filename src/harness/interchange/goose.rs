//! goose's `--report-file report.json` (0.17 to 0.19): a file is a run. Times are in milliseconds.

use std::path::Path;

use serde::Deserialize;

use super::error::{InterchangeError, Place, Wrong};
use super::file;
use super::format::Format;
use super::imported::{Imported, ImportedRun};
use super::metric::{measured, quantile};
use crate::harness::model::{Direction, Unit, path::ERROR_RATE};

const NS_PER_MS: f64 = 1e6;

#[derive(Deserialize)]
struct Report {
    /// Whether the test was still under way; older versions don't say.
    #[serde(default)]
    in_progress: bool,
    raw_request_metrics: Vec<Requests>,
    raw_response_metrics: Vec<Responses>,
}

#[derive(Deserialize)]
struct Requests {
    method: String,
    name: String,
    number_of_requests: u64,
    number_of_failures: u64,
    /// `null` where no request was made.
    response_time_average: Option<f64>,
    requests_per_second: Option<f64>,
}

#[derive(Deserialize)]
struct Responses {
    method: String,
    name: String,
    percentile_50: f64,
    percentile_90: f64,
    percentile_95: f64,
    percentile_99: f64,
}

/// Metrics `request.<method> <name>.mean`, `.p50` …, `.rate`, `.error_rate`; goose's own row for all
/// requests together is `request.Aggregated`.
pub(super) fn read(path: &Path, text: &str) -> Result<Imported, InterchangeError> {
    let report: Report = file::json(path, text)?;
    let place = Place::file(path);
    if report.in_progress {
        return Err(place.wrong(
            "the load test was still running when goose wrote it",
            "take the report that goose writes at the end",
        ));
    }
    Imported::single(Format::Goose, &place, |run, imported| {
        for row in &report.raw_request_metrics {
            match row.number_of_requests {
                0 => imported.leave(stem(&row.method, &row.name), "no request was made"),
                _ => add_requests(run, row)?,
            }
        }
        for row in &report.raw_response_metrics {
            let stem = stem(&row.method, &row.name);
            let requests = report
                .raw_request_metrics
                .iter()
                .find(|other| (&other.method, &other.name) == (&row.method, &row.name))
                .map(|row| row.number_of_requests);
            if requests == Some(0) {
                continue;
            }
            for (percent, ms) in [
                (50.0, row.percentile_50),
                (90.0, row.percentile_90),
                (95.0, row.percentile_95),
                (99.0, row.percentile_99),
            ] {
                if ms > 0.0 {
                    run.add(quantile(&stem, percent, ms * NS_PER_MS, requests)?)?;
                } else {
                    imported.leave(
                        format!("{stem}.p{percent}"),
                        "it is below a millisecond, and goose keeps no parts of one",
                    );
                }
            }
        }
        imported.leave(
            "minima and maxima",
            "an extreme of one run says little about the next",
        );
        imported.leave(
            "transactions, scenarios, coordinated omission",
            "the requests stand for the run",
        );
        Ok(())
    })
}

fn add_requests(run: &mut ImportedRun, row: &Requests) -> Result<(), Wrong> {
    let stem = stem(&row.method, &row.name);
    let count = row.number_of_requests;
    let mut add = |what: &str, unit, better, value| {
        let name = format!("{stem}.{what}");
        run.add(measured(&name, unit, better, vec![value], count)?)
    };
    if let Some(ms) = row.response_time_average {
        add("mean", Unit::Nanoseconds, Direction::Lower, ms * NS_PER_MS)?;
    }
    if let Some(rate) = row.requests_per_second {
        add("rate", Unit::PerSecond, Direction::Higher, rate)?;
    }
    let failed = row.number_of_failures as f64 / count as f64;
    add(ERROR_RATE, Unit::Ratio, Direction::Lower, failed)
}

fn stem(method: &str, name: &str) -> String {
    match method {
        "" => format!("request.{name}"),
        method => format!("request.{}", format!("{method} {name}").trim_end()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn report(more: &str, requests: u64) -> Result<Imported, InterchangeError> {
        let text = format!(
            r#"{{"raw_request_metrics":[{{"method":"GET","name":"/","number_of_requests":{requests},
                "number_of_failures":1,"response_time_average":2.5,"requests_per_second":null}}],
                "raw_response_metrics":[{{"method":"GET","name":"/","percentile_50":0,
                "percentile_90":3,"percentile_95":4,"percentile_99":9}}]{more}}}"#
        );
        read(Path::new("g.json"), &text)
    }

    #[test]
    fn a_request_is_told_by_method_and_name() {
        let imported = report("", 2000).unwrap();
        let metrics = &imported.runs[0].metrics;
        assert_eq!(metrics["request.GET /.mean"].value(), Some(2.5e6));
        assert_eq!(metrics["request.GET /.error_rate"].value(), Some(0.0005));
        assert_eq!(metrics["request.GET /.p95"].value(), Some(4e6));
        assert_eq!(metrics["request.GET /.p99"].value(), None);
        assert!(!metrics.contains_key("request.GET /.p50"));
    }

    #[test]
    fn what_is_not_over_or_never_began_is_no_run() {
        let error = report(r#","in_progress":true"#, 2000).unwrap_err();
        assert!(error.to_string().contains("still running"), "{error}");
        assert!(report("", 0).unwrap().runs[0].metrics.is_empty());
    }
}
