//! What stands on PostgreSQL and Redis, each beside what it stands on: started here, on free ports.
//!
//! - `l2/get` beside `l2/get_redis`: a value of the second tier, and a bare `GET` of it.
//! - `pool_postgres/…`: a connection taken and given back, beside sqlx's own pool and deadpool-postgres.
//! - `bulk_postgres/insert` beside `copy` (the same rows, their text made before) and `prepared` (a statement of a
//!   row each, within one transaction); `stream` reads them again.
//! - `lock/redis` beside `lock/redis_set_nx`: taken and freed, and a bare `SET NX` with `DEL`.

mod common;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/support/servers.rs"]
mod servers;

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use plimsoll::datalayer::batch::{Row, Select, Value, fetch_rows, insert, stream_batches};
use plimsoll::datalayer::cache::{Kind, RedisTier, TieredCache};
use plimsoll::datalayer::config::{BatchSettings, CacheSettings, LockSettings, PoolSettings};
use plimsoll::datalayer::dataset::{DatasetId, Generator, RECORDS, ensure};
use plimsoll::datalayer::lock::Locks;
use plimsoll::datalayer::pool::Pool;
use redis::aio::MultiplexedConnection;
use servers::{Postgres, Redis};
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::runtime::Runtime;

/// Keys in turn: more than the first tier keeps.
const KEYS: usize = 1024;
/// The size of a JSON object with a dozen fields.
const VALUE_BYTES: usize = 512;
/// Connections that the contenders share, and how many these are.
const CONNECTIONS: u32 = 4;
const CONTENDERS: u32 = 16;
/// Rows of the bulk insert and of the stream.
const ROWS: u64 = 100_000;
/// Rows of those that are inserted one by one.
const PREPARED_ROWS: usize = 1000;
const TTL: Duration = Duration::from_secs(30);

fn second_tier(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Redis::start().expect("redis-server is installed");
    let keys: Vec<String> = (0..KEYS)
        .map(|key| format!("tenant:7:client:{key}"))
        .collect();
    let settings = CacheSettings {
        l1_entries: 1,
        ..CacheSettings::default()
    };
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    let cache = runtime.block_on(async {
        let tier = RedisTier::connect(&server.url(), &settings).expect("the address is one");
        let cache = TieredCache::new(&settings, Some(Arc::new(tier)));
        for key in &keys {
            cache.put(Kind::Detail, key, value.clone()).await;
        }
        cache
    });
    let mut group = criterion.benchmark_group("l2");
    let mut next = keys.iter().cycle();
    group.bench_function("get", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let key = next.next().expect("a cycle has no end");
            let cache = &cache;
            async move { black_box(cache.get(key).await.expect("it is there")) }
        });
    });

    let mut connection = connection(&runtime, &server);
    runtime.block_on(async {
        for key in &keys {
            let mut set = redis::cmd("SET");
            let set = set.arg(key).arg(value.as_ref());
            let _: () = set.query_async(&mut connection).await.expect("it is set");
        }
    });
    let mut next = keys.iter().cycle();
    group.bench_function("get_redis", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let key = next.next().expect("a cycle has no end");
            let mut connection = connection.clone();
            async move {
                let mut get = redis::cmd("GET");
                let got: Vec<u8> = get
                    .arg(key)
                    .query_async(&mut connection)
                    .await
                    .expect("it is there");
                assert_eq!(got.len(), VALUE_BYTES);
                black_box(got)
            }
        });
    });
    group.finish();
    runtime.block_on(cache.close());
}

fn pool(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Postgres::start().expect("PostgreSQL is installed");
    let mut group = criterion.benchmark_group("pool_postgres");
    for (name, connections, callers) in [("checkout", 1, 1), ("contended", CONNECTIONS, CONTENDERS)]
    {
        let settings = PoolSettings {
            min_connections: connections,
            max_connections: connections,
            ..PoolSettings::default()
        };
        let ours = runtime
            .block_on(Pool::connect(&server.url(), settings))
            .expect("it answers");
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                join_all((0..callers).map(async |_| {
                    drop(black_box(ours.acquire().await.expect("one gets free")));
                }))
                .await
            });
        });
        runtime.block_on(ours.close());

        let options = PgPoolOptions::new()
            .min_connections(connections)
            .max_connections(connections);
        let sqlx = runtime
            .block_on(options.test_before_acquire(false).connect(&server.url()))
            .expect("it answers");
        group.bench_function(format!("{name}_sqlx"), |bencher| {
            bencher.to_async(&runtime).iter(async || {
                join_all((0..callers).map(async |_| {
                    drop(black_box(sqlx.acquire().await.expect("one gets free")));
                }))
                .await
            });
        });
        runtime.block_on(sqlx.close());

        let config = server.url().parse().expect("the address is one");
        let manager =
            deadpool_postgres::Manager::new(config, deadpool_postgres::tokio_postgres::NoTls);
        let deadpool = deadpool_postgres::Pool::builder(manager)
            .max_size(connections as usize)
            .build()
            .expect("the settings are sound");
        group.bench_function(format!("{name}_deadpool"), |bencher| {
            bencher.to_async(&runtime).iter(async || {
                join_all((0..callers).map(async |_| {
                    drop(black_box(deadpool.get().await.expect("one gets free")));
                }))
                .await
            });
        });
        deadpool.close();
    }
    group.finish();
}

fn bulk(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Postgres::start().expect("PostgreSQL is installed");
    let settings = BatchSettings::default();
    let pool = runtime.block_on(async {
        let pool = Pool::connect(&server.url(), PoolSettings::default()).await;
        let pool = pool.expect("it answers");
        let id = DatasetId {
            seed: 42,
            records: 0,
        };
        let made = ensure(&pool, id, &settings, Arc::new(|| 0)).await;
        made.expect("the tables can be made");
        pool
    });
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

    let names: Vec<&str> = RECORDS.unkeyed().iter().map(|column| column.name).collect();
    let names = names.join(", ");
    let mut text = String::new();
    for row in &rows {
        for (nth, value) in row.iter().enumerate() {
            let tab = if nth > 0 { "\t" } else { "" };
            match value {
                Value::Integer(number) => write!(text, "{tab}{number}"),
                // Generated text has nothing that would have to be escaped.
                Value::Text(value) => write!(text, "{tab}{value}"),
            }
            .expect("a string takes anything");
        }
        text.push('\n');
    }
    let mut bare = runtime
        .block_on(PgConnection::connect(&server.url()))
        .expect("it answers");
    let copy = format!("COPY records ({names}) FROM STDIN");
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

    let places: Vec<String> = (1..=RECORDS.unkeyed().len())
        .map(|nth| format!("${nth}"))
        .collect();
    let statement = format!(
        "INSERT INTO records ({names}) VALUES ({})",
        places.join(", ")
    );
    group.throughput(Throughput::Elements(PREPARED_ROWS as u64));
    group.bench_function("prepared", |bencher| {
        bencher.iter_custom(|iterations| {
            runtime.block_on(timed(&pool, iterations, async || {
                let begun = Instant::now();
                let mut transaction = bare.begin().await.expect("it answers");
                for row in &rows[..PREPARED_ROWS] {
                    let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
                    for value in row {
                        query = match value {
                            Value::Integer(number) => query.bind(*number),
                            Value::Text(text) => query.bind(&**text),
                        };
                    }
                    query.execute(&mut *transaction).await.expect("it is sound");
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
    group.finish();
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

fn lock(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Redis::start().expect("redis-server is installed");
    let mut group = criterion.benchmark_group("lock");
    let locks = runtime.block_on(async { Locks::redis(&[server.url()], &LockSettings::default()) });
    let locks = locks.expect("the address is one");
    group.bench_function("redis", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let lease = locks.acquire("bench", TTL).await.expect("nobody has it");
            lease.release().await.expect("it is held");
        });
    });

    let connection = connection(&runtime, &server);
    group.bench_function("redis_set_nx", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let mut connection = connection.clone();
            async move {
                let mut set = redis::cmd("SET");
                let set = set.arg("bare").arg("token").arg("NX");
                let set = set.arg("PX").arg(TTL.as_millis() as u64);
                let set: String = set
                    .query_async(&mut connection)
                    .await
                    .expect("nobody has it");
                assert_eq!(set, "OK");
                let mut free = redis::cmd("DEL");
                let freed: u32 = free
                    .arg("bare")
                    .query_async(&mut connection)
                    .await
                    .expect("it is held");
                assert_eq!(freed, 1);
            }
        });
    });

    let locks = runtime.block_on(async { Locks::in_process(&LockSettings::default()) });
    group.bench_function("in_process", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let lease = locks.acquire("bench", TTL).await.expect("nobody has it");
            lease.release().await.expect("it is held");
        });
    });
    group.finish();
}

/// As the data layer has them: without waiting for the acknowledgement of the command before.
fn connection(runtime: &Runtime, server: &Redis) -> MultiplexedConnection {
    use redis::IntoConnectionInfo as _;
    let info = server
        .url()
        .into_connection_info()
        .expect("the address is one");
    let info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    let client = redis::Client::open(info).expect("the address is one");
    runtime
        .block_on(client.get_multiplexed_async_connection())
        .expect("it answers")
}

criterion_group! {
    name = all;
    config = common::config();
    targets = second_tier, pool, bulk, lock
}
criterion_main!(all);
