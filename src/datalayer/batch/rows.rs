//! Values into queries and out of rows, the same for both databases.

use sqlx::query::Query;
use sqlx::{ColumnIndex, Database, Decode, Encode, SqlSafeStr, Type};

use super::BatchError;
use super::table::{Column, Kind, Row, Value};
use crate::datalayer::pool::{Connection, Pool};

/// Runs one statement with `$1`-style parameters and reads `columns` from the rows that it gives.
///
/// # Errors
/// What the pool or the database says; `action` and `table` name the statement there.
pub async fn fetch_rows(
    pool: &Pool,
    (action, table): (&'static str, &'static str),
    sql: impl SqlSafeStr,
    values: &[Value],
    columns: &[Column],
) -> Result<Vec<Row>, BatchError> {
    let failed = |source| BatchError::Database {
        action,
        table,
        source,
    };
    let sql = sql.into_sql_str();
    let mut checkout = pool.acquire().await?;
    let rows: sqlx::Result<Vec<Row>> = match checkout.connection() {
        Connection::Postgres(connection) => {
            let rows = bind_all(sqlx::query(sql), values)
                .fetch_all(connection)
                .await;
            rows.map_err(failed)?
                .iter()
                .map(|row| read_row(row, columns))
                .collect()
        }
        Connection::Sqlite(connection) => {
            let rows = bind_all(sqlx::query(sql), values)
                .fetch_all(connection)
                .await;
            rows.map_err(failed)?
                .iter()
                .map(|row| read_row(row, columns))
                .collect()
        }
    };
    rows.map_err(failed)
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
