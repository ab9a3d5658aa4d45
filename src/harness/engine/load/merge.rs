//! Two parts of one load, from two workers or two machines, as one: what one worker would have
//! measured, but for the list of its shards and for the generators themselves.
//!
//! What is merged may have come from elsewhere. Sums of foreign numbers stop at the largest number;
//! that windows are windows was checked by whoever read them.

use std::collections::BTreeMap;

use super::windows::{add_request, coarsen, length_ns, pack};
use crate::harness::engine::progress::sum;
use crate::harness::model::{
    GeneratorHealth, GeneratorSample, LoadMeasurement, LoadWindow, RequestSeries,
};

/// Workers look at themselves this often, or one half, a quarter, … as often.
const LOOK_NS: u64 = 1_000_000_000;

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
    /// They have different requests or groups.
    #[error(
        "the parts of load `{load}` have different requests or groups; run all shards from one scenario"
    )]
    Requests {
        /// The load.
        load: String,
    },
}

/// Adds `other`, another part of the same load, to `load`. It doesn't matter which is added to
/// which, but for the examples of failures.
///
/// # Errors
/// They are of different loads, or have other requests or groups.
pub(super) fn merge(
    load: &mut LoadMeasurement,
    mut other: LoadMeasurement,
) -> Result<(), MergeError> {
    let what = |load: &LoadMeasurement| format!("{} ({}, {:?})", load.name, load.flow, load.model);
    if what(load) != what(&other) {
        return Err(MergeError::Load {
            left: what(load),
            right: what(&other),
        });
    }
    let names = |load: &LoadMeasurement| -> Vec<String> {
        let requests = load.requests.iter().map(|series| &series.name);
        let groups = load.groups.iter().map(|series| &series.name);
        requests.chain(groups).cloned().collect()
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
    add(&mut load.users.total_ns, other.users.total_ns);
    add(&mut load.users.lost_ns, other.users.lost_ns);
    load.iteration.merge(&other.iteration);
    add_windows(&mut load.windows, other.windows);
    for (series, other) in load.requests.iter_mut().zip(other.requests) {
        add_series(series, other);
    }
    for (series, other) in load.groups.iter_mut().zip(other.groups) {
        series.add(&other);
    }
    load.connections.add(&other.connections);
    load.shards.append(&mut other.shards);
    load.shards
        .sort_unstable_by_key(|part| (part.index, part.of));
    add_health(&mut load.generator, other.generator);
    Ok(())
}

fn add_windows(windows: &mut Vec<LoadWindow>, other: Vec<LoadWindow>) {
    for (index, window) in other.into_iter().enumerate() {
        match windows.get_mut(index) {
            None => windows.push(window),
            Some(to) => {
                to.counts.add(&window.counts);
                add(&mut to.in_flight, window.in_flight);
                to.target_rate = sum(to.target_rate, window.target_rate);
            }
        }
    }
}

/// Adds the requests of the same name.
pub(super) fn add_series(series: &mut RequestSeries, other: RequestSeries) {
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
        add(&mut to.count, tally.count);
        if to.example.is_empty() {
            to.example = tally.example;
        }
    }
    for (status, count) in other.statuses {
        add(series.statuses.entry(status).or_default(), count);
    }
    add(&mut series.bytes_sent, other.bytes_sent);
    add(&mut series.bytes_received, other.bytes_received);
    add(&mut series.retries, other.retries);
    add(&mut series.redirects, other.redirects);
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

/// Two generators are one with the cores of both. A long load keeps fewer looks, and of two workers the
/// one may have thinned its own when the other did not yet; so looks are put on the coarser of the two
/// grids before they are added up.
fn add_health(health: &mut GeneratorHealth, other: GeneratorHealth) {
    health.ticket_lateness.merge(&other.ticket_lateness);
    health.cores += other.cores;
    for (feed, iterations) in other.exhausted_feeds {
        add(health.exhausted_feeds.entry(feed).or_default(), iterations);
    }
    let step_ns = spacing_ns(&health.samples).max(spacing_ns(&other.samples));
    let mut grid = on_grid(&health.samples, step_ns);
    for (cell, sample) in on_grid(&other.samples, step_ns) {
        grid.entry(cell)
            .and_modify(|to| {
                to.cpu_cores += sample.cpu_cores;
                add(&mut to.rss_bytes, sample.rss_bytes);
            })
            .or_insert(sample);
    }
    health.samples = grid.into_values().collect();
}

/// How far apart looks are, in ns: a second times a power of two.
fn spacing_ns(samples: &[GeneratorSample]) -> u64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return LOOK_NS;
    };
    let gaps = (samples.len() as u64 - 1).max(1);
    let mean_ns = last.at_ns.saturating_sub(first.at_ns) / gaps;
    let looks = (mean_ns.saturating_add(LOOK_NS / 2) / LOOK_NS).max(1);
    // A look that was late by half its time must not double the rest.
    (1 << looks.ilog2()) * LOOK_NS
}

/// The looks by cells of `step_ns`, each with the end of its cell as its time. A look tells of the time
/// since the one before, so the cores in a cell are the mean of those that tell of a part of it,
/// each for as long as it does.
fn on_grid(samples: &[GeneratorSample], step_ns: u64) -> BTreeMap<u64, GeneratorSample> {
    let own_ns = spacing_ns(samples);
    let mut cells: BTreeMap<u64, (f64, u64, u64)> = BTreeMap::new();
    let mut before_ns = None;
    for sample in samples {
        let from_ns = before_ns
            .replace(sample.at_ns)
            .unwrap_or_else(|| sample.at_ns.saturating_sub(own_ns));
        for cell in from_ns / step_ns..sample.at_ns.div_ceil(step_ns) {
            let start_ns = from_ns.max(cell * step_ns);
            let told_ns = sample.at_ns.min((cell + 1) * step_ns) - start_ns;
            let (busy, covered_ns, rss_bytes) = cells.entry(cell).or_default();
            *busy += sample.cpu_cores * told_ns as f64;
            *covered_ns += told_ns;
            *rss_bytes = (*rss_bytes).max(sample.rss_bytes);
        }
    }
    let told = cells
        .into_iter()
        .filter(|(_, (_, covered_ns, _))| *covered_ns >= step_ns / 2);
    told.map(|(cell, (busy, covered_ns, rss_bytes))| {
        let sample = GeneratorSample {
            at_ns: (cell + 1) * step_ns,
            cpu_cores: busy / covered_ns as f64,
            rss_bytes,
        };
        (cell, sample)
    })
    .collect()
}

fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::super::recorder::{Began, Ended, Recorder};
    use super::super::windows;
    use super::*;
    use crate::harness::engine::Redactor;
    use crate::harness::model::{ErrorKind, ShardPart};
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
        let recorder = Recorder::new(&names, &[], 0..1000 * S, 1_000_000, Redactor::default());
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
        load.shards = vec![ShardPart {
            index: index as u32,
            of: of as u32,
        }];
        load
    }

    #[test]
    fn shards_together_are_the_whole() {
        // 300 and 900 seconds: the second needs windows of two seconds, its shards too.
        for total in [90, 270] {
            let mut merged = part(1, 3, total);
            merge(&mut merged, part(2, 3, total)).unwrap();
            merge(&mut merged, part(0, 3, total)).unwrap();
            assert!(merged.counts.adds_up());
            let shards: Vec<_> = merged.shards.iter().map(|it| (it.index, it.of)).collect();
            assert_eq!(shards, [(0, 3), (1, 3), (2, 3)]);
            // But for their list, nothing tells it from what one worker measured.
            let whole = part(0, 1, total);
            merged.shards.clone_from(&whole.shards);
            assert_eq!(merged, whole);
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

    /// The looks of a worker that keeps `cores` busy in every second up to `until_s`, one every
    /// `every_s`.
    fn looks(every_s: u64, until_s: u64, cores: impl Fn(u64) -> f64) -> GeneratorHealth {
        let look = |at_s: u64| GeneratorSample {
            at_ns: at_s * S + 2_000_000,
            cpu_cores: (at_s - every_s..at_s).map(&cores).sum::<f64>() / every_s as f64,
            rss_bytes: 10,
        };
        GeneratorHealth {
            cores: 1.0,
            samples: (every_s..=until_s)
                .step_by(every_s as usize)
                .map(look)
                .collect(),
            ..GeneratorHealth::default()
        }
    }

    #[test]
    fn looks_that_were_thinned_differently_add_up() {
        let cores = |second: u64| if second < 300 { 0.2 } else { 0.6 };
        // The one thinned its looks twice, the other not yet: it ended a little earlier.
        for (mut one, other) in [
            (looks(4, 600, cores), looks(1, 598, cores)),
            (looks(1, 598, cores), looks(4, 600, cores)),
        ] {
            add_health(&mut one, other);
            assert_eq!(one.samples.len(), 150);
            for sample in &one.samples {
                assert_eq!(sample.at_ns % (4 * S), 0, "{sample:?}");
                let expected = 2.0 * cores((sample.at_ns / S) - 4);
                // Looks are a little late, and tell as much of the next cell.
                assert!((sample.cpu_cores - expected).abs() < 0.01, "{sample:?}");
                assert_eq!(sample.rss_bytes, 20);
            }
        }
    }

    #[test]
    fn a_third_generator_is_added_to_two() {
        let mut sum = looks(1, 10, |_| 0.25);
        add_health(&mut sum, looks(1, 10, |_| 0.5));
        add_health(&mut sum, looks(2, 10, |second| (second % 2) as f64));
        assert_eq!(sum.cores, 3.0);
        let cores: Vec<_> = sum.samples.iter().map(|it| it.cpu_cores).collect();
        assert_eq!(cores.len(), 5);
        assert!(
            cores.iter().all(|cores| (cores - 1.25).abs() < 0.01),
            "{cores:?}"
        );
    }
}
