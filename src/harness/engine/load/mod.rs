//! The load engine: a load of a plan → [`LoadMeasurement`](crate::harness::model::LoadMeasurement).
//!
//! ```text
//! perform ─job─▶ worker: dispatcher ──tickets──▶ users ──▶ recorder ──▶ clerk ──▶ file
//!       ◀─ticks──                                  └──▶ transport
//! ```
//!
//! [`perform`] starts a process for each job, and [`collect`] puts together what those of one load measured: a
//! load that is too much for one core has several, and so do the shards of a run on several machines. Inside
//! such a process, [`worker_main`] lets goose keep the users alive; in an open model a dispatcher hands each
//! arrival to an idle user at its due time, which the schedule says, or drops it; the recorder counts; once a
//! second the clerk puts what was counted into windows that don't grow in number with the duration, and
//! sees whether a limit ends the run. [`once`] performs the flows before and after the loads.
//!
//! **What users do.** A flow is compiled once into a flat program, with everything read, parsed and
//! encoded that can be; a user's journey goes through it step by step. One user performs one iteration
//! at a time, with its own connection, cookies and values; what is random in an iteration follows from
//! the load's seed and the iteration's number, whoever performs it.
//!
//! **What is measured.** An exchange ends with the last byte of its body. Service time is from the
//! actual send, response time from the intended one. The intended start of an iteration is its due
//! time in an open model, and the moment at which its user begins it in a closed one. The first
//! request of an arrival is meant to be sent at that intended start, or after the pauses that precede
//! it; any other when the user comes to it, so that its response time is its service time. A request
//! is all of its attempts and redirects. The time of an iteration is from its intended start to the
//! last byte of its last step, that of a group from when the user comes to it to when the user leaves
//! it, pauses included. The first step that fails ends its iteration, and the groups that it is in.
//!
//! **What adds up.** Every arrival is dropped or started; every started iteration completed, failed
//! or was cut off by the end of the run. Nothing is sampled, rounded or filled in.

mod job;
mod drive;
mod ticks;
mod collect;
mod worker;
mod clock;
mod shape;
mod trace;
mod schedule;
mod alarm;
mod dispatcher;
mod users;
mod journey;
mod steps;
mod flow;
mod program;
mod request;
mod body;
mod template;
mod feed;
mod shuffle;
mod files;
mod condition;
mod think;
mod expect;
mod check;
mod extract;
mod content;
mod html;
mod cookies;
mod redirect;
mod transport;
mod recorder;
mod windows;
mod clerk;
mod abort;
mod merge;
mod validity;
mod once;
#[cfg(test)]
mod fixture;

pub(super) use self::abort::abort_rules;
pub use self::body::BodyError;
pub use self::check::CheckError;
pub use self::collect::{LoadResult, WorkerEnd, collect};
pub use self::condition::ConditionError;
pub use self::drive::{LoadError, perform};
pub use self::feed::FeedError;
pub use self::files::FileError;
pub use self::flow::FlowError;
pub(super) use self::flow::proxy;
pub use self::job::{
    AbortRule, LOAD_FORMAT, LoadFile, Secrets, Shard, WORKER_COMMAND, WorkerEvent, WorkerJob,
};
pub use self::merge::MergeError;
pub use self::once::{FailedStep, Performed, once};
pub use self::program::StepError;
pub use self::request::RequestError;
pub use self::template::TemplateError;
pub use self::trace::TraceError;
pub use self::transport::TransportError;
pub use self::validity::crowded;
pub(super) use self::windows::{MAX_WINDOWS, WINDOW_NS, length_ns, phase_at};
pub use self::worker::{WorkerError, worker_main};
