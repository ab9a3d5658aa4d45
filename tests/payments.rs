//! Payments (LO2) over HTTP: embedded, and on PostgreSQL and Redis, also while those break.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use plimsoll::datalayer::batch::{Column, Value, fetch_rows};
use plimsoll::datalayer::config::PoolSettings;
use plimsoll::datalayer::dataset::DatasetId;
use plimsoll::datalayer::pool::{Connection, Pool};
use plimsoll::service::{Options, Server, ServerError, Settings};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use sqlx::Connection as _;
use support::provider;
use support::refservice::Refservice;
use support::servers::{Postgres, Redis, Servers, hold_inserts};
use support::wait;
use support::way::Way;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Longest wait for anything that should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);
const DATASET: DatasetId = DatasetId {
    seed: 42,
    records: 1000,
};
/// A client that the dataset has.
const CLIENT: i64 = 7;

/// A service, and a way of its own to what it keeps.
struct Service {
    base: String,
    http: reqwest::Client,
    pool: Pool,
    tenant: i64,
    here: Option<Here>,
}

/// A service that runs in this process.
struct Here {
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServerError>>,
}

impl Service {
    async fn start(database: &str, redis: Option<String>) -> Self {
        Self::start_with(database, redis, settings()).await
    }

    async fn on(servers: &Servers) -> Self {
        Self::start(&servers.postgres.url(), Some(servers.redis.url())).await
    }

    async fn start_with(database: &str, redis: Option<String>, settings: Settings) -> Self {
        Self::start_as(Options {
            redis,
            settings,
            ..options(database)
        })
        .await
    }

    async fn start_as(options: Options) -> Self {
        let database = &options.database.clone();
        let server = Server::bind(options).await.unwrap();
        let base = format!("http://{}", server.address());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(async {
            // Dropped, it is to stop too.
            let _ = stopped.await;
        }));
        Self::at(base, database, Some(Here { stop, served })).await
    }

    /// One that runs in a process of its own, which is the test's.
    async fn of(process: &Refservice, database: &str) -> Self {
        Self::at(process.base.clone(), database, None).await
    }

    async fn at(base: String, database: &str, here: Option<Here>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let http = http.build().unwrap();
        let ready = async || {
            let ready = http.get(format!("{base}/ready")).send().await.unwrap();
            ready.status() == StatusCode::OK
        };
        wait::until_async("the service is ready", PATIENCE, ready)
            .await
            .unwrap();
        let mut service = Self {
            base,
            http,
            pool: Pool::connect(database, PoolSettings::default())
                .await
                .unwrap(),
            tenant: 0,
            here,
        };
        let client = service
            .json(Method::GET, &format!("clients/{CLIENT}"))
            .await;
        service.tenant = client["tenant_id"].as_i64().unwrap();
        service
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1/{path}", self.base))
    }

    async fn json(&self, method: Method, path: &str) -> Json {
        let response = self.request(method, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        body(response).await
    }

    fn a_payment(&self, amount_cents: i64) -> Json {
        json!({
            "tenant_id": self.tenant, "client_id": CLIENT, "amount_cents": amount_cents,
            "method": "card",
        })
    }

    /// Asks for a payment under a key.
    fn ask(&self, key: &str, payment: &Json) -> RequestBuilder {
        let request = self.request(Method::POST, "payments");
        request
            .header("idempotency-key", key)
            .body(payment.to_string())
    }

    /// A payment that was made.
    async fn made(&self, amount_cents: i64) -> String {
        let payment = self.a_payment(amount_cents);
        let response = self.ask(&key(), &payment).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        id(&body(response).await)
    }

    fn call_back(&self, id: &str, event: &str, outcome: &str) -> RequestBuilder {
        let body = json!({ "payment_id": id, "event_id": event, "outcome": outcome });
        self.signed(id, &body, provider::SECRET, Timestamp::now())
    }

    /// A callback as whoever has the secret signs it (Standard Webhooks, "Signature scheme").
    fn signed(&self, id: &str, body: &Json, secret: &[u8], at: Timestamp) -> RequestBuilder {
        let request = self.request(Method::POST, &format!("payments/{id}/callback"));
        provider::signed(request, body, secret, at)
    }

    fn put_state(&self, id: &str, version: i64, state: &str) -> RequestBuilder {
        let request = self.request(Method::PUT, &format!("payments/{id}/state"));
        request
            .header("if-match", format!("\"{version}\""))
            .body(json!({ "state": state }).to_string())
    }

    async fn payment(&self, id: &str) -> Json {
        self.json(Method::GET, &format!("payments/{id}")).await
    }

    /// What the client paid, as the API says it.
    async fn paid_cents(&self) -> i64 {
        let client = self.json(Method::GET, &format!("clients/{CLIENT}")).await;
        client["paid_cents"].as_i64().unwrap()
    }

    async fn integer(&self, sql: &'static str) -> i64 {
        let column = [Column::integer("value")];
        let rows = fetch_rows(&self.pool, ("count", "payments"), sql, &[], &column);
        match rows.await.unwrap()[0][0] {
            Value::Integer(number) => number,
            Value::Text(_) => panic!("no number"),
        }
    }

    /// Payments that were made, of all clients.
    async fn payments_made(&self) -> i64 {
        self.integer("SELECT count(*) FROM payment_intents").await
    }

    /// Rows of money, generated ones included.
    async fn money_rows(&self) -> i64 {
        self.integer("SELECT count(*) FROM payments").await
    }

    async fn metric(&self, name: &str) -> f64 {
        let metrics = self.http.get(format!("{}/metrics", self.base)).send();
        let text = metrics.await.unwrap().text().await.unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    async fn stop(self) {
        self.pool.close().await;
        if let Some(Here { stop, served }) = self.here {
            drop(stop);
            served.await.unwrap().unwrap();
        }
    }
}

fn options(database: &str) -> Options {
    Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database: database.to_owned(),
        redis: None,
        lock_redis: Vec::new(),
        dataset: DATASET,
        settings: settings(),
        inject_delay: Duration::ZERO,
        admin_token: None,
        provider_secret: provider::shared(provider::SECRET),
        webhook: None,
    }
}

/// The defaults; but what a test asks for in a minute is more than a client may.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.limit.user_per_min = 0;
    settings.limit.endpoint_per_min = 0;
    settings
}

fn embedded() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite:{}/a.db?mode=rwc", folder.path().display());
    (folder, url)
}

fn key() -> String {
    Uuid::new_v4().to_string()
}

fn id(payment: &Json) -> String {
    payment["id"].as_str().unwrap().to_owned()
}

async fn body(response: Response) -> Json {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// Sends a request that is to be refused, and how.
async fn refused(request: RequestBuilder, status: StatusCode, code: &str) {
    let response = request.send().await.unwrap();
    let found = response.status();
    let error = body(response).await;
    assert_eq!((found, &error["error"]["code"]), (status, &json!(code)));
}

/// What payments promise, whatever keeps them.
async fn keep_their_promises(service: &Service) {
    one_key_is_one_payment(service).await;
    identical_requests_at_once_make_one_payment(service).await;
    different_requests_at_once_make_all(service).await;
    what_is_no_payment_is_refused(service).await;
    a_repeated_callback_changes_nothing(service).await;
    changes_are_of_the_version_that_was_read(service).await;
    a_client_that_goes_away_asks_again(service).await;
    to_another_tenant_a_payment_is_not_there(service).await;
    only_the_provider_settles_a_payment(service).await;
}

#[tokio::test]
async fn payments_keep_their_promises_embedded() {
    let (_folder, url) = embedded();
    let service = Service::start(&url, None).await;
    keep_their_promises(&service).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_keep_their_promises_on_postgres_and_redis() {
    let servers = Servers::start().unwrap();
    let service = Service::on(&servers).await;
    keep_their_promises(&service).await;
    // The lock was in use, and in Redis, where nothing is left of it.
    assert!(service.metric("locks_acquired_total").await >= 40.0);
    assert!(service.metric("locks_contention_total").await >= 1.0);
    assert_eq!(service.metric("locks_active").await, 0.0);
    let made = service.metric("locks_hold_seconds_count").await;
    assert_eq!(made, service.metric("locks_acquired_total").await);
    service.stop().await;
}

async fn one_key_is_one_payment(service: &Service) {
    let (key, before) = (key(), service.payments_made().await);
    let payment = service.a_payment(500);
    let first = service.ask(&key, &payment).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(first.headers()["etag"], "\"1\"");
    assert!(!first.headers().contains_key("idempotent-replayed"));
    let location = first.headers()["location"].to_str().unwrap().to_owned();
    let first = body(first).await;
    assert_eq!(location, format!("/api/v1/payments/{}", id(&first)));
    assert_eq!(first["state"], "pending");
    assert_eq!(first["amount_cents"], 500);
    assert_eq!(service.payment(&id(&first)).await, first);

    // The answer is the first one, whatever has become of the payment.
    let settled = service.call_back(&id(&first), "e", "succeeded").send();
    assert_eq!(settled.await.unwrap().status(), StatusCode::OK);
    // The same body, in other words.
    let same = json!({ "method": "card", "client_id": CLIENT, "amount_cents": 500,
        "tenant_id": service.tenant });
    for payment in [&payment, &same] {
        let again = service.ask(&key, payment).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::CREATED);
        assert_eq!(again.headers()["idempotent-replayed"], "true");
        assert_eq!(again.headers()["location"], location.as_str());
        assert_eq!(body(again).await, first);
    }
    let other = service.a_payment(501);
    let (status, code) = (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused");
    refused(service.ask(&key, &other), status, code).await;
    assert_eq!(service.payments_made().await, before + 1);
}

async fn identical_requests_at_once_make_one_payment(service: &Service) {
    let (key, before) = (key(), service.payments_made().await);
    let payment = service.a_payment(700);
    let asked = (0..20).map(|_| async {
        let response = service.ask(&key, &payment).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let replayed = response.headers().contains_key("idempotent-replayed");
        (id(&body(response).await), replayed)
    });
    let answers = join_all(asked).await;
    let ids: BTreeSet<&String> = answers.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1);
    assert_eq!(service.payments_made().await, before + 1);
}

async fn different_requests_at_once_make_all(service: &Service) {
    let before = service.payments_made().await;
    let made = join_all((0..20).map(|_| service.made(900))).await;
    let ids: BTreeSet<String> = made.into_iter().collect();
    assert_eq!(ids.len(), 20);
    assert_eq!(service.payments_made().await, before + 20);
}

async fn what_is_no_payment_is_refused(service: &Service) {
    let before = (service.payments_made().await, service.money_rows().await);
    let payment = service.a_payment(100);
    let (bad, invalid) = (StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY);
    let keyless = service.request(Method::POST, "payments");
    refused(
        keyless.body(payment.to_string()),
        bad,
        "idempotency_key_missing",
    )
    .await;
    let long = "x".repeat(256);
    refused(service.ask(&long, &payment), bad, "idempotency_key_invalid").await;
    let changed = |name: &str, value: Json| {
        let mut payment = payment.clone();
        payment[name] = value;
        service.ask(&key(), &payment)
    };
    for (name, value) in [
        ("amount_cents", json!(0)),
        ("amount_cents", json!(-1)),
        ("amount_cents", json!(100_000_001)),
        ("amount_cents", json!(1.5)),
        ("method", json!("gold")),
        ("tenant_id", json!(0)),
        ("client_id", json!(i64::MAX)),
        ("state", json!("succeeded")),
    ] {
        refused(changed(name, value), invalid, "invalid_body").await;
    }
    // The client of another tenant.
    let tenants = service.integer("SELECT count(*) FROM tenants").await;
    let stranger = json!(service.tenant % tenants + 1);
    refused(changed("tenant_id", stranger), invalid, "invalid_body").await;
    // A key that was refused is not used up.
    let key = key();
    let nobody = json!({ "client_id": 0, "tenant_id": service.tenant, "amount_cents": 1,
        "method": "card" });
    refused(service.ask(&key, &nobody), invalid, "invalid_body").await;
    let response = service.ask(&key, &payment).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);

    let nowhere = Uuid::new_v4().to_string();
    let (missing, code) = (StatusCode::NOT_FOUND, "not_found");
    refused(
        service.request(Method::GET, &format!("payments/{nowhere}")),
        missing,
        code,
    )
    .await;
    refused(
        service.request(Method::GET, "payments/7"),
        bad,
        "invalid_id",
    )
    .await;
    refused(service.call_back(&nowhere, "e", "succeeded"), missing, code).await;
    refused(service.put_state(&nowhere, 1, "cancelled"), missing, code).await;
    let id = service.made(100).await;
    for (event, outcome) in [("", "succeeded"), ("a\nb", "succeeded"), ("e", "perhaps")] {
        refused(
            service.call_back(&id, event, outcome),
            invalid,
            "invalid_body",
        )
        .await;
    }
    assert_eq!(
        (service.payments_made().await, service.money_rows().await),
        (before.0 + 2, before.1)
    );
}

async fn a_repeated_callback_changes_nothing(service: &Service) {
    let (paid, rows) = (service.paid_cents().await, service.money_rows().await);
    let id = service.made(1100).await;
    assert_eq!(service.paid_cents().await, paid, "nothing has come yet");

    // Ten at once, and one later.
    let send = async || {
        let response = service.call_back(&id, "event-1", "succeeded").send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        body(response).await
    };
    let settled = join_all((0..10).map(|_| send())).await;
    for answer in &settled {
        assert_eq!(
            (&answer["state"], &answer["version"]),
            (&json!("succeeded"), &json!(2))
        );
    }
    // What is cached of the client is of after the callback.
    assert_eq!(service.paid_cents().await, paid + 1100);
    assert_eq!(service.money_rows().await, rows + 1);
    assert_eq!(send().await, settled[0]);
    assert_eq!(service.payment(&id).await, settled[0]);

    // The same under another name of the provider's says nothing new; the opposite is refused.
    let renamed = service.call_back(&id, "event-2", "succeeded").send();
    assert_eq!(body(renamed.await.unwrap()).await, settled[0]);
    let (conflict, code) = (StatusCode::CONFLICT, "callback_contradicts");
    refused(service.call_back(&id, "event-3", "failed"), conflict, code).await;
    assert_eq!(service.payment(&id).await, settled[0]);
    assert_eq!(service.paid_cents().await, paid + 1100);
    assert_eq!(service.money_rows().await, rows + 1);

    let failed = service.made(1300).await;
    for _ in 0..2 {
        let response = service.call_back(&failed, "event-4", "failed").send().await;
        assert_eq!(body(response.unwrap()).await["state"], "failed");
    }
    refused(
        service.call_back(&failed, "event-5", "succeeded"),
        conflict,
        code,
    )
    .await;
    assert_eq!(service.paid_cents().await, paid + 1100);
}

async fn changes_are_of_the_version_that_was_read(service: &Service) {
    let (paid, rows) = (service.paid_cents().await, service.money_rows().await);
    let id = service.made(1700).await;
    let path = format!("payments/{id}/state");
    let blind = service
        .request(Method::PUT, &path)
        .body(json!({ "state": "refunded" }).to_string());
    refused(blind, StatusCode::PRECONDITION_REQUIRED, "version_missing").await;
    let (conflict, failed) = (StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED);
    refused(
        service.put_state(&id, 1, "refunded"),
        conflict,
        "state_conflict",
    )
    .await;
    let settled = service
        .call_back(&id, "e", "succeeded")
        .send()
        .await
        .unwrap();
    assert_eq!(settled.headers()["etag"], "\"2\"");
    assert_eq!(service.paid_cents().await, paid + 1700);
    // Somebody who read it before the callback.
    refused(
        service.put_state(&id, 1, "cancelled"),
        failed,
        "version_mismatch",
    )
    .await;

    // Of many who refund what they have read, one does.
    let refunds = (0..10).map(|_| service.put_state(&id, 2, "refunded").send());
    let answers = join_all(refunds)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().status());
    let mut answers: Vec<StatusCode> = answers.collect();
    answers.sort();
    assert_eq!(answers[0], StatusCode::OK);
    assert!(
        answers[1..].iter().all(|status| *status == failed),
        "{answers:?}"
    );
    assert_eq!(service.paid_cents().await, paid);
    assert_eq!(
        service.money_rows().await,
        rows + 2,
        "one row came and one went"
    );
    let refunded = service.payment(&id).await;
    assert_eq!(
        (&refunded["state"], &refunded["version"]),
        (&json!("refunded"), &json!(3))
    );
    // The callback, once more, after all that.
    let late = service
        .call_back(&id, "e", "succeeded")
        .send()
        .await
        .unwrap();
    assert_eq!(body(late).await, refunded);
    assert_eq!(service.paid_cents().await, paid);

    let id = service.made(1900).await;
    let cancelled = service.put_state(&id, 1, "cancelled").send().await.unwrap();
    assert_eq!(body(cancelled).await["state"], "cancelled");
    // The money that comes nevertheless is not the client's, and leaves a trace: once.
    for _ in 0..2 {
        let late = service.call_back(&id, "e", "succeeded").send().await;
        let late = body(late.unwrap()).await;
        assert_eq!(
            (&late["state"], &late["version"], &late["provider_outcome"]),
            (&json!("cancelled"), &json!(3), &json!("succeeded"))
        );
        assert_eq!(service.payment(&id).await, late);
    }
    let recorded = "SELECT count(*) FROM payment_intents WHERE state = 'cancelled' \
                    AND provider_outcome = 'succeeded' AND provider_event = 'e'";
    assert_eq!(service.integer(recorded).await, 1);
    refused(
        service.call_back(&id, "f", "failed"),
        conflict,
        "callback_contradicts",
    )
    .await;
    assert_eq!(service.paid_cents().await, paid);
}

async fn only_the_provider_settles_a_payment(service: &Service) {
    let (paid, rows) = (service.paid_cents().await, service.money_rows().await);
    let (small, large) = (service.made(1).await, service.made(1_000_000).await);
    let body = |id: &str| json!({ "payment_id": id, "event_id": "e", "outcome": "succeeded" });
    let (status, code) = (StatusCode::UNAUTHORIZED, "signature_invalid");
    let now = Timestamp::now();
    // Who made the payment and knows its id.
    let unsigned = service.request(Method::POST, &format!("payments/{large}/callback"));
    let unsigned = unsigned.body(body(&large).to_string());
    refused(unsigned, status, code).await;
    let other = b"another secret of thirty-two byt";
    let forged = service.signed(&large, &body(&large), other, now);
    refused(forged, status, code).await;
    let late = jiff::SignedDuration::from_secs(400);
    for at in [now - late, now + late] {
        let old = service.signed(&large, &body(&large), provider::SECRET, at);
        refused(old, status, code).await;
    }
    let changed = service.call_back(&large, "e", "failed");
    refused(changed.body(body(&large).to_string()), status, code).await;
    // Signed, but of another payment.
    let elsewhere = service.signed(&large, &body(&small), provider::SECRET, now);
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    refused(elsewhere, invalid, "invalid_body").await;
    assert_eq!(service.payment(&large).await["state"], "pending");
    let seen = (service.paid_cents().await, service.money_rows().await);
    assert_eq!(seen, (paid, rows));
    let genuine = service.signed(&large, &body(&large), provider::SECRET, now);
    assert_eq!(genuine.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(service.paid_cents().await, paid + 1_000_000);
}

#[tokio::test]
async fn without_the_providers_secret_no_callback_is_believed() {
    let (_folder, url) = embedded();
    let service = Service::start_as(Options {
        provider_secret: None,
        ..options(&url)
    })
    .await;
    let id = service.made(100).await;
    let (status, code) = (StatusCode::NOT_IMPLEMENTED, "no_provider_secret");
    refused(service.call_back(&id, "e", "succeeded"), status, code).await;
    assert_eq!(service.payment(&id).await["state"], "pending");
    service.stop().await;
}

/// The servers forget a lock while its payment is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_lost_under_a_payment_is_counted() {
    let servers = Servers::start().unwrap();
    let service = Service::on(&servers).await;
    let blocker = Blocker::of(&servers.postgres.url()).await;
    let (key, payment) = (key(), service.a_payment(100));
    let asked = tokio::spawn(service.ask(&key, &payment).send());
    let held = async || service.metric("locks_active").await == 1.0;
    let held = wait::until_async("the payment holds its lock", PATIENCE, held);
    held.await.unwrap();
    let client = redis::Client::open(servers.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let flushed = redis::cmd("FLUSHALL").exec_async(&mut redis).await;
    flushed.unwrap();
    blocker.let_go().await;
    let made = asked.await.unwrap().unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let lost = async || service.metric("locks_lost_total").await == 1.0;
    let lost = wait::until_async("the loss is counted", PATIENCE, lost);
    lost.await.unwrap();
    service.stop().await;
}

/// Its lock is another's to take by then; what decides is the key in the database, and that is free when the
/// transaction of the paused one has been ended there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_paused_in_the_middle_of_a_payment_makes_it_once() {
    let servers = Servers::start().unwrap();
    let (database, redis) = (servers.postgres.url(), servers.redis.url());
    let secret = provider::written(provider::SECRET);
    // A payment's lock lives for as long as the payment may take.
    let start = |payment_timeout_ms| {
        let arguments = ["--records", "1000", "--rate-limit", "0"];
        let data = ["--database", &database, "--redis", &redis];
        let env = [
            ("REFSERVICE_PROVIDER_SECRET", secret.as_str()),
            ("REFSERVICE__PAYMENTS__TIMEOUT_MS", payment_timeout_ms),
            ("REFSERVICE__PAYMENTS__LOCK_WAIT_MS", "200"),
            ("REFSERVICE__PAYMENTS__ACQUIRE_TIMEOUT_MS", "1000"),
            ("REFSERVICE__POOL__IDLE_TRANSACTION_TIMEOUT_MS", "7000"),
            ("REFSERVICE__BATCH__CONSUMER_LIMIT_MS", "3000"),
            ("REFSERVICE__BATCH__PAUSE_LIMIT_MS", "3000"),
        ];
        Refservice::start(&[&arguments[..], &data[..]].concat(), &env)
    };
    // The other one gives up before the transaction is ended, and is asked again.
    let (paused, other) = (start("5000"), start("2000"));
    let a = Service::of(&paused, &database).await;
    let b = Service::of(&other, &database).await;
    let (made, money) = (b.payments_made().await, b.money_rows().await);
    let (key, payment) = (key(), b.a_payment(500));

    let mut holder = sqlx::PgConnection::connect(&database).await.unwrap();
    let hold = sqlx::AssertSqlSafe(hold_inserts("payment_intents"));
    sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
    let asked = tokio::spawn(a.ask(&key, &payment).send());
    let held = async || a.metric("locks_active").await == 1.0;
    let held = wait::until_async("the payment holds its lock", PATIENCE, held);
    held.await.unwrap();
    let one = async |sql| b.integer(sql).await == 1;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'";
    let waits = wait::until_async("it is being made", PATIENCE, async || one(waits).await);
    waits.await.unwrap();
    paused.signal(Signal::SIGSTOP);
    let let_go = sqlx::raw_sql("SELECT pg_advisory_unlock(1)").execute(&mut holder);
    let_go.await.unwrap();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' \
                AND query LIKE 'INSERT INTO payment_intents %'";
    let open = wait::until_async("it is not committed", PATIENCE, async || one(open).await);
    open.await.unwrap();

    let mut failures = BTreeMap::new();
    let first = until(StatusCode::CREATED, &mut failures, || b.ask(&key, &payment)).await;
    assert_eq!(Vec::from_iter(failures.keys()), ["timeout"]);

    paused.signal(Signal::SIGCONT);
    // Too late, or the payment that there is.
    let late = asked.await.unwrap().unwrap();
    let (status, late) = (late.status(), body(late).await);
    if status == StatusCode::CREATED {
        assert_eq!(late, first);
    } else {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{late}");
    }
    for service in [&a, &b] {
        let again = service.ask(&key, &payment).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::CREATED);
        assert_eq!(again.headers()["idempotent-replayed"], "true");
        assert_eq!(body(again).await, first);
    }
    assert_eq!(b.payments_made().await, made + 1);
    let lost = async || a.metric("locks_lost_total").await == 1.0;
    let lost = wait::until_async("the loss is counted", PATIENCE, lost);
    lost.await.unwrap();
    for service in [&a, &b] {
        let none = async || service.metric("locks_active").await == 0.0;
        let none = wait::until_async("no lock is held", PATIENCE, none);
        none.await.unwrap();
    }

    let settle = async |service: &Service| {
        let settled = service.call_back(&id(&first), "e", "succeeded").send();
        let settled = settled.await.unwrap();
        assert_eq!(settled.status(), StatusCode::OK);
        body(settled).await
    };
    let (one, two) = tokio::join!(settle(&a), settle(&b));
    assert_eq!(one, two);
    assert_eq!(b.money_rows().await, money + 1);
    a.stop().await;
    b.stop().await;
}

/// All connections are out: a payment says so within its own time, and the pool counts it.
async fn an_exhausted_pool_is_told_in_time(database: &str) {
    let mut settings = settings();
    settings.pool.min_connections = 1;
    settings.pool.max_connections = 2;
    settings.payments.timeout_ms = 3000;
    settings.payments.lock_wait_ms = 100;
    settings.payments.acquire_timeout_ms = 500;
    settings.pool.sqlite_busy_timeout_ms = 60_000;
    let service = Service::start_with(database, None, settings).await;
    let id = service.made(100).await;
    let blocker = Blocker::of(database).await;
    let change = || {
        service
            .request(Method::PUT, &format!("clients/{CLIENT}"))
            .body(a_client(service.tenant).to_string())
            .send()
    };
    let held: Vec<_> = (0..2).map(|_| tokio::spawn(change())).collect();
    let out = async || service.metric("pool_active").await == 2.0;
    let out = wait::until_async("all connections are out", PATIENCE, out);
    out.await.unwrap();
    let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, "pool_exhausted");
    let since = Instant::now();
    let payment = service.a_payment(100);
    refused(service.ask(&key(), &payment), status, code).await;
    refused(service.call_back(&id, "e", "succeeded"), status, code).await;
    refused(service.put_state(&id, 1, "cancelled"), status, code).await;
    assert!(
        since.elapsed() < Duration::from_secs(9),
        "{:?}",
        since.elapsed()
    );
    assert!(service.metric("pool_timeouts_total").await >= 3.0);
    blocker.let_go().await;
    for change in held {
        assert_eq!(change.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    let settled = service.call_back(&id, "e", "succeeded").send().await;
    assert_eq!(settled.unwrap().status(), StatusCode::OK);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_say_that_the_pool_is_exhausted() {
    let (_folder, url) = embedded();
    an_exhausted_pool_is_told_in_time(&url).await;
    let postgres = Postgres::start().unwrap();
    an_exhausted_pool_is_told_in_time(&postgres.url()).await;
}

async fn to_another_tenant_a_payment_is_not_there(service: &Service) {
    let id = service.made(100).await;
    let as_tenant = |request: RequestBuilder, tenant: i64| request.header("x-tenant-id", tenant);
    let (own, other) = (service.tenant, service.tenant + 1);
    let (missing, code) = (StatusCode::NOT_FOUND, "not_found");
    let read = || service.request(Method::GET, &format!("payments/{id}"));
    refused(as_tenant(read(), other), missing, code).await;
    let cancel = || service.put_state(&id, 1, "cancelled");
    refused(as_tenant(cancel(), other), missing, code).await;
    let ask = || service.ask(&key(), &service.a_payment(100));
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    refused(as_tenant(ask(), other), invalid, "invalid_body").await;
    assert_eq!(service.payment(&id).await["version"], 1);
    for (request, status) in [
        (read(), StatusCode::OK),
        (cancel(), StatusCode::OK),
        (ask(), StatusCode::CREATED),
    ] {
        let response = as_tenant(request, own).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
}

async fn a_client_that_goes_away_asks_again(service: &Service) {
    let (before, mut gone) = (service.payments_made().await, 0);
    for number in 0..30 {
        let (key, payment) = (key(), service.a_payment(2300));
        // From before the request is read to after its commit.
        let patience = Duration::from_micros(300 * number);
        let first = service.ask(&key, &payment).timeout(patience).send().await;
        gone += u32::from(first.is_err());
        let again = service.ask(&key, &payment).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::CREATED);
        let id = id(&body(again).await);
        if let Ok(first) = first {
            // A body may still be cut off.
            if let Ok(text) = first.text().await {
                assert!(text.contains(&id), "{text} {id}");
            }
        }
    }
    assert!(gone > 0, "no client went away");
    assert_eq!(service.payments_made().await, before + 30);
}

/// A payment that its client asks for until it is answered, and whose callback the provider repeats until
/// it is. Gives its id, and counts what was answered otherwise.
async fn insist(
    service: &Service,
    amount_cents: i64,
    failures: &mut BTreeMap<String, u32>,
) -> String {
    let (key, payment) = (key(), service.a_payment(amount_cents));
    let asked = until(StatusCode::CREATED, failures, || {
        service.ask(&key, &payment)
    })
    .await;
    let id = id(&asked);
    let settled = until(StatusCode::OK, failures, || {
        service.call_back(&id, &key, "succeeded")
    });
    assert_eq!(settled.await["state"], "succeeded");
    id
}

async fn until(
    status: StatusCode,
    failures: &mut BTreeMap<String, u32>,
    request: impl Fn() -> RequestBuilder,
) -> Json {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        let response = request().send().await.unwrap();
        let found = response.status();
        let body = body(response).await;
        if found == status {
            return body;
        }
        // Typed, and such that a client may come again.
        assert_eq!(found, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        let code = body["error"]["code"].as_str().unwrap().to_owned();
        *failures.entry(code).or_default() += 1;
        sleep(Duration::from_millis(20)).await;
    }
    panic!("not within {PATIENCE:?}");
}

/// Payments by eight clients side by side, while `breaking` does its work; then all of them are looked at.
async fn all_are_made_once(
    service: Service,
    payments: i64,
    breaking: impl AsyncFnOnce(),
) -> (Service, BTreeMap<String, u32>) {
    const CLIENTS: i64 = 8;
    const CENTS: i64 = 100;
    let paid = service.paid_cents().await;
    let before = (service.payments_made().await, service.money_rows().await);
    let service = std::sync::Arc::new(service);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let service = std::sync::Arc::clone(&service);
        clients.spawn(async move {
            let (mut ids, mut failures) = (Vec::new(), BTreeMap::new());
            for _ in (client..payments).step_by(CLIENTS as usize) {
                ids.push(insist(&service, CENTS, &mut failures).await);
            }
            (ids, failures)
        });
    }
    breaking().await;
    let (mut ids, mut failures) = (BTreeSet::new(), BTreeMap::new());
    while let Some(ended) = clients.join_next().await {
        let (own, failed) = ended.unwrap();
        ids.extend(own);
        for (code, number) in failed {
            *failures.entry(code).or_default() += number;
        }
    }
    let service = std::sync::Arc::into_inner(service).unwrap();
    assert_eq!(ids.len() as i64, payments);
    // None was made that nobody heard of, none was lost, and no money came twice.
    assert_eq!(service.payments_made().await, before.0 + payments);
    assert_eq!(service.money_rows().await, before.1 + payments);
    assert_eq!(service.paid_cents().await, paid + payments * CENTS);
    (service, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_neither_lose_nor_double_a_payment() {
    let servers = Servers::start().unwrap();
    let service = Service::on(&servers).await;
    // A connection of its own, which nobody kills.
    let killer = Pool::connect(&servers.postgres.url(), PoolSettings::default())
        .await
        .unwrap();
    const KILLED: i64 = 20;
    let mut killed = 0;
    let kill = async || {
        let all = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE pid <> pg_backend_pid() AND state <> 'idle' AND datname = current_database()";
        // However fast the machine is: one that is at work is found soon, while there are any.
        let until = Instant::now() + PATIENCE;
        while killed < KILLED && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
            let count = [Column::integer("count")];
            let rows = fetch_rows(&killer, ("kill", "pg_stat_activity"), all, &[], &count).await;
            if let Value::Integer(number) = rows.unwrap()[0][0] {
                killed += number;
            }
        }
    };
    let (service, _failures) = all_are_made_once(service, 200, kill).await;
    assert!(
        killed >= KILLED,
        "only {killed} connections were at work when they were killed"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_crashes_neither_loses_nor_doubles_a_payment() {
    let Servers {
        mut postgres,
        redis,
    } = Servers::start().unwrap();
    let mut settings = settings();
    // Less than the outage, which else would only take its time.
    settings.payments.acquire_timeout_ms = 200;
    let service = Service::start_with(&postgres.url(), Some(redis.url()), settings).await;
    let crash = async || {
        sleep(Duration::from_millis(50)).await;
        postgres.stop().unwrap();
        sleep(Duration::from_millis(500)).await;
        postgres.start_again().unwrap();
    };
    let (service, failures) = all_are_made_once(service, 200, crash).await;
    assert!(
        failures.contains_key("database_unavailable"),
        "{failures:?}"
    );
    service.stop().await;
}

async fn locks_are_used(service: &Service) {
    let acquired = service.metric("locks_acquired_total").await;
    let used = async || {
        service.made(1).await;
        service.metric("locks_acquired_total").await > acquired
    };
    let used = wait::until_async("locks are used", PATIENCE, used);
    used.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_are_right_without_their_locks() {
    let Servers {
        postgres,
        mut redis,
    } = Servers::start().unwrap();
    let service = Service::start(&postgres.url(), Some(redis.url())).await;
    let stop = async || {
        sleep(Duration::from_millis(50)).await;
        redis.stop().unwrap();
    };
    let (service, failures) = all_are_made_once(service, 100, stop).await;
    assert_eq!(
        failures,
        BTreeMap::new(),
        "a payment failed for want of a lock"
    );
    identical_requests_at_once_make_one_payment(&service).await;
    assert!(service.metric("locks_failed_total").await > 0.0);
    a_repeated_callback_changes_nothing(&service).await;

    redis.start_again().unwrap();
    locks_are_used(&service).await;

    // One that hangs costs each payment a moment, and those after it nothing.
    redis.pause().unwrap();
    let since = Instant::now();
    for _ in 0..5 {
        service.made(1).await;
    }
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
    redis.resume().unwrap();
    service.stop().await;
}

/// Its answers come as late as one waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_costs_no_payment() {
    let servers = Servers::start().unwrap();
    let way = Way::to(&servers.redis.url()).await.unwrap();
    let service = Service::start(&servers.postgres.url(), Some(way.url())).await;
    locks_are_used(&service).await;
    way.delay(Duration::from_millis(500));
    let before = service.payments_made().await;
    let payment = service.a_payment(500);
    let asked_twice = (0..100).map(|_| async {
        let key = key();
        let ask = async || {
            let response = service.ask(&key, &payment).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::CREATED);
            id(&body(response).await)
        };
        let (one, two) = tokio::join!(ask(), ask());
        assert_eq!(one, two);
        one
    });
    let ids = BTreeSet::from_iter(join_all(asked_twice).await);
    assert_eq!(ids.len(), 100);
    assert_eq!(service.payments_made().await, before + 100);
    let (service, failures) = all_are_made_once(service, 40, async || ()).await;
    assert_eq!(failures, BTreeMap::new());
    assert!(service.metric("locks_failed_total").await > 0.0);

    // Found slow, it is left alone: each of these would wait for half a second.
    let since = Instant::now();
    for _ in 0..20 {
        service.made(1).await;
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");

    way.delay(Duration::ZERO);
    locks_are_used(&service).await;
    service.stop().await;
}

#[tokio::test]
async fn locks_are_kept_on_most_of_their_own_servers() {
    let (_folder, url) = embedded();
    kept_on_most_of_their_own_servers(&url).await;
    let postgres = Postgres::start().unwrap();
    kept_on_most_of_their_own_servers(&postgres.url()).await;
}

async fn kept_on_most_of_their_own_servers(database: &str) {
    let mut servers: Vec<Redis> = (0..3).map(|_| Redis::start().unwrap()).collect();
    let lock_redis = servers.iter().map(Redis::url).collect();
    let service = Service::start_as(Options {
        lock_redis,
        ..options(database)
    })
    .await;
    let figures = async || {
        (
            service.metric("locks_acquired_total").await,
            service.metric("locks_failed_total").await,
        )
    };
    servers[0].stop().unwrap();
    service.made(100).await;
    assert_eq!(figures().await, (1.0, 0.0));
    servers[1].stop().unwrap();
    service.made(100).await;
    assert_eq!(figures().await, (1.0, 1.0));
    service.stop().await;
}

#[tokio::test]
async fn a_wrong_address_of_a_lock_server_is_told_and_not_repeated() {
    let (_folder, url) = embedded();
    let refused = Server::bind(Options {
        lock_redis: vec!["rdis://:hunter2@localhost/".to_owned()],
        ..options(&url)
    });
    let error = refused.await.err().unwrap();
    assert!(matches!(error, ServerError::Locks(_)), "{error}");
    let text = plimsoll::service::chain(&error);
    assert!(
        text.contains("redis://") && !text.contains("hunter2"),
        "{text}"
    );
}

/// What another program has in the way is waited for and tried again.
#[tokio::test]
async fn a_locked_database_is_tried_again() {
    let (_folder, url) = embedded();
    let settings = |retries_max| {
        let mut settings = settings();
        settings.pool.sqlite_busy_timeout_ms = 50;
        settings.payments.retries_max = retries_max;
        settings.payments.retry_min_ms = 100;
        settings
    };
    let made_beside_a_writer = async |service: &Service, held: Duration| {
        let mut checkout = service.pool.acquire().await.unwrap();
        let Connection::Sqlite(writer) = checkout.connection() else {
            panic!("not embedded");
        };
        let begin = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *writer);
        begin.await.unwrap();
        let (key, payment) = (key(), service.a_payment(100));
        let mut asked = pin!(service.ask(&key, &payment).send());
        let early = timeout(held, &mut asked).await;
        let end = sqlx::raw_sql("ROLLBACK").execute(writer);
        end.await.unwrap();
        match early {
            Ok(response) => response.unwrap(),
            Err(_) => asked.await.unwrap(),
        }
    };
    let service = Service::start_with(&url, None, settings(0)).await;
    // Until it is refused.
    let response = made_beside_a_writer(&service, PATIENCE).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(body(response).await["error"]["code"], "busy");
    service.stop().await;

    let service = Service::start_with(&url, None, settings(5)).await;
    // Long enough for one attempt to be.
    let response = made_beside_a_writer(&service, Duration::from_millis(300)).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(service.payments_made().await, 1);
    service.stop().await;
}

/// A transaction that PostgreSQL cannot fit in with another one is undone there, and tried again here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_serialization_is_tried_again() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.url();
    let strict = format!("{url}?options[default_transaction_isolation]=serializable");
    let called_back_beside_a_writer = async |service: &Service| {
        let id = service.made(100).await;
        let mut writer = sqlx::PgConnection::connect(&url).await.unwrap();
        let update = format!("BEGIN; UPDATE payment_intents SET answer = answer WHERE id = '{id}'");
        let update = sqlx::raw_sql(sqlx::AssertSqlSafe(update)).execute(&mut writer);
        update.await.unwrap();
        let settled = service.call_back(&id, "e", "succeeded").send();
        let writing = async {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            let waits = async || service.integer(waits).await > 0;
            let blocked = wait::until_async("the callback waits for the row", PATIENCE, waits);
            blocked.await.unwrap();
            sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
        };
        tokio::join!(settled, writing).0.unwrap()
    };
    let mut settings = Settings::default();
    settings.payments.retries_max = 0;
    let service = Service::start_with(&strict, None, settings).await;
    let response = called_back_beside_a_writer(&service).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body(response).await["error"]["code"], "busy");
    service.stop().await;

    let service = Service::start(&strict, None).await;
    let paid = service.paid_cents().await;
    let response = called_back_beside_a_writer(&service).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await["state"], "succeeded");
    assert_eq!(service.paid_cents().await, paid + 100);
    service.stop().await;
}

/// Another program that keeps everybody from writing to the tables of payments and clients.
enum Blocker {
    Postgres(sqlx::PgConnection),
    Sqlite(sqlx::SqliteConnection),
}

impl Blocker {
    async fn of(database: &str) -> Self {
        if database.starts_with("sqlite:") {
            let mut writer = sqlx::SqliteConnection::connect(database).await.unwrap();
            let begin = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut writer);
            begin.await.unwrap();
            return Self::Sqlite(writer);
        }
        let mut writer = sqlx::PgConnection::connect(database).await.unwrap();
        let lock = "BEGIN; LOCK TABLE payment_intents, clients IN EXCLUSIVE MODE";
        sqlx::raw_sql(lock).execute(&mut writer).await.unwrap();
        Self::Postgres(writer)
    }

    async fn let_go(self) {
        let ended = match self {
            Self::Postgres(mut writer) => sqlx::raw_sql("ROLLBACK")
                .execute(&mut writer)
                .await
                .map(drop),
            Self::Sqlite(mut writer) => sqlx::raw_sql("ROLLBACK")
                .execute(&mut writer)
                .await
                .map(drop),
        };
        ended.unwrap();
    }
}

fn a_client(tenant: i64) -> Json {
    json!({
        "tenant_id": tenant, "given_name": "A", "family_name": "B", "email": "a@b", "city": "C",
        "birth_date": "1990-01-01",
    })
}

/// A payment, its callback and its change that have to wait for another program end, typed, after the
/// time that they may take, and are done when they are asked for again.
async fn all_end_within_their_time(database: &str) {
    let mut settings = settings();
    settings.payments.timeout_ms = 1500;
    settings.payments.lock_wait_ms = 100;
    settings.payments.acquire_timeout_ms = 1000;
    settings.pool.sqlite_busy_timeout_ms = 60_000;
    let service = Service::start_with(database, None, settings).await;
    let (settles, cancels) = (service.made(100).await, service.made(100).await);
    let blocker = Blocker::of(database).await;
    let (key, payment) = (key(), service.a_payment(100));
    let ask = || service.ask(&key, &payment);
    let settle = || service.call_back(&settles, "e", "succeeded");
    let cancel = || service.put_state(&cancels, 1, "cancelled");
    for request in [ask(), settle(), cancel()] {
        let since = Instant::now();
        refused(request, StatusCode::SERVICE_UNAVAILABLE, "timeout").await;
        let took = since.elapsed();
        let (least, most) = (Duration::from_millis(1400), Duration::from_secs(5));
        assert!(least < took && took < most, "{took:?}");
    }
    blocker.let_go().await;
    let mut failures = BTreeMap::new();
    until(StatusCode::CREATED, &mut failures, ask).await;
    until(StatusCode::OK, &mut failures, settle).await;
    until(StatusCode::OK, &mut failures, cancel).await;
    assert_eq!(service.payments_made().await, 3);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_end_within_their_time_and_are_made_when_asked_again() {
    let (_folder, url) = embedded();
    all_end_within_their_time(&url).await;
    let postgres = Postgres::start().unwrap();
    all_end_within_their_time(&postgres.url()).await;
}

/// Reading the payment and changing it have one time together, not one each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_beginning_gives_a_payment_no_more_time() {
    let postgres = Postgres::start().unwrap();
    let mut settings = settings();
    settings.payments.timeout_ms = 3000;
    settings.payments.lock_wait_ms = 100;
    settings.payments.acquire_timeout_ms = 1000;
    let service = Service::start_with(&postgres.url(), None, settings).await;
    let (settles, cancels) = (service.made(100).await, service.made(100).await);
    let mut reads = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    let lock = "BEGIN; LOCK TABLE payment_intents IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut reads).await.unwrap();
    let (settle, cancel) = (
        service.call_back(&settles, "e", "succeeded"),
        service.put_state(&cancels, 1, "cancelled"),
    );
    let since = Instant::now();
    let (unavailable, code) = (StatusCode::SERVICE_UNAVAILABLE, "timeout");
    let asked = async {
        tokio::join!(
            refused(settle, unavailable, code),
            refused(cancel, unavailable, code),
        );
        since.elapsed()
    };
    // The reading ends shortly before the time does, and the writing waits for somebody else.
    let waits = async |number: i64| {
        let mut watch = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let waits = async || {
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut watch).await.unwrap();
            found == number
        };
        wait::until_async("they wait", PATIENCE, waits)
            .await
            .unwrap();
    };
    let blocked = async {
        waits(2).await;
        let url = postgres.url();
        let blocker = tokio::spawn(async move { Blocker::of(&url).await });
        waits(3).await;
        sleep(Duration::from_millis(2500).saturating_sub(since.elapsed())).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut reads).await.unwrap();
        blocker.await.unwrap()
    };
    let (took, blocker) = tokio::join!(asked, blocked);
    assert!(took < Duration::from_millis(4800), "{took:?}");
    blocker.let_go().await;
    service.stop().await;
}

#[test]
fn a_payment_may_take_ten_seconds() {
    assert_eq!(Settings::default().payments.timeout_ms, 10_000);
}

/// A store of before there were payments to ask for: it gets their table, and keeps what was written to it.
async fn an_older_store_is_taken_as_it_is(url: &str) {
    let service = Service::start(url, None).await;
    let client = service
        .json(Method::GET, &format!("clients/{CLIENT}"))
        .await;
    let mut changed: Json = client.clone();
    for name in [
        "id",
        "created_at",
        "updated_at",
        "appointments",
        "paid_cents",
    ] {
        changed.as_object_mut().unwrap().remove(name);
    }
    changed["city"] = json!("Ambon");
    let put = service.request(Method::PUT, &format!("clients/{CLIENT}"));
    let put = put.body(changed.to_string()).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let drop = "DROP TABLE payment_intents";
    let dropped = fetch_rows(&service.pool, ("drop", "payment_intents"), drop, &[], &[]);
    dropped.await.unwrap();
    service.stop().await;

    let service = Service::start(url, None).await;
    let client = service
        .json(Method::GET, &format!("clients/{CLIENT}"))
        .await;
    assert_eq!(client["city"], "Ambon");
    service.made(100).await;
    service.stop().await;
    // And from then on it keeps its payments.
    let service = Service::start(url, None).await;
    assert_eq!(service.payments_made().await, 1);
    service.stop().await;
}

#[tokio::test]
async fn older_stores_are_taken_as_they_are() {
    let (_folder, url) = embedded();
    an_older_store_is_taken_as_it_is(&url).await;
    let postgres = Postgres::start().unwrap();
    an_older_store_is_taken_as_it_is(&postgres.url()).await;
}
