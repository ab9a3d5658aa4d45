//! How an attempt ends. Every ending names the attempt: one that is not the last any more changes nothing.

use std::time::Duration;

use serde_json::Value as Json;
use sqlx::AssertSqlSafe;

use super::JobError;
use super::backoff::delay;
use super::claim::insert_error;
use super::job::{Job, JobState, text};
use super::queue::{ERRORS, Jobs, TABLE, ms};
use super::run::{Failure, Progress};
use crate::datalayer::batch::{Column, Row, Value, fetch_rows, in_transaction};

/// What became of an ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It counts: the job is in this state now.
    Taken(JobState),
    /// It does not: the job is somebody else's by now, or ended without this attempt.
    Lost,
}

impl Jobs {
    /// Ends a claimed job with a result. A job that was called off meanwhile is cancelled, and the result
    /// does not count. May be asked again when the answer got lost.
    ///
    /// # Errors
    /// What the pool or the database says; it is then not known whether the job has ended.
    pub async fn finish(
        &self,
        job: &Job,
        result: &Json,
        progress: &Progress,
    ) -> Result<Outcome, JobError> {
        let now = self.now();
        let (done, total) = progress.get();
        let set = format!(
            "state = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE 'done' END, \
             result = CASE WHEN cancel_requested = 1 THEN '' ELSE $3 END, \
             progress_done = $4, progress_total = $5, ended_at_ms = {now}"
        );
        let values = vec![result.to_string().into(), done.into(), total.into()];
        if let Some(state) = self.end(job, &set, values).await? {
            return Ok(Outcome::Taken(state));
        }
        // The attempt is nobody else's, so an end of this one is what we did before.
        let sql = AssertSqlSafe(format!(
            "SELECT state FROM {TABLE} WHERE id = $1 AND attempt = $2 AND state = 'done'"
        ));
        let values: Row = vec![job.id.to_string().into(), job.attempt.into()];
        let state = [Column::text("state")];
        let found = fetch_rows(self.pool(), ("read", TABLE), sql, &values, &state).await?;
        Ok(match found.is_empty() {
            true => Outcome::Lost,
            false => Outcome::Taken(JobState::Done),
        })
    }

    /// Ends an attempt that failed: the job waits for its next one, or has failed where there is none.
    /// What was called off is cancelled.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn fail(&self, job: &Job, failure: &Failure) -> Result<Outcome, JobError> {
        let now = self.now();
        let again = failure.retry && job.attempt < job.attempts_max;
        let state = if again {
            JobState::Waiting
        } else {
            JobState::Failed
        };
        let pause = delay(self.settings(), job.attempt).max(failure.not_before);
        let update = format!(
            "UPDATE {TABLE} SET state = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE $3 END, \
             due_at_ms = CASE WHEN $3 = 'waiting' THEN {now} + $4 ELSE due_at_ms END, \
             ended_at_ms = CASE WHEN $3 = 'waiting' AND cancel_requested = 0 THEN 0 ELSE {now} END \
             WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING state"
        );
        let tell = insert_error(now);
        let id = job.id.to_string();
        let values: Row = vec![
            id.clone().into(),
            job.attempt.into(),
            state.name().into(),
            ms(pause).into(),
        ];
        let most = self.settings().error_max_bytes;
        let error: Row = vec![
            id.into(),
            job.attempt.into(),
            cut(&failure.message, most).to_owned().into(),
        ];
        in_transaction(self.pool(), ("update", TABLE), async |transaction| {
            let state = [Column::text("state")];
            let update = AssertSqlSafe(update);
            let updated = transaction.fetch_rows(("update", TABLE), update, &values, &state);
            let Some(state) = read_state(updated.await?) else {
                return Ok(Outcome::Lost);
            };
            let tell = AssertSqlSafe(tell);
            let told = transaction.fetch_rows(("insert into", ERRORS), tell, &error, &[]);
            told.await?;
            Ok(Outcome::Taken(state))
        })
        .await
    }

    /// Ends a job that was called off, where its run has stopped.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn end_cancelled(&self, job: &Job) -> Result<Outcome, JobError> {
        let set = format!("state = 'cancelled', ended_at_ms = {}", self.now());
        let ended = self.end(job, &set, Vec::new()).await?;
        Ok(ended.map_or(Outcome::Lost, Outcome::Taken))
    }

    /// Gives a claimed job back as it was, for another process to run: the attempt was nobody's fault, so
    /// the job gets one more.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn release(&self, job: &Job) -> Result<Outcome, JobError> {
        let now = self.now();
        let set = format!(
            "state = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE 'waiting' END, \
             ended_at_ms = CASE WHEN cancel_requested = 1 THEN {now} ELSE 0 END, \
             attempts_max = attempts_max + 1, due_at_ms = {now}"
        );
        let ended = self.end(job, &set, Vec::new()).await?;
        Ok(ended.map_or(Outcome::Lost, Outcome::Taken))
    }

    /// Changes a job that is still this attempt's; `values` are `$3` and on.
    async fn end(
        &self,
        job: &Job,
        set: &str,
        values: Vec<Value>,
    ) -> Result<Option<JobState>, JobError> {
        let sql = AssertSqlSafe(format!(
            "UPDATE {TABLE} SET {set} WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING state"
        ));
        let names: Row = vec![job.id.to_string().into(), job.attempt.into()];
        let values = [names, values].concat();
        let state = [Column::text("state")];
        let rows = fetch_rows(self.pool(), ("update", TABLE), sql, &values, &state).await?;
        Ok(read_state(rows))
    }

    /// The pause between two attempts to say how a run has ended.
    pub(super) fn beat_pause(&self) -> Duration {
        Duration::from_millis(self.settings().beat_ms)
    }
}

fn read_state(rows: Vec<Row>) -> Option<JobState> {
    let name = rows.into_iter().flatten().next().and_then(text)?;
    JobState::named(&name)
}

/// The beginning of a text, whole characters only.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_between_characters() {
        assert_eq!(cut("gone", 100), "gone");
        assert_eq!(cut("gone", 2), "go");
        assert_eq!(cut("müde", 2), "m");
    }
}
