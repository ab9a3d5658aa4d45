//! Why what another tool wrote can't be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::harness::model::escaped;

/// A file, and the line in it where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file or folder.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: Option<u64>,
}

/// Why a file can't be used as runs. Names and values from the file are quoted and cut short, so that
/// no message is longer than a few lines or holds a control character of theirs.
#[derive(Debug, thiserror::Error)]
pub enum InterchangeError {
    /// The file or folder can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it holds is not what its format says.
    #[error("{place}: {what}; {remedy}")]
    Content {
        /// Where.
        place: Place,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The same thing came before.
    #[error("{again}: {what} is also in {first}; {remedy}")]
    Twice {
        /// What.
        what: String,
        /// Where it was first.
        first: Place,
        /// Where it was again.
        again: Place,
        /// What to do.
        remedy: &'static str,
    },
}

/// What is wrong, before it is known where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Place {
    /// A file as a whole.
    pub(super) fn file(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
        }
    }

    /// A line of a file.
    pub(super) fn line(path: &Path, line: u64) -> Self {
        Self {
            path: path.to_owned(),
            line: Some(line),
        }
    }

    pub(super) fn wrong(
        &self,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> InterchangeError {
        Wrong::new(what, remedy).at(self)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.line {
            Some(line) => write!(f, ", line {line}"),
            None => Ok(()),
        }
    }
}

impl InterchangeError {
    /// What is wrong and where, without the remedy.
    pub fn what(&self) -> String {
        match self {
            Self::Read { .. } => self.to_string(),
            Self::Content { place, what, .. } => format!("{place}: {what}"),
            Self::Twice {
                what, first, again, ..
            } => format!("{again}: {what} is also in {first}"),
        }
    }

    /// What to do; empty where the message is all that can be said.
    pub fn remedy(&self) -> &str {
        match self {
            Self::Read { .. } => "",
            Self::Content { remedy, .. } => remedy,
            Self::Twice { remedy, .. } => remedy,
        }
    }
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn at(self, place: &Place) -> InterchangeError {
        InterchangeError::Content {
            place: place.clone(),
            what: harmless(&self.what),
            remedy: harmless(&self.remedy),
        }
    }
}

/// What is said of a file, on a line or a few: parsers quote unknown names whole and as they stand.
fn harmless(text: &str) -> String {
    const MOST: usize = 500;
    let mut harmless = escaped(text.chars().take(MOST));
    if text.chars().nth(MOST).is_some() {
        harmless.push('…');
    }
    harmless
}

/// A name or value from a file, for a message: in quotes, escaped, cut short.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parser_quotes_is_harmless_and_short() {
        let key = format!("unknown field `\u{1b}[31m{}`", "k".repeat(10_000));
        let error = Place::file(Path::new("a")).wrong(key.clone(), key);
        let InterchangeError::Content { what, remedy, .. } = error else {
            panic!("{error:?}");
        };
        for text in [what, remedy] {
            assert!(text.starts_with(r"unknown field `\u{1b}[31mkk"), "{text}");
            assert!(text.len() < 600 && text.ends_with("kk…"), "{text}");
        }
    }

    #[test]
    fn what_is_quoted_is_harmless_and_short() {
        assert_eq!(quoted("p95"), "\"p95\"");
        assert_eq!(quoted("\u{1b}[31m\u{202e}"), r#""\u{1b}[31m\u{202e}""#);
        assert!(quoted(&"é".repeat(10_000)).chars().count() < 90);
    }
}
