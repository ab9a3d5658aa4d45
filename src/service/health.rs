//! `/live` and `/ready`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::app::App;
use super::error::ApiError;
use crate::datalayer::batch::fetch_rows;

/// `GET /live`: the process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// `GET /ready`: the data are there, the cache is filled as far as that is waited for, and the database
/// answers.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    if !app.has_data() {
        return Err(not_ready());
    }
    if !app.warmings.are_settled() {
        return Err(ApiError::unavailable(
            "not_ready",
            "the cache is being filled",
        ));
    }
    let probe = fetch_rows(&app.pool, ("probe", "database"), "SELECT 1", &[], &[]);
    timeout(app.settings.service.ready_timeout(), probe)
        .await
        .map_err(|_| {
            let pool = app.pool.stats();
            if pool.waiting > 0 && pool.active == pool.max {
                ApiError::unavailable("pool_exhausted", "all database connections are in use")
            } else {
                ApiError::unavailable(
                    "database_unavailable",
                    "the database does not answer within service.ready_timeout_ms",
                )
            }
        })??;
    Ok(Json(json!({ "status": "ready" })))
}

pub(super) fn not_ready() -> ApiError {
    ApiError::unavailable("not_ready", "the data are not there yet")
}
