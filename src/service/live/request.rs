//! What a client may say.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::ROOMS;
use crate::datalayer::live::Position;

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Rooms to join, after a place where the client comes back.
    Join(BTreeSet<String>, Option<Position>),
    Leave(String),
}

/// Why a message was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    join: Option<Value>,
    #[serde(default, deserialize_with = "place")]
    after: Option<Position>,
    leave: Option<String>,
}

/// A place as clients are told it: null while nobody could say where it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlace {
    // Both have to be there; by themselves, options may be missing.
    #[serde(deserialize_with = "Option::deserialize")]
    epoch: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    seq: Option<u64>,
}

impl Request {
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let raw: Raw = serde_json::from_str(text)
            .map_err(|error| invalid(format!("not understood: {error}")))?;
        match (raw.join, raw.leave, raw.after) {
            (Some(rooms), None, after) => Ok(Self::Join(read_rooms(&rooms)?, after)),
            (None, Some(room), None) => Ok(Self::Leave(check_room(&room)?)),
            _ => Err(invalid("say `join`, and `after` with it, or `leave`")),
        }
    }
}

impl Problem {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// As the client is told.
    pub(super) fn json(&self) -> String {
        json!({ "error": { "code": self.code, "message": self.message } }).to_string()
    }
}

/// The place after which a client comes back. What is null is a place in no log, so that the client hears of
/// a gap: it has missed what it has missed.
fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Position>, D::Error> {
    let place = Option::<RawPlace>::deserialize(deserializer)?;
    let known = place.and_then(|place| place.epoch.zip(place.seq));
    let (epoch, seq) = known.unwrap_or_default();
    Ok(Some(Position { epoch, seq }))
}

/// One room or a list of them.
fn read_rooms(rooms: &Value) -> Result<BTreeSet<String>, Problem> {
    let rooms = match rooms {
        Value::Array(rooms) => rooms.as_slice(),
        room => std::slice::from_ref(room),
    };
    let names = rooms.iter().map(|room| {
        let name = room.as_str();
        check_room(name.ok_or_else(|| invalid("a room is a text"))?)
    });
    let names: BTreeSet<String> = names.collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err(invalid("`join` names no room"));
    }
    Ok(names)
}

fn check_room(name: &str) -> Result<String, Problem> {
    if ROOMS.contains(&name) {
        return Ok(name.to_owned());
    }
    let message = format!("there are the rooms {}", ROOMS.join(", "));
    Err(Problem::new("unknown_room", message))
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new("invalid_message", message)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_is_read() {
        let rooms = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let check = |text: &str, expected: Request| {
            assert_eq!(Request::read(text).unwrap(), expected, "{text}");
        };
        check(
            r#"{"join":"clients"}"#,
            Request::Join(rooms(&["clients"]), None),
        );
        let after = Position {
            epoch: "e".to_owned(),
            seq: 7,
        };
        check(
            r#"{"join":["payments","clients"],"after":{"epoch":"e","seq":7}}"#,
            Request::Join(rooms(&["clients", "payments"]), Some(after)),
        );
        for unknown in [
            "null",
            r#"{"epoch":null,"seq":null}"#,
            r#"{"epoch":"e","seq":null}"#,
        ] {
            let nowhere = Position {
                epoch: String::new(),
                seq: 0,
            };
            check(
                &format!(r#"{{"join":"clients","after":{unknown}}}"#),
                Request::Join(rooms(&["clients"]), Some(nowhere)),
            );
        }
        check(
            r#"{"leave":"payments"}"#,
            Request::Leave("payments".to_owned()),
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, code: &str| {
            assert_eq!(Request::read(text).unwrap_err().code, code, "{text}");
        };
        check(r#"{"join":"secrets"}"#, "unknown_room");
        check(r#"{"leave":"clients/7"}"#, "unknown_room");
        for text in [
            "",
            "join",
            "[]",
            "{}",
            r#"{"join":7}"#,
            r#"{"join":[]}"#,
            r#"{"join":["clients",7]}"#,
            r#"{"join":"clients","leave":"clients"}"#,
            r#"{"leave":"clients","after":{"epoch":"e","seq":7}}"#,
            r#"{"leave":"clients","after":null}"#,
            r#"{"join":"clients","after":{"epoch":"e","seq":-1}}"#,
            r#"{"join":"clients","after":{"epoch":"e"}}"#,
            r#"{"join":"clients","after":{"epoch":"e","seq":7,"id":1}}"#,
            r#"{"join":"clients","after":7}"#,
            r#"{"join":"clients","tenant":2}"#,
        ] {
            check(text, "invalid_message");
        }
    }
}
