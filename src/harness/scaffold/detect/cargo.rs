//! `Cargo.toml`: the binary that serves, and the benches that use criterion.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::harness::scaffold::facts::{Found, Port, Service};
use crate::harness::scaffold::tree::Tree;

/// A package with one of these is one that serves.
const SERVERS: [&str; 13] = [
    "axum",
    "actix-web",
    "warp",
    "rocket",
    "hyper",
    "poem",
    "tide",
    "salvo",
    "tonic",
    "ntex",
    "gotham",
    "tiny_http",
    "rouille",
];

/// An option of clap that takes a port.
static OPTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"#\[(?:arg|clap)\([^)]*\blong\b[^\]]*\]\s*(?:pub(?:\([^)]*\))?\s+)?port\s*:\s*u16")
        .expect("BUG: a constant expression")
});

/// The part of a manifest that is read here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Manifest {
    package: Option<Package>,
    workspace: Option<Workspace>,
    bin: Vec<Target>,
    bench: Vec<Target>,
    dependencies: BTreeMap<String, IgnoredAny>,
    dev_dependencies: BTreeMap<String, IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Package {
    name: String,
    default_run: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Workspace {
    exclude: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    name: String,
    path: Option<String>,
}

/// A package of the repository and where it lies, with `/` at the end where that is not the top.
struct Member {
    folder: String,
    manifest: Manifest,
    name: String,
}

pub(super) fn name(tree: &Tree) -> Option<String> {
    let manifest: Manifest = toml::from_str(tree.text("Cargo.toml")?).ok()?;
    manifest.package.map(|package| package.name)
}

/// The bench targets that use criterion, and their package where it is not that of the top: of the first
/// package that has any.
pub(super) fn benches(tree: &Tree) -> Option<(Option<String>, Vec<String>)> {
    members(tree).into_iter().find_map(|member| {
        let uses = member
            .manifest
            .dev_dependencies
            .keys()
            .any(|name| name.contains("criterion"));
        let targets: Vec<String> = member
            .manifest
            .bench
            .iter()
            .map(|bench| bench.name.clone())
            .collect();
        let is_usable = uses && !targets.is_empty() && targets.iter().all(|name| is_plain(name));
        is_usable.then(|| {
            (
                (!member.folder.is_empty()).then(|| member.name.clone()),
                targets,
            )
        })
    })
}

pub(super) fn service(tree: &Tree) -> Option<Service> {
    let members = members(tree);
    members.iter().find_map(|member| of_member(tree, member))
}

fn of_member(tree: &Tree, member: &Member) -> Option<Service> {
    let serves = member
        .manifest
        .dependencies
        .keys()
        .any(|name| SERVERS.contains(&name.as_str()));
    let listens = |path: &str| {
        tree.text(path)
            .is_some_and(|text| text.contains("TcpListener"))
    };
    let binaries = binaries(tree, member);
    let default = member
        .manifest
        .package
        .as_ref()
        .and_then(|package| package.default_run.as_ref());
    let (binary, source) = binaries
        .iter()
        .find(|(name, _)| Some(name) == default)
        .or_else(|| binaries.iter().find(|(_, source)| listens(source)))
        .or_else(|| binaries.first().filter(|_| serves))?;
    if !serves && !listens(source) {
        return None;
    }
    let package = match member.folder.is_empty() {
        true => String::new(),
        false => format!(" --package {}", member.name),
    };
    let takes_option = tree
        .sources(&["rs"])
        .iter()
        .any(|(path, text)| path.starts_with(&member.folder) && OPTION.is_match(text));
    let uses_rocket = member.manifest.dependencies.contains_key("rocket");
    let program = format!("target/release/{binary}");
    let (start, port) = match (takes_option, uses_rocket) {
        (true, _) => (format!("{program} --port {{port}}"), Port::InStart),
        (_, true) => {
            let variable = Found::new("ROCKET_PORT".to_owned(), "rocket reads it");
            (program, Port::Variable(variable))
        }
        _ => (program, Port::Unknown),
    };
    // In a member of a workspace, and where the environment says so, cargo would build elsewhere.
    let build = format!("cargo build --release{package} --bin {binary} --target-dir target");
    Some(Service {
        build: Some(build),
        start: Found::new(start, source.clone()),
        port,
        ready: None,
        folder: member.folder.clone(),
    })
}

/// The package of the top, and of a workspace those below it, as far as they can be read.
fn members(tree: &Tree) -> Vec<Member> {
    let read = |path: &str| toml::from_str::<Manifest>(tree.text(path)?).ok();
    let Some(top) = read("Cargo.toml") else {
        return Vec::new();
    };
    let is_member = |folder: &str| match &top.workspace {
        None => folder.is_empty(),
        Some(workspace) => workspace.exclude.iter().all(|excluded| {
            let below = folder.strip_prefix(excluded.trim_matches('/'));
            !below.is_some_and(|below| below.starts_with('/'))
        }),
    };
    let manifests = tree.paths().into_iter().filter_map(|path| {
        let folder = path.strip_suffix("Cargo.toml")?;
        let is_whole_name = folder.is_empty() || folder.ends_with('/');
        (is_whole_name && is_member(folder)).then_some((path, folder))
    });
    let read = manifests.filter_map(|(path, folder)| {
        let manifest = read(path)?;
        let name = manifest.package.as_ref()?.name.clone();
        // Names stand in command lines as they are.
        is_plain(&name).then(|| Member {
            folder: folder.to_owned(),
            manifest,
            name,
        })
    });
    read.collect()
}

/// Whether a name is one for cargo, and nothing else for anybody.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "_-".contains(char))
}

/// The binaries of a package, by name, with their sources.
fn binaries(tree: &Tree, member: &Member) -> Vec<(String, String)> {
    let folder = &member.folder;
    let mut binaries = Vec::new();
    for bin in &member.manifest.bin {
        let path = match &bin.path {
            Some(path) => path.clone(),
            None if bin.name == member.name => "src/main.rs".to_owned(),
            None => format!("src/bin/{}.rs", bin.name),
        };
        binaries.push((bin.name.clone(), format!("{folder}{path}")));
    }
    let main = format!("{folder}src/main.rs");
    if tree.has(&main) && binaries.iter().all(|(_, path)| *path != main) {
        binaries.push((member.name.clone(), main));
    }
    let beside = format!("{folder}src/bin/");
    for path in tree.paths() {
        let name = path
            .strip_prefix(&beside)
            .and_then(|file| file.strip_suffix(".rs"));
        let name = name.map(|name| name.strip_suffix("/main").unwrap_or(name));
        if let Some(name) = name.filter(|name| !name.contains('/'))
            && binaries.iter().all(|(_, known)| known != path)
        {
            binaries.push((name.to_owned(), path.to_owned()));
        }
    }
    binaries.retain(|(name, _)| is_plain(name));
    binaries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: Option<(&str, &str)>) {
        let tree: Tree = files.iter().copied().collect();
        let found = service(&tree);
        let found = found.as_ref().map(|service| {
            (
                service.build.as_deref().unwrap_or_default(),
                service.start.value.as_str(),
            )
        });
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn the_binary_that_serves_is_built_and_started() {
        let shop = (
            "Cargo.toml",
            "[package]\nname = \"shop\"\n[dependencies]\naxum = \"0.8\"\n",
        );
        let built = "cargo build --release --bin shop --target-dir target";
        check(
            &[shop, ("src/main.rs", "fn main() {}")],
            Some((built, "target/release/shop")),
        );
        check(
            &[
                shop,
                (
                    "src/main.rs",
                    "#[derive(Parser)]\nstruct Args {\n  /// Port\n  #[arg(long, default_value_t = 3000)]\n  port: u16,\n}",
                ),
            ],
            Some((built, "target/release/shop --port {port}")),
        );
        check(
            &[
                shop,
                ("src/bin/tool.rs", ""),
                ("src/bin/server.rs", "TcpListener::bind(addr)"),
            ],
            Some((
                "cargo build --release --bin server --target-dir target",
                "target/release/server",
            )),
        );
        check(&[shop, ("src/lib.rs", "")], None);
        check(
            &[
                ("Cargo.toml", "[package]\nname = \"tool\"\n"),
                ("src/main.rs", "fn main() {}"),
            ],
            None,
        );
        check(
            &[
                ("Cargo.toml", "[package]\nname = \"plain\"\n"),
                ("src/main.rs", "TcpListener::bind(a)"),
            ],
            Some((
                "cargo build --release --bin plain --target-dir target",
                "target/release/plain",
            )),
        );
        check(
            &[
                ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\n"),
                ("crates/core/Cargo.toml", "[package]\nname = \"core\"\n"),
                (
                    "crates/api/Cargo.toml",
                    "[package]\nname = \"api\"\n[dependencies]\nactix-web = { version = \"4\" }\n",
                ),
                ("crates/api/src/main.rs", ""),
            ],
            Some((
                "cargo build --release --package api --bin api --target-dir target",
                "target/release/api",
            )),
        );
        // Packages that cargo doesn't know from the top.
        let tool = (
            "fuzz/Cargo.toml",
            "[package]\nname = \"tool\"\n[dependencies]\naxum = \"0.8\"\n",
        );
        let main = ("fuzz/src/main.rs", "");
        for top in [
            "[package]\nname = \"lib\"\n",
            "[workspace]\nmembers = [\"*\"]\nexclude = [\"fuzz\"]\n",
        ] {
            check(&[("Cargo.toml", top), tool, main], None);
        }
        check(
            &[("Cargo.toml", "not toml"), ("src/main.rs", "TcpListener")],
            None,
        );
        check(
            &[
                ("Cargo.toml", "[package]\nname = \"a\\nb; rm\"\n"),
                ("src/main.rs", "TcpListener"),
            ],
            None,
        );
    }

    #[test]
    fn benches_count_where_they_use_criterion() {
        let check = |files: &[(&str, &str)], expected: Option<(Option<&str>, &[&str])>| {
            let tree: Tree = files.iter().copied().collect();
            let found = benches(&tree);
            let found = found.as_ref().map(|(package, targets)| {
                (
                    package.as_deref(),
                    targets.iter().map(String::as_str).collect::<Vec<_>>(),
                )
            });
            let expected = expected.map(|(package, targets)| (package, targets.to_vec()));
            assert_eq!(found, expected, "{files:?}");
        };
        let text = "[package]\nname = \"lib\"\n[[bench]]\nname = \"parse\"\nharness = false\n[dev-dependencies]\n";
        let with = format!("{text}criterion = \"0.8\"\n");
        check(&[("Cargo.toml", &with)], Some((None, &["parse"])));
        let without = format!("{text}divan = \"0.1\"\n");
        check(&[("Cargo.toml", &without)], None);
        check(
            &[("Cargo.toml", "[workspace]\n"), ("a/Cargo.toml", &with)],
            Some((Some("lib"), &["parse"])),
        );
    }
}
