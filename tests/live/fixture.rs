//! Hubs and what comes out of them; services and WebSockets to them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use plimsoll::datalayer::config::LiveSettings;
use plimsoll::datalayer::dataset::DatasetId;
use plimsoll::datalayer::live::{Hub, Position, Subscription};
use plimsoll::service::{Options, Server, ServerError, Settings};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::PATIENCE;
use crate::support::provider;
use crate::support::refservice::Refservice;
use crate::support::servers::{Postgres, Redis};
use crate::support::wait;

/// Where hubs meet: in one process, or in Redis.
pub(crate) struct Place {
    pub(crate) redis: Option<Redis>,
    pub(crate) settings: LiveSettings,
}

impl Place {
    pub(crate) fn on_redis(settings: LiveSettings) -> Self {
        Self {
            redis: Some(Redis::start().unwrap()),
            settings,
        }
    }

    pub(crate) fn hub(&self) -> Hub {
        match &self.redis {
            Some(redis) => Hub::redis(&redis.url(), &self.settings).unwrap(),
            None => Hub::in_process(&self.settings),
        }
    }
}

/// Runs a test embedded, and on a Redis of its own.
pub(crate) async fn everywhere(settings: LiveSettings, test: impl AsyncFn(&Place)) {
    let embedded = Place {
        redis: None,
        settings: settings.clone(),
    };
    test(&embedded).await;
    test(&Place::on_redis(settings)).await;
}

pub(crate) fn rooms(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Says a number in room `a` of tenant `t`.
pub(crate) fn say(hub: &Hub, number: u64) {
    hub.publish("t", "a", &json!(number));
}

/// A subscription to room `a` of tenant `t`, and the place that it was told.
pub(crate) async fn joined(hub: &Hub) -> (Subscription, Json) {
    let mut subscription = hub.connect("t").unwrap();
    subscription.join(rooms(&["a"])).await;
    let told = next(&mut subscription).await;
    assert_eq!(told["joined"], json!(["a"]));
    (subscription, told)
}

pub(crate) async fn next(subscription: &mut Subscription) -> Json {
    let delivery = timeout(PATIENCE, subscription.next()).await.unwrap();
    let delivery = delivery.unwrap();
    subscription.handed_over(&delivery);
    let message: Json = serde_json::from_slice(&delivery.text).unwrap();
    let updates = message["updates"].as_array().unwrap();
    assert_eq!(updates.len(), delivery.updates);
    message
}

/// What the updates of a message say, each a number.
pub(crate) fn numbers(message: &Json) -> Vec<u64> {
    let updates = message["updates"].as_array().unwrap();
    let number = |update: &Json| update["data"].as_u64().unwrap();
    updates.iter().map(number).collect()
}

pub(crate) fn is_gap(message: &Json) -> bool {
    message.get("gap").is_some_and(|gap| gap == &json!(true))
}

/// A place as a client says it again, which is null while Redis is away.
pub(crate) fn place(message: &Json) -> Json {
    json!({ "epoch": message["epoch"], "seq": message["seq"] })
}

pub(crate) fn position(message: &Json) -> Position {
    serde_json::from_value(place(message)).unwrap()
}

pub(crate) const DATASET: DatasetId = DatasetId {
    seed: 42,
    records: 1000,
};

/// A tenant of the dataset; the next number is one as well.
pub(crate) const TENANT: i64 = 1;

/// A caller of whom no tenant is known.
pub(crate) const NOBODY: i64 = -1;

/// The defaults, but for the limits of requests: tests ask more often.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.limit.user_per_min = 0;
    settings.limit.tenant_per_min = 0;
    settings.limit.endpoint_per_min = 0;
    settings
}

/// The API of a service, wherever it runs.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) base: String,
    http: reqwest::Client,
}

impl Api {
    async fn ready(base: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let api = Self {
            base,
            http: http.build().unwrap(),
        };
        let ready = async || {
            let ready = api.http.get(format!("{}/ready", api.base)).send();
            ready.await.unwrap().status() == StatusCode::OK
        };
        until("the service is ready", ready).await;
        api
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1/{path}", self.base))
    }

    /// Ids of clients of a tenant.
    pub(crate) async fn clients(&self, tenant: i64) -> Vec<i64> {
        let path = format!("clients?tenant_id={tenant}&limit=10");
        let page = self.request(Method::GET, &path).send().await.unwrap();
        let page: Json = serde_json::from_str(&page.text().await.unwrap()).unwrap();
        let items = page["items"].as_array().unwrap();
        assert!(!items.is_empty(), "tenant {tenant} has no clients");
        let id = |client: &Json| client["id"].as_i64().unwrap();
        items.iter().map(id).collect()
    }

    pub(crate) async fn change(&self, tenant: i64, id: i64) -> reqwest::Result<Response> {
        let request = self.request(Method::PUT, &format!("clients/{id}"));
        request.body(a_client(tenant).to_string()).send().await
    }

    pub(crate) async fn create(&self, tenant: i64) -> i64 {
        let request = self.request(Method::POST, "clients");
        let created = request.body(a_client(tenant).to_string()).send().await;
        let created = created.unwrap();
        assert_eq!(created.status(), StatusCode::CREATED);
        let client: Json = serde_json::from_str(&created.text().await.unwrap()).unwrap();
        client["id"].as_i64().unwrap()
    }

    /// The value of a metric by its name with its labels.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let metrics = self.http.get(format!("{}/metrics", self.base)).send();
        let text = metrics.await.unwrap().text().await.unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no {series} in {text}"))
            .parse()
            .unwrap()
    }

    /// A connection of a user of a tenant, of one without a name where that is empty; or the status and the code of the refusal; 0 where there was
    /// no answer.
    pub(crate) async fn connect(&self, tenant: i64, user: &str) -> Result<Socket, (u16, String)> {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        self.connect_over(stream, tenant, user).await
    }

    pub(crate) async fn connect_over(
        &self,
        stream: TcpStream,
        tenant: i64,
        user: &str,
    ) -> Result<Socket, (u16, String)> {
        let url = format!("ws://{}/api/v1/live", self.address());
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        if tenant != NOBODY {
            headers.insert("x-tenant-id", tenant.into());
        }
        if !user.is_empty() {
            headers.insert("x-user-id", user.parse().unwrap());
        }
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                let error: Json = serde_json::from_slice(&body).unwrap_or_default();
                let code = error["error"]["code"].as_str().unwrap_or_default();
                Err((response.status().as_u16(), code.to_owned()))
            }
            // It went away meanwhile.
            Err(error) => Err((0, error.to_string())),
        }
    }

    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }
}

/// A client as it is written.
pub(crate) fn a_client(tenant: i64) -> Json {
    json!({
        "tenant_id": tenant, "given_name": "A", "family_name": "B", "email": "a@b", "city": "C",
        "birth_date": "1990-01-01",
    })
}

/// A WebSocket to a service.
pub(crate) struct Socket(pub(crate) WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn say(&mut self, message: &Json) {
        let sent = self.0.send(Message::text(message.to_string())).await;
        sent.unwrap();
    }

    /// The next message, or the code with which it was closed.
    pub(crate) async fn hear(&mut self) -> Result<Json, Option<u16>> {
        // However many pings come meanwhile.
        let heard = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Ok(serde_json::from_str(&text).unwrap());
                    }
                    Some(Ok(Message::Close(frame))) => {
                        return Err(frame.map(|frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(None),
                }
            }
        };
        timeout(PATIENCE, heard).await.unwrap()
    }

    pub(crate) async fn join(&mut self, rooms: &[&str]) -> Json {
        self.say(&json!({ "join": rooms })).await;
        let joined = self.hear().await.unwrap();
        assert_eq!(joined["joined"], json!(rooms));
        joined
    }

    /// What the next updates say.
    pub(crate) async fn changes(&mut self) -> Vec<Json> {
        let message = self.hear().await.unwrap();
        let updates = message["updates"].as_array();
        let updates = updates.unwrap_or_else(|| panic!("no updates: {message}"));
        updates
            .iter()
            .map(|update| update["data"].clone())
            .collect()
    }
}

/// A service in this process.
pub(crate) struct Service {
    pub(crate) api: Api,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), ServerError>>,
}

impl Service {
    pub(crate) async fn start(database: &str, redis: Option<String>, settings: Settings) -> Self {
        let options = Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: database.to_owned(),
            redis,
            lock_redis: Vec::new(),
            dataset: DATASET,
            settings,
            inject_delay: Duration::ZERO,
            admin_token: None,
            webhook: None,
            provider_secret: provider::shared(provider::SECRET),
        };
        let server = Server::bind(options).await.unwrap();
        let base = format!("http://{}", server.address());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(async {
            // Dropped, it is to stop too.
            let _ = stopped.await;
        }));
        Self {
            api: Api::ready(base).await,
            stop: Some(stop),
            served,
        }
    }

    /// Tells it to stop; the end is to be waited for.
    pub(crate) fn stop(mut self) -> JoinHandle<Result<(), ServerError>> {
        drop(self.stop.take());
        self.served
    }
}

/// Runs a test on a service that is embedded, and on one with PostgreSQL and Redis.
pub(crate) async fn on_either(settings: Settings, test: impl AsyncFn(&Api)) {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&sqlite(&folder), None, settings.clone()).await;
    test(&service.api).await;
    service.stop().await.unwrap().unwrap();
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let service = Service::start(&postgres.url(), Some(redis.url()), settings).await;
    test(&service.api).await;
    service.stop().await.unwrap().unwrap();
}

pub(crate) fn sqlite(folder: &TempDir) -> String {
    format!("sqlite:{}/a.db?mode=rwc", folder.path().display())
}

/// A service as a process of its own; dropping it kills it.
pub(crate) struct Process {
    pub(crate) service: Refservice,
    pub(crate) api: Api,
}

impl Process {
    pub(crate) async fn start(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let arguments = [&["--records", "1000", "--rate-limit", "0"], arguments].concat();
        let service = Refservice::start(&arguments, env);
        let api = Api::ready(service.base.clone()).await;
        Self { service, api }
    }
}

pub(crate) async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    wait::until_async(what, PATIENCE, holds).await.unwrap();
}
