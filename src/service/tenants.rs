//! `/api/v1/tenants`: the tenants, which are reference data; cached as such.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::app::App;
use super::caller::Scope;
use super::error::{ApiError, LoadError};
use super::params::Params;
use crate::datalayer::batch::{BatchError, Column, Row, Value, fetch_rows};
use crate::datalayer::cache::{Kind, Owner};
use crate::datalayer::dataset::TENANTS;

/// What the keys of lists end with.
const NAME: &str = "tenants";
/// The key of the list of all; `all:` as those of [`Owner::All`] have it.
pub(super) const KEY: &str = "all:tenants";

/// `GET /tenants`: all of them, in the order of their ids; for a tenant itself alone. There are few, and
/// the API makes none.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Scope(tenant): Scope,
    params: Params,
) -> Result<Response, ApiError> {
    params.only([])?;
    let owner = tenant.map_or(Owner::All, Owner::Tenant);
    let load = async move |app: Arc<App>| load_of(&app, owner).await;
    app.cached(Kind::Reference, &owner.key(NAME), load).await
}

pub(super) async fn load(app: &App) -> Result<Bytes, LoadError> {
    load_of(app, Owner::All).await
}

async fn load_of(app: &App, owner: Owner) -> Result<Bytes, LoadError> {
    let (sql, values): (_, Row) = match owner {
        Owner::All => ("SELECT id, name FROM tenants ORDER BY id", Vec::new()),
        Owner::Tenant(id) => (
            "SELECT id, name FROM tenants WHERE id = $1",
            vec![id.into()],
        ),
    };
    let statement = ("read", "tenants");
    let rows = fetch_rows(&app.pool, statement, sql, &values, TENANTS.columns).await?;
    let items: Vec<_> = rows
        .iter()
        .filter_map(|row| match &row[..] {
            [Value::Integer(id), Value::Text(name)] => Some(json!({ "id": id, "name": name })),
            _ => None,
        })
        .collect();
    Ok(serde_json::to_vec(&json!({ "items": items }))?.into())
}

/// The tenant of a client, of the dataset or not.
pub(super) async fn tenant_of(app: &App, client: i64) -> Result<Option<i64>, BatchError> {
    if let Some(tenant) = app.generator.tenant_of(client) {
        return Ok(Some(tenant));
    }
    let columns = [Column::integer("tenant_id")];
    let sql = "SELECT tenant_id FROM clients WHERE id = $1";
    let statement = ("read", "clients");
    let rows = fetch_rows(&app.pool, statement, sql, &[client.into()], &columns).await?;
    Ok(match rows.first().and_then(|row| row.first()) {
        Some(Value::Integer(tenant)) => Some(*tenant),
        _ => None,
    })
}
