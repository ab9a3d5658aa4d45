//! What the handlers share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

use super::admin::AdminToken;
use super::batches::Batches;
use super::conditional::etag;
use super::doubt::Doubts;
use super::error::{ApiError, LoadError};
use super::limits::policy;
use super::live::Live;
use super::metrics::Metrics;
use super::payments::ProviderSecret;
use super::settings::Settings;
use super::warming::Warmings;
use super::webhook::Webhook;
use crate::datalayer::batch::{BatchError, MemorySource, ProcessMemory};
use crate::datalayer::cache::{Kind, Scope, Tag, Tier, TieredCache};
use crate::datalayer::dataset::{
    DatasetError, DatasetId, Generator, claim_records, drop_indexes, ensure,
};
use crate::datalayer::jobs::Jobs;
use crate::datalayer::limit::Limits;
use crate::datalayer::lock::Locks;
use crate::datalayer::pool::Pool;

/// Exports may hold one connection in so many of the pool, and one at least: a client that reads
/// slowly keeps its connection for as long as it likes.
const EXPORT_SHARE: u32 = 4;

/// Where an answer came from.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// What took how long (<https://www.w3.org/TR/server-timing/>).
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The state of one service.
pub(super) struct App {
    pub(super) pool: Pool,
    /// The same, with the shorter wait that a payment has time for.
    pub(super) payment_pool: Pool,
    pub(super) cache: TieredCache,
    pub(super) doubts: Doubts,
    pub(super) locks: Locks,
    pub(super) jobs: Jobs,
    pub(super) settings: Settings,
    pub(super) memory: Arc<dyn MemorySource>,
    pub(super) generator: Arc<Generator>,
    pub(super) batches: Batches,
    pub(super) warmings: Warmings,
    pub(super) metrics: Metrics,
    pub(super) live: Live,
    pub(super) limits: Limits,
    /// What answers say of all limits.
    pub(super) limit_policy: Option<HeaderValue>,
    /// Whom no limit holds; nobody without one.
    pub(super) admin: Option<AdminToken>,
    /// What callbacks of payments are signed with; none is taken without one.
    pub(super) provider: Option<ProviderSecret>,
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
        live: Live,
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
            provider: None,
            webhook: None,
            jobs: Jobs::new(pool.clone(), settings.jobs.clone()),
            payment_pool: pool.with_acquire_timeout(settings.payments.acquire_timeout()),
            doubts: Doubts::new(&settings.pool),
            pool,
            cache,
            locks,
            live,
            settings,
            memory: Arc::new(ProcessMemory),
            generator: Arc::new(Generator::new(dataset.seed, dataset.records)),
            batches: Batches::default(),
            warmings: Warmings::default(),
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
        if !self.settings.service.indexes {
            drop_indexes(&self.pool).await?;
        }
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

    /// Forgets what a write has changed; where the write is in doubt, also what it may change later.
    pub(super) async fn forget(&self, scopes: &[Scope], in_doubt: bool) {
        if in_doubt {
            self.doubts.forget(scopes);
        }
        self.cache.invalidate_scopes(scopes).await;
    }

    /// Tells everybody in a room of a tenant what has changed, once it has.
    pub(super) fn tell(&self, tenant: i64, room: &str, change: &serde_json::Value) {
        self.live
            .hub
            .publish(&self.tenant_name(tenant), room, change);
    }

    /// Tells of what has changed perhaps, and again once it has if it ever does.
    pub(super) fn tell_in_doubt(&self, tenant: i64, room: &'static str, change: serde_json::Value) {
        self.tell(tenant, room, &change);
        self.doubts.tell(tenant, room, change);
    }

    /// The name of a tenant of this store.
    pub(super) fn tenant_name(&self, tenant: i64) -> String {
        self.cache_key(&tenant.to_string())
    }

    /// The name of a lock of this store.
    pub(super) fn lock_name(&self, name: &str) -> String {
        self.cache_key(name)
    }

    /// A key or a tag of this store: services over other stores may share the second tier.
    pub(super) fn cache_key(&self, key: &str) -> String {
        format!("{}:{key}", self.store().simple())
    }

    fn store(&self) -> Uuid {
        let store = self.store.get();
        *store.expect("BUG: the router lets nobody in before the data are there")
    }

    /// A JSON answer from the cache, with headers that say from where, how long that took, and how
    /// long it may be used again.
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
        self.cached_tagged(kind, key, &[], load).await
    }

    /// As [`App::cached`], for an answer that belongs to tags, of this store like its key.
    pub(super) async fn cached_tagged<F, L>(
        self: &Arc<Self>,
        kind: Kind,
        key: &str,
        tags: &[Tag<'_>],
        load: F,
    ) -> Result<Response, ApiError>
    where
        F: FnOnce(Arc<Self>) -> L + Send + 'static,
        L: Future<Output = Result<Bytes, LoadError>> + Send + 'static,
    {
        let key = self.cache_key(key);
        let app = Arc::clone(self);
        let asked_at = Instant::now();
        // Stays 0 where another one's load, or none, brings the answer.
        let load_ns = Arc::new(AtomicU64::new(0));
        let loaded_ns = Arc::clone(&load_ns);
        let load = || async move {
            let began = Instant::now();
            let loaded = load(app).await;
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            loaded_ns.store(took.max(1), Ordering::Relaxed);
            loaded
        };
        let got = self.cache.get_or_load_tagged(kind, &key, tags, load).await;
        let (body, tier) = got?;
        let from = match tier {
            Tier::L1 => "hit-l1",
            Tier::L2 => "hit-l2",
            Tier::Loader => "miss",
        };
        let load = Duration::from_nanos(load_ns.load(Ordering::Relaxed));
        let headers = [
            (CONTENT_TYPE, "application/json".to_owned()),
            (X_CACHE, from.to_owned()),
            (SERVER_TIMING, timing(from, asked_at.elapsed(), load)),
            (CACHE_CONTROL, self.cache_control(kind)),
            (ETAG, etag(&body)),
        ];
        Ok((headers, body).into_response())
    }

    /// Never in a cache that others share: there is no saying who may see it.
    fn cache_control(&self, kind: Kind) -> String {
        match self.settings.service.max_age.of(kind).as_secs() {
            0 => "private, no-cache".to_owned(),
            seconds => format!("private, max-age={seconds}"),
        }
    }
}

/// The time in the cache and, where there was a load, the time that it took, in milliseconds.
fn timing(from: &str, total: Duration, load: Duration) -> String {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let cache = format!(
        "cache;desc={from};dur={:.3}",
        ms(total.saturating_sub(load))
    );
    match load.is_zero() {
        true => cache,
        false => format!("{cache}, load;dur={:.3}", ms(load)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timing_is_in_milliseconds_and_names_a_load_where_there_was_one() {
        let us = Duration::from_micros;
        assert_eq!(
            timing("hit-l1", us(12), us(0)),
            "cache;desc=hit-l1;dur=0.012"
        );
        assert_eq!(
            timing("miss", us(2500), us(2000)),
            "cache;desc=miss;dur=0.500, load;dur=2.000"
        );
    }
}
