//! Where the document says that its API is.

use serde_json::Value;
use url::Url;

use super::dialect::Dialect;
use crate::harness::scaffold::document::Document;

/// A server, in two parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    /// Scheme, host and port, where it says them.
    pub(super) origin: Option<String>,
    /// What stands before every path, without a `/` at its end.
    pub(super) base: String,
}

/// The first server of the document.
pub(super) fn of(document: &Document, dialect: Dialect) -> Server {
    let root = document.root();
    match dialect {
        Dialect::Three => of_one(&[root]).unwrap_or_default(),
        Dialect::Two => split(&of_swagger(root)),
    }
}

/// The first server that one of these names, such as an operation or its path.
pub(super) fn of_one(holders: &[&Value]) -> Option<Server> {
    let server = |holder: &&Value| Some(with_defaults(holder.get("servers")?.get(0)?));
    holders.iter().find_map(server).map(|text| split(&text))
}

/// The URL of a server with the defaults of its variables.
fn with_defaults(server: &Value) -> String {
    let url = server
        .get("url")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut url = url.to_owned();
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten().take(20) {
        if let Some(default) = variable.get("default").and_then(Value::as_str) {
            url = url.replace(&format!("{{{name}}}"), default);
        }
        // A default that holds its own name would grow.
        if url.len() > 2000 {
            return String::new();
        }
    }
    url
}

fn of_swagger(root: &Value) -> String {
    let text = |key: &str| root.get(key).and_then(Value::as_str).unwrap_or_default();
    let scheme = root
        .get("schemes")
        .and_then(|schemes| schemes.get(0))
        .and_then(Value::as_str)
        .unwrap_or("https");
    match text("host") {
        "" => text("basePath").to_owned(),
        host => format!("{scheme}://{host}{}", text("basePath")),
    }
}

fn split(text: &str) -> Server {
    // One that is relative is so to wherever the document is served from.
    let somewhere = Url::parse("http://relative.invalid/");
    let parsed = somewhere.and_then(|somewhere| somewhere.join(text));
    let Ok(url) = parsed else {
        return Server::default();
    };
    let is_whole = Url::parse(text).is_ok();
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    let base = url.path().trim_end_matches('/');
    if is_whole && !is_http {
        return Server::default();
    }
    // A variable without a default is no path.
    let is_plain = base.len() <= 500 && !base.to_ascii_lowercase().contains("%7b");
    Server {
        origin: is_whole.then(|| url.origin().ascii_serialization()),
        base: match is_plain {
            true => base.to_owned(),
            false => String::new(),
        },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn servers_are_an_origin_and_a_base() {
        let check = |text: &str, dialect: Dialect, origin: Option<&str>, base: &str| {
            let document = Document::read(text, 10_000).unwrap();
            let found = of(&document, dialect);
            assert_eq!(
                (found.origin.as_deref(), found.base.as_str()),
                (origin, base),
                "{text}"
            );
        };
        let three = |servers: &str| format!("{{\"servers\": {servers}}}");
        let check_3 = |servers: &str, origin: Option<&str>, base: &str| {
            check(&three(servers), Dialect::Three, origin, base);
        };
        check_3(
            r#"[{"url": "https://api.example.com/v1/"}, {"url": "http://other"}]"#,
            Some("https://api.example.com"),
            "/v1",
        );
        check_3(r#"[{"url": "/api/v3"}]"#, None, "/api/v3");
        check_3(
            r#"[{"url": "http://localhost:8080"}]"#,
            Some("http://localhost:8080"),
            "",
        );
        check_3(
            r#"[{"url": "https://{region}.example.com/{base}", "variables": {"region": {"default": "eu"}, "base": {"default": "v2"}}}]"#,
            Some("https://eu.example.com"),
            "/v2",
        );
        check_3(
            r#"[{"url": "https://api.example.com/{base}"}]"#,
            Some("https://api.example.com"),
            "",
        );
        check_3(r#"[{"url": "file:///etc/passwd"}]"#, None, "");
        check_3(
            r#"[{"url": "https://user:secret@api.example.com/"}]"#,
            Some("https://api.example.com"),
            "",
        );
        check_3("[]", None, "");
        check_3(
            r#"[{"url": "{a}", "variables": {"a": {"default": "{a}{a}"}}}]"#,
            None,
            "",
        );
        check("{}", Dialect::Three, None, "");
        check(
            r#"{"host": "petstore.example", "basePath": "/v2", "schemes": ["http"]}"#,
            Dialect::Two,
            Some("http://petstore.example"),
            "/v2",
        );
        check(r#"{"basePath": "/v2/"}"#, Dialect::Two, None, "/v2");
    }
}
