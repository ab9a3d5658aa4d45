//! One line that has to fit: where the terminal is narrow, its less important parts give way.

use textwrap::core::display_width;

use crate::harness::report::format;

use super::sheet::{GAP, TerminalStyle, Tone};

/// A line in the making. Its parts stand in their order; each has a rank, and where there is no room for
/// all of them, those of the lowest rank have it first.
#[derive(Debug, Clone)]
pub struct Line {
    indent: &'static str,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    rank: u8,
    tone: Tone,
    form: Form,
}

/// What a part does where there is more or less room.
#[derive(Debug, Clone)]
enum Form {
    /// It is there as a whole or not at all.
    Whole(String),
    /// A name, which is cut in its middle, but not to fewer columns than so many.
    Name(String, usize),
    /// A curve, of which the newest values are shown, at least so many.
    Curve(Vec<f64>, usize),
    /// A bar of as many columns as there are, at most so many, filled to that share.
    Bar(f64, usize),
}

/// A bar with fewer columns says nothing.
const LEAST_BAR: usize = 8;

impl Line {
    /// An empty line that begins with `indent`.
    pub fn new(indent: &'static str) -> Self {
        Self {
            indent,
            parts: Vec::new(),
        }
    }

    /// A text.
    pub fn text(self, rank: u8, text: impl Into<String>) -> Self {
        self.toned(rank, Tone::Plain, text)
    }

    /// A text with a meaning.
    pub fn toned(self, rank: u8, tone: Tone, text: impl Into<String>) -> Self {
        self.part(rank, tone, Form::Whole(text.into()))
    }

    /// A name of which at least so many columns are shown.
    pub fn name(self, rank: u8, text: impl Into<String>, least: usize) -> Self {
        self.part(rank, Tone::Plain, Form::Name(text.into(), least))
    }

    /// A sparkline of the newest of these values, at least so many columns of it, or of all there are.
    pub fn curve(self, rank: u8, values: &[f64], least: usize) -> Self {
        match values.is_empty() {
            true => self,
            false => self.part(rank, Tone::Plain, Form::Curve(values.to_vec(), least)),
        }
    }

    /// A bar of progress, filled to that share, with at most so many columns.
    pub fn bar(self, rank: u8, share: f64, most: usize) -> Self {
        self.part(rank, Tone::Plain, Form::Bar(share, most))
    }

    fn part(mut self, rank: u8, tone: Tone, form: Form) -> Self {
        self.parts.push(Part { rank, tone, form });
        self
    }

    /// The line in no more than the columns of the style, without a line break.
    pub fn render(&self, style: TerminalStyle) -> String {
        let all = style.width.saturating_sub(self.indent.len());
        let mut by_rank: Vec<usize> = (0..self.parts.len()).collect();
        // Stable: of several of one rank the first is the first.
        by_rank.sort_by_key(|at| self.parts[*at].rank);
        let (mut room, mut kept) = (all, vec![false; self.parts.len()]);
        for (nth, at) in by_rank.into_iter().enumerate() {
            let gap = if nth > 0 { GAP.len() } else { 0 };
            let least = self.parts[at].least(style) + gap;
            // The most important has to do with what there is.
            if nth == 0 || least <= room {
                kept[at] = true;
                room = room.saturating_sub(least);
            }
        }
        let mut drawn = Vec::new();
        for (part, _) in self.parts.iter().zip(kept).filter(|(_, kept)| *kept) {
            let least = part.least(style);
            let more = room.min(part.most(style).saturating_sub(least));
            room -= more;
            let text = part.drawn((least + more).min(all), style);
            drawn.push(style.painted(&text, part.tone));
        }
        format!("{}{}", self.indent, drawn.join(GAP))
    }
}

impl Part {
    /// The fewest columns that it takes.
    fn least(&self, style: TerminalStyle) -> usize {
        match &self.form {
            Form::Whole(text) => display_width(&style.shown(text)),
            Form::Name(text, least) => display_width(&style.shown(text)).min(*least),
            Form::Curve(values, least) => values.len().min(*least),
            Form::Bar(_, most) => LEAST_BAR.min(*most),
        }
    }

    /// The most that it can make use of.
    fn most(&self, style: TerminalStyle) -> usize {
        match &self.form {
            Form::Whole(text) | Form::Name(text, _) => display_width(&style.shown(text)),
            Form::Curve(values, _) => values.len(),
            Form::Bar(_, most) => *most,
        }
    }

    fn drawn(&self, columns: usize, style: TerminalStyle) -> String {
        match &self.form {
            Form::Whole(text) | Form::Name(text, _) => style.fitted(text, columns),
            Form::Curve(values, _) => {
                let newest = &values[values.len().saturating_sub(columns)..];
                let largest = newest.iter().copied().fold(0.0, f64::max);
                // Of nothing but zeros the lowest, not the middle.
                let curve = format::sparkline(newest, 0.0, largest.max(f64::MIN_POSITIVE));
                style.shown(&curve)
            }
            Form::Bar(share, _) => {
                let inside = columns.saturating_sub(2);
                let full = (share.clamp(0.0, 1.0) * inside as f64).round() as usize;
                let head = usize::from(0 < full && full < inside);
                format!(
                    "[{}{}{}]",
                    "=".repeat(full - head),
                    ">".repeat(head),
                    " ".repeat(inside - full)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: TerminalStyle = TerminalStyle {
        colour: false,
        width: 80,
        ascii: false,
    };

    fn line() -> Line {
        let rates: Vec<f64> = (1..=10).map(f64::from).collect();
        Line::new("  ")
            .name(0, "GET /a/long/name", 8)
            .toned(1, Tone::Bad, "7 failed")
            .bar(3, 0.5, 14)
            .text(2, "p95 1 ms")
            .curve(4, &rates, 4)
    }

    #[test]
    fn the_least_important_goes_first() {
        let check = |width: usize, expected: &str| {
            let drawn = line().render(TerminalStyle { width, ..PLAIN });
            assert_eq!(drawn, expected, "{width}");
            assert!(display_width(&drawn) <= width, "{width}");
        };
        let whole = "  GET /a/long/name  7 failed  [=====>      ]  p95 1 ms  ▂▂▃▄▅▅▆▇▇█";
        check(100, whole);
        check(66, whole);
        // Before one goes, all of them take less room.
        check(
            60,
            "  GET /a/long/name  7 failed  [=====>      ]  p95 1 ms  ▆▇▇█",
        );
        check(45, "  GET /a/l…name  7 failed  [==>   ]  p95 1 ms");
        // What is less important has the room that is left.
        check(39, "  GET /a/…ame  7 failed  p95 1 ms  ▆▇▇█");
        check(29, "  GET /a/…ame  7 failed  ▆▇▇█");
        check(15, "  GET /a/l…name");
        check(5, "  GE…");
    }

    #[test]
    fn a_bar_is_full_at_its_end_only() {
        let check = |share: f64, expected: &str| {
            let drawn = Line::new("").bar(0, share, 8).render(PLAIN);
            assert_eq!(drawn, expected, "{share}");
        };
        check(0.0, "[      ]");
        check(0.01, "[      ]");
        check(0.5, "[==>   ]");
        check(0.8, "[====> ]");
        check(1.0, "[======]");
        check(7.0, "[======]");
        check(f64::NAN, "[      ]");
    }

    #[test]
    fn only_ascii_where_nothing_else_is_shown() {
        let style = TerminalStyle {
            ascii: true,
            width: 40,
            ..PLAIN
        };
        let drawn = line().render(style);
        assert!(drawn.is_ascii(), "{drawn}");
        let curve = Line::new("").curve(0, &[0.0, 1.0, 2.0], 1).render(style);
        assert_eq!(curve, "_=#");
    }

    #[test]
    fn a_tone_is_a_colour_where_there_are_colours() {
        let style = TerminalStyle {
            colour: true,
            ..PLAIN
        };
        let drawn = Line::new("").toned(0, Tone::Bad, "late").render(style);
        assert_eq!(drawn, "\u{1b}[31mlate\u{1b}[0m");
    }
}
