//! What the reference service lets nobody do: ask too often, wait too long, send too much. And how it
//! is told so: its settings, from a file and the environment. All on the program itself.
#![cfg(feature = "reference")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::convert::Infallible;
use std::future::pending;
use std::ops::Deref;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use plimsoll::datalayer::dataset::Generator;
use plimsoll::service::Settings;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use sqlx::Connection as _;
use support::http_servers::{Act, Reply, Request, Server};
use support::refservice::{self, Refservice, fed};
use support::servers::{Postgres, Servers};
use support::wait;
use tempfile::TempDir;

/// Makes two of each test: one of the embedded service, and one of that on PostgreSQL and Redis, which it
/// is called with.
macro_rules! embedded_and_on_servers {
    ($($test:ident,)+) => {
        mod embedded {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&[]).await;
            })+
        }

        mod on_postgres_and_redis {
            $(#[tokio::test]
            async fn $test() {
                let servers = super::Servers::start().unwrap();
                super::$test(&servers.arguments().each_ref().map(String::as_str)).await;
            })+
        }
    };
}

embedded_and_on_servers! {
    a_thousand_a_minute_is_the_limit_of_each_user_tenant_and_endpoint,
    each_limit_refuses_what_is_too_much_and_is_over_in_time,
    nobody_shuts_others_out_of_an_endpoint,
    who_is_no_gateway_is_not_believed,
    who_shows_the_admins_token_is_held_to_no_limit,
    made_up_callers_are_refused_or_counted_together,
    a_webhook_that_fails_is_left_alone_until_it_is_back,
    a_webhook_that_hangs_is_left_alone_however_impatient_clients_are,
    what_cannot_be_notified_says_so,
    every_answer_has_the_headers_that_keep_browsers_out,
    a_load_in_lines_has_an_end_however_it_is_sent,
}

/// Longest wait for anything that should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "the-token-of-whoever-runs-it";

/// A running `refservice` whose data are there.
struct Service(Refservice);

impl Deref for Service {
    type Target = Refservice;

    fn deref(&self) -> &Refservice {
        &self.0
    }
}

impl Service {
    async fn start(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let arguments = [&["--records", "1000"], arguments].concat();
        let service = Self(Refservice::start(&arguments, env));
        let ready = async || service.get("/ready").await.status() == StatusCode::OK;
        until("the service is ready", ready).await;
        service
    }

    /// Asks as a user of a tenant, as a gateway would say it.
    async fn get_as(&self, path: &str, tenant: &str, user: &str) -> Response {
        let request = self.request(Method::GET, path);
        let request = request.header("x-tenant-id", tenant);
        request.header("x-user-id", user).send().await.unwrap()
    }

    async fn notify(&self, id: u32) -> Response {
        let path = format!("/api/v1/clients/{id}/notify");
        let body = json!({ "message": "The results are there" }).to_string();
        let request = self.request(Method::POST, &path).body(body);
        request.send().await.unwrap()
    }

    /// The value of one series, by its name with its labels.
    async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await.text().await.unwrap();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(series));
        let value = values.next();
        let value = value.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.trim().parse().unwrap()
    }

    /// The state of the webhook's breaker, the only one of the three that is 1.
    async fn breaker(&self) -> &'static str {
        // Read once: between two looks the state may be another.
        let text = self.get("/metrics").await.text().await.unwrap();
        let mut states = ["closed", "half_open", "open"].to_vec();
        states.retain(|state| {
            let series = format!("breaker_state{{to=\"webhook\",state=\"{state}\"}} 1");
            text.contains(&series)
        });
        assert_eq!(states.len(), 1, "{states:?}");
        states[0]
    }
}

fn output(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    refservice::command(arguments, env).output().unwrap()
}

async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    wait::until_async(what, PATIENCE, holds).await.unwrap();
}

fn number(response: &Response, header: &str) -> u64 {
    let value = response.headers().get(header);
    let value = value.unwrap_or_else(|| panic!("no {header} in {response:?}"));
    value.to_str().unwrap().parse().unwrap()
}

/// The status of an answer and the code of its error.
async fn error_of(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let json: Json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    assert!(json["error"]["message"].is_string(), "{text}");
    let code = json["error"]["code"].as_str();
    (status, code.unwrap_or_default().to_owned())
}

fn a_record() -> String {
    let tenant = Generator::new(42, 1000).tenant_of(7).unwrap();
    let record = json!({
        "tenant_id": tenant, "client_id": 7, "diagnosed_on": "2025-01-31", "code": "C50.9",
        "stage": "II", "city": "Ambon", "cost_cents": 123,
    });
    format!("{record}\n")
}

async fn a_thousand_a_minute_is_the_limit_of_each_user_tenant_and_endpoint(servers: &[&str]) {
    let service = Service::start(servers, &[]).await;
    let response = service.get("/api/v1/clients/1").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(number(&response, "ratelimit-limit"), 1000);
    assert_eq!(number(&response, "ratelimit-remaining"), 999);
    assert_eq!(number(&response, "ratelimit-reset"), 1);
    assert_eq!(
        response.headers()["ratelimit-policy"],
        r#""user";q=1000;w=60, "tenant";q=1000;w=60, "endpoint";q=1000;w=60"#
    );
    assert_eq!(response.headers()["ratelimit"], r#""user";r=999;t=1"#);
    // Errors and paths that there are not say so as well, what is not under /api does not.
    for path in ["/api/v1/clients/x", "/api/v1/none", "/none"] {
        let response = service.get(path).await;
        assert!(response.status().is_client_error(), "{path}");
        assert_eq!(number(&response, "ratelimit-limit"), 1000, "{path}");
    }
    for path in ["/live", "/ready", "/metrics", "/internal/cache"] {
        let response = service.get(path).await;
        assert!(
            !response.headers().contains_key("ratelimit-limit"),
            "{path}"
        );
    }
}

async fn each_limit_refuses_what_is_too_much_and_is_over_in_time(servers: &[&str]) {
    let env = [
        ("REFSERVICE__LIMIT__ENDPOINT_PER_MIN", "20"),
        ("REFSERVICE__LIMIT__USER_PER_MIN", "30"),
        ("REFSERVICE__LIMIT__TENANT_PER_MIN", "60"),
        ("REFSERVICE__SERVICE__RETRY_AFTER_S", "77"),
    ];
    let service = Service::start(servers, &env).await;
    let (path, other) = ("/api/v1/tenants", "/api/v1/clients?limit=1");
    // As many as were let through before the first that was not, and that one.
    let spend = async |path: &str, tenant: &str, user: &str| {
        let mut passed = 0;
        loop {
            let response = service.get_as(path, tenant, user).await;
            if response.status() != StatusCode::OK {
                return (passed, response);
            }
            passed += 1;
            assert!(passed < 1000, "{user} of {tenant} is let do anything");
        }
    };
    let limit_of = |response: &Response| {
        let state = response.headers()["ratelimit"].to_str().unwrap();
        let (name, rest) = state.split_once(';').unwrap();
        assert!(rest.starts_with("r=0;t="), "{state}");
        name.trim_matches('"').to_owned()
    };
    // A slow test may see a few more, which came free meanwhile.
    let since = Instant::now();
    let came_free = || since.elapsed().as_secs() / 2 + 1;
    let (passed, refused) = spend(path, "1", "ada").await;
    assert!((20..=20 + came_free()).contains(&passed), "{passed}");
    assert_eq!(limit_of(&refused), "endpoint");
    assert_eq!(number(&refused, "ratelimit-limit"), 20);
    assert_eq!(number(&refused, "ratelimit-remaining"), 0);
    let retry_after = number(&refused, "retry-after");
    assert!((1..=3).contains(&retry_after), "{retry_after}");
    assert_eq!(number(&refused, "ratelimit-reset"), retry_after);
    assert_eq!(error_of(refused).await, (429, "rate_limited".to_owned()));
    let head = service.request(Method::HEAD, path);
    let head = head.header("x-tenant-id", "1").header("x-user-id", "ada");
    assert_eq!(
        head.send().await.unwrap().status(),
        StatusCode::TOO_MANY_REQUESTS,
        "it is the same work"
    );

    // Others are let through, also there: another user of the tenant, the same name at another, and who
    // has no name.
    for (tenant, user) in [("1", "ben"), ("2", "ada")] {
        let response = service.get_as(path, tenant, user).await;
        assert_eq!(response.status(), StatusCode::OK, "{user} of {tenant}");
    }
    assert_eq!(service.get(path).await.status(), StatusCode::OK);
    // What was refused was not counted for the user, who has ten left for all else, nor for the tenant.
    for _ in 0..20 {
        let response = service.get_as(path, "1", "ada").await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    let (passed, refused) = spend(other, "1", "ada").await;
    assert!((10..=10 + came_free()).contains(&passed), "{passed}");
    assert_eq!(limit_of(&refused), "user");
    assert_eq!(number(&refused, "ratelimit-limit"), 30);
    // Then its other users bring the tenant to its end.
    let mut by_tenant = None;
    for user in ["cid", "dan", "eva", "fay"] {
        let (_, refused) = spend(other, "1", user).await;
        if limit_of(&refused) == "tenant" {
            by_tenant = Some(refused);
        }
    }
    let refused = by_tenant.unwrap();
    assert_eq!(number(&refused, "ratelimit-limit"), 60);
    assert_eq!(error_of(refused).await.0, 429);
    assert_eq!(
        service.get_as(other, "2", "ada").await.status(),
        StatusCode::OK
    );
    for limit in ["user", "tenant", "endpoint"] {
        let series = format!("rate_limit_refused_total{{limit=\"{limit}\"}} ");
        assert!(service.metric(&series).await >= 1.0, "{limit}");
    }
    // Three seconds bring back one request of each, as `Retry-After` said.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        service.get_as(path, "1", "ada").await.status(),
        StatusCode::OK
    );
}

/// One address that asks for all it may is in nobody's way, also where limits are as they come.
async fn nobody_shuts_others_out_of_an_endpoint(servers: &[&str]) {
    let service = Service::start(servers, &[]).await;
    let path = "/api/v1/tenants";
    let (mut asked, mut refused) = (0, 0);
    while refused < 10 {
        asked += 1;
        assert!(asked < 10_000, "{refused} of them were refused");
        refused += u32::from(service.get(path).await.status() != StatusCode::OK);
    }
    let response = service.get_as(path, "1", "ada").await;
    assert_eq!(response.status(), StatusCode::OK);
    // Nor do the machines of one tenant keep out those of another, behind the same gateway.
    let as_tenant = async |tenant: &str| {
        let request = service.request(Method::GET, path);
        let response = request.header("x-tenant-id", tenant).send().await.unwrap();
        number(&response, "ratelimit-remaining")
    };
    assert_eq!(as_tenant("7").await, 999);
    assert_eq!(as_tenant("8").await, 999);
}

/// Only a gateway says who asks.
async fn who_is_no_gateway_is_not_believed(servers: &[&str]) {
    let env = [
        ("REFSERVICE__LIMIT__USER_PER_MIN", "1"),
        ("REFSERVICE__SERVICE__GATEWAYS", r#"["127.0.0.2"]"#),
    ];
    let service = Service::start(servers, &env).await;
    let path = "/api/v1/tenants";
    let first = service.get_as(path, "1", "a").await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = service.get_as(path, "2", "b").await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    let gateway = reqwest::Client::builder().no_proxy();
    let gateway = gateway.local_address(std::net::IpAddr::from([127, 0, 0, 2]));
    let gateway = gateway.build().unwrap();
    for user in ["a", "b"] {
        let request = gateway.get(format!("{}{path}", service.base));
        let request = request.header("x-tenant-id", "1").header("x-user-id", user);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    }
}

async fn who_shows_the_admins_token_is_held_to_no_limit(servers: &[&str]) {
    let env = [
        ("REFSERVICE_ADMIN_TOKEN", TOKEN),
        ("REFSERVICE__LIMIT__USER_PER_MIN", "1"),
    ];
    // All that there is to say is said; then nothing that is never said can be missed.
    let env = [&env[..], &[("RUST_LOG", "trace")]].concat();
    let service = Service::start(servers, &env).await;
    let path = "/api/v1/tenants";
    let show = async |shown: &str| {
        let request = service.request(Method::GET, path);
        request.header("authorization", shown).send().await.unwrap()
    };
    assert_eq!(service.get(path).await.status(), StatusCode::OK);
    for _ in 0..5 {
        let response = show(&format!("Bearer {TOKEN}")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("ratelimit-limit"));
    }
    for wrong in [
        "Bearer ",
        "Bearer the-token",
        TOKEN,
        &format!("Basic {TOKEN}"),
    ] {
        assert_eq!(
            show(wrong).await.status(),
            StatusCode::TOO_MANY_REQUESTS,
            "{wrong}"
        );
    }
    let log = service.log();
    assert!(log.contains("a request was refused"), "{log}");
    assert!(!log.contains(TOKEN));
    // What the database says of the inside is for who shows it alone.
    let metrics = service.get("/metrics").await.text().await.unwrap();
    assert!(!metrics.contains(TOKEN));

    // Without a token in the environment, or with an empty one, none lets anybody by.
    for unset in [&env[1..], &[("REFSERVICE_ADMIN_TOKEN", ""), env[1]]] {
        let service = Service::start(servers, unset).await;
        for shown in ["Bearer ", "Bearer", &format!("Bearer {TOKEN}")] {
            let request = service.request(Method::GET, path);
            let response = request.header("authorization", shown).send().await.unwrap();
            assert!(
                response.headers().contains_key("ratelimit-limit"),
                "{shown}"
            );
        }
        assert_eq!(
            service.get(path).await.status(),
            StatusCode::TOO_MANY_REQUESTS
        );
    }
}

/// What the database says of the inside is for whoever runs the service.
#[tokio::test]
async fn only_the_admin_is_told_what_the_database_says() {
    let mut postgres = Postgres::start().unwrap();
    let database = postgres.url();
    let env = [
        ("REFSERVICE_ADMIN_TOKEN", TOKEN),
        ("REFSERVICE__POOL__HEALTH_CHECK_MS", "100"),
        ("REFSERVICE__POOL__PEER_TIMEOUT_MS", "1000"),
    ];
    let service = Service::start(&["--database", &database], &env).await;
    let pool = async |token: Option<&str>| {
        let mut request = service.request(Method::GET, "/internal/pool");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Json>(&text).unwrap()
    };
    postgres.stop().unwrap();
    let away = async || pool(None).await["health"]["healthy"] == json!(false);
    until("the database is away", away).await;
    for token in [None, Some("another")] {
        let health = pool(token).await["health"].clone();
        assert_eq!(
            (&health["healthy"], &health["error"]),
            (&json!(false), &Json::Null)
        );
        assert!(health["failures"].as_u64().unwrap() > 0, "{health}");
    }
    let health = pool(Some(TOKEN)).await["health"].clone();
    assert!(health["error"].is_string(), "{health}");
}

#[tokio::test]
async fn a_load_test_can_have_the_limits_it_needs() {
    let service = Service::start(&["--rate-limit", "500"], &[]).await;
    let response = service.get_as("/api/v1/clients/1", "1", "ada").await;
    assert_eq!(
        response.headers()["ratelimit-policy"],
        r#""user";q=500;w=60, "tenant";q=500;w=60, "endpoint";q=500;w=60"#
    );
    let off = [
        ("REFSERVICE_RATE_LIMIT", "0"),
        ("REFSERVICE__LIMIT__USER_PER_MIN", "1"),
    ];
    let service = Service::start(&[], &off).await;
    for _ in 0..3 {
        let response = service.get("/api/v1/clients/1").await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut names = response.headers().keys();
        assert!(names.all(|name| !name.as_str().starts_with("ratelimit")));
    }
    // One alone can be off.
    let env = [
        ("REFSERVICE__LIMIT__USER_PER_MIN", "0"),
        ("REFSERVICE__LIMIT__TENANT_PER_MIN", "0"),
    ];
    let service = Service::start(&[], &env).await;
    let response = service.get("/api/v1/clients/1").await;
    assert_eq!(
        response.headers()["ratelimit-policy"],
        r#""endpoint";q=1000;w=60"#
    );
    assert_eq!(response.headers()["ratelimit"], r#""endpoint";r=999;t=1"#);
}

async fn made_up_callers_are_refused_or_counted_together(servers: &[&str]) {
    let env = [
        ("REFSERVICE__LIMIT__KEYS_MAX", "20"),
        ("REFSERVICE__LIMIT__USER_PER_MIN", "5"),
        ("REFSERVICE__LIMIT__TENANT_PER_MIN", "0"),
        ("REFSERVICE__LIMIT__ENDPOINT_PER_MIN", "0"),
        ("REFSERVICE__LIMIT__UPKEEP_MS", "200"),
    ];
    let service = Service::start(servers, &env).await;
    let path = "/api/v1/clients/1";
    let keys = "rate_limit_keys{limit=\"user\"} ";
    let mut refused = 0;
    for user in 0..60 {
        let response = service.get_as(path, "1", &format!("u{user}")).await;
        refused += usize::from(response.status() == StatusCode::TOO_MANY_REQUESTS);
        assert!(service.metric(keys).await <= 20.0);
    }
    assert!(refused >= 20, "{refused}");
    // Nonsense is refused, and counted for the address.
    let service = Service::start(servers, &env[1..4]).await;
    for round in 0..7 {
        let response = service.get_as(path, "0", "a b").await;
        let expected = if round < 5 {
            (400, "invalid_caller")
        } else {
            (429, "rate_limited")
        };
        assert_eq!(
            error_of(response).await,
            (expected.0, expected.1.to_owned())
        );
    }
    // Who has all of the limit again is forgotten.
    let env = [("REFSERVICE__LIMIT__UPKEEP_MS", "100")];
    let service = Service::start(servers, &env).await;
    for user in ["a", "b", "c"] {
        service.get_as(path, "1", user).await;
    }
    let forgotten = async || service.metric(keys).await == 0.0;
    until("idle users are forgotten", forgotten).await;
}

/// What the webhook of a test does.
const WORKS: u8 = 0;
const FAILS: u8 = 1;
const HANGS: u8 = 2;
const REFUSES: u8 = 3;
const REDIRECTS: u8 = 4;

fn webhook(does: &Arc<AtomicU8>) -> Server {
    let does = Arc::clone(does);
    Server::answering(move |_: &Request| {
        let (status, headers) = match does.load(Ordering::SeqCst) {
            WORKS => (204, String::new()),
            FAILS => (500, String::new()),
            REFUSES => (404, String::new()),
            REDIRECTS => (302, "location: /elsewhere\r\n".to_owned()),
            _ => return Reply::Acts(vec![Act::Hold]),
        };
        Reply::Answer {
            status,
            headers,
            body: String::new(),
        }
    })
}

async fn a_webhook_that_fails_is_left_alone_until_it_is_back(servers: &[&str]) {
    let does = Arc::new(AtomicU8::new(WORKS));
    let other = webhook(&does);
    let url = format!("{}/hook?secret=hunter2", other.url());
    let env = [
        ("REFSERVICE_WEBHOOK", url.as_str()),
        ("REFSERVICE__BREAKER__WINDOW_CALLS", "4"),
        ("REFSERVICE__BREAKER__OPEN_MS", "4000"),
        ("REFSERVICE__SERVICE__WEBHOOK_TIMEOUT_MS", "300"),
        ("REFSERVICE__SERVICE__RETRY_AFTER_S", "77"),
    ];
    let service = Service::start(servers, &env).await;
    let told = service.notify(7).await;
    assert_eq!(told.status(), StatusCode::OK);
    let told: Json = serde_json::from_slice(&told.bytes().await.unwrap()).unwrap();
    assert_eq!(told, json!({ "delivered": true, "status": 204 }));
    let seen = other.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line, "POST /hook?secret=hunter2 HTTP/1.1");
    let tenant = Generator::new(42, 1000).tenant_of(7).unwrap();
    let expected =
        json!({ "client_id": 7, "tenant_id": tenant, "message": "The results are there" });
    assert_eq!(
        serde_json::from_str::<Json>(&seen[0].body).unwrap(),
        expected
    );
    assert_eq!(service.breaker().await, "closed");

    // One that refuses works; nobody follows it elsewhere either.
    for does_now in [REFUSES, REDIRECTS] {
        does.store(does_now, Ordering::SeqCst);
        for _ in 0..6 {
            let refused = error_of(service.notify(7).await).await;
            assert_eq!(refused, (502, "webhook_refused".to_owned()));
        }
    }
    assert!(
        other
            .seen()
            .iter()
            .all(|request| request.path().starts_with("/hook"))
    );
    assert_eq!(service.breaker().await, "closed");
    assert_eq!(
        service
            .metric("breaker_openings_total{to=\"webhook\"} ")
            .await,
        0.0
    );

    // From two failures of the last four on it is left alone: nobody waits, and it sees nothing.
    does.store(HANGS, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(service.breaker().await, "closed");
        let timed_out = error_of(service.notify(7).await).await;
        assert_eq!(timed_out, (504, "webhook_timeout".to_owned()));
    }
    assert_eq!(service.breaker().await, "open");
    let before = (other.connections(), other.seen().len());
    for _ in 0..5 {
        let refused = service.notify(7).await;
        let retry_after = number(&refused, "retry-after");
        assert!((1..=4).contains(&retry_after), "{retry_after}");
        assert_eq!(error_of(refused).await, (503, "circuit_open".to_owned()));
    }
    assert_eq!((other.connections(), other.seen().len()), before);
    let rejected = "breaker_calls_total{to=\"webhook\",outcome=\"rejected\"} ";
    assert_eq!(service.metric(rejected).await, 5.0);
    // Other requests are not concerned.
    assert_eq!(
        service.get("/api/v1/clients/7").await.status(),
        StatusCode::OK
    );

    // Half open, it is tried; it still fails, and is left alone again.
    does.store(FAILS, Ordering::SeqCst);
    let half_open = async || service.breaker().await == "half_open";
    until("it is half open", half_open).await;
    let failed = error_of(service.notify(7).await).await;
    assert_eq!(failed, (502, "webhook_refused".to_owned()));
    assert_eq!(service.breaker().await, "open");
    assert_eq!(
        service
            .metric("breaker_openings_total{to=\"webhook\"} ")
            .await,
        2.0
    );

    // It is back: two trials, and all goes on.
    does.store(WORKS, Ordering::SeqCst);
    until("it is half open again", half_open).await;
    assert_eq!(service.notify(7).await.status(), StatusCode::OK);
    assert_eq!(service.breaker().await, "half_open");
    assert_eq!(service.notify(7).await.status(), StatusCode::OK);
    assert_eq!(service.breaker().await, "closed");
    let failures = "breaker_calls_total{to=\"webhook\",outcome=\"failure\"} ";
    assert_eq!(service.metric(failures).await, 3.0);
    assert!(!service.log().contains("hunter2"), "{}", service.log());
}

/// Nobody has to wait for as long as it takes to find that a webhook hangs.
async fn a_webhook_that_hangs_is_left_alone_however_impatient_clients_are(servers: &[&str]) {
    let does = Arc::new(AtomicU8::new(HANGS));
    let other = webhook(&does);
    let url = other.url();
    let env = [
        ("REFSERVICE_WEBHOOK", url.as_str()),
        ("REFSERVICE__BREAKER__WINDOW_CALLS", "4"),
        ("REFSERVICE__SERVICE__WEBHOOK_TIMEOUT_MS", "1000"),
    ];
    let service = Service::start(servers, &env).await;
    let impatient = async || {
        let request = service.request(Method::POST, "/api/v1/clients/7/notify");
        let request = request.body(json!({ "message": "m" }).to_string());
        let sent = request.timeout(Duration::from_millis(300)).send().await;
        assert!(sent.is_err(), "it was answered: {sent:?}");
    };
    for _ in 0..5 {
        impatient().await;
    }
    let open = async || service.breaker().await == "open";
    until("the breaker is open", open).await;
}

async fn what_cannot_be_notified_says_so(servers: &[&str]) {
    // Nobody listens there.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hunter2", gone.local_addr().unwrap());
    drop(gone);
    let service = Service::start(&[servers, &["--webhook", &url]].concat(), &[]).await;
    let answer = error_of(service.notify(7).await).await;
    assert_eq!(answer, (502, "webhook_unreachable".to_owned()));
    assert!(!service.log().contains("hunter2"), "{}", service.log());
    assert_eq!(error_of(service.notify(9999).await).await.0, 404);
    // To another tenant a client is not there.
    let tenant = Generator::new(42, 1000).tenant_of(7).unwrap();
    for (tenant, status) in [(tenant, 502), (tenant + 1, 404)] {
        let request = service.request(Method::POST, "/api/v1/clients/7/notify");
        let request = request.header("x-tenant-id", tenant);
        let body = json!({ "message": "m" }).to_string();
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(error_of(answer).await.0, status, "{tenant}");
    }
    for body in [
        "",
        "{}",
        r#"{"message": ""}"#,
        r#"{"message": "a", "to": "b"}"#,
    ] {
        let request = service.request(Method::POST, "/api/v1/clients/7/notify");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(
            error_of(answer).await,
            (422, "invalid_body".to_owned()),
            "{body}"
        );
    }
    let without = Service::start(servers, &[("REFSERVICE_WEBHOOK", "")]).await;
    assert_eq!(
        error_of(without.notify(7).await).await,
        (501, "no_webhook".to_owned())
    );

    let refused = output(&["--webhook", "hunter2"], &[]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text.contains("the webhook's address must begin with http://"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    let help = output(&["--help"], &[("REFSERVICE_WEBHOOK", "http://hunter2/")]);
    assert!(!String::from_utf8_lossy(&help.stdout).contains("hunter2"));
}

async fn every_answer_has_the_headers_that_keep_browsers_out(servers: &[&str]) {
    let service = Service::start(&[servers, &["--rate-limit", "2"]].concat(), &[]).await;
    let check = |response: &Response, what: &str, cached: &str| {
        for (name, expected) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("referrer-policy", "no-referrer"),
            ("cache-control", cached),
        ] {
            let values: Vec<_> = response.headers().get_all(name).iter().collect();
            assert_eq!(values, [expected], "{name} of {what}");
        }
    };
    for (path, status) in [
        ("/api/v1/clients", 200),
        ("/api/v1/records/export", 200),
        ("/live", 200),
        ("/ready", 200),
        ("/metrics", 200),
        ("/internal/cache", 200),
        ("/api/v1/clients", 429),
        ("/none", 429),
    ] {
        let response = service.get(path).await;
        assert_eq!(response.status(), status, "{path}");
        // What a client may keep, if it asks whether it still holds.
        let is_list = path == "/api/v1/clients" && status == 200;
        let cached = if is_list {
            "private, no-cache"
        } else {
            "no-store"
        };
        check(&response, path, cached);
    }
    let service = Service::start(servers, &[]).await;
    for (method, path, status) in [
        (Method::GET, "/none", 404),
        (Method::GET, "/api/v1/clients/x", 400),
        (Method::DELETE, "/api/v1/clients", 405),
        (Method::POST, "/api/v1/clients", 422),
    ] {
        let response = service.request(method, path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        check(&response, path, "no-store");
    }
    // Compressed ones too.
    let request = service.request(Method::GET, "/api/v1/clients");
    let response = request
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    check(&response, "a compressed answer", "private, no-cache");
}

/// A request that waits for the database longer than it may: on PostgreSQL for a table that another
/// session has locked, on SQLite for the file.
#[tokio::test]
async fn a_request_that_takes_too_long_is_told_so() {
    let env = [
        ("REFSERVICE__SERVICE__REQUEST_TIMEOUT_MS", "700"),
        ("REFSERVICE__SERVICE__WEBHOOK_TIMEOUT_MS", "300"),
        ("REFSERVICE__PAYMENTS__TIMEOUT_MS", "600"),
        ("REFSERVICE__PAYMENTS__LOCK_WAIT_MS", "100"),
        ("REFSERVICE__PAYMENTS__ACQUIRE_TIMEOUT_MS", "400"),
        ("REFSERVICE__SERVICE__BULK_TIMEOUT_MS", "1500"),
        ("REFSERVICE__POOL__ACQUIRE_TIMEOUT_MS", "500"),
        ("REFSERVICE__POOL__SQLITE_BUSY_TIMEOUT_MS", "60000"),
        ("REFSERVICE__SERVICE__RETRY_AFTER_S", "3"),
    ];
    let servers = Servers::start().unwrap();
    let arguments = servers.arguments();
    let service = Service::start(&arguments.each_ref().map(String::as_str), &env).await;
    let database = servers.postgres.url();
    let mut outside = sqlx::PgConnection::connect(&database).await.unwrap();
    let lock = "BEGIN; LOCK TABLE clients, records IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    let list = service.request(Method::GET, "/api/v1/clients");
    timed_out(list, 700, "took too long").await;
    let unsure = "0 rows before that were loaded, and whether the next 1 were is not known";
    in_doubt(bulk(&service, a_record()), 1500, unsure).await;
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut outside)
        .await
        .unwrap();
    // It did go in: who had sent it again would have it twice.
    let loaded = async || exported(&service).await == 1001;
    until("the load has come to its end", loaded).await;
    recovers(&service).await;

    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let service = Service::start(&["--data", &data], &env).await;
    let url = format!("sqlite:{data}/reference.db");
    let mut outside = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let lock = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut outside);
    lock.await.unwrap();
    let client = json!({
        "tenant_id": 1, "given_name": "A", "family_name": "B", "email": "a@b", "city": "C",
        "birth_date": "1990-01-01",
    });
    let create = service.request(Method::POST, "/api/v1/clients");
    let unknown = "whether it was or will be done is not known";
    in_doubt(create.body(client.to_string()), 700, unknown).await;
    in_doubt(bulk(&service, a_record()), 1500, unsure).await;
    // What is done no more often when it is sent twice may be.
    let replace = service.request(Method::PUT, "/api/v1/clients/7");
    let mut same = client.clone();
    same["tenant_id"] = Generator::new(42, 1000).tenant_of(7).unwrap().into();
    timed_out(replace.body(same.to_string()), 700, "took too long").await;
    let unlock = sqlx::raw_sql("ROLLBACK").execute(&mut outside);
    unlock.await.unwrap();
    let loaded = async || exported(&service).await == 1001;
    until("the load has come to its end", loaded).await;
    let made = "/api/v1/clients/search?q=a%40b&sort=-id";
    let made = async || {
        let page: Json = service
            .get(made)
            .await
            .text()
            .await
            .unwrap()
            .parse()
            .unwrap();
        let ids = page["items"].as_array().unwrap();
        ids.iter().filter(|client| client["id"] != 7).count() == 1
    };
    until("the client is there once", made).await;
    recovers(&service).await;
}

async fn exported(service: &Service) -> usize {
    let export = service.get("/api/v1/records/export").await;
    export.text().await.unwrap().lines().count()
}

fn bulk(service: &Service, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let request = service.request(Method::POST, "/api/v1/records/bulk");
    let request = request.header("content-type", "application/x-ndjson");
    request.body(body)
}

/// The client is told to come back.
async fn timed_out(request: RequestBuilder, after_ms: u64, says: &str) {
    let answer = given_up(request, after_ms, says).await;
    assert_eq!(answer, Some("3".to_owned()));
}

/// The client is not: what it asked for may have been done.
async fn in_doubt(request: RequestBuilder, after_ms: u64, says: &str) {
    let answer = given_up(request, after_ms, says).await;
    assert_eq!(answer, None);
}

/// When the client of a request that takes too long may come back.
async fn given_up(request: RequestBuilder, after_ms: u64, says: &str) -> Option<String> {
    let since = Instant::now();
    let answer = request.send().await.unwrap();
    let took = since.elapsed();
    let again = answer.headers().get("retry-after");
    let again = again.map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error: Json = answer.text().await.unwrap().parse().unwrap();
    assert_eq!(error["error"]["code"], "timeout");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(says), "{message}");
    assert!(took >= Duration::from_millis(after_ms), "{took:?}");
    // It would have waited for the lock for a minute.
    assert!(took < Duration::from_secs(20), "{took:?}");
    again
}

async fn recovers(service: &Service) {
    let lists = async || service.get("/api/v1/clients").await.status() == StatusCode::OK;
    until("requests are answered again", lists).await;
    let loads = async || {
        let answer = bulk(service, a_record()).send().await.unwrap();
        answer.status() == StatusCode::OK
    };
    until("loads are taken again", loads).await;
}

async fn a_load_in_lines_has_an_end_however_it_is_sent(servers: &[&str]) {
    let env = [
        ("REFSERVICE__SERVICE__BULK_BODY_MAX_BYTES", "4000"),
        ("REFSERVICE__BATCH__MIN_ROWS", "2"),
        ("REFSERVICE__BATCH__START_ROWS", "2"),
    ];
    let service = Service::start(servers, &env).await;
    let record = a_record();
    let fits = 4000 / record.len();
    let loaded = bulk(&service, record.repeat(fits)).send().await.unwrap();
    assert_eq!(loaded.status(), StatusCode::OK);
    // With its length told beforehand.
    let refused = bulk(&service, record.repeat(fits + 1))
        .send()
        .await
        .unwrap();
    assert_eq!(error_of(refused).await, (413, "body_too_large".to_owned()));
    // And piece by piece, without an end: it is refused as soon as there is too much of it.
    let (feed, body) = fed();
    let too_much = async {
        for _ in 0..=fits {
            feed.send(record.clone().into()).await.unwrap();
        }
        pending::<Infallible>().await
    };
    let refused = tokio::select! {
        answer = bulk(&service, body).send() => answer,
        never = too_much => match never {},
    };
    let refused = refused.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let text = refused.text().await.unwrap();
    assert!(text.contains("larger than 4000 bytes"), "{text}");
    assert!(text.contains("rows before that were loaded"), "{text}");
}

#[tokio::test]
async fn a_settings_file_holds_and_the_environment_goes_over_it() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("some.toml");
    let text = "[service]\nbody_max_bytes = 300\nretry_after_s = 5\n\
                [limit]\nuser_per_min = 50\n[cache.ttl]\nlist_s = 7\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let env = [("REFSERVICE__LIMIT__USER_PER_MIN", "40")];
    let service = Service::start(&["--config", &file], &env).await;
    let response = service.get("/api/v1/clients/1").await;
    assert_eq!(
        number(&response, "ratelimit-limit"),
        40,
        "of the environment"
    );
    let post = async |bytes: usize| {
        let request = service.request(Method::POST, "/api/v1/clients");
        let answer = request.body(" ".repeat(bytes)).send().await.unwrap();
        error_of(answer).await.0
    };
    assert_eq!(
        (post(300).await, post(301).await),
        (422, 413),
        "of the file"
    );

    // What is in force is printed: all of it, as a file that can be given back.
    let printed = output(&["--config", &file, "--print-config"], &env);
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    let mut expected = Settings::default();
    expected.service.body_max_bytes = 300;
    expected.service.retry_after_s = 5;
    expected.limit.user_per_min = 40;
    expected.cache.ttl.list_s = 7;
    assert_eq!(Settings::load(&printed, []), Ok(expected));

    for (text, expected) in [
        ("[service]\nbody = 1\n", "unknown field `body`"),
        (
            "[limit]\nkeys_max = 0\n",
            "limit.keys_max must be at least 1",
        ),
        ("[limit", "line 1"),
    ] {
        std::fs::write(&file, text).unwrap();
        let refused = output(&["--config", &file], &[]);
        assert_eq!(refused.status.code(), Some(1));
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn the_shipped_settings_are_the_defaults_that_the_program_prints() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/refservice.toml");
    let printed = output(&["--print-config"], &[]);
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed, std::fs::read_to_string(shipped).unwrap());
    let again = output(&["--print-config", "--config", shipped], &[]);
    assert_eq!(printed, String::from_utf8(again.stdout).unwrap());
    assert_eq!(Settings::load(&printed, []), Ok(Settings::default()));
}
