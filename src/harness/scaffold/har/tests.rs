use super::*;

const SESSION: &str = include_str!("../../../../tests/data/init/session.har");

fn steps(imported: &Imported) -> Vec<(String, Vec<String>)> {
    let line = |step: &Step| {
        let status = step.status.join(",");
        let path = step.path.as_str();
        format!("{} {path} {status} {}ms", step.method.key(), step.think_ms)
    };
    imported
        .flows
        .iter()
        .map(|flow| (flow.name.clone(), flow.steps.iter().map(line).collect()))
        .collect()
}

#[test]
fn pages_become_flows_with_the_pauses_of_the_person() {
    let imported = read_har(SESSION, "shop", false, false).expect("a recording");
    let expected = [
        (
            "home",
            vec![
                "get / 200 2800ms",
                "get /api/products?q=red%20shoes&page=2&access_token={$env.SHOP_ACCESS_TOKEN}&tag=a&tag=b 200 400ms",
                "get /api/products/7 200 0ms",
            ],
        ),
        ("cart", vec!["get /cart 200 0ms"]),
        ("reset-secret", vec!["get /reset/{$env.SHOP_RESET} 200 0ms"]),
    ];
    let expected: Vec<(String, Vec<String>)> = expected
        .into_iter()
        .map(|(name, steps)| {
            (
                name.to_owned(),
                steps.into_iter().map(str::to_owned).collect(),
            )
        })
        .collect();
    assert_eq!(steps(&imported), expected);
    assert_eq!(imported.server.as_deref(), Some("https://shop.example"));
    let products = &imported.flows[0].steps[1];
    assert_eq!(products.auth, Some(Auth::Bearer("SHOP_TOKEN".into())));
    assert_eq!(
        products.headers,
        [
            ("x-api-key".to_owned(), Template::secret("SHOP_X_API_KEY")),
            ("accept".to_owned(), Template::literal("application/json")),
        ]
    );
    assert_eq!(products.name.as_deref(), Some("GET /api/products"));
    let notes = imported.notes.join("\n");
    for said in [
        "secrets of the recording (4)",
        "left out: cookies",
        "left out: requests that write (3;",
        "left out: scripts, styles and pictures (1;",
        "left out: requests to other hosts (1): https://metrics.other.example",
        "left out: headers x-tenant",
    ] {
        assert!(notes.contains(said), "{said} is not in\n{notes}");
    }
}

#[test]
fn what_writes_and_what_a_browser_keeps_are_taken_where_they_are_asked_for() {
    let imported = read_har(SESSION, "shop", true, true).expect("a recording");
    let all = steps(&imported);
    assert!(
        all[0].1.iter().any(|step| step.starts_with("get /app.js")),
        "{all:?}"
    );
    assert_eq!(
        all[1].1,
        [
            "post /cart 303 0ms",
            "get /cart 200 5000ms",
            "post /login 302 0ms"
        ]
    );
    let cart = &imported.flows[1].steps;
    let json = r#"{"card":{"cardNumber":"{$env.SHOP_CARDNUMBER}","cvv":"{$env.SHOP_CVV}"},"item":7,"note":"{{gift}"}"#;
    let Some(Body::Json(body)) = &cart[0].body else {
        panic!("{cart:?}");
    };
    assert_eq!(body.as_str(), json);
    assert_eq!(
        cart[2].body,
        Some(Body::Form(vec![
            ("user".to_owned(), Template::literal("ada@example.org")),
            ("password".to_owned(), Template::secret("SHOP_PASSWORD")),
        ]))
    );
    let notes = imported.notes.join("\n");
    assert!(
        notes.contains(
            "left out: requests whose bodies are too long, no text, or hold a secret (1)"
        ),
        "{notes}"
    );
    assert!(notes.contains("long pauses were shortened"), "{notes}");
}

#[test]
fn nothing_secret_is_kept() {
    for (writes, assets) in [(false, false), (true, true)] {
        let imported = read_har(SESSION, "shop", writes, assets).expect("a recording");
        let all = format!("{imported:?}");
        for secret in [
            "hunter2",
            "very-secret",
            "key-of-somebody",
            "4111",
            "\"123\"",
            "eyJ",
            "abcdef",
        ] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }
}

/// A recording of requests that were answered with a page, each with more of an entry.
fn recording(entries: &[(&str, &str)]) -> String {
    let entry = |(request, more): &(&str, &str)| {
        format!(
            r#"{{"request": {{{request}}}, "response": {{"status": 200, "content": {{"mimeType": "text/html"}}}}{more}}}"#
        )
    };
    let entries: Vec<String> = entries.iter().map(entry).collect();
    format!(r#"{{"log": {{"entries": [{}]}}}}"#, entries.join(","))
}

#[test]
fn no_secret_of_an_address_or_a_body_is_kept() {
    let check = |request: &str, expected: &str| {
        let text = recording(&[(request, "")]);
        let imported = read_har(&text, "s", true, false).expect("a recording");
        let step = &imported.flows[0].steps[0];
        let written = match &step.body {
            Some(Body::Json(text) | Body::Text(text)) => text.as_str(),
            None => step.path.as_str(),
            Some(form) => panic!("{form:?}"),
        };
        assert_eq!(written, expected, "{request}");
        let all = format!("{imported:?}");
        assert!(!all.contains("hunter2"), "{all}");
    };
    let check_path = |path: &str, expected: &str| {
        check(
            &format!(r#""method": "GET", "url": "http://a{path}""#),
            expected,
        );
    };
    check_path(
        "/cart;jsessionid=hunter2;v=1/items",
        "/cart;jsessionid={$env.S_JSESSIONID};v=1/items",
    );
    check_path("/x?PHPSESSID=hunter2", "/x?PHPSESSID={$env.S_PHPSESSID}");
    check_path(
        "/login?next=%2Fa%3Ftoken%3Dhunter2&page=2",
        "/login?next={$env.S_NEXT}&page=2",
    );
    check_path(
        "/graphql?variables=%7B%22password%22%3A%22hunter2%22%7D",
        "/graphql?variables={$env.S_VARIABLES}",
    );
    // A bare token, without a name.
    check_path(
        "/reset?hunter2hunter2hunter2hunter2hunter2",
        "/reset?{$env.S_QUERY}=",
    );
    let body = |media: &str, text: &str| {
        let text = serde_json::Value::from(text);
        format!(
            r#""method": "POST", "url": "http://a/", "postData": {{"mimeType": "{media}", "text": {text}}}"#
        )
    };
    check(
        &body(
            "application/json",
            r#"{"session": {"id": "hunter2"}, "of": "{\"pass\": \"hunter2\"}"}"#,
        ),
        r#"{"of":"{$env.S_OF}","session":{"id":"{$env.S_SESSION_ID}"}}"#,
    );
    check(
        &body("application/x-www-form-urlencoded", "a=1&a=2&pwd=hunter2"),
        "a=1&a=2&pwd={$env.S_PWD}",
    );
}

/// What is not taken along needs no variable either.
#[test]
fn only_what_is_sent_needs_a_secret() {
    let token = r#""method": "GET", "url": "http://a/x?token=hunter2""#;
    let left_out = r#""method": "POST", "url": "http://a/x?api_key=hunter2", "postData": {"mimeType": "image/png", "text": "x"}"#;
    let text = recording(&[(token, ""), (left_out, "")]);
    let imported = read_har(&text, "s", true, false).expect("a recording");
    let secrets: Vec<&str> = imported.secrets.iter().map(String::as_str).collect();
    assert_eq!(secrets, ["S_TOKEN"]);
}

#[test]
fn the_page_that_was_shown_says_which_host_is_visited() {
    let entry = |url: &str, status: u16| {
        format!(
            r#"{{"_resourceType": "document", "request": {{"method": "GET", "url": "{url}"}}, "response": {{"status": {status}, "content": {{"mimeType": "text/html"}}}}}}"#
        )
    };
    let entries = [
        entry("http://shop.example/", 301),
        entry("https://www.shop.example/", 200),
        entry("https://www.shop.example/cart", 500),
    ];
    let text = format!(r#"{{"log": {{"entries": [{}]}}}}"#, entries.join(","));
    let imported = read_har(&text, "shop", false, false).expect("a recording");
    assert_eq!(imported.server.as_deref(), Some("https://www.shop.example"));
    assert_eq!(imported.requests(), 1);
    let notes = imported.notes.join("\n");
    for said in ["http://shop.example", "what the server failed at (1)"] {
        assert!(notes.contains(said), "{said} is not in\n{notes}");
    }
}

/// A recording that begins behind the page has the pages of its frames alone.
#[test]
fn a_frame_is_not_what_was_visited() {
    let entry = |url: &str, place: &str| {
        format!(
            r#"{{"request": {{"method": "GET", "url": "{url}", "headers": [{{"name": "Sec-Fetch-Dest", "value": "{place}"}}]}}, "response": {{"status": 200, "content": {{"mimeType": "text/html"}}}}}}"#
        )
    };
    let check = |entries: &[String], expected: &str| {
        let text = format!(r#"{{"log": {{"entries": [{}]}}}}"#, entries.join(","));
        let imported = read_har(&text, "shop", false, false).expect("a recording");
        assert_eq!(imported.server.as_deref(), Some(expected));
    };
    let frame = entry("https://ads.example/", "iframe");
    let call = entry("https://api.example/", "empty");
    let page = entry("https://shop.example/", "document");
    check(
        &[frame.clone(), call.clone(), call.clone()],
        "https://api.example",
    );
    check(&[frame.clone(), call.clone()], "https://ads.example");
    check(&[frame, call.clone(), call, page], "https://shop.example");
}

/// As some recorders write what they don't know.
#[test]
fn what_is_null_is_not_there() {
    let text = r#"{"log": {"pages": null, "entries": [{
        "pageref": null, "startedDateTime": null, "time": null, "_resourceType": null,
        "request": {"method": "GET", "url": "http://a/", "headers": null, "postData": null},
        "response": {"status": 200, "content": {"mimeType": null}}
    }, {"request": {"method": "GET", "url": "http://a/"}, "response": null}]}}"#;
    let imported = read_har(text, "shop", false, false).expect("a recording");
    assert_eq!(imported.requests(), 1);
}

#[test]
fn what_is_no_recording_is_refused() {
    let check = |text: &str, expected: &str| {
        let error = read_har(text, "shop", false, false).expect_err("it is refused");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.remedy().is_empty());
    };
    check("", "no HAR file");
    check("{}", "missing field `log`");
    check("{\"log\": {}}", "missing field `entries`");
    check(
        "{\"log\": {\"entries\": []}}",
        "nothing in it can be driven",
    );
    check(
        "{\"log\": {\"entries\": [{\"request\": {\"method\": \"GET\", \"url\": 7}}]}}",
        "no HAR file",
    );
    check(
        "{\"log\": {\"entries\": [{\"request\": {\"method\": \"POST\", \"url\": \"http://a/\"}, \"response\": {\"status\": 200}}]}}",
        "requests that write (1;",
    );
    check(
        "{\"log\": {\"entries\": [{\"request\": {\"method\": \"GET\", \"url\": \"file:///etc/passwd\"}, \"response\": {\"status\": 200}}]}}",
        "never answered, is not HTTP",
    );
    check(&"[".repeat(1_000_000), "no HAR file");
    check(&" ".repeat(MAX_HAR_BYTES + 1), "more than 64 MiB");
}

#[test]
fn a_page_without_an_end_has_one() {
    let entry = |number: usize| {
        format!(
            "{{\"pageref\": \"p{}\", \"startedDateTime\": \"2026-11-20T10:{:02}:{:02}Z\", \"time\": -1e308, \"request\": {{\"method\": \"GET\", \"url\": \"http://a/{number}\"}}, \"response\": {{\"status\": 200}}}}",
            number % 20,
            number / 60 % 60,
            number % 60
        )
    };
    let entries: Vec<String> = (0..3000).map(entry).collect();
    let text = format!("{{\"log\": {{\"entries\": [{}]}}}}", entries.join(","));
    let imported = read_har(&text, "shop", false, false).expect("a recording");
    assert_eq!(imported.flows.len(), MAX_PAGES);
    for flow in &imported.flows {
        assert_eq!(flow.steps.len(), MAX_STEPS);
        assert!(flow.think_ms() <= MAX_PAGE_THINK_MS);
    }
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("100 requests (2000)")),
        "{:?}",
        imported.notes
    );
}
