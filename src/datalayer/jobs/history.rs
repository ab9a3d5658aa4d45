//! Jobs as they are and were, and the end of the old ones.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::JobError;
use super::job::{COLUMNS, Job, JobState, Owner, Queue, instant, integer, text};
use super::queue::{ERRORS, Jobs, TABLE, ms};
use crate::datalayer::batch::{Column, Row, Value, fetch_rows, name_list};

/// Which jobs to list; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Of one queue.
    pub queue: Option<Queue>,
    /// In one state.
    pub state: Option<JobState>,
    /// Of one caller.
    pub owner: Option<Owner>,
    /// Asked for before this one.
    pub before: Option<Uuid>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Whose.
    pub job: Uuid,
    /// Its number.
    pub attempt: i64,
    /// When.
    pub failed_at: Timestamp,
    /// Why.
    pub message: String,
}

impl Jobs {
    /// The job of that id, if it is there still.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn find(&self, id: Uuid) -> Result<Option<Job>, JobError> {
        let sql = format!("SELECT {} FROM {TABLE} WHERE id = $1", name_list(&COLUMNS));
        self.fetch_job("read", sql, &[id.to_string().into()]).await
    }

    /// The newest jobs that a filter lets through, newest first, `limit` of them at most.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn list(&self, filter: &JobFilter, limit: u64) -> Result<Vec<Job>, JobError> {
        let mut values: Row = Vec::new();
        let mut conditions = Vec::new();
        let mut and = |condition: &str, value: Value| {
            values.push(value);
            conditions.push(format!("{condition} ${}", values.len()));
        };
        if let Some(queue) = filter.queue {
            and("queue =", queue.name().into());
        }
        if let Some(state) = filter.state {
            and("state =", state.name().into());
        }
        if let Some(owner) = &filter.owner {
            and("owner =", owner.name.clone().into());
            and("tenant_id =", owner.tenant.into());
        }
        if let Some(before) = filter.before {
            and("id <", before.to_string().into());
        }
        let mut sql = format!("SELECT {} FROM {TABLE}", name_list(&COLUMNS));
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        sql.push_str(&format!(" ORDER BY id DESC LIMIT {limit}"));
        self.fetch_jobs("list", sql, &values).await
    }

    /// The attempts of some jobs that failed, in their order.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn errors(&self, jobs: &[Job]) -> Result<Vec<FailedAttempt>, JobError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = (1..=jobs.len()).map(|index| format!("${index}")).collect();
        let sql = AssertSqlSafe(format!(
            "SELECT job_id, attempt, failed_at_ms, message FROM {ERRORS} WHERE job_id IN ({}) \
             ORDER BY job_id, attempt",
            names.join(", ")
        ));
        let ids: Row = jobs.iter().map(|job| job.id.to_string().into()).collect();
        let columns = [
            Column::text("job_id"),
            Column::integer("attempt"),
            Column::integer("failed_at_ms"),
            Column::text("message"),
        ];
        let rows = fetch_rows(self.pool(), ("read", ERRORS), sql, &ids, &columns).await?;
        let failed = rows.into_iter().map(|row| {
            let mut values = row.into_iter();
            let mut next = || values.next();
            Some(FailedAttempt {
                job: text(next()?)?.parse().ok()?,
                attempt: integer(next()?)?,
                failed_at: instant(next()?)?,
                message: text(next()?)?,
            })
        });
        let failed: Option<Vec<FailedAttempt>> = failed.collect();
        failed.ok_or(JobError::Row { table: ERRORS })
    }

    /// Removes jobs that ended longer than `kept` ago, and their errors; `jobs.rows_at_once` of each
    /// ending at most. Gives how many there were: none, and all are gone.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn purge(&self, kept: Duration) -> Result<u64, JobError> {
        let now = self.now();
        let mut purged = 0;
        for state in JobState::ALL.into_iter().filter(|state| state.is_end()) {
            let sql = AssertSqlSafe(format!(
                "DELETE FROM {TABLE} WHERE id IN (SELECT id FROM {TABLE} WHERE state = $1 \
                 AND ended_at_ms < {now} - $2 ORDER BY ended_at_ms LIMIT $3) RETURNING id"
            ));
            let values: Row = vec![
                state.name().into(),
                ms(kept).into(),
                i64::from(self.settings().rows_at_once).into(),
            ];
            let id = [Column::text("id")];
            let deleted = fetch_rows(self.pool(), ("delete from", TABLE), sql, &values, &id);
            purged += deleted.await?.len() as u64;
        }
        Ok(purged)
    }
}
