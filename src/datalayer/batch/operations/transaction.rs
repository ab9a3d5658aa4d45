//! A transaction on either database, each of its statements limited in time.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::Postgres;
use sqlx::sqlite::Sqlite;
use sqlx::{AssertSqlSafe, Connection as _};

use super::super::BatchError;
use super::super::insert::SQLITE_BEGIN;
use super::super::rows::{bind_all, read_row, within};
use super::super::table::{Column, Row, Value};
use crate::datalayer::pool::{Activity, Checkout, Connection, DatabaseKind};

/// Rolled back when it is dropped.
pub(super) struct Transaction<'c> {
    pub(super) on: On<'c>,
    pub(super) limit: Duration,
    pub(super) activity: Arc<Activity>,
}

pub(super) enum On<'c> {
    Postgres(sqlx::Transaction<'c, Postgres>),
    Sqlite(sqlx::Transaction<'c, Sqlite>),
}

impl<'c> Transaction<'c> {
    pub(super) async fn begin(
        checkout: &'c mut Checkout,
        limit: Duration,
        table: &'static str,
    ) -> Result<Self, BatchError> {
        let activity = checkout.activity();
        let begun = async {
            Ok(match checkout.connection() {
                Connection::Postgres(connection) => On::Postgres(connection.begin().await?),
                Connection::Sqlite(connection) => {
                    On::Sqlite(connection.begin_with(SQLITE_BEGIN).await?)
                }
            })
        };
        let on = within(&activity, limit, ("begin a batch in", table), begun).await?;
        Ok(Self {
            on,
            limit,
            activity,
        })
    }

    pub(super) fn kind(&self) -> DatabaseKind {
        match self.on {
            On::Postgres(_) => DatabaseKind::Postgres,
            On::Sqlite(_) => DatabaseKind::Sqlite,
        }
    }

    /// Runs a statement and gives the number of rows that it changed.
    pub(super) async fn execute(
        &mut self,
        what: (&'static str, &'static str),
        sql: &str,
        values: &[Value],
    ) -> Result<u64, BatchError> {
        let sql = AssertSqlSafe(sql.to_owned());
        let executed = async {
            Ok(match &mut self.on {
                On::Postgres(on) => {
                    let query = bind_all(sqlx::query(sql), values);
                    query.execute(&mut **on).await?.rows_affected()
                }
                On::Sqlite(on) => {
                    let query = bind_all(sqlx::query(sql), values);
                    query.execute(&mut **on).await?.rows_affected()
                }
            })
        };
        within(&self.activity, self.limit, what, executed).await
    }

    /// Runs a statement and reads `columns` from the rows that it gives.
    pub(super) async fn fetch(
        &mut self,
        what: (&'static str, &'static str),
        sql: &str,
        values: &[Value],
        columns: &[Column],
    ) -> Result<Vec<Row>, BatchError> {
        let sql = AssertSqlSafe(sql.to_owned());
        let fetched = async {
            match &mut self.on {
                On::Postgres(on) => {
                    let query = bind_all(sqlx::query(sql), values);
                    let rows = query.fetch_all(&mut **on).await?;
                    rows.iter().map(|row| read_row(row, columns)).collect()
                }
                On::Sqlite(on) => {
                    let query = bind_all(sqlx::query(sql), values);
                    let rows = query.fetch_all(&mut **on).await?;
                    rows.iter().map(|row| read_row(row, columns)).collect()
                }
            }
        };
        within(&self.activity, self.limit, what, fetched).await
    }

    pub(super) async fn commit(self, table: &'static str) -> Result<(), BatchError> {
        let committed = async {
            match self.on {
                On::Postgres(on) => on.commit().await,
                On::Sqlite(on) => on.commit().await,
            }
        };
        within(
            &self.activity,
            self.limit,
            ("commit a batch in", table),
            committed,
        )
        .await
    }
}
