//! The pool on PostgreSQL, beside sqlx's own and deadpool-postgres: a connection taken and given back by one and
//! by many, and one that is not to be had. sqlx asks a connection that comes back whether its peer still answers,
//! as ours does; deadpool does not.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use deadpool_postgres::{Manager, PoolError as DeadpoolError, Timeouts};
use futures_util::future::join_all;
use plimsoll::datalayer::config::PoolSettings;
use plimsoll::datalayer::pool::{Pool, PoolError};
use sqlx::postgres::PgPoolOptions;

use crate::common;
use crate::servers::Postgres;

/// Connections that the contenders share, and how many these are.
const CONNECTIONS: u32 = 4;
const CONTENDERS: u32 = 16;
/// How long a connection is waited for that nobody gives back: the shortest time that the clock of a runtime has.
const PATIENCE: Duration = Duration::from_millis(1);

pub(crate) fn benches(criterion: &mut Criterion) {
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

        let deadpool = deadpool(&server, connections, Timeouts::new());
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

    let settings = PoolSettings {
        min_connections: 1,
        max_connections: 1,
        ..PoolSettings::default()
    };
    let ours = runtime
        .block_on(Pool::connect(&server.url(), settings))
        .expect("it answers")
        .with_acquire_timeout(PATIENCE);
    let held = runtime.block_on(ours.acquire()).expect("it is free");
    group.bench_function("exhausted", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let refused = ours.acquire().await.expect_err("it is held");
            assert!(matches!(refused, PoolError::Exhausted { .. }));
        });
    });
    // Given back by a task of the runtime.
    runtime.block_on(async { drop(held) });
    runtime.block_on(ours.close());

    let options = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE);
    let sqlx = runtime.block_on(async { options.connect_lazy(&server.url()) });
    let sqlx = sqlx.expect("the address is one");
    let held = runtime.block_on(async {
        // To open one takes longer than that.
        loop {
            if let Ok(held) = sqlx.acquire().await {
                break held;
            }
        }
    });
    group.bench_function("exhausted_sqlx", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let refused = sqlx.acquire().await.expect_err("it is held");
            assert!(matches!(refused, sqlx::Error::PoolTimedOut));
        });
    });
    // Given back by a task of the runtime.
    runtime.block_on(async { drop(held) });
    runtime.block_on(sqlx.close());

    let mut timeouts = Timeouts::new();
    timeouts.wait = Some(PATIENCE);
    let deadpool = deadpool(&server, 1, timeouts);
    let held = runtime.block_on(deadpool.get()).expect("it is free");
    group.bench_function("exhausted_deadpool", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let Err(refused) = deadpool.get().await else {
                panic!("it is held");
            };
            assert!(matches!(refused, DeadpoolError::Timeout(_)));
        });
    });
    // Given back by a task of the runtime.
    runtime.block_on(async { drop(held) });
    deadpool.close();
    group.finish();
}

fn deadpool(server: &Postgres, connections: u32, timeouts: Timeouts) -> deadpool_postgres::Pool {
    let config = server.url().parse().expect("the address is one");
    let manager = Manager::new(config, deadpool_postgres::tokio_postgres::NoTls);
    deadpool_postgres::Pool::builder(manager)
        .max_size(connections as usize)
        .runtime(deadpool_postgres::Runtime::Tokio1)
        .timeouts(timeouts)
        .build()
        .expect("the settings are sound")
}
