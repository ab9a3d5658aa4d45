//! `/metrics`: the figures of requests, cache, pool, locks and jobs as OpenMetrics text, which Prometheus reads;
//! `/internal/cache` and `/internal/pool`: those of the cache and of the pool as JSON, with the keys and the
//! places that no series could name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hdrhistogram::Histogram;
use procfs::process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::timeout;

use super::app::App;
use super::error::ApiError;
use super::webhook::Webhook;
use crate::datalayer::breaker::{BreakerState, BreakerStats};
use crate::datalayer::cache::CacheStats;
use crate::datalayer::jobs::{JobState, Queue};
use crate::datalayer::latency::LatencySummary;
use crate::datalayer::limit::LimitStats;
use crate::datalayer::live::LiveStats;
use crate::datalayer::lock::LockStats;
use crate::datalayer::pool::PoolStats;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of waits for a connection and of the times that locks are held, in
/// nanoseconds: from a free connection to the acquire timeout.
const BOUNDS_NS: [u64; 10] = [
    10_000,
    100_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
];

/// Those that a scrape counts.
const JOB_STATES: [JobState; 3] = [JobState::Waiting, JobState::Running, JobState::Failed];

/// What the service counts itself.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    http_requests: Family<RequestLabels, Counter>,
    /// The largest high-water mark that the system ever told.
    peak_resident_bytes: AtomicU64,
}

impl Metrics {
    /// The most memory that the process ever had, where the system tells (proc_pid_status(5), `VmHWM`). The
    /// system's own mark falls by some pages now and then, because each thread counts its pages apart; that
    /// would be no mark.
    fn peak_resident_bytes(&self) -> Option<u64> {
        let status = Process::myself().and_then(|process| process.status());
        let told = status.ok()?.vmhwm?;
        Some(self.highest(told * 1024))
    }

    fn highest(&self, told_bytes: u64) -> u64 {
        let before = self
            .peak_resident_bytes
            .fetch_max(told_bytes, Ordering::Relaxed);
        before.max(told_bytes)
    }
}

/// Only names that the service knows: a label made of what a client sends would be a series a
/// client could make.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

/// How many jobs of each queue are in which state.
type JobCounts = Vec<(Queue, JobState, i64)>;

/// The figures of one scrape.
#[derive(Debug)]
struct Snapshot {
    cache: CacheStats,
    pool: PoolStats,
    locks: LockStats,
    live: LiveStats,
    bulk_loads: usize,
    jobs: Option<JobCounts>,
    limits: Vec<LimitStats>,
    /// Of the webhook's breaker, where there is a webhook.
    webhook: Option<BreakerStats>,
    /// The most memory that the process ever had, where the system tells.
    peak_resident_bytes: Option<u64>,
    /// In nanoseconds.
    pool_wait: Histogram<u64>,
    pool_statement: Histogram<u64>,
    /// In nanoseconds.
    lock_hold: Histogram<u64>,
}

/// Counts a request by route and status.
pub(super) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let method = method_name(request.method());
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

/// The name of a method that the service knows; a client can make up others.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let mut snapshot = Snapshot {
        cache: app.cache.stats().await,
        pool: app.pool.stats(),
        locks: app.locks.stats(),
        live: app.live.hub.stats(),
        bulk_loads: app.bulk_loads(),
        jobs: None,
        limits: app.limits.stats(),
        webhook: app.webhook.as_ref().map(Webhook::stats),
        peak_resident_bytes: app.metrics.peak_resident_bytes(),
        pool_wait: app.pool.wait_histogram(),
        pool_statement: app.pool.statement_histogram(),
        lock_hold: app.locks.hold_histogram(),
    };
    // Last: what this takes of the pool is not what the scrape is about.
    snapshot.jobs = job_counts(&app).await;
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

/// `GET /internal/cache`: for whoever runs the service, to see what is cached.
pub(super) async fn cache(State(app): State<Arc<App>>) -> Json<CacheStats> {
    Json(app.cache.stats().await)
}

/// `GET /internal/pool`: the same of the pool; to who shows the admin's token also what the database says
/// and who holds a connection for too long, which tell of the inside.
pub(super) async fn pool(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<PoolStats> {
    let mut stats = app.pool.stats();
    let admin = app.admin.as_ref();
    if !admin.is_some_and(|token| token.is_shown(&headers)) {
        stats.health.error = None;
        stats.suspects.clear();
    }
    Json(stats)
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self {
            cache,
            pool,
            locks,
            live,
            bulk_loads,
            jobs,
            limits,
            webhook,
            peak_resident_bytes,
            pool_wait,
            pool_statement,
            lock_hold,
        } = self;
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
                "cache_l2_requests",
                "Reads that the second tier was to answer",
                cache.l2.hits + cache.l2.misses,
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
                "cache_expirations",
                "Entries that left the first tier because their time was over",
                cache.expirations,
            ),
            (
                "cache_l2_errors",
                "Calls that the second tier failed or refused",
                cache.l2_errors,
            ),
            (
                "cache_l2_skipped",
                "Calls that were spared while the second tier was away",
                cache.l2_skipped,
            ),
            (
                "cache_l2_outages",
                "Times that the second tier went away",
                cache.l2_outages,
            ),
            (
                "cache_changes_heard",
                "Changes by other processes that the first tier heard of",
                cache.heard,
            ),
            (
                "cache_gaps",
                "Times that the first tier was emptied since it may have missed changes",
                cache.gaps,
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
            (
                "pool_failed_checks",
                "Times that a health check found no database",
                pool.health.failures,
            ),
            (
                "pool_slow_statements",
                "Statements that took longer than pool.slow_statement_ms",
                pool.slow_statements,
            ),
            ("locks_acquired", "Locks that were given", locks.acquired),
            ("locks_failed", "Callers that got no lock", locks.failed),
            (
                "locks_contention",
                "Attempts that found a lock taken",
                locks.contention,
            ),
            ("locks_extended", "Extensions of locks", locks.extended),
            (
                "locks_lost",
                "Locks that were lost while they were held",
                locks.lost,
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
                "cache_estimated_bytes",
                "What the first tier takes in memory, as an estimate",
                cache.estimated_bytes as f64,
            ),
            (
                "cache_l2_available",
                "Whether the second tier answers",
                cache.l2_available.into(),
            ),
            ("pool_min", "Connections kept open", pool.min.into()),
            ("pool_max", "Most connections at once", pool.max.into()),
            (
                "pool_size",
                "Most connections at present, as waiting makes it",
                pool.size.into(),
            ),
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
            ("locks_active", "Locks held", locks.active as f64),
            (
                "pool_healthy",
                "Whether the database answered the last health check",
                u8::from(pool.health.healthy).into(),
            ),
            (
                "pool_suspects",
                "Connections held and not used, or with a statement that takes long",
                pool.suspects.len() as f64,
            ),
            (
                "bulk_loads_active",
                "Bulk loads under way",
                *bulk_loads as f64,
            ),
        ];
        for (name, help, value) in gauges {
            metric(&mut encoder, name, help, &ConstGauge::new(value))?;
        }
        if let Some(usage) = &cache.l2_usage {
            let help = "Values in the second tier; of a Redis all keys of its database";
            let entries = ConstGauge::new(usage.entries as f64);
            metric(&mut encoder, "cache_l2_entries", help, &entries)?;
            let help = "What the second tier takes in memory; of a Redis the whole server";
            let bytes = ConstGauge::new(usage.bytes as f64);
            metric(&mut encoder, "cache_l2_bytes", help, &bytes)?;
            let help = "Values that left the second tier because it was full";
            let evictions = ConstCounter::new(usage.evictions);
            metric(&mut encoder, "cache_l2_evictions", help, &evictions)?;
        }
        if let Some(peak_bytes) = peak_resident_bytes {
            // It never falls, so that its increase is what a stretch of time added to it.
            let help = "The most memory that the process ever had resident";
            let peak = ConstGauge::new(*peak_bytes as f64);
            metric(&mut encoder, "process_peak_resident_bytes", help, &peak)?;
        }
        let tiers = [
            ("l1", cache.l1.latency),
            ("l2", cache.l2.latency),
            ("loader", cache.load_latency),
        ];
        latencies(&mut encoder, &tiers)?;
        if let Some(counts) = jobs {
            job_figures(&mut encoder, counts)?;
        }
        rate_limits(&mut encoder, limits)?;
        live_updates(&mut encoder, live)?;
        if let Some(webhook) = webhook {
            breaker(&mut encoder, "webhook", webhook)?;
        }
        let help = "How long successful callers waited for a connection";
        histogram(&mut encoder, "pool_wait", help, pool_wait)?;
        let help = "How long statements took, those that failed among them";
        histogram(&mut encoder, "pool_statement", help, pool_statement)?;
        let help = "How long locks were held";
        histogram(&mut encoder, "locks_hold", help, lock_hold)
    }
}

/// What the database says of jobs, if it has a connection to spare and says so in time: a scrape waits for
/// nobody.
async fn job_counts(app: &App) -> Option<JobCounts> {
    if !app.has_data() || !app.pool.has_room() {
        return None;
    }
    let limit = app.settings.service.ready_timeout();
    timeout(limit, app.jobs.counts(&JOB_STATES))
        .await
        .ok()?
        .ok()
}

/// Quantiles of each tier that has answered; one that has not has none.
fn latencies(
    encoder: &mut DescriptorEncoder<'_>,
    tiers: &[(&str, LatencySummary)],
) -> std::fmt::Result {
    let help = "How long a tier took, by quantile since the start";
    let kind = MetricType::Gauge;
    let mut family =
        encoder.encode_descriptor("cache_latency", help, Some(&Unit::Seconds), kind)?;
    for (tier, latency) in tiers.iter().filter(|(_, latency)| latency.count > 0) {
        for (quantile, value_ns) in quantiles(latency) {
            let labels = [("tier", *tier), ("quantile", quantile)];
            let value = ConstGauge::new(value_ns as f64 / 1e9);
            value.encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn live_updates(encoder: &mut DescriptorEncoder<'_>, live: &LiveStats) -> std::fmt::Result {
    let counters = [
        ("live_published", "Updates published here", live.published),
        (
            "live_delivered",
            "Updates handed to connections",
            live.delivered,
        ),
        (
            "live_dropped",
            "Updates that did not reach a connection",
            live.dropped,
        ),
        (
            "live_refused",
            "Connections refused because their tenant had as many as it may",
            live.refused,
        ),
        (
            "live_slow",
            "Connections closed because they read too slowly",
            live.slow,
        ),
        (
            "live_gaps",
            "Times that subscribers of a tenant were told of a gap",
            live.gaps,
        ),
        (
            "live_outages",
            "Times that Redis went away for live updates",
            live.outages,
        ),
    ];
    for (name, help, value) in counters {
        metric(encoder, name, help, &ConstCounter::new(value))?;
    }
    let gauges = [
        (
            "live_connections",
            "Connections for live updates",
            live.connections as f64,
        ),
        ("live_rooms", "Rooms that somebody is in", live.rooms as f64),
        (
            "live_available",
            "Whether other processes are told of updates",
            live.available.into(),
        ),
    ];
    for (name, help, value) in gauges {
        metric(encoder, name, help, &ConstGauge::new(value))?;
    }
    let help = "From publishing to handing over, by quantile since the start";
    let kind = MetricType::Gauge;
    let mut family = encoder.encode_descriptor("live_latency", help, Some(&Unit::Seconds), kind)?;
    if live.latency.count > 0 {
        for (quantile, value_ns) in quantiles(&live.latency) {
            let value = ConstGauge::new(value_ns as f64 / 1e9);
            value.encode(family.encode_family(&[("quantile", quantile)])?)?;
        }
    }
    Ok(())
}

fn quantiles(latency: &LatencySummary) -> [(&'static str, u64); 3] {
    [
        ("0.5", latency.p50_ns),
        ("0.95", latency.p95_ns),
        ("0.99", latency.p99_ns),
    ]
}

fn job_figures(encoder: &mut DescriptorEncoder<'_>, counts: &JobCounts) -> std::fmt::Result {
    let help = "Jobs by queue and state, of all processes on the database; the failed ones as long as the \
                history has them";
    let mut family = encoder.encode_descriptor("jobs", help, None, MetricType::Gauge)?;
    for queue in Queue::ALL {
        for state in JOB_STATES {
            let of = counts.iter().filter(|(q, s, _)| (*q, *s) == (queue, state));
            let number: i64 = of.map(|(.., number)| number).sum();
            let labels = [("queue", queue.name()), ("state", state.name())];
            ConstGauge::new(number).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn rate_limits(encoder: &mut DescriptorEncoder<'_>, limits: &[LimitStats]) -> std::fmt::Result {
    let help = "Requests that a rate limit refused";
    let mut refused =
        encoder.encode_descriptor("rate_limit_refused", help, None, MetricType::Counter)?;
    for limit in limits {
        let labels = [("limit", limit.dimension.name())];
        ConstCounter::new(limit.refused).encode(refused.encode_family(&labels)?)?;
    }
    let help = "Users, tenants and endpoints that a rate limit counts one by one";
    let mut keys = encoder.encode_descriptor("rate_limit_keys", help, None, MetricType::Gauge)?;
    for limit in limits {
        let labels = [("limit", limit.dimension.name())];
        ConstGauge::new(limit.keys as f64).encode(keys.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The breaker of the calls to one other service: of the three states, the one it is in is 1.
fn breaker(
    encoder: &mut DescriptorEncoder<'_>,
    to: &str,
    stats: &BreakerStats,
) -> std::fmt::Result {
    let help = "The state of a circuit breaker: 1 where it is in, else 0";
    let mut state = encoder.encode_descriptor("breaker_state", help, None, MetricType::Gauge)?;
    for (name, is) in [
        ("closed", BreakerState::Closed),
        ("half_open", BreakerState::HalfOpen),
        ("open", BreakerState::Open),
    ] {
        let labels = [("to", to), ("state", name)];
        let value = f64::from(stats.state == is);
        ConstGauge::new(value).encode(state.encode_family(&labels)?)?;
    }
    let help = "Calls through a circuit breaker, by how they ended";
    let mut calls = encoder.encode_descriptor("breaker_calls", help, None, MetricType::Counter)?;
    for (outcome, count) in [
        ("success", stats.successes),
        ("failure", stats.failures),
        ("rejected", stats.rejected),
    ] {
        let labels = [("to", to), ("outcome", outcome)];
        ConstCounter::new(count).encode(calls.encode_family(&labels)?)?;
    }
    let help = "How often a circuit breaker opened";
    let mut openings =
        encoder.encode_descriptor("breaker_openings", help, None, MetricType::Counter)?;
    let labels = [("to", to)];
    ConstCounter::new(stats.openings).encode(openings.encode_family(&labels)?)
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    durations: &Histogram<u64>,
) -> std::fmt::Result {
    let buckets = buckets(durations);
    let sum_s = durations.mean() * durations.len() as f64 / 1e9;
    let kind = MetricType::Histogram;
    encoder
        .encode_descriptor(name, help, Some(&Unit::Seconds), kind)?
        .encode_histogram::<NoLabelSet>(sum_s, durations.len(), &buckets, None)
}

/// Upper bounds in seconds, with how many durations fall below each and above the one before.
fn buckets(durations: &Histogram<u64>) -> Vec<(f64, u64)> {
    let bounds = BOUNDS_NS.iter().map(|bound_ns| *bound_ns as f64 / 1e9);
    let bounds = bounds.chain([f64::INFINITY]);
    let mut buckets: Vec<_> = bounds.map(|bound_s| (bound_s, 0)).collect();
    for step in durations.iter_recorded() {
        let index = BOUNDS_NS.partition_point(|bound_ns| *bound_ns < step.value_iterated_to());
        buckets[index].1 += step.count_at_value();
    }
    buckets
}

fn metric(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: &impl EncodeMetric,
) -> std::fmt::Result {
    value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_memory_never_falls() {
        let metrics = Metrics::default();
        // As Linux told it of one process within a few seconds.
        let told = [34_344, 34_204, 37_016].map(|kib| metrics.highest(kib * 1024) / 1024);
        assert_eq!(told, [34_344, 34_344, 37_016]);
    }

    #[test]
    fn waits_fall_into_their_buckets() {
        let mut waits = Histogram::new_with_bounds(1, 60_000_000_000, 2).unwrap();
        let wait_ns = [1, 9000, 90_000, 4_000_000, 20_000_000_000, 50_000_000_000];
        for wait_ns in wait_ns {
            waits.record(wait_ns).unwrap();
        }
        let buckets = buckets(&waits);
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 1, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((buckets[0].0, buckets[9].0), (0.00001, 30.0));
        assert_eq!(buckets[10].0, f64::INFINITY);
    }
}
