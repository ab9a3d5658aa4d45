//! What the templates lay out: tables and figures as plain values.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::harness::report::format;
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
    /// Whether a narrow page shows a row as a list: for tables of few rows that everybody has to read.
    pub(super) is_stacked: bool,
}

/// A cell.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Cell {
    /// What it shows, never very long.
    pub(super) text: String,
    /// All of it, where it was cut short; else empty.
    pub(super) title: String,
    /// `num`, `name`, `text` or what to think of it, for the style sheet.
    pub(super) class: &'static str,
    /// What a link to its row names; empty where nothing links to it.
    pub(super) id: String,
    /// What it is sorted by, where that is not its text: a number, or empty.
    pub(super) sort: String,
}

impl Table {
    pub(super) fn new(caption: impl Into<String>, heads: &[&str]) -> Self {
        Self {
            caption: caption.into(),
            heads: heads.iter().map(|head| (*head).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Puts what is in a column below what is in the one before it, where that is the one to which it belongs: columns
    /// of their own would make the table wider than the page.
    pub(super) fn put_below(&mut self, above: &str, below: &str) {
        let is_next = |pair: &[String]| pair[0] == above && pair[1] == below;
        let Some(before) = self.heads.windows(2).position(is_next) else {
            return;
        };
        let at = before + 1;
        self.heads.remove(at);
        self.heads[before] = format!("{above}\n{below}");
        for row in self.rows.iter_mut().filter(|row| at < row.len()) {
            let below = row.remove(at);
            let above = &mut row[before];
            if !below.is_empty() {
                above.text = format!("{}\n{}", above.text, below.text);
                above.class = "num two";
            }
        }
    }

    /// Takes away the columns in which no row has anything.
    pub(super) fn without_empty_columns(&mut self) {
        for at in (0..self.heads.len()).rev() {
            if self
                .rows
                .iter()
                .all(|row| row.get(at).is_none_or(Cell::is_empty))
            {
                self.heads.remove(at);
                for row in self.rows.iter_mut().filter(|row| at < row.len()) {
                    row.remove(at);
                }
            }
        }
    }
}

impl Cell {
    fn is_empty(&self) -> bool {
        matches!(self.text.as_str(), "" | "–")
    }
}

/// Names of rows for links: what a metric's path has of letters, digits, dots and dashes, so that a link that was
/// sent around still leads there in the next report.
#[derive(Debug)]
pub(super) struct RowIds {
    prefix: &'static str,
    taken: BTreeSet<String>,
}

impl RowIds {
    pub(super) fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            taken: BTreeSet::new(),
        }
    }

    /// The name of the next row, which nothing else has.
    pub(super) fn of(&mut self, hostile: &str) -> String {
        const MAX_CHARS: usize = 80;
        let kept = hostile.chars().take(MAX_CHARS).map(|c| match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') => c,
            _ => '-',
        });
        let name = format!("{}-{}", self.prefix, kept.collect::<String>());
        let with_number = (2..).map(|n| format!("{name}-{n}"));
        let free = std::iter::once(name.clone())
            .chain(with_number)
            .find(|name| !self.taken.contains(name))
            .unwrap_or(name);
        self.taken.insert(free.clone());
        free
    }
}

/// A number.
pub(super) fn num(text: impl Into<String>) -> Cell {
    judged(text, "num")
}

/// A number that is sorted by its value.
pub(super) fn num_of(sort: f64, text: impl Into<String>) -> Cell {
    Cell {
        sort: match sort.is_finite() {
            true => format!("{sort:.5e}"),
            false => String::new(),
        },
        ..num(text)
    }
}

/// A number of things.
pub(super) fn count(n: u64) -> Cell {
    num_of(n as f64, format::count(n))
}

/// A number, with a word that says what to think of it.
pub(super) fn judged(text: impl Into<String>, class: &'static str) -> Cell {
    Cell {
        text: text.into(),
        class,
        ..Cell::default()
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
        ..Cell::default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_name_of_its_own() {
        let mut ids = RowIds::new("gate");
        let mut check = |hostile: &str, expected: &str| assert_eq!(ids.of(hostile), expected);
        check("load.reads.p95", "gate-load.reads.p95");
        check("bench.cache/get hot", "gate-bench.cache-get-hot");
        check("bench.cache/get_hot", "gate-bench.cache-get_hot");
        check("bench.cache get hot", "gate-bench.cache-get-hot-2");
        check("\"><script>", "gate----script-");
        check("", "gate-");
        check(&"x".repeat(10_000), &format!("gate-{}", "x".repeat(80)));
    }

    #[test]
    fn what_belongs_to_a_column_stands_below_it() {
        let mut table = Table::new("t", &["a", "b", "c", "d"]);
        table.rows = vec![
            vec![name("m"), num_of(1.0, "1"), num("2"), num("3")],
            vec![name("n"), num_of(1.0, "1"), num("–"), num("3")],
            vec![name("o"), num("–"), num("2"), num("3")],
        ];
        table.put_below("b", "c");
        table.put_below("a", "d");
        assert_eq!(table.heads, ["a", "b\nc", "d"]);
        let shown = |row: &Vec<Cell>| {
            let cells = row.iter().map(|cell| (cell.text.clone(), cell.class));
            cells.collect::<Vec<_>>()
        };
        let cell = |text: &str, class| (text.to_owned(), class);
        assert_eq!(
            shown(&table.rows[0]),
            [cell("m", "name"), cell("1\n2", "num two"), cell("3", "num")]
        );
        assert_eq!(
            shown(&table.rows[1]),
            [cell("n", "name"), cell("1", "num"), cell("3", "num")]
        );
        assert_eq!(table.rows[2][1].text, "–\n2");
        assert!(!table.rows[0][1].sort.is_empty());
    }

    #[test]
    fn a_column_of_nothing_is_left_out() {
        let mut table = Table::new("t", &["a", "b", "c"]);
        table.rows = vec![
            vec![name("m"), num("–"), num("1")],
            vec![name("n"), num(""), num("–")],
        ];
        table.without_empty_columns();
        assert_eq!(table.heads, ["a", "c"]);
        assert!(table.rows.iter().all(|row| row.len() == 2));
    }
}
