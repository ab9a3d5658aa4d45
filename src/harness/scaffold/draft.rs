//! What `plimsoll init` will write and say, from what was found and what was wished.

use std::collections::BTreeSet;

use url::{Host, Url};

use super::error::ScaffoldError;
use super::facts::{Facts, Port};
use super::files;
use super::har::read_har;
use super::openapi::read_openapi;
use super::render::{self, Scenario, Target};
use super::sketch::{Course, Flow, Imported, Method, Step, request_name};
use super::text::{self, NAME_CHARS, Template, shown};
use crate::harness::scenario::rate_per_s;

/// Requests per second of a first scenario, all loads together.
const REQUESTS_PER_S: f64 = 100.0;
/// The same of a server that is not on this machine, and maybe somebody else's.
const REQUESTS_PER_S_ELSEWHERE: f64 = 20.0;
const MAX_RATE_PER_S: f64 = 100_000.0;
/// The variable that most services are told their port by.
const USUAL_VARIABLE: &str = "PORT";

/// What a call asks for; what it doesn't, is found or decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The scenario's name.
    pub name: Option<String>,
    /// A server that is there already.
    pub url: Option<String>,
    /// The command that starts the service.
    pub start: Option<String>,
    /// A variable's name, or the port that stands in the command.
    pub port: Option<String>,
    /// The path that is asked for.
    pub path: Option<String>,
    /// Iterations of each load per time.
    pub rate: Option<String>,
    /// Whether operations that write are taken.
    pub writes: bool,
    /// Whether scripts, styles and pictures of a recording are taken.
    pub assets: bool,
}

/// Where the files will be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The name of the folder.
    pub folder: String,
    /// The folder below the top of its git repository, without `/` around it; empty at the top.
    pub below: String,
    /// Whether Plimsoll takes the folder for the root of a project already.
    pub is_root: bool,
}

/// A document from which flows are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The file, as it is shown.
    pub path: String,
    /// What it holds.
    pub text: String,
    /// Whether it is a HAR file, and not OpenAPI.
    pub is_har: bool,
    /// Whether the call named it: one that was found is passed over where it can't be used.
    pub is_named: bool,
}

/// A file that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the folder, or to the top of the repository.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Whether the path is relative to the top of the repository.
    pub is_at_top: bool,
}

/// What will be written, and what there is to say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The scenario's file.
    pub scenario: String,
    /// All files, the scenario first and its feed behind it.
    pub files: Vec<File>,
    /// How many of them are of no use without the scenario: itself and its feed.
    pub together: usize,
    /// What was found: what it is about, what, and where.
    pub found: Vec<(&'static str, String, String)>,
    /// What has to be known.
    pub notes: Vec<String>,
    /// What to do next: what for, and the line.
    pub next: Vec<(String, String)>,
    /// A job for GitLab, where the project's pipelines run there.
    pub gitlab: Option<String>,
}

/// Puts together what will be written.
///
/// # Errors
/// Where nothing says what to drive, or something that was asked for can't be done.
pub fn draft(
    facts: &Facts,
    wishes: &Wishes,
    place: &Place,
    document: Option<&Document>,
) -> Result<Draft, ScaffoldError> {
    let name = name(facts, wishes, place)?;
    let mut draft = Draft {
        scenario: format!("scenarios/{name}.toml"),
        notes: facts.notes.clone(),
        ..Draft::default()
    };
    let imported = import(document, &name, wishes, &mut draft)?;
    let origin = document
        .filter(|_| imported.is_some())
        .map(|document| document.path.as_str());
    let target = target(facts, wishes, imported.as_ref(), &mut draft)?;
    let mut of_document = imported.unwrap_or_default();
    let mut flows = std::mem::take(&mut of_document.flows);
    if flows.is_empty() && target != Target::Nothing {
        flows.push(only_flow(facts, wishes, &mut draft)?);
    }
    if target == Target::Nothing {
        flows.clear();
    }
    let target = without_base(target, &flows);
    let rates_per_s = rates(wishes, &flows, &target)?;
    if !facts.benches.is_empty() {
        let from = "Cargo.toml, dev-dependencies".to_owned();
        draft
            .found
            .push(("benches", facts.benches.join(", "), from));
    }
    let scenario = Scenario {
        name: &name,
        origin: render::origin(origin),
        target,
        flows: &flows,
        columns: &of_document.columns,
        rates_per_s,
        benches: &facts.benches,
        package: facts.package.as_deref(),
    };
    files_of(&scenario, place, facts, &of_document, &mut draft);
    next_of(&scenario, facts, &of_document, &mut draft);
    Ok(draft)
}

fn name(facts: &Facts, wishes: &Wishes, place: &Place) -> Result<String, ScaffoldError> {
    if let Some(name) = &wishes.name {
        let is_name = !name.is_empty()
            && name.len() <= NAME_CHARS
            && name.starts_with(|char: char| char.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "_-".contains(char));
        return match is_name {
            true => Ok(name.clone()),
            false => Err(ScaffoldError::wish(
                "--name",
                name,
                "it is no name of a scenario",
            )),
        };
    }
    let found = facts.name.as_deref().and_then(text::name);
    Ok(found
        .or_else(|| text::name(&place.folder))
        .unwrap_or_else(|| "service".to_owned()))
}

/// The flows of the document. One that nobody named is passed over where it can't be used.
fn import(
    document: Option<&Document>,
    name: &str,
    wishes: &Wishes,
    draft: &mut Draft,
) -> Result<Option<Imported>, ScaffoldError> {
    let Some(document) = document else {
        return Ok(None);
    };
    let read = match document.is_har {
        true => read_har(&document.text, name, wishes.writes, wishes.assets),
        false => read_openapi(&document.text, name, wishes.writes),
    };
    match read {
        Ok(imported) => {
            let requests = imported.requests();
            let what = match (document.is_har, requests, imported.flows.len()) {
                (false, 1, _) => "1 operation".to_owned(),
                (false, n, _) => format!("{n} operations"),
                (true, n, 1) => format!("{n} requests"),
                (true, n, pages) => format!("{n} requests of {pages} pages"),
            };
            draft.found.push(("requests", what, document.path.clone()));
            draft.notes.extend(imported.notes.iter().cloned());
            Ok(Some(imported))
        }
        Err(error) if document.is_named => Err(error),
        Err(error) => {
            draft.notes.push(format!(
                "{} was passed over: {error}",
                shown(&document.path)
            ));
            Ok(None)
        }
    }
}

fn target(
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
    let mut changed = String::new();
    let mut rest = start;
    while let Some(at) = rest.find(&number) {
        let behind = &rest[at + number.len()..];
        let is_part = |char: Option<char>| {
            char.is_some_and(|char| char.is_ascii_alphanumeric() || char == '.')
        };
        let is_word = !is_part(rest[..at].chars().next_back()) && !is_part(behind.chars().next());
        changed.push_str(&rest[..at]);
        changed.push_str(if is_word { "{port}" } else { &number });
        rest = behind;
    }
    changed.push_str(rest);
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
fn is_here(url: &str) -> bool {
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
fn without_base(target: Target, flows: &[Flow]) -> Target {
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

/// A flow of one GET.
fn only_flow(facts: &Facts, wishes: &Wishes, draft: &mut Draft) -> Result<Flow, ScaffoldError> {
    let (path, from) = match (&wishes.path, &facts.path) {
        (Some(path), _) if !path.starts_with('/') => {
            return Err(ScaffoldError::wish(
                "--path",
                path,
                "it doesn't begin with `/`",
            ));
        }
        (Some(path), _) => (path.clone(), "--path".to_owned()),
        (None, Some(found)) => (found.value.clone(), found.from.clone()),
        (None, None) => {
            draft.notes.push("no document says what the service answers: `/` is a guess, and --path names another path".to_owned());
            ("/".to_owned(), "a guess".to_owned())
        }
    };
    draft.found.push(("requests", format!("GET {path}"), from));
    let plain = path.split('?').next().unwrap_or_default();
    let written = Template::literal(&path);
    Ok(Flow {
        name: text::name(plain).unwrap_or_else(|| "home".to_owned()),
        about: "What a user does: one request. More steps, checks and feeds of values can follow."
            .to_owned(),
        course: Course::InOrder,
        steps: vec![Step {
            method: Method::Get,
            name: request_name(Method::Get, plain, &written),
            path: written,
            headers: Vec::new(),
            auth: None,
            body: None,
            status: Vec::new(),
            think_ms: 0,
        }],
    })
}

/// Iterations per second of each flow's load.
fn rates(wishes: &Wishes, flows: &[Flow], target: &Target) -> Result<Vec<f64>, ScaffoldError> {
    if let Some(wish) = &wishes.rate {
        let rate =
            rate_per_s(wish).map_err(|expected| ScaffoldError::wish("--rate", wish, expected))?;
        return match rate > 1.0 / 3700.0 && rate <= MAX_RATE_PER_S {
            true => Ok(vec![rate; flows.len()]),
            false => Err(ScaffoldError::wish(
                "--rate",
                wish,
                "a rate is between 1/h and 100000/s",
            )),
        };
    }
    let is_elsewhere = matches!(target, Target::Url(url) if !is_here(url));
    let all = match is_elsewhere {
        true => REQUESTS_PER_S_ELSEWHERE,
        false => REQUESTS_PER_S,
    };
    let rate = |flow: &Flow| {
        let rate = all / flows.len() as f64 / flow.requests() as f64;
        match rate >= 1.0 {
            true => rate.floor(),
            false => (rate * 60.0).floor().max(1.0) / 60.0,
        }
    };
    Ok(flows.iter().map(rate).collect())
}

fn files_of(
    scenario: &Scenario<'_>,
    place: &Place,
    facts: &Facts,
    imported: &Imported,
    draft: &mut Draft,
) {
    let here = |path: &str, text: String| File {
        path: path.to_owned(),
        text,
        is_at_top: false,
    };
    let mut files = vec![here(&draft.scenario, scenario.text())];
    if !imported.columns.is_empty() {
        let names: Vec<&str> = imported
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        let row: Vec<String> = imported
            .columns
            .iter()
            .map(
                |column| match column.placeholder.contains([',', '"', '\'']) {
                    true => "1".to_owned(),
                    false => column.placeholder.clone(),
                },
            )
            .collect();
        let text = format!("{}\n{}\n", names.join(","), row.join(","));
        files.push(here(&format!("scenarios/{}", scenario.feed_file()), text));
    }
    draft.together = files.len();
    if !place.is_root {
        files.push(here(files::ROOT_MARK, files::ROOT_MARK_TEXT.to_owned()));
    }
    files.push(here(files::BASELINES, files::BASELINES_TEXT.to_owned()));
    let secrets: Vec<&str> = imported.secrets.iter().map(String::as_str).collect();
    let path = match place.below.as_str() {
        "" => draft.scenario.clone(),
        below => format!("{below}/{}", draft.scenario),
    };
    let is_plain = path
        .chars()
        .all(|char| char.is_ascii_alphanumeric() || "_-./".contains(char));
    match () {
        () if matches!(scenario.target, Target::Url(_)) => draft.notes.push(
            "no workflow was written: to gate a pull request, both revisions have to be started, and this scenario names a server that is \
             there already"
                .to_owned(),
        ),
        () if !is_plain => draft.notes.push(
            "no workflow was written: the name of this folder can't stand in one; the README of Plimsoll shows it".to_owned(),
        ),
        () if facts.is_gitlab => draft.gitlab = Some(files::gitlab(&path)),
        () => {
            files.push(File {
                path: files::WORKFLOW.to_owned(),
                text: files::workflow(&path, &secrets),
                is_at_top: true,
            });
            if let (repository, true) = files::repository() {
                draft.notes.push(format!(
                    "the workflow names Plimsoll's action as {repository}/.github/actions/plimsoll, a stand-in: write the repository \
                     where you have it"
                ));
            }
        }
    }
    draft.files = files;
}

fn next_of(scenario: &Scenario<'_>, facts: &Facts, imported: &Imported, draft: &mut Draft) {
    let path = draft.scenario.clone();
    let mut next = Vec::new();
    let mut say = |what: &str, line: String| next.push((what.to_owned(), line));
    if !imported.columns.is_empty() {
        let names: BTreeSet<&str> = imported
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        let names: Vec<&str> = names.into_iter().collect();
        say(
            &format!(
                "fill in what the document doesn't say: {}",
                names.join(", ")
            ),
            format!("scenarios/{}", scenario.feed_file()),
        );
    }
    for secret in &imported.secrets {
        say(
            "a secret that the requests need",
            format!("export {secret}=…"),
        );
    }
    if let Target::Url(url) = &scenario.target {
        say("see that the server is there", format!("curl -i {url}"));
    }
    say(
        "a verdict on the limits, and a report",
        format!("plimsoll run {path}"),
    );
    if !matches!(scenario.target, Target::Url(_)) {
        say(
            "once it is committed: a change against another revision",
            format!("plimsoll gate --against origin/main {path}"),
        );
    }
    say(
        "how noisy it is here, and which margins hold",
        format!("plimsoll calibrate {path}"),
    );
    if !facts.ignores {
        say(
            "keep what Plimsoll writes out of git",
            "printf '/.plimsoll/\\n/reports/\\n' >> .gitignore".to_owned(),
        );
    }
    draft.next = next;
}

#[cfg(test)]
mod tests;
