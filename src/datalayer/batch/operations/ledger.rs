//! What is kept of every run: `batch_runs` says how far it is, `audit` what each batch did, and
//! `dead_letters` which rows were laid aside. All three are written in the batch's own transaction.
//!
//! The first statement of a batch locks the row of its run. So a batch whose commit was cut off is
//! waited for by the attempt that follows, which then sees whether it is in; and of two processes
//! that hold one run for theirs, the one that took it over first goes on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::super::BatchError;
use super::super::rows::fetch_rows;
use super::super::table::{Column, Row, Value, name_list};
use super::super::transaction::{Transaction, in_transaction};
use super::RunError;
use super::work::Plan;
use crate::datalayer::pool::{DatabaseKind, Pool};

/// The tables of the ledger.
pub const LEDGER_TABLES: [&str; 3] = ["batch_runs", "audit", "dead_letters"];

const RUNS: &str = LEDGER_TABLES[0];
const AUDIT: &str = LEDGER_TABLES[1];
const DEAD_LETTERS: &str = LEDGER_TABLES[2];

/// In the ledger, a total that nobody knows.
const UNKNOWN: i64 = -1;

/// The statements that make the tables of the ledger; idempotent.
pub fn ledger_schema(kind: DatabaseKind) -> &'static str {
    match kind {
        DatabaseKind::Postgres => include_str!("ledger_postgres.sql"),
        DatabaseKind::Sqlite => include_str!("ledger_sqlite.sql"),
    }
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It does; or its process died, and it can be resumed.
    Running,
    /// It does, and was told through the ledger to end after its batch; or its process died.
    Cancelling,
    /// It was told to end, and can be resumed.
    Cancelled,
    /// An error ended it, and it can be resumed.
    Failed,
    /// All is done.
    Done,
}

/// A run as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its id. Later runs have greater ones.
    pub id: Uuid,
    /// The operation's name.
    pub operation: String,
    /// The table's name.
    pub table: String,
    /// What whoever started the run noted of its work.
    pub spec: String,
    /// Whether it goes on.
    pub state: RunState,
    /// Why it failed; empty where it did not.
    pub error: String,
    /// When it was first started.
    pub started_at: String,
    /// When it last gave a sign of life.
    pub updated_at: String,
    /// How far it is.
    pub standing: Standing,
}

/// Which runs to list; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// In one state.
    pub state: Option<RunState>,
    /// With a `spec` that begins like this.
    pub spec_prefix: Option<String>,
    /// Started before this one.
    pub before: Option<Uuid>,
}

/// A row that a run laid aside, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaidAside {
    /// Its id in the list. Later ones are greater.
    pub id: i64,
    /// The batch that it stood in.
    pub batch: u64,
    /// The row as JSON.
    pub row: String,
    /// What was wrong with it.
    pub error: String,
    /// How often it was tried.
    pub attempts: u64,
    /// When it was laid aside.
    pub laid_aside_at: String,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The last committed cursor: an id, or a place in the source.
    pub cursor: i64,
    /// Batches committed.
    pub batches: u64,
    /// Rows taken.
    pub taken: u64,
    /// Rows changed.
    pub changed: u64,
    /// Rows laid aside.
    pub dead_letters: u64,
    /// Rows there were to take at the start, where that is known.
    pub total: Option<u64>,
}

/// The ledger of one run, as its owner writes it.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) run: Uuid,
    /// Drawn at every start and every resumption.
    owner: Uuid,
    actor: String,
}

/// A row that is laid aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeadLetter {
    pub(super) row: serde_json::Value,
    pub(super) error: String,
    pub(super) attempts: u32,
}

/// What a batch does to the run.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) plan: &'a Plan,
    /// The number of the batch in its run, from 1.
    pub(super) batch: u64,
    pub(super) cursor: i64,
    pub(super) taken: u64,
    pub(super) changed: u64,
    pub(super) keys: (i64, i64),
    pub(super) dead: &'a [DeadLetter],
}

/// What the ledger says to who is about to work on a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claimed {
    /// Behind every batch that is in.
    pub(super) standing: Standing,
    /// Somebody told the run, through the ledger, to end.
    pub(super) is_called_off: bool,
}

const STANDING: [Column; 6] = [
    Column::integer("committed_cursor"),
    Column::integer("batches"),
    Column::integer("taken"),
    Column::integer("changed"),
    Column::integer("dead_letters"),
    Column::integer("total"),
];
const STANDING_NAMES: &str = "committed_cursor, batches, taken, changed, dead_letters, total";

impl Ledger {
    pub(super) fn new(run: Uuid, actor: &str) -> Self {
        Self {
            run,
            owner: Uuid::new_v4(),
            actor: actor.to_owned(),
        }
    }

    /// Enters a new run. Entering it twice changes nothing, so that a commit which was cut off can be
    /// tried again.
    pub(super) async fn begin(
        &self,
        pool: &Pool,
        plan: &Plan,
        spec: &str,
        standing: &Standing,
    ) -> Result<(), BatchError> {
        let sql = format!(
            "INSERT INTO {RUNS} (id, operation, table_name, actor, spec, owner, state, \
             {STANDING_NAMES}, error, started_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, \
             $8, 0, 0, 0, 0, $9, '', $10, $10) ON CONFLICT (id) DO NOTHING"
        );
        let values: Row = vec![
            self.run.to_string().into(),
            plan.operation.name().into(),
            plan.table.name.into(),
            self.actor.clone().into(),
            spec.to_owned().into(),
            self.owner.to_string().into(),
            RunState::Running.name().into(),
            standing.cursor.into(),
            standing.total.map_or(UNKNOWN, |total| total as i64).into(),
            now().into(),
        ];
        fetch_rows(
            pool,
            ("insert into", RUNS),
            AssertSqlSafe(sql),
            &values,
            &[],
        )
        .await
        .map(drop)
    }

    /// Takes a run over from whoever had it, and says how far it is: behind every batch that is in,
    /// since this waits for one that is being committed.
    pub(super) async fn take_over(&self, pool: &Pool, plan: &Plan) -> Result<Standing, RunError> {
        let record = find(pool, self.run)
            .await?
            .ok_or(RunError::Unknown { run: self.run })?;
        if record.operation != plan.operation.name() || record.table != plan.table.name {
            return Err(RunError::OtherWork {
                run: self.run,
                operation: record.operation,
                table: record.table,
            });
        }
        let sql = format!(
            "UPDATE {RUNS} SET owner = $2, actor = $3, state = $4, error = '', updated_at = $5 \
             WHERE id = $1 AND state <> $6 RETURNING {STANDING_NAMES}"
        );
        let values: Row = vec![
            self.run.to_string().into(),
            self.owner.to_string().into(),
            self.actor.clone().into(),
            RunState::Running.name().into(),
            now().into(),
            RunState::Done.name().into(),
        ];
        let rows = fetch_rows(
            pool,
            ("take over a run in", RUNS),
            AssertSqlSafe(sql),
            &values,
            &STANDING,
        );
        let row = rows.await?.pop().ok_or(RunError::Ended { run: self.run })?;
        Ok(standing(&row))
    }

    /// Locks the run for one batch, and says how far it is: of an earlier attempt whose answer was lost
    /// this knows whether it went through.
    pub(super) async fn claim(
        &self,
        transaction: &mut Transaction<'_>,
    ) -> Result<Claimed, RunError> {
        let sql = format!(
            "UPDATE {RUNS} SET updated_at = $3 WHERE id = $1 AND owner = $2 \
             RETURNING {STANDING_NAMES}, state"
        );
        let values: Row = vec![
            self.run.to_string().into(),
            self.owner.to_string().into(),
            now().into(),
        ];
        let what = ("claim a batch in", RUNS);
        let columns = [STANDING.as_slice(), &[Column::text("state")]].concat();
        let rows = transaction
            .fetch_rows(what, AssertSqlSafe(sql), &values, &columns)
            .await?;
        let row = rows.first().ok_or(RunError::TakenOver { run: self.run })?;
        Ok(Claimed {
            standing: standing(row),
            is_called_off: RunState::named(&text(row, STANDING.len())) != RunState::Running,
        })
    }

    /// Writes what a batch did, in its transaction.
    pub(super) async fn record(
        &self,
        transaction: &mut Transaction<'_>,
        entry: &Entry<'_>,
    ) -> Result<(), BatchError> {
        let (run, now) = (self.run.to_string(), now());
        let batch = entry.batch as i64;
        let laid_aside = entry.dead.len() as i64;
        let outcome = match (entry.changed, laid_aside) {
            (_, 0) => "committed",
            (0, _) => "laid aside",
            _ => "partly laid aside",
        };
        let sql = format!(
            "INSERT INTO {AUDIT} (run, batch, operation, table_name, changed, dead_letters, \
             first_key, last_key, outcome, actor, committed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        );
        let values: Row = vec![
            run.clone().into(),
            batch.into(),
            entry.plan.operation.name().into(),
            entry.plan.table.name.into(),
            (entry.changed as i64).into(),
            laid_aside.into(),
            entry.keys.0.into(),
            entry.keys.1.into(),
            outcome.into(),
            self.actor.clone().into(),
            now.clone().into(),
        ];
        transaction
            .execute(("insert into", AUDIT), AssertSqlSafe(sql), &values)
            .await?;
        for letter in entry.dead {
            let sql = format!(
                "INSERT INTO {DEAD_LETTERS} (run, batch, operation, table_name, row_json, error, \
                 attempts, laid_aside_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
            );
            let values: Row = vec![
                run.clone().into(),
                batch.into(),
                entry.plan.operation.name().into(),
                entry.plan.table.name.into(),
                letter.row.to_string().into(),
                letter.error.clone().into(),
                i64::from(letter.attempts).into(),
                now.clone().into(),
            ];
            transaction
                .execute(("insert into", DEAD_LETTERS), AssertSqlSafe(sql), &values)
                .await?;
        }
        let sql = format!(
            "UPDATE {RUNS} SET committed_cursor = $2, batches = $3, taken = taken + $4, \
             changed = changed + $5, dead_letters = dead_letters + $6 WHERE id = $1"
        );
        let values: Row = vec![
            run.into(),
            entry.cursor.into(),
            batch.into(),
            (entry.taken as i64).into(),
            (entry.changed as i64).into(),
            laid_aside.into(),
        ];
        transaction
            .execute(("update", RUNS), AssertSqlSafe(sql), &values)
            .await?;
        Ok(())
    }

    /// Says how the run ended; nothing where somebody else has it by now.
    pub(super) async fn end(
        &self,
        pool: &Pool,
        state: RunState,
        error: &str,
    ) -> Result<(), BatchError> {
        let sql = format!(
            "UPDATE {RUNS} SET state = $3, error = $4, updated_at = $5 WHERE id = $1 AND owner = $2"
        );
        let values: Row = vec![
            self.run.to_string().into(),
            self.owner.to_string().into(),
            state.name().into(),
            error.to_owned().into(),
            now().into(),
        ];
        fetch_rows(pool, ("update", RUNS), AssertSqlSafe(sql), &values, &[])
            .await
            .map(drop)
    }
}

/// What the ledger says of a run.
pub(super) async fn find(pool: &Pool, run: Uuid) -> Result<Option<RunRecord>, BatchError> {
    let id = [run.to_string().into()];
    Ok(read_runs(pool, "WHERE id = $1", &id).await?.pop())
}

/// The newest runs that a filter lets through, newest first, `limit` of them at most.
pub(super) async fn list(
    pool: &Pool,
    filter: &RunFilter,
    limit: u64,
) -> Result<Vec<RunRecord>, BatchError> {
    let mut values: Row = Vec::new();
    let mut conditions = vec!["1 = 1".to_owned()];
    if let Some(state) = filter.state {
        values.push(state.name().into());
        conditions.push(format!("state = ${}", values.len()));
    }
    if let Some(prefix) = &filter.spec_prefix {
        values.push((prefix.chars().count() as i64).into());
        values.push(prefix.clone().into());
        let (length, prefix) = (values.len() - 1, values.len());
        conditions.push(format!(
            "substr(spec, 1, CAST(${length} AS INTEGER)) = ${prefix}"
        ));
    }
    if let Some(before) = filter.before {
        values.push(before.to_string().into());
        conditions.push(format!("id < ${}", values.len()));
    }
    let conditions = conditions.join(" AND ");
    let rest = format!("WHERE {conditions} ORDER BY id DESC LIMIT {limit}");
    read_runs(pool, &rest, &values).await
}

async fn read_runs(
    pool: &Pool,
    rest: &str,
    values: &[Value],
) -> Result<Vec<RunRecord>, BatchError> {
    let texts = [
        "id",
        "operation",
        "table_name",
        "spec",
        "state",
        "error",
        "started_at",
        "updated_at",
    ]
    .map(Column::text);
    let columns = [STANDING.as_slice(), &texts].concat();
    let sql = AssertSqlSafe(format!("SELECT {} FROM {RUNS} {rest}", name_list(&columns)));
    let rows = fetch_rows(pool, ("read", RUNS), sql, values, &columns).await?;
    let records = rows.iter().map(|row| {
        let text = |index| text(row, STANDING.len() + index);
        RunRecord {
            // Nobody else writes ids.
            id: text(0).parse().unwrap_or_default(),
            operation: text(1),
            table: text(2),
            spec: text(3),
            state: RunState::named(&text(4)),
            error: text(5),
            started_at: text(6),
            updated_at: text(7),
            standing: standing(row),
        }
    });
    Ok(records.collect())
}

/// The rows that a run laid aside, `limit` of them at most, in the order of their ids behind `after`.
pub(super) async fn laid_aside(
    pool: &Pool,
    run: Uuid,
    after: i64,
    limit: u64,
) -> Result<Vec<LaidAside>, BatchError> {
    let columns = [
        Column::integer("id"),
        Column::integer("batch"),
        Column::text("row_json"),
        Column::text("error"),
        Column::integer("attempts"),
        Column::text("laid_aside_at"),
    ];
    let sql = AssertSqlSafe(format!(
        "SELECT {} FROM {DEAD_LETTERS} WHERE run = $1 AND id > $2 ORDER BY id LIMIT {limit}",
        name_list(&columns)
    ));
    let values: Row = vec![run.to_string().into(), after.into()];
    let rows = fetch_rows(pool, ("read", DEAD_LETTERS), sql, &values, &columns).await?;
    let letters = rows.iter().map(|row| LaidAside {
        id: integer(row, 0),
        batch: integer(row, 1) as u64,
        row: text(row, 2),
        error: text(row, 3),
        attempts: integer(row, 4) as u64,
        laid_aside_at: text(row, 5),
    });
    Ok(letters.collect())
}

/// Tells whoever has a run to end it after its batch; one that gave no sign of life for `abandoned` is
/// cancelled by that. Gives the state that it is in then; none where it does not go on anyway.
pub(super) async fn call_off(
    pool: &Pool,
    run: Uuid,
    abandoned: Duration,
) -> Result<Option<RunState>, BatchError> {
    let sql = AssertSqlSafe(format!(
        "UPDATE {RUNS} SET state = CASE WHEN updated_at < $2 THEN $3 ELSE $4 END \
         WHERE id = $1 AND state IN ($4, $5) RETURNING state"
    ));
    let values: Row = vec![
        run.to_string().into(),
        before(abandoned).into(),
        RunState::Cancelled.name().into(),
        RunState::Cancelling.name().into(),
        RunState::Running.name().into(),
    ];
    let state = [Column::text("state")];
    let rows = fetch_rows(pool, ("call off a run in", RUNS), sql, &values, &state).await?;
    Ok(rows.first().map(|row| RunState::named(&text(row, 0))))
}

/// Removes runs that gave no sign of life for `kept`, with the rows that they laid aside, `limit` of them
/// at most; gives how many. What they changed stays in the audit.
pub(super) async fn forget(pool: &Pool, kept: Duration, limit: u64) -> Result<u64, BatchError> {
    let sql = AssertSqlSafe(format!(
        "SELECT id FROM {RUNS} WHERE updated_at < $1 ORDER BY updated_at LIMIT {limit}"
    ));
    let id = [Column::text("id")];
    let cutoff = before(kept);
    let old = fetch_rows(pool, ("read", RUNS), sql, &[cutoff.clone().into()], &id).await?;
    let mut forgotten = 0;
    for row in old {
        let remove = format!("DELETE FROM {RUNS} WHERE id = $1 AND updated_at < $2");
        let lay_down = format!("DELETE FROM {DEAD_LETTERS} WHERE run = $1");
        let run = text(&row, 0);
        forgotten += in_transaction(pool, ("delete from", RUNS), async |transaction| {
            let values: Row = vec![run.clone().into(), cutoff.clone().into()];
            let what = ("delete from", RUNS);
            let removed = transaction.execute(what, AssertSqlSafe(remove), &values);
            // Somebody may have resumed it meanwhile.
            if removed.await? == 0 {
                return Ok(0);
            }
            let what = ("delete from", DEAD_LETTERS);
            let removed = transaction.execute(what, AssertSqlSafe(lay_down), &values[..1]);
            removed.await?;
            Ok::<_, BatchError>(1)
        })
        .await?;
    }
    Ok(forgotten)
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Cancelling,
        Self::Cancelled,
        Self::Failed,
        Self::Done,
    ];

    /// As it stands in the ledger and in every answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    fn named(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == name)
            .unwrap_or(Self::Failed)
    }
}

fn standing(row: &Row) -> Standing {
    Standing {
        cursor: integer(row, 0),
        batches: integer(row, 1) as u64,
        taken: integer(row, 2) as u64,
        changed: integer(row, 3) as u64,
        dead_letters: integer(row, 4) as u64,
        total: u64::try_from(integer(row, 5)).ok(),
    }
}

/// An integer of a row that was read as such.
fn integer(row: &Row, index: usize) -> i64 {
    match row.get(index) {
        Some(Value::Integer(number)) => *number,
        _ => 0,
    }
}

fn text(row: &Row, index: usize) -> String {
    match row.get(index) {
        Some(Value::Text(text)) => text.to_string(),
        _ => String::new(),
    }
}

fn now() -> String {
    stamp(Timestamp::now())
}

/// The moment so long ago.
fn before(ago: Duration) -> String {
    let moment = SignedDuration::try_from(ago).and_then(|ago| Timestamp::now().checked_sub(ago));
    stamp(moment.unwrap_or(Timestamp::MIN))
}

fn stamp(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
