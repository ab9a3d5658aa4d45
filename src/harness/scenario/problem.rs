//! What is wrong with a scenario file: a stable code, the place, a message, a label, a help line.

use std::fmt;
use std::ops::Range;

use serde::{Serialize, Serializer};

use crate::harness::model::escaped;

/// Nobody mends more at once, and each costs a look through the file.
const MAX_PROBLEMS: usize = 1000;
/// So many known names are compared with one that isn't known, and so many are shown.
const MAX_COMPARED: usize = 1000;
const MAX_SHOWN: usize = 20;

/// One mistake in a scenario file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its kind; stable across releases.
    pub code: Code,
    /// What is wrong, as a clause without a full stop.
    pub message: String,
    /// The bytes of the file that it is about.
    pub span: Range<usize>,
    /// The line of the span's start, from 1.
    pub line: usize,
    /// The column of the span's start in characters, from 1.
    pub column: usize,
    /// What to write beside the marked text.
    pub label: String,
    /// How to mend it.
    pub help: String,
    /// Another place that has to do with it, and what to write beside that: the first of two
    /// equal names.
    pub related: Option<(Range<usize>, String)>,
}

impl Problem {
    /// With the known name that was probably meant as its help, or all of them; where none is known,
    /// the help stays.
    pub(crate) fn suggest<'a>(
        &mut self,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> &mut Self {
        if self.is_left_out() {
            return self;
        }
        let mut known = known.into_iter();
        let compared: Vec<&str> = known.by_ref().take(MAX_COMPARED).collect();
        match super::nearest::nearest(name, compared.iter().copied()) {
            Some(nearest) => self.help = format!("did you mean `{nearest}`?"),
            None if compared.is_empty() => {}
            None => self.help = known_here(compared.into_iter().chain(known)),
        }
        self
    }

    /// Whether it came when there were too many, and nobody will see it.
    fn is_left_out(&self) -> bool {
        self.line == 0
    }

    /// With another place that has to do with it.
    pub(crate) fn related(&mut self, span: Range<usize>, label: impl Into<String>) -> &mut Self {
        self.related = Some((span, label.into()));
        self
    }
}

/// The names that are known, or the first of them, as a help.
pub(crate) fn known_here<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<&str> = names.by_ref().take(MAX_SHOWN).collect();
    let shown = shown.join(", ");
    match names.count() {
        0 => format!("known here: {shown}"),
        more => format!("known here: {shown} and {more} more"),
    }
}

/// Collects the problems of one file.
pub(crate) struct Problems<'a> {
    source: &'a str,
    found: Vec<Problem>,
    /// The last of those that came when there were too many, and their number.
    left_out: Problem,
    left_out_count: usize,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self {
            source,
            found: Vec::new(),
            left_out: Problem {
                code: Code::TooLarge,
                message: String::new(),
                span: 0..0,
                line: 0,
                column: 0,
                label: String::new(),
                help: String::new(),
                related: None,
            },
            left_out_count: 0,
        }
    }

    /// The text of the file.
    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len() + self.left_out_count
    }

    /// Those that came after there were `count`, but for those that are left out.
    pub(crate) fn since(&mut self, count: usize) -> &mut [Problem] {
        self.found.get_mut(count..).unwrap_or_default()
    }

    /// Notes a problem; the label is what stands beside the marked text, the help how to mend it.
    pub(crate) fn report(
        &mut self,
        code: Code,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Problem {
        if self.found.len() == MAX_PROBLEMS {
            self.left_out_count += 1;
            return &mut self.left_out;
        }
        let end = span.end.min(self.source.len());
        let span = span.start.min(end)..end;
        let (line, column) = position(self.source, span.start);
        self.found.push(Problem {
            code,
            message: message.into(),
            span,
            line,
            column,
            label: label.into(),
            help: help.into(),
            related: None,
        });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// All problems in the order of the file, each once: what is wrong in every variant is said once.
    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found;
        if let (count @ 1.., Some(last)) = (self.left_out_count, found.last_mut()) {
            last.help = format!("{}; {count} more problems are not shown", last.help);
        }
        for problem in &mut found {
            // Names and patterns of a hostile file are quoted in these.
            problem.message = escaped(problem.message.chars());
            problem.label = escaped(problem.label.chars());
            problem.help = escaped(problem.help.chars());
        }
        found.sort_by(|a, b| {
            (a.span.start, a.span.end, a.code, &a.message).cmp(&(
                b.span.start,
                b.span.end,
                b.code,
                &b.message,
            ))
        });
        found.dedup_by(|a, b| (a.code, &a.span, &a.label) == (b.code, &b.span, &b.label));
        found
    }
}

/// Line and column (in characters), both from 1, of a byte offset.
pub(crate) fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = &source.as_bytes()[..offset.min(source.len())];
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    // Continuation bytes of UTF-8 are no characters of their own.
    let column = before[line_start..]
        .iter()
        .filter(|&&byte| byte & 0xC0 != 0x80)
        .count()
        + 1;
    (line, column)
}

macro_rules! codes {
    ($($variant:ident = $text:literal, $meaning:literal;)*) => {
        /// The kind of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text: `scenario::unknown-key`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("scenario::", $text),)*
                }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

codes! {
    Unreadable = "unreadable", "The file can't be read.";
    TooLarge = "too-large", "The file is larger than 1 MiB.";
    NotText = "not-text", "The file is not UTF-8 text.";
    Syntax = "syntax", "The file is not TOML at this place.";
    SchemaVersion = "schema-version", "The file is written for a version that this Plimsoll doesn't read.";
    UnknownKey = "unknown-key", "There is no such key here.";
    MissingKey = "missing-key", "A key that is needed here is missing.";
    ConflictingKeys = "conflicting-keys", "Keys stand together of which only one may.";
    WrongType = "wrong-type", "The value is of another type than the key takes.";
    WrongUnit = "wrong-unit", "A duration, rate, size or share without a unit, or with one that it can't have.";
    OutOfRange = "out-of-range", "The value is smaller or larger than it may be.";
    BadName = "bad-name", "A name with other characters than letters, digits, `_` and `-`.";
    DuplicateName = "duplicate-name", "Two things have the same name.";
    UnknownVariant = "unknown-variant", "A variant that `variants` doesn't list.";
    UnknownProcess = "unknown-process", "No process has this name.";
    UnknownFlow = "unknown-flow", "No flow has this name.";
    UnknownFeed = "unknown-feed", "No feed has this name.";
    UnknownColumn = "unknown-column", "The feed's file has no such column.";
    UnknownValue = "unknown-value", "A template names a value that there isn't at this place.";
    UnknownMetric = "unknown-metric", "The gate is on a metric that this scenario can't produce.";
    NotMeasurable = "not-measurable", "The gate is on a quantile for which the measure phase is too short.";
    LimitUnit = "limit-unit", "The limit's unit doesn't fit the metric.";
    Template = "template", "A template that can't be read, such as one with an unclosed brace.";
    UsedBeforeExtracted = "used-before-extracted", "A step uses a value that only it or a later step extracts.";
    Cycle = "cycle", "Processes that wait for one another.";
    NoPort = "no-port", "A process needs a port, but nothing tells it which.";
    NoTarget = "no-target", "There are loads, but nothing says where they are sent.";
    SeveralTargets = "several-targets", "The loads have more than one target.";
    NoMetrics = "no-metrics", "A probe reads a process that has no `metrics` path.";
    NothingToDo = "nothing-to-do", "The scenario has neither a load nor a bench.";
    FaultOrder = "fault-order", "A fault that can't happen after those before it.";
    PathOutside = "path-outside", "A path that leads out of the project.";
    MissingFile = "missing-file", "A file that the scenario names can't be read.";
    BadFile = "bad-file", "A file holds something else than it should, such as a template that is not UTF-8 text.";
    BadFeed = "bad-feed", "A feed's file is neither a CSV table with a header and rows nor a JSON array of objects with the same keys.";
    UniqueFeed = "unique-feed", "The setup or the teardown draws from a feed whose rows are for the loads, once each; or a search for a capacity needs more rows than it has.";
    BadCommand = "bad-command", "A command line that can't be split into words.";
    BadUrl = "bad-url", "An address or a path that no request can be made of.";
    BadHeader = "bad-header", "A header, or a cookie's name, that can't be sent.";
    BadBody = "bad-body", "A body that can't be sent, such as JSON text that is not JSON.";
    BadStatus = "bad-status", "A status that is none: neither `200`, `\"2xx\"` nor `\"200-299\"`.";
    BadRegex = "bad-regex", "A regular expression that can't be compiled, or without the group that it needs.";
    BadJsonpath = "bad-jsonpath", "A JSONPath that can't be compiled.";
    BadCss = "bad-css-selector", "A CSS selector that can't be compiled.";
    StreamOrder = "stream-order", "A stream is opened while one is open, or used while none is.";
    NoEffect = "no-effect", "A key that changes nothing here.";
    BadSelector = "bad-selector", "A metric selector that is not `name` or `name{label=\"value\"}`.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_characters() {
        let check = |source: &str, offset: usize, expected: (usize, usize)| {
            assert_eq!(position(source, offset), expected, "{source:?} at {offset}");
        };
        check("", 0, (1, 1));
        check("ab\ncd", 4, (2, 2));
        check("é = 1", 3, (1, 3));
        check("a\r\nb", 3, (2, 1));
        check("a\n", 2, (2, 1));
    }

    #[test]
    fn what_nobody_could_mend_at_once_is_counted() {
        let mut problems = Problems::new("abc");
        let names: Vec<String> = (0..30).map(|name| format!("name{name}")).collect();
        for at in 0..MAX_PROBLEMS + 7 {
            let report = problems.report(Code::Syntax, 0..1, format!("{at}"), format!("{at}"), "h");
            report.suggest("zzz", names.iter().map(String::as_str));
        }
        assert_eq!(problems.count(), MAX_PROBLEMS + 7);
        assert!(problems.since(MAX_PROBLEMS + 1).is_empty());
        let found = problems.into_sorted();
        assert_eq!(found.len(), MAX_PROBLEMS);
        let shown: Vec<&str> = names[..20].iter().map(String::as_str).collect();
        let help = format!("known here: {} and 10 more", shown.join(", "));
        assert_eq!(found[0].help, help);
        let last = found.iter().filter(|problem| problem.help != help);
        let last: Vec<&str> = last.map(|problem| problem.help.as_str()).collect();
        assert_eq!(last, [format!("{help}; 7 more problems are not shown")]);
    }

    #[test]
    fn a_span_beyond_the_file_is_cut() {
        let mut problems = Problems::new("abc");
        problems.report(Code::Syntax, 7..9, "m", "l", "h");
        assert_eq!(problems.into_sorted()[0].span, 3..3);
    }
}
