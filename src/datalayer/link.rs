//! The connection to Redis, made anew whenever it breaks.
//!
//! [`ConnectionManager`] connects again after failures of input and output only. When its handshake
//! is refused (a password that the server does not know yet, a database that it has not), it keeps
//! that answer for good; so it is replaced. Each manager makes several attempts with growing pauses
//! before it gives up, which bounds how often that happens. Nor does it replace a connection that
//! hangs: to it an answer that does not come is one that may still come. So such a connection is
//! replaced, too; what was sent over it may be done late, and after what was sent over the next one, so
//! every command has to bear that.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisError, RedisFuture,
    RedisResult, Value,
};

/// The connection waits this part of a time limit less than whoever asks does, so that it is replaced
/// where it hangs.
pub(super) const RESPONSE_MARGIN: u32 = 10;

/// A handle on the one connection: commands of all tasks travel on it side by side.
#[derive(Clone)]
pub(super) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<Current>,
}

struct Current {
    manager: ConnectionManager,
    /// How many there were before it.
    number: u64,
}

impl Link {
    /// A client of the server at an address, as every part of the data layer talks to it.
    pub(super) fn client(url: &str) -> RedisResult<Client> {
        // Without this, small commands wait for the acknowledgement of the ones before.
        let info = url.into_connection_info()?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        // The newer protocol brings nothing here, and its handshake fails in more ways.
        let settings = info.redis_settings().clone();
        Client::open(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP2)))
    }

    /// Prepares a connection; it is made with the first command.
    pub(super) fn new(client: Client, config: ConnectionManagerConfig) -> RedisResult<Self> {
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        let current = Mutex::new(Current { manager, number: 0 });
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                config,
                current,
            }),
        })
    }

    /// Connects with the next command, however long the pause after failed attempts still is.
    pub(super) fn renew(&self) -> RedisResult<()> {
        let number = self.shared.lock().number;
        self.shared.replace(number)
    }
}

/// Whether an error is about the connection itself, and no answer to a command.
pub(super) fn is_of_connection(error: &RedisError) -> bool {
    error.kind() != ErrorKind::UnexpectedReturnType && error.clone().into_server_errors().is_none()
}

impl Shared {
    async fn send<T>(
        &self,
        command: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let (mut manager, number) = {
            let current = self.lock();
            (current.manager.clone(), current.number)
        };
        let result = command(&mut manager).await;
        if let Err(error) = &result
            && (error.is_timeout() || !error.is_io_error() && is_of_connection(error))
        {
            self.replace(number)?;
        }
        result
    }

    /// Puts another manager in the place of this one, unless somebody has done so.
    fn replace(&self, number: u64) -> RedisResult<()> {
        let mut current = self.lock();
        if current.number == number {
            let (client, config) = (self.client.clone(), self.config.clone());
            current.manager = ConnectionManager::new_lazy_with_config(client, config)?;
            current.number += 1;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let send =
            async |manager: &mut ConnectionManager| manager.send_packed_command(command).await;
        self.shared.send(send).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let send = async move |manager: &mut ConnectionManager| {
            manager.send_packed_commands(pipeline, offset, count).await
        };
        self.shared.send(send).boxed()
    }

    fn get_db(&self) -> i64 {
        self.shared.lock().manager.get_db()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the address, which may hold a password.
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
