//! Measurement → metrics: every number of the catalogue, from the measure phase only.

use std::collections::BTreeMap;
use std::ops::Range;

use super::cores::mean_cores;
use crate::harness::model::quantile::{enough, is_too_few, too_few};
use crate::harness::model::{
    BenchMeasurement, LatencyHistogram, LoadMeasurement, Measurement, Metric, Outcome, Phase,
    ProcessSeries, ProcessUsage, Reading, RequestSeries, TrialOutcome, UserTime,
};
use crate::harness::scenario::catalogue::{
    self, LatencyStat, LoadMetric, MetricKey, MetricSpec, ProcessMetric, Quantile, RequestMetric,
};
use crate::harness::scenario::{Plan, written_duration};

/// Every metric of the plan, and one for each benchmark that was found, sorted by name.
pub fn metrics(plan: &Plan, measurement: &Measurement) -> Vec<Metric> {
    let measured = Measured::of(measurement);
    let mut metrics: Vec<Metric> = catalogue::all(plan)
        .into_iter()
        .map(|spec| {
            let found = match (&spec.key, &measured) {
                // A search has the rates that it tried in the place of phases.
                (MetricKey::Load { load, what }, _) if what.is_of_whole_search() => {
                    of_search(load, *what, measurement)
                }
                (_, Some(measured)) => measured.found(&spec.key),
                (_, None) => Err(never_measured()),
            };
            finish(spec, found.map(|(value, count)| (vec![value], count)))
        })
        .chain(measurement.benches.iter().map(bench))
        .collect();
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    metrics
}

/// One metric of one load over `phase_ns`, so much of the measure phase as there was.
pub(super) fn of_load(spec: MetricSpec, load: &LoadMeasurement, phase_ns: Range<u64>) -> Metric {
    of_trial(spec, load, phase_ns, 1.0)
}

/// The same, where each observation stands for `weight` of those that a quantile needs.
pub(super) fn of_trial(
    spec: MetricSpec,
    load: &LoadMeasurement,
    phase_ns: Range<u64>,
    weight: f64,
) -> Metric {
    let measured = Measured {
        measurement: &Measurement::default(),
        phase_ns,
        loads: BTreeMap::from([(load.name.as_str(), Together::of(load))]),
        weight,
    };
    let found = measured.found(&spec.key);
    finish(spec, found.map(|(value, count)| (vec![value], count)))
}

/// A measurement, looked at through its measure phase.
struct Measured<'a> {
    measurement: &'a Measurement,
    /// The measure phase as it was, in ns from the start of the load; not empty.
    phase_ns: Range<u64>,
    /// All requests of a load together, by load.
    loads: BTreeMap<&'a str, Together<'a>>,
    /// How many of those that a quantile needs each observation stands for.
    weight: f64,
}

struct Together<'a> {
    load: &'a LoadMeasurement,
    response: LatencyHistogram,
    service: LatencyHistogram,
}

impl<'a> Together<'a> {
    fn of(load: &'a LoadMeasurement) -> Self {
        let mut together = Self {
            load,
            response: LatencyHistogram::new(),
            service: LatencyHistogram::new(),
        };
        for series in &load.requests {
            if let Some(histogram) = series.response.get(&Outcome::Ok) {
                together.response.merge(histogram);
            }
            if let Some(histogram) = series.service.get(&Outcome::Ok) {
                together.service.merge(histogram);
            }
        }
        together
    }
}

/// A value and how many observations it rests on, or why there is none.
type Found = Result<(f64, u64), Missing>;

struct Missing {
    reason: String,
    remedy: String,
    observations: u64,
}

impl<'a> Measured<'a> {
    /// `None` where the run ended before its measure phase: what did not begin has no rate of 0.
    fn of(measurement: &'a Measurement) -> Option<Self> {
        let mut spans = measurement.phases.iter();
        let phase_ns = spans
            .find(|span| span.phase == Phase::Measure)
            .map(|span| span.start_ns..span.end_ns)
            .filter(|phase_ns| !phase_ns.is_empty())?;
        let loads = measurement.loads.iter();
        Some(Self {
            measurement,
            phase_ns,
            loads: loads
                .map(|load| (load.name.as_str(), Together::of(load)))
                .collect(),
            weight: 1.0,
        })
    }

    fn found(&self, key: &MetricKey) -> Found {
        match key {
            MetricKey::Load { load, what } => match self.loads.get(load.as_str()) {
                Some(load) => self.of_load(load, *what),
                None => Err(nothing_of("load", load)),
            },
            MetricKey::Request {
                load,
                request,
                what,
            } => {
                let load = self.loads.get(load.as_str());
                let series = load.and_then(|together| {
                    let mut all = together.load.requests.iter();
                    all.find(|series| series.name == *request)
                });
                match series {
                    Some(series) => self.of_request(series, *what),
                    None => Err(nothing_of("request", request)),
                }
            }
            MetricKey::Group { load, group, stat } => {
                let load = self.loads.get(load.as_str());
                let series = load.and_then(|together| {
                    let mut all = together.load.groups.iter();
                    all.find(|series| series.name == *group)
                });
                match series {
                    Some(series) => self.latency(&series.duration, *stat, "groups"),
                    None => Err(nothing_of("group", group)),
                }
            }
            MetricKey::Process { process, what } => {
                let mut all = self.measurement.processes.iter();
                match all.find(|series| series.name == *process) {
                    Some(series) => self.of_process(series, *what),
                    None => Err(nothing_of("process", process)),
                }
            }
            MetricKey::Probe(name) => self.of_probe(name),
            MetricKey::Bench(id) => Err(nothing_of("benchmark", id)),
        }
    }

    fn of_load(&self, together: &Together<'_>, what: LoadMetric) -> Found {
        let Together {
            load,
            response,
            service,
        } = together;
        let (counts, connections) = (&load.counts, &load.connections);
        match what {
            LoadMetric::Response(stat) => self.latency(response, stat, "requests"),
            LoadMetric::Service(stat) => self.latency(service, stat, "requests"),
            LoadMetric::Iteration(stat) => self.latency(&load.iteration, stat, "iterations"),
            LoadMetric::FirstByte(stat) => self.latency(&connections.first_byte, stat, "requests"),
            LoadMetric::Dns(stat) => self.of_connections(&connections.dns, stat),
            LoadMetric::Connect(stat) => self.of_connections(&connections.connect, stat),
            LoadMetric::Tls(stat) => self.of_connections(&connections.tls, stat),
            LoadMetric::Capacity | LoadMetric::CapacityShare => {
                of_search(&load.name, what, self.measurement)
            }
            LoadMetric::Rate => Ok(self.rate(response.count())),
            LoadMetric::Achieved => share(counts.completed, counts.offered, "iterations"),
            LoadMetric::ErrorRate => {
                let failed = load.requests.iter().map(failed).sum();
                share(failed, failed + response.count(), "requests")
            }
            LoadMetric::Lost => lost(load, response.count()),
            LoadMetric::Dropped => Ok((counts.dropped as f64, counts.offered)),
            LoadMetric::BytesRate => {
                let bytes: u64 = load.requests.iter().map(|s| s.bytes_received).sum();
                let (per_second, _) = self.rate(bytes);
                Ok((per_second, response.count()))
            }
        }
    }

    /// A part of how connections came about, of which a load may need none.
    fn of_connections(&self, histogram: &LatencyHistogram, stat: LatencyStat) -> Found {
        if histogram.is_empty() {
            return Err(Missing {
                reason: "no connection needed it in the measure phase".to_owned(),
                remedy: "connections are kept: say how long by `reuse` in [http], such as `reuse = \"iteration\"`"
                    .to_owned(),
                observations: 0,
            });
        }
        self.latency(histogram, stat, "connections")
    }

    fn of_request(&self, series: &RequestSeries, what: RequestMetric) -> Found {
        let none = LatencyHistogram::new();
        let response = series.response.get(&Outcome::Ok).unwrap_or(&none);
        let service = series.service.get(&Outcome::Ok).unwrap_or(&none);
        match what {
            RequestMetric::Response(stat) => self.latency(response, stat, "requests"),
            RequestMetric::Service(stat) => self.latency(service, stat, "requests"),
            RequestMetric::Rate => Ok(self.rate(response.count())),
            RequestMetric::ErrorRate => {
                let failed = failed(series);
                share(failed, failed + response.count(), "requests")
            }
        }
    }

    fn of_process(&self, series: &ProcessSeries, what: ProcessMetric) -> Found {
        let of_looks = |value: fn(&ProcessUsage) -> f64| {
            let usage = series.usage.as_ref()?;
            Some((value(usage), usage.looks))
        };
        let found = match what {
            // The other values are those of the moment; this one is of the time before it.
            ProcessMetric::CpuMean => {
                let looks = series.samples.iter();
                let looks = looks.map(|sample| (sample.at_ns, sample.cpu_cores));
                mean_cores(looks, self.phase_ns.clone())
            }
            ProcessMetric::RssMean => of_looks(|usage| usage.rss_mean_bytes),
            ProcessMetric::RssMax => of_looks(|usage| usage.rss_max_bytes as f64),
            ProcessMetric::ThreadsMax => of_looks(|usage| usage.threads_max as f64),
            ProcessMetric::FdsMax => of_looks(|usage| usage.fds_max as f64),
        };
        found.ok_or_else(|| Missing {
            reason: format!(
                "the process `{}` was not looked at in the measure phase",
                series.name
            ),
            remedy: "it is looked at once a second: measure for at least 2s".to_owned(),
            observations: 0,
        })
    }

    fn of_probe(&self, name: &str) -> Found {
        let mut all = self.measurement.probes.iter();
        let series = all.find(|series| series.name == name);
        let value = series.and_then(|series| Some((series, series.value?)));
        let Some((series, value)) = value else {
            // A ratio has no value where the counter that divides did not grow.
            let (reason, remedy) = match series.is_some_and(|series| !series.points.is_empty()) {
                false => (
                    "no look at the process's metrics gave what the probe needs",
                    format!(
                        "look up the names in [probe.{name}] under the process's `metrics` path; the counter that a \
                         ratio is divided by has to grow"
                    ),
                ),
                true => (
                    "the process's metrics did not give it over the whole measure phase",
                    format!(
                        "see whether the `metrics` path of [probe.{name}] answers under load; the counter that a \
                         ratio is divided by has to grow then"
                    ),
                ),
            };
            return Err(Missing {
                reason: reason.to_owned(),
                remedy,
                observations: 0,
            });
        };
        let inside = series.points.iter();
        let count = inside.filter(|point| self.contains(point.at_ns)).count();
        Ok((value, count as u64))
    }

    fn latency(&self, histogram: &LatencyHistogram, stat: LatencyStat, what: &str) -> Found {
        let count = histogram.count();
        let value = match stat {
            LatencyStat::Quantile(quantile) => {
                let beyond = histogram.beyond(quantile.fraction());
                if is_too_few(beyond * self.weight) {
                    return Err(self.too_few(count, beyond, quantile, what));
                }
                histogram
                    .quantile_ns(quantile.fraction())
                    .map(|ns| ns as f64)
            }
            LatencyStat::Mean => histogram.mean_ns(),
            LatencyStat::Max => histogram.max_ns().map(|ns| ns as f64),
        };
        value
            .map(|value| (value, count))
            .ok_or_else(|| none_in_order(what))
    }

    fn too_few(&self, count: u64, beyond: f64, quantile: Quantile, what: &str) -> Missing {
        if count == 0 {
            return none_in_order(what);
        }
        let needed = written_duration(enough(self.seconds(), beyond));
        Missing {
            reason: too_few(beyond, what, quantile.in_words()),
            remedy: format!("measure for at least {needed}, or at a higher rate"),
            observations: count,
        }
    }

    fn rate(&self, count: u64) -> (f64, u64) {
        (count as f64 / self.seconds(), count)
    }

    fn seconds(&self) -> f64 {
        (self.phase_ns.end - self.phase_ns.start) as f64 / 1e9
    }

    fn contains(&self, at_ns: i64) -> bool {
        let Range { start, end } = self.phase_ns;
        u64::try_from(at_ns).is_ok_and(|at_ns| (start..=end).contains(&at_ns))
    }
}

/// The highest rate at which the limits on a load held, or what share that is of the most that it
/// completed; and how many rates were tried.
fn of_search(load: &str, what: LoadMetric, measurement: &Measurement) -> Found {
    let mut loads = measurement.loads.iter();
    let Some(load) = loads.find(|known| known.name == load) else {
        return Err(nothing_of("load", load));
    };
    let missing = |reason: String, remedy: &str| Missing {
        reason,
        remedy: remedy.to_owned(),
        observations: 0,
    };
    let Some(search) = &load.capacity else {
        return Err(missing(
            "the search for it did not come to an end".to_owned(),
            "let it run to its end",
        ));
    };
    if let Some(rate) = search.holds {
        let value = match what {
            LoadMetric::CapacityShare => rate / search.most_completed(),
            _ => rate,
        };
        return Ok((value, search.trials.len() as u64));
    }
    let rates = search.trials.iter().map(|trial| trial.rate);
    let lowest = rates.fold(f64::INFINITY, f64::min);
    let has = |outcome| search.trials.iter().any(|trial| trial.outcome == outcome);
    Err(if has(TrialOutcome::Broke) {
        missing(
            format!("the limits were broken at the lowest rate that was tried, {lowest}/s"),
            "see which limit it was and why, or begin at a lower rate: `from`",
        )
    } else if has(TrialOutcome::NotOffered) {
        missing(
            format!("the generator could not even offer the lowest rate, {lowest}/s"),
            "give it more workers (`workers` in [generator]) or a machine of its own, or begin at a lower rate: `from`",
        )
    } else {
        missing(
            "no rate was tried to its end".to_owned(),
            "let it run to its end",
        )
    })
}

fn bench(bench: &BenchMeasurement) -> Metric {
    let spec = catalogue::bench_metric(&bench.id);
    let points: Vec<f64> = bench.invocations.iter().map(|one| one.point_ns).collect();
    let samples = bench
        .invocations
        .iter()
        .map(|one| one.times_ns.len() as u64);
    let observations = samples.sum();
    if points.is_empty() {
        return finish(spec, Err(nothing_of("benchmark", &bench.id)));
    }
    finish(spec, Ok((points, observations)))
}

/// Requests that were not in order. One that the end of the drain cut off is one of them: a server
/// that hangs answers none of those that wait for it at the end.
fn failed(series: &RequestSeries) -> u64 {
    series.errors.values().map(|tally| tally.count).sum()
}

/// The share of the users' time that went into requests that failed or were never answered, and on how
/// many requests that rests.
fn lost(load: &LoadMeasurement, in_order: u64) -> Found {
    let UserTime { total_ns, lost_ns } = load.users;
    if total_ns == 0 {
        return Err(Missing {
            reason: "no user was there in the measure phase".to_owned(),
            remedy: "let the stages have users in it".to_owned(),
            observations: 0,
        });
    }
    let failed: u64 = load.requests.iter().map(failed).sum();
    // Of a load that was ended early more may be counted than there was.
    Ok((
        (lost_ns as f64 / total_ns as f64).min(1.0),
        failed + in_order,
    ))
}

fn share(part: u64, whole: u64, what: &str) -> Found {
    if whole == 0 {
        return Err(none_in_order(what));
    }
    Ok((part as f64 / whole as f64, whole))
}

fn none_in_order(what: &str) -> Missing {
    Missing {
        reason: format!("no {what} were in order in the measure phase"),
        remedy: "see the errors of the load".to_owned(),
        observations: 0,
    }
}

fn never_measured() -> Missing {
    Missing {
        reason: "the run ended before its measure phase".to_owned(),
        remedy: "let it run to its end".to_owned(),
        observations: 0,
    }
}

fn nothing_of(kind: &str, name: &str) -> Missing {
    Missing {
        reason: format!("the run holds nothing of the {kind} `{name}`"),
        remedy: "see why the run ended early or is invalid".to_owned(),
        observations: 0,
    }
}

fn finish(spec: MetricSpec, found: Result<(Vec<f64>, u64), Missing>) -> Metric {
    let name = spec.path();
    let (reading, observations) = match found {
        Ok((values, observations)) if values.iter().all(|value| value.is_finite()) => {
            (Reading::Measured { values }, observations)
        }
        Ok((_, observations)) => {
            let reading = Reading::NotMeasurable {
                reason: "the value is not a finite number".to_owned(),
                remedy: "look at what the subject reports".to_owned(),
            };
            (reading, observations)
        }
        Err(missing) => {
            let reading = Reading::NotMeasurable {
                reason: missing.reason,
                remedy: missing.remedy,
            };
            (reading, missing.observations)
        }
    };
    Metric {
        name,
        unit: spec.unit,
        better: spec.better,
        reading,
        observations,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::harness::model::{
        ArrivalModel, BenchInvocation, CapacitySearch, CapacityTrial, ConnectionSeries, Counts,
        Direction, ErrorKind, ErrorTally, GroupSeries, PhaseSpan, ProbePoint, ProbeSeries,
        ProcessSample, Sampling, Unit,
    };
    use crate::harness::scenario::{
        Arrivals, BenchPlan, CommandPlan, FlowPlan, GeneratorLimits, HttpPlan, LoadPlan, PhasePlan,
        ProbePlan, ProbeSource, ProcessPlan, Ready, RequestPlan, Selector, Spacing, StepPlan,
        Target,
    };

    const S: u64 = 1_000_000_000;

    fn plan() -> Plan {
        let step = |name: &str| {
            let request = RequestPlan {
                name: name.into(),
                ..RequestPlan::get("/")
            };
            request.into()
        };
        let group = StepPlan::Group {
            name: "check out".into(),
            steps: vec![step("<b>one.two</b>")],
        };
        let steps = vec![step("list"), group];
        Plan {
            name: "t".into(),
            variant: None,
            description: String::new(),
            file: PathBuf::new(),
            root: PathBuf::new(),
            processes: vec![ProcessPlan {
                name: "service".into(),
                build: None,
                prepare: None,
                start: CommandPlan { words: vec![] },
                ready: Ready::Started,
                ready_timeout_ns: S,
                metrics: None,
                env: BTreeMap::new(),
                cwd: None,
                stop_timeout_ns: S,
                needs: vec![],
            }],
            target: Some(Target::Url("https://localhost".into())),
            http: HttpPlan::default(),
            setup: None,
            teardown: None,
            feeds: BTreeMap::new(),
            flows: BTreeMap::from([("read".into(), FlowPlan::new(steps))]),
            loads: vec![LoadPlan {
                name: "reads".into(),
                flow: "read".into(),
                arrivals: Arrivals::Open {
                    stages: vec![],
                    spacing: Spacing::Even,
                    max_in_flight: 1,
                },
                seed: 1,
                allowed_dropped: 0.0,
            }],
            mix: BTreeMap::new(),
            default_in_flight: Default::default(),
            phases: PhasePlan {
                warmup_ns: 2 * S,
                measure_ns: 10 * S,
                cooldown_ns: S,
                drain_ns: 0,
            },
            probes: BTreeMap::from([(
                "hits".into(),
                ProbePlan {
                    process: "service".into(),
                    source: ProbeSource::Rate(Selector {
                        metric: "hits".into(),
                        labels: BTreeMap::new(),
                    }),
                    unit: Unit::Ratio,
                    scale: 1.0,
                    better: Direction::Higher,
                },
            )]),
            faults: vec![],
            gates: vec![],
            benches: vec![BenchPlan {
                targets: vec![],
                package: None,
                features: vec![],
                filter: None,
                invocations: 5,
                timeout_ns: S,
            }],
            runs: 1,
            generator: GeneratorLimits::default(),
            hash: String::new(),
        }
    }

    fn millis(range: std::ops::RangeInclusive<u64>) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        for ms in range {
            histogram.record(ms * 1_000_000);
        }
        histogram
    }

    fn series(name: &str, ok: LatencyHistogram, errors: u64, cancelled: u64) -> RequestSeries {
        let tally = |count| ErrorTally {
            count,
            example: String::new(),
        };
        RequestSeries {
            response: BTreeMap::from([(Outcome::Ok, ok.clone()), (Outcome::Failed, millis(1..=9))]),
            service: BTreeMap::from([(Outcome::Ok, ok)]),
            errors: BTreeMap::from([
                (ErrorKind::Status, tally(errors)),
                (ErrorKind::Cancelled, tally(cancelled)),
            ]),
            bytes_received: 5_000,
            ..RequestSeries::new(name)
        }
    }

    fn measurement() -> Measurement {
        let sample = |at_s: i64, value: u64| ProcessSample {
            at_ns: at_s * S as i64,
            cpu_cores: value as f64,
            rss_bytes: value * 100,
            threads: value,
            fds: value,
        };
        let load = LoadMeasurement {
            counts: Counts {
                offered: 1000,
                started: 990,
                dropped: 10,
                completed: 950,
                failed: 30,
                cancelled: 10,
                ..Counts::default()
            },
            iteration: millis(1..=50),
            requests: vec![
                series("list", millis(1..=2000), 10, 7),
                series("<b>one.two</b>", millis(1..=500), 90, 0),
            ],
            groups: vec![GroupSeries {
                cancelled: 0,
                name: "check out".into(),
                duration: millis(101..=1100),
                failed: 3,
            }],
            connections: ConnectionSeries {
                dns: LatencyHistogram::new(),
                connect: millis(1..=5),
                tls: millis(11..=13),
                first_byte: millis(1..=2000),
            },
            ..LoadMeasurement::new("reads", "read", ArrivalModel::Open)
        };
        let invocation = |point_ns| BenchInvocation {
            point_ns,
            sampling: Sampling::Flat,
            iterations: vec![1.0; 10],
            times_ns: vec![point_ns; 10],
        };
        Measurement {
            phases: vec![PhaseSpan {
                phase: Phase::Measure,
                start_ns: 2 * S,
                end_ns: 12 * S,
            }],
            loads: vec![load],
            processes: vec![ProcessSeries {
                name: "service".into(),
                samples: vec![
                    sample(-1, 99),
                    sample(2, 1),
                    sample(3, 5),
                    sample(4, 3),
                    sample(21, 99),
                ],
                usage: Some(ProcessUsage {
                    looks: 3,
                    rss_mean_bytes: 300.0,
                    rss_max_bytes: 500,
                    threads_max: 5,
                    fds_max: 5,
                }),
            }],
            probes: vec![ProbeSeries {
                name: "hits".into(),
                points: vec![ProbePoint {
                    at_ns: 3 * S as i64,
                    value: 0.5,
                }],
                value: Some(0.75),
            }],
            benches: vec![BenchMeasurement {
                id: "cache/get".into(),
                target: "cache".into(),
                invocations: vec![invocation(5.0), invocation(7.0)],
            }],
            events: vec![],
        }
    }

    #[test]
    fn every_metric_of_the_catalogue_is_there_once_and_in_order() {
        let found = metrics(&plan(), &measurement());
        assert_eq!(found.len(), catalogue::all(&plan()).len() + 1);
        assert!(found.windows(2).all(|pair| pair[0].name < pair[1].name));
        // A run of which nothing is left has them all the same.
        let nothing = metrics(&plan(), &Measurement::default());
        assert_eq!(nothing.len(), catalogue::all(&plan()).len());
        let is_missing = |metric: &Metric| metric.value().is_none();
        assert!(nothing.iter().all(is_missing), "{nothing:?}");
    }

    #[test]
    fn a_value_is_that_of_the_measure_phase() {
        let found = metrics(&plan(), &measurement());
        let check = |name: &str, expected: f64, observations: u64| {
            let metric = found.iter().find(|metric| metric.name == name).unwrap();
            let value = metric
                .value()
                .unwrap_or_else(|| panic!("{name}: {:?}", metric.reading));
            assert!((value / expected - 1.0).abs() < 1e-3, "{name}: {value}");
            assert_eq!(metric.observations, observations, "{name}");
        };
        // 2500 requests in order: 500 values twice, then 1500 once.
        check("load.reads.p50", 750e6, 2500);
        check("load.reads.p95", 1875e6, 2500);
        check("load.reads.max", 2000e6, 2500);
        check("load.reads.rate", 250.0, 2500);
        check("load.reads.achieved", 0.95, 1000);
        // The seven that the end of the run cut off are failed ones.
        check("load.reads.error_rate", 107.0 / 2607.0, 2607);
        check("load.reads.dropped", 10.0, 1000);
        check("load.reads.bytes_rate", 1000.0, 2500);
        check("load.reads.iteration.mean", 25.5e6, 50);
        check("load.reads.request.list.service.p95", 1900e6, 2000);
        check("load.reads.request.list.error_rate", 17.0 / 2017.0, 2017);
        check("load.reads.group.check out.p90", 1000e6, 1000);
        check("load.reads.group.check out.max", 1100e6, 1000);
        check("load.reads.connect.mean", 3e6, 5);
        check("load.reads.tls.max", 13e6, 3);
        check("load.reads.first_byte.p95", 1900e6, 2000);
        check("load.reads.request.<b>one.two</b>.rate", 50.0, 500);
        // The look at second 2, the start of the phase, tells of the second before it.
        check("process.service.cpu_mean", 4.0, 2);
        check("process.service.rss_mean", 300.0, 3);
        check("process.service.rss_max", 500.0, 3);
        check("process.service.threads_max", 5.0, 3);
        check("probe.hits", 0.75, 1);
        check("bench.cache/get", 6.0, 20);
        let bench = found.iter().find(|metric| metric.name == "bench.cache/get");
        assert_eq!(bench.unwrap().values(), [5.0, 7.0]);
    }

    #[test]
    fn a_run_that_ended_in_its_warm_up_measured_nothing() {
        let mut stopped = measurement();
        stopped.phases = vec![PhaseSpan {
            phase: Phase::Warmup,
            start_ns: 0,
            end_ns: S,
        }];
        stopped.loads[0].requests.iter_mut().for_each(|series| {
            series.response.clear();
            series.bytes_received = 0;
        });
        stopped.benches.clear();
        for metric in metrics(&plan(), &stopped) {
            let Reading::NotMeasurable { reason, .. } = &metric.reading else {
                panic!("{metric:?}");
            };
            assert_eq!(
                reason, "the run ended before its measure phase",
                "{metric:?}"
            );
        }
    }

    #[test]
    fn a_quantile_needs_a_hundred_requests_beyond_it() {
        let found = metrics(&plan(), &measurement());
        let check = |name: &str, reason: &str, remedy: &str| {
            let metric = found.iter().find(|metric| metric.name == name).unwrap();
            let expected = Reading::NotMeasurable {
                reason: reason.into(),
                remedy: remedy.into(),
            };
            assert_eq!(metric.reading, expected, "{name}");
        };
        check(
            "load.reads.p99",
            "only 25 requests lie beyond p99; 100 are needed",
            "measure for at least 40s, or at a higher rate",
        );
        check(
            "load.reads.p999",
            "only 2 requests lie beyond p99.9; 100 are needed",
            "measure for at least 6m40s, or at a higher rate",
        );
        check(
            "load.reads.connect.p50",
            "only 2 connections lie beyond p50; 100 are needed",
            "measure for at least 6m40s, or at a higher rate",
        );
        check(
            "load.reads.dns.mean",
            "no connection needed it in the measure phase",
            "connections are kept: say how long by `reuse` in [http], such as `reuse = \"iteration\"`",
        );
        check(
            "load.reads.iteration.p90",
            "only 5 iterations lie beyond p90; 100 are needed",
            "measure for at least 3m20s, or at a higher rate",
        );
    }

    /// What a search found, or the reason why it is not measurable.
    #[test]
    fn a_capacity_is_the_highest_rate_that_held() {
        let mut plan = plan();
        plan.loads[0].arrivals = Arrivals::Capacity {
            from: 100.0,
            to: 900.0,
            within: 0.05,
            hold_ns: S,
            spacing: Spacing::Even,
            max_in_flight: None,
        };
        let trial_of = |rate: f64, achieved, error_rate, outcome| CapacityTrial {
            rate,
            achieved,
            error_rate,
            quantiles: vec![],
            outcome,
            reason: String::new(),
        };
        let trial = |rate: f64, outcome| trial_of(rate, 1.0, 0.0, outcome);
        let check_metric = |name: &str,
                            unit,
                            holds,
                            trials: Option<Vec<CapacityTrial>>,
                            expected: Result<(f64, u64), &str>| {
            let mut measurement = measurement();
            measurement.loads[0].capacity = trials.map(|trials| CapacitySearch {
                holds,
                breaks: None,
                trials,
            });
            // It needs no measure phase.
            measurement.phases.clear();
            let found = metrics(&plan, &measurement);
            let mut of_load = found
                .iter()
                .filter(|metric| metric.name.starts_with("load."));
            let [capacity, share] = [of_load.next(), of_load.next()].map(Option::unwrap);
            assert_eq!(of_load.next(), None);
            let metric = [capacity, share]
                .into_iter()
                .find(|metric| metric.name == name)
                .unwrap();
            assert_eq!((&metric.unit, metric.better), (&unit, Direction::Higher));
            match (&metric.reading, expected) {
                (Reading::Measured { values }, Ok((value, trials))) => {
                    assert_eq!((&values[..], metric.observations), (&[value][..], trials));
                }
                (Reading::NotMeasurable { reason, .. }, Err(expected)) => {
                    assert!(reason.contains(expected), "{reason}");
                    assert_eq!(metric.observations, 0);
                }
                (reading, expected) => panic!("{reading:?} is not {expected:?}"),
            }
        };
        let check =
            |holds, trials: Option<Vec<CapacityTrial>>, expected: Result<(f64, u64), &str>| {
                check_metric(
                    "load.reads.capacity",
                    Unit::PerSecond,
                    holds,
                    trials.clone(),
                    expected,
                );
                if expected.is_err() {
                    check_metric(
                        "load.reads.capacity_share",
                        Unit::Ratio,
                        holds,
                        trials,
                        expected,
                    );
                }
            };
        use TrialOutcome::{Broke, Held, NotOffered};
        let check_share = |trials: &[CapacityTrial], expected: f64| {
            let trials = trials.to_vec();
            let expected = Ok((expected, trials.len() as u64));
            check_metric(
                "load.reads.capacity_share",
                Unit::Ratio,
                Some(300.0),
                Some(trials),
                expected,
            );
        };
        // 400 of the 800 offered in a second are completed, fewer of the 900, and most of the 1000 as errors.
        let saturated = [
            trial(300.0, Held),
            trial_of(800.0, 0.5, 0.0, Broke),
            trial_of(900.0, 0.4, 0.0, NotOffered),
            trial_of(1000.0, 1.0, 0.9, Broke),
        ];
        check_share(&saturated, 0.75);
        // Nothing was more than what held, of which a little was not completed.
        check_share(&[trial_of(300.0, 0.99, 0.0, Held)], 1.0);
        let three = vec![trial(100.0, Held), trial(900.0, Broke), trial(300.0, Held)];
        check(Some(300.0), Some(three), Ok((300.0, 3)));
        let broke = vec![trial(100.0, Broke)];
        check(
            None,
            Some(broke),
            Err("broken at the lowest rate that was tried, 100/s"),
        );
        let not_offered = vec![trial(100.0, NotOffered)];
        check(
            None,
            Some(not_offered),
            Err("could not even offer the lowest rate, 100/s"),
        );
        check(None, Some(vec![]), Err("no rate was tried"));
        check(None, None, Err("did not come to an end"));
    }

    #[test]
    fn exactly_a_hundred_are_enough() {
        let mut measurement = measurement();
        measurement.loads[0].iteration = millis(1..=1000);
        let found = metrics(&plan(), &measurement);
        let name = "load.reads.iteration.p90";
        let metric = found.iter().find(|metric| metric.name == name).unwrap();
        assert!((metric.value().unwrap() / 900e6 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_probe_without_a_value_says_where_to_look() {
        let mut measurement = measurement();
        measurement.probes[0].value = None;
        let check = |measurement: &Measurement, expected: &str| {
            let found = metrics(&plan(), measurement);
            let metric = found.iter().find(|metric| metric.name == "probe.hits");
            let Reading::NotMeasurable { reason, remedy } = &metric.unwrap().reading else {
                panic!("{metric:?}");
            };
            assert!(reason.contains(expected), "{reason}");
            assert!(remedy.contains("[probe.hits]"), "{remedy}");
        };
        check(&measurement, "over the whole measure phase");
        measurement.probes[0].points.clear();
        check(&measurement, "no look at the process's metrics");
    }
}
