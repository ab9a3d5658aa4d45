//! Several statements that take effect together or not at all.

use std::panic::Location;
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
    /// Whether a statement of it failed. PostgreSQL has then undone all of it, and answers a commit as if
    /// it had not.
    failed: bool,
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
/// Those of `work`; [`BatchError::Undone`] where it passed over the error of a statement; what the pool or
/// the database says, where `statement` names the transaction. After an error of the commit it is not known
/// whether the work took effect.
#[track_caller]
pub fn in_transaction<T, E: From<BatchError>>(
    pool: &Pool,
    statement: Statement,
    work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<T, E>,
) -> impl Future<Output = Result<T, E>> {
    in_transaction_for(Location::caller(), pool, statement, work)
}

/// The same for somebody else, whose place is reported where the transaction rests.
async fn in_transaction_for<T, E: From<BatchError>>(
    place: &'static Location<'static>,
    pool: &Pool,
    statement: Statement,
    work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let limit = pool.statement_timeout();
    let mut checkout = pool.acquire_for(place).await.map_err(BatchError::from)?;
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
        failed: false,
    };
    let value = work(&mut transaction).await?;
    if transaction.failed {
        let (action, table) = statement;
        return Err(BatchError::Undone { action, table }.into());
    }
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
    /// As [`fetch_rows`](super::fetch_rows), within the transaction. After an error it is rolled back,
    /// whatever the work makes of that.
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
        let work = async |connection: Connection<'_>| {
            fetch(connection, sql.into_sql_str(), values, columns).await
        };
        self.run(statement, work).await
    }

    /// Runs a statement and gives the number of rows that it changed.
    pub(super) async fn execute(
        &mut self,
        statement: Statement,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<u64, BatchError> {
        let work = async |connection: Connection<'_>| {
            execute(connection, sql.into_sql_str(), values).await
        };
        self.run(statement, work).await
    }

    /// Which database it is.
    pub(super) fn kind(&self) -> DatabaseKind {
        match self.open {
            Open::Postgres(_) => DatabaseKind::Postgres,
            Open::Sqlite(_) => DatabaseKind::Sqlite,
        }
    }

    /// What `work` makes of the connection within the time that a statement may take. After an error the
    /// transaction is rolled back.
    pub(super) async fn run<T>(
        &mut self,
        statement: Statement,
        work: impl AsyncFnOnce(Connection<'_>) -> sqlx::Result<T>,
    ) -> Result<T, BatchError> {
        let connection = match &mut self.open {
            Open::Postgres(open) => Connection::Postgres(open),
            Open::Sqlite(open) => Connection::Sqlite(open),
        };
        // One that is not waited for has failed as well.
        let failed = std::mem::replace(&mut self.failed, true);
        let done = within(self.activity, self.limit, statement, work(connection)).await;
        self.failed = failed || done.is_err();
        done
    }
}
