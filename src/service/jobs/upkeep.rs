//! The maintenance job: what is older than it may be is removed, files first and then the history that they
//! are found through.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::files::Files;
use super::input::PURGE;
use crate::datalayer::jobs::{NewJob, Owner, Progress, Queue};
use crate::service::app::App;
use crate::service::batches;
use crate::service::error::{ApiError, chain};

/// The first time comes after one part in so many of the time between two: a service that has just been
/// started has other things to do, and one that is started often still gets there.
const FIRST_SHARE: u32 = 60;

/// Asks for maintenance as often as the settings say, once for all services on one database.
pub(in crate::service) async fn schedule(app: &App) -> Infallible {
    let settings = &app.settings.jobs;
    let period = Duration::from_secs(settings.maintenance_every_s);
    sleep(period / FIRST_SHARE).await;
    loop {
        let new = NewJob {
            queue: Queue::Maintenance,
            kind: PURGE.to_owned(),
            priority: i64::from(settings.priority_default),
            payload: json!({}),
            owner: Owner::default(),
        };
        if let Err(error) = app.jobs.enqueue_every(period, new).await {
            let error = chain(&error);
            tracing::warn!(
                error,
                "maintenance could not be asked for; it will be next time"
            );
        }
        sleep(period).await;
    }
}

/// Removes old files and old history, of jobs and of batch operations; says how many of each. What of one
/// cannot be removed keeps nothing of the others.
pub(super) async fn purge(app: &App, progress: &Progress) -> Result<Json, ApiError> {
    let settings = &app.settings.jobs;
    progress.set(0, 3);
    let kept = Duration::from_secs(settings.files_kept_s);
    let files = Files::of(app).purge(kept).await;
    progress.set(1, 3);
    let kept = Duration::from_secs(settings.history_kept_s);
    let mut jobs = 0;
    loop {
        let purged = app.jobs.purge(kept).await?;
        jobs += purged;
        if purged == 0 {
            break;
        }
    }
    progress.set(2, 3);
    let runs = batches::forget_old(app).await?;
    progress.set(3, 3);
    Ok(json!({ "files": files?, "jobs": jobs, "batch_operations": runs }))
}
