//! A warm-up from its plan to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::plan::{Gone, Item, Plan};
use super::progress::{Progress, State};
use crate::datalayer::cache::{CacheError, Tag, TieredCache};
use crate::datalayer::config::WarmingSettings;

/// A warm-up in the background. Dropping it ends it: nothing more is asked for then, and the loads under
/// way, as many as there may be at once, come to their own ends.
#[derive(Debug)]
pub struct WarmUp {
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

/// What is the same for every item of one warm-up.
struct Runner {
    cache: TieredCache,
    settings: WarmingSettings,
    retries: AtomicU64,
}

impl WarmUp {
    /// Starts to bring the items of a plan, in their order. To be called within a Tokio runtime.
    pub fn start(cache: &TieredCache, plan: Plan, settings: &WarmingSettings) -> Self {
        let items = plan.into_items();
        let (sender, progress) = watch::channel(Progress::of(items.len() as u64));
        let runner = Runner {
            cache: cache.clone(),
            settings: settings.clone(),
            retries: AtomicU64::new(0),
        };
        let task = tokio::spawn(async move { runner.run(items, &sender).await });
        Self {
            progress,
            task: task.abort_handle(),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Tells of every step. Closed without [`State::Ended`] where it was dropped before its end.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits for its end, or for its being dropped, and gives how far it came.
    pub async fn ended(mut progress: watch::Receiver<Progress>) -> Progress {
        // An error is that nobody will say more.
        let _ = progress
            .wait_for(|progress| progress.state == State::Ended)
            .await;
        *progress.borrow()
    }
}

impl Drop for WarmUp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Runner {
    async fn run(&self, items: Vec<Item>, progress: &watch::Sender<Progress>) {
        let began = Instant::now();
        let brought = stream::iter(items).map(|item| self.bring(item));
        let mut brought = brought.buffer_unordered(self.settings.concurrency.max(1));
        while let Some(outcome) = brought.next().await {
            progress.send_modify(|progress| {
                match outcome {
                    Ok(()) => progress.done += 1,
                    Err(_) => progress.failed += 1,
                }
                progress.retries = self.retries.load(Ordering::Relaxed);
                progress.measure(began.elapsed());
            });
        }
    }

    /// One key, with as many attempts as there may be.
    async fn bring(&self, item: Item) -> Result<(), CacheError> {
        let brought = (|| self.attempt(&item))
            .retry(self.retries())
            .when(|error| matches!(error, CacheError::Load { .. }))
            .notify(|error, pause| {
                self.retries.fetch_add(1, Ordering::Relaxed);
                let pause_ms = pause.as_millis() as u64;
                tracing::debug!(%error, pause_ms, "a key is tried again ahead of its use");
            });
        let brought = brought.await;
        if let Err(error) = &brought {
            tracing::warn!(%error, "a key was not brought ahead of its use");
        }
        brought
    }

    async fn attempt(&self, item: &Item) -> Result<(), CacheError> {
        let kind_ttl = self.cache.ttl_of(item.kind);
        let ttl = item.ttl.map_or(kind_ttl, |own| own.min(kind_ttl));
        let at_least = ttl.mul_f64(self.settings.renew_below_ratio);
        let tags: Vec<_> = item.tags.iter().map(|name| Tag::Named(name)).collect();
        let loader = Arc::clone(&item.loader);
        let renewed = self
            .cache
            .renew(ttl, at_least, &item.key, &tags, move || loader());
        match renewed.await {
            Err(CacheError::Load { source, .. }) if source.downcast_ref::<Gone>().is_some() => {
                Ok(())
            }
            renewed => renewed.map(drop),
        }
    }

    fn retries(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(self.settings.retry_min_ms))
            .with_max_delay(Duration::from_millis(self.settings.retry_max_ms))
            .with_max_times(self.settings.retries_max)
            .with_jitter()
    }
}
