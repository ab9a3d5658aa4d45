//! `/api/v1/records/batch`: batch operations on the records, in the background.
//!
//! The ledger keeps what was asked for, so that a run whose process was killed can be resumed by the
//! next one.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use jiff::Zoned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;
use uuid::Uuid;

use super::analytics;
use super::app::App;
use super::body::read_body;
use super::caller::{Caller, Scope};
use super::error::{ApiError, chain};
use super::params::{Id, Params, known, page_rows, whole_number};
use super::records::{COST_MAX_CENTS, RecordInput, STAGES, check_code, may_generate};
use super::tenants::tenant_of;
use super::text::{check_day, check_line, check_one_of};
use super::write::to_the_end;
use crate::datalayer::batch::operations::{
    Cancel, Comparison, Condition, Filter, KEY_MAX, Mapping, Operation, Operations, Progress, Run,
    RunError, RunFilter, RunState, Transform, Work,
};
use crate::datalayer::batch::{Column, Row, Table, Value};
use crate::datalayer::dataset::{Generator, RECORDS, RECORDS_ARCHIVE, RECORDS_REPORTED};

/// How often a service that ends looks whether its runs have.
const STOP_POLL: Duration = Duration::from_millis(5);

/// How often what the cache has of the records is forgotten while a run changes them.
const FORGET_PAUSE: Duration = Duration::from_secs(5);

/// Whose a record is.
const TENANT: Column = Column::integer("tenant_id");

/// Runs that one statement of the upkeep takes.
const FORGET_AT_ONCE: u64 = 100;

/// The runs of this process.
#[derive(Default)]
pub(super) struct Batches {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    live: HashMap<Uuid, Live>,
    /// Those that somebody is about to resume.
    resuming: HashSet<Uuid>,
    /// The service ends.
    stopping: bool,
}

struct Live {
    tenant: Option<i64>,
    operation: Operation,
    progress: watch::Receiver<Progress>,
    cancel: Cancel,
}

/// The right to resume a run, which goes with the value: of two requests one resumes.
struct Reserved<'a> {
    batches: &'a Batches,
    id: Uuid,
}

/// What the ledger keeps of what was asked for. The tenant stands first: a tenant's runs are found by how
/// this begins.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// To whose records the run keeps; to none's in particular where it is not there.
    tenant: Option<i64>,
    order: Order,
}

/// What is asked for.
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<i64>,
    },
    /// Of what was archived before a day.
    Purge {
        before: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<i64>,
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
    scope: Scope,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let actor = actor(&app, &caller, &headers);
    let body = read_body(&app, body)?;
    let mut order: Order = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid_body(format!("not a batch operation: {error}")))?;
    order.check(&app).map_err(ApiError::invalid_body)?;
    if matches!(order, Order::Create { .. }) {
        may_generate(scope)?;
    }
    order.keep_to(scope).map_err(ApiError::invalid_body)?;
    order.check_clients(&app).await?;
    let permit = app.claim_bulk_load().await?;
    to_the_end(|| async move {
        if let Order::Create { rows, first } = &mut order {
            *first = Some(app.claim_records(*rows).await?);
        }
        let tenant = scope.0;
        let spec = Spec { tenant, order };
        let text =
            serde_json::to_string(&spec).map_err(|error| ApiError::internal(chain(&error)))?;
        let work = spec.work(&app.generator);
        let run = operations(&app).start(work, &actor, &text).await?;
        let (id, answer) = attend(&app, run, &spec, permit);
        let location = [(LOCATION, format!("/api/v1/records/batch/{id}"))];
        Ok((StatusCode::ACCEPTED, location, answer).into_response())
    })
    .await
}

/// `GET /records/batch?state=&limit=&cursor=`: one page of the runs, newest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    params: Params,
) -> Result<Json<serde_json::Value>, ApiError> {
    let [state, limit, cursor] = params.only(["state", "limit", "cursor"])?;
    let limit = page_rows(&app, limit)?;
    let named = |name: &str| RunState::ALL.into_iter().find(|state| state.name() == name);
    let filter = RunFilter {
        state: known("state", state, named)?,
        spec_prefix: scope.0.map(|tenant| format!("{{\"tenant\":{tenant},")),
        before: known("cursor", cursor, |text| text.parse::<Uuid>().ok())?,
    };
    // One more than is shown says whether there is more.
    let mut runs = operations(&app).list(&filter, limit + 1).await?;
    let is_last = runs.len() as u64 <= limit;
    runs.truncate(limit as usize);
    let next = runs.last().filter(|_| !is_last).map(|run| run.id);
    let held = app.batches.held();
    let items: Vec<_> = runs
        .iter()
        .map(|run| {
            json!({
                "id": run.id,
                "operation": run.operation,
                "live": held.live.contains_key(&run.id),
                "started_at": run.started_at,
                "updated_at": run.updated_at,
                "error": told(&run.error),
                "progress": Progress::of(run.state, &run.standing),
            })
        })
        .collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

/// `GET /records/batch/{id}`: how far a run is.
pub(super) async fn progress(
    State(app): State<Arc<App>>,
    scope: Scope,
    Id(id): Id,
) -> Result<Json<serde_json::Value>, ApiError> {
    let id = parse_id(&id)?;
    let live = app.batches.held().shown(id, scope);
    if let Some(answer) = live {
        return Ok(answer);
    }
    let (spec, progress) = find(&app, id, scope).await?;
    Ok(shown(id, spec.order.operation(), &progress, false))
}

/// `GET /records/batch/{id}/dead-letters?limit=&cursor=`: one page of the rows that a run laid aside, in
/// the order in which it did, as long as `batch.history_kept_s` keeps them.
pub(super) async fn dead_letters(
    State(app): State<Arc<App>>,
    scope: Scope,
    Id(id): Id,
    params: Params,
) -> Result<Json<serde_json::Value>, ApiError> {
    let id = parse_id(&id)?;
    let [limit, cursor] = params.only(["limit", "cursor"])?;
    let limit = page_rows(&app, limit)?;
    let after = match cursor {
        Some(text) => whole_number("cursor", text, 0..=i64::MAX as u64)? as i64,
        None => 0,
    };
    find(&app, id, scope).await?;
    let mut letters = operations(&app).laid_aside(id, after, limit + 1).await?;
    let is_last = letters.len() as u64 <= limit;
    letters.truncate(limit as usize);
    let next = letters.last().filter(|_| !is_last);
    let next = next.map(|letter| letter.id.to_string());
    let items: Vec<_> = letters
        .iter()
        .map(|letter| {
            let row = serde_json::from_str::<serde_json::Value>(&letter.row);
            json!({
                "batch": letter.batch,
                "row": row.unwrap_or_else(|_| letter.row.clone().into()),
                "error": letter.error,
                "attempts": letter.attempts,
                "laid_aside_at": letter.laid_aside_at,
            })
        })
        .collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

/// `DELETE /records/batch/{id}`: tells a run to end after its batch, whichever process has it.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    scope: Scope,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let live = app.batches.held().cancelled(id, scope);
    if let Some(answer) = live {
        return Ok((StatusCode::ACCEPTED, answer).into_response());
    }
    let (spec, progress) = find(&app, id, scope).await?;
    let Some(state) = operations(&app).call_off(id).await? else {
        let message = "the batch operation is not under way";
        return Err(conflict("not_under_way", message));
    };
    let progress = Progress { state, ..progress };
    let answer = shown(id, spec.order.operation(), &progress, false);
    let status = match state {
        RunState::Cancelled => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    Ok((status, answer).into_response())
}

/// `POST /records/batch/{id}/resume`: goes on behind the last committed batch, whoever began.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Id(id): Id,
    caller: Caller,
    scope: Scope,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let actor = actor(&app, &caller, &headers);
    let id = parse_id(&id)?;
    let permit = app.claim_bulk_load().await?;
    to_the_end(|| async move {
        let (spec, _) = find(&app, id, scope).await?;
        let reserved = app.batches.reserve(id)?;
        let work = spec.work(&app.generator);
        let run = operations(&app).resume(id, work, &actor).await?;
        let (_, answer) = attend(&app, run, &spec, permit);
        drop(reserved);
        Ok((StatusCode::ACCEPTED, answer).into_response())
    })
    .await
}

impl Batches {
    /// Tells all runs to end, and waits until they have.
    pub(super) async fn stop(&self) {
        loop {
            {
                let mut held = self.held();
                held.stopping = true;
                if held.live.is_empty() {
                    return;
                }
                held.live.values().for_each(|live| live.cancel.cancel());
            }
            sleep(STOP_POLL).await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, id: Uuid) -> Result<Reserved<'_>, ApiError> {
        let mut held = self.held();
        if held.live.contains_key(&id) || !held.resuming.insert(id) {
            return Err(conflict("under_way", "the batch operation is under way"));
        }
        Ok(Reserved { batches: self, id })
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.batches.held().resuming.remove(&self.id);
    }
}

impl Held {
    fn of(&self, id: Uuid, scope: Scope) -> Option<&Live> {
        self.live.get(&id).filter(|live| scope.has(live.tenant))
    }

    fn shown(&self, id: Uuid, scope: Scope) -> Option<Json<serde_json::Value>> {
        let live = self.of(id, scope)?;
        Some(shown(id, live.operation, &live.progress.borrow(), true))
    }

    fn cancelled(&self, id: Uuid, scope: Scope) -> Option<Json<serde_json::Value>> {
        self.of(id, scope)?.cancel.cancel();
        self.shown(id, scope)
    }
}

/// Waits for the end of a run in the background: what it changed must be forgotten by the cache. Gives the
/// answer to who asked for it.
fn attend(
    app: &Arc<App>,
    run: Run,
    spec: &Spec,
    permit: OwnedSemaphorePermit,
) -> (Uuid, Json<serde_json::Value>) {
    let id = run.id();
    let live = Live {
        tenant: spec.tenant,
        operation: spec.order.operation(),
        progress: run.progress(),
        cancel: run.canceller(),
    };
    let answer = shown(id, live.operation, &live.progress.borrow(), true);
    let mut held = app.batches.held();
    if held.stopping {
        live.cancel.cancel();
    }
    held.live.insert(id, live);
    drop(held);
    let app = Arc::clone(app);
    tokio::spawn(async move {
        // A panic too is the end of the run.
        let mut finish = pin!(AssertUnwindSafe(run.finish()).catch_unwind());
        let ended = loop {
            tokio::select! {
                ended = &mut finish => break ended,
                () = sleep(FORGET_PAUSE) => analytics::forget(&app, 1..=app.tenants(), false).await,
            }
        };
        let in_doubt = !matches!(ended, Ok(Ok(_)));
        match ended {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(run = %id, error = chain(&error), "a batch operation broke off");
            }
            Err(_) => tracing::error!(run = %id, "BUG: a batch operation panicked"),
        }
        analytics::forget(&app, 1..=app.tenants(), in_doubt).await;
        app.batches.held().live.remove(&id);
        drop(permit);
    });
    (id, answer)
}

/// Removes runs that are older than they may be; gives how many.
pub(super) async fn forget_old(app: &App) -> Result<u64, ApiError> {
    let operations = operations(app);
    let mut forgotten = 0;
    loop {
        match operations.forget(FORGET_AT_ONCE).await? {
            0 => return Ok(forgotten),
            more => forgotten += more,
        }
    }
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

/// What the ledger has of a run that is there for the caller.
async fn find(app: &App, id: Uuid, scope: Scope) -> Result<(Spec, Progress), ApiError> {
    let record = operations(app).find(id).await?;
    let nobody = || ApiError::not_found("batch operation");
    let record = record.ok_or_else(nobody)?;
    let spec = Spec::read(&record.spec)
        .map_err(|error| ApiError::internal(format!("the ledger of run {id}: {error}")))?;
    if !scope.has(spec.tenant) {
        return Err(nobody());
    }
    Ok((spec, Progress::of(record.state, &record.standing)))
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

impl Spec {
    fn read(text: &str) -> serde_json::Result<Self> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        // Of runs that were started before there was more to keep, the order stands alone.
        match value.get("order") {
            Some(_) => serde_json::from_value(value),
            None => Ok(Self {
                tenant: None,
                order: serde_json::from_value(value)?,
            }),
        }
    }

    fn work(&self, generator: &Arc<Generator>) -> Work {
        self.order.work(self.tenant, generator)
    }
}

impl Order {
    /// Has the order concern what is the caller's alone.
    fn keep_to(&mut self, scope: Scope) -> Result<(), String> {
        match self {
            Self::Update { filter, .. } | Self::Delete { filter } | Self::Migrate { filter } => {
                filter.tenant = scope.write("tenant", filter.tenant)?;
            }
            Self::Archive { tenant, .. } | Self::Purge { tenant, .. } => {
                *tenant = scope.write("tenant", *tenant)?;
            }
            Self::Upsert { records } => {
                for (index, KeyedRecord { record, .. }) in records.iter().enumerate() {
                    let own = scope.write("tenant_id", Some(record.tenant_id));
                    own.map_err(|why| format!("record {}: {why}", index + 1))?;
                }
            }
            Self::Create { .. } => {}
        }
        Ok(())
    }

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
                    if !(1..=KEY_MAX).contains(id) {
                        return Err(format!(
                            "record {}: `id` must be from 1 to {KEY_MAX}",
                            index + 1
                        ));
                    }
                    let checked = record.check(app);
                    checked.map_err(|why| format!("record {}: {why}", index + 1))?;
                }
                Ok(())
            }
            Self::Delete { filter } | Self::Migrate { filter } => filter.check(app),
            Self::Archive { before, tenant } | Self::Purge { before, tenant } => {
                check_tenant(app, *tenant)?;
                check_day("before", before)
            }
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

    /// The work of the order, kept to the records of `own` where that is a tenant.
    fn work(&self, own: Option<i64>, generator: &Arc<Generator>) -> Work {
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
                match own {
                    Some(_) => Work::upsert_own(&RECORDS, TENANT, source, Some(total)),
                    None => Work::upsert(&RECORDS, source, Some(total)),
                }
            }
            Self::Delete { filter } => Work::delete(filter.conditions()),
            Self::Migrate { filter } => {
                Work::migrate(filter.conditions(), &RECORDS_REPORTED, reported())
            }
            Self::Archive { before, tenant } => {
                let older = before_day(&RECORDS, "diagnosed_on", before, *tenant);
                Work::archive(older, &RECORDS_ARCHIVE, archived())
            }
            Self::Purge { before, tenant } => {
                let older = before_day(&RECORDS_ARCHIVE, "archived_on", before, *tenant);
                Work::purge(older)
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
        check_tenant(app, self.tenant)?;
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

fn before_day(
    table: &'static Table,
    column: &'static str,
    day: &str,
    tenant: Option<i64>,
) -> Filter {
    let older = Condition {
        column: Column::text(column),
        comparison: Comparison::Below,
        value: day.to_owned().into(),
    };
    let of_tenant = tenant.map(|tenant| Condition {
        column: TENANT,
        comparison: Comparison::Equal,
        value: tenant.into(),
    });
    Filter {
        table,
        conditions: std::iter::once(older).chain(of_tenant).collect(),
    }
}

fn check_tenant(app: &App, tenant: Option<i64>) -> Result<(), String> {
    match tenant {
        Some(tenant) if !app.has_tenant(tenant) => Err("`tenant` names no tenant".to_owned()),
        _ => Ok(()),
    }
}

/// What a caller hears of an error in the ledger; what the database said is for who runs the service.
fn told(error: &str) -> Option<&str> {
    (!error.is_empty()).then(|| error.split(": ").next().unwrap_or(error))
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
