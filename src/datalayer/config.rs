//! The one place where the figures of the data layer stand: lifetimes, sizes, thresholds.
//!
//! [`Settings::default`] is what FEATURES.md asks for; a TOML file changes any of them, and an
//! environment variable (`REFSERVICE__CACHE__L1_ENTRIES=2000`) changes one on top of that. Addresses
//! of servers are not settings: they carry passwords and are given where a server is opened.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cache::Kind;
use super::cache::warming::Strategy;

/// Names of environment variables that override a setting start with this; `__` separates levels.
pub const ENV_PREFIX: &str = "REFSERVICE__";

const MIB: u64 = 1024 * 1024;
/// Beyond any use, and short enough to be added to any clock.
const TTL_MAX_S: u64 = 10 * 366 * 24 * 60 * 60;
/// Beyond what a database takes, and few enough to make room for.
const CONNECTIONS_MAX: u32 = 10_000;
/// Room for each of them is made at the start.
const NEWS_MAX: usize = 1_000_000;
/// The longest string of Redis, as it is configured by default.
const VALUE_MAX_BYTES: usize = 512 * MIB as usize;
/// Beyond any use, and few enough to keep in memory.
const CALLS_MAX: u32 = 10_000;
/// Who waits longer is not retrying.
const RETRY_DELAY_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// Beyond any use.
const WARMING_CONCURRENCY_MAX: usize = 1000;
/// Ten years.
const RECENT_DAYS_MAX: u32 = 3660;
/// Beyond any use.
const RETRY_FACTOR_MAX: f64 = 100.0;
/// As many as are kept in memory of one thing.
const QUEUE_MAX: usize = 1_000_000;

/// Every figure of the data layer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The two-tier cache.
    pub cache: CacheSettings,
    /// The database pool.
    pub pool: PoolSettings,
    /// Rate limits.
    pub limit: LimitSettings,
    /// Circuit breakers of calls to other services.
    pub breaker: BreakerSettings,
    /// Batches and streams.
    pub batch: BatchSettings,
    /// Locks.
    pub lock: LockSettings,
    /// Live updates.
    pub live: LiveSettings,
    /// Jobs that run in the background.
    pub jobs: JobSettings,
}

/// Figures of the two-tier cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Whether anything is cached. Without, each read loads its value, and a service can be compared with and
    /// without its cache.
    pub enabled: bool,
    /// Most entries in the first tier, in this process.
    pub l1_entries: u64,
    /// Most bytes of keys and values in the embedded second tier; Redis has its own limit.
    pub l2_memory_bytes: u64,
    /// Larger values are kept in the first tier only.
    pub l2_max_value_bytes: usize,
    /// Larger values are compressed in Redis, if that makes them smaller.
    pub l2_compress_above_bytes: usize,
    /// What every key in Redis starts with; `clear` removes these keys and no others.
    pub l2_key_prefix: String,
    /// Longest wait for one answer of the second tier, connecting included.
    pub l2_timeout_ms: u64,
    /// First pause before a second tier that went away is asked again.
    pub l2_retry_min_ms: u64,
    /// The pause doubles with each failure up to this.
    pub l2_retry_max_ms: u64,
    /// How often a process tells a second tier that outlives it that it is there.
    pub l2_beat_ms: u64,
    /// A process not heard of for so long is taken for gone, and the tier is cleared of what it may
    /// have left unsaid.
    pub l2_absent_ms: u64,
    /// How long one process may load a key before another one may try. It has to be longer than
    /// the slowest load: what comes later is answered but not kept.
    pub lease_ms: u64,
    /// How long a process waits for another one's load before it loads by itself: as long as a lease
    /// may be held, or one key would be loaded twice. A request that ends earlier waits no longer.
    pub lease_wait_ms: u64,
    /// First pause between two looks at another process's load; doubles each time.
    pub lease_poll_min_ms: u64,
    /// Longest pause between two such looks.
    pub lease_poll_max_ms: u64,
    /// By how many changes that others made in the embedded second tier the first one may be behind;
    /// with more it is emptied instead.
    pub l1_news_max: usize,
    /// The parameters of a query are hashed where its key would be longer.
    pub query_key_max_bytes: usize,
    /// How many of the hottest and of the coldest keys the statistics name.
    pub ranked_keys: usize,
    /// Lifetimes by kind of data.
    pub ttl: TtlSettings,
    /// Filling the cache ahead of its use.
    pub warming: WarmingSettings,
}

/// Figures of filling the cache ahead of its use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WarmingSettings {
    /// With what a service fills the cache when it starts: critical_only, high_frequency, recent_data
    /// or comprehensive. Nothing by default.
    pub at_start: Option<Strategy>,
    /// How long a service that starts waits for its cache to be filled, and for the second tier before
    /// that, until it says that it is ready. It goes on filling then.
    pub start_wait_ms: u64,
    /// How long a value lives that high_frequency brings, unless its kind lives shorter.
    pub high_frequency_ttl_s: u64,
    /// How long a value lives that recent_data brings, unless its kind lives shorter.
    pub recent_ttl_s: u64,
    /// How many days recent_data goes back, the latest one included.
    pub recent_days: u32,
    /// Most keys that are loaded at once. Less than the pool has connections, so that requests find
    /// some; where it is more, one less than those.
    pub concurrency: usize,
    /// How often a key whose load failed is tried again.
    pub retries_max: usize,
    /// After so many keys in a row that failed, nothing more is brought: the database has other worries.
    pub failures_max: u32,
    /// First pause before a key is tried again; up to twice as long by chance.
    pub retry_min_ms: u64,
    /// The pause doubles with each attempt up to this.
    pub retry_max_ms: u64,
    /// A value that is there and has less than this share of its lifetime left is loaded anew; 0 for
    /// none, 1 for every one.
    pub renew_below_ratio: f64,
    /// Of how many warm-ups that have ended the last ones can still be asked about.
    pub kept_max: usize,
}

/// How long a cached value lives, by kind of data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TtlSettings {
    /// A page of a listing.
    pub list_s: u64,
    /// One object.
    pub detail_s: u64,
    /// A user and their rights.
    pub user_s: u64,
    /// Aggregates over many rows.
    pub analytics_s: u64,
    /// A dashboard.
    pub dashboard_s: u64,
    /// Reference data that hardly ever change.
    pub reference_s: u64,
    /// Everything else.
    pub other_s: u64,
}

/// Figures of the database pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSettings {
    /// Connections kept open while nobody needs them.
    pub min_connections: u32,
    /// Most connections open at once.
    pub max_connections: u32,
    /// A connection above the minimum that was not needed for this long is closed.
    pub idle_timeout_ms: u64,
    /// Longest wait for a connection.
    pub acquire_timeout_ms: u64,
    /// A connection that rested longer is tested before it is handed out. Testing each one would
    /// cost every checkout a round trip; testing none would hand out what a restart has broken.
    pub test_after_idle_ms: u64,
    /// Longest wait for a peer when a connection is tested, returned or closed, or made for somebody who
    /// no longer waits for it; a peer that has not answered by then is taken for dead and its
    /// connection is dropped.
    pub peer_timeout_ms: u64,
    /// Longest time for one statement, a fetch of a cursor and an insert of a batch included. What
    /// runs longer is broken off, and so is what waits for a peer that died in the middle of it.
    /// PostgreSQL itself ends what nobody has told it to end `peer_timeout_ms` later.
    pub statement_timeout_ms: u64,
    /// After so long PostgreSQL itself ends a transaction in which nothing is asked: nobody is left who
    /// would end it. More than `batch.consumer_limit_ms` and `batch.pause_limit_ms` together, for which the
    /// cursor of a slow export rests.
    pub idle_transaction_timeout_ms: u64,
    /// How long SQLite waits for a lock held by another connection.
    pub sqlite_busy_timeout_ms: u64,
    /// A caller who waits so long makes the pool grow by a connection, up to the maximum.
    pub grow_after_wait_ms: u64,
    /// How often the connections that rest are tested, and the database with them.
    pub health_check_ms: u64,
    /// A connection that is out and unused for so long is reported as a leak, in a transaction or not.
    pub leak_after_ms: u64,
    /// A statement that runs for so long is listed.
    pub long_statement_ms: u64,
    /// A statement that took longer is counted as a slow one.
    pub slow_statement_ms: u64,
}

/// Figures of the rate limits, each in requests a minute and off at 0. A limit of n lets n requests
/// through at once and then one more every nth of a minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Requests a minute of each user; of each address, where no user is named.
    pub user_per_min: u32,
    /// Requests a minute of each tenant, all its users together.
    pub tenant_per_min: u32,
    /// Requests a minute of each user, or address, to each endpoint.
    pub endpoint_per_min: u32,
    /// Most users, tenants and endpoints, of each kind, that are counted one by one; those beyond
    /// are counted together.
    pub keys_max: usize,
    /// How often those that have all of their limit again are forgotten.
    pub upkeep_ms: u64,
}

/// Figures of the circuit breakers of calls to other services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// Of how many calls, the last ones, the share of failures is taken: from the call after as many
    /// on, so that a few early ones decide nothing.
    pub window_calls: u32,
    /// From this share of failures on, from 0 to 1, the breaker opens.
    pub failure_ratio: f32,
    /// How long it stays open before it lets a call through as a trial.
    pub open_ms: u64,
    /// How many trials, one after the other, must succeed for it to close; one that fails opens it
    /// again.
    pub half_open_calls: u32,
}

/// Figures of batches and streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchSettings {
    /// Memory that a stream may take in all.
    pub memory_ceiling_bytes: u64,
    /// Rows in the first batch.
    pub start_rows: u32,
    /// Fewest rows in a batch.
    pub min_rows: u32,
    /// Most rows in a batch.
    pub max_rows: u32,
    /// Batches grow while memory rose by less than this.
    pub grow_below_bytes: u64,
    /// Batches shrink when memory rose by more than this.
    pub shrink_above_bytes: u64,
    /// Work pauses above this share of the ceiling.
    pub pause_above_ratio: f64,
    /// How often a paused operation asks for the memory again.
    pub pause_poll_ms: u64,
    /// How long an operation may be paused in one go before it is given up.
    pub pause_limit_ms: u64,
    /// How long a stream waits for a consumer that takes nothing before it gives its connection back.
    pub consumer_limit_ms: u64,
    /// Rows in a page when the caller names no limit.
    pub page_rows: u32,
    /// Most rows in a page.
    pub page_max_rows: u32,
    /// Most rows that a numbered page may skip. Who wants to go further follows the cursor, which
    /// costs the same everywhere.
    pub page_max_skip_rows: u32,
    /// Most rows that one run of a batch operation may lay aside as dead letters. With more of them
    /// the run ends and can be resumed: it is then the operation that is wrong and not a row.
    pub dead_letters_max: u32,
    /// A run that says it goes on and gave no sign of life for so long has nobody left who runs it: who
    /// cancels it does not wait. More than a batch takes with all its attempts.
    pub abandoned_after_s: u64,
    /// How long runs stay, and the rows that they laid aside, after their last sign of life. What they
    /// changed stays in the audit.
    pub history_kept_s: u64,
    /// When a batch that failed is tried again.
    pub retry: RetrySettings,
}

/// When a batch that failed is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// How the pauses grow.
    pub strategy: RetryStrategy,
    /// How often a batch is tried in all, the first time included.
    pub attempts: u32,
    /// The first pause, and the step by which linear and Fibonacci pauses grow.
    pub min_delay_ms: u64,
    /// No pause is longer.
    pub max_delay_ms: u64,
    /// By what an exponential pause is multiplied each time.
    pub factor: f64,
    /// A pause is shortened by up to this share of it, at random, so that those who failed together
    /// do not come back together. 0 for none.
    pub jitter_ratio: f64,
}

/// How the pauses between attempts grow; `d` is the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetryStrategy {
    /// d, 2d, 4d, 8d with a factor of 2.
    Exponential,
    /// d, 2d, 3d, 4d.
    Linear,
    /// d, d, d, d.
    Fixed,
    /// d, d, 2d, 3d, 5d.
    Fibonacci,
}

/// Figures of locks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LockSettings {
    /// What the key of every lock in Redis starts with. Not what the keys of the cache start with, or
    /// clearing the cache would free all locks.
    pub key_prefix: String,
    /// How long a lock lives that is held for work and extended meanwhile: so long others are kept out
    /// when its holder dies.
    pub ttl_ms: u64,
    /// Such a lock is extended when this share of its lifetime is over.
    pub extend_at_ratio: f64,
    /// Longest wait for a lock that somebody else holds.
    pub wait_ms: u64,
    /// First pause before a lock that is taken is tried again; up to twice as long by chance, so that those
    /// who wait come one by one.
    pub retry_min_ms: u64,
    /// The pause doubles with each attempt up to this.
    pub retry_max_ms: u64,
    /// Longest wait for a server's answer to whether a lock is to be had or kept, connecting included. It
    /// may be asked twice in that time: a server that is silent for half of it is away.
    pub timeout_ms: u64,
    /// How often a server that was found away is asked whether it is back; nobody waits for it meanwhile.
    pub away_pause_ms: u64,
}

/// Figures of live updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LiveSettings {
    /// What every key in Redis starts with, and the name of the channel. Not what the keys of the cache
    /// start with, or clearing the cache would lose what subscribers resume from.
    pub key_prefix: String,
    /// Most connections of a tenant to this process.
    pub connections_per_tenant: u32,
    /// How long updates are gathered before they are sent together.
    pub batch_ms: u64,
    /// So many updates are sent before that time is over.
    pub batch_max_updates: usize,
    /// Batches that wait for one connection; one that leaves more unread is closed.
    pub queue_batches: usize,
    /// Updates that are kept of a tenant, for those who come back.
    pub history_updates: usize,
    /// How long Redis keeps them when no further one comes.
    pub history_ttl_s: u64,
    /// Updates that wait for Redis; beyond them, they are delivered in this process only, and all
    /// subscribers are told of a gap.
    pub publish_queue_updates: usize,
    /// Messages a minute that a user may send to this process, over all connections, or somebody whose
    /// name is not known over one; off at 0.
    pub messages_per_min: u32,
    /// Largest message of a client.
    pub message_max_bytes: usize,
    /// A connection that neither sent a message nor got one for so long is closed.
    pub idle_ms: u64,
    /// How often a client is asked whether it is still there.
    pub ping_ms: u64,
    /// Longest wait for a client to answer that, to take a message, or to close.
    pub peer_timeout_ms: u64,
    /// Longest wait for one answer of Redis, connecting included.
    pub timeout_ms: u64,
    /// First pause before a Redis that went away is tried again.
    pub retry_min_ms: u64,
    /// The pause doubles with each failure up to this.
    pub retry_max_ms: u64,
    /// How often a process looks whether a message of Redis failed to reach it.
    pub check_ms: u64,
}

/// Figures of the jobs that run in the background.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobSettings {
    /// How often a job is run before it has failed, runs that a crash cut off included.
    pub attempts: u32,
    /// First pause before a job that failed is run again; up to twice as long by chance.
    pub backoff_min_ms: u64,
    /// The pause doubles with each attempt up to this.
    pub backoff_max_ms: u64,
    /// How long a job is its runner's without a sign of life: so long a job rests whose process died.
    pub lease_ms: u64,
    /// How often a runner gives a sign of life, says how far it is, and looks whether it was called off.
    pub beat_ms: u64,
    /// How often a process looks for jobs that others took in, and for those whose pause is over.
    pub poll_ms: u64,
    /// Longest time for one attempt.
    pub run_timeout_ms: u64,
    /// When the service ends, jobs under way are let go on for so long; then they are given back.
    pub stop_grace_ms: u64,
    /// Highest priority that can be asked for; the lowest is 0.
    pub priority_max: u32,
    /// Priority of a job that names none.
    pub priority_default: u32,
    /// Most jobs of one queue that may wait or run.
    pub open_max: u64,
    /// Most of them that one caller may have.
    pub open_per_caller_max: u64,
    /// Longest error in the history.
    pub error_max_bytes: usize,
    /// Of how many jobs of a queue, the last ones, the statistics take their percentiles.
    pub statistics_jobs: u32,
    /// How long jobs that have ended stay in the history.
    pub history_kept_s: u64,
    /// How long the files of exports and reports are kept.
    pub files_kept_s: u64,
    /// Most bytes that they may take together, those included that are being written.
    pub files_max_bytes: u64,
    /// Most of them that one caller may have, those included that are still to be written.
    pub files_per_caller_max: u64,
    /// Where they are kept; made when the first one is written. Services on one database must share it.
    pub folder: String,
    /// Pause of an export after each batch, which leaves the database to others.
    pub batch_pause_ms: u64,
    /// How often old files and old history are removed.
    pub maintenance_every_s: u64,
    /// Most rows that one statement of the queue's upkeep takes.
    pub rows_at_once: u32,
    /// How many jobs of each queue one process runs at once; 0 leaves the queue to other processes.
    pub workers: JobWorkerSettings,
}

/// Workers of one process, by queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobWorkerSettings {
    /// Exports, each of which holds a connection of the pool.
    pub exports: u32,
    /// Reports.
    pub reports: u32,
    /// Notifications.
    pub notifications: u32,
    /// Maintenance.
    pub maintenance: u32,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            l1_entries: 1000,
            l2_memory_bytes: 64 * MIB,
            l2_max_value_bytes: 16 * 1024 * 1024,
            l2_compress_above_bytes: 100 * 1024,
            l2_key_prefix: "refservice:".to_owned(),
            l2_timeout_ms: 500,
            l2_retry_min_ms: 100,
            l2_retry_max_ms: 2000,
            l2_beat_ms: 500,
            l2_absent_ms: 5000,
            lease_ms: 30_000,
            lease_wait_ms: 30_000,
            lease_poll_min_ms: 2,
            lease_poll_max_ms: 100,
            l1_news_max: 1024,
            query_key_max_bytes: 200,
            ranked_keys: 10,
            ttl: TtlSettings::default(),
            warming: WarmingSettings::default(),
        }
    }
}

impl Default for WarmingSettings {
    fn default() -> Self {
        Self {
            at_start: None,
            start_wait_ms: 2000,
            high_frequency_ttl_s: 5 * 60,
            recent_ttl_s: 10 * 60,
            recent_days: 7,
            concurrency: 4,
            retries_max: 3,
            failures_max: 10,
            retry_min_ms: 100,
            retry_max_ms: 2000,
            renew_below_ratio: 0.5,
            kept_max: 100,
        }
    }
}

impl Default for TtlSettings {
    fn default() -> Self {
        Self {
            list_s: 30 * 60,
            detail_s: 60 * 60,
            user_s: 15 * 60,
            analytics_s: 2 * 60 * 60,
            dashboard_s: 5 * 60,
            reference_s: 24 * 60 * 60,
            other_s: 300,
        }
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            min_connections: 5,
            max_connections: 20,
            idle_timeout_ms: 10_000,
            acquire_timeout_ms: 30_000,
            test_after_idle_ms: 1000,
            peer_timeout_ms: 5000,
            statement_timeout_ms: 60_000,
            idle_transaction_timeout_ms: 120_000,
            sqlite_busy_timeout_ms: 5000,
            grow_after_wait_ms: 5,
            health_check_ms: 30_000,
            leak_after_ms: 60_000,
            long_statement_ms: 5000,
            slow_statement_ms: 1000,
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            user_per_min: 1000,
            tenant_per_min: 1000,
            endpoint_per_min: 1000,
            keys_max: 10_000,
            upkeep_ms: 1000,
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            window_calls: 10,
            failure_ratio: 0.5,
            open_ms: 30_000,
            half_open_calls: 2,
        }
    }
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            memory_ceiling_bytes: 512 * MIB,
            start_rows: 1000,
            min_rows: 100,
            max_rows: 5000,
            grow_below_bytes: 50 * MIB,
            shrink_above_bytes: 200 * MIB,
            pause_above_ratio: 0.85,
            pause_poll_ms: 100,
            pause_limit_ms: 30_000,
            consumer_limit_ms: 60_000,
            page_rows: 20,
            page_max_rows: 100,
            page_max_skip_rows: 10_000,
            dead_letters_max: 10_000,
            abandoned_after_s: 10 * 60,
            history_kept_s: 30 * 24 * 60 * 60,
            retry: RetrySettings::default(),
        }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            strategy: RetryStrategy::Exponential,
            attempts: 5,
            min_delay_ms: 100,
            max_delay_ms: 10_000,
            factor: 2.0,
            jitter_ratio: 0.5,
        }
    }
}

impl Default for LockSettings {
    fn default() -> Self {
        Self {
            key_prefix: "refservice-lock:".to_owned(),
            ttl_ms: 30_000,
            extend_at_ratio: 0.33,
            wait_ms: 10_000,
            retry_min_ms: 5,
            retry_max_ms: 250,
            timeout_ms: 1000,
            away_pause_ms: 500,
        }
    }
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            key_prefix: "refservice-live:".to_owned(),
            connections_per_tenant: 100,
            batch_ms: 100,
            batch_max_updates: 500,
            queue_batches: 64,
            history_updates: 1000,
            history_ttl_s: 60 * 60,
            publish_queue_updates: 10_000,
            messages_per_min: 50,
            message_max_bytes: 4096,
            idle_ms: 5 * 60 * 1000,
            ping_ms: 20_000,
            peer_timeout_ms: 10_000,
            timeout_ms: 500,
            retry_min_ms: 100,
            retry_max_ms: 2000,
            check_ms: 1000,
        }
    }
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff_min_ms: 1000,
            backoff_max_ms: 60_000,
            lease_ms: 30_000,
            beat_ms: 2000,
            poll_ms: 1000,
            run_timeout_ms: 60 * 60 * 1000,
            stop_grace_ms: 1000,
            priority_max: 9,
            priority_default: 5,
            open_max: 10_000,
            open_per_caller_max: 100,
            error_max_bytes: 1000,
            statistics_jobs: 1000,
            history_kept_s: 30 * 24 * 60 * 60,
            files_kept_s: 7 * 24 * 60 * 60,
            files_max_bytes: 10 * 1024 * MIB,
            files_per_caller_max: 50,
            folder: "refservice-files".to_owned(),
            batch_pause_ms: 0,
            maintenance_every_s: 60 * 60,
            rows_at_once: 1000,
            workers: JobWorkerSettings::default(),
        }
    }
}

impl Default for JobWorkerSettings {
    fn default() -> Self {
        Self {
            exports: 2,
            reports: 2,
            notifications: 4,
            maintenance: 1,
        }
    }
}

impl JobSettings {
    /// Checks what the types cannot say.
    fn validate(&self, batch: &BatchSettings) -> Result<(), SettingsError> {
        let workers = &self.workers;
        let all = [
            workers.exports,
            workers.reports,
            workers.notifications,
            workers.maintenance,
        ];
        let rules = [
            (
                (1..=CALLS_MAX).contains(&self.attempts),
                "jobs.attempts",
                "must be from 1 to 10000",
            ),
            (
                self.backoff_min_ms > 0,
                "jobs.backoff_min_ms",
                "must be at least 1",
            ),
            (
                (self.backoff_min_ms..=TTL_MAX_S * 1000).contains(&self.backoff_max_ms),
                "jobs.backoff_max_ms",
                "must not be below jobs.backoff_min_ms or above ten years",
            ),
            (self.beat_ms > 0, "jobs.beat_ms", "must be at least 1"),
            // One beat may get lost, and the next one still come in time.
            (
                self.lease_ms / 3 >= self.beat_ms,
                "jobs.lease_ms",
                "must be at least three times jobs.beat_ms",
            ),
            (
                self.lease_ms <= TTL_MAX_S * 1000,
                "jobs.lease_ms",
                "must not be above ten years",
            ),
            (self.poll_ms > 0, "jobs.poll_ms", "must be at least 1"),
            (
                (1..=TTL_MAX_S * 1000).contains(&self.run_timeout_ms),
                "jobs.run_timeout_ms",
                "must be from 1 ms to ten years",
            ),
            (
                self.priority_default <= self.priority_max,
                "jobs.priority_default",
                "must not be above jobs.priority_max",
            ),
            (self.open_max > 0, "jobs.open_max", "must be at least 1"),
            (
                self.open_per_caller_max > 0,
                "jobs.open_per_caller_max",
                "must be at least 1",
            ),
            (
                self.error_max_bytes > 0,
                "jobs.error_max_bytes",
                "must be at least 1",
            ),
            (
                self.statistics_jobs > 0,
                "jobs.statistics_jobs",
                "must be at least 1",
            ),
            (
                self.history_kept_s <= TTL_MAX_S,
                "jobs.history_kept_s",
                "must not be above ten years",
            ),
            // Else a file would be there that nobody can ask for.
            (
                self.files_kept_s <= self.history_kept_s,
                "jobs.files_kept_s",
                "must not be above jobs.history_kept_s",
            ),
            (
                self.files_max_bytes > 0,
                "jobs.files_max_bytes",
                "must be at least 1",
            ),
            (
                self.files_per_caller_max > 0,
                "jobs.files_per_caller_max",
                "must be at least 1",
            ),
            (!self.folder.is_empty(), "jobs.folder", "must name a folder"),
            (
                self.batch_pause_ms < batch.consumer_limit_ms,
                "jobs.batch_pause_ms",
                "must be below batch.consumer_limit_ms",
            ),
            (
                (1..=TTL_MAX_S).contains(&self.maintenance_every_s),
                "jobs.maintenance_every_s",
                "must be from 1 s to ten years",
            ),
            (
                self.rows_at_once > 0,
                "jobs.rows_at_once",
                "must be at least 1",
            ),
            (
                all.into_iter().all(|workers| workers <= CONNECTIONS_MAX),
                "jobs.workers",
                "must not be above 10000 for any queue",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, reason)) => Err(SettingsError::Figure { key, reason }),
            None => Ok(()),
        }
    }
}

impl TtlSettings {
    /// The lifetime of a value of this kind.
    pub fn of(&self, kind: Kind) -> Duration {
        Duration::from_secs(match kind {
            Kind::List => self.list_s,
            Kind::Detail => self.detail_s,
            Kind::User => self.user_s,
            Kind::Analytics => self.analytics_s,
            Kind::Dashboard => self.dashboard_s,
            Kind::Reference => self.reference_s,
            Kind::Other => self.other_s,
        })
    }

    fn longest_s(&self) -> u64 {
        let Self {
            list_s,
            detail_s,
            user_s,
            analytics_s,
            dashboard_s,
            reference_s,
            other_s,
        } = *self;
        let all = [
            list_s,
            detail_s,
            user_s,
            analytics_s,
            dashboard_s,
            reference_s,
            other_s,
        ];
        all.into_iter().max().unwrap_or(0)
    }
}

impl Settings {
    /// The defaults, changed by a TOML text and then by the variables among `env` that start with
    /// [`ENV_PREFIX`]. Pass an empty text where there is no file.
    ///
    /// # Errors
    /// A text that is no TOML, an unknown key, a value of the wrong type or out of its range.
    pub fn load(
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let settings: Self = read(text, env)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first figure that contradicts another one or that nothing can work with.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let Self {
            cache,
            pool,
            limit,
            breaker,
            batch,
            lock,
            live,
            jobs,
        } = self;
        jobs.validate(batch)?;
        let rules = [
            (
                cache.l1_entries > 0,
                "cache.l1_entries",
                "must be at least 1",
            ),
            (
                cache.l2_timeout_ms > 0,
                "cache.l2_timeout_ms",
                "must be at least 1",
            ),
            (
                cache.l2_retry_min_ms > 0,
                "cache.l2_retry_min_ms",
                "must be at least 1",
            ),
            (
                cache.l2_retry_min_ms <= cache.l2_retry_max_ms,
                "cache.l2_retry_max_ms",
                "must not be below cache.l2_retry_min_ms",
            ),
            (
                cache.l2_beat_ms > 0,
                "cache.l2_beat_ms",
                "must be at least 1",
            ),
            (
                cache.l2_beat_ms < cache.l2_absent_ms,
                "cache.l2_absent_ms",
                "must be above cache.l2_beat_ms",
            ),
            (
                !cache.l2_key_prefix.is_empty(),
                "cache.l2_key_prefix",
                "must not be empty",
            ),
            (
                (1..=NEWS_MAX).contains(&cache.l1_news_max),
                "cache.l1_news_max",
                "must be between 1 and 1000000",
            ),
            (
                cache.l2_max_value_bytes <= VALUE_MAX_BYTES,
                "cache.l2_max_value_bytes",
                "must not be above 512 MiB, which is the most that Redis takes",
            ),
            (cache.lease_ms > 0, "cache.lease_ms", "must be at least 1"),
            (
                cache.lease_poll_min_ms > 0,
                "cache.lease_poll_min_ms",
                "must be at least 1",
            ),
            (
                cache.ttl.longest_s() <= TTL_MAX_S,
                "cache.ttl",
                "must not be above ten years",
            ),
            (
                cache.warming.start_wait_ms <= TTL_MAX_S * 1000,
                "cache.warming.start_wait_ms",
                "must not be above ten years",
            ),
            (
                (1..=TTL_MAX_S).contains(&cache.warming.high_frequency_ttl_s),
                "cache.warming.high_frequency_ttl_s",
                "must be between 1 and ten years",
            ),
            (
                (1..=TTL_MAX_S).contains(&cache.warming.recent_ttl_s),
                "cache.warming.recent_ttl_s",
                "must be between 1 and ten years",
            ),
            (
                (1..=RECENT_DAYS_MAX).contains(&cache.warming.recent_days),
                "cache.warming.recent_days",
                "must be between 1 and 3660",
            ),
            (
                (1..=WARMING_CONCURRENCY_MAX).contains(&cache.warming.concurrency),
                "cache.warming.concurrency",
                "must be between 1 and 1000",
            ),
            (
                (1..=RETRY_DELAY_MAX_MS).contains(&cache.warming.retry_min_ms),
                "cache.warming.retry_min_ms",
                "must be between 1 ms and one day",
            ),
            (
                (cache.warming.retry_min_ms..=RETRY_DELAY_MAX_MS)
                    .contains(&cache.warming.retry_max_ms),
                "cache.warming.retry_max_ms",
                "must not be below cache.warming.retry_min_ms or above one day",
            ),
            (
                (0.0..=1.0).contains(&cache.warming.renew_below_ratio),
                "cache.warming.renew_below_ratio",
                "must be between 0 and 1",
            ),
            (
                cache.warming.kept_max > 0,
                "cache.warming.kept_max",
                "must be at least 1",
            ),
            (
                cache.warming.failures_max > 0,
                "cache.warming.failures_max",
                "must be at least 1",
            ),
            (
                (1..=CONNECTIONS_MAX).contains(&pool.max_connections),
                "pool.max_connections",
                "must be between 1 and 10000",
            ),
            (
                pool.min_connections <= pool.max_connections,
                "pool.min_connections",
                "must not be above pool.max_connections",
            ),
            (
                pool.idle_timeout_ms > 0,
                "pool.idle_timeout_ms",
                "must be at least 1",
            ),
            (
                pool.acquire_timeout_ms > 0,
                "pool.acquire_timeout_ms",
                "must be at least 1",
            ),
            (
                pool.peer_timeout_ms > 0,
                "pool.peer_timeout_ms",
                "must be at least 1",
            ),
            (
                pool.statement_timeout_ms > 0,
                "pool.statement_timeout_ms",
                "must be at least 1",
            ),
            (
                pool.idle_transaction_timeout_ms
                    > batch.consumer_limit_ms.saturating_add(batch.pause_limit_ms),
                "pool.idle_transaction_timeout_ms",
                "must be above batch.consumer_limit_ms and batch.pause_limit_ms together",
            ),
            (
                batch.abandoned_after_s > 0,
                "batch.abandoned_after_s",
                "must be at least 1",
            ),
            (
                (batch.abandoned_after_s..=TTL_MAX_S).contains(&batch.history_kept_s),
                "batch.history_kept_s",
                "must not be below batch.abandoned_after_s or above ten years",
            ),
            (limit.keys_max > 0, "limit.keys_max", "must be at least 1"),
            (limit.upkeep_ms > 0, "limit.upkeep_ms", "must be at least 1"),
            (
                (1..=CALLS_MAX).contains(&breaker.window_calls),
                "breaker.window_calls",
                "must be between 1 and 10000",
            ),
            (
                breaker.failure_ratio > 0.0 && breaker.failure_ratio <= 1.0,
                "breaker.failure_ratio",
                "must be above 0 and at most 1",
            ),
            (
                (1..=TTL_MAX_S * 1000).contains(&breaker.open_ms),
                "breaker.open_ms",
                "must be between 1 ms and ten years",
            ),
            (
                (2..=CALLS_MAX).contains(&breaker.half_open_calls),
                "breaker.half_open_calls",
                "must be between 2 and 10000",
            ),
            (
                pool.health_check_ms > 0,
                "pool.health_check_ms",
                "must be at least 1",
            ),
            (
                pool.leak_after_ms > 0,
                "pool.leak_after_ms",
                "must be at least 1",
            ),
            (
                pool.long_statement_ms > 0,
                "pool.long_statement_ms",
                "must be at least 1",
            ),
            (
                pool.slow_statement_ms > 0,
                "pool.slow_statement_ms",
                "must be at least 1",
            ),
            (
                batch.memory_ceiling_bytes > 0,
                "batch.memory_ceiling_bytes",
                "must be at least 1",
            ),
            (
                batch.pause_poll_ms > 0,
                "batch.pause_poll_ms",
                "must be at least 1",
            ),
            (
                batch.consumer_limit_ms > 0,
                "batch.consumer_limit_ms",
                "must be at least 1",
            ),
            (batch.min_rows > 0, "batch.min_rows", "must be at least 1"),
            (
                (batch.min_rows..=batch.max_rows).contains(&batch.start_rows),
                "batch.start_rows",
                "must be between batch.min_rows and batch.max_rows",
            ),
            (
                batch.grow_below_bytes <= batch.shrink_above_bytes,
                "batch.shrink_above_bytes",
                "must not be below batch.grow_below_bytes",
            ),
            (
                batch.pause_above_ratio > 0.0 && batch.pause_above_ratio <= 1.0,
                "batch.pause_above_ratio",
                "must be above 0 and at most 1",
            ),
            (
                (1..=batch.page_max_rows).contains(&batch.page_rows),
                "batch.page_rows",
                "must be between 1 and batch.page_max_rows",
            ),
            (
                batch.retry.attempts > 0,
                "batch.retry.attempts",
                "must be at least 1",
            ),
            (
                batch.retry.min_delay_ms <= batch.retry.max_delay_ms,
                "batch.retry.max_delay_ms",
                "must not be below batch.retry.min_delay_ms",
            ),
            (
                batch.retry.max_delay_ms <= RETRY_DELAY_MAX_MS,
                "batch.retry.max_delay_ms",
                "must not be above one day",
            ),
            (
                (1.0..=RETRY_FACTOR_MAX).contains(&batch.retry.factor),
                "batch.retry.factor",
                "must be between 1 and 100",
            ),
            (
                (0.0..=1.0).contains(&batch.retry.jitter_ratio),
                "batch.retry.jitter_ratio",
                "must be between 0 and 1",
            ),
            (
                !lock.key_prefix.is_empty(),
                "lock.key_prefix",
                "must not be empty",
            ),
            (
                !lock.key_prefix.starts_with(&cache.l2_key_prefix),
                "lock.key_prefix",
                "must not start with cache.l2_key_prefix",
            ),
            (
                lock.extend_at_ratio > 0.0 && lock.extend_at_ratio < 1.0,
                "lock.extend_at_ratio",
                "must be above 0 and below 1",
            ),
            // Else no extension comes in time.
            (
                lock.ttl_ms as f64 * (1.0 - lock.extend_at_ratio) > lock.timeout_ms as f64,
                "lock.ttl_ms",
                "must leave more than lock.timeout_ms after lock.extend_at_ratio of it",
            ),
            (
                lock.ttl_ms <= TTL_MAX_S * 1000,
                "lock.ttl_ms",
                "must not be above ten years",
            ),
            (
                lock.wait_ms <= TTL_MAX_S * 1000,
                "lock.wait_ms",
                "must not be above ten years",
            ),
            (
                lock.retry_min_ms > 0,
                "lock.retry_min_ms",
                "must be at least 1",
            ),
            (
                (lock.retry_min_ms..=TTL_MAX_S * 1000).contains(&lock.retry_max_ms),
                "lock.retry_max_ms",
                "must not be below lock.retry_min_ms or above ten years",
            ),
            (lock.timeout_ms > 0, "lock.timeout_ms", "must be at least 1"),
            (
                lock.away_pause_ms <= TTL_MAX_S * 1000,
                "lock.away_pause_ms",
                "must not be above ten years",
            ),
            (
                !live.key_prefix.is_empty(),
                "live.key_prefix",
                "must not be empty",
            ),
            (
                !live.key_prefix.starts_with(&cache.l2_key_prefix),
                "live.key_prefix",
                "must not start with cache.l2_key_prefix",
            ),
            (
                live.connections_per_tenant > 0,
                "live.connections_per_tenant",
                "must be at least 1",
            ),
            (live.batch_ms > 0, "live.batch_ms", "must be at least 1"),
            (
                (1..=QUEUE_MAX).contains(&live.batch_max_updates),
                "live.batch_max_updates",
                "must be between 1 and a million",
            ),
            (
                (1..=QUEUE_MAX).contains(&live.queue_batches),
                "live.queue_batches",
                "must be between 1 and a million",
            ),
            (
                (1..=QUEUE_MAX).contains(&live.history_updates),
                "live.history_updates",
                "must be between 1 and a million",
            ),
            (
                (1..=TTL_MAX_S).contains(&live.history_ttl_s),
                "live.history_ttl_s",
                "must be between 1 s and ten years",
            ),
            (
                (1..=QUEUE_MAX).contains(&live.publish_queue_updates),
                "live.publish_queue_updates",
                "must be between 1 and a million",
            ),
            (
                live.message_max_bytes > 0,
                "live.message_max_bytes",
                "must be at least 1",
            ),
            (
                (1..=TTL_MAX_S * 1000).contains(&live.idle_ms),
                "live.idle_ms",
                "must be between 1 ms and ten years",
            ),
            (
                (1..=TTL_MAX_S * 1000).contains(&live.ping_ms),
                "live.ping_ms",
                "must be between 1 ms and ten years",
            ),
            (
                (1..=TTL_MAX_S * 1000).contains(&live.peer_timeout_ms),
                "live.peer_timeout_ms",
                "must be between 1 ms and ten years",
            ),
            (live.timeout_ms > 0, "live.timeout_ms", "must be at least 1"),
            (
                live.retry_min_ms > 0,
                "live.retry_min_ms",
                "must be at least 1",
            ),
            (
                (live.retry_min_ms..=TTL_MAX_S * 1000).contains(&live.retry_max_ms),
                "live.retry_max_ms",
                "must not be below live.retry_min_ms or above ten years",
            ),
            (live.check_ms > 0, "live.check_ms", "must be at least 1"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, reason)) => Err(SettingsError::Figure { key, reason }),
            None => Ok(()),
        }
    }
}

/// Why settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file is no TOML, or has a key or a value that is not known.
    #[error("the settings file was not understood: {reason}")]
    Text {
        /// Line, column and cause, as the TOML parser says them.
        reason: String,
    },
    /// A variable names no setting or has a value of the wrong type.
    #[error("environment variable {variable}: {reason}")]
    Variable {
        /// The variable's name.
        variable: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A figure that nothing can work with.
    #[error("setting {key} {reason}")]
    Figure {
        /// The setting's path.
        key: &'static str,
        /// The rule that it breaks.
        reason: &'static str,
    },
}

/// Settings of any shape from a TOML text and then from the variables among `env` that start with
/// [`ENV_PREFIX`], not validated: for whoever has sections of their own beside these.
///
/// # Errors
/// A text that is no TOML, an unknown key, a value of the wrong type.
pub fn read<T: DeserializeOwned>(
    text: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<T, SettingsError> {
    let text_error = |error: toml::de::Error| SettingsError::Text {
        reason: error.to_string(),
    };
    let mut settings: T = toml::from_str(text).map_err(text_error)?;
    let mut table: toml::Table = toml::from_str(text).map_err(text_error)?;
    for (variable, value) in env {
        let Some(path) = variable.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        // One at a time, so that a refusal is known to be about this variable.
        let path = path.to_ascii_lowercase();
        let mut with = |value| {
            set(&mut table, &path, value)?;
            table.clone().try_into().map_err(|error| error.to_string())
        };
        settings = with(self::value(&value))
            // A text may look like a number.
            .or_else(|reason| with(value.into()).map_err(|_| reason))
            .map_err(|reason| SettingsError::Variable { variable, reason })?;
    }
    Ok(settings)
}

/// Sets the value at a path such as `cache__l1_entries`, making the tables on the way.
fn set(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<(), String> {
    let (sections, key) = path
        .rsplit_once("__")
        .ok_or("names a section and no setting")?;
    let mut table = table;
    for section in sections.split("__") {
        let entry = table
            .entry(section)
            .or_insert_with(|| toml::Table::new().into());
        table = entry
            .as_table_mut()
            .ok_or_else(|| format!("{section} is not a section"))?;
    }
    table.insert(key.to_owned(), value);
    Ok(())
}

/// A number, a boolean or a list where the text is one, else the text.
fn value(text: &str) -> toml::Value {
    let list = text.starts_with('[').then(|| format!("list = {text}"));
    let list = list.and_then(|text| toml::from_str::<toml::Table>(&text).ok());
    if let Some(list) = list.and_then(|mut table| table.remove("list")) {
        return list;
    }
    let number = text.parse().map(toml::Value::Integer);
    number
        .or_else(|_| text.parse().map(toml::Value::Boolean))
        .ok()
        .or_else(|| text.parse().ok().map(toml::Value::Float))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        assert_eq!(
            Settings::load("", env(&[("PATH", "/bin")])),
            Ok(Settings::default())
        );
    }

    #[test]
    fn the_defaults_are_the_figures_asked_for() {
        let settings = Settings::default();
        let pool = &settings.pool;
        assert_eq!((pool.min_connections, pool.max_connections), (5, 20));
        assert_eq!(
            (pool.idle_timeout_ms, pool.acquire_timeout_ms),
            (10_000, 30_000)
        );
        assert_eq!((pool.health_check_ms, pool.leak_after_ms), (30_000, 60_000));
        let statements = [
            pool.slow_statement_ms,
            pool.long_statement_ms,
            pool.statement_timeout_ms,
        ];
        assert_eq!(statements, [1000, 5000, 60_000]);
        assert_eq!(settings.cache.l1_entries, 1000);
        assert_eq!(settings.cache.l2_compress_above_bytes, 102_400);
        let limit = &settings.limit;
        assert_eq!((limit.user_per_min, limit.tenant_per_min), (1000, 1000));
        assert_eq!(limit.endpoint_per_min, 1000);
        assert_eq!(settings.breaker.open_ms, 30_000);
        let live = &settings.live;
        assert_eq!((live.connections_per_tenant, live.batch_ms), (100, 100));
        assert_eq!((live.messages_per_min, live.idle_ms), (50, 300_000));
        let jobs = &settings.jobs;
        assert_eq!((jobs.attempts, jobs.files_kept_s), (3, 7 * 86_400));
        let ttl = &settings.cache.ttl;
        let check = |kind, expected_s| assert_eq!(ttl.of(kind).as_secs(), expected_s, "{kind:?}");
        check(Kind::List, 1800);
        check(Kind::Detail, 3600);
        check(Kind::User, 900);
        check(Kind::Analytics, 7200);
        check(Kind::Dashboard, 300);
        check(Kind::Reference, 86_400);
        check(Kind::Other, 300);
        settings.validate().unwrap();
    }

    #[test]
    fn the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
        let text = "[cache]\nl1_entries = 7\n[cache.ttl]\nlist_s = 1\n";
        let variables = env(&[
            ("REFSERVICE__CACHE__L1_ENTRIES", "9"),
            ("REFSERVICE__CACHE__L2_KEY_PREFIX", "7"),
            ("REFSERVICE__BATCH__PAUSE_ABOVE_RATIO", "0.5"),
            ("REFSERVICE__CACHE__TTL__USER_S", "2"),
        ]);
        let settings = Settings::load(text, variables).unwrap();
        assert_eq!(settings.cache.l1_entries, 9);
        assert_eq!(settings.cache.l2_key_prefix, "7");
        assert_eq!(settings.cache.ttl.list_s, 1);
        assert_eq!(settings.cache.ttl.detail_s, 3600);
        assert_eq!(settings.batch.pause_above_ratio, 0.5);
        assert_eq!(settings.cache.ttl.user_s, 2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, variables: &[(&str, &str)], expected: &str| {
            let error = Settings::load(text, env(variables))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(expected),
                "{error:?} does not name {expected:?}"
            );
        };
        check("[cache", &[], "line 1");
        check("[cache]\nl1_entry = 5", &[], "unknown field `l1_entry`");
        check(
            "[pool]\nmin_connections = 50",
            &[],
            "pool.min_connections must not be above",
        );
        for (path, value, expected) in [
            ("CACHE__L1_ENTRY", "5", "REFSERVICE__CACHE__L1_ENTRY: "),
            (
                "CACHE__L1_ENTRIES",
                "many",
                "REFSERVICE__CACHE__L1_ENTRIES: ",
            ),
            ("CACHE__L1_ENTRIES", "-1", "REFSERVICE__CACHE__L1_ENTRIES: "),
            ("CACHE__L1_ENTRIES", "0", "cache.l1_entries must be"),
            ("CACHE__L1_NEWS_MAX", "0", "cache.l1_news_max must be"),
            (
                "CACHE__L2_MAX_VALUE_BYTES",
                "536870913",
                "cache.l2_max_value_bytes must not",
            ),
            ("CACHE__L2_BEAT_MS", "0", "cache.l2_beat_ms must be"),
            (
                "CACHE__L2_ABSENT_MS",
                "500",
                "cache.l2_absent_ms must be above",
            ),
            (
                "LOCK__KEY_PREFIX",
                "refservice:lock:",
                "lock.key_prefix must not start",
            ),
            ("LOCK__EXTEND_AT_RATIO", "1", "lock.extend_at_ratio must be"),
            ("LOCK__TTL_MS", "1000", "lock.ttl_ms must leave"),
            (
                "LOCK__RETRY_MAX_MS",
                "1",
                "lock.retry_max_ms must not be below",
            ),
            (
                "LIVE__KEY_PREFIX",
                "refservice:live:",
                "live.key_prefix must not start",
            ),
            ("LIVE__BATCH_MS", "0", "live.batch_ms must be"),
            ("LIVE__QUEUE_BATCHES", "0", "live.queue_batches must be"),
            ("LIVE__IDLE_MS", "0", "live.idle_ms must be"),
            (
                "LIVE__RETRY_MAX_MS",
                "1",
                "live.retry_max_ms must not be below",
            ),
            ("CACHE", "5", "names a section and no setting"),
            ("POOL__MAX_CONNECTIONS__X", "5", "MAX_CONNECTIONS__X: "),
        ] {
            check("", &[(&format!("{ENV_PREFIX}{path}"), value)], expected);
        }
        check(
            "[pool]\nmax_connections = 4000000000",
            &[],
            "pool.max_connections must be",
        );
        check(
            "[cache.ttl]\nuser_s = 9000000000000000000",
            &[],
            "cache.ttl must not",
        );
        check(
            "[batch]\nconsumer_limit_ms = 90000",
            &[],
            "pool.idle_transaction_timeout_ms must be above",
        );
        check(
            "[batch]\nabandoned_after_s = 0",
            &[],
            "batch.abandoned_after_s",
        );
        check(
            "[batch]\nhistory_kept_s = 599",
            &[],
            "batch.history_kept_s must not",
        );
        for (text, expected) in [
            ("attempts = 0", "jobs.attempts must be"),
            (
                "backoff_max_ms = 1",
                "jobs.backoff_max_ms must not be below",
            ),
            ("beat_ms = 0", "jobs.beat_ms must be"),
            ("lease_ms = 5999", "jobs.lease_ms must be at least three"),
            ("priority_default = 10", "jobs.priority_default must not be"),
            (
                "files_kept_s = 2592001",
                "jobs.files_kept_s must not be above",
            ),
            ("files_max_bytes = 0", "jobs.files_max_bytes must be"),
            (
                "files_per_caller_max = 0",
                "jobs.files_per_caller_max must be",
            ),
            ("folder = \"\"", "jobs.folder must name"),
            (
                "batch_pause_ms = 60000",
                "jobs.batch_pause_ms must be below",
            ),
            ("workers.exports = 10001", "jobs.workers must not be"),
            ("workers.export = 1", "unknown field `export`"),
        ] {
            check(&format!("[jobs]\n{text}"), &[], expected);
        }
        check("[limit]\nkeys_max = 0", &[], "limit.keys_max");
        for (line, expected) in [
            ("at_start = \"all\"", "unknown variant `all`"),
            (
                "high_frequency_ttl_s = 0",
                "warming.high_frequency_ttl_s must",
            ),
            ("recent_ttl_s = 0", "cache.warming.recent_ttl_s must be"),
            ("recent_days = 0", "cache.warming.recent_days must be"),
            ("concurrency = 0", "cache.warming.concurrency must be"),
            ("retry_min_ms = 0", "cache.warming.retry_min_ms must be"),
            ("retry_max_ms = 99", "cache.warming.retry_max_ms must not"),
            ("renew_below_ratio = 1.1", "warming.renew_below_ratio must"),
            ("kept_max = 0", "cache.warming.kept_max must be"),
            ("failures_max = 0", "cache.warming.failures_max must be"),
        ] {
            check(&format!("[cache.warming]\n{line}"), &[], expected);
        }
        check("[limit]\nupkeep_ms = 0", &[], "limit.upkeep_ms");
        check("[breaker]\nwindow_calls = 0", &[], "breaker.window_calls");
        check(
            "[breaker]\nfailure_ratio = 1.5",
            &[],
            "breaker.failure_ratio",
        );
        check("[breaker]\nopen_ms = 0", &[], "breaker.open_ms");
        check(
            "[breaker]\nhalf_open_calls = 1",
            &[],
            "breaker.half_open_calls",
        );
        check(
            "[batch]\npause_above_ratio = nan",
            &[],
            "batch.pause_above_ratio",
        );
        for (line, expected) in [
            ("attempts = 0", "batch.retry.attempts must be at least 1"),
            ("max_delay_ms = 99", "must not be below batch.retry.min"),
            ("max_delay_ms = 86400001", "must not be above one day"),
            ("factor = 0.5", "batch.retry.factor must be between"),
            ("factor = nan", "batch.retry.factor must be between"),
            ("jitter_ratio = 1.1", "batch.retry.jitter_ratio must be"),
            ("strategy = \"never\"", "unknown variant `never`"),
        ] {
            check(&format!("[batch.retry]\n{line}"), &[], expected);
        }
    }
}
