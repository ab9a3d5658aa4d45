//! The templates of processes, filled in.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::scenario::{CommandPlan, Part, Template};

/// What a template of a process can mention.
#[derive(Clone, Copy)]
pub(super) struct Values<'run> {
    /// The process's own port and folder; a build has none.
    pub(super) own: Option<(u16, &'run Path)>,
    /// The ports of the processes of the run by name.
    pub(super) ports: &'run BTreeMap<String, u16>,
    /// The values of `{$env.NAME}` by name.
    pub(super) secrets: &'run BTreeMap<String, String>,
}

impl Values<'_> {
    /// The text of a template.
    ///
    /// # Errors
    /// What it mentions and nobody knows, as the user wrote it.
    pub(super) fn fill(&self, template: &Template) -> Result<String, String> {
        let pieces = template.parts.iter();
        pieces
            .map(|part| self.value(part).ok_or_else(|| as_written(part)))
            .collect()
    }

    /// The words of a command; the program first.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub(super) fn command(&self, command: &CommandPlan) -> Result<Vec<String>, String> {
        command.words.iter().map(|word| self.fill(word)).collect()
    }

    fn value(&self, part: &Part) -> Option<String> {
        let port_of = |name: &String| self.ports.get(name).copied();
        match part {
            Part::Text(text) => Some(text.clone()),
            Part::OwnPort => self.own.map(|(port, _)| port.to_string()),
            Part::OwnDir => self.own.map(|(_, dir)| dir.display().to_string()),
            Part::PortOf(name) => port_of(name).map(|port| port.to_string()),
            Part::UrlOf(name) => port_of(name).map(|port| format!("http://127.0.0.1:{port}")),
            Part::Env(name) => self.secrets.get(name).cloned(),
            // These belong to an iteration of a flow.
            Part::Feed { .. }
            | Part::Extracted(_)
            | Part::Setup(_)
            | Part::Uuid
            | Part::Counter
            | Part::Random { .. }
            | Part::Now => None,
        }
    }
}

/// A command as the user wrote it, for messages: secrets stay what they are called.
pub(super) fn command_as_written(command: &CommandPlan) -> String {
    let words: Vec<String> = command
        .words
        .iter()
        .map(|word| {
            let word: String = word.parts.iter().map(as_written).collect();
            // Only where it takes quotes to see the word: `{port}` needs none.
            match word.is_empty() || word.contains(|c: char| c.is_whitespace() || "'\"".contains(c))
            {
                true => shell_words::quote(&word).into_owned(),
                false => word,
            }
        })
        .collect();
    words.join(" ")
}

fn as_written(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::OwnPort => "{port}".to_owned(),
        Part::OwnDir => "{dir}".to_owned(),
        Part::PortOf(name) => format!("{{{name}.port}}"),
        Part::UrlOf(name) => format!("{{{name}.url}}"),
        Part::Env(name) => format!("{{$env.{name}}}"),
        Part::Feed { feed, column } => format!("{{{feed}.{column}}}"),
        Part::Extracted(name) => format!("{{{name}}}"),
        Part::Setup(name) => format!("{{setup.{name}}}"),
        Part::Uuid => "{$uuid}".to_owned(),
        Part::Counter => "{$counter}".to_owned(),
        Part::Random { low, high } => format!("{{$random({low},{high})}}"),
        Part::Now => "{$now}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: Vec<Part>, expected: Result<&str, &str>) {
        let values = Values {
            own: Some((4000, Path::new("/tmp/own"))),
            ports: &BTreeMap::from([("db".to_owned(), 5000)]),
            secrets: &BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
        };
        let filled = values.fill(&Template { parts });
        assert_eq!(filled.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn every_value_is_filled_in_and_an_unknown_one_is_named() {
        let name = |name: &str| name.to_owned();
        check(vec![], Ok(""));
        check(
            vec![Part::Text(name("--port=")), Part::OwnPort],
            Ok("--port=4000"),
        );
        check(vec![Part::OwnDir, Part::Text(name("/x"))], Ok("/tmp/own/x"));
        check(vec![Part::PortOf(name("db"))], Ok("5000"));
        check(vec![Part::UrlOf(name("db"))], Ok("http://127.0.0.1:5000"));
        check(vec![Part::Env(name("TOKEN"))], Ok("hunter2"));
        check(vec![Part::PortOf(name("cache"))], Err("{cache.port}"));
        check(vec![Part::Env(name("NONE"))], Err("{$env.NONE}"));
        check(vec![Part::Counter], Err("{$counter}"));
    }

    #[test]
    fn a_command_is_shown_without_its_secrets() {
        let command = CommandPlan {
            words: vec![
                Template::literal("my server"),
                Template {
                    parts: vec![Part::Text("--key=".into()), Part::Env("TOKEN".into())],
                },
            ],
        };
        assert_eq!(
            command_as_written(&command),
            "'my server' --key={$env.TOKEN}"
        );
    }
}
