//! Templates: texts with values in braces. `{` opens a value where a letter, `_` or `$` follows;
//! `{{` is a brace, and so is every other `{` and every `}` outside a value, so that JSON and most
//! shell snippets stand as they are.

use std::ops::Range;

/// A piece of a template as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Literal text, escapes resolved.
    Text(String),
    /// What stands between the braces, and where it stands, braces included.
    Value(&'a str, Range<usize>),
    /// A value that is never closed, from its brace on.
    Unclosed(Range<usize>),
}

/// Splits a template into its pieces; neighbouring texts are joined.
pub(crate) fn split(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('{') {
        let open = at + found;
        literal.push_str(&text[at..open]);
        let inside = open + 1;
        let rest = &text[inside..];
        if rest.starts_with('{') {
            literal.push('{');
            at = inside + 1;
            continue;
        }
        if !rest.starts_with(|char: char| char.is_ascii_alphabetic() || "_$".contains(char)) {
            literal.push('{');
            at = inside;
            continue;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        let end = rest.find(['{', '}', '\n']).unwrap_or(rest.len());
        at = inside + end;
        if rest[end..].starts_with('}') {
            at += 1;
            pieces.push(Piece::Value(&rest[..end], open..at));
        } else {
            pieces.push(Piece::Unclosed(open..at));
        }
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_in_braces_is_a_value() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<String> = split(text)
                .into_iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text,
                    Piece::Value(inner, range) => {
                        assert_eq!(&text[range], format!("{{{inner}}}"));
                        format!("<{inner}>")
                    }
                    Piece::Unclosed(range) => format!("!{}", &text[range]),
                })
                .collect();
            assert_eq!(found, expected, "{text}");
        };
        check("", &[]);
        check("plain", &["plain"]);
        check(
            "/c/{clients.id}?x={y}",
            &["/c/", "<clients.id>", "?x=", "<y>"],
        );
        check(r#"{"a": {"b": {n}}}"#, &[r#"{"a": {"b": "#, "<n>", "}}"]);
        check("{{name}", &["{name}"]);
        check("{} {1} { x }", &["{} {1} { x }"]);
        check("/c/{clients.id", &["/c/", "!{clients.id"]);
        check("{a {b}", &["!{a ", "<b>"]);
        check("{a\n}", &["!{a", "\n}"]);
        check("{$random(1,9)}", &["<$random(1,9)>"]);
        check("é{x}é", &["é", "<x>", "é"]);
    }
}
