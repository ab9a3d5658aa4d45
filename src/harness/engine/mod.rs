//! Plan → measurement: processes, load (goose), benches (criterion), probes.

mod progress;
mod flag;
mod nanoseconds;
mod thinned;
mod cores;
mod secrets;
mod redact;
mod http;
mod apart;
mod document;
pub mod checkout;
pub mod process;
pub mod probe;
pub mod load;
pub mod bench;
pub mod machine;
mod metrics;
mod demand;
mod jobs;
mod setup;
mod watch;
mod capacity;
mod execute;
pub mod shards;

pub use self::demand::is_loopback;
pub use self::document::DocumentError;
pub use self::execute::{ExecuteError, SubjectEngine};
pub use self::metrics::metrics;
pub use self::progress::{GeneratorState, GeneratorTick, LoadTick, Progress, Tick};
pub use self::redact::Redactor;
pub use self::secrets::secret_names;

use std::future::Future;

use crate::harness::model::{Aborted, InvalidReason, Measurement, Metric};
use crate::harness::scenario::Plan;

/// What executes a plan. The pipe is tested with a scripted one.
pub trait Engine {
    /// Why it couldn't.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Builds what the plan's processes and benches need: once in a session.
    fn build(
        &mut self,
        plan: &Plan,
        observe: &(dyn Fn(Progress) + Send + Sync),
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Executes the plan once: processes up, load or benches, processes down. When `stop` becomes
    /// true, ends early and returns what was measured, marked partial. A target that dies and a
    /// bench that fails are results (invalid ones), not errors.
    fn run(
        &mut self,
        plan: &Plan,
        stop: tokio::sync::watch::Receiver<bool>,
        observe: &(dyn Fn(Progress) + Send + Sync),
    ) -> impl Future<Output = Result<Executed, Self::Error>> + Send;
}

/// What one execution gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Executed {
    /// What was measured.
    pub measurement: Measurement,
    /// The metrics that follow from it, sorted by name.
    pub metrics: Vec<Metric>,
    /// Why it must not be judged; empty for a valid one.
    pub invalid: Vec<InvalidReason>,
    /// Whether it was stopped before its time.
    pub partial: bool,
    /// The limit that stopped it before its time, where one did.
    pub aborted: Option<Aborted>,
    /// What went wrong beside what was measured, in sentences; hostile text without secrets.
    pub warnings: Vec<String>,
    /// From the start of the first process to the end of the last, in ns.
    pub duration_ns: u64,
}
