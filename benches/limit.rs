//! The limits of requests, beside the crate that counts them. A check of ours also says what remains and until when,
//! and keeps the states of so many keys at most.
//!
//! - `limit/check` and `limit/check_new` (a key that nobody has seen) beside `…_governor`: one limit.
//! - `limit/refuse` beside `limit/refuse_governor`: a request too much.
//! - `limit/request` beside `limit/request_governor`: the three limits of a request, and three bare ones.

#[allow(dead_code, reason = "the other benches use more of it")]
mod common;

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use plimsoll::datalayer::config::LimitSettings;
use plimsoll::datalayer::limit::{Limiter, Limits};

/// More than are ever asked for here.
const PLENTY: NonZeroU32 = NonZeroU32::MAX;
/// Keys that have been seen, all of them a tenth of what there is room for.
const KEYS: usize = 1000;
/// Keys that have not: so many to a limiter, which has room for them.
const NEW_KEYS: usize = 1000;
const ENDPOINT: &str = "GET /clients/{id}";

type Governor<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

fn benches(criterion: &mut Criterion) {
    let settings = LimitSettings {
        user_per_min: PLENTY.get(),
        tenant_per_min: PLENTY.get(),
        endpoint_per_min: PLENTY.get(),
        ..LimitSettings::default()
    };
    let users: Vec<String> = (0..KEYS).map(|user| format!("user:{user}")).collect();
    let strangers: Vec<String> = (0..NEW_KEYS).map(|user| format!("new:{user}")).collect();
    let ours = |per_min| Limiter::<String>::new(per_min, settings.keys_max);
    let mut group = criterion.benchmark_group("limit");

    let limiter = ours(PLENTY);
    let mut next = users.iter().cycle();
    group.bench_function("check", |bencher| {
        bencher.iter(|| {
            let user = next.next().expect("a cycle has no end");
            assert!(limiter.check(black_box(user)).allowed);
        });
    });
    let bare: Governor<String> = bare(PLENTY);
    let mut next = users.iter().cycle();
    group.bench_function("check_governor", |bencher| {
        bencher.iter(|| {
            let user = next.next().expect("a cycle has no end");
            assert!(bare.check_key(black_box(user)).is_ok());
        });
    });

    group.bench_function("check_new", |bencher| {
        let check = |limiter: Limiter<String>| {
            for user in &strangers {
                black_box(limiter.check(black_box(user)));
            }
            limiter
        };
        bencher.iter_batched(|| ours(PLENTY), check, BatchSize::SmallInput);
    });
    group.bench_function("check_new_governor", |bencher| {
        let check = |limiter: Governor<String>| {
            for user in &strangers {
                black_box(limiter.check_key(black_box(user)).is_ok());
            }
            limiter
        };
        bencher.iter_batched(|| self::bare(PLENTY), check, BatchSize::SmallInput);
    });

    // The second request comes within the minute.
    let limiter = ours(NonZeroU32::MIN);
    limiter.check(&users[0]);
    group.bench_function("refuse", |bencher| {
        bencher.iter(|| assert!(!limiter.check(black_box(&users[0])).allowed));
    });
    let bare: Governor<String> = self::bare(NonZeroU32::MIN);
    let _ = bare.check_key(&users[0]);
    group.bench_function("refuse_governor", |bencher| {
        bencher.iter(|| assert!(bare.check_key(black_box(&users[0])).is_err()));
    });

    let limits = Limits::new(&settings);
    let mut next = (0..).zip(users.iter().cycle());
    group.bench_function("request", |bencher| {
        bencher.iter(|| {
            let (number, user): (i64, _) = next.next().expect("a cycle has no end");
            let verdict = limits.check(black_box(user), Some(number % 10), ENDPOINT);
            assert!(verdict.is_some_and(|verdict| verdict.decision.allowed));
        });
    });
    let endpoints: Governor<String> = self::bare(PLENTY);
    let of_users: Governor<String> = self::bare(PLENTY);
    let tenants: Governor<i64> = self::bare(PLENTY);
    let mut next = (0..).zip(users.iter().cycle());
    group.bench_function("request_governor", |bencher| {
        bencher.iter(|| {
            let (number, user): (i64, _) = next.next().expect("a cycle has no end");
            let endpoint = format!("{user} {ENDPOINT}");
            let allowed = endpoints.check_key(&endpoint).is_ok()
                && of_users.check_key(black_box(user)).is_ok()
                && tenants.check_key(&(number % 10)).is_ok();
            assert!(allowed);
        });
    });
    group.finish();
}

fn bare<K: std::hash::Hash + Eq + Clone>(per_min: NonZeroU32) -> Governor<K> {
    RateLimiter::dashmap(Quota::per_minute(per_min))
}

criterion_group! {
    name = limit;
    config = common::config();
    targets = benches
}
criterion_main!(limit);
