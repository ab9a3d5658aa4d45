//! What `plimsoll init` will write and say, from what was found and what was wished.

mod beside;
mod target;

use self::beside::Told;
use super::action::Action;
use super::error::ScaffoldError;
use super::facts::Facts;
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
const MIN_RATE_PER_S: f64 = 1.0 / 3600.0;
const MAX_RATE_PER_S: f64 = 100_000.0;

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
    /// Plimsoll's repository on GitHub and a commit, for the workflow: `OWNER/REPOSITORY@COMMIT`.
    pub action: Option<String>,
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
    /// Whether there is a git repository at all.
    pub is_in_git: bool,
    /// Whether its pipelines run on GitLab.
    pub is_on_gitlab: bool,
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
    let action = Action::new(wishes.action.as_deref())?;
    let target = target::of(facts, wishes, imported.as_ref(), &mut draft)?;
    let mut of_document = imported.unwrap_or_default();
    let mut flows = std::mem::take(&mut of_document.flows);
    if flows.is_empty() && target != Target::Nothing {
        flows.push(only_flow(facts, wishes, &mut draft)?);
    }
    let target = target::without_base(target, &flows);
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
    let told = Told {
        scenario: &scenario,
        facts,
        place,
        imported: &of_document,
        action: &action,
    };
    told.files(&mut draft);
    draft.next = told.next(&draft);
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
                (true, 1, _) => "1 request".to_owned(),
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
        return match (MIN_RATE_PER_S..=MAX_RATE_PER_S).contains(&rate) {
            true => Ok(vec![rate; flows.len()]),
            false => Err(ScaffoldError::wish(
                "--rate",
                wish,
                "a rate is between 1/h and 100000/s",
            )),
        };
    }
    let is_elsewhere = matches!(target, Target::Url(url) if !target::is_here(url));
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

#[cfg(test)]
mod tests;
