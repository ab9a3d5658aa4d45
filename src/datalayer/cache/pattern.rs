//! Keys by a glob.

use serde::{Deserialize, Serialize};

/// A glob over whole keys: `*` is any run of bytes, `?` is exactly one byte, and everything else is
/// itself; both tiers read it so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// The glob as it is written, such as `client:*`.
    pub fn new(glob: impl Into<String>) -> Self {
        Self(glob.into())
    }

    /// Whether the whole key is matched. Takes `key × glob` steps at worst, whatever the glob.
    pub fn matches(&self, key: &str) -> bool {
        let (glob, key) = (self.0.as_bytes(), key.as_bytes());
        let (mut at, mut in_key) = (0, 0);
        // Where to go on when what follows the last `*` does not fit: one byte further.
        let mut again = None;
        while in_key < key.len() {
            match glob.get(at) {
                Some(b'*') => {
                    again = Some((at + 1, in_key));
                    at += 1;
                    continue;
                }
                Some(byte) if *byte == b'?' || *byte == key[in_key] => {
                    at += 1;
                    in_key += 1;
                    continue;
                }
                _ => {}
            }
            let Some((after_star, taken)) = again else {
                return false;
            };
            again = Some((after_star, taken + 1));
            (at, in_key) = (after_star, taken + 1);
        }
        glob[at..].iter().all(|byte| *byte == b'*')
    }

    /// The same glob as Redis reads it, which knows more signs than these two.
    pub(super) fn as_redis(&self) -> String {
        escape(&self.0, |sign| matches!(sign, '*' | '?'))
    }
}

/// The glob of Redis that matches this text and nothing else.
pub(super) fn literally(text: &str) -> String {
    escape(text, |_| false)
}

fn escape(text: &str, means: impl Fn(char) -> bool) -> String {
    let special = |character| matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-');
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if special(character) && !means(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_matched_literally() {
        let check = |text, expected| assert_eq!(literally(text), expected);
        check("refservice:", "refservice:");
        check("a*b?[c]\\", r"a\*b\?\[c\]\\");
    }

    #[test]
    fn only_two_signs_mean_something_to_redis() {
        let check = |glob: &str, expected| assert_eq!(Pattern::new(glob).as_redis(), expected);
        check("client:*", "client:*");
        check("a?[b-c]\\*", r"a?\[b\-c\]\\*");
    }

    #[test]
    fn a_glob_matches_whole_keys() {
        let check = |glob: &str, key: &str, expected| {
            assert_eq!(Pattern::new(glob).matches(key), expected, "{glob} {key}");
        };
        check("client:*", "client:7", true);
        check("client:*", "client:", true);
        check("client:*", "a client:7", false);
        check("client:7", "client:7", true);
        check("client:7", "client:77", false);
        check("*:7", "client:7", true);
        check("*:7", "client:7:7", true);
        check("*:7", "client:78", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("client:?", "client:7", true);
        check("client:?", "client:", false);
        check("client:?", "client:77", false);
        check("[a-c]", "b", false);
        check("[a-c]", "[a-c]", true);
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        // Would take ages in a matcher that tries every division.
        let glob = "a*".repeat(50) + "b";
        check(&glob, &"a".repeat(2000), false);
    }
}
