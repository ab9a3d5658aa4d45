//! Text laid out for a terminal: wrapped paragraphs, tables that become lists, colour or none.

use anstyle::{AnsiColor, Style};
use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter};

use crate::harness::report::{format, text};

/// What the terminal can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Whether ANSI colours are written.
    pub colour: bool,
    /// Columns; a summary takes anything below 20 as 20.
    pub width: usize,
    /// Whether nothing but ASCII can be shown.
    pub ascii: bool,
}

impl TerminalStyle {
    /// `text` on one line, of characters that the terminal can show.
    pub(super) fn shown(self, text: &str) -> String {
        let line = text::one_line(text);
        match self.ascii {
            true => format::ascii(&line),
            false => line,
        }
    }

    /// [`shown`](Self::shown), with the spaces that hold a number and its unit, or the ends of an interval, together
    /// still told from those at which a line may end.
    fn unbroken(self, text: &str) -> String {
        let line = text::one_line(text).replace(" … ", &format!("{NO_BREAK}…{NO_BREAK}"));
        let words = line.split(' ').map(|word| self.shown(word));
        let words: Vec<String> = words.map(|word| word.replace(' ', NO_BREAK)).collect();
        words.join(" ")
    }

    /// [`shown`](Self::shown), cut to `width` columns. A character may take two of them, and the mark of
    /// the cut too, so it is cut until it fits.
    pub(super) fn fitted(self, text: &str, width: usize) -> String {
        let mut cut = self.shown(text);
        let mut chars = cut.chars().count();
        while display_width(&cut) > width && chars > 1 {
            chars = (chars - 1).min(width);
            cut = self.shown(&text::shown(text, chars));
        }
        cut
    }

    /// `text` in the colour of its tone, where there are colours.
    pub(super) fn painted(self, text: &str, tone: Tone) -> String {
        if !self.colour || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = style_of(tone);
        format!("{style}{text}{style:#}")
    }
}

/// Narrower than this nothing is legible.
const MIN_WIDTH: usize = 20;
/// Wider than this, lines are hard to read.
const MAX_PROSE_WIDTH: usize = 100;
/// A space at which no line ends.
const NO_BREAK: &str = "\u{a0}";
/// Between two columns of a table.
pub(super) const GAP: &str = "  ";
/// Names are cut to this width before a table gives them a line of their own.
const MIN_NAME_WIDTH: usize = 26;

/// What a text means, from which its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As the terminal writes.
    Plain,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
    /// All is well.
    Good,
    /// Something to look at.
    Caution,
    /// Something is wrong.
    Bad,
    /// No measurement.
    Void,
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Whether it says nothing, or that there is nothing to say.
    fn is_empty(&self) -> bool {
        matches!(self.text.as_str(), "" | "–" | "-")
    }
}

/// A cell without a colour of its own.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    toned(text, Tone::Plain)
}

/// A cell.
pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
    Cell {
        text: text.into(),
        tone,
    }
}

/// A text in the making.
pub(super) struct Sheet {
    style: TerminalStyle,
    out: String,
}

impl Sheet {
    pub(super) fn new(style: TerminalStyle) -> Self {
        let width = style.width.max(MIN_WIDTH);
        Self {
            style: TerminalStyle { width, ..style },
            out: String::new(),
        }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// An empty line, never two.
    pub(super) fn gap(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.gap();
        self.paragraph("", "", text, Tone::Strong);
    }

    /// A wrapped text; `first` stands before its first line and `rest` before the others.
    pub(super) fn paragraph(&mut self, first: &str, rest: &str, text: &str, tone: Tone) {
        let first = self.style.shown(first);
        // Names, paths and commands are copied: no line ends at a hyphen or a slash of theirs.
        let options = Options::new(self.style.width.min(MAX_PROSE_WIDTH))
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .initial_indent(&first)
            .subsequent_indent(rest);
        for line in textwrap::wrap(&self.style.unbroken(text), options) {
            self.painted(&line.replace(NO_BREAK, " "), tone);
            self.out.push('\n');
        }
    }

    /// A text in one line, however long, so that it can be copied.
    pub(super) fn line(&mut self, text: &str) {
        self.out.push_str(&self.style.shown(text));
        self.out.push('\n');
    }

    /// A word as a badge with a text behind it.
    pub(super) fn badge(&mut self, word: &str, tone: Tone, text: &str) {
        let word = format!(" {} ", text::one_line(word));
        let text = self.style.shown(text);
        if self.style.colour {
            let style = style_of(tone).invert().bold();
            self.out.push_str(&format!("{style}{word}{style:#}"));
        } else {
            self.out.push_str(&format!("[{}]", word.trim()));
        }
        let rest = self.style.width.saturating_sub(display_width(&word) + 1);
        if display_width(&text) <= rest {
            self.out.push_str(&format!(" {text}\n"));
        } else {
            self.out.push('\n');
            self.paragraph("", "", &text, Tone::Plain);
        }
    }

    /// Lines as they are, each cut to the width.
    pub(super) fn block(&mut self, indent: &str, lines: &str) {
        for line in lines.lines() {
            let room = self.style.width.saturating_sub(indent.len());
            let line = self.style.fitted(line, room);
            self.out.push_str(indent);
            self.painted(&line, Tone::Dim);
            self.out.push('\n');
        }
    }

    /// A table. The first column, the name, is aligned to the left and the others to the right.
    /// Where it doesn't fit, a name gets a line of its own with the last cell, the numbers below it
    /// stay columns; where these don't fit either, they are told one after the other. What an outcome is needs no head:
    /// a last cell without one is a word on the name.
    pub(super) fn table(&mut self, heads: &[&str], rows: &[Vec<Cell>]) {
        let heads: Vec<Cell> = heads
            .iter()
            .map(|head| toned(self.style.shown(head), Tone::Dim))
            .collect();
        let rows: Vec<Vec<Cell>> = rows
            .iter()
            .map(|row| {
                row.iter()
                    .map(|c| toned(self.style.shown(&c.text), c.tone))
                    .collect()
            })
            .collect();
        let mut widths: Vec<usize> = heads.iter().map(|head| display_width(&head.text)).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(display_width(&cell.text));
            }
        }
        let [name_width, numbers @ ..] = widths.as_mut_slice() else {
            return;
        };
        let taken =
            |columns: &[usize]| columns.iter().map(|width| width + GAP.len()).sum::<usize>();
        let room = self.style.width.saturating_sub(taken(numbers) + GAP.len());
        if room >= MIN_NAME_WIDTH.min(*name_width) {
            *name_width = (*name_width).min(room);
            for row in std::iter::once(&heads).chain(&rows) {
                self.row(row, &widths);
            }
        } else if let [numbers @ .., _] = numbers
            && 2 * GAP.len() + taken(numbers) <= self.style.width
        {
            // An empty name keeps the numbers under each other and apart from the names.
            let widths: Vec<usize> = std::iter::once(GAP.len())
                .chain(numbers.iter().copied())
                .collect();
            self.split(&heads, &rows, &widths);
        } else {
            self.list(&heads, &rows);
        }
    }

    fn split(&mut self, heads: &[Cell], rows: &[Vec<Cell>], widths: &[usize]) {
        let numbers = |row: &[Cell]| -> Vec<Cell> {
            let middle = row.iter().skip(1).take(widths.len() - 1).cloned();
            std::iter::once(plain("")).chain(middle).collect()
        };
        if heads.last().is_some_and(|head| !head.text.is_empty()) {
            self.ends(heads, widths);
        }
        self.row(&numbers(heads), widths);
        for row in rows {
            self.ends(row, widths);
            self.row(&numbers(row), widths);
        }
    }

    /// The first cell of a row and the last, which ends where the numbers end.
    fn ends(&mut self, row: &[Cell], widths: &[usize]) {
        if let (Some(name), Some(last)) = (row.first(), row.last()) {
            let line: usize = widths.iter().map(|width| width + GAP.len()).sum();
            let cell = display_width(&last.text);
            let width = line.saturating_sub(2 * GAP.len() + cell);
            self.row(&[name.clone(), last.clone()], &[width, cell]);
        }
    }

    fn row(&mut self, row: &[Cell], widths: &[usize]) {
        let mut line = String::new();
        for (i, (cell, &width)) in row.iter().zip(widths).enumerate() {
            let text = self.style.fitted(&cell.text, width);
            let pad = " ".repeat(width.saturating_sub(display_width(&text)));
            let painted = self.style.painted(&text, cell.tone);
            line.push_str(GAP);
            match i {
                0 => line.push_str(&format!("{painted}{pad}")),
                _ => line.push_str(&format!("{pad}{painted}")),
            }
        }
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn list(&mut self, heads: &[Cell], rows: &[Vec<Cell>]) {
        for row in rows {
            let Some((name, cells)) = row.split_first() else {
                continue;
            };
            let (word, cells) = match (heads.last(), cells) {
                (Some(head), [cells @ .., word]) if head.text.is_empty() => (Some(word), cells),
                _ => (None, cells),
            };
            match word.filter(|word| !word.text.is_empty()) {
                Some(word) => {
                    let text = format!("{}: {}", name.text, word.text);
                    self.paragraph(GAP, "    ", &text, word.tone);
                }
                None => self.paragraph(GAP, "    ", &name.text, name.tone),
            }
            let told = heads
                .iter()
                .skip(1)
                .zip(cells)
                .filter(|(_, cell)| !cell.is_empty());
            let told: Vec<String> = told
                .map(|(head, cell)| format!("{} {}", head.text, cell.text))
                .map(|told| told.trim().replace(' ', NO_BREAK))
                .collect();
            if !told.is_empty() {
                self.paragraph("    ", "    ", &told.join(", "), Tone::Plain);
            }
        }
    }

    fn painted(&mut self, line: &str, tone: Tone) {
        let painted = self.style.painted(line.trim_end(), tone);
        self.out.push_str(&painted);
    }
}

fn style_of(tone: Tone) -> Style {
    let coloured = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match tone {
        Tone::Plain => Style::new(),
        Tone::Dim => Style::new().dimmed(),
        Tone::Strong => Style::new().bold(),
        Tone::Good => coloured(AnsiColor::Green),
        Tone::Caution => coloured(AnsiColor::Yellow),
        Tone::Bad => coloured(AnsiColor::Red),
        Tone::Void => coloured(AnsiColor::Magenta),
    }
}
