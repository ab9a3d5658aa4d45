//! Checks of text that clients send to be stored.

use jiff::civil::Date;

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

/// A day as ISO 8601 writes it in ten characters, so that days sort as they read.
pub(super) fn check_day(name: &str, text: &str) -> Result<(), String> {
    match text.parse::<Date>() {
        Ok(date) if text.len() == 10 && date.to_string() == text => Ok(()),
        _ => Err(format!("`{name}` must be a day such as 1990-12-31")),
    }
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
    fn days_are_days() {
        let check = |text: &str, expected: bool| {
            assert_eq!(check_day("x", text).is_ok(), expected, "{text:?}");
        };
        check("1990-12-31", true);
        check("2024-02-29", true);
        check("2023-02-29", false);
        check("1990-1-1", false);
        check("-001234-01-01", false);
        check("1990-12-31T00:00", false);
        check("", false);
    }

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
