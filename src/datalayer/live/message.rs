//! What subscribers are sent, as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::update::{Position, Update, since};

/// One message to one connection.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// A JSON object: `epoch` and `seq`, the place up to which the receiver has everything now (null while
    /// Redis is away), and `updates`, each with `room`, `data` and its own `seq`. `"gap": true` where updates
    /// were lost before that place, `joined` with the rooms where it answers.
    pub text: Bytes,
    /// How many updates there are in it.
    pub updates: usize,
    /// When the first of them was published; nothing for an answer, whose updates are as old as the
    /// connection was away.
    oldest_at_ns: Option<u64>,
}

impl Delivery {
    pub(super) fn new<'a>(
        position: Option<&Position>,
        gap: bool,
        joined: Option<&BTreeSet<String>>,
        updates: impl Iterator<Item = &'a Update>,
    ) -> Self {
        let mut text = String::from("{");
        // Writing into a string cannot fail.
        if let Some(rooms) = joined {
            let _ = write!(text, "\"joined\":{},", json!(rooms));
        }
        if gap {
            text.push_str("\"gap\":true,");
        }
        let epoch = json!(position.map(|position| &position.epoch));
        let seq = json!(position.map(|position| position.seq));
        let _ = write!(text, "\"epoch\":{epoch},\"seq\":{seq},\"updates\":[");
        let (mut count, mut oldest_at_ns) = (0, None);
        for update in updates {
            let comma = if count == 0 { "" } else { "," };
            let (seq, room) = (json!(update.seq), json!(update.change.room));
            let data = &update.change.data;
            let _ = write!(
                text,
                "{comma}{{\"seq\":{seq},\"room\":{room},\"data\":{data}}}"
            );
            count += 1;
            let oldest = oldest_at_ns.get_or_insert(update.at_ns);
            *oldest = update.at_ns.min(*oldest);
        }
        text.push_str("]}");
        Self {
            text: text.into(),
            updates: count,
            oldest_at_ns: oldest_at_ns.filter(|_| joined.is_none()),
        }
    }

    /// How long ago the first of its updates was published.
    pub(super) fn age(&self) -> Option<Duration> {
        self.oldest_at_ns.map(since)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::datalayer::live::update::Change;

    #[test]
    fn a_message_is_json_whatever_the_room_is_called() {
        let update = |seq, at_ns| Update {
            seq,
            at_ns,
            change: Change {
                room: "a\"b".to_owned(),
                data: "{\"id\":7}".to_owned(),
            },
        };
        let updates = [update(Some(4), 30), update(None, 20)];
        let position = Position {
            epoch: "e".to_owned(),
            seq: 5,
        };
        let rooms = BTreeSet::from(["a\"b".to_owned()]);
        let delivery = Delivery::new(Some(&position), true, Some(&rooms), updates.iter());
        let message: Value = serde_json::from_slice(&delivery.text).unwrap();
        let expected = json!({
            "joined": ["a\"b"], "gap": true, "epoch": "e", "seq": 5,
            "updates": [
                { "seq": 4, "room": "a\"b", "data": { "id": 7 } },
                { "seq": null, "room": "a\"b", "data": { "id": 7 } },
            ],
        });
        assert_eq!(message, expected);
        assert_eq!((delivery.updates, delivery.oldest_at_ns), (2, None));
        let by_itself = Delivery::new(Some(&position), false, None, updates.iter());
        assert_eq!(by_itself.oldest_at_ns, Some(20));
        let nothing = Delivery::new(None, false, None, [].iter());
        let message: Value = serde_json::from_slice(&nothing.text).unwrap();
        assert_eq!(
            message,
            json!({ "epoch": null, "seq": null, "updates": [] })
        );
        assert_eq!((nothing.updates, nothing.age()), (0, None));
    }
}
