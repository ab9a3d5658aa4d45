//! Batches on the embedded database: one bulk insert, a load in batches that adapt, a stream.
//!
//! `bulk_sqlite/insert` stands beside `prepared` (a statement of a row each, within one transaction) and `stream`
//! beside `stream_sqlx`: a hundred thousand rows, and what sqlx alone makes of them.
//!
//! The database is in memory and emptied between the iterations, so that every one finds the same.

mod common;
mod records;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::TryStreamExt;
use plimsoll::datalayer::batch::{
    AdaptiveSize, Loader, MemorySource, Row, Select, fetch_rows, insert, stream_batches,
};
use plimsoll::datalayer::config::{BatchSettings, PoolSettings};
use plimsoll::datalayer::dataset::{DatasetId, Generator, RECORDS, ensure};
use plimsoll::datalayer::pool::{Checkout, Connection, Pool};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::runtime::Runtime;

/// Rows of the bulk insert: a batch as it starts.
const INSERT_ROWS: usize = 1000;
/// Rows of the load and of the stream.
const ROWS: u64 = 10_000;
/// Rows of the large insert and of the large stream, and of those that are inserted one by one.
const BULK_ROWS: u64 = 100_000;
const PREPARED_ROWS: usize = 1000;
/// Decisions that one iteration of the sizer makes.
const DECISIONS: u64 = 1000;

fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let settings = BatchSettings::default();
    // What a process uses is asked from the system; a constant keeps that, and whatever else the
    // process does, out of the figures.
    let memory: Arc<dyn MemorySource> = Arc::new(|| 0);
    let generator = Generator::new(42, ROWS);
    let mut group = criterion.benchmark_group("batch");

    let pool = store(&runtime, &settings, 0);
    let rows: Vec<Row> = generator.records_from(0).take(INSERT_ROWS).collect();
    group.throughput(Throughput::Elements(INSERT_ROWS as u64));
    group.bench_function("insert_sqlite", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let rows = rows.clone();
                let begun = Instant::now();
                let inserted = insert(&pool, &RECORDS, RECORDS.unkeyed(), rows).await;
                elapsed += begun.elapsed();
                assert_eq!(inserted.expect("rows can be inserted"), INSERT_ROWS as u64);
                empty(&pool).await;
            }
            elapsed
        });
    });

    let rows: Vec<Row> = generator.records_from(0).take(ROWS as usize).collect();
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("load_sqlite", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let rows = rows.clone();
                let memory = Arc::clone(&memory);
                let begun = Instant::now();
                let columns = RECORDS.unkeyed();
                let mut loader = Loader::new(pool.clone(), &RECORDS, columns, &settings, memory);
                for row in rows {
                    loader.push(row).await.expect("rows can be inserted");
                }
                let loaded = loader.finish().await.expect("rows can be inserted");
                elapsed += begun.elapsed();
                assert_eq!(loaded.rows, ROWS);
                empty(&pool).await;
            }
            elapsed
        });
    });

    let full = store(&runtime, &settings, ROWS);
    group.bench_function("stream_sqlite", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let select = Select::all(&RECORDS);
            let batches = stream_batches(full.clone(), select, &settings, Arc::clone(&memory));
            let count = batches.try_fold(0, async |count, batch| Ok(count + batch.len()));
            assert_eq!(
                black_box(count.await.expect("rows can be read")),
                ROWS as usize
            );
        });
    });

    group.throughput(Throughput::Elements(DECISIONS));
    group.bench_function("adaptive", |bencher| {
        bencher.iter(|| {
            let mut size = AdaptiveSize::new(&settings, 0);
            for step in 0..DECISIONS {
                // Up to 500 MB and down again: every branch is taken.
                black_box(size.observe(black_box(step % 500 * 1_000_000)));
            }
            size.rows()
        });
    });
    group.finish();
    bulk(criterion, &runtime);
}

fn bulk(criterion: &mut Criterion, runtime: &Runtime) {
    let settings = BatchSettings::default();
    let pool = store(runtime, &settings, 0);
    let generator = Generator::new(42, BULK_ROWS);
    let rows: Vec<Row> = generator.records_from(0).take(BULK_ROWS as usize).collect();
    let mut group = criterion.benchmark_group("bulk_sqlite");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(BULK_ROWS));
    group.bench_function("insert", |bencher| {
        bencher.to_async(runtime).iter_custom(async |iterations| {
            timed(&pool, iterations, async || {
                let rows = rows.clone();
                let begun = Instant::now();
                let inserted = insert(&pool, &RECORDS, RECORDS.unkeyed(), rows).await;
                assert_eq!(inserted.expect("rows can be inserted"), BULK_ROWS);
                begun.elapsed()
            })
            .await
        });
    });

    let statement = records::insert_one();
    group.throughput(Throughput::Elements(PREPARED_ROWS as u64));
    group.bench_function("prepared", |bencher| {
        bencher.to_async(runtime).iter_custom(async |iterations| {
            timed(&pool, iterations, async || {
                let mut checkout = pool.acquire().await.expect("one is free");
                let begun = Instant::now();
                let mut transaction = bare(&mut checkout).begin().await.expect("it is free");
                for row in &rows[..PREPARED_ROWS] {
                    let insert = records::inserting(&statement, row).execute(&mut *transaction);
                    insert.await.expect("it is sound");
                }
                transaction.commit().await.expect("they are sound");
                begun.elapsed()
            })
            .await
        });
    });

    runtime
        .block_on(insert(&pool, &RECORDS, RECORDS.unkeyed(), rows))
        .expect("rows can be inserted");
    group.throughput(Throughput::Elements(BULK_ROWS));
    group.bench_function("stream", |bencher| {
        bencher.to_async(runtime).iter(async || {
            let select = Select::all(&RECORDS);
            let batches = stream_batches(pool.clone(), select, &settings, Arc::new(|| 0));
            let count = batches.try_fold(0, async |count, batch| Ok(count + batch.len()));
            assert_eq!(count.await.expect("rows can be read"), BULK_ROWS as usize);
        });
    });
    let select = records::select_all();
    group.bench_function("stream_sqlx", |bencher| {
        bencher.to_async(runtime).iter(async || {
            let mut checkout = pool.acquire().await.expect("one is free");
            let rows = sqlx::query(AssertSqlSafe(select.clone())).fetch(bare(&mut checkout));
            let count = rows.try_fold(0, async |count, row| Ok(count + records::read(&row)?));
            assert_eq!(count.await.expect("rows can be read"), BULK_ROWS);
        });
    });
    group.finish();
}

/// The time of so many, the table emptied after each.
async fn timed(pool: &Pool, iterations: u64, mut one: impl AsyncFnMut() -> Duration) -> Duration {
    let mut elapsed = Duration::ZERO;
    for _ in 0..iterations {
        elapsed += one().await;
        empty(pool).await;
    }
    elapsed
}

/// The connection as sqlx alone has it.
fn bare(checkout: &mut Checkout) -> &mut SqliteConnection {
    match checkout.connection() {
        Connection::Sqlite(connection) => connection,
        Connection::Postgres(_) => unreachable!("the database is embedded"),
    }
}

/// A database in memory that holds a dataset.
fn store(runtime: &Runtime, settings: &BatchSettings, records: u64) -> Pool {
    let pool_settings = PoolSettings {
        min_connections: 1,
        max_connections: 2,
        ..PoolSettings::default()
    };
    runtime.block_on(async {
        let pool = Pool::connect("sqlite::memory:", pool_settings)
            .await
            .expect("a database in memory can be opened");
        let id = DatasetId { seed: 42, records };
        ensure(&pool, id, settings, Arc::new(|| 0))
            .await
            .expect("the dataset can be made");
        pool
    })
}

async fn empty(pool: &Pool) {
    fetch_rows(pool, ("empty", "records"), "DELETE FROM records", &[], &[])
        .await
        .expect("a table can be emptied");
}

criterion_group! {
    name = batch;
    config = common::config();
    targets = benches
}
criterion_main!(batch);
