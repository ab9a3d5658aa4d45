//! `go.mod` and the program that serves.

use std::sync::LazyLock;

use regex::Regex;

use super::words::line;
use crate::harness::scaffold::facts::{Found, Port, Service};
use crate::harness::scaffold::text::name as as_name;
use crate::harness::scaffold::tree::Tree;

static FLAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"flag\.(Int|Uint|String)(?:Var)?\(\s*(?:&\w+\s*,\s*)?"(port|addr|listen|http|bind)"(?:\s*,\s*"([^"]*)")?"#,
    )
    .expect("BUG: a constant expression")
});

/// The last part of the module that is no version.
pub(super) fn name(tree: &Tree) -> Option<String> {
    let text = tree.text("go.mod")?;
    let module = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("module "))?;
    let is_version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|rest| rest.parse::<u32>().is_ok())
    };
    let part = module.trim().rsplit('/').find(|part| !is_version(part))?;
    as_name(part)
}

pub(super) fn service(tree: &Tree) -> Option<Service> {
    let module = name(tree)?;
    let (path, text) = program(tree)?;
    let folder = path.rsplit_once('/').map(|(folder, _)| folder);
    let program = folder.and_then(|folder| as_name(folder.rsplit('/').next()?));
    let program = program.unwrap_or(module);
    let package = folder.map_or_else(|| ".".to_owned(), |folder| format!("./{folder}"));
    let binary = format!(".plimsoll/bin/{program}");
    let build = line(&["go", "build", "-o", &binary, &package]);
    let flag = FLAG.captures(text);
    let (start, port) = match flag {
        Some(flag) => {
            let is_number = &flag[1] != "String"
                || flag
                    .get(3)
                    .is_some_and(|default| default.as_str().parse::<u16>().is_ok());
            let value = match is_number {
                true => "{port}",
                false => "127.0.0.1:{port}",
            };
            (format!("{binary} -{} {value}", &flag[2]), Port::InStart)
        }
        None => (binary, Port::Unknown),
    };
    Some(Service {
        build: Some(build),
        start: Found::new(start, path),
        port,
        ready: None,
        folder: String::new(),
    })
}

/// The program that listens: nearest to the top, one called as servers are before others.
fn program(tree: &Tree) -> Option<(&str, &str)> {
    let serves = |text: &str| {
        [
            "ListenAndServe",
            ".Run(",
            ".Listen(",
            ".Start(",
            "net/http",
            "\"net\"",
        ]
        .iter()
        .any(|sign| text.contains(sign))
    };
    let sources = tree.sources(&["go"]);
    let mut programs: Vec<_> = sources
        .into_iter()
        .filter(|(_, text)| text.contains("package main") && text.contains("func main("))
        .collect();
    programs.sort_by_key(|(path, text)| {
        let is_server = ["server", "api", "web"]
            .iter()
            .any(|word| path.contains(word));
        (!serves(text), path.matches('/').count() > 0 && !is_server)
    });
    programs.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: Option<(&str, &str, bool)>) {
        let tree: Tree = files.iter().copied().collect();
        let found = service(&tree);
        let found = found.as_ref().map(|service| {
            let build = service.build.as_deref().unwrap_or_default();
            (
                build,
                service.start.value.as_str(),
                service.port == Port::InStart,
            )
        });
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn the_program_that_listens_is_built_and_started() {
        let module = ("go.mod", "module github.com/acme/shop/v2\n\ngo 1.24\n");
        let main = "package main\nfunc main() { http.ListenAndServe(addr, nil) }";
        check(
            &[module, ("main.go", main)],
            Some((
                "go build -o .plimsoll/bin/shop .",
                ".plimsoll/bin/shop",
                false,
            )),
        );
        check(
            &[
                module,
                ("cmd/migrate/main.go", "package main\nfunc main() {}"),
                ("cmd/server/main.go", main),
            ],
            Some((
                "go build -o .plimsoll/bin/server ./cmd/server",
                ".plimsoll/bin/server",
                false,
            )),
        );
        let with = |flag: &str| {
            format!(
                "package main\nvar a = {flag}\nfunc main() {{ http.ListenAndServe(\"\", nil) }}"
            )
        };
        let port = with("flag.Int(\"port\", 8080, \"\")");
        check(
            &[module, ("main.go", &port)],
            Some((
                "go build -o .plimsoll/bin/shop .",
                ".plimsoll/bin/shop -port {port}",
                true,
            )),
        );
        let addr = with("flag.String(\"addr\", \":8080\", \"\")");
        check(
            &[module, ("main.go", &addr)],
            Some((
                "go build -o .plimsoll/bin/shop .",
                ".plimsoll/bin/shop -addr 127.0.0.1:{port}",
                true,
            )),
        );
        check(&[module, ("lib.go", "package shop")], None);
        check(&[("main.go", main)], None);
    }
}
