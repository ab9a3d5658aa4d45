//! Locks (LO1): one contract for those of a process, of one Redis and of three; and what happens to
//! holders and servers.
#![cfg(feature = "reference")]

mod support;

use std::error::Error;
use std::future::pending;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plimsoll::datalayer::cache::{RedisTier, Scope, SecondTier as _};
use plimsoll::datalayer::config::{CacheSettings, LockSettings};
use plimsoll::datalayer::lock::{LockError, Locks};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use support::servers::{Redis, command_as};
use support::way::Way;
use support::{Tested, wait};

const MS: Duration = Duration::from_millis(1);
/// What has to happen by itself has so long for it.
const SOON: Duration = Duration::from_secs(20);
/// Longer than any test: what is free before was freed.
const LONG: Duration = Duration::from_secs(600);

/// Two that compete for the same locks, each as if it were a process of its own.
struct Rivals {
    one: Locks,
    other: Locks,
}

fn settings() -> LockSettings {
    LockSettings {
        wait_ms: 20_000,
        retry_max_ms: 50,
        ..LockSettings::default()
    }
}

impl Rivals {
    fn in_process(settings: &LockSettings) -> Self {
        let one = Locks::in_process(settings);
        let other = one.clone();
        Self { one, other }
    }

    fn on(servers: &[Redis], settings: &LockSettings) -> Result<Self, LockError> {
        let urls: Vec<String> = servers.iter().map(Redis::url).collect();
        Self::at(&urls, settings)
    }

    fn at(urls: &[String], settings: &LockSettings) -> Result<Self, LockError> {
        Ok(Self {
            one: Locks::redis(urls, settings)?,
            other: Locks::redis(urls, settings)?,
        })
    }
}

fn redis_servers(number: usize) -> io::Result<Vec<Redis>> {
    (0..number).map(|_| Redis::start()).collect()
}

/// One attempt at a lock.
async fn is_taken(locks: &Locks, name: &str) -> Result<bool, LockError> {
    match locks.acquire_within(name, LONG, Duration::ZERO).await {
        Ok(lease) => lease.release().await.map(|()| false),
        Err(LockError::Taken { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

async fn is_free_soon(locks: &Locks, name: &str) -> Tested {
    let what = format!("{name} is free");
    wait::until_async(&what, SOON, async || {
        is_taken(locks, name).await == Ok(false)
    })
    .await
}

fn is_lost<T>(outcome: &Result<T, LockError>) -> bool {
    matches!(outcome, Err(LockError::Lost { .. }))
}

/// What locks promise, whatever keeps them.
async fn keeps_its_promises(rivals: impl Fn(&LockSettings) -> Result<Rivals, LockError>) -> Tested {
    let Rivals { one, other } = rivals(&settings())?;
    one_holder_at_a_time(&one, &other).await?;
    an_extension_keeps_a_lock_and_its_end_frees_it(&one, &other).await?;
    a_late_holder_frees_nothing(&one, &other).await?;
    work_frees_its_lock_however_it_ends(&one, &other).await?;
    a_caller_that_went_away_leaves_nothing_locked(&one, &other).await?;
    let short = LockSettings {
        ttl_ms: 900,
        ..settings()
    };
    work_keeps_its_lock_beyond_its_lifetime(&rivals(&short)?).await
}

async fn one_holder_at_a_time(one: &Locks, other: &Locks) -> Tested {
    let before = [one.stats(), other.stats()];
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let locks = if number % 2 == 0 { one } else { other }.clone();
        let inside = Arc::clone(&inside);
        tasks.spawn(async move {
            let lease = locks.acquire("crowd", LONG).await?;
            let alone = inside.fetch_add(1, Ordering::SeqCst) == 0;
            sleep(MS).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            lease.release().await.map(|()| alone)
        });
    }
    let mut alone = 0;
    while let Some(ended) = tasks.join_next().await {
        alone += u32::from(ended??);
    }
    assert_eq!(alone, 64, "some shared the lock");
    // Two handles on the locks of one process share their figures as well.
    let (stats, shared) = (one.stats(), one.stats() == other.stats());
    let own = if shared { 64 } else { 32 };
    assert_eq!(stats.acquired - before[0].acquired, own, "{stats:?}");
    assert_eq!(stats.hold.count - before[0].hold.count, own, "{stats:?}");
    assert_eq!(stats.wait.count - before[0].wait.count, own, "{stats:?}");
    assert!(stats.hold.p50_ns >= 1_000_000, "{stats:?}");
    assert!(stats.contention > before[0].contention, "{stats:?}");
    assert!(other.stats().contention > before[1].contention);
    let (failed, lost) = (before[0].failed, before[0].lost);
    assert_eq!(
        (stats.active, stats.failed, stats.lost),
        (before[0].active, failed, lost)
    );
    Ok(())
}

async fn an_extension_keeps_a_lock_and_its_end_frees_it(one: &Locks, other: &Locks) -> Tested {
    let ttl = 900 * MS;
    let mut lease = one.acquire("extended", ttl).await?;
    let since = Instant::now();
    let extended = one.stats().extended;
    for _ in 0..6 {
        sleep(ttl / 3).await;
        lease.extend(ttl).await?;
        assert!(is_taken(other, "extended").await?);
        assert!(lease.remaining() > ttl / 2);
    }
    assert!(since.elapsed() > 2 * ttl - 10 * MS);
    assert_eq!(one.stats().extended - extended, 6);
    assert_eq!(one.stats().active, 1);
    // Another name is another lock.
    assert!(!is_taken(other, "elsewhere").await?);

    let since = Instant::now();
    let next = other.acquire("extended", LONG).await?;
    // A Redis rounds to its clock's ticks, and grants run from before the question.
    assert!(since.elapsed() > ttl / 2, "taken while it was held");
    assert!(is_lost(&lease.check()));
    let (failed, lost) = (one.stats().failed, one.stats().lost);
    let refused = one.acquire_within("extended", ttl, 30 * MS).await;
    assert!(
        matches!(&refused, Err(LockError::Taken { waited, .. }) if *waited < SOON),
        "{refused:?}"
    );
    assert_eq!(one.stats().failed, failed + 1);
    assert!(is_lost(&lease.release().await));
    assert_eq!(one.stats().lost, lost + 1);
    next.release().await?;
    assert!(!is_taken(one, "extended").await?);
    Ok(())
}

async fn a_late_holder_frees_nothing(one: &Locks, other: &Locks) -> Tested {
    let ttl = 200 * MS;
    let mut extends = one.acquire("late", ttl).await?;
    let mut next = other.acquire("late", LONG).await?;
    let stats = one.stats();
    assert!(is_lost(&extends.extend(LONG).await));
    assert!(extends.remaining().is_zero());
    assert!(is_taken(one, "late").await?);
    next.extend(LONG).await?;
    assert!(is_lost(&extends.release().await));
    assert!(is_taken(one, "late").await?);
    next.release().await?;

    // One that is dropped frees nothing of another either.
    let dropped = one.acquire("late", ttl).await?;
    let next = other.acquire("late", LONG).await?;
    drop(dropped);
    sleep(100 * MS).await;
    assert!(is_taken(one, "late").await?);
    next.release().await?;
    let lost = async || one.stats().lost == stats.lost + 2;
    wait::until_async("each loss is counted once", SOON, lost).await?;

    // Nor is one whose extension nobody waited for, and that counts as lost.
    let mut left = one.acquire("late", LONG).await?;
    let extended = left.extend(LONG).now_or_never();
    drop(left);
    is_free_soon(one, "late").await?;
    let expected = stats.lost + 2 + u64::from(extended.is_none());
    assert_eq!(one.stats().lost, expected);
    Ok(())
}

async fn work_frees_its_lock_however_it_ends(one: &Locks, other: &Locks) -> Tested {
    let seven = one.with_lock("work", async {
        assert_eq!(is_taken(other, "work").await, Ok(true));
        7
    });
    assert_eq!(seven.await, Ok(7));
    assert!(!is_taken(other, "work").await?);

    let failed = one.with_lock("work", async { Err::<(), _>("as planned") });
    assert_eq!(failed.await, Ok(Err("as planned")));
    assert!(!is_taken(other, "work").await?);

    let (locks, rival) = (one.clone(), other.clone());
    let panicked = tokio::spawn(async move {
        let work = async {
            assert_eq!(is_taken(&rival, "work").await, Ok(true));
            panic!("as planned");
        };
        locks.with_lock("work", work).await
    });
    let panic = panicked.await.err().ok_or("no panic")?.into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"as planned"));
    is_free_soon(other, "work").await?;

    let (begin, begun) = oneshot::channel();
    let locks = one.clone();
    let cancelled = tokio::spawn(async move {
        let work = async {
            // The test has gone if nobody listens.
            let _ = begin.send(());
            pending::<()>().await;
        };
        locks.with_lock("work", work).await
    });
    begun.await?;
    assert!(is_taken(other, "work").await?);
    cancelled.abort();
    is_free_soon(other, "work").await?;
    wait::until_async("none is active", SOON, async || one.stats().active == 0).await
}

async fn a_caller_that_went_away_leaves_nothing_locked(one: &Locks, other: &Locks) -> Tested {
    for number in 0..100 {
        let locks = one.clone();
        let caller = tokio::spawn(async move { locks.acquire("left", LONG).await });
        // Some before their attempt, some in the middle of it, some after it.
        sleep(Duration::from_micros(20 * number)).await;
        caller.abort();
        drop(caller.await);
    }
    is_free_soon(other, "left").await?;
    wait::until_async("none is active", SOON, async || one.stats().active == 0).await
}

async fn work_keeps_its_lock_beyond_its_lifetime(rivals: &Rivals) -> Tested {
    let Rivals { one, other } = rivals;
    let work = async {
        for _ in 0..10 {
            sleep(200 * MS).await;
            assert_eq!(is_taken(other, "long").await, Ok(true));
        }
    };
    one.with_lock("long", work).await?;
    let stats = one.stats();
    assert!(stats.extended >= 3, "{stats:?}");
    assert_eq!(stats.lost, 0);
    assert!(!is_taken(other, "long").await?);
    Ok(())
}

#[tokio::test]
async fn locks_of_a_process_keep_their_promises() -> Tested {
    // Where two are to meet, they are clones.
    keeps_its_promises(|settings| Ok(Rivals::in_process(settings))).await
}

#[tokio::test]
async fn locks_on_one_redis_keep_their_promises() -> Tested {
    let servers = redis_servers(1)?;
    keeps_its_promises(|settings| Rivals::on(&servers, settings)).await
}

#[tokio::test]
async fn locks_on_three_redis_keep_their_promises() -> Tested {
    let servers = redis_servers(3)?;
    keeps_its_promises(|settings| Rivals::on(&servers, settings)).await
}

#[tokio::test]
async fn most_of_the_servers_are_enough_and_half_are_not() -> Tested {
    let mut servers = redis_servers(3)?;
    let Rivals { one, other } = Rivals::on(&servers, &settings())?;
    let held = one.acquire("held", LONG).await?;
    servers[0].stop()?;
    assert!(is_taken(&other, "held").await?);
    held.release().await?;
    one_holder_at_a_time(&one, &other).await?;
    servers[1].stop()?;
    let refused = one.acquire("held", LONG).await;
    let (reachable, servers_in_all) = (1, 3);
    assert_eq!(
        refused.err(),
        Some(LockError::Away {
            reachable,
            servers: servers_in_all,
        })
    );
    servers[0].start_again()?;
    is_free_soon(&one, "held").await
}

/// Two of three answer, and so nobody hears of the third; once it is silent, nobody waits for it either.
#[tokio::test]
async fn one_silent_server_of_three_is_in_nobodys_way() -> Tested {
    let servers = redis_servers(3)?;
    let Rivals { one, other } = Rivals::on(&servers, &settings())?;
    let mut held = one.acquire("held", LONG).await?;
    servers[2].pause()?;
    // With no question before that would have found it out.
    held.extend(LONG).await?;
    assert!(is_taken(&other, "held").await?);
    one_holder_at_a_time(&one, &other).await?;
    let since = Instant::now();
    for number in 0..50 {
        let name = format!("free {number}");
        one.acquire_within(&name, LONG, Duration::ZERO)
            .await?
            .release()
            .await?;
    }
    let took = since.elapsed();
    assert!(
        took < 5000 * MS,
        "they waited {took:?} for a server that is away"
    );
    held.release().await?;
    let (stats, others) = (one.stats(), other.stats());
    assert_eq!((stats.failed, stats.lost), (0, 0), "{stats:?}");
    assert_eq!(others.lost, 0, "{others:?}");
    // It is used again when it is back: also without another one.
    servers[2].resume()?;
    servers[0].pause()?;
    is_free_soon(&one, "back").await?;
    servers[0].resume()?;
    one_holder_at_a_time(&one, &other).await
}

/// Who finds a lock taken opens no connection: else clients could open as many as they like.
#[tokio::test]
async fn a_taken_lock_costs_no_connection() -> Tested {
    let servers = redis_servers(3)?;
    let Rivals { one, other } = Rivals::on(&servers, &settings())?;
    let held = one.acquire("held", LONG).await?;
    assert!(is_taken(&other, "held").await?);
    let connections = async || {
        let mut all = 0;
        for server in &servers {
            let client = redis::Client::open(server.url())?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut info = redis::cmd("INFO");
            let info: String = info.arg("stats").query_async(&mut connection).await?;
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix("total_connections_received:"));
            all += line.ok_or("no such figure")?.trim().parse::<u64>()?;
        }
        Ok::<_, Box<dyn Error>>(all)
    };
    let before = connections().await?;
    for _ in 0..50 {
        assert!(is_taken(&other, "held").await?);
    }
    // Those that count.
    assert_eq!(connections().await? - before, 3);
    Ok(held.release().await?)
}

#[tokio::test]
async fn work_whose_lock_is_gone_is_dropped_and_told() -> Tested {
    let servers = redis_servers(1)?;
    let short = LockSettings {
        ttl_ms: 900,
        ..settings()
    };
    let Rivals { one, other } = Rivals::on(&servers, &short)?;
    let ended = Arc::new(AtomicBool::new(false));
    let work = async {
        let _told = OnDrop(Arc::clone(&ended));
        let mut connection = redis::Client::open(servers[0].url())?
            .get_multiplexed_async_connection()
            .await?;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        let next = other.acquire("forgotten", LONG).await;
        pending::<()>().await;
        drop(next);
        Ok::<_, redis::RedisError>(())
    };
    let lost = one.with_lock("forgotten", work);
    let lost = tokio::time::timeout(SOON, lost).await?;
    assert!(is_lost(&lost), "{lost:?}");
    assert!(ended.load(Ordering::SeqCst), "the work goes on");
    assert_eq!(one.stats().lost, 1);
    Ok(())
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Many callers at once, none of whom may wait for longer than the servers are given to answer.
async fn all_are_told_that_it_is_away(locks: &Locks) -> Tested {
    let since = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..100 {
        let locks = locks.clone();
        callers.spawn(async move { locks.acquire(&number.to_string(), LONG).await.err() });
    }
    while let Some(error) = callers.join_next().await {
        assert!(matches!(error?, Some(LockError::Away { servers: 1, .. })));
    }
    let took = since.elapsed();
    // The question and the one whether anybody answers, and some for a busy machine.
    assert!(took < 4000 * MS, "they waited {took:?}");
    // From now on nobody waits at all.
    let since = Instant::now();
    assert!(locks.acquire("spared", LONG).await.is_err());
    assert!(since.elapsed() < 200 * MS, "{:?}", since.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_redis_that_stops_is_told_typed_and_used_again_when_it_is_back() -> Tested {
    let mut servers = redis_servers(1)?;
    let Rivals { one, other } = Rivals::on(&servers, &settings())?;
    let mut extends = one.acquire("extends", LONG).await?;
    let releases = one.acquire("releases", LONG).await?;
    let forgotten = one.acquire("forgotten", LONG).await?;
    servers[0].stop()?;
    let extended = extends.extend(LONG).await;
    assert!(
        matches!(extended, Err(LockError::Away { .. })),
        "{extended:?}"
    );
    assert!(
        extends.remaining().is_zero(),
        "a lock is trusted that may be gone"
    );
    let released = releases.release().await;
    assert!(
        matches!(released, Err(LockError::Away { .. })),
        "{released:?}"
    );
    all_are_told_that_it_is_away(&one).await?;
    all_are_told_that_it_is_away(&other).await?;

    servers[0].start_again()?;
    is_free_soon(&one, "releases").await?;
    is_free_soon(&other, "releases").await?;
    // It came back empty: what it was told to keep is another's already, and its holder hears of it.
    let next = other.acquire("forgotten", LONG).await?;
    assert!(is_lost(&forgotten.release().await));
    next.release().await?;
    one_holder_at_a_time(&one, &other).await
}

#[tokio::test]
async fn a_redis_that_hangs_hangs_nobody() -> Tested {
    let servers = redis_servers(1)?;
    let Rivals { one, other } = Rivals::on(&servers, &settings())?;
    one.acquire("warm", LONG).await?.release().await?;
    servers[0].pause()?;
    all_are_told_that_it_is_away(&one).await?;
    all_are_told_that_it_is_away(&other).await?;
    servers[0].resume()?;
    is_free_soon(&one, "warm").await?;
    is_free_soon(&other, "warm").await?;
    one_holder_at_a_time(&one, &other).await
}

/// It gives every lock that it is asked for, when nobody waits for it any more.
#[tokio::test]
async fn a_slow_redis_is_away_and_keeps_no_lock_given_late() -> Tested {
    let server = Redis::start()?;
    let way = Way::to(&server.url()).await?;
    let Rivals { one, other } = Rivals::at(&[way.url()], &settings())?;
    one.acquire("warm", LONG).await?.release().await?;
    other.acquire("warm", LONG).await?.release().await?;
    let client = redis::Client::open(server.url())?;
    let mut direct = client.get_multiplexed_async_connection().await?;
    redis::cmd("CONFIG")
        .arg("RESETSTAT")
        .exec_async(&mut direct)
        .await?;
    way.delay(500 * MS);
    all_are_told_that_it_is_away(&one).await?;
    all_are_told_that_it_is_away(&other).await?;
    let mut info = redis::cmd("INFO");
    let info: String = info.arg("commandstats").query_async(&mut direct).await?;
    let asked = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    let asked = asked.and_then(|line| line.split(',').next());
    let asked: u64 = asked.ok_or("nobody asked")?.parse()?;
    assert!(asked >= 100, "{info}");

    way.delay(Duration::ZERO);
    for number in 0..100 {
        is_free_soon(&one, &number.to_string()).await?;
        is_free_soon(&other, &number.to_string()).await?;
    }
    one_holder_at_a_time(&one, &other).await
}

#[tokio::test]
async fn clearing_the_cache_frees_no_lock() -> Tested {
    let servers = redis_servers(1)?;
    let Rivals { one, other } = Rivals::on(&servers, &settings())?;
    let held = one.acquire("held", LONG).await?;
    let cache = RedisTier::connect(&servers[0].url(), &CacheSettings::default())?;
    cache.invalidate("a test", &[Scope::All]).await?;
    assert!(is_taken(&other, "held").await?);
    Ok(held.release().await?)
}

// A holder that is a process of its own, stopped by a signal while it holds two locks.

const HOLDER: &str = "PLIMSOLL_TEST_LOCK_HOLDER";
/// How long the locks of the holder live.
const HOLDER_TTL: Duration = Duration::from_millis(1500);

/// This executable again, as the holder; killed when dropped.
struct Holder(Child);

impl Holder {
    fn start(redis: &Redis) -> io::Result<Self> {
        let child = command_as(None, &std::env::current_exe()?)
            .args(["--exact", "holder_process", "--ignored", "--nocapture"])
            .env(HOLDER, redis.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        Ok(kill(Pid::from_raw(i32::try_from(self.0.id())?), signal)?)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_holder_paused_beyond_its_lease_finds_that_it_has_lost_it() -> Tested {
    let redis = Redis::start()?;
    let locks = Locks::redis(&[redis.url()], &settings())?;
    let mut holder = Holder::start(&redis)?;
    let output = holder.0.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(output).lines();
    let mut line = |expected: &str| -> Tested {
        // The test harness writes lines of its own.
        let found = lines.find_map(|line| line.ok().filter(|line| line.contains("holder: ")));
        let found = found.ok_or("the holder ended")?;
        assert!(found.ends_with(expected), "{found} instead of {expected}");
        Ok(())
    };
    line("holder: holds both")?;
    assert!(is_taken(&locks, "held").await?);
    assert!(is_taken(&locks, "worked under").await?);

    holder.signal(Signal::SIGSTOP)?;
    let mut held = locks.acquire("held", LONG).await?;
    let mut worked_under = locks.acquire("worked under", LONG).await?;
    holder.signal(Signal::SIGCONT)?;
    writeln!(holder.0.stdin.as_ref().ok_or("no input")?)?;
    line("holder: extension lost")?;
    line("holder: release lost")?;
    line("holder: work lost")?;
    // Nothing that it did freed what is another's by now.
    held.extend(LONG).await?;
    worked_under.extend(LONG).await?;
    held.release().await?;
    worked_under.release().await?;
    assert!(holder.0.wait()?.success());
    Ok(())
}

#[tokio::test]
#[ignore = "the holder that another test starts and stops"]
async fn holder_process() -> Tested {
    // Run with all ignored tests, there is nothing to hold.
    let Ok(redis) = std::env::var(HOLDER) else {
        return Ok(());
    };
    let settings = LockSettings {
        ttl_ms: u64::try_from(HOLDER_TTL.as_millis())?,
        ..settings()
    };
    let locks = Locks::redis(&[redis], &settings)?;
    let mut lease = locks.acquire("held", HOLDER_TTL).await?;
    let (begin, begun) = oneshot::channel();
    let work = tokio::spawn(async move {
        let work = async {
            let _ = begin.send(());
            pending::<()>().await;
        };
        locks.with_lock("worked under", work).await
    });
    begun.await?;
    say("holds both")?;
    let resumed = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
    resumed.await??;
    let word = |lost: bool| if lost { "lost" } else { "kept" };
    say(&format!(
        "extension {}",
        word(is_lost(&lease.extend(LONG).await))
    ))?;
    say(&format!(
        "release {}",
        word(is_lost(&lease.release().await))
    ))?;
    say(&format!("work {}", word(is_lost(&work.await?))))?;
    Ok(())
}

fn say(what: &str) -> io::Result<()> {
    // What a test prints otherwise is caught by its harness.
    writeln!(io::stdout(), "holder: {what}")
}
