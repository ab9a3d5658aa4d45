//! The reference service as a child process, over HTTP: embedded, and on PostgreSQL and Redis.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Deref;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plimsoll::datalayer::batch::{Row, Value};
use plimsoll::datalayer::dataset::{APPOINTMENTS, CLIENTS, Generator, PAYMENTS, RECORDS};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use sqlx::Connection as _;
use support::provider;
use support::refservice::{self, Refservice, fed};
use support::servers::{Postgres, Redis, Servers};
use support::wait;
use support::way::Way;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

const SEED: u64 = 42;
const RECORD_COUNT: u64 = 2000;
/// Longest wait for anything that should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `refservice`.
struct Service(Refservice);

impl Deref for Service {
    type Target = Refservice;

    fn deref(&self) -> &Refservice {
        &self.0
    }
}

impl Service {
    /// Starts the service and waits for its address, not for its data.
    fn start(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        Self(Refservice::start(arguments, env))
    }

    async fn start_ready(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let service = Self::start(arguments, env);
        service.wait_for("/ready", StatusCode::OK).await;
        service
    }

    async fn wait_for(&self, path: &str, status: StatusCode) {
        let what = format!("{path} answers {status}");
        until(&what, async || self.get(path).await.status() == status).await;
    }

    async fn get_json(&self, path: &str) -> Json {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        json_of(response).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: impl Into<reqwest::Body>,
    ) -> Response {
        self.request(method, path)
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .unwrap()
    }

    /// All records in the order of their ids.
    async fn records(&self) -> Vec<Json> {
        let export = self.get("/api/v1/records/export?format=ndjson").await;
        let lines = export.text().await.unwrap();
        let records = lines.lines();
        records
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Asks for further generated records.
    async fn generate(&self, rows: u64) -> Response {
        let path = format!("/api/v1/records/generate?rows={rows}");
        self.send(Method::POST, &path, "", "").await
    }

    /// The value of a metric; of all its series together where it has labels.
    async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text().await.unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let values: Vec<f64> = series
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .map(|(_, value)| value.parse().unwrap())
            .collect();
        assert!(!values.is_empty(), "no metric {name}");
        values.iter().sum()
    }

    /// Tells the service to stop, and gives its exit status and what it logged.
    fn stop(mut self) -> (ExitStatus, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        let status = self.0.child.wait().unwrap();
        (status, self.log())
    }
}

/// Another program that holds the write lock of a service's SQLite file.
struct Writer(sqlx::SqliteConnection);

impl Writer {
    async fn holding(data: &str) -> Self {
        let url = format!("sqlite:{data}/reference.db");
        let mut outside = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let begin = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut outside);
        begin.await.unwrap();
        Self(outside)
    }

    async fn let_go(mut self) {
        let end = sqlx::raw_sql("ROLLBACK").execute(&mut self.0);
        end.await.unwrap();
    }
}

/// Runs a service that is to refuse, and gives its exit code and all that it said.
fn refused(arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut child = refservice::command(arguments, env)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() && since.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    // One that serves would never end.
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    (output.status.code(), text)
}

/// A client as it is written.
fn a_client() -> Json {
    json!({
        "tenant_id": 1, "given_name": "A", "family_name": "B", "email": "a@b", "city": "C",
        "birth_date": "1990-01-01",
    })
}

/// A record as it is loaded, of a client that every dataset of [`SEED`] has.
fn a_record(records: u64) -> Json {
    let tenant = Generator::new(SEED, records).tenant_of(7).unwrap();
    json!({
        "tenant_id": tenant, "client_id": 7, "diagnosed_on": "2025-01-31", "code": "C50.9",
        "stage": "II", "city": "Kota \"Baru\", Ambon", "cost_cents": 123,
    })
}

async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    wait::until_async(what, PATIENCE, holds).await.unwrap();
}

async fn json_of(response: Response) -> Json {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn x_cache(response: &Response) -> &str {
    response.headers()["x-cache"].to_str().unwrap()
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        Value::Text(text) => panic!("{text} is no number"),
    }
}

fn as_object(columns: &[plimsoll::datalayer::batch::Column], row: &Row) -> Json {
    let pairs = columns.iter().zip(row);
    pairs
        .map(|(column, value)| (column.name.to_owned(), Json::from(value)))
        .collect()
}

#[tokio::test]
async fn the_embedded_service_does_all_that_it_should() {
    let service = Service::start_ready(&["--records", "2000"], &[]).await;
    everything(&service).await;
    let (status, log) = service.stop();
    assert!(status.success(), "{status} {log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn the_service_on_postgres_and_redis_does_all_that_it_should() {
    let mut postgres = Postgres::start().unwrap();
    let mut redis = Redis::start().unwrap();
    let (database, second_tier) = (postgres.url(), redis.url());
    let arguments = [
        "--records",
        "2000",
        "--database",
        &database,
        "--redis",
        &second_tier,
    ];
    let service = Service::start_ready(&arguments, &[]).await;
    everything(&service).await;

    // Another process finds in Redis what this one has loaded, and the data in PostgreSQL.
    service.get("/api/v1/clients/150").await;
    service.get("/api/v1/clients/50").await;
    let other = Service::start_ready(&arguments, &[]).await;
    // It uses what it finds once it has heard of this one.
    let heard = async || other.metric("cache_l2_available").await == 1.0;
    until("the second tier is used", heard).await;
    assert_eq!(x_cache(&other.get("/api/v1/clients/150").await), "hit-l2");
    assert_eq!(x_cache(&other.get("/api/v1/clients/150").await), "hit-l1");

    // A service over other data shares the Redis, and no answer.
    let third = ["--records", "1000", "--seed", "7", "--redis", &second_tier];
    let third = Service::start_ready(&third, &[]).await;
    let answer = third.get("/api/v1/clients/50").await;
    assert_eq!(x_cache(&answer), "miss");
    let row = Generator::new(7, 1000).rows(&CLIENTS).nth(49).unwrap();
    assert_eq!(json_of(answer).await["email"], Json::from(&row[4]));

    // It takes leave, so that the next one finds the second tier warm.
    let users = || -> redis::RedisResult<u64> {
        let mut connection = redis::Client::open(second_tier.as_str())?.get_connection()?;
        redis::cmd("ZCARD")
            .arg("refservice:register")
            .query(&mut connection)
    };
    assert_eq!(users(), Ok(3));
    let (status, log) = third.stop();
    assert!(status.success(), "{status} {log}");
    assert_eq!(users(), Ok(2), "{log}");

    // Redis away: nothing fails.
    redis.stop().unwrap();
    assert_eq!(
        service.get("/api/v1/clients/160").await.status(),
        StatusCode::OK
    );
    assert_eq!(service.metric("cache_l2_available").await, 0.0);

    // PostgreSQL away: told as such, what is cached is still there, and it comes back by itself.
    postgres.stop().unwrap();
    let response = service.get("/api/v1/clients?limit=1").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(
        json_of(response).await["error"]["code"],
        "database_unavailable"
    );
    assert_eq!(
        service.get("/ready").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(service.get("/live").await.status(), StatusCode::OK);
    assert_eq!(x_cache(&service.get("/api/v1/clients/160").await), "hit-l1");
    postgres.start_again().unwrap();
    service.wait_for("/ready", StatusCode::OK).await;
    service.get_json("/api/v1/clients?limit=1").await;
}

#[tokio::test]
async fn a_write_at_one_process_is_seen_at_another() {
    let postgres = Postgres::start().unwrap();
    let redis = Redis::start().unwrap();
    let (database, second_tier) = (postgres.url(), redis.url());
    let (database, second_tier) = (["--database", &database], ["--redis", &second_tier]);
    let arguments = [&["--records", "2000"], &database[..], &second_tier[..]].concat();
    let one = Service::start_ready(&arguments, &[]).await;
    let other = Service::start_ready(&arguments, &[]).await;
    for service in [&one, &other] {
        let heard = async || service.metric("cache_l2_available").await == 1.0;
        until("the second tier is used", heard).await;
    }
    let detail = "/api/v1/clients/7";
    let client = one.get_json(detail).await;
    let tenant = &client["tenant_id"];
    let list = format!("/api/v1/clients?tenant_id={tenant}&limit=100");
    let newest = "/api/v1/clients?sort=-id&limit=1".to_owned();
    let dashboard = format!("/api/v1/analytics/dashboard?tenant={tenant}");
    let paths = [detail.to_owned(), list, newest, dashboard];
    let body = json!({
        "tenant_id": tenant, "given_name": "Seen", "family_name": "Elsewhere",
        "email": "seen@example.com", "city": "Bandung", "birth_date": "1990-02-28",
    });
    let writes = [
        (Method::PUT, detail, &paths[..2]),
        (Method::POST, "/api/v1/clients", &paths[2..3]),
        (
            Method::POST,
            "/api/v1/records/generate?rows=100",
            &paths[3..],
        ),
    ];
    for (method, path, changed) in writes {
        let mut before = Vec::new();
        for path in &paths {
            other.get(path).await;
            let answer = other.get(path).await;
            assert_eq!(x_cache(&answer), "hit-l1", "{path}");
            before.push(answer.text().await.unwrap());
        }
        let answer = one.send(method, path, "", body.to_string()).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let written = Instant::now();
        for (path, before) in paths.iter().zip(before) {
            if !changed.contains(path) {
                continue;
            }
            // The process that wrote sees it at once.
            let now = one.get(path).await.text().await.unwrap();
            assert_ne!(now, before, "{path}");
            let seen = async || other.get(path).await.text().await.unwrap() == now;
            until("the other sees it", seen).await;
        }
        let took = written.elapsed();
        assert!(took < Duration::from_secs(1), "it took {took:?} to be seen");
    }
}

/// The connection of a write breaks while the database commits it, and the old answer is kept once more before
/// that has come through.
// The way is there while the test waits for the service to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_comes_through_after_its_connection_broke_shows() {
    /// A second, and what a busy machine needs.
    const SOON: Duration = Duration::from_secs(10);
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let mut way = Way::to(&postgres.url()).await.unwrap();
    let (database, second_tier) = (way.database(), redis.url());
    let (database, second_tier) = (["--database", &database], ["--redis", &second_tier]);
    let arguments = [&["--records", "2000"], &database[..], &second_tier[..]].concat();
    let secret = provider::written(provider::SECRET);
    let env = [("REFSERVICE_PROVIDER_SECRET", secret.as_str())];
    let service = Service::start_ready(&arguments, &env).await;
    let used = async || service.metric("cache_l2_available").await == 1.0;
    until("the second tier is used", used).await;

    let payer = service.get_json("/api/v1/clients/8").await;
    let body = json!({
        "tenant_id": payer["tenant_id"], "client_id": 8, "amount_cents": 500, "method": "card",
    });
    let request = service.request(Method::POST, "/api/v1/payments");
    let request = request.header("idempotency-key", "1");
    let made = request.body(body.to_string()).send().await.unwrap();
    let id = json_of(made).await["id"].as_str().unwrap().to_owned();
    let said = json!({ "payment_id": id, "event_id": "e", "outcome": "succeeded" });
    let request = service.request(Method::POST, &format!("/api/v1/payments/{id}/callback"));
    let settled = provider::signed(request, &said, provider::SECRET, Timestamp::now());
    assert_eq!(settled.send().await.unwrap().status(), StatusCode::OK);

    let mut direct = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    let mut wait = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                    PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$"
        .to_owned();
    for table in ["clients", "records", "payments"] {
        wait += &format!(
            "; CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE ON {table} \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
        );
    }
    let wait = sqlx::raw_sql(sqlx::AssertSqlSafe(wait));
    wait.execute(&mut direct).await.unwrap();

    let mut client = a_client();
    client["tenant_id"] = service.get_json("/api/v1/clients/7").await["tenant_id"].clone();
    client["city"] = "Late".into();
    let mut record = a_record(RECORD_COUNT);
    record["city"] = "Late".into();
    let dashboard = format!("/api/v1/analytics/dashboard?tenant={}", record["tenant_id"]);
    let refund = format!("/api/v1/payments/{id}/state");
    // No later one shows what an earlier one had forgotten: a new client is in lists alone.
    let writes = [
        (
            service
                .request(Method::POST, "/api/v1/clients")
                .body(client.to_string()),
            "SELECT count(*) FROM clients WHERE city = 'Late'",
            "/api/v1/clients?sort=-id&limit=1",
        ),
        (
            service
                .request(Method::PUT, "/api/v1/clients/7")
                .body(client.to_string()),
            "SELECT count(*) FROM clients WHERE city = 'Late' AND id = 7",
            "/api/v1/clients/7",
        ),
        (
            service
                .request(Method::POST, "/api/v1/records/bulk")
                .header("content-type", "application/x-ndjson")
                .body(record.to_string()),
            "SELECT count(*) FROM records WHERE city = 'Late'",
            &dashboard,
        ),
        (
            service
                .request(Method::PUT, &refund)
                .header("if-match", "\"2\"")
                .body(json!({ "state": "refunded" }).to_string()),
            "SELECT count(*) FROM payments WHERE amount_cents = -500",
            "/api/v1/clients/8",
        ),
    ];
    for (write, written, path) in writes {
        let before = service.get_json(path).await;
        let mut ask = async |sql: &'static str| {
            let asked = sqlx::query_scalar::<_, i64>(sql);
            asked.fetch_one(&mut direct).await.unwrap() == 1
        };
        assert!(ask("SELECT 1::bigint FROM pg_advisory_lock(1)").await);
        let write = tokio::spawn(write.send());
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'";
        until("the commit waits", async || ask(waits).await).await;
        way.cut().await;
        way.mend().await.unwrap();
        let told = write.await.unwrap().unwrap();
        assert!(told.status().is_server_error(), "{path}: {}", told.status());
        let told = json_of(told).await;
        assert!(told["error"]["code"].is_string(), "{path}: {told}");
        let kept = async || {
            let answer = service.get(path).await;
            // The other connections of the pool are broken too.
            answer.status() == StatusCode::OK
                && x_cache(&answer) == "hit-l1"
                && json_of(answer).await == before
        };
        until("the old answer is kept", kept).await;
        assert!(ask("SELECT pg_advisory_unlock(1)::int::bigint").await);
        until("it has come through", async || ask(written).await).await;
        let shows = async || service.get_json(path).await != before;
        let shown = wait::until_async("it shows", SOON, shows).await;
        assert!(shown.is_ok(), "{path} {shown:?}");
    }
}

/// What a service does while Redis is stopped or slow, and while PostgreSQL is stopped, loses its connections
/// or has none left to give, does not pile up in its memory.
// The way is there while the test waits for the service to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_cost_no_memory() {
    const RECORDS: u64 = 20_000;
    const CLIENTS: u64 = RECORDS / 10;
    const SLOW: Duration = Duration::from_millis(500);
    let Servers {
        mut postgres,
        mut redis,
    } = Servers::start().unwrap();
    let way = Way::to(&redis.url()).await.unwrap();
    let (database, second_tier, records) = (postgres.url(), way.url(), RECORDS.to_string());
    let (database, second_tier) = (["--database", &database], ["--redis", &second_tier]);
    let ours = ["--records", &records, "--rate-limit", "0"];
    let arguments = [&ours[..], &database, &second_tier].concat();
    let env = [
        ("REFSERVICE__POOL__ACQUIRE_TIMEOUT_MS", "400"),
        // Nobody who holds a connection gives it back before.
        ("REFSERVICE__SERVICE__REQUEST_TIMEOUT_MS", "55000"),
        // Full before anything is measured.
        ("REFSERVICE__CACHE__L1_ENTRIES", "100"),
        // With a heap for each thread, what one of them frees would be no room for the others.
        ("MALLOC_ARENA_MAX", "1"),
    ];
    let service = Service::start_ready(&arguments, &env).await;
    let used = async || service.metric("cache_l2_available").await == 1.0;
    until("the second tier is used", used).await;
    let generator = Generator::new(SEED, RECORDS);
    let put = |id: u64| {
        let mut client = a_client();
        client["tenant_id"] = generator.tenant_of(id as i64).into();
        let path = format!("/api/v1/clients/{id}");
        service.request(Method::PUT, &path).body(client.to_string())
    };
    let get = |path: String| service.request(Method::GET, &path);
    // Each is another question, so that none has an answer that was kept.
    let read = |number: u64| match number % 2 {
        0 => get(format!("/api/v1/clients/{}", 1_000_000 + number)),
        _ => get(format!("/api/v1/clients?limit=1&city=C{number}")),
    };
    let ask = |number: u64| match number % 4 {
        0 => put(number / 4 % CLIENTS + 1),
        _ => read(number),
    };
    let ask_or_generate = |number: u64| match number % 32 {
        // It forgets the dashboards of all tenants.
        0 => service.request(Method::POST, "/api/v1/records/generate?rows=1"),
        _ => ask(number),
    };
    let next = AtomicU64::default();
    let numbers = || {
        let first = next.fetch_add(ROUND, Ordering::Relaxed);
        first..first + ROUND
    };
    let all_are = |statuses: &[u16], got: &Answers| {
        let expected = |(status, code): &(u16, String)| {
            statuses.contains(status) && (*status == 200 || !code.is_empty())
        };
        assert!(got.keys().all(expected), "{got:?}");
    };

    redis.stop().unwrap();
    cost_no_memory(&service, "Redis is stopped", async || {
        let got = answers(numbers().map(ask_or_generate), 16).await;
        all_are(&[200, 404], &got);
    })
    .await;
    redis.start_again().unwrap();
    until("the second tier is used again", used).await;

    let outages = service.metric("cache_l2_outages_total").await;
    cost_no_memory(&service, "Redis is slow again and again", async || {
        let slow = async {
            loop {
                way.delay(SLOW);
                sleep(2 * SLOW).await;
                way.delay(Duration::ZERO);
                sleep(2 * SLOW).await;
            }
        };
        let got = during(slow, answers(numbers().map(ask_or_generate), 16)).await;
        all_are(&[200, 404], &got);
    })
    .await;
    way.delay(Duration::ZERO);
    let outages = service.metric("cache_l2_outages_total").await - outages;
    assert!(outages >= 2.0, "{outages}");
    until("the second tier is used once more", used).await;

    let mut outside = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    let mut killed = 0;
    cost_no_memory(&service, "connections are killed", async || {
        let kill = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
                let all = sqlx::raw_sql(all).fetch_all(&mut outside).await;
                killed += all.unwrap().len();
            }
        };
        let got = during(kill, answers(numbers().map(read), 16)).await;
        all_are(&[200, 404, 503], &got);
    })
    .await;
    assert!(killed > 200, "{killed}");

    service.wait_for("/ready", StatusCode::OK).await;
    let lock = "BEGIN; LOCK TABLE clients IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    let (mut held, mut id) = (JoinSet::new(), 0);
    // Some of those that come find none, as others look for jobs meanwhile.
    let exhausted = async || {
        while held.len() < 20 {
            id += 1;
            held.spawn(put(id).send());
        }
        while held.try_join_next().is_some() {}
        service.metric("pool_active").await == 20.0 && held.len() == 20
    };
    until("all connections are held", exhausted).await;
    let mut waited = 0;
    cost_no_memory(&service, "the pool is exhausted", async || {
        let waiting = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                waited = waited.max(service.metric("pool_waiting").await as u64);
            }
        };
        let got = during(waiting, answers(numbers().map(ask), 256)).await;
        let refused = (503, "pool_exhausted".to_owned());
        assert_eq!(got, BTreeMap::from([(refused, ROUND)]));
    })
    .await;
    assert!(waited > 100, "{waited}");
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut outside)
        .await
        .unwrap();
    for written in held.join_all().await {
        assert_eq!(written.unwrap().status(), StatusCode::OK);
    }

    postgres.stop().unwrap();
    cost_no_memory(&service, "PostgreSQL is stopped", async || {
        all_are(&[503], &answers(numbers().map(ask), 256).await);
    })
    .await;
    postgres.start_again().unwrap();
    service.wait_for("/ready", StatusCode::OK).await;
    let idle = async || service.metric("pool_active").await == 0.0;
    until("all connections are given back", idle).await;
    let again = (1..=200).map(|id| get(format!("/api/v1/clients/{id}")));
    let again = answers(again, 16).await;
    assert_eq!(again, BTreeMap::from([((200, String::new()), 200)]));
}

/// Requests that are made until the memory is looked at again.
const ROUND: u64 = 1600;

/// Asks in rounds, of which one has to leave the memory as it was: a leak grows in each, what the allocator
/// holds back does not.
async fn cost_no_memory(service: &Service, what: &str, mut round: impl AsyncFnMut()) {
    /// What a leak of 128 bytes a request takes.
    const MOST_BYTES: u64 = 128 * ROUND;
    let mut grown = Vec::new();
    // Whatever a fault needs once is there before it is measured.
    round().await;
    while grown.len() < 4 {
        let before = service.memory("VmRSS");
        round().await;
        let by = service.memory("VmRSS").saturating_sub(before);
        if by < MOST_BYTES {
            return;
        }
        grown.push(by);
    }
    panic!("while {what}, the memory grew by {grown:?} bytes");
}

/// Does some work while something goes wrong.
async fn during<T>(
    disturbance: impl Future<Output = Infallible>,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = work => done,
        never = disturbance => match never {},
    }
}

/// How many requests were answered with which status and which code.
type Answers = BTreeMap<(u16, String), u64>;

/// What these requests, so many at a time, are told.
async fn answers(requests: impl Iterator<Item = RequestBuilder>, at_once: usize) -> Answers {
    let answers = stream::iter(requests).map(async |request| {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = json_of(answer).await;
        let code = body["error"]["code"].as_str().unwrap_or_default();
        (status, code.to_owned())
    });
    let mut counts = BTreeMap::new();
    let mut answers = answers.buffer_unordered(at_once);
    while let Some(answer) = answers.next().await {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_slow_redis_slows_no_reader_and_fails_nobody() {
    /// Less than a reader would wait for an answer of Redis.
    const FAST: Duration = Duration::from_millis(400);
    let redis = Redis::start().unwrap();
    let way = Way::to(&redis.url()).await.unwrap();
    let url = way.url();
    let service = Service::start_ready(&["--records", "2000", "--redis", &url], &[]).await;
    let used = async || service.metric("cache_l2_available").await == 1.0;
    until("the second tier is used", used).await;
    service.get_json("/api/v1/clients/1").await;
    way.delay(Duration::from_millis(500));
    service.get_json("/api/v1/clients/2").await;
    assert_eq!(service.metric("cache_l2_available").await, 0.0);
    let began = Instant::now();
    for id in (3..=200).cycle() {
        let asked = Instant::now();
        let client = service.get_json(&format!("/api/v1/clients/{id}")).await;
        let page = format!(
            "/api/v1/clients?limit=1&city={}",
            client["city"].as_str().unwrap()
        );
        service.get_json(&page).await;
        let took = asked.elapsed();
        assert!(took < FAST, "client {id}: {took:?}");
        sleep(Duration::from_millis(20)).await;
        // Long enough for several looks at whether Redis is fast again.
        if began.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    // A write neither, and it is seen.
    let mut client = a_client();
    client["tenant_id"] = service.get_json("/api/v1/clients/7").await["tenant_id"].clone();
    let asked = Instant::now();
    let path = "/api/v1/clients/7";
    let written = service
        .send(Method::PUT, path, "", client.to_string())
        .await;
    assert_eq!(written.status(), StatusCode::OK);
    assert!(asked.elapsed() < FAST, "{:?}", asked.elapsed());
    assert_eq!(service.get_json(path).await["family_name"], "B");
    assert_eq!(service.metric("cache_l2_outages_total").await, 1.0);
    assert_eq!(service.metric("cache_load_failures_total").await, 0.0);

    way.delay(Duration::ZERO);
    until("the second tier is used again", used).await;
    assert_eq!(service.get_json(path).await["family_name"], "B");
    let (misses, hits) = ("cache_l2_misses_total", "cache_l2_hits_total");
    let before = service.metric(misses).await + service.metric(hits).await;
    service.get_json("/api/v1/clients/199").await;
    assert!(service.metric(misses).await + service.metric(hits).await > before);
}

/// What holds on any database.
async fn everything(service: &Service) {
    lists(service).await;
    details(service).await;
    dashboards(service).await;
    cached_answers(service).await;
    loads_and_exports(service).await;
    figures(service).await;
    hostile_input(service).await;
    tenants_apart(service).await;
}

/// Whom a gateway names a tenant for sees and changes that tenant's alone; the admin and who has no tenant
/// see all, as every other test here does.
async fn tenants_apart(service: &Service) {
    let generator = Generator::new(SEED, RECORD_COUNT);
    let own = generator.tenant_of(7).unwrap();
    let ids = 1_i64..;
    let mut tenants = ids.map(|id| (id, generator.tenant_of(id).unwrap()));
    let (theirs, other) = tenants.find(|(_, tenant)| *tenant != own).unwrap();
    let ask = async |method: Method, path: &str, body: Json| {
        let request = service.request(method, &format!("/api/v1/{path}"));
        let request = request.header("x-tenant-id", own);
        let request = request.header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let get = async |path: &str| ask(Method::GET, path, Json::Null).await;
    // Brought into the cache by somebody who may, they are still not there for who may not.
    for path in [
        format!("clients/{theirs}"),
        format!("clients?tenant_id={other}"),
        format!("clients/search?q=a&tenant_id={other}"),
        format!("analytics/dashboard?tenant={other}"),
        format!("records/export?tenant={other}"),
    ] {
        assert_eq!(service.get(&format!("/api/v1/{path}")).await.status(), 200);
        let (status, answer) = get(&path).await;
        assert_eq!(status, 404, "{path}");
        assert!(answer.contains("not_found"), "{answer}");
    }
    let (missing, own_missing) = (get("clients/99999999").await, get("clients/7").await);
    assert_eq!((missing.0, own_missing.0), (404, 200));
    assert_eq!(get(&format!("clients/{theirs}")).await.1, missing.1);

    // Without a tenant in the question, the caller's own is meant.
    for (path, own_path) in [
        (
            "clients?limit=7",
            format!("clients?limit=7&tenant_id={own}"),
        ),
        (
            "clients/search?q=a",
            format!("clients/search?q=a&tenant_id={own}"),
        ),
        (
            "analytics/dashboard",
            format!("analytics/dashboard?tenant={own}"),
        ),
        (
            "records/export?format=csv",
            format!("records/export?format=csv&tenant={own}"),
        ),
    ] {
        let expected = service.get(&format!("/api/v1/{own_path}")).await;
        let expected = expected.text().await.unwrap();
        for path in [path, own_path.as_str()] {
            assert_eq!(get(path).await, (200, expected.clone()), "{path}");
        }
    }
    let page: Json = get("clients?limit=5").await.1.parse().unwrap();
    let next = page["next"].as_str().unwrap();
    let (status, second) = get(&format!("clients?limit=5&cursor={next}")).await;
    let second: Json = second.parse().unwrap();
    let items = page["items"].as_array().unwrap().iter();
    let items = items.chain(second["items"].as_array().unwrap());
    assert!(status == 200 && items.clone().all(|client| client["tenant_id"] == own));
    let tenants: Json = get("tenants").await.1.parse().unwrap();
    let all = service.get_json("/api/v1/tenants").await;
    let of_own = all["items"].as_array().unwrap().iter();
    let of_own: Vec<&Json> = of_own.filter(|tenant| tenant["id"] == own).collect();
    assert_eq!(tenants["items"], json!(of_own));

    // Writes.
    let mut client = a_client();
    client["tenant_id"] = other.into();
    let (status, answer) = ask(Method::POST, "clients", client.clone()).await;
    assert_eq!(status, 422, "{answer}");
    let path = format!("clients/{theirs}");
    let (status, _) = ask(Method::PUT, &path, client.clone()).await;
    assert_eq!(status, 422);
    client["tenant_id"] = own.into();
    let (status, _) = ask(Method::PUT, &path, client).await;
    assert_eq!(status, 404);
    let mut record = a_record(RECORD_COUNT);
    record["tenant_id"] = other.into();
    record["client_id"] = theirs.into();
    let (status, answer) = ask(Method::POST, "records/bulk", json!([record])).await;
    assert!(
        status == 422 && answer.contains("another than the caller's"),
        "{answer}"
    );
    let (status, answer) = ask(Method::POST, "records/generate?rows=1", Json::Null).await;
    assert!(status == 403 && answer.contains("admin_only"), "{answer}");
}

async fn lists(service: &Service) {
    let clients: Vec<Row> = Generator::new(SEED, RECORD_COUNT).rows(&CLIENTS).collect();
    // All pages together are all clients, once each and in order.
    let mut items = Vec::new();
    let mut path = "/api/v1/clients?sort=-family_name&limit=33".to_owned();
    loop {
        let page = service.get_json(&path).await;
        items.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => {
                path = format!("/api/v1/clients?sort=-family_name&limit=33&cursor={next}")
            }
            None => break,
        }
    }
    let mut expected = clients.clone();
    expected.sort_by(|a, b| (&b[3], &b[0]).cmp(&(&a[3], &a[0])));
    let expected: Vec<Json> = expected
        .iter()
        .map(|row| as_object(CLIENTS.columns, row))
        .collect();
    assert_eq!(items, expected);

    let page = service.get_json("/api/v1/clients").await;
    assert_eq!(
        page["items"].as_array().unwrap().len(),
        20,
        "a page holds 20 by default"
    );
    let page = service
        .get_json("/api/v1/clients?fields=id,city&city=Bandung&limit=100")
        .await;
    let expected: Vec<Json> = clients
        .iter()
        .filter(|row| row[5] == "Bandung".into())
        .map(|row| json!({ "id": integer(&row[0]), "city": "Bandung" }))
        .collect();
    assert!(!expected.is_empty() && expected.len() <= 100);
    assert_eq!(page["items"], Json::from(expected));

    let found =
        service.get_json("/api/v1/clients/search?q=wAn&fields=family_name,given_name&limit=100");
    let found = found.await;
    let names = found["items"].as_array().unwrap();
    let begins = |name: &Json| {
        name.as_str()
            .unwrap()
            .to_ascii_lowercase()
            .starts_with("wan")
    };
    assert!(!names.is_empty());
    assert!(
        names
            .iter()
            .all(|item| begins(&item["family_name"]) || begins(&item["given_name"]))
    );

    // More than a kilobyte is compressed for who accepts it, less is not.
    for (path, expected) in [
        ("/api/v1/clients", true),
        ("/api/v1/clients?limit=1", false),
    ] {
        let request = service.http.get(format!("{}{path}", service.base));
        let response = request
            .header("accept-encoding", "gzip")
            .send()
            .await
            .unwrap();
        let encoding = response.headers().get("content-encoding").cloned();
        assert_eq!(
            encoding.is_some_and(|value| value == "gzip"),
            expected,
            "{path}"
        );
        assert_eq!(
            response.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]),
            expected
        );
    }
}

async fn details(service: &Service) {
    let generator = Generator::new(SEED, RECORD_COUNT);
    let of_seven = |row: &Row| integer(&row[2]) == 7;
    let row = generator.rows(&CLIENTS).nth(6).unwrap();
    let mut expected = as_object(CLIENTS.columns, &row);
    expected["appointments"] = generator
        .rows(&APPOINTMENTS)
        .filter(of_seven)
        .count()
        .into();
    let payments = generator.rows(&PAYMENTS).filter(of_seven);
    expected["paid_cents"] = payments.map(|row| integer(&row[4])).sum::<i64>().into();

    let first = service.get("/api/v1/clients/7").await;
    assert_eq!(x_cache(&first), "miss");
    assert_eq!(first.headers()["content-type"], "application/json");
    assert_eq!(json_of(first).await, expected);
    let second = service.get("/api/v1/clients/7").await;
    assert_eq!(x_cache(&second), "hit-l1");
    assert_eq!(json_of(second).await, expected);

    // A change shows at once.
    let change = json!({
        "tenant_id": integer(&row[1]), "given_name": "Zoë", "family_name": "O'Neil; DROP TABLE clients",
        "email": "zoe@example.com", "city": "Bandung", "status": "archived",
        "birth_date": "1990-02-28",
    });
    let put = service.send(
        Method::PUT,
        "/api/v1/clients/7",
        "application/json",
        change.to_string(),
    );
    let changed = json_of(put.await).await;
    assert_eq!(changed["family_name"], "O'Neil; DROP TABLE clients");
    assert_eq!(changed["created_at"], expected["created_at"]);
    assert!(changed["updated_at"].as_str() > expected["updated_at"].as_str());
    let after = service.get("/api/v1/clients/7").await;
    assert_eq!(x_cache(&after), "miss");
    assert_eq!(
        json_of(after).await["family_name"],
        "O'Neil; DROP TABLE clients"
    );

    // To another tenant the client is not there, and nobody moves it.
    let mut other = change.clone();
    other["tenant_id"] = (integer(&row[1]) % 5 + 1).into();
    other["city"] = "Elsewhere".into();
    let put = service.send(Method::PUT, "/api/v1/clients/7", "", other.to_string());
    assert_eq!(put.await.status(), StatusCode::NOT_FOUND);
    let after = service.get_json("/api/v1/clients/7").await;
    assert_eq!(after["tenant_id"], expected["tenant_id"]);
    assert_eq!(after["city"], "Bandung");

    // A new client, whom somebody looked for before.
    let next_id = CLIENTS_MADE + 1;
    let path = format!("/api/v1/clients/{next_id}");
    assert_eq!(service.get(&path).await.status(), StatusCode::NOT_FOUND);
    let created = service
        .send(
            Method::POST,
            "/api/v1/clients",
            "application/json",
            change.to_string(),
        )
        .await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(created.headers()["location"], path.as_str());
    assert_eq!(json_of(created).await["id"], next_id);
    assert_eq!(service.get_json(&path).await["appointments"], 0);
}

/// How many clients go with [`RECORD_COUNT`].
const CLIENTS_MADE: u64 = 200;

async fn dashboards(service: &Service) {
    let records: Vec<Row> = Generator::new(SEED, RECORD_COUNT).rows(&RECORDS).collect();
    for tenant in [None, Some(1), Some(3)] {
        let path = match tenant {
            Some(tenant) => format!("/api/v1/analytics/dashboard?tenant={tenant}"),
            None => "/api/v1/analytics/dashboard".to_owned(),
        };
        let ours: Vec<&Row> = records
            .iter()
            .filter(|row| tenant.is_none_or(|tenant| integer(&row[1]) == tenant))
            .collect();
        let cost: i64 = ours.iter().map(|row| integer(&row[7])).sum();
        let first = service.get(&path).await;
        assert_eq!(x_cache(&first), "miss", "{path}");
        let dashboard = json_of(first).await;
        assert_eq!(dashboard["tenant"], Json::from(tenant));
        assert_eq!(dashboard["records"], ours.len());
        assert_eq!(dashboard["cost_cents"], cost);
        assert_eq!(dashboard["mean_cost_cents"], cost / ours.len() as i64);
        let mut by_stage: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for row in &ours {
            let Value::Text(stage) = &row[5] else {
                panic!("{row:?}")
            };
            let group = by_stage.entry(stage.to_string()).or_default();
            *group = (group.0 + 1, group.1 + integer(&row[7]));
        }
        let expected: Vec<Json> = by_stage
            .into_iter()
            .map(|(key, (records, cost))| json!({ "key": key, "records": records, "cost_cents": cost }))
            .collect();
        assert_eq!(dashboard["by_stage"], Json::from(expected));
        let codes = dashboard["top_codes"].as_array().unwrap();
        assert_eq!(codes.len(), 10);
        assert!(codes.is_sorted_by_key(|group| std::cmp::Reverse(group["records"].as_i64())));
        assert_eq!(x_cache(&service.get(&path).await), "hit-l1", "{path}");
    }
}

/// A header of an answer; empty where it has none.
fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// Asks for what may have changed since an entity tag.
async fn get_unless(service: &Service, path: &str, tag: &str, encoding: &str) -> Response {
    let request = service.http.get(format!("{}{path}", service.base));
    let request = request
        .header("if-none-match", tag)
        .header("accept-encoding", encoding);
    request.send().await.unwrap()
}

async fn cached_answers(service: &Service) {
    // One question has one answer, in whatever order it is asked; another tenant's is another.
    let list = |tenant: i64| format!("/api/v1/clients?tenant_id={tenant}&sort=family_name");
    let first = service.get(&list(2)).await;
    assert_eq!(x_cache(&first), "miss");
    assert_eq!(header(&first, "content-type"), "application/json");
    assert_eq!(header(&first, "cache-control"), "private, no-cache");
    let timing = header(&first, "server-timing");
    let (cache, load) = timing.split_once(", ").unwrap();
    for (part, name) in [(cache, "cache;desc=miss;dur="), (load, "load;dur=")] {
        let ms: f64 = part.strip_prefix(name).unwrap().parse().unwrap();
        assert!((0.0..60_000.0).contains(&ms), "{timing}");
    }
    let tag = header(&first, "etag").to_owned();
    assert!(
        tag.starts_with('"') && tag.len() > 20,
        "{tag} is not strong"
    );
    let body = first.text().await.unwrap();
    let again = "/api/v1/clients?limit=20&sort=family_name&tenant_id=2";
    let again = service.get(again).await;
    assert_eq!(x_cache(&again), "hit-l1");
    assert_eq!(header(&again, "etag"), tag);
    let timing = header(&again, "server-timing");
    assert!(timing.starts_with("cache;desc=hit-l1;dur="), "{timing}");
    assert!(!timing.contains("load"), "{timing}");
    assert_eq!(again.text().await.unwrap(), body);
    for (tenant, expected) in [(3, "miss"), (2, "hit-l1"), (3, "hit-l1")] {
        let answer = service.get(&list(tenant)).await;
        assert_eq!(x_cache(&answer), expected);
        let items = json_of(answer).await["items"].as_array().unwrap().clone();
        assert!(!items.is_empty());
        assert!(items.iter().all(|item| item["tenant_id"] == tenant));
    }
    let all = "/api/v1/clients?sort=family_name";
    assert_eq!(x_cache(&service.get(all).await), "miss");
    assert_eq!(x_cache(&service.get(all).await), "hit-l1");

    // Who has it is told so.
    for path in [
        list(2).as_str(),
        "/api/v1/clients/9",
        "/api/v1/analytics/dashboard?tenant=2",
    ] {
        let tag = header(&service.get(path).await, "etag").to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let answer = get_unless(service, path, &known, "identity").await;
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{path} {known}");
            assert_eq!(header(&answer, "etag"), tag);
            assert_eq!(header(&answer, "cache-control"), "private, no-cache");
            assert_eq!(x_cache(&answer), "hit-l1");
            assert_eq!(header(&answer, "content-type"), "");
            assert_eq!(answer.bytes().await.unwrap(), "");
        }
        let answer = get_unless(service, path, "\"another\"", "identity").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.bytes().await.unwrap().is_empty());
    }
    // Compressed it is another representation.
    let compressed = get_unless(service, &list(2), &tag, "gzip").await;
    assert_eq!(compressed.status(), StatusCode::OK);
    assert_eq!(header(&compressed, "content-encoding"), "gzip");
    let tag_of_gzip = header(&compressed, "etag").to_owned();
    assert_ne!(tag_of_gzip, tag);
    let answer = get_unless(service, &list(2), &tag_of_gzip, "gzip").await;
    assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(header(&answer, "etag"), tag_of_gzip);
    let answer = get_unless(service, &list(2), &tag_of_gzip, "identity").await;
    assert_eq!(answer.status(), StatusCode::OK);
    // What is not there has no tag, and is not "not modified".
    let answer = get_unless(service, "/api/v1/clients/999999", "*", "identity").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&answer, "etag"), "");

    // A write of one tenant's client changes its lists and those of all, and no other tenant's.
    let clients = service
        .get_json("/api/v1/clients?tenant_id=2&limit=1")
        .await;
    let id = clients["items"][0]["id"].clone();
    let mut client = a_client();
    client["tenant_id"] = 2.into();
    client["family_name"] = "Aaa".into();
    let writes = [
        (Method::PUT, format!("/api/v1/clients/{id}")),
        (Method::POST, "/api/v1/clients".to_owned()),
    ];
    for (method, path) in writes {
        for path in [list(2), list(3), all.to_owned()] {
            service.get(&path).await;
        }
        let tag = header(&service.get(&list(2)).await, "etag").to_owned();
        let answer = service.send(method, &path, "", client.to_string()).await;
        let id = json_of(answer).await["id"].clone();
        let answer = get_unless(service, &list(2), &tag, "identity").await;
        assert_eq!(
            (answer.status(), x_cache(&answer)),
            (StatusCode::OK, "miss")
        );
        for answer in [answer, service.get(all).await] {
            let items = json_of(answer).await["items"].as_array().unwrap().clone();
            assert!(items.iter().any(|item| item["id"] == id), "{path}");
        }
        assert_eq!(x_cache(&service.get(&list(3)).await), "hit-l1", "{path}");
    }
}

async fn loads_and_exports(service: &Service) {
    let tenant = Generator::new(SEED, RECORD_COUNT).tenant_of(7).unwrap();
    let record = a_record(RECORD_COUNT);
    let lines = format!("{record}\n\n{record}\r\n").repeat(800);
    let path = "/api/v1/records/bulk";
    let done = service
        .send(
            Method::POST,
            path,
            "application/x-ndjson; charset=utf-8",
            lines,
        )
        .await;
    let done = json_of(done).await;
    assert_eq!(done["rows"], 1600, "{done}");
    assert_eq!(done["batches"], 2, "{done}");
    let array = json!([record, record]).to_string();
    let done = json_of(
        service
            .send(Method::POST, path, "application/json", array)
            .await,
    )
    .await;
    assert_eq!(done["rows"], 2, "{done}");

    let path = "/api/v1/records/generate?rows=3000";
    let done = json_of(service.send(Method::POST, path, "text/plain", "").await).await;
    assert_eq!(done["rows"], 3000, "{done}");
    assert!(done["rows_per_s"].as_f64().unwrap() > 0.0 && done["seconds"].as_f64().unwrap() > 0.0);

    // The dashboards that these rows belong to were forgotten.
    let total = RECORD_COUNT + 1602 + 3000;
    let dashboard = service.get("/api/v1/analytics/dashboard").await;
    assert_eq!(x_cache(&dashboard), "miss");
    assert_eq!(json_of(dashboard).await["records"], total);

    // What was loaded comes out again, in both formats.
    let mut expected: Vec<Json> = Generator::new(SEED, RECORD_COUNT)
        .rows(&RECORDS)
        .map(|row| as_object(RECORDS.columns, &row))
        .collect();
    expected.extend((0..1602).map(|_| record.clone()));
    let generator = Generator::new(SEED, RECORD_COUNT);
    let further = generator.records_from(RECORD_COUNT).take(3000);
    expected.extend(further.map(|row| as_object(RECORDS.unkeyed(), &row)));
    for (index, record) in expected.iter_mut().enumerate() {
        record["id"] = (index + 1).into();
    }
    assert_eq!(service.records().await, expected);
    let text = service
        .get("/api/v1/records/export?format=csv")
        .await
        .text()
        .await
        .unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let mut rows = 0;
    for (fields, expected) in reader.records().zip(&expected) {
        for (name, field) in names.iter().zip(fields.unwrap().iter()) {
            let value = &expected[name];
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(field, text);
        }
        rows += 1;
    }
    assert_eq!((names.len(), rows), (8, total));
    let some = service
        .get(&format!(
            "/api/v1/records/export?tenant={tenant}&code=C50.9"
        ))
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(some.lines().count(), 1602);

    // A client of another tenant is a mistake, and so is nobody; one that was created is none.
    let created = CLIENTS_MADE as i64 + 1;
    for (tenant_id, client_id, status) in [
        (tenant % 5 + 1, 7, 422),
        (tenant, 999_999, 422),
        (tenant % 5 + 1, created, 422),
        (tenant, created, 200),
    ] {
        let mut record = record.clone();
        record["tenant_id"] = tenant_id.into();
        record["client_id"] = client_id.into();
        let array = json!([record]).to_string();
        let path = "/api/v1/records/bulk";
        let answer = service
            .send(Method::POST, path, "application/json", array)
            .await;
        assert_eq!(answer.status(), status, "{record}");
    }
    let total = total + 1;

    // A mistake ends a load; what was in a full batch before it stays, and is told.
    let lines = format!("{record}\n").repeat(1500) + "{\"tenant_id\": 3}\n";
    let path = "/api/v1/records/bulk";
    let failed = service
        .send(Method::POST, path, "application/x-ndjson", lines)
        .await;
    assert_eq!(failed.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let message = json_of(failed).await["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("record 1501: not a record: missing field `client_id`"),
        "{message}"
    );
    assert!(
        message.ends_with("1000 rows before that were loaded"),
        "{message}"
    );
    let dashboard = service.get_json("/api/v1/analytics/dashboard").await;
    assert_eq!(dashboard["records"], total + 1000);
}

async fn figures(service: &Service) {
    let (hits, requests) = (
        service.metric("cache_hits_total").await,
        service.metric("cache_requests_total").await,
    );
    assert!(0.0 < hits && hits < requests, "{hits} of {requests}");
    service.get("/api/v1/clients/42").await;
    service.get("/api/v1/clients/42").await;
    assert_eq!(service.metric("cache_requests_total").await, requests + 2.0);
    assert_eq!(service.metric("cache_hits_total").await, hits + 1.0);
    assert!(service.metric("cache_l1_hits_total").await >= 1.0);
    assert_eq!(service.metric("pool_max").await, 20.0);
    assert_eq!(service.metric("pool_waiting").await, 0.0);
    assert_eq!(service.metric("pool_timeouts_total").await, 0.0);
    assert!(service.metric("pool_idle").await >= 1.0);
    assert_eq!(service.metric("pool_min").await, 5.0);
    let size = service.metric("pool_size").await;
    assert!((5.0..=20.0).contains(&size), "{size}");
    assert_eq!(service.metric("pool_healthy").await, 1.0);
    let pool = service.get_json("/internal/pool").await;
    assert_eq!(pool["health"]["healthy"], true, "{pool}");
    assert_eq!(pool["suspects"], json!([]), "{pool}");
    assert_eq!(
        service.metric("cache_l2_requests_total").await,
        service.metric("cache_l2_hits_total").await + service.metric("cache_l2_misses_total").await
    );
    assert_eq!(service.metric("cache_l2_errors_total").await, 0.0);
    assert!(service.metric("cache_l2_entries").await >= 1.0);
    assert!(service.metric("cache_l2_bytes").await >= 500.0);
    assert_eq!(service.metric("cache_l2_evictions_total").await, 0.0);
    assert!(service.metric("cache_estimated_bytes").await >= 500.0);
    // Of one moment: the service looks for jobs meanwhile.
    let text = service.get("/metrics").await.text().await.unwrap();
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let checkouts = value("pool_checkouts_total").unwrap();
    assert_eq!(value("pool_wait_seconds_count"), Some(checkouts));
    let all = format!("pool_wait_seconds_bucket{{le=\"+Inf\"}} {checkouts}\n");
    assert!(text.contains(&all), "{text}");
    for tier in ["l1", "l2", "loader"] {
        let took = ["0.5", "0.95", "0.99"].map(|quantile| {
            let series =
                format!("cache_latency_seconds{{tier=\"{tier}\",quantile=\"{quantile}\"}}");
            let took = value(&series).unwrap_or_else(|| panic!("no {series} in {text}"));
            took.parse::<f64>().unwrap()
        });
        assert!(took[0] > 0.0 && took.is_sorted(), "{tier} {took:?}");
    }
    let cache = service.get_json("/internal/cache").await;
    let hottest = cache["hottest"].as_array().unwrap();
    let names = |hot: &Json| hot["key"].as_str().unwrap().ends_with(":client:42");
    assert!(hottest.iter().any(names), "{cache}");
    let coldest = cache["coldest"].as_array().unwrap();
    let hits = |key: &Json| key["hits"].as_u64().unwrap();
    assert!(
        !coldest.is_empty() && coldest.is_sorted_by_key(hits),
        "{cache}"
    );
    assert!(hits(&coldest[0]) < hits(&hottest[0]), "{cache}");
    let before = service.metric("http_requests_total").await;
    service.get("/no/such/path").await;
    // The scrape before is counted as well.
    assert_eq!(service.metric("http_requests_total").await, before + 2.0);
    let text = service.get("/metrics").await.text().await.unwrap();
    assert!(text.contains(r#"route="none",status="404""#) && !text.contains("/no/such/path"));
}

#[tokio::test]
async fn what_a_full_first_tier_gives_up_is_counted() {
    let env = [("REFSERVICE__CACHE__L1_ENTRIES", "10")];
    let service = Service::start_ready(&["--records", "1000"], &env).await;
    for id in 1..=100 {
        service.get_json(&format!("/api/v1/clients/{id}")).await;
    }
    let entries = service.metric("cache_entries").await;
    assert!((1.0..=20.0).contains(&entries), "{entries}");
    let evictions = service.metric("cache_evictions_total").await;
    assert!((80.0..=100.0).contains(&evictions), "{evictions}");
}

#[tokio::test]
async fn what_outlives_its_lifetime_is_loaded_again_and_counted() {
    let env = [("REFSERVICE__CACHE__TTL__DETAIL_S", "1")];
    let service = Service::start_ready(&["--records", "1000"], &env).await;
    let path = "/api/v1/clients/7";
    assert_eq!(x_cache(&service.get(path).await), "miss");
    assert_eq!(service.metric("cache_expirations_total").await, 0.0);
    let over = async || x_cache(&service.get(path).await) == "miss";
    until("its lifetime is over", over).await;
    let counted = async || service.metric("cache_expirations_total").await >= 1.0;
    until("it is counted", counted).await;
}

async fn hostile_input(service: &Service) {
    let client = a_client();
    let with = |name: &str, value: Json| {
        let mut changed = client.clone();
        changed[name] = value;
        changed.to_string()
    };
    let long_line = format!("{{\"x\": \"{}\"}}\n", "x".repeat(20_000));
    let deep = "[".repeat(100_000);
    let cases: Vec<(Method, &str, &str, String, u16, &str)> = [
        ("/api/v1/clients?cursor=AAAA", 400, "invalid_cursor"),
        ("/api/v1/clients?cursor=%F0%9F%A6%80", 400, "invalid_cursor"),
        ("/api/v1/clients?fields=id,password", 400, "unknown_field"),
        (
            "/api/v1/clients?sort=id;DROP%20TABLE%20clients",
            400,
            "unknown_field",
        ),
        ("/api/v1/clients?sort=(SELECT%201)", 400, "unknown_field"),
        ("/api/v1/clients?limit=-1", 400, "invalid_value"),
        ("/api/v1/clients?limit=1000000", 400, "invalid_value"),
        ("/api/v1/clients?nonsense=1", 400, "unknown_parameter"),
        ("/api/v1/clients?limit=1&limit=2", 400, "repeated_parameter"),
        (
            "/api/v1/clients?tenant_id=1%20OR%201=1",
            400,
            "invalid_value",
        ),
        ("/api/v1/clients?city=%00", 400, "invalid_value"),
        ("/api/v1/clients?q=%00", 400, "invalid_value"),
        ("/api/v1/clients/search", 400, "missing_parameter"),
        ("/api/v1/clients/1%27%20OR%20%271", 400, "invalid_id"),
        ("/api/v1/clients/99999999999999999999", 400, "invalid_id"),
        ("/api/v1/clients/-5", 404, "not_found"),
        ("/api/v1/analytics/dashboard?tenant=0", 400, "invalid_value"),
        (
            "/api/v1/analytics/dashboard?tenant=999",
            400,
            "invalid_value",
        ),
        (
            "/api/v1/analytics/dashboard?who=1",
            400,
            "unknown_parameter",
        ),
        ("/api/v1/records/export?format=xml", 400, "invalid_value"),
        ("/api/v1/records/export?code=%27%3B--", 400, "invalid_value"),
        ("/api/v2/clients", 404, "not_found"),
    ]
    .map(|(path, status, code)| (Method::GET, path, "", String::new(), status, code))
    .into_iter()
    .chain([
        (
            Method::DELETE,
            "/api/v1/clients/1",
            "",
            String::new(),
            405,
            "method_not_allowed",
        ),
        (
            Method::POST,
            "/api/v1/clients",
            "",
            "{".to_owned(),
            422,
            "invalid_body",
        ),
        (
            Method::POST,
            "/api/v1/clients",
            "",
            "x".repeat(65 * 1024),
            413,
            "body_too_large",
        ),
        (
            Method::POST,
            "/api/v1/clients",
            "",
            with("admin", true.into()),
            422,
            "invalid_body",
        ),
        (
            Method::POST,
            "/api/v1/clients",
            "",
            with("tenant_id", 999.into()),
            422,
            "invalid_body",
        ),
        (
            Method::POST,
            "/api/v1/clients",
            "",
            with("city", "a\0b".into()),
            422,
            "invalid_body",
        ),
        (
            Method::POST,
            "/api/v1/clients",
            "",
            with("email", "none".into()),
            422,
            "invalid_body",
        ),
        (
            Method::POST,
            "/api/v1/clients",
            "",
            with("status", "root".into()),
            422,
            "invalid_body",
        ),
        (
            Method::POST,
            "/api/v1/clients",
            "",
            with("birth_date", "1990-02-30".into()),
            422,
            "invalid_body",
        ),
        (
            Method::PUT,
            "/api/v1/clients/999999",
            "",
            client.to_string(),
            404,
            "not_found",
        ),
        (
            Method::POST,
            "/api/v1/records/bulk",
            "text/xml",
            "<a/>".to_owned(),
            415,
            "unsupported_media_type",
        ),
        (
            Method::POST,
            "/api/v1/records/bulk",
            "application/x-ndjson",
            long_line,
            422,
            "invalid_body",
        ),
        (
            Method::POST,
            "/api/v1/records/bulk",
            "application/json",
            deep,
            422,
            "invalid_body",
        ),
        (
            Method::POST,
            "/api/v1/records/bulk",
            "application/json",
            " ".repeat(9 << 20),
            413,
            "body_too_large",
        ),
        (
            Method::POST,
            "/api/v1/records/generate",
            "",
            String::new(),
            400,
            "invalid_value",
        ),
        (
            Method::POST,
            "/api/v1/records/generate?rows=0",
            "",
            String::new(),
            400,
            "invalid_value",
        ),
        (
            Method::POST,
            "/api/v1/records/generate?rows=5000001",
            "",
            String::new(),
            400,
            "invalid_value",
        ),
    ])
    .collect();
    for (method, path, kind, body, status, code) in cases {
        let response = service.send(method.clone(), path, kind, body).await;
        assert_eq!(response.status(), status, "{method} {path}");
        let answer = response.text().await.unwrap();
        let json: Json = serde_json::from_str(&answer).unwrap();
        assert_eq!(json["error"]["code"], code, "{method} {path}: {answer}");
        for internal in [
            "sqlx",
            "SELECT",
            "INSERT",
            "syntax error",
            "src/",
            "panicked",
        ] {
            let echoed = path.contains(internal);
            assert!(
                echoed || !answer.contains(internal),
                "{method} {path}: {answer}"
            );
        }
    }
    // Nothing of that did harm.
    let page = service
        .get_json("/api/v1/clients?limit=100&fields=id")
        .await;
    assert_eq!(page["items"].as_array().unwrap().len(), 100);
}

/// A restart, also one that nobody announced, neither repeats generated records nor leaves any out.
#[tokio::test]
async fn generated_records_go_on_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let postgres = Postgres::start().unwrap();
    let (data, database) = (folder.path().display().to_string(), postgres.url());
    for store in [["--data", &data], ["--database", &database]] {
        let arguments = [["--records", "1000"], store].concat();
        let first = Service::start_ready(&arguments, &[]).await;
        assert_eq!(json_of(first.generate(700).await).await["rows"], 700);
        // What comes in beside them moves the ids, and nothing else.
        let record = a_record(1000).to_string();
        let posted = first.send(
            Method::POST,
            "/api/v1/records/bulk",
            "application/x-ndjson",
            record,
        );
        assert_eq!(json_of(posted.await).await["rows"], 1);
        assert_eq!(json_of(first.generate(30).await).await["rows"], 30);
        drop(first);
        let second = Service::start_ready(&arguments, &[]).await;
        assert_eq!(json_of(second.generate(300).await).await["rows"], 300);
        // On PostgreSQL, another process beside it counts with it.
        let mut expected = 1000 + 700 + 30 + 300;
        if store[0] == "--database" {
            let beside = Service::start_ready(&arguments, &[]).await;
            assert_eq!(json_of(beside.generate(20).await).await["rows"], 20);
            assert_eq!(json_of(second.generate(20).await).await["rows"], 20);
            expected += 40;
        }

        let mut records = second.records().await;
        let ids: BTreeSet<i64> = records
            .iter()
            .map(|row| row["id"].as_i64().unwrap())
            .collect();
        assert_eq!(ids.len(), records.len());
        records.remove(1000 + 700);
        for record in &mut records {
            record.as_object_mut().unwrap().remove("id");
        }
        let generator = Generator::new(SEED, 1000);
        let all = generator.records_from(0).take(expected);
        let all: Vec<Json> = all.map(|row| as_object(RECORDS.unkeyed(), &row)).collect();
        assert!(records == all, "{store:?}");
    }
}

#[tokio::test]
async fn an_sqlite_file_has_one_service_at_a_time() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let arguments = ["--records", "1000", "--data", &data];
    let first = Service::start_ready(&arguments, &[]).await;
    let address = format!("sqlite:{data}/reference.db?mode=rwc");
    for again in [
        &arguments[..],
        &["--records", "2000", "--database", &address],
    ] {
        let (code, text) = refused(again, &[]);
        assert_eq!(code, Some(1), "{text}");
        let expected = format!("another service is using {data}/reference.db; stop it");
        assert!(text.contains(&expected), "{text}");
    }
    first.get_json("/api/v1/clients?limit=1").await;
    // Killed, it takes the lock with it; so does one that is told to stop.
    drop(first);
    let second = Service::start_ready(&arguments, &[]).await;
    assert!(second.stop().0.success());
    Service::start_ready(&arguments, &[]).await;
}

#[tokio::test]
async fn a_bulk_load_waits_for_its_turn_and_not_for_ever() {
    let env = [
        ("REFSERVICE__SERVICE__BULK_LOADS_MAX", "1"),
        ("REFSERVICE__SERVICE__BULK_WAIT_MS", "200"),
    ];
    let service = Service::start_ready(&["--records", "1000"], &env).await;
    let (path, kind) = ("/api/v1/records/bulk", "application/x-ndjson");
    let record = a_record(1000).to_string();
    let (feed, body) = fed();
    let (first, ()) = tokio::join!(service.send(Method::POST, path, kind, body), async {
        let begun = async || service.metric("bulk_loads_active").await >= 1.0;
        until("the load has begun", begun).await;
        let second = service.send(Method::POST, path, kind, record.clone()).await;
        for refused in [second, service.generate(10).await] {
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(refused.headers()["retry-after"], "1");
            assert_eq!(json_of(refused).await["error"]["code"], "busy");
        }
        // Others are not concerned.
        service.get_json("/api/v1/clients?limit=1").await;
        feed.send(record.clone().into()).await.unwrap();
        drop(feed);
    });
    assert_eq!(json_of(first).await["rows"], 1);
    let next = service.send(Method::POST, path, kind, record).await;
    assert_eq!(json_of(next).await["rows"], 1);
    // The turn of a client that goes away is another's.
    let (_feed, body) = fed();
    let request = service.http.post(format!("{}{path}", service.base));
    let request = request.header("content-type", kind);
    let given_up = request.body(body).timeout(Duration::from_millis(300));
    assert!(given_up.send().await.unwrap_err().is_timeout());
    let given_back = async || service.generate(1).await.status() == StatusCode::OK;
    until("the turn is given back", given_back).await;
}

#[tokio::test]
async fn the_memory_of_many_bulk_loads_is_that_of_a_few() {
    const POSTS: usize = 24;
    const AT_ONCE: usize = 2;
    const BODY_MIB: usize = 7;
    let env = [
        ("REFSERVICE__SERVICE__BULK_LOADS_MAX", "2"),
        ("REFSERVICE__SERVICE__BULK_WAIT_MS", "60000"),
    ];
    let service = Service::start_ready(&["--records", "1000"], &env).await;
    let before = service.memory("VmRSS");
    let array = Bytes::from(json!([a_record(1000)]).to_string());
    let blank = Bytes::from(vec![b' '; 1 << 20]);
    let (taken, (tell, end)) = (AtomicUsize::new(0), watch::channel(false));
    let posts = (0..POSTS).map(|_| async {
        let (feed, body) = fed();
        let (path, kind) = ("/api/v1/records/bulk", "application/json");
        let (answer, ()) = tokio::join!(service.send(Method::POST, path, kind, body), async {
            for _ in 0..BODY_MIB {
                feed.send(blank.clone()).await.unwrap();
            }
            taken.fetch_add(1, Ordering::Relaxed);
            end.clone().wait_for(|end| *end).await.unwrap();
            feed.send(array.clone()).await.unwrap();
            drop(feed);
        });
        answer
    });
    let (answers, ()) = tokio::join!(join_all(posts), async {
        let all = async || taken.load(Ordering::Relaxed) >= AT_ONCE;
        until("the bodies are taken", all).await;
        // Time for more than these to come in, if they may.
        sleep(Duration::from_millis(500)).await;
        assert_eq!(service.metric("bulk_loads_active").await, AT_ONCE as f64);
        tell.send(true).unwrap();
    });
    for answer in answers {
        assert_eq!(json_of(answer).await["rows"], 1);
    }
    assert_eq!(service.metric("bulk_loads_active").await, 0.0);
    // A body takes up to twice its size while it grows; all of them would be 168 MiB and more.
    let grown_mib = service.memory("VmHWM").saturating_sub(before) >> 20;
    assert!(grown_mib < 96, "{grown_mib} MiB");
    let peak_bytes = service.metric("process_peak_resident_bytes").await;
    assert!(peak_bytes >= before as f64, "{peak_bytes} of {before}");
}

#[test]
fn the_feeds_of_the_scenarios_fit_their_datasets() {
    // But for what is drawn anew for each post.
    let fixed = |mut record: Json| {
        let fields = record.as_object_mut().unwrap();
        assert!(
            fields
                .remove("diagnosed_on")
                .is_some_and(|day| day.is_string())
        );
        assert!(
            fields
                .remove("cost_cents")
                .is_some_and(|cost| cost.is_u64())
        );
        record
    };
    let generator = Generator::new(SEED, 10_000);
    let expected = generator.records_from(10_000).take(1000);
    let expected: Vec<Json> = expected
        .map(|row| fixed(as_object(RECORDS.unkeyed(), &row)))
        .collect();
    let template = std::fs::read_to_string("scenarios/records-1000.ndjson").unwrap();
    let drawn = regex::Regex::new(r"\{\$random\((\d+),\d+\)\}").unwrap();
    let lowest = drawn.replace_all(&template, "$1");
    let lines: Vec<Json> = lowest
        .lines()
        .map(|line| fixed(serde_json::from_str(line).unwrap()))
        .collect();
    assert_eq!(lines, expected);

    let mut searches = csv::Reader::from_path("scenarios/searches.csv").unwrap();
    let searches: BTreeSet<String> = searches.deserialize().map(Result::unwrap).collect();
    let generator = Generator::new(SEED, 100_000);
    let names: BTreeSet<String> = generator
        .rows(&CLIENTS)
        .filter_map(|row| Json::from(&row[3]).as_str().map(str::to_owned))
        .collect();
    let finds = |search: &String| names.iter().any(|name| name.starts_with(search.as_str()));
    assert!(searches.iter().all(finds));
    assert!(names.iter().all(|name| {
        searches
            .iter()
            .any(|search| name.starts_with(search.as_str()))
    }));
}

#[tokio::test]
async fn until_the_data_are_there_only_liveness_answers() {
    let service = Service::start(&["--records", "300000"], &[]);
    for path in ["/ready", "/api/v1/clients", "/api/v1/analytics/dashboard"] {
        let response = service.get(path).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(json_of(response).await["error"]["code"], "not_ready");
    }
    assert_eq!(service.get("/live").await.status(), StatusCode::OK);
    assert_eq!(service.get("/metrics").await.status(), StatusCode::OK);
    let since = Instant::now();
    let (status, _) = service.stop();
    assert!(
        status.success() && since.elapsed() < Duration::from_secs(30),
        "{status}"
    );
}

#[tokio::test]
async fn an_exhausted_pool_is_told_at_once_and_recovers() {
    let env = [
        ("REFSERVICE__POOL__MIN_CONNECTIONS", "1"),
        ("REFSERVICE__POOL__MAX_CONNECTIONS", "2"),
        ("REFSERVICE__POOL__ACQUIRE_TIMEOUT_MS", "2000"),
        ("REFSERVICE__POOL__SQLITE_BUSY_TIMEOUT_MS", "60000"),
        ("REFSERVICE__SERVICE__RETRY_AFTER_S", "7"),
    ];
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let service = Service::start_ready(&["--records", "1000", "--data", &data], &env).await;
    let outside = Writer::holding(&data).await;
    exhausted(&service, outside.let_go()).await;

    let postgres = Postgres::start().unwrap();
    let arguments = ["--records", "1000", "--database", &postgres.url()];
    let service = Service::start_ready(&arguments, &env).await;
    let mut outside = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    // Readers are not kept out.
    let lock = "BEGIN; LOCK TABLE clients IN EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    exhausted(&service, async {
        let end = sqlx::raw_sql("ROLLBACK").execute(&mut outside);
        end.await.unwrap();
    })
    .await;
}

/// A service whose two connections are held by writes, which wait for a writer outside to let go.
async fn exhausted(service: &Service, let_go: impl Future<Output = ()>) {
    let client = a_client().to_string();
    let write = || {
        service.send(
            Method::POST,
            "/api/v1/clients",
            "application/json",
            client.clone(),
        )
    };
    let use_is = async |active: f64, share: f64| {
        let active = service.metric("pool_active").await == active;
        active && service.metric("pool_utilisation").await == share
    };
    let refused = async {
        until("the writes have begun", async || use_is(2.0, 1.0).await).await;
        // One of the two may have been a look for jobs. What is cached needs no connection.
        let mut limits = 1..=100;
        let response = loop {
            let path = format!("/api/v1/clients?limit={}", limits.next().unwrap());
            let response = service.get(&path).await;
            if response.status() != StatusCode::OK {
                break response;
            }
        };
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(json_of(response).await["error"]["code"], "pool_exhausted");
        // A look for jobs may have been told the same.
        assert!(service.metric("pool_timeouts_total").await >= 1.0);
        let_go.await;
    };
    let (one, other, ()) = tokio::join!(write(), write(), refused);
    assert_eq!(one.status(), StatusCode::CREATED);
    assert_eq!(other.status(), StatusCode::CREATED);
    service.wait_for("/api/v1/clients", StatusCode::OK).await;
    until("both are given back", async || use_is(0.0, 0.0).await).await;
}

/// The names of the indexes that the queries of the API need, as they are made.
fn indexes_of_queries() -> BTreeSet<String> {
    let made = include_str!("../src/datalayer/dataset/indexes.sql").lines();
    let made = made.filter_map(|line| line.strip_prefix("CREATE INDEX IF NOT EXISTS "));
    made.map(|index| index.split(' ').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_service_does_without_the_indexes_of_its_queries_if_told_so() {
    let postgres = Postgres::start().unwrap();
    let database = postgres.url();
    let mut outside = sqlx::PgConnection::connect(&database).await.unwrap();
    let of_queries = indexes_of_queries();
    assert!(of_queries.len() >= 10, "{of_queries:?}");
    for (setting, expected) in [
        (Some("false"), BTreeSet::new()),
        (None, of_queries.clone()),
        (Some("false"), BTreeSet::new()),
        (Some("true"), of_queries.clone()),
    ] {
        let setting = setting.map(|value| ("REFSERVICE__SERVICE__INDEXES", value));
        let arguments = ["--records", "1000", "--database", &database];
        let service = Service::start_ready(&arguments, setting.as_slice()).await;
        let there = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'";
        let there = sqlx::query_scalar::<_, String>(there);
        let there = there.fetch_all(&mut outside).await.unwrap();
        let there: BTreeSet<String> = there.into_iter().collect();
        let found: BTreeSet<String> = there.intersection(&of_queries).cloned().collect();
        assert_eq!(found, expected, "{setting:?}");
        let page = service.get_json("/api/v1/clients?city=Bandung").await;
        assert!(!page["items"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_statement_that_waits_for_a_row_is_counted_as_a_slow_one() {
    /// Longer than a statement may take here, and shorter than it may by default, a second.
    const HELD: Duration = Duration::from_millis(400);
    let env = [("REFSERVICE__POOL__SLOW_STATEMENT_MS", "200")];
    let postgres = Postgres::start().unwrap();
    let database = postgres.url();
    let arguments = ["--records", "1000", "--database", &database];
    let service = Service::start_ready(&arguments, &env).await;
    let mut client = a_client();
    client["tenant_id"] = service.get_json("/api/v1/clients/7").await["tenant_id"].clone();
    let mut outside = sqlx::PgConnection::connect(&database).await.unwrap();
    let hold = "BEGIN; SELECT 1 FROM clients WHERE id = 7 FOR UPDATE";
    sqlx::raw_sql(hold).execute(&mut outside).await.unwrap();
    let slow = service.metric("pool_slow_statements_total").await;
    let write = service.send(Method::PUT, "/api/v1/clients/7", "", client.to_string());
    let (written, ()) = tokio::join!(write, async {
        let waits = async || {
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            let waits = sqlx::query_scalar::<_, i64>(waits);
            waits.fetch_one(&mut outside).await.unwrap() > 0
        };
        until("the write waits", waits).await;
        assert_eq!(service.metric("pool_slow_statements_total").await, slow);
        sleep(HELD).await;
        let let_go = sqlx::raw_sql("ROLLBACK").execute(&mut outside);
        let_go.await.unwrap();
    });
    assert_eq!(written.status(), StatusCode::OK);
    assert_eq!(
        service.metric("pool_slow_statements_total").await,
        slow + 1.0
    );
}

#[tokio::test]
async fn a_change_whose_client_went_away_shows_nevertheless() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let env = [("REFSERVICE__POOL__SQLITE_BUSY_TIMEOUT_MS", "60000")];
    let service = Service::start_ready(&["--records", "1000", "--data", &data], &env).await;
    let path = "/api/v1/clients/7";
    let mut client = service.get_json(path).await;
    assert_eq!(x_cache(&service.get(path).await), "hit-l1");
    for computed in [
        "id",
        "created_at",
        "updated_at",
        "appointments",
        "paid_cents",
    ] {
        client.as_object_mut().unwrap().remove(computed);
    }
    client["given_name"] = "Changed".into();

    // A writer outside keeps the change waiting until its client has gone away.
    let outside = Writer::holding(&data).await;
    let request = service.http.put(format!("{}{path}", service.base));
    let request = request.body(client.to_string());
    let given_up = request.timeout(Duration::from_millis(500)).send().await;
    assert!(given_up.unwrap_err().is_timeout());
    assert!(service.metric("pool_active").await >= 1.0, "it never began");
    outside.let_go().await;
    let shows = async || service.get_json(path).await["given_name"] == "Changed";
    until("the change shows", shows).await;
}

#[tokio::test]
async fn how_long_an_answer_may_be_used_again_is_a_setting() {
    let env = [("REFSERVICE__SERVICE__MAX_AGE__DETAIL_S", "60")];
    let service = Service::start_ready(&["--records", "1000"], &env).await;
    let detail = service.get("/api/v1/clients/7").await;
    assert_eq!(header(&detail, "cache-control"), "private, max-age=60");
    let list = service.get("/api/v1/clients").await;
    assert_eq!(header(&list, "cache-control"), "private, no-cache");
    let env = [("REFSERVICE__SERVICE__MAX_AGE__DETAIL_S", "3601")];
    let (code, text) = refused(&["--records", "1000"], &env);
    assert_ne!(code, Some(0));
    assert!(text.contains("must not be above cache.ttl"), "{text}");
}

#[tokio::test]
async fn a_locked_database_is_busy_and_no_fault() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    // Empty addresses are none.
    let env = [
        ("REFSERVICE__POOL__SQLITE_BUSY_TIMEOUT_MS", "50"),
        ("REFSERVICE_DATABASE", ""),
        ("REFSERVICE_REDIS", ""),
        ("REFSERVICE_INJECT_DELAY", ""),
    ];
    let service = Service::start_ready(&["--records", "1000", "--data", &data], &env).await;
    let outside = Writer::holding(&data).await;
    let client = a_client();
    let path = "/api/v1/clients";
    let answer = service.send(Method::POST, path, "", client.to_string());
    let answer = answer.await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(json_of(answer).await["error"]["code"], "busy");
    outside.let_go().await;
    let answer = service.send(Method::POST, path, "", client.to_string());
    assert_eq!(answer.await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn slow_exports_leave_connections_for_others() {
    // Four connections: one for exports. What is exported is more than sockets take in.
    let env = [
        ("REFSERVICE__POOL__MIN_CONNECTIONS", "1"),
        ("REFSERVICE__POOL__MAX_CONNECTIONS", "4"),
    ];
    let service = Service::start_ready(&["--records", "80000"], &env).await;
    let path = "/api/v1/records/export";
    let slow = service.get(path).await;
    assert_eq!(slow.status(), StatusCode::OK);
    let second = service.get(path).await;
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.headers()["retry-after"], "1");
    assert_eq!(json_of(second).await["error"]["code"], "busy");
    service.get_json("/api/v1/clients?limit=1").await;
    drop(slow);
    service
        .wait_for("/api/v1/records/export?tenant=1&code=C50", StatusCode::OK)
        .await;
}

#[tokio::test]
async fn a_planted_delay_slows_the_api_alone() {
    let service =
        Service::start_ready(&["--records", "1000", "--inject-delay", "300ms"], &[]).await;
    let took = |path: &'static str| {
        let service = &service;
        async move {
            let since = Instant::now();
            assert_eq!(service.get(path).await.status(), StatusCode::OK);
            since.elapsed()
        }
    };
    assert!(took("/api/v1/clients/1").await >= Duration::from_millis(300));
    // The fastest of a few, since the machine may be busy.
    let mut live = Vec::new();
    for _ in 0..5 {
        live.push(took("/live").await);
    }
    assert!(
        live.iter().min().unwrap() < &Duration::from_millis(300),
        "{live:?}"
    );
}

#[test]
fn what_cannot_start_says_why_and_never_the_password() {
    let env = [("REFSERVICE__POOL__ACQUIRE_TIMEOUT_MS", "300")];
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let database = "postgres://user:hunter2@127.0.0.1:1/app";
    let cases: [(&[&str], i32, &str); 8] = [
        (
            &["--database", database, "--data", "/tmp"],
            2,
            "--data is for the embedded database",
        ),
        (&["--database", database], 1, "the database cannot be used"),
        (
            &["--database", "mysql://user:hunter2@localhost/"],
            1,
            "use postgres://",
        ),
        (
            &["--redis", "rdis://:hunter2@localhost/"],
            1,
            "Redis cannot be used",
        ),
        (
            &["--listen", &taken],
            1,
            "is another service running there?",
        ),
        (
            &["--config", "/no/such/file"],
            1,
            "cannot read the settings in /no/such/file",
        ),
        (&["--records", "10"], 2, "--records"),
        (&["--inject-delay", "soon"], 2, "--inject-delay"),
    ];
    for (arguments, code, expected) in cases {
        let (ended, text) = refused(arguments, &env);
        assert_eq!(ended, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert!(!text.contains("hunter2"), "{arguments:?}: {text}");
    }
    let help = refservice::command(&["--help"], &[("REFSERVICE_DATABASE", database)])
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("hunter2"));
}

#[tokio::test]
async fn a_stopped_service_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let temporary = folder.path().display().to_string();
    let env = [("TMPDIR", temporary.as_str())];
    let service = Service::start_ready(&["--records", "1000"], &env).await;
    let entries = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(entries().len(), 1);
    assert!(service.stop().0.success());
    assert!(entries().is_empty(), "{:?}", entries());
}

#[tokio::test]
async fn an_export_that_breaks_is_no_whole_answer() {
    // More than sockets take in, so that the reading waits for the client.
    const RECORDS: usize = 80_000;
    let postgres = Postgres::start().unwrap();
    let url = postgres.url();
    let arguments = ["--records", "80000", "--database", url.as_str()];
    let service = Service::start_ready(&arguments, &[]).await;
    let path = "/api/v1/records/export?format=ndjson";
    let mut broken = service.get(path).await;
    assert_eq!(broken.status(), StatusCode::OK);
    let mut part = broken.chunk().await.unwrap().unwrap().to_vec();
    let mut killer = sqlx::PgConnection::connect(&url).await.unwrap();
    let reader = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'FETCH%'";
    let killed = sqlx::raw_sql(reader).fetch_all(&mut killer).await.unwrap();
    assert_eq!(killed.len(), 1, "the export reads");
    let error = loop {
        match broken.chunk().await {
            Ok(Some(chunk)) => part.extend_from_slice(&chunk),
            Ok(None) => panic!("a part of {} bytes passes for the whole", part.len()),
            Err(error) => break error,
        }
    };
    assert!(!error.is_timeout(), "{error}");
    until("its connection is back", async || {
        service.metric("pool_active").await == 0.0
    })
    .await;
    let whole = service.get(path).await;
    assert_eq!(whole.status(), StatusCode::OK);
    let whole = whole.bytes().await.unwrap();
    let lines = whole.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, RECORDS);
    assert!(part.len() < whole.len() && whole.starts_with(&part));
}
