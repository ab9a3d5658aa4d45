//! One batch, in the transaction of its caller.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;
use sqlx::AssertSqlSafe;

use super::super::BatchError;
use super::super::insert::{SQLITE_STATEMENT_ROWS, copy, fits, insert_many, values_clause};
use super::super::rows::{bind_all, read_row};
use super::super::table::{Column, Row, Table, Value, name_list};
use super::super::transaction::Transaction;
use super::ledger::DeadLetter;
use super::statements::{self, Range, Statement};
use super::work::{Change, KEY_MAX, Operation, Plan, Task};
use crate::datalayer::pool::{Connection, DatabaseKind};

/// The rows of a batch before they are in their table, on PostgreSQL a temporary table.
const STAGE: &str = "batch_rows";

/// What one batch is about.
#[derive(Debug)]
pub(super) enum Batch {
    /// Rows of the source, the first of which has this place in it.
    Rows(u64, Vec<Row>),
    /// Ids of rows that match, ascending.
    Keys(Vec<i64>),
}

/// What a batch did, before it is committed.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) changed: u64,
    pub(super) dead: Vec<DeadLetter>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Rows(_, rows) => rows.len(),
            Self::Keys(keys) => keys.len(),
        }
    }

    /// The cursor behind this batch.
    pub(super) fn cursor(&self) -> i64 {
        match self {
            Self::Rows(from, rows) => *from as i64 + rows.len() as i64,
            Self::Keys(keys) => keys.last().copied().unwrap_or(i64::MIN),
        }
    }

    /// The least and the greatest id; places in the source, from 1, where the database gives the ids.
    pub(super) fn keys(&self, task: &Task) -> (i64, i64) {
        match self {
            Self::Rows(from, rows) => {
                let ids = keyed(task).then(|| rows.iter().filter_map(id));
                let ends = ids.and_then(|ids| Some((ids.clone().min()?, ids.max()?)));
                let from = *from as i64;
                ends.unwrap_or((from + 1, from + rows.len() as i64))
            }
            Self::Keys(keys) => (
                keys.first().copied().unwrap_or_default(),
                keys.last().copied().unwrap_or_default(),
            ),
        }
    }

    /// Two batches, in order. Of a batch of one row the second is empty.
    pub(super) fn split(self) -> (Self, Self) {
        let half = self.len().div_ceil(2);
        match self {
            Self::Rows(from, mut rows) => {
                let rest = rows.split_off(half);
                (Self::Rows(from, rows), Self::Rows(from + half as u64, rest))
            }
            Self::Keys(mut keys) => {
                let rest = keys.split_off(half);
                (Self::Keys(keys), Self::Keys(rest))
            }
        }
    }
}

/// Does what the plan says to the rows of a batch.
pub(super) async fn apply(
    transaction: &mut Transaction<'_>,
    plan: &Plan,
    batch: &Batch,
) -> Result<Applied, BatchError> {
    match (&plan.task, batch) {
        (Task::Write(columns), Batch::Rows(_, rows)) => {
            write(transaction, plan, columns, rows).await
        }
        (Task::Change(conditions, change), Batch::Keys(_)) => {
            let (first, last) = batch.keys(&plan.task);
            let range = Range {
                first,
                last,
                conditions,
            };
            let table = plan.table;
            let statements = match change {
                Change::Set(set) => vec![statements::set(table, set, range)],
                Change::Remove => vec![statements::remove(table, range)],
                Change::Copy(into, mapping) => {
                    vec![statements::copy(table, into, mapping, range)]
                }
                Change::Move(into, mapping) => {
                    statements::relocate(transaction.kind(), table, into, mapping, range)
                }
            };
            let mut changed = 0;
            for Statement { sql, values } in statements {
                let what = (plan.operation.name(), table.name);
                changed = transaction
                    .execute(what, AssertSqlSafe(sql), &values)
                    .await?;
            }
            Ok(Applied {
                changed,
                dead: Vec::new(),
            })
        }
        // A plan makes batches of one kind.
        (Task::Write(_), Batch::Keys(_)) | (Task::Change(..), Batch::Rows(..)) => {
            Ok(Applied::default())
        }
    }
}

/// The one row of a batch as it is laid aside; none where it has gone meanwhile.
pub(super) async fn describe(
    transaction: &mut Transaction<'_>,
    plan: &Plan,
    batch: &Batch,
) -> Result<Option<serde_json::Value>, BatchError> {
    match (&plan.task, batch) {
        (Task::Write(columns), Batch::Rows(_, rows)) => {
            Ok(rows.first().map(|row| as_json(columns, row)))
        }
        (_, Batch::Keys(keys)) => {
            let Some(key) = keys.first() else {
                return Ok(None);
            };
            let Statement { sql, values } = statements::row(plan.table, *key);
            let columns = plan.table.columns;
            let what = ("read from", plan.table.name);
            let rows = transaction
                .fetch_rows(what, AssertSqlSafe(sql), &values, columns)
                .await?;
            Ok(rows.first().map(|row| as_json(columns, row)))
        }
        (Task::Change(..), Batch::Rows(..)) => Ok(None),
    }
}

async fn write(
    transaction: &mut Transaction<'_>,
    plan: &Plan,
    columns: &[Column],
    rows: &[Row],
) -> Result<Applied, BatchError> {
    let (fitting, odd): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| fits(columns, row));
    let mut dead: Vec<DeadLetter> = odd
        .into_iter()
        .map(|row| letter(columns, row, "the row does not fit the columns"))
        .collect();
    let brings_ids = keyed(&plan.task);
    let is_beyond = |row: &&Row| brings_ids && id(row).is_some_and(|id| id > KEY_MAX);
    let (beyond, fitting): (Vec<&Row>, Vec<&Row>) = fitting.into_iter().partition(is_beyond);
    dead.extend(
        beyond
            .into_iter()
            .map(|row| letter(columns, row, "the id is greater than 2^53")),
    );
    if brings_ids && plan.operation != Operation::Update {
        let last = fitting.iter().filter_map(|row| id(row)).max();
        if let (DatabaseKind::Postgres, Some(last)) = (transaction.kind(), last) {
            go_on_behind(transaction, plan.table, last).await?;
        }
    }
    let changed = if fitting.is_empty() {
        0
    } else {
        match plan.operation {
            Operation::Update => {
                let rows = last_of_each(&fitting);
                let found = update(transaction, plan.table, columns, &rows).await?;
                lay_aside_others(columns, fitting, &found, "no row has this id", &mut dead)
            }
            Operation::Upsert => {
                let rows = last_of_each(&fitting);
                let found = upsert(transaction, plan, columns, &rows).await?;
                let why = "the row with this id has another owner";
                lay_aside_others(columns, fitting, &found, why, &mut dead)
            }
            _ => insert(transaction, plan.table, columns, &fitting).await?,
        }
    };
    Ok(Applied { changed, dead })
}

/// Lays the rows aside whose ids are not among `found`, and gives the number of the others.
fn lay_aside_others(
    columns: &[Column],
    rows: Vec<&Row>,
    found: &BTreeSet<i64>,
    why: &str,
    dead: &mut Vec<DeadLetter>,
) -> u64 {
    let is_found = |row: &&Row| id(row).is_some_and(|id| found.contains(&id));
    let (there, others): (Vec<&Row>, Vec<&Row>) = rows.into_iter().partition(is_found);
    dead.extend(others.into_iter().map(|row| letter(columns, row, why)));
    there.len() as u64
}

/// Lets PostgreSQL draw ids behind `last`, where that lies ahead. Before the rows are written: who
/// has written to the table and then locks it may wait for somebody who does the same.
async fn go_on_behind(
    transaction: &mut Transaction<'_>,
    table: &'static Table,
    last: i64,
) -> Result<(), BatchError> {
    let what = ("set the sequence of", table.name);
    let (values, columns) = ([Value::from(last)], [Column::integer("id")]);
    let sql = AssertSqlSafe(statements::ahead_of_sequence(table));
    let ahead = transaction.fetch_rows(what, sql, &values, &columns);
    if ahead.await?.is_empty() {
        return Ok(());
    }
    let lock = AssertSqlSafe(statements::lock_against_draws(table));
    transaction.execute(what, lock, &[]).await?;
    let advance = AssertSqlSafe(statements::advance_sequence(table));
    transaction.execute(what, advance, &values).await?;
    Ok(())
}

async fn insert(
    transaction: &mut Transaction<'_>,
    table: &'static Table,
    columns: &[Column],
    rows: &[&Row],
) -> Result<u64, BatchError> {
    let inserted = async |connection: Connection<'_>| match connection {
        Connection::Postgres(on) => copy(on, table.name, columns, rows).await,
        Connection::Sqlite(on) => insert_many(on, table, columns, rows).await,
    };
    transaction.run(("insert into", table.name), inserted).await
}

/// Inserts rows, or changes those that are there, and gives the ids of these and those.
async fn upsert(
    transaction: &mut Transaction<'_>,
    plan: &Plan,
    columns: &[Column],
    rows: &[&Row],
) -> Result<BTreeSet<i64>, BatchError> {
    let table = plan.table;
    let conflict = statements::on_conflict(table, columns, plan.owner);
    let names = name_list(columns);
    let upserted = async |connection: Connection<'_>| {
        match connection {
            Connection::Postgres(on) => {
                stage(on, table, columns, rows).await?;
                // In one order, so that two upserts do not wait for each other in a ring.
                let sql = format!(
                    "INSERT INTO {} ({names}) SELECT {names} FROM {STAGE} ORDER BY id{conflict}",
                    table.name
                );
                fetch_ids(on, columns, sql).await
            }
            Connection::Sqlite(on) => {
                let sql = |values: String| {
                    format!("INSERT INTO {} ({names}) {values}{conflict}", table.name)
                };
                fetch_ids_in_chunks(on, columns, rows, sql).await
            }
        }
    };
    let found = transaction
        .run(("upsert into", table.name), upserted)
        .await?;
    Ok(found.iter().filter_map(id).collect())
}

/// Changes rows and gives the ids that were there.
async fn update(
    transaction: &mut Transaction<'_>,
    table: &'static Table,
    columns: &[Column],
    rows: &[&Row],
) -> Result<BTreeSet<i64>, BatchError> {
    let sql = statements::update_from(table, columns, STAGE);
    let updated = async |connection: Connection<'_>| match connection {
        Connection::Postgres(on) => {
            stage(on, table, columns, rows).await?;
            fetch_ids(on, columns, sql).await
        }
        Connection::Sqlite(on) => {
            let names = name_list(columns);
            let sql = |values: String| format!("WITH {STAGE} ({names}) AS ({values}) {sql}");
            fetch_ids_in_chunks(on, columns, rows, sql).await
        }
    };
    let found = transaction.run(("update", table.name), updated).await?;
    Ok(found.iter().filter_map(id).collect())
}

/// The ids that a statement gives, the first of `columns`.
async fn fetch_ids(
    connection: &mut sqlx::PgConnection,
    columns: &[Column],
    sql: String,
) -> sqlx::Result<Vec<Row>> {
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let rows = query.fetch_all(connection).await?;
    rows.iter()
        .map(|row| read_row(row, &columns[..1]))
        .collect()
}

/// The same of a statement for every so many rows, whose values stand in it.
async fn fetch_ids_in_chunks(
    connection: &mut sqlx::SqliteConnection,
    columns: &[Column],
    rows: &[&Row],
    sql: impl Fn(String) -> String,
) -> sqlx::Result<Vec<Row>> {
    let mut found = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(SQLITE_STATEMENT_ROWS) {
        let values = values_clause(columns.len(), chunk.len());
        let query = sqlx::query(AssertSqlSafe(sql(values)))
            .persistent(chunk.len() == SQLITE_STATEMENT_ROWS);
        let query = bind_all(query, chunk.iter().copied().flatten());
        for row in query.fetch_all(&mut *connection).await? {
            found.push(read_row(&row, &columns[..1])?);
        }
    }
    Ok(found)
}

/// Brings the rows of a batch into a temporary table, which goes with the transaction.
async fn stage(
    connection: &mut sqlx::PgConnection,
    table: &Table,
    columns: &[Column],
    rows: &[&Row],
) -> sqlx::Result<()> {
    let make = format!(
        "CREATE TEMPORARY TABLE {STAGE} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
        name_list(columns),
        table.name
    );
    let make = sqlx::query(AssertSqlSafe(make)).persistent(false);
    make.execute(&mut *connection).await?;
    copy(connection, STAGE, columns, rows).await.map(drop)
}

/// Of rows with one id the last, each in its place.
fn last_of_each<'r>(rows: &[&'r Row]) -> Vec<&'r Row> {
    let last: BTreeMap<Option<i64>, usize> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| (id(row), index))
        .collect();
    rows.iter()
        .enumerate()
        .filter(|(index, row)| last.get(&id(row)) == Some(index))
        .map(|(_, row)| *row)
        .collect()
}

fn letter(columns: &[Column], row: &Row, error: &str) -> DeadLetter {
    DeadLetter {
        row: as_json(columns, row),
        error: error.to_owned(),
        attempts: 1,
    }
}

/// An object by column; a list where the row does not have the columns.
fn as_json(columns: &[Column], row: &Row) -> serde_json::Value {
    if columns.len() != row.len() {
        return row.iter().map(serde_json::Value::from).collect();
    }
    let pairs = columns.iter().zip(row);
    let map: Map<_, _> = pairs
        .map(|(column, value)| (column.name.to_owned(), value.into()))
        .collect();
    map.into()
}

/// Whether the rows that are written bring their ids.
fn keyed(task: &Task) -> bool {
    matches!(task, Task::Write(columns) if columns.first().is_some_and(|first| first.name == "id"))
}

/// The id of a row that begins with it.
fn id(row: &Row) -> Option<i64> {
    match row.first() {
        Some(Value::Integer(id)) => Some(*id),
        _ => None,
    }
}
