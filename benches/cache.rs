//! The cache: a hit in either tier, and many who miss together.
//!
//! What ends in `_moka` is the first tier's crate alone, so that the difference is what this layer costs;
//! `cache/get_hot_quick_cache` is another crate for such a tier. `benches/on_servers` has the second tier in
//! Redis.

mod common;

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use plimsoll::datalayer::cache::warming::{Item, Plan, Priority, WarmUp};
use plimsoll::datalayer::cache::{Kind, MemoryTier, SecondTier, Tag, TieredCache};
use plimsoll::datalayer::config::CacheSettings;
use tokio::runtime::Runtime;

/// The size of a JSON object with a dozen fields.
const VALUE_BYTES: usize = 512;
/// What every loader gives.
static VALUE: [u8; VALUE_BYTES] = [b'x'; VALUE_BYTES];
/// Keys in turn: more than the first tier keeps, where it has to miss.
const KEYS: usize = 1024;
/// Tasks that miss one key together.
const TASKS: usize = 64;
/// Keys that one tag takes away.
const TAGGED: usize = 10_000;
/// Keys that a warm-up brings: as many as the first tier keeps by default.
const WARMED: usize = 1000;

fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let mut group = criterion.benchmark_group("cache");
    let value = Bytes::copy_from_slice(&VALUE);
    let keys: Vec<String> = (0..KEYS)
        .map(|key| format!("tenant:7:client:{key}"))
        .collect();
    let hot = keys[0].as_str();

    let settings = CacheSettings::default();
    let cache = TieredCache::new(&settings, Some(Arc::new(MemoryTier::new(&settings))));
    runtime.block_on(cache.put(Kind::Detail, hot, value.clone()));
    group.bench_function("get_hot", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let loader = async || Ok::<_, Infallible>(Bytes::from_static(&VALUE));
            black_box(
                cache
                    .get_or_load(Kind::Detail, black_box(hot), loader)
                    .await,
            )
        });
    });

    let moka = moka::future::Cache::<Arc<str>, Bytes>::new(settings.l1_entries);
    runtime.block_on(moka.insert(hot.into(), value.clone()));
    group.bench_function("get_hot_moka", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || black_box(moka.get(black_box(hot)).await));
    });

    let quick = quick_cache::sync::Cache::<Arc<str>, Bytes>::new(settings.l1_entries as usize);
    quick.insert(hot.into(), value.clone());
    group.bench_function("get_hot_quick_cache", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || black_box(quick.get(black_box(hot))));
    });

    let tier = Arc::new(MemoryTier::new(&settings));
    for key in &keys {
        let ttl = Duration::from_secs(3600);
        runtime
            .block_on(tier.put("", key, &value, ttl, &[]))
            .expect("the embedded tier is never away");
    }
    let no_room = CacheSettings {
        l1_entries: 1,
        ..CacheSettings::default()
    };
    let cache = TieredCache::new(&no_room, Some(tier));
    group.bench_function("l2_hit", |bencher| {
        let mut next = keys.iter().cycle();
        bencher.to_async(&runtime).iter(|| {
            let key = next.next().expect("a cycle has no end");
            let cache = &cache;
            async move { black_box(cache.get(key).await) }
        });
    });

    let cache = TieredCache::new(&settings, Some(Arc::new(MemoryTier::new(&settings))));
    group.bench_function("miss_single_flight", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let loader = async || {
                // One turn of the runtime is enough for all others to arrive.
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Bytes::from_static(&VALUE))
            };
            let all = join_all((0..TASKS).map(|_| cache.get_or_load(Kind::List, hot, loader)));
            black_box(all.await);
            cache.invalidate(hot).await;
        });
    });

    let key = Arc::<str>::from(hot);
    runtime.block_on(moka.invalidate(hot));
    group.bench_function("miss_single_flight_moka", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let loader = async || {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Bytes::from_static(&VALUE))
            };
            let all = join_all((0..TASKS).map(|_| moka.try_get_with(Arc::clone(&key), loader())));
            black_box(all.await);
            moka.invalidate(hot).await;
        });
    });

    let room = CacheSettings {
        l1_entries: TAGGED as u64,
        ..CacheSettings::default()
    };
    let cache = TieredCache::new(&room, Some(Arc::new(MemoryTier::new(&room))));
    let keys: Vec<String> = (0..TAGGED).map(|key| format!("client:{key}")).collect();
    group.bench_function("invalidate_tag_10k", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                for key in &keys {
                    let tags = [Tag::Named("clients")];
                    cache
                        .put_tagged(Kind::Detail, key, &tags, value.clone())
                        .await;
                }
                let begun = Instant::now();
                cache.invalidate_tag("clients").await;
                elapsed += begun.elapsed();
                assert!(cache.get(&keys[0]).await.is_none());
            }
            elapsed
        });
    });

    let moka = moka::future::Cache::<Arc<str>, Bytes>::builder()
        .max_capacity(TAGGED as u64)
        .support_invalidation_closures()
        .build();
    group.bench_function("invalidate_tag_10k_moka", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                for key in &keys {
                    moka.insert(key.as_str().into(), value.clone()).await;
                }
                let begun = Instant::now();
                let gone = moka.invalidate_entries_if(|key, _| key.starts_with("client:"));
                elapsed += begun.elapsed();
                gone.expect("it is supported");
                assert!(moka.get(keys[0].as_str()).await.is_none());
                // Else it would have as many conditions to look at as there were iterations.
                moka.run_pending_tasks().await;
            }
            elapsed
        });
    });

    warm_up(&mut group, &runtime, &settings);
    group.finish();
}

fn warm_up(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, settings: &CacheSettings) {
    let warming = &settings.warming;
    let mut plan = Plan::default();
    plan.extend((0..WARMED).map(|key| {
        let loader = || async { Ok(Bytes::from_static(&VALUE)) };
        Item::new(warmed(key), Kind::Detail, Priority::High, loader)
    }));
    group.bench_function("warm_up", |bencher| {
        bencher.to_async(runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let tier = Arc::new(MemoryTier::new(settings));
                let cache = TieredCache::new(settings, Some(tier));
                let plan = plan.clone();
                let begun = Instant::now();
                let warm_up = WarmUp::start(&cache, plan.ordered(WARMED as u64), warming);
                let progress = WarmUp::ended(warm_up.watch()).await;
                elapsed += begun.elapsed();
                assert_eq!(progress.done, WARMED as u64);
            }
            elapsed
        });
    });

    let keys: Vec<Arc<str>> = (0..WARMED).map(|key| warmed(key).into()).collect();
    group.bench_function("warm_up_moka", |bencher| {
        bencher.to_async(runtime).iter_custom(async |iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let moka = moka::future::Cache::<Arc<str>, Bytes>::new(settings.l1_entries);
                let begun = Instant::now();
                let load = |key: &Arc<str>| {
                    let loader = async { Ok::<_, Infallible>(Bytes::from_static(&VALUE)) };
                    let (moka, key) = (moka.clone(), Arc::clone(key));
                    async move { moka.try_get_with(key, loader).await }
                };
                let loads = stream::iter(&keys).map(load);
                let loaded = loads.buffer_unordered(warming.concurrency).count().await;
                elapsed += begun.elapsed();
                assert_eq!(loaded, WARMED);
            }
            elapsed
        });
    });
}

fn warmed(key: usize) -> String {
    format!("client:{key}")
}

criterion_group! {
    name = cache;
    config = common::config();
    targets = benches
}
criterion_main!(cache);
