//! Where the loads are sent: to a process that is started, or to a server that is there.

use url::{Host, Url};

use super::{Draft, Wishes};
use crate::harness::scaffold::error::ScaffoldError;
use crate::harness::scaffold::facts::{Facts, Port};
use crate::harness::scaffold::render::Target;
use crate::harness::scaffold::sketch::{Flow, Imported};
use crate::harness::scaffold::text::shown;

/// The variable that most services are told their port by.
const USUAL_VARIABLE: &str = "PORT";

/// Where the loads are sent, by what was wished before what was found.
pub(super) fn of(
    facts: &Facts,
    wishes: &Wishes,
    imported: Option<&Imported>,
    draft: &mut Draft,
) -> Result<Target, ScaffoldError> {
    if let Some(url) = &wishes.url {
        let url = checked_url(url)?;
        let found = ("server", url.clone(), "--url".to_owned());
        draft.found.insert(0, found);
        return Ok(Target::Url(url));
    }
    if let Some(start) = &wishes.start {
        draft
            .found
            .insert(0, ("service", start.clone(), "--start".to_owned()));
        let (start, variable) = told(start.clone(), facts, wishes, draft)?;
        return Ok(Target::Process {
            // What builds the one that was found builds this one too.
            build: build(facts, draft),
            start,
            variable,
            ready: ready(facts, draft),
        });
    }
    if let Some(service) = &facts.service {
        draft.found.insert(
            0,
            (
                "service",
                service.start.value.clone(),
                service.start.from.clone(),
            ),
        );
        if let (Port::Fixed(port), None) = (&service.port, &wishes.port) {
            draft.found.push((
                "port",
                port.value.to_string(),
                format!("{}, always", port.from),
            ));
            draft.notes.push(format!(
                "it always listens on port {}, so Plimsoll can't start it on a port of its own: start it before a run. To be gated \
                 it has to be told its port, such as by {USUAL_VARIABLE}",
                port.value
            ));
            return Ok(Target::Url(format!("http://127.0.0.1:{}", port.value)));
        }
        let (start, variable) = told(service.start.value.clone(), facts, wishes, draft)?;
        return Ok(Target::Process {
            build: build(facts, draft),
            start,
            variable,
            ready: ready(facts, draft),
        });
    }
    if let Some(server) = imported.and_then(|imported| imported.server.as_ref()) {
        let url = checked_url(server)?;
        draft
            .found
            .push(("server", url.clone(), "the document".to_owned()));
        if !is_here(&url) {
            draft.notes.push(format!(
                "`plimsoll run` will load {url}, which the document names: be sure that you may, or name another by --url"
            ));
        }
        return Ok(Target::Url(url));
    }
    if !facts.benches.is_empty() && imported.is_none() {
        return Ok(Target::Nothing);
    }
    Err(ScaffoldError::NoTarget {
        reasons: facts.notes.clone(),
    })
}

/// The start command and the variable that tells it its port, if one does.
fn told(
    start: String,
    facts: &Facts,
    wishes: &Wishes,
    draft: &mut Draft,
) -> Result<(String, Option<String>), ScaffoldError> {
    if let Some(wish) = &wishes.port {
        if let Ok(number) = wish.parse::<u16>() {
            let changed = with_value(&start, number);
            return match changed == start && !start.contains("{port}") {
                true => Err(ScaffoldError::NoPort(shown(&start))),
                false => Ok((changed, None)),
            };
        }
        let is_variable = !wish.is_empty()
            && !wish.starts_with(|char: char| char.is_ascii_digit())
            && wish
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || char == '_');
        return match is_variable {
            true => Ok((start, Some(wish.clone()))),
            false => Err(ScaffoldError::wish(
                "--port",
                wish,
                "it is neither a port nor the name of a variable",
            )),
        };
    }
    if start.contains("{port}") {
        return Ok((start, None));
    }
    let port = facts.service.as_ref().map(|service| &service.port);
    let (variable, from) = match port {
        Some(Port::Variable(found)) => (found.value.clone(), found.from.clone()),
        _ => {
            let shown = facts.exposed.as_ref().map_or_else(String::new, |found| {
                format!(" ({} shows {})", found.from, found.value)
            });
            draft.notes.push(format!(
                "nothing says how the service is told its port{shown}; that it reads {USUAL_VARIABLE} is a guess, and --port names \
                 another variable"
            ));
            (USUAL_VARIABLE.to_owned(), "a guess".to_owned())
        }
    };
    draft
        .found
        .push(("port", format!("the variable {variable}"), from));
    Ok((start, Some(variable)))
}

/// A command line with `{port}` in the place of a number that stands there as a word of its own.
fn with_value(start: &str, port: u16) -> String {
    let number = port.to_string();
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '.';
    let mut changed = String::new();
    let mut rest = 0;
    for (at, number) in start.match_indices(&number) {
        let (front, behind) = (&start[..at], &start[at + number.len()..]);
        if !front.ends_with(is_part) && !behind.starts_with(is_part) {
            changed.push_str(&start[rest..at]);
            changed.push_str("{port}");
            rest = at + number.len();
        }
    }
    changed.push_str(&start[rest..]);
    changed
}

fn build(facts: &Facts, draft: &mut Draft) -> Option<String> {
    let service = facts.service.as_ref()?;
    let build = service.build.clone()?;
    let found = ("build", build.clone(), service.start.from.clone());
    draft.found.insert(1, found);
    Some(build)
}

fn ready(facts: &Facts, draft: &mut Draft) -> Option<String> {
    let of_framework = facts
        .service
        .as_ref()
        .and_then(|service| service.ready.clone());
    let (ready, from) = match (of_framework, &facts.health) {
        (Some(ready), _) => (ready, "its framework".to_owned()),
        (None, Some(found)) => (found.value.clone(), found.from.clone()),
        (None, None) => return None,
    };
    draft.found.push(("ready", ready.clone(), from));
    Some(ready)
}

fn checked_url(text: &str) -> Result<String, ScaffoldError> {
    let wrong = |reason: &str| Err(ScaffoldError::wish("--url", text, reason));
    let Ok(url) = Url::parse(text) else {
        return wrong("it is no URL");
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return wrong("only http and https are spoken");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("it holds a user or a password, which would be written down");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("it holds a query or a fragment");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a server is on this machine.
pub(super) fn is_here(url: &str) -> bool {
    let host = Url::parse(url)
        .ok()
        .and_then(|url| url.host().map(|host| host.to_owned()));
    match host {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A URL whose path stands in front of every request's already is without it.
pub(super) fn without_base(target: Target, flows: &[Flow]) -> Target {
    let Target::Url(url) = &target else {
        return target;
    };
    let Ok(parsed) = Url::parse(url) else {
        return target;
    };
    let base = format!("{}/", parsed.path().trim_end_matches('/'));
    let mut steps = flows.iter().flat_map(|flow| &flow.steps);
    match base != "/" && steps.all(|step| step.path.as_str().starts_with(&base)) {
        true => Target::Url(parsed.origin().ascii_serialization()),
        false => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_word_of_its_own() {
        let check = |start: &str, expected: &str| {
            assert_eq!(with_value(start, 8080), expected, "{start}");
        };
        check("a --port 8080", "a --port {port}");
        check("a :8080 --x=8080", "a :{port} --x={port}");
        check(
            "a 18080 8080.5 80808080 x8080",
            "a 18080 8080.5 80808080 x8080",
        );
        check("a", "a");
    }
}
