//! Templates, and the places where they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::feeds::Feed;
use super::resolve::resolve;
use crate::harness::scenario::plan::{Part, Template};
use crate::harness::scenario::problem::{Code, Problems, position};
use crate::harness::scenario::raw::Text;
use crate::harness::scenario::template::{self, Piece};

/// Nobody reads more of what is wrong with one file.
const MAX_PROBLEMS_OF_A_FILE: usize = 20;

/// What the templates of a flow draw from besides what the flow itself extracts.
pub(super) struct Sources<'a> {
    pub(super) feeds: &'a BTreeMap<String, Feed>,
    /// What the setup extracts.
    pub(super) setup: &'a BTreeSet<String>,
    pub(super) role: Role,
}

/// When a flow is performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Load,
    Setup,
    Teardown,
}

/// A place in a flow.
pub(super) struct AtStep<'a> {
    pub(super) sources: &'a Sources<'a>,
    /// By name, the first step that extracts it.
    pub(super) extracted: &'a BTreeMap<&'a str, usize>,
    /// The number of the step: it knows what those before it extract.
    pub(super) number: usize,
}

/// Where a template stands, which decides what it may name.
pub(super) enum Scope<'a> {
    /// A step of a flow.
    Step(AtStep<'a>),
    /// A command or the environment of a process.
    Process {
        name: &'a str,
        /// Other processes that were named, and where.
        mentions: &'a mut Vec<(String, Range<usize>)>,
    },
    /// A command that runs before there are ports.
    Build,
    /// What connections are made with.
    Http,
}

/// Reads a template that is the whole of a value of the file.
pub(super) fn template(
    text: &Text<'_>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Template {
    parts(text.text, &text.span, scope, problems)
}

/// Reads a template that is `text` or a piece of what stands at `span`.
pub(super) fn parts(
    text: &str,
    span: &Range<usize>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Template {
    let mut parts = Vec::new();
    for piece in template::split(text) {
        let place = match &piece {
            Piece::Text(_) => span.clone(),
            Piece::Value(_, range) | Piece::Unclosed(range) => {
                locate(problems.source(), span, &text[range.clone()])
            }
        };
        parts.extend(part(piece, place, scope, problems));
    }
    Template { parts }
}

/// Reads a template that is the text of the file which `named` names: its problems are shown there,
/// with the place in the file.
pub(super) fn of_file(
    text: &str,
    named: &Text<'_>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Template {
    let mut parts = Vec::new();
    let before = problems.count();
    for piece in template::split(text) {
        let start = match &piece {
            Piece::Text(_) => 0,
            Piece::Value(_, range) | Piece::Unclosed(range) => range.start,
        };
        let so_far = problems.count();
        parts.extend(part(piece, named.span.clone(), scope, problems));
        for problem in problems.since(so_far) {
            let (line, column) = position(text, start);
            problem.label = format!("line {line}, column {column} of it: {}", problem.label);
        }
        if problems.count() - before >= MAX_PROBLEMS_OF_A_FILE {
            break;
        }
    }
    Template { parts }
}

fn part(
    piece: Piece<'_>,
    place: Range<usize>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Part> {
    match piece {
        Piece::Text(literal) => Some(Part::Text(literal)),
        Piece::Value(value, _) => resolve(value, place, scope, problems),
        Piece::Unclosed(_) => {
            problems.report(
                Code::Template,
                place,
                "a value in braces is never closed",
                "opened here",
                "close the value with `}`; write `{{` for a brace that opens none",
            );
            None
        }
    }
}

/// The text of a template with a number in the place of each value that may be one, and a letter in
/// the place of those that can't.
pub(super) fn filled(template: &Template) -> String {
    let parts = template.parts.iter().map(|part| match part {
        Part::Text(text) => text.as_str(),
        Part::Uuid | Part::Now => "x",
        _ => "0",
    });
    parts.collect()
}

/// The place of `needle` in the value at `span`, or the whole value where escapes hide it.
pub(super) fn locate(source: &str, span: &Range<usize>, needle: &str) -> Range<usize> {
    let found = source
        .get(span.clone())
        .and_then(|value| value.find(needle));
    match found {
        Some(at) if !needle.is_empty() => span.start + at..span.start + at + needle.len(),
        _ => span.clone(),
    }
}
