//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::error::{ApiError, LoadError};
use super::metrics::Metrics;
use super::settings::Settings;
use crate::datalayer::batch::{MemorySource, ProcessMemory};
use crate::datalayer::cache::{Kind, Tier, TieredCache};
use crate::datalayer::dataset::{DatasetError, DatasetId, Ensured, Generator, ensure};
use crate::datalayer::pool::Pool;

/// The state of one service.
pub(super) struct App {
    pub(super) pool: Pool,
    pub(super) cache: TieredCache,
    pub(super) settings: Settings,
    pub(super) memory: Arc<dyn MemorySource>,
    pub(super) generator: Generator,
    pub(super) metrics: Metrics,
    /// Added to every request under `/api`, so that tests can plant a regression.
    pub(super) inject_delay: Duration,
    dataset: DatasetId,
    has_data: AtomicBool,
    generated: AtomicU64,
}

impl App {
    pub(super) fn new(
        pool: Pool,
        cache: TieredCache,
        settings: Settings,
        dataset: DatasetId,
        inject_delay: Duration,
    ) -> Self {
        Self {
            pool,
            cache,
            settings,
            memory: Arc::new(ProcessMemory),
            generator: Generator::new(dataset.seed, dataset.records),
            metrics: Metrics::default(),
            inject_delay,
            dataset,
            has_data: AtomicBool::new(false),
            generated: AtomicU64::new(0),
        }
    }

    /// Brings the store to hold the dataset; until then nothing is served.
    pub(super) async fn prepare(&self) -> Result<(), DatasetError> {
        let memory = Arc::clone(&self.memory);
        let ensured = ensure(&self.pool, self.dataset, &self.settings.batch, memory).await?;
        if let Ensured::Generated { rows, elapsed_ns } = ensured {
            // A second tier that outlived the data it was filled from would serve another dataset.
            self.cache.clear().await;
            let elapsed_ms = elapsed_ns / 1_000_000;
            tracing::info!(rows, elapsed_ms, "the dataset was generated");
        }
        self.has_data.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn has_data(&self) -> bool {
        self.has_data.load(Ordering::Acquire)
    }

    /// Whether a tenant of this number exists; the API makes none.
    pub(super) fn has_tenant(&self, id: i64) -> bool {
        (1..=self.tenants()).contains(&id)
    }

    pub(super) fn tenants(&self) -> i64 {
        self.generator.shape().tenants as i64
    }

    /// The index of the first of `rows` further records, which nobody else gets.
    pub(super) fn claim_records(&self, rows: u64) -> u64 {
        self.generator.shape().records + self.generated.fetch_add(rows, Ordering::Relaxed)
    }

    /// A JSON answer from the cache, with `X-Cache` to say from where.
    pub(super) async fn cached<F, L>(
        &self,
        kind: Kind,
        key: &str,
        load: F,
    ) -> Result<Response, ApiError>
    where
        F: FnOnce() -> L + Send,
        L: Future<Output = Result<Bytes, LoadError>> + Send,
    {
        let (body, tier) = self.cache.get_or_load(kind, key, load).await?;
        let from = match tier {
            Tier::L1 => "hit-l1",
            Tier::L2 => "hit-l2",
            Tier::Loader => "miss",
        };
        Ok((
            [
                (CONTENT_TYPE.as_str(), "application/json"),
                ("x-cache", from),
            ],
            body,
        )
            .into_response())
    }
}
