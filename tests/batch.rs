//! Batches, streams, pages and the dataset on real databases.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use plimsoll::datalayer::batch::{
    BatchError, Column, Listing, Loader, MemorySource, PageError, ProcessMemory, Row, Select,
    Table, Tally, Value, fetch_rows, insert, stream_batches,
};
use plimsoll::datalayer::config::{BatchSettings, PoolSettings};
use plimsoll::datalayer::dataset::{
    CLIENTS, DatasetError, DatasetId, Ensured, Generator, RECORDS, TABLES, drop_indexes, ensure,
};
use plimsoll::datalayer::pool::Pool;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sqlx::AssertSqlSafe;
use support::servers::Postgres;
use support::wait;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A pool on an SQLite file that goes when the folder does.
async fn sqlite() -> (Pool, TempDir) {
    let folder = TempDir::new().unwrap();
    let url = format!(
        "sqlite:{}?mode=rwc",
        folder.path().join("test.db").display()
    );
    (Pool::connect(&url, pool_settings()).await.unwrap(), folder)
}

async fn postgres() -> (Pool, Postgres) {
    let server = Postgres::start().unwrap();
    (
        Pool::connect(&server.url(), pool_settings()).await.unwrap(),
        server,
    )
}

fn pool_settings() -> PoolSettings {
    PoolSettings {
        min_connections: 1,
        max_connections: 4,
        ..PoolSettings::default()
    }
}

fn memory() -> Arc<dyn MemorySource> {
    Arc::new(ProcessMemory)
}

fn batches_of(rows: u32) -> BatchSettings {
    BatchSettings {
        start_rows: rows,
        min_rows: rows,
        max_rows: rows,
        ..BatchSettings::default()
    }
}

async fn make(pool: &Pool, seed: u64, records: u64, settings: &BatchSettings) -> Ensured {
    ensure(pool, DatasetId { seed, records }, settings, memory())
        .await
        .unwrap()
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

#[tokio::test]
async fn a_seed_makes_the_same_tables_on_both_databases_in_batches_of_any_size() {
    let (lite, _folder) = sqlite().await;
    let (other, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    make(&lite, 42, 3000, &batches_of(100)).await;
    make(&other, 42, 3000, &batches_of(997)).await;
    make(&postgres, 42, 3000, &BatchSettings::default()).await;
    let generator = Generator::new(42, 3000);
    for table in TABLES {
        let expected: Vec<Row> = generator.rows(table).collect();
        assert_eq!(
            all(&lite, table).await,
            expected,
            "{} on SQLite",
            table.name
        );
        assert_eq!(
            all(&other, table).await,
            expected,
            "{} in other batches",
            table.name
        );
        assert_eq!(
            all(&postgres, table).await,
            expected,
            "{} on PostgreSQL",
            table.name
        );
    }
    // The sequences go on behind the generated ids.
    for pool in [&lite, &postgres] {
        insert(
            pool,
            &CLIENTS,
            CLIENTS.unkeyed(),
            vec![client("New", "One", 1)],
        )
        .await
        .unwrap();
        let clients = all(pool, &CLIENTS).await;
        assert_eq!(clients.last().unwrap()[0], Value::Integer(301));
    }
}

#[tokio::test]
async fn copy_and_multi_row_statements_give_equal_tables() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    let awkward = [
        "",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\\",
        "\\.",
        "\\N",
        "a\\tb",
        "'; DROP TABLE clients; --",
        "\"quoted\"",
        "Zoë",
        "日本",
        "🦀",
        "NULL",
        "\u{7f}",
        "a,b",
    ];
    let rows: Vec<Row> = awkward
        .iter()
        .cycle()
        .take(1000)
        .map(|text| client(text, text, 1))
        .collect();
    let mut tables = Vec::new();
    for pool in [&lite, &postgres] {
        make(pool, 1, 0, &BatchSettings::default()).await;
        run(pool, "DELETE FROM clients").await;
        let inserted = insert(pool, &CLIENTS, CLIENTS.unkeyed(), rows.clone())
            .await
            .unwrap();
        assert_eq!(inserted, 1000);
        let without_ids: Vec<Row> = all(pool, &CLIENTS)
            .await
            .into_iter()
            .map(|row| row[1..].to_vec())
            .collect();
        assert_eq!(without_ids, rows);
        tables.push(without_ids);
    }
    assert_eq!(tables[0], tables[1]);
}

#[tokio::test]
async fn a_batch_goes_in_whole_or_not_at_all() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    for pool in [&lite, &postgres] {
        make(pool, 1, 1000, &BatchSettings::default()).await;
        let before = all(pool, &RECORDS).await;
        // The last of these has an id that is taken.
        let mut rows: Vec<Row> = Vec::new();
        for (index, row) in Generator::new(2, 1000)
            .records_from(0)
            .take(700)
            .enumerate()
        {
            let id = if index == 699 {
                5
            } else {
                10_000 + index as i64
            };
            rows.push([vec![Value::Integer(id)], row].concat());
        }
        let error = insert(pool, &RECORDS, RECORDS.columns, rows)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                BatchError::Database {
                    table: "records",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(all(pool, &RECORDS).await, before);
        // A row of another shape is found before anything is sent.
        let rows = vec![vec![Value::Integer(1)]];
        let error = insert(pool, &RECORDS, RECORDS.columns, rows)
            .await
            .unwrap_err();
        assert!(
            matches!(error, BatchError::RowShape { row: 0, .. }),
            "{error}"
        );
    }
}

/// PostgreSQL dies in the middle of a `COPY`: the load says how many rows are in and of how many it does not
/// know, and none is there twice or in part.
#[tokio::test]
async fn a_load_whose_database_dies_says_what_is_in() {
    let (pool, mut server) = postgres().await;
    make(&pool, 1, 0, &BatchSettings::default()).await;
    run(
        &pool,
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$",
    )
    .await;
    run(
        &pool,
        "CREATE TRIGGER linger BEFORE INSERT ON records FOR EACH ROW \
         WHEN (NEW.city = 'Linger') EXECUTE FUNCTION linger()",
    )
    .await;
    let rows: Vec<Row> = Generator::new(1, 0).records_from(0).take(1000).collect();
    let mut lingering = rows.clone();
    lingering[650][5] = "Linger".into();
    let loader = |pool: &Pool| {
        let settings = batches_of(200);
        let columns = RECORDS.unkeyed();
        Loader::new(pool.clone(), &RECORDS, columns, &settings, memory())
    };
    let mut loading = loader(&pool);
    let dies = tokio::spawn(async move {
        let mut outcome = Ok(());
        for row in lingering {
            outcome = loading.push(row).await;
            if outcome.is_err() {
                break;
            }
        }
        (outcome, loading.brake().tally())
    });
    let other = Pool::connect(&server.url(), pool_settings()).await.unwrap();
    let copies = "SELECT CAST(count(*) AS BIGINT) FROM pg_stat_activity \
                  WHERE wait_event = 'PgSleep' AND query LIKE 'COPY records%'";
    let columns = [Column::integer("n")];
    let middle = async || {
        let seen = fetch_rows(&other, ("read", "test"), copies, &[], &columns).await;
        seen.unwrap() == [vec![Value::Integer(1)]]
    };
    wait::until_async("it copies", Duration::from_secs(60), middle)
        .await
        .unwrap();
    server.stop().unwrap();
    let (outcome, tally) = dies.await.unwrap();
    let error = outcome.unwrap_err();
    assert!(matches!(error, BatchError::Database { .. }), "{error}");
    assert!(error.is_in_doubt(), "{error:?}");
    assert_eq!((tally.rows, tally.unsure), (600, 200));
    server.start_again().unwrap();
    let pool = Pool::connect(&server.url(), pool_settings()).await.unwrap();
    run(&pool, "DROP TRIGGER linger ON records").await;
    let unkeyed = |rows: Vec<Row>| rows.into_iter().map(|row| row[1..].to_vec());
    let there: Vec<Row> = unkeyed(all(&pool, &RECORDS).await).collect();
    assert_eq!(there, rows[..600], "nothing of the batch under way");
    let mut rest = loader(&pool);
    for row in &rows[600..] {
        rest.push(row.clone()).await.unwrap();
    }
    rest.finish().await.unwrap();
    let there: Vec<Row> = unkeyed(all(&pool, &RECORDS).await).collect();
    assert_eq!(there, rows);
}

#[tokio::test]
async fn the_dataset_is_made_once_and_only_in_a_database_of_its_own() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    let settings = BatchSettings::default();
    for pool in [&lite, &postgres] {
        // 1000 records, 100 clients, 300 appointments, 200 payments, 5 tenants.
        let made = make(pool, 1, 1000, &settings).await;
        assert!(
            made.generated
                .is_some_and(|generated| generated.rows == 1605),
            "{made:?}"
        );
        let again = make(pool, 1, 1000, &settings).await;
        assert_eq!((again.store, again.generated), (made.store, None));
        let first = all(pool, &RECORDS).await;
        // Another seed or size is another dataset, which takes the place of the first.
        let other = make(pool, 2, 1000, &settings).await;
        assert!(other.generated.is_some() && other.store != made.store);
        assert_ne!(all(pool, &RECORDS).await, first);
        // A generation that was cut off before its last step is begun again.
        run(pool, "DELETE FROM refservice_dataset").await;
        run(pool, "DELETE FROM records WHERE id > 500").await;
        assert!(make(pool, 1, 1000, &settings).await.generated.is_some());
        assert_eq!(all(pool, &RECORDS).await, first);
        // What an older version made is replaced, whatever its marker looks like.
        run(pool, "ALTER TABLE refservice_dataset DROP COLUMN store").await;
        run(pool, "UPDATE refservice_dataset SET version = 1").await;
        assert!(make(pool, 1, 1000, &settings).await.generated.is_some());
        // Somebody else's table is left alone.
        run(pool, "DROP TABLE refservice_dataset").await;
        let id = DatasetId {
            seed: 1,
            records: 1000,
        };
        let error = ensure(pool, id, &settings, memory()).await.unwrap_err();
        assert!(matches!(error, DatasetError::Foreign { .. }), "{error}");
        assert_eq!(all(pool, &RECORDS).await, first);
    }
}

#[tokio::test]
async fn indexes_are_dropped_and_made_again_with_the_next_start() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    let settings = BatchSettings::default();
    for (pool, catalogue) in [
        (
            &lite,
            "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
        ),
        (
            &postgres,
            "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public' AND indexdef NOT LIKE '%UNIQUE%'",
        ),
    ] {
        let indexes = async || {
            let (sql, count) = (AssertSqlSafe(catalogue), [Column::integer("count")]);
            let rows = fetch_rows(pool, ("count", "indexes"), sql, &[], &count).await;
            match rows.unwrap()[0][0] {
                Value::Integer(count) => count,
                Value::Text(_) => panic!("a count"),
            }
        };
        let made = make(pool, 1, 1000, &settings).await;
        let all = indexes().await;
        drop_indexes(pool).await.unwrap();
        // Those of the tables that are no part of the dataset stay.
        assert_eq!(all - indexes().await, 10);
        drop_indexes(pool).await.unwrap();
        assert_eq!(make(pool, 1, 1000, &settings).await.store, made.store);
        assert_eq!(indexes().await, all);
    }
}

#[tokio::test]
async fn processes_that_start_together_make_one_dataset() {
    let (first, server) = postgres().await;
    let second = Pool::connect(&server.url(), pool_settings()).await.unwrap();
    let settings = BatchSettings::default();
    let (one, other) = tokio::join!(
        make(&first, 1, 1000, &settings),
        make(&second, 1, 1000, &settings)
    );
    let generated = [one, other]
        .into_iter()
        .filter(|made| made.generated.is_some())
        .count();
    assert_eq!(generated, 1, "{one:?} {other:?}");
    assert_eq!(one.store, other.store);
    assert_eq!(all(&first, &RECORDS).await.len(), 1000);
}

#[tokio::test]
async fn batches_follow_the_memory_and_every_row_arrives() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    for pool in [&lite, &postgres] {
        make(pool, 1, 10_000, &BatchSettings::default()).await;
        // Nothing is ever used: 1000, then half as many again each time, up to 5000.
        let free: Arc<dyn MemorySource> = Arc::new(|| 0);
        let settings = BatchSettings::default();
        let stream = stream_batches(pool.clone(), Select::all(&RECORDS), &settings, free);
        let batches: Vec<Vec<Row>> = stream.try_collect().await.unwrap();
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [1000, 1500, 2250, 3375, 1875]);
        let expected: Vec<Row> = Generator::new(1, 10_000).rows(&RECORDS).collect();
        assert_eq!(batches.concat(), expected);
    }
}

#[tokio::test]
async fn batches_shrink_while_much_memory_is_used_and_grow_again() {
    const MIB: u64 = 1024 * 1024;
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    for pool in [&lite, &postgres] {
        make(pool, 1, 10_000, &BatchSettings::default()).await;
        let settings = BatchSettings::default();
        let (heavy, asked) = (250 * MIB, AtomicU32::new(0));
        assert!(heavy > settings.shrink_above_bytes);
        // The first question is before the first batch; the others are behind one each.
        let used: Arc<dyn MemorySource> =
            Arc::new(move || match asked.fetch_add(1, Ordering::Relaxed) {
                1 | 2 => heavy,
                _ => 0,
            });
        let stream = stream_batches(pool.clone(), Select::all(&RECORDS), &settings, used);
        let batches: Vec<Vec<Row>> = stream.try_collect().await.unwrap();
        let (mut expected, mut size, mut left) = (Vec::new(), settings.start_rows, 10_000);
        while left > 0 {
            expected.push(size.min(left) as usize);
            left = left.saturating_sub(size);
            size = match expected.len() {
                1 | 2 => (size / 2).max(settings.min_rows),
                _ => (size + size / 2).min(settings.max_rows),
            };
        }
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, expected);
        assert!(expected[..3].is_sorted_by(|before, after| before > after));
        let expected: Vec<Row> = Generator::new(1, 10_000).rows(&RECORDS).collect();
        assert_eq!(batches.concat(), expected);
    }
}

#[tokio::test]
async fn a_stream_that_gets_no_memory_says_so_and_gives_its_connection_back() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    for pool in [&lite, &postgres] {
        make(pool, 1, 3000, &BatchSettings::default()).await;
        let settings = BatchSettings {
            pause_limit_ms: 50,
            ..BatchSettings::default()
        };
        let full: Arc<dyn MemorySource> = Arc::new(|| 1_000_000_000);
        let stream = stream_batches(pool.clone(), Select::all(&RECORDS), &settings, full);
        let mut items: Vec<_> = stream.collect().await;
        let last = items.pop().unwrap().map(|rows| rows.len());
        assert!(
            matches!(
                last,
                Err(BatchError::MemoryCeiling {
                    resident_bytes: 1_000_000_000,
                    waited_ms: 50..,
                    ..
                })
            ),
            "{last:?}"
        );
        // What was read before anybody looked at the memory.
        let read: Vec<Row> = items.into_iter().flat_map(Result::unwrap).collect();
        let first = settings.start_rows as usize;
        let generator = Generator::new(1, 3000);
        let first: Vec<Row> = generator.rows(&RECORDS).take(first).collect();
        assert_eq!(read, first);
        all_returned(pool).await;
    }
}

#[tokio::test]
async fn a_stream_filters_and_selects() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    for pool in [&lite, &postgres] {
        make(pool, 1, 2000, &BatchSettings::default()).await;
        let [id, tenant, code] =
            ["id", "tenant_id", "code"].map(|name| RECORDS.column(name).unwrap());
        let select = Select {
            table: &RECORDS,
            columns: vec![code, id],
            filters: vec![(tenant, 2.into()), (code, "C50".into())],
        };
        let stream = stream_batches(pool.clone(), select, &batches_of(7), memory());
        let found = stream.try_collect::<Vec<_>>().await.unwrap().concat();
        let expected: Vec<Row> = Generator::new(1, 2000)
            .rows(&RECORDS)
            .filter(|row| row[1] == 2.into() && row[4] == "C50".into())
            .map(|row| vec![row[4].clone(), row[0].clone()])
            .collect();
        assert!(expected.len() > 7, "more than a batch");
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_consumer_that_leaves_or_sleeps_gives_the_connection_back() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    for pool in [&lite, &postgres] {
        make(pool, 1, 5000, &BatchSettings::default()).await;
        let settings = BatchSettings {
            consumer_limit_ms: 50,
            ..batches_of(100)
        };
        let open = || {
            let select = Select::all(&RECORDS);
            Box::pin(stream_batches(pool.clone(), select, &settings, memory()))
        };
        let mut left = open();
        assert_eq!(left.next().await.unwrap().unwrap().len(), 100);
        drop(left);
        all_returned(pool).await;

        let mut slept = open();
        assert_eq!(slept.next().await.unwrap().unwrap().len(), 100);
        all_returned(pool).await;
        let rest: Vec<_> = slept.collect().await;
        assert!(
            matches!(rest.last(), Some(Err(BatchError::Cut { .. }))),
            "not taken for the end"
        );
    }
}

async fn all_returned(pool: &Pool) {
    let returned = async {
        while pool.stats().active > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), returned)
        .await
        .expect("the connection is back");
}

#[tokio::test]
async fn a_loader_says_what_it_did() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    for pool in [&lite, &postgres] {
        says_what_it_did(pool).await;
    }
}

async fn says_what_it_did(pool: &Pool) {
    make(pool, 1, 0, &BatchSettings::default()).await;
    let loader = |settings: &BatchSettings| {
        let free: Arc<dyn MemorySource> = Arc::new(|| 7);
        Loader::new(pool.clone(), &RECORDS, RECORDS.unkeyed(), settings, free)
    };
    let mut whole = loader(&BatchSettings::default());
    for row in Generator::new(1, 0).records_from(0).take(3000) {
        whole.push(row).await.unwrap();
    }
    let expected = Tally {
        rows: 2500,
        unsure: 0,
    };
    assert_eq!(
        whole.brake().tally(),
        expected,
        "the rest waits for a full batch"
    );
    let loaded = whole.finish().await.unwrap();
    assert_eq!(
        (loaded.rows, loaded.batches, loaded.largest_batch_rows),
        (3000, 3, 1500)
    );
    assert_eq!((loaded.pauses, loaded.peak_resident_bytes), (0, 7));
    assert!(loaded.elapsed_ns > 0);
    assert_eq!(all(pool, &RECORDS).await.len(), 3000);

    // One that is stopped begins no batch any more.
    let mut cut = loader(&batches_of(100));
    for row in Generator::new(1, 0).records_from(0).take(250) {
        cut.push(row).await.unwrap();
    }
    let stopped = Tally {
        rows: 200,
        unsure: 0,
    };
    assert_eq!(cut.brake().pull(), stopped);
    let brake = cut.brake();
    let error = cut.finish().await.unwrap_err();
    assert!(matches!(error, BatchError::Stopped { .. }), "{error}");
    assert_eq!(brake.tally(), stopped);
    assert_eq!(all(pool, &RECORDS).await.len(), 3200);
}

/// A row of [`CLIENTS`] without its id.
fn client(given: &str, family: &str, tenant: i64) -> Row {
    let texts = [
        given,
        family,
        "a@example.com",
        "Bandung",
        "active",
        "1990-01-01",
    ];
    let stamps = ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"];
    let texts = texts
        .iter()
        .chain(&stamps)
        .map(|text| Value::from((*text).to_owned()));
    std::iter::once(tenant.into()).chain(texts).collect()
}

static LISTING: Listing = Listing {
    table: &CLIENTS,
    filters: &["tenant_id", "city"],
    search: &["family_name", "given_name"],
    sorts: &["id", "family_name", "created_at"],
};

/// What happens between two pages.
#[derive(Debug, Clone)]
enum Change {
    Insert { name: String, tenant: i64 },
    Delete { place: prop::sample::Index },
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => ("[a-c]{0,2}", 1..4_i64).prop_map(|(name, tenant)| Change::Insert { name, tenant }),
        1 => any::<prop::sample::Index>().prop_map(|place| Change::Delete { place }),
    ]
}

/// All pages of one question, and what happens between them.
#[derive(Debug, Clone)]
struct Walk {
    /// The clients that are there at first: family name and tenant.
    clients: Vec<(String, i64)>,
    sort: &'static str,
    limit: usize,
    tenant: Option<i64>,
    prefix: Option<String>,
    changes: Vec<Vec<Change>>,
}

fn walk() -> impl Strategy<Value = Walk> {
    let sorts = vec!["id", "-id", "family_name", "-family_name", "created_at"];
    let parts = (
        prop::collection::vec(("[a-c]{0,2}", 1..4_i64), 0..60),
        prop::sample::select(sorts),
        1..9_usize,
        prop::option::of(1..4_i64),
        prop::option::of("[a-cA-C]"),
        prop::collection::vec(prop::collection::vec(change(), 0..4), 0..40),
    );
    parts.prop_map(|(clients, sort, limit, tenant, prefix, changes)| Walk {
        clients,
        sort,
        limit,
        tenant,
        prefix,
        changes,
    })
}

#[test]
fn pages_show_every_row_once() {
    let runtime = Runtime::new().unwrap();
    let (pool, _folder) = runtime.block_on(sqlite());
    walks_show_every_row_once(&runtime, &pool);
}

#[test]
fn pages_show_every_row_once_on_postgres() {
    let runtime = Runtime::new().unwrap();
    let (pool, _server) = runtime.block_on(postgres());
    walks_show_every_row_once(&runtime, &pool);
}

fn walks_show_every_row_once(runtime: &Runtime, pool: &Pool) {
    runtime.block_on(make(pool, 1, 0, &BatchSettings::default()));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    let walked = runner.run(&walk(), |walk| {
        runtime.block_on(shows_every_row_once(pool, walk));
        Ok(())
    });
    walked.unwrap();
}

/// Whatever comes and goes between the pages, a row that is there all the time is seen once, no row is
/// seen twice, and all come in order.
async fn shows_every_row_once(pool: &Pool, walk: Walk) {
    run(pool, "DELETE FROM clients").await;
    let rows = walk.clients.iter();
    let rows = rows.map(|(name, tenant)| client("x", name, *tenant));
    insert(pool, &CLIENTS, CLIENTS.unkeyed(), rows.collect())
        .await
        .unwrap();
    let matches = |row: &&Row| {
        walk.tenant.is_none_or(|tenant| row[1] == tenant.into())
            && walk.prefix.as_ref().is_none_or(|prefix| match &row[3] {
                Value::Text(name) => name.starts_with(&prefix.to_ascii_lowercase()),
                Value::Integer(_) => false,
            })
    };
    let there = all(pool, &CLIENTS).await;
    let steady = there.iter().filter(matches).map(|row| row[0].clone());
    let mut steady: BTreeSet<Value> = steady.collect();
    let (mut seen, mut ids): (Vec<Row>, BTreeSet<Value>) = Default::default();
    let mut cursor: Option<String> = None;
    let mut changes = walk.changes.into_iter();
    loop {
        let mut parameters = vec![
            ("sort", walk.sort.to_owned()),
            ("limit", walk.limit.to_string()),
            ("fields", "family_name,id,created_at".to_owned()),
        ];
        parameters.extend(walk.tenant.map(|tenant| ("tenant_id", tenant.to_string())));
        parameters.extend(walk.prefix.clone().map(|prefix| ("q", prefix)));
        parameters.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let query = LISTING.query(&parameters, &BatchSettings::default());
        let page = query.unwrap().fetch(pool).await.unwrap();
        assert!(page.rows.len() <= walk.limit);
        assert!(
            page.next.is_none() || page.rows.len() == walk.limit,
            "only full pages go on"
        );
        for row in page.rows {
            assert!(ids.insert(row[1].clone()), "{row:?} came twice");
            seen.push(row);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        for change in changes.next().unwrap_or_default() {
            match change {
                Change::Insert { name, tenant } => {
                    let row = vec![client("x", &name, tenant)];
                    insert(pool, &CLIENTS, CLIENTS.unkeyed(), row)
                        .await
                        .unwrap();
                }
                Change::Delete { place } => {
                    let present = all(pool, &CLIENTS).await;
                    if present.is_empty() {
                        continue;
                    }
                    let Value::Integer(id) = place.get(&present)[0] else {
                        continue;
                    };
                    steady.remove(&id.into());
                    run(pool, &format!("DELETE FROM clients WHERE id = {id}")).await;
                }
            }
        }
    }
    for id in &steady {
        assert!(ids.contains(id), "row {id:?} was there all the time");
    }
    let key = |row: &Row| match walk.sort.trim_start_matches('-') {
        "family_name" => (row[0].clone(), row[1].clone()),
        "created_at" => (row[2].clone(), row[1].clone()),
        _ => (row[1].clone(), row[1].clone()),
    };
    let keys: Vec<_> = seen.iter().map(key).collect();
    assert!(keys.is_sorted_by(|a, b| match walk.sort.starts_with('-') {
        true => a > b,
        false => a < b,
    }));
}

#[tokio::test]
async fn pages_come_in_one_order_on_both_databases() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    let mut walks = Vec::new();
    for pool in [&lite, &postgres] {
        make(pool, 7, 3000, &BatchSettings::default()).await;
        let mut walk = Vec::new();
        for parameters in [
            vec![("sort", "family_name")],
            vec![("sort", "-created_at"), ("fields", "email")],
            vec![("q", "MÜ")],
            vec![("q", "van"), ("tenant_id", "1"), ("limit", "3")],
            vec![("city", "Bandung"), ("limit", "100")],
        ] {
            let mut cursor: Option<String> = None;
            loop {
                let mut parameters = parameters.clone();
                parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                let query = LISTING
                    .query(&parameters, &BatchSettings::default())
                    .unwrap();
                let page = query.fetch(pool).await.unwrap();
                walk.push(page.rows);
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        walks.push(walk);
    }
    assert!(walks[0].len() > 30 && walks[0] == walks[1]);
}

#[tokio::test]
async fn numbered_pages_are_those_that_the_cursor_leads_to() {
    let (lite, _folder) = sqlite().await;
    let (postgres, _server) = postgres().await;
    for pool in [&lite, &postgres] {
        make(pool, 7, 3000, &BatchSettings::default()).await;
        let fetch = async |parameters: &[(&str, &str)]| {
            let settings = BatchSettings::default();
            let query = LISTING.query(parameters, &settings).unwrap();
            query.fetch(pool).await.unwrap()
        };
        // 300 clients: fifteen pages of 20, and nothing behind them.
        let mut cursor: Option<String> = None;
        for number in 1..=15 {
            let number = number.to_string();
            let page = fetch(&[("page", &number), ("sort", "-family_name")]).await;
            let mut parameters = vec![("sort", "-family_name")];
            parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let expected = fetch(&parameters).await;
            assert_eq!(page.rows.len(), 20);
            assert_eq!(page, expected, "page {number}");
            cursor = expected.next;
        }
        assert_eq!(cursor, None);
        assert!(fetch(&[("page", "16")]).await.rows.is_empty());
        // The limit counts wherever it stands.
        let page = fetch(&[("page", "3"), ("limit", "7"), ("fields", "id")]).await;
        let ids: Vec<Row> = (15..22).map(|id| vec![Value::Integer(id)]).collect();
        assert_eq!(page.rows, ids);
    }
}

#[test]
fn questions_that_cannot_be_answered_are_named() {
    let check = |parameters: &[(&str, &str)], expected: &str| {
        let error: PageError = LISTING
            .query(parameters, &BatchSettings::default())
            .unwrap_err();
        assert!(
            error.to_string().contains(expected),
            "{error} does not say {expected:?}"
        );
    };
    check(
        &[("pages", "3")],
        "unknown parameter `pages`; known are cursor, fields, limit, page, q, sort",
    );
    // 10,000 rows may be skipped: 500 pages of 20.
    for page in ["0", "502", "-1", "1.5", "", "99999999999999999999"] {
        check(&[("page", page)], "`page` must be a number from 1 to 501");
    }
    check(
        &[("page", "102"), ("limit", "100")],
        "`page` must be a number from 1 to 101",
    );
    check(
        &[("page", "2"), ("cursor", "AAAA")],
        "`page` must be left out where a cursor is given",
    );
    check(&[("email", "a")], "unknown parameter `email`");
    check(
        &[("limit", "20"), ("limit", "21")],
        "`limit` is given twice",
    );
    check(&[("limit", "0")], "`limit` must be a number from 1 to 100");
    check(&[("limit", "101")], "`limit` must be");
    check(&[("limit", "99999999999999999999")], "`limit` must be");
    check(
        &[("fields", "id,password")],
        "unknown field `password` in `fields`",
    );
    check(&[("fields", "id,id")], "`id` is given twice");
    check(&[("fields", "")], "unknown field ``");
    check(&[("sort", "city")], "unknown field `city` in `sort`");
    check(
        &[("sort", "id; DROP TABLE clients")],
        "unknown field `id; DROP TABLE clients`",
    );
    check(&[("sort", "--id")], "unknown field `-id`");
    check(
        &[("tenant_id", "1 OR 1=1")],
        "`tenant_id` must be a whole number",
    );
    check(&[("city", "a\0b")], "`city` must be text without NUL");
    check(&[("q", " ")], "`q` must be text of 1 to 128 bytes");
    check(&[("q", &"x".repeat(129))], "`q` must be");
    check(&[("cursor", "AAAA")], "the cursor is damaged");
}
