//! What stands on PostgreSQL and Redis, each beside what it stands on: started here, on free ports. A file has
//! one group or two, and says what stands beside what.

#[path = "../common.rs"]
mod common;
#[path = "../records.rs"]
mod records;
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
use redis::aio::MultiplexedConnection;
use servers::Redis;
use tokio::runtime::Runtime;

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
    targets = tiers::benches, pool::benches, bulk::benches, retry::benches, lock::benches, jobs::benches
}
criterion_main!(all);
