//! The cookies of one user (RFC 6265).

use std::convert::Infallible;
use std::fmt::Write as _;

use bytes::Bytes;
use cookie_store::{Cookie, CookieStore};
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

/// A jar takes no more cookies than this, about what browsers keep of one server; whatever a server
/// sends, the memory of a user is bounded.
const MAX_COOKIES: usize = 180;
/// A longer cookie is not taken, as by browsers.
const MAX_COOKIE_BYTES: usize = 4096;

/// What a server asked a user to send back.
#[derive(Debug, Default)]
pub(super) struct Jar {
    store: CookieStore,
    is_used: bool,
}

impl Jar {
    /// Whether no server has set a cookie; then nothing has to be looked up.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_used
    }

    /// Takes the cookies that the answer of `url` sets.
    pub(super) fn take(&mut self, headers: &HeaderMap, url: &Url) {
        for header in headers.get_all(SET_COOKIE) {
            let text = header
                .to_str()
                .ok()
                .filter(|text| text.len() <= MAX_COOKIE_BYTES);
            let cookie = text.and_then(|text| Cookie::parse(text.to_owned(), url).ok());
            let Some(cookie) = cookie else { continue };
            if self.store.iter_any().count() >= MAX_COOKIES {
                self.forget_expired();
            }
            // A jar that is full takes what replaces or removes a cookie that it has.
            if self.store.iter_any().count() < MAX_COOKIES || self.has(&cookie) {
                // One that the server may not set is none.
                let _ = self.store.insert(cookie, url);
                self.is_used = true;
            }
        }
    }

    fn has(&self, cookie: &Cookie<'_>) -> bool {
        let domain = cookie.domain.as_cow();
        domain.is_some_and(|domain| self.store.contains(&domain, &cookie.path, cookie.name()))
    }

    /// Adds the cookies for `url` to a request's own.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, url: &Url) {
        let own = headers.get(COOKIE).and_then(|own| own.to_str().ok());
        let mut line = own.unwrap_or_default().to_owned();
        for (name, value) in self.store.get_request_values(url) {
            let separator = if line.is_empty() { "" } else { "; " };
            let _ = write!(line, "{separator}{name}={value}");
        }
        if !line.is_empty()
            && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(line))
        {
            headers.insert(COOKIE, value);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        if self.is_used {
            self.store.clear();
            self.is_used = false;
        }
    }

    fn forget_expired(&mut self) {
        let all = std::mem::take(&mut self.store);
        let unexpired = all.iter_unexpired().cloned().map(Ok::<_, Infallible>);
        let Ok(store) = CookieStore::from_cookies(unexpired, false);
        self.store = store;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn jar(at: &str, cookies: &[&str]) -> Jar {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        let mut jar = Jar::default();
        jar.take(&headers, &Url::parse(at).unwrap());
        jar
    }

    fn sent(jar: &Jar, to: &str, own: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(own) = own {
            headers.insert(COOKIE, own.parse().unwrap());
        }
        jar.add_to(&mut headers, &Url::parse(to).unwrap());
        let mut sent = headers.get_all(COOKIE).iter();
        let line = sent.next().map(|line| line.to_str().unwrap().to_owned());
        assert_eq!(sent.next(), None);
        line
    }

    #[test]
    fn a_cookie_is_sent_back_where_it_belongs() {
        let login = "http://127.0.0.1:8080/app/login";
        let check = |cookie: &str, to: &str, expected: Option<&str>| {
            let found = sent(&jar(login, &[cookie]), to, None);
            assert_eq!(found.as_deref(), expected, "{cookie} {to}");
        };
        let app = "http://127.0.0.1:8080/app/x?y";
        let other = "http://127.0.0.1:8080/other";
        check("sid=1", app, Some("sid=1"));
        check("sid=1", other, None);
        check("sid=1; Path=/", other, Some("sid=1"));
        check("sid=1; Path=/other; HttpOnly", app, None);
        // As in browsers: what doesn't leave the machine is as good as secured.
        check("sid=1; Path=/; Secure", app, Some("sid=1"));
        let far = "http://app.example/login";
        let found = sent(&jar(far, &["sid=1; Path=/; Secure"]), far, None);
        assert_eq!(found, None);
        check("sid=1; Path=/; Max-Age=60", app, Some("sid=1"));
        check("sid=1; Path=/; Max-Age=0", app, None);
        check("sid=1; Expires=Wed, 01 Jan 2020 00:00:00 GMT", app, None);
        check("sid=1; Domain=elsewhere.example", app, None);
        check("no cookie", app, None);
        check("sid=", app, Some("sid="));
    }

    #[test]
    fn cookies_are_replaced_removed_and_joined() {
        let at = "http://127.0.0.1/";
        let set = jar(at, &["a=1", "b=2", "a=3"]);
        assert_eq!(sent(&set, at, None).as_deref(), Some("a=3; b=2"));
        assert_eq!(
            sent(&set, at, Some("own=0")).as_deref(),
            Some("own=0; a=3; b=2")
        );
        let removed = jar(at, &["a=1", "b=2", "a=; Max-Age=0"]);
        assert_eq!(sent(&removed, at, None).as_deref(), Some("b=2"));
        let mut cleared = jar(at, &["a=1"]);
        assert!(!cleared.is_empty());
        cleared.clear();
        assert!(cleared.is_empty());
        assert_eq!(sent(&cleared, at, None), None);
    }

    #[test]
    fn a_jar_has_an_end_but_no_room_for_what_expired() {
        let at = "http://127.0.0.1/";
        let many: Vec<String> = (0..MAX_COOKIES + 20)
            .map(|nth| format!("c{nth}=1"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let full = jar(at, &many);
        let line = sent(&full, at, None).unwrap();
        assert_eq!(line.split("; ").count(), MAX_COOKIES);
        // What it has, a server can still renew and remove; then there is room again.
        let later = ["c7=2", "new=1", "c8=; Max-Age=0", "newer=1"];
        let full = jar(at, &[&many, &later[..]].concat());
        let line = sent(&full, at, None).unwrap();
        assert_eq!(line.split("; ").count(), MAX_COOKIES);
        let has = |cookie| line.split("; ").any(|sent| sent == cookie);
        assert!(has("c7=2") && has("newer=1") && !has("c8=1") && !has("new=1"));
        let turns: Vec<String> = (0..3 * MAX_COOKIES)
            .flat_map(|nth| [format!("c{nth}=1"), format!("c{nth}=; Max-Age=0")])
            .chain(["last=1".to_owned()])
            .collect();
        let turns: Vec<&str> = turns.iter().map(String::as_str).collect();
        assert_eq!(sent(&jar(at, &turns), at, None).as_deref(), Some("last=1"));
        let long = format!("long={}", "x".repeat(MAX_COOKIE_BYTES));
        assert_eq!(sent(&jar(at, &[&long]), at, None), None);
    }
}
