//! The queue in the database: what goes in.

use std::sync::Arc;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::sync::Notify;
use uuid::Uuid;

use super::JobError;
use super::job::{COLUMNS, Job, NewJob, Owner, Queue, integer};
use crate::datalayer::batch::{Column, Row, Value, fetch_rows, name_list};
use crate::datalayer::config::JobSettings;
use crate::datalayer::pool::{DatabaseKind, Pool};

pub(super) const TABLE: &str = "jobs";
pub(super) const ERRORS: &str = "job_errors";

/// The jobs of one database. Clones are the same queue; several processes may share one.
#[derive(Debug, Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool,
    settings: JobSettings,
    /// Something may be due before the workers would look.
    due: Notify,
    /// A job that runs may have been called off.
    cancelled: Notify,
}

impl Jobs {
    /// The jobs of the database behind `pool`, whose tables are there already.
    pub fn new(pool: Pool, settings: JobSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool,
                settings,
                due: Notify::new(),
                cancelled: Notify::new(),
            }),
        }
    }

    /// The figures that this queue works by.
    pub fn settings(&self) -> &JobSettings {
        &self.shared.settings
    }

    /// Takes a job in. It is kept before this returns.
    ///
    /// # Errors
    /// [`JobError::Full`], [`JobError::CallerFull`], and what the pool or the database says.
    pub async fn enqueue(&self, new: NewJob) -> Result<Job, JobError> {
        let settings = self.settings();
        let queue = new.queue;
        // Two at once may both see the last free place: these limits keep the table small, not exact.
        let room = format!(
            "(SELECT count(*) FROM {TABLE} WHERE queue = $2 AND state IN ('waiting', 'running')) < $9 \
             AND (SELECT count(*) FROM {TABLE} WHERE owner = $7 AND tenant_id = $6 AND queue = $2 \
             AND state IN ('waiting', 'running')) < $10"
        );
        let limits = [settings.open_max, settings.open_per_caller_max];
        let limits = limits.map(|most| figure(most).into());
        let owner = new.owner.clone();
        if let Some(job) = self.insert(new, &room, &limits).await? {
            return Ok(job);
        }
        let open = "state IN ('waiting', 'running')";
        let own = self.count_of(&owner, &[queue], open, &[]).await?;
        let (queue, per_caller_max) = (queue.name(), settings.open_per_caller_max);
        Err(match own >= per_caller_max {
            true => JobError::CallerFull {
                queue,
                per_caller_max,
            },
            false => JobError::Full {
                queue,
                open_max: settings.open_max,
            },
        })
    }

    /// How many jobs of a caller in some queues wait or run, or were done within `kept`.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn kept(
        &self,
        owner: &Owner,
        queues: &[Queue],
        kept: Duration,
    ) -> Result<u64, JobError> {
        let now = self.now();
        let condition = format!(
            "(state IN ('waiting', 'running') OR (state = 'done' AND ended_at_ms > {now} - $3))"
        );
        self.count_of(owner, queues, &condition, &[ms(kept).into()])
            .await
    }

    /// Counts the jobs of a caller for which `condition` holds, in which `figures` are `$3` and on.
    async fn count_of(
        &self,
        owner: &Owner,
        queues: &[Queue],
        condition: &str,
        figures: &[Value],
    ) -> Result<u64, JobError> {
        let queues: Vec<String> = queues
            .iter()
            .map(|queue| format!("'{}'", queue.name()))
            .collect();
        let sql = AssertSqlSafe(format!(
            "SELECT count(*) FROM {TABLE} WHERE owner = $1 AND tenant_id = $2 AND queue IN ({}) \
             AND {condition}",
            queues.join(", ")
        ));
        let mut values: Row = vec![owner.name.clone().into(), owner.tenant.into()];
        values.extend_from_slice(figures);
        let columns = [Column::integer("jobs")];
        let rows = fetch_rows(self.pool(), ("count in", TABLE), sql, &values, &columns).await?;
        let count = rows.into_iter().flatten().next().and_then(integer);
        Ok(count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0))
    }

    /// Takes a job in, unless one of its kind is under way or was asked for within `period`: for what is
    /// to be done from time to time by one of several processes.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn enqueue_every(
        &self,
        period: Duration,
        new: NewJob,
    ) -> Result<Option<Job>, JobError> {
        let now = self.now();
        let rest = format!(
            "NOT EXISTS (SELECT 1 FROM {TABLE} WHERE queue = $2 AND kind = $3 \
             AND (state IN ('waiting', 'running') OR created_at_ms > {now} - $9))"
        );
        self.insert(new, &rest, &[ms(period).into()]).await
    }

    /// Inserts a job where `condition` holds, in which `figures` are `$9` and on.
    async fn insert(
        &self,
        new: NewJob,
        condition: &str,
        figures: &[Value],
    ) -> Result<Option<Job>, JobError> {
        let now = self.now();
        let sql = format!(
            "INSERT INTO {TABLE} ({}, lease_until_ms) SELECT $1, $2, $3, $4, $5, $6, $7, 'waiting', 0, $8, \
             0, 0, 0, '', {now}, {now}, 0, 0, 0 WHERE {condition} RETURNING {}",
            name_list(&COLUMNS),
            name_list(&COLUMNS)
        );
        let mut values: Row = vec![
            Uuid::now_v7().to_string().into(),
            new.queue.name().into(),
            new.kind.into(),
            new.priority.into(),
            new.payload.to_string().into(),
            new.owner.tenant.into(),
            new.owner.name.into(),
            i64::from(self.settings().attempts).into(),
        ];
        values.extend_from_slice(figures);
        let job = self.fetch_job("insert into", sql, &values).await?;
        if job.is_some() {
            self.shared.due.notify_one();
        }
        Ok(job)
    }

    /// Calls a job off: one that waits is cancelled at once, one that runs is told so. Gives the job as it
    /// is then, or nothing where there is none that waits or runs.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn cancel(&self, id: Uuid) -> Result<Option<Job>, JobError> {
        let now = self.now();
        let sql = format!(
            "UPDATE {TABLE} SET cancel_requested = 1, \
             ended_at_ms = CASE WHEN state = 'waiting' THEN {now} ELSE 0 END, \
             state = CASE WHEN state = 'waiting' THEN 'cancelled' ELSE state END \
             WHERE id = $1 AND state IN ('waiting', 'running') RETURNING {}",
            name_list(&COLUMNS)
        );
        let job = self
            .fetch_job("cancel in", sql, &[id.to_string().into()])
            .await?;
        self.shared.cancelled.notify_waiters();
        Ok(job)
    }

    /// Ready when something may be due earlier than it seemed.
    pub(super) async fn woken(&self) {
        self.shared.due.notified().await;
    }

    /// Ready when some job of this queue was called off through this process.
    pub(super) async fn called_off(&self) {
        self.shared.cancelled.notified().await;
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// The database's clock in milliseconds: processes on several machines have no other in common.
    pub(super) fn now(&self) -> &'static str {
        match self.pool().kind() {
            DatabaseKind::Postgres => {
                "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)"
            }
            DatabaseKind::Sqlite => "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)",
        }
    }

    /// What keeps two claims of one job apart: SQLite has one writer at a time anyway.
    pub(super) fn skip_locked(&self) -> &'static str {
        match self.pool().kind() {
            DatabaseKind::Postgres => "FOR UPDATE SKIP LOCKED",
            DatabaseKind::Sqlite => "",
        }
    }

    /// How many workers this process has for a queue.
    pub(super) fn workers(&self, queue: Queue) -> usize {
        let workers = &self.settings().workers;
        let number = match queue {
            Queue::Exports => workers.exports,
            Queue::Reports => workers.reports,
            Queue::Notifications => workers.notifications,
            Queue::Maintenance => workers.maintenance,
        };
        number as usize
    }

    /// Runs a statement that gives at most one job.
    pub(super) async fn fetch_job(
        &self,
        action: &'static str,
        sql: String,
        values: &[Value],
    ) -> Result<Option<Job>, JobError> {
        Ok(self.fetch_jobs(action, sql, values).await?.pop())
    }

    pub(super) async fn fetch_jobs(
        &self,
        action: &'static str,
        sql: String,
        values: &[Value],
    ) -> Result<Vec<Job>, JobError> {
        let sql = AssertSqlSafe(sql);
        let rows = fetch_rows(self.pool(), (action, TABLE), sql, values, &COLUMNS).await?;
        let jobs = rows.into_iter().map(Job::read);
        let jobs: Option<Vec<Job>> = jobs.collect();
        jobs.ok_or(JobError::Row { table: TABLE })
    }
}

/// A duration as a column has it.
pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A figure of the settings as a statement has it.
pub(super) fn figure(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
