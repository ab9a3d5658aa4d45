//! How connections come to their end, and how many there may be.

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use plimsoll::service::Settings;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::PATIENCE;
use crate::fixture::{Api, Process, Service, TENANT, on_either, settings, sqlite, until};

/// A service with some settings of its own.
async fn service(change: impl FnOnce(&mut Settings)) -> (Service, TempDir) {
    let mut settings = settings();
    change(&mut settings);
    let folder = TempDir::new().unwrap();
    let service = Service::start(&sqlite(&folder), None, settings).await;
    (service, folder)
}

async fn until_connections(api: &Api, expected: f64) {
    let what = format!("{expected} connections");
    until(&what, async || {
        api.metric("live_connections").await == expected
    })
    .await;
}

#[tokio::test]
async fn the_hundred_and_first_connection_of_a_tenant_is_refused() {
    on_either(settings(), async |api| {
        let mut open = Vec::new();
        for number in 0..100 {
            open.push(api.connect(TENANT, &format!("u{number}")).await.unwrap());
        }
        let refused = api.connect(TENANT, "late").await.err().unwrap();
        assert_eq!(refused, (429, "too_many_connections".to_owned()));
        assert_eq!(api.metric("live_refused_total").await, 1.0);
        api.connect(TENANT + 1, "late").await.unwrap();
        // One that closes makes room.
        open.pop().unwrap().0.close(None).await.unwrap();
        // The other tenant's has gone too.
        until_connections(api, 99.0).await;
        let mut last = api.connect(TENANT, "late").await.unwrap();
        last.join(&["clients"]).await;
        // So do those that go without a word.
        drop((open, last));
        until_connections(api, 0.0).await;
    })
    .await;
}

#[tokio::test]
async fn who_died_without_a_word_makes_room() {
    let mut settings = settings();
    settings.live.connections_per_tenant = 1;
    settings.live.ping_ms = 100;
    settings.live.peer_timeout_ms = 500;
    on_either(settings, async |api| {
        // It answers no ping, since nobody reads from it; its connection stays open.
        let dead = api.connect(TENANT, "dead").await.unwrap();
        assert!(api.connect(TENANT, "next").await.is_err());
        until_connections(api, 0.0).await;
        let mut alive = api.connect(TENANT, "next").await.unwrap();
        alive.join(&["clients"]).await;
        // One that is read from answers, and stays, for many times as long.
        let heard = timeout(Duration::from_secs(2), alive.hear()).await;
        assert!(heard.is_err(), "{heard:?}");
        drop(dead);
    })
    .await;
}

#[tokio::test]
async fn more_than_fifty_messages_a_minute_of_a_user_are_the_end() {
    on_either(settings(), async |api| {
        let mut first = api.connect(TENANT, "ada").await.unwrap();
        let mut second = api.connect(TENANT, "ada").await.unwrap();
        let mut other = api.connect(TENANT, "bob").await.unwrap();
        let said = Instant::now();
        for number in 0..50 {
            let socket = if number % 2 == 0 {
                &mut first
            } else {
                &mut second
            };
            socket.join(&["clients"]).await;
        }
        // A slow test may say one more a second or so.
        let mut more = 0;
        let refused = loop {
            first.say(&json!({ "join": "clients" })).await;
            let answer = first.hear().await.unwrap();
            if answer.get("error").is_some() {
                break answer;
            }
            more += 1;
        };
        assert!(more <= said.elapsed().as_secs() + 1, "{more}");
        assert_eq!(refused["error"]["code"], "rate_limited");
        assert_eq!(first.hear().await, Err(Some(1008)));
        // They are counted together, whatever they are, and of each user alone.
        let mut end = None;
        until("the other one is closed", async || {
            // Once it is closed, there is still to be read why.
            let _ = second.0.send(Message::Ping(Vec::new().into())).await;
            match timeout(Duration::from_millis(50), second.hear()).await {
                Ok(Ok(answer)) => assert_eq!(answer["error"]["code"], "rate_limited"),
                Ok(Err(code)) => end = Some(code),
                Err(_) => {}
            }
            end.is_some()
        })
        .await;
        assert_eq!(end, Some(Some(1008)));
        other.join(&["clients"]).await;
        until_connections(api, 1.0).await;
    })
    .await;
}

#[tokio::test]
async fn who_has_no_name_is_counted_by_the_connection() {
    let (service, _folder) = service(|settings| settings.live.messages_per_min = 5).await;
    let api = &service.api;
    let mut first = api.connect(TENANT, "").await.unwrap();
    let mut second = api.connect(TENANT, "").await.unwrap();
    for _ in 0..5 {
        first.join(&["clients"]).await;
    }
    for _ in 0..5 {
        second.join(&["clients"]).await;
    }
    let end = loop {
        first.say(&json!({ "join": "clients" })).await;
        let answer = first.hear().await.unwrap();
        if answer.get("error").is_some() {
            break answer;
        }
    };
    assert_eq!(end["error"]["code"], "rate_limited");
    until_connections(api, 1.0).await;
}

/// Pings at full speed of a client that takes no answer: what is to be written to it does not pile up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pings_and_does_not_read_costs_no_memory() {
    const MIB: u64 = 1024 * 1024;
    const FRAME_BYTES: usize = 6 + 125;
    let env = [
        ("REFSERVICE__LIVE__MESSAGES_PER_MIN", "0"),
        // It is not asked itself.
        ("REFSERVICE__LIVE__PING_MS", "600000"),
    ];
    let process = Process::start(&[], &env).await;
    let api = &process.api;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let address = api.address().parse().unwrap();
    let stream = socket.connect(address).await.unwrap();
    let mut connected = api.connect_over(stream, TENANT, "").await.unwrap();
    connected.join(&["clients"]).await;
    let stream = connected.0.get_mut();
    // A whole ping of 125 bytes, under a mask of zeros.
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.resize(FRAME_BYTES, b'x');
    let pings = ping.repeat(1000);
    let before = process.service.memory("VmRSS");
    let mut sent = 0;
    while sent < 64 * MIB as usize {
        stream.write_all(&pings).await.unwrap();
        sent += pings.len();
    }
    let grown = process.service.memory("VmHWM").saturating_sub(before);
    assert!(grown < 24 * MIB, "{} MiB more", grown / MIB);
    assert_eq!(api.metric("live_connections").await, 1.0);
}

#[tokio::test]
async fn who_says_and_hears_nothing_is_let_go() {
    const IDLE: Duration = Duration::from_millis(1000);
    let mut settings = settings();
    settings.live.idle_ms = IDLE.as_millis() as u64;
    settings.live.ping_ms = 50;
    on_either(settings, async |api| {
        let id = api.clients(TENANT).await[0];
        let began = Instant::now();
        let mut idle = api.connect(TENANT, "idle").await.unwrap();
        let mut told = api.connect(TENANT, "told").await.unwrap();
        told.join(&["clients"]).await;
        // Answering pings is no life.
        let reading = tokio::spawn(async move { (idle.hear().await, began.elapsed()) });
        for _ in 0..6 {
            api.change(TENANT, id).await.unwrap();
            assert_eq!(told.changes().await.len(), 1);
            tokio::time::sleep(IDLE / 4).await;
        }
        let (end, after) = reading.await.unwrap();
        assert_eq!(end, Err(Some(1000)));
        assert!(after >= IDLE, "{after:?}");
        let since = Instant::now();
        assert_eq!(told.hear().await, Err(Some(1000)));
        assert!(since.elapsed() >= IDLE / 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_or_no_message_is_the_end() {
    let (service, _folder) = service(|_| ()).await;
    let api = &service.api;
    let mut socket = api.connect(TENANT, "ada").await.unwrap();
    socket.say(&json!({ "join": "x".repeat(4000) })).await;
    assert_eq!(
        socket.hear().await.unwrap()["error"]["code"],
        "unknown_room"
    );
    socket.say(&json!({ "join": "x".repeat(5000) })).await;
    assert_eq!(socket.hear().await, Err(Some(1009)));
    let mut socket = api.connect(TENANT, "ada").await.unwrap();
    let binary = Message::Binary(vec![0; 100].into());
    socket.0.send(binary).await.unwrap();
    let answer = socket.hear().await.unwrap();
    assert_eq!(answer["error"]["code"], "invalid_message");
    drop(socket);
    until_connections(api, 0.0).await;
}

#[tokio::test]
async fn a_service_that_stops_says_so() {
    let (service, _folder) = service(|_| ()).await;
    let mut sockets = Vec::new();
    for user in ["a", "b", "c"] {
        let mut socket = service.api.connect(TENANT, user).await.unwrap();
        socket.join(&["clients"]).await;
        sockets.push(socket);
    }
    let since = Instant::now();
    let served = service.stop();
    for socket in &mut sockets {
        assert_eq!(socket.hear().await, Err(Some(1001)));
        // Reading on is what answers.
        assert_eq!(socket.hear().await, Err(None));
    }
    timeout(PATIENCE, served).await.unwrap().unwrap().unwrap();
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "it waited for somebody"
    );
}
