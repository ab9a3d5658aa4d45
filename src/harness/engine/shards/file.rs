//! What a shard leaves for the one who puts the run together.

use std::path::Path;

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use crate::harness::engine::document::{self, DocumentError, Kind};
use crate::harness::engine::load::{LoadFile, Shard, WorkerEnd};
use crate::harness::model::{Fingerprint, InvalidReason};

/// The format of the file that a shard leaves.
pub const SHARD_FORMAT: &str = "plimsoll.shard/1";
/// A run has at most so many shards.
pub const MAX_SHARDS: u32 = 1000;
/// A larger file is refused: the files of a few workers, and each of them is smaller than this.
const MAX_SHARD_FILE_BYTES: u64 = 512 << 20;

const KIND: Kind = Kind {
    format: SHARD_FORMAT,
    name: "shard file",
    remedy: "fetch it again from the machine that wrote it, or run all shards again",
    max_bytes: MAX_SHARD_FILE_BYTES,
};

/// What one shard of a run measured, and what it must agree on with the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShardFile {
    /// [`SHARD_FORMAT`].
    pub schema: String,
    /// The version of Plimsoll that made it.
    pub plimsoll_version: String,
    /// Which part of the run it is.
    pub shard: Shard,
    /// The scenario's name; a variant other than the first is part of it: `mixed@servers`.
    pub scenario: String,
    /// The machine, and the hash of the scenario's measured part.
    pub fingerprint: Fingerprint,
    /// Where the requests went.
    pub target: String,
    /// When the loads began, in ns since the Unix epoch by this machine's clock: what all shards were
    /// given.
    pub start_at_ns: u64,
    /// How far this machine's clock was set while the shard went on, in ns: positive where it was set
    /// forward. How far it is from those of other machines can't be seen from here.
    pub clock_set_ns: i64,
    /// From the start of the loads to the end of the last worker, in ns.
    pub duration_ns: u64,
    /// Whether it was stopped before its time.
    pub partial: bool,
    /// Why it must not be judged, as far as its workers don't say.
    pub invalid: Vec<InvalidReason>,
    /// What went wrong beside what was measured, in sentences; hostile text without secrets.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What its workers left: one or more a load.
    pub workers: Vec<LoadFile>,
    /// Those that left nothing.
    pub failed: Vec<FailedWorker>,
}

/// The JSON Schema of a [`ShardFile`], as committed in `docs/schema/shard.schema.json`.
pub fn schema() -> Schema {
    schema_for!(ShardFile)
}

/// A worker that left no file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedWorker {
    /// The load.
    pub load: String,
    /// Its part of it.
    pub shard: Shard,
    /// What it said last.
    pub message: String,
}

impl ShardFile {
    /// Writes it so that whoever finds the file finds all of it.
    ///
    /// # Errors
    /// The file system said no.
    pub fn write(&self, path: &Path) -> Result<(), DocumentError> {
        document::write(path, self)
    }

    /// The same in one line, packed, for a log that may not be long.
    pub fn packed(&self) -> std::io::Result<String> {
        document::packed(self)
    }

    /// Whether one could be written there now: a long run is no time to find out that it can't.
    ///
    /// # Errors
    /// The file system said no.
    pub fn can_be_written(path: &Path) -> Result<(), DocumentError> {
        document::can_be_written(path)
    }

    /// Reads what [`write`](Self::write) or [`packed`](Self::packed) wrote. It may come from anywhere: only
    /// its form is known.
    ///
    /// # Errors
    /// The file system said no, or it is no shard file of this version.
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        document::read(path, &KIND)
    }

    /// What became of its workers.
    pub(super) fn ends(self) -> impl Iterator<Item = WorkerEnd> {
        let failed = self.failed.into_iter().map(|worker| WorkerEnd {
            load: worker.load,
            shard: worker.shard,
            outcome: Err(worker.message),
        });
        let left = self.workers.into_iter().map(|file| WorkerEnd {
            load: file.measurement.name.clone(),
            shard: file.shard,
            outcome: Ok(file),
        });
        left.chain(failed)
    }
}
