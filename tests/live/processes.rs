//! Services as processes: several on one Redis, one that is killed, one whose client stops reading.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use plimsoll::datalayer::config::LiveSettings;
use plimsoll::datalayer::live::Hub;
use serde_json::{Value as Json, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::PATIENCE;
use crate::fixture::{Api, Process, Socket, TENANT, is_gap, position, until};
use crate::support::servers::{Postgres, Redis};

/// What a client has seen so far.
struct Reader {
    /// Where it connects, the first that lives.
    homes: Vec<Api>,
    user: String,
    after: Option<Json>,
    seqs: Vec<u64>,
    returns: usize,
}

impl Reader {
    async fn connect(&mut self) -> Socket {
        loop {
            let home = &self.homes[0];
            let connected = match TcpStream::connect(home.address()).await {
                Ok(stream) => home.connect_over(stream, TENANT, &self.user).await,
                Err(error) => Err((0, error.to_string())),
            };
            let mut socket = match connected {
                Ok(socket) => socket,
                Err((status, error)) => {
                    assert_eq!(status, 0, "{error}");
                    self.homes.remove(0);
                    continue;
                }
            };
            match &self.after {
                None => {
                    let joined = socket.join(&["clients", "payments"]).await;
                    self.after = Some(json!(position(&joined)));
                }
                Some(after) => {
                    let resume = json!({ "join": ["clients", "payments"], "after": after });
                    socket.say(&resume).await;
                    self.returns += 1;
                }
            }
            return socket;
        }
    }

    /// Reads until something was created, through whatever becomes of its connection.
    async fn read(mut self, mut socket: Socket) -> Self {
        loop {
            let Ok(message) = socket.hear().await else {
                socket = self.connect().await;
                continue;
            };
            assert!(!is_gap(&message), "{message}");
            self.after = Some(json!(position(&message)));
            let updates = message["updates"].as_array().unwrap();
            let seqs = updates.iter().map(|update| update["seq"].as_u64().unwrap());
            self.seqs.extend(seqs);
            let last = updates.last().map(|update| &update["data"]["kind"]);
            if last == Some(&json!("created")) {
                return self;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_of_a_process_that_is_killed_resume_at_the_next() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let (database, url) = (postgres.url(), redis.url());
    let arguments = ["--database", &database, "--redis", &url];
    let mut doomed = Process::start(&arguments, &[]).await;
    let other = Process::start(&arguments, &[]).await;
    let ids = other.api.clients(TENANT).await;

    let mut readers = Vec::new();
    for number in 0..6 {
        let mut homes = vec![doomed.api.clone(), other.api.clone()];
        // Some are on the other from the beginning.
        if number % 3 == 0 {
            homes.remove(0);
        }
        let mut reader = Reader {
            homes,
            user: format!("u{number}"),
            after: None,
            seqs: Vec::new(),
            returns: 0,
        };
        let socket = reader.connect().await;
        readers.push(tokio::spawn(reader.read(socket)));
    }
    let mut changed = 0;
    for number in 0..200 {
        let id = ids[number % ids.len()];
        let to = if number % 2 == 0 && number < 100 {
            &doomed.api
        } else {
            &other.api
        };
        let answer = to.change(TENANT, id).await.unwrap();
        assert!(answer.status().is_success());
        changed += 1;
        if number == 100 {
            // What it has not yet said to Redis dies with it; the rest must not.
            sleep(Duration::from_millis(50)).await;
            doomed.service.kill();
        }
    }
    other.api.create(TENANT).await;
    for (number, reader) in join_all(readers).await.into_iter().enumerate() {
        let reader = reader.unwrap();
        let expected = Vec::from_iter(reader.seqs[0]..reader.seqs[0] + changed + 1);
        assert_eq!(reader.seqs, expected, "reader {number}");
        assert_eq!(
            reader.returns,
            usize::from(number % 3 != 0),
            "reader {number}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_costs_neither_memory_nor_the_others_an_update() {
    const UPDATES: u64 = 60_000;
    const MIB: u64 = 1024 * 1024;
    let redis = Redis::start().unwrap();
    let url = redis.url();
    let env = [("REFSERVICE__LIVE__QUEUE_BATCHES", "8")];
    let process = Process::start(&["--redis", &url], &env).await;
    let api = &process.api;
    let mut quick = api.connect(TENANT, "quick").await.unwrap();
    quick.join(&["clients"]).await;
    // It takes little and then nothing.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let stream = socket
        .connect(api.address().parse().unwrap())
        .await
        .unwrap();
    let mut stuck = api.connect_over(stream, TENANT, "stuck").await.unwrap();
    stuck.join(&["clients"]).await;

    // Another process says so much at once.
    let tenant = tenant_name(&url).await;
    let hub = Hub::redis(&url, &LiveSettings::default()).unwrap();
    let filling = "x".repeat(1000);
    let mut before = 0;
    let mut told = Vec::new();
    while (told.len() as u64) < UPDATES {
        let said = told.len() as u64;
        for number in said..said + 500 {
            hub.publish(&tenant, "clients", &json!({ "n": number, "x": filling }));
        }
        while (told.len() as u64) < said + 500 {
            let message = quick.hear().await.unwrap();
            assert!(!is_gap(&message));
            let updates = message["updates"].as_array().unwrap();
            told.extend(
                updates
                    .iter()
                    .map(|update| update["data"]["n"].as_u64().unwrap()),
            );
        }
        if said == 500 {
            before = process.service.memory("VmRSS");
        }
    }
    assert_eq!(told, Vec::from_iter(0..UPDATES));
    let grown = process.service.memory("VmHWM").saturating_sub(before);
    assert!(grown < 40 * MIB, "{} MiB more", grown / MIB);
    // It was let go, and its connection with it.
    until("it is gone", async || {
        api.metric("live_connections").await == 1.0
    })
    .await;
    assert_eq!(api.metric("live_slow_total").await, 1.0);
    assert!(api.metric("live_dropped_total").await >= 1.0);
    let mut rest = Vec::new();
    let end = stuck.0.get_mut().read_to_end(&mut rest);
    // At its end or broken, but over.
    let _ = timeout(PATIENCE, end).await.unwrap();
    assert!((rest.len() as u64) < UPDATES * 1000 / 2, "{}", rest.len());
}

/// The name of the one tenant that is in Redis.
async fn tenant_name(url: &str) -> String {
    let client = redis::Client::open(url).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let keys = redis::cmd("KEYS").arg("refservice-live:head:*").clone();
    let keys: BTreeSet<String> = keys.query_async(&mut redis).await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let key = keys.first().unwrap();
    key.strip_prefix("refservice-live:head:")
        .unwrap()
        .to_owned()
}
