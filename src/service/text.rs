//! Checks of text that clients send to be stored.

/// Longest text in one column, in bytes.
const LINE_MAX_BYTES: usize = 200;

/// One line of text that is neither empty nor too long.
pub(super) fn check_line(name: &str, text: &str) -> Result<(), String> {
    // PostgreSQL's text cannot hold a NUL, and no name has a use for the other control characters.
    if text.trim().is_empty() || text.len() > LINE_MAX_BYTES || text.chars().any(char::is_control) {
        return Err(format!(
            "`{name}` must be one line of 1 to {LINE_MAX_BYTES} bytes"
        ));
    }
    Ok(())
}

/// One of a few words.
pub(super) fn check_one_of(name: &str, text: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&text) {
        return Ok(());
    }
    Err(format!("`{name}` must be one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_lines() {
        let check = |text: &str, expected: bool| {
            assert_eq!(check_line("x", text).is_ok(), expected, "{text:?}");
        };
        check("Zoë O'Brien", true);
        check(&"x".repeat(200), true);
        check(&"x".repeat(201), false);
        check("", false);
        check("  ", false);
        check("a\nb", false);
        check("a\0b", false);
        check("a\u{85}b", false);
    }
}
