//! `/api/v1/records`: bulk load, generation, export. None of them is ever in memory as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use tokio::time::{Instant, timeout};

use super::analytics;
use super::app::App;
use super::caller::Scope;
use super::error::{ApiError, chain};
use super::params::{Params, whole_number};
use super::tenants::tenant_of;
use super::text::{check_day, check_line, check_one_of};
use super::write::{Client, to_the_deadline};
use crate::datalayer::batch::{
    BatchError, Column, Loaded, Loader, Row, Select, Tally, Value, stream_batches,
};
use crate::datalayer::dataset::RECORDS;

pub(super) const STAGES: [&str; 5] = ["I", "II", "III", "IV", "X"];

/// A thousand times the largest cost that the generator makes.
pub(super) const COST_MAX_CENTS: i64 = 5_000_000_000;

/// A record as it is loaded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordInput {
    pub(super) tenant_id: i64,
    pub(super) client_id: i64,
    diagnosed_on: String,
    code: String,
    stage: String,
    city: String,
    cost_cents: i64,
}

/// A bulk load under way.
struct BulkLoad<'a> {
    app: &'a App,
    client: Client,
    scope: Scope,
    loader: Loader,
    /// Of the clients that the dataset does not have, those met so far, with their tenants.
    newcomers: BTreeMap<i64, i64>,
    tenants: BTreeSet<i64>,
    rows: u64,
}

/// What an export is written as.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    Csv,
    Ndjson,
}

/// `POST /records/bulk`: records as lines of JSON, or as one JSON array of moderate size. Rows go in
/// batch by batch; a mistake ends the load and the answer says how many rows are in by then.
pub(super) async fn bulk(
    State(app): State<Arc<App>>,
    scope: Scope,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, ApiError> {
    let deadline = Instant::now() + app.settings.service.bulk_timeout();
    // Nothing of the body is read before.
    let permit = app.claim_bulk_load().await?;
    let loader = loader(&app);
    let brake = loader.brake();
    let write = |client| async move {
        let load = BulkLoad::new(&app, client, scope, loader);
        let loaded = load.read(headers, body).await;
        drop(permit);
        loaded
    };
    let late = || after(ApiError::timed_out(), brake.pull());
    to_the_deadline(deadline, write, late).await
}

/// Says how much of a load is in when it fails.
fn after(error: ApiError, tally: Tally) -> ApiError {
    error.after_rows(tally.rows, tally.unsure)
}

/// `POST /records/generate?rows=N`: N further generated records through the same pipeline.
pub(super) async fn generate(
    State(app): State<Arc<App>>,
    scope: Scope,
    params: Params,
) -> Result<Json<serde_json::Value>, ApiError> {
    let deadline = Instant::now() + app.settings.service.bulk_timeout();
    may_generate(scope)?;
    let [rows] = params.only(["rows"])?;
    let max = app.settings.service.generate_rows_max;
    let rows = whole_number("rows", rows.unwrap_or_default(), 1..=max)?;
    let permit = app.claim_bulk_load().await?;
    let loader = loader(&app);
    let brake = loader.brake();
    let write = |client| async move {
        let made = make(app, client, loader, rows).await;
        drop(permit);
        made
    };
    let late = || after(ApiError::timed_out(), brake.pull());
    to_the_deadline(deadline, write, late).await
}

/// Generated records are of all tenants.
pub(super) fn may_generate(scope: Scope) -> Result<(), ApiError> {
    match scope.0 {
        None => Ok(()),
        Some(_) => {
            let message = "records of all tenants are generated, so not for one of them";
            let status = StatusCode::FORBIDDEN;
            Err(ApiError::client(status, "admin_only", message))
        }
    }
}

async fn make(
    app: Arc<App>,
    client: Client,
    mut loader: Loader,
    rows: u64,
) -> Result<Json<serde_json::Value>, ApiError> {
    let first = app.claim_records(rows).await?;
    let push_all = async {
        for row in app.generator.records_from(first).take(rows as usize) {
            client.check()?;
            loader.push(row).await?;
        }
        Ok(())
    };
    let pushed = push_all.await;
    let (done, in_doubt) = finish(loader, pushed).await;
    analytics::forget(&app, 1..=app.tenants(), in_doubt).await;
    Ok(Json(summary(&done?)))
}

/// Inserts the rest where all went well so far; else, and where that fails, says what is in. And whether more
/// may be than is known.
async fn finish(loader: Loader, so_far: Result<(), ApiError>) -> (Result<Loaded, ApiError>, bool) {
    let brake = loader.brake();
    let done = match so_far {
        Ok(()) => loader.finish().await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    let tally = brake.tally();
    (done.map_err(|error| after(error, tally)), tally.unsure > 0)
}

/// `GET /records/export?format=csv|ndjson`: all records, or those of one tenant or code, as a stream.
pub(super) async fn export(
    State(app): State<Arc<App>>,
    scope: Scope,
    params: Params,
) -> Result<Response, ApiError> {
    let [format, tenant, code] = params.only(["format", "tenant", "code"])?;
    let format = match format.unwrap_or("ndjson") {
        "csv" => Format::Csv,
        "ndjson" => Format::Ndjson,
        _ => {
            let message = "`format` must be csv or ndjson";
            return Err(ApiError::client(
                StatusCode::BAD_REQUEST,
                "invalid_value",
                message,
            ));
        }
    };
    let mut filters: Vec<(Column, Value)> = Vec::new();
    if let Some(tenant) = analytics::asked_for(&app, scope, tenant)? {
        filters.push((Column::integer("tenant_id"), tenant.into()));
    }
    if let Some(code) = code {
        check_code(code).map_err(|message| {
            ApiError::client(StatusCode::BAD_REQUEST, "invalid_value", message)
        })?;
        filters.push((Column::text("code"), code.to_owned().into()));
    }
    let select = Select {
        filters,
        ..Select::all(&RECORDS)
    };
    let permit = app.claim_export()?;
    let memory = Arc::clone(&app.memory);
    // Asked again below, also where there is nothing.
    let batches = stream_batches(app.pool.clone(), select, &app.settings.batch, memory).fuse();
    let mut batches = Box::pin(batches);
    // The first batch decides the status: once the answer has begun, an error can only cut it off.
    let first = match batches.next().await {
        Some(batch) => Some(Ok(batch?)),
        None => None,
    };
    let rows = futures_util::stream::iter(first).chain(batches);
    let body = rows.map(move |batch| {
        // Held for as long as the body is.
        let _ = &permit;
        batch.map_err(log_cut).and_then(|rows| format.write(&rows))
    });
    let head = futures_util::stream::iter(format.head().map(Ok));
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        (CONTENT_DISPOSITION, format.content_disposition()),
    ];
    Ok((headers, Body::from_stream(head.chain(body))).into_response())
}

fn loader(app: &App) -> Loader {
    let memory = Arc::clone(&app.memory);
    Loader::new(
        app.pool.clone(),
        &RECORDS,
        RECORDS.unkeyed(),
        &app.settings.batch,
        memory,
    )
}

fn summary(loaded: &Loaded) -> serde_json::Value {
    json!({
        "rows": loaded.rows,
        "batches": loaded.batches,
        "largest_batch_rows": loaded.largest_batch_rows,
        "pauses": loaded.pauses,
        "peak_resident_bytes": loaded.peak_resident_bytes,
        "seconds": loaded.elapsed_ns as f64 / 1e9,
        "rows_per_s": loaded.rows_per_s(),
    })
}

impl<'a> BulkLoad<'a> {
    fn new(app: &'a App, client: Client, scope: Scope, loader: Loader) -> Self {
        Self {
            app,
            client,
            scope,
            loader,
            newcomers: BTreeMap::new(),
            tenants: BTreeSet::new(),
            rows: 0,
        }
    }

    async fn read(
        mut self,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Json<serde_json::Value>, ApiError> {
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let body = body.into_data_stream();
        let read = match kind.as_str() {
            "application/x-ndjson" | "application/ndjson" => self.read_lines(body).await,
            "application/json" => self.read_array(body).await,
            _ => {
                let message = "send application/x-ndjson or application/json";
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                return Err(ApiError::client(status, "unsupported_media_type", message));
            }
        };
        let (done, in_doubt) = finish(self.loader, read).await;
        // After a failure too: earlier batches are in.
        analytics::forget(self.app, self.tenants, in_doubt).await;
        Ok(Json(summary(&done?)))
    }

    async fn read_lines<E>(
        &mut self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), ApiError> {
        let settings = &self.app.settings.service;
        let mut total = 0;
        let mut waiting = BytesMut::new();
        while let Some(chunk) = self.next_chunk(&mut body).await? {
            total += chunk.len();
            if total > settings.bulk_body_max_bytes {
                return Err(ApiError::too_large(settings.bulk_body_max_bytes));
            }
            // Only the new bytes can hold the end of the first line.
            let mut searched = waiting.len();
            waiting.extend_from_slice(&chunk);
            while let Some(end) = waiting[searched..].iter().position(|byte| *byte == b'\n') {
                let line = waiting.split_to(searched + end);
                waiting.advance(1);
                searched = 0;
                self.take_line(&line).await?;
            }
            self.check_line_length(waiting.len())?;
        }
        self.take_line(&waiting).await
    }

    async fn read_array<E>(
        &mut self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), ApiError> {
        let limit = self.app.settings.service.bulk_array_max_bytes;
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.next_chunk(&mut body).await? {
            if whole.len() + chunk.len() > limit {
                return Err(ApiError::too_large(limit));
            }
            whole.extend_from_slice(&chunk);
        }
        let records: Vec<RecordInput> = serde_json::from_slice(&whole)
            .map_err(|error| ApiError::invalid_body(format!("not an array of records: {error}")))?;
        drop(whole);
        for record in records {
            self.client.check()?;
            self.take(record).await?;
        }
        Ok(())
    }

    /// The next piece of the body, if it comes in time.
    async fn next_chunk<E>(
        &mut self,
        body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Result<Option<Bytes>, ApiError> {
        let limit = self.app.settings.service.bulk_chunk_wait();
        let chunk = self.client.or_gone(timeout(limit, body.next())).await?;
        let chunk = chunk.map_err(|_| {
            let message = "nothing more of the body came within service.bulk_chunk_wait_ms";
            ApiError::client(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
        })?;
        let chunk = chunk.transpose();
        chunk.map_err(|_| ApiError::invalid_body("the body broke off"))
    }

    async fn take_line(&mut self, line: &[u8]) -> Result<(), ApiError> {
        self.check_line_length(line.len())?;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let record = serde_json::from_slice(line)
            .map_err(|error| self.invalid(&format!("not a record: {error}")))?;
        self.take(record).await
    }

    async fn take(&mut self, record: RecordInput) -> Result<(), ApiError> {
        record.check(self.app).map_err(|why| self.invalid(&why))?;
        self.scope
            .write("tenant_id", Some(record.tenant_id))
            .map_err(|why| self.invalid(&why))?;
        if self.tenant_of(record.client_id).await? != Some(record.tenant_id) {
            return Err(self.invalid("`client_id` names no client of this tenant"));
        }
        self.tenants.insert(record.tenant_id);
        self.loader.push(record.into()).await?;
        self.rows += 1;
        Ok(())
    }

    /// The tenant of a client, which never changes.
    async fn tenant_of(&mut self, client: i64) -> Result<Option<i64>, ApiError> {
        if let Some(tenant) = self.app.generator.tenant_of(client) {
            return Ok(Some(tenant));
        }
        if let Some(tenant) = self.newcomers.get(&client) {
            return Ok(Some(*tenant));
        }
        let tenant = tenant_of(self.app, client).await?;
        self.newcomers.extend(tenant.map(|tenant| (client, tenant)));
        Ok(tenant)
    }

    fn check_line_length(&self, bytes: usize) -> Result<(), ApiError> {
        let max = self.app.settings.service.bulk_line_max_bytes;
        if bytes > max {
            return Err(self.invalid(&format!("longer than {max} bytes")));
        }
        Ok(())
    }

    fn invalid(&self, why: &str) -> ApiError {
        ApiError::invalid_body(format!("record {}: {why}", self.rows + 1))
    }
}

impl RecordInput {
    pub(super) fn check(&self, app: &App) -> Result<(), String> {
        if !app.has_tenant(self.tenant_id) {
            return Err("`tenant_id` names no tenant".to_owned());
        }
        check_day("diagnosed_on", &self.diagnosed_on)?;
        check_code(&self.code)?;
        check_one_of("stage", &self.stage, &STAGES)?;
        check_line("city", &self.city)?;
        if !(0..=COST_MAX_CENTS).contains(&self.cost_cents) {
            return Err(format!("`cost_cents` must be from 0 to {COST_MAX_CENTS}"));
        }
        Ok(())
    }
}

impl From<RecordInput> for Row {
    fn from(record: RecordInput) -> Self {
        vec![
            record.tenant_id.into(),
            record.client_id.into(),
            record.diagnosed_on.into(),
            record.code.into(),
            record.stage.into(),
            record.city.into(),
            record.cost_cents.into(),
        ]
    }
}

impl Format {
    /// What a file of it is called after the dot.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    fn content_disposition(self) -> &'static str {
        match self {
            Self::Csv => "attachment; filename=\"records.csv\"",
            Self::Ndjson => "attachment; filename=\"records.ndjson\"",
        }
    }

    /// What stands before the first row.
    pub(super) fn head(self) -> Option<Bytes> {
        let names: Vec<&str> = RECORDS.columns.iter().map(|column| column.name).collect();
        match self {
            Self::Csv => Some(format!("{}\n", names.join(",")).into()),
            Self::Ndjson => None,
        }
    }

    pub(super) fn write(self, rows: &[Row]) -> std::io::Result<Bytes> {
        let mut text = Vec::new();
        match self {
            Self::Csv => {
                let mut writer = csv::Writer::from_writer(&mut text);
                for row in rows {
                    for value in row {
                        match value {
                            Value::Integer(number) => writer.write_field(number.to_string())?,
                            Value::Text(text) => writer.write_field(text.as_ref())?,
                        }
                    }
                    writer.write_record(None::<&[u8]>)?;
                }
                writer.flush()?;
            }
            Self::Ndjson => {
                for row in rows {
                    let pairs = RECORDS.columns.iter().zip(row);
                    let object: Map<_, _> = pairs
                        .map(|(column, value)| (column.name.to_owned(), value.into()))
                        .collect();
                    serde_json::to_writer(&mut text, &object)?;
                    text.push(b'\n');
                }
            }
        }
        Ok(text.into())
    }
}

/// An ICD-10 code, such as `C50` or `C50.9`.
pub(super) fn check_code(code: &str) -> Result<(), String> {
    let (category, detail) = code.split_once('.').unwrap_or((code, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let category = category.as_bytes();
    let known = matches!(category, [b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9'])
        && (1..=2).contains(&detail.len())
        && digits(detail);
    if known {
        Ok(())
    } else {
        Err("`code` must be an ICD-10 code such as C50.9".to_owned())
    }
}

fn log_cut(error: BatchError) -> std::io::Error {
    tracing::error!(error = chain(&error), "an export was cut off");
    std::io::Error::other("the export was cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_codes() {
        let check = |code: &str, expected: bool| {
            assert_eq!(check_code(code).is_ok(), expected, "{code:?}");
        };
        check("C50", true);
        check("C50.9", true);
        check("C50.91", true);
        check("C50.", false);
        check("C50.999", false);
        check("c50", false);
        check("C5", false);
        check("C500", false);
        check("É50", false);
        check("", false);
        check("C50'--", false);
    }
}
