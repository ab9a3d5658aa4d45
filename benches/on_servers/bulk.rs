//! Many rows into PostgreSQL and out of it.
//!
//! - `bulk_postgres/insert` beside `copy` (the same rows, their text made before) and `prepared` (a statement of a
//!   row each, within one transaction).
//! - `stream` beside `stream_sqlx`: the same rows read again, batch by batch, and as sqlx gives them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use futures_util::TryStreamExt as _;
use plimsoll::datalayer::batch::{
    Row, Select, Value, fetch_rows, insert, name_list, stream_batches,
};
use plimsoll::datalayer::config::BatchSettings;
use plimsoll::datalayer::dataset::{Generator, RECORDS};
use plimsoll::datalayer::pool::Pool;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::common;
use crate::empty_store;
use crate::records;
use crate::servers::Postgres;

const ROWS: u64 = 100_000;
/// Rows of those that are inserted one by one.
const PREPARED_ROWS: usize = 1000;

pub(crate) fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Postgres::start().expect("PostgreSQL is installed");
    let settings = BatchSettings::default();
    let pool = runtime.block_on(empty_store(&server.url(), &settings));
    let rows: Vec<Row> = Generator::new(42, ROWS)
        .records_from(0)
        .take(ROWS as usize)
        .collect();
    let mut group = criterion.benchmark_group("bulk_postgres");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("insert", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |iterations| {
            timed(&pool, iterations, async || {
                let rows = rows.clone();
                let begun = Instant::now();
                let inserted = insert(&pool, &RECORDS, RECORDS.unkeyed(), rows).await;
                assert_eq!(inserted.expect("rows can be inserted"), ROWS);
                begun.elapsed()
            })
            .await
        });
    });

    let text = text(&rows);
    let mut bare = runtime
        .block_on(PgConnection::connect(&server.url()))
        .expect("it answers");
    let copy = format!("COPY records ({}) FROM STDIN", name_list(RECORDS.unkeyed()));
    group.bench_function("copy", |bencher| {
        bencher.iter_custom(|iterations| {
            runtime.block_on(timed(&pool, iterations, async || {
                let begun = Instant::now();
                let mut sink = bare.copy_in_raw(&copy).await.expect("it takes rows");
                sink.send(text.as_bytes()).await.expect("it takes rows");
                assert_eq!(sink.finish().await.expect("they are sound"), ROWS);
                begun.elapsed()
            }))
        });
    });

    let statement = records::insert_one();
    group.throughput(Throughput::Elements(PREPARED_ROWS as u64));
    group.bench_function("prepared", |bencher| {
        bencher.iter_custom(|iterations| {
            runtime.block_on(timed(&pool, iterations, async || {
                let begun = Instant::now();
                let mut transaction = bare.begin().await.expect("it answers");
                for row in &rows[..PREPARED_ROWS] {
                    let insert = records::inserting(&statement, row).execute(&mut *transaction);
                    insert.await.expect("it is sound");
                }
                transaction.commit().await.expect("they are sound");
                begun.elapsed()
            }))
        });
    });

    runtime
        .block_on(insert(&pool, &RECORDS, RECORDS.unkeyed(), rows.clone()))
        .expect("rows can be inserted");
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("stream", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let select = Select::all(&RECORDS);
            let batches = stream_batches(pool.clone(), select, &settings, Arc::new(|| 0));
            let count = batches.try_fold(0, async |count, batch| Ok(count + batch.len()));
            assert_eq!(count.await.expect("rows can be read"), ROWS as usize);
        });
    });
    let select = records::select_all();
    group.bench_function("stream_sqlx", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let rows = sqlx::query(AssertSqlSafe(select.clone())).fetch(&mut bare);
                let count = rows.try_fold(0, async |count, row| Ok(count + records::read(&row)?));
                assert_eq!(count.await.expect("rows can be read"), ROWS);
            });
        });
    });
    group.finish();
}

/// The rows as `COPY` takes them. Generated text has nothing that would have to be escaped.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        for (nth, value) in row.iter().enumerate() {
            let tab = if nth > 0 { "\t" } else { "" };
            match value {
                Value::Integer(number) => write!(text, "{tab}{number}"),
                Value::Text(value) => write!(text, "{tab}{value}"),
            }
            .expect("a string takes anything");
        }
        text.push('\n');
    }
    text
}

/// The time of so many, the table emptied after each.
async fn timed(pool: &Pool, iterations: u64, mut one: impl AsyncFnMut() -> Duration) -> Duration {
    let mut elapsed = Duration::ZERO;
    for _ in 0..iterations {
        elapsed += one().await;
        let emptied = fetch_rows(pool, ("empty", "records"), "TRUNCATE records", &[], &[]).await;
        emptied.expect("a table can be emptied");
    }
    elapsed
}
