//! Plausible runs: two open loads with a warm-up, a fault in the middle, processes, probes and
//! benches, drawn from seeded distributions. What stands in a report about them is computed by the
//! real comparison and the real gate.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use plimsoll::harness::compare::{Design, Settings, compare};
use plimsoll::harness::gate::{Evidence, Policy, Verdict, judge};
use plimsoll::harness::model::{
    Arm, ArrivalModel, BenchInvocation, BenchMeasurement, Counts, Direction, ErrorKind, ErrorTally,
    Fingerprint, GeneratorHealth, GeneratorSample, LatencyHistogram, LoadMeasurement, LoadWindow,
    MEASUREMENT_VERSION, Measurement, Metric, Outcome, Phase, PhaseSpan, ProbePoint, ProbeSeries,
    ProcessSample, ProcessSeries, RUN_FORMAT, Reading, RequestSeries, RequestWindow, Run, RunId,
    Sampling, ShardPart, TimelineEvent, Unit,
};
use plimsoll::harness::report::ReportInput;
use plimsoll::harness::scenario::GatePlan;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

const SECOND_NS: u64 = 1_000_000_000;
/// Warm-up, measure and cool-down in seconds.
const PHASES_S: [(Phase, u64, u64); 3] = [
    (Phase::Warmup, 0, 5),
    (Phase::Measure, 5, 35),
    (Phase::Cooldown, 35, 37),
];
/// When the fault begins and ends, in seconds.
const FAULT_S: (u64, u64) = (20, 24);

/// Everything that a report borrows.
pub(crate) struct Example {
    pub(crate) verdict: Verdict,
    pub(crate) head: Vec<Run>,
    pub(crate) base: Vec<Run>,
    pub(crate) commands: Vec<String>,
}

impl Example {
    pub(crate) fn input(&self) -> ReportInput<'_> {
        ReportInput {
            verdict: &self.verdict,
            plan: None,
            head: &self.head,
            base: &self.base,
            base_latency: &[],
            commands: &self.commands,
            page: Some("reports/mixed-workload/2026-11-20T10-00-00Z.html"),
            generated_at: start() + SignedDuration::from_mins(20),
            version: "0.1.0",
        }
    }
}

/// Five pairs in which the head's reads are slower, one bench is faster and a limit is broken.
pub(crate) fn regression() -> Example {
    static ARMS: LazyLock<(Vec<Run>, Vec<Run>)> = LazyLock::new(|| {
        let arm = |arm, slower, faster| -> Vec<Run> {
            (1..=5).map(|pair| run(arm, pair, slower, faster)).collect()
        };
        (arm(Arm::Base, 1.0, 1.0), arm(Arm::Head, 1.14, 0.82))
    });
    let (base, head) = ARMS.clone();
    judged(
        base,
        head,
        vec![
            gate("load.reads.p95", Some(500e6), None, Some(0.05)),
            gate("load.reads.p50", None, None, Some(0.05)),
            gate("load.writes.p95", Some(26e6), None, Some(0.10)),
            gate("load.reads.error_rate", Some(0.01), None, Some(0.01)),
            gate("probe.cache_hit_ratio", None, Some(0.75), None),
            gate("process.service.rss_max", None, None, Some(0.10)),
            gate("bench.*", None, None, Some(0.05)),
        ],
    )
}

/// One run without a base, within its limits.
pub(crate) fn single() -> Example {
    let run = Run {
        arm: None,
        pair: None,
        ..run(Arm::Head, 1, 1.0, 1.0)
    };
    judged(
        Vec::new(),
        vec![run],
        vec![gate("load.reads.p95", Some(500e6), None, None)],
    )
}

/// `base` and `head` under `gates`.
pub(crate) fn judged(base: Vec<Run>, head: Vec<Run>, gates: Vec<GatePlan>) -> Example {
    let comparison = (!base.is_empty()).then(|| {
        let settings = Settings {
            base_label: "origin/main at 4f1c2aa".into(),
            head_label: "HEAD at 9be01d7+dirty".into(),
            ..Settings::new(Design::of(&base, &head))
        };
        compare(&base, &head, &settings)
    });
    let policy = Policy {
        scenario: "mixed-workload".into(),
        gates,
        open_loads: vec!["reads".into(), "writes".into()],
        ..Policy::default()
    };
    let evidence = Evidence {
        base: &base,
        head: &head,
        comparison: comparison.as_ref(),
    };
    let verdict = judge(&policy, &evidence);
    Example {
        verdict,
        head,
        base,
        commands: vec![
            "git checkout 9be01d7".into(),
            "plimsoll gate scenarios/mixed-workload.toml --against 4f1c2aa --runs 5".into(),
        ],
    }
}

pub(crate) fn gate(
    metric: &str,
    max: Option<f64>,
    min: Option<f64>,
    regress: Option<f64>,
) -> GatePlan {
    GatePlan {
        max,
        min,
        regress,
        ..GatePlan::on(metric)
    }
}

fn start() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().expect("a valid time")
}

/// One run. `slower` stretches the reads, `faster` the hot bench.
pub(crate) fn run(arm: Arm, pair: u32, slower: f64, faster: f64) -> Run {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(pair) * 2 + u64::from(arm == Arm::Head));
    // What both arms of a pair share: the machine's mood of the moment.
    let mood = 1.0 + 0.03 * normal(&mut ChaCha8Rng::seed_from_u64(1000 + u64::from(pair)));
    let reads = load(
        &mut rng,
        "reads",
        200,
        &[
            ("GET /api/v1/clients/{clients.id}", 6e6),
            ("GET /api/v1/search?q={term}", 14e6),
        ],
        mood * slower,
        true,
    );
    let writes = load(
        &mut rng,
        "writes",
        40,
        &[("POST /api/v1/appointments", 11e6)],
        mood,
        false,
    );
    let measurement = Measurement {
        phases: PHASES_S
            .map(|(phase, from, to)| PhaseSpan {
                phase,
                start_ns: from * SECOND_NS,
                end_ns: to * SECOND_NS,
            })
            .to_vec(),
        loads: vec![reads, writes],
        processes: processes(&mut rng, slower),
        probes: probes(&mut rng),
        benches: benches(&mut rng, mood, faster),
        events: vec![
            TimelineEvent {
                at_ns: (FAULT_S.0 * SECOND_NS) as i64,
                what: "stop redis".into(),
            },
            TimelineEvent {
                at_ns: (FAULT_S.1 * SECOND_NS) as i64,
                what: "start redis".into(),
            },
        ],
    };
    let started_at = start()
        + SignedDuration::from_secs(i64::from(pair) * 90 + if arm == Arm::Head { 45 } else { 0 });
    let number = u128::from(pair) * 2 + u128::from(arm == Arm::Head);
    Run {
        schema: RUN_FORMAT.into(),
        id: RunId(Uuid::from_u128(
            0x0193_0000_0000_7000_8000_0000_0000_0000 + number,
        )),
        scenario: "mixed-workload".into(),
        session: "2026-11-20T10-00-00Z".into(),
        arm: Some(arm),
        pair: Some(pair),
        started_at,
        duration_ns: 41_300_000_000,
        revision: Some(
            if arm == Arm::Head {
                "9be01d7+dirty"
            } else {
                "4f1c2aa"
            }
            .into(),
        ),
        scenario_file: None,
        plimsoll_version: "0.1.0".into(),
        fingerprint: fingerprint(),
        invalid: Vec::new(),
        partial: false,
        aborted: None,
        metrics: metrics(&measurement),
        measurement,
    }
}

pub(crate) fn fingerprint() -> Fingerprint {
    Fingerprint {
        cpu_model: "AMD EPYC 7763 64-Core Processor".into(),
        logical_cpus: 4,
        memory_class_gib: 16,
        virtualisation: "kvm".into(),
        os: "linux x86_64".into(),
        kernel: "6.8.0-1017-azure".into(),
        toolchain: "rustc 1.95.0".into(),
        profile: "release".into(),
        measurement_version: MEASUREMENT_VERSION,
        scenario_hash: "5f1d0c3a9b7e".into(),
    }
}

fn load(
    rng: &mut ChaCha8Rng,
    name: &str,
    rate: u64,
    requests: &[(&str, f64)],
    slower: f64,
    suffers: bool,
) -> LoadMeasurement {
    let mut series: Vec<RequestSeries> = requests
        .iter()
        .map(|(name, _)| RequestSeries::new(*name))
        .collect();
    let (mut counts, mut windows) = (Counts::default(), Vec::new());
    let mut iteration = LatencyHistogram::new();
    let mut health = GeneratorHealth {
        cores: 2.0,
        ..GeneratorHealth::default()
    };
    for (phase, from, to) in PHASES_S {
        for second in from..to {
            let hurt = suffers && (FAULT_S.0..FAULT_S.1).contains(&second);
            let cold = if second < 4 {
                1.0 + 0.5 * (4 - second) as f64
            } else {
                1.0
            };
            let factor = slower * cold * if hurt { 4.0 } else { 1.0 };
            let mut window = Counts {
                offered: rate,
                ..Counts::default()
            };
            let mut in_second: Vec<RequestWindow> =
                requests.iter().map(|_| empty_window(second)).collect();
            for _ in 0..rate {
                if hurt && rng.random_bool(0.002) {
                    window.dropped += 1;
                    continue;
                }
                window.started += 1;
                if hurt && rng.random_bool(0.01) {
                    window.failed += 1;
                    fail(&mut series[0], &mut in_second[0], phase);
                    continue;
                }
                window.completed += 1;
                let mut total = 0.0;
                for ((request, seen), (_, median_ns)) in
                    series.iter_mut().zip(&mut in_second).zip(requests)
                {
                    let service = median_ns * factor * (0.35 * normal(rng)).exp();
                    let wait = if rng.random_bool(0.04) {
                        service * 1.5
                    } else {
                        40_000.0
                    };
                    let response = service + wait;
                    total += response;
                    seen.response.record(response as u64);
                    seen.service.record(service as u64);
                    seen.bytes_received += 1840;
                    if phase == Phase::Measure {
                        record(request, response as u64, service as u64);
                    }
                }
                if phase == Phase::Measure {
                    iteration.record(total as u64);
                    health
                        .ticket_lateness
                        .record((30_000.0 * (0.6 * normal(rng)).exp()) as u64);
                }
            }
            if phase == Phase::Measure {
                counts.add(&window);
            }
            for (request, seen) in series.iter_mut().zip(in_second) {
                request.windows.push(seen);
            }
            windows.push(LoadWindow {
                start_ns: second * SECOND_NS,
                length_ns: SECOND_NS,
                phase,
                counts: window,
                in_flight: 4 + 20 * u64::from(hurt),
                target_rate: Some(rate as f64),
            });
            health.samples.push(GeneratorSample {
                at_ns: (second + 1) * SECOND_NS,
                cpu_cores: 0.18 + 0.02 * normal(rng).abs(),
                rss_bytes: (34 << 20) + second * 40_000,
            });
        }
    }
    LoadMeasurement {
        counts,
        windows,
        iteration,
        requests: series,
        shards: vec![ShardPart { index: 0, of: 1 }],
        generator: health,
        ..LoadMeasurement::new(name, name.trim_end_matches('s'), ArrivalModel::Open)
    }
}

fn empty_window(second: u64) -> RequestWindow {
    RequestWindow {
        start_ns: second * SECOND_NS,
        response: LatencyHistogram::new(),
        service: LatencyHistogram::new(),
        failed: 0,
        bytes_received: 0,
    }
}

fn record(request: &mut RequestSeries, response_ns: u64, service_ns: u64) {
    request
        .response
        .entry(Outcome::Ok)
        .or_default()
        .record(response_ns);
    request
        .service
        .entry(Outcome::Ok)
        .or_default()
        .record(service_ns);
    *request.statuses.entry(200).or_default() += 1;
    if request.name.starts_with("POST") {
        request.bytes_sent += 120;
    }
    request.bytes_received += 1840;
}

fn fail(request: &mut RequestSeries, window: &mut RequestWindow, phase: Phase) {
    window.failed += 1;
    if phase != Phase::Measure {
        return;
    }
    request
        .response
        .entry(Outcome::Failed)
        .or_default()
        .record(2_000_000);
    request
        .service
        .entry(Outcome::Failed)
        .or_default()
        .record(2_000_000);
    *request.statuses.entry(503).or_default() += 1;
    let tally = request
        .errors
        .entry(ErrorKind::Status)
        .or_insert_with(|| ErrorTally {
            count: 0,
            example: "503 Service Unavailable; expected 200: {\"error\":\"cache tier down\"}"
                .into(),
        });
    tally.count += 1;
}

fn processes(rng: &mut ChaCha8Rng, slower: f64) -> Vec<ProcessSeries> {
    let mut series =
        |name: &str, cpu: f64, rss_mib: f64, growth: f64, threads: u64| ProcessSeries {
            name: name.into(),
            samples: (-1..38)
                .map(|second: i64| ProcessSample {
                    at_ns: second * SECOND_NS as i64,
                    cpu_cores: (cpu * (1.0 + 0.1 * normal(rng))).max(0.0),
                    rss_bytes: ((rss_mib + growth * second.max(0) as f64) * 1_048_576.0) as u64,
                    threads,
                    fds: 40 + (second.max(0) as u64 % 5),
                })
                .collect(),
            usage: None,
        };
    vec![
        series("service", 0.9 * slower, 96.0, 0.9, 9),
        series("redis", 0.12, 14.0, 0.05, 5),
    ]
}

fn probes(rng: &mut ChaCha8Rng) -> Vec<ProbeSeries> {
    let points = (0..37_u64)
        .map(|second| {
            let hurt = (FAULT_S.0..FAULT_S.1).contains(&second);
            let ratio = if hurt {
                0.62
            } else {
                0.93 - 0.5 * (-(second as f64) / 2.0).exp()
            };
            ProbePoint {
                at_ns: (second * SECOND_NS) as i64,
                value: (ratio + 0.01 * normal(rng)).clamp(0.0, 1.0),
            }
        })
        .collect();
    vec![ProbeSeries {
        name: "cache_hit_ratio".into(),
        points,
        value: Some(0.889),
    }]
}

fn benches(rng: &mut ChaCha8Rng, mood: f64, faster: f64) -> Vec<BenchMeasurement> {
    let mut bench =
        |id: &str, target: &str, median_ns: f64, factor: f64, spread: f64| BenchMeasurement {
            id: id.into(),
            target: target.into(),
            invocations: (0..5)
                .map(|_| {
                    let centre = median_ns * factor * mood * (spread * normal(rng)).exp();
                    let iterations: Vec<f64> = (1..=60).map(|i| f64::from(i) * 1000.0).collect();
                    let times_ns = iterations
                        .iter()
                        .map(|n| {
                            n * centre
                                * (1.0
                                    + 0.02 * normal(rng)
                                    + if rng.random_bool(0.05) { 0.1 } else { 0.0 })
                        })
                        .collect();
                    BenchInvocation {
                        point_ns: centre,
                        sampling: Sampling::Linear,
                        iterations,
                        times_ns,
                    }
                })
                .collect(),
        };
    vec![
        bench("cache/get_hot", "cache", 48.0, faster, 0.008),
        bench("cache/get_miss", "cache", 310.0, 1.0, 0.004),
        bench("batch/upsert/1000", "batch", 4.1e6, 1.0, 0.05),
    ]
}

fn metrics(measurement: &Measurement) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for load in &measurement.loads {
        let mut all = LatencyHistogram::new();
        let mut failed = 0;
        for request in &load.requests {
            failed += request
                .errors
                .values()
                .map(|tally| tally.count)
                .sum::<u64>();
            if let Some(response) = request.response.get(&Outcome::Ok) {
                all.merge(response);
            }
        }
        let path = |what: &str| format!("load.{}.{what}", load.name);
        for (what, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            let reading = match all.quantile_ns(quantile) {
                Some(ns) if all.beyond(quantile) >= 100.0 => Reading::Measured {
                    values: vec![ns as f64],
                },
                _ => Reading::NotMeasurable {
                    reason: format!(
                        "only {:.0} requests lie beyond {what}; 100 are needed",
                        all.beyond(quantile)
                    ),
                    remedy: "run for longer".into(),
                },
            };
            metrics.push(Metric {
                name: path(what),
                unit: Unit::Nanoseconds,
                better: Direction::Lower,
                reading,
                observations: all.count(),
            });
        }
        let total = all.count() + failed;
        let mut single = |what: &str, unit, better, value| {
            metrics.push(Metric::single(path(what), unit, better, value, total));
        };
        single(
            "rate",
            Unit::PerSecond,
            Direction::Higher,
            all.count() as f64 / 30.0,
        );
        single(
            "error_rate",
            Unit::Ratio,
            Direction::Lower,
            failed as f64 / total as f64,
        );
        single(
            "dropped",
            Unit::Count,
            Direction::Lower,
            load.counts.dropped as f64,
        );
        single(
            "achieved",
            Unit::Ratio,
            Direction::Higher,
            load.counts.completed as f64 / load.counts.offered as f64,
        );
    }
    for process in &measurement.processes {
        let rss = process
            .samples
            .iter()
            .map(|sample| sample.rss_bytes)
            .max()
            .unwrap_or(0);
        let cpu = process
            .samples
            .iter()
            .map(|sample| sample.cpu_cores)
            .sum::<f64>();
        let n = process.samples.len() as u64;
        let path = |what: &str| format!("process.{}.{what}", process.name);
        metrics.push(Metric::single(
            path("rss_max"),
            Unit::Bytes,
            Direction::Lower,
            rss as f64,
            n,
        ));
        metrics.push(Metric::single(
            path("cpu_mean"),
            Unit::Cores,
            Direction::Lower,
            cpu / n as f64,
            n,
        ));
    }
    for probe in &measurement.probes {
        metrics.extend(probe.value.map(|value| {
            let n = probe.points.len() as u64;
            Metric::single(
                format!("probe.{}", probe.name),
                Unit::Ratio,
                Direction::Higher,
                value,
                n,
            )
        }));
    }
    for bench in &measurement.benches {
        metrics.push(Metric {
            name: format!("bench.{}", bench.id),
            unit: Unit::Nanoseconds,
            better: Direction::Lower,
            reading: Reading::Measured {
                values: bench
                    .invocations
                    .iter()
                    .map(|invocation| invocation.point_ns)
                    .collect(),
            },
            observations: 300,
        });
    }
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    metrics
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random_range(f64::EPSILON..1.0), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
