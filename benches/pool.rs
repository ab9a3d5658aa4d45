//! The pool on the embedded database: taking and giving back, alone and in a queue.
//!
//! `pool/checkout_sqlx` is sqlx's own pool, which tests a returned connection in the same way, so that
//! the difference to `pool/checkout` is what permits, counts and time limits cost.

mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use plimsoll::datalayer::config::PoolSettings;
use plimsoll::datalayer::pool::Pool;
use sqlx::sqlite::SqlitePoolOptions;

/// Connections that the contenders share.
const CONNECTIONS: u32 = 4;
/// Callers at once.
const CONTENDERS: u32 = 16;

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
    let mut group = criterion.benchmark_group("pool");

    // With one connection each checkout waits for the return of the one before.
    let pool = connect(1);
    group.bench_function("checkout", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || drop(black_box(pool.acquire().await)));
    });

    let options = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false);
    let sqlx = runtime
        .block_on(options.connect("sqlite::memory:"))
        .expect("a database in memory can be opened");
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
    group.finish();
}

criterion_group! {
    name = pool;
    config = common::config();
    targets = benches
}
criterion_main!(pool);
