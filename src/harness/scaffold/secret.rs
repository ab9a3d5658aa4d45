//! What is a secret, by its name or by its looks. Where in doubt, it is one: a variable that has to be
//! set costs a minute, a token in a repository costs more.

use std::sync::LazyLock;

use regex::Regex;

/// What a name holds whose value is a secret, without case and separators.
const NAMES: [&str; 31] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passkey",
    "pwd",
    "secret",
    "token",
    "bearer",
    "apikey",
    "appkey",
    "authkey",
    "accesskey",
    "privatekey",
    "sharedkey",
    "licensekey",
    "functionskey",
    "subscriptionkey",
    "authoriz",
    "authent",
    "oauth",
    "session",
    "sessid",
    "csrf",
    "xsrf",
    "jwt",
    "signature",
    "credential",
    "cardnumber",
    "cookie",
    "assertion",
];
/// Names that are a secret's as they stand.
const WHOLE_NAMES: [&str; 13] = [
    "auth", "key", "sid", "sig", "pin", "otp", "cvv", "cvc", "ssn", "iban", "xauth", "pass",
    "ticket",
];
/// Nobody types so many characters without a gap; a UUID, which has hyphens, is known.
const RANDOM_CHARS: usize = 32;
/// A short `code` is one of a country, a long one that of a login.
const LOGIN_CODE_CHARS: usize = 16;

static LOOKS: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?x)
        eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}          # JSON Web Token
        | \b(sk|pk|rk)_(live|test)_[A-Za-z0-9]{8,}       # Stripe
        | \bsk-[A-Za-z0-9_-]{16,}
        | \b(gh[pousr]_|github_pat_|glpat-|xox[abeprs]-)[A-Za-z0-9_-]{10,}
        | \b(AKIA|ASIA)[0-9A-Z]{16}\b                    # Amazon
        | \bAIza[0-9A-Za-z_-]{30,}                       # Google
        | \bya29\.[0-9A-Za-z_-]{10,}
        | \bhooks\.slack\.com/services/
        | ://[^/\s:@]+:[^/\s@]+@                         # credentials in a URL
        | (?i:\bbearer\ +[A-Za-z0-9._~+/=-]{8,})
        | -----BEGIN\ ",
    )
});

/// Names with their values, as queries and JSON have them, which stand in other values.
static NAMED: LazyLock<Regex> =
    LazyLock::new(|| expression(r#"([A-Za-z0-9_.\[\]-]+)(?:=|["']\s*:)\s*["']?[^\s"'&,;}\]]"#));

static UUID: LazyLock<Regex> =
    LazyLock::new(|| expression(r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"));

/// Whether a value under this name, or with these looks, is a secret.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    is_secret_name(name)
        || looks_secret(value)
        || (name.eq_ignore_ascii_case("code") && value.len() >= LOGIN_CODE_CHARS)
}

/// Whether what has this name is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(|char| char.is_ascii_alphanumeric())
        .collect::<String>()
        .to_ascii_lowercase();
    WHOLE_NAMES.contains(&name.as_str()) || NAMES.iter().any(|part| name.contains(part))
}

/// Whether a text holds something that only a secret looks like, or a name of a secret with its value.
pub(super) fn looks_secret(text: &str) -> bool {
    let is_of_a_word = |char: char| char.is_ascii_alphanumeric() || "_-+/=.%~".contains(char);
    LOOKS.is_match(text)
        || text.split(|char| !is_of_a_word(char)).any(is_random)
        || NAMED
            .captures_iter(text)
            .any(|found| is_secret_name(&found[1]))
}

/// Whether a word mixes letters and digits as tokens do. What is written for people, a path or a title in
/// hyphens, has words in it and numbers beside them.
fn is_random(word: &str) -> bool {
    if word.len() < RANDOM_CHARS {
        return false;
    }
    let rest = UUID.replace_all(word, "");
    let is_mixed = |piece: &&str| {
        piece.bytes().any(|byte| byte.is_ascii_digit())
            && piece.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let pieces = rest.split(|char: char| !char.is_ascii_alphanumeric());
    let mixed: usize = pieces.filter(is_mixed).map(str::len).sum();
    mixed >= RANDOM_CHARS / 2
}

fn expression(pattern: &str) -> Regex {
    Regex::new(pattern).expect("BUG: a constant expression")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "Authorization",
            "X-API-Key",
            "api_key",
            "access_token",
            "csrf-token",
            "__Host-session",
            "userPassword",
            "client_secret",
            "sig",
            "X-Amz-Signature",
            "Set-Cookie",
            "xsrf",
            "PHPSESSID",
            "JSESSIONID",
            "Ocp-Apim-Subscription-Key",
            "pass",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "author",
            "page",
            "keyword",
            "q",
            "design",
            "description",
            "code",
            "assign",
            "passenger",
            "sort_key",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_known_by_their_looks() {
        let check = |text: &str, expected: bool| assert_eq!(looks_secret(text), expected, "{text}");
        check(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
            true,
        );
        check("Bearer abcdef123456", true);
        check("ghp_0123456789abcdef0123456789abcdef0123", true);
        check("d41d8cd98f00b204e9800998ecf8427e", true);
        check("AKIAABCDEFGHIJKLMNOP", true);
        check("9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", false);
        check("a-very-long-slug-of-an-article-about-2024-and-2025", false);
        check("2026-11-22T18:00:00.000+00:00", false);
        check("/items/9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d/of/2026", false);
        check("/catalogue/summercollection/2024", false);
        check("shoes", false);
        check("", false);
        check("12|Vd1xJ0qLw9Zr3tYbNc8mKp5sGh2fAe7u", true);
        // Of random characters, some have hardly a digit, and gaps anywhere.
        check("kXbqWd-ZpLmR7tYcVn_sGhJfAeUiOwQz4xTrBkMvDyEl", true);
    }

    #[test]
    fn secrets_within_other_values_are_known() {
        let check = |text: &str, expected: bool| assert_eq!(looks_secret(text), expected, "{text}");
        check("https://shop.example/callback?token=abc123", true);
        check("/after?next=%2F#access_token=abc123", true);
        check("https://ada:lovelace@shop.example/", true);
        check(r#"{"query": "x", "password": "abc123"}"#, true);
        check("https://hooks.slack.com/services/T0/B0/x", true);
        check("https://shop.example/products?page=2&sort=name", false);
        check(r#"{"author": "Ada", "token": ""}"#, false);
        check("token=", false);
        check("text/html;q=0.9,*/*;q=0.8", false);
        check("The session begins at 12:30", false);
    }

    #[test]
    fn a_login_code_is_a_long_one() {
        assert!(is_secret("code", "4f3a8b9c0d1e2f3a4b"));
        assert!(!is_secret("code", "DE"));
    }
}
