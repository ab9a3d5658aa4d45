//! A warm-up from its plan to its end.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures_util::future::ready;
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::plan::{Item, Plan};
use super::progress::{Progress, State};
use crate::datalayer::cache::{CacheError, Tag, TieredCache};
use crate::datalayer::config::WarmingSettings;

/// A warm-up in the background. Dropping it cancels it.
#[derive(Debug)]
pub struct WarmUp {
    progress: watch::Sender<Progress>,
    task: AbortHandle,
}

/// What is the same for every item of one warm-up.
struct Runner {
    cache: TieredCache,
    settings: WarmingSettings,
    retries: AtomicU64,
    progress: watch::Sender<Progress>,
}

impl WarmUp {
    /// Starts to bring the items of a plan, in their order. To be called within a Tokio runtime.
    pub fn start(cache: &TieredCache, plan: Plan, settings: &WarmingSettings) -> Self {
        let progress = Progress::of(plan.len());
        Self::spawn(cache, ready(Some(plan)), progress, settings)
    }

    /// As [`WarmUp::start`], with a plan that has to be made first. To be called within a Tokio runtime.
    pub fn planned<E: Error + Send + 'static>(
        cache: &TieredCache,
        plan: impl Future<Output = Result<Plan, E>> + Send + 'static,
        settings: &WarmingSettings,
    ) -> Self {
        let plan = async {
            let plan = plan.await.inspect_err(|error| {
                tracing::warn!(%error, "what to bring ahead of its use could not be found out");
            });
            plan.ok()
        };
        Self::spawn(cache, plan, Progress::planning(), settings)
    }

    fn spawn(
        cache: &TieredCache,
        plan: impl Future<Output = Option<Plan>> + Send + 'static,
        progress: Progress,
        settings: &WarmingSettings,
    ) -> Self {
        let progress = watch::Sender::new(progress);
        let runner = Runner {
            cache: cache.clone(),
            settings: settings.clone(),
            retries: AtomicU64::new(0),
            progress: progress.clone(),
        };
        let task = tokio::spawn(async move {
            match plan.await {
                Some(plan) => runner.run(plan).await,
                None => runner.tell(|progress| progress.end(State::Failed)),
            }
        });
        Self {
            progress,
            task: task.abort_handle(),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Tells of every step.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Waits for its end, and gives how far it came.
    pub async fn ended(mut progress: watch::Receiver<Progress>) -> Progress {
        // An error is that nobody will say more.
        let _ = progress
            .wait_for(|progress| !progress.state.is_under_way())
            .await;
        *progress.borrow()
    }

    /// Ends it: nothing more is asked for, and the loads under way, as many as there may be at once, come
    /// to their own ends. One that has ended stays as it is.
    pub fn cancel(&self) {
        self.task.abort();
        tell(&self.progress, |progress| progress.end(State::Cancelled));
    }
}

impl Drop for WarmUp {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Changes what is told of a warm-up that is under way; a step may come when it was cancelled already.
fn tell(progress: &watch::Sender<Progress>, step: impl FnOnce(&mut Progress)) {
    progress.send_if_modified(|progress| {
        let goes_on = progress.state.is_under_way();
        if goes_on {
            step(progress);
        }
        goes_on
    });
}

impl Runner {
    fn tell(&self, step: impl FnOnce(&mut Progress)) {
        tell(&self.progress, step);
    }

    async fn run(&self, plan: Plan) {
        let items = plan.into_items();
        self.tell(|progress| *progress = Progress::of(items.len()));
        let began = Instant::now();
        let brought = stream::iter(items).map(|item| self.bring(item));
        let mut brought = brought.buffer_unordered(self.settings.concurrency.max(1));
        let mut failed_in_a_row = 0;
        while let Some(outcome) = brought.next().await {
            failed_in_a_row = match outcome {
                Ok(()) => 0,
                Err(_) => failed_in_a_row + 1,
            };
            let gives_up = failed_in_a_row >= self.settings.failures_max;
            self.tell(|progress| {
                match outcome {
                    Ok(()) => progress.done += 1,
                    Err(_) => progress.failed += 1,
                }
                progress.retries = self.retries.load(Ordering::Relaxed);
                progress.measure(began.elapsed());
                if gives_up {
                    progress.end(State::Failed);
                }
            });
            if gives_up {
                tracing::warn!(
                    failed_in_a_row,
                    "nothing more is brought ahead of its use, since so many keys failed"
                );
                return;
            }
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
            Err(CacheError::Load { source, .. }) if (item.is_gone)(&*source) => Ok(()),
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
