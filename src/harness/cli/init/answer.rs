//! What a call says.

use serde::Serialize;

use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::report::text;
use crate::harness::scaffold::Draft;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It is there now.
    Written,
    /// It was there and is as it was.
    Kept,
    /// It was only to be shown, or belongs to one that was there.
    NotWritten,
}

/// A file and what became of it, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    pub(super) path: String,
    pub(super) state: State,
    pub(super) text: &'a str,
}

/// What a call did, for programs.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    files: Vec<Told<'a>>,
    found: Vec<Fact<'a>>,
    notes: &'a [String],
    next: Vec<Next<'a>>,
    gitlab: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Fact<'a> {
    what: &'a str,
    value: &'a str,
    from: &'a str,
}

#[derive(Debug, Serialize)]
struct Next<'a> {
    reason: &'a str,
    line: &'a str,
}

/// Says what was found, what became of each file and what comes next; in a dry run what would be written.
pub(super) fn answer(
    output: &Output,
    draft: &Draft,
    files: Vec<Told<'_>>,
    is_dry: bool,
) -> Result<(), Failure> {
    if output.is_json() {
        let found = draft
            .found
            .iter()
            .map(|(what, value, from)| Fact { what, value, from });
        let next = draft
            .next
            .iter()
            .map(|(reason, line)| Next { reason, line });
        return output.answer_json(&Answer {
            files,
            found: found.collect(),
            notes: &draft.notes,
            next: next.collect(),
            gitlab: draft.gitlab.as_deref(),
        });
    }
    if is_dry {
        output.say(&text::block(&found(draft)));
        let files: Vec<String> = files
            .iter()
            .map(|file| format!("==> {} <==\n{}", file.path, file.text))
            .collect();
        return output.answer(&text::block(&files.join("\n")));
    }
    let mut told = match output.quiet {
        true => String::new(),
        false => found(draft),
    };
    told.push_str("Files\n");
    let width = files.iter().map(|file| file.path.len()).max().unwrap_or(0);
    for file in &files {
        let state = match file.state {
            State::Kept => "was there, and is as it was",
            State::NotWritten => "not written, as what it belongs to was there",
            State::Written => "written",
        };
        told.push_str(&format!("  {:width$}  {state}\n", file.path));
    }
    if !output.quiet {
        told.push_str("\nNext\n");
        let mut said = "";
        for (reason, line) in &draft.next {
            // Of several lines for one reason, it stands over the first.
            if reason != said {
                told.push_str(&format!("  # {reason}\n"));
            }
            told.push_str(&format!("  {line}\n"));
            said = reason;
        }
        if let Some(job) = &draft.gitlab {
            told.push_str(&format!("\nFor .gitlab-ci.yml\n{job}"));
        }
    }
    output.answer(&text::block(&told))
}

/// What was found, and what has to be known.
fn found(draft: &Draft) -> String {
    let mut told = String::new();
    if !draft.found.is_empty() {
        told.push_str("Found\n");
    }
    // Commands and names of others may have several lines.
    let lines = draft
        .found
        .iter()
        .map(|(what, value, from)| (what, text::one_line(value), text::one_line(from)));
    let lines: Vec<_> = lines.collect();
    let chars = lines.iter().map(|(_, value, _)| value.chars().count());
    let width = chars.max().unwrap_or(0).min(60);
    for (what, value, from) in &lines {
        told.push_str(&format!("  {what:9} {value:width$}  ({from})\n"));
    }
    if !draft.notes.is_empty() {
        told.push_str("\nTo know\n");
        for note in &draft.notes {
            told.push_str(&format!("  - {note}\n"));
        }
    }
    if !told.is_empty() {
        told.push('\n');
    }
    told
}
