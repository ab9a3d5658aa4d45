//! One update to a hundred who wait for it: within the process, and over WebSockets on the loopback.
//!
//! `live/fan_out_broadcast` and `live/sockets_broadcast` are tokio's bare broadcast channel in the place of
//! the hub, so that the difference is what numbers, rooms, the log and bounded queues cost. Updates are not
//! gathered here: one is sent at once.

mod common;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::{SinkExt as _, StreamExt as _};
use plimsoll::datalayer::config::LiveSettings;
use plimsoll::datalayer::live::{Hub, Subscription};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

/// As many as a tenant may have.
const SUBSCRIBERS: usize = 100;
/// More than ever wait.
const CAPACITY: usize = 64;

type Socket = WebSocketStream<TcpStream>;

fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let change = json!({ "kind": "changed", "id": 7 });
    let mut group = criterion.benchmark_group("live");

    let (hub, mut subscriptions) = runtime.block_on(hub());
    group.bench_function("fan_out", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                hub.publish("t", "clients", &change);
                for subscription in &mut subscriptions {
                    subscription.next().await.expect("the hub is open");
                }
            });
        });
    });

    let (sender, _) = broadcast::channel(CAPACITY);
    let mut receivers: Vec<_> = (0..SUBSCRIBERS).map(|_| sender.subscribe()).collect();
    group.bench_function("fan_out_broadcast", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                sender.send(text(&change)).expect("all are there");
                for receiver in &mut receivers {
                    receiver.recv().await.expect("the channel is open");
                }
            });
        });
    });

    let (hub, subscriptions) = runtime.block_on(self::hub());
    let (servers, mut clients) = sockets(&runtime);
    for (mut subscription, mut server) in subscriptions.into_iter().zip(servers) {
        runtime.spawn(async move {
            while let Some(delivery) = subscription.next().await {
                let text = Utf8Bytes::try_from(delivery.text.clone()).expect("JSON is UTF-8");
                if server.send(Message::Text(text)).await.is_err() {
                    return;
                }
                subscription.handed_over(&delivery);
            }
        });
    }
    group.bench_function("sockets", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                hub.publish("t", "clients", &change);
                read_all(&mut clients).await;
            });
        });
    });

    let (sender, _) = broadcast::channel::<Utf8Bytes>(CAPACITY);
    let (servers, mut clients) = sockets(&runtime);
    for mut server in servers {
        let mut receiver = sender.subscribe();
        runtime.spawn(async move {
            while let Ok(text) = receiver.recv().await {
                if server.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
        });
    }
    group.bench_function("sockets_broadcast", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                sender.send(text(&change)).expect("all are there");
                read_all(&mut clients).await;
            });
        });
    });
    group.finish();
}

/// A hub that sends each update at once, with everybody in one room.
async fn hub() -> (Hub, Vec<Subscription>) {
    let hub = Hub::in_process(&LiveSettings {
        batch_max_updates: 1,
        ..LiveSettings::default()
    });
    let mut subscriptions = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut subscription = hub.connect("t").expect("so many may be");
        subscription.join(["clients".to_owned()].into()).await;
        subscription.next().await.expect("it has joined");
        subscriptions.push(subscription);
    }
    (hub, subscriptions)
}

/// The server's and the clients' ends of as many WebSockets.
fn sockets(runtime: &Runtime) -> (Vec<Socket>, Vec<Socket>) {
    let pairs = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut pairs = Vec::new();
        for _ in 0..SUBSCRIBERS {
            let client = TcpStream::connect(address).await?;
            let (server, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let url = format!("ws://{address}/");
            let (client, server) = tokio::join!(client_async(url, client), accept_async(server));
            let (client, _) = client.map_err(std::io::Error::other)?;
            pairs.push((server.map_err(std::io::Error::other)?, client));
        }
        Ok::<_, std::io::Error>(pairs)
    });
    let pairs = pairs.expect("the loopback takes connections");
    pairs.into_iter().unzip()
}

async fn read_all(clients: &mut [Socket]) {
    for client in clients {
        let message = client.next().await.expect("it is open");
        message.expect("it is a message");
    }
}

/// The message of the hub, as far as anybody else could write it.
fn text(change: &Value) -> Utf8Bytes {
    let message = json!({ "updates": [{ "room": "clients", "data": change }] });
    message.to_string().into()
}

criterion_group! {
    name = live;
    config = common::config();
    targets = benches
}
criterion_main!(live);
