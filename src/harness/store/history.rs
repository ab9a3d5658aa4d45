//! The history of runs, in SQLite or PostgreSQL by one implementation.
//!
//! Both databases are spoken to through sqlx's `Any` driver and understand the same statements:
//! numbered parameters (`$1`), `ON CONFLICT DO NOTHING`, 64-bit integers, text and doubles. A run
//! is one row with its whole JSON, plus one row a metric value, written in one transaction.
//!
//! The JSON is kept as it is: a run of half a minute under two loads is about 150 KB, and gzip would
//! make it a third, at the price of a history that no SQL client can look into.
//!
//! SQLite runs in WAL mode with `synchronous = NORMAL`: a killed process loses nothing that was
//! committed; a power cut may lose the last commits, never the file.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::{Any, AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, Connection as _, Row as _, Transaction};
use uuid::Uuid;

use super::error::StoreError;
use super::format::{self, DecodeError};
use super::location::Location;
use super::open::{begin_statement, configure, connect, migrate, opening};
use super::statement::{Statement, to_ns};
use super::summary::{Query, RunSummary, SessionSummary};
use crate::harness::model::{Arm, RUN_FORMAT, Run, RunId};

/// Metric values per statement; seven parameters each, and SQLite takes 32,766.
const VALUES_PER_INSERT: usize = 500;
/// Runs per statement that reads them whole.
const RUNS_PER_SELECT: usize = 20;
/// How many candidates an ambiguous prefix names.
const CANDIDATES: usize = 5;

const SUMMARY_COLUMNS: &str = "id, scenario, session, arm, pair, started_at_ns, duration_ns, revision, machine_id, \
     fingerprint_id, valid";

/// Every run that was saved, with its metrics.
pub struct History {
    pub(super) pool: AnyPool,
    pub(super) location: Location,
}

/// What saving a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is new.
    New,
    /// Exactly this run was there already.
    AlreadyThere,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options of the pool hold the password.
        f.debug_tuple("History")
            .field(&self.location.to_string())
            .finish()
    }
}

impl History {
    /// Opens the history at `place`, a `postgres://` URL or the path of a SQLite file, and makes it
    /// or brings it up to date. Several processes may do so at once.
    pub async fn open(place: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let location = Location::parse(place)?;
        let mut connection = connect(&location).await?;
        let migrated = migrate(&mut connection, &location).await;
        // A failed migration leaves PostgreSQL's advisory lock to the connection, so it must end.
        let closed = connection.close().await;
        migrated?;
        closed.map_err(|source| opening(&location, source))?;

        let backend = location.backend;
        let pool = AnyPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(move |connection, _| Box::pin(configure(connection, backend)))
            .connect_with(location.options.clone())
            .await
            .map_err(|source| opening(&location, source))?;
        Ok(Self { pool, location })
    }

    /// Whether there is a history at `place` already, as far as that can be known without opening it:
    /// a database on a server is taken for one.
    pub fn exists(place: &str) -> bool {
        Location::exists(place)
    }

    /// Where it lies, for showing it.
    pub fn location(&self) -> String {
        self.location.to_string()
    }

    /// Saves a run: all of it or nothing. The same run again changes nothing; another run with the
    /// same id is refused.
    pub async fn save(&self, run: &Run) -> Result<Saved, StoreError> {
        const DOING: &str = "saving a run";
        let payload =
            format::encode_run(run).map_err(|source| StoreError::Encode { id: run.id, source })?;
        let mut transaction = self.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO runs (id, scenario, session, arm, pair, started_at_ns, duration_ns, \
             revision, plimsoll_version, machine_id, fingerprint_id, valid, format, payload) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(run.id.to_string())
        .bind(run.scenario.as_str())
        .bind(run.session.as_str())
        .bind(run.arm.map(Arm::name))
        .bind(run.pair.map(i64::from))
        .bind(to_ns(run.started_at))
        .bind(i64::try_from(run.duration_ns).unwrap_or(i64::MAX))
        .bind(run.revision.as_deref())
        .bind(run.plimsoll_version.as_str())
        .bind(run.fingerprint.machine_id())
        .bind(run.fingerprint.id())
        .bind(i64::from(run.is_valid()))
        .bind(run.schema.as_str())
        .bind(payload.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(|source| self.failed(DOING, source))?
        .rows_affected();
        if inserted == 0 {
            return self
                .same_run_or_taken(&mut transaction, run.id, &payload)
                .await;
        }
        for statement in metric_inserts(run).map_err(|source| self.failed(DOING, source))? {
            statement
                .execute(&mut transaction)
                .await
                .map_err(|source| self.failed(DOING, source))?;
        }
        let committed = transaction.commit().await;
        committed.map_err(|source| self.failed(DOING, source))?;
        Ok(Saved::New)
    }

    /// The run with this id.
    pub async fn get(&self, id: RunId) -> Result<Run, StoreError> {
        let runs = self.load(&[id]).await?;
        runs.into_iter()
            .next()
            .ok_or_else(|| self.not_found(&id.to_string()))
    }

    /// The runs with these ids, in the order of the ids.
    pub async fn load(&self, ids: &[RunId]) -> Result<Vec<Run>, StoreError> {
        let failed = |source| self.failed("reading runs", source);
        let mut runs = Vec::with_capacity(ids.len());
        // A shared database is a network away; but each run may be megabytes.
        for ids in ids.chunks(RUNS_PER_SELECT) {
            let text = "SELECT id, format, payload FROM runs WHERE id IN ".to_owned();
            let mut statement = Statement::new(text);
            statement.bind_ids(ids).map_err(failed)?;
            let mut found: BTreeMap<RunId, AnyRow> = BTreeMap::new();
            for row in statement.fetch_all(&self.pool).await.map_err(failed)? {
                found.insert(self.run_id(&row)?, row);
            }
            for id in ids {
                let row = found
                    .get(id)
                    .ok_or_else(|| self.not_found(&id.to_string()))?;
                runs.push(self.run(*id, row)?);
            }
        }
        Ok(runs)
    }

    fn run(&self, id: RunId, row: &AnyRow) -> Result<Run, StoreError> {
        let failed = |source| self.failed("reading runs", source);
        let format: String = row.try_get("format").map_err(failed)?;
        let payload: String = row.try_get("payload").map_err(failed)?;
        let decoded = format::check_name(&format, RUN_FORMAT)
            .map_err(DecodeError::from)
            .and_then(|()| format::decode_run(&payload));
        decoded.map_err(|source| StoreError::Corrupt {
            id: id.to_string(),
            location: self.location(),
            source,
        })
    }

    /// The runs that `query` asks for, newest first, without what they measured.
    pub async fn find(&self, query: &Query) -> Result<Vec<RunSummary>, StoreError> {
        const DOING: &str = "looking for runs";
        let mut statement = Statement::new(format!("SELECT {SUMMARY_COLUMNS} FROM runs"));
        let built = statement.runs_of(query);
        built.map_err(|source| self.failed(DOING, source))?;
        let rows = statement.fetch_all(&self.pool).await;
        rows.map_err(|source| self.failed(DOING, source))?
            .iter()
            .map(|row| self.summary(row))
            .collect()
    }

    /// Every sitting, newest first, one entry per scenario and fingerprint.
    pub async fn sessions(&self) -> Result<Vec<SessionSummary>, StoreError> {
        let failed = |source| self.failed("listing sessions", source);
        let rows = sqlx::query(
            "SELECT MIN(id) AS id, session, scenario, fingerprint_id, \
             MIN(started_at_ns) AS first_ns, MAX(started_at_ns) AS last_ns, \
             COUNT(*) AS runs, CAST(SUM(valid) AS BIGINT) AS valid_runs \
             FROM runs GROUP BY session, scenario, fingerprint_id \
             ORDER BY last_ns DESC, scenario, session, fingerprint_id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let id = self.run_id(row)?;
                Ok(SessionSummary {
                    session: row.try_get("session").map_err(failed)?,
                    scenario: row.try_get("scenario").map_err(failed)?,
                    fingerprint_id: row.try_get("fingerprint_id").map_err(failed)?,
                    first_started_at: self.time(row, id, "first_ns")?,
                    last_started_at: self.time(row, id, "last_ns")?,
                    runs: self.count(row, id, "runs")?,
                    valid_runs: self.count(row, id, "valid_runs")?,
                })
            })
            .collect()
    }

    /// The one run whose id begins with `prefix`.
    pub async fn resolve(&self, prefix: &str) -> Result<RunId, StoreError> {
        let prefix = prefix.to_ascii_lowercase();
        let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        if prefix.is_empty() || prefix.len() > 36 || !prefix.bytes().all(is_part) {
            return Err(StoreError::BadPrefix {
                prefix: prefix.chars().take(80).collect(),
            });
        }
        let failed = |source| self.failed("looking for a run", source);
        let rows = sqlx::query("SELECT id FROM runs WHERE id LIKE $1 ORDER BY id LIMIT $2")
            .bind(format!("{prefix}%"))
            .bind(CANDIDATES as i64)
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            ids.push(self.run_id(row)?);
        }
        match ids.as_slice() {
            [] => Err(self.not_found(&prefix)),
            [id] => Ok(*id),
            several => Err(StoreError::Ambiguous {
                prefix,
                candidates: several.iter().map(RunId::to_string).collect(),
            }),
        }
    }

    /// Ends all connections after what is under way; SQLite's WAL is folded into the file.
    pub async fn close(self) {
        self.pool.close().await;
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let begun = self.pool.begin_with(begin_statement(self.location.backend));
        begun
            .await
            .map_err(|source| self.failed("beginning a transaction", source))
    }

    async fn same_run_or_taken(
        &self,
        transaction: &mut AnyConnection,
        id: RunId,
        payload: &str,
    ) -> Result<Saved, StoreError> {
        let (there,): (String,) = sqlx::query_as("SELECT payload FROM runs WHERE id = $1")
            .bind(id.to_string())
            .fetch_one(transaction)
            .await
            .map_err(|source| self.failed("saving a run", source))?;
        if there == payload {
            Ok(Saved::AlreadyThere)
        } else {
            Err(StoreError::Taken {
                id,
                location: self.location(),
            })
        }
    }

    fn summary(&self, row: &AnyRow) -> Result<RunSummary, StoreError> {
        let failed = |source| self.failed("looking for runs", source);
        let id = self.run_id(row)?;
        let arm: Option<String> = row.try_get("arm").map_err(failed)?;
        let pair: Option<i64> = row.try_get("pair").map_err(failed)?;
        Ok(RunSummary {
            id,
            scenario: row.try_get("scenario").map_err(failed)?,
            session: row.try_get("session").map_err(failed)?,
            arm: match arm.as_deref() {
                None => None,
                Some("base") => Some(Arm::Base),
                Some("head") => Some(Arm::Head),
                Some(other) => return Err(self.damaged(&id.to_string(), "arm", other)),
            },
            pair: match pair.map(u32::try_from).transpose() {
                Ok(pair) => pair,
                Err(_) => return Err(self.damaged(&id.to_string(), "pair", &format!("{pair:?}"))),
            },
            started_at: self.time(row, id, "started_at_ns")?,
            duration_ns: self.count(row, id, "duration_ns")?,
            revision: row.try_get("revision").map_err(failed)?,
            machine_id: row.try_get("machine_id").map_err(failed)?,
            fingerprint_id: row.try_get("fingerprint_id").map_err(failed)?,
            valid: self.count(row, id, "valid")? != 0,
        })
    }

    pub(super) fn run_id(&self, row: &AnyRow) -> Result<RunId, StoreError> {
        let text: String = row
            .try_get("id")
            .map_err(|source| self.failed("reading a run's id", source))?;
        match Uuid::try_parse(&text) {
            Ok(id) => Ok(RunId(id)),
            Err(_) => Err(self.damaged(&text, "id", &text)),
        }
    }

    pub(super) fn time(
        &self,
        row: &AnyRow,
        id: RunId,
        column: &'static str,
    ) -> Result<Timestamp, StoreError> {
        let ns: i64 = row
            .try_get(column)
            .map_err(|source| self.failed("reading a time", source))?;
        Timestamp::from_nanosecond(i128::from(ns))
            .map_err(|_| self.damaged(&id.to_string(), "time", &ns.to_string()))
    }

    pub(super) fn count(
        &self,
        row: &AnyRow,
        id: RunId,
        column: &'static str,
    ) -> Result<u64, StoreError> {
        let count: i64 = row
            .try_get(column)
            .map_err(|source| self.failed("reading a number", source))?;
        u64::try_from(count).map_err(|_| self.damaged(&id.to_string(), column, &count.to_string()))
    }

    pub(super) fn failed(&self, doing: &'static str, source: sqlx::Error) -> StoreError {
        StoreError::Database {
            location: self.location(),
            doing,
            source,
        }
    }

    fn not_found(&self, id: &str) -> StoreError {
        StoreError::NotFound {
            id: id.to_owned(),
            location: self.location(),
        }
    }

    pub(super) fn damaged(&self, id: &str, column: &'static str, value: &str) -> StoreError {
        StoreError::CorruptColumn {
            id: id.chars().take(80).collect(),
            location: self.location(),
            column,
            value: value.chars().take(80).collect(),
        }
    }
}

/// One row per metric and replicate, many rows a statement: a shared database is a network away.
fn metric_inserts(run: &Run) -> Result<Vec<Statement>, sqlx::Error> {
    let id = run.id.to_string();
    let encode = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    let mut rows = Vec::new();
    for metric in &run.metrics {
        let unit = serde_json::to_string(&metric.unit).map_err(encode)?;
        let better = serde_json::to_string(&metric.better).map_err(encode)?;
        for (replicate, value) in (0_i64..).zip(metric.values()) {
            rows.push((
                &metric.name,
                replicate,
                unit.clone(),
                better.clone(),
                *value,
            ));
        }
    }
    rows.chunks(VALUES_PER_INSERT)
        .map(|chunk| {
            let mut statement = Statement::new(
                "INSERT INTO metrics (run_id, name, replicate, unit, better, value) VALUES "
                    .to_owned(),
            );
            for (index, (name, replicate, unit, better, value)) in chunk.iter().enumerate() {
                statement.push(if index == 0 { "(" } else { ", (" });
                statement.bind(id.clone())?;
                statement.push(", ");
                statement.bind((*name).clone())?;
                statement.push(", ");
                statement.bind(*replicate)?;
                statement.push(", ");
                statement.bind(unit.clone())?;
                statement.push(", ");
                statement.bind(better.clone())?;
                statement.push(", ");
                statement.bind(*value)?;
                statement.push(")");
            }
            Ok(statement)
        })
        .collect()
}
