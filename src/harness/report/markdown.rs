//! Hostile text inside of Markdown.

use super::text::{self, MAX_SHOWN_CHARS};

/// Parts a name from what would make a mention or a link of it; takes no place.
const WORD_JOINER: char = '\u{2060}';

/// A name as code: nothing in it is markup, nor ends the cell of a table.
pub fn code(name: &str) -> String {
    let shown = text::shown(name, MAX_SHOWN_CHARS);
    // Two backticks with nothing between them would begin code that ends somewhere else.
    let shown = if shown.is_empty() { " " } else { &shown };
    format!("`{}`", shown.replace('`', "'").replace('|', "\\|"))
}

/// A sentence without any markup of its own, that mentions nobody and links to nothing: GitHub and GitLab look
/// for those in what is left when the escapes are gone.
pub fn plain(sentence: &str) -> String {
    let line = text::one_line(sentence);
    let mut escaped = String::with_capacity(line.len());
    for (at, char) in line.char_indices() {
        if r"\`*_[]<>|#~&$".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
        let rest = &line[at + char.len_utf8()..];
        let is_followed = rest.starts_with(|next: char| next.is_ascii_alphanumeric());
        let is_linked = match char {
            '@' | '#' | '!' => is_followed,
            ':' => rest.starts_with("//"),
            '.' => is_followed && ends_with(&line[..at], "www"),
            // An issue by its number: GH-12.
            '-' => is_followed && ends_with(&line[..at], "gh"),
            _ => false,
        };
        if is_linked {
            escaped.push(WORD_JOINER);
        }
    }
    escaped
}

fn ends_with(text: &str, lower_case: &str) -> bool {
    let end = text.len().checked_sub(lower_case.len());
    end.and_then(|end| text.get(end..))
        .is_some_and(|end| end.eq_ignore_ascii_case(lower_case))
}

/// A table; cells are Markdown already. The first column is text, the last too, those between are
/// numbers.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let last = heads.len().saturating_sub(1);
    let rule = |at| if at == 0 || at == last { "---" } else { "---:" };
    let rules: Vec<String> = (0..heads.len()).map(|at| rule(at).to_owned()).collect();
    let first = [heads, rules];
    first.iter().chain(rows).map(|cells| row(cells)).collect()
}

/// One more row of such a table.
pub fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_becomes_markup() {
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        check(code("load.a.p95"), "`load.a.p95`");
        check(code("a`|<b>\n"), "`a'\\|<b> `");
        check(code("\u{202e}"), "` `");
        check(plain("is *slower*|<img>"), r"is \*slower\*\|\<img\>");
        check(plain("a\u{1b}[31m\nb"), "a b");
        check(
            plain("by @ada, #7, !8"),
            "by @\u{2060}ada, \\#\u{2060}7, !\u{2060}8",
        );
        check(
            plain("https://a.b Www.c.d e.f"),
            "https:\u{2060}//a.b Www.\u{2060}c.d e.f",
        );
        check(plain("$x$"), r"\$x\$");
        check(plain("GH-7 ö-1 a-b"), "GH-\u{2060}7 ö-1 a-b");
    }

    #[test]
    fn a_table_is_one() {
        let rows = [vec!["m".to_owned(), "1".into(), "fine".into()]];
        assert_eq!(
            table(&["metric", "value", "verdict"], &rows),
            "| metric | value | verdict |\n| --- | ---: | --- |\n| m | 1 | fine |\n"
        );
    }
}
