//! Locks in Redis, by the algorithm Redlock (<https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>).
//!
//! rslock does the algorithm. It says "unavailable" whether a lock is taken or the servers are away, waits for
//! as long as its connections take, and keeps a connection that went silent; what is here tells the two
//! apart, sets the limit, and begins with new connections after an outage.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion};
use rslock::LockManager;
use tokio::time::{Instant, timeout};

use super::backend::{Grant, LockBackend};
use super::error::LockError;
use crate::datalayer::config::LockSettings;

/// Locks in one Redis or on most of several.
pub struct Redlock {
    clients: Vec<Client>,
    prefix: String,
    limit: Duration,
    pause: Duration,
    state: Mutex<State>,
}

struct State {
    manager: LockManager,
    /// Until then nobody asks servers that were found away.
    away_until: Option<Instant>,
}

/// Why rslock gave nothing.
enum Refusal {
    /// Enough servers answer, and most of them said no.
    Denied,
    Failed(LockError),
}

impl Redlock {
    /// Prepares connections to servers that must know nothing of each other: replicas of one are one.
    /// Connections are made when they are needed, and again whenever they break.
    ///
    /// # Errors
    /// [`LockError::Address`], also where there is none.
    pub fn new(urls: &[impl AsRef<str>], settings: &LockSettings) -> Result<Self, LockError> {
        let clients: Option<Vec<Client>> = urls.iter().map(|url| client(url.as_ref())).collect();
        let clients = clients.filter(|clients| !clients.is_empty());
        let clients = clients.ok_or(LockError::Address)?;
        let state = State {
            manager: manager(&clients),
            away_until: None,
        };
        Ok(Self {
            clients,
            prefix: settings.key_prefix.clone(),
            limit: Duration::from_millis(settings.timeout_ms),
            pause: Duration::from_millis(settings.away_pause_ms),
            state: Mutex::new(state),
        })
    }

    fn key(&self, name: &str) -> Vec<u8> {
        format!("{}{name}", self.prefix).into_bytes()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manager(&self) -> LockManager {
        self.state().manager.clone()
    }

    /// The lock as rslock knows it.
    fn held(&self, name: &str, token: &[u8]) -> rslock::Lock {
        rslock::Lock {
            resource: self.key(name),
            val: token.to_vec(),
            validity_time: 0,
            lock_manager: self.manager(),
        }
    }

    /// What rslock gives within the time limit.
    async fn ask(
        &self,
        name: &str,
        ttl: Duration,
        answer: impl Future<Output = Result<rslock::Lock, rslock::LockError>>,
    ) -> Result<rslock::Lock, Refusal> {
        let error = match timeout(self.limit, answer).await {
            Ok(Ok(lock)) => return Ok(lock),
            Ok(Err(error)) => error,
            Err(_) => return Err(Refusal::Failed(self.away(0))),
        };
        Err(match error {
            rslock::LockError::TtlExceeded => Refusal::Failed(LockError::TooShort { ttl }),
            rslock::LockError::TtlTooLarge => Refusal::Failed(LockError::TooLong { ttl }),
            _ => match timeout(self.limit, self.reachable(name)).await {
                Ok(reachable) if 2 * reachable > self.clients.len() => Refusal::Denied,
                Ok(reachable) => Refusal::Failed(self.away(reachable)),
                Err(_) => Refusal::Failed(self.away(0)),
            },
        })
    }

    /// How many servers answer.
    async fn reachable(&self, name: &str) -> usize {
        // Mostly the one server there is has the lock of another, and has just been asked.
        if let [_] = &self.clients[..] {
            let (manager, key) = (self.manager(), self.key(name));
            let holder = manager.query_redis_for_key_value(&key).await;
            if matches!(holder, Ok(Some(_))) {
                return 1;
            }
        }
        let answers = join_all(self.clients.iter().map(|client| self.answers(client))).await;
        answers.into_iter().filter(|answered| *answered).count()
    }

    async fn answers(&self, client: &Client) -> bool {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit));
        let ping = async {
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            redis::cmd("PING").exec_async(&mut connection.await?).await
        };
        // Below the limit of all, so that one that hangs does not hide the others.
        let answered: Result<redis::RedisResult<()>, _> = timeout(self.limit / 2, ping).await;
        matches!(answered, Ok(Ok(())))
    }

    /// Leaves the servers alone for a while, and then begins with new connections.
    fn away(&self, reachable: usize) -> LockError {
        let mut state = self.state();
        state.manager = manager(&self.clients);
        state.away_until = Some(Instant::now() + self.pause);
        self.away_error(reachable)
    }

    fn away_error(&self, reachable: usize) -> LockError {
        let servers = self.clients.len();
        LockError::Away { reachable, servers }
    }

    /// An error while the servers are left alone.
    fn check_pause(&self) -> Result<(), LockError> {
        let mut state = self.state();
        if state.away_until.is_some_and(|end| Instant::now() < end) {
            return Err(self.away_error(0));
        }
        state.away_until = None;
        Ok(())
    }
}

#[async_trait]
impl LockBackend for Redlock {
    /// An attempt that is broken off by the time limit may leave the name locked for its lifetime.
    async fn try_lock(&self, name: &Arc<str>, ttl: Duration) -> Result<Option<Grant>, LockError> {
        self.check_pause()?;
        let started = Instant::now();
        let (key, manager) = (self.key(name), self.manager());
        match self.ask(name, ttl, manager.lock(&key, ttl)).await {
            Ok(lock) => Ok(Some(Grant {
                until: until(started, &lock),
                token: lock.val,
            })),
            Err(Refusal::Denied) => Ok(None),
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    async fn extend(
        &self,
        name: &Arc<str>,
        token: &[u8],
        ttl: Duration,
    ) -> Result<Instant, LockError> {
        let started = Instant::now();
        let held = self.held(name, token);
        let extended = held.lock_manager.extend(&held, ttl);
        match self.ask(name, ttl, extended).await {
            Ok(lock) => Ok(until(started, &lock)),
            Err(Refusal::Denied) => Err(LockError::Lost { name: name.clone() }),
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    /// rslock frees without saying whether there was something to free; an extension says it.
    async fn release(&self, name: &Arc<str>, token: &[u8], ttl: Duration) -> Result<(), LockError> {
        match self.extend(name, token, ttl).await {
            Err(error @ (LockError::Lost { .. } | LockError::Away { .. })) => Err(error),
            Ok(_) | Err(_) => {
                let held = self.held(name, token);
                let freed = timeout(self.limit, held.lock_manager.unlock(&held)).await;
                freed.map_err(|_| self.away(0))
            }
        }
    }
}

impl fmt::Debug for Redlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the addresses, which may hold passwords.
        f.debug_struct("Redlock")
            .field("servers", &self.clients.len())
            .finish_non_exhaustive()
    }
}

/// rslock takes the time that the servers took, and some for clocks that differ, off the lifetime.
fn until(started: Instant, lock: &rslock::Lock) -> Instant {
    started + Duration::from_millis(lock.validity_time as u64)
}

fn manager(clients: &[Client]) -> LockManager {
    let mut manager = LockManager::from_clients(clients.to_vec());
    // Waiting and trying again is ours.
    manager.set_retry(1, Duration::ZERO);
    manager
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
    }
}
