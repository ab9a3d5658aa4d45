//! What the tree of a process takes of the machine, looked at each second.

use std::collections::HashMap;
use std::time::Instant;

use procfs::process::Process;

use super::processes::Root;
use super::tree::Snapshot;
use crate::harness::engine::thinned::mean;
use crate::harness::model::ProcessSample;

/// Looks at process trees and remembers their processor time from look to look.
#[derive(Debug, Default)]
pub struct Sampler {
    /// By supervisor: when it was looked at last, and the ticks that its tree had taken by then.
    last: HashMap<i32, (Instant, u64)>,
}

impl Sampler {
    /// One sample for each tree, with `at_ns` left 0, and when it was taken. Reads `/proc`, so it
    /// blocks for some milliseconds on a machine with many processes.
    pub fn look(&mut self, roots: &[Root]) -> Vec<(Instant, ProcessSample)> {
        let snapshot = Snapshot::take();
        let now = Instant::now();
        let samples = roots
            .iter()
            .map(|root| (now, self.sample(&snapshot, root, now)))
            .collect();
        self.last.retain(|supervisor, _| {
            roots
                .iter()
                .any(|root| root.supervisor == Some(*supervisor))
        });
        samples
    }

    fn sample(&mut self, snapshot: &Snapshot, root: &Root, now: Instant) -> ProcessSample {
        let mut sample = ProcessSample {
            at_ns: 0,
            cpu_cores: 0.0,
            rss_bytes: 0,
            threads: 0,
            fds: 0,
        };
        let Some(supervisor) = root.supervisor else {
            return sample;
        };
        // Each process's own time, and the time of the children that it has waited for, so that no
        // time is lost when one ends between two looks. Orphans are waited for by the supervisor,
        // whose own time does not count.
        let own = Process::new(supervisor).and_then(|process| process.stat());
        let mut ticks = own.map_or(0, |stat| waited_for(stat.cutime, stat.cstime));
        for stat in snapshot.descendants(supervisor) {
            ticks += stat.utime + stat.stime + waited_for(stat.cutime, stat.cstime);
            sample.rss_bytes += stat.rss * procfs::page_size();
            sample.threads += u64::try_from(stat.num_threads).unwrap_or(0);
            // Another user's are not ours to count.
            let fds = Process::new(stat.pid).and_then(|process| process.fd_count());
            sample.fds += fds.map_or(0, |count| count as u64);
        }
        let (last, last_ticks) = self
            .last
            .get(&supervisor)
            .copied()
            .unwrap_or((root.started_at, 0));
        let elapsed_s = now.duration_since(last).as_secs_f64();
        if elapsed_s > 0.0 {
            let taken = ticks.saturating_sub(last_ticks) as f64;
            sample.cpu_cores = taken / procfs::ticks_per_second() as f64 / elapsed_s;
        }
        self.last.insert(supervisor, (now, ticks));
        sample
    }
}

/// One sample for several: the time of the last one, the mean load, the most of everything else.
pub(in crate::harness::engine) fn together(samples: &[ProcessSample]) -> Option<ProcessSample> {
    let most = |value: fn(&ProcessSample) -> u64| samples.iter().map(value).max();
    Some(ProcessSample {
        at_ns: samples.last()?.at_ns,
        cpu_cores: mean(samples.iter().map(|sample| sample.cpu_cores)),
        rss_bytes: most(|sample| sample.rss_bytes)?,
        threads: most(|sample| sample.threads)?,
        fds: most(|sample| sample.fds)?,
    })
}

fn waited_for(user_ticks: i64, system_ticks: i64) -> u64 {
    u64::try_from(user_ticks + system_ticks).unwrap_or(0)
}
