//! Streaming a table in constant memory (BA1): a cursor, read batch by batch, each batch as large
//! as the memory allows.
//!
//! The reader is a task that holds one connection and hands batches over one at a time; it waits
//! while the consumer is busy, and ends, with its cursor, when the consumer goes away. So at most
//! three batches exist at once: one being read, one waiting, one being used.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::mpsc;

use super::BatchError;
use super::memory::MemorySource;
use super::pace::Pace;
use super::rows::{bind_all, read_row};
use super::table::{Column, Row, Table, Value, name_list};
use crate::datalayer::config::BatchSettings;
use crate::datalayer::pool::{Connection, Pool};

/// What to stream: some columns of the rows that match, in the order of their ids.
#[derive(Debug, Clone)]
pub struct Select {
    /// The table.
    pub table: &'static Table,
    /// The columns of the rows that come.
    pub columns: Vec<Column>,
    /// Columns that must have these values.
    pub filters: Vec<(Column, Value)>,
}

type Batch = Result<Vec<Row>, BatchError>;

/// Streams what `select` asks for, in batches that are never empty. An error is the last item.
///
/// Must be called within a Tokio runtime.
pub fn stream_batches(
    pool: Pool,
    select: Select,
    settings: &BatchSettings,
    memory: Arc<dyn MemorySource>,
) -> impl Stream<Item = Batch> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    let pace = Pace::new(settings, memory);
    tokio::spawn(async move {
        if let Err(error) = read(&pool, &select, pace, &sender).await {
            // Nobody listening any more is the consumer's good right.
            let _ = sender.send(Err(error)).await;
        }
    });
    stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|batch| (batch, receiver))
    })
}

async fn read(
    pool: &Pool,
    select: &Select,
    mut pace: Pace,
    sender: &mpsc::Sender<Batch>,
) -> Result<(), BatchError> {
    let mut checkout = pool.acquire().await?;
    match checkout.connection() {
        Connection::Postgres(connection) => {
            read_postgres(connection, select, &mut pace, sender).await
        }
        Connection::Sqlite(connection) => read_sqlite(connection, select, &mut pace, sender).await,
    }
}

/// A cursor lives in a transaction; dropping that, however the reading ends, closes it.
async fn read_postgres(
    connection: &mut PgConnection,
    select: &Select,
    pace: &mut Pace,
    sender: &mpsc::Sender<Batch>,
) -> Result<(), BatchError> {
    let failed = |source| select.failed(source);
    let mut transaction = connection.begin().await.map_err(failed)?;
    let declare = format!("DECLARE batch NO SCROLL CURSOR FOR {}", select.sql());
    let declare = sqlx::query(AssertSqlSafe(declare)).persistent(false);
    bind_all(declare, select.values())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    loop {
        let fetch = format!("FETCH FORWARD {} FROM batch", pace.rows());
        let rows = sqlx::query(AssertSqlSafe(fetch))
            .persistent(false)
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        if rows.is_empty() {
            return transaction.commit().await.map_err(failed);
        }
        let batch: sqlx::Result<Vec<Row>> = rows
            .iter()
            .map(|row| read_row(row, &select.columns))
            .collect();
        drop(rows);
        if sender.send(Ok(batch.map_err(failed)?)).await.is_err() {
            return Ok(());
        }
        pace.step().await?;
    }
}

/// SQLite steps through a statement row by row; the driver reads at most a few rows ahead.
async fn read_sqlite(
    connection: &mut SqliteConnection,
    select: &Select,
    pace: &mut Pace,
    sender: &mpsc::Sender<Batch>,
) -> Result<(), BatchError> {
    let failed = |source| select.failed(source);
    let query = bind_all(sqlx::query(AssertSqlSafe(select.sql())), select.values());
    let mut rows = query.fetch(connection);
    let mut batch = Vec::with_capacity(pace.rows());
    while let Some(row) = rows.next().await {
        batch.push(
            row.and_then(|row| read_row(&row, &select.columns))
                .map_err(failed)?,
        );
        if batch.len() >= pace.rows() {
            let full = std::mem::take(&mut batch);
            if sender.send(Ok(full)).await.is_err() {
                return Ok(());
            }
            pace.step().await?;
            batch.reserve(pace.rows());
        }
    }
    if !batch.is_empty() {
        let _ = sender.send(Ok(batch)).await;
    }
    Ok(())
}

impl Select {
    /// All columns of all rows of `table`.
    pub fn all(table: &'static Table) -> Self {
        Self {
            table,
            columns: table.columns.to_vec(),
            filters: Vec::new(),
        }
    }

    fn sql(&self) -> String {
        let mut sql = format!(
            "SELECT {} FROM {}",
            name_list(&self.columns),
            self.table.name
        );
        for (index, (column, _)) in self.filters.iter().enumerate() {
            let glue = if index == 0 { "WHERE" } else { "AND" };
            sql.push_str(&format!(" {glue} {} = ${}", column.name, index + 1));
        }
        sql.push_str(" ORDER BY id");
        sql
    }

    fn values(&self) -> impl Iterator<Item = &Value> {
        self.filters.iter().map(|(_, value)| value)
    }

    fn failed(&self, source: sqlx::Error) -> BatchError {
        BatchError::Database {
            action: "read from",
            table: self.table.name,
            source,
        }
    }
}
