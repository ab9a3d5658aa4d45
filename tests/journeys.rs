//! Journeys from outside: real worker processes against a server that checks every request it gets.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use plimsoll::harness::engine::load::{Secrets, Shard, WorkerJob};
use plimsoll::harness::engine::{Engine as _, Executed, SubjectEngine};
use plimsoll::harness::model::{InvalidReason, Outcome, RequestSeries};
use plimsoll::harness::scenario::{
    Arrivals, AuthPlan, BodyPlan, BranchPlan, ConditionPlan, ExtractPlan, ExtractSource,
    FeedFormat, FeedOrder, FeedPlan, FlowPlan, GeneratorLimits, HttpPlan, LoadPlan, Part,
    PartContent, PartPlan, PhasePlan, Pick, Plan, RequestPlan, RetryPlan, Stage, StepPlan,
    Template, TestPlan, ThinkPlan, TimesPlan, parse,
};
use serde_json::json;
use tokio::sync::watch;

use support::files::planned;
use support::http_servers::{Act, Reply, Request, Server, ok};
use support::loads::{drive, execute};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
const ROWS: usize = 20_000;
/// What these tests hold is what is sent, not the speed of a debug build on a busy machine.
const LIMITS: GeneratorLimits = GeneratorLimits {
    workers: None,
    late_ns: 2 * S,
    cpu: 2.5,
};
/// The user's pause between two steps is at least this.
const PAUSE_MS: u64 = 20;

fn worker() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_plimsoll"))
}

fn literal(text: &str) -> Template {
    Template::literal(text)
}

/// A template of texts and of values in between: `{name}` extracted, `{feed.column}` of the feed,
/// `{setup:name}` of the setup.
fn template(text: &str) -> Template {
    let mut parts = Vec::new();
    for (index, piece) in text.split(['{', '}']).enumerate() {
        if piece.is_empty() {
            continue;
        }
        parts.push(
            match (index % 2, piece.split_once('.'), piece.split_once(':')) {
                (0, ..) => Part::Text(piece.into()),
                (_, Some((feed, column)), _) => Part::Feed {
                    feed: feed.into(),
                    column: column.into(),
                },
                (_, _, Some((_, name))) => Part::Setup(name.into()),
                _ => Part::Extracted(piece.into()),
            },
        );
    }
    Template { parts }
}

fn request(method: &str, path: &str) -> RequestPlan {
    let mut plan = RequestPlan {
        name: format!("{method} {path}"),
        method: method.into(),
        timeout_ns: 10 * S,
        ..RequestPlan::get("/")
    };
    plan.address.path = template(path);
    plan
}

fn extract(plan: &mut RequestPlan, name: &str, from: ExtractSource, pick: Pick) {
    let default = None;
    let extract = ExtractPlan {
        from,
        pick,
        default,
    };
    plan.extract.insert(name.into(), extract);
}

fn json_path(path: &str) -> ExtractSource {
    ExtractSource::Json(path.into())
}

/// A visit of the shop: what is on the first page, login, search, an order in a group of its own, and
/// good-bye.
fn visit(folder: &Path) -> FlowPlan {
    let mut home = request("GET", "/");
    let csrf = ExtractSource::Html {
        selector: "form input[name=csrf]".into(),
        attribute: Some("value".into()),
    };
    extract(&mut home, "csrf", csrf, Pick::First);
    extract(
        &mut home,
        "visit",
        ExtractSource::Cookie("visit".into()),
        Pick::First,
    );
    home.check.body_matches = Some("<title>.*</title>".into());

    let mut login = request("POST", "/login");
    login.body = Some(BodyPlan::Form(vec![
        ("user".into(), template("{clients.name}")),
        ("csrf".into(), template("{csrf}")),
    ]));
    login.redirects = 2;
    login.check.json = vec![("$.welcome".into(), json!(true))];
    extract(&mut login, "token", json_path("$.token"), Pick::First);

    let mut search = request("GET", "/search");
    search.address.query = vec![
        ("q".into(), template("{clients.name}")),
        (
            "page".into(),
            Template {
                parts: vec![Part::Random { low: 1, high: 9 }],
            },
        ),
    ];
    search.check.min_bytes = Some(20);
    search.check.max_bytes = Some(2000);
    extract(
        &mut search,
        "item",
        json_path("$.items[*].id"),
        Pick::Random,
    );

    let mut cart = request("POST", "/cart");
    cart.body = Some(BodyPlan::Json(Template {
        parts: vec![
            Part::Text("{\"item\": \"".into()),
            Part::Extracted("item".into()),
            Part::Text("\", \"of\": \"".into()),
            Part::Feed {
                feed: "clients".into(),
                column: "name".into(),
            },
            Part::Text("\"}".into()),
        ],
    }));
    let location = ExtractSource::Header("x-cart".into());
    extract(&mut cart, "cart", location, Pick::First);

    let mut poll = request("GET", "/cart/{cart}");
    extract(&mut poll, "state", json_path("$.state"), Pick::First);
    let wait = StepPlan::Repeat {
        times: TimesPlan { min: 5, max: 5 },
        until: Some(ConditionPlan::Value {
            value: template("{state}"),
            test: TestPlan::Is(literal("done")),
        }),
        steps: vec![poll.into()],
    };
    let gift = StepPlan::If {
        condition: ConditionPlan::Value {
            value: template("{clients.level}"),
            test: TestPlan::Above(5.0),
        },
        then: vec![request("GET", "/gift").into()],
        otherwise: vec![request("GET", "/ads").into()],
    };
    let mut upload = request("PUT", "/upload");
    upload.body = Some(BodyPlan::File(
        planned(folder, "order.txt", "two of each").expect("a file"),
    ));
    let mut photo = request("POST", "/photo");
    photo.body = Some(BodyPlan::Multipart(vec![
        PartPlan {
            name: "title".into(),
            filename: None,
            content_type: None,
            content: PartContent::Text(template("{clients.name}")),
        },
        PartPlan {
            name: "photo".into(),
            filename: Some("cat.txt".into()),
            content_type: Some("text/plain".into()),
            content: PartContent::File(planned(folder, "cat.txt", "=^.^=").expect("a file")),
        },
    ]));
    let rating = |weight, path: &str| BranchPlan {
        weight,
        steps: vec![request("GET", path).into()],
    };
    let mut bye = request("DELETE", "/session");
    bye.retry = Some(RetryPlan {
        times: 2,
        status: vec![(503, 503)],
        on_connection_failure: false,
        wait_ns: 2 * MS,
    });
    bye.check.status = vec![(204, 204)];

    let pause = ThinkPlan::Uniform {
        min_ns: PAUSE_MS * MS,
        max_ns: 2 * PAUSE_MS * MS,
    };
    let mut steps = vec![
        home.into(),
        login.into(),
        StepPlan::Think(pause),
        search.into(),
        StepPlan::Group {
            name: "order".into(),
            steps: vec![cart.into(), wait, gift, upload.into(), photo.into()],
        },
        StepPlan::Choose(vec![rating(3.0, "/rate/good"), rating(1.0, "/rate/bad")]),
        bye.into(),
    ];
    authorize(&mut steps[3..]);
    FlowPlan::new(steps)
}

/// Has all requests in there carry the token.
fn authorize(steps: &mut [StepPlan]) {
    for step in steps {
        match step {
            StepPlan::Request(plan) => {
                plan.address.auth = Some(AuthPlan::Bearer(template("{token}")));
                let visit = ("x-visit".to_owned(), template("v={visit}"));
                plan.address.headers.push(visit);
            }
            StepPlan::Group { steps, .. } | StepPlan::Repeat { steps, .. } => authorize(steps),
            StepPlan::If {
                then, otherwise, ..
            } => {
                authorize(then);
                authorize(otherwise);
            }
            StepPlan::Choose(branches) => {
                branches
                    .iter_mut()
                    .for_each(|branch| authorize(&mut branch.steps));
            }
            _ => {}
        }
    }
}

/// A shop that knows what each of its visitors has to do next.
#[derive(Default)]
struct Shop {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    visitors: BTreeMap<String, Visitor>,
    names: BTreeSet<String>,
    begun: u64,
    left: u64,
    boundaries: BTreeSet<String>,
    wrong: Vec<String>,
}

struct Visitor {
    number: u64,
    name: String,
    /// What may come next.
    next: &'static [&'static str],
    item: String,
    polls: u64,
    was_refused: bool,
    since: Instant,
}

impl Shop {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().expect("nobody panics");
        match state.serve(request) {
            Ok(reply) => reply,
            Err(what) => {
                let line = &request.line;
                state.wrong.push(format!("{line}: {what}\n{request:?}"));
                reply(500, "", "")
            }
        }
    }
}

fn reply(status: u16, headers: &str, body: &str) -> Reply {
    Reply::Answer {
        status,
        headers: headers.to_owned(),
        body: body.to_owned(),
    }
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let mut headers = request.headers.iter();
    let value = headers.find_map(|header| header.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_default()
}

fn is(what: &str, found: &str, expected: &str) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what} is `{found}`, not `{expected}`")),
    }
}

impl State {
    fn serve(&mut self, request: &Request) -> Result<Reply, String> {
        let mut words = request.line.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if (method, path) == ("GET", "/") {
            is("the cookie of a new visitor", header(request, "cookie"), "")?;
            return Ok(self.welcome());
        }
        let cookies: BTreeSet<&str> = header(request, "cookie").split("; ").collect();
        let key = cookies
            .iter()
            .find_map(|cookie| cookie.strip_prefix("visit="))
            .ok_or("no visit cookie")?
            .to_owned();
        let visitor = self.visitors.get_mut(&key).ok_or("nobody's visit")?;
        let number = visitor.number;
        let route = format!("{method} {}", path.split(['?']).next().unwrap_or(""));
        let cart = format!("GET /cart/k-{number}");
        let route = if route == cart {
            "GET /cart/{cart}"
        } else {
            &route
        };
        if !visitor.next.contains(&route) {
            return Err(format!("{route} instead of {:?}", visitor.next));
        }
        if !matches!(route, "POST /login" | "GET /account") {
            let bearer = format!("bearer t-{number}");
            is("authorization", header(request, "authorization"), &bearer)?;
            is("x-visit", header(request, "x-visit"), &format!("v={key}"))?;
            if !cookies.contains(format!("sid=s-{number}").as_str()) {
                return Err("the session's cookie is missing".to_owned());
            }
        }
        match route {
            "POST /login" => {
                let (user, csrf) = request
                    .body
                    .strip_prefix("user=")
                    .and_then(|rest| rest.split_once("&csrf="))
                    .ok_or("no form")?;
                let form = "application/x-www-form-urlencoded";
                is("content-type", header(request, "content-type"), form)?;
                is("csrf", csrf, &format!("c%26{number}"))?;
                let name = user.replace("%20", " ");
                name.strip_prefix("client ").ok_or("no client's name")?;
                if !self.names.insert(name.clone()) {
                    return Err(format!("{name} was here already"));
                }
                visitor.name = name;
                visitor.next = &["GET /account"];
                let headers =
                    format!("location: account\r\nset-cookie: sid=s-{number}; HttpOnly\r\n");
                Ok(reply(303, &headers, "this way"))
            }
            "GET /account" => {
                is("the body", &request.body, "")?;
                is("content-type", header(request, "content-type"), "")?;
                visitor.next = &["GET /search"];
                visitor.since = Instant::now();
                Ok(ok(&format!(
                    r#"{{"token": "t-{number}", "welcome": true}}"#
                )))
            }
            "GET /search" => {
                let waited = visitor.since.elapsed();
                if waited < Duration::from_millis(PAUSE_MS) {
                    return Err(format!("only {waited:?} after the login"));
                }
                let name = visitor.name.replace(' ', "%20");
                let page = path.strip_prefix(&format!("/search?q={name}&page="));
                let page: u8 = page.and_then(|page| page.parse().ok()).ok_or("no page")?;
                if !(1..=9).contains(&page) {
                    return Err(format!("page {page}"));
                }
                visitor.next = &["POST /cart"];
                Ok(ok(
                    r#"{"items": [{"id": "a\"1"}, {"id": "b\\2"}, {"id": "c 3"}]}"#,
                ))
            }
            "POST /cart" => {
                let order: serde_json::Value =
                    serde_json::from_str(&request.body).map_err(|error| error.to_string())?;
                let item = order["item"].as_str().unwrap_or_default();
                if !["a\"1", "b\\2", "c 3"].contains(&item) {
                    return Err(format!("there is no {item}"));
                }
                is(
                    "of",
                    order["of"].as_str().unwrap_or_default(),
                    &visitor.name,
                )?;
                visitor.item = item.to_owned();
                visitor.next = &["GET /cart/{cart}"];
                Ok(reply(201, &format!("x-cart: k-{number}\r\n"), ""))
            }
            "GET /cart/{cart}" => {
                visitor.polls += 1;
                let needed = number % 3 + 1;
                let state = if visitor.polls < needed {
                    "open"
                } else {
                    "done"
                };
                if state == "done" {
                    let level: u64 = level_of(&visitor.name);
                    visitor.next = if level > 5 {
                        &["GET /gift"]
                    } else {
                        &["GET /ads"]
                    };
                }
                Ok(ok(&format!(r#"{{"state": "{state}"}}"#)))
            }
            "GET /gift" | "GET /ads" => {
                visitor.next = &["PUT /upload"];
                Ok(ok(""))
            }
            "PUT /upload" => {
                is("the body", &request.body, "two of each")?;
                let bytes = "application/octet-stream";
                is("content-type", header(request, "content-type"), bytes)?;
                visitor.next = &["POST /photo"];
                Ok(ok(""))
            }
            "POST /photo" => {
                let boundary = header(request, "content-type")
                    .strip_prefix("multipart/form-data; boundary=")
                    .ok_or("no boundary")?;
                if !self.boundaries.insert(boundary.to_owned()) {
                    return Err("a boundary that was there before".to_owned());
                }
                let name = &visitor.name;
                let expected = format!(
                    "--{boundary}\r\ncontent-disposition: form-data; name=\"title\"\r\n\r\n{name}\r\n\
                     --{boundary}\r\ncontent-disposition: form-data; name=\"photo\"; \
                     filename=\"cat.txt\"\r\ncontent-type: text/plain\r\n\r\n=^.^=\r\n\
                     --{boundary}--\r\n"
                );
                is("the body", &request.body, &expected)?;
                visitor.next = &["GET /rate/good", "GET /rate/bad"];
                Ok(ok(""))
            }
            "GET /rate/good" | "GET /rate/bad" => {
                visitor.next = &["DELETE /session"];
                Ok(ok(""))
            }
            _ if !visitor.was_refused => {
                visitor.was_refused = true;
                Ok(reply(503, "", "not now"))
            }
            _ => {
                self.visitors.remove(&key);
                self.left += 1;
                Ok(Reply::Answer {
                    status: 204,
                    headers: String::new(),
                    body: String::new(),
                })
            }
        }
    }

    fn welcome(&mut self) -> Reply {
        let number = self.begun;
        self.begun += 1;
        let visitor = Visitor {
            number,
            name: String::new(),
            next: &["POST /login"],
            item: String::new(),
            polls: 0,
            was_refused: false,
            since: Instant::now(),
        };
        self.visitors.insert(format!("w{number}"), visitor);
        let page = format!(
            "<!doctype html><title>Shop</title><input name=csrf value=wrong>\
             <form><input name=csrf value=\"c&amp;{number}\"></form>"
        );
        reply(
            200,
            &format!("set-cookie: visit=w{number}; Path=/\r\n"),
            &page,
        )
    }
}

/// The level of `client N`.
fn level_of(name: &str) -> u64 {
    let number = name
        .strip_prefix("client ")
        .and_then(|number| number.parse::<u64>().ok());
    number.unwrap_or_default() % 10
}

fn job(folder: &Path, target: &str, shard: Shard) -> WorkerJob {
    let rows: String = (0..ROWS)
        .map(|row| format!("client {row},{}\n", level_of(&format!("client {row}"))))
        .collect();
    let clients = planned(folder, "clients.csv", &format!("name,level\n{rows}"));
    let clients = clients.expect("a file");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    WorkerJob {
        load: LoadPlan {
            name: "visits".into(),
            flow: "visit".into(),
            arrivals: Arrivals::Closed {
                // Nobody begins in the last seconds, so that all ends within the measure phase.
                stages: vec![Stage::constant(2 * S, 6.0), Stage::constant(S, 0.0)],
                share: None,
            },
            seed: 1,
            allowed_dropped: 0.001,
        },
        flow: visit(folder),
        feeds: [(
            "clients".to_owned(),
            FeedPlan {
                file: clients,
                format: FeedFormat::Csv,
                columns: vec!["name".into(), "level".into()],
                order: FeedOrder::Unique,
            },
        )]
        .into(),
        target: target.into(),
        http: HttpPlan::default(),
        setup: BTreeMap::new(),
        turns: BTreeMap::new(),
        first_iteration: 0,
        aborts: Vec::new(),
        phases: PhasePlan {
            warmup_ns: 0,
            measure_ns: 7 * S,
            cooldown_ns: 0,
            drain_ns: 20 * S,
        },
        secrets: Secrets::default(),
        start_at_ns: now.expect("a clock after 1970").as_nanos() as u64 + 2 * S,
        late_ns: 2 * S,
        shard,
        result: folder.join(format!("{}.json", shard.index)),
    }
}

fn in_order(series: &RequestSeries) -> u64 {
    series
        .response
        .get(&Outcome::Ok)
        .map_or(0, |histogram| histogram.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_a_journey_is_what_the_server_expects() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shop = Arc::new(Shop::default());
    let server = {
        let shop = Arc::clone(&shop);
        Server::answering(move |request| shop.answer(request))
    };
    // Two workers draw from one feed without a name that comes twice.
    let jobs = [0, 1].map(|index| job(folder.path(), &server.url(), Shard { index, of: 2 }));
    assert!(jobs[0].flow.all_steps().len() >= 12);
    let mut results = drive(worker(), &jobs, &LIMITS, &|_| ()).await;
    let result = results.pop().expect("one load");
    let state = shop.state.lock().expect("nobody panics");
    assert_eq!(state.wrong, Vec::<String>::new());
    assert_eq!(result.invalid, []);
    let load = result.measurement.expect("both left a file");
    let completed = load.counts.completed;
    assert!(load.counts.adds_up(), "{:?}", load.counts);
    assert!(completed >= 10, "{:?}", load.counts);
    assert_eq!((load.counts.failed, load.counts.cancelled), (0, 0));
    // What was measured is what the shop saw; nothing of it was before or after the measure phase.
    assert_eq!((state.begun, state.left), (completed, completed));
    assert!(state.visitors.is_empty());
    let names: Vec<_> = load
        .requests
        .iter()
        .map(|series| series.name.as_str())
        .collect();
    let expected = [
        "GET /",
        "POST /login",
        "GET /search",
        "POST /cart",
        "GET /cart/{cart}",
        "GET /gift",
        "GET /ads",
        "PUT /upload",
        "POST /photo",
        "GET /rate/good",
        "GET /rate/bad",
        "DELETE /session",
    ];
    assert_eq!(names, expected);
    let of = |name: &str| {
        let mut all = load.requests.iter();
        all.find(|series| series.name == name)
            .expect("it is one of them")
    };
    for name in [
        "GET /",
        "POST /login",
        "GET /search",
        "POST /cart",
        "DELETE /session",
    ] {
        assert_eq!(in_order(of(name)), completed, "{name}");
        assert!(of(name).errors.is_empty(), "{name}");
    }
    assert_eq!(of("POST /login").redirects, completed);
    assert_eq!(of("DELETE /session").retries, completed);
    // Those of the numbers 0, 1, 2, 3, …, need one, two, three, one, … looks.
    let looks: u64 = (0..completed).map(|number| number % 3 + 1).sum();
    assert_eq!(in_order(of("GET /cart/{cart}")), looks);
    let both = |a: &str, b: &str| in_order(of(a)) + in_order(of(b));
    assert_eq!(both("GET /gift", "GET /ads"), completed);
    assert_eq!(both("GET /rate/good", "GET /rate/bad"), completed);
    assert!(in_order(of("GET /rate/good")) > in_order(of("GET /rate/bad")));
    let [group] = load.groups.as_slice() else {
        panic!("{:?}", load.groups);
    };
    assert_eq!(group.name, "order");
    assert_eq!((group.duration.count(), group.failed), (completed, 0));
    let iteration_ns = load.iteration.quantile_ns(0.0).expect("some completed");
    assert!(iteration_ns >= PAUSE_MS * MS);
    assert!(group.duration.quantile_ns(0.0).expect("some completed") < iteration_ns);
}

/// A plan of one user who sends the token of the setup again and again.
fn plan_with_setup(url: &str, measure: &str) -> Plan {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = format!(
        "schema = 1\nname = \"s\"\nurl = \"{url}\"\n\
         [[flow.home.step]]\nget = \"/\"\ntimeout = \"5s\"\n\
         [load.home]\nclosed = {{ users = 1 }}\n\
         [phases]\nwarmup = \"0s\"\nmeasure = \"{measure}\"\ndrain = \"5s\"\n"
    );
    let scenario = parse(&text, &folder.path().join("s.toml"));
    let mut plan = scenario.expect("a good scenario").plans.remove(0);
    plan.generator = LIMITS;
    let mut login = request("POST", "/login");
    login.body = Some(BodyPlan::Text(literal("me")));
    extract(&mut login, "token", json_path("$.token"), Pick::First);
    let mut create = request("POST", "/things");
    create.address.auth = Some(AuthPlan::Bearer(template("{token}")));
    extract(
        &mut create,
        "thing",
        ExtractSource::Header("x-thing".into()),
        Pick::First,
    );
    plan.setup = Some(FlowPlan::new(vec![login.into(), create.into()]));
    let mut of_load = request("GET", "/things/{setup:thing}");
    of_load.address.auth = Some(AuthPlan::Bearer(template("{setup:token}")));
    of_load.think = Some(ThinkPlan::Constant(10 * MS));
    plan.flows
        .insert("home".into(), FlowPlan::new(vec![of_load.into()]));
    let mut delete = request("DELETE", "/things/{setup:thing}");
    delete.address.auth = Some(AuthPlan::Bearer(template("{setup:token}")));
    plan.teardown = Some(FlowPlan::new(vec![delete.into()]));
    plan
}

/// Answers the plan above; `refused` gets a 403.
fn things(refused: &'static str) -> Server {
    Server::answering(move |request| {
        let bearer = header(request, "authorization");
        let line = request.line.trim_end_matches(" HTTP/1.1");
        match line {
            line if line == refused => reply(403, "", "no"),
            "POST /login" if bearer.is_empty() && request.body == "me" => ok(r#"{"token": "t9"}"#),
            "POST /things" if bearer == "bearer t9" => reply(201, "x-thing: a b\r\n", ""),
            "GET /things/a%20b" if bearer == "bearer t9" => ok("thing"),
            "DELETE /things/a%20b" if bearer == "bearer t9" => ok(""),
            _ => reply(400, "", line),
        }
    })
}

async fn run(plan: &Plan, stop: watch::Receiver<bool>) -> (Executed, Vec<String>) {
    execute(worker(), plan, stop).await
}

/// As [`run`]; it is stopped a moment after it is time to, and has to end within a minute.
async fn stopped_when(plan: &Plan, is_time: impl Fn() -> bool) -> (Executed, Vec<String>) {
    let (stop, stopped) = watch::channel(false);
    let stopping = async {
        while !is_time() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = stop.send(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = run(plan, stopped) => ended,
        () = stopping => unreachable!("it waits for ever"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it goes on"),
    }
}

/// What the server was asked for, what came again left out.
fn lines(server: &Server) -> Vec<String> {
    let seen = server.seen().into_iter();
    let mut lines: Vec<_> = seen
        .map(|request| request.line.trim_end_matches(" HTTP/1.1").to_owned())
        .collect();
    lines.dedup();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_and_teardown_are_performed_once_around_the_loads() {
    let server = things("nothing");
    let (_stop, never) = watch::channel(false);
    let (executed, notes) = run(&plan_with_setup(&server.url(), "1s"), never).await;
    assert_eq!(executed.invalid, []);
    assert_eq!(notes, Vec::<String>::new());
    let expected = [
        "POST /login",
        "POST /things",
        "GET /things/a%20b",
        "DELETE /things/a%20b",
    ];
    assert_eq!(lines(&server), expected);
    let load = &executed.measurement.loads[0];
    assert!(load.counts.completed > 1, "{:?}", load.counts);
    assert_eq!(load.counts.failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_fails_drives_no_load() {
    let server = things("POST /things");
    let (_stop, never) = watch::channel(false);
    let (executed, notes) = run(&plan_with_setup(&server.url(), "1s"), never).await;
    let [InvalidReason::SetupFailed { step, message }] = executed.invalid.as_slice() else {
        panic!("{:?}", executed.invalid);
    };
    assert_eq!(
        (step.as_str(), message.as_str()),
        ("POST /things", "status 403, not 200-399")
    );
    assert!(!executed.partial);
    assert_eq!(lines(&server), ["POST /login", "POST /things"]);
    // The teardown was performed all the same, as far as it could be.
    let [note] = notes.as_slice() else {
        panic!("{notes:?}");
    };
    assert!(
        note.contains("teardown failed at `DELETE /things/"),
        "{note}"
    );
    assert!(note.contains("`{setup.thing}` has no value"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teardown_that_fails_is_said_and_changes_nothing() {
    let server = things("DELETE /things/a%20b");
    let (_stop, never) = watch::channel(false);
    let (executed, notes) = run(&plan_with_setup(&server.url(), "1s"), never).await;
    assert_eq!(executed.invalid, []);
    assert!(executed.measurement.loads[0].counts.completed > 1);
    let [note] = notes.as_slice() else {
        panic!("{notes:?}");
    };
    assert!(note.contains("status 403"), "{note}");
    assert_eq!(executed.warnings, std::slice::from_ref(note));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_stopped_is_torn_down_too() {
    let server = things("nothing");
    let plan = plan_with_setup(&server.url(), "10m");
    let is_under_way = || lines(&server).contains(&"GET /things/a%20b".to_owned());
    let (executed, notes) = stopped_when(&plan, is_under_way).await;
    assert!(executed.partial);
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(
        lines(&server).last().map(String::as_str),
        Some("DELETE /things/a%20b")
    );
}

/// A plan of one load that is written as people write it. Where nobody begins in its last second, all
/// ends within the measure phase.
fn written(url: &str, text: &str) -> Plan {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = format!(
        "schema = 1\nname = \"s\"\nurl = \"{url}\"\n{text}\n\
         [phases]\nwarmup = \"0s\"\nmeasure = \"2s\"\ndrain = \"5s\"\n"
    );
    let scenario = parse(&text, &folder.path().join("s.toml"));
    let mut plan = scenario.expect("a good scenario").plans.remove(0);
    plan.generator = LIMITS;
    plan
}

/// Of each request of a run in which nothing failed and all that began ended, its name and how often it
/// was in order; and how many iterations there were.
fn in_order_of_all(executed: &Executed) -> (Vec<(&str, u64)>, u64) {
    assert_eq!(executed.invalid, []);
    let load = &executed.measurement.loads[0];
    let errors: Vec<_> = load.requests.iter().map(|series| &series.errors).collect();
    assert_eq!(load.counts.failed + load.counts.cancelled, 0, "{errors:?}");
    assert!(load.counts.completed > 1, "{:?}", load.counts);
    let requests = load.requests.iter();
    let requests = requests.map(|series| (series.name.as_str(), in_order(series)));
    (requests.collect(), load.counts.completed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_is_opened_spoken_over_and_closed() {
    use tokio_tungstenite::tungstenite::Message;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    // What each connection said, and how it ended.
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                // Whoever only looks whether there is a server says nothing.
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                    return;
                };
                let mut said = Vec::new();
                while let Some(Ok(message)) = socket.next().await {
                    if let Message::Text(text) = &message {
                        said.push(text.to_string());
                        for answer in [r#"{"echo": false}"#.to_owned(), echo(text), echo(text)] {
                            let sent = socket.send(Message::text(answer)).await;
                            sent.expect("the client is there");
                        }
                    }
                    if matches!(message, Message::Close(_)) {
                        log.lock().expect("nobody panics").push(said.clone());
                    }
                }
            });
        }
    });
    fn echo(text: &str) -> String {
        format!(r#"{{"echo": true, "of": {text}}}"#)
    }
    let text = "[[flow.live.step]]\nwebsocket = \"/live\"\n\
                [[flow.live.step]]\nsend = '{\"n\": {$counter}}'\n\
                [[flow.live.step]]\nexpect = { json = { \"$.echo\" = true }, count = 2 }\n\
                extract.n = { json = \"$.of.n\" }\n\
                [[flow.live.step]]\nsend = '\"again {n}\"'\n\
                [[flow.live.step]]\nname = \"again\"\nexpect = { contains = \"again \" }\n\
                [[flow.live.step]]\nclose = true\n\
                [[flow.live.step]]\nthink = \"20ms\"\n\
                [load.live]\nclosed = { stages = [{ for = \"1s\", users = 2 }, { for = \"1s\", users = 0 }] }\n";
    let (_stop, never) = watch::channel(false);
    let (executed, _) = run(&written(&url, text), never).await;
    let (requests, iterations) = in_order_of_all(&executed);
    let names = ["websocket /live", "expect 1", "again"];
    assert_eq!(requests, names.map(|name| (name, iterations)));
    let load = &executed.measurement.loads[0];
    assert_eq!(load.connections.connect.count(), iterations);
    let mut heard = heard.lock().expect("nobody panics").clone();
    let mut expected: Vec<_> = (0..iterations)
        .map(|n| vec![format!(r#"{{"n": {n}}}"#), format!(r#""again {n}""#)])
        .collect();
    heard.sort();
    expected.sort();
    assert_eq!(heard, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_are_waited_for_and_bring_values() {
    let server = Server::answering(|request| match request.line.as_str() {
        "GET /stream HTTP/1.1" if header(request, "accept") == "text/event-stream" => {
            let head = "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\r\n";
            let events = "data: hello\n\nevent: tick\ndata: {\"n\": 1}\n\n";
            let later = "event: tick\ndata: {\"n\":\ndata: 2}\n\n";
            Reply::Acts(vec![
                Act::send([head, events].concat()),
                Act::Pause(Duration::from_millis(30)),
                Act::send(later),
                Act::Hold,
            ])
        }
        "GET /of/2 HTTP/1.1" => ok("two"),
        line => reply(400, "", line),
    });
    let text = "[[flow.live.step]]\nevents = \"/stream\"\n\
                [[flow.live.step]]\nexpect = { event = \"tick\", count = 2 }\n\
                extract.n = { json = \"$.n\" }\n\
                [[flow.live.step]]\nget = \"/of/{n}\"\n\
                [load.live]\nclosed = { stages = [{ for = \"1s\", users = 2 }, { for = \"1s\", users = 0 }] }\n";
    let (_stop, never) = watch::channel(false);
    let (executed, _) = run(&written(&server.url(), text), never).await;
    let (requests, iterations) = in_order_of_all(&executed);
    let names = ["events /stream", "expect 1", "GET /of/{n}"];
    assert_eq!(requests, names.map(|name| (name, iterations)));
    // Until the second of them came.
    let waited = &executed.measurement.loads[0].requests[1].response[&Outcome::Ok];
    assert!(waited.max_ns().expect("some came") >= 25 * MS);
}

/// Nobody but the proxy would know where the target is, and nobody else is asked for it. What it answers
/// is compressed.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_behind_a_proxy_is_reached_through_it() {
    let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut body, b"hello hello").expect("memory");
    let body = body.finish().expect("memory");
    let head = format!(
        "HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = [head.as_bytes(), &body].concat();
    let proxy = Server::answering(move |request| {
        // printf 'ada:p/1#%%41' | base64
        let may_pass = header(request, "proxy-authorization") == "basic ywrhonavmsmlnde=";
        let is_asked = request.line == "GET http://target.invalid/a HTTP/1.1";
        if !(may_pass && is_asked && header(request, "accept-encoding") == "gzip") {
            return reply(407, "", &request.line);
        }
        Reply::Acts(vec![Act::send(answer.clone())])
    });
    let text = format!(
        "[http]\nproxy = \"http://ada:{{$env.PASSWORD}}@{}\"\naccept_encoding = [\"gzip\"]\n\
         reuse = \"request\"\n\
         [[flow.a.step]]\nget = \"/a\"\nthink = \"20ms\"\n\
         check = {{ body_contains = \"hello hello\", size = {{ min = \"11B\", max = \"11B\" }} }}\n\
         [load.a]\nclosed = {{ users = 2 }}\n",
        proxy.address()
    );
    let plan = written("http://target.invalid", &text);
    let environment = [("PASSWORD".to_owned(), "p/1#%41".to_owned())].into();
    let mut engine = SubjectEngine::new(worker().into(), environment);
    let (_stop, never) = watch::channel(false);
    let executed = engine.run(&plan, never, &|_| ()).await;
    let executed = executed.expect("the proxy is there");
    let (requests, iterations) = in_order_of_all(&executed);
    assert_eq!(requests, [("GET /a", iterations)]);
    // Each over a connection of its own; the first only looked whether the proxy is there.
    assert_eq!(proxy.connections() as u64, iterations + 1);
    assert_eq!(executed.measurement.loads[0].connections.dns.count(), 0);

    let address = proxy.address();
    drop(proxy);
    let executed = SubjectEngine::new(
        worker().into(),
        BTreeMap::from([("PASSWORD".into(), "x".into())]),
    )
    .run(&plan, watch::channel(false).1, &|_| ())
    .await;
    let error = executed.expect_err("nobody is there").to_string();
    assert!(
        error.contains("http://target.invalid: the proxy: "),
        "{error}"
    );
    assert!(!error.contains(&address.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stopped_before_it_began_is_not_torn_down() {
    let server = things("nothing");
    let (_stop, stopped) = watch::channel(true);
    let (executed, notes) = run(&plan_with_setup(&server.url(), "1s"), stopped).await;
    assert!(executed.partial);
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(lines(&server), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_setup_made_before_it_was_stopped_is_removed() {
    let server = things("nothing");
    let mut plan = plan_with_setup(&server.url(), "1s");
    let setup = plan.setup.as_mut().expect("it has one");
    setup
        .steps
        .push(StepPlan::Think(ThinkPlan::Constant(600 * S)));
    setup.steps.push(request("GET", "/never").into());
    let is_made = || lines(&server).contains(&"POST /things".to_owned());
    let (executed, notes) = stopped_when(&plan, is_made).await;
    assert!(executed.partial);
    assert_eq!(executed.invalid, []);
    assert_eq!(notes, Vec::<String>::new());
    let expected = ["POST /login", "POST /things", "DELETE /things/a%20b"];
    assert_eq!(lines(&server), expected);
}

/// A run of ten minutes in iterations of ten minutes: neither is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_stopped_ends_in_the_middle_of_its_iterations() {
    let server = Server::answering(|_| ok("x"));
    let text = "[[flow.a.step]]\nrepeat = 10000\nstep = [{ get = \"/\" }, { think = \"60ms\" }]\n\
                [load.a]\nclosed = { users = 3 }\n";
    let mut plan = written(&server.url(), text);
    plan.phases.measure_ns = 600 * S;
    plan.phases.drain_ns = 600 * S;
    let (executed, _) = stopped_when(&plan, || server.seen().len() >= 6).await;
    assert!(executed.partial);
    let load = &executed.measurement.loads[0];
    assert_eq!((load.counts.started, load.counts.cancelled), (3, 3));
    assert!(in_order(&load.requests[0]) >= 6);
    assert!(
        load.requests[0].errors.is_empty(),
        "{:?}",
        load.requests[0].errors
    );
}
