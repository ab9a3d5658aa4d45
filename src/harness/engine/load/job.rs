//! What crosses the pipe between the engine and a worker, and the file that a worker leaves.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::harness::engine::LoadTick;
use crate::harness::engine::document::{self, DocumentError, Kind};
use crate::harness::model::{Aborted, LoadMeasurement, ShardPart};
use crate::harness::scenario::catalogue::MetricSpec;
use crate::harness::scenario::{FeedPlan, FlowPlan, GatePlan, HttpPlan, LoadPlan, PhasePlan};

/// The hidden command that makes a process a worker.
pub const WORKER_COMMAND: &str = "load-worker";
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
    /// The number of the load's first iteration: those before it were of trials of the same run. Shards
    /// count from it.
    pub first_iteration: u64,
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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// How many there are; at least 1.
    pub of: u32,
}

impl Shard {
    /// The whole load.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// One of so many parts of this shard, which together own what it owns.
    pub fn part(self, nth: u32, parts: u32) -> Self {
        Self {
            index: self.index + self.of * nth,
            of: self.of * parts,
        }
    }

    /// How many of `total` things are this shard's.
    pub(in crate::harness::engine) fn share(self, total: u64) -> u64 {
        let of = u64::from(self.of);
        total / of + u64::from(total % of > u64::from(self.index))
    }

    /// The number among all of this shard's `nth` thing, both from 0.
    pub(super) fn global(self, nth: u64) -> u64 {
        nth * u64::from(self.of) + u64::from(self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl From<Shard> for ShardPart {
    fn from(Shard { index, of }: Shard) -> Self {
        Self { index, of }
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
    /// From here on SIGTERM ends it in order; before, it would kill it.
    Listening,
    /// A second of the load passed.
    Tick(LoadTick),
    /// A limit ends the run: the worker ends by itself, and so should all others.
    Abort(Aborted),
    /// The file is in its place; nothing follows.
    Finished,
}

/// What a worker leaves. Files of the same load are put together by `collect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

impl LoadFile {
    const KIND: Kind = Kind {
        format: LOAD_FORMAT,
        name: "load file",
        remedy: "run the load again",
        max_bytes: MAX_LOAD_FILE_BYTES,
    };

    /// Writes it so that whoever finds the file finds all of it.
    ///
    /// # Errors
    /// The file system said no.
    pub fn write(&self, path: &Path) -> Result<(), DocumentError> {
        document::write(path, self)
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// The file system said no, or it is no load file of this version.
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        document::read(path, &Self::KIND)
    }
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
    fn parts_of_a_shard_own_what_it_owns() {
        for of in 1..5 {
            for index in 0..of {
                let shard = Shard { index, of };
                for parts in 1..4 {
                    let own = |shard: Shard| (0..shard.share(60)).map(move |nth| shard.global(nth));
                    let mut all: Vec<u64> = (0..parts)
                        .flat_map(|nth| own(shard.part(nth, parts)))
                        .collect();
                    all.sort_unstable();
                    assert_eq!(all, own(shard).collect::<Vec<_>>(), "{shard} in {parts}");
                }
            }
        }
    }

    #[test]
    fn secrets_are_printed_by_name_only() {
        let secrets = Secrets(BTreeMap::from([("TOKEN".into(), "a b/c".into())]));
        assert_eq!(format!("{secrets:?}"), r#"{"TOKEN"}"#);
    }
}
