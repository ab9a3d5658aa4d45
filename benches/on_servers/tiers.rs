//! The two tiers with Redis as the second one.
//!
//! `l2/get`, `l2/get_or_load` and `l2/get_or_load_tagged` (two tags, as the service has them) stand beside
//! `l2/get_redis`, a bare `GET`. The first tier has no room, so that the second is asked each time.

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use plimsoll::datalayer::cache::{Kind, Tag, Tier};
use plimsoll::datalayer::config::CacheSettings;
use tokio::runtime::Runtime;

use crate::common;
use crate::second_tier::{VALUE_BYTES, connection, keys, put, tiers, value};
use crate::servers::Redis;

const TAGS: [Tag<'_>; 2] = [Tag::Named("clients"), Tag::Named("tenant:7")];

pub(crate) fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Redis::start().expect("redis-server is installed");
    second_tier(criterion, &runtime, &server, &value());
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
