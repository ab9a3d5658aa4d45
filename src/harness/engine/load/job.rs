//! What crosses the pipe between the engine and a worker, and the file that a worker leaves.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::harness::engine::LoadTick;
use crate::harness::model::{Aborted, LoadMeasurement};
use crate::harness::scenario::catalogue::MetricSpec;
use crate::harness::scenario::{FeedPlan, FlowPlan, GatePlan, HttpPlan, LoadPlan, PhasePlan};

/// The format of the file that a worker leaves.
pub const LOAD_FORMAT: &str = "plimsoll.load/1";
/// A larger file is refused: 600 windows of as many request names as a flow may have stay below it.
const MAX_LOAD_FILE_BYTES: u64 = 512 << 20;

/// Everything that a worker needs, as the first line on its standard input: never in its arguments,
/// where other users of the machine could read the secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerJob {
    /// The load.
    pub load: LoadPlan,
    /// The flow that it drives.
    pub flow: FlowPlan,
    /// The feeds of the plan, by name; those that the flow doesn't name are not read.
    pub feeds: BTreeMap<String, FeedPlan>,
    /// Scheme, host and port, perhaps a path, without a final slash.
    pub target: String,
    /// How requests reach it.
    pub http: HttpPlan,
    /// What the setup extracted, by name.
    pub setup: BTreeMap<String, String>,
    /// Which of the loads that draw from a feed this is, by feed, for feeds whose rows are unique: its
    /// place among them, and their number.
    pub turns: BTreeMap<String, (u32, u32)>,
    /// The limits that end the run when they are broken.
    pub aborts: Vec<AbortRule>,
    /// The phases.
    pub phases: PhasePlan,
    /// Values of the environment variables that the flow names, by name.
    pub secrets: Secrets,
    /// The start of the load in ns since the Unix epoch; the same for all workers of a run.
    pub start_at_ns: u64,
    /// Later than this after its due time a ticket counts as late, in ns.
    pub late_ns: u64,
    /// Which part of the load.
    pub shard: Shard,
    /// Where to leave the [`LoadFile`].
    pub result: PathBuf,
}

/// A limit that ends the run as soon as the measure phase so far breaks it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AbortRule {
    /// The metric, which is one of the job's load.
    pub metric: MetricSpec,
    /// The limits on it.
    pub gate: GatePlan,
}

/// A part of a load: shard `index` owns the arrivals (or users) `index` modulo `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// How many there are; at least 1.
    pub of: u32,
}

impl Shard {
    /// The whole load.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// How many of `total` things are this shard's.
    pub(super) fn share(self, total: u64) -> u64 {
        (total + u64::from(self.of) - 1).saturating_sub(u64::from(self.index)) / u64::from(self.of)
    }

    /// The number among all of this shard's `nth` thing, both from 0.
    pub(super) fn global(self, nth: u64) -> u64 {
        nth * u64::from(self.of) + u64::from(self.index)
    }
}

/// Secret values by name. They can be sent to a worker, but not printed by accident.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(pub BTreeMap<String, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a worker says while it works, one a line on its standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WorkerEvent {
    /// A second of the load passed.
    Tick(LoadTick),
    /// A limit ends the run: the worker ends by itself, and so should all others.
    Abort(Aborted),
    /// The file is in its place; nothing follows.
    Finished,
}

/// What a worker leaves. Files of the same load can be put together by [`merge`](super::merge).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadFile {
    /// [`LOAD_FORMAT`].
    pub schema: String,
    /// Which part of the load it is.
    pub shard: Shard,
    /// Whether it was stopped before its time.
    pub partial: bool,
    /// The limit that stopped it, where one did.
    #[serde(default)]
    pub aborted: Option<Aborted>,
    /// When the last arrival could be, in ns from the start of the load: the end of the cool-down,
    /// or the moment at which it was stopped.
    pub ended_ns: u64,
    /// What was measured until then.
    pub measurement: LoadMeasurement,
}

/// Why a load file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LoadFileError {
    /// The file system said no.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// It is larger than any file of ours.
    #[error("{path} is larger than {MAX_LOAD_FILE_BYTES} bytes, so no worker wrote it")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not JSON of the right form.
    #[error("{path} is not a load file: {error}; run the load again")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// It has another format.
    #[error("{path} has the format `{found}`; this version of plimsoll reads `{LOAD_FORMAT}`")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

impl LoadFile {
    /// Writes it so that whoever finds the file finds all of it.
    pub fn write(&self, path: &Path) -> Result<(), LoadFileError> {
        let failed = |error| LoadFileError::Io {
            path: path.to_owned(),
            error,
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut file =
            tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        let mut writer = BufWriter::new(file.as_file_mut());
        serde_json::to_writer(&mut writer, self).map_err(|error| failed(error.into()))?;
        writer.flush().map_err(failed)?;
        drop(writer);
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Reads what [`write`](Self::write) wrote.
    pub fn read(path: &Path) -> Result<Self, LoadFileError> {
        let failed = |error| LoadFileError::Io {
            path: path.to_owned(),
            error,
        };
        let malformed = |error| LoadFileError::Malformed {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > MAX_LOAD_FILE_BYTES {
            return Err(LoadFileError::TooLarge {
                path: path.to_owned(),
            });
        }
        let mut text = Vec::new();
        BufReader::new(file)
            .take(MAX_LOAD_FILE_BYTES)
            .read_to_end(&mut text)
            .map_err(failed)?;
        // The format is looked at first, so that a newer file is named as such.
        let Head { schema } = serde_json::from_slice(&text).map_err(malformed)?;
        if schema != LOAD_FORMAT {
            return Err(LoadFileError::Format {
                path: path.to_owned(),
                found: schema.chars().take(60).collect(),
            });
        }
        serde_json::from_slice(&text).map_err(malformed)
    }
}

#[derive(Deserialize)]
struct Head {
    schema: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_everything_and_nothing_twice() {
        for of in 1..7 {
            for total in 0..40 {
                let mut all: Vec<u64> = (0..of)
                    .map(|index| Shard { index, of })
                    .flat_map(|shard| (0..shard.share(total)).map(move |nth| shard.global(nth)))
                    .collect();
                all.sort_unstable();
                assert_eq!(all, (0..total).collect::<Vec<_>>(), "{total} over {of}");
            }
        }
    }

    #[test]
    fn secrets_are_printed_by_name_only() {
        let secrets = Secrets(BTreeMap::from([("TOKEN".into(), "a b/c".into())]));
        assert_eq!(format!("{secrets:?}"), r#"{"TOKEN"}"#);
    }
}
