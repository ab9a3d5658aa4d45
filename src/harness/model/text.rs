//! What every room does with text.

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a character could make a terminal or a page show something else than what is there: a
/// control character, a separator of lines, one that turns the direction of text (Unicode's `Bidi_Control`), or
/// one that nobody sees, by which two names look the same or a text hides in another. What is invisible and
/// joins others, as in emoji, is none. Line breaks and tabs are among them; whoever wants those excepts them.
pub(crate) fn steers(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                // Tags, which spell a text of ASCII.
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text with what [`steers`] escaped, so that it can be shown on one line.
pub(crate) fn escaped(text: impl IntoIterator<Item = char>) -> String {
    let mut escaped = String::new();
    for char in text {
        match steers(char) {
            true => escaped.extend(char.escape_default()),
            false => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_told_from_what_is_only_foreign() {
        for char in "\0\u{1b}\n\t\u{7f}\u{9b}\u{61c}\u{200e}\u{200f}\u{202e}\u{2066}".chars() {
            assert!(steers(char), "{char:?}");
        }
        for char in "\u{200b}\u{2028}\u{2029}\u{2060}\u{feff}\u{fffa}\u{e0041}".chars() {
            assert!(steers(char), "{char:?}");
        }
        for char in "a é\u{200d}\u{fe0f}ش🚀".chars() {
            assert!(!steers(char), "{char:?}");
        }
    }
}
