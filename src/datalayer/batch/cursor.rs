//! The place where a page starts, as text that clients hand back without looking into it.
//!
//! A cursor is not a secret: whoever forges one gets another place in rows that they may read
//! anyway. It is checked so that a mistake is an answer 400 and not a strange page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::page::PageError;
use super::table::{Kind, Value};

/// Longer than any cursor of ours.
const MAX_BYTES: usize = 2048;

/// The key of the last row of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Its value in the column that the list is sorted by.
    pub(super) key: Value,
    /// Its id, which breaks ties.
    pub(super) id: i64,
}

/// What stands in the text, after base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    /// The version of this format.
    v: u8,
    /// The question that the cursor belongs to, digested.
    scope: String,
    key: Key,
    id: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    Integer(i64),
    Text(String),
}

const VERSION: u8 = 1;

impl Cursor {
    pub(super) fn encode(self, scope: &str) -> String {
        let key = match self.key {
            Value::Integer(number) => Key::Integer(number),
            Value::Text(text) => Key::Text(text.into_owned()),
        };
        let wire = Wire {
            v: VERSION,
            scope: digest(scope),
            key,
            id: self.id,
        };
        let json = serde_json::json!(wire).to_string();
        URL_SAFE_NO_PAD.encode(json)
    }

    pub(super) fn decode(text: &str, scope: &str, kind: Kind) -> Result<Self, PageError> {
        let wrong = |reason| PageError::Cursor { reason };
        if text.len() > MAX_BYTES {
            return Err(wrong("is too long"));
        }
        let json = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| wrong("is damaged"))?;
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| wrong("is damaged"))?;
        if wire.v != VERSION {
            return Err(wrong("comes from another version"));
        }
        if wire.scope != digest(scope) {
            return Err(wrong("belongs to another filter, search or order"));
        }
        let key = match (wire.key, kind) {
            (Key::Integer(number), Kind::Integer) => number.into(),
            (Key::Text(text), Kind::Text) if !text.contains('\0') => text.into(),
            _ => return Err(wrong("is damaged")),
        };
        Ok(Self { key, id: wire.id })
    }
}

/// Eight bytes are plenty to tell one client's questions apart.
fn digest(scope: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(scope)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str, scope: &str, kind: Kind) -> &'static str {
        match Cursor::decode(text, scope, kind) {
            Err(PageError::Cursor { reason }) => reason,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn wire(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json.replace("SCOPE", &digest("s")))
    }

    #[test]
    fn comes_back_as_it_went() {
        for key in [
            Value::from(-3),
            "Müller".into(),
            "".into(),
            "a\"b\\c".into(),
        ] {
            let cursor = Cursor { key, id: 77 };
            let kind = cursor.key.kind();
            assert_eq!(
                Cursor::decode(&cursor.clone().encode("s"), "s", kind),
                Ok(cursor)
            );
        }
    }

    #[test]
    fn what_is_not_a_cursor_is_told_apart() {
        let ours = Cursor {
            key: "x".into(),
            id: 1,
        }
        .encode("s");
        assert_eq!(
            reason(&ours, "t", Kind::Text),
            "belongs to another filter, search or order"
        );
        assert_eq!(reason(&ours, "s", Kind::Integer), "is damaged");
        assert_eq!(
            reason(&ours[..ours.len() - 3], "s", Kind::Text),
            "is damaged"
        );
        assert_eq!(reason("", "s", Kind::Text), "is damaged");
        assert_eq!(reason("!!", "s", Kind::Text), "is damaged");
        assert_eq!(reason(&"A".repeat(3000), "s", Kind::Text), "is too long");
        let extra = wire(r#"{"v":1,"scope":"SCOPE","key":{"text":"x"},"id":1,"x":1}"#);
        assert_eq!(reason(&extra, "s", Kind::Text), "is damaged");
        let later = wire(r#"{"v":2,"scope":"SCOPE","key":{"text":"x"},"id":1}"#);
        assert_eq!(
            reason(&later, "s", Kind::Text),
            "comes from another version"
        );
        let nul = wire(r#"{"v":1,"scope":"SCOPE","key":{"text":"\u0000"},"id":1}"#);
        assert_eq!(reason(&nul, "s", Kind::Text), "is damaged");
    }
}
