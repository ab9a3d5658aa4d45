//! What is asked on a terminal.

use std::io::{self, BufRead, Write};

use crate::harness::cli::failure::Failure;
use crate::harness::report::text;
use crate::harness::scaffold::{Document, Facts, Wishes};

/// Asks what was neither said nor is sure. An empty answer takes what was found.
pub(super) fn ask(
    facts: &Facts,
    document: Option<&Document>,
    wishes: &mut Wishes,
) -> Result<(), Failure> {
    if wishes.start.is_none() && wishes.url.is_none() {
        let found = facts
            .service
            .as_ref()
            .map(|service| service.start.value.as_str());
        let question = "How does the service start? (a command, {port} for its port; or the URL of one that is there)";
        match question_with(question, found)? {
            Some(answer) if answer.contains("://") => wishes.url = Some(answer),
            Some(answer) if Some(answer.as_str()) != found => wishes.start = Some(answer),
            _ => {}
        }
    }
    // Without anything that answers there are only benches.
    let answers = wishes.start.is_some() || wishes.url.is_some() || facts.service.is_some();
    if answers && wishes.path.is_none() && document.is_none() {
        let found = facts
            .path
            .as_ref()
            .map_or("/", |found| found.value.as_str());
        if let Some(answer) = question_with("Which path shall be asked for?", Some(found))? {
            wishes.path = Some(answer);
        }
    }
    Ok(())
}

/// Asks on the terminal; `None` where the answer is empty or there is none.
fn question_with(question: &str, found: Option<&str>) -> Result<Option<String>, Failure> {
    let mut stderr = io::stderr().lock();
    let default = found.map_or_else(String::new, |found| format!(" [{}]", text::one_line(found)));
    let asked = write!(stderr, "{question}{default}\n> ").and_then(|()| stderr.flush());
    asked.map_err(|error| Failure::tool("asking", &error))?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::tool("reading the answer", &error))?;
    let answer = line.trim();
    Ok((!answer.is_empty()).then(|| answer.to_owned()))
}
