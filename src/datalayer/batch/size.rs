//! How many rows the next batch holds (BA2), decided from the memory that the operation uses.
//!
//! The delta is measured from the start of the operation, not from batch to batch: what counts is
//! how far the operation has pushed the process, and a single batch never moves that by 200 MiB.

use crate::datalayer::config::BatchSettings;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Work on a batch of at most this many rows.
    Run(usize),
    /// The process is too close to its ceiling: wait, then ask again.
    Pause,
}

/// The state of one operation: it starts at `start_rows`, grows and shrinks by half of itself, and
/// never leaves `min_rows..=max_rows`.
#[derive(Debug, Clone)]
pub struct AdaptiveSize {
    settings: BatchSettings,
    base_bytes: u64,
    rows: usize,
}

impl AdaptiveSize {
    /// Starts an operation in a process that uses `resident_bytes` now.
    pub fn new(settings: &BatchSettings, resident_bytes: u64) -> Self {
        let rows = settings.start_rows as usize;
        Self {
            settings: settings.clone(),
            base_bytes: resident_bytes,
            rows,
        }
    }

    /// The size of the next batch as it stands; of the first batch, before anything was observed.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Decides on the next batch, given what the process uses after the last one.
    ///
    /// A pause shrinks too: when the work goes on, it goes on with less.
    pub fn observe(&mut self, resident_bytes: u64) -> Next {
        let delta_bytes = resident_bytes.saturating_sub(self.base_bytes);
        let over_ceiling = resident_bytes > pause_bytes(&self.settings);
        if over_ceiling || delta_bytes > self.settings.shrink_above_bytes {
            self.rows = (self.rows / 2).max(self.settings.min_rows as usize);
        } else if delta_bytes < self.settings.grow_below_bytes {
            // Half of one row is none, and would be none for ever.
            let more = (self.rows / 2).max(1);
            self.rows = (self.rows + more).min(self.settings.max_rows as usize);
        }
        if over_ceiling {
            Next::Pause
        } else {
            Next::Run(self.rows)
        }
    }
}

/// Above this the process is too close to its ceiling to begin another batch.
pub(super) fn pause_bytes(settings: &BatchSettings) -> u64 {
    (settings.memory_ceiling_bytes as f64 * settings.pause_above_ratio) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Feeds `resident_mib`, one figure a batch, to an operation that starts at 100 MiB.
    fn check(resident_mib: &[u64], expected: &[Next]) {
        let mut size = AdaptiveSize::new(&BatchSettings::default(), 100 * MIB);
        assert_eq!(size.rows(), 1000);
        let steps: Vec<Next> = resident_mib
            .iter()
            .map(|mib| size.observe(mib * MIB))
            .collect();
        assert_eq!(steps, expected, "resident {resident_mib:?}");
    }

    #[test]
    fn follows_the_memory() {
        use Next::{Pause, Run};
        // Little is used: up by half, and never above the maximum.
        check(
            &[100, 149, 100, 120],
            &[Run(1500), Run(2250), Run(3375), Run(5000)],
        );
        check(
            &[100; 6],
            &[
                Run(1500),
                Run(2250),
                Run(3375),
                Run(5000),
                Run(5000),
                Run(5000),
            ],
        );
        // Between 50 and 200 MiB: as it is, both ends included.
        check(&[150, 220, 300], &[Run(1000), Run(1000), Run(1000)]);
        // Above 200 MiB: down by half, and never below the minimum.
        check(
            &[301, 350, 350, 350, 350],
            &[Run(500), Run(250), Run(125), Run(100), Run(100)],
        );
        // Memory given back lets it grow again.
        check(&[301, 120], &[Run(500), Run(750)]);
        // Less than at the start is no growth of ours.
        check(&[40], &[Run(1500)]);
        // 85 % of 512 MiB is 435.2 MiB.
        check(&[435, 436, 436, 120], &[Run(500), Pause, Pause, Run(187)]);
    }

    #[test]
    fn grows_from_a_single_row() {
        let settings = BatchSettings {
            min_rows: 1,
            start_rows: 1,
            max_rows: 5,
            ..BatchSettings::default()
        };
        let mut size = AdaptiveSize::new(&settings, 100 * MIB);
        let steps = [100 * MIB; 5].map(|resident_bytes| size.observe(resident_bytes));
        assert_eq!(steps, [2, 3, 4, 5, 5].map(Next::Run));
    }
}
