//! Requests about jobs.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::files::{Files, read_in_pieces};
use super::input::{Export, ExportRequest, JobInput, RECORDS_KIND, Task, priority};
use super::view::{Viewer, describe, file_expires_at};
use crate::datalayer::jobs::{Job, JobError, JobFilter, JobState, NewJob, Queue};
use crate::service::app::App;
use crate::service::body::read_body;
use crate::service::caller::Scope;
use crate::service::error::ApiError;
use crate::service::params::{Id, Params, known, page_rows};
use crate::service::write::to_the_end;

/// `POST /jobs`: takes a job in.
pub(in crate::service) async fn create(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let input: JobInput = read(&app, body, "a job")?;
    let JobInput {
        queue,
        kind,
        priority,
        payload,
    } = input;
    take_in(app, viewer, queue, kind, priority, payload).await
}

/// `POST /exports`: a job that writes records to a file.
pub(in crate::service) async fn create_export(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let input: ExportRequest = read(&app, body, "an export")?;
    let (format, filter) = (input.format, input.filter);
    let payload = serde_json::to_value(Export { format, filter });
    let payload = payload.map_err(|error| ApiError::internal(error.to_string()))?;
    let kind = RECORDS_KIND.to_owned();
    take_in(app, viewer, Queue::Exports, kind, input.priority, payload).await
}

async fn take_in(
    app: Arc<App>,
    viewer: Viewer,
    queue: Queue,
    kind: String,
    given: Option<i64>,
    mut payload: Value,
) -> Result<Response, ApiError> {
    let priority = priority(&app, given)?;
    let mut task = Task::read(&app, queue, &kind, &payload).map_err(ApiError::invalid_body)?;
    let scope = Scope(viewer.owner.known_tenant());
    task.keep_to(scope).map_err(ApiError::invalid_body)?;
    if scope.0.is_some() {
        let kept = task.payload();
        let kept = kept.map_err(|error| ApiError::internal(error.to_string()))?;
        payload = kept.unwrap_or(payload);
    }
    if task.file().is_some() {
        may_have_a_file(&app, &viewer).await?;
    }
    match task {
        Task::Purge if !viewer.is_admin => {
            let message = "maintenance is for whoever runs the service";
            let status = StatusCode::FORBIDDEN;
            return Err(ApiError::client(status, "admin_only", message));
        }
        Task::Notification(_) if app.webhook.is_none() => {
            let message = "the service was started without a webhook";
            let status = StatusCode::NOT_IMPLEMENTED;
            return Err(ApiError::client(status, "no_webhook", message));
        }
        _ => {}
    }
    let new = NewJob {
        queue,
        kind,
        priority,
        payload,
        owner: viewer.owner,
    };
    to_the_end(|| async move {
        let job = app.jobs.enqueue(new).await.map_err(|error| match error {
            JobError::Batch(error) => ApiError::from_write(&error),
            error => error.into(),
        })?;
        let location = [(LOCATION, format!("/api/v1/jobs/{}", job.id))];
        let body = Json(describe(&app, &job, &[]));
        Ok((StatusCode::ACCEPTED, location, body).into_response())
    })
    .await
}

/// Whether one more file may be kept for a caller. Two requests at once may both see the last free place.
async fn may_have_a_file(app: &App, viewer: &Viewer) -> Result<(), ApiError> {
    let settings = &app.settings.jobs;
    let (max, kept) = (
        settings.files_per_caller_max,
        Duration::from_secs(settings.files_kept_s),
    );
    let queues = [Queue::Exports, Queue::Reports];
    if app.jobs.kept(&viewer.owner, &queues, kept).await? < max {
        return Ok(());
    }
    let message = format!("{max} files of this caller are kept or asked for already");
    let status = StatusCode::TOO_MANY_REQUESTS;
    Err(ApiError::client(status, "too_many_files", message))
}

/// `GET /jobs/{id}`.
pub(in crate::service) async fn detail(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Id(id): Id,
) -> Result<Json<Value>, ApiError> {
    let job = viewer.find(&app, &id).await?;
    Ok(Json(described(&app, &[job]).await?.remove(0)))
}

/// `GET /jobs?queue=&state=&limit=&cursor=`: one page of the history, newest first.
pub(in crate::service) async fn list(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let [queue, state, limit, cursor] = params.only(["queue", "state", "limit", "cursor"])?;
    let limit = page_rows(&app, limit)?;
    let filter = JobFilter {
        queue: known("queue", queue, Queue::named)?,
        state: known("state", state, JobState::named)?,
        owner: (!viewer.is_admin).then_some(viewer.owner),
        before: known("cursor", cursor, |text| text.parse::<Uuid>().ok())?,
    };
    // One more than is shown says whether there is more.
    let mut jobs = app.jobs.list(&filter, limit + 1).await?;
    let is_last = jobs.len() as u64 <= limit;
    jobs.truncate(limit as usize);
    let next = jobs.last().filter(|_| !is_last).map(|job| job.id);
    let items = described(&app, &jobs).await?;
    Ok(Json(json!({ "items": items, "next": next })))
}

/// `DELETE /jobs/{id}`: calls a job off. 200 when it is cancelled, 202 when it will be: it runs somewhere.
pub(in crate::service) async fn cancel(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let job = viewer.find(&app, &id).await?;
    to_the_end(|| async move {
        let Some(job) = app.jobs.cancel(job.id).await? else {
            let message = "the job has ended already";
            return Err(ApiError::client(StatusCode::CONFLICT, "job_ended", message));
        };
        let status = match job.state {
            JobState::Cancelled => StatusCode::OK,
            _ => StatusCode::ACCEPTED,
        };
        let body = described(&app, &[job]).await?.remove(0);
        Ok((status, Json(body)).into_response())
    })
    .await
}

/// `GET /jobs/statistics`: of every queue, whoever's jobs are in it.
pub(in crate::service) async fn statistics(
    State(app): State<Arc<App>>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "queues": app.jobs.statistics().await? })))
}

/// `GET /jobs/{id}/file` and `GET /exports/{id}/file`: what a job has written, while it is kept.
pub(in crate::service) async fn file(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let job = viewer.find(&app, &id).await?;
    let task = Task::read(&app, job.queue, &job.kind, &job.payload).map_err(ApiError::internal)?;
    let Some((extension, content_type)) = task.file() else {
        return Err(ApiError::not_found("file"));
    };
    if job.state != JobState::Done {
        let state = job.state.name();
        let message = format!("the job is {state}: there is a file once it is done");
        return Err(ApiError::client(StatusCode::CONFLICT, "not_done", message));
    }
    let is_kept = file_expires_at(&app, &job).is_some_and(|end| Timestamp::now() < end);
    let opened = match is_kept {
        true => Files::of(&app).open(&job, extension).await?,
        false => None,
    };
    let Some((file, bytes)) = opened else {
        let message = "the file is not kept any more";
        return Err(ApiError::client(StatusCode::GONE, "file_gone", message));
    };
    let name = format!("attachment; filename=\"{}.{extension}\"", job.kind);
    let headers = [
        (CONTENT_TYPE, content_type.to_owned()),
        (CONTENT_LENGTH, bytes.to_string()),
        (CONTENT_DISPOSITION, name),
    ];
    Ok((headers, Body::from_stream(read_in_pieces(file))).into_response())
}

async fn described(app: &App, jobs: &[Job]) -> Result<Vec<Value>, ApiError> {
    let errors = app.jobs.errors(jobs).await?;
    Ok(jobs.iter().map(|job| describe(app, job, &errors)).collect())
}

fn read<T: DeserializeOwned>(
    app: &App,
    body: Result<Bytes, BytesRejection>,
    what: &str,
) -> Result<T, ApiError> {
    let body = read_body(app, body)?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid_body(format!("not {what}: {error}")))
}
