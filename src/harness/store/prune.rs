//! Retention: which runs are old, their removal, and the space that they took.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::error::StoreError;
use super::history::History;
use super::location::Backend;
use super::statement::{Statement, to_ns};
use crate::harness::model::RunId;

/// Runs per statement and transaction; SQLite takes 32,766 parameters, and nobody waits long for it.
const RUNS_PER_DELETE: usize = 500;

/// What is kept of every scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Runs that started then or later.
    Since(Timestamp),
    /// The newest so many.
    Newest(u32),
}

/// The runs of one scenario that a retention does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The scenario's id.
    pub scenario: String,
    /// Those that may go, oldest first; empty where all of them are protected.
    pub runs: Vec<RunId>,
    /// When the oldest and the newest of `runs` started.
    pub started_at: Option<(Timestamp, Timestamp)>,
    /// How many are as old and protected.
    pub protected: u64,
    /// How many runs the scenario has beside `runs`.
    pub kept: u64,
}

/// What the history takes on disk, before and after runs were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Before, in bytes.
    pub before_bytes: u64,
    /// After, in bytes.
    pub after_bytes: u64,
}

impl History {
    /// Every scenario of which `retention` does not keep all runs, sorted. Runs that are `protected` stay,
    /// and count among the newest.
    pub async fn expired(
        &self,
        retention: Retention,
        protected: &BTreeSet<RunId>,
    ) -> Result<Vec<Expired>, StoreError> {
        let failed = |source| self.failed("looking for old runs", source);
        let rows = expired(retention)
            .map_err(failed)?
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let mut found: Vec<Expired> = Vec::new();
        for row in &rows {
            let id = self.run_id(row)?;
            let scenario: String = row.try_get("scenario").map_err(failed)?;
            if found.last().is_none_or(|last| last.scenario != scenario) {
                let runs = self.runs_of_scenario(&scenario).await?;
                found.push(Expired {
                    scenario,
                    runs: Vec::new(),
                    started_at: None,
                    protected: 0,
                    kept: runs,
                });
            }
            let Some(last) = found.last_mut() else {
                continue;
            };
            if protected.contains(&id) {
                last.protected += 1;
                continue;
            }
            let started_at = self.time(row, id, "started_at_ns")?;
            let oldest = last.started_at.map_or(started_at, |(oldest, _)| oldest);
            last.started_at = Some((oldest, started_at));
            last.runs.push(id);
            last.kept = last.kept.saturating_sub(1);
        }
        Ok(found)
    }

    /// Removes runs with everything that is known of them, and gives the number of those that were there.
    /// Should it fail in between, some are removed and none is damaged.
    pub async fn remove(&self, runs: &[RunId]) -> Result<u64, StoreError> {
        let failed = |source| self.failed("removing runs", source);
        let mut removed = 0;
        for ids in runs.chunks(RUNS_PER_DELETE) {
            let mut transaction = self.begin().await?;
            let mut statement = Statement::new("DELETE FROM runs WHERE id IN ".to_owned());
            statement.bind_ids(ids).map_err(failed)?;
            removed += statement.execute(&mut transaction).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
        }
        Ok(removed)
    }

    /// Gives back what removed runs took. SQLite's file becomes smaller, for which it needs as much again
    /// for a moment. PostgreSQL keeps its files for the runs to come, because making them smaller would
    /// lock out everybody meanwhile.
    pub async fn compact(&self) -> Result<Space, StoreError> {
        let failed = |source| self.failed("giving back the space of removed runs", source);
        let (size, statements): (&str, &[&str]) = match self.location.backend {
            Backend::Sqlite => (
                "SELECT CAST(page_count * page_size AS BIGINT) AS bytes \
                 FROM pragma_page_count(), pragma_page_size()",
                &["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"],
            ),
            Backend::Postgres => (
                "SELECT CAST(pg_total_relation_size('runs') + pg_total_relation_size('metrics') \
                 AS BIGINT) AS bytes",
                &["VACUUM (ANALYZE) runs", "VACUUM (ANALYZE) metrics"],
            ),
        };
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        let bytes = |row: sqlx::any::AnyRow| -> Result<u64, sqlx::Error> {
            Ok(u64::try_from(row.try_get::<i64, _>("bytes")?).unwrap_or_default())
        };
        let before = connection.fetch_one(AssertSqlSafe(size)).await;
        for statement in statements {
            connection
                .execute(AssertSqlSafe(*statement))
                .await
                .map_err(failed)?;
        }
        let after = connection.fetch_one(AssertSqlSafe(size)).await;
        Ok(Space {
            before_bytes: before.and_then(bytes).map_err(failed)?,
            after_bytes: after.and_then(bytes).map_err(failed)?,
        })
    }

    async fn runs_of_scenario(&self, scenario: &str) -> Result<u64, StoreError> {
        let (runs,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM runs WHERE scenario = $1")
            .bind(scenario)
            .fetch_one(&self.pool)
            .await
            .map_err(|source| self.failed("counting runs", source))?;
        Ok(u64::try_from(runs).unwrap_or_default())
    }
}

fn expired(retention: Retention) -> Result<Statement, sqlx::Error> {
    let mut statement = Statement::new("SELECT id, scenario, started_at_ns FROM ".to_owned());
    match retention {
        Retention::Since(time) => {
            statement.push("runs WHERE started_at_ns < ");
            statement.bind(to_ns(time))?;
        }
        Retention::Newest(runs) => {
            statement.push(
                "(SELECT id, scenario, started_at_ns, ROW_NUMBER() OVER \
                 (PARTITION BY scenario ORDER BY started_at_ns DESC, id DESC) AS place FROM runs) \
                 AS placed WHERE place > ",
            );
            statement.bind(i64::from(runs))?;
        }
    }
    statement.push(" ORDER BY scenario, started_at_ns, id");
    Ok(statement)
}
