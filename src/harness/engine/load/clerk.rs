//! The worker's bookkeeper: once a second it puts what the recorder noted into windows, looks at the
//! process itself, and reports. All of it on a thread of its own, so that no user waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use procfs::process::Process;

use super::clock::LoadClock;
use super::recorder::{Recorder, under_way};
use super::shape::Shape;
use super::windows::{WINDOW_NS, absorb, pack, window};
use crate::harness::engine::LoadTick;
use crate::harness::engine::thinned::{Thinned, mean};
use crate::harness::model::{GeneratorSample, LoadMeasurement, RequestSeries};
use crate::harness::scenario::PhasePlan;

/// Keeps the books of one load.
pub(super) struct Clerk {
    pub(super) recorder: Arc<Recorder>,
    pub(super) clock: LoadClock,
    pub(super) phases: PhasePlan,
    /// The rate of an open model, of this worker's shard.
    pub(super) rate: Option<Shape>,
    /// Name, flow and model are set; the rest is filled in.
    pub(super) load: LoadMeasurement,
}

impl Clerk {
    /// Works from the start of the load until `finish` is closed. `report` is called once a second.
    pub(super) fn work(
        mut self,
        finish: &Receiver<()>,
        mut report: impl FnMut(LoadTick),
    ) -> LoadMeasurement {
        let mut own = OwnUse::new();
        let mut samples = Thinned::new(together);
        let (mut second, mut looked_at_ns) = (0, 0);
        while let Err(RecvTimeoutError::Timeout) =
            finish.recv_timeout(self.clock.until(second * WINDOW_NS))
        {
            let sample = own.look(self.clock.now_ns());
            let since_ns = sample.at_ns - std::mem::replace(&mut looked_at_ns, sample.at_ns);
            if second > 0 {
                report(self.close_second(second - 1, &sample, since_ns));
                samples.push(sample);
            }
            // After a long pause of the machine the seconds in between are not made up for.
            second = (self.clock.now_ns() / WINDOW_NS).max(second) + 1;
        }
        self.load.generator.samples = samples.finish();
        self.finish()
    }

    /// `since_ns` is the time since the last look.
    fn close_second(&mut self, number: u64, sample: &GeneratorSample, since_ns: u64) -> LoadTick {
        // The second that ended just now may still be written to by whoever is just ending a
        // request, so it is taken a second later.
        for (number, second) in self.recorder.take_before(number) {
            let rate = self.rate.as_ref();
            absorb(&mut self.load, number, second, &self.phases, rate);
        }
        let last = self.recorder.look();
        if number * WINDOW_NS < self.phases.total_ns() {
            let rate = self.rate.as_ref();
            window(&mut self.load, number, &self.phases, rate).in_flight = last.in_flight;
        }
        let per_second = |count: u64| count as f64 * 1e9 / since_ns.max(1) as f64;
        LoadTick {
            load: self.load.name.clone(),
            at_ns: sample.at_ns,
            rate: per_second(last.ended),
            iteration_rate: per_second(last.iterations),
            target_rate: self
                .rate
                .as_ref()
                .map(|rate| rate.mean(number * WINDOW_NS, (number + 1) * WINDOW_NS)),
            p50_ns: last.response.quantile_ns(0.5),
            p95_ns: last.response.quantile_ns(0.95),
            p99_ns: last.response.quantile_ns(0.99),
            failed: last.failed,
            dropped: last.dropped,
            in_flight: last.in_flight,
            cpu_cores: sample.cpu_cores,
        }
    }

    fn finish(mut self) -> LoadMeasurement {
        let (measured, seconds) = self.recorder.finish();
        for (number, second) in seconds {
            let rate = self.rate.as_ref();
            absorb(&mut self.load, number, second, &self.phases, rate);
        }
        let mut load = self.load;
        for window in &mut load.windows {
            window.counts.cancelled = under_way(&window.counts);
        }
        for (series, measured) in load.requests.iter_mut().zip(measured.requests) {
            let mut windows = std::mem::take(&mut series.windows);
            windows.iter_mut().for_each(pack);
            *series = RequestSeries {
                windows,
                ..measured
            };
        }
        load.counts = measured.counts;
        load.iteration = measured.iteration;
        load.groups = measured.groups;
        load.connections = measured.connections;
        load.generator.ticket_lateness = measured.lateness;
        load.generator.exhausted_feeds = measured.exhausted_feeds;
        load
    }
}

/// What this process used since the last look.
struct OwnUse {
    cpu_ns: u64,
    at: Instant,
}

impl OwnUse {
    fn new() -> Self {
        Self {
            cpu_ns: cpu_ns(),
            at: Instant::now(),
        }
    }

    fn look(&mut self, at_ns: u64) -> GeneratorSample {
        let (cpu_ns, at) = (cpu_ns(), Instant::now());
        let used_ns = cpu_ns.saturating_sub(std::mem::replace(&mut self.cpu_ns, cpu_ns));
        let passed = at.duration_since(std::mem::replace(&mut self.at, at));
        GeneratorSample {
            at_ns,
            cpu_cores: used_ns as f64 / (passed.as_nanos() as f64).max(1.0),
            rss_bytes: rss_bytes(),
        }
    }
}

/// The resident memory of this process; 0 where the system doesn't tell.
fn rss_bytes() -> u64 {
    let stat = Process::myself().and_then(|own| own.stat());
    stat.map_or(0, |stat| stat.rss * procfs::page_size())
}

/// The processor time of this process, in ns.
fn cpu_ns() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        u64::try_from(us).unwrap_or_default() * 1_000
    })
}

fn together(samples: &[GeneratorSample]) -> Option<GeneratorSample> {
    Some(GeneratorSample {
        at_ns: samples.last()?.at_ns,
        cpu_cores: mean(samples.iter().map(|sample| sample.cpu_cores)),
        rss_bytes: samples.iter().map(|sample| sample.rss_bytes).max()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_use_of_a_busy_thread_is_seen() {
        let (mut own, before_ns, start) = (OwnUse::new(), cpu_ns(), Instant::now());
        while cpu_ns() < before_ns + 30_000_000 {
            std::hint::spin_loop();
        }
        // On a busy machine these 30 ms take longer, and are a smaller part of a core.
        let at_least = 0.9 * 0.03 / start.elapsed().as_secs_f64();
        let sample = own.look(0);
        assert!(sample.cpu_cores > at_least, "{sample:?}");
        assert!(sample.rss_bytes > 1 << 20, "{sample:?}");
    }
}
