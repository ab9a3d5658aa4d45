use super::*;
use crate::harness::scaffold::sketch::{Auth, Body, Step};
use crate::harness::scaffold::text::Template;

const PETSTORE: &str = include_str!("../../../../../tests/data/init/petstore.yaml");
const SWAGGER: &str = include_str!("../../../../../tests/data/init/swagger.json");

fn steps(imported: &Imported) -> Vec<(String, Vec<String>)> {
    let line = |step: &Step| {
        let method = step.method.key().to_ascii_uppercase();
        (
            format!("{method} {}", step.path.as_str()),
            step.status.clone(),
        )
    };
    imported
        .flows
        .iter()
        .flat_map(|flow| &flow.steps)
        .map(line)
        .collect()
}

fn lines(imported: &Imported) -> Vec<String> {
    steps(imported).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn what_reads_is_taken_with_the_values_of_the_document() {
    let imported = read_openapi(PETSTORE, "shop", false).expect("a document");
    let status = |text: &str| vec![text.to_owned()];
    assert_eq!(
        steps(&imported),
        [
            (
                "GET /v1/orders/{values.orders_id}/items/7".to_owned(),
                status("200")
            ),
            (
                "GET /v1/pets?limit=20&tags=cat&tags=dog".to_owned(),
                status("200")
            ),
            ("GET /v1/pets/{values.petId}".to_owned(), status("200")),
            ("HEAD /v1/pets/{values.petId}".to_owned(), status("\"2xx\"")),
            (
                "GET /v1/search?api_key={$env.SHOP_API_KEY}&q=black%20%26%20white".to_owned(),
                status("200")
            ),
        ]
    );
    let columns: Vec<_> = imported
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.placeholder.as_str()))
        .collect();
    assert_eq!(
        columns,
        [
            ("orders_id", "00000000-0000-4000-8000-000000000000"),
            ("petId", "1")
        ]
    );
    assert_eq!(imported.server.as_deref(), Some("https://petstore.example"));
    let flow = &imported.flows[0];
    assert_eq!(flow.steps[0].auth, None);
    assert_eq!(flow.steps[1].auth, Some(Auth::Bearer("SHOP_TOKEN".into())));
    let source = (
        "x-request-source".to_owned(),
        Template::literal("load test"),
    );
    assert_eq!(flow.steps[2].headers, [source]);
    assert_eq!(flow.steps[2].name.as_deref(), Some("GET /v1/pets/{petId}"));
    let notes = imported.notes.join("\n");
    assert!(
        notes.contains("left out: operations that write (3; --writes"),
        "{notes}"
    );
    assert!(notes.contains("leads out of the document"), "{notes}");
    assert!(notes.contains("leads in a circle"), "{notes}");
}

#[test]
fn what_writes_is_taken_where_it_is_asked_for() {
    let imported = read_openapi(PETSTORE, "shop", true).expect("a document");
    let all = lines(&imported);
    for line in [
        "POST /v1/pets",
        "DELETE /v1/pets/{values.petId}",
        "PUT /v1/login",
    ] {
        assert!(all.iter().any(|found| found == line), "{all:?}");
    }
    let of = |line: &str| {
        let index = all
            .iter()
            .position(|found| found == line)
            .expect("it is there");
        imported.flows[0].steps[index].body.clone()
    };
    // A tree of categories ends somewhere, and braces of others open nothing.
    let pet = r#"{"category":{"children":[],"name":"{{dogs}"},"name":"Rex","photoUrls":["https://example.org/"]}"#;
    let Some(Body::Json(found)) = of("POST /v1/pets") else {
        panic!("no JSON");
    };
    assert_eq!(found.as_str(), pet);
    // A password is nobody's.
    let Some(Body::Form(login)) = of("PUT /v1/login") else {
        panic!("no form");
    };
    assert_eq!(
        login,
        [
            ("password".to_owned(), Template::secret("SHOP_PASSWORD")),
            ("user".to_owned(), Template::literal("ada")),
        ]
    );
}

#[test]
fn swagger_2_is_read_too() {
    let imported = read_openapi(SWAGGER, "shop", true).expect("a document");
    assert_eq!(
        lines(&imported),
        [
            "POST /v2/pet",
            "GET /v2/pet/findByStatus?status=available",
            "GET /v2/store/inventory"
        ]
    );
    let steps = &imported.flows[0].steps;
    let body = Body::Json(Template::literal("{\"name\":\"doggie\"}"));
    assert_eq!(steps[0].body, Some(body));
    let key = Auth::Header {
        name: "api_key".into(),
        value: Template::secret("SHOP_API_KEY"),
    };
    assert_eq!(steps[2].auth, Some(key));
    assert_eq!(imported.server.as_deref(), Some("http://petstore.example"));
}

/// The steps of an OpenAPI 3 document with these paths, in YAML.
fn of_paths(paths: &str) -> Imported {
    let text = format!(
        "openapi: 3.1.0\nservers: [{{url: 'https://api.example/v1'}}]\npaths:\n{paths}\ncomponents:\n  securitySchemes:\n    key: {{type: apiKey, in: query, name: appid}}\n"
    );
    read_openapi(&text, "shop", true).expect("a document")
}

#[test]
fn a_list_is_written_as_its_parameter_says() {
    let check = |parameter: &str, expected: &str| {
        let imported = of_paths(&format!(
            "  /a/{{p}}:\n    get:\n      parameters:\n        - {{name: p, required: true, {parameter}}}\n"
        ));
        assert_eq!(lines(&imported)[0], expected, "{parameter}");
    };
    let query = |more: &str| format!("in: query, example: [a b, c]{more}");
    let column = "{values.p}";
    check(&query(""), &format!("GET /v1/a/{column}?p=a%20b&p=c"));
    check(
        &query(", explode: false"),
        &format!("GET /v1/a/{column}?p=a%20b,c"),
    );
    check(
        &query(", style: pipeDelimited"),
        &format!("GET /v1/a/{column}?p=a%20b,c"),
    );
    check(
        "in: query, schema: {type: array, items: {type: string}}",
        &format!("GET /v1/a/{column}?p={column}"),
    );
    check("in: path, example: [a, c/d?]", "GET /v1/a/a,c%2Fd%3F");
    let swagger = r#"{"swagger": "2.0", "paths": {"/a": {"get": {"parameters": [
        {"name": "p", "in": "query", "required": true, "type": "array", "x-example": [1, 2]},
        {"name": "q", "in": "query", "required": true, "type": "array", "x-example": [1, 2], "collectionFormat": "multi"}
    ]}}}}"#;
    let imported = read_openapi(swagger, "shop", false).expect("a document");
    assert_eq!(lines(&imported), ["GET /a?p=1,2&q=1&q=2"]);
}

/// Which one it is, is no credential; what the document gives as one is not kept all the same.
#[test]
fn what_a_path_asks_for_is_drawn_from_the_feed() {
    let imported = of_paths(
        "  /sessions/{session}/{key}:\n    get:\n      parameters: [{name: session, in: path, required: true, example: hunter2}, \
         {name: key, in: path, required: true}]\n",
    );
    assert_eq!(
        lines(&imported),
        ["GET /v1/sessions/{values.session}/{values.sessions_key}"]
    );
    assert_eq!(imported.columns[0].placeholder, "1");
    assert!(imported.secrets.is_empty());
}

#[test]
fn a_request_goes_to_the_server_of_the_document_or_nowhere() {
    let imported = of_paths(
        "  /a:\n    servers: [{url: 'https://api.example/v2'}]\n    get: {}\n    put: {servers: [{url: /v3}]}\n    \
         delete: {servers: [{url: 'https://other.example/v1'}]}\n",
    );
    assert_eq!(lines(&imported), ["GET /v2/a", "PUT /v3/a"]);
    assert_eq!(
        imported.notes,
        ["left out: DELETE /a: it has a server of its own"]
    );
}

#[test]
fn a_key_stands_once_and_a_media_type_is_kept() {
    let imported = of_paths(
        "  /a:\n    post:\n      security: [{key: []}]\n      parameters: [{name: appid, in: query, required: true}, \
         {name: sid, in: cookie, required: true}]\n      requestBody: {content: {application/vnd.api+json: {example: {}}}}\n",
    );
    assert_eq!(lines(&imported), ["POST /v1/a?appid={$env.SHOP_APPID}"]);
    assert_eq!(
        imported.flows[0].steps[0].headers,
        [(
            "content-type".to_owned(),
            Template::literal("application/vnd.api+json")
        )]
    );
    assert!(
        imported.notes[0].starts_with("left out: cookies that operations ask for"),
        "{:?}",
        imported.notes
    );
}

#[test]
fn what_is_no_document_is_refused() {
    let check = |text: &str, expected: &str| {
        let error = read_openapi(text, "shop", false).expect_err("it is refused");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.remedy().is_empty());
    };
    check("{}", "neither `openapi` nor `swagger`");
    check("- a\n- b\n", "neither `openapi` nor `swagger`");
    check("openapi: 4.0.0\npaths: {}", "version 4.0.0 is not known");
    check("swagger: '1.2'\npaths: {}", "version 1.2");
    check("openapi: 3.1.0\n", "no `paths`");
    check("openapi: 3.1.0\npaths: []", "no `paths`");
    check("openapi: 3.1.0\npaths: {}", "nothing in it can be driven");
    check(
        "openapi: 3.0.0\npaths:\n  /a:\n    post: {}\n",
        "operations that write (1;",
    );
    check(
        "openapi: 3.0.0\npaths:\n  /a:\n    $ref: http://evil.example/\n",
        "out of the document",
    );
    check("a: [", "can't be read");
    check(&" ".repeat(MAX_OPENAPI_BYTES + 1), "more than 16 MiB");
}

#[test]
fn a_large_document_becomes_a_flow_that_can_be_read() {
    let mut text = "openapi: 3.0.0\npaths:\n".to_owned();
    for number in 0..500 {
        text.push_str(&format!(
            "  /a/{number}:\n    get: {{responses: {{200: {{}}}}}}\n"
        ));
    }
    let imported = read_openapi(&text, "shop", false).expect("a document");
    assert_eq!(imported.requests(), MAX_OPERATIONS);
    assert_eq!(
        imported.notes,
        ["left out: operations beyond the first 50 (450)"]
    );
}
