//! Several statements that take effect together or not at all.

use std::time::Duration;

use sqlx::{Connection as _, Postgres, SqlSafeStr, Sqlite};

use super::BatchError;
use super::insert::SQLITE_BEGIN;
use super::rows::{execute, fetch, within};
use super::table::{Column, Row, Value};
use crate::datalayer::pool::{Activity, Connection, DatabaseKind, Pool, Statement};

/// A transaction under way.
#[derive(Debug)]
pub struct Transaction<'c> {
    open: Open<'c>,
    activity: &'c Activity,
    limit: Duration,
}

#[derive(Debug)]
enum Open<'c> {
    Postgres(sqlx::Transaction<'c, Postgres>),
    Sqlite(sqlx::Transaction<'c, Sqlite>),
}

/// Runs `work` in a transaction on one connection of the pool: committed when `work` succeeds, rolled
/// back when it fails or is dropped. On PostgreSQL its statements see what others commit meanwhile
/// (`READ COMMITTED`); on SQLite there is one transaction that writes at a time, this one from its
/// beginning.
///
/// # Errors
/// Those of `work`; what the pool or the database says, where `statement` names the transaction. After an
/// error of the commit it is not known whether the work took effect.
pub async fn in_transaction<T, E: From<BatchError>>(
    pool: &Pool,
    statement: Statement,
    work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let limit = pool.statement_timeout();
    let mut checkout = pool.acquire().await.map_err(BatchError::from)?;
    let activity = checkout.activity();
    let begun = async {
        match checkout.connection() {
            Connection::Postgres(connection) => {
                let begun = activity.begin(connection.begin()).await;
                begun.map(Open::Postgres)
            }
            Connection::Sqlite(connection) => {
                connection.begin_with(SQLITE_BEGIN).await.map(Open::Sqlite)
            }
        }
    };
    let open = within(&activity, limit, statement, begun).await?;
    let mut transaction = Transaction {
        open,
        activity: &activity,
        limit,
    };
    let value = work(&mut transaction).await?;
    let committed = async {
        match transaction.open {
            Open::Postgres(open) => open.commit().await,
            Open::Sqlite(open) => open.commit().await,
        }
    };
    within(&activity, limit, statement, committed).await?;
    Ok(value)
}

impl Transaction<'_> {
    /// As [`fetch_rows`](super::fetch_rows), within the transaction. After an error it can only be
    /// rolled back.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fetch_rows(
        &mut self,
        statement: Statement,
        sql: impl SqlSafeStr,
        values: &[Value],
        columns: &[Column],
    ) -> Result<Vec<Row>, BatchError> {
        let (connection, activity, limit) = self.parts();
        let fetched = fetch(connection, sql.into_sql_str(), values, columns);
        within(activity, limit, statement, fetched).await
    }

    /// Runs a statement and gives the number of rows that it changed.
    pub(super) async fn execute(
        &mut self,
        statement: Statement,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<u64, BatchError> {
        let (connection, activity, limit) = self.parts();
        let executed = execute(connection, sql.into_sql_str(), values);
        within(activity, limit, statement, executed).await
    }

    /// Which database it is.
    pub(super) fn kind(&self) -> DatabaseKind {
        match self.open {
            Open::Postgres(_) => DatabaseKind::Postgres,
            Open::Sqlite(_) => DatabaseKind::Sqlite,
        }
    }

    /// The connection, where its statements are noted, and how long each of them may take.
    pub(super) fn parts(&mut self) -> (Connection<'_>, &Activity, Duration) {
        let connection = match &mut self.open {
            Open::Postgres(open) => Connection::Postgres(open),
            Open::Sqlite(open) => Connection::Sqlite(open),
        };
        (connection, self.activity, self.limit)
    }
}
