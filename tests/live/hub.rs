//! What a hub promises, wherever its log is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll::datalayer::config::LiveSettings;
use plimsoll::datalayer::live::{Ending, NotFirst, Position, Refused};
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};

use crate::PATIENCE;
use crate::fixture::{everywhere, is_gap, joined, next, numbers, position, rooms, say};

#[tokio::test]
async fn everybody_gets_what_happens_in_the_rooms_of_the_own_tenant() {
    everywhere(LiveSettings::default(), async |place| {
        let hub = place.hub();
        let (mut a, _) = joined(&hub).await;
        let mut both = hub.connect("t").unwrap();
        both.join(rooms(&["a", "b"])).await;
        assert_eq!(next(&mut both).await["joined"], json!(["a", "b"]));
        let mut other = hub.connect("u").unwrap();
        other.join(rooms(&["a"])).await;
        next(&mut other).await;

        hub.publish("t", "b", &json!(1));
        hub.publish("t", "a", &json!(2));
        hub.publish("u", "a", &json!(3));
        let message = next(&mut both).await;
        assert_eq!(numbers(&message), [1, 2]);
        assert_eq!(message["updates"][0]["room"], "b");
        assert_eq!(message["updates"][1]["seq"], message["seq"]);
        assert_eq!(numbers(&next(&mut a).await), [2]);
        assert_eq!(numbers(&next(&mut other).await), [3]);

        both.leave("a");
        say(&hub, 4);
        hub.publish("t", "b", &json!(5));
        assert_eq!(numbers(&next(&mut both).await), [5]);
        assert_eq!(numbers(&next(&mut a).await), [4]);
        let stats = hub.stats();
        assert_eq!((stats.connections, stats.rooms), (3, 3));
        assert_eq!((stats.published, stats.delivered), (5, 6));
        assert!(stats.available && stats.outages == 0);
    })
    .await;
}

#[tokio::test]
async fn what_happens_within_the_interval_comes_together_at_its_end() {
    everywhere(LiveSettings::default(), async |place| {
        let hub = place.hub();
        let (mut subscription, _) = joined(&hub).await;
        let began = Instant::now();
        for number in 0..20 {
            say(&hub, number);
            sleep(Duration::from_millis(1)).await;
        }
        let mut told = Vec::new();
        let mut messages = 0;
        while told.len() < 20 {
            told.extend(numbers(&next(&mut subscription).await));
            messages += 1;
            assert!(began.elapsed() >= Duration::from_millis(100 * messages));
        }
        assert_eq!(told, Vec::from_iter(0..20));
        // A machine that is busy may take longer to say them all, yet not as many messages.
        let most = began.elapsed().as_millis() / 100;
        assert!(u128::from(messages) <= most, "{messages} {most}");
        let latency = hub.stats().latency;
        assert_eq!(latency.count, messages);
        // The first of each message waited for the whole interval.
        assert!(latency.p50_ns >= 99_000_000, "{latency:?}");
        assert!(latency.p50_ns <= latency.p95_ns && latency.p95_ns <= latency.p99_ns);
    })
    .await;
}

#[tokio::test]
async fn many_updates_do_not_wait_for_the_interval() {
    let settings = LiveSettings {
        batch_ms: 3_600_000,
        batch_max_updates: 10,
        ..LiveSettings::default()
    };
    everywhere(settings, async |place| {
        let hub = place.hub();
        let (mut subscription, _) = joined(&hub).await;
        (0..10).for_each(|number| say(&hub, number));
        let message = next(&mut subscription).await;
        assert_eq!(numbers(&message), Vec::from_iter(0..10));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_loses_nothing_and_gets_nothing_twice() {
    const UPDATES: u64 = 2000;
    let settings = LiveSettings {
        batch_ms: 5,
        history_updates: UPDATES as usize,
        ..LiveSettings::default()
    };
    everywhere(settings, async |place| {
        let first = Arc::new(place.hub());
        // Where there is Redis, every other connection is to another process.
        let second = match &place.redis {
            Some(_) => Arc::new(place.hub()),
            None => Arc::clone(&first),
        };
        let (subscription, told) = joined(&first).await;
        drop(subscription);
        let hub = Arc::clone(&first);
        let publishing = tokio::spawn(async move {
            for number in 0..UPDATES {
                say(&hub, number);
                if number % 3 == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let mut after = position(&told);
        let mut told = Vec::new();
        let mut round = 0;
        while (told.len() as u64) < UPDATES {
            round += 1;
            let hub = if round % 2 == 0 { &first } else { &second };
            let mut subscription = hub.connect("t").unwrap();
            subscription.resume(rooms(&["a"]), &after).await.unwrap();
            // Sometimes it goes before it has heard anything.
            for _ in 0..round % 4 {
                if told.len() as u64 == UPDATES {
                    break;
                }
                let message = next(&mut subscription).await;
                assert!(!is_gap(&message), "{message}");
                told.extend(numbers(&message));
                after = position(&message);
            }
        }
        publishing.await.unwrap();
        assert_eq!(told, Vec::from_iter(0..UPDATES));
        assert!(round > 20, "it came back only {round} times");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_a_gap() {
    let settings = LiveSettings {
        batch_ms: 5,
        history_updates: 10,
        ..LiveSettings::default()
    };
    everywhere(settings, async |place| {
        let hub = place.hub();
        let (mut subscription, told) = joined(&hub).await;
        let begin = position(&told);
        // Redis keeps up to a hundred more.
        (0..500).for_each(|number| say(&hub, number));
        let mut last = Json::Null;
        while last != 499 {
            last = next(&mut subscription).await["updates"]
                .as_array()
                .and_then(|updates| Some(updates.last()?["data"].clone()))
                .unwrap();
        }
        let head = Position {
            seq: begin.seq + 500,
            ..begin.clone()
        };
        let at = |epoch: &str, seq| Position {
            epoch: epoch.to_owned(),
            seq,
        };
        let check = async |after: &Position, expected: Option<&[u64]>| {
            let mut back = hub.connect("t").unwrap();
            back.resume(rooms(&["a"]), after).await.unwrap();
            let message = next(&mut back).await;
            assert_eq!(is_gap(&message), expected.is_none(), "{after:?} {message}");
            assert_eq!(numbers(&message), expected.unwrap_or_default());
            assert_eq!(position(&message), head);
            assert_eq!(message["joined"], json!(["a"]));
        };
        check(&begin, None).await;
        check(&at("another", 490), None).await;
        check(&at("", 0), None).await;
        check(&at(&head.epoch, u64::MAX), None).await;
        check(&at(&head.epoch, head.seq + 1), None).await;
        check(&at(&head.epoch, head.seq - 3), Some(&[497, 498, 499])).await;
        check(&head, Some(&[])).await;
        // It goes on after a gap as ever.
        let mut back = hub.connect("t").unwrap();
        back.resume(rooms(&["a"]), &begin).await.unwrap();
        next(&mut back).await;
        say(&hub, 1000);
        assert_eq!(numbers(&next(&mut back).await), [1000]);
        assert!(hub.stats().gaps >= 6);
    })
    .await;
}

#[tokio::test]
async fn resuming_comes_first_and_knows_its_rooms() {
    everywhere(LiveSettings::default(), async |place| {
        let hub = place.hub();
        let (mut subscription, told) = joined(&hub).await;
        let begin = position(&told);
        say(&hub, 1);
        hub.publish("t", "b", &json!(2));
        next(&mut subscription).await;
        let refused = subscription.resume(rooms(&["b"]), &begin).await;
        assert_eq!(refused, Err(NotFirst));
        let mut back = hub.connect("t").unwrap();
        let counted = hub.stats().latency.count;
        back.resume(rooms(&["b"]), &begin).await.unwrap();
        assert_eq!(numbers(&next(&mut back).await), [2]);
        // How long it was away is nobody's delay.
        assert_eq!(hub.stats().latency.count, counted);
        // Another tenant's log is another log.
        let mut other = hub.connect("u").unwrap();
        other.resume(rooms(&["a"]), &begin).await.unwrap();
        assert_eq!(numbers(&next(&mut other).await), Vec::<u64>::new());
    })
    .await;
}

#[tokio::test]
async fn a_tenant_has_so_many_connections_and_no_more() {
    everywhere(LiveSettings::default(), async |place| {
        let hub = place.hub();
        let mut open = Vec::new();
        for _ in 0..100 {
            open.push(hub.connect("t").unwrap());
        }
        assert_eq!(hub.connect("t").err(), Some(Refused::Full));
        let other = hub.connect("u").unwrap();
        assert_eq!(hub.connect("t").err(), Some(Refused::Full));
        open.pop();
        open.push(hub.connect("t").unwrap());
        let stats = hub.stats();
        assert_eq!((stats.connections, stats.refused), (101, 2));
        drop((open, other));
        assert_eq!(hub.stats().connections, 0);
    })
    .await;
}

#[tokio::test]
async fn who_does_not_read_is_let_go_and_nobody_else_is_the_worse_for_it() {
    let settings = LiveSettings {
        batch_ms: 5,
        batch_max_updates: 10,
        queue_batches: 20,
        ..LiveSettings::default()
    };
    everywhere(settings, async |place| {
        let hub = place.hub();
        let (slow, _) = joined(&hub).await;
        let (mut quick, _) = joined(&hub).await;
        let mut told = Vec::new();
        for number in 0..1000 {
            say(&hub, number);
            while number % 100 == 99 && (told.len() as u64) <= number {
                told.extend(numbers(&next(&mut quick).await));
            }
        }
        assert_eq!(told, Vec::from_iter(0..1000));
        assert_eq!(timeout(PATIENCE, slow.ending()).await, Ok(Ending::Slow));
        let quick_ends = timeout(Duration::from_millis(10), quick.ending()).await;
        assert!(quick_ends.is_err(), "{quick_ends:?}");
        assert_eq!(hub.stats().connections, 2, "it is there until it has gone");
        drop(slow);
        let stats = hub.stats();
        assert_eq!((stats.connections, stats.slow), (1, 1));
        assert_eq!(stats.delivered, 1000);
        // What it had in its queue, and the message for which there was no room.
        assert!((1..=210).contains(&stats.dropped), "{stats:?}");
    })
    .await;
}

#[tokio::test]
async fn a_hub_that_closes_ends_everybody_and_tells_what_was_said() {
    everywhere(LiveSettings::default(), async |place| {
        let hub = place.hub();
        let (first, told) = joined(&hub).await;
        let second = hub.connect("u").unwrap();
        say(&hub, 7);
        hub.close();
        for subscription in [&first, &second] {
            let ending = timeout(PATIENCE, subscription.ending()).await;
            assert_eq!(ending, Ok(Ending::Closing));
        }
        assert_eq!(hub.connect("t").err(), Some(Refused::Closing));
        let drained = timeout(Duration::from_millis(50), hub.drained()).await;
        assert!(drained.is_err(), "two connections are open");
        drop((first, second));
        timeout(PATIENCE, hub.drained()).await.unwrap();
        drop(hub);
        if place.redis.is_some() {
            // Another process knows it.
            let hub = place.hub();
            let mut back = hub.connect("t").unwrap();
            back.resume(rooms(&["a"]), &position(&told)).await.unwrap();
            assert_eq!(numbers(&next(&mut back).await), [7]);
        } else {
            // A new log is not the old one.
            let hub = place.hub();
            let mut back = hub.connect("t").unwrap();
            back.resume(rooms(&["a"]), &position(&told)).await.unwrap();
            assert!(is_gap(&next(&mut back).await));
        }
    })
    .await;
}
