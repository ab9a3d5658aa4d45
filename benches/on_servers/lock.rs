//! A lock taken and freed: `lock/redis` beside a bare `SET NX` with `DEL`, `lock/in_process` beside the mutex of the
//! runtime, which nobody can lose and which has no lifetime.

use std::time::Duration;

use criterion::Criterion;
use plimsoll::datalayer::config::LockSettings;
use plimsoll::datalayer::lock::Locks;
use tokio::sync::Mutex;

use crate::common;
use crate::second_tier::connection;
use crate::servers::Redis;

const TTL: Duration = Duration::from_secs(30);

pub(crate) fn benches(criterion: &mut Criterion) {
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

    let mutex = Mutex::new(());
    group.bench_function("in_process_mutex", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || drop(mutex.lock().await));
    });
    group.finish();
}
