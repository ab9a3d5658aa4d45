//! What others change in a Redis, over a connection of its own: one that is subscribed takes no other
//! commands.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisResult};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};

use super::hearing::{Heard, Subscription};
use super::{Scope, TierError};

/// A message on the channel: a change, and who made it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) by: String,
    pub(super) scopes: Vec<Scope>,
}

/// A subscription to the channel, which connects again when its connection broke.
pub(super) struct RedisSubscription {
    pub(super) client: Client,
    pub(super) channel: String,
    /// Whose own messages are no news.
    pub(super) name: String,
    /// Longest wait for an answer.
    pub(super) limit: Duration,
    /// A connection that brought nothing for so long is asked whether it still stands.
    pub(super) beat: Duration,
    pub(super) connection: Option<Connection>,
}

pub(super) struct Connection {
    sink: PubSubSink,
    messages: PubSubStream,
    ask_at: Instant,
}

impl RedisSubscription {
    async fn connect(&mut self) -> Result<(), TierError> {
        let connect = async {
            let (mut sink, messages) = self.client.get_async_pubsub().await?.split();
            sink.subscribe(&self.channel).await?;
            RedisResult::Ok((sink, messages))
        };
        let (sink, messages) = within(self.limit, connect).await?;
        self.connection = Some(Connection {
            sink,
            messages,
            ask_at: Instant::now() + self.beat,
        });
        Ok(())
    }
}

#[async_trait]
impl Subscription for RedisSubscription {
    async fn next(&mut self) -> Result<Heard, TierError> {
        // Taken out, so that a call which fails or is cancelled leaves no connection that may have
        // lost something.
        let Some(mut connection) = self.connection.take() else {
            self.connect().await?;
            return Ok(Heard::Gap);
        };
        loop {
            match timeout_at(connection.ask_at, connection.messages.next()).await {
                Ok(Some(message)) => {
                    let Some(heard) = read(message.get_payload_bytes(), &self.name) else {
                        continue;
                    };
                    self.connection = Some(connection);
                    return Ok(heard);
                }
                Ok(None) => {
                    let reason = "the subscription broke off".to_owned();
                    return Err(TierError::Away { reason });
                }
                // A way that was cut off brings no news and no end either.
                Err(_) => {
                    within(self.limit, connection.sink.ping::<redis::Value>()).await?;
                    connection.ask_at = Instant::now() + self.beat;
                }
            }
        }
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = RedisResult<T>>,
) -> Result<T, TierError> {
    let away = |_| TierError::Away {
        reason: format!("no answer within {limit:?}"),
    };
    Ok(timeout(limit, answer).await.map_err(away)??)
}

/// What a message means to `name`. One that is not understood may mean anything.
fn read(payload: &[u8], name: &str) -> Option<Heard> {
    match serde_json::from_slice::<Message>(payload) {
        Ok(message) if message.by == name => None,
        Ok(message) => Some(Heard::Change(message.scopes)),
        Err(_) => Some(Heard::Gap),
    }
}

impl fmt::Debug for RedisSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the address, which may hold a password.
        f.debug_struct("RedisSubscription")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;
    use crate::datalayer::cache::Pattern;

    #[test]
    fn what_others_say_is_heard_and_nonsense_is_a_gap() {
        let scopes = vec![
            Scope::Key("k \"\n".to_owned()),
            Scope::Tag("t".to_owned()),
            Scope::Family("f".to_owned()),
            Scope::Pattern(Pattern::new("p*")),
            Scope::All,
        ];
        let message = Message {
            by: "one".to_owned(),
            scopes: scopes.clone(),
        };
        let payload = serde_json::to_vec(&message).unwrap();
        assert_eq!(read(&payload, "one"), None);
        assert_eq!(read(&payload, "two"), Some(Heard::Change(scopes)));
        assert_eq!(read(b"FLUSH", "two"), Some(Heard::Gap));
        let later = br#"{"by": "one", "scopes": ["something_new"]}"#;
        assert_eq!(read(later, "two"), Some(Heard::Gap));
    }
}
