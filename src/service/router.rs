//! Which handler answers what, and what every request goes through.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::app::App;
use super::error::{ApiError, add_retry_after};
use super::{
    analytics, batches, clients, conditional, health, jobs, limits, live, metrics, notify,
    payments, records, security, tenants, warming,
};

/// A load that takes too long says itself how far it is; this much later it is not waited for any more.
const NET: Duration = Duration::from_secs(2);

/// The whole service.
pub(super) fn router(app: Arc<App>) -> Router {
    let settings = &app.settings.service;
    let ordinary = Router::new()
        .route("/clients", get(clients::list).post(clients::create))
        .route("/clients/search", get(clients::search))
        .route("/clients/{id}", get(clients::detail).put(clients::update))
        .route("/clients/{id}/notify", post(notify::notify))
        .route("/analytics/dashboard", get(analytics::dashboard))
        .route("/tenants", get(tenants::list))
        .route("/admin/cache/warm", post(warming::start))
        .route(
            "/admin/cache/warm/{id}",
            get(warming::progress).delete(warming::cancel),
        )
        .route("/records/batch", get(batches::list).post(batches::start))
        .route(
            "/records/batch/{id}",
            get(batches::progress).delete(batches::cancel),
        )
        .route("/records/batch/{id}/resume", post(batches::resume))
        .route(
            "/records/batch/{id}/dead-letters",
            get(batches::dead_letters),
        )
        .route("/live", get(live::connect))
        .route("/payments", post(payments::create))
        .route("/payments/{id}", get(payments::detail))
        .route("/payments/{id}/callback", post(payments::callback))
        .route("/payments/{id}/state", put(payments::change))
        .route("/jobs", get(jobs::list).post(jobs::create))
        .route("/jobs/statistics", get(jobs::statistics))
        .route("/jobs/{id}", get(jobs::detail).delete(jobs::cancel))
        .route("/jobs/{id}/file", get(jobs::file))
        .route("/exports", post(jobs::create_export))
        .route("/exports/{id}/file", get(jobs::file))
        .layer(DefaultBodyLimit::max(settings.body_max_bytes))
        .layer(from_fn_with_state(settings.request_timeout(), within));
    let bulk = Router::new()
        .route("/records/bulk", post(records::bulk))
        .route("/records/generate", post(records::generate))
        .route("/records/export", get(records::export))
        .layer(from_fn_with_state(settings.bulk_timeout() + NET, within));
    let api = ordinary
        .merge(bulk)
        .layer(from_fn_with_state(Arc::clone(&app), gate));
    Router::new()
        .nest("/api/v1", api)
        .route("/metrics", get(metrics::metrics))
        .route("/internal/cache", get(metrics::cache))
        .route("/internal/pool", get(metrics::pool))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .fallback(|| async { ApiError::not_found("path") })
        .method_not_allowed_fallback(|| async {
            let message = "the path does not know this method";
            ApiError::client(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                message,
            )
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .compress_when(SizeAbove::new(settings.compress_above_bytes)),
        )
        // Outside of the compression, which makes another representation of an answer.
        .layer(from_fn(conditional::conditional))
        .layer(from_fn_with_state(Arc::clone(&app), limits::limit))
        .layer(from_fn_with_state(Arc::clone(&app), retry_after))
        .layer(from_fn(security::harden))
        .layer(from_fn_with_state(Arc::clone(&app), metrics::count))
        .with_state(app)
}

/// Nothing under `/api` before the data are there; then the delay that a test asked for.
async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !app.has_data() {
        return health::not_ready().into_response();
    }
    if !app.inject_delay.is_zero() {
        tokio::time::sleep(app.inject_delay).await;
    }
    next.run(request).await
}

async fn within(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let may_be_sent_again = is_repeatable(&request);
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let error = match may_be_sent_again {
            true => ApiError::timed_out(),
            false => ApiError::timed_out_in_doubt(),
        };
        error.into_response()
    })
}

/// Whether a request does no more when it is sent twice: a write goes on when nobody waits for it any
/// more. A payment has its key, its version or the event of its provider.
fn is_repeatable(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    request.method().is_idempotent()
        || route.is_some_and(|route| route.as_str().starts_with("/api/v1/payments"))
}

async fn retry_after(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    add_retry_after(next.run(request).await, app.settings.service.retry_after_s)
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    ApiError::internal(format!("BUG: a handler panicked: {text}")).into_response()
}
