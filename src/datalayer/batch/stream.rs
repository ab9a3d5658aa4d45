//! Streaming a table in constant memory (BA1): a cursor, read batch by batch, each batch as large
//! as the memory allows.
//!
//! The reader is a task that holds one connection and hands batches over one at a time; it waits
//! while the consumer is busy, though not for ever, and ends, with its cursor, when the consumer
//! goes away. So at most three batches exist at once: one being read, one waiting, one being used.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::mpsc;

use super::BatchError;
use super::memory::MemorySource;
use super::pace::Pace;
use super::rows::{bind_all, read_row, within};
use super::table::{Column, Row, Table, Value, name_list};
use crate::datalayer::config::BatchSettings;
use crate::datalayer::pool::{Activity, Connection, Pool, Statement};

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

/// What the reader hands over. A channel that closes without an end was cut off: whoever takes
/// that for the end of the rows would take a part for the whole.
enum Item {
    Rows(Vec<Row>),
    Failed(BatchError),
    End,
}

/// The reader's side of the channel.
struct Outlet {
    items: mpsc::Sender<Item>,
    patience: Duration,
}

/// How each statement of a reader is waited for.
struct Limited<'a> {
    activity: &'a Activity,
    limit: Duration,
    statement: Statement,
}

impl Limited<'_> {
    async fn within<T>(
        &self,
        answer: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, BatchError> {
        within(self.activity, self.limit, self.statement, answer).await
    }
}

/// The consumer is gone, or takes nothing.
struct Gone;

/// Streams what `select` asks for, in batches that are never empty. An error is the last item.
///
/// Must be called within a Tokio runtime.
#[track_caller]
pub fn stream_batches(
    pool: Pool,
    select: Select,
    settings: &BatchSettings,
    memory: Arc<dyn MemorySource>,
) -> impl Stream<Item = Batch> + Send + 'static {
    let (items, receiver) = mpsc::channel(1);
    let pace = Pace::new(settings, memory);
    let patience = Duration::from_millis(settings.consumer_limit_ms);
    let outlet = Outlet { items, patience };
    let table = select.table.name;
    let place = Location::caller();
    tokio::spawn(async move {
        let last = match read(&pool, place, &select, pace, &outlet).await {
            Ok(Ok(())) => Item::End,
            Ok(Err(Gone)) => return,
            Err(error) => Item::Failed(error),
        };
        // A consumer that is gone by now misses nothing.
        let _ = outlet.put(last).await;
    });
    stream::unfold(Some(receiver), move |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Item::Rows(rows)) => Some((Ok(rows), Some(receiver))),
            Some(Item::Failed(error)) => Some((Err(error), None)),
            Some(Item::End) => None,
            None => Some((Err(BatchError::Cut { table }), None)),
        }
    })
}

async fn read(
    pool: &Pool,
    place: &'static Location<'static>,
    select: &Select,
    mut pace: Pace,
    outlet: &Outlet,
) -> Result<Result<(), Gone>, BatchError> {
    let mut checkout = pool.acquire_for(place).await?;
    let activity = checkout.activity();
    match checkout.connection() {
        Connection::Postgres(connection) => {
            let limited = Limited {
                activity: &activity,
                limit: pool.statement_timeout(),
                statement: select.statement(),
            };
            read_postgres(connection, select, limited, &mut pace, outlet).await
        }
        Connection::Sqlite(connection) => {
            read_sqlite(connection, select, &activity, &mut pace, outlet).await
        }
    }
}

/// A cursor lives in a transaction; dropping that, however the reading ends, closes it.
async fn read_postgres(
    connection: &mut PgConnection,
    select: &Select,
    limited: Limited<'_>,
    pace: &mut Pace,
    outlet: &Outlet,
) -> Result<Result<(), Gone>, BatchError> {
    let failed = |source| select.failed(source);
    let mut transaction = limited
        .within(limited.activity.begin(connection.begin()))
        .await?;
    let declare = format!("DECLARE batch NO SCROLL CURSOR FOR {}", select.sql());
    let declare = sqlx::query(AssertSqlSafe(declare)).persistent(false);
    let declare = bind_all(declare, select.values()).execute(&mut *transaction);
    limited.within(declare).await?;
    loop {
        let fetch = format!("FETCH FORWARD {} FROM batch", pace.rows());
        let fetch = sqlx::query(AssertSqlSafe(fetch)).persistent(false);
        let rows = limited.within(fetch.fetch_all(&mut *transaction)).await?;
        if rows.is_empty() {
            limited.within(transaction.commit()).await?;
            return Ok(Ok(()));
        }
        let batch: sqlx::Result<Vec<Row>> = rows
            .iter()
            .map(|row| read_row(row, &select.columns))
            .collect();
        drop(rows);
        if let Err(gone) = outlet.put(Item::Rows(batch.map_err(failed)?)).await {
            return Ok(Err(gone));
        }
        pace.step().await?;
    }
}

/// SQLite steps through a statement row by row; the driver reads at most a few rows ahead.
async fn read_sqlite(
    connection: &mut SqliteConnection,
    select: &Select,
    activity: &Activity,
    pace: &mut Pace,
    outlet: &Outlet,
) -> Result<Result<(), Gone>, BatchError> {
    let failed = |source| select.failed(source);
    // Each batch is a statement; while the consumer is waited for, the connection rests.
    let step = || activity.run(select.statement());
    let mut stepping = step();
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
            drop(stepping);
            if let Err(gone) = outlet.put(Item::Rows(full)).await {
                return Ok(Err(gone));
            }
            pace.step().await?;
            batch.reserve(pace.rows());
            stepping = step();
        }
    }
    drop(stepping);
    if !batch.is_empty() {
        return Ok(outlet.put(Item::Rows(batch)).await);
    }
    Ok(Ok(()))
}

impl Outlet {
    async fn put(&self, item: Item) -> Result<(), Gone> {
        self.items
            .send_timeout(item, self.patience)
            .await
            .map_err(|_| Gone)
    }
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

    fn statement(&self) -> Statement {
        ("read from", self.table.name)
    }

    fn failed(&self, source: sqlx::Error) -> BatchError {
        let (action, table) = self.statement();
        BatchError::Database {
            action,
            table,
            source,
        }
    }
}
