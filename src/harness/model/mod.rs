//! The vocabulary of the pipe: what a metric, a histogram, a measurement and a run are.
//!
//! Plain values only: everything here can be saved as JSON, read back and continued from. Nothing
//! here does I/O, and nothing here looks at another module of ours. Durations are integer
//! nanoseconds; a format that leaves the process carries a version.

mod text;
mod metric;
pub mod path;
pub mod quantile;
mod histogram;
mod packed;
mod load;
mod subject;
mod bench;
mod fingerprint;
mod run;

pub use self::bench::{BenchInvocation, BenchMeasurement, INVOCATIONS_NEEDED, Sampling};
pub use self::fingerprint::{Fingerprint, FingerprintDifference};
pub use self::histogram::{HistogramError, LatencyHistogram};
pub use self::load::{
    ArrivalModel, CapacitySearch, CapacityTrial, ConnectionSeries, Counts, ErrorKind, ErrorTally,
    GeneratorHealth, GeneratorSample, GroupSeries, LoadMeasurement, LoadWindow, Outcome, Phase,
    RequestSeries, RequestWindow, ShardPart, TrialOutcome, UserTime,
};
pub use self::metric::{Direction, Failures, Metric, PairedValues, Reading, Unit, median};
pub(crate) use self::run::by_session;
pub use self::run::{
    Aborted, Arm, InvalidReason, MEASUREMENT_VERSION, Measurement, PhaseSpan, RUN_FORMAT, Run,
    RunId, ShardFault, TimelineEvent, is_committed, same_state,
};
pub use self::subject::{ProbePoint, ProbeSeries, ProcessSample, ProcessSeries, ProcessUsage};
pub(crate) use self::text::{escaped, hexadecimal, steers};
