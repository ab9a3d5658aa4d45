//! The load engine: a load of a plan → [`LoadMeasurement`](crate::harness::model::LoadMeasurement).
//!
//! ```text
//! drive ──job──▶ worker: dispatcher ──tickets──▶ users ──▶ recorder ──▶ clerk ──▶ file
//!       ◀─ticks──                                  └──▶ transport
//! ```
//!
//! [`drive`] starts a process for each job and puts together what those of one load measured: a load
//! that is too much for one core has several, and so do the shards of a run on several machines. Inside
//! such a process,
//! [`worker_main`] lets goose keep the users alive; in an open model a dispatcher hands each arrival
//! to an idle user at its due time, which the schedule says, or drops it; the recorder counts; once a
//! second the clerk puts what was counted into windows that don't grow in number with the duration, and
//! sees whether a limit ends the run.
//!
//! **What is measured.** An exchange ends with the last byte of its body. Service time is from the
//! actual send, response time from the intended one. The intended start of an iteration is its due
//! time in an open model, and the moment at which its user begins it in a closed one. The first
//! request of an arrival is meant to be sent at that intended start; any other when the user comes
//! to it, so that its response time is its service time. The time of an iteration is from its
//! intended start to the last byte of its last step. The first step that fails ends its iteration.
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
mod files;
mod trace;
mod schedule;
mod dispatcher;
mod users;
mod flow;
mod feed;
mod template;
mod check;
mod transport;
mod recorder;
mod windows;
mod clerk;
mod abort;
mod merge;
mod validity;
#[cfg(test)]
mod fixture;

pub(super) use self::abort::abort_rules;
pub use self::check::CheckError;
pub use self::collect::{LoadResult, WorkerEnd, by_load, collect};
pub use self::drive::{LoadError, drive, perform};
pub use self::feed::FeedError;
pub use self::flow::FlowError;
pub use self::job::{
    AbortRule, LOAD_FORMAT, LoadFile, Secrets, Shard, WORKER_COMMAND, WorkerEvent, WorkerJob,
};
pub use self::merge::{MergeError, merge};
pub use self::template::TemplateError;
pub use self::trace::TraceError;
pub use self::transport::TransportError;
pub use self::validity::validity;
pub(super) use self::windows::{MAX_WINDOWS, WINDOW_NS, phase_at};
pub use self::worker::{WorkerError, worker_main};
