//! Jobs that run in the background, kept in the database: they outlive the process that took them in and
//! the one that runs them.
//!
//! [`Jobs`] is the queue, [`Workers`] run what is in it. Who claims a job has a lease, extended while it
//! runs; when the lease is over, the job is somebody else's to claim. Each claim has a number of its own,
//! the attempt, and only the run with the last one can end the job: a process that was paused for longer
//! than its lease finds that it has lost the job, and what it made is thrown away.
//!
//! A job may run more than once, so a handler's work has to bear that; its result counts once.

mod job;
mod error;
mod backoff;
mod queue;
mod claim;
mod ending;
mod history;
mod statistics;
mod run;
mod workers;

pub use claim::Beat;
pub use ending::Outcome;
pub use error::JobError;
pub use history::{FailedAttempt, JobFilter};
pub use job::{Job, JobState, NewJob, Owner, Queue};
pub use queue::Jobs;
pub use run::{Failure, Handler, Progress};
pub use statistics::{Durations, QueueStats};
pub use workers::Workers;
