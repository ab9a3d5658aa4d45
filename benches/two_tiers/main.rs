//! The two tiers, moka in front of Redis, beside those of the crate multi-tier-cache: started here, on a free port.
//!
//! What ends in `_multi_tier_cache` is that crate with its own moka and Redis. `first_tier` has hits in memory,
//! `second_tier` hits that only Redis has, which stand beside `second_tier/get_redis`, a bare `GET`, too. Both
//! keep bytes and give them out shared, so neither side reads JSON here. What they do for a hit differs:
//!
//! - In Redis, ours runs a script, which compares the versions of the value's tags; theirs sends `GET` and `PTTL`
//!   as one pipeline, and knows no tags.
//! - `get_or_load` of ours goes on in a task of its own when its caller goes away, and is shared with other
//!   processes; theirs, `get_or_compute_with`, is its caller's, and shared within the process.
//! - Ours promotes each hit of the second tier; theirs one in ten of `get`, and each of `get_or_compute_with`.

#[path = "../common.rs"]
mod common;
#[path = "../second_tier.rs"]
mod second_tier;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/support/servers.rs"]
mod servers;

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use multi_tier_cache::{
    CacheError, CacheManager, CacheStrategy, MokaCache, MokaCacheConfig, RedisCache,
};
use plimsoll::datalayer::cache::{Kind, Tag, Tier};
use plimsoll::datalayer::config::CacheSettings;
use second_tier::{KEYS, VALUE_BYTES, connection, keys, put, tiers, value};
use servers::Redis;
use tokio::runtime::Runtime;

/// Ours belong to none: theirs cannot.
const TAGS: [Tag<'_>; 0] = [];

fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Redis::start().expect("redis-server is installed");
    let keys = keys();

    let mut group = criterion.benchmark_group("first_tier");
    // With more room than keys no policy has to choose among them.
    let room = 2 * KEYS as u64;
    hits(&mut group, &runtime, &server, &keys, (Tier::L1, room));
    group.finish();

    let mut group = criterion.benchmark_group("second_tier");
    // moka without room takes nothing at all, neither what is put nor what is promoted, and both ask it the same way.
    hits(&mut group, &runtime, &server, &keys, (Tier::L2, 0));
    let connection = connection(&runtime, &server);
    // They are there: the other crate stores each under its key, as it is.
    in_turn(&mut group, &runtime, "get_redis", &keys, async |key| {
        let mut connection = connection.clone();
        let mut get = redis::cmd("GET");
        let got = get.arg(key).query_async(&mut connection);
        got.await.map(|got: Vec<u8>| got).expect("it is there")
    });
    group.finish();
}

/// Hits of both in this tier, with a first one of so many entries.
fn hits(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    server: &Redis,
    keys: &[String],
    (tier, l1_entries): (Tier, u64),
) {
    let settings = CacheSettings {
        l1_entries,
        ..CacheSettings::default()
    };
    let ours = tiers(runtime, server, &settings);
    let theirs = runtime.block_on(peer(server, l1_entries));
    runtime.block_on(put(&ours, keys, &TAGS, &value()));
    runtime.block_on(put_in_peer(&theirs, keys));

    in_turn(group, runtime, "get", keys, async |key| {
        let (value, from) = ours.get(key).await.expect("it is there");
        assert_eq!(from, tier);
        value
    });
    in_turn(group, runtime, "get_multi_tier_cache", keys, async |key| {
        let got = theirs.get(key).await.expect("it answers");
        got.expect("it is there")
    });

    in_turn(group, runtime, "get_or_load", keys, async |key| {
        let loader = async || Err::<Bytes, _>("there is nothing to load");
        let got = ours.get_or_load(Kind::Detail, key, loader).await;
        let (value, from) = got.expect("it is there");
        assert_eq!(from, tier);
        value
    });
    let name = "get_or_load_multi_tier_cache";
    in_turn(group, runtime, name, keys, async |key| {
        let loader = async || Err(CacheError::NotFound);
        let got = theirs.get_or_compute_with(key, CacheStrategy::MediumTerm, loader);
        got.await.expect("it is there")
    });

    // Theirs does not say which tier had a value, but counts.
    let stats = theirs.get_stats();
    let hits = match tier {
        Tier::L1 => stats.l1_hits,
        Tier::L2 => stats.l2_hits,
        Tier::Loader => stats.misses,
    };
    assert_eq!(hits, stats.total_requests, "{stats:?}");
    runtime.block_on(ours.close());
}

/// Each in the same way: the next key, and a look at how long its value is.
fn in_turn<T: AsRef<[u8]>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    keys: &[String],
    get: impl AsyncFn(&str) -> T,
) {
    let mut next = keys.iter().cycle();
    group.bench_function(name, |bencher| {
        bencher.to_async(runtime).iter(|| {
            let key = next.next().expect("a cycle has no end");
            let get = &get;
            async move {
                let got = get(key).await;
                assert_eq!(got.as_ref().len(), VALUE_BYTES);
                black_box(got)
            }
        });
    });
}

/// As its `CacheSystem` makes it, but for the room of the first tier.
async fn peer(server: &Redis, l1_entries: u64) -> CacheManager {
    let first = MokaCache::new(MokaCacheConfig {
        max_capacity: l1_entries,
        ..MokaCacheConfig::default()
    });
    let first = first.expect("the settings are good");
    let second = RedisCache::with_url(&server.url()).await;
    let second = second.expect("it answers");
    let cache = CacheManager::new(Arc::new(first), Arc::new(second)).await;
    cache.expect("both tiers are there")
}

/// For an hour, as ours keeps them.
async fn put_in_peer(cache: &CacheManager, keys: &[String]) {
    let value = value();
    for key in keys {
        let put = cache.set_with_strategy(key, value.clone(), CacheStrategy::MediumTerm);
        put.await.expect("it is set");
    }
}

criterion_group! {
    name = all;
    config = common::config();
    targets = benches
}
criterion_main!(all);
