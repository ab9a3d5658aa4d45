//! `/api/v1/analytics/dashboard`: aggregates over the records; cached.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::app::App;
use super::caller::Scope;
use super::error::{ApiError, LoadError};
use super::params::{Params, whole_number};
use crate::datalayer::batch::{BatchError, Column, Value, fetch_rows};
use crate::datalayer::cache::{self, Kind, Owner};

/// How many diagnosis codes are listed, most frequent first.
const TOP_CODES: usize = 10;
/// What its keys end with.
const NAME: &str = "dashboard";

#[derive(Debug, Default, Serialize)]
struct Dashboard {
    /// `null` for all tenants together.
    tenant: Option<i64>,
    records: i64,
    cost_cents: i64,
    mean_cost_cents: i64,
    top_codes: Vec<Group>,
    by_stage: Vec<Group>,
    by_year: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Group {
    key: String,
    records: i64,
    cost_cents: i64,
}

/// `GET /analytics/dashboard?tenant=`: of one tenant, or of all.
pub(super) async fn dashboard(
    State(app): State<Arc<App>>,
    scope: Scope,
    params: Params,
) -> Result<Response, ApiError> {
    let [tenant] = params.only(["tenant"])?;
    let tenant = asked_for(&app, scope, tenant)?;
    let owner = tenant.map_or(Owner::All, Owner::Tenant);
    let load = async move |app: Arc<App>| load(&app, owner).await;
    app.cached(Kind::Dashboard, &key(owner), load).await
}

/// The tenant that a parameter names, or the caller's own; none where all are asked for.
pub(super) fn asked_for(
    app: &App,
    scope: Scope,
    tenant: Option<&str>,
) -> Result<Option<i64>, ApiError> {
    let given = match tenant {
        Some(text) => Some(whole_number("tenant", text, 1..=app.tenants() as u64)? as i64),
        None => None,
    };
    scope.read(given)
}

/// Forgets the dashboards of some tenants, and the one of all, as [`App::forget`] does.
pub(super) async fn forget(app: &App, tenants: impl IntoIterator<Item = i64>, in_doubt: bool) {
    let owners = tenants.into_iter().map(Owner::Tenant).chain([Owner::All]);
    let scopes: Vec<_> = owners
        .map(|owner| cache::Scope::Key(app.cache_key(&key(owner))))
        .collect();
    app.forget(&scopes, in_doubt).await;
}

pub(super) fn key(owner: Owner) -> String {
    owner.key(NAME)
}

/// Whose dashboard has this key, if one has.
pub(super) fn owner_of_key(key: &str) -> Option<Owner> {
    let (owner, name) = Owner::of_key(key)?;
    (name == NAME).then_some(owner)
}

/// One pass over the records groups by all three keys at once; the few thousand groups are then
/// summed up here.
pub(super) async fn load(app: &App, owner: Owner) -> Result<Bytes, LoadError> {
    let tenant = match owner {
        Owner::Tenant(tenant) => Some(tenant),
        Owner::All => None,
    };
    let groups = match tenant {
        Some(tenant) => {
            let sql = "SELECT code, stage, substr(diagnosed_on, 1, 4), count(*), \
                       CAST(sum(cost_cents) AS BIGINT) FROM records WHERE tenant_id = $1 \
                       GROUP BY 1, 2, 3";
            read_groups(app, sql, &[tenant.into()]).await?
        }
        None => {
            let sql = "SELECT code, stage, substr(diagnosed_on, 1, 4), count(*), \
                       CAST(sum(cost_cents) AS BIGINT) FROM records GROUP BY 1, 2, 3";
            read_groups(app, sql, &[]).await?
        }
    };
    let mut dashboard = Dashboard {
        tenant,
        ..Dashboard::default()
    };
    let mut sums: [BTreeMap<String, (i64, i64)>; 3] = Default::default();
    for (keys, records, cost_cents) in groups {
        dashboard.records += records;
        dashboard.cost_cents += cost_cents;
        for (sum, key) in sums.iter_mut().zip(keys) {
            let group = sum.entry(key).or_default();
            group.0 += records;
            group.1 += cost_cents;
        }
    }
    dashboard.mean_cost_cents = dashboard
        .cost_cents
        .checked_div(dashboard.records)
        .unwrap_or(0);
    let [codes, stages, years] = sums.map(|sum| {
        sum.into_iter()
            .map(|(key, (records, cost_cents))| Group {
                key,
                records,
                cost_cents,
            })
            .collect::<Vec<_>>()
    });
    dashboard.top_codes = codes;
    dashboard
        .top_codes
        .sort_by_key(|group| std::cmp::Reverse(group.records));
    dashboard.top_codes.truncate(TOP_CODES);
    dashboard.by_stage = stages;
    dashboard.by_year = years;
    Ok(serde_json::to_vec(&dashboard)?.into())
}

async fn read_groups(
    app: &App,
    sql: &'static str,
    values: &[Value],
) -> Result<Vec<([String; 3], i64, i64)>, BatchError> {
    let columns = [
        Column::text("code"),
        Column::text("stage"),
        Column::text("year"),
        Column::integer("records"),
        Column::integer("cost_cents"),
    ];
    let rows = fetch_rows(&app.pool, ("aggregate", "records"), sql, values, &columns).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| <[Value; 5]>::try_from(row).ok())
        .filter_map(|row| match row {
            [
                Value::Text(code),
                Value::Text(stage),
                Value::Text(year),
                Value::Integer(records),
                Value::Integer(cost_cents),
            ] => Some((
                [code, stage, year].map(|key| key.into_owned()),
                records,
                cost_cents,
            )),
            _ => None,
        })
        .collect())
}
