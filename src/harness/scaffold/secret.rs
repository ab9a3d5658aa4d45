//! What is a secret, by its name or by its looks. Where in doubt, it is one: a variable that has to be
//! set costs a minute, a token in a repository costs more.

use std::sync::LazyLock;

use regex::Regex;

/// What a name holds whose value is a secret, without case and separators.
const NAMES: [&str; 21] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authoriz",
    "authent",
    "oauth",
    "session",
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
const WHOLE_NAMES: [&str; 11] = [
    "auth", "key", "sid", "sig", "pin", "otp", "cvv", "cvc", "ssn", "iban", "xauth",
];
/// Nobody types so many characters without a gap; a UUID, which has hyphens, is known.
const RANDOM_CHARS: usize = 32;
/// A short `code` is one of a country, a long one that of a login.
const LOGIN_CODE_CHARS: usize = 16;

static LOOKS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}          # JSON Web Token
        | \b(sk|pk|rk)_(live|test)_[A-Za-z0-9]{8,}       # Stripe
        | \bsk-[A-Za-z0-9_-]{16,}
        | \b(gh[pousr]_|github_pat_|glpat-|xox[abeprs]-)[A-Za-z0-9_-]{10,}
        | \b(AKIA|ASIA)[0-9A-Z]{16}\b                    # Amazon
        | \bAIza[0-9A-Za-z_-]{30,}                       # Google
        | (?i:\bbearer\ +[A-Za-z0-9._~+/-]{8,})
        | -----BEGIN\ ",
    )
    .expect("BUG: a constant expression")
});

static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        .expect("BUG: a constant expression")
});

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

/// Whether a text holds something that only a secret looks like.
pub(super) fn looks_secret(text: &str) -> bool {
    LOOKS.is_match(text) || is_random(text)
}

/// Whether a text is one long word of letters and digits mixed, as tokens are.
fn is_random(text: &str) -> bool {
    text.len() >= RANDOM_CHARS
        && !UUID.is_match(text)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-+/=.%~".contains(&byte))
        && text.bytes().filter(u8::is_ascii_digit).count() >= 4
        && text.bytes().filter(u8::is_ascii_alphabetic).count() >= 4
        // A path or a sentence in hyphens has words in it.
        && text
            .split(|char: char| !char.is_ascii_alphanumeric())
            .any(|word| word.len() >= RANDOM_CHARS / 2)
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
        check("shoes", false);
        check("", false);
        assert!(is_secret("code", "4f3a8b9c0d1e2f3a4b"));
        assert!(!is_secret("code", "DE"));
    }
}
