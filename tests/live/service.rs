//! Live updates of a service over WebSockets: embedded, and on PostgreSQL and Redis.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::fixture::{
    Api, NOBODY, Service, TENANT, a_client, is_gap, on_either, place, position, settings, sqlite,
    until,
};
use crate::support::provider;
use crate::support::servers::{Postgres, Redis, hold_inserts};
use crate::support::way::Way;

/// Runs a test on a service of either kind.
async fn everywhere(test: impl AsyncFn(&Api)) {
    on_either(settings(), test).await;
}

#[tokio::test]
async fn a_tenant_is_told_what_changes_for_it_alone() {
    everywhere(async |api| {
        let id = api.clients(TENANT).await[0];
        let mut clients = api.connect(TENANT, "ada").await.unwrap();
        clients.join(&["clients"]).await;
        let mut payments = api.connect(TENANT, "bob").await.unwrap();
        payments.join(&["payments"]).await;
        let mut other = api.connect(TENANT + 1, "ada").await.unwrap();
        other.join(&["clients", "payments"]).await;

        api.change(TENANT, id).await.unwrap();
        let changed = json!({ "kind": "changed", "id": id });
        assert_eq!(clients.changes().await, [changed]);
        let created = api.create(TENANT).await;
        let created = json!({ "kind": "created", "id": created });
        assert_eq!(clients.changes().await, [created]);
        // What is not there, and what is refused, is not told.
        let absent = api.change(TENANT + 1, id).await.unwrap();
        assert_eq!(absent.status(), StatusCode::NOT_FOUND);
        let nobody = api.change(1_000_000, id).await.unwrap();
        assert_eq!(nobody.status(), StatusCode::UNPROCESSABLE_ENTITY);

        pays(api, &mut payments, id).await;

        let own = api.clients(TENANT + 1).await[0];
        api.change(TENANT + 1, own).await.unwrap();
        let changed = json!({ "kind": "changed", "id": own });
        assert_eq!(other.changes().await, [changed], "and nothing before that");
        assert!(api.metric("live_published_total").await >= 6.0);
        assert!(api.metric("live_delivered_total").await >= 6.0);
        assert_eq!(api.metric("live_connections").await, 3.0);
        assert_eq!(api.metric("live_rooms").await, 4.0);
        assert_eq!(api.metric("live_available").await, 1.0);
        assert_eq!(api.metric("live_dropped_total").await, 0.0);
        for quantile in ["0.5", "0.95", "0.99"] {
            let series = format!("live_latency_seconds{{quantile=\"{quantile}\"}}");
            assert!(api.metric(&series).await >= 0.099);
        }
    })
    .await;
}

/// A payment from its beginning to its end.
async fn pays(api: &Api, room: &mut crate::fixture::Socket, client: i64) {
    let body = json!({
        "tenant_id": TENANT, "client_id": client, "amount_cents": 500, "method": "card",
    });
    let request = api.request(Method::POST, "payments");
    let request = request.header("idempotency-key", "live-1");
    let made = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Json = serde_json::from_str(&made.text().await.unwrap()).unwrap();
    let id = made["id"].as_str().unwrap();
    let told = |kind| json!({ "kind": kind, "id": id, "client_id": client });
    assert_eq!(room.changes().await, [told("created")]);

    let body = json!({ "payment_id": id, "event_id": "e", "outcome": "succeeded" });
    let request = api.request(Method::POST, &format!("payments/{id}/callback"));
    let settled = provider::signed(request, &body, provider::SECRET, Timestamp::now());
    let settled = settled.send().await.unwrap();
    assert_eq!(settled.status(), StatusCode::OK);
    assert_eq!(room.changes().await, [told("changed")]);

    let refund = async |version: i64| {
        let request = api.request(Method::PUT, &format!("payments/{id}/state"));
        let request = request.header("if-match", format!("\"{version}\""));
        let body = json!({ "state": "refunded" }).to_string();
        request.body(body).send().await.unwrap().status()
    };
    assert_eq!(refund(1).await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(refund(2).await, StatusCode::OK);
    assert_eq!(room.changes().await, [told("changed")]);
}

#[tokio::test]
async fn only_a_tenant_is_let_in_and_only_as_a_websocket() {
    everywhere(async |api| {
        let plain = api.request(Method::GET, "live").header("x-tenant-id", "1");
        let plain = plain.send().await.unwrap();
        assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
        assert!(plain.text().await.unwrap().contains("\"no_websocket\""));
        let unknown = api.connect(1_000_000, "ada").await.err().unwrap();
        assert_eq!(unknown, (403, "no_tenant".to_owned()));
        let nobody = api.connect(NOBODY, "ada").await.err().unwrap();
        assert_eq!(nobody, (403, "no_tenant".to_owned()));
        let wrong = api.connect(0, "ada").await.err().unwrap();
        assert_eq!(wrong, (400, "invalid_caller".to_owned()));
        assert_eq!(api.metric("live_connections").await, 0.0);
    })
    .await;
}

#[tokio::test]
async fn what_a_client_says_wrong_it_is_told() {
    everywhere(async |api| {
        let mut socket = api.connect(TENANT, "ada").await.unwrap();
        let joined = socket.join(&["clients"]).await;
        for (said, code) in [
            (json!({ "join": "secrets" }), "unknown_room"),
            (json!({ "join": ["clients", "2:clients"] }), "unknown_room"),
            (json!({ "join": "clients", "tenant": 2 }), "invalid_message"),
            (json!("hello"), "invalid_message"),
            (
                json!({ "join": "payments", "after": {
                    "epoch": joined["epoch"], "seq": joined["seq"] } }),
                "not_first",
            ),
        ] {
            socket.say(&said).await;
            let answer = socket.hear().await.unwrap();
            assert_eq!(answer["error"]["code"], code, "{said} {answer}");
            assert!(answer["error"]["message"].is_string());
        }
        socket.say(&json!({ "leave": "clients" })).await;
        let left = socket.hear().await.unwrap();
        assert_eq!(left, json!({ "left": "clients" }));
        api.change(TENANT, api.clients(TENANT).await[0])
            .await
            .unwrap();
        socket.say(&json!({ "join": "payments" })).await;
        sleep(Duration::from_millis(150)).await;
        let next = socket.hear().await.unwrap();
        assert_eq!(next["joined"], json!(["payments"]), "and no update");
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_resumes_or_hears_of_the_gap() {
    everywhere(async |api| {
        let ids = api.clients(TENANT).await;
        let mut socket = api.connect(TENANT, "ada").await.unwrap();
        let joined = socket.join(&["clients"]).await;
        drop(socket);
        for id in &ids[..3] {
            api.change(TENANT, *id).await.unwrap();
        }
        let resume = async |after: &Json| {
            let mut back = api.connect(TENANT, "ada").await.unwrap();
            back.say(&json!({ "join": ["clients"], "after": after }))
                .await;
            back.hear().await.unwrap()
        };
        let after = json!(position(&joined));
        // The last one may still be on its way into the log.
        let missed = async || {
            let message = resume(&after).await;
            assert!(!is_gap(&message));
            let updates = message["updates"].as_array().unwrap();
            let told = updates
                .iter()
                .map(|update| update["data"]["id"].as_i64().unwrap());
            Vec::from_iter(told) == ids[..3]
        };
        until("the three are told", missed).await;
        for unknown in [json!({ "epoch": "before", "seq": 3 }), Json::Null] {
            assert!(is_gap(&resume(&unknown).await), "{unknown}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_joined_without_redis_comes_back_into_a_gap() {
    let (folder, redis) = (TempDir::new().unwrap(), Redis::start().unwrap());
    let way = Way::to(&redis.url()).await.unwrap();
    let url = Some(way.url());
    let service = Service::start(&sqlite(&folder), url, settings()).await;
    way.hold();
    // Later ones do not come through either.
    drop(redis);
    let mut socket = service.api.connect(TENANT, "ada").await.unwrap();
    let joined = socket.join(&["clients"]).await;
    assert_eq!(place(&joined), json!({ "epoch": null, "seq": null }));
    drop(socket);
    let mut back = service.api.connect(TENANT, "ada").await.unwrap();
    back.say(&json!({ "join": ["clients"], "after": place(&joined) }))
        .await;
    let told = back.hear().await.unwrap();
    assert!(is_gap(&told), "{told}");
    assert_eq!(told["joined"], json!(["clients"]));
}

#[tokio::test]
async fn a_client_that_was_made_without_an_answer_is_told_of() {
    let postgres = Postgres::start().unwrap();
    let mut way = Way::to(&postgres.url()).await.unwrap();
    let mut settings = settings();
    // The doubt is over after the first and twice the second.
    settings.pool.statement_timeout_ms = 8000;
    settings.pool.peer_timeout_ms = 1000;
    let service = Service::start(&way.database(), None, settings).await;
    let api = &service.api;
    let mut room = api.connect(TENANT, "ada").await.unwrap();
    room.join(&["clients"]).await;
    let mut direct = PgConnection::connect(&postgres.url()).await.unwrap();
    let wait = sqlx::AssertSqlSafe(hold_inserts("clients"));
    sqlx::raw_sql(wait).execute(&mut direct).await.unwrap();
    let request = api.request(Method::POST, "clients");
    let request = request.body(a_client(TENANT).to_string());
    let creating = tokio::spawn(async move { request.send().await.unwrap().status() });
    let mut until_counted = async |counted: &'static str| {
        until("it is so", async || {
            let count = sqlx::query_scalar::<_, i64>(counted);
            count.fetch_one(&mut direct).await.unwrap() == 1
        })
        .await;
    };
    until_counted("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'").await;
    way.delay(Duration::from_secs(3600));
    until_counted("SELECT pg_advisory_unlock(1)::int::bigint").await;
    until_counted("SELECT count(*) FROM clients WHERE email = 'a@b'").await;
    way.delay(Duration::ZERO);
    way.cut().await;
    way.mend().await.unwrap();
    let status = creating.await.unwrap();
    assert!(status.is_server_error(), "{status}");
    let perhaps = [json!({ "kind": "created", "id": null })];
    assert_eq!(room.changes().await, perhaps);
    let again = room.changes().await;
    assert_eq!(again, perhaps, "it may have come through after that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_sockets_are_told_within_50_ms_of_the_interval() {
    everywhere(async |api| {
        let id = api.clients(TENANT).await[0];
        let mut best = Duration::MAX;
        // A machine that has something else to do is late itself; a service that is has no good one of ten.
        for _ in 0..10 {
            best = best.min(p99_with_a_hundred_sockets(api, id).await);
            if best < Duration::from_millis(150) {
                return;
            }
        }
        panic!("the 99th percentile was {best:?} at best");
    })
    .await;
}

/// From the request to change a client to its update at each of a hundred sockets.
async fn p99_with_a_hundred_sockets(api: &Api, id: i64) -> Duration {
    const CHANGES: usize = 30;
    let mut readers = Vec::new();
    for number in 0..100 {
        let mut socket = api.connect(TENANT, &format!("u{number}")).await.unwrap();
        socket.join(&["clients"]).await;
        readers.push(tokio::spawn(async move {
            let mut arrived = Vec::new();
            while arrived.len() < CHANGES {
                let updates = socket.changes().await.len();
                let now = Instant::now();
                arrived.extend(std::iter::repeat_n(now, updates));
            }
            arrived
        }));
    }
    let mut asked = Vec::new();
    for _ in 0..CHANGES {
        asked.push(Instant::now());
        api.change(TENANT, id).await.unwrap();
        sleep(Duration::from_millis(37)).await;
    }
    let mut latencies = Vec::new();
    for arrived in join_all(readers).await {
        let arrived = arrived.unwrap();
        assert_eq!(arrived.len(), CHANGES);
        let each = arrived.iter().zip(&asked);
        latencies.extend(each.map(|(arrived, asked)| *arrived - *asked));
    }
    until("all are gone", async || {
        api.metric("live_connections").await == 0.0
    })
    .await;
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}
