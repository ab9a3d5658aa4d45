//! What the benches share that have Redis as the second tier.

use std::sync::Arc;

use bytes::Bytes;
use plimsoll::datalayer::cache::{Kind, RedisTier, Tag, TieredCache};
use plimsoll::datalayer::config::CacheSettings;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use crate::servers::Redis;

/// Keys in turn.
pub(crate) const KEYS: usize = 1024;
/// The size of a JSON object with a dozen fields.
pub(crate) const VALUE_BYTES: usize = 512;

pub(crate) fn keys() -> Vec<String> {
    (0..KEYS)
        .map(|key| format!("tenant:7:client:{key}"))
        .collect()
}

pub(crate) fn value() -> Bytes {
    Bytes::from(vec![b'x'; VALUE_BYTES])
}

/// As the data layer has them: without waiting for the acknowledgement of the command before.
pub(crate) fn connection(runtime: &Runtime, server: &Redis) -> MultiplexedConnection {
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

pub(crate) fn tiers(runtime: &Runtime, server: &Redis, settings: &CacheSettings) -> TieredCache {
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

pub(crate) async fn put(cache: &TieredCache, keys: &[String], tags: &[Tag<'_>], value: &Bytes) {
    for key in keys {
        let put = cache.put_tagged(Kind::Detail, key, tags, value.clone());
        put.await;
    }
    // Else the first tier gets round to what it has no room for at some time of its own.
    cache.stats().await;
}
