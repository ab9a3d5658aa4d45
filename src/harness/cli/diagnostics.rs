//! The problems of a scenario file as a person reads them, and as an editor does.

use std::borrow::Cow;
use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    ThemeCharacters, ThemeStyles,
};
use serde_json::{Value, json};

use crate::harness::model::steers;
use crate::harness::report::format::ascii;
use crate::harness::report::terminal::TerminalStyle;
use crate::harness::scenario::{Problem, Rejection};

/// Draws each problem with its lines of the file, and how many there are.
pub fn render(rejection: &Rejection, style: TerminalStyle) -> String {
    let Rejection {
        file,
        text,
        problems,
    } = rejection;
    let theme = GraphicalTheme {
        characters: match style.ascii {
            true => ThemeCharacters::ascii(),
            false => ThemeCharacters::unicode(),
        },
        styles: match style.colour {
            true => ThemeStyles::ansi(),
            false => ThemeStyles::none(),
        },
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .without_syntax_highlighting()
        .with_width(style.width)
        .with_context_lines(1);
    let name = file.display().to_string();
    let printable = |text: &str| printable(text, style.ascii);
    let source = NamedSource::new(printable(&name), printable(text));
    let mut drawn = String::new();
    for problem in problems {
        let shown = Shown {
            problem,
            source: &source,
            is_ascii: style.ascii,
        };
        handler
            .render_report(&mut drawn, &shown)
            .expect("BUG: writing to a String doesn't fail");
        drawn.push('\n');
    }
    let plural = if problems.len() == 1 { "" } else { "s" };
    drawn.push_str(&format!(
        "{}: {} problem{plural}\n",
        printable(&name),
        problems.len()
    ));
    drawn
}

/// The problems for `--format json`: objects with file, line, column, code, message, label and
/// help. Lines and columns count from 1, columns in characters.
pub fn to_json(rejection: &Rejection) -> Vec<Value> {
    let file = rejection.file.display().to_string();
    let problems = rejection.problems.iter().map(|problem| {
        json!({
            "file": file,
            "line": problem.line,
            "column": problem.column,
            "code": problem.code,
            "message": problem.message,
            "label": problem.label,
            "help": problem.help,
        })
    });
    problems.collect()
}

/// A file is drawn on a terminal: what would steer it, or turn the direction of text, is drawn as
/// question marks, one a byte, so that every place stays where it was; and so is what is not ASCII
/// where nothing else can be shown.
fn printable(text: &str, ascii: bool) -> String {
    let mut chars = text.chars().peekable();
    let mut printable = String::with_capacity(text.len());
    while let Some(char) = chars.next() {
        let is_line_end = char == '\n' || (char == '\r' && chars.peek() == Some(&'\n'));
        let is_hidden = steers(char) && char != '\t' && !is_line_end;
        if is_hidden || (ascii && !char.is_ascii()) {
            printable.extend(std::iter::repeat_n('?', char.len_utf8()));
        } else {
            printable.push(char);
        }
    }
    printable
}

/// A problem as miette draws it.
#[derive(Debug)]
struct Shown<'a> {
    problem: &'a Problem,
    source: &'a NamedSource<String>,
    is_ascii: bool,
}

impl Shown<'_> {
    /// What we say, in characters that can be shown.
    fn said<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.is_ascii {
            true => Cow::Owned(ascii(text)),
            false => Cow::Borrowed(text),
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said(&self.problem.message))
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.said(&self.problem.help)))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        // Of a file that couldn't be read there is nothing to show.
        (!self.source.inner().is_empty()).then_some(self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let problem = self.problem;
        let label = |text: &str| Some(self.said(text).into_owned());
        let here = LabeledSpan::new_primary_with_span(label(&problem.label), problem.span.clone());
        let there = problem
            .related
            .iter()
            .map(move |(span, text)| LabeledSpan::new_with_span(label(text), span.clone()));
        Some(Box::new(std::iter::once(here).chain(there)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_not_drawn() {
        let drawn = |text: &str, ascii: bool, expected: &str| {
            let drawn = printable(text, ascii);
            assert_eq!(drawn, expected);
            assert_eq!(drawn.len(), text.len());
        };
        let check = |text: &str, expected: &str| drawn(text, false, expected);
        check("a\tb\r\nc\n", "a\tb\r\nc\n");
        check("\u{1b}[31m", "?[31m");
        check("a\rb", "a?b");
        check("\u{202E}x", "???x");
        check("é", "é");
        drawn("é\tx", true, "??\tx");
    }
}
