//! Records into a file (BA8): batch by batch, in memory that does not grow with their number.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};
use sqlx::AssertSqlSafe;
use tokio::time::sleep;

use super::files::Files;
use super::input::Export;
use crate::datalayer::batch::{BatchError, Column, Row, Select, Value, fetch_rows, stream_batches};
use crate::datalayer::jobs::{Job, Progress};
use crate::service::app::App;
use crate::service::error::ApiError;

/// Writes the file of an export; says how many rows and bytes it has.
pub(super) async fn export(
    app: &App,
    job: &Job,
    task: &Export,
    progress: &Progress,
) -> Result<Json, ApiError> {
    let select = task.filter.select();
    let total = count(app, &select).await?;
    progress.set(0, total);
    let format = task.format;
    let mut draft = Files::of(app).begin(job, format.extension()).await?;
    if let Some(head) = format.head() {
        draft.write(&head).await?;
    }
    let pause = Duration::from_millis(app.settings.jobs.batch_pause_ms);
    let memory = Arc::clone(&app.memory);
    let batches = stream_batches(app.pool.clone(), select, &app.settings.batch, memory);
    let mut batches = std::pin::pin!(batches);
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let text = format.write(&batch);
        let text = text.map_err(|error| ApiError::internal(error.to_string()))?;
        draft.write(&text).await?;
        rows += batch.len() as i64;
        // Rows may have come since they were counted.
        progress.set(rows, total.max(rows));
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    progress.set(rows, rows);
    let bytes = draft.publish().await?;
    Ok(json!({ "rows": rows, "bytes": bytes }))
}

async fn count(app: &App, select: &Select) -> Result<i64, ApiError> {
    let mut sql = format!("SELECT count(*) FROM {}", select.table.name);
    for (index, (column, _)) in select.filters.iter().enumerate() {
        let glue = if index == 0 { "WHERE" } else { "AND" };
        sql.push_str(&format!(" {glue} {} = ${}", column.name, index + 1));
    }
    let values: Row = select
        .filters
        .iter()
        .map(|(_, value)| value.clone())
        .collect();
    let number = [Column::integer("rows")];
    let statement = ("count in", select.table.name);
    let counted = fetch_rows(&app.pool, statement, AssertSqlSafe(sql), &values, &number).await;
    let counted = match counted {
        // It serves the progress alone, and the rows themselves come batch by batch.
        Err(BatchError::Silent { .. }) => return Ok(0),
        counted => counted?,
    };
    match counted.first().and_then(|row| row.first()) {
        Some(Value::Integer(number)) => Ok(*number),
        _ => Err(ApiError::internal("a count gave no number")),
    }
}
