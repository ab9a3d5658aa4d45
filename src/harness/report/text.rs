//! Hostile text made harmless for a reader: no control characters, no endless lines.

use crate::harness::model::steers;

/// The longest name shown in a table, in characters; the whole of it stands in the JSON.
pub const MAX_SHOWN_CHARS: usize = 160;

/// `text` on one line without control characters, ANSI escapes or bidirectional overrides (which
/// could make a terminal or a page show something else than what is there).
pub fn one_line(text: &str) -> String {
    clean(text, false)
}

/// As [`one_line`], but line breaks and tabs stay: for the last lines of a process's output.
pub fn block(text: &str) -> String {
    clean(text, true)
}

/// [`one_line`], cut in the middle to at most `max_chars` characters, so that both the beginning and
/// the distinguishing end of a long URL stay.
pub fn shown(text: &str, max_chars: usize) -> String {
    let line = one_line(text);
    let count = line.chars().count();
    if count <= max_chars {
        return line;
    }
    let kept = max_chars.saturating_sub(1);
    let tail = kept / 3;
    let head: String = line.chars().take(kept - tail).collect();
    let end: String = line.chars().skip(count - tail).collect();
    format!("{head}…{end}")
}

/// `text` as it may stand in an element or an attribute of HTML or XML, where no template does that.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = Vec::with_capacity(text.len());
    tera::escape_html(text, &mut escaped).expect("BUG: writing to a Vec doesn't fail");
    String::from_utf8_lossy(&escaped).into_owned()
}

fn clean(text: &str, keep_breaks: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\n' | '\t' if keep_breaks => clean.push(c),
            '\n' | '\t' | '\r' => clean.push(' '),
            c if steers(c) => {}
            c => clean.push(c),
        }
    }
    clean
}

/// Skips what follows ESC: a control sequence to its final byte, a string (such as a window title)
/// to its terminator or the end of the line, or one character with those that introduce it.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            while chars
                .next_if(|c| ('\u{20}'..='\u{3f}').contains(c))
                .is_some()
            {}
            chars.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            // Without its end it must not take the lines after it along.
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        // Such as `ESC ( B`, which selects a set of characters.
        Some(_) => {
            while chars
                .next_if(|c| ('\u{20}'..='\u{2f}').contains(c))
                .is_some()
            {}
            chars.next_if(|c| *c != '\n');
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hostile: &str, expected: &str) {
        assert_eq!(one_line(hostile), expected, "{hostile:?}");
    }

    #[test]
    fn control_characters_go() {
        check("plain", "plain");
        check("a\x1b[31mred\x1b[0m", "ared");
        check("\x1b]0;title\x07name", "name");
        check("\x1b]8;;http://x\x1b\\link", "link");
        check("a\nb\tc\rd", "a b c d");
        check("nul\0bell\x07del\x7f", "nulbelldel");
        check("c1 \u{9b}31m", "c1 31m");
        check("\u{202e}txt.exe", "txt.exe");
        check("ends with \x1b", "ends with ");
        check("sgr0\x1b(B\x1b[m done", "sgr0 done");
        check("cut \x1b[3", "cut ");
        check("never ends \x1b]0;", "never ends ");
        check("ünïcode 🚀", "ünïcode 🚀");
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block("a\n\tb\x1b[2J"), "a\n\tb");
        assert_eq!(block("a\x1b]0;title\npanicked"), "a\npanicked");
        assert_eq!(block("a\x1b[3\npanicked"), "a\npanicked");
        assert_eq!(block("a\x1b\npanicked"), "a\npanicked");
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        let long = format!("GET /start{}end", "x".repeat(10_000));
        let cut = shown(&long, 30);
        assert_eq!(cut.chars().count(), 30);
        assert!(
            cut.starts_with("GET /start") && cut.ends_with("end"),
            "{cut}"
        );
        assert_eq!(shown("short", 30), "short");
    }
}
