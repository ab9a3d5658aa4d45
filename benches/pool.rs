//! The pool on the embedded database: taking and giving back, alone and in a queue, and in vain.
//!
//! What ends in `_sqlx` is sqlx's own pool, which tests a returned connection in the same way, so that
//! the difference is what permits, counts and time limits cost.

mod common;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use plimsoll::datalayer::config::PoolSettings;
use plimsoll::datalayer::pool::{Pool, PoolError};
use sqlx::sqlite::SqlitePoolOptions;

/// Connections that the contenders share.
const CONNECTIONS: u32 = 4;
/// Callers at once.
const CONTENDERS: u32 = 16;
/// How long a connection is waited for that nobody gives back: the shortest time that the clock of a runtime has.
const PATIENCE: Duration = Duration::from_millis(1);

fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let connect = |max_connections| {
        let settings = PoolSettings {
            min_connections: max_connections,
            max_connections,
            ..PoolSettings::default()
        };
        let pool = runtime.block_on(Pool::connect("sqlite::memory:", settings));
        pool.expect("a database in memory can be opened")
    };
    let connect_sqlx = |max_connections, acquire_timeout| {
        let options = SqlitePoolOptions::new()
            .min_connections(max_connections)
            .max_connections(max_connections)
            .acquire_timeout(acquire_timeout)
            .test_before_acquire(false);
        let pool = runtime.block_on(options.connect("sqlite::memory:"));
        pool.expect("a database in memory can be opened")
    };
    let acquire_timeout = Duration::from_millis(PoolSettings::default().acquire_timeout_ms);
    let mut group = criterion.benchmark_group("pool");

    // With one connection each checkout waits for the return of the one before.
    let pool = connect(1);
    group.bench_function("checkout", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || drop(black_box(pool.acquire().await)));
    });

    let sqlx = connect_sqlx(1, acquire_timeout);
    group.bench_function("checkout_sqlx", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || drop(black_box(sqlx.acquire().await)));
    });

    let pool = connect(CONNECTIONS);
    group.bench_function("checkout_contended", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let all = (0..CONTENDERS).map(async |_| drop(black_box(pool.acquire().await)));
            join_all(all).await;
        });
    });
    let sqlx = connect_sqlx(CONNECTIONS, acquire_timeout);
    group.bench_function("checkout_contended_sqlx", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let all = (0..CONTENDERS).map(async |_| drop(black_box(sqlx.acquire().await)));
            join_all(all).await;
        });
    });

    let pool = connect(1).with_acquire_timeout(PATIENCE);
    let held = runtime.block_on(pool.acquire()).expect("it is free");
    group.bench_function("exhausted", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let refused = pool.acquire().await.expect_err("it is held");
            assert!(matches!(refused, PoolError::Exhausted { .. }));
        });
    });
    drop(held);
    let sqlx = connect_sqlx(1, PATIENCE);
    let held = runtime.block_on(sqlx.acquire()).expect("it is free");
    group.bench_function("exhausted_sqlx", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let refused = sqlx.acquire().await.expect_err("it is held");
            assert!(matches!(refused, sqlx::Error::PoolTimedOut));
        });
    });
    // Given back by a task of the runtime.
    runtime.block_on(async { drop(held) });
    group.finish();
}

criterion_group! {
    name = pool;
    config = common::config();
    targets = benches
}
criterion_main!(pool);
