//! Runs as the store would hand them out, with nothing but what a verdict looks at.

use plimsoll::harness::compare::{Comparison, Design, MetricComparison, Settings, compare};
use plimsoll::harness::gate::{Evidence, Policy, Verdict, judge};
use plimsoll::harness::model::{
    Direction, Fingerprint, Measurement, Metric, RUN_FORMAT, Reading, Run, RunId, Unit,
};
use plimsoll::harness::scenario::GatePlan;

pub(crate) fn fingerprint() -> Fingerprint {
    Fingerprint {
        cpu_model: "cpu".into(),
        logical_cpus: 2,
        memory_class_gib: 8,
        virtualisation: "none".into(),
        os: "linux x86_64".into(),
        kernel: "6.1".into(),
        toolchain: "rustc 1.95.0".into(),
        profile: "release".into(),
        measurement_version: 1,
        scenario_hash: "aa".into(),
    }
}

pub(crate) fn run(session: &str, pair: Option<u32>, metrics: Vec<Metric>) -> Run {
    Run {
        schema: RUN_FORMAT.into(),
        id: RunId::now(),
        scenario: "test".into(),
        session: session.into(),
        arm: None,
        pair,
        started_at: jiff::Timestamp::UNIX_EPOCH,
        duration_ns: 1,
        revision: None,
        scenario_file: None,
        plimsoll_version: "0".into(),
        fingerprint: fingerprint(),
        invalid: vec![],
        partial: false,
        aborted: None,
        warnings: Vec::new(),
        metrics,
        measurement: Measurement::default(),
    }
}

/// One run a value, numbered as pairs, all in one session.
pub(crate) fn paired(name: &str, values: &[f64]) -> Vec<Run> {
    (1..)
        .zip(values)
        .map(|(pair, value)| run("s", Some(pair), vec![lower(name, *value)]))
        .collect()
}

pub(crate) fn lower(name: &str, value: f64) -> Metric {
    Metric::single(name, Unit::Nanoseconds, Direction::Lower, value, 1000)
}

pub(crate) fn error_rate(name: &str, errors: u64, requests: u64) -> Metric {
    let rate = errors as f64 / requests as f64;
    Metric::single(name, Unit::Ratio, Direction::Lower, rate, requests)
}

pub(crate) fn bench(name: &str, values: &[f64]) -> Metric {
    Metric {
        reading: Reading::Measured {
            values: values.to_vec(),
        },
        ..lower(name, 1.0)
    }
}

pub(crate) fn unmeasurable(name: &str) -> Metric {
    Metric {
        reading: Reading::NotMeasurable {
            reason: "only 12 requests lie beyond p99".into(),
            remedy: "run for at least 84s".into(),
        },
        ..lower(name, 1.0)
    }
}

pub(crate) fn margin(metric: &str, regress: f64) -> GatePlan {
    GatePlan {
        regress: Some(regress),
        ..GatePlan::on(metric)
    }
}

pub(crate) fn policy(gates: Vec<GatePlan>) -> Policy {
    Policy {
        scenario: "test".into(),
        gates,
        ..Policy::default()
    }
}

pub(crate) fn compared(base: &[Run], head: &[Run], design: Design) -> Comparison {
    compare(base, head, &Settings::new(design))
}

pub(crate) fn only_metric(comparison: &Comparison) -> &MetricComparison {
    assert_eq!(comparison.metrics.len(), 1, "{comparison:?}");
    &comparison.metrics[0]
}

pub(crate) fn judged(
    policy: &Policy,
    base: &[Run],
    head: &[Run],
    comparison: Option<&Comparison>,
) -> Verdict {
    judge(
        policy,
        &Evidence {
            base,
            head,
            comparison,
        },
    )
}
