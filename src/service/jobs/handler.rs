//! What each kind of job does.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::export::export;
use super::files::Files;
use super::input::{Dashboard, Notification, Task};
use super::upkeep::purge;
use crate::datalayer::breaker::BreakerError;
use crate::datalayer::cache::Owner;
use crate::datalayer::jobs::{Failure, Handler, Job, Progress, Workers};
use crate::service::analytics;
use crate::service::app::App;
use crate::service::caller::Scope;
use crate::service::error::{ApiError, LoadError};
use crate::service::notify;
use crate::service::webhook::WebhookError;

/// Does what jobs say, with the state of one service.
struct JobHandler {
    app: Arc<App>,
}

/// Starts the workers of a service, whose data are there.
pub(in crate::service) fn start(app: Arc<App>) -> Workers {
    Workers::start(app.jobs.clone(), Arc::new(JobHandler { app }))
}

#[async_trait]
impl Handler for JobHandler {
    async fn run(&self, job: &Job, progress: &Progress) -> Result<Json, Failure> {
        let app = &self.app;
        let mut task =
            Task::read(app, job.queue, &job.kind, &job.payload).map_err(Failure::lasting)?;
        // Of a job that was taken in before this was asked there.
        task.keep_to(Scope(job.owner.known_tenant()))
            .map_err(Failure::lasting)?;
        match task {
            Task::Export(task) => Ok(export(app, job, &task, progress).await?),
            Task::Dashboard(task) => Ok(dashboard(app, job, &task, progress).await?),
            Task::Notification(task) => notification(app, job, &task, progress).await,
            Task::Purge => Ok(purge(app, progress).await?),
        }
    }

    async fn discard(&self, job: &Job) {
        let task = Task::read(&self.app, job.queue, &job.kind, &job.payload);
        let Some((extension, _)) = task.ok().and_then(|task| task.file()) else {
            return;
        };
        if let Err(error) = Files::of(&self.app).discard(job, extension).await {
            // The age of the file will remove it.
            tracing::warn!(id = %job.id, ?error, "the file of a lost job stays");
        }
    }
}

/// The aggregates of the dashboard as they are now, in a file.
async fn dashboard(
    app: &App,
    job: &Job,
    task: &Dashboard,
    progress: &Progress,
) -> Result<Json, ApiError> {
    progress.set(0, 1);
    let owner = task.tenant.map_or(Owner::All, Owner::Tenant);
    let report = analytics::load(app, owner).await;
    let report = report.map_err(|error| match error {
        LoadError::Batch(error) => error.into(),
        error => ApiError::internal(error.to_string()),
    })?;
    let mut draft = Files::of(app).begin(job, "json").await?;
    draft.write(&report).await?;
    let bytes = draft.publish().await?;
    progress.set(1, 1);
    Ok(json!({ "bytes": bytes }))
}

/// One call of the webhook. An attempt whose answer got lost is made again, so the webhook may hear of a
/// notification twice: `job_id` says that it is the same.
async fn notification(
    app: &App,
    job: &Job,
    task: &Notification,
    progress: &Progress,
) -> Result<Json, Failure> {
    progress.set(0, 1);
    let Some(webhook) = &app.webhook else {
        let message = "the service was started without a webhook";
        return Err(Failure::passing(message));
    };
    let mut told =
        notify::about(app, job.owner.known_tenant(), task.client_id, &task.message).await?;
    told["job_id"] = job.id.to_string().into();
    match webhook.post(&told).await {
        Ok(status) => {
            progress.set(1, 1);
            Ok(json!({ "status": status.as_u16() }))
        }
        Err(BreakerError::Open { retry_after }) => Err(Failure {
            not_before: retry_after,
            ..Failure::passing("the webhook failed too often to be asked now")
        }),
        Err(BreakerError::Failed(error)) => Err(undelivered(&error)),
    }
}

fn undelivered(error: &WebhookError) -> Failure {
    Failure {
        retry: error.is_failure(),
        ..Failure::passing(error.to_string())
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let retry = error.is_ours();
        Self {
            retry,
            ..Self::passing(error.told_in_log())
        }
    }
}
