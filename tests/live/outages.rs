//! Hubs on one Redis, and what becomes of updates when that breaks.

use std::time::Duration;

use plimsoll::datalayer::config::LiveSettings;
use plimsoll::datalayer::live::{Hub, Subscription};
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};

use crate::fixture::{Place, is_gap, joined, next, numbers, position, rooms, say, until};
use crate::support::servers::Redis;
use crate::support::way::Way;

/// Short pauses, so that tests are short.
fn settings() -> LiveSettings {
    LiveSettings {
        batch_ms: 20,
        retry_min_ms: 20,
        retry_max_ms: 100,
        check_ms: 200,
        ..LiveSettings::default()
    }
}

/// Everything that is told up to a number, that one included, and whether there was a gap.
async fn up_to(subscription: &mut Subscription, last: u64) -> (Vec<u64>, bool) {
    let (mut told, mut gap) = (Vec::new(), false);
    while !told.contains(&last) {
        let message = next(subscription).await;
        gap |= is_gap(&message);
        told.extend(numbers(&message));
    }
    (told, gap)
}

async fn until_gap(subscription: &mut Subscription) -> Vec<u64> {
    let mut told = Vec::new();
    loop {
        let message = next(subscription).await;
        told.extend(numbers(&message));
        if is_gap(&message) {
            return told;
        }
    }
}

fn seq_of(message: &Json) -> Vec<Json> {
    let updates = message["updates"].as_array().unwrap();
    updates.iter().map(|update| update["seq"].clone()).collect()
}

async fn redis(place: &Place) -> redis::aio::MultiplexedConnection {
    let url = place.redis.as_ref().unwrap().url();
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Waits until a hub hears what another says.
async fn linked(from: &Hub, subscription: &mut Subscription) {
    say(from, 0);
    up_to(subscription, 0).await;
}

/// Waits until a hub listens to Redis.
async fn listening(place: &Place) {
    let mut redis = redis(place).await;
    until("somebody listens", async || {
        let mut ask = redis::cmd("PUBSUB");
        ask.arg("NUMSUB").arg("refservice-live:channel");
        let (_, count): (String, u64) = ask.query_async(&mut redis).await.unwrap();
        count == 1
    })
    .await;
}

#[tokio::test]
async fn processes_tell_each_other_in_one_order() {
    let place = Place::on_redis(settings());
    let hubs = [place.hub(), place.hub()];
    let (mut a, told) = joined(&hubs[0]).await;
    let (mut b, _) = joined(&hubs[1]).await;
    for number in 1..=200 {
        say(&hubs[number as usize % 2], number);
    }
    let collect = async |subscription: &mut Subscription| {
        let mut all = Vec::new();
        while all.len() < 200 {
            let message = next(subscription).await;
            assert!(!is_gap(&message));
            all.extend(seq_of(&message).into_iter().zip(numbers(&message)));
        }
        all
    };
    let (a, b) = (collect(&mut a).await, collect(&mut b).await);
    assert_eq!(a, b);
    let first = position(&told).seq + 1;
    let seqs: Vec<_> = a.iter().map(|(seq, _)| seq.as_u64().unwrap()).collect();
    assert_eq!(seqs, Vec::from_iter(first..first + 200));
    // What one process says keeps its order.
    for parity in [0, 1] {
        let said: Vec<_> = a.iter().map(|(_, number)| *number).collect();
        let said: Vec<_> = said
            .into_iter()
            .filter(|number| number % 2 == parity)
            .collect();
        assert!(said.is_sorted(), "{said:?}");
    }
    // Redis keeps it, for a limited time.
    let mut redis = redis(&place).await;
    let keys: Vec<String> = ["head", "log"]
        .map(|key| format!("refservice-live:{key}:t"))
        .into();
    for key in keys {
        let ttl = redis::cmd("TTL").arg(&key).clone();
        let ttl: i64 = ttl.query_async(&mut redis).await.unwrap();
        assert!((3000..=3600).contains(&ttl), "{key} {ttl}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_costs_nobody_an_update() {
    const UPDATES: u64 = 1000;
    let place = Place::on_redis(settings());
    let (a, b) = (place.hub(), place.hub());
    let (mut there, _) = joined(&b).await;
    linked(&a, &mut there).await;
    let mut redis = redis(&place).await;
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub");
    let saying = async {
        let mut killed = 0;
        for number in 1..=UPDATES {
            say(&a, number);
            if number % 50 == 0 {
                killed += kill.query_async::<u32>(&mut redis).await.unwrap();
            }
            sleep(Duration::from_millis(1)).await;
        }
        killed
    };
    let (killed, (told, gap)) = tokio::join!(saying, up_to(&mut there, UPDATES));
    assert!(killed >= 10, "{killed}");
    assert!(!gap);
    assert_eq!(told, Vec::from_iter(1..=UPDATES));
    assert!(b.stats().outages >= 1);
}

#[tokio::test]
async fn without_redis_a_process_tells_its_own_and_everybody_hears_of_the_gap() {
    let mut place = Place::on_redis(settings());
    let (a, b) = (place.hub(), place.hub());
    let (mut here, _) = joined(&a).await;
    let (mut there, old) = joined(&b).await;
    linked(&a, &mut there).await;
    up_to(&mut here, 0).await;

    place.redis.as_mut().unwrap().stop().unwrap();
    say(&a, 1);
    let message = next(&mut here).await;
    assert_eq!(
        (numbers(&message), seq_of(&message)),
        (vec![1], vec![Json::Null])
    );
    until("both know", async || {
        let stats = [a.stats(), b.stats()];
        stats
            .iter()
            .all(|stats| stats.outages == 1 && !stats.available)
    })
    .await;
    // Whoever comes meanwhile is let in, and resumes into a gap.
    let mut blind = b.connect("t").unwrap();
    blind.join(rooms(&["a"])).await;
    assert_eq!(next(&mut blind).await["joined"], json!(["a"]));
    let mut back = b.connect("t").unwrap();
    back.resume(rooms(&["a"]), &position(&old)).await.unwrap();
    assert!(is_gap(&next(&mut back).await));

    place.redis.as_mut().unwrap().start_again().unwrap();
    assert_eq!(until_gap(&mut here).await, Vec::<u64>::new());
    for subscription in [&mut there, &mut blind, &mut back] {
        assert_eq!(until_gap(subscription).await, Vec::<u64>::new());
    }
    say(&b, 2);
    for subscription in [&mut here, &mut there, &mut blind, &mut back] {
        assert_eq!(up_to(subscription, 2).await.0, [2]);
    }
    until("both know", async || {
        a.stats().available && b.stats().available
    })
    .await;
    // A client that was away all the time learns it as well.
    let mut late = a.connect("t").unwrap();
    late.resume(rooms(&["a"]), &position(&old)).await.unwrap();
    assert!(is_gap(&next(&mut late).await));
}

#[tokio::test]
async fn a_redis_that_stands_still_holds_up_nobody_and_nothing_comes_twice() {
    let place = Place::on_redis(impatient());
    let redis = place.redis.as_ref().unwrap();
    let hubs = [place.hub(), place.hub()];
    let (stall, go_on) = (|| redis.pause().unwrap(), || redis.resume().unwrap());
    nobody_is_held_up_and_nothing_comes_twice(hubs, stall, go_on).await;
}

/// Its answers come when nobody waits for them any more.
#[tokio::test]
async fn a_slow_redis_holds_up_nobody_and_nothing_comes_twice() {
    let redis = Redis::start().unwrap();
    let way = Way::to(&redis.url()).await.unwrap();
    let hubs = [(); 2].map(|()| Hub::redis(&way.url(), &impatient()).unwrap());
    let late = Duration::from_millis(500);
    let (stall, go_on) = (|| way.delay(late), || way.delay(Duration::ZERO));
    nobody_is_held_up_and_nothing_comes_twice(hubs, stall, go_on).await;
}

fn impatient() -> LiveSettings {
    LiveSettings {
        timeout_ms: 100,
        ..settings()
    }
}

async fn nobody_is_held_up_and_nothing_comes_twice(
    [a, b]: [Hub; 2],
    stall: impl FnOnce(),
    go_on: impl FnOnce(),
) {
    let (mut here, _) = joined(&a).await;
    let (mut there, _) = joined(&b).await;
    linked(&a, &mut there).await;
    up_to(&mut here, 0).await;

    stall();
    (1..=5).for_each(|number| say(&a, number));
    let (mut told, _) = up_to(&mut here, 5).await;
    go_on();
    // Redis does what it was asked, late; or it does not. Whatever it does, all hear of a gap, and no number
    // comes here a second time.
    told.extend(until_gap(&mut here).await);
    until_gap(&mut there).await;
    until("it is back", async || a.stats().available).await;
    sleep(Duration::from_millis(300)).await;
    say(&b, 6);
    told.extend(up_to(&mut here, 6).await.0);
    assert_eq!(told, [1, 2, 3, 4, 5, 6]);
    up_to(&mut there, 6).await;
}

#[tokio::test]
async fn a_number_that_is_missed_is_fetched_from_the_log_at_once() {
    let place = Place::on_redis(LiveSettings {
        check_ms: 3_600_000,
        ..settings()
    });
    let hub = place.hub();
    listening(&place).await;
    let (mut subscription, told) = joined(&hub).await;
    // Another process's update, whose message was lost on the way.
    let mut redis = redis(&place).await;
    let mut number = redis::cmd("HINCRBY");
    number.arg("refservice-live:head:t").arg("seq").arg(1);
    let seq: u64 = number.query_async(&mut redis).await.unwrap();
    assert_eq!(seq, position(&told).seq + 1);
    let change = json!({ "room": "a", "data": "1" });
    let body = json!({ "id": uuid::Uuid::nil(), "at_ns": 1, "change": change }).to_string();
    let mut enter = redis::cmd("XADD");
    enter.arg("refservice-live:log:t").arg(format!("{seq}-0"));
    let entered = enter.arg("body").arg(body).exec_async(&mut redis).await;
    entered.unwrap();
    say(&hub, 2);
    assert_eq!(up_to(&mut subscription, 2).await, (vec![1, 2], false));
}

#[tokio::test]
async fn a_process_that_nobody_is_connected_to_knows_whether_redis_is_there() {
    let mut place = Place::on_redis(settings());
    let hub = place.hub();
    listening(&place).await;
    let redis = place.redis.as_ref().unwrap();
    redis.pause().unwrap();
    until("it is silent", async || !hub.stats().available).await;
    redis.resume().unwrap();
    until("it answers", async || hub.stats().available).await;
    place.redis.as_mut().unwrap().stop().unwrap();
    until("it has gone", async || hub.stats().outages == 2).await;
    // Away all along, it is one outage.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(hub.stats().outages, 2);
}

#[tokio::test]
async fn a_log_that_is_lost_while_nobody_says_anything_is_noticed() {
    let place = Place::on_redis(settings());
    let hub = place.hub();
    let (mut subscription, told) = joined(&hub).await;
    let flush = redis::cmd("FLUSHALL")
        .exec_async(&mut redis(&place).await)
        .await;
    flush.unwrap();
    let message = next(&mut subscription).await;
    assert!(is_gap(&message), "{message}");
    assert_ne!(position(&message).epoch, position(&told).epoch);
    say(&hub, 1);
    assert_eq!(up_to(&mut subscription, 1).await, (vec![1], false));
}

#[tokio::test]
async fn a_redis_that_comes_back_older_gives_no_number_a_second_time() {
    let mut place = Place::on_redis(settings());
    let a = place.hub();
    // It comes back only when the other has said more than was lost.
    let late = LiveSettings {
        check_ms: 1000,
        retry_min_ms: 1500,
        retry_max_ms: 1500,
        ..settings()
    };
    let b = Hub::redis(&place.redis.as_ref().unwrap().url(), &late).unwrap();
    let (mut here, _) = joined(&a).await;
    let (mut there, _) = joined(&b).await;
    linked(&a, &mut there).await;
    (1..=5).for_each(|number| say(&a, number));
    up_to(&mut there, 5).await;
    let save = redis::cmd("SAVE")
        .exec_async(&mut redis(&place).await)
        .await;
    save.unwrap();
    (6..=10).for_each(|number| say(&a, number));
    up_to(&mut here, 5).await;
    let seen = loop {
        let message = next(&mut here).await;
        if numbers(&message).contains(&10) {
            break position(&message);
        }
    };
    up_to(&mut there, 10).await;
    drop(here);

    let server = place.redis.as_mut().unwrap();
    server.stop().unwrap();
    server.start_again().unwrap();
    let c = place.hub();
    (11..=20).for_each(|number| say(&c, number));
    let mut back = loop {
        let mut back = c.connect("t").unwrap();
        back.resume(rooms(&["a"]), &seen).await.unwrap();
        let told = next(&mut back).await;
        assert!(is_gap(&told), "{told}");
        if position(&told).seq >= 10 {
            break back;
        }
        sleep(Duration::from_millis(20)).await;
    };
    // Whoever was connected all the time is told, too.
    until("it listens again", async || b.stats().available).await;
    say(&c, 21);
    up_to(&mut back, 21).await;
    let (_, gap) = up_to(&mut there, 21).await;
    assert!(gap);
}

#[tokio::test]
async fn what_came_through_although_its_connection_broke_is_told_once() {
    const UPDATES: u64 = 1000;
    let place = Place::on_redis(settings());
    let hub = place.hub();
    let (mut here, _) = joined(&hub).await;
    linked(&hub, &mut here).await;
    let mut redis = redis(&place).await;
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal");
    kill.arg("SKIPME").arg("yes");
    let saying = async {
        let mut killed = 0;
        for number in 1..=UPDATES {
            say(&hub, number);
            if number % 20 == 0 {
                killed += kill.query_async::<u32>(&mut redis).await.unwrap();
            }
            sleep(Duration::from_millis(1)).await;
        }
        killed
    };
    let (killed, (mut told, _)) = tokio::join!(saying, up_to(&mut here, UPDATES));
    assert!(killed >= 10, "{killed}");
    // What is late comes before this.
    until("it is back", async || hub.stats().available).await;
    sleep(Duration::from_millis(300)).await;
    say(&hub, UPDATES + 1);
    told.extend(up_to(&mut here, UPDATES + 1).await.0);
    told.sort_unstable();
    assert_eq!(told, Vec::from_iter(1..=UPDATES + 1));
}

#[tokio::test]
async fn a_process_that_ends_pays_what_it_owes() {
    let mut place = Place::on_redis(settings());
    let patient = LiveSettings {
        retry_min_ms: 60_000,
        retry_max_ms: 60_000,
        ..settings()
    };
    let a = Hub::redis(&place.redis.as_ref().unwrap().url(), &patient).unwrap();
    let (mut here, _) = joined(&a).await;
    linked(&a, &mut here).await;
    place.redis.as_mut().unwrap().stop().unwrap();
    say(&a, 1);
    assert_eq!(up_to(&mut here, 1).await.0, [1]);
    place.redis.as_mut().unwrap().start_again().unwrap();
    // This one has missed nothing but what the other says.
    let b = place.hub();
    let (mut there, _) = joined(&b).await;
    linked(&b, &mut there).await;
    drop(here);
    a.close();
    timeout(Duration::from_secs(10), a.drained()).await.unwrap();
    drop(a);
    assert_eq!(until_gap(&mut there).await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_connection_that_hangs_is_replaced() {
    let place = Place::on_redis(settings());
    let way = Way::to(&place.redis.as_ref().unwrap().url()).await.unwrap();
    let impatient = LiveSettings {
        timeout_ms: 200,
        ..settings()
    };
    let hub = Hub::redis(&way.url(), &impatient).unwrap();
    let (mut here, _) = joined(&hub).await;
    linked(&hub, &mut here).await;
    way.hold();
    say(&hub, 1);
    assert_eq!(seq_of(&next(&mut here).await), [Json::Null]);
    until("others are made", async || hub.stats().available).await;
    until_gap(&mut here).await;
    say(&hub, 2);
    let message = next(&mut here).await;
    assert_eq!(numbers(&message), [2]);
    assert!(seq_of(&message)[0].is_u64(), "{message}");
}

#[tokio::test]
async fn more_than_may_wait_is_told_here_and_owed_elsewhere() {
    let place = Place::on_redis(LiveSettings {
        publish_queue_updates: 10,
        ..settings()
    });
    let (a, b) = (place.hub(), place.hub());
    let (mut here, _) = joined(&a).await;
    let (mut there, _) = joined(&b).await;
    linked(&a, &mut there).await;
    up_to(&mut here, 0).await;
    // Nobody is let run meanwhile who could carry them away.
    (1..=100).for_each(|number| say(&a, number));
    let mut told = Vec::new();
    let mut gap = false;
    while told.len() < 100 || !gap {
        let message = next(&mut here).await;
        gap |= is_gap(&message);
        told.extend(numbers(&message));
    }
    told.sort_unstable();
    assert_eq!(told, Vec::from_iter(1..=100));
    until_gap(&mut there).await;
}
