//! Batch operations on real databases: what they do, what they keep of it, and that neither a lost
//! connection nor a killed process loses a row or writes one twice.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use plimsoll::datalayer::batch::operations::{
    Comparison, Condition, Filter, KEY_MAX, Operations, Progress, RowSource, RunError, RunFilter,
    RunRecord, RunState, SourceError, Transform, Work,
};
use plimsoll::datalayer::batch::{
    BatchError, Column, MemorySource, ProcessMemory, Row, Select, Table, Value, fetch_rows,
    stream_batches,
};
use plimsoll::datalayer::config::{BatchSettings, PoolSettings, RetrySettings, RetryStrategy};
use plimsoll::datalayer::dataset::{
    DatasetId, Ensured, Generator, RECORDS, RECORDS_ARCHIVE, RECORDS_REPORTED, ensure,
};
use plimsoll::datalayer::pool::Pool;
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _};
use support::servers::{Postgres, command_as};
use support::wait;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const RECORD_COUNT: u64 = 2000;
const SEED: u64 = 7;
/// Longest wait for anything that should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pool on a dataset, with what has to outlive it.
struct Store<K> {
    pool: Pool,
    kept: K,
}

async fn sqlite() -> Store<TempDir> {
    let folder = TempDir::new().unwrap();
    let url = format!(
        "sqlite:{}?mode=rwc",
        folder.path().join("test.db").display()
    );
    let store = Store {
        pool: connect(&url).await,
        kept: folder,
    };
    make(&store.pool).await;
    store
}

async fn postgres() -> Store<Postgres> {
    let server = Postgres::start().unwrap();
    let store = Store {
        pool: connect(&server.url()).await,
        kept: server,
    };
    make(&store.pool).await;
    store
}

async fn connect(url: &str) -> Pool {
    let settings = PoolSettings {
        min_connections: 1,
        max_connections: 4,
        acquire_timeout_ms: 5000,
        sqlite_busy_timeout_ms: 50,
        ..PoolSettings::default()
    };
    Pool::connect(url, settings).await.unwrap()
}

async fn make(pool: &Pool) -> Ensured {
    let id = DatasetId {
        seed: SEED,
        records: RECORD_COUNT,
    };
    let settings = BatchSettings::default();
    ensure(pool, id, &settings, memory()).await.unwrap()
}

fn memory() -> Arc<dyn MemorySource> {
    Arc::new(ProcessMemory)
}

/// Batches of one size, and retries that do not keep a test waiting.
fn batches_of(rows: u32) -> BatchSettings {
    BatchSettings {
        start_rows: rows,
        min_rows: rows,
        max_rows: rows,
        retry: RetrySettings {
            strategy: RetryStrategy::Fibonacci,
            attempts: 8,
            min_delay_ms: 10,
            max_delay_ms: 500,
            ..RetrySettings::default()
        },
        ..BatchSettings::default()
    }
}

fn operations(pool: &Pool, settings: BatchSettings) -> Operations {
    Operations::new(pool.clone(), settings, memory())
}

async fn perform(pool: &Pool, rows: u32, work: Work) -> Progress {
    let operations = operations(pool, batches_of(rows));
    let run = operations.start(work, "test", "").await.unwrap();
    let progress = run.finish().await.unwrap();
    assert_eq!(progress.state, RunState::Done);
    progress
}

async fn all(pool: &Pool, table: &'static Table) -> Vec<Row> {
    let settings = BatchSettings::default();
    let batches = stream_batches(pool.clone(), Select::all(table), &settings, memory());
    batches.try_collect::<Vec<_>>().await.unwrap().concat()
}

async fn run(pool: &Pool, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    fetch_rows(pool, ("change", "test"), sql, &[], &[])
        .await
        .unwrap();
}

async fn texts(pool: &Pool, sql: &str) -> Vec<String> {
    let sql = AssertSqlSafe(sql.to_owned());
    let columns = [Column::text("text")];
    let rows = fetch_rows(pool, ("read", "test"), sql, &[], &columns).await;
    rows.unwrap().into_iter().flatten().map(text).collect()
}

async fn number(pool: &Pool, sql: &str) -> i64 {
    let sql = AssertSqlSafe(sql.to_owned());
    let columns = [Column::integer("n")];
    let rows = fetch_rows(pool, ("read", "test"), sql, &[], &columns).await;
    integer(&rows.unwrap()[0][0])
}

fn text(value: Value) -> String {
    match value {
        Value::Text(text) => text.into_owned(),
        Value::Integer(number) => panic!("{number} is no text"),
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        Value::Text(text) => panic!("{text} is no number"),
    }
}

fn column(name: &str) -> Column {
    RECORDS.column(name).unwrap()
}

fn filter(name: &str, comparison: Comparison, value: impl Into<Value>) -> Filter {
    let condition = Condition {
        column: column(name),
        comparison,
        value: value.into(),
    };
    Filter {
        table: &RECORDS,
        conditions: vec![condition],
    }
}

/// The records of the dataset, whole.
fn generated() -> Vec<Row> {
    Generator::new(SEED, RECORD_COUNT).rows(&RECORDS).collect()
}

/// Further records, without ids.
fn further(rows: usize) -> Vec<Row> {
    let generator = Generator::new(SEED, RECORD_COUNT);
    generator.records_from(RECORD_COUNT).take(rows).collect()
}

fn source(rows: Vec<Row>) -> impl FnMut(u64, usize) -> Vec<Row> + Send {
    move |from, limit| {
        let rest = rows.iter().skip(from as usize);
        rest.take(limit).cloned().collect()
    }
}

/// The rows without their ids, sorted.
fn unkeyed(rows: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.iter().map(|row| row[1..].to_vec()).collect();
    rows.sort();
    rows
}

fn create(rows: Vec<Row>) -> Work {
    let total = rows.len() as u64;
    Work::create(&RECORDS, RECORDS.unkeyed(), source(rows), Some(total))
}

fn archive_mapping() -> Vec<(Column, Transform)> {
    let copied = RECORDS
        .columns
        .iter()
        .map(|column| (*column, Transform::Copy(*column)));
    let day = RECORDS_ARCHIVE.column("archived_on").unwrap();
    copied
        .chain([(day, Transform::Constant("2025-10-01".into()))])
        .collect()
}

/// Each batch has its row in the audit, numbered without a gap; together they say what was changed.
async fn audited(pool: &Pool, operation: &str, progress: &Progress) {
    let audit = format!("FROM audit WHERE operation = '{operation}'");
    let batches = progress.batches as i64;
    assert_eq!(
        number(pool, &format!("SELECT count(*) {audit}")).await,
        batches
    );
    assert_eq!(
        number(pool, &format!("SELECT max(batch) {audit}")).await,
        batches
    );
    let changed = format!("SELECT CAST(sum(changed) AS BIGINT) {audit}");
    assert_eq!(number(pool, &changed).await, progress.rows as i64);
    let dead = format!("SELECT CAST(sum(dead_letters) AS BIGINT) {audit}");
    assert_eq!(number(pool, &dead).await, progress.dead_letters as i64);
    let odd = format!("SELECT count(*) {audit} AND (actor <> 'test' OR first_key > last_key)");
    assert_eq!(number(pool, &odd).await, 0);
    let when = texts(pool, &format!("SELECT committed_at {audit}")).await;
    assert!(
        when.iter()
            .all(|when| when.len() == 20 && when.ends_with('Z'))
    );
}

#[tokio::test]
async fn create_inserts_all_rows_and_says_so() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let rows = further(1050);
        let progress = perform(pool, 100, create(rows.clone())).await;
        assert_eq!((progress.done, progress.total), (1050, Some(1050)));
        assert_eq!(
            (progress.rows, progress.dead_letters, progress.batches),
            (1050, 0, 11)
        );
        assert_eq!(progress.cursor, Some(1050));
        assert!(progress.rate_per_s > 0.0 && progress.eta_ms == Some(0));
        let there = all(pool, &RECORDS).await;
        assert_eq!(unkeyed(&there[2000..]), unkeyed(&keyed(&rows)));
        audited(pool, "create", &progress).await;
        let last = "SELECT first_key FROM audit WHERE batch = 11";
        assert_eq!(number(pool, last).await, 1001);
    }
}

/// Rows with ids that count from 1, for a comparison that leaves the ids out.
fn keyed(rows: &[Row]) -> Vec<Row> {
    let ids = 1..;
    ids.zip(rows)
        .map(|(id, row)| [vec![Value::Integer(id)], row.clone()].concat())
        .collect()
}

#[tokio::test]
async fn update_changes_the_rows_of_the_source_and_lays_aside_those_that_are_not_there() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let columns = [column("id"), column("stage"), column("cost_cents")];
        let mut rows: Vec<Row> = (1..=700)
            .map(|id| vec![id.into(), "X".into(), (id * 10).into()])
            .collect();
        // Not there; and twice within one batch, of which the last counts.
        rows[350][0] = 1_000_000.into();
        rows.push(vec![700.into(), "IV".into(), 1.into()]);
        let work = Work::update(&RECORDS, &columns, source(rows), Some(701));
        let progress = perform(pool, 300, work).await;
        assert_eq!(
            (progress.done, progress.rows, progress.dead_letters),
            (701, 700, 1)
        );
        let expected: Vec<Row> = generated()
            .into_iter()
            .map(|mut row| {
                let id = integer(&row[0]);
                if id <= 700 && id != 351 {
                    row[5] = if id == 700 { "IV" } else { "X" }.into();
                    row[7] = if id == 700 { 1 } else { id * 10 }.into();
                }
                row
            })
            .collect();
        assert_eq!(all(pool, &RECORDS).await, expected);
        let dead = texts(pool, "SELECT row_json FROM dead_letters").await;
        let dead: Vec<Json> = dead
            .iter()
            .map(|row| serde_json::from_str(row).unwrap())
            .collect();
        let row = json!({"id": 1_000_000, "stage": "X", "cost_cents": 3510});
        assert_eq!(dead, [row]);
        audited(pool, "update", &progress).await;
    }
}

#[tokio::test]
async fn update_by_filter_changes_what_matches() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let matching = filter("stage", Comparison::Equal, "II");
        let set = vec![
            (column("stage"), "III".into()),
            (column("cost_cents"), 5.into()),
        ];
        let progress = perform(pool, 100, Work::set(matching, set)).await;
        let mut changed = 0;
        let expected: Vec<Row> = generated()
            .into_iter()
            .map(|mut row| {
                if row[5] == "II".into() {
                    (row[5], row[7]) = ("III".into(), 5.into());
                    changed += 1;
                }
                row
            })
            .collect();
        assert!(changed > 300, "several batches");
        assert_eq!((progress.rows, progress.total), (changed, Some(changed)));
        assert_eq!(all(pool, &RECORDS).await, expected);
        audited(pool, "update", &progress).await;
    }
}

#[tokio::test]
async fn upsert_inserts_and_changes_and_the_ids_go_on_behind_it() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        // Half of them are there. The first one comes again and counts as it comes last.
        let mut rows: Vec<Row> = (1501..)
            .zip(further(1000))
            .map(|(id, row)| [vec![Value::Integer(id)], row].concat())
            .collect();
        let mut again = rows[0].clone();
        again[6] = "Twice".into();
        rows.insert(1, again.clone());
        let progress = perform(
            pool,
            300,
            Work::upsert(&RECORDS, source(rows.clone()), None),
        )
        .await;
        assert_eq!(
            (progress.rows, progress.total, progress.batches),
            (1001, None, 4)
        );
        let mut expected = generated();
        expected.truncate(1500);
        expected.push(again);
        expected.extend_from_slice(&rows[2..]);
        assert_eq!(all(pool, &RECORDS).await, expected);
        audited(pool, "upsert", &progress).await;
        // A row that gets its id from the database gets a free one.
        let progress = perform(pool, 300, create(further(1))).await;
        assert_eq!((progress.rows, progress.dead_letters), (1, 0));
        assert_eq!(number(pool, "SELECT max(id) FROM records").await, 2501);
    }
}

#[tokio::test]
async fn delete_removes_what_matches_and_nothing_else() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let progress = perform(
            pool,
            100,
            Work::delete(filter("tenant_id", Comparison::Equal, 1)),
        )
        .await;
        let expected: Vec<Row> = generated()
            .into_iter()
            .filter(|row| row[1] != 1.into())
            .collect();
        assert_eq!(all(pool, &RECORDS).await, expected);
        assert_eq!(progress.rows, RECORD_COUNT - expected.len() as u64);
        assert!(progress.batches > 3, "{progress:?}");
        audited(pool, "delete", &progress).await;
    }
}

#[tokio::test]
async fn migrate_copies_with_other_columns() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let into = |name: &str| RECORDS_REPORTED.column(name).unwrap();
        let mapping = vec![
            (into("id"), Transform::Copy(column("id"))),
            (into("tenant_id"), Transform::Copy(column("tenant_id"))),
            (into("year"), Transform::Prefix(column("diagnosed_on"), 4)),
            (into("category"), Transform::Prefix(column("code"), 3)),
            (into("stage"), Transform::Constant("any".into())),
            (
                into("cost_units"),
                Transform::Divided(column("cost_cents"), 100),
            ),
        ];
        let matching = filter("tenant_id", Comparison::AtLeast, 2);
        let work = Work::migrate(matching, &RECORDS_REPORTED, mapping);
        let progress = perform(pool, 100, work).await;
        let expected: Vec<Row> = generated()
            .into_iter()
            .filter(|row| integer(&row[1]) >= 2)
            .map(|row| {
                let prefix = |index: usize, end: usize| -> Value {
                    text(row[index].clone())[..end].to_owned().into()
                };
                let year = prefix(3, 4);
                let category = prefix(4, 3);
                let units = (integer(&row[7]) / 100).into();
                vec![
                    row[0].clone(),
                    row[1].clone(),
                    year,
                    category,
                    "any".into(),
                    units,
                ]
            })
            .collect();
        assert_eq!(all(pool, &RECORDS_REPORTED).await, expected);
        assert_eq!(all(pool, &RECORDS).await, generated(), "the source stays");
        assert_eq!(progress.rows, expected.len() as u64);
        audited(pool, "migrate", &progress).await;
    }
}

#[tokio::test]
async fn archive_moves_what_is_older_and_purge_removes_it_for_good() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let older = filter("diagnosed_on", Comparison::Below, "2022-01-01");
        let work = Work::archive(older, &RECORDS_ARCHIVE, archive_mapping());
        let progress = perform(pool, 100, work).await;
        let (old, new): (Vec<Row>, Vec<Row>) = generated()
            .into_iter()
            .partition(|row| row[3] < "2022-01-01".into());
        assert!(old.len() > 300 && new.len() > 300);
        assert_eq!(all(pool, &RECORDS).await, new);
        let moved: Vec<Row> = old
            .iter()
            .map(|row| [row.clone(), vec!["2025-10-01".into()]].concat())
            .collect();
        assert_eq!(all(pool, &RECORDS_ARCHIVE).await, moved);
        assert_eq!(progress.rows, old.len() as u64);
        audited(pool, "archive", &progress).await;

        run(
            pool,
            "UPDATE records_archive SET archived_on = '2024-01-01' WHERE id % 2 = 0",
        )
        .await;
        let expired = Filter {
            table: &RECORDS_ARCHIVE,
            conditions: vec![Condition {
                column: RECORDS_ARCHIVE.column("archived_on").unwrap(),
                comparison: Comparison::Below,
                value: "2025-01-01".into(),
            }],
        };
        let progress = perform(pool, 100, Work::purge(expired)).await;
        let kept: Vec<Row> = moved
            .into_iter()
            .filter(|row| integer(&row[0]) % 2 == 1)
            .collect();
        assert_eq!(all(pool, &RECORDS_ARCHIVE).await, kept);
        assert_eq!(all(pool, &RECORDS).await, new);
        audited(pool, "purge", &progress).await;
    }
}

#[tokio::test]
async fn what_grows_old_while_its_batch_is_moved_is_moved_too_or_stays() {
    let postgres = postgres().await;
    let pool = &postgres.pool;
    // Whoever copies first and removes after that leaves this much time in between.
    run(
        pool,
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$",
    )
    .await;
    run(
        pool,
        "CREATE TRIGGER linger AFTER INSERT ON records_archive \
         FOR EACH STATEMENT EXECUTE FUNCTION linger()",
    )
    .await;
    let older = filter("diagnosed_on", Comparison::Below, "2020-01-01");
    let work = Work::archive(older, &RECORDS_ARCHIVE, archive_mapping());
    let operations = operations(pool, batches_of(50));
    let archiving = operations.start(work, "test", "").await.unwrap();
    let ended = tokio::spawn(archiving.finish());
    let (mut aged, mut id) = (0, 1);
    while !ended.is_finished() {
        let age = format!("UPDATE records SET diagnosed_on = '2019-01-01' WHERE id = {id}");
        run(pool, &age).await;
        (aged, id) = (aged + 1, id % 2000 + 1);
    }
    let progress = ended.await.unwrap().unwrap();
    assert!(aged > 20 && progress.batches > 3, "{aged}, {progress:?}");
    let left = all(pool, &RECORDS).await.len();
    assert_eq!(left + all(pool, &RECORDS_ARCHIVE).await.len(), 2000);
    assert_eq!(2000 - left as u64, progress.rows);
}

#[tokio::test]
async fn a_batch_its_audit_and_its_cursor_are_one_step() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        // The audit refuses the fourth batch, after its changes were made.
        run(
            pool,
            "CREATE UNIQUE INDEX fourth ON audit (run, (CASE batch WHEN 4 THEN 3 ELSE batch END))",
        )
        .await;
        let operations = operations(pool, batches_of(100));
        let begun = operations
            .start(Work::delete(every(&RECORDS)), "test", "")
            .await
            .unwrap();
        let id = begun.id();
        // Every part of the batch is refused, and what is laid aside has to stand in the audit too.
        let error = begun.finish().await.unwrap_err();
        assert!(matches!(error, RunError::Batch(_)), "{error}");
        assert_eq!(all(pool, &RECORDS).await, generated()[300..]);
        assert_eq!(number(pool, "SELECT count(*) FROM audit").await, 3);
        let record = operations.find(id).await.unwrap().unwrap();
        assert_eq!(record.state, RunState::Failed);
        assert_eq!((record.standing.batches, record.standing.cursor), (3, 300));
        run(pool, "DROP INDEX fourth").await;
        let resumed = operations.resume(id, Work::delete(every(&RECORDS)), "test");
        let progress = resumed.await.unwrap().finish().await.unwrap();
        assert_eq!((progress.rows, progress.done), (2000, 2000));
        assert_eq!(all(pool, &RECORDS).await, Vec::<Row>::new());
        audited(pool, "delete", &progress).await;
    }
}

fn every(table: &'static Table) -> Filter {
    Filter {
        table,
        conditions: Vec::new(),
    }
}

#[tokio::test]
async fn bad_rows_are_laid_aside_one_by_one_and_nothing_is_lost() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        // Refused by a constraint, by the layer, and by PostgreSQL alone, which has no NUL in texts.
        run(
            pool,
            "CREATE UNIQUE INDEX one_cost ON records (cost_cents) WHERE city = 'Once'",
        )
        .await;
        let mut rows = further(1000);
        for index in [0, 499, 500, 999] {
            rows[index][5] = "Once".into();
            rows[index][6] = 77.into();
        }
        rows[250] = vec!["odd".into()];
        rows[251][0] = "one".into();
        rows[700][4] = "a\0b".into();
        let nul_is_refused = std::ptr::eq(pool, &raw const postgres.pool);
        let progress = perform(pool, 250, create(rows.clone())).await;
        let dead = 5 + u64::from(nul_is_refused);
        assert_eq!(progress.done, 1000);
        assert_eq!((progress.rows, progress.dead_letters), (1000 - dead, dead));
        let mut left: Vec<Row> = all(pool, &RECORDS).await[2000..].to_vec();
        left = unkeyed(&left);
        let bad = |index: &usize| {
            [499, 500, 999, 250, 251].contains(index) || (nul_is_refused && *index == 700)
        };
        let mut expected: Vec<Row> = (0..1000)
            .filter(|index| !bad(index))
            .map(|index| rows[index].clone())
            .collect();
        expected.sort();
        assert_eq!(
            left, expected,
            "every good row, also of a batch with bad ones"
        );
        // The whole of each bad row.
        let kept = texts(pool, "SELECT row_json FROM dead_letters ORDER BY id").await;
        let kept: BTreeSet<String> = kept.into_iter().collect();
        let wanted: BTreeSet<String> = (0..1000)
            .filter(bad)
            .map(|index| as_json(&rows[index]))
            .collect();
        assert_eq!(kept, wanted);
        let reasons = texts(pool, "SELECT error FROM dead_letters WHERE attempts = 1").await;
        assert_eq!(
            reasons.len() as u64,
            dead,
            "a constraint is not tried again"
        );
        let unique = |reason: &&String| reason.to_lowercase().contains("unique");
        assert_eq!(reasons.iter().filter(unique).count(), 3, "{reasons:?}");
        audited(pool, "create", &progress).await;
    }
}

fn as_json(row: &Row) -> String {
    let columns = RECORDS.unkeyed();
    if row.len() != columns.len() {
        return Json::from_iter(row.iter().map(Json::from)).to_string();
    }
    let pairs = columns.iter().zip(row);
    let object: serde_json::Map<_, _> = pairs
        .map(|(column, value)| (column.name.to_owned(), value.into()))
        .collect();
    Json::from(object).to_string()
}

#[tokio::test]
async fn rows_that_cannot_be_moved_stay_and_are_laid_aside() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        // The archive has two of the ids already.
        run(
            pool,
            "INSERT INTO records_archive SELECT id, tenant_id, client_id, diagnosed_on, code, \
             stage, 'There', cost_cents, 'x' FROM records WHERE id IN (5, 1234)",
        )
        .await;
        let work = Work::archive(every(&RECORDS), &RECORDS_ARCHIVE, archive_mapping());
        let progress = perform(pool, 500, work).await;
        assert_eq!(
            (progress.done, progress.rows, progress.dead_letters),
            (2000, 1998, 2)
        );
        let all_rows = generated();
        let stay = [all_rows[4].clone(), all_rows[1233].clone()];
        assert_eq!(all(pool, &RECORDS).await, stay);
        assert_eq!(all(pool, &RECORDS_ARCHIVE).await.len(), 2000);
        let ids = texts(pool, "SELECT row_json FROM dead_letters ORDER BY id").await;
        assert!(
            ids[0].contains("\"id\":5,") && ids[1].contains("\"id\":1234,"),
            "{ids:?}"
        );
    }
}

#[tokio::test]
async fn too_many_bad_rows_end_the_run_where_it_can_be_resumed() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let settings = BatchSettings {
            dead_letters_max: 10,
            ..batches_of(100)
        };
        let operations = operations(pool, settings);
        // All ids are taken.
        let work = || Work::create(&RECORDS, RECORDS.columns, source(generated()), None);
        let begun = operations.start(work(), "test", "").await.unwrap();
        let id = begun.id();
        let error = begun.finish().await.unwrap_err();
        assert!(
            matches!(
                error,
                RunError::DeadLetters {
                    dead_letters: 11,
                    ..
                }
            ),
            "{error}"
        );
        let standing = operations.find(id).await.unwrap().unwrap().standing;
        assert_eq!((standing.cursor, standing.dead_letters), (11, 11));
        // Once mended, it goes on where it was.
        run(pool, "DELETE FROM records").await;
        let resumed = operations.resume(id, work(), "test").await.unwrap();
        let progress = resumed.finish().await.unwrap();
        assert_eq!((progress.rows, progress.dead_letters), (1989, 11));
        assert_eq!(all(pool, &RECORDS).await, generated()[11..]);
    }
}

#[tokio::test]
async fn a_lock_that_somebody_else_holds_is_tried_again() {
    let lite = sqlite().await;
    let url = format!("sqlite:{}", lite.kept.path().join("test.db").display());
    let mut outside = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let operations = operations(&lite.pool, batches_of(500));
    let hold = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut outside);
    hold.await.unwrap();
    let begun = tokio::spawn(async move {
        let run = operations.start(create(further(1000)), "test", "");
        run.await.unwrap().finish().await.unwrap()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let let_go = sqlx::raw_sql("ROLLBACK").execute(&mut outside);
    let_go.await.unwrap();
    let progress = begun.await.unwrap();
    assert_eq!((progress.rows, progress.dead_letters), (1000, 0));
    assert_eq!(all(&lite.pool, &RECORDS).await.len(), 3000);
}

#[tokio::test]
async fn exponential_pauses_double() {
    pauses(RetryStrategy::Exponential, [1, 2, 4, 8]).await;
}

#[tokio::test]
async fn linear_pauses_grow_by_the_first_one() {
    pauses(RetryStrategy::Linear, [1, 2, 3, 4]).await;
}

#[tokio::test]
async fn fixed_pauses_stay_as_they_are() {
    pauses(RetryStrategy::Fixed, [1, 1, 1, 1]).await;
}

#[tokio::test]
async fn fibonacci_pauses_are_as_long_as_the_two_before() {
    pauses(RetryStrategy::Fibonacci, [1, 1, 2, 3]).await;
}

/// The pauses between the five attempts of a batch, as PostgreSQL sees them come, in whole first pauses.
async fn pauses(strategy: RetryStrategy, expected: [i64; 4]) {
    const FIRST_MS: i64 = 200;
    let postgres = postgres().await;
    let pool = &postgres.pool;
    // A sequence keeps what a transaction left in it that was undone.
    for sequence in ["attempts", "at_1", "at_2", "at_3", "at_4", "at_5"] {
        run(pool, &format!("CREATE SEQUENCE {sequence}")).await;
    }
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ \
                  DECLARE attempt bigint := nextval('attempts'); BEGIN \
                  PERFORM setval(('at_' || attempt)::regclass, \
                  (extract(epoch FROM clock_timestamp()) * 1000000)::bigint); \
                  IF attempt < 5 THEN \
                  RAISE 'somebody is in the way' USING ERRCODE = 'serialization_failure'; \
                  END IF; RETURN NEW; END $$";
    run(pool, refuse).await;
    let first = "CREATE TRIGGER refuse BEFORE INSERT ON records FOR EACH ROW \
                 EXECUTE FUNCTION refuse()";
    run(pool, first).await;
    let settings = BatchSettings {
        retry: RetrySettings {
            strategy,
            attempts: 5,
            min_delay_ms: FIRST_MS as u64,
            jitter_ratio: 0.0,
            ..RetrySettings::default()
        },
        ..batches_of(1)
    };
    let operations = operations(pool, settings);
    // The shortest of three, since the machine may be busy.
    let mut shortest = [i64::MAX; 4];
    for _ in 0..3 {
        run(pool, "ALTER SEQUENCE attempts RESTART").await;
        let begun = operations.start(create(further(1)), "test", "").await;
        let progress = begun.unwrap().finish().await.unwrap();
        assert_eq!((progress.rows, progress.retries), (1, 4), "{progress:?}");
        let mut before = number(pool, "SELECT last_value FROM at_1").await;
        for (index, shortest) in shortest.iter_mut().enumerate() {
            let at = format!("SELECT last_value FROM at_{}", index + 2);
            let at = number(pool, &at).await;
            *shortest = (at - before).min(*shortest);
            before = at;
        }
        if shortest.map(|us| us / (FIRST_MS * 1000)) == expected {
            return;
        }
    }
    panic!("{shortest:?} µs");
}

#[tokio::test]
async fn a_run_that_gets_no_memory_ends_after_a_batch_and_can_be_resumed() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let settings = BatchSettings {
            pause_limit_ms: 50,
            ..batches_of(100)
        };
        let full: Arc<dyn MemorySource> = Arc::new(|| 1_000_000_000);
        let starved = Operations::new(pool.clone(), settings.clone(), full);
        let work = || create(further(1050));
        let begun = starved.start(work(), "test", "").await.unwrap();
        let id = begun.id();
        let error = begun.finish().await.unwrap_err();
        assert!(
            matches!(error, RunError::Batch(BatchError::MemoryCeiling { .. })),
            "{error}"
        );
        let found = starved.find(id).await.unwrap().unwrap();
        assert_eq!(found.state, RunState::Failed);
        // The memory is looked at behind the first batch, which is in as a whole.
        let standing = found.standing;
        assert_eq!((standing.batches, standing.changed), (1, 100));
        let there = all(pool, &RECORDS).await;
        assert_eq!(unkeyed(&there[2000..]), unkeyed(&keyed(&further(100))));
        let resumed = operations(pool, settings).resume(id, work(), "test").await;
        let progress = resumed.unwrap().finish().await.unwrap();
        assert_eq!(progress.state, RunState::Done);
        assert_eq!((progress.rows, progress.dead_letters), (1050, 0));
        let there = all(pool, &RECORDS).await;
        assert_eq!(unkeyed(&there[2000..]), unkeyed(&keyed(&further(1050))));
        audited(pool, "create", &progress).await;
    }
}

#[tokio::test]
async fn a_pool_that_is_exhausted_is_waited_for() {
    let postgres = postgres().await;
    let settings = PoolSettings {
        min_connections: 2,
        max_connections: 2,
        acquire_timeout_ms: 100,
        ..PoolSettings::default()
    };
    let pool = Pool::connect(&postgres.kept.url(), settings).await.unwrap();
    let settings = BatchSettings {
        retry: RetrySettings {
            attempts: 100,
            ..batches_of(1).retry
        },
        ..batches_of(20)
    };
    let operations = operations(&pool, settings);
    let begun = operations.start(create(further(4000)), "test", "").await;
    let begun = begun.unwrap();
    let mut progress = begun.progress();
    let some = progress.wait_for(|progress| progress.batches >= 3);
    some.await.unwrap();
    let patient = pool.with_acquire_timeout(PATIENCE);
    let held = [patient.acquire().await, patient.acquire().await].map(Result::unwrap);
    let waits = async || pool.stats().timeouts >= 3;
    wait::until_async("the run waits", PATIENCE, waits)
        .await
        .unwrap();
    drop(held);
    let progress = begun.finish().await.unwrap();
    assert_eq!((progress.state, progress.done), (RunState::Done, 4000));
    assert_eq!((progress.rows, progress.dead_letters), (4000, 0));
    assert!(progress.retries >= 3, "{progress:?}");
    let records = all(&postgres.pool, &RECORDS).await;
    assert_eq!(unkeyed(&records[2000..]), unkeyed(&keyed(&further(4000))));
    audited(&postgres.pool, "create", &progress).await;
    let returned = async || pool.stats().active == 0;
    wait::until_async("all connections are back", PATIENCE, returned)
        .await
        .unwrap();
}

#[tokio::test]
async fn connections_killed_again_and_again_neither_lose_nor_double_a_row() {
    let postgres = postgres().await;
    let mut killer = sqlx::PgConnection::connect(&postgres.kept.url())
        .await
        .unwrap();
    let settings = BatchSettings {
        retry: RetrySettings {
            attempts: 30,
            ..batches_of(1).retry
        },
        ..batches_of(50)
    };
    let operations = operations(&postgres.pool, settings);
    let works: [fn() -> Work; 3] = [
        || create(further(4000)),
        || {
            Work::archive(
                filter("diagnosed_on", Comparison::Below, "2024-01-01"),
                &RECORDS_ARCHIVE,
                archive_mapping(),
            )
        },
        || Work::delete(every(&RECORDS_ARCHIVE)),
    ];
    let mut expected: Vec<Row> = generated();
    expected.extend(keyed(&further(4000)));
    let old = |row: &&Row| row[3] < "2024-01-01".into();
    for (index, work) in works.into_iter().enumerate() {
        let begun = operations.start(work(), "test", "").await.unwrap();
        let mut seen = begun.progress();
        let finished = begun.finish();
        tokio::pin!(finished);
        let (mut killed, mut due) = (0, 2);
        let progress = loop {
            tokio::select! {
                progress = &mut finished => break progress.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(2)) => {
                    // Two batches go through for each that is killed.
                    if seen.borrow_and_update().batches < due {
                        continue;
                    }
                    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                                WHERE state <> 'idle' AND pid <> pg_backend_pid() \
                                AND backend_type = 'client backend'";
                    let kill = sqlx::raw_sql(kill).fetch_all(&mut killer);
                    let hit = kill.await.unwrap().len();
                    if hit > 0 {
                        killed += hit;
                        due = seen.borrow().batches + 2;
                    }
                }
            }
        };
        assert!(
            killed > 2 && progress.retries > 0,
            "{killed} killed, {progress:?}"
        );
        assert_eq!(
            (progress.dead_letters, Some(progress.done)),
            (0, progress.total)
        );
        let pool = &postgres.pool;
        let records = unkeyed(&all(pool, &RECORDS).await);
        let archived = all(pool, &RECORDS_ARCHIVE).await;
        let (gone, here): (Vec<Row>, Vec<Row>) = match index {
            0 => (Vec::new(), expected.clone()),
            _ => expected.iter().cloned().partition(|row| old(&row)),
        };
        assert_eq!(records, unkeyed(&here), "work {index}");
        let archived: Vec<Row> = archived.iter().map(|row| row[..8].to_vec()).collect();
        let gone = if index == 2 { Vec::new() } else { gone };
        assert_eq!(unkeyed(&archived), unkeyed(&gone), "work {index}");
        let operation = ["create", "archive", "delete"][index];
        audited(pool, operation, &progress).await;
    }
}

/// A way to PostgreSQL that breaks at a `COMMIT`, as often as it is told.
struct Way {
    address: SocketAddr,
    how: Arc<AtomicU8>,
    left: Arc<AtomicU64>,
}

/// The server never sees the commit.
const BEFORE: u8 = 0;
/// The server has committed, and its answer is lost.
const AFTER: u8 = 1;
/// The server is about to commit.
const MEANWHILE: u8 = 2;

impl Way {
    async fn to(server: &Postgres) -> Self {
        let url: url::Url = server.url().parse().unwrap();
        let port = url.port().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let way = Self {
            address: listener.local_addr().unwrap(),
            how: Arc::new(AtomicU8::new(BEFORE)),
            left: Arc::new(AtomicU64::new(0)),
        };
        let (how, left) = (Arc::clone(&way.how), Arc::clone(&way.left));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                    .await
                    .unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&how), Arc::clone(&left)));
            }
        });
        way
    }

    fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }

    fn cut(&self, how: u8, times: u64) {
        self.how.store(how, Ordering::SeqCst);
        self.left.store(times, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, server: TcpStream, how: Arc<AtomicU8>, left: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut asked = vec![0; 64 * 1024];
    let mut answered = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(bytes @ 1..) = read else { return };
                let commits = asked[..bytes].windows(7).any(|word| word == b"COMMIT\0");
                let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if commits && taken.is_ok() {
                    match how.load(Ordering::SeqCst) {
                        BEFORE => {}
                        AFTER => {
                            to_server.write_all(&asked[..bytes]).await.unwrap();
                            // The answer comes, and goes no further.
                            assert!(from_server.read(&mut answered).await.unwrap() > 0);
                        }
                        _ => to_server.write_all(&asked[..bytes]).await.unwrap(),
                    }
                    return;
                }
                if taken.is_ok() {
                    left.fetch_add(1, Ordering::SeqCst);
                }
                if to_server.write_all(&asked[..bytes]).await.is_err() { return }
            }
            read = from_server.read(&mut answered) => {
                let Ok(bytes @ 1..) = read else { return };
                if to_client.write_all(&answered[..bytes]).await.is_err() { return }
            }
        }
    }
}

/// Makes the commits of these batches take so long.
async fn commits_linger(pool: &Pool, batches: &str, seconds: f64) {
    let linger = format!(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$"
    );
    run(pool, &linger).await;
    let trigger = format!(
        "CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW WHEN ({batches}) EXECUTE FUNCTION linger()"
    );
    run(pool, &trigger).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_not_made_twice_and_not_forgotten() {
    let postgres = postgres().await;
    let way = Way::to(&postgres.kept).await;
    // Committing takes as long as a new connection takes several times over.
    commits_linger(&postgres.pool, "NEW.batch <= 3", 0.3).await;
    let pool = connect(&way.url()).await;
    let operations = operations(&pool, batches_of(100));
    let mut there = RECORD_COUNT as usize;
    for (how, cuts) in [(BEFORE, 2), (AFTER, 2), (MEANWHILE, 2)] {
        way.cut(how, cuts);
        let begun = operations
            .start(create(further(500)), "test", "")
            .await
            .unwrap();
        let id = begun.id();
        let progress = begun.finish().await.unwrap();
        assert_eq!(way.left.load(Ordering::SeqCst), 0, "the way was cut");
        assert_eq!(
            (progress.rows, progress.dead_letters, progress.batches),
            (500, 0, 5)
        );
        assert!(progress.retries >= 1, "{progress:?}");
        let records = all(&postgres.pool, &RECORDS).await;
        assert_eq!(
            unkeyed(&records[there..]),
            unkeyed(&keyed(&further(500))),
            "{how}"
        );
        there = records.len();
        let of_run = format!("FROM audit WHERE run = '{id}'");
        let count = format!("SELECT count(*) {of_run}");
        assert_eq!(number(&postgres.pool, &count).await, 5);
        let changed = format!("SELECT CAST(sum(changed) AS BIGINT) {of_run}");
        assert_eq!(number(&postgres.pool, &changed).await, 500);
    }
}

#[tokio::test]
async fn a_batch_that_is_in_unnoticed_is_not_made_again_in_parts() {
    let postgres = postgres().await;
    let way = Way::to(&postgres.kept).await;
    // The commit of the first batch takes longer than all further attempts wait for its lock.
    commits_linger(&postgres.pool, "NEW.batch = 1", 2.0).await;
    run(
        &postgres.pool,
        "ALTER ROLE postgres SET lock_timeout = '100ms'",
    )
    .await;
    let pool = connect(&way.url()).await;
    let settings = BatchSettings {
        retry: RetrySettings {
            attempts: 3,
            ..batches_of(1).retry
        },
        ..batches_of(100)
    };
    let operations = operations(&pool, settings);
    way.cut(MEANWHILE, 1);
    let begun = operations.start(create(further(500)), "test", "");
    let begun = begun.await.unwrap();
    let id = begun.id();
    // Its lock is not about rows, so nothing is split and nothing laid aside.
    let error = begun.finish().await.unwrap_err();
    assert!(
        matches!(error, RunError::Batch(BatchError::Database { .. })),
        "{error}"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let resumed = operations.resume(id, create(further(500)), "test");
    let progress = resumed.await.unwrap().finish().await.unwrap();
    assert_eq!(
        (progress.rows, progress.dead_letters, progress.batches),
        (500, 0, 5)
    );
    let records = all(&postgres.pool, &RECORDS).await;
    assert_eq!(unkeyed(&records[2000..]), unkeyed(&keyed(&further(500))));
    audited(&postgres.pool, "create", &progress).await;
}

/// Rows that are there; from some place on, somebody else has the database's one lock for writing.
struct Locking {
    rows: Vec<Row>,
    from: u64,
    outside: Option<sqlx::SqliteConnection>,
    kept: Arc<Mutex<Option<sqlx::SqliteConnection>>>,
}

#[async_trait]
impl RowSource for Locking {
    async fn rows(&mut self, from: u64, limit: usize) -> Result<Vec<Row>, SourceError> {
        if from >= self.from
            && let Some(mut outside) = self.outside.take()
        {
            sqlx::raw_sql("BEGIN IMMEDIATE")
                .execute(&mut outside)
                .await?;
            *self.kept.lock().unwrap() = Some(outside);
        }
        let rest = self.rows.iter().skip(from as usize);
        Ok(rest.take(limit).cloned().collect())
    }
}

#[tokio::test]
async fn a_lock_that_stays_ends_the_run_and_lays_no_row_aside() {
    let lite = sqlite().await;
    let url = format!("sqlite:{}", lite.kept.path().join("test.db").display());
    let outside = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let settings = BatchSettings {
        retry: RetrySettings {
            attempts: 3,
            ..batches_of(1).retry
        },
        ..batches_of(50)
    };
    let operations = operations(&lite.pool, settings);
    let kept = Arc::default();
    let locking = Locking {
        rows: further(500),
        from: 200,
        outside: Some(outside),
        kept: Arc::clone(&kept),
    };
    let work = Work::create(&RECORDS, RECORDS.unkeyed(), locking, Some(500));
    let begun = operations.start(work, "test", "").await.unwrap();
    let (id, progress) = (begun.id(), begun.progress());
    begun.finish().await.unwrap_err();
    let progress = progress.borrow().clone();
    assert_eq!((progress.done, progress.dead_letters), (200, 0));
    assert_eq!(progress.retries, 2, "in parts it fails all the same");
    drop(kept.lock().unwrap().take());
    let resumed = async || operations.resume(id, create(further(500)), "test").await;
    let mut run = None;
    let free = async || {
        run = resumed().await.ok();
        run.is_some()
    };
    wait::until_async("the lock is free", PATIENCE, free)
        .await
        .unwrap();
    let progress = run.unwrap().finish().await.unwrap();
    assert_eq!((progress.rows, progress.dead_letters), (500, 0));
    let records = all(&lite.pool, &RECORDS).await;
    assert_eq!(unkeyed(&records[2000..]), unkeyed(&keyed(&further(500))));
}

#[tokio::test]
async fn a_row_that_somebody_else_holds_is_not_laid_aside() {
    let postgres = postgres().await;
    run(
        &postgres.pool,
        "ALTER ROLE postgres SET lock_timeout = '50ms'",
    )
    .await;
    let pool = connect(&postgres.kept.url()).await;
    let settings = BatchSettings {
        retry: RetrySettings {
            attempts: 2,
            ..batches_of(1).retry
        },
        ..batches_of(100)
    };
    let operations = operations(&pool, settings);
    let mut outside = sqlx::PgConnection::connect(&postgres.kept.url())
        .await
        .unwrap();
    let hold = "BEGIN; SELECT 1 FROM records WHERE id = 130 FOR UPDATE";
    sqlx::raw_sql(hold).execute(&mut outside).await.unwrap();
    let work = || Work::set(every(&RECORDS), vec![(column("city"), "Ambon".into())]);
    let begun = operations.start(work(), "test", "").await.unwrap();
    let id = begun.id();
    begun.finish().await.unwrap_err();
    // The rows before it are through, in smaller and smaller parts.
    let standing = operations.find(id).await.unwrap().unwrap().standing;
    assert_eq!((standing.cursor, standing.dead_letters), (129, 0));
    let let_go = sqlx::raw_sql("ROLLBACK").execute(&mut outside);
    let_go.await.unwrap();
    let resumed = operations.resume(id, work(), "test").await.unwrap();
    let progress = resumed.finish().await.unwrap();
    assert_eq!((progress.rows, progress.dead_letters), (2000, 0));
    let ambon = "SELECT count(*) FROM records WHERE city = 'Ambon'";
    assert_eq!(number(&pool, ambon).await, 2000);
}

/// PostgreSQL dies while it takes rows in: the run says so, and goes on without a row too many or too few.
#[tokio::test]
async fn a_database_that_dies_in_the_middle_of_a_copy_loses_and_doubles_no_row() {
    let mut postgres = postgres().await;
    run(
        &postgres.pool,
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$",
    )
    .await;
    run(
        &postgres.pool,
        "CREATE TRIGGER linger BEFORE INSERT ON records FOR EACH ROW \
         WHEN (NEW.city = 'Linger') EXECUTE FUNCTION linger()",
    )
    .await;
    let mut rows = further(1000);
    // In the middle of the fourth batch.
    rows[350][5] = "Linger".into();
    let settings = BatchSettings {
        retry: RetrySettings {
            attempts: 2,
            ..batches_of(1).retry
        },
        ..batches_of(100)
    };
    let begun = operations(&postgres.pool, settings.clone());
    let begun = begun.start(create(rows.clone()), "test", "");
    let begun = begun.await.unwrap();
    let id = begun.id();
    let mut outside = sqlx::PgConnection::connect(&postgres.kept.url())
        .await
        .unwrap();
    let middle = async || {
        let copying = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' \
                       AND query LIKE 'COPY records%'";
        let copying = sqlx::raw_sql(copying).fetch_all(&mut outside).await;
        copying.unwrap().len() == 1
    };
    wait::until_async("it copies", PATIENCE, middle)
        .await
        .unwrap();
    postgres.kept.stop().unwrap();
    let error = begun.finish().await.unwrap_err();
    assert!(matches!(error, RunError::Batch(_)), "typed: {error}");
    postgres.kept.start_again().unwrap();
    let pool = connect(&postgres.kept.url()).await;
    let operations = operations(&pool, settings);
    let standing = operations.find(id).await.unwrap().unwrap().standing;
    assert_eq!((standing.cursor, standing.changed), (300, 300));
    let there = all(&pool, &RECORDS).await;
    assert_eq!(unkeyed(&there[2000..]), unkeyed(&keyed(&rows[..300])));
    run(&pool, "DROP TRIGGER linger ON records").await;
    let resumed = operations.resume(id, create(rows.clone()), "test");
    let progress = resumed.await.unwrap().finish().await.unwrap();
    assert_eq!((progress.rows, progress.dead_letters), (1000, 0));
    let there = all(&pool, &RECORDS).await;
    assert_eq!(unkeyed(&there[2000..]), unkeyed(&keyed(&rows)));
    audited(&pool, "create", &progress).await;
}

#[tokio::test]
async fn ids_that_would_use_up_all_others_are_laid_aside() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let mut rows: Vec<Row> = (3001..)
            .zip(further(3))
            .map(|(id, row)| [vec![Value::Integer(id)], row].concat())
            .collect();
        rows[1][0] = i64::MAX.into();
        let progress = perform(
            pool,
            100,
            Work::upsert(&RECORDS, source(rows.clone()), None),
        )
        .await;
        assert_eq!((progress.rows, progress.dead_letters), (2, 1));
        rows[1][0] = (KEY_MAX + 1).into();
        let work = Work::create(&RECORDS, RECORDS.columns, source(rows[1..2].to_vec()), None);
        assert_eq!(perform(pool, 100, work).await.dead_letters, 1);
        // The next ones come behind those that were taken.
        let progress = perform(pool, 100, create(further(5))).await;
        assert_eq!((progress.rows, progress.dead_letters), (5, 0));
        assert_eq!(number(pool, "SELECT max(id) FROM records").await, 3008);
    }
}

#[tokio::test]
async fn rows_of_another_owner_are_not_taken_over() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let before = generated();
        let owner = &before[0][1];
        // The first fifty rows, as if all were the first one's owner's, and a new one.
        let mut rows: Vec<Row> = before[..50].to_vec();
        rows.push(before[0].clone());
        rows[50][0] = 5000.into();
        for row in &mut rows {
            row[1] = owner.clone();
            row[6] = "Taken".into();
        }
        let own = before[..50].iter().filter(|row| row[1] == *owner).count() as u64;
        assert!((1..50).contains(&own));
        let work = Work::upsert_own(&RECORDS, column("tenant_id"), source(rows), None);
        let progress = perform(pool, 20, work).await;
        assert_eq!((progress.rows, progress.dead_letters), (own + 1, 50 - own));
        let after = all(pool, &RECORDS).await;
        for (before, after) in before.iter().zip(&after).take(50) {
            let is_taken = after[6] == "Taken".into();
            assert_eq!((&before[1], before[1] == *owner), (&after[1], is_taken));
        }
        let why = texts(pool, "SELECT DISTINCT error FROM dead_letters").await;
        assert_eq!(why, ["the row with this id has another owner"]);
        audited(pool, "upsert", &progress).await;
    }
}

#[tokio::test]
async fn runs_are_listed_called_off_and_forgotten() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let settings = BatchSettings {
            abandoned_after_s: 60,
            history_kept_s: 3600,
            ..batches_of(20)
        };
        let operations = operations(pool, settings);
        let ids = |runs: Vec<RunRecord>| runs.iter().map(|run| run.id).collect::<Vec<_>>();
        let all_runs = RunFilter::default();
        let mut started = Vec::new();
        for spec in ["a1", "a2", "b"] {
            let begun = operations.start(create(further(20)), "test", spec);
            let begun = begun.await.unwrap();
            started.push(begun.id());
            begun.finish().await.unwrap();
        }
        started.reverse();
        assert_eq!(ids(operations.list(&all_runs, 9).await.unwrap()), started);
        assert_eq!(
            ids(operations.list(&all_runs, 2).await.unwrap()),
            started[..2]
        );
        let filter = RunFilter {
            spec_prefix: Some("a".to_owned()),
            state: Some(RunState::Done),
            before: Some(started[1]),
        };
        assert_eq!(
            ids(operations.list(&filter, 9).await.unwrap()),
            [started[2]]
        );

        // Told through the ledger, as another process does.
        let begun = operations.start(create(further(4000)), "test", "");
        let begun = begun.await.unwrap();
        let id = begun.id();
        let told = operations.call_off(id).await.unwrap();
        assert_eq!(told, Some(RunState::Cancelling));
        let ended = begun.finish().await.unwrap();
        assert_eq!(ended.state, RunState::Cancelled);
        assert!(ended.done < 4000, "{ended:?}");
        assert_eq!(operations.call_off(id).await.unwrap(), None);
        let resumed = operations.resume(id, create(further(4000)), "test");
        let ended = resumed.await.unwrap().finish().await.unwrap();
        assert_eq!((ended.state, ended.rows), (RunState::Done, 4000));
        // Nobody is left to hear of it.
        let age = |of: &str| {
            format!(
                "UPDATE batch_runs SET updated_at = '{of}', state = 'running' WHERE id = '{id}'"
            )
        };
        run(pool, &age("2020-01-01T00:00:00Z")).await;
        let told = operations.call_off(id).await.unwrap();
        assert_eq!(told, Some(RunState::Cancelled));

        // Rows that are laid aside come page by page, and go with their run.
        let work = Work::create(&RECORDS, RECORDS.columns, source(generated()), None);
        let begun = operations.start(work, "test", "").await.unwrap();
        let cancel = begun.canceller();
        let bad = begun.id();
        let mut progress = begun.progress();
        let some = progress.wait_for(|progress| progress.dead_letters >= 5);
        some.await.unwrap();
        cancel.cancel();
        let laid_aside = begun.finish().await.unwrap().dead_letters;
        let mut seen = Vec::new();
        let mut after = 0;
        loop {
            let page = operations.laid_aside(bad, after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.id;
            seen.extend(page);
        }
        assert_eq!(seen.len() as u64, laid_aside);
        assert!(seen[0].row.contains("\"id\":1,") && seen[0].batch == 1);
        assert!(seen[4].row.contains("\"id\":5,") && seen[4].attempts == 1);
        assert_eq!(operations.forget(100).await.unwrap(), 1, "the old one");
        assert_eq!(operations.find(id).await.unwrap(), None);
        let audit = format!("SELECT count(*) FROM audit WHERE run = '{id}'");
        assert!(number(pool, &audit).await > 0, "the audit stays");
        let all_old = "UPDATE batch_runs SET updated_at = '2020-01-01T00:00:00Z'";
        run(pool, all_old).await;
        assert_eq!(operations.forget(3).await.unwrap(), 3);
        assert_eq!(operations.forget(3).await.unwrap(), 1);
        assert_eq!(number(pool, "SELECT count(*) FROM dead_letters").await, 0);
    }
}

#[tokio::test]
async fn a_database_that_is_away_ends_the_run_with_its_rows_accounted_for() {
    let mut postgres = postgres().await;
    let settings = BatchSettings {
        retry: RetrySettings {
            attempts: 2,
            max_delay_ms: 20,
            ..batches_of(1).retry
        },
        ..batches_of(20)
    };
    let operations = operations(&postgres.pool, settings);
    let begun = operations
        .start(create(further(3000)), "test", "")
        .await
        .unwrap();
    let id = begun.id();
    let mut progress = begun.progress();
    progress
        .wait_for(|progress| progress.batches >= 3)
        .await
        .unwrap();
    postgres.kept.stop().unwrap();
    let error = begun.finish().await.unwrap_err();
    assert!(matches!(error, RunError::Batch(_)), "typed: {error}");
    postgres.kept.start_again().unwrap();
    let resumed = operations
        .resume(id, create(further(3000)), "test")
        .await
        .unwrap();
    let progress = resumed.finish().await.unwrap();
    assert_eq!(
        (progress.rows, progress.dead_letters, progress.done),
        (3000, 0, 3000)
    );
    let records = all(&postgres.pool, &RECORDS).await;
    assert_eq!(unkeyed(&records[2000..]), unkeyed(&keyed(&further(3000))));
    audited(&postgres.pool, "create", &progress).await;
}

#[tokio::test]
async fn a_run_tells_its_progress_ends_when_told_and_goes_on_from_its_cursor() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let operations = operations(pool, batches_of(50));
        let work = || Work::delete(filter("id", Comparison::AtLeast, 101));
        let begun = operations
            .start(work(), "test", "as it was asked for")
            .await
            .unwrap();
        let (id, cancel) = (begun.id(), begun.canceller());
        let mut events = Box::pin(begun.events());
        let mut seen: Vec<Progress> = Vec::new();
        while let Some(event) = events.next().await {
            if event.batches >= 3 {
                cancel.cancel();
            }
            seen.push(event);
        }
        let stopped = begun.finish().await.unwrap();
        assert_eq!(seen.last(), Some(&stopped), "the end is an event");
        assert!(seen.iter().is_sorted_by_key(|event| event.done));
        let under_way = seen
            .iter()
            .find(|event| event.batches > 0 && event.done < 1900)
            .unwrap();
        assert_eq!(
            (under_way.total, under_way.state),
            (Some(1900), RunState::Running)
        );
        assert!(under_way.rate_per_s > 0.0 && under_way.eta_ms.is_some());

        assert_eq!(stopped.state, RunState::Cancelled);
        assert!(stopped.batches >= 3 && stopped.done < 1900, "{stopped:?}");
        assert_eq!(stopped.done, stopped.batches * 50, "whole batches");
        let cursor = stopped.cursor.unwrap();
        assert_eq!(cursor, 100 + stopped.done as i64);
        let left: Vec<Row> = generated()
            .into_iter()
            .filter(|row| !(101..=cursor).contains(&integer(&row[0])))
            .collect();
        assert_eq!(
            all(pool, &RECORDS).await,
            left,
            "the cursor says what is done"
        );
        let record = operations.find(id).await.unwrap().unwrap();
        assert_eq!(
            (record.state, record.standing.cursor),
            (RunState::Cancelled, cursor)
        );
        assert_eq!(record.spec, "as it was asked for");

        // Another work is not taken for this one.
        let error = operations
            .resume(id, Work::purge(every(&RECORDS)), "test")
            .await
            .unwrap_err();
        assert!(matches!(error, RunError::OtherWork { .. }), "{error}");
        let progress = operations
            .resume(id, work(), "test")
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        assert_eq!(
            (progress.state, progress.done, progress.rows),
            (RunState::Done, 1900, 1900)
        );
        assert_eq!(all(pool, &RECORDS).await, generated()[..100]);
        audited(pool, "delete", &progress).await;
        let error = operations.resume(id, work(), "test").await.unwrap_err();
        assert!(matches!(error, RunError::Ended { .. }), "{error}");
        let error = operations
            .resume(uuid::Uuid::nil(), work(), "test")
            .await
            .unwrap_err();
        assert!(matches!(error, RunError::Unknown { .. }), "{error}");
    }
}

#[tokio::test]
async fn of_two_that_hold_one_run_for_theirs_one_goes_on() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let operations = operations(pool, batches_of(20));
        let work = || create(further(2000));
        let first = operations.start(work(), "test", "").await.unwrap();
        let id = first.id();
        let mut progress = first.progress();
        progress
            .wait_for(|progress| progress.batches >= 3)
            .await
            .unwrap();
        let second = operations.resume(id, work(), "test").await.unwrap();
        let error = first.finish().await.unwrap_err();
        assert!(matches!(error, RunError::TakenOver { .. }), "{error}");
        let progress = second.finish().await.unwrap();
        assert_eq!((progress.state, progress.rows), (RunState::Done, 2000));
        let records = all(pool, &RECORDS).await;
        assert_eq!(unkeyed(&records[2000..]), unkeyed(&keyed(&further(2000))));
        audited(pool, "create", &progress).await;
        assert_eq!(
            operations.find(id).await.unwrap().unwrap().state,
            RunState::Done
        );
    }
}

#[tokio::test]
async fn work_that_makes_no_statement_is_refused() {
    let lite = sqlite().await;
    let operations = operations(&lite.pool, batches_of(20));
    for work in [
        Work::set(every(&RECORDS), Vec::new()),
        Work::set(every(&RECORDS), vec![(column("id"), 1.into())]),
        Work::migrate(every(&RECORDS), &RECORDS_REPORTED, Vec::new()),
        Work::update(&RECORDS, &[column("id")], source(Vec::new()), None),
        Work::update(
            &RECORDS,
            &[column("stage"), column("id")],
            source(Vec::new()),
            None,
        ),
        Work::create(&RECORDS, &[], source(Vec::new()), None),
    ] {
        let error = operations.start(work, "test", "").await.unwrap_err();
        assert!(matches!(error, RunError::Work { .. }), "{error}");
    }
    assert_eq!(
        number(&lite.pool, "SELECT count(*) FROM batch_runs").await,
        0
    );
    // What fails for good is neither tried again nor laid aside.
    run(&lite.pool, "DROP TABLE records_reported").await;
    let mapping = vec![(column("id"), Transform::Copy(column("id")))];
    let work = Work::migrate(every(&RECORDS), &RECORDS_REPORTED, mapping);
    let begun = operations.start(work, "test", "").await.unwrap();
    let progress = begun.progress();
    begun.finish().await.unwrap_err();
    assert_eq!(
        (progress.borrow().retries, progress.borrow().dead_letters),
        (0, 0)
    );
    assert_eq!(progress.borrow().state, RunState::Failed);
}

#[tokio::test]
async fn an_older_store_gets_the_tables_and_keeps_its_rows() {
    let (lite, postgres) = (sqlite().await, postgres().await);
    for pool in [&lite.pool, &postgres.pool] {
        let before = make(pool).await;
        run(pool, "DELETE FROM records WHERE id = 1").await;
        for table in [
            "audit",
            "dead_letters",
            "batch_runs",
            "records_archive",
            "records_reported",
        ] {
            run(pool, &format!("DROP TABLE {table}")).await;
        }
        let again = make(pool).await;
        assert_eq!((again.store, again.generated), (before.store, None));
        let progress = perform(pool, 500, Work::delete(every(&RECORDS))).await;
        assert_eq!(progress.rows, RECORD_COUNT - 1);
        // Another dataset begins with an empty ledger: there is nothing of it to go on with.
        let id = DatasetId {
            seed: SEED + 1,
            records: RECORD_COUNT,
        };
        ensure(pool, id, &BatchSettings::default(), memory())
            .await
            .unwrap();
        assert_eq!(number(pool, "SELECT count(*) FROM batch_runs").await, 0);
        assert_eq!(number(pool, "SELECT count(*) FROM audit").await, 0);
    }
}

/// What the services of these tests take for the token of whoever runs them.
const ADMIN_TOKEN: &str = "the token of these tests";

/// A running `refservice` over the dataset of these tests, in batches of 20 rows.
struct Service {
    child: Child,
    base: String,
    http: reqwest::Client,
    _folder: TempDir,
}

impl Service {
    async fn start(database: &[&str]) -> Self {
        Self::start_with(database, &[]).await
    }

    async fn start_with(database: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = command_as(None, Path::new(env!("CARGO_BIN_EXE_refservice")));
        for (name, _) in std::env::vars_os() {
            if name == "RUST_LOG" || name.to_string_lossy().starts_with("REFSERVICE") {
                command.env_remove(name);
            }
        }
        for name in ["START", "MIN", "MAX"] {
            command.env(format!("REFSERVICE__BATCH__{name}_ROWS"), "20");
        }
        command.env("REFSERVICE_ADMIN_TOKEN", ADMIN_TOKEN);
        command.envs(env.iter().copied());
        // The tests ask how far a run is as often as they like.
        for name in ["USER", "TENANT", "ENDPOINT"] {
            command.env(format!("REFSERVICE__LIMIT__{name}_PER_MIN"), "0");
        }
        command
            .args(database)
            .args(["--seed", "7", "--records", "2000"]);
        let log = File::create(folder.path().join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let base = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let service = Self {
            child,
            base,
            http,
            _folder: folder,
        };
        let ready = async || service.send(Method::GET, "/ready", None).await.0 == StatusCode::OK;
        wait::until_async("it is ready", PATIENCE, ready)
            .await
            .unwrap();
        service
    }

    async fn send(&self, method: Method, path: &str, body: Option<Json>) -> (StatusCode, Json) {
        self.send_with(method, path, body, &[]).await
    }

    async fn send_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Json>,
        headers: &[(&str, &str)],
    ) -> (StatusCode, Json) {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Starts a run and gives its path.
    async fn run(&self, order: Json) -> String {
        let path = "/api/v1/records/batch";
        let (status, answer) = self.send(Method::POST, path, Some(order)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        assert_eq!(answer["live"], true);
        format!("{path}/{}", answer["id"].as_str().unwrap())
    }

    /// Waits until the run at this path looks so, and gives what it says.
    async fn until(&self, path: &str, holds: impl Fn(&Json) -> bool) -> Json {
        let mut seen = Json::Null;
        let looks = async || {
            let (status, answer) = self.send(Method::GET, path, None).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            seen = answer;
            holds(&seen)
        };
        let waited = wait::until_async("the run looks so", PATIENCE, looks).await;
        waited.unwrap_or_else(|error| panic!("{error}: {seen}"));
        seen
    }

    async fn until_ended(&self, path: &str, state: &str) -> Json {
        let ended = self.until(path, |run| run["live"] == false).await;
        assert_eq!(ended["progress"]["state"], state, "{ended}");
        ended["progress"].clone()
    }
}

impl Drop for Service {
    /// SIGKILL: nothing is tidied up.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_process_that_is_killed_in_the_middle_loses_and_doubles_no_row() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    killed_and_resumed(&["--data", &data], &format!("sqlite:{data}/reference.db")).await;
    let server = Postgres::start().unwrap();
    let url = server.url();
    killed_and_resumed(&["--database", &url], &url).await;
}

async fn killed_and_resumed(database: &[&str], url: &str) {
    let done = |run: &Json| run["progress"]["done"].as_u64().unwrap();
    let mut service = Service::start(database).await;
    let mut expected = generated();
    expected.extend(keyed(&further(10_000)));
    let orders = [
        json!({"operation": "create", "rows": 10_000}),
        json!({"operation": "archive", "before": "2024-01-01"}),
    ];
    for (index, order) in orders.into_iter().enumerate() {
        let path = service.run(order).await;
        service.until(&path, |run| done(run) >= 200).await;
        drop(service);
        service = Service::start(database).await;
        let (_, left) = service.send(Method::GET, &path, None).await;
        assert_eq!(
            (&left["live"], &left["progress"]["state"]),
            (&json!(false), &json!("running"))
        );
        let before = done(&left);
        let total = left["progress"]["total"].as_u64().unwrap();
        assert!(
            before >= 200 && before < total && before % 20 == 0,
            "{left}"
        );
        let (status, _) = service
            .send(Method::POST, &format!("{path}/resume"), None)
            .await;
        assert_eq!(status, StatusCode::ACCEPTED);
        let progress = service.until_ended(&path, "done").await;
        assert_eq!(progress["done"], json!(total));
        assert_eq!(progress["rows"], json!(total));

        let pool = connect(url).await;
        let records = all(&pool, &RECORDS).await;
        let archived = all(&pool, &RECORDS_ARCHIVE).await;
        let archived: Vec<Row> = archived.iter().map(|row| row[..8].to_vec()).collect();
        let (old, new): (Vec<Row>, Vec<Row>) = match index {
            0 => (Vec::new(), expected.clone()),
            _ => expected
                .iter()
                .cloned()
                .partition(|row| row[3] < "2024-01-01".into()),
        };
        assert_eq!(unkeyed(&records), unkeyed(&new));
        assert_eq!(unkeyed(&archived), unkeyed(&old));
        let audit = "SELECT CAST(sum(changed) AS BIGINT) FROM audit WHERE operation = ";
        let operation = ["'create'", "'archive'"][index];
        assert_eq!(
            number(&pool, &format!("{audit}{operation}")).await,
            total as i64
        );
        pool.close().await;
    }
}

#[tokio::test]
async fn the_service_runs_cancels_and_resumes_batch_operations() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let lite = Service::start(&["--data", &data]).await;
    over_http(&lite, &format!("sqlite:{data}/reference.db")).await;
    let server = Postgres::start().unwrap();
    let url = server.url();
    let postgres = Service::start(&["--database", &url]).await;
    over_http(&postgres, &url).await;
}

/// The audit names who asked: a user, another one who resumed, the admin, or an address.
async fn the_audit_says_who(service: &Service, pool: &Pool) {
    let path = "/api/v1/records/batch";
    let order = json!({"operation": "create", "rows": 10_000});
    let ada = [("x-user-id", "ada")];
    let (_, run) = service
        .send_with(Method::POST, path, Some(order), &ada)
        .await;
    let id = run["id"].as_str().unwrap();
    let path = format!("{path}/{id}");
    service
        .until(&path, |run| run["progress"]["done"] != json!(0))
        .await;
    service.send(Method::DELETE, &path, None).await;
    service.until_ended(&path, "cancelled").await;
    let token = format!("Bearer {ADMIN_TOKEN}");
    let admin = [("authorization", token.as_str()), ("x-user-id", "grace")];
    let resume = format!("{path}/resume");
    let (status, _) = service.send_with(Method::POST, &resume, None, &admin).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    service.until_ended(&path, "done").await;
    let actors =
        format!("SELECT actor FROM audit WHERE run = '{id}' GROUP BY actor ORDER BY min(batch)");
    assert_eq!(texts(pool, &actors).await, ["/ada", "admin /grace"]);
    let last = format!("SELECT actor FROM batch_runs WHERE id = '{id}'");
    assert_eq!(texts(pool, &last).await, ["admin /grace"]);

    let order =
        json!({"operation": "delete", "filter": {"diagnosed_before": "1900-01-01", "tenant": 1}});
    let path = service.run(order).await;
    service.until_ended(&path, "done").await;
    let id = path.rsplit('/').next().unwrap();
    let nobody = format!("SELECT actor FROM batch_runs WHERE id = '{id}'");
    assert_eq!(texts(pool, &nobody).await, ["from 127.0.0.1"]);
    let wrong = [("x-tenant-id", "nobody")];
    let order = json!({"operation": "create", "rows": 1});
    let (status, answer) = service
        .send_with(Method::POST, "/api/v1/records/batch", Some(order), &wrong)
        .await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_caller"))
    );
}

async fn over_http(service: &Service, url: &str) {
    let pool = connect(url).await;
    let dashboard = "/api/v1/analytics/dashboard";
    let (_, before) = service.send(Method::GET, dashboard, None).await;
    assert_eq!(before["records"], 2000);

    // Told to end, it ends after a batch; then it goes on.
    let path = service
        .run(json!({"operation": "create", "rows": 3000}))
        .await;
    let resume = format!("{path}/resume");
    let (status, answer) = service.send(Method::POST, &resume, None).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::CONFLICT, &json!("under_way"))
    );
    let (status, _) = service.send(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let stopped = service.until_ended(&path, "cancelled").await;
    let done = stopped["done"].as_u64().unwrap();
    assert!(done < 3000 && done % 20 == 0, "{stopped}");
    assert_eq!(all(&pool, &RECORDS).await.len() as u64, 2000 + done);
    let (status, answer) = service.send(Method::DELETE, &path, None).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::CONFLICT, &json!("not_under_way"))
    );
    service.send(Method::POST, &resume, None).await;
    service.until_ended(&path, "done").await;
    let records = all(&pool, &RECORDS).await;
    assert_eq!(unkeyed(&records[2000..]), unkeyed(&keyed(&further(3000))));
    let (status, answer) = service.send(Method::POST, &resume, None).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::CONFLICT, &json!("ended"))
    );
    // What the cache had of it is forgotten.
    let (_, after) = service.send(Method::GET, dashboard, None).await;
    assert_eq!(after["records"], 5000);

    let filter = json!({"tenant": 1, "diagnosed_before": "2023-01-01"});
    let old_of_one = "tenant_id = 1 AND diagnosed_on < '2023-01-01'";
    let matching = number(
        &pool,
        &format!("SELECT count(*) FROM records WHERE {old_of_one}"),
    )
    .await;
    let set = json!({"stage": "X", "cost_cents": 5});
    let path = service
        .run(json!({"operation": "update", "filter": filter, "set": set}))
        .await;
    assert_eq!(service.until_ended(&path, "done").await["rows"], matching);
    let changed = format!(
        "SELECT count(*) FROM records WHERE {old_of_one} AND stage = 'X' AND cost_cents = 5"
    );
    assert_eq!(number(&pool, &changed).await, matching);

    let path = service
        .run(json!({"operation": "migrate", "filter": filter}))
        .await;
    assert_eq!(service.until_ended(&path, "done").await["rows"], matching);
    let reported = all(&pool, &RECORDS_REPORTED).await;
    assert_eq!(reported.len() as i64, matching);
    assert!(
        reported
            .iter()
            .all(|row| row[2] < "2023".into() && row[5] == 0.into())
    );

    let path = service
        .run(json!({"operation": "delete", "filter": filter}))
        .await;
    assert_eq!(service.until_ended(&path, "done").await["rows"], matching);
    assert_eq!(
        number(&pool, "SELECT count(*) FROM records").await,
        5000 - matching
    );

    let tenant = Generator::new(SEED, RECORD_COUNT).tenant_of(7).unwrap();
    let record = json!({
        "tenant_id": tenant, "client_id": 7, "diagnosed_on": "2025-01-31", "code": "C50.9",
        "stage": "II", "city": "Ambon", "cost_cents": 123,
    });
    let keyed = |id: i64, record: &Json| json!({"id": id, "record": record});
    let records = json!([keyed(3, &record), keyed(90_000, &record)]);
    let path = service
        .run(json!({"operation": "upsert", "records": records}))
        .await;
    assert_eq!(service.until_ended(&path, "done").await["rows"], 2);
    let ambon = "SELECT count(*) FROM records WHERE id IN (3, 90000) AND city = 'Ambon'";
    assert_eq!(number(&pool, ambon).await, 2);

    let path = service
        .run(json!({"operation": "archive", "before": "2024-01-01"}))
        .await;
    let archived = service.until_ended(&path, "done").await["rows"]
        .as_i64()
        .unwrap();
    assert!(archived > 100);
    let purge = |before: &str| json!({"operation": "purge", "before": before});
    let path = service.run(purge("2025-01-01")).await;
    assert_eq!(
        service.until_ended(&path, "done").await["rows"],
        0,
        "archived later"
    );
    let path = service.run(purge("2999-01-01")).await;
    assert_eq!(service.until_ended(&path, "done").await["rows"], archived);
    assert_eq!(
        number(&pool, "SELECT count(*) FROM records_archive").await,
        0
    );

    let mut elsewhere = record.clone();
    elsewhere["tenant_id"] = json!(tenant % 5 + 1);
    for (order, expected) in [
        (json!({"operation": "drop"}), "unknown variant `drop`"),
        (
            json!({"operation": "create", "rows": 0}),
            "`rows` must be from 1",
        ),
        (
            json!({"operation": "create", "rows": 5, "first": 1}),
            "`first` is the service's",
        ),
        (
            json!({"operation": "create", "rows": 5, "x": 1}),
            "unknown field `x`",
        ),
        (
            json!({"operation": "delete", "filter": {}}),
            "`filter` needs one of",
        ),
        (json!({"operation": "delete"}), "missing field `filter`"),
        (
            json!({"operation": "delete", "filter": {"id": 1}}),
            "unknown field `id`",
        ),
        (
            json!({"operation": "delete", "filter": {"tenant": 99}}),
            "`tenant` names no tenant",
        ),
        (
            json!({"operation": "delete", "filter": {"code": "1 OR 1=1"}}),
            "`code` must be",
        ),
        (
            json!({"operation": "delete", "filter": {"stage": "V"}}),
            "`stage` must be one of",
        ),
        (
            json!({"operation": "delete", "filter": {"diagnosed_from": "x"}}),
            "`diagnosed_from`",
        ),
        (
            json!({"operation": "update", "filter": {"tenant": 1}, "set": {}}),
            "`set` needs one of",
        ),
        (
            json!({"operation": "update", "filter": {"tenant": 1}, "set": {"city": "a\0"}}),
            "`city` must be one line",
        ),
        (
            json!({"operation": "update", "filter": {"tenant": 1}, "set": {"cost_cents": -1}}),
            "`cost_cents` must be from 0",
        ),
        (
            json!({"operation": "archive", "before": "yesterday"}),
            "`before` must be a day",
        ),
        (
            json!({"operation": "upsert", "records": [keyed(0, &record)]}),
            "record 1: `id` must be from 1",
        ),
        (
            json!({"operation": "upsert", "records": [keyed(i64::MAX, &record)]}),
            "record 1: `id` must be from 1 to 9007199254740992",
        ),
        (
            json!({"operation": "purge", "before": "2025-01-01", "tenant": 99}),
            "`tenant` names no tenant",
        ),
        (
            json!({"operation": "upsert", "records": [keyed(1, &record), keyed(2, &elsewhere)]}),
            "record 2: `client_id` names no client of this tenant",
        ),
    ] {
        let (status, answer) = service
            .send(Method::POST, "/api/v1/records/batch", Some(order.clone()))
            .await;
        assert_eq!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{order}: {answer}"
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(expected),
            "{message:?} does not say {expected:?}"
        );
    }
    let nobody = format!("/api/v1/records/batch/{}", uuid::Uuid::nil());
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(
            service.send(method, &nobody, None).await.0,
            StatusCode::NOT_FOUND
        );
    }
    let (status, _) = service
        .send(Method::POST, &format!("{nobody}/resume"), None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for id in ["x", "%FF"] {
        let path = format!("/api/v1/records/batch/{id}");
        let (status, answer) = service.send(Method::GET, &path, None).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_id"))
        );
    }
    the_audit_says_who(service, &pool).await;
}

#[tokio::test]
async fn a_run_is_called_off_through_any_service_and_resumed_by_any() {
    let server = Postgres::start().unwrap();
    let url = server.url();
    let env = [("REFSERVICE__BATCH__ABANDONED_AFTER_S", "2")];
    let first = Service::start_with(&["--database", &url], &env).await;
    let second = Service::start_with(&["--database", &url], &env).await;
    let order = json!({"operation": "create", "rows": 20_000});
    let path = first.run(order.clone()).await;
    first
        .until(&path, |run| run["progress"]["done"] != json!(0))
        .await;
    let (status, told) = second.send(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert_eq!(told["progress"]["state"], "cancelling");
    let stopped = first.until_ended(&path, "cancelled").await;
    assert!(stopped["done"].as_u64().unwrap() < 20_000, "{stopped}");
    let resume = format!("{path}/resume");
    let (status, _) = second.send(Method::POST, &resume, None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    // While the table cannot be counted, other runs can be asked for and called off.
    let mut outside = sqlx::PgConnection::connect(&url).await.unwrap();
    let lock = "BEGIN; LOCK TABLE records IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    let waits = second.run(json!({"operation": "delete", "filter": {"tenant": 1}}));
    let asks = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = std::time::Instant::now();
        let (status, run) = second.send(Method::GET, &path, None).await;
        assert_eq!((status, &run["live"]), (StatusCode::OK, &json!(true)));
        let (status, _) = second.send(Method::DELETE, &path, None).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        let let_go = sqlx::raw_sql("ROLLBACK").execute(&mut outside);
        let_go.await.unwrap();
    };
    let (deleting, ()) = tokio::join!(waits, asks);
    second.until_ended(&path, "cancelled").await;
    second.until_ended(&deleting, "done").await;
    // Whose process has died is cancelled without anybody's hearing of it.
    let path = first.run(order).await;
    first
        .until(&path, |run| run["progress"]["done"] != json!(0))
        .await;
    drop(first);
    let mut told = Json::Null;
    let cancelled = async || {
        let (status, answer) = second.send(Method::DELETE, &path, None).await;
        told = answer;
        status == StatusCode::OK
    };
    wait::until_async("nobody has it", PATIENCE, cancelled)
        .await
        .unwrap();
    assert_eq!(told["progress"]["state"], "cancelled");
}

#[tokio::test]
async fn a_tenant_changes_its_own_records_alone() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let lite = Service::start(&["--data", &data]).await;
    tenants_apart(&lite, &format!("sqlite:{data}/reference.db")).await;
    let server = Postgres::start().unwrap();
    let url = server.url();
    let postgres = Service::start(&["--database", &url]).await;
    tenants_apart(&postgres, &url).await;
}

async fn tenants_apart(service: &Service, url: &str) {
    let pool = connect(url).await;
    let batch = "/api/v1/records/batch";
    let one = [("x-tenant-id", "1"), ("x-user-id", "ada")];
    let two = [("x-tenant-id", "2"), ("x-user-id", "eve")];
    let refused = async |order: Json, status: StatusCode, code: &str| {
        let sent = service.send_with(Method::POST, batch, Some(order.clone()), &one);
        let (found, answer) = sent.await;
        assert_eq!(
            (found, &answer["error"]["code"]),
            (status, &json!(code)),
            "{order}: {answer}"
        );
    };
    let ends = async |order: Json| -> (String, Json) {
        let (status, run) = service
            .send_with(Method::POST, batch, Some(order), &one)
            .await;
        assert_eq!(status, StatusCode::ACCEPTED, "{run}");
        let path = format!("{batch}/{}", run["id"].as_str().unwrap());
        let progress = service.until_ended(&path, "done").await;
        (path, progress)
    };
    let theirs = "SELECT count(*) FROM records WHERE tenant_id <> 1";
    let before = number(&pool, theirs).await;
    let own = number(&pool, "SELECT count(*) FROM records WHERE tenant_id = 1").await;
    let no = StatusCode::UNPROCESSABLE_ENTITY;
    for order in [
        json!({"operation": "delete", "filter": {"tenant": 2}}),
        json!({"operation": "delete", "filter": {}}),
        json!({"operation": "update", "filter": {"tenant": 2}, "set": {"stage": "X"}}),
        json!({"operation": "migrate", "filter": {"tenant": 2}}),
        json!({"operation": "archive", "before": "2999-01-01", "tenant": 2}),
        json!({"operation": "purge", "before": "2999-01-01", "tenant": 2}),
    ] {
        refused(order, no, "invalid_body").await;
    }
    let order = json!({"operation": "create", "rows": 5});
    refused(order, StatusCode::FORBIDDEN, "admin_only").await;

    // Of another tenant's row under its id, the update is laid aside; its own is changed.
    let generator = Generator::new(SEED, RECORD_COUNT);
    let client_of = |tenant| (1..).find(|id| generator.tenant_of(*id) == Some(tenant));
    let record = |tenant: i64| {
        json!({
            "tenant_id": tenant, "client_id": client_of(tenant).unwrap(),
            "diagnosed_on": "2019-01-31", "code": "C50.9", "stage": "II", "city": "Ambon",
            "cost_cents": 123,
        })
    };
    let id_of = async |tenant: i64| {
        let sql = format!("SELECT min(id) FROM records WHERE tenant_id = {tenant}");
        number(&pool, &sql).await
    };
    let (mine, foreign) = (id_of(1).await, id_of(2).await);
    let keyed = |id: i64, tenant| json!({"id": id, "record": record(tenant)});
    let order = json!({"operation": "upsert", "records": [keyed(mine, 2)]});
    refused(order, no, "invalid_body").await;
    let order = json!({
        "operation": "upsert", "records": [keyed(mine, 1), keyed(foreign, 1), keyed(90_001, 1)],
    });
    let (path, progress) = ends(order).await;
    assert_eq!(
        (&progress["rows"], &progress["dead_letters"]),
        (&json!(2), &json!(1))
    );
    let still = format!("SELECT tenant_id FROM records WHERE id = {foreign}");
    assert_eq!(number(&pool, &still).await, 2);
    let letters = format!("{path}/dead-letters");
    let (status, page) = service.send_with(Method::GET, &letters, None, &one).await;
    assert_eq!(status, StatusCode::OK);
    let items = page["items"].as_array().unwrap();
    assert_eq!((items.len(), &page["next"]), (1, &Json::Null));
    assert_eq!(items[0]["row"]["id"], json!(foreign));
    assert_eq!(items[0]["error"], "the row with this id has another owner");

    // Without a tenant in the order, the caller's own rows are meant.
    let set = json!({"city": "Kupang"});
    let filter = json!({"diagnosed_from": "1900-01-01"});
    let order = json!({"operation": "update", "filter": filter, "set": set});
    assert_eq!(ends(order).await.1["rows"], json!(own + 1));
    let order = json!({"operation": "migrate", "filter": filter});
    assert_eq!(ends(order).await.1["rows"], json!(own + 1));
    let order = json!({"operation": "archive", "before": "2999-01-01"});
    assert_eq!(ends(order).await.1["rows"], json!(own + 1));
    assert_eq!(number(&pool, theirs).await, before);
    let order = json!({"operation": "archive", "before": "2999-01-01", "tenant": 2});
    let archived = service.run(order).await;
    service.until_ended(&archived, "done").await;
    let order = json!({"operation": "purge", "before": "2999-01-01"});
    assert_eq!(ends(order).await.1["rows"], json!(own + 1));
    let of_two = "SELECT count(*) FROM records_archive WHERE tenant_id = 2";
    assert!(number(&pool, of_two).await > 0);
    let order = json!({"operation": "delete", "filter": filter});
    assert_eq!(ends(order).await.1["rows"], json!(0));

    // Another tenant's run is not there; the one who runs the service sees all.
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::GET, letters.clone()),
        (Method::POST, format!("{path}/resume")),
        (Method::GET, archived.clone()),
    ] {
        let caller = if path == archived { &one } else { &two };
        let (status, _) = service.send_with(method, &path, None, caller).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let ids = |page: &Json| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|run| format!("{batch}/{}", run["id"].as_str().unwrap()))
            .collect()
    };
    let (_, mine) = service.send_with(Method::GET, batch, None, &one).await;
    assert_eq!(ids(&mine).len(), 6);
    assert!(ids(&mine).contains(&path) && !ids(&mine).contains(&archived));
    let (_, none) = service.send_with(Method::GET, batch, None, &two).await;
    assert_eq!(ids(&none), [""; 0]);
    let token = format!("Bearer {ADMIN_TOKEN}");
    let admin = [("authorization", token.as_str()), ("x-tenant-id", "2")];
    let (_, everything) = service.send_with(Method::GET, batch, None, &admin).await;
    assert_eq!(ids(&everything).len(), 7);
    let mut paged = Vec::new();
    let mut page = format!("{batch}?limit=2&state=done");
    loop {
        let (status, runs) = service.send(Method::GET, &page, None).await;
        assert_eq!(status, StatusCode::OK);
        paged.extend(ids(&runs));
        let Some(next) = runs["next"].as_str() else {
            break;
        };
        page = format!("{batch}?limit=2&state=done&cursor={next}");
    }
    assert_eq!(paged, ids(&everything));
    for wrong in ["?state=x", "?cursor=x", "?limit=0", "?owner=x"] {
        let (status, _) = service
            .send(Method::GET, &format!("{batch}{wrong}"), None)
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let (status, _) = service
        .send(Method::GET, &format!("{letters}?cursor=x"), None)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_service_that_stops_ends_its_runs_after_a_batch() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let mut service = Service::start(&["--data", &data]).await;
    let path = service
        .run(json!({"operation": "create", "rows": 20_000}))
        .await;
    let pid = nix::unistd::Pid::from_raw(service.child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(service.child.wait().unwrap().success());
    drop(service);
    let service = Service::start(&["--data", &data]).await;
    let (_, left) = service.send(Method::GET, &path, None).await;
    assert_eq!(left["progress"]["state"], "cancelled", "{left}");
    let pool = connect(&format!("sqlite:{data}/reference.db")).await;
    let done = left["progress"]["done"].as_i64().unwrap();
    assert_eq!(
        number(&pool, "SELECT count(*) FROM records").await,
        2000 + done
    );
}
