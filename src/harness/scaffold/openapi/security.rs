//! Who sends a request, as the document says: names of variables, never a value.

use std::collections::BTreeSet;

use serde_json::Value;

use super::dialect::Dialect;
use crate::harness::scaffold::document::Document;
use crate::harness::scaffold::sketch::Auth;
use crate::harness::scaffold::text::{Template, variable};

/// What an operation needs so that the server knows who asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    /// In the head of the request.
    pub(super) auth: Option<Auth>,
    /// Further headers: names and values.
    pub(super) headers: Vec<(String, Template)>,
    /// In the query: name and value.
    pub(super) query: Vec<(String, Template)>,
    /// The variables that hold it.
    pub(super) secrets: BTreeSet<String>,
    /// Whether none of the ways that it names can be gone.
    pub(super) is_unknown: bool,
}

/// What `operation` needs: the first of its alternatives that can be written.
pub(super) fn of(
    document: &Document,
    dialect: Dialect,
    operation: &Value,
    scenario: &str,
) -> Needed {
    let root = document.root();
    let alternatives = operation.get("security").or_else(|| root.get("security"));
    let alternatives = alternatives.and_then(Value::as_array);
    let alternatives = alternatives.map(Vec::as_slice).unwrap_or_default();
    if alternatives.is_empty() {
        return Needed::default();
    }
    let schemes = match dialect {
        Dialect::Three => root
            .get("components")
            .and_then(|components| components.get("securitySchemes")),
        Dialect::Two => root.get("securityDefinitions"),
    };
    let of_alternative = |alternative: &Value| -> Option<Needed> {
        let mut needed = Needed::default();
        for name in alternative.as_object()?.keys().take(4) {
            let scheme = document.resolve(schemes?.get(name)?).ok()?;
            add(&mut needed, scheme, scenario)?;
        }
        Some(needed)
    };
    // An empty alternative is nobody, which is the last resort: it may be told less.
    let ways = alternatives.iter().take(8).filter_map(of_alternative);
    let (named, nobody): (Vec<_>, Vec<_>) = ways.partition(|way| !way.secrets.is_empty());
    named.into_iter().chain(nobody).next().unwrap_or(Needed {
        is_unknown: true,
        ..Needed::default()
    })
}

/// Adds a scheme; `None` where it can't be written, or not beside what is there.
fn add(needed: &mut Needed, scheme: &Value, scenario: &str) -> Option<()> {
    let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
    let auth = match (text("type"), text("scheme").to_ascii_lowercase().as_str()) {
        ("basic", _) | ("http", "basic") => Auth::Basic {
            user: variable(scenario, "user"),
            password: variable(scenario, "password"),
        },
        ("oauth2" | "openIdConnect", _) | ("http", "bearer") => {
            Auth::Bearer(variable(scenario, "token"))
        }
        ("apiKey", _) => {
            let name = text("name");
            let secret = variable(scenario, name);
            let value = Template::secret(&secret);
            needed.secrets.insert(secret);
            match text("in") {
                "query" => {
                    needed.query.push((name.to_owned(), value));
                    return Some(());
                }
                "header" if http::HeaderName::from_bytes(name.as_bytes()).is_ok() => Auth::Header {
                    name: name.to_ascii_lowercase(),
                    value,
                },
                "cookie" if is_cookie(name) => {
                    let mut cookie = Template::literal(&format!("{name}="));
                    cookie.push(&value);
                    Auth::Header {
                        name: "cookie".to_owned(),
                        value: cookie,
                    }
                }
                _ => return None,
            }
        }
        _ => return None,
    };
    match &auth {
        Auth::Basic { user, password } => {
            needed.secrets.extend([user.clone(), password.clone()]);
        }
        Auth::Bearer(token) => {
            needed.secrets.insert(token.clone());
        }
        // These frame the request.
        Auth::Header { name, .. }
            if [
                "content-length",
                "transfer-encoding",
                "connection",
                "upgrade",
            ]
            .contains(&name.as_str()) =>
        {
            return None;
        }
        Auth::Header { .. } => {}
    }
    match (&needed.auth, auth) {
        (None, auth) => needed.auth = Some(auth),
        // Such as the name of an application beside its key.
        (Some(_), Auth::Header { name, value }) => needed.headers.push((name, value)),
        (Some(_), _) => return None,
    }
    Some(())
}

fn is_cookie(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn check(text: &str, auth: Option<Auth>, query: &[(&str, &str)], secrets: &[&str]) {
        let document = Document::read(text, 10_000).unwrap();
        let operation = document.root().get("op").unwrap_or(&Value::Null);
        let dialect = match document.root().get("securityDefinitions") {
            Some(_) => Dialect::Two,
            None => Dialect::Three,
        };
        let found = of(&document, dialect, operation, "shop");
        assert_eq!(found.auth, auth, "{text}");
        let found_query: Vec<_> = found
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found_query, query, "{text}");
        assert!(
            found
                .secrets
                .iter()
                .map(String::as_str)
                .eq(secrets.iter().copied()),
            "{:?}",
            found.secrets
        );
    }

    #[test]
    fn credentials_are_names_of_variables() {
        let with = |scheme: &str| {
            format!(
                "{{\"security\": [{{\"a\": []}}], \"components\": {{\"securitySchemes\": {{\"a\": {scheme}}}}}}}"
            )
        };
        let basic = || Auth::Basic {
            user: "SHOP_USER".into(),
            password: "SHOP_PASSWORD".into(),
        };
        let bearer = || Auth::Bearer("SHOP_TOKEN".into());
        check(
            &with(r#"{"type": "http", "scheme": "Basic"}"#),
            Some(basic()),
            &[],
            &["SHOP_PASSWORD", "SHOP_USER"],
        );
        check(
            &with(r#"{"type": "http", "scheme": "bearer"}"#),
            Some(bearer()),
            &[],
            &["SHOP_TOKEN"],
        );
        check(
            &with(r#"{"type": "oauth2"}"#),
            Some(bearer()),
            &[],
            &["SHOP_TOKEN"],
        );
        check(
            &with(r#"{"type": "apiKey", "in": "header", "name": "X-API-Key"}"#),
            Some(Auth::Header {
                name: "x-api-key".into(),
                value: Template::secret("SHOP_X_API_KEY"),
            }),
            &[],
            &["SHOP_X_API_KEY"],
        );
        check(
            &with(r#"{"type": "apiKey", "in": "query", "name": "key"}"#),
            None,
            &[("key", "{$env.SHOP_KEY}")],
            &["SHOP_KEY"],
        );
        check(
            &with(r#"{"type": "apiKey", "in": "header", "name": "a\nb"}"#),
            None,
            &[],
            &[],
        );
        let both = r#"{"security": [{"a": [], "b": []}], "components": {"securitySchemes": {"a": {"type": "oauth2"}, "b": {"type": "apiKey", "in": "header", "name": "X-App"}}}}"#;
        check(both, Some(bearer()), &[], &["SHOP_TOKEN", "SHOP_X_APP"]);
        check(&with(r#"{"type": "mutualTLS"}"#), None, &[], &[]);
        check(
            r#"{"op": {"security": []}, "security": [{"a": []}], "components": {"securitySchemes": {"a": {"type": "oauth2"}}}}"#,
            None,
            &[],
            &[],
        );
        check(
            r#"{"security": [{}, {"a": []}], "securityDefinitions": {"a": {"type": "basic"}}}"#,
            Some(basic()),
            &[],
            &["SHOP_PASSWORD", "SHOP_USER"],
        );
    }
}
