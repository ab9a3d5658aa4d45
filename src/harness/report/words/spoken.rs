//! What is said to the reader, as the beginning of a sentence or of a clause.

use crate::harness::report::format;
use crate::harness::report::text::{self, MAX_SHOWN_CHARS};

/// Something said to the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// A sentence without its full stop.
    pub what: String,
    /// What to do next, as a sentence without its full stop.
    pub next: String,
    /// Lines to look at, such as the last output of a process; often empty.
    pub detail: String,
    /// Whether `what` begins with a metric's name, which stays as it is written.
    pub is_named: bool,
}

impl Spoken {
    pub(in crate::harness::report) fn new(
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            next: next.into(),
            detail: String::new(),
            is_named: false,
        }
    }

    /// The same, of which the first word is a metric's name.
    pub(super) fn named(self) -> Self {
        Self {
            is_named: true,
            ..self
        }
    }

    /// `what` as the beginning of a sentence.
    pub fn sentence(&self) -> String {
        match self.is_named {
            true => self.what.clone(),
            false => capitalised(&self.what),
        }
    }
}

/// Leaves what is to be done about several in a row to the last of them.
pub fn remedy_once<'s>(listed: impl IntoIterator<Item = &'s mut Spoken>) {
    let mut before: Option<&mut Spoken> = None;
    for said in listed {
        if let Some(before) = before.filter(|before| before.next == said.next) {
            before.next.clear();
        }
        before = Some(said);
    }
}

/// The first letter as a capital, where the first word is one: a name with dots, digits or underscores
/// stays as it is written.
pub fn capitalised(sentence: &str) -> String {
    let word = sentence.split(' ').next().unwrap_or_default();
    let mut chars = sentence.chars();
    match chars.next() {
        Some(first)
            if word
                .chars()
                .all(|c| c.is_alphabetic() || "',:;".contains(c)) =>
        {
            first.to_uppercase().chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}

pub(super) fn name(hostile: &str) -> String {
    text::shown(hostile, MAX_SHOWN_CHARS)
}

pub(super) fn moment(at_ns: i64) -> String {
    match at_ns {
        at if at < 0 => "before the load began".to_owned(),
        at => format!("{} into the run", format::clock_ns(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_of_several_stands_behind_the_last() {
        let said = |next: &str| Spoken::new("it is slow", next);
        let mut listed = ["a", "a", "a", "b", "a", "", ""].map(said);
        remedy_once(&mut listed);
        let left: Vec<&str> = listed.iter().map(|said| said.next.as_str()).collect();
        assert_eq!(left, ["", "", "a", "b", "a", "", ""]);
        remedy_once(&mut []);
    }

    #[test]
    fn a_sentence_begins_with_a_capital_and_a_path_does_not() {
        assert_eq!(capitalised("only the head has it"), "Only the head has it");
        assert_eq!(
            capitalised("load.reads.p95 is slow"),
            "load.reads.p95 is slow"
        );
        for imported in ["latency_ms is slow", "p95 is slow", "http/reads is slow"] {
            assert_eq!(capitalised(imported), imported);
        }
        assert_eq!(capitalised("don't, it is slow"), "Don't, it is slow");
        assert_eq!(capitalised(""), "");
    }
}
