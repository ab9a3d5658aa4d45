//! `/api/v1/records/batch`: batch operations on the records, in the background.
//!
//! The ledger keeps what was asked for, so that a run whose process was killed can be resumed by the
//! next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Zoned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Mutex, OwnedSemaphorePermit, watch};
use uuid::Uuid;

use super::analytics;
use super::app::App;
use super::caller::Caller;
use super::error::{ApiError, chain};
use super::records::{COST_MAX_CENTS, RecordInput, STAGES, check_code, tenant_of};
use super::text::{check_day, check_line, check_one_of};
use super::write::to_the_end;
use crate::datalayer::batch::operations::{
    Cancel, Comparison, Condition, Filter, Mapping, Operation, Operations, Progress, Run, RunError,
    Transform, Work,
};
use crate::datalayer::batch::{Column, Row, Table, Value};
use crate::datalayer::dataset::{Generator, RECORDS, RECORDS_ARCHIVE, RECORDS_REPORTED};

/// How often a service that ends looks whether its runs have.
const STOP_POLL: Duration = Duration::from_millis(5);

/// The runs of this process.
#[derive(Default)]
pub(super) struct Batches {
    live: Mutex<HashMap<Uuid, Live>>,
}

struct Live {
    operation: Operation,
    progress: watch::Receiver<Progress>,
    cancel: Cancel,
}

/// What is asked for, and what the ledger keeps of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "lowercase", deny_unknown_fields)]
enum Order {
    /// Further generated records.
    Create {
        rows: u64,
        /// The index of the first one: ours to give.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
    },
    Update {
        filter: FilterInput,
        set: SetInput,
    },
    Upsert {
        records: Vec<KeyedRecord>,
    },
    Delete {
        filter: FilterInput,
    },
    /// Into the columns of the reporting system.
    Migrate {
        filter: FilterInput,
    },
    /// Of what was diagnosed before a day.
    Archive {
        before: String,
    },
    /// Of what was archived before a day.
    Purge {
        before: String,
    },
}

/// Records that meet all of these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FilterInput {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosed_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosed_before: Option<String>,
}

/// What a record gets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SetInput {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_cents: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyedRecord {
    id: i64,
    record: RecordInput,
}

/// `POST /records/batch`: starts a run and says where to ask for it.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let actor = actor(&app, &caller, &headers);
    let limit = app.settings.service.body_max_bytes;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(limit),
        _ => ApiError::invalid_body("the body broke off"),
    })?;
    let mut order: Order = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid_body(format!("not a batch operation: {error}")))?;
    order.check(&app).map_err(ApiError::invalid_body)?;
    order.check_clients(&app).await?;
    let permit = app.claim_bulk_load().await?;
    to_the_end(|_| async move {
        if let Order::Create { rows, first } = &mut order {
            *first = Some(app.claim_records(*rows).await?);
        }
        let spec =
            serde_json::to_string(&order).map_err(|error| ApiError::internal(chain(&error)))?;
        let work = order.work(&app.generator);
        let operation = work.operation();
        let mut live = app.batches.live.lock().await;
        let run = operations(&app).start(work, &actor, &spec).await?;
        let (id, answer) = (
            run.id(),
            shown(run.id(), operation, &run.progress().borrow(), true),
        );
        live.insert(id, Live::of(&run, operation));
        attend(&app, run, permit);
        let location = [(LOCATION, format!("/api/v1/records/batch/{id}"))];
        Ok((StatusCode::ACCEPTED, location, answer).into_response())
    })
    .await
}

/// `GET /records/batch/{id}`: how far a run is.
pub(super) async fn progress(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let id = parse_id(&id)?;
    if let Some(live) = app.batches.live.lock().await.get(&id) {
        return Ok(shown(id, live.operation, &live.progress.borrow(), true));
    }
    let (order, progress) = find(&app, id).await?;
    Ok(shown(id, order.operation(), &progress, false))
}

/// `DELETE /records/batch/{id}`: tells a run of this process to end after its batch.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    if let Some(live) = app.batches.live.lock().await.get(&id) {
        live.cancel.cancel();
        let answer = shown(id, live.operation, &live.progress.borrow(), true);
        return Ok((StatusCode::ACCEPTED, answer).into_response());
    }
    find(&app, id).await?;
    Err(conflict(
        "not_under_way",
        "this service does not run that batch operation",
    ))
}

/// `POST /records/batch/{id}/resume`: goes on behind the last committed batch, whoever began.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let actor = actor(&app, &caller, &headers);
    let id = parse_id(&id)?;
    let permit = app.claim_bulk_load().await?;
    to_the_end(|_| async move {
        // Held to the end, so that of two requests one resumes.
        let mut live = app.batches.live.lock().await;
        if live.contains_key(&id) {
            return Err(conflict("under_way", "the batch operation is under way"));
        }
        let (order, _) = find(&app, id).await?;
        let work = order.work(&app.generator);
        let run = operations(&app).resume(id, work, &actor).await?;
        let operation = order.operation();
        let answer = shown(id, operation, &run.progress().borrow(), true);
        live.insert(id, Live::of(&run, operation));
        attend(&app, run, permit);
        Ok((StatusCode::ACCEPTED, answer).into_response())
    })
    .await
}

impl Batches {
    /// Tells all runs to end, and waits until they have.
    pub(super) async fn stop(&self) {
        loop {
            let live = self.live.lock().await;
            if live.is_empty() {
                return;
            }
            live.values().for_each(|live| live.cancel.cancel());
            drop(live);
            tokio::time::sleep(STOP_POLL).await;
        }
    }
}

impl Live {
    fn of(run: &Run, operation: Operation) -> Self {
        Self {
            operation,
            progress: run.progress(),
            cancel: run.canceller(),
        }
    }
}

/// Waits for the end of a run in the background: what it changed must be forgotten by the cache.
fn attend(app: &Arc<App>, run: Run, permit: OwnedSemaphorePermit) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let id = run.id();
        if let Err(error) = run.finish().await {
            tracing::error!(run = %id, error = chain(&error), "a batch operation broke off");
        }
        analytics::forget(&app, 1..=app.tenants()).await;
        app.batches.live.lock().await.remove(&id);
        drop(permit);
    });
}

/// Who asked, as the audit has it.
fn actor(app: &App, caller: &Caller, headers: &HeaderMap) -> String {
    let admin = app.admin.as_ref();
    match admin.is_some_and(|token| token.is_shown(headers)) {
        true => format!("admin {}", caller.key()),
        false => caller.key(),
    }
}

fn operations(app: &App) -> Operations {
    let memory = Arc::clone(&app.memory);
    Operations::new(app.pool.clone(), app.settings.batch.clone(), memory)
}

/// What the ledger has of a run.
async fn find(app: &App, id: Uuid) -> Result<(Order, Progress), ApiError> {
    let record = operations(app).find(id).await?;
    let record = record.ok_or_else(|| ApiError::not_found("batch operation"))?;
    let order = serde_json::from_str(&record.spec)
        .map_err(|error| ApiError::internal(format!("the ledger of run {id}: {error}")))?;
    Ok((order, Progress::of(record.state, &record.standing)))
}

/// `live`: this process runs it. A run whose state is `running` without that is another process's, or
/// nobody's since its process died.
fn shown(
    id: Uuid,
    operation: Operation,
    progress: &Progress,
    live: bool,
) -> Json<serde_json::Value> {
    Json(json!({ "id": id, "operation": operation, "live": live, "progress": progress }))
}

fn parse_id(text: &str) -> Result<Uuid, ApiError> {
    text.parse().map_err(|_| {
        let message = "the id of a batch operation is a UUID";
        ApiError::client(StatusCode::BAD_REQUEST, "invalid_id", message)
    })
}

fn conflict(code: &'static str, message: &str) -> ApiError {
    ApiError::client(StatusCode::CONFLICT, code, message)
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Batch(error) => Self::from_batch(&error),
            RunError::Unknown { .. } => Self::not_found("batch operation"),
            RunError::Ended { .. } => conflict("ended", "the batch operation has come to its end"),
            RunError::TakenOver { .. } => conflict("taken_over", "another service goes on with it"),
            RunError::Work { .. }
            | RunError::Source { .. }
            | RunError::OtherWork { .. }
            | RunError::DeadLetters { .. } => Self::internal(chain(&error)),
        }
    }
}

impl Order {
    fn operation(&self) -> Operation {
        match self {
            Self::Create { .. } => Operation::Create,
            Self::Update { .. } => Operation::Update,
            Self::Upsert { .. } => Operation::Upsert,
            Self::Delete { .. } => Operation::Delete,
            Self::Migrate { .. } => Operation::Migrate,
            Self::Archive { .. } => Operation::Archive,
            Self::Purge { .. } => Operation::Purge,
        }
    }

    fn check(&self, app: &App) -> Result<(), String> {
        match self {
            Self::Create { rows, first } => {
                let max = app.settings.service.generate_rows_max;
                if !(1..=max).contains(rows) {
                    return Err(format!("`rows` must be from 1 to {max}"));
                }
                match first {
                    Some(_) => Err("`first` is the service's to give".to_owned()),
                    None => Ok(()),
                }
            }
            Self::Update { filter, set } => {
                filter.check(app)?;
                set.check()
            }
            Self::Upsert { records } => {
                for (index, KeyedRecord { id, record }) in records.iter().enumerate() {
                    if *id < 1 {
                        return Err(format!("record {}: `id` must be at least 1", index + 1));
                    }
                    let checked = record.check(app);
                    checked.map_err(|why| format!("record {}: {why}", index + 1))?;
                }
                Ok(())
            }
            Self::Delete { filter } | Self::Migrate { filter } => filter.check(app),
            Self::Archive { before } | Self::Purge { before } => check_day("before", before),
        }
    }

    /// Whether the clients of the records that come are of their tenants.
    async fn check_clients(&self, app: &App) -> Result<(), ApiError> {
        let Self::Upsert { records } = self else {
            return Ok(());
        };
        for (index, KeyedRecord { record, .. }) in records.iter().enumerate() {
            if tenant_of(app, record.client_id).await? != Some(record.tenant_id) {
                return Err(ApiError::invalid_body(format!(
                    "record {}: `client_id` names no client of this tenant",
                    index + 1
                )));
            }
        }
        Ok(())
    }

    fn work(&self, generator: &Arc<Generator>) -> Work {
        match self {
            Self::Create { rows, first } => {
                let (rows, first) = (*rows, first.unwrap_or_default());
                let generator = Arc::clone(generator);
                let source = move |from: u64, limit: usize| {
                    let left = rows.saturating_sub(from).min(limit as u64);
                    let records = generator.records_from(first + from);
                    records.take(left as usize).collect()
                };
                Work::create(&RECORDS, RECORDS.unkeyed(), source, Some(rows))
            }
            Self::Update { filter, set } => Work::set(filter.conditions(), set.values()),
            Self::Upsert { records } => {
                let rows: Vec<Row> = records
                    .iter()
                    .map(|keyed| [vec![keyed.id.into()], keyed.record.clone().into()].concat())
                    .collect();
                let total = rows.len() as u64;
                let source = move |from: u64, limit: usize| {
                    let rest = rows.iter().skip(from as usize);
                    rest.take(limit).cloned().collect()
                };
                Work::upsert(&RECORDS, source, Some(total))
            }
            Self::Delete { filter } => Work::delete(filter.conditions()),
            Self::Migrate { filter } => {
                Work::migrate(filter.conditions(), &RECORDS_REPORTED, reported())
            }
            Self::Archive { before } => {
                let older = before_day(&RECORDS, "diagnosed_on", before);
                Work::archive(older, &RECORDS_ARCHIVE, archived())
            }
            Self::Purge { before } => {
                Work::purge(before_day(&RECORDS_ARCHIVE, "archived_on", before))
            }
        }
    }
}

impl FilterInput {
    fn check(&self, app: &App) -> Result<(), String> {
        // All records by mistake would be many.
        if *self == Self::default() {
            return Err(
                "`filter` needs one of tenant, code, stage, diagnosed_from, diagnosed_before"
                    .to_owned(),
            );
        }
        if self.tenant.is_some_and(|tenant| !app.has_tenant(tenant)) {
            return Err("`tenant` names no tenant".to_owned());
        }
        self.code.as_deref().map_or(Ok(()), check_code)?;
        if let Some(stage) = &self.stage {
            check_one_of("stage", stage, &STAGES)?;
        }
        for (name, day) in [
            ("diagnosed_from", &self.diagnosed_from),
            ("diagnosed_before", &self.diagnosed_before),
        ] {
            day.as_deref().map_or(Ok(()), |day| check_day(name, day))?;
        }
        Ok(())
    }

    fn conditions(&self) -> Filter {
        let text = |text: &String| Value::from(text.clone());
        let given = [
            ("tenant_id", Comparison::Equal, self.tenant.map(Value::from)),
            ("code", Comparison::Equal, self.code.as_ref().map(text)),
            ("stage", Comparison::Equal, self.stage.as_ref().map(text)),
            (
                "diagnosed_on",
                Comparison::AtLeast,
                self.diagnosed_from.as_ref().map(text),
            ),
            (
                "diagnosed_on",
                Comparison::Below,
                self.diagnosed_before.as_ref().map(text),
            ),
        ];
        let conditions = given.into_iter().filter_map(|(name, comparison, value)| {
            Some(Condition {
                column: RECORDS.column(name)?,
                comparison,
                value: value?,
            })
        });
        Filter {
            table: &RECORDS,
            conditions: conditions.collect(),
        }
    }
}

impl SetInput {
    fn check(&self) -> Result<(), String> {
        if *self == Self::default() {
            return Err("`set` needs one of code, stage, city, cost_cents".to_owned());
        }
        self.code.as_deref().map_or(Ok(()), check_code)?;
        if let Some(stage) = &self.stage {
            check_one_of("stage", stage, &STAGES)?;
        }
        if let Some(city) = &self.city {
            check_line("city", city)?;
        }
        match self.cost_cents {
            Some(cost) if !(0..=COST_MAX_CENTS).contains(&cost) => {
                Err(format!("`cost_cents` must be from 0 to {COST_MAX_CENTS}"))
            }
            _ => Ok(()),
        }
    }

    fn values(&self) -> Vec<(Column, Value)> {
        let text = |text: &String| Value::from(text.clone());
        let given = [
            ("code", self.code.as_ref().map(text)),
            ("stage", self.stage.as_ref().map(text)),
            ("city", self.city.as_ref().map(text)),
            ("cost_cents", self.cost_cents.map(Value::from)),
        ];
        let values = given.into_iter();
        values
            .filter_map(|(name, value)| Some((RECORDS.column(name)?, value?)))
            .collect()
    }
}

fn before_day(table: &'static Table, column: &'static str, day: &str) -> Filter {
    let condition = Condition {
        column: Column::text(column),
        comparison: Comparison::Below,
        value: day.to_owned().into(),
    };
    Filter {
        table,
        conditions: vec![condition],
    }
}

/// A record as it is archived: whole, with the day.
fn archived() -> Mapping {
    let today = Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    let copied = RECORDS.columns.iter();
    copied
        .map(|column| (*column, Transform::Copy(*column)))
        .chain([(
            Column::text("archived_on"),
            Transform::Constant(today.to_string().into()),
        )])
        .collect()
}

/// A record as the reporting system has it: the year of the diagnosis, the category of its code, and
/// the cost in whole units.
fn reported() -> Mapping {
    let (code, day) = (Column::text("code"), Column::text("diagnosed_on"));
    let [id, tenant, cost] = ["id", "tenant_id", "cost_cents"].map(Column::integer);
    let stage = Column::text("stage");
    vec![
        (id, Transform::Copy(id)),
        (tenant, Transform::Copy(tenant)),
        (Column::text("year"), Transform::Prefix(day, 4)),
        (Column::text("category"), Transform::Prefix(code, 3)),
        (stage, Transform::Copy(stage)),
        (Column::integer("cost_units"), Transform::Divided(cost, 100)),
    ]
}
