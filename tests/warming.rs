//! The cache filled ahead of its use: by plans on both second tiers, and by the service's strategies.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::ToSpan as _;
use jiff::civil::Date;
use plimsoll::datalayer::batch::Value;
use plimsoll::datalayer::cache::warming::{Item, Loaded, Plan, Priority, Progress, State, WarmUp};
use plimsoll::datalayer::cache::{Kind, MemoryTier, RedisTier, SecondTier, Tier, TieredCache};
use plimsoll::datalayer::config::{CacheSettings, WarmingSettings};
use plimsoll::datalayer::dataset::{APPOINTMENTS, CLIENTS, Generator};
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};
use sqlx::Connection as _;
use support::refservice::Refservice;
use support::servers::{Postgres, Redis};
use support::wait;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Longest wait for anything that should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "the-token-of-whoever-runs-it";

async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    wait::until_async(what, PATIENCE, holds).await.unwrap();
}

fn settings() -> CacheSettings {
    CacheSettings {
        l2_beat_ms: 50,
        ..CacheSettings::default()
    }
}

fn warming(concurrency: usize) -> WarmingSettings {
    WarmingSettings {
        concurrency,
        retry_min_ms: 1,
        retry_max_ms: 4,
        ..WarmingSettings::default()
    }
}

/// Two caches with first tiers of their own on one second tier, which can be looked into.
struct Caches {
    one: TieredCache,
    other: TieredCache,
    tier: Arc<dyn SecondTier>,
}

impl Caches {
    fn embedded(settings: &CacheSettings) -> Self {
        Self::over(settings, || Arc::new(MemoryTier::new(settings)), true)
    }

    async fn on(redis: &Redis, settings: &CacheSettings) -> Self {
        let connect = || RedisTier::connect(&redis.url(), settings).unwrap();
        let caches = Self::over(settings, || Arc::new(connect()), false);
        until("the second tier is used", async || {
            caches.one.uses_second_tier() && caches.other.uses_second_tier()
        })
        .await;
        caches
    }

    fn over(
        settings: &CacheSettings,
        tier: impl Fn() -> Arc<dyn SecondTier>,
        shared: bool,
    ) -> Self {
        let one = tier();
        let other = match shared {
            true => Arc::clone(&one),
            false => tier(),
        };
        Self {
            one: TieredCache::new(settings, Some(Arc::clone(&one))),
            other: TieredCache::new(settings, Some(other)),
            tier: one,
        }
    }

    async fn warm(&self, plan: Plan, settings: &WarmingSettings) -> Progress {
        let warm_up = WarmUp::start(&self.one, plan.ordered(1000), settings);
        let ended = WarmUp::ended(warm_up.watch());
        timeout(PATIENCE, ended).await.unwrap()
    }

    /// How long a key still lives in the second tier.
    async fn left(&self, key: &str) -> Duration {
        self.tier.get(key).await.unwrap().unwrap().ttl
    }

    async fn check_left(&self, key: &str, expected: Duration) {
        let left = self.left(key).await;
        assert!(
            left <= expected && left + 10 * SECOND > expected,
            "{key} lives for {left:?} and not {expected:?}"
        );
    }
}

/// Runs a check on the embedded second tier and on Redis.
async fn on_both(settings: CacheSettings, check: impl AsyncFn(&Caches)) {
    check(&Caches::embedded(&settings)).await;
    let redis = Redis::start().unwrap();
    check(&Caches::on(&redis, &settings).await).await;
}

fn plan(items: impl IntoIterator<Item = Item>) -> Plan {
    let mut plan = Plan::default();
    plan.extend(items);
    plan
}

fn loaded(value: &'static str) -> Loaded {
    Ok(Bytes::from_static(value.as_bytes()))
}

fn away() -> Loaded {
    Err("the database is away".into())
}

/// A loader's error for a key that has no value any more.
#[derive(Debug, thiserror::Error)]
#[error("there is no such row any more")]
struct Gone;

fn is_gone(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<Gone>()
}

fn item(key: &str, value: &'static str) -> Item {
    Item::new(key, Kind::Detail, Priority::High, move || async move {
        loaded(value)
    })
}

/// An item whose loader waits for a permit and counts how often it was called.
fn gated(key: &str, gate: &Arc<Semaphore>, calls: &Arc<AtomicUsize>) -> Item {
    let (gate, calls) = (Arc::clone(gate), Arc::clone(calls));
    Item::new(key, Kind::Detail, Priority::High, move || {
        let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
        async move {
            calls.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            loaded("old")
        }
    })
}

#[tokio::test]
async fn what_was_brought_is_there_for_its_own_time_or_that_of_its_kind() {
    on_both(settings(), async |caches| {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let items = [
            item("kind", "a"),
            item("own", "b").living(minutes(5)),
            // As long as a detail lives, and no longer.
            item("long", "c").living(minutes(600)),
        ];
        let progress = caches.warm(plan(items), &warming(4)).await;
        assert_eq!((progress.done, progress.failed, progress.total), (3, 0, 3));
        for (key, value, expected) in [
            ("kind", "a", minutes(60)),
            ("own", "b", minutes(5)),
            ("long", "c", minutes(60)),
        ] {
            let found = Some((Bytes::from_static(value.as_bytes()), Tier::L1));
            assert_eq!(caches.one.get(key).await, found);
            let found = caches.other.get(key).await.unwrap();
            assert_eq!((&*found.0, found.1), (value.as_bytes(), Tier::L2));
            caches.check_left(key, expected).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_most_urgent_are_brought_first_and_so_many_at_once() {
    const ITEMS: usize = 40;
    use Priority::{Critical, High, Low, Medium};
    on_both(settings(), async |caches| {
        for (round, concurrency) in [1, 3].into_iter().enumerate() {
            let log = Arc::new(Mutex::new(Vec::new()));
            let under_way = Arc::new(AtomicUsize::new(0));
            let most = Arc::new(AtomicUsize::new(0));
            let priorities = [Low, High, Medium, Critical];
            let items = (0..ITEMS).map(|index| {
                let priority = priorities[index % 4];
                let key = format!("{round}:{index}");
                let shared = (
                    Arc::clone(&log),
                    Arc::clone(&under_way),
                    Arc::clone(&most),
                    key.clone(),
                );
                Item::new(key, Kind::Detail, priority, move || {
                    let (log, under_way, most, key) = shared.clone();
                    async move {
                        log.lock().unwrap().push(key);
                        let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        sleep(5 * MS).await;
                        under_way.fetch_sub(1, Ordering::SeqCst);
                        loaded("v")
                    }
                })
            });
            let progress = caches.warm(plan(items), &warming(concurrency)).await;
            assert_eq!(progress.done, ITEMS as u64);
            assert_eq!(most.load(Ordering::SeqCst), concurrency);
            // Critical ones are every fourth from the third on, and so on.
            let expected = [3, 1, 2, 0]
                .into_iter()
                .flat_map(|first| (first..ITEMS).step_by(4))
                .map(|index| format!("{round}:{index}"));
            let log = log.lock().unwrap();
            for (place, key) in expected.enumerate() {
                let found = log.iter().position(|logged| *logged == key).unwrap();
                // Those that may be loaded at once begin in any order.
                let distance = found.abs_diff(place);
                assert!(distance < concurrency, "{key} is {found}th, not {place}th");
            }
            assert_eq!(log.len(), ITEMS);
        }
    })
    .await;
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_is_gone_is_not() {
    on_both(settings(), async |caches| {
        let calls: [Arc<AtomicUsize>; 4] = Default::default();
        let counted = |index: usize, key: &str, answer: fn(usize) -> Loaded| {
            let calls = Arc::clone(&calls[index]);
            Item::new(key, Kind::Detail, Priority::High, move || {
                let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
                async move { answer(call) }
            })
        };
        let items = [
            counted(0, "third", |call| match call {
                3 => loaded("v"),
                _ => away(),
            }),
            counted(1, "never", |_| away()),
            counted(2, "gone", |_| Err(Gone.into())).gone_if(is_gone),
            counted(3, "bug", |_| panic!("in a loader, for a test")),
        ];
        let settings = warming(2);
        let progress = caches.warm(plan(items), &settings).await;
        let calls = calls.map(|calls| calls.load(Ordering::SeqCst));
        assert_eq!(calls, [3, settings.retries_max + 1, 1, 1]);
        assert_eq!((progress.done, progress.failed), (2, 2));
        assert_eq!(progress.retries, 2 + settings.retries_max as u64);
        assert_eq!(caches.one.get("third").await.unwrap().1, Tier::L1);
        for key in ["never", "gone", "bug"] {
            assert_eq!(caches.one.get(key).await, None, "{key}");
        }
    })
    .await;
}

#[tokio::test]
async fn after_so_many_failures_in_a_row_nothing_more_is_asked_for() {
    on_both(settings(), async |caches| {
        let calls = Arc::new(AtomicUsize::new(0));
        let items = [false, false, true, false, false, false, true, true];
        let items = items.into_iter().enumerate().map(|(index, works)| {
            let calls = Arc::clone(&calls);
            Item::new(index.to_string(), Kind::Detail, Priority::High, move || {
                calls.fetch_add(1, Ordering::SeqCst);
                async move { if works { loaded("v") } else { away() } }
            })
        });
        let settings = WarmingSettings {
            retries_max: 0,
            failures_max: 3,
            ..warming(1)
        };
        let progress = caches.warm(plan(items), &settings).await;
        assert_eq!(progress.state, State::Failed);
        assert_eq!((progress.done, progress.failed, progress.total), (1, 5, 8));
        assert_eq!(progress.eta_ms, None);
        assert_eq!(calls.load(Ordering::SeqCst), 6);
    })
    .await;
}

#[tokio::test]
async fn progress_says_how_fast_it_goes_and_when_it_ends() {
    const TOTAL: u64 = 10;
    on_both(settings(), async |caches| {
        let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::default());
        let items = (0..TOTAL).map(|index| gated(&index.to_string(), &gate, &calls));
        let began = Instant::now();
        let warm_up = WarmUp::start(&caches.one, plan(items), &warming(1));
        let mut progress = warm_up.watch();
        let first = warm_up.progress();
        assert_eq!((first.state, first.total), (State::Running, TOTAL));
        assert_eq!((first.done, first.eta_ms), (0, None));
        sleep(100 * MS).await;
        gate.add_permits(4);
        let fourth = progress.wait_for(|progress| progress.done == 4);
        let fourth = *timeout(PATIENCE, fourth).await.unwrap().unwrap();
        // Six more, each as long as a fourth of what these took.
        let longest_ms = began.elapsed().as_millis() as u64 * 6 / 4 + 1;
        let eta_ms = fourth.eta_ms.unwrap();
        assert!(
            (140..=longest_ms).contains(&eta_ms),
            "{fourth:?} {longest_ms}"
        );
        assert!(
            fourth.rate_per_s > 0.0 && fourth.rate_per_s < 42.0,
            "{fourth:?}"
        );
        assert_eq!(fourth.state, State::Running);
        gate.add_permits(6);
        let last = timeout(PATIENCE, WarmUp::ended(progress)).await.unwrap();
        assert_eq!((last.done, last.failed, last.total), (TOTAL, 0, TOTAL));
        assert_eq!((last.state, last.eta_ms), (State::Ended, Some(0)));
    })
    .await;
}

#[tokio::test]
async fn what_was_changed_during_a_warm_up_is_not_overwritten() {
    on_both(settings(), async |caches| {
        let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::default());
        let items = [
            gated("here", &gate, &calls),
            gated("elsewhere", &gate, &calls),
            gated("tagged", &gate, &calls).tagged("lists"),
            gated("put", &gate, &calls),
            gated("untouched", &gate, &calls),
        ];
        let warm_up = WarmUp::start(&caches.one, plan(items), &warming(8));
        until("all are being loaded", async || {
            calls.load(Ordering::SeqCst) == 5
        })
        .await;
        caches.one.invalidate("here").await;
        caches.other.invalidate("elsewhere").await;
        caches.other.invalidate_tag("lists").await;
        let new = Bytes::from_static(b"new");
        caches.one.put(Kind::Detail, "put", new.clone()).await;
        gate.add_permits(5);
        let ended = WarmUp::ended(warm_up.watch());
        assert_eq!(timeout(PATIENCE, ended).await.unwrap().done, 5);
        for cache in [&caches.one, &caches.other] {
            for key in ["here", "elsewhere", "tagged"] {
                assert_eq!(cache.get(key).await, None, "{key}");
            }
            assert_eq!(cache.get("put").await.unwrap().0, new);
            assert_eq!(cache.get("untouched").await.unwrap().0, "old");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_and_a_warm_up_load_a_key_once() {
    on_both(settings(), async |caches| {
        let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::default());
        let items = [gated("k", &gate, &calls)];
        let warm_up = WarmUp::start(&caches.one, plan(items), &warming(1));
        until("it is being loaded", async || {
            calls.load(Ordering::SeqCst) == 1
        })
        .await;
        let readers = [&caches.one, &caches.other].map(|cache| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let loader = async || loaded("a second load");
                cache
                    .get_or_load(Kind::Detail, "k", loader)
                    .await
                    .unwrap()
                    .0
            })
        });
        sleep(50 * MS).await;
        gate.add_permits(1);
        for reader in readers {
            let value = timeout(PATIENCE, reader).await.unwrap().unwrap();
            assert_eq!(value, "old");
        }
        WarmUp::ended(warm_up.watch()).await;
    })
    .await;
}

#[tokio::test]
async fn a_warm_up_that_is_dropped_asks_for_nothing_more() {
    on_both(settings(), async |caches| {
        let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::default());
        let items = (0..20).map(|index| gated(&index.to_string(), &gate, &calls));
        let warm_up = WarmUp::start(&caches.one, plan(items), &warming(3));
        until("three are being loaded", async || {
            calls.load(Ordering::SeqCst) == 3
        })
        .await;
        let progress = warm_up.watch();
        drop(warm_up);
        let told = timeout(PATIENCE, WarmUp::ended(progress)).await.unwrap();
        assert_eq!((told.state, told.done), (State::Cancelled, 0));
        assert_eq!(told.eta_ms, None);
        gate.add_permits(20);
        // Those under way come to their ends, and would let the next ones begin.
        until("three are there", async || {
            caches.one.stats().await.entries == 3
        })
        .await;
        sleep(100 * MS).await;
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    })
    .await;
}

#[tokio::test]
async fn what_is_there_is_renewed_only_late_in_its_life_and_stays_where_that_fails() {
    let mut settings = settings();
    settings.ttl.other_s = 4;
    on_both(settings, async |caches| {
        let other = |key: &'static str, answer: fn() -> Loaded| {
            Item::new(
                key,
                Kind::Other,
                Priority::High,
                move || async move { answer() },
            )
        };
        for key in ["renewed", "failing"] {
            let loader = async || loaded("old");
            let old = caches.one.get_or_load(Kind::Other, key, loader).await;
            old.unwrap();
            for _ in 0..5 {
                caches.one.get(key).await;
            }
        }
        let items = || [other("renewed", || loaded("new")), other("failing", away)];
        let progress = caches.warm(plan(items()), &warming(2)).await;
        assert_eq!((progress.done, progress.failed), (2, 0));
        assert_eq!(caches.one.get("renewed").await.unwrap().0, "old");

        sleep(2200 * MS).await;
        assert!(caches.left("renewed").await < 2 * SECOND);
        let progress = caches.warm(plan(items()), &warming(2)).await;
        assert_eq!((progress.done, progress.failed), (1, 1));
        assert_eq!(caches.one.get("renewed").await.unwrap().0, "new");
        assert!(caches.left("renewed").await > 3 * SECOND);
        for cache in [&caches.one, &caches.other] {
            assert_eq!(cache.get("failing").await.unwrap().0, "old");
        }
        // What was renewed is as hot as it was.
        let hottest = caches.one.stats().await.hottest;
        let renewed = hottest.iter().find(|hot| hot.key == "renewed").unwrap();
        assert!(renewed.hits >= 6, "{hottest:?}");
    })
    .await;
}

/// A running `refservice` of the dataset.
struct Service(Refservice);

impl Deref for Service {
    type Target = Refservice;

    fn deref(&self) -> &Refservice {
        &self.0
    }
}

const SEED: u64 = 42;
const RECORDS: u64 = 5000;

impl Service {
    /// Starts the service and waits for its address.
    fn start(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let records = RECORDS.to_string();
        let arguments = [&["--records", &records], arguments].concat();
        let own = [
            ("REFSERVICE_ADMIN_TOKEN", TOKEN),
            ("REFSERVICE__LIMIT__USER_PER_MIN", "0"),
            ("REFSERVICE__LIMIT__ENDPOINT_PER_MIN", "0"),
        ];
        Self(Refservice::start(&arguments, &[&own, env].concat()))
    }

    async fn ready(&self) {
        let ready = async || self.get("/ready").await.status() == StatusCode::OK;
        until("the service is ready", ready).await;
    }

    /// Where the answer came from.
    async fn x_cache(&self, path: &str) -> String {
        let response = self.get(&format!("/api/v1{path}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.headers()["x-cache"].to_str().unwrap().to_owned()
    }

    /// As the admin.
    async fn admin(&self, method: Method, path: &str, body: &str) -> (u16, Json) {
        let path = format!("/api/v1/admin/cache/warm{path}");
        let request = self.request(method, &path).bearer_auth(TOKEN);
        let response = request.body(body.to_owned()).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn begin(&self, strategy: &str) -> (u16, Json) {
        let order = json!({ "strategy": strategy }).to_string();
        self.admin(Method::POST, "", &order).await
    }

    /// Starts a warm-up, and says where to ask for it.
    async fn begun(&self, strategy: &str) -> String {
        let (status, begun) = self.begin(strategy).await;
        assert_eq!(status, 202, "{begun}");
        assert_eq!(begun["strategy"], strategy.to_ascii_lowercase());
        format!("/{}", begun["id"].as_str().unwrap())
    }

    async fn progress(&self, path: &str) -> Json {
        let (status, known) = self.admin(Method::GET, path, "").await;
        assert_eq!(status, 200, "{known}");
        known["progress"].clone()
    }

    /// Waits until a warm-up is in a state, and gives how far it is then.
    async fn until_state(&self, path: &str, state: &str) -> Json {
        let mut last = Json::Null;
        until(&format!("the warm-up is {state}"), async || {
            last = self.progress(path).await;
            last["state"] == state
        })
        .await;
        last
    }

    /// Has the cache filled, and gives how many keys that were.
    async fn warm(&self, strategy: &str) -> u64 {
        let path = self.begun(strategy).await;
        let last = self.until_state(&path, "ended").await;
        assert_eq!((&last["failed"], &last["eta_ms"]), (&json!(0), &json!(0)));
        assert_eq!(last["done"], last["total"], "{last}");
        last["total"].as_u64().unwrap()
    }
}

/// Where services keep what they have.
struct Place {
    servers: Option<(Postgres, Redis)>,
}

impl Place {
    /// A service with an empty cache.
    async fn service(&self, env: &[(&str, &str)]) -> Service {
        let Some((postgres, redis)) = &self.servers else {
            let service = Service::start(&[], env);
            service.ready().await;
            return service;
        };
        let mut connection = self.redis();
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        let arguments = ["--database", &postgres.url(), "--redis", &redis.url()];
        let service = Service::start(&arguments, env);
        service.ready().await;
        let used = async || service.metric("cache_l2_available").await == 1.0;
        until("the second tier is used", used).await;
        service
    }

    fn redis(&self) -> redis::Connection {
        let (_, redis) = self.servers.as_ref().unwrap();
        let client = redis::Client::open(redis.url()).unwrap();
        client.get_connection().unwrap()
    }

    /// The one key in Redis that ends so.
    fn key(&self, connection: &mut redis::Connection, end: &str) -> String {
        let mut keys = redis::cmd("KEYS");
        keys.arg("refservice:v1:*");
        let keys: Vec<String> = keys.query(connection).unwrap();
        let mut found = keys.into_iter().filter(|key| key.ends_with(end));
        let key = found.next().unwrap_or_else(|| panic!("no {end}"));
        assert_eq!(found.next(), None);
        key
    }

    /// Where there is a Redis: the key that ends so lives there for so long.
    fn check_left(&self, end: &str, expected_s: i64) {
        if self.servers.is_none() {
            return;
        }
        let mut connection = self.redis();
        let key = self.key(&mut connection, end);
        let left_ms: i64 = redis::cmd("PTTL").arg(&key).query(&mut connection).unwrap();
        let expected_ms = expected_s * 1000;
        assert!(
            left_ms <= expected_ms && left_ms > expected_ms - 30_000,
            "{key} lives for {left_ms} ms and not {expected_s} s"
        );
    }

    /// Where there is a Redis: has the key that ends so live for so long.
    fn shorten(&self, end: &str, seconds: i64) {
        if self.servers.is_none() {
            return;
        }
        let mut connection = self.redis();
        let key = self.key(&mut connection, end);
        let mut expire = redis::cmd("EXPIRE");
        expire.arg(key).arg(seconds).exec(&mut connection).unwrap();
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        Value::Integer(number) => panic!("{number} is no text"),
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        Value::Text(text) => panic!("{text} is no number"),
    }
}

/// The clients that were changed or had an appointment in the seven days up to the latest change.
fn recent() -> BTreeSet<i64> {
    let generator = Generator::new(SEED, RECORDS);
    let day = |value: &Value| text(value)[..10].parse::<Date>().unwrap();
    let changes: Vec<_> = generator
        .rows(&CLIENTS)
        .map(|row| (integer(&row[0]), day(&row[9])))
        .collect();
    let latest = changes.iter().map(|(_, day)| *day).max().unwrap();
    let first = latest.saturating_sub(6.days());
    let appointments = generator.rows(&APPOINTMENTS);
    appointments
        .map(|row| (integer(&row[2]), day(&row[3])))
        .chain(changes)
        .filter(|(_, day)| (first..=latest).contains(day))
        .map(|(client, _)| client)
        .collect()
}

#[tokio::test]
async fn each_strategy_of_the_embedded_service_brings_what_it_names() {
    strategies(&Place { servers: None }).await;
}

#[tokio::test]
async fn each_strategy_on_postgres_and_redis_brings_what_it_names() {
    let servers = (Postgres::start().unwrap(), Redis::start().unwrap());
    let place = Place {
        servers: Some(servers),
    };
    strategies(&place).await;
    asked_for(&place).await;
    begun_twice(&place).await;
    planned_in_the_background(&place).await;
    gone_for_readers_and_warm_ups(&place).await;
}

async fn strategies(place: &Place) {
    let shape = Generator::new(SEED, RECORDS).shape();
    critical_only(place).await;
    high_frequency(place, shape.tenants).await;
    recent_data(place).await;
    comprehensive(place, shape.tenants, shape.clients).await;
    at_start(place).await;
}

/// What nothing has warmed lives for as long as its kind, too.
async fn asked_for(place: &Place) {
    let service = place.service(&[]).await;
    for (path, end, lives_s) in [
        ("/clients?limit=3", ":all:clients?limit=3", 1800),
        ("/clients/search?q=a", ":all:clients?limit=20&q=a", 1800),
        ("/clients/7", ":client:7", 3600),
        ("/analytics/dashboard", ":all:dashboard", 300),
        ("/tenants", ":all:tenants", 86_400),
    ] {
        assert_eq!(service.x_cache(path).await, "miss");
        place.check_left(end, lives_s);
    }
}

async fn critical_only(place: &Place) {
    let service = place.service(&[]).await;
    // The names that FEATURES has are understood, too.
    assert_eq!(service.warm("CRITICAL_ONLY").await, 2);
    assert_eq!(service.x_cache("/analytics/dashboard").await, "hit-l1");
    assert_eq!(service.x_cache("/tenants").await, "hit-l1");
    place.check_left(":all:dashboard", 300);
    place.check_left(":all:tenants", 24 * 60 * 60);
    assert_eq!(
        service.x_cache("/analytics/dashboard?tenant=1").await,
        "miss"
    );
}

async fn high_frequency(place: &Place, tenants: u64) {
    // Lifetimes as long as the strategy's, and everything renewed: so the hottest keys are loaded anew
    // while they are there.
    let env = [
        ("REFSERVICE__CACHE__TTL__LIST_S", "300"),
        ("REFSERVICE__CACHE__TTL__DETAIL_S", "300"),
        ("REFSERVICE__CACHE__WARMING__RENEW_BELOW_RATIO", "1"),
    ];
    let service = place.service(&env).await;
    let hot = [
        ("/clients/7", ":client:7"),
        ("/analytics/dashboard?tenant=2", ":tenant:2:dashboard"),
        (
            "/clients/search?q=A%26%20b&tenant_id=1",
            ":tenant:1:clients?limit=20&q=a%26%20b",
        ),
        ("/clients?sort=-id&limit=5", ":all:clients?limit=5&sort=-id"),
    ];
    for (path, end) in hot {
        assert_eq!(service.x_cache(path).await, "miss");
        assert_eq!(service.x_cache(path).await, "hit-l1");
        place.shorten(end, 100);
    }
    let loads = service.metric("cache_loads_total").await;
    let total = service.warm("high_frequency").await;
    assert_eq!(total, hot.len() as u64 + tenants);
    assert_eq!(
        service.metric("cache_loads_total").await,
        loads + total as f64
    );
    for (path, end) in hot {
        assert_eq!(service.x_cache(path).await, "hit-l1");
        place.check_left(end, 300);
    }
    drop(service);

    // With the lifetimes of every day: a list lives for half an hour, and here for five minutes.
    let service = place.service(&[]).await;
    assert_eq!(service.warm("high_frequency").await, tenants);
    for tenant in 1..=tenants {
        let path = format!("/clients?tenant_id={tenant}");
        assert_eq!(service.x_cache(&path).await, "hit-l1");
        place.check_left(&format!(":tenant:{tenant}:clients?limit=20"), 300);
    }
    // And goes when a client of its tenant is written.
    let client = json!({
        "tenant_id": 1, "given_name": "A", "family_name": "B", "email": "a@b", "city": "C",
        "birth_date": "1990-01-01",
    });
    let url = format!("{}/api/v1/clients", service.base);
    let written = service.http.post(url).body(client.to_string()).send().await;
    let id = written.unwrap().json::<Json>().await.unwrap()["id"].clone();
    assert_eq!(service.x_cache("/clients?tenant_id=1").await, "miss");
    assert_eq!(service.x_cache("/clients?tenant_id=2").await, "hit-l1");
    if let Some((postgres, _)) = &place.servers {
        // What comes after counts on the dataset as it was.
        let mut database = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
        let delete = sqlx::query("DELETE FROM clients WHERE id = $1").bind(id.as_i64());
        delete.execute(&mut database).await.unwrap();
    }
}

async fn recent_data(place: &Place) {
    let recent = recent();
    assert!(recent.len() > 3, "{recent:?}");
    let service = place.service(&[]).await;
    assert_eq!(service.warm("recent_data").await, recent.len() as u64);
    for id in &recent {
        let path = format!("/clients/{id}");
        assert_eq!(service.x_cache(&path).await, "hit-l1");
        place.check_left(&format!(":client:{id}"), 600);
    }
    let another = (1..).find(|id| !recent.contains(id)).unwrap();
    assert_eq!(
        service.x_cache(&format!("/clients/{another}")).await,
        "miss"
    );
}

async fn comprehensive(place: &Place, tenants: u64, clients: u64) {
    let service = place.service(&[]).await;
    assert_eq!(
        service.warm("comprehensive").await,
        2 + 2 * tenants + clients
    );
    for path in ["/tenants", "/analytics/dashboard", "/clients/1"] {
        assert_eq!(service.x_cache(path).await, "hit-l1", "{path}");
    }
    for tenant in 1..=tenants {
        let dashboard = format!("/analytics/dashboard?tenant={tenant}");
        assert_eq!(service.x_cache(&dashboard).await, "hit-l1");
        let list = format!("/clients?tenant_id={tenant}");
        assert_eq!(service.x_cache(&list).await, "hit-l1");
    }
    let all = (1..=clients).map(|id| format!("/clients/{id}"));
    for path in all.step_by(50) {
        assert_eq!(service.x_cache(&path).await, "hit-l1", "{path}");
    }
    place.check_left(":client:1", 60 * 60);
    place.check_left(":tenant:1:clients?limit=20", 30 * 60);
    place.check_left(":tenant:1:dashboard", 5 * 60);
    drop(service);

    // No more than the first tier holds, and the most urgent of it.
    let env = [("REFSERVICE__CACHE__L1_ENTRIES", "40")];
    let service = place.service(&env).await;
    assert_eq!(service.warm("comprehensive").await, 40);
    for path in ["/tenants", "/analytics/dashboard", "/clients?tenant_id=1"] {
        assert_eq!(service.x_cache(path).await, "hit-l1", "{path}");
    }
}

async fn at_start(place: &Place) {
    let start = ("REFSERVICE__CACHE__WARMING__AT_START", "critical_only");
    let long = ("REFSERVICE__CACHE__WARMING__START_WAIT_MS", "60000");
    let service = place.service(&[start, long]).await;
    assert_eq!(service.x_cache("/analytics/dashboard").await, "hit-l1");
    assert_eq!(service.x_cache("/tenants").await, "hit-l1");
    place.check_left(":all:dashboard", 300);
    drop(service);

    // By default nothing is brought.
    let service = place.service(&[]).await;
    assert_eq!(service.x_cache("/tenants").await, "miss");
}

/// A warm-up that cannot go on because a table is locked: no second one begins beside it.
async fn begun_twice(place: &Place) {
    let service = place.service(&[]).await;
    let (postgres, _) = place.servers.as_ref().unwrap();
    let mut outside = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    let lock = "BEGIN; LOCK TABLE records IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    let path = service.begun("critical_only").await;
    let (status, refused) = service.begin("recent_data").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("under_way"))
    );
    let running = service.until_state(&path, "running").await;
    assert_eq!(running["total"], 2);

    // Told to end, it makes room for the next one at once.
    let (status, told) = service.admin(Method::DELETE, &path, "").await;
    assert_eq!(
        (status, &told["progress"]["state"]),
        (200, &json!("cancelled"))
    );
    let (status, again) = service.admin(Method::DELETE, &path, "").await;
    assert_eq!(
        (status, &again["error"]["code"]),
        (409, &json!("not_under_way"))
    );
    let next = service.begun("recent_data").await;
    service.until_state(&next, "ended").await;
    let last = service.begun("critical_only").await;
    rollback(&mut outside).await;
    service.until_state(&last, "ended").await;
    assert_eq!(service.progress(&path).await["state"], "cancelled");
}

async fn rollback(outside: &mut sqlx::PgConnection) {
    sqlx::raw_sql("ROLLBACK").execute(outside).await.unwrap();
}

/// While the tables are locked that a plan is made of, nobody who asks waits for that; and what comes of it
/// fails as one, after so many keys.
async fn planned_in_the_background(place: &Place) {
    let env = [
        ("REFSERVICE__POOL__STATEMENT_TIMEOUT_MS", "4000"),
        ("REFSERVICE__CACHE__WARMING__RETRIES_MAX", "0"),
        ("REFSERVICE__CACHE__WARMING__FAILURES_MAX", "3"),
    ];
    let service = place.service(&env).await;
    let (postgres, _) = place.servers.as_ref().unwrap();
    let mut outside = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    let lock = "BEGIN; LOCK TABLE appointments IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    let path = service.begun("recent_data").await;
    assert_eq!(service.progress(&path).await["state"], "planning");
    assert_eq!(service.begin("recent_data").await.0, 409);
    let failed = service.until_state(&path, "failed").await;
    assert_eq!(
        (&failed["total"], &failed["eta_ms"]),
        (&json!(0), &Json::Null)
    );
    rollback(&mut outside).await;

    let lock = "BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    let path = service.begun("recent_data").await;
    let failed = service.until_state(&path, "failed").await;
    let (failures, total) = (failed["failed"].as_u64(), failed["total"].as_u64());
    assert_eq!((failures, &failed["done"]), (Some(3), &json!(0)));
    assert!(total > failures, "{failed}");
    rollback(&mut outside).await;
}

/// A client that is gone is 404 to a reader who waits for the load of a warm-up, and no failure of a warm-up
/// that waits for a reader's.
async fn gone_for_readers_and_warm_ups(place: &Place) {
    let service = place.service(&[]).await;
    let (postgres, _) = place.servers.as_ref().unwrap();
    let mut outside = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    // Nothing says that the client of an appointment is there.
    let enter = "INSERT INTO appointments SELECT max(id) + 1, min(tenant_id), 900001, \
                 (SELECT left(max(updated_at), 10) || 'T23:59:58Z' FROM clients), min(duration_minutes), \
                 min(status) FROM appointments";
    for id in [900_001, 900_002] {
        let enter = enter.replace("900001", &id.to_string());
        sqlx::raw_sql(sqlx::AssertSqlSafe(enter))
            .execute(&mut outside)
            .await
            .unwrap();
    }
    let lock = "BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    let mut watching = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    let mut loads = async |expected: i64| {
        until("the loads wait", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            let waiting = sqlx::query_scalar::<_, i64>(waiting);
            waiting.fetch_one(&mut watching).await.unwrap() == expected
        })
        .await;
    };
    let read = |id: u32| {
        let request = service.request(Method::GET, &format!("/api/v1/clients/{id}"));
        tokio::spawn(async move { request.send().await.unwrap().status() })
    };
    let first = read(900_001);
    loads(1).await;
    let path = service.begun("recent_data").await;
    // As many as may be at once, one of which waits for the reader.
    loads(4).await;
    let second = read(900_002);
    sleep(100 * MS).await;
    rollback(&mut outside).await;
    for read in [first, second] {
        assert_eq!(read.await.unwrap(), StatusCode::NOT_FOUND);
    }
    let ended = service.until_state(&path, "ended").await;
    assert_eq!(
        (&ended["failed"], &ended["retries"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test]
async fn readiness_waits_for_the_cache_for_a_limited_time() {
    let env = [
        ("REFSERVICE__CACHE__WARMING__AT_START", "critical_only"),
        ("REFSERVICE__CACHE__WARMING__START_WAIT_MS", "1500"),
    ];
    // A Redis that is away for good: nothing is brought before it was waited for.
    let service = Service::start(&["--redis", "redis://127.0.0.1:1/"], &env);
    let mut filling_since = None;
    until("the service is ready", async || {
        let ready = service.get("/ready").await;
        if ready.status() == StatusCode::OK {
            return true;
        }
        if ready
            .text()
            .await
            .unwrap()
            .contains("the cache is being filled")
        {
            filling_since.get_or_insert_with(Instant::now);
        }
        false
    })
    .await;
    let filled_for = filling_since.unwrap().elapsed();
    // Where it was seen first, some of that time may have gone by.
    assert!(filled_for > 1000 * MS, "{filled_for:?}");
    // Brought without it then.
    let filled = async || service.log().contains("was filled ahead of its use");
    until("the cache is filled", filled).await;
    assert_eq!(service.x_cache("/tenants").await, "hit-l1");
}

#[tokio::test]
async fn only_the_admin_has_the_cache_filled() {
    let service = Service::start(&[], &[]);
    service.ready().await;
    let url = format!("{}/api/v1/admin/cache/warm", service.base);
    let order = json!({ "strategy": "critical_only" }).to_string();
    let post = || service.http.post(&url).body(order.clone());
    let some = "/00000000-0000-4000-8000-000000000000";
    for request in [
        post(),
        post().bearer_auth("another"),
        post().header("authorization", TOKEN),
        service.http.get(format!("{url}{some}")),
        service.http.delete(format!("{url}{some}")),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    assert_eq!(service.x_cache("/tenants").await, "miss");

    let check = async |method, path: &str, body: &str, expected: u16, code: &str| {
        let (status, answer) = service.admin(method, path, body).await;
        assert_eq!((status, &answer["error"]["code"]), (expected, &json!(code)));
    };
    check(Method::GET, some, "", 404, "not_found").await;
    check(Method::GET, "/7", "", 400, "invalid_id").await;
    check(Method::DELETE, some, "", 404, "not_found").await;
    check(Method::DELETE, "/7", "", 400, "invalid_id").await;
    for body in [
        "",
        "{}",
        r#"{"strategy": "all"}"#,
        r#"{"strategy": "critical_only", "ttl": 1}"#,
    ] {
        check(Method::POST, "", body, 422, "invalid_body").await;
    }
    let (status, begun) = service.begin("critical_only").await;
    assert_eq!(status, 202, "{begun}");
    assert!(!service.log().contains(TOKEN));

    // Where there is no token, nobody is the admin.
    let service = Service::start(&[], &[("REFSERVICE_ADMIN_TOKEN", "")]);
    service.ready().await;
    assert_eq!(service.begin("critical_only").await.0, 401);
}
