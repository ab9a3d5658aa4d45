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
const SQLITE_STATEMENT_ROWS: usize = 256;

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
/// database says otherwise. After an error none of the rows is there.
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
        let inserted = async {
            match checkout.connection() {
                Connection::Postgres(connection) => copy(connection, table, columns, &rows).await,
                Connection::Sqlite(connection) => {
                    insert_many(connection, table, columns, &rows).await
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
    let fits = |row: &Row| {
        row.len() == columns.len()
            && row
                .iter()
                .zip(columns)
                .all(|(value, column)| value.kind() == column.kind)
    };
    match rows.iter().position(|row| !fits(row)) {
        Some(row) => Err(BatchError::RowShape {
            table: table.name,
            row,
        }),
        None => Ok(()),
    }
}

/// One `COPY` is one statement, and a statement is atomic.
async fn copy(
    connection: &mut PgConnection,
    table: &Table,
    columns: &[Column],
    rows: &[Row],
) -> sqlx::Result<u64> {
    let statement = format!("COPY {} ({}) FROM STDIN", table.name, name_list(columns));
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

async fn insert_many(
    connection: &mut SqliteConnection,
    table: &Table,
    columns: &[Column],
    rows: &[Row],
) -> sqlx::Result<u64> {
    // Taking the write lock first keeps two writers from each holding a read lock that the other
    // waits for.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut inserted = 0;
    for chunk in rows.chunks(SQLITE_STATEMENT_ROWS) {
        let query = sqlx::query(AssertSqlSafe(multi_row_statement(
            table,
            columns,
            chunk.len(),
        )))
        // The odd last statement would push the others out of the statement cache.
        .persistent(chunk.len() == SQLITE_STATEMENT_ROWS);
        inserted += bind_all(query, chunk.iter().flatten())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
    }
    transaction.commit().await?;
    Ok(inserted)
}

fn multi_row_statement(table: &Table, columns: &[Column], rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    let values = vec![row; rows].join(", ");
    format!(
        "INSERT INTO {} ({}) VALUES {values}",
        table.name,
        name_list(columns)
    )
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
        static TABLE: Table = Table {
            name: "t",
            columns: &[Column::integer("id"), Column::text("name")],
        };
        assert_eq!(
            multi_row_statement(&TABLE, TABLE.columns, 2),
            "INSERT INTO t (id, name) VALUES (?, ?), (?, ?)"
        );
    }
}
