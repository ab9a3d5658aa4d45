//! Batch operations (BA3 to BA5): CREATE, UPDATE, DELETE, UPSERT, MIGRATE, ARCHIVE and PURGE over any
//! number of rows, one transaction a batch.
//!
//! [`Operations`] starts a [`Work`] as a [`Run`]. In the transaction of each batch stand its changes,
//! its row in `audit`, its rows in `dead_letters` and the cursor in `batch_runs`. So whatever is cut
//! off (a connection, a commit, the process), the ledger says what is in, and the run goes on from
//! there: a row is changed or laid aside, once, and none is left out.

mod work;
mod statements;
mod apply;
mod ledger;
mod retry;
mod cancel;
mod progress;
mod error;
mod run;

pub use cancel::Cancel;
pub use error::RunError;
pub use ledger::{
    LEDGER_TABLES, LaidAside, RunFilter, RunRecord, RunState, Standing, ledger_schema,
};
pub use progress::Progress;
pub use retry::{Trouble, delays};
pub use run::{Operations, Run};
pub use work::{
    Comparison, Condition, Filter, KEY_MAX, Mapping, Operation, RowSource, SourceError, Transform,
    Work,
};
