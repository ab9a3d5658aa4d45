//! Command lines of others as those of a scenario.

use crate::harness::scaffold::text::Template;

/// A command line as words, where it is one that needs no shell.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    // Of what a shell would do here, nothing happens.
    let needs_shell = line.contains(['&', '|', ';', '<', '>', '$', '`', '*', '(', ')', '~']);
    let words = shell_words::split(line).ok()?;
    let assigns = words.first().is_none_or(|word| word.contains('='));
    (!needs_shell && !assigns).then_some(words)
}

/// Words with `{port}` in the place of a port that an option gives, and whether there was one.
pub(super) fn with_port(words: Vec<String>) -> (Vec<String>, bool) {
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
pub(super) fn line<W: AsRef<str>>(words: &[W]) -> String {
    let joined = shell_words::join(words);
    let pieces = joined.split("{port}").map(Template::literal);
    let pieces: Vec<String> = pieces.map(|piece| piece.as_str().to_owned()).collect();
    pieces.join("{port}")
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
}
