//! Where runs are kept: the history of runs (SQLite or PostgreSQL), run files, and the baselines and
//! anchors that a repository holds as files.
//!
//! [`History`] is the main type. What is kept here is read back as hostile text: sizes are capped,
//! format versions are checked, and an error names the place. Every format carries a version.

mod format;
mod error;
mod location;
mod open;
mod statement;
mod summary;
mod history;
mod lineage;
mod prune;
pub mod files;
mod calibration;
mod baseline;
mod anchors;
mod review;

pub use self::anchors::{Anchor, AnchorError};
pub use self::baseline::{
    AcceptedDrift, BASELINE_FORMAT, Baseline, BaselineChange, BaselineDiff, BaselineError,
    BaselineLoad, BaselineMetric, BaselineRequest, BaselineRun, BaselineSession,
};
pub use self::calibration::{Calibration, CalibrationMetric, CalibrationSession};
pub use self::error::StoreError;
pub use self::files::FileError;
pub use self::format::{DecodeError, FormatError, check as check_format};
pub use self::history::{History, Saved};
pub use self::lineage::{LineageSummary, MetricSeries, SeriesPoint};
pub use self::prune::{Expired, Retention, Space};
pub use self::summary::{Query, RunSummary, SessionSummary};
