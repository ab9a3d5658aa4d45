//! What a job is, and how it is a row.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::datalayer::batch::{Column, Row, Value};

/// The columns of a [`Job`], in the order in which it is read.
pub(super) const COLUMNS: [Column; 18] = [
    Column::text("id"),
    Column::text("queue"),
    Column::text("kind"),
    Column::integer("priority"),
    Column::text("payload"),
    Column::integer("tenant_id"),
    Column::text("owner"),
    Column::text("state"),
    Column::integer("attempt"),
    Column::integer("attempts_max"),
    Column::integer("progress_done"),
    Column::integer("progress_total"),
    Column::integer("cancel_requested"),
    Column::text("result"),
    Column::integer("created_at_ms"),
    Column::integer("due_at_ms"),
    Column::integer("started_at_ms"),
    Column::integer("ended_at_ms"),
];

/// Where a job waits, by what it does. A queue has workers of its own: a long export keeps no notification
/// waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Rows into files.
    Exports,
    /// Aggregates into files.
    Reports,
    /// Calls of other services.
    Notifications,
    /// What keeps the service itself tidy.
    Maintenance,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// For its turn, or for its next attempt.
    Waiting,
    /// Somebody has claimed it.
    Running,
    /// It ended with a result.
    Done,
    /// Its last attempt failed.
    Failed,
    /// It was called off.
    Cancelled,
}

/// For whom a job is. Jobs of the service itself have the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// Number of the tenant, 0 where none is known.
    pub tenant: i64,
    /// Name of the caller.
    pub name: String,
}

impl Owner {
    /// The tenant, where one is known.
    pub fn known_tenant(&self) -> Option<i64> {
        (self.tenant != 0).then_some(self.tenant)
    }
}

/// A job that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Where it is to wait.
    pub queue: Queue,
    /// What is to be done, in the words of its handler.
    pub kind: String,
    /// Higher ones come first.
    pub priority: i64,
    /// What its handler has to know.
    pub payload: Json,
    /// Who asked.
    pub owner: Owner,
}

/// A job as it was when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Later jobs have greater ones.
    pub id: Uuid,
    /// See [`NewJob::queue`].
    pub queue: Queue,
    /// See [`NewJob::kind`].
    pub kind: String,
    /// See [`NewJob::priority`].
    pub priority: i64,
    /// See [`NewJob::payload`].
    pub payload: Json,
    /// See [`NewJob::owner`].
    pub owner: Owner,
    /// How far it is.
    pub state: JobState,
    /// How often it was claimed.
    pub attempt: i64,
    /// How often it may be.
    pub attempts_max: i64,
    /// How much of `progress_total` the last attempt has done.
    pub progress_done: i64,
    /// How much there is to do, 0 while that is not known.
    pub progress_total: i64,
    /// Whether it is to be called off where it runs.
    pub cancel_requested: bool,
    /// What its handler gave, once it is done.
    pub result: Option<Json>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it may start, or might when it did.
    pub due_at: Timestamp,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it was over for good.
    pub ended_at: Option<Timestamp>,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Exports,
        Self::Reports,
        Self::Notifications,
        Self::Maintenance,
    ];

    /// The name in the database and in every answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exports => "exports",
            Self::Reports => "reports",
            Self::Notifications => "notifications",
            Self::Maintenance => "maintenance",
        }
    }

    /// The queue of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in the database and in every answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing comes after it.
    pub fn is_end(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

impl Job {
    /// The job in a row of [`COLUMNS`]; nothing where it is none of ours.
    pub(super) fn read(row: Row) -> Option<Self> {
        let mut values = row.into_iter();
        let mut next = || values.next();
        Some(Self {
            id: text(next()?)?.parse().ok()?,
            queue: Queue::named(&text(next()?)?)?,
            kind: text(next()?)?,
            priority: integer(next()?)?,
            payload: serde_json::from_str(&text(next()?)?).ok()?,
            owner: Owner {
                tenant: integer(next()?)?,
                name: text(next()?)?,
            },
            state: JobState::named(&text(next()?)?)?,
            attempt: integer(next()?)?,
            attempts_max: integer(next()?)?,
            progress_done: integer(next()?)?,
            progress_total: integer(next()?)?,
            cancel_requested: integer(next()?)? != 0,
            result: serde_json::from_str(&text(next()?)?).ok(),
            created_at: instant(next()?)?,
            due_at: instant(next()?)?,
            started_at: moment(next()?)?,
            ended_at: moment(next()?)?,
        })
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.into_owned()),
        Value::Integer(_) => None,
    }
}

pub(super) fn integer(value: Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(number),
        Value::Text(_) => None,
    }
}

pub(super) fn instant(value: Value) -> Option<Timestamp> {
    Timestamp::from_millisecond(integer(value)?).ok()
}

/// An instant, or none where the column has 0.
fn moment(value: Value) -> Option<Option<Timestamp>> {
    match integer(value)? {
        0 => Some(None),
        ms => Timestamp::from_millisecond(ms).ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for queue in Queue::ALL {
            assert_eq!(Queue::named(queue.name()), Some(queue));
        }
        for state in JobState::ALL {
            assert_eq!(JobState::named(state.name()), Some(state));
        }
        assert_eq!(Queue::named("Exports"), None);
        assert_eq!(JobState::named(""), None);
    }

    #[test]
    fn a_row_that_is_no_job_is_none() {
        assert_eq!(Job::read(vec!["x".into()]), None);
        assert_eq!(Job::read(vec![Value::Integer(0); COLUMNS.len()]), None);
    }
}
