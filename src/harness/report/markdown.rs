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
    let line = line.trim_start();
    let mut escaped = String::with_capacity(line.len());
    for (at, char) in line.char_indices() {
        let (before, after) = (&line[..at], &line[at + char.len_utf8()..]);
        let is_followed = after.starts_with(|next: char| next.is_ascii_alphanumeric());
        // Www.example.org, of which the name alone would be a link too.
        if char == '.' && is_followed && ends_with(before, "www") {
            escaped.push(WORD_JOINER);
        }
        if r"\`*_[]<>|#~&$".contains(char) || begins_list(before, char, after) {
            escaped.push('\\');
        }
        escaped.push(char);
        let is_linked = match char {
            // A user; also what makes an address of mail.
            '@' => after.starts_with(|next: char| !next.is_whitespace()),
            // What has a number or a name: #12, and on GitLab !12, ~label, %milestone, &epic, $snippet.
            '#' | '!' | '~' | '%' | '&' | '$' => is_followed,
            ':' => after.starts_with("//"),
            // An issue by its number: GH-12.
            '-' => is_followed && ends_with(before, "gh"),
            _ => false,
        };
        if is_linked {
            escaped.push(WORD_JOINER);
        }
    }
    escaped
}

/// Whether a character ends what would make the line an item of a list: `- `, `+ `, `1. `, `1) `.
fn begins_list(before: &str, char: char, after: &str) -> bool {
    let is_marker = match char {
        '-' | '+' => before.is_empty(),
        '.' | ')' => !before.is_empty() && before.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    is_marker && (after.is_empty() || after.starts_with(' '))
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
            "https:\u{2060}//a.b Www\u{2060}.c.d e.f",
        );
        check(plain("a@b.c @-d @ e"), "a@\u{2060}b.c @\u{2060}-d @ e");
        check(
            plain("$1 &2 %3 ~four 5 %, 6 &"),
            "\\$\u{2060}1 \\&\u{2060}2 %\u{2060}3 \\~\u{2060}four 5 %, 6 \\&",
        );
        check(plain("$x$"), "\\$\u{2060}x\\$");
        check(plain("GH-7 ö-1 a-b"), "GH-\u{2060}7 ö-1 a-b");
        for (sentence, expected) in [
            ("- a", r"\- a"),
            ("+ a", r"\+ a"),
            ("12. a", r"12\. a"),
            ("1) a", r"1\) a"),
            ("-", r"\-"),
            ("    code", "code"),
            ("+1 % … −2 - 3. 4", "+1 % … −2 - 3. 4"),
            ("1.5 ms", "1.5 ms"),
        ] {
            check(plain(sentence), expected);
        }
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
