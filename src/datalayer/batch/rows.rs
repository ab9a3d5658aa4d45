//! Values into queries and out of rows, the same for both databases.

use std::panic::Location;
use std::time::Duration;

use sqlx::query::Query;
use sqlx::{ColumnIndex, Database, Decode, Encode, SqlSafeStr, SqlStr, Type};
use tokio::time::timeout;

use super::BatchError;
use super::table::{Column, Kind, Row, Value};
use crate::datalayer::pool::{Activity, Connection, Pool, Statement};

/// Runs one statement with `$1`-style parameters and reads `columns` from the rows that it gives.
///
/// # Errors
/// What the pool or the database says; `action` and `table` name the statement there.
#[track_caller]
pub fn fetch_rows(
    pool: &Pool,
    statement: Statement,
    sql: impl SqlSafeStr,
    values: &[Value],
    columns: &[Column],
) -> impl Future<Output = Result<Vec<Row>, BatchError>> {
    let place = Location::caller();
    let sql = sql.into_sql_str();
    async move {
        let mut checkout = pool.acquire_for(place).await?;
        let activity = checkout.activity();
        let fetched = fetch(checkout.connection(), sql, values, columns);
        within(&activity, pool.statement_timeout(), statement, fetched).await
    }
}

pub(super) async fn fetch(
    connection: Connection<'_>,
    sql: SqlStr,
    values: &[Value],
    columns: &[Column],
) -> sqlx::Result<Vec<Row>> {
    match connection {
        Connection::Postgres(connection) => {
            let rows = bind_all(sqlx::query(sql), values).fetch_all(connection);
            let rows = rows.await?;
            rows.iter().map(|row| read_row(row, columns)).collect()
        }
        Connection::Sqlite(connection) => {
            let rows = bind_all(sqlx::query(sql), values).fetch_all(connection);
            let rows = rows.await?;
            rows.iter().map(|row| read_row(row, columns)).collect()
        }
    }
}

pub(super) async fn execute(
    connection: Connection<'_>,
    sql: SqlStr,
    values: &[Value],
) -> sqlx::Result<u64> {
    Ok(match connection {
        Connection::Postgres(connection) => {
            let executed = bind_all(sqlx::query(sql), values).execute(connection);
            executed.await?.rows_affected()
        }
        Connection::Sqlite(connection) => {
            let executed = bind_all(sqlx::query(sql), values).execute(connection);
            executed.await?.rows_affected()
        }
    })
}

/// What `answer` gives, if the database gives it in time. An answer that is not waited for any more
/// leaves its connection in the middle of a statement; the checkout that holds it sees to that.
pub(super) async fn within<T>(
    activity: &Activity,
    limit: Duration,
    statement: Statement,
    answer: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, BatchError> {
    let (action, table) = statement;
    let _running = activity.run(statement);
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|source| BatchError::Database {
            action,
            table,
            source,
        }),
        Err(_) => Err(BatchError::Silent {
            action,
            table,
            waited_ms: limit.as_millis() as u64,
        }),
    }
}

/// Binds `values` in order.
pub(crate) fn bind_all<'q, 'v, DB>(
    query: Query<'q, DB, DB::Arguments>,
    values: impl IntoIterator<Item = &'v Value>,
) -> Query<'q, DB, DB::Arguments>
where
    DB: Database,
    i64: Type<DB> + for<'e> Encode<'e, DB>,
    String: Type<DB> + for<'e> Encode<'e, DB>,
{
    values.into_iter().fold(query, |query, value| match value {
        Value::Integer(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.to_string()),
    })
}

/// Reads the values of `columns`, which are the first ones of `row`.
pub(crate) fn read_row<R>(row: &R, columns: &[Column]) -> sqlx::Result<Row>
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    i64: Type<R::Database> + for<'d> Decode<'d, R::Database>,
    String: Type<R::Database> + for<'d> Decode<'d, R::Database>,
{
    columns
        .iter()
        .enumerate()
        .map(|(index, column)| match column.kind {
            Kind::Integer => row.try_get::<i64, _>(index).map(Value::from),
            Kind::Text => row.try_get::<String, _>(index).map(Value::from),
        })
        .collect()
}
