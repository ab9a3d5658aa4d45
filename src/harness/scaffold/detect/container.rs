//! What a Dockerfile and a Procfile say.

use std::sync::LazyLock;

use regex::Regex;

use super::words::{line, with_port, words};
use crate::harness::scaffold::facts::{Found, Port, Service};
use crate::harness::scaffold::tree::Tree;

static EXPOSE: LazyLock<Regex> = LazyLock::new(|| expression(r"(?mi)^\s*EXPOSE\s+(\d{1,5})\b"));
static ENV: LazyLock<Regex> =
    LazyLock::new(|| expression(r"(?mi)^\s*ENV\s+(?:\S+=\S+\s+)*PORT[=\s]\s*\d"));
static WEB: LazyLock<Regex> = LazyLock::new(|| expression(r"(?m)^web:[ \t]*(.+)$"));

/// The port that the last stage of a Dockerfile shows.
pub(super) fn exposed(tree: &Tree) -> Option<Found<u16>> {
    let (file, text) = dockerfile(tree)?;
    let ports = EXPOSE.captures_iter(text);
    let port = ports.filter_map(|found| found[1].parse().ok()).last()?;
    Some(Found::new(port, file))
}

/// `PORT`, where a Dockerfile gives it a value.
pub(super) fn port_variable(tree: &Tree) -> Option<Found<String>> {
    let (file, text) = dockerfile(tree)?;
    ENV.is_match(text)
        .then(|| Found::new("PORT".to_owned(), file))
}

/// The web process of a Procfile, which is told its port by `PORT`.
pub(super) fn procfile(tree: &Tree) -> Option<Service> {
    let web = WEB.captures(tree.text("Procfile")?)?;
    let with_value = web[1].trim().replace("${PORT}", "$PORT");
    let plain = with_value.replace("$PORT", "80");
    let (words, told) = with_port(words(&plain)?);
    Some(Service {
        build: None,
        start: Found::new(line(&words), "Procfile"),
        port: match told {
            true => Port::InStart,
            false => Port::Variable(Found::new("PORT".to_owned(), "Procfile")),
        },
        ready: None,
        folder: String::new(),
    })
}

fn dockerfile(tree: &Tree) -> Option<(&'static str, &str)> {
    let file = tree.first(&["Dockerfile", "Containerfile"])?;
    Some((file, tree.text(file)?))
}

fn expression(pattern: &str) -> Regex {
    Regex::new(pattern).expect("BUG: a constant expression")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_shows_a_port() {
        let check = |text: &str, port: Option<u16>, variable: bool| {
            let tree: Tree = [("Dockerfile", text)].into_iter().collect();
            assert_eq!(exposed(&tree).map(|found| found.value), port, "{text}");
            assert_eq!(port_variable(&tree).is_some(), variable, "{text}");
        };
        check("FROM node\nEXPOSE 3000/tcp\n", Some(3000), false);
        check(
            "FROM a\nEXPOSE 1\nFROM b\n  expose 8080\n",
            Some(8080),
            false,
        );
        check(
            "ENV NODE_ENV=production PORT=8080\nEXPOSE $PORT",
            None,
            true,
        );
        check("ENV PORT 8080", None, true);
        check("ENV DB_PORT=5432", None, false);
        check("# EXPOSE 80", None, false);
        check("EXPOSE 99999", None, false);
        check("", None, false);
    }

    #[test]
    fn a_procfile_starts_the_web() {
        let check = |text: &str, expected: Option<(&str, bool)>| {
            let tree: Tree = [("Procfile", text)].into_iter().collect();
            let found = procfile(&tree);
            let found = found
                .as_ref()
                .map(|service| (service.start.value.as_str(), service.port == Port::InStart));
            assert_eq!(found, expected, "{text}");
        };
        check("web: node server.js\n", Some(("node server.js", false)));
        check(
            "worker: x\nweb: uvicorn app:app --port $PORT",
            Some(("uvicorn app:app --port {port}", true)),
        );
        check(
            "web: gunicorn -b :$PORT app:app",
            Some(("gunicorn -b 127.0.0.1:{port} app:app", true)),
        );
        check("web: a && b", None);
        check("release: x", None);
    }
}
