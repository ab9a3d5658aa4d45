//! GitHub's API as far as the workflows use it, over HTTP: pull requests, comments and artifacts of one
//! repository, kept as long as the test goes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use crate::runner::TOKEN;
use crate::support::http_servers::{Act, Reply, Request, Server};

/// The repository's name and number.
pub(crate) const REPOSITORY: &str = "harbour/ship";
pub(crate) const REPOSITORY_ID: u64 = 17;
/// Who writes with the token of a workflow.
pub(crate) const BOT: &str = "github-actions[bot]";

/// The API and the store of artifacts, which is another server.
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    api: Server,
    store: Server,
}

#[derive(Default)]
struct State {
    pulls: Vec<Value>,
    comments: Vec<Value>,
    artifacts: Vec<Value>,
    /// What is packed in the artifact.
    packed: Bytes,
    /// Whether the store repeats that for ever.
    is_endless: bool,
    store: String,
}

impl Api {
    /// An API that knows nothing yet.
    pub(crate) fn new() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let of_store = Arc::clone(&state);
        let store = Server::answering(move |_| {
            let state = of_store.lock().expect("no test panics here");
            let (packed, endless) = (state.packed.clone(), state.is_endless);
            let length = if endless { 2 << 30 } else { packed.len() };
            let head = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n");
            let body = match endless {
                true => Act::Repeat(Duration::ZERO, packed),
                false => Act::Send(packed),
            };
            Reply::Acts(vec![Act::send(head), body])
        });
        state.lock().expect("no test panics here").store = store.url();
        let of_api = Arc::clone(&state);
        let api = Server::answering(move |request| {
            answer(&mut of_api.lock().expect("no test panics here"), request)
        });
        Self { state, api, store }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        self.api.url()
    }

    /// An open pull request.
    pub(crate) fn add_pull(&self, number: u64, sha: &str, from: (&str, u64), branch: &str) {
        self.state().pulls.push(json!({
            "number": number,
            "state": "open",
            "head": {
                "sha": sha, "ref": branch, "repo": { "id": from.1 }, "user": { "login": from.0 },
            },
            "base": { "ref": "main", "repo": { "id": REPOSITORY_ID } },
        }));
    }

    /// A comment by somebody.
    pub(crate) fn add_comment(&self, pull: u64, login: &str, kind: &str, body: &str) {
        let mut state = self.state();
        let id = 1 + state.comments.len();
        state.comments.push(json!({
            "id": id, "pull": pull, "user": { "login": login, "type": kind }, "body": body,
        }));
    }

    /// The artifact of the run, and the size that GitHub says it has.
    pub(crate) fn set_artifact(&self, packed: impl Into<Bytes>, size: usize) {
        let mut state = self.state();
        state.packed = packed.into();
        state.artifacts = vec![json!({
            "id": 5, "name": "plimsoll", "size_in_bytes": size, "expired": false,
        })];
    }

    /// Lets the store send what is packed again and again, 2 GiB as it says.
    pub(crate) fn make_endless(&self) {
        self.state().is_endless = true;
    }

    /// Changes what is known of the pull requests.
    pub(crate) fn change_pulls(&self, change: impl FnOnce(&mut Vec<Value>)) {
        change(&mut self.state().pulls);
    }

    /// The pull requests.
    pub(crate) fn pulls(&self) -> Vec<Value> {
        self.state().pulls.clone()
    }

    /// The comments.
    pub(crate) fn comments(&self) -> Vec<Value> {
        self.state().comments.clone()
    }

    /// What the store of artifacts was asked.
    pub(crate) fn asked_of_the_store(&self) -> Vec<Request> {
        self.store.seen()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics here")
    }
}

fn answer(state: &mut State, request: &Request) -> Reply {
    let authorized = format!("authorization: bearer {}", TOKEN.to_lowercase());
    if !request.headers.contains(&authorized) {
        return reply(401, &json!({ "message": "Bad credentials" }));
    }
    let method = request.line.split(' ').next().unwrap_or_default();
    let url = Url::parse(&format!("http://api{}", request.path())).expect("a URL");
    let body: Value = serde_json::from_str(&request.body).unwrap_or(Value::Null);
    let within = format!("/repos/{REPOSITORY}/");
    let Some(path) = url.path().strip_prefix(&within) else {
        return reply(404, &json!({ "message": "Not Found" }));
    };
    let parts: Vec<&str> = path.split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["pulls"]) => {
            let found = state.pulls.iter().filter(|pull| is_asked_for(pull, &url));
            reply(200, &page(found.cloned(), &url))
        }
        ("POST", ["pulls"]) => {
            let number = 100 + state.pulls.len();
            let mut pull = body;
            let branch = pull["head"].take();
            pull["number"] = number.into();
            pull["state"] = "open".into();
            pull["head"] = json!({ "ref": branch, "user": { "login": "harbour" } });
            pull["base"] = json!({ "ref": pull["base"] });
            state.pulls.push(pull.clone());
            reply(201, &pull)
        }
        ("PATCH", ["pulls", number]) => change(&mut state.pulls, "number", number, &body),
        ("GET", ["issues", number, "comments"]) => {
            let number: u64 = number.parse().unwrap_or(0);
            let of_pull = |one: &&Value| one["pull"] == number;
            let found = state.comments.iter().filter(of_pull);
            reply(200, &page(found.cloned(), &url))
        }
        ("POST", ["issues", number, "comments"]) => {
            let comment = json!({
                "id": 1 + state.comments.len(),
                "pull": number.parse::<u64>().expect("a number"),
                "user": { "login": BOT, "type": "Bot" },
                "body": body["body"],
            });
            state.comments.push(comment.clone());
            reply(201, &comment)
        }
        ("PATCH", ["issues", "comments", id]) => change(&mut state.comments, "id", id, &body),
        ("GET", ["actions", "runs", "99", "artifacts"]) => {
            let artifacts = page(state.artifacts.iter().cloned(), &url);
            reply(
                200,
                &json!({ "total_count": state.artifacts.len(), "artifacts": artifacts }),
            )
        }
        ("GET", ["actions", "artifacts", "5", "zip"]) => Reply::Answer {
            status: 302,
            headers: format!("location: {}/signed\r\n", state.store),
            body: String::new(),
        },
        _ => reply(404, &json!({ "message": "Not Found" })),
    }
}

/// Whether the query's filters let a pull request through.
fn is_asked_for(pull: &Value, url: &Url) -> bool {
    url.query_pairs().all(|(name, value)| match &*name {
        "state" => pull["state"] == *value,
        "base" => pull["base"]["ref"] == *value,
        "head" => {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let head = &pull["head"];
            *value == format!("{}:{}", text(&head["user"]["login"]), text(&head["ref"]))
        }
        _ => true,
    })
}

fn page(all: impl Iterator<Item = Value>, url: &Url) -> Value {
    let number = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find_map(|(found, value)| (found == name).then(|| value.parse().ok())?)
    };
    let size = number("per_page").unwrap_or(30);
    let before = size * (number("page").unwrap_or(1) - 1);
    Value::Array(all.skip(before).take(size).collect())
}

fn change(all: &mut [Value], key: &str, wanted: &str, by: &Value) -> Reply {
    let wanted: u64 = wanted.parse().unwrap_or(0);
    let Some(found) = all.iter_mut().find(|one| one[key] == wanted) else {
        return reply(404, &json!({ "message": "Not Found" }));
    };
    for (name, value) in crate::runner::object(by) {
        found[name] = value.clone();
    }
    reply(200, found)
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply::Answer {
        status,
        headers: "content-type: application/json\r\n".to_owned(),
        body: body.to_string(),
    }
}
