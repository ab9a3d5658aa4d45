//! GitHub's workflow commands: annotations, and text of ours in which nothing is taken for a command.
//!
//! The runner reads commands from stdout and stderr: a line that begins with `::name …::`, and anywhere in a line the
//! older `##[name …]` (actions/runner, `ActionCommand.cs`). What is escaped, and how, is what its toolkit does
//! (`@actions/core`, `command.ts`).

use super::finding::{Gravity, findings, kind, last_lines, metric, sentences, warnings};
use super::told::{Answer, Told, worst_first};
use crate::harness::report::text;
use crate::harness::report::words::Spoken;

/// The runner drops what a step says beyond so many annotations of a kind (`_maxIssueCount`).
const MAX_OF_A_KIND: usize = 10;
/// The runner cuts a message at 4,096 UTF-16 units (`_maxIssueMessageLength`); a character has at most two.
const MAX_MESSAGE_CHARS: usize = 2048;
/// GitHub cuts a title at 255.
const MAX_TITLE_CHARS: usize = 120;

/// One annotation.
struct Annotation {
    gravity: Gravity,
    file: Option<String>,
    line: Option<usize>,
    title: String,
    message: String,
}

/// What a step is to be annotated with, a command a line, the worst first; of each kind as many as are shown.
pub fn annotations(told: &[Told]) -> String {
    let all: Vec<Annotation> = worst_first(told).into_iter().flat_map(of_one).collect();
    let mut text = String::new();
    for gravity in [Gravity::Error, Gravity::Warning, Gravity::Notice] {
        let of_kind: Vec<&Annotation> = all.iter().filter(|it| it.gravity == gravity).collect();
        let shown = match of_kind.len() > MAX_OF_A_KIND {
            true => MAX_OF_A_KIND - 1,
            false => of_kind.len(),
        };
        for annotation in &of_kind[..shown] {
            text.push_str(&command(annotation));
        }
        let rest = of_kind.len() - shown;
        if rest > 0 {
            text.push_str(&command(&Annotation {
                gravity,
                file: None,
                line: None,
                title: format!("{rest} more"),
                message: format!(
                    "{rest} more of this kind are not annotated, because GitHub shows {MAX_OF_A_KIND} a step. They are in the summary of the job and in the log."
                ),
            }));
        }
    }
    text
}

/// Text between commands that make the runner take nothing in it for a command. Whoever wrote the text must
/// not be able to guess the token.
pub fn enclosed(text: &str, token: &str) -> String {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("::stop-commands::{token}\n{text}{end}::{token}::\n")
}

/// Text in which the runner finds no command, for a stream that nothing encloses.
pub fn defused(text: &str) -> String {
    let mut defused = String::with_capacity(text.len());
    // For the runner a line ends with either of them.
    for line in text.split_inclusive(['\n', '\r']) {
        if line.trim_start().starts_with("::") {
            defused.push_str("| ");
        }
        defused.push_str(&line.replace("##[", "## ["));
    }
    defused
}

fn of_one(told: &Told) -> Vec<Annotation> {
    let title = told.title();
    let file = told.place.as_ref().map(|place| place.file.clone());
    let annotation = |gravity, line, what: &str, message: String| Annotation {
        gravity,
        file: file.clone(),
        line,
        title: format!("{title}: {what}"),
        message,
    };
    let verdict = match &told.answer {
        Answer::Verdict(verdict) => verdict,
        Answer::Failed(_) => {
            let said = told.failure().into_iter();
            return said
                .map(|said| annotation(Gravity::Error, None, told.badge(), message(&said)))
                .collect();
        }
    };
    let reasons = findings(verdict).map(|finding| {
        let metric = metric(finding.reason);
        let line = told.place.as_ref().and_then(|place| place.line_of(metric?));
        let what = kind(finding.reason).replace('_', " ");
        annotation(finding.gravity, line, &what, message(&finding.said))
    });
    let warnings = warnings(verdict)
        .map(|(gravity, said)| annotation(gravity, None, "warning", message(&said)));
    reasons.chain(warnings).collect()
}

/// What is said, with the last lines of a process below it.
fn message(said: &Spoken) -> String {
    let mut lines = vec![sentences(said)];
    lines.extend(last_lines(said).into_iter().map(str::to_owned));
    lines.join("\n")
}

fn command(annotation: &Annotation) -> String {
    let name = match annotation.gravity {
        Gravity::Error => "error",
        Gravity::Warning => "warning",
        Gravity::Notice => "notice",
    };
    let file = annotation.file.as_deref().map(text::one_line);
    let properties = [
        ("file", file),
        ("line", annotation.line.map(|line| line.to_string())),
        (
            "title",
            Some(text::shown(&annotation.title, MAX_TITLE_CHARS)),
        ),
    ];
    let properties: Vec<String> = properties
        .into_iter()
        .filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some(format!("{name}={}", escaped_property(&value)))
        })
        .collect();
    let message = cut(&text::block(&annotation.message), MAX_MESSAGE_CHARS);
    format!(
        "::{name} {}::{}\n",
        properties.join(","),
        escaped_data(&message)
    )
}

/// At most so many characters, of the beginning.
fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max_chars - 1).chain(['…']).collect(),
    }
}

fn escaped_data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn escaped_property(text: &str) -> String {
    escaped_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_property_or_a_message() {
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        check(escaped_property("a,b=c::d%0A\n"), "a%2Cb=c%3A%3Ad%250A%0A");
        check(escaped_data("100 % ::x::\r\n"), "100 %25 ::x::%0D%0A");
    }

    #[test]
    fn no_line_is_taken_for_a_command() {
        let check = |hostile: &str, expected: &str| assert_eq!(defused(hostile), expected);
        check("fine: a::b", "fine: a::b");
        check("::add-mask::a", "| ::add-mask::a");
        check("a\n \u{a0}::error::b\n", "a\n|  \u{a0}::error::b\n");
        check("x ##[set-env name=a]b", "x ## [set-env name=a]b");
        check("####[[", "#### [[");
        check(
            "building\r::error::a\r\n::b",
            "building\r| ::error::a\r\n| ::b",
        );
    }

    #[test]
    fn what_is_enclosed_ends_with_its_token() {
        assert_eq!(
            enclosed("::error::a", "t"),
            "::stop-commands::t\n::error::a\n::t::\n"
        );
        assert_eq!(enclosed("a\n", "t"), "::stop-commands::t\na\n::t::\n");
    }
}
