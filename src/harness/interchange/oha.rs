//! `oha --output-format json` (`-j` in older versions): a file is a run. Times are in seconds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::error::{InterchangeError, Place};
use super::file;
use super::format::Format;
use super::imported::Imported;
use super::metric::{measured, quantile};
use crate::harness::model::{Direction, Unit, path::ERROR_RATE};

const NS_PER_S: f64 = 1e9;
/// Every request together; oha knows no names.
const STEM: &str = "request";
/// How oha calls requests that were under way when its time was over. They are no failures.
const CUT_OFF: &str = "aborted due to deadline";
/// From here on a status is no success.
const FAILED_FROM: u16 = 400;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    summary: Summary,
    /// `p50` and so on; `null` where there was no answer at all.
    latency_percentiles: BTreeMap<String, Option<f64>>,
    status_code_distribution: BTreeMap<String, u64>,
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    average: Option<f64>,
    requests_per_sec: Option<f64>,
}

/// Metrics `request.mean`, `request.p50` …, `request.rate`, `request.error_rate`. oha itself counts
/// every answer as a success; here a status of 400 and above is a failure, as it is everywhere else.
pub(super) fn read(path: &Path, text: &str) -> Result<Imported, InterchangeError> {
    let report: Report = file::json(path, text)?;
    let answered = total(report.status_code_distribution.values());
    let errors = report.error_distribution.iter();
    let broken = total(
        errors
            .filter(|(error, _)| *error != CUT_OFF)
            .map(|(_, count)| count),
    );
    let refused = total(
        report
            .status_code_distribution
            .iter()
            .filter(|(status, _)| {
                status
                    .parse()
                    .is_ok_and(|status: u16| status >= FAILED_FROM)
            })
            .map(|(_, count)| count),
    );
    Imported::single(Format::Oha, &Place::file(path), |run, imported| {
        for (name, seconds) in &report.latency_percentiles {
            let percent: Option<f64> = name.strip_prefix('p').and_then(|p| p.parse().ok());
            match (percent, seconds) {
                (Some(percent), _) if percent < 50.0 => {
                    imported.leave(name, "it lies below the median");
                }
                (Some(percent), Some(seconds)) if percent < 100.0 => {
                    run.add(quantile(STEM, percent, seconds * NS_PER_S, Some(answered))?)?;
                }
                _ => imported.leave(name, "it has no value"),
            }
        }
        match report.summary.average {
            Some(seconds) => run.add(measured(
                &format!("{STEM}.mean"),
                Unit::Nanoseconds,
                Direction::Lower,
                vec![seconds * NS_PER_S],
                answered,
            )?)?,
            None => imported.leave("average", "it has no value"),
        }
        if let Some(rate) = report.summary.requests_per_sec {
            run.add(measured(
                &format!("{STEM}.rate"),
                Unit::PerSecond,
                Direction::Higher,
                vec![rate],
                answered,
            )?)?;
        }
        let requests = answered.saturating_add(broken);
        if requests > 0 {
            run.add(measured(
                &format!("{STEM}.{ERROR_RATE}"),
                Unit::Ratio,
                Direction::Lower,
                vec![refused.saturating_add(broken) as f64 / requests as f64],
                requests,
            )?)?;
        }
        imported.leave(
            "fastest, slowest",
            "an extreme of one run says little about the next",
        );
        imported.leave(
            "rps, details, histograms",
            "the metrics above stand for the run",
        );
        Ok(())
    })
}

fn total<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.fold(0, |sum, count| sum.saturating_add(*count))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn without_an_answer_only_the_errors_are_left() {
        let text = r#"{"summary":{"average":null,"requestsPerSec":0.5},
            "latencyPercentiles":{"p50":null},"statusCodeDistribution":{},
            "errorDistribution":{"connection refused":5,"aborted due to deadline":7}}"#;
        let imported = read(Path::new("o.json"), text).unwrap();
        let metrics = &imported.runs[0].metrics;
        let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
        assert_eq!(names, ["request.error_rate", "request.rate"]);
        let errors = &metrics["request.error_rate"];
        assert_eq!((errors.value(), errors.observations), (Some(1.0), 5));
    }
}
