//! The two tiers with Redis as the second one.
//!
//! `l2/get`, `l2/get_or_load` and `l2/get_or_load_tagged` (two tags, as the service has them) stand beside
//! `l2/get_redis`, a bare `GET`. The first tier has no room, so that the second is asked each time.
//!
//! The others stand beside what Redis does for the same without any tiers: 64 who miss one key beside as many
//! `GET`s, a `SET` and an `UNLINK`; a tag of 10,000 keys that is invalidated beside an `UNLINK` of all of them, by
//! whoever knows their names; a warm-up beside as many `SET`s.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _, stream};
use plimsoll::datalayer::cache::warming::{Item, Plan, Priority, WarmUp};
use plimsoll::datalayer::cache::{Kind, Tag, Tier};
use plimsoll::datalayer::config::CacheSettings;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use crate::common;
use crate::second_tier::{VALUE_BYTES, connection, keys, put, tiers, value};
use crate::servers::Redis;

const TAGS: [Tag<'_>; 2] = [Tag::Named("clients"), Tag::Named("tenant:7")];
/// Tasks that miss one key together.
const TASKS: usize = 64;
/// Keys that one tag takes away.
const TAGGED: usize = 10_000;
/// Keys that a warm-up brings.
const WARMED: usize = 1000;

pub(crate) fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Redis::start().expect("redis-server is installed");
    second_tier(criterion, &runtime, &server, &value());
    let mut group = criterion.benchmark_group("l2");
    group.sample_size(10);
    misses(&mut group, &runtime, &server);
    invalidations(&mut group, &runtime, &server);
    warm_ups(&mut group, &runtime, &server);
    group.finish();
}

fn second_tier(criterion: &mut Criterion, runtime: &Runtime, server: &Redis, value: &Bytes) {
    let keys = keys();
    let settings = CacheSettings {
        l1_entries: 0,
        ..CacheSettings::default()
    };
    let cache = tiers(runtime, server, &settings);
    let mut group = criterion.benchmark_group("l2");

    runtime.block_on(put(&cache, &keys, &[], value));
    let mut next = keys.iter().cycle();
    group.bench_function("get", |bencher| {
        bencher.to_async(runtime).iter(|| {
            let key = next.next().expect("a cycle has no end");
            let cache = &cache;
            async move {
                let (value, tier) = cache.get(key).await.expect("it is there");
                assert_eq!(tier, Tier::L2);
                black_box(value)
            }
        });
    });

    for (name, tags) in [
        ("get_or_load", &[] as &[Tag<'_>]),
        ("get_or_load_tagged", &TAGS),
    ] {
        runtime.block_on(put(&cache, &keys, tags, value));
        let mut next = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.to_async(runtime).iter(|| {
                let key = next.next().expect("a cycle has no end");
                let cache = &cache;
                async move {
                    let loader = async || Ok::<_, Infallible>(Bytes::new());
                    let got = cache.get_or_load_tagged(Kind::Detail, key, tags, loader);
                    let (value, tier) = got.await.expect("it is there");
                    assert_eq!(tier, Tier::L2);
                    black_box(value)
                }
            });
        });
    }

    let mut connection = connection(runtime, server);
    runtime.block_on(async {
        for key in &keys {
            let mut set = redis::cmd("SET");
            let set = set.arg(key).arg(value.as_ref());
            let _: () = set.query_async(&mut connection).await.expect("it is set");
        }
    });
    let mut next = keys.iter().cycle();
    group.bench_function("get_redis", |bencher| {
        bencher.to_async(runtime).iter(|| {
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

fn misses(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, server: &Redis) {
    let cache = tiers(runtime, server, &CacheSettings::default());
    group.bench_function("miss_single_flight", |bencher| {
        bencher.to_async(runtime).iter(async || {
            let loader = async || {
                // One turn of the runtime is enough for all others to arrive.
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(value())
            };
            let all = join_all((0..TASKS).map(|_| cache.get_or_load(Kind::List, "k", loader)));
            black_box(all.await);
            cache.invalidate("k").await;
        });
    });
    runtime.block_on(cache.close());

    let connection = connection(runtime, server);
    group.bench_function("miss_single_flight_redis", |bencher| {
        bencher.to_async(runtime).iter(async || {
            let get = async || {
                let mut get = redis::cmd("GET");
                let got: Option<Vec<u8>> = asked(get.arg("bare"), &connection).await;
                got
            };
            black_box(join_all((0..TASKS).map(|_| get())).await);
            set("bare", &connection).await;
            let _: u64 = asked(redis::cmd("UNLINK").arg("bare"), &connection).await;
        });
    });
}

fn invalidations(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, server: &Redis) {
    let settings = CacheSettings {
        l1_entries: TAGGED as u64,
        ..CacheSettings::default()
    };
    let cache = tiers(runtime, server, &settings);
    let keys: Vec<String> = (0..TAGGED).map(|key| format!("client:{key}")).collect();
    group.bench_function("invalidate_tag_10k", |bencher| {
        bencher.to_async(runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let put = |key| cache.put_tagged(Kind::Detail, key, &TAGS, value());
                each(&keys).for_each_concurrent(TASKS, put).await;
                let begun = Instant::now();
                cache.invalidate_tag("clients").await;
                elapsed += begun.elapsed();
                assert!(cache.get(&keys[0]).await.is_none());
            }
            elapsed
        });
    });
    runtime.block_on(cache.close());

    let connection = connection(runtime, server);
    group.bench_function("invalidate_tag_10k_redis", |bencher| {
        bencher.to_async(runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let put = |key| set(key, &connection);
                each(&keys).for_each_concurrent(TASKS, put).await;
                let begun = Instant::now();
                let gone: usize = asked(redis::cmd("UNLINK").arg(&keys), &connection).await;
                elapsed += begun.elapsed();
                assert_eq!(gone, TAGGED);
            }
            elapsed
        });
    });
}

fn warm_ups(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, server: &Redis) {
    let settings = CacheSettings::default();
    let cache = tiers(runtime, server, &settings);
    let keys: Vec<String> = (0..WARMED).map(|key| format!("client:{key}")).collect();
    let mut plan = Plan::default();
    plan.extend(keys.iter().map(|key| {
        let loader = || async { Ok(value()) };
        Item::new(key.clone(), Kind::Detail, Priority::High, loader)
    }));
    group.bench_function("warm_up", |bencher| {
        bencher.to_async(runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                cache.clear().await;
                let plan = plan.clone();
                let begun = Instant::now();
                let warm_up = WarmUp::start(&cache, plan.ordered(WARMED as u64), &settings.warming);
                let progress = WarmUp::ended(warm_up.watch()).await;
                elapsed += begun.elapsed();
                assert_eq!(progress.done, WARMED as u64);
            }
            elapsed
        });
    });
    runtime.block_on(cache.close());

    let connection = connection(runtime, server);
    let concurrency = settings.warming.concurrency;
    group.bench_function("warm_up_redis", |bencher| {
        bencher.to_async(runtime).iter(async || {
            let put = |key| set(key, &connection);
            each(&keys).for_each_concurrent(concurrency, put).await;
        });
    });
}

fn each(keys: &[String]) -> impl Stream<Item = &str> {
    stream::iter(keys.iter().map(String::as_str))
}

async fn set(key: &str, connection: &MultiplexedConnection) {
    let mut set = redis::cmd("SET");
    let set = set.arg(key).arg(value().as_ref());
    asked(set, connection).await
}

async fn asked<T: redis::FromRedisValue>(
    command: &redis::Cmd,
    connection: &MultiplexedConnection,
) -> T {
    let answer = command.query_async(&mut connection.clone()).await;
    answer.expect("it answers")
}
