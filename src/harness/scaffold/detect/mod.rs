//! How the service of a repository is built, started and told its port: one look for each ecosystem.

mod cargo;
mod container;
mod go;
mod jvm;
mod node;
mod python;

use super::facts::{Facts, Found, Port, Service};
use super::sources;
use super::text::Template;
use super::tree::Tree;

/// Documents of these names describe an API.
const OPENAPI_NAMES: [&str; 2] = ["openapi", "swagger"];
const OPENAPI_EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];
/// Deeper ones are of others: of what was vendored, of tests.
const DOCUMENT_DEPTH: usize = 3;

/// One look: the manifest that it knows, the extensions of the sources, and the service it finds.
struct Look {
    what: &'static str,
    manifests: &'static [&'static str],
    extensions: &'static [&'static str],
    service: fn(&Tree) -> Option<Service>,
}

/// In the order in which they are believed where a repository has several: a `package.json` is also
/// what builds the pages of a service in another language.
const LOOKS: [Look; 5] = [
    Look {
        what: "Cargo",
        manifests: &["Cargo.toml"],
        extensions: &["rs"],
        service: cargo::service,
    },
    Look {
        what: "Go",
        manifests: &["go.mod"],
        extensions: &["go"],
        service: go::service,
    },
    Look {
        what: "the JVM",
        manifests: &["pom.xml", "build.gradle", "build.gradle.kts"],
        extensions: &["java", "kt", "properties"],
        service: jvm::service,
    },
    Look {
        what: "Python",
        manifests: &[
            "pyproject.toml",
            "requirements.txt",
            "setup.py",
            "Pipfile",
            "manage.py",
        ],
        extensions: &["py"],
        service: python::service,
    },
    Look {
        what: "Node",
        manifests: &["package.json"],
        extensions: &["js", "mjs", "cjs", "ts", "mts"],
        service: node::service,
    },
];

/// What there is.
pub fn detect(tree: &Tree) -> Facts {
    let mut facts = Facts {
        name: name(tree),
        openapi: openapi(tree),
        har: har(tree),
        exposed: container::exposed(tree),
        is_gitlab: tree.has(".gitlab-ci.yml"),
        ignores: tree.text(".gitignore").is_some_and(|text| {
            let lines = || text.lines().map(|line| line.trim().trim_matches('/'));
            ["reports", ".plimsoll"].iter().all(|folder| {
                lines().any(|line| line == *folder || line.strip_suffix("/*") == Some(folder))
            })
        }),
        ..Facts::default()
    };
    if let Some((package, targets)) = cargo::benches(tree) {
        facts.benches = targets;
        facts.package = package;
    }
    for look in &LOOKS {
        let Some(manifest) = tree.first(look.manifests) else {
            continue;
        };
        let found = (look.service)(tree);
        if facts.service.is_some() {
            if found.is_some() {
                facts.notes.push(format!(
                    "{manifest} has a service too, which was not taken; --start names it"
                ));
            }
            continue;
        }
        match found {
            Some(mut service) => {
                if service.port == Port::Unknown {
                    service.port = port(tree, look.extensions);
                }
                facts.path = sources::path(tree, look.extensions);
                facts.health = sources::health(tree, look.extensions);
                facts.service = Some(service);
            }
            None => facts.notes.push(format!(
                "{manifest} is there ({}), but nothing in it or beside it starts a service",
                look.what
            )),
        }
    }
    if facts.service.is_none()
        && let Some(service) = container::procfile(tree)
    {
        facts.service = Some(service);
    }
    if facts.service.is_none()
        && let Some(exposed) = &facts.exposed
    {
        facts.notes.push(format!(
            "{} shows port {}, but only says how the service starts in a container",
            exposed.from, exposed.value
        ));
    }
    facts
}

/// How a service that reads its port in its sources is told which.
fn port(tree: &Tree, extensions: &[&str]) -> Port {
    if let Some(variable) = sources::port_variable(tree, extensions) {
        return Port::Variable(variable);
    }
    if let Some(variable) = container::port_variable(tree) {
        return Port::Variable(variable);
    }
    sources::fixed_port(tree, extensions).map_or(Port::Unknown, Port::Fixed)
}

fn name(tree: &Tree) -> Option<String> {
    cargo::name(tree)
        .or_else(|| go::name(tree))
        .or_else(|| node::name(tree))
        .or_else(|| python::name(tree))
}

fn openapi(tree: &Tree) -> Vec<String> {
    let is_one = |path: &&str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
        OPENAPI_NAMES.contains(&stem)
            && OPENAPI_EXTENSIONS.contains(&extension)
            && path.matches('/').count() < DOCUMENT_DEPTH
    };
    let found = tree.paths().into_iter().filter(is_one);
    found.map(str::to_owned).collect()
}

fn har(tree: &Tree) -> Vec<String> {
    let is_one = |path: &&str| path.ends_with(".har") && path.matches('/').count() < DOCUMENT_DEPTH;
    let found = tree.paths().into_iter().filter(is_one);
    found.map(str::to_owned).collect()
}

/// A command line as words, where it is one that needs no shell.
fn words(line: &str) -> Option<Vec<String>> {
    // Of what a shell would do here, nothing happens.
    let needs_shell = line.contains(['&', '|', ';', '<', '>', '$', '`', '*', '(', ')', '~']);
    let words = shell_words::split(line).ok()?;
    let assigns = words.first().is_none_or(|word| word.contains('='));
    (!needs_shell && !assigns).then_some(words)
}

/// Words with `{port}` in the place of a port that an option gives, and whether there was one.
fn with_port(words: Vec<String>) -> (Vec<String>, bool) {
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port >= 80);
    let is_option = |word: &str| matches!(word, "-p" | "--port" | "-port" | "-P");
    let mut told = false;
    let mut follows = false;
    let mut changed = Vec::new();
    for word in words {
        let is_next = std::mem::replace(&mut follows, is_option(&word));
        let option = word
            .split_once('=')
            .filter(|(option, value)| is_option(option) && is_port(value));
        let address = word.rsplit_once(':').filter(|(host, port)| {
            let is_host = host.is_empty()
                || host
                    .chars()
                    .all(|char| char.is_ascii_digit() || char == '.');
            is_host && is_port(port)
        });
        let new = match (option, address) {
            _ if is_next && is_port(&word) => "{port}".to_owned(),
            (Some((option, _)), _) => format!("{option}={{port}}"),
            // What is measured is asked on this machine only.
            (_, Some(_)) => "127.0.0.1:{port}".to_owned(),
            _ => {
                changed.push(word);
                continue;
            }
        };
        told = true;
        changed.push(new);
    }
    (changed, told)
}

/// Words as a command line of a scenario, in which `{port}` alone is a value.
fn line<W: AsRef<str>>(words: &[W]) -> String {
    let joined = shell_words::join(words);
    let pieces = joined.split("{port}").map(Template::literal);
    let pieces: Vec<String> = pieces.map(|piece| piece.as_str().to_owned()).collect();
    pieces.join("{port}")
}

/// A service whose command line takes `{port}`.
fn told(start: String, from: impl Into<String>, build: Option<String>) -> Service {
    Service {
        build,
        start: Found::new(start, from),
        port: Port::InStart,
        ready: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_a_command_line_becomes_a_value() {
        let check = |line: &str, expected: &str, expected_told: bool| {
            let words = words(line).expect("a plain line");
            let (found, told) = with_port(words);
            assert_eq!((found.join(" ").as_str(), told), (expected, expected_told));
        };
        check("node server.js", "node server.js", false);
        check(
            "node server.js --port 3000",
            "node server.js --port {port}",
            true,
        );
        check(
            "node server.js --port=3000",
            "node server.js --port={port}",
            true,
        );
        check(
            "gunicorn -b 0.0.0.0:8000 app:app",
            "gunicorn -b 127.0.0.1:{port} app:app",
            true,
        );
        check("uvicorn app.main:app", "uvicorn app.main:app", false);
        check(
            "node --max-old-space-size=4096 a.js",
            "node --max-old-space-size=4096 a.js",
            false,
        );
        for line in [
            "node a.js && node b.js",
            "PORT=1 node a.js",
            "node a.js > log",
            "\"",
            "",
        ] {
            assert_eq!(super::words(line), None, "{line}");
        }
    }

    #[test]
    fn several_manifests_are_told_apart() {
        let tree: Tree = [
            (
                "package.json",
                r#"{"name": "pages", "scripts": {"build": "vite build"}}"#,
            ),
            ("go.mod", "module example.org/shop\n"),
            (
                "main.go",
                "package main\nfunc main() { http.ListenAndServe(\":\"+os.Getenv(\"PORT\"), nil) }",
            ),
            ("docs/openapi.yaml", ""),
            ("api/v1/deep/er/openapi.yaml", ""),
            ("swagger.json", ""),
            ("session.har", ""),
            (".gitlab-ci.yml", ""),
            (".gitignore", "/.plimsoll/\nreports/*\n"),
        ]
        .into_iter()
        .collect();
        let facts = detect(&tree);
        assert_eq!(facts.name.as_deref(), Some("shop"));
        let service = facts.service.expect("a service");
        assert_eq!(service.start.value, ".plimsoll/bin/shop");
        assert_eq!(facts.openapi, ["swagger.json", "docs/openapi.yaml"]);
        assert_eq!(facts.har, ["session.har"]);
        assert!(facts.is_gitlab && facts.ignores);
        assert!(facts.notes.is_empty(), "{:?}", facts.notes);
        assert_eq!(detect(&Tree::default()), Facts::default());
    }
}
