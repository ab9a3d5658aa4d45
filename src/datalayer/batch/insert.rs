//! Bulk insert (BA6): `COPY` on PostgreSQL, prepared multi-row statements on SQLite. Either way a
//! batch goes in whole or not at all.

use std::fmt::Write as _;
use std::panic::Location;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use super::BatchError;
use super::rows::{bind_all, within};
use super::table::{Column, Row, Table, Value, name_list};
use crate::datalayer::pool::{Connection, Pool};

/// Rows of one SQLite statement. More rows save little (the cost of a statement is spread over
/// 256 rows already) and come near the limit of 32,766 bound values.
pub(super) const SQLITE_STATEMENT_ROWS: usize = 256;

/// How a transaction that writes begins on SQLite: taking the write lock first keeps two writers from
/// each holding a read lock that the other waits for.
pub(super) const SQLITE_BEGIN: &str = "BEGIN IMMEDIATE";

/// `COPY` data is handed to the connection in pieces of about this size.
const COPY_CHUNK_BYTES: usize = 256 * 1024;

/// Inserts `rows`, each with a value for each of `columns`, in one atomic step, and gives their
/// number.
///
/// A batch that was begun is brought to its end even when the caller goes away: a connection left
/// in the middle of a `COPY` would greet its next user with an error.
///
/// # Errors
/// [`BatchError::RowShape`] before anything is sent, if a row does not fit; what the pool or the
/// database says otherwise. After an error none of the rows is there, or, where
/// [`BatchError::is_in_doubt`] says so, either none or all of them.
#[track_caller]
pub fn insert(
    pool: &Pool,
    table: &'static Table,
    columns: &'static [Column],
    rows: Vec<Row>,
) -> impl Future<Output = Result<u64, BatchError>> {
    insert_for(Location::caller(), pool, table, columns, rows)
}

/// The same for somebody else, whose place is reported where the connection rests.
pub(super) async fn insert_for(
    place: &'static Location<'static>,
    pool: &Pool,
    table: &'static Table,
    columns: &'static [Column],
    rows: Vec<Row>,
) -> Result<u64, BatchError> {
    check_shape(table, columns, &rows)?;
    if rows.is_empty() {
        return Ok(0);
    }
    let statement = ("insert into", table.name);
    let limit = pool.statement_timeout();
    let mut checkout = pool.acquire_for(place).await?;
    let activity = checkout.activity();
    let task = tokio::spawn(async move {
        let rows: Vec<&Row> = rows.iter().collect();
        let inserted = async {
            match checkout.connection() {
                Connection::Postgres(connection) => {
                    copy(connection, table.name, columns, &rows).await
                }
                Connection::Sqlite(connection) => {
                    let mut transaction = connection.begin_with(SQLITE_BEGIN).await?;
                    let inserted = insert_many(&mut transaction, table, columns, &rows).await?;
                    transaction.commit().await?;
                    Ok(inserted)
                }
            }
        };
        within(&activity, limit, statement, inserted).await
    });
    task.await
        .unwrap_or_else(|gone| match gone.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(gone) => Err(BatchError::Database {
                action: statement.0,
                table: statement.1,
                source: sqlx::Error::Io(gone.into()),
            }),
        })
}

fn check_shape(table: &Table, columns: &[Column], rows: &[Row]) -> Result<(), BatchError> {
    match rows.iter().position(|row| !fits(columns, row)) {
        Some(row) => Err(BatchError::RowShape {
            table: table.name,
            row,
        }),
        None => Ok(()),
    }
}

/// Whether a row has a value of the right kind for each column.
pub(super) fn fits(columns: &[Column], row: &Row) -> bool {
    row.len() == columns.len()
        && row
            .iter()
            .zip(columns)
            .all(|(value, column)| value.kind() == column.kind)
}

/// One `COPY` is one statement, and a statement is atomic.
pub(super) async fn copy(
    connection: &mut PgConnection,
    table: &str,
    columns: &[Column],
    rows: &[&Row],
) -> sqlx::Result<u64> {
    let statement = format!("COPY {table} ({}) FROM STDIN", name_list(columns));
    let mut sink = connection.copy_in_raw(&statement).await?;
    let mut text = String::with_capacity(COPY_CHUNK_BYTES + 4096);
    for row in rows {
        write_copy_line(&mut text, row);
        if text.len() >= COPY_CHUNK_BYTES {
            sink.send(text.as_bytes()).await?;
            text.clear();
        }
    }
    sink.send(text.as_bytes()).await?;
    sink.finish().await
}

/// The text format of `COPY`: tabs between values, a line a row, and a backslash before what would
/// be mistaken for either (PostgreSQL manual, COPY, "Text Format").
fn write_copy_line(line: &mut String, row: &Row) {
    for (index, value) in row.iter().enumerate() {
        if index > 0 {
            line.push('\t');
        }
        match value {
            // Writing into a string cannot fail.
            Value::Integer(number) => _ = write!(line, "{number}"),
            Value::Text(text) => {
                for c in text.chars() {
                    match c {
                        '\\' => line.push_str("\\\\"),
                        '\n' => line.push_str("\\n"),
                        '\r' => line.push_str("\\r"),
                        '\t' => line.push_str("\\t"),
                        other => line.push(other),
                    }
                }
            }
        }
    }
    line.push('\n');
}

/// Multi-row statements within the transaction of the caller.
pub(super) async fn insert_many(
    connection: &mut SqliteConnection,
    table: &Table,
    columns: &[Column],
    rows: &[&Row],
) -> sqlx::Result<u64> {
    let mut inserted = 0;
    for chunk in rows.chunks(SQLITE_STATEMENT_ROWS) {
        let statement = format!(
            "INSERT INTO {} ({}) {}",
            table.name,
            name_list(columns),
            values_clause(columns.len(), chunk.len()),
        );
        let query = sqlx::query(AssertSqlSafe(statement))
            // The odd last statement would push the others out of the statement cache.
            .persistent(chunk.len() == SQLITE_STATEMENT_ROWS);
        inserted += bind_all(query, chunk.iter().copied().flatten())
            .execute(&mut *connection)
            .await?
            .rows_affected();
    }
    Ok(inserted)
}

/// `VALUES` with a place for every value.
pub(super) fn values_clause(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("VALUES {}", vec![row; rows].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(row: Row, expected: &str) {
        let mut line = String::new();
        write_copy_line(&mut line, &row);
        assert_eq!(line, expected);
    }

    #[test]
    fn copy_lines_are_escaped() {
        check(vec![(-7).into(), "plain".into()], "-7\tplain\n");
        check(vec!["a\tb".into(), "c\nd\re".into()], "a\\tb\tc\\nd\\re\n");
        // Unescaped, these two would be the end of the data and a null.
        check(vec!["\\.".into(), "\\N".into()], "\\\\.\t\\\\N\n");
        check(vec!["".into(), "ü'\"".into()], "\tü'\"\n");
    }

    #[test]
    fn statements_have_a_place_for_every_value() {
        assert_eq!(values_clause(2, 2), "VALUES (?, ?), (?, ?)");
    }
}
