//! Two parts of one load, from two workers or two machines, as one.
//!
//! Nothing makes shards yet: each load has one worker. Before anything does, two things are due.
//! [`validity`](super::validity()) is asked of each worker, but the share of arrivals that may be
//! dropped is the whole load's, and a worker without a user has measured nothing and is none the
//! worse for it. And looks are added up by their second, which misses those of workers that thinned
//! theirs to different seconds: the cores are then too low.

use std::collections::BTreeMap;

use super::windows::{add_request, coarsen, length_ns, pack};
use crate::harness::model::{
    ConnectionSeries, GeneratorHealth, GeneratorSample, LoadMeasurement, LoadWindow, RequestSeries,
};

/// Workers look at themselves this often.
const SAMPLE_NS: u64 = 1_000_000_000;

/// Why two measurements can't be one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// They are of different loads.
    #[error("`{left}` and `{right}` are different loads; merge only shards of one load")]
    Load {
        /// What the first is of.
        left: String,
        /// What the second is of.
        right: String,
    },
    /// They have different requests.
    #[error(
        "the two parts of load `{load}` have different requests; run all shards from one scenario"
    )]
    Requests {
        /// The load.
        load: String,
    },
}

/// Adds `other`, another part of the same load, to `load`. It doesn't matter which is added to
/// which, but for the examples of failures.
pub fn merge(load: &mut LoadMeasurement, mut other: LoadMeasurement) -> Result<(), MergeError> {
    let what = |load: &LoadMeasurement| format!("{} ({}, {:?})", load.name, load.flow, load.model);
    if what(load) != what(&other) {
        return Err(MergeError::Load {
            left: what(load),
            right: what(&other),
        });
    }
    let names = |load: &LoadMeasurement| -> Vec<String> {
        let names = load.requests.iter().map(|series| series.name.clone());
        names.collect()
    };
    if names(load) != names(&other) {
        return Err(MergeError::Requests {
            load: load.name.clone(),
        });
    }
    let longest_ns = length_ns(load).max(length_ns(&other));
    coarsen(load, longest_ns);
    coarsen(&mut other, longest_ns);
    load.counts.add(&other.counts);
    load.iteration.merge(&other.iteration);
    add_windows(&mut load.windows, other.windows);
    for (series, other) in load.requests.iter_mut().zip(other.requests) {
        add_series(series, other);
    }
    for (series, other) in load.groups.iter_mut().zip(other.groups) {
        series.duration.merge(&other.duration);
        series.failed += other.failed;
    }
    add_connections(&mut load.connections, &other.connections);
    load.shards.append(&mut other.shards);
    load.shards.sort_unstable_by_key(|part| part.index);
    add_health(&mut load.generator, other.generator);
    Ok(())
}

fn add_windows(windows: &mut Vec<LoadWindow>, other: Vec<LoadWindow>) {
    for (index, window) in other.into_iter().enumerate() {
        match windows.get_mut(index) {
            None => windows.push(window),
            Some(to) => {
                to.counts.add(&window.counts);
                to.in_flight += window.in_flight;
                to.target_rate = match (to.target_rate, window.target_rate) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                };
            }
        }
    }
}

fn add_series(series: &mut RequestSeries, other: RequestSeries) {
    for (outcome, histogram) in other.response {
        series
            .response
            .entry(outcome)
            .or_default()
            .merge(&histogram);
    }
    for (outcome, histogram) in other.service {
        series.service.entry(outcome).or_default().merge(&histogram);
    }
    for (kind, tally) in other.errors {
        let to = series.errors.entry(kind).or_default();
        to.count += tally.count;
        if to.example.is_empty() {
            to.example = tally.example;
        }
    }
    for (status, count) in other.statuses {
        *series.statuses.entry(status).or_default() += count;
    }
    series.bytes_sent += other.bytes_sent;
    series.bytes_received += other.bytes_received;
    series.retries += other.retries;
    series.redirects += other.redirects;
    for window in other.windows {
        let found = series
            .windows
            .binary_search_by_key(&window.start_ns, |window| window.start_ns);
        match found {
            Ok(index) => {
                add_request(&mut series.windows[index], &window);
                pack(&mut series.windows[index]);
            }
            Err(index) => series.windows.insert(index, window),
        }
    }
}

fn add_connections(connections: &mut ConnectionSeries, other: &ConnectionSeries) {
    connections.dns.merge(&other.dns);
    connections.connect.merge(&other.connect);
    connections.tls.merge(&other.tls);
    connections.first_byte.merge(&other.first_byte);
}

/// Two generators are one with the cores of both; looks of the same second are added up.
fn add_health(health: &mut GeneratorHealth, other: GeneratorHealth) {
    health.ticket_lateness.merge(&other.ticket_lateness);
    health.cores += other.cores;
    for (feed, iterations) in other.exhausted_feeds {
        let to = health.exhausted_feeds.entry(feed).or_default();
        *to = to.saturating_add(iterations);
    }
    let mut seconds: BTreeMap<u64, GeneratorSample> = BTreeMap::new();
    for sample in health.samples.drain(..).chain(other.samples) {
        let second = (sample.at_ns + SAMPLE_NS / 2) / SAMPLE_NS;
        seconds
            .entry(second)
            .and_modify(|to| {
                to.at_ns = to.at_ns.max(sample.at_ns);
                to.cpu_cores += sample.cpu_cores;
                to.rss_bytes += sample.rss_bytes;
            })
            .or_insert(sample);
    }
    health.samples = seconds.into_values().collect();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::super::recorder::{Began, Ended, Recorder};
    use super::super::windows;
    use super::*;
    use crate::harness::engine::Redactor;
    use crate::harness::model::ErrorKind;
    use crate::harness::scenario::PhasePlan;

    const S: u64 = 1_000_000_000;
    const PHASES: PhasePlan = PhasePlan {
        warmup_ns: 0,
        measure_ns: 1000 * S,
        cooldown_ns: 0,
        drain_ns: 0,
    };

    /// What a worker measures that owns every `of`th of `total` requests, one every 3.3 s.
    fn part(index: u64, of: u64, total: u64) -> LoadMeasurement {
        let mut load = fixture::measurement();
        let names = [load.requests[0].name.clone()];
        let recorder = Recorder::new(&names, 0..1000 * S, 1_000_000, Redactor::default());
        for nth in (index..total).step_by(of as usize) {
            let start_ns = nth * S * 33 / 10;
            let ended_ns = start_ns + 1_000_000 * (nth % 50 + 1);
            let began = Began {
                intended_ns: start_ns,
                due_ns: Some(start_ns),
                taken_ns: start_ns + 1000 * nth,
            };
            recorder.began_sending(&began, 0, start_ns);
            let failure = (nth % 7 == 0).then(|| (ErrorKind::Closed, "closed".to_owned()));
            let is_ok = failure.is_none();
            recorder.ended(&Ended {
                intended_ns: start_ns,
                sent_ns: start_ns,
                ended_ns,
                status: is_ok.then_some(200),
                bytes_received: 5,
                failure,
                ..Ended::default()
            });
            match is_ok {
                true => recorder.completed(start_ns, ended_ns),
                false => recorder.failed(start_ns, false, &[]),
            }
        }
        let (measured, seconds) = recorder.finish();
        for (number, second) in seconds {
            windows::absorb(&mut load, number, second, &PHASES, None);
        }
        for (series, measured) in load.requests.iter_mut().zip(measured.requests) {
            let windows = std::mem::take(&mut series.windows);
            *series = RequestSeries {
                windows,
                ..measured
            };
        }
        load.counts = measured.counts;
        load.iteration = measured.iteration;
        load.generator.ticket_lateness = measured.lateness;
        load
    }

    #[test]
    fn shards_together_are_the_whole() {
        // 300 and 900 seconds: the second needs windows of two seconds, its shards too.
        for total in [90, 270] {
            let mut merged = part(1, 3, total);
            merge(&mut merged, part(2, 3, total)).unwrap();
            merge(&mut merged, part(0, 3, total)).unwrap();
            assert_eq!(merged, part(0, 1, total));
            assert!(merged.counts.adds_up());
        }
    }

    #[test]
    fn a_short_part_merges_with_a_long_one() {
        let mut merged = part(0, 2, 90);
        merge(&mut merged, part(1, 2, 270)).unwrap();
        assert_eq!(length_ns(&merged), 2 * S);
        let offered: u64 = merged.windows.iter().map(|w| w.counts.offered).sum();
        assert_eq!(offered, 45 + 135);
    }

    #[test]
    fn different_loads_are_refused() {
        let mut other = fixture::measurement();
        other.flow = "another".into();
        let error = merge(&mut fixture::measurement(), other).unwrap_err();
        assert!(matches!(error, MergeError::Load { .. }), "{error}");
        let mut other = fixture::measurement();
        other.requests[0].name = "another".into();
        let error = merge(&mut fixture::measurement(), other).unwrap_err();
        assert!(matches!(error, MergeError::Requests { .. }), "{error}");
    }

    #[test]
    fn two_generators_are_one_with_the_cores_of_both() {
        let health = |cpu_cores, shift_ns| GeneratorHealth {
            cores: 1.0,
            samples: (1..4)
                .map(|second| GeneratorSample {
                    at_ns: second * S + shift_ns,
                    cpu_cores,
                    rss_bytes: 10,
                })
                .collect(),
            ..GeneratorHealth::default()
        };
        let mut merged = health(0.25, 0);
        add_health(&mut merged, health(0.5, 3_000_000));
        assert_eq!(merged.cores, 2.0);
        assert_eq!(merged.samples.len(), 3);
        assert!(
            merged
                .samples
                .iter()
                .all(|s| s.cpu_cores == 0.75 && s.rss_bytes == 20)
        );
    }
}
