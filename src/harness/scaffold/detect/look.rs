//! What all looks together find.

use super::{cargo, container, go, jvm, node, python};
use crate::harness::scaffold::facts::{Facts, Port, Service};
use crate::harness::scaffold::sources;
use crate::harness::scaffold::text::shown;
use crate::harness::scaffold::tree::Tree;

/// Documents of these names describe an API.
const OPENAPI_NAMES: [&str; 2] = ["openapi", "swagger"];
const OPENAPI_EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];
/// Deeper ones are of others: of what was vendored, of tests.
const DOCUMENT_DEPTH: usize = 3;
/// So many projects that lie below are named.
const NAMED_FOLDERS: usize = 5;

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
                let mut sources = tree.sources(look.extensions);
                sources.retain(|(path, _)| path.starts_with(&service.folder));
                if service.port == Port::Unknown {
                    service.port = port(tree, &sources);
                }
                facts.path = sources::path(&sources);
                facts.health = sources::health(&sources);
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
        && let Some(folders) = projects_below(tree)
    {
        facts.notes.push(format!(
            "projects of their own lie below ({folders}): `plimsoll init` works in the folder of one"
        ));
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
fn port(tree: &Tree, sources: &[(&str, &str)]) -> Port {
    if let Some(variable) = sources::port_variable(sources) {
        return Port::Variable(variable);
    }
    if let Some(variable) = container::port_variable(tree) {
        return Port::Variable(variable);
    }
    sources::fixed_port(sources).map_or(Port::Unknown, Port::Fixed)
}

/// The folders below with a manifest, those nearest to the top by name.
fn projects_below(tree: &Tree) -> Option<String> {
    let is_manifest = |file: &str| LOOKS.iter().any(|look| look.manifests.contains(&file));
    let mut folders: Vec<&str> = Vec::new();
    for path in tree.paths() {
        if let Some((folder, file)) = path.rsplit_once('/')
            && is_manifest(file)
            && !folders.contains(&folder)
        {
            folders.push(folder);
        }
    }
    let named: Vec<String> = folders
        .iter()
        .take(NAMED_FOLDERS)
        .map(|folder| shown(folder))
        .collect();
    let more = if folders.len() > NAMED_FOLDERS {
        " and others"
    } else {
        ""
    };
    (!folders.is_empty()).then(|| format!("{}{more}", named.join(", ")))
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(facts.ignores);
        assert!(facts.notes.is_empty(), "{:?}", facts.notes);
        assert_eq!(detect(&Tree::default()), Facts::default());
    }

    #[test]
    fn what_a_service_answers_stands_in_its_own_sources() {
        let tree: Tree = [
            ("Cargo.toml", "[workspace]\nmembers = [\"*\"]\n"),
            ("admin/Cargo.toml", "[package]\nname = \"admin\"\n"),
            ("admin/src/lib.rs", "router.route(\"/admin\", get(a)); std::env::var(\"ADMIN_PORT\"); std::env::var(\"API_PORT\")"),
            ("shop/Cargo.toml", "[package]\nname = \"shop\"\n[dependencies]\naxum = \"0.8\"\n"),
            ("shop/src/main.rs", "router.route(\"/products\", get(a)); std::env::var(\"PORT\")"),
        ]
        .into_iter()
        .collect();
        let facts = detect(&tree);
        assert_eq!(facts.path.expect("a path").value, "/products");
        let port = facts.service.expect("a service").port;
        assert!(
            matches!(&port, Port::Variable(found) if found.value == "PORT"),
            "{port:?}"
        );
    }

    #[test]
    fn projects_below_the_top_are_named() {
        let tree: Tree = [
            ("services/b/go.mod", ""),
            ("services/a\n/package.json", ""),
            ("services/a\n/setup.py", ""),
        ]
        .into_iter()
        .collect();
        let facts = detect(&tree);
        assert_eq!(
            facts.notes,
            [
                "projects of their own lie below (services/a\\n, services/b): `plimsoll init` works in the folder of one"
            ]
        );
    }
}
