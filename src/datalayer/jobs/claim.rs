//! Leases: who may run a job, for how long, and what becomes of one whose lease is over.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::JobError;
use super::backoff::delay;
use super::job::{COLUMNS, Job, JobState, Queue, integer, text};
use super::queue::{ERRORS, Jobs, TABLE, figure, ms};
use super::run::Progress;
use crate::datalayer::batch::{Column, Row, fetch_rows, in_transaction, name_list};

/// What the history says of an attempt that nobody ended.
const WENT_AWAY: &str = "whoever ran it went away before it ended";

/// What the holder of a job learns when it extends its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The job is still its own.
    Held,
    /// It is, but it was called off.
    CancelRequested,
    /// It is not: the lease was over, and somebody noticed.
    Lost,
}

/// Queues with something to do.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) queues: Vec<Queue>,
    /// Whether a lease is over.
    pub(super) orphans: bool,
}

impl Jobs {
    /// Claims the job of a queue whose turn it is, if one is due: by priority, then by when it came. The
    /// claim is a lease of `jobs.lease_ms`, to be extended by [`Jobs::beat`].
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn claim(&self, queue: Queue) -> Result<Option<Job>, JobError> {
        let (now, skip_locked) = (self.now(), self.skip_locked());
        let sql = format!(
            "UPDATE {TABLE} SET state = 'running', attempt = attempt + 1, started_at_ms = {now}, \
             lease_until_ms = {now} + $2, progress_done = 0, progress_total = 0 \
             WHERE state = 'waiting' AND id = (SELECT id FROM {TABLE} WHERE state = 'waiting' AND queue = $1 \
             AND due_at_ms <= {now} ORDER BY priority DESC, due_at_ms, id LIMIT 1 {skip_locked}) RETURNING {}",
            name_list(&COLUMNS)
        );
        let values: Row = vec![queue.name().into(), figure(self.settings().lease_ms).into()];
        self.fetch_job("claim in", sql, &values).await
    }

    /// Extends the lease of a claimed job and says how far it is.
    ///
    /// # Errors
    /// What the pool or the database says; the lease then ends when it would have.
    pub async fn beat(&self, job: &Job, progress: &Progress) -> Result<Beat, JobError> {
        let now = self.now();
        let sql = AssertSqlSafe(format!(
            "UPDATE {TABLE} SET lease_until_ms = {now} + $3, progress_done = $4, progress_total = $5 \
             WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING cancel_requested"
        ));
        let (done, total) = progress.get();
        let values: Row = vec![
            job.id.to_string().into(),
            job.attempt.into(),
            figure(self.settings().lease_ms).into(),
            done.into(),
            total.into(),
        ];
        let requested = [Column::integer("cancel_requested")];
        let statement = ("extend a lease in", TABLE);
        let rows = fetch_rows(self.pool(), statement, sql, &values, &requested).await?;
        let requested = rows.into_iter().flatten().next().and_then(integer);
        Ok(match requested {
            Some(0) => Beat::Held,
            Some(_) => Beat::CancelRequested,
            None => Beat::Lost,
        })
    }

    /// Takes the jobs from whoever let their leases run out: each waits for its next attempt, or has
    /// failed where that was its last, or is cancelled where it was called off. Gives how many there were,
    /// `jobs.rows_at_once` at most.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn recover(&self) -> Result<usize, JobError> {
        let (now, skip_locked) = (self.now(), self.skip_locked());
        let find = format!(
            "SELECT id, attempt, attempts_max, cancel_requested FROM {TABLE} \
             WHERE state = 'running' AND lease_until_ms < {now} ORDER BY id LIMIT $1 {skip_locked}"
        );
        let update = format!(
            "UPDATE {TABLE} SET state = $2, \
             due_at_ms = CASE WHEN $2 = 'waiting' THEN {now} + $3 ELSE due_at_ms END, \
             ended_at_ms = CASE WHEN $2 = 'waiting' THEN 0 ELSE {now} END WHERE id = $1"
        );
        let tell = insert_error(now);
        let limit = [i64::from(self.settings().rows_at_once).into()];
        let columns = [
            Column::text("id"),
            Column::integer("attempt"),
            Column::integer("attempts_max"),
            Column::integer("cancel_requested"),
        ];
        in_transaction(self.pool(), ("recover in", TABLE), async |transaction| {
            let find = AssertSqlSafe(find);
            let found =
                transaction.fetch_rows(("find the orphans in", TABLE), find, &limit, &columns);
            let orphans = found.await?;
            let number = orphans.len();
            for row in orphans {
                let mut values = row.into_iter();
                let mut next = || values.next();
                let orphan = (|| {
                    let id = text(next()?)?;
                    let (attempt, max) = (integer(next()?)?, integer(next()?)?);
                    Some((id, attempt, max, integer(next()?)? != 0))
                })();
                let (id, attempt, max, cancelled) = orphan.ok_or(JobError::Row { table: TABLE })?;
                let state = match cancelled {
                    true => JobState::Cancelled,
                    false if attempt < max => JobState::Waiting,
                    false => JobState::Failed,
                };
                let pause = delay(self.settings(), attempt);
                let values: Row = vec![id.clone().into(), state.name().into(), ms(pause).into()];
                let update = AssertSqlSafe(update.clone());
                let statement = ("recover in", TABLE);
                transaction
                    .fetch_rows(statement, update, &values, &[])
                    .await?;
                let values: Row = vec![id.clone().into(), attempt.into(), WENT_AWAY.into()];
                let tell = AssertSqlSafe(tell.clone());
                let statement = ("insert into", ERRORS);
                transaction
                    .fetch_rows(statement, tell, &values, &[])
                    .await?;
                tracing::warn!(
                    job = id,
                    attempt,
                    state = state.name(),
                    "the lease of a job is over"
                );
            }
            Ok(number)
        })
        .await
    }

    /// Where there is something to do.
    pub(super) async fn due(&self) -> Result<Due, JobError> {
        let now = self.now();
        let sql = AssertSqlSafe(format!(
            "SELECT queue, state FROM {TABLE} WHERE (state = 'waiting' AND due_at_ms <= {now}) \
             OR (state = 'running' AND lease_until_ms < {now}) GROUP BY queue, state"
        ));
        let columns = [Column::text("queue"), Column::text("state")];
        let rows = fetch_rows(self.pool(), ("look for work in", TABLE), sql, &[], &columns).await?;
        let mut due = Due::default();
        for row in rows {
            let mut values = row.into_iter().filter_map(text);
            let (Some(queue), Some(state)) = (values.next(), values.next()) else {
                continue;
            };
            if JobState::named(&state) == Some(JobState::Running) {
                due.orphans = true;
            } else {
                due.queues.extend(Queue::named(&queue));
            }
        }
        Ok(due)
    }

    /// How long a claim holds without a beat.
    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.settings().lease_ms)
    }
}

/// Says why an attempt failed: job, attempt, message.
pub(super) fn insert_error(now: &str) -> String {
    format!(
        "INSERT INTO {ERRORS} (job_id, attempt, failed_at_ms, message) VALUES ($1, $2, {now}, $3) \
         ON CONFLICT (job_id, attempt) DO NOTHING"
    )
}
