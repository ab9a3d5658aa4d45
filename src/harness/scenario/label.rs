//! The value of a Prometheus label, as selectors in scenarios and the text of a subject write it.

use std::borrow::Cow;

/// The text between the quote in front and the next one, with `\"`, `\\` and `\n` resolved, and
/// what follows. Any other backslash is one, as in OpenMetrics, so that what a subject exposes can
/// be selected as it stands. `None` where there is no such quote.
pub(crate) fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    let (inside, after) = (&text[..end], &text[end + 1..]);
    if !inside.contains('\\') {
        return Some((Cow::Borrowed(inside), after));
    }
    let mut value = String::with_capacity(inside.len());
    let mut chars = inside.chars().peekable();
    while let Some(char) = chars.next() {
        let resolved = match (char, chars.peek()) {
            ('\\', Some('n')) => Some('\n'),
            ('\\', Some(next @ ('"' | '\\'))) => Some(*next),
            _ => None,
        };
        if resolved.is_some() {
            chars.next();
        }
        value.push(resolved.unwrap_or(char));
    }
    Some((Cow::Owned(value), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let found = quoted(text);
        let found = found
            .as_ref()
            .map(|(value, after)| (value.as_ref(), *after));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_value_ends_at_its_quote() {
        check(r#""l1"} 3"#, Some(("l1", "} 3")));
        check(r#""","#, Some(("", ",")));
        check(r#""say \"hi\" \\ \n."x"#, Some(("say \"hi\" \\ \n.", "x")));
        check(r#""ends in \\"x"#, Some(("ends in \\", "x")));
        check(r#""\d+\"""#, Some(("\\d+\"", "")));
        for open in ["", "l1\"", "\"", "\"l1", r#""l1\""#] {
            check(open, None);
        }
    }
}
