//! The worker's bookkeeper: once a second it puts what the recorder noted into windows, looks at the
//! process itself, and reports. All of it on a thread of its own, so that no user waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use procfs::process::Process;

use super::abort::Aborts;
use super::clock::LoadClock;
use super::job::Shard;
use super::merge::add_series;
use super::recorder::{Measured, Recorder, under_way};
use super::schedule::Schedule;
use super::shape::Shape;
use super::users::Room;
use super::windows::{WINDOW_NS, absorb, pack, window};
use crate::harness::engine::LoadTick;
use crate::harness::engine::thinned::{Thinned, mean};
use crate::harness::model::{Aborted, GeneratorSample, LoadMeasurement, UserTime};
use crate::harness::scenario::PhasePlan;

/// Keeps the books of one load.
pub(super) struct Clerk {
    pub(super) recorder: Arc<Recorder>,
    pub(super) clock: LoadClock,
    pub(super) phases: PhasePlan,
    /// When this worker's arrivals are due, in an open model.
    pub(super) schedule: Option<Schedule>,
    /// The users of the whole load, in a closed model.
    pub(super) users: Option<Shape>,
    /// Which of them are at work, in a closed model.
    pub(super) room: Option<Room>,
    /// Which part of the load this worker has.
    pub(super) shard: Shard,
    pub(super) aborts: Aborts,
    /// Name, flow and model are set; the rest is filled in.
    pub(super) load: LoadMeasurement,
}

impl Clerk {
    /// Works from the start of the load until `finish` is closed. `report` is called once a second,
    /// `abort` once at most: for the first limit that the measure phase so far breaks.
    pub(super) fn work(
        mut self,
        finish: &Receiver<()>,
        mut report: impl FnMut(LoadTick),
        abort: impl FnOnce(Aborted),
    ) -> LoadMeasurement {
        let mut own = OwnUse::new();
        let mut samples = Thinned::new(together);
        // What the metrics come from, while windows are what is shown over time.
        let mut totals = self.load.clone();
        let mut abort = Some(abort);
        let (mut second, mut looked_at_ns) = (0, 0);
        while let Err(RecvTimeoutError::Timeout) =
            finish.recv_timeout(self.clock.until(second * WINDOW_NS))
        {
            let sample = own.look(self.clock.now_ns());
            let since_ns = sample.at_ns - std::mem::replace(&mut looked_at_ns, sample.at_ns);
            if second > 0 {
                report(self.close_second(second - 1, since_ns, sample.cpu_cores));
                samples.push(sample);
            }
            if abort.is_some()
                && let Some(broken) = self.broken_limit(&mut totals)
                && let Some(abort) = abort.take()
            {
                abort(broken);
            }
            // After a long pause of the machine the seconds in between are not made up for.
            second = (self.clock.now_ns() / WINDOW_NS).max(second) + 1;
        }
        let mut load = self.finish(totals);
        load.generator.samples = samples.finish();
        load
    }

    /// `since_ns` is the time since the last look, in which this process kept `cpu_cores` busy.
    fn close_second(&mut self, number: u64, since_ns: u64, cpu_cores: f64) -> LoadTick {
        // The second that ended just now may still be written to by whoever is just ending a
        // request, so it is taken a second later.
        for (number, second) in self.recorder.take_before(number) {
            let schedule = self.schedule.as_ref();
            absorb(&mut self.load, number, second, &self.phases, schedule);
        }
        let mut last = self.recorder.look();
        last.response.pack();
        if number * WINDOW_NS < self.phases.total_ns() {
            let schedule = self.schedule.as_ref();
            window(&mut self.load, number, &self.phases, schedule).in_flight = last.in_flight;
        }
        let per_second = |count: u64| count as f64 * 1e9 / since_ns.max(1) as f64;
        LoadTick {
            load: self.load.name.clone(),
            rate: per_second(last.ended),
            iteration_rate: per_second(last.iterations),
            target_rate: self
                .schedule
                .as_ref()
                .map(|schedule| schedule.mean_rate(number * WINDOW_NS, (number + 1) * WINDOW_NS)),
            response: last.response,
            failed_rate: per_second(last.newly_failed),
            failed: last.failed,
            dropped: last.dropped,
            in_flight: last.in_flight,
            lateness_ns_p99: last.lateness.quantile_ns(0.99),
            cpu_cores,
            cpu_share: cpu_cores / self.load.generator.cores,
        }
    }

    /// The first limit that the measure phase so far breaks, where it is time to look for one.
    fn broken_limit(&self, totals: &mut LoadMeasurement) -> Option<Aborted> {
        let now_ns = self.clock.now_ns();
        if !self.aborts.are_due(now_ns) {
            return None;
        }
        let so_far = self.recorder.take_measured();
        keep(totals, so_far.measured);
        totals.users.total_ns = self.user_time_ns(now_ns);
        let part = self.part(now_ns);
        self.aborts.broken(totals, &so_far.under_way, part, now_ns)
    }

    fn finish(mut self, mut totals: LoadMeasurement) -> LoadMeasurement {
        // A load that was stopped had so much of its measure phase.
        let until_ns = self.clock.now_ns().min(self.phases.measure_end_ns());
        let waiting = self.recorder.waiting();
        let (measured, seconds) = self.recorder.finish();
        for (number, second) in seconds {
            let schedule = self.schedule.as_ref();
            absorb(&mut self.load, number, second, &self.phases, schedule);
        }
        keep(&mut totals, measured);
        totals.users = match self.users {
            None => UserTime::default(),
            Some(_) => UserTime {
                total_ns: self.user_time_ns(until_ns),
                lost_ns: totals
                    .users
                    .lost_ns
                    .saturating_add(waiting.lost_ns(until_ns)),
            },
        };
        for window in &mut self.load.windows {
            window.counts.cancelled = under_way(&window.counts);
        }
        totals.windows = self.load.windows;
        for (series, over_time) in totals.requests.iter_mut().zip(self.load.requests) {
            series.windows = over_time.windows;
            series.windows.iter_mut().for_each(pack);
        }
        totals
    }

    /// The time of this worker's users in the measure phase until then, in ns.
    fn user_time_ns(&self, until_ns: u64) -> u64 {
        let start_ns = self.phases.warmup_ns;
        let users = self
            .users
            .as_ref()
            .map_or(0.0, |users| users.mean(start_ns, until_ns));
        let own = users * self.part(until_ns);
        (own * until_ns.saturating_sub(start_ns) as f64) as u64
    }

    /// The part, from 0 to 1, that this worker had of the load in the measure phase until then.
    fn part(&self, until_ns: u64) -> f64 {
        let start_ns = self.phases.warmup_ns;
        match &self.room {
            Some(room) => room.part(self.shard, start_ns, until_ns),
            None => 1.0 / f64::from(self.shard.of),
        }
    }
}

/// Adds what was noted of the measure phase since the last time, but for the counts, which are those
/// since its start.
fn keep(totals: &mut LoadMeasurement, measured: Measured) {
    totals.counts = measured.counts;
    totals.iteration.merge(&measured.iteration);
    totals.generator.ticket_lateness.merge(&measured.lateness);
    totals.users.lost_ns = totals.users.lost_ns.saturating_add(measured.failed_ns);
    // Both are of the flow: what one has and the other has not would be lost without a word.
    debug_assert_eq!(totals.requests.len(), measured.requests.len());
    debug_assert_eq!(totals.groups.len(), measured.groups.len());
    for (series, measured) in totals.requests.iter_mut().zip(measured.requests) {
        add_series(series, measured);
    }
    for (series, measured) in totals.groups.iter_mut().zip(measured.groups) {
        series.add(&measured);
    }
    totals.connections.add(&measured.connections);
    for (feed, iterations) in measured.exhausted_feeds {
        *totals.generator.exhausted_feeds.entry(feed).or_default() += iterations;
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
