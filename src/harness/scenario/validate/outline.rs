//! The steps of a flow as the file has them: a tree with numbers in the order of the file, in bounds
//! that everything behind it can rely on.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeTable;

use crate::harness::scenario::keys::{METHODS, OTHER_KINDS};
use crate::harness::scenario::plan::StreamKind;
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;

/// Blocks within blocks. What is deeper can't be read by a person either.
const MAX_DEPTH: usize = 8;
/// Each step is compiled, with its expressions, by every worker.
const MAX_STEPS: usize = 1000;

/// What a step is, by the key that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request with this key as its method.
    Request(&'static str),
    Open(StreamKind),
    Expect,
    Send,
    Close,
    Group,
    Repeat,
    If,
    Choice,
    Think,
}

/// A step and what is inside of it.
pub(super) struct Step<'a> {
    pub(super) table: &'a DeTable<'a>,
    pub(super) span: Range<usize>,
    /// `None` where it is of none that can be used, which has been said.
    pub(super) kind: Option<Kind>,
    /// From 0, in the order of the file: each before the steps inside of it.
    pub(super) number: usize,
    /// The number of the first step that is neither it nor inside of it.
    pub(super) end: usize,
    /// The steps inside: those of the two ways of an `if`, of the branches of a choice, or the one
    /// list of any other.
    pub(super) inner: Vec<Vec<Self>>,
}

impl Step<'_> {
    /// The list at `index` of those inside.
    pub(super) fn inside(&self, index: usize) -> &[Self] {
        self.inner.get(index).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The steps at the key `step` of a flow, or as many as it may have.
pub(super) fn read<'a>(flow: &'a DeTable<'_>, problems: &mut Problems<'_>) -> Vec<Step<'a>> {
    let mut reader = Reader {
        next: 0,
        is_full: false,
    };
    reader.list(flow, "step", 0, problems)
}

/// By name, the first step that extracts a value.
pub(super) fn extracted<'a>(steps: &[Step<'a>]) -> BTreeMap<&'a str, usize> {
    let mut extracted = BTreeMap::new();
    visit(steps, &mut |step| {
        for (name, _) in raw::named_tables(step.table, "extract") {
            extracted.entry(name.text).or_insert(step.number);
        }
    });
    extracted
}

/// Shows every step to `look`, in the order of the file.
pub(super) fn visit<'s, 'a>(steps: &'s [Step<'a>], look: &mut impl FnMut(&'s Step<'a>)) {
    for step in steps {
        look(step);
        for inner in &step.inner {
            visit(inner, look);
        }
    }
}

struct Reader {
    /// The number of the next step.
    next: usize,
    /// Whether a step was left out, which is said once.
    is_full: bool,
}

impl Reader {
    /// The steps at `key` of a table that is `depth` blocks deep.
    fn list<'a>(
        &mut self,
        table: &'a DeTable<'_>,
        key: &str,
        depth: usize,
        problems: &mut Problems<'_>,
    ) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        for (table, span) in raw::tables(table, key) {
            if self.next == MAX_STEPS {
                if !self.is_full {
                    problems.report(
                        Code::OutOfRange,
                        span,
                        format!("the flow has more than {MAX_STEPS} steps"),
                        "one too many",
                        "repeat steps with `repeat`, or split the flow",
                    );
                }
                self.is_full = true;
                break;
            }
            steps.push(self.step(table, span, depth, problems));
        }
        steps
    }

    fn step<'a>(
        &mut self,
        table: &'a DeTable<'_>,
        span: Range<usize>,
        depth: usize,
        problems: &mut Problems<'_>,
    ) -> Step<'a> {
        let number = self.next;
        self.next += 1;
        let mut kind = kind(table);
        let is_block = ["step", "else", "choice"]
            .into_iter()
            .any(|key| table.contains_key(key));
        let inner = if is_block && depth == MAX_DEPTH {
            problems.report(
                Code::OutOfRange,
                span.clone(),
                format!("blocks are more than {MAX_DEPTH} deep"),
                "one block too deep",
                "make the flow flatter",
            );
            kind = None;
            Vec::new()
        } else {
            match kind {
                Some(Kind::If) => ["step", "else"]
                    .into_iter()
                    .map(|key| self.list(table, key, depth + 1, problems))
                    .collect(),
                Some(Kind::Choice) => raw::tables(table, "choice")
                    .into_iter()
                    .map(|(branch, _)| self.list(branch, "step", depth + 1, problems))
                    .collect(),
                _ => vec![self.list(table, "step", depth + 1, problems)],
            }
        };
        Step {
            table,
            span,
            kind,
            number,
            end: self.next,
            inner,
        }
    }
}

fn kind(table: &DeTable<'_>) -> Option<Kind> {
    if let Some(method) = METHODS.into_iter().find(|key| table.contains_key(*key)) {
        return Some(Kind::Request(method));
    }
    match OTHER_KINDS.into_iter().find(|key| table.contains_key(*key)) {
        Some("websocket") => Some(Kind::Open(StreamKind::WebSocket)),
        Some("events") => Some(Kind::Open(StreamKind::Events)),
        Some("expect") => Some(Kind::Expect),
        Some("send") => Some(Kind::Send),
        Some("close") => Some(Kind::Close),
        Some("group") => Some(Kind::Group),
        Some("repeat") => Some(Kind::Repeat),
        Some("if") => Some(Kind::If),
        Some("choice") => Some(Kind::Choice),
        _ => table.contains_key("think").then_some(Kind::Think),
    }
}
