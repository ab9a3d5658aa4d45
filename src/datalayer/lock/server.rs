//! One server that keeps locks.
//!
//! rslock asks for a lock and extends it, as of a single server. It says "unavailable" whether a lock is taken
//! or the server is away, frees without saying whether there was something to free, and keeps a connection that
//! went silent: what is here tells those apart over a connection of its own, and begins anew after an outage.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult};
use rslock::LockManager;
use tokio::time::{Instant, sleep};

/// The length of what rslock draws for each lock.
pub(super) const TOKEN_BYTES: usize = 20;

/// Deletes a lock that is still the asker's, in one step with the check.
const FREE: &str = r#"
if redis.call("GET", KEYS[1]) == ARGV[1] then
  return redis.call("DEL", KEYS[1])
end
return 0
"#;

/// What rslock frees a lock with that it may have been given unheard, to the letter. It names the script by its
/// digest alone: a server that does not know it, and is slow to say so, would keep the lock.
const RSLOCK_FREE: &str = r#"
if redis.call("GET", KEYS[1]) == ARGV[1] then
  return redis.call("DEL", KEYS[1])
else
  return 0
end
"#;

/// What a server says.
#[derive(Clone)]
pub(super) enum Vote {
    /// The lock is the asker's, under this token and until then; or, freed, was.
    Yes { token: Vec<u8>, until: Instant },
    /// It is not.
    No,
    /// It took as long to answer as the lock would have lived.
    TooShort,
    /// It cannot count so far.
    TooLong,
    /// Nothing.
    Silent,
}

/// One server. While it is away nobody is kept waiting for it: it is asked in the background whether it is back.
pub(super) struct Server {
    client: Client,
    limit: Duration,
    pause: Duration,
    state: Mutex<State>,
}

struct State {
    manager: LockManager,
    connection: Option<MultiplexedConnection>,
    /// Whether the server knows [`RSLOCK_FREE`].
    is_taught: bool,
    is_away: bool,
}

impl Server {
    pub(super) fn new(client: Client, limit: Duration, pause: Duration) -> Self {
        let state = State {
            manager: manager(&client),
            connection: None,
            is_taught: false,
            is_away: false,
        };
        Self {
            client,
            limit,
            pause,
            state: Mutex::new(state),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.state().is_away
    }

    /// It did not answer: it is left alone until it does.
    pub(super) fn fell_silent(self: &Arc<Self>) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_away, true) {
            tokio::spawn(Self::wait_for(Arc::downgrade(self)));
        }
    }

    /// Asks now and then, with new connections.
    async fn wait_for(server: Weak<Self>) {
        loop {
            let Some(pause) = server.upgrade().map(|server| server.pause) else {
                return;
            };
            sleep(pause).await;
            let Some(server) = server.upgrade() else {
                return;
            };
            server.state().connection = None;
            if server.ask::<()>(&redis::cmd("PING")).await.is_ok() {
                let mut state = server.state();
                state.manager = manager(&server.client);
                // Another one may have come back.
                state.is_taught = false;
                state.is_away = false;
                return;
            }
        }
    }

    pub(super) async fn lock(&self, key: &[u8], ttl: Duration) -> Vote {
        if self.teach().await.is_err() {
            return Vote::Silent;
        }
        let (started, manager) = (Instant::now(), self.manager());
        let answer = manager.lock(key, ttl).await;
        self.vote(key, started, answer).await
    }

    async fn teach(&self) -> RedisResult<()> {
        if !self.state().is_taught {
            let mut load = redis::cmd("SCRIPT");
            self.ask::<()>(load.arg("LOAD").arg(RSLOCK_FREE)).await?;
            self.state().is_taught = true;
        }
        Ok(())
    }

    pub(super) async fn extend(&self, key: &[u8], token: &[u8], ttl: Duration) -> Vote {
        let (started, manager) = (Instant::now(), self.manager());
        let held = rslock::Lock {
            resource: key.to_vec(),
            val: token.to_vec(),
            validity_time: 0,
            lock_manager: manager.clone(),
        };
        let answer = manager.extend(&held, ttl).await;
        self.vote(key, started, answer).await
    }

    /// Yes where the lock was there and is freed.
    pub(super) async fn free(&self, key: &[u8], token: &[u8]) -> Vote {
        let mut script = redis::cmd("EVAL");
        script.arg(FREE).arg(1).arg(key).arg(token);
        match self.ask::<i64>(&script).await {
            Ok(1) => Vote::Yes {
                token: token.to_vec(),
                until: Instant::now(),
            },
            Ok(_) => Vote::No,
            Err(_) => Vote::Silent,
        }
    }

    async fn vote(
        &self,
        key: &[u8],
        started: Instant,
        answer: Result<rslock::Lock, rslock::LockError>,
    ) -> Vote {
        match answer {
            // rslock takes the time that the server took, and some for clocks that differ, off the lifetime.
            Ok(lock) => Vote::Yes {
                until: started + Duration::from_millis(lock.validity_time as u64),
                token: lock.val,
            },
            Err(rslock::LockError::TtlExceeded) => Vote::TooShort,
            Err(rslock::LockError::TtlTooLarge) => Vote::TooLong,
            Err(_) => match self.ask::<bool>(redis::cmd("EXISTS").arg(key)).await {
                Ok(_) => Vote::No,
                Err(_) => Vote::Silent,
            },
        }
    }

    /// Asks over the one connection that all such questions share.
    async fn ask<T: redis::FromRedisValue>(&self, question: &Cmd) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let answer = question.query_async(&mut connection).await;
        if answer.is_err() {
            self.state().connection = None;
        }
        answer
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let known = self.state().connection.clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit));
        let made = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let made = made.await?;
        self.state().connection = Some(made.clone());
        Ok(made)
    }

    fn manager(&self) -> LockManager {
        self.state().manager.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For one server; waiting and trying again is ours.
fn manager(client: &Client) -> LockManager {
    let mut manager = LockManager::from_clients(vec![client.clone()]);
    manager.set_retry(1, Duration::ZERO);
    manager
}
