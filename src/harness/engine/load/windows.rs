//! Windows of a load over time. They start as seconds; a load that is longer than [`MAX_WINDOWS`]
//! of them has windows of two, four, eight seconds, so that memory is bounded.

use super::recorder::{Second, SecondOfRequest};
use super::schedule::Schedule;
use crate::harness::engine::thinned::MAX_SAMPLES;
use crate::harness::model::{LoadMeasurement, LoadWindow, Phase, RequestWindow};
use crate::harness::scenario::PhasePlan;

/// The length of the first windows in ns.
pub(in crate::harness::engine) const WINDOW_NS: u64 = 1_000_000_000;
/// A load has at most so many windows.
pub(in crate::harness::engine) const MAX_WINDOWS: usize = MAX_SAMPLES;

/// The phase of an instant; after the end of the cool-down it is still the cool-down.
pub(in crate::harness::engine) fn phase_at(phases: &PhasePlan, at_ns: u64) -> Phase {
    if at_ns < phases.warmup_ns {
        Phase::Warmup
    } else if at_ns < phases.measure_end_ns() {
        Phase::Measure
    } else {
        Phase::Cooldown
    }
}

/// The length of a load's windows in ns.
pub(in crate::harness::engine) fn length_ns(load: &LoadMeasurement) -> u64 {
    load.windows
        .first()
        .map_or(WINDOW_NS, |window| window.length_ns)
}

/// Adds what was noted of a second to its window. `schedule` is that of an open model.
pub(super) fn absorb(
    load: &mut LoadMeasurement,
    number: u64,
    second: Second,
    phases: &PhasePlan,
    schedule: Option<&Schedule>,
) {
    window(load, number, phases, schedule)
        .counts
        .add(&second.counts);
    let start_ns = number * WINDOW_NS / length_ns(load) * length_ns(load);
    for (series, second) in load.requests.iter_mut().zip(second.requests) {
        let SecondOfRequest {
            response,
            service,
            failed,
            bytes_received,
        } = second;
        if response.is_empty() && failed == 0 && bytes_received == 0 {
            continue;
        }
        let added = RequestWindow {
            start_ns,
            response,
            service,
            failed,
            bytes_received,
        };
        let windows = &mut series.windows;
        let index = match windows.binary_search_by_key(&start_ns, |window| window.start_ns) {
            Ok(index) => {
                add_request(&mut windows[index], &added);
                index
            }
            Err(index) => {
                windows.insert(index, added);
                index
            }
        };
        // Only the newest window is likely to be written to again.
        let newest = windows.len() - 1;
        for older in [index, newest.saturating_sub(1)] {
            if older < newest {
                pack(&mut windows[older]);
            }
        }
    }
}

/// The window of a second, which is made where it is new, with those before it.
pub(super) fn window<'a>(
    load: &'a mut LoadMeasurement,
    number: u64,
    phases: &PhasePlan,
    schedule: Option<&Schedule>,
) -> &'a mut LoadWindow {
    let at_ns = number * WINDOW_NS;
    while at_ns / length_ns(load) >= MAX_WINDOWS as u64 {
        double(load);
    }
    let length_ns = length_ns(load);
    let index = (at_ns / length_ns) as usize;
    for new in load.windows.len()..=index {
        let start_ns = new as u64 * length_ns;
        load.windows.push(LoadWindow {
            start_ns,
            length_ns,
            phase: phase_at(phases, start_ns),
            counts: Default::default(),
            in_flight: 0,
            target_rate: None,
        });
    }
    let window = &mut load.windows[index];
    window.target_rate =
        schedule.map(|schedule| schedule.mean_rate(window.start_ns, window.start_ns + length_ns));
    window
}

/// Doubles the length of the windows until it is at least `wanted_ns`.
pub(super) fn coarsen(load: &mut LoadMeasurement, wanted_ns: u64) {
    while length_ns(load) < wanted_ns && !load.windows.is_empty() {
        double(load);
    }
}

fn double(load: &mut LoadMeasurement) {
    let length_ns = 2 * length_ns(load);
    let mut doubled: Vec<LoadWindow> = Vec::with_capacity(load.windows.len().div_ceil(2));
    for window in load.windows.drain(..) {
        match doubled.last_mut() {
            Some(first) if window.start_ns < first.start_ns + length_ns => {
                first.counts.add(&window.counts);
                first.in_flight = window.in_flight;
                first.target_rate = match (first.target_rate, window.target_rate) {
                    (Some(a), Some(b)) => Some((a + b) / 2.0),
                    (a, b) => a.or(b),
                };
            }
            _ => doubled.push(LoadWindow {
                length_ns,
                ..window
            }),
        }
    }
    load.windows = doubled;
    for series in &mut load.requests {
        let mut doubled: Vec<RequestWindow> = Vec::with_capacity(series.windows.len());
        for window in series.windows.drain(..) {
            let start_ns = window.start_ns / length_ns * length_ns;
            match doubled.last_mut() {
                Some(first) if first.start_ns == start_ns => {
                    add_request(first, &window);
                    pack(first);
                }
                _ => doubled.push(RequestWindow { start_ns, ..window }),
            }
        }
        series.windows = doubled;
    }
}

/// Adds a window of the same time.
pub(super) fn add_request(to: &mut RequestWindow, window: &RequestWindow) {
    to.response.merge(&window.response);
    to.service.merge(&window.service);
    // Those of another machine may be any numbers.
    to.failed = to.failed.saturating_add(window.failed);
    to.bytes_received = to.bytes_received.saturating_add(window.bytes_received);
}

/// Gives up the memory of a window that is not likely to be written to again.
pub(super) fn pack(window: &mut RequestWindow) {
    window.response.pack();
    window.service.pack();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::harness::model::{Counts, LatencyHistogram};
    use crate::harness::scenario::{Arrivals, Spacing, Stage};

    const S: u64 = 1_000_000_000;

    fn second(iterations: u64) -> Second {
        let mut histogram = LatencyHistogram::new();
        for nth in 0..iterations {
            histogram.record(3_000_000 + nth * 1_000);
        }
        Second {
            counts: Counts {
                offered: iterations,
                started: iterations,
                completed: iterations,
                ..Counts::default()
            },
            requests: vec![SecondOfRequest {
                service: histogram.clone(),
                response: histogram,
                failed: 1,
                bytes_received: 100,
            }],
        }
    }

    #[test]
    fn ten_hours_keep_every_count_in_at_most_600_windows() {
        let phases = PhasePlan {
            warmup_ns: 60 * S,
            measure_ns: 36_000 * S,
            cooldown_ns: 0,
            drain_ns: 0,
        };
        let mut load = fixture::measurement();
        // Every 60th second is enough to fill every window.
        for number in (0..36_060).step_by(60) {
            absorb(&mut load, number, second(20), &phases, None);
            assert!(load.windows.len() <= MAX_WINDOWS);
            assert!(load.requests[0].windows.len() <= MAX_WINDOWS);
        }
        let offered: u64 = load
            .windows
            .iter()
            .map(|window| window.counts.offered)
            .sum();
        assert_eq!(offered, 12_020);
        assert_eq!(length_ns(&load), 64 * S);
        assert!(load.windows.is_sorted_by_key(|window| window.start_ns));
        let series = &load.requests[0];
        let responses: u64 = series
            .windows
            .iter()
            .map(|window| window.response.count())
            .sum();
        assert_eq!(responses, 12_020);
        assert_eq!(series.windows.iter().map(|w| w.failed).sum::<u64>(), 601);
        // What is kept of ten hours, as it is kept: the encoded histograms.
        let kept: usize = series
            .windows
            .iter()
            .map(|window| window.response.encode().len() + window.service.encode().len())
            .sum();
        assert!(kept < 1 << 20, "{kept} bytes");
    }

    #[test]
    fn a_window_names_its_phase_and_rate() {
        let phases = PhasePlan {
            warmup_ns: 2 * S,
            measure_ns: 2 * S,
            cooldown_ns: S,
            drain_ns: 0,
        };
        let mut job = fixture::job("http://127.0.0.1:1");
        job.load.arrivals = Arrivals::Open {
            stages: vec![Stage::line(4 * S, 0.0, 40.0)],
            spacing: Spacing::Even,
            max_in_flight: 1,
        };
        let schedule = Schedule::of(&job, 5 * S).unwrap();
        let mut load = fixture::measurement();
        for number in [4, 3, 2, 1, 0] {
            absorb(&mut load, number, second(1), &phases, schedule.as_ref());
        }
        use Phase::{Cooldown, Measure, Warmup};
        let found: Vec<_> = load.windows.iter().map(|window| window.phase).collect();
        assert_eq!(found, [Warmup, Warmup, Measure, Measure, Cooldown]);
        let rates: Vec<_> = load
            .windows
            .iter()
            .map(|window| window.target_rate)
            .collect();
        let expected = [5.0, 15.0, 25.0, 35.0, 40.0].map(Some);
        assert_eq!(rates, expected);
    }
}
