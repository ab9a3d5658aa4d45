//! Locks in Redis, by the algorithm Redlock (<https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>).
//!
//! Each server is asked by itself ([`Server`]), for so long at most, and the votes are counted here: a lock is
//! had by whoever has it on more than half of them. A server that falls silent delays the questions that are
//! under way and no others.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo, ProtocolVersion};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::backend::{Grant, LockBackend};
use super::error::LockError;
use super::server::{Server, TOKEN_BYTES, Vote};
use crate::datalayer::config::LockSettings;

/// Locks in one Redis or on most of several.
pub struct Redlock {
    servers: Vec<Arc<Server>>,
    prefix: String,
    /// How long each server has for its answer.
    limit: Duration,
}

/// What all servers say, in their order.
struct Votes(Vec<Vote>);

impl Redlock {
    /// Prepares connections to servers that must know nothing of each other: replicas of one are one.
    /// Connections are made when they are needed, and again whenever they break.
    ///
    /// # Errors
    /// [`LockError::Address`], also where there is none, and where one server is named twice: it would
    /// refuse itself every lock.
    pub fn new(urls: &[impl AsRef<str>], settings: &LockSettings) -> Result<Self, LockError> {
        let clients: Option<Vec<Client>> = urls.iter().map(|url| client(url.as_ref())).collect();
        let clients = clients.ok_or(LockError::Address)?;
        let address = |client: &Client| client.get_connection_info().addr().to_string();
        let mut addresses: Vec<String> = clients.iter().map(address).collect();
        addresses.sort();
        addresses.dedup();
        if clients.is_empty() || addresses.len() < clients.len() {
            return Err(LockError::Address);
        }
        // Whether a server says no or nothing may be a question of its own.
        let limit = Duration::from_millis(settings.timeout_ms) / 2;
        let pause = Duration::from_millis(settings.away_pause_ms);
        let server = |client| Arc::new(Server::new(client, limit, pause));
        Ok(Self {
            servers: clients.into_iter().map(server).collect(),
            prefix: settings.key_prefix.clone(),
            limit,
        })
    }

    fn key(&self, name: &str) -> Vec<u8> {
        format!("{}{name}", self.prefix).into_bytes()
    }

    /// More than half of the servers.
    fn quorum(&self) -> usize {
        self.servers.len() / 2 + 1
    }

    fn away(&self, votes: &Votes) -> LockError {
        LockError::Away {
            reachable: votes.answered(),
            servers: self.servers.len(),
        }
    }

    /// Asks all servers at once. A lock that is given when nobody waits for it any more is freed where `late`
    /// names its key.
    async fn ask<Q>(
        &self,
        late: Option<Vec<u8>>,
        question: impl Fn(Arc<Server>, usize) -> Q,
    ) -> Votes
    where
        Q: Future<Output = Vote> + Send + 'static,
    {
        let asked = self.servers.iter().enumerate().map(|(number, server)| {
            let (say, said) = oneshot::channel();
            // For one that is away nobody says anything.
            if !server.is_away() {
                let question = question(Arc::clone(server), number);
                let (server, late) = (Arc::clone(server), late.clone());
                // Brought to its end: a question that is dropped may have locked all the same.
                tokio::spawn(async move {
                    if let Err(Vote::Yes { token, .. }) = say.send(question.await)
                        && let Some(key) = late
                    {
                        server.free(&key, &token).await;
                    }
                });
            }
            async move {
                let said = timeout(self.limit, said).await;
                let vote = said.ok().and_then(Result::ok).unwrap_or(Vote::Silent);
                if matches!(vote, Vote::Silent) {
                    server.fell_silent();
                }
                vote
            }
        });
        Votes(join_all(asked).await)
    }

    /// Frees what `token` holds.
    async fn free(&self, key: &[u8], token: &[u8]) -> Votes {
        let question = |server: Arc<Server>, number| {
            let (key, token) = (key.to_vec(), token_of(token, number));
            async move { server.free(&key, &token).await }
        };
        self.ask(None, question).await
    }
}

#[async_trait]
impl LockBackend for Redlock {
    /// What a server gives after its time is freed there. One that hangs may have to keep it for its
    /// lifetime, which more than half of the others can do without.
    async fn try_lock(&self, name: &Arc<str>, ttl: Duration) -> Result<Option<Grant>, LockError> {
        let key = self.key(name);
        let question = |server: Arc<Server>, _| {
            let key = key.clone();
            async move { server.lock(&key, ttl).await }
        };
        let votes = self.ask(Some(key.clone()), question).await;
        let token = votes.token();
        match votes.until(self.quorum()) {
            Some(until) => Ok(Some(Grant { token, until })),
            None => {
                if votes.given() > 0 {
                    self.free(&key, &token).await;
                }
                votes.check(self.quorum(), ttl)?;
                if votes.answered() < self.quorum() {
                    return Err(self.away(&votes));
                }
                Ok(None)
            }
        }
    }

    async fn extend(
        &self,
        name: &Arc<str>,
        token: &[u8],
        ttl: Duration,
    ) -> Result<Instant, LockError> {
        let key = self.key(name);
        let question = |server: Arc<Server>, number| {
            let (key, token) = (key.clone(), token_of(token, number));
            async move { server.extend(&key, &token, ttl).await }
        };
        let votes = self.ask(None, question).await;
        match votes.until(self.quorum()) {
            Some(until) => Ok(until),
            None => {
                votes.check(self.quorum(), ttl)?;
                if votes.may_be(self.quorum()) {
                    return Err(self.away(&votes));
                }
                Err(LockError::Lost { name: name.clone() })
            }
        }
    }

    async fn release(
        &self,
        name: &Arc<str>,
        token: &[u8],
        _ttl: Duration,
    ) -> Result<(), LockError> {
        let votes = self.free(&self.key(name), token).await;
        match votes.given() {
            freed if freed >= self.quorum() => Ok(()),
            _ if votes.may_be(self.quorum()) => Err(self.away(&votes)),
            _ => Err(LockError::Lost { name: name.clone() }),
        }
    }
}

impl Votes {
    fn given(&self) -> usize {
        let given = self.0.iter();
        given
            .filter(|vote| matches!(vote, Vote::Yes { .. }))
            .count()
    }

    fn answered(&self) -> usize {
        let answered = self.0.iter();
        answered
            .filter(|vote| !matches!(vote, Vote::Silent))
            .count()
    }

    /// Whether enough might have said yes, had they said anything.
    fn may_be(&self, quorum: usize) -> bool {
        let silent = self.0.len() - self.answered();
        silent > 0 && self.given() + silent >= quorum
    }

    /// Until when enough servers keep the lock, if enough do: the first of them to let go ends it.
    fn until(&self, quorum: usize) -> Option<Instant> {
        let given = self.0.iter().filter_map(|vote| match vote {
            Vote::Yes { until, .. } => Some(*until),
            _ => None,
        });
        let until = given.min()?;
        (self.given() >= quorum && until > Instant::now()).then_some(until)
    }

    /// The servers' tokens, one after the other; zeros of one that gave none.
    fn token(&self) -> Vec<u8> {
        let tokens = self.0.iter().map(|vote| match vote {
            Vote::Yes { token, .. } => token.clone(),
            _ => vec![0; TOKEN_BYTES],
        });
        tokens.collect::<Vec<_>>().concat()
    }

    /// An error where a lifetime was the reason, of votes that are not enough or came too late.
    fn check(&self, quorum: usize, ttl: Duration) -> Result<(), LockError> {
        if self.given() >= quorum {
            return Err(LockError::TooShort { ttl });
        }
        for vote in &self.0 {
            match vote {
                Vote::TooShort => return Err(LockError::TooShort { ttl }),
                Vote::TooLong => return Err(LockError::TooLong { ttl }),
                Vote::Yes { .. } | Vote::No | Vote::Silent => {}
            }
        }
        Ok(())
    }
}

/// What a server of this number has given, out of what [`Votes::token`] made.
fn token_of(token: &[u8], number: usize) -> Vec<u8> {
    let begin = number * TOKEN_BYTES;
    let token = token.get(begin..begin + TOKEN_BYTES);
    token.unwrap_or_default().to_vec()
}

impl fmt::Debug for Redlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the addresses, which may hold passwords.
        f.debug_struct("Redlock")
            .field("servers", &self.servers.len())
            .finish_non_exhaustive()
    }
}

fn client(url: &str) -> Option<Client> {
    let info = url.into_connection_info().ok()?;
    // Without this, small commands wait for the acknowledgement of the ones before.
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let settings = info.redis_settings().clone();
    let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP2));
    Client::open(info).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_address_is_not_repeated() {
        let settings = LockSettings::default();
        let check = |urls: &[&str]| {
            let error = Redlock::new(urls, &settings).unwrap_err();
            assert_eq!(error, LockError::Address);
            assert!(!error.to_string().contains("secret"), "{error}");
        };
        check(&[]);
        check(&["mysql://u:secret@host/"]);
        check(&["redis://127.0.0.1/", "redis:secret"]);
        // One server under two names would refuse itself every lock.
        check(&["redis://127.0.0.1/", "redis://:secret@127.0.0.1:6379/1"]);
        assert!(
            Redlock::new(
                &["redis://127.0.0.1/", "redis://127.0.0.1:6380/"],
                &settings
            )
            .is_ok()
        );
    }

    #[test]
    fn more_than_half_decide_and_the_silent_are_not_counted_out() {
        let yes = || Vote::Yes {
            token: vec![7; TOKEN_BYTES],
            until: Instant::now() + Duration::from_secs(60),
        };
        let check = |votes: Vec<Vote>, is_held: bool, answered: usize, may_be: bool| {
            let quorum = votes.len() / 2 + 1;
            let votes = Votes(votes);
            assert_eq!(votes.until(quorum).is_some(), is_held);
            assert_eq!(votes.answered(), answered);
            assert_eq!(votes.may_be(quorum), may_be);
        };
        check(vec![yes()], true, 1, false);
        check(vec![Vote::No], false, 1, false);
        check(vec![Vote::Silent], false, 0, true);
        check(vec![yes(), yes(), Vote::Silent], true, 2, true);
        check(vec![yes(), Vote::No, Vote::Silent], false, 2, true);
        check(vec![Vote::No, Vote::No, Vote::Silent], false, 2, false);
        check(vec![yes(), Vote::No, Vote::No], false, 3, false);
        // Half is not more than half.
        check(vec![yes(), Vote::No], false, 2, false);
        let votes = Votes(vec![Vote::Silent, yes()]);
        assert_eq!(token_of(&votes.token(), 0), [0; TOKEN_BYTES]);
        assert_eq!(token_of(&votes.token(), 1), [7; TOKEN_BYTES]);
    }
}
