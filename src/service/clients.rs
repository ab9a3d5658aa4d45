//! `/api/v1/clients`: list, search, detail, create, change.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, json};

use super::app::App;
use super::body::read_body;
use super::caller::Scope;
use super::error::{ApiError, LoadError};
use super::live;
use super::params::{Id, Params};
use super::tenants::tenant_of;
use super::text::{check_day, check_line, check_one_of};
use super::write::to_the_end;
use crate::datalayer::batch::{
    BatchError, Column, Listing, PageError, PageQuery, Row, Value, fetch_rows,
};
use crate::datalayer::cache::{self, Kind, Owner, Tag};
use crate::datalayer::dataset::CLIENTS;

/// What can be asked of the list.
static LISTING: Listing = Listing {
    table: &CLIENTS,
    filters: &["tenant_id", "city", "status"],
    search: &["family_name", "given_name", "email"],
    sorts: &["id", "family_name", "created_at"],
};

/// What the keys of lists are of.
const LIST: &str = "clients";
/// What the keys of details start with.
const DETAIL: &str = "client:";

const STATUSES: [&str; 3] = ["active", "inactive", "archived"];

/// A client as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientInput {
    tenant_id: i64,
    given_name: String,
    family_name: String,
    email: String,
    city: String,
    #[serde(default = "active")]
    status: String,
    birth_date: String,
}

/// `GET /clients`: one page of the list; cached until a client of its tenant is written, or any where
/// it is a list of all tenants.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    Params(mut params): Params,
) -> Result<Response, ApiError> {
    keep_to(scope, &mut params)?;
    // Checked before it is looked for, so that nonsense takes no place in the cache.
    let query = query(&app, &params)?;
    let (owner, key) = list_key(&app, params);
    let tag = app.cache_key(&lists_tag(owner));
    let load = async move |app: Arc<App>| load_list(&app, &query).await;
    app.cached_tagged(Kind::List, &key, &[Tag::Named(&tag)], load)
        .await
}

/// `GET /clients/search`: the list again, with `q` required.
pub(super) async fn search(
    state: State<Arc<App>>,
    scope: Scope,
    params: Params,
) -> Result<Response, ApiError> {
    if !params.0.iter().any(|(name, _)| name == "q") {
        let message = "a search needs `q`, the beginning of a name or an address";
        return Err(ApiError::client(
            StatusCode::BAD_REQUEST,
            "missing_parameter",
            message,
        ));
    }
    list(state, scope, params).await
}

/// Has parameters ask for what is there for the caller alone, as if it had asked for that itself.
fn keep_to(scope: Scope, params: &mut Vec<(String, String)>) -> Result<(), ApiError> {
    let mut is_given = false;
    for (name, value) in params.iter() {
        if name == "tenant_id" {
            is_given = true;
            // What is no number is refused with the rest of the question.
            if let Ok(tenant) = value.parse() {
                scope.read(Some(tenant))?;
            }
        }
    }
    if let Some(tenant) = scope.0.filter(|_| !is_given) {
        params.push(("tenant_id".to_owned(), tenant.to_string()));
    }
    Ok(())
}

pub(super) async fn load_list(app: &App, query: &PageQuery) -> Result<Bytes, LoadError> {
    let page = query.fetch(&app.pool).await?;
    let items: Vec<_> = page
        .rows
        .iter()
        .map(|row| object(&page.fields, row))
        .collect();
    Ok(serde_json::to_vec(&json!({ "items": items, "next": page.next }))?.into())
}

/// The question that parameters ask of the list.
pub(super) fn query(app: &App, params: &[(String, String)]) -> Result<PageQuery, PageError> {
    LISTING.query(params, &app.settings.batch)
}

/// The parameters of which [`list_key`] made this key. None where that was none of a list, or they are
/// not in it but their hash.
pub(super) fn params_of_key(key: &str) -> Option<Vec<(String, String)>> {
    let (owner, name) = Owner::of_key(key)?;
    let mut params = Owner::parameters_of(name.strip_prefix(LIST)?)?;
    if let Owner::Tenant(tenant) = owner {
        params.push(("tenant_id".to_owned(), tenant.to_string()));
    }
    Some(params)
}

/// Whose clients a checked query asks for, and the one key of all its spellings.
pub(super) fn list_key(app: &App, params: Vec<(String, String)>) -> (Owner, String) {
    let mut owner = Owner::All;
    let mut limit = app.settings.batch.page_rows.to_string();
    let mut others = Vec::new();
    for (name, value) in params {
        match name.as_str() {
            "tenant_id" => owner = value.parse().map_or(Owner::All, Owner::Tenant),
            "limit" => limit = value,
            "q" => others.push((name, value.trim().to_ascii_lowercase())),
            _ => others.push((name, value)),
        }
    }
    others.push(("limit".to_owned(), limit));
    let max_bytes = app.settings.cache.query_key_max_bytes;
    (owner, owner.query_key(LIST, others, max_bytes))
}

/// What the lists of an owner belong to.
pub(super) fn lists_tag(owner: Owner) -> String {
    owner.key("client-lists")
}

/// Forgets what a write to a client of this tenant has changed: the lists that it may be in, and its
/// own answer where its id is known. As [`App::forget`] does.
async fn forget(app: &App, tenant: i64, id: Option<i64>, in_doubt: bool) {
    let detail = id.map(|id| own(app, id));
    let lists = [Owner::Tenant(tenant), Owner::All]
        .map(|owner| cache::Scope::Tag(app.cache_key(&lists_tag(owner))));
    let scopes: Vec<_> = lists.into_iter().chain(detail).collect();
    app.forget(&scopes, in_doubt).await;
}

/// What is cached of one client alone.
fn own(app: &App, id: i64) -> cache::Scope {
    cache::Scope::Family(app.cache_key(&detail_key(id)))
}

/// `GET /clients/{id}`: a client with the number of its appointments and what it paid; cached.
pub(super) async fn detail(
    State(app): State<Arc<App>>,
    scope: Scope,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    // Before the cache is asked, so that no header of its answers tells of another's client.
    if scope.0.is_some() && !scope.has(tenant_of(&app, id).await?) {
        return Err(ApiError::not_found("row"));
    }
    let load = async move |app: Arc<App>| load_detail(&app, id).await;
    app.cached(Kind::Detail, &detail_key(id), load).await
}

/// `POST /clients`: a new client.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    scope: Scope,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let input = ClientInput::read(&app, scope, body)?;
    to_the_end(|| insert(app, input)).await
}

async fn insert(app: Arc<App>, input: ClientInput) -> Result<Response, ApiError> {
    let (now, tenant) = (now(), input.tenant_id);
    let values = [input.values(), vec![now.clone().into(), now.into()]].concat();
    let sql = "INSERT INTO clients (tenant_id, given_name, family_name, email, city, status, \
               birth_date, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
               RETURNING id, tenant_id, given_name, family_name, email, city, status, birth_date, \
               created_at, updated_at";
    let rows = fetch_rows(
        &app.pool,
        ("insert into", "clients"),
        sql,
        &values,
        CLIENTS.columns,
    );
    let rows = rows.await;
    // Somebody may have asked for this id before it was there; such answers are not kept, but a
    // load may be under way.
    let id = match rows
        .as_ref()
        .map(|rows| rows.first().and_then(|row| row.first()))
    {
        Ok(Some(Value::Integer(id))) => Some(*id),
        _ => None,
    };
    let in_doubt = rows.as_ref().is_err_and(BatchError::is_in_doubt);
    forget(&app, tenant, id, in_doubt).await;
    if in_doubt {
        let change = json!({ "kind": "created", "id": null });
        app.tell_in_doubt(tenant, live::CLIENTS, change);
    }
    let row = rows
        .map_err(|error| ApiError::from_write(&error))?
        .pop()
        .ok_or_else(|| ApiError::internal("no row was returned"))?;
    let id = id.ok_or_else(|| ApiError::internal("a row without an id was returned"))?;
    let change = json!({ "kind": "created", "id": id });
    app.tell(tenant, live::CLIENTS, &change);
    let location = [(LOCATION, format!("/api/v1/clients/{id}"))];
    Ok((
        StatusCode::CREATED,
        location,
        Json(object(CLIENTS.columns, &row)),
    )
        .into_response())
}

/// `PUT /clients/{id}`: all of a client anew, within its tenant. To another tenant it is not there.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    scope: Scope,
    Id(id): Id,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let id = parse_id(&id)?;
    let input = ClientInput::read(&app, scope, body)?;
    to_the_end(|| replace(app, id, input)).await
}

async fn replace(
    app: Arc<App>,
    id: i64,
    input: ClientInput,
) -> Result<Json<serde_json::Value>, ApiError> {
    let tenant = input.tenant_id;
    let values = [input.values(), vec![now().into(), id.into()]].concat();
    let sql = "UPDATE clients SET given_name = $2, family_name = $3, email = $4, city = $5, \
               status = $6, birth_date = $7, updated_at = $8 WHERE id = $9 AND tenant_id = $1 \
               RETURNING id, tenant_id, given_name, family_name, email, city, status, birth_date, \
               created_at, updated_at";
    let rows = fetch_rows(
        &app.pool,
        ("update", "clients"),
        sql,
        &values,
        CLIENTS.columns,
    );
    let rows = rows.await;
    let in_doubt = rows.as_ref().is_err_and(BatchError::is_in_doubt);
    forget(&app, tenant, Some(id), in_doubt).await;
    let change = json!({ "kind": "changed", "id": id });
    if in_doubt {
        app.tell_in_doubt(tenant, live::CLIENTS, change);
    } else if rows.as_ref().is_ok_and(|rows| !rows.is_empty()) {
        app.tell(tenant, live::CLIENTS, &change);
    }
    let row = rows?.pop().ok_or_else(|| ApiError::not_found("client"))?;
    Ok(Json(object(CLIENTS.columns, &row)))
}

pub(super) async fn load_detail(app: &App, id: i64) -> Result<Bytes, LoadError> {
    let extra = [
        Column::integer("appointments"),
        Column::integer("paid_cents"),
    ];
    let columns = [CLIENTS.columns, &extra].concat();
    let sql = "SELECT id, tenant_id, given_name, family_name, email, city, status, birth_date, \
               created_at, updated_at, \
               (SELECT count(*) FROM appointments WHERE client_id = clients.id), \
               (SELECT CAST(coalesce(sum(amount_cents), 0) AS BIGINT) FROM payments \
               WHERE client_id = clients.id) FROM clients WHERE id = $1";
    let mut rows = fetch_rows(&app.pool, ("read", "clients"), sql, &[id.into()], &columns).await?;
    let row = rows.pop().ok_or(LoadError::NotFound)?;
    Ok(serde_json::to_vec(&object(&columns, &row))?.into())
}

fn object(columns: &[Column], row: &Row) -> serde_json::Value {
    let pairs = columns.iter().zip(row);
    let map: Map<_, _> = pairs
        .map(|(column, value)| (column.name.to_owned(), value.into()))
        .collect();
    map.into()
}

/// Forgets what is cached of one client alone, and not the lists: for what its row does not have,
/// such as payments. As [`App::forget`] does.
pub(super) async fn forget_one(app: &App, id: i64, in_doubt: bool) {
    app.forget(&[own(app, id)], in_doubt).await;
}

/// Without a tenant: ids are those of the whole store, and the route knows no tenant before it has
/// read the client.
pub(super) fn detail_key(id: i64) -> String {
    format!("{DETAIL}{id}")
}

/// The id of the client whose detail has this key, if one has.
pub(super) fn id_of_key(key: &str) -> Option<i64> {
    key.strip_prefix(DETAIL)?.parse().ok()
}

pub(super) fn parse_id(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| {
        let message = "the id of a client is a whole number";
        ApiError::client(StatusCode::BAD_REQUEST, "invalid_id", message)
    })
}

/// This moment as the tables hold it.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn active() -> String {
    "active".to_owned()
}

impl ClientInput {
    fn read(
        app: &App,
        scope: Scope,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Self, ApiError> {
        let body = read_body(app, body)?;
        let input: Self = serde_json::from_slice(&body)
            .map_err(|error| ApiError::invalid_body(format!("not a client: {error}")))?;
        input.check(app).map_err(ApiError::invalid_body)?;
        scope
            .write("tenant_id", Some(input.tenant_id))
            .map_err(ApiError::invalid_body)?;
        Ok(input)
    }

    fn check(&self, app: &App) -> Result<(), String> {
        if !app.has_tenant(self.tenant_id) {
            return Err("`tenant_id` names no tenant".to_owned());
        }
        check_line("given_name", &self.given_name)?;
        check_line("family_name", &self.family_name)?;
        check_line("email", &self.email)?;
        check_line("city", &self.city)?;
        check_one_of("status", &self.status, &STATUSES)?;
        if !self.email.contains('@') {
            return Err("`email` is no mail address".to_owned());
        }
        check_day("birth_date", &self.birth_date)
    }

    fn values(self) -> Row {
        let texts = [
            self.given_name,
            self.family_name,
            self.email,
            self.city,
            self.status,
            self.birth_date,
        ];
        std::iter::once(self.tenant_id.into())
            .chain(texts.map(Value::from))
            .collect()
    }
}
