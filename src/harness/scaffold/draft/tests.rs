use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::harness::scaffold::{Tree, detect};
use crate::harness::scenario;

const PETSTORE: &str = include_str!("../../../../tests/data/init/petstore.yaml");
const SWAGGER: &str = include_str!("../../../../tests/data/init/swagger.json");
const SESSION: &str = include_str!("../../../../tests/data/init/session.har");

fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().copied().collect()
}

fn place() -> Place {
    Place {
        folder: "Shop".to_owned(),
        below: String::new(),
        is_root: true,
        is_in_git: true,
        is_on_gitlab: false,
    }
}

fn openapi(text: &str) -> Document {
    Document {
        path: "openapi.yaml".to_owned(),
        text: text.to_owned(),
        is_har: false,
        is_named: true,
    }
}

fn har(text: &str) -> Document {
    Document {
        is_har: true,
        path: "session.har".to_owned(),
        ..openapi(text)
    }
}

fn text<'a>(draft: &'a Draft, path: &str) -> &'a str {
    let file = draft.files.iter().find(|file| file.path == path);
    file.map(|file| file.text.as_str())
        .unwrap_or_else(|| panic!("no {path} in {draft:?}"))
}

/// The plan of a draft, which has to be without problems.
fn plan(draft: &Draft) -> scenario::Plan {
    let folder = tempfile::tempdir().expect("a folder");
    for file in &draft.files[..draft.together] {
        let path = folder.path().join(&file.path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, &file.text).expect("a file");
    }
    let checked = scenario::check(&folder.path().join(&draft.scenario));
    let mut plans = checked.unwrap_or_else(|rejection| {
        panic!("{:#?}\n{}", rejection.problems, draft.files[0].text);
    });
    plans.remove(0)
}

#[test]
fn a_service_that_was_found_is_started() {
    let facts = detect(&tree(&[
        (
            "package.json",
            r#"{"name": "@acme/shop", "scripts": {"start": "node server.js"}}"#,
        ),
        (
            "server.js",
            "app.get('/health', h); app.get('/products', p); app.listen(process.env.PORT)",
        ),
    ]));
    let draft = draft(&facts, &Wishes::default(), &place(), None).expect("a draft");
    insta::assert_snapshot!("node", text(&draft, "scenarios/shop.toml"));
    insta::assert_snapshot!("workflow", text(&draft, ".github/workflows/plimsoll.yml"));
    let plan = plan(&draft);
    assert_eq!(plan.name, "shop");
    assert_eq!(plan.processes.len(), 1);
    assert!(
        draft
            .next
            .iter()
            .any(|(_, line)| line == "plimsoll run scenarios/shop.toml")
    );
}

#[test]
fn documents_become_scenarios_that_are_in_order() {
    let facts = Facts::default();
    for writes in [false, true] {
        let wishes = Wishes {
            writes,
            assets: writes,
            ..Wishes::default()
        };
        for document in [openapi(PETSTORE), openapi(SWAGGER), har(SESSION)] {
            let draft = draft(&facts, &wishes, &place(), Some(&document)).expect("a draft");
            plan(&draft);
            let all = format!("{draft:?}");
            for secret in ["hunter2", "of-somebody", "very-secret"] {
                assert!(!all.contains(secret), "{secret} in {all}");
            }
        }
    }
    let petstore = draft(
        &facts,
        &Wishes::default(),
        &place(),
        Some(&openapi(PETSTORE)),
    );
    let petstore = petstore.expect("a draft");
    insta::assert_snapshot!("petstore", text(&petstore, "scenarios/shop.toml"));
    assert_eq!(
        text(&petstore, "scenarios/shop-values.csv"),
        "orders_id,petId\n00000000-0000-4000-8000-000000000000,1\n"
    );
    let session = draft(&facts, &Wishes::default(), &place(), Some(&har(SESSION)));
    insta::assert_snapshot!(
        "session",
        text(&session.expect("a draft"), "scenarios/shop.toml")
    );
}

#[test]
fn where_the_load_goes_follows_from_what_is_known() {
    let node = tree(&[
        ("package.json", "{\"scripts\": {\"start\": \"node a.js\"}}"),
        ("a.js", ""),
    ]);
    let check = |tree: &Tree,
                 wishes: &Wishes,
                 document: Option<&Document>,
                 expected: Result<&str, &str>| {
        let found = draft(&detect(tree), wishes, &place(), document);
        match (found, expected) {
            (Ok(draft), Ok(line)) => {
                let text = text(&draft, &draft.scenario);
                assert!(
                    text.lines().any(|found| found == line),
                    "{line} is not in\n{text}"
                );
                plan(&draft);
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    };
    let with = |set: fn(&mut Wishes)| {
        let mut wishes = Wishes::default();
        set(&mut wishes);
        wishes
    };
    let nothing = Tree::default();
    let none = Wishes::default();
    check(&node, &none, None, Ok("env = { PORT = \"{port}\" }"));
    check(
        &node,
        &none,
        Some(&openapi(PETSTORE)),
        Ok("start = \"node a.js\""),
    );
    check(
        &node,
        &with(|it| it.port = Some("HTTP_PORT".into())),
        None,
        Ok("env = { HTTP_PORT = \"{port}\" }"),
    );
    check(
        &node,
        &with(|it| it.url = Some("http://127.0.0.1:9/".into())),
        None,
        Ok("url = \"http://127.0.0.1:9\""),
    );
    check(
        &node,
        &with(|it| it.port = Some("3000".into())),
        None,
        Err("nothing tells `node a.js` its port"),
    );
    check(
        &node,
        &with(|it| it.port = Some("a b".into())),
        None,
        Err("--port a b"),
    );
    check(
        &nothing,
        &none,
        None,
        Err("nothing here says how the service starts"),
    );
    check(
        &nothing,
        &none,
        Some(&openapi(PETSTORE)),
        Ok("url = \"https://petstore.example\""),
    );
    check(
        &nothing,
        &with(|it| it.url = Some("http://127.0.0.1:8080/v1".into())),
        Some(&openapi(PETSTORE)),
        Ok("url = \"http://127.0.0.1:8080\""),
    );
    let start = with(|it| {
        it.start = Some("./shop --listen :8080 --workers 18080".into());
        it.port = Some("8080".into());
    });
    check(
        &nothing,
        &start,
        None,
        Ok("start = \"./shop --listen :{port} --workers 18080\""),
    );
    let fixed = tree(&[
        ("package.json", "{\"scripts\": {\"start\": \"node a.js\"}}"),
        ("a.js", "s.listen(3000)"),
    ]);
    check(&fixed, &none, None, Ok("url = \"http://127.0.0.1:3000\""));
    for (url, reason) in [
        ("shop", "no URL"),
        ("ftp://shop/", "only http"),
        ("http://ada:secret@shop/", "a user or a password"),
        ("http://shop/?q", "a query"),
    ] {
        let wishes = Wishes {
            url: Some(url.to_owned()),
            ..Wishes::default()
        };
        check(&nothing, &wishes, None, Err(reason));
    }
    let benches = tree(&[(
        "Cargo.toml",
        "[package]\nname = \"lib\"\n[dev-dependencies]\ncriterion = \"0.8\"\n[[bench]]\nname = \"parse\"\n",
    )]);
    check(&benches, &none, None, Ok("targets = [\"parse\"]"));
}

#[test]
fn any_rate_can_be_measured() {
    let facts = Facts::default();
    let check = |rate: &str, expected: Result<&str, &str>| {
        let wishes = Wishes {
            url: Some("http://127.0.0.1:9".into()),
            rate: Some(rate.into()),
            ..Wishes::default()
        };
        match (draft(&facts, &wishes, &place(), None), expected) {
            (Ok(draft), Ok(quantile)) => {
                plan(&draft);
                assert!(text(&draft, &draft.scenario).contains(quantile), "{rate}");
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{rate}: {found:?}, not {expected:?}"),
        }
    };
    check("1000/s", Ok("load.home.p95"));
    check("10/s", Ok("load.home.p90"));
    check("90/min", Ok("load.home.p50"));
    check("1/h", Ok("load.home.p50"));
    check("0/s", Err("between"));
    check("1000000/s", Err("between"));
    check("10", Err("--rate 10"));
}

#[test]
fn what_a_first_scenario_is_written_beside() {
    let facts = Facts::default();
    let wishes = Wishes {
        start: Some("./shop --port {port}".into()),
        ..Wishes::default()
    };
    let below = Place {
        below: "services/shop".to_owned(),
        is_root: false,
        ..place()
    };
    let found = draft(&facts, &wishes, &below, None).expect("a draft");
    let paths: Vec<_> = found
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.is_at_top))
        .collect();
    assert_eq!(
        paths,
        [
            ("scenarios/shop.toml", false),
            ("plimsoll.toml", false),
            ("baselines/README.md", false),
            (".github/workflows/plimsoll.yml", true),
        ]
    );
    let workflow = text(&found, ".github/workflows/plimsoll.yml");
    assert!(
        workflow.contains("scenarios: services/shop/scenarios/shop.toml\n"),
        "{workflow}"
    );
    // A folder's name that would be more than a name in a workflow.
    for hostile in ["a b", "${{ github.token }}", "a\n  run: rm", "\"x"] {
        let below = Place {
            below: hostile.to_owned(),
            ..place()
        };
        let found = draft(&facts, &wishes, &below, None).expect("a draft");
        assert!(found.files.iter().all(|file| !file.is_at_top), "{hostile}");
        assert!(
            found.notes.iter().any(|note| note.contains("no workflow")),
            "{hostile}"
        );
    }
    let on_gitlab = Place {
        is_on_gitlab: true,
        ..place()
    };
    let found = draft(&facts, &wishes, &on_gitlab, None).expect("a draft");
    assert!(found.gitlab.is_some() && found.files.iter().all(|file| !file.is_at_top));
}

#[test]
fn what_comes_next_can_be_typed() {
    let next = |facts: &Facts, wishes: &Wishes, place: &Place, document: Option<&Document>| {
        let draft = draft(facts, wishes, place, document).expect("a draft");
        let lines: Vec<String> = draft.next.into_iter().map(|(_, line)| line).collect();
        lines
    };
    let start = |action: Option<&str>| Wishes {
        start: Some("./shop --port {port}".into()),
        action: action.map(str::to_owned),
        ..Wishes::default()
    };
    let outside = Place {
        is_in_git: false,
        ..place()
    };
    let facts = Facts::default();
    assert_eq!(
        next(&facts, &start(None), &outside, None),
        [
            "plimsoll run scenarios/shop.toml",
            "printf '\\n/.plimsoll/\\n/reports/\\n' >> .gitignore",
            "git init",
            "plimsoll gate --against HEAD scenarios/shop.toml",
            "plimsoll calibrate scenarios/shop.toml",
            ".github/workflows/plimsoll.yml",
        ]
    );
    let ignores = Facts {
        ignores: true,
        ..Facts::default()
    };
    let action = "acme/plimsoll@0123456789abcdef0123456789abcdef01234567";
    assert_eq!(
        next(&ignores, &start(Some(action)), &place(), None),
        [
            "plimsoll run scenarios/shop.toml",
            "plimsoll gate --against HEAD scenarios/shop.toml",
            "plimsoll calibrate scenarios/shop.toml",
        ]
    );
    // The server of a document is typed behind a command.
    let hostile = openapi(
        r#"{"openapi": "3.0.0", "servers": [{"url": "http://$(id);x.example/"}], "paths": {"/a": {"get": {}}}}"#,
    );
    let lines = next(&facts, &Wishes::default(), &place(), Some(&hostile));
    assert_eq!(lines[0], "curl -i 'http://$(id);x.example'");
}

/// Texts that mean something to whoever reads a scenario, and others.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        2 => "[a-zA-Z0-9_/-]{0,12}",
        1 => prop::sample::select(vec![
            "", "\"", "'''", "\"\"\"", "\n[gate]\n", "{$env.HOME}", "{port}", "{{", "}", "{", "#", "# x", "\u{1b}[31m", "\u{202e}", "\0",
            "\r\n", "a.service", "..", "/", "//", "?", "?a=b", "%", "%2", "%zz", "\\", "https://evil.example", "2xx", "é", "🚀", "__proto__",
            "content-length", "transfer-encoding", "host", "Authorization", "Cookie", "application/json", "text/plain", "Bearer x",
        ]).prop_map(str::to_owned),
        1 => "\\PC{300,400}",
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        hostile().prop_map(|text| json!({"type": text})),
        hostile().prop_map(|text| json!({"example": text})),
        hostile().prop_map(|text| json!({"$ref": text})),
        hostile().prop_map(|text| json!({"$ref": format!("#/{text}")})),
        any::<f64>().prop_map(|number| json!({"type": "integer", "minimum": number})),
        any::<i64>().prop_map(|number| json!({"enum": [number]})),
        Just(json!({"$ref": "#/paths"})),
        Just(json!(true)),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (hostile(), inner.clone()).prop_map(|(name, schema)| {
                json!({"type": "object", "required": [name.clone()], "properties": {name: schema}})
            }),
            inner
                .clone()
                .prop_map(|schema| json!({"type": "array", "items": schema})),
            prop::collection::vec(inner, 0..3).prop_map(|all| json!({"allOf": all})),
        ]
    })
}

fn parameter() -> impl Strategy<Value = Value> {
    let place = prop::sample::select(vec![
        "path", "query", "header", "cookie", "body", "formData", "x",
    ]);
    (hostile(), place, any::<bool>(), schema()).prop_map(|(name, place, required, schema)| {
        json!({"name": name, "in": place, "required": required, "schema": schema})
    })
}

fn operation() -> impl Strategy<Value = Value> {
    let media = prop_oneof![
        Just("application/json".to_owned()),
        Just("application/x-www-form-urlencoded".to_owned()),
        hostile(),
    ];
    (
        prop::collection::vec(parameter(), 0..4),
        media,
        schema(),
        hostile(),
        any::<bool>(),
    )
        .prop_map(|(parameters, media, schema, status, secure)| {
            json!({
                "parameters": parameters,
                "requestBody": {"content": {media: {"schema": schema}}},
                "responses": {status: {}, "200": {}, "204": {}},
                "security": if secure { json!([{"s": []}]) } else { Value::Null },
            })
        })
}

fn api() -> impl Strategy<Value = Value> {
    let method = prop::sample::select(vec![
        "get", "head", "post", "put", "patch", "delete", "options", "trace",
    ]);
    let item = prop::collection::btree_map(method, operation(), 0..4);
    let paths =
        prop::collection::btree_map(hostile().prop_map(|text| format!("/{text}")), item, 0..5);
    let scheme = (
        prop::sample::select(vec!["http", "apiKey", "oauth2", "basic", "x"]),
        hostile(),
        hostile(),
        hostile(),
    );
    let version = prop::sample::select(vec![
        ("openapi", "3.0.3"),
        ("openapi", "3.1.0"),
        ("swagger", "2.0"),
    ]);
    (version, paths, hostile(), scheme).prop_map(
        |((key, version), paths, server, (kind, scheme, name, place))| {
            let scheme = json!({"s": {"type": kind, "scheme": scheme, "name": name, "in": place}});
            json!({
                key: version,
                "paths": paths,
                "servers": [{"url": server}],
                "host": server,
                "basePath": server,
                "components": {"securitySchemes": scheme},
                "securityDefinitions": scheme,
            })
        },
    )
}

fn recording() -> impl Strategy<Value = Value> {
    let pair =
        || (hostile(), hostile()).prop_map(|(name, value)| json!({"name": name, "value": value}));
    let pairs = || prop::collection::vec(pair(), 0..4);
    let media = prop_oneof![
        prop::sample::select(vec![
            "application/json",
            "application/x-www-form-urlencoded",
            "text/plain",
            "multipart/form-data"
        ])
        .prop_map(str::to_owned),
        hostile(),
    ];
    let body_text = prop_oneof![hostile(), schema().prop_map(|value| value.to_string())];
    let data = (media, body_text, pairs());
    let url = prop_oneof![
        4 => hostile().prop_map(|path| format!("http://shop.example/{path}")),
        1 => hostile(),
    ];
    let method = prop::sample::select(vec![
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "x",
    ]);
    let entry = (
        method,
        url,
        pairs(),
        data,
        0.0..700.0_f64,
        hostile(),
        hostile(),
    )
        .prop_map(
            |(method, url, headers, (media, text, params), status, page, time)| {
                json!({
                    "pageref": page,
                    "startedDateTime": time,
                    "time": status,
                    "request": {
                        "method": method, "url": url, "headers": headers,
                        "postData": {"mimeType": media, "text": text, "params": params},
                    },
                    "response": {"status": status, "content": {"mimeType": media}},
                })
            },
        );
    (prop::collection::vec(entry, 0..8), hostile()).prop_map(|(entries, title)| {
        json!({"log": {"pages": [{"id": "", "title": title}], "entries": entries}})
    })
}

fn in_order_whatever_it_says(document: &Document) {
    let facts = Facts {
        name: Some(document.text.chars().take(20).collect()),
        ..Facts::default()
    };
    for writes in [false, true] {
        let wishes = Wishes {
            url: Some("http://127.0.0.1:9".to_owned()),
            writes,
            assets: writes,
            ..Wishes::default()
        };
        match draft(&facts, &wishes, &place(), Some(document)) {
            Ok(draft) => {
                plan(&draft);
                let line = |text: &str| {
                    !text
                        .chars()
                        .any(|char| crate::harness::model::steers(char) && char != '\n')
                };
                assert!(draft.files.iter().all(|file| line(&file.text)), "{draft:?}");
                assert!(
                    draft
                        .notes
                        .iter()
                        .all(|note| line(note) && !note.contains('\n')),
                    "{draft:?}"
                );
            }
            Err(error) => {
                let told = format!("{error}\n{}", error.remedy());
                assert!(told.len() < 4000 && !told.contains('\u{1b}'), "{told}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Whatever an OpenAPI document says, what is written is a scenario without problems.
    #[test]
    fn any_api_becomes_a_scenario_in_order(api in api()) {
        in_order_whatever_it_says(&openapi(&api.to_string()));
    }

    /// Whatever a recording holds, too.
    #[test]
    fn any_recording_becomes_a_scenario_in_order(recording in recording()) {
        in_order_whatever_it_says(&har(&recording.to_string()));
    }

    /// What is no document at all ends in words.
    #[test]
    fn any_text_is_refused_or_read(text in "\\PC{0,200}") {
        in_order_whatever_it_says(&openapi(&text));
        in_order_whatever_it_says(&har(&text));
    }
}
