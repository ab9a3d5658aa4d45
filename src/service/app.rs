//! What the handlers share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

use super::admin::AdminToken;
use super::error::{ApiError, LoadError};
use super::limits::policy;
use super::metrics::Metrics;
use super::settings::Settings;
use super::webhook::Webhook;
use crate::datalayer::batch::{BatchError, MemorySource, ProcessMemory};
use crate::datalayer::cache::{Kind, Tier, TieredCache};
use crate::datalayer::dataset::{DatasetError, DatasetId, Generator, claim_records, ensure};
use crate::datalayer::jobs::Jobs;
use crate::datalayer::limit::Limits;
use crate::datalayer::lock::Locks;
use crate::datalayer::pool::Pool;

/// Exports may hold one connection in so many of the pool, and one at least: a client that reads
/// slowly keeps its connection for as long as it likes.
const EXPORT_SHARE: u32 = 4;

/// The state of one service.
pub(super) struct App {
    pub(super) pool: Pool,
    pub(super) cache: TieredCache,
    pub(super) locks: Locks,
    pub(super) jobs: Jobs,
    pub(super) settings: Settings,
    pub(super) memory: Arc<dyn MemorySource>,
    pub(super) generator: Generator,
    pub(super) metrics: Metrics,
    pub(super) limits: Limits,
    /// What answers say of all limits.
    pub(super) limit_policy: Option<HeaderValue>,
    /// Whom no limit holds; nobody without one.
    pub(super) admin: Option<AdminToken>,
    /// Where notifications go; nowhere without one.
    pub(super) webhook: Option<Webhook>,
    /// Added to every request under `/api`, so that tests can plant a regression.
    pub(super) inject_delay: Duration,
    exports: Arc<Semaphore>,
    bulk_loads: Arc<Semaphore>,
    dataset: DatasetId,
    /// The id of the store; there once the data are.
    store: OnceLock<Uuid>,
}

impl App {
    pub(super) fn new(
        pool: Pool,
        cache: TieredCache,
        locks: Locks,
        settings: Settings,
        dataset: DatasetId,
        inject_delay: Duration,
    ) -> Self {
        let limits = Limits::new(&settings.limit);
        let exports = (settings.pool.max_connections / EXPORT_SHARE).max(1);
        Self {
            exports: Arc::new(Semaphore::new(exports as usize)),
            bulk_loads: Arc::new(Semaphore::new(settings.service.bulk_loads_max as usize)),
            limit_policy: policy(&limits),
            limits,
            admin: None,
            webhook: None,
            jobs: Jobs::new(pool.clone(), settings.jobs.clone()),
            pool,
            cache,
            locks,
            settings,
            memory: Arc::new(ProcessMemory),
            generator: Generator::new(dataset.seed, dataset.records),
            metrics: Metrics::default(),
            inject_delay,
            dataset,
            store: OnceLock::new(),
        }
    }

    /// Brings the store to hold the dataset; until then nothing is served.
    pub(super) async fn prepare(&self) -> Result<(), DatasetError> {
        let memory = Arc::clone(&self.memory);
        let ensured = ensure(&self.pool, self.dataset, &self.settings.batch, memory).await?;
        if let Some(generated) = ensured.generated {
            let (rows, elapsed_ms) = (generated.rows, generated.elapsed_ns / 1_000_000);
            tracing::info!(rows, elapsed_ms, "the dataset was generated");
        }
        self.store.get_or_init(|| ensured.store);
        Ok(())
    }

    pub(super) fn has_data(&self) -> bool {
        self.store.get().is_some()
    }

    /// Whether a tenant of this number exists; the API makes none.
    pub(super) fn has_tenant(&self, id: i64) -> bool {
        (1..=self.tenants()).contains(&id)
    }

    pub(super) fn tenants(&self) -> i64 {
        self.generator.shape().tenants as i64
    }

    /// The index of the first of `rows` further records, which nobody else gets.
    pub(super) async fn claim_records(&self, rows: u64) -> Result<u64, BatchError> {
        claim_records(&self.pool, self.store(), rows).await
    }

    /// The right to one more bulk load, which goes with its end. Waits for one, for a limited time.
    pub(super) async fn claim_bulk_load(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let claim = Arc::clone(&self.bulk_loads).acquire_owned();
        match timeout(self.settings.service.bulk_wait(), claim).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(ApiError::unavailable(
                "busy",
                "as many bulk loads as may be are under way already",
            )),
        }
    }

    /// How many bulk loads are under way.
    pub(super) fn bulk_loads(&self) -> usize {
        self.settings.service.bulk_loads_max as usize - self.bulk_loads.available_permits()
    }

    /// The right to one more export, which goes with its end.
    pub(super) fn claim_export(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let claimed = Arc::clone(&self.exports).try_acquire_owned();
        claimed.map_err(|_| {
            ApiError::unavailable("busy", "as many exports as may be are under way already")
        })
    }

    /// Forgets what is cached under a key.
    pub(super) async fn forget(&self, key: &str) {
        self.cache.invalidate(&self.cache_key(key)).await;
    }

    /// The name of a lock of this store.
    pub(super) fn lock_name(&self, name: &str) -> String {
        self.cache_key(name)
    }

    /// A key of this store: services over other stores may share the second tier.
    fn cache_key(&self, key: &str) -> String {
        format!("{}:{key}", self.store().simple())
    }

    fn store(&self) -> Uuid {
        let store = self.store.get();
        *store.expect("BUG: the router lets nobody in before the data are there")
    }

    /// A JSON answer from the cache, with `X-Cache` to say from where.
    pub(super) async fn cached<F, L>(
        self: &Arc<Self>,
        kind: Kind,
        key: &str,
        load: F,
    ) -> Result<Response, ApiError>
    where
        F: FnOnce(Arc<Self>) -> L + Send + 'static,
        L: Future<Output = Result<Bytes, LoadError>> + Send + 'static,
    {
        let key = self.cache_key(key);
        let app = Arc::clone(self);
        let (body, tier) = self.cache.get_or_load(kind, &key, || load(app)).await?;
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
