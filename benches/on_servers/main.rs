//! What stands on PostgreSQL and Redis, each beside what it stands on: started here, on free ports. A file has
//! one group or two, and says what stands beside what.

#[path = "../common.rs"]
mod common;
#[path = "../records.rs"]
mod records;
#[path = "../second_tier.rs"]
mod second_tier;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/support/servers.rs"]
mod servers;

mod bulk;
mod jobs;
mod lock;
mod pool;
mod retry;
mod tiers;

use std::sync::Arc;

use criterion::{criterion_group, criterion_main};
use plimsoll::datalayer::config::{BatchSettings, PoolSettings};
use plimsoll::datalayer::dataset::{DatasetId, ensure};
use plimsoll::datalayer::pool::Pool;

/// A pool on a database that has the tables, and no records.
async fn empty_store(url: &str, settings: &BatchSettings) -> Pool {
    let pool = Pool::connect(url, PoolSettings::default()).await;
    let pool = pool.expect("it answers");
    let id = DatasetId {
        seed: 42,
        records: 0,
    };
    let made = ensure(&pool, id, settings, Arc::new(|| 0)).await;
    made.expect("the tables can be made");
    pool
}

criterion_group! {
    name = all;
    config = common::config();
    targets = tiers::benches, pool::benches, bulk::benches, retry::benches, lock::benches, jobs::benches
}
criterion_main!(all);
