//! What an invalidation reaches, in both tiers and in every process; and how values lie in Redis.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use plimsoll::datalayer::cache::{
    Kind, MemoryTier, Pattern, RedisTier, Scope, SecondTier, Tag, Tier, TieredCache,
};
use plimsoll::datalayer::config::CacheSettings;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use support::servers::Redis;
use support::wait;
use support::way::Way;

const MS: Duration = Duration::from_millis(1);
/// What has to happen by itself has so long for it.
const SOON: Duration = Duration::from_secs(10);

async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    wait::until_async(what, SOON, condition).await.unwrap();
}

fn settings() -> CacheSettings {
    CacheSettings {
        l2_timeout_ms: 200,
        l2_retry_max_ms: 400,
        l2_beat_ms: 50,
        ..CacheSettings::default()
    }
}

async fn cache_at(url: &str) -> TieredCache {
    let tier = RedisTier::connect(url, &settings()).unwrap();
    let cache = TieredCache::new(&settings(), Some(Arc::new(tier)));
    in_use(&cache).await;
    cache
}

async fn in_use(cache: &TieredCache) {
    eventually("the second tier is used", async || {
        cache.stats().await.l2_available
    })
    .await;
}

/// Two caches with first tiers of their own on one second tier, as two processes have them.
struct Pair {
    one: TieredCache,
    other: TieredCache,
}

impl Pair {
    fn embedded() -> Self {
        let tier: Arc<dyn SecondTier> = Arc::new(MemoryTier::new(&settings()));
        Self {
            one: TieredCache::new(&settings(), Some(Arc::clone(&tier))),
            other: TieredCache::new(&settings(), Some(tier)),
        }
    }

    async fn on(redis: &Redis) -> Self {
        Self {
            one: cache_at(&redis.url()).await,
            other: cache_at(&redis.url()).await,
        }
    }

    /// Has both first tiers hold values: without tags, with one, and of a family.
    async fn fill(&self) {
        for cache in [&self.one, &self.other] {
            for (key, tags) in VALUES {
                load(cache, key, tags, "old").await;
                let found = cache.get(key).await;
                assert_eq!(found, Some((Bytes::from_static(b"old"), Tier::L1)), "{key}");
            }
        }
    }

    /// After a change by `one`: these keys are gone from every tier, and all others are still where
    /// they were.
    async fn check(&self, what: &str, gone: &[&str]) {
        for (key, _) in VALUES {
            if gone.contains(key) {
                assert_eq!(self.one.get(key).await, None, "{what}: {key} in one");
                let heard = async || self.other.get(key).await.is_none();
                eventually(&format!("{what}: {key} gone in the other"), heard).await;
            }
        }
        for (key, _) in VALUES.iter().filter(|(key, _)| !gone.contains(key)) {
            for cache in [&self.one, &self.other] {
                let tier = cache.get(key).await.map(|found| found.1);
                assert_eq!(tier, Some(Tier::L1), "{what}: {key}");
            }
        }
    }
}

const VALUES: &[(&str, &[Tag<'static>])] = &[
    ("client:7", &[]),
    ("client:77", &[]),
    ("clients?a", &[Tag::Named("lists")]),
    ("clients?b", &[Tag::Named("lists"), Tag::Named("b")]),
    ("visits", &[Tag::ChildOf("client:7")]),
    ("bill", &[Tag::ChildOf("visits"), Tag::ChildOf("client:7")]),
    ("named", &[Tag::Named("client:7")]),
];

async fn load(
    cache: &TieredCache,
    key: &str,
    tags: &[Tag<'_>],
    value: &'static str,
) -> (Bytes, Tier) {
    let loader = async || Ok::<_, Infallible>(Bytes::from_static(value.as_bytes()));
    let loaded = cache.get_or_load_tagged(Kind::Detail, key, tags, loader);
    loaded.await.unwrap()
}

fn text(value: &'static str) -> Bytes {
    Bytes::from_static(value.as_bytes())
}

/// What holds of every second tier.
async fn reaches_what_it_should(pair: &Pair) {
    let Pair { one, other } = pair;
    pair.fill().await;
    one.invalidate("client:7").await;
    pair.check("a key", &["client:7"]).await;

    pair.fill().await;
    one.invalidate_tag("lists").await;
    pair.check("a tag", &["clients?a", "clients?b"]).await;

    pair.fill().await;
    one.invalidate_tag("b").await;
    pair.check("another tag", &["clients?b"]).await;

    pair.fill().await;
    one.invalidate_pattern("client:*").await;
    pair.check("a pattern", &["client:7", "client:77"]).await;

    pair.fill().await;
    one.invalidate_pattern("client?[a-b]").await;
    pair.check("a pattern that means nothing special", &[])
        .await;

    pair.fill().await;
    one.invalidate_family("visits").await;
    pair.check("a family", &["visits", "bill"]).await;

    pair.fill().await;
    one.invalidate_family("client:7").await;
    let family = ["client:7", "visits", "bill"];
    pair.check("a larger family", &family).await;

    pair.fill().await;
    let scopes = [
        Scope::Tag("lists".to_owned()),
        Scope::Key("client:77".to_owned()),
    ];
    one.invalidate_scopes(&scopes).await;
    let gone = ["clients?a", "clients?b", "client:77"];
    pair.check("several at once", &gone).await;

    pair.fill().await;
    one.clear().await;
    let all: Vec<&str> = VALUES.iter().map(|(key, _)| *key).collect();
    pair.check("everything", &all).await;

    // A write is heard, and who wrote keeps what it wrote.
    pair.fill().await;
    let tags = [Tag::Named("lists")];
    one.put_tagged(Kind::Detail, "client:7", &tags, text("new"))
        .await;
    assert_eq!(one.get("client:7").await, Some((text("new"), Tier::L1)));
    eventually("a write is heard", async || {
        other.get("client:7").await.unwrap().0 == "new"
    })
    .await;

    // The other has it from the second tier now, whose tags it was not told.
    assert_eq!(other.get("client:7").await.unwrap().1, Tier::L1);
    one.invalidate_tag("lists").await;
    assert_eq!(one.get("client:7").await, None);
    eventually("the tag of a promoted value is heard", async || {
        other.get("client:7").await.is_none()
    })
    .await;

    // What is stored under a tag that was invalidated before is good.
    assert_eq!(load(one, "client:7", &tags, "newer").await.1, Tier::Loader);
    assert_eq!(
        load(other, "client:7", &tags, "not asked").await,
        (text("newer"), Tier::L2)
    );
    one.clear().await;
}

/// A load that has begun, and ends when the sender says so.
async fn begun(
    cache: &TieredCache,
    key: &'static str,
    tags: &'static [Tag<'static>],
) -> (oneshot::Sender<()>, JoinHandle<(Bytes, Tier)>) {
    let (go, wait) = oneshot::channel();
    let (began, beginning) = oneshot::channel();
    let cache = cache.clone();
    let task = tokio::spawn(async move {
        let loader = async move || {
            began.send(()).unwrap();
            wait.await.unwrap();
            Ok::<_, Infallible>(text("old"))
        };
        let loaded = cache.get_or_load_tagged(Kind::Detail, key, tags, loader);
        loaded.await.unwrap()
    });
    beginning.await.unwrap();
    (go, task)
}

/// What was being loaded while it was invalidated, here or elsewhere, is kept by no tier.
async fn voids_what_is_being_loaded(pair: &Pair) {
    let Pair { one, other } = pair;
    let tags = &[Tag::Named("t"), Tag::ChildOf("parent")];
    let scopes = [
        Scope::Key("k".to_owned()),
        Scope::Tag("t".to_owned()),
        Scope::Family("parent".to_owned()),
        Scope::Pattern(Pattern::new("k*")),
        Scope::All,
    ];
    for scope in &scopes {
        for changed_by in [one, other] {
            let (go, task) = begun(one, "k", tags).await;
            changed_by
                .invalidate_scopes(std::slice::from_ref(scope))
                .await;
            // Who asks now is not given what was there before, and does not wait for it either.
            if std::ptr::eq(changed_by, one) {
                let after = load(one, "k", tags, "new").await;
                assert_eq!(after, (text("new"), Tier::Loader), "{scope:?}");
                one.invalidate("k").await;
            }
            go.send(()).unwrap();
            assert_eq!(task.await.unwrap(), (text("old"), Tier::Loader));
            assert_eq!(one.get("k").await, None, "{scope:?}");
            assert_eq!(other.get("k").await, None, "{scope:?}");
        }
    }
    // What has nothing to do with it is kept; nothing of what was done before is still to be heard.
    eventually("all is heard", async || {
        one.stats().await.heard == scopes.len() as u64
    })
    .await;
    let (go, task) = begun(one, "k", tags).await;
    other.invalidate_tag("another").await;
    go.send(()).unwrap();
    task.await.unwrap();
    assert_eq!(one.get("k").await, Some((text("old"), Tier::L1)));
    assert_eq!(other.get("k").await, Some((text("old"), Tier::L2)));
    one.clear().await;
}

#[tokio::test]
async fn an_invalidation_reaches_both_tiers_of_every_process() {
    reaches_what_it_should(&Pair::embedded()).await;
    let redis = Redis::start().unwrap();
    reaches_what_it_should(&Pair::on(&redis).await).await;
}

#[tokio::test]
async fn what_is_being_loaded_while_it_is_invalidated_is_not_kept() {
    voids_what_is_being_loaded(&Pair::embedded()).await;
    let redis = Redis::start().unwrap();
    voids_what_is_being_loaded(&Pair::on(&redis).await).await;
}

/// Whatever the interleaving of loads, promotions and invalidations, the last write is seen in the end.
#[tokio::test]
async fn readers_and_writers_at_once_leave_nothing_stale() {
    let redis = Redis::start().unwrap();
    for pair in [Pair::embedded(), Pair::on(&redis).await] {
        let truth = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for reader in 0..8 {
            let cache = [&pair.one, &pair.other][reader % 2].clone();
            let truth = Arc::clone(&truth);
            tasks.spawn(async move {
                for _ in 0..200 {
                    read(&cache, &truth).await;
                }
            });
        }
        for round in 1..=100 {
            truth.store(round, Ordering::SeqCst);
            let writer = [&pair.one, &pair.other][round as usize % 2];
            writer.invalidate_tag("counter").await;
            sleep(MS).await;
        }
        tasks.join_all().await;
        for cache in [&pair.one, &pair.other] {
            eventually("the last write is seen", async || {
                read(cache, &truth).await == "100"
            })
            .await;
        }
    }
}

async fn read(cache: &TieredCache, truth: &Arc<AtomicU64>) -> Bytes {
    let truth = Arc::clone(truth);
    let loader = async move || {
        let value = truth.load(Ordering::SeqCst);
        sleep(MS).await;
        Ok::<_, Infallible>(Bytes::from(value.to_string()))
    };
    let tags = [Tag::Named("counter")];
    let loaded = cache.get_or_load_tagged(Kind::Detail, "counter", &tags, loader);
    loaded.await.unwrap().0
}

async fn raw(redis: &Redis, command: &[&str]) -> redis::Value {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (name, arguments) = command.split_first().unwrap();
    let mut command = redis::cmd(name);
    let answer = command.arg(arguments).query_async(&mut connection).await;
    answer.unwrap()
}

async fn integer(redis: &Redis, command: &[&str]) -> i64 {
    redis::from_redis_value(raw(redis, command).await).unwrap()
}

async fn bytes(redis: &Redis, command: &[&str]) -> Vec<u8> {
    redis::from_redis_value(raw(redis, command).await).unwrap()
}

/// How often the server was told to remove keys.
async fn unlinks(redis: &Redis) -> u64 {
    let info = bytes(redis, &["INFO", "commandstats"]).await;
    let info = String::from_utf8(info).unwrap();
    let calls = info.split("cmdstat_unlink:calls=").nth(1);
    let calls = calls.and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn ten_thousand_keys_go_without_stopping_the_server() {
    let redis = Redis::start().unwrap();
    let tier = RedisTier::connect(&redis.url(), &settings()).unwrap();
    let hour = 3_600_000 * MS;
    let (tag, others) = (["name:t".into()], ["name:u".into()]);
    for number in 0..10_000 {
        let key = format!("client:{number}");
        tier.put("", &key, &text("v"), hour, &tag).await.unwrap();
    }
    tier.put("", "other", &text("v"), hour, &others)
        .await
        .unwrap();
    // In microseconds; all that took longer is in the log.
    let slow = ["CONFIG", "SET", "slowlog-log-slower-than", "100000"];
    raw(&redis, &slow).await;
    raw(&redis, &["SLOWLOG", "RESET"]).await;
    let there = async || {
        let mut there = 0;
        for number in 0..10_000 {
            let found = tier.get(&format!("client:{number}")).await.unwrap();
            there += u32::from(found.is_some());
        }
        there
    };
    assert_eq!(there().await, 10_000);
    let before = unlinks(&redis).await;
    let scope = Scope::Tag("t".to_owned());
    tier.invalidate("", &[scope]).await.unwrap();
    assert_eq!(unlinks(&redis).await - before, 1, "one for all of them");
    assert_eq!(there().await, 0);
    assert!(tier.get("other").await.unwrap().is_some());
    // What was asked for after its tag was invalidated does not lie about until its time is over.
    let left = integer(&redis, &["DBSIZE"]).await;
    assert!(left <= 3, "{left} keys");

    for number in 0..10_000 {
        let key = format!("client:{number}");
        tier.put("", &key, &text("v"), hour, &[]).await.unwrap();
    }
    let before = unlinks(&redis).await;
    let scope = Scope::Pattern(Pattern::new("client:*"));
    tier.invalidate("", &[scope]).await.unwrap();
    let batches = unlinks(&redis).await - before;
    assert!((10..10_000).contains(&batches), "{batches} batches");
    assert_eq!(there().await, 0);
    assert!(tier.get("other").await.unwrap().is_some());
    assert_eq!(
        integer(&redis, &["SLOWLOG", "LEN"]).await,
        0,
        "it was stopped"
    );
}

#[tokio::test]
async fn a_tag_that_the_server_evicted_takes_its_values_along() {
    let redis = Redis::start().unwrap();
    let Pair { one, other } = Pair::on(&redis).await;
    let tags = [Tag::Named("t")];
    load(&one, "k", &tags, "v").await;
    raw(&redis, &["DEL", "refservice:tag:name:t"]).await;
    assert_eq!(other.get("k").await, None);
    // A version never comes again.
    load(&other, "l", &tags, "v").await;
    assert_eq!(load(&other, "k", &tags, "new").await.1, Tier::Loader);
}

#[tokio::test]
async fn every_kind_lives_as_long_in_redis_as_its_setting_says() {
    let redis = Redis::start().unwrap();
    let cache = cache_at(&redis.url()).await;
    // As FEATURES.md has them, in seconds.
    let lifetimes = [
        (Kind::List, 1800),
        (Kind::Detail, 3600),
        (Kind::User, 900),
        (Kind::Analytics, 7200),
        (Kind::Dashboard, 300),
        (Kind::Reference, 86_400),
        (Kind::Other, 300),
    ];
    assert_eq!(lifetimes.map(|(kind, _)| kind), Kind::ALL);
    for (kind, expected_s) in lifetimes {
        let expected = expected_s * 1000;
        let (loaded, put) = (format!("loaded {kind:?}"), format!("put {kind:?}"));
        let loader = async || Ok::<_, Infallible>(text("v"));
        let tags = [Tag::Named("t")];
        let load = cache.get_or_load_tagged(kind, &loaded, &tags, loader);
        load.await.unwrap();
        cache.put(kind, &put, text("v")).await;
        for key in [loaded, put] {
            let ttl = integer(&redis, &["PTTL", &format!("refservice:v1:{key}")]).await;
            assert!((expected - 5000..=expected).contains(&ttl), "{key}: {ttl}");
        }
    }
    // The version of a tag lives as long as the last of its values.
    let longest = 86_400_000;
    let ttl = integer(&redis, &["PTTL", "refservice:tag:name:t"]).await;
    assert!((longest - 5000..=longest).contains(&ttl), "{ttl}");
}

/// A value of JSON as the service has it, of about so many bytes.
fn json(length: usize) -> Bytes {
    let objects = (0..).map(|id| format!("{{\"id\":{id},\"city\":\"Bandung\"}},"));
    let mut text = String::new();
    for object in objects {
        if text.len() + object.len() > length {
            break;
        }
        text += &object;
    }
    text += &" ".repeat(length - text.len());
    text.into()
}

#[tokio::test]
async fn large_values_are_compressed_in_redis_and_small_ones_are_not() {
    const KIB: usize = 1024;
    let redis = Redis::start().unwrap();
    let Pair { one, other } = Pair::on(&redis).await;
    let check = async |length: usize, compressed: bool| {
        let value = json(length);
        let stored = format!("refservice:v1:{length}");
        let loader = {
            let value = value.clone();
            async move || Ok::<_, Infallible>(value)
        };
        let key = length.to_string();
        one.get_or_load(Kind::List, &key, loader).await.unwrap();
        assert_eq!(other.get(&key).await, Some((value.clone(), Tier::L2)));
        let in_redis = bytes(&redis, &["GET", &stored]).await;
        match compressed {
            true => assert!(in_redis.len() < length / 2, "{} bytes", in_redis.len()),
            false => assert_eq!(in_redis, value),
        }
        // The same when it is put, and with a tag.
        one.put(Kind::List, &key, value.clone()).await;
        assert_eq!(bytes(&redis, &["GET", &stored]).await, in_redis);
        let tags = [Tag::Named("t")];
        one.put_tagged(Kind::List, &key, &tags, value.clone()).await;
        let tagged = integer(&redis, &["STRLEN", &stored]).await;
        assert_eq!(tagged < (length / 2) as i64, compressed, "{tagged} bytes");
        eventually("it is read from the second tier again", async || {
            let found = other.get(&key).await.unwrap();
            assert_eq!(found.0, value);
            found.1 == Tier::L2
        })
        .await;
    };
    check(1000, false).await;
    check(100 * KIB, false).await;
    check(100 * KIB + 1, true).await;
    check(200 * KIB, true).await;
}

#[tokio::test]
async fn a_corrupt_value_is_a_miss_and_is_counted() {
    let redis = Redis::start().unwrap();
    let Pair { one, other } = Pair::on(&redis).await;
    let good = json(200 * 1024);
    let key = "refservice:v1:k";
    let mut errors = 0;
    // Of the tags' length, of the value's length, of the body, and what claims to be gigabytes.
    for (at, bytes) in [
        ("5", "\u{7f}\u{7f}\u{7f}\u{7f}"),
        ("9", "\u{1}"),
        ("12", "\u{7f}"),
        ("4", "\u{7}"),
        ("20", "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}"),
    ] {
        one.put(Kind::List, "k", good.clone()).await;
        raw(&redis, &["SETRANGE", key, at, bytes]).await;
        let fresh = json(200 * 1024 + 1);
        let loader = {
            let fresh = fresh.clone();
            async move || Ok::<_, Infallible>(fresh)
        };
        eventually("the put is heard", async || {
            other.stats().await.heard > errors
        })
        .await;
        let loaded = other.get_or_load(Kind::List, "k", loader).await.unwrap();
        assert_eq!(loaded, (fresh, Tier::Loader), "changed at {at}");
        errors += 1;
        let stats = other.stats().await;
        assert_eq!((stats.l2_errors, stats.l2_outages), (errors, 0));
        let exists = integer(&redis, &["EXISTS", key]).await;
        assert_eq!(exists, 0, "it is not found again");
    }
}

#[tokio::test]
async fn a_broken_subscription_empties_the_first_tier_once_it_is_back() {
    let redis = Redis::start().unwrap();
    let Pair { one, other } = Pair::on(&redis).await;
    assert_eq!(one.stats().await.gaps, 1, "at the start");
    for round in 2..5 {
        load(&one, "k", &[], "old").await;
        assert_eq!(one.get("k").await.unwrap().1, Tier::L1);
        raw(&redis, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        other.invalidate("k").await;
        eventually("what was missed is not served", async || {
            one.get("k").await.is_none()
        })
        .await;
        eventually("it listens again", async || one.stats().await.gaps == round).await;
        in_use(&one).await;
        in_use(&other).await;
    }
    assert_eq!(one.stats().await.l2_outages, 0);
}

#[tokio::test]
async fn a_subscription_that_hangs_is_noticed() {
    let redis = Redis::start().unwrap();
    let way = Way::to(&redis.url()).await.unwrap();
    let one = cache_at(&way.url()).await;
    let other = cache_at(&redis.url()).await;
    load(&one, "k", &[], "old").await;
    assert_eq!(one.get("k").await.unwrap().1, Tier::L1);
    way.hold();
    other.invalidate("k").await;
    eventually("what was missed is not served", async || {
        one.get("k").await.is_none()
    })
    .await;
    eventually("it listens again", async || one.stats().await.gaps == 2).await;
}

#[tokio::test]
async fn a_user_who_may_not_subscribe_is_served_without_the_second_tier() {
    let redis = Redis::start().unwrap();
    let rules = ["on", ">secret", "~*", "+@all", "resetchannels"];
    raw(&redis, &[&["ACL", "SETUSER", "deaf"], &rules[..]].concat()).await;
    let url = redis.url().replace("redis://", "redis://deaf:secret@");
    let tier = RedisTier::connect(&url, &settings()).unwrap();
    let cache = TieredCache::new(&settings(), Some(Arc::new(tier)));
    for _ in 0..50 {
        load(&cache, "k", &[], "v").await;
        sleep(5 * MS).await;
    }
    let stats = cache.stats().await;
    assert_eq!(
        (stats.loads, stats.l1.hits),
        (1, 49),
        "the first tier works"
    );
    assert!(!stats.l2_available && stats.gaps == 0, "{stats:?}");
    raw(&redis, &["ACL", "SETUSER", "deaf", "&refservice:*"]).await;
    in_use(&cache).await;
}

#[tokio::test]
async fn an_invalidation_that_redis_missed_is_told_and_heard_when_it_is_back() {
    let redis = Redis::start().unwrap();
    let Pair { one, other } = Pair::on(&redis).await;
    let tags = [Tag::Named("t")];
    for cache in [&one, &other] {
        load(cache, "k", &tags, "old").await;
    }
    redis.pause().unwrap();
    one.invalidate_tag("t").await;
    assert_eq!(one.stats().await.l2_outages, 1, "it was not told");
    redis.resume().unwrap();
    eventually("the other hears of it", async || {
        other.get("k").await.is_none()
    })
    .await;
    in_use(&one).await;
    assert_eq!(one.get("k").await, None);
}

/// A value that was put over a connection which hung comes late, after its key was changed.
#[tokio::test]
async fn a_put_that_comes_late_replaces_nothing() {
    let redis = Redis::start().unwrap();
    let way = Way::to(&redis.url()).await.unwrap();
    let one = cache_at(&way.url()).await;
    let tier = RedisTier::connect(&redis.url(), &settings()).unwrap();
    one.put(Kind::Detail, "k", text("before")).await;
    // A put says two things to Redis; the first is answered, the second hangs.
    way.delay(100 * MS);
    let put = tokio::spawn({
        let one = one.clone();
        async move { one.put(Kind::Detail, "k", text("late")).await }
    });
    sleep(50 * MS).await;
    way.hold_questions();
    put.await.unwrap();
    way.delay(Duration::ZERO);
    // It is told over another connection that this key has changed.
    in_use(&one).await;
    tier.put("", "k", &text("new"), 60_000 * MS, &[])
        .await
        .unwrap();
    way.let_go();
    sleep(200 * MS).await;
    let found = tier.get("k").await.unwrap().unwrap();
    assert_eq!(found.value, "new");
}
