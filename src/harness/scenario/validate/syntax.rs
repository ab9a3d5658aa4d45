//! Texts in languages of others: regular expressions, JSONPaths, CSS selectors, paths, names of
//! headers. Each is checked here and compiled again by whoever uses it.

use std::ops::Range;

use http::HeaderName;
use scraper::Selector;
use serde_json_path::JsonPath;

use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::Text;

/// Expressions are a line of text; their parsers go back over nested parentheses again and again.
const MAX_EXPRESSION: usize = 500;
const MAX_EXPRESSION_DEPTH: usize = 8;

/// Checks a regular expression; its number of groups where it is one.
pub(super) fn regex_groups(pattern: &Text<'_>, problems: &mut Problems<'_>) -> Option<usize> {
    match regex::Regex::new(pattern.text) {
        Ok(regex) => Some(regex.captures_len() - 1),
        Err(error) => {
            // The last line of the crate's message is the reason, those before it draw the place.
            let message = error.to_string();
            let reason = message.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ").to_owned();
            problems.report(
                Code::BadRegex,
                pattern.span.clone(),
                "not a regular expression",
                reason,
                "in TOML, single quotes keep backslashes as they are: `'\\d+'`",
            );
            None
        }
    }
}

pub(super) fn check_jsonpath(path: &Text<'_>, problems: &mut Problems<'_>) {
    let reason = if is_tangled(path.text) {
        Some("too long or too deeply nested".to_owned())
    } else {
        JsonPath::parse(path.text)
            .err()
            .map(|error| error.to_string())
    };
    if let Some(reason) = reason {
        problems.report(
            Code::BadJsonpath,
            path.span.clone(),
            "not a JSONPath",
            reason,
            "write it from the root: `$.items[0].id`",
        );
    }
}

pub(super) fn check_css(selector: &Text<'_>, problems: &mut Problems<'_>) {
    let reason = if is_tangled(selector.text) {
        "too long or too deeply nested"
    } else if Selector::parse(selector.text).is_err() {
        "not understood"
    } else {
        return;
    };
    problems.report(
        Code::BadCss,
        selector.span.clone(),
        "not a CSS selector",
        reason,
        "write it as in a style sheet, without pseudo-elements: `input[name=csrf]`, `#cart .id`",
    );
}

/// Checks a path below a target: `/`, visible ASCII, no fragment.
pub(super) fn check_path(text: &str, span: Range<usize>, problems: &mut Problems<'_>) {
    let wrong = if !text.starts_with('/') {
        "it doesn't begin with `/`"
    } else if text.contains('#') {
        "a fragment (`#…`) is never sent"
    } else if text.contains(['{', '}']) {
        "it holds a brace that opens no value"
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "it holds a space or another character that must be percent-encoded"
    } else {
        return;
    };
    problems.report(
        Code::BadUrl,
        span,
        format!("not a path: {wrong}"),
        "not a path",
        "write the path below the target, such as `/api/clients?limit=20`",
    );
}

pub(super) fn check_header_name(name: &Text<'_>, problems: &mut Problems<'_>) {
    if HeaderName::from_bytes(name.text.as_bytes()).is_err() {
        problems.report(
            Code::BadHeader,
            name.span.clone(),
            format!("`{}` can't be a header's name", name.text),
            "not a header's name",
            "a header's name has letters, digits and `-`: `x-request-id`",
        );
    }
}

pub(super) fn check_cookie_name(name: &Text<'_>, problems: &mut Problems<'_>) {
    if !is_token(name.text) {
        problems.report(
            Code::BadHeader,
            name.span.clone(),
            format!("`{}` can't be a cookie's name", name.text),
            "not a cookie's name",
            "write the name alone, as it stands before the `=`: `session_id`",
        );
    }
}

/// Whether a text is `type/subtype`, perhaps with parameters, and can stand in a header.
pub(super) fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Whether a text is a token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether an expression is longer, or has more brackets within one another, than anyone writes.
fn is_tangled(expression: &str) -> bool {
    let mut depth = 0_usize;
    let mut deepest = 0_usize;
    for byte in expression.bytes() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    expression.len() > MAX_EXPRESSION || deepest > MAX_EXPRESSION_DEPTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_two_names_and_can_be_sent() {
        let check = |text: &str, expected: bool| {
            assert_eq!(is_media_type(text), expected, "{text:?}");
        };
        check("image/jpeg", true);
        check("text/plain; charset=utf-8", true);
        check("application/vnd.api+json", true);
        for wrong in [
            "",
            "jpeg",
            "image/",
            "/jpeg",
            "a/b/c",
            "image jpeg",
            "a/b\r\nx: y",
            "a/é",
        ] {
            check(wrong, false);
        }
    }

    #[test]
    fn a_selector_is_one_of_a_style_sheet() {
        let check = |text: &str, expected: bool| {
            let mut problems = Problems::new(text);
            check_css(&Text { text, span: 0..0 }, &mut problems);
            assert_eq!(problems.count() == 0, expected, "{text}");
        };
        check("input[name=csrf]", true);
        check("form > input:not([type=hidden]), #a .b", true);
        check(&format!("a{}", ":not(b".repeat(7) + &")".repeat(7)), true);
        for wrong in ["", "input[", "a > > b", "::", "p { color: red }"] {
            check(wrong, false);
        }
        check(&":not(".repeat(50_000), false);
        check(&"a ".repeat(300), false);
    }
}
