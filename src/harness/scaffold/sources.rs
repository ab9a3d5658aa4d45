//! What sources say of ports and paths. These are looks at text, not parsers: what they find is said
//! with its file, and everything they find can be said otherwise.

use std::sync::LazyLock;

use regex::Regex;

use super::facts::Found;

/// The variables that say on which port a service listens, and no database's.
const VARIABLES: &str =
    "PORT|HTTP_PORT|SERVER_PORT|APP_PORT|API_PORT|WEB_PORT|LISTEN_PORT|SERVICE_PORT|NODE_PORT";
/// Paths that say whether a service is well, those that mean readiness first.
const HEALTH: [&str; 11] = [
    "/ready",
    "/readyz",
    "/health/ready",
    "/health",
    "/healthz",
    "/api/health",
    "/_health",
    "/livez",
    "/live",
    "/ping",
    "/status",
];
/// Longer paths are no routes that anyone wrote by hand.
const MAX_PATH: usize = 200;

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    expression(&format!(
        r#"(?x)
        (?: process\.env\.
          | process\.env\[ ['"]
          | environ(?:\.get\(|\[) \s* ['"]
          | [gG]etenv\( \s* ['"]
          | LookupEnv\( \s* "
          | env:{{2}}var(?:_os)?\( \s* "
          | env!\( \s* "
          | \.port \s* = \s* \$\{{
        )
        ({VARIABLES}) \b"#
    ))
});

/// `const { PORT } = process.env`.
static DESTRUCTURED: LazyLock<Regex> = LazyLock::new(|| {
    expression(&format!(
        r"\{{[^{{}}]{{0,200}}?\b({VARIABLES})\b[^{{}}]{{0,200}}\}}\s*=\s*process\.env\b"
    ))
});

static FIXED: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r#"(?x)
        (?: \.listen\( \s*
          | ListenAndServe\( \s* "[^":]* :
          | \b[bB]ind\( \s* (?:&)? "[^"]* :
          | \b[bB]ind\( \s* \( \s* "[^"]*" \s* , \s*
          | Server\( \s* \( \s* ['"][^'"]*['"] \s* , \s*
          | \.run\( [^)]{0,80} \bport \s* = \s*
          | from\( \s* \( \s* \[ [\d,\s]+ \] \s* , \s*
        )
        (\d{2,5}) \b"#,
    )
});

static ROUTE: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r#"(?x)
        (?: \b(?:app|server|fastify)\.get\( \s* ['"`]
          | \b(?:req|request)\.url \s* ={2,3} \s* ['"`]
          | \bpathname \s* ={2,3} \s* ['"`]
          | @app\.(?:get|route)\( \s* ['"]
          | \bself\.path \s* == \s* ['"]
          | HandleFunc\( \s* "(?:GET\ )?
          | \.(?:GET|Get)\( \s* "
          | \.route\( \s* "
          | \#\[get\( "
          | @GetMapping\( \s* (?:(?:value|path) \s* = \s* )? "
        )
        (/[^'"`\s]*) ['"`]"#,
    )
});

/// What stands behind a route that answers no GET, up to the end of its line.
static OTHER_METHOD: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r#"(?x)
        ^ \s* , \s* (?:\w+::)* (?:post|put|patch|delete) \(
        | ^ [^\n]* methods \s* = \s* [\[(] [^\])G]* [\])]
        | ^ \) \s* \. (?:post|put|patch|delete) \(
        "#,
    )
});

/// The variable that tells the service its port. Of sources: their paths and texts.
pub(super) fn port_variable(sources: &[(&str, &str)]) -> Option<Found<String>> {
    sources.iter().find_map(|(path, text)| {
        let found = VARIABLE.captures(text);
        let found = found.or_else(|| DESTRUCTURED.captures(text))?;
        Some(Found::new(found[1].to_owned(), *path))
    })
}

/// The port on which the service always listens.
pub(super) fn fixed_port(sources: &[(&str, &str)]) -> Option<Found<u16>> {
    sources.iter().find_map(|(path, text)| {
        let mut ports = FIXED.captures_iter(text);
        let port = ports.find_map(|found| found[1].parse().ok().filter(|port| *port >= 80))?;
        Some(Found::new(port, *path))
    })
}

/// A path that the service answers to a GET: the first that takes no values and is not there for its
/// health, `/` only where there is no other.
pub(super) fn path(sources: &[(&str, &str)]) -> Option<Found<String>> {
    let mut routes = routes(sources);
    routes.retain(|route| !HEALTH.contains(&route.value.as_str()));
    routes.sort_by_key(|route| route.value == "/");
    routes.into_iter().next()
}

/// A path that says whether the service is ready.
pub(super) fn health(sources: &[(&str, &str)]) -> Option<Found<String>> {
    let mut routes = routes(sources);
    let rank = |route: &Found<String>| HEALTH.iter().position(|known| *known == route.value);
    routes.retain(|route| rank(route).is_some());
    routes.into_iter().min_by_key(rank)
}

fn routes(sources: &[(&str, &str)]) -> Vec<Found<String>> {
    let mut routes = Vec::new();
    for (path, text) in sources {
        // Its routes lie below a path that stands elsewhere.
        if text.contains("@RequestMapping(") {
            continue;
        }
        for found in ROUTE.captures_iter(text) {
            let behind = &text[found.get_match().end()..];
            if is_fixed(&found[1]) && !OTHER_METHOD.is_match(behind) {
                routes.push(Found::new(found[1].to_owned(), *path));
            }
        }
    }
    routes
}

/// Whether a path can be asked for as it stands.
fn is_fixed(path: &str) -> bool {
    path.len() <= MAX_PATH
        && path.bytes().all(|byte| byte.is_ascii_graphic())
        && !path.contains([':', '{', '}', '<', '*', '(', '$', '#', '\\'])
}

fn expression(pattern: &str) -> Regex {
    Regex::new(pattern).expect("BUG: a constant expression")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_hold_the_port() {
        let check = |path: &str, text: &str, expected: Option<&str>| {
            let found = port_variable(&[(path, text)]);
            assert_eq!(
                found.map(|found| found.value).as_deref(),
                expected,
                "{text}"
            );
        };
        check("a.js", "app.listen(process.env.PORT || 3000)", Some("PORT"));
        check(
            "a.js",
            "const p = process.env['HTTP_PORT']",
            Some("HTTP_PORT"),
        );
        check(
            "a.js",
            "const { HOST, PORT = 3000 } = process.env",
            Some("PORT"),
        );
        check("a.js", "const { PORT } = require('./config')", None);
        check("a.js", "pg.connect(process.env.DB_PORT)", None);
        check("a.js", "pg.connect(process.env.PORTAL)", None);
        check(
            "a.py",
            "port = int(os.environ.get(\"PORT\", 8000))",
            Some("PORT"),
        );
        check("a.py", "port = int(os.environ['PORT'])", Some("PORT"));
        check("a.py", "os.getenv('APP_PORT')", Some("APP_PORT"));
        check("a.go", "port := os.Getenv(\"PORT\")", Some("PORT"));
        check("a.go", "port, ok := os.LookupEnv(\"PORT\")", Some("PORT"));
        check("a.rs", "std::env::var(\"PORT\")", Some("PORT"));
        check(
            "a.rs",
            "fn main() {\n    let port = std::env::var(\"APP_PORT\")",
            Some("APP_PORT"),
        );
        check("a.java", "System.getenv(\"PORT\")", Some("PORT"));
        check("a.properties", "server.port=${PORT:8080}", Some("PORT"));
    }

    #[test]
    fn ports_that_never_change() {
        let check = |text: &str, expected: Option<u16>| {
            let found = fixed_port(&[("a.js", text)]);
            assert_eq!(found.map(|found| found.value), expected, "{text}");
        };
        check("app.listen(3000, () => {})", Some(3000));
        check("http.ListenAndServe(\":8080\", nil)", Some(8080));
        check("TcpListener::bind(\"0.0.0.0:3000\")", Some(3000));
        check(
            "HttpServer::new(a).bind((\"127.0.0.1\", 8080))?",
            Some(8080),
        );
        check("HTTPServer(('127.0.0.1', 8000), Handler)", Some(8000));
        check("app.run(debug=True, port=5000)", Some(5000));
        check("SocketAddr::from(([127, 0, 0, 1], 3000))", Some(3000));
        check("app.listen(port)", None);
        check("app.listen(99999)", None);
    }

    #[test]
    fn paths_that_are_answered() {
        let check = |text: &str, path: Option<&str>, health: Option<&str>| {
            let sources = [("a.js", text)];
            let found = super::path(&sources).map(|found| found.value);
            assert_eq!(found.as_deref(), path, "{text}");
            let found = super::health(&sources).map(|found| found.value);
            assert_eq!(found.as_deref(), health, "{text}");
        };
        check(
            "app.get('/', a); app.get('/health', b); app.get('/products/:id', c); app.get('/products', d)",
            Some("/products"),
            Some("/health"),
        );
        check("app.get('/', a)", Some("/"), None);
        check(
            "if (req.url === \"/ready\") return; if (req.url === '/cart') {}",
            Some("/cart"),
            Some("/ready"),
        );
        check(
            "@app.get(\"/items\")\ndef items(): ...",
            Some("/items"),
            None,
        );
        check(
            "mux.HandleFunc(\"GET /users\", users)",
            Some("/users"),
            None,
        );
        check(
            "Router::new().route(\"/orders\", get(orders))",
            Some("/orders"),
            None,
        );
        check(
            "router.route(\"/in\", post(a)).route(\"/out\", routing::get(b).post(a))",
            Some("/out"),
            None,
        );
        check(
            "@app.route('/in', methods=['POST'])\ndef a(): ...\n@app.route('/both', methods=['GET', 'POST'])",
            Some("/both"),
            None,
        );
        check(
            "app.route('/in').post(a); app.get('/out', b)",
            Some("/out"),
            None,
        );
        check("#[get(\"/a b\")]", None, None);
        check("@GetMapping(\"/pets\")", Some("/pets"), None);
        check(
            "@RequestMapping(\"/api\")\nclass A { @GetMapping(\"/pets\") }",
            None,
            None,
        );
        check("client.get('/elsewhere')", None, None);
    }
}
