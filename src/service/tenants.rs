//! `/api/v1/tenants`: the tenants, which are reference data; cached as such.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::app::App;
use super::error::{ApiError, LoadError};
use super::params::Params;
use crate::datalayer::batch::{Value, fetch_rows};
use crate::datalayer::cache::Kind;
use crate::datalayer::dataset::TENANTS;

/// The key of their list; `all:` as those of [`Owner::All`](crate::datalayer::cache::Owner) have it.
pub(super) const KEY: &str = "all:tenants";

/// `GET /tenants`: all of them, in the order of their ids. There are few, and the API makes none.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    params: Params,
) -> Result<Response, ApiError> {
    params.only([])?;
    let load = async move |app: Arc<App>| load(&app).await;
    app.cached(Kind::Reference, KEY, load).await
}

pub(super) async fn load(app: &App) -> Result<Bytes, LoadError> {
    let sql = "SELECT id, name FROM tenants ORDER BY id";
    let rows = fetch_rows(&app.pool, ("read", "tenants"), sql, &[], TENANTS.columns);
    let rows = rows.await?;
    let items: Vec<_> = rows
        .iter()
        .filter_map(|row| match &row[..] {
            [Value::Integer(id), Value::Text(name)] => Some(json!({ "id": id, "name": name })),
            _ => None,
        })
        .collect();
    Ok(serde_json::to_vec(&json!({ "items": items }))?.into())
}
