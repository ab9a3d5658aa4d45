//! How lines are drawn over each other at the bottom of a terminal.
//!
//! Between two drawings the cursor stands where the first line begins. So nothing has to be known of where the others
//! ended: not after the terminal got another width and wrapped them anew, and not after something else was written over
//! them, such as the `^C` with which a terminal answers.

/// Goes to where the first line begins, and takes away all that stands from there on.
pub(super) const WIPE: &str = "\r\u{1b}[J";

/// What draws these lines in the place of those that are there. On a terminal of so few `rows` that not all of
/// them have room, the first have it: the way back would end below those that were scrolled away.
pub(super) fn drawing(lines: &[String], rows: usize) -> String {
    let shown = &lines[..lines.len().min(rows)];
    let back = match shown.len() {
        0 | 1 => String::new(),
        lines => format!("\u{1b}[{}A", lines - 1),
    };
    format!("{WIPE}{}\r{back}", shown.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that knows what a drawing is made of, and wraps nothing.
    #[derive(Default)]
    struct Terminal {
        rows: Vec<String>,
        row: usize,
        column: usize,
    }

    impl Terminal {
        fn write(&mut self, text: &str) {
            let mut chars = text.chars();
            while let Some(c) = chars.next() {
                self.rows
                    .resize_with(self.rows.len().max(self.row + 1), String::new);
                match c {
                    '\r' => self.column = 0,
                    '\n' => (self.row, self.column) = (self.row + 1, 0),
                    '\u{1b}' => {
                        let sequence: String =
                            chars.by_ref().take_while(|c| !"AJ".contains(*c)).collect();
                        match sequence.strip_prefix('[') {
                            Some("") => {
                                self.rows.truncate(self.row + 1);
                                self.rows[self.row].truncate(self.column);
                            }
                            Some(up) => self.row -= up.parse::<usize>().unwrap_or(usize::MAX),
                            None => panic!("{sequence:?} is not understood"),
                        }
                    }
                    c => {
                        self.rows[self.row].truncate(self.column);
                        self.rows[self.row].push(c);
                        self.column += 1;
                    }
                }
            }
        }
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_view_takes_the_place_of_the_one_before() {
        let mut terminal = Terminal::default();
        let check = |terminal: &mut Terminal, text: &str, expected: &[&str]| {
            terminal.write(text);
            assert_eq!(terminal.rows, expected, "{text:?}");
        };
        let three = drawing(&lines(&["run", "  reads", "  generator"]), 24);
        check(&mut terminal, "$ plimsoll\n", &["$ plimsoll"]);
        check(
            &mut terminal,
            &three,
            &["$ plimsoll", "run", "  reads", "  generator"],
        );
        // Whatever is written meanwhile is gone with it.
        check(
            &mut terminal,
            "^C",
            &["$ plimsoll", "^C", "  reads", "  generator"],
        );
        let two = drawing(&lines(&["stopping", "  reads"]), 24);
        check(&mut terminal, &two, &["$ plimsoll", "stopping", "  reads"]);
        // What stays is written in its place, and the view below it.
        let said = format!("{WIPE}a warning\n{two}");
        check(
            &mut terminal,
            &said,
            &["$ plimsoll", "a warning", "stopping", "  reads"],
        );
        check(&mut terminal, WIPE, &["$ plimsoll", "a warning", ""]);
    }

    #[test]
    fn no_more_rows_are_drawn_than_there_are() {
        assert_eq!(
            drawing(&lines(&["a", "b", "c"]), 2),
            "\r\u{1b}[Ja\nb\r\u{1b}[1A"
        );
        assert_eq!(drawing(&lines(&["a", "b"]), 1), "\r\u{1b}[Ja\r");
        assert_eq!(drawing(&[], 24), "\r\u{1b}[J\r");
    }
}
