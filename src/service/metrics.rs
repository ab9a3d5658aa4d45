//! `/metrics`: the figures of requests, cache and pool as OpenMetrics text, which Prometheus reads.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::app::App;
use super::error::ApiError;
use crate::datalayer::cache::CacheStats;
use crate::datalayer::pool::PoolStats;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the service counts itself.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    http_requests: Family<RequestLabels, Counter>,
}

/// Only names that the service knows: a label made of what a client sends would be a series a
/// client could make.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

/// The figures of one scrape.
#[derive(Debug)]
struct Snapshot {
    cache: CacheStats,
    pool: PoolStats,
}

/// Counts a request by route and status.
pub(super) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    };
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let labels = RequestLabels {
        method,
        route,
        status: response.status().as_u16(),
    };
    app.metrics.http_requests.get_or_create(&labels).inc();
    response
}

/// `GET /metrics`.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let snapshot = Snapshot {
        cache: app.cache.stats().await,
        pool: app.pool.stats(),
    };
    let mut registry = Registry::default();
    let requests = app.metrics.http_requests.clone();
    registry.register(
        "http_requests",
        "Requests by method, route and status",
        requests,
    );
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    encode_registry(&mut text, &registry)
        .and_then(|()| encode_eof(&mut text))
        .map_err(|_| ApiError::internal("the metrics could not be written"))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self { cache, pool } = self;
        // The encoder appends "_total" to counters.
        let counters = [
            ("cache_requests", "Cached reads", cache.requests()),
            (
                "cache_hits",
                "Cached reads that a tier answered",
                cache.hits(),
            ),
            (
                "cache_l1_hits",
                "Reads that the first tier answered",
                cache.l1.hits,
            ),
            (
                "cache_l1_misses",
                "Reads that the first tier did not answer",
                cache.l1.misses,
            ),
            (
                "cache_l2_hits",
                "Reads that the second tier answered",
                cache.l2.hits,
            ),
            (
                "cache_l2_misses",
                "Reads that the second tier did not answer",
                cache.l2.misses,
            ),
            ("cache_loads", "Loads that gave a value", cache.loads),
            (
                "cache_load_failures",
                "Loads that failed",
                cache.load_failures,
            ),
            (
                "cache_coalesced",
                "Reads that waited for the load of another",
                cache.coalesced,
            ),
            (
                "cache_evictions",
                "Entries that left the full first tier",
                cache.evictions,
            ),
            (
                "cache_l2_outages",
                "Times that the second tier went away",
                cache.l2_outages,
            ),
            ("pool_checkouts", "Connections handed out", pool.checkouts),
            (
                "pool_timeouts",
                "Callers that got no connection in time",
                pool.timeouts,
            ),
            (
                "pool_lost_peers",
                "Connections whose peer did not answer",
                pool.lost_peers,
            ),
        ];
        for (name, help, value) in counters {
            metric(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        let gauges = [
            (
                "cache_entries",
                "Entries in the first tier",
                cache.entries as f64,
            ),
            (
                "cache_l2_available",
                "Whether the second tier answers",
                cache.l2_available.into(),
            ),
            ("pool_max", "Most connections at once", pool.max.into()),
            ("pool_open", "Connections open", pool.open.into()),
            ("pool_active", "Connections in use", pool.active.into()),
            ("pool_idle", "Connections open and free", pool.idle.into()),
            (
                "pool_waiting",
                "Callers that wait for a connection",
                pool.waiting.into(),
            ),
            (
                "pool_utilisation",
                "Share of connections in use, from 0 to 1",
                pool.utilisation,
            ),
        ];
        for (name, help, value) in gauges {
            metric(&mut encoder, name, help, &ConstGauge::new(value))?;
        }
        Ok(())
    }
}

fn metric(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: &impl EncodeMetric,
) -> std::fmt::Result {
    value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)
}
