//! `package.json`: its scripts and its package manager.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::words::{line, with_port, words};
use crate::harness::scaffold::facts::{Found, Port, Service};
use crate::harness::scaffold::tree::Tree;

/// Where the server is that no script starts.
const ENTRIES: [&str; 10] = [
    "server.js",
    "app.js",
    "index.js",
    "main.js",
    "server.mjs",
    "index.mjs",
    "src/server.js",
    "src/app.js",
    "src/index.js",
    "bin/www",
];

/// The part of a `package.json` that is read here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Package {
    name: Option<String>,
    main: Option<String>,
    scripts: BTreeMap<String, String>,
    dependencies: BTreeMap<String, IgnoredAny>,
    dev_dependencies: BTreeMap<String, IgnoredAny>,
    package_manager: Option<String>,
}

pub(super) fn name(tree: &Tree) -> Option<String> {
    // Of `@acme/shop` the last part is the name.
    let name = package(tree)?.name?;
    Some(name.rsplit('/').next().unwrap_or_default().to_owned())
}

pub(super) fn service(tree: &Tree) -> Option<Service> {
    let package = package(tree)?;
    let manager = Manager::of(tree, &package);
    let (start, from, is_told) = match package.scripts.get("start") {
        Some(script) => {
            // Without the package manager in between: it would be what is measured and stopped as well.
            let direct =
                words(script).filter(|words| words.first().is_some_and(|word| word == "node"));
            let (start, is_told) = match direct {
                Some(words) => {
                    let (words, is_told) = with_port(words);
                    (line(&words), is_told)
                }
                None => (manager.run("start"), false),
            };
            (start, "package.json, scripts.start".to_owned(), is_told)
        }
        None => {
            let listens =
                |path: &&str| tree.text(path).is_some_and(|text| text.contains("listen("));
            let main = package
                .main
                .as_deref()
                .map(|main| main.trim_start_matches("./"));
            let entry = main.into_iter().chain(ENTRIES).find(listens)?;
            (line(&["node", entry]), entry.to_owned(), false)
        }
    };
    Some(Service {
        build: build(&package, &manager),
        start: Found::new(start, from),
        port: match is_told {
            true => Port::InStart,
            false => Port::Unknown,
        },
        ready: None,
        folder: String::new(),
    })
}

fn build(package: &Package, manager: &Manager) -> Option<String> {
    let needs = !package.dependencies.is_empty() || !package.dev_dependencies.is_empty();
    let install = needs.then(|| manager.install().to_owned());
    let build = package
        .scripts
        .contains_key("build")
        .then(|| manager.run("build"));
    match (install, build) {
        (Some(install), Some(build)) => Some(format!("sh -c '{install} && {build}'")),
        (install, build) => install.or(build),
    }
}

fn package(tree: &Tree) -> Option<Package> {
    serde_json::from_str(tree.text("package.json")?).ok()
}

/// What installs packages and runs scripts.
enum Manager {
    Npm { is_locked: bool },
    Yarn { is_classic: bool },
    Pnpm,
    Bun,
}

impl Manager {
    fn of(tree: &Tree, package: &Package) -> Self {
        let named = package.package_manager.as_deref().unwrap_or_default();
        let is = |name: &str, lock: &str| {
            named.starts_with(name) || (named.is_empty() && tree.has(lock))
        };
        match () {
            () if is("pnpm@", "pnpm-lock.yaml") => Self::Pnpm,
            () if is("bun@", "bun.lock") || is("bun@", "bun.lockb") => Self::Bun,
            () if is("yarn@", "yarn.lock") => {
                // Later versions have a file of settings, and a lock that begins with a block of that name.
                let lock = tree.text("yarn.lock").unwrap_or_default();
                let is_later = tree.has(".yarnrc.yml") || lock.contains("__metadata:");
                let is_classic = named.starts_with("yarn@1") || (named.is_empty() && !is_later);
                Self::Yarn { is_classic }
            }
            () => Self::Npm {
                is_locked: tree.has("package-lock.json"),
            },
        }
    }

    fn install(&self) -> &'static str {
        match self {
            Self::Npm { is_locked: true } => "npm ci",
            Self::Npm { is_locked: false } => "npm install",
            Self::Yarn { is_classic: true } => "yarn install --frozen-lockfile",
            Self::Yarn { is_classic: false } => "yarn install --immutable",
            Self::Pnpm => "pnpm install --frozen-lockfile",
            Self::Bun => "bun install --frozen-lockfile",
        }
    }

    fn run(&self, script: &str) -> String {
        let manager = match self {
            Self::Npm { .. } => "npm",
            Self::Yarn { .. } => "yarn",
            Self::Pnpm => "pnpm",
            Self::Bun => "bun",
        };
        format!("{manager} run {script}")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: Option<(&str, Option<&str>)>) {
        let tree: Tree = files.iter().copied().collect();
        let found = service(&tree);
        let found = found
            .as_ref()
            .map(|service| (service.start.value.as_str(), service.build.as_deref()));
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn the_script_that_starts_is_called_directly_where_it_can() {
        check(
            &[(
                "package.json",
                r#"{"scripts": {"start": "node server.js"}}"#,
            )],
            Some(("node server.js", None)),
        );
        check(
            &[(
                "package.json",
                r#"{"scripts": {"start": "node --enable-source-maps dist/a.js -p 3000"}}"#,
            )],
            Some(("node --enable-source-maps dist/a.js -p {port}", None)),
        );
        check(
            &[
                (
                    "package.json",
                    r#"{"scripts": {"start": "NODE_ENV=production node a.js"}, "dependencies": {"express": "^5"}}"#,
                ),
                ("package-lock.json", ""),
            ],
            Some(("npm run start", Some("npm ci"))),
        );
        check(
            &[
                (
                    "package.json",
                    r#"{"scripts": {"start": "next start", "build": "next build"}, "dependencies": {"next": "15"}}"#,
                ),
                ("pnpm-lock.yaml", ""),
            ],
            Some((
                "pnpm run start",
                Some("sh -c 'pnpm install --frozen-lockfile && pnpm run build'"),
            )),
        );
        check(
            &[
                (
                    "package.json",
                    r#"{"packageManager": "yarn@4.1.0", "scripts": {"start": "nest start"}, "devDependencies": {"x": "1"}}"#,
                ),
                ("yarn.lock", "__metadata:\n"),
            ],
            Some(("yarn run start", Some("yarn install --immutable"))),
        );
    }

    #[test]
    fn without_a_script_it_is_what_listens() {
        check(
            &[
                ("package.json", r#"{"main": "./lib/http.js"}"#),
                ("lib/http.js", "s.listen(1)"),
            ],
            Some(("node lib/http.js", None)),
        );
        check(
            &[("package.json", "{}"), ("src/server.js", "s.listen(1)")],
            Some(("node src/server.js", None)),
        );
        check(
            &[
                ("package.json", r#"{"main": "index.js"}"#),
                ("index.js", "module.exports = 1"),
            ],
            None,
        );
        check(&[("package.json", "not json")], None);
        check(&[("package.json", "[]")], None);
        let tree: Tree = [("package.json", r#"{"name": "@acme/shop"}"#)]
            .into_iter()
            .collect();
        assert_eq!(name(&tree).unwrap(), "shop");
    }

    #[test]
    fn a_script_of_others_opens_no_value() {
        check(
            &[(
                "package.json",
                r#"{"scripts": {"start": "node server.js --opts '{x}'"}}"#,
            )],
            Some(("node server.js --opts {{x}", None)),
        );
    }
}
