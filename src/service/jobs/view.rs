//! Who may see a job, and what of it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::input::Task;
use crate::datalayer::jobs::{FailedAttempt, Job, JobError, JobState, Owner};
use crate::service::app::App;
use crate::service::caller::Caller;
use crate::service::error::{ApiError, chain};

/// Who asks about jobs.
pub(in crate::service) struct Viewer {
    pub(super) owner: Owner,
    pub(super) is_admin: bool,
}

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let admin = app.admin.as_ref();
        let is_admin = admin.is_some_and(|token| token.is_shown(&parts.headers));
        Ok(Self {
            owner: Owner {
                // The admin's jobs are limited to no tenant.
                tenant: caller.tenant.filter(|_| !is_admin).unwrap_or(0),
                name: caller.key(),
            },
            is_admin,
        })
    }
}

impl Viewer {
    /// A job that this caller may see. One of somebody else is not told from one that there is not.
    pub(super) async fn find(&self, app: &App, id: &str) -> Result<Job, ApiError> {
        let id: Uuid = id.parse().map_err(|_| {
            let message = "the id of a job is a UUID";
            ApiError::client(StatusCode::BAD_REQUEST, "invalid_id", message)
        })?;
        let job = app.jobs.find(id).await?;
        let shown = job.filter(|job| self.is_admin || job.owner == self.owner);
        shown.ok_or_else(|| ApiError::not_found("job"))
    }
}

/// Until when the file of a job that is done is kept; nothing where it has none.
pub(super) fn file_expires_at(app: &App, job: &Job) -> Option<Timestamp> {
    let is_done = job.state == JobState::Done;
    let ended_at = job.ended_at.filter(|_| is_done)?;
    let task = Task::read(app, job.queue, &job.kind, &job.payload).ok()?;
    task.file()?;
    let kept = Duration::from_secs(app.settings.jobs.files_kept_s);
    ended_at
        .checked_add(SignedDuration::try_from(kept).ok()?)
        .ok()
}

/// A job as its caller sees it, with those of `errors` that are its own.
pub(super) fn describe(app: &App, job: &Job, errors: &[FailedAttempt]) -> Json {
    let errors: Vec<Json> = errors
        .iter()
        .filter(|error| error.job == job.id)
        .map(|error| {
            json!({
                "attempt": error.attempt,
                "at": error.failed_at.to_string(),
                "message": error.message,
            })
        })
        .collect();
    let file = file_expires_at(app, job).map(|expires_at| {
        json!({
            "href": format!("/api/v1/jobs/{}/file", job.id),
            "expires_at": expires_at.to_string(),
        })
    });
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": job.id,
        "queue": job.queue,
        "kind": job.kind,
        "priority": job.priority,
        "payload": job.payload,
        "state": job.state,
        "progress": { "done": job.progress_done, "total": job.progress_total },
        "attempts": job.attempt,
        "attempts_max": job.attempts_max,
        "cancel_requested": job.cancel_requested,
        "errors": errors,
        "result": job.result,
        "file": file,
        "created_at": job.created_at.to_string(),
        "due_at": job.due_at.to_string(),
        "started_at": time(job.started_at),
        "ended_at": time(job.ended_at),
    })
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Batch(error) => error.into(),
            JobError::Full { .. } => {
                let message = "as many jobs as may be wait already";
                Self::unavailable("queue_full", message).caused_by(&error)
            }
            JobError::CallerFull { per_caller_max, .. } => {
                let message = format!("{per_caller_max} jobs of this caller wait or run already");
                Self::client(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", message)
            }
            JobError::Row { .. } => Self::internal(chain(&error)),
        }
    }
}
