//! How the queues do, from the database: the same from every process, and after a restart.

use serde::Serialize;
use sqlx::AssertSqlSafe;

use super::JobError;
use super::job::{JobState, Queue, integer, text};
use super::queue::{Jobs, TABLE};
use crate::datalayer::batch::{Column, Row, fetch_rows};

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueStats {
    /// Which one.
    pub queue: Queue,
    /// Jobs that wait, for their turn or for their next attempt.
    pub waiting: i64,
    /// Jobs that somebody has claimed.
    pub running: i64,
    /// Jobs of the history that ended with a result.
    pub done: i64,
    /// Jobs of the history that failed.
    pub failed: i64,
    /// Jobs of the history that were called off.
    pub cancelled: i64,
    /// From when the last attempt might begin to when it did, of the last `jobs.statistics_jobs` that are
    /// done or failed.
    pub wait: Durations,
    /// How long the last attempt of the same jobs took.
    pub run: Durations,
}

/// Percentiles by nearest rank: durations that were measured, not ones in between. All are 0 where the
/// count is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Durations {
    /// How many durations there are.
    pub count: usize,
    /// Half of them were at most so long.
    pub p50_ms: i64,
    /// 95 in 100 of them were at most so long.
    pub p95_ms: i64,
    /// 99 in 100 of them were at most so long.
    pub p99_ms: i64,
}

impl Jobs {
    /// The figures of every queue.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn statistics(&self) -> Result<Vec<QueueStats>, JobError> {
        let counts = self.counts(&JobState::ALL).await?;
        let mut all = Vec::with_capacity(Queue::ALL.len());
        for queue in Queue::ALL {
            let number = |state| {
                let of = counts.iter().filter(|(q, s, _)| (*q, *s) == (queue, state));
                of.map(|(.., number)| number).sum()
            };
            let (wait, run) = self.durations(queue).await?;
            all.push(QueueStats {
                queue,
                waiting: number(JobState::Waiting),
                running: number(JobState::Running),
                done: number(JobState::Done),
                failed: number(JobState::Failed),
                cancelled: number(JobState::Cancelled),
                wait,
                run,
            });
        }
        Ok(all)
    }

    /// How many jobs of each queue are in each of some states, where there are any.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn counts(
        &self,
        states: &[JobState],
    ) -> Result<Vec<(Queue, JobState, i64)>, JobError> {
        let names: Vec<String> = (1..=states.len())
            .map(|index| format!("${index}"))
            .collect();
        let sql = AssertSqlSafe(format!(
            "SELECT queue, state, count(*) FROM {TABLE} WHERE state IN ({}) GROUP BY queue, state",
            names.join(", ")
        ));
        let values: Row = states.iter().map(|state| state.name().into()).collect();
        let columns = [
            Column::text("queue"),
            Column::text("state"),
            Column::integer("jobs"),
        ];
        let statement = ("count in", TABLE);
        let rows = fetch_rows(self.pool(), statement, sql, &values, &columns).await?;
        let counts = rows.into_iter().filter_map(|row| {
            let mut values = row.into_iter();
            let queue = Queue::named(&values.next().and_then(text)?)?;
            let state = JobState::named(&values.next().and_then(text)?)?;
            Some((queue, state, values.next().and_then(integer)?))
        });
        Ok(counts.collect())
    }

    async fn durations(&self, queue: Queue) -> Result<(Durations, Durations), JobError> {
        let sql = AssertSqlSafe(format!(
            "SELECT started_at_ms - due_at_ms, ended_at_ms - started_at_ms FROM {TABLE} \
             WHERE queue = $1 AND state IN ('done', 'failed') ORDER BY ended_at_ms DESC LIMIT $2"
        ));
        let values: Row = vec![
            queue.name().into(),
            i64::from(self.settings().statistics_jobs).into(),
        ];
        let columns = [Column::integer("wait_ms"), Column::integer("run_ms")];
        let statement = ("measure in", TABLE);
        let rows = fetch_rows(self.pool(), statement, sql, &values, &columns).await?;
        let (mut waits, mut runs) = (Vec::new(), Vec::new());
        for row in rows {
            let mut values = row.into_iter().filter_map(integer);
            waits.extend(values.next());
            runs.extend(values.next());
        }
        Ok((Durations::of(waits), Durations::of(runs)))
    }
}

impl Durations {
    fn of(mut ms: Vec<i64>) -> Self {
        ms.sort_unstable();
        // The nearest rank is ceil(q × n), counted from 1.
        let at = |per_cent: usize| {
            let rank = (per_cent * ms.len()).div_ceil(100);
            ms.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            count: ms.len(),
            p50_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_durations_that_were_measured() {
        let check = |ms: Vec<i64>, expected| {
            let of = Durations::of(ms);
            assert_eq!((of.p50_ms, of.p95_ms, of.p99_ms), expected);
        };
        check(Vec::new(), (0, 0, 0));
        check(vec![7], (7, 7, 7));
        check(vec![30, 10], (10, 30, 30));
        check((1..=100).rev().collect(), (50, 95, 99));
        check((1..=200).collect(), (100, 190, 198));
    }
}
