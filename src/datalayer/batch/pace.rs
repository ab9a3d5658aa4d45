//! The adaptive size at work: it asks for the memory after each batch, and waits while there is
//! too little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::BatchError;
use super::memory::MemorySource;
use super::size::{AdaptiveSize, Next, pause_bytes};
use crate::datalayer::config::BatchSettings;

/// Paces one operation.
pub(super) struct Pace {
    size: AdaptiveSize,
    memory: Arc<dyn MemorySource>,
    settings: BatchSettings,
    pauses: u64,
    peak_resident_bytes: u64,
}

impl Pace {
    pub(super) fn new(settings: &BatchSettings, memory: Arc<dyn MemorySource>) -> Self {
        let resident_bytes = memory.resident_bytes();
        Self {
            size: AdaptiveSize::new(settings, resident_bytes),
            memory,
            settings: settings.clone(),
            pauses: 0,
            peak_resident_bytes: resident_bytes,
        }
    }

    /// The size of the next batch.
    pub(super) fn rows(&self) -> usize {
        self.size.rows()
    }

    /// How often the operation had to wait.
    pub(super) fn pauses(&self) -> u64 {
        self.pauses
    }

    /// The most memory seen between batches.
    pub(super) fn peak_resident_bytes(&self) -> u64 {
        self.peak_resident_bytes
    }

    /// Sets the size for the batch after this one, and waits until there is memory for it.
    ///
    /// # Errors
    /// [`BatchError::MemoryCeiling`] when the wait is longer than the settings allow: whoever uses
    /// the memory does not give it back, and waiting on would be a hang.
    pub(super) async fn step(&mut self) -> Result<(), BatchError> {
        let mut paused: Option<Instant> = None;
        loop {
            let resident_bytes = self.memory.resident_bytes();
            self.peak_resident_bytes = self.peak_resident_bytes.max(resident_bytes);
            if let Next::Run(_) = self.size.observe(resident_bytes) {
                return Ok(());
            }
            let since = *paused.get_or_insert_with(|| {
                self.pauses += 1;
                Instant::now()
            });
            let waited_ms = since.elapsed().as_millis() as u64;
            if waited_ms >= self.settings.pause_limit_ms {
                return Err(BatchError::MemoryCeiling {
                    resident_bytes,
                    pause_bytes: pause_bytes(&self.settings),
                    waited_ms,
                });
            }
            tokio::time::sleep(Duration::from_millis(self.settings.pause_poll_ms)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const GIGABYTE: u64 = 1_000_000_000;

    fn quick() -> BatchSettings {
        BatchSettings {
            pause_poll_ms: 1,
            pause_limit_ms: 20,
            ..BatchSettings::default()
        }
    }

    #[tokio::test]
    async fn waits_until_there_is_memory() {
        let asked = AtomicU64::new(0);
        // Too much on the second and third question, not before and not after.
        let memory = move || match asked.fetch_add(1, Ordering::Relaxed) {
            1 | 2 => GIGABYTE,
            _ => 0,
        };
        let mut pace = Pace::new(&quick(), Arc::new(memory));
        pace.step().await.expect("memory came back");
        assert_eq!(pace.pauses(), 1);
        assert_eq!(pace.peak_resident_bytes(), GIGABYTE);
        // 1000 halved twice while paused, then grown by half.
        assert_eq!(pace.rows(), 375);
    }

    #[tokio::test]
    async fn does_not_wait_for_ever() {
        let mut pace = Pace::new(&quick(), Arc::new(|| GIGABYTE));
        let error = pace.step().await.expect_err("memory never comes back");
        assert!(
            matches!(
                error,
                BatchError::MemoryCeiling {
                    waited_ms: 20..,
                    ..
                }
            ),
            "{error}"
        );
    }
}
