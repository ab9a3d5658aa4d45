//! What the templates lay out: tables and figures as plain values.

use serde::Serialize;

use crate::harness::report::plots::Role;
use crate::harness::report::text::{self, MAX_SHOWN_CHARS};

/// A table with a head for every column and for every row.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Table {
    /// What it shows.
    pub(super) caption: String,
    /// The heads of the columns; the first is that of the heads of the rows.
    pub(super) heads: Vec<String>,
    /// As many cells in each as there are heads.
    pub(super) rows: Vec<Vec<Cell>>,
    /// Said below it; may be empty.
    pub(super) note: String,
}

/// A cell.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cell {
    /// What it shows, never very long.
    pub(super) text: String,
    /// All of it, where it was cut short; else empty.
    pub(super) title: String,
    /// `num`, `name`, `text`, `code` or the name of a verdict, for the style sheet.
    pub(super) class: &'static str,
}

impl Table {
    pub(super) fn new(caption: impl Into<String>, heads: &[&str]) -> Self {
        Self {
            caption: caption.into(),
            heads: heads.iter().map(|head| (*head).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// A number.
pub(super) fn num(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        title: String::new(),
        class: "num",
    }
}

/// A number, with a word that says what to think of it.
pub(super) fn judged(text: impl Into<String>, class: &'static str) -> Cell {
    Cell {
        text: text.into(),
        title: String::new(),
        class,
    }
}

/// A name or a message from outside.
pub(super) fn name(hostile: &str) -> Cell {
    shortened(hostile, "name")
}

/// Prose.
pub(super) fn prose(hostile: &str) -> Cell {
    shortened(hostile, "text")
}

fn shortened(hostile: &str, class: &'static str) -> Cell {
    let shown = text::shown(hostile, MAX_SHOWN_CHARS);
    // A title is a tooltip: a kilobyte of it is as much as can be shown.
    let title = if shown.contains('…') {
        text::shown(hostile, 1024)
    } else {
        String::new()
    };
    Cell {
        text: shown,
        title,
        class,
    }
}

/// A plot with what has to be said about it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figure {
    /// What it shows.
    pub(super) title: String,
    /// How to read it, in a sentence; may be empty.
    pub(super) note: String,
    /// What a reader who can't see it should know.
    pub(super) alt: String,
    /// SVG text.
    pub(super) svg: String,
    /// What its lines stand for.
    pub(super) keys: Vec<Key>,
}

/// A line of a legend.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Key {
    /// The shape of its sample.
    pub(super) shape: Shape,
    /// The class of its sample.
    pub(super) class: &'static str,
    /// What it stands for.
    pub(super) label: String,
}

/// The shape of a legend's sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    Line,
    Band,
    Dot,
    Cross,
    Ring,
}

/// The line of a legend for a curve.
pub(super) fn key(role: Role, label: impl Into<String>) -> Key {
    shaped(Shape::Line, role, label)
}

/// A line of a legend.
pub(super) fn shaped(shape: Shape, role: Role, label: impl Into<String>) -> Key {
    Key {
        shape,
        class: role.class(),
        label: label.into(),
    }
}
