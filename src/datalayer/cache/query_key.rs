//! The key of a query's answer.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// What separates the parts of a key, or would hide in a log.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'%')
    .add(b'&')
    .add(b'=')
    .add(b'?')
    .add(b'#')
    .add(b'*');

/// Whose data an answer is made of. No key of one tenant is ever one of another, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// One tenant's.
    Tenant(i64),
    /// All tenants' together.
    All,
}

impl Owner {
    /// A key of this owner.
    pub fn key(self, name: &str) -> String {
        match self {
            Self::Tenant(id) => format!("tenant:{id}:{name}"),
            Self::All => format!("all:{name}"),
        }
    }

    /// Whose a key is, and the rest of it; none where no owner's key begins so.
    pub fn of_key(key: &str) -> Option<(Self, &str)> {
        if let Some(name) = key.strip_prefix("all:") {
            return Some((Self::All, name));
        }
        let (id, name) = key.strip_prefix("tenant:")?.split_once(':')?;
        Some((Self::Tenant(id.parse().ok()?), name))
    }

    /// The parameters behind the name of the query, as [`query_key`](Self::query_key) wrote them; none
    /// where their hash stands for them.
    pub fn parameters_of(rest: &str) -> Option<Vec<(String, String)>> {
        let decode = |text| percent_decode_str(text).decode_utf8().ok();
        let pairs = rest.strip_prefix('?')?.split('&');
        pairs
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=')?;
                Some((decode(name)?.into_owned(), decode(value)?.into_owned()))
            })
            .collect()
    }

    /// The key of what a query gives with these parameters, whatever their order. Above `max_bytes`
    /// the parameters are stood for by their SHA-256, so that a key has a limit.
    pub fn query_key<N: AsRef<str>, V: AsRef<str>>(
        self,
        query: &str,
        parameters: impl IntoIterator<Item = (N, V)>,
        max_bytes: usize,
    ) -> String {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let mut pairs: Vec<_> = parameters
            .into_iter()
            .map(|(name, value)| format!("{}={}", encode(name.as_ref()), encode(value.as_ref())))
            .collect();
        pairs.sort_unstable();
        let parameters = pairs.join("&");
        let name = self.key(query);
        let key = format!("{name}?{parameters}");
        if key.len() <= max_bytes {
            return key;
        }
        let mut key = format!("{name}#");
        for byte in Sha256::digest(parameters) {
            // Writing into a string cannot fail.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    type Parameters<'a> = &'a [(&'a str, &'a str)];

    fn key(owner: Owner, parameters: Parameters<'_>) -> String {
        owner.query_key("clients", parameters.iter().copied(), 60)
    }

    #[test]
    fn one_question_has_one_key_whatever_the_order() {
        let (a, b) = (("city", "Bandung"), ("limit", "20"));
        let expected = "tenant:7:clients?city=Bandung&limit=20";
        assert_eq!(key(Owner::Tenant(7), &[a, b]), expected);
        assert_eq!(key(Owner::Tenant(7), &[b, a]), expected);
        assert_eq!(key(Owner::All, &[]), "all:clients?");
    }

    #[test]
    fn different_questions_have_different_keys() {
        let (long, longer) = ("x".repeat(1000), "x".repeat(1001));
        let questions: [(Owner, Parameters<'_>); 13] = [
            (Owner::All, &[]),
            (Owner::Tenant(1), &[]),
            (Owner::Tenant(11), &[]),
            (Owner::All, &[("q", "a")]),
            (Owner::All, &[("q", "a&limit=1")]),
            (Owner::All, &[("q", "a"), ("limit", "1")]),
            (Owner::All, &[("q", "a%26limit=1")]),
            (Owner::All, &[("q", "a=b")]),
            (Owner::All, &[("q=a", "b")]),
            (Owner::All, &[("q", "*")]),
            (Owner::All, &[("q", &long)]),
            (Owner::All, &[("q", &longer)]),
            (Owner::Tenant(1), &[("q", &long)]),
        ];
        let keys: HashSet<_> = questions
            .iter()
            .map(|(owner, parameters)| key(*owner, parameters))
            .collect();
        assert_eq!(keys.len(), questions.len(), "{keys:?}");
    }

    #[test]
    fn a_key_says_whose_it_is_and_what_was_asked() {
        let asked = [("limit", "20"), ("q", "a&b=c d%?#*é"), ("sort", "")];
        let key = Owner::Tenant(7).query_key("clients", asked, 200);
        let (owner, name) = Owner::of_key(&key).expect("a tenant's");
        assert_eq!((owner, &name[..7]), (Owner::Tenant(7), "clients"));
        let read = Owner::parameters_of(&name[7..]).expect("short enough");
        let read: Vec<_> = read.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(read, asked);
        assert_eq!(Owner::of_key("all:x"), Some((Owner::All, "x")));
        for none in ["client:7", "tenant:x:y", "tenant:7", ""] {
            assert_eq!(Owner::of_key(none), None, "{none}");
        }
        for none in ["#e2784982", "", "?x", "?%ff=1"] {
            assert_eq!(Owner::parameters_of(none), None, "{none}");
        }
    }

    #[test]
    fn a_long_key_is_hashed_and_keeps_its_owner_and_query() {
        let value = "x".repeat(100_000);
        let key = key(Owner::Tenant(7), &[("q", &value)]);
        // What sha256sum says of `q=` and as many `x`.
        let hash = "e2784982fa51a56d81ce7e68f415922d768e6692ac80c59e516ac7f3e4e66f1f";
        assert_eq!(key, format!("tenant:7:clients#{hash}"));
    }
}
