//! The two tiers with Redis as the second one.
//!
//! `l2/get`, `l2/get_or_load` and `l2/get_or_load_tagged` (two tags, as the service has them) stand beside
//! `l2/get_redis`, a bare `GET`. The first tier has no room, so that the second is asked each time.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::Criterion;
use plimsoll::datalayer::cache::{Kind, RedisTier, Tag, Tier, TieredCache};
use plimsoll::datalayer::config::CacheSettings;
use tokio::runtime::Runtime;

use crate::common;
use crate::connection;
use crate::servers::Redis;

/// Keys in turn.
const KEYS: usize = 1024;
/// The size of a JSON object with a dozen fields.
const VALUE_BYTES: usize = 512;
const TAGS: [Tag<'_>; 2] = [Tag::Named("clients"), Tag::Named("tenant:7")];

pub(crate) fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Redis::start().expect("redis-server is installed");
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    second_tier(criterion, &runtime, &server, &value);
}

fn second_tier(criterion: &mut Criterion, runtime: &Runtime, server: &Redis, value: &Bytes) {
    let keys: Vec<String> = (0..KEYS)
        .map(|key| format!("tenant:7:client:{key}"))
        .collect();
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

async fn put(cache: &TieredCache, keys: &[String], tags: &[Tag<'_>], value: &Bytes) {
    for key in keys {
        let put = cache.put_tagged(Kind::Detail, key, tags, value.clone());
        put.await;
    }
    // Else the first tier gets round to what it has no room for at some time of its own.
    cache.stats().await;
}

fn tiers(runtime: &Runtime, server: &Redis, settings: &CacheSettings) -> TieredCache {
    runtime.block_on(async {
        let tier = RedisTier::connect(&server.url(), settings).expect("the address is one");
        let cache = TieredCache::new(settings, Some(Arc::new(tier)));
        // It has no say before it has heard who else uses it.
        while !cache.uses_second_tier() {
            tokio::task::yield_now().await;
        }
        cache
    })
}
